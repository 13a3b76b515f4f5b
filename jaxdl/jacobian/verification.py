"""The fastest method of a plan, compared with a random product by JAX before its matrix is used."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.modes import hindrances
from jaxdl.jacobian.analysis.probes import agrees
from jaxdl.jacobian.analysis.synthetic_inputs import may_be_run, random_inputs
from jaxdl.jacobian.analysis.vector_function import Outputs, VectorFunction
from jaxdl.jacobian.jacobian_plan import JacobianPlan, Way
from jaxdl.jacobian.methods.base import outputs_and_matrix

JAX_METHODS = "reverse", "forward"  # JAX's own, with which the others are compared


class VerifiedJacobian:
    """Called as (x, *others), it returns the matrix by the fastest method of a plan that gives the right matrix.

    The comparison is done once for a plan: on random inputs; if the function may not be run on these, or gives no
    finite value for them, on the first arguments. In a program that is only traced it is part of the program, and a
    wrong matrix becomes NaN.
    """

    def __init__(self, function: VectorFunction, plan: JacobianPlan):
        self.function: VectorFunction = function
        self.plan: JacobianPlan = plan
        no_forward, no_reverse = hindrances(function, jx.opened(function.jaxpr).eqns, function.types)
        self._is_compared = bool(no_forward and no_reverse)  # there is nothing to compare with
        self._agrees = jax.jit(
            lambda matrix, x, *others: agrees(matrix, lambda x: function(x, *others), x, not no_forward)
        )
        if may_be_run(function):
            with contextlib.suppress(Exception):  # f refuses random inputs: compared on the first arguments
                self._compare_on_random_inputs()

    def __call__(self, x: jax.Array, *others: Any) -> jax.Array:
        self._compare_on(x, others)
        return self._checked(self.plan.best.run(x, *others), x, others)

    def with_outputs(self, x: jax.Array, *others: Any) -> tuple[Outputs, jax.Array]:
        self._compare_on(x, others)
        outputs, matrix = outputs_and_matrix(self.plan.best.run, self.function, x, others)
        return outputs, self._checked(matrix, x, others)

    def _compare_on(self, x: jax.Array, others: Sequence[Any]) -> None:
        is_traced = any(isinstance(a, jax.core.Tracer) for a in (x, *others))
        if not self._is_verified and not is_traced:
            self._compare(lambda way: way.run(x, *others), x, others)
            self._is_compared = True

    def _checked(self, matrix: jax.Array, x: jax.Array, others: Sequence[Any]) -> jax.Array:
        return matrix if self._is_verified else jnp.where(self._agrees(matrix, x, *others)[0], matrix, jnp.nan)

    @property
    def _is_verified(self) -> bool:
        return self._is_compared or self.plan.best.method in JAX_METHODS

    def _compare_on_random_inputs(self) -> None:
        random = np.random.default_rng(0)
        for draw in (random.normal, random.uniform):
            if not self._is_verified:
                with jax.ensure_compile_time_eval():
                    inputs = random_inputs(draw, self.function)
                    run = lambda way, inputs=inputs: way.compiled(*inputs)
                    self._is_compared = self._compare(run, inputs[0], inputs[1:])

    def _compare(self, run: Callable[[Way], jax.Array], x: jax.Array, others: Sequence[Any]) -> bool:
        """Refuses methods with a wrong matrix for these inputs; whether the comparison was meaningful."""
        is_meaningful = False
        while not self._is_verified:
            is_right, is_meaningful = map(bool, self._agrees(run(self.plan.best), x, *others))
            if is_right:
                break
            self.plan = self.plan.without_best("its matrix differs from a random product by JAX")
        return is_meaningful
