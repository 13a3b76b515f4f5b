"""Networks: recurrent, attending, convolving, on graphs."""

import jax
import jax.numpy as jnp

from benchmarks.libraries.entry import function_of

WORDS = jax.random.normal(jax.random.key(7), (4, 6))
IMAGE = jax.random.normal(jax.random.key(8), (1, 6, 6, 2))


def linen(module, *inputs, **settings):
    """A linen module's output as a function of its parameters."""
    variables = module.init(jax.random.key(0), *inputs)
    rest = {k: v for k, v in variables.items() if k != "params"}
    f = lambda params: module.apply({"params": params, **rest}, *inputs, **settings)
    return f, (variables["params"],)


@function_of("flax")
def linen_lstm():
    from flax import linen as nn

    return linen(nn.RNN(nn.OptimizedLSTMCell(3)), WORDS[None])


@function_of("flax")
def linen_attention():
    from flax import linen as nn

    return linen(nn.MultiHeadDotProductAttention(num_heads=2, qkv_features=4), WORDS[None])


@function_of("flax")
def linen_transformer_block():
    from flax import linen as nn

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = x + nn.SelfAttention(num_heads=2)(nn.LayerNorm()(x))
            return x + nn.Dense(6)(nn.gelu(nn.Dense(8)(nn.LayerNorm()(x))))

    return linen(Block(), WORDS[None])


@function_of("flax")
def linen_convolutions_and_batch_norm():
    from flax import linen as nn

    net = nn.Sequential([nn.Conv(2, (3, 3)), nn.BatchNorm(use_running_average=True), nn.relu, nn.Dense(2)])
    return linen(net, IMAGE)


@function_of("flax")
def linen_scan_over_layers():
    from flax import linen as nn

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return nn.tanh(nn.Dense(3)(x)), None

    class Stack(nn.Module):
        @nn.compact
        def __call__(self, x):
            layers = nn.scan(nn.remat(Layer), variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
            return layers()(x, None)[0]

    return linen(Stack(), WORDS[:, :3])


def nnx(module, *inputs):
    from flax import nnx

    graph, params, rest = nnx.split(module, nnx.Param, ...)
    return lambda params: nnx.merge(graph, params, rest)(*inputs), (params,)


@function_of("flax")
def nnx_mlp_with_layer_norm():
    from flax import nnx as n

    rngs = n.Rngs(0)
    return nnx(
        n.Sequential(n.Linear(6, 4, rngs=rngs), n.LayerNorm(4, rngs=rngs), n.silu, n.Linear(4, 2, rngs=rngs)), WORDS
    )


@function_of("flax")
def nnx_attention():
    from flax import nnx as n

    return nnx(n.MultiHeadAttention(2, 6, 4, decode=False, rngs=n.Rngs(0)), WORDS[None])


def arrays_of(model):
    import equinox as eqx

    return eqx.partition(model, eqx.is_inexact_array)


@function_of("equinox")
def gru_over_a_sequence():
    import equinox as eqx

    params, static = arrays_of(eqx.nn.GRUCell(6, 3, key=jax.random.key(0)))

    def f(params, words):
        cell = eqx.combine(params, static)
        return jax.lax.scan(lambda h, x: (cell(x, h), None), jnp.zeros(3), words)[0]

    return f, (params, WORDS)


@function_of("equinox")
def attention():
    import equinox as eqx

    params, static = arrays_of(eqx.nn.MultiheadAttention(2, 6, key=jax.random.key(0)))
    return lambda x, params: eqx.combine(params, static)(x, x, x), (WORDS, params)


@function_of("equinox")
def convolution_and_pooling():
    import equinox as eqx

    params, static = arrays_of(
        eqx.nn.Sequential(
            [
                eqx.nn.Conv2d(2, 2, 3, key=jax.random.key(0)),
                eqx.nn.Lambda(jax.nn.gelu),
                eqx.nn.MaxPool2d(2, 2),
                eqx.nn.AdaptiveAvgPool2d(1),
                eqx.nn.Lambda(jnp.ravel),
            ]
        )
    )
    return lambda x, params: eqx.combine(params, static)(x), (IMAGE[0].transpose(2, 0, 1), params)


@function_of("equinox")
def spectral_norm_and_rotary_embedding():
    import equinox as eqx

    embed = eqx.nn.RotaryPositionalEmbedding(6)
    norm = eqx.nn.RMSNorm(6)
    return lambda x: jax.vmap(norm)(embed(x)), (WORDS,)


def haiku(f, *inputs):
    import haiku as hk

    pure = hk.without_apply_rng(hk.transform(f))
    return lambda params: pure.apply(params, *inputs), (pure.init(jax.random.key(0), *inputs),)


@function_of("dm-haiku")
def lstm():
    import haiku as hk

    def f(words):
        core = hk.LSTM(3)
        return hk.dynamic_unroll(core, words, core.initial_state(None))[0]

    return haiku(f, WORDS)


@function_of("dm-haiku")
def attention_block():
    import haiku as hk

    def f(x):
        x = hk.LayerNorm(-1, True, True)(x)
        return hk.MultiHeadAttention(2, 2, w_init=hk.initializers.VarianceScaling(1.0))(x, x, x)

    return haiku(f, WORDS)


@function_of("dm-haiku")
def convolution():
    import haiku as hk

    return haiku(lambda x: hk.Linear(2)(jax.nn.relu(hk.Conv2D(2, 3)(x)).mean((1, 2))), IMAGE)


@function_of("dm-haiku")
def layers_in_a_stack():
    import haiku as hk

    return haiku(lambda x: hk.experimental.layer_stack(3)(lambda x: jnp.tanh(hk.Linear(6)(x)))(x), WORDS)


def graph():
    import jraph

    return jraph.GraphsTuple(
        nodes=WORDS[:, :3], edges=jnp.ones((5, 1)), senders=jnp.array([0, 1, 2, 3, 0]),
        receivers=jnp.array([1, 2, 3, 0, 2]), n_node=jnp.array([4]), n_edge=jnp.array([5]), globals=jnp.zeros((1, 1)),
    )  # fmt: skip


@function_of("jraph")
def graph_convolution():
    import jraph

    def f(nodes, weights):
        layer = jraph.GraphConvolution(lambda n: n @ weights, add_self_edges=True)
        return layer(graph()._replace(nodes=nodes)).nodes

    return f, (WORDS[:, :3], jnp.ones((3, 2)) * 0.3)


@function_of("jraph")
def graph_attention():
    import jraph

    def f(nodes, weights):
        layer = jraph.GAT(
            lambda n: n @ weights, lambda s, r, e: jax.nn.leaky_relu((s - 0.5 * r).sum(-1, keepdims=True))
        )
        return layer(graph()._replace(nodes=nodes)).nodes

    return f, (WORDS[:, :3], jnp.ones((3, 2)) * 0.3)


@function_of("jraph")
def graph_network():
    import jraph

    def f(nodes, w):
        net = jraph.GraphNetwork(
            lambda e, s, r, g: jnp.tanh(s * w - r),
            lambda n, s, r, g: n + r,
            lambda n, e, g: n.sum(-1, keepdims=True),
        )
        return net(graph()._replace(nodes=nodes)).globals

    return f, (WORDS[:, :3], jnp.array([0.3, 0.5, -0.4]))
