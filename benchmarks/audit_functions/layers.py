"""Layers of flax and equinox as functions of parameters and input, and solves of diffrax through its adjoints."""

import functools
import importlib.util
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.audit_functions.fault import normal

Row = tuple[str, Callable, tuple]

# By class: the settings of a layer, and the shapes of its input.
FLAX = {
    "Dense": ((4,), {}, (2, 3)),
    "DenseGeneral": ((4,), {}, (2, 3)),
    "Einsum": (((3, 4), "ij,jk->ik"), {}, (2, 3)),
    "Conv": ((2, (3,)), {}, (1, 5, 2)),
    "ConvTranspose": ((2, (3,)), {}, (1, 4, 2)),
    "LayerNorm": ((), {}, (2, 4)),
    "RMSNorm": ((), {}, (2, 4)),
    "GroupNorm": ((2,), {}, (2, 3, 4)),
    "InstanceNorm": ((), {}, (2, 4, 2)),
    "BatchNorm": ((), {"use_running_average": True}, (2, 3)),
    "PReLU": ((), {}, (2, 3)),
    "MultiHeadDotProductAttention": ((2,), {}, (1, 3, 4)),
}
EQUINOX = {
    "Linear": ((3, 4), {}, (3,)),
    "MLP": ((3, 2, 4, 1), {}, (3,)),
    "Conv1d": ((2, 3, 3), {}, (2, 6)),
    "ConvTranspose1d": ((2, 3, 3), {}, (2, 4)),
    "LayerNorm": (((4,),), {}, (4,)),
    "RMSNorm": (((4,),), {}, (4,)),
    "GroupNorm": ((2, 4), {}, (4, 3)),
    "PReLU": ((), {}, (4,)),
    "MaxPool1d": ((2, 2), {}, (2, 6)),
    "AvgPool1d": ((2, 2), {}, (2, 6)),
    "AdaptiveAvgPool1d": ((2,), {}, (2, 5)),
    "AdaptiveMaxPool1d": ((2,), {}, (2, 5)),
    "RotaryPositionalEmbedding": ((4,), {}, (3, 4)),
}
CELLS = "GRUCell", "LSTMCell", "SimpleCell", "MGUCell"
ADJOINTS = "RecursiveCheckpointAdjoint", "DirectAdjoint", "BacksolveAdjoint"


def layers(prefix: str) -> Iterator[Row]:
    """The functions whose name begins with `prefix`, of the libraries that are installed."""
    for library, of in (("flax", _of_flax), ("equinox", _of_equinox), ("diffrax", _of_diffrax)):
        if (library.startswith(prefix) or prefix.startswith(library)) and importlib.util.find_spec(library):
            yield from (row for row in of() if row[0].startswith(prefix))


def _of_flax():
    from flax import linen

    for name, (settings, options, shape) in FLAX.items():
        yield _flax_layer(name, getattr(linen, name)(*settings, **options), *normal(shape))
    for name in CELLS:
        cell, (x,) = getattr(linen, name)(4), normal((2, 3))
        yield _flax_layer(name, cell, cell.initialize_carry(jax.random.key(0), x.shape), x)
    (x, y, mask) = (*normal((1, 3, 2, 4), (1, 3, 2, 4)), None)
    yield "flax.linen.dot_product_attention", lambda q, k, v: linen.dot_product_attention(q, k, v, mask), (x, y, x - y)
    yield from _of_fp8()


def _flax_layer(name, layer, *inputs):
    """The layer with random parameters: those it starts with are often zeros or ones."""
    start = layer.init(jax.random.key(0), *inputs)
    leaves, tree = jax.tree.flatten(start)
    params = tree.unflatten([p + 0.1 * x for p, x in zip(leaves, normal(*map(np.shape, leaves)), strict=True)])
    return f"flax.linen.{name}", layer.apply, (params, *inputs)


