"""The best way of a plan, compared with a random product by JAX before its matrix is trusted."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.modes import hindrances
from jaxdl.jacobian.analysis.probes import agrees
from jaxdl.jacobian.analysis.synthetic_inputs import drawn, may_be_run

SWEEPS = "reverse", "forward"  # JAX's own: what the others are compared with


class Trusted:
    """`run(x, *others)` by the best way of a plan; a way whose matrix is wrong is refused, and the next one taken.

    The comparison is made once for a plan: on drawn numbers; where the function is not to be run on those, or gives
    nothing finite for them, on the first numbers given. In a program that is only traced it is part of the program,
    and a wrong matrix becomes NaN.
    """

    def __init__(self, vector, plan):
        self.vector, self.plan = vector, plan
        no_forward, no_reverse = hindrances(vector.f, jx.opened(vector.jaxpr).eqns, vector.types)
        self.trusted = bool(no_forward and no_reverse)  # there is nothing to compare with
        self.agrees = jax.jit(
            lambda matrix, x, *others: agrees(matrix, lambda x: vector.f(x, *others), x, not no_forward)
        )
        if may_be_run(vector):
            with contextlib.suppress(Exception):  # it refuses these numbers: it is asked again with those given
                self._compare_on_drawn()

    def __call__(self, x, *others):
        is_traced = any(isinstance(a, jax.core.Tracer) for a in (x, *others))
        if not self.is_trusted and not is_traced:
            self._compare(lambda way: way.run(x, *others), x, others)
            self.trusted = True
        matrix = self.plan.best.run(x, *others)
        return matrix if self.is_trusted else jnp.where(self.agrees(matrix, x, *others)[0], matrix, jnp.nan)

    @property
    def is_trusted(self) -> bool:
        return self.trusted or self.plan.best.method in SWEEPS

    def _compare_on_drawn(self):
        random = np.random.default_rng(0)
        for draw in (random.normal, random.uniform):
            if not self.is_trusted:
                with jax.ensure_compile_time_eval():
                    numbers = drawn(draw, self.vector)
                    self.trusted = self._compare(lambda way, n=numbers: way.compiled(*n), numbers[0], numbers[1:])

    def _compare(self, run, x, others) -> bool:
        """Refuses ways whose matrix is wrong for these numbers; whether their product was finite, and said anything."""
        said = False
        while not self.is_trusted:
            right, said = map(bool, self.agrees(run(self.plan.best), x, *others))
            if right:
                break
            self.plan = self.plan.without_best("its matrix differs from a random product by JAX")
        return said
