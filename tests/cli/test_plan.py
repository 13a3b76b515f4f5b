"""`jaxdl plan`, run as a person would."""

import functools
from typing import get_args

from jaxdl.cli import commands, from_settings, settings
from jaxdl.train import CHIPS
from tests.cli.command import exit_status

run = functools.partial(exit_status, "plan", promotion="standard")


def test_it_tells_memory_time_and_whether_it_fits(capsys):
    assert run("mlp", "--devices", "2", "--shard", "--bfloat16", "--accumulate", "2") == 0
    out = " ".join(capsys.readouterr().out.split())  # titles are broken where their tables are narrower
    for part in (
        "memory on each of 2 devices",
        "optimiser's state",
        "softmax_cross_entropy",
        "a step takes",
        "fits in",
    ):
        assert part in out
    assert run("mlp", "--shape", "8", "8", "200000", "--batch", "2048", "--chip", "tpu-v5e") == 1
    assert "DOES NOT FIT" in capsys.readouterr().out


def test_mistakes(capsys):
    assert run("mpl") == 2
    assert "did you mean mlp?" in capsys.readouterr().err
    assert run("mlp", "--batch", "10", "--devices", "4") == 2
    assert "a batch of 10 cannot be cut for 4 devices" in capsys.readouterr().err
    for flag, given in (("--shape", "0"), ("--shape", "-3"), ("--classes", "0")):
        assert run("mlp", flag, given) == 2
        assert "--shape and --classes must be 1 or more" in capsys.readouterr().err


def test_the_names_of_chips_and_optimizers_are_those_of_the_flags():
    assert get_args(commands.Chip) == tuple(CHIPS)
    assert get_args(settings.Optimizer) == tuple(from_settings.OPTIMIZERS)
    assert set(get_args(settings.Schedule)) == set(from_settings.SCHEDULES)
