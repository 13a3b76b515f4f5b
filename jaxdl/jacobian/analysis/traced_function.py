"""The trace of a user's function in its arguments: what is an array in it, and what stays fixed."""

import collections
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx


@dataclass(frozen=True, eq=False)
class Traced:
    """The closed jaxpr of f in the chosen arrays and the `others`; `fixed` has None in the places of these."""

    jaxpr: Any
    outputs: tuple
    out_tree: Any
    others: tuple
    fixed: tuple


def traced(of_fixed: Callable, chosen: list, rest: list) -> Traced:
    """Traces `of_fixed(fixed)`, a function (chosen, *others), with the arrays among the leaves `rest` as the others.

    Plain numbers are arrays, too, so that not each of them makes a program of its own: unless f asks for the value (in
    a condition or a shape). A whole number, that may be an axis or a count, also stays as it is where it makes another
    program as an array than as a number.
    """
    trace = lambda given: _traced(of_fixed, chosen, rest, lambda leaf: jx.is_array(leaf) or _is(leaf, given))
    if any(_is(leaf, (int, float, complex)) for leaf in rest):
        try:
            found = trace((float, complex))
            if not any(_is(leaf, int) for leaf in rest):
                return found
        except Exception:
            return trace(())
        try:
            more = trace((int, float, complex))
        except Exception:
            return found
        return more if _computes(more) == _computes(found) else found
    return trace(())


def _is(leaf, kinds):
    return isinstance(leaf, kinds) and not isinstance(leaf, bool)


def _computes(traced):
    names = collections.Counter(jx.primitives(traced.jaxpr))
    del names["convert_element_type"]
    return names


def _traced(of_fixed, chosen, rest, is_given):
    others = tuple(leaf if jx.is_array(leaf) else jnp.asarray(leaf) for leaf in rest if is_given(leaf))
    fixed = tuple(None if is_given(leaf) else leaf for leaf in rest)
    jaxpr, shape = jx.trace(of_fixed(fixed), chosen, *others)
    outputs, out_tree = jax.tree.flatten(shape)
    return Traced(jaxpr, tuple(outputs), out_tree, others, fixed)
