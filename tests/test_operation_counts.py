"""Operations are counted as a program performs them."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from jaxdl import jaxpr as jx

X, A = jnp.ones(100), jnp.ones((4, 4))
ROWS = jnp.arange(30)

COUNTED = {
    "elementwise": (lambda x: jnp.sin(x) * x, 200),
    "a reduction": (lambda x: x.sum(), 100),
    "a reduction by any function": (lambda x: lax.reduce(x, 0.0, lambda a, b: a + b, (0,)), 100),
    "updates that are added": (lambda x: lax.scatter_add(x, ROWS[:, None], x[:30], NUMBERS), 30),
    "updates that replace": (lambda x: lax.scatter(x, ROWS[:, None], x[:30], NUMBERS), 0),
    "a loop": (lambda x: lax.fori_loop(0, 7, lambda i, x: x * x, x), 7 * 100),
    "the largest branch": (lambda x: lax.cond(x[0] > 0, lambda x: x * x * x, lambda x: -x, x), 201),
    "what nobody needs": (lambda x: (jnp.exp(x), x * x)[1], 100),
    "a linear system, by its solver": (
        lambda x: lax.custom_linear_solve(lambda v: A @ v, x[:4], lambda _, b: b * 2, symmetric=True),
        4,
    ),
    "a product": (lambda x: x.reshape(10, 10) @ x.reshape(10, 10), 2000),
}
NUMBERS = lax.ScatterDimensionNumbers((), (0,), (0,))


@pytest.mark.parametrize("name", COUNTED)
def test_flops(name):
    f, expected = COUNTED[name]
    counted = jx.flops(jax.make_jaxpr(f)(X))
    index_arithmetic = 40 if name == "a loop" else 0  # the loop's counter
    assert expected <= counted <= expected + index_arithmetic
