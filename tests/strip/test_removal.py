"""`automatic(f)` removes rules everywhere, keeps everything else, and costs nothing."""

import jax
import jax.numpy as jnp
import pytest
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jaxdl import automatic, ops, rules
from jaxdl import jaxpr as jx
from tests.strip.liars import CONTEXTS, LIARS, X, lying_jvp, lying_vjp
from tests.tolerance import assert_close


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("kind", LIARS)
def test_rules_are_taken_out_everywhere(kind, context):
    f = CONTEXTS[context](LIARS[kind])
    honest, lying = automatic(f), f
    assert_close(honest(X), jnp.sin(X), "float32", "value")
    assert_close(jax.grad(lambda x: honest(x).sum())(X), jnp.cos(X), "float32", "gradient")
    assert_close(jax.jit(jax.grad(lambda x: honest(x).sum()))(X), jnp.cos(X), "float32", "jit")
    assert_close(jax.jvp(honest, (X,), (X,))[1], jnp.cos(X) * X, "float32", "tangent")
    assert_close(jax.jacfwd(jax.jacrev(lambda x: honest(x).sum()))(X), jnp.diag(-jnp.sin(X)), "float32", "hessian")
    assert rules(honest, X) == []
    assert (jax.grad(lambda x: lying(x).sum())(X) > 40).all()


def test_while_loops_lose_their_rules_too():
    f = lambda x: jax.lax.while_loop(lambda c: c[1] < 1, lambda c: (lying_jvp(c[0]), c[1] + 1), (x, 0))[0]
    assert_close(jax.jvp(automatic(f), (X,), (X,))[1], jnp.cos(X) * X, "float32")


def test_a_rule_that_is_kept_may_write_into_a_reference():
    def pullback(ref, dy):
        ref[...] = dy
        return None, dy

    gradient, seen = jax.new_ref(jnp.zeros(2)), jax.custom_vjp(lambda ref, x: x)
    seen.defvjp(lambda ref, x: (x, ref), pullback)
    f = automatic(lambda x: (seen(gradient, lying_jvp(x)) * X).sum(), only="lying_jvp")
    assert_close(jax.grad(f)(X), X * jnp.cos(X), "float32")
    assert_close(gradient[...], X, "float32", "written")


def test_only_and_keep():
    f = lambda x: LIARS["op"](lying_vjp(x)).sum()
    truth = jnp.cos(jnp.sin(X)) * jnp.cos(X)
    both = 100 * 100 * jnp.ones(2)
    gradients = {
        "both out": (automatic(f), truth),
        "only the op": (automatic(f, only="liar"), 100 * jnp.cos(jnp.sin(X))),
        "only, as a list": (automatic(f, only=["liar", "lying_vjp"]), truth),
        "keep the op": (automatic(f, keep="liar"), 100 * jnp.cos(X)),
        "keep all": (automatic(f, keep=["liar", "lying_vjp"]), both),
        "by predicate": (automatic(f, only=lambda site: site.kind == "custom_vjp"), 100 * jnp.cos(X)),
    }
    for name, (g, expected) in gradients.items():
        assert_close(jax.grad(g)(X), expected, "float32", name)


def test_costs_nothing_once_compiled():
    plain = lambda x: jnp.sin(x) * 2
    with_rule = automatic(lambda x: LIARS["op"](x) * 2)
    costs = [
        jax.jit(jax.grad(lambda x, f=f: f(x).sum())).lower(X).compile().cost_analysis() for f in (plain, with_rule)
    ]
    assert costs[0]["flops"] == costs[1]["flops"]
    assert costs[0]["bytes accessed"] == costs[1]["bytes accessed"]


POLICIES = {
    "none": None,
    "everything": jax.checkpoint_policies.everything_saveable,
    "nothing": jax.checkpoint_policies.nothing_saveable,
    "products": jax.checkpoint_policies.dots_saveable,
    "a name": jax.checkpoint_policies.save_only_these_names("kept"),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("around", [lambda f: f, jax.jit, lambda f: lambda w: jax.lax.map(f, w[None])[0]])
def test_a_checkpoint_keeps_what_its_policy_says(policy, around):
    """Counted in what the pullback holds: the policy names a value of 7 numbers, a product has 5, the rest 3 and 2."""

    def of(rule):
        def body(w):
            y = jnp.cos(jnp.tanh(X) @ w)
            z = checkpoint_name(rule(jnp.concatenate([y, rule(y)[:4]])), "kept")
            return jnp.exp(z).sum()

        return around(jax.checkpoint(body, policy=POLICIES[policy]))

    w = jnp.ones((2, 3))
    kept = lambda f: sorted(y.shape for y in jax.tree.leaves(jax.eval_shape(lambda w: jax.vjp(f, w)[1], w)))
    assert kept(automatic(of(LIARS["custom_jvp"]))) == kept(of(jnp.sin))


def in_unchecked_shard_map(f):
    mesh = jax.make_mesh((2, 2), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
    return jax.shard_map(f, mesh=mesh, in_specs=P("b"), out_specs=P("b"), check_vma=False, axis_names={"b"})


SETTINGS = {
    "checkpoint": lambda f: jax.checkpoint(f, prevent_cse=False, policy=jax.checkpoint_policies.dots_saveable),
    "scan": lambda f: lambda x: jax.lax.scan(lambda c, x: (c, f(x)), 0, x, reverse=True, unroll=2)[1],
    "jit": lambda f: jax.jit(f, keep_unused=True, donate_argnums=0),
    "shard_map": lambda f: jax.jit(in_unchecked_shard_map(f)),
    "all": lambda f: jax.checkpoint(SETTINGS["scan"](SETTINGS["jit"](f)), prevent_cse=False),
}


@pytest.mark.parametrize("around", SETTINGS)
@pytest.mark.parametrize("kind", LIARS)
def test_equations_around_rules_keep_all_their_settings(kind, around):
    def settings(jaxpr):
        for eqn in jx.opened(jaxpr).eqns:
            bodies = list(jx.inner_jaxprs(eqn))
            yield eqn.primitive.name, {k: str(v) for k, v in eqn.params.items() if k != "name" and not is_body(v)}
            for body in bodies:
                yield from settings(body)

    is_body = lambda v: any(map(jx.is_jaxpr, jax.tree.leaves(v, is_leaf=jx.is_jaxpr)))
    plain, without = SETTINGS[around](jnp.sin), automatic(SETTINGS[around](LIARS[kind]))
    assert [*settings(jax.make_jaxpr(without)(X))] == [*settings(jax.make_jaxpr(plain)(X))]


def test_names_stay_in_the_compiled_code():
    for f in (ops.softplus, automatic(ops.softplus)):
        assert "softplus" in jax.jit(f).lower(X).as_text(debug_info=True)


def test_closed_over_arrays_and_plain_arguments():
    w = jnp.array([2.0, 3.0])
    f = lambda x, flag, *, power=1: ops.multiply(x, w) ** power if flag else x
    g = lambda w: jax.grad(lambda x: automatic(lambda x: ops.multiply(x, w))(x).sum())(X).sum()
    assert_close(automatic(f)(X, True, power=2), (X * w) ** 2, "float32")
    assert_close(automatic(f)(X, False), X, "float32")
    assert_close(jax.grad(g)(w), jnp.ones(2), "float32")
