"""One run in several processes: connecting them, and starting them all on this machine."""

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
HEARTBEAT_SECONDS = 20  # a process that is silent for longer counts as lost, and the others stop
LOOPBACK = "127.0.0.1"
ADDRESS, COUNT, INDEX = "JAXDL_ADDRESS", "JAXDL_PROCESSES", "JAXDL_PROCESS"


def initialize(
    address: str | None = None, count: int | None = None, index: int | None = None, devices: Sequence[int] | None = None
) -> None:
    """Connects this process with the others of a run, before JAX computes anything.

    Calls `jax.distributed.initialize`, with gloo for CPUs and a short time-out: when a process is lost, the others
    raise an error or end within a minute. A run with checkpoints then resumes with any number of processes. Without
    arguments, JAX asks the cluster (Slurm, Kubernetes, MPI, TPU pods).

    Args:
        address: "host:port" of the first process.
        count: How many processes there are.
        index: Which of them this is, from 0.
        devices: Indices of the accelerators of this machine that this process uses; by default all.

    Examples:
        >>> initialize("10.0.0.1:1234", count=2, index=0)  # doctest: +SKIP
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    here = address if (address or "").startswith(f"{LOOPBACK}:") else None  # by default it listens on all interfaces
    jax.distributed.initialize(
        address, count, index, local_device_ids=devices, heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        coordinator_bind_address=here,
    )  # fmt: skip


def initialize_launched() -> bool:
    """Calls `initialize` in a process that `launch` started, with one accelerator each; returns whether it is one."""
    if ADDRESS not in os.environ:
        return False
    index, address = int(os.environ[INDEX]), os.environ[ADDRESS]
    if index == 0:
        _check_free(address)
    initialize(address, int(os.environ[COUNT]), index, [index])
    return True


def _check_free(address):
    """Raises RuntimeError if another program uses the port, for which JAX would end the process."""
    host, _, port = address.rpartition(":")
    with socket.socket() as meeting:
        meeting.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            meeting.bind((host, int(port)))
        except OSError as error:
            raise RuntimeError(
                f"the processes of this run cannot meet at {address} ({error.strerror}): start it again, with --resume "
                f"if it has checkpoints"
            ) from error


def from_first_process(found: bool) -> bool:
    """The value in the first process, in all of them."""
    return found if jax.process_count() == 1 else bool(multihost_utils.broadcast_one_to_all(np.asarray(found)))


def true_in_all(found: bool) -> bool:
    """Whether the value is true in all processes."""
    return found if jax.process_count() == 1 else bool(multihost_utils.process_allgather(np.asarray(found)).all())


def launch(command: Sequence[str], count: int, grace: float = 10.0) -> int:
    """Runs a command in several processes on this machine.

    Environment variables tell each process its index. Only the first process's standard output is shown.

    Args:
        command: The program and its arguments.
        count: How many processes to start.
        grace: Seconds that the other processes have to end after one has failed, before they are killed.

    Returns:
        0 if all processes succeed. Otherwise the exit status of the first that failed, 128 + n after signal n.

    Examples:
        >>> status = launch(["python", "train.py"], 4)  # doctest: +SKIP
    """
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        address = f"{LOOPBACK}:{free.getsockname()[1]}"
    environment = lambda i: os.environ | {ADDRESS: address, COUNT: str(count), INDEX: str(i)}
    running = []
    try:
        with _ended_by_signals():
            for i in range(count):
                out = None if i == 0 else subprocess.DEVNULL
                running.append(
                    subprocess.Popen(command, env=environment(i), stdout=out, preexec_fn=_ends_with_parent())
                )
            return _status(running, grace)
    finally:
        for process in running:
            process.kill()  # SIGTERM does not end a process that hangs in a collective
            process.wait()


def _status(running, grace) -> int:
    failed = _first_failed(running)
    end = time.monotonic() + grace
    while failed and time.monotonic() < end and any(p.poll() is None for p in running):
        time.sleep(0.1)
    return failed


@contextlib.contextmanager
def _ended_by_signals():
    """Signals of schedulers raise KeyboardInterrupt in this process, so that it can kill the others."""

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


def _ends_with_parent():
    """A function that a new process calls to be killed when this one ends; None where the system cannot do so."""
    if not sys.platform.startswith("linux"):
        return None
    libc, this = ctypes.CDLL(None), os.getpid()

    def tie():
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != this:  # the parent has ended already
            os._exit(1)

    return tie


def _first_failed(running) -> int:
    """Waits until a process has failed or all have ended; the status of the one that failed, or 0."""
    while True:
        ended = [process.poll() for process in running]
        failed = next((status for status in ended if status), None)
        if failed is not None:
            return failed if failed > 0 else 128 - failed
        if None not in ended:
            return 0
        time.sleep(0.1)
