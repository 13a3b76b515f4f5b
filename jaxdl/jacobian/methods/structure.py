"""The Jacobian of a function as what its layers know it to be, read off its equations."""

from collections.abc import Callable

import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.cuts import active
from jaxdl.jacobian.methods.base import Jacobian, Vector
from jaxdl.jacobian.operators.base import Identity, Zero
from jaxdl.jacobian.operators.equations import Edge, opened_up
from jaxdl.jacobian.operators.from_equations import kind, whole
from jaxdl.jacobian.operators.series_parallel import collected


def structured(f: Callable, argnums=0, has_aux=False, holomorphic=False) -> "Structured":
    """The Jacobian of f as a lazy operator J between vectors: the raveled inputs, and the raveled outputs.

    Takes the arguments of `jax.jacrev`, but in place of arrays gives one operator of shape (m, n), with all entries
    of the differentiated arguments as its n columns and all entries of the output as its m rows, in the order of
    `jax.flatten_util.ravel_pytree`. `J @ v` (vector or matrix) and `J.T` take no more memory than the layers' own
    derivatives; `J.dense()` multiplies out in the cheapest order, found by dynamic programming; `J.trace()`,
    `J.frobenius()`, `J.spectral()`; `jaxdl.interop.as_lineax(J)` for lineax's solvers; printed, it is its chain,
    with the last layer first: `diagonal(3) · dense(3×5)`. J is a pytree, so that it can come out of jit and vmap.

        J = structured(lambda x: ops.relu(w @ x + b))(x)

    Elementwise functions are diagonal, softmax diagonal plus rank one, matrix products I ⊗ A ⊗ I, convolutions
    Toeplitz, slices, gathers and maxima selections, sums and broadcasts sums and their transposes; a value used twice
    adds. Anything else (scan, sort, an op with a rule of its own) is a linear function without structure.
    """
    if not callable(f):
        raise TypeError(f"jacobian.structured: expected a function, got {type(f).__name__}")
    return Structured("structured", f, operator_of, argnums, has_aux, holomorphic)


class Structured(Jacobian):
    """What `structured` returns: called like f, it gives the operator (and aux, with has_aux)."""

    def __call__(self, *args, **kwargs):
        jacobian = self.evaluated(_operator, args, kwargs)
        return (jacobian, self.f(*args, **kwargs)[1]) if self.has_aux else jacobian


def _operator(call):
    size = call.vector.m, call.vector.n
    return call.prepared(call.x, *call.others) if all(size) else Zero(size, call.x.dtype)


def operator_of(vector: Vector) -> Callable:
    """The function (x, *others) ↦ operator: what each equation is, is found once, its numbers at each call."""
    jaxpr = opened_up(vector.jaxpr)
    plain = jx.opened(jaxpr)
    start, end = plain.invars[0], plain.outvars[0]
    if not jx.is_variable(end) or end not in (live := active(plain)):
        return lambda x, *others: Zero((vector.m, vector.n), x.dtype)
    if start is end:
        return lambda x, *others: Identity(vector.n, x.dtype)
    if any(_is_complex(v.aval) != _is_complex(vector.x) for v in live):
        return lambda x, *others: whole(vector, x, others)  # inside, real and imaginary parts move apart
    edges = [
        Edge(eqn, place, out)
        for eqn in plain.eqns
        for out, y in enumerate(eqn.outvars)
        for place, x in enumerate(eqn.invars)
        if y in live and jx.is_variable(x) and x in live
    ]
    kinds = {edge: kind(edge) for edge in edges}

    def run(x, *others):
        values = dict(zip(plain.constvars, jaxpr.consts, strict=True))
        values |= dict(zip(plain.invars, (x, *others), strict=True))
        jx.run(plain.eqns, values)
        given = lambda edge: [jx.value_of(v, values) for v in edge.eqn.invars]
        return collected([(*edge.ends, of(edge, given(edge))) for edge, of in kinds.items()], start, end)

    return run


def _is_complex(x):
    return jnp.issubdtype(x.dtype, jnp.complexfloating)
