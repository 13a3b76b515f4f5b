"""A generated program: Python text that runs on its own, also in other dtypes and without its rules."""

import re
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace

import jax

from tests.programs.hand import WRONG_RULES

HEAD = """import jax, jax.numpy as jnp, numpy as np, optax
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.scipy import special
from jaxdl import ops
from tests.programs import hand
"""
FORMATS = re.compile(r"^real, half, cplx = .*$", re.MULTILINE)
WIDE = "real, half, cplx = jnp.float64, jnp.float64, jnp.complex128"


def namespace() -> dict:
    """The names that `HEAD` and the line of dtypes define, to evaluate expressions in."""
    names = {}
    exec(HEAD + "real, half, cplx = jnp.float32, jnp.bfloat16, jnp.complex64", names)
    return names


@dataclass(frozen=True)
class Program:
    """Python text that defines f, args, argnums and the tools to run on it."""

    text: str

    def executed(self, wide: bool = False, rules: bool = True) -> SimpleNamespace:
        """The names that the text defines; with `wide` all dtypes are float64, with `rules=False` f has no rules."""
        text = FORMATS.sub(WIDE, self.text) if wide else self.text
        text = text if rules else text.replace("import hand\n", "import hand; hand = hand.WITHOUT\n")
        names = {}
        exec(compile(text, "<program>", "exec"), names)
        return SimpleNamespace(**names)

    @property
    def is_double(self) -> bool:
        return "real, half, cplx = jnp.float64" in self.text

    @property
    def is_narrow(self) -> bool:
        return "real, half, cplx = jnp.bfloat16" in self.text or "half" in self.text.split("def f(")[1]

    @property
    def eps(self) -> float:
        """The machine epsilon of its narrowest dtype; more for float64, as no wider one measures its noise."""
        return 2.0**-8 if self.is_narrow else 2.0**-44 if self.is_double else 2.0**-23

    @cached_property
    def own(self) -> SimpleNamespace:
        with jax.enable_x64(self.is_double):
            return self.executed()

    @property
    def has_wrong_rule(self) -> bool:
        return any(f"hand.{name}" in self.text for name in WRONG_RULES)

    def __contains__(self, words) -> bool:
        return words in self.text
