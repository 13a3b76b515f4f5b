"""The plan: what it chooses, its table, and which functions it does not run."""

import contextlib
import itertools
import sys
import types
from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from jaxdl import jacobian, nn
from jaxdl.jacobian.jacobian_plan import NO_TIME, JacobianPlan, Way
from tests.draws import draw
from tests.tolerance import assert_close

X = draw(10, 6)
POINTS = sys.modules["jaxdl.jacobian.planning"].POINTS_AT_ONCE


def way(plan, method):
    return next(way for way in plan.ways if way.method == method)


def test_through_a_code_it_does_not_sweep_every_row(key):
    model = nn.dense_autoencoder((300,), 2, (200,))
    params = model.init(key, (300,))
    f = lambda x: model.apply(params, x[None])[0]
    plan = jacobian.plan(f, draw(0, 300))
    assert plan.best.method in ("cut", "structured")
    assert way(plan, "cut").sweeps.startswith("4 across 300 → ")
    assert way(plan, "cut").flops < way(plan, "reverse").flops / 10
    assert_close(jacobian.best(f)(draw(0, 300)), jax.jacrev(f)(draw(0, 300)), "float32", "jacobian")


def test_the_table_has_every_method_and_says_why():
    plan = jacobian.plan(lambda x: jnp.tanh(x) * x, draw(1, 50))
    first, header, *lines = (line.strip() for line in str(plan).splitlines() if line.strip(" ─"))
    assert first.startswith(f"Jacobian of 50 × 50: {plan.best.method}, ")
    assert header.split()[:2] == ["method", "sweeps"]
    assert plan.best.predicted < 1e-3  # seconds
    assert {line.split()[0].rstrip(":") for line in lines} == {way.method for way in plan.ways}
    assert "cut: no place is narrower than the input and the output" in lines


@pytest.mark.parametrize(("m", "n", "not_by"), [(300, 3, "reverse"), (3, 300, "forward")])
def test_few_sweeps_are_chosen(m, n, not_by):
    w = draw(2, m, n)
    plan = jacobian.plan(lambda x: jnp.tanh(jnp.cumsum(jnp.sin(w @ jnp.sin(x)))), draw(3, n))
    assert plan.best.method != not_by
    assert way(plan, "reverse").sweeps == f"{m} rows"
    assert way(plan, "forward").sweeps == f"{n} columns"


def test_a_function_that_may_not_end_on_random_inputs_is_not_run():
    @jax.jit
    def f(x):
        return jax.lax.while_loop(lambda y: y.sum() < 1e3, lambda y: y * 2 + 1, x)

    plan = jacobian.plan(f, jnp.ones(4))
    assert all(way.measured is None for way in plan.ways)
    assert "while_loop" in way(plan, "reverse").refused  # has no reverse mode
    assert_close(jacobian.best(f)(jnp.ones(4)), jax.jacfwd(f)(jnp.ones(4)), "float32", "jacobian")


@pytest.fixture
def each_call_takes_a_second(monkeypatch):
    ticks = types.SimpleNamespace(perf_counter=itertools.count().__next__, monotonic=lambda: 0)
    monkeypatch.setattr(sys.modules["jaxdl.jacobian.planning"], "time", ticks)


def test_options_are_those_of_jacrev_and_a_call_is_timed(each_call_takes_a_second):
    plan = jacobian.plan(lambda x, y, *, k: ((x * y**k), "aux"), draw(4, 3), draw(5, 3), k=2, argnums=1, has_aux=True)
    assert (plan.m, plan.n) == (3, 3)
    assert {way.measured for way in plan.ways} == {None, 1.0}
    assert "(measured, a jitted call)" in str(plan)


def test_in_batches_many_points_are_timed_in_a_call(each_call_takes_a_second):
    plan = jacobian.best(lambda x: jnp.sin(x[1:] * x[:-1]), batch=True).plan(X)
    assert {way.measured for way in plan.ways} == {None, 1 / POINTS}
    assert f"(measured, each of {POINTS} points in a call)" in str(plan)
    assert f"(measured, each of {POINTS} points in a call)" in str(JacobianPlan.of(plan.m, plan.n, plan.ways))


