"""A run that was stopped goes on where it was; what is damaged, foreign or busy says so, and nothing is lost."""

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import nn, ops
from jaxdl.data import in_memory
from jaxdl.train import (
    Checkpoint,
    CheckpointError,
    Diverged,
    Interrupted,
    checksums,
    fit,
    in_bfloat16,
    read_before,
    training_step,
)
from jaxdl.train.checkpoints import Damaged, Store
from tests.draws import draw

X, Y = np.asarray(draw(0, 60, 3)), np.asarray(draw(1, 60, 1))
MODEL = nn.serial(nn.dense(8), nn.tanh, nn.dropout(0.5), nn.dense(1))


def run(key, folder=None, epochs=4, **settings):
    settings = {"batch": 20, "test": (X, Y)} | settings
    data = settings.pop("data", (X, Y))
    return fit(
        MODEL,
        ops.squared_error,
        data,
        optax.sgd(0.05, momentum=0.9),
        epochs,
        key,
        checkpoint=folder,
        quiet=True,
        **settings,
    )


def assert_same_bits(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def without_seconds(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


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
    jax.tree.map(close, whole.params, run(key).params)  # where it stops on the way changes nothing, dropout neither
    shutil.rmtree(tmp_path / "12")
    assert newest(tmp_path) == 10
    again = run(key, kept)
    assert_same_bits(again.params, whole.params)
    assert without_seconds(again.history) == without_seconds(whole.history)


def newest(folder):
    return max(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def test_the_last_and_the_best_stay(tmp_path):
    with Store(Checkpoint(tmp_path, keep=2)) as store:
        for step, measured in enumerate([5.0, 1.0, 4.0, 3.0, 2.5, 2.0]):
            store.save(step, {"w": jnp.float32(step)}, {"run": {}}, measured)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "4", "5", "lock"]
    with Store(Checkpoint(tmp_path, keep=2)) as store:  # what was measured is known again
        store.save(6, {"w": jnp.float32(6)}, {"run": {}}, 9.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "5", "6", "lock"]


def test_stopped_by_ctrl_c_it_is_saved_and_goes_on(key, tmp_path):
    ask = lambda row: row["epoch"] == 2 and os.kill(os.getpid(), signal.SIGINT)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match=f"stopped at step 6, saved in {tmp_path}; called again") as stop:
        run(key, tmp_path, log=ask)
    assert (stop.value.step, stop.value.folder) == (6, tmp_path)
    assert_same_bits(run(key, tmp_path).params, run(key).params)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture
def state():
    return {"params": ({"w": draw(0, 32, 32)}, ()), "n": jnp.int32(3), "h": draw(1, 5, dtype="bfloat16")}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # orbax's, of what it stopped reading
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
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is whole: step 6: .*; step 3: "):
        run(key, tmp_path)
    assert {"3", "6"} <= {path.name for path in tmp_path.iterdir()}


def test_of_another_run_of_a_newer_format_or_foreign(key, tmp_path):
    run(key, tmp_path, epochs=1)
    with pytest.raises(ValueError, match="holds another run: its batch is 20, here it is 15; go on with the same"):
        run(key, tmp_path, batch=15)
    with pytest.raises(ValueError, match="holds another run: its data is"):
        run(key, tmp_path, data=(X, 2 * Y))
    notes = tmp_path / "3" / "run" / "notes.json"
    document = json.loads(notes.read_text())
    notes.write_text(json.dumps(document | {"format": 3}))
    with pytest.raises(CheckpointError, match="its notes are not what was saved"):
        run(key, tmp_path)
    with Store(Checkpoint(tmp_path)) as store:
        import jaxdl.train.checkpoints as checkpoints

        notes.write_text(json.dumps(checkpoints._signed(document | {"format": 3, "jaxdl": "9.0"})))
        with pytest.raises(CheckpointError, match=r"was written by jaxdl 9.0 in format 3; this one reads 2"):
            store.latest({}, {})
    import orbax.checkpoint as ocp

    with ocp.CheckpointManager(tmp_path / "foreign") as manager:
        manager.save(5, args=ocp.args.Composite(state=ocp.args.StandardSave({"w": X})))
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is whole: step 5: its notes cannot be read"):
        run(key, tmp_path / "foreign")


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
    with pytest.raises(CheckpointError, match=f"checkpoints cannot be kept in {taken}"):
        run(key, taken)
    with pytest.raises(CheckpointError, match="checkpoints cannot be kept in /proc/none"):
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
            print("TOLD", error)
    with Store(Checkpoint(sys.argv[1])) as store:
        print("LEFT", store.latest(like, {}).step)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs a limit on the length of files")
def test_a_disk_that_is_full_keeps_what_was_there(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(NO_SPACE), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    assert "TOLD the checkpoint in" in done.stdout, done.stderr
    assert "the last one written is that of step 1" in done.stdout
    assert "LEFT 1" in done.stdout


def test_a_step_that_is_not_finite_is_kept_and_can_be_replayed(key, tmp_path):
    poisoned = Y.copy()
    poisoned[17] = np.inf
    with pytest.raises(
        Diverged, match=r"at step . of 3 in epoch 1: .*; what the step saw is in .*/nonfinite/step-."
    ) as stop:
        run(key, tmp_path, data=(X, poisoned))
    before = read_before(stop.value.path, stop.value.trained.params)
    assert np.isinf(before.y).any()
    assert all(np.isfinite(p).all() for p in jax.tree.leaves(before.params))
    assert_same_bits(before.params, stop.value.trained.params)
    assert_same_bits(before._replace(key=None), stop.value.before._replace(key=None))
    loss = lambda key: ops.squared_error(MODEL.apply(before.params, before.x, key=key), before.y).mean()
    assert not np.isfinite(loss(before.key))


def test_such_steps_can_be_left_out(key, tmp_path):
    poisoned = Y.copy()
    poisoned[17] = np.nan
    settings = {"data": (X, poisoned), "skip_nonfinite": True, "test": None}
    trained = run(key, Checkpoint(tmp_path, every=1), epochs=4, **settings)
    assert [row["skipped"] for row in trained.history] == [1, 1, 1, 1]
    assert all(np.isfinite(row["loss"]) for row in trained.history)
    assert all(np.isfinite(p).all() for p in jax.tree.leaves(trained.params))
    assert len(list((tmp_path / "nonfinite").iterdir())) == 4
    shutil.rmtree(tmp_path / "12")
    again = run(key, Checkpoint(tmp_path, every=1), epochs=12, **settings)  # with the loss that is NaN in the notes
    assert without_seconds(again.history[:4]) == without_seconds(trained.history)
    assert [row["skipped"] for row in again.history] == [1] * 12
    assert len(list((tmp_path / "nonfinite").iterdir())) == 10  # more would tell nothing new


def test_left_out_are_finite_losses_with_other_gradients_too(key):
    loss = lambda output, y: jnp.sqrt(0 * (output**2).sum())  # 0, and its derivative 0 · ∞
    step = training_step(nn.dense(1), loss, optax.sgd(0.1), skip_nonfinite=True)
    params = nn.dense(1).init(key, (3,))
    after, _, value = step(params, optax.sgd(0.1).init(params), X[:4], Y[:4], key)
    assert value == 0
    assert_same_bits(after, params)


def test_left_out_where_data_are_read_as_where_they_are_in_memory(key, tmp_path):
    poisoned = Y.copy()
    poisoned[17] = np.nan
    settings = {"skip_nonfinite": True, "test": None, "epochs": 2}
    whole = run(key, data=(X, poisoned), **settings)
    read = run(key, tmp_path, data=in_memory(X, poisoned), **settings)  # kept, so that steps are gone through again
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), read.params, whole.params)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8", "bool", "complex64"])
def test_checksums_see_every_bit_and_no_sharding(dtype):
    x = (np.asarray(draw(3, 8, 6)) * 10).clip(0).astype(jnp.dtype(dtype))
    total = checksums({"x": jnp.asarray(x)})
    assert list(total) == ["['x']"]
    mesh = jax.make_mesh((4,), ("d",))
    spread = jax.device_put(x, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("d")))
    assert checksums({"x": spread}) == total
    for place in (0, 17, x.nbytes - 1):
        other = x.copy()
        other.reshape(-1).view(np.uint8)[place] ^= 1
        assert checksums({"x": jnp.asarray(other)}) != total
    assert checksums({"x": jnp.asarray(np.roll(x, 1))}) != total


