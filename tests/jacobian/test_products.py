"""Products without the matrix, compared with the matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxdl import jacobian
from jaxdl import jaxpr as jx
from tests.draws import draw
from tests.tolerance import assert_close

A = draw(0, 6, 6) + 3 * jnp.eye(6)
P = {"a": draw(1, 3), "b": draw(2, 3)}
V = {"a": draw(3, 3), "b": draw(4, 3)}


def f(p):
    x = ravel_pytree(p)[0]
    return {"first": jnp.tanh(A[:3] @ x), "last": A[3:] @ x}


def scalar(p):
    return sum((y**3).sum() for y in jax.tree.leaves(f(p)))


flat, unravel = ravel_pytree(P)
of_vectors = lambda g: lambda x: ravel_pytree(g(unravel(x)))[0]
J = jax.jacrev(of_vectors(f))(flat)
H = jax.hessian(lambda x: scalar(unravel(x)))(flat)
v = ravel_pytree(V)[0]


def close(tree, vector):
    assert_close(ravel_pytree(tree)[0], jnp.ravel(vector), "float32", "product")


def test_products_are_those_of_the_matrix():
    close(jacobian.pushforward(f)(P)(V), J @ v)
    u = dict(zip(("first", "last"), V.values(), strict=True))
    close(jacobian.pullback(f)(P)(u), v @ J)
    close(jacobian.hvp(scalar)(P)(V), H @ v)
    square = lambda y: sum((leaf**2).sum() for leaf in jax.tree.leaves(y))
    close(jacobian.gauss_newton(f, square)(P)(V), 2 * J.T @ (J @ v))


def test_products_of_one_argument_among_several():
    g = lambda x, p, *, scale: scale * x.sum() * f(p)["last"]
    close(jacobian.pushforward(g, 1)(jnp.ones(2), P, scale=3.0)(V), 6 * J[3:] @ v)


def test_diagonal_trace_and_determinant():
    close(jacobian.diagonal(f)(P), jnp.diag(J))
    close(jacobian.diagonal(f, chunk=4)(P), jnp.diag(J))
    close(jacobian.hessian_diagonal(scalar)(P), jnp.diag(H))
    close(jacobian.matrix_trace(f)(P), jnp.trace(J))
    close(jacobian.logdet(f)(P), jnp.linalg.slogdet(J)[1])


@pytest.mark.parametrize(
    ("estimated", "exact"),
    [
        (jacobian.estimated_diagonal, jnp.diag(J)),
        (jacobian.estimated_matrix_trace, jnp.trace(J)),
        (jacobian.estimated_logdet, jnp.linalg.slogdet(J)[1]),
    ],
)
def test_estimates_lie_within_their_errors(estimated, exact, key):
    estimate = estimated(f, key, probes=1000)(P)
    error = ravel_pytree(estimate.error)[0]
    assert np.all(np.abs(ravel_pytree(estimate.value)[0] - exact) < 4 * error + 1e-4)
    assert np.all(error < 0.2)
    fewer = estimated(f, key, probes=100)(P)
    assert ravel_pytree(fewer.error)[0].sum() > 2 * error.sum()


def test_the_log_determinant_after_one_lanczos_step(key):
    """JᵀJ is 4 I, so that Lanczos ends after one step."""
    assert_close(jacobian.estimated_logdet(lambda x: 2 * x, key, probes=2)(v[:4]).value, 4 * jnp.log(2.0), "float32")


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="diagonal needs a square Jacobian: f takes 6 numbers and gives 3"):
        jacobian.diagonal(lambda p: f(p)["last"])(P)
    with pytest.raises(ValueError, match="hvp needs a function with a scalar output"):
        jacobian.hvp(lambda p: f(p)["last"])(P)
    with pytest.raises(TypeError, match=r"jacobian\.pushforward: .* must be floating-point, got int32"):
        jacobian.pushforward(f)({"a": jnp.arange(3), "b": P["b"]})


def test_spectrum_counts_the_directions_of_a_code():
    w = draw(5, 8, 2)
    found = jacobian.spectrum(lambda x: jnp.tanh(x @ w) @ w.T)(draw(6, 8))
    exact = jnp.linalg.svd(jax.jacrev(lambda x: jnp.tanh(x @ w) @ w.T)(draw(6, 8)), compute_uv=False)
    assert_close(found.singular_values, exact, "float32", "singular values")
    assert found.rank == 2
    assert found.condition == jnp.inf
    full = jacobian.spectrum(f)(P)
    assert full.rank == 6
    assert np.isclose(full.condition, jnp.linalg.cond(J), rtol=1e-4)  # the error grows with the condition number
    small = lambda x: 1e-9 * jnp.array([1, 0.1, 1e-3]) * x
    assert jacobian.spectrum(small, tolerance=0.01)(jnp.ones(3)).rank == 2


def test_rules_with_jvp_that_jax_cannot_linearize():
    rebuilt = jax.custom_vjp(lambda x: jnp.exp(jnp.sin(x)))
    forward, backward = lambda x: (jnp.exp(jnp.sin(x)), x), lambda x, dy: (dy * jnp.exp(jnp.sin(x)) * jnp.cos(x),)
    rebuilt.defvjp(forward, backward, optimize_remat=True)
    f = lambda x: (rebuilt(x) * x).sum()
    x, v = jnp.array([0.3, -0.7]), jnp.array([1.0, 0.5])
    np.testing.assert_allclose(jacobian.hvp(f)(x)(v), jax.jvp(jax.grad(f), (x,), (v,))[1], rtol=1e-6)


def test_fewer_sweeps_at_a_time_under_vmap():
    """As many as are 32 points in all: more would not fit in a CPU's cache."""
    largest = lambda g, *args: max(
        (v.aval.size for eqn in jx.equations(jax.make_jaxpr(g)(*args)) for v in eqn.outvars), default=0
    )
    trace, x = jacobian.matrix_trace(lambda x: jnp.sin(x) * x.sum()), jnp.ones(32)
    alone = largest(trace, x)
    assert alone == 32 * 32
    assert largest(jax.vmap(trace), jnp.ones((64, 32))) == 64 * 32
    close(jax.vmap(trace)(jnp.stack([x, 2 * x])), jnp.stack([trace(x), trace(2 * x)]))
