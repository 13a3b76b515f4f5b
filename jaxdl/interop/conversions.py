"""Conversions between jaxdl's arrays and PyTorch's tensors, in both directions, and the entries of a layout.

In the names, `ours` are leaves of jaxdl's parameters by path ("2/norm/scale"), and `theirs` are PyTorch's tensors by
name ("encoder.ln.weight").
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

TORCHVISION_EPSILON = 1e-3  # of the batch normalisation in its GoogLeNet


class Conversion(NamedTuple):
    """A conversion in both directions.

    Attributes:
        into: A function from their tensors, as NumPy arrays, to a tuple of our arrays.
        out: A function from our arrays to a tuple of their tensors.
    """

    into: Callable[..., Any]
    out: Callable[..., Any]


class Entry(NamedTuple):
    """Some of our leaves, and their tensors with the same content."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    conversion: Conversion


def one_to_one(into: Callable[..., Any], out: Callable[..., Any]) -> Conversion:
    """A conversion of one array to one tensor."""
    return Conversion(lambda x: (into(x),), lambda x: (out(x),))


SAME = one_to_one(lambda x: x, lambda x: x)
MATRIX = one_to_one(lambda w: w.T, lambda w: w.T)  # (out, in) and (in, out)
KERNEL = one_to_one(lambda w: w.transpose(2, 3, 1, 0), lambda w: w.transpose(3, 2, 0, 1))  # OIHW and HWIO


def with_ones(axes: int) -> Conversion:
    """Their tensor has additional leading axes of length 1: (1, 1, width) for (width,)."""
    return one_to_one(lambda x: x.reshape(x.shape[axes:]), lambda x: x.reshape((1,) * axes + x.shape))


def flattened(side: int) -> Conversion:
    """The matrix after flattened images of side × side pixels: (out, c·side·side) for (side·side·c, out)."""

    def into(w):
        return w.reshape(len(w), -1, side, side).transpose(2, 3, 1, 0).reshape(-1, len(w))

    def out(w):
        inputs, width = w.shape
        if inputs % side**2:
            raise ValueError(
                f"this layout's linear layer follows images of {side} × {side} pixels, but {inputs} inputs "
                f"are not a multiple of {side**2}: initialise the model for images of the published size"
            )
        return w.reshape(side, side, -1, width).transpose(3, 2, 0, 1).reshape(width, -1)

    return one_to_one(into, out)


def stacked(each: Conversion, count: int) -> Conversion:
    """Several of our arrays are one of their tensors, concatenated along its first axis."""

    def into(x):
        return tuple(each.into(part)[0] for part in np.split(x, count))

    def out(*parts):
        return (jnp.concatenate([each.out(part)[0] for part in parts]),)

    return Conversion(into, out)


def _fold(w, scale, bias, mean, variance):
    """Kernel and bias of a convolution and batch normalisation in one, computed in float64.

    γ (x ⋆ w − μ)/√(σ² + ε) + β  =  x ⋆ (w γ/√(σ² + ε)) + β − μ γ/√(σ² + ε).
    """
    scale, bias, mean, variance = (np.asarray(a, np.float64) for a in (scale, bias, mean, variance))
    factor = scale / np.sqrt(variance + TORCHVISION_EPSILON)
    return *KERNEL.into(w * factor[:, None, None, None]), bias - mean * factor


def _unfold(w, b):
    """A convolution and a batch normalisation that only adds b: its mean is 0 and its variance plus ε is 1."""
    return *KERNEL.out(w), jnp.ones_like(b), b, jnp.zeros_like(b), jnp.full_like(b, 1 - TORCHVISION_EPSILON)


FOLDED = Conversion(_fold, _unfold)


# --- entries ------------------------------------------------------------------------------------------


def leaf(ours: str, theirs: str, conversion: Conversion = SAME) -> Entry:
    """One leaf and one tensor."""
    return Entry((ours,), (theirs,), conversion)


def linear(ours: str, theirs: str, w: Conversion = MATRIX) -> list[Entry]:
    """A layer with w and b, in PyTorch weight and bias."""
    return [leaf(f"{ours}/w", f"{theirs}.weight", w), leaf(f"{ours}/b", f"{theirs}.bias")]


def convolution(ours: str, theirs: str) -> list[Entry]:
    """A convolution with w and b."""
    return linear(ours, theirs, KERNEL)


def norm(ours: str, theirs: str) -> list[Entry]:
    """A normalisation with scale and bias."""
    return [leaf(f"{ours}/scale", f"{theirs}.weight"), leaf(f"{ours}/bias", f"{theirs}.bias")]


def feed_forward(ours: str, first: str, second: str) -> list[Entry]:
    """A feed-forward block, in PyTorch two linear layers."""
    return [
        leaf(f"{ours}/w_in", f"{first}.weight", MATRIX),
        leaf(f"{ours}/b_in", f"{first}.bias"),
        leaf(f"{ours}/w_out", f"{second}.weight", MATRIX),
        leaf(f"{ours}/b_out", f"{second}.bias"),
    ]


def folded(ours: str, theirs: str) -> list[Entry]:
    """A convolution with b, in PyTorch one without and a batch normalisation after it."""
    statistics = ("weight", "bias", "running_mean", "running_var")
    tensors = (f"{theirs}.conv.weight", *(f"{theirs}.bn.{name}" for name in statistics))
    return [Entry((f"{ours}/w", f"{ours}/b"), tensors, FOLDED)]


def under(ours: str, theirs: str, entries: Iterable[Entry]) -> list[Entry]:
    """The same entries as part of a larger model."""
    prefixed = lambda prefix, names: tuple(prefix + name for name in names)
    return [Entry(prefixed(f"{ours}/", e.ours), prefixed(f"{theirs}.", e.theirs), e.conversion) for e in entries]
