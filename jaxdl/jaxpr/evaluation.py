"""Evaluating a jaxpr, with some equations replaced."""

import functools
from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any, TypeAlias

import jax
from jax.extend import source_info_util

from jaxdl.jaxpr.families import CUSTOM_RULES
from jaxdl.jaxpr.reading import equations_inside, inner_jaxprs, is_jaxpr, is_variable, opened
from jaxdl.jaxpr.source_lines import where
from jaxdl.jaxpr.tracing import trace_arrays
from jaxdl.jaxpr.types import as_array
from jaxdl.jaxpr.versions import AnyJaxpr, Equation, has_symbolic_zeros, zeros_fixed

Replacement: TypeAlias = Callable[[Equation], Callable[..., Any] | None]


def replaced(f: Callable[..., Any], replacement: Replacement) -> Callable[..., Any]:
    """f with some equations of its program replaced, as by `evaluate`."""

    @functools.wraps(f)
    def with_replacements(*args, **kwargs):
        jaxpr, result, arrays = trace_arrays(f, args, kwargs)
        return jax.tree.unflatten(result, evaluate(jaxpr, arrays, replacement))

    return with_replacements


def evaluate(jaxpr: AnyJaxpr, args: Sequence[Any], replacement: Replacement) -> list[Any]:
    """Evaluates a jaxpr with some equations replaced, inside jit, scan, cond, while, … as well.

    Args:
        jaxpr: a closed jaxpr.
        args: the list of its inputs.
        replacement: for an equation None, to evaluate it unchanged, or a function to call instead, from the
            equation's inputs to the list of its outputs.

    Returns:
        The list of outputs.
    """
    return evaluate_opened(jaxpr, getattr(jaxpr, "consts", ()), args, replacement)


def evaluate_opened(
    jaxpr: AnyJaxpr, consts: Any, args: Sequence[Any], replacement: Callable[[Any], Any] = lambda eqn: None
) -> Any:
    """`evaluate` with other values for the constants."""
    plain = opened(jaxpr)
    values = dict(zip(plain.constvars, consts, strict=True))
    values.update(zip(plain.invars, args, strict=True))
    run(plain.eqns, values, replacement)
    return [value_of(atom, values) for atom in plain.outvars]


def run(eqns: Iterable[Equation], values: dict[Any, Any], replacement: Replacement = lambda eqn: None) -> None:
    """Evaluates equations in order, adding their outputs to `values`, a dictionary by variable."""
    for eqn in eqns:
        with _context(eqn):
            y = _equation(eqn, [value_of(atom, values) for atom in eqn.invars], replacement)
        values.update(zip(eqn.outvars, y, strict=True))


def value_of(atom: Any, values: dict[Any, Any]) -> Any:
    """The value of a variable, or of a literal."""
    return values[atom] if is_variable(atom) else atom.val


def inlined(jaxpr: AnyJaxpr, calls: Container[str] = ("jit",)) -> AnyJaxpr:
    """The closed jaxpr with every call of a jitted function replaced by its body, or every call by one of `calls`."""
    into = lambda eqn: (
        (lambda *args: evaluate(inner_jaxprs(eqn)[0], args, into)) if eqn.primitive.name in calls else None
    )
    types = [v.aval for v in opened(jaxpr).invars]
    return jax.make_jaxpr(lambda *args: evaluate(jaxpr, args, into))(*types)


def binding(eqn: Equation, **changed: Any) -> Callable[..., list[Any]]:
    """An equation as a function of its inputs that returns the list of its outputs, with some parameters changed."""

    def bound(*args):
        if not (changed or eqn.primitive.name in CUSTOM_RULES) and any(map(has_symbolic_zeros, equations_inside(eqn))):
            return _equation(eqn, args, lambda e: binding(e) if has_symbolic_zeros(e) else None)
        params = eqn.params | changed | zeros_fixed(eqn)
        y = eqn.primitive.bind(*_as_arrays(eqn, args), **eqn.primitive.get_bind_params(params))
        return [*y] if eqn.primitive.multiple_results else [y]  # shard_map returns a tree under jax.linearize

    return bound


