"""Faults of other libraries that the audit found, each confirmed by mpmath.

    pip install '.[libraries]'
    python -m benchmarks.libraries.confirmed

jaxdl is not used: the library's derivative comes from `jax.grad`, the exact one from a formula written out here, at the
same numbers.
"""

import distrax
import e3nn_jax
import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
from jax_md import energy, quantity, space
from tensorflow_probability.substrates import jax as tfp

from jaxdl.report import Table

half = jnp.float16
SMALL = np.array([5e-4, -3e-4, 8e-4], half)


def harmonic(x):
    """The first component of degree 1: √3 x / |x|"""
    found = e3nn_jax.spherical_harmonics("1o", e3nn_jax.IrrepsArray("1o", jnp.asarray(SMALL).at[0].set(x)), True)
    return found.array[0]


def exact_harmonic(x):
    y, z = (mp.mpf(float(v)) for v in SMALL[1:])
    return mp.sqrt(3) * x / mp.sqrt(x**2 + y**2 + z**2)


SHARP = np.zeros(13, half)  # 4 bins: their widths, their heights, the slopes at the knots
SHARP[[0, 4, 12]] = -30, -30, 1.5  # the first bin is nearly empty


def spline(x):
    """Outside the interval [−2, 2] it is linear, with the slope at the interval's end"""
    return distrax.RationalQuadraticSpline(jnp.asarray(SHARP), -2.0, 2.0).forward(x)


def exact_spline(x):
    least = mp.mpf("1e-4")
    slope = mp.log(1 + mp.exp(mp.mpf(1.5)) * (mp.exp(1 - least) - 1)) + least
    return 2 + slope * (x - 2)


BESIDE = np.array([1e-3, 0], half)


def force(y):
    """Transverse force between two soft spheres of diameter 2, energy (1 − r/2)²/2, at a distance of 0.001"""
    forces = quantity.force(energy.soft_sphere_pair(space.free()[0], sigma=2.0))
    return forces(jnp.stack([jnp.zeros(2, half).at[1].set(y), jnp.asarray(BESIDE)]))[0, 1]


def exact_force(y):
    r = mp.sqrt(mp.mpf(float(BESIDE[0])) ** 2 + y**2)
    return (1 - r / 2) / 2 * y / r


def erfcx(x):
    """e^x² erfc(x)"""
    return tfp.math.erfcx(x)


def exact_erfcx(x):
    return mp.exp(x**2) * mp.erfc(x)


CLAIMS = [
    ("e3nn_jax.spherical_harmonics(normalize=True)", harmonic, exact_harmonic, SMALL[0]),
    ("distrax.RationalQuadraticSpline", spline, exact_spline, half(3)),
    ("jax_md.energy.soft_sphere_pair, its force", force, exact_force, half(0)),
    ("tfp.math.erfcx", erfcx, exact_erfcx, np.float32(1000)),
]


def row(name, f, exactly, x):
    shown = lambda y: f"{float(y):.9g}"
    with mp.workdps(50):
        truth = mp.diff(exactly, mp.mpf(float(x)))
    return f"{name}, {x.dtype}", shown(x), "∂/∂x", shown(f(x)), shown(jax.grad(f)(x)), mp.nstr(truth, 9)


if __name__ == "__main__":
    columns = "function", "at", "derivative", "value by the library", "derivative by the library", "mpmath"
    Table("Faults of other libraries", columns, [row(*claim) for claim in CLAIMS]).print()
