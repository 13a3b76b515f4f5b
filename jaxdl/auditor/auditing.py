"""`audit(f, *args)`: every hand-written rule in f, and the derivative of f as a whole, judged by witnesses."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import exact
from jaxdl import jaxpr as jx
from jaxdl.auditor import accepted, array_derivatives, checks, pointwise_derivatives
from jaxdl.auditor.array_points import has_while_loop
from jaxdl.auditor.domains import domains_of
from jaxdl.auditor.findings import Finding, Verdict, error_line, raised_at
from jaxdl.auditor.programs import UserCodeError, compile_ahead, evaluated, in_float64, user_code
from jaxdl.auditor.report import Audited, AuditReport
from jaxdl.auditor.session import is_time_up, limits, section, tell
from jaxdl.auditor.sites import subjects
from jaxdl.auditor.subject import SMALL, Subject, magnitude, values_in_float64, works_on_bits
from jaxdl.auditor.unverifiable import is_sampled
from jaxdl.currying import direct_or_curried
from jaxdl.double_precision import NoDoublePrecision, as_double
from jaxdl.measure.differentiated import Differentiated, check_differentiable
from jaxdl.strip import Site

FORMATS = jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64
MEANINGLESS = 0.1  # of the largest entry: an error of a narrow format beyond which a function's values are noise
CONSTANT = "its inputs do not depend on the arguments"
QUICK = "linear", "alone"  # the further checks of the first derivative, as most users ask for it
COSTLY = 1.2, 1024  # the factor, and the number of bytes or operations, beyond which a rule is costly


@overload
def audit(  # pyright: ignore[reportOverlappingOverload]
    f: Callable[..., Any],
    /,
    *,
    domains: Mapping[Any, Any] | Sequence[Any] | None = None,
    seconds: float | None = None,
    quick: bool = False,
) -> Callable[..., AuditReport]: ...


@overload
def audit(
    f: Callable[..., Any],
    /,
    *args: object,
    domains: Mapping[Any, Any] | Sequence[Any] | None = None,
    seconds: float | None = None,
    quick: bool = False,
    **kwargs: object,
) -> AuditReport: ...


@direct_or_curried
@np.errstate(all="ignore")  # some of the generated numbers are invalid
def audit(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    domains: Mapping[Any, Any] | Sequence[Any] | None = None,
    seconds: float | None = None,
    quick: bool = False,
) -> AuditReport:
    """Audits the derivative of f, and of every hand-written rule that it calls, at these arguments and at edge points.

    f is differentiated in the floating-point and complex arrays and numbers among its arguments; a number whose value f
    needs, as for a condition, is held constant, and the report says so. Rules are jaxdl's ops, `jax.custom_jvp` and
    `jax.custom_vjp`, of any library, inside jit, scan, while, cond, vmap and checkpoint. Each is audited as f uses it:
    on the values with which f calls it, in the inputs that depend on the arguments of f, and in total where one value
    enters at several places. The same rule with the same types and settings is audited once. Small rules without a
    fault are audited in all floating-point formats. A rule that these arguments do not reach is audited where edge
    points reach it, else it is listed as not reached.

    `audit(f, domains=…)`, without arguments of f, is a function of them: all keywords of that second call go to f.

    Args:
        f: Any JAX function.
        *args: Its arguments, any pytrees.
        **kwargs: Its keyword arguments.
        domains: Where the audit may choose numbers, for arguments by position or name, or one for each positional
            argument: a pair (low, high), both included, or a predicate on an array. A rule that takes such an argument
            unchanged has its domain as well.
        seconds: After so many seconds no further check starts. The report says what was left out.
        quick: Only the derivative, first and second, in all inputs and in single ones, and types and linearity of the
            pullback, in the formats given: neither other formats, nor vmap, forward against reverse mode, eager
            evaluation and costs.

    Returns:
        What was found of f as a whole, unless it is a single rule, and of each rule in it; or without arguments of f a
        function of them that returns it.

    Raises:
        ValueError: f has no floating-point array or number among its arguments or its outputs, domains do not fit them,
            seconds is not positive, or f uses a reference from outside.
        TypeError: The direct form is used with a keyword that is also a parameter of f.
        Interrupted: A KeyboardInterrupt with the report so far, its attribute `report`.

    Examples:
        >>> smooth_abs = lambda x, eps: jnp.sqrt(x * x + eps)
        >>> report = audit(smooth_abs, jnp.ones(2), jnp.float32(0.1), domains={"eps": (1e-12, 1.0)})
        >>> report.faults
        ()
    """
    if seconds is not None and not seconds > 0:
        raise ValueError(f"audit: seconds must be positive, got {seconds!r}")
    given = jx.given_arguments("audit", f, args, kwargs)
    jaxpr, _, arrays = jx.trace_arrays(f, given.args, given.kwargs)
    check_differentiable("audit", jaxpr, arrays, given.constant)
    if any(isinstance(x, jax.Ref) for x in (*jaxpr.consts, *arrays)):
        raise ValueError(
            "audit: f uses a reference from outside (`jax.new_ref`), which would change while f is called many times. "
            "Make the reference inside f, or pass its value as an argument"
        )
    stated = domains_of(domains, f, given.args, given.kwargs, given.numbers)
    flat = jx.in_arrays(f, given.args, given.kwargs)
    with limits(seconds):
        try:
            found = subjects(flat, arrays, f, stated)
        except UserCodeError as raised:  # the function's own error
            raise raised.error from None
        audited = {subject: left_out(subject) for subject in found.audited}
        missed = [*itertools.starmap(not_reached, found.not_reached)]
        found_so_far = lambda: (*audited.values(), *missed)
        report = lambda: AuditReport(f, args, kwargs, found_so_far(), constant=given.constant).accepting(
            accepted.OF_JAX
        )
        try:
            formats = () if quick else FORMATS
            sections = _sections(len(audited), 2 + len(QUICK) if quick else 3 + len(checks.CHECKS), len(formats))
            for subject in sorted(found.audited, key=lambda subject: subject.is_whole):  # the rules first
                section(*next(sections))
                if not is_time_up():
                    audited[subject] = audit_subject(subject, quick)
            for dtype in formats:
                section(*next(sections))
                pairs = zip(audited, _in_other_format(dtype, f, flat, arrays, stated, [*audited.values()]), strict=True)
                audited = dict(pairs)
        except KeyboardInterrupt:
            raise Interrupted(report()) from None
    return report()


def _sections(subjects, checks_of_each, formats):
    """Start, count and total of the checks of each subject, then of all subjects in each format."""
    counts = [checks_of_each] * subjects + [subjects] * formats
    return ((sum(counts[:i]), count, sum(counts)) for i, count in enumerate(counts))


class Interrupted(KeyboardInterrupt):
    """A KeyboardInterrupt during an audit.

    Attributes:
        report: The report on what had been audited.
    """

    def __init__(self, report: AuditReport):
        super().__init__("the audit was interrupted; `report` has what was audited")
        self.report: AuditReport = report


def left_out(subject: Subject) -> Audited:
    """A subject that was not audited."""
    return Audited(subject, (), (Finding(Verdict.LEFT_OUT, "reach", "all checks", "", "no time was left", "an audit"),))


def not_reached(site: Site, reason: str) -> Audited:
    """A rule that is not called at these arguments."""
    subject = Subject(site.name, site.kind, site.where, site.count, _never, _never, site.inputs)
    return Audited(subject, (), (Finding(Verdict.NOT_REACHED, "reach", "the rule", "", reason, "a call"),))


def _never(*inputs):
    raise AssertionError("a rule that is not reached is not called")


def audit_subject(subject: Subject, quick: bool = False) -> Audited:
    """All checks of one subject.

    A rule with a fault is audited again by its total derivative in f: where one value enters it at several places, as
    in implicit rules, the rule may give the whole cotangent to one of them; and constant inputs need no cotangent.
    """
    audited = run_checks(subject, quick)
    total = subject.total() if audited.verdict.is_fault else None
    if total is None:
        return audited
    if not total.smooth:
        return Audited(total, (), (Finding(Verdict.NOT_REACHED, "reach", "the rule", "", CONSTANT, "a derivative"),))
    return run_checks(total, quick)


def run_checks(subject: Subject, quick: bool = False) -> Audited:
    """All checks of one subject; only those of structure where it has no pullback.

    Of a large function as a whole only the derivative is checked, as JAX derives the rest from rules that are checked.
    """
    tell(f"{subject.name}: structure")
    findings = {"structure": guarded(checks.structure, "structure", subject)}
    if not any(f.what in (checks.PULLBACK, checks.TANGENT) for f in findings["structure"]):
        tell(f"{subject.name}: derivative")
        found = guarded(derivative, "cotangents", subject)
        for check in ("value", "cotangents", "second order"):
            findings[check] = [f for f in found if f.check == check]
        further = checks.CHECKS if not subject.is_whole or subject.size <= SMALL else {}
        if not subject.is_whole:
            further = further | {"cost": costs}
        for name, check in further.items():
            if (quick and name not in QUICK) or is_time_up():
                subject.tally.left_out.append(name)
            else:
                tell(f"{subject.name}: {name}")
                findings[name] = guarded(check, name, subject)
    subject.tally.formats.append(str(subject.dtype))
    if quick:
        subject.tally.left_out.append("other formats")
    return Audited(subject, tuple(findings), merged(f for found in findings.values() for f in found), subject.tally)


def derivative(subject: Subject, orders: int = 2) -> list[Finding]:
    """Findings on values, cotangents and second order: at edge points for pointwise functions, else at arrays."""
    if works_on_bits(subject.value):
        got = "the function works on the bits of its arguments, so neither values nor JAX give the derivative"
        return [Finding(Verdict.NOT_VERIFIABLE, "cotangents", "the derivative", "", got, "a witness")]
    findings = []
    if pointwise_derivatives.has_pointwise_derivatives(subject):
        try:
            return pointwise_derivatives.pointwise_findings(subject, orders)
        except exact.UnknownPrimitive as error:
            findings = [
                Finding(Verdict.NOT_VERIFIABLE, "cotangents", "edge points", "", error_line(error), "a witness")
            ]
    if orders == 2 and subject.size <= jx.LARGE and subject.has_rules:
        findings += guarded(checks.second_order, "second order", subject)
    return findings + array_derivatives.array_findings(subject)


def guarded(check: Callable[[Subject], list[Finding]], name: str, subject: Subject) -> list[Finding]:
    """The findings of a check, or one that says why it failed: the audited function raises, or the auditor does."""
    try:
        return check(subject)
    except UserCodeError as raised:
        return [Finding(Verdict.NOT_VERIFIABLE, name, "the check", "", error_line(raised.error), "an answer")]
    except (exact.UnknownPrimitive, NoDoublePrecision) as error:
        return [Finding(Verdict.NOT_VERIFIABLE, name, "the check", "", error_line(error), "an answer")]
    except Exception as error:  # the auditor's own error says nothing about the rule
        got = f"{error_line(error)}, at {raised_at(error)}"
        return [Finding(Verdict.FAILED, name, "the check", "", got, "an answer: please report it")]


def costs(subject: Subject) -> list[Finding]:
    """Advice where a rule needs more residual bytes or FLOPs than the automatic derivative, if there is one."""
    if None in subject.steps:
        return []
    sides = [Differentiated(f, subject.inputs) for f in (subject.hand, subject.plain)]
    kept = [side.stored_bytes()[0] for side in sides]
    flops = [_flops(side) for side in sides]
    return [
        Finding(Verdict.COSTLY, "cost", what, "", f"{hand:,.0f}", f"{plain:,.0f}, as automatic")
        for what, (hand, plain) in (("residual bytes", kept), ("FLOPs", flops))
        if hand > COSTLY[0] * plain + COSTLY[1]
    ]


def _flops(side):
    lowered = jax.jit(side.step).lower(side.arrays, side.cotangent())
    return (lowered.cost_analysis() or {}).get("flops", 0.0)


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The first finding of each verdict, check and array, with the number of all; the worst verdict first."""
    found = {}
    for f in findings:
        key = f.verdict, f.check, f.what
        found[key] = dataclasses.replace(found[key], times=found[key].times + f.times) if key in found else f
    return tuple(sorted(found.values(), key=lambda f: f.verdict.rank))


