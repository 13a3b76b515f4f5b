"""Programs of audited code: jaxprs that are compiled once, in their own types or in float64.

They are compiled quickly, unless they are to be `optimized`: then as `jax.jit` compiles users' programs.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.double_precision import as_double, double_struct, in_double_precision


class UserCodeError(Exception):
    """The audited function, its rule, or JAX on them raised `error`. All other exceptions are the auditor's own."""

    def __init__(self, error: Exception):
        super().__init__(str(error))
        self.error = error


def user_code(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function that only runs audited code: its exceptions become UserCodeError."""

    @functools.wraps(f)
    def run(*args, **kwargs) -> Any:
        try:
            return f(*args, **kwargs)
        except UserCodeError:
            raise
        except Exception as error:
            raise UserCodeError(error) from error

    return run


def in_float64(jaxpr: Any, *arrays: Any) -> list[np.ndarray] | None:
    """The outputs of a jaxpr evaluated in float64; None where it cannot be, or is None."""
    if jaxpr is None:
        return None
    try:
        with jax.enable_x64(True):
            return [np.asarray(y) for y in user_code(_program)(jaxpr, True)(*map(as_double, arrays))]
    except UserCodeError:  # part of the function does not work in float64
        return None


@user_code
def evaluated(jaxpr: Any, *arrays: Any, optimized: bool = False) -> list[np.ndarray]:
    """The outputs of a jaxpr in its own types."""
    optimized = optimized or jx.are_large(arrays)  # so that a large program is compiled once
    return [np.asarray(y) for y in _program(jaxpr, False, optimized)(*arrays)]


def compile_ahead(*jaxprs: Any) -> None:
    """Starts to compile the programs that `evaluated` and `in_float64` will run, while other work goes on."""
    for jaxpr in filter(None, jaxprs):
        with contextlib.suppress(Exception):  # it is raised again where the program is needed
            _program(jaxpr, False)
            with jax.enable_x64(True):
                _program(jaxpr, True)


@functools.lru_cache(maxsize=64)
def _program(jaxpr, in_double, optimized=False):
    types = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in jx.opened(jaxpr).invars]
    f = lambda *x: jx.evaluate(jaxpr, x, lambda eqn: None)
    if in_double:
        types, f = [*map(double_struct, types)], in_double_precision(jaxpr)
    program = ready(f, *types, optimized=optimized)
    return lambda *arrays: program(*map(_typed, arrays, types))


def _typed(x, type):
    """An array as a program takes it that is compiled for this type."""
    return x if jx.is_key(x) else np.asarray(x, type.dtype)


def ready(f: Callable[..., Any], *arrays: Any, optimized: bool = False) -> Callable[..., Any]:
    """f compiled for arrays like these. Tracing errors are the auditor's, later ones those of audited code."""
    traced = (jax.jit(f) if optimized else jx.quick_jit(f, *arrays)).trace(*arrays)
    return user_code(user_code(jx.compiled)(traced, optimized))


def run(f: Callable[..., Any], *args: Any) -> Any:
    """The result of f, which is compiled for one call."""
    return jax.tree.map(np.asarray, ready(f, *args)(*args))
