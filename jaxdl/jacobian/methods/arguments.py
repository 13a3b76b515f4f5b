"""The arguments of a user's function: the differentiated ones, checked, and those that are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

Argnums = int | Sequence[int]


def bind_arguments(
    name: str, f: Callable[..., Any], argnums: Argnums, args: Sequence[Any], kwargs: dict[Any, Any]
) -> tuple[Callable[..., Any], Any]:
    """f as a function of its arguments `argnums` alone, and the values of these."""
    chosen = differentiated(name, argnums, args)
    for leaf in jax.tree.leaves(chosen):
        check_leaf(name, False, "input", leaf)
    return lambda chosen: f(*with_differentiated(argnums, args, chosen), **kwargs), jax.tree.map(jnp.asarray, chosen)


def differentiated(name: str, argnums: Argnums, args: Sequence[Any]) -> Any:
    """The differentiated arguments: one for an integer, a tuple for a sequence, as in `jax.jacrev`."""
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for i in numbers:
        if not -len(args) <= i < len(args):
            raise ValueError(f"jacobian.{name}: argnums {argnums} asks for argument {i}, the call has {len(args)}")
    chosen = tuple(args[i] for i in numbers)
    return chosen[0] if isinstance(argnums, int) else chosen


def without_differentiated(argnums: Argnums, args: Sequence[Any]) -> tuple[Any, ...]:
    """The arguments with an empty tuple in place of the differentiated ones."""
    places = _places(argnums, len(args))
    return tuple(() if i in places else arg for i, arg in enumerate(args))


def with_differentiated(argnums: Argnums, args: Sequence[Any], chosen: Any) -> list[Any]:
    """The arguments with `chosen` in place of the differentiated ones."""
    args = list(args)
    for i, value in zip(_places(argnums, len(args)), (chosen,) if isinstance(argnums, int) else chosen, strict=True):
        args[i] = value
    return args


def _places(argnums: Argnums, count: int) -> list[int]:
    return [i % count for i in ((argnums,) if isinstance(argnums, int) else argnums)]


def check_leaf(name: str, holomorphic: bool, kind: str, leaf: Any) -> None:
    """Refuses an input or output without a derivative, where JAX would return zeros or fail deep inside.

    Raises:
        TypeError: If the leaf is no array, or not of a dtype that can be differentiated.
    """
    try:
        dtype = jax.typeof(leaf).dtype
    except TypeError:
        raise TypeError(
            f"jacobian.{name}: the function's {kind}s must be arrays, got {leaf!r}; keep it out of the "
            f"{'differentiated arguments' if kind == 'input' else 'output, or return it with has_aux=True'}"
        ) from None
    if not jnp.issubdtype(dtype, jnp.complexfloating if holomorphic else jnp.floating):
        if jnp.issubdtype(dtype, jnp.complexfloating):
            hint = "complex numbers need holomorphic=True and a holomorphic function"
        elif kind == "input":
            hint = "convert it, or leave it out with argnums"
        else:
            hint = "convert it, or return it with has_aux=True"
        raise TypeError(
            f"jacobian.{name}: the function's {kind}s must be {'complex' if holomorphic else 'floating-point'}, "
            f"got {dtype}{list(jnp.shape(leaf))}; {hint}"
        )
