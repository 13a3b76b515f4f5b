"""The values and derivatives that ADBench publishes for its functions, in float64.

Srajer, Kukelova, Fitzgibbon 2018; the expected numbers are those of the tests of github.com/microsoft/ADBench
(test/python/modules/common), whose tolerance is 1e-8, and the inputs are those of its files gmm_instances/gmm1.txt and
ba.txt. Its tests of hand tracking and of the LSTM are left out: the mesh of the hand, and the text as a matrix of bits
with its weights, are not published.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.jacobian_functions.bundle_adjustment import residuals
from benchmarks.jacobian_functions.gmm import mixture
from jaxdl import jacobian


@pytest.fixture(autouse=True)
def _in_float64():
    with jax.enable_x64(True):
        yield


def agrees(f, by_hand, x, value, derivative, method):
    """f, its Jacobian by hand and that of a method have the published numbers."""
    x, derivative = jnp.asarray(x), np.asarray(derivative)
    found = jax.jit(lambda x: (f(x), by_hand(x), method(f)(x)))(x)
    for result, expected in zip(found, (value, derivative, derivative), strict=True):
        np.testing.assert_allclose(result, expected, rtol=0, atol=1e-8)


def test_gaussian_mixture():
    """Three components and one point in the plane."""
    alpha, mean = [-0.649014, 1.181166, -0.758453], [0.092339, 0.186260, 0.345561, 0.396767, 0.538817, 0.419195]
    factor = [0.586443, -0.851887, 0.800321, -1.509405, 0.875874, -0.242790, 0.166813, -1.965419, -1.270071]
    gradient = [
        *(1.08662855508652456e-01, -7.41270039523898472e-01, 6.32607184015246071e-01),
        *(1.11692576532787013, 1.63333013551455269e-01, -2.19989824071193142e-02),
        *(2.27778292254236098e-01, 1.20963025612832187, -6.06375920733956339e-02),
        *(2.58529994051162237, 1.12632694524213789e-01, 3.85744309849611777e-01),
        *(7.35180573182305508e-02, 5.41836362715595232, -3.21494409677446469e-01),
        *(1.71892309775004937, 8.60091090790866875e-01, -9.94640930466322848e-01),
    ]
    f, by_hand = mixture(jnp.array([[1.175171, 2.029160]]), 3)
    agrees(f, by_hand, alpha + mean + factor, 8.07380408004975791, gradient, jacobian.reverse)


def test_bundle_adjustment():
    """One camera that sees one point. ADBench orders the columns of an observation as camera, point, weight."""
    camera = [1.797201, 0.590697, -0.635786, 90.859550, 29.361415, 28.777534, 211.628116, -0.284531, -14.762924,
              0.058931, 0.069976]  # fmt: skip
    point, weight = [4.173048, 5.586898, 1.403869], 0.417022
    rows = [
        [2.28877202208246757e02, 6.34574811495545418e02, -7.82222866259340549e02, 2.42892615607159668,
         -1.17828079628011313e01, 2.54169312487743460, -1.03657084958518086, 4.17022e-01, 0.0, -3.50739521096005205e02,
         -9.12107773668008576e02, -2.42892615607159668, 1.17828079628011313e01, -2.54169312487743460,
         -6.45167039712987389e-01],
        [-1.20542435994996879e02, -3.85673240766460424e02, 9.75476291403326456e01, -1.78372108529576567,
         4.15466799433126077, 2.04025718029898906, 3.49176397433145880e-01, 0.0, 4.17022e-01, 1.18149147704414503e02,
         3.07250108960343255e02, 1.78372108529576567, -4.15466799433126077, -2.04025718029898906,
         6.23335921553064054e-01],
        [0.0] * 14 + [-8.34044e-01],
    ]  # fmt: skip
    value = [-2.69048849235189402e-01, 2.59944792677901881e-01, 8.26092651515999976e-01]
    at = np.zeros(1, int)
    f, by_hand = residuals(jnp.array([[-525.672849, 161.811929]]), 1, 1, at, at)
    agrees(f, by_hand, [*camera, *point, weight], value, rows, jacobian.sparse)