def test_small_constants_are_part_of_what_is_timed(monkeypatch):
    timed = []
    monkeypatch.setattr(
        sys.modules["jaxdl.jacobian.planning"],
        "_seconds",
        lambda way, given: timed.append([*map(jnp.shape, given)]) or 1,
    )
    small, large = draw(20, 6), draw(21, 200, 100)
    f = lambda x, y: jnp.sin(small * x * y) * jnp.sin(large).sum()
    best = jacobian.best(f)
    assert_close(best(X, X), jax.jacrev(f)(X, X), "float32", "jacobian")
    assert {*map(tuple, timed)} == {((6,), (200, 100), (6,))}
    timed.clear()
    assert jacobian.best(f, batch=True).plan(X, X).best.points == POINTS
    assert {*map(tuple, timed)} == {((POINTS, 6), (200, 100), (6,))}


def test_what_vmap_calls_is_planned_in_batches(monkeypatch):
    module, planned = sys.modules["jaxdl.jacobian.planning"], []
    monkeypatch.setattr(
        module, "_compiled", lambda f, way, points: planned.append(points) or replace(way, refused="only counted")
    )
    best = jacobian.best(lambda x: jnp.sin(x[1:] * x[:-1]))
    for call, points in ((best, 0), (jax.vmap(best), POINTS), (jax.jit(jax.vmap(best)), POINTS), (jax.jit(best), 0)):
        planned.clear()
        with contextlib.suppress(ValueError):
            call(X if points == 0 else jnp.stack([X, X]))
        assert {*planned} == {points}


@pytest.mark.parametrize(
    "f",
    [
        lambda x: jnp.diff(jnp.exp(x)),
        jnp.sin,
        lambda x: jnp.sin(x) - jnp.roll(x, 1),
        lambda x: 2 * x**3 - jnp.convolve(x, jnp.array([1.0, 0.0, 1.0]), "same"),
    ],
    ids=["differences", "elementwise", "rolled", "stencil"],
)
@pytest.mark.parametrize("n", [50, 100, 300])
def test_long_code_that_gains_nothing_is_not_compiled(monkeypatch, f, n):
    module, compiled = sys.modules["jaxdl.jacobian.planning"], []
    compile = module._compiled
    monkeypatch.setattr(
        module, "_compiled", lambda f, way, points: compiled.append(way.method) or compile(f, way, points)
    )
    plan = jacobian.plan(f, jnp.linspace(0.0, 1.0, n))
    assert "eliminate" not in compiled
    assert "sparse" in (*compiled, plan.best.method)


def test_what_takes_long_to_compile_comes_last_and_only_if_there_is_time(monkeypatch):
    module, compiled = sys.modules["jaxdl.jacobian.planning"], []
    estimated, compile = module.estimated, module._compiled

    def slow(function):
        way = estimated(function)
        return replace(way, compile_seconds=15.0, operations=0.0, predicted=0.0) if way.method == "eliminate" else way

    monkeypatch.setattr(module, "estimated", slow)
    monkeypatch.setattr(
        module, "_compiled", lambda f, way, points: compiled.append(way.method) or compile(f, way, points)
    )
    f = lambda x: jnp.sin(x[1:] * x[:-1])
    jacobian.plan(f, X, seconds=60.0)  # also on a loaded machine
    assert compiled[-1] == "eliminate"
    assert len(compiled) > 2
    plan = jacobian.plan(f, X, seconds=2.0)
    assert way(plan, "eliminate").skipped == "no time left"


def test_fewer_operations_are_worth_a_long_compilation_in_batches_only(monkeypatch):
    module, compiled = sys.modules["jaxdl.jacobian.planning"], []
    estimated, compile = module.estimated, module._compiled

    def slow(function):
        way = estimated(function)
        if way.method == "eliminate":
            return replace(way, operations=70.0, compile_seconds=300.0)
        return replace(way, operations=100.0) if way.is_usable else way

    monkeypatch.setattr(module, "estimated", slow)
    monkeypatch.setattr(
        module, "_compiled", lambda f, way, points: compiled.append(way.method) or compile(f, way, points)
    )
    f = lambda x: jnp.sin(x[1:] * x[:-1])
    plan = jacobian.best(f, batch=False, seconds=1e3).plan(X)
    assert compiled
    assert "eliminate" not in compiled
    assert way(plan, "eliminate").skipped.startswith("about 300 s to compile, for 0.7 times the operations of ")
    jacobian.best(f, batch=True, seconds=1e3).plan(X)
    assert compiled[-1] == "eliminate"


