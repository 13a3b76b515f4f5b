"""Comparisons decided as rounding may decide them, while all other values stay as they are.

Beside each value stands a rounded one: it is computed from the rounded inputs, and moved at random by the rounding of
its own operation (Monte Carlo arithmetic: Parker, 1997). So errors of rounding spread to later values, as they do in
the function's own format. A maximum, a sign or a comparison decides by the rounded values; the others serve for the
rest.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl import jaxpr as jx

UNITS = 8  # of rounding, by which a value is moved at most

# Their value is continuous where they decide; so it stays as it is, and the derivative is that of the decision.
CONTINUOUS = {
    "abs", "clamp", "cummax", "cummin", "max", "min", "reduce_max", "reduce_min", "reduce_window_max",
    "reduce_window_min",
}  # fmt: skip
KINKS = CONTINUOUS | {
    "ceil", "floor", "rem", "round", "select_and_gather_add", "select_and_scatter_add", "sign", "sort", "top_k",
}  # fmt: skip
# Sums, whose terms are rounded: an error is one of the terms, not of a sum in which they cancel.
SUMS = {
    "cholesky", "conv_general_dilated", "cumlogsumexp", "cumprod", "cumsum", "dot_general", "eigh", "fft", "lu", "qr",
    "ragged_dot_general", "reduce_prod", "reduce_sum", "reduce_window_sum", "scatter-add", "svd", "triangular_solve",
}  # fmt: skip
ROUNDED = jx.ELEMENTWISE - jx.STEPS - KINKS - {
    "convert_element_type", "copy", "copy_p", "neg", "nextafter", "select_n",
}  # fmt: skip


class Rounding(NamedTuple):
    """How values are moved.

    Attributes:
        dtype: The format whose rounding it is.
        seed: A whole number; another one moves all values otherwise.
    """

    dtype: Any
    seed: Any

    def at(self, place: int) -> "Rounding":
        """The rounding of another operation."""
        return self._replace(seed=self.seed * np.uint32(0x9E3779B1) + np.uint32(place + 1))

    def moved(self, x: Any, least: float = 0.0) -> Any:
        """Inexact values, each moved by some units of its own rounding, and by as many times `least`."""
        if not _is_inexact(x):
            return x
        x = jnp.asarray(x)
        if jnp.issubdtype(x.dtype, jnp.complexfloating):
            return lax.complex(self.moved(x.real, least), self.at(0).moved(x.imag, least))
        noise = (UNITS * _noise(x, self.seed)).astype(x.dtype)
        return jnp.where(jnp.isfinite(x), x + x * noise * float(jnp.finfo(self.dtype).eps) + noise * least, x)

    def moved_argument(self, x: Any) -> Any:
        """Values moved likewise; 0 is moved by the smallest positive numbers."""
        return self.moved(x, float(jnp.finfo(self.dtype).smallest_subnormal))

    def rounded(self, exact: Any, moved: Any) -> Any:
        """The moved values where the format rounds the exact ones: not where these are masks, counts or the like."""
        if not jnp.issubdtype(exact.dtype, jnp.floating):
            return moved
        narrow = jnp.finfo(self.dtype).dtype if jnp.finfo(self.dtype).bits < 64 else jnp.float32
        return jnp.where(exact.astype(narrow).astype(exact.dtype) == exact, exact, moved)


def decided_by_rounding(jaxpr: Any, moving: Sequence[int], dtype: Any) -> Callable[..., list[Any]]:
    """The function of a closed jaxpr in float64, with comparisons decided by rounded values; it returns a list.

    It is differentiated as the jaxpr is. Comparisons inside jit, checkpoint, scan, while and cond are decided so too,
    but not those inside rules that are kept, linear solvers, shard_map and Pallas kernels.

    Args:
        jaxpr: The jaxpr.
        moving: The positions of the arguments that are rounded themselves: those in which it is differentiated.
        dtype: The format whose rounding decides.

    Returns:
        A function of a seed, an unsigned whole number of 32 bits, and the arguments.
    """
    opened_calls = jx.inlined(jaxpr, jx.CALLS | jx.CHECKPOINTS)

    def function(seed, *arrays):
        rounding = Rounding(dtype, seed)
        both = lambda i, x: (x, rounding.at(-1).at(i).moved_argument(lax.stop_gradient(x)) if i in moving else x)
        return [y for y, _ in _evaluated(opened_calls, [both(i, x) for i, x in enumerate(arrays)], rounding)]

    return function


def _evaluated(jaxpr, pairs, rounding):
    """Values and rounded values of a jaxpr's outputs, from those of its inputs."""
    plain = jx.opened(jaxpr)
    values = dict(zip(plain.constvars, ((c, c) for c in getattr(jaxpr, "consts", ())), strict=True))
    values.update(zip(plain.invars, pairs, strict=True))
    of = lambda atom: values[atom] if jx.is_variable(atom) else (atom.val, atom.val)
    for place, eqn in enumerate(plain.eqns):
        y = _equation(eqn, [of(atom) for atom in eqn.invars], rounding.at(place))
        values.update(zip(eqn.outvars, y, strict=True))
    return [of(atom) for atom in plain.outvars]


