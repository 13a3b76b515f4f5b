"""`Graph`: a traced computation, with its values, derivatives, costs, pictures and equations."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator
from types import CodeType
from typing import TYPE_CHECKING, Any, overload

import jax

from jaxdl import jaxpr as jx
from jaxdl.graph import passes, summary
from jaxdl.graph.bodies import body_of
from jaxdl.graph.builder import Builder
from jaxdl.graph.cost import Costs, costs_of
from jaxdl.graph.derivation.derivation import Derivation
from jaxdl.graph.derivation.equations import latex
from jaxdl.graph.drawing.drawing import Drawing
from jaxdl.graph.local_gradients import compute_local_gradients
from jaxdl.graph.naming import name_constants, name_variables
from jaxdl.graph.node import Node, Output
from jaxdl.graph.steps import PassStep, steps_of
from jaxdl.report import Report, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxdl.graph.notebook import Svg


class Graph(Report):
    """A computation as a graph, made by `jaxdl.trace`. `graph["u3"]` is the node with the label u3.

    As a report, `graph.print()` and `str(graph)` show a table of the first nodes, and `graph.save(path)` writes what
    the suffix of the path names: a picture (.svg, .png, .pdf), an interactive page (.html), text for Graphviz (.dot) or
    Mermaid (.mmd), the table (.txt, .md) or all nodes as data (.json).

    Attributes:
        name: The name of the function.
        nodes: All nodes in the order of evaluation.
        arguments: The function's positional arguments with an `Output` in place of each array.
        outputs: The function's result with an `Output` in place of each array.
        flat_arguments: The outputs in `arguments` and in the keyword arguments, as a list.
        flat_outputs: Those in `outputs`, as a list.
        peak_bytes: The maximum size of all values and adjoints, arguments included, that were in memory at one time in
            the last `backward`; None before the first.
    """

    def __init__(
        self, name: str, jaxpr: Any, labels: list[str], arrays: list[Any],
        code: CodeType | None = None, captured: dict[str, Any] | None = None,
    ):  # fmt: skip
        self.name = name
        self.peak_bytes: int | None = None
        self.cotangents: dict[Output, jax.Array] = {}
        self.active: set[Output] = set()
        builder = Builder(self, code)
        has_values = not any(isinstance(x, jax.ShapeDtypeStruct) for x in arrays)
        self.flat_arguments: list[Output] = [
            builder.argument(label, v.aval, x if has_values else None)
            for label, v, x in zip(labels, jx.opened(jaxpr).invars, arrays, strict=True)
        ]
        found = builder.outputs(jaxpr, self.flat_arguments)
        self.flat_outputs: list[Output] = [x if isinstance(x, Output) else builder.constant(x) for x in found]
        name_variables(builder.sources, self.flat_outputs, builder.labels)
        name_constants(builder.nodes, captured or {}, builder.labels)
        self.arguments: Any = tuple(self.flat_arguments)
        self.outputs: Any = tuple(self.flat_outputs)
        self.result_labels: list[str] = ["result"] if len(found) == 1 else [f"result {i}" for i in range(len(found))]
        self.nodes: list[Node] = builder.nodes
        self.by_label: dict[str, Node] = {node.label: node for node in self.nodes}

    def __getitem__(self, label: str) -> Node:
        """The node with this label.

        Args:
            label: The name of an argument, such as "x" or "params['w']", or the label of an operation, such as "u3".

        Raises:
            KeyError: If there is no such node.
        """
        if label not in self.by_label:
            near = difflib.get_close_matches(str(label), self.by_label, 3)
            hint = f"; similar labels are {', '.join(near)}" if near else ""
            raise KeyError(f"{self.name} has no node {label!r}: it has {len(self.nodes)}, listed in graph.nodes{hint}")
        return self.by_label[label]

    def __repr__(self) -> str:
        return f"<graph of {self.name}: {len(self.nodes)} nodes>"

    @property
    def has_values(self) -> bool:
        """Whether the graph was traced on arrays, so that its nodes have values; if not, they have only types."""
        return all(x.node.kept is not None for x in self.flat_arguments)

    # --- values and derivatives --------------------------------------------------------------------

    def evaluate(self) -> Graph:
        """Computes the values of all nodes that have none.

        Returns:
            The graph itself.

        Raises:
            ValueError: If the graph was traced on types alone, or an operation cannot be evaluated.
        """
        passes.compute_values(self)
        return self

    def backward(self, cotangent: Any = 1, *, retain: bool = False) -> Graph:
        """Computes the adjoint of every node and every edge: the gradient of Σ cotangent · output.

        Values are freed when the pass no longer needs them, except those of arguments and outputs. They are computed
        again on use.

        Args:
            cotangent: A pytree like the output, with None for an array without a cotangent; 1 for a single number.
            retain: Whether to keep all values.

        Returns:
            The graph itself.

        Raises:
            ValueError: If the cotangent does not fit the output, or a node has no derivative in reverse mode.
            TypeError: If a cotangent is given for an output that is not a floating-point array.
        """
        passes.backward_pass(self, passes.seeds(self, cotangent), retain)
        return self

    def forward(self, *tangents: Any) -> Graph:
        """Computes the tangent of every node: its directional derivative along `tangents`.

        Args:
            tangents: For each positional argument a pytree like it, or None for an argument that is constant.

        Returns:
            The graph itself.

        Raises:
            ValueError: If the tangents do not fit the arguments, or a node has no derivative in forward mode.
            TypeError: If a tangent is given for an argument that is not a floating-point array.
        """
        passes.forward_pass(self, passes.tangents_by_argument(self, tangents))
        return self

    def grad(self, outputs: Any, inputs: Any, cotangents: Any = None) -> Any:
        """The gradient of any nodes with respect to any other nodes. Nothing is stored in the graph.

        Args:
            outputs: A node, an `Output`, a label, or a pytree of these.
            inputs: The same.
            cotangents: A pytree like outputs; by default 1 for each, which must then be a single number.

        Returns:
            A pytree like inputs, with 0 where outputs do not depend on an input.

        Raises:
            ValueError: If the cotangents do not fit the outputs, a node is of another graph or has several outputs, or
                has no derivative in reverse mode.
            TypeError: If an input is not a floating-point array.

        Examples:
            >>> graph = jaxdl.trace(lambda x: jnp.exp(jnp.sin(x)), 0.0)
            >>> float(graph.grad("u2", "u1"))  # exp(u1) by u1
            1.0
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
                raise ValueError(f"{node.label} ({node.name}) has {len(node.types)} outputs: choose one, as node[0]")
            node = node[0]
        if node.node.graph is not self:
            raise ValueError(f"{node} is a node of another graph, that of {node.node.graph.name}")
        return node

    def inside(self, node: Node | str, step: int = 0) -> Graph:
        """The graph of what a node does: a loop in one step, the branch taken, a checkpoint's or a rule's function.

        It has the values that occur there, and the adjoints if this graph has had a backward pass.

        Args:
            node: A node that is a loop, a branch, a checkpoint or a rule, or its label.
            step: The step of a loop, from 0.

        Raises:
            ValueError: If the node is a single operation.
            IndexError: If the loop has no such step.
        """
        node = self[node] if isinstance(node, str) else node
        body = body_of(node, step)
        inner = Graph(f"{node.label}: {node.name}", body.jaxpr, jx.argument_names(body.jaxpr), body.arrays)
        if body.cotangents is not None:
            starts = [inner.flat_arguments[i] for i in body.active]
            passes.backward_pass(inner, passes.seeds(inner, body.cotangents), True, starts)
        return inner

    def steps(self) -> Iterator[PassStep]:
        """The forward pass and, after `backward`, the backward pass, one node at a time.

        Raises:
            ValueError: If the graph was traced on types alone.
        """
        self.evaluate()
        compute_local_gradients(self)
        return steps_of(self)

    def costs(self) -> Costs:
        """Floating-point operations of each node, forward and backward, and the bytes kept between the passes."""
        return costs_of(self)

    # --- tables, pictures, equations ---------------------------------------------------------------

    def table(self) -> Table:
        """The first nodes, each with its value, its adjoint and its line of source code."""
        if self.has_values:
            self.evaluate()
        return summary.table(self)

    def to_json(self) -> dict[str, Any]:
        """All nodes with their inputs, types, values and adjoints. Arrays of over 1,000 numbers are null."""
        if self.has_values:
            self.evaluate()
        return summary.to_json(self)

    def plot(self, path: str | os.PathLike[str] | None = None, *, depth: int | None = None) -> Figure:
        """Draws the graph, with values above the edges and, after `backward`, adjoints below them.

        Args:
            path: Where to save the picture as well, in any format that `draw` writes.
            depth: How many levels of boxes are drawn open; by default as many as stay legible.

        Returns:
            The figure of matplotlib.
        """
        return Drawing(self, depth).plot(path)

    @overload
    def draw(self, path: None = None, *, depth: int | None = None) -> Svg: ...

    @overload
    def draw(self, path: str | os.PathLike[str], *, depth: int | None = None) -> None: ...

    def draw(self, path: str | os.PathLike[str] | None = None, *, depth: int | None = None) -> Svg | None:
        """The picture, which a notebook shows inline; or writes it to a file, with a choice of how many boxes are open.

        Args:
            path: Where to write: .svg, .png or .pdf, an interactive page (.html), text for Graphviz (.dot) or Mermaid
                (.mmd); None to return the picture.
            depth: How many levels of boxes are drawn open; 0 for none, by default as many as stay legible. A picture is
                one row from left to right, which this folds; a page wraps to the width of its window.

        Returns:
            The picture, if no path is given.

        Raises:
            ValueError: If the path has another suffix, or the depth is no whole number, or negative.

        Examples:
            >>> graph = jaxdl.trace(lambda x, y: x * y, 2.0, 3.0).backward()
            >>> "3 = 3 · 1" in graph.draw().text  # ∂L/∂x = local · upstream
            True
        """
        drawing = Drawing(self, depth)
        return drawing.svg() if path is None else drawing.save(path)

    def _repr_html_(self) -> str:
        """What a notebook shows: the interactive page, in a frame."""
        return Drawing(self)._repr_html_()

    def _forms(self) -> dict[str, Callable[[], bytes]]:
        return super()._forms() | Drawing(self)._forms()

    def latex(self) -> str:
        """The forward and the backward pass as equations in LaTeX: u⁽¹⁾ … L, then ∂L/∂u⁽ⁱ⁾ back to the arguments.

        An operation for which no formula is known is written by its name, its derivative as ∂u/∂x.

        Raises:
            ValueError: If the function does not return a single floating-point array.
        """
        return latex(self)

    @overload
    def derive(self, path: None = None) -> Svg: ...

    @overload
    def derive(self, path: str | os.PathLike[str]) -> None: ...

    def derive(self, path: str | os.PathLike[str] | None = None) -> Svg | None:
        """The equations of `latex`, typeset, which a notebook shows inline; or writes them to a file.

        Args:
            path: Where to write: typeset as .svg, .png or .pdf, a page (.html), or the LaTeX (.tex); None to return
                the picture.

        Returns:
            The picture, if no path is given.

        Raises:
            ValueError: If the path has another suffix, or the function does not return a single floating-point array.
        """
        equations = Derivation(self)
        return equations.svg() if path is None else equations.save(path)
