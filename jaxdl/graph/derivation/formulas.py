r"""Formulas of operations in LaTeX.

Each entry has the value in terms of the inputs a, b, …, then the contribution to each input's adjoint, in terms of the
inputs, the output y and the output's adjoint g. · is the elementwise product, \, the matrix product, \star the
correlation with a kernel and \ast its transpose; [a > b] is 1 where it is true, else 0. n is the number of entries of a
mean, h the width of a head, F a derivative. Definitions follow after a semicolon; those of the value hold for the
contributions too.
"""

from collections.abc import Callable

FORMULAS: dict[str, tuple[str, ...]] = {
    "abs": (r"|a|", r"g · \mathrm{sign}(a)"),
    "acos": (r"\arccos(a)", r"- \frac{g}{\sqrt{1 - a^2}}"),
    "acosh": (r"\mathrm{arcosh}(a)", r"\frac{g}{\sqrt{a^2 - 1}}"),
    "add": (r"a + b", r"g", r"g"),
    "add_any": (r"a + b", r"g", r"g"),
    "asin": (r"\arcsin(a)", r"\frac{g}{\sqrt{1 - a^2}}"),
    "asinh": (r"\mathrm{arsinh}(a)", r"\frac{g}{\sqrt{a^2 + 1}}"),
    "atan": (r"\arctan(a)", r"\frac{g}{1 + a^2}"),
    "atan2": (r"\mathrm{atan2}(a, b)", r"g · \frac{b}{a^2 + b^2}", r"- g · \frac{a}{a^2 + b^2}"),
    "atanh": (r"\mathrm{artanh}(a)", r"\frac{g}{1 - a^2}"),
    "broadcast_in_dim": (r"\mathrm{broadcast}(a)", r"\sum g"),
    "cbrt": (r"\mathrm{cbrt}(a)", r"\frac{g}{3 y^2}"),
    "ceil": (r"\mathrm{ceil}(a)", r"0"),
    "clamp": (r"\min(\max(b, a), c)", r"g · [b < a]", r"g · [a < b] · [b < c]", r"g · [b > c]"),
    "conv_general_dilated": (r"a \star b", r"g \ast b", r"a \star g"),
    "convert_element_type": (r"a", r"g"),
    "cos": (r"\cos(a)", r"- g · \sin(a)"),
    "cosh": (r"\cosh(a)", r"g · \sinh(a)"),
    "cumsum": (r"\mathrm{cumsum}(a)", r"\mathrm{rev}(\mathrm{cumsum}(\mathrm{rev}(g)))"),
    "digamma": (r"\psi(a)", r"g · \psi_1(a)"),
    "div": (r"\frac{a}{b}", r"\frac{g}{b}", r"- g · \frac{y}{b}"),
    "eq": (r"[a = b]",),
    "erf": (r"\mathrm{erf}(a)", r"g · \frac{2}{\sqrt{\pi}} e^{-a^2}"),
    "erf_inv": (r"\mathrm{erfinv}(a)", r"g · \frac{\sqrt{\pi}}{2} e^{y^2}"),
    "erfc": (r"\mathrm{erfc}(a)", r"- g · \frac{2}{\sqrt{\pi}} e^{-a^2}"),
    "exp": (r"e^{a}", r"g · y"),
    "exp2": (r"2^{a}", r"g · y · \log(2)"),
    "expm1": (r"e^{a} - 1", r"g · (y + 1)"),
    "floor": (r"\mathrm{floor}(a)", r"0"),
    "ge": (r"[a \geq b]",),
    "gt": (r"[a > b]",),
    "le": (r"[a \leq b]",),
    "lgamma": (r"\mathrm{loggamma}(a)", r"g · \psi(a)"),
    "log": (r"\log(a)", r"\frac{g}{a}"),
    "log1p": (r"\log(1 + a)", r"\frac{g}{1 + a}"),
    "logaddexp": (r"\log(e^{a} + e^{b})", r"g · e^{a - y}", r"g · e^{b - y}"),
    "log2": (r"\frac{\log(a)}{\log(2)}", r"\frac{g}{a · \log(2)}"),
    "logistic": (r"\sigma(a)", r"g · y · (1 - y)"),
    "lt": (r"[a < b]",),
    "max": (r"\max(a, b)", r"g · [a > b]", r"g · [b > a]"),
    "min": (r"\min(a, b)", r"g · [a < b]", r"g · [b < a]"),
    "mul": (r"a · b", r"g · b", r"g · a"),
    "ne": (r"[a \neq b]",),
    "neg": (r"-a", r"-g"),
    "one_minus_square": (r"1 - a^2", r"-2 g · a"),
    "pad": (r"\mathrm{pad}(a)", r"\mathrm{slice}(g)"),
    "pow": (r"a^{b}", r"g · b · a^{b - 1}", r"g · y · \log(a)"),
    "reduce_max": (r"\max a", r"g · [a = y]"),
    "reduce_min": (r"\min a", r"g · [a = y]"),
    "reduce_prod": (r"\prod a", r"g · \frac{y}{a}"),
    "reduce_sum": (r"\sum a", r"g · \mathbf{1}"),
    "relu": (r"\max(0, a)", r"F · g; F = [a > 0]"),
    "rem": (r"a - \mathrm{trunc}(\frac{a}{b}) · b", r"g", r"- g · \mathrm{trunc}(\frac{a}{b})"),
    "reshape": (r"\mathrm{reshape}(a)", r"\mathrm{reshape}(g)"),
    "rev": (r"\mathrm{rev}(a)", r"\mathrm{rev}(g)"),
    "round": (r"\mathrm{round}(a)", r"0"),
    "rsqrt": (r"\frac{1}{\sqrt{a}}", r"- \frac{1}{2} g · y^3"),
    "select_n": (r"[a] · c + [\neg a] · b", r"0", r"g · [\neg a]", r"g · [a]"),
    "sign": (r"\mathrm{sign}(a)", r"0"),
    "sin": (r"\sin(a)", r"g · \cos(a)"),
    "sinh": (r"\sinh(a)", r"g · \cosh(a)"),
    "slice": (r"\mathrm{slice}(a)", r"\mathrm{pad}(g)"),
    "sqrt": (r"\sqrt{a}", r"\frac{g}{2 y}"),
    "square": (r"a^2", r"2 g · a"),
    "squeeze": (r"\mathrm{reshape}(a)", r"\mathrm{reshape}(g)"),
    "stop_gradient": (r"a", r"0"),
    "sub": (r"a - b", r"g", r"-g"),
    "tan": (r"\tan(a)", r"g · (1 + y^2)"),
    "tanh": (r"\tanh(a)", r"g · (1 - y^2)"),
    "transpose": (r"a^T", r"g^T"),
}
# Products, by the contracted dimension of each factor and the number of dimensions of each factor.
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
SOFTPLUS = (r"\zeta(a)", r"g · \sigma(a)")  # ζ(a) = log(1 + eᵃ); JAX computes it as logaddexp(a, 0)
# Ops of jaxdl.ops.
OP_FORMULAS: dict[str, tuple[str, ...]] = {
    "attention": (
        r"P\, c; P = \mathrm{softmax}(\frac{a\, b^T}{\sqrt{h}})",
        r"\frac{1}{\sqrt{h}} D\, b; D = P · (g\, c^T - \sum P · (g\, c^T))",
        r"\frac{1}{\sqrt{h}} D^T a; D = P · (g\, c^T - \sum P · (g\, c^T))",
        r"P^T g",
    ),
    "conv2d": FORMULAS["conv_general_dilated"],
    "conv2d_by_loops": FORMULAS["conv_general_dilated"],
    "conv_transpose2d": (r"a \ast b", r"g \star b", r"g \star a"),
    "dense": (r"a\, b + c", r"g\, b^T", r"a^T g", r"\sum g"),
    "elu": (r"\max(0, a) + e^{\min(0, a)} - 1", r"g · e^{\min(0, a)}"),
    "embedding": (r"\mathrm{onehot}(b)\, a", r"\mathrm{onehot}(b)^T g"),
    "gelu": (r"a · \Phi(a)", r"g · (\Phi(a) + a · \phi(a))"),
    "layer_norm": (
        r"N · b + c; s = \sqrt{\mathrm{mean}((a - \mathrm{mean}(a))^2) + \epsilon}; N = \frac{a - \mathrm{mean}(a)}{s}",
        r"\frac{1}{s} · (G - \mathrm{mean}(G) - N · \mathrm{mean}(G · N)); G = g · b",
        r"\sum g · N",
        r"\sum g",
    ),
    "linear_cross_entropy": (
        r"\mathrm{mean}(\log \sum e^{a\, b} - \sum \mathrm{onehot}(c) · (a\, b))",
        r"\frac{g}{n} S\, b^T; S = \mathrm{softmax}(a\, b) - \mathrm{onehot}(c)",
        r"\frac{g}{n} a^T S; S = \mathrm{softmax}(a\, b) - \mathrm{onehot}(c)",
    ),
    "log_softmax": (r"a - \log \sum e^{a}", r"g - e^{y} · \sum g"),
    "logistic_loss": (r"\zeta((1 - 2 b) · a)", r"g · (\sigma(a) - b)"),
    "logsumexp": (r"\log \sum e^{a}", r"g · e^{a - y}"),
    "matmul": PRODUCTS[1, 0, 2, 2],
    "mean": (r"\mathrm{mean}(a)", r"\frac{g}{n} \mathbf{1}"),
    "rms_norm": (
        r"N · b; s = \sqrt{\mathrm{mean}(a^2) + \epsilon}; N = \frac{a}{s}",
        r"\frac{1}{s} · (G - N · \mathrm{mean}(G · N)); G = g · b",
        r"\sum g · N",
    ),
    "silu": (r"a · \sigma(a)", r"g · \sigma(a) · (1 + a · (1 - \sigma(a)))"),
    "softmax": (r"\mathrm{softmax}(a)", r"y · (g - \sum g · y)"),
    "softmax_cross_entropy": (
        r"- \sum b · \mathrm{logsoftmax}(a)",
        r"g · (\mathrm{softmax}(a) - b)",
        r"- g · \mathrm{logsoftmax}(a)",
    ),
    "softmax_cross_entropy_with_integer_labels": (
        r"\log \sum e^{a} - \sum \mathrm{onehot}(b) · a",
        r"g · (\mathrm{softmax}(a) - \mathrm{onehot}(b))",
    ),
    "softplus": SOFTPLUS,
    "squared_error": (r"(a - b)^2", r"2 g · (a - b)", r"2 g · (b - a)"),
    "step": (r"[a \geq 0]", r"0"),
} | {
    name: FORMULAS[primitive]
    for name, primitive in {
        "add": "add", "divide": "div", "exp": "exp", "log": "log", "max": "reduce_max", "maximum": "max",
        "min": "reduce_min", "minimum": "min", "multiply": "mul", "negate": "neg", "power": "pow",
        "prod": "reduce_prod", "relu": "relu", "sigmoid": "logistic", "sqrt": "sqrt", "square": "square",
        "subtract": "sub", "sum": "reduce_sum", "tanh": "tanh",
    }.items()
}  # fmt: skip
# The formulas hold for any value of these settings; the others must have their defaults.
SETTINGS = {"axis", "keepdims", "epsilon", "stride", "padding", "dilation", "groups"}
# The formulas hold for these shapes of inputs: no broadcasting, no mask in attention, no bias.
SHAPES: dict[str, Callable[..., bool]] = {
    "attention": lambda q, k, v, *mask: not mask and q[2] == k[2],
    "conv2d_by_loops": lambda x, w, *b: not b,
    "matmul": lambda x, y: len(x) >= 2 and x[:-2] == y[:-2],
} | dict.fromkeys(("add", "divide", "maximum", "minimum", "multiply", "power", "subtract"), lambda x, y: x == y)
