"""What a run needs to go on where it was: written whole, in the background, and checked when it is read.

Arrays and notes are written to files of `arrays`; orbax makes a checkpoint of them, or none, and removes old ones.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
from filelock import FileLock, Timeout
from jax.experimental import multihost_utils

from jaxdl.report import plain, sync
from jaxdl.train.array_files import UnreadableArrays, own_shards, read_arrays, write_shards
from jaxdl.train.checksum import checksums
from jaxdl.train.processes import true_in_all
from jaxdl.train.run_fingerprint import first_difference

FORMAT = 2
RUN, NOTES = "run", "notes.json"  # the folder in a checkpoint, and a file in it
DAMAGED = "damaged"  # where what cannot be read is set aside

log = logging.getLogger(__name__)


class CheckpointError(OSError):
    """A checkpoint could not be written or read."""


class Checkpoint(NamedTuple):
    """Where a run is kept, and how often.

    every: steps between checkpoints; by default those of an epoch. keep: how many of the last ones stay, besides the
    best one, that of the lowest `test_loss` (`loss` where nothing is held out).
    settings: what else makes the run the run it is, by name: plain numbers and texts. They stand in the checkpoint, and
    a run with other ones is refused. By default they are a digest of the step as JAX traces it: of model, loss,
    optimiser, its learning rate and schedule. begun: called when it is settled that the run may be kept there, before
    the first step.
    """

    folder: str | os.PathLike
    every: int | None = None
    keep: int = 3
    settings: Mapping[str, Any] | None = None
    begun: Callable[[], None] | None = None


class RestoredCheckpoint(NamedTuple):
    """A checkpoint that was read: state, a pytree of arrays, and what was noted with it."""

    step: int
    state: Any
    notes: dict


class Store:
    """The checkpoints in a folder, of one run and one process (group) at a time; a context."""

    def __init__(self, where: Checkpoint):
        if where.keep < 1 or (where.every is not None and where.every < 1):
            raise ValueError(f"Checkpoint: every and keep must be 1 or more, got {where.every} and {where.keep}")
        self.where = where
        self.folder = Path(where.folder).absolute()
        self.thread = ThreadPoolExecutor(1)  # one for all that is written: what a thread frees stays its own
        self.written = None  # the future of the last checkpoint

    def __enter__(self) -> "Store":
        logging.getLogger("absl").addFilter(_is_of_use)
        self._lock = _locked(self.folder) if jax.process_index() == 0 else None
        with self._telling("be used"):
            self.measured = {}
            self.manager = _manager(self.folder, self.where.keep, self.measured, self.thread)
        for step in self.manager.all_steps():
            with contextlib.suppress(Damaged):
                self.measured[step] = _or_worst(self._notes(step).get("measured"))
        return self

    def __exit__(self, kind, error, trace):
        try:
            self.wait()
        except CheckpointError:
            if error is None:
                raise
        finally:
            self.thread.shutdown()
            with contextlib.suppress(Exception):  # what it has to say was said
                self.manager.close()
            if self._lock:
                self._lock.release()

    def save(self, step: int, state: Any, notes: dict, measured: float) -> None:
        """Writes a checkpoint; the writing goes on in the background. measured: lower is better.

        Raises CheckpointError if it, or the one before, cannot be written; what was there before stays.
        """
        from orbax.checkpoint import args

        about = {"format": FORMAT, "jaxdl": version("jaxdl"), "step": step, "measured": measured}
        document = _signed(plain({**about, **notes, "checksums": checksums(state)}))
        with self._telling(f"be written at step {step}"):
            self._finish()
            there = self.manager.all_steps()
            for old in self.measured.keys() - {*there}:
                del self.measured[old]
            self.measured[step] = _or_worst(measured)
            self.manager.save(step, args=args.Composite(run=_handling()[1](own_shards(state), document)))
            self.written = self.thread.submit(self._on_disk, step)

    def wait(self) -> None:
        """Waits until all that was saved is on disk; CheckpointError where it is not."""
        with self._telling("be written"):
            self._finish()

    def _finish(self):
        written, self.written = self.written, None
        if written:
            written.result()

    def _on_disk(self, step):
        """Waits until orbax has given the last checkpoint its name, and that is on disk."""
        self.manager.wait_until_finished()
        sync(self.folder / str(step))
        sync(self.folder)

    def latest(self, like: Any, run: dict) -> RestoredCheckpoint | None:
        """The last checkpoint that is whole, or None where there are none at all.

        like: a state with the structure, types and shardings that are wanted. Damaged ones are set aside, with a
        warning. Raises ValueError where the checkpoints are of another run than `run`, CheckpointError where none is
        whole or they are of a newer format.
        """
        reasons = []
        for step in sorted(self.manager.all_steps(), reverse=True):
            try:
                saved = self._read(step, like, run)
            except Damaged as error:
                reasons.append(f"step {step}: {error}")
                continue
            for reason in reasons:
                log.warning("a checkpoint in %s is damaged, set aside; step %d is used: %s", self.folder, step, reason)
            self._set_aside([s for s in self.manager.all_steps() if s > step])
            return saved
        if reasons:
            raise CheckpointError(f"no checkpoint in {self.folder} is whole: {'; '.join(reasons)}")
        return None

    def _read(self, step, like, run) -> RestoredCheckpoint:
        notes = _by_all(lambda: self._notes(step))
        if notes["format"] != FORMAT:
            raise CheckpointError(
                f"the checkpoint at step {step} in {self.folder} was written by jaxdl {notes['jaxdl']} in format "
                f"{notes['format']}; this one reads {FORMAT}: take the jaxdl that wrote it"
            )
        if notes["step"] != step:
            raise CheckpointError(
                f"the checkpoint in {self.folder / str(step)} is that of step {notes['step']}, as it says: it was "
                f"renamed or copied; give it its name again"
            )
        _check_same(plain(run), notes["run"], self.folder)
        state = _by_all(lambda: self._state(step, like))
        found = checksums(state)
        for path, total in found.items():
            if notes["checksums"].get(path) != total:
                raise Damaged(f"{path} is not what was saved: its checksum differs")
        return RestoredCheckpoint(step, state, notes)

    def _state(self, step, like):
        """Not by orbax's manager, which waits for all processes: one of them may find damage alone."""
        try:
            return read_arrays(self.folder / str(step) / RUN, like)
        except UnreadableArrays as error:
            raise Damaged(f"it cannot be read: {_first_line(error)}") from error

    def _notes(self, step) -> dict:
        path = self.folder / str(step) / RUN / NOTES
        if not path.exists():
            path = self.folder / str(step) / "notes" / "metadata"  # where they were in format 1
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise Damaged(f"its notes cannot be read: {_first_line(error)}") from error
        if not isinstance(document, dict) or document != _signed(document):
            raise Damaged("its notes are not what was saved, or it was not written by jaxdl")
        return document

    def _set_aside(self, steps):
        """Moves checkpoints that cannot be used out of the way of the new ones of these steps; nothing is deleted."""
        if not steps:
            return
        if jax.process_index() == 0:
            (self.folder / DAMAGED).mkdir(exist_ok=True)
            for step in steps:
                number = len(list((self.folder / DAMAGED).iterdir()))
                os.replace(self.folder / str(step), self.folder / DAMAGED / f"{number}-step-{step}")
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("jaxdl: damaged checkpoints are set aside")
        self.manager.reload()

    @contextlib.contextmanager
    def _telling(self, what) -> Iterator[None]:
        try:
            yield
        except CheckpointError:
            raise
        except Exception as error:  # orbax's, of any kind
            good = [int(p.name) for p in self.folder.glob("*") if p.name.isdigit()] if self.folder.is_dir() else []
            last = f"the last one written is that of step {max(good)}" if good else "there is none before it"
            raise CheckpointError(
                f"the checkpoint in {self.folder} cannot {what}: {_first_line(error)}; {last}"
            ) from error


