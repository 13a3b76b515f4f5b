"""A user's arguments as JAX takes them: arrays in JAX's types, and floating-point numbers as arrays."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxdl.jaxpr.tracing import in_arrays, in_some
from jaxdl.jaxpr.types import is_array, typed


class Given(NamedTuple):
    """Arguments of a function in which it is traced and differentiated.

    Attributes:
        args: The positional arguments.
        kwargs: The keyword arguments.
        numbers: Of the arrays among them, in their order, whether each was a number.
        constant: A sentence for each floating-point number that stays a constant, with the reason.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    numbers: tuple[bool, ...]
    constant: tuple[str, ...]


def given_arguments(tool: str, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Given:
    """The arguments of f with NumPy's arrays in the types that JAX gives them, and numbers as arrays.

    Floating-point and complex numbers, Python's or NumPy's, become arrays, in which f can be differentiated as in
    `jax.grad(f, 1)(x, 1.0)`. Python's have a weak type, as there. A number whose value f needs, for a condition or as a
    setting, stays as it is. So do integers.

    Args:
        tool: The name of the function that the user called, for errors.
        f: The function.
        args: Its arguments, any pytrees.
        kwargs: Its keyword arguments.

    Raises:
        TypeError: JAX has no type for an array among them, or one has no numbers.
    """
    check_concrete(tool, jax.tree.leaves((args, kwargs)))
    paths, tree = jax.tree_util.tree_flatten_with_path((args, kwargs))
    names, leaves = [_name(path) for path, _ in paths], [leaf for _, leaf in paths]
    arrays = [_converted(tool, name, x) for name, x in zip(names, leaves, strict=True)]
    numbers = [i for i, x in enumerate(leaves) if _is_number(x)]
    finite = [i for i in numbers if np.isfinite(leaves[i])]

    def with_arrays(places: Iterable[int]):
        chosen = set(places)
        return tree.unflatten([leaves[i] if i in numbers and i not in chosen else x for i, x in enumerate(arrays)])

    moving, errors = _traceable(f, finite, with_arrays)
    why = dict.fromkeys(numbers, "it is not finite") | {
        i: f"the function needs its value ({type(error).__name__})" for i, error in errors.items()
    }
    constant = [f"{names[i]} ({leaves[i]}) is held constant: {why[i]}" for i in numbers if i not in moving]
    is_traced = [i in moving if i in numbers else is_array(x) for i, x in enumerate(arrays)]
    args, kwargs = with_arrays(moving)
    return Given(args, kwargs, tuple(i in numbers for i, x in enumerate(is_traced) if x), tuple(constant))


def check_concrete(tool: str, arrays: Iterable[Any]) -> None:
    """Raises TypeError, in the name of a tool, for values that cannot be measured with."""
    for x in arrays:
        if isinstance(x, Tracer | jax.ShapeDtypeStruct):
            raise TypeError(
                f"{tool}: measures on arrays, got a value without numbers, {type(x).__name__} of type {typed(x)}: call "
                f"{tool} outside of jit, grad, vmap and the like, with arrays"
            )


def _traceable(f, numbers: Sequence[int], with_arrays) -> tuple[list[int], dict[int, Exception]]:
    """The numbers with which f can be traced as arrays, all together, and why it cannot be with each of the others."""
    if not numbers or _error(f, *with_arrays(numbers)) is None:
        return [*numbers], {}
    if _error(f, *with_arrays(())) is not None:  # it fails anyway
        traced = _error(f, *with_arrays(numbers), differentiated=False)
        return ([*numbers], {}) if traced is None else ([], dict.fromkeys(numbers, traced))
    moving, errors = [], {}
    for i in numbers:
        error = _error(f, *with_arrays([*moving, i]))
        if error is None:
            moving.append(i)
        else:
            errors[i] = error
    return moving, errors


def _error(f, args, kwargs, differentiated=True) -> Exception | None:
    """What f raises where it is traced in all arrays, and differentiated in the floating-point ones."""
    arrays = [x for x in jax.tree.leaves((args, kwargs)) if is_array(x)]
    flat = in_arrays(f, args, kwargs)
    smooth = [i for i, x in enumerate(arrays) if jnp.issubdtype(x.dtype, jnp.inexact)] if differentiated else []
    try:
        jax.eval_shape(lambda *x: jax.vjp(in_some(flat, x, smooth), *[x[i] for i in smooth])[0], *arrays)
    except Exception as error:  # whatever the user's function raises
        return error
    return None


def _converted(tool, name, x):
    if isinstance(x, float | complex) and not isinstance(x, np.generic):
        return jnp.asarray(x)
    if not isinstance(x, np.ndarray | np.generic):
        return x
    try:
        return np.asarray(x, jax.typeof(x).dtype)
    except TypeError:
        kind = f"{name} is a NumPy array of type {x.dtype}, which JAX does not have"
        raise TypeError(f"{tool}: {kind}; convert it, such as by x.astype('float32')") from None


def _is_number(x):
    return isinstance(x, float | complex) or (isinstance(x, np.generic) and jnp.issubdtype(x.dtype, jnp.inexact))


def _name(path):
    (_, key, *rest) = path
    own = getattr(key, "idx", getattr(key, "key", key))
    return f"argument {own}{jax.tree_util.keystr(tuple(rest))}"
