"""A graph's forward and backward pass as equations in LaTeX: u⁽¹⁾ … L, and ∂L/∂u⁽ⁱ⁾ back to the arguments.

For each operation one line of a table: what it computes of its inputs a, b, and what it sends back to each of them, of
these, its output y and the derivative g of L with respect to that.
"""

import re

from jaxdl.graph.node import Edge, Output

FORMULAS = {
    "abs": (r"|a|", r"g · \mathrm{sign}(a)"),
    "add": (r"a + b", r"g", r"g"),
    "add_any": (r"a + b", r"g", r"g"),
    "broadcast_in_dim": (r"\mathrm{broadcast}(a)", r"\sum g"),
    "convert_element_type": (r"a", r"g"),
    "cos": (r"\cos(a)", r"- g · \sin(a)"),
    "div": (r"\frac{a}{b}", r"\frac{g}{b}", r"- g · \frac{y}{b}"),
    "erf": (r"\mathrm{erf}(a)", r"g · \frac{2}{\sqrt{\pi}} e^{-a^2}"),
    "exp": (r"e^{a}", r"g · y"),
    "expm1": (r"e^{a} - 1", r"g · (y + 1)"),
    "log": (r"\log(a)", r"\frac{g}{a}"),
    "log1p": (r"\log(1 + a)", r"\frac{g}{1 + a}"),
    "logaddexp": (r"\log(e^{a} + e^{b})", r"g · e^{a - y}", r"g · e^{b - y}"),
    "logistic": (r"\sigma(a)", r"g · y · (1 - y)"),
    "max": (r"\max(a, b)", r"g · [a > b]", r"g · [b > a]"),
    "min": (r"\min(a, b)", r"g · [a < b]", r"g · [b < a]"),
    "mul": (r"a · b", r"g · b", r"g · a"),
    "neg": (r"-a", r"-g"),
    "pow": (r"a^{b}", r"g · b · a^{b - 1}", r"g · y · \log(a)"),
    "reduce_sum": (r"\sum a", r"g · \mathbf{1}"),
    "relu": (r"\max(0, a)", r"g · [a > 0]"),
    "reshape": (r"\mathrm{reshape}(a)", r"\mathrm{reshape}(g)"),
    "rsqrt": (r"\frac{1}{\sqrt{a}}", r"- \frac{1}{2} g · y^3"),
    "sin": (r"\sin(a)", r"g · \cos(a)"),
    "sqrt": (r"\sqrt{a}", r"\frac{g}{2 y}"),
    "square": (r"a^2", r"2 g · a"),
    "squeeze": (r"\mathrm{reshape}(a)", r"\mathrm{reshape}(g)"),
    "stop_gradient": (r"a", r"0"),
    "sub": (r"a - b", r"g", r"-g"),
    "tanh": (r"\tanh(a)", r"g · (1 - y^2)"),
    "transpose": (r"a^T", r"g^T"),
}
# Of a product by which dimensions meet, and of how many dimensions the factors are.
PRODUCTS = {
    (1, 0, 2, 2): (r"a\, b", r"g\, b^T", r"a^T g"),
    (1, 1, 2, 2): (r"a\, b^T", r"g\, b", r"g^T a"),
    (0, 0, 2, 2): (r"a^T b", r"b\, g^T", r"a\, g"),
    (1, 0, 2, 1): (r"a\, b", r"g\, b^T", r"a^T g"),
    (0, 0, 2, 1): (r"a^T b", r"b\, g^T", r"a\, g"),
    (0, 0, 1, 2): (r"b^T a", r"b\, g", r"a\, g^T"),
    (0, 1, 1, 2): (r"b\, a", r"b^T g", r"g\, a^T"),
    (0, 0, 1, 1): (r"a^T b", r"g\, b", r"g\, a"),
}


def equations(graph) -> tuple[list[str], list[str]]:
    """Those of the forward pass, one for each operation, and of the backward pass, one for each array it reaches."""
    if len(graph.flat_outputs) != 1 or not graph.flat_outputs[0].is_smooth:
        raise ValueError(f"latex: {graph.name} gives {graph.outputs}; derivatives are written of one array")
    end = graph.flat_outputs[0]
    loss = _symbol(end)
    forward = [
        f"{_left(node)} = {_filled(_formula(node)[0], node)}" for node in graph.nodes if node.equation is not None
    ]
    reached, backward = {end}, [rf"{_derivative(loss, end)} = 1"]
    for node in reversed(graph.nodes):
        for k in range(len(node.types)):
            x = Output(node, k)
            terms = [_sent(edge, loss) for edge in node.users if edge.source == x and _flows(edge, reached)]
            if terms and x.is_smooth:
                reached.add(x)
                backward.append(f"{_derivative(loss, x)} = {_summed(terms)}")
    return forward, backward


