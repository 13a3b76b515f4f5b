"""Several processes that train together: they stop when one is lost, and another number goes on to the same end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np

from jaxdl.train import read_before
from tests.train.process import MODEL, losses

ROOT = Path(__file__).parents[2]
ZSTD = bytes.fromhex("28b52ffd")  # with which a compressed block begins
LAUNCH = "import sys; from jaxdl.train import launch; sys.exit(launch(sys.argv[2:], int(sys.argv[1])))"


def launched(count, *arguments):
    """Status, what the first process printed, and what was said."""
    train = [sys.executable, "-m", "tests.train.process", *map(str, arguments)]
    command = [sys.executable, "-c", LAUNCH, str(count), *train]
    env = os.environ | {"XLA_FLAGS": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # one device a process
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240, env=env)
    found = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("losses ")]
    return done.returncode, found, done.stderr


def damage_a_share(folder):
    """Of the last checkpoint the head of the largest compressed block, a share of the weights: who needs it sees that
    it cannot be read, the others see nothing.
    """
    last = max((p for p in folder.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    largest = max((last / "state" / "ocdbt.process_1").rglob("*"), key=lambda p: p.stat().st_size)
    before, *blocks = largest.read_bytes().split(ZSTD)
    place = max(range(len(blocks)), key=lambda i: len(blocks[i]))
    heads = [ZSTD if i != place else bytes(4) for i in range(len(blocks))]
    largest.write_bytes(before + b"".join(head + block for head, block in zip(heads, blocks, strict=True)))


def test_two_lose_one_and_stop_and_four_go_on(tmp_path):
    status, found, _ = launched(2, tmp_path / "together", 4, 1)
    assert status == 137  # that of the one that was killed
    assert not found
    damage_a_share(tmp_path / "together" / "in memory")
    status, found, said = launched(4, tmp_path / "together", 4)
    assert status == 0, said
    assert "is damaged, set aside" in said
    *together, kept = found
    *alone, kept_alone = losses(tmp_path / "alone", 4)
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    params = jax.eval_shape(lambda: MODEL.init(jax.random.key(0), (10,)))
    steps = [read_before(path, params) for path in (kept, kept_alone)]
    assert np.isnan(steps[0].x).any(1).sum() == 1
    same = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    jax.tree.map(same, *[(before.step, before.params, before.x, before.y) for before in steps])
