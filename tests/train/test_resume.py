"""A run that was stopped resumes from its last checkpoint and ends with the same parameters."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxdl.train import (
    Checkpoint,
    Interrupted,
)
from tests.systems import posix
from tests.train.small_run import assert_same_bits, newest, run, without_seconds


def test_a_run_goes_on_where_it_was(key, tmp_path):
    whole = run(key)
    first = run(key, tmp_path, epochs=1)
    watched, logged = [], []
    watch = lambda epoch, params: watched.append(epoch)
    rest = run(key, tmp_path, watch=watch, log=lambda row: logged.append(row["epoch"]))
    assert_same_bits(rest.params, whole.params)
    assert without_seconds(rest.history) == without_seconds(whole.history)
    assert rest.history[0] == first.history[0]
    assert watched == [2, 3, 4]
    assert logged == [1, 2, 3, 4]
    assert_same_bits(run(key, tmp_path).params, whole.params)  # nothing left to do


def test_also_from_the_middle_of_an_epoch(key, tmp_path):
    kept = Checkpoint(tmp_path, every=2)  # an epoch has 3 steps
    whole = run(key, kept)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, whole.params, run(key).params)  # checkpoints change nothing, nor does dropout
    shutil.rmtree(tmp_path / "12")
    assert newest(tmp_path) == 10
    again = run(key, kept)
    assert_same_bits(again.params, whole.params)
    assert without_seconds(again.history) == without_seconds(whole.history)


@posix
def test_stopped_by_ctrl_c_it_is_saved_and_goes_on(key, tmp_path):
    ask = lambda row: row["epoch"] == 2 and os.kill(os.getpid(), signal.SIGINT)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match=f"stopped at step 6, saved in {tmp_path}; the same call resumes") as stop:
        run(key, tmp_path, log=ask)
    assert (stop.value.step, stop.value.folder) == (6, tmp_path)
    assert_same_bits(run(key, tmp_path).params, run(key).params)
    assert signal.getsignal(signal.SIGINT) is before


@posix
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_what_schedulers_send_saves_too(number, key, tmp_path):
    ask = lambda row: row["epoch"] == 1 and os.kill(os.getpid(), getattr(signal, number))
    with pytest.raises(Interrupted, match="stopped at step 3"):
        run(key, tmp_path, log=ask)
    assert newest(tmp_path) == 3


@posix
def test_killed_at_any_moment_it_ends_the_same(tmp_path):
    """Twenty times, half of them at random moments, half of them in the middle of a save."""
    command = [sys.executable, "-m", "tests.train.run_with_kills", str(tmp_path), "20"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    printed = json.loads(done.stdout.splitlines()[-1])
    assert printed["kills"] == 20
    assert printed["saves cut off"] > 0
    assert printed["whole"] == printed["killed"]
