"""One run in several processes: joining them, and starting them all on this machine."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxdl.train.interrupt import SIGNALS

PR_SET_PDEATHSIG = 1  # of prctl(2)
HEARTBEAT_SECONDS = 20  # without a sign of life: then a process counts as lost, and the others stop
LOOPBACK = "127.0.0.1"
ADDRESS, COUNT, INDEX = "JAXDL_ADDRESS", "JAXDL_PROCESSES", "JAXDL_PROCESS"


def initialize(
    address: str | None = None, count: int | None = None, index: int | None = None, devices: Sequence[int] | None = None
) -> None:
    """Makes this process the index-th of `count` that work together, before anything is computed.

    address: host:port of the first one. devices: which of this machine's accelerators it uses, by default all. Without
    arguments JAX asks the cluster (Slurm, Kubernetes, MPI, TPU pods). When a process is lost, the others get an error
    or are ended within a minute; a run that is kept goes on from its last checkpoint, with as many processes as then
    are there. CPUs talk by gloo.
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    here = address if (address or "").startswith(f"{LOOPBACK}:") else None  # by default it listens on all interfaces
    jax.distributed.initialize(
        address, count, index, local_device_ids=devices, heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        coordinator_bind_address=here,
    )  # fmt: skip


def initialize_launched() -> bool:
    """Joins the processes that `launch` started, in one of them, with an accelerator each; whether it is one."""
    if ADDRESS not in os.environ:
        return False
    index, address = int(os.environ[INDEX]), os.environ[ADDRESS]
    if index == 0:
        _check_free(address)
    initialize(address, int(os.environ[COUNT]), index, [index])
    return True


def _check_free(address):
    """JAX would end the process where another program has taken the port meanwhile."""
    host, _, port = address.rpartition(":")
    with socket.socket() as meeting:
        meeting.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            meeting.bind((host, int(port)))
        except OSError as error:
            raise RuntimeError(
                f"the processes of this run cannot meet at {address} ({error.strerror}): start it again, with --resume "
                f"where it is kept"
            ) from error


def from_first_process(found: bool) -> bool:
    """What the first of the processes found, in all of them."""
    return found if jax.process_count() == 1 else bool(multihost_utils.broadcast_one_to_all(np.asarray(found)))


def true_in_all(found: bool) -> bool:
    """Whether all of the processes found it."""
    return found if jax.process_count() == 1 else bool(multihost_utils.process_allgather(np.asarray(found)).all())


def launch(command: Sequence[str], count: int, grace: float = 10.0) -> int:
    """Runs a command in `count` processes on this machine, told by the environment which they are.

    Gives 0 when all of them end well. When one does not, the others have `grace` seconds to say so and are ended then,
    as they may hang; the status is that of the first one that failed, 128 + n where signal n ended it. Of the others
    than the first one only standard error is shown.
    """
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        address = f"{LOOPBACK}:{free.getsockname()[1]}"
    told = lambda i: os.environ | {ADDRESS: address, COUNT: str(count), INDEX: str(i)}
    running = []
    try:
        with _ended_by_signals():
            for i in range(count):
                out = None if i == 0 else subprocess.DEVNULL
                running.append(subprocess.Popen(command, env=told(i), stdout=out, preexec_fn=_with_parent()))
            return _status(running, grace)
    finally:
        for process in running:
            process.kill()  # SIGTERM does not end one that hangs in a collective
            process.wait()


def _status(running, grace) -> int:
    failed = _first_failed(running)
    end = time.monotonic() + grace
    while failed and time.monotonic() < end and any(p.poll() is None for p in running):
        time.sleep(0.1)
    return failed


@contextlib.contextmanager
def _ended_by_signals():
    """What schedulers send ends this process as Ctrl-C does, so that it ends the others first."""

    def end(number, frame):
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {s: signal.signal(s, end) for s in SIGNALS if s != signal.SIGINT}
    try:
        yield
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


def _with_parent():
    """What a new process calls, so that it ends when this one does, in whatever way; None where that cannot be."""
    if not sys.platform.startswith("linux"):
        return None
    libc, this = ctypes.CDLL(None), os.getpid()

    def tie():
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != this:  # it has ended meanwhile
            os._exit(1)

    return tie


def _first_failed(running) -> int:
    """Waits; the status of the first process that failed, or 0."""
    while True:
        ended = [process.poll() for process in running]
        failed = next((status for status in ended if status), None)
        if failed is not None:
            return failed if failed > 0 else 128 - failed
        if None not in ended:
            return 0
        time.sleep(0.1)
