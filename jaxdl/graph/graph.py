"""`trace(f)(*args)`: a function's computation as a graph, with values forward and gradients backward."""

import difflib
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax

from jaxdl import jaxpr as jx
from jaxdl.graph import passes
from jaxdl.graph.bodies import body_of
from jaxdl.graph.builder import Builder, argument_labels, traced
from jaxdl.graph.cost import Costs, costs
from jaxdl.graph.derivation.equations import latex
from jaxdl.graph.derivation.typeset import derivation_page, sheet
from jaxdl.graph.drawing.boxes import boxes, opened_at_first
from jaxdl.graph.drawing.dot import dot, mermaid
from jaxdl.graph.drawing.page import page
from jaxdl.graph.drawing.picture import image
from jaxdl.graph.node import Node, Output
from jaxdl.graph.steps import PassStep, steps
from jaxdl.report import write_whole


def trace(f: Callable) -> Callable[..., "Graph"]:
    """`trace(f)(*args)` is the graph of f on these arguments, any pytrees of arrays and real numbers; keyword arguments
    go to f as well, and numbers among them, like integers everywhere, stay as they are.

    Every operation (equation of f's jaxpr) is a node, every hand-written rule (a jaxdl op, `jax.custom_jvp`,
    `jax.custom_vjp`) too; jitted functions are opened, loops, branches and checkpoints are nodes that `inside` opens.
    Arguments may be `jax.ShapeDtypeStruct`s: such a graph has types and no values.

    Raises TypeError inside jit, grad or vmap, and where f gives what is no array; ValueError where it gives nothing, or
    is jitted with a static argument that cannot be hashed.
    """

    @functools.wraps(f)
    def graph_of(*args, **kwargs):
        args = jax.tree.map(lambda x: jax.numpy.asarray(x) if isinstance(x, float | complex) else x, args)
        _check_concrete(args, kwargs)
        jaxpr, tree, arrays = traced("trace", f, args, kwargs)
        graph = Graph(getattr(f, "__name__", type(f).__name__), jaxpr, argument_labels(f, args, kwargs), arrays)
        given = iter(graph.flat_arguments)
        graph.arguments = jax.tree.map(lambda x: next(given) if jx.is_array(x) else None, args)
        graph.outputs = jax.tree.unflatten(tree, graph.flat_outputs)
        paths = jax.tree_util.tree_flatten_with_path(graph.outputs, is_leaf=lambda x: isinstance(x, Output))[0]
        graph.result_labels = [f"result{jax.tree_util.keystr(path)}" for path, _ in paths]
        return graph

    return graph_of


