"""Each formula is evaluated and compared with JAX's value and derivative."""

import itertools
import re
from collections.abc import Callable
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core.primitives import add_jaxvals_p
from matplotlib.figure import Figure

from jaxdl import op, ops, saving, trace
from jaxdl.graph import examples
from jaxdl.graph.derivation.equations import equations_of
from jaxdl.graph.derivation.formula_choice import formula_of
from jaxdl.graph.derivation.formulas import FORMULAS, OP_FORMULAS, PRODUCTS
from jaxdl.graph.derivation.typesetting import typeset_equations
from tests.draws import draw

f32 = jnp.float32


class Case(NamedTuple):
    """One operation on arrays; the meaning of words in its formula, and the form of its arrays there."""

    f: Callable
    args: tuple
    means: dict = MappingProxyType({})
    shown: Callable = np.asarray


ALL = tuple(map(f32, (0.7, 1.3)))
ABOVE_ONE = (f32(1.7),)
V, M, W = draw(1, 5), draw(2, 3, 4), draw(3, 4, 2)
LABELS = jnp.array([2, 0, 1])
ROWS = {"sum": lambda x: x.sum(0), "mean": lambda x: x.mean(-1, keepdims=True)}
LOSS = {"mean": np.mean, "n": 3, "onehot": lambda x: np.eye(4)[x.ravel()], "logsoftmax": lambda a: np.log(softmax(a))}
CONVOLVED = {"star": lambda x, w: np.correlate(x, w, "valid"), "ast": np.convolve}
softmax = lambda a: np.exp(a) / np.exp(a).sum(-1, keepdims=True)
number = lambda f, count=1: Case(f, ALL[:count])
same = lambda x: x
in_rows = lambda x: np.asarray(x).reshape(len(x), -1)  # adds a dimension for the features

