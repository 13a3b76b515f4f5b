"""One call of an op on flat lists of arrays: the primal, the rule, the pullback, and each under vmap.

`Call`, `Closed` and `Batched` have the same two functions, `primal(*arrays) -> arrays` and
`rule(*arrays) -> (arrays, Saved)`; `Pullback`, `ClosedPullback`, `BatchedPullback` and `Selected` have the same
form, `pullback(residuals, cotangents) -> cotangents`, with None where nothing flows back. All are hashable, so
that they can be parameters of primitives, and of a call that `lasts`, keys of caches.
"""

import contextlib
import contextvars
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.closures import Traced, name_of, traced


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class Saved:
    """A pullback with its residuals bound: `saved(dy)` gives one cotangent per argument."""

    pullback: Callable
    residuals: Any

    def __call__(self, dy):
        return self.pullback(*self.residuals, dy)

    def tree_flatten(self):
        return (self.residuals,), self.pullback

    @classmethod
    def tree_unflatten(cls, pullback, children):
        return cls(pullback, *children)


def saving(pullback: Callable, *residuals: Any) -> Saved:
    """Binds residuals to a pullback: `pullback(*residuals, dy)` returns one cotangent per argument.

    Residuals are pytrees of arrays. They are exactly what is kept from the forward to the backward
    pass, so they are named here and never captured by closure.
    """
    return Saved(pullback, residuals)


def _once(f):
    """Traces f once for a call that lasts and its shapes, and compiles it if it runs eagerly; else keeps nothing."""
    kept = functools.partial(jax.jit, static_argnums=0, inline=jx.INLINE_WHEN_TRACED)(f)
    run = lambda call, *args: (kept if call.lasts else f)(call, *args)
    run.eval_shape = lambda call, *args: (
        kept.eval_shape(call, *args) if call.lasts else jax.eval_shape(functools.partial(f, call), *args)
    )
    return run


@_once
def primal(call, *flat):
    return call.primal(*flat)


@_once
def rule(call, *flat):
    return call.rule(*flat)


@_once
def evaluate(call, *flat):
    return jax.tree.leaves(rule(call, *flat)[0])


@_once
def pull(pullback, residuals, dy):
    return pullback(residuals, dy)


@_once
def push(pullback, residuals, tangents, dy):
    """The transposed pullback: what the tangents become on the way forward; dy only gives the type."""
    cotangents, transposed = jax.vjp(lambda *dy: pullback(residuals, dy), *dy)
    return transposed([None if c is None else t for c, t in zip(cotangents, tangents, strict=True)])


_RUNNING = contextvars.ContextVar("rules that run", default=())


@contextlib.contextmanager
def _inside(call, flat):
    """Notes that the rule of a call on arrays of these types runs."""
    before = _RUNNING.set((*_RUNNING.get(), (call, tuple(map(jx.typed, map(jax.typeof, flat))))))
    try:
        yield
    finally:
        _RUNNING.reset(before)


def refuse_itself(call, flat):
    """Raises TypeError where a rule makes its own value by the op that it is the rule of."""
    if (running := _RUNNING.get()) and (call, tuple(map(jx.typed, map(jax.typeof, flat)))) in running:
        raise TypeError(
            f"{call.name}: its rule calls {call.name} itself, whose value is what its rule gives, so that it never "
            f"ends; in the rule, call the definition, {call.name}.primal"
        )


@dataclass(frozen=True)
class Call:
    """An op called with settings, on arguments of the pytree structure `tree`.

    It holds the op's functions, not the op: a trace of the op itself would keep it alive for ever. numbers: those among
    the settings, as keys that tell 1 from 1.0.
    """

    name: str
    definition: Callable
    derivative: Callable
    tree: Any
    settings: tuple
    surroundings: tuple | None
    numbers: tuple = ()

    @property
    def lasts(self):
        """Whether a trace may be kept: it will be the same the next time, and lives no longer than its op."""
        return self.surroundings is not None

    @property
    def gain(self):
        """What the rule does better, in its own words: those after "Gain:" in its docstring."""
        _, _, gain = (inspect.getdoc(self.derivative) or "").partition("Gain:")
        return " ".join(gain.split())

    def __repr__(self):
        return self.name

    def primal(self, *flat):
        with jax.named_scope(self.name):
            return self.definition(*self.tree.unflatten(flat), **dict(self.settings))

    def rule(self, *flat):
        with jax.named_scope(self.name), _inside(self, flat):
            returned = self.derivative(*self.tree.unflatten(flat), **dict(self.settings))
        y, saved = self._checked(returned)
        residuals, residual_tree = jax.tree.flatten(saved.residuals)
        y, y_tree = jax.tree.flatten(y)
        self._check_output(y, y_tree, primal.eval_shape(self, *flat))
        types = tuple((x.shape, x.dtype) for x in map(jax.typeof, flat))
        return y, Saved(Pullback(self, saved.pullback, residual_tree, y_tree, types), residuals)

    def refuse(self, asked):
        """No argument is refused."""

    def argument(self, i):
        """The name of the i-th positional argument, as the primal writes it."""
        names = [p.name for p in inspect.signature(self.definition).parameters.values() if p.kind is not p.KEYWORD_ONLY]
        return names[i] if i < len(names) else f"{names[-1]}[{i - len(names) + 1}]"

    def fault(self, message):
        return TypeError(f"{self.name}: {message}")

    def _checked(self, returned):
        if not (isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], Saved)):
            raise self.fault(
                "the rule must return a pair (y, saving(pullback, *residuals)), got "
                + (f"a tuple of {len(returned)}" if isinstance(returned, tuple) else repr(returned))
            )
        saved = returned[1]
        for i, residual in enumerate(saved.residuals):
            for leaf in jax.tree.leaves(residual):
                if not hasattr(leaf, "dtype"):
                    raise self.fault(
                        f"residual {i} is not an array: got {leaf!r}; save arrays only, "
                        f"and let the pullback use settings by closure"
                    )
        return returned

    def _check_output(self, y, y_tree, expected):
        expected, expected_tree = jax.tree.flatten(expected)
        if y_tree != expected_tree:
            raise self.fault(f"the rule returns a {y_tree}, the primal a {expected_tree}")
        for got, want in zip(y, expected, strict=True):
            if (jnp.shape(got), jnp.result_type(got)) != (want.shape, want.dtype):
                raise self.fault(f"the rule returns {describe(got)}, the primal {describe(want)}")


