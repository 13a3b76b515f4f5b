"""The functions of the lectures whose Jacobians are computed there, by size.

Each `name(size…)` returns `(f, x)`, and the Jacobian by hand where it is written here.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import nn, ops


def relu_layer(inputs=256, outputs=256):
    """y = max(0, Wx + b) with respect to x: (inputs,) → (outputs,). Its Jacobian is diag(1[y > 0]) W."""
    w, b, x = _normal((outputs, inputs), (outputs,), (inputs,))
    by_hand = lambda x: jnp.where((w @ x + b > 0)[:, None], w, 0)
    return lambda x: ops.relu(ops.matmul(w, x) + b), x, by_hand


def relu_layer_by_weights(inputs=64, outputs=64):
    """y = max(0, Wx + b) with respect to W: (outputs, inputs) → (outputs,), ∂yᵢ/∂Wⱼₖ = 1[yᵢ > 0] δᵢⱼ xₖ."""
    w, b, x = _normal((outputs, inputs), (outputs,), (inputs,))

    def by_hand(w):
        active = jnp.eye(outputs, dtype=bool) & (w @ x + b > 0)[:, None]
        return jnp.where(active[..., None], x[None, None], 0)

    return lambda w: ops.relu(ops.matmul(w, x) + b), w, by_hand


def softmax(classes=1000):
    """(classes,) → (classes,), with Jacobian diag(y) − y yᵀ."""
    (x,) = _normal((classes,))

    def by_hand(x):
        y = jax.nn.softmax(x)
        return jnp.diag(y) - jnp.outer(y, y)

    return ops.softmax, x, by_hand


def mlp(depth=3, width=256):
    """A multi-layer perceptron of tanh layers, all of one width, with respect to its input."""
    f, x, params = _of_one(nn.mlp(*[width] * depth, activation=nn.tanh), (width,))
    *hidden, last = dense_layers(params)

    def by_hand(x):
        """W₃ᵀ D₂ W₂ᵀ D₁ W₁ᵀ, with D = diag(1 − h²) for h = tanh(…)."""
        jacobian = None
        for layer in hidden:
            x = jnp.tanh(x @ layer["w"] + layer["b"])
            by_layer = layer["w"].T if jacobian is None else layer["w"].T @ jacobian
            jacobian = (1 - x**2)[:, None] * by_layer
        return last["w"].T @ jacobian

    return f, x, by_hand


def autoencoder(code=8):
    """784 → 512 → 256 → code → 256 → 512 → 784 of ReLUs, the code linear, to its reconstruction in [0, 1]."""
    f, x, params = _of_one(nn.dense_autoencoder((784,), code, (512, 256)), (784,))
    layers = dense_layers(params)

    def by_hand(x):
        """(D₆W₆ᵀ(D₅W₅ᵀ(D₄W₄ᵀ))) (((W₃ᵀD₂)W₂ᵀD₁)W₁ᵀ): each half from the code outwards.

        D₆ = diag(y(1 − y)); the others are diag(1[h > 0]).
        """
        active = []
        for number, layer in enumerate(layers, 1):
            x = x @ layer["w"] + layer["b"]
            if number not in (3, 6):
                active.append(x > 0)
                x = jnp.where(active[-1], x, 0)
        y = jax.nn.sigmoid(x)
        w1, w2, w3, w4, w5, w6 = (layer["w"].T for layer in layers)
        d1, d2, d4, d5 = active
        to_code = jnp.where(d1[None], jnp.where(d2[None], w3, 0) @ w2, 0) @ w1
        from_code = w6 @ jnp.where(d5[:, None], w5 @ jnp.where(d4[:, None], w4, 0), 0)
        return ((y * (1 - y))[:, None] * from_code) @ to_code

    return f, x, by_hand


def convolutions(size=16, channels=8, depth=3):
    """A stack of 3 × 3 convolutions of ReLUs on an image: (size, size, 1) → (size, size, 1)."""
    hidden = [layer for _ in range(depth - 1) for layer in (nn.conv(channels, 3, padding="SAME"), nn.relu)]
    f, x, params = _of_one(nn.serial(*hidden, nn.conv(1, 3, padding="SAME")), (size, size, 1))
    *before, last = dense_layers(params)

    def by_hand(x):
        """The stencils ∂h(p)/∂x(p + o), layer by layer: Σₑ W[e]ᵀ ∂h(p + e)/∂x(p + o) for the next, 1[h > 0] for a ReLU.

        `stencil[p, channel, o]` has o in the receptive field, which grows by one pixel on each side.
        """
        stencil = jnp.ones((size, size, 1, 1, 1), x.dtype)
        for layer in before:
            h = jax.lax.conv_general_dilated(
                x[None], layer["w"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
            )
            x = jax.nn.relu(h[0] + layer["b"][None, None])
            stencil = jnp.where((x > 0)[..., None, None], _composed(layer["w"], stencil), 0)
        stencil = _composed(last["w"], stencil)[:, :, 0]
        y, x, i, j = np.indices(stencil.shape)
        to_y, to_x = y + i - depth, x + j - depth
        inside = np.nonzero((to_y >= 0) & (to_y < size) & (to_x >= 0) & (to_x < size))
        places = tuple(index[inside] for index in (y, x, to_y, to_x))
        matrix = jnp.zeros((size,) * 4, stencil.dtype).at[places].set(stencil[inside], unique_indices=True)
        return matrix.reshape(size, size, 1, size, size, 1)

    return f, x, by_hand


def _composed(w, stencil):
    """Σₑ W[e]ᵀ ∂h(p + e)/∂x(p + o): at e the stencil is that of the neighbour, its offsets moved by e."""
    size = len(stencil)
    around = jnp.pad(stencil, ((1, 1), (1, 1), (0, 0), (0, 0), (0, 0)))
    at = lambda i, j: jnp.einsum("yxcij,cd->yxdij", around[i : i + size, j : j + size], w[i, j])
    widen = lambda part, i, j: jnp.pad(part, ((0, 0),) * 3 + ((i, 2 - i), (j, 2 - j)))
    return sum(widen(at(i, j), i, j) for i in range(3) for j in range(3))


def shared_weights(size=16):
    """The graph x₁ = φ₁(x₀; w₁), x₂ = φ₂(x₀, x₁; w₂), f = φ₃(x₁, x₂; w₁) with respect to w₁: (size, size) → (size,).

    φ₁ = tanh(w₁ x₀), φ₂ = tanh(w₂ (x₀ + x₁)), φ₃ = tanh(w₁ (x₁ + x₂)): w₁ is used twice, and so its Jacobian is a sum.
    """
    w1, w2, x0 = _normal((size, size), (size, size), (size,))

    def f(w1):
        x1 = ops.tanh(ops.matmul(w1, x0))
        x2 = ops.tanh(ops.matmul(w2, x0 + x1))
        return ops.tanh(ops.matmul(w1, x1 + x2))

    def by_hand(w1):
        """∂fᵢ/∂w₁ⱼₖ = d₃ᵢ(δᵢⱼ sₖ + [w₁(I + D₂w₂)D₁]ᵢⱼ x₀ₖ), with s = x₁ + x₂ and D = diag(d), d = 1 − tanh²."""
        x1 = jnp.tanh(w1 @ x0)
        x2 = jnp.tanh(w2 @ (x0 + x1))
        s, eye = x1 + x2, jnp.eye(size, dtype=w1.dtype)
        through = w1 @ (eye + (1 - x2**2)[:, None] * w2) * (1 - x1**2)[None]
        slope = (1 - jnp.tanh(w1 @ s) ** 2)[:, None]
        return (slope * eye)[..., None] * s[None, None] + (slope * through)[..., None] * x0[None, None]

    return f, w1 / np.sqrt(size).astype(w1.dtype), by_hand


def attention(length=16, width=32, heads=2):
    """Self-attention with respect to its input: (length, width) → (length, width)."""
    f, x, params = _of_one(nn.attention(heads), (length, width))
    wq, wk, wv = (params[name]["w"].reshape(width, heads, -1) for name in ("q", "k", "v"))
    biases = [params[name]["b"].reshape(1, heads, -1) for name in ("q", "k", "v")]
    out = params["out"]["w"].reshape(heads, -1, width)
    scale = (width // heads) ** -0.5

    def by_hand(x):
        """With p = softmax(qkᵀ/√d), o = pv and dpᵢₘ = pᵢₘ(dsᵢₘ − Σₙ pᵢₙ dsᵢₙ), for each head

        ∂oᵢ/∂xⱼ = pᵢⱼ(W_v + (vⱼ − oᵢ) ⊗ W_k qᵢ/√d) + δᵢⱼ Σₘ pᵢₘ(vₘ − oᵢ) ⊗ W_q kₘ/√d, and y is the sum of all oW.
        """
        q, k, v = (jnp.einsum("la,ahd->lhd", x, w) + b for w, b in zip((wq, wk, wv), biases, strict=True))
        p = jax.nn.softmax(scale * jnp.einsum("ihd,jhd->hij", q, k))
        v = jnp.einsum("jhd,hdy->hjy", v, out)
        change = p[..., None] * (v[:, None] - (p @ v)[:, :, None])
        by_query = scale * jnp.einsum("ahd,mhd->hma", wq, k)
        by_key = scale * jnp.einsum("ahd,ihd->hia", wk, q)
        by_value = jnp.einsum("ahd,hdy->hya", wv, out)
        jacobian = jnp.einsum("hij,hya->iyja", p, by_value) + jnp.einsum("hijy,hia->iyja", change, by_key)
        i = np.arange(length)
        return jacobian.at[i, :, i].add(jnp.einsum("himy,hma->iya", change, by_query), unique_indices=True)

    return f, x, by_hand


def dense_layers(params):
    """The dense layers in order, at any depth of the parameters."""
    if isinstance(params, dict) and "w" in params:
        return [params]
    parts = params.values() if isinstance(params, dict) else params
    return [layer for part in parts for layer in dense_layers(part)] if isinstance(params, dict | list | tuple) else []


def _of_one(model, shape, seed=0):
    """The model, with the weights that it starts from, as a function of a single example; an example; the weights."""
    (x,) = _normal(shape)
    params = jax.tree.map(lambda p: p.astype(x.dtype), model.init(jax.random.key(seed), shape))
    return lambda x: model.apply(params, x[None])[0], x, params


def _normal(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=shape)) for shape in shapes]
