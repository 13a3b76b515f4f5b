"""What must hold of any derivative: each check sees its fault, alone, and passes what is right."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl.auditor import Verdict, auditing, checks
from tests.auditor.subjects import by_rule, subject

X = np.array([0.3, -1.2, 2.5], np.float32)


def test_cotangents_of_another_type_or_shape():
    slope = lambda change: by_rule(jnp.sin, lambda x, dy: (change(jnp.cos(x) * dy),))
    structure = lambda change: checks.structure(subject(jnp.sin, X, hand=slope(change)))
    assert structure(lambda d: d) == []
    (found,) = structure(lambda d: d.astype(jnp.bfloat16))
    assert (found.verdict, found.what) == (Verdict.STRUCTURE, "cotangent of input 0")
    assert (found.got, found.expected) == ("bfloat16[3]", "float32[3]")
    (found,) = structure(lambda d: d[:1])
    assert (found.verdict, found.what) == (Verdict.STRUCTURE, "the pullback")


def test_zero_cotangents_give_zeros():
    offset = by_rule(jnp.sin, lambda x, dy: (jnp.cos(x) * dy + 1e-9,))
    assert {f.at for f in checks.linear(subject(jnp.sin, X, hand=offset)) if "0" in f.at} >= {"for the cotangent 0 [0]"}


def test_small_cotangents_are_not_dropped():
    dropped = by_rule(jnp.sin, lambda x, dy: (jnp.where(jnp.abs(dy) < 1e-2, 0, dy) * jnp.cos(x),))
    found = checks.linear(subject(jnp.sin, X, hand=dropped))
    assert any("0.000244140625 u" in f.at for f in found), found


def test_forward_and_reverse():
    @jax.custom_jvp
    def f(x, y):
        return x * y

    f.defjvp(lambda p, t: (f(*p), p[1] * t[0] + p[0] * t[1]))
    product = lambda x, y: x * y
    assert checks.adjoint(subject(product, X, X[::-1].copy(), hand=f)) == []
    assert checks.adjoint(subject(jnp.sin, X, hand=by_rule(jnp.sin, lambda x, dy: (dy,)))) == []  # has no forward mode


def test_each_input_mapped_alone():
    """A rule that sums over the batch where only its second input is mapped."""

    def pullback(x, y, dy):
        return dy * y, dy * x

    rule = jax.custom_batching.custom_vmap(pullback)

    @rule.def_vmap
    def _(size, batched, x, y, dy):
        a, b = jax.vmap(pullback, [0 if axis else None for axis in batched])(x, y, dy)
        return (a, 2 * b if batched[1] and not batched[0] else b), (True, True)

    product = lambda x, y: x * y
    found = checks.mapped(subject(product, X, X[::-1].copy(), hand=by_rule(product, rule)))
    assert {(f.verdict, f.what) for f in found} == {(Verdict.WRONG, "cotangent of input 1")}
    assert all("over input 1" in f.at for f in found)


def test_each_output_alone():
    """A rule that gives nothing where one of its outputs is not used."""
    both = lambda x: (jnp.sin(x), jnp.cos(x))

    @jax.custom_vjp
    def f(x):
        return both(x)

    def bwd(x, dy):
        d = jnp.cos(x) * dy[0] - jnp.sin(x) * dy[1]
        return (d,)

    f.defvjp(lambda x: (both(x), x), bwd)
    assert checks.alone(subject(both, X, hand=f)) == []

    def lazy(x, dy):
        used = [not isinstance(d, jax.custom_derivatives.SymbolicZero) for d in dy]
        d = [jnp.zeros_like(x) if not u else v for u, v in zip(used, dy, strict=True)]
        return ((jnp.cos(x) * d[0] - jnp.sin(x) * d[1]) * float(all(used)),)

    g = jax.custom_vjp(both)
    g.defvjp(lambda x: (both(x.value), x.value), lazy, symbolic_zeros=True)
    found = checks.alone(subject(both, X, hand=g))
    assert {f.verdict for f in found} == {Verdict.WRONG}
    assert {f.at.split(" [")[0] for f in found} == {"from output 0 alone", "from output 1 alone"}


def test_outside_jit():
    """A rule that takes another way where it sees numbers, not tracers."""

    def pullback(factor, x, dy):
        return (dy * jnp.cos(x) * (1.0 if isinstance(dy, jax.core.Tracer) else factor),)

    for factor, verdict in ((1.5, Verdict.WRONG), (1.001, Verdict.INACCURATE)):
        f = by_rule(jnp.sin, lambda x, dy, factor=factor: pullback(factor, x, dy))
        (found,) = checks.eager(subject(jnp.sin, X, hand=f))
        assert found.verdict == verdict


def test_a_rule_without_a_second_derivative():
    """It is at fault where the plain function has one."""
    sine = lambda x: jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)
    first = by_rule(jnp.sin, lambda x, dy: (dy * sine(x + np.float32(np.pi / 2)),))
    (found,) = checks.second_order(subject(jnp.sin, X, hand=first))
    assert found.verdict == Verdict.WRONG_SECOND
    (found,) = checks.second_order(subject(sine, X, hand=first))
    assert found.verdict == Verdict.NOT_VERIFIABLE


def test_costs_are_told():
    """Residuals and operations beside those of the automatic derivative."""
    wide = np.ones(4096, np.float32)
    kept = jax.custom_vjp(lambda x: 2 * x)
    kept.defvjp(lambda x: (2 * x, (jnp.sin(x), jnp.cos(x))), lambda r, dy: (dy * 2 + 0 * r[0] * r[1],))
    found = auditing.costs(subject(lambda x: 2 * x, wide, hand=kept))
    assert {f.what for f in found} == {"residual bytes", "FLOPs"}
    assert all(f.verdict == Verdict.COSTLY and not f.verdict.is_fault for f in found)
    assert auditing.costs(subject(lambda x: 2 * x, wide)) == []


def test_the_least_precise_type_counts():
    mixed = subject(lambda x, y: x * y.astype(jnp.float32), X, X.astype(jnp.bfloat16))
    assert mixed.dtype == jnp.bfloat16
    assert subject(lambda x: x.astype(jnp.bfloat16), X).dtype == jnp.bfloat16


def test_a_function_of_bits_is_not_judged():
    assert [f.verdict for f in auditing.derivative(subject(lambda x: lax.nextafter(x, x + 1), X))] == [
        Verdict.NOT_VERIFIABLE
    ]


def test_the_sign_bit_is_but_a_comparison():
    signed = subject(lambda x: jnp.where(jnp.signbit(x), 2 * x, 3 * x), X)
    assert [str(f) for f in auditing.derivative(signed) if f.verdict != Verdict.CONVENTION] == []


def test_a_rule_is_audited_once_for_its_types_and_settings():
    """The same function at other sizes, or with another constant, is another subject."""

    power = jax.custom_jvp(lambda x, n: x**n, nondiff_argnums=(1,))
    power.defjvp(lambda n, x, x_dot: (power(*x, n), n * x[0] ** (n - 1) * x_dot[0]))
    f = lambda x: (power(x, 2) + power(2 * x, 2) + power(x, 3)).sum() + power(x[:2], 2).sum()
    _, *rules = auditing.subjects(lambda x: [f(x)], [X], f).audited
    assert sorted(rule.count for rule in rules) == [1, 1, 2]


def test_all_checks_are_made():
    made = auditing.audit_subject(subject(jnp.sin, X)).checks
    assert {"structure", "value", "cotangents", "second order", "linear", "adjoint", "vmap", "alone", "jit",
            "cost"} == {*made}  # fmt: skip


def test_a_format_in_which_the_function_is_noise_is_not_judged():
    """1 + x − 1 is 0 in float16 for a small x: there no derivative means anything."""
    small = np.full(3, 1e-5, np.float16)
    noise = lambda x: jnp.log(lax.reduce_precision(x + 1, 5, 10) - 1 + np.float16(1e-7))
    assert auditing.in_format(subject(noise, small, hand=by_rule(noise, lambda x, dy: (dy,)))) == []
    plain = lambda x: x * x
    found = auditing.in_format(subject(plain, np.ones(3, np.float16), hand=by_rule(plain, lambda x, dy: (dy,))))
    assert {f.verdict for f in found} == {Verdict.WRONG}


def test_where_the_second_derivative_is_not_finite_nothing_is_said_of_it():
    root = by_rule(jnp.sqrt, lambda x, dy: (jnp.where(x > 0, dy / (2 * jnp.sqrt(jnp.maximum(x, 1e-30))), 0),))
    assert checks.second_order(subject(jnp.sqrt, np.zeros(2, np.float32), hand=root)) == []


def test_a_branch_with_a_derivative_of_its_own_is_no_truth_of_second_order():
    """x z, not computed at x = 0, where JAX's second derivative of the `where` is 0 in place of 1."""
    plain = lambda x, z: jnp.where(x == 0, 0, x * z)
    pulled = lambda held: lambda x, z, dy: ((dy * held(z)).sum(1, keepdims=True), (dy * x).sum(0, keepdims=True))
    second = lambda held: checks.second_order(subject(plain, [[0.0], [1.0]], [[0.3, 2.0]], hand=by_rule(plain, held)))
    assert second(pulled(lambda z: z)) == []
    (found,) = second(pulled(lax.stop_gradient))
    assert (found.verdict, found.what, found.got) == (Verdict.WRONG_SECOND, "second cotangent of input 1", "0")


