"""Runs in float64 in which kinks fall either way: rounding may decide which of two numbers is the maximum."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.double_precision import as_double
from jaxdl.measure.differentiated import Differentiated
from jaxdl.measure.distances import for_float64
from jaxdl.measure.rounding import decided_by_rounding

DRAWS = 16


def runs_beside_kinks(by_jax: Differentiated) -> list[list[np.ndarray]]:
    """Outputs and cotangents in float64, where maxima, signs and comparisons are decided as rounding may decide them.

    Where the derivative is continuous the runs are equal. A run in which a maximum, a sign or a comparison falls to the
    other side has the derivative there. Comparisons inside jit, scan, while and cond are decided so too, but not those
    inside rules that are kept, linear solvers, shard_map and Pallas kernels.

    Args:
        by_jax: A function with its automatic derivative.
    """
    dtype = max((by_jax.arrays[i].dtype for i in by_jax.smooth), key=lambda dtype: float(jnp.finfo(dtype).eps))
    f, (arrays, dy) = for_float64(by_jax), ([*map(as_double, xs)] for xs in (by_jax.arrays, by_jax.cotangent()))
    with jax.enable_x64(True):
        decided = decided_by_rounding(jx.trace(f, *arrays)[0], by_jax.smooth, dtype)
        of_seed = lambda seed: Differentiated(functools.partial(decided, seed), arrays, by_jax.smooth)
        step = jax.jit(lambda seed, arrays, dy: jax.tree.leaves(of_seed(seed).step(arrays, dy)))
        return [[np.asarray(x) for x in step(np.uint32(seed), arrays, dy)] for seed in range(DRAWS)]
