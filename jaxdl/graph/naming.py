"""Labels of operations and constants: the variables of the traced function's source.

A variable names an operation if the operation's result is the only value that leaves the assignment.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from jaxdl import jaxpr as jx
from jaxdl.graph.node import CONSTANT, Node, Output

_NUMBERED = re.compile(r"u\d+").fullmatch


def name_variables(
    sources: dict[Node, tuple[jx.Instruction, ...]], outputs: Iterable[Output], labels: set[str]
) -> None:
    """Labels the operations that the source assigns to variables; a name that is in use gets a number: x, x2, x3.

    Args:
        sources: The instructions that led to each operation, from outside in, in the order of evaluation.
        outputs: The outputs of the function.
        labels: The labels in use; new ones are added.
    """
    numbers = defaultdict(lambda: itertools.count(2))  # by name, those that were not tried yet
    results, named = set(outputs), {node for node in sources if not _NUMBERED(node.label)}
    for depth in range(max(map(len, sources.values()), default=0)):
        stacks = {node: at[: depth + 1] for node, at in sources.items()}
        for at, run in itertools.groupby(stacks, stacks.__getitem__):
            name = jx.assigned_name(at[-1]) if len(at) > depth else ""
            node = _only_leaving({*run}, results) if name else None
            if node and node not in named:
                named.add(node)
                candidates = itertools.chain([name], (f"{name}{k}" for k in numbers[name]))
                node.label = next(label for label in candidates if label not in labels)
                labels.add(node.label)


def name_constants(nodes: Iterable[Node], captured: dict[str, Any], labels: set[str]) -> None:
    """Labels the arrays that the function reads from variables outside of it by the names of these variables."""
    for node in nodes:
        if node.kind == CONSTANT and node.kept:
            name = next((name for name, x in captured.items() if x is node.kept[0]), "")
            if name and name not in labels:
                node.label = node.name = name
                labels.add(name)


def _only_leaving(run, results) -> Node | None:
    """The node whose output is the only one that is used outside of a run of nodes."""
    used = {e.source for node in run for e in node.users if e.target not in run} | {y for y in results if y.node in run}
    (first, *others) = used or (None,)
    return first.node if first and not others and len(first.node.types) == 1 else None