def test_where_the_slope_jumps_any_second_derivative_between_is_right():
    """x |x| / 2 at 0: its slope is |x|, and that of this −1 to 1."""
    plain = lambda x: jnp.where(x > 0, x * x / 2, -x * x / 2)
    rule = lambda slope: by_rule(plain, lambda x, dy: (dy * jnp.where(x == 0, slope * x, jnp.abs(x)),))
    second = lambda slope: checks.second_order(subject(plain, [0.0, 1.0], hand=rule(slope)))
    assert second(0.5) == []
    (found,) = second(3.0)
    assert found.verdict == Verdict.WRONG_SECOND


def test_beyond_a_threshold_nearby_is_not_beside_the_point():
    """x² above 0.0001, at 0.0002: a thousandth to the left all is flat, and flat is what the rule says."""
    plain = lambda x: jnp.where(x > 1e-4, x * x, 0)
    slope = lambda x: jnp.where(x > 1e-4, 2 * x, 0)
    second = lambda held: checks.second_order(
        subject(plain, [2e-4, 1.0], hand=by_rule(plain, lambda x, dy: (dy * held(x, slope(x)),)))
    )
    assert second(lambda x, d: d) == []
    (found,) = second(lambda x, d: jnp.where(x < 0.1, lax.stop_gradient(d), d))
    assert (found.verdict, found.at, found.got) == (Verdict.WRONG_SECOND, "[0]", "0")


