"""Each tool on a function, compared with JAX. A tool returns a remark, or raises what `judge` classifies."""

import functools
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxdl
from benchmarks.libraries.judge import Failed, FalseAlarm, Wrong, apart, floats
from jaxdl import jacobian
from jaxdl.auditor import Verdict

ITSELF = "itself"  # the cell of the function and JAX's derivatives of it
NOISE = 20  # allowed multiple of the difference between JAX's reverse and forward mode


class Case:
    """A function with its arguments, and JAX's derivatives of it, computed once."""

    def __init__(self, f: Callable, args: tuple, name: str = ""):
        self.f, self.args, self.name = f, args, name

    @functools.cached_property
    def value(self):
        return jax.jit(lambda *args: self.f(*args))(*self.args)  # f itself may be unhashable

    @functools.cached_property
    def cotangent(self):
        """A random cotangent of the output, all entries different."""
        draw = iter(jax.random.split(jax.random.key(3), 1 + len(jax.tree.leaves(self.value))))
        random = lambda y: jax.random.uniform(next(draw), jnp.shape(y), jnp.finfo(y.dtype).dtype, 0.5, 1.5).astype(
            y.dtype
        )
        zero = lambda y: np.zeros(jnp.shape(y), jax.dtypes.float0)
        is_float = lambda y: jnp.issubdtype(jnp.result_type(y), jnp.inexact)
        return jax.tree.map(lambda y: random(y) if is_float(y) else zero(y), self.value)

    def pulled(self, f: Callable):
        """The cotangents of all arguments by `jax.vjp`, or by forward mode if f has no reverse mode."""
        try:
            return jax.jit(lambda dy, *args: jax.vjp(f, *args)[1](dy))(self.cotangent, *self.args)
        except Exception:
            columns = jax.jit(
                jax.jacfwd(lambda *args: _product(self.cotangent, f(*args)), tuple(range(len(self.args))))
            )
            return columns(*self.args)

    @functools.cached_property
    def has_reverse(self) -> bool:
        try:
            jax.eval_shape(lambda dy, *args: jax.vjp(self.f, *args)[1](dy), self.cotangent, *self.args)
        except Exception:
            return False
        return True

    @functools.cached_property
    def gradient(self):
        return self.pulled(self.f)

    @functools.cached_property
    def whole(self) -> Callable:
        """The function whose Jacobian is taken: f, or the gradient of f where f returns a scalar."""
        at = lambda *args: self.f(*args)
        size = sum(np.size(y) for y in jax.tree.leaves(self.value))
        if size > 1 or not floats(self.value):
            return at
        gradient = jax.grad(lambda *args: sum(jnp.sum(y.real) for y in floats(at(*args))))
        try:
            jax.eval_shape(jax.jacrev(gradient), *self.args)
        except Exception:
            return at
        return gradient

    @functools.cached_property
    def jacobian(self):
        """JAX's Jacobian by reverse or forward mode, and the difference between the two where both work."""
        found = []
        for method in (jax.jacrev, jax.jacfwd):
            try:
                found.append(jax.jit(method(self.whole))(*self.args))
            except Exception as error:
                failure = error
        if not found:
            raise failure
        return found[0], apart(found[-1], found[0])


def _product(cotangent, y):
    pairs = zip(jax.tree.leaves(cotangent), jax.tree.leaves(y), strict=True)
    return sum(jnp.sum(c * y) for c, y in pairs if jnp.issubdtype(jnp.result_type(y), jnp.inexact)).real


def hold(case: Case, what: str, got, want, of_wide: Callable, noise: float = 0.0) -> None:
    """Raises `Wrong` where `got` differs from `want`, and, for a function in float32, differs in float64 too."""
    by = apart(got, want)
    if by <= max(1.0, NOISE * noise):
        return
    message = f"{what}: {by:.3g} times what is allowed; {_shown(got, want)}"
    if any(x.dtype in (jnp.float32, jnp.complex64) for x in floats((case.args, want))):
        with jax.enable_x64(True):
            again, truth = of_wide(Case(case.f, widened(case.args)))
            if apart(again, truth) <= 1e3:  # of 1e-9
                return
        message += f"; in float64 too: {_shown(again, truth)}"
    raise Wrong(message)


def widened(args):
    wide = {"float32": "float64", "complex64": "complex128"}
    cast = lambda x: jnp.asarray(x, wide[str(x.dtype)]) if str(getattr(x, "dtype", "")) in wide else x
    return jax.tree.map(cast, args)


def _shown(got, want) -> str:
    flat = lambda tree: np.concatenate([np.asarray(x).reshape(-1) for x in floats(tree)] or [np.zeros(0)])
    a, b = flat(got), flat(want)
    if a.shape != b.shape:
        return f"{a.shape} numbers in place of {b.shape}"
    with np.errstate(all="ignore"):
        i = int(np.argmax(np.nan_to_num(np.abs(a - b), nan=np.inf)))
    return f"entry {i} of {len(b)} is {a[i]}, JAX has {b[i]}"


# --- the tools ----------------------------------------------------------------------------------------------


