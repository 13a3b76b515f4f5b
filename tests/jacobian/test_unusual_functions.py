"""Functions that once gave a wrong result or an error: all methods are right, or refuse them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental.sparse import BCOO, BCSR

import jaxdl
from jaxdl import jacobian
from tests.draws import draw

X = draw(95, 4)
A = draw(96, 4, 4) + 4 * jnp.eye(4)
BANDED = np.eye(4, dtype=np.float32) + np.eye(4, k=1, dtype=np.float32)
BCOO_BANDED, BCSR_BANDED = BCOO.fromdense(BANDED), BCSR.fromdense(BANDED)


@jax.custom_jvp
def triple(x):
    return 3 * x


triple.defjvp(lambda p, t: (triple(*p), triple(*t)))


@jax.custom_jvp
def summed(x):
    """Its rule calls it on the tangent; each entry depends on several."""
    return jnp.cumsum(x)


summed.defjvp(lambda p, t: (summed(*p), summed(*t)))


@jax.custom_vjp
def only_reverse(x):
    return jnp.sin(x) * x.sum()


only_reverse.defvjp(
    lambda x: (only_reverse(x), x),
    lambda x, dy: (dy * jnp.cos(x) * x.sum() + (dy * jnp.sin(x)).sum() * jnp.ones_like(x),),
)


def with_references(x):
    """JAX cannot write a constant into a reference, and then differentiate in reverse."""
    total, kept = jax.new_ref(jnp.float32(0)), jax.new_ref(x)
    kept[3] = 2.0
    kept[0] = kept[1] * x[0]

    def step(i, carry):
        total[...] += kept[i] ** 2
        kept[i] = total[...]
        return carry

    lax.fori_loop(0, 4, step, 0)
    return kept[...]


c64 = lambda x: x.astype(jnp.complex64)
FUNCTIONS = {
    "phase": lambda x: jnp.real(jnp.exp(c64(x) * 2j) * jnp.complex64(1 + 1j)),
    "power of a filter": lambda x: jnp.abs(jnp.fft.fft(x)) ** 2,
    "modulus": lambda x: jnp.abs(lax.complex(x[:2], x[2:])),
    "angle": lambda x: jnp.angle(lax.complex(x[:2], x[2:])),
    "rotations in a scan": lambda x: jnp.real(
        lax.scan(lambda z, t: (z * jnp.exp(c64(t) * 1j), z), jnp.complex64(1), x)[1]
    ),
    "a complex matrix": lambda x: jnp.abs(A.astype(jnp.complex64) * jnp.complex64(1j) @ c64(x)),
    "conjugates": lambda x: jnp.imag(jnp.conj(c64(x) * 1j) * c64(x) ** 2),
    "a complex solve": lambda x: jnp.real(jnp.linalg.solve(c64(A) + c64(jnp.eye(4)) * 1j, c64(x))),
    "a complex selection": lambda x: jnp.real(jnp.where(x > 0, c64(x) * 2j, c64(x) ** 2)),
    "rfft and irfft": lambda x: jnp.fft.irfft(jnp.fft.rfft(jnp.sin(x)) * c64(jnp.arange(3)), 4),
    "fft in two dimensions": lambda x: jnp.abs(jnp.fft.fft2(x.reshape(2, 2))).ravel(),
    "an empty output beside another": lambda x: {"empty": x[:0], "some": jnp.tanh(x)},
    "an empty matrix inside": lambda x: jnp.tanh(x) + x[:0].sum(),
    "a product over nothing": lambda x: jnp.zeros((4, 0)) @ jnp.concatenate([x[:0], x[4:]]) + x,
    "a rule that calls itself": lambda x: jnp.cos(triple(x)),
    "a rule that calls itself and mixes": lambda x: jnp.cos(summed(x)),
    "a rule that calls itself in a scan": lambda x: lax.scan(lambda c, _: (triple(jnp.sin(c)), None), x, None, 2)[0],
    "custom_vjp": lambda x: only_reverse(jnp.tanh(x)),
    "BCOO times a vector": lambda x: BCOO_BANDED @ jnp.sin(x),
    "a vector times BCOO": lambda x: jnp.sin(x) @ BCOO_BANDED,
    "BCOO times a matrix": lambda x: (BCOO_BANDED @ x.reshape(4, 1)).ravel() * x,
    "BCOO of the values": lambda x: BCOO((x, jnp.array([[0, 1], [2, 2], [3, 0], [1, 1]])), shape=(4, 4)) @ jnp.cos(x),
    "BCOO to dense": lambda x: BCOO((x, jnp.array([[0], [2], [3], [2]])), shape=(4,)).todense(),
    "BCSR times a vector": lambda x: BCSR_BANDED @ jnp.sin(x),
    "a solve": lambda x: jnp.linalg.solve(A, jnp.sin(x)),
    "a solve whose matrix moves": lambda x: jnp.linalg.solve(A + jnp.diag(x), jnp.ones(4)),
    "a solve of both": lambda x: jnp.linalg.solve(A * (1 + jnp.outer(x, x)), x),
    "an inverse": lambda x: jnp.linalg.inv(A + jnp.diag(x)).ravel(),
    "triangular": lambda x: jax.scipy.linalg.solve_triangular(jnp.tril(A), x, lower=True),
    "conjugate gradients": lambda x: jax.scipy.sparse.linalg.cg(lambda v: A.T @ (A @ v), x)[0],
    "Cholesky": lambda x: jnp.linalg.cholesky(A @ A.T + jnp.diag(x)).ravel(),
    "tridiagonal": lambda x: lax.linalg.tridiagonal_solve(
        x.at[0].set(0), 3 + x, x.at[3].set(0), x[:, None] ** 2
    ).ravel(),
    "associative_scan": lambda x: lax.associative_scan(jnp.multiply, 1 + x),
    "associative_scan of pairs": lambda x: lax.associative_scan(lambda a, b: (a[0] * b[0], b[0] * a[1] + b[1]), (x, x))[
        1
    ],
    "a root": lambda x: lax.custom_root(
        lambda z: z**3 + z - x, x, lambda f, z: newton(f, z), lambda g, y: y / g(jnp.ones(4))
    ),
    "checkpoint": jax.checkpoint(lambda x: jnp.sin(jnp.sin(x)) * x.sum()),
    "draws": lambda x: x * jax.random.normal(jax.random.key(0), (4,)),
    "cond": lambda x: lax.cond(x[0] > 0, jnp.sin, lambda x: x[::-1], x),
    "references": with_references,
    "references in a jitted function": jax.jit(with_references),
    "references in a checkpoint": jax.checkpoint(with_references),
    "nothing that moves": lambda x: jnp.round(x),
}


def newton(f, z):
    step = lambda z, _: (z - f(z) / (3 * z**2 + 1), None)
    return lax.scan(step, z, None, length=30)[0]


METHODS = {
    "sparse": jacobian.sparse,
    "cut": jacobian.cut,
    "eliminate": lambda f: jacobian.eliminate(f, seconds=0.1),
    "structured": lambda f: lambda x: jacobian.structured(f)(x).dense(),
}
COMPLEX = (
    "phase", "power of a filter", "modulus", "angle", "rotations in a scan", "a complex matrix", "conjugates",
    "a complex solve", "a complex selection", "rfft and irfft", "fft in two dimensions",
)  # fmt: skip


def same(got, right):
    assert jax.tree.structure(got) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(right), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=5e-5, rtol=5e-5)


def right_of(name):
    f = FUNCTIONS[name]
    if name.startswith("references"):  # JAX maps no function over their tangents
        return lambda x: jnp.stack([jax.jvp(f, (x,), (e,))[1] for e in jnp.eye(4)], 1)
    return (jax.jacrev if name == "custom_vjp" else jax.jacfwd)(f)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_right_in_each_method(name):
    f = FUNCTIONS[name]
    methods = {method: of for method, of in METHODS.items() if method != "eliminate" or name not in COMPLEX}
    right, found = jax.jit(lambda x: (right_of(name)(x), {method: of(f)(x) for method, of in methods.items()}))(X)
    whole = jnp.concatenate([jnp.reshape(leaf, (-1, 4)) for leaf in jax.tree.leaves(right)])
    for method, got in found.items():
        same(got, whole if method == "structured" else right)


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_numbers_are_refused_by_name(name):
    with pytest.raises(TypeError, match=r"jacobian.eliminate: .*complex.* from \w+ at "):
        jacobian.eliminate(FUNCTIONS[name])(X)


CHOSEN = (
    "phase", "an empty output beside another", "a rule that calls itself", "custom_vjp", "BCOO of the values",
    "a solve of both", "conjugate gradients",
)  # fmt: skip


@pytest.mark.parametrize("name", CHOSEN)
def test_right_by_best(name):
    same(jacobian.best(FUNCTIONS[name])(X), right_of(name)(X))


PATTERNS = {
    "BCOO times a vector": 7,
    "a solve": 16,
    "triangular": 10,
    "tridiagonal": 16,
    "a rule that calls itself": 4,
    "rotations in a scan": 6,
    "a complex selection": 4,
}


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns(name):
    assert jacobian.sparse(FUNCTIONS[name]).plan(X).pattern.nnz == PATTERNS[name]


BATCHES = {
    "vectors by one matrix": lambda b: jax.vmap(jnp.linalg.solve, (None, 0))(A, b.reshape(3, 4)),
    "a matrix each": lambda b: jax.vmap(jnp.linalg.solve)(jnp.stack([A, 2 * A, 3 * A]), b.reshape(3, 4)),
    "matrices that move": lambda b: jax.vmap(lambda y: jnp.linalg.solve(A + jnp.diag(y), y))(b.reshape(3, 4)),
    "columns": lambda b: jnp.linalg.solve(A, b.reshape(3, 4).T),
    "triangular": lambda b: jax.vmap(lambda y: jax.scipy.linalg.solve_triangular(A, y))(b.reshape(3, 4)),
    "by Cholesky": lambda b: jax.vmap(lambda y: jax.scipy.linalg.cho_solve((A, True), y))(b.reshape(3, 4)),
    "tridiagonal": lambda b: jax.vmap(lambda y: lax.linalg.tridiagonal_solve(y.at[0].set(0), y + 9, y, y[:, None]))(
        b.reshape(3, 4)
    ),
}


@pytest.mark.parametrize("name", BATCHES)
def test_systems_of_a_batch_do_not_mix(name):
    f, b = BATCHES[name], jnp.linspace(0.5, 1, 12)
    jacobian_of = jacobian.sparse(f)
    assert sum(jacobian_of.plan(b).sweeps) <= 4
    same(jacobian_of(b), jax.jacfwd(f)(b))


def test_a_rule_that_takes_a_reference_is_kept():
    """JAX's discharge drops the derivative of the rule, which was replaced by the automatic one."""

    @jax.custom_vjp
    def thrice(ref, x):
        return jnp.sin(x)

    thrice.defvjp(lambda ref, x: (jnp.sin(x), x), lambda x, dy: (None, 3 * dy * jnp.cos(x)))
    f = lambda x: thrice(jax.new_ref(jnp.zeros(4)), x)
    for method in (jacobian.reverse, jacobian.best, jacobian.sparse):
        np.testing.assert_allclose(method(f)(X), 3 * jnp.diag(jnp.cos(X)), rtol=1e-6)
    assert jaxdl.audit(f, X, quick=True).faults


def test_functions_on_a_mesh():
    """JAX returns the outputs of shard_map in another container where it linearizes it."""
    mesh = jax.make_mesh((1,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    part = jax.sharding.PartitionSpec("d")
    f = jax.shard_map(lambda x: jnp.sin(x) ** 2, mesh=mesh, in_specs=part, out_specs=part)
    np.testing.assert_allclose(jacobian.eliminate(f)(X), np.diag(np.sin(2 * X)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jacobian.laplacian(f)(X), 2 * np.cos(2 * X), rtol=1e-5, atol=1e-6)


def test_a_step_of_an_infinite_number_has_no_derivative():
    f = lambda x: x * 2 ** jnp.maximum(0, jnp.floor(jnp.log2(x)))
    for method in (jacobian.structured, jacobian.cut, jacobian.sparse, jacobian.eliminate):
        np.testing.assert_array_equal(method(f).matrix(jnp.zeros(2)), np.eye(2))
