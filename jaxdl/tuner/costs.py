"""What it costs to keep a value and to compute it again.

Only ratios matter: they decide which values are kept. XLA fuses elementwise equations into the loops that read them, so
these cost their arithmetic alone; products cost their FLOPs; the others read and write memory.
"""

from dataclasses import dataclass
from typing import Any

import jax

from jaxdl import jaxpr as jx

# Computed again at no cost: they only rename, or write what the equation that reads them can make by itself.
VIEWS = {"broadcast_in_dim", "empty", "empty2", "expand_dims", "iota", "reshape", "squeeze"} | jx.IDENTITIES
# As fast as the memory: the compiler moves them into what reads them where it can.
MOVES = {"concatenate", "dynamic_slice", "pad", "rev", "slice", "split", "stack", "transpose", "unstack"}
# Elementwise functions of one or two instructions an entry.
SIMPLE = jx.STEPS | {
    "abs", "add", "add_any", "clamp", "convert_element_type", "copy", "copy_p", "max", "min", "mul", "neg",
    "reduce_precision", "select_n", "square", "stop_gradient", "sub",
}  # fmt: skip
# Randomness would repeat or differ, messages would be sent twice, and loops of unknown length may take any time.
RANDOM = {"rng_bit_generator", "rng_uniform", "threefry2x32", "random_gamma"}
COLLECTIVES = {
    "all_gather", "all_gather_invariant", "all_gather_reduced", "all_to_all", "pbroadcast", "pgather", "pmax", "pmin",
    "ppermute", "psend", "precv", "psum", "psum2", "psum_invariant", "ragged_all_to_all", "reduce_scatter",
    "unreduced_psum", "unreduced_reduce_scatter",
}  # fmt: skip
NEVER_REPEATED = RANDOM | COLLECTIVES | jx.CALLBACKS | {"while", "ffi_call", "custom_partitioning"}


@dataclass(frozen=True)
class Machine:
    """Rates of a machine, in operations or bytes a second.

    Attributes:
        products: Products of numbers in matrix products.
        convolutions: Products of numbers in convolutions, which XLA for CPUs computes many times slower.
        simple: Elementwise functions of one or two instructions.
        functions: Other elementwise functions.
        memory: Bytes that an equation reads or writes.
        kept: Bytes that are kept from the forward to the backward pass: written to fresh memory, and read back.
    """

    products: float
    convolutions: float
    simple: float
    functions: float
    memory: float
    kept: float

    def seconds(self, eqn: Any) -> float:
        """How long an equation takes."""
        return jx.count(eqn, self._seconds)

    def _seconds(self, eqn):
        name, products = eqn.primitive.name, jx.products(eqn)
        if name in VIEWS:
            return 0.0
        entries = max(map(jx.size, eqn.outvars), default=0)
        if products is not None:
            return products / (self.products if name == "dot_general" else self.convolutions) + self._moved(eqn)
        if name in SIMPLE:
            return entries / self.simple
        if name in jx.ELEMENTWISE:
            return entries / self.functions
        if name.startswith(("reduce", "arg", "cum")):
            return max(map(jx.size, eqn.invars)) / self.simple + self._moved(eqn)
        return self._moved(eqn) * (1 if name in MOVES else 4)

    def _moved(self, eqn):
        return sum(bytes_of(v) for v in (*eqn.invars, *eqn.outvars) if jx.is_variable(v)) / self.memory


MACHINES = {
    "cpu": Machine(1e11, 1e10, 2e10, 2e9, 2e10, 2e9),
    "gpu": Machine(2e13, 2e13, 1e13, 2e12, 1e12, 5e11),
    "tpu": Machine(5e13, 5e13, 5e12, 1e12, 1e12, 5e11),
}


def machine() -> Machine:
    """The rates of JAX's default backend."""
    return MACHINES.get(jax.default_backend(), MACHINES["gpu"])


def bytes_of(v: Any) -> int:
    """The size of a variable."""
    return v.aval.size * getattr(v.aval.dtype, "itemsize", 0)


def is_repeatable(eqn: Any) -> bool:
    """Whether an equation may be computed again: not randomness, collectives, effects, or loops of unknown length."""
    names = {eqn.primitive.name, *(name for body in jx.inner_jaxprs(eqn) for name in jx.primitives(body))}
    loop = (jx.stands_for(eqn) or (None,))[0]
    if loop is not None:
        names |= {e.primitive.name for region in loop.body.all() for e in region.forward}
    return not eqn.effects and not any(name in NEVER_REPEATED or name.startswith("random_") for name in names)
