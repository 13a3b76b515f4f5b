"""Numbers, constants, dtypes and parameters of primitives as Python expressions."""

import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

FEW = 16  # a constant of at most this size is written where it is used, a larger one gets a name
MOST = 1_000  # a larger constant is refused


class Number(str):
    """The text of a number that is written in the program, with its value."""

    value: np.ndarray

    def __new__(cls, x: Any) -> "Number":
        x = np.asarray(x)
        text = super().__new__(cls, _number(x))
        text.value = x
        return text

    @property
    def typed(self) -> str:
        """The number as an array with its dtype."""
        return str(self) if self.endswith(")") and self.startswith("jnp") else f"{type_name(self.value.dtype)}({self})"


def _number(x):
    """A number as an operand beside an array, whose dtype it takes."""
    if jnp.issubdtype(x.dtype, jnp.unsignedinteger):
        return f"{type_name(x.dtype)}({x.item()})"  # a Python number might not fit
    if x.dtype == bool or jnp.issubdtype(x.dtype, jnp.integer):
        return repr(x.item())
    value = x.astype(np.complex128).item() if jnp.issubdtype(x.dtype, jnp.complexfloating) else float(x)
    if isinstance(value, complex) and not np.isfinite(value):
        return f"complex({_number(np.float64(value.real))}, {_number(np.float64(value.imag))})"
    if np.isfinite(value):
        return f"({value!r})" if repr(value).startswith("-") else repr(value)
    return "jnp.nan" if np.isnan(value) else "jnp.inf" if value == np.inf else "(-jnp.inf)"


def array_text(text: str) -> str:
    """An expression of an array, from that of an array or a number."""
    return text.typed if isinstance(text, Number) else text


def constant(x: Any) -> str:
    """The expression of a constant array."""
    if x.size > MOST:
        raise ValueError(
            f"source: the function closes over a constant {x.dtype}[{','.join(map(str, np.shape(x)))}]; "
            f"make it an argument"
        )
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return f"jax.random.wrap_key_data({constant(jax.random.key_data(x))}, impl={jax.random.key_impl(x)!r})"
    if jnp.iscomplexobj(x) and not np.isfinite(x).all():
        return f"lax.complex({constant(x.real)}, {constant(x.imag)})"
    text = re.sub(r"\b(nan|inf)\b", r"jnp.\1", str(np.asarray(x).tolist()))
    return f"jnp.asarray({text}, {type_name(x.dtype)})"


def type_name(dtype: Any) -> str:
    """The name of a dtype: jnp.float32."""
    return "jnp.bool_" if dtype == np.dtype(bool) else f"jnp.{np.dtype(dtype).name}"


_NAMED = jax.lax.Precision | jax.lax.GatherScatterMode | jax.lax.RoundingMethod | jax.lax.FftType


def settings(p: Any, *names: str) -> str:
    """Parameters as keyword arguments, without those that have the defaults of lax: None, False and ones."""

    def usual(value):
        ones = value if type(value) is tuple else (value,)
        return value is None or value is False or all(type(x) is int and x == 1 for x in ones)

    return "".join(f", {n}={setting(p[n])}" for n in names if not usual(p[n]))


def setting(value: Any) -> str:
    """The expression of a parameter of a primitive."""
    if isinstance(value, _NAMED):
        return f"lax.{type(value).__name__}.{value.name}"
    if isinstance(value, np.dtype):
        return type_name(value)
    if type(value).__name__.endswith("DimensionNumbers"):
        fields = getattr(value, "_fields", None) or list(value.__dataclass_fields__)
        arguments = ", ".join(f"{k}={setting(getattr(value, k))}" for k in fields if getattr(value, k) is not None)
        return f"lax.{type(value).__name__}({arguments})"
    if type(value).__name__ == "PRNGImpl":
        return repr(value.name)
    if isinstance(value, tuple | list):
        return f"({', '.join(map(setting, value))}{',' if len(value) == 1 else ''})"
    value = value.item() if isinstance(value, np.generic) else value
    return str(Number(value)) if isinstance(value, float) else repr(value)


def tuple_of(names: Sequence[str]) -> str:
    """The expression of a tuple."""
    return f"({', '.join(names)}{',' if len(names) == 1 else ''})"
