"""Primitives that select entries by their order: sort, top_k, argmax and argmin."""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.exact.elementwise import comparison_key, larger, smaller
from jaxdl.exact.types import Array, Context, Number, Rules


def sort_key(x: Number) -> Any:
    """The key by which numbers are sorted: NaN comes last."""
    return (x != x, 0 if x != x else comparison_key(x))


def sort(mp: Context, eqn: jx.Equation, *args: Array) -> list[Array]:
    axis, keys = (jx.parameters(eqn)[name] for name in ("dimension", "num_keys"))
    ranks = [np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis]) for x in args[:keys]]
    permuted = [
        sorted(range(len(rows[0])), key=lambda i: [sort_key(row[i]) for row in rows])
        for rows in zip(*ranks, strict=True)
    ]
    shape = np.moveaxis(args[0], axis, -1).shape
    permutation = np.moveaxis(np.array(permuted, int).reshape(shape), -1, axis)
    return [np.take_along_axis(x, permutation, axis) for x in args]


def top_k(mp: Context, eqn: jx.Equation, x: Array) -> list[Array]:
    p = jx.parameters(eqn)
    axis, k = p.get("axis", x.ndim - 1), p["k"]
    rows = np.moveaxis(x, axis, -1)
    best = [
        sorted(range(rows.shape[-1]), key=lambda i: sort_key(row[i]), reverse=True)[:k]
        for row in rows.reshape(-1, rows.shape[-1])
    ]
    places = np.moveaxis(np.array(best, int).reshape(*rows.shape[:-1], k), -1, axis)
    return [np.take_along_axis(x, places, axis), places]


def index_of_best(better: Callable[..., Any]) -> Callable[..., Any]:
    """The index of the first entry along the axis that is NaN, or else is the best one."""

    def rule(mp, eqn, x):
        (axis,) = jx.parameters(eqn)["axes"]
        rows = np.moveaxis(x, axis, -1)

        def place(row):
            best = row[0]
            at = 0
            for i, v in enumerate(row):
                if better(mp, best, v) is not best and v != best:
                    best, at = v, i
            return at

        return np.array([place(row) for row in rows.reshape(-1, rows.shape[-1])], int).reshape(rows.shape[:-1])

    return rule


SORTING_RULES: Rules = {
    "sort": sort,
    "top_k": top_k,
    "argmax": index_of_best(larger),
    "argmin": index_of_best(smaller),
}
