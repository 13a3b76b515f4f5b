"""Taking rules out of any function, and listing them."""

import math

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import linen
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jaxdl import automatic, ops, rules
from jaxdl import jaxpr as jx
from jaxdl.strip import observe
from tests.tolerance import assert_close

# Functions whose rules lie on purpose, so that it shows which derivative was used.


@jax.custom_vjp
def lying_vjp(x):
    return jnp.sin(x)


lying_vjp.defvjp(lambda x: (jnp.sin(x), None), lambda _, dy: (100 * dy,))


@jax.custom_jvp
def lying_jvp(x):
    return jnp.sin(x)


lying_jvp.defjvp(lambda x, x_dot: (jnp.sin(x[0]), 100 * x_dot[0]))


def lying_op():
    from jaxdl import op, saving

    @op
    def liar(x):
        return jnp.sin(x)

    liar.rule(lambda x: (jnp.sin(x), saving(lambda dy: (100 * dy,))))
    return liar


LIARS = {"custom_vjp": lying_vjp, "custom_jvp": lying_jvp, "op": lying_op()}
X = jnp.array([0.1, 0.7])


def in_other_rule(f):
    @jax.custom_jvp
    def outer(x):
        return f(x)

    outer.defjvp(lambda x, x_dot: (f(x[0]), 50 * x_dot[0]))
    return outer


def in_shard_map(f):
    mesh = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Auto,))
    return jax.shard_map(f, mesh=mesh, in_specs=P("d"), out_specs=P("d"))


CONTEXTS = {
    "plain": lambda f: f,
    "jit": jax.jit,
    "jit in jit": lambda f: jax.jit(lambda x: jax.jit(f)(x) + 0),
    "vmap": jax.vmap,
    "scan": lambda f: lambda x: jax.lax.scan(lambda c, _: (f(c), None), x, None, 1)[0],
    "scan over": lambda f: lambda x: jax.lax.scan(lambda c, x: (c, f(x)), 0, x)[1],
    "cond": lambda f: lambda x: jax.lax.cond(x[0] > 0, f, lambda x: x, x),
    "switch": lambda f: lambda x: jax.lax.switch(jnp.int32(x[0] > 0), [lambda x: x, f], x),
    "fori": lambda f: lambda x: jax.lax.fori_loop(0, 1, lambda _, x: f(x), x),
    "map": lambda f: lambda x: jax.lax.map(f, x),
    "checkpoint": jax.checkpoint,
    "checkpoint in scan": lambda f: lambda x: jax.lax.scan(jax.checkpoint(lambda c, _: (f(c), None)), x, None, 1)[0],
    "another rule": in_other_rule,
    "shard_map": in_shard_map,
}


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


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("kind", LIARS)
def test_rules_are_listed_everywhere(kind, context):
    found = rules(CONTEXTS[context](LIARS[kind]), jax.ShapeDtypeStruct(X.shape, X.dtype))
    assert kind in {site.kind for site in found}
    assert all(site.where.startswith(__file__) or "test_strip.py" in site.where for site in found)


def test_while_loops_lose_their_rules_too():
    f = lambda x: jax.lax.while_loop(lambda c: c[1] < 1, lambda c: (lying_jvp(c[0]), c[1] + 1), (x, 0))[0]
    assert_close(jax.jvp(automatic(f), (X,), (X,))[1], jnp.cos(X) * X, "float32")


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


def test_sites_say_where_how_often_and_what():
    def f(x):
        y, _ = jax.lax.scan(lambda c, _: (ops.tanh(c), None), x, None, 5)
        return ops.tanh(y)

    inside, outside = rules(f, jax.ShapeDtypeStruct((3,), jnp.float32))
    assert (inside.name, inside.kind, inside.count) == ("tanh", "op", 5)
    assert outside.count == 1
    assert inside.inputs == outside.outputs == (jax.ShapeDtypeStruct((3,), jnp.float32),)
    assert "test_strip.py" in inside.where
    assert inside.where != outside.where
    assert "tanh (op) ×5" in str(inside)


def test_rules_within_rules_say_so():
    found = rules(in_other_rule(LIARS["op"]), X)
    assert [(site.name, site.within) for site in found] == [("outer", ()), ("liar", ("outer",))]


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


@jax.custom_vjp
def unrolled(x):
    return jax.lax.while_loop(lambda c: c.sum() < 10, lambda c: 2 * c, x)


unrolled.defvjp(lambda x: (unrolled(x), None), lambda _, dy: (dy,))


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, jax.checkpoint], ids=["plain", "jit", "checkpoint"])
def test_a_while_loop_says_which_rule_to_keep(wrap):
    f = lambda x: wrap(unrolled)(x).sum()
    with pytest.raises(TypeError, match=r"primal of unrolled \(custom_vjp.*while_loop.*keep='unrolled'"):
        jax.grad(automatic(f))(X)
    assert_close(automatic(f)(X), f(X), "float32", "value")
    assert jnp.isfinite(jax.jvp(automatic(f), (X,), (X,))[1])
    assert_close(jax.grad(automatic(f, keep="unrolled"))(X), jnp.ones(2), "float32", "kept")


