"""The command line: `jaxdl contrast`, `audit`, `graph`, `tune`, `train`, `plan` and `data`."""

import functools
import io
import operator
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import tyro
from rich.text import Text

from jaxdl import __version__
from jaxdl.cli.commands import audit, contrast, data, graph, plan, train_command, tune
from jaxdl.cli.usage_errors import BadUsage, Ended, no_such
from jaxdl.report import terminal

COMMANDS: dict[str, Callable[..., int]] = {
    "contrast": contrast,
    "audit": audit,
    "graph": graph,
    "tune": tune,
    "plan": plan,
    "data": data,
}
DATA = ("list", "prepare", "show")  # the commands of `jaxdl data`
NO_DEVICE = "there is no device for JAX_PLATFORMS={} here, or this JAX cannot use it"
ABOUT = "jaxdl: derivatives in JAX, by hand and automatic, side by side."


def main(arguments: list[str] | None = None) -> None:
    """Runs a command and exits.

    The exit status is 0 for success, 1 where something was found, 2 for bad usage or output that cannot be written.

    Args:
        arguments: The command line without the program's name; by default `sys.argv[1:]`.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # not its replacement, in a test or a notebook
            stream.reconfigure(errors="replace")  # a terminal may lack × and µ
    try:
        status = _run(arguments)
        if sys.stdout:  # None where it was closed
            sys.stdout.flush()
    except (BadUsage, Ended) as error:
        missing = not _is_device_there() and NO_DEVICE.format(os.environ["JAX_PLATFORMS"])
        status = _failed(missing or error, getattr(error, "status", 2))
    except BrokenPipeError:  # the reader has closed the pipe
        status = 0
        _close_output()
    except OSError as error:
        if not sys.stdout or sys.stdout.closed or error.filename is not None:
            raise
        _close_output()
        status = _failed(f"standard output cannot be written: {error.strerror}", 2)
    except Exception:
        if _is_device_there():
            raise
        status = _failed(NO_DEVICE.format(os.environ["JAX_PLATFORMS"]), 2)
    sys.exit(status)


def _is_device_there() -> bool:
    """Whether JAX has a device of the platform in JAX_PLATFORMS, if that is set."""
    if os.environ.get("JAX_PLATFORMS") in (None, "", "cpu"):
        return True
    import jax

    try:
        return bool(jax.devices())
    except (RuntimeError, AssertionError):
        return False


def _run(arguments):
    if arguments[:1] == ["--version"]:
        print(f"jaxdl {__version__}")
        return 0
    commands = COMMANDS | {"train": train_command(arguments if arguments[:1] == ["train"] else [])}
    for kind, known, given in (("command", commands, arguments[:1]), ("command of data", DATA, _of_data(arguments))):
        if given and not given[0].startswith("-") and given[0] not in known:
            raise BadUsage(no_such(kind, given[0], known))
    config = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes)
    return tyro.cli(_one_of(commands), args=arguments or ["--help"], prog="jaxdl", description=ABOUT, config=config)


def _one_of(commands):
    """What tyro makes the flags from: those of jaxdl itself, then a command with its own."""
    kinds = [Annotated[Any, tyro.conf.subcommand(name, constructor=f)] for name, f in commands.items()]

    def run(command, version: bool = False):
        """Runs a command.

        Args:
            command: Its exit status.
            version: Print the version.
        """
        return command

    run.__annotations__["command"] = functools.reduce(operator.or_, kinds)
    return run


def _of_data(arguments):
    return arguments[1:2] if arguments[:1] == ["data"] else []


def _failed(error, status: int) -> int:
    terminal(stderr=True).print(Text("jaxdl:", "bold red"), str(error), soft_wrap=True)
    return status


def _close_output():
    """Discards what is left in the buffer: Python would try to write it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
