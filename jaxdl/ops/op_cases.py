"""Cases for every operation: the arguments on which tests, benchmarks and the audit call it.

`cases()` has random arguments, away from kinks; `edges()` has the points where rules go wrong: kinks, ties, overflow,
masked classes. `in_forms` repeats them for the further rules of an op.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import ops
from jaxdl.rule import Op

Draw = Callable[[int, Any], tuple[Any, ...]]


@dataclass(frozen=True, eq=False)  # equal to itself alone, and hashable
class Case:
    """An op with settings and random arguments.

    Attributes:
        op: The op.
        label: Distinguishes the op's cases.
        make: `make(seed, dtype)` draws the arguments, a tuple of arrays.
        settings: The op's keyword arguments.
        analytic: Whether the op is holomorphic, so that the case also holds for complex numbers.
    """

    op: Op[..., Any]
    label: str
    make: Draw
    settings: dict[str, Any] = field(default_factory=dict)
    analytic: bool = False

    def __str__(self) -> str:
        return f"{self.op.__name__}-{self.label}"


def normal(*shapes: tuple[int, ...], shift: float = 0.0) -> Draw:
    """Draws an array of each shape from the normal distribution, shifted; real and imaginary part if complex."""

    def draw(random, shape, is_complex):
        x = random.standard_normal(shape) + shift
        return x + 1j * random.standard_normal(shape) if is_complex else x

    return _drawing(draw, shapes)


def positive(*shapes: tuple[int, ...]) -> Draw:
    """Draws away from zero and branch cuts: 0.5 to 2, with a small imaginary part where complex."""

    def draw(random, shape, is_complex):
        x = random.uniform(0.5, 2.0, shape)
        return x * (1 + 0.1j) if is_complex else x

    return _drawing(draw, shapes)


def _drawing(draw, shapes):
    """Draws by NumPy, as JAX compiles a program for every shape."""

    def make(seed, dtype):
        random, is_complex = np.random.default_rng(seed), jnp.issubdtype(dtype, jnp.complexfloating)
        return tuple(jnp.asarray(np.asarray(draw(random, s, is_complex)).astype(jnp.dtype(dtype))) for s in shapes)

    return make


def _with(make, *extra):
    """The arguments of `make`, then fixed ones: labels, indices, keys."""
    return lambda seed, dtype: (*make(seed, dtype), *extra)


def _targets(seed, dtype):
    logits, targets = normal((3, 4), (3, 4))(seed, dtype)
    return logits, jax.nn.softmax(targets.astype(jnp.float32)).astype(dtype)


_ANALYTIC = {"negate", "square", "sqrt", "exp", "log", "sigmoid", "tanh"}
_POSITIVE = {"sqrt", "log"}
_UNARY = [
    "negate",
    "square",
    "sqrt",
    "exp",
    "log",
    "step",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "softplus",
    "silu",
    "gelu",
    "gelu_tanh",
    "quick_gelu",
]


def cases() -> list[Case]:
    """At least one case for every op of `jaxdl.ops`."""
    labels = jnp.array([0, 3, 2])
    table = [
        Case(getattr(ops, n), "3x4", (positive if n in _POSITIVE else normal)((3, 4)), {}, n in _ANALYTIC)
        for n in _UNARY
    ]
    table += [
        Case(ops.leaky_relu, "slope", normal((5,)), {"slope": 0.3}),
        Case(ops.elu, "alpha", normal((5,)), {"alpha": 0.5}),
        Case(ops.tanh, "accurate-tails", normal((5,)), {"accurate_tails": True}, True),
    ]
    for binary in (ops.add, ops.subtract, ops.multiply, ops.divide, ops.power):
        make = positive if binary in (ops.divide, ops.power) else normal
        table += [
            Case(binary, "same", make((3, 4), (3, 4)), {}, True),
            Case(binary, "broadcast", make((3, 1), (1, 4)), {}, True),
        ]
    for binary in (ops.maximum, ops.minimum):
        table += [Case(binary, "same", normal((3, 4), (3, 4))), Case(binary, "column", normal((3, 4), (3, 1)))]
    for reduction in (ops.sum, ops.prod, ops.mean, ops.max, ops.min, ops.logsumexp):
        analytic = reduction in (ops.sum, ops.prod, ops.mean)
        table += [
            Case(reduction, "all", normal((3, 4)), {}, analytic),
            Case(reduction, "last", normal((3, 4)), {"axis": -1}, analytic),
            Case(reduction, "two-kept", normal((2, 3, 4)), {"axis": (0, 2), "keepdims": True}, analytic),
        ]
    for family in (ops.softmax, ops.log_softmax):
        table += [Case(family, "last", normal((3, 4))), Case(family, "first", normal((3, 4)), {"axis": 0})]
    table += [
        Case(ops.matmul, "matrices", normal((3, 4), (4, 2)), {}, True),
        Case(ops.matmul, "vectors", normal((4,), (4,)), {}, True),
        Case(ops.matmul, "vector-matrix", normal((4,), (4, 2)), {}, True),
        Case(ops.matmul, "matrix-vector", normal((3, 4), (4,)), {}, True),
        Case(ops.matmul, "broadcast", normal((2, 1, 3, 4), (5, 4, 2)), {}, True),
        Case(ops.dense, "batch", normal((3, 4), (4, 2), (2,)), {}, True),
        Case(ops.dense, "single", normal((4,), (4, 2), (2,)), {}, True),
        Case(ops.dense, "leading", normal((2, 3, 4), (4, 2), (2,)), {}, True),
        Case(ops.embedding, "repeated", _with(normal((5, 3)), jnp.array([[0, 4, 4], [1, 0, 4]]))),
        Case(ops.dropout, "half", _with(normal((3, 4)), jax.random.key(1)), {"rate": 0.5}),
        Case(ops.dropout, "none", _with(normal((3, 4)), jax.random.key(1)), {"rate": 0.0}),
    ]
    for pool in (ops.max_pool, ops.avg_pool):
        image = normal((2, 5, 6, 3))
        table += [
            Case(pool, "two", normal((2, 4, 6, 2)), {"window": 2}),
            Case(pool, "overlapping", image, {"window": 3, "stride": 2}),
            Case(pool, "same", image, {"window": (2, 3), "stride": (2, 1), "padding": "SAME"}),
            Case(pool, "padded", image, {"window": 3, "stride": 3, "padding": ((1, 2), (0, 1))}),
            Case(pool, "apart", image, {"window": 2, "stride": 3}),
        ]
    table += _convolutions()
    table += [
        Case(ops.layer_norm, "rows", normal((3, 6), (6,), (6,))),
        Case(ops.layer_norm, "batch", normal((2, 3, 6), (6,), (6,)), {"epsilon": 1e-3}),
        Case(ops.rms_norm, "rows", normal((3, 6), (6,))),
        Case(ops.rms_norm, "batch", normal((2, 3, 6), (6,)), {"epsilon": 1e-3}),
    ]
    table += [
        Case(ops.batch_norm, "images", normal((2, 2, 3, 4), (4,), (4,))),
        Case(ops.batch_norm_inference, "images", _given_statistics),
        Case(ops.local_response_norm, "odd", normal((2, 7)), {"alpha": 0.3}),
        Case(ops.local_response_norm, "even", normal((2, 3)), {"size": 4, "alpha": 0.3, "beta": 0.5}),
        *_attentions(),
        Case(ops.gelu_feed_forward, "rows", normal((2, 3), (3, 5), (5,), (5, 4), (4,))),
        Case(ops.swiglu_feed_forward, "rows", normal((2, 2, 3), (3, 5), (3, 5), (5, 4))),
        Case(ops.cross_entropies, "rows", _with(normal((3, 4)), labels)),
        Case(ops.linear_cross_entropy, "mean", _with(normal((3, 5), (5, 4)), labels)),
        Case(ops.contrastive_loss, "pairs", normal((3, 4), (3, 4), ())),
        Case(ops.reversible, "blocks", normal((2, 3), (2, 3), (2, 3, 3), (2, 3, 3)), {"f": _shift, "g": _shift}),
        Case(ops.fixed_point, "scalar map", normal((3,), (3,)), {"f": _contraction, "max_steps": 600}),
    ]
    for name, reduce in {"mean": jnp.mean, "sum": jnp.sum, "none": None}.items():
        setting = {"reduce": reduce}
        table += [
            Case(ops.squared_error, name, normal((3, 4), (3, 4)), setting),
            Case(ops.logistic_loss, name, _with(normal((4,)), jnp.array([0, 1, 1, 0])), setting),
            Case(ops.softmax_cross_entropy_with_integer_labels, name, _with(normal((3, 4)), labels), setting),
            Case(ops.softmax_cross_entropy, name, _targets, setting),
        ]
    return table


def _given_statistics(seed, dtype):
    x, *rest, variance = normal((2, 3, 4), (4,), (4,), (4,), (4,))(seed, dtype)
    return x, *rest, variance**2 + 0.5


def _attentions():
    """Two heads of queries for each of keys; a boolean mask that allows one query nothing; a mask of numbers."""
    shapes = (1, 3, 2, 2), (1, 4, 1, 2), (1, 4, 1, 3)
    sees = jnp.array([[True, True, False, False], [False] * 4, [True, False, True, True]])
    return [
        Case(ops.attention, "plain", normal(*shapes)),
        Case(ops.attention, "booleans", _with(normal(*shapes), sees), {"causal": True}),
        Case(ops.attention, "numbers", normal(*shapes, (2, 1, 4))),
        Case(ops.attention, "tiles", normal((1, 65, 1, 2), (1, 64, 1, 2), (1, 64, 1, 2))),  # long enough for them
    ]


def _shift(p, x):
    return jnp.sin(x @ p) / 4


def _contraction(p, x):
    return jnp.sin(x) / 4 + p


def _convolutions():
    """All settings once; `tests/ops/test_convolution.py` has the many forms of convolutions."""
    return [
        Case(ops.conv2d, "valid", normal((2, 3, 4, 2), (3, 2, 2, 3)), {}, True),
        Case(ops.conv2d, "stride", normal((1, 5, 6, 2), (3, 4, 2, 3)), {"stride": (2, 3), "padding": ((1, 2), (0, 1))}),
        Case(ops.conv2d, "groups", normal((1, 4, 5, 4), (2, 2, 2, 2)), {"groups": 2, "dilation": (2, 1)}),
        Case(ops.conv2d_by_loops, "bias", normal((2, 3, 4, 2), (2, 3, 2, 3), (3,)), {}, True),
        Case(ops.conv2d_by_loops, "no bias", normal((1, 3, 3, 1), (2, 2, 1, 1)), {}, True),
        Case(
            ops.conv_transpose2d, "stride", normal((1, 5, 4, 3), (3, 4, 2, 3)),
            {"stride": 2, "padding": ((1, 0), (2, 1))}, True,
        ),
        Case(
            ops.conv2d_kernel_gradient, "stride", normal((2, 5, 5, 2), (2, 3, 3, 2)),
            {"window": 3, "stride": 2, "padding": "SAME"}, True,
        ),
    ]  # fmt: skip


@dataclass(frozen=True)
class EdgePoint:
    """A point where rules go wrong, with the right cotangents there (by convention at kinks).

    Attributes:
        op: The op.
        label: Distinguishes the op's points.
        args: The arguments.
        expected: The cotangent of each argument, or None, for a cotangent of the output that is 1 everywhere.
        settings: The op's keyword arguments.
    """

    op: Op[..., Any]
    label: str
    args: tuple[Any, ...]
    expected: tuple[Any, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.op.__name__}-{self.label}"


def in_forms(cases_or_edges: Iterable[Any]) -> list[Any]:
    """Cases or points again, for each further rule of an op: its forms, in the op's place."""
    found = {}
    return [
        replace(item, op=found.setdefault((item.op, name), item.op.in_form(name)))
        for item in cases_or_edges
        for name in item.op.forms
    ]


