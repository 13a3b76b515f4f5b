"""Operators of `jaxdl.jacobian.structured` as operators of SciPy, for its iterative solvers and decompositions."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from scipy.sparse.linalg import LinearOperator

from jaxdl.jacobian.operators.base import Operator


def as_scipy(operator: Operator) -> LinearOperator:
    """Converts an operator of `jaxdl.jacobian.structured` to a `scipy.sparse.linalg.LinearOperator`.

    Its products are compiled once. For a sparse matrix take `jacobian.sparse(f).scipy(x)` instead.

    Args:
        operator: A linear operator of shape (m, n).

    Returns:
        The operator with `matvec`, `rmatvec` and `matmat`, on NumPy arrays.

    Examples:
        >>> import jax.numpy as jnp, numpy as np
        >>> from scipy.sparse.linalg import gmres
        >>> from jaxdl import interop, jacobian
        >>> x = jnp.array([0.1, 0.2])
        >>> dx, info = gmres(interop.as_scipy(jacobian.structured(jnp.sin)(x)), np.ones(2))
        >>> info
        0
    """
    push = jax.jit(lambda v: operator @ v)
    pull = jax.jit(lambda w: operator.T @ w)
    on_host = lambda product: lambda v: np.array(product(np.asarray(v, operator.dtype)))
    adjoint = on_host(lambda w: pull(w.conj()).conj())
    make: Any = LinearOperator  # whose parameters are those of __init__
    return make(
        shape=operator.shape,
        dtype=np.dtype(operator.dtype),
        matvec=on_host(push),
        rmatvec=adjoint,
        matmat=on_host(push),
        rmatmat=adjoint,
    )