NEWER = ("log2", "one_minus_square")  # from JAX 0.11 on
CASES = {
    **{name: number(getattr(lax, name)) for name in (
        "abs", "acos", "asin", "asinh", "atan", "atanh", "cbrt", "ceil", "cos", "cosh", "digamma", "erf", "erf_inv",
        "erfc", "exp", "exp2", "expm1", "floor", "lgamma", "log", "log1p", "logistic", "neg", "round", "rsqrt", "sign",
        "sin", "sinh", "sqrt", "square", "stop_gradient", "tan", "tanh",
    )},
    **{name: number(getattr(lax, name), 2) for name in ("add", "atan2", "div", "max", "min", "mul", "pow", "sub",
                                                     "eq", "ge", "gt", "le", "lt", "ne")},
    **{name: number(getattr(lax, name)) for name in NEWER if hasattr(lax, name)},
    "acosh": Case(lax.acosh, ABOVE_ONE),
    "add_any": number(add_jaxvals_p.bind, 2),
    "relu": number(jax.nn.relu),
    "logaddexp": number(jnp.logaddexp, 2),
    "rem": Case(lax.rem, (f32(-4.1), f32(1.3))),
    "clamp": Case(lax.clamp, tuple(jnp.array(x) for x in ([0.1] * 3, [-1.0, 0.5, 2.0], [0.9] * 3))),
    "select_n": Case(lax.select_n, (V > 0, V, V + 1)),
    "reduce_max": Case(lambda a: lax.reduce_max(a, (0,)), (V,)),
    "reduce_min": Case(lambda a: lax.reduce_min(a, (0,)), (V,)),
    "reduce_prod": Case(lambda a: lax.reduce_prod(a, (0,)), (V,)),
    "reduce_sum": Case(lambda a: lax.reduce_sum(a, (0,)), (V,)),
    "cumsum": Case(lambda a: lax.cumsum(a), (V,), {"cumsum": np.cumsum}),
    "rev": Case(lambda a: lax.rev(a, (0,)), (V,)),
    "transpose": Case(lambda a: a.T, (M,)),
    "slice": Case(lambda a: a[1:4], (V,), {"slice": lambda x: x[1:4], "pad": lambda x: np.pad(x, 1)}),
    "pad": Case(lambda a: jnp.pad(a, 1), (V,), {"slice": lambda x: x[1:-1], "pad": lambda x: np.pad(x, 1)}),
    "reshape": Case(lambda a: a.reshape(4, 3), (M,), {"reshape": same}),
    "squeeze": Case(lambda a: lax.squeeze(a, (0,)), (V[None],), {"reshape": same}),
    "broadcast_in_dim": Case(lambda a: jnp.broadcast_to(a, (5,)), (f32(2),), {"broadcast": lambda x: [x] * 5}),
    "convert_element_type": Case(lambda a: a.astype(jnp.bfloat16), (f32(2),)),
    "conv_general_dilated": Case(
        lambda a, b: lax.conv(a, b, (1,), "VALID"), (V[None, None], draw(4, 1, 1, 3)), CONVOLVED, np.ravel
    ),
}  # fmt: skip
OPS = {
    **{name: number(getattr(ops, name)) for name in (
        "elu", "exp", "gelu", "log", "negate", "relu", "sigmoid", "silu", "softplus", "sqrt", "square", "step", "tanh",
    )},
    **{name: number(getattr(ops, name), 2) for name in (
        "add", "divide", "maximum", "minimum", "multiply", "power", "subtract",
    )},
    "max": Case(ops.max, (V,)),
    "min": Case(ops.min, (V,)),
    "prod": Case(ops.prod, (V,)),
    "sum": Case(ops.sum, (V,)),
    "mean": Case(ops.mean, (V,), {"n": 5}),
    "softmax": Case(ops.softmax, (M,)),
    "log_softmax": Case(ops.log_softmax, (M,)),
    "logsumexp": Case(ops.logsumexp, (V,)),
    "matmul": Case(ops.matmul, (M, W)),
    "dense": Case(ops.dense, (M, W, draw(4, 2)), ROWS),
    "embedding": Case(ops.embedding, (W, LABELS), LOSS),
    "layer_norm": Case(lambda *x: ops.layer_norm(*x, epsilon=0.1), (M, M[0], M[1]), ROWS),
    "rms_norm": Case(lambda *x: ops.rms_norm(*x, epsilon=0.1), (M, M[0]), ROWS),
    "attention": Case(
        ops.attention, tuple(draw(i, 1, 3, 1, 4) for i in range(3)), {"h": 4}, lambda x: np.asarray(x)[0, :, 0]
    ),
    "conv2d": Case(ops.conv2d, (V[None, :, None, None], draw(4, 3, 1, 1, 1)), CONVOLVED, np.ravel),
    "conv2d_by_loops": Case(
        ops.conv2d_by_loops, (V[None, :, None, None], draw(4, 3, 1, 1, 1)), CONVOLVED, np.ravel
    ),
    "conv_transpose2d": Case(
        ops.conv_transpose2d, (V[None, :, None, None], draw(4, 3, 1, 1, 1)), CONVOLVED, np.ravel
    ),
    "squared_error": Case(ops.squared_error, (V, V[::-1])),
    "logistic_loss": Case(ops.logistic_loss, (V[:3], LABELS % 2), LOSS),
    "softmax_cross_entropy": Case(ops.softmax_cross_entropy, (M, jax.nn.softmax(2 * M)), LOSS, in_rows),
    "softmax_cross_entropy_with_integer_labels": Case(
        ops.softmax_cross_entropy_with_integer_labels, (M, LABELS), LOSS, in_rows
    ),
    "linear_cross_entropy": Case(ops.linear_cross_entropy, (M, draw(5, 4, 4), LABELS), LOSS),
}  # fmt: skip

# LaTeX commands as Python, with a {} for each argument.
COMMANDS = {"\\frac": "(({})/({}))", "\\sqrt": "sqrt({})", "e^": "exp({})", "^": "**({})", "\\mathrm": "{}",
            "\\mathbf": "{}"}  # fmt: skip
