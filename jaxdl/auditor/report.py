"""The report of an audit: verdicts and findings."""

import ast
import dataclasses
import math
import operator
import site
import sys
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.auditor.accepted import Accepted
from jaxdl.auditor.findings import Finding, Verdict
from jaxdl.auditor.subject import Subject
from jaxdl.auditor.tally import Tally
from jaxdl.report import Report, Table, capitalized, plain, plural_text

SHOWN = 6  # inputs of a rule that are written out
WRITTEN = 160  # characters of an argument that is written out in a script
MEANT = "If it is meant so: assert_rules(…, accepted=FILE), jaxdl audit --accepted FILE."


@dataclass(frozen=True, eq=False)
class Audited:
    """The audit of one function or rule.

    Attributes:
        subject: The function or rule.
        checks: The names of the checks that were made.
        findings: What they found, the worst first.
        tally: What was compared, and what was left out.
    """

    subject: Subject
    checks: tuple[str, ...]
    findings: tuple[Finding, ...]
    tally: Tally = field(default_factory=Tally)

    @property
    def name(self) -> str:
        """The name of the function or rule."""
        return self.subject.name

    @property
    def verdict(self) -> Verdict:
        """The worst verdict."""
        return worst(self.findings)

    @property
    def evidence(self) -> str:
        """What the verdict rests on, in words."""
        return self.tally.text(with_error=not self.verdict.is_fault)

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """The worst verdict of each check."""
        return {check: worst(f for f in self.findings if f.check == check) for check in self.checks}

    def with_format(self, name: str, findings: Iterable[Finding], tally: Tally | None = None) -> "Audited":
        """The audit with findings in another floating-point format, without those that it has already."""
        known = {(f.verdict, f.check) for f in self.findings}
        new = [
            dataclasses.replace(f, check=f"{f.check} in {name}") for f in findings if (f.verdict, f.check) not in known
        ]
        together = sorted((*self.findings, *new), key=lambda f: f.verdict.rank)
        tally = tally or Tally()
        other = dataclasses.replace(tally, formats=[name] if tally.points else [])
        checks = (*self.checks, *dict.fromkeys(f.check for f in new))
        return Audited(self.subject, checks, tuple(together), self.tally.merged(other))

    def without_format(self, name: str) -> "Audited":
        """The audit, in which a floating-point format was left out."""
        return dataclasses.replace(self, tally=self.tally.merged(Tally(left_out=[name])))

    def to_json(self, script_of: Callable[[Finding], str] = lambda finding: "") -> dict[str, Any]:
        """The audit as plain data.

        Args:
            script_of: Python code that reproduces a finding.
        """
        return {
            "name": self.subject.name,
            "kind": self.subject.kind,
            "where": self.subject.where,
            "count": self.subject.count,
            "inputs": [jx.typed(x) for x in self.subject.inputs],
            "verdict": str(self.verdict),
            "evidence": self.tally.to_json(),
            "checks": {check: str(verdict) for check, verdict in self.verdicts.items()},
            "findings": [f.to_json() | {"script": script_of(f)} for f in self.findings],
        }