def test_killed_at_any_moment_it_ends_the_same(tmp_path):
    """Twenty times, half of them at random moments, half of them in the middle of a save."""
    command = [sys.executable, "-m", "tests.train.killed", str(tmp_path), "20"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["kills"] == 20
    assert told["saves cut off"] > 0
    assert told["whole"] == told["killed"]


# --- what makes a run the run it is ------------------------------------------------------------------------------

RUN = {"model": MODEL, "loss": ops.squared_error, "data": (X, Y), "optimizer": optax.sgd(0.05), "batch": 20}
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


def kept(key, folder, epochs=1, **settings):
    settings = RUN | settings
    own = [settings.pop(name) for name in ("model", "loss", "data", "optimizer")]
    with jax.numpy_dtype_promotion("standard"):  # optax's schedules promote
        return fit(*own, epochs, key, checkpoint=folder, quiet=True, **settings)


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
    kept(jax.random.key(0), folder, epochs=2)  # and it can go on as it was


def test_another_seed_is_refused(one_epoch):
    with pytest.raises(ValueError, match="holds another run: its key is"):
        kept(jax.random.key(1), one_epoch, epochs=2)


def test_settings_of_ones_own_stand_in_for_the_program(key, tmp_path):
    named = lambda rate: Checkpoint(tmp_path, settings={"rate": rate})
    kept(key, named(0.05))
    with pytest.raises(ValueError, match=r"holds another run: its rate is 0\.05, here it is 0\.06"):
        kept(key, named(0.06), optimizer=optax.sgd(0.06))
    kept(key, named(0.05), epochs=2, optimizer=optax.sgd(0.06))  # by its name it is the same


def test_another_version_traces_another_program(key, tmp_path, monkeypatch):
    kept(key, tmp_path)
    monkeypatch.setattr(jax, "__version__", "99.0")
    kept(key, tmp_path, epochs=2, optimizer=optax.sgd(0.06))  # it cannot be told


def test_a_program_is_the_same_in_another_process():
    script = """
        import jax, optax
        from tests.train.test_checkpoints import RUN, MODEL, X, Y
        from jaxdl.train.identity import program
        from jaxdl.train.steps import judged_step
        from jaxdl import nn, ops
        model = nn.lenet5(10)
        params = model.init(jax.random.key(0), (28, 28, 1))
        optimizer = optax.adam(1e-3)
        loss = ops.softmax_cross_entropy_with_integer_labels
        step = judged_step(model, loss, optimizer, accumulate=1, skip_nonfinite=True)
        x, y = jax.numpy.zeros((4, 28, 28, 1)), jax.numpy.zeros(4, int)
        print(*program(step, params, optimizer.init(params), x, y, jax.random.key(0)).values())
    """
    told = set()
    for seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": seed, "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, "-c", textwrap.dedent(script)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], env=env)
        assert done.returncode == 0, done.stderr
        told.add(done.stdout)
    assert len(told) == 1


