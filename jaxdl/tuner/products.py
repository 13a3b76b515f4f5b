"""Products in the forms in which the compiler for CPUs copies no operand.

The derivative of x w in w, with x of shape (batch, length, d), contracts two axes at once and is then transposed. XLA
for CPUs copies an operand with its axes reversed for that, entry by entry, in a loop that also computes what is fused
into it. As a product of matrices, xᵀ ȳ, no copy is needed.
"""

from collections.abc import Callable
from typing import Any

import jax

from jaxdl import jaxpr as jx


def as_matrices(eqn: Any) -> Callable[..., list[Any]] | None:
    """A product over two or more leading axes of both operands, as one of matrices; None for all other equations.

    It serves as the replacement of `jaxdl.jaxpr.run`.
    """
    # XLA for CPUs has fewer forms for products whose result has another type than both operands.
    if eqn.primitive.name != "dot_general" or len({v.aval.dtype for v in (*eqn.invars, *eqn.outvars)}) > 1:
        return None
    dot = jx.dot(eqn)
    leading = tuple(range(len(dot.contracted[0])))
    if dot.batch != ((), ()) or dot.contracted != (leading, leading) or len(leading) < 2:
        return None
    settings = {k: v for k, v in jx.parameters(eqn).items() if k in ("precision", "preferred_element_type")}

    def product(x, y):
        left, right = x.shape[len(leading) :], y.shape[len(leading) :]
        x, y = (v.reshape(-1, *v.shape[len(leading) :]) for v in (x, y))
        turned = jax.lax.dot_general(y, x, (((0,), (0,)), ((), ())), **settings)
        # The transpose that follows cancels this one.
        order = (*range(len(right), len(right) + len(left)), *range(len(right)))
        return [jax.lax.transpose(turned, order)]

    return product


jx.hide_from_source_lines(__file__)
