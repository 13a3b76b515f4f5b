"""The trace of a user's function in its arguments: which of them are arrays in it, and which stay fixed."""

from __future__ import annotations

import collections
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx


@dataclass(frozen=True, eq=False)
class TracedFunction:
    """The closed jaxpr of a function of differentiated and other arrays.

    Attributes:
        jaxpr: Its inputs are the differentiated arrays, then `others`.
        outputs: The types of the outputs.
        out_tree: The structure of the function's result.
        others: The arrays that are not differentiated.
        settings: All leaves that are not differentiated, with None in the place of arrays.
    """

    jaxpr: Any
    outputs: tuple[Any, ...]
    out_tree: Any
    others: tuple[Any, ...]
    settings: tuple[Any, ...]


def trace_function(with_settings: Callable[..., Any], differentiated: list[Any], rest: list[Any]) -> TracedFunction:
    """Traces `with_settings(settings)`, a function (differentiated, *others).

    The arrays among the leaves `rest` become `others`. Python numbers become arrays, too, so that not every number
    makes another program; unless the function needs their values, for a condition or a shape. An integer, which may be
    an axis or a count, also keeps its value if the program would differ.
    """
    trace = lambda kinds: _trace(with_settings, differentiated, rest, lambda x: jx.is_array(x) or _is_number(x, kinds))
    if any(_is_number(leaf, (int, float, complex)) for leaf in rest):
        try:
            found = trace((float, complex))
            if not any(_is_number(leaf, int) for leaf in rest):
                return found
        except Exception:
            return trace(())
        try:
            with_integers = trace((int, float, complex))
        except Exception:
            return found
        return with_integers if _operations(with_integers) == _operations(found) else found
    return trace(())


def _is_number(leaf: Any, kinds: Any) -> bool:
    return isinstance(leaf, kinds) and not isinstance(leaf, bool)


def _operations(traced: TracedFunction) -> collections.Counter:
    names = collections.Counter(jx.primitives(traced.jaxpr))
    del names["convert_element_type"]
    return names


def _trace(
    with_settings: Callable[..., Any], differentiated: list[Any], rest: list[Any], is_array: Callable[..., Any]
) -> TracedFunction:
    others = tuple(leaf if jx.is_array(leaf) else jnp.asarray(leaf) for leaf in rest if is_array(leaf))
    settings = tuple(None if is_array(leaf) else leaf for leaf in rest)
    jaxpr, shape = jx.trace(with_settings(settings), differentiated, *others)
    outputs, out_tree = jax.tree.flatten(shape)
    return TracedFunction(jaxpr, tuple(outputs), out_tree, others, settings)
