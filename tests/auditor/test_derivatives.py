"""Derivatives along points and along arrays: a rule that is wrong in one place is found there, and only there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from jaxdl import ops
from jaxdl.auditor import Verdict, array_derivatives, pointwise_derivatives
from tests.auditor.subjects import by_rule, subject

X = np.array([0.3, -1.2, 2.5], np.float32)
Y = np.array([1.5, 0.4, -0.7], np.float32)


def at_edges(f, pullback=None, *inputs):
    inputs = inputs or (X,)
    return pointwise_derivatives.pointwise_findings(
        subject(f, *inputs, hand=by_rule(f, pullback) if pullback else None)
    )


def verdicts(findings):
    return {(f.verdict, f.check, f.what) for f in findings}


def test_nothing_is_found_of_what_is_right():
    assert at_edges(jnp.sin, lambda x, dy: (jnp.cos(x) * dy,)) == []
    assert at_edges(lambda x: jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1)), x)) == []


def test_a_tie_away_from_0_has_no_room():
    """Rounding moves the slope of max(x, 2) from 0 to 1; that is no excuse for 1.5."""
    slope = lambda x, dy: (jnp.where(x == 2, 1.5, jnp.where(x > 2, 1.0, 0.0)) * dy,)
    (found,) = [f for f in at_edges(lambda x: jnp.maximum(x, 2.0), slope) if f.verdict.is_fault]
    assert (found.verdict, found.at, found.got) == (Verdict.WRONG, "at 2", "1.5")
    assert found.expected == "between 0 and 1"


def test_where_the_second_derivative_jumps_it_is_not_judged():
    assert [f for f in at_edges(lambda x: x * jnp.abs(x)) if f.verdict.is_fault] == []


def test_the_second_derivative_alone():
    fixed = lambda x, dy: (jax.lax.stop_gradient(jnp.cos(x)) * dy,)
    assert verdicts(at_edges(jnp.sin, fixed)) == {(Verdict.WRONG_SECOND, "second order", "second derivative")}


def test_the_value_alone():
    hand = jax.custom_vjp(lambda x: jnp.sin(x) * jnp.where(x > 5, 1.5, 1))
    hand.defvjp(lambda x: (hand(x), x), lambda x, dy: (jnp.cos(x) * dy,))
    found = pointwise_derivatives.pointwise_findings(subject(jnp.sin, X, hand=hand))
    assert verdicts(found) == {(Verdict.WRONG, "value", "output 0")}


def test_the_second_input_and_the_second_output():
    found = at_edges(lambda x, y: x * y, lambda x, y, dy: (dy * y, 1.5 * dy * x), X, Y)
    first = {entry for entry in verdicts(found) if entry[1] == "cotangents"}
    assert first == {(Verdict.WRONG, "cotangents", "∂ output 0 / ∂ input 1")}
    two = lambda x: (jnp.sin(x), x * x)
    found = at_edges(two, lambda x, dy: (jnp.cos(x) * dy[0] + 3 * x * dy[1],))
    assert verdicts(found) == {(Verdict.WRONG, "cotangents", "∂ output 1 / ∂ input 0")}


SPECIAL = {
    "zeros": lambda x: (x == 0).all(),
    "equal numbers": lambda x: (x == x[0, 0]).all() & (x[0, 0] != 0),
    "a row of zeros": lambda x: (x[0] == 0).all() & (x[1] != 0).any(),
    "repeated numbers": lambda x: (x * 2 == jnp.round(x * 2)).all() & (x != x[0, 0]).any(),
    "their negative": lambda x: x[0, 0] < 0,
    "30 times as large": lambda x: (jnp.abs(x).max() > 30) & (jnp.abs(x).max() < 100),
    "1000 times as large": lambda x: jnp.abs(x).max() > 1000,
    "a thousandth": lambda x: (jnp.abs(x).max() < 0.01) & (x != 0).all(),
}


@pytest.mark.parametrize("point", SPECIAL)
def test_a_rule_wrong_for_special_arrays_only(point):
    f = lambda x: (x * x + x).sum()
    slope = lambda x, dy: ((2 * x + 1) * dy * jnp.where(SPECIAL[point](x), 1.5, 1.0),)
    arrays = np.sin(np.arange(1, 7, dtype=np.float32)).reshape(2, 3) * np.float32(2.7)
    found = array_derivatives.array_findings(subject(f, arrays, hand=by_rule(f, slope)))
    assert {f.verdict for f in found} == {Verdict.WRONG}
    assert {f.at.split("for ")[1] for f in found} == {point}


def test_entries_of_complex_arrays():
    """The witness knows JAX's pairing, without conjugation."""
    z = (X + 1j * Y).astype(np.complex64)
    f = lambda z: (z * z).sum()
    assert array_derivatives.array_findings(subject(f, z, hand=by_rule(f, lambda z, dy: (2 * z * dy,)))) == []
    found = array_derivatives.array_findings(subject(f, z, hand=by_rule(f, lambda z, dy: (2 * jnp.conj(z) * dy,))))
    of_entries = [f for f in found if f.at.endswith("for the arrays given") and f.what == "cotangent of input 0"]
    assert {f.verdict for f in of_entries} == {Verdict.WRONG}
    assert all(float(f.expected) == pytest.approx(float(f.witnesses["automatic"]), rel=1e-5) for f in of_entries)


def test_a_kink_in_an_array_is_a_convention():
    f = lambda x: jnp.max(x)
    first = lambda x, dy: (dy * jax.nn.one_hot(jnp.argmax(x), len(x), dtype=x.dtype),)
    found = array_derivatives.array_findings(subject(f, X, hand=by_rule(f, first)))
    assert {f.verdict for f in found} <= {Verdict.CONVENTION}
    both = lambda x, dy: (dy * (x == jnp.max(x)).astype(x.dtype),)  # all of it to each
    found = array_derivatives.array_findings(subject(f, X, hand=by_rule(f, both)))
    assert Verdict.WRONG in {f.verdict for f in found}


@pytest.mark.parametrize("logits", [[0.0, -40.0], [0.0, 15.0, 0.0], [25.0, 0.0, 0.0]], ids=str)
@pytest.mark.parametrize(
    "loss",
    [
        ops.softmax_cross_entropy_with_integer_labels,
        lambda z, label: jax.nn.logsumexp(z) - z[label],
        lambda z, label: jnp.log1p(jnp.exp(z - z[label]).sum() - 1),
    ],
    ids=["op", "difference", "log1p"],
)
def test_a_loss_near_zero_has_no_fault_where_float64_leaves_no_digit(loss, logits):
    """log(1 + e⁻⁴⁰) is 4e-18, and 0 in float64 if it is the difference of large numbers."""
    found = jaxdl.audit(loss, jnp.array(logits), jnp.array(int(np.argmax(logits)))).faults
    assert [f for f in found if f.verdict == Verdict.WRONG] == []