def test_the_title_says_nothing_twice_and_what_had_no_time():
    one = Way("reverse", run=len, predicted=2e-6)
    plan = lambda *others: JacobianPlan.of(3, 3, [one, *others])
    assert plan().why == "reverse; the others cannot win"
    assert plan(replace(one, method="cut", skipped=NO_TIME)).why == "reverse; no time to try cut"
    two = replace(one, method="sparse", predicted=3e-6)
    assert plan(two).why == "reverse, 1.5 times as fast as sparse (predicted)"
    three = replace(one, method="forward", predicted=4e-6)
    assert plan(two, three).why == ("reverse, 1.5 times as fast as sparse and 2 times as fast as forward (predicted)")


def test_a_refusal_names_neither_its_own_method_nor_others_to_use():
    f = lambda x: jax.scipy.linalg.expm(x.reshape(4, 4))
    refused = way(jacobian.plan(f, draw(8, 16), seconds=60.0), "eliminate").refused  # also on a loaded machine
    assert refused.startswith(("the code would have ", "more than "))
    assert "jacobian." not in refused


def test_one_sweep_is_one_column_and_no_rows_are_not_listed():
    plan = jacobian.plan(jnp.sin, X)
    assert way(plan, "sparse").sweeps == "1 column"
    assert way(jacobian.plan(lambda x: x[0] * x, X), "sparse").sweeps in ("1 column, 1 row", "2 columns")


def test_a_gradient_is_planned_at_once(monkeypatch):
    monkeypatch.setattr(sys.modules["jaxdl.jacobian.planning"], "_compiled", None)
    plan = jacobian.plan(lambda x: (jnp.sin(x) * x).sum(), jnp.ones(50))
    assert plan.best.method == "reverse"
    assert {way.skipped for way in plan.ways[1:]} == {"one reverse sweep is enough", "50 sweeps; reverse takes 1"}
    assert "sparse: one reverse sweep is enough" in str(plan)


def test_what_cannot_win_is_not_compiled_and_says_why(monkeypatch):
    module = sys.modules["jaxdl.jacobian.planning"]
    compiled, compile = [], module._compiled
    monkeypatch.setattr(
        module, "_compiled", lambda f, way, points: compiled.append(way.method) or compile(f, way, points)
    )
    w = draw(6, 400, 3)
    plan = jacobian.plan(lambda x: jnp.tanh(jnp.cumsum(jnp.sin(w @ jnp.sin(x)))), draw(7, 3))
    assert "reverse" not in compiled
    assert way(plan, "reverse").skipped == "400 sweeps; forward takes 3"
    assert plan.best.method != "reverse"


def test_without_time_the_first_usable_method_is_taken():
    f = lambda x: jnp.sin(x) * jnp.roll(x, 1)
    plan = jacobian.plan(f, X, seconds=0.0)
    assert "no time left" in {way.skipped for way in plan.ways}
    assert_close(jacobian.best(f, seconds=0.0)(X), jax.jacrev(f)(X), "float32", "jacobian")


def test_elimination_that_would_compile_for_minutes_is_refused():
    expm = jax.scipy.linalg.expm
    f = lambda a, b: expm(a) @ expm(b)
    a, b = draw(8, 4, 4), draw(9, 4, 4)
    with pytest.raises(ValueError, match="steps"):
        jacobian.eliminate(f, (0, 1), seconds=0.0).plan(a, b)
    assert way(jacobian.best(f, (0, 1)).plan(a, b), "eliminate").refused


def test_a_slow_first_call_does_not_exclude_a_method(monkeypatch):
    calls = []

    def seconds(way, inputs):
        calls.append(way.method)
        is_first = calls.count("forward") == 1
        return (1.0 if is_first else 1e-6) if way.method == "forward" else 1e-3

    monkeypatch.setattr(sys.modules["jaxdl.jacobian.planning"], "_seconds", seconds)
    assert jacobian.plan(lambda x: jnp.sin(x[1:] * x[:-1]), jnp.ones(30), seconds=1e3).best.method == "forward"
    assert {*calls} > {"forward"}
