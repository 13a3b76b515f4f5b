"""Equations that stand for a part of a program while the rest of it is traced. They are never evaluated."""

from collections.abc import Sequence
from typing import Any

from jaxdl.jaxpr.versions import Equation, Primitive

_placeholder_p = Primitive("jaxdl_placeholder")
_placeholder_p.multiple_results = True
_placeholder_p.def_abstract_eval(lambda *_, types, stands_for: list(types))


def placeholder(stands_for: Any, types: Sequence[Any], *args: Any) -> list[Any]:
    """Traces one equation with outputs of the given types; `stands_for` is any hashable object."""
    return _placeholder_p.bind(*args, types=tuple(types), stands_for=stands_for)


def stands_for(eqn: Equation) -> Any:
    """What a placeholder stands for; None for every other equation."""
    return eqn.params["stands_for"] if eqn.primitive is _placeholder_p else None
