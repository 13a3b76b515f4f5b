"""Rules wrapped by equinox or `custom_gradient` have the name of the wrapped function."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxdl import automatic, rules

eqx = pytest.importorskip("equinox")


def with_jvp(f, slope):
    wrapped = eqx.filter_custom_jvp(f)
    wrapped.def_jvp(lambda x, x_dot: (f(*x), slope * x_dot[0]))
    return wrapped


def doubled(x):
    return 2 * x


class Scaled(eqx.Module):
    factor: float

    @eqx.filter_jit
    def __call__(self, x):
        return jnp.tanh(x) * self.factor


@eqx.filter_custom_vjp
def cubed(x):
    return x**3


cubed.def_fwd(lambda perturbed, x: (x**3, x))
cubed.def_bwd(lambda x, dy, perturbed, _: 100 * dy)


@jax.custom_gradient
def squared(x):
    return x * x, lambda dy: 100 * dy


nothing = eqx.filter_custom_vjp(lambda x: x)
nothing.def_fwd(lambda perturbed, x: (x, None))
nothing.def_bwd(lambda _, dy, perturbed, x: dy)

WRAPPED = {
    "doubled": with_jvp(doubled, 100),
    "Scaled.__call__": with_jvp(Scaled(2.0), 100),
    "cubed": cubed,
    "squared": squared,
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_rule_has_the_name_of_the_wrapped_function(name):
    f, x = WRAPPED[name], jnp.float32(0.5)
    g = jax.jit(lambda x: f(jax.nn.relu(x)))
    found = rules(g, x)
    assert {site.name for site in found} - {"_nondifferentiable"} == {"relu", name}
    assert all(Path(__file__).name in site.where for site in found)
    assert float(jax.grad(automatic(g, only="relu"))(x)) == 100  # the rule, which is wrong, is kept
    assert float(jax.grad(automatic(g, only=name))(x)) < 3


def test_functions_without_a_name_are_named_after_their_source_lines():
    first = with_jvp(lambda x: x + 1, 1)
    second = with_jvp(functools.partial(lambda a, x: a * x, 2.0), 2)
    f = lambda x: nothing(first(x)) * second(x)
    names = {site.name for site in rules(f, jnp.float32(1))} - {"_nondifferentiable"}
    assert len(names) == 3
    assert all(Path(__file__).name in name for name in names)
