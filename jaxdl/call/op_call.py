"""One call of an op, and its pullback: both check what the user's functions return."""

import contextlib
import contextvars
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.call.bound_pullback import BoundPullback
from jaxdl.call.tracing import primal
from jaxdl.closures import name_of, traced

_running_rules: contextvars.ContextVar[tuple] = contextvars.ContextVar("running_rules", default=())


@contextlib.contextmanager
def _running(call, flat):
    """Notes that the rule of a call on arrays of these types is running."""
    before = _running_rules.set((*_running_rules.get(), (call, _type_names(flat))))
    try:
        yield
    finally:
        _running_rules.reset(before)


def refuse_recursion(call: "OpCall", flat: list[Any]) -> None:
    """Raises TypeError where a rule computes its own output by calling the op that it is the rule of."""
    if (running := _running_rules.get()) and (call, _type_names(flat)) in running:
        raise TypeError(
            f"{call.name}: its rule calls {call.name} itself, whose output is computed by its rule: an endless "
            f"recursion; in the rule, call the definition, {call.name}.primal"
        )


def _type_names(flat):
    return tuple(map(jx.typed, map(jax.typeof, flat)))


@dataclass(frozen=True)
class OpCall:
    """An op called with settings, on arguments of the pytree structure `tree`.

    It holds the op's functions, not the op: a trace of the op itself would keep it alive forever. numbers: those among
    the settings, as keys that distinguish 1 from 1.0. forms: the op's further rules by name. stock_function: what a
    program without jaxdl has in the op's place; None where that is the definition.
    """

    name: str
    definition: Callable[..., Any]
    derivative: Callable[..., Any]
    tree: Any
    settings: tuple[tuple[str, Any], ...]
    surroundings: tuple[Any, ...] | None
    numbers: tuple[Any, ...] = ()
    forms: tuple[tuple[str, Callable[..., Any]], ...] = ()
    stock_function: Callable[..., Any] | None = None

    @property
    def lasts(self) -> bool:
        """Whether a trace may be kept: it will be the same the next time, and lives no longer than its op."""
        return self.surroundings is not None

    @property
    def gain(self) -> str:
        """What the rule does better: the words after "Gain:" in its docstring."""
        _, _, gain = (inspect.getdoc(self.derivative) or "").partition("Gain:")
        return " ".join(gain.split())

    @property
    def described(self) -> str:
        """The settings as text."""
        return ", ".join(f"{name}={value!r}" for name, value in self.settings)

    def in_form(self, name: str) -> "OpCall":
        """The call with another of the op's rules."""
        return replace(self, derivative=dict(self.forms)[name])

    def __repr__(self) -> str:
        return self.name

    def primal(self, *flat: Any) -> Any:
        with jax.named_scope(self.name):
            return self.definition(*self.tree.unflatten(flat), **dict(self.settings))

    def stock(self, *flat: Any) -> Any:
        with jax.named_scope(self.name):
            y = (self.stock_function or self.definition)(*self.tree.unflatten(flat), **dict(self.settings))
        self._check_output("stock function", *jax.tree.flatten(y), primal.eval_shape(self, *flat))
        return y

    def rule(self, *flat: Any) -> Any:
        with jax.named_scope(self.name), _running(self, flat):
            returned = self.derivative(*self.tree.unflatten(flat), **dict(self.settings))
        y, bound = self._checked(returned)
        residuals, residual_tree = jax.tree.flatten(bound.residuals)
        y, y_tree = jax.tree.flatten(y)
        expected = primal.eval_shape(self, *flat)
        self._check_output("rule", y, y_tree, expected)
        y = [*map(jx.as_weak_as, y, jax.tree.leaves(expected))]
        types = tuple((x.shape, x.dtype, getattr(x, "weak_type", False)) for x in map(jax.typeof, flat))
        return y, BoundPullback(OpPullback(self, bound.pullback, residual_tree, y_tree, types), residuals)

    def refuse(self, moving: tuple[int, ...]) -> None:
        """Every argument may be differentiated."""

    def argument(self, i: int) -> str:
        """The name of the i-th positional argument, as the primal writes it."""
        names = [p.name for p in inspect.signature(self.definition).parameters.values() if p.kind is not p.KEYWORD_ONLY]
        return names[i] if i < len(names) else f"{names[-1]}[{i - len(names) + 1}]"

    def fault(self, message: str) -> TypeError:
        return TypeError(f"{self.name}: {message}")

    def _checked(self, returned):
        if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], BoundPullback)):
            raise self.fault(
                "the rule must return a pair (y, saving(pullback, *residuals)), got "
                + (f"a tuple of {len(returned)}" if isinstance(returned, tuple) else repr(returned))
            )
        bound = returned[1]
        for i, residual in enumerate(bound.residuals):
            for leaf in jax.tree.leaves(residual):
                if not hasattr(leaf, "dtype"):
                    raise self.fault(
                        f"residual {i} is not an array: got {leaf!r}; save arrays only, "
                        f"and let the pullback use settings by closure"
                    )
        return returned

    def _check_output(self, what, y, y_tree, expected):
        expected, expected_tree = jax.tree.flatten(expected)
        if y_tree != expected_tree:
            raise self.fault(f"the {what} returns a {y_tree}, the primal a {expected_tree}")
        for got, want in zip(y, expected, strict=True):
            if (jnp.shape(got), jnp.result_type(got)) != (want.shape, want.dtype):
                raise self.fault(f"the {what} returns {describe(got)}, the primal {describe(want)}")


