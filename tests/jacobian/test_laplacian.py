"""The Laplacian is the trace of the Hessian of each output, for every kind of equation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.ode import odeint
from jax.flatten_util import ravel_pytree

from jaxdl import jacobian, ops
from tests.draws import draw

X = draw(70, 5)
A = draw(71, 5, 5) + 4 * jnp.eye(5)
IMAGE = draw(72, 3, 3)


def outer(x):
    """(5, 5), far from singular."""
    return A + jnp.sin(jnp.outer(x, x))


def scanned(x):
    return jax.lax.scan(lambda h, w: (jnp.tanh(h * w + x), h @ h), x, A)


def two_carries(x):
    """One carry moves from the second step on only, one never; scanned backwards, over what moves."""
    step = lambda c, w: ((c[1] * w, c[1] + w.sum() * c[2], c[2] + 1), c[0] * w)
    start = jnp.ones(5), jnp.ones(5), jnp.float32(1)
    return jax.lax.scan(step, start, jnp.outer(x, x), reverse=True)


def attention(x):
    q, k, v = (jnp.outer(x, w) for w in A[:3])
    return jax.nn.softmax(q @ k.T / 3) @ v


FUNCTIONS = {
    "elementwise": lambda x: jnp.sin(x) * jnp.exp(x) / (1 + x**2) - jnp.sqrt(1 + x**4) ** 1.3 + jnp.arctan2(x, 2 + x),
    "powers": lambda x: (1.5 + x**2) ** jnp.cos(x),
    "linear": lambda x: jnp.concatenate([x[::-1].cumsum(), jnp.sort(A @ x), x.reshape(5, 1).T[0, 1:3]]),
    "steps": lambda x: jnp.floor(x) * x**2 + jnp.sign(x) * jax.lax.stop_gradient(x) * x,
    "pieces": lambda x: jnp.where(x > 0, x**3, abs(x)) + jnp.maximum(x, 0.1) * jnp.clip(x, -0.3, 0.3) + x.max() ** 2,
    "products": lambda x: (x @ A @ x, jnp.outer(x, x) @ A @ jnp.outer(x, x), jnp.prod(x)),
    "activations": lambda x: [g(x) for g in (jax.nn.relu, jax.nn.silu, jax.nn.gelu, jax.nn.softplus, jax.nn.elu)],
    "normalised": lambda x: jax.nn.log_softmax(A @ x) + jax.nn.logsumexp(x) * jax.nn.standardize(x),
    "attention": attention,
    "indexing": lambda x: x[jnp.array([0, 3, 3])].at[1].mul(x[2]) * jax.lax.dynamic_slice(x**2, (1,), (3,)),
    "convolution": lambda x: jnp.convolve(jnp.sin(x), jnp.cos(x[:3])),
    "complex numbers": lambda x: jnp.abs(jnp.fft.fft(x)) * jnp.exp(jax.lax.complex(x, A @ x)).imag,
    "reduction": lambda x: jax.lax.reduce(x**2, jnp.float32(0), jax.lax.add, (0,)) ** 2,
    "slogdet": lambda x: jnp.linalg.slogdet(outer(x)),
    "slogdets": lambda x: jnp.linalg.slogdet(jnp.stack([outer(x), 2 * outer(x) @ outer(x)]))[1],
    "linear algebra": lambda x: (jnp.linalg.det(outer(x)), jnp.linalg.solve(outer(x), x), jnp.linalg.inv(outer(x))[0]),
    "cholesky": lambda x: jnp.linalg.cholesky(outer(x) @ outer(x).T)[-1],
    "scan": scanned,
    "scan of several": two_carries,
    "loop": lambda x: jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.sin(c[1]) * x), (0, x))[1],
    "branches": lambda x: jax.lax.cond(x[0] > 0, jnp.sin, lambda x: x**3, x) * jax.lax.switch(1, [jnp.cos, jnp.exp], x),
    "inner calls": jax.checkpoint(lambda x: jax.jit(lambda x: jnp.tanh(A @ x))(x) * x),
    "rules of ops": lambda x: ops.softmax(ops.matmul(ops.gelu(x), A)) * ops.silu(x),
    "constant": lambda x: jnp.ones(3),
}


def traces(f):
    return lambda *args: jax.tree.map(lambda h: jnp.trace(h, axis1=-2, axis2=-1), jax.jacfwd(jax.jacfwd(f))(*args))


def close(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4 * max(1.0, float(jnp.abs(b).max())))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_is_the_trace_of_the_hessian(name):
    close(jax.jit(jacobian.laplacian(FUNCTIONS[name]))(X), jax.jit(traces(FUNCTIONS[name]))(X))


def network(x):
    return jnp.linalg.slogdet(outer(jnp.tanh(A @ x)))[1] + jnp.sum(jnp.sin(x) ** 3)


def test_value_and_jacobian_with_it():
    f = lambda d, s: {"net": network(d["a"]) * s, "b": d["b"] ** 3 * d["a"][:2]}
    d = {"a": X, "b": X[:2]}
    flat, unravel = ravel_pytree(d)
    for chunk in (None, 3):
        value, jac, lap = jacobian.laplacian(f, chunk=chunk).value_jacobian_and_laplacian(d, 2.0)
        close((value, jac), (f(d, 2.0), jax.jacfwd(f)(d, 2.0)))
        close(lap, traces(lambda x: f(unravel(x), 2.0))(flat))
        close(jacobian.laplacian(f, chunk=chunk)(d, 2.0), lap)


def test_argnums_and_keywords():
    f = lambda x, y, *, scale: scale * jnp.sum(x**2 * y**3)
    close(jacobian.laplacian(f, (0, 1))(X, X, scale=2.0), 2 * jnp.sum(2 * X**3 + 6 * X**3))
    close(jacobian.laplacian(f, 1)(X, X, scale=2.0), 12 * jnp.sum(X**3))


def test_under_vmap_and_grad():
    many, lap = jnp.stack([X, -X, 2 * X]), jacobian.laplacian(network)
    close(jax.jit(jax.vmap(lap))(many), jnp.stack([traces(network)(x) for x in many]))
    close(jax.jit(jax.grad(lap))(X), jax.jit(jax.grad(traces(network)))(X))
    close(jax.grad(jacobian.laplacian(network, chunk=2))(X), jax.grad(lap)(X))
    weights = lambda w: jacobian.laplacian(lambda x: jnp.sum(jnp.tanh(w @ x)))(X)  # closes over a traced value
    close(jax.grad(weights)(A), jax.grad(lambda w: traces(lambda x: jnp.sum(jnp.tanh(w @ x)))(X))(A))
    close(jacobian.laplacian(jacobian.laplacian(lambda x: (x @ x) ** 3))(X), bilaplacian(X))


def bilaplacian(x):
    """Δ Δ |x|⁶ in d dimensions: Δ|x|ᵖ = p (p + d − 2) |x|ᵖ⁻²."""
    d = x.size
    return jnp.float32(6 * (6 + d - 2) * 4 * (4 + d - 2)) * (x @ x)


def test_a_rule_without_forward_mode():
    cube = jax.custom_vjp(lambda x: x**3)
    cube.defvjp(lambda x: (x**3, x), lambda x, dy: (3 * x**2 * dy,))
    f = lambda x: (jnp.sum(cube(x) * x[0]), cube(A @ x))
    plain = lambda x: (jnp.sum(x**3 * x[0]), (A @ x) ** 3)
    close(jacobian.laplacian(f)(X), traces(plain)(X))
    close(jacobian.laplacian(f).value_jacobian_and_laplacian(X)[:2], (plain(X), jax.jacfwd(plain)(X)))


@pytest.mark.parametrize(
    ("f", "count"),
    [
        (lambda x: jnp.sum(jnp.sin(x)), 1),
        (lambda x: jnp.sum(x[1:] * x[:-1] ** 2), 2),
        (lambda x: jnp.sin(x) * x[0], 2),
        (lambda x: jnp.sum(x) ** 2, 5),
        (lambda x: 2 * x, 1),
    ],
    ids=["separate", "chain", "star", "dense", "linear"],
)
def test_axes_share_directions(f, count):
    laplacian = jacobian.laplacian(f)
    close(laplacian(X), traces(f)(X))
    assert int(laplacian.bound.bind((X,), {}).prepared.colours.max()) + 1 == count


def test_slogdet_is_known_by_its_program():
    """A function of the user with that name has its own rule."""

    @jax.jit
    def slogdet(a):
        return jnp.sign(a[0, 0]), jnp.sum(a**3)

    close(jacobian.laplacian(lambda x: slogdet(outer(x)))(X), traces(lambda x: slogdet(outer(x)))(X))
    text = str(jax.make_jaxpr(jacobian.laplacian(FUNCTIONS["slogdet"]))(X))
    assert text.count("= lu[") <= 2  # that of slogdet and that of the inverse


def test_a_rule_that_mixes_entries():
    """The function is elementwise, its rule is not: the Laplacian is the rule's."""
    scaled = jax.custom_jvp(lambda x: x)
    scaled.defjvp(lambda x, t: (scaled(*x), t[0] * (x[0] @ x[0])))
    close(jacobian.laplacian(lambda x: scaled(jnp.sin(x)))(X), traces(lambda x: scaled(jnp.sin(x)))(X))


