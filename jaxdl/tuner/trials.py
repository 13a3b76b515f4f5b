"""Variants of a program with their gradients compiled, and races between them."""

import functools
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.measure import Pairs, pairs
from jaxdl.measure.differentiated import Differentiated
from jaxdl.report import error_text

Options = tuple[tuple[str, str], ...]

GAIN = 0.985  # a variant of at most this time is faster
TIE = 1.005  # up to this time, a variant of fewer bytes is better
HOPELESS = 1.25  # a variant that takes longer at first is not measured further


def _refuse():
    raise ValueError("tune: a variant that was refused has no program")


@dataclass(eq=False)
class Variant:
    """A program that computes f, and its compiled gradient.

    Attributes:
        run: Computes outputs and cotangents.
        stored_bytes: Bytes that `jax.vjp` keeps for the backward pass, without arguments of f.
        temporary_bytes: Bytes that the compiled program allocates; None where the compiler does not say.
        refused: Why it cannot be used, else empty.
    """

    run: Callable[[], Any] = _refuse
    stored_bytes: int = 0
    temporary_bytes: int | None = None
    refused: str = ""

    @property
    def bytes(self) -> int:
        """Residuals and temporary memory."""
        return self.stored_bytes + (self.temporary_bytes or 0)


@dataclass
class Trials:
    """Compiles variants of f on its arrays and times them. Equal programs are compiled once.

    Attributes:
        arrays: The arguments.
        smooth: The positions of those in which f is differentiated.
        end: The time, of `time.perf_counter`, after which nothing more is tried.
    """

    arrays: Sequence[Any]
    smooth: Sequence[int]
    end: float
    compiled: dict[bytes, Variant] = field(default_factory=dict)
    expected: list[np.ndarray] | None = None

    @property
    def is_over(self) -> bool:
        """Whether the time is used up."""
        return time.perf_counter() > self.end

    def variant(self, program: Callable[..., list[Any]], options: Options = ()) -> Variant:
        """Compiles a program's gradient and compares its results with those of the first variant."""
        side = Differentiated(program, self.arrays, self.smooth)
        try:
            dy = side.cotangent()
            lowered = jax.jit(side.step).lower(self.arrays, dy)
            text = hashlib.sha256(f"{options} {lowered.as_text()}".encode()).digest()
            if text not in self.compiled:
                self.compiled[text] = self._compiled(side, lowered, options)
            return self.compiled[text]
        except Exception as error:  # JAX's, or that of a rule: the derivative that was chosen does not exist
            if self.expected is None:
                raise
            return Variant(refused=error_text(error))

    def _compiled(self, side, lowered, options):
        compiled, dy = lowered.compile(compiler_options=dict(options)), side.cotangent()
        memory = compiled.memory_analysis()
        run = functools.partial(compiled, self.arrays, dy)
        fault = self._fault(run())
        temporary = memory.temp_size_in_bytes if memory else None
        return Variant(run, side.stored_bytes()[0], temporary, fault)

    def _fault(self, results):
        """How results differ from those of f as it is written; empty if they are the same up to rounding."""
        found = [np.asarray(x) for x in jax.tree.leaves(results)]
        if self.expected is None:
            self.expected = found
        for got, want in zip(found, self.expected, strict=True):
            if fault := _difference(got, want):
                return fault
        return ""

    def race(self, first: Variant, second: Variant, seconds: float = 0.25) -> Pairs:
        """Times two variants in turn; a hopeless first one only briefly."""
        times = pairs(first.run, second.run, seconds=0, least=3)
        if times.ratio > HOPELESS or times.medians[1] > seconds:
            return times
        return pairs(first.run, second.run, seconds=seconds, least=5)


def is_better(first: Variant, second: Variant, times: Pairs) -> bool:
    """Whether the first variant is faster than the second, or as fast with fewer bytes."""
    faster = times.ratio <= GAIN and times.spread[1] < 1
    return faster or (times.ratio <= TIE and first.bytes < 0.97 * second.bytes)


def _difference(got, want):
    if not jnp.issubdtype(want.dtype, jnp.inexact):
        return "" if np.array_equal(got, want) else "its integer outputs differ from those of the function as written"
    finite = np.isfinite(want)
    if not (np.isfinite(got[finite]).all() and np.array_equal(got[~finite], want[~finite], equal_nan=True)):
        return "its NaN or infinities differ from those of the function as written; audit shows which is right"
    allowed = float(jnp.finfo(want.dtype).eps) ** 0.5  # half of the digits: sums in another order lose some
    got, want = (x[finite].astype(np.complex128 if np.iscomplexobj(want) else np.float64) for x in (got, want))
    largest, far = np.abs(want).max(initial=0.0), np.abs(got - want).max(initial=0.0)
    if far <= allowed * largest:
        return ""
    return f"it differs from the function as written by {far / largest if largest else np.inf:.1e} of the largest entry"
