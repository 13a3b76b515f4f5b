"""The points at which a rule on whole arrays is audited: the arrays given, and arrays derived from them."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.auditor.subject import Subject

GIVEN = "the arrays given"


def points(subject: Subject) -> dict[str, tuple[Any, ...]]:
    """Arrays at which to audit, by a description."""
    if subject.size > jx.LARGE or not subject.edges or (has_while_loop(subject) and not subject.is_whole):
        return {GIVEN: subject.inputs}
    return {GIVEN: subject.inputs} | generated_points(subject)


def has_while_loop(subject: Subject) -> bool:
    """Whether the function has a loop of unknown length, which need not end at other points or in other formats."""
    return "while" in jx.primitives(subject.value)


def generated_points(subject: Subject) -> dict[str, tuple[Any, ...]]:
    """Arrays derived from those given, within their domains, by a description."""
    domains = subject.domains or (None,) * len(subject.inputs)

    def changed(change, x, domain):
        if not jnp.issubdtype(x.dtype, jnp.floating):
            return x
        x = np.asarray(x)
        return domain.admitted(change(x), x) if domain else change(x)

    pairs = [*zip(subject.inputs, domains, strict=True)]
    return {name: tuple(changed(change, *pair) for pair in pairs) for name, change in _CHANGES.items()}


def _with_zero_row(x):
    return np.where(np.arange(len(x)).reshape(-1, *[1] * (x.ndim - 1)) == 0, 0, x).astype(x.dtype) if x.ndim else 0 * x


_CHANGES = {
    "zeros": np.zeros_like,
    "equal numbers": np.ones_like,
    "a row of zeros": _with_zero_row,
    "repeated numbers": lambda x: (np.round(x.astype(np.float64) * 2) / 2).astype(x.dtype),
    "their negative": np.negative,
    "30 times as large": lambda x: (x.astype(np.float64) * 30).astype(x.dtype),
    "1000 times as large": lambda x: (x.astype(np.float64) * 1000).astype(x.dtype),
    "a thousandth": lambda x: (x.astype(np.float64) / 1000).astype(x.dtype),
}
