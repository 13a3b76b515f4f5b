"""A graph as a table and as JSON."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.graph.node import AnyGraph, Edge, Node
from jaxdl.graph.text import formula, shape_text, value_text
from jaxdl.report import Table, bytes_text

MOST_ROWS = 60  # in the table
MOST_NUMBERS = 1000  # of an array whose numbers are in the JSON


def table(graph: AnyGraph) -> Table:
    """One row for each of the first nodes: the operation, its value, its adjoint and its line of source code."""
    shown = graph.nodes[:MOST_ROWS]
    rows = [(formula(node), _value(node), _adjoint(node), node.where) for node in shown]
    notes = [f"{len(graph.nodes)} nodes"]
    if graph.peak_bytes is not None:
        notes.append(f"values and gradients took up to {bytes_text(graph.peak_bytes)}")
    if len(graph.nodes) > MOST_ROWS:
        notes.append(f"{len(graph.nodes) - MOST_ROWS} more nodes are not shown")
    columns = ("operation", "value", "gradient", "source")
    return Table(f"Graph of {graph.name}", columns, rows, "; ".join(notes), words=4).without_empty_columns()


def _value(node: Node) -> str:
    if node.kept is None:
        return ", ".join(map(shape_text, node.types))
    return ", ".join(map(value_text, node.kept))


def _adjoint(node: Node) -> str:
    arrives = any(adjoint is not None for adjoint in node.adjoints or ())
    return ", ".join(map(value_text, node.adjoints or ())) if arrives else "–"


def to_json(graph: AnyGraph) -> dict[str, Any]:
    """Name, nodes with their inputs, and outputs; numbers of arrays that are not too large."""
    return {
        "name": graph.name,
        "peak_bytes": graph.peak_bytes,
        "nodes": [_node(node) for node in graph.nodes],
        "outputs": list(map(repr, graph.flat_outputs)),
    }


def _node(node: Node) -> dict[str, Any]:
    return {
        "label": node.label,
        "operation": node.name,
        "kind": node.kind,
        "scope": [scope.name for scope in node.scope],
        "types": list(map(jx.typed, node.types)),
        "inputs": [repr(x.source) if isinstance(x, Edge) else _numbers(x) for x in node.inputs],
        "values": None if node.kept is None else list(map(_numbers, node.kept)),
        "adjoints": None if node.adjoints is None else list(map(_numbers, node.adjoints)),
        "source": node.where,
    }


def _numbers(x: Any) -> Any:
    """The numbers of a real array as nested lists; None where it is large, complex or not numeric."""
    if x is None or np.size(x) > MOST_NUMBERS:
        return None
    dtype = x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
    is_real = jnp.issubdtype(dtype, jnp.number) and not jnp.issubdtype(dtype, jnp.complexfloating)
    return np.asarray(x).tolist() if is_real or jnp.issubdtype(dtype, jnp.bool_) else None
