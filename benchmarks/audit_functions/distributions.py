"""Distributions: arguments for the functions of `jax.scipy.stats`, and log-densities of `numpyro.distributions`."""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.audit_functions.fault import normal, positive

STATS = "jax.scipy.stats"
NUMPYRO = "numpyro.distributions"
SIZE = 3  # of batches, vectors and matrices

# The bounds of a constraint, by its class in numpyro: without open ends, and without squares that overflow in float16.
DOMAINS = {
    "Real": (-100.0, 100.0),
    "Positive": (0.01, 100.0),
    "GreaterThan": (0.01, 100.0),
    "GreaterThanEq": (0.0, 100.0),
    "Nonnegative": (0.0, 100.0),
    "UnitInterval": (0.0, 1.0),
    "OpenInterval": (0.01, 0.99),
    "Circular": (-np.pi, np.pi),
    "Simplex": (0.0, 1.0),
}

# The domains of arguments, by the name of a module of `jax.scipy.stats` or of a function of one.
OF_STATS = {
    f"{STATS}.betabinom": (None, None, "Positive", "Positive"),
    f"{STATS}.chi2": ("Positive", "Positive"),
    f"{STATS}.gennorm": ("Real", "Positive"),
    f"{STATS}.pareto": ("Positive", "Positive"),
    f"{STATS}.pareto.ppf": ("UnitInterval", "Positive"),
    f"{STATS}.t": ("Real", "Positive"),
    f"{STATS}.vonmises": ("Real", "Positive"),
    f"{STATS}.wrapcauchy": ("Circular", "OpenInterval"),
}

# The parameters of distributions that have several forms of them.
PARAMETERS = {
    "CirculantNormal": ("loc", "covariance_row"),
    "GaussianCopulaBeta": ("concentration1", "concentration0", "correlation_matrix"),
    "InverseWishart": ("concentration", "scale_matrix"),
    "InverseWishartCholesky": ("concentration", "scale_tril"),
    "MultivariateNormal": ("loc", "covariance_matrix"),
    "MultivariateStudentT": ("df", "loc", "scale_tril"),
    "Wishart": ("concentration", "scale_matrix"),
    "WishartCholesky": ("concentration", "scale_tril"),
}


def of_stats() -> dict[str, tuple]:
    """Arguments by the name of a module of `jax.scipy.stats`: positive density, integer counts."""
    (x,), (p,) = normal((3, 4)), positive((3, 4))
    share = jax.nn.softmax(x)
    counts = jnp.array([[0, 1, 2, 3], [1, 1, 0, 2], [3, 0, 1, 1]], jnp.int32)
    covariance = jnp.array([[2.0, 0.5], [0.5, 1.0]], jnp.float32)
    return {
        f"{STATS}.bernoulli": (jnp.minimum(counts, 1), share),
        f"{STATS}.bernoulli.ppf": (share, 1 - share),
        f"{STATS}.beta": (share, p, 1 / p),
        f"{STATS}.betabinom": (counts, counts + 2, p, 1 / p),
        f"{STATS}.binom": (counts, counts + 2, share),
        f"{STATS}.chi2": (p, 1 / p),
        f"{STATS}.dirichlet": (share[0], p[0]),
        f"{STATS}.gamma": (p, 1 / p),
        f"{STATS}.gennorm": (x, p),
        f"{STATS}.geom": (counts + 1, share),
        f"{STATS}.multinomial": (counts[0], counts[0].sum(), share[0]),
        f"{STATS}.multivariate_normal": (x[:, :2], x[0, :2], covariance),
        f"{STATS}.nbinom": (counts, p, share),
        f"{STATS}.pareto": (1 + p, p),
        f"{STATS}.pareto.ppf": (share, p),
        f"{STATS}.poisson": (counts, p),
        f"{STATS}.poisson.entropy": (p,),
        f"{STATS}.t": (x, p),
        f"{STATS}.truncnorm": (jnp.tanh(x), -1 - p, 1 + p),
        f"{STATS}.vonmises": (x, p),
        f"{STATS}.wrapcauchy": (1 + share, share),
    }


def domains_of_stats(name: str) -> tuple:
    """The domains of the arguments of a function of `jax.scipy.stats`; none for a function that has no table."""
    kinds = OF_STATS.get(name) or OF_STATS.get(name.rpartition(".")[0], ())
    return tuple(DOMAINS.get(kind) for kind in kinds)


def log_densities(prefix: str) -> Iterator[tuple[str, Callable, tuple, tuple]]:
    """The log-densities of numpyro's distributions: name, function of value and parameters, arguments, domains."""
    if not (NUMPYRO.startswith(prefix) or prefix.startswith(NUMPYRO)):
        return
    try:
        from numpyro import distributions
    except ModuleNotFoundError:
        return
    of_others = _of_others(distributions)
    for name in distributions.__all__:
        kind, full = getattr(distributions, name), f"{NUMPYRO}.{name}.log_prob"
        if full.startswith(prefix) and inspect.isclass(kind):
            try:
                found = _log_density(*(of_others.get(name) or _by_parameters(kind)))
            except Exception:  # its parameters depend on each other, or it has none
                continue
            yield (full, *found)


