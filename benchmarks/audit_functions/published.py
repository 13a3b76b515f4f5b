"""Published functions: those of the installed libraries that the audit can judge, with arguments.

All functions of the modules `WHOLE`; of the modules `SCANNED` those that call a rule, found by tracing; layers of flax
and equinox, solves of diffrax, and log-densities of numpyro. Arguments are generated, except for layers, log-densities
and the functions in `_given`.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.audit_functions import distributions
from benchmarks.audit_functions.fault import normal, positive
from benchmarks.audit_functions.layers import layers
from jaxdl import rules
from jaxdl.auditor.arguments import generated, public_callables

WHOLE = (
    "jax.nn",
    "jax.scipy.special",
    "jax.scipy.stats",
    "jax.numpy.linalg",
    "jax.lax.linalg",
    "optax.losses",
    "optax.projections",
)
SCANNED = ("jax.numpy", "jax.lax", "jax.scipy.linalg", "optax")


class Published(NamedTuple):
    """A function of a library with arguments; `name` is its full name, with settings if there are any."""

    library: str
    name: str
    function: Callable
    args: tuple
    domains: tuple[Any, ...] = ()  # one for each argument, or none


def published(prefix: str = "") -> list[Published]:
    """All whose name begins with `prefix`, in the order of the modules; each function once."""
    found, seen = [], set()
    for entry in (*_of_modules(prefix), *_of_settings(prefix), *_of_numpyro(prefix)):
        if (entry.function, len(entry.args)) not in seen:
            seen.add((entry.function, len(entry.args)))
            found.append(entry)
    return found


def without_arguments() -> dict[str, str]:
    """The functions of `WHOLE` for which no arguments can be generated, and why."""
    names = {f"{module}.{name}": f for module in WHOLE for name, f in public_callables(_module(module)).items()}
    found = {name: generated(f) for name, f in names.items() if name not in _given()}
    return {name: reason for name, (args, reason) in found.items() if args is None}


# --- the scan -------------------------------------------------------------------------------------------------


def _of_modules(prefix) -> Iterator[Published]:
    for name in (*WHOLE, *SCANNED):
        if not (name.startswith(prefix) or prefix.startswith(name)):
            continue
        for module in _with_submodules(_module(name)):
            for function_name, f in public_callables(module).items():
                full = f"{module.__name__}.{function_name}"
                if not full.startswith(prefix):
                    continue
                args = _given().get(full) or _given().get(module.__name__) or generated(f).args
                if args is not None and (name in WHOLE or _has_rules(f, args)):
                    yield Published(name.split(".")[0], full, f, args, distributions.domains_of_stats(full))


def _module(name):
    """A module, or None where its library is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


def _with_submodules(module):
    """A module, and the modules of distributions inside `jax.scipy.stats`."""
    if module is None:
        return []
    inside = [m for _, m in inspect.getmembers(module, inspect.ismodule)]
    return [module, *(m for m in inside if m.__name__.startswith("jax.scipy.stats."))]


def _has_rules(f, args):
    try:
        return bool(rules(f, *args))
    except Exception:  # a function that cannot be traced cannot be audited either
        return False


# --- arguments that cannot be generated ---------------------------------------------------------------------------


@functools.cache
def _given() -> dict[str, tuple]:
    """Arguments by the function's name, or by the module's name for all its functions."""
    (x,), (p,) = normal((3, 4)), positive((3, 4))
    labels = jnp.array([1, 3, 0], jnp.int32)
    share = jax.nn.softmax(x)
    return distributions.of_stats() | {
        "jax.nn.dot_product_attention": normal((2, 5, 3, 4), (2, 5, 3, 4), (2, 5, 3, 4)),
        "jax.scipy.special.zeta": (p + 1, p),
        "jax.scipy.special.expn": (labels, positive((3,))[0]),
        "jax.scipy.special.polygamma": (jnp.array([1, 2, 3], jnp.int32), positive((3,))[0]),
        "optax.losses.ctc_loss": (
            normal((2, 5, 4))[0],
            jnp.zeros((2, 5), jnp.float32),
            jnp.array([[1, 2], [3, 1]], jnp.int32),
            jnp.zeros((2, 2), jnp.float32),
        ),
        "optax.losses.poly_loss_cross_entropy": (x, share),
        "optax.losses.safe_softmax_cross_entropy": (x, share),
        "optax.losses.softmax_cross_entropy": (x, share),
        "optax.losses.kl_divergence": (jax.nn.log_softmax(x), share),
        "optax.losses.kl_divergence_with_log_targets": (jax.nn.log_softmax(x), jax.nn.log_softmax(-x)),
        "optax.losses.ntxent": (x, labels),
        "optax.losses.triplet_margin_loss": normal((3, 4), (3, 4), (3, 4)),
    }