def _as_arrays(eqn, args):
    """The inputs to bind an equation on. Custom rules need JAX arrays, and jaxprs hold constants as NumPy arrays."""
    if eqn.primitive.name not in CUSTOM_RULES:
        return args
    return [as_array(x, v.aval) for x, v in zip(args, eqn.invars, strict=True)]


def _equation(eqn, args, replacement):
    replaced = replacement(eqn)
    if replaced is not None:
        return replaced(*args)
    if not any(_touched(inner, replacement) for inner in inner_jaxprs(eqn)):
        return binding(eqn)(*args)
    if eqn.primitive.name in _REBUILT:
        return _REBUILT[eqn.primitive.name](eqn, replacement)(*args)
    return binding(eqn, **_rewritten_params(eqn, replacement))(*args)


def _rebuilt_checkpoint(eqn, replacement):
    params = eqn.params
    body = lambda *args: evaluate(params["jaxpr"], args, replacement)
    new = jax.make_jaxpr(body)(*[v.aval for v in eqn.invars])
    if not new.consts:  # it stays differentiated: the compiler must not compute it together with the forward pass
        return binding(eqn, jaxpr=new.jaxpr)
    return jax.checkpoint(body, prevent_cse=params["prevent_cse"], policy=params["policy"])


def _rebuilt_shard_map(eqn, replacement):
    params = eqn.params
    body = lambda *args: tuple(evaluate(params["jaxpr"], args, replacement))
    settings = {k: params[k] for k in ("mesh", "in_specs", "out_specs", "check_vma")}
    manual = params["newly_manual_axes"] if "newly_manual_axes" in params else params["manual_axes"]  # JAX 0.10.0
    return jax.shard_map(body, **settings, axis_names=manual)


# Primitives whose jaxpr may hold no constants are rebuilt by the public function that made them.
_REBUILT = {"checkpoint": _rebuilt_checkpoint, "remat2": _rebuilt_checkpoint, "shard_map": _rebuilt_shard_map}


def in_loops(replacement: Replacement) -> Replacement:
    """A replacement, for `evaluate`, that replaces equations in the bodies of loops only, however deep."""

    def of_loop(eqn: Equation) -> Callable[..., list[Any]] | None:
        if eqn.primitive.name not in ("scan", "while"):
            return None
        if not any(_touched(inner, replacement) for inner in inner_jaxprs(eqn)):
            return None
        return lambda *args: _equation(eqn, args, replacement)

    return of_loop


def _rewritten_params(eqn, replacement):
    def rewritten(value):
        if not (is_jaxpr(value) and _touched(value, replacement)):
            return value
        new = jax.make_jaxpr(lambda *args: evaluate(value, args, replacement))(*[v.aval for v in opened(value).invars])
        if opened(value) is not value or opened(new) is new:
            return new
        if new.consts:
            raise NotImplementedError(
                f"rules inside {eqn.primitive.name} (at {where(eqn)}) cannot be taken out: "
                f"this version of JAX does not let its body hold constants"
            )
        return new.jaxpr

    return jax.tree.map(rewritten, eqn.params, is_leaf=is_jaxpr)


def _touched(jaxpr, replacement):
    """Whether any equation of a jaxpr, however deep, is to be replaced."""
    return any(
        replacement(eqn) is not None or any(_touched(inner, replacement) for inner in inner_jaxprs(eqn))
        for eqn in opened(jaxpr).eqns
    )


class _context:
    """Inside it, new equations get the name stack and source line of an equation."""

    def __init__(self, eqn):
        names = source_info_util.current_name_stack() + eqn.source_info.name_stack
        self.parts = [source_info_util.user_context(eqn.source_info.traceback, name_stack=names)]
        if manager := getattr(eqn.ctx, "manager", None):
            self.parts.append(manager)

    def __enter__(self):
        for part in self.parts:
            part.__enter__()

    def __exit__(self, *error):
        for part in reversed(self.parts):
            part.__exit__(*error)
