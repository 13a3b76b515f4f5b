"""The audit: planted faults are caught with the right verdict, right rules pass, sites are found where they are."""

import json

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from benchmarks.audit_functions.faults import FAULTS
from jaxdl import ops
from jaxdl.auditor import Verdict, auditing, load_accepted
from jaxdl.testing import assert_rules
from tests.draws import draw

# One of each way to be wrong, the cheapest; `python -m benchmarks.audit` has all.
PLANTED = (
    "sine: residual held fixed", "cube: one factor held fixed", "signed_square: 2x²/|x|",
    "clip3: both sides at the bounds", "relu: slope 1 at 0", "sine: the size of ȳ", "dense: b̄ = mean ȳ",
    "exponentials: entry 1234", "dense: b̄ = ȳ, not summed", "cumulated: flipped once", "inner: ā = ȳ b",
    "rms_norm: r held fixed", "largest: all of it to each", "conv: 1d, stride 2, ȳ not spread in w̄",
    "product: ā = 0 when b is fixed", "annealed sine: a Python number as cotangent",
    "centred: the mean of the batch", "solve: A⁻¹ on the way back", "heaviside: the identity's within ±1",
)  # fmt: skip


@pytest.fixture
def one_format(monkeypatch):
    """Only the format of the arguments."""
    monkeypatch.setattr(auditing, "FORMATS", ())


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.name in PLANTED], ids=lambda f: f.name)
def test_a_planted_fault_is_caught_and_its_control_is_not(fault, one_format):
    wrong = jaxdl.audit(fault.wrong, *fault.args)
    assert wrong.verdict in fault.verdicts, wrong.findings
    right = jaxdl.audit(fault.right, *fault.args)
    assert right.faults == ()


def test_wrong_in_another_format_only():
    fault = next(f for f in FAULTS if f.name == "sine: always computed in float32")
    report = jaxdl.audit(fault.wrong, *fault.args)
    assert report.verdict in fault.verdicts
    assert all(f.check.endswith("in float64") for f in report.faults)


@jax.custom_vjp
def doubled(x):
    return 2 * x


doubled.defvjp(lambda x: (2 * x, None), lambda _, dy: (3 * dy,))


@jax.custom_jvp
def halved(x):
    return x / 2


halved.defjvps(lambda x_dot, y, x: x_dot / 2)


def everywhere(x):
    """The rules inside everything that has a body."""
    x, _ = jax.lax.scan(lambda c, _: (doubled(c), None), x, length=3)
    x = jax.lax.cond(x.sum() > 0, halved, lambda x: x, x)
    x = jax.checkpoint(lambda x: halved(doubled(x)))(x)
    return jax.lax.fori_loop(0, 2, lambda _, x: jax.vmap(halved)(x), x)


def test_sites_are_found_everywhere_and_the_same_rule_is_audited_once(one_format):
    report = jaxdl.audit(everywhere, jnp.ones(3))
    assert [(a.name, a.subject.kind) for a in report.audited] == [
        ("everywhere", "whole"), ("doubled", "custom_vjp"), ("halved", "custom_jvp"),
    ]  # fmt: skip
    whole, wrong, right = report.audited
    assert wrong.subject.count == 4
    assert whole.verdict == wrong.verdict == Verdict.WRONG
    assert right.verdict == Verdict.RIGHT
    (found,) = [f for f in wrong.findings if f.check == "cotangents"]
    assert (float(found.got), float(found.expected)) == (3.0, 2.0)


def test_the_rule_may_be_right_and_the_automatic_derivative_wrong(one_format):
    report = jaxdl.audit(ops.sigmoid, draw(0, 3))
    assert report.faults == ()
    plain = jaxdl.audit(jaxdl.automatic(ops.sigmoid), draw(0, 3))
    assert plain.verdict == Verdict.NON_FINITE  # where e⁻ˣ overflows


def test_tiny_truths_are_not_zero(one_format):
    report = jaxdl.audit(jax.nn.sigmoid, draw(0, 3))
    (found,) = [f for f in report.faults if f.check == "cotangents"]
    assert found.verdict == Verdict.INACCURATE
    assert found.ulp > 1e6
    (x,) = found.inputs
    true = 1 / (2 + 2 * np.cosh(np.float64(x)))
    assert float(found.expected) == pytest.approx(true, rel=1e-6)
    assert float(found.got) != pytest.approx(true, rel=1e-3)


def test_a_branch_not_taken_may_not_spoil_the_gradient(one_format):
    report = jaxdl.audit(lambda x: jnp.where(x > 0, jnp.sqrt(x), 0), draw(0, 3))
    assert report.verdict == Verdict.NON_FINITE


def test_a_derivative_that_is_meant_to_be_another_is_no_fault(one_format):
    rounded = lambda x: x + jax.lax.stop_gradient(jnp.round(x) - x)
    assert jaxdl.audit(rounded, draw(0, 4)).faults == ()


def test_a_stop_that_changes_nothing_does_not_blind_the_witnesses(one_format):
    """As in softmax: JAX's derivative of the plain function is that of its values."""

    @jax.custom_vjp
    def exponentials(x):
        top = jax.lax.stop_gradient(x.max())
        return jnp.exp(x - top) * jnp.exp(top)

    kept = lambda x: (exponentials(x), exponentials(x))
    exponentials.defvjp(kept, lambda y, dy: (jnp.where(y > 1, 0.9, 1) * y * dy,))
    report = jaxdl.audit(exponentials, jnp.array([-1.0, 0.5, 2.0]))
    assert report.verdict == Verdict.WRONG
    assert "exact" in report.findings[0].witnesses


