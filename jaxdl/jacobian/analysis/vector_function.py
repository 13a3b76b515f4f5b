"""A user's function between vectors: what every method works on."""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx


@dataclasses.dataclass(frozen=True, eq=False)
class Vector:
    """A user's function between vectors: `f(x, *others)` is (n,) → (m,), the other arrays are not differentiated.

    `of_arrays(xs, *others)` is the same from the list of arrays, of the types `inputs`, that are joined in x, to that
    of the `outputs`. `name` is the method's, for messages. What the function closes over comes first among the others:
    `constants` has its values, None where an outer trace has not given them yet. An analysis that uses one asks for
    it by `constant`, which keeps it in `looked`: what was found holds for these values alone.
    """

    name: str
    of_arrays: Callable
    inputs: tuple
    others: tuple
    outputs: tuple
    constants: tuple = ()
    looked: dict = dataclasses.field(default_factory=dict)

    def f(self, x, *others):
        return join(self.of_arrays(split(x, self.inputs), *others))

    @functools.cached_property
    def x(self) -> jax.ShapeDtypeStruct:
        return jax.eval_shape(join, self.inputs)

    @property
    def types(self) -> tuple:
        """Of all arguments of f."""
        return self.x, *self.others

    @property
    def n(self) -> int:
        return self.x.shape[0]

    @property
    def m(self) -> int:
        return sum(math.prod(y.shape) for y in self.outputs)

    @functools.cached_property
    def jaxpr(self):
        """The closed jaxpr of f, with x and then the others as its inputs."""
        return jx.trace(self.f, self.x, *self.others)[0]

    def constant(self, i):
        """The value of constant i, None where it is not known; from now on it counts as looked at."""
        value = self.constants[i]
        if value is not None and i not in self.looked:
            self.looked[i] = value if isinstance(value, jax.Array) else np.array(value)  # NumPy's may change
        return value

    def fits(self, constants) -> bool:
        """Whether what an analysis has looked at has the same values in these constants."""
        return all(_same(constants[i], seen) for i, seen in self.looked.items())


def _same(a, b):
    if a is b:
        return True
    a, b = (np.asarray(jax.random.key_data(v) if jx.is_key(v) else v) for v in (a, b))
    return np.array_equal(a, b, equal_nan=jnp.issubdtype(a.dtype, jnp.inexact))


def join(leaves):
    """All entries in one vector, of the type that holds them all."""
    if len(leaves) == 1:
        return leaves[0].reshape(-1)
    if not leaves:
        return jnp.zeros(0)
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.result_type(*leaves)
    return jnp.concatenate([leaf.reshape(-1).astype(dtype) for leaf in leaves])


def split(x, types):
    """The arrays joined in x, each of its own type; in x's where x is wider than all of them (`finite`)."""
    ends = np.cumsum([math.prod(t.shape) for t in types])[:-1]
    widest = max(t.dtype.itemsize for t in types)
    own = lambda t: x.dtype if x.dtype.itemsize > widest else t.dtype
    return [part.reshape(t.shape).astype(own(t)) for part, t in zip(jnp.split(x, ends), types, strict=True)]
