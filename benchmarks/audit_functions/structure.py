"""Faults in the structure of rules: dtypes, linearity, batching, order of entries, implicit functions."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import SymbolicZero

from benchmarks.audit_functions.fault import Fault, Rule, by_jvp, by_op, by_vjp, normal
from benchmarks.audit_functions.pointwise import sech2

X = normal((2, 3))
ROW = normal((5,))
fixed = lax.stop_gradient
WRONG, STRUCTURE = frozenset({"wrong"}), frozenset({"structure"})

# --- dtypes that `jax.custom_vjp` accepts -----------------------------------------------------------------


def sine_in(compute, give):
    """sin x, whose slope is computed in one dtype and returned in another; None is the dtype of x."""
    f = jax.custom_vjp(jnp.sin)

    def backward(x, dy):
        wide, narrow = compute or x.dtype, give or x.dtype
        return ((dy.astype(wide) * jnp.cos(x.astype(wide))).astype(narrow),)

    f.defvjp(lambda x: (jnp.sin(x), x), backward)
    return f


def mixed_dense(weights_in):
    """x w with x in 16 bits and w in 32; w̄ in the dtype of `weights_in(x, w)`"""

    def mixed(x, w):
        return x.astype(w.dtype) @ w

    def backward(kept, dy):
        x, w = kept
        return (dy @ w.T).astype(x.dtype), (x.astype(w.dtype).T @ dy).astype(weights_in(x, w).dtype)

    f = jax.custom_vjp(mixed)
    f.defvjp(lambda x, w: (mixed(x, w), (x, w)), backward)
    return f


def annealed(no_gradient):
    """sin x with an unused temperature, whose cotangent is `no_gradient(temperature)`"""
    f = jax.custom_vjp(lambda x, temperature: jnp.sin(x))
    f.defvjp(
        lambda x, temperature: (jnp.sin(x), (x, temperature)),
        lambda kept, dy: (dy * jnp.cos(kept[0]), no_gradient(kept[1])),
    )
    return f


# --- symbolic zeros ------------------------------------------------------------------------------------------


def product_jvp(when_fixed):
    """a b, with ẏ = ȧ b + a ḃ; if an argument's tangent is zero, `when_fixed` of the other's term and its type"""
    f = jax.custom_jvp(lambda a, b: a * b)

    @f.defjvp
    def plain(args, dots):
        return f(*args), dots[0] * args[1] + args[0] * dots[1]

    def rule(args, dots):
        terms = [d * x for d, x in zip(dots, reversed(args), strict=True) if type(d) is not SymbolicZero]
        return f(*args), sum(terms[1:], terms[0]) if len(terms) == 2 else when_fixed(terms[0])

    f.defjvp(rule, symbolic_zeros=True)
    return f


def product_vjp(when_fixed):
    """a b in reverse mode: `when_fixed` of ā if b is not differentiated"""
    f = jax.custom_vjp(lambda a, b: a * b)

    def forward(a, b):
        kept = (a.value, b.value, jnp.array(b.perturbed))
        return a.value * b.value, kept

    def backward(kept, dy):
        a, b, moves = kept
        dy = jnp.zeros_like(a) if type(dy) is SymbolicZero else dy
        return jnp.where(moves, dy * b, when_fixed(dy * b)), dy * a

    f.defvjp(forward, backward, symbolic_zeros=True)
    return f


# --- batching rules -------------------------------------------------------------------------------------------


def batched_by(f, batch):
    """f with a separate rule for vmap: `batch`, on an argument with the batch axis first"""
    f = custom_vmap(f)
    f.def_vmap(lambda size, mapped, x: (batch(x), True))
    return f


def norm(x):
    return jnp.sqrt((x * x).sum())


def norm_tangent(x, y, x_dot):
    return (x * x_dot).sum() / jnp.where(y > 0, y, 1)


def norm_batched(squares):
    """The norm, whose derivative sums squares with a separate rule for vmap"""
    total = batched_by(lambda x: (x * x).sum(), squares)
    return by_jvp(norm, norm_tangent, by_jvp(lambda x: jnp.sqrt(total(x)), norm_tangent))


def linear_batched(f, batch):
    """A linear f with a separate rule for vmap, and itself as its derivative"""
    return by_jvp(batched_by(f, batch), lambda x, y, x_dot: f(x_dot))


def centred(x):
    return x - x.mean(-1, keepdims=True)


def backward(x):
    return jnp.flip(x, 0)


def whole(x):
    """The sum of the whole batch, for each of its entries"""
    return jnp.broadcast_to((x * x).sum(), x.shape[:1])


# --- changed cotangents ----------------------------------------------------------------------------------------


def identity(x):
    return +x


# --- order of entries ------------------------------------------------------------------------------------------


def ascending(x):
    return jnp.sort(x)


def placed(x, dy):
    """dy, each entry at the place that the sorted entry came from"""
    return jnp.zeros_like(dy).at[jnp.argsort(x)].set(dy)


def quantile(x):
    """The 0.3-quantile of five numbers: 0.8 of the second and 0.2 of the third"""
    _, second, third, _, _ = jnp.sort(x)
    return 0.8 * second + 0.2 * third


def quantile_tangent(weights):
    def tangent(x, y, x_dot):
        places = jnp.argsort(x)
        return weights[0] * x_dot[places[1]] + weights[1] * x_dot[places[2]]

    return tangent


# --- implicit functions and rules inside rules ------------------------------------------------------------------


def settled(b):
    """x = tanh(x)/2 + b, by iteration"""
    return lax.scan(lambda x, _: (jnp.tanh(x) / 2 + b, None), b, None, 60)[0]


def cube(x):
    return x * x * x


def square_with(slope):
    return by_vjp(lambda x: x * x, lambda x, y, dy: slope(x) * dy)


def cube_by(square):
    return by_vjp(cube, lambda x, y, dy: 3 * square(x) * dy)


def skipping(x, z):
    """x z for a column x and a row z, with a separate branch, and so a separate derivative, where x = 0"""
    return jnp.where(x == 0, 0, x * z)


def skipping_pullback(held=lambda z: z):
    return lambda x, z, y, dy: ((dy * held(z)).sum(1, keepdims=True), (dy * x).sum(0, keepdims=True))


SKIPPING = Rule(by_vjp, skipping, skipping_pullback(), (jnp.float32([[0], [1], [-2]]), *normal((1, 4))))
SETTLED = Rule(by_jvp, settled, lambda b, x, b_dot: b_dot / (1 - sech2(x) / 2), X)
SETTLED_VJP = Rule(by_vjp, settled, lambda b, x, dy: dy / (1 - sech2(x) / 2), X)
ASCENDING = Rule(by_vjp, ascending, lambda x, y, dy: placed(x, dy), ROW)
ASCENDING_OP = Rule(by_op, ascending, lambda x, y, dy: placed(x, dy), ROW)
QUANTILE = Rule(by_jvp, quantile, quantile_tangent((0.8, 0.2)), ROW)
IDENTITY = Rule(by_vjp, identity, lambda x, y, dy: dy, X)
IDENTITY_OP = Rule(by_op, identity, lambda x, y, dy: dy, X)
NOT_LINEAR = "not linear"

SINE = sine_in(None, None)
SIXTEEN_BITS = (X[0].astype(jnp.bfloat16), normal((3, 2))[0])
TWO = normal((3,), (3,))

FAULTS = (
    Fault("sine: x̄ in bfloat16", "wrong dtype", SINE, sine_in(None, jnp.bfloat16), X, STRUCTURE),
    Fault(
        "dense of two formats: w̄ in that of x",
        "wrong dtype",
        mixed_dense(lambda x, w: w),
        mixed_dense(lambda x, w: x),
        SIXTEEN_BITS,
        STRUCTURE,
    ),
    Fault(
        "sine: computed in bfloat16",
        "wrong dtype",
        SINE,
        sine_in(jnp.bfloat16, None),
        X,
        frozenset({"inaccurate", "wrong"}),
    ),
    Fault(
        "sine: always computed in float32",
        "wrong dtype",
        SINE,
        sine_in(jnp.float32, None),
        X,
        frozenset({"inaccurate", "non-finite"}),
    ),
    Fault(
        "annealed sine: a Python number as cotangent",
        "wrong dtype",
        annealed(jnp.zeros_like),
        annealed(lambda temperature: 0.0),
        (*X, jnp.float32(0.7)),
        STRUCTURE,
    ),
    Fault(
        "product: 0 when one factor is fixed",
        "symbolic zeros",
        product_jvp(lambda term: term),
        product_jvp(jnp.zeros_like),
        TWO,
        WRONG,
    ),
    Fault(
        "product: ā = 0 when b is fixed",
        "symbolic zeros",
        product_vjp(lambda da: da),
        product_vjp(jnp.zeros_like),
        TWO,
        WRONG,
    ),
    Fault(
        "norm: of the whole batch",
        "wrong under vmap",
        norm_batched(lambda x: (x * x).sum(-1)),
        norm_batched(whole),
        ROW,
        WRONG,
    ),
    Fault(
        "centred: the mean of the batch",
        "wrong under vmap",
        linear_batched(centred, centred),
        linear_batched(centred, lambda x: x - x.mean(0, keepdims=True)),
        ROW,
        WRONG,
    ),
    Fault(
        "flip: of the batch as well",
        "wrong under vmap",
        linear_batched(backward, lambda x: jnp.flip(x, -1)),
        linear_batched(backward, jnp.flip),
        ROW,
        WRONG,
    ),
    IDENTITY.fault("ȳ clipped", "nonlinear in the cotangent", lambda x, y, dy: jnp.clip(dy, -1, 1), NOT_LINEAR),
    IDENTITY_OP.fault("ȳ reversed", "sign", lambda x, y, dy: -dy),
    IDENTITY.fault(
        "ȳ brought to length 1",
        "nonlinear in the cotangent",
        lambda x, y, dy: dy / jnp.sqrt((dy * dy).sum() + 1e-6),
        NOT_LINEAR,
        "wrong",
    ),
    ASCENDING.fault("ȳ sorted alike", "transpose", lambda x, y, dy: dy[jnp.argsort(x)]),
    ASCENDING_OP.fault("ȳ as it is", "missing term", lambda x, y, dy: dy),
    QUANTILE.fault("weights swapped", "stale or swapped residual", quantile_tangent((0.2, 0.8))),
    SETTLED.fault(
        "x held fixed",
        "first-order implicit rule",
        lambda b, x, b_dot: b_dot / (1 - sech2(fixed(x)) / 2),
        "wrong at second order",
    ),
    SETTLED_VJP.fault(
        "the way back held fixed",
        "first-order implicit rule",
        lambda b, x, dy: dy * fixed(1 / (1 - sech2(x) / 2)),
        "wrong at second order",
    ),
    SKIPPING.fault("z held fixed", "second order wrong only", skipping_pullback(held=fixed), "wrong at second order"),
    SETTLED_VJP.fault("1 + tanh′/2", "sign", lambda b, x, dy: dy / (1 + sech2(x) / 2)),
    SETTLED.fault("one step of the iteration", "missing term", lambda b, x, b_dot: b_dot * (1 + sech2(x) / 2)),
    Fault(
        "cube: the rule of the square in its rule",
        "second order wrong only",
        cube_by(square_with(lambda x: 2 * x)),
        cube_by(square_with(lambda x: x)),
        X,
        frozenset({"wrong at second order", "wrong"}),
    ),
)