@pytest.mark.parametrize("how", ["renamed", "copied"])
def test_a_checkpoint_under_another_name_is_refused(how, one_epoch, tmp_path):
    folder = shutil.copytree(one_epoch, tmp_path / "run")
    (shutil.move if how == "renamed" else shutil.copytree)(folder / "3", folder / "30")
    with pytest.raises(CheckpointError, match=r"run/30 is that of step 3, as it says: it was renamed or copied"):
        kept(jax.random.key(0), folder, epochs=2)


# --- the history ---------------------------------------------------------------------------------------------------


def test_a_history_that_is_cut_or_damaged(key, tmp_path, caplog):
    whole = run(key)
    run(key, tmp_path, epochs=3)
    history = tmp_path / "history.jsonl"
    first, second, third = history.read_bytes().splitlines(keepends=True)
    history.write_bytes(first + second.replace(b"epoch", b"epock") + third + b'{"epoch": 4, "lo')
    again = run(key, tmp_path)
    assert_same_bits(again.params, whole.params)
    assert [row["epoch"] for row in again.history] == [1, 3, 4]
    assert "the rows of 1 epochs cannot be read, the first is epoch 2" in caplog.text


def test_rows_after_the_last_checkpoint_are_not_told_twice(key, tmp_path):
    run(key, Checkpoint(tmp_path, keep=9), epochs=3)
    shutil.rmtree(tmp_path / "9")
    assert [row["epoch"] for row in run(key, tmp_path).history] == [1, 2, 3, 4]


