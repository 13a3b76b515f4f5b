"""The forward and backward pass of a graph in LaTeX: u⁽¹⁾ … L, and the gradients back to the arguments."""

from __future__ import annotations

from jaxdl.graph.derivation import expressions
from jaxdl.graph.derivation.layer_names import parameters_in_layers
from jaxdl.graph.derivation.products import Product, symbol
from jaxdl.graph.derivation.symbols import gradient_symbol, output_symbol, upright
from jaxdl.graph.node import AnyGraph, Edge, Output

MOST_LETTERS = 90  # of the LaTeX of a gradient in terms of values


def equations_of(graph: AnyGraph) -> tuple[list[str], list[str]]:
    """The equations of the forward pass, one for each operation, and of the backward pass, one for each gradient.

    A gradient is written with the gradient of the next value and, if that is short, with values alone. What has no name
    and is an expression of one variable and numbers, such as 1 − 2y or Wᵀ, is written where it is used. Auxiliary
    definitions come before the equations that use them.
    """
    if len(graph.flat_outputs) != 1 or not graph.flat_outputs[0].is_smooth:
        raise ValueError(f"latex: {graph.name} returns {graph.outputs}; equations need a single floating-point array")
    return _with_layers(_forward(graph), graph), _with_layers(_Backward(graph).lines, graph)


def latex(graph: AnyGraph) -> str:
    """Both passes as an `align*` environment of LaTeX's amsmath."""
    forward, backward = equations_of(graph)
    aligned = lambda lines: " \\\\\n".join(line.replace(" = ", " &= ", 1) for line in lines)
    return f"\\begin{{align*}}\n{aligned(forward)} \\\\[1ex]\n{aligned(backward)}\n\\end{{align*}}\n"


def _forward(graph):
    lines = []
    for node in graph.nodes:
        if node.equation is not None and node.types and not expressions.is_inline(node):
            value, definitions = expressions.value_of(node)
            outputs = ", ".join(output_symbol(Output(node, k)) for k in range(len(node.types)))
            lines += [*definitions, f"{outputs} = {value}"]
    loss, end = _loss(graph), output_symbol(graph.flat_outputs[0])
    return lines if loss == end else [*lines, f"{loss} = {end}"]


class _Backward:
    """The equations of the gradients.

    Attributes:
        lines: The equations.
        symbols: What stands for each gradient in them.
        values: The gradients in terms of values alone, where that is short.
    """

    def __init__(self, graph: AnyGraph):
        self.loss, self.end = _loss(graph), graph.flat_outputs[0]
        start = self._symbol(self.end)
        self.lines = [f"{start} = 1"]
        self.symbols = {self.end: start if self.end.type.shape else Product()}
        self.values = {} if self.end.type.shape else {self.end: Product()}
        for node in reversed(graph.nodes):
            for k in range(len(node.types)):
                self._add(Output(node, k))

    def _add(self, x: Output):
        edges = [edge for edge in x.node.users if edge.source == x and self._reached(edge)]
        if not edges or not x.is_smooth or x == self.end:
            return
        terms = [term for edge in edges for term in self._contributions(edge)]
        own, in_values = self._symbol(x), self._in_values(edges)
        if in_values:
            self.values[x] = in_values
        if expressions.is_inline(x.node):
            self.symbols[x] = terms[0]
            return
        self.symbols[x] = own
        for edge in edges:
            lines = expressions.definitions_of(edge, self._upstream(edge))
            self.lines += [line for line in lines if line not in self.lines]
        equal = [_sum(terms)]
        if in_values and str(in_values) != equal[0]:
            equal.append(str(in_values))
        self.lines.append(" = ".join([str(own), *equal]))

    def _in_values(self, edges: list[Edge]) -> Product | None:
        """The gradient in terms of values alone, if it is short."""
        y, *others = [y for edge in edges for y in self._reached(edge)]
        upstream = self.values.get(y)
        if others or upstream is None or expressions.needs_upstream(edges[0]):
            return None
        value = expressions.contribution(edges[0], upstream, y)
        return value if len(str(value)) <= MOST_LETTERS else None

    def _contributions(self, edge) -> list[Product]:
        """One for each output of the target to which something flows back."""
        return [expressions.contribution(edge, self.symbols[y], y) for y in self._reached(edge)]

    def _reached(self, edge) -> list[Output]:
        outputs = (Output(edge.target, k) for k in range(len(edge.target.types)))
        return [y for y in outputs if y in self.symbols]

    def _upstream(self, edge) -> Product:
        return self.symbols[self._reached(edge)[0]]

    def _symbol(self, x: Output) -> Product:
        return symbol(gradient_symbol(self.loss, x, self.end), not x.type.shape)


def _sum(terms: list[Product]) -> str:
    first, *others = map(str, terms)
    return first + "".join(f" {t[0]} {t[1:]}" if t.startswith("-") else f" + {t}" for t in others)


def _loss(graph):
    """What is differentiated, as in ∂L/∂x: L if the result or the function is called a loss, else its name."""
    end = graph.flat_outputs[0]
    is_loss = "loss" in f"{end.node.label} {graph.name}".lower()
    return "L" if is_loss and "L" not in graph.by_label else output_symbol(end)


def _with_layers(lines, graph):
    """Lines in which the parameters of layers have the names of their layers."""
    for node, (key, layer) in parameters_in_layers(graph).items():
        name = key if len(key) == 1 else upright(key)
        lines = [line.replace(output_symbol(Output(node, 0)), rf"{name}_{{{upright(layer)}}}") for line in lines]
    return lines
