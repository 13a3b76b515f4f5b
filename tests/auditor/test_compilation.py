"""Programs of the audit: equal ones are compiled once, others never share one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import jaxpr as jx
from jaxdl.auditor.programs import UserCodeError, compile_ahead, evaluated, in_float64
from jaxdl.jaxpr import quick_programs

X = np.arange(5, dtype=np.float32)


def program(f):
    return jx.trace(f, X)[0]


def shifted(by):
    return program(lambda x: x + np.full(5, by, np.float32))


@pytest.fixture
def compilations(monkeypatch):
    """What is compiled from here on."""
    begun, real = [], quick_programs.COMPILERS.submit
    monkeypatch.setattr(quick_programs.COMPILERS, "submit", lambda compile: begun.append(compile) or real(compile))
    return begun


def test_equal_programs_are_compiled_once(compilations):
    for by in (0.25, 0.25, 0.75):
        (y,) = evaluated(shifted(by), X)
        np.testing.assert_array_equal(y, X + np.float32(by))
    assert len(compilations) == 2


def test_compiled_ahead_is_compiled(compilations):
    jaxpr = shifted(1.25)
    compile_ahead(jaxpr, None)
    assert len(compilations) == 2
    assert (evaluated(jaxpr, X)[0] == X + 1.25).all()
    assert in_float64(jaxpr, X)[0].dtype == np.float64
    assert len(compilations) == 2


@pytest.mark.parametrize("factor", [2.0, 3.0])
def test_callbacks_are_not_shared(factor):
    times = program(lambda x: jax.pure_callback(lambda x: np.asarray(x) * np.float32(factor), X, x))
    assert (evaluated(times, X)[0] == factor * X).all()


def test_outputs_of_other_types_are_not_shared():
    keys = program(lambda x: jax.random.wrap_key_data(x.astype(jnp.uint32)[:2]))
    bits = program(lambda x: x.astype(jnp.uint32)[:2])
    (found,) = evaluated(bits, X)
    assert found.dtype == np.uint32
    with pytest.raises(UserCodeError):  # keys are no numbers
        evaluated(keys, X)
