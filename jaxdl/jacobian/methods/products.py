"""Products with Jacobians and Hessians, and what can be had from them without the matrix.

Each function takes f and argnums, gives a function of f's arguments, and that gives a linear map or the answer;
vectors and answers have the structure of the differentiated arguments, or of the output.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxdl.jacobian.analysis.krylov import lanczos
from jaxdl.jacobian.analysis.modes import linearize
from jaxdl.jacobian.methods.base import bound


def jvp(f: Callable, argnums=0) -> Callable:
    """`jvp(f)(*args)` is v ↦ J v, linearised once: v like the arguments `argnums`, J v like the output."""
    return lambda *args, **kwargs: linearize(*bound("jvp", f, argnums, args, kwargs))[1]


def vjp(f: Callable, argnums=0) -> Callable:
    """`vjp(f)(*args)` is u ↦ uᵀ J, with one forward pass: u like the output, uᵀ J like the arguments `argnums`."""

    def at(*args, **kwargs):
        pullback = jax.vjp(*bound("vjp", f, argnums, args, kwargs))[1]
        return lambda u: pullback(u)[0]

    return at


def hvp(f: Callable, argnums=0) -> Callable:
    """`hvp(f)(*args)` is v ↦ H v, H the Hessian of a scalar function: forward over reverse (Pearlmutter 1994)."""

    def at(*args, **kwargs):
        g, x = bound("hvp", f, argnums, args, kwargs)
        return linearize(jax.grad(_scalar("hvp", g)), x)[1]

    return at


def gauss_newton(f: Callable, loss: Callable, argnums=0) -> Callable:
    """`gauss_newton(f, loss)(*args)` is v ↦ Jᵀ H_loss J v, with J of f and H_loss that of `loss` at f's output.

    Positive semidefinite for a convex loss, where the Hessian of loss(f(x)) need not be (Schraudolph 2002).
    """

    def at(*args, **kwargs):
        g, x = bound("gauss_newton", f, argnums, args, kwargs)
        y, push = linearize(g, x)
        pull = jax.linear_transpose(push, x)
        curve = linearize(jax.grad(_scalar("gauss_newton", loss)), y)[1]
        return lambda v: pull(curve(push(v)))[0]

    return at


def hessian_diagonal(f: Callable, argnums=0, *, chunk: int = 32) -> Callable:
    """The diagonal of a scalar function's Hessian, exact, like the arguments `argnums`; see `diagonal`."""

    def at(*args, **kwargs):
        g, x = bound("hessian_diagonal", f, argnums, args, kwargs)
        return diagonal(jax.grad(_scalar("hessian_diagonal", g)), chunk=chunk)(x)

    return at


def diagonal(f: Callable, argnums=0, *, chunk: int = 32) -> Callable:
    """The diagonal of J, exact, like the arguments `argnums`: a forward sweep for each entry, `chunk` at a time.

    f gives as many numbers as it takes. The matrix is never held: memory grows with chunk · n. Where J is sparse,
    `sparse` needs fewer sweeps.
    """

    def at(*args, **kwargs):
        push, x, unravel = _square("diagonal", *bound("diagonal", f, argnums, args, kwargs))
        entry = lambda i: push(jax.nn.one_hot(i, x.size, dtype=x.dtype))[i]
        return unravel(jax.lax.map(entry, jnp.arange(x.size), batch_size=min(chunk, x.size)))

    return at


def trace(f: Callable, argnums=0, *, chunk: int = 32) -> Callable:
    """The trace of J, exact: the sum of `diagonal`."""

    def at(*args, **kwargs):
        g, x = bound("trace", f, argnums, args, kwargs)
        return ravel_pytree(diagonal(g, chunk=chunk)(x))[0].sum()

    return at


def logdet(f: Callable, argnums=0) -> Callable:
    """log |det J|, exact, by the LU decomposition of the matrix; −∞ where J is singular."""

    def at(*args, **kwargs):
        push, x, _ = _square("logdet", *bound("logdet", f, argnums, args, kwargs))
        return jnp.linalg.slogdet(jax.vmap(push, out_axes=1)(jnp.eye(x.size, dtype=x.dtype)))[1]

    return at


# --- by probes -----------------------------------------------------------------------------------------


class Estimate(NamedTuple):
    """A mean over random probes, and its standard error."""

    value: jax.Array
    error: jax.Array


def estimated_diagonal(f: Callable, key: jax.Array, argnums=0, *, probes: int = 64) -> Callable:
    """An estimate of the diagonal of J: the mean of v ⊙ J v over random signs v (Bekas, Kokiopoulou, Saad 2007)."""

    def at(*args, **kwargs):
        push, x, unravel = _square("estimated_diagonal", *bound("estimated_diagonal", f, argnums, args, kwargs))
        estimate = _mean(lambda v: v * push(v), key, x, probes)
        return Estimate(*map(unravel, estimate))

    return at


def estimated_trace(f: Callable, key: jax.Array, argnums=0, *, probes: int = 64) -> Callable:
    """An estimate of the trace of J: the mean of vᵀ J v over random signs v (Hutchinson 1989)."""

    def at(*args, **kwargs):
        push, x, _ = _square("estimated_trace", *bound("estimated_trace", f, argnums, args, kwargs))
        return _mean(lambda v: v @ push(v), key, x, probes)

    return at


def estimated_logdet(f: Callable, key: jax.Array, argnums=0, *, probes: int = 64, order: int = 30) -> Callable:
    """An estimate of log |det J| = ½ tr log JᵀJ by stochastic Lanczos quadrature (Ubaru, Chen, Saad 2017).

    order: Lanczos steps for each probe, at most the number of inputs. J should be far from singular: the error of the
    quadrature falls with the condition number of JᵀJ and is not part of `Estimate.error`.
    """

    def at(*args, **kwargs):
        push, x, _ = _square("estimated_logdet", *bound("estimated_logdet", f, argnums, args, kwargs))
        pull = jax.linear_transpose(push, x)
        gram = lambda v: pull(push(v))[0]
        quadrature = lambda v: 0.5 * x.size * _log_quadrature(gram, v / jnp.linalg.norm(v), min(order, x.size))
        return _mean(quadrature, key, x, probes)

    return at


def _log_quadrature(symmetric, v, order):
    """vᵀ log(A) v by `order` Lanczos steps from the unit vector v."""
    values, vectors = jnp.linalg.eigh(lanczos(symmetric, v, order))
    weights = vectors[0] ** 2
    return jnp.where(weights > 0, weights * jnp.log(jnp.maximum(values, jnp.finfo(v.dtype).tiny)), 0).sum()


def _mean(statistic, key, x, probes):
    signs = jax.random.rademacher(key, (probes, x.size), x.dtype)
    values = jax.lax.map(statistic, signs)
    return Estimate(values.mean(0), values.std(0, ddof=1) / probes**0.5)


def _square(name, g, x):
    """v ↦ J v between vectors of the same length, the point as a vector, and the way back."""
    x, unravel = ravel_pytree(x)
    flat = lambda x: ravel_pytree(g(unravel(x)))[0]
    y, push = linearize(flat, x)
    if y.size != x.size:
        raise ValueError(f"jacobian.{name} needs a square Jacobian: f takes {x.size} numbers and gives {y.size}")
    return push, x, unravel


def _scalar(name, f):
    def checked(x):
        y = f(x)
        if jnp.shape(y) != ():
            raise ValueError(f"jacobian.{name} needs a function with a scalar output, got shape {jnp.shape(y)}")
        return y

    return checked
