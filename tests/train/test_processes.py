"""Several processes that train together: they end when one is lost, and any number of them can resume the run."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxdl.train import load_failed_step
from tests.systems import linux
from tests.train.run_in_processes import MODEL, losses

ROOT = Path(__file__).parents[2]
LAUNCH = "import sys; from jaxdl.train import launch; sys.exit(launch(sys.argv[2:], int(sys.argv[1])))"


def launched(count, *arguments):
    """Exit status, the losses that the first process printed, and standard error."""
    train = [sys.executable, "-m", "tests.train.run_in_processes", *map(str, arguments)]
    command = [sys.executable, "-c", LAUNCH, str(count), *train]
    env = os.environ | {"XLA_FLAGS": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}  # one device per process
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240, env=env)
    found = [json.loads(line[7:]) for line in done.stdout.splitlines() if line.startswith("losses ")]
    return done.returncode, found, done.stderr


def damage_a_share(folder):
    """Renames a shard of the weights in the second process's file of the last checkpoint.

    Only the processes that need the shard notice.
    """
    last = max((p for p in folder.iterdir() if p.name.isdigit()), key=lambda p: int(p.name))
    path = last / "run" / "arrays-1.safetensors"
    whole = path.read_bytes()
    (name, *_) = re.findall(rb"\['params'\]\[\d\]\['w'\]", whole)
    path.write_bytes(whole.replace(name, name.replace(b"params", b"parans"), 1))


def test_two_lose_one_and_stop_and_four_go_on(tmp_path):
    status, found, _ = launched(2, tmp_path / "together", 4, 1)
    assert status == 137  # of the killed process
    assert not found
    damage_a_share(tmp_path / "together" / "in memory")
    status, found, said = launched(4, tmp_path / "together", 4)
    assert status == 0, said
    assert "is damaged and was moved aside" in said
    *together, kept = found
    *alone, kept_alone = losses(tmp_path / "alone", 4)
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    params = jax.eval_shape(lambda: MODEL.init(jax.random.key(0), (10,)))
    steps = [load_failed_step(path, params) for path in (kept, kept_alone)]
    assert np.isnan(steps[0].x).any(1).sum() == 1
    same = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    jax.tree.map(same, *[(before.step, before.params, before.x, before.y) for before in steps])


def script_command(script):
    """The command that runs a script."""
    return [sys.executable, "-c", textwrap.dedent(script)]


def is_there(pid):
    """Whether a process runs or sleeps, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    assert condition()


@linux
@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGINT", "SIGKILL"])
def test_a_launcher_that_ends_leaves_nobody(number, tmp_path):
    script = "import os, sys, time; open(os.path.join(sys.argv[1], str(os.getpid())), 'w'); time.sleep(600)"
    sleep = [sys.executable, "-c", script, str(tmp_path)]
    heard = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # background jobs of a shell ignore it
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, "3", *sleep], stderr=subprocess.DEVNULL, preexec_fn=heard
    )
    wait_for(lambda: len(list(tmp_path.iterdir())) == 3)
    launcher.send_signal(getattr(signal, number))
    launcher.wait(60)
    wait_for(lambda: not any(is_there(path.name) for path in tmp_path.iterdir()))


MEETING = """
    import json, os, signal, sys, time
    from pathlib import Path
    import jax
    from jaxdl.train import processes
    jax.config.update("jax_platforms", "cpu")
    processes.HEARTBEAT_SECONDS = 3
    processes.initialize_launched()
    index = jax.process_index()
"""


@linux
def test_they_meet_where_no_other_machine_can():
    """In /proc/net/tcp an address is hexadecimal, 0100007F is 127.0.0.1, also in IPv6, and state 0A is listening."""
    script = (
        MEETING
        + """
    port = int(os.environ[processes.ADDRESS].rpartition(":")[2])
    if index == 0:
        rows = [row.split() for name in ("tcp", "tcp6") for row in Path("/proc/net", name).read_text().splitlines()[1:]]
        found = [row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")]
        print("listening", json.dumps(found), flush=True)
    processes.true_in_all(True)
    """
    )
    env = os.environ | {"XLA_FLAGS": ""}
    command = [sys.executable, "-c", LAUNCH, "2", *script_command(script)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240, env=env)
    assert done.returncode == 0, done.stderr
    (addresses,) = [json.loads(line[10:]) for line in done.stdout.splitlines() if line.startswith("listening ")]
    assert addresses
    assert all(re.match("(0000000000000000FFFF0000)?0100007F:", address) for address in addresses)


def test_a_process_that_is_stopped_ends_all(tmp_path):
    script = (
        MEETING
        + """
    if index == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(200)
    """
    )
    env = os.environ | {"XLA_FLAGS": ""}
    command = [sys.executable, "-c", LAUNCH, "2", *script_command(script)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=150, env=env)
    assert done.returncode not in (0, None)


def test_a_port_that_is_taken(tmp_path):
    script = """
    import os, socket, sys
    from jaxdl.train import processes
    taken = socket.socket()
    taken.bind((processes.LOOPBACK, 0))
    taken.listen()
    os.environ |= {processes.ADDRESS: f"{processes.LOOPBACK}:{taken.getsockname()[1]}", processes.COUNT: "1",
                   processes.INDEX: "0"}
    try:
        processes.initialize_launched()
    except RuntimeError as error:
        print("ERROR", error)
    """
    done = subprocess.run(script_command(script), capture_output=True, text=True, cwd=ROOT, timeout=240)
    assert re.search(
        r"ERROR the processes of this run cannot meet at .*Address already in use.*: start it again", done.stdout
    ), done
