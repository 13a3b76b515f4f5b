"""The trace of a user's function in its arguments: which of them are arrays in it, and which stay fixed."""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.vector_function import VectorFunction, no_aux


@dataclass(frozen=True, eq=False)
class TracedFunction:
    """The closed jaxpr of a function of differentiated and other arrays.

    Attributes:
        jaxpr: Its inputs are the differentiated arrays, then `others`; its outputs those of the function, then the
            arrays of aux.
        outputs: The types of the outputs.
        out_tree: The structure of the function's output.
        others: The arrays that are not differentiated.
        settings: All leaves that are not differentiated, with None in the place of arrays.
        aux_leaves: The leaves of aux, with None in the place of arrays.
        aux_tree: The structure of aux.
    """

    jaxpr: Any
    outputs: tuple[Any, ...]
    out_tree: Any
    others: tuple[Any, ...]
    settings: tuple[Any, ...]
    aux_leaves: tuple[Any, ...]
    aux_tree: Any

    def aux(self, arrays: Sequence[Any]) -> Any:
        """The function's aux with these arrays."""
        given = iter(arrays)
        return self.aux_tree.unflatten([next(given) if leaf is None else leaf for leaf in self.aux_leaves])


def trace_function(with_settings: Callable[..., Any], differentiated: list[Any], rest: list[Any]) -> TracedFunction:
    """Traces `with_settings(settings)`, a function (differentiated, *others) that returns (output, aux).

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
    f, found = with_settings(settings), {}

    @jx.named_as(f)
    def of_arrays(*arrays):
        y, aux = f(*arrays)
        leaves, found["aux_tree"] = jax.tree.flatten(aux)
        found["aux_leaves"] = tuple(None if isinstance(leaf, jax.Array) else leaf for leaf in leaves)
        return y, [leaf for leaf in leaves if isinstance(leaf, jax.Array)]

    jaxpr, (shape, _) = jx.trace(of_arrays, differentiated, *others)
    outputs, out_tree = jax.tree.flatten(shape)
    return TracedFunction(jaxpr, tuple(outputs), out_tree, others, settings, **found)


def vector_function(name: str, traced: TracedFunction, inputs: Sequence[Any], known: Sequence[Any]) -> VectorFunction:
    """A traced function as one between vectors.

    Args:
        name: The method's name.
        traced: The trace.
        inputs: The types of the differentiated arrays.
        known: The values of the constants of the trace; None where one is not known.
    """
    program, count = jx.opened(traced.jaxpr), len(known)
    outputs, aux = program.outvars[: len(traced.outputs)], program.outvars[len(traced.outputs) :]
    needed = jx.needed_equations(program, [True] * len(outputs) + [False] * len(aux))
    of_aux = [eqn for eqn in program.eqns if id(eqn) not in set(map(id, needed))]
    computed = {*program.invars[: len(inputs)], *(v for eqn in needed for v in eqn.outvars)}
    read = dict.fromkeys(v for v in (*aux, *(v for eqn in of_aux for v in eqn.invars)) if jx.is_variable(v))
    kept = [v for v in read if v in computed]

    def given(others, xs=()):
        arrays = (*others[:count], *xs, *others[count:])
        return dict(zip((*program.constvars, *program.invars[len(inputs) - len(xs) :]), arrays, strict=True))

    def evaluated(xs, *others):
        values = given(others, xs)
        jx.run(needed, values, jx.written_out)
        return [jx.value_of(v, values) for v in outputs], [values[v] for v in kept]

    def aux_of(kept_values, *others):
        values = given(others) | dict(zip(kept, kept_values, strict=True))
        jx.run(of_aux, values, jx.written_out)
        return [jx.value_of(v, values) for v in aux]

    return VectorFunction(
        name,
        lambda xs, *others: evaluated(xs, *others)[0],
        tuple(inputs),
        tuple(v.aval for v in (*program.constvars, *program.invars[len(inputs) :])),
        traced.outputs,
        tuple(known),
        arrays_for_aux=evaluated if aux else None,
        aux_of=aux_of if aux else no_aux,
    )
