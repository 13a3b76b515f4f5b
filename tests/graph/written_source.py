"""Executes the source that `jaxdl.source` writes and compares it with the original function."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import Op
from jaxdl.graph import source
from tests.draws import draw


def executed(text):
    """The op that a module defines."""
    module = {}
    exec(compile(text, "<source>", "exec"), module)
    return next(x for x in module.values() if isinstance(x, Op))


def assert_same(f, *args):
    """The value, the primal and all cotangents of the written op are those of f."""
    leaves, tree = jax.tree.flatten(args)
    smooth = [i for i, x in enumerate(leaves) if jnp.issubdtype(x.dtype, jnp.inexact)]

    def in_smooth(g, leaves):
        def of_smooth(*smooth_leaves):
            full = list(leaves)
            for i, x in zip(smooth, smooth_leaves, strict=True):
                full[i] = x
            return g(*tree.unflatten(full))

        return of_smooth

    written = executed(source(f, *args))
    types = jax.tree.leaves(jax.eval_shape(lambda: f(*args)))
    u = [_cotangent(i, t) for i, t in enumerate(types)]
    like = lambda y: jax.tree.structure(y).unflatten(u)

    @jax.jit  # one program, as compiling takes most of the time
    def both(leaves):
        x = [leaves[i] for i in smooth]
        expected, pullback = jax.vjp(in_smooth(f, leaves), *x)
        got, written_pullback = jax.vjp(in_smooth(written, leaves), *x)
        primal = written.primal(*tree.unflatten(leaves))
        ours, its = [got, primal, written_pullback(like(got))], [expected, expected, pullback(like(expected))]
        return jax.tree.leaves(ours), jax.tree.leaves(its)

    def close(a, b):
        largest = float(jnp.abs(jnp.nan_to_num(b, posinf=0, neginf=0)).max(initial=0))
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * (1 + largest))

    jax.tree.map(close, *both(leaves))


def _cotangent(i, y):
    is_smooth = jnp.issubdtype(y.dtype, jnp.inexact)
    return draw(i, *y.shape, dtype=y.dtype) if is_smooth else np.zeros(y.shape, jax.dtypes.float0)


def rule_of(text):
    module = {}
    exec(compile(text, "<source>", "exec"), module)
    return next(x for name, x in module.items() if name.endswith("_rule"))


W, ROWS = draw(1, 3, 2), draw(2, 4, 3)
