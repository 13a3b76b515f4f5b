"""Diagonals and blocks of Gauss-Newton matrices, the neural tangent kernel, volumes and dimensions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxdl import jacobian
from tests.draws import draw

P = {"w": draw(80, 3, 2), "b": draw(81, 2)}
INPUTS, MORE = draw(82, 4, 3), draw(83, 6, 3)


def model(p, x):
    """Of one example or a batch."""
    h = jnp.tanh(x @ p["w"] + jnp.broadcast_to(p["b"], (*x.shape[:-1], 2)))
    return {"h": h, "norm": (h * h).sum(-1)}


def loss(y):
    return jnp.sum(y["h"] ** 4) + jnp.sum(y["norm"] * y["h"][..., 0])


flat, unravel = ravel_pytree(P)


def matrices(x, of=loss):
    """J and H."""
    y, unravel_y = ravel_pytree(model(P, x))
    j = jax.jacrev(lambda p: ravel_pytree(model(unravel(p), x))[0])(flat)
    return j, jnp.eye(y.size) if of is None else jax.hessian(lambda y: of(unravel_y(y)))(y)


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("of", [None, loss], ids=["no loss", "loss"])
@pytest.mark.parametrize("x", [INPUTS, INPUTS[0]], ids=["by columns", "by rows"])
def test_gauss_newton_matrices(of, x):
    j, h = matrices(x, of)
    exact = j.T @ h @ j
    for chunk in (32, 2):
        got = jax.jit(jacobian.gauss_newton_diagonal(model, of, chunk=chunk))(P, x)
        assert jax.tree.structure(got) == jax.tree.structure(P)
        close(ravel_pytree(got)[0], jnp.diag(exact))
    blocks = jacobian.gauss_newton_blocks(model, of)(P, x)
    assert blocks["w"].shape == (3, 2, 3, 2)
    close(blocks["b"], exact[:2, :2])
    close(blocks["w"].reshape(6, 6), exact[2:, 2:])


def test_of_one_argument_and_under_transformations():
    f = lambda x, p: model(p, x)
    j, _ = matrices(INPUTS, None)
    close(jacobian.gauss_newton_blocks(f, argnums=1)(INPUTS, P)["b"], (j.T @ j)[:2, :2])
    each = jax.vmap(jacobian.gauss_newton_diagonal(model), (None, 0))(P, INPUTS)
    close(each["b"].sum(0), jnp.diag(j.T @ j)[:2])
    total = lambda b: jacobian.gauss_newton_diagonal(model)(P | {"b": b}, INPUTS)["b"].sum()
    of_bias = lambda b: jax.jacrev(lambda b: ravel_pytree(model(P | {"b": b}, INPUTS))[0])(b)
    close(jax.grad(total)(P["b"]), jax.grad(lambda b: jnp.sum(of_bias(b) ** 2))(P["b"]))


@pytest.mark.parametrize("chunk", [None, 3])
def test_neural_tangent_kernels(chunk):
    kernel = jacobian.neural_tangent_kernel(model, chunk=chunk)
    row = lambda x: matrices(x, None)[0]
    exact = jnp.einsum("iap,jbp->ijab", jax.vmap(row)(INPUTS), jax.vmap(row)(MORE))
    close(jax.jit(kernel)(P, INPUTS, MORE), exact)
    own = kernel(P, INPUTS)
    close(own, own.transpose(1, 0, 3, 2))
    close(own, kernel(P, INPUTS, INPUTS))


def test_bad_input():
    with pytest.raises(ValueError, match="positive integer, got 0"):
        jacobian.neural_tangent_kernel(model, chunk=0)
    with pytest.raises(ValueError, match="gauss_newton_diagonal needs a function with a scalar output"):
        jacobian.gauss_newton_diagonal(model, lambda y: y["h"])(P, INPUTS)
    with pytest.raises(TypeError, match=r"gauss_newton_blocks: .* must be floating-point, got int32"):
        jacobian.gauss_newton_blocks(jnp.sin)(jnp.arange(3))
    with pytest.raises(TypeError, match=r"neural_tangent_kernel: .* must be floating-point, got int32"):
        jacobian.neural_tangent_kernel(lambda n, x: n * x)(jnp.int32(1), jnp.ones(3))


@pytest.mark.parametrize("shape", [(2, 5), (5, 2), (3, 3), (1, 4), (4, 1)], ids=str)
def test_volumes(shape):
    """½ log det JᵀJ, JJᵀ or log |det J|, and its gradient."""
    w = draw(84, *shape)
    f = lambda x: jnp.tanh(w @ x)
    x = draw(85, shape[1])
    singular = lambda x: jnp.log(jnp.linalg.svd(jax.jacrev(f)(x), compute_uv=False)).sum()
    close(jacobian.logdet(f)(x), singular(x))
    close(jax.jit(jax.grad(jacobian.logdet(f)))(x), jax.grad(singular)(x))
    close(jax.vmap(jacobian.logdet(f))(jnp.stack([x, 2 * x])), jnp.stack([singular(x), singular(2 * x)]))


def test_dimensions():
    scales = jnp.array([3.0, 3.0, 1e-3, 0.0])
    found = jacobian.spectrum(lambda x: scales * x)(jnp.ones(4))
    close(found.participation_ratio, 2.0)
    assert int(found.local_dimension()) == 2
    assert int(found.local_dimension(0.4)) == 1
    assert int(found.local_dimension(1.0)) <= 4
    many = jax.vmap(jacobian.spectrum(lambda x: x * x))(jnp.array([[1.0, 1.0], [1.0, 0.0]]))
    close(many.participation_ratio, jnp.array([2.0, 1.0]))
    assert many.local_dimension().tolist() == [2, 1]
    with pytest.raises(ValueError, match="part must be above 0"):
        found.local_dimension(2.0)
