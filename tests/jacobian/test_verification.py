"""`best`: a failing method is refused, a matrix is verified, and nothing calls back with random inputs."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import jacobian
from jaxdl.jacobian import estimation
from jaxdl.jacobian.analysis.probes import agrees
from tests.draws import draw
from tests.tolerance import assert_close

X = draw(90, 4)
plans = sys.modules["jaxdl.jacobian.planning"]


def refused(plan, method):
    return next(way.refused for way in plan.ways if way.method == method)


def failing(error):
    def prepare(vector):
        raise error

    return prepare


@pytest.mark.parametrize("error", [AssertionError("no"), RecursionError(), IndexError("7"), KeyError("k")], ids=repr)
def test_any_error_of_a_method_is_a_refusal(monkeypatch, error):
    monkeypatch.setitem(estimation.PREPARE, "sparse", failing(error))
    monkeypatch.setitem(estimation.PREPARE, "cut", failing(error))
    plan = jacobian.plan(jnp.sin, X)
    assert type(error).__name__ in refused(plan, "sparse")
    assert type(error).__name__ in str(plan)
    assert_close(jacobian.best(jnp.sin)(X), jnp.diag(jnp.cos(X)), "float32", "jacobian")


def test_without_any_method_all_reasons_are_given():
    f = lambda x: jax.pure_callback(np.sin, x, x)
    with pytest.raises(ValueError, match=r"(?s)no method gives this Jacobian.*reverse: .*callback.*cut: .*callback"):
        jacobian.best(f)(X)


WRONG = {
    "all": lambda matrix: 2 * matrix,
    "one entry": lambda matrix: matrix.at[1, 2].add(0.1),
    "turned": lambda matrix: matrix.T,
    "not finite": lambda matrix: matrix.at[0, 0].set(jnp.nan),
}


def wrongly(name, wrong):
    """A method that returns a wrong matrix."""
    prepare = estimation.PREPARE[name]

    def prepared(vector):
        run = prepare(vector)

        class Run(type(run)):
            def __call__(self, x, *others):
                return wrong(run(x, *others))

        wrapped = Run.__new__(Run)
        vars(wrapped).update(vars(run))
        return wrapped

    return prepared


def f(x):
    return jnp.sin(x) * jnp.roll(x, 1)


@pytest.fixture
def predicted_first(monkeypatch):
    """Makes the sparse method the first of every plan."""
    way = plans._way
    first = lambda vector, name: (
        plans.replace(way(vector, name), predicted=0.0) if name == "sparse" else way(vector, name)
    )
    monkeypatch.setattr(plans, "_way", first)
    monkeypatch.setattr(plans, "_timed", lambda vector, ways: ways)


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_matrix_is_never_returned(monkeypatch, predicted_first, kind):
    monkeypatch.setitem(estimation.PREPARE, "sparse", wrongly("sparse", WRONG[kind]))
    best = jacobian.best(f)
    assert_close(best(X), jax.jacrev(f)(X), "float32", "jacobian")
    assert "differs from a random product" in refused(best.bind((X,), {}).plan, "sparse")


def looping(x):
    """A while loop, which is not run on random inputs."""
    return jax.lax.while_loop(lambda y: y[0].sum() < 9, lambda y: (y[0] * 2 + 1, y[1] * y[0]), (x, f(x)))[1]


def test_a_wrong_matrix_of_a_function_that_is_not_run(monkeypatch, predicted_first):
    """It is found on the first arguments; where these are traced, it is NaN."""
    monkeypatch.setitem(estimation.PREPARE, "sparse", wrongly("sparse", WRONG["one entry"]))
    assert jnp.isnan(jax.jit(jacobian.best(looping))(X)).all()
    assert jnp.isnan(jax.vmap(jacobian.best(looping))(X[None])).all()
    assert_close(jacobian.best(looping)(X), jax.jacfwd(looping)(X), "float32", "jacobian")


def test_a_right_matrix_of_a_function_that_is_not_run(predicted_first):
    for best in (jacobian.best(looping), jax.jit(jacobian.best(looping))):
        assert_close(best(X), jax.jacfwd(looping)(X), "float32", "jacobian")
    assert_close(jax.vmap(jacobian.best(looping))(X[None])[0], jax.jacfwd(looping)(X), "float32", "jacobian")


def test_compared_once(monkeypatch, predicted_first):
    compared = []
    module = sys.modules["jaxdl.jacobian.verification"]
    for name in ("agrees", "has_product"):
        compare = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given, by=compare: compared.append(1) or by(*given))
    best = jacobian.best(f)
    for x in (X, 2 * X, X):
        best(x)
    assert len(compared) == 1


def test_without_finite_values_on_random_inputs_the_first_arguments_are_used(monkeypatch, predicted_first):
    monkeypatch.setitem(estimation.PREPARE, "sparse", wrongly("sparse", WRONG["one entry"]))
    g = lambda x: jnp.log(x - 5) * jnp.roll(x, 1)
    best = jacobian.best(g)
    assert_close(best(X + 9), jax.jacrev(g)(X + 9), "float32", "jacobian")


CALLING = {
    "debug.callback": lambda x, see: jax.debug.callback(see, x),
    "debug.print": lambda x, see: jax.debug.print("{}", x),
    "pure_callback": lambda x, see: jax.pure_callback(see, jax.ShapeDtypeStruct((), jnp.float32), x),
    "inside a scan": lambda x, see: jax.lax.scan(lambda c, _: (c, jax.debug.callback(see, x)), 0.0, None, 2),
    "inside jit": lambda x, see: jax.jit(lambda x: jax.debug.callback(see, x))(x),
}


@pytest.mark.parametrize("name", CALLING)
def test_nothing_calls_back_with_random_inputs(name, capsys):
    seen = []

    def see(x):
        seen.append(np.array(x))
        return np.float32(0)

    def g(x):
        zero = CALLING[name](jax.lax.stop_gradient(x), see)
        return jnp.exp(x) + (zero if name == "pure_callback" else 0)

    jacobian.plan(g, X)
    jax.effects_barrier()
    assert not seen
    assert not capsys.readouterr().out
    assert_close(jacobian.best(g)(X), jnp.diag(jnp.exp(X)), "float32", "jacobian")
    jax.effects_barrier()
    assert all(np.array_equal(x, X) for x in seen)


def test_after_an_error_on_random_inputs_the_prediction_decides(monkeypatch):
    def tried(vector, ways):
        raise FloatingPointError("random inputs")

    monkeypatch.setattr(plans, "_timed", tried)
    plan = jacobian.plan(f, X)
    assert all(way.measured is None for way in plan.ways)
    assert_close(jacobian.best(f)(X), jax.jacrev(f)(X), "float32", "jacobian")


def test_arrays_that_a_function_closes_over_keep_their_values():
    """Random numbers in the table of a gather would make another function."""
    table = jnp.array([3, 1, 2, 0])
    g = lambda x: jnp.sin(x[table]) * x
    assert_close(jacobian.best(g)(X), jax.jacrev(g)(X), "float32", "jacobian")


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
@pytest.mark.parametrize("forward", [True, False])
def test_a_matrix_of_any_precision_is_compared(dtype, forward):
    """Whichever method is the fastest: JAX promotes nothing implicitly in these tests."""
    x = jnp.linspace(0.1, 1, 5).astype(dtype)
    f = lambda x: jnp.sin(x) * 2
    right = jax.jacrev(f)(x)
    assert all(agrees(right, f, x, forward))
    assert not agrees(right.at[2, 2].add(1), f, x, forward)[0]


def test_float64_decides_whether_a_matrix_is_wrong_or_rounded(monkeypatch, predicted_first):
    """Where a derivative cancels, as 1 − tanh² near 1, two right programs differ by more than the allowed error."""
    rounded = lambda matrix: jax.lax.optimization_barrier(matrix + 2.0**16) - 2.0**16
    monkeypatch.setitem(estimation.PREPARE, "sparse", wrongly("sparse", rounded))
    best = jacobian.best(f)
    assert jnp.abs(best(X) - jax.jacrev(f)(X)).max() > 1e-3
    assert refused(best.bind((X,), {}).plan, "sparse") == ""
