"""How a primitive of jaxdl gets its meaning under every transformation of JAX."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.experimental import jet
from jax.interpreters import batching, mlir

from jaxdl.jaxpr.versions import UNSCALED, Primitive, ad

__all__ = ["Primitive", "define", "instantiate_zeros", "is_undefined_primal", "is_zero", "zero_tangent", "zeros"]

# How JAX's differentiation rules speak of zeros and of the inputs of a linear function.
zero_tangent: Callable[..., Any] = ad.Zero
zeros: Callable[..., Any] = ad.zeros_like_aval
instantiate_zeros: Callable[..., Any] = ad.instantiate_zeros
is_undefined_primal: Callable[..., bool] = ad.is_undefined_primal


def is_zero(tangent: Any) -> bool:
    """Whether a tangent or cotangent is a symbolic zero."""
    return isinstance(tangent, ad.Zero)


def define(
    primitive: Any,
    *,
    evaluate: Any,
    jvp: Any,
    batch: Any,
    typing: Any = None,
    effectful_typing: Any = None,
    transpose: Any = None,
    plain: Any = None,
) -> None:
    """Defines a primitive with a list of results under every transformation.

    Args:
        primitive: the primitive.
        evaluate: `(*args, **params)` → results; evaluation and lowering.
        jvp: `(primals, tangents, **params)` → results and their tangents.
        batch: `(size, axis_name, args, dims, **params)` → results and their batch axes, where any input is batched.
        typing: `(*avals, **params)` → the types of the results.
        effectful_typing: `(*avals, **params)` → these types and the effects, in place of `typing`.
        transpose: `(cotangents, *args, **params)` → cotangents, of a primitive that is linear in some inputs.
        plain: `(*args, **params)` → results, for Taylor series (`jax.experimental.jet`); `evaluate` by default.
    """
    primitive.multiple_results = True
    primitive.def_impl(evaluate)
    if effectful_typing:
        primitive.def_effectful_abstract_eval(effectful_typing)
    else:
        primitive.def_abstract_eval(typing)
    mlir.register_lowering(primitive, mlir.lower_fun(evaluate, multiple_results=True))
    ad.primitive_jvps[primitive] = jvp
    if transpose:
        ad.primitive_transposes[primitive] = transpose

    def batched(size, name, _, args, dims, **params):
        if all(d is None for d in dims):
            y = primitive.bind(*args, **params)
            return y, [None] * len(y)
        return batch(size, name, args, dims, **params)

    batching.axis_primitive_batchers[primitive] = batched
    jet.jet_rules[primitive] = functools.partial(_taylor_series, plain or evaluate)


def _taylor_series(f, primals, series, **params):
    """The Taylor series of f's results. Inputs that are not floating-point are constants."""
    smooth = [i for i, x in enumerate(primals) if jax.numpy.issubdtype(jax.numpy.result_type(x), jax.numpy.inexact)]

    def of_smooth(*moving):
        full = list(primals)
        for i, x in zip(smooth, moving, strict=True):
            full[i] = x
        return jax.tree.leaves(f(*full, **params))

    take = lambda values: [values[i] for i in smooth]
    try:
        return jet.jet(of_smooth, take(primals), take(series), **UNSCALED)
    except KeyError as error:  # how jet says that it has no rule
        name = params["call"].name if "call" in params else "the derivative of an op"
        raise NotImplementedError(
            f"{name}: jax.experimental.jet has no rule for {error}, which its definition uses"
        ) from None
