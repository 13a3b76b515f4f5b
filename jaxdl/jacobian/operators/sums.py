"""Sums of operators: the Jacobian of a value that is used more than once."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.jacobian.operators.base import Identity, Operator, Zero, common_dtype, node
from jaxdl.jacobian.operators.diagonal import Diagonal


@node
class Sum(Operator):
    """J + K + …"""

    terms: tuple[Operator, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return self.terms[0].shape

    @property
    def dtype(self) -> Any:
        return common_dtype(self.terms)

    @property
    def label(self) -> str:
        return f"({' + '.join(t.label for t in self.terms)})"

    @property
    def T(self) -> Operator:
        return Sum(tuple(t.T for t in self.terms))

    @property
    def work(self) -> float:
        return sum(t.work for t in self.terms)

    @property
    def dense_work(self) -> float:
        return sum(t.dense_work for t in self.terms)

    def push(self, v: jax.Array) -> jax.Array:
        return self._added(t.push(v) for t in self.terms)

    def pull(self, w: jax.Array) -> jax.Array:
        return self._added(t.pull(w) for t in self.terms)

    def dense(self) -> jax.Array:
        return self._added(t.dense() for t in self.terms)

    def _trace(self) -> jax.Array:
        return self._added(t.trace() for t in self.terms)

    def _added(self, parts: Iterable[jax.Array]) -> jax.Array:
        return functools.reduce(jnp.add, [part.astype(self.dtype) for part in parts])


def add_operators(*operators: Operator) -> Operator:
    """The sum of operators, with all diagonal ones as one and without zeros."""
    terms = [t for operator in operators for t in (operator.terms if isinstance(operator, Sum) else (operator,))]
    terms = [t for t in terms if not isinstance(t, Zero)] or terms[:1]
    diagonals = [d for t in terms if (d := _diagonal(t)) is not None]
    if len(diagonals) > 1:
        terms = [t for t in terms if _diagonal(t) is None] + [Diagonal(functools.reduce(jnp.add, diagonals))]
    return terms[0] if len(terms) == 1 else Sum(tuple(terms))


def _diagonal(operator: Operator) -> jax.Array | None:
    """The diagonal of a diagonal operator, None for others."""
    match operator:
        case Diagonal():
            return operator.d
        case Identity():
            return jnp.ones(operator.n, operator.dtype)
    return None
