"""`tune` chooses the faster derivative, whichever it is, keeps values and derivatives, and saves and loads choices."""

import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from jaxdl import Tuned, automatic, ops, saving, tune
from jaxdl.measure import Differentiated, Pairs
from jaxdl.tuner import search, trials
from jaxdl.tuner.tuned import Other
from tests.draws import draw
from tests.tolerance import assert_close

X = draw(0, 64, 64)


@pytest.fixture(autouse=True)
def counted_time(monkeypatch):
    """In place of the time, the operations that XLA counts: the same on a busy machine."""

    def counted(*runs, least, seconds):
        return tuple((run.func.cost_analysis()["flops"],) * least for run in runs)

    monkeypatch.setattr(search, "rounds", counted)
    monkeypatch.setattr(trials, "pairs", lambda *runs, **settings: Pairs(*counted(*runs, **settings)))


def wasteful(x):
    """The identity, after many products of matrices."""
    return jax.lax.fori_loop(0, 60, lambda _, y: 0.5 * (y + x + 0 * jnp.tanh(y @ y).sum()), x)


def op_with(name, value, pullback, primal=jnp.sin, forms=()):
    """sin, with a rule of this value and pullback, and forms."""
    operation = jaxdl.op(lambda x: primal(x))
    operation.__name__ = name

    def rule_of(value, pullback):
        return lambda x: (value(x), saving(pullback, x))

    operation.rule(rule_of(value, pullback))
    for form, (value_of_form, pullback_of_form) in forms:
        operation.form(form)(rule_of(value_of_form, pullback_of_form))
    return operation


def cosine(x, dy):
    return (jnp.cos(x) * dy,)


def slow_cosine(x, dy):
    return cosine(wasteful(x), dy)


def of_mean(operation):
    def f(x):
        return operation(x).mean()

    return f


def choice_of(tuned, name):
    return next(d.choice for d in tuned.decisions if d.name == name)


def tuned_for(f, *args, **settings):
    # Time enough for all changes, also on a loaded machine.
    return tune(f, **{"seconds": 60, "quiet": True} | settings)(*args)


SLOW_RULE = op_with("slow_rule", jnp.sin, slow_cosine)
SLOW_DEFINITION = op_with("slow_definition", jnp.sin, cosine, primal=lambda x: jnp.sin(wasteful(x)))
QUICK_FORM = op_with(
    "quick_form", jnp.sin, slow_cosine, primal=lambda x: jnp.sin(wasteful(x)), forms=[("quick", (jnp.sin, cosine))]
)


@pytest.mark.parametrize(
    ("operation", "choice"), [(SLOW_RULE, "automatic"), (SLOW_DEFINITION, "hand"), (QUICK_FORM, "quick")]
)
def test_the_faster_derivative_is_chosen(operation, choice):
    f = of_mean(operation)
    tuned = tuned_for(f, X)
    assert choice_of(tuned, operation.__name__) == choice
    assert_close(tuned(X), f(X), "float32")
    assert_close(jax.grad(tuned)(X), jnp.cos(X) / X.size, "float32")


def test_each_of_several_rules_gets_its_own_choice():
    def f(x):  # of different arguments: the compiler merges equal computations
        return (SLOW_RULE(x) * SLOW_DEFINITION(2 * x) * QUICK_FORM(3 * x)).mean()

    tuned = tuned_for(f, X)
    assert [choice_of(tuned, name) for name in ("slow_rule", "slow_definition", "quick_form")] == [
        "automatic", "hand", "quick",
    ]  # fmt: skip
    by_name = {a.name: a for a in tuned.alternatives}
    assert by_name["tuned"].ratio == 1
    assert min(by_name["hand"].ratio, by_name["automatic"].ratio) > 1
    assert_close(jax.grad(tuned)(X), jax.grad(automatic(f))(X), "float32")


def test_alternatives_are_a_column_only_where_some_were_measured(saved):
    tuned, _ = saved
    (decision,) = tuned.decisions
    table_with = lambda *others: replace(tuned, decisions=(replace(decision, alternatives=others),)).table()
    assert table_with(Other("stock", 1.5, 0)).columns == ("rule", "inputs", "line", "calls", "choice", "instead")
    assert table_with().columns == ("rule", "inputs", "line", "calls", "choice")
    assert table_with().title == "Choices"


def test_rules_under_scan_vmap_and_jit_are_chosen_too():
    def f(xs):
        step = lambda total, x: (total + jax.jit(jax.vmap(SLOW_RULE))(x).mean(), None)
        return jax.lax.scan(step, 0.0, xs)[0]

    xs = draw(1, 2, 3, 32, 32)
    tuned = tuned_for(f, xs)
    (decision,) = tuned.decisions
    assert (decision.choice, decision.count) == ("automatic", 2)
    assert "vmap over arguments 0" in decision.key
    assert not [rule for rule in jaxdl.rules(tuned, xs) if rule.name == "slow_rule"]
    assert_close(jax.grad(tuned)(xs), jax.grad(f)(xs), "float32")