SIGNS = {
    "\\, ": " @ ",
    "·": "*",
    "|a|": "abs(a)",
    "\\neg ": "~",
    "\\geq": ">=",
    "\\leq": "<=",
    "\\neq": "!=",
    " = ": " == ",
    "[": "(",
    "]": ")",
}
special, norm = jax.scipy.special, jax.scipy.stats.norm
MEANS = {
    "abs": abs, "arccos": np.arccos, "arcsin": np.arcsin, "arctan": np.arctan, "arcosh": np.arccosh,
    "arsinh": np.arcsinh, "artanh": np.arctanh, "atan2": np.arctan2, "cbrt": np.cbrt, "ceil": np.ceil, "cos": np.cos,
    "cosh": np.cosh, "erf": special.erf, "erfc": special.erfc, "erfinv": special.erfinv, "exp": np.exp, "epsilon": 0.1,
    "floor": np.floor, "log": np.log, "loggamma": special.gammaln, "mean": np.mean, "n": 1,
    "phi": norm.pdf, "Phi": norm.cdf, "pi": np.pi, "prod": np.prod, "psi": special.digamma,
    "psi_1": lambda x: special.polygamma(1, x), "rev": np.flip, "round": np.round,
    "sigma": lambda x: 1 / (1 + np.exp(-x)), "sign": np.sign, "sin": np.sin, "sinh": np.sinh, "softmax": softmax,
    "sqrt": np.sqrt, "sum": lambda x: np.sum(x, -1, keepdims=True), "tan": np.tan, "tanh": np.tanh, "trunc": np.trunc,
    "zeta": lambda x: np.logaddexp(x, 0),
    "max": lambda *x: np.maximum(*x) if x[1:] else np.max(x), "min": lambda *x: np.minimum(*x) if x[1:] else np.min(x),
}  # fmt: skip


def in_python(formula):
    for command, meaning in COMMANDS.items():
        while (start := formula.find(command + "{")) >= 0:
            at, groups = start + len(command), []
            for _ in range(meaning.count("{}")):
                end = _end(formula, at + 1, "{", "}")
                groups.append(formula[at + 1 : end])
                at = end + 1
            formula = formula[:start] + meaning.format(*groups) + formula[at:]
    formula = re.sub(r"\^T (?=[a-zA-Z\\(])", ".mT @ ", formula).replace("^T", ".mT")
    formula = re.sub(r"(\w) \\(star|ast) (\w)", r"\2(\1, \3)", formula)
    for sign, meaning in SIGNS.items():
        formula = formula.replace(sign, meaning)
    formula = re.sub(r"\^(\d)", r"**\1", formula)
    while operators := [*re.finditer(r"\\(log|sum|prod|max|min) ", formula)]:  # they extend to the next + or -
        start, at = operators[-1].span()
        end = _end(formula, at, "(", ")", stops=(" + ", " - "))
        formula = f"{formula[:start]}{operators[-1][1]}({formula[at:end]}){formula[end:]}"
    return re.sub(r"(?<=[\w)]) (?=[\w(])", " * ", formula.replace("\\", ""))


def _end(text, at, opening, closing, stops=()):
    """The end of the group that begins at `at`: its closing bracket, or a stop outside of inner brackets."""
    depth = 0
    for i in range(at, len(text)):
        depth += (text[i] == opening) - (text[i] == closing)
        if depth < 0 or (depth == 0 and text[i:].startswith(stops or "\0")):
            return i
    return len(text)


def computed(formula, letters):
    """The value of a formula; its definitions become variables."""
    main, *definitions = formula.split("; ")
    for line in definitions:
        name, meaning = line.split(" = ", 1)
        letters[name] = eval(in_python(meaning), {}, letters)
    return eval(in_python(main), {}, letters)


def assert_computed(formula, letters, expected, shown):
    expected = shown(expected.astype(f32))
    found = np.asarray(computed(formula, letters))
    found = found.reshape(expected.shape) if found.size == expected.size else np.broadcast_to(found, expected.shape)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6, err_msg=formula)


def test_every_formula_is_tested():
    assert set(FORMULAS) == set(CASES) | set(NEWER)
    assert set(OP_FORMULAS) == set(OPS)