def test_directions_in_several_passes():
    """Where all of them would not stay in the cache."""
    f = lambda x: jnp.sum(jnp.sin(jnp.outer(x, jnp.arange(50_000.0))).mean(1) ** 2 * x.sum())
    x = jnp.linspace(0.0, 1.0, 12)
    text = str(jax.make_jaxpr(jacobian.laplacian(f))(x))
    assert "f32[6,12,50000]" in text
    assert "f32[12,12,50000]" not in text
    close(jacobian.laplacian(f)(x), jacobian.laplacian(f, chunk=12)(x))


def test_bad_input():
    with pytest.raises(TypeError, match="must be floating-point, got int32"):
        jacobian.laplacian(jnp.sin)(jnp.arange(3))
    with pytest.raises(TypeError, match="complex"):
        jacobian.laplacian(jnp.sin)(1j)
    with pytest.raises(TypeError, match="expected a function"):
        jacobian.laplacian(X)
    with pytest.raises(ValueError, match="positive integer, got 0"):
        jacobian.laplacian(jnp.sin, chunk=0)
    assert jacobian.laplacian(lambda x: x[:0])(X).shape == (0,)
    assert jacobian.laplacian(lambda x: jnp.ones(2))(X[:0]).tolist() == [0, 0]


def test_half_precision_is_kept():
    x = X.astype(jnp.bfloat16)
    got = jacobian.laplacian(lambda x: jnp.sum(jnp.sin(x)))(x)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(float(got), -float(jnp.sum(jnp.sin(X))), atol=0.05)


def test_of_a_solution_that_jax_differentiates_only_in_reverse():
    """odeint: its pullback is an odeint, so the second derivatives are reverse over reverse."""
    solved = lambda x: odeint(lambda y, t: -y * x[0], x, jnp.array([0.0, 0.5]), rtol=1e-6)[1]
    exact = lambda x: x * jnp.exp(-x[0] / 2)
    close(jacobian.laplacian(solved)(X[:2]), traces(exact)(X[:2]))
