"""`tune(f, *args)`: the fastest mix of hand-written and automatic derivatives, found by measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, overload

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.currying import direct_or_curried
from jaxdl.measure.differentiated import check_differentiable, positions_to_differentiate
from jaxdl.report import ProgressBar, error_text
from jaxdl.strip import Choice, check_called, chosen
from jaxdl.tuner.choices import with_choices
from jaxdl.tuner.rematerializing import check_max_bytes, cut
from jaxdl.tuner.search import Search, fastest, in_turn, paired
from jaxdl.tuner.trials import Options, Trials
from jaxdl.tuner.tuned import Alternative, Decision, Other, Setting, Tuned

# Options of XLA's compiler that make some programs faster, by platform. A version without one refuses it.
COMPILER_OPTIONS: dict[str, tuple[Options, ...]] = {"cpu": ((("xla_cpu_experimental_ynn_fusion_type", ""),),)}

NOTABLE = 0.99  # a uniform program is taken instead if it takes at most so much of the time


@overload
def tune(  # pyright: ignore[reportOverlappingOverload]
    f: Callable[..., Any],
    /,
    *,
    argnums: int | Sequence[int] | None = None,
    max_bytes: int | None = None,
    keep: Choice = None,
    choose_compiler_options: bool = False,
    seconds: float = 30.0,
    quiet: bool = False,
) -> Callable[..., Tuned]: ...


@overload
def tune(
    f: Callable[..., Any],
    /,
    *args: object,
    argnums: int | Sequence[int] | None = None,
    max_bytes: int | None = None,
    keep: Choice = None,
    choose_compiler_options: bool = False,
    seconds: float = 30.0,
    quiet: bool = False,
    **kwargs: object,
) -> Tuned: ...


@direct_or_curried
def tune(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    argnums: int | Sequence[int] | None = None,
    max_bytes: int | None = None,
    keep: Choice = None,
    choose_compiler_options: bool = False,
    seconds: float = 30.0,
    quiet: bool = False,
) -> Tuned:
    """Finds the fastest derivative of f on these arguments and this machine.

    For each hand-written rule that f calls, one of these is chosen: the rule, another form of it, the automatic
    derivative of its definition, or that of the stock function (what a program without jaxdl has in its place). The
    whole gradient is compiled and timed, beside the best one so far and in turn with it: rules that are fast alone may
    be slow in a program, because of what the compiler can fuse. Choices that are equally fast go to fewer bytes. A
    choice is refused if outputs or cotangents differ from those of f by more than half of their digits. Identical
    sites get one choice. Nothing is random; results differ from run to run where choices are equally fast.

    Last, the values that the backward pass keeps are chosen, as by `rematerialized`, for the best choices and for the
    uniform ones; with a budget, the fastest program within it is the result.

    `tune(f, seconds=10)`, without arguments of f, is a function of them: all keywords of that second call go to f.

    Args:
        f: Any JAX function. It is traced once, and its derivative is run many times.
        *args: Its arguments, any pytrees of arrays.
        **kwargs: Its keyword arguments.
        argnums: The positions of the arguments in which it will be differentiated, as in `jax.grad`; by default all,
            the keyword arguments too. Time is spent on these derivatives alone.
        max_bytes: How many bytes of values, besides f's own arguments, the backward pass may keep; by default any.
        keep: The rules that stay, as in `automatic`: a name, names or a predicate on the `Site`.
        choose_compiler_options: Whether options of the compiler are chosen too. They take effect only where the caller
            compiles: use `tuned.jit` in place of `jax.jit`.
        seconds: About how long to measure. What was left out is said in the table's note.
        quiet: Whether no progress bar is shown.

    Returns:
        The tuned function, which is also a report: `tuned.print()`, `tuned.save("tuned.json")`,
        `Tuned.load("tuned.json", f)`. It takes arguments of these types only.

    Raises:
        ValueError: There is no floating-point array among the arguments, or none in the result; or no program keeps so
            few bytes, and the message has the least number.
        TypeError: f has no derivative in reverse mode; an argument has another type than is stated here; or tune is
            called inside of a transformation such as jit.

    Examples:
        >>> from jaxdl import ops
        >>> loss = lambda w, x: ops.tanh(x @ w).sum()
        >>> w, x = jnp.ones((3, 2)), jnp.ones((4, 3))
        >>> tuned = tune(loss, w, x, argnums=0, seconds=1, quiet=True)
        >>> jax.grad(tuned)(w, x).shape
        (3, 2)
    """
    check_max_bytes("tune", max_bytes)
    _check_seconds(seconds)
    end = time.perf_counter() + seconds
    jaxpr, _, arrays = jx.trace_arrays(f, args, kwargs)
    jx.check_concrete("tune", [*arrays, *jaxpr.consts])
    arrays = [jnp.asarray(x) for x in arrays]
    check_differentiable("tune", jaxpr, arrays)
    trials = Trials(arrays, positions_to_differentiate("tune", args, kwargs, argnums), end)
    setting = Setting.here(arrays)
    stays = chosen(keep, None) if keep else lambda site: False
    with ProgressBar(f"tuning {getattr(f, '__name__', type(f).__name__)}", seconds, quiet) as bar:
        report = lambda what: bar(min(time.perf_counter() - end + seconds, seconds), what)
        platform = setting.platform if choose_compiler_options else None
        searches = [Search(jaxpr, trials, o, stays, report) for o in _compiler_options(platform)]
        check_called("tune", "keep", keep, [group.site for group in searches[0].groups])
        try:
            starts = [start for search in searches for start in search.starts()]
        except Exception as error:  # JAX's, or that of a rule
            raise TypeError(f"tune: the function has no derivative in reverse mode ({error_text(error)})") from error
        best = fastest(starts)
        search = next(s for s in searches if s.options == best.options)
        best = search.best(best)
        report("what the backward pass keeps")
        best = _remembering(trials, jaxpr, [best, *starts], max_bytes)
        report("the last comparison")
        best, alternatives = _compared(best, starts, max_bytes)
    left_out = f"{search.left_out} of the possible changes were not tried in {seconds:g} s" if search.left_out else ""
    decisions = tuple(_decision(search, group, best.choices.at(group.key)) for group in search.groups)
    return Tuned(
        f, setting, best.choices, dict(best.options), max_bytes, best.residuals, alternatives, decisions, left_out
    )


def _remembering(trials, jaxpr, candidates, max_bytes):
    """The fastest candidate, with the values that its backward pass keeps chosen too, within the budget."""
    found, errors = [], []
    for candidate in candidates if max_bytes is not None else candidates[:1]:
        if candidate.variant.refused:
            continue
        if max_bytes is None or candidate.variant.stored_bytes <= max_bytes:
            found.append(candidate)
        try:
            program, plan = cut(with_choices(jaxpr, candidate.choices), trials.arrays, max_bytes)
        except (ValueError, TypeError) as error:  # the budget is too small, or no derivative in all arguments
            errors.append(error)
            continue
        variant = trials.variant(program, candidate.options)
        if variant.refused:
            errors.append(ValueError(f"tune: no program within max_bytes={max_bytes} can be used: {variant.refused}"))
        else:
            found.append(replace(candidate, variant=variant, residuals=plan.decisions))
    if not found:
        raise type(errors[0])(str(errors[0]).replace("rematerialized", "tune", 1))
    return fastest(found)


def _compared(best, starts, max_bytes):
    """The best candidate, and what it and the uniform ones cost, by one last measurement."""
    times = in_turn([best, *starts], seconds=1.0)
    ratio = lambda c, base: paired(times, c, base).ratio
    usable = [c for c in (best, *starts) if not c.variant.refused]
    within = [c for c in usable if max_bytes is None or c.variant.stored_bytes <= max_bytes]
    quickest = min(within, key=lambda c: ratio(c, best))
    best = quickest if ratio(quickest, best) < NOTABLE else best
    name = lambda c: c.name + (", other compiler options" if c.options != best.options else "")
    entries = [("tuned", best), *((name(c), c) for c in starts)]
    return best, tuple(
        Alternative(
            name,
            None if c.variant.refused else ratio(c, best),
            c.variant.stored_bytes,
            c.variant.temporary_bytes,
            c.variant.refused,
        )
        for name, c in entries
    )


def _compiler_options(platform):
    """No options, and those of a platform that this version of the compiler has."""
    found: list[Options] = [()]
    for options in COMPILER_OPTIONS.get(platform, ()):
        try:
            jax.jit(lambda x: x + 1).lower(1.0).compile(compiler_options=dict(options))
            found.append(options)
        except jax.errors.JaxRuntimeError:
            continue
    return found


def _check_seconds(seconds):
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"tune: seconds must be a number, got {seconds!r}")
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"tune: seconds must be a finite number, 0 or more, got {seconds}")


def _decision(search, group, choice):
    site = group.site
    measured = search.alternatives(group) if search.end.at(group.key) == choice else {}  # else beside another program
    others = tuple(Other(option, t.ratio, t.bytes, t.refused) for option, t in measured.items() if option != choice)
    return Decision(group.key, site.name, tuple(map(jx.typed, site.inputs)), site.where, site.count, choice, others)
