"""The planted faults are as they say: a table in order, one rule each, right and wrong of equal value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.audit_functions.fault import KINDS, Rule, by_jvp, by_op, by_vjp, check_grads_sees, normal
from benchmarks.audit_functions.faults import FAULTS
from jaxdl import rules

VERDICTS = {
    "wrong",
    "wrong at second order",
    "inaccurate",
    "non-finite",
    "structure",
    "not linear",
    "convention",
}
BY_NAME = {fault.name: fault for fault in FAULTS}


def test_the_table_is_in_order():
    assert len(FAULTS) >= 60
    assert len(BY_NAME) == len(FAULTS)
    assert {fault.kind for fault in FAULTS} == set(KINDS)
    assert all(fault.verdicts and fault.verdicts <= VERDICTS for fault in FAULTS)


def test_the_two_differ_in_the_rule_alone():
    for fault in FAULTS:
        if fault.kind != "output differs from the primal":
            right, wrong = fault.right(*fault.args), fault.wrong(*fault.args)
            np.testing.assert_array_equal(right, wrong, err_msg=fault.name)


def has_rule(fault):
    """One kind is no rule of JAX's, and `lax.custom_root` is a primitive from JAX 0.12 on, judged with the whole."""
    is_primitive = fault.name.startswith("root:") and jax.__version_info__ >= (0, 12)
    return fault.kind != "forward and reverse disagree" and not is_primitive


def test_each_has_one_rule():
    for fault in FAULTS:
        for f in (fault.right, fault.wrong):
            assert len(rules(f, *fault.args)) == has_rule(fault), fault.name


SLOPES = {
    "tanh: 1 − y²": (10.0, 8.2446e-9, 0.0),
    "softplus: eˣ/(1 + eˣ)": (100.0, 1.0, np.nan),
    "huber2: x everywhere": (4.0, 2.0, 4.0),
    "clip3: both sides at the bounds": (3.0, 1.0, 2.0),
    "absolute: x/|x|": (0.0, 0.0, np.nan),
}


@pytest.mark.parametrize("name", SLOPES)
def test_faults_that_show_elsewhere(name):
    x, right, wrong = SLOPES[name]
    slope = lambda f: jax.grad(f)(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(slope(BY_NAME[name].right), right, rtol=1e-4)
    np.testing.assert_allclose(slope(BY_NAME[name].wrong), wrong, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("form", [by_vjp, by_op])
def test_one_pullback_serves_both_forms(form, dtype):
    f = form(lambda a, ids: (a * a)[ids], lambda a, ids, y, dy: (jnp.zeros_like(a).at[ids].add(2 * a[ids] * dy), None))
    a, ids = jnp.asarray([1, 2, 3], dtype), jnp.array([0, 2, 2])
    slope = jax.grad(lambda a: f(a, ids).sum())(a)
    np.testing.assert_array_equal(slope.astype(jnp.float32), [2, 0, 12])
    assert slope.dtype == f(a, ids).dtype == a.dtype


def test_a_tangent_sees_the_function_to_any_order():
    f = by_jvp(lambda x: jnp.exp(x), lambda x, y, x_dot: y * x_dot)
    x = jnp.asarray(0.5, jnp.float32)
    np.testing.assert_allclose(jax.grad(jax.grad(jax.grad(f)))(x), np.exp(0.5), rtol=1e-6)


def test_what_check_grads_sees():
    square = Rule(by_vjp, lambda x: x * x, lambda x, y, dy: 2 * x * dy, normal((3,)))
    assert not check_grads_sees(square.fault("none", "factor"))
    assert check_grads_sees(square.fault("half", "factor", lambda x, y, dy: x * dy))
