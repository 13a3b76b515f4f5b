"""Spherical harmonics, rotations, Lie groups, signatures."""

import jax
import jax.numpy as jnp

from benchmarks.libraries.entry import function_of

POINT = jnp.array([0.5, -0.3, 0.8])


@function_of("e3nn-jax")
def spherical_harmonics():
    import e3nn_jax as e3nn

    f = lambda x: e3nn.spherical_harmonics("0e + 1o + 2e", e3nn.IrrepsArray("1o", x), normalize=True).array
    return f, (POINT,)


@function_of("e3nn-jax")
def tensor_product():
    import e3nn_jax as e3nn

    f = lambda x, y: e3nn.tensor_product(e3nn.IrrepsArray("0e + 1o", x), e3nn.IrrepsArray("1o", y)).array
    return f, (jnp.array([1.0, 0.5, -0.3, 0.8]), POINT)


@function_of("e3nn-jax")
def gate():
    import e3nn_jax as e3nn

    f = lambda x: e3nn.gate(e3nn.IrrepsArray("2x0e + 1o", x)).array
    return f, (jnp.array([0.4, 1.0, 0.5, -0.3, 0.8]),)


@function_of("e3nn-jax")
def norm_activation_and_bessel():
    import e3nn_jax as e3nn

    f = lambda x: e3nn.bessel(jnp.linalg.norm(x)[None], 3, 2.0) * e3nn.poly_envelope(3, 3)(jnp.linalg.norm(x) / 2)
    return f, (POINT,)


@function_of("s2fft", wide=True)
def forward_transform():
    import s2fft

    grid = jax.random.normal(jax.random.key(0), (4, 7), jnp.float64)
    f = lambda x: jnp.abs(s2fft.forward(x, 4, method="jax", reality=True)) ** 2
    return f, (grid,)


@function_of("s2fft", wide=True)
def inverse_transform():
    import s2fft

    def f(real, imaginary):
        return s2fft.inverse(real + 1j * imaginary, 3, method="jax").real

    key = jax.random.key(0)
    return f, (jax.random.normal(key, (3, 5), jnp.float64), jax.random.normal(jax.random.key(1), (3, 5), jnp.float64))


@function_of("s2fft", wide=True)
def turned_by_wigner_d():
    import s2fft

    kernel = s2fft.generate_precomputes_jax(3, forward=True)
    f = lambda x: s2fft.forward(x, 3, method="jax", precomps=kernel).real
    return f, (jax.random.normal(jax.random.key(0), (3, 5), jnp.float64),)


@function_of("jaxlie")
def exponential_of_a_rotation():
    import jaxlie

    return lambda x: jaxlie.SO3.exp(x).as_matrix(), (POINT,)


@function_of("jaxlie")
def logarithm_of_a_rigid_motion():
    import jaxlie

    f = lambda a, b: (jaxlie.SE3.exp(a).inverse() @ jaxlie.SE3.exp(b)).log()
    return f, (jnp.array([0.1, 0.5, -0.2, 0.3, 0.4, -0.6]), jnp.array([0.2, 0.1, 0.3, -0.3, 0.2, 0.5]))


@function_of("jaxlie")
def error_on_a_manifold():
    import jaxlie

    def f(delta):
        moved = jaxlie.manifold.rplus(jaxlie.SE2.from_xy_theta(0.3, 0.2, 0.5), delta)
        return moved @ jnp.array([1.0, -2.0])

    return f, (jnp.array([0.1, 0.2, -0.3]),)


@function_of("signax")
def signature_of_a_path():
    import signax

    return lambda path: signax.signature(path, 3), (jax.random.normal(jax.random.key(0), (5, 2)),)


@function_of("signax")
def log_signature_of_a_path():
    import signax

    return lambda path: signax.logsignature(path, 3), (jax.random.normal(jax.random.key(0), (5, 2)),)
