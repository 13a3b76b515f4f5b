"""Windows that move over images: lengths and pairs, strides, padding."""

from jax import lax

Pair = int | tuple[int, int]
Padding = str | tuple[tuple[int, int], tuple[int, int]]

# With windows of 3 and a stride of 2: a last window may reach one pixel out of the image ("ceil mode").
CEIL = ((0, 1), (0, 1))


def pair(length: Pair) -> tuple[int, int]:
    return tuple(length) if isinstance(length, (tuple, list)) else (length, length)


def padding_pairs(name, padding: Padding, size, window, stride) -> tuple[tuple[int, int], tuple[int, int]]:
    """((top, bottom), (left, right)) of "VALID", "SAME" or the pairs themselves."""
    if isinstance(padding, str):
        if padding not in ("VALID", "SAME"):
            raise ValueError(f'{name}: padding must be "VALID", "SAME" or pairs, got {padding!r}')
        return tuple(lax.padtype_to_pads(size, window, stride, padding))
    try:
        (top, bottom), (left, right) = padding
        return (int(top), int(bottom)), (int(left), int(right))
    except (TypeError, ValueError):
        raise ValueError(
            f'{name}: padding must be "VALID", "SAME" or pairs ((top, bottom), (left, right)), got {padding!r}'
        ) from None


def check_positive(name, **lengths):
    for what, pair_ in lengths.items():
        if min(pair_) < 1:
            raise ValueError(f"{name}: {what} must be 1 or more, got {pair_}")
