"""`contrast(f, *args)`: hand against automatic, for a function as a whole and for each rule in it."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from jaxdl import jaxpr as jx
from jaxdl.currying import direct_or_curried
from jaxdl.measure.differentiated import Cost, Differentiated
from jaxdl.measure.show import comparison_plot, comparison_table, gains_table
from jaxdl.measure.timing import Pairs, pairs
from jaxdl.report import Table, error_text, plain, terminal, write_whole
from jaxdl.strip import Choice, Site, automatic, chosen, observe

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
    missing: tuple[tuple[str, str], ...] = ()  # what could not be measured, and why

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
            "missing": dict(self.missing),
        }

    @property
    def telling(self) -> tuple[Difference, ...]:
        """The differences of arrays that are more than noise, or all if none is."""
        return tuple(d for d in self.differences if not d.is_noise) or self.differences

    @property
    def largest(self) -> Difference | None:
        """The array, of those that are more than noise, in which hand and automatic differ most, relative to its
        largest entry; None where they could not be compared."""
        return max(self.telling, key=lambda d: np.nan_to_num(d.relative, nan=np.inf), default=None)


@dataclass(frozen=True)
class Contrast:
    """What `contrast` found. `sites` has one comparison for each rule, with the values it was called with; `left_out`
    the rules that have none, with the reason."""

    device: str
    whole: Comparison
    sites: tuple[Comparison, ...]
    left_out: tuple[tuple[Site, str], ...] = ()

    def to_json(self) -> dict:
        """Plain data: numbers, strings, lists, dictionaries. Not-a-number and infinity become None."""
        left_out = [{"name": site.name, "where": site.where, "reason": reason} for site, reason in self.left_out]
        sites = [site.to_json() for site in self.sites]
        return plain({"device": self.device, "whole": self.whole.to_json(), "sites": sites, "left_out": left_out})

    def save(self, path) -> None:
        """Writes `to_json()` to a file."""
        write_whole(path, json.dumps(self.to_json(), indent=1).encode())

    def table(self, *, brief: bool = False) -> Table:
        """One row for the whole and one for each rule; `brief` leaves the less telling columns out."""
        title = f"Hand-written against automatic derivative, on {self.device}"
        return comparison_table(title, (self.whole, *self.sites), brief, self.left_out)

    def gains(self) -> Table:
        """One row for each rule that measures better than the automatic derivative: in what, and by what cause."""
        return gains_table(self.sites)

    def print(self, console: Console | None = None) -> None:
        """Prints the table, brief on a terminal narrower than 150 columns, and where the rules gain."""
        console = console or terminal()
        self.table(brief=console.width < 150).print(console)
        if self.sites:
            self.gains().print(console)

    def plot(self, path) -> None:
        """Bars of time and residual bytes, hand against automatic, for the whole and each rule; a PNG file."""
        write_whole(path, self.png())

    def png(self) -> bytes:
        """The plot as the bytes of a PNG file."""
        return comparison_plot((self.whole, *self.sites))


@overload
def contrast(  # pyright: ignore[reportOverlappingOverload]
    f: Callable, /, *, time: bool = True, sites: bool = True, only: Choice = None, keep: Choice = None
) -> Callable[..., Contrast]: ...


@overload
def contrast(
    f: Callable,
    /,
    *args: object,
    time: bool = True,
    sites: bool = True,
    only: Choice = None,
    keep: Choice = None,
    **kwargs: object,
) -> Contrast: ...


@direct_or_curried
def contrast(
    f: Callable,
    args: tuple,
    kwargs: dict[str, Any],
    *,
    time: bool = True,
    sites: bool = True,
    only: Choice = None,
    keep: Choice = None,
) -> Contrast:
    """Compares the hand-written derivative rules in f with the automatic derivative, at these arguments.

    f is differentiated in all floating-point arrays among its arguments, not in Python numbers, and pulled back from
    one fixed cotangent (1 for scalar outputs, else normal numbers). The report has the largest differences in outputs
    and cotangents, FLOPs, bytes, residual and temporary memory and compile time, for f as a whole and for each rule
    that f calls, on the values that it is called with there, in those of its inputs in which f differentiates it. A
    figure that cannot be measured (a solver in f refuses the random cotangent, or float64) is left empty, and the table
    says why.

    `contrast(f, time=False)`, without arguments of f, is a function of them: all keywords of that second call go to f.

    Args:
        f: Any JAX function.
        args: Its arguments, any pytrees.
        kwargs: Its keyword arguments.
        time: Whether forward and backward passes are timed, by interleaved pairs.
        sites: Whether each rule in f is compared too.
        only: The rules that are replaced by their primals, as in `automatic`; by default all.
        keep: The rules that stay on both sides, as in `automatic`.

    Returns:
        The report, or without arguments of f a function of them that returns it.

    Raises:
        ValueError: There is no floating-point array among the arguments or the outputs of f.
        TypeError: f has no derivative in reverse mode; the primal of a rule has none and f needs it (the message names
            the rule to keep); or a keyword given is also a parameter of f.

    Example:
        >>> contrast(loss, params, batch, keep="odeint").print()
        >>> contrast(loss, keep="odeint")(params, batch, time=0.5).print()  # loss has a parameter time
    """
    jaxpr, _, arrays = jx.trace_arrays(f, args, kwargs)
    names = _argument_names(args, kwargs)
    check_differentiable("contrast", jaxpr, arrays)
    arrays = [jnp.asarray(x) for x in arrays]
    in_arrays = jx.in_arrays(f, args, kwargs)
    plain = automatic(in_arrays, only=only, keep=keep)
    try:
        whole = _compare(Site("whole", "", "", (), ()), in_arrays, plain, arrays, None, names, time)
    except Exception:
        _check_reverse(in_arrays, arrays)
        raise
    found, left_out = [], []
    for seen in observe(in_arrays, *arrays) if sites else ():
        if chosen(only, keep)(seen.site):
            try:
                found.append(_compare_site(seen, time))
            except Exception as error:  # of any kind: JAX's, the rule's, or that of what the rule calls
                left_out.append((seen.site, error_text(error)))
    device = jax.devices()[0]
    return Contrast(f"{device.device_kind} ({device.platform})", whole, tuple(found), tuple(left_out))


def _check_reverse(f, arrays):
    """TypeError where f as it is, with all its rules, has no derivative that can be pulled back."""
    side = Differentiated(f, arrays)
    try:
        jax.eval_shape(side.step, arrays, side.cotangent())
    except Exception as error:  # JAX's, or that of a rule
        raise TypeError(
            f"contrast: the function has no derivative in reverse mode, which contrast measures ({error_text(error)}): "
            f"give what has none a rule (jaxdl.op, jax.custom_vjp), or contrast a part of the function without it"
        ) from error


def _compare_site(seen, time):
    moving = [i for i in seen.moving if jnp.issubdtype(seen.inputs[i].dtype, jnp.inexact)]
    if not moving or not any(jnp.issubdtype(t.dtype, jnp.inexact) for t in seen.site.outputs):
        raise ValueError("it is not differentiated here")
    names = [f"input {i}" for i in range(len(seen.inputs))]
    return _compare(seen.site, seen.hand, seen.automatic, seen.inputs, moving, names, time)


def _compare(site, hand, plain, arrays, moving, names, time):
    sides = Differentiated(hand, arrays, moving), Differentiated(plain, arrays, moving)
    costs = [side.cost() for side in sides]
    missing = {}
    differences = _unless_refused(missing, "differences", lambda: _differences(*sides, names, missing)) or ()
    measure = lambda: [pairs(*both) for both in zip(*(side.parts() for side in sides), strict=True)]
    timed = (time and _unless_refused(missing, "times", measure)) or (None, None, None)
    return Comparison(
        site.name, arrays[0].shape, site.where, site.count, differences, *costs, *timed, site.gain,
        tuple(missing.items()),
    )  # fmt: skip


def _unless_refused(missing, what, measure):
    """What is measured by running f; None where f refuses to run, with the reason in `missing`."""
    try:
        return measure()
    except Exception as error:  # of any kind: what f checks of its values is its own
        missing[what] = error_text(error)
        return None


def _differences(hand, plain, names, missing):
    (y, dx), (y_auto, dx_auto) = hand.run(), plain.run()
    labels = [f"output {i}" if len(y) > 1 else "output" for i in range(len(y))]
    labels += [f"cotangent of {names[i]}" for i in hand.smooth]
    truth = _unless_refused(missing, "ULP, by a float64 run", lambda: _float64_run(plain)) or [None] * len(labels)
    return tuple(map(_difference, labels, [*y, *dx], [*y_auto, *dx_auto], truth))


def _difference(name, hand, plain, truth):
    dtype = hand.dtype
    wide = np.complex128 if jnp.issubdtype(dtype, jnp.complexfloating) else np.float64
    hand, plain = (np.asarray(x).astype(wide) for x in (hand, plain))
    if hand.size == 0:
        return Difference(name, 0.0, 0.0, None, None)
    apart = _largest_distance
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


def _largest_distance(a, b):
    with np.errstate(invalid="ignore"):  # ∞ − ∞ is not asked
        return float(np.max(np.where(a == b, 0, np.abs(a - b))))


def _float64_run(plain):
    """Outputs and cotangents of the automatic derivative in float64; f may insist on its precision, and raise."""
    widen = lambda x: np.asarray(x).astype(
        np.complex128 if jnp.issubdtype(x.dtype, jnp.complexfloating) else np.float64
    ) if jnp.issubdtype(x.dtype, jnp.inexact) else x  # fmt: skip
    arrays, dy = [widen(x) for x in plain.arrays], [widen(x) for x in plain.cotangent()]
    with jax.enable_x64(True):
        y, dx = jax.jit(Differentiated(plain.f, arrays, plain.smooth).step)(arrays, dy)
        return [np.asarray(x) for x in (*y, *dx)]


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