@pytest.mark.parametrize(("slope", "verdict"), [(0.5, Verdict.RIGHT), (0.25, Verdict.WRONG)])
def test_without_an_automatic_derivative_values_decide(slope, verdict, one_format):
    """A while loop of unknown length has no reverse mode; the rule is held against the function's values."""

    @jax.custom_vjp
    def root(x):
        step = lambda y: 0.5 * (y + x / y)
        return jax.lax.while_loop(lambda y: jnp.abs(y * y - x).max() > 1e-6 * x.max(), step, x)

    root.defvjp(lambda x: (root(x), root(x)), lambda y, dy: (slope * dy / y,))
    report = jaxdl.audit(root, jnp.array([2.0, 3.0]))
    assert {f.verdict for f in report.faults if f.check == "cotangents"} == {verdict} - {Verdict.RIGHT}


def test_a_pullback_that_cannot_be_called(one_format):
    @jax.custom_vjp
    def f(x):
        return x * 2

    f.defvjp(lambda x: (x * 2, None), lambda _, dy: (dy[:1],))
    (found,) = jaxdl.audit(f, jnp.ones(3)).faults
    assert found.verdict == Verdict.STRUCTURE


def test_a_pullback_that_clips_large_cotangents_is_not_linear(one_format):
    clipped = jax.custom_vjp(jnp.sin)
    clipped.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (jnp.clip(dy, -100, 100) * jnp.cos(x),))
    found = jaxdl.audit(clipped, draw(1, 3)).faults
    assert {f.verdict for f in found} == {Verdict.NOT_LINEAR}
    assert all("4096 u" in f.at for f in found)


def test_what_cannot_be_run_is_not_verifiable(one_format):
    """Its rule keeps a value of the trace in which it was called: JAX cannot run what was traced."""
    scaled = jax.custom_jvp(lambda n, x: n * x, nondiff_argnums=(0,))
    scaled.defjvp(lambda n, x, x_dot: (scaled(n, *x), n * x_dot[0]))
    report = jaxdl.audit(jax.jit(lambda n, x: scaled(n + 1, x)), jnp.float32(2), jnp.ones(3))
    assert report.verdict == Verdict.NOT_VERIFIABLE
    assert repr(report) == "<audit of <lambda>: not verifiable; 2 derivatives, 0 faults>"


def test_a_flax_module_as_it_is(one_format):
    module = flax.linen.Sequential([flax.linen.Dense(3), flax.linen.relu])
    x = draw(1, 2, 3)
    variables = module.init(jax.random.key(0), x)
    report = jaxdl.audit(module.apply, variables, x)
    assert "relu" in [a.name for a in report.audited]
    assert report.faults == ()


def test_reports(one_format, tmp_path, capsys):
    report = jaxdl.audit(doubled, jnp.float32(2.0))
    kept = json.loads(json.dumps(report.to_json()))
    assert kept["audited"][0]["verdict"] == "wrong"
    assert kept["audited"][0]["findings"][0]["got"] == "3"
    exec(report.script)
    out = capsys.readouterr().out
    assert "wrong" in out
    exec(kept["audited"][0]["findings"][0]["script"])
    assert capsys.readouterr().out == "3.0\n"
    report.save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "doubled" in page
    assert "http" not in page
    assert "wrong" in str(report.table())


def test_accepted_findings(one_format, tmp_path):
    path = tmp_path / "known.toml"
    path.write_text('[[accepted]]\nrule = "doubled"\nverdict = "wrong"\nreason = "on purpose"\n')
    report = jaxdl.audit(doubled, jnp.ones(2))
    with pytest.raises(AssertionError, match="wrong: cotangents, derivative at"):
        assert_rules(doubled, jnp.ones(2))
    assert assert_rules(doubled, jnp.ones(2), accepted=path).accepted[0][1] == "on purpose"
    assert report.accepting(load_accepted(path)).verdict == Verdict.RIGHT
    for text, message in (
        ("[[accepted]]\nrule = 'f'\n", "needs rule, verdict and reason"),
        ("[[accepted]]\nrule='f'\nverdict='bad'\nreason='r'\n", "no verdict 'bad'"),
        ("[[accepted", "not a TOML file"),
        ("[[acepted]]\nrule='f'\n", "has 'acepted'; accepted findings are"),
        ("accepted = 3\n", "no list of tables"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            load_accepted(path)


def test_nothing_to_differentiate():
    with pytest.raises(ValueError, match="no floating-point array among the arguments"):
        jaxdl.audit(lambda n: n.astype(jnp.float32), jnp.arange(3))
    with pytest.raises(ValueError, match="returns no floating-point array"):
        jaxdl.audit(jnp.argmax, jnp.ones(3))


def test_constants_that_a_rule_closes_over_are_not_its_inputs(one_format):
    table = jnp.array([1.0, 2.0, 3.0])

    @jax.custom_jvp
    def weighted(x):
        return x * table

    weighted.defjvp(lambda primals, tangents: (primals[0] * table, tangents[0] * table))
    report = jaxdl.audit(weighted, jnp.ones(3))
    assert [len(a.subject.inputs) for a in report.audited] == [1]
    assert report.faults == ()
