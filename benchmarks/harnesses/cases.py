"""The cases that JAX tests its own primitives with, and the derivatives that JAX has for each."""

import contextlib
import dataclasses
import functools
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx

try:
    from jax._src.internal_test_util import test_harnesses
except ImportError:  # a JAX that comes without its tests' module, or without absl, which that imports
    test_harnesses = None

Mode = jax.lax.GatherScatterMode
WHOLE = 60  # numbers in the arguments and the outputs of a case that is taken as it is
MOST = 1_200  # that are too many, where the function takes no smaller arguments
SIDES = (2, 3, 4, 6, 9, 12)  # to which longer axes are cut


@dataclasses.dataclass(frozen=True)
class Case:
    """A function of arrays, arguments for it, and by `group` the primitive that it is there for."""

    name: str
    group: str
    dtype: str
    f: Callable
    args: tuple

    @functools.cached_property
    def moving(self) -> tuple[int, ...]:
        """The places of the arguments that can be differentiated."""
        return tuple(i for i, x in enumerate(self.args) if jnp.issubdtype(x.dtype, jnp.inexact))

    @functools.cached_property
    def value(self) -> list:
        return jax.tree.leaves(self.f(*self.args))

    @functools.cached_property
    def fingerprint(self) -> int:
        """Equal for cases that differ in numbers alone."""
        jaxpr = jax.make_jaxpr(self.f)(*self.args)
        plain = [c for c in jaxpr.consts if not jnp.issubdtype(c.dtype, jax.dtypes.extended)]
        with contextlib.suppress(KeyError):  # JAX cannot print each of its own equations
            return hash((str(jaxpr), *(np.asarray(c).tobytes() for c in plain)))
        return hash(self.name)

    @property
    def is_smooth(self) -> bool:
        """Whether any argument and any output are real or complex."""
        return bool(self.moving) and any(jnp.issubdtype(y.dtype, jnp.inexact) for y in self.value)

    def smooth(self, *args) -> list:
        """Those outputs of f that can be differentiated; all where there is none."""
        y = jax.tree.leaves(self.f(*args))
        return [part for part in y if jnp.issubdtype(part.dtype, jnp.inexact)] or y

    def of_moving(self, *moved) -> list:
        args = list(self.args)
        for i, x in zip(self.moving, moved, strict=True):
            args[i] = x
        return self.smooth(*args)

    @functools.cached_property
    def cotangents(self) -> list:
        return [draw(y.shape, y.dtype, 1) for y in self.smooth(*self.args)]

    @functools.cached_property
    def tangents(self) -> list:
        return [draw(self.args[i].shape, self.args[i].dtype, 2) for i in self.moving]

    @functools.cached_property
    def gradients(self) -> list:
        """By `jax.vjp`, one for each moving argument; raises what JAX raises."""
        pull = lambda xs, dy: list(jax.vjp(self.of_moving, *xs)[1](dy))
        return jax.jit(pull)([self.args[i] for i in self.moving], self.cotangents)

    @functools.cached_property
    def tangents_out(self) -> list:
        push = lambda xs, dx: jax.jvp(self.of_moving, xs, dx)[1]
        return jax.jit(push)([self.args[i] for i in self.moving], self.tangents)

    @functools.cached_property
    def real(self) -> tuple[Callable, tuple]:
        """The function between real arrays, and its arguments: complex ones as pairs of numbers, in and out."""
        is_complex = [jnp.iscomplexobj(x) for x in self.args]
        joined = lambda x, c: jax.lax.complex(x[..., 0], x[..., 1]) if c else x
        parts = lambda y: jnp.stack([y.real, y.imag], -1) if jnp.iscomplexobj(y) else y
        f = lambda *args: list(map(parts, self.smooth(*map(joined, args, is_complex))))
        return f, tuple(map(parts, self.args))

    @functools.cached_property
    def matrix(self) -> Any:
        """The Jacobian of `real`, as `jax.jacrev` arranges it; by `jax.jacfwd` where JAX has only that."""
        f, args = self.real
        with contextlib.suppress(Exception):  # JAX's, of any kind
            return jax.jit(jax.jacrev(f, self.moving))(*args)
        return self.matrix_forward

    @functools.cached_property
    def matrix_forward(self) -> Any:
        f, args = self.real
        return jax.jit(jax.jacfwd(f, self.moving))(*args)


