"""Signals that stop a run: the current steps finish and a checkpoint is saved first."""

import os
import signal
import threading
from typing import Any

import jax

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]


class Interrupted(KeyboardInterrupt):
    """A run was stopped by a signal, after it was saved.

    Attributes:
        step: How many steps the saved run has done.
        folder: The folder of its checkpoints.
    """

    step: int
    folder: str | os.PathLike[str]

    def __init__(self, step: int, folder: str | os.PathLike[str]):
        super().__init__(f"stopped at step {step}, saved in {folder}; the same call resumes the run")
        self.step, self.folder = step, folder


class Interruption:
    """A context in which a signal sets `requested`; a second one has its usual effect.

    Active only in the main thread of a single process: one of several processes cannot stop without the others.
    """

    def __init__(self, has_checkpoints: bool):
        is_alone = jax.process_count() == 1 and threading.current_thread() is threading.main_thread()
        self.is_active: bool = has_checkpoints and is_alone
        self.requested: bool = False
        self.handlers_before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        if self.is_active:
            self.handlers_before = {s: signal.signal(s, self._request) for s in SIGNALS}
        return self

    def _request(self, number, frame):
        self.requested = True
        self._restore()

    def _restore(self):
        for s, handler in self.handlers_before.items():
            signal.signal(s, handler)
        self.handlers_before = {}

    def __exit__(self, *error: object) -> None:
        self._restore()
