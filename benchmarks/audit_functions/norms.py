"""Faults in rules of losses, norms and attention: forgotten terms, means without 1/n, epsilons, ties."""

import jax.numpy as jnp
from jax import lax

from benchmarks.audit_functions.fault import Rule, by_jvp, by_op, by_vjp, normal

EPSILON = 1e-3
X = normal((3, 4))
LABELS = jnp.array([1, 3, 0], jnp.int32)
QKV = normal((3, 4), (3, 4), (3, 4))
fixed = lax.stop_gradient


def over_rows(x):
    return x.sum(-1, keepdims=True)


def mean(x):
    """The mean of each row, as a column."""
    return x.mean(-1, keepdims=True)


def along(row, x):
    """A row or column broadcast to the shape of x."""
    return jnp.broadcast_to(row, x.shape)


# --- norms -------------------------------------------------------------------------------------------


def standard(x, epsilon=EPSILON):
    """x̂ and r = 1/√(variance + ε)"""
    centred = x - mean(x)
    r = lax.rsqrt(mean(centred * centred) + epsilon)
    return centred * r, r


def layer_norm(x, scale):
    return standard(x)[0] * along(scale, x)


def layer_norm_pullback(x, scale, y, dy, epsilon=EPSILON, sums=mean):
    """x̄ = r (g − mean g − x̂ mean(g x̂)),  scale̅ = Σ ȳ x̂,  g = ȳ scale"""
    (normal, r), g = standard(x, epsilon), dy * along(scale, dy)
    return r * (g - sums(g) - normal * sums(g * normal)), (dy * normal).sum(0)


def layer_norm_variance_fixed(x, scale, y, dy):
    (normal, r), g = standard(x), dy * along(scale, dy)
    return r * (g - mean(g)), (dy * normal).sum(0)


def layer_norm_wrong_axis(x, scale, y, dy):
    return layer_norm_pullback(x, scale, y, dy)[0], (dy * standard(x)[0]).sum(1)


def inverse_rms(x, epsilon=EPSILON):
    return lax.rsqrt(mean(x * x) + epsilon)


def rms_norm(x):
    return x * inverse_rms(x)


def rms_norm_pullback(x, y, dy, sums=mean, held=lambda r: r):
    """x̄ = r (ȳ − x̂ mean(ȳ x̂))"""
    r = held(inverse_rms(x))
    return r * (dy - x * r * sums(dy * x * r))


def direction(x):
    """x/√(|x|² + ε), row by row"""
    return x * lax.rsqrt(over_rows(x * x) + EPSILON)


def direction_tangent(x, y, x_dot):
    """(ẋ − y (y·ẋ)) / √(|x|² + ε)"""
    return lax.rsqrt(over_rows(x * x) + EPSILON) * (x_dot - y * over_rows(y * x_dot))


def length(x):
    return jnp.sqrt((x * x).sum(-1))


def averages(x):
    return x.mean(-1)


def variances(x):
    return ((x - mean(x)) ** 2).mean(-1)


def centred(x):
    """Each column less its mean."""
    return x - x.mean(0, keepdims=True)


def largest(x):
    return x.max(-1)


def largest_pullback(x, y, dy):
    """Equal largest entries share the cotangent equally."""
    mask = x == y[:, None]
    return jnp.where(mask, (dy / mask.sum(-1).astype(dy.dtype))[:, None], 0)


# --- softmax, cross-entropy, attention -------------------------------------------------------------------


def softmax(x):
    e = jnp.exp(x - x.max(-1, keepdims=True))
    return e / over_rows(e)


def log_softmax(x):
    shifted = x - fixed(x.max(-1, keepdims=True))
    return shifted - jnp.log(over_rows(jnp.exp(shifted)))


def logsumexp(x):
    top = fixed(x.max(-1))
    return top + jnp.log(jnp.exp(x - top[:, None]).sum(-1))


def one_hot(labels, logits):
    return (labels[:, None] == jnp.arange(logits.shape[1], dtype=labels.dtype)[None]).astype(logits.dtype)


def cross_entropy(logits, labels):
    """The mean over the rows of −log softmax at the label"""
    return -jnp.where(one_hot(labels, logits) > 0, log_softmax(logits), 0).sum() / len(labels)


