"""Sparse systems by size: each `name(n)` returns `(f, x)`, a function and a vector x of about n entries."""

import jax
import jax.numpy as jnp
import numpy as np


def brusselator_1d(n: int):
    """The right-hand side of the Brusselator on the unit interval (Hairer, Wanner 1996, IV.10), n → n, n even.

    u' = 1 + u²v − 4u + α uₓₓ,  v' = 3u − u²v + α vₓₓ,  α = 1/50, central differences on n/2 inner points; Dirichlet
    boundary u = 1, v = 3. x is u and v in turn, point by point: a band of width 5.
    """
    points = n // 2
    scale = (points + 1) ** 2 / 50

    def f(x):
        u, v = x.reshape(points, 2).T
        diffusion = lambda w, edge: scale * second_difference(jnp.pad(w, 1, constant_values=edge))
        reaction = u**2 * v
        du = 1 + reaction - 4 * u + diffusion(u, 1.0)
        dv = 3 * u - reaction + diffusion(v, 3.0)
        return jnp.stack([du, dv], axis=1).reshape(-1)

    place = np.arange(1, points + 1) / (points + 1)
    x = np.stack([1 + np.sin(2 * np.pi * place), np.full(points, 3.0)], axis=1)
    return f, jnp.asarray(x.reshape(-1), jnp.float32)


