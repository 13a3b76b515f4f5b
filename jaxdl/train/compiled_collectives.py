"""What devices send each other in a compiled program."""

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
    """Calls of one kind, and the bytes that they give on each device."""

    calls: int
    bytes: int


def collectives(compiled: jax.stages.Compiled) -> dict[str, Collective]:
    """By kind, as the compiler has placed them: in loops each counts once. None where all is on one device."""
    calls, sizes = Counter(), Counter()
    for call in _CALL.finditer(compiled.as_text()):
        calls[call["kind"]] += 1
        sizes[call["kind"]] += sum(map(_bytes, _TYPE.finditer(call["types"])))
    return {kind: Collective(calls[kind], sizes[kind]) for kind in KINDS if calls[kind]}


def _bytes(found) -> int:
    numbers = int(np.prod([int(n) for n in found["shape"].split(",") if n], dtype=np.int64))
    bits = _BITS.get(found["dtype"]) or int(re.sub(r"\D", "", found["dtype"][1:4]) or 8)
    return numbers * bits // 8