@pytest.mark.parametrize("name", [*CASES, *(f"ops.{name}" for name in OPS)])
def test_formulas(name):
    case = CASES[name] if name in CASES else OPS[name.removeprefix("ops.")]
    assert_formulas(case, name.removeprefix("ops."))


@pytest.mark.parametrize("n", [3, 2, -1, -3])
def test_formulas_of_powers(n):
    assert_formulas(number(lambda a: lax.integer_pow(a, n)), "integer_pow")


def assert_formulas(case, name):
    node = trace(case.f)(*case.args).nodes[-1]
    assert node.name == name
    forward, *back = formula_of(node)
    smooth = [i for i, x in enumerate(case.args) if jnp.issubdtype(x.dtype, jnp.inexact)]
    moving = lambda *moved: case.f(*[moved[smooth.index(i)] if i in smooth else x for i, x in enumerate(case.args)])
    y, pullback = jax.vjp(moving, *[case.args[i] for i in smooth])
    is_smooth = jnp.issubdtype(y.dtype, jnp.inexact)
    g = draw(9, *y.shape, dtype=y.dtype) if is_smooth else np.zeros(y.shape, jax.dtypes.float0)
    of_numbers = {letter: case.shown(x) for letter, x in zip("abc", case.args, strict=False)}
    letters = MEANS | of_numbers | {"y": case.shown(y), "g": case.shown(g)} | case.means
    assert_computed(forward, letters, y, case.shown)
    for i, expected in zip(smooth if is_smooth else [], pullback(g), strict=is_smooth):
        assert_computed(back[i], letters, expected, case.shown)


def test_formulas_of_parts():
    forward, *back = formula_of(trace(lambda *x: lax.concatenate(x, 0))(V[:2], V, V).nodes[-1])
    assert forward == "[a, b, c]"
    assert back == [rf"\mathrm{{part}}_{{{k}}}(g)" for k in (1, 2, 3)]
    ahead, back = formula_of(trace(lambda x: lax.cumsum(x, reverse=True))(V).nodes[-1])
    assert (ahead, back) == (r"\mathrm{rev}(\mathrm{cumsum}(\mathrm{rev}(a)))", r"\mathrm{cumsum}(g)")


def test_a_batched_product_is_written_as_one_of_matrices():
    at = lambda f, *shapes: formula_of(trace(f)(*map(jnp.ones, shapes)).nodes[-1])
    assert at(jax.vmap(jnp.dot), (5, 2, 3), (5, 3, 4)) == PRODUCTS[1, 0, 2, 2]
    across = lambda a, b: lax.dot_general(a, b, (((1,), (1,)), ((), ())))
    assert at(jax.vmap(across), (5, 2, 3), (5, 4, 3)) == PRODUCTS[1, 1, 2, 2]
    assert at(jnp.dot, (5, 2, 3), (3, 4)) == PRODUCTS[1, 0, 2, 2]
    assert at(lambda a, b: jnp.einsum("ijk,kjl->il", a, b), (5, 2, 3), (3, 2, 4))[1:] == ()


def test_a_formula_is_used_only_where_it_holds():
    named = lambda f, *args: formula_of(trace(f)(*args).nodes[-1])[0].startswith(r"\mathrm")
    assert named(lambda x, y: ops.add(x, y), V[None], V[:, None])
    assert named(lambda x: ops.elu(x, alpha=2.0), V)
    assert named(lambda x, y: ops.squared_error(x, y, reduce=jnp.mean), V, V)
    q, mask = jnp.ones((1, 3, 1, 4)), jnp.ones((1, 1, 3, 3), bool)
    assert named(lambda x: ops.attention(x, x, x, mask), q)
    assert named(lambda x: ops.attention(x, x, x, causal=True), q)

    @op
    def square(x):
        return 2 * x

    @square.rule
    def square_rule(x):
        return 2 * x, saving(lambda dy: (2 * dy,))

    assert named(square, V)

    @jax.custom_jvp
    def tanh(x):
        return x * x

    tanh.defjvp(lambda primals, tangents: (primals[0], tangents[0]))
    assert named(tanh, V)