def edges() -> list[EdgePoint]:
    """Kinks, ties, overflow and masked classes, in float32."""
    a = lambda *x: jnp.array(x, jnp.float32)
    inf = jnp.inf
    cross_entropy = ops.softmax_cross_entropy_with_integer_labels
    one = lambda *x: a(*x)[None]
    return [
        EdgePoint(ops.relu, "kink", (a(-1, 0, 1),), (a(0, 0, 1),)),
        EdgePoint(ops.step, "jump", (a(-1, 0, 1),), (a(0, 0, 0),)),
        EdgePoint(ops.leaky_relu, "kink", (a(-1, 0, 1),), (a(0.01, 0.01, 1),)),
        EdgePoint(ops.elu, "overflow", (a(-200, 0, 100),), (a(0, 1, 1),)),
        EdgePoint(ops.selu, "overflow", (a(100),), (a(1.0507009873554805),)),
        EdgePoint(ops.sigmoid, "tails", (a(-200, -40, 40, 200),), (a(0, 4.248354e-18, 4.248354e-18, 0),)),
        EdgePoint(
            ops.tanh,
            "tails",
            (a(-100, -20, 20, 100),),
            (a(0, 1.699342e-17, 1.699342e-17, 0),),
            {"accurate_tails": True},
        ),
        EdgePoint(ops.softplus, "tails", (a(-200, -40, 200),), (a(0, 4.248354e-18, 1),)),
        EdgePoint(ops.silu, "tails", (a(-200, 200),), (a(0, 1),)),
        EdgePoint(ops.gelu, "tails", (a(-100, 100),), (a(0, 1),)),
        EdgePoint(ops.gelu_tanh, "tails", (a(-100, 100),), (a(0, 1),)),
        EdgePoint(ops.quick_gelu, "tails", (a(-200, 200),), (a(0, 1),)),
        EdgePoint(ops.maximum, "tie", (a(1, 2, 3), a(2, 2, 2)), (a(0, 0.5, 1), a(1, 0.5, 0))),
        EdgePoint(ops.minimum, "tie", (a(1, 2, 3), a(2, 2, 2)), (a(1, 0.5, 0), a(0, 0.5, 1))),
        EdgePoint(ops.max, "ties", (a(3, 1, 3),), (a(0.5, 0, 0.5),)),
        EdgePoint(ops.min, "ties", (a(1, 3, 1),), (a(0.5, 0, 0.5),)),
        EdgePoint(ops.prod, "zero", (a(2, 0, 3),), (a(0, 6, 0),)),
        EdgePoint(ops.prod, "zeros", (a(0, 0, 3),), (a(0, 0, 0),)),
        EdgePoint(ops.prod, "tiny", (a(1e-30, 1e-30),), (a(1e-30, 1e-30),)),
        EdgePoint(ops.divide, "tiny", (a(1e-30), a(1e-30)), (a(1e30), a(-1e30))),
        EdgePoint(ops.power, "zeros", (a(0, 0, 2), a(2, 0, 0)), (a(0, 0, 0), a(0, 0, 0.6931472))),
        EdgePoint(ops.logsumexp, "large", (a(1e4, 1e4),), (a(0.5, 0.5),)),
        EdgePoint(ops.logsumexp, "masked", (a(-inf, 0),), (a(0, 1),)),
        EdgePoint(ops.softmax, "large", (a(1e4, -1e4),), (a(0, 0),)),
        EdgePoint(ops.log_softmax, "masked", (a(-inf, 0),), (a(1, -1),)),
        EdgePoint(ops.logistic_loss, "large", (a(1e4, -1e4), jnp.array([0, 0])), (a(1, 0), None)),
        EdgePoint(cross_entropy, "right", (one(1e4, -1e4), jnp.array([0])), (one(0, 0), None)),
        EdgePoint(cross_entropy, "wrong", (one(1e4, -1e4), jnp.array([1])), (one(1, -1), None)),
        EdgePoint(cross_entropy, "confident", (one(0, -40), jnp.array([0])), (one(-4.248354e-18, 4.248354e-18), None)),
        EdgePoint(cross_entropy, "masked", (one(0, -inf, 0), jnp.array([0])), (one(-0.5, 0, 0.5), None)),
        EdgePoint(
            ops.linear_cross_entropy,
            "large",
            (one(1e4), one(1, -1), jnp.array([1])),
            (one(2), one(1e4, -1e4), None),
        ),
        EdgePoint(ops.layer_norm, "constant", (one(3, 3), a(1, 1), a(0, 0)), (one(0, 0), a(0, 0), a(1, 1))),
        EdgePoint(ops.rms_norm, "zero", (one(0, 0), a(1, 1)), (one(1e3, 1e3), a(0, 0))),
        EdgePoint(ops.local_response_norm, "zero", (a(0, 0),), (a(0.59460355, 0.59460355),)),
        EdgePoint(
            ops.softmax_cross_entropy,
            "masked",
            (one(0, -inf, 0), one(1, 0, 0)),
            (one(-0.5, 0, 0.5), one(0.6931472, inf, 0.6931472)),
        ),
    ]
