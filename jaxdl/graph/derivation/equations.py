"""The forward and backward pass of a graph in LaTeX: u⁽¹⁾ … L, and ∂L/∂u⁽ⁱ⁾ back to the arguments."""

from __future__ import annotations

import inspect
import re

from jaxdl import jaxpr as jx
from jaxdl.graph.derivation.formulas import FORMULAS, OP_FORMULAS, PRODUCTS, SETTINGS, SHAPES, SOFTPLUS
from jaxdl.graph.derivation.layer_names import parameters_in_layers
from jaxdl.graph.node import RULE, AnyGraph, Edge, Node, Output


def equations_of(graph: AnyGraph) -> tuple[list[str], list[str]]:
    """The equations of the forward pass, one for each operation, and of the backward pass, one for each adjoint.

    Auxiliary definitions come before the equations that use them.
    """
    if len(graph.flat_outputs) != 1 or not graph.flat_outputs[0].is_smooth:
        raise ValueError(f"latex: {graph.name} returns {graph.outputs}; equations need a single floating-point array")
    end = graph.flat_outputs[0]
    loss = _loss(graph, end)
    forward = []
    for node in graph.nodes:
        if node.equation is not None:
            computed, *definitions = _filled(formula_of(node)[0], node)
            forward += [*definitions, f"{_left(node)} = {computed}"]
    if loss != _symbol(end):
        forward.append(f"{loss} = {_symbol(end)}")
    reached, backward = {end}, [rf"{_derivative(loss, end)} = 1"]
    for node in reversed(graph.nodes):
        for k in range(len(node.types)):
            x = Output(node, k)
            sent = [_contribution(edge, loss) for edge in node.users if edge.source == x and _flows(edge, reached)]
            if sent and x.is_smooth:
                reached.add(x)
                definitions = dict.fromkeys(line for _, *lines in sent for line in lines if line not in backward)
                backward += [*definitions, f"{_derivative(loss, x)} = {_summed([term for term, *_ in sent])}"]
    return [_with_layers(line, graph) for line in forward], [_with_layers(line, graph) for line in backward]


def _with_layers(line, graph):
    for node, (key, layer) in parameters_in_layers(graph).items():
        name = key if len(key) == 1 else _upright(key)
        line = line.replace(_symbol(Output(node, 0)), rf"{name}_{{{_upright(layer)}}}")
    return line


def _is_zero(x):
    return not isinstance(x, Edge) and float(x) == 0


def _loss(graph, end):
    """What is differentiated, as in ∂L/∂x: L if the result or the function is called a loss, else its name."""
    is_loss = "loss" in f"{end.node.label} {graph.name}".lower()
    return "L" if is_loss and "L" not in graph.by_label else _symbol(end)


def latex(graph: AnyGraph) -> str:
    """Both passes as an `align*` environment of LaTeX's amsmath."""
    forward, backward = equations_of(graph)
    aligned = lambda lines: " \\\\\n".join(line.replace(" = ", " &= ", 1) for line in lines)
    return f"\\begin{{align*}}\n{aligned(forward)} \\\\[1ex]\n{aligned(backward)}\n\\end{{align*}}\n"


def _flows(edge, reached):
    return any(Output(edge.target, k) in reached for k in range(len(edge.target.types)))


def _summed(terms):
    return terms[0] + "".join(f" {t}" if t.startswith("-") else f" + {t}" for t in terms[1:])


def _contribution(edge, loss):
    """What the target of an edge contributes to its source, and the definitions it uses."""
    formula = formula_of(edge.target)
    upstream = _derivative(loss, Output(edge.target, 0))
    if edge.place + 1 < len(formula):
        return _filled(formula[edge.place + 1], edge.target, upstream)
    inner = rf"\frac{{\partial {_symbol(Output(edge.target, 0))}}}{{\partial {_symbol(edge.source)}}}"
    return [rf"{upstream} {inner}"]


def formula_of(node: Node) -> tuple[str, ...]:
    """What a node computes and what it contributes to each input; only its name if no formula is known.

    Rules of other authors may have any name: only relu and logaddexp, which are JAX's, have formulas here.
    """
    if jx.op_call(node.equation) is not None:
        known = _of_rule(node)
    else:
        known = _of_primitive(node) if node.kind != RULE or node.name in ("relu", "logaddexp") else None
    inputs = ", ".join("abcdefg"[i] if i < 6 else r"\ldots" for i in range(min(len(node.inputs), 7)))
    return known or (rf"\mathrm{{{_plain(node.name)}}}({inputs})",)


def _of_primitive(node):
    count = len(node.inputs)
    if node.name == "dot_general":
        return _product(node)
    if node.name == "logaddexp" and _is_zero(node.inputs[1]):
        return SOFTPLUS
    if node.name == "integer_pow":
        n = jx.exponent(node.equation)
        power = rf"a^{{{n - 1}}}" if n != 2 else "a"
        return rf"a^{{{n}}}", rf"{n} g · {power}" if n >= 0 else rf"- {-n} g · {power}"
    if node.name == "concatenate" and count <= 6:
        parts = [rf"\mathrm{{part}}_{{{k + 1}}}(g)" for k in range(count)]
        return rf"[{', '.join('abcdef'[:count])}]", *parts
    if node.name == "cumsum" and jx.parameters(node.equation)["reverse"]:
        ahead, back = FORMULAS["cumsum"]
        return back.replace("(g)", "(a)"), ahead.replace("(a)", "(g)")
    if node.name == "select_n" and (count > 3 or node.equation.invars[0].aval.dtype != bool):
        return None
    return FORMULAS.get(node.name)


