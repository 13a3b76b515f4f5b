"""Families of JAX's primitives, by name, and what JAX knows of a primitive as a whole."""

import functools
from typing import Any

from jax.extend.core import primitives as primitives_of_jax

from jaxdl.jaxpr.versions import ad

# Primitives whose derivative, where they have one, is 0.
STEPS = {
    "and", "ceil", "eq", "floor", "ge", "gt", "is_finite", "le", "lt", "ne", "not", "or", "round",
    "sign", "stop_gradient", "xor",
}  # fmt: skip

# Primitives that treat each entry by itself.
ELEMENTWISE = STEPS | {
    "abs", "acos", "acosh", "add", "add_any", "asin", "asinh", "atan", "atan2", "atanh", "bessel_i0e",
    "bessel_i1e", "cbrt", "clamp", "convert_element_type", "copy", "copy_p", "cos", "cosh", "digamma", "div",
    "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "igamma", "igamma_grad_a", "igammac", "integer_pow",
    "lgamma", "log", "log1p", "log2", "logistic", "max", "min", "mul", "neg", "nextafter", "one_minus_square",
    "polygamma", "polynomial", "pow", "random_gamma_grad", "reduce_precision", "regularized_incomplete_beta", "rem",
    "rsqrt", "select_n", "sin", "sinh", "sqrt", "square", "sub", "tan", "tanh", "zeta",
}  # fmt: skip

# Primitives that change no value: what they say is where arrays lie, or along which axes of a mesh they vary.
IDENTITIES = {
    "copy", "copy_p", "device_put", "layout_constraint", "mesh_cast", "name", "optimization_barrier", "pcast", "pvary",
    "reshard", "sharding_constraint",
}  # fmt: skip

# Primitives that only evaluate a jaxpr; that evaluate it again for the derivative; that have a derivative rule for it.
CALLS = {"jit", "pjit", "closed_call", "core_call", "eval_jaxpr"}
CHECKPOINTS = {"checkpoint", "remat", "remat2"}
CUSTOM_RULES = {"custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr", "call_hi_primitive"}

# Primitives that call back into Python.
CALLBACKS = {"debug_callback", "debug_print", "io_callback", "pure_callback"}


@functools.cache
def _of_jax():
    """JAX's public primitives, by name."""
    found = {}
    for name in dir(primitives_of_jax):
        primitive = getattr(primitives_of_jax, name)
        if name.endswith("_p"):
            found.setdefault(primitive.name, set()).add(primitive)
    return found


def is_foreign(primitive: Any) -> bool:
    """Whether a primitive has the name of one of JAX's but is another one."""
    return primitive.name in _of_jax() and primitive not in _of_jax()[primitive.name]


@functools.cache
def has_derivative(primitive: Any) -> bool:
    """Whether JAX has any derivative for a primitive."""
    return primitive in ad.primitive_jvps or primitive.name in ("custom_jvp_call", "custom_vjp_call")
