"""The table of known parameters covers what JAX's functions bind, and unknown parameters are detected."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from jaxdl import jaxpr as jx
from jaxdl.jaxpr import KNOWN, unknown_parameter

X = jnp.arange(1.0, 7.0)
A = 3 * jnp.eye(3) + 1
INDEX = jnp.array([2, 0])


def binding(f, *args):
    """All equations of f, also of inner jaxprs."""

    def walk(jaxpr):
        for eqn in jx.opened(jaxpr).eqns:
            yield eqn
            for inner in jx.inner_jaxprs(eqn):
                yield from walk(inner)

    return list(walk(jax.make_jaxpr(f)(*args)))


def image(x):
    return jnp.tile(x, 8)[:48].reshape(1, 2, 4, 6)


FUNCTIONS = {
    "shapes": lambda x: (x.reshape(2, 3).ravel("F"), jnp.pad(x, 2), x[::-2], jnp.tile(x, 2), jnp.stack([x, x])),
    "joined": lambda x: (jnp.concatenate([x, x]), jnp.split(x, 2), jnp.repeat(x, 2), jnp.roll(x, 1), x[None].T),
    "gathers": lambda x: (x[INDEX], jnp.take(x, INDEX, mode="clip"), x.at[INDEX].set(0.0)),
    "scatters": lambda x: (x.at[INDEX].add(1.0), x.at[INDEX].mul(2.0), x.at[INDEX].min(0.0), x.at[INDEX].max(0.0)),
    "slices": lambda x: lax.dynamic_update_slice(x, lax.dynamic_slice(x, (INDEX[0],), (2,)), (0,)),
    "reductions": lambda x: (
        x.sum(),
        x.max(),
        x.min(),
        x.prod(),
        x.argmax(),
        jnp.cumsum(x),
        lax.cumprod(x, reverse=True),
    ),
    "orders": lambda x: (jnp.sort(x), jnp.argsort(x), lax.top_k(x, 2), jnp.median(x)),
    "formats": lambda x: (x.astype(jnp.int32), lax.reduce_precision(x, 5, 3), jnp.round(x), jnp.abs(lax.complex(x, x))),
    "elementwise": lambda x: (jnp.exp(x), jnp.sin(x), x**3, jnp.clip(x, 0, 1), jnp.where(x > 1, x, 0), lax.erf(x)),
    "fourier": lambda x: (jnp.fft.fft(x), jnp.fft.rfft(x), jnp.fft.irfft(x)),
    "products": lambda x: (x @ x, jnp.outer(x, x), lax.conv(image(x), image(x)[:, :, :2, :2], (1, 1), "SAME")),
    "windows": lambda x: lax.reduce_window(image(x), -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "SAME"),
    "matrices": lambda x: (jnp.linalg.solve(A, x[:3]), jnp.linalg.qr(A * x[0]), jnp.linalg.eigh(A * x[0])),
    "decomposed": lambda x: (jnp.linalg.svd(A * x[0]), jnp.linalg.cholesky(A * x[0]), jnp.linalg.det(A * x[0])),
    "loops": lambda x: (lax.scan(lambda c, v: (c + v, c), x[0], x), lax.fori_loop(0, INDEX[0], lambda i, c: 2 * c, x)),
    "branches": lambda x: (lax.cond(x[0] > 0, jnp.sin, jnp.cos, x), jax.checkpoint(jnp.sin)(x), jax.nn.relu(x)),
    "draws": lambda x: (jax.random.normal(jax.random.key(0), (3,)), jax.random.permutation(jax.random.key(0), x)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_parameters_that_jax_binds_are_known(name):
    """Of the function, and of its derivative under vmap."""
    f = FUNCTIONS[name]
    smooth = lambda x: [y for y in jax.tree.leaves(f(x)) if jnp.issubdtype(y.dtype, jnp.floating)]
    derived = lambda x: jax.vjp(smooth, x)[1]([jnp.ones_like(y) for y in smooth(x)])
    for eqn in binding(f, X) + ([] if name == "loops" else binding(jax.vmap(derived), jnp.stack([X, 2 * X]))):
        assert unknown_parameter(eqn) is None, eqn.primitive.name


def test_an_unknown_parameter_is_returned():
    (eqn,) = binding(lambda x: lax.rev(x, (0,)), X)
    assert unknown_parameter(eqn) is None
    assert unknown_parameter(eqn.replace(params=eqn.params | {"way": 2})) == ("way", 2)


def test_a_known_parameter_with_an_unknown_value_is_returned():
    (eqn,) = binding(lambda x: lax.mul(x, x), X)
    assert unknown_parameter(eqn) is None
    assert unknown_parameter(eqn.replace(params=eqn.params | {"out_dtype": jnp.float64})) == ("out_dtype", jnp.float64)


def test_the_table_contains_names_only():
    assert all(known and all(name.isidentifier() for name in known) for known in KNOWN.values())
