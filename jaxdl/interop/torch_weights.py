"""PyTorch's weights in and out, in the naming of public checkpoints: safetensors files, never pickles."""

import os
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from jaxdl.report import draft_of

PICKLES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}
SHOWN = 4  # names in an error
FAR = 1e6  # times as large as half of a tensor's numbers, or as 1


def load_torch_state_dict(source: str | os.PathLike | Mapping[str, Any], layout: Callable, like: Any) -> Any:
    """A model's parameters from PyTorch's weights.

    source is a safetensors file, or a mapping from names to arrays, such as
    {name: tensor.numpy() for name, tensor in module.state_dict().items()}. layout is one of `jaxdl.interop.layouts`.
    like are the model's parameters, which may be abstract: jax.eval_shape(lambda: model.init(key, shape)); the
    result has their structure, shapes and dtypes. Every tensor is read and used, or is known to say nothing.

    Numbers that no training leaves there are loaded as they are, with a UserWarning that names the tensors: NaN,
    infinity, also by a narrower type than the file's, and single ones that are far larger than all others.

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
    with np.errstate(over="ignore"):  # of which is warned
        loaded = {path: jnp.array(ours[path], leaf.dtype) for path, leaf in leaves.items()}
    _warn_of_odd(tensors, plan.entries, loaded)
    return jax.tree.unflatten(jax.tree.structure(like), [loaded[path] for path in leaves])


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
    except (KeyError, AttributeError, TypeError):  # of a type that NumPy does not have
        return _load_others(path)


def _load_others(path):
    """Of a file with types that NumPy alone does not have; ValueError where JAX has no such type either."""
    tensors = {}
    with safe_open(path, "flax") as file:
        for name in file.keys():  # noqa: SIM118 – it is no dict
            try:
                tensors[name] = np.asarray(file.get_tensor(name))
            except (AttributeError, KeyError, TypeError, ValueError, SafetensorError) as error:
                kind = file.get_slice(name).get_dtype()
                raise ValueError(
                    f"{path}: {name} is of the type {kind}, which is not read here: write it in float32 or bfloat16"
                ) from error
    return tensors


def _warn_of_odd(tensors, entries, loaded):
    """A warning of tensors with numbers that no training leaves there."""
    odd = {}
    for entry in entries:
        for name in entry.theirs:
            x = np.asarray(tensors[name]).astype(np.float64)
            finite = np.abs(x[np.isfinite(x)])
            if finite.size < x.size:
                odd[name] = f"{x.size - finite.size} numbers are NaN or infinite"
            elif not all(np.isfinite(np.asarray(loaded[path]).astype(np.float64)).all() for path in entry.ours):
                odd[name] = f"its largest number, {finite.max():.3g}, is beyond the type of the parameters"
            elif finite.size and finite.max() > FAR * max(float(np.median(finite)), 1.0):
                odd[name] = f"its largest number is {finite.max():.3g}, half of them are below {np.median(finite):.3g}"
    if odd:
        told = "; ".join(f"{name}: {why}" for name, why in [*odd.items()][:SHOWN])
        more = f" (and {len(odd) - SHOWN} more)" if len(odd) > SHOWN else ""
        warnings.warn(f"load_torch_state_dict: the file may be damaged: {told}{more}", stacklevel=3)


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
