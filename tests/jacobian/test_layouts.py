"""Layouts of Jacobians: rows for outputs here and in JAX, rows for inputs in the lectures' [∂a/∂b]."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxdl import jacobian

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "jacobian_layouts.md"
B = jnp.array([2.0, 5.0, 7.0])
NUMERATOR = [[5, 2, 0], [0, 1, 3]]  # ∂aᵢ/∂bⱼ


def f(b):
    return jnp.array([b[0] * b[1], b[1] + 3 * b[2]])


@pytest.mark.parametrize(
    "method", [jax.jacrev, jax.jacfwd, jacobian.best, jacobian.reverse, jacobian.forward, jacobian.eliminate]
)
def test_a_row_for_each_output(method):
    assert method(f)(B).tolist() == NUMERATOR


def test_the_page_has_the_denominator_layout():
    """Back-propagation is a product from the left with [∂a/∂b] = Jᵀ, whose rows are inputs."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = {}
    exec(compile(code, PAGE.name, "exec"), names)
    assert names["J"].tolist() == NUMERATOR
    assert names["denominator"].tolist() == [[5, 0], [2, 1], [0, 3]]
    assert names["of_a"].tolist() == [26, 10]
    assert names["of_b"].tolist() == [130, 62, 30]
    assert names["of_b"].tolist() == jax.grad(lambda b: names["ell"](f(b)))(B).tolist()
    assert names["of_b"].tolist() == jax.vjp(f, B)[1](names["of_a"])[0].tolist()


def test_matrices_have_the_axes_of_the_output_first():
    x = jnp.ones((2, 3))
    found = jacobian.reverse(lambda x: x @ jnp.ones((3, 4)))(x)
    assert found.shape == (2, 4, 2, 3)
    assert jnp.transpose(found, (2, 3, 0, 1)).shape == (2, 3, 2, 4)