@dataclass(frozen=True)
class OpPullback:
    """The pullback of an `OpCall`, with its cotangents checked against the arguments' types."""

    call: OpCall
    function: Callable[..., Any]
    residual_tree: Any
    y_tree: Any
    types: tuple[Any, ...]

    def __repr__(self) -> str:
        return repr(self.call)

    @property
    def lasts(self) -> bool:
        return self.call.lasts

    def __call__(self, residuals: Any, dy: Any) -> list[Any]:
        types = jax.tree.map(jax.typeof, (list(residuals), list(dy)))
        (run,), captured = traced((self.cotangents, *types))
        if captured:
            raise self.capture_fault(captured[0])
        return run((), *jax.tree.leaves((residuals, dy)))

    def capture_fault(self, value: Any) -> TypeError:
        return self.call.fault(
            f"the pullback uses {name_of(value, self.function)} by closure; make it an argument of the pullback and "
            f"bind it with saving(pullback, …), or, where only its shape or dtype is used, give the pullback its "
            f"jax.typeof"
        )

    def cotangents(self, residuals: Any, dy: Any) -> list[Any]:
        call = self.call
        with jax.named_scope(call.name):
            returned = self.function(*self.residual_tree.unflatten(residuals), self.y_tree.unflatten(dy))
        arguments = call.tree.unflatten(range(len(self.types)))
        if not isinstance(returned, tuple) or len(returned) != len(arguments):
            got = f"{len(returned)}" if isinstance(returned, tuple) else f"a value of type {type(returned).__name__}"
            raise call.fault(
                f"the pullback must return a tuple of {len(arguments)} cotangents, one for each argument "
                f"({', '.join(map(call.argument, range(len(arguments))))}), got {got}"
            )
        cotangents = [None] * len(self.types)
        for i, (argument, cotangent) in enumerate(zip(arguments, returned, strict=True)):
            if cotangent is not None:
                places, structure = jax.tree.flatten(argument)
                for place, leaf in zip(places, self._leaves(i, cotangent, structure), strict=True):
                    cotangents[place] = self._checked(i, leaf, *self.types[place])
        return cotangents

    def _leaves(self, i, cotangent, structure):
        """The leaves of the cotangent of the i-th argument, which has a structure."""
        try:
            leaves = structure.flatten_up_to(cotangent)
            if all(jax.tree.structure(leaf).num_nodes == 1 for leaf in leaves):
                return leaves
        except ValueError:
            pass
        raise self.call.fault(
            f"the cotangent of {self.call.argument(i)} must have its structure, {structure}, "
            f"got {jax.tree.structure(cotangent)}"
        )

    def _checked(self, i, cotangent, shape, dtype, is_weak):
        if not jnp.issubdtype(dtype, jnp.inexact):
            if cotangent is None or jnp.result_type(cotangent) == jax.dtypes.float0:
                return None
            raise self.call.fault(
                f"{self.call.argument(i)} has dtype {dtype}, so the pullback must return None for it, "
                f"got {describe(cotangent)}"
            )
        if cotangent is not None and (jnp.shape(cotangent), jnp.result_type(cotangent)) != (shape, dtype):
            raise self.call.fault(
                f"the cotangent of {self.call.argument(i)} must be "
                f"{describe(jax.ShapeDtypeStruct(shape, dtype))}, got {describe(cotangent)}"
            )
        if cotangent is not None and is_weak:  # a number of Python, whose cotangent is one, as JAX's is
            return jx.as_weak_as(cotangent, jax.ShapeDtypeStruct(shape, dtype, weak_type=True))
        return cotangent


def describe(x: Any) -> str:
    """float32[3,4], as jaxprs write it."""
    return f"{jnp.result_type(x)}[{','.join(map(str, jnp.shape(x)))}]"


jx.hide_from_source_lines(__file__)
