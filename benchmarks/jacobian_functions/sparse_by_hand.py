"""The Jacobians of `sparse_systems` by hand: each `name(x)` is the dense matrix, written entry by entry."""

import jax.numpy as jnp
import numpy as np

from benchmarks.jacobian_functions.sparse_systems import second_difference


def brusselator_1d(x):
    """∂u'/∂u = 2uv − 4 − 2s, ∂u'/∂v = u², ∂v'/∂u = 3 − 2uv, ∂v'/∂v = −u² − 2s, and s = α/h² to a neighbour."""
    n = x.size
    scale = (n // 2 + 1) ** 2 / 50
    u, v = x[::2], x[1::2]
    i, near = np.arange(0, n, 2), np.arange(n - 2)
    return _placed(
        x,
        (i, i, 2 * u * v - 4 - 2 * scale),
        (i, i + 1, u**2),
        (i + 1, i, 3 - 2 * u * v),
        (i + 1, i + 1, -(u**2) - 2 * scale),
        (near, near + 2, scale),
        (near + 2, near, scale),
    )


def brusselator_2d(x):
    """∂u'/∂u = 2uv − 4.4 − 4s, ∂u'/∂v = u², ∂v'/∂u = 3.4 − 2uv, ∂v'/∂v = −u² − 4s, and s to each of four neighbours."""
    points = x.size // 2
    side = int(points**0.5)
    scale = 0.1 * side**2
    u, v = x[:points], x[points:]
    i = np.arange(points)
    grid = np.arange(2 * points).reshape(2, side, side)
    neighbours = [np.roll(grid, s, axis).ravel() for s in (1, -1) for axis in (1, 2)]
    return _placed(
        x,
        (i, i, 2 * u * v - 4.4 - 4 * scale),
        (i, points + i, u**2),
        (points + i, i, 3.4 - 2 * u * v),
        (points + i, points + i, -(u**2) - 4 * scale),
        *((grid.ravel(), neighbour, scale) for neighbour in neighbours),
    )


def burgers(x):
    """∂u'ᵢ/∂uᵢ₊₁ = −uᵢ₊₁/2h + ν/h², ∂u'ᵢ/∂uᵢ₋₁ = uᵢ₋₁/2h + ν/h², ∂u'ᵢ/∂uᵢ = −2ν/h²."""
    n = x.size
    step = 1 / (n + 1)
    viscous, i = 0.01 / step**2, np.arange(n - 1)
    slope = x / (2 * step)
    return _placed(
        x,
        (np.arange(n), np.arange(n), -2 * viscous),
        (i, i + 1, viscous - slope[1:]),
        (i + 1, i, viscous + slope[:-1]),
    )


def rosenbrock(x):
    """∂(10(xᵢ₊₁ − xᵢ²)) = (−20xᵢ, 10) by (xᵢ, xᵢ₊₁), ∂(1 − xᵢ) = −1."""
    n = x.size
    i = np.arange(n - 1)
    return _placed(x, (i, i, -20 * x[:-1]), (i, i + 1, 10), (n - 1 + i, i, -1), rows=2 * (n - 1))


def banded(x):
    """3 − 4xᵢ on the diagonal, −1 before it, −2 after it."""
    n = x.size
    i = np.arange(n - 1)
    return _placed(x, (np.arange(n), np.arange(n), 3 - 4 * x), (i + 1, i, -1), (i, i + 1, -2))


def arrow(x):
    """∂y₀/∂xⱼ = 2xⱼ, ∂yᵢ/∂x₀ = xᵢ, ∂yᵢ/∂xᵢ = cos xᵢ + x₀."""
    n = x.size
    i = np.arange(1, n)
    first = np.zeros(n, int)
    return _placed(x, (first, np.arange(n), 2 * x), (i, first[1:], x[1:]), (i, i, jnp.cos(x[1:]) + x[0]))


def heat(x, steps: int = 4):
    """The product of the steps' Jacobians, each r = ¼(1 + u²/10) beside and 1 + ¼ · 2u/10 · Δu − 2r on the diagonal.

    Bands are multiplied as bands: (T B)ᵢ,ᵢ₊ₒ = Σₑ Tᵢ,ᵢ₊ₑ Bᵢ₊ₑ,ᵢ₊ₒ; `band[w + o, i]` holds Bᵢ,ᵢ₊ₒ.
    """
    n = x.size
    band = jnp.ones((1, n), x.dtype)
    for _ in range(steps):
        change, beside = second_difference(jnp.pad(x, 1)), 0.25 * (1 + 0.1 * x**2)
        around, size = jnp.pad(band, ((2, 2), (1, 1))), len(band) + 2
        terms = ((-1, beside), (0, 1 + 0.05 * x * change - 2 * beside), (1, beside))
        band = sum(t[None] * around[1 - e : 1 - e + size, 1 + e : 1 + e + n] for e, t in terms)
        x = x + beside * change
    rows = {o: np.arange(max(0, -o), n - max(0, o)) for o in range(-steps, steps + 1)}
    return _placed(x, *((i, i + o, band[steps + o, i[0] : i[-1] + 1]) for o, i in rows.items()))


ALL = (brusselator_1d, brusselator_2d, burgers, rosenbrock, banded, arrow, heat)


def _placed(x, *entries, rows=None):
    """The matrix with these (row indices, column indices, values) and zeros elsewhere."""
    row, column = (np.concatenate(part) for part in list(zip(*entries, strict=True))[:2])
    values = jnp.concatenate([jnp.broadcast_to(jnp.asarray(v, x.dtype), i.shape) for i, _, v in entries])
    matrix = jnp.zeros((rows or x.size, x.size), x.dtype)
    return matrix.at[row, column].set(values, unique_indices=True, mode="promise_in_bounds")