def draw(shape, dtype, seed):
    """Numbers of either sign, of size 0.5 to 1.5."""
    drawn = np.random.RandomState(seed)
    size = lambda: drawn.uniform(0.5, 1.5, shape) * drawn.choice([-1, 1], shape)
    if not jnp.issubdtype(dtype, jnp.inexact):
        return np.zeros(shape, jax.dtypes.float0)
    return jnp.asarray(size() + 1j * size() if jnp.issubdtype(dtype, jnp.complexfloating) else size(), dtype)


def cases(dtype: str) -> Iterator[tuple[str, str, Callable]]:
    """The name of each case of a number format, its group, and how to make it: a `Case`, or why it is left out."""
    for harness in test_harnesses.all_harnesses if test_harnesses else ():
        if harness.dtype is not None and jnp.dtype(harness.dtype).name == dtype and harness.filter("cpu"):
            yield harness.fullname, harness.group_name, functools.partial(made, harness, dtype)


def made(harness, dtype) -> Case | str:
    name, f = harness.fullname, harness.dyn_fun
    if harness.group_name == "cholesky":  # what stands above the diagonal is not defined
        f = lambda *args: jnp.tril(harness.dyn_fun(*args))
    if harness.group_name == "eigh":  # not of a triangle: JAX differentiates it at the symmetric part of its argument
        f = functools.partial(jax.lax.linalg.eigh, lower=harness.params["lower"], symmetrize_input=False)
    args = harness.dyn_args_maker(np.random.RandomState(zlib.crc32(name.encode())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args = tuple(one_nan(jnp.asarray(x)) for x in args)
        if not takes(f, args):
            return "JAX refuses it"
        if not keeps_promises(f, args):
            return "its indices are promised to be in bounds, and are not: what that gives is not defined"
        found = small_enough(f, args)
    return found if isinstance(found, str) else Case(name, harness.group_name, dtype, f, found)


def one_nan(x):
    """x with a positive sign in front of each NaN, as mpmath has but one."""
    return jnp.where(jnp.isnan(x), jnp.nan, x).astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x


def small_enough(f, args) -> tuple | str:
    """The arguments, with long axes cut where there are many numbers: all together, else one by one; or why none."""
    size = lambda args: sum(x.size for x in jax.tree.leaves((args, jax.eval_shape(f, *args))))
    if size(args) <= WHOLE:
        return args
    for side in SIDES:
        cut = tuple(x[tuple(slice(side) for _ in x.shape)] for x in args)
        if takes(f, cut) and size(cut) <= MOST and keeps_promises(f, cut):
            return cut
    for place, axis in ((i, axis) for i, x in enumerate(args) for axis in range(x.ndim)):
        x = jax.lax.slice_in_dim(args[place], 0, min(2, args[place].shape[axis]), axis=axis)
        cut = (*args[:place], x, *args[place + 1 :])
        args = cut if takes(f, cut) and keeps_promises(f, cut) else args
    return args if size(args) <= MOST else f"{size(args)} numbers, and it takes no smaller arguments"


def takes(f, args) -> bool:
    """Whether f can be traced and evaluated; some of JAX's functions find out in the one and some in the other."""
    with contextlib.suppress(Exception):  # JAX's, of any kind
        jax.eval_shape(f, *args)
        f(*args)
        return True
    return False


def keeps_promises(f, args) -> bool:
    """Whether indices are in bounds where that is promised: then it changes nothing what becomes of those that are not.

    A gather clips them where nobody asks and a scatter drops them; here the one fills in NaN and the other clips.
    """
    jaxpr = jax.make_jaxpr(f)(*args)
    if not any(map(is_promise, equations(jaxpr))):
        return True
    pairs = zip(jax.tree.leaves(f(*args)), jx.evaluate(jaxpr, args, otherwise), strict=True)
    return all(np.array_equal(a, b, equal_nan=jnp.issubdtype(a.dtype, jnp.inexact)) for a, b in pairs)


def is_promise(eqn) -> bool:
    return eqn.params.get("mode") == Mode.PROMISE_IN_BOUNDS


def otherwise(eqn) -> Callable | None:
    if not is_promise(eqn):
        return None
    if eqn.primitive.name != "gather":
        return jx.binding(eqn, mode=Mode.CLIP)
    dtype, is_bool = eqn.outvars[0].aval.dtype, eqn.outvars[0].aval.dtype == jnp.bool_
    fill = jnp.nan if jnp.issubdtype(dtype, jnp.inexact) else is_bool or jnp.iinfo(dtype).min
    return jx.binding(eqn, mode=Mode.FILL_OR_DROP, fill_value=fill)


def equations(jaxpr) -> Iterator:
    for eqn in jx.opened(jaxpr).eqns:
        yield eqn
        for inner in jx.inner_jaxprs(eqn):
            yield from equations(inner)
