"""Nothing wrong or non-finite is called right, nor is what nobody could judge; the auditor's own faults are its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxdl
from jaxdl import ops
from jaxdl.auditor import Verdict, auditing, checks
from jaxdl.auditor.subject import UserCodeError
from jaxdl.testing import assert_rules
from tests.auditor.subjects import by_rule, subject

X = np.array([1.0, 2.0, 0.0], np.float32)
NEW = jax.__version_info__ >= (0, 12)


@pytest.fixture(autouse=True)
def one_format(monkeypatch):
    """Only the format of the arguments."""
    monkeypatch.setattr(auditing, "FORMATS", ())


def verdicts(f, *args):
    return {x.verdict for x in jaxdl.audit(f, *args).findings}


def masked_log(x):
    return jnp.where(x > 0, jnp.log(x), 0.0)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: jax.nn.log_softmax(masked_log(x))[0],
        lambda x: jax.nn.logsumexp(masked_log(x)),
        lambda x: jax.nn.softmax(masked_log(x)),
        lambda x: jnp.exp(masked_log(x) - lax.stop_gradient(x.max())),
        lambda x: lax.stop_gradient(x) * masked_log(x),  # where the stop does matter
    ],
)
def test_a_stop_hides_no_nan(f):
    assert Verdict.NON_FINITE in verdicts(f, X)


def test_a_stop_hides_no_wrong_number_of_jax():
    """A `where` that holds the slope back at 0 alone."""

    def f(x):
        top = lax.stop_gradient(x.max())
        return jnp.exp(x - top).sum() * jnp.exp(top) + jnp.where(x == 0, 0.0, jnp.sin(x)).sum()  # its slope at 0 is 1

    found = [f for f in jaxdl.audit(f, X).faults if f.check == "cotangents"]
    assert {(f.verdict, f.at) for f in found} == {(Verdict.WRONG, "along a random direction")}


@pytest.mark.parametrize("factor", [1.0, 0.9])
def test_a_function_applied_at_indices(factor):
    """JAX has no derivative of it; the witness in float64 replaced the entries by 0."""
    f = jax.custom_jvp(lambda x: x.at[jnp.array([0, 2])].apply(jnp.sin))
    f.defjvps(lambda dx, y, x: factor * dx * jnp.where(jnp.arange(3) == 1, 1.0, jnp.cos(x)))
    assert jaxdl.audit(f, X).verdict == (Verdict.RIGHT if factor == 1 else Verdict.WRONG)


def test_a_stop_that_matters_to_one_entry_leaves_the_others_to_the_witnesses():
    def f(x, y):
        return (x + lax.stop_gradient(jnp.round(x) - x)).sum() + jnp.where(y == 0, 0.0, jnp.sin(y)).sum()

    found = [f for f in jaxdl.audit(f, X * 0.7, X).faults if f.check == "cotangents"]
    assert {(f.verdict, f.at) for f in found} == {(Verdict.WRONG, "along a random direction")}
    assert not any(v.is_fault for v in verdicts(f, X * 0.7, X + 1))


def test_three_inputs_and_round_numbers():
    lerp = lambda factor: by_rule(lambda a, b, c: a + b * c, lambda a, b, c, dy: (dy, dy * c, factor * dy * b))
    args = jnp.array([1.0, 0.0]), jnp.array([2.0, 1.0]), jnp.array([0.5, 0.25])
    assert Verdict.WRONG in verdicts(lerp(0.5), *args)
    assert verdicts(lerp(1.0), *args) == set()


def test_an_exception_of_the_auditor_is_its_own_fault(monkeypatch):
    def broken(subject):
        return list(zip([1], [1, 2], strict=True))

    monkeypatch.setitem(checks.CHECKS, "linear", broken)
    report = jaxdl.audit(jnp.sin, X)
    (found,) = report.faults
    assert (found.verdict, found.check) == (Verdict.FAILED, "linear")
    assert "test_silence.py" in found.got
    with pytest.raises(AssertionError, match="the auditor failed: linear"):
        assert_rules(jnp.sin, X)


def test_an_exception_of_the_rule_is_no_fault_of_the_auditor():
    def raising(x, dy):
        raise AssertionError

    of_rule = subject(jnp.sin, X, hand=by_rule(jnp.sin, raising))
    with pytest.raises(UserCodeError):
        checks.linear(of_rule)
    (found,) = jaxdl.audit(by_rule(jnp.sin, raising), X).faults
    assert found.verdict == Verdict.STRUCTURE
    assert "AssertionError: raised at" in found.got
    assert "test_silence.py" in found.got
    assert "(raising)" in found.got


def test_a_derivative_that_nobody_can_judge_is_not_right():
    def sine(x):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    rule = by_rule(sine, lambda x, dy: (dy * jnp.cos(x),))
    assert jaxdl.audit(rule, X).verdict == Verdict.NOT_VERIFIABLE


def test_where_float64_is_refused_the_automatic_derivative_judges():
    """`lax.reduce` with a computation of one's own works in the types only in which it was traced."""

    def greatest(x):
        return lax.reduce(x, np.float32(-np.inf), lambda a, b: jnp.where(a > b, a, b), (0,)) + jnp.sin(x).sum()

    rule = lambda factor: by_rule(lambda x: jnp.sin(x).sum(), lambda x, dy: (factor * dy * jnp.cos(x),))
    f = lambda factor: lambda x: rule(factor)(x) + lax.stop_gradient(greatest(x))
    assert Verdict.WRONG in verdicts(f(1.5), X)
    assert not any(v.is_fault for v in verdicts(f(1.0), X))


