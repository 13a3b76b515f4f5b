"""Linear algebra on object arrays: factorizations with LAPACK's conventions, solves, and the Fourier transform.

A sign, phase or order that is not determined (eigenvectors, singular vectors) is that of LAPACK's result for the matrix
rounded to its dtype, the reference: each exact vector has the phase that makes its inner product with the reference
vector positive. Vectors are then smooth functions of the matrix, and for complex ones v̇ is orthogonal to v. Singular
vectors of a complex matrix have this phase on the left, while JAX's derivative of them fixes another one.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.exact.elementwise import quotient
from jaxdl.exact.numbers import each, filled, is_complex, remembered, rounded
from jaxdl.exact.types import Array, Context, Number, Rules


def hermitian(a: Array) -> Array:
    return each(lambda v: v.conjugate(), a.T)


def zero_array(mp: Context, *shape: int) -> Array:
    return filled([mp.zero] * int(np.prod(shape)), shape)


def identity_matrix(mp: Context, n: int) -> Array:
    return filled([mp.one if i == j else mp.zero for i in range(n) for j in range(n)], (n, n))


def matrix_product(mp: Context, a: Array, b: Array) -> Array:
    return filled([mp.fdot(zip(r, c, strict=True)) for r in a for c in b.T], (a.shape[0], b.shape[1]))


def vector_norm(mp: Context, v: Array) -> Number:
    return mp.sqrt(mp.fsum([abs(x) ** 2 for x in v]))


def batched(f: Callable[..., Any], ranks: list[int]) -> Callable[..., Any]:
    """A rule from a function of the context, the equation and unbatched inputs with these numbers of dimensions."""

    def rule(mp, eqn, *args):
        batch = args[0].shape[: args[0].ndim - ranks[0]]
        singles = [[x[i] for x in args] for i in np.ndindex(batch)]
        found = [f(mp, eqn, *single) for single in singles]
        stack = lambda ys, v: np.stack(ys).reshape(v.aval.shape)
        return [stack([y[k] for y in found], v) for k, v in enumerate(eqn.outvars)]

    return rule


# --- factorizations ----------------------------------------------------------------------------------


def cholesky(mp: Context, eqn: jx.Equation, a: Array) -> list[Array]:
    """L with L Lᴴ = A, from A's lower triangle; NaN where A is not positive definite."""
    n = len(a)
    y = zero_array(mp, n, n)
    for j in range(n):
        rest = a[:, j] - matrix_product(mp, y[:, :j], hermitian(y[j : j + 1, :j]))[:, 0]
        pivot = rest[j].real
        if not pivot > 0:
            return [filled([mp.nan] * n * n, (n, n))]
        y[j, j] = mp.sqrt(pivot)
        y[j + 1 :, j] = rest[j + 1 :] / y[j, j]
    return [y]


def lu(mp: Context, eqn: jx.Equation, a: Array) -> list[Array]:
    """P A = L U with the largest |re| + |im| of a column as the pivot: L and U packed, row swaps, permutation."""
    a, (m, n) = a.copy(), a.shape
    size = lambda v: abs(v.real) + abs(v.imag)
    swaps, order = [], list(range(m))
    for k in range(min(m, n)):
        best = max(range(k, m), key=lambda i: size(a[i, k]))
        swaps.append(best)
        a[[k, best]] = a[[best, k]]
        order[k], order[best] = order[best], order[k]
        for i in range(k + 1, m if a[k, k] != 0 else 0):
            a[i, k] = a[i, k] / a[k, k]
            a[i, k + 1 :] = a[i, k + 1 :] - a[i, k] * a[k, k + 1 :]
    return [a, np.array(swaps, int), np.array(order, int)]