def _in_other_format(dtype, f, flat, arrays, domains, audited) -> list[Audited]:
    """The audited subjects, small ones with findings where all floating-point arrays have another dtype."""
    small = [a for a in audited if a.checks and _has_formats(a)]
    floating = [x for x in arrays if jnp.issubdtype(x.dtype, jnp.floating)]
    given = {jnp.dtype(x.dtype) for x in floating}
    are_numbers = all(map(jx.is_weak, floating)) and dtype in (jnp.float16, jnp.bfloat16)  # which have one format
    is_complex = any(jnp.issubdtype(x.dtype, jnp.complexfloating) for x in arrays)
    if not small or is_complex or are_numbers or sum(map(np.size, arrays)) > jx.LARGE or given == {jnp.dtype(dtype)}:
        return audited
    if is_time_up():
        return [a.without_format(str(jnp.dtype(dtype))) if a in small else a for a in audited]
    with jax.enable_x64(dtype == jnp.float64):
        cast = [_cast(x, dtype) for x in arrays]
        try:
            others = subjects(user_code(flat), cast, f, domains).audited
        except UserCodeError:  # f accepts only the types given
            return audited
        key = lambda s: (s.name, s.kind, tuple(x.shape for x in s.inputs))
        named = {True: {key(s): s for s in reversed(others)}}
        if any(not a.subject.edges for a in small):  # audited by its total derivative
            named[False] = {key(s): s for s in [other.total() for other in reversed(others)] if s}
        out = []
        for a in audited:
            other = named.get(a.subject.edges, {}).get(key(a.subject))
            if a not in small or not other:
                out.append(a)
            elif is_time_up():
                out.append(a.without_format(str(jnp.dtype(dtype))))
            else:
                tell(f"{a.name}: {jnp.dtype(dtype)}")
                found = guarded(in_format, "cotangents", other)
                if other.is_mixed and not a.subject.is_mixed and any(f.check == "structure" for f in found):
                    # Arrays that f closes over keep their type, and only the audit has mixed it with another.
                    out.append(a.without_format(str(jnp.dtype(dtype))))
                else:
                    out.append(a.with_format(str(jnp.dtype(dtype)), found, other.tally))
        return out


