"""`tune(f, *args)`: the fastest mix of hand-written and automatic derivatives, found by measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, overload

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.currying import direct_or_curried
from jaxdl.measure import Pairs, rounds
from jaxdl.measure.differentiated import check_differentiable
from jaxdl.report import ProgressBar, error_text
from jaxdl.strip import Choice, chosen
from jaxdl.tuner.search import Search, fastest
from jaxdl.tuner.trials import Options, Trials
from jaxdl.tuner.tuned import Alternative, Decision, Other, Setting, Tuned

# Options of XLA's compiler that make some programs faster, by platform. A version without one refuses it.
COMPILER_OPTIONS: dict[str, tuple[Options, ...]] = {"cpu": ((("xla_cpu_experimental_ynn_fusion_type", ""),),)}


@overload
def tune(  # pyright: ignore[reportOverlappingOverload]
    f: Callable[..., Any],
    /,
    *,
    argnums: int | Sequence[int] | None = None,
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

    `tune(f, seconds=10)`, without arguments of f, is a function of them: all keywords of that second call go to f.

    Args:
        f: Any JAX function. It is traced once, and its derivative is run many times.
        *args: Its arguments, any pytrees of arrays.
        **kwargs: Its keyword arguments.
        argnums: The positions of the arguments in which it will be differentiated, as in `jax.grad`; by default all,
            the keyword arguments too. Time is spent on these derivatives alone.
        keep: The rules that stay, as in `automatic`: a name, names or a predicate on the `Site`.
        choose_compiler_options: Whether options of the compiler are chosen too. They take effect only where the caller
            compiles: use `tuned.jit` in place of `jax.jit`.
        seconds: About how long to measure. What was left out is said in the table's note.
        quiet: Whether no progress bar is shown.

    Returns:
        The tuned function, which is also a report: `tuned.print()`, `tuned.save("tuned.json")`,
        `Tuned.load("tuned.json", f)`. It takes arguments of these types only.

    Raises:
        ValueError: There is no floating-point array among the arguments, or none in the result.
        TypeError: f has no derivative in reverse mode.

    Example:
        >>> from jaxdl import ops
        >>> loss = lambda w, x: ops.tanh(x @ w).sum()
        >>> w, x = jnp.ones((3, 2)), jnp.ones((4, 3))
        >>> tuned = tune(loss, w, x, argnums=0, seconds=1, quiet=True)
        >>> jax.grad(tuned)(w, x).shape
        (3, 2)
    """
    end = time.perf_counter() + seconds
    jaxpr, _, arrays = jx.trace_arrays(f, args, kwargs)
    arrays = [jnp.asarray(x) for x in arrays]
    check_differentiable("tune", jaxpr, arrays)
    trials = Trials(arrays, _smooth(args, kwargs, argnums), end)
    setting = Setting.here(arrays)
    name = getattr(f, "__name__", type(f).__name__)
    with ProgressBar(f"tuning {name}", seconds, quiet) as bar:
        start = end - seconds
        report = lambda what: bar(min(time.perf_counter() - start, seconds), what)
        sides = [
            Search(jaxpr, trials, options, chosen(keep, None) if keep else lambda site: False, report)
            for options in _compiler_options(setting.platform if choose_compiler_options else None)
        ]
        try:
            starts = [side.starts() for side in sides]
        except Exception as error:  # JAX's, or that of a rule
            raise TypeError(f"tune: the function has no derivative in reverse mode ({error_text(error)})") from error
        side, _ = fastest([(s, v) for s, found in zip(sides, starts, strict=True) for _, v in found.values()])
        choices, best = side.best(starts[sides.index(side)])
        (choices, side, best), alternatives = _compared(choices, side, best, sides, starts)
    left_out = f"{side.left_out} of the possible changes were not tried in {seconds:g} s" if side.left_out else ""
    decisions = tuple(_decision(side, group, choices.at(group.key)) for group in side.groups)
    return Tuned(f, setting, choices, dict(side.options), alternatives, decisions, left_out)


def _compared(choices, side, best, sides, starts):
    """The best program, and what it and the uniform ones cost, by one last measurement."""
    found = [("tuned", choices, side, best)]
    for other, start in zip(sides, starts, strict=True):
        options = ", other compiler options" if other is not sides[0] else ""
        found += [(name + options, c, other, v) for name, (c, v) in start.items()]
    usable = [entry for entry in found if not entry[3].refused]
    distinct = list({id(entry[3]): entry[3] for entry in usable}.values())
    times = dict(zip(map(id, distinct), rounds(*[v.run for v in distinct], seconds=1.0, least=5), strict=True))
    ratio = lambda v, base: Pairs(times[id(v)], times[id(base)]).ratio
    quickest = min(usable, key=lambda entry: ratio(entry[3], best))
    if ratio(quickest[3], best) < 0.99:
        _, choices, side, best = quickest
        found[0] = ("tuned", choices, side, best)
    alternatives = tuple(
        Alternative(name, None if v.refused else ratio(v, best), v.residual_bytes, v.temporary_bytes, v.refused)
        for name, _, _, v in found
    )
    return (choices, side, best), alternatives


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


def _smooth(args, kwargs, argnums):
    """The positions, among the arrays in the arguments, of those to differentiate in."""
    wanted = range(len(args)) if argnums is None else [argnums] if isinstance(argnums, int) else argnums
    for i in wanted:
        if not -len(args) <= i < len(args):
            raise ValueError(f"tune: argnums has {i}, but there are {len(args)} positional arguments")
    wanted = {i % len(args) for i in wanted}
    leaves = [(x, i in wanted) for i, a in enumerate(args) for x in jax.tree.leaves(a)]
    leaves += [(x, argnums is None) for x in jax.tree.leaves(kwargs)]
    flags = [(x, wanted) for x, wanted in leaves if jx.is_array(x)]
    found = [i for i, (x, wanted) in enumerate(flags) if wanted and jnp.issubdtype(x.dtype, jnp.inexact)]
    if not found:
        raise ValueError(f"tune: no floating-point array among the arguments {argnums}: nothing to differentiate in")
    return found


def _decision(side, group, choice):
    site, found = group.site, side.alternatives(group).items()
    others = tuple(Other(option, t.ratio, t.bytes, t.refused) for option, t in found if option != choice)
    return Decision(group.key, site.name, tuple(map(jx.typed, site.inputs)), site.where, site.count, choice, others)
