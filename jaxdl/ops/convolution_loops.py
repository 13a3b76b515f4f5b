"""A convolution as a linear layer at every position, with its derivative as loops over the same positions."""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from jaxdl.ops.precision import like, upcast, zeros
from jaxdl.rule import op, saving


@op
def conv2d_by_loops(
    x: Inexact[Array, "n h w c"], w: Inexact[Array, "kh kw c o"], b: Inexact[Array, " o"] | None = None
) -> Inexact[Array, "n p q o"]:
    """y[:, i, j] = patch w + b, the patch of x at i, j: `conv2d` as in a lecture. It is slow.

    Args:
        x: Images (n, h, w, c).
        w: Kernel (kh, kw, c, o), of the same dtype.
        b: Biases (o,), of the same dtype, or None.

    Returns:
        Images (n, h − kh + 1, w − kw + 1, o).

    Raises:
        ValueError: The shapes do not fit.

    Examples:
        >>> image = jnp.array([[12.0, 3, 19], [25, 10, 1], [9, 7, 17]])[None, :, :, None]
        >>> kernel = jnp.array([[1.0, 2], [3, 4]])[:, :, None, None]
        >>> conv2d_by_loops(image, kernel)[0, :, :, 0].tolist()
        [[133.0, 75.0], [100.0, 101.0]]
    """
    _check_shapes(x, w, b)
    rows, columns, o = _output_shape(x, w)
    linear = lambda patch: patch.reshape(len(x), -1) @ w.reshape(-1, o)
    y = jnp.stack([jnp.stack([linear(_patch(x, w, i, j)) for j in columns], 1) for i in rows], 1)
    return y if b is None else y + b.reshape(1, 1, 1, o)


@conv2d_by_loops.rule
def conv2d_by_loops_rule(x, w, b):
    """For each position i, j with δ = ȳ[:, i, j]:   w̄ += patchᵀ δ,   x̄ at the patch += δ wᵀ,   b̄ += δ

    Gain: adds to x̄ at the patch, where the automatic derivative adds a whole image for each position.
    """

    def pullback(x, w, dy):
        rows, columns, o = _output_shape(x, w)
        dx, dw, db = (zeros(shape, dy) for shape in (x.shape, w.shape, (o,)))
        kernel, (kh, kw) = upcast(w), w.shape[:2]
        for i in rows:
            for j in columns:
                delta = upcast(dy[:, i, j])
                dw += jnp.tensordot(upcast(_patch(x, w, i, j)), delta, (0, 0))
                dx = dx.at[:, i : i + kh, j : j + kw].add(jnp.tensordot(delta, kernel, (1, 3)))
                db += delta.sum(0)
        return like(x, dx), like(w, dw), None if b is None else like(dy, db)

    return conv2d_by_loops.primal(x, w, b), saving(pullback, x, w)


def _output_shape(x, w):
    """The rows and the columns of the output, as ranges, and its channels."""
    return range(x.shape[1] - w.shape[0] + 1), range(x.shape[2] - w.shape[1] + 1), w.shape[3]


def _patch(x, w, i, j):
    return x[:, i : i + w.shape[0], j : j + w.shape[1]]


def _check_shapes(x, w, b):
    if not x.ndim == w.ndim == 4 or x.shape[3] != w.shape[2] or (b is not None and b.shape != w.shape[3:]):
        raise ValueError(
            f"conv2d_by_loops: x (n, h, w, c), w (kh, kw, c, o) and b (o,) do not fit: x: {x.shape}, w: {w.shape}"
            + ("" if b is None else f", b: {b.shape}")
        )
    rows, columns, _ = _output_shape(x, w)
    if not (rows and columns):
        raise ValueError(f"conv2d_by_loops: a window of {w.shape[:2]} does not fit into {x.shape[1:3]}")
