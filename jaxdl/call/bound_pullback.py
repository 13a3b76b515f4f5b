"""`saving` binds residuals to a pullback, so that they can be seen, named and counted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVarTuple

import jax

from jaxdl import jaxpr as jx

Residuals = TypeVarTuple("Residuals")


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True)
class BoundPullback:
    """A pullback with its residuals bound: `bound(dy)` returns one cotangent for each argument.

    It is a pytree whose leaves are the residuals.
    """

    pullback: Callable[..., Any]
    residuals: Any

    def __call__(self, dy: Any) -> Any:
        return self.pullback(*self.residuals, dy)

    def tree_flatten(self) -> tuple[tuple[Any], Any]:
        return (self.residuals,), self.pullback

    @classmethod
    def tree_unflatten(cls, pullback: Any, children: Any) -> "BoundPullback":
        return cls(pullback, *children)


def saving(pullback: Callable[[*Residuals, Any], tuple[Any, ...]], *residuals: *Residuals) -> BoundPullback:
    """Binds residuals to a pullback.

    Exactly the residuals are stored from the forward to the backward pass. They are listed here and never captured by
    closure.

    Args:
        pullback: A function `pullback(*residuals, dy)` of the residuals and the output's cotangent. It returns a tuple
            with one cotangent for each positional argument of the op: of the argument's structure, shapes and dtypes,
            or None for integers, booleans and wherever nothing flows back.
        *residuals: Pytrees of arrays.

    Returns:
        The pullback of one argument, dy, which a rule returns with its output.

    Examples:
        >>> bound = saving(lambda x, dy: (2 * x * dy,), 3.0)
        >>> bound(1.0)
        (6.0,)
    """
    return BoundPullback(pullback, residuals)


jx.hide_from_source_lines(__file__)
