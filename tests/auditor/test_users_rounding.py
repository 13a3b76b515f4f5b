"""Accuracy is judged by what users get: programs that are compiled quickly only raise the question."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from jaxdl import jaxpr as jx
from jaxdl.auditor import Verdict, array_derivatives
from jaxdl.auditor.array_derivatives import array_findings
from jaxdl.auditor.judge import Evidence, verdicts, with_users_rounding
from tests.auditor.subjects import by_rule, subject

X = np.array([0.3, -1.2, 2.5], np.float32)
cube = by_rule(lambda x: x**3, lambda x, dy: (3 * dy * x * x,))


def rough(x):
    return x * 1.01 if x.dtype == jnp.float32 else x


@pytest.fixture
def rough_programs(monkeypatch):
    """Programs that are compiled quickly lose their digits in float32."""
    quick = lambda f, *arrays: jax.jit(lambda *x: jax.tree.map(rough, f(*x)))
    monkeypatch.setattr(jx, "quick_jit", quick)


@pytest.mark.usefixtures("rough_programs")
def test_a_pointwise_rule_is_right_where_users_get_the_right_numbers():
    (audited,) = jaxdl.audit(cube, quick=True)(X).audited
    assert audited.verdict == Verdict.RIGHT
    assert audited.tally.ulp < 8


@pytest.mark.usefixtures("rough_programs")
def test_what_users_get_may_be_inaccurate():
    noisy = by_rule(lambda x: x**3, lambda x, dy: (3 * dy * x * x + (1e6 * dy + x) - 1e6 * dy - x,))
    (audited,) = jaxdl.audit(noisy, quick=True)(X).audited
    (found,) = (f for f in audited.findings if f.check == "cotangents")
    assert found.verdict == Verdict.INACCURATE
    x = jnp.asarray(found.inputs[0])
    assert float(found.got) == pytest.approx(float(jax.jit(jax.grad(noisy))(x)), rel=1e-3)


def test_arrays_are_judged_by_what_users_get(monkeypatch):
    f = lambda x: jnp.exp(x).sum()
    total = subject(f, X, hand=by_rule(f, lambda x, dy: (dy * jnp.exp(x),)))
    real = array_derivatives.evaluated

    def evaluated(jaxpr, *arrays, optimized=False):
        outputs = real(jaxpr, *arrays)
        return outputs if optimized or jaxpr is not total.steps[0] else [np.asarray(rough(y)) for y in outputs]

    monkeypatch.setattr(array_derivatives, "evaluated", evaluated)
    assert [f for f in array_findings(total) if f.verdict.is_fault] == []
    assert total.tally.ulp < 100  # a hundredth is 80,000


def test_only_what_rounding_may_have_spoilt_is_asked_for():
    got, formula, truth, room = map(np.array, ([1.0, 3.0], [1.0, 2.0], [1.0, 5.0], [0.0, 0.0]))
    evidence = Evidence(got, formula, truth, truth, room, room, np.dtype(np.float32))
    assert list(verdicts(evidence)) == [Verdict.RIGHT, Verdict.WRONG]
    assert with_users_rounding(evidence, lambda: pytest.fail("asked for")) is evidence
