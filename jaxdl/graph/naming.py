"""Labels of operations and constants: the variables of the traced function's source.

A variable names an operation if the operation's result is the only value that leaves the assignment.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from jaxdl import jaxpr as jx
from jaxdl.graph.node import CONSTANT, Node, Output

Stacks = dict[Node, tuple[jx.Instruction, ...]]


def name_variables(stacks: Stacks, outputs: Iterable[Output], labels: set[str]) -> None:
    """Labels the operations that the source assigns to variables; a name that is in use gets a number: x, x2, x3.

    An operation without a name whose label u1 is a variable's is called v1.

    Args:
        stacks: The instructions that led to each operation, from outside in, in the order of evaluation.
        outputs: The outputs of the function.
        labels: The labels in use; new ones are added.
    """
    numbers = defaultdict(lambda: itertools.count(2))  # by name, those that were not tried yet
    unnamed = [node for node in stacks if not node.is_named]
    labels.difference_update(node.label for node in unnamed)
    for name, node in _assigned(stacks, set(outputs)):
        if not node.is_named:
            candidates = itertools.chain([name], (f"{name}{k}" for k in numbers[name]))
            node.label, node.is_named = next(label for label in candidates if label not in labels), True
            labels.add(node.label)
    for node in unnamed:
        if not node.is_named:
            others = itertools.chain([node.label], (f"v{k}" for k in itertools.count(int(node.label[1:]))))
            node.label = next(label for label in others if label not in labels)
            labels.add(node.label)


def _assigned(stacks: Stacks, results: set[Output]):
    """The name and the node of each assignment: first those of the function itself, then of functions that it calls.

    An assignment is a run of nodes to which the same instructions led.
    """
    names, runs = {}, [list(stacks)]
    for depth in range(max(map(len, stacks.values()), default=0)):
        led = lambda node, depth=depth: stacks[node][depth] if len(stacks[node]) > depth else None
        grouped = [(at, [*nodes]) for run in runs for at, nodes in itertools.groupby(run, led) if at is not None]
        for at, run in grouped:
            key = id(at.code), at.offset  # the hash of a code object takes long
            if key not in names:
                names[key] = jx.assigned_name(at)
            node = _only_leaving(run, results) if names[key] else None
            if node is not None:
                yield names[key], node
        runs = [run for _, run in grouped]


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
    inside = {*run}
    used = {e.source for node in run for e in node.users if e.target not in inside}
    used |= {y for y in results if y.node in inside}
    (first, *others) = used or (None,)
    return first.node if first and not others and len(first.node.types) == 1 else None
