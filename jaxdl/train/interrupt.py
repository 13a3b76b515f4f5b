"""Ctrl-C and what schedulers send to a run that is kept: the steps under way end, the run is saved, then it stops."""

import os
import signal
import threading

import jax

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop, and was saved before it did: `step`, `folder`."""

    def __init__(self, step: int, folder: str | os.PathLike):
        super().__init__(f"stopped at step {step}, saved in {folder}; called again in the same way, it goes on there")
        self.step, self.folder = step, folder


class Interruption:
    """While it is open, `asked` tells whether the run was asked to stop; when asked again it stops at once.

    Only in the main thread of a single process: of several processes one cannot stop without the others.
    """

    def __init__(self, is_kept: bool):
        self.is_open = is_kept and jax.process_count() == 1 and threading.current_thread() is threading.main_thread()
        self.asked = False
        self.before = {}

    def __enter__(self):
        if self.is_open:
            self.before = {s: signal.signal(s, self._ask) for s in SIGNALS}
        return self

    def _ask(self, number, frame):
        self.asked = True
        self._restore()

    def _restore(self):
        for s, handler in self.before.items():
            signal.signal(s, handler)
        self.before = {}

    def __exit__(self, *error):
        self._restore()
