"""The Gaussian mixture of ADBench: the log-likelihood of points with a Wishart prior, a scalar of many parameters.

Srajer, Kukelova, Fitzgibbon 2018, "A benchmark of selected algorithmic differentiation tools on some problems in
computer vision and machine learning", and github.com/microsoft/ADBench.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import multigammaln

GAMMA, M = 1.0, 0  # the Wishart prior's, as in ADBench's data


def gmm(points=1000, dimension=10, components=25, seed=0):
    """(f, x, gradient by hand) for points drawn at random; f is that of `mixture`."""
    n, d, k = points, dimension, components
    rng = np.random.default_rng(seed)
    data = jnp.asarray(rng.normal(size=(n, d)))
    x = jnp.asarray(np.concatenate([rng.normal(size=k + k * d), 0.3 * rng.normal(size=k * (d * (d + 1) // 2))]))
    f, by_hand = mixture(data, k)
    return f, x, by_hand


def mixture(data, components):
    """f: (k + k d + k d(d+1)/2,) → (), the parameters in ADBench's order, and its gradient by hand.

    For each of k components α (the logarithm of its weight), the mean μ, and the inverse covariance's factor: q, the
    logarithms of its diagonal, and l, what is below it, column after column:
    Σᵢ log Σₖ exp(αₖ + Σ qₖ − ½‖Lₖ(xᵢ − μₖ)‖²) − n log Σₖ exp αₖ + Σₖ (½γ²(‖exp qₖ‖² + ‖lₖ‖²) − m Σ qₖ) + constant.
    """
    (n, d), k = data.shape, components
    rows, columns = np.triu_indices(d, 1)[::-1]  # below the diagonal, column after column
    freedom = d + M + 1
    prior = freedom * d * math.log(GAMMA / math.sqrt(2)) - multigammaln(freedom / 2, d)
    constant = -n * d * 0.5 * math.log(2 * math.pi) - k * prior

    def parts(x):
        alpha, mean, factor = jnp.split(x, (k, k + k * d))
        factor = factor.reshape(k, -1)
        return alpha, mean.reshape(k, d), factor[:, :d], factor[:, d:]

    def terms(alpha, mean, q, low):
        """αₖ + Σ qₖ − ½‖z‖², (n, k), with what is between: L (k, d, d), x − μ and z = L(x − μ), (n, k, d)."""
        factor = jnp.zeros((k, d, d), q.dtype).at[:, rows, columns].set(low) + jax.vmap(jnp.diag)(jnp.exp(q))
        centered = data[:, None] - mean[None]
        z = jnp.einsum("kij,nkj->nki", factor, centered)
        return (alpha + q.sum(1))[None] - 0.5 * (z**2).sum(2), factor, centered, z

    def f(x):
        alpha, mean, q, low = parts(x)
        likelihood = jax.nn.logsumexp(terms(alpha, mean, q, low)[0], 1).sum() - n * jax.nn.logsumexp(alpha)
        return likelihood + 0.5 * GAMMA**2 * ((jnp.exp(q) ** 2).sum() + (low**2).sum()) - M * q.sum() + constant

    def by_hand(x):
        """With the responsibilities r = softmaxₖ of the terms, the terms' gradients are summed with weights r."""
        alpha, mean, q, low = parts(x)
        inner, factor, centered, z = terms(alpha, mean, q, low)
        r = jax.nn.softmax(inner, 1)
        count = r.sum(0)
        weighted = r[..., None] * z
        d_factor = -jnp.einsum("nki,nkj->kij", weighted, centered)
        d_alpha = count - n * jax.nn.softmax(alpha)
        d_mean = jnp.einsum("kij,ki->kj", factor, weighted.sum(0))
        diagonal, scale = jnp.diagonal(d_factor, axis1=1, axis2=2), jnp.exp(q)
        d_q = count[:, None] + diagonal * scale + GAMMA**2 * scale**2 - M
        d_low = d_factor[:, rows, columns] + GAMMA**2 * low
        return jnp.concatenate([d_alpha, d_mean.reshape(-1), jnp.concatenate([d_q, d_low], 1).reshape(-1)])

    return f, by_hand
