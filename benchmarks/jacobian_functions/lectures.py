"""The functions of the lectures whose Jacobians are computed there, by size: each `name(size…)` returns `(f, x)`."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import nn, ops


def relu_layer(inputs=256, outputs=256):
    """y = max(0, Wx + b) with respect to x: (inputs,) → (outputs,). Its Jacobian is diag(1[y > 0]) W."""
    w, b, x = _normal((outputs, inputs), (outputs,), (inputs,))
    return lambda x: ops.relu(ops.matmul(w, x) + b), x


def relu_layer_by_weights(inputs=64, outputs=64):
    """y = max(0, Wx + b) with respect to W: (outputs, inputs) → (outputs,), ∂yᵢ/∂Wⱼₖ = 1[yᵢ > 0] δᵢⱼ xₖ."""
    w, b, x = _normal((outputs, inputs), (outputs,), (inputs,))
    return lambda w: ops.relu(ops.matmul(w, x) + b), w


def softmax(classes=1000):
    """(classes,) → (classes,), with Jacobian diag(y) − y yᵀ."""
    (x,) = _normal((classes,))
    return ops.softmax, x


def mlp(depth=3, width=256):
    """A multi-layer perceptron of tanh layers, all of one width, with respect to its input."""
    return _of_one(nn.mlp(*[width] * depth, activation=nn.tanh), (width,))


def autoencoder(code=8):
    """784 → 512 → 256 → code → 256 → 512 → 784 of ReLUs, the code linear, to its reconstruction in [0, 1]."""
    return _of_one(nn.dense_autoencoder((784,), code, (512, 256)), (784,))


def convolutions(size=16, channels=8, depth=3):
    """A stack of 3 × 3 convolutions of ReLUs on an image: (size, size, 1) → (size, size, 1)."""
    hidden = [layer for _ in range(depth - 1) for layer in (nn.conv(channels, 3, padding="SAME"), nn.relu)]
    return _of_one(nn.serial(*hidden, nn.conv(1, 3, padding="SAME")), (size, size, 1))


def shared_weights(size=16):
    """The graph x₁ = φ₁(x₀; w₁), x₂ = φ₂(x₀, x₁; w₂), f = φ₃(x₁, x₂; w₁) with respect to w₁: (size, size) → (size,).

    φ₁ = tanh(w₁ x₀), φ₂ = tanh(w₂ (x₀ + x₁)), φ₃ = tanh(w₁ (x₁ + x₂)): w₁ is used twice, and so its Jacobian is a sum.
    """
    w1, w2, x0 = _normal((size, size), (size, size), (size,))

    def f(w1):
        x1 = ops.tanh(ops.matmul(w1, x0))
        x2 = ops.tanh(ops.matmul(w2, x0 + x1))
        return ops.tanh(ops.matmul(w1, x1 + x2))

    return f, w1 / np.sqrt(size).astype(w1.dtype)


def attention(length=16, width=32, heads=2):
    """Self-attention with respect to its input: (length, width) → (length, width)."""
    return _of_one(nn.attention(heads), (length, width))


def _of_one(model, shape, seed=0):
    """The model, with the weights that it starts from, as a function of a single example."""
    params = model.init(jax.random.key(seed), shape)
    (x,) = _normal(shape)
    return lambda x: model.apply(params, x[None])[0], x.astype(jnp.float32)


def _normal(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=shape)) for shape in shapes]
