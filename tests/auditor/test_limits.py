"""What an audit rests on, and what it leaves out: evidence, the quick level, a limit of time, an interruption."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from benchmarks.audit_functions.faults import FAULTS
from jaxdl.auditor import Interrupted, Verdict, auditing, limits
from jaxdl.auditor.findings import MEANINGS
from jaxdl.auditor.tally import Tally
from tests.auditor.subjects import by_rule

X = jnp.array([0.3, -1.2, 2.5])
QUICKLY = "structure", "derivative", "linear", "alone"
cube = by_rule(lambda x: x**3, lambda x, dy: (3 * dy * x * x,))
total = by_rule(lambda x: jnp.exp(x).sum(), lambda x, dy: (dy * jnp.exp(x),))


@pytest.mark.parametrize("f", [cube, total], ids=["pointwise", "of arrays"])
def test_right_says_what_it_rests_on(f):
    (audited,) = jaxdl.audit(f, X).audited
    seen = audited.tally
    assert audited.verdict == Verdict.RIGHT
    assert seen.points >= 8
    assert seen.orders == {1, 2}
    assert sorted(seen.formats) == ["bfloat16", "float16", "float32", "float64"]
    assert 0 < seen.ulp < 8
    assert seen.left_out == []


def test_the_worst_error_is_in_units_of_the_last_place():
    tally, eps = Tally(), float(np.finfo(np.float32).eps)
    tally.add(1, [1 + 3 * eps, np.nan], [1.0, 1.0], [1.0, 1.0], np.float32)
    tally.add(2, [1.5], [1.0], [1.0], np.float32)
    assert tally.ulp == pytest.approx(3)
    assert tally.orders == {1, 2}
    assert str(Tally(left_out=["vmap"])) == "left out: vmap"


def test_the_quick_level_says_what_it_leaves_out_and_still_finds_faults():
    (audited,) = jaxdl.audit(cube, quick=True)(X).audited
    assert audited.tally.left_out == ["adjoint", "vmap", "jit", "cost", "other formats"]
    assert audited.tally.formats == ["float32"]
    wrong = by_rule(lambda x: x**3, lambda x, dy: (2 * dy * x * x,))
    assert jaxdl.audit(wrong, quick=True)(X).verdict == Verdict.WRONG


def test_the_quick_level_finds_a_forgotten_cotangent():
    forgetful = by_rule(lambda x: x**3, lambda x, dy: (3 * x * x,))
    assert jaxdl.audit(forgetful, quick=True)(X).verdict == Verdict.NOT_LINEAR
    assert jaxdl.audit(lambda x: forgetful(x).sum(), quick=True)(X).verdict == Verdict.NOT_LINEAR


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.kind == "symbolic zeros"], ids=str)
def test_the_quick_level_differentiates_in_single_inputs(fault):
    assert jaxdl.audit(fault.wrong, quick=True)(*fault.args).verdict == Verdict.WRONG


def test_without_time_nothing_is_right():
    report = jaxdl.audit(lambda x: cube(x).sum(), seconds=1e-9)(X)
    assert [a.verdict for a in report.audited] == [Verdict.LEFT_OUT] * 2
    with limits(1e-9):
        assert jaxdl.audit(cube, X).verdict == Verdict.LEFT_OUT
    with pytest.raises(ValueError, match="seconds must be positive"):
        jaxdl.audit(cube, seconds=0)(X)


def test_time_that_ends_leaves_out_the_rest(monkeypatch):
    answers = iter([False, False])
    monkeypatch.setattr(auditing, "is_time_up", lambda: next(answers, True))
    (audited,) = jaxdl.audit(cube, X).audited
    assert audited.verdict == Verdict.RIGHT
    assert "linear" in audited.checks
    assert audited.tally.left_out[:2] == ["adjoint", "vmap"]
    assert {"float16", "bfloat16", "float64"} <= {*audited.tally.left_out}


def test_an_interruption_carries_what_was_audited(monkeypatch):
    def check(subject, quick):
        if subject.is_whole:
            raise KeyboardInterrupt
        return real(subject, quick)

    real = auditing.audit_subject
    monkeypatch.setattr(auditing, "audit_subject", check)
    with pytest.raises(Interrupted) as stopped:
        jaxdl.audit(lambda x: cube(x).sum(), X)
    whole, rule = stopped.value.report.audited
    assert (whole.verdict, rule.verdict) == (Verdict.LEFT_OUT, Verdict.RIGHT)


def test_who_watches_hears_what_is_audited():
    heard = []
    with limits(watch=lambda *told: heard.append(told)):
        jaxdl.audit(lambda x: cube(x).sum(), quick=True)(X)
    names = [f"{name}: {check}" for name in ("<lambda>", "<lambda>") for check in QUICKLY]
    assert heard == [(name, done, 8) for done, name in enumerate(names)]


def test_there_is_one_legend():
    assert list(MEANINGS) == list(Verdict)
    report = jaxdl.audit(jax.nn.relu, quick=True)(X)
    assert f"convention: {Verdict.CONVENTION.meaning}." in report.table().note
    assert Verdict.CONVENTION.meaning in report.html()


def test_references_from_outside_are_refused():
    kept = jax.new_ref(jnp.zeros(4))
    noting = jax.custom_vjp(lambda ref, x: x)
    noting.defvjp(lambda ref, x: (x, ref), lambda ref, dy: (ref.__setitem__(..., dy), (None, dy))[1])
    with pytest.raises(ValueError, match=r"audit: f uses a reference from outside .* pass its value"):
        jaxdl.audit(lambda x: noting(kept, jnp.sin(x)), jnp.ones(4))
    with pytest.raises(ValueError, match="from outside"):
        jaxdl.audit(lambda x, ref: jnp.sin(x) * ref[...], jnp.ones(4), kept)


def test_a_format_that_lapack_lacks_is_left_out():
    logdet = by_rule(lambda x: jnp.linalg.slogdet(x)[1], lambda x, dy: (dy * jnp.linalg.inv(x).T,))
    (audited,) = jaxdl.audit(logdet, jnp.array([[2.0, 0.3], [0.3, 1.5]])).audited
    assert audited.verdict == Verdict.RIGHT
    assert audited.tally.formats == ["float32", "float64"]
    assert audited.tally.left_out == ["float16", "bfloat16"]
