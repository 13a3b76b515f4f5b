"""Faults in rules of linear algebra: transposes, sums over broadcast axes, axes, conjugates."""

import jax.numpy as jnp
from jax import lax

from benchmarks.audit_functions.fault import (
    Fault,
    Rule,
    by_jvp,
    by_op,
    by_vjp,
    complex_normal,
    normal,
)
from jaxdl.ops.precision import like, upcast

SQUARE = normal((3, 3), (3, 3), (3,))
LARGE = normal((4096,))
IDS = jnp.array([2, 0, 2, 4], jnp.int32)


def dense(x, w, b):
    return x @ w + b[None]


def dense_pullback(x, w, b, y, dy):
    return dy @ w.T, x.T @ dy, dy.sum(0)


def scaled(s, x):
    return s * x


def add_row(x, row):
    """(n, d) + (1, d)"""
    return x + row


def upsample(x):
    """(n, n) → (2n, 2n), each entry four times"""
    return jnp.repeat(jnp.repeat(x, 2, 0), 2, 1)


def blocks(x):
    """(2n, 2n) → (n, 2, n, 2)"""
    return x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2)


def batched_product(x, w):
    return jnp.einsum("bij,bjk->bik", x, w)


def batched_product_pullback(x, w, y, dy):
    return jnp.einsum("bik,bjk->bij", dy, w), jnp.einsum("bij,bik->bjk", x, dy)


def quadratic_form(x, a):
    """xᵀ A x, A not symmetric"""
    return x @ a @ x


def cumulated(x):
    """Sums along the first axis."""
    return jnp.cumsum(x, 0)


def from_the_end(dy, axis=0):
    return jnp.flip(jnp.cumsum(jnp.flip(dy, axis), axis), axis)


def rows(table, ids):
    return table[ids]


def exponentials(x):
    return jnp.exp(x)


def squares(w):
    return w * w


def forward_substitution(a, b):
    """L⁻¹ b, L the lower triangle of a"""
    return lax.linalg.triangular_solve(a, b, left_side=True, lower=True)


def solve_lower(a, b, transpose=False):
    return lax.linalg.triangular_solve(a, b, left_side=True, lower=True, transpose_a=transpose)


def forward_substitution_pullback(a, b, y, dy):
    """b̄ = L⁻ᵀ ȳ,  L̄ = −lower(b̄ yᵀ)"""
    db = solve_lower(a, dy, transpose=True)
    return -jnp.tril(db @ y.T), db


def log_determinant(a):
    """log det of (A + Aᵀ)/2, by its Cholesky factor."""
    return 2 * jnp.log(jnp.diagonal(lax.linalg.cholesky((a + a.T) / 2, symmetrize_input=False))).sum()


def inverse(a):
    """((A + Aᵀ)/2)⁻¹ = L⁻ᵀ L⁻¹"""
    half = solve_lower(lax.linalg.cholesky((a + a.T) / 2, symmetrize_input=False), jnp.eye(len(a), dtype=a.dtype))
    return half.T @ half


# JAX pairs cotangents of complex numbers without a conjugate: a holomorphic function's cotangent is ȳ f′.


def complex_product(x, w):
    return x @ w


def power(z):
    """|z|²"""
    return (z * z.conj()).real


def modulus(z):
    return jnp.abs(z)


def inner(a, b):
    """Σ ā b"""
    return (a.conj() * b).sum()


guarded = lambda y: jnp.where(y > 0, y, 1)
toward = lambda z, y, z_dot: (z.conj() * z_dot).real / guarded(y)

LOWER = (normal((3, 3), seed=3)[0] + 2 * jnp.eye(3, dtype=jnp.float32), *normal((3, 2)))
HALF = normal((3, 3), seed=4)[0]
POSITIVE = (HALF @ HALF.T + jnp.eye(3, dtype=jnp.float32),)
TRIPLE = normal((2, 3, 3), (2, 3, 3))

