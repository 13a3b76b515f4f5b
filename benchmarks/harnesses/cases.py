"""The cases with which JAX tests its primitives, and JAX's derivatives of each."""

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
except ImportError:  # this JAX does not include the module, or absl, which the module imports, is missing
    test_harnesses = None

Mode = jax.lax.GatherScatterMode
WHOLE = 60  # a case with at most so many numbers in arguments and outputs is not reduced
MOST = 1_200  # a case with more numbers, if it cannot be reduced, is left out
SIDES = (2, 3, 4, 6, 9, 12)  # lengths to which longer axes are cut


@dataclasses.dataclass(frozen=True)
class Case:
    """A function of arrays with arguments; `group` is the primitive that it tests."""

    name: str
    group: str
    dtype: str
    f: Callable
    args: tuple

    @functools.cached_property
    def moving(self) -> tuple[int, ...]:
        """The positions of the differentiable arguments."""
        return tuple(i for i, x in enumerate(self.args) if jnp.issubdtype(x.dtype, jnp.inexact))

    @functools.cached_property
    def value(self) -> list:
        return jax.tree.leaves(self.f(*self.args))

    @functools.cached_property
    def fingerprint(self) -> int:
        """Equal for cases that differ only in the numbers in their arguments."""
        jaxpr = jax.make_jaxpr(self.f)(*self.args)
        plain = [c for c in jaxpr.consts if not jnp.issubdtype(c.dtype, jax.dtypes.extended)]
        with contextlib.suppress(KeyError):  # JAX cannot print all of its equations
            return hash((str(jaxpr), *(np.asarray(c).tobytes() for c in plain)))
        return hash(self.name)

    @property
    def is_smooth(self) -> bool:
        """Whether any argument and any output are real or complex."""
        return bool(self.moving) and any(jnp.issubdtype(y.dtype, jnp.inexact) for y in self.value)

    def smooth(self, *args) -> list:
        """The differentiable outputs of f; all outputs if there are none."""
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
        """By `jax.vjp`, one for each differentiable argument; raises JAX's exceptions."""
        pull = lambda xs, dy: list(jax.vjp(self.of_moving, *xs)[1](dy))
        return jax.jit(pull)([self.args[i] for i in self.moving], self.cotangents)

    @functools.cached_property
    def tangents_out(self) -> list:
        push = lambda xs, dx: jax.jvp(self.of_moving, xs, dx)[1]
        return jax.jit(push)([self.args[i] for i in self.moving], self.tangents)

    @functools.cached_property
    def real(self) -> tuple[Callable, tuple]:
        """The function and its arguments with pairs of real numbers in place of complex ones."""
        is_complex = [jnp.iscomplexobj(x) for x in self.args]
        joined = lambda x, c: jax.lax.complex(x[..., 0], x[..., 1]) if c else x
        parts = lambda y: jnp.stack([y.real, y.imag], -1) if jnp.iscomplexobj(y) else y
        f = lambda *args: list(map(parts, self.smooth(*map(joined, args, is_complex))))
        return f, tuple(map(parts, self.args))

    @functools.cached_property
    def matrix(self) -> Any:
        """The Jacobian of `real` by `jax.jacrev`, or by `jax.jacfwd` where JAX has only that."""
        f, args = self.real
        with contextlib.suppress(Exception):  # JAX may raise anything
            return jax.jit(jax.jacrev(f, self.moving))(*args)
        return self.matrix_forward

    @functools.cached_property
    def matrix_forward(self) -> Any:
        f, args = self.real
        return jax.jit(jax.jacfwd(f, self.moving))(*args)


def draw(shape, dtype, seed):
    """Random numbers of either sign, with absolute values from 0.5 to 1.5."""
    drawn = np.random.RandomState(seed)
    size = lambda: drawn.uniform(0.5, 1.5, shape) * drawn.choice([-1, 1], shape)
    if not jnp.issubdtype(dtype, jnp.inexact):
        return np.zeros(shape, jax.dtypes.float0)
    return jnp.asarray(size() + 1j * size() if jnp.issubdtype(dtype, jnp.complexfloating) else size(), dtype)


def cases(dtype: str) -> Iterator[tuple[str, str, Callable]]:
    """For each case of a dtype its name, its group, and a builder of a `Case`, or of the reason to leave it out."""
    for harness in test_harnesses.all_harnesses if test_harnesses else ():
        if harness.dtype is not None and jnp.dtype(harness.dtype).name == dtype and harness.filter("cpu"):
            yield harness.fullname, harness.group_name, functools.partial(made, harness, dtype)


def made(harness, dtype) -> Case | str:
    name, f = harness.fullname, harness.dyn_fun
    if harness.group_name == "cholesky":  # entries above the diagonal are undefined
        f = lambda *args: jnp.tril(harness.dyn_fun(*args))
    if harness.group_name == "eigh":  # JAX differentiates it at the symmetric part of its argument
        f = functools.partial(jax.lax.linalg.eigh, lower=harness.params["lower"], symmetrize_input=False)
    args = harness.dyn_args_maker(np.random.RandomState(zlib.crc32(name.encode())))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args = tuple(one_nan(jnp.asarray(x)) for x in args)
        if not takes(f, args):
            return "JAX refuses it"
        if not keeps_promises(f, args):
            return "its indices are promised to be in bounds, and are not: the result is undefined"
        found = small_enough(f, args)
    return found if isinstance(found, str) else Case(name, harness.group_name, dtype, f, found)


def one_nan(x):
    """x with the sign of each NaN positive, since mpmath has a single NaN."""
    return jnp.where(jnp.isnan(x), jnp.nan, x).astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x


def small_enough(f, args) -> tuple | str:
    """The arguments, with long axes cut if they are large: all together, else one by one; or why that fails."""
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
    """Whether f can be traced and evaluated; some functions of JAX raise only in one of the two."""
    with contextlib.suppress(Exception):  # JAX may raise anything
        jax.eval_shape(f, *args)
        f(*args)
        return True
    return False


def keeps_promises(f, args) -> bool:
    """Whether indices promised to be in bounds are: then results do not depend on the mode for other indices.

    By default a gather clips them and a scatter drops them; here the gather fills in NaN and the scatter clips.
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
