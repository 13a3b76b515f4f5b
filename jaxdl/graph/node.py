"""What a graph is made of: nodes, one for each argument, constant and operation, and the edges between them."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx

ARGUMENT, CONSTANT, OPERATION, RULE, BOX, RESULT = "argument", "constant", "operation", "rule", "box", "result"


class Scope(NamedTuple):
    """A part of a function that is drawn as a box: a named scope, or one call of a jitted function."""

    name: str
    call: int = 0  # tells the calls of one function apart; 0 for named scopes


@dataclass(eq=False)
class Node:
    """An argument, a constant, or an operation of a traced function.

    kind: "argument", "constant", "operation", "rule" (a hand-written derivative rule is used here) or "box" (a loop, a
    branch or a checkpoint, which `graph.inside` opens). label: the argument's name, "c1", … for constants, "u1", "u2",
    … for operations in the order of evaluation, or the name that the function gives by `checkpoint_name`. inputs: an
    `Edge` for each array that goes in; numbers that are written in the program are here as they are. types: of the
    outputs. users: the edges that leave it.
    """

    graph: Any = field(repr=False)
    number: int
    label: str
    name: str
    kind: str
    scope: tuple[Scope, ...]
    equation: Any = field(repr=False)
    types: tuple[jax.ShapeDtypeStruct, ...]
    inputs: tuple = field(default=(), repr=False)
    users: list = field(default_factory=list, repr=False)
    kept: list | None = field(default=None, repr=False)
    adjoints: list = field(default=None, repr=False)
    tangents: list = field(default=None, repr=False)

    @property
    def edges(self) -> list["Edge"]:
        """Those that come in."""
        return [e for e in self.inputs if isinstance(e, Edge)]

    @property
    def values(self) -> list:
        """The output arrays; computed when first asked for, and again after a sweep has let go of them."""
        if self.kept is None:
            self.graph.evaluate()
        return self.kept

    @property
    def value(self):
        """The output array; a list where there are several."""
        return _only(self.values)

    @property
    def adjoint(self):
        """The derivative of what `backward` was called on with respect to the output; None where nothing flows back."""
        return _only(self.adjoints) if self.adjoints else None

    @property
    def tangent(self):
        """The derivative of the output along what `forward` was called with; None where nothing moves."""
        return _only(self.tangents) if self.tangents else None

    @property
    def type(self):
        return _only(self.types)

    @property
    def where(self) -> str:
        """The line of source that made it."""
        return jx.where(self.equation) if self.equation is not None else ""

    def __getitem__(self, output: int) -> "Output":
        """One of several outputs, to differentiate or to start from."""
        if not 0 <= output < len(self.types):
            raise IndexError(f"{self.label} ({self.name}) has {len(self.types)} outputs, there is no output {output}")
        return Output(self, output)

    def __repr__(self):
        return f"<{self.label}: {self.name} {', '.join(map(jx.typed, self.types))}>"


class Output(NamedTuple):
    """One output of a node."""

    node: Node
    place: int

    @property
    def type(self):
        return self.node.types[self.place]

    @property
    def value(self):
        return self.node.values[self.place]

    @property
    def is_smooth(self) -> bool:
        return jnp.issubdtype(self.type.dtype, jnp.inexact)

    def __repr__(self):
        return self.node.label if len(self.node.types) == 1 else f"{self.node.label}[{self.place}]"


@dataclass(eq=False)
class Edge:
    """An array on its way from the output of a node to an input of another.

    adjoint: what the target sends back along it, its cotangent times the local Jacobian; filled by `backward`.
    """

    source: Output
    target: Node
    place: int
    adjoint: Any = field(default=None, repr=False)

    @property
    def value(self):
        return self.source.value

    def __repr__(self):
        return f"<{self.source} → {self.target.label}>"


def _only(outputs):
    return outputs[0] if len(outputs) == 1 else outputs
