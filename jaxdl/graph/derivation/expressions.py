"""What a node computes, and what it contributes to gradients, as expressions of its inputs."""

from __future__ import annotations

import re

import numpy as np

from jaxdl.graph.derivation.formula_choice import formula_of
from jaxdl.graph.derivation.products import Product, bracketed, product_of, summed, symbol, times
from jaxdl.graph.derivation.symbols import number, output_symbol, plain
from jaxdl.graph.node import ARGUMENT, Edge, Node, Output

INLINE = {"add", "sub", "mul", "neg", "transpose", "convert_element_type"}


def value_of(node: Node) -> tuple[str, list[str]]:
    """What a node computes, and the definitions that this uses."""
    return _split(formula_of(node)[0], node)


def definitions_of(edge: Edge, upstream: Product) -> list[str]:
    """The definitions that the contribution along an edge uses."""
    return _split(_back(edge), edge.target, upstream)[1]


def contribution(edge: Edge, upstream: Product, y: Output) -> Product:
    """What an output y of an edge's target contributes to the gradient of its source; `upstream` is that of y."""
    is_number = not edge.source.type.shape
    if edge.place + 1 >= len(formula_of(edge.target)):  # no formula is known
        return times(upstream, symbol(_partial_derivative(edge, y), is_number))
    is_repeated = is_number and bool(edge.target.types[0].shape) and edge.target.name != "broadcast_in_dim"
    found = _product(_back(edge).split("; ")[0], edge.target, upstream, is_number and not is_repeated)
    return summed(found) if is_repeated else found


def _partial_derivative(edge, y):
    """∂u/∂x, or ∂₂u, by the second input, where x is several inputs."""
    if sum(other.source == edge.source for other in edge.target.edges) > 1:
        return rf"\partial_{{{edge.place + 1}}} {output_symbol(y)}"
    return rf"\frac{{\partial {output_symbol(y)}}}{{\partial {output_symbol(edge.source)}}}"


def needs_upstream(edge: Edge) -> bool:
    """Whether a definition that the contribution uses has the target's gradient in it."""
    return any(re.search(r"(?<![a-z\\])g(?![a-z])", line) for line in _back(edge).split("; ")[1:])


def is_inline(node: Node, depth: int = 3) -> bool:
    """Whether a node is written where it is used, once: an expression without a name of one variable and numbers, such
    as 1 − 2y and Wᵀ, or a number that is repeated to the shape of an array.
    """
    if node.equation is None or node.is_named or len(node.users) != 1 or len(node.edges) != 1:
        return False
    if Output(node, 0) in node.graph.flat_outputs:
        return False
    if _repeats_a_number(node):
        return True
    source = node.edges[0].source.node
    return node.name in INLINE and (source.kind == ARGUMENT or (depth > 0 and is_inline(source, depth - 1)))


def _repeats_a_number(node):
    return node.name == "broadcast_in_dim" and not node.edges[0].source.type.shape


def _back(edge):
    """The formula of the contribution along an edge, if there is one."""
    formulas = formula_of(edge.target)
    return formulas[edge.place + 1] if edge.place + 1 < len(formulas) else ""


def _split(formula, node, upstream=None):
    main, *definitions = formula.split("; ")
    is_number = not any(t.shape for t in node.types)
    of_gradients = upstream or Product()
    lines = [_filled(line, node, of_gradients) for line in definitions]
    return str(_product(main, node, of_gradients, is_number)), lines


def _product(formula, node, upstream, is_number):
    operands = _operands(node) | {"g": upstream}
    single = lambda piece: _is_number(piece, node)
    found = product_of(formula, operands, lambda piece: _filled(piece, node, upstream), single)
    return found or symbol(_filled(formula, node, upstream), is_number)


def _operands(node) -> dict[str, Product]:
    """By letter, the inputs of a node and its value."""
    inputs = zip("abcdef", node.inputs, strict=False)
    y = symbol(output_symbol(Output(node, 0)), not node.types[0].shape)
    return {letter: _operand(x) for letter, x in inputs} | {"y": y}


def _operand(x) -> Product:
    if not isinstance(x, Edge):
        return Product(negative=x < 0, numbers=(number(abs(x)),)) if np.isreal(x) else symbol(number(x), is_number=True)
    node, is_number = x.source.node, not x.source.type.shape
    if not is_inline(node):
        return symbol(output_symbol(x.source), is_number)
    if _repeats_a_number(node):
        return _operand(node.edges[0])
    return _product(formula_of(node)[0], node, Product(), is_number)


def _is_number(piece, node):
    """Whether a piece of a formula is a single number: all letters in it are."""
    shapes = {letter: _shape(x) for letter, x in zip("abcdef", node.inputs, strict=False)}
    of_node = next((t.shape for t in node.types if t.shape), ())
    shapes |= dict.fromkeys("gyDFGNPSs", of_node)
    letters = [m[1] for m in _LETTER.finditer(piece) if m[1] in shapes]
    return not any(shapes[letter] for letter in letters) if letters else r"\mathbf" not in piece


def _shape(x):
    return x.source.type.shape if isinstance(x, Edge) else ()


def _filled(formula, node, upstream: Product):
    """A formula with the letters replaced; products of single numbers have no sign."""
    words = {letter: bracketed(str(operand)) for letter, operand in _operands(node).items()}
    words["g"] = bracketed(str(upstream))
    if len(node.inputs) > 6:
        words["f"] = r"\ldots"
    own = re.sub(r"^u(?=\d+$)", "", plain(node.label))
    words |= {letter: rf"{letter}_{{{own}}}" for letter in "DGNPSs"} | {"F": _derivative_of_relu(node, own)}
    return _LETTER.sub(lambda m: _word(words.get(m[1], m[1]), m[2]), _with_signs(formula, node))


def _derivative_of_relu(node, own):
    """f, with an index where a graph has several ReLUs or uses the name."""
    alone = sum(other.name == "relu" for other in node.graph.nodes) == 1 and "f" not in node.graph.by_label
    return "f" if alone else rf"f_{{{own}}}"


def _with_signs(formula, node):
    """The sign of each elementwise product: none if a factor is a single number, else that of Hadamard's product."""
    single = {letter for letter, x in zip("abcdef", node.inputs, strict=False) if not _shape(x)}
    single |= {"g", "y"} if not any(t.shape for t in node.types) else set()
    all_single = single >= {"g", *"abcdef"[: len(node.inputs)]}
    is_single = lambda m: all_single or m[1] in single or m[2] in single
    return _PRODUCT.sub(lambda m: (m[1] or "") + (r" \, " if is_single(m) else r" \odot "), formula)


_PRODUCT = re.compile(r"((?<![\\a-zA-Z])[a-gy])? · (?=([a-gy](?![a-zA-Z]))?)")  # with factors that are one letter
_LETTER = re.compile(r"(?<![\\a-zA-Z])([a-gyDFGNPSs])(?![a-zA-Z])(\^?)")


def _word(text, power):
    """Brackets around an expression that is raised to a power."""
    return rf"\left({text}\right)^" if power and ("^" in text or " " in text) else text + power
