"""`contrast(f, *args)`: hand against automatic, for a function as a whole and for each rule in it."""

from collections.abc import Callable
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.currying import direct_or_curried
from jaxdl.double_precision import as_double
from jaxdl.measure.contrast_report import Comparison, Contrast, Difference
from jaxdl.measure.differentiated import Differentiated, check_differentiable
from jaxdl.measure.timing import pairs
from jaxdl.report import error_text
from jaxdl.strip import Choice, Site, automatic, chosen, observe

NO_DIGIT = 0.5  # of the largest entry: an error beyond which no digit is right


@overload
def contrast(  # pyright: ignore[reportOverlappingOverload]
    f: Callable[..., Any], /, *, time: bool = True, sites: bool = True, only: Choice = None, keep: Choice = None
) -> Callable[..., Contrast]: ...


@overload
def contrast(
    f: Callable[..., Any],
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
    f: Callable[..., Any],
    args: tuple[Any, ...],
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
        *args: Its arguments, any pytrees.
        **kwargs: Its keyword arguments.
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
        >>> x = jnp.linspace(-2.0, 2.0, 8)
        >>> report = contrast(jax.nn.relu, x, time=False)
        >>> report.whole.largest.relative
        0.0
        >>> wave = lambda x, time: jnp.sin(x - time)
        >>> report = contrast(wave, time=False)(x, time=0.5)  # wave has a parameter time
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
        _check_reverse_mode(in_arrays, arrays)
        raise
    found, left_out = [], []
    for observed in observe(in_arrays, *arrays) if sites else ():
        if chosen(only, keep)(observed.site):
            try:
                found.append(_compare_site(observed, time))
            except Exception as error:  # of any kind: JAX's, the rule's, or that of a function the rule calls
                left_out.append((observed.site, error_text(error)))
    device = jax.devices()[0]
    return Contrast(f"{device.device_kind} ({device.platform})", whole, tuple(found), tuple(left_out))


def _check_reverse_mode(f, arrays):
    """Raises TypeError where f, with all its rules, has no derivative in reverse mode."""
    side = Differentiated(f, arrays)
    try:
        jax.eval_shape(side.step, arrays, side.cotangent())
    except Exception as error:  # JAX's, or that of a rule
        raise TypeError(
            f"contrast: the function has no derivative in reverse mode, which contrast measures ({error_text(error)}): "
            f"write a rule for the part that has none (jaxdl.op, jax.custom_vjp), or contrast f without that part"
        ) from error


def _compare_site(observed, time):
    smooth = [i for i in observed.moving if jnp.issubdtype(observed.inputs[i].dtype, jnp.inexact)]
    if not smooth or not any(jnp.issubdtype(t.dtype, jnp.inexact) for t in observed.site.outputs):
        raise ValueError("it is not differentiated here")
    names = [f"input {i}" for i in range(len(observed.inputs))]
    return _compare(observed.site, observed.hand, observed.automatic, observed.inputs, smooth, names, time)


def _compare(site, hand, plain, arrays, smooth, names, time):
    by_hand, by_jax = Differentiated(hand, arrays, smooth), Differentiated(plain, arrays, smooth)
    hand_cost, automatic_cost = by_hand.cost(), by_jax.cost()
    missing = {}
    differences = _measured(missing, "differences", lambda: _differences(by_hand, by_jax, names, missing)) or ()
    time_each = lambda: [pairs(*both) for both in zip(by_hand.parts(), by_jax.parts(), strict=True)]
    forward, backward, step = (time and _measured(missing, "times", time_each)) or (None, None, None)
    return Comparison(
        name=site.name,
        shape=arrays[0].shape,
        where=site.where,
        count=site.count,
        differences=differences,
        hand=hand_cost,
        automatic=automatic_cost,
        forward=forward,
        backward=backward,
        step=step,
        gain=site.gain,
        missing=tuple(missing.items()),
    )


def _measured(missing, what, measure):
    """The result of a measurement that runs f; None where f raises, with the reason in `missing`."""
    try:
        return measure()
    except Exception as error:  # of any kind: f may check its values
        missing[what] = error_text(error)
        return None


def _differences(by_hand, by_jax, names, missing):
    (y, dx), (y_auto, dx_auto) = by_hand.run(), by_jax.run()
    labels = [f"output {i}" if len(y) > 1 else "output" for i in range(len(y))]
    labels += [f"cotangent of {names[i]}" for i in by_hand.smooth]
    truth = _measured(missing, "ULP, by a float64 run", lambda: _float64_run(by_jax)) or [None] * len(labels)
    return tuple(map(_difference, labels, [*y, *dx], [*y_auto, *dx_auto], truth))


def _difference(name, hand, plain, truth):
    dtype = hand.dtype
    hand, plain = as_double(np.asarray(hand)), as_double(np.asarray(plain))
    if hand.size == 0:
        return Difference(name, 0.0, 0.0, None, None)
    largest = float(np.max(np.abs(plain)))
    absolute = _largest_distance(hand, plain)
    relative = absolute / largest if largest else float(absolute > 0) and np.inf
    if truth is None:
        return Difference(name, absolute, relative, None, None)
    ulp = _last_place(truth, dtype)
    hand_ulp, automatic_ulp = _largest_distance(hand, truth) / ulp, _largest_distance(plain, truth) / ulp
    is_noise = min(hand_ulp, automatic_ulp) * float(jnp.finfo(dtype).eps) > NO_DIGIT
    return Difference(name, absolute, relative, hand_ulp, automatic_ulp, is_noise)


def _last_place(x, dtype) -> float:
    """The unit in the last place, in a format, of the largest entry of an array."""
    finfo, largest = jnp.finfo(dtype), np.max(np.abs(x))
    exponent = np.floor(np.log2(largest)) if largest > 0 and np.isfinite(largest) else 0.0
    return float(2.0 ** max(exponent, float(finfo.minexp)) * float(finfo.eps))


def _largest_distance(a, b):
    with np.errstate(invalid="ignore"):  # equal infinities are at distance 0
        return float(np.max(np.where(a == b, 0, np.abs(a - b))))


def _float64_run(by_jax):
    """Outputs and cotangents of the automatic derivative in float64; f raises if it insists on another precision."""
    arrays, dy = ([*map(as_double, xs)] for xs in (by_jax.arrays, by_jax.cotangent()))
    with jax.enable_x64(True):
        y, dx = jax.jit(Differentiated(by_jax.f, arrays, by_jax.smooth).step)(arrays, dy)
        return [np.asarray(x) for x in (*y, *dx)]


def _argument_names(args, kwargs):
    paths, _ = jax.tree_util.tree_flatten_with_path((args, kwargs))
    return ["argument " + jax.tree_util.keystr(path[1:]) for path, leaf in paths if jx.is_array(leaf)]
