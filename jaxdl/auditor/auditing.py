"""`audit(f, *args)`: every hand-written rule in f, and the derivative of f as a whole, judged by witnesses."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import exact
from jaxdl import jaxpr as jx
from jaxdl.auditor import accepted, along_arrays, along_points, checks
from jaxdl.auditor.domains import domains_of
from jaxdl.auditor.findings import Finding, Verdict, raised_at, said
from jaxdl.auditor.report import Audited, AuditReport
from jaxdl.auditor.sites import subjects
from jaxdl.auditor.subject import LARGE, Raised, Subject, evaluated, in_float64, theirs, top, works_on_bits
from jaxdl.auditor.untold import is_drawn
from jaxdl.currying import direct_or_curried
from jaxdl.double_precision import NoDoublePrecision, as_double
from jaxdl.measure.differentiated import Differentiated, check_differentiable

FORMATS = jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64
SMALL = 4096  # numbers in a subject that is looked at in all floating-point formats
MEANINGLESS = 0.1  # of the largest entry: so far off in a narrow format a function's values are noise
STILL = "what it is given does not move with the arguments"
MORE = 1.2, 1024  # a rule is costly beyond this factor and this many bytes or operations more than automatic


@overload
def audit(  # pyright: ignore[reportOverlappingOverload]
    f: Callable, /, *, domains: Mapping | Sequence | None = None
) -> Callable[..., AuditReport]: ...


@overload
def audit(
    f: Callable, /, *args: object, domains: Mapping | Sequence | None = None, **kwargs: object
) -> AuditReport: ...


@direct_or_curried
@np.errstate(all="ignore")  # some of the generated numbers are invalid
def audit(
    f: Callable, args: tuple, kwargs: dict[str, Any], *, domains: Mapping | Sequence | None = None
) -> AuditReport:
    """Audits the derivative of f, and of every hand-written rule that it calls, at these arguments and at edge points.

    f is differentiated in the floating-point and complex arrays among its arguments. Rules are jaxdl's ops,
    `jax.custom_jvp` and `jax.custom_vjp`, of any library, inside jit, scan, while, cond, vmap and checkpoint. Each is
    audited as f asks it: with the values that it sees there, in the inputs that move with the arguments of f, in the
    total where one value enters at several places; the same rule at the same types and settings once. Small ones
    without a fault so far are looked at in all floating-point formats. A rule that these arguments do not reach is
    audited where edge points reach it, else it is listed as not reached.

    `audit(f, domains=…)`, without arguments of f, is a function of them: all keywords of that second call go to f.

    Args:
        f: Any JAX function.
        args: Its arguments, any pytrees.
        kwargs: Its keyword arguments.
        domains: Where the audit may choose numbers, for arguments by position or name, or one for each positional
            argument: a pair (low, high), both included, or a predicate on an array. A rule that takes such an argument
            unchanged has its domain as well.

    Returns:
        What was found of f as a whole, unless it is a single rule, and of each rule in it; or without arguments of f a
        function of them that returns it.

    Raises:
        ValueError: f has no floating-point array among its arguments or its outputs, or domains do not fit them.
        TypeError: f has a parameter of its own named domains, and the direct form is used.

    Example:
        >>> jaxdl.audit(lambda x, eps: jnp.sqrt(x * x + eps), x, eps, domains={"eps": (1e-12, 1.0)}).print()
    """
    jaxpr, _, arrays = jx.trace_arrays(f, args, kwargs)
    check_differentiable("audit", jaxpr, arrays)
    stated = domains_of(domains, f, args, kwargs)
    flat = jx.in_arrays(f, args, kwargs)
    try:
        found = subjects(flat, arrays, f, stated)
    except Raised as raised:  # from inside the function: it is told as it is
        raise raised.error from None
    audited = [of_subject(subject) for subject in found.audited]
    for dtype in FORMATS:
        audited = _also_in(dtype, f, flat, arrays, stated, audited)
    missed = itertools.starmap(unreached, found.unreached)
    return AuditReport(f, args, kwargs, (*audited, *missed)).accepting(accepted.OF_JAX)


def unreached(site, reason) -> Audited:
    """A rule that is not called at these arguments."""
    subject = Subject(site.name, site.kind, site.where, site.count, None, None, site.inputs)
    return Audited(subject, (), (Finding(Verdict.NOT_REACHED, "reach", "the rule", "", reason, "a call"),))


def of_subject(subject: Subject) -> Audited:
    """All checks of one subject. One that is accused is judged by what is meant in f: where one value enters a rule at
    several places, as in implicit rules, that of one place may be told by another; and what does not move is not."""
    audited = checked(subject)
    meant = subject.total() if audited.verdict.is_fault else None
    if meant is None:
        return audited
    if not meant.smooth:
        return Audited(meant, (), (Finding(Verdict.NOT_REACHED, "reach", "the rule", "", STILL, "a derivative"),))
    return checked(meant)


def checked(subject: Subject) -> Audited:
    """All checks of one subject; after a failure of structure none of the others means anything.

    A large function is made by JAX of rules that are checked one by one: only its derivative is looked at.
    """
    findings = {"structure": guarded(checks.structure, "structure", subject)}
    if not any(f.what in (checks.PULLBACK, checks.TANGENT) for f in findings["structure"]):
        found = guarded(derivative, "cotangents", subject)
        for check in ("value", "cotangents", "second order"):
            findings[check] = [f for f in found if f.check == check]
        for name, check in (checks.CHECKS if not subject.is_whole or subject.size <= SMALL else {}).items():
            findings[name] = guarded(check, name, subject)
        if not subject.is_whole:
            findings["cost"] = guarded(costs, "cost", subject)
    return Audited(subject, tuple(findings), merged(f for found in findings.values() for f in found))


def derivative(subject: Subject, orders=2) -> list[Finding]:
    """Values, cotangents and second order: at edge points where entries are treated alone, else at whole arrays."""
    if works_on_bits(subject.value):
        told = "the function works on the bits of its arguments: neither its values nor JAX know the derivative meant"
        return [Finding(Verdict.NOT_VERIFIABLE, "cotangents", "the derivative", "", told, "a witness")]
    told = []
    if along_points.treats_entries_alone(subject):
        try:
            return along_points.at_edge_points(subject, orders)
        except exact.UnknownPrimitive as error:
            told = [Finding(Verdict.NOT_VERIFIABLE, "cotangents", "edge points", "", said(error), "a witness")]
    if orders == 2 and subject.size <= LARGE:
        told += guarded(checks.second_order, "second order", subject)
    return told + along_arrays.at_points(subject)


def guarded(check, name, subject) -> list[Finding]:
    """What a check finds; where it cannot be made, that: what is audited raises, or the auditor itself fails."""
    try:
        return check(subject)
    except Raised as raised:
        return [Finding(Verdict.NOT_VERIFIABLE, name, "the check", "", said(raised.error), "an answer")]
    except (exact.UnknownPrimitive, NoDoublePrecision) as error:
        return [Finding(Verdict.NOT_VERIFIABLE, name, "the check", "", said(error), "an answer")]
    except Exception as error:  # no verdict on the rule, and none to be taken for one
        told = f"{said(error)}, at {raised_at(error)}"
        return [Finding(Verdict.FAILED, name, "the check", "", told, "an answer: please report it")]


def costs(subject: Subject) -> list[Finding]:
    """Residual bytes and FLOPs beside those of the automatic derivative, where there is one, as advice."""
    if None in subject.steps:
        return []
    sides = [Differentiated(f, subject.inputs) for f in (subject.hand, subject.plain)]
    kept = [side.residual_bytes()[0] for side in sides]
    flops = [_flops(side) for side in sides]
    return [
        Finding(Verdict.COSTLY, "cost", what, "", f"{hand:,.0f}", f"{plain:,.0f}, as automatic")
        for what, (hand, plain) in (("residual bytes", kept), ("FLOPs", flops))
        if hand > MORE[0] * plain + MORE[1]
    ]


def _flops(side):
    lowered = jax.jit(side.step).lower(side.arrays, side.cotangent())
    return (lowered.cost_analysis() or {}).get("flops", 0.0)


def merged(findings) -> tuple[Finding, ...]:
    """One of each verdict and check and array, the first, with the number of all; the worst verdict first."""
    found = {}
    for f in findings:
        key = f.verdict, f.check, f.what
        found[key] = dataclasses.replace(found[key], times=found[key].times + f.times) if key in found else f
    return tuple(sorted(found.values(), key=lambda f: f.verdict.rank))


def _also_in(dtype, f, flat, arrays, domains, audited) -> list[Audited]:
    """The same with what is found where all floating-point arrays are of another type, small rules only."""
    small = [a for a in audited if a.subject.size <= SMALL and not a.verdict.is_fault and not is_drawn(a.subject)]
    given = {jnp.dtype(x.dtype) for x in arrays if jnp.issubdtype(x.dtype, jnp.floating)}
    is_complex = any(jnp.issubdtype(x.dtype, jnp.complexfloating) for x in arrays)
    if not small or is_complex or sum(map(np.size, arrays)) > LARGE or given == {jnp.dtype(dtype)}:
        return audited
    with jax.enable_x64(dtype == jnp.float64):
        cast = [np.asarray(x).astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x for x in arrays]
        try:
            others = subjects(theirs(flat), cast, f, domains).audited
        except Raised:  # f insists on the types that it was given
            return audited
        likeness = lambda s: (s.name, s.kind, tuple(x.shape for x in s.inputs))
        named = {True: {likeness(s): s for s in reversed(others)}}
        if any(not a.subject.edges for a in small):  # judged by what is meant
            named[False] = {likeness(s): s for s in [other.total() for other in reversed(others)] if s}
        out = []
        for a in audited:
            other = named.get(a.subject.edges, {}).get(likeness(a.subject))
            found = guarded(in_format, "cotangents", other) if a in small and other else []
            out.append(a.with_format(str(jnp.dtype(dtype)), found))
        return out


def in_format(subject: Subject) -> list[Finding]:
    """Structure and first derivative, where the function itself means something in the format of its arguments."""
    if found := checks.structure(subject):
        return found
    values, truth = evaluated(subject.value, *subject.inputs), in_float64(subject.value, *subject.inputs)
    apart = [(np.abs(as_double(a) - b), top(b)) for a, b in zip(values, truth or values, strict=True)]
    if any(off.max(initial=0) > MEANINGLESS * size for off, size in apart):
        return []
    found = derivative(subject, orders=1)
    return [f for f in found if f.verdict == Verdict.WRONG] if along_arrays.searches(subject) else found
