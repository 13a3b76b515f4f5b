"""Checkpoints: written whole, in the background, and verified when they are read.

Arrays and notes are written to files of `array_files`; orbax makes a checkpoint of them, or none, and removes old ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.experimental import multihost_utils

from jaxdl import __version__
from jaxdl.optional_packages import install_hint
from jaxdl.report import plain, sync
from jaxdl.train.array_files import UnreadableArrays, own_shards, read_arrays
from jaxdl.train.checksum import checksums
from jaxdl.train.orbax_manager import NOTES, RUN, checkpoint_manager, is_useful, save_arguments
from jaxdl.train.processes import true_in_all
from jaxdl.train.run_identity import first_difference

FORMAT = 2
DAMAGED = "damaged"  # the folder to which damaged checkpoints are moved

log: logging.Logger = logging.getLogger(__name__)


class CheckpointError(OSError):
    """A checkpoint cannot be written or read."""


class Checkpoint(NamedTuple):
    """Where `fit` saves a run, and how often.

    Attributes:
        folder: The folder of the checkpoints, of one run only.
        every: Steps between checkpoints; by default the steps of an epoch.
        keep: How many of the last checkpoints are kept, besides the best one, which has the lowest `test_loss` (`loss`
            without held-out data).
        settings: What identifies the run, by name: numbers and texts, stored in the checkpoint. A run with other
            settings cannot resume from it. By default they are a digest of the training step as JAX traces it, which
            depends on model, loss, optimiser, learning rate and schedule.
        begun: Called before the first step, when it is certain that the run may use the folder.
    """

    folder: str | os.PathLike[str]
    every: int | None = None
    keep: int = 3
    settings: Mapping[str, Any] | None = None
    begun: Callable[[], None] | None = None


class RestoredCheckpoint(NamedTuple):
    """A checkpoint that was read: the step, the state (a pytree of arrays), and the notes saved with it."""

    step: int
    state: Any
    notes: dict[str, Any]


class Store:
    """The checkpoints in a folder, of one run and one process (group) at a time; a context."""

    def __init__(self, where: Checkpoint):
        if where.keep < 1 or (where.every is not None and where.every < 1):
            raise ValueError(f"Checkpoint: every and keep must be 1 or more, got {where.every} and {where.keep}")
        self.where: Checkpoint = where
        self.folder: Path = Path(where.folder).absolute()
        self.thread = ThreadPoolExecutor(1)  # one for all writes: memory that a thread frees is reused by that thread
        self.written: Future[None] | None = None  # the last checkpoint
        self.measured: dict[int, float] = {}  # by step; the lowest is the best

    def __enter__(self) -> Store:
        logging.getLogger("absl").addFilter(is_useful)
        self._lock = _locked(self.folder) if jax.process_index() == 0 else None
        with self._errors_say("be used"):
            self.manager: Any = checkpoint_manager(self.folder, self.where.keep, self.measured, self.thread)
        for step in self.manager.all_steps():
            with contextlib.suppress(Damaged):
                self.measured[step] = _or_worst(self._notes(step).get("measured"))
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.wait()
        except CheckpointError:
            if error is None:
                raise
        finally:
            self.thread.shutdown()
            with contextlib.suppress(Exception):  # save and wait have raised it already
                self.manager.close()
            if self._lock:
                self._lock.release()

    def save(self, step: int, state: Any, notes: dict[str, Any], measured: float) -> None:
        """Writes a checkpoint in the background.

        Args:
            step: How many steps the run has done.
            state: A pytree of arrays.
            notes: Plain data.
            measured: How good the state is; lower is better.

        Raises:
            CheckpointError: If this checkpoint or the one before cannot be written. Older ones are kept.
        """
        from orbax.checkpoint import args

        about = {"format": FORMAT, "jaxdl": __version__, "step": step, "measured": measured}
        document = _signed(plain({**about, **notes, "checksums": checksums(state)}))
        with self._errors_say(f"be written at step {step}"):
            self._finish()
            there = self.manager.all_steps()
            for old in self.measured.keys() - {*there}:
                del self.measured[old]
            self.measured[step] = _or_worst(measured)
            self.manager.save(step, args=args.Composite(run=save_arguments(own_shards(state), document)))
            self.written = self.thread.submit(self._on_disk, step)

    def wait(self) -> None:
        """Waits until all checkpoints are on disk; raises CheckpointError if one cannot be written."""
        with self._errors_say("be written"):
            self._finish()

    def _finish(self):
        written, self.written = self.written, None
        if written:
            written.result()

    def _on_disk(self, step):
        """Waits until the last checkpoint has its final name, and the name is on disk."""
        self.manager.wait_until_finished()
        sync(self.folder / str(step))
        sync(self.folder)

    def latest(self, like: Any, run: dict[str, Any]) -> RestoredCheckpoint | None:
        """Reads the last intact checkpoint. Damaged ones are moved to the folder `damaged`, with a warning.

        Args:
            like: A state with the expected structure, types and shardings.
            run: What identifies the run.

        Returns:
            The checkpoint, or None if there is none at all.

        Raises:
            ValueError: If the checkpoints belong to another run.
            CheckpointError: If none is intact, or they have a newer format.
        """
        reasons = []
        for step in sorted(self.manager.all_steps(), reverse=True):
            try:
                saved = self._read(step, like, run)
            except Damaged as error:
                reasons.append(f"step {step}: {error}")
                continue
            for reason in reasons:
                log.warning(
                    "a checkpoint in %s is damaged and was moved aside; step %d is used: %s", self.folder, step, reason
                )
            self._set_aside([s for s in self.manager.all_steps() if s > step])
            return saved
        if reasons:
            raise CheckpointError(f"no checkpoint in {self.folder} is intact: {'; '.join(reasons)}")
        return None

    def run_at(self, step: int) -> dict[str, Any] | None:
        """What identifies the run that saved a checkpoint; None if there is none at this step, or it is damaged."""
        try:
            return self._notes(step)["run"] if step in self.manager.all_steps() else None
        except Damaged:
            return None

    def _read(self, step, like, run) -> RestoredCheckpoint:
        notes = _in_all_processes(lambda: self._notes(step))
        if notes["format"] != FORMAT:
            raise CheckpointError(
                f"the checkpoint at step {step} in {self.folder} was written by jaxdl {notes['jaxdl']} in format "
                f"{notes['format']}; this version reads {FORMAT}: use the version that wrote it"
            )
        if notes["step"] != step:
            raise CheckpointError(
                f"the checkpoint in {self.folder / str(step)} is of step {notes['step']}: it was renamed or copied; "
                f"rename it to {notes['step']}"
            )
        _check_same(plain(run), notes["run"], self.folder)
        state = _in_all_processes(lambda: self._state(step, like))
        found = checksums(state)
        for path, total in found.items():
            if notes["checksums"].get(path) != total:
                raise Damaged(f"{path} has changed: its checksum differs")
        return RestoredCheckpoint(step, state, notes)

    def _state(self, step, like):
        """Not read by orbax's manager, which waits for all processes: only one of them may find damage."""
        try:
            return read_arrays(self.folder / str(step) / RUN, like)
        except UnreadableArrays as error:
            raise Damaged(f"it cannot be read: {_first_line(error)}") from error

    def _notes(self, step) -> dict[str, Any]:
        path = self.folder / str(step) / RUN / NOTES
        if not path.exists():
            path = self.folder / str(step) / "notes" / "metadata"  # in format 1
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise Damaged(f"its notes cannot be read: {_first_line(error)}") from error
        if not isinstance(document, dict) or document != _signed(document):
            raise Damaged("its notes have changed, or jaxdl did not write it")
        return document

    def _set_aside(self, steps):
        """Moves damaged checkpoints to the folder `damaged`, so that new ones can have their names."""
        if not steps:
            return
        if jax.process_index() == 0:
            (self.folder / DAMAGED).mkdir(exist_ok=True)
            for step in steps:
                number = len(list((self.folder / DAMAGED).iterdir()))
                os.replace(self.folder / str(step), self.folder / DAMAGED / f"{number}-step-{step}")
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("jaxdl: damaged checkpoints are moved")
        self.manager.reload()

    @contextlib.contextmanager
    def _errors_say(self, what: str) -> Iterator[None]:
        try:
            yield
        except CheckpointError:
            raise
        except Exception as error:  # orbax raises errors of any kind
            good = [int(p.name) for p in self.folder.glob("*") if p.name.isdigit()] if self.folder.is_dir() else []
            last = f"the last one written is that of step {max(good)}" if good else "there is none before it"
            raise CheckpointError(
                f"the checkpoint in {self.folder} cannot {what}: {_first_line(error)}; {last}"
            ) from error


