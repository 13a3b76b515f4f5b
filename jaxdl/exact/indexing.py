"""Primitives whose outputs are entries of their inputs, conversions, and scatter.

Indexing is not implemented here: the primitive itself runs on the positions of the entries, which gives the position of
each entry of the output.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.exact.elementwise import larger, smaller
from jaxdl.exact.numbers import exact, filled, is_complex, is_inexact, own, remembered, rounded
from jaxdl.exact.types import Array, Context, Rules


def indexed(mp: Context, eqn: jx.Equation, *args: Array) -> list[Array]:
    """Any primitive whose outputs are entries of its inputs; −1 is the position of the fill value of a gather."""
    inexact = [is_inexact(v.aval) for v in eqn.invars]
    flat, inputs = [], []
    for x, is_array_of_numbers in zip(args, inexact, strict=True):
        inputs.append(
            np.arange(len(flat), len(flat) + x.size, dtype=np.int32).reshape(x.shape) if is_array_of_numbers else x
        )
        flat.extend(x.ravel() if is_array_of_numbers else ())
    fill = jx.parameters(eqn).get("fill_value")
    flat.append(mp.nan if fill is None else own(mp, fill))
    find = lambda: [np.asarray(to) for to in jx.moved(eqn, *inputs)]
    return [taken(flat, to) for to in (remembered(mp, eqn, find) if all(inexact) else find())]


def taken(flat: list[Any], positions: np.ndarray) -> Array:
    return filled([flat[i] for i in positions.ravel().tolist()], positions.shape)


def unchanged(mp: Context, eqn: jx.Equation, *args: Array) -> list[Array]:
    return list(args)


def native(mp: Context, eqn: jx.Equation, *args: Array) -> list[Array]:
    """The primitive itself, on its inputs in their own dtypes."""
    outputs = jx.binding(eqn)(*[rounded(x, v.aval) for x, v in zip(args, eqn.invars, strict=True)])
    return [exact(mp, y, v.aval) for y, v in zip(outputs, eqn.outvars, strict=True)]


def convert(mp: Context, eqn: jx.Equation, x: Array) -> Any:
    """Conversion to another dtype: without rounding to a real or complex one, towards zero to an integer."""
    old, new = eqn.invars[0].aval, eqn.outvars[0].aval
    if is_inexact(new):
        to = (lambda v: v.real) if is_complex(old) and not is_complex(new) else lambda v: own(mp, v)
        return filled([to(v) for v in x.ravel().tolist()], x.shape)
    if not is_inexact(old):
        return native(mp, eqn, x)
    if new.dtype == bool:
        return x != 0
    least, most = np.iinfo(new.dtype).min, np.iinfo(new.dtype).max
    truncated = lambda v: 0 if mp.isnan(v) else int(min(max(v, least), most))
    return np.array([truncated(v.real) for v in x.ravel()], object).reshape(x.shape)


# --- scatter ---------------------------------------------------------------------------------------


def scatter_by(combine: Callable[..., Any]) -> Callable[..., Any]:
    """Each update is combined with the entry at its position, one after the other."""

    def rule(mp, eqn, x, indices, updates):
        y = x.ravel().copy()
        for to, update in zip(jx.scatter_targets(eqn, indices).ravel().tolist(), updates.ravel(), strict=True):
            if to >= 0:
                y[to] = combine(mp, y[to], update)
        return y.reshape(x.shape)

    return rule


INDEXED = (
    *("reshape", "transpose", "squeeze", "expand_dims", "broadcast_in_dim", "slice", "dynamic_slice", "split", "tile"),
    *("dynamic_update_slice", "pad", "concatenate", "gather", "scatter", "rev", "select_n", "stack", "unstack"),
)
UNCHANGED = jx.IDENTITIES | {"reduce_precision", "stop_gradient"}
INDEXING_RULES: Rules = {
    **dict.fromkeys(INDEXED, indexed),
    **dict.fromkeys(UNCHANGED, unchanged),
    "convert_element_type": convert,
    "nextafter": native,
    "bitcast_convert_type": native,
    "scatter-add": scatter_by(lambda mp, x, y: x + y),
    "scatter-sub": scatter_by(lambda mp, x, y: x - y),
    "scatter-mul": scatter_by(lambda mp, x, y: x * y),
    "scatter-min": scatter_by(smaller),
    "scatter-max": scatter_by(larger),
}
