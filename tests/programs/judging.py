"""A program held against every tool: each is right, or refuses by name, or there is a fault."""

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
EPS = {"finite": 2.0**-23}  # differences of values have fewer digits than float64
NOISE = 8  # times as far as JAX's own derivatives lie from each other and from the float64 run
USELESS = 0.02  # of the largest entry: with more noise the program says nothing
LARGEST = 1e4
REFUSALS = TypeError, ValueError, NotImplementedError


class Meaningless(Exception):
    """JAX cannot differentiate the program, or its answer is noise."""


@dataclass
class Fault(AssertionError):
    """A tool that is wrong, crashed, or accused without reason."""

    tool: str
    kind: str
    told: str

    def __str__(self):
        return f"{self.tool} {self.kind}: {self.told}"

    @property
    def key(self):
        """What is alike in faults of the same cause, as far as words tell."""
        return (
            self.tool,
            self.kind,
            re.sub(r"[\d.]+|\[.*?\]|0x\w+|'.*?'( and '.*?')*", "#", self.told.split("\n")[0])[:90],
        )


@contextlib.contextmanager
def formats(program):
    with jax.enable_x64(program.is_double), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


# --- the truth ---------------------------------------------------------------------------------------


@dataclass
class Truth:
    """What JAX says of a program by quantity, in its own formats at once, in float64 where an answer lies apart."""

    program: Program
    rules: bool = True
    errors: dict = field(default_factory=dict)

    @cached_property
    def own(self) -> dict:
        with formats(self.program):
            s = subject(self.program, rules=self.rules)
            found = traced(s, _asked(s), self.errors)
        if "value" not in found or not {"vjp", "jvp"} & found.keys():
            raise Meaningless(str([*self.errors.values()][:1]))
        found = {name: jax.tree.leaves(y) for name, y in found.items()}
        if "jacobian" in found:
            found["matrix"] = [_matrix(found["jacobian"], s)]
        if any(not _moderate(found[name]) for name in found):
            raise Meaningless("numbers are not moderate")
        return found

    @cached_property
    def wide(self) -> dict:
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            s = subject(self.program, wide=True, rules=self.rules)
            found = {name: jax.tree.leaves(y) for name, y in traced(s, _asked(s), {}).items()}
        if "jacobian" in found:
            found["matrix"] = [_matrix(found["jacobian"], s)]
        return found

    @cached_property
    def by_columns(self) -> list:
        """The Jacobian once more, as it is rounded in forward mode; none where JAX has only the other."""
        with formats(self.program):
            s = subject(self.program, rules=self.rules)
            found = traced(s, {"jacobian": lambda s: jax.jacfwd(s.f, s.argnums)(*s.args)}, {})
        return jax.tree.leaves(found.get("jacobian"))

    def noise(self, what) -> float:
        """How far JAX's own answers are from that in float64; more than a few per cent of it say nothing."""
        if what not in self.wide:
            raise Meaningless(f"{what} has no answer in float64")
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
    return Subject(own.f, own.args, own.argnums, own.asked)


def traced(s: Subject, asked: dict, errors: dict):
    """What functions of a subject give, compiled in one; those that raise are left out and noted."""
    try:
        return _compiled(s, asked, errors)
    except Exception as error:  # while it is compiled: one by one, to know which
        if len(asked) == 1:
            errors[next(iter(asked))] = error
            return {}
        return {k: v for name, of in asked.items() for k, v in traced(s, {name: of}, errors).items()}


def _compiled(s, asked, errors):
    leaves, tree = jax.tree.flatten(s.args)
    places = [i for i, x in enumerate(leaves) if hasattr(x, "shape")]

    @jax.jit
    def run(arrays):
        full = list(leaves)
        for i, x in zip(places, arrays, strict=True):
            full[i] = x
        here, found = replace(s, args=tree.unflatten(full)), {}
        for name, of in asked.items():
            try:
                found[name] = of(here)
            except Exception as error:  # judged later
                errors[name] = error
        return found

    return jax.tree.map(np.asarray, run([leaves[i] for i in places]))


def _asked(s):
    try:
        return tools.asked_of_jax(s)
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
        raise Meaningless("nothing comes out")
    given = iter(blocks)
    rows = [[np.asarray(next(given)).reshape(m, n) for n in sizes(s.chosen)] for m in sizes(s.outputs)]
    return np.concatenate([np.concatenate(row, 1) for row in rows], 0)


# --- judging -----------------------------------------------------------------------------------------


def hold(tool: str, given: dict, truth: Truth) -> None:
    """Raises Fault where an answer is not JAX's. Of a name like "vjp, again" what is before the comma is known."""
    for what, got in given.items():
        if (quantity := what.split(",")[0]) in truth.own:
            _hold_arrays(tool, what, jax.tree.leaves(got), truth, quantity)


