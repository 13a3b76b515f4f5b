"""Tracing a function to a jaxpr, in the arrays among its arguments."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxdl.jaxpr.types import is_array
from jaxdl.jaxpr.versions import AnyJaxpr, without_references


def trace(f: Callable[..., Any], *types: Any, axis: tuple[Any, ...] | None = None) -> tuple[AnyJaxpr, Any]:
    """The closed jaxpr of f and the types of its result, under a named axis `(name, size)` if one is given."""
    env = [axis] if axis and isinstance(axis[0], str) else None
    jaxpr, shape = jax.make_jaxpr(f, axis_env=env, return_shape=True)(*types)
    return jaxpr if env else without_references(jaxpr), shape


def trace_arrays(f: Callable[..., Any], args: Any, kwargs: Any) -> tuple[AnyJaxpr, Any, list[Any]]:
    """Traces f in all arrays among its arguments; numbers, strings, functions and the like stay fixed.

    Returns:
        The closed jaxpr, the structure of f's result, and the arrays in the order of the jaxpr's inputs.
    """
    arrays = [leaf for leaf in jax.tree.leaves((args, kwargs)) if is_array(leaf)]
    jaxpr, shape = trace(in_arrays(f, args, kwargs), *arrays)
    return jaxpr, jax.tree.structure(shape), arrays


def in_arrays(f: Callable[..., Any], args: Any, kwargs: Any) -> Callable[..., Any]:
    """f as a function of the arrays among its arguments, in their order; all other arguments stay fixed."""
    leaves, tree = jax.tree.flatten((args, kwargs))

    @named_as(f)
    def of_arrays(*arrays):
        given = iter(arrays)
        args, kwargs = tree.unflatten([next(given) if is_array(leaf) else leaf for leaf in leaves])
        return f(*args, **kwargs)

    return of_arrays


def named_as(f: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a function that calls the user's f the name and the place by which JAX's errors speak of f."""
    while isinstance(f, functools.partial):
        f = f.func
    f = inspect.unwrap(f)
    plain = f if hasattr(f, "__code__") else type(f).__call__
    name = getattr(f, "__name__", type(f).__name__)

    def named(wrapper):
        if hasattr(plain, "__code__"):
            wrapper.__signature__ = inspect.signature(wrapper)
            wrapper.__wrapped__, wrapper.__name__ = plain, name  # JAX reads the place in what is wrapped
        return wrapper

    return named


def output_types(f: Callable[..., Any], *types: Any) -> list[Any]:
    """The types of f's outputs, with weak types, shardings and mesh axes."""
    return jax.make_jaxpr(f)(*types).out_avals


def output_types_and_effects(f: Callable[..., Any], *types: Any) -> tuple[list[Any], set[Any]]:
    """The types of f's outputs, and its effects: prints and other callbacks. What it does to references is left out."""
    closed = jax.make_jaxpr(f)(*types)
    return closed.out_avals, {effect for effect in closed.effects if not hasattr(effect, "input_index")}


def in_some(f: Callable[..., Any], args: Sequence[Any], moving: Sequence[int]) -> Callable[..., list[Any]]:
    """f as a function of its arguments at the places `moving` alone, returning its floating-point outputs in a list.

    The other arguments are those in args. For an equation: `in_some(binding(eqn), inputs, moving)`.
    """

    def of_moving(*moved):
        full = list(args)
        for i, x in zip(moving, moved, strict=True):
            full[i] = x
        inexact = lambda y: jax.numpy.issubdtype(jax.numpy.result_type(y), jax.numpy.inexact)  # of a Python number too
        return [y for y in jax.tree.leaves(f(*full)) if inexact(y)]

    return of_moving
