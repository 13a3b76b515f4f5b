"""What an equation costs, read from its types. The unit is a floating-point operation of a large matrix product."""

from typing import Any

from jaxdl import jaxpr as jx

MOVED = 8  # to read and write an entry: elementwise work is bound by memory


def work(eqn: Any) -> float:
    """The operations of one evaluation of an equation. A sweep through it costs about as much."""
    return jx.count(eqn, _work)


def work_of(jaxpr: Any) -> float:
    """The operations of one evaluation of a jaxpr."""
    return jx.counted(jaxpr, _work)


def _work(eqn: Any) -> float:
    products = jx.products(eqn)
    return MOVED * sum(map(jx.size, eqn.outvars)) if products is None else 2 * products
