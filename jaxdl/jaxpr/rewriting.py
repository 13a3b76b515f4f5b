"""Equations written out in other primitives of JAX, where JAX's own derivative of them is dense or wrong."""

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.jaxpr.evaluation import evaluate
from jaxdl.jaxpr.known_parameters import unknown_parameter
from jaxdl.jaxpr.reading import inner_jaxprs
from jaxdl.jaxpr.records import reduced_axes
from jaxdl.jaxpr.versions import Equation


def written_out(eqn: Equation) -> Callable[..., list[Any]] | None:
    """An equation as a function in JAX's other primitives; None for most.

    Those of `jax.experimental.sparse`, and reductions by any function: JAX's derivative of them may omit the initial
    value, and with it a factor where the function is a product. It serves as the replacement of `evaluate`.
    """
    if eqn.primitive.name == "reduce" and not unknown_parameter(eqn):
        return functools.partial(_folded, inner_jaxprs(eqn)[0], reduced_axes(eqn) or ())
    if "jax.experimental.sparse" not in sys.modules:  # then no function calls it, and its import takes long
        return None
    define = _sparse_definitions().get(eqn.primitive.name)
    if define is None:
        return None
    listed = list if eqn.primitive.multiple_results else lambda y: [y]
    return lambda *args: listed(define(*args, **eqn.params))


@functools.cache
def _sparse_definitions():
    from jax.experimental.sparse import bcoo, bcsr, coo, csr

    return {
        name[1 : -len("_impl")]: define
        for module in (bcoo, bcsr, coo, csr)
        for name, define in vars(module).items()
        if name.startswith(f"_{module.__name__.split('.')[-1]}_") and name.endswith("_impl")
    }


def _folded(body: Any, axes: Sequence[int], *args: Any) -> list[Any]:
    """A reduction by a function of numbers, as a balanced tree over the reduced axes, and then the initial values."""
    arrays, initial = args[: len(args) // 2], args[len(args) // 2 :]
    kept = [axis for axis in range(arrays[0].ndim) if axis not in axes]
    shape = [arrays[0].shape[axis] for axis in kept]
    rows = [x.transpose(*axes, *kept).reshape(-1, *shape) for x in arrays]

    def combined(a, b):
        flat = [v.reshape(-1) for v in (*a, *b)]
        together = jax.vmap(lambda *numbers: evaluate(body, numbers, lambda eqn: None))(*flat)
        return [y.reshape(v.shape) for y, v in zip(together, a, strict=True)]

    while (count := len(rows[0])) > 1:
        half = count // 2
        pairs = combined([x[:half] for x in rows], [x[half : 2 * half] for x in rows])
        rows = [jnp.concatenate([y, x[2 * half :]]) for y, x in zip(pairs, rows, strict=True)]
    starts = [jnp.broadcast_to(v, (1, *shape)) for v in initial]
    return [y[0] for y in (combined(starts, rows) if len(rows[0]) else starts)]
