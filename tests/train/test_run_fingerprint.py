"""A run cannot resume from another run's folder, whatever the difference."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import nn, ops
from jaxdl.train import (
    Checkpoint,
    CheckpointError,
    in_bfloat16,
)
from tests.train.small_run import MODEL, X, Y, kept

WEIGHTED = jnp.linspace(0.5, 1.5, 20)[:, None]


OTHER = {
    "model": {"model": nn.serial(nn.dense(8), nn.relu, nn.dropout(0.5), nn.dense(1))},
    "loss": {"loss": lambda p, y: jnp.abs(p - y)},
    "what the loss closes over": {"loss": lambda p, y: ops.squared_error(p, y) * WEIGHTED},
    "rate": {"optimizer": optax.sgd(0.06)},
    "schedule": {"optimizer": optax.sgd(optax.cosine_decay_schedule(0.05, 100))},
    "optimiser": {"optimizer": optax.chain(optax.clip(1.0), optax.sgd(0.05))},
    "data": {"data": (X, np.where(np.arange(60)[:, None] == 59, 0, Y))},
    "dtype": {"model": in_bfloat16(MODEL)},
    "batch": {"batch": 15},
    "accumulation": {"accumulate": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def one_epoch(tmp_path_factory):
    folder = tmp_path_factory.mktemp("identity") / "run"
    kept(jax.random.key(0), folder)
    return folder


@pytest.mark.parametrize("what", OTHER)
def test_a_run_of_another_kind_is_refused(what, one_epoch, tmp_path):
    folder = shutil.copytree(one_epoch, tmp_path / "run")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="holds another run: its "):
        kept(jax.random.key(0), folder, epochs=2, **OTHER[what])
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    kept(jax.random.key(0), folder, epochs=2)  # the run itself can resume


def test_another_seed_is_refused(one_epoch):
    with pytest.raises(ValueError, match="holds another run: its key is"):
        kept(jax.random.key(1), one_epoch, epochs=2)


def test_settings_of_ones_own_stand_in_for_the_program(key, tmp_path):
    named = lambda rate: Checkpoint(tmp_path, settings={"rate": rate})
    kept(key, named(0.05))
    with pytest.raises(ValueError, match=r"holds another run: its rate is 0\.05, here it is 0\.06"):
        kept(key, named(0.06), optimizer=optax.sgd(0.06))
    kept(key, named(0.05), epochs=2, optimizer=optax.sgd(0.06))  # its settings are the same


def test_another_version_traces_another_program(key, tmp_path, monkeypatch):
    kept(key, tmp_path)
    monkeypatch.setattr(jax, "__version__", "99.0")
    kept(key, tmp_path, epochs=2, optimizer=optax.sgd(0.06))  # programs are not compared


def test_a_program_is_the_same_in_another_process():
    script = """
        import jax, optax
        from tests.train.small_run import MODEL, RUN, X, Y
        from jaxdl.train.run_identity import program_fingerprint
        from jaxdl.train.steps import checked_step
        from jaxdl import nn, ops
        model = nn.lenet5(10)
        params = model.init(jax.random.key(0), (28, 28, 1))
        optimizer = optax.adam(1e-3)
        loss = ops.softmax_cross_entropy_with_integer_labels
        step = checked_step(model, loss, optimizer, accumulate=1, skip_nonfinite=True)
        x, y = jax.numpy.zeros((4, 28, 28, 1)), jax.numpy.zeros(4, int)
        print(*program_fingerprint(step, params, optimizer.init(params), x, y, jax.random.key(0)).values())
    """
    printed = set()
    for seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": seed, "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, "-c", textwrap.dedent(script)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], env=env)
        assert done.returncode == 0, done.stderr
        printed.add(done.stdout)
    assert len(printed) == 1


@pytest.mark.parametrize("how", ["renamed", "copied"])
def test_a_checkpoint_under_another_name_is_refused(how, one_epoch, tmp_path):
    folder = shutil.copytree(one_epoch, tmp_path / "run")
    (shutil.move if how == "renamed" else shutil.copytree)(folder / "3", folder / "30")
    with pytest.raises(CheckpointError, match=r"run/30 is of step 3: it was renamed or copied"):
        kept(jax.random.key(0), folder, epochs=2)
