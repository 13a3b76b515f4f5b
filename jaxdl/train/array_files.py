"""A pytree of arrays in safetensors files: each process writes the shards that are its own, any number of them reads.

A tensor's name is a JSON list: the array's path, where its shard begins, and the shard's shape.
"""

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

KNOWN = "?bBhHiIlLqQefdF"  # types of NumPy that safetensors gives back; others are written as bytes


class UnreadableArrays(Exception):
    """Arrays are not there as they are wanted."""


def own_shards(tree: Any) -> dict[str, np.ndarray]:
    """Copies, in the host's memory, of the shards that this process writes, by their names."""
    found = {}
    for path, x in _by_path(tree).items():
        if isinstance(x, jax.Array):
            shards = [shard for shard in x.addressable_shards if shard.replica_id == 0]
            pieces = [(shard.index, shard.data) for shard in shards]
        else:
            pieces = [((), x)] if jax.process_index() == 0 else []
        for index, data in pieces:
            begin = [part.start or 0 for part in index]
            copy = np.array(data, order="C")
            found[json.dumps([path, begin, copy.shape])] = _as_known(copy)
    return found


def write_shards(folder: Path, shards: dict[str, np.ndarray]) -> Path:
    """Writes them to this process's file in a folder; where it is."""
    path = folder / f"arrays-{jax.process_index()}.safetensors"
    save_file(shards, path)
    return path


def read_arrays(folder: Path, like: Any) -> Any:
    """Reads a folder's arrays with the types and shardings of `like`; UnreadableArrays if any is missing."""
    try:
        with _Files(folder) as files:
            leaves = [files.array(path, x) for path, x in _by_path(like).items()]
    except (SafetensorError, OSError, ValueError) as error:  # of what is not whole
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
    """The files of all processes, open."""

    def __init__(self, folder):
        self.files = [safe_open(path, "numpy") for path in sorted(folder.glob("arrays-*.safetensors"))]
        self.shards = defaultdict(list)

    def __enter__(self):
        for file in self.files:
            opened = file.__enter__()
            for name in opened.keys():  # noqa: SIM118 – it is no dict
                path, begin, shape = json.loads(name)
                self.shards[path].append(_Shard(tuple(begin), tuple(shape), opened, name))
        return self

    def __exit__(self, *error):
        for file in self.files:
            file.__exit__(*error)

    def array(self, path, like):
        is_key = jax.dtypes.issubdtype(like.dtype, jax.dtypes.prng_key)
        wanted = jax.eval_shape(jax.random.key_data, like) if is_key else like
        sharding = None if is_key else getattr(like, "sharding", None)
        fill = lambda index: self.region(path, wanted.shape, wanted.dtype, index)
        if sharding is None:
            found = jax.numpy.asarray(fill((slice(None),) * len(wanted.shape)))
        else:
            found = jax.make_array_from_callback(wanted.shape, sharding, fill)
        return jax.random.wrap_key_data(found, impl=jax.random.key_impl(like)) if is_key else found

    def region(self, path, shape, dtype, index):
        """A part of an array, put together from the shards that it overlaps."""
        spans = [part.indices(size)[:2] for part, size in zip(index, shape, strict=True)]
        out, filled = np.empty([stop - start for start, stop in spans], dtype), 0
        for shard in self.shards[path]:
            if len(shard.begin) != len(spans):
                raise UnreadableArrays(f"{path} has the shape {shard.shape}, not {shape}")
            ends = zip(spans, shard.begin, shard.shape, strict=True)
            common = [(max(start, at), min(stop, at + size)) for (start, stop), at, size in ends]
            if all(low < high for low, high in common):
                into = tuple(
                    slice(low - start, high - start) for (low, high), (start, _) in zip(common, spans, strict=True)
                )
                of = tuple(slice(low - at, high - at) for (low, high), at in zip(common, shard.begin, strict=True))
                out[into] = shard.read(dtype)[of]
                filled += math.prod(high - low for low, high in common)
        if filled != out.size:
            raise UnreadableArrays(f"of {path} {filled} numbers are there in place of {out.size}")
        return out


def _by_path(tree):
    return {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]}


def _as_known(x: np.ndarray) -> np.ndarray:
    return x if x.dtype.char in KNOWN else np.frombuffer(x.tobytes(), np.uint8)