def _equation(eqn, pairs, rounding):
    name, f = eqn.primitive.name, jx.binding(eqn)
    if name in _LOOPS:
        return _LOOPS[name](eqn, pairs, rounding)
    xs, rounded = [x for x, _ in pairs], [r for _, r in pairs]
    if name in KINKS or not any(jnp.issubdtype(v.aval.dtype, jnp.inexact) for v in eqn.outvars):
        return _decided(name, f, pairs)
    y = f(*xs)
    same = all(x is r for x, r in pairs)
    y_rounded = y if same else f(*rounded)
    if name in ROUNDED:
        moved = map(rounding.moved, y_rounded)
    elif name in SUMS:
        moved = f(*(rounding.at(i).moved(r) for i, r in enumerate(rounded)))
    else:
        return list(zip(y, y_rounded, strict=True))
    return [(a, rounding.rounded(b, c)) for a, b, c in zip(y, y_rounded, moved, strict=True)]


def _decided(name, f, pairs):
    y = f(*(_with_derivative(r, x) for x, r in pairs))
    rounded = [lax.stop_gradient(v) if _is_inexact(v) else v for v in y]
    if name in CONTINUOUS:
        y = [_with_derivative(v, of) for v, of in zip(f(*(x for x, _ in pairs)), y, strict=True)]
    return list(zip(y, rounded, strict=True))


def _with_derivative(value, of):
    """A value with the derivative of another one, which is near it."""
    if value is of or not _is_inexact(of):
        return value
    return jnp.where(jnp.isfinite(of), lax.stop_gradient(value) + (of - lax.stop_gradient(of)), of)


def _noise(x, seed):
    """Numbers between −1 and 1, as if random, by place, value and seed; those of `jax.random` take long to compile."""
    bits = lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
    h = lax.iota(jnp.uint32, x.size).reshape(x.shape) * np.uint32(0x85EBCA6B) + bits + seed
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):  # https://nullprogram.com/blog/2018/07/31/
        h = (h ^ (h >> shift)) * np.uint32(factor)
    return (h ^ (h >> 16)).astype(jnp.float64) * 2.0**-31 - 1


def _is_inexact(x):
    return jnp.issubdtype(jnp.result_type(x), jnp.inexact)


def _flat(pairs):
    return list(itertools.chain(*zip(*pairs, strict=True)))


def _pairs(flat):
    return list(zip(flat[: len(flat) // 2], flat[len(flat) // 2 :], strict=True))


def _scan(eqn, pairs, rounding):
    p = jx.scan(eqn)
    consts, carry, xs = p.split(pairs)

    def body(carry, xs):
        y = _evaluated(p.body, [*consts, *_pairs(carry), *_pairs(xs)], rounding)
        return _flat(y[: p.carry]), _flat(y[p.carry :])

    carry, ys = lax.scan(body, _flat(carry), _flat(xs), length=p.length, reverse=p.reverse)
    return [*_pairs(carry), *_pairs(ys)]


def _while(eqn, pairs, rounding):
    loop = jx.while_(eqn)
    of_test, of_body, carry = loop.split(pairs)
    test = lambda carry: _evaluated(loop.test, [*of_test, *_pairs(carry)], rounding)[0][0]
    body = lambda carry: _flat(_evaluated(loop.body, [*of_body, *_pairs(carry)], rounding.at(0)))
    return _pairs(jx.while_loop(test, body, _flat(carry)))


def _cond(eqn, pairs, rounding):
    (which, _), *operands = pairs
    branch = lambda jaxpr: lambda *flat: _flat(_evaluated(jaxpr, _pairs(flat), rounding))
    return _pairs(
        lax.switch(lax.convert_element_type(which, np.int32), [*map(branch, jx.branches(eqn))], *_flat(operands))
    )


_LOOPS = {"scan": _scan, "while": _while, "cond": _cond}
