"""Which values to keep: a minimum cut.

Let aᵥ say that the backward pass has the value v, and rₑ that it computes the forward equation e again. A value that it
has is kept unless its equation is computed again, which needs the equation's inputs. The cost

    Σᵥ price · bytes(v) · [aᵥ and not rₑ₍ᵥ₎]  +  Σₑ seconds(e) · [rₑ]      with  rₑ ⇒ aᵤ for the inputs u of e

is that of a cut with r and a on the sink's side where they are true: an edge e → v of capacity price · bytes(v), an
edge source → e of capacity seconds(e), an edge u → e without limit, and v → sink without limit where the backward pass
reads v. The body of a scan has edges from the scan's own node in place of the source: where the whole scan runs again,
what is kept inside it is free. This is the partitioning of PyTorch's `min_cut_rematerialization_partition`, with scans
opened.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow

from jaxdl import jaxpr as jx
from jaxdl.tuner.costs import bytes_of, is_repeatable
from jaxdl.tuner.regions import Region
from jaxdl.tuner.schedules import Choice, first_time_seconds

SOURCE, SINK = 0, 1
LIMIT = np.iinfo(np.int32).max // 2  # SciPy's capacities have 32 bits
DRIFT = 0.05  # the first bytes of a program weigh so much more than the last: equal layers get different weights


class Network:
    """The network of a region and those inside it.

    Args:
        region: The region.
    """

    def __init__(self, region: Region):
        self.nodes: int = 2
        self.edges: list[tuple[int, int, float, float]] = []
        self.values: dict[Any, tuple[int, int]] = {}  # the nodes (aᵥ, rₑ) of each value
        self.loops: dict[Any, int] = {}
        self.needs: set[tuple[int, int]] = set()
        self._add(region, SOURCE, 1, dict.fromkeys(region.inputs))
        self.tails, self.heads = (np.array([e[k] for e in self.edges], np.int32) for k in (0, 1))
        self.seconds, weights = (np.array([e[k] for e in self.edges]) for k in (2, 3))
        self.bytes: np.ndarray = weights * np.linspace(1 + DRIFT, 1, len(weights))

    def cheapest(self, price: float) -> Choice:
        """The choice of least cost.

        Args:
            price: Seconds for a byte.
        """
        capacities = self.seconds + price * self.bytes
        limited = np.isfinite(capacities)
        scale = LIMIT / max(capacities[limited].sum(), 1e-30)
        whole = np.where(limited, np.ceil(capacities * scale), LIMIT).clip(max=LIMIT).astype(np.int32)
        used = whole > 0
        shape = (self.nodes, self.nodes)
        graph = csr_array((whole[used], (self.tails[used], self.heads[used])), shape)
        left = (graph - maximum_flow(graph, SOURCE, SINK).flow).T.tocsr()
        left.data = (left.data > 0).astype(np.int32)
        left.eliminate_zeros()
        late = np.zeros(self.nodes, bool)
        late[breadth_first_order(left, SINK, return_predecessors=False)] = True
        kept = (v for v, (have, again) in self.values.items() if late[have] and not late[again])
        return Choice(frozenset(kept), frozenset(loop for loop, again in self.loops.items() if late[again]))

    def _add(self, region: Region, source: int, steps: int, places: dict[Any, int | None]) -> None:
        """Adds a region that runs `steps` times. places: the nodes of its inputs; None for those that are there."""
        for v in region.carry:
            places[v] = self._value(v, source, steps)
        seconds = first_time_seconds(region)
        for i, eqn in enumerate(region.forward):
            again = self._node()
            # At the top, a loop that runs again would hold all that it is meant to spare.
            allowed = is_repeatable(eqn) and (steps > 1 or i not in region.loops)
            self._edge(source, again, seconds=steps * seconds[i] if allowed else np.inf)
            self._all(eqn.invars, places, again)
            places.update({v: self._value(v, again, steps) for v in eqn.outvars})
            if loop := region.loops.get(i):
                self.loops[loop] = again
                outer = (places.get(v) if jx.is_variable(v) else None for v in loop.inputs)
                inner = dict(zip(loop.body.inputs, outer, strict=True))
                self._add(loop.body, again, steps * loop.scan.length, inner)
        for eqn in region.backward:
            self._all(eqn.invars, places, SINK)
        self._all(region.results, places, SINK)

    def _value(self, v: Any, again: int, steps: int) -> int:
        have = self._node()
        self.values[v] = have, again
        self._edge(again, have, bytes=steps * bytes_of(v))
        return have

    def _all(self, atoms: Any, places: dict[Any, int | None], reader: int) -> None:
        for v in filter(jx.is_variable, atoms):
            have = places.get(v)
            if have is not None and (have, reader) not in self.needs:
                self.needs.add((have, reader))
                self._edge(have, reader, seconds=np.inf)

    def _node(self) -> int:
        self.nodes += 1
        return self.nodes - 1

    def _edge(self, tail: int, head: int, *, seconds: float = 0.0, bytes: float = 0.0) -> None:
        self.edges.append((tail, head, seconds, bytes))
