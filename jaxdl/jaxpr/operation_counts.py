"""How many operations a jaxpr takes, read from its types."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxdl.jaxpr import records
from jaxdl.jaxpr.families import ELEMENTWISE
from jaxdl.jaxpr.reading import inner_jaxprs, primal_of
from jaxdl.jaxpr.slicing import needed_equations
from jaxdl.jaxpr.versions import AnyJaxpr, Equation


def flops(jaxpr: AnyJaxpr) -> float:
    """The floating-point operations of a jaxpr.

    A matrix product and a convolution take two for each product of numbers; products with the zeros of a padded or
    dilated image are not counted. Elementwise operations take one for each output, reductions one for each input, and
    scatters one for each update that is combined with an entry. Of a condition the largest branch counts, of a while
    loop one step. What no output needs is not counted.
    """
    return counted(jaxpr, _flops)


def counted(jaxpr: AnyJaxpr, each: Callable[[Equation], float], while_steps: float = 1) -> float:
    """The sum of `each(eqn)` over the equations that a jaxpr needs, and over those inside them.

    Args:
        jaxpr: the jaxpr.
        each: the count of an equation that has no jaxpr inside.
        while_steps: how many steps a while loop counts for.
    """
    return sum(count(eqn, each, while_steps) for eqn in needed_equations(jaxpr))


def count(eqn: Equation, each: Callable[[Equation], float], while_steps: float = 1) -> float:
    """`counted` for one equation."""
    bodies = [counted(body, each, while_steps) for body in _evaluated(eqn)]
    if not bodies:
        return each(eqn)
    steps = while_steps if eqn.primitive.name == "while" else records.scan_length(eqn)
    return steps * (max(bodies) if eqn.primitive.name == "cond" else sum(bodies))


def _evaluated(eqn):
    """The jaxprs that an equation evaluates, without those of scatters and reductions, which combine two numbers."""
    if eqn.primitive.name.startswith(("scatter", "reduce")):
        return []
    if eqn.primitive.name == "custom_linear_solve":
        return [records.linear_solve(eqn).solve]
    inner = inner_jaxprs(eqn)
    return [primal_of(eqn)] if records.op_call(eqn) is not None and not inner else inner


def products(eqn: Equation) -> float | None:
    """How many products of two numbers a matrix product or a convolution takes; None for other equations."""
    if eqn.primitive.name == "dot_general":
        contracted, _ = records.dot(eqn).contracted
        return float(size(eqn.outvars[0]) * math.prod(eqn.invars[0].aval.shape[d] for d in contracted))
    if eqn.primitive.name == "conv_general_dilated":
        return float(_products_of_convolution(eqn))
    return None


def size(v: Any) -> int:
    """The number of entries of a variable."""
    return math.prod(v.aval.shape)


def _flops(eqn):
    name, multiplied = eqn.primitive.name, products(eqn)
    if multiplied is not None:
        return 2 * multiplied
    if name.startswith("scatter"):
        return 0.0 if records.is_replacement(eqn) else float(size(eqn.invars[2]))
    if name.startswith("reduce") and name != "reduce_precision":
        return float(size(eqn.invars[0]))
    return float(size(eqn.outvars[0])) if name in ELEMENTWISE - {"convert_element_type", "copy", "copy_p"} else 0.0


def _products_of_convolution(eqn):
    """As many as its derivatives have: those with zeros around the image and between its pixels are left out."""
    c = records.convolution(eqn)
    x, w, y = (
        [v.aval.shape[d] for d in axes]
        for v, axes in zip((*eqn.invars, *eqn.outvars), (c.lhs, c.rhs, c.out), strict=True)
    )
    return y[0] * w[0] * w[1] * math.prod(map(_meetings, x[2:], w[2:], y[2:], *c.windows))


def _meetings(pixels, entries, places, stride, padding, between_pixels, between_entries):
    """How many times an entry of the kernel meets a pixel, over all places along one axis."""
    at = stride * np.arange(places)[:, None] + between_entries * np.arange(entries) - padding[0]
    pixel, beside = np.divmod(at, between_pixels)
    return int(((beside == 0) & (pixel >= 0) & (pixel < pixels)).sum())
