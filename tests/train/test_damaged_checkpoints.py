"""Damaged, foreign and newer checkpoints are detected, and nothing is deleted."""

import json
import random
import shutil

import jax
import jax.numpy as jnp
import pytest

from jaxdl.train import (
    Checkpoint,
    CheckpointError,
)
from jaxdl.train.checkpoints import Damaged, Store
from tests.draws import draw
from tests.train.small_run import X, Y, assert_same_bits, newest, run


@pytest.fixture
def state():
    return {"params": ({"w": draw(0, 32, 32)}, ()), "n": jnp.int32(3), "h": draw(1, 5, dtype="bfloat16")}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_flipped_bit_is_noticed_or_changes_nothing(state, tmp_path):
    with Store(Checkpoint(tmp_path)) as store:
        store.save(1, state, {"run": {}}, 0.0)
    files = [p for p in (tmp_path / "1").rglob("*") if p.is_file() and p.stat().st_size]
    arrays = tmp_path / "1" / "run" / "arrays-0.safetensors"
    draws, noticed = random.Random(0), 0
    for trial in range(60):
        path = arrays if trial % 2 else draws.choice(files)
        whole = path.read_bytes()
        place, bit = draws.randrange(len(whole)), 1 << draws.randrange(8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        with Store(Checkpoint(tmp_path)) as store:
            try:
                assert_same_bits(store._read(1, state, {}).state, state)
            except Damaged:
                noticed += 1
        path.write_bytes(whole)
    assert noticed >= 30


def test_arrays_that_can_be_read_but_are_not_those_saved(state, tmp_path):
    for folder, saved in (("a", state), ("b", jax.tree.map(lambda x: x + 1, state))):
        with Store(Checkpoint(tmp_path / folder)) as store:
            store.save(1, saved, {"run": {}}, 0.0)
    (other, own) = (tmp_path / name / "1" / "run" / "arrays-0.safetensors" for name in "ba")
    other.replace(own)
    with Store(Checkpoint(tmp_path / "a")) as store, pytest.raises(CheckpointError, match="its checksum differs"):
        store.latest(state, {})


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(key, tmp_path, caplog):
    whole = run(key, Checkpoint(tmp_path))
    shutil.copytree(tmp_path / "12", tmp_path / "copy")
    damage(tmp_path / "12")
    again = run(key, tmp_path)
    assert "a checkpoint" in caplog.text
    assert "step 9 is used: step 12: " in caplog.text
    assert_same_bits(again.params, whole.params)
    assert newest(tmp_path) == 12
    assert [path.name for path in (tmp_path / "damaged").iterdir()] == ["0-step-12"]  # nothing is deleted


def damage(step):
    """Truncates the largest file of a checkpoint."""
    largest = max((p for p in step.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])


def test_when_none_is_whole_nothing_is_overwritten(key, tmp_path):
    run(key, tmp_path, epochs=2)
    for step in ("3", "6"):
        damage(tmp_path / step)
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is intact: step 6: .*; step 3: "):
        run(key, tmp_path)
    assert {"3", "6"} <= {path.name for path in tmp_path.iterdir()}


def test_of_another_run_of_a_newer_format_or_foreign(key, tmp_path):
    run(key, tmp_path, epochs=1)
    with pytest.raises(ValueError, match="holds another run: its batch is 20, here it is 15; use the same"):
        run(key, tmp_path, batch=15)
    with pytest.raises(ValueError, match="holds another run: its data is"):
        run(key, tmp_path, data=(X, 2 * Y))
    notes = tmp_path / "3" / "run" / "notes.json"
    document = json.loads(notes.read_text())
    notes.write_text(json.dumps(document | {"format": 3}))
    with pytest.raises(CheckpointError, match="its notes have changed"):
        run(key, tmp_path)
    with Store(Checkpoint(tmp_path)) as store:
        import jaxdl.train.checkpoints as checkpoints

        notes.write_text(json.dumps(checkpoints._signed(document | {"format": 3, "jaxdl": "9.0"})))
        with pytest.raises(CheckpointError, match=r"was written by jaxdl 9.0 in format 3; this version reads 2"):
            store.latest({}, {})
    import orbax.checkpoint as ocp

    with ocp.CheckpointManager(tmp_path / "foreign") as manager:
        manager.save(5, args=ocp.args.Composite(state=ocp.args.StandardSave({"w": X})))
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is intact: step 5: its notes cannot be read"):
        run(key, tmp_path / "foreign")
