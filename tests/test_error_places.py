"""Errors of JAX while jaxdl traces a user's function name that function and its line."""

import functools
import re

import jax
import jax.numpy as jnp
import pytest

import jaxdl
from jaxdl import graph, jacobian

X = jnp.ones(3)


def branches(x):
    return x if x.sum() > 0 else -x


def scaled(a, x):
    return a * branches(x)


class Layer:
    def __call__(self, x):
        return branches(x)


WAYS = {
    "best": lambda f: jacobian.best(f)(X),
    "hessian": lambda f: jacobian.hessian(f)(X),
    "laplacian": lambda f: jacobian.laplacian(f)(X),
    "solve": lambda f: jacobian.solve(f)(X)(X),
    "audit": lambda f: jaxdl.audit(f, X),
    "contrast": lambda f: jaxdl.contrast(f, X, quiet=True),
    "tune": lambda f: jaxdl.tune(f)(X),
    "automatic": lambda f: jaxdl.automatic(f)(X),
    "rules": lambda f: jaxdl.rules(f, X),
    "trace": lambda f: graph.trace(f, X),
    "source": lambda f: graph.source(f, X),
}


def place(code):
    return f"{code.co_filename}:{code.co_firstlineno} "


@pytest.mark.parametrize("way", WAYS)
def test_a_branch_on_an_array_names_the_function(way):
    with pytest.raises(jax.errors.TracerBoolConversionError, match=r"tracing the function branches at ") as raised:
        WAYS[way](branches)
    assert place(branches.__code__) in str(raised.value)


@pytest.mark.parametrize(
    ("f", "code"),
    [
        (functools.partial(scaled, 2.0), scaled.__code__),
        (Layer(), Layer.__call__.__code__),
        (functools.wraps(branches)(lambda x: branches(x)), branches.__code__),
    ],
    ids=["partial", "object", "wrapped"],
)
def test_the_place_inside_partials_objects_and_wrappers(f, code):
    for way in ("best", "audit"):
        with pytest.raises(jax.errors.TracerBoolConversionError, match=re.escape(place(code))):
            WAYS[way](f)


def test_what_has_no_python_code_is_traced_too():
    assert jacobian.best(jnp.negative)(X).shape == (3, 3)
    assert jaxdl.automatic(jax.jit(jnp.negative))(X).shape == (3,)