def _of_fp8():
    from flax.linen import fp8_ops

    x, w = normal((3, 4), (4, 2))
    scale, history = jnp.ones(1, jnp.float32), jnp.zeros(4, jnp.float32)
    formats = (jnp.float32, jnp.float8_e4m3fn)
    dimensions = (((1,), (0,)), ((), ()))
    of_fp8 = "flax.linen.fp8_ops"
    yield f"{of_fp8}.in_qdq", functools.partial(fp8_ops.in_qdq, *formats), (x, scale, history)
    yield f"{of_fp8}.out_qdq", functools.partial(fp8_ops.out_qdq, *formats), (x, scale, history)
    yield f"{of_fp8}.out_dq", lambda a, b, out: fp8_ops.out_dq(jnp.float32, a, b, out), (scale, scale, x)
    dot = lambda x, w: fp8_ops.dot_general_with_precision(x, w, dimensions)
    yield f"{of_fp8}.dot_general_with_precision", dot, (x, w)


def _of_equinox():
    import equinox as eqx

    key = jax.random.key(0)
    for name, (settings, options, shape) in EQUINOX.items():
        keyed = {"key": key} if name in ("Linear", "MLP", "Conv1d", "ConvTranspose1d") else {}
        yield _equinox_layer(name, getattr(eqx.nn, name)(*settings, **options, **keyed), *normal(shape))
    yield _equinox_layer("GRUCell", eqx.nn.GRUCell(3, 4, key=key), *normal((3,), (4,)))
    (x, h, c) = normal((3,), (4,), (4,))
    yield _equinox_layer("LSTMCell", eqx.nn.LSTMCell(3, 4, key=key), x, (h, c))
    attention = eqx.nn.MultiheadAttention(2, 4, key=key)
    yield _equinox_layer("MultiheadAttention", attention, *normal((3, 4), (3, 4), (3, 4)))
    (x,) = normal((3, 4))
    halved = lambda x, steps=3: eqx.internal.while_loop(
        lambda state: state[0] < steps,
        lambda state: (state[0] + 1, jnp.sin(state[1])),
        (np.int32(0), x),
        max_steps=4,
        kind="checkpointed",
    )[1]
    yield "equinox.internal.nextafter", lambda x: eqx.internal.nextafter(x), (x,)
    yield "equinox.internal.prevbefore", lambda x: eqx.internal.prevbefore(x), (x,)
    yield "equinox.internal.while_loop(kind='checkpointed')", halved, (x,)


def _equinox_layer(name, layer, *inputs):
    import equinox as eqx

    params, fixed = eqx.partition(layer, eqx.is_inexact_array)
    return f"equinox.nn.{name}", lambda params, *inputs: eqx.combine(params, fixed)(*inputs), (params, *inputs)


def _of_diffrax():
    import diffrax as dfx

    (y,) = normal((2,))
    for name in ADJOINTS:
        yield f"diffrax.diffeqsolve({name})", _decay(getattr(dfx, name)()), (y, jnp.float32(0.7))
    times, (values,) = jnp.linspace(0.0, 1.0, 4, dtype=jnp.float32), normal((4, 2))
    linear = lambda t, x: dfx.LinearInterpolation(times, x).evaluate(t)
    cubic = lambda t, x: dfx.CubicInterpolation(times, dfx.backward_hermite_coefficients(times, x)).evaluate(t)
    yield "diffrax.LinearInterpolation", linear, (jnp.float32(0.4), values)
    yield "diffrax.CubicInterpolation", cubic, (jnp.float32(0.4), values)


def _decay(adjoint):
    """The solution of y′ = −rate · sin y at 1, in eight steps of Heun's method."""
    import diffrax as dfx

    def solved(y, rate):
        term = dfx.ODETerm(lambda t, y, rate: -rate * jnp.sin(y))
        return dfx.diffeqsolve(
            term, dfx.Heun(), 0.0, 1.0, 0.125, y, rate, adjoint=adjoint, max_steps=16, throw=False
        ).ys  # fmt: skip

    return solved
