"""The equations of the lectures' systems, line by line as in the lectures."""

import jax
import jax.numpy as jnp

from jaxdl import trace
from jaxdl.graph import examples
from jaxdl.graph.derivation.equations import equations_of
from tests.draws import draw

f32 = jnp.float32
V = draw(1, 5)


def test_the_equations_of_the_lectures_example():
    forward, backward = equations_of(trace(examples.product_and_sum)(f32(-2), f32(5), f32(-4)))
    assert forward == [r"g = x \, y", "f = g + z"]
    of = lambda x: rf"\frac{{\partial f}}{{\partial {x}}}"
    assert backward == [
        f"{of('f')} = 1",
        f"{of('g')} = 1",
        f"{of('z')} = 1",
        rf"{of('y')} = {of('g')} \, x = x",
        rf"{of('x')} = {of('g')} \, y = y",
    ]


def test_the_equations_of_the_lectures_network():
    """Forward and backward as in lecture 001, in which the label is given: ∂L/∂y and ∇_x L are not in it."""
    args = (*examples.XOR.values(), examples.XOR_INPUTS[1], examples.XOR_LABELS[1])
    forward, backward = equations_of(trace(examples.xor_loss)(*args))
    assert forward == [
        r"u^{(1)} = W^T x",
        r"u^{(2)} = u^{(1)} + c",
        r"h = \max(0, u^{(2)})",
        r"u^{(3)} = w^T h",
        r"z = u^{(3)} + b",
        r"u^{(4)} = (1 - 2 \, y) \, z",
        r"L = \zeta(u^{(4)})",
    ]
    of, nabla = (lambda x: rf"\frac{{\partial L}}{{\partial {x}}}"), (lambda x: rf"\nabla_{{{x}}} L")
    delta = r"\sigma(u^{(4)}) \, (1 - 2 \, y)"
    assert backward == [
        f"{of('L')} = 1",
        rf"{of('u^{(4)}')} = \sigma(u^{{(4)}})",
        rf"{of('z')} = {of('u^{(4)}')} \, (1 - 2 \, y) = {delta}",
        f"{of('u^{(3)}')} = {of('z')} = {delta}",
        rf"{nabla('h')} = {of('u^{(3)}')} \, w = {delta} \, w",
        r"f = [u^{(2)} > 0]",
        rf"{nabla('u^{(2)}')} = f \odot {nabla('h')} = {delta} \, f \odot w",
        rf"{nabla('u^{(1)}')} = {nabla('u^{(2)}')} = {delta} \, f \odot w",
        rf"{of('y')} = -2 \, {of('u^{(4)}')} \, z = -2 \, \sigma(u^{{(4)}}) \, z",
        rf"{nabla('x')} = W\, {nabla('u^{(1)}')} = {delta} \, W\, (f \odot w)",
        f"{of('b')} = {of('z')} = {delta}",
        rf"{nabla('w')} = {of('u^{(3)}')} \, h = {delta} \, h",
        rf"{nabla('c')} = {nabla('u^{(2)}')} = {delta} \, f \odot w",
        rf"{nabla('W')} = x\, \left({nabla('u^{(1)}')}\right)^T = {delta} \, x\, \left(f \odot w\right)^T",
    ]
    (doubled,), _ = equations_of(trace(lambda x: 2 * x)(V))
    assert doubled == r"u^{(1)} = 2 \, x"


def logistic_perceptron(w, b, x):
    return jax.nn.sigmoid(w @ x + b)


def linear_network(w, b, x, y):
    f = x @ w + b
    L = ((y - f) ** 2).mean()
    return L


def mlp(W, c, w, b, x):
    h = jnp.maximum(0, W.T @ x + c)
    z = w @ h + b
    return z


def test_the_equations_of_the_other_networks_of_the_lecture():
    """σ(z) (1 − σ(z)) x of the perceptron; the mean squared error of the linear network; its b is added four times."""
    w, b, x = jnp.ones(2), f32(0), jnp.ones(2)
    _, backward = equations_of(trace(logistic_perceptron)(w, b, x))
    assert backward[-1].endswith(r"= u^{(3)} \, (1 - u^{(3)}) \, x")
    forward, backward = equations_of(trace(linear_network)(w, b, jnp.ones((4, 2)), jnp.ones(4)))
    assert forward[:2] == [r"u^{(1)} = x\, w", "f = u^{(1)} + b"]
    assert any(line.startswith(r"\frac{\partial L}{\partial b} = \sum \nabla_{f} L") for line in backward)
    assert any(line.startswith(r"\nabla_{w} L = x^T \nabla_{u^{(1)}} L") for line in backward)
    forward, _ = equations_of(trace(mlp)(jnp.eye(2), w, w, b, x))
    assert forward[0].endswith(" = W^T x")