@dataclass(frozen=True)
class Pullback:
    """The pullback of a `Call`, its cotangents checked against the arguments' types."""

    call: Call
    function: Callable
    residual_tree: Any
    y_tree: Any
    types: tuple

    def __repr__(self):
        return repr(self.call)

    @property
    def lasts(self):
        return self.call.lasts

    def __call__(self, residuals, dy):
        types = jax.tree.map(jax.typeof, (list(residuals), list(dy)))
        (run,), captured = traced((self.cotangents, *types))
        if captured:
            raise self.capture_fault(captured[0])
        return run((), *jax.tree.leaves((residuals, dy)))

    def capture_fault(self, value):
        return self.call.fault(
            f"the pullback uses {name_of(value, self.function)} by closure; make it an argument of the pullback and "
            f"bind it with saving(pullback, …), or, where only its shape or dtype is used, give the pullback its "
            f"jax.typeof"
        )

    def cotangents(self, residuals, dy):
        call = self.call
        with jax.named_scope(call.name):
            returned = self.function(*self.residual_tree.unflatten(residuals), self.y_tree.unflatten(dy))
        arguments = call.tree.unflatten(range(len(self.types)))
        if not isinstance(returned, tuple) or len(returned) != len(arguments):
            got = f"{len(returned)}" if isinstance(returned, tuple) else f"no tuple but {type(returned).__name__}"
            raise call.fault(
                f"the pullback must return a tuple of {len(arguments)} cotangents, one for each argument "
                f"({', '.join(map(call.argument, range(len(arguments))))}), got {got}"
            )
        cotangents = [None] * len(self.types)
        for i, (argument, cotangent) in enumerate(zip(arguments, returned, strict=True)):
            if cotangent is None:
                continue
            places, structure = jax.tree.flatten(argument)
            try:
                leaves = structure.flatten_up_to(cotangent)
                fits = all(jax.tree.structure(leaf).num_nodes == 1 for leaf in leaves)
            except ValueError:
                fits = False
            if not fits:
                raise call.fault(
                    f"the cotangent of {call.argument(i)} must have its structure, {structure}, "
                    f"got {jax.tree.structure(cotangent)}"
                )
            for place, leaf in zip(places, leaves, strict=True):
                cotangents[place] = self._checked(i, leaf, *self.types[place])
        return cotangents

    def _checked(self, i, cotangent, shape, dtype):
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
        return cotangent


class Wrapping:
    """What wraps a `call` has its name and its gain."""

    @property
    def name(self):
        return self.call.name

    @property
    def gain(self):
        return self.call.gain


@dataclass(frozen=True, eq=False)
class Closed(Wrapping):
    """A call traced for its arguments, after which come the traced values that its functions close over."""

    call: Call
    arity: int
    traced_primal: Traced
    traced_rule: Traced
    traced_pullback: Traced | None
    names: tuple  # of the captured values

    lasts = False

    def __repr__(self):
        return self.name

    def primal(self, *flat):
        flat, captured = self._parted(flat)
        return self.traced_primal(captured, *flat)

    def rule(self, *flat):
        flat, captured = self._parted(flat)
        y, saved = self.traced_rule(captured, *flat)
        if not captured:
            return y, saved
        return y, Saved(ClosedPullback(self, len(saved.residuals)), [*saved.residuals, *captured])

    def refuse(self, asked):
        """Of what the functions close over nothing is known but its value: no derivative with respect to it."""
        for i in asked:
            if i >= self.arity:
                name = self.names[i - self.arity]
                raise self.call.fault(
                    f"its definition, rule or a setting closes over {name}, and the derivative with respect to that "
                    f"is asked for, which the rule does not give: pass it as an argument of the op"
                )

    def _parted(self, flat):
        return flat[: self.arity], flat[self.arity :]