def test_at_one_entry_as_jax_at_the_next_as_the_values_beside():
    """The greater of two numbers, squared, at ties: JAX mixes both sides, a rule may take one."""
    plain = lambda x, y: jnp.maximum(x, y) ** 2
    share = jnp.array([0.5, 1.0, 0.5, 1.0])  # of x, at a tie

    def pullback(held, x, y, dy):
        top = 2 * held(jnp.where(share == 1, jnp.where(x >= y, x, y), jnp.maximum(x, y)))
        return dy * top * share, dy * top * (1 - share)

    second = lambda held: checks.second_order(
        subject(plain, [1.0] * 4, [1.0] * 4, hand=by_rule(plain, lambda *x: pullback(held, *x)))
    )
    assert second(lambda x: x) == []
    assert second(lambda x: -x) != []


def test_second_order_beside_integers_and_of_complex_outputs():
    """x² and x³, not computed at x = 0."""
    second = lambda f, rule, *x: checks.second_order(subject(f, *x, hand=by_rule(f, rule)))
    counted = lambda n, x: jnp.where(x == 0, 0, n.astype(x.dtype) * x * x)
    pulled = lambda held: lambda n, x, dy: (None, dy * 2 * n.astype(x.dtype) * held(x))
    n, x = np.array([1, 2, 3], np.int32), [0.0, 1.0, 2.0]
    assert second(counted, pulled(lambda x: x), n, x) == []
    assert second(counted, pulled(lax.stop_gradient), n, x) != []
    powers = lambda x: jnp.where(x == 0, 0, lax.complex(x * x, x * x * x))
    pulled = lambda held: lambda x, dy: (dy.real * 2 * held(x) - dy.imag * 3 * held(x) ** 2,)
    assert second(powers, pulled(lambda x: x), x) == []
    assert second(powers, pulled(lax.stop_gradient), x) != []


def test_second_order_of_complex_numbers():
    """z², not computed at 0, where JAX's second derivative is 0 in place of 2."""
    z = np.array([0, 0.5 + 1j], np.complex64)
    plain = lambda z: jnp.where(z == 0, 0, z * z)
    second = lambda held: checks.second_order(subject(plain, z, hand=by_rule(plain, lambda z, dy: (2 * held(z) * dy,))))
    assert second(lambda z: z) == []
    assert {f.at for f in second(lambda z: jnp.where(z == 0, 0, z))} == set()  # as JAX has it
    assert {f.at for f in second(lambda z: jnp.where(z == 0, 2 * z, z))} == {"[0]"}
    size = lambda z: jnp.where(z == 0, 0, (z * z.conj()).real)
    second = lambda factor: checks.second_order(
        subject(
            size,
            z,
            hand=by_rule(size, lambda z, dy: (jnp.where(z == 0, factor * z, 2 * z).conj() * dy.astype(z.dtype),)),
        )
    )
    assert second(2) == []
    assert second(3) != []
