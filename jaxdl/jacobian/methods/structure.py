"""The Jacobian as an operator that keeps the structure of the function's layers, read from its equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.cuts import active
from jaxdl.jacobian.analysis.modes import linearize
from jaxdl.jacobian.analysis.vector_function import Outputs, VectorFunction
from jaxdl.jacobian.methods.arguments import Argnums
from jaxdl.jacobian.methods.base import Call, Jacobian, P
from jaxdl.jacobian.operators.base import Identity, Operator, Zero
from jaxdl.jacobian.operators.equations import PartialMap, expanded
from jaxdl.jacobian.operators.from_equations import FirstCotangent, NotAloneError, operator_builder
from jaxdl.jacobian.operators.functions import FunctionOperator
from jaxdl.jacobian.operators.series_parallel import reduce_graph


def structured(
    f: Callable[P, Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False
) -> StructuredJacobian[P]:
    """The Jacobian of f as a lazy operator J between the flattened inputs and the flattened outputs.

    Elementwise functions are diagonal, softmax is diagonal plus rank one, matrix products are I ⊗ A ⊗ I, convolutions
    Toeplitz, slices, gathers and maxima selections, sums and broadcasts are sums and their transposes; the uses of a
    value are added. Anything else (scan, sort, an op with a hand-written rule) is a linear function without structure.

    Args:
        f: The function to differentiate.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.
        has_aux: Whether f returns a pair (output, aux).
        holomorphic: Whether f is a holomorphic function of complex numbers.

    Returns:
        A function of f's arguments that returns J, an `Operator` of shape (m, n); with `has_aux` a pair of J and aux.
        The n columns are all entries of the differentiated arguments, the m rows all entries of the output, in the
        order of `jax.flatten_util.ravel_pytree`. `J @ v` (a vector or a matrix) and `J.T` need no more memory than the
        layers' derivatives; `J.dense()` multiplies the operators in the cheapest order; `J.trace()`, `J.frobenius()`
        and `J.spectral()` are a trace and norms; `jaxdl.interop.as_lineax(J)` is for lineax's solvers. J is a pytree,
        so that jit and vmap can return it. Printed, it is its structure, the last layer first.

    Raises:
        TypeError: If f is not callable.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> w = jnp.ones((3, 5))
        >>> jacobian.structured(lambda x: jnp.tanh(w @ x))(jnp.ones(5))
        diagonal(3) · dense(3×5)
    """
    if not callable(f):
        raise TypeError(f"jacobian.structured: expected a function, got {type(f).__name__}")
    return StructuredJacobian("structured", f, prepare_operator, argnums, has_aux, holomorphic)


class StructuredJacobian(Jacobian[P]):
    """What `structured` returns: called with f's arguments, it returns an `Operator`."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """J as an `Operator` of shape (m, n); with `has_aux` a pair of J and aux."""
        return self.in_form(_operator, args, kwargs)

    def value_and_jacobian(self, *args: P.args, **kwargs: P.kwargs) -> tuple[Any, Any]:
        """A pair of f(*args), with `has_aux` the pair (output, aux), and J as an `Operator`."""
        return self.in_form_with_value(_operator, args, kwargs)

    def matrix(self, *args: P.args, **kwargs: P.kwargs) -> jax.Array:
        """J as an array, (m, n)."""
        return self.evaluate(lambda call: _operator(call, False)[1].dense().astype(call.x.dtype), args, kwargs)


def _operator(call: Call, with_outputs: bool) -> tuple[Outputs | None, Operator]:
    outputs, operator = call.run(with_outputs)
    shape = call.function.m, call.function.n
    return outputs, operator if all(shape) else Zero(shape, call.x.dtype)


def prepare_operator(function: VectorFunction) -> Callable[..., Operator]:
    """The function (x, *others) ↦ operator. The structure is found once, the numbers at each call."""
    jaxpr = expanded(function.jaxpr)
    plain = jx.opened(jaxpr)
    start, end = plain.invars[0], plain.outvars[0]
    if not jx.is_variable(end) or end not in (live := active(plain)):
        return lambda x, *others: Zero((function.m, function.n), x.dtype)
    if start is end:
        return lambda x, *others: Identity(function.n, x.dtype)
    if any(_is_complex(v.aval) != _is_complex(function.x) for v in live):
        return lambda x, *others: _without_structure(function, x, others)  # real and imaginary parts move apart
    if any(
        jx.takes_symbolic_zeros(eqn) and len(live & {*filter(jx.is_variable, eqn.invars)}) > 1 for eqn in plain.eqns
    ):
        return lambda x, *others: _without_structure(function, x, others)  # its derivative may be no sum over inputs
    partials = [
        PartialMap(eqn, operand, output)
        for eqn in plain.eqns
        for output, y in enumerate(eqn.outvars)
        for operand, x in enumerate(eqn.invars)
        if y in live and jx.is_variable(x) and x in live
    ]
    builders = {partial: operator_builder(partial) for partial in partials}

    def run(x, *others: Any):
        values = dict(zip(plain.constvars, jaxpr.consts, strict=True))
        values |= dict(zip(plain.invars, (x, *others), strict=True))
        jx.run(plain.eqns, values)
        inputs = lambda partial: [jx.value_of(v, values) for v in partial.eqn.invars]
        try:
            edges = [(*partial.ends, build(partial, inputs(partial))) for partial, build in builders.items()]
        except NotAloneError:
            return _without_structure(function, x, others)
        return reduce_graph(edges, start, end)

    return run


def _without_structure(function: VectorFunction, x: jax.Array, others: tuple[Any, ...]) -> Operator:
    """The Jacobian of the whole function as one linear function."""
    f = lambda x: function(x, *others)
    no_forward, no_reverse = function.hindrances
    if no_forward and no_reverse:
        raise ValueError(
            f"jacobian.structured: JAX has neither mode of the function as a whole. Forward: {no_forward}. "
            f"Reverse: {no_reverse}. Use jacobian.finite, or cut, which differentiates parts"
        )
    derivative = FirstCotangent(jax.vjp(f, x)[1]) if no_forward else linearize(f, x)[1]
    cost = float(function.n * function.m)
    return FunctionOperator(derivative, bool(no_forward), function.x, jax.eval_shape(f, x), "linear", cost)


def _is_complex(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.complexfloating)
