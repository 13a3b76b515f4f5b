"""Operators of `jaxdl.jacobian.structured` as operators of lineax (Rader, Lyons, Kidger 2023), for its solvers."""

from __future__ import annotations

import functools
import operator as operators
from typing import TYPE_CHECKING, Any

import jax

from jaxdl.jacobian.operators.base import Composition, Identity, Operator
from jaxdl.jacobian.operators.diagonal import Diagonal
from jaxdl.jacobian.operators.kronecker import Kronecker
from jaxdl.jacobian.operators.sums import Sum
from jaxdl.optional_packages import install_hint

if TYPE_CHECKING:
    import lineax  # pyright: ignore[reportMissingImports]


def as_lineax(operator: Operator) -> lineax.AbstractLinearOperator:
    """Converts an operator of `jaxdl.jacobian.structured` to an operator of lineax.

    Args:
        operator: A linear operator of shape (m, n).

    Returns:
        The same operator of lineax: diagonal and dense matrices, products and sums keep their structure, all others
        become a `FunctionLinearOperator`.

    Raises:
        ImportError: If lineax is not installed.

    Examples:
        >>> import jax.numpy as jnp, lineax
        >>> from jaxdl import interop, jacobian
        >>> x = jnp.array([0.1, 0.2])
        >>> J = interop.as_lineax(jacobian.structured(jnp.sin)(x))
        >>> dx = lineax.linear_solve(J, jnp.ones(2)).value
    """
    with install_hint("lineax", "interop.as_lineax"):
        import lineax  # pyright: ignore[reportMissingImports]
    match operator:
        case Identity():
            return lineax.IdentityLinearOperator(_input(operator))
        case Diagonal():
            return lineax.DiagonalLinearOperator(operator.d)
        case Kronecker() if operator.is_one:
            return lineax.MatrixLinearOperator(operator.a[0])
        case Composition():
            return functools.reduce(operators.matmul, map(as_lineax, operator.factors))
        case Sum():
            return functools.reduce(operators.add, map(as_lineax, operator.terms))
    kind: Any = type(operator)
    return lineax.FunctionLinearOperator(jax.tree_util.Partial(kind.push, operator), _input(operator))


def _input(operator: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((operator.shape[1],), operator.dtype)
