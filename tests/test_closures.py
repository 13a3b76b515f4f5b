"""What the functions of an op close over: differentiated or refused, read anew when it changes, never kept alive."""

import gc
import sys
import types
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental.jet import jet

import jaxdl
from jaxdl import ops
from tests.tolerance import assert_close

CROSS_ENTROPY = ops.softmax_cross_entropy_with_integer_labels
P, T, W = jnp.array([0.5, 1.0, 1.5]), jnp.zeros(3), jnp.array([1.0, 2.0, 3.0])
LABELS, LOGITS = jnp.array([0, 3, 2]), jnp.sin(jnp.arange(12.0)).reshape(3, 4)
TRANSFORMS = {
    "grad": jax.grad,
    "jit of grad": lambda f: jax.jit(jax.grad(f)),
    "grad of jit": lambda f: jax.grad(jax.jit(f)),
    "jacfwd": jax.jacfwd,
    "jit of jacrev": lambda f: jax.jit(jax.jacrev(f)),
    "hessian": jax.hessian,
    "grad of checkpoint": lambda f: jax.grad(jax.checkpoint(f)),
    "grad of a loop": lambda f: jax.grad(lambda w: jax.lax.scan(lambda c, _: (c + f(w), None), 0.0, length=2)[0]),
    "grad of vmap": lambda f: jax.grad(lambda w: jax.vmap(lambda c: f(c * w))(jnp.arange(2.0)).sum()),
}


# --- settings of jaxdl's own ops -----------------------------------------------------------------------


def _contraction(a, p, x):
    return jnp.cos(a[0] * p) + a[1] * x / 4


def _blocks(by_op):
    """Two reversible blocks whose functions close over a and b; as jaxdl does them, and as a loop does."""
    p, q = jnp.array([0.3, 0.7]), jnp.array([0.2, -0.4])

    def of(w):
        f, g = lambda p, y: w[0] * jnp.sin(p * y), lambda q, x: jnp.tanh(w * q * x).sum()
        x, y = P[0], P[1]
        if by_op:
            return sum(ops.reversible(x, y, p, q, f=f, g=g))
        for i in range(2):
            x = x + f(p[i], y)
            y = y + g(q[i], x)
        return x + y

    return of


def _solved(w):
    """x = cos(w₀ p) + w₁ x/4 in closed form."""
    return jnp.cos(w[0] * 0.5) / (1 - w[1] / 4)


