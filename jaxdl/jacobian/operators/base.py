"""An algebra of Jacobians that are kept as what they are: diagonal, dense, selection, … and chains and sums of them.

An operator J is (m, n) and a pytree; `push` is v ↦ Jv and `pull` is w ↦ Jᵀw, on vectors. `J @ v` takes a vector or
a matrix, `J @ K` another operator. Products are multiplied out when `dense` asks for it, in the cheapest order.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.jacobian.analysis.krylov import largest_singular_value
from jaxdl.jacobian.analysis.operation_counts import MOVED

static = functools.partial(dataclasses.field, metadata={"static": True})


def node(cls):
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True, eq=False, repr=False)(cls))


class Operator:
    """J, (m, n): what all kinds have. A kind gives shape, dtype, label, push and pull, and what it knows better."""

    @property
    def T(self) -> "Operator":
        """Jᵀ"""
        return Transposed(self)

    @property
    def work(self) -> float:
        """Operations of one push or pull, as `jaxdl.jacobian.analysis.operation_counts` counts them."""
        return MOVED * sum(self.shape)

    @property
    def dense_work(self) -> float:
        return min(self.shape) * self.work

    def __matmul__(self, other):
        n, fits = self.shape[1], isinstance(other, Operator)
        other = other if fits else jnp.asarray(other)
        if not (fits or other.ndim in (1, 2)) or other.shape[0] != n:
            raise ValueError(
                f"structured: J is {size(self)}, so J @ v needs v of shape ({n},) or ({n}, k), got {other.shape}"
            )
        if fits:
            return chain(self, other)
        return self.push(other) if other.ndim == 1 else columns(self.push, other)

    def merged(self, other) -> "Operator | None":
        """J K as one operator of a kind, None where it is none."""
        return None

    def scaled(self, d) -> "Operator | None":
        """diag(d) J as one operator of a kind, None where it is none."""
        return None

    def __repr__(self):
        return self.label

    def dense(self) -> jax.Array:
        """J as an array, (m, n)."""
        m, n = self.shape
        if n <= m:
            return columns(self.push, jnp.eye(n, dtype=self.dtype))
        return columns(self.pull, jnp.eye(m, dtype=self.dtype)).T

    def trace(self) -> jax.Array:
        """Σ Jᵢᵢ of a square J."""
        m, n = self.shape
        if m != n:
            raise ValueError(f"structured: only a square Jacobian has a trace, this one is {size(self)}")
        return self._trace()

    def _trace(self):
        return jnp.trace(self.dense())

    def square(self) -> jax.Array:
        """Σ |Jᵢⱼ|²"""
        return sum_of_squares(self.dense())

    def frobenius(self) -> jax.Array:
        """√Σ |Jᵢⱼ|²"""
        return jnp.sqrt(self.square())

    def spectral(self) -> jax.Array:
        """The largest singular value: exact where the kind knows it, else by at most 40 steps of Lanczos on JᴴJ."""
        return largest_singular_value(self)


# --- the simplest kinds ------------------------------------------------------------------------------


@node
class Zero(Operator):
    """0"""

    shape: tuple = static()
    dtype: Any = static()
    label = property(lambda self: f"zero({size(self)})")
    push = lambda self, v: jnp.zeros(self.shape[0], self.dtype)
    pull = lambda self, w: jnp.zeros(self.shape[1], self.dtype)


@node
class Identity(Operator):
    """I"""

    n: int = static()
    dtype: Any = static()
    shape = property(lambda self: (self.n, self.n))
    label = property(lambda self: f"identity({self.n})")
    T = property(lambda self: self)
    push = pull = lambda self, v: v
    _trace = square = lambda self: jnp.asarray(self.n, self.dtype)
    spectral = lambda self: jnp.ones((), self.dtype)


@node
class Diagonal(Operator):
    """diag(d): an elementwise function."""

    d: jax.Array
    shape = property(lambda self: (self.d.shape[-1],) * 2)
    dtype = property(lambda self: self.d.dtype)
    label = property(lambda self: f"diagonal({self.shape[0]})")
    T = property(lambda self: self)
    push = pull = lambda self, v: self.d * v.astype(self.dtype)
    dense = lambda self: jnp.diag(self.d)
    _trace = lambda self: self.d.sum()
    square = lambda self: sum_of_squares(self.d)
    spectral = lambda self: jnp.abs(self.d).max()
    merged = lambda self, other: other.scaled(self.d)
    scaled = lambda self, d: Diagonal(d * self.d.astype(d.dtype))


@node
class Transposed(Operator):
    """Jᵀ, where that is no kind of its own."""

    of: Operator
    shape = property(lambda self: self.of.shape[::-1])
    dtype = property(lambda self: self.of.dtype)
    label = property(lambda self: f"{self.of.label}ᵀ")
    T = property(lambda self: self.of)
    work = property(lambda self: self.of.work)
    push = lambda self, v: self.of.pull(v)
    pull = lambda self, w: self.of.push(w)
    dense = lambda self: self.of.dense().T
    _trace = lambda self: self.of.trace()
    square = lambda self: self.of.square()
    spectral = lambda self: self.of.spectral()

    def merged(self, other):
        """Aᵀ Bᵀ = (B A)ᵀ"""
        product = other.of.merged(self.of) if isinstance(other, Transposed) else None
        return product and product.T


# --- products and sums ---------------------------------------------------------------------------------


@node
class Chain(Operator):
    """J_k ⋯ J_2 J_1, the last function's first."""

    factors: tuple
    shape = property(lambda self: (self.factors[0].shape[0], self.factors[-1].shape[1]))
    dtype = property(lambda self: common_dtype(self.factors))
    label = property(lambda self: " · ".join(f.label for f in self.factors))
    T = property(lambda self: chain(*(f.T for f in reversed(self.factors))))
    work = property(lambda self: sum(f.work for f in self.factors))
    dense_work = property(lambda self: self._ways[0, len(self.factors)][0])
    push = lambda self, v: functools.reduce(lambda v, f: f.push(v), reversed(self.factors), v)
    pull = lambda self, w: functools.reduce(lambda w, f: f.pull(w), self.factors, w)

    def _halves(self):
        """J = A B where the chain is narrowest."""
        k = min(range(1, len(self.factors)), key=lambda k: self.factors[k].shape[0])
        return chain(*self.factors[:k]), chain(*self.factors[k:])

    def _trace(self):
        """Σ Aᵢₖ Bₖᵢ"""
        a, b = self._halves()
        return (self._as_array(a) * self._as_array(b).T).sum()

    def square(self):
        """Σ (AᴴA)ₖₗ (BBᴴ)ₗₖ where the chain is narrow within"""
        a, b = map(self._as_array, self._halves())
        if a.shape[1] >= min(self.shape):
            return sum_of_squares(self.dense())
        return jnp.abs(((a.conj().T @ a) * (b @ b.conj().T).T).sum())

    def dense(self):
        return self._made(0, len(self.factors))

    def _as_array(self, operator):
        return operator.dense().astype(self.dtype)

    def _made(self, i, j):
        if j - i == 1:
            return self._as_array(self.factors[i])
        way, k = self._ways[i, j][1:]
        if way == "push":
            return columns(self.factors[i].push, self._made(i + 1, j)).astype(self.dtype)
        if way == "pull":
            return columns(self.factors[k].pull, self._made(i, k).T).astype(self.dtype).T
        return self._made(i, k) @ self._made(k, j)

    @functools.cached_property
    def _ways(self):
        """For each run of factors the cheapest way to its matrix, (operations, what is done last, where).

        The last is a factor pushed or pulled through the matrix of the others, or a product of two matrices.
        """
        factors, best = self.factors, {(i, i + 1): (f.dense_work,) for i, f in enumerate(self.factors)}
        for length in range(2, len(factors) + 1):
            for i in range(len(factors) - length + 1):
                j = i + length
                m, n = factors[i].shape[0], factors[j - 1].shape[1]
                ways = [
                    (best[i + 1, j][0] + n * factors[i].work, "push", i),
                    (best[i, j - 1][0] + m * factors[j - 1].work, "pull", j - 1),
                ]
                for k in range(i + 1, j):
                    multiplied = 2 * m * factors[k].shape[0] * n
                    ways.append((best[i, k][0] + best[k, j][0] + multiplied, "product", k))
                best[i, j] = min(ways, key=lambda way: way[0])
        return best


