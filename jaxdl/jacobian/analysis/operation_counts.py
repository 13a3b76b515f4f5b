"""What an equation costs, read from its types: the unit is a floating-point operation of a large matrix product."""

from jaxdl import jaxpr as jx

MOVED = 8  # for an entry read and written, in the same unit: elementwise work is bound by memory


def work(eqn) -> float:
    """The operations of one evaluation of an equation. A sweep through it costs about as much."""
    return jx.count(eqn, _work)


def work_of(jaxpr) -> float:
    return jx.counted(jaxpr, _work)


def _work(eqn):
    products = jx.products(eqn)
    return MOVED * sum(map(jx.size, eqn.outvars)) if products is None else 2 * products
