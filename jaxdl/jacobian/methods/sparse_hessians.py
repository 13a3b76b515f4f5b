"""Sparse Hessians: the gradient's pattern is symmetric, so that one of two mirror images is enough."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.jacobian.analysis.vector_function import Outputs, join
from jaxdl.jacobian.methods.arguments import Argnums
from jaxdl.jacobian.methods.base import Call, P, method
from jaxdl.jacobian.methods.gradients import Hessian
from jaxdl.jacobian.methods.sparse_jacobians import Pattern, SparseJacobian, entries, prepare_sparse
from jaxdl.jacobian.methods.sparse_plan import SparsePlan
from jaxdl.jacobian.saved_plans import with_plan


class SparseHessian(SparseJacobian[P], Hessian[P]):
    """What `sparse_hessian` returns: a `SparseJacobian` of the gradient."""

    def lower(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """The entries on and below the diagonal, as IPOPT wants them; also under jit.

        Returns:
            A vector; its rows and columns are `plan(*args).lower_coordinates`, the same for all arguments of the same
            types. With `has_aux` a pair of this and aux.

        Examples:
            >>> import jax.numpy as jnp
            >>> from jaxdl import jacobian
            >>> H = jacobian.sparse_hessian(lambda x: jnp.sum(x[1:] * x[:-1]))
            >>> rows, columns = H.plan(jnp.ones(3)).lower_coordinates
            >>> rows.tolist(), columns.tolist(), H.lower(jnp.ones(3)).tolist()
            ([1, 2], [0, 1], [1.0, 1.0])
        """
        return self.in_form(_lower, args, kwargs)


def _lower(call: Call, with_outputs: bool) -> tuple[Outputs | None, jax.Array]:
    compressed, outputs, data = entries(call, with_outputs)
    return outputs, data[compressed.plan.lower_places]


@method
def sparse_hessian(
    f: Callable[P, Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    pattern: Pattern = None,
    probe: bool = True,
    plan: SparsePlan | str | os.PathLike[str] | None = None,
    chunk: int | None = None,
    max_bytes: int | None = None,
) -> SparseHessian[P]:
    """The Hessian of a scalar function by compressed Hessian-vector products.

    The pattern of the gradient is found and coloured such that of each entry and its mirror image one can be read (star
    colouring).

    Args:
        f: The function to differentiate twice, with a scalar output.
        argnums: Which arguments to differentiate, as in `jax.hessian`.
        has_aux: Whether f returns a pair (output, aux).
        holomorphic: Whether f is a holomorphic function of complex numbers.
        pattern: The (n, n) pattern to use instead of the one that is found; one of two mirror images is enough.
        probe: Whether a given pattern is compared with one random product at each call, see `sparse`.
        plan: A plan of this function or the path of a file, see `sparse`.
        chunk: How many products to compute at a time; by default all.
        max_bytes: The temporary memory to keep to, instead of `chunk`; see `sparse`.

    Returns:
        A function of f's arguments that returns the Hessian as a dense array, as `jax.hessian(f)` does, with the
        methods of `sparse`, `lower(*args)` and `value_gradient_and_hessian(*args)`.

    Raises:
        TypeError: If f is not callable; when called, if its output is no scalar.
        ValueError: When called, if the given pattern has the wrong shape or lacks entries.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> jacobian.sparse_hessian(lambda x: (x[1:] * x[:-1]).sum()).scipy(jnp.ones(1000)).nnz
        1998
    """
    prepare = functools.partial(prepare_sparse, pattern=pattern, probe=probe, chunk=chunk, max_bytes=max_bytes)
    prepare = with_plan(prepare, plan, SparsePlan)
    return SparseHessian("sparse_hessian", f, prepare, argnums, has_aux, holomorphic)


def lagrangian_hessian(f: Callable[[Any], Any], c: Callable[[Any], Any]) -> SparseHessian[[Any, jax.Array, Any]]:
    """The sparse Hessian σ ∇²f + Σ λᵢ ∇²cᵢ of a Lagrangian, for solvers such as IPOPT (cyipopt).

    Args:
        f: The objective, a scalar function of x.
        c: The constraints, a function of x with any array or pytree of arrays as output.

    Returns:
        A `sparse_hessian`, called as (x, λ, σ): λ is a vector with an entry for each constraint, σ a number. Its
        `lower(x, λ, σ)` are the values for cyipopt's `hessian`, `plan(x, λ, σ).lower_coordinates` is what its
        `hessianstructure` returns.

    Raises:
        TypeError: When called, if f is no scalar.
        ValueError: When called, if λ has not one entry for each constraint.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> H = jacobian.lagrangian_hessian(lambda x: (x**2).sum(), lambda x: x[1:] * x[:-1])
        >>> H.lower(jnp.ones(3), jnp.array([5.0, 7.0]), 1.0).tolist()
        [2.0, 5.0, 2.0, 7.0, 2.0]
    """

    def lagrangian(x, multipliers, objective_factor):
        constraints = join(jax.tree.leaves(c(x)))
        if jnp.shape(multipliers) != constraints.shape:
            raise ValueError(
                f"jacobian.lagrangian_hessian: λ must have an entry for each of the {constraints.size} constraints, "
                f"got shape {jnp.shape(multipliers)}"
            )
        return objective_factor * f(x) + (multipliers * constraints).sum()

    return sparse_hessian(lagrangian)
