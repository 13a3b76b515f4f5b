"""Narrow places of a computation: sets of values through which everything from the input to the output passes.

A cut is an antichain: every path from input to output meets it exactly once, so that the Jacobian is the product of
those of its two sides. The narrowest cut through a given value is a minimum cut of the graph in which to pass a value
costs its number of entries (Ford and Fulkerson 1956).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
MOST_TRIED = 64  # values through which the narrowest cut is looked for, between two values on all paths


@dataclass(frozen=True)
class Cut:
    """A cut.

    Attributes:
        values: The variables in it.
        before: All variables upstream, with those in it, from the last value on all paths on; empty for such a value.
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


def nested_cuts(jaxpr: Any, live: set[Any], below: int) -> list[Cut]:
    """Nested cuts with fewer than `below` entries, in the order from the input to the output.

    A value on all paths is a cut by itself, and no cut has values on both sides of it. So the jaxpr is divided at these
    values. Between two of them, the narrowest cut is taken first, then each that lies entirely before or after those
    taken.

    Args:
        jaxpr: The function.
        live: Its `active` variables.
        below: The number of entries that is too large.
    """
    kind, chain = _is_complex(jaxpr.invars[0]), []
    for values, eqns in _divided(jaxpr, live):
        chain += _cuts_between(_FlowNetwork(values, eqns, kind), below)
        end = values[-1]
        if jx.size(end) < below and _is_complex(end) == kind and end is not jaxpr.outvars[0]:
            chain.append(Cut((end,), frozenset()))
    return chain


def _divided(jaxpr: Any, live: set[Any]) -> Iterator[tuple[list[Any], list[Any]]]:
    """The live values from each one on all paths to the next such value, and the equations between them."""
    eqns = [eqn for eqn in jaxpr.eqns if live.intersection(eqn.outvars)]
    values = [jaxpr.invars[0], *(v for eqn in eqns for v in eqn.outvars if v in live)]
    place = {v: i for i, v in enumerate(values)}
    last_use = [0] * len(values)
    for eqn in eqns:
        end = max(place[v] for v in eqn.outvars if v in live)
        for v in eqn.invars:
            if jx.is_variable(v) and v in live:
                last_use[place[v]] = end
    start, used_until, taken, here = 0, last_use[0], iter(eqns), []
    for i in range(1, len(values)):
        if values[i] not in (here[-1].outvars if here else ()):
            here.append(next(taken))
        if used_until <= i:
            yield values[start : i + 1], here
            start, here = i, []
        used_until = max(used_until, last_use[i])


def _cuts_between(network: _FlowNetwork, below: int) -> list[Cut]:
    """Nested cuts of a network through values other than its first and last."""
    narrow = sorted((v for v in network.values[1:-1] if jx.size(v) < below), key=jx.size)
    cuts = {cut for v in narrow[:MOST_TRIED] if (cut := network.cut_through(v)) is not None}
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

    def __init__(self, values: list[Any], eqns: list[Any], is_complex: bool):
        capacity = lambda v: min(jx.size(v), MOST_CAPACITY) if _is_complex(v) == is_complex else UNLIMITED
        self.values = values
        self.place = {v: i for i, v in enumerate(values)}
        arcs = {}
        for v, i in self.place.items():
            arcs[2 * i, 2 * i + 1], arcs[2 * i + 1, 2 * i] = capacity(v), UNLIMITED
        for k, eqn in enumerate(eqns, 2 * len(values)):
            ends = [2 * self.place[v] + 1 for v in eqn.invars if jx.is_variable(v) and v in self.place]
            starts = [2 * self.place[v] for v in eqn.outvars if v in self.place]
            for a, b in [(end, k) for end in ends] + [(k, start) for start in starts]:
                arcs[a, b] = arcs[b, a] = UNLIMITED
        self.ends = np.array(list(arcs), np.int32)  # SciPy 1.14 knows flows with indices of 32 bits alone
        self.capacity = np.array(list(arcs.values()), np.int32)
        self.last, self.nodes = 2 * len(values) - 1, 2 * len(values) + len(eqns)

    def cut_through(self, v: Any) -> Cut | None:
        """The narrowest cut that contains v, which is not the first or last value; None if there is none."""
        i = self.place[v]
        ends = np.concatenate([self.ends, np.array([(0, 2 * i), (2 * i + 1, self.last)], np.int32)]).T
        graph = csr_array((np.append(self.capacity, [UNLIMITED] * 2), ends), (self.nodes, self.nodes), dtype=np.int32)
        found = maximum_flow(graph, 0, self.last)
        if found.flow_value >= UNLIMITED:
            return None
        remaining = graph - found.flow
        remaining.eliminate_zeros()
        reached = set(breadth_first_order(remaining, 0, return_predecessors=False).tolist())
        before = frozenset(v for v, i in self.place.items() if 2 * i in reached)
        return Cut(tuple(v for v in self.values if v in before and 2 * self.place[v] + 1 not in reached), before)


def _is_complex(v: Any) -> bool:
    return jnp.issubdtype(v.aval.dtype, jnp.complexfloating)