@dataclass(frozen=True, eq=False)
class AuditReport(Report):
    """What `audit` found.

    Attributes:
        f: The function.
        args: Its arguments.
        kwargs: Its keyword arguments.
        audited: The audits of f as a whole, unless it is a single rule, and of each rule that it calls.
        accepted: Findings that were accepted, each with the reason.
        constant: A sentence for each floating-point number among the arguments that was held constant.
    """

    f: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    audited: tuple[Audited, ...]
    accepted: tuple[tuple[Finding, str], ...] = ()
    constant: tuple[str, ...] = ()

    def __repr__(self) -> str:
        derivatives, faults = plural_text(len(self.audited), "derivative"), plural_text(len(self.faults), "fault")
        return f"<audit of {self.name}: {self.verdict}; {derivatives}, {faults}>"

    @property
    def verdict(self) -> Verdict:
        """The worst verdict."""
        return worst(self.findings)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, the worst first."""
        return tuple(sorted((f for a in self.audited for f in a.findings), key=lambda f: f.verdict.rank))

    @property
    def faults(self) -> tuple[Finding, ...]:
        """The findings that a derivative is not right, or that the auditor failed."""
        return tuple(f for f in self.findings if f.verdict.is_fault)

    def accepting(self, known: Iterable[Accepted]) -> "AuditReport":
        """The report in which known findings are moved to `accepted`.

        Args:
            known: The findings to accept, as `load_accepted` returns them.
        """
        accepted, audited = list(self.accepted), []
        for a in self.audited:
            reasons = {f: next((k.reason for k in known if k.covers(a.name, f)), None) for f in a.findings}
            accepted += [(f, reason) for f, reason in reasons.items() if reason]
            audited.append(dataclasses.replace(a, findings=tuple(f for f in a.findings if not reasons[f])))
        return dataclasses.replace(self, audited=tuple(audited), accepted=tuple(accepted))

    def to_json(self) -> dict[str, Any]:
        """The report as plain data: numbers, strings, lists and dictionaries."""
        return plain(
            {
                "function": self.name,
                "script": self.script,
                "constant": list(self.constant),
                "audited": [a.to_json(self.script_of) for a in self.audited],
                "accepted": [f.to_json() | {"reason": reason} for f, reason in self.accepted],
            }
        )

    @property
    def name(self) -> str:
        """The name of the function."""
        return name_of(self.f)

    @property
    def argument_types(self) -> list[str]:
        """The types of the positional arguments that are arrays; other arguments as Python."""
        return [jx.typed(x) if jx.is_array(x) else repr(x) for x in self.args]

    @property
    def script(self) -> str:
        """A line of Python that runs this audit again.

        What cannot be imported or is large has the name f, args[…] or kwargs[…]; a comment says what to set these to.
        """
        given = {f"args[{i}]": x for i, x in enumerate(self.args)}
        named = {f"kwargs[{k!r}]": x for k, x in self.kwargs.items()}
        written = {name: _written(x) for name, x in (given | named).items()}
        arguments = [written[name] or name for name in given]
        arguments += [f"{k}={written[name] or name}" for k, name in zip(self.kwargs, named, strict=True)]
        imported, f = _importable(self.f)
        is_curried = {"domains", "seconds", "quick"} & self.kwargs.keys()
        call = f"audit({f})({', '.join(arguments)})" if is_curried else f"audit({', '.join([f, *arguments])})"
        constants = "from numpy import inf, nan; " if {"inf", "nan"} & _names(call) else ""
        to_set = [] if imported else [f"f, {_described(self.f)}"]
        to_set += [f"{name}, {_described(x)}" for name, x in (given | named).items() if not written[name]]
        comment = f"  # set {'; '.join(to_set)}" if to_set else ""
        return f"import jaxdl, numpy; {constants}{imported}jaxdl.{call}.print(){comment}"

    def script_of(self, finding: Finding) -> str:
        """A line of Python that shows a finding: the derivative where f takes one number, else the audit."""
        grads = {"cotangents": "jax.grad({})", "second order": "jax.grad(jax.grad({}))"}
        alone = len(self.audited) == len(self.args) == len(finding.inputs) == 1 and not self.kwargs
        imported, f = _importable(self.f)
        if not (imported and alone and finding.check in grads and np.shape(finding.inputs[0]) == ()):
            return self.script
        x = finding.inputs[0]
        point = f"jax.numpy.asarray(float('{float(x)!r}'), '{x.dtype}')"
        return f"import jax; {imported}print({grads[finding.check].format(f)}({point}))  # {finding.expected}"

    def table(self) -> Table:
        """One row for f as a whole and one for each rule."""
        rows = [
            (
                a.name,
                str(a.verdict),
                a.evidence,
                a.subject.kind,
                a.subject.where,
                _inputs(a.subject.inputs),
                str(a.subject.count),
            )
            for a in self.audited
        ]
        columns = "rule", "verdict", "evidence", "kind", "where", "inputs", "calls"
        constant = "".join(f" {capitalized(text)}." for text in self.constant)
        counts = f"Derivatives audited: {len(self.audited)}; faults: {len(self.faults)}."
        note = f"{counts} {legend(self.audited)}{constant}"
        return Table(f"Audit of {self.name}: {self.verdict}", columns, rows, note, words=len(columns))

    def found(self) -> Table:
        """One row for each finding."""
        rows = [(a.name, str(f.verdict), f.description) for a in self.audited for f in a.findings]
        columns = "rule", "verdict", "finding"
        advice = f"{MEANT}\n" if {Verdict.WRONG, Verdict.NOT_LINEAR} & {f.verdict for f in self.findings} else ""
        title, note = "Findings, the worst of each rule first", f"{advice}To run this audit again, in Python:"
        return Table(title, columns, rows, note, words=len(columns), code=self.script)

    def tables(self) -> tuple[Table, ...]:
        """The table of derivatives, and those of findings and of accepted findings if there are any."""
        rows = [(reason, str(f)) for f, reason in self.accepted]
        accepted = Table("Accepted findings", ("accepted because", "finding"), rows, words=2)
        return (self.table(), *([self.found()] if self.findings else []), *([accepted] if rows else []))


def name_of(f: Callable[..., Any]) -> str:
    """The user's name for a function."""
    name = getattr(f, "__name__", type(f).__name__)
    return getattr(jx.users_function(f), "__name__", name) if name == "wrapped_fun" else name


