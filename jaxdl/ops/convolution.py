"""Convolution of images (n, h, w, c) with kernels (kh, kw, c/groups, o), and what belongs to it.

Convolution, its transpose and the gradient of its kernel are three faces of one trilinear form,

    ⟨z, conv2d(x, w)⟩ = ⟨conv_transpose2d(z, w), x⟩ = ⟨conv2d_kernel_gradient(x, z), w⟩,

so that the cotangents of each are the other two, to any order. How each runs fastest on a CPU is in
`jaxdl/ops/convolution_forms.py`; elsewhere the compiler's own convolutions run.

As in all of deep learning, "convolution" is the correlation Σ x[i + a, j + b] w[a, b]; `convolve` is
the convolution of mathematics, with the kernel flipped.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Inexact

from jaxdl.ops import convolution_forms as forms
from jaxdl.ops.windows import Padding, Pair, check_positive, padding_pairs, pair
from jaxdl.rule import op, saving


@op
def conv2d(
    x: Inexact[Array, "n h w c"],
    w: Inexact[Array, "kh kw i o"],
    *,
    stride: Pair = 1,
    padding: Padding = "VALID",
    dilation: Pair = 1,
    groups: int = 1,
) -> Inexact[Array, "n a b o"]:
    """y[p, q, o] = Σ x[s p + d i, s q + d j, c] w[i, j, c, o]: (n, h, w, c), (kh, kw, c/groups, o) → (n, a, b, o).

    stride s and dilation d are numbers or pairs (down, across). padding is "VALID", "SAME" or pairs
    ((top, bottom), (left, right)) of zeros. With groups, each group of the outputs sees its group of the
    inputs; groups = c is a depthwise convolution.
    """
    return forms.plain_correlate(x, w, _geometry("conv2d", x, w, stride, padding, dilation, groups))


@conv2d.rule
def conv2d_rule(x, w, *, stride, padding, dilation, groups):
    """x̄ = conv_transpose2d(ȳ, w),   w̄ = conv2d_kernel_gradient(x, ȳ)

    Gain: on a CPU in forms that run on all cores, a 1×1 convolution and the kernel's gradient as matrix products.
    """
    g = _geometry("conv2d", x, w, stride, padding, dilation, groups)
    size, window = x.shape[1:3], w.shape[:2]

    def pullback(x, w, dy):
        dx = conv_transpose2d(dy, w, **g.to_size(dy.shape[1:3], window, size).settings)
        return dx, conv2d_kernel_gradient(x, dy, window=window, **g.settings)

    return _by_platform(forms.correlate, forms.plain_correlate, g)(x, w), saving(pullback, x, w)


@op
def conv_transpose2d(
    z: Inexact[Array, "n a b o"],
    w: Inexact[Array, "kh kw i o"],
    *,
    stride: Pair = 1,
    padding: Padding = "VALID",
    dilation: Pair = 1,
    groups: int = 1,
) -> Inexact[Array, "n h w c"]:
    """The transpose of `conv2d` with the same kernel: (n, a, b, o), (kh, kw, c/groups, o) → (n, h, w, c).

    Every pixel of z puts a copy of the kernel into the result, `stride` apart, and `padding` is cut off:
    h = (a − 1) stride + dilation (kh − 1) + 1 − top − bottom; with "SAME", h = a·stride. A negative number
    adds zeros. PyTorch's ConvTranspose2d of weight v is this with w = v.transpose(2, 3, 1, 0), and its
    output_padding r is bottom = right = padding − r.
    """
    name = "conv_transpose2d"
    return forms.plain_spread(z, w, _transposed_geometry(name, z, w, stride, padding, dilation, groups))


@conv_transpose2d.rule
def conv_transpose2d_rule(z, w, *, stride, padding, dilation, groups):
    """z̄ = conv2d(x̄, w),   w̄ = conv2d_kernel_gradient(x̄, z)

    Gain: on a CPU without the zeros that a stride puts between the pixels.
    """
    g = _transposed_geometry("conv_transpose2d", z, w, stride, padding, dilation, groups)
    window = w.shape[:2]

    def pullback(z, w, dx):
        return conv2d(dx, w, **g.settings), conv2d_kernel_gradient(dx, z, window=window, **g.settings)

    return _by_platform(forms.spread, forms.plain_spread, g)(z, w), saving(pullback, z, w)


@op
def conv2d_kernel_gradient(
    x: Inexact[Array, "n h w c"],
    z: Inexact[Array, "n a b o"],
    *,
    window: Pair,
    stride: Pair = 1,
    padding: Padding = "VALID",
    dilation: Pair = 1,
    groups: int = 1,
) -> Inexact[Array, "kh kw i o"]:
    """The gradient of ⟨z, conv2d(x, w)⟩ with respect to w, which does not depend on w; window is (kh, kw)."""
    name = "conv2d_kernel_gradient"
    w = _kernel_type(name, x, z, window, groups)
    g = _geometry(name, x, w, stride, padding, dilation, groups)
    if z.shape[1:3] != g.size(x.shape[1:3], w.shape[:2]):
        raise ValueError(f"{name}: z must be {g.size(x.shape[1:3], w.shape[:2])} pixels in size, got {z.shape[1:3]}")
    return forms.plain_kernel_gradient(x, z, g, w.shape[:2])


@conv2d_kernel_gradient.rule
def conv2d_kernel_gradient_rule(x, z, *, window, stride, padding, dilation, groups):
    """x̄ = conv_transpose2d(z, w̄),   z̄ = conv2d(x, w̄)"""
    name = "conv2d_kernel_gradient"
    w = _kernel_type(name, x, z, window, groups)
    g = _geometry(name, x, w, stride, padding, dilation, groups)
    size = x.shape[1:3]

    def pullback(x, z, dw):
        dx = conv_transpose2d(z, dw, **g.to_size(z.shape[1:3], dw.shape[:2], size).settings)
        return dx, conv2d(x, dw, **g.settings)

    y = _by_platform(forms.kernel_gradient, forms.plain_kernel_gradient, g, w.shape[:2])(x, z)
    return y, saving(pullback, x, z)


def convolve(x: Inexact[Array, "n h w c"], w: Inexact[Array, "kh kw i o"], **settings) -> Inexact[Array, "n a b o"]:
    """The convolution of mathematics, Σ x[p − i, q − j] w[i, j]: `conv2d` with the kernel flipped, its settings."""
    return conv2d(x, jnp.flip(w, (0, 1)), **settings)


def conv2d_by_loops(x: Inexact[Array, "n h w c"], w: Inexact[Array, "kh kw c o"]) -> Inexact[Array, "n a b o"]:
    """`conv2d` as a lecture has it: at every position one linear layer on the patch that is seen there. Slow."""
    (_, h, width, _), (kh, kw, _, o) = x.shape, w.shape
    rows = []
    for i in range(h - kh + 1):
        row = []
        for j in range(width - kw + 1):
            patch = x[:, i : i + kh, j : j + kw, :]
            row.append(patch.reshape(x.shape[0], -1) @ w.reshape(-1, o))
        rows.append(jnp.stack(row, 1))
    return jnp.stack(rows, 1)


@dataclass(frozen=True)
class Geometry:
    """Where windows lie: all pairs (down, across)."""

    stride: tuple
    padding: tuple
    dilation: tuple
    groups: int

    @property
    def settings(self):
        return vars(self)

    def size(self, size, window):
        """The size of the output for an image's and a window's."""
        return tuple(
            (n + low + high - (d * (k - 1) + 1)) // s + 1
            for n, (low, high), d, k, s in zip(size, self.padding, self.dilation, window, self.stride, strict=True)
        )

    def transposed_size(self, size, window):
        return tuple(
            (a - 1) * s + d * (k - 1) + 1 - low - high
            for a, (low, high), d, k, s in zip(size, self.padding, self.dilation, window, self.stride, strict=True)
        )

    def to_size(self, out, window, size):
        """The same with the padding at the bottom and right that takes `out` back to exactly `size`."""
        excess = [n - m for n, m in zip(self.transposed_size(out, window), size, strict=True)]
        padding = tuple((low, high + e) for (low, high), e in zip(self.padding, excess, strict=True))
        return Geometry(self.stride, padding, self.dilation, self.groups)


def _geometry(name, x, w, stride, padding, dilation, groups):
    _check_ranks(name, w, x=x)
    stride, dilation = pair(stride), pair(dilation)
    check_positive(name, stride=stride, dilation=dilation, groups=(groups, groups))
    if x.shape[3] != w.shape[2] * groups or w.shape[3] % groups:
        raise ValueError(
            f"{name}: x has {x.shape[3]} channels, w expects {w.shape[2] * groups} "
            f"in {groups} group{'s' * (groups > 1)} for {w.shape[3]} outputs (x: {x.shape}, w: {w.shape})"
        )
    window = _spans(w.shape[:2], dilation)
    g = Geometry(stride, padding_pairs(name, padding, x.shape[1:3], window, stride), dilation, groups)
    if min(g.size(x.shape[1:3], w.shape[:2])) < 1:
        raise ValueError(f"{name}: a window of {window} does not fit into {x.shape[1:3]} with padding {g.padding}")
    return g


def _transposed_geometry(name, z, w, stride, padding, dilation, groups):
    _check_ranks(name, w, z=z)
    stride, dilation = pair(stride), pair(dilation)
    check_positive(name, stride=stride, dilation=dilation, groups=(groups, groups))
    if z.shape[3] != w.shape[3] or w.shape[3] % groups:
        raise ValueError(
            f"{name}: z has {z.shape[3]} channels, w expects {w.shape[3]} in {groups} "
            f"group{'s' * (groups > 1)}; w is the kernel of the convolution that is transposed, "
            f"(kh, kw, outputs/groups, inputs) (z: {z.shape}, w: {w.shape})"
        )
    window = _spans(w.shape[:2], dilation)
    if padding == "SAME":
        padding = tuple((max(k - s, 0) // 2, k - s - max(k - s, 0) // 2) for k, s in zip(window, stride, strict=True))
    g = Geometry(stride, padding_pairs(name, padding, z.shape[1:3], window, stride), dilation, groups)
    if min(g.transposed_size(z.shape[1:3], w.shape[:2])) < 1:
        raise ValueError(f"{name}: nothing is left of {z.shape[1:3]} when padding {g.padding} is cut off")
    return g


def _kernel_type(name, x, z, window, groups):
    _check_ranks(name, z, x=x)
    if x.shape[0] != z.shape[0]:
        raise ValueError(f"{name}: x and z must be as many images, got {x.shape[0]} and {z.shape[0]}")
    return jax.ShapeDtypeStruct((*pair(window), x.shape[3] // groups, z.shape[3]), x.dtype)


def _check_ranks(name, w, **images):
    ((what, x),) = images.items()
    if x.ndim != 4 or w.ndim != 4:
        raise ValueError(f"{name}: {what} and the other argument must have four axes, got {x.shape} and {w.shape}")
    if x.dtype != w.dtype:
        raise TypeError(f"{name}: both arguments must have the same dtype, got {x.dtype} and {w.dtype}")


def _spans(window, dilation):
    return tuple(d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True))


def _by_platform(on_cpu, elsewhere, *settings):
    return lambda x, y: lax.platform_dependent(
        x, y, cpu=lambda x, y: on_cpu(x, y, *settings), default=lambda x, y: elsewhere(x, y, *settings)
    )
