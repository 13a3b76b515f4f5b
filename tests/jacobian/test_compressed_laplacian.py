"""Laplacians of functions whose entries depend on a few of 24 inputs, until all come together."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxdl import jacobian
from tests.draws import draw
from tests.jacobian.test_laplacian import close

X = draw(90, 24)
W, V, MATRIX = draw(91, 3, 5) / 2, draw(92, 5, 8), draw(93, 24, 24) / 5
PLACES = jnp.array([[0, 1, 2, 7], [3, 3, 2, 1]])


def points(x):
    return x.reshape(8, 3)


def features(x):
    """(8, 5): each row depends on one point."""
    return jnp.tanh(points(x) @ W)


def orbitals(x):
    """(8, 8), far from singular."""
    return 0.3 * jnp.tanh(features(x) @ V) + jnp.eye(8)


def distances(x):
    return jnp.sqrt(((points(x)[:, None] - points(x)[None]) ** 2).sum(-1) + 1)


def together(*arrays):
    """Numbers in which the derivatives along all inputs meet."""
    y = jnp.concatenate([a.ravel() for a in arrays])
    weights = jnp.cos(jnp.arange(1, y.size + 1, dtype=y.dtype))
    return jnp.stack([(y * weights).sum() ** 2 + (y**2 * weights).sum(), jnp.sin((y * weights).sum())])


def block_of_repeated_points(x):
    half = orbitals(x)[:4]
    return jnp.linalg.slogdet(
        jnp.concatenate([half, jnp.sin(half) * jnp.arange(8, dtype=half.dtype)[None]]) + 3 * jnp.eye(8)
    )[1]


def scattered(x):
    e = features(x)
    return e.at[jnp.array([1, 1, 3])].add(e[4:7]).at[2].set(e[0]).at[0].mul(e[5])


def moved(x):
    e = features(x)
    padded = jnp.pad(jnp.concatenate([e[::-1], e * e[::-1] * points(x)[:, :1], jnp.ones((2, 5))]), ((1, 2), (0, 1)))
    a, b = jnp.split(e.T.reshape(10, 4), 2)
    return together(padded, a * b**2, lax.pad(e * e[::-1], x[0], ((-1, 2, 1), (1, -1, 0))), jnp.stack([e, e[::-1]], 1))


def along_axes(x):
    e, p = features(x), points(x)
    sums = (e**2).sum(1) * p.sum(1) + p.mean(1) ** 2 + p.max(1) * e.min(1)
    scans = jnp.cumsum(e, 1) * jnp.cumsum(p, 0)[:, :1] + lax.cumsum(x.reshape(8, 3), 1, reverse=True)[:, :1] ** 2
    return together(sums, scans, jnp.sort(e, 1) * jnp.sort(x[:8])[:, None], lax.top_k(e, 2)[0], jnp.sort(e, 0))


def products(x):
    e = features(x)
    batched = jnp.einsum("bcd,abc->bda", MATRIX[:12, :4].reshape(3, 4, 4), x.reshape(2, 3, 4))
    two_axes = jnp.tensordot(x.reshape(2, 3, 4), MATRIX[:12, :4].reshape(3, 4, 4))
    one_input_twice = jnp.stack([x[0], x[1], x[0], x[2]]) @ MATRIX[:4, :6]
    return together(batched**2, two_axes**2, one_input_twice, e @ e.T, e.T @ e, jnp.einsum("ij,k->kij", e, W[0]))


def first_layers(x):
    whole = jnp.tanh(MATRIX @ x) + jnp.sin(x[::-1] @ MATRIX)
    return together(whole, jnp.tanh(MATRIX[:, :10] @ x[:10]), jnp.tanh(x.reshape(2, 12) @ MATRIX[:12]))


def choices(x):
    e = features(x)
    places = (jnp.arange(40).reshape(8, 5) % 3).astype(jnp.int32)
    of_all = lax.select_n(places, e, e[::-1], e**2)
    itself = e[:7] * e[6::-1]  # the row in the middle, whose factors depend on the same inputs
    return together(
        itself, jnp.where(e > 0, e**2, e[::-1]), of_all, jnp.maximum(e, e[::-1]) * jnp.clip(points(x)[:, :1], -1, 1)
    )


def unknown_places(x):
    e, start = features(x), jnp.where(x[0] > 0, 1, 0)
    moved = lax.dynamic_update_slice(e, lax.dynamic_slice(e, (2, 1), (2, 2)), (5, start))
    return together(e[jnp.argsort(x[:8])] * e, moved, jnp.take_along_axis(e, jnp.argsort(e, 1), 1))


def control_flow(x):
    e = features(x)
    scanned = lax.scan(lambda c, row: (jnp.tanh(c + row * x[0]), c * row), e[0], e)
    looped = lax.fori_loop(0, 3, lambda i, c: c * e + c[::-1], e)
    return together(*scanned, looped, lax.cond(x[0] > 0, lambda e: e**2, lambda e: e[::-1] * e, e))


def rules(x):
    cube, scaled = jax.custom_jvp(lambda x: x**3), jax.custom_jvp(lambda x: x**2)
    cube.defjvp(lambda p, t: (cube(*p), 3 * p[0] ** 2 * t[0]))
    scaled.defjvp(lambda p, t: (scaled(*p), 2 * p[0] * t[0] + (p[0] * t[0]).sum()))  # mixes entries
    return together(cube(features(x)), scaled(features(x)))


def curves(x):
    """Calls that are functions of one number."""
    e, p = features(x), points(x)
    root = jax.jit(lambda t: jnp.where(t > 0, jnp.sqrt(1 + t**2), t**3))
    kinked = jax.jit(lambda t: jnp.where(t > 0, t**2, jnp.exp(t)) * t)
    return together(root(p), kinked(e), jax.checkpoint(lambda t: jnp.sin(t) * t)(e), jax.nn.silu(e), jax.nn.gelu(e))


def complex_numbers(x):
    e = features(x)
    z = lax.complex(points(x), 2 + points(x)[::-1]) @ lax.complex(W, -W)
    return together(jnp.abs(z), jnp.abs(jnp.fft.fft(e, axis=1) + 3), jnp.exp(lax.complex(e, e[::-1])).real)


FUNCTIONS = {
    "determinant of orbitals": lambda x: jnp.linalg.slogdet(orbitals(x))[1],
    "columns": lambda x: jnp.linalg.slogdet(orbitals(x).T)[1] ** 2,
    "two determinants": lambda x: together(jnp.linalg.slogdet(jnp.stack([orbitals(x), orbitals(x)[::-1] ** 3]))[1]),
    "block of repeated points": block_of_repeated_points,
    "rows of all points": lambda x: jnp.linalg.slogdet(orbitals(x) * distances(x).sum(1)[:, None])[1],
    "distances": lambda x: together(jnp.exp(-distances(x)), distances(x)[jnp.triu_indices(8, 1)]),
    "gathers": lambda x: together(points(x)[PLACES[0]] * points(x)[PLACES[1]], features(x)[1] * features(x)[2]),
    "scatters": lambda x: together(scattered(x)),
    "moved entries": moved,
    "along axes": along_axes,
    "products": products,
    "first layers": first_layers,
    "choices": choices,
    "unknown places": unknown_places,
    "control flow": control_flow,
    "rules": rules,
    "curves": curves,
    "complex numbers": complex_numbers,
    "linear algebra": lambda x: together(jnp.linalg.solve(distances(x) + 8 * jnp.eye(8), features(x))),
    "linear": lambda x: (MATRIX @ x, x.reshape(4, 6) @ MATRIX[:6]),
}


def traced(hessian):
    """By NumPy. Not forward over forward: under jit XLA has it wrong for `distances` in float32 on a CPU."""
    return jax.tree.map(lambda h: jnp.asarray(np.trace(h, axis1=-2, axis2=-1)), hessian)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_is_the_trace_of_the_hessian(name):
    f, laplacian = FUNCTIONS[name], jacobian.laplacian(FUNCTIONS[name])
    got = jax.jit(lambda x: (laplacian.value_jacobian_and_laplacian(x), laplacian(x)))(X)
    value, jac, hessian = jax.jit(lambda x: (f(x), jax.jacfwd(f)(x), jax.hessian(f)(x)))(X)
    close(got, ((value, jac, traced(hessian)), traced(hessian)))


def test_under_vmap_and_grad():
    f = lambda x: jnp.linalg.slogdet(orbitals(x))[1] + jnp.exp(-distances(x)).sum()
    many, laplacian = jnp.stack([X, X / 2]), jacobian.laplacian(f)
    hessians = jax.jit(jax.vmap(jax.hessian(f)))(many)
    close(jax.jit(jax.vmap(laplacian))(many), traced(hessians))
    third = jax.jacfwd(jax.hessian(f))(X)
    close(jax.jit(jax.grad(laplacian))(X), jnp.asarray(np.trace(third)))


def test_rows_of_zeros_are_left_out():
    """Orbitals have three rows of derivatives, one for each coordinate of their point, and not 24."""
    text = str(jax.make_jaxpr(jacobian.laplacian(FUNCTIONS["determinant of orbitals"]))(X))
    assert "f32[3,8,8]" in text
    assert not any(f"f32[{rows},8,{columns}]" in text for rows in (12, 24) for columns in (5, 8))


def test_the_first_layer_needs_no_product():
    """The derivative of a product with a matrix along each input is a row of the matrix."""
    text = str(jax.make_jaxpr(jacobian.laplacian(lambda x: jnp.tanh(x @ MATRIX).sum() ** 2))(X))
    assert text.count("f32[24,24] = dot_general") == 0
