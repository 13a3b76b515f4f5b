"""Which outputs of a jaxpr depend on which inputs, and which equations they need."""

from collections.abc import Sequence

from jaxdl.jaxpr.reading import is_variable, opened
from jaxdl.jaxpr.versions import AnyJaxpr, Equation


def dependent_outputs(jaxpr: AnyJaxpr, marked: Sequence[bool]) -> list[bool]:
    """For each output of a jaxpr, whether it depends on any input marked True."""
    reached = {v for v, mark in zip(opened(jaxpr).invars, marked, strict=True) if mark}
    for eqn in opened(jaxpr).eqns:
        given = [is_variable(v) and v in reached for v in eqn.invars]
        if eqn.primitive.name == "jit":
            touched = dependent_outputs(eqn.params["jaxpr"], given)
        else:
            touched = [any(given)] * len(eqn.outvars)
        reached.update(v for v, t in zip(eqn.outvars, touched, strict=True) if t)
    return [is_variable(v) and v in reached for v in opened(jaxpr).outvars]


def used_inputs(jaxpr: AnyJaxpr) -> list[bool]:
    """For each input of a jaxpr, whether any output needs it. The bodies of equations are not opened."""
    needed = {v for eqn in needed_equations(jaxpr) for v in eqn.invars if is_variable(v)}
    needed |= {v for v in opened(jaxpr).outvars if is_variable(v)}
    return [v in needed for v in opened(jaxpr).invars]


def needed_equations(jaxpr: AnyJaxpr, wanted: Sequence[bool] | None = None) -> list[Equation]:
    """The equations that the outputs of a jaxpr need, and those with effects.

    Args:
        jaxpr: the jaxpr.
        wanted: for each output whether it counts; all by default.
    """
    outputs = opened(jaxpr).outvars
    wanted = [True] * len(outputs) if wanted is None else wanted
    needed = {v for v, w in zip(outputs, wanted, strict=True) if w and is_variable(v)}
    found = []
    for eqn in reversed(opened(jaxpr).eqns):
        if eqn.effects or any(v in needed for v in eqn.outvars):
            needed |= {v for v in eqn.invars if is_variable(v)}
            found.append(eqn)
    return found[::-1]
