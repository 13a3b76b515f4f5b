"""Hessians as Jacobians of gradients: the gradient as a function between vectors, and what all Hessians share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.jacobian.analysis.vector_function import VectorFunction
from jaxdl.jacobian.methods.base import Jacobian, P, PlannedJacobian, T, dense_blocks


class Hessian(Jacobian[P]):
    """A function for the Hessian of a scalar function f, as `jax.hessian(f, argnums, has_aux, holomorphic)` returns it.

    It is the Jacobian of the gradient: `value_and_jacobian` gives the gradient and the Hessian.
    """

    def value_gradient_and_hessian(self, *args: P.args, **kwargs: P.kwargs) -> tuple[Any, Any, Any]:
        """f(*args), the gradient and the Hessian at these arguments of f, from one forward pass.

        Returns:
            The three of them. With `has_aux` the first is the pair (output, aux).

        Examples:
            >>> import jax.numpy as jnp
            >>> from jaxdl import jacobian
            >>> y, g, H = jacobian.sparse_hessian(lambda x: (x**3).sum()).value_gradient_and_hessian(jnp.ones(2))
            >>> y.shape, g.shape, H.shape
            ((), (2,), (2, 2))
        """
        call, (outputs, matrix) = self.evaluate(lambda call: (call, dense_blocks(call, True)), args, kwargs)
        gradient, aux = call.value(outputs)
        assert outputs is not None
        value = call.traced.out_tree.unflatten(outputs[1][-1:])
        return ((value, aux) if self.has_aux else value), gradient, matrix

    def differentiable(self, function: VectorFunction) -> VectorFunction:
        shapes = [list(y.shape) for y in function.outputs]
        if shapes != [[]]:
            raise TypeError(f"jacobian.{self.name} needs a function with one scalar output, got outputs {shapes}")
        return gradient(function)


class PlannedHessian(PlannedJacobian[P, T], Hessian[P]):
    """A `Hessian` of a method that plans: `plan(*args)` shows what it has decided."""


def gradient(potential: VectorFunction) -> VectorFunction:
    """The gradient of a function with one output, as a function between vectors.

    The values that its aux reads are those of the function, then the function's value.
    """

    def with_value(xs, *others):
        def scalar(xs):
            (y,), read = potential.lists(xs, *others)
            return y, [*read, y]

        is_complex = jnp.issubdtype(potential.x.dtype, jnp.complexfloating)
        return jax.grad(scalar, has_aux=True, holomorphic=is_complex)(xs)

    return dataclasses.replace(
        potential,
        of_arrays=lambda *given: with_value(*given)[0],
        outputs=potential.inputs,
        arrays_for_aux=with_value,
        aux_of=lambda read, *others: potential.aux_of(read[:-1], *others),
        potential=potential,
    )


def prepare_reverse_over_forward(function: VectorFunction) -> Callable[..., jax.Array]:
    """The Hessian by the gradient of the slope along each axis.

    Raises:
        ValueError: If the function is no gradient.
    """
    potential = function.potential
    if potential is None:
        raise ValueError("it is for Hessians")

    def run(x, *others: Any):
        def row(axis):
            slope = lambda x: jax.jvp(lambda x: potential(x, *others), (x,), (axis,))[1]
            y, pullback = jax.vjp(slope, x)
            return pullback(jnp.ones_like(y))[0]

        return jax.vmap(row)(jnp.eye(function.n, dtype=x.dtype))

    return run
