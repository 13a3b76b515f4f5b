"""Builds the nodes of a graph from a jaxpr. Jitted functions are inlined, in a scope of their name."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import jax

from jaxdl import jaxpr as jx
from jaxdl.graph.node import ARGUMENT, BOX, CONSTANT, OPERATION, RULE, AnyGraph, Edge, Node, Output, Scope
from jaxdl.strip import site_of

NAMED = "name"  # the primitive of `jax.ad_checkpoint.checkpoint_name`
BOXES = {"scan", "while", "cond", "checkpoint"}


class Builder:
    """Collects the nodes of one graph, in the order of evaluation."""

    def __init__(self, graph: AnyGraph, code: CodeType | None = None):
        self.graph: AnyGraph = graph
        self.code: CodeType | None = code
        self.sources: dict[Node, tuple[jx.Instruction, ...]] = {}
        self.nodes: list[Node] = []
        self.labels: set[str] = set()
        self.counts: dict[str, Iterator[int]] = {kind: itertools.count(1) for kind in ("u", "c")}
        self.calls: Iterator[int] = itertools.count(1)

    def argument(self, label: str, aval: Any, value: Any = None) -> Output:
        return self._leaf(label, ARGUMENT, aval, value)

    def constant(self, value: Any) -> Output:
        if not hasattr(value, "shape"):  # a number written in the program
            value = jx.as_array(value, jax.typeof(value))
        return self._leaf(self._fresh("c"), CONSTANT, jax.typeof(value), value)

    def outputs(
        self, jaxpr: Any, given: list[Any], scope: tuple[Scope, ...] = (), source: tuple[jx.Instruction, ...] = ()
    ) -> list[Any]:
        """Turns the equations of a closed jaxpr into nodes, and returns its outputs.

        Args:
            jaxpr: The jaxpr.
            given: Its inputs, each an `Output` or a number.
            scope: The scopes around it.
            source: The instructions that led to the call of it, if they are known.
        """
        plain = jx.opened(jaxpr)
        known = dict(zip(plain.constvars, map(self.constant, getattr(jaxpr, "consts", ())), strict=True))
        known.update(zip(plain.invars, given, strict=True))
        for eqn in plain.eqns:
            inputs = [jx.value_of(atom, known) for atom in eqn.invars]
            inside = (*scope, *_named_scopes(eqn))
            led = source or (jx.instructions(eqn, self.code) if self.code else ())
            if eqn.primitive.name == NAMED:
                found = [self._named(jx.label(eqn), *inputs)]
            elif _changes_nothing(eqn):
                found = inputs
            elif eqn.primitive.name in jx.CALLS:
                found = self.outputs(jx.primal_of(eqn), inputs, inside + self._box(eqn), led)
            else:
                found = self._operation(eqn, inputs, inside)
                self.sources[self.nodes[-1]] = led
            known.update(zip(eqn.outvars, found, strict=True))
        return [jx.value_of(atom, known) for atom in plain.outvars]

    def _named(self, name, x):
        """Labels the operation that computes x with the name that the function gives x, unless it is in use."""
        if isinstance(x, Output) and x.node.equation is not None and name not in self.labels:
            x.node.label, x.node.is_named = name, True
            self.labels.add(name)
        return x

    def _fresh(self, letter):
        return next(label for n in self.counts[letter] if (label := f"{letter}{n}") not in self.labels)

    def _box(self, eqn):
        """The scope of a call, unless it holds a single equation."""
        one = len(jx.opened(jx.primal_of(eqn)).eqns) == 1
        return () if one else (Scope(jx.label(eqn) or eqn.primitive.name, next(self.calls)),)

    def _leaf(self, label, kind, aval, value):
        node = self._node(label, label, kind, (), None, [aval])
        node.kept = None if value is None else [value]
        return Output(node, 0)

    def _operation(self, eqn, inputs, scope):
        site = site_of(eqn)
        name = site.name if site else "checkpoint" if eqn.primitive.name in jx.CHECKPOINTS else eqn.primitive.name
        kind = RULE if site else BOX if name in BOXES else OPERATION
        node = self._node(self._fresh("u"), name, kind, scope, eqn, [v.aval for v in eqn.outvars])
        node.inputs = tuple(Edge(x, node, place) if isinstance(x, Output) else x for place, x in enumerate(inputs))
        for edge in node.edges:
            edge.source.node.users.append(edge)
        return [Output(node, k) for k in range(len(node.types))]

    def _node(self, label, name, kind, scope, eqn, avals):
        types = tuple(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals)
        node = Node(self.graph, len(self.nodes), label, name, kind, scope, eqn, types)
        self.nodes.append(node)
        self.labels.add(label)
        return node


def _changes_nothing(eqn):
    """Whether an equation is a cast to the same type, which JAX inserts to drop weak types."""
    if eqn.primitive.name != "convert_element_type":
        return False
    given, out = eqn.invars[0].aval, eqn.outvars[0].aval
    return (given.shape, given.dtype) == (out.shape, out.dtype)


def _named_scopes(eqn):
    stack = str(eqn.source_info.name_stack)
    return tuple(map(Scope, stack.split("/"))) if stack else ()


def traced_arguments(
    caller: str, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, Any, list[Any]]:
    """f's jaxpr, the structure of its result, and the arrays among its arguments; errors start with `caller`."""
    name = getattr(f, "__name__", type(f).__name__)
    try:
        jaxpr, tree, arrays = jx.trace_arrays(f, args, kwargs)
    except (TypeError, ValueError) as error:
        reason = next((reason for sign, reason in _REASONS.items() if sign in str(error)), None)
        raise error if reason is None else type(error)(f"{caller}: {name} {reason} ({error})") from error
    if not jx.opened(jaxpr).outvars:
        raise ValueError(f"{caller}: {name} returned no array; return the result of the computation")
    return jaxpr, tree, arrays


# Parts of JAX's messages, with explanations that do not need to know JAX.
_REASONS = {
    "Non-hashable static": "is jitted with a static argument that cannot be hashed: give a tuple instead of a list; an "
    "array cannot be static",
    "is not a valid JAX type": "returned something that is not an array: return arrays, in any pytree",
}


def argument_labels(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    """The name of each array among the arguments: `x`, `params['w']`, `layers[0][1]`."""
    paths = jax.tree_util.tree_flatten_with_path((args, kwargs))[0]
    names = parameter_names(f, len(args))
    labels = []
    for (side, first, *rest), leaf in paths:
        if jx.is_array(leaf):
            name = names[first.idx] if side.idx == 0 else first.key
            labels.append(name + jax.tree_util.keystr(tuple(rest)))
    return labels


def parameter_names(f: Callable[..., Any], count: int) -> list[str]:
    """The names of f's first `count` positional parameters; args[0], … for those without a name."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        parameters = ()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    several = next((p.name for p in parameters if p.kind == p.VAR_POSITIONAL), "args")
    return named[:count] + [f"{several}[{i}]" for i in range(count - len(named))]
