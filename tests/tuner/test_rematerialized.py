"""`rematerialized`: values and derivatives are those of the function, and the budget is kept."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from jaxdl import automatic, rematerialized
from jaxdl import jaxpr as jx
from jaxdl.measure import Differentiated
from tests.tolerance import assert_close
from tests.tuner.functions import FUNCTIONS, dropped_out, layers, normal, scanned


def least(f, *args):
    """The fewest bytes that f can keep, by the message of the error for a smaller budget."""
    try:
        rematerialized(f, max_bytes=0).plan(*args)
        return 0
    except ValueError as error:
        return int(str(error).split("at least ")[1].split(" bytes")[0])


def budgets(f, args):
    of_arrays, arrays = in_arrays(f, args)
    automatic_bytes = Differentiated(of_arrays, arrays).stored_bytes()[0]
    fewest = least(f, *args)
    return {None, max(fewest, automatic_bytes // 2), fewest}


def in_arrays(f, args):
    leaves, tree = jax.tree.flatten(args)
    return lambda *leaves: f(*tree.unflatten(leaves)), leaves


def derivative(f, args):
    """Outputs and cotangents, compiled."""
    of_arrays, arrays = in_arrays(f, args)
    return Differentiated(of_arrays, arrays).run()


def all_close(got, want):
    got, want = jax.tree.leaves(got), jax.tree.leaves(want)
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        assert_close(g, w, w.dtype if jnp.issubdtype(w.dtype, jnp.inexact) else jnp.float32)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_are_those_of_the_function_and_the_budget_is_kept(name):
    f, args = FUNCTIONS[name]
    want = derivative(f, args)
    for max_bytes in budgets(f, args):
        g = rematerialized(f, max_bytes=max_bytes)
        all_close(derivative(g, args), want)
        of_arrays, arrays = in_arrays(g, args)
        kept = Differentiated(of_arrays, arrays).stored_bytes()[0]
        assert kept == g.plan(*args).kept_bytes
        assert max_bytes is None or kept <= max_bytes


@pytest.mark.parametrize("name", ["layers", "scanned", "branches_and_loops"])
def test_values_are_those_of_the_function(name):
    f, args = FUNCTIONS[name]
    got, want = rematerialized(f)(*args), f(*args)
    assert jax.tree.structure(got) == jax.tree.structure(want)
    all_close(got, want)


@pytest.mark.parametrize("name", ["layers", "scanned", "nested_scans"])
def test_all_transformations(name):
    f, args = FUNCTIONS[name]
    *rest, x = args if name != "scanned" else (args[0], args[2], args[1])
    f = f if name != "scanned" else (lambda w, b, x: scanned(w, x, b))
    g = rematerialized(f, max_bytes=least(f, *rest, x))
    batch, along = jnp.stack([x, -x]), jnp.ones_like(x)
    for transformed in (
        lambda f: jax.vmap(jax.grad(f))(batch),
        lambda f: jax.grad(lambda batch: jax.vmap(f)(batch).sum())(batch),
        lambda f: jax.jvp(f, (x,), (along,)),
        lambda f: jax.jvp(jax.grad(f), (x,), (along,)),
        lambda f: jax.grad(lambda x: jax.grad(f)(x).sum())(x),
        lambda f: jax.lax.scan(lambda x, _: (x - 1e-4 * jax.grad(f)(x), f(x)), x, None, length=2),
        lambda f: jax.grad(jax.checkpoint(f))(x),
    ):
        of_x = lambda f: functools.partial(f, *rest)
        all_close(jax.jit(lambda: transformed(of_x(g)))(), jax.jit(lambda: transformed(of_x(f)))())  # noqa: B023


def count(f, name, *args):
    return list(jx.primitives(jax.make_jaxpr(f)(*args))).count(name)


@pytest.mark.parametrize("name", ["dropped_out", "dropped_out_in_scan"])
def test_randomness_is_never_repeated(name):
    f, (*args, key) = FUNCTIONS[name]
    g = rematerialized(f, max_bytes=least(f, *args, key))
    assert count(jax.grad(g), "random_bits", *args, key) == count(f, "random_bits", *args, key) > 0


def test_collectives_are_never_repeated():
    def f(x):
        return (jnp.sin(jax.lax.psum(jnp.exp(x), "i")) * x).sum()

    x = normal(2, 3)
    mapped = lambda f: jax.vmap(f, axis_name="i")
    gradient = lambda f: mapped(jax.grad(f))(x)
    g = rematerialized(f, max_bytes=12)
    all_close(gradient(g), gradient(f))
    shape = jax.make_jaxpr(jax.grad(g), axis_env=[("i", 2)])(x[0])
    plain = jax.make_jaxpr(jax.grad(f), axis_env=[("i", 2)])(x[0])
    assert list(jx.primitives(shape)).count("psum") == list(jx.primitives(plain)).count("psum")
    with pytest.raises(ValueError, match="at least 12 bytes"):
        gradient(rematerialized(f, max_bytes=11))


def test_inside_shard_map_and_around_it():
    def f(w, x):
        step = lambda h, w: (jnp.sin(jnp.tanh(h @ w)), jax.lax.psum(h.sum(), "d"))
        h, sums = jax.lax.scan(step, x, w)
        return jax.lax.pmean((h**2).sum(), "d") + sums.sum()

    mesh = jax.make_mesh((2,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    over_devices = lambda f: jax.shard_map(f, mesh=mesh, in_specs=(P(), P("d")), out_specs=P())
    args = normal(3, 4, 4), normal(6, 4)
    gradient = lambda f: jax.jit(jax.grad(f, (0, 1)))(*args)
    want = gradient(over_devices(f))
    all_close(gradient(over_devices(rematerialized(f))), want)
    all_close(gradient(rematerialized(over_devices(f))), want)


def test_long_scans_keep_what_their_segments_start_from():
    step = lambda x, _: (jnp.sin(x) * x, None)
    f = lambda x: jax.lax.scan(step, x, None, length=64)[0].sum()
    x = normal(10) / 10
    assert 7 * 40 <= least(f, x) <= 9 * 40
    plain = rematerialized(f, max_bytes=64 * 40)
    assert plain.plan(x).kept_bytes == 64 * 40
    all_close(jax.grad(rematerialized(f, max_bytes=9 * 40))(x), jax.grad(f)(x))


def test_functions_without_reverse_mode_are_refused():
    f = lambda x, t: jax.lax.while_loop(lambda y: y.sum() < t, lambda y: 2 * y, jnp.sin(x)).sum()
    with pytest.raises(TypeError, match="rematerialized: the function has no reverse mode in all floating-point"):
        rematerialized(f)(normal(3), jnp.float32(5))
    stopped = rematerialized(lambda x, t: f(jax.lax.stop_gradient(x), t) * x.sum())
    assert jax.grad(stopped)(jnp.ones(3), jnp.float32(5))[0] > 0


def test_the_compiler_does_not_merge_both_passes():
    f, args = FUNCTIONS["layers"]
    runs = lambda f: jax.jit(jax.value_and_grad(f)).lower(*args).compile().as_text().count(" tanh(")
    assert runs(f) == 2
    assert runs(rematerialized(f, max_bytes=0)) == 4


def test_functions_that_close_over_traced_values():
    def loss(w, x):
        return rematerialized(lambda x: jnp.sin(jnp.tanh(x @ w) * w.sum()).sum(), max_bytes=16)(x)

    args = normal(4, 4), normal(2, 4)
    want = jax.grad(lambda w, x: jnp.sin(jnp.tanh(x @ w) * w.sum()).sum(), (0, 1))(*args)
    all_close(jax.jit(jax.grad(loss, (0, 1)))(*args), want)


def test_fixed_arguments_and_keywords():
    def f(x, power, *, name, scale):
        return {name: (jnp.sin(x) ** power * scale).sum()}

    g = rematerialized(f)
    for power in (2, 3, 2):
        x, s = normal(4), normal(4, seed=1)
        got = jax.grad(lambda x: g(x, power, name="y", scale=s)["y"])(x)  # noqa: B023
        all_close(got, jax.grad(lambda x: f(x, power, name="y", scale=s)["y"])(x))  # noqa: B023


def test_one_plan_for_equal_types():
    traced = []

    def f(x):
        traced.append(x.shape)
        return jnp.sin(x).sum()

    g = rematerialized(f)
    for x in (normal(3), normal(3, seed=1), normal(4), normal(3)):
        g(x)
    assert len(set(traced)) == 2
    once = len(traced)
    g(normal(4, seed=2))
    assert len(traced) == once


def test_a_name_that_the_function_reads_may_get_another_value():
    scale = 1.0
    g = rematerialized(lambda x: scale * jnp.sin(x).sum())
    once = g(normal(3))
    scale = 3.0
    assert_close(g(normal(3)), 3 * once, "float32")


def test_an_argument_may_change():
    settings = types.SimpleNamespace(scale=1.0)
    g = rematerialized(lambda settings, x: settings.scale * jnp.sin(x).sum())
    once = g(settings, normal(3))
    settings.scale = 3.0
    assert_close(g(settings, normal(3)), 3 * once, "float32")


def test_references_inside():
    def f(x):
        y = jax.new_ref(jnp.zeros(4))
        y[...] = jnp.sin(x)
        return (y[...] * x).sum()

    x = normal(4)
    all_close(jax.grad(rematerialized(f))(x), jnp.sin(x) + x * jnp.cos(x))


def test_functions_without_a_derivative():
    assert rematerialized(lambda i: i + 1, max_bytes=0)(jnp.int32(2)) == 3
    assert rematerialized(lambda: jnp.ones(3))().sum() == 3
    assert rematerialized(lambda i: i + 1).plan(jnp.int32(2)).kept_bytes == 0


def test_the_rule_can_be_removed():
    f, args = FUNCTIONS["layers"]
    of_arrays, arrays = in_arrays(automatic(rematerialized(f, max_bytes=0)), args)
    plain, _ = in_arrays(f, args)
    assert Differentiated(of_arrays, arrays).stored_bytes() == Differentiated(plain, arrays).stored_bytes()


@pytest.mark.parametrize("wrong", [1.5, True, "1 MB", None])
def test_budgets_are_whole_numbers(wrong):
    if wrong is None:
        assert rematerialized(layers, max_bytes=np.int64(5)).max_bytes == 5
        with pytest.raises(ValueError, match="max_bytes must be at least 0, got -1"):
            rematerialized(layers, max_bytes=-1)
    else:
        with pytest.raises(TypeError, match="max_bytes must be a whole number"):
            rematerialized(layers, max_bytes=wrong)


def test_a_budget_that_cannot_be_kept_names_the_least():
    args = FUNCTIONS["dropped_out"][1]
    fewest = least(dropped_out, *args)
    assert 0 < fewest <= 2 * 30
    assert rematerialized(dropped_out, max_bytes=fewest).plan(*args).kept_bytes == fewest
    with pytest.raises(ValueError, match=f"max_bytes={fewest - 1} cannot be kept: .*at least {fewest} bytes"):
        rematerialized(dropped_out, max_bytes=fewest - 1)(*args)
