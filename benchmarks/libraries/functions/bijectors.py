"""Bijectors and flows: what they map to, and log-densities through them."""

import jax
import jax.numpy as jnp

from benchmarks.libraries.entry import function_of

X = jnp.array([0.3, -0.7, 1.2])


def mapped(bijector):
    """Forward, and its log-determinant."""
    return lambda x: bijector.forward_and_log_det(x)


@function_of("distrax")
def rational_quadratic_spline():
    import distrax

    f = lambda params, x: distrax.RationalQuadraticSpline(params, -2.0, 2.0).forward_and_log_det(x)
    return f, (jax.random.normal(jax.random.key(0), (3, 13)), X)


@function_of("distrax")
def masked_coupling():
    import distrax

    mask = jnp.array([True, False, True])
    conditioner = lambda x: jnp.stack([jnp.sin(x), 0.5 * jnp.cos(x)], -1)
    affine = lambda p: distrax.ScalarAffine(p[..., 0], log_scale=p[..., 1])
    return mapped(distrax.MaskedCoupling(mask, conditioner, affine)), (X,)


@function_of("distrax")
def chain_of_tanh_and_affine():
    import distrax

    return mapped(distrax.Chain([distrax.Tanh(), distrax.ScalarAffine(0.2, 1.5)])), (X,)


@function_of("distrax")
def triangular_affine():
    import distrax

    matrix = jnp.array([[1.0, 0.0, 0.0], [0.5, 2.0, 0.0], [0.1, 0.3, 0.7]])
    f = lambda m, x: distrax.LowerUpperTriangularAffine(m + jnp.eye(3), jnp.ones(3)).inverse_and_log_det(x)
    return f, (matrix, X)


@function_of("distrax")
def inverse_of_sigmoid():
    import distrax

    return distrax.Inverse(distrax.Sigmoid()).forward, (jnp.array([0.3, 0.6, 0.9]),)


@function_of("tfp-nightly")
def softplus_bijector():
    from tensorflow_probability.substrates import jax as tfp

    bijector = tfp.bijectors.Softplus(hinge_softness=0.5)
    return lambda x: (bijector.forward(x), bijector.forward_log_det_jacobian(x, 0)), (X,)


@function_of("tfp-nightly")
def correlation_cholesky():
    from tensorflow_probability.substrates import jax as tfp

    return tfp.bijectors.CorrelationCholesky().forward, (X,)


@function_of("tfp-nightly")
def softmax_centered():
    from tensorflow_probability.substrates import jax as tfp

    bijector = tfp.bijectors.SoftmaxCentered()
    return lambda x: (bijector.forward(x), bijector.forward_log_det_jacobian(x, 1)), (X,)


@function_of("tfp-nightly")
def generalised_pareto_and_sinh_arcsinh():
    from tensorflow_probability.substrates import jax as tfp

    tfb = tfp.bijectors
    return tfb.Chain([tfb.SinhArcsinh(0.3, 1.2), tfb.Scale(2.0)]).forward, (X,)


@function_of("tfp-nightly")
def iterated_sigmoid_and_cumulative_sum():
    from tensorflow_probability.substrates import jax as tfp

    tfb = tfp.bijectors
    return tfb.Chain([tfb.Cumsum(), tfb.IteratedSigmoidCentered()]).forward, (X,)


def log_density(build):
    """The log-density of a flow of flowjax as a function of its parameters and of a point."""
    import equinox as eqx

    params, static = eqx.partition(build, eqx.is_inexact_array)
    return lambda x, params: eqx.combine(params, static).log_prob(x), (jnp.array([0.3, -0.5]), params)


@function_of("flowjax")
def masked_autoregressive_flow():
    from flowjax.distributions import Normal
    from flowjax.flows import masked_autoregressive_flow

    base = Normal(jnp.zeros(2))
    return log_density(
        masked_autoregressive_flow(jax.random.key(0), base_dist=base, flow_layers=1, nn_width=4, nn_depth=1)
    )


@function_of("flowjax")
def coupling_flow():
    from flowjax.distributions import Normal
    from flowjax.flows import coupling_flow

    base = Normal(jnp.zeros(2))
    return log_density(coupling_flow(jax.random.key(0), base_dist=base, flow_layers=1, nn_width=4, nn_depth=1))


@function_of("flowjax")
def block_neural_autoregressive_flow():
    from flowjax.distributions import Normal
    from flowjax.flows import block_neural_autoregressive_flow

    base = Normal(jnp.zeros(2))
    return log_density(
        block_neural_autoregressive_flow(jax.random.key(0), base_dist=base, flow_layers=1, nn_block_dim=2)
    )


@function_of("flowjax")
def planar_flow():
    from flowjax.distributions import Normal
    from flowjax.flows import planar_flow

    base = Normal(jnp.zeros(2))
    return log_density(planar_flow(jax.random.key(0), base_dist=base, flow_layers=1, width_size=4, depth=1))


@function_of("flowjax")
def spline_in_a_flow():
    from flowjax.bijections import RationalQuadraticSpline

    spline = RationalQuadraticSpline(knots=4, interval=2)
    return lambda x: jax.vmap(spline.transform_and_log_det)(x), (X,)


@function_of("numpyro")
def stick_breaking():
    from numpyro.distributions.transforms import StickBreakingTransform

    t = StickBreakingTransform()
    return lambda x: (t(x), t.log_abs_det_jacobian(x, t(x))), (X,)


@function_of("numpyro")
def lower_cholesky():
    from numpyro.distributions.transforms import LowerCholeskyTransform

    return LowerCholeskyTransform(), (X,)
