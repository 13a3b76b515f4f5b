"""Gaussian processes: marginal likelihoods and predictions."""

import jax.numpy as jnp

from benchmarks.libraries.entry import function_of

X = jnp.array([0.1, 0.5, 1.1, 1.6, 2.3])
Y = jnp.sin(2 * X)


@function_of("tinygp")
def marginal_likelihood():
    import tinygp

    def f(scale, noise):
        kernel = 1.5**2 * tinygp.kernels.Matern32(scale)
        return tinygp.GaussianProcess(kernel, X, diag=noise).log_probability(Y)

    return f, (jnp.float32(0.8), jnp.float32(0.1))


@function_of("tinygp")
def prediction():
    import tinygp

    def f(y, scale):
        process = tinygp.GaussianProcess(tinygp.kernels.ExpSquared(scale), X, diag=0.1)
        _, at = process.condition(y, jnp.array([0.3, 1.3]))
        return at.loc, at.variance

    return f, (Y, jnp.float32(0.8))


@function_of("tinygp")
def quasiseparable_likelihood():
    import tinygp

    def f(scale, sigma):
        kernel = tinygp.kernels.quasisep.Matern32(scale, sigma)
        return tinygp.GaussianProcess(kernel, X, diag=0.1).log_probability(Y)

    return f, (jnp.float32(0.8), jnp.float32(1.2))


@function_of("tinygp")
def celerite_kernel():
    import tinygp

    def f(omega, quality):
        kernel = tinygp.kernels.quasisep.SHO(omega=omega, quality=quality, sigma=1.0)
        return tinygp.GaussianProcess(kernel, X, diag=0.1).log_probability(Y)

    return f, (jnp.float32(1.8), jnp.float32(1.2))


@function_of("gpjax", wide=True)
def conjugate_marginal_likelihood():
    import equinox as eqx
    import gpjax as gpx

    prior = gpx.gps.Prior(mean_function=gpx.mean_functions.Zero(), kernel=gpx.kernels.RBF())
    posterior = prior * gpx.likelihoods.Gaussian()
    data = gpx.Dataset(X=X[:, None].astype(float), y=Y[:, None].astype(float))
    params, static = eqx.partition(posterior, eqx.is_inexact_array)
    return lambda params: gpx.objectives.conjugate_mll(eqx.combine(params, static), data), (params,)


@function_of("gpjax", wide=True)
def rational_quadratic_gram_matrix():
    import gpjax as gpx

    x = X[:4, None].astype(float)

    def f(scale, alpha):
        kernel = gpx.kernels.RationalQuadratic(lengthscale=scale, alpha=alpha)
        return kernel.cross_covariance(x, x[:2])

    return f, (jnp.float64(0.8), jnp.float64(1.5))


@function_of("tfp-nightly")
def process_of_tfp():
    from tensorflow_probability.substrates import jax as tfp

    def f(amplitude, scale):
        kernel = tfp.math.psd_kernels.MaternFiveHalves(amplitude, scale)
        return tfp.distributions.GaussianProcess(kernel, X[:, None], observation_noise_variance=0.1).log_prob(Y)

    return f, (jnp.float32(1.2), jnp.float32(0.8))
