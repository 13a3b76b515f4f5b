"""How two derivatives live in one function.

An op is one primitive, `op_p`, that carries the plain definition (the primal) and the hand-written
derivative (the rule). Undifferentiated it evaluates the rule's output and drops the residuals.
Differentiated it runs the rule once and gives the tangent by a second primitive, `linear_p`, whose
evaluation is the transposed pullback and whose transpose is the pullback itself:

    ẏ = pullback(residuals)ᵀ ẋ        x̄ = pullback(residuals) ȳ

`linear_p` is an ordinary linear primitive, so JAX's own forward and reverse mode, vmap, scan, remat
and sharding compose with it, to any order. What the primitives carry (a call or a pullback on flat
lists of arrays, perhaps under vmap) is in `jaxdl/call/`.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.call import (
    BatchedCall,
    BatchedPullback,
    BoundPullback,
    CapturingCall,
    OpCall,
    SelectedPullback,
    capture,
    evaluate,
    primal,
    pull,
    push,
    refuse_recursion,
    rule,
    saving,
)
from jaxdl.closures import CONSTANTS, NUMBERS, Surroundings, hoisted, is_importable

__all__ = ["BoundPullback", "Op", "hoisted", "op", "op_p", "saving"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Function = TypeVar("Function", bound=Callable[..., Any])
Rule = TypeVar("Rule", bound=Callable[..., tuple[Any, BoundPullback]])

RESERVED_FORMS = ("hand", "automatic", "stock")  # the names of other choices of `jaxdl.tune`


class Op(Generic[Arguments, Result]):
    """An operation with two derivatives: made by `op`, completed by `@NAME.rule`.

    It is called like the function that it was made of, and its type has that function's arguments and result.

    Attributes:
        primal: The plain definition. JAX differentiates it like any other function.
        derivative: The hand-written rule; None until it is set.
        forms: Further rules by name, which compute the same derivative in other ways.
        stock_function: What a program without jaxdl has in the op's place; None where that is the definition.
        signature: The signature of the definition.
    """

    __name__: str

    def __init__(self, primal: Callable[Arguments, Result]):
        functools.update_wrapper(self, primal)
        self.primal: Callable[Arguments, Result] = primal
        self.derivative: Callable[..., tuple[Any, BoundPullback]] | None = None
        self.forms: dict[str, Callable[..., tuple[Any, BoundPullback]]] = {}
        self.hoisting: Callable[..., Any] | None = None
        self.stock_function: Callable[..., Any] | None = None
        self.surroundings: dict[tuple[Any, ...], Surroundings] = {}
        self.signature: inspect.Signature = inspect.signature(primal)

    def rule(self, rule: Rule) -> Rule:
        """Sets the hand-written derivative.

        What its docstring says after "Gain:" is shown by `jaxdl.contrast` next to its measurements.

        Args:
            rule: A function of the op's arguments and settings that returns `(y, saving(pullback, *residuals))`.

        Returns:
            The same function, so that this is a decorator.
        """
        self.derivative = rule
        return rule

    def form(self, name: str) -> Callable[[Rule], Rule]:
        """Adds another rule for the same derivative, which `jaxdl.tune` uses where it is faster or smaller.

        A rule or a form that reads a dict, a list or an array from around it, which may change without notice, makes
        every call of the op be traced anew, without a warning.

        Args:
            name: What is different about it, for tables and saved choices; "hand", "automatic" and "stock" are taken.

        Returns:
            A decorator of a function like that of `rule`.

        Examples:
            >>> @op
            ... def cube(x):
            ...     return x**3
            >>> @cube.rule
            ... def cube_rule(x):
            ...     return x**3, saving(lambda x, dy: (3 * x * x * dy,), x)
            >>> @cube.form("slope saved")
            ... def cube_saving_the_slope(x):
            ...     return x**3, saving(lambda slope, dy: (slope * dy,), 3 * x * x)
            >>> list(cube.forms)
            ['slope saved']
        """
        if name in RESERVED_FORMS:
            raise ValueError(f"{self.__name__}.form: {name!r} has a meaning of its own; choose another name")

        def decorate(rule: Rule) -> Rule:
            self.forms[name] = rule
            return rule

        return decorate

    def in_form(self, name: str) -> "Op[Arguments, Result]":
        """The op with another of its rules.

        Args:
            name: One of `forms`.

        Returns:
            An op of the same definition.

        Raises:
            ValueError: There is no such form.
        """
        if name not in self.forms:
            raise ValueError(f"{self.__name__} has no form {name!r}; its forms are {', '.join(self.forms) or 'none'}")
        other = Op(self.primal)
        other.__name__ = f"{self.__name__}, {name}"
        other.derivative, other.hoisting = self.forms[name], self.hoisting
        other.stock_function = self.stock_function
        return other

    def stock(self, function: Function) -> Function:
        """Sets what a program without jaxdl has in the op's place, if that is not the definition.

        `jaxdl.stock` and `jaxdl.contrast` use it.

        Args:
            function: A function of the op's arguments and settings that returns what the op returns, such as one of
                `jax.nn`. JAX differentiates it.

        Returns:
            The same function, so that this is a decorator.
        """
        self.stock_function = function
        return function

    def hoist(self, call: Function) -> Function:
        """Sets how the op is called where a setting closes over traced values. Without it, they have no derivative.

        Args:
            call: A function of the op's arguments and settings that returns what the op returns. It passes the traced
                values to the op as arguments; `jaxdl.rule.hoisted` finds them.

        Returns:
            The same function, so that this is a decorator.
        """
        self.hoisting = call
        return call

    def __call__(self, *args: Arguments.args, **settings: Arguments.kwargs) -> Result:
        if self.derivative is None:
            raise TypeError(f"{self.__name__} has no rule: write one and mark it @{self.__name__}.rule")
        bound = self._bound(args, settings)
        flat, tree = jax.tree.flatten(bound.args)
        self._check(bound, flat)
        numbers = tuple(jx.exactly(v) for v in jax.tree.leaves(bound.kwargs) if isinstance(v, NUMBERS))
        call = OpCall(
            name=self.__name__,
            definition=self.primal,
            derivative=self.derivative,
            tree=tree,
            settings=tuple(bound.kwargs.items()),
            surroundings=self._surroundings(bound.kwargs),
            numbers=numbers,
            forms=tuple(self.forms.items()),
            stock_function=self.stock_function,
        )
        refuse_recursion(call, flat)
        flat = jx.vary_alike(flat)
        if not call.lasts:
            call, flat, captured = capture(call, flat)
            if captured and self.hoisting:
                return self.hoisting(*bound.args, **bound.kwargs)
            flat = [*flat, *captured]
        y = primal.eval_shape(call, *flat)
        return jax.tree.unflatten(jax.tree.structure(y), op_p.bind(*flat, call=call))

    def _surroundings(self, settings):
        """What a trace depends on besides arguments and settings; None if that may change or end before its module."""
        given = tuple(v for v in jax.tree.leaves(settings) if not isinstance(v, CONSTANTS))
        if not all(map(is_importable, (self, *given))):
            return None
        functions = *given, self.primal, self.derivative, *self.forms.values()
        if functions not in self.surroundings or not self.surroundings[functions].are_the_same():
            self.surroundings[functions] = Surroundings(*functions)
        return self.surroundings[functions].values

    def _bound(self, args, settings):
        try:
            bound = self.signature.bind(*args, **settings)
        except TypeError as error:
            raise TypeError(f"{self.__name__}{self.signature}: {error}") from None
        bound.apply_defaults()
        return bound

    def _check(self, bound, flat):
        for name, value in bound.kwargs.items():
            try:
                hash(value)
            except TypeError:
                raise TypeError(
                    f"{self.__name__}: setting {name} must be static and hashable, got "
                    f"{type(value).__name__}; arrays are positional arguments"
                ) from None
        for leaf in flat:
            try:
                jax.typeof(leaf)
            except TypeError:
                raise TypeError(
                    f"{self.__name__}: positional arguments are arrays, got {leaf!r}; "
                    f"settings are keyword-only in the op's definition"
                ) from None

    def __repr__(self) -> str:
        return f"<op {self.__name__}{self.signature}>"


def op(primal: Callable[Arguments, Result]) -> Op[Arguments, Result]:
    """Makes an operation of its plain definition; `@NAME.rule` then sets its hand-written derivative.

    The rule takes the same arguments and returns the output and its pullback, with the residuals bound by `saving`.
    The pullback returns a tuple with one cotangent for each positional argument, None for integer and boolean ones
    and wherever nothing flows back.

    Args:
        primal: The definition. Its positional arguments are arrays or pytrees of arrays; its keyword-only arguments
            are static settings and must be hashable.

    Returns:
        The operation, called as its definition is. It composes with every JAX transformation, to any order.

    Examples:
        >>> @op
        ... def square(x):
        ...     return x * x
        >>> @square.rule
        ... def square_rule(x):
        ...     def pullback(x, dy):
        ...         return (2 * x * dy,)
        ...     return x * x, saving(pullback, x)
        >>> float(jax.grad(square)(3.0))
        6.0
    """
    return Op(primal)


op_p: Any = jx.Primitive("jaxdl_op")
"""The primitive of every op: its equation in a jaxpr carries the primal and the rule."""
linear_p: Any = jx.Primitive("jaxdl_linear")


def _op_typing(*types, call):
    return jx.output_types_and_effects(functools.partial(primal, call), *types)


def _op_jvp(primals, tangents, *, call):
    y, saved = rule(call, *primals)
    types = [jax.typeof(v).to_tangent_aval() for v in y]
    smooth = tuple(jnp.issubdtype(t.dtype, jnp.inexact) for t in types)
    moving = tuple(i for i, t in enumerate(tangents) if not jx.is_zero(t))
    if not (moving and any(smooth)):
        return y, [jx.zero_tangent(t) for t in types]
    call.refuse(moving)
    y_dot = iter(
        linear_p.bind(
            *saved.residuals,
            *[tangents[i] for i in moving],
            pullback=SelectedPullback(saved.pullback, smooth, moving),
            types=tuple(t for t, s in zip(types, smooth, strict=True) if s),
            kept=len(saved.residuals),
        )
    )
    return y, [next(y_dot) if s else jx.zero_tangent(t) for t, s in zip(types, smooth, strict=True)]


def _op_batch(size, axis_name, args, dims, *, call):
    args, mapped = _in_front(args, dims)
    y = op_p.bind(*args, call=BatchedCall(call, mapped, size, axis_name))
    return y, [0] * len(y)


def _op_transpose(dy, *args, call):
    """The transpose of the definition, where that is linear in what is unknown, as in `jax.linear_transpose`."""
    unknown = [i for i, x in enumerate(args) if jx.is_undefined_primal(x)]

    def of_unknown(*moved):
        known = dict(zip(unknown, moved, strict=True))
        return jax.tree.leaves(primal(call, *[known.get(i, x) for i, x in enumerate(args)]))

    found = jax.linear_transpose(of_unknown, *[args[i].aval for i in unknown])(list(map(jx.instantiate_zeros, dy)))
    cotangents = dict(zip(unknown, found, strict=True))
    return [cotangents.get(i) for i in range(len(args))]


def _linear_evaluate(*args, pullback, types, kept):
    return push(pullback, args[:kept], args[kept:], [jx.zeros(t) for t in types])


def _linear_jvp(primals, tangents, *, pullback, types, kept):
    """d(L(r) ẋ) = L(r) dẋ + (∂L/∂r dr) ẋ"""
    bind = functools.partial(linear_p.bind, pullback=pullback, types=types, kept=kept)
    residuals, x = primals[:kept], primals[kept:]
    moving = [i for i, t in enumerate(tangents[:kept]) if not jx.is_zero(t)]
    terms = []
    if not all(jx.is_zero(t) for t in tangents[kept:]):
        terms.append(bind(*residuals, *map(jx.instantiate_zeros, tangents[kept:])))
    if moving:

        def along(*moved):
            new = list(residuals)
            for i, r in zip(moving, moved, strict=True):
                new[i] = r
            return _linear_evaluate(*new, *x, pullback=pullback, types=types, kept=kept)

        terms.append(jax.jvp(along, [residuals[i] for i in moving], [tangents[i] for i in moving])[1])
    y_dot = [sum(ts[1:], ts[0]) for ts in zip(*terms, strict=True)] if terms else map(jx.zero_tangent, types)
    return bind(*primals), list(y_dot)


def _linear_transpose(dy, *args, pullback, types, kept):
    if all(jx.is_zero(d) for d in dy):
        return [None] * kept + [jx.zero_tangent(x.aval) if jx.is_undefined_primal(x) else None for x in args[kept:]]
    cotangents = pull(pullback, args[:kept], list(map(jx.instantiate_zeros, dy)))
    return [None] * kept + [
        None if not jx.is_undefined_primal(x) else jx.zero_tangent(x.aval) if c is None else c
        for x, c in zip(args[kept:], cotangents, strict=True)
    ]


def _linear_batch(size, axis_name, args, dims, *, pullback, types, kept):
    args, mapped = _in_front(args, dims)
    y_dot = linear_p.bind(
        *args,
        pullback=BatchedPullback(pullback, mapped[:kept], mapped[kept:], size, axis_name),
        types=tuple(jx.batched_type(size, t) for t in types),
        kept=kept,
    )
    return y_dot, [0] * len(y_dot)


def _in_front(args, dims):
    mapped = tuple(d is not None for d in dims)
    return [jnp.moveaxis(x, d, 0) if m else x for x, d, m in zip(args, dims, mapped, strict=True)], mapped


jx.keep_weakly(OpCall, CapturingCall, BatchedCall, SelectedPullback, BatchedPullback)
jx.define(
    op_p,
    evaluate=lambda *args, call: evaluate(call, *args),
    effectful_typing=_op_typing,
    jvp=_op_jvp,
    batch=_op_batch,
    transpose=_op_transpose,
    plain=lambda *args, call: primal(call, *args),
)
jx.define(
    linear_p,
    evaluate=_linear_evaluate,
    typing=lambda *_, types, **__: list(types),
    jvp=_linear_jvp,
    batch=_linear_batch,
    transpose=_linear_transpose,
)

jx.hide_from_source_lines(__file__)