def test_definitions_come_before_their_use():
    def f(q, k, v):
        return ops.sum(ops.attention(q, k, ops.attention(q, k, v)))

    forward, backward = equations_of(trace(f)(*[jnp.ones((1, 3, 1, 4))] * 3))
    assert [line.split(" = ")[0] for line in forward] == ["P_{1}", "u^{(1)}", "P_{2}", "u^{(2)}", "u^{(3)}"]
    assert [line.split(" = ")[0] for line in backward if line.startswith("D")] == ["D_{1}", "D_{2}"]
    assert backward[-1].startswith(r"\nabla_{q} u^{(3)} = \frac{1}{\sqrt{h}} D_{1}\, k")
    assert backward[-1].endswith(r"+ \frac{1}{\sqrt{h}} D_{2}\, k")


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


@pytest.mark.parametrize("label", ["loss", "total"])
def test_a_loss_is_called_L(label):
    graph = trace({"loss": lambda x: x * x, "total": lambda x: x * x}[label])(f32(1))
    graph.name = f"my_{label}"
    forward, backward = equations_of(graph)
    top = {"loss": "L", "total": "u^{(1)}"}[label]
    assert backward[-1].startswith(rf"\frac{{\partial {top}}}{{\partial x}}")
    assert (forward[-1] == "L = u^{(1)}") == (label == "loss")


def test_parameters_have_the_names_of_their_layers():
    def f(params, x):
        for i, p in enumerate(params):
            with jax.named_scope(f"dense_{i}"):
                x = jnp.tanh(p["w"] * x)
        return x

    forward, backward = equations_of(trace(f)([{"w": f32(1)}, {"w": f32(2)}], f32(3)))
    assert forward[0] == r"u^{(1)} = w_{\mathrm{dense\_0}} \, x"
    assert r"\partial w_{\mathrm{dense\_1}}" in "".join(backward)
    assert "params" not in "".join(forward + backward)


def test_contributions_add():
    _, backward = equations_of(trace(lambda x: jnp.sin(x) * x)(f32(1)))
    of = lambda x: rf"\frac{{\partial u^{{(2)}}}}{{\partial {x}}}"
    assert backward[-1] == rf"{of('x')} = {of('u^{(1)}')} \, \cos(x) + u^{{(1)}}"


def test_formats(tmp_path):
    graph = trace(examples.xor_loss)(*examples.XOR.values(), examples.XOR_INPUTS[1], examples.XOR_LABELS[1])
    for kind, start in {"svg": b"<?xml", "png": b"\x89PNG", "html": b"<!doctype", "tex": b"\\begin{align*}"}.items():
        graph.derive(tmp_path / f"f.{kind}")
        assert (tmp_path / f"f.{kind}").read_bytes().startswith(start)
    with pytest.raises(ValueError, match=r"Derivation: cannot write .*f\.jpg.; the suffix must be \.svg"):
        graph.derive(tmp_path / "f.jpg")


def test_lines_do_not_overlap(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *args, **settings: seen.append(figure))
    typeset_equations(trace(lambda x: ops.mean(jnp.arctan(x)) / 2)(V), "png")  # fractions in fractions
    (figure,) = seen
    figure.draw_without_rendering()
    lines = [text.get_window_extent() for text in figure.texts]
    assert all(below.y1 < above.y0 for above, below in itertools.pairwise(lines))
    assert all(figure.bbox.x0 <= line.x0 and line.x1 <= figure.bbox.x1 for line in lines)
    assert figure.bbox.y0 <= lines[-1].y0
    assert lines[0].y1 <= figure.bbox.y1


def test_only_functions_of_one_output_have_equations():
    with pytest.raises(ValueError, match="equations need a single floating-point array"):
        trace(lambda x: (x, x * 2))(f32(1)).latex()


def test_an_operation_without_a_formula_is_written_by_its_name():
    forward, backward = equations_of(trace(lambda x: lax.sort(x).sum())(jnp.ones(3)))
    assert forward[0] == r"u^{(1)} = \mathrm{sort}(x)"
    assert backward[-1].endswith(r"\frac{\partial u^{(1)}}{\partial x}")
