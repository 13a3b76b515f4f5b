"""The Jacobian across the narrowest places of the computation."""

import dataclasses
import functools
import itertools
import math

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.cuts import active, narrow_chain
from jaxdl.jacobian.analysis.matrix_chain import bracketing, multiplied, sweeps
from jaxdl.jacobian.analysis.modes import hindrances, linearize
from jaxdl.jacobian.analysis.operation_counts import work
from jaxdl.jacobian.analysis.vector_function import join, split
from jaxdl.jacobian.methods.base import Vector, method


@method
def cut(vector: Vector):
    """The Jacobian accumulated across the narrowest vertex cuts of the computational graph.

    With a code of 8 entries between 784 inputs and 784 outputs: 8 cotangents from the code backward, 8 tangents
    forward, and one product, in place of 784 sweeps. Several cuts are bracketed by dynamic programming; where there
    is no narrow place it is the cheaper of forward and reverse. `jacobian.plan` shows the cuts. Bodies of scan, while
    and cond are not cut open. Takes f, argnums, has_aux and holomorphic as `jax.jacrev`.
    """
    return Chain.of(vector)


@dataclasses.dataclass(frozen=True)
class Chain:
    """f as functions between `points`, groups of values from the input to the output, and how to multiply them out."""

    jaxpr: object
    points: tuple
    segments: tuple
    cost: float
    way: object

    @classmethod
    def of(cls, vector: Vector) -> "Chain":
        jaxpr = jx.inlined(vector.jaxpr)
        plain = jx.opened(jaxpr)
        start, end = plain.invars[0], plain.outvars[0]
        if not jx.is_variable(end) or end not in active(plain):
            return cls(jaxpr, ((start,), (end,)), (), 0.0, None)
        cuts = narrow_chain(plain, min(vector.m, vector.n))
        points = ((start,), *(cut.values for cut in cuts), (end,))
        segments = tuple(_between(plain, a, b) for a, b in itertools.pairwise(points))
        chain = cls(jaxpr, points, segments, 0.0, None)
        costs = [chain.costs(k, vector.types) for k in range(len(segments))]
        cost, way = bracketing(_sizes(points), *zip(*costs, strict=True))
        if math.isinf(cost):
            raise ValueError(
                f"jacobian.{vector.name}: some parts of the function have only forward mode and some only reverse, and "
                f"no narrow place between them; write the rule (custom_vjp) as a custom_jvp or a jaxdl.op"
            )
        return dataclasses.replace(chain, cost=cost, way=way)

    def costs(self, k, types) -> tuple[float, float]:
        """Operations of one sweep through a segment, forward and backward; infinite where JAX has none."""

        f = lambda here, x, *others: self.segment(k, self.values(x, others))(here)
        here = jax.eval_shape(lambda x, *others: self.at(k, self.values(x, others)), *types)
        operations = sum(map(work, self.segments[k]))
        return tuple(math.inf if no else operations for no in hindrances(f, self.segments[k], (here, *types)))

    @property
    def sizes(self) -> list[int]:
        return _sizes(self.points)

    @property
    def sweeps(self) -> int:
        return sweeps(self.way, self.sizes) if self.way else 0

    def __call__(self, x, *others):
        """The (m, n) Jacobian."""
        if self.way is None:
            return jnp.zeros((self.sizes[-1], self.sizes[0]), x.dtype)
        values = self.values(x, others)
        forward = functools.cache(lambda k: linearize(self.segment(k, values), self.at(k, values))[1])
        backward = functools.cache(lambda k: jax.vjp(self.segment(k, values), self.at(k, values))[1])
        dtype = lambda k: self.at(k, values).dtype

        def push(start, end, matrix):
            matrix = jnp.eye(self.sizes[start], dtype=dtype(start)) if matrix is None else matrix
            for k in range(start, end):
                matrix = jax.vmap(forward(k), in_axes=1, out_axes=1)(matrix.astype(dtype(k)))
            return matrix

        def pull(start, end, matrix):
            matrix = jnp.eye(self.sizes[end], dtype=dtype(end)) if matrix is None else matrix
            for k in reversed(range(start, end)):
                matrix = jax.vmap(lambda dy, k=k: backward(k)(dy)[0])(matrix.astype(dtype(k + 1)))
            return matrix

        def product(after, before):
            with jax.numpy_dtype_promotion("standard"):
                return after @ before

        return multiplied(self.way, push, pull, product)

    def values(self, x, others):
        """All values on the way, by variable."""
        plain, values = jx.opened(self.jaxpr), {}
        values.update(zip((*plain.constvars, *plain.invars), (*self.jaxpr.consts, x, *others), strict=True))
        jx.run(plain.eqns, values)
        return values

    def at(self, k, values):
        return join([jnp.asarray(jx.value_of(v, values)) for v in self.points[k]])

    def segment(self, k, values):
        """The function from the vector at point k to that at the next; what does not move is taken from `values`."""
        here, there = self.points[k], self.points[k + 1]

        def f(vector):
            moved = values | dict(zip(here, split(vector, [v.aval for v in here]), strict=True))
            jx.run(self.segments[k], moved)
            return join([moved[v] for v in there])

        return f


def _between(jaxpr, here, there):
    """The equations that lead from one point to the next."""
    moved, eqns = set(here), []
    for eqn in jaxpr.eqns:
        if not set(eqn.outvars) & set(here) and any(jx.is_variable(v) and v in moved for v in eqn.invars):
            moved.update(eqn.outvars)
            eqns.append(eqn)
    used, needed = set(there), []
    for eqn in reversed(eqns):
        if used.intersection(eqn.outvars):
            used.update(v for v in eqn.invars if jx.is_variable(v))
            needed.append(eqn)
    return tuple(reversed(needed))


def _sizes(points):
    return [sum(math.prod(v.aval.shape) for v in point) for point in points]
