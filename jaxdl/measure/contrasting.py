"""`contrast(f, *args)`: hand against automatic, for a function as a whole and for each rule in it."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.currying import direct_or_curried
from jaxdl.measure.contrast_report import Comparison, Contrast, Side
from jaxdl.measure.contrast_sentences import ALL_KEPT, NO_RULE
from jaxdl.measure.differentiated import (
    Differentiated,
    check_differentiable,
    positions_to_differentiate,
    timed_passes,
)
from jaxdl.measure.distances import beside_kinks, differences, float64_run, largest, worst_ulp
from jaxdl.measure.kinks import runs_beside_kinks
from jaxdl.measure.timing import Pairs, pairs, rounds
from jaxdl.report import ProgressBar, device_text, error_text
from jaxdl.strip import Choice, Site, automatic, check_called, chosen, observe, rules, stock
from jaxdl.strip.obstacles import RuleNeeded

Beside = Mapping[str, Callable[..., Any]]


@overload
def contrast(  # pyright: ignore[reportOverlappingOverload]
    f: Callable[..., Any],
    /,
    *,
    time: bool = True,
    sites: bool = True,
    only: Choice = None,
    keep: Choice = None,
    beside: Beside | None = None,
    argnums: int | Sequence[int] | None = None,
    order: int = 1,
    quiet: bool = False,
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
    beside: Beside | None = None,
    argnums: int | Sequence[int] | None = None,
    order: int = 1,
    quiet: bool = False,
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
    beside: Beside | None = None,
    argnums: int | Sequence[int] | None = None,
    order: int = 1,
    quiet: bool = False,
) -> Contrast:
    """Compares the hand-written derivative rules in f with the automatic derivative, at these arguments.

    f is differentiated in all floating-point arrays and numbers among its arguments, and pulled back from one fixed
    cotangent (1 for scalar outputs, else normal numbers). A number whose value f needs, as for a condition, is held
    constant, and the report says so. The report has the largest differences in outputs and cotangents, FLOPs, bytes,
    residual and temporary memory, memory of the whole step and compile time, for f as a whole and for each rule that f
    calls, on the values that it is called with there, in those of its inputs in which f differentiates it. A figure
    that cannot be measured (a solver in f refuses the random cotangent, or float64) is left empty, and the table says
    why. A difference where rounding decides a maximum or a comparison is named as that.

    Where f has ops of jaxdl with stock functions, f as a whole and each of them stand also with those functions
    (`jaxdl.stock`), and f as a whole beside each function in `beside`; times are measured in the same rounds.

    `contrast(f, time=False)`, without arguments of f, is a function of them: all keywords of that second call go to f.

    Args:
        f: Any JAX function.
        *args: Its arguments, any pytrees.
        **kwargs: Its keyword arguments.
        time: Whether forward and backward passes are timed, by interleaved pairs.
        sites: Whether each rule in f is compared too.
        only: The rules that are replaced by their primals, as in `automatic`; by default all.
        keep: The rules that stay on both sides, as in `automatic`.
        beside: Further functions by name, of the arguments of f and with its results, such as
            `{"flax": g, "tuned": h}`. They stand as they are, with their own rules.
        argnums: The positions of the arguments in which f is differentiated, as in `jax.grad`; by default all. The
            others are held fixed, such as frozen weights.
        order: 2 to compare the derivative of the gradient in place of the gradient.
        quiet: Whether no progress bar is shown. It is shown only on a terminal and in a notebook.

    Returns:
        The report, or without arguments of f a function of them that returns it.

    Raises:
        ValueError: There is no floating-point array or number among the arguments or the outputs of f; a function in
            `beside` does not return what f returns; `only` or `keep` names a rule that f does not call; or `order` is
            neither 1 nor 2.
        TypeError: f has no derivative in reverse mode; the primal of a rule has none and f needs it (the message names
            the rule to keep); `beside` has no functions by name; a second function was given that is no argument of f;
            or a keyword given is also a parameter of f.

    Examples:
        >>> x = jnp.linspace(-2.0, 2.0, 8)
        >>> report = contrast(jax.nn.relu, x, time=False)
        >>> report.whole.largest.relative
        0.0
        >>> wave = lambda x, time: jnp.sin(x - time)
        >>> report = contrast(wave, time=False)(x, time=0.5)  # wave has a parameter time
    """
    if order not in (1, 2):
        raise ValueError(f"contrast: order must be 1, the gradient, or 2, its derivative; got {order!r}")
    _check_one_function(f, args, kwargs)
    args, kwargs, _, constant = jx.given_arguments("contrast", f, args, kwargs)
    jaxpr, _, arrays = jx.trace_arrays(f, args, kwargs)
    names = _argument_names(args, kwargs)
    check_differentiable("contrast", jaxpr, arrays, constant)
    smooth = positions_to_differentiate("contrast", args, kwargs, argnums)
    arrays = [jnp.asarray(x) for x in arrays]
    in_arrays = functools.wraps(f)(_held_fixed(jx.in_arrays(f, args, kwargs), smooth))
    plain = automatic(in_arrays, only=only, keep=keep)
    further = {name: jx.in_arrays(g, args, kwargs) for name, g in _functions_by_name(beside).items()}
    _check_beside(in_arrays, further, arrays)
    wanted, called = chosen(only, keep), rules(in_arrays, *arrays)
    for name, choice in {"only": only, "keep": keep}.items():
        check_called("contrast", name, choice, called)
    if any(site.has_stock and wanted(site) for site in called):
        further = {"stock": stock(in_arrays, only=only, keep=keep), **further}
    compare = functools.partial(_compare, order=order, time=time)
    listed = [site for site in called if sites and wanted(site)]
    with ProgressBar(f"contrast {getattr(f, '__name__', '')}".strip(), 1 + len(listed), quiet) as bar:
        bar(0, "the whole function")
        try:
            whole = compare(Site("whole", "", "", (), ()), in_arrays, plain, further, arrays, smooth, names)
        except Exception:
            for of, g in {"the function": in_arrays, "the function without its rules": plain}.items():
                _check_reverse_mode(of, g, arrays, smooth, order)
            raise
        found, left_out = [], []
        for observed in [o for o in observe(in_arrays, *arrays) if wanted(o.site)] if sites else ():
            bar(1 + len(found) + len(left_out), observed.site.name)
            try:
                found.append(_compare_site(observed, compare))
            except Exception as error:  # of any kind: JAX's, the rule's, or that of a function the rule calls
                left_out.append((observed.site, error_text(error)))
    same = "" if any(map(wanted, called)) else ALL_KEPT if called else NO_RULE
    return Contrast(device_text(jax.devices()[0]), whole, tuple(found), tuple(left_out), order, constant, same)


def _check_one_function(f, args, kwargs):
    """Raises TypeError where a second function was given as if it were to be compared with the first."""
    if not args or not callable(args[0]):
        return
    try:
        inspect.signature(f).bind(*args, **kwargs)
    except ValueError:  # f has no signature
        return
    except TypeError as error:
        raise TypeError(
            f"contrast: it takes one function, and compares its hand-written rules with the automatic derivative; the "
            f"second one given is no argument of it ({error}). To compare two functions: "
            f"contrast(f, *args, beside={{'other': g}})"
        ) from error


def _held_fixed(f, smooth):
    """f with all arguments held fixed but those in which it is differentiated."""
    held = lambda i, x: x if i in smooth or not jnp.issubdtype(x.dtype, jnp.inexact) else jax.lax.stop_gradient(x)
    return lambda *arrays: f(*(held(i, x) for i, x in enumerate(arrays)))


def _gradient(f, arrays, smooth):
    """The gradient of f as a function of its arguments, for one fixed cotangent of its outputs."""
    side = Differentiated(f, arrays, smooth)
    dy = side.cotangent()

    def gradient(*arrays):
        y, pullback = side.forward(*arrays)
        return list(pullback([of_y.astype(y.dtype) for of_y, y in zip(dy, y, strict=True)]))  # float64 in that run

    return gradient


def _functions_by_name(beside):
    """Raises TypeError where the further functions are no functions by name."""
    beside = {} if beside is None else beside
    if not isinstance(beside, Mapping):
        raise TypeError(f"contrast: beside must be functions by name, such as {{'flax': g}}, got {beside!r}")
    for name, g in beside.items():
        if not isinstance(name, str) or not callable(g):
            raise TypeError(f"contrast: beside must be functions by name, such as {{'flax': g}}, got {name!r}: {g!r}")
    return beside


def _check_beside(f, further, arrays):
    """Raises ValueError where the name of a further function is taken, or it returns something else than f."""
    shape = lambda g: jax.tree.map(jx.typed, jax.eval_shape(g, *arrays))
    for name, g in further.items():
        if name in ("hand", "automatic", "stock"):
            raise ValueError(f"contrast: {name!r} is a column already; choose another name in beside")
        if (got := shape(g)) != (expected := shape(f)):
            raise ValueError(f"contrast: beside[{name!r}] must return what the function returns, {expected}, got {got}")


def _check_reverse_mode(of, f, arrays, smooth, order):
    """Raises TypeError where f has no derivative in reverse mode, or no second one."""
    for which, g in [("derivative", lambda: f), ("second derivative", lambda: _gradient(f, arrays, smooth))][:order]:
        try:
            side = Differentiated(g(), arrays, smooth)
            jax.eval_shape(side.step, arrays, side.cotangent())
        except RuleNeeded:
            raise
        except Exception as error:  # JAX's, or that of a rule
            raise TypeError(
                f"contrast: {of} has no {which} in reverse mode, which contrast measures ({error_text(error)}): write "
                f"a rule for the part that has none (jaxdl.op, jax.custom_vjp), or contrast f without that part"
            ) from error


def _compare_site(observed, compare):
    smooth = [i for i in observed.moving if jnp.issubdtype(observed.inputs[i].dtype, jnp.inexact)]
    if not smooth or not any(jnp.issubdtype(t.dtype, jnp.inexact) for t in observed.site.outputs):
        raise ValueError("it is not differentiated here")
    names = [f"input {i}" for i in range(len(observed.inputs))]
    beside = {"stock": observed.stock} if observed.stock else {}
    return compare(observed.site, observed.hand, observed.automatic, beside, observed.inputs, smooth, names)


def _compare(site, hand, plain, beside, arrays, smooth, names, *, order, time):
    missing = {}
    if order == 2:
        hand, plain, *further = (_gradient(g, arrays, smooth) for g in (hand, plain, *beside.values()))
        beside = dict(zip(beside, further, strict=True))
    by_hand, by_jax = Differentiated(hand, arrays, smooth), Differentiated(plain, arrays, smooth)
    hand_cost, automatic_cost = by_hand.cost(), by_jax.cost()
    sides = {name: Differentiated(f, arrays, smooth) for name, f in beside.items()}
    costs = {n: cost for n, side in sides.items() if (cost := _measured(missing, f"column {n}", side.cost))}
    sides = {name: sides[name] for name in costs}
    apart = lambda: _apart([by_hand, *sides.values()], by_jax, _labels(by_jax, names, order), missing)
    found = _measured(missing, "differences", apart) or [()] * (1 + len(sides))
    times = time and _measured(missing, "times", lambda: _times(by_hand, by_jax, sides.values()))
    forward, backward, step, *steps = times or [None] * (3 + len(sides))
    return Comparison(
        name=site.name,
        shape=arrays[0].shape,
        output_shape=site.outputs[0].shape if site.outputs else (),
        where=site.where,
        count=site.count,
        differences=found[0],
        hand=hand_cost,
        automatic=automatic_cost,
        forward=forward,
        backward=backward,
        step=step,
        gain=site.gain,
        missing=tuple(missing.items()),
        beside={
            name: Side(costs[name], (most := largest(apart)) and most.relative, worst_ulp(apart), times)
            for name, apart, times in zip(sides, found[1:], steps, strict=True)
        },
    )


def _labels(side, names, order):
    """The names of outputs and cotangents; at second order the outputs are gradients."""
    if order == 2:
        what = [f"gradient of {names[i]}" for i in side.smooth], "second cotangent"
    else:
        count = len(side.cotangent())
        what = [f"output {i}" if count > 1 else "output" for i in range(count)], "cotangent"
    return [*what[0], *(f"{what[1]} of {names[i]}" for i in side.smooth)]


def _apart(sides, by_jax, labels, missing):
    """The differences of each side from automatic."""
    *runs, (y, dx) = (side.run() for side in (*sides, by_jax))
    truth = _measured(missing, "ULP, by a float64 run", lambda: float64_run(by_jax))
    runs, plain = [[*y_side, *dx_side] for y_side, dx_side in runs], [*y, *dx]
    found = [differences(labels, run, plain, truth) for run in runs]
    drawn = functools.cache(lambda: runs_beside_kinks(by_jax))
    marked = lambda: [beside_kinks(apart, run, plain, drawn) for apart, run in zip(found, runs, strict=True)]
    return _measured(missing, "runs on both sides of its kinks", marked) or found


def _times(by_hand, by_jax, others):
    """Times against automatic: of forward and backward pass by hand, and of both in one by each side."""
    passes = zip(*timed_passes(by_hand, by_jax), strict=True)
    forward, backward = (pairs(*both, seconds=0.1) for both in passes)
    steps = [side.timed_step() for side in (by_jax, by_hand, *others)]
    automatic, *each = rounds(*steps)
    return [forward, backward, *(Pairs(times, automatic) for times in each)]


def _measured(missing, what, measure):
    """The result of a measurement that runs f; None where f raises, with the reason in `missing`."""
    try:
        return measure()
    except Exception as error:  # of any kind: f may check its values
        missing[what] = error_text(error)
        return None


def _argument_names(args, kwargs):
    paths, _ = jax.tree_util.tree_flatten_with_path((args, kwargs))
    return ["argument " + jax.tree_util.keystr(path[1:]) for path, leaf in paths if jx.is_array(leaf)]


jx.hide_from_source_lines(__file__)
