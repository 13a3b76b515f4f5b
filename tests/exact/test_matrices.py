"""Factorizations: their definitions to 40 digits, LAPACK's conventions, and derivatives against JAX's rules."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax import lax

from jaxdl import exact

DRAWS = np.random.default_rng(0)
A = DRAWS.normal(size=(3, 3))
C = A + 1j * DRAWS.normal(size=(3, 3))
TALL = DRAWS.normal(size=(4, 3))
POSITIVE, HERMITIAN = A @ A.T + np.eye(3), C @ C.conj().T
B = DRAWS.normal(size=(3, 2))
whole = lambda a: jnp.linalg.qr(a, mode="complete")
thin = lambda a: jnp.linalg.svd(a, full_matrices=False)
singular = lambda a: jnp.linalg.svd(a, compute_uv=False)
# The name of the function, the function, its argument, and whether its derivative is unique and known to JAX.
TABLE = [
    ("cholesky", jnp.linalg.cholesky, POSITIVE, True),
    ("cholesky", jnp.linalg.cholesky, HERMITIAN, True),
    ("lu", lax.linalg.lu, A, True),
    ("lu", lax.linalg.lu, C, True),
    ("lu", lax.linalg.lu, TALL, True),
    ("lu", lax.linalg.lu, TALL.T, True),
    ("qr", jnp.linalg.qr, A, True),
    ("qr", jnp.linalg.qr, C, True),
    ("qr", jnp.linalg.qr, TALL, True),
    ("qr", jnp.linalg.qr, TALL.T, True),
    ("qr", whole, TALL, False),
    ("eigh", jnp.linalg.eigh, POSITIVE, True),
    ("eigh", jnp.linalg.eigh, HERMITIAN, True),
    ("eig", jnp.linalg.eig, A, False),
    ("eig", jnp.linalg.eig, C, False),
    ("eig both", lambda a: lax.linalg.eig(a, compute_left_eigenvectors=True), C, False),
    ("eig left", lambda a: lax.linalg.eig(a, compute_right_eigenvectors=False), A, False),
    ("eigvals", jnp.linalg.eigvals, A, True),
    ("svd", jnp.linalg.svd, A, True),
    ("svd", jnp.linalg.svd, C, False),
    ("svd", jnp.linalg.svd, TALL, False),
    ("svd", thin, TALL, True),
    ("svd", singular, TALL.T, True),
    ("inv", jnp.linalg.inv, np.stack([A, POSITIVE]), True),
    ("det", lambda a: jnp.linalg.det(jnp.pad(a, 1) + jnp.eye(5)), A, True),
    ("slogdet", jnp.linalg.slogdet, A, True),
    ("pinv", jnp.linalg.pinv, TALL, True),
    ("triangular", lambda a: jax.scipy.linalg.solve_triangular(a, B, trans=1, lower=True), A, True),
    ("right", lambda a: lax.linalg.triangular_solve(a, B.T, unit_diagonal=True), A, True),
    ("tridiagonal", lambda a: lax.linalg.tridiagonal_solve(a[0], a[1], a[2], B), A, True),
    ("householder", lambda a: lax.linalg.householder_product(a, jnp.array([0.3, 0.5, 0.7])), TALL, False),
    ("fft", jnp.fft.fft, TALL, True),
    ("ifft", jnp.fft.ifft2, C, True),
    ("rfft", jnp.fft.rfft2, TALL, True),
    ("irfft", lambda a: jnp.fft.irfft2(a, (3, 5)), C, True),
    ("irfft", lambda a: jnp.fft.irfft(a, 4), C, True),
]


@pytest.fixture(autouse=True)
def _double_precision():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize(
    ("name", "f", "a", "has_derivative"), TABLE, ids=[f"{i}-{row[0]}" for i, row in enumerate(TABLE)]
)
def test_as_lapack(name, f, a, has_derivative):
    """The same signs, phases and order as in LAPACK; and the derivative of JAX's rule where it is unique."""
    a = jnp.asarray(a)
    for y, e in zip(jax.tree.leaves(exact.evaluate(f, 20)(a)), jax.tree.leaves(f(a)), strict=True):
        np.testing.assert_allclose(y.astype(e.dtype), e, rtol=1e-11, atol=1e-12)
    if has_derivative:
        along = jnp.asarray(np.cos(np.arange(a.size)).reshape(a.shape) * (1 + (0.5j if jnp.iscomplexobj(a) else 0)))
        found = jax.tree.leaves(exact.derivative(f, digits=20, along=(along,))(a))
        tangents = [t for t in jax.tree.leaves(jax.jvp(f, (a,), (along,))[1]) if t.dtype != jax.dtypes.float0]
        for d, t in zip(found, tangents, strict=True):
            np.testing.assert_allclose(d.value.astype(t.dtype), t, rtol=1e-10, atol=1e-10)


def test_definitions_to_forty_digits():
    exactly = lambda f: [mpmath.matrix(y.tolist()) for y in jax.tree.leaves(exact.evaluate(f, 50)(A))]
    with mpmath.workdps(50):
        a = mpmath.matrix(A.tolist())
        small = lambda m: mpmath.mnorm(m) < mpmath.mpf(10) ** -40
        q, r = exactly(jnp.linalg.qr)
        assert small(q * r - a)
        assert small(q.T * q - mpmath.eye(3))
        u, s, vt = exactly(jnp.linalg.svd)
        assert small(u * mpmath.diag(list(s)) * vt - a)
        w, v = exactly(jnp.linalg.eigh)
        assert small((a + a.T) / 2 * v - v * mpmath.diag(list(w)))
        (inverse,) = exactly(jnp.linalg.inv)
        assert small(inverse * a - mpmath.eye(3))


def test_no_factor_of_an_indefinite_matrix():
    assert all(v != v for v in exact.evaluate(jnp.linalg.cholesky)(-POSITIVE).ravel()[:1])


def test_phases_do_not_depend_on_the_last_bit():
    """In this direction the rounded matrices on both sides differ, and LAPACK's vectors of them too."""
    d = exact.derivative(jnp.linalg.eigh, digits=20, along=(jnp.asarray(HERMITIAN),))(jnp.asarray(HERMITIAN))
    assert not d[1].is_jump.any()
    np.testing.assert_allclose(d[1].value.astype(complex), 0, atol=1e-15)


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (2, 0, 0)], ids=str)
def test_empty_matrices(shape):
    a = jnp.zeros(shape)
    square = {"eigh": jnp.linalg.eigh, "eig": jnp.linalg.eig, "det": jnp.linalg.det, "cholesky": jnp.linalg.cholesky}
    any_form = {"svd": jnp.linalg.svd, "qr": whole, "lu": lax.linalg.lu, "fft": lambda a: jnp.fft.fft(a.T)}
    for name, f in (any_form | (square if shape[-1] == shape[-2] else {})).items():
        for y, e in zip(jax.tree.leaves(exact.evaluate(f, 20)(a)), jax.tree.leaves(f(a)), strict=True):
            np.testing.assert_array_equal(y.astype(e.dtype), e, err_msg=name)
