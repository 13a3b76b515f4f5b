"""`contrast(f, *args)`: hand against automatic, for a function as a whole and for each rule in it."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from jaxdl import jaxpr as jx
from jaxdl.measure.differentiated import Cost, Differentiated
from jaxdl.measure.show import comparison_plot, comparison_table, gains_table
from jaxdl.measure.timing import Pairs, pairs
from jaxdl.report import Table, plain, write_whole
from jaxdl.strip import automatic, observe

NO_DIGIT = 0.5  # of the largest entry: an error beyond which no digit is right


@dataclass(frozen=True)
class Difference:
    """How far hand and automatic lie apart in one array, and each from a float64 run.

    absolute is the largest difference; relative is it over the largest entry. hand_ulp and
    automatic_ulp are the largest distances from the float64 run of the automatic derivative, in units
    in the last place of the largest entry; None where f does not run in float64.
    """

    name: str
    absolute: float
    relative: float
    hand_ulp: float | None
    automatic_ulp: float | None
    is_noise: bool = False  # neither has a digit right, as where the truth is 0 and both have what rounding leaves


@dataclass(frozen=True)
class Comparison:
    """Hand and automatic derivative of one function: answers, costs, times (None if not asked for)."""

    name: str
    shape: tuple[int, ...]  # of the first input
    where: str
    count: int
    differences: tuple[Difference, ...]
    hand: Cost
    automatic: Cost
    forward: Pairs | None
    backward: Pairs | None
    step: Pairs | None  # forward and backward compiled in one
    gain: str = ""  # what the rule says that it does better

    def to_json(self) -> dict:
        times = {
            part: pairs and pairs.to_json("hand", "automatic")
            for part, pairs in (("forward", self.forward), ("backward", self.backward), ("step", self.step))
        }
        return {
            "name": self.name,
            "shape": list(self.shape),
            "where": self.where,
            "count": self.count,
            "differences": [asdict(d) for d in self.differences],
            "hand": self.hand.to_json(),
            "automatic": self.automatic.to_json(),
            **times,
            "gain": self.gain,
        }

    @property
    def telling(self) -> tuple[Difference, ...]:
        """The differences of arrays that are more than noise, or all if none is."""
        return tuple(d for d in self.differences if not d.is_noise) or self.differences

    @property
    def largest(self) -> Difference:
        """The array, of those that are more than noise, in which hand and automatic differ most, relative to its
        largest entry."""
        return max(self.telling, key=lambda d: np.nan_to_num(d.relative, nan=np.inf))


@dataclass(frozen=True)
class Contrast:
    """What `contrast` found. `sites` has one comparison for each rule, with the values it was called with."""

    device: str
    whole: Comparison
    sites: tuple[Comparison, ...]

    def to_json(self) -> dict:
        """Plain data: numbers, strings, lists, dictionaries. Not-a-number and infinity become None."""
        return plain({"device": self.device, "whole": self.whole.to_json(), "sites": [s.to_json() for s in self.sites]})

    def save(self, path) -> None:
        """Writes `to_json()` to a file."""
        write_whole(path, json.dumps(self.to_json(), indent=1).encode())

    def table(self, *, brief: bool = False) -> Table:
        """One row for the whole and one for each rule; `brief` leaves the less telling columns out."""
        title = f"Hand-written against automatic derivative, on {self.device}"
        return comparison_table(title, (self.whole, *self.sites), brief)

    def gains(self) -> Table:
        """One row for each rule that measures better than the automatic derivative: in what, and by what cause."""
        return gains_table(self.sites)

    def print(self, console: Console | None = None) -> None:
        """Prints the table, brief on a terminal narrower than 150 columns, and where the rules gain."""
        console = console or Console()
        self.table(brief=console.width < 150).print(console)
        if self.sites:
            self.gains().print(console)

    def plot(self, path) -> None:
        """Bars of time and residual bytes, hand against automatic, for the whole and each rule; a PNG file."""
        write_whole(path, self.png())

    def png(self) -> bytes:
        """The plot as the bytes of a PNG file."""
        return comparison_plot((self.whole, *self.sites))


def contrast(f: Callable, *args: Any, time: bool = True, sites: bool = True, **kwargs: Any) -> Contrast:
    """Compares the hand-written derivative rules in f with the automatic derivative, at these arguments.

    f is differentiated in all floating-point arrays among its arguments, numbers aside, and pulled back
    from one fixed cotangent (1 for scalar outputs, else normal numbers). Reported are the largest
    differences in outputs and cotangents, FLOPs, bytes, residual and temporary memory, compile time
    and, with `time`, forward and backward time by interleaved pairs; all of it for f as a whole and,
    with `sites`, for each rule that f calls, on the values that it is called with there.

    Raises ValueError if f has no floating-point array among its arguments or its outputs.
    """
    jaxpr, _, arrays = jx.trace_arrays(f, args, kwargs)
    names = _argument_names(args, kwargs)
    check_differentiable("contrast", jaxpr, arrays)
    arrays = [jnp.asarray(x) for x in arrays]
    in_arrays = jx.in_arrays(f, args, kwargs)
    whole = _compare("whole", "", 1, in_arrays, automatic(in_arrays), arrays, names, time)
    found = []
    for seen in observe(in_arrays, *arrays) if sites else ():
        if any(jnp.issubdtype(x.dtype, jnp.inexact) for x in seen.inputs) and any(
            jnp.issubdtype(t.dtype, jnp.inexact) for t in seen.site.outputs
        ):
            inputs = [f"input {i}" for i in range(len(seen.inputs))]
            site = seen.site
            found.append(
                _compare(
                    site.name, site.where, site.count, seen.hand, seen.automatic, seen.inputs, inputs, time, site.gain
                )
            )
    device = jax.devices()[0]
    return Contrast(f"{device.device_kind} ({device.platform})", whole, tuple(found))


def _compare(name, where, count, hand, plain, arrays, names, time, gain=""):
    sides = Differentiated(hand, arrays), Differentiated(plain, arrays)
    timed = (None, None, None)
    differences = _differences(*sides, names)
    costs = [side.cost() for side in sides]
    if time:
        timed = [pairs(*both) for both in zip(*(side.parts() for side in sides), strict=True)]
    return Comparison(name, arrays[0].shape, where, count, differences, *costs, *timed, gain)


def _differences(hand, plain, names):
    (y, dx), (y_auto, dx_auto) = hand.run(), plain.run()
    labels = [f"output {i}" if len(y) > 1 else "output" for i in range(len(y))]
    labels += [f"cotangent of {names[i]}" for i in hand.smooth]
    truth = _float64_run(plain) or [None] * len(labels)
    return tuple(map(_difference, labels, [*y, *dx], [*y_auto, *dx_auto], truth))


def _difference(name, hand, plain, truth):
    dtype = hand.dtype
    wide = np.complex128 if jnp.issubdtype(dtype, jnp.complexfloating) else np.float64
    hand, plain = (np.asarray(x).astype(wide) for x in (hand, plain))
    if hand.size == 0:
        return Difference(name, 0.0, 0.0, None, None)
    apart = lambda a, b: float(np.max(np.where(a == b, 0, np.abs(a - b))))
    largest = float(np.max(np.abs(plain)))
    absolute = apart(hand, plain)
    relative = absolute / largest if largest else float(absolute > 0) and np.inf
    if truth is None:
        return Difference(name, absolute, relative, None, None)
    finfo = jnp.finfo(dtype)
    top = np.max(np.abs(truth))
    exponent = np.floor(np.log2(top)) if top > 0 and np.isfinite(top) else 0.0
    last_place = float(2.0 ** max(exponent, float(finfo.minexp)) * float(finfo.eps))
    ulps = [apart(side, truth) / last_place for side in (hand, plain)]
    is_noise = min(ulps) * float(finfo.eps) > NO_DIGIT
    return Difference(name, absolute, relative, *ulps, is_noise)


def _float64_run(plain):
    """Outputs and cotangents of the automatic derivative in float64; None where f insists on its precision."""
    widen = lambda x: np.asarray(x).astype(
        np.complex128 if jnp.issubdtype(x.dtype, jnp.complexfloating) else np.float64
    ) if jnp.issubdtype(x.dtype, jnp.inexact) else x  # fmt: skip
    arrays, dy = [widen(x) for x in plain.arrays], [widen(x) for x in plain.cotangent()]
    try:
        with jax.enable_x64(True):
            y, dx = jax.jit(Differentiated(plain.f, arrays).step)(arrays, dy)
            return [np.asarray(x) for x in (*y, *dx)]
    except Exception:  # whatever f raises on types that it was not written for
        return None


def check_differentiable(name, jaxpr, arrays):
    """ValueError in the name of a function, where there is nothing to differentiate."""
    plain = jx.opened(jaxpr)
    inexact = lambda types: any(jnp.issubdtype(t.dtype, jnp.inexact) for t in types)
    if not inexact(arrays):
        raise ValueError(f"{name}: no floating-point array among the arguments: nothing to differentiate in")
    if not inexact([v.aval for v in plain.outvars]):
        raise ValueError(f"{name}: the function returns no floating-point array: nothing to differentiate")


def _argument_names(args, kwargs):
    paths, _ = jax.tree_util.tree_flatten_with_path((args, kwargs))
    return ["argument " + jax.tree_util.keystr(path[1:]) for path, leaf in paths if jx.is_array(leaf)]