def _of_others(d) -> dict[str, tuple]:
    """Distributions made of others: the function of parameters that makes one, and their constraints."""
    c = d.constraints
    bell, gamma = (c.real, c.positive), (c.positive, c.positive)  # the parameters of Normal and Gamma
    low, odd = jnp.float32(-0.3), np.arange(SIZE) % 2 == 1
    return {
        "FoldedDistribution": (lambda m, s: d.FoldedDistribution(d.Normal(m, s)), *bell),
        "LeftTruncatedDistribution": (lambda m, s, a: d.LeftTruncatedDistribution(d.Normal(m, s), a), *bell, c.real),
        "RightTruncatedDistribution": (lambda m, s, b: d.RightTruncatedDistribution(d.Normal(m, s), b), *bell, c.real),
        "TwoSidedTruncatedDistribution": (
            lambda m, s, b: d.TwoSidedTruncatedDistribution(d.Logistic(m, s), low, low + b), *bell, c.positive),
        "LeftTruncatedGamma": (lambda a, b, x: d.LeftTruncatedGamma(d.Gamma(a, b), x), *gamma, c.positive),
        "RightTruncatedGamma": (lambda a, b, x: d.RightTruncatedGamma(d.Gamma(a, b), x), *gamma, c.positive),
        "LeftCensoredDistribution": (lambda m, s: d.LeftCensoredDistribution(d.Normal(m, s), odd), *bell),
        "RightCensoredDistribution": (lambda m, s: d.RightCensoredDistribution(d.Normal(m, s), odd), *bell),
        "IntervalCensoredDistribution": (
            lambda m, s: d.IntervalCensoredDistribution(d.Normal(m, s), odd, ~odd), *bell),
        "MixtureSameFamily": (
            lambda p, m, s: d.MixtureSameFamily(d.Categorical(p), d.Normal(m, s)),
            c.simplex, c.real_vector, c.independent(c.positive, 1)),
        "ZeroInflatedProbs": (lambda p, r: d.ZeroInflatedProbs(d.Poisson(r), p), c.unit_interval, c.positive),
        "ZeroInflatedLogits": (lambda p, r: d.ZeroInflatedLogits(d.Poisson(r), p), c.real, c.positive),
        "HurdleProbs": (lambda p, r: d.HurdleProbs(d.Poisson(r), p), c.unit_interval, c.positive),
        "HurdleLogits": (lambda p, r: d.HurdleLogits(d.Poisson(r), p), c.real, c.positive),
        "LKJ": (functools.partial(d.LKJ, SIZE), c.positive),
        "LKJCholesky": (functools.partial(d.LKJCholesky, SIZE), c.positive),
        "GaussianCopula": (
            lambda a, b, r: d.GaussianCopula(d.Beta(a, b), r), *[c.independent(c.positive, 1)] * 2, c.corr_matrix),
        "SineBivariateVonMises": (
            lambda m, n, a, b, r: d.SineBivariateVonMises(m, n, a, b, weighted_correlation=r),
            c.circular, c.circular, c.positive, c.positive, c.open_interval(0.0, 1.0)),
        "ZeroSumNormal": (lambda s: d.ZeroSumNormal(s[0], (SIZE,)), c.positive),
    }  # fmt: skip


def _by_parameters(kind):
    """A distribution as a function of its parameters, and their constraints."""
    of = inspect.signature(kind.__init__).parameters
    names = [name for name in of if name in kind.arg_constraints and of[name].default is not None]
    names = PARAMETERS.get(kind.__name__, names)
    make = lambda *parameters: kind(**dict(zip(names, parameters, strict=True)))
    return make, *(kind.arg_constraints[name] for name in names)


def _log_density(make, first, *others):
    """The log-density, with parameters made from their constraints and a drawn value, and domains of all of them."""
    constraints = first, *others
    is_single = all(c.event_dim == 0 for c in constraints)
    parameters = [_made(c, is_single, seed) for seed, c in enumerate(constraints)]
    distribution = make(*parameters)

    def log_prob(value, *parameters):
        return make(*parameters).log_prob(value)

    value = distribution.sample(jax.random.key(0))
    return log_prob, (value, *parameters), tuple(map(_domain, (distribution.support, *constraints)))


def _made(constraint, is_single, seed) -> Any:
    """A value that meets a constraint."""
    from numpyro.distributions import biject_to

    if constraint.is_discrete:
        return jnp.asarray(4, jnp.int32)
    if type(constraint).__name__.strip("_") == "Dependent":  # the degrees of freedom of a Wishart distribution
        return jnp.float32(SIZE + 1.5)
    shape = (SIZE,) if is_single else (SIZE,) * constraint.event_dim
    transform = biject_to(constraint)
    (x,) = normal(transform.inverse_shape(shape) if shape else shape, seed=7 + seed)
    return transform(x)


def _domain(constraint) -> tuple[float, float] | None:
    """Its interval, of each entry where it is one of arrays."""
    name = type(getattr(constraint, "base_constraint", constraint)).__name__.strip("_")
    return None if constraint.is_discrete else DOMAINS.get(name)
