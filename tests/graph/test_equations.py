"""The equations that are written are those of the derivative: each formula is computed, beside JAX's."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxdl import trace
from jaxdl.graph import examples
from jaxdl.graph.equations import FORMULAS, PRODUCTS, equations
from tests.draws import draw

f32 = jnp.float32
OPERATIONS = {
    "abs": lax.abs, "add": lax.add, "cos": lax.cos, "div": lax.div, "erf": lax.erf, "exp": lax.exp, "expm1": lax.expm1,
    "log": lax.log, "log1p": lax.log1p, "logaddexp": jnp.logaddexp, "logistic": lax.logistic, "max": lax.max,
    "min": lax.min, "mul": lax.mul, "neg": lax.neg, "pow": lax.pow, "relu": jax.nn.relu, "rsqrt": lax.rsqrt,
    "sin": lax.sin, "sqrt": lax.sqrt, "square": lax.square, "sub": lax.sub, "tanh": lax.tanh,
}  # fmt: skip
OF_SHAPES = {"add_any", "broadcast_in_dim", "convert_element_type", "reduce_sum", "reshape", "squeeze", "stop_gradient",
             "transpose"}  # fmt: skip
# What a command of LaTeX is in Python, with as many groups in braces as it takes.
COMMANDS = {"\\frac": "(({})/({}))", "\\sqrt": "sqrt({})", "e^": "exp({})", "^": "**({})", "\\mathrm": "{}"}
MEANS = {"sqrt": np.sqrt, "log": np.log, "max": max, "min": min, "tanh": np.tanh, "sin": np.sin, "cos": np.cos,
         "exp": np.exp, "sign": np.sign, "pi": np.pi, "erf": lambda x: float(lax.erf(f32(x))),
         "sigma": lambda x: 1 / (1 + np.exp(-x))}  # fmt: skip


def in_python(formula):
    for command, meaning in COMMANDS.items():
        while (start := formula.find(command + "{")) >= 0:
            at, groups = start + len(command), []
            for _ in range(meaning.count("{}")):
                end = next(
                    i for i in range(at, len(formula)) if formula.count("{", at, i + 1) == formula.count("}", at, i + 1)
                )
                groups.append(formula[at + 1 : end])
                at = end + 1
            formula = formula[:start] + meaning.format(*groups) + formula[at:]
    formula = re.sub(r"\^(\d)", r"**\1", formula).replace("|a|", "abs(a)").replace("\\", "").replace("·", "*")
    formula = formula.replace("[", "(").replace("]", ")")
    return re.sub(r"(\)|\b\d) (exp|[agy]\b)", r"\1 * \2", formula)


def computed(formula, **letters):
    """The number that a formula means."""
    return float(eval(in_python(formula), MEANS, letters))


def test_every_formula_is_looked_at():
    assert set(FORMULAS) == set(OPERATIONS) | OF_SHAPES


@pytest.mark.parametrize("name", OPERATIONS)
def test_formulas_of_numbers(name):
    forward, *back = FORMULAS[name]
    a, b, g = 0.7, 1.3, -1.9
    args = [f32(a), f32(b)][: len(back)]
    y, pullback = jax.vjp(OPERATIONS[name], *args)
    letters = {"a": a, "b": b, "g": g, "y": float(y)}
    assert computed(forward, **letters) == pytest.approx(float(y), rel=1e-5)
    for formula, expected in zip(back, pullback(f32(g)), strict=True):
        assert computed(formula, **letters) == pytest.approx(float(expected), rel=1e-5)


def product(formula, **letters):
    """A product of matrices; vectors are columns."""
    factors = [letters[m[1]].T if m[2] else letters[m[1]] for m in re.finditer(r"([abg])(\^T)?", formula)]
    first, second = factors
    return first * second if 1 in (first.size, second.size) else first @ second


@pytest.mark.parametrize("key", PRODUCTS, ids=str)
def test_formulas_of_products(key):
    left, right, *ranks = key
    shapes = {(2, 0): (5, 3), (2, 1): (3, 5), (1, 0): (5,)}
    a = draw(1, *shapes[ranks[0], left])
    b = draw(2, *({0: (5, 4), 1: (4, 5)}[right] if ranks[1] == 2 else (5,)))
    f = lambda a, b: lax.dot_general(a, b, (((left,), (right,)), ((), ())))
    y, pullback = jax.vjp(f, a, b)
    g = draw(3, *y.shape)
    column = lambda x: np.asarray(x).reshape(x.shape if x.ndim == 2 else (-1, 1))
    letters = {"a": column(a), "b": column(b), "g": column(g)}
    results = zip(PRODUCTS[key], (y, *pullback(g)), strict=True)
    for formula, expected in results:
        found = product(formula, **letters)
        np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-5)


def test_the_lectures_example_as_it_is_written():
    forward, backward = equations(trace(examples.product_and_sum)(f32(-2), f32(5), f32(-4)))
    assert forward == [r"g = x \, y", "u^{(2)} = g + z"]
    of = lambda x: rf"\frac{{\partial u^{{(2)}}}}{{\partial {x}}}"
    assert backward == [
        f"{of('u^{(2)}')} = 1",
        f"{of('g')} = {of('u^{(2)}')}",
        f"{of('z')} = {of('u^{(2)}')}",
        rf"{of('y')} = {of('g')} \, x",
        rf"{of('x')} = {of('g')} \, y",
    ]


def test_contributions_add():
    _, backward = equations(trace(lambda x: jnp.sin(x) * x)(f32(1)))
    assert backward[-1].split(" = ")[1].count(r"\frac{\partial u^{(2)}}") == 2
    assert " + " in backward[-1]


def test_sheets(tmp_path):
    graph = trace(examples.xor_loss)(*examples.XOR.values(), examples.XOR_INPUTS[1], examples.XOR_LABELS[1])
    for kind, start in {"svg": b"<?xml", "png": b"\x89PNG", "html": b"<!doctype", "tex": b"\\begin{align*}"}.items():
        graph.derive(tmp_path / f"f.{kind}")
        assert (tmp_path / f"f.{kind}").read_bytes().startswith(start)
    with pytest.raises(ValueError, match=r"derive: .*f\.pdf must end in one of \.svg"):
        graph.derive(tmp_path / "f.pdf")


def test_one_array_alone_is_derived():
    with pytest.raises(ValueError, match="derivatives are written of one array"):
        trace(lambda x: (x, x * 2))(f32(1)).latex()


def test_what_has_no_formula_is_written_by_its_name():
    forward, backward = equations(trace(lambda x: lax.sort(x).sum())(jnp.ones(3)))
    assert forward[0] == r"u^{(1)} = \mathrm{sort}(x)"
    assert backward[-1].endswith(r"\frac{\partial u^{(1)}}{\partial x}")
