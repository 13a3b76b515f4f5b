"""Numbers and NumPy's arrays among the arguments of `audit`, `contrast` and `assert_rules`, as JAX takes them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from jaxdl.auditor import Verdict
from jaxdl.jaxpr import given_arguments
from jaxdl.testing import assert_rules

X = jnp.asarray([-2.0, -0.3, 0.4, 1.7])


def huber_value(r, width):
    a = jnp.abs(r)
    return jnp.where(a <= width, 0.5 * r * r, width * (a - 0.5 * width))


def huber(of_width):
    """Huber's loss with a rule whose cotangent of the width is `of_width(r, width, dy)`."""

    @jax.custom_vjp
    def loss(r, width):
        return huber_value(r, width)

    def backward(kept, dy):
        r, width = kept
        return dy * jnp.clip(r, -width, width), of_width(r, width, dy)

    loss.defvjp(lambda r, width: (huber_value(r, width), (r, width)), backward)
    return loss


FORGETFUL = huber(lambda r, width, dy: None)
WHOLE = huber(lambda r, width, dy: (dy * jnp.maximum(jnp.abs(r) - width, 0)).sum())


@jax.custom_vjp
def square(x):
    return x**2


square.defvjp(lambda x: (x**2, x), lambda x, dy: (2 * x,))


@pytest.mark.parametrize(
    "args", [(X, 1.0), (X, np.float64(1.0)), (X, np.array(1.0)), (np.float64(2.0), 1.0), (X.astype(jnp.bfloat16), 1.0)]
)
def test_a_rule_that_forgets_a_number_is_wrong(args):
    assert jaxdl.audit(FORGETFUL, quick=True)(*args).verdict == Verdict.WRONG


def test_a_rule_that_forgets_a_number_in_a_pytree_or_by_name_is_wrong():
    named = lambda r, *, settings: FORGETFUL(r, settings["width"][0]).sum()
    assert jaxdl.audit(named, quick=True)(X, settings={"width": [1.0]}).verdict == Verdict.WRONG


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_right_rule_is_right_at_the_number_given_and_in_all_formats(dtype):
    """At a negative width, which is not asked for, the rule is another function's."""
    report = jaxdl.audit(WHOLE, X.astype(dtype), 1.0)
    assert report.verdict == Verdict.RIGHT
    assert len(report.audited[0].tally.formats) == 4
    assert jaxdl.audit(WHOLE, quick=True, domains={"width": (-1.0, 1.0)})(X, 1.0).verdict == Verdict.WRONG


def test_a_number_that_f_makes_an_array_of_keeps_its_value_too():
    f = lambda r, width: WHOLE(r, jnp.asarray(width, jnp.float32)).sum()
    assert not jaxdl.audit(f, quick=True)(X, 1.0).faults


def test_numbers_alone_are_arguments():
    assert jaxdl.audit(lambda x, y: x * y, 2.0, 1.0).verdict == Verdict.RIGHT
    assert jaxdl.contrast(lambda x, y: x * y, 2.0, 1.0, time=False).whole.shape == ()


def test_contrast_differentiates_in_numbers():
    (_, of_width) = jaxdl.contrast(
        lambda r, w: FORGETFUL(r, w).sum(), X, 1.0, time=False, sites=False
    ).whole.differences[1:]
    assert of_width.relative == 1


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def scaled(x, scale):
    return x * scale


scaled.defvjp(lambda x, scale: (x * scale, None), lambda scale, _, dy: (dy * scale,))

HELD = {
    "a condition": (lambda x, scale: x * scale if scale > 1 else x, (X, 2.0), "TracerBoolConversionError"),
    "a setting of a rule": (scaled, (X, 2.0), "UnexpectedTracerError"),
    "a setting of jit": (jax.jit(lambda x, scale: x * scale, static_argnums=1), (X, 2.0), "ValueError"),
    "an infinite one": (lambda x, top: jnp.minimum(x, top), (X, float("inf")), "it is not finite"),
}