def test_a_tuned_function_composes_with_transformations():
    f = of_mean(SLOW_RULE)
    small = draw(2, 3)
    tuned, plain = tuned_for(f, small), of_mean(jnp.sin)
    for transform in (
        jax.jit,
        jax.jacfwd,
        jax.hessian,
        lambda g: lambda x: jax.jvp(g, (x,), (2 * x,)),
        lambda g: lambda x: jax.vmap(jax.grad(g))(jnp.stack([x, 2 * x])),
        lambda g: lambda x: jax.grad(jax.checkpoint(g))(x),
    ):
        got, want = (jax.tree.leaves(transform(g)(small)) for g in (tuned, plain))
        for a, b in zip(got, want, strict=True):
            assert_close(a, b, "float32")
    assert "cos" in jaxdl.source(tuned, small)


def test_derivatives_that_differ_are_refused():
    """Where the automatic derivative is another one, the rule's is that of the function."""
    clipped = op_with("clipped", jnp.sin, lambda x, dy: (0.5 * slow_cosine(x, dy)[0],))
    tuned = tuned_for(of_mean(clipped), X)
    assert choice_of(tuned, "clipped") == "hand"
    (alternative,) = [a for a in tuned.alternatives if a.name == "automatic"]
    assert alternative.ratio is None
    assert "differs from the function as written by 1.0e+00" in alternative.refused
    assert alternative.refused in str(tuned)


@pytest.mark.parametrize("other", [-jnp.inf, jnp.inf, jnp.nan])
def test_so_are_other_infinities(other):
    """At 0 the definition's slope is −∞."""
    rule = lambda x, dy: (jnp.full_like(x, other) * dy,)
    operation = op_with("edge", lambda x: -jnp.sqrt(x), rule, primal=lambda x: -jnp.sqrt(x))
    tuned = tuned_for(of_mean(operation), jnp.zeros(3))
    refused = [a.refused for a in tuned.alternatives if a.name == "automatic"]
    assert ("infinities differ" in refused[0]) == (other != -jnp.inf)


def test_derivatives_that_jax_does_not_have_are_refused():
    def search(x):
        return jax.lax.while_loop(lambda y: (y < 0).all(), lambda y: y + 1, jnp.sin(x))

    needed = op_with("needed", jnp.sin, cosine, primal=search)
    tuned = tuned_for(of_mean(needed), X)
    assert choice_of(tuned, "needed") == "hand"
    assert any("cannot be differentiated" in a.refused for a in tuned.alternatives)


def test_kept_rules_stay():
    tuned = tuned_for(of_mean(SLOW_RULE), X, keep="slow_rule")
    assert choice_of(tuned, "slow_rule") == "hand"
    assert [a.name for a in tuned.alternatives] == ["tuned", "hand"]


def test_a_kept_rule_must_exist():
    with pytest.raises(ValueError, match="tune: keep has 'slow_rul', which f does not call; its rules are slow_rule"):
        tuned_for(of_mean(SLOW_RULE), X, keep="slow_rul")


def test_argnums_are_those_of_grad():
    f = lambda w, x: ops.tanh(x @ w).sum()
    w, x = draw(3, 4, 2), draw(4, 5, 4)
    assert_close(jax.grad(tuned_for(f, w, x, argnums=-1), 1)(w, x), jax.grad(f, 1)(w, x), "float32")
    with pytest.raises(ValueError, match="argnums has 2, but there are 2 positional arguments"):
        tuned_for(f, w, x, argnums=2)
    with pytest.raises(ValueError, match="no floating-point array among the arguments"):
        tuned_for(lambda w, x: (w * x).sum(), 1.0, x, argnums=0)


def test_functions_without_derivative_are_named():
    with pytest.raises(TypeError, match="no derivative in reverse mode"):
        tuned_for(lambda x: jax.lax.while_loop(lambda y: y.sum() < 9, lambda y: y + 1, x), X)
    with pytest.raises(ValueError, match="nothing to differentiate"):
        tuned_for(lambda n: n + 1, jnp.arange(3))


def test_arguments_without_reverse_mode_may_stand_beside():
    f = lambda x, t: jax.lax.while_loop(lambda y: y < t, lambda y: 2 * y, t / 8) * jnp.sin(x).sum()
    tuned = tuned_for(f, X, jnp.float32(3), argnums=0)
    assert_close(jax.grad(tuned)(X, jnp.float32(3)), 3 * jnp.cos(X), "float32")
    with pytest.raises(TypeError, match="tune: the function has no reverse mode in all floating-point arrays"):
        tuned_for(f, X, jnp.float32(3), argnums=0, max_bytes=0)


def test_values_without_numbers_are_refused():
    inside = lambda x: tuned_for(jnp.sin, x)
    for call in (lambda: jax.jit(inside)(X), lambda: jax.eval_shape(lambda x: tuned_for(lambda y: x * y, X), X)):
        with pytest.raises(TypeError, match=r"tune: measures on arrays, got .*: call tune outside of jit"):
            call()
    with pytest.raises(TypeError, match=r"got a value without numbers, ShapeDtypeStruct of type float32\[3\]"):
        inside(jax.ShapeDtypeStruct((3,), jnp.float32))


