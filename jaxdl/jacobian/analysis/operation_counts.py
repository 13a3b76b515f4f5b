"""What an equation costs, read from its types: the unit is a floating-point operation of a large matrix product."""

import math

from jaxdl import jaxpr as jx

MOVED = 8  # an entry read and written, in the same unit: elementwise work is bound by memory


def work(eqn) -> float:
    """Operations of one evaluation of an equation; a sweep through it costs about as much."""
    inner = jx.inner_jaxprs(eqn)
    written = MOVED * sum(math.prod(v.aval.shape) for v in eqn.outvars)
    if eqn.primitive.name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        return 2 * _size(eqn.outvars[0]) * math.prod(eqn.invars[0].aval.shape[d] for d in contracted)
    if eqn.primitive.name == "conv_general_dilated":
        kernel = eqn.invars[1].aval.shape
        features = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
        return 2 * _size(eqn.outvars[0]) * math.prod(kernel) / features
    if "call" in eqn.params and not inner:
        return work_of(jx.primal_of(eqn))
    if not inner:
        return written
    times = eqn.params.get("length", 1)
    bodies = [work_of(body) for body in inner]
    return times * (max(bodies) if eqn.primitive.name == "cond" else sum(bodies))


def work_of(jaxpr) -> float:
    return sum(work(eqn) for eqn in jx.opened(jaxpr).eqns)


def _size(v):
    return math.prod(v.aval.shape)
