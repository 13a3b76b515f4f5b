"""Where equations that move entries move them: the equation itself runs on the positions of the entries."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.lax import GatherDimensionNumbers, GatherScatterMode

from jaxdl.jaxpr import records
from jaxdl.jaxpr.evaluation import binding
from jaxdl.jaxpr.versions import Equation

NOWHERE = -1  # the position of an entry that comes from no input


def moved(eqn: Equation, *positions: Any) -> list[Any]:
    """An equation that moves entries, run on positions; what a gather fills in has the position −1."""
    if eqn.primitive.name in _BY_NUMPY and all(isinstance(p, np.ndarray) for p in positions):
        return [_BY_NUMPY[eqn.primitive.name](eqn.params, *positions)]
    changed = {"fill_value": NOWHERE} if "fill_value" in eqn.params else {}
    return binding(eqn, **changed)(*positions)


def _broadcast(params, x):
    shape = np.ones(len(params["shape"]), int)
    shape[list(params["broadcast_dimensions"])] = x.shape
    return np.broadcast_to(x.reshape(shape), params["shape"])


def _reshape(params, x):
    order = params["dimensions"]
    return (x if order is None else x.transpose(order)).reshape(params["new_sizes"])


# Without a compilation for each shape.
_BY_NUMPY: dict[str, Callable[..., np.ndarray]] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": lambda params, *x: np.concatenate(x, params["dimension"]),
    "reshape": _reshape,
    "squeeze": lambda params, x: x.squeeze(tuple(params["dimensions"])),
    "transpose": lambda params, x: x.transpose(params["permutation"]),
}


def scatter_targets(eqn: Equation, indices: Any, clip: bool = False) -> np.ndarray:
    """For each update of a scatter the position of the entry that it reaches; −1 where it is dropped.

    These are the positions that the gather with the same indices would read.

    Args:
        eqn: an equation of the scatter family.
        indices: the indices, as values.
        clip: moves indices outside the operand inside, whatever the mode of the equation.
    """
    operand = eqn.invars[0].aval.shape
    clips = clip or GatherScatterMode.from_any(records.scatter(eqn).mode) == GatherScatterMode.CLIP
    positions = np.arange(math.prod(operand), dtype=np.int32).reshape(operand)
    with jax.ensure_compile_time_eval():
        return np.asarray(
            jax.lax.gather(
                positions,
                indices,
                _as_gather(eqn),
                slice_sizes=update_window(eqn),
                mode=GatherScatterMode.CLIP if clips else GatherScatterMode.FILL_OR_DROP,
                fill_value=NOWHERE,
            )
        )


def _as_gather(eqn):
    """The dimension numbers of the gather that reads where a scatter writes."""
    d = records.scatter(eqn).dimension_numbers
    return GatherDimensionNumbers(
        offset_dims=d.update_window_dims,
        collapsed_slice_dims=d.inserted_window_dims,
        start_index_map=d.scatter_dims_to_operand_dims,
        operand_batching_dims=d.operand_batching_dims,
        start_indices_batching_dims=d.scatter_indices_batching_dims,
    )


def update_window(eqn: Equation) -> tuple[int, ...]:
    """The size along each axis of the operand of the block that one index of a scatter writes."""
    d = records.scatter(eqn).dimension_numbers
    operand, _, updates = (v.aval.shape for v in eqn.invars)
    sizes = iter(updates[i] for i in d.update_window_dims)
    single = {*d.inserted_window_dims, *d.operand_batching_dims}
    return tuple(1 if axis in single else next(sizes) for axis in range(len(operand)))