def _cast(x, dtype):
    """An array in another floating-point type; a Python number as JAX takes it beside arrays of that type."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return x
    return jnp.asarray(x.item()) if jx.is_weak(x) and not x.shape else np.asarray(x).astype(dtype)


def _has_formats(audited):
    """Whether it is audited in other formats."""
    return audited.subject.size <= SMALL and not audited.verdict.is_fault and not is_sampled(audited.subject)


def in_format(subject: Subject) -> list[Finding]:
    """Findings on structure and first derivative, unless the function's own values are noise in this format.

    A format that JAX or LAPACK lacks for an operation of the rule is left out.
    """
    try:
        return checks.structure(subject) or _derivative_in_format(subject)
    except UserCodeError as raised:
        if not jx.lacks_format(raised.error):
            raise
        subject.tally.leave_out(str(subject.dtype))
        return []


def _derivative_in_format(subject):
    compile_ahead(subject.steps[1])
    try:
        values, truth = _values_here(subject)
    except UserCodeError:  # the function does not run in this format
        subject.tally.left_out.append(str(subject.dtype))
        return []
    apart = [(np.abs(as_double(a) - b), magnitude(b)) for a, b in zip(values, truth or values, strict=True)]
    if any(off.max(initial=0) > MEANINGLESS * size for off, size in apart):
        return []
    found = derivative(subject, orders=1)
    return [f for f in found if f.verdict == Verdict.WRONG] if has_while_loop(subject) else found


def _values_here(subject):
    """The outputs in the subject's format and, or else None, in float64."""
    plain, given = subject.steps[1], (*subject.inputs, *subject.seeds())
    if plain is None:
        return evaluated(subject.value, *subject.inputs), in_float64(subject.value, *subject.inputs)
    values, truth = evaluated(plain, *given), values_in_float64(subject, *subject.inputs)
    return values[: len(subject.outputs)], truth