DENSE = Rule(by_vjp, dense, dense_pullback, SQUARE)
DENSE_OP = Rule(by_op, dense, dense_pullback, SQUARE)
SCALED = Rule(by_op, scaled, lambda s, x, y, dy: ((dy * x).sum(), s * dy), normal((), (2, 3)))
ADD_ROW = Rule(by_vjp, add_row, lambda x, row, y, dy: (dy, dy.sum(0, keepdims=True)), normal((4, 3), (1, 3)))
UPSAMPLE = Rule(by_op, upsample, lambda x, y, dy: blocks(dy).sum((1, 3)), normal((2, 3)))
BATCHED = Rule(by_vjp, batched_product, batched_product_pullback, TRIPLE)
FORM = Rule(
    by_vjp, quadratic_form, lambda x, a, y, dy: (dy * (a @ x + x @ a), dy * jnp.outer(x, x)), normal((3,), (3, 3))
)
FORM_JVP = Rule(
    by_jvp, quadratic_form, lambda x, a, y, x_dot, a_dot: x_dot @ (a @ x + x @ a) + x @ a_dot @ x, normal((3,), (3, 3))
)
CUMULATED = Rule(by_op, cumulated, lambda x, y, dy: from_the_end(dy), normal((3, 3)))
CUMULATED_JVP = Rule(by_jvp, cumulated, lambda x, y, x_dot: jnp.cumsum(x_dot, 0), normal((3, 3)))
ROWS = Rule(
    by_vjp, rows, lambda table, ids, y, dy: (jnp.zeros_like(table).at[ids].add(dy), None), (*normal((5, 2)), IDS)
)
EXPONENTIALS = Rule(by_op, exponentials, lambda x, y, dy: dy * y, LARGE)
SQUARES = Rule(by_vjp, squares, lambda w, y, dy: 2 * w * dy, normal((64, 64)))
SUBSTITUTION = Rule(by_vjp, forward_substitution, forward_substitution_pullback, LOWER)
SUBSTITUTION_OP = Rule(by_op, forward_substitution, forward_substitution_pullback, LOWER)
LOG_DETERMINANT = Rule(by_vjp, log_determinant, lambda a, y, dy: dy * inverse(a), POSITIVE)
COMPLEX = Rule(by_vjp, complex_product, lambda x, w, y, dy: (dy @ w.T, x.T @ dy), complex_normal((2, 3), (3, 2)))
POWER = Rule(by_vjp, power, lambda z, y, dy: 2 * z.conj() * dy.astype(z.dtype), complex_normal((3,)))
MODULUS = Rule(by_jvp, modulus, lambda z, y, z_dot: toward(z, y, z_dot), complex_normal((3,)))
INNER = Rule(by_op, inner, lambda a, b, y, dy: ((dy * b).conj(), dy * a.conj()), complex_normal((3,), (3,)))


def two_sided(transposed):
    """A⁻¹ b by `lax.custom_linear_solve`, which takes one solver for A and one for Aᵀ."""

    def solved(a, b):
        wide, b_wide = upcast((a, b))
        solve = lambda matrix: lambda _, b: jnp.linalg.inv(matrix) @ b
        return like(b, lax.custom_linear_solve(lambda x: wide @ x, b_wide, solve(wide), solve(transposed(wide))))

    return solved


