"""A generated program: text that runs by itself, and the same in other formats and without its rules."""

import re
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace

import jax

from tests.programs.hand import LIARS

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
    """The names of the head and the formats, for expressions."""
    names = {}
    exec(HEAD + "real, half, cplx = jnp.float32, jnp.bfloat16, jnp.complex64", names)
    return names


@dataclass(frozen=True)
class Program:
    """f, args, argnums and what is asked of it, as Python text."""

    text: str

    def executed(self, wide: bool = False, rules: bool = True) -> SimpleNamespace:
        """What the text defines; `wide` puts float64 in place of narrower formats, `rules=False` takes rules out."""
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
        """The rounding of its narrowest format; of float64 more, for which there is no wider one to tell noise by."""
        return 2.0**-8 if self.is_narrow else 2.0**-44 if self.is_double else 2.0**-23

    @cached_property
    def own(self) -> SimpleNamespace:
        with jax.enable_x64(self.is_double):
            return self.executed()

    @property
    def lies(self) -> bool:
        return any(f"hand.{name}" in self.text for name in LIARS)

    def __contains__(self, words) -> bool:
        return words in self.text
