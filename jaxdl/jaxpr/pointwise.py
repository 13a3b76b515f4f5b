"""Whether a program treats each entry of its arrays by itself."""

from collections.abc import Collection

import numpy as np

from jaxdl.jaxpr.families import CALLS, CHECKPOINTS, CUSTOM_RULES, ELEMENTWISE
from jaxdl.jaxpr.reading import definition_of, opened, primal_of
from jaxdl.jaxpr.versions import AnyJaxpr, Equation


def called(eqn: Equation) -> AnyJaxpr | None:
    """The jaxpr that an equation only evaluates: the body of jit, the primal of a rule; None for all others."""
    if eqn.primitive.name.startswith("jaxdl_"):
        return definition_of(eqn)
    return primal_of(eqn) if eqn.primitive.name in CALLS | CHECKPOINTS | CUSTOM_RULES else None


def is_elementwise(
    jaxpr: AnyJaxpr, shape: tuple[int, ...], *, refused: Collection[str] = (), scalar_constants: bool = False
) -> bool:
    """Whether a jaxpr holds nothing but elementwise equations on arrays of one shape and scalars.

    Args:
        jaxpr: the jaxpr; those that its equations call count as well.
        shape: the one shape.
        refused: names of primitives that do not count as elementwise, whatever they evaluate.
        scalar_constants: whether constants must be scalars, rather than scalars or arrays of the one shape.
    """
    if scalar_constants and any(np.shape(c) != () for c in getattr(jaxpr, "consts", ())):
        return False
    for eqn in opened(jaxpr).eqns:
        if not {v.aval.shape for v in (*eqn.invars, *eqn.outvars)} <= {shape, ()} or eqn.primitive.name in refused:
            return False
        if inner := called(eqn):
            if not is_elementwise(inner, shape, refused=refused, scalar_constants=scalar_constants):
                return False
        elif eqn.primitive.name not in ELEMENTWISE | {"bitcast_convert_type"} and not _is_broadcast(eqn):
            return False
    return True


def _is_broadcast(eqn):
    return eqn.primitive.name == "broadcast_in_dim" and eqn.invars[0].aval.shape in ((), eqn.outvars[0].aval.shape)
