"""A user's function as one between vectors, on which every method works."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.modes import hindrances

Outputs = tuple[jax.Array, list[jax.Array]]  # the output of a function as a vector, and the values that aux reads


def no_aux(values: Sequence[Any], *others: Any) -> list[Any]:
    """The arrays of aux of a function without any."""
    return []


@dataclasses.dataclass(frozen=True, eq=False)
class VectorFunction:
    """A user's function between vectors: called as (x, *others), (n,) → (m,); `others` are not differentiated.

    The arrays that the function closes over come first among `others`.

    Attributes:
        name: The method's name, for messages.
        of_arrays: The same function of the list of arrays that are joined in x, to the list of output arrays.
        inputs: The types of the arrays joined in x.
        others: The types of the other arrays.
        outputs: The types of the output arrays.
        constants: The values of the arrays that the function closes over; None where an outer trace has not computed
            one yet.
        used: The constants whose values an analysis has used, by number: its result holds for these values only.
        in_batch: Whether its Jacobian is for many points at once, as under `jax.vmap`.
        potential: The function whose gradient this is, so that the Jacobian is symmetric; None if there is none.
        arrays_for_aux: `of_arrays` with a second result, the list of the values that aux reads; None without aux.
        aux_of: The arrays of aux, as a function of these values and `others`. It is called outside of the derivative,
            which aux need not have.
    """

    name: str
    of_arrays: Callable[..., Any]
    inputs: tuple[Any, ...]
    others: tuple[Any, ...]
    outputs: tuple[Any, ...]
    constants: tuple[Any, ...] = ()
    used: dict[int, Any] = dataclasses.field(default_factory=dict)
    arrays_for_aux: Callable[..., Any] | None = None
    aux_of: Callable[..., list[Any]] = no_aux
    in_batch: bool = False
    potential: VectorFunction | None = None

    def __call__(self, x: jax.Array, *others: Any) -> jax.Array:
        return join(self.of_arrays(split_arrays(x, self.inputs), *others))

    def with_aux(self, x: jax.Array, *others: Any) -> Outputs:
        """The output as a vector, and the list of the values that aux reads."""
        arrays, read = self.lists(split_arrays(x, self.inputs), *others)
        return join(arrays), read

    def lists(self, xs: list[jax.Array], *others: Any) -> tuple[list[jax.Array], list[jax.Array]]:
        """The outputs, and the values that aux reads, from the list of arrays that are joined in x."""
        return (self.arrays_for_aux or (lambda *given: (self.of_arrays(*given), [])))(xs, *others)

    @functools.cached_property
    def x(self) -> jax.ShapeDtypeStruct:
        """The type of x."""
        return jax.eval_shape(join, self.inputs)

    @property
    def types(self) -> tuple[Any, ...]:
        """The types of all arguments."""
        return self.x, *self.others

    @property
    def n(self) -> int:
        """The number of inputs."""
        return self.x.shape[0]

    @property
    def m(self) -> int:
        """The number of outputs."""
        return sum(math.prod(y.shape) for y in self.outputs)

    @functools.cached_property
    def jaxpr(self) -> Any:
        """The closed jaxpr of the function, with x and then `others` as its inputs."""
        return jx.trace(self, self.x, *self.others)[0]

    @functools.cached_property
    def hindrances(self) -> tuple[str, str]:
        """Why JAX has no forward mode of the function, and why no reverse mode; empty where it has."""
        return hindrances(self, jx.opened(self.jaxpr).eqns, self.types)

    def named(self, name: str) -> VectorFunction:
        """The function for another method; what is known of it is not found again."""
        other = dataclasses.replace(self, name=name)
        vars(other).update(x=self.x, jaxpr=self.jaxpr, hindrances=self.hindrances)
        return other

    def constant(self, i: int) -> Any:
        """The value of constant i, None where it is not known, or traced. Marks it as used."""
        value = self.constants[i]
        if isinstance(value, jax.core.Tracer):
            return None
        if value is not None and i not in self.used:
            self.used[i] = value if isinstance(value, jax.Array) else np.array(value)  # NumPy arrays may change
        return value

    def fits(self, constants: Sequence[Any]) -> bool:
        """Whether all constants that were used have the same values in `constants`."""
        return all(_equal(constants[i], value) for i, value in self.used.items())


def _equal(a: Any, b: Any) -> bool:
    if a is b:
        return True
    a, b = (np.asarray(jax.random.key_data(v) if jx.is_key(v) else v) for v in (a, b))
    return np.array_equal(a, b, equal_nan=jnp.issubdtype(a.dtype, jnp.inexact))


def join(arrays: Sequence[jax.Array]) -> jax.Array:
    """All entries of the arrays in one vector, of their common dtype."""
    if len(arrays) == 1:
        return arrays[0].reshape(-1)
    if not arrays:
        return jnp.zeros(0)
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.result_type(*arrays)
    return jnp.concatenate([array.reshape(-1).astype(dtype) for array in arrays])


def split_arrays(x: jax.Array, types: Sequence[Any]) -> list[jax.Array]:
    """The arrays joined in x. Each has the dtype of its type, or x's where x is wider than all types (`finite`)."""
    widest = max(t.dtype.itemsize for t in types)
    dtype = lambda t: x.dtype if x.dtype.itemsize > widest else t.dtype
    return [part.reshape(t.shape).astype(dtype(t)) for part, t in zip(pieces(x, types), types, strict=True)]


def pieces(x: jax.Array, types: Sequence[Any], axis: int = 0) -> list[jax.Array]:
    """x, cut along an axis to pieces as long as arrays of these types have entries."""
    ends = np.cumsum([math.prod(t.shape) for t in types], dtype=int)
    return jnp.split(x, ends[:-1], axis) if len(types) else []
