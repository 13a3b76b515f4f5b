"""`source(f, *args)`: a function and its derivative as Python, a jaxdl rule to be made better by hand."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.graph.codegen.literals import Number, array, tuple_of
from jaxdl.graph.codegen.signature import Names, OtherContainer, displayed, identifier, places, signature
from jaxdl.graph.codegen.statements import Writer
from jaxdl.report import error_text
from jaxdl.strip import automatic

HEAD = '''"""{name} and its derivative: written by jaxdl.source, a start for a rule by hand."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxdl import op, saving
'''


def source(f: Callable, *args: Any, **kwargs: Any) -> str:
    """The text of a module with f as a jaxdl op: its primal, and its rule with named residuals and the pullback.

    The op takes f's own arguments, pytrees as they are, and gives f's result, so that it can stand in for f; shapes,
    types and structures are fixed. A number among the positional arguments is an argument of the op where f can be
    traced with an array in its place. Numbers that f needs as they are, and strings, become keyword-only settings, that
    have the value that they had or raise; what has no form in Python (a function) is fixed and no parameter. Results
    are in dicts, lists and tuples, for a named tuple a plain one; of other classes of containers the op gives the
    tuple of the arrays, and its docstring says so. What hand-written rules in f do is written out; jitted functions are
    opened, and of what depends on the platform the present one's form is taken.

    Raises ValueError where f holds an operation that has no form in Python, as those of other libraries have none, or a
    large constant, where it takes or gives no array, and where JAX cannot differentiate it in all of its arrays.
    """
    head, result, args = signature(f, args, kwargs)
    if not head.arrays:
        raise ValueError("source: there is no array among the arguments; give those to differentiate in as arrays")
    name = identifier(getattr(f, "__name__", "f").replace("<lambda>", "f"))
    result = _Result(result, Names(head.taken)("dy"))
    flat = jx.in_arrays(f, args, kwargs)
    plain = jx.trace(automatic(flat), *head.arrays)[0]
    primal = Writer(taken=head.taken)
    outputs = [*map(array, primal.write(plain, head.names))]
    rule = _rule(flat, head, result)
    told = [", ".join(f"{n}: {jx.typed(x)}" for n, x in zip(head.names, head.arrays, strict=True)), *result.told]
    told += [f"fixed: {text}" for text in head.fixed]
    doc = [f'    """{told[0]}', *[f"    {line}" for line in told[1:]]]
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
    """How f's result is put together of its arrays, and its cotangent, of the name dy, taken apart."""

    def __init__(self, tree, dy):
        self.told, self.dy = [], dy
        try:
            self.places = [*places(tree, dy)]
        except OtherContainer as other:
            self.told = [f"gives the arrays of a {other}, as a tuple"]
            tree = jax.tree.structure((0,) * tree.num_leaves)
            self.places = [*places(tree, dy)]
        self.tree = tree

    @property
    def is_array(self) -> bool:
        return self.places == [self.dy]

    def displayed(self, outputs) -> str:
        return displayed(self.tree, iter(outputs))

    def taken_apart(self, names) -> list[str]:
        """The line that gives names to the cotangents in dy, which may be the only one itself."""
        if self.is_array:
            return []
        flat = self.places == [f"{self.dy}[{i}]" for i in range(len(names))] and len(names) > 1
        return [f"{', '.join(names)} = {self.dy if flat else ', '.join(self.places)}"]


def _rule(f, head, result) -> list[str]:
    """The lines of the rule: forward, the pullback, what it saves."""
    arrays, names = head.arrays, head.names
    smooth = [i for i, x in enumerate(arrays) if jnp.issubdtype(x.dtype, jnp.inexact)]
    kept = {}

    def forward(*xs):
        def moving(*moved):
            full = list(xs)
            for i, x in zip(smooth, moved, strict=True):
                full[i] = x
            return jax.tree.leaves(f(*full))

        y, pullback = jax.vjp(moving, *[xs[i] for i in smooth])
        leaves, kept["tree"] = jax.tree.flatten(pullback)
        return y, leaves

    ahead, (y_types, residual_types) = _derived(forward, *arrays)
    is_smooth = [jnp.issubdtype(t.dtype, jnp.inexact) for t in y_types]

    nothing = [np.zeros(t.shape, jax.dtypes.float0) for t in y_types]

    def backward(residuals, dy):
        given = iter(dy)
        return kept["tree"].unflatten(residuals)(
            [next(given) if s else n for s, n in zip(is_smooth, nothing, strict=True)]
        )

    back, _ = _derived(backward, residual_types, [t for t, s in zip(y_types, is_smooth, strict=True) if s])
    used = jx.used_inputs(back)[: len(residual_types)]
    writer = Writer(taken=head.taken)
    found = writer.write(ahead, names, [True] * len(y_types) + used)
    outputs, residuals = [*map(array, found[: len(y_types)])], found[len(y_types) :]
    return _with_pullback(writer, back, outputs, residuals, is_smooth, smooth, head, result)


def _derived(f, *types):
    """The jaxpr of what JAX derives."""
    try:
        return jx.trace(f, *types)
    except Exception as error:  # of any kind: JAX's, or that of a rule
        raise ValueError(f"source: the function has no derivative in its arguments: {error_text(error)}") from error


def _with_pullback(writer, back, outputs, residuals, is_smooth, smooth, head, result):
    text = "\n".join([", ".join(head.names), *writer.lines])
    first_met = lambda name: re.search(rf"\b{name}\b", text).start()
    saved = sorted({r for r in residuals if r.isidentifier() and not isinstance(r, Number)}, key=first_met)
    distinct = Names({result.dy, *head.taken})
    cotangents = [distinct(f"d{identifier(y)}" if y.isidentifier() else f"dy{i}") for i, y in enumerate(outputs)]
    cotangents = [result.dy] if result.is_array else cotangents
    flowing = [d for d, s in zip(cotangents, is_smooth, strict=True) if s]
    inner = Writer(letter="v", taken={*saved, *cotangents, *head.taken, result.dy})
    given = [r or "None" for r in residuals]
    pulled = [*map(array, inner.write(back, [*given, *flowing]))]
    by_name = {head.names[i]: text for i, text in zip(smooth, pulled, strict=True)}
    sent = tuple_of([p.cotangent(by_name) for p in head.parameters])
    return [
        *writer.lines, "",
        f"def pullback({', '.join([*saved, result.dy])}):",
        *_indented([*result.taken_apart(cotangents), *inner.lines, f"return {sent}"]), "",
        f"return {result.displayed(outputs)}, saving({', '.join(['pullback', *saved])})",
    ]  # fmt: skip


def _indented(lines):
    return [f"    {line}" if line else "" for line in lines]
