"""Operators as those of lineax (Rader, Lyons, Kidger 2023), for its solvers."""

import jax

from jaxdl.jacobian.operators.algebra import Chain, Diagonal, Identity, Sum
from jaxdl.jacobian.operators.kinds import Kronecker


def as_lineax(operator):
    """A `lineax.AbstractLinearOperator`: diagonal, dense, product and sum as such, the rest as a linear function."""
    try:
        import lineax
    except ImportError as error:
        raise ImportError("structured: as_lineax needs the package lineax: pip install lineax") from error
    match operator:
        case Identity():
            return lineax.IdentityLinearOperator(_input(operator))
        case Diagonal():
            return lineax.DiagonalLinearOperator(operator.d)
        case Kronecker() if operator.is_one:
            return lineax.MatrixLinearOperator(operator.a[0])
        case Chain():
            first, *others = map(as_lineax, operator.factors)
            return _folded(lambda a, b: a @ b, first, others)
        case Sum():
            first, *others = map(as_lineax, operator.terms)
            return _folded(lambda a, b: a + b, first, others)
    return lineax.FunctionLinearOperator(jax.tree_util.Partial(type(operator).push, operator), _input(operator))


def _folded(join, whole, others):
    for other in others:
        whole = join(whole, other)
    return whole


def _input(operator):
    return jax.ShapeDtypeStruct((operator.shape[1],), operator.dtype)
