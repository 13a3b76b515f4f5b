"""The contrast of hand and automatic: what it finds, what it counts, what it leaves alone."""

import json

import jax
import jax.numpy as jnp
import pytest

import jaxdl
from jaxdl import contrast, ops
from jaxdl.measure import Differentiated, Pairs, pairs
from tests.tolerance import tolerance

X = jnp.linspace(-2, 2, 40).reshape(8, 5)


def wrong(factor):
    @jaxdl.op
    def cubed(x):
        return x**3

    @cubed.rule
    def cubed_rule(x):
        def pullback(x, dy):
            return (factor * x * x * dy,)

        return x**3, jaxdl.saving(pullback, x)

    return cubed


def test_a_wrong_rule_shows_as_a_difference():
    report = contrast(lambda x: wrong(-3.0)(x).sum(), X, time=False)
    output, cotangent = report.whole.differences
    assert output.relative <= tolerance("float32")
    assert cotangent.relative == pytest.approx(2, rel=1e-5)
    assert not cotangent.is_noise  # though the rule has no digit right: the automatic derivative has
    assert cotangent.name == "cotangent of argument [0]"
    assert cotangent.automatic_ulp < 4 < 1e5 < cotangent.hand_ulp
    (site,) = report.sites
    assert site.name == "cubed"
    assert site.largest.relative == pytest.approx(2, rel=1e-5)


def test_a_right_rule_shows_none():
    report = contrast(lambda x: wrong(3.0)(x).sum(), X, time=False)
    assert report.whole.largest.relative <= tolerance("float32")
    assert report.whole.largest.hand_ulp < 4


def test_an_inaccurate_automatic_derivative_shows_in_ulp():
    """log(1 + eˣ) written as it stands cancels for negative x; the rule's 1/(1 + e⁻ˣ) does not."""

    @jaxdl.op
    def naive(x):
        return jnp.log(jnp.exp(x) + 1)

    @naive.rule
    def naive_rule(x):
        def pullback(x, dy):
            return (dy * ops.sigmoid(x),)

        return ops.softplus(x), jaxdl.saving(pullback, x)

    report = contrast(naive, jnp.array([-12.0, -14.0]), time=False)
    output, _ = report.whole.differences
    assert output.hand_ulp < 4
    assert output.automatic_ulp > 1e3


def test_residuals_are_counted_once_and_arguments_apart():
    def f(x, w):
        h = jnp.exp(x)  # kept by exp, and by both products below: one array
        return (ops.matmul(h, w) * ops.matmul(h, w + 1)).sum()

    counted = Differentiated(f, [X, jnp.ones((5, 3))]).cost()
    products = 2 * 8 * 3 * 4
    assert counted.residual_bytes == X.nbytes + products + 5 * 3 * 4  # h, both products, w + 1
    assert counted.argument_bytes == 5 * 3 * 4  # w


def test_costs_are_the_compilers():
    x, w = jnp.ones((64, 32)), jnp.ones((32, 16))
    cost = Differentiated(lambda x, w: x @ w, [x, w]).cost()
    product = 2 * 64 * 32 * 16
    assert 2 * product <= cost.flops <= 3.1 * product
    assert cost.compile_seconds > 0


def test_nothing_is_timed_that_was_not_asked_for(monkeypatch):
    monkeypatch.setattr("jaxdl.measure.comparison.pairs", lambda *a: pytest.fail("timed"))
    report = contrast(lambda x: ops.tanh(x).sum(), X, time=False)
    assert report.whole.forward is report.whole.backward is report.whole.step is None
    assert contrast(lambda x: ops.tanh(x).sum(), X, time=False, sites=False).sites == ()


