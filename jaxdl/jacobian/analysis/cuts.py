"""Narrow places in a computation: sets of values through which everything from the input to the output passes.

A cut is an antichain: every path from input to output meets it exactly once, so that the Jacobian is the product of
those of its two sides. The narrowest one through a given value is found as a minimum cut of the graph in which
passing through a value costs its number of entries (Ford and Fulkerson 1956).
"""

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from jaxdl import jaxpr as jx
from jaxdl import symbolic_zeros

ENDLESS = np.iinfo(np.int32).max // 4  # the flow's capacities have 32 bits
WIDE = ENDLESS // 64  # wider than any cut that is looked for
CONTROL_FLOW = {"cond", "scan", "while"}


@dataclass(frozen=True)
class Cut:
    """Values with `size` entries together; `before` are all values upstream of the cut, with those in it."""

    values: tuple
    before: frozenset

    @property
    def size(self) -> int:
        return sum(_size(v) for v in self.values)


def active(jaxpr):
    """The values that depend on the first input and reach the output, by numbers that can be differentiated.

    Empty ones carry nothing.
    """
    eqns, start, (end,) = jaxpr.eqns, jaxpr.invars[0], jaxpr.outvars
    moved = {start}
    for eqn in eqns:
        moved.update(v for v in _moved_outputs(eqn, moved) if jnp.issubdtype(v.aval.dtype, jnp.inexact) and _size(v))
    used = {end}
    for eqn in reversed(eqns):
        if any(v in used for v in eqn.outvars):
            used.update(v for v in eqn.invars if jx.is_variable(v))
    return moved & used


def _moved_outputs(eqn, moved):
    """The outputs of an equation that move with those of its inputs that have; in control flow not all need do so."""
    moving = [i for i, v in enumerate(eqn.invars) if jx.is_variable(v) and v in moved]
    if not moving or eqn.primitive.name not in CONTROL_FLOW:
        return eqn.outvars if moving else ()
    try:
        moves = symbolic_zeros.moved(jx.binding(eqn), [v.aval for v in eqn.invars], moving)
    except Exception:  # of any kind: there is no forward mode, so JAX does not say
        return eqn.outvars
    return [v for v, moves in zip(eqn.outvars, moves, strict=True) if moves]


def narrow_chain(jaxpr, below: int) -> list[Cut]:
    """Nested cuts with fewer than `below` entries, from the input on; none where everything is as wide.

    The narrowest comes first into the chain, then every other that lies wholly before or after those in it.
    """
    network = _Network(jaxpr)
    cuts = {network.cut_through(v) for v in network.values if _size(v) < below}
    chain = []
    for cut in sorted(cuts - {None}, key=lambda cut: (cut.size, len(cut.before))):
        nested = all(cut.before < other.before or other.before < cut.before for other in chain)
        if cut.size < below and nested:
            chain.append(cut)
    return sorted(chain, key=lambda cut: len(cut.before))


class _Network:
    """Two nodes a value, with its entries between them as capacity; a node an equation; no way back upstream.

    Complex values inside a real function (and real ones inside a complex one) are never cut: their derivatives are
    no matrices of such numbers.
    """

    def __init__(self, jaxpr):
        live, kind = active(jaxpr), _is_complex(jaxpr.invars[0])
        capacity = lambda v: min(_size(v), WIDE) if _is_complex(v) == kind else ENDLESS
        eqns = [eqn for eqn in jaxpr.eqns if live.intersection(eqn.outvars)]
        self.values = [jaxpr.invars[0], *(v for eqn in eqns for v in eqn.outvars if v in live)]
        self.place = {v: i for i, v in enumerate(self.values)}
        arcs = {}
        for v, i in self.place.items():
            arcs[2 * i, 2 * i + 1], arcs[2 * i + 1, 2 * i] = capacity(v), ENDLESS
        for k, eqn in enumerate(eqns, 2 * len(self.values)):
            ends = [2 * self.place[v] + 1 for v in eqn.invars if jx.is_variable(v) and v in live]
            starts = [2 * self.place[v] for v in eqn.outvars if v in live]
            for a, b in [(end, k) for end in ends] + [(k, start) for start in starts]:
                arcs[a, b] = arcs[b, a] = ENDLESS
        self.first, self.last = 0, 2 * self.place[jaxpr.outvars[0]] + 1
        self.arcs, self.nodes = arcs, 2 * len(self.values) + len(eqns)

    def cut_through(self, v) -> Cut | None:
        """The narrowest cut with v in it; None where there is none."""
        i = self.place[v]
        arcs = self.arcs | {(self.first, 2 * i): ENDLESS, (2 * i + 1, self.last): ENDLESS}
        arcs.pop((self.first, self.first), None)
        arcs.pop((self.last, self.last), None)
        ends, capacity = np.array(list(arcs)).T, np.array(list(arcs.values()), np.int32)
        graph = csr_array((capacity, ends), (self.nodes, self.nodes))
        found = maximum_flow(graph, self.first, self.last)
        if found.flow_value >= ENDLESS:
            return None
        left = graph - found.flow
        left.eliminate_zeros()
        reached = set(breadth_first_order(left, self.first, return_predecessors=False).tolist())
        before = frozenset(v for v, i in self.place.items() if 2 * i in reached)
        return Cut(tuple(v for v in self.values if v in before and 2 * self.place[v] + 1 not in reached), before)


def _is_complex(v):
    return jnp.issubdtype(v.aval.dtype, jnp.complexfloating)


def _size(v):
    return math.prod(v.aval.shape)
