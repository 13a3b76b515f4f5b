"""Runs every tool on a program: each is right, or refuses by name, or there is a fault."""

import contextlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from tests.programs import tools
from tests.programs.program import Program
from tests.programs.tools import Subject

ROUNDINGS = 64
EPS = {"finite": 2.0**-23}  # finite differences are less accurate than float64
NOISE = 8  # allowed multiple of the distance of JAX's derivatives from each other and from the float64 run
USELESS = 0.02  # of the largest entry: a program with more noise is not judged
LARGEST = 1e4
REFUSALS = TypeError, ValueError, NotImplementedError


class Meaningless(Exception):
    """JAX cannot differentiate the program, or its result is noise."""


@dataclass
class Fault(AssertionError):
    """A tool that is wrong, crashed, or gave a false alarm."""

    tool: str
    kind: str
    message: str

    def __str__(self):
        return f"{self.tool} {self.kind}: {self.message}"

    @property
    def key(self):
        """Equal for faults whose messages differ only in numbers and quoted names."""
        return (
            self.tool,
            self.kind,
            re.sub(r"[\d.]+|\[.*?\]|0x\w+|'.*?'( and '.*?')*", "#", self.message.split("\n")[0])[:90],
        )


@contextlib.contextmanager
def formats(program):
    with jax.enable_x64(program.is_double), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


# --- the reference -----------------------------------------------------------------------------------


@dataclass
class Reference:
    """JAX's results for a program by quantity, in the program's dtypes and, where a tool differs, in float64."""

    program: Program
    rules: bool = True
    errors: dict = field(default_factory=dict)

    @cached_property
    def own(self) -> dict:
        with formats(self.program):
            s = subject(self.program, rules=self.rules)
            found = traced(s, _references(s), self.errors)
        if "value" not in found or not {"vjp", "jvp"} & found.keys():
            raise Meaningless(str([*self.errors.values()][:1]))
        found = {name: jax.tree.leaves(y) for name, y in found.items()}
        if "jacobian" in found:
            found["matrix"] = [_matrix(found["jacobian"], s)]
        if any(not _moderate(found[name]) for name in found):
            raise Meaningless("numbers are too large or not finite")
        return found

    @cached_property
    def wide(self) -> dict:
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            s = subject(self.program, wide=True, rules=self.rules)
            found = {name: jax.tree.leaves(y) for name, y in traced(s, _references(s), {}).items()}
        if "jacobian" in found:
            found["matrix"] = [_matrix(found["jacobian"], s)]
        return found

    @cached_property
    def by_columns(self) -> list:
        """The Jacobian by forward mode, whose rounding differs; empty where JAX has only reverse mode."""
        with formats(self.program):
            s = subject(self.program, rules=self.rules)
            found = traced(s, {"jacobian": lambda s: jax.jacfwd(s.f, s.argnums)(*s.args)}, {})
        return jax.tree.leaves(found.get("jacobian"))

    def noise(self, what) -> float:
        """The distance of JAX's results from those in float64; raises `Meaningless` above a few per cent."""
        if what not in self.wide:
            raise Meaningless(f"{what} has no result in float64")
        noise = max([0.0, *map(_apart, self.own[what], self.wide[what])])
        if "jacobian" in self.own and what in ("jacobian", "matrix") and self.by_columns:
            noise = max([noise, *map(_apart, self.by_columns, self.wide["jacobian"])])
        if not noise < USELESS * _scale(self.wide[what]):
            raise Meaningless(f"{what} is noise")
        return noise


def _moderate(arrays):
    numbers = [x for x in arrays if np.asarray(x).dtype != jax.dtypes.float0]
    return all(np.abs(np.asarray(x, complex)).max(initial=0) < LARGEST for x in numbers)  # false where NaN


def _scale(arrays):
    return max([1.0, *[float(np.abs(np.asarray(x, complex)).max(initial=0)) for x in arrays]])


def subject(program, wide=False, rules=True) -> Subject:
    own = program.own if (not wide and rules) else program.executed(wide, rules)
    return Subject(own.f, own.args, own.argnums, own.tools)


def traced(s: Subject, functions: dict, errors: dict):
    """Results of several functions of a subject, compiled together; exceptions of functions go into `errors`."""
    try:
        return _compiled(s, functions, errors)
    except Exception as error:  # raised by the compiler: compile one by one to find the function
        if len(functions) == 1:
            errors[next(iter(functions))] = error
            return {}
        return {k: v for name, of in functions.items() for k, v in traced(s, {name: of}, errors).items()}


def _compiled(s, functions, errors):
    leaves, tree = jax.tree.flatten(s.args)
    places = [i for i, x in enumerate(leaves) if hasattr(x, "shape")]

    @jax.jit
    def run(arrays):
        full = list(leaves)
        for i, x in zip(places, arrays, strict=True):
            full[i] = x
        here, found = replace(s, args=tree.unflatten(full)), {}
        for name, of in functions.items():
            try:
                found[name] = of(here)
            except Exception as error:  # judged later
                errors[name] = error
        return found

    return jax.tree.map(np.asarray, run([leaves[i] for i in places]))


def _references(s):
    try:
        return tools.references(s)
    except Exception as error:
        raise Meaningless(str(error)) from error


def _apart(a, b):
    kind = np.complex128 if np.iscomplexobj(a) or np.iscomplexobj(b) else np.float64
    with np.errstate(all="ignore"):
        off = np.abs(np.asarray(a).astype(kind) - np.asarray(b).astype(kind))
    return float(np.nan_to_num(off, nan=np.inf).max(initial=0))


