"""Several processes that train together: they stop when one is lost, and another number goes on to the same end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.train.process import losses

ROOT = Path(__file__).parents[2]
LAUNCH = "import sys; from jaxdl.train import launch; sys.exit(launch(sys.argv[2:], int(sys.argv[1])))"


def launched(count, *arguments):
    """Status, what the first process printed, and what was said."""
    train = [sys.executable, "-m", "tests.train.process", *map(str, arguments)]
    command = [sys.executable, "-c", LAUNCH, str(count), *train]
    env = os.environ | {"XLA_FLAGS": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # one device a process
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240, env=env)
    found = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("losses ")]
    return done.returncode, found, done.stderr


def test_two_lose_one_and_stop_and_four_go_on(tmp_path):
    status, found, _ = launched(2, tmp_path / "together", 4, 1)
    assert status == 137  # that of the one that was killed
    assert not found
    status, found, said = launched(4, tmp_path / "together", 4)
    assert status == 0, said
    for together, alone in zip(found, losses(tmp_path / "alone", 4), strict=True):
        assert together == pytest.approx(alone, rel=1e-4)
