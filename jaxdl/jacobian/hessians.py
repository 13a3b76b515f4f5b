"""The Hessian of a scalar function by the fastest method: the Jacobian of its gradient, with one method more."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from jaxdl.jacobian.jacobian_plan import JacobianPlan
from jaxdl.jacobian.methods.arguments import Argnums
from jaxdl.jacobian.methods.base import P, method
from jaxdl.jacobian.methods.gradients import PlannedHessian
from jaxdl.jacobian.methods.sweeps import prepare_forward
from jaxdl.jacobian.planning import SECONDS, prepare_best
from jaxdl.jacobian.saved_plans import with_plan


@method
def hessian(
    f: Callable[P, Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    chunk: int | None = None,
    max_bytes: int | None = None,
    seconds: float = SECONDS,
    plan: JacobianPlan | str | os.PathLike[str] | None = None,
    batch: bool | None = None,
) -> PlannedHessian[P, JacobianPlan]:
    """The Hessian of a scalar function, as `jax.hessian`, by the fastest method for these types of arguments.

    It is the Jacobian of the gradient, and the method is chosen as `best` does: forward over reverse ("forward" in the
    plan), reverse over reverse ("reverse"), reverse over forward, by the sparsity pattern ("sparse", which uses the
    symmetry), across narrow places, by elimination or by structure. In chunks it is forward over reverse.

    Args:
        f: The function to differentiate twice, with a scalar output.
        argnums: Which arguments to differentiate, as in `jax.hessian`.
        has_aux: Whether f returns a pair (output, aux).
        holomorphic: Whether f is a holomorphic function of complex numbers.
        chunk: How many columns to compute at a time; by default the fastest method, with all.
        max_bytes: Computes as many columns at a time as keep the temporary memory of the compiled function at or below
            this, see `forward`.
        seconds: About how long planning may take, for each type of arguments, see `plan`.
        plan: A plan of this Hessian, `plan(*args)`, or the path of the file in which it was saved, see `best`.
        batch: Whether it is to be fast for many points at once, see `best`.

    Returns:
        A function of f's arguments that returns the Hessian, as `jax.hessian(f)` does;
        `value_gradient_and_hessian(*args)` gives all three, and `plan(*args)` the `JacobianPlan`, if there are no
        chunks.

    Raises:
        TypeError: If f is not callable; when called, if f's output is no scalar, or inputs cannot be differentiated.
        ValueError: When called, if no method can be used, or both `chunk` and `max_bytes` are given.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> jacobian.hessian(lambda x: (x**3).sum())(jnp.array([1.0, 2.0])).tolist()
        [[6.0, 0.0], [0.0, 12.0]]
    """
    in_chunks = functools.partial(prepare_forward, chunk=chunk, max_bytes=max_bytes)
    planned = with_plan(functools.partial(prepare_best, seconds=seconds), plan, JacobianPlan)
    prepare = planned if chunk is None and max_bytes is None else in_chunks
    return PlannedHessian("hessian", f, prepare, argnums, has_aux, holomorphic, batch)
