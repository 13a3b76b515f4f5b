"""Four models as tables of layers, from which Flax, Equinox and PyTorch modules are built.

A row is a kind of layer and its sizes, inputs before outputs. Images are n × h × w × c, in PyTorch n × c × h × w.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import nn

CODE, VIT = 8, {"patch": 2, "width": 64, "depth": 4, "heads": 4}
_relu, _tanh, _pool = ("relu",), ("tanh",), ("avg_pool",)


class Task(NamedTuple):
    """A model of jaxdl, its rows, the size of its images, whether its target is its input, and the number of batches
    of an epoch that are timed."""

    model: nn.Layer
    rows: tuple
    size: int
    reconstructs: bool = False
    batches: int = 28


# conv and conv_transpose: channels in and out, size of the kernel, stride, padding on each side.
TASKS = {
    "MLP": Task(
        nn.mlp(128, 128, 10),
        (("flatten",), ("dense", 64, 128), _relu, ("dense", 128, 128), _relu, ("dense", 128, 10)),
        8,
    ),
    "LeNet-5": Task(
        nn.lenet5(),
        (
            ("conv", 1, 6, 5, 1, 2), _tanh, _pool, ("conv", 6, 16, 5, 1, 0), _tanh, _pool,
            ("flatten",), ("dense", 400, 120), _tanh, ("dense", 120, 84), _tanh, ("dense", 84, 10),
        ),
        28,
    ),
    "deep autoencoder": Task(
        nn.conv_autoencoder(CODE),
        (
            ("conv", 1, 32, 5, 1, 0), _relu, ("conv", 32, 32, 5, 1, 0), _relu, ("conv", 32, 32, 4, 2, 0), _relu,
            ("conv", 32, 32, 3, 2, 0), _relu, ("conv", 32, CODE, 4, 1, 0),
            ("conv_transpose", CODE, 32, 4, 1), _relu, ("conv_transpose", 32, 32, 3, 2), _relu,
            ("conv_transpose", 32, 32, 4, 2), _relu, ("conv_transpose", 32, 32, 5, 1), _relu,
            ("conv_transpose", 32, 1, 5, 1),
        ),
        28,
        reconstructs=True,
        batches=4,
    ),
    "small ViT": Task(
        nn.vit(10, **VIT),
        (("tokens", 2, 64, 16), *[("block", 64, 4)] * 4, ("norm", 64), ("first",), ("dense", 64, 10)),
        8,
    ),
}  # fmt: skip


def flax_module(rows):
    """A flax.linen module."""
    from flax import linen

    class Tokens(linen.Module):
        patch: int
        width: int
        count: int

        @linen.compact
        def __call__(self, x):
            x = linen.Conv(self.width, (self.patch,) * 2, self.patch, "VALID")(x).reshape(len(x), -1, self.width)
            first = self.param("first", linen.initializers.normal(0.02), (self.width,))
            positions = self.param("positions", linen.initializers.normal(0.02), (1 + self.count, self.width))
            return jnp.concatenate([jnp.broadcast_to(first, (len(x), 1, self.width)), x], 1) + positions

    class Block(linen.Module):
        width: int
        heads: int

        @linen.compact
        def __call__(self, x):
            h = linen.LayerNorm()(x)
            x = x + linen.MultiHeadDotProductAttention(self.heads)(h)
            h = linen.gelu(linen.Dense(4 * self.width)(linen.LayerNorm()(x)), approximate=False)
            return x + linen.Dense(self.width)(h)

    pads = lambda p: ((p, p), (p, p))
    kinds = {
        "flatten": lambda: lambda x: x.reshape(len(x), -1),
        "dense": lambda i, o: linen.Dense(o),
        "conv": lambda i, o, size, stride, pad: linen.Conv(o, (size, size), stride, pads(pad)),
        "conv_transpose": lambda i, o, size, stride: linen.ConvTranspose(o, (size, size), (stride, stride), "VALID"),
        "relu": lambda: jax.nn.relu,
        "tanh": lambda: jnp.tanh,
        "avg_pool": lambda: lambda x: linen.avg_pool(x, (2, 2), (2, 2)),
        "tokens": Tokens,
        "block": Block,
        "norm": lambda width: linen.LayerNorm(),
        "first": lambda: lambda x: x[:, 0],
    }
    return linen.Sequential([kinds[kind](*sizes) for kind, *sizes in rows])


def equinox_module(rows):
    """An Equinox module of one example, channels first."""
    import equinox as eqx

    keys = iter(jax.random.split(jax.random.key(0), 200))

    class Tokens(eqx.Module):
        patches: eqx.nn.Conv2d
        first: jax.Array
        positions: jax.Array

        def __init__(self, patch, width, count):
            self.patches = eqx.nn.Conv2d(1, width, patch, patch, key=next(keys))
            self.first = 0.02 * jax.random.normal(next(keys), (1, width))
            self.positions = 0.02 * jax.random.normal(next(keys), (1 + count, width))

        def __call__(self, x):
            x = self.patches(x)
            return jnp.concatenate([self.first, x.reshape(x.shape[0], -1).T]) + self.positions

    class Norm(eqx.Module):
        norm: eqx.nn.LayerNorm

        def __init__(self, width):
            self.norm = eqx.nn.LayerNorm(width)

        def __call__(self, x):
            return jax.vmap(self.norm)(x)

    class Block(eqx.Module):
        norms: list[Norm]
        attention: eqx.nn.MultiheadAttention
        middle: eqx.nn.Linear
        out: eqx.nn.Linear

        def __init__(self, width, heads):
            self.norms = [Norm(width) for _ in range(2)]
            biases = {f"use_{name}_bias": True for name in ("query", "key", "value", "output")}
            self.attention = eqx.nn.MultiheadAttention(heads, width, **biases, key=next(keys))
            self.middle = eqx.nn.Linear(width, 4 * width, key=next(keys))
            self.out = eqx.nn.Linear(4 * width, width, key=next(keys))

        def __call__(self, x):
            h = self.norms[0](x)
            x = x + self.attention(h, h, h)
            h = jax.nn.gelu(jax.vmap(self.middle)(self.norms[1](x)), approximate=False)
            return x + jax.vmap(self.out)(h)

    of = eqx.nn.Lambda
    kinds = {
        "flatten": lambda: of(jnp.ravel),
        "dense": lambda i, o: eqx.nn.Linear(i, o, key=next(keys)),
        "conv": lambda i, o, size, stride, pad: eqx.nn.Conv2d(i, o, size, stride, pad, key=next(keys)),
        "conv_transpose": lambda i, o, size, stride: eqx.nn.ConvTranspose2d(i, o, size, stride, key=next(keys)),
        "relu": lambda: of(jax.nn.relu),
        "tanh": lambda: of(jnp.tanh),
        "avg_pool": lambda: eqx.nn.AvgPool2d(2, 2),
        "tokens": lambda *sizes: of(Tokens(*sizes)),
        "block": lambda *sizes: of(Block(*sizes)),
        "norm": lambda width: of(Norm(width)),
        "first": lambda: of(lambda x: x[0]),
    }
    return eqx.nn.Sequential([kinds[kind](*sizes) for kind, *sizes in rows])


def torch_module(rows):
    """A PyTorch module, channels first."""
    import torch

    class Tokens(torch.nn.Module):
        def __init__(self, patch, width, count):
            super().__init__()
            self.patches = torch.nn.Conv2d(1, width, patch, patch)
            self.first = torch.nn.Parameter(0.02 * torch.randn(1, 1, width))
            self.positions = torch.nn.Parameter(0.02 * torch.randn(1, 1 + count, width))

        def forward(self, x):
            x = self.patches(x).flatten(2).transpose(1, 2)
            return torch.cat([self.first.expand(len(x), -1, -1), x], 1) + self.positions

    class First(torch.nn.Module):
        def forward(self, x):
            return x[:, 0]

    def block(width, heads):
        settings = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
        return torch.nn.TransformerEncoderLayer(width, heads, 4 * width, layer_norm_eps=1e-6, **settings)

    torch.manual_seed(0)
    kinds = {
        "flatten": torch.nn.Flatten,
        "dense": torch.nn.Linear,
        "conv": torch.nn.Conv2d,
        "conv_transpose": torch.nn.ConvTranspose2d,
        "relu": torch.nn.ReLU,
        "tanh": torch.nn.Tanh,
        "avg_pool": lambda: torch.nn.AvgPool2d(2),
        "tokens": Tokens,
        "block": block,
        "norm": lambda width: torch.nn.LayerNorm(width, eps=1e-6),
        "first": First,
    }
    return torch.nn.Sequential(*(kinds[kind](*sizes) for kind, *sizes in rows))


def channels_first(x: np.ndarray) -> np.ndarray:
    """Images in the layout of Equinox and PyTorch: (n, h, w, c) → (n, c, h, w)."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))
