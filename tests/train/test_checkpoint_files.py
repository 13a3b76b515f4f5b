"""Which checkpoints are kept, and what is on disk when: locks, full disks, links, fsync, threads."""

import os
import re
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import jax.numpy as jnp
import pytest

from jaxdl.train import (
    Checkpoint,
    CheckpointError,
)
from jaxdl.train.checkpoints import Store
from tests.systems import linux, posix
from tests.train.small_run import assert_same_bits, newest, run


def test_settings_that_make_no_sense(key, tmp_path):
    with pytest.raises(ValueError, match="Checkpoint: every and keep must be 1 or more, got 0 and 3"):
        run(key, Checkpoint(tmp_path, every=0))


def test_two_runs_in_one_folder(key, tmp_path):
    with (
        Store(Checkpoint(tmp_path)),
        pytest.raises(CheckpointError, match=r"another run is writing to .*: wait for it"),
    ):
        run(key, tmp_path)
    run(key, tmp_path, epochs=1)


def test_where_it_cannot_be_written(key, tmp_path):
    taken = tmp_path / "file"
    taken.touch()
    with pytest.raises(CheckpointError, match=f"checkpoints cannot be saved in {taken}"):
        run(key, taken)


@linux
def test_where_no_folder_can_be_made(key):
    with pytest.raises(CheckpointError, match="checkpoints cannot be saved in /proc/none"):
        run(key, "/proc/none")


NO_SPACE = """
    import resource, signal, sys
    import jax, jax.numpy as jnp
    from jaxdl.train.checkpoints import Checkpoint, CheckpointError, Store
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    like = {"w": jnp.zeros(400_000)}
    with Store(Checkpoint(sys.argv[1])) as store:
        store.save(1, {"w": jnp.zeros(400_000)}, {"run": {}}, 0.0)
        store.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # no file may be longer
        try:
            store.save(2, {"w": jax.random.normal(jax.random.key(0), 400_000)}, {"run": {}}, 0.0)
            store.wait()
        except CheckpointError as error:
            print("ERROR", error)
    with Store(Checkpoint(sys.argv[1])) as store:
        print("LEFT", store.latest(like, {}).step)
"""


@posix
def test_a_disk_that_is_full_keeps_what_was_there(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(NO_SPACE), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    assert "ERROR the checkpoint in" in done.stdout, done.stderr
    assert "the last one written is that of step 1" in done.stdout
    assert "LEFT 1" in done.stdout


@linux
def test_all_that_a_resume_needs_is_on_disk_before_its_name(key, tmp_path, monkeypatch):
    synced, fsync = [], os.fsync

    def recording(descriptor):
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    run(key, tmp_path, epochs=1)
    paths = [re.sub(r"\.orbax-checkpoint-tmp|\.jaxdl-\w+/", "", os.path.relpath(path, tmp_path)) for path in synced]
    assert {"3/run/arrays-0.safetensors", "3/run/notes.json", "3/run", "history.jsonl"} <= {*paths}
    assert paths[-2:] == ["3", "."]  # the names, last


def test_drafts_follow_no_links(key, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("history.jsonl", "history.jsonl.part"):
        (folder / name).symlink_to(victim)
    run(key, folder, epochs=1)
    assert victim.read_text() == "mine"
    assert not (folder / "history.jsonl").is_symlink()


def test_several_runs_in_threads(key, tmp_path):
    """They have a folder each."""
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(run, key, Checkpoint(tmp_path / str(i), every=1)) for i in range(4)]
        trained = [future.result() for future in runs]
    for other in trained[1:]:
        assert_same_bits(other.params, trained[0].params)
    for i in range(4):
        assert newest(tmp_path / str(i)) == 12


def test_the_last_and_the_best_stay(tmp_path):
    with Store(Checkpoint(tmp_path, keep=2)) as store:
        for step, measured in enumerate([5.0, 1.0, 4.0, 3.0, 2.5, 2.0]):
            store.save(step, {"w": jnp.float32(step)}, {"run": {}}, measured)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "4", "5", "lock"]
    with Store(Checkpoint(tmp_path, keep=2)) as store:  # it remembers what was measured
        store.save(6, {"w": jnp.float32(6)}, {"run": {}}, 9.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "5", "6", "lock"]