def test_all_that_a_resume_needs_is_on_disk_before_its_name(key, tmp_path, monkeypatch):
    synced, fsync = [], os.fsync

    def recording(descriptor):
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recording)
    run(key, tmp_path, epochs=1)
    told = [re.sub(r"\.orbax-checkpoint-tmp|\.jaxdl-\w+/", "", os.path.relpath(path, tmp_path)) for path in synced]
    assert {"3/run/arrays-0.safetensors", "3/run/notes.json", "3/run", "history.jsonl"} <= {*told}
    assert told[-2:] == ["3", "."]  # their names, after all of that


# --- numbers ---------------------------------------------------------------------------------------------------------


def no_slope(output, y):
    """0, whose derivative is 0 · ∞ where the outputs are 0."""
    return jnp.sqrt(0 * (output**2).sum()) + ((output - y) ** 2).mean()


def test_a_finite_loss_with_a_gradient_that_is_not(key, tmp_path):
    with pytest.raises(
        Diverged, match="but the parameters that follow are not finite, at step 1 of 3 in epoch 1"
    ) as stop:
        kept(key, tmp_path, loss=no_slope)
    assert all(np.isfinite(p).all() for p in jax.tree.leaves(stop.value.trained.params))
    before = read_before(stop.value.path, stop.value.trained.params)
    assert before.step == 0
    assert not any(path.name.isdigit() for path in tmp_path.iterdir())  # nothing was saved of it


def test_where_every_step_is_left_out_it_says_so(key):
    hidden = {"loss": no_slope, "optimizer": optax.chain(optax.zero_nans(), optax.sgd(0.05))}  # in finite updates
    for settings in ({"loss": no_slope}, {"optimizer": optax.sgd(float("nan"))}, hidden):
        with pytest.raises(Diverged, match="are not finite together at any step of epoch 1"):
            kept(key, None, skip_nonfinite=True, **settings)


def test_several_runs_in_threads(key, tmp_path):
    """A folder each, at the same time."""
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(run, key, Checkpoint(tmp_path / str(i), every=1)) for i in range(4)]
        trained = [future.result() for future in runs]
    for other in trained[1:]:
        assert_same_bits(other.params, trained[0].params)
    for i in range(4):
        assert newest(tmp_path / str(i)) == 12


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_what_schedulers_send_saves_too(number, key, tmp_path):
    ask = lambda row: row["epoch"] == 1 and os.kill(os.getpid(), number)
    with pytest.raises(Interrupted, match="stopped at step 3"):
        run(key, tmp_path, log=ask)
    assert newest(tmp_path) == 3


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
