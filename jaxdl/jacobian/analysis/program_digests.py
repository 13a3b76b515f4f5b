"""A digest of a program that is the same in every process, so that what was found for the program can be saved."""

from __future__ import annotations

import hashlib
import inspect
import re
import types
from typing import Any

import jax
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.fingerprints import ByIdentity, fingerprint, value_key


def program_digest(jaxpr: Any) -> str:
    """A digest of the equations, parameters and types of a jaxpr; its constants count by their types.

    Raises:
        ValueError: If the program holds something that cannot be compared between processes.
    """
    try:
        text = _text(fingerprint(jaxpr))
    except RecursionError:
        raise ValueError("the program holds a function that closes over itself") from None
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def value_digest(value: Any) -> str:
    """A digest of the type and the entries of an array."""
    array = np.asarray(jax.random.key_data(value) if jx.is_key(value) else value)
    return hashlib.sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).hexdigest()[:32]


def _text(key: Any) -> str:
    """The key of a program (or of a part of it) as a text without addresses and hashes of objects."""
    match key:
        case tuple() | list():
            return f"({', '.join(map(_text, key))})"
        case dict():
            return f"{{{', '.join(f'{_text(k)}: {_text(v)}' for k, v in key.items())}}}"
        case set() | frozenset():
            return f"{{{', '.join(sorted(map(_text, key)))}}}"
        case bytes():
            return key.hex()
        case type():
            return f"{key.__module__}.{key.__qualname__}"
        case types.CodeType():
            return _text((key.co_name, key.co_code, key.co_consts, key.co_names))
        case ByIdentity():
            raise ValueError(f"the program holds {key.x!r:.80}, which cannot be compared between processes")
    if callable(key) and hasattr(key, "__wrapped__"):  # jitted, or with a rule of JAX
        return _text((type(key), value_key(inspect.unwrap(key))))
    text = repr(key)
    if re.search(r"\bat 0x[0-9a-f]+", text):
        raise ValueError(f"the program holds {text:.80}, which cannot be compared between processes")
    return f"{type(key).__qualname__} {text}"
