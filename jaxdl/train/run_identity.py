"""What identifies a run. Each checkpoint holds it, and a run with another fingerprint cannot resume from it."""

import hashlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxdl import __version__
from jaxdl import jaxpr as jx
from jaxdl.data import Batches, Records
from jaxdl.nn import parameter_count

PROGRAM, VERSIONS = "program (model, loss, optimiser, rate and schedule)", "versions"


def run_fingerprint(
    batches: Batches, key: jax.Array, accumulate: int, data: Any, params: Any, state: Any
) -> dict[str, Any]:
    """Batch size, a digest of the data, the key, and the types of the parameters and the optimiser's state."""
    described = lambda tree: f"{parameter_count(tree)} numbers ({_digest(map(_described, _with_paths(tree)))})"
    return {
        "batch": batches.batch,
        "examples": len(batches.data),
        "data": _data_digest(data),
        "key": str(np.asarray(jax.random.key_data(key)).tolist()),
        "accumulate": accumulate,
        "parameters": described(params),
        "optimizer's state": described(state),
    }


def program_fingerprint(step: Callable[..., Any], *args: Any) -> dict[str, Any]:
    """A digest of a training step's jaxpr and constants, and the versions that traced it.

    Other versions of JAX and jaxdl trace the same step differently: digests compare only within the same versions.
    """
    closed = jax.make_jaxpr(step)(*args)
    digest = _digest([jx.without_addresses(str(closed)).encode(), *map(_content, closed.consts)])
    return {PROGRAM: digest, VERSIONS: f"JAX {jax.__version__}, jaxdl {__version__}"}


def first_difference(saved: dict[str, Any], here: dict[str, Any]) -> str | None:
    """The name of the first entry that differs between two fingerprints; None if none does."""
    names = {**saved, **here}.keys() - {VERSIONS}
    if saved.get(VERSIONS) != here.get(VERSIONS):
        names -= {PROGRAM}
    return next((name for name in {**saved, **here} if name in names and saved.get(name) != here.get(name)), None)


def _data_digest(data) -> str:
    if isinstance(data, Records):
        return data.digest() if callable(data.digest) else data.digest
    return _digest(map(_content, jax.tree.leaves(data)))


def _with_paths(tree):
    return jax.tree_util.tree_flatten_with_path(tree)[0]


def _described(entry) -> bytes:
    path, x = entry
    return f"{jax.tree_util.keystr(path)} {x.dtype} {x.shape}".encode()


def _content(x) -> bytes:
    x = np.ascontiguousarray(jax.random.key_data(x) if jx.is_key(x) else x)
    return f"{x.dtype} {x.shape}".encode() + x.tobytes()


def _digest(parts) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]
