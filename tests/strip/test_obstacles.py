"""Primals without a derivative: the error names the rule to keep."""

import math

import jax
import jax.numpy as jnp
import pytest

from jaxdl import automatic, ops
from tests.strip.liars import X, in_other_rule
from tests.tolerance import assert_close


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


def significand(x):
    """As `jnp.frexp` does it: of the bits, except where there are none."""
    bits = jax.lax.bitcast_convert_type(x, jnp.int32) & 0x7FFFFF | 0x3F000000
    return jnp.where(x == 0, x, jax.lax.bitcast_convert_type(bits, jnp.float32))


def with_a_rule(primal):
    ruled = jax.custom_jvp(primal)
    ruled.defjvp(lambda x, x_dot: (ruled(*x), x_dot[0]))
    return ruled


@pytest.mark.parametrize(
    "primal",
    [
        significand,
        jax.jit(significand),
        lambda x: jnp.log(significand(x) * 2.0),
        lambda x: jax.lax.nextafter(x, jnp.float32(9)),
    ],
)
def test_a_primal_of_bits_says_which_rule_to_keep(primal):
    """JAX's derivative of bits is 0."""
    x = jnp.float32(2.5)
    for derivative in (jax.grad, jax.jacfwd):
        with pytest.raises(TypeError, match=r"primal of .* is made of the bits"):
            derivative(automatic(with_a_rule(primal)))(x)
    assert_close(automatic(with_a_rule(primal))(x), primal(x), "float32")


def test_frexp_is_refused_or_right():
    """Newer JAX has a primitive for it, with a derivative."""
    f, x = lambda x: jnp.frexp(x)[0], jnp.float32(2.5)
    if "custom_jvp" in str(jax.make_jaxpr(f)(x)):
        with pytest.raises(TypeError, match="is made of the bits"):
            jax.grad(automatic(f))(x)
    else:
        assert_close(jax.grad(automatic(f))(x), jnp.float32(0.25), "float32")


def test_the_rule_of_frexp_can_be_kept():
    f = automatic(lambda x: jnp.frexp(x)[0], keep="_frexp")
    assert_close(jax.grad(f)(jnp.float32(2.5)), jnp.float32(0.25), "float32")


@pytest.mark.parametrize(
    ("primal", "slope"),
    [
        (lambda x: jnp.round(x), 0),
        (lambda x: jnp.where(jnp.signbit(x), 0 * x, x), 1),
        (lambda x: jax.lax.stop_gradient(x) * x, 2.5),
        (lambda x: x * jnp.sign(significand(x)), 1),
        (lambda x: x * (jax.lax.bitcast_convert_type(x, jnp.int32) >> 23).astype(jnp.float32), 128),
        (lambda x: x * jax.lax.bitcast_convert_type(jnp.int32(0x3F000000), jnp.float32), 0.5),
    ],
)
def test_a_primal_of_steps_has_its_derivative(primal, slope):
    assert_close(jax.grad(automatic(with_a_rule(primal)))(jnp.float32(2.5)), jnp.float32(slope), "float32")