def _hold_arrays(tool, what, got, truth, quantity):
    own = truth.own[quantity]
    if len(got) != len(own):
        raise Fault(tool, "wrong", f"{what}: {len(got)} arrays in place of {len(own)}")
    for i, (a, b) in enumerate(zip(map(np.asarray, got), own, strict=True)):
        if a.shape != b.shape:
            raise Fault(tool, "wrong", f"{what}: shape {a.shape} in place of {b.shape}")
        if a.dtype != b.dtype and quantity not in (
            "matrix",
            "jacobian",
        ):  # that of either side
            raise Fault(tool, "wrong", f"{what}: {a.dtype} in place of {b.dtype}")
        if not jnp.issubdtype(b.dtype, jnp.inexact):
            continue
        eps = max(truth.program.eps, float(jnp.finfo(b.dtype).eps), EPS.get(tool, 0))
        rounding = ROUNDINGS * eps * _scale(own)
        if _apart(a, b) <= rounding:
            continue
        wide = truth.wide.get(quantity, own)[i]
        if not _apart(a, wide) <= rounding + NOISE * truth.noise(quantity):
            raise Fault(tool, "wrong", f"{what}: {_apart(a, wide):.3g} apart\ngot\n{a}\nwant\n{wide}")


def refused(tool, error) -> bool:
    """Whether an error says by name what is not supported."""
    named = re.search(rf"jacobian\.\w+:|{tool}|jaxdl|automatic|cannot be (differentiated|evaluated)", str(error))
    return isinstance(error, REFUSALS) and bool(named) and len(str(error)) > 20


def judged(program: Program, only=None, all_tools: bool = False) -> Iterator[tuple[str, "str | Fault"]]:
    """Each tool that the program asks for with "right", "refused: why" or a fault. Raises Meaningless."""
    truth = Truth(program)
    _ = truth.own
    with formats(program):
        s = subject(program)
        wanted = {
            t
            for t in tools.ALL
            if (all_tools or t in s.asked)
            and (not only or t in only)
            and (s.is_real or t not in tools.OF_REAL_FUNCTIONS)
        }
        ahead = tools.TRACED | ({"source": _written(s)} if "source" in wanted else {})
        failed = {}
        found = traced(s, {t: of for t, of in ahead.items() if t in wanted}, failed)
        for tool in sorted(wanted):
            try:
                yield tool, _outcome(tool, s, found, failed, truth)
            except Fault as fault:
                yield tool, fault
            except Meaningless as why:
                yield tool, f"left out: {why}"


def _outcome(tool, s, found, failed, truth):
    program = truth.program
    if tool == "finite" and (program.lies or "stop_gradient" in program):
        return "left out: the rule, not the values, is meant"
    if tool == "automatic" and program.lies:
        truth = Truth(program, rules=False)
    try:
        if tool in failed:
            raise failed[tool]
        got = found[tool] if tool in found else tools.BY_ITSELF[tool](s)
    except Exception as error:
        return _excused(tool, s, error, truth.errors)
    if tool == "contrast":
        _hold_contrast(program, got)
    elif tool == "audit":
        _hold_audit(program, got)
    else:
        hold(tool, got, truth)
    return "right"


def _written(s):
    """What the module that `source` writes of the function does, as a tool."""
    try:
        written = tools.executed_source(s)
    except Exception as error:
        reason = error

        def written(_):
            raise reason

    return written


def _raises_alike(s, error):
    """Whether the function itself cannot be run outside of jit, where also what nobody needs is computed."""
    try:
        s.f(*s.args)
    except Exception as its_own:
        return (type(its_own), str(its_own)) == (type(error), str(error))
    return False


def _excused(tool, s, error, errors):
    """A refusal in words, where the tool or JAX itself says by name what it does not do."""
    if refused(tool, error):
        return f"refused: {str(error).splitlines()[0][:120]}"
    if any(type(error) is type(e) and str(e)[:40] == str(error)[:40] for e in errors.values()):
        return f"refused as by JAX: {str(error).splitlines()[0][:120]}"
    lines = str(error).strip().splitlines() or [""]
    if _raises_alike(s, error):
        return f"refused as by the function itself: {lines[0][:120]}"
    raise Fault(tool, "crashed", f"{type(error).__name__}: {lines[0]}") from error


def _hold_contrast(program, found):
    if not program.lies and not program.is_narrow and any(not d < 1e-2 for d in found.values()):
        raise Fault("contrast", "wrong", f"hand and automatic differ: {found}")


def _hold_audit(program, found):
    accused = [f for f in found if re.match(r"structure|not linear|wrong", f)]
    if accused and not program.lies:
        raise Fault("audit", "accused", accused[0])
    if program.lies and not found:
        raise Fault("audit", "missed", "a rule that lies was not found")
