"""The numbers of the local gradients: downstream = local × upstream, on each edge of a small graph."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl import symbolic_zeros
from jaxdl.graph.node import AnyGraph, Edge
from jaxdl.graph.text import FEW, value_text

MOST_EDGES = 500  # of a graph whose local gradients are computed
MOST_LETTERS = 30  # of a product on an edge


def compute_local_gradients(graph: AnyGraph) -> None:
    """Sets `edge.local` where the backward pass used it and it has few numbers; nothing in a large graph."""
    edges = [edge for node in graph.nodes for edge in node.edges if _is_small(edge)]
    if len(edges) > MOST_EDGES:
        return
    for edge in edges:
        if edge.local is None:
            edge.local = _jacobian(edge)


def _is_small(edge):
    """Whether target and source have numbers, but at most `FEW`, and a gradient flows along the edge."""
    types = (*edge.target.types, edge.source.type)
    return edge.adjoint is not None and len(types) == 2 and all(0 < math.prod(t.shape) <= FEW for t in types)


def _jacobian(edge: Edge):
    """The derivative of the target with respect to the source, of their shapes."""
    (y,), x = edge.target.types, edge.source.type
    inputs = [e.value if isinstance(e, Edge) else e for e in edge.target.inputs]
    units = np.eye(math.prod(y.shape), dtype=y.dtype).reshape((-1, *y.shape))
    local = jx.binding(edge.target.equation)
    rows = [symbolic_zeros.pulled(local, inputs, [edge.place], [jnp.asarray(unit)])[0] for unit in units]
    zero = np.zeros(x.shape, x.dtype)
    return np.stack([zero if row is None else np.asarray(row) for row in rows]).reshape((*y.shape, *x.shape))


def flow_text(edge: Edge) -> str:
    """What flows back along an edge, `4 = 2 · 2`: downstream = local · upstream, as far as the numbers are few.

    Where each number of the source acts on one of the target only, the product is elementwise: ⊙.
    """
    if edge.adjoint is None:
        return ""
    adjoint, product = value_text(edge.adjoint), product_text(edge)
    return f"{adjoint} = {product}" if product and len(product) <= MOST_LETTERS else adjoint


def product_text(edge: Edge) -> str:
    """The product of local and upstream gradient in numbers; empty where it is not one of number by number."""
    upstream = edge.target.adjoint
    if edge.local is None or upstream is None:
        return ""
    size = math.prod(edge.source.type.shape)
    by_number = np.reshape(edge.local, (-1, size))
    if len(by_number) != size or np.any(by_number[~np.eye(size, dtype=bool)]):
        return ""
    local = np.diagonal(by_number).reshape(edge.source.type.shape)
    return f"{value_text(local)} {'·' if size == 1 else '⊙'} {in_brackets(value_text(upstream))}"


def in_brackets(term: str) -> str:
    """A term in brackets if it starts with a minus sign."""
    return f"({term})" if term.startswith("−") else term