@dataclass(frozen=True)
class ClosedPullback:
    """The pullback of a `Closed` call; the last residuals are what its functions close over."""

    call: Closed
    kept: int

    lasts = False

    def __repr__(self):
        return repr(self.call)

    def __call__(self, residuals, dy):
        own, captured = residuals[: self.kept], residuals[self.kept :]
        return self.call.traced_pullback(captured, *own, *jax.tree.leaves(dy)) + [None] * len(captured)


def closed(call: Call, flat: list) -> tuple[Closed, list, list]:
    """A call traced for its arguments, these, and the traced values that its functions close over.

    Inside shard_map the arguments are marked as varying over the axes over which those values vary.
    """
    types = [*map(jax.typeof, flat)]
    (primal, rule), captured = traced((call.primal, *types), (call.rule, *types))
    if not captured:
        return Closed(call, len(flat), primal, rule, None, ()), flat, []
    alike = jx.vary_alike([*flat, *captured])[: len(flat)]
    if any(a is not b for a, b in zip(alike, flat, strict=True)):
        return closed(call, alike)
    y, saved = rule.types
    dy = [t.to_tangent_aval() if jnp.issubdtype(t.dtype, jnp.inexact) else None for t in y]
    (pullback,), all_captured = traced((saved.pullback.cotangents, saved.residuals, dy), known=captured)
    if len(all_captured) > len(captured):
        raise saved.pullback.capture_fault(all_captured[-1])
    functions = call.definition, call.derivative, *filter(callable, jax.tree.leaves(call.settings))
    names = tuple(name_of(c, *functions) for c in captured)
    return Closed(call, len(flat), primal, rule, pullback, names), flat, captured


@dataclass(frozen=True)
class Batched(Wrapping):
    """A call under vmap: `mapped` arguments have the batch in front, the others have none."""

    call: Any
    mapped: tuple
    size: int
    axis_name: Any

    @property
    def lasts(self):
        return self.call.lasts

    def __repr__(self):
        return f"vmap({self.call})"

    def refuse(self, asked):
        self.call.refuse(asked)

    def primal(self, *flat):
        return self._vmap(self.call.primal)(*flat)

    def rule(self, *flat):
        avals = map(jax.typeof, flat)
        types = [jx.unbatched_type(self.size, x) if m else x for x, m in zip(avals, self.mapped, strict=True)]
        (run,), _ = traced((functools.partial(rule, self.call), *types), axis=(self.axis_name, self.size))
        y, saved = run.types
        # A residual that depends on no mapped argument (the weights, mostly) is kept once, not per example.
        kept = tuple(jx.dependent_outputs(run.jaxpr, self.mapped)[len(y) :])
        out_axes = (0, [0 if k else None for k in kept])
        y, residuals = self._vmap(lambda *flat: _opened(rule(self.call, *flat)), out_axes)(*flat)
        return y, Saved(BatchedPullback(saved.pullback, kept, self.mapped, self.size, self.axis_name), residuals)

    def _vmap(self, f, out_axes=0):
        in_axes = tuple(0 if m else None for m in self.mapped)
        return jax.vmap(f, in_axes, out_axes, axis_size=self.size, axis_name=self.axis_name)


@dataclass(frozen=True)
class BatchedPullback:
    """A pullback under vmap: the cotangent of an argument that is not mapped is summed over the batch."""

    pullback: Any
    kept: tuple
    mapped: tuple
    size: int
    axis_name: Any

    @property
    def lasts(self):
        return self.pullback.lasts

    def __call__(self, residuals, dy):
        cotangents = jax.vmap(
            self.pullback,
            in_axes=([0 if k else None for k in self.kept], 0),
            axis_size=self.size,
            axis_name=self.axis_name,
        )(list(residuals), list(dy))
        return [c if c is None or m else c.sum(0) for c, m in zip(cotangents, self.mapped, strict=True)]


@dataclass(frozen=True)
class Selected:
    """A pullback from the differentiable outputs to the cotangents that are asked for."""

    pullback: Any
    smooth: tuple
    asked: tuple

    @property
    def lasts(self):
        return self.pullback.lasts

    def __call__(self, residuals, dy):
        given = iter(dy)
        cotangents = self.pullback(residuals, [next(given) if s else None for s in self.smooth])
        return [cotangents[i] for i in self.asked]


def describe(x):
    """float32[3,4], as jaxprs write it."""
    return f"{jnp.result_type(x)}[{','.join(map(str, jnp.shape(x)))}]"


def _opened(returned):
    y, saved = returned
    return y, saved.residuals


jx.hide_from_source_lines(__file__)