def cross_entropy_pullback(logits, labels, y, dy):
    """(p − 1[label]) ȳ/n"""
    return (softmax(logits) - one_hot(labels, logits)) * (dy / len(labels)), None


def attention(q, k, v):
    """softmax(q kᵀ/√d) v"""
    return softmax(q @ k.T / q.shape[1] ** 0.5) @ v


def attention_pullback(q, k, v, y, dy, scale=True, centre=True, keys=lambda q, k: q):
    """With p the weights:  v̄ = pᵀ ȳ,  s̄ = p (p̄ − Σ p p̄)/√d,  p̄ = ȳ vᵀ,  q̄ = s̄ k,  k̄ = s̄ᵀ q"""
    root = q.shape[1] ** 0.5
    p, dp = softmax(q @ k.T / root), dy @ v.T
    ds = p * (dp - over_rows(p * dp)) if centre else p * dp
    ds = ds / root if scale else ds
    return ds @ k, ds.T @ keys(q, k), p.T @ dy


SQUARE_NORM = (normal((4, 4))[0], normal((4,), seed=5)[0] + 1)
LAYER_NORM = Rule(by_vjp, layer_norm, layer_norm_pullback, SQUARE_NORM)
LAYER_NORM_OP = Rule(by_op, layer_norm, layer_norm_pullback, SQUARE_NORM)
RMS_NORM = Rule(by_vjp, rms_norm, rms_norm_pullback, X)
RMS_NORM_OP = Rule(by_op, rms_norm, rms_norm_pullback, X)
DIRECTION = Rule(by_jvp, direction, direction_tangent, X)
LENGTH = Rule(by_vjp, length, lambda x, y, dy: x * (dy / jnp.where(y > 0, y, 1))[:, None], X)
AVERAGES = Rule(by_vjp, averages, lambda x, y, dy: along(dy[:, None] / x.shape[-1], x), X)
VARIANCES = Rule(by_op, variances, lambda x, y, dy: 2 * (x - mean(x)) * dy[:, None] / x.shape[-1], X)
CENTRED = Rule(by_jvp, centred, lambda x, y, x_dot: x_dot - x_dot.mean(0, keepdims=True), X)
LARGEST = Rule(by_vjp, largest, largest_pullback, X)
SOFTMAX = Rule(by_vjp, softmax, lambda x, y, dy: y * (dy - over_rows(y * dy)), X)
SOFTMAX_JVP = Rule(by_jvp, softmax, lambda x, y, x_dot: y * (x_dot - over_rows(y * x_dot)), X)
LOG_SOFTMAX = Rule(by_op, log_softmax, lambda x, y, dy: dy - jnp.exp(y) * over_rows(dy), X)
LOGSUMEXP = Rule(by_jvp, logsumexp, lambda x, y, x_dot: (jnp.exp(x - y[:, None]) * x_dot).sum(-1), X)
LOGSUMEXP_VJP = Rule(by_vjp, logsumexp, lambda x, y, dy: jnp.exp(x - y[:, None]) * dy[:, None], X)
CROSS_ENTROPY = Rule(by_vjp, cross_entropy, cross_entropy_pullback, (*X, LABELS))
CROSS_ENTROPY_OP = Rule(by_op, cross_entropy, cross_entropy_pullback, (*X, LABELS))
ATTENTION = Rule(by_vjp, attention, attention_pullback, QKV)
ATTENTION_OP = Rule(by_op, attention, attention_pullback, QKV)


def changed(pullback, **settings):
    """A pullback with some of its settings changed."""
    return lambda *args: pullback(*args, **settings)


