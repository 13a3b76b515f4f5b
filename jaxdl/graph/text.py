"""Text in tables and pictures of graphs: symbols of operations, short values, formulas."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.graph.node import Edge, Node
from jaxdl.report import bytes_text, number_text

FEW = 4  # arrays of at most this size, and at most this many inputs of an operation, are written out
MOST_LETTERS = 24  # of the shapes of several arrays on an edge; page.html has the same number
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

INFIX = {
    "add": "+", "add_any": "+", "sub": "−", "mul": "×", "div": "÷", "dot_general": "@", "pow": "^", "max": "max",
    "min": "min", "gt": ">", "lt": "<", "ge": "≥", "le": "≤", "eq": "=", "ne": "≠", "and": "∧", "or": "∨",
}  # fmt: skip
SYMBOLS = INFIX | {
    "neg": "−", "reduce_sum": "Σ", "reduce_max": "max", "reduce_min": "min", "sqrt": "√",
    "conv_general_dilated": "conv", "broadcast_in_dim": "broadcast", "convert_element_type": "cast",
    "select_n": "select", "logistic": "σ", "square": "x²",
}  # fmt: skip
ORDERED = {"sub", "div", "pow", "dot_general", "rem", "atan2"}  # whose inputs are drawn in order, from above


def symbol(node: Node) -> str:
    """The text in a node: + × @ Σ or the operation's name, with inputs that are numbers: 2 ×, clamp(0, ·, 6)."""
    sign = SYMBOLS.get(node.name, node.name.removeprefix("reduce_"))
    if node.name == "integer_pow":
        return "x" + str(jx.exponent(node.equation)).translate(RAISED)
    numbers = ["" if isinstance(e, Edge) else value_text(np.asarray(e)) for e in node.inputs]
    if node.name == "logaddexp" and numbers == ["", "0"]:
        return "softplus"
    if node.numbers or not any(numbers) or len(numbers) > FEW:
        return sign
    if node.name in INFIX and len(numbers) == 2:
        return f"{numbers[0]} {sign} {numbers[1]}".strip()
    return f"{sign}({', '.join(number or '·' for number in numbers)})"


def shape_text(t: Any) -> str:
    """The shape of an array or type: 3×4, or "number"; with the dtype if it is not float32."""
    size = "×".join(map(str, t.shape)) if t.shape else "number"
    return size if t.dtype == jnp.float32 else f"{size} {t.dtype}"


def shapes_text(types: list[Any]) -> str:
    """The shapes of several arrays if they are short: 5×5×1×6, 6; else how many they are."""
    text = ", ".join(map(shape_text, types))
    return text if len(text) <= MOST_LETTERS else f"{len(types)} arrays"


def value_text(x: Any) -> str:
    """An array in a few characters.

    Args:
        x: An array, a number, or None.

    Returns:
        The numbers of an array of at most 4, with three significant digits; the shape of a larger one; – for None.

    Examples:
        >>> import jax.numpy as jnp
        >>> value_text(jnp.array([1.0, -0.25]))
        '[1 −0.25]'
        >>> value_text(jnp.zeros((3, 4)))
        '3×4'
    """
    if x is None:
        return "–"
    x = x if hasattr(x, "dtype") else np.asarray(x)  # a literal of a jaxpr
    is_plain = jnp.issubdtype(x.dtype, jnp.number) or x.dtype == bool  # not a random key
    if np.size(x) > FEW or not is_plain:
        return shape_text(x)
    return numbers_text(x)


def numbers_text(x: Any) -> str:
    """All numbers of an array, with three significant digits."""
    return _nested(np.asarray(x).tolist())


def _nested(x):
    if isinstance(x, list):
        return f"[{' '.join(map(_nested, x))}]"
    if isinstance(x, float):
        return number_text(x or 0.0).replace("-", "−")  # 0 for −0
    return str(x)


def full_text(x: Any) -> str:
    """An array's type, its size in memory, and its numbers or their range."""
    if x is None:
        return "–"
    x = x if jx.is_array(x) else jnp.asarray(x)  # a literal of a jaxpr is a number with a dtype
    described = f"{jx.typed(x)}, {bytes_text(x.nbytes)}"
    if np.size(x) <= FEW * FEW and jnp.issubdtype(x.dtype, jnp.number):
        return f"{numbers_text(x)} {described}"
    if jnp.issubdtype(x.dtype, jnp.floating):
        wide = np.asarray(x).astype(np.float64)
        span = ", ".join(number_text(float(v)) for v in (wide.min(), wide.mean(), wide.max())) if wide.size else "empty"
        return f"{described}; minimum, mean, maximum: {span}"
    return described


def formula(node: Node) -> str:
    """The operation of a node as an equation between labels: `u3 = u1 × z`, `h = relu(u2)`.

    Args:
        node: A node of a graph.

    Returns:
        The equation; the label of an argument or a constant.

    Examples:
        >>> formula(jaxdl.trace(lambda x: jnp.sin(x) * 2, 1.0)["u1"])
        'u1 = sin(x)'
    """
    inputs = [repr(e.source) if isinstance(e, Edge) else value_text(np.asarray(e)) for e in node.inputs]
    if not inputs:
        return node.label
    if node.name in INFIX and len(inputs) == 2 and not INFIX[node.name].isalpha():
        return f"{node.label} = {inputs[0]} {INFIX[node.name]} {inputs[1]}"
    if node.name == "integer_pow":
        return f"{node.label} = {inputs[0]}^{jx.exponent(node.equation)}"
    return f"{node.label} = {node.name}({', '.join(inputs)})"
