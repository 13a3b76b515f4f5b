"""What a contrast says first, where rules gain and lose, and its further options."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from jaxdl import contrast, ops
from jaxdl.measure import Pairs, contrast_sentences
from jaxdl.measure.differentiated import Differentiated
from jaxdl.measure.distances import Difference
from tests.measure.test_contrast import wrong

X = jnp.linspace(-2, 2, 40).reshape(8, 5)


def test_zeros_that_automatic_keeps_are_counted_apart():
    counted = Differentiated(jax.nn.relu, [X]).cost()
    relu = contrast(ops.relu, X, time=False).whole
    assert relu.automatic.unneeded_bytes == 4 * X.size
    assert relu.automatic.residual_bytes == relu.hand.residual_bytes == X.size  # one byte an element
    assert counted.residual_bytes + counted.unneeded_bytes == Differentiated(jax.nn.relu, [X]).stored_bytes()[0]
    assert not contrast(ops.relu, X, time=False).gains().rows


def test_arrays_that_the_backward_pass_does_not_read_are_not_counted():
    x, w, b = jnp.ones((8, 5)), jnp.ones((5, 3)), jnp.zeros(3)
    report = contrast(ops.dense, x, w, b, argnums=(1, 2), time=False)  # w is needed for the cotangent of x only
    (site,) = report.sites
    assert site.hand.argument_bytes == site.automatic.argument_bytes == x.nbytes
    assert not report.losses().rows


def test_inputs_that_a_rule_keeps_are_named():
    report = contrast(lambda x: ops.sigmoid(x).sum(), X, time=False)
    ((_, gain, _),) = report.gains().rows
    assert gain.startswith("keeps 160 B of inputs, not 320 B")


def test_the_conclusion_is_said_first(capsys):
    right, bad = (contrast(lambda x, a=a: wrong(a)(x).sum(), X, time=False) for a in (3.0, -3.0))
    assert right.conclusion.startswith("Hand-written against automatic derivative: the results agree to ")
    assert "DIFFER by 2 of the largest entry, in the cotangent of argument [0]" in bad.conclusion
    right.print()
    said = capsys.readouterr().out
    assert " ".join(said.split()).startswith(right.conclusion)
    assert str(right).startswith(right.conclusion)
    assert right.conclusion in right._repr_html_()
    assert right.html().index(right.conclusion) < right.html().index("<table")
    assert right.to_json()["conclusion"] == right.conclusion


@pytest.mark.parametrize(
    ("hand", "said"),
    [
        (0.5, "2.0 times as fast (500 ms, not 1.0 s; 0.50×, quartiles"),
        (1.0, "the same time (1.0 s and 1.0 s; 1.00×"),
        (1.5, "1.50 times the time (1.5 s, not 1.0 s; 1.50×"),
    ],
)
def test_times_in_words(hand, said):
    noise = [1.0, 1.01, 0.99]
    assert contrast_sentences.speed(Pairs(tuple(hand * x for x in noise), (1.0,) * 3)).startswith(said)


def test_a_loss_is_told_before_a_gain_of_the_same_spread():
    """The quartiles of 400 pairs are far apart on a busy machine, and yet their median is known."""
    spread = np.random.default_rng(0).lognormal(0, 0.4, 400)
    of = lambda ratio: Pairs(tuple(ratio * spread), (1.0,) * 400)
    assert of(1.2).spread[0] < 1 < of(1.2).interval[0]
    assert contrast_sentences.speed(of(1.2)).startswith("1.18 times the time")
    assert contrast_sentences.speed(of(1 / 1.2)).startswith("no clear difference in time")
    few = Pairs((0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.3, 1.4, 1.5), (1.0,) * 9)
    assert contrast_sentences.speed(few).startswith("no clear difference in time")
    assert contrast_sentences.speed(of(1.0)).startswith("the same time")


def test_a_rule_that_differs_is_not_praised():
    wasteful = jaxdl.op(lambda x: jnp.exp(jnp.sin(x)))
    wasteful.rule(lambda x: (jnp.exp(jnp.sin(x)), jaxdl.saving(lambda x, dy: (dy,), x)))
    doubled = wrong(3.0)
    report = contrast(lambda x: wasteful(doubled(x)).sum(), X)
    faster = lambda c: replace(c, step=Pairs((0.5,) * 9, (1.0,) * 9))
    report = replace(report, whole=faster(report.whole), sites=tuple(map(faster, reversed(report.sites))))
    (of_whole, loss, *others) = report.losses().rows
    assert of_whole[0] == "whole"
    assert of_whole[1].startswith("results DIFFER by ")
    assert "in the cotangent of argument [0]" in of_whole[1]
    assert loss[1].startswith("results DIFFER by ")
    assert not any("DIFFER" in text for _, text in others)
    assert loss[0] not in [row[0] for row in report.gains().rows]
    assert report.gains().note.startswith(f"{loss[0]} is left out: its results differ.")


def test_a_difference_that_is_not_the_largest_is_told():
    """An inaccurate automatic output differs most; the cotangent is wrong all the same."""
    far, near = (
        Difference(name, 0.0, r, h, a) for name, r, h, a in [("output", 0.5, 2, 1e6), ("cotangent", 0.1, 1e6, 2)]
    )
    whole = replace(contrast(ops.relu, X, time=False).whole, differences=(far, near))
    assert contrast_sentences.differing(whole).name == "cotangent"
    assert "DIFFER by 0.1 of the largest entry, in the cotangent" in contrast_sentences.conclusion(whole, 1)


@pytest.mark.parametrize(("ulp", "said"), [(3e5, "both about as far from"), (2.0, "by hand nearer to")])
def test_a_large_difference_by_rounding_is_no_agreement(ulp, said):
    rounded = Difference("cotangent", 0.0, 0.02, ulp, 4e5)
    whole = replace(contrast(ops.relu, X, time=False).whole, differences=(rounded,))
    expected = f"the results differ by 0.02 of the largest entry, {said} a float64 run;"
    assert expected in contrast_sentences.conclusion(whole, 1)


def test_no_rule_is_worse_is_not_said_of_a_slower_whole():
    report = contrast(ops.add, X, X, time=False)
    slower = replace(report, whole=replace(report.whole, step=Pairs((1.2,) * 9, (1.0,) * 9)))
    assert slower.losses().rows == [("whole", "1.20 times the time")]
    assert "No rule by itself measures worse" in slower.losses().note


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "no hand-written rule is called here: both are the automatic derivative. Write a rule"),
        ({"keep": "relu"}, "all hand-written rules that are called here are kept"),
    ],
)
def test_a_function_without_rules_is_no_contrast(options, said):
    f = jax.nn.relu if options else jnp.sin
    report = contrast(lambda x: f(x).sum(), X, **options)
    assert report.conclusion.startswith(f"Hand-written against automatic derivative: {said}")
    assert "×" not in report.conclusion


def test_two_functions_are_compared_beside_each_other():
    with pytest.raises(TypeError, match=r"contrast: it takes one function.*beside=\{'other': g\}"):
        contrast(lambda x: ops.tanh(x), lambda x: jnp.tanh(x), X)
    assert contrast(lambda f, x: f(x), ops.tanh, X, time=False).sites


@pytest.mark.parametrize("brief", [True, False])
def test_absolute_times_stand_beside_ratios(brief):
    report = contrast(lambda x: jax.nn.relu(x).sum(), X)
    table = report.table(brief=brief)
    cell = table.rows[0][table.columns.index("step hand / auto")]
    assert re.fullmatch(r"[\d.]+ (µs|ms) / [\d.]+ (µs|ms)", cell)
    assert re.search(r"\([\d.]+ (µs|ms)(,| and)", report.conclusion)


def test_own_rules_have_no_empty_column_of_causes():
    report = contrast(jax.nn.relu, X)
    faster = [replace(site, step=Pairs((0.5,) * 9, (1.0,) * 9)) for site in report.sites]
    assert replace(report, sites=tuple(faster)).gains().columns == ("function", "gain")
    assert contrast(lambda x: ops.sigmoid(x).sum(), X, time=False).gains().columns == ("function", "gain", "cause")


def test_memory_is_said_first_where_time_is_the_same():
    whole = contrast(lambda x: ops.sigmoid(x * x).sum(), X, time=False).whole
    in_time = lambda ratio: replace(whole, step=Pairs((ratio, 0.99 * ratio, 1.01 * ratio), (1.0,) * 3))
    order = lambda w: [contrast_sentences.conclusion(w, 1).index(word) for word in ("are kept for", "×, quartiles")]
    assert whole.hand.residual_bytes < 0.6 * whole.automatic.residual_bytes
    assert order(in_time(1.0)) == sorted(order(in_time(1.0)))
    for ratio in (0.5, 1.5):
        assert order(in_time(ratio)) == sorted(order(in_time(ratio)), reverse=True)


def test_a_few_bytes_of_a_large_function_are_not_listed():
    rule = lambda x: ops.sigmoid(x * x).sum()
    beside = lambda size: contrast(lambda x, y: rule(x) + jnp.exp(jnp.exp(y)).sum(), X, jnp.ones(size), time=False)
    assert contrast(rule, X, time=False).gains().rows
    assert beside(400).gains().rows
    assert not beside(40_000).gains().rows


def test_where_rules_lose_is_a_list_of_its_own():
    @jaxdl.op
    def cubed(x):
        return x * x * x

    @cubed.rule
    def cubed_rule(x):
        wasted = jnp.sin(x), jnp.cos(x), jnp.tan(x), x + 1, jnp.exp(x)
        return cubed.primal(x), jaxdl.saving(lambda x, s, dy: (3 * x * x * dy + 0 * sum(s),), x, wasted)

    report = contrast(lambda x: cubed(x).sum(), X, time=False)
    ((name, loss),) = report.losses().rows
    assert name == "cubed 8×5"
    assert loss.startswith("keeps 800 B, not 160 B")  # beside x, which automatic keeps too
    assert report.losses() in report.tables()
    assert "No rule measures worse" in contrast(ops.add, X, X, time=False).losses().note


def test_a_rule_that_is_slower_than_stock_is_listed():
    report = contrast(ops.relu, X)
    (relu,) = report.sites
    pairs = lambda ratio: Pairs((ratio,) * 9, (1.0,) * 9)
    stock = replace(relu.beside["stock"], step=pairs(0.5))
    slower = replace(relu, step=pairs(0.9), beside={"stock": stock})
    assert contrast_sentences.losses(slower, report.whole)[0] == "1.80 times the time of stock"
    assert contrast_sentences.gains(slower, report.whole)[0] == "1.1 times as fast"


def test_frozen_arguments_are_not_differentiated():
    f = lambda w, x: ops.dense(ops.dense(x, w, jnp.zeros(5)), jnp.ones((5, 2)), jnp.zeros(2)).sum()
    w = jnp.ones((5, 5))
    frozen = contrast(f, w, X, argnums=1, time=False)
    assert [d.name for d in frozen.whole.differences] == ["output", "cotangent of argument [1]"]
    (site, *_) = frozen.sites
    assert [d.name for d in site.differences] == ["output", "cotangent of input 0"]
    with pytest.raises(ValueError, match="contrast: argnums has 2, but there are 2 positional arguments"):
        contrast(f, w, X, argnums=2, time=False)


def test_second_order():
    bad = wrong(3.0)
    f = lambda x: bad(x).sum()
    report = contrast(f, X, order=2, time=False)
    names = [d.name for d in report.whole.differences]
    assert names == ["gradient of argument [0]", "second cotangent of argument [0]"]
    assert report.whole.largest.relative < 1e-5
    assert not report.whole.missing
    assert all(d.automatic_ulp < 8 for d in report.whole.differences)
    assert "against automatic second derivative" in report.conclusion

    @jaxdl.op
    def squared(x):
        return x * x

    @squared.rule
    def squared_rule(x):
        return x * x, jaxdl.saving(lambda x, dy: (2 * jax.lax.stop_gradient(x) * dy,), x)

    of = lambda order: contrast(lambda x: squared(x).sum(), X, order=order, time=False, sites=False)
    assert not contrast_sentences.differing(of(1).whole)
    assert contrast_sentences.differing(of(2).whole)  # a rule that is right, and whose derivative is 0
    with pytest.raises(ValueError, match="contrast: order must be 1, the gradient, or 2, its derivative; got 3"):
        contrast(f, X, order=3)


def test_memory_of_the_whole_step():
    x = jnp.ones((64, 64))
    report = contrast(lambda x: ops.tanh(x @ x).sum(), x, time=False)
    assert report.whole.hand.step_bytes >= 2 * x.nbytes  # the argument and its cotangent
    assert any(column.startswith("whole step hand / auto") for column in report.table().columns)