def qr(mp: Context, eqn: jx.Equation, a: Array) -> list[Array]:
    """A = Q R by Householder reflections as in LAPACK: an entry of R's diagonal has the opposite sign of A's.

    A column that is zero below the diagonal, with a real entry on it, is not reflected.
    """
    if jx.parameters(eqn).get("pivoting"):
        raise NotImplementedError(f"jaxdl.exact has no qr with pivoting, called at {line_of(eqn)}")
    r, (m, n) = a.copy(), a.shape
    q = identity_matrix(mp, m)
    for k in range(min(m, n)):
        x = r[k:, k]
        below = vector_norm(mp, x[1:])
        if below == 0 and x[0].imag == 0:
            continue
        length = mp.hypot(below, abs(x[0])) * (-1 if x[0].real >= 0 else 1)
        v = np.concatenate([x[:1] - length, x[1:]])
        tau = (length - x[0]) / length
        v = v / v[0]
        r[k:] = r[k:] - reflected(mp, v, tau.conjugate(), r[k:])
        q[:, k:] = q[:, k:] - hermitian(reflected(mp, v, tau.conjugate(), hermitian(q[:, k:])))
        r[k + 1 :, k] = mp.zero
    p = m if jx.parameters(eqn)["full_matrices"] else min(m, n)
    return [q[:, :p], filled([v if j >= i else mp.zero for (i, j), v in np.ndenumerate(r[:p])], (p, n))]


def reflected(mp: Context, v: Array, tau: Number, a: Array) -> Array:
    """τ v vᴴ A"""
    return each(lambda x: tau * x, matrix_product(mp, v[:, None], matrix_product(mp, hermitian(v[:, None]), a)))


def householder_product(mp: Context, eqn: jx.Equation, a: Array, taus: Array) -> list[Array]:
    """The first n columns of H₁ H₂ … with Hₖ = 1 − τₖ vₖ vₖᴴ and vₖ below A's diagonal."""
    m, n = a.shape
    q = identity_matrix(mp, m)[:, :n]
    for k in reversed(range(len(taus))):
        v = np.concatenate([zero_array(mp, k), filled([mp.one], (1,)), a[k + 1 :, k]])
        q = q - reflected(mp, v, taus[k], q)
    return [q]


# --- spectra -----------------------------------------------------------------------------------------


def matrix(mp: Context, a: Array) -> Any:
    return mp.matrix([list(row) for row in a]) if a.size else mp.matrix(*a.shape)


def from_matrix(m: Any) -> Array:
    return filled([m[i, j] for i in range(m.rows) for j in range(m.cols)], (m.rows, m.cols))


def reference(mp: Context, eqn: jx.Equation, a: Array) -> list[np.ndarray]:
    """The primitive's result for the rounded matrix; the same one for all matrices that are almost equal.

    A derivative compares matrices on both sides of a point, where the last bit must not make a difference.
    """
    a = rounded(a, eqn.invars[0].aval)
    cached = remembered(mp, eqn, list)
    for known, outputs in cached:
        if np.max(abs(a - known), initial=0) <= 1e-3 * jax.numpy.finfo(a.dtype).eps ** 0.5 * np.max(abs(a), initial=0):
            return outputs
    cached.append((a, [np.asarray(y) for y in jx.binding(eqn)(a)]))
    return cached[-1][1]


def phase(mp: Context, v: Array, like: Array) -> Number:
    """The number of modulus 1 that turns v towards the vector `like`."""
    along = mp.fdot(
        [
            (mp.convert(complex(u) if np.iscomplexobj(like) else float(u)), x.conjugate())
            for u, x in zip(like, v, strict=True)
        ]
    )
    return along / abs(along) if along != 0 else mp.one


def turned(mp: Context, vectors: Array, likes: Array) -> Array:
    """Columns, each multiplied by its phase."""
    return np.stack([v * phase(mp, v, like) for v, like in zip(vectors.T, likes.T, strict=True)], 1)


