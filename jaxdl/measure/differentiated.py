"""A function with one of its derivatives: forward, residuals, backward, and what they cost."""

import functools
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx


@dataclass(frozen=True)
class Cost:
    """What the compiled forward and backward pass costs; None where the compiler does not tell.

    residual_bytes are kept from forward to backward, each array once; arguments of the function that
    are kept anyway count apart, in argument_bytes. temporary_bytes are the compiled pass's own.
    """

    flops: float | None
    bytes_accessed: float | None
    residual_bytes: int
    argument_bytes: int
    temporary_bytes: int | None
    compile_seconds: float

    def to_json(self) -> dict:
        return asdict(self)


class Differentiated:
    """f on flat arrays, differentiated in those at places `moving`, by default in all floating-point (or complex)."""

    def __init__(self, f: Callable, arrays, moving=None):
        self.f = f
        self.arrays = list(arrays)
        inexact = [i for i, x in enumerate(self.arrays) if jnp.issubdtype(x.dtype, jnp.inexact)]
        self.smooth = inexact if moving is None else list(moving)

    def forward(self, *arrays):
        """The differentiable outputs, and the pullback as a pytree of residuals."""
        return jax.vjp(jx.in_some(self.f, arrays, self.smooth), *[arrays[i] for i in self.smooth])

    def step(self, arrays, dy):
        """Forward and backward in one: outputs and cotangents."""
        y, pullback = self.forward(*arrays)
        return y, list(pullback(dy))

    def cotangent(self):
        """A cotangent to pull back: 1 for scalars, else normal numbers, the same in every run."""
        y, _ = jax.eval_shape(self.forward, *self.arrays)
        # A seed that nobody draws arguments with.
        random = np.random.default_rng(list(b"cotangent"))
        return [normal(random, t) if t.shape else jnp.ones((), t.dtype) for t in y]

    @functools.cached_property
    def compiled(self):
        """The compiled step, and the seconds that the compiler took."""
        lowered = jax.jit(self.step).lower(self.arrays, self.cotangent())
        start = time.perf_counter()
        return lowered.compile(), time.perf_counter() - start

    def run(self):
        """Outputs and cotangents on the arrays."""
        return jax.block_until_ready(self.compiled[0](self.arrays, self.cotangent()))

    def cost(self) -> Cost:
        compiled, seconds = self.compiled
        analysis = compiled.cost_analysis() or {}
        memory = compiled.memory_analysis()
        own, arguments = self.residual_bytes()
        return Cost(
            analysis.get("flops"),
            analysis.get("bytes accessed"),
            own,
            arguments,
            memory.temp_size_in_bytes if memory else None,
            seconds,
        )

    def residual_bytes(self) -> tuple[int, int]:
        """Bytes kept between forward and backward: the residuals' own, and those of arguments."""
        jaxpr, _ = jx.trace(lambda *arrays: jax.tree.leaves(self.forward(*arrays)[1]), *self.arrays)
        plain = jx.opened(jaxpr)
        kept = {v for v in plain.outvars if jx.is_variable(v)}
        given = kept & {*plain.invars, *plain.constvars}
        return sum(map(_bytes, kept - given)), sum(map(_bytes, given))

    def parts(self):
        """Three functions without arguments, to be timed: forward, backward alone, both compiled in one."""
        forward = jax.jit(self.forward)
        backward = jax.jit(lambda pullback, dy: pullback(dy))
        _, pullback = forward(*self.arrays)
        dy, (step, _) = self.cotangent(), self.compiled
        return (
            lambda: forward(*self.arrays),
            lambda: backward(pullback, dy),
            lambda: step(self.arrays, dy),
        )


def normal(random, y):
    """Normal numbers of a type, by NumPy: for every shape that JAX draws it compiles a program."""
    x = random.standard_normal(y.shape)
    if jnp.issubdtype(y.dtype, jnp.complexfloating):
        x = x + 1j * random.standard_normal(y.shape)
    return jnp.asarray(x.astype(y.dtype))


def _bytes(variable):
    aval = variable.aval
    size = getattr(aval.dtype, "itemsize", 0)
    return aval.size * size
