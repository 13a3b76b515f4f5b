"""`jacobian.structured`: the matrix of jax.jacrev, as an operator with the structure of the layers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jax.experimental.ode import odeint
from jax.flatten_util import ravel_pytree

from jaxdl import nn, ops
from jaxdl.interop import as_lineax
from jaxdl.jacobian import eliminate
from jaxdl.jacobian.methods.structure import structured

# Most of the time is compilation.
quickly = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def normal(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


W, B, TABLE, IMAGE, KERNEL, SQUARE = (
    normal(*shape, seed=i) for i, shape in enumerate([(3, 5), (3,), (4, 5), (1, 6, 6, 2), (3, 3, 2, 4), (5, 5)])
)
X = normal(5, seed=6)
NET = nn.serial(nn.conv(2, 3, padding="SAME"), nn.relu, nn.max_pool(2), nn.flatten, nn.dense(4), nn.softmax)
NET_PARAMS = NET.init(jax.random.key(7), (6, 6, 2))
ATTENTION = nn.attention(2)
ATTENTION_PARAMS = ATTENTION.init(jax.random.key(8), (4, 6))


@jax.custom_vjp
def sine(x):
    return jnp.sin(x)


sine.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (jnp.cos(x) * dy,))


@jax.custom_jvp
def softmax(x):
    """A rule named like a jaxdl op; its primal is elementwise, its rule is not."""
    return 2 * x


softmax.defjvp(lambda x, x_dot: (2 * x[0], 2 * x_dot[0] + x_dot[0].sum()))


def recurrent(x):
    h, c = x, jnp.sin(x)
    for _ in range(2):
        h, c = jnp.tanh(SQUARE @ h + c), c * jax.nn.sigmoid(h) + h
    return h + c


def solved(x):
    """With a solver that closes over x, as the product does."""
    solver = lambda product, b: jnp.linalg.solve(jax.jacfwd(product)(b), b)
    return jax.lax.custom_linear_solve(lambda v: x[:, :3] @ v + 4 * v, x[:, 3], solver, solver)


# name: (function, point, the printed Jacobian)
CASES = {
    "relu layer": (lambda x: ops.relu(ops.matmul(W, x) + B), X, "diagonal(3) · dense(3×5)"),
    "by weights": (lambda w: ops.relu(ops.matmul(w, X) + B), W, "diagonal(3) · (I(3) ⊗ dense(1×5))"),
    "dense": (lambda x: ops.tanh(ops.dense(x, W.T, B)), TABLE, "diagonal(12) · (I(4) ⊗ dense(3×5))"),
    "dense by w": (lambda w: ops.tanh(ops.dense(TABLE, w, B)), W.T, "diagonal(12) · (dense(4×5) ⊗ I(3))"),
    "square dense": (lambda x: ops.matmul(x, SQUARE), TABLE, "(I(4) ⊗ dense(5×5))"),
    "square dense from the left": (lambda x: ops.matmul(SQUARE, x), TABLE.T, "(dense(5×5) ⊗ I(4))"),
    "difference": (lambda x: x[::-1] - jnp.exp(x) - x, X, None),
    "dense by b": (lambda b: ops.tanh(ops.dense(TABLE, W.T, b)), B, "diagonal(12) · sum(3×12)ᵀ"),
    "softmax": (ops.softmax, TABLE, "(diagonal + rank one)(20)"),
    "softmax of columns": (lambda x: ops.softmax(x, axis=0), TABLE, "(diagonal + rank one)(20)"),
    "log softmax": (lambda x: ops.log_softmax(W @ x), X, "(diagonal + rank one)(3) · dense(3×5)"),
    "softmax by equations": (jax.nn.softmax, TABLE, None),
    "softmax under vmap": (jax.vmap(ops.softmax), TABLE, "softmax(20×20)"),
    "convolution": (lambda x: ops.conv2d(x, KERNEL, stride=2), IMAGE, "toeplitz(16×72)"),
    "convolution by w": (lambda w: ops.relu(ops.conv2d(IMAGE, w)), KERNEL, "diagonal(64) · windows(64×72)"),
    "max pool": (lambda x: ops.max_pool(x, window=3, stride=2), IMAGE, "selection(8×72)"),
    "max pool at ties": (lambda x: ops.max_pool(ops.relu(x), window=2), IMAGE, "selection(18×72) · diagonal(72)"),
    "average pool": (lambda x: ops.avg_pool(x, window=2), IMAGE, "avg_pool(18×72)"),
    "maximum": (lambda x: ops.max(x, axis=1), TABLE.round(), "sum(4×20) · diagonal(20)"),
    "maximum by jax": (lambda x: (2 * x).max(0), TABLE.round(), "sum(5×20) · diagonal(20)"),
    "logsumexp": (lambda x: ops.logsumexp(x, axis=0), TABLE, "sum(5×20) · diagonal(20)"),
    "slices": (lambda x: jnp.concatenate([x[1:3] * 2, x[::-1], jnp.pad(x, (1, 2))[3:]]), X, None),
    "gather": (lambda x: x.T[jnp.array([3, 0, 0])], TABLE.T, "selection(15×20)"),
    "embedding": (lambda t: 2 * ops.embedding(t, jnp.array([1, 0, 1])), TABLE, "diagonal(15) · selection(15×20)"),
    "broadcast": (lambda x: x[:, None] * jnp.ones((3, 4)) + x[None, :1] * 3.0 + x.sum(), B, None),
    "products of matrices": (lambda x: jnp.einsum("ibj,kjb->kbi", x, normal(2, 5, 4)), normal(3, 4, 5), None),
    "used twice": (lambda x: x @ x.T, TABLE[:2], None),
    "residual": (
        lambda x: x + ops.tanh(SQUARE @ x),
        X,
        "(identity(5) + diagonal(5) · dense(5×5))",
    ),
    "recurrent": (recurrent, X, None),
    "stop gradient": (lambda x: x * jax.lax.stop_gradient(x), X, "diagonal(5)"),
    "custom vjp": (lambda x: sine(W @ x), X, "diagonal(3) · dense(3×5)"),
    "custom jvp that mixes": (lambda x: softmax(W @ x), X, "softmax(3×3) · dense(3×5)"),
    "where": (lambda x: jnp.where(x > 0, jax.nn.gelu(x), jnp.exp(x)), X, "diagonal(5)"),
    "scan": (lambda x: jax.lax.scan(lambda c, _: (jnp.sin(SQUARE @ c), c[0]), x, length=2), X, None),
    "cond": (lambda x: jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, x), X, "cond(5×5)"),
    "linear solve": (solved, normal(3, 4), None),
    "complex inside": (lambda x: jnp.abs(jnp.fft.fft(x)), X, "linear(5×5)"),
    "pytrees": (lambda d: {"y": d["a"] * d["b"][0], "z": d["b"]}, {"a": B, "b": X[:2]}, None),
    "convolutional network": (lambda x: NET.apply(NET_PARAMS, x), IMAGE, None),
    "its parameters": (lambda p: NET.apply(p, IMAGE), NET_PARAMS, None),
    "attention": (lambda x: ATTENTION.apply(ATTENTION_PARAMS, x), normal(1, 4, 6), None),
    "identity": (lambda x: x, X, "identity(5)"),
    "constant": (lambda x: jnp.ones(3), X, "zero(3×5)"),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_jacobian(name):
    f, x, label = CASES[name]

    @quickly
    def products(x):
        vector, unravel = ravel_pytree(x)
        jacobian = structured(f)(x)
        want = jax.jacrev(lambda v: ravel_pytree(f(unravel(v)))[0])(vector)
        m, n = want.shape
        v, w = jnp.ones((n, 2)).at[0].set(2), jnp.ones(m).at[-1].set(-1)
        return (
            jacobian,
            want,
            jacobian.dense(),
            (jacobian @ v, want @ v),
            (jacobian.T @ w, want.T @ w),
            jacobian.frobenius(),
        )

    jacobian, want, dense, pushed, pulled, frobenius = products(x)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5 * max(1, np.abs(want).max()))
    assert jacobian.shape == want.shape
    assert label is None or str(jacobian) == label
    close(dense, want)
    close(*pushed)
    close(*pulled)
    close(frobenius, np.linalg.norm(want))
    if want.shape[0] == want.shape[1]:
        close(quickly(lambda jacobian: jacobian.trace())(jacobian), np.trace(want))


@pytest.mark.parametrize("name", ["relu layer", "by weights", "softmax", "average pool", "max pool at ties"])
def test_the_spectral_norm(name):
    """Also with repeated singular values, where Lanczos ends early."""
    f, x, _ = CASES[name]
    jacobian, spectral = quickly(lambda x: (structured(f)(x).dense(), structured(f)(x).T.spectral()))(x)
    np.testing.assert_allclose(spectral, np.linalg.norm(jacobian, 2), rtol=1e-4)


@pytest.mark.parametrize("name", ["relu layer", "convolution", "softmax", "recurrent"])
def test_operators_come_out_of_vmap(name):
    f, x, _ = CASES[name]
    batch = jnp.stack([x, 0.5 * x])
    jacobians = quickly(jax.vmap(structured(f)))(batch)
    got = quickly(jax.vmap(lambda jacobian: jacobian.dense()))(jacobians)
    want = quickly(jax.vmap(jax.jacrev(f)))(batch)
    np.testing.assert_allclose(got, want.reshape(got.shape), rtol=1e-4, atol=1e-5)


def test_neighbours_merge():
    jacobian = structured(lambda x: jnp.sin(jnp.exp(x))[1:][::-1][:2])(X)
    assert str(jacobian) == "selection(2×5) · diagonal(5)"
    assert str(jacobian.T) == "diagonal(5) · selection(2×5)ᵀ"
    np.testing.assert_array_equal(jacobian.T.dense(), jacobian.dense().T)
    assert str(structured(jnp.sin)(X) @ structured(jnp.cos)(X)) == "diagonal(5)"


def test_the_narrow_place_is_used():
    """Dense factors are multiplied starting at the narrow place, not one after the other."""
    u, v = normal(60, 2), normal(2, 60)
    jacobian = structured(lambda x: SQUARE.sum() * (v.T @ (u.T @ (u @ (v @ x)))))(normal(60))
    flops = jax.jit(lambda j: j.dense()).lower(jacobian).compile().cost_analysis()["flops"]
    assert flops < 4 * 60 * 60 * 2 + 3 * 60 * 60


def test_no_matrix_is_computed():
    """The dense matrix of 10⁵ × 10⁵ would take 40 GB."""
    n = 100_000
    x = normal(n)

    def applied(x, v):
        jacobian = structured(lambda x: jnp.tanh(ops.softmax(jnp.sin(x)) * 3)[::-1])(x)
        return jacobian @ v, jacobian.T @ v

    compiled = jax.jit(applied).lower(x, x).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 50 * 4 * n
    want = jax.jvp(lambda x: jnp.tanh(jax.nn.softmax(jnp.sin(x)) * 3)[::-1], (x,), (x,))[1]
    np.testing.assert_allclose(compiled(x, x)[0], want, rtol=1e-3, atol=1e-9)
    diagonal = structured(jnp.sin)(x)
    np.testing.assert_allclose(diagonal @ x, jnp.cos(x) * x, rtol=1e-6)
    np.testing.assert_allclose(diagonal.trace(), jnp.cos(x).sum(), rtol=1e-4)


def test_arguments_are_those_of_jacrev():
    f = lambda w, x, flag: (jnp.tanh(w @ x) if flag == "on" else x, x.sum())
    jacobian, aux = quickly(lambda w, x: structured(f, argnums=(1, 0), has_aux=True)(w, x, "on"))(W, X)
    want = quickly(lambda w, x: jax.jacrev(f, argnums=(1, 0), has_aux=True)(w, x, "on")[0])(W, X)
    np.testing.assert_allclose(aux, X.sum(), rtol=1e-5)
    np.testing.assert_allclose(jacobian.dense(), jnp.concatenate([want[0], want[1].reshape(3, -1)], 1), rtol=1e-5)
    z = X.astype(jnp.complex64) * (1 + 1j)
    holomorphic = structured(lambda z: jnp.sin(z) * z, holomorphic=True)(z)
    assert str(holomorphic) == "diagonal(5)"
    want = jax.jacrev(lambda z: jnp.sin(z) * z, holomorphic=True)(z)
    np.testing.assert_allclose(holomorphic.dense(), want, rtol=1e-5)
    assert structured(lambda x: x[:0])(X).dense().shape == (0, 5)


def test_norms_of_complex_jacobians():
    w, z = (jax.lax.complex(*normal(2, *shape)) for shape in ((2, 5), (5,)))
    narrow = quickly(structured(lambda z: w.T @ (w @ z), holomorphic=True))(z)
    np.testing.assert_allclose(quickly(lambda j: j.frobenius())(narrow), np.linalg.norm(w.T @ w), rtol=1e-5)
    spectral = quickly(lambda j: j.spectral())(narrow)
    np.testing.assert_allclose(spectral, np.linalg.norm(w.T @ w, 2), rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pooling_of_a_large_image(dtype):
    """With more entries than the dtype counts exactly, and than 4096."""
    x = normal(1, 64, 66, 1).astype(dtype)
    pool = lambda x: ops.max_pool(x, window=2)
    pulled = quickly(lambda x: structured(pool)(x).T @ jnp.ones(32 * 33, dtype))(x)
    want = jax.vjp(pool, x)[1](jnp.ones((1, 32, 33, 1), dtype))[0]
    np.testing.assert_array_equal(pulled, want.ravel())


def test_errors_say_what_to_do():
    with pytest.raises(TypeError, match=r"structured: the function's inputs must be floating-point, got int32"):
        structured(jnp.sin)(3)
    jacobian = structured(CASES["relu layer"][0])(X)
    with pytest.raises(ValueError, match=r"J is 3×5, so J @ v needs v of shape \(5,\) or \(5, k\), got \(3,\)"):
        jacobian @ B
    with pytest.raises(ValueError, match="only a square Jacobian has a trace, this one is 3×5"):
        jacobian.trace()
    with pytest.raises(TypeError, match="expected a function, got int"):
        structured(3)


def test_dtypes_are_kept():
    half = quickly(structured(lambda x: jnp.sin(x[::-1]) * 2))(X.astype(jnp.bfloat16))
    assert half.dense().dtype == half.T.dense().dtype == jnp.bfloat16


def test_lineax_solves_with_it():
    lineax = pytest.importorskip("lineax", reason="as_lineax converts to operators of lineax, which is optional")
    f = lambda x: x + 0.1 * ops.tanh(SQUARE @ ops.softmax(x)) + x[::-1] ** 3
    jacobian = quickly(structured(f))(X)
    solved = lineax.linear_solve(as_lineax(jacobian), X, lineax.AutoLinearSolver(well_posed=True)).value
    np.testing.assert_allclose(jax.jacrev(f)(X) @ solved, X, rtol=1e-4, atol=1e-5)
    assert isinstance(as_lineax(structured(jnp.sin)(X)), lineax.DiagonalLinearOperator)
    assert isinstance(as_lineax(structured(lambda x: W @ x)(X)), lineax.MatrixLinearOperator)
    solver = lineax.GMRES(rtol=1e-6, atol=1e-6)
    by_products = lineax.linear_solve(as_lineax(jacobian), X, solver, throw=False).value
    np.testing.assert_allclose(by_products, solved, rtol=1e-3, atol=1e-4)


def test_constant_outputs_of_a_loop_need_no_derivative():
    """As in JAX: the rows of this scan do not depend on its carry."""
    step = lambda carry, row: (jnp.tanh(carry), jnp.sin(row))
    f = lambda x: jnp.concatenate([(out := lax.scan(step, x, jnp.ones(3)))[0], lax.igamma_grad_a(out[1], out[1])])
    x = jnp.array([0.3, -0.7])
    np.testing.assert_allclose(structured(f)(x).dense(), jax.jacrev(f)(x), rtol=1e-6)


def test_of_a_solution_that_jax_differentiates_only_in_reverse():
    """The pullback of odeint cannot be transposed: products J v are by rows."""
    f = lambda x: odeint(lambda y, t: -y * x[0], x, jnp.array([0.0, 0.5]))[1]
    x, v = normal(3), normal(3, seed=1)
    operator, expected = structured(f)(x), jax.jacrev(f)(x)
    np.testing.assert_allclose(operator.dense(), expected, atol=1e-5)
    np.testing.assert_allclose(operator.push(v), expected @ v, atol=1e-5)
    np.testing.assert_allclose(operator.pull(v), v @ expected, atol=1e-5)


def test_a_rule_with_symbolic_zeros_is_no_sum_over_its_inputs():
    """As in loops of equinox: its tangent is zero unless both inputs move."""
    second = jax.custom_jvp(lambda x, y: 1 * y)

    def tangent(primals, tangents):
        is_still = any(isinstance(t, SymbolicZero) for t in tangents)
        return primals[1], jnp.zeros_like(primals[1]) if is_still else tangents[1]

    second.defjvp(tangent, symbolic_zeros=True)
    x = X[:4]
    for f in (lambda x: second(x, jnp.sin(x)), lambda x: jax.lax.map(lambda x: second(x, jnp.sin(x)), x)):
        np.testing.assert_allclose(structured(f)(x).dense(), jnp.diag(jnp.cos(x)), rtol=1e-6)
        np.testing.assert_allclose(eliminate(f)(x), jnp.diag(jnp.cos(x)), rtol=1e-6)


def test_a_matrix_has_the_type_of_the_arguments():
    """Sums of 16 bits are computed in float32."""
    x = X.astype(jnp.bfloat16)
    assert structured(lambda x: x.sum() * x).matrix(x).dtype == x.dtype