@pytest.mark.parametrize("case", HELD)
def test_a_number_whose_value_is_needed_is_held_constant_and_named(case):
    f, args, reason = HELD[case]
    report = jaxdl.audit(f, quick=True)(*args)
    assert not report.faults
    (said,) = report.constant
    assert said.startswith(f"argument 1 ({args[1]}) is held constant: ")
    assert reason in said
    assert report.to_json()["constant"] == [said]
    assert said[1:] in str(report.table())
    assert said[1:] in str(jaxdl.contrast(f, *args, time=False).table())


def test_one_number_may_be_held_and_another_not():
    f = lambda x, scale, shift: (x * scale if scale > 1 else x) + shift
    given = given_arguments("audit", f, (X, 2.0, 1.0), {})
    assert (given.args[1], given.numbers, len(given.constant)) == (2.0, (False, True), 1)


def test_a_function_of_nothing_but_held_numbers_says_why():
    with pytest.raises(ValueError, match=r"nothing to differentiate in; argument 0 \(1.0\) is held constant"):
        jaxdl.audit(lambda x: x if x > 0 else -x, 1.0)


def test_float64_arrays_of_numpy_hide_no_fault():
    x = np.linspace(0.5, 2, 4)
    assert jaxdl.audit(square, x).verdict == Verdict.NOT_LINEAR
    with pytest.raises(AssertionError, match="not linear"):
        assert_rules(lambda tree: square(tree["x"]).sum(), {"x": x})
    with pytest.raises(AssertionError, match="not linear"):
        assert_rules(lambda y, *, x: (y * square(x)).sum(), X, x=x)
    assert_rules(lambda x: jnp.sum(x**2), x, domains=[(np.float64(0.25), np.float64(4.0))])


def test_float64_arrays_of_numpy_that_f_closes_over_hide_no_fault():
    x = np.linspace(0.5, 2, 4)
    assert jaxdl.audit(lambda y: (x * square(y * x)).sum(), X).verdict == Verdict.NOT_LINEAR


@pytest.mark.parametrize("dtype", ["longdouble", "object", "str"])
@pytest.mark.parametrize("tool", [jaxdl.audit, jaxdl.contrast])
def test_arrays_that_jax_does_not_have_are_named(tool, dtype):
    with pytest.raises(TypeError, match=r"argument 1\['w'\] is a NumPy array of type"):
        tool(lambda x, tree: x, X, {"w": np.ones(2).astype(dtype)})


def test_a_finding_on_a_number_has_no_double_space():
    assert all("  " not in f.where for f in jaxdl.audit(FORGETFUL, quick=True)(X, 1.0).findings)


@jax.custom_vjp
def product(w, x):
    return w @ x


product.defvjp(lambda w, x: (w @ x, (w, x)), lambda kept, dy: (dy @ kept[1].T, kept[0].T @ dy))

PRODUCTS = {
    "a constant of the rule": lambda w: product(w, np.ones((3, 2), np.float32)).sum(),
    "a cast inside": lambda w: product(w, w.T.astype(jnp.float32)).sum(),
}


@pytest.mark.parametrize("case", PRODUCTS)
@jax.numpy_dtype_promotion("standard")
def test_types_that_only_the_audit_mixes_are_left_out(case):
    """Where f closes over a float32 array, a float16 argument would give its rules arrays of two types."""
    report = jaxdl.audit(PRODUCTS[case], jnp.asarray([[0.5, 1.0, -2.0]]))
    assert not report.faults
    assert all("float16" in a.tally.left_out for a in report.audited)


@jax.numpy_dtype_promotion("standard")
def test_types_that_the_user_mixes_are_judged():
    report = jaxdl.audit(product, jnp.ones((2, 3), jnp.float16), jnp.ones((3, 2)))
    assert report.verdict == Verdict.STRUCTURE


@pytest.mark.parametrize("tool", [jaxdl.audit, functools.partial(jaxdl.contrast, quiet=True)])
def test_values_without_numbers_are_named(tool):
    with pytest.raises(TypeError, match=r"got a value without numbers, ShapeDtypeStruct of type float32\[3\]"):
        tool(jax.nn.relu, jax.ShapeDtypeStruct((3,), jnp.float32))
    with pytest.raises(TypeError, match=r"got a value without numbers, .*Tracer of type float32\[3\]: call"):
        jax.jit(lambda x: tool(jax.nn.relu, x))(jnp.ones(3))
