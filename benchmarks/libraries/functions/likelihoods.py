"""Log-densities of models, as a sampler or an optimiser differentiates them."""

import jax
import jax.numpy as jnp

from benchmarks.libraries.entry import function_of

Y = jnp.array([0.3, -0.7, 1.2, 0.1])


def potential(model, *args):
    """The potential energy of a numpyro model as a function of its unconstrained parameters."""
    from numpyro.infer.util import initialize_model

    found = initialize_model(jax.random.key(0), model, model_args=args)
    return found.potential_fn, (found.param_info.z,)


@function_of("numpyro")
def eight_schools():
    import numpyro
    from numpyro import distributions as dist

    sigma = jnp.array([15.0, 10.0, 16.0, 11.0])

    def model(y):
        mu, tau = numpyro.sample("mu", dist.Normal(0, 5)), numpyro.sample("tau", dist.HalfCauchy(5))
        theta = numpyro.sample("theta", dist.Normal(mu, tau).expand([4]))
        numpyro.sample("y", dist.Normal(theta, sigma), obs=y)

    return potential(model, jnp.array([28.0, 8.0, -3.0, 7.0]))


@function_of("numpyro")
def logistic_regression():
    import numpyro
    from numpyro import distributions as dist

    x = jax.random.normal(jax.random.key(1), (4, 2))

    def model(y):
        w = numpyro.sample("w", dist.Normal(0, 1).expand([2]))
        numpyro.sample("y", dist.Bernoulli(logits=x @ w), obs=y)

    return potential(model, jnp.array([1.0, 0.0, 1.0, 1.0]))


@function_of("numpyro")
def hidden_markov_model_with_scan():
    import numpyro
    from numpyro import distributions as dist
    from numpyro.contrib.control_flow import scan

    def model(y):
        phi = numpyro.sample("phi", dist.Uniform(-1, 1))

        def step(before, y):
            x = numpyro.sample("x", dist.Normal(phi * before, 1.0))
            numpyro.sample("y", dist.StudentT(4.0, x, 0.5), obs=y)
            return x, None

        scan(step, jnp.float32(0.0), y)

    return potential(model, Y)


@function_of("numpyro")
def counts_beta_gamma_dirichlet():
    import numpyro
    from numpyro import distributions as dist

    def model(y):
        p, rate = numpyro.sample("p", dist.Beta(2.0, 3.0)), numpyro.sample("rate", dist.Gamma(2.0, 1.0))
        mix = numpyro.sample("mix", dist.Dirichlet(jnp.ones(3)))
        numpyro.sample("y", dist.NegativeBinomial2(rate + mix[0], 2.0 + p), obs=y)

    return potential(model, jnp.array([1.0, 3.0, 0.0, 2.0]))


@function_of("numpyro")
def truncated_and_von_mises():
    from numpyro import distributions as dist

    def f(loc, scale):
        truncated = dist.TruncatedNormal(loc, scale, low=-1.0, high=2.0).log_prob(Y)
        return truncated.sum() + dist.VonMises(loc, scale).log_prob(Y).sum()

    return f, (jnp.float32(0.2), jnp.float32(1.3))


@function_of("tfp-nightly")
def student_t_density():
    from tensorflow_probability.substrates import jax as tfp

    f = lambda df, loc, scale: tfp.distributions.StudentT(df, loc, scale).log_prob(Y)
    return f, (jnp.float32(3.0), jnp.float32(0.2), jnp.float32(1.3))


@function_of("tfp-nightly")
def mixture_of_gaussians():
    from tensorflow_probability.substrates import jax as tfp

    tfd = tfp.distributions

    def f(logits, loc):
        normals = tfd.Normal(loc, 0.5)
        return tfd.MixtureSameFamily(tfd.Categorical(logits=logits), normals).log_prob(Y)

    return f, (jnp.array([0.1, 0.5, -0.3]), jnp.array([-1.0, 0.0, 1.0]))


@function_of("tfp-nightly")
def wishart_and_multivariate_normal():
    from tensorflow_probability.substrates import jax as tfp

    tfd = tfp.distributions

    def f(x):
        scale = jnp.tril(x) + 2 * jnp.eye(2)
        normal = tfd.MultivariateNormalTriL(jnp.zeros(2), scale).log_prob(Y[:2])
        return normal + tfd.WishartTriL(4.0, scale_tril=scale).log_prob(jnp.eye(2) * 1.5)

    return f, (jnp.array([[0.3, 0.0], [0.5, -0.2]]),)


@function_of("tfp-nightly")
def gamma_reparametrised_draws():
    from tensorflow_probability.substrates import jax as tfp

    f = lambda a, b: tfp.distributions.Gamma(a, b).sample(3, seed=jax.random.key(0))
    return f, (jnp.float32(1.5), jnp.float32(0.7))


@function_of("tfp-nightly")
def bessel_and_incomplete_beta():
    from tensorflow_probability.substrates import jax as tfp

    f = lambda v, z: tfp.math.log_bessel_ive(v, z) + tfp.math.betainc(v, jnp.float32(2.0), z / 10)
    return f, (jnp.array([0.5, 1.5]), jnp.array([1.0, 3.0]))