def test_a_callback_says_which_rule_to_keep():
    @jax.custom_jvp
    def called_back(x):
        return jax.pure_callback(lambda x: x, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    called_back.defjvp(lambda x, x_dot: (called_back(*x), x_dot[0]))
    with pytest.raises(TypeError, match=r"primal of called_back .*keep='called_back'"):
        jax.jvp(automatic(called_back), (X,), (X,))
    assert_close(automatic(called_back)(X), X, "float32")


@jax.custom_jvp
def beta(a, b, x):
    return jax.scipy.special.betainc(a, b, x)


beta.defjvp(lambda x, x_dot: (beta(*x), 5 * x_dot[0]))


@jax.custom_jvp
def slope_in_a(a, x):
    return jax.lax.igamma_grad_a(a, x)


slope_in_a.defjvp(lambda x, x_dot: (slope_in_a(*x), 5 * x_dot[0]))


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit, jax.checkpoint], ids=["plain", "jit", "checkpoint"])
@pytest.mark.parametrize(
    ("f", "raising", "right"), [(beta, [0, 1], [2]), (slope_in_a, [0, 1], [])], ids=["beta", "gamma"]
)
def test_a_derivative_that_raises_says_which_rule_to_keep(wrap, f, raising, right):
    args = [jnp.float32(x) for x in (1.3, 2.3, 0.3)][-2 if f is slope_in_a else 0 :]
    plain = wrap(automatic(wrap(f)))
    assert_close(plain(*args), f(*args), "float32")
    for i in raising:
        with pytest.raises(TypeError, match=rf"primal of {f.__name__} .*keep='{f.__name__}'"):
            jax.grad(plain, i)(*args)
    for i in right:  # in these it has one, and it is the automatic one
        a, b, x = (float(x) for x in args)
        density = x ** (a - 1) * (1 - x) ** (b - 1) / math.exp(math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b))
        assert_close(jax.grad(plain, i)(*args), density, "float32")
    kept = automatic(lambda *args: wrap(f)(*args) + 0 * ops.square(args[0]), keep=f.__name__)
    assert_close(jax.grad(kept)(*args), 5.0, "float32")


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["plain", "jit"])
def test_a_second_derivative_that_raises_says_which_rule_to_keep(wrap):
    @jax.custom_jvp
    def gamma(a, x):
        return jax.scipy.special.gammainc(a, x)

    gamma.defjvp(lambda x, x_dot: (gamma(*x), 5 * x_dot[0]))
    plain, args = wrap(automatic(gamma)), (jnp.float32(1.3), jnp.float32(0.3))
    expected = jax.grad(jax.scipy.special.gammainc, (0, 1))(*args)
    for got, slope in zip(jax.grad(plain, (0, 1))(*args), expected, strict=True):
        assert_close(got, slope, "float32")
    for second in (jax.grad(jax.grad(plain)), jax.jacfwd(jax.jacfwd(plain)), jax.hessian(plain)):
        with pytest.raises(TypeError, match=r"primal of gamma .*igamma_grad_a.*keep='gamma'"):
            second(*args)
    of_x = lambda f: jax.grad(jax.grad(f, 1), 1)(*args)
    assert_close(of_x(plain), of_x(jax.scipy.special.gammainc), "float32")


def test_a_loop_over_what_does_not_move_is_no_obstacle():
    @jax.custom_vjp
    def scaled(x, t):
        return x * jax.lax.while_loop(lambda s: s < 9, lambda s: 2 * s, t)

    scaled.defvjp(lambda x, t: (scaled(x, t), None), lambda _, dy: (dy, dy))
    plain, x = jax.jit(automatic(scaled)), jnp.float32(0.3)
    assert_close(jax.grad(plain)(x, x), 9.6, "float32")
    assert_close(jax.vmap(jax.grad(plain))(x[None], x[None])[0], 9.6, "float32")
    assert_close(jax.jvp(plain, (x, x), (x, x))[1], 2 * 9.6 * 0.3, "float32")
    with pytest.raises(TypeError, match="keep='scaled'"):
        jax.grad(plain, 1)(x, x)


def test_the_inner_rule_is_named_that_is_needed():
    outer = in_other_rule(lambda a: beta(a, jnp.float32(2), jnp.float32(0.3)))
    with pytest.raises(TypeError, match=r"primal of beta .*keep='beta'"):
        jax.grad(automatic(outer))(jnp.float32(1.3))


def test_a_rule_around_another_is_named_where_both_are_needed():
    @jax.custom_vjp
    def outer(x):
        return jax.lax.while_loop(lambda c: c.sum() > 1, lambda c: c / 2, unrolled(x))

    outer.defvjp(lambda x: (outer(x), None), lambda _, dy: (dy,))
    with pytest.raises(TypeError, match=r"primal of outer .*keep='outer'"):
        jax.grad(lambda x: automatic(outer)(x).sum())(X)
    assert_close(jax.grad(lambda x: automatic(outer, keep="outer")(x).sum())(X), jnp.ones(2), "float32")


