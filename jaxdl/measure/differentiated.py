"""A function with one of its derivatives: forward pass, residuals, backward pass, and what they cost."""

import functools
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx


@dataclass(frozen=True)
class DerivativeCost:
    """What a compiled forward and backward pass costs. Figures that the compiler does not report are None.

    Attributes:
        flops: Floating-point operations.
        bytes_accessed: Bytes read and written.
        residual_bytes: Bytes that the forward pass computes and the backward pass reads, each array once, without
            arguments of the function and constants.
        unneeded_bytes: Bytes of further arrays that `jax.vjp` keeps and a compiler removes: zeros and other constants,
            and what the backward pass does not read.
        argument_bytes: Bytes of arguments that the backward pass needs.
        temporary_bytes: Bytes that the compiled program allocates besides arguments and results.
        step_bytes: Bytes that the whole step takes: arguments, results and temporary ones.
        compile_seconds: How long the compiler took.
    """

    flops: float | None
    bytes_accessed: float | None
    residual_bytes: int
    unneeded_bytes: int
    argument_bytes: int
    temporary_bytes: int | None
    step_bytes: int | None
    compile_seconds: float

    def to_json(self) -> dict[str, float | None]:
        """The figures by name."""
        return asdict(self)


class Differentiated:
    """A function of arrays with its derivative in reverse mode.

    Args:
        f: A function of arrays, that returns a list of arrays or a pytree of them.
        arrays: Its arguments.
        smooth: The positions of the arguments in which it is differentiated; by default those of all floating-point
            and complex ones.
    """

    def __init__(self, f: Callable[..., Any], arrays: Iterable[Any], smooth: Iterable[int] | None = None):
        self.f: Callable[..., Any] = f
        self.arrays: list[Any] = list(arrays)
        inexact = [i for i, x in enumerate(self.arrays) if jnp.issubdtype(x.dtype, jnp.inexact)]
        self.smooth: list[int] = inexact if smooth is None else list(smooth)

    def forward(self, *arrays: Any) -> tuple[list[Any], Callable[..., Any]]:
        """The differentiable outputs, and the pullback as a pytree of residuals."""
        return jax.vjp(jx.in_some(self.f, arrays, self.smooth), *[arrays[i] for i in self.smooth])

    def step(self, arrays: Sequence[Any], dy: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Forward and backward pass: outputs, and cotangents of the arguments for the cotangents dy."""
        y, pullback = self.forward(*arrays)
        return y, list(pullback(dy))

    def cotangent(self) -> list[Any]:
        """Cotangents of the outputs: 1 for scalars, else normal numbers, the same in every run."""
        return list(self._cotangent)

    @functools.cached_property
    def _cotangent(self):
        y, _ = jax.eval_shape(self.forward, *self.arrays)
        # A seed that is unlikely to have been used for the arguments.
        random = np.random.default_rng(list(b"cotangent"))
        return [normal(random, t) if t.shape else jnp.ones((), t.dtype) for t in y]

    @functools.cached_property
    def compiled(self) -> tuple[jax.stages.Compiled, float]:
        """The compiled step, and the seconds that the compiler took."""
        lowered = jax.jit(self.step).lower(self.arrays, self.cotangent())
        start = time.perf_counter()
        return lowered.compile(), time.perf_counter() - start

    def run(self) -> tuple[list[Any], list[Any]]:
        """Outputs and cotangents at the arguments."""
        return jax.block_until_ready(self.compiled[0](self.arrays, self.cotangent()))

    def cost(self) -> DerivativeCost:
        """What the compiled step costs."""
        compiled, seconds = self.compiled
        analysis = compiled.cost_analysis() or {}
        memory = compiled.memory_analysis()
        residuals, _, arguments = self._kept(self._read())
        return DerivativeCost(
            flops=analysis.get("flops"),
            bytes_accessed=analysis.get("bytes accessed"),
            residual_bytes=residuals,
            unneeded_bytes=self.stored_bytes()[0] - residuals,
            argument_bytes=arguments,
            temporary_bytes=memory.temp_size_in_bytes if memory else None,
            step_bytes=_step_bytes(memory) if memory else None,
            compile_seconds=seconds,
        )

    def stored_bytes(self) -> tuple[int, int]:
        """Bytes of all that `jax.vjp` keeps, zeros too: without the function's arguments, and of those.

        `DerivativeCost.residual_bytes` counts what a compiled program still keeps.
        """
        residuals, constants, arguments = self._kept(itertools.repeat(True))
        return residuals + constants, arguments

    @functools.cached_property
    def _pullback(self):
        """The jaxpr from the arguments to all that the pullback keeps, and the pullback with types in place of that."""
        return jx.trace(lambda *arrays: self.forward(*arrays)[1], *self.arrays)

    def _read(self) -> list[bool]:
        """For each array that the pullback keeps, whether the backward pass reads it: a compiler drops the others."""
        types, structure = jax.tree.flatten(self._pullback[1])
        count = len(types)
        pull = lambda *parts: structure.unflatten(parts[:count])(list(parts[count:]))
        backward, _ = jx.trace(pull, *types, *self.cotangent())
        return jx.used_inputs(jx.inlined(backward))[:count]

    def _kept(self, counted: Iterable[bool]) -> tuple[int, int, int]:
        """Bytes kept for the backward pass: computed from the arguments, from none of them, and the arguments."""
        jaxpr, _ = self._pullback
        plain = jx.opened(jaxpr)
        depends = jx.dependent_outputs(jaxpr, [True] * len(plain.invars))
        kept = {v: d for v, d, c in zip(plain.outvars, depends, counted, strict=False) if c and jx.is_variable(v)}
        given = kept.keys() & {*plain.invars, *plain.constvars}
        computed = {v for v, moves in kept.items() if moves} - given
        constant = kept.keys() - given - computed
        return sum(map(_bytes, computed)), sum(map(_bytes, constant)), sum(map(_bytes, given))

    def lowered_passes(self) -> tuple[jax.stages.Lowered, jax.stages.Lowered]:
        """Forward and backward pass, not yet compiled."""
        forward = jax.jit(self.forward).lower(*self.arrays)
        backward = jax.jit(lambda pullback, dy: pullback(dy)).lower(forward.out_info[1], self.cotangent())
        return forward, backward

    def timed_step(self) -> Callable[..., Any]:
        """A function without arguments to be timed: forward and backward pass, compiled in one."""
        dy, (step, _) = self.cotangent(), self.compiled
        return lambda: step(self.arrays, dy)

    def parts(self) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
        """Functions without arguments to be timed: forward pass, backward pass, both compiled in one."""
        ((forward, backward),) = timed_passes(self)
        return forward, backward, self.timed_step()


def timed_passes(*sides: Differentiated) -> list[tuple[Callable[..., Any], Callable[..., Any]]]:
    """Functions without arguments to be timed, forward and backward pass of each side; all are compiled at once."""
    lowered = [side.lowered_passes() for side in sides]
    with ThreadPoolExecutor() as pool:
        compiled = iter(pool.map(lambda program: program.compile(), itertools.chain(*lowered)))
    return [_on_arrays(side, next(compiled), next(compiled)) for side in sides]


def _on_arrays(side, forward, backward):
    (_, pullback), dy = forward(*side.arrays), side.cotangent()
    return lambda: forward(*side.arrays), lambda: backward(pullback, dy)


def check_differentiable(name: str, jaxpr: Any, arrays: Sequence[Any], constant: Iterable[str] = ()) -> None:
    """Raises ValueError, in the name of a tool, where there is nothing to differentiate.

    Args:
        name: The tool.
        jaxpr: The function as it was traced.
        arrays: The arrays in which it was.
        constant: Sentences on numbers that are held constant.
    """
    plain = jx.opened(jaxpr)
    inexact = lambda types: any(jnp.issubdtype(t.dtype, jnp.inexact) for t in types)
    if not inexact(arrays):
        said = "".join(f"; {text}" for text in constant)
        raise ValueError(f"{name}: no floating-point array among the arguments: nothing to differentiate in{said}")
    if not inexact([v.aval for v in plain.outvars]):
        raise ValueError(f"{name}: the function returns no floating-point array: nothing to differentiate")


def positions_to_differentiate(tool: str, args: tuple[Any, ...], kwargs: Any, argnums: Any) -> list[int]:
    """The positions, among the arrays in the arguments, of those to differentiate in.

    Args:
        tool: The name of the function that the user called, for errors.
        args: Positional arguments, pytrees.
        kwargs: Keyword arguments.
        argnums: Positions of arguments, as in `jax.grad`; None for all.

    Raises:
        TypeError: `argnums` has no positions.
        ValueError: There is no such argument, or no floating-point array in it.
    """
    wanted = range(len(args)) if argnums is None else [argnums] if isinstance(argnums, int) else argnums
    if isinstance(wanted, str) or not isinstance(wanted, Iterable) or not all(isinstance(i, int) for i in wanted):
        raise TypeError(f"{tool}: argnums must be a whole number or a sequence of them, got {argnums!r}")
    for i in wanted:
        if not -len(args) <= i < len(args):
            raise ValueError(f"{tool}: argnums has {i}, but there are {len(args)} positional arguments")
    wanted = {i % len(args) for i in wanted}
    leaves = [(x, i in wanted) for i, a in enumerate(args) for x in jax.tree.leaves(a)]
    leaves += [(x, argnums is None) for x in jax.tree.leaves(kwargs)]
    flags = [(x, wanted) for x, wanted in leaves if jx.is_array(x)]
    found = [i for i, (x, wanted) in enumerate(flags) if wanted and jnp.issubdtype(x.dtype, jnp.inexact)]
    if not found:
        raise ValueError(f"{tool}: no floating-point array among the arguments {argnums}: nothing to differentiate in")
    return found


def normal(random: np.random.Generator, y: Any) -> jax.Array:
    """Normal numbers of y's shape and dtype, by NumPy: JAX would compile a program for each shape."""
    x = random.standard_normal(y.shape)
    if jnp.issubdtype(y.dtype, jnp.complexfloating):
        x = x + 1j * random.standard_normal(y.shape)
    return jnp.asarray(x.astype(y.dtype))


def _step_bytes(memory):
    needed = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
    return needed - memory.alias_size_in_bytes


def _bytes(variable):
    aval = variable.aval
    size = getattr(aval.dtype, "itemsize", 0)
    return aval.size * size