def rules(case: Case) -> str:
    return f"{len([str(site) for site in jaxdl.rules(case.f, *case.args)])} rules"


# Rules that by design differ from the automatic derivative: `space.transform` of jax-md uses the cotangent of a
# position in the box as that of the position in space; `softmin` of ott has infinite costs at the edge of its table,
# where the derivative of logsumexp is NaN; `_random_gamma_gradient` of TFP differentiates the distribution, not the
# draws, which are made by rejection sampling.
OTHER_BY_DESIGN = {
    "jax-md: morse in a deformed box": "transform",
    "ott-jax: soft dynamic time warping": "softmin",
    "tfp-nightly: gamma reparametrised draws": "_random_gamma_gradient",
}


def automatic(case: Case) -> str:
    without_rules = lambda c: jaxdl.automatic(c.f, keep=OTHER_BY_DESIGN.get(c.name, ()))
    value = jax.jit(without_rules(case))(*case.args)
    hold(case, "value", value, case.value, lambda c: (without_rules(c)(*c.args), c.value))

    def gradients(c: Case):
        plain = without_rules(c)
        if not c.has_reverse:
            return c.pulled(plain), c.gradient
        return jax.jit(lambda dy, *args: jax.vjp(plain, *args)[1](dy))(c.cotangent, *c.args), c.gradient

    hold(case, "gradient", *gradients(case), gradients)
    return ""


def contrast(case: Case) -> str:
    report = jaxdl.contrast(case.f, *case.args, time=False)
    report.table(), report.gains(), report.to_json()
    return f"{report.whole.largest.relative:.1e} apart, {len(report.sites)} rules"


def trace_and_backward(case: Case) -> str:
    def swept(c: Case):
        graph = jaxdl.trace(c.f)(*c.args).backward(c.cotangent)
        found = iter([x.node.adjoint for x in graph.flat_arguments])
        arguments = [x for x in jax.tree.leaves(c.args) if hasattr(x, "dtype")]
        zero = lambda x, a: jnp.zeros_like(x) if a is None else a
        got = [zero(x, next(found)) for x in arguments]
        return floats([g for g, x in zip(got, arguments, strict=True) if floats(x)]), floats(c.gradient)

    hold(case, "adjoints", *swept(case), swept)
    return ""


def draw(case: Case) -> str:
    with tempfile.TemporaryDirectory() as folder:
        for ending in ("svg", "html"):
            path = Path(folder) / f"graph.{ending}"
            jaxdl.trace(case.f)(*case.args).draw(path)
            if path.stat().st_size < 200:
                raise Wrong(f"an empty .{ending}")
    return ""


def source(case: Case) -> str:
    def written(c: Case):
        names = {}
        exec(compile(jaxdl.source(c.f, *c.args), "<jaxdl.source>", "exec"), names)
        rule = next(v for k, v in names.items() if k.endswith("_rule"))
        y, pullback = rule(*c.args)
        return (floats(y), floats(pullback(c.cotangent))), (floats(c.value), floats(c.gradient))

    hold(case, "value and gradient", *written(case), written)
    return ""


def by(name: str) -> Callable:
    """A method of `jaxdl.jacobian` against JAX's matrix."""

    def judged(case: Case) -> str:
        want, noise = case.jacobian
        method = getattr(jacobian, name)
        of_wide = lambda c: (method(c.whole)(*c.args), c.jacobian[0])
        hold(case, "matrix", method(case.whole)(*case.args), want, of_wide, noise)
        if name != "best":
            return ""
        plan = jacobian.plan(case.whole, *case.args)
        return plan.best.method + "".join(f"; {w.method}: {w.refused}" for w in plan.ways if w.refused)[:400]

    return judged


CONFIRMED = tomllib.loads((Path(__file__).parent / "confirmed.toml").read_text())["confirmed"]


def is_confirmed(function: str, finding) -> bool:
    """Whether `confirmed.toml` lists the finding as a true fault of the library."""
    described = {"function": function, "verdict": str(finding.verdict), "check": finding.check}
    return any(described.items() <= entry.items() for entry in CONFIRMED)


def audit(case: Case) -> str:
    report = jaxdl.audit(case.f, *case.args)
    found = [(a.name, f) for a in report.audited for f in a.findings]
    faults = [(f"{name}: {f}", is_confirmed(case.name, f)) for name, f in found if f.verdict.is_fault]
    if not all(known for _, known in faults):
        raise FalseAlarm(" | ".join(text for text, known in faults if not known))
    if faults:
        return "true faults: " + " | ".join(text for text, _ in faults)
    unverified = [f"{name}: {f.got}" for name, f in found if f.verdict == Verdict.NOT_VERIFIABLE]
    broken = [line for line in unverified if "zip()" in line or "AssertionError" in line or "KeyError" in line]
    if broken:
        raise Failed(broken[0])
    return "; ".join(dict.fromkeys(unverified))[:400]


TOOLS: dict[str, Callable] = {
    "rules": rules, "automatic": automatic, "contrast": contrast, "trace and backward": trace_and_backward,
    "draw": draw, "source": source, "sparse": by("sparse"), "cut": by("cut"), "best": by("best"), "audit": audit,
}  # fmt: skip
