"""Random inputs for a function that is known by its types only, and whether the function may be run on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.vector_function import VectorFunction


def may_be_run(function: VectorFunction) -> bool:
    """Whether a function may be run on random inputs.

    Not if it has a while loop, which may never end on them; has effects or calls back into Python; nor in several
    processes.
    """
    if jax.process_count() > 1 or function.jaxpr.effects:
        return False
    return not any(name == "while" or name in jx.CALLBACKS for name in jx.primitives(function.jaxpr))


def random_inputs(draw: Callable[..., Any], function: VectorFunction) -> list[Any]:
    """Values for all inputs of a function.

    Real numbers are `draw(size=…)`. Integers are 0, which is a valid index everywhere. What the function closes over
    keeps its value where that is known.
    """

    def of(type: Any) -> jax.Array:
        if jx.is_key(type):
            raise TypeError("no keys are drawn")
        if jnp.issubdtype(type.dtype, jnp.inexact):
            return jnp.asarray(draw(size=type.shape), type.dtype)
        return jnp.zeros(type.shape, type.dtype)

    known = (*function.constants, *[None] * (len(function.others) - len(function.constants)))
    given = zip(function.others, known, strict=True)
    return [of(function.x), *(of(type) if value is None else value for type, value in given)]