def _of_settings(prefix) -> Iterator[Published]:
    """Functions that call rules only with some setting, or that are not public names of the library."""
    (x, y), (p,) = normal((3, 4), (3, 4)), positive((3, 4))
    square = normal((3, 3))[0] + 2 * jnp.eye(3, dtype=jnp.float32)
    tall = normal((4, 3))[0]
    vector = normal((3,))[0]
    z = jax.lax.complex(x, y)
    symmetric = square @ square.T
    special, linalg, iterative = jax.scipy.special, jnp.linalg, jax.scipy.sparse.linalg
    rows = [
        ("jax.numpy.linalg.slogdet(method='qr')", lambda a: linalg.slogdet(a, method="qr"), (square,)),
        ("jax.numpy.linalg.slogdet of 5 × 5", lambda a: linalg.slogdet(a), (normal((5, 5))[0],)),
        ("jax.numpy.linalg.det of 5 × 5", lambda a: linalg.det(a), (normal((5, 5))[0],)),
        ("jax.numpy.linalg.pinv of 4 × 3", lambda a: linalg.pinv(a), (tall,)),
        ("jax.numpy.linalg.pinv(hermitian=True)", lambda a: linalg.pinv(a, hermitian=True), (symmetric,)),
        ("jax.numpy.logaddexp, complex", lambda a, b: jnp.logaddexp(a, b), (z, -z)),
        ("jax.numpy.sinc, complex", lambda a: jnp.sinc(a), (z,)),
        ("jax.nn.gelu(approximate=False)", lambda a: jax.nn.gelu(a, approximate=False), (x,)),
        ("jax.nn.logsumexp(b=…)", lambda a, b: jax.nn.logsumexp(a, axis=-1, b=b), (x, jnp.abs(y))),
        ("jax.scipy.special.bessel_jn(v=2)", lambda a: special.bessel_jn(a, v=2), (p,)),
        ("jax.scipy.special.sph_harm_y(2, 1)", _harmonic, (x[0], y[0])),
        ("jax.scipy.special.wofz, complex", lambda a: special.wofz(a), (z,)),
        ("jax.scipy.sparse.linalg.cg", _solved(iterative.cg), (square, vector)),
        ("jax.scipy.sparse.linalg.bicgstab", _solved(iterative.bicgstab), (square, vector)),
        ("jax.scipy.sparse.linalg.gmres", _solved(iterative.gmres), (square, vector)),
        ("jax.experimental.ode.odeint", _decay, (vector, jnp.asarray(0.7, jnp.float32))),
    ]
    for full, f, args in (*rows, *_of_optax(), *layers(prefix)):
        if full.startswith(prefix):
            yield Published(full.split(".")[0], full, f, args)


def _solved(solve):
    """(a aᵀ + I)⁻¹ b: for any a the matrix is symmetric and positive definite, as cg needs."""
    return lambda a, b: solve(a @ a.T + jnp.eye(len(a), dtype=a.dtype), b)[0]


def _harmonic(polar, azimuth):
    degree, order = jnp.full(polar.shape, 2, jnp.int32), jnp.full(polar.shape, 1, jnp.int32)
    return jax.scipy.special.sph_harm_y(degree, order, polar, azimuth, n_max=2)


def _decay(start, rate):
    from jax.experimental.ode import odeint

    times = jnp.linspace(0.0, 1.0, 3, dtype=start.dtype)
    return odeint(lambda x, t, rate: -rate * x, start, times, rate, mxstep=100)  # or it never ends at NaN


def _of_optax():
    import optax

    (x,) = normal((3, 4))
    ball = lambda project: lambda x: project(x, 0.5)
    projections = optax.projections
    return (
        ("optax.projections.projection_l1_ball(scale=0.5)", ball(projections.projection_l1_ball), (x[0],)),
        ("optax.projections.projection_l1_sphere(scale=0.5)", ball(projections.projection_l1_sphere), (x[0],)),
        ("optax.projections.projection_simplex(scale=0.5)", ball(projections.projection_simplex), (x[0],)),
        ("optax.safe_norm(axis=1)", lambda x: optax.safe_norm(x, 1e-3, axis=1), (x,)),
        ("optax.safe_root_mean_squares", lambda x: optax.safe_root_mean_squares(x, 1e-3), (x,)),
        ("optax.scale_gradient(scale=0.5)", lambda x: optax.scale_gradient(x, 0.5), (x,)),
    )


def _of_numpyro(prefix) -> Iterator[Published]:
    for full, f, args, domains in distributions.log_densities(prefix):
        yield Published("numpyro", full, f, args, domains)
