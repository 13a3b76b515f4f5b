"""Types of arrays: what JAX knows of a value beside its shape and dtype."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.core
import numpy as np

from jaxdl.jaxpr.versions import mapped_aval, unmapped_aval


def varying_axes(x: Any) -> frozenset[Any]:
    """The mesh axes of an enclosing shard_map along which x varies."""
    manual = getattr(jax.typeof(x), "mat", None)
    return manual.varying if manual else frozenset()


def vary_alike(flat: Sequence[Any]) -> list[Any]:
    """Inside shard_map, marks every array as varying along all mesh axes along which any of them varies.

    The transpose of this mark is the sum over devices, which the cotangent of a replicated argument needs.
    """
    axes = frozenset().union(*map(varying_axes, flat))
    return [
        jax.lax.pcast(x, tuple(axes - varying_axes(x)), to="varying") if axes - varying_axes(x) else x for x in flat
    ]


def batched_type(size: int, aval: Any) -> Any:
    """The type of a batch of arrays, stacked along a new first axis."""
    return unmapped_aval(size, 0, aval)


def unbatched_type(size: int, aval: Any) -> Any:
    """The type of one array of a batch along the first axis."""
    return mapped_aval(size, 0, aval)


def is_array(leaf: Any) -> bool:
    """Whether an argument is an array or the type of one. Python's numbers are not."""
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def is_key(x: Any) -> bool:
    """Whether an array holds keys of `jax.random`, which NumPy cannot hold."""
    return jax.numpy.issubdtype(x.dtype, jax.dtypes.extended)


def is_weak(x: Any) -> bool:
    """Whether x, an array or the type of one, is a single number of weak type, as Python's numbers are."""
    return bool(getattr(x, "weak_type", False)) and x.shape == ()


def as_weak_as(x: Any, like: Any) -> Any:
    """x, an array or number, of a weak type if the type `like` is weak, else of a strong one."""
    is_weak = bool(getattr(like, "weak_type", False))
    if bool(getattr(jax.typeof(x), "weak_type", False)) == is_weak:
        return x
    return jax.lax.convert_element_type_p.bind(x, new_dtype=like.dtype, weak_type=is_weak, sharding=None)


def is_staged(x: Any) -> bool:
    """Whether the value of x is not known yet, as inside jit. Under vmap or grad alone it is known."""
    while hasattr(x, "batch_dim") or hasattr(x, "primal"):
        x = x.val if hasattr(x, "batch_dim") else x.primal
    return isinstance(x, jax.core.Tracer)


def mapped_points(x: Any) -> int:
    """How many points `vmap` maps over at once where x is one of them, as far as is known here; 1 without `vmap`."""
    points = 1
    while hasattr(x, "batch_dim") or hasattr(x, "primal"):
        if isinstance(axis := getattr(x, "batch_dim", None), int):
            points *= x.val.shape[axis]
        x = x.val if hasattr(x, "batch_dim") else x.primal
    return points


def typed(x: Any) -> str:
    """The type of an array as text: `float32[3,4]`."""
    return f"{x.dtype}[{','.join(map(str, x.shape))}]"


def exactly(value: Any) -> tuple[Any, ...]:
    """A key that tells constants apart that compare equal in Python (1, 1.0 and True; 0.0 and -0.0), and knows NaN."""
    is_inexact = isinstance(value, float | complex | np.inexact)
    return type(value), np.asarray(value).tobytes() if is_inexact else value


def as_array(x: Any, aval: Any) -> Any:
    """A number or a NumPy array of a program as a JAX array of the type `aval`; a reference as it is."""
    if isinstance(x, jax.Array | jax.Ref) or getattr(aval, "dtype", jax.dtypes.float0) == jax.dtypes.float0:
        return x
    if getattr(aval, "weak_type", False) and aval.shape == ():
        weak = jax.numpy.asarray(np.asarray(x).item())  # what Python's numbers become
        return weak if weak.dtype == aval.dtype else jax.numpy.asarray(x, aval.dtype)
    return jax.numpy.asarray(x, aval.dtype)
