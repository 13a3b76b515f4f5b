"""Programs that run a few times only: what they cost is their compilation."""

import functools
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

LARGE = 10**6  # numbers, above which running takes longer than compiling
LITTLE = {"xla_backend_optimization_level": 0}
# The older emitters compile three times as fast as those for fusions; from JAX 0.12 on XLA has no others.
OLDER_EMITTERS = {"xla_cpu_use_fusion_emitters": False}


LONGEST = 10**6  # characters of a program that is kept
COMPILERS = ThreadPoolExecutor(2, "jaxdl-compiler")  # the compiler runs beside Python


def are_large(arrays: Any) -> bool:
    """Whether these arrays together have so many numbers that running takes longer than compiling."""
    return bool(sum(np.prod(np.shape(x)) for x in jax.tree.leaves(arrays)) >= LARGE)


def quick_jit(f: Callable[..., Any], *arrays: Any) -> Any:
    """f jitted for a few calls on arrays like these: with little optimisation, unless they are large.

    Results may differ in the last digits from those of `jax.jit`, as those of two versions of XLA do.
    """
    return jax.jit(f, compiler_options=None if are_large(arrays) else quick_options())


@functools.cache
def quick_options() -> dict[str, Any]:
    """The options of the compiler with which this version of XLA compiles fastest on the present backend."""
    options = LITTLE | OLDER_EMITTERS if jax.default_backend() == "cpu" else LITTLE
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:  # it does not know one of them
        return LITTLE
    return options


def compiled(traced: Any, *settings: Any) -> Callable[..., Any]:
    """A traced function compiled in the background, equal programs once; its first call waits for the compiler.

    Args:
        traced: What `jax.jit(f).trace(…)` returns.
        *settings: What else distinguishes programs: their options for the compiler.
    """
    lowered = traced.lower()
    text = lowered.as_text()
    if len(text) > LONGEST or "callback" in text:  # the number of a callback is that of another function elsewhere
        waiting = COMPILERS.submit(lowered.compile)
    else:
        waiting = _compilation(_Program(text, str((lowered.args_info, lowered.out_info)), settings, lowered))
    return lambda *arrays: waiting.result()(*arrays)


@dataclass(frozen=True)
class _Program:
    """A lowered program, which equals another of the same text and types."""

    text: str
    types: str
    settings: tuple[Any, ...]
    lowered: Any = field(compare=False)


@functools.lru_cache(maxsize=128)
def _compilation(program) -> Future:
    return COMPILERS.submit(program.lowered.compile)