def brusselator_2d(n: int):
    """The Brusselator on the unit square (Hairer, Wanner 1996, IV.10), n → n with n = 2 side² rounded down.

    u' = 1 + u²v − 4.4u + α Δu,  v' = 3.4u − u²v + α Δv,  α = 0.1, the five-point Laplacian, periodic both ways.
    x is all of u, row by row, then all of v.
    """
    side = int((n // 2) ** 0.5)
    scale = 0.1 * side**2

    def f(x):
        u, v = x.reshape(2, side, side)
        laplacian = lambda w: sum(jnp.roll(w, s, axis) for s in (1, -1) for axis in (0, 1)) - 4 * w
        reaction = u**2 * v
        du = 1 + reaction - 4.4 * u + scale * laplacian(u)
        dv = 3.4 * u - reaction + scale * laplacian(v)
        return jnp.stack([du, dv]).reshape(-1)

    place = np.arange(side) / side
    u = 22 * (place * (1 - place)) ** 1.5
    v = 27 * (place * (1 - place)) ** 1.5
    x = np.stack([np.broadcast_to(u[:, None], (side, side)), np.broadcast_to(v, (side, side))])
    return f, jnp.asarray(x.reshape(-1), jnp.float32)


def burgers(n: int):
    """The right-hand side of Burgers' equation, n → n: u' = −(u²/2)ₓ + ν uₓₓ, ν = 0.01, on the unit interval.

    Central differences in conservation form on n inner points, Dirichlet boundary u = 0: a band of width 3.
    """
    step = 1 / (n + 1)

    def f(x):
        u = jnp.pad(x, 1)
        return -(u[2:] ** 2 - u[:-2] ** 2) / (4 * step) + 0.01 * second_difference(u) / step**2

    return f, jnp.asarray(np.sin(np.pi * np.arange(1, n + 1) * step), jnp.float32)


def rosenbrock(n: int):
    """Residuals of the chained Rosenbrock function, n → 2(n − 1): 10(xᵢ₊₁ − xᵢ²) and 1 − xᵢ (Moré, Garbow, Hillstrom
    1981, problem 21, chained as by Toint). No boundary."""

    def f(x):
        return jnp.concatenate([10 * (x[1:] - x[:-1] ** 2), 1 - x[:-1]])

    return f, _alternating(n)


def rosenbrock_gradient(n: int):
    """The gradient of the chained Rosenbrock function, half its residuals' sum of squares, n → n: its Jacobian is the
    tridiagonal Hessian."""
    residuals, x = rosenbrock(n)
    return jax.grad(lambda x: 0.5 * jnp.sum(residuals(x) ** 2)), x


def banded(n: int):
    """Broyden's tridiagonal function, n → n: (3 − 2xᵢ)xᵢ − xᵢ₋₁ − 2xᵢ₊₁ + 1 (Moré, Garbow, Hillstrom 1981, problem 30),
    with x₀ = xₙ₊₁ = 0."""

    def f(x):
        wide = jnp.pad(x, 1)
        return (3 - 2 * x) * x - wide[:-2] - 2 * wide[2:] + 1

    return f, -_alternating(n)


def arrow(n: int):
    """An arrow, n → n: a dense first row and column and the diagonal, y₀ = Σ xᵢ², yᵢ = sin(xᵢ) + x₀xᵢ. No boundary."""

    def f(x):
        return jnp.concatenate([jnp.sum(x**2)[None], jnp.sin(x[1:]) + x[0] * x[1:]])

    return f, _alternating(n)


def heat(n: int, steps: int = 4):
    """`steps` explicit Euler steps of the heat equation by scan, n → n: u ← u + r(uᵢ₋₁ − 2uᵢ + uᵢ₊₁), r = 1/4.

    Dirichlet boundary u = 0. Linear, so with a conductivity 1 + u²/10 that makes it worth a Jacobian: a band of width
    2·steps + 1.
    """

    def step(u, _):
        return u + 0.25 * (1 + 0.1 * u**2) * second_difference(jnp.pad(u, 1)), None

    return lambda x: jax.lax.scan(step, x, None, length=steps)[0], _alternating(n)


def power_flow(n: int):
    """The power flow equations of a grid, n → n with n/2 buses: the injections P and Q, from angles θ, then voltages V.

    S = V e^{iθ} conj(Y V e^{iθ}) (Tinney, Hart 1967). The admittances Y = G + iB are sparse matrices (BCOO): a ring of
    buses, and half as many further lines drawn at random. The pattern is that of Y in four blocks.
    """
    from jax.experimental.sparse import BCOO  # slow to import

    buses, rng = n // 2, np.random.default_rng(0)
    line = np.concatenate(
        [np.stack([np.arange(buses), (np.arange(buses) + 1) % buses]), rng.integers(buses, size=(2, buses // 2))],
        axis=1,
    )
    weight = np.stack([rng.uniform(0.5, 1, line.shape[1]), -rng.uniform(4, 6, line.shape[1])])
    row, column = np.concatenate([line, line[::-1], [line[0]] * 2, [line[1]] * 2], axis=1)
    entries = np.concatenate([-weight, -weight, weight, weight], axis=1).astype(np.float32)
    place, duplicate = np.unique(row * buses + column, return_inverse=True)
    entries = np.stack([np.bincount(duplicate, part, place.size) for part in entries]).astype(np.float32)
    indices = np.stack(np.divmod(place, buses), axis=1)
    g, b = (BCOO((jnp.asarray(part), jnp.asarray(indices)), shape=(buses, buses)) for part in entries)

    def f(x):
        angle, voltage = x.reshape(2, buses)
        re, im = voltage * jnp.cos(angle), voltage * jnp.sin(angle)
        current_re, current_im = g @ re - b @ im, g @ im + b @ re
        return jnp.concatenate([re * current_re + im * current_im, im * current_re - re * current_im])

    x = np.concatenate([0.1 * np.sin(np.arange(buses)), 1 + 0.05 * np.cos(np.arange(buses))])
    return f, jnp.asarray(x, jnp.float32)


ALL = (brusselator_1d, brusselator_2d, burgers, rosenbrock, rosenbrock_gradient, banded, arrow, heat, power_flow)


def second_difference(u):
    """uᵢ₋₁ − 2uᵢ + uᵢ₊₁ at the inner points."""
    return u[:-2] - 2 * u[1:-1] + u[2:]


def _alternating(n):
    """A point without symmetry: −1.2 and 1 alternating, Rosenbrock's starting point, with a slow drift."""
    return jnp.asarray(np.where(np.arange(n) % 2, 1.0, -1.2) + 0.3 * np.sin(np.arange(n)), jnp.float32)
