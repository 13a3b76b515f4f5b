"""What is known of an equation before its Jacobian is: its name, whether it is a jaxdl op, whether it is pointwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx

IDENTITIES = {"add_any", "copy", "copy_p", "squeeze", "expand_dims", "real", "optimization_barrier"}
INDEXING = {
    "concatenate", "dynamic_slice", "dynamic_update_slice", "gather", "pad", "reshape", "rev", "slice", "split",
    "transpose",
}  # fmt: skip
# A jaxdl op defined with nothing else is differentiated by its definition, which has more structure than its rule.
STRUCTURED = (
    IDENTITIES
    | INDEXING
    | {"add", "sub", "neg", "mul", "dot_general", "reduce_sum", "broadcast_in_dim", "convert_element_type"}
)


@dataclass(frozen=True, eq=False)
class PartialMap:
    """One output of an equation as a function of one of its inputs."""

    eqn: Any
    operand: int
    output: int

    @property
    def ends(self) -> tuple[Any, Any]:
        """The variables of the input and the output."""
        return self.eqn.invars[self.operand], self.eqn.outvars[self.output]

    @property
    def types(self) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
        """The types of the input and the output."""
        x, y = (jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in self.ends)
        return x, y

    def evaluate(self, *inputs: Any, **changed: Any) -> jax.Array:
        """The output for all inputs of the equation, with some parameters changed."""
        return jx.binding(self.eqn, **changed)(*inputs)[self.output]

    def at(self, inputs: Sequence[Any]) -> Callable[[jax.Array], jax.Array]:
        """The output as a function of the one input, the others as in `inputs`."""
        return lambda x: self.evaluate(*inputs[: self.operand], x, *inputs[self.operand + 1 :])


def expanded(jaxpr: Any) -> Any:
    """The jaxpr with calls of jit, and of ops defined by structured equations, replaced by their bodies."""

    def into(eqn):
        if eqn.primitive.name == "jit":
            return lambda *args: jx.evaluate(jx.inner_jaxprs(eqn)[0], args, into)
        if is_jaxdl_op(eqn) and _is_structured(primal := jx.primal_of(eqn)):
            return lambda *args: jx.evaluate(primal, args, into)
        return None

    return jax.make_jaxpr(lambda *args: jx.evaluate(jaxpr, args, into))(*[v.aval for v in jx.opened(jaxpr).invars])


def is_jaxdl_op(eqn: Any) -> bool:
    """Whether an equation calls an op of `jaxdl.ops`, perhaps under vmap, whose structure its name implies."""
    call = jx.op_call(eqn)
    while hasattr(call, "call"):
        call = call.call
    return getattr(getattr(call, "definition", None), "__module__", "").startswith("jaxdl.ops.")


def is_rule(eqn: Any) -> bool:
    """Whether an equation calls a function with a hand-written rule."""
    return eqn.primitive.name == "jaxdl_op" or eqn.primitive.name.startswith(("custom_jvp_call", "custom_vjp_call"))


def operation_name(eqn: Any) -> str:
    """The name of the primitive, or of the function with a hand-written rule."""
    if eqn.primitive.name == "jaxdl_op":
        return jx.op_call(eqn).name
    return jx.function_name(jx.rule_jaxpr(eqn)) if is_rule(eqn) else eqn.primitive.name


def _is_structured(jaxpr: Any) -> bool:
    inexact = [eqn for eqn in jx.opened(jaxpr).eqns if jnp.issubdtype(eqn.outvars[0].aval.dtype, jnp.inexact)]
    return all(
        _is_structured(jx.inner_jaxprs(eqn)[0]) if eqn.primitive.name == "jit" else eqn.primitive.name in STRUCTURED
        for eqn in inexact
    )


def has_pointwise_pullback(partial: PartialMap) -> bool:
    """Whether a rule's pullback computes each entry from the cotangent's entry in the same position alone."""

    def pull(dy, *inputs):
        return jax.vjp(partial.at(inputs), inputs[partial.operand])[1](dy)[0]

    types = [v.aval for v in partial.eqn.invars]
    try:
        jaxpr = jx.inlined(jx.trace(pull, partial.types[1], *types)[0])
    except Exception:  # no reverse mode: a while loop in its derivative
        return False
    return _is_pointwise(jaxpr)


def _is_pointwise(jaxpr: Any) -> bool:
    """Whether each output entry depends on the first input in the same position alone."""
    plain = jx.opened(jaxpr)
    reached = {plain.invars[0]}
    for eqn in plain.eqns:
        touched = [v for v in eqn.invars if jx.is_variable(v) and v in reached]
        if touched:
            shapes = {v.aval.shape for v in (*touched, *eqn.outvars)}
            if eqn.primitive.name not in jx.ELEMENTWISE or len(shapes) > 1:
                return False
            reached.update(eqn.outvars)
    return True
