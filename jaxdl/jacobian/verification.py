"""The fastest method of a plan, compared with a random product by JAX before its matrix is used."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.double_precision import as_double, in_double_precision
from jaxdl.jacobian.analysis.probes import agrees, has_product, random_product
from jaxdl.jacobian.analysis.synthetic_inputs import may_be_run, random_inputs
from jaxdl.jacobian.analysis.vector_function import Outputs, VectorFunction
from jaxdl.jacobian.jacobian_plan import JacobianPlan, Way
from jaxdl.jacobian.methods.base import outputs_and_matrix

MOST_ON_HOST = 1_000_000  # entries of a matrix that NumPy multiplies faster than XLA compiles the product
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
        no_forward, no_reverse = function.hindrances
        self._is_compared = bool(no_forward and no_reverse)  # there is nothing to compare with
        self._is_forward = not no_forward
        self._product = jax.jit(lambda x, *others: random_product(self._of(others), x, self._is_forward))
        self._agrees = jax.jit(lambda matrix, x, *others: agrees(matrix, self._of(others), x, self._is_forward))
        if may_be_run(function):
            with contextlib.suppress(Exception):  # f refuses random inputs: compared on the first arguments
                self._compare_on_random_inputs()

    def _of(self, others: Sequence[Any]) -> Callable[..., Any]:
        return lambda x: self.function(x, *others)

    def __call__(self, x: jax.Array, *others: Any) -> jax.Array:
        self._compare_on(x, others)
        best = self.plan.best
        run = best.run if _is_traced(x, others) else best.program
        return self._checked(run(x, *others), x, others)

    def with_outputs(self, x: jax.Array, *others: Any) -> tuple[Outputs, jax.Array]:
        self._compare_on(x, others)
        outputs, matrix = outputs_and_matrix(self.plan.best.run, self.function, x, others)
        return outputs, self._checked(matrix, x, others)

    def _compare_on(self, x: jax.Array, others: Sequence[Any]) -> None:
        if not self._is_verified and not _is_traced(x, others):
            self._compare(lambda way: self._agrees(way.program(x, *others), x, *others), (x, *others))
            self._is_compared = True

    def _checked(self, matrix: jax.Array, x: jax.Array, others: Sequence[Any]) -> jax.Array:
        return matrix if self._is_verified else jnp.where(self._agrees(matrix, x, *others)[0], matrix, jnp.nan)

    @property
    def _is_verified(self) -> bool:
        return self._is_compared or self.plan.best.method in JAX_METHODS

    def _compare_on_random_inputs(self) -> None:
        random, compiled = np.random.default_rng(0), functools.cache(self._compiled)
        for draw in (random.normal, random.uniform):
            if not self._is_verified:
                with jax.ensure_compile_time_eval():
                    inputs = random_inputs(draw, self.function)
                self._is_compared = self._compare(lambda way, inputs=inputs: compiled(way)(*inputs), inputs)

    def _compiled(self, way: Way) -> Callable[..., Any]:
        """`_agrees` for the matrix of a method, as one program if the method was not compiled."""
        types = self.function.types
        if way.compiled is None:
            return jax.jit(lambda *given: self._agrees(way.program(*given), *given)).lower(*types).compile()

        def run(*inputs):
            with jax.ensure_compile_time_eval():
                matrix = way.matrix(*inputs)
                if matrix.size > MOST_ON_HOST:
                    return self._agrees(matrix, *inputs)
                v, true = map(np.asarray, self._product(*inputs))
                return has_product(np.asarray(matrix), v, true, self._is_forward)

        return run

    def _compare(self, agrees: Callable[[Way], Any], inputs: Sequence[Any]) -> bool:
        """Refuses methods with a wrong matrix; whether the last comparison was meaningful."""
        is_meaningful = False
        while not self._is_verified:
            is_right, is_meaningful = map(bool, agrees(self.plan.best))
            if is_right or self._agrees_in_double_precision(self.plan.best, inputs):
                break
            self.plan = self.plan.without_best("its matrix differs from a random product by JAX")
        return is_meaningful

    def _agrees_in_double_precision(self, way: Way, inputs: Sequence[Any]) -> bool:
        """The same comparison with less rounding: where a derivative cancels, as tanh's, two right programs differ."""
        try:
            jaxpr, _ = jx.trace(lambda *given: self._agrees(way.program(*given), *given)[0], *self.function.types)
            with jax.ensure_compile_time_eval(), jax.enable_x64(True):
                return bool(in_double_precision(jaxpr)(*map(as_double, inputs))[0])
        except Exception:  # of any equation that has no float64: the first comparison decides
            return False


def _is_traced(x: jax.Array, others: Sequence[Any]) -> bool:
    return any(isinstance(a, jax.core.Tracer) for a in (x, *others))