class Damaged(Exception):
    """A checkpoint cannot be used."""


def _manager(folder, keep, measured, thread):
    """measured: what was measured at each step, which says the best one. thread: an executor that writes."""
    import orbax.checkpoint as ocp  # slow to import, and only needed here
    from orbax.checkpoint.checkpoint_managers import PreservationPolicy

    class LastAndBest(PreservationPolicy):
        def should_preserve(self, checkpoints, *, context):
            steps = [c.step for c in checkpoints]
            stay = {*sorted(steps)[-keep:], min(steps, key=lambda step: measured.get(step, math.inf), default=None)}
            return [step in stay for step in steps]

    options = ocp.CheckpointManagerOptions(
        preservation_policy=LastAndBest(),
        cleanup_tmp_directories=True,
        async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
    )
    return ocp.CheckpointManager(folder, options=options, item_handlers={RUN: _handling()[0](thread)})


@functools.cache
def _handling():
    """What orbax calls to write a run's arrays and notes, and what it is given."""
    import orbax.checkpoint as ocp

    class Handler(ocp.AsyncCheckpointHandler):
        def __init__(self, thread):
            self.thread = thread

        async def async_save(self, directory, args):
            return [self.thread.submit(_write, Path(directory), args.shards, args.notes)]

        def save(self, directory, args):
            _write(Path(directory), args.shards, args.notes)

        def restore(self, directory, args=None):
            raise NotImplementedError

    @ocp.args.register_with_handler(Handler, for_save=True, for_restore=True)
    @dataclasses.dataclass
    class Save(ocp.args.CheckpointArgs):
        shards: dict
        notes: dict

    return Handler, Save


def _write(folder, shards, notes):
    path = write_shards(folder, shards)
    sync(path)
    if jax.process_index() == 0:
        (folder / NOTES).write_text(json.dumps(notes), encoding="utf-8")
        sync(folder / NOTES)
    sync(folder)
    sync(folder.parent)


def _is_of_use(record) -> bool:
    """Not that orbax has read its own metadata while it wrote them, which nobody reads here."""
    return "_CHECKPOINT_METADATA" not in record.getMessage()


def _by_all(read):
    """What read() gives; where it finds damage in one process, that is so in all."""
    try:
        found, problem = read(), None
    except Damaged as error:
        found, problem = None, error
    if not true_in_all(problem is None):
        raise problem or Damaged("another process cannot read its part of it")
    return found


def _locked(folder):
    """The folder, made where it is missing, for this process alone until it lets go or ends."""
    lock = FileLock(folder / "lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise CheckpointError(f"another run is writing to {folder}: wait for it, or take another folder") from None
    except OSError as error:
        raise CheckpointError(f"checkpoints cannot be kept in {folder}: {error}") from error
    return lock


def _check_same(run, saved, folder):
    """Both are what makes a run what it is."""
    name = first_difference(saved, run)
    if name is not None:
        raise ValueError(
            f"{folder} holds another run: its {name} is {saved.get(name)}, here it is {run.get(name)}; "
            f"go on with the same settings, or take another folder"
        )


def _signed(document: dict) -> dict:
    """With a digest of all the rest."""
    rest = {k: v for k, v in document.items() if k != "digest"}
    return rest | {"digest": hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


def _or_worst(measured: float | None) -> float:
    """What is not finite, which JSON has as null, is never the best."""
    return measured if measured is not None and math.isfinite(measured) else math.inf


def _first_line(error):
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
