"""Equations of operations with several outputs, of complex numbers, conversions and permutations."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from jaxdl import trace
from jaxdl.graph.derivation.equations import equations_of
from jaxdl.graph.derivation.symbols import number

f32 = jnp.float32
V, M = jnp.array([3.0, 1.0, 2.0]), jnp.ones((2, 3))


def ends(f, *args):
    """The last equation of the forward pass without what follows a sum, and of the backward pass; no = in front."""
    forward, backward = equations_of(trace(f, *args))
    return forward[-1].split(" = ", 1)[1], backward[-1].split(" = ", 1)[1]


def test_each_output_of_an_operation_contributes():
    def f(x, y):
        smaller, along = lax.sort((x, y))
        return jnp.sum(smaller * along)

    _, of_x = ends(f, V, V)
    u = [rf"\nabla_{{u^{{(1)}}_{{{k}}}}} u^{{(3)}}\, \frac{{\partial u^{{(1)}}_{{{k}}}}}{{\partial x}}" for k in (0, 1)]
    assert of_x == " + ".join(u)


def test_only_outputs_that_are_used_contribute():
    _, of_x = ends(lambda x: lax.scan(lambda c, a: (c * a, c + a), 1.0, x)[1].sum(), V)
    product = r"\, \frac{\partial u^{(1)}_{1}}{\partial x}"
    assert of_x == rf"\nabla_{{u^{{(1)}}_{{1}}}} u^{{(2)}}{product} = \mathbf{{1}}{product}"


def test_an_input_in_two_places_has_two_partial_derivatives():
    _, of_x = ends(lambda x: jax.scipy.special.betainc(x, x, 0.5), f32(2))
    assert of_x.startswith(r"\partial_{1} u^{(1)} + \partial_{2} u^{(1)}")


def test_complex_numbers():
    forward, of_x = ends(lambda x: jnp.real(jnp.exp(jnp.complex64(1 - 2j) * x.astype(jnp.complex64))), f32(2))
    assert forward == r"\mathrm{real}(u^{(3)})"
    assert r"(1 - 2 i)" in of_x


@pytest.mark.parametrize(
    ("f", "value"),
    [
        (lambda x: x * x.astype(jnp.int32), r"x \, \mathrm{trunc}(x)"),
        (lambda x: x * x.astype(bool), r"x \, [x \neq 0]"),
        (lambda x: 2 * x.astype(jnp.float16), r"2 \, x"),
    ],
)
def test_conversions_that_change_values(f, value):
    with jax.numpy_dtype_promotion("standard"):
        assert ends(f, f32(2.5))[0] == value


def test_a_permutation_is_no_transpose_of_matrices():
    """Twice i → i + 1 of three dimensions is not the identity."""
    turned = lambda x: jnp.transpose(x, (1, 2, 0))
    assert (
        ends(lambda x: jnp.sum(turned(turned(x)) * 3), M[None])[0]
        == r"\sum 3 \, \mathrm{transpose}(\mathrm{transpose}(x))"
    )
    assert ends(lambda x: jnp.sum(jnp.swapaxes(x, 1, 2) * 3), M[None])[0] == r"\sum 3 \, x^T"


def test_operations_without_outputs_have_no_equation():
    def f(x):
        jax.debug.print("{}", x)
        return x * 2

    assert ends(f, f32(2)) == (r"2 \, x", "2")


def test_numbers():
    assert [number(x) for x in (0.5, 1e-5, -3e8, 2, True)] == ["0.5", "10^{-5}", r"-3 \cdot 10^{8}", "2", "1"]
    assert number(1.1e10) == r"1.1 \cdot 10^{10}"
    assert [number(float(x)) for x in ("inf", "-inf", "nan")] == [r"\infty", r"-\infty", r"\mathrm{NaN}"]
    assert [number(x) for x in (1 - 2j, 0.5j)] == ["1 - 2 i", "0.5 i"]
