"""Convolution of images (*n, h, w, c) with kernels (kh, kw, c/groups, o), its transpose and its kernel's gradient.

The three are given by one trilinear form,

    ⟨z, conv2d(x, w)⟩ = ⟨conv_transpose2d(z, w), x⟩ = ⟨conv2d_kernel_gradient(x, z), w⟩,

so that the cotangents of each are the other two, to any order. The forms that are fastest on a CPU are in
`jaxdl/ops/convolution_forms.py`; on other devices the compiler's own convolutions run.

As usual in deep learning, "convolution" is the correlation Σ x[i + a, j + b] w[a, b]; `convolve` is the convolution of
mathematics, with the kernel flipped.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from jaxdl.ops import convolution_choice as choice
from jaxdl.ops import convolution_forms as forms
from jaxdl.ops.convolution_choice import Geometry
from jaxdl.ops.platforms import by_platform
from jaxdl.ops.windows import Padding, Pair, as_batch, check_positive, over_images, padding_pairs, pair
from jaxdl.rule import op, saving


@op
def conv2d(
    x: Inexact[Array, "*n h w c"],
    w: Inexact[Array, "kh kw i o"],
    *,
    stride: Pair = 1,
    padding: Padding = "VALID",
    dilation: Pair = 1,
    groups: int = 1,
) -> Inexact[Array, "*n a b o"]:
    """y[p, q, o] = Σ x[s p + d i, s q + d j, c] w[i, j, c, o], with stride s and dilation d.

    Args:
        x: Images (*n, h, w, c), with any number of leading axes.
        w: Kernel (kh, kw, c/groups, o), of the same dtype.
        stride: The step of the windows, a number or (down, across).
        padding: "VALID", "SAME" or ((top, bottom), (left, right)), rows and columns of zeros.
        dilation: The distance of the pixels that the kernel sees, a number or (down, across).
        groups: The number of groups of channels. Each group of outputs sees its group of inputs; groups = c is a
            depthwise convolution.

    Returns:
        Images (*n, a, b, o).

    Raises:
        ValueError: The shapes do not fit, the window does not fit into the image, or a setting is not valid.
        TypeError: The dtypes differ.

    Examples:
        >>> conv2d(jnp.ones((8, 28, 28, 3)), jnp.ones((5, 5, 3, 16)), stride=2, padding="SAME").shape
        (8, 14, 14, 16)
    """
    g = _geometry("conv2d", x, w, stride, padding, dilation, groups)
    return over_images(lambda x: forms.plain_correlate(x, w, g), x)


@conv2d.rule
def conv2d_rule(x, w, *, stride, padding, dilation, groups):
    """x̄ = conv_transpose2d(ȳ, w),   w̄ = conv2d_kernel_gradient(x, ȳ)

    Gain: on a CPU, uses forms that run on all cores; 1×1 convolutions and kernel gradients are matrix products.
    """
    g = _geometry("conv2d", x, w, stride, padding, dilation, groups)
    size, window = x.shape[-3:-1], w.shape[:2]

    def pullback(x, w, dy):
        dx = conv_transpose2d(dy, w, **g.to_size(dy.shape[-3:-1], window, size).settings)
        return dx, conv2d_kernel_gradient(x, dy, window=window, **g.settings)

    value = _by_platform(choice.correlate, forms.plain_correlate, g)
    return over_images(lambda x: value(x, w), x), saving(pullback, x, w)


@op
def conv_transpose2d(
    z: Inexact[Array, "*n a b o"],
    w: Inexact[Array, "kh kw i o"],
    *,
    stride: Pair = 1,
    padding: Padding = "VALID",
    dilation: Pair = 1,
    groups: int = 1,
) -> Inexact[Array, "*n h w c"]:
    """The transpose of `conv2d` with the same kernel and settings.

    Every pixel of z adds a copy of the kernel to the result, `stride` apart, and `padding` is cut off:
    h = (a − 1) stride + dilation (kh − 1) + 1 − top − bottom; with "SAME", h = a·stride. A negative padding adds zeros.
    PyTorch's ConvTranspose2d of weight v is this with w = v.transpose(2, 3, 1, 0), and its output_padding r is
    bottom = right = padding − r.

    Args:
        z: Images (*n, a, b, o).
        w: Kernel (kh, kw, c/groups, o), of the same dtype.
        stride: The distance of the kernel's copies, a number or (down, across).
        padding: "VALID", "SAME" or ((top, bottom), (left, right)), the rows and columns to cut off.
        dilation: The distance of the pixels in a copy of the kernel, a number or (down, across).
        groups: The number of groups of channels.

    Returns:
        Images (*n, h, w, c).

    Raises:
        ValueError: The shapes do not fit, the padding leaves nothing, or a setting is not valid.
        TypeError: The dtypes differ.

    Examples:
        >>> z, w = jnp.ones((8, 14, 14, 16)), jnp.ones((5, 5, 3, 16))
        >>> conv_transpose2d(z, w, stride=2, padding="SAME").shape
        (8, 28, 28, 3)
    """
    g = _transposed_geometry("conv_transpose2d", z, w, stride, padding, dilation, groups)
    return over_images(lambda z: forms.plain_spread(z, w, g), z)


@conv_transpose2d.rule
def conv_transpose2d_rule(z, w, *, stride, padding, dilation, groups):
    """z̄ = conv2d(x̄, w),   w̄ = conv2d_kernel_gradient(x̄, z)

    Gain: on a CPU, leaves out the zeros that a stride puts between the pixels.
    """
    g = _transposed_geometry("conv_transpose2d", z, w, stride, padding, dilation, groups)
    window = w.shape[:2]

    def pullback(z, w, dx):
        return conv2d(dx, w, **g.settings), conv2d_kernel_gradient(dx, z, window=window, **g.settings)

    value = _by_platform(choice.spread, forms.plain_spread, g)
    return over_images(lambda z: value(z, w), z), saving(pullback, z, w)


@op
def conv2d_kernel_gradient(
    x: Inexact[Array, "*n h w c"],
    z: Inexact[Array, "*n a b o"],
    *,
    window: Pair,
    stride: Pair = 1,
    padding: Padding = "VALID",
    dilation: Pair = 1,
    groups: int = 1,
) -> Inexact[Array, "kh kw i o"]:
    """The gradient of ⟨z, conv2d(x, w)⟩ with respect to w, which does not depend on w.

    Args:
        x: Images (*n, h, w, c).
        z: Images (*n, a, b, o), of the same dtype.
        window: The size of the kernel, a number or (kh, kw).
        stride: The step of the windows, a number or (down, across).
        padding: "VALID", "SAME" or ((top, bottom), (left, right)), rows and columns of zeros.
        dilation: The distance of the pixels that the kernel sees, a number or (down, across).
        groups: The number of groups of channels. Each group of outputs sees its group of inputs; groups = c is a
            depthwise convolution.

    Returns:
        Kernel (kh, kw, c/groups, o).

    Raises:
        ValueError: The shapes do not fit, the window does not fit into the image, or a setting is not valid.
        TypeError: The dtypes differ.

    Examples:
        >>> x, z = jnp.ones((8, 28, 28, 3)), jnp.ones((8, 24, 24, 16))
        >>> conv2d_kernel_gradient(x, z, window=5).shape
        (5, 5, 3, 16)
    """
    g = _kernel_gradient_geometry(x, z, window, stride, padding, dilation, groups)
    return forms.plain_kernel_gradient(as_batch(x), as_batch(z), g, pair(window))


@conv2d_kernel_gradient.rule
def conv2d_kernel_gradient_rule(x, z, *, window, stride, padding, dilation, groups):
    """x̄ = conv_transpose2d(z, w̄),   z̄ = conv2d(x, w̄)"""
    g = _kernel_gradient_geometry(x, z, window, stride, padding, dilation, groups)
    size = x.shape[-3:-1]

    def pullback(x, z, dw):
        dx = conv_transpose2d(z, dw, **g.to_size(z.shape[-3:-1], dw.shape[:2], size).settings)
        return dx, conv2d(x, dw, **g.settings)

    value = _by_platform(choice.kernel_gradient, forms.plain_kernel_gradient, g, pair(window))
    return value(as_batch(x), as_batch(z)), saving(pullback, x, z)


# Further rules: the forms of the value, of its transpose and of its kernel's gradient. Where a form does not fit the
# sizes, the compiler's runs.
FORMS = {
    "compiler": ("compiler", "compiler", "compiler"),
    "eigen": ("eigen", "eigen", "eigen"),
    "eigen for the kernel": ("compiler", "compiler", "eigen"),
    "cells": ("eigen", "cells", "eigen"),
    "products": ("products", "products", "products"),
    "neighbours": ("neighbours", "neighbours", "neighbours"),
}


def _add_forms(name, correlate, spread, kernel_gradient):
    """A rule in given forms for a convolution and its transpose; their cotangents are ops in the same forms."""

    @conv2d.form(name)
    def value(x, w, *, stride, padding, dilation, groups):
        g = _geometry("conv2d", x, w, stride, padding, dilation, groups)
        size, window = x.shape[-3:-1], w.shape[:2]

        def pullback(x, w, dy):
            back = g.to_size(dy.shape[-3:-1], window, size).settings
            dw = conv2d_kernel_gradient.in_form(name)(x, dy, window=window, **g.settings)
            return conv_transpose2d.in_form(name)(dy, w, **back), dw

        return over_images(lambda x: choice.correlate(x, w, g, correlate), x), saving(pullback, x, w)

    @conv_transpose2d.form(name)
    def transpose(z, w, *, stride, padding, dilation, groups):
        g = _transposed_geometry("conv_transpose2d", z, w, stride, padding, dilation, groups)
        window = w.shape[:2]

        def pullback(z, w, dx):
            dw = conv2d_kernel_gradient.in_form(name)(dx, z, window=window, **g.settings)
            return conv2d.in_form(name)(dx, w, **g.settings), dw

        return over_images(lambda z: choice.spread(z, w, g, spread), z), saving(pullback, z, w)

    @conv2d_kernel_gradient.form(name)
    def gradient(x, z, *, window, stride, padding, dilation, groups):
        g = _kernel_gradient_geometry(x, z, window, stride, padding, dilation, groups)
        size = x.shape[-3:-1]

        def pullback(x, z, dw):
            back = g.to_size(z.shape[-3:-1], dw.shape[:2], size).settings
            return conv_transpose2d.in_form(name)(z, dw, **back), conv2d.in_form(name)(x, dw, **g.settings)

        y = choice.kernel_gradient(as_batch(x), as_batch(z), g, pair(window), kernel_gradient)
        return y, saving(pullback, x, z)


for _name, _forms in FORMS.items():
    _add_forms(_name, *_forms)


def convolve(
    x: Inexact[Array, "*n h w c"], w: Inexact[Array, "kh kw i o"], **settings: Any
) -> Inexact[Array, "*n a b o"]:
    """The convolution of mathematics, Σ x[p − i, q − j] w[i, j]: `conv2d` with the kernel flipped.

    Args:
        x: Images (*n, h, w, c).
        w: Kernel (kh, kw, c/groups, o), of the same dtype.
        **settings: Those of `conv2d`.

    Returns:
        Images (*n, a, b, o).

    Examples:
        >>> convolve(jnp.ones((8, 28, 28, 3)), jnp.ones((5, 5, 3, 16))).shape
        (8, 24, 24, 16)
    """
    return conv2d(x, jnp.flip(w, (0, 1)), **settings)


def _geometry(name, x, w, stride, padding, dilation, groups):
    _check_ranks(name, w, x=x)
    stride, dilation = _checked_pairs(name, stride, dilation, groups)
    if x.shape[-1] != w.shape[2] * groups or w.shape[3] % groups:
        raise ValueError(
            f"{name}: x has {x.shape[-1]} channels, w expects {w.shape[2] * groups} "
            f"in {groups} group{'s' * (groups > 1)} for {w.shape[3]} outputs (x: {x.shape}, w: {w.shape})"
        )
    window = _spans(w.shape[:2], dilation)
    g = Geometry(stride, padding_pairs(name, padding, x.shape[-3:-1], window, stride), dilation, groups)
    if min(g.size(x.shape[-3:-1], w.shape[:2])) < 1:
        raise ValueError(f"{name}: a window of {window} does not fit into {x.shape[-3:-1]} with padding {g.padding}")
    return g


def _transposed_geometry(name, z, w, stride, padding, dilation, groups):
    _check_ranks(name, w, z=z)
    stride, dilation = _checked_pairs(name, stride, dilation, groups)
    if z.shape[-1] != w.shape[3] or w.shape[3] % groups:
        raise ValueError(
            f"{name}: z has {z.shape[-1]} channels, w expects {w.shape[3]} in {groups} "
            f"group{'s' * (groups > 1)}; w is the kernel of the convolution that is transposed, "
            f"(kh, kw, outputs/groups, inputs) (z: {z.shape}, w: {w.shape})"
        )
    window = _spans(w.shape[:2], dilation)
    if padding == "SAME":
        down, across = ((max(k - s, 0) // 2, k - s - max(k - s, 0) // 2) for k, s in zip(window, stride, strict=True))
        padding = down, across
    g = Geometry(stride, padding_pairs(name, padding, z.shape[-3:-1], window, stride), dilation, groups)
    if min(g.transposed_size(z.shape[-3:-1], w.shape[:2])) < 1:
        raise ValueError(f"{name}: nothing is left of {z.shape[-3:-1]} when padding {g.padding} is cut off")
    return g


def _checked_pairs(name, stride, dilation, groups):
    stride, dilation = pair(stride), pair(dilation)
    check_positive(name, stride=stride, dilation=dilation, groups=(groups, groups))
    return stride, dilation


def _kernel_gradient_geometry(x, z, window, stride, padding, dilation, groups):
    name = "conv2d_kernel_gradient"
    if x.ndim < 3 or x.ndim != z.ndim or x.shape[:-3] != z.shape[:-3]:
        raise ValueError(
            f"{name}: x and z must be as many images (*n, height, width, channels), got {x.shape} and {z.shape}"
        )
    _check_dtypes(name, x, z)
    w = jax.ShapeDtypeStruct((*pair(window), x.shape[-1] // groups, z.shape[-1]), x.dtype)
    g = _geometry(name, x, w, stride, padding, dilation, groups)
    size = g.size(x.shape[-3:-1], w.shape[:2])
    if z.shape[-3:-1] != size:
        raise ValueError(f"{name}: z must be {size} pixels in size, got {z.shape[-3:-1]}")
    return g


def _check_ranks(name, w, **images):
    ((what, x),) = images.items()
    if x.ndim < 3 or w.ndim != 4:
        raise ValueError(
            f"{name}: {what} must be images (*n, height, width, channels) and w a kernel of four axes, "
            f"got {x.shape} and {w.shape}"
        )
    _check_dtypes(name, x, w)


def _check_dtypes(name, x, y):
    if x.dtype != y.dtype:
        raise TypeError(f"{name}: both arguments must have the same dtype, got {x.dtype} and {y.dtype}")


def _spans(window, dilation):
    return tuple(d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True))


def _by_platform(on_cpu, elsewhere, *settings):
    return by_platform(lambda x, y: on_cpu(x, y, *settings), lambda x, y: elsewhere(x, y, *settings))