# For each op with functions as settings: it in what they close over, and the same without it.
SETTINGS = {
    "squared_error": (
        lambda w: ops.squared_error(P, T, reduce=lambda v: (v * w).mean()),
        lambda w: ((P - T) ** 2 * w).mean(),
    ),
    "logistic_loss": (
        lambda w: ops.logistic_loss(P * w, LABELS // 2, reduce=lambda v: v @ w),
        lambda w: optax.sigmoid_binary_cross_entropy(P * w, (LABELS // 2).astype(jnp.float32)) @ w,
    ),
    "cross entropy": (
        lambda w: CROSS_ENTROPY(LOGITS, LABELS, reduce=lambda v: (w * v).sum() / w.sum()),
        lambda w: (w * optax.softmax_cross_entropy_with_integer_labels(LOGITS, LABELS)).sum() / w.sum(),
    ),
    "linear_cross_entropy": (
        lambda w: ops.linear_cross_entropy(LOGITS.T[:3] * w[:, None], LOGITS, LABELS, reduce=lambda v: w @ v),
        lambda w: w @ optax.softmax_cross_entropy_with_integer_labels(LOGITS.T[:3] * w[:, None] @ LOGITS, LABELS),
    ),
    "fixed_point": (
        lambda w: ops.fixed_point(
            jnp.float32(0.5), jnp.float32(0.0), f=lambda p, x: _contraction(w, p, x), max_steps=60
        ).value,
        _solved,
    ),
    "reversible": (_blocks(True), _blocks(False)),
}  # fmt: skip


@pytest.mark.parametrize("transform", ["grad", "jit of grad", "grad of jit", "jacfwd", "hessian"])
@pytest.mark.parametrize("name", SETTINGS)
def test_what_a_setting_closes_over_is_differentiated(name, transform):
    by_op, plain = SETTINGS[name]
    if transform == "hessian" and name == "reversible":
        assert_close(jax.jacfwd(jax.grad(by_op))(W), jax.hessian(plain)(W), "float32")
        return
    got, want = (TRANSFORMS[transform](f)(W) for f in (by_op, plain))
    np.testing.assert_allclose(got, want, rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_under_every_transformation(transform):
    by_op, plain = SETTINGS["cross entropy"]
    np.testing.assert_allclose(*(TRANSFORMS[transform](f)(W) for f in (by_op, plain)), rtol=2e-4, atol=1e-5)


def test_shared_parameters_of_reversible_blocks_are_arguments():
    f = lambda s, p, y: s * jnp.sin(p * y)
    p = jnp.array([0.3, 0.7])
    by_op = lambda s: sum(ops.reversible(P, P, p, p, s, s, f=f, g=f)).sum()
    closing = lambda s: sum(ops.reversible(P, P, p, p, f=lambda p, y: f(s, p, y), g=lambda p, y: f(s, p, y))).sum()
    assert_close(jax.grad(by_op)(0.8), jax.grad(closing)(0.8), "float32")


def test_losses_are_those_of_optax():
    """An exchanged import must not change a gradient."""
    for ours, theirs, args in [
        (ops.squared_error, optax.squared_error, (P, W)),
        (ops.softmax_cross_entropy, optax.softmax_cross_entropy, (LOGITS, jax.nn.softmax(LOGITS[::-1]))),
        (
            ops.softmax_cross_entropy_with_integer_labels,
            optax.softmax_cross_entropy_with_integer_labels,
            (LOGITS, LABELS),
        ),
    ]:
        assert_close(ours(*args), theirs(*args), "float32")
        slope = lambda f, args=args: jax.grad(lambda x: f(x, *args[1:]).sum())(args[0])
        assert_close(slope(ours), slope(theirs), "float32")


# --- ops of one's own ----------------------------------------------------------------------------------


def scaled_by(scale, in_rule=None):
    """x · scale, with the scale of definition and rule closed over."""

    @jaxdl.op
    def scaled(x):
        return x * scale

    @scaled.rule
    def scaled_rule(x):
        factor = scale if in_rule is None else in_rule
        return x * factor, jaxdl.saving(lambda factor, dy: (dy * factor,), factor)

    return scaled


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_derivative_that_the_rule_does_not_give_is_refused_by_name(transform):
    f = lambda scale: scaled_by(scale)(P).sum()
    if transform in ("jacfwd", "hessian", "jit of jacrev"):
        f = lambda scale: scaled_by(scale)(P[0])
    with pytest.raises(TypeError, match=r"scaled: .* closes over scale, .*pass it as an argument"):
        TRANSFORMS[transform](f)(2.0)


def test_a_value_inside_a_container_is_refused_too():
    @jaxdl.op
    def scaled(x):
        return x * table["w"][0]

    @scaled.rule
    def scaled_rule(x):
        return x * table["w"][0], jaxdl.saving(lambda w, dy: (dy * w,), table["w"][0])

    table = {}

    def f(w):
        table["w"] = [jnp.tanh(w)]
        return scaled(2.0)

    with pytest.raises(TypeError, match=r"scaled: .*closes over .*pass it as an argument"):
        jax.grad(f)(1.0)


def test_devices_may_close_over_their_own_values():
    """In shard_map, what a device closes over varies from device to device, and so do value and cotangent."""
    mesh = jax.make_mesh((2,), ("d",), devices=jax.devices()[:2], axis_types=(jax.sharding.AxisType.Auto,))

    def f(x, scale):
        of_device = lambda scale: scaled_by(scale[0])(x)[None]
        spread = jax.sharding.PartitionSpec("d")
        return jax.shard_map(of_device, mesh=mesh, in_specs=spread, out_specs=spread)(scale).sum()

    x, scale = jnp.array([1.0, 2.0]), jnp.array([2.0, 3.0])
    assert_close(jax.jit(jax.grad(f))(x, scale), [5, 5], "float32")


def test_functions_inside_a_setting_are_seen():
    @jaxdl.op
    def composed(x, *, functions):
        return functions[1](functions[0](x))

    @composed.rule
    def composed_rule(x, *, functions):
        y = functions[1](functions[0](x))
        return y, jaxdl.saving(lambda x, dy: jax.vjp(lambda x: functions[1](functions[0](x)), x)[1](dy), x)

    f = lambda w: composed(2.0, functions=(jnp.sin, lambda x: w * x))
    with pytest.raises(TypeError, match=r"composed: .* closes over w, "):
        jax.jit(jax.grad(f))(3.0)
    assert_close(
        jax.grad(lambda x: composed(x, functions=(jnp.sin, jnp.cos)))(0.5),
        -jnp.sin(jnp.sin(0.5)) * jnp.cos(0.5),
        "float32",
    )


def test_values_that_nothing_differentiates_may_be_closed_over():
    f = lambda x, scale: scaled_by(scale)(x).sum()
    in_x = jax.grad(f)
    assert_close(in_x(P, jnp.float32(3)), [3, 3, 3], "float32")
    assert_close(jax.jit(in_x)(P, 3.0), [3, 3, 3], "float32")
    assert_close(jax.vmap(in_x, (None, 0))(P, jnp.array([1.0, 2.0]))[:, 0], [1, 2], "float32")
    assert_close(jax.vmap(in_x)(jnp.stack([P, P]), jnp.array([1.0, 2.0]))[:, 0], [1, 2], "float32")
    looped = lambda x: jax.lax.scan(lambda c, s: (scaled_by(s)(c), None), x, jnp.array([2.0, 3.0]))[0].sum()
    assert_close(jax.grad(looped)(P), [6, 6, 6], "float32")
    assert_close(jax.jit(jax.hessian(lambda x: looped(x) ** 2))(P), np.full((3, 3), 72), "float32")
    assert_close(jax.jvp(looped, (P,), (P,))[1], 6 * P.sum(), "float32")
    stopped = lambda scale: scaled_by(jax.lax.stop_gradient(scale))(P * scale).sum()
    assert_close(jax.grad(stopped)(2.0), 2 * P.sum(), "float32")


def test_a_pullback_that_closes_over_what_its_rule_computes_is_named():
    @jaxdl.op
    def cube(x):
        return x**3

    @cube.rule
    def cube_rule(x):
        square = x * x
        slope = lambda dy: 3 * square * dy
        return x**3, jaxdl.saving(lambda dy: (slope(dy),))

    with pytest.raises(TypeError, match="cube: the pullback uses square by closure"):
        jax.grad(cube)(2.0)


def test_automatic_differentiates_what_the_rule_cannot():
    f = lambda scale: scaled_by(scale)(P).sum()
    assert_close(jax.grad(jaxdl.automatic(f))(2.0), P.sum(), "float32")


# --- what changes between two calls --------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda f: f, jax.grad], ids=["value", "gradient"])
def test_an_array_that_changes_is_read_anew(wrap):
    scale = np.ones((), np.float32)
    run = wrap(scaled_by(scale))
    assert run(2.0) == wrap(lambda x: x)(2.0)
    scale[()] = 5
    assert run(2.0) == wrap(lambda x: 5 * x)(2.0)


def test_a_number_in_the_ops_module_that_changes_is_read_anew(monkeypatch):
    source = (
        "import jaxdl\nFACTOR = 1.0\ndef by_factor(x):\n    return x * FACTOR\n"
        "@jaxdl.op\ndef f(x):\n    return by_factor(x)\n"
        "@f.rule\ndef f_rule(x):\n    return by_factor(x), jaxdl.saving(lambda dy: (dy * FACTOR,))\n"
    )
    module = types.ModuleType("an_ops_module")
    monkeypatch.setitem(sys.modules, "an_ops_module", module)
    exec(source, module.__dict__)
    assert module.f(3.0) == 3
    assert jax.grad(module.f)(3.0) == 1
    module.FACTOR = 2.0
    assert module.f(3.0) == 6
    assert jax.grad(module.f)(3.0) == 2


# --- what is kept alive --------------------------------------------------------------------------------


def _used(f):
    """An op used in every way in which a trace of it might be kept."""
    x = jnp.float32(1.0)
    f(x), jax.grad(f)(x), jax.jvp(f, (x,), (x,)), jax.vmap(f)(x[None]), jax.grad(jax.grad(f))(x)
    jax.jit(f)(x), jax.jit(jax.grad(f))(x), jax.jit(jax.vmap(jax.grad(f)))(x[None])
    jax.grad(lambda x: jax.lax.scan(lambda c, _: (f(c), None), x, length=2)[0])(x)
    jax.grad(jax.checkpoint(f))(x)
    jaxdl.rules(f, x)
    jax.grad(jaxdl.automatic(f))(x)


def test_an_op_defined_in_a_function_dies_with_it():
    def once(closes_over):
        f = scaled_by(closes_over)
        _used(f)
        return weakref.ref(f)

    seen = [once(scale) for scale in (jnp.float32(3.0), np.float32(4.0))]
    gc.collect()
    assert [r() for r in seen] == [None] * 2


def test_a_fresh_function_as_a_setting_dies_with_its_call():
    def once():
        weights = jnp.ones(3)
        reduce = lambda v: (v * weights).sum()
        _used(lambda x: ops.squared_error(x * P, T, reduce=reduce))
        return weakref.ref(reduce)

    seen = [once() for _ in range(2)]
    gc.collect()
    assert [r() for r in seen] == [None] * 2


def test_traces_of_jaxdls_own_ops_are_kept():
    """They depend on nothing that may change, and live as long as their module."""
    for name, f in ops.all_ops().items():
        functions = {name: jnp.sin for name, p in f.signature.parameters.items() if name in ("f", "g")}
        assert f._surroundings(functions) is not None, name


# --- Taylor series -------------------------------------------------------------------------------------


def test_taylor_series_go_through_an_op():
    x, series = jnp.array([0.3, -0.4]), ((jnp.ones(2), jnp.zeros(2), jnp.zeros(2)),)
    slope = lambda f: lambda x: jax.jvp(f, (x,), (jnp.ones(2),))[1]
    for f in (ops.gelu, jax.jit(ops.tanh), jax.grad(lambda x: ops.silu(x).sum()), lambda x: slope(ops.sigmoid)(x)):
        value, terms = jet(f, (x,), series)
        for got in (value, *terms):
            np.testing.assert_allclose(got, f(x), rtol=2e-5, atol=1e-5)
            f = slope(jaxdl.automatic(f))


def test_a_definition_without_taylor_series_is_named():
    solve = lambda p: ops.fixed_point(p, p, f=_halved).value
    with pytest.raises(NotImplementedError, match=r"fixed_point: jax\.experimental\.jet has no rule for \w+"):
        jet(solve, (P,), ((P, P),))


def _halved(p, x):
    return p + x / 2
