"""`source`: Python source of a function and its derivative, as a jaxdl op with a rule."""

import re
from collections.abc import Callable
from typing import Any, overload

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.currying import direct_or_curried
from jaxdl.graph.codegen.literals import Number, array_text, tuple_of
from jaxdl.graph.codegen.signature import Names, OtherContainer, displayed, identifier, places, signature_of
from jaxdl.graph.codegen.statements import Writer
from jaxdl.report import error_text
from jaxdl.strip import automatic

HEAD = '''"""{name} and its derivative: written by jaxdl.source, a start for a hand-written rule."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxdl import op, saving
'''


@overload
def source(f: Callable[..., Any], /) -> Callable[..., str]: ...  # pyright: ignore[reportOverlappingOverload]


@overload
def source(f: Callable[..., Any], /, *args: object, **kwargs: object) -> str: ...


@direct_or_curried
def source(f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Python source of f as a jaxdl op, with its derivative as a rule: a start for a rule written by hand.

    The op takes f's own arguments and returns f's result, so that it can stand in for f. Shapes, dtypes and pytree
    structures are fixed.

    - Positional numbers become arrays if f can be traced with arrays in their place.
    - Other numbers that f needs, and strings, become keyword-only settings that accept only the value given here.
    - Arguments that cannot be written in Python, such as functions, are fixed and are no parameters of the op.
    - The result consists of dicts, lists and tuples; a named tuple becomes a tuple. For other containers the op returns
      the tuple of their arrays, and its docstring says so.
    - Hand-written rules in f are not used: the derivative is that of their primals. Jitted functions are inlined. Where
      the computation depends on the platform, the form for the present one is written.

    `source(f)`, without arguments of f, is a function of them that returns the source.

    Args:
        f: Any JAX function.
        *args: Its arguments, any pytrees.
        **kwargs: Its keyword arguments.

    Returns:
        The text of a module that defines the op and its rule, with named residuals and the pullback; or without
        arguments of f a function of them that returns it.

    Raises:
        ValueError: f holds an operation that has no form in Python, such as one of another library, or a constant of
            over 1,000 numbers; there is no array among the arguments or in the result; or JAX cannot differentiate f
            in all of its arrays.

    Examples:
        >>> text = jaxdl.source(jnp.sinc, jnp.ones(3))
        >>> "def sinc_rule" in text
        True
    """
    head, result, args = signature_of(f, args, kwargs)
    if not head.arrays:
        raise ValueError("source: there is no array among the arguments; give those to differentiate in as arrays")
    name = identifier(getattr(f, "__name__", "f").replace("<lambda>", "f"))
    result = _Result(result, Names(head.taken)("dy"))
    flat = jx.in_arrays(f, args, kwargs)
    plain = jx.trace(automatic(flat), *head.arrays)[0]
    primal = Writer(taken=head.taken)
    outputs = [*map(array_text, primal.write(plain, head.names))]
    rule = _rule(flat, head, result)
    notes = [", ".join(f"{n}: {jx.typed(x)}" for n, x in zip(head.names, head.arrays, strict=True)), *result.notes]
    notes += [f"fixed: {text}" for text in head.fixed]
    doc = [f'    """{notes[0]}', *[f"    {line}" for line in notes[1:]]]
    doc[-1] += '"""' if len(doc) == 1 else '\n    """'
    return "\n".join(
        [
            HEAD.format(name=name), "",
            "@op", f"def {name}({head.head}):", *doc,
            *_indented([*head.opened(False), *primal.lines, f"return {result.displayed(outputs)}"]), "", "",
            f"@{name}.rule", f"def {name}_rule({head.head}):", *_indented([*head.opened(True), *rule]), "",
        ]
    )  # fmt: skip


class _Result:
    """How f's result is built from its arrays, and how its cotangent, named dy, is unpacked."""

    def __init__(self, tree, dy):
        self.notes, self.dy = [], dy
        try:
            self.places = [*places(tree, dy)]
        except OtherContainer as other:
            self.notes = [f"returns the arrays of a {other} as a tuple"]
            tree = jax.tree.structure((0,) * tree.num_leaves)
            self.places = [*places(tree, dy)]
        self.tree = tree

    @property
    def is_array(self) -> bool:
        return self.places == [self.dy]

    def displayed(self, outputs) -> str:
        return displayed(self.tree, iter(outputs))

    def unpacked(self, names) -> list[str]:
        """The line that unpacks the cotangents in dy, unless dy is the only one."""
        if self.is_array:
            return []
        flat = self.places == [f"{self.dy}[{i}]" for i in range(len(names))] and len(names) > 1
        return [f"{', '.join(names)} = {self.dy if flat else ', '.join(self.places)}"]


def _rule(f, head, result) -> list[str]:
    """The lines of the rule: the forward pass, the pullback, and what is saved for it."""
    arrays, names = head.arrays, head.names
    smooth = [i for i, x in enumerate(arrays) if jnp.issubdtype(x.dtype, jnp.inexact)]
    kept = {}

    def forward(*xs):
        def in_smooth(*smooth_xs):
            full = list(xs)
            for i, x in zip(smooth, smooth_xs, strict=True):
                full[i] = x
            return jax.tree.leaves(f(*full))

        y, pullback = jax.vjp(in_smooth, *[xs[i] for i in smooth])
        leaves, kept["tree"] = jax.tree.flatten(pullback)
        return y, leaves

    forward_jaxpr, (y_types, residual_types) = _derived(forward, *arrays)
    is_smooth = [jnp.issubdtype(t.dtype, jnp.inexact) for t in y_types]
    no_cotangents = [np.zeros(t.shape, jax.dtypes.float0) for t in y_types]

    def backward(residuals, dy):
        given = iter(dy)
        return kept["tree"].unflatten(residuals)(
            [next(given) if s else n for s, n in zip(is_smooth, no_cotangents, strict=True)]
        )

    backward_jaxpr, _ = _derived(backward, residual_types, [t for t, s in zip(y_types, is_smooth, strict=True) if s])
    used = jx.used_inputs(backward_jaxpr)[: len(residual_types)]
    writer = Writer(taken=head.taken)
    found = writer.write(forward_jaxpr, names, [True] * len(y_types) + used)
    outputs, residuals = [*map(array_text, found[: len(y_types)])], found[len(y_types) :]
    return _with_pullback(writer, backward_jaxpr, outputs, residuals, is_smooth, smooth, head, result)


def _derived(f, *types):
    """The jaxpr of a derivative by JAX, and the shape of its result."""
    try:
        return jx.trace(f, *types)
    except Exception as error:  # of any kind, from JAX or from a rule
        raise ValueError(f"source: the function has no derivative in its arguments: {error_text(error)}") from error


def _with_pullback(writer, backward_jaxpr, outputs, residuals, is_smooth, smooth, head, result):
    text = "\n".join([", ".join(head.names), *writer.lines])
    first_use = lambda name: next(re.finditer(rf"\b{name}\b", text)).start()
    saved = sorted({r for r in residuals if r.isidentifier() and not isinstance(r, Number)}, key=first_use)
    distinct = Names({result.dy, *head.taken})
    cotangents = [distinct(f"d{identifier(y)}" if y.isidentifier() else f"dy{i}") for i, y in enumerate(outputs)]
    cotangents = [result.dy] if result.is_array else cotangents
    flowing = [d for d, s in zip(cotangents, is_smooth, strict=True) if s]
    inner = Writer(letter="v", taken={*saved, *cotangents, *head.taken, result.dy})
    given = [r or "None" for r in residuals]
    pulled = [*map(array_text, inner.write(backward_jaxpr, [*given, *flowing]))]
    by_name = {head.names[i]: text for i, text in zip(smooth, pulled, strict=True)}
    sent = tuple_of([p.cotangent(by_name) for p in head.parameters])
    return [
        *writer.lines, "",
        f"def pullback({', '.join([*saved, result.dy])}):",
        *_indented([*result.unpacked(cotangents), *inner.lines, f"return {sent}"]), "",
        f"return {result.displayed(outputs)}, saving({', '.join(['pullback', *saved])})",
    ]  # fmt: skip


def _indented(lines):
    return [f"    {line}" if line else "" for line in lines]