FAULTS = (
    DENSE.fault("w̄ = ȳᵀ x", "transpose", lambda x, w, b, y, dy: (dy @ w.T, dy.T @ x, dy.sum(0))),
    DENSE_OP.fault("x̄ = ȳ w", "transpose", lambda x, w, b, y, dy: (dy @ w, x.T @ dy, dy.sum(0))),
    DENSE.fault("x̄ = ȳ xᵀ", "stale or swapped residual", lambda x, w, b, y, dy: (dy @ x.T, x.T @ dy, dy.sum(0))),
    DENSE_OP.fault("w̄ = yᵀ ȳ", "input in place of output", lambda x, w, b, y, dy: (dy @ w.T, y.T @ dy, dy.sum(0))),
    DENSE_OP.fault(
        "b̄ = mean ȳ", "missing sum over a broadcast", lambda x, w, b, y, dy: (dy @ w.T, x.T @ dy, dy.mean(0))
    ),
    DENSE.fault(
        "b̄ = the first row of ȳ", "missing sum over a broadcast", lambda x, w, b, y, dy: (dy @ w.T, x.T @ dy, dy[0])
    ),
    DENSE.fault("b̄ summed over the features", "wrong axis", lambda x, w, b, y, dy: (dy @ w.T, x.T @ dy, dy.sum(1))),
    DENSE.fault("b̄ = ȳ, not summed", "wrong shape", lambda x, w, b, y, dy: (dy @ w.T, x.T @ dy, dy), "structure"),
    SCALED.fault("s̄ the mean", "missing sum over a broadcast", lambda s, x, y, dy: ((dy * x).mean(), s * dy)),
    ADD_ROW.fault("the first row", "missing sum over a broadcast", lambda x, row, y, dy: (dy, dy[:1])),
    UPSAMPLE.fault("one of the four", "missing sum over a broadcast", lambda x, y, dy: blocks(dy)[:, 0, :, 0]),
    BATCHED.fault(
        "x̄ = ȳ w",
        "transpose",
        lambda x, w, y, dy: (jnp.einsum("bik,bkj->bij", dy, w), jnp.einsum("bij,bik->bjk", x, dy)),
    ),
    BATCHED.fault(
        "w̄ of another batch entry",
        "wrong axis",
        lambda x, w, y, dy: (jnp.einsum("bik,bjk->bij", dy, w), jnp.einsum("bij,bik->bjk", x[::-1], dy)),
    ),
    FORM.fault(
        "2 A x, as if A were symmetric", "transpose", lambda x, a, y, dy: (2 * dy * (a @ x), dy * jnp.outer(x, x))
    ),
    FORM_JVP.fault("one side only", "missing term", lambda x, a, y, x_dot, a_dot: x_dot @ (a @ x) + x @ a_dot @ x),
    CUMULATED.fault("summed forward", "missing flip", lambda x, y, dy: jnp.cumsum(dy, 0)),
    CUMULATED.fault("flipped once", "missing flip", lambda x, y, dy: jnp.cumsum(jnp.flip(dy, 0), 0)),
    CUMULATED_JVP.fault("the last axis", "wrong axis", lambda x, y, x_dot: jnp.cumsum(x_dot, 1)),
    ROWS.fault(
        "the last of equal ids",
        "missing sum over a broadcast",
        lambda table, ids, y, dy: (jnp.zeros_like(table).at[ids].set(dy), None),
    ),
    EXPONENTIALS.fault("entry 1234", "zeroed entry in a large array", lambda x, y, dy: (dy * y).at[1234].set(0)),
    SQUARES.fault("entry (17, 40)", "zeroed entry in a large array", lambda w, y, dy: (2 * w * dy).at[17, 40].set(0)),
    SUBSTITUTION.fault(
        "b̄ = L⁻¹ ȳ",
        "transpose",
        lambda a, b, y, dy: (-jnp.tril(solve_lower(a, dy, transpose=True) @ y.T), solve_lower(a, dy)),
    ),
    SUBSTITUTION.fault(
        "L̄ full",
        "missing term",
        lambda a, b, y, dy: (-solve_lower(a, dy, transpose=True) @ y.T, solve_lower(a, dy, transpose=True)),
    ),
    SUBSTITUTION_OP.fault(
        "L̄ = lower(b̄ yᵀ)",
        "sign",
        lambda a, b, y, dy: (jnp.tril(solve_lower(a, dy, transpose=True) @ y.T), solve_lower(a, dy, transpose=True)),
    ),
    LOG_DETERMINANT.fault("half of it", "factor", lambda a, y, dy: dy * inverse(a) / 2),
    COMPLEX.fault("w conjugated", "missing conj", lambda x, w, y, dy: (dy @ w.conj().T, x.T @ dy)),
    POWER.fault("2 z ȳ", "missing conj", lambda z, y, dy: 2 * z * dy.astype(z.dtype)),
    MODULUS.fault("Re(z ż)/|z|", "missing conj", lambda z, y, z_dot: (z * z_dot).real / guarded(y)),
    INNER.fault("ā = ȳ b", "missing conj", lambda a, b, y, dy: (dy * b, dy * a.conj())),
    Fault(
        "solve: A⁻¹ on the way back",
        "forward and reverse disagree",
        two_sided(lambda a: a.T),
        two_sided(lambda a: a),
        (LOWER[0] + jnp.triu(SQUARE[0]), SQUARE[2]),
        frozenset({"wrong"}),
    ),
)
