"""`source(f, *args)`: a function and its derivative as Python, a jaxdl rule to be made better by hand."""

import itertools
import keyword
import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.graph.building import argument_labels, traced
from jaxdl.graph.literals import Number, array
from jaxdl.graph.python import Writer
from jaxdl.strip import automatic

HEAD = '''"""{name} and its derivative: written by jaxdl.source, a start for a rule by hand."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxdl import op, saving
'''


def source(f: Callable, *args: Any, **kwargs: Any) -> str:
    """The text of a module with f as a jaxdl op: its primal, and its rule with named residuals and the pullback.

    Its positional arguments are the arrays among f's, one after the other; numbers, strings and the like are fixed, and
    so are shapes and types. It gives f's array, or the tuple of f's arrays. What hand-written rules in f do is written
    out; jitted functions are opened, and of what depends on the platform the present one's form is taken.

    Raises ValueError where f holds an operation that has no form in Python, or a large constant, and where it takes or
    gives no array.
    """
    _, _, arrays = traced("source", f, args, kwargs)
    if not arrays:
        raise ValueError("source: there is no array among the arguments; give those to differentiate in as arrays")
    name = _identifier(getattr(f, "__name__", "f").replace("<lambda>", "f"))
    names = _distinct([_identifier(label) for label in argument_labels(f, args, kwargs)])
    plain = jx.trace(automatic(jx.in_arrays(f, args, kwargs)), *arrays)[0]
    primal = Writer()
    outputs = [*map(array, primal.write(plain, names))]
    rule = _rule(jx.in_arrays(f, args, kwargs), arrays, names)
    parameters = ", ".join(names)
    doc = f'    """{_signature(arrays, names)}"""'
    return "\n".join(
        [
            HEAD.format(name=name), "",
            "@op", f"def {name}({parameters}):", doc,
            *_indented([*primal.lines, f"return {', '.join(outputs)}"]), "", "",
            f"@{name}.rule", f"def {name}_rule({parameters}):", *_indented(rule), "",
        ]
    )  # fmt: skip


def _rule(f, arrays, names) -> list[str]:
    """The lines of the rule: forward, the pullback, what it saves."""
    smooth = [i for i, x in enumerate(arrays) if jnp.issubdtype(x.dtype, jnp.inexact)]
    types = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays]
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

    ahead, (y_types, residual_types) = jx.trace(forward, *types)
    is_smooth = [jnp.issubdtype(t.dtype, jnp.inexact) for t in y_types]

    nothing = [np.zeros(t.shape, jax.dtypes.float0) for t in y_types]

    def backward(residuals, dy):
        given = iter(dy)
        return kept["tree"].unflatten(residuals)(
            [next(given) if s else n for s, n in zip(is_smooth, nothing, strict=True)]
        )

    back = jx.trace(backward, residual_types, [t for t, s in zip(y_types, is_smooth, strict=True) if s])[0]
    used = jx.used_inputs(back)[: len(residual_types)]
    writer = Writer()
    found = writer.write(ahead, names, [True] * len(y_types) + used)
    outputs, residuals = [*map(array, found[: len(y_types)])], found[len(y_types) :]
    return _with_pullback(writer, back, outputs, residuals, is_smooth, smooth, names)


def _with_pullback(writer, back, outputs, residuals, is_smooth, smooth, names):
    text = "\n".join([", ".join(names), *writer.lines])
    first_met = lambda name: re.search(rf"\b{name}\b", text).start()
    saved = sorted({r for r in residuals if r.isidentifier() and not isinstance(r, Number)}, key=first_met)
    cotangents = [f"d{_identifier(y)}" if y.isidentifier() else f"dy{i}" for i, y in enumerate(outputs)]
    cotangents = _distinct(cotangents) if len(outputs) > 1 else ["dy"]
    flowing = [d for d, s in zip(cotangents, is_smooth, strict=True) if s]
    inner = Writer(letter="v", taken={*saved, *cotangents, *names})
    given = [r or "None" for r in residuals]
    pulled = [*map(array, inner.write(back, [*given, *flowing]))]
    by_place = dict(zip(smooth, pulled, strict=True))
    result = ", ".join(by_place.get(i, "None") for i in range(len(names)))
    ending = "," if len(names) == 1 else ""
    received = cotangents[0] if len(outputs) == 1 else "dy"
    unpack = [f"{', '.join(cotangents)} = dy"] if len(outputs) > 1 else []
    y = ", ".join(outputs) if len(outputs) == 1 else f"({', '.join(outputs)})"
    return [
        *writer.lines, "",
        f"def pullback({', '.join([*saved, received])}):", *_indented([*unpack, *inner.lines]),
        f"    return ({result}{ending})", "",
        f"return {y}, saving({', '.join(['pullback', *saved])})",
    ]  # fmt: skip


def _signature(arrays, names):
    return ", ".join(f"{n}: {jx.typed(x)}" for n, x in zip(names, arrays, strict=True))


def _identifier(text: str) -> str:
    """A name for Python of a label: params['w'][0] is params_w_0."""
    name = re.sub(r"\W+", "_", text).strip("_") or "f"
    return f"x{name}" if name[0].isdigit() or keyword.iskeyword(name) or name in ("jax", "jnp", "lax", "op") else name


def _distinct(names: list[str]) -> list[str]:
    taken, found = set(), []
    for name in names:
        free = itertools.chain([name], (f"{name}_{i}" for i in itertools.count(2)))
        found.append(next(n for n in free if n not in taken))
        taken.add(found[-1])
    return found


def _indented(lines):
    return [f"    {line}" if line else "" for line in lines]
