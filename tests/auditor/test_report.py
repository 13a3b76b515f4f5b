"""Reports: findings, their order, and how to reproduce them."""

import importlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from jaxdl import jaxpr as jx
from jaxdl.auditor import Audited, AuditReport, Finding, Verdict, auditing
from jaxdl.auditor.accepted import Accepted
from jaxdl.auditor.tally import Tally
from tests.auditor.subjects import by_rule, subject

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
    text = str(finding(ulp=1234.0, times=3, witnesses={"exact": "2.5"}))
    assert text == "wrong: cotangents, x at 3: got 1, expected 2, 1.2e+03 ULP off (and 2 more); exact: 2.5"
    assert "more" not in str(finding())


def test_inputs_are_kept_where_they_are_few():
    few, many = finding(inputs=(X,)).to_json(), finding(inputs=(np.zeros(65, np.float16),)).to_json()
    assert few["inputs"] == [{"dtype": "float32", "shape": [2], "values": ["0.5", "2"]}]
    assert many["inputs"] == [{"dtype": "float16", "shape": [65]}]


def test_the_worst_comes_first_and_is_the_verdict():
    convention, wrong = finding(Verdict.CONVENTION), finding()
    made = report(convention, wrong)
    assert made.verdict == made.audited[0].verdict == made.audited[0].verdicts["cotangents"] == Verdict.WRONG
    assert made.findings == (wrong, convention)
    assert made.faults == (wrong,)
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
        ((X,), {}, "jaxdl.audit(f, numpy.array([0.5, 2.0], 'float32')).print()  # set f, the function <lambda>"),
        (
            (np.zeros(65), None),
            {"axis": 1},
            "jaxdl.audit(f, args[0], None, axis=1).print()  # set f, the function <lambda>; args[0], float64[65]",
        ),
        (
            (X,),
            {"b": {"w": np.zeros((9, 9)), "of": "mean"}},
            "jaxdl.audit(f, numpy.array([0.5, 2.0], 'float32'), b=kwargs['b']).print()"
            "  # set f, the function <lambda>; kwargs['b'], a dict of str, float64[9,9]",
        ),
    ],
    ids=["function", "positional", "keyword"],
)
def test_a_line_that_runs_it_again_says_what_to_set(args, kwargs, call):
    assert report(f=lambda x: x, args=args, kwargs=kwargs).script == f"import jaxdl, numpy; {call}"


def test_a_line_that_runs_it_again_is_not_long():
    line = report(args=(np.linspace(0, 1, 40, dtype=np.float32),)).script
    call = "from jax.numpy import sin; jaxdl.audit(sin, args[0]).print()  # set args[0], float32[40]"
    assert line == f"import jaxdl, numpy; {call}"


def test_the_error_of_what_is_right_is_not_told_of_what_is_wrong():
    tally = Tally(points=3, orders={1}, formats=["float32"])
    of = lambda *findings: Audited(SUBJECT, ("cotangents",), findings, tally).evidence
    assert of() == of(finding(Verdict.CONVENTION)) == "3 points, float32, first order, worst 0 ULP"
    assert of(finding()) == "3 points, float32, first order"


def test_how_to_accept_what_is_meant_is_told_where_it_may_be():
    assert "If it is meant so: " in report(finding()).found().note
    assert "If it is meant so: " in report(finding(Verdict.NOT_LINEAR)).found().note
    assert "If it is meant so: " not in report(finding(Verdict.NON_FINITE)).found().note


def test_a_line_that_runs_it_again_runs(monkeypatch):
    args = ({"x": np.array([1.0, np.nan], np.float32)}, jnp.ones(2, jnp.bfloat16), None, ("mean", 2.5))
    called = []
    monkeypatch.setattr(jaxdl, "audit", lambda f, *args: called.append((f, args)) or report())
    exec(report(f=doubled, args=args).script, {})
    ((f, again),) = called
    assert f is doubled
    assert jax.tree.structure(again) == jax.tree.structure(args)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(args), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
        assert getattr(a, "dtype", None) == getattr(b, "dtype", None)


def test_what_python_cannot_read_is_to_be_set():
    line = report(f=doubled, args=(jax.random.key(0), slice(2), doubled)).script
    assert "jaxdl.audit(doubled, args[0], args[1], args[2]).print()" in line
    assert line.endswith("# set args[0], key<fry>[]; args[1], a slice; args[2], the function doubled")
    assert "# set f, the function to_json" in report(f=report().to_json).script


def test_a_line_that_shows_a_finding():
    made = report(finding(inputs=(np.float32(0.5),)), f=doubled, args=(np.float32(0.5),))
    line = made.script_of(made.findings[0])
    assert line.startswith("import jax; import sys; sys.path.insert(0, ")
    assert f"; from {__name__} import doubled; print(jax.grad(doubled)(" in line
    ran = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, cwd="/", check=True)
    assert ran.stdout == "2.0\n"
    second = made.script_of(finding(check="second order", inputs=(np.float32(0.5),)))
    assert "jax.grad(jax.grad(doubled))" in second
    assert made.script_of(finding(check="vmap", inputs=(np.float32(0.5),))) == made.script


def doubled(x):
    return 2 * x


def test_a_custom_gradient_has_the_users_function_and_line(monkeypatch):
    @jax.custom_gradient
    def sine(x):
        return jnp.sin(x), lambda dy: dy * jnp.cos(x)

    monkeypatch.setattr(auditing, "FORMATS", ())
    report = jaxdl.audit(sine, jnp.float32(1))
    (alone,) = report.audited
    assert report.name == alone.name == "sine"
    assert alone.subject.where.split(" ")[0].endswith(f"test_report.py:{sine_line(report.f)}")
    _, inside = jaxdl.audit(lambda x: 2 * sine(x), jnp.float32(1)).audited
    assert inside.name == "sine"
    assert "test_report.py:" in inside.subject.where


def sine_line(f):
    return jx.users_function(f).__code__.co_firstlineno


def test_what_got_is_is_what_grad_gives(monkeypatch):
    wrong = by_rule(lambda x: jnp.sin(x).sum(), lambda x, dy: (1.5 * dy * jnp.cos(x),))
    monkeypatch.setattr(auditing, "FORMATS", ())
    x = jnp.array([0.3, -1.2, 2.5])
    found = next(f for f in jaxdl.audit(wrong, x).faults if f.at == "[0] for the arrays given")
    assert float(found.got) == pytest.approx(float(jax.grad(wrong)(x)[0]), rel=1e-6)


def test_a_tangent_that_is_not_linear_is_called_that(monkeypatch):
    bent = jax.custom_jvp(jnp.sin)
    bent.defjvps(lambda x_dot, y, x: jnp.cos(x) * x_dot * x_dot)
    monkeypatch.setattr(auditing, "FORMATS", ())
    (found,) = jaxdl.audit(bent, jnp.array([0.3, -1.2])).faults
    assert (found.verdict, found.what) == (Verdict.NOT_LINEAR, "the tangent")


def test_a_module_of_a_like_name_is_the_users(monkeypatch, tmp_path):
    (tmp_path / "my_jaxpr.py").write_text("def call(f):\n    return lambda x: f(x) + 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(auditing, "FORMATS", ())
    call = importlib.import_module("my_jaxpr").call
    _, rule = jaxdl.audit(call(by_rule(jnp.sin, lambda x, dy: (dy * jnp.cos(x),))), jnp.float32(1)).audited
    assert "my_jaxpr.py:2" in rule.subject.where
