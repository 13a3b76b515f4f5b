"""Convolutions in the order of axes for which XLA for CPUs has libraries: NHWC, HWIO, NHWC.

XLA itself brings them into that order in the outermost computation only. In the bodies of loops those with another
order, such as the gradient of a kernel as JAX derives it or a model written in NCHW, are compiled to plain loops.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxdl.jaxpr.evaluation import binding
from jaxdl.jaxpr.known_parameters import unknown_parameter
from jaxdl.jaxpr.records import convolution
from jaxdl.jaxpr.versions import Equation

# Of float64 and of integers there is no library.
DTYPES = ("float32", "bfloat16", "float16", "complex64")
# Numbers in the kernel by axes of space: with smaller ones plain loops are up to 3 times as fast, with 3 axes 12 times.
LEAST = {1: 300, 2: 300, 3: 1500}
FEW = 8  # channels of a group: with fewer, plain loops are up to 100 times as fast
MANY = 16  # channels, from which on the gradient of a depthwise kernel gains in all orders


def with_library_axes(eqn: Equation) -> Callable[..., list[Any]] | None:
    """A convolution as transposes around one in the order of axes of XLA's libraries for CPUs.

    The sums are the same, and may round differently. It serves as the replacement of `evaluate`.

    Returns:
        The function in the equation's place; None for other primitives, for convolutions in that order, and where no
        library is faster.
    """
    if eqn.primitive.name != "conv_general_dilated" or unknown_parameter(eqn) or not _gains(eqn):
        return None
    c = convolution(eqn)
    images, kernel = library_axes(len(c.strides))
    if (c.lhs, c.rhs, c.out) == (images, kernel, images):
        return None
    numbers = type(eqn.params["dimension_numbers"])(images, kernel, images)
    reordered = binding(eqn, dimension_numbers=numbers)
    order = lambda axes, target: tuple(np.asarray(axes)[np.argsort(target)].tolist())
    of_x, of_w, of_y = order(c.lhs, images), order(c.rhs, kernel), order(images, c.out)

    def moved(x, w):
        (y,) = reordered(x.transpose(of_x), w.transpose(of_w))
        return [y.transpose(of_y)]

    return moved


def library_axes(space: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """NHWC and HWIO with so many axes of space: of images (batch, channel, space…), of kernels (out, in, space…)."""
    return (0, space + 1, *range(1, space + 1)), (space + 1, space, *range(space))


def _gains(eqn):
    """Whether a library is faster, by measurements on two cores (jaxlib 0.10.2) of convolutions in other orders."""
    c, (x, w) = convolution(eqn), (v.aval for v in eqn.invars)
    if x.dtype not in DTYPES or w.size < LEAST.get(len(c.strides), np.inf) or _splits_output(eqn):
        return False
    images, channels, outputs = x.shape[c.lhs[0]], w.shape[c.rhs[1]], w.shape[c.rhs[0]]
    if c.batch_groups > 1:  # the gradient of a depthwise kernel
        return MANY <= c.batch_groups == images == outputs
    return c.groups == 1 or min(channels, outputs // c.groups) >= FEW


def _splits_output(eqn):
    """Whether an axis of the output is split over devices by name."""
    sharding = eqn.params.get("out_sharding")
    return sharding is not None and any(sharding.spec)
