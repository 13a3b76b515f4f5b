"""Parameters by the names that the program gives their layers: w with the index dense_1 for params[1]['w']."""

from __future__ import annotations

import re
from collections import Counter

from jaxdl.graph.node import ARGUMENT, AnyGraph, Node


def parameters_in_layers(graph: AnyGraph) -> dict[Node, tuple[str, str]]:
    """The key and the layer of each argument that one layer uses, where this names a single argument."""
    found = {node: name for node in graph.nodes if node.kind == ARGUMENT and (name := _key_and_layer(node))}
    times = Counter(found.values())
    return {node: name for node, name in found.items() if times[name] == 1}


def _key_and_layer(node):
    key = re.search(r"\['(\w+)'\]$", node.label)
    layers = {tuple(scope.name for scope in edge.target.scope if scope.call == 0) for edge in node.users}
    (layer, *others) = layers or ((),)
    return (key[1], ".".join(layer)) if key and layer and not others else None
