"""Which formulas hold for a node."""

from __future__ import annotations

import inspect

import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.graph.derivation.formulas import FORMULAS, OP_FORMULAS, PRODUCTS, SETTINGS, SHAPES, SOFTPLUS
from jaxdl.graph.derivation.symbols import plain
from jaxdl.graph.node import RULE, Edge, Node


def formula_of(node: Node) -> tuple[str, ...]:
    """What a node computes and what it contributes to each input; only its name if no formula is known.

    Rules of other authors may have any name: only relu and logaddexp, which are JAX's, have formulas here.
    """
    if jx.op_call(node.equation) is not None:
        known = _of_rule(node)
    else:
        known = _of_primitive(node) if node.kind != RULE or node.name in ("relu", "logaddexp") else None
    inputs = ", ".join("abcdefg"[i] if i < 6 else r"\ldots" for i in range(min(len(node.inputs), 7)))
    return known or (rf"\mathrm{{{plain(node.name)}}}({inputs})",)


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
    if node.name == "transpose" and not _is_of_matrices(node):
        return r"\mathrm{transpose}(a)", r"\mathrm{transpose}(g)"
    if node.name == "convert_element_type":
        return _conversion(*(v.aval.dtype for v in (*node.equation.invars, *node.equation.outvars)))
    if node.name == "select_n" and (count > 3 or node.equation.invars[0].aval.dtype != bool):
        return None
    return FORMULAS.get(node.name)


def _is_of_matrices(node):
    """Whether the last two dimensions change places and no others."""
    *leading, i, j = jx.parameters(node.equation)["permutation"]
    return [*leading, j, i] == [*range(len(leading) + 2)]


def _conversion(old, new):
    """Conversions change a value only where numbers become integers or booleans, or complex numbers real ones."""
    if new == jnp.bool_ and old != jnp.bool_:
        return (r"[a \neq 0]",)
    if jnp.issubdtype(new, jnp.integer) and jnp.issubdtype(old, jnp.inexact):
        return (r"\mathrm{trunc}(a)",)
    if jnp.issubdtype(old, jnp.complexfloating) != jnp.issubdtype(new, jnp.complexfloating):
        return (r"a", r"\mathrm{Re}(g)") if jnp.issubdtype(new, jnp.complexfloating) else (r"\mathrm{Re}(a)", r"g")
    return FORMULAS["convert_element_type"]


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


def _is_zero(x):
    return not isinstance(x, Edge) and x == 0