def eigh(mp: Context, eqn: jx.Equation, a: Array) -> list[Array]:
    """A's eigenvalues in ascending order, and eigenvectors with the reference's phases; from one triangle of A."""
    _check_full_spectrum(eqn)
    lower = jx.parameters(eqn)["lower"]
    entry = lambda i, j: a[i, j] if (i >= j) == lower else a[j, i].conjugate()
    n = len(a)
    full = filled([entry(i, j) if i != j else a[i, i].real for i in range(n) for j in range(n)], (n, n))
    solve = mp.eighe if is_complex(eqn.invars[0].aval) else mp.eigsy
    w, v = solve(matrix(mp, full))
    like, _ = reference(mp, eqn, a)
    return [turned(mp, from_matrix(v), like), filled(list(w), (n,))]


def svd(mp: Context, eqn: jx.Equation, a: Array) -> list[Array]:
    """A = U diag(s) Vᴴ, s descending; U with the reference's phases, and mpmath's vectors of the null spaces."""
    _check_full_spectrum(eqn)
    m, n = a.shape
    k = min(m, n)
    if not jx.parameters(eqn)["compute_uv"]:
        return [filled(list(mp.svd(matrix(mp, a), compute_uv=False)), (k,))]
    u, s, vt = mp.svd(matrix(mp, a), full_matrices=jx.parameters(eqn)["full_matrices"])
    u, vt = from_matrix(u), from_matrix(vt)
    _, like, like_t = reference(mp, eqn, a)
    phases = filled([phase(mp, v, w) for v, w in zip(u.T[:k], like.T[:k], strict=True)], (k,))
    u[:, :k] = u[:, :k] * phases
    vt[:k] = hermitian(hermitian(vt[:k]) * phases)
    u[:, k:], vt[k:] = _null_space(mp, u[:, k:], like[:, k:]), _null_space(mp, vt[k:].T, like_t[k:].T).T
    return [filled(list(s), (k,)), u, vt]


def _null_space(mp: Context, vectors: Array, likes: Array) -> Array:
    return turned(mp, vectors, likes) if vectors.shape[1] == 1 else vectors


def eig(mp: Context, eqn: jx.Equation, a: Array) -> list[Array]:
    """A's eigenvalues, left and right eigenvectors of length 1, in the reference's order and with its phases."""
    left = jx.parameters(eqn)["compute_left_eigenvectors"]
    w, *vectors = mp.eig(matrix(mp, a), left=left, right=True)
    vectors = (
        [hermitian(from_matrix(vectors[0])), *map(from_matrix, vectors[1:])] if left else [*map(from_matrix, vectors)]
    )
    like, *likes = reference(mp, eqn, a)
    free = list(range(len(w)))
    order = []
    for target in like:
        order.append(min(free, key=lambda i: abs(w[i] - mp.mpc(complex(target)))))
        free.remove(order[-1])
    unit = lambda v: np.stack([x / vector_norm(mp, x) for x in v[:, order].T], 1)
    found = [turned(mp, unit(v), g) for v, g in zip(vectors, likes, strict=False)]
    return [filled([w[i] for i in order], (len(w),)), *found]


def line_of(eqn: jx.Equation) -> str:
    return jx.where(eqn) or "an unknown line"


def _check_full_spectrum(eqn: jx.Equation) -> None:
    if jx.parameters(eqn).get("subset_by_index") is not None:
        raise NotImplementedError(f"jaxdl.exact has no eigh or svd of a part of the spectrum, called at {line_of(eqn)}")


# --- solves ------------------------------------------------------------------------------------------


def triangular_solve(mp: Context, eqn: jx.Equation, a: Array, b: Array) -> list[Array]:
    """X with op(A) X = B, or X op(A) = B, by substitution."""
    p = jx.parameters(eqn)
    a = a.T if p["transpose_a"] else a
    a = each(lambda v: v.conjugate(), a) if p["conjugate_a"] else a
    lower = p["lower"] != bool(p["transpose_a"])
    if not p["left_side"]:
        a, b, lower = a.T, b.T, not lower
    n = len(a)
    x = b.copy()
    for i in range(n) if lower else reversed(range(n)):
        known = slice(0, i) if lower else slice(i + 1, n)
        pivot = mp.one if p["unit_diagonal"] else a[i, i]
        for j in range(b.shape[1]):
            x[i, j] = quotient(mp, b[i, j] - mp.fdot(zip(a[i, known], x[known, j], strict=True)), pivot)
    return [x if p["left_side"] else x.T]


