"""Which data the devices exchange in a compiled program."""

import re
from collections import Counter
from typing import NamedTuple

import jax
import numpy as np

KINDS = "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"
_CALL = re.compile(rf"= (?P<types>.*?) (?P<kind>{'|'.join(KINDS)})(-start)?\(")
_TYPE = re.compile(r"(?P<dtype>[a-z]\w*)\[(?P<shape>[\d,]*)\]")
_BITS = {"pred": 8, "bf16": 16}


class Collective(NamedTuple):
    """The collective operations of one kind.

    Attributes:
        calls: How often the operation appears in the program.
        bytes: The bytes of all results, on each device.
    """

    calls: int
    bytes: int


def collectives(compiled: jax.stages.Compiled) -> dict[str, Collective]:
    """Counts the collective operations that the compiler put into a program.

    Args:
        compiled: A compiled program, `jax.jit(f).lower(*args).compile()`.

    Returns:
        A `Collective` for each kind in the program, by its name in HLO, such as "all-reduce". An operation in a loop
        counts once. Empty for a program on one device.

    Examples:
        >>> collectives(jax.jit(jnp.sin).lower(1.0).compile())
        {}
    """
    calls, sizes = Counter(), Counter()
    for call in _CALL.finditer(compiled.as_text() or ""):
        calls[call["kind"]] += 1
        sizes[call["kind"]] += sum(map(_bytes, _TYPE.finditer(call["types"])))
    return {kind: Collective(calls[kind], sizes[kind]) for kind in KINDS if calls[kind]}


def _bytes(found: re.Match[str]) -> int:
    numbers = int(np.prod([int(n) for n in found["shape"].split(",") if n], dtype=np.int64))
    bits = _BITS.get(found["dtype"]) or int(re.sub(r"\D", "", found["dtype"][1:4]) or 8)
    return numbers * bits // 8
