"""Reports: what is told of findings, in which order, and how they are found again."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.auditor import Audited, AuditReport, Finding, Verdict, auditing
from jaxdl.auditor.accepted import Accepted
from tests.auditor.subjects import subject

X = np.array([0.5, 2.0], np.float32)
SUBJECT = subject(jnp.sin, X)


def finding(verdict=Verdict.WRONG, check="cotangents", **more):
    return Finding(verdict, check, "x", "at 3", "1", "2", **more)


def report(*findings, f=jnp.sin, args=(X,), kwargs=None):
    return AuditReport(f, args, kwargs or {}, (Audited(SUBJECT, ("cotangents",), findings),))


def test_faults_are_what_is_not_right_and_failures_of_the_auditor():
    faults = {v for v in Verdict if v.is_fault}
    of_rules = {"structure", "not linear", "wrong", "wrong at second order", "non-finite", "inaccurate"}
    assert faults == of_rules | {"the auditor failed"}


def test_a_finding_in_a_sentence():
    told = str(finding(ulp=1234.0, times=3, witnesses={"exact": "2.5"}))
    assert told == "wrong: cotangents, x at 3: got 1, expected 2, 1.2e+03 ULP off (and 2 more); exact: 2.5"
    assert "more" not in str(finding())


def test_inputs_are_kept_where_they_are_few():
    few, many = finding(inputs=(X,)).to_json(), finding(inputs=(np.zeros(65, np.float16),)).to_json()
    assert few["inputs"] == [{"dtype": "float32", "shape": [2], "values": ["0.5", "2"]}]
    assert many["inputs"] == [{"dtype": "float16", "shape": [65]}]


def test_the_worst_comes_first_and_is_the_verdict():
    convention, wrong = finding(Verdict.CONVENTION), finding()
    told = report(convention, wrong)
    assert told.verdict == told.audited[0].verdict == told.audited[0].verdicts["cotangents"] == Verdict.WRONG
    assert told.findings == (wrong, convention)
    assert told.faults == (wrong,)
    assert report().verdict == Verdict.RIGHT


def test_the_same_is_told_once_with_the_number_of_all():
    a, b, other = finding(times=2), finding(times=3), finding(Verdict.INACCURATE)
    first, second = auditing.merged([other, a, b])
    assert (first.verdict, first.times) == (Verdict.WRONG, 5)
    assert second.verdict == Verdict.INACCURATE


def test_another_format_tells_what_is_new():
    (audited,) = report(finding()).audited
    both = audited.with_format("float16", [finding(), finding(Verdict.NON_FINITE)])
    assert [f.check for f in both.findings] == ["cotangents", "cotangents in float16"]
    assert both.verdicts["cotangents in float16"] == Verdict.NON_FINITE


def test_a_finding_is_accepted_for_its_rule_verdict_and_check():
    known = lambda **change: Accepted(**{"rule": "f", "verdict": "wrong", "reason": "known"} | change)
    left = lambda entry: report(finding(), finding(Verdict.INACCURATE)).accepting([entry])
    assert left(known()).verdict == left(known(check="cotangents")).verdict == Verdict.INACCURATE
    assert left(known()).accepted[0][1] == "known"
    for other in (known(rule="g"), known(verdict="convention"), known(check="vmap")):
        assert left(other).verdict == Verdict.WRONG
        assert left(other).accepted == ()
    assert "known" in left(known()).html()
    assert left(known()).to_json()["accepted"][0]["reason"] == "known"


@pytest.mark.parametrize(
    ("args", "kwargs", "call"),
    [
        ((X,), {}, "jaxdl.audit(f, numpy.array([0.5, 2.0], 'float32'))"),
        ((np.zeros(9),), {"axis": 1}, "jaxdl.audit(f, args[0], axis=1)"),
        ((X,), {"b": np.zeros((3, 3))}, "jaxdl.audit(f, numpy.array([0.5, 2.0], 'float32'), b=kwargs['b'])"),
    ],
)
def test_a_line_that_runs_it_again(args, kwargs, call):
    assert report(f=lambda x: x, args=args, kwargs=kwargs).script == f"import jaxdl, numpy; {call}.print()"


def test_a_line_that_shows_a_finding():
    told = report(finding(inputs=(np.float32(0.5),)), f=doubled, args=(np.float32(0.5),))
    line = told.script_of(told.findings[0])
    assert line.startswith(f"import jax; from {__name__} import doubled; print(jax.grad(doubled)(")
    second = told.script_of(finding(check="second order", inputs=(np.float32(0.5),)))
    assert "jax.grad(jax.grad(doubled))" in second
    assert told.script_of(finding(check="vmap", inputs=(np.float32(0.5),))) == told.script


def doubled(x):
    return 2 * x
