"""The command line: `jaxdl contrast`, `audit`, `graph`, `train`, `plan` and `data`."""

import contextlib
import os
import sys

import jax
import tyro
from rich.text import Text

from jaxdl.cli.auditing import audit
from jaxdl.cli.data import data
from jaxdl.cli.graphing import graph
from jaxdl.cli.job import contrast
from jaxdl.cli.planning import plan
from jaxdl.cli.training import Ended, command
from jaxdl.cli.usage import BadUsage
from jaxdl.report import terminal

COMMANDS = {"contrast": contrast, "audit": audit, "graph": graph, "plan": plan, "data": data}
NO_DEVICE = "there is no device for JAX_PLATFORMS={} here, or this JAX cannot use it"
ABOUT = "jaxdl: derivatives in JAX, written by hand and derived automatically, side by side."


def main(arguments: list[str] | None = None) -> None:
    """Runs a command and exits: 0 all right, 1 something was found, 2 bad usage, or nowhere to write."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # what stands in for one, in a test or a notebook
            stream.reconfigure(errors="replace")  # a terminal need not have × and µ
    try:
        status = _run(arguments)
        if sys.stdout:  # there is none where it was closed
            sys.stdout.flush()
    except (BadUsage, Ended) as error:
        missing = not _is_device_there() and NO_DEVICE.format(os.environ["JAX_PLATFORMS"])
        status = _told(missing or error, getattr(error, "status", 2))
    except BrokenPipeError:  # who was reading has seen enough
        status = 0
        _close_output()
    except OSError as error:
        if not sys.stdout or sys.stdout.closed or error.filename is not None:
            raise
        _close_output()
        status = _told(f"standard output cannot be written: {error.strerror}", 2)
    except Exception:
        if _is_device_there():
            raise
        status = _told(NO_DEVICE.format(os.environ["JAX_PLATFORMS"]), 2)
    sys.exit(status)


def _is_device_there() -> bool:
    """Whether there is one that JAX_PLATFORMS asks for, if it does."""
    if os.environ.get("JAX_PLATFORMS") in (None, "", "cpu"):
        return True
    try:
        return bool(jax.devices())
    except (RuntimeError, AssertionError):
        return False


def _run(arguments):
    commands = COMMANDS | {"train": command(arguments if arguments[:1] == ["train"] else [])}
    config = (tyro.conf.FlagCreatePairsOff,)
    return tyro.extras.subcommand_cli_from_dict(
        commands, args=arguments or ["--help"], prog="jaxdl", description=ABOUT, config=config
    )


def _told(error, status: int) -> int:
    terminal(stderr=True).print(Text("jaxdl:", "bold red"), str(error), soft_wrap=True)
    return status


def _close_output():
    """What is left in the buffer goes nowhere: at its end Python would try to write it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
