"""Labels of operations are the variables of the function's source."""

import functools

import jax
import jax.numpy as jnp

from jaxdl import trace

X = jnp.array([0.5, -1.0])


def labels(f, *args):
    return [node.label for node in trace(f)(*args).nodes if node.equation is not None]


def network(w, x):
    h = jnp.tanh(w * x)
    y = helper(h)
    return y.sum()


def helper(h):
    scaled = h * 2
    return scaled + 1


def test_variables_also_of_functions_in_the_same_file():
    assert labels(network, X, X) == ["u1", "h", "scaled", "y", "u5"]


def test_the_same_when_it_is_traced_again_and_in_wrappers():
    jitted, partial = jax.jit(network), functools.partial(network, X)
    for f, *args in [(jitted, X, X), (jitted, X, X), (partial, X)]:
        assert labels(f, *args) == ["u1", "h", "scaled", "y", "u5"]


def test_a_variable_that_is_assigned_again_gets_a_number():
    def f(x):
        for _ in range(2):
            y = jnp.sin(x)
            x = y * 2
        return x

    assert labels(f, X) == ["y", "x2", "y2", "x3"]


def test_only_a_value_that_alone_leaves_the_assignment_has_its_name():
    def two(x):
        return jnp.sin(x), jnp.cos(x)

    def f(x):
        both = two(x)
        same = (lambda x: x)(x)
        first, second = both
        last = first * second * same
        return last

    assert labels(f, X) == ["u1", "u2", "u3", "last"]


def test_a_library_function_of_several_operations_names_its_result():
    def f(x):
        p = jax.nn.softmax(x)
        return p * p

    graph = trace(f)(X)
    assert jnp.allclose(graph["p"].value, jax.nn.softmax(X))


def test_a_name_in_use_is_not_given_twice():
    def f(u2, x):
        u3 = jnp.sin(u2)
        c1 = jnp.cos(x) + X
        return u3 * c1

    found = [node.label for node in trace(f)(X, X).nodes]
    assert len(set(found)) == len(found)


def test_a_variable_keeps_a_name_that_another_operation_would_have():
    def f(w, x):
        u1 = w.T @ x
        return u1 + x

    assert labels(f, jnp.eye(2), X) == ["v1", "u1", "u3"]


def test_constants_have_the_names_of_outer_variables():
    mine = X + 1

    def f(x):
        return x * mine + X + jnp.arange(2.0)

    names = [node.label for node in trace(f)(X).nodes if node.kind == "constant"]
    assert {"mine", "X"} <= set(names)