def _product(node):
    """Formulas for products of matrices and vectors, and of batches of matrices with leading batch dimensions."""
    (left, right), (batch, of_right) = jx.dot(node.equation)
    ranks = [len(v.aval.shape) - len(batch) for v in node.equation.invars]
    if 0 in ranks and not batch:
        return FORMULAS["mul"]
    if len(left) != 1 or batch != of_right or [*batch] != [*range(len(batch))] or (batch and ranks != [2, 2]):
        return None
    left, right = left[0] - len(batch), right[0] - len(batch)
    x_rank, y_rank = ranks
    if x_rank > 2 and (left, right, y_rank) == (x_rank - 1, 0, 2):
        return PRODUCTS[1, 0, 2, 2]  # rows in several dimensions
    return PRODUCTS.get((left, right, x_rank, y_rank))


def _of_rule(node):
    """Formulas for an op of jaxdl, if they hold for its settings and shapes."""
    primal, settings = (getattr(jx.op_call(node.equation), name, None) for name in ("definition", "settings"))
    if primal is None or not str(primal.__module__).startswith("jaxdl.ops"):
        return None
    defaults = inspect.signature(primal).parameters
    if any(name not in SETTINGS and value != defaults[name].default for name, value in settings or ()):
        return None
    shapes = [v.aval.shape for v in node.equation.invars]
    return OP_FORMULAS.get(node.name) if SHAPES.get(node.name, lambda *_: True)(*shapes) else None


def _filled(formula, node, upstream=""):
    """A formula and its definitions with the letters replaced; products of single numbers have no sign."""
    words = {"g": upstream, "y": _symbol(Output(node, 0))}
    for letter, x in zip("abcdef", node.inputs, strict=False):
        words[letter] = _symbol(x.source) if isinstance(x, Edge) else _number(x)
    if len(node.inputs) > 6:
        words["f"] = r"\ldots"
    own = re.sub(r"^u(?=\d+$)", "", _plain(node.label))
    words |= {letter: rf"{letter}_{{{own}}}" for letter in "DGNPSs"}
    return _LETTER.sub(lambda m: _word(words.get(m[1], m[1]), m[2]), _with_signs(formula, node)).split("; ")


def _with_signs(formula, node):
    """The sign of each elementwise product: none if a factor is a single number, else that of Hadamard's product."""
    single = {letter for letter, x in zip("abcdef", node.inputs, strict=False) if not _shape(x)}
    single |= {"g", "y"} if not any(t.shape for t in node.types) else set()
    all_single = single >= {"g", *"abcdef"[: len(node.inputs)]}
    is_single = lambda m: all_single or m[1] in single or m[2] in single
    return _PRODUCT.sub(lambda m: (m[1] or "") + (r" \, " if is_single(m) else r" \odot "), formula)


def _shape(x):
    return x.source.type.shape if isinstance(x, Edge) else ()


_PRODUCT = re.compile(r"((?<![\\a-zA-Z])[a-gy])? · (?=([a-gy](?![a-zA-Z]))?)")  # with factors that are one letter
_LETTER = re.compile(r"(?<![\\a-zA-Z])([a-gyDGNPSs])(?![a-zA-Z])(\^?)")


def _word(text, power):
    """Brackets around an expression that is raised to a power."""
    return rf"\left({text}\right)^" if power and ("^" in text or " " in text) else text + power


def _number(x):
    return f"{float(x):g}" if float(x) >= 0 else f"({float(x):g})"


def _derivative(loss, x):
    return rf"\frac{{\partial {loss}}}{{\partial {_symbol(x)}}}"


def _left(node):
    return ", ".join(_symbol(Output(node, k)) for k in range(len(node.types)))


def _symbol(x: Output) -> str:
    """u⁽³⁾ for u3; the name of an argument."""
    label = x.node.label
    if numbered := re.fullmatch(r"([a-z])(\d+)", label):
        text = rf"{numbered[1]}^{{({numbered[2]})}}"
    else:
        text = label if len(label) == 1 else _upright(label)
    return text if len(x.node.types) == 1 else rf"{text}_{{{x.place}}}"


# Characters that are special in LaTeX, by commands that matplotlib knows too. Quotes around keys are dropped.
_IN_LATEX = str.maketrans(
    {
        "_": r"\_", "$": r"\$", "%": r"\%", "{": r"\{", "}": r"\}", "\\": r"\backslash ", "#": r"\sharp ",
        "&": r"\wedge ", "^": r"\uparrow ", "~": r"\sim ", "'": "", '"': "", "`": "",
    }
)  # fmt: skip


def _upright(text):
    return rf"\mathrm{{{_plain(text)}}}"


def _plain(text):
    return " ".join(text.split()).translate(_IN_LATEX)
