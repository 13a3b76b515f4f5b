"""All that depends on JAX's version or comes from its private modules and `jax.extend`, each with its fallback."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.core
from jax._src import config, util
from jax.experimental import jet
from jax.extend import linear_util
from jax.extend import random as _random
from jax.extend.core import Primitive, mapped_aval, unmapped_aval
from jax.interpreters import ad

__all__ = [
    "AnyJaxpr",
    "Equation",
    "Primitive",
    "ad",
    "define_prng_impl",
    "linear_util",
    "mapped_aval",
    "threefry_2x32",
    "unmapped_aval",
]

Equation: TypeAlias = Any  # jax.extend.core.JaxprEqn; of the types of its variables, JAX declares no shape or dtype
AnyJaxpr: TypeAlias = Any  # jax.extend.core.ClosedJaxpr or Jaxpr

define_prng_impl: Callable[..., Any] = _random.define_prng_impl
threefry_2x32: Callable[..., Any] = _random.threefry_2x32

# The value of jit's `inline` with which its equations go straight into the enclosing jaxpr.
INLINE_WHEN_TRACED: Any = getattr(getattr(jax, "Inline", None), "JAX_EARLY", True)

# How a rule of jet calls jet: with coefficients as its rules take them, which only older versions scale by factorials.
UNSCALED: dict[str, bool] = (
    {"factorial_scaled": False} if "factorial_scaled" in inspect.signature(jet.jet).parameters else {}
)


def keep_weakly(*classes: type) -> None:
    """Lets JAX's caches hold parameters of these classes by weak references, so that a trace dies with its function.

    Versions without this keep the last few thousand traces.
    """
    getattr(util, "weakref_cache_key_types", set()).update(classes)


def trace_context() -> Any:
    """What the trace of a function depends on besides its arguments and closures: settings, meshes, named axes."""
    return getattr(config, "trace_context", object)()  # unknown in other versions: equal to nothing else


def scan_counts(eqn: Equation) -> tuple[int, int]:
    """How many inputs of a scan are constant, and how many are carried; the others are scanned over."""
    if "ft_in" in eqn.params:  # JAX 0.11 and newer
        consts, carry, _ = map(len, eqn.params["ft_in"].unpack())
        return consts, carry
    return eqn.params["num_consts"], eqn.params["num_carry"]


def without_references(jaxpr: AnyJaxpr) -> AnyJaxpr:
    """A closed jaxpr in which the references that it makes (`jax.new_ref`) are values that are handed on.

    Its equations compute their outputs and change nothing, so that it can be cut between any two of them. It stays as
    it is where JAX cannot do that, as for references in the primals of custom rules.
    """
    if not any(type(effect).__name__ == "InternalMutableArrayEffect" for effect in jaxpr.effects):
        return jaxpr
    try:
        return _discharged(jaxpr, [False] * len(jaxpr.in_avals))
    except (ImportError, NotImplementedError):
        return jaxpr


def with_references_read(jaxpr: AnyJaxpr, others: Sequence[Any]) -> tuple[AnyJaxpr, tuple[Any, ...]] | None:
    """A closed jaxpr in which references from outside are their values: constants, and its last inputs, `others`.

    None if it writes to them, or where JAX cannot do that, as for references that a custom rule takes.

    Returns:
        The closed jaxpr, and `others` with the values.
    """
    first = len(jaxpr.in_avals) - len(others)
    values = [*jaxpr.consts, *[None] * first, *others]
    is_reference = [isinstance(x, jax.Ref) for x in values]
    if not any(is_reference):
        return jaxpr, tuple(others)
    if any(type(effect).__name__ in ("WriteEffect", "AccumEffect") for effect in jaxpr.effects):
        return None
    try:
        from jax._src.interpreters import partial_eval

        opened = partial_eval.convert_constvars_jaxpr(jaxpr.jaxpr)
        found = _discharged(type(jaxpr)(opened, ()), is_reference)
        values = [x[...] if is_ref else x for x, is_ref in zip(values, is_reference, strict=True)]
        count, outputs = len(jaxpr.consts), len(opened.outvars)  # the references come out at the end
        f = lambda *args: jax.core.eval_jaxpr(found.jaxpr, found.consts, *values[:count], *args)[:outputs]
        return jax.make_jaxpr(f)(*found.in_avals[count:]), tuple(values[count + first :])
    except (ImportError, AttributeError, NotImplementedError):
        return None


def _discharged(jaxpr, should_discharge):
    if _has_rule_of_reference(jaxpr):
        raise NotImplementedError("JAX would drop the derivative of the rule")
    from jax._src.state import discharge

    of_closed = getattr(discharge, "discharge_state2", discharge.discharge_state)  # JAX 0.10.0 has both
    return of_closed(jaxpr, should_discharge=should_discharge)


def takes_reference(eqn: Equation) -> bool:
    """Whether a reference (`jax.new_ref`) is among the inputs of an equation."""
    return any("Ref" in type(x.aval).__name__ for x in eqn.invars)


def _has_rule_of_reference(jaxpr):
    """Whether a custom rule, however deep, takes a reference."""
    is_jaxpr = lambda x: hasattr(getattr(x, "jaxpr", x), "eqns")
    return any(
        (eqn.primitive.name.startswith("custom_") and takes_reference(eqn))
        or any(map(_has_rule_of_reference, filter(is_jaxpr, jax.tree.leaves([*eqn.params.values()], is_leaf=is_jaxpr))))
        for eqn in getattr(jaxpr, "jaxpr", jaxpr).eqns
    )


def is_spoilt_trace(error: BaseException) -> bool:
    """Whether JAX has lost its trace of a `custom_vjp` inside a jitted function.

    This happens where a rule raised while it was differentiated in other inputs. A new trace is as good as the first.
    """
    return type(error).__name__ == "StoreException"


def lacks_format(error: BaseException) -> bool:
    """Whether an operation does not exist in a format: LAPACK has none in 16 bits, which newer JAX says first."""
    return isinstance(error, NotImplementedError) or "does not accept dtype" in str(error)


def zeros_fixed(eqn: Equation) -> dict[str, Any]:
    """New parameters for one use of a `custom_vjp` with symbolic zeros, whose residuals depend on the moving inputs.

    JAX keeps a trace of the forward function for each set of moving inputs, but only the residuals' structure of the
    last trace. So the function is traced again for each use, and before the pullback of that use.
    """
    forward, backward = eqn.params.get("fwd_jaxpr_thunk"), eqn.params.get("bwd")
    held = inspect.getclosurevars(forward.f).nonlocals if has_symbolic_zeros(eqn) else {}
    if getattr(held.get("fn"), "__name__", "") != "fwd_jaxpr_from_zeros":
        return {}
    moving = []

    def traced(*nonzeros):
        held["cells"].clear()
        moving[:] = nonzeros
        return forward.call_wrapped(*nonzeros)

    def pulled(*args):
        traced(*moving)
        return backward.call_wrapped(*args)

    wrap = lambda f, of: linear_util.wrap_init(f, debug_info=of.debug_info)
    return {"fwd_jaxpr_thunk": wrap(traced, forward), "bwd": wrap(pulled, backward)}


def has_symbolic_zeros(eqn: Equation) -> bool:
    """Whether an equation is a `custom_vjp` whose rules take symbolic zeros."""
    return "fwd_jaxpr_thunk" in eqn.params and eqn.params["symbolic_zeros"]