@function_of("tfp-nightly")
def lambert_w_and_erfcx():
    from tensorflow_probability.substrates import jax as tfp

    return lambda x: tfp.math.lambertw(x) + tfp.math.erfcx(x) + tfp.math.log1mexp(x), (jnp.array([0.5, 1.5, 3.0]),)


@function_of("tfp-nightly")
def kalman_filter():
    from tensorflow_probability.substrates import jax as tfp

    tfd = tfp.distributions

    def f(drift, noise):
        model = tfd.LinearGaussianStateSpaceModel(
            num_timesteps=4, transition_matrix=drift * jnp.eye(2), transition_noise=tfd.MultivariateNormalDiag(
                jnp.zeros(2), jnp.ones(2) * noise), observation_matrix=jnp.array([[1.0, 0.5]]),
            observation_noise=tfd.MultivariateNormalDiag(jnp.zeros(1), jnp.ones(1)),
            initial_state_prior=tfd.MultivariateNormalDiag(jnp.zeros(2), jnp.ones(2)))  # fmt: skip
        return model.log_prob(Y[:, None])

    return f, (jnp.float32(0.9), jnp.float32(0.5))


@function_of("distrax")
def hidden_markov_model():
    import distrax

    def f(transition, loc):
        hmm = distrax.HMM(
            distrax.Categorical(logits=jnp.zeros(2)), distrax.Categorical(logits=transition), distrax.Normal(loc, 1.0)
        )
        return hmm.forward_backward(Y)[3]

    return f, (jnp.array([[0.5, -0.2], [0.1, 0.3]]), jnp.array([-1.0, 1.0]))


@function_of("distrax")
def divergence_of_categoricals():
    import distrax

    f = lambda a, b: distrax.Categorical(logits=a).kl_divergence(distrax.Categorical(logits=b))
    return f, (jnp.array([0.5, -0.2, 0.1]), jnp.array([0.1, 0.3, -0.4]))


@function_of("distrax")
def straight_through_draw():
    import distrax

    wrapped = distrax.straight_through_wrapper(distrax.OneHotCategorical)
    f = lambda logits: wrapped(logits=logits).sample(seed=jax.random.key(0)) * jnp.array([1.0, 2.0, -1.0])
    return f, (jnp.array([0.5, -0.2, 0.1]),)


@function_of("dynamax")
def linear_gaussian_state_space():
    from dynamax.linear_gaussian_ssm import LinearGaussianSSM

    model = LinearGaussianSSM(2, 1)
    params, _ = model.initialize(jax.random.key(0))
    return lambda params: model.marginal_log_prob(params, Y[:, None]), (params,)


@function_of("dynamax")
def gaussian_hidden_markov_model():
    from dynamax.hidden_markov_model import GaussianHMM

    model = GaussianHMM(2, 1)
    params, _ = model.initialize(jax.random.key(0))
    return lambda params: model.marginal_log_prob(params, Y[:, None]), (params,)


@function_of("dynamax")
def extended_kalman_filter():
    from dynamax.nonlinear_gaussian_ssm import ParamsNLGSSM, extended_kalman_filter

    def f(q, r):
        params = ParamsNLGSSM(
            initial_mean=jnp.zeros(2), initial_covariance=jnp.eye(2),
            dynamics_function=lambda z: jnp.array([z[0] + 0.1 * z[1], z[1] - 0.1 * jnp.sin(z[0])]),
            dynamics_covariance=q * jnp.eye(2), emission_function=lambda z: jnp.sin(z[:1]),
            emission_covariance=r * jnp.eye(1))  # fmt: skip
        return extended_kalman_filter(params, Y[:, None]).marginal_loglik

    return f, (jnp.float32(0.3), jnp.float32(0.2))


@function_of("blackjax")
def leapfrog_step():
    import blackjax.mcmc.integrators as integrators
    from blackjax.mcmc.metrics import gaussian_euclidean

    density = lambda x: -0.5 * jnp.sum(x**2) - 0.1 * jnp.sum(x**4)
    metric = gaussian_euclidean(jnp.ones(3))

    def f(position, momentum):
        state = integrators.IntegratorState(position, momentum, density(position), jax.grad(density)(position))
        step = integrators.velocity_verlet(density, metric.kinetic_energy)
        after = step(step(state, 0.1), 0.1)
        return after.position, after.momentum

    return f, (jnp.array([0.3, -0.7, 1.2]), jnp.array([0.5, 0.2, -0.1]))


@function_of("blackjax")
def langevin_step():
    import blackjax

    density = lambda x: -0.5 * jnp.sum(x**2) - 0.1 * jnp.sum(x**4)

    def f(position):
        mala = blackjax.mala(density, 0.1)
        return mala.step(jax.random.key(0), mala.init(position))[0].position

    return f, (jnp.array([0.3, -0.7, 1.2]),)
