"""PyTorch's weights in and out, in the naming of public checkpoints: safetensors files, never pickles."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from jaxdl.report import draft_of

PICKLES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}
SHOWN = 4  # names in an error


def load_torch_state_dict(source: str | os.PathLike | Mapping[str, Any], layout: Callable, like: Any) -> Any:
    """A model's parameters from PyTorch's weights.

    source is a safetensors file, or a mapping from names to arrays, such as
    {name: tensor.numpy() for name, tensor in module.state_dict().items()}. layout is one of `jaxdl.interop.layouts`.
    like are the model's parameters, which may be abstract: jax.eval_shape(lambda: model.init(key, shape)); the
    result has their structure, shapes and dtypes. Every tensor is read and used, or is known to say nothing.

    Raises ValueError for a pickle, for a file that is not whole, for parameters that the layout does not describe,
    and for weights that do not fit them: names missing or not used, other shapes, no floating point numbers.
    """
    leaves = _by_path(jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), like))
    plan = _plan(layout, leaves)
    tensors = _renamed(_read(source), plan.renamed)
    expected = jax.eval_shape(lambda ours: _tensors(plan, ours), leaves)
    _check_fit(layout, tensors, expected, plan.extras)
    ours = {}
    for entry in plan.entries:
        arrays = entry.conversion.into(*(tensors[name] for name in entry.theirs))
        ours.update(zip(entry.ours, arrays, strict=True))
    return jax.tree.unflatten(
        jax.tree.structure(like), [jnp.array(ours[path], leaf.dtype) for path, leaf in leaves.items()]
    )


def torch_state_dict(params: Any, layout: Callable) -> dict[str, np.ndarray]:
    """The parameters as PyTorch's tensors, by the names of a layout of `jaxdl.interop.layouts`.

    With torch.from_numpy each, they are what a module's load_state_dict takes.
    """
    leaves = _by_path(jax.device_get(params))
    tensors = _tensors(_plan(layout, leaves), leaves)
    return {name: np.array(tensor, order="C") for name, tensor in tensors.items()}


def save_torch_state_dict(path: str | os.PathLike, params: Any, layout: Callable) -> None:
    """Writes `torch_state_dict(params, layout)` to a safetensors file, whole or not at all."""
    path = Path(path)
    _refuse_pickle(path)
    tensors = torch_state_dict(params, layout)
    with draft_of(path) as draft:
        save_file(tensors, draft, metadata={"format": "pt"})  # transformers reads no file without this


def _by_path(params):
    """Leaves by their paths, such as 2/norm/scale, in the order of the tree."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }


def _plan(layout, leaves):
    """The layout for these leaves, each of which it has to name."""
    plan = layout(leaves)
    named = {path for entry in plan.entries for path in entry.ours}
    absent, unnamed = named - set(leaves), set(leaves) - named
    if absent or unnamed:
        raise ValueError(
            f"{layout.__name__}: the parameters are not of the model it is for, {_first_line(layout)}: "
            f"they lack {_few(sorted(absent))}, and have besides {_few(sorted(unnamed))}"
        )
    return plan


def _tensors(plan, leaves):
    return {
        name: tensor
        for entry in plan.entries
        for name, tensor in zip(entry.theirs, entry.conversion.out(*(leaves[p] for p in entry.ours)), strict=True)
    }


def _read(source):
    if isinstance(source, Mapping):
        return {name: np.asarray(tensor) for name, tensor in source.items()}
    path = Path(source)
    _refuse_pickle(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}): copy or download it again") from error


def _refuse_pickle(path):
    if path.suffix.lower() in PICKLES:
        raise ValueError(
            f"{path}: files {path.suffix} are pickles, which run any code that is in them, and are neither read nor "
            f"written here. Where PyTorch is at hand, convert it once: "
            f"safetensors.torch.save_file(torch.load({path.name!r}, weights_only=True), '{path.stem}.safetensors')"
        )


def _renamed(tensors, renamed):
    """Tensors by their published names."""
    published = {}
    for old, tensor in tensors.items():
        name = old
        for pattern, replacement in renamed:
            name = re.sub(pattern, replacement, name)
        if name in published:
            raise ValueError(f"load_torch_state_dict: {name} is there twice, once as {old}: keep one of them")
        published[name] = tensor
    return published


def _check_fit(layout, tensors, expected, extras):
    missing = [name for name in expected if name not in tensors]
    unused = [name for name in tensors if name not in expected and not re.fullmatch(extras, name)]
    present = [(name, tensors[name], like) for name, like in expected.items() if name in tensors]
    reshaped = [f"{name} {x.shape} for {like.shape}" for name, x, like in present if x.shape != like.shape]
    integers = [f"{name} {x.dtype}" for name, x, _ in present if not jnp.issubdtype(x.dtype, jnp.floating)]
    problems = {
        "names that are missing": (missing, "is it a checkpoint of this layout, as deep as the model?"),
        "names that are not used": (unused, "drop them from the mapping if that is meant"),
        "tensors of another shape": (reshaped, "make the model with the checkpoint's sizes and classes"),
        "tensors of no floating point numbers": (integers, "give the weights before they were quantised"),
    }
    found = [f"{what} ({len(names)}): {_few(names)}; {do}" for what, (names, do) in problems.items() if names]
    if found:
        raise ValueError(f"load_torch_state_dict: the weights do not fit {layout.__name__}:\n" + "\n".join(found))


def _few(names):
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(names[:SHOWN]) or "nothing") + more


def _first_line(layout):
    return layout.__doc__.splitlines()[0].rstrip(".")
