"""What an op guarantees: its rule runs, only its residuals are stored, nothing else has a cost, faults are named."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from jaxdl import op, ops, saving
from tests.tolerance import assert_close


def make_dense():
    @jaxdl.op
    def affine(x, w, b):
        return x @ w + b[None]

    @affine.rule
    def affine_rule(x, w, b):
        def pullback(x, w, dy):
            return dy @ w.T, x.T @ dy, dy.sum(0)

        return x @ w + b[None], jaxdl.saving(pullback, x, w)

    return affine


def broken(rule, primal=lambda x, w: x * w):
    operation = jaxdl.op(primal)
    operation.__name__ = "scaled"
    operation.rule(rule)
    return operation


X, W = jnp.arange(3.0), jnp.ones(3)


def gradient(operation, *args):
    return jax.grad(lambda *a: operation(*a).sum(), tuple(range(len(args))))(*args)


# --- what runs and what is kept ---------------------------------------------------------------------


def counted_primitives(f, *args):
    names = [eqn.primitive.name for eqn in jax.make_jaxpr(f)(*args).jaxpr.eqns]
    return {name: names.count(name) for name in names}


def test_grad_runs_the_rule_and_nothing_of_the_primal():
    @jaxdl.op
    def f(x):
        return jnp.sin(x)

    @f.rule
    def f_rule(x):
        def pullback(kept, dy):
            return (jnp.tan(kept) * dy,)

        return jnp.sinh(x), jaxdl.saving(pullback, jnp.cosh(x))

    counted = counted_primitives(jax.grad(lambda x: f(x).sum()), X)
    assert counted["sinh"] == counted["cosh"] == counted["tan"] == 1
    assert not {"sin", "cos", "jaxdl_op", "jaxdl_linear"} & set(counted)


def test_exactly_the_residuals_are_kept():
    f = lambda x, w, b: make_dense()(jnp.tanh(x), jnp.exp(w), b)
    x, w, b = jnp.ones((4, 3)), jnp.ones((3, 2)), jnp.ones(2)
    _, pullback = jax.eval_shape(lambda *a: jax.vjp(make_dense(), *a), x, w, b)
    assert sorted(leaf.shape for leaf in jax.tree.leaves(pullback)) == [(3, 2), (4, 3)]
    assert f(x, w, b).shape == (4, 2)


def test_a_form_is_another_rule_of_the_same_definition():
    f = broken(lambda x, w: (x * w, saving(lambda x, w, dy: (w * dy, x * dy), x, w)))

    @f.form("products saved")
    def saving_the_output(x, w):
        return x * w, saving(lambda x, w, y, dy: (y * dy / x, y * dy / w), x, w, x * w)

    other = f.in_form("products saved")
    x, w = X + 1, W * 2
    for got, want in zip(gradient(other, x, w), gradient(f, x, w), strict=True):
        assert_close(got, want, "float32")
    assert "div" in counted_primitives(jax.grad(lambda x: other(x, w).sum()), x)
    assert "div" not in counted_primitives(jax.grad(lambda x: f(x, w).sum()), x)
    with pytest.raises(ValueError, match="scaled has no form 'product'; its forms are products saved"):
        f.in_form("product")
    with pytest.raises(ValueError, match="'hand' has a meaning"):
        f.form("hand")


def test_undifferentiated_evaluation_is_the_rules_output():
    f = broken(lambda x, w: (x * w + 1, jaxdl.saving(lambda dy: (dy, dy))))
    assert_close(f(X, W), X * W + 1, "float32")
    assert_close(jax.jit(f)(X, W), X * W + 1, "float32")
    assert_close(f.primal(X, W), X * W, "float32")


def flops(f, *args):
    return jax.jit(f).lower(*args).compile().cost_analysis()["flops"]


def test_cotangents_nobody_asked_for_cost_nothing():
    f = make_dense()
    args = jnp.ones((64, 32)), jnp.ones((32, 16)), jnp.ones(16)
    loss = lambda w, x, b: (f(x, w, b) ** 2).sum()
    by_hand = lambda w, x, b: (x.T @ (2 * (x @ w + b[None])), ((x @ w + b[None]) ** 2).sum())
    w, x, b = args[1], args[0], args[2]
    only_w = flops(jax.value_and_grad(loss), w, x, b)
    assert only_w <= 1.05 * flops(by_hand, w, x, b)
    assert only_w < 0.8 * flops(jax.value_and_grad(loss, (0, 1)), w, x, b)


def test_compiled_step_costs_what_custom_vjp_costs():
    f = make_dense()
    twin = jax.custom_vjp(lambda x, w, b: x @ w + b[None])
    twin.defvjp(
        lambda x, w, b: (x @ w + b[None], (x, w)),
        lambda kept, dy: (dy @ kept[1].T, kept[0].T @ dy, dy.sum(0)),
    )
    args = jnp.ones((64, 32)), jnp.ones((32, 32)), jnp.ones(32)
    step = lambda g: jax.grad(lambda x, w, b: (g(jnp.tanh(g(x, w, b)), w, b) ** 2).sum(), (0, 1, 2))
    costs = [jax.jit(step(g)).lower(*args).compile().cost_analysis() for g in (f, twin)]
    for what in ("flops", "bytes accessed"):
        assert costs[0][what] == costs[1][what]


def test_unmapped_residuals_are_kept_once_under_vmap():
    f = make_dense()
    x, w, b = jnp.ones((7, 4, 3)), jnp.ones((3, 2)), jnp.ones(2)
    _, pullback = jax.eval_shape(lambda x, w, b: jax.vjp(jax.vmap(f, (0, None, None)), x, w, b), x, w, b)
    assert sorted(leaf.shape for leaf in jax.tree.leaves(pullback)) == [(3, 2), (7, 4, 3)]


# --- arguments of all kinds ---------------------------------------------------------------------------


def test_pytrees_settings_and_integers():
    @jaxdl.op
    def pick(tables, i, *, scale=1.0):
        return {"both": scale * tables["a"][i] * tables["b"][0], "which": i}

    @pick.rule
    def pick_rule(tables, i, *, scale):
        rows = jax.typeof(tables["a"]).shape

        def pullback(a, b, i, dy):
            d = scale * dy["both"]
            da = jnp.zeros(rows).at[i].set(d * b[0])
            return {"a": da, "b": jnp.zeros_like(b).at[0].set((d * a).sum())}, None

        y = {"both": scale * tables["a"][i] * tables["b"][0], "which": i}
        return y, jaxdl.saving(pullback, tables["a"][i], tables["b"], i)

    tables = {"a": jnp.arange(6.0).reshape(3, 2), "b": jnp.array([2.0, 5.0])}
    f = lambda tables: pick(tables, jnp.array(1), scale=3.0)["both"].sum()
    for run in (jax.grad(f), jax.grad(jaxdl.automatic(f))):
        got = run(tables)
        assert_close(got["a"], [[0, 0], [6, 6], [0, 0]], "float32")
        assert_close(got["b"], [15, 0], "float32")
    assert_close(jax.jvp(f, (tables,), (tables,))[1], 2 * f(tables), "float32")


def test_ops_may_be_used_in_rules():
    @jaxdl.op
    def double_dense(x, w):
        return 2 * (x @ w)

    @double_dense.rule
    def double_dense_rule(x, w):
        def pullback(x, w, dy):
            return ops.matmul(2 * dy, w.T), ops.matmul(x.T, 2 * dy)

        return 2 * ops.matmul(x, w), jaxdl.saving(pullback, x, w)

    x, w = jnp.ones((2, 3)), jnp.arange(6.0).reshape(3, 2)
    scalar = lambda f: lambda w: (f(x, w) ** 2).sum()
    assert_close(jax.grad(scalar(double_dense))(w), jax.grad(scalar(double_dense.primal))(w), "float32")
    assert_close(jax.hessian(scalar(double_dense))(w), jax.hessian(scalar(double_dense.primal))(w), "float32")


def test_collectives_inside_an_op():
    @jaxdl.op
    def centred(x):
        return x - jax.lax.pmean(x, "batch")

    @centred.rule
    def centred_rule(x):
        def pullback(dy):
            return (dy - jax.lax.pmean(dy, "batch"),)

        return x - jax.lax.pmean(x, "batch"), jaxdl.saving(pullback)

    x = jnp.array([1.0, 2.0, 6.0])
    f = jax.vmap(centred, axis_name="batch")
    assert_close(f(x), [-2, -1, 3], "float32")
    assert_close(jax.jacrev(f)(x), jnp.eye(3) - 1 / 3, "float32")
    assert_close(jax.jacfwd(f)(x), jnp.eye(3) - 1 / 3, "float32")


def test_defining_again_replaces():
    f = broken(lambda x, w: (x * w, jaxdl.saving(lambda dy: (dy, dy))))
    assert_close(gradient(f, X, W)[0], jnp.ones(3), "float32")

    @f.rule
    def better(x, w):
        def pullback(x, w, dy):
            return w * dy, x * dy

        return x * w, jaxdl.saving(pullback, x, w)

    assert_close(gradient(f, X, 3 * W)[0], 3 * jnp.ones(3), "float32")


# --- faults -------------------------------------------------------------------------------------------

FAULTS = {
    "one cotangent too few": (
        lambda x, w: (x * w, jaxdl.saving(lambda dy: (dy,))),
        r"scaled: .*tuple of 2 cotangents, one for each argument \(x, w\), got 1",
    ),
    "no tuple": (
        lambda x, w: (x * w, jaxdl.saving(lambda dy: dy)),
        "scaled: .*tuple of 2 cotangents.*got a value of type",
    ),
    "wrong shape": (
        lambda x, w: (x * w, jaxdl.saving(lambda dy: (dy, dy.sum()))),
        r"scaled: the cotangent of w must be float32\[3\], got float32\[\]",
    ),
    "wrong dtype": (
        lambda x, w: (x * w, jaxdl.saving(lambda dy: (dy.astype(jnp.bfloat16), dy))),
        r"scaled: the cotangent of x must be float32\[3\], got bfloat16\[3\]",
    ),
    "wrong structure": (
        lambda x, w: (x * w, jaxdl.saving(lambda dy: ((dy, dy), dy))),
        "scaled: the cotangent of x must",
    ),
    "output of another shape": (
        lambda x, w: ((x * w).sum(), jaxdl.saving(lambda dy: (dy, dy))),
        r"scaled: the rule returns float32\[\], the primal float32\[3\]",
    ),
    "output of another dtype": (
        lambda x, w: ((x * w).astype(jnp.float16), jaxdl.saving(lambda dy: (dy, dy))),
        r"scaled: the rule returns float16\[3\], the primal float32\[3\]",
    ),
    "output of another structure": (
        lambda x, w: ((x, w), jaxdl.saving(lambda dy: (dy, dy))),
        "scaled: the rule returns a PyTreeDef",
    ),
    "a residual that is no array": (
        lambda x, w: (x * w, jaxdl.saving(lambda name, dy: (dy, dy), "name")),
        "scaled: residual 0 is not an array: got 'name'",
    ),
    "a residual by closure": (
        lambda x, w: (x * w, jaxdl.saving(lambda dy: (w * dy, x * dy))),
        "scaled: the pullback uses w by closure",
    ),
    "no pair": (lambda x, w: x * w, r"scaled: the rule must return a pair \(y, saving"),
    "a pullback without saving": (
        lambda x, w: (x * w, lambda dy: (dy, dy)),
        r"scaled: the rule must return a pair \(y, saving",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named_when_traced(fault):
    rule, message = FAULTS[fault]
    with pytest.raises(TypeError, match=message):
        jax.eval_shape(lambda *a: gradient(broken(rule), *a), X, W)


def test_no_rule():
    operation = jaxdl.op(lambda x: x)
    operation.__name__ = "scaled"
    with pytest.raises(TypeError, match=r"scaled has no rule: write one and mark it @scaled\.rule"):
        operation(X)


def test_a_cotangent_for_integers_is_a_fault():
    f = broken(lambda x, w: (x * w, jaxdl.saving(lambda dy: (dy, dy))), lambda x, w: x * w.astype(jnp.float32))
    f.rule(lambda x, w: (x * w.astype(jnp.float32), jaxdl.saving(lambda dy: (dy, dy))))
    with pytest.raises(TypeError, match="scaled: w has dtype int32, so the pullback must return None"):
        jax.grad(lambda x: f(x, jnp.arange(3)).sum())(X)


def slope(n):
    return (1.0 if isinstance(n, bool) else 2.0 if isinstance(n, int) else 3.0) * math.copysign(1, n)


@op
def steep(x, *, n):
    return x * slope(n)


steep.rule(lambda x, *, n: (x * slope(n), saving(lambda s, dy: (dy * s,), jnp.float32(slope(n)))))


def test_settings_that_python_takes_for_equal_are_others():
    """1, 1.0 and True; 0.0 and −0.0. Of an op of a module, whose traces are kept."""
    for n in (1, True, 1.0, 0.0, -0.0, 1):
        for f in (jax.grad(lambda x, n=n: steep(x, n=n)), jax.jit(lambda x, n=n: steep(x, n=n))):
            assert f(jnp.float32(1)) == slope(n)


def test_a_rule_that_calls_its_own_op():
    @op
    def cubed(x):
        return x**3

    @cubed.rule
    def _(x):
        return cubed(x), saving(lambda x, dy: (3 * x**2 * dy,), x)

    for f in (cubed, jax.grad(cubed), jax.jit(cubed)):
        with pytest.raises(TypeError, match=r"cubed: its rule calls cubed itself.*cubed\.primal"):
            f(jnp.float32(2))
    cubed.rule(lambda x: (cubed.primal(x), saving(lambda x, dy: (3 * x**2 * dy,), x)))
    assert jax.grad(cubed)(jnp.float32(2)) == 12


def test_settings_must_be_static():
    with pytest.raises(TypeError, match="elu: setting alpha must be static and hashable"):
        ops.elu(X, alpha=jnp.ones(3))
    with pytest.raises(TypeError, match="elu: setting alpha must be static"):
        jax.jit(lambda a: ops.elu(X, alpha=a))(1.0)


def test_arguments_must_be_arrays():
    with pytest.raises(TypeError, match="elu: positional arguments are arrays, got 'x'"):
        ops.elu("x")


def test_gradient_is_checked_by_jax_too():
    from jax.test_util import check_grads

    check_grads(make_dense(), (jnp.ones((4, 3)), jnp.ones((3, 2)), jnp.ones(2)), 2)


def test_no_tracers_leak():
    with jax.checking_leaks():
        jax.jit(jax.grad(lambda x: ops.tanh(ops.square(x)).sum()))(np.ones(3, np.float32))


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize(
    ("transform", "calls"),
    [
        (lambda f: f, 1),
        (jax.jit, 1),
        (lambda f: jax.jit(jax.grad(lambda x: f(x).sum())), 1),
        (lambda f: jax.jit(lambda x: (f(x), x)[1]), 1),  # its value is not used
        (lambda f: jax.jit(lambda x: jax.lax.scan(lambda c, _: (f(c), None), x, length=2)[0]), 2),
        (lambda f: jax.jit(lambda x: jax.lax.cond(x[0] > 0, f, lambda x: x, x)), 1),
    ],
    ids=["plain", "jit", "grad", "unused", "scan", "cond"],
)
def test_callbacks_in_an_op_are_called_as_without_it(ordered, transform, calls):
    called = []

    def noted(x):
        jax.debug.callback(lambda _: called.append("first"), x[0], ordered=ordered)
        return jnp.sin(x)

    sine = op(noted)
    sine.rule(lambda x: (noted(x), saving(lambda x, dy: (jnp.cos(x) * dy,), x)))
    jax.block_until_ready(transform(sine)(jnp.ones(3)))
    jax.effects_barrier()
    assert called == ["first"] * calls