def test_observed_inputs_say_what_moves():
    stop = jax.lax.stop_gradient
    f = lambda x: jax.lax.scan(lambda c, a: (ops.multiply(stop(a), c), None), x[0], x)[0] * ops.tanh(stop(x[1]))
    assert [(seen.site.name, seen.moving) for seen in observe(f, X)] == [("multiply", (1,)), ("tanh", ())]


# --- what is out there ----------------------------------------------------------------------------------

WIDE = jnp.linspace(-2, 2, 12).reshape(3, 4)
POSITIVE = jnp.linspace(0.1, 3, 12).reshape(3, 4)


def _published():
    activations = [
        "relu",
        "relu6",
        "sigmoid",
        "softplus",
        "soft_sign",
        "silu",
        "log_sigmoid",
        "leaky_relu",
        "elu",
        "selu",
        "celu",
        "gelu",
        "glu",
    ]
    activations += [
        "softmax",
        "log_softmax",
        "hard_tanh",
        "hard_sigmoid",
        "hard_silu",
        "squareplus",
        "mish",
        "sparse_plus",
        "logsumexp",
    ]
    special = [
        "gammaln",
        "digamma",
        "erf",
        "erfc",
        "erfinv",
        "expit",
        "logit",
        "xlogy",
        "xlog1py",
        "entr",
        "ndtr",
        "ndtri",
        "log_ndtr",
        "i0",
        "i0e",
        "i1",
        "i1e",
    ]
    special += ["betaln", "logsumexp", "zeta", "rel_entr", "kl_div"]
    for name in activations:
        yield f"nn.{name}", getattr(jax.nn, name), (WIDE,)
    for name in special:
        f = getattr(jax.scipy.special, name)
        two = name in ("xlogy", "xlog1py", "betaln", "zeta", "rel_entr", "kl_div")
        probability = name in ("logit", "ndtri", "erfinv")
        args = (1 + POSITIVE, 2 + POSITIVE) if two else (POSITIVE / 4,) if probability else (POSITIVE,)
        yield f"special.{name}", f, args
    yield "special.polygamma", jax.scipy.special.polygamma, (jnp.full((3, 4), 2), POSITIVE)
    yield "optax.softmax_cross_entropy", optax.losses.softmax_cross_entropy, (WIDE, jax.nn.softmax(WIDE))
    yield "optax.l2_loss", optax.losses.l2_loss, (WIDE, POSITIVE)
    yield "optax.huber_loss", optax.losses.huber_loss, (WIDE, POSITIVE)
    yield "optax.log_cosh", optax.losses.log_cosh, (WIDE, POSITIVE)
    yield "optax.sigmoid_binary_cross_entropy", optax.losses.sigmoid_binary_cross_entropy, (WIDE, POSITIVE / 3)
    yield "optax.cosine_distance", optax.losses.cosine_distance, (WIDE, POSITIVE)
    yield "optax.kl_divergence", optax.losses.kl_divergence, (jax.nn.log_softmax(WIDE), jax.nn.softmax(POSITIVE))


@pytest.mark.parametrize(("name", "f", "args"), list(_published()), ids=lambda v: v if isinstance(v, str) else "")
def test_published_functions_keep_their_values(name, f, args):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        assert isinstance(rules(f, *args), list)
        assert rules(automatic(f), *args) == []
        assert_close(jax.jit(automatic(f))(*args), jax.jit(f)(*args), "float32", name)


def test_a_flax_model():
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(3)(linen.relu(linen.Dense(4)(x)))

    net = Net()
    params = net.init(jax.random.key(0), WIDE)
    assert [site.name for site in rules(net.apply, params, WIDE)] == ["relu"]
    loss = lambda f: lambda params: (f(params, WIDE) ** 2).sum()
    with jax.numpy_rank_promotion("allow"):
        for a, b in zip(
            jax.tree.leaves(jax.grad(loss(automatic(net.apply)))(params)),
            jax.tree.leaves(jax.grad(loss(net.apply))(params)),
            strict=True,
        ):
            assert_close(a, b, "float32")


def test_observed_values_are_those_of_the_run():
    def f(x, key):
        y, _ = jax.lax.scan(lambda c, _: (ops.square(c), None), x, None, 3)
        return ops.dropout(jax.nn.relu(y), key, rate=0.5)

    key = jax.random.key(3)
    square, relu, dropout = observe(jax.jit(f), X, key)
    assert_close(square.inputs[0], X, "float32")
    assert square.site.count == 3
    assert_close(relu.inputs[0], X**8, "float32")
    assert relu.site.kind == "custom_jvp"
    assert (jax.random.key_data(dropout.inputs[1]) == jax.random.key_data(key)).all()
    for seen in (square, relu, dropout):
        assert_close(seen.hand(*seen.inputs)[0], seen.automatic(*seen.inputs)[0], "float32", seen.site.name)