def tridiagonal_solve(mp: Context, eqn: jx.Equation, low: Array, middle: Array, high: Array, b: Array) -> list[Array]:
    """X with A X = B, A tridiagonal; `low` and `high` have as many entries as the diagonal."""
    n = len(middle)
    a = zero_array(mp, n, n)
    for i in range(n):
        a[i, i] = middle[i]
        if i:
            a[i, i - 1], a[i - 1, i] = low[i], high[i - 1]
    packed, _, order = lu(mp, eqn, a)
    x = b[order]
    for i in range(n):
        x[i] = x[i] - sum(packed[i, j] * x[j] for j in range(i))
    for i in reversed(range(n)):
        rest = x[i] - sum(packed[i, j] * x[j] for j in range(i + 1, n))
        x[i] = each(lambda v, i=i: quotient(mp, v, packed[i, i]), rest)
    return [x]


# --- the Fourier transform ---------------------------------------------------------------------------


def fft(mp: Context, eqn: jx.Equation, x: Array) -> Array:
    """yₖ = Σ xⱼ exp(∓2πi jk/n) along the last axes, / n for the inverse; real transforms keep or restore a half."""
    kind, lengths = jx.parameters(eqn)["fft_type"].name, jx.parameters(eqn)["fft_lengths"]
    axes = list(range(x.ndim - len(lengths), x.ndim))
    if kind == "IRFFT":
        for axis, n in zip(axes[:-1], lengths[:-1], strict=True):
            x = transformed(mp, x, axis, n, 1)
        return real_inverse(mp, x, lengths[-1])
    for axis, n in zip(reversed(axes), reversed(lengths), strict=True):
        x = transformed(mp, x, axis, n, 1 if kind == "IFFT" else -1)
        if kind == "RFFT" and axis == axes[-1]:
            x = x[..., : n // 2 + 1]
    return x


def transformed(mp: Context, x: Array, axis: int, n: int, sign: int) -> Array:
    """The Fourier transform along one axis."""
    roots = [mp.expjpi(mp.mpf(2 * sign * k) / n) for k in range(n)]
    rows = np.moveaxis(x, axis, -1)
    scale = mp.one / n if sign > 0 else mp.one
    flat = [
        scale * mp.fdot([(v, roots[j * k % n]) for j, v in enumerate(row)])
        for row in rows.reshape(-1, n)
        for k in range(n)
    ]
    return np.moveaxis(filled(flat, rows.shape), -1, axis)


def real_inverse(mp: Context, x: Array, n: int) -> Array:
    """The inverse real transform along the last axis; the missing half is the conjugate of the other."""
    mirrored = each(lambda v: v.conjugate(), x[..., 1 : (n + 1) // 2][..., ::-1])
    ends = [x[..., :1], *([x[..., n // 2 : n // 2 + 1]] if n % 2 == 0 and n > 1 else [])]
    first, *last = [each(lambda v: v.real, end) for end in ends]
    full = np.concatenate([first, x[..., 1 : (n + 1) // 2], *last, mirrored], -1)
    return each(lambda v: v.real, transformed(mp, full, -1, n, 1))


MATRIX_RULES: Rules = {
    "cholesky": batched(cholesky, [2]),
    "lu": batched(lu, [2]),
    "qr": batched(qr, [2]),
    "householder_product": batched(householder_product, [2, 1]),
    "eigh": batched(eigh, [2]),
    "eig": batched(eig, [2]),
    "svd": batched(svd, [2]),
    "triangular_solve": batched(triangular_solve, [2, 2]),
    "tridiagonal_solve": batched(tridiagonal_solve, [1, 1, 1, 2]),
    "fft": fft,
}