class Damaged(Exception):
    """A checkpoint cannot be used."""


def _in_all_processes(read: Callable[[], Any]) -> Any:
    """The result of read(); raises Damaged in all processes if it does so in one."""
    try:
        found, problem = read(), None
    except Damaged as error:
        found, problem = None, error
    if not true_in_all(problem is None):
        raise problem or Damaged("another process cannot read its part of it")
    return found


def _locked(folder):
    """Creates the folder if it is missing, and locks it until the lock is released or the process ends."""
    with install_hint("filelock", "train.Checkpoint"):
        from filelock import FileLock, Timeout

    lock = FileLock(folder / "lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise CheckpointError(f"another run is writing to {folder}: wait for it, or use another folder") from None
    except OSError as error:
        raise CheckpointError(f"checkpoints cannot be saved in {folder}: {error}") from error
    return lock


def _check_same(run, saved, folder):
    """Raises ValueError if the two fingerprints of runs differ."""
    name = first_difference(saved, run)
    if name is not None:
        raise ValueError(
            f"{folder} holds another run: its {name} is {saved.get(name)}, here it is {run.get(name)}; "
            f"use the same settings, or another folder"
        )


def _signed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with a digest of its other entries."""
    rest = {k: v for k, v in document.items() if k != "digest"}
    return rest | {"digest": hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


def _or_worst(measured: float | None) -> float:
    """The value, or infinity if it is not finite (null in JSON)."""
    return measured if measured is not None and math.isfinite(measured) else math.inf


def _first_line(error):
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
