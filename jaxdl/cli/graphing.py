"""`jaxdl graph`: the computational graph of an example or of the user's function."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.cli.usage_errors import BadUsage, no_such, usage
from jaxdl.cli.user_functions import function_and_arguments
from jaxdl.example_calls import EXAMPLES
from jaxdl.graph import trace
from jaxdl.report import Table, error_text, terminal


def show_graph(target: str, args: Path | None, out: Path | None, steps: bool, costs: bool, depth: int | None) -> int:
    """Prints a graph's table, steps or costs, and draws it."""
    console = terminal()
    if not target:
        rows = [(name, example.about) for name, example in EXAMPLES.items()]
        Table("jaxdl graph EXAMPLE", ("example", "what it computes"), rows, words=2).print(console)
        return 0
    f, given = _chosen(target, args)
    try:
        found = trace(f)(*given)
        found.backward(jax.tree.map(_ones, found.outputs, is_leaf=lambda x: hasattr(x, "node")))
    except (Exception, SystemExit) as error:  # whatever the user's function raises
        raise BadUsage(f"{target}: {error_text(error)}") from error
    if steps:
        for step in found.steps():
            console.print(step.text, soft_wrap=True)
    elif costs:
        found.costs().print(console)
    else:
        found.print(console)
    if out:
        usage(lambda: found.draw(out, depth=depth))
        console.print(f"Written: {out}", soft_wrap=True)
    return 0


def _chosen(target, path) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    if target in EXAMPLES:
        return EXAMPLES[target]()
    if ":" not in target:
        raise BadUsage(no_such("example", target, EXAMPLES, ", or give package.module:function"))
    return function_and_arguments(target, path)


def _ones(output):
    return jnp.ones(output.type.shape, output.type.dtype) if output.is_smooth else None
