"""Findings of the audit on flax and numpyro, each confirmed by mpmath.

python -m benchmarks.audit_functions.confirmed_libraries
"""

import jax.numpy as jnp
import mpmath as mp
from flax import linen
from numpyro import distributions

from benchmarks.audit_functions.confirmed import Claim, print_table


def power_law(low, high):
    """log p(1.2) of the density p(x) = 2x / (high² − low²)"""
    return distributions.DoublyTruncatedPowerLaw(1.0, low, high).log_prob(jnp.float32(1.2))


def hurdle(gate):
    """log gate, for the value 0"""
    return distributions.HurdleGamma(gate, 1.5, 1.0).log_prob(0.0)


def nothing_of_mean(mean):
    """2 log(2 / (2 + mean)), for the count 0"""
    return distributions.NegativeBinomial2(mean, 2.0).log_prob(jnp.int32(0))


def nothing_of_probability(p):
    """2 log(1 − p), for the count 0"""
    return distributions.NegativeBinomialProbs(2.0, p).log_prob(jnp.int32(0))


def normalized(var):
    """0 / √(var + ε) in float16, with ε = 1e-5"""
    zero, one = jnp.zeros(1, jnp.float16), jnp.ones(1, jnp.float16)
    stats = {"mean": zero, "var": var.astype(jnp.float16)[None]}
    state = {"params": {"scale": one, "bias": zero}, "batch_stats": stats}
    return linen.BatchNorm(use_running_average=True).apply(state, zero[None])[0, 0]


CLAIMS = (
    # the rule has the derivatives of p, with the wrong sign in high
    Claim("numpyro DoublyTruncatedPowerLaw.log_prob", power_law, (1.0, 2.0), (1, 0),
          lambda a, b: mp.diff(lambda a: mp.log(mp.mpf(2.4) / (b**2 - a**2)), a)),
    Claim("numpyro DoublyTruncatedPowerLaw.log_prob", power_law, (1.0, 2.0), (0, 1),
          lambda a, b: mp.diff(lambda b: mp.log(mp.mpf(2.4) / (b**2 - a**2)), b)),
    # log(1 − gate) in the branch for other values
    Claim("numpyro HurdleGamma.log_prob", hurdle, (1.0,), (1,), lambda gate: mp.diff(mp.log, gate)),
    # the rate of the gamma distribution is infinite
    Claim("numpyro NegativeBinomial2.log_prob", nothing_of_mean, (0.0,), (1,),
          lambda m: mp.diff(lambda m: 2 * mp.log(2 / (2 + m)), m)),
    Claim("numpyro NegativeBinomialProbs.log_prob", nothing_of_probability, (0.0,), (1,),
          lambda p: mp.diff(lambda p: 2 * mp.log(1 - p), p)),
    # ε^(−3/2) is infinite in float16
    Claim("flax BatchNorm, float16", normalized, (0.0,), (1,), lambda var: mp.mpf(0)),
)  # fmt: skip


if __name__ == "__main__":
    print_table(CLAIMS)
