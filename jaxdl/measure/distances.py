"""How far derivatives lie apart, and from a run of the automatic derivative in float64."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.double_precision import as_double, double_struct, double_type, in_double_precision, real_parts
from jaxdl.measure.differentiated import Differentiated

EXPLAINED = 1 / 8  # of a distance, to which a kink on the other side must reduce it
FAR = 256  # ULP, more than which rounding in another order does not make
SUSPECT = 64  # ULP, beyond which a difference may be that of a kink
NO_DIGIT = 0.5  # of the largest entry: an error beyond which no digit is right


@dataclass(frozen=True)
class Difference:
    """How far hand and automatic lie apart in one array, and each from a float64 run of the automatic derivative.

    Attributes:
        name: The output, or the cotangent, that was compared.
        absolute: The largest difference.
        relative: The largest difference over the largest entry.
        hand_ulp: The largest distance of the hand-written derivative from the float64 run, in units in the last place
            of the largest entry; None where f does not run in float64.
        automatic_ulp: The same of the automatic derivative; None where f itself is in float64, so that the float64 run
            is the automatic derivative.
        is_noise: Whether neither has a correct digit, as where the truth is 0 and both are rounding errors.
        is_at_kink: Whether rounding decides a maximum, a sign or a comparison, and so this derivative. The ULPs are
            then those from what lies between the derivatives on its sides.
    """

    name: str
    absolute: float
    relative: float
    hand_ulp: float | None
    automatic_ulp: float | None
    is_noise: bool = False
    is_at_kink: bool = False


def telling(differences: Sequence[Difference]) -> tuple[Difference, ...]:
    """The differences that are neither noise nor those of a kink, or all of them if there are no others."""
    return tuple(d for d in differences if not (d.is_noise or d.is_at_kink)) or tuple(differences)


def largest(differences: Sequence[Difference]) -> Difference | None:
    """The largest relative difference of those that tell; None where nothing could be compared."""
    return max(telling(differences), key=lambda d: np.nan_to_num(d.relative, nan=np.inf), default=None)


def worst_ulp(differences: Sequence[Difference], side: str = "hand") -> float | None:
    """The largest distance of a side, "hand" or "automatic", from the float64 run; None where there is none."""
    known = (getattr(d, f"{side}_ulp") for d in telling(differences))
    return max((ulp for ulp in known if ulp is not None), default=None)


def differences(
    names: Sequence[str], by_hand: Sequence[Any], automatic: Sequence[Any], truth: Sequence[Any] | None
) -> tuple[Difference, ...]:
    """The differences of two lists of arrays.

    Args:
        names: The names of the arrays.
        by_hand: Those of the derivative by hand, or of another.
        automatic: Those of the automatic derivative.
        truth: Those of `float64_run`; None where there are none.
    """
    return tuple(map(_difference, names, by_hand, automatic, truth or [None] * len(names)))


def beyond_rounding(ulp: float, other: float) -> bool:
    """Whether a distance from the float64 run, beside that of another derivative, is more than another rounding."""
    return not ulp < max(FAR, 8 * other)


def beside_kinks(
    found: Sequence[Difference],
    by_hand: Sequence[Any],
    automatic: Sequence[Any],
    runs: Callable[[], Sequence[Sequence[Any]]],
) -> tuple[Difference, ...]:
    """The same differences, with those marked that a kink explains.

    Args:
        found: The differences.
        by_hand: The arrays of the derivative by hand, or of another.
        automatic: Those of the automatic derivative.
        runs: Returns float64 runs in which kinks fall either way; it is called if there is a large difference.
    """
    suspect = lambda d: not d.is_noise and max(d.hand_ulp or 0, d.automatic_ulp or 0) > SUSPECT
    if not any(map(suspect, found)):
        return tuple(found)
    each = zip(found, by_hand, automatic, zip(*runs(), strict=True), strict=True)
    return tuple(_beside_kink(d, *arrays) if suspect(d) else d for d, *arrays in each)


def _beside_kink(found, hand, plain, drawn):
    dtype = hand.dtype
    sides = real_parts(np.stack(drawn))
    between = lambda x: _largest_distance(x, np.clip(x, sides.min(0), sides.max(0))) / _last_place(sides, dtype)
    before = found.hand_ulp, found.automatic_ulp or 0
    after = [min(ulp, between(real_parts(x))) for ulp, x in zip(before, (hand, plain), strict=True)]
    far = [a < EXPLAINED * b for a, b in zip(after, before, strict=True) if b > SUSPECT]
    if not any(far):
        return found
    explained = all(far) and not beyond_rounding(max(after), min(after))
    automatic_ulp = None if found.automatic_ulp is None else after[1]
    return replace(found, hand_ulp=after[0], automatic_ulp=automatic_ulp, is_at_kink=explained)


def for_float64(by_jax: Differentiated) -> Callable[..., Any]:
    """The function to call on arrays in float64: f itself, if all that it then computes is in float64.

    Else its program in double precision: a program that was traced before, such as that of a rule, has constants in the
    format of the trace; a function may name a format, or hold arrays of one; and `jax.random` draws other numbers in
    another format.
    """
    jaxpr, _ = jx.trace(by_jax.f, *by_jax.arrays)
    if not jx.draws_bits(jaxpr) and _is_double(by_jax.f, [*map(double_struct, by_jax.arrays)]):
        return by_jax.f
    return in_double_precision(jaxpr)


def _is_double(f, types):
    """Whether f can be traced for these types, and all floating-point values in it are in float64 then."""
    try:
        with jax.enable_x64(True):
            jaxpr, _ = jx.trace(f, *types)
    except Exception:  # JAX's or that of f, of any kind: it insists on its formats
        return False
    formats = {v.aval.dtype for eqn in jx.equations(jaxpr) for v in eqn.outvars if hasattr(v.aval, "dtype")}
    return all(dtype == double_type(dtype) for dtype in formats if jnp.issubdtype(dtype, jnp.inexact))


def float64_run(by_jax: Differentiated) -> list[Any]:
    """Outputs and cotangents of the automatic derivative in float64; raises where f cannot be evaluated so."""
    f, (arrays, dy) = for_float64(by_jax), ([*map(as_double, xs)] for xs in (by_jax.arrays, by_jax.cotangent()))
    with jax.enable_x64(True):
        y, dx = jax.jit(Differentiated(f, arrays, by_jax.smooth).step)(arrays, dy)
        return [np.asarray(x) for x in (*y, *dx)]


def _difference(name, hand, plain, truth):
    dtype = hand.dtype
    hand, plain = as_double(np.asarray(hand)), as_double(np.asarray(plain))
    if hand.size == 0:
        return Difference(name, 0.0, 0.0, None, None)
    largest_entry = _largest_entry(plain)
    absolute = _largest_distance(hand, plain)
    relative = absolute / largest_entry if largest_entry else float(absolute > 0) and np.inf
    if truth is None:
        return Difference(name, absolute, relative, None, None)
    ulp = _last_place(truth, dtype)
    hand_ulp, automatic_ulp = _largest_distance(hand, truth) / ulp, _largest_distance(plain, truth) / ulp
    is_noise = min(hand_ulp, automatic_ulp) * float(jnp.finfo(dtype).eps) > NO_DIGIT
    is_double = jnp.finfo(dtype).bits == 64
    return Difference(name, absolute, relative, hand_ulp, None if is_double else automatic_ulp, is_noise)


def _last_place(x, dtype) -> float:
    """The unit in the last place, in a format, of the largest entry of an array."""
    finfo, largest_entry = jnp.finfo(dtype), _largest_entry(x)
    exponent = np.floor(np.log2(largest_entry)) if largest_entry > 0 and np.isfinite(largest_entry) else 0.0
    return float(2.0 ** (max(exponent, float(finfo.minexp)) + np.log2(float(finfo.eps))))


def _largest_entry(x) -> float:
    """The largest magnitude among the entries that are numbers."""
    return float(np.max(np.abs(x), where=~np.isnan(x), initial=0))


def _largest_distance(a, b):
    with np.errstate(invalid="ignore"):  # equal infinities, and two NaN, are at distance 0
        return float(np.max(np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, np.abs(a - b))))
