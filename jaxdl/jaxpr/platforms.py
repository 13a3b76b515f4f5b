"""A jaxpr as a platform runs it: `lax.platform_dependent` leaves the choice open until the program is lowered."""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxdl.jaxpr.evaluation import evaluate
from jaxdl.jaxpr.reading import definition_of
from jaxdl.jaxpr.records import branches, op_call
from jaxdl.jaxpr.tracing import trace
from jaxdl.jaxpr.versions import AnyJaxpr, Equation


def chosen_for(platform: str, jaxpr: AnyJaxpr) -> AnyJaxpr:
    """The jaxpr with each choice by platform made, inside loops and the rules of ops as well.

    Args:
        platform: The name that JAX gives the platform, such as "cpu", "cuda" or "tpu".
        jaxpr: A closed jaxpr.

    Returns:
        A closed jaxpr of the same inputs and outputs. It can be run on any platform.
    """

    def chosen(eqn: Equation) -> Callable[..., Any] | None:
        if eqn.primitive.name == "platform_index":
            return lambda: [np.int32(_place(platform, eqn.params["platforms"]))]
        if op_call(eqn) is not None:
            body = definition_of(eqn)
            return lambda *args: evaluate(body, args, chosen)
        groups = eqn.params.get("branches_platforms")
        if groups is None:
            return None
        branch = branches(eqn)[_place(platform, groups)]
        return lambda _, *args: evaluate(branch, args, chosen)

    return trace(lambda *args: evaluate(jaxpr, args, chosen), *jaxpr.in_avals)[0]


def _place(platform, groups):
    """The index of the group that names a platform, or else of the group for all others, which is None."""
    return next(i for i, group in enumerate(groups) if group is None or platform in group)