def legend(audited: Iterable[Audited]) -> str:
    """The meaning of each verdict that occurs, the worst first.

    Args:
        audited: The audits with the verdicts.

    Returns:
        A sentence for each verdict.

    Examples:
        >>> print(legend(jaxdl.audit(jnp.exp, jnp.ones(2), quick=True).audited))
        right: it agrees with the witnesses at all points, and no check that was made found anything.
    """
    verdicts = sorted({a.verdict for a in audited}, key=lambda v: v.rank)
    return " ".join(f"{v}: {v.meaning}." for v in verdicts)


def worst(findings: Iterable[Finding]) -> Verdict:
    """The worst verdict; RIGHT without findings."""
    return min((f.verdict for f in findings), key=lambda v: v.rank, default=Verdict.RIGHT)


def _importable(f):
    """An import statement for a function and its name, or "f" where it cannot be imported."""
    module, name = getattr(f, "__module__", None), getattr(f, "__qualname__", "")
    try:
        found = operator.attrgetter(name)(sys.modules[str(module)])
    except (AttributeError, KeyError):  # a local function, or no function at all
        found = None
    if found is not f or module == "__main__":
        return "", "f"
    return f"{_path_to(module)}from {module} import {name.split('.')[0]}; ", name


def _path_to(module):
    """A statement that lets Python find a module, unless it is installed."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        return ""
    up = module.count(".") + (Path(file).name == "__init__.py")
    folder = str(Path(file).resolve().parents[up])
    installed = {*sysconfig.get_paths().values(), *site.getsitepackages(), site.getusersitepackages()}
    return "" if folder in installed else f"import sys; sys.path.insert(0, {folder!r}); "


def _inputs(inputs):
    more = f" and {len(inputs) - SHOWN} more" if len(inputs) > SHOWN else ""
    return ", ".join(map(jx.typed, inputs[:SHOWN])) + more


def _written(value):
    """A small value as Python; empty for others, and where Python cannot read what would be written."""
    if sum(math.prod(np.shape(leaf)) for leaf in jax.tree.leaves(value)) > WRITTEN:
        return ""  # too long in any case
    text = repr(jax.tree.map(lambda x: _Array(x) if jx.is_array(x) and not jx.is_key(x) else x, value))
    return text if len(text) <= WRITTEN and _names(text) <= {"numpy", "inf", "nan"} else ""


class _Array:
    """An array that is written as a call of NumPy."""

    def __init__(self, x: Any):
        self.x: Any = x

    def __repr__(self):
        return f"numpy.array({np.asarray(self.x).tolist()!r}, '{self.x.dtype}')"


def _names(code):
    """The names in a Python expression; a name that nothing has where it is none."""
    try:
        return {node.id for node in ast.walk(ast.parse(code, mode="eval")) if isinstance(node, ast.Name)}
    except SyntaxError:
        return {""}


def _described(value):
    """A value in a few words, in one line."""
    if callable(value):
        return f"the function {name_of(value)}"
    if jx.is_array(value):
        return jx.typed(value)
    kind, leaves = type(value).__name__, jax.tree.leaves(value)
    if len(leaves) == 1 and leaves[0] is value:
        return f"a {kind}"
    types = [jx.typed(x) if jx.is_array(x) else type(x).__name__ for x in leaves]
    more = [f"{len(types) - SHOWN} more"] if len(types) > SHOWN else []
    return f"a {kind} of {', '.join([*types[:SHOWN], *more])}"