# --- borders of the domain --------------------------------------------------------------------------------------


def norm(x, eps):
    return jnp.sqrt((x * x).sum() + eps)


def norm_pulled(x, eps, dy):
    y = norm(x, eps)
    return dy * x / y, dy / (2 * y)


def test_a_border_that_the_automatic_derivative_shares_is_no_fault_of_the_rule():
    """ε = 0 is a border of the domain of √(x² + ε), and edge points are there."""
    pointwise = lambda x, eps: jnp.sqrt(x * x + eps)
    alone = by_rule(pointwise, lambda x, eps, dy: (dy * x / pointwise(x, eps), dy / (2 * pointwise(x, eps))))
    for rule, *args in ((by_rule(norm, norm_pulled), X, jnp.float32(1e-6)), (alone, X, np.full(3, 1e-6, np.float32))):
        report = jaxdl.audit(rule, *args)
        assert report.faults == ()
        assert {f.verdict for f in report.findings} == {Verdict.BORDER}
        assert not any(v.is_fault for v in verdicts(lambda *x, rule=rule: 2 * rule(*x).sum(), *args))


def test_a_rule_that_is_not_finite_where_the_automatic_derivative_is_has_a_fault():
    """x·√x has the slope 1.5 √x."""
    f = lambda x: jnp.where(x > 0, x, 0) * jnp.sqrt(jnp.where(x > 0, x, 1.0))
    rule = by_rule(f, lambda x, dy: (dy * 1.5 * x / jnp.sqrt(x),))
    assert Verdict.NON_FINITE in verdicts(rule, np.array([1.0, 2.0], np.float32))


def test_an_infinite_derivative_at_the_arguments_given_is_not_right():
    root = by_rule(jnp.sqrt, lambda x, dy: (dy / (2 * jnp.sqrt(x)),))
    assert verdicts(jnp.sqrt, X) == {Verdict.NON_FINITE}
    assert verdicts(root, X) == {Verdict.BORDER}
    assert verdicts(jnp.sqrt, X + 1) == set()


def test_a_format_that_a_library_lacks_is_left_out():
    """LAPACK has no 16-bit numbers: a linear solve is audited in those that it has."""
    matrix, b = jnp.array([[3.0, 1.0], [1.0, 2.0]]), jnp.array([1.0, 2.0])
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # or 16 bits are refused earlier
        assert jaxdl.audit(jnp.linalg.solve, matrix, b).verdict == Verdict.RIGHT


@pytest.mark.skipif(NEW, reason="from JAX 0.12 on sinc calls no rule")
def test_what_jax_itself_calls_and_is_no_derivative_by_design_accuses_nobody():
    report = jaxdl.audit(lambda x: jnp.sinc(x * x + 1), np.float32(0.3))
    assert report.verdict == Verdict.RIGHT
    assert {finding.verdict for finding, _ in report.accepted} == {Verdict.WRONG_SECOND}


def test_what_rounding_leaves_of_a_zero_accuses_nobody():
    """log_softmax of equal numbers does not move: forward and reverse mode have each their own noise."""
    quantile = lambda x: jax.scipy.special.ndtri(0.5 + 0.4 * jnp.tanh(x))
    f = lambda x: quantile(ops.log_softmax(jnp.broadcast_to(x, (3,))))
    report = jaxdl.audit(f, np.float32(-1.375))
    assert report.faults == ()
    # From JAX 0.12 on ndtri reads the bits of its argument, so that values cannot verify its derivative.
    assert report.verdict == (Verdict.NOT_VERIFIABLE if NEW else Verdict.RIGHT)


@pytest.mark.skipif(NEW, reason="from JAX 0.12 on sinc calls no rule")
def test_a_slope_of_few_digits_decides_between_two_derivatives():
    """Next to 0 the derivative of sin(x)/x loses most of its digits; at 0 the plain function is constant."""
    x, y = np.array([0.3, -1.0], np.float32), np.array([0.0, 0.2], np.float32)
    assert not jaxdl.audit(lambda x, y: (jax.nn.softplus(x) * jnp.sinc(y)).sum(), x, y, quick=True).faults
