"""Programs drawn at random: no entry of the Jacobian is outside of the pattern."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import sparse

from tests.jacobian.test_pattern import found

N = 12
PROGRAMS = 12
X = jnp.linspace(-1.0, 2.0, N) ** 2 + 0.1 * jnp.arange(N, dtype=jnp.float32)
MODES = ["fill", "clip"]


def indices(rng, size, shape=(4,)):
    """Some in bounds, some negative, some outside, some twice."""
    return rng.integers(-size - 2, size + 2, shape)


def mode(rng):
    name = rng.choice(MODES)
    return {"mode": name, "fill_value": 0} if name == "fill" else {"mode": name}


def padded(y):
    """A vector of N entries, whatever the shape of y."""
    return jnp.resize(y, N) if y.size < N else y.ravel()[:N]


def gather(rng, i):
    index, settings = indices(rng, N), mode(rng)
    return lambda x: x.at[index].get(**settings) + x[:4]


def gather_in_part(rng, i):
    rows, settings, which, known = indices(rng, 3, 3), mode(rng), rng.random(3) < 0.5, indices(rng, 4, 3)
    both = lambda x: x.reshape(3, 4).at[rows, jnp.where(which, known, i[:3])].get(**settings)
    turned = lambda x: x.reshape(4, 3).at[i[:3], rows].get(**settings)
    return rng.choice([both, turned])


def gather_by_values(rng, i):
    return lambda x: jnp.take_along_axis(x.reshape(3, 4), jnp.argsort(x.reshape(3, 4), 1), 1)


def scatter(rng, i):
    index, kind, drop = indices(rng, N), rng.choice(["set", "add", "min", "max"]), rng.choice(["drop", "clip"])
    return lambda x: getattr(x.at[index], kind)(x[:4] * 0.5, mode=drop)


def scatter_in_part(rng, i):
    rows, which, known = indices(rng, 3, 3), rng.random(3) < 0.5, indices(rng, 4, 3)
    kind, drop = rng.choice(["set", "add"]), rng.choice(["drop", "clip"])
    place = lambda: jnp.where(which, known, i[:3])
    return lambda x: getattr(x.reshape(3, 4).at[rows, place()], kind)(x[3:6], mode=drop)


def window(rng, i):
    start, known = int(rng.integers(-3, N)), rng.random() < 0.5
    begin = lambda: start if known else i[0]
    return lambda x: (
        jax.lax.dynamic_update_slice(x, jax.lax.dynamic_slice(x, (begin(),), (3,)), (begin() + 2,))
        + jnp.flip(x) * (start % 2)
    )


def of_a_sparse_matrix(rng, i):
    place = np.stack([indices(rng, N, 15), indices(rng, N, 15)], 1)
    matrix = sparse.BCOO((jnp.asarray(rng.normal(size=15), jnp.float32), jnp.asarray(place)), shape=(N, N))
    rows = np.sort(np.abs(place[:, 0]) % N)
    starts = np.searchsorted(rows, np.arange(N + 1))
    by_rows = sparse.BCSR((matrix.data, jnp.asarray(np.abs(place[:, 1])), jnp.asarray(starts)), shape=(N, N))
    forms = [
        lambda x: matrix @ x, lambda x: x @ matrix, lambda x: matrix.T @ x, lambda x: by_rows @ x,
        lambda x: (matrix @ x[:, None])[:, 0],
        lambda x: sparse.BCOO((jnp.resize(x, 15), matrix.indices), shape=(N, N)) @ jnp.ones(N),
    ]  # fmt: skip
    return rng.choice(forms)


def solution(rng, i):
    known = jnp.asarray(np.where(rng.random((4, 4)) < 0.3, 0.5, 0) + 2 * np.eye(4), jnp.float32)
    small = lambda x: jnp.tanh(x) * 0.1
    of_x = lambda x: small(x).reshape(3, 2, 2) + jnp.eye(2)[None]
    lower, left, transpose, unit = (bool(flag) for flag in rng.random(4) < 0.5)
    settings = {"lower": lower, "left_side": left, "transpose_a": transpose, "unit_diagonal": unit}
    triangular = lambda a, b: jax.lax.linalg.triangular_solve(a, b, **settings)
    forms = [
        lambda x: jnp.linalg.solve(known, x.reshape(4, 3)),
        lambda x: jax.vmap(lambda row: jnp.linalg.solve(known, row))(x.reshape(3, 4)),
        lambda x: jax.vmap(jnp.linalg.solve)(of_x(x), x[:6].reshape(3, 2)),
        lambda x: triangular(known, x.reshape(4, 3) if left else x.reshape(3, 4)),
        lambda x: triangular(of_x(x), x[:6].reshape(3, 2, 1) if left else x[:6].reshape(3, 1, 2)),
        lambda x: jax.lax.linalg.tridiagonal_solve(known[0], 4 + small(x[:4]), known[1] * x[:4], x[4:].reshape(4, 2)),
        lambda x: jax.scipy.sparse.linalg.cg(lambda v: 3 * v + known[0, 1] * v[::-1], x)[0],
        lambda x: jnp.linalg.cholesky(jnp.einsum("bij,bkj->bik", of_x(x), of_x(x))),
        lambda x: jnp.linalg.det(of_x(x)),
    ]
    return rng.choice(forms)


def simple(rng, i):
    mask, shift = rng.random(N) < 0.5, int(rng.integers(N))
    forms = [
        lambda x: jnp.sin(x) + x[::-1] ** 2, lambda x: jnp.roll(x, shift) * x, lambda x: jnp.where(mask, x, x[0]),
        lambda x: x * mask.astype(np.float32), lambda x: jnp.where(x > 0, x, 2 * x[::-1]),
        lambda x: jnp.cumsum(x.reshape(3, 4), 0), lambda x: jnp.sort(x.reshape(3, 4), 1),
        lambda x: x.reshape(4, 3).T.max(0), lambda x: jnp.pad(x, 1)[2:] - x,
        lambda x: x.reshape(3, 4) @ x.reshape(4, 3), lambda x: jax.ops.segment_sum(x, i % 5, 5),
    ]  # fmt: skip
    return rng.choice(forms)


LEAVES = [
    gather,
    gather_in_part,
    gather_by_values,
    scatter,
    scatter_in_part,
    window,
    of_a_sparse_matrix,
    solution,
    simple,
]


def around(rng, f):
    """The function f of a vector of N entries inside of a transformation or of control flow."""
    step = lambda c, _: (0.5 * c + f(c), c[:2])
    forms = [
        f, f, jax.jit(f), jax.checkpoint(f),
        lambda x: jax.lax.scan(step, x, None, length=2)[0],
        lambda x: jax.lax.scan(lambda c, k: (f(c).at[k].set(c[k - 1]), c.sum()), x, np.arange(1, 4))[0],
        lambda x: jax.lax.cond(x.sum() > 3, f, lambda x: x[::-1], x),
        lambda x: jax.vmap(f)(jnp.stack([x, x[::-1]])).sum(0),
        lambda x: jax.lax.fori_loop(0, 2, lambda k, c: f(c) + c[k], x),
        lambda x: jax.lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, f(c[1])), (0, x))[1],
        lambda x: jax.lax.map(lambda row: f(row), jnp.stack([x, 2 * x]))[1],
    ]  # fmt: skip
    return rng.choice(forms)


def program(seed):
    """A composition of functions (x, i) drawn at random."""
    rng = np.random.default_rng(seed)
    kinds = [
        (rng.choice(LEAVES), int(rng.integers(2**31)), int(rng.integers(2**31))) for _ in range(rng.integers(2, 5))
    ]

    def f(x, i):
        for leaf, seed, outer in kinds:
            inner = leaf(np.random.default_rng(seed), i)
            x = around(np.random.default_rng(outer), lambda x, inner=inner: padded(inner(x)))(x)
        return x

    return f, rng


@pytest.mark.parametrize("seed", range(PROGRAMS))
def test_patterns_cover_programs_drawn_at_random(seed):
    f, rng = program(seed)
    p, _ = found(f, X, jnp.zeros(N, int))
    jacobian = jax.jit(jax.jacfwd(f))
    for _ in range(3):
        i = jnp.asarray(indices(rng, 4, N))
        y = np.abs(np.asarray(jacobian(X + jnp.asarray(rng.normal(size=N), jnp.float32), i)))
        missing = np.argwhere((y > 1e-6 * np.nanmax(y, initial=0)) & ~p)
        assert missing.size == 0, missing
