"""Rules as users write them are compared with a float64 run, whatever they keep and whatever formats they name."""

import jax
import jax.numpy as jnp
import pytest

from jaxdl import contrast, ops
from tests.measure.users_rules import RULES, X

NO_SECOND_DERIVATIVE = "an iterated solve"  # by JAX, for cg


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("order", [1, 2])
def test_every_rule_is_beside_its_float64_run(name, order):
    f, args = RULES[name]()
    if order == 2 and name == NO_SECOND_DERIVATIVE:
        with pytest.raises(TypeError, match="contrast: the function without its rules has no second derivative"):
            contrast(f, *args, time=False, order=2)
        return
    report = contrast(f, *args, time=False, order=order, quiet=True)
    assert report.sites
    assert not report.left_out
    for c in (report.whole, *report.sites):
        assert not c.missing, (c.name, c.missing)
        for d in c.differences:
            assert d.hand_ulp < 8, (c.name, d)
            assert d.automatic_ulp < 8, (c.name, d)


def test_a_wrong_rule_with_residuals_of_its_own_is_beyond_rounding():
    wrong = jax.custom_vjp(lambda x: jnp.tanh(x) + 1.0)
    wrong.defvjp(lambda x: (wrong(x), jnp.tanh(x)), lambda y, dy: (dy * (1 - 0.9 * y * y),))
    (site,) = contrast(wrong, X, time=False).sites
    assert site.largest.hand_ulp > 1e5 > 8 > site.largest.automatic_ulp


def test_a_rule_with_constants_at_a_kink():
    """The relu of x w − 0.5 falls to either side where x w is 0.5 up to rounding."""
    f = jax.custom_vjp(lambda x: jax.nn.relu(x.sum(-1) - 0.5))
    f.defvjp(
        lambda x: (f(x), (x.sum(-1) >= 0.5, x)),
        lambda kept, dy: (jnp.where(kept[0], dy, 0)[:, None] * jnp.ones_like(kept[1]),),
    )
    (site,) = contrast(f, jnp.array([[0.25, 0.25], [1.0, 2.0]]), time=False).sites
    assert not site.missing
    assert any(d.is_at_kink for d in site.differences)


def test_a_function_that_names_float32_has_a_float64_run():
    f = lambda x: jax.lax.dot(x, jnp.ones(3, jnp.float32)) * ops.square(jnp.float32(2.0))
    assert not contrast(f, jnp.full(3, 0.1), time=False).whole.missing
    rounded = lambda x: jnp.exp(x).astype(jnp.float32)
    assert all(d.automatic_ulp > 0.1 for d in contrast(rounded, X, time=False).whole.differences)


def test_what_cannot_be_evaluated_in_float64_has_no_float64_run():
    def f(x):
        shape = jax.ShapeDtypeStruct(x.shape, jnp.float32)
        called = jax.pure_callback(lambda x: x, shape, jax.lax.stop_gradient(x), vmap_method="sequential")
        return ops.square(x) * called

    report = contrast(f, jnp.ones(3), time=False)
    assert report.whole.differences[0].hand_ulp is None
    assert "whole has no ULP, by a float64 run: " in report.table().note
