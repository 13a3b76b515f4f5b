"""Patterns never miss an entry, and are exact where the structure is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl import jaxpr as jx
from jaxdl import op, ops, saving
from jaxdl.jacobian.analysis.pattern import dependence
from jaxdl.jacobian.analysis.pattern.propagation import sparsity_pattern

N = 8
X = jnp.linspace(-1.0, 2.0, N) ** 2 + 0.1 * jnp.arange(N, dtype=jnp.float32)
TRIDIAGONAL = np.where(np.abs(np.subtract.outer(range(N), range(N))) < 2, 1.5, 0).astype(np.float32)
INDEX = np.array([3, 1, 1, 7])
HALF = (np.arange(N) % 2).astype(np.float32)


def found(f, x, *others):
    joined = lambda x, *others: jnp.concatenate([jnp.ravel(y) for y in jax.tree.leaves(f(x, *others))])
    (p,), dense = sparsity_pattern(jx.trace(joined, x, *others)[0], x.size)
    m = jax.eval_shape(joined, x, *others).size
    return (np.zeros((m, x.size), bool) if p is None else p.matrix().toarray()), dense


def true(f, x, *others):
    """The entries that are nonzero at one of a few points."""
    seen = False
    for seed in range(2):
        y = jax.jacfwd(f)(x + jax.random.normal(jax.random.key(seed), x.shape), *others)
        seen = seen | np.concatenate([np.reshape(leaf, (-1, x.size)) != 0 for leaf in jax.tree.leaves(y)])
    return seen


@jax.custom_jvp
def straight_through(x):
    return jnp.round(x)


straight_through.defjvp(lambda x, x_dot: (jnp.round(x[0]), x_dot[0]))


@op
def straight_through_op(x):
    return jnp.round(x)


@straight_through_op.rule
def _(x):
    return jnp.round(x), saving(lambda dy: (dy,))


def heat(x, steps=2):
    body = lambda u, _: (u + 0.1 * (jnp.roll(u, 1) - 2 * u + jnp.roll(u, -1)), None)
    return jax.lax.scan(body, x, None, length=steps)[0]


def conv(x, w, padding, **settings):
    return jax.lax.conv_general_dilated(x, w, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"), **settings)


def pooled(x):
    return jax.lax.reduce_window(x.reshape(2, 4), -jnp.inf, jax.lax.max, (1, 2), (1, 2), "VALID")


DIAGONAL_KERNEL = np.array([[1, 0], [0, 1]], np.float32).reshape(2, 2, 1, 1)

# Functions whose pattern is found exactly.
EXACT = {
    "entrywise": lambda x: jnp.sin(x) * jnp.exp(x) + 2 * x,
    "pad and slice": lambda x: (lambda p: p[:-2] + p[2:] + x**2)(jnp.pad(x, 1)),
    "reshape, transpose, reverse": lambda x: x.reshape(2, 4).T[::-1] * 2,
    "outer product": lambda x: jnp.tril(x[:4, None] * x[None, 4:]),
    "known matrix": lambda x: jnp.asarray(TRIDIAGONAL) @ x,
    "known matrix, from the right": lambda x: x.reshape(2, 4) @ jnp.asarray(TRIDIAGONAL[:4, :4]),
    "known matrices of a batch": lambda x: jnp.einsum(
        "bij,bjk->bik", x.reshape(2, 2, 2), np.float32([[[1, 0], [0, 1]]] * 2)
    ),
    "matrix product": lambda x: x.reshape(2, 4) @ x.reshape(4, 2),
    "known indices": lambda x: x[INDEX] * x[INDEX[::-1]],
    "set": lambda x: x.at[INDEX].set(2.0),
    "add at": lambda x: x.at[INDEX].add(x[:4] ** 2),
    "set in a batch": lambda x: jax.vmap(lambda r, i: r.at[i].set(r[0]))(x.reshape(2, 4), jnp.array([1, 3])),
    "known mask": lambda x: jnp.where(np.arange(N) < 3, x, x[::-1]),
    "zeros of a known factor": lambda x: x * HALF + x[::-1] / (1 + HALF),
    "unknown mask": lambda x: jnp.where(x > 0.5, x, x[::-1]),
    "along an axis": lambda x: jax.nn.softmax(x.reshape(4, 2), 0),
    "sums": lambda x: (x.reshape(2, 4).sum(0), x.reshape(2, 4).prod(1)),
    "sort": lambda x: jnp.sort(x.reshape(2, 4), 1),
    "running sum": lambda x: (jnp.cumsum(x.reshape(2, 4), 1), jax.lax.cumsum(x, reverse=True)),
    "less the mean": lambda x: x - x.mean(),
    "stop_gradient": lambda x: jax.lax.stop_gradient(x) * x[::-1] + jnp.floor(x[0]),
    "integers": lambda x: x[(jnp.arange(N) + 3) % N] * jnp.arange(N, dtype=jnp.float32),
    "scan over entries": lambda x: jax.lax.scan(lambda c, t: (c * t, c + t), x[0], x[1:]),
    "sums of what depends on all": lambda x: (x * x.sum()).reshape(2, 4).sum(0),
    "beyond the end": lambda x: jax.lax.dynamic_update_slice(x, jax.lax.dynamic_slice(x, (7,), (3,)), (6,)),
    "scan backward": lambda x: jax.lax.scan(lambda c, t: (c * t, c + t), x[0], x[1:], reverse=True),
    "scan that keeps what it carries": lambda x: jax.lax.scan(lambda c, t: (c, c * t), x[0], x[1:]),
    "heat by scan": heat,
    "counted loop": lambda x: jax.lax.fori_loop(0, 3, lambda i, c: c.at[i].set(c[i + 1] * c[i]), x),
    "checkpoint, jit": jax.checkpoint(jax.jit(lambda x: jnp.sin(x) * jnp.roll(x, 2))),
    "branches": lambda x: jax.lax.cond(x.sum() > 3, lambda x: x * x[::-1], lambda x: 2 * x, x),
    "known branch": lambda x: jax.lax.switch(jnp.array(1), [lambda x: x[::-1], lambda x: 2 * x], x),
    "convolution": lambda x: conv(x.reshape(1, 2, 4, 1), jnp.ones((2, 2, 1, 1)), "SAME"),
    "zeros of a known kernel": lambda x: conv(x.reshape(1, 2, 4, 1), DIAGONAL_KERNEL, ((1, 1), (0, 2))),
    "kernel": lambda x: conv(jnp.ones((1, 3, 3, 1)), x.reshape(2, 2, 1, 2), "VALID"),
    "dilated, in groups": lambda x: conv(
        x.reshape(1, 2, 2, 2), jnp.ones((2, 1, 1, 4)), ((1, 0), (0, 0)), lhs_dilation=(2, 1), feature_group_count=2
    ),
    "pooling": pooled,
    "jaxdl, of all entries": lambda x: ops.softmax(x) * x[::-1],
    "custom_jvp": straight_through,
    "op": straight_through_op,
    "gradient": jax.grad(lambda x: (x[1:] ** 2 * x[:-1]).sum()),
    "jaxdl": lambda x: ops.relu(x) + ops.tanh(x[::-1]),
}


@pytest.mark.parametrize("name", EXACT)
def test_pattern_is_exact(name):
    p, dense = found(EXACT[name], X)
    assert dense == []
    expected = true(EXACT[name], X)
    np.testing.assert_array_equal(p, p | expected)
    if name not in ("unknown mask", "branches", "pooling", "jaxdl", "sort"):
        np.testing.assert_array_equal(p, expected)


# Functions whose pattern has more entries than the Jacobian, how many, and the equations that are reported for it.
COVERED = {
    "unknown index": (lambda x: x.reshape(2, 4)[:, jnp.argmax(x) % 4], 8, ["dynamic_slice"]),
    "unknown slice": (
        lambda x: jax.lax.dynamic_slice(x.reshape(2, 4), (0, jnp.argmax(x)), (2, 2)),
        16,
        ["dynamic_slice"],
    ),
    "unknown update of nothing": (
        lambda x: jax.lax.dynamic_update_slice(x.reshape(2, 4), x[:0, None], (0, jnp.argmax(x))),
        8,
        [],
    ),
    "unknown update": (
        lambda x: jax.lax.dynamic_update_slice(x.reshape(2, 4), x[:2, None], (0, jnp.argmax(x))),
        15,
        ["dynamic_update_slice"],
    ),
    "unknown scatter": (lambda x: x.reshape(2, 4).at[:, jnp.argmax(x) % 4].add(x[:2]), 15, ["scatter-add"]),
    "half of an index unknown": (lambda x: x.reshape(2, 4)[np.array([1, 0]), jnp.argmax(x)], 8, ["gather"]),
    "half of a place unknown": (
        lambda x: x.reshape(2, 4).at[np.array([1, 0]), jnp.argmax(x)].set(x[:2]),
        15,
        ["scatter"],
    ),
    "one place unknown": (
        lambda x: x.at[jnp.where(np.arange(2) > 0, jnp.argmax(x), 3)].set(1.0) * 2,
        7,
        [],
    ),
    "one index unknown": (lambda x: x[jnp.where(np.arange(3) > 1, jnp.argmax(x), 3)], 10, ["gather"]),
    "sorted by another": (
        lambda x: jnp.take_along_axis(x.reshape(2, 4), jnp.argsort(x.reshape(2, 4), 1), 1),
        32,
        ["gather"],
    ),
    "top_k": (lambda x: jax.lax.top_k(x.reshape(2, 4), 2)[0], 16, []),
    "while": (
        lambda x: jax.lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, c[1].at[4:].set(c[1][:4])), (0, x))[1],
        12,
        [],
    ),
    "while, exchanging": (
        lambda x: jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[2], c[1]), (0, x[:4], x[4:]))[1],
        8,
        [],
    ),
    "pooling, backward": (jax.grad(lambda x: (pooled(x) ** 2).sum()), 16, []),
    "cholesky": (lambda x: jnp.linalg.cholesky(10 * jnp.eye(2)[None] + 0.5 * x.reshape(2, 2, 2)), 24, []),
    "fft": (lambda x: jnp.abs(jnp.fft.fft(x.reshape(2, 4))), 32, []),
}


@pytest.mark.parametrize("name", COVERED)
def test_pattern_covers(name):
    f, entries, reported = COVERED[name]
    p, dense = found(f, X)
    assert [what.split(" (")[0] for what, _ in dense] == reported
    assert all("test_pattern.py:" in line for _, line in dense)
    assert not (true(f, X) & ~p).any()
    assert p.sum() <= entries


def test_arguments_are_never_known():
    f = lambda x, index, mask: x[index] * mask
    assert found(f, X, INDEX, np.float32([1, 0, 0, 1]))[0].all()
    assert found(lambda x: f(x, INDEX, np.float32([1, 0, 0, 1])), X)[0].sum() == 2


def test_a_primitive_without_a_rule_is_followed_by_its_derivative():
    largest = lambda x: jnp.concatenate([jax.lax.approx_max_k(x[:4], 2)[0], x[6:]])
    p, dense = found(largest, X)
    assert p[:2, :4].all()
    assert not p[:2, 4:].any()
    assert p[2:].sum() == 2
    assert ["test_pattern.py:" in line for _, line in dense] == [True]


def test_a_primitive_without_a_derivative_is_dense_and_reported():
    f = lambda x: jnp.concatenate([jax.lax.linalg.schur(x[:4].reshape(2, 2))[0].ravel(), x[6:]])
    p, dense = found(f, X)
    assert p[:4, :4].all()
    assert not p[:4, 4:].any()
    ((name, line),) = dense
    assert name.startswith("schur")
    assert "test_pattern.py:" in line


def test_a_solution_depends_on_the_matrix_and_the_right_hand_side():
    solve = lambda x: jnp.concatenate([jnp.linalg.solve(5 * jnp.eye(2) + x[:4].reshape(2, 2), x[4:6]), x[6:]])
    p, dense = found(solve, X)
    assert not (true(solve, X) & ~p).any()
    assert not p[:2, 6:].any()
    assert p[2:].sum() == 2
    assert not dense


def test_batch_groups_are_covered_and_reported():
    f = lambda x: conv(x[4:].reshape(2, 2, 1, 1), x[:4].reshape(2, 1, 1, 2), "VALID", batch_group_count=2)
    p, dense = found(f, X)
    assert not (true(f, X) & ~p).any()
    assert [name for name, _ in dense] == ["conv_general_dilated (batch groups)"]


def test_custom_vjp_by_its_rule():
    f = jax.custom_vjp(lambda x: jnp.round(x))
    f.defvjp(lambda x: (f(x), x), lambda x, dy: (dy + x * dy[::-1],))
    p, dense = found(f, X)
    np.testing.assert_array_equal(p, np.asarray(jax.jacrev(f)(X)) != 0)
    assert dense == []


def test_long_loops_are_covered():
    f = lambda x: jax.lax.scan(lambda c, t: (0.9 * c + t[:2], c * t), x[:2], jnp.tile(x, 300).reshape(-1, 2))
    p, dense = found(f, X)
    assert not (true(f, X) & ~p).any()
    assert "scan" in dense[0][0]


def test_too_many_entries_count_as_full_rows(monkeypatch):
    monkeypatch.setattr(dependence, "MOST_ENTRIES", 12)
    for f in (lambda x: jnp.cumsum(x)[::-1], lambda x: (x[:4, None] * x[None, 4:]).ravel()):
        p, dense = found(f, X)
        assert not (true(f, X) & ~p).any()
        assert any("entries" in name for name, _ in dense)


def test_dense_rows_take_no_memory():
    n = 20_000
    (p,), _ = sparsity_pattern(jx.trace(lambda x: ((x - x.mean()) ** 2)[:3], jnp.zeros(n))[0], n)
    assert p.rows.nnz == 0
    assert p.full.all()
    assert p.matrix().nnz == 3 * n


MOVES = [
    lambda x: jnp.sin(x),
    lambda x: x[::-1],
    lambda x: jnp.roll(x, 3) * x,
    lambda x: x.at[INDEX[1:]].set(x[:3]),
    lambda x: x[INDEX].repeat(2),
    lambda x: jnp.where(HALF > 0, x, x[0]),
    lambda x: jnp.where(x > 0, x, 2 * x[::-1]),
    lambda x: jnp.cumsum(x.reshape(2, 4), 0).reshape(N),
    lambda x: (x.reshape(2, 4).T @ x.reshape(2, 4)).reshape(-1)[:N],
    lambda x: heat(x, 1),
    lambda x: jax.lax.stop_gradient(x) * HALF + x[2],
    lambda x: jax.vmap(lambda r: r * r.max())(x.reshape(4, 2)).reshape(N),
    lambda x: jax.lax.dynamic_slice(jnp.pad(x, 2), (jnp.argmax(x) % 3,), (N,)),
    lambda x: jnp.asarray(TRIDIAGONAL) @ x,
    lambda x: x * jnp.concatenate([jnp.zeros(4), x[:4]]),
]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, len(MOVES) - 1), min_size=2, max_size=5))
def test_compositions_are_covered(chosen):
    def f(x):
        for i in chosen:
            x = MOVES[i](x)
        return x

    p, dense = found(f, X)
    assert {name for name, _ in dense} <= {"dynamic_slice (indices not known)"}
    assert not (true(f, X) & ~p).any()
