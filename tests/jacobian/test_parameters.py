"""Every parameter of a primitive is read, or the equation is left to JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxdl import jacobian
from tests.draws import draw

X = draw(70, 12)
KERNEL = draw(71, 4, 1, 2)
METHODS = {
    "sparse": jacobian.sparse,
    "cut": jacobian.cut,
    "eliminate": lambda f: jacobian.eliminate(f, seconds=0.1),
    "structured": lambda f: lambda x: jacobian.structured(f)(x).dense(),
}


def grouped(x):
    """As in the derivative of a grouped convolution: batch groups and a reshape that permutes."""
    f = lambda k: lax.conv_general_dilated(
        X.reshape(1, 4, 3), k, (1,), "VALID", feature_group_count=4, dimension_numbers=("NCH", "OIH", "NCH")
    )
    return jax.vjp(f, KERNEL)[1](x[:8].reshape(1, 4, 2))[0].ravel()


FUNCTIONS = {
    "ravel by columns": lambda x: jnp.sin(x).reshape(3, 4).ravel(order="F"),
    "reshape by columns": lambda x: jnp.sin(x).reshape((2, 3, 2), order="F").sum(0).ravel(),
    "reshape by columns under vmap": lambda x: jax.vmap(lambda y: y.reshape(3, 2).ravel(order="F"))(
        x.reshape(2, 6)
    ).ravel(),
    "lax.reshape": lambda x: lax.reshape(jnp.sin(x).reshape(2, 2, 3), (6, 2), (2, 0, 1)).ravel(),
    "a known mask by columns": lambda x: x * jnp.asarray(np.eye(3, 4)).ravel(order="F").astype(x.dtype),
    "the derivative of prod": lambda x: jax.grad(lambda y: jnp.prod(y.reshape(3, 4), axis=0).sum())(x),
    "a grouped convolution": grouped,
    "cumsum from the end": lambda x: lax.cumsum(jnp.sin(x), reverse=True),
    "pad by less than nothing": lambda x: lax.pad(jnp.sin(x), jnp.float32(2), [(-2, 3, 1)]),
    "slice with strides": lambda x: jnp.sin(x)[10:1:-3],
    "sort by two keys": lambda x: lax.sort([jnp.round(x), x], num_keys=2)[1],
    "top_k": lambda x: lax.top_k(jnp.sin(x).reshape(3, 4), 2)[0].ravel(),
    "gather that fills": lambda x: jnp.take(jnp.sin(x), jnp.array([3, 40, -1]), mode="fill", fill_value=5.0),
    "gather that clips": lambda x: jnp.take(jnp.sin(x), jnp.array([3, 40, 1]), mode="clip"),
    "scatter out of bounds": lambda x: x.at[jnp.array([1, 50])].set(jnp.sin(x[:2]), mode="drop"),
    "windows with dilation": lambda x: lax.reduce_window(
        jnp.sin(x), 0.0, lax.add, (2,), (3,), ((1, 2),), base_dilation=(2,), window_dilation=(3,)
    ),
    "the derivative of pooling": lambda x: jax.grad(
        lambda y: (lax.reduce_window(y, -jnp.inf, lax.max, (3,), (2,), "VALID") ** 2).sum()
    )(x),
    "a mask from rounded numbers": lambda x: jnp.take(
        x, jnp.array([1e10, 2.0]).astype(jnp.int32), mode="fill", fill_value=0.0
    ),
    "a wider product": lambda x: lax.mul(x.astype(jnp.bfloat16), x.astype(jnp.bfloat16), out_dtype=jnp.float32),
    "a dot of batches": lambda x: jnp.einsum("bij,bkj->bki", x.reshape(2, 2, 3), x.reshape(2, 2, 3)).ravel(),
    "select among three": lambda x: lax.select_n(jnp.arange(12) % 3, x, jnp.sin(x), 2 * x),
    "split and stack": lambda x: jnp.stack(jnp.split(jnp.sin(x), [2, 7, 8])[1:2] * 2, axis=1).ravel(),
    "reduce_precision": lambda x: lax.reduce_precision(jnp.sin(x), 8, 23),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parameters_are_read(name):
    f = FUNCTIONS[name]
    run = jax.jit(lambda x: (jax.jacrev(f)(x), {method: of(f)(x) for method, of in METHODS.items()}))
    right, found = run(X)
    for method, matrix in found.items():
        atol = 0.05 if name == "a wider product" else 1e-5
        np.testing.assert_allclose(matrix, right, atol=atol, err_msg=method)


@pytest.mark.parametrize("primitive", ["rev", "mul", "reduce_sum", "floor"])
def test_an_unknown_parameter_is_left_to_jax(monkeypatch, primitive):
    """As if a later version of JAX gave a primitive a new parameter."""
    f = lambda x: jnp.flip(jnp.floor(x) + x * x * x[::-1].reshape(3, 4).sum(0).sum())
    unknown = lambda eqn: ("new", 1) if eqn.primitive.name == primitive else None
    monkeypatch.setattr("jaxdl.jaxpr.unknown_parameter", unknown)
    right, found = jax.jit(lambda x: (jax.jacrev(f)(x), {method: of(f)(x) for method, of in METHODS.items()}))(X)
    for method, matrix in found.items():
        np.testing.assert_allclose(matrix, right, atol=1e-5, err_msg=method)
    is_dense = any(name == f"{primitive} (new=1)" for name, _ in jacobian.sparse(f).plan(X).dense)
    assert is_dense == (primitive != "floor")  # by JAX's derivative, which has no floor and is 0
