"""Windows that move over images: lengths and pairs, strides, padding; images as one batch."""

import math
from collections.abc import Callable, Sequence

from jax import Array, lax

Pair = int | tuple[int, int]
Pads = tuple[tuple[int, int], tuple[int, int]]
Padding = str | Pads

# For windows of 3 and a stride of 2: the last window may reach one pixel out of the image ("ceil mode").
CEIL: Pads = ((0, 1), (0, 1))


def pair(length: Pair) -> tuple[int, int]:
    if isinstance(length, tuple | list):
        down, across = length
        return down, across
    return length, length


def padding_pairs(name: str, padding: Padding, size: Sequence[int], window: Sequence[int], stride: Pair) -> Pads:
    """((top, bottom), (left, right)) of "VALID", "SAME" or the pairs themselves."""
    if isinstance(padding, str):
        if padding not in ("VALID", "SAME"):
            raise ValueError(f'{name}: padding must be "VALID", "SAME" or pairs, got {padding!r}')
        down, across = lax.padtype_to_pads(size, window, pair(stride), padding)
        return down, across
    try:
        (top, bottom), (left, right) = padding
        return (int(top), int(bottom)), (int(left), int(right))
    except (TypeError, ValueError):
        raise ValueError(
            f'{name}: padding must be "VALID", "SAME" or pairs ((top, bottom), (left, right)), got {padding!r}'
        ) from None


def check_positive(name: str, **lengths: tuple[int, int]) -> None:
    for what, pair_ in lengths.items():
        if min(pair_) < 1:
            raise ValueError(f"{name}: {what} must be 1 or more, got {pair_}")


def as_batch(x: Array) -> Array:
    """Images with any leading axes (*n, h, w, c) as one batch (n, h, w, c)."""
    return x.reshape(math.prod(x.shape[:-3]), *x.shape[-3:])


def over_images(f: Callable[[Array], Array], x: Array) -> Array:
    """A function of a batch of images, on images with any leading axes, which the result has too."""
    y = f(as_batch(x))
    return y.reshape(*x.shape[:-3], *y.shape[1:])