@pytest.mark.parametrize(
    "settings", [{"seconds": "3"}, {"seconds": float("nan")}, {"seconds": -1}, {"argnums": "x"}, {"argnums": 0.5}]
)
def test_wrong_settings_are_named(settings):
    (name,) = settings
    with pytest.raises((TypeError, ValueError), match=f"tune: {name} must be a .*, got"):
        tune(jnp.sin, quiet=True, **settings)(X)


# --- what is kept -----------------------------------------------------------------------------------


def layers(params, x):
    for w in params:
        x = ops.tanh(jnp.sin(x @ w))
    return (x**2).mean()


PARAMS = [draw(i, 16, 16) / 4 for i in range(6)]
BATCH = draw(9, 128, 16)


def test_a_budget_is_kept(tmp_path):
    budget = 3 * BATCH.nbytes
    tuned = tuned_for(layers, PARAMS, BATCH, argnums=0, max_bytes=budget)
    by_name = {a.name: a for a in tuned.alternatives}
    assert by_name["tuned"].stored_bytes <= budget < by_name["hand"].stored_bytes / 2
    assert Differentiated(lambda *params: tuned(params, BATCH), PARAMS).stored_bytes()[0] <= budget
    tuned.save(tmp_path / "tuned.json")
    for f in (tuned, Tuned.load(tmp_path / "tuned.json", layers)):
        for got, want in zip(jax.grad(f)(PARAMS, BATCH), jax.grad(layers)(PARAMS, BATCH), strict=True):
            assert_close(got, want, "float32")
    assert "within 24.6 kB" in str(tuned)
    other = Tuned.load(tmp_path / "tuned.json", lambda params, x: 2 * layers(params, x))
    with pytest.raises(ValueError, match=r"was tuned, but the plan is of another program: .*; tune it again"):
        other(PARAMS, BATCH)


def test_a_function_without_rules_has_no_table_of_choices():
    tuned = tuned_for(lambda x: (jnp.sin(x) ** 2).sum(), X)
    (table,) = tuned.tables()
    assert "It calls no hand-written rule, so there was no derivative to choose." in table.note


def test_impossible_budgets_are_named():
    f = lambda key, x: (jnp.sin(x) * jax.random.normal(key, x.shape)).sum()
    with pytest.raises(ValueError, match=r"tune: max_bytes=10 cannot be kept: the backward pass needs at least \d+"):
        tuned_for(f, jax.random.key(0), X, max_bytes=10)
    with pytest.raises(TypeError, match=r"tune: max_bytes must be a whole number of bytes, got 0\.5"):
        tuned_for(f, jax.random.key(0), X, max_bytes=0.5)


# --- saved choices ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("tuned") / "tuned.json"
    tuned = tuned_for(of_mean(QUICK_FORM), X)
    tuned.save(path)
    return tuned, path


def test_saved_choices_are_loaded(saved):
    tuned, path = saved
    again = Tuned.load(path, of_mean(QUICK_FORM))
    assert (again.choices, again.decisions) == (tuned.choices, tuned.decisions)
    assert str(again) == str(tuned)
    np.testing.assert_array_equal(jax.grad(again)(X), jax.grad(tuned)(X))


def test_other_arguments_are_refused_by_name(saved):
    tuned, _ = saved
    with pytest.raises(ValueError, match=r"f was tuned for types float32\[64,64\], got float32\[3\]: tune it again"):
        tuned(jnp.ones(3))


def test_another_program_is_refused_by_name(saved):
    _, path = saved
    other = Tuned.load(path, of_mean(ops.tanh))
    with pytest.raises(ValueError, match=r"f calls tanh\(.*\), which it did not call when it was tuned"):
        other(X)


@pytest.mark.parametrize(("name", "value"), [("jax", "0.1"), ("platform", "tpu"), ("device", "TPU v9")])
def test_another_setting_is_refused_by_name(saved, tmp_path, name, value):
    _, path = saved
    data = json.loads(path.read_text())
    data["setting"][name] = value
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=f"was measured with {name} {value}, here is .*: tune it again"):
        Tuned.load(changed, of_mean(QUICK_FORM))


def test_the_function_must_be_given(saved):
    with pytest.raises(TypeError, match="f must be the function that was tuned, got 3"):
        Tuned.load(saved[1], 3)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"setting": 3}'])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="does not hold a tuned function"):
        Tuned.load(path, of_mean(QUICK_FORM))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "choices",
            {"default": "unknown", "chosen": {}},
            "quick_form has .*, and not the chosen derivative 'unknown'",
        ),
        ("residuals", [1], "the plan is damaged"),
        ("max_bytes", "many", "does not hold a tuned function"),
    ],
)
def test_damaged_files_are_refused(saved, tmp_path, name, value, message):
    _, path = saved
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(ValueError, match=message):
        Tuned.load(changed, of_mean(QUICK_FORM))(X)