def latex(graph) -> str:
    """Both passes in an `align*` of LaTeX's amsmath."""
    forward, backward = equations(graph)
    aligned = lambda lines: " \\\\\n".join(line.replace(" = ", " &= ", 1) for line in lines)
    return f"\\begin{{align*}}\n{aligned(forward)} \\\\[1ex]\n{aligned(backward)}\n\\end{{align*}}\n"


def _flows(edge, reached):
    return any(Output(edge.target, k) in reached for k in range(len(edge.target.types)))


def _summed(terms):
    return terms[0] + "".join(f" {t}" if t.startswith("-") else f" + {t}" for t in terms[1:])


def _sent(edge, loss):
    """What the target sends back along an edge."""
    formula = _formula(edge.target)
    upstream = _derivative(loss, Output(edge.target, 0))
    if edge.place + 1 < len(formula):
        return _filled(formula[edge.place + 1], edge.target, upstream)
    inner = rf"\frac{{\partial {_symbol(Output(edge.target, 0))}}}{{\partial {_symbol(edge.source)}}}"
    return rf"{upstream} {inner}"


def _formula(node):
    """What a node computes, and what it sends to each input; of an operation without a formula its name alone."""
    if node.name == "dot_general":
        (left, right), (batch, _) = node.equation.params["dimension_numbers"]
        ranks = [len(v.aval.shape) for v in node.equation.invars]
        known = PRODUCTS.get((*left, *right, *ranks)) if not batch and len(left) == 1 else None
        if known or 0 in ranks:
            return known or FORMULAS["mul"]
    if node.name == "integer_pow":
        n = node.equation.params["y"]
        power = rf"a^{{{n - 1}}}" if n != 2 else "a"
        return rf"a^{{{n}}}", rf"{n} g · {power}" if n >= 0 else rf"- {-n} g · {power}"
    if node.name in FORMULAS:
        return FORMULAS[node.name]
    inputs = ", ".join("abcdefg"[i] if i < 6 else r"\ldots" for i in range(min(len(node.inputs), 7)))
    return (rf"\mathrm{{{_plain(node.name)}}}({inputs})",)


def _filled(formula, node, upstream=""):
    """A formula with what stands for its letters; products of single numbers need no sign."""
    words = {"g": upstream, "y": _symbol(Output(node, 0))}
    for letter, x in zip("abcdef", node.inputs, strict=False):
        words[letter] = _symbol(x.source) if isinstance(x, Edge) else _number(x)
    if len(node.inputs) > 6:
        words["f"] = r"\ldots"
    text = re.sub(r"(?<![\\a-zA-Z])([a-gy])(?![a-zA-Z])(\^?)", lambda m: _word(words.get(m[1], m[1]), m[2]), formula)
    is_number = all(t.shape == () for t in node.types) and all(e.source.type.shape == () for e in node.edges)
    return text.replace("·", r"\," if is_number else r"\odot")


def _word(text, power):
    """What has a power already stands in brackets before another."""
    return rf"\left({text}\right)^" if power and ("^" in text or " " in text) else text + power


def _number(x):
    return f"{float(x):g}" if float(x) >= 0 else f"({float(x):g})"


def _derivative(loss, x):
    return rf"\frac{{\partial {loss}}}{{\partial {_symbol(x)}}}"


def _left(node):
    return ", ".join(_symbol(Output(node, k)) for k in range(len(node.types)))


def _symbol(x: Output) -> str:
    """u⁽³⁾ of u3; the name of an argument."""
    label = x.node.label
    if numbered := re.fullmatch(r"([a-z])(\d+)", label):
        text = rf"{numbered[1]}^{{({numbered[2]})}}"
    else:
        text = label if len(label) == 1 else rf"\mathrm{{{_plain(label)}}}"
    return text if len(x.node.types) == 1 else rf"{text}_{{{x.place}}}"


def _plain(text):
    return text.replace("\\", "").replace("_", r"\_").replace("'", "").replace("{", "(").replace("}", ")")
