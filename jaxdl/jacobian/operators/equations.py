"""What an equation is, as far as its Jacobian goes: names, the ops of jaxdl, and which rules are elementwise."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx

SAME = {"add_any", "copy", "copy_p", "squeeze", "expand_dims", "real", "optimization_barrier"}
MOVES = {
    "concatenate", "dynamic_slice", "dynamic_update_slice", "gather", "pad", "reshape", "rev", "slice", "split",
    "transpose",
}  # fmt: skip
# An op of jaxdl whose definition has only these is differentiated as it is defined: its rule says the same.
PLAIN = (
    SAME | MOVES | {"add", "sub", "neg", "mul", "dot_general", "reduce_sum", "broadcast_in_dim", "convert_element_type"}
)


@dataclass(frozen=True, eq=False)
class Edge:
    """From one input of an equation to one of its outputs."""

    eqn: Any
    place: int
    out: int

    @property
    def ends(self):
        return self.eqn.invars[self.place], self.eqn.outvars[self.out]

    @property
    def types(self):
        return tuple(jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in self.ends)

    def bound(self, *inputs, **changed):
        """The output for these inputs, with some parameters changed."""
        return jx.binding(self.eqn, **changed)(*inputs)[self.out]

    def along(self, inputs):
        """The output as a function of the input alone."""
        return lambda x: self.bound(*inputs[: self.place], x, *inputs[self.place + 1 :])


def opened_up(jaxpr):
    """The jaxpr with the bodies of jit, and the definitions of ops that are plain, in place of their calls."""

    def into(eqn):
        if eqn.primitive.name == "jit":
            return lambda *args: jx.evaluate(jx.inner_jaxprs(eqn)[0], args, into)
        if own_op(eqn) and _is_plain(primal := jx.primal_of(eqn)):
            return lambda *args: jx.evaluate(primal, args, into)
        return None

    return jax.make_jaxpr(lambda *args: jx.evaluate(jaxpr, args, into))(*[v.aval for v in jx.opened(jaxpr).invars])


def own_op(eqn) -> bool:
    """Whether an equation calls an op of jaxdl's, perhaps under vmap: what its name says is known."""
    call = jx.op_call(eqn)
    while hasattr(call, "call"):
        call = call.call
    return getattr(getattr(call, "definition", None), "__module__", "").startswith("jaxdl.ops.")


def is_rule(eqn) -> bool:
    return eqn.primitive.name == "jaxdl_op" or eqn.primitive.name.startswith(("custom_jvp_call", "custom_vjp_call"))


def name_of(eqn) -> str:
    """The name of a primitive, or of the rule that is called."""
    if eqn.primitive.name == "jaxdl_op":
        return jx.op_call(eqn).name
    return jx.function_name(jx.rule_jaxpr(eqn)) if is_rule(eqn) else eqn.primitive.name


def _is_plain(jaxpr):
    moving = [eqn for eqn in jx.opened(jaxpr).eqns if jnp.issubdtype(eqn.outvars[0].aval.dtype, jnp.inexact)]
    return all(
        _is_plain(jx.inner_jaxprs(eqn)[0]) if eqn.primitive.name == "jit" else eqn.primitive.name in PLAIN
        for eqn in moving
    )


def is_pointwise_rule(edge) -> bool:
    """Whether a rule's pullback takes each entry of the cotangent to the entry in the same place, whatever it says."""

    def pull(dy, *inputs):
        return jax.vjp(edge.along(inputs), inputs[edge.place])[1](dy)[0]

    types = [v.aval for v in edge.eqn.invars]
    try:
        jaxpr = jx.inlined(jx.trace(pull, edge.types[1], *types)[0])
    except Exception:  # no reverse mode: a while loop in its derivative
        return False
    return _is_pointwise(jaxpr)


def _is_pointwise(jaxpr) -> bool:
    """Whether what the outputs have of the first input is in the same place."""
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
