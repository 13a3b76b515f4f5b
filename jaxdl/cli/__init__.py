"""The command line: `jaxdl contrast`, `audit`, `graph`, `train`, `plan` and `data`."""

import sys

import tyro
from rich.console import Console
from rich.markup import escape

from jaxdl.cli.auditing import audit
from jaxdl.cli.data import data
from jaxdl.cli.graphing import graph
from jaxdl.cli.job import contrast
from jaxdl.cli.planning import plan
from jaxdl.cli.training import Ended, command
from jaxdl.cli.usage import BadUsage

COMMANDS = {"contrast": contrast, "audit": audit, "graph": graph, "plan": plan, "data": data}


def main(arguments: list[str] | None = None) -> None:
    """Runs a command and exits: 0 all right, 1 something was found, 2 bad usage."""
    arguments = sys.argv[1:] if arguments is None else arguments
    about = "jaxdl: derivatives in JAX, written by hand and derived automatically, side by side."
    try:
        status = tyro.extras.subcommand_cli_from_dict(
            COMMANDS | {"train": command(arguments if arguments[:1] == ["train"] else [])},
            args=arguments or ["--help"],
            prog="jaxdl",
            description=about,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    except (BadUsage, Ended) as error:
        Console(stderr=True).print(f"[bold red]jaxdl:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        status = getattr(error, "status", 2)
    sys.exit(status)
