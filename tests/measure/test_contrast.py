"""The contrast of hand and automatic: what it finds, what it counts, what it leaves alone."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from jaxdl import contrast, ops
from jaxdl.measure import Differentiated
from jaxdl.measure.distances import differences
from jaxdl.report import error_text
from tests.symbolic_rule import product_of_fixed
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
    monkeypatch.setattr("jaxdl.measure.contrasting.pairs", lambda *a: pytest.fail("timed"))
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
    assert saved["sites"][0]["automatic"]["unneeded_bytes"] == 4 * X.size  # zeros
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


def test_nothing_to_differentiate():
    with pytest.raises(ValueError, match="no floating-point array among the arguments"):
        contrast(lambda n: n.astype(float), jnp.arange(3))
    with pytest.raises(ValueError, match="returns no floating-point array"):
        contrast(lambda x: x.argmax(), X)


def test_gains_say_what_was_measured_and_why():
    x = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
    report = jaxdl.contrast(lambda x: ops.relu(ops.max_pool(x, window=2)), x, time=False)
    rows = {row[0].split()[0]: row[1:] for row in report.gains().rows}
    gain, cause = rows["max"]
    assert re.search("takes 0 B, not .* of temporary memory", gain)
    assert cause.startswith("stores the position of each maximum in one byte")
    assert "relu" not in rows
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


@jax.custom_jvp
def beta(a, b, x):
    return jax.scipy.special.betainc(a, b, x)


beta.defjvp(lambda x, x_dot: (beta(*x), x_dot[0] + 2 * x_dot[1] + 3 * x_dot[2]))
A, B, P = jnp.float32(1.3), jnp.float32(2.3), jnp.float32(0.3)


def test_a_derivative_that_a_primitive_refuses_says_which_rule_to_keep():
    f = lambda a, b, x: ops.square(beta(a, b, x))
    with pytest.raises(TypeError, match=r"gradient with respect to a and b not supported.*contrast\(f, keep='beta'\)"):
        contrast(f, A, B, P, time=False)
    kept = contrast(f, A, B, P, time=False, keep="beta")
    assert [site.name for site in kept.sites] == ["square"]
    assert kept.whole.largest.relative < 1e-6
    of_x = contrast(lambda x: f(A, B, x), P, time=False)  # in x it has a derivative
    (of_beta,) = (site for site in of_x.sites if site.name == "beta")
    assert [d.name for d in of_beta.differences] == ["output", "cotangent of input 2"]


def test_only_some_rules():
    f = lambda x: ops.square(wrong(-3.0)(x)).sum()
    by = lambda **choice: contrast(f, X, time=False, **choice)
    assert [site.name for site in by(only="square").sites] == ["square"]
    assert by(only="square").whole.largest.relative < 1e-6
    assert by(keep=["square"]).whole.largest.relative == pytest.approx(2, rel=1e-5)
    assert [site.name for site in by(keep=lambda site: site.kind == "op").sites] == []


@pytest.mark.parametrize(("name", "choice"), [("only", "squar"), ("keep", ["square", "squar"])])
def test_a_name_that_no_rule_has_is_refused(name, choice):
    with pytest.raises(ValueError, match=f"contrast: {name} has 'squar', which f does not call; its rules are square"):
        contrast(ops.square, X, time=False, **{name: choice})


def test_a_choice_that_can_be_read_only_once_is_refused():
    with pytest.raises(TypeError, match="a choice of rules is a name, a collection of names or a predicate"):
        contrast(ops.square, X, time=False, only=iter(["square"]))


def test_a_rule_is_differentiated_with_respect_to_inputs_with_tangents():
    stopped = jax.lax.stop_gradient
    body = lambda c, a: (product_of_fixed(stopped(a) + 1, c), None)
    f = lambda x: jax.lax.scan(body, x, x)[0] * ops.square(stopped(x))
    report = contrast(f, jnp.ones(2), time=False)
    assert [d.name for d in report.sites[0].differences] == ["output", "cotangent of input 1"]
    assert [(site.name, reason) for site, reason in report.left_out] == [
        ("square", "ValueError: it is not differentiated here")
    ]
    assert "square" in report.table().note
    assert report.to_json()["left_out"][0]["name"] == "square"


@pytest.mark.parametrize("refuses", [lambda x, dy: dy.shape and dy[0] != 1, lambda x, dy: x.dtype == np.float64])
def test_what_one_column_needs_does_not_end_the_rest(refuses):
    """As solvers do that check what they find: on a cotangent that was drawn, or in another format."""

    def check(x, dy):
        if refuses(x, dy):
            raise RuntimeError("the solver found no solution")
        return np.zeros((), dy.dtype)

    @jax.custom_vjp
    def solved(x):
        return 2 * x

    def back(x, dy):
        return (2 * dy + jax.pure_callback(check, jax.ShapeDtypeStruct((), dy.dtype), x, dy),)

    solved.defvjp(lambda x: (2 * x, x), back)
    drawn = refuses(np.zeros(1, np.float32), np.zeros(1))
    report = contrast(solved, jnp.ones(3), keep="solved")
    missing = dict(report.whole.missing)
    assert all(reason == "RuntimeError: the solver found no solution" for reason in missing.values())
    assert set(missing) == ({"differences", "times"} if drawn else {"ULP, by a float64 run"})
    assert report.whole.hand.flops is not None
    if drawn:
        assert report.whole.largest is None
    else:
        assert report.whole.step.ratio > 0
        assert report.whole.largest.relative == 0
    note = report.table().note
    assert all(f"whole has no {what}: {reason}" in note for what, reason in missing.items())
    assert report.to_json()["whole"]["missing"] == missing
    report.print()


def test_errors_in_a_line():
    assert error_text(AssertionError()) == "AssertionError"
    assert error_text(ValueError("one\ntwo")) == "ValueError: one"
    inner = "INTERNAL: it failed: Traceback (most recent call last):\n  File x\n    y\npackage.OwnError: why\nmore"
    assert error_text(RuntimeError(inner)) == "package.OwnError: why"


def test_a_function_without_reverse_mode_is_refused_by_name():
    halved = lambda x: jax.lax.while_loop(lambda x: x > 1, lambda x: x / 2, x)
    with pytest.raises(TypeError, match="contrast: the function has no derivative in reverse mode, which contrast"):
        contrast(halved, jnp.float32(3.0), time=False)


@pytest.mark.parametrize("rate", [1.0, 1.01, -1.0])
def test_the_float64_run_has_the_same_random_numbers(rate):
    """In float64 jax.random would draw others, and every derivative would be as far from the run as a wrong one."""

    @jaxdl.op
    def waves(x):
        return jnp.tanh(x)

    waves.rule(lambda x: (jnp.tanh(x), jaxdl.saving(lambda x, dy: (rate * dy / jnp.cosh(x) ** 2,), x)))
    kept = lambda key: jax.random.bernoulli(key, 0.5, X.shape)
    f = lambda x, key: (jnp.where(kept(key), waves(x), 0) * jax.random.normal(key, x.shape)).sum()
    report = contrast(f, X, jax.random.key(0), time=False)
    assert not report.whole.missing
    assert all(d.automatic_ulp < 8 for d in report.whole.differences)
    assert ("DIFFER by" in report.conclusion) == (rate != 1)


def test_a_function_in_float64_is_its_own_float64_run():
    with jax.enable_x64(True):
        of = lambda factor: contrast(wrong(factor), jnp.linspace(-3.0, 3.0, 7), time=False)
        report, bad = of(3.0), of(3 + 1e-9)
    assert all(d.hand_ulp < 8 and d.automatic_ulp is None for d in report.whole.differences)
    assert not any("ULP" in row[1] for row in (*report.gains().rows, *report.losses().rows))
    assert "the results agree to" in report.conclusion or "the results are equal" in report.conclusion
    assert "DIFFER by" in bad.conclusion


def test_equal_names_in_tables_are_told_apart():
    def f(x, w, v):
        x = ops.relu(ops.dense(x, w, jnp.zeros(5)))
        x = ops.relu(ops.dense(x, w, jnp.zeros(5)))
        return ops.dense(x, v, jnp.zeros(2)).sum()

    report = contrast(f, X, jnp.ones((5, 5)), jnp.ones((5, 2)), time=False)
    names = [row[0] for row in report.table().rows]
    assert len({*names}) == len(names)
    assert "dense 8×5 → 8×2" in names
    assert {"dense 8×5 → 8×5 (1)", "dense 8×5 → 8×5 (2)"} <= {*names}


@pytest.mark.filterwarnings("error")
def test_values_at_the_end_of_the_range():
    """The unit in the last place of the largest float64, as jnp.nan_to_num has it, is finite, its next power is not."""
    largest = np.array([np.finfo(np.float64).max])
    (found,) = differences(["x"], [jnp.ones(1)], [jnp.zeros(1)], [largest])
    assert found.hand_ulp == found.automatic_ulp == pytest.approx(2.0**23, rel=1e-6)


def test_two_nan_are_no_difference():
    f = lambda x: ops.square(jnp.log(x))
    at_both = contrast(f, jnp.array([-1.0, 2.0]), time=False)
    assert at_both.whole.differences[0].absolute == 0
    assert "nan" not in at_both.conclusion
    nan, one, truth = jnp.array([jnp.nan, 2.0]), jnp.array([1.0, 2.0]), np.array([np.nan, 2.0])
    same, other = differences(["same", "other"], [nan, one], [nan, nan], [truth, truth])
    assert (same.relative, same.hand_ulp) == (0, 0)
    assert np.isnan(other.relative)
