"""A pytree of arrays in safetensors files. Each process writes its own shards; any number of processes reads them.

A tensor's name is a JSON list: the array's path, where the shard begins, and the shard's shape.
"""

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx

NUMPY_TYPES = "?bBhHiIlLqQefdF"  # those that safetensors stores for NumPy; others are written as bytes


class UnreadableArrays(Exception):
    """The arrays in a folder are damaged, incomplete, or of other shapes than expected."""


def own_shards(tree: Any) -> dict[str, np.ndarray]:
    """Copies in host memory of the shards that this process writes, by tensor name."""
    found = {}
    for path, x in _by_path(tree).items():
        x = jax.random.key_data(x) if jx.is_key(x) else x
        if isinstance(x, jax.Array):
            shards = [shard for shard in x.addressable_shards if shard.replica_id == 0]
            pieces = [(shard.index, shard.data) for shard in shards]
        else:
            pieces = [((), x)] if jax.process_index() == 0 else []
        for index, data in pieces:
            begin = [part.start or 0 for part in index]
            copy = np.array(data, order="C")
            found[json.dumps([path, begin, copy.shape])] = _as_storable(copy)
    return found


def write_shards(folder: Path, shards: dict[str, np.ndarray]) -> Path:
    """Writes shards to this process's file in a folder, and returns its path."""
    from safetensors.numpy import save_file

    path = folder / f"arrays-{jax.process_index()}.safetensors"
    save_file(shards, path)
    return path


def read_arrays(folder: Path, like: Any) -> Any:
    """Reads the arrays in a folder, with the types and shardings of the pytree `like`.

    Raises:
        UnreadableArrays: If an array is damaged, incomplete or of another shape.
    """
    from safetensors import SafetensorError

    try:
        with _Files(folder) as files:
            leaves = [files.array(path, x) for path, x in _by_path(like).items()]
    except (SafetensorError, OSError, ValueError) as error:  # of a damaged file
        raise UnreadableArrays(str(error)) from error
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


class _Shard(NamedTuple):
    begin: tuple[int, ...]
    shape: tuple[int, ...]
    file: Any
    name: str

    def read(self, dtype) -> np.ndarray:
        return np.frombuffer(self.file.get_tensor(self.name).tobytes(), dtype).reshape(self.shape)


class _Files:
    """The open files of all processes."""

    def __init__(self, folder: Path):
        from safetensors import safe_open

        self.files = [safe_open(path, "numpy") for path in sorted(folder.glob("arrays-*.safetensors"))]
        self.shards: dict[str, list[_Shard]] = defaultdict(list)

    def __enter__(self) -> "_Files":
        for file in self.files:
            opened = file.__enter__()
            for name in opened.keys():  # noqa: SIM118 – it is no dict
                path, begin, shape = json.loads(name)
                self.shards[path].append(_Shard(tuple(begin), tuple(shape), opened, name))
        return self

    def __exit__(self, *error) -> None:
        for file in self.files:
            file.__exit__(*error)

    def array(self, path: str, like: Any) -> jax.Array:
        """The array at a path, with the type and sharding of `like`."""
        is_key = jnp.issubdtype(like.dtype, jax.dtypes.prng_key)
        wanted = jax.eval_shape(jax.random.key_data, like) if is_key else like
        sharding = None if is_key else getattr(like, "sharding", None)
        fill = lambda index: self.region(path, wanted.shape, wanted.dtype, index)
        if sharding is None:
            found = jnp.asarray(fill((slice(None),) * len(wanted.shape)))
        else:
            found = jax.make_array_from_callback(wanted.shape, sharding, fill)
        return jax.random.wrap_key_data(found, impl=jax.random.key_impl(like)) if is_key else found

    def region(self, path: str, shape, dtype, index) -> np.ndarray:
        """A part of an array, assembled from the shards that overlap it."""
        spans = [part.indices(size)[:2] for part, size in zip(index, shape, strict=True)]
        out, filled = np.empty([stop - start for start, stop in spans], dtype), 0
        for shard in self.shards[path]:
            if len(shard.begin) != len(spans):
                raise UnreadableArrays(f"{path} has the shape {shard.shape}, not {shape}")
            ends = zip(spans, shard.begin, shard.shape, strict=True)
            common = [(max(start, at), min(stop, at + size)) for (start, stop), at, size in ends]
            if all(low < high for low, high in common):
                starts = [start for start, _ in spans]
                shifted = lambda origin, common=common: tuple(
                    slice(low - at, high - at) for (low, high), at in zip(common, origin, strict=True)
                )
                out[shifted(starts)] = shard.read(dtype)[shifted(shard.begin)]
                filled += math.prod(high - low for low, high in common)
        if filled != out.size:
            raise UnreadableArrays(f"{path} has {filled} of {out.size} numbers")
        return out


def _by_path(tree) -> dict[str, Any]:
    return {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]}


def _as_storable(x: np.ndarray) -> np.ndarray:
    return x if x.dtype.char in NUMPY_TYPES else np.frombuffer(x.tobytes(), np.uint8)