def _matrix(blocks, s):
    """The blocks of the Jacobian as one matrix."""
    sizes = lambda tree: [math.prod(x.shape) for x in jax.tree.leaves(tree)]
    if not jax.tree.leaves(s.outputs):
        raise Meaningless("there is no output")
    remaining = iter(blocks)
    rows = [[np.asarray(next(remaining)).reshape(m, n) for n in sizes(s.chosen)] for m in sizes(s.outputs)]
    return np.concatenate([np.concatenate(row, 1) for row in rows], 0)


# --- judging -----------------------------------------------------------------------------------------


def compare(tool: str, results: dict, reference: Reference) -> None:
    """Raises Fault where a result differs from JAX's. In a name like "vjp, again" the quantity is before the comma."""
    for what, got in results.items():
        if (quantity := what.split(",")[0]) in reference.own:
            _compare_arrays(tool, what, jax.tree.leaves(got), reference, quantity)


def _compare_arrays(tool, what, got, reference, quantity):
    own = reference.own[quantity]
    if len(got) != len(own):
        raise Fault(tool, "wrong", f"{what}: {len(got)} arrays, expected {len(own)}")
    for i, (a, b) in enumerate(zip(map(np.asarray, got), own, strict=True)):
        if a.shape != b.shape:
            raise Fault(tool, "wrong", f"{what}: shape {a.shape}, expected {b.shape}")
        has_fixed_dtype = quantity not in ("matrix", "jacobian")  # a block may have that of the input or the output
        if a.dtype != b.dtype and has_fixed_dtype:
            raise Fault(tool, "wrong", f"{what}: {a.dtype}, expected {b.dtype}")
        if not jnp.issubdtype(b.dtype, jnp.inexact):
            continue
        eps = max(reference.program.eps, float(jnp.finfo(b.dtype).eps), EPS.get(tool, 0))
        rounding = ROUNDINGS * eps * _scale(own)
        if _apart(a, b) <= rounding:
            continue
        wide = reference.wide.get(quantity, own)[i]
        if not _apart(a, wide) <= rounding + NOISE * reference.noise(quantity):
            raise Fault(tool, "wrong", f"{what}: differs by {_apart(a, wide):.3g}\ngot\n{a}\nwant\n{wide}")


def refused(tool, error) -> bool:
    """Whether an error says by name what is not supported."""
    named = re.search(rf"jacobian\.\w+:|{tool}|jaxdl|automatic|cannot be (differentiated|evaluated)", str(error))
    return isinstance(error, REFUSALS) and bool(named) and len(str(error)) > 20


def judged(program: Program, only=None, all_tools: bool = False) -> Iterator[tuple[str, "str | Fault"]]:
    """The program's tools, each with "right", "refused: why" or a fault. Raises Meaningless."""
    reference = Reference(program)
    _ = reference.own
    with formats(program):
        s = subject(program)
        wanted = {
            t
            for t in tools.ALL
            if (all_tools or t in s.tools)
            and (not only or t in only)
            and (s.is_real or t not in tools.OF_REAL_FUNCTIONS)
        }
        ahead = tools.TRACED | ({"source": _written(s)} if "source" in wanted else {})
        failed = {}
        found = traced(s, {t: of for t, of in ahead.items() if t in wanted}, failed)
        for tool in sorted(wanted):
            try:
                yield tool, _outcome(tool, s, found, failed, reference)
            except Fault as fault:
                yield tool, fault
            except Meaningless as why:
                yield tool, f"not judged: {why}"


def _outcome(tool, s, found, failed, reference):
    program = reference.program
    if tool == "finite" and (program.has_wrong_rule or "stop_gradient" in program):
        return "not judged: the derivative is by design not that of the values"
    if tool == "automatic" and program.has_wrong_rule:
        reference = Reference(program, rules=False)
    try:
        if tool in failed:
            raise failed[tool]
        got = found[tool] if tool in found else tools.BY_ITSELF[tool](s)
    except Exception as error:
        return _excused(tool, s, error, reference.errors)
    if tool == "contrast":
        _check_contrast(program, got)
    elif tool == "audit":
        _check_audit(program, got)
    else:
        compare(tool, got, reference)
    return "right"


def _written(s):
    """The module that `source` writes, as a tool; if `source` raises, a tool that raises the same."""
    try:
        written = tools.executed_source(s)
    except Exception as error:
        reason = error

        def written(_):
            raise reason

    return written


def _raises_alike(s, error):
    """Whether f raises the same error when called without jit, where unused values are computed too."""
    try:
        s.f(*s.args)
    except Exception as its_own:
        return (type(its_own), str(its_own)) == (type(error), str(error))
    return False


def _excused(tool, s, error, errors):
    """The outcome for an error that is a refusal by the tool, by JAX or by f; else raises Fault."""
    if refused(tool, error):
        return f"refused: {str(error).splitlines()[0][:120]}"
    if any(type(error) is type(e) and str(e)[:40] == str(error)[:40] for e in errors.values()):
        return f"refused as by JAX: {str(error).splitlines()[0][:120]}"
    lines = str(error).strip().splitlines() or [""]
    if _raises_alike(s, error):
        return f"refused as by the function itself: {lines[0][:120]}"
    raise Fault(tool, "crashed", f"{type(error).__name__}: {lines[0]}") from error


def _check_contrast(program, found):
    if not program.has_wrong_rule and not program.is_narrow and any(not d < 1e-2 for d in found.values()):
        raise Fault("contrast", "wrong", f"hand-written and automatic derivative differ: {found}")


def _check_audit(program, found):
    faults = [f for f in found if re.match(r"structure|not linear|wrong", f)]
    if faults and not program.has_wrong_rule:
        raise Fault("audit", "false alarm", faults[0])
    if program.has_wrong_rule and not found:
        raise Fault("audit", "missed", "a wrong rule was not found")