@node
class Sum(Operator):
    """J + K + …: a value that is used more than once."""

    terms: tuple
    shape = property(lambda self: self.terms[0].shape)
    dtype = property(lambda self: common_dtype(self.terms))
    label = property(lambda self: f"({' + '.join(t.label for t in self.terms)})")
    T = property(lambda self: Sum(tuple(t.T for t in self.terms)))
    work = property(lambda self: sum(t.work for t in self.terms))
    dense_work = property(lambda self: sum(t.dense_work for t in self.terms))
    push = lambda self, v: self._added(t.push(v) for t in self.terms)
    pull = lambda self, w: self._added(t.pull(w) for t in self.terms)
    dense = lambda self: self._added(t.dense() for t in self.terms)
    _trace = lambda self: self._added(t.trace() for t in self.terms)

    def _added(self, parts):
        return functools.reduce(jnp.add, [part.astype(self.dtype) for part in parts])


def chain(*operators: Operator) -> Operator:
    """The product, with neighbours merged where two of a kind are one."""
    factors = []
    for operator in operators:
        for factor in operator.factors if isinstance(operator, Chain) else (operator,):
            while factors and (merged := _merged(factors[-1], factor)) is not None:
                factors.pop()
                factor = merged
            factors.append(factor)
    return factors[0] if len(factors) == 1 else Chain(tuple(factors))


def total(*operators: Operator) -> Operator:
    """The sum, with diagonals as one and without zeros."""
    terms = [t for operator in operators for t in (operator.terms if isinstance(operator, Sum) else (operator,))]
    terms = [t for t in terms if not isinstance(t, Zero)] or terms[:1]
    slopes = [t.d if isinstance(t, Diagonal) else jnp.ones(t.n, t.dtype) for t in terms if _is_diagonal(t)]
    if len(slopes) > 1:
        terms = [t for t in terms if not _is_diagonal(t)] + [Diagonal(functools.reduce(jnp.add, slopes))]
    return terms[0] if len(terms) == 1 else Sum(tuple(terms))


def _merged(a, b):
    if isinstance(a, Zero) or isinstance(b, Zero):
        return Zero((a.shape[0], b.shape[1]), common_dtype((a, b)))
    if isinstance(a, Identity) or isinstance(b, Identity):
        return b if isinstance(a, Identity) else a
    return a.merged(b)


def _is_diagonal(operator):
    return isinstance(operator, Diagonal | Identity)


def columns(f, matrix):
    return jax.vmap(f, 1, 1)(matrix)


def common_dtype(operators):
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*(operator.dtype for operator in operators))


def sum_of_squares(x):
    return (jnp.abs(x) ** 2).sum()


def size(operator):
    return "×".join(map(str, operator.shape))
