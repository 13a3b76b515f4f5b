"""Made-up numbers for a function whose arguments are only known by their types, and whether it may be run on them."""

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx


def may_be_run(vector) -> bool:
    """Not where it might never end on such numbers, has effects or calls back into Python; nor in several processes."""
    if jax.process_count() > 1 or vector.jaxpr.effects:
        return False
    return not any(name == "while" or name in jx.CALLBACKS for name in jx.primitives(vector.jaxpr))


def drawn(draw, vector) -> list:
    """Numbers for all inputs, real ones as `draw(size=…)` gives them; integers are 0, which is an index everywhere.

    What the function closes over is as it is, where it is known.
    """

    def of(type):
        if jx.is_key(type):
            raise TypeError("no keys are drawn")
        if jnp.issubdtype(type.dtype, jnp.inexact):
            return jnp.asarray(draw(size=type.shape), type.dtype)
        return jnp.zeros(type.shape, type.dtype)

    known = (*vector.constants, *[None] * (len(vector.others) - len(vector.constants)))
    given = zip(vector.others, known, strict=True)
    return [of(vector.x), *(of(type) if value is None else value for type, value in given)]
