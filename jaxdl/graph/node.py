"""The parts of a graph: nodes, one for each argument, constant and operation, and the edges between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx

ARGUMENT, CONSTANT, OPERATION, RULE, BOX, RESULT = "argument", "constant", "operation", "rule", "box", "result"

AnyGraph: TypeAlias = Any  # a `Graph`, whose module imports this one


class Scope(NamedTuple):
    """A part of a function that is drawn as a box: a named scope, or one call of a jitted function.

    Attributes:
        name: The name of the scope or of the function.
        call: A number that distinguishes the calls of one function; 0 for a named scope.
    """

    name: str
    call: int = 0


@dataclass(eq=False)
class Node:
    """An argument, a constant or an operation of a traced function.

    Attributes:
        graph: The graph that the node belongs to.
        number: The position in `graph.nodes`.
        label: The name of an argument; for an operation the name that the function gives the value by
            `jax.ad_checkpoint.checkpoint_name`, or the variable to which its source assigns the value, else "u1", "u2",
            … in the order of evaluation ("v1" where the function has a variable u1); for a constant array the variable
            outside of the function that holds it, else "c1", "c2", …
        name: The name of the operation, such as "dot_general".
        kind: "argument", "constant", "operation", "rule" (an operation with a hand-written derivative rule), "box" (a
            loop, a branch or a checkpoint, which `graph.inside` opens) or "result" (in pictures only).
        scope: The scopes around the node, from the outside in.
        equation: The equation of the jaxpr; None for arguments and constants.
        types: Shape and dtype of each output.
        inputs: An `Edge` for each input array, and a number for each number written in the program.
        users: The edges to the nodes that use an output.
        numbers: In pictures of small graphs, the edges from numbers of the program, which are nodes there.
        is_named: Whether the function gives the value of the operation a name.
        kept: The output arrays, or None where they are not computed or were freed by a backward pass.
        adjoints: The adjoint of each output after `backward`, None where there is none.
        tangents: The tangent of each output after `forward`, None where there is none.
    """

    graph: AnyGraph = field(repr=False)
    number: int
    label: str
    name: str
    kind: str
    scope: tuple[Scope, ...]
    equation: Any = field(repr=False)
    types: tuple[jax.ShapeDtypeStruct, ...]
    inputs: tuple[Any, ...] = field(default=(), repr=False)
    users: list[Edge] = field(default_factory=list, repr=False)
    numbers: list[Edge] = field(default_factory=list, repr=False)
    is_named: bool = field(default=False, repr=False)
    kept: list[Any] | None = field(default=None, repr=False)
    adjoints: list[Any] | None = field(default=None, repr=False)
    tangents: list[Any] | None = field(default=None, repr=False)

    @property
    def edges(self) -> list[Edge]:
        """The incoming edges."""
        return [e for e in self.inputs if isinstance(e, Edge)]

    @property
    def drawn_edges(self) -> list[Edge]:
        """The incoming edges in a picture, in the order of the inputs."""
        return sorted([*self.edges, *self.numbers], key=lambda edge: edge.place)

    @property
    def values(self) -> list[Any]:
        """The output arrays, computed on first use and again after a backward pass has freed them."""
        if self.kept is None:
            self.graph.evaluate()
        assert self.kept is not None
        return self.kept

    @property
    def value(self) -> Any:
        """The output array, or the list of output arrays where there are several."""
        return _unpacked(self.values)

    @property
    def adjoint(self) -> Any:
        """The gradient with respect to the output after `backward`; None where no cotangent arrives."""
        return _unpacked(self.adjoints) if self.adjoints else None

    @property
    def tangent(self) -> Any:
        """The directional derivative of the output after `forward`; None where the output does not depend on it."""
        return _unpacked(self.tangents) if self.tangents else None

    @property
    def type(self) -> Any:
        """Shape and dtype of the output, or a tuple of them where there are several outputs."""
        return _unpacked(self.types)

    @property
    def where(self) -> str:
        """The line of source code that the operation comes from."""
        return jx.where(self.equation) if self.equation is not None else ""

    def __getitem__(self, output: int) -> Output:
        """One of several outputs.

        Args:
            output: The index of the output, from 0.

        Raises:
            IndexError: If there is no such output.
        """
        if not 0 <= output < len(self.types):
            raise IndexError(f"{self.label} ({self.name}) has {len(self.types)} outputs, there is no output {output}")
        return Output(self, output)

    def __repr__(self) -> str:
        return f"<{self.label}: {self.name} {', '.join(map(jx.typed, self.types))}>"


class Output(NamedTuple):
    """One output of a node.

    Attributes:
        node: The node.
        place: The index among the node's outputs.
    """

    node: Node
    place: int

    @property
    def type(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype."""
        return self.node.types[self.place]

    @property
    def value(self) -> Any:
        """The array."""
        return self.node.values[self.place]

    @property
    def is_smooth(self) -> bool:
        """Whether the dtype is a floating-point or complex one, so that there is a derivative."""
        return jnp.issubdtype(self.type.dtype, jnp.inexact)

    def __repr__(self) -> str:
        return self.node.label if len(self.node.types) == 1 else f"{self.node.label}[{self.place}]"


@dataclass(eq=False)
class Edge:
    """An output of one node that is an input of another.

    Attributes:
        source: The output.
        target: The node that uses it.
        place: The index among the target's inputs.
        adjoint: What the target contributes to the source's adjoint: its own adjoint times the local Jacobian. Set by
            `backward`.
        local: The local gradient, ∂target/∂source. Set by `Graph.steps` and by pictures after `backward`, where both
            have at most 4 numbers.
    """

    source: Output
    target: Node
    place: int
    adjoint: Any = field(default=None, repr=False)
    local: Any = field(default=None, repr=False)

    @property
    def value(self) -> Any:
        """The array."""
        return self.source.value

    def __repr__(self) -> str:
        return f"<{self.source} → {self.target.label}>"


def _unpacked(outputs):
    return outputs[0] if len(outputs) == 1 else outputs
