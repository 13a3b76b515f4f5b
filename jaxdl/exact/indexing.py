"""Primitives that only move entries, and those that choose them by order.

Moves are not written anew: the primitive itself runs on the positions of the entries, and tells where each goes.
"""

import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.exact.elementwise import larger, order, smaller
from jaxdl.exact.numbers import exact, filled, is_complex, is_inexact, own, remembered, rounded


def move(mp, eqn, *args):
    """Any primitive whose outputs are entries of its inputs; −1 is the position of what a gather fills in."""
    moving = [is_inexact(v.aval) for v in eqn.invars]
    flat, inputs = [], []
    for x, moves in zip(args, moving, strict=True):
        inputs.append(np.arange(len(flat), len(flat) + x.size, dtype=np.int32).reshape(x.shape) if moves else x)
        flat.extend(x.ravel() if moves else ())
    fill = jx.parameters(eqn).get("fill_value")
    flat.append(mp.nan if fill is None else own(mp, fill))
    find = lambda: [np.asarray(to) for to in jx.moved(eqn, *inputs)]
    return [taken(flat, to) for to in (remembered(mp, eqn, find) if all(moving) else find())]


def taken(flat, positions):
    return filled([flat[i] for i in positions.ravel().tolist()], positions.shape)


def identity(mp, eqn, *args):
    return list(args)


def native(mp, eqn, *args):
    """The primitive itself, on what its inputs are in their own types."""
    outputs = jx.binding(eqn)(*[rounded(x, v.aval) for x, v in zip(args, eqn.invars, strict=True)])
    return [exact(mp, y, v.aval) for y, v in zip(outputs, eqn.outvars, strict=True)]


def convert(mp, eqn, x):
    """To another type: never rounded among real and complex numbers, towards zero where it becomes whole."""
    old, new = eqn.invars[0].aval, eqn.outvars[0].aval
    if is_inexact(new):
        to = (lambda v: v.real) if is_complex(old) and not is_complex(new) else lambda v: own(mp, v)
        return filled([to(v) for v in x.ravel().tolist()], x.shape)
    if not is_inexact(old):
        return native(mp, eqn, x)
    if new.dtype == bool:
        return x != 0
    least, most = np.iinfo(new.dtype).min, np.iinfo(new.dtype).max
    whole = lambda v: 0 if mp.isnan(v) else int(min(max(v, least), most))
    return np.array([whole(v.real) for v in x.ravel()], object).reshape(x.shape)


# --- scatter ---------------------------------------------------------------------------------------


def scatter(combine):
    """Each update combined with the entry that it falls on, one after the other."""

    def rule(mp, eqn, x, indices, updates):
        y = x.ravel().copy()
        for to, update in zip(jx.scatter_targets(eqn, indices).ravel().tolist(), updates.ravel(), strict=True):
            if to >= 0:
                y[to] = combine(mp, y[to], update)
        return y.reshape(x.shape)

    return rule


# --- order -----------------------------------------------------------------------------------------


def rank(x):
    """A key to sort by: NaN comes last."""
    return (x != x, 0 if x != x else order(x))


def sort(mp, eqn, *args):
    axis, keys = (jx.parameters(eqn)[name] for name in ("dimension", "num_keys"))
    ranks = [np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis]) for x in args[:keys]]
    permuted = [
        sorted(range(len(rows[0])), key=lambda i: [rank(row[i]) for row in rows]) for rows in zip(*ranks, strict=True)
    ]
    shape = np.moveaxis(args[0], axis, -1).shape
    permutation = np.moveaxis(np.array(permuted, int).reshape(shape), -1, axis)
    return [np.take_along_axis(x, permutation, axis) for x in args]


def top_k(mp, eqn, x):
    p = jx.parameters(eqn)
    axis, k = p.get("axis", x.ndim - 1), p["k"]
    rows = np.moveaxis(x, axis, -1)
    best = [
        sorted(range(rows.shape[-1]), key=lambda i: rank(row[i]), reverse=True)[:k]
        for row in rows.reshape(-1, rows.shape[-1])
    ]
    places = np.moveaxis(np.array(best, int).reshape(*rows.shape[:-1], k), -1, axis)
    return [np.take_along_axis(x, places, axis), places]


def first(better):
    """The index of the first entry that is the best, or NaN, along the axis."""

    def rule(mp, eqn, x):
        (axis,) = jx.reduced_axes(eqn)
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


MOVES = (
    *("reshape", "transpose", "squeeze", "expand_dims", "broadcast_in_dim", "slice", "dynamic_slice", "split", "tile"),
    *("dynamic_update_slice", "pad", "concatenate", "gather", "scatter", "rev", "select_n", "stack", "unstack"),
)
SAME = (
    *("copy", "copy_p", "optimization_barrier", "reduce_precision", "name", "sharding_constraint", "device_put"),
    *("stop_gradient", "pcast", "pvary", "layout_constraint", "reshard", "mesh_cast"),
)
RULES = {
    **dict.fromkeys(MOVES, move),
    **dict.fromkeys(SAME, identity),
    "convert_element_type": convert,
    "nextafter": native,
    "bitcast_convert_type": native,
    "scatter-add": scatter(lambda mp, x, y: x + y),
    "scatter-sub": scatter(lambda mp, x, y: x - y),
    "scatter-mul": scatter(lambda mp, x, y: x * y),
    "scatter-min": scatter(smaller),
    "scatter-max": scatter(larger),
    "sort": sort,
    "top_k": top_k,
    "argmax": first(larger),
    "argmin": first(smaller),
}
