"""The parts of the audit, each alone: who is right, where to look, the same formula in float64, values as witness."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxdl.auditor import Verdict
from jaxdl.auditor.judge import Evidence, judged, verdicts
from jaxdl.auditor.pointwise import changes, conditions, edge_points, is_pointwise
from jaxdl.auditor.slopes import NumericalWitness, exact_slope, operations
from jaxdl.auditor.subject import in_float64, magnitude
from jaxdl.auditor.unverifiable import unverifiable_entries
from tests.auditor.subjects import subject

inf, nan = np.inf, np.nan

# --- the judge -------------------------------------------------------------------------------------------------

JUDGED = {
    # got, formula, low, high, room
    "right": (1.0, 1.0, 1.0, 1.0, 0.0, Verdict.RIGHT),
    "half of the digits": (1.0001, 1.0, 1.0, 1.0, 0.0, Verdict.RIGHT),
    "more than rounding": (1.001, 1.0, 1.0, 1.0, 0.0, Verdict.INACCURATE),
    "room for it": (1.001, 1.0, 1.0, 1.0, 0.01, Verdict.RIGHT),
    "a wrong formula": (1.5, 1.5, 1.0, 1.0, 0.0, Verdict.WRONG),
    "a wrong formula, right by rounding": (1.0, 1.5, 1.0, 1.0, 0.0, Verdict.WRONG),
    "within a kink": (0.5, 0.5, 0.0, 1.0, 0.0, Verdict.CONVENTION),
    "the end of a kink": (1.0, 1.0, 0.0, 1.0, 0.0, Verdict.CONVENTION),
    "out of a kink": (2.0, 2.0, 0.0, 1.0, 0.0, Verdict.WRONG),
    "NaN": (nan, nan, 1.0, 1.0, 0.0, Verdict.NON_FINITE),
    "NaN in a kink": (nan, nan, 0.0, 1.0, 0.0, Verdict.NON_FINITE),
    "0 for what is less than any number": (0.0, 1e-40, 1e-40, 1e-40, 0.0, Verdict.RIGHT),
    "0 for what is small": (0.0, 1e-18, 1e-18, 1e-18, 0.0, Verdict.INACCURATE),
    "infinite for what is larger than any number": (inf, 1e39, 1e39, 1e39, 0.0, Verdict.RIGHT),
    "nobody knows": (3.0, 1.0, nan, nan, 0.0, Verdict.NOT_VERIFIABLE),
}


@pytest.mark.parametrize("name", JUDGED)
def test_who_is_right(name):
    *numbers, expected = JUDGED[name]
    evidence = Evidence(*[np.array([x]) for x in numbers], np.zeros(1), np.dtype(np.float32))
    assert verdicts(evidence) == [expected]


def test_special_functions_need_six_digits_in_float64():
    off = np.array([1 + 5e-7, 1 + 5e-6])
    one, none = np.ones(2), np.zeros(2)
    judged = verdicts(Evidence(off, one, one, one, none, none, np.dtype(np.float64)))
    assert list(judged) == [Verdict.RIGHT, Verdict.INACCURATE]


def test_the_plainest_of_the_entries_that_are_clearly_off_is_told():
    got, one, none = np.array([5.0, 1.0, 3.0]), np.ones(3), np.zeros(3)
    evidence = Evidence(got, got, one, one, none, none, np.dtype(np.float32))
    (finding,) = judged(evidence, "cotangents", "x", str, lambda i: (), oddity=lambda i: [9, 0, 1][i])
    assert (finding.got, finding.at, finding.times) == ("3", "2", 2)


# --- where to look -----------------------------------------------------------------------------------------------

CHANGES = {
    "a comparison": (lambda x: jnp.where(x > 1.5, x, 2 * x), 1.5),
    "an equality": (lambda x: jnp.where(x == 4.0, x, 2 * x), 4.0),
    "max": (lambda x: jnp.maximum(x, 2.25), 2.25),
    "min": (lambda x: jnp.minimum(x, -0.75), -0.75),
    "clamp, below": (lambda x: lax.clamp(-3.0, x, 50.0), -3.0),
    "clamp, above": (lambda x: lax.clamp(-3.0, x, 50.0), 50.0),
    "a zero": (lambda x: x * (x - 7.0), 7.0),
    "abs": (lambda x: jnp.abs(x + 0.5), -0.5),
    "overflow": (jnp.exp, float(np.log(np.finfo(np.float32).max))),
    "out of the domain": (lambda x: jnp.log(x - 1.25), 1.25),
}


@pytest.mark.parametrize("name", CHANGES)
def test_where_something_changes(name):
    f, place = CHANGES[name]
    found = changes(conditions([jax.make_jaxpr(f)(np.float32(0))], np.float32), 0, [], np.float32)
    assert any(abs(x - place) <= 1e-6 * abs(place) for x in found), found


def test_where_something_changes_in_one_of_two():
    jaxpr = jax.make_jaxpr(lambda x, y: jnp.where(x > 2 * y, x, y))(np.float32(0), np.float32(0))
    ask = conditions([jaxpr], np.float32)
    assert 3.0 in changes(ask, 0, [1.5], np.float32)
    assert 0.75 in changes(ask, 1, [1.5], np.float32)


def test_edge_points_have_ties_and_neighbours():
    (x,) = edge_points([jax.make_jaxpr(lambda x: jnp.maximum(x, 2.25))(np.float32(0))], [np.ones(2)], np.float32)
    assert {0.0, 1.0, np.float32(2.25)} <= set(x.tolist())
    assert any(2.25 < v < 2.5 for v in x)
    assert any(2.0 < v < 2.25 for v in x)
    two = jax.make_jaxpr(jnp.maximum)(np.float32(0), np.float32(0))
    x, y = edge_points([two], [np.array([0.3, 5.0]), np.array([2.0, 0.7])], np.float32)
    ties = set(x[x == y].tolist())
    assert len(ties) > 5
    assert len(x) <= 160


def test_what_treats_entries_alone():
    x = np.ones((2, 3), np.float32)
    alone = lambda f, *args: is_pointwise(jax.make_jaxpr(f)(*(args or (x,))))
    assert alone(lambda x: jnp.where(x > 0, jnp.sin(x), 2.0))
    assert alone(jax.nn.softplus)
    assert not alone(jnp.sum)
    assert not alone(lambda x: x * np.arange(6, dtype=np.float32).reshape(2, 3))  # each entry its own factor
    assert not alone(lambda x, y: x * y, x, x[:1])
    assert not alone(lambda x: x * 2, np.ones(3, np.int32))


# --- the same formula in float64 -------------------------------------------------------------------------------------

X = np.array([0.3, -1.2, 2.5], np.float32)
A = np.array([[3, 1, 0], [1, 2, 1], [0, 1, 4]], np.float32)


def _halved(x):
    return lax.while_loop(lambda x: (x > 0.1).any(), lambda x: x * 0.5, x)


WIDENED = {
    "reduce_precision": (lambda x: lax.reduce_precision(x * x, 8, 7), lambda x: x * x),
    "conversion": (lambda x: (x * x).astype(jnp.bfloat16).astype(jnp.float32), lambda x: x * x),
    "scan": (
        lambda x: lax.scan(lambda c, v: (c * 0.7 + v, c), np.float32(0), x, reverse=True)[1],
        lambda x: np.array([x[1] + 0.7 * x[2], x[2], 0]),
    ),
    "while": (_halved, lambda x: x / 32),
    "cond": (lambda x: lax.cond(x[0] > 0, lambda x: x * x, lambda x: -x, x), lambda x: x * x),
    "scatter-mul": (lambda x: x.at[1].multiply(x[0]), lambda x: np.array([x[0], x[0] * x[1], x[2]])),
    "scatter-add": (lambda x: x.at[1].add(x[0]), lambda x: np.array([x[0], x[0] + x[1], x[2]])),
    "scatter": (lambda x: x.at[1].set(x[0]), lambda x: np.array([x[0], x[0], x[2]])),
    "linear solve": (
        lambda x: lax.custom_linear_solve(lambda v: A @ v, x, lambda _, b: jnp.linalg.inv(A) @ b, symmetric=True),
        lambda x: np.linalg.inv(A.astype(np.float64)) @ x,
    ),
    "checkpoint": (jax.checkpoint(lambda x: jnp.sin(x) / 3), lambda x: np.sin(x) / 3),
    "a rule": (jax.nn.silu, lambda x: x / (1 + np.exp(-x))),
}


@pytest.mark.parametrize("name", WIDENED)
def test_evaluated_in_float64(name):
    f, definition = WIDENED[name]
    (y,) = in_float64(jax.make_jaxpr(f)(X), X)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y, definition(X.astype(np.float64)), rtol=2e-7 if "0." in name else 1e-7)
    exactly = {"scan", "while", "conversion"}  # 0.7 is a number of float32
    if name not in exactly:
        np.testing.assert_allclose(y, definition(X.astype(np.float64)), rtol=1e-9)


def test_bits_are_those_of_the_type():
    (y,) = in_float64(jax.make_jaxpr(lambda x: lax.nextafter(x, np.full(3, 9, np.float32)))(X), X)
    np.testing.assert_array_equal(y.astype(np.float32), np.nextafter(X, np.float32(9)))


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, lambda f: lambda x: jax.lax.map(f, x)], ids=["", "jit", "map"])
def test_numbers_that_f_rounds_are_not_rounded_in_float64(wrap):
    """Or its values would be too coarse for differences of them."""
    x = np.linspace(0.1, 0.9, 3)
    with jax.enable_x64(True):
        traced = jax.make_jaxpr(wrap(lambda x: jnp.sin(x).astype(jnp.float32)))(x)
    np.testing.assert_allclose(in_float64(traced, x)[0], np.sin(x), rtol=1e-14)


def test_what_cannot_be_widened_is_not():
    callback = lambda x: jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)
    assert in_float64(jax.make_jaxpr(callback)(X), X) is None


def test_the_largest_finite_entry():
    assert magnitude(np.array([1.0, -3.0, inf, nan])) == 3
    assert magnitude(np.zeros(0)) == 0


# --- values as witness -----------------------------------------------------------------------------------------------

SLOPES = {
    "smooth": (lambda x: jnp.sin(x) * x, 0.5, np.cos(0.5) * 0.5 + np.sin(0.5), None),
    "kink": (jnp.abs, 0.0, -1.0, 1.0),
    "before a kink": (jnp.abs, 0.25, 1.0, None),
    "jump": (jnp.floor, 2.0, nan, nan),
}


@pytest.mark.parametrize("name", SLOPES)
@pytest.mark.parametrize("witness", ["numerical", "exact"])
def test_slopes_by_values(name, witness):
    f, x, low, high = SLOPES[name]
    s = subject(f, x)
    u, along = [np.float32(1)], [np.float32(1)]
    slope = (
        NumericalWitness(s).slope(s.inputs, u, along) if witness == "numerical" else exact_slope(s, s.inputs, u, along)
    )
    found = [float(slope.low), float(slope.high)]
    np.testing.assert_allclose(found, [low, low if high is None else high], atol=1e-6)
    assert not found[0] > found[1]
    if high is None:
        assert found[0] <= low + 1e-12
        assert found[1] >= low - 1e-12


def test_a_side_that_does_not_exist_is_not_asked():
    """At the border of its domain a function has the slope of the other side."""
    s = subject(lambda x: x * jnp.sqrt(x), 0.0)
    slope = exact_slope(s, s.inputs, [np.float32(1)], [np.float32(1)])
    assert (slope.low, slope.high) == (0, 0)


def test_the_exact_witness_is_asked_of_small_functions_only():
    wide = np.ones(5000, np.float32)
    assert exact_slope(subject(jnp.sin, wide), (wide,), [wide], [wide]) is None
    repeated = lambda x: lax.scan(lambda c, _: (jnp.sin(c), None), x, length=7)[0]
    assert operations(jax.make_jaxpr(repeated)(X)) == 21
    assert operations(jax.make_jaxpr(lambda a: a @ a)(A)) >= 27
    assert operations(jax.make_jaxpr(_halved)(X)) == inf


def test_where_a_stop_matters():
    stopped = lax.stop_gradient
    where = lambda f: list(unverifiable_entries(subject(f, X), (X,), [np.ones(3, np.float32)])[0])
    assert where(lambda x: x * stopped(x)) == [True, True, True]
    assert where(lambda x: jnp.where(x < 0, x * stopped(x), jnp.sin(x))) == [False, True, False]
    assert where(lambda x: jnp.exp(x - stopped(x.max())) * jnp.exp(stopped(x.max())) * 0 + x) == [False, False, False]
    assert where(jnp.sin) == [False, False, False]
    assert where(lambda x: jax.random.gamma(jax.random.key(0), jnp.abs(x))) == [True, True, True]
