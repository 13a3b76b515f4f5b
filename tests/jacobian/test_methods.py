"""Every method has the signature and the result of jax.jacrev."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import automatic, jacobian
from tests.jacobian.functions import TREES, VECTOR, X, layer, trees
from tests.tolerance import assert_close

METHODS = {
    "reverse": jacobian.reverse,
    "reverse, chunk": functools.partial(jacobian.reverse, chunk=2),
    "forward": jacobian.forward,
    "forward, chunk": functools.partial(jacobian.forward, chunk=4),
    "cut": jacobian.cut,
    "sparse": jacobian.sparse,
    "eliminate": functools.partial(jacobian.eliminate, seconds=0.2),
    "finite": jacobian.finite,
    "sharded": functools.partial(jacobian.sharded, mesh=jax.sharding.Mesh(np.array(jax.devices()), ("d",))),
    "best": jacobian.best,
}
OUTSIDE_JIT = ("finite",)
READ_FROM_THE_PROGRAM = ("reverse", "forward", "cut", "sparse", "eliminate", "finite")  # the other methods use these
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def same(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape
        assert_close(a, b, "float32", "jacobian")


@pytest.mark.parametrize("name", READ_FROM_THE_PROGRAM)
@pytest.mark.parametrize("f", VECTOR, ids=lambda f: f.__name__)
def test_is_jacrev_of_vectors(name, f):
    same(METHODS[name](f)(X), jax.jacrev(f)(X))


@every_method
def test_is_jacrev_of_pytrees(method):
    same(method(trees, (0, -1))(*TREES), jax.jacrev(trees, (0, -1))(*TREES))


@pytest.mark.parametrize("argnums", [0, 2, -1, (1,), (2, 0)], ids=str)
def test_argnums_are_those_of_jacrev(argnums):
    same(jacobian.reverse(trees, argnums)(*TREES), jax.jacrev(trees, argnums)(*TREES))


@every_method
def test_aux_keywords_and_plain_numbers(method):
    f = lambda x, *, twice: ((x * 2 if twice else x) ** 2, {"of": x, "name": "aux"})
    got, aux = method(f, has_aux=True)(3.0, twice=True)
    assert_close(got, jnp.float32(24.0), "float32", "jacobian")
    assert aux["name"] == "aux"
    assert aux["of"] == 3


@every_method
def test_in_jit_and_vmap(method, request):
    if request.node.callspec.id in OUTSIDE_JIT:
        pytest.skip("computes in float64, which jit refuses unless jax_enable_x64 is on: test_finite")
    many = jnp.stack([X, 2 * X])
    inside = lambda s, xs: jax.vmap(method(lambda x: layer(s * x)))(xs)  # closes over a traced value
    same(jax.jit(inside)(jnp.float32(1.5), many), jax.vmap(jax.jacrev(lambda x: layer(1.5 * x)))(many))


@every_method
def test_hand_written_rules_are_used_unless_removed(method):
    from jaxdl import op, saving

    @op
    def doubled(x):
        return x * x

    @doubled.rule
    def doubled_rule(x):
        return x * x, saving(lambda x, dy: (20 * x * dy,), x)

    right = jnp.diag(2 * X)
    if method is not jacobian.finite:
        same(method(doubled)(X), 10 * right)
    same(method(automatic(doubled))(X), right)


@every_method
def test_prepared_once_for_each_type(method):
    jacobian_of = method(jnp.sin)
    for x, types_seen in ((X, 1), (X + 1, 1), (X[:2], 2), (X, 2)):
        jacobian_of(x)
        assert len(jacobian_of.prepared) == types_seen


@every_method
def test_16_bit_dtypes_are_kept(method):
    x = X.astype(jnp.bfloat16)
    got = method(lambda x: jnp.sin(x) * 2)(x)
    assert got.dtype == jnp.bfloat16
    assert np.allclose(got.astype(np.float32), np.diag(2 * np.cos(np.asarray(x, np.float32))), atol=0.02)


@every_method
def test_nothing_in_or_out_is_an_empty_matrix(method):
    assert method(jnp.sin)(jnp.zeros((0, 2))).shape == (0, 2, 0, 2)
    assert method(lambda x: x[:0])(X).shape == (0, 6)
    assert method(lambda x: (None, ()))(X) == (None, ())
    assert method(lambda tree: {"a": X})({}) == {"a": {}}


@pytest.mark.parametrize("plan", [jacobian.plan, jacobian.elimination_plan])
def test_an_empty_matrix_has_no_plan(plan):
    with pytest.raises(ValueError, match=r"the Jacobian is empty \(0×6\): there is no plan"):
        plan(lambda x: x[:0], X)


@every_method
@pytest.mark.parametrize(
    ("f", "args", "message"),
    [
        (jnp.sin, (3,), "inputs must be floating-point, got int32"),
        (jnp.sin, ("x",), "inputs must be arrays, got 'x'"),
        (lambda x: (x, "aux"), (1.0,), "outputs must be arrays, got 'aux'"),
        (lambda x: x > 0, (1.0,), "outputs must be floating-point, got bool"),
        (jnp.sin, (1j,), "complex"),
    ],
    ids=["integers", "text", "text out", "booleans out", "complex"],
)
def test_inputs_and_outputs_without_derivative_are_refused(method, f, args, message):
    with pytest.raises(TypeError, match=message):
        method(f)(*args)


@every_method
def test_arguments_of_the_method_are_checked(method):
    with pytest.raises(ValueError, match="argnums 2 asks for argument 2, the call has 1"):
        method(jnp.sin, 2)(X)
    with pytest.raises(TypeError, match="has no option 'chonk'"):
        method(jnp.sin, chonk=3)
    with pytest.raises(TypeError, match="must return a pair"):
        method(jnp.sin, has_aux=True)(X)
    with pytest.raises(TypeError, match="expected a function"):
        method(X)


def test_prepared_again_for_other_arguments_and_settings():
    """Also for settings that compare equal, as 1 and True."""
    f = lambda x, y, k: jnp.sin(x) * y.sum() * (3 if k is True else k)
    jacobian_of = jacobian.cut(f)
    for args in ((X, X, 1), (X, X[:2], 1), (X, X, True)):
        same(jacobian_of(*args), jax.jacrev(lambda x, args=args: f(x, *args[1:]))(X))
    assert len(jacobian_of.prepared) == 3


NUMBERS = {
    "a real number": (lambda x, t: jnp.sin(t * x) + t, (0.0, -0.5, 1.0), 1),
    "by name": (lambda x, *, t: jnp.sin(t * x) / (1 + t), (0.0, 0.5), 1),
    "a whole number in arithmetic": (lambda x, t: t * x**2 - t, (0, 1, 3), 1),
    "a complex number": (lambda x, t: jnp.abs(t) * x, (1j, 2 + 1j), 1),
    "in a pytree": (lambda x, t: t["a"][0] * x, ({"a": [1.5]}, {"a": [2.5]}), 1),
    "a condition": (lambda x, t: x**2 if t > 0.5 else x, (0.0, 1.0), 2),
    "an axis": (lambda x, t: x.reshape(2, 3).sum(t), (0, 1), 2),
    "a shift, whose pattern is known": (lambda x, t: jnp.roll(x, t), (1, 2), 2),
    "a count of steps": (lambda x, t: jax.lax.fori_loop(0, t, lambda i, c: jnp.sin(c), x), (1, 2), 2),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_plain_numbers_are_arrays_where_the_function_allows_it(name):
    f, numbers, programs = NUMBERS[name]
    call = lambda J, t: J(X, t=t) if name == "by name" else J(X, t)
    jacobian_of = jacobian.sparse(f)
    for t in numbers:
        same(call(jacobian_of, t), call(jax.jacrev(f), t))
    assert len(jacobian_of.prepared) == programs
