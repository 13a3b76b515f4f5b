"""The base of all operators: Jacobians that keep their structure instead of becoming matrices.

An operator J has shape (m, n) and is a pytree; `push` is v ↦ J v and `pull` is w ↦ Jᵀ w, on vectors. `J @ v` takes a
vector or a matrix, `J @ K` another operator. A product is multiplied only by `dense`, in the cheapest order.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, dataclass_transform, overload

import jax
import jax.numpy as jnp

from jaxdl.jacobian.analysis.krylov import largest_singular_value
from jaxdl.jacobian.analysis.matrix_chain import Bracketing, bracketing, multiplied
from jaxdl.jacobian.analysis.operation_counts import MOVED

C = TypeVar("C")


def static() -> Any:
    """A field of an operator that is no array: part of the pytree's structure."""
    return dataclasses.field(metadata={"static": True})


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(static,))
def node(cls: type[C]) -> type[C]:
    """Makes a class of operators a frozen dataclass and a pytree."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls))


class Operator:
    """A linear map J of shape (m, n) that keeps its structure; printed, it is its structure.

    Subclasses define `shape`, `dtype`, `label`, `push` and `pull`, and override what they can compute better.

    Attributes:
        shape: (m, n), the numbers of outputs and inputs.
        dtype: The type of the entries.
        label: The structure in words, such as `diagonal(3) · dense(3×5)`.
    """

    shape: Any
    dtype: Any
    label: Any

    def push(self, v: jax.Array) -> jax.Array:
        """J v, (m,), of a vector v, (n,)."""
        raise NotImplementedError

    def pull(self, w: jax.Array) -> jax.Array:
        """Jᵀ w, (n,), of a vector w, (m,)."""
        raise NotImplementedError

    @property
    def T(self) -> Operator:
        """Jᵀ"""
        return Transposed(self)

    @property
    def work(self) -> float:
        """Operations of one push or pull, in the unit of `operation_counts`."""
        return MOVED * sum(self.shape)

    @property
    def dense_work(self) -> float:
        """Operations of `dense`."""
        return min(self.shape) * self.work

    @overload
    def __matmul__(self, other: Operator) -> Operator: ...

    @overload
    def __matmul__(self, other: jax.typing.ArrayLike) -> jax.Array: ...

    def __matmul__(self, other):
        """J v for a vector (n,), J V for a matrix (n, k), and the operator J K for an operator K.

        Raises:
            ValueError: If the shapes do not fit.
        """
        shape, n = other.shape if isinstance(other, Operator) else jnp.shape(other), self.shape[1]
        if len(shape) not in (1, 2) or shape[0] != n:
            raise ValueError(
                f"structured: J is {size_text(self)}, so J @ v needs v of shape ({n},) or ({n}, k), got {shape}"
            )
        if isinstance(other, Operator):
            return compose(self, other)
        v = jnp.asarray(other)
        return self.push(v) if v.ndim == 1 else apply_to_columns(self.push, v)

    def __call__(self, v: jax.typing.ArrayLike) -> jax.Array:
        """J v, for solvers that take a function, such as those of `jax.scipy.sparse.linalg`."""
        return self @ v

    def merged(self, other: Operator) -> Operator | None:
        """J K as one operator with structure, None if it has none."""
        return None

    def scaled(self, d: jax.Array) -> Operator | None:
        """diag(d) J as one operator with structure, None if it has none."""
        return None

    def __repr__(self) -> str:
        return self.label

    def dense(self) -> jax.Array:
        """J as an array, (m, n)."""
        m, n = self.shape
        if n <= m:
            return apply_to_columns(self.push, jnp.eye(n, dtype=self.dtype))
        return apply_to_columns(self.pull, jnp.eye(m, dtype=self.dtype)).T

    def trace(self) -> jax.Array:
        """Σ Jᵢᵢ of a square J.

        Raises:
            ValueError: If J is not square.
        """
        m, n = self.shape
        if m != n:
            raise ValueError(f"structured: only a square Jacobian has a trace, this one is {size_text(self)}")
        return self._trace()

    def _trace(self) -> jax.Array:
        return jnp.trace(self.dense())

    def square(self) -> jax.Array:
        """Σ |Jᵢⱼ|²"""
        return sum_of_squares(self.dense())

    def frobenius(self) -> jax.Array:
        """√Σ |Jᵢⱼ|²"""
        return jnp.sqrt(self.square())

    def spectral(self) -> jax.Array:
        """The largest singular value.

        Exact for operators that know it; otherwise by at most 40 steps of Lanczos on JᴴJ.
        """
        return largest_singular_value(self)


@node
class Zero(Operator):
    """0"""

    shape: tuple[int, int] = static()
    dtype: Any = static()

    @property
    def label(self) -> str:
        return f"zero({size_text(self)})"

    def push(self, v: jax.Array) -> jax.Array:
        return jnp.zeros(self.shape[0], self.dtype)

    def pull(self, w: jax.Array) -> jax.Array:
        return jnp.zeros(self.shape[1], self.dtype)


@node
class Identity(Operator):
    """I"""

    n: int = static()
    dtype: Any = static()

    @property
    def shape(self) -> tuple[int, int]:
        return self.n, self.n

    @property
    def label(self) -> str:
        return f"identity({self.n})"

    @property
    def T(self) -> Operator:
        return self

    def push(self, v: jax.Array) -> jax.Array:
        return v

    def pull(self, w: jax.Array) -> jax.Array:
        return w

    def _trace(self) -> jax.Array:
        return jnp.asarray(self.n, self.dtype)

    def square(self) -> jax.Array:
        return jnp.asarray(self.n, self.dtype)

    def spectral(self) -> jax.Array:
        return jnp.ones((), self.dtype)


@node
class Transposed(Operator):
    """Jᵀ of an operator whose transpose is no other class."""

    of: Operator

    @property
    def shape(self) -> tuple[int, int]:
        m, n = self.of.shape
        return n, m

    @property
    def dtype(self) -> Any:
        return self.of.dtype

    @property
    def label(self) -> str:
        return f"{self.of.label}ᵀ"

    @property
    def T(self) -> Operator:
        return self.of

    @property
    def work(self) -> float:
        return self.of.work

    def push(self, v: jax.Array) -> jax.Array:
        return self.of.pull(v)

    def pull(self, w: jax.Array) -> jax.Array:
        return self.of.push(w)

    def dense(self) -> jax.Array:
        return self.of.dense().T

    def _trace(self) -> jax.Array:
        return self.of.trace()

    def square(self) -> jax.Array:
        return self.of.square()

    def spectral(self) -> jax.Array:
        return self.of.spectral()

    def merged(self, other: Operator) -> Operator | None:
        """Aᵀ Bᵀ = (B A)ᵀ"""
        product = other.of.merged(self.of) if isinstance(other, Transposed) else None
        return product and product.T


# --- products -----------------------------------------------------------------------------------------


@node
class Composition(Operator):
    """J_k ⋯ J_2 J_1: the product of operators, the last function's first."""

    factors: tuple[Operator, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return self.factors[0].shape[0], self.factors[-1].shape[1]

    @property
    def dtype(self) -> Any:
        return common_dtype(self.factors)

    @property
    def label(self) -> str:
        return " · ".join(f.label for f in self.factors)

    @property
    def T(self) -> Operator:
        return compose(*(f.T for f in reversed(self.factors)))

    @property
    def work(self) -> float:
        return sum(f.work for f in self.factors)

    @property
    def dense_work(self) -> float:
        return self._bracketing[0]

    def push(self, v: jax.Array) -> jax.Array:
        return functools.reduce(lambda v, f: f.push(v), reversed(self.factors), v)

    def pull(self, w: jax.Array) -> jax.Array:
        return functools.reduce(lambda w, f: f.pull(w), self.factors, w)

    def _halves(self) -> tuple[jax.Array, jax.Array]:
        """A and B with J = A B, split where the product is narrowest."""
        k = min(range(1, len(self.factors)), key=lambda k: self.factors[k].shape[0])
        return self._as_array(compose(*self.factors[:k])), self._as_array(compose(*self.factors[k:]))

    def _trace(self) -> jax.Array:
        """Σ Aᵢₖ Bₖᵢ"""
        a, b = self._halves()
        return (a * b.T).sum()

    def square(self) -> jax.Array:
        """Σ (AᴴA)ₖₗ (BBᴴ)ₗₖ where the product is narrower inside than at its ends."""
        a, b = self._halves()
        if a.shape[1] >= min(self.shape):
            return sum_of_squares(self.dense())
        return jnp.abs(((a.conj().T @ a) * (b @ b.conj().T).T).sum())

    @functools.cached_property
    def _bracketing(self) -> tuple[float, Bracketing]:
        functions = self.factors[::-1]
        sizes = [self.shape[1], *(f.shape[0] for f in functions)]
        return bracketing(sizes, [f.work for f in functions], factors=[f.dense_work for f in functions])

    def dense(self) -> jax.Array:
        functions = self.factors[::-1]

        def push(start: int, end: int, matrix: jax.Array) -> jax.Array:
            for f in functions[start:end]:
                matrix = apply_to_columns(f.push, matrix).astype(self.dtype)
            return matrix

        def pull(start: int, end: int, matrix: jax.Array) -> jax.Array:
            for f in reversed(functions[start:end]):
                matrix = apply_to_columns(f.pull, matrix.T).astype(self.dtype).T
            return matrix

        factor = lambda start: self._as_array(functions[start])
        return multiplied(self._bracketing[1], push, pull, jnp.matmul, factor)

    def _as_array(self, operator: Operator) -> jax.Array:
        return operator.dense().astype(self.dtype)


def compose(*operators: Operator) -> Operator:
    """The product of operators; neighbours are merged where their product has structure."""
    factors: list[Operator] = []
    for operator in operators:
        for factor in operator.factors if isinstance(operator, Composition) else (operator,):
            while factors and (product := _merged(factors[-1], factor)) is not None:
                factors.pop()
                factor = product
            factors.append(factor)
    return factors[0] if len(factors) == 1 else Composition(tuple(factors))


def _merged(a: Operator, b: Operator) -> Operator | None:
    if isinstance(a, Zero) or isinstance(b, Zero):
        return Zero((a.shape[0], b.shape[1]), common_dtype((a, b)))
    if isinstance(a, Identity) or isinstance(b, Identity):
        return b if isinstance(a, Identity) else a
    return a.merged(b)


# --- arrays ---------------------------------------------------------------------------------------------


def apply_to_columns(f: Callable[[jax.Array], jax.Array], matrix: jax.Array) -> jax.Array:
    return jax.vmap(f, 1, 1)(matrix)


def common_dtype(operators: Iterable[Operator]) -> Any:
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*(operator.dtype for operator in operators))


def sum_of_squares(x: jax.Array) -> jax.Array:
    return (jnp.abs(x) ** 2).sum()


def size_text(operator: Operator) -> str:
    return "×".join(map(str, operator.shape))
