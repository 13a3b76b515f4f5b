"""The derivative written as Python runs, and agrees with JAX's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import Op, nn
from jaxdl.cli.graphing import EXAMPLES
from jaxdl.graph import source
from jaxdl.ops.cases import cases
from tests.draws import draw

ONE_OF_EACH = list({case.op: case for case in reversed(cases())}.values())


def executed(text):
    """The op that a module defines."""
    module = {}
    exec(compile(text, "<source>", "exec"), module)
    return next(x for x in module.values() if isinstance(x, Op))


def assert_same(f, *args):
    """Value, primal and all cotangents of what was written are f's."""
    leaves, tree = jax.tree.flatten(args)
    smooth = [i for i, x in enumerate(leaves) if jnp.issubdtype(x.dtype, jnp.inexact)]

    def flat(g):
        def moving(*moved):
            full = list(leaves)
            for i, x in zip(smooth, moved, strict=True):
                full[i] = x
            return jax.tree.leaves(g(full))

        return moving

    written = executed(source(f, *args))
    types = jax.eval_shape(lambda: jax.tree.leaves(f(*args)))
    u = [_cotangent(i, t) for i, t in enumerate(types)]

    @jax.jit  # in one program, for compiling takes the time
    def both(leaves):
        x = [leaves[i] for i in smooth]
        expected, pullback = jax.vjp(flat(lambda full: f(*tree.unflatten(full))), *x)
        got, written_pullback = jax.vjp(flat(lambda full: written(*full)), *x)
        primal = jax.tree.leaves(written.primal(*leaves))
        return [got, primal, list(written_pullback(u))], [expected, expected, list(pullback(u))]

    def close(a, b):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * (1 + float(jnp.abs(b).max(initial=0))))

    jax.tree.map(close, *both(leaves))


def _cotangent(i, y):
    is_smooth = jnp.issubdtype(y.dtype, jnp.inexact)
    return draw(i, *y.shape, dtype=y.dtype) if is_smooth else np.zeros(y.shape, jax.dtypes.float0)


@pytest.mark.parametrize("name", EXAMPLES)
def test_of_the_lectures_examples(name):
    f, args = EXAMPLES[name]()
    assert_same(f, *args)


@pytest.mark.parametrize("case", ONE_OF_EACH, ids=str)
def test_of_every_operation(case):
    assert_same(lambda *args: case.op(*args, **case.settings), *case.make(1, "float32"))


MODELS = {
    "mlp": (nn.mlp(8, 3), (4,)),
    "LeNet": (nn.lenet5(3), (28, 28, 1)),
    "vision transformer": (nn.vit(3, patch=4, width=8, depth=2, heads=2), (8, 8, 1)),
}


@pytest.mark.parametrize("name", MODELS)
def test_of_models(name):
    model, shape = MODELS[name]
    assert_same(model.apply, model.init(jax.random.key(0), shape), draw(1, 2, *shape))


def loop(x, rows):
    return jax.lax.scan(lambda c, row: (jnp.sin(c * row), c + row), x, rows)


def branch(x, n):
    return jax.lax.switch(n, [jnp.sin, lambda x: x * x, jnp.exp], x)


@jax.checkpoint
def remembered(x):
    return jnp.tanh(x) * jnp.sin(x)


def newton(x):
    """√2 from x, on values alone: the loop is not differentiated."""
    root = jax.lax.while_loop(lambda y: jnp.abs(y * y - 2) > 1e-6, lambda y: (y + 2 / y) / 2, jax.lax.stop_gradient(x))
    return root * x


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (loop, (draw(1), draw(2, 4))),
        (branch, (draw(1), jnp.int32(2))),
        (remembered, (draw(1, 3),)),
        (newton, (1 + draw(1) ** 2,)),
    ],
    ids=["scan", "switch", "checkpoint", "while"],
)  # fmt: skip
def test_of_loops_and_branches(f, args):
    assert_same(f, *args)


def test_how_it_reads():
    def f(x, w):
        return jnp.tanh(x @ w)

    assert source(f, jnp.ones((2, 3)), jnp.ones((3, 4))).endswith(
        '''
@op
def f(x, w):
    """x: float32[2,3], w: float32[3,4]"""
    u1 = x @ w
    u2 = jnp.tanh(u1)
    return u2


@f.rule
def f_rule(x, w):
    u1 = x @ w
    u2 = jnp.tanh(u1)
    u3 = 1.0 - u2

    def pullback(x, w, u2, u3, dy):
        v1 = dy * u3
        v2 = v1 * u2
        v3 = v1 + v2
        v4 = v3.T @ x
        v5 = v4.T
        v6 = v3 @ w.T
        return (v6, v5)

    return u2, saving(pullback, x, w, u2, u3)
'''
    )


def test_errors():
    table = jnp.arange(100.0)
    with pytest.raises(ValueError, match=r"closes over a constant float32\[100\]; make it an argument"):
        source(lambda x: x * table, jnp.ones(100))
    with pytest.raises(ValueError, match=r"cholesky .at .* has no form in Python"):
        source(jnp.linalg.cholesky, jnp.eye(2))