class Graph:
    """A computation, made by `trace`. nodes: all, in the order of evaluation.

    arguments, outputs: f's positional arguments and its result, with an `Output` in place of each array; flat_arguments
    and flat_outputs list them. `graph["u3"]` is a node by its label. peak_bytes: the most that values and adjoints took
    at one time in the last `backward`, arguments included; None before one.
    """

    def __init__(self, name: str, jaxpr: Any, labels: list[str], arrays: list):
        self.name = name
        self.peak_bytes = None
        self.cotangents: dict[Output, jax.Array] = {}
        self.moving: set[Output] = set()
        builder = Builder(self)
        has_values = not any(isinstance(x, jax.ShapeDtypeStruct) for x in arrays)
        self.flat_arguments: list[Output] = [
            builder.argument(label, v.aval, x if has_values else None)
            for label, v, x in zip(labels, jx.opened(jaxpr).invars, arrays, strict=True)
        ]
        found = builder.outputs(jaxpr, self.flat_arguments)
        self.flat_outputs: list[Output] = [x if isinstance(x, Output) else builder.constant(x) for x in found]
        self.arguments, self.outputs = tuple(self.flat_arguments), tuple(self.flat_outputs)
        self.result_labels = ["result"] if len(found) == 1 else [f"result {i}" for i in range(len(found))]
        self.nodes: list[Node] = builder.nodes
        self.by_label = {node.label: node for node in self.nodes}

    def __getitem__(self, label: str) -> Node:
        if label not in self.by_label:
            near = difflib.get_close_matches(label, self.by_label, 3)
            hint = f"; near it are {', '.join(near)}" if near else ""
            raise KeyError(f"{self.name} has no node {label!r}: it has {len(self.nodes)}, listed in graph.nodes{hint}")
        return self.by_label[label]

    def __repr__(self):
        return f"<graph of {self.name}: {len(self.nodes)} nodes>"

    def inside(self, node: Node | str, step: int = 0) -> "Graph":
        """The graph of what a loop does in one step, of the branch taken, of a checkpoint's or a rule's function.

        On the values that it has there; with adjoints where this graph has been swept backward.
        """
        node = self[node] if isinstance(node, str) else node
        body = body_of(node, step)
        inner = Graph(f"{node.label}: {node.name}", body.jaxpr, jx.argument_names(body.jaxpr), body.arrays)
        if body.cotangents is not None:
            starts = [inner.flat_arguments[i] for i in body.moving]
            passes.backward(inner, passes.seeds(inner, body.cotangents), True, starts)
        return inner

    def draw(self, path: str | os.PathLike, *, depth: int | None = None) -> None:
        """Writes a picture: .svg or .png, an interactive page (.html), Graphviz (.dot) or Mermaid (.mmd) text.

        depth: how many levels of boxes are drawn open, 0 for none; by default as many as stay legible.
        """
        draw = _chosen("draw", _PICTURES, path)
        if all(x.node.kept for x in self.flat_arguments):
            self.evaluate()
        root = boxes(self)
        write_whole(path, draw(root, opened_at_first(root, depth)))

    def costs(self) -> Costs:
        """Floating-point operations of each node, forward and backward, and the bytes kept between them."""
        return costs(self)

    def latex(self) -> str:
        """The forward and the backward pass as equations: u⁽¹⁾ … L, and ∂L/∂u⁽ⁱ⁾ back to the arguments.

        An operation without a formula of its own is written by its name, its derivative as ∂u/∂x. Raises ValueError
        where the function does not give one array.
        """
        return latex(self)

    def derive(self, path: str | os.PathLike) -> None:
        """Writes these equations, set: .svg or .png, a page (.html), or LaTeX (.tex)."""
        write_whole(path, _chosen("derive", _DERIVATIONS, path)(self))

    def steps(self) -> Iterator[PassStep]:
        """The forward pass and, where the graph has been swept, the backward pass, one node at a time."""
        self.evaluate()
        return steps(self)

    # --- values and derivatives --------------------------------------------------------------------

    def evaluate(self) -> "Graph":
        """Computes the values of all nodes that have none, on the arguments."""
        passes.evaluate(self)
        return self

    def backward(self, cotangent: Any = 1, *, retain: bool = False) -> "Graph":
        """Fills the adjoint of every node and every edge: what changes in Σ cotangent · output as the array changes.

        cotangent: like the output; 1 for a single number. Contributions add where a value is used more than once.
        Values are let go of as the sweep passes, but for arguments and outputs; `retain` keeps them.
        """
        passes.backward(self, passes.seeds(self, cotangent), retain)
        return self

    def forward(self, *tangents: Any) -> "Graph":
        """Fills the tangent of every node: how it moves as the arguments move along `tangents`.

        One for each positional argument, a pytree like it, or None where it stays.
        """
        passes.forward(self, passes.directions(self, tangents))
        return self

    def grad(self, outputs: Any, inputs: Any, cotangents: Any = None) -> Any:
        """The derivative of any nodes with respect to any others; nothing in the graph changes.

        outputs, inputs: a node, an `Output`, a label, or a pytree of them; the result has the structure of inputs.
        cotangents: like outputs, each 1 for single numbers where it is not given. Where nothing flows it is 0.
        """
        of = lambda x: self._output(x)
        is_leaf = lambda x: isinstance(x, Node | Output | str)
        ys, xs = (jax.tree.map(of, tree, is_leaf=is_leaf) for tree in (outputs, inputs))
        flat_ys, flat_xs = (jax.tree.leaves(tree, is_leaf=is_leaf) for tree in (ys, xs))
        given = [1] * len(flat_ys) if cotangents is None else jax.tree.leaves(cotangents)
        if len(given) != len(flat_ys):
            raise ValueError(f"grad: {len(flat_ys)} outputs need as many cotangents, got {len(given)}")
        found = passes.gradients(self, list(zip(flat_ys, given, strict=True)), flat_xs)
        return jax.tree.unflatten(jax.tree.structure(xs, is_leaf=is_leaf), found)

    def _output(self, x) -> Output:
        node = self[x] if isinstance(x, str) else x
        if isinstance(node, Node):
            if len(node.types) > 1:
                raise ValueError(f"{node.label} ({node.name}) has {len(node.types)} outputs: say which, as node[0]")
            node = node[0]
        if node.node.graph is not self:
            raise ValueError(f"{node} is a node of another graph, that of {node.node.graph.name}")
        return node


def _check_concrete(args, kwargs):
    for leaf in jax.tree.leaves((args, kwargs)):
        if isinstance(leaf, jax.core.Tracer):
            raise TypeError(
                f"trace: an argument, {jx.typed(jax.typeof(leaf))}, is traced by jit, grad or vmap and has no value; "
                f"call trace outside of them, on arrays (of the gradient itself: trace(jax.grad(f)))"
            )


def _chosen(what, kinds, path):
    kind = Path(path).suffix[1:]
    if kind not in kinds:
        raise ValueError(f"{what}: {path} must end in one of {', '.join(f'.{k}' for k in kinds)}")
    return kinds[kind]


_PICTURES = {
    "svg": functools.partial(image, kind="svg"),
    "png": functools.partial(image, kind="png"),
    "html": page,
    "dot": dot,
    "mmd": mermaid,
}
_DERIVATIONS = {
    "svg": functools.partial(sheet, kind="svg"),
    "png": functools.partial(sheet, kind="png"),
    "html": derivation_page,
    "tex": lambda graph: latex(graph).encode(),
}
