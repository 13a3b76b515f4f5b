"""Narrow places of a computation: sets of values through which everything from the input to the output passes.

A cut is an antichain: every path from input to output meets it exactly once, so that the Jacobian is the product of
those of its two sides. The narrowest cut through a given value is a minimum cut of the graph in which to pass a value
costs its number of entries (Ford and Fulkerson 1956).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from jaxdl import jaxpr as jx
from jaxdl import symbolic_zeros

UNLIMITED = np.iinfo(np.int32).max // 4  # SciPy's capacities have 32 bits
MOST_CAPACITY = UNLIMITED // 64  # wider values count as this wide: more than any cut that is looked for
CONTROL_FLOW = {"cond", "scan", "while"}


@dataclass(frozen=True)
class Cut:
    """A cut.

    Attributes:
        values: The variables in it.
        before: All variables upstream, with those in it.
    """

    values: tuple[Any, ...]
    before: frozenset[Any]

    @property
    def size(self) -> int:
        """The number of entries."""
        return sum(jx.size(v) for v in self.values)


def active(jaxpr: Any) -> set[Any]:
    """The variables of inexact dtype on paths from the first input to the output, without empty ones."""
    eqns, start, (end,) = jaxpr.eqns, jaxpr.invars[0], jaxpr.outvars
    moved = {start}
    for eqn in eqns:
        moved.update(v for v in _moved_outputs(eqn, moved) if jnp.issubdtype(v.aval.dtype, jnp.inexact) and jx.size(v))
    used = {end}
    for eqn in reversed(eqns):
        if any(v in used for v in eqn.outvars):
            used.update(v for v in eqn.invars if jx.is_variable(v))
    return moved & used


def _moved_outputs(eqn: Any, moved: set[Any]) -> Iterable[Any]:
    """The outputs of an equation that depend on the `moved` ones of its inputs; in control flow perhaps not all."""
    moving = [i for i, v in enumerate(eqn.invars) if jx.is_variable(v) and v in moved]
    if not moving or eqn.primitive.name not in CONTROL_FLOW:
        return eqn.outvars if moving else ()
    try:
        moves = symbolic_zeros.moved(jx.binding(eqn), [v.aval for v in eqn.invars], moving)
    except Exception:  # without a forward mode JAX cannot tell
        return eqn.outvars
    return [v for v, moves in zip(eqn.outvars, moves, strict=True) if moves]


def nested_cuts(jaxpr: Any, below: int) -> list[Cut]:
    """Nested cuts with fewer than `below` entries, in the order from the input to the output.

    The narrowest cut is taken first, then each that lies entirely before or after those taken.
    """
    network = _FlowNetwork(jaxpr)
    cuts = {cut for v in network.values if jx.size(v) < below and (cut := network.cut_through(v)) is not None}
    chain: list[Cut] = []
    for cut in sorted(cuts, key=lambda cut: (cut.size, len(cut.before))):
        nested = all(cut.before < other.before or other.before < cut.before for other in chain)
        if cut.size < below and nested:
            chain.append(cut)
    return sorted(chain, key=lambda cut: len(cut.before))


class _FlowNetwork:
    """Two nodes for each value, joined by an arc with the number of entries as capacity; one node for each equation.

    Arcs upstream have no limit. Complex values inside a real function (and real ones inside a complex one) are never
    cut: their derivatives are not complex matrices (real matrices).
    """

    def __init__(self, jaxpr: Any):
        live, kind = active(jaxpr), _is_complex(jaxpr.invars[0])
        capacity = lambda v: min(jx.size(v), MOST_CAPACITY) if _is_complex(v) == kind else UNLIMITED
        eqns = [eqn for eqn in jaxpr.eqns if live.intersection(eqn.outvars)]
        self.values = [jaxpr.invars[0], *(v for eqn in eqns for v in eqn.outvars if v in live)]
        self.place = {v: i for i, v in enumerate(self.values)}
        arcs = {}
        for v, i in self.place.items():
            arcs[2 * i, 2 * i + 1], arcs[2 * i + 1, 2 * i] = capacity(v), UNLIMITED
        for k, eqn in enumerate(eqns, 2 * len(self.values)):
            ends = [2 * self.place[v] + 1 for v in eqn.invars if jx.is_variable(v) and v in live]
            starts = [2 * self.place[v] for v in eqn.outvars if v in live]
            for a, b in [(end, k) for end in ends] + [(k, start) for start in starts]:
                arcs[a, b] = arcs[b, a] = UNLIMITED
        self.first, self.last = 0, 2 * self.place[jaxpr.outvars[0]] + 1
        self.arcs, self.nodes = arcs, 2 * len(self.values) + len(eqns)

    def cut_through(self, v: Any) -> Cut | None:
        """The narrowest cut that contains v; None if there is none."""
        i = self.place[v]
        arcs = self.arcs | {(self.first, 2 * i): UNLIMITED, (2 * i + 1, self.last): UNLIMITED}
        arcs.pop((self.first, self.first), None)
        arcs.pop((self.last, self.last), None)
        ends, capacity = np.array(list(arcs)).T, np.array(list(arcs.values()), np.int32)
        graph = csr_array((capacity, ends), (self.nodes, self.nodes))
        found = maximum_flow(graph, self.first, self.last)
        if found.flow_value >= UNLIMITED:
            return None
        remaining = graph - found.flow
        remaining.eliminate_zeros()
        reached = set(breadth_first_order(remaining, self.first, return_predecessors=False).tolist())
        before = frozenset(v for v, i in self.place.items() if 2 * i in reached)
        return Cut(tuple(v for v in self.values if v in before and 2 * self.place[v] + 1 not in reached), before)


def _is_complex(v: Any) -> bool:
    return jnp.issubdtype(v.aval.dtype, jnp.complexfloating)