FAULTS = (
    LAYER_NORM.fault("variance held fixed", "missing term", layer_norm_variance_fixed),
    LAYER_NORM.fault(
        "ε forgotten", "forgotten epsilon", changed(layer_norm_pullback, epsilon=0), "wrong", "non-finite"
    ),
    LAYER_NORM_OP.fault(
        "divided by n − 1",
        "missing mean's 1/n",
        changed(layer_norm_pullback, sums=lambda g: over_rows(g) / (g.shape[-1] - 1)),
    ),
    LAYER_NORM_OP.fault("scale̅ summed over the features", "wrong axis", layer_norm_wrong_axis),
    RMS_NORM_OP.fault("Σ in place of the mean", "missing mean's 1/n", changed(rms_norm_pullback, sums=over_rows)),
    RMS_NORM.fault(
        "r held fixed", "second order wrong only", changed(rms_norm_pullback, held=fixed), "wrong at second order"
    ),
    DIRECTION.fault("not projected", "missing term", lambda x, y, x_dot: lax.rsqrt(over_rows(x * x) + EPSILON) * x_dot),
    DIRECTION.fault(
        "ε forgotten",
        "forgotten epsilon",
        lambda x, y, x_dot: lax.rsqrt(over_rows(x * x)) * (x_dot - y * over_rows(y * x_dot)),
        "wrong",
        "non-finite",
    ),
    LENGTH.fault("x/y", "NaN at an edge", lambda x, y, dy: x * (dy / y)[:, None], "non-finite"),
    AVERAGES.fault("1/n forgotten", "missing mean's 1/n", lambda x, y, dy: along(dy[:, None], x)),
    VARIANCES.fault(
        "1/(n − 1)", "missing mean's 1/n", lambda x, y, dy: 2 * (x - mean(x)) * dy[:, None] / (x.shape[-1] - 1)
    ),
    VARIANCES.fault(
        "centre held fixed",
        "second order wrong only",
        lambda x, y, dy: 2 * (x - fixed(mean(x))) * dy[:, None] / x.shape[-1],
        "wrong at second order",
    ),
    CENTRED.fault("the mean of the rows", "wrong axis", lambda x, y, x_dot: x_dot - mean(x_dot)),
    LARGEST.fault("all of it to each", "wrong at ties", lambda x, y, dy: jnp.where(x == y[:, None], dy[:, None], 0)),
    SOFTMAX.fault("not summed", "missing term", lambda x, y, dy: y * (dy - y * dy)),
    SOFTMAX_JVP.fault(
        "summed over the first axis", "wrong axis", lambda x, y, x_dot: y * (x_dot - (y * x_dot).sum(0, keepdims=True))
    ),
    SOFTMAX.fault("x in place of y", "input in place of output", lambda x, y, dy: y * (dy - over_rows(x * dy))),
    SOFTMAX.fault(
        "y held fixed",
        "second order wrong only",
        lambda x, y, dy: fixed(y) * (dy - over_rows(y * dy)),
        "wrong at second order",
    ),
    LOG_SOFTMAX.fault("y in place of eʸ", "input in place of output", lambda x, y, dy: dy - y * over_rows(dy)),
    LOGSUMEXP.fault(
        "eˣ/Σeˣ",
        "overflow in the rule",
        lambda x, y, x_dot: (jnp.exp(x) / over_rows(jnp.exp(x)) * x_dot).sum(-1),
        "non-finite",
    ),
    LOGSUMEXP_VJP.fault(
        "eˣ/eʸ", "overflow in the rule", lambda x, y, dy: jnp.exp(x) * (dy / jnp.exp(y))[:, None], "non-finite"
    ),
    CROSS_ENTROPY.fault(
        "1/n forgotten",
        "missing mean's 1/n",
        lambda logits, labels, y, dy: ((softmax(logits) - one_hot(labels, logits)) * dy, None),
    ),
    CROSS_ENTROPY_OP.fault(
        "the label's less p",
        "sign",
        lambda logits, labels, y, dy: ((one_hot(labels, logits) - softmax(logits)) * (dy / len(labels)), None),
    ),
    CROSS_ENTROPY.fault(
        "the label after",
        "stale or swapped residual",
        lambda logits, labels, y, dy: ((softmax(logits) - one_hot(labels + 1, logits)) * (dy / len(labels)), None),
    ),
    ATTENTION.fault("1/√d forgotten", "factor", changed(attention_pullback, scale=False)),
    ATTENTION_OP.fault("k̄ from k", "stale or swapped residual", changed(attention_pullback, keys=lambda q, k: k)),
    ATTENTION.fault("Σ p p̄ forgotten", "missing term", changed(attention_pullback, centre=False)),
    DIRECTION.fault(
        "length held fixed",
        "second order wrong only",
        lambda x, y, x_dot: fixed(lax.rsqrt(over_rows(x * x) + EPSILON)) * (x_dot - y * over_rows(y * x_dot)),
        "wrong at second order",
    ),
)
