"""Runs in float64 in which kinks fall either way: rounding may decide which of two numbers is the maximum."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.double_precision import as_double
from jaxdl.measure.differentiated import Differentiated
from jaxdl.measure.distances import for_float64

DRAWS = 16
ROUNDING = 8  # units of rounding of the largest entry, by which the inputs of a comparison are moved
KINKS = {
    "max", "min", "clamp", "abs", "sign", "gt", "ge", "lt", "le", "eq", "ne", "round", "floor", "ceil", "sort", "top_k",
    "argmax", "argmin", "reduce_max", "reduce_min", "reduce_window_max", "reduce_window_min", "cummax", "cummin",
}  # fmt: skip


def runs_beside_kinks(by_jax: Differentiated) -> list[list[np.ndarray]]:
    """Outputs and cotangents in float64, with the inputs of comparisons moved at random by as much as rounding does.

    Where the derivative is continuous the runs differ by rounding. A run in which a maximum, a sign or a comparison
    falls to the other side has the derivative there. Comparisons inside loops are not moved.

    Args:
        by_jax: A function with its automatic derivative.
    """
    rounding = ROUNDING * float(np.max([jnp.finfo(by_jax.arrays[i].dtype).eps for i in by_jax.smooth]))
    f, (arrays, dy) = for_float64(by_jax), ([*map(as_double, xs)] for xs in (by_jax.arrays, by_jax.cotangent()))
    with jax.enable_x64(True):
        moved = _moved(f, arrays, rounding)
        with_key = lambda key: Differentiated(functools.partial(moved, key), arrays, by_jax.smooth)
        step = jax.jit(lambda key, arrays, dy: jax.tree.leaves(with_key(key).step(arrays, dy)))
        keys = jax.random.split(jax.random.key(0), DRAWS)
        return [[np.asarray(x) for x in step(key, arrays, dy)] for key in keys]


def _moved(f, arrays, rounding):
    jaxpr = jx.inlined(jx.trace(f, *arrays)[0])
    places = {id(eqn): i for i, eqn in enumerate(jx.opened(jaxpr).eqns) if eqn.primitive.name in KINKS}

    def g(key, *arrays):
        def replacement(eqn):
            if id(eqn) not in places:
                return None
            at = jax.random.fold_in(key, places[id(eqn)])
            return lambda *xs: jx.binding(eqn)(*_noisy(xs, at, rounding))

        return jx.evaluate(jaxpr, arrays, replacement)

    return g


def _noisy(xs: Sequence[Any], key, rounding):
    found = []
    for i, x in enumerate(xs):
        if jnp.issubdtype(jnp.result_type(x), jnp.floating):
            size = jax.lax.stop_gradient(jnp.max(jnp.abs(x), initial=0, where=jnp.isfinite(x)))
            noise = jax.random.uniform(jax.random.fold_in(key, i), jnp.shape(x), jnp.result_type(x), -1, 1)
            x = x + size * rounding * noise
        found.append(x)
    return found
