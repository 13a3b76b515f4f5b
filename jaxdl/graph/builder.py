"""From a jaxpr to nodes: jitted functions are opened, and their equations stand in a box of their name."""

import inspect
import itertools

import jax

from jaxdl import jaxpr as jx
from jaxdl.graph.node import ARGUMENT, BOX, CONSTANT, OPERATION, RULE, Edge, Node, Output, Scope
from jaxdl.strip import site_of

NAMED = "name"  # of `jax.ad_checkpoint.checkpoint_name`
BOXES = {"scan", "while", "cond", "checkpoint"}


class Builder:
    """Collects the nodes of one graph, in the order of evaluation."""

    def __init__(self, graph):
        self.graph = graph
        self.nodes = []
        self.labels = set()
        self.counts = {kind: itertools.count(1) for kind in ("u", "c")}
        self.calls = itertools.count(1)

    def argument(self, label, aval, value=None) -> Output:
        return self._leaf(label, ARGUMENT, aval, value)

    def constant(self, value) -> Output:
        value = value if hasattr(value, "shape") else jx.as_array(value, jax.typeof(value))  # a number of the program
        return self._leaf(self._fresh("c"), CONSTANT, jax.typeof(value), value)

    def outputs(self, jaxpr, given, scope=()) -> list:
        """The outputs of a closed jaxpr on `given` outputs and numbers, whose equations become nodes."""
        plain = jx.opened(jaxpr)
        known = dict(zip(plain.constvars, map(self.constant, getattr(jaxpr, "consts", ())), strict=True))
        known.update(zip(plain.invars, given, strict=True))
        for eqn in plain.eqns:
            inputs = [jx.value_of(atom, known) for atom in eqn.invars]
            inside = (*scope, *_named_scopes(eqn))
            if eqn.primitive.name == NAMED:
                found = [self._named(jx.label(eqn), *inputs)]
            elif _changes_nothing(eqn):
                found = inputs
            elif eqn.primitive.name in jx.CALLS:
                found = self.outputs(jx.primal_of(eqn), inputs, inside + self._box(eqn))
            else:
                found = self._operation(eqn, inputs, inside)
            known.update(zip(eqn.outvars, found, strict=True))
        return [jx.value_of(atom, known) for atom in plain.outvars]

    def _named(self, name, x):
        """What an operation gives takes a name that the function gives it as its label, where no other has it."""
        if isinstance(x, Output) and x.node.equation is not None and name not in self.labels:
            x.node.label = name
            self.labels.add(name)
        return x

    def _fresh(self, letter):
        return next(label for n in self.counts[letter] if (label := f"{letter}{n}") not in self.labels)

    def _box(self, eqn):
        """One equation alone needs no box around it."""
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
    """A cast to the same type, which only forgets that it came from a Python number."""
    if eqn.primitive.name != "convert_element_type":
        return False
    given, out = eqn.invars[0].aval, eqn.outvars[0].aval
    return (given.shape, given.dtype) == (out.shape, out.dtype)


def _named_scopes(eqn):
    stack = str(eqn.source_info.name_stack)
    return tuple(map(Scope, stack.split("/"))) if stack else ()


def traced(what, f, args, kwargs):
    """f's jaxpr, the structure of its result, and the arrays among its arguments; `what` asks for it, in errors."""
    name = getattr(f, "__name__", type(f).__name__)
    try:
        jaxpr, tree, arrays = jx.trace_arrays(f, args, kwargs)
    except (TypeError, ValueError) as error:
        found = next((told for sign, told in _TOLD.items() if sign in str(error)), None)
        raise error if found is None else type(error)(f"{what}: {name} {found} ({error})") from error
    if not jx.opened(jaxpr).outvars:
        raise ValueError(f"{what}: {name} returned no array; return what is computed")
    return jaxpr, tree, arrays


# By what JAX says, in words that need not know of it.
_TOLD = {
    "Non-hashable static": "is jitted with a static argument that cannot be hashed: give a tuple for a list; an array "
    "cannot be static",
    "is not a valid JAX type": "returned something that is no array: return arrays, in any pytree",
}


def argument_labels(f, args, kwargs) -> list[str]:
    """The name of each array among the arguments: `x`, `params['w']`, `layers[0][1]`."""
    paths = jax.tree_util.tree_flatten_with_path((args, kwargs))[0]
    names = parameter_names(f, len(args))
    labels = []
    for (side, first, *rest), leaf in paths:
        if jx.is_array(leaf):
            name = names[first.idx] if side.idx == 0 else first.key
            labels.append(name + jax.tree_util.keystr(tuple(rest)))
    return labels


def parameter_names(f, count):
    """Those of f's positional parameters, as far as they have names."""
    try:
        parameters = inspect.signature(f).parameters.values()
    except (TypeError, ValueError):
        parameters = ()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    several = next((p.name for p in parameters if p.kind == p.VAR_POSITIONAL), "args")
    return named[:count] + [f"{several}[{i}]" for i in range(count - len(named))]
