"""Values, gradients and words in LaTeX."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from jaxdl.graph.node import Output


def gradient_symbol(loss: str, x: Output, end: Output) -> str:
    """The derivative of the result with respect to x; the gradient ∇ of a single number with respect to an array."""
    if x.type.shape and not end.type.shape:
        return rf"\nabla_{{{output_symbol(x)}}} {loss}"
    return rf"\frac{{\partial {loss}}}{{\partial {output_symbol(x)}}}"


def output_symbol(x: Output) -> str:
    """u⁽³⁾ for u3; the name of an argument."""
    label = x.node.label
    if numbered := re.fullmatch(r"([a-z])(\d+)", label):
        text = rf"{numbered[1]}^{{({numbered[2]})}}"
    else:
        text = label if len(label) == 1 else upright(label)
    return text if len(x.node.types) == 1 else rf"{text}_{{{x.place}}}"


# Characters that are special in LaTeX, by commands that matplotlib knows too. Quotes around keys are dropped.
_IN_LATEX = str.maketrans(
    {
        "_": r"\_", "$": r"\$", "%": r"\%", "{": r"\{", "}": r"\}", "\\": r"\backslash ", "#": r"\sharp ",
        "&": r"\wedge ", "^": r"\uparrow ", "~": r"\sim ", "'": "", '"': "", "`": "",
    }
)  # fmt: skip


def number(x: Any) -> str:
    """A real or complex number: 0.5, 10⁻⁵, ∞, 1 + 2 i."""
    if not np.isreal(x):
        real = f"{number(np.real(x))} + " if np.real(x) else ""
        return f"{real}{number(np.imag(x))} i".replace("+ -", "- ")
    x = float(np.real(x))
    if not np.isfinite(x):
        return upright("NaN") if np.isnan(x) else r"\infty" if x > 0 else r"-\infty"
    digits, _, exponent = f"{x:g}".partition("e")
    if not exponent:
        return digits
    factor = "" if digits == "1" else rf"{digits} \cdot "
    return rf"{factor}10^{{{int(exponent)}}}"


def upright(text: str) -> str:
    return rf"\mathrm{{{plain(text)}}}"


def plain(text: str) -> str:
    return " ".join(text.split()).translate(_IN_LATEX)