def test_the_report_as_table_json_and_plot(tmp_path, capsys):
    report = contrast(lambda x, n: ops.relu(x).sum() * n, X, 2)
    report.print()
    assert "relu" in capsys.readouterr().out
    report.save(tmp_path / "report.json")
    saved = json.loads((tmp_path / "report.json").read_text())
    assert saved == report.to_json()
    assert saved["whole"]["step"]["pairs"] >= 9
    assert saved["sites"][0]["hand"]["residual_bytes"] == X.size  # one byte an element
    assert saved["sites"][0]["automatic"]["residual_bytes"] >= 4 * X.size
    report.plot(tmp_path / "report.png")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")


def test_parameters_in_a_pytree_are_named():
    f = lambda params, x: ops.dense(x, params["w"], params["b"]).sum()
    report = contrast(f, {"w": jnp.ones((5, 2)), "b": jnp.ones(2)}, X, time=False)
    names = [d.name for d in report.whole.differences]
    assert names == [
        "output",
        "cotangent of argument [0]['b']",
        "cotangent of argument [0]['w']",
        "cotangent of argument [1]",
    ]


def test_functions_that_insist_on_float32_have_no_float64_run():
    f = lambda x: jax.lax.dot(x, jnp.ones(3, jnp.float32)) * ops.square(jnp.float32(2.0))
    report = contrast(lambda x: f(x), jnp.ones(3), time=False)
    assert report.whole.differences[0].hand_ulp is None


def test_nothing_to_differentiate():
    with pytest.raises(ValueError, match="no floating-point array among the arguments"):
        contrast(lambda n: n.astype(float), jnp.arange(3))
    with pytest.raises(ValueError, match="returns no floating-point array"):
        contrast(lambda x: x.argmax(), X)


def test_pairs_are_called_in_turn():
    calls = []
    timed = pairs(lambda: calls.append("a"), lambda: calls.append("b"), seconds=0, least=4)
    assert len(timed.first) == len(timed.second) == 4
    assert calls[:2] == ["a", "b"]  # once each, uncounted
    assert "".join(calls[2:]) in ("abbaabba", "baabbaab")
    assert timed.spread[0] <= timed.ratio <= timed.spread[1]


def test_a_few_slow_pairs_change_no_figure():
    """Medians and quartiles, pair by pair: a machine that was busy twice in eight pairs does not show."""
    first = (2.0, 2.0, 400.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0)
    second = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 300.0, 1.0)
    timed = Pairs(first, second)
    assert (timed.ratio, timed.spread, timed.medians) == (2, (2, 2), (2, 1))
    assert list(timed.to_json("hand", "automatic").values()) == [2, 1, 2, [2, 2], 9]
    assert Pairs((1.0, 9.0, 4.0), (1.0, 3.0, 1.0)).ratio == 3  # of the ratios 1, 3, 4; that of the medians is 4
    assert Pairs((1.0, 2.0, 3.0, 4.0, 5.0), (1.0,) * 5).spread == (2, 4)


def test_gains_say_what_was_measured_and_why():
    x = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
    report = jaxdl.contrast(lambda x: ops.relu(ops.max_pool(x, window=2)), x, time=False)
    rows = {row[0].split()[0]: row[1:] for row in report.gains().rows}
    gain, cause = rows["max"]
    assert "takes 0 B, not" in gain
    assert cause.startswith("one byte a window")
    assert rows["relu"] == ("keeps 192 B, not 960 B", "of the argument only its side of the kink is kept.")
    nothing = jaxdl.contrast(lambda x: ops.add(x, x), x, time=False).gains()
    assert not nothing.rows
    assert "No rule measures better" in nothing.note


def test_what_rounding_leaves_of_zero_is_no_difference(key):
    """A bias of all scores does nothing to a softmax: its derivative is 0, and both sides have rounding instead."""
    x, w = jax.random.normal(key, (2, 40, 30))
    f = lambda bias, x, w: (ops.softmax(x + bias[:, None]) * w).sum()
    found = contrast(f, jnp.ones(40), x, w, time=False).whole
    _, noise, *others = found.differences
    assert noise.is_noise
    assert not any(d.is_noise for d in others)
    assert found.largest.relative < 1e-5
    assert noise not in found.telling
