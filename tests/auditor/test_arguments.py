"""Arguments are found for functions of which nothing is known but the name and the signature."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl.auditor.arguments import generated, parts_of_rules, public_callables
from jaxdl.rule import op, saving


def shapes(f):
    return [getattr(x, "shape", x) for x in generated(f).args]


def cross_entropy(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).sum()


def noisy(x, key):
    return x + jax.random.normal(key, x.shape)


def masked(x, mask):
    return jnp.where(mask, x, 0.0)


def along(x, axis):
    return jnp.cumsum(x, axis)


def of_images(images):
    n, h, w, c = images.shape
    return images.reshape(n, h * w, c).mean(1)


def repeated(x, times):
    return sum([x] * times)


def matrix_vector(a, b):
    assert a.shape[1:] == b.shape
    return (a * b[None]).sum(1)


def with_settings(x, scale=2.0, *, shift=1.0):
    return x * scale + shift


def all_of(*arrays):
    return arrays[0] * 2


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (jnp.sin, [(3, 4)]),
        (cross_entropy, [(3, 4), (3,)]),
        (noisy, [(3, 4), ()]),
        (masked, [(3, 4), (3, 4)]),
        (along, [(3, 4), -1]),
        (of_images, [(2, 8, 8, 3)]),
        (repeated, [(3, 4), 2]),
        (matrix_vector, [(4, 4), (4,)]),
        (with_settings, [(3, 4)]),
        (all_of, [(3, 4)]),
        (jnp.linalg.cholesky, [(4, 4)]),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_shapes_and_kinds(f, expected):
    assert shapes(f) == expected


def test_labels_are_whole_numbers_and_masks_boolean():
    assert generated(cross_entropy).args[1].dtype == jnp.int32
    assert generated(masked).args[1].dtype == bool
    assert generated(jnp.sin).args[0].dtype == jnp.float32


def test_integers_become_floats_where_only_then_the_derivative_exists():
    logits, labels = generated(optax.losses.safe_softmax_cross_entropy).args
    assert (labels.shape, labels.dtype) == (logits.shape, jnp.float32)


@jax.custom_vjp
def one_cotangent_too_few(x, labels):
    return x[labels].sum()


one_cotangent_too_few.defvjp(lambda x, labels: (one_cotangent_too_few(x, labels), x), lambda x, dy: (dy * x,))


def test_integers_stay_where_the_rule_itself_is_at_fault():
    assert generated(one_cotangent_too_few).args[1].dtype == jnp.int32


@pytest.mark.parametrize("f", [jnp.log, jnp.arccos, jnp.arccosh, jnp.linalg.cholesky, jax.scipy.special.logit])
def test_values_lie_where_the_function_is_finite(f):
    (x,) = generated(f).args
    assert np.isfinite(f(x)).all()


def test_values_are_the_same_each_time():
    np.testing.assert_array_equal(*[generated(jnp.sin).args[0] for _ in range(2)])


@pytest.mark.parametrize(
    ("f", "reason"),
    [
        (lambda x: jnp.ones(3), "depends"),
        (lambda x: x > 0, "depends"),
        (lambda x, *, size: x, "size by name"),
        (lambda x: x["weights"], "Error"),
        (lambda: 1.0, "no argument"),
        (lambda a, b, c, d, e, f, g: a, "7 arguments"),
    ],
)
def test_without_arguments_there_is_a_reason(f, reason):
    args, why = generated(f)
    assert args is None
    assert reason in why


def test_public_callables():
    module = types.ModuleType("optax.made")
    module.softmax, module.log_cosh = jax.nn.softmax, optax.losses.log_cosh  # the first is another package's
    module._hidden, module.l2_loss = optax.losses.l2_loss, optax.losses.l2_loss
    module.State, module.numbers = optax.EmptyState, np
    assert list(public_callables(module)) == ["l2_loss", "log_cosh"]
    module.__all__ = ["l2_loss"]
    assert list(public_callables(module)) == ["l2_loss"]


def test_parts_of_rules_are_not_public_callables():
    """Functions given to `defvjp`, `defjvp` and `@NAME.rule`, also of a rule that is jitted."""
    module = types.ModuleType("tests.made")

    def f_fwd(x):
        return x, x

    def f_bwd(x, dy):
        return (dy,)

    def g_jvp(primals, tangents):
        return primals[0], tangents[0]

    def h_rule(x):
        return x, saving(lambda dy: (dy,))

    module._f, module.g, module.h = jax.custom_vjp(lambda x: x), jax.custom_jvp(lambda x: x), op(lambda x: 1 * x)
    module._f.defvjp(f_fwd, f_bwd)
    module.g.defjvp(g_jvp)
    module.h.rule(h_rule)
    module.f = jax.jit(module._f)
    module.f_fwd, module.f_bwd, module.g_jvp, module.h_rule, module.other = f_fwd, f_bwd, g_jvp, h_rule, shapes
    for value in vars(module).values():
        if callable(value):
            value.__module__ = "tests.made"
    assert list(parts_of_rules(module)) == ["f_bwd", "f_fwd", "g_jvp", "h_rule"]
    assert list(public_callables(module)) == ["f", "g", "h", "other"]


def test_most_of_jax_nn_is_found():
    offered = public_callables(jax.nn)
    assert "relu" in offered
    assert "initializers" not in offered
    assert all(generated(offered[name]).args for name in ("relu", "softmax", "one_hot", "glu", "logsumexp"))
