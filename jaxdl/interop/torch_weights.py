"""Reads and writes PyTorch's weights with the names of public checkpoints, in safetensors files, never pickles."""

import os
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.optional_packages import install_hint
from jaxdl.report import draft_of

PICKLES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}
SHOWN = 4  # names in a message
FAR = 1e6  # a number this many times larger than the median, or than 1, is suspicious


def load_torch_state_dict(
    source: str | os.PathLike[str] | Mapping[str, Any], layout: Callable[..., Any], like: Any
) -> Any:
    """Loads a model's parameters from PyTorch's weights.

    Suspicious numbers are loaded unchanged, with a UserWarning that names the tensors: NaN, infinity (also by overflow
    in a narrower dtype than the file's), and single numbers that are far larger than all others.

    Args:
        source: A safetensors file, or a mapping from names to arrays or tensors, such as module.state_dict().
        layout: One of `jaxdl.interop.layouts`, such as `vit_torchvision`.
        like: The model's parameters, which may be abstract: jax.eval_shape(lambda: model.init(key, shape)).

    Returns:
        Parameters with the structure, shapes and dtypes of `like`.

    Raises:
        ValueError: The source is a pickle or a damaged file, the layout is for another model, or the weights do not
            fit: names are missing or unused, shapes differ, or numbers are not floating point.
        TypeError: The source is neither.

    Examples:
        >>> from jaxdl import interop, nn
        >>> model = nn.vit_b16()
        >>> like = jax.eval_shape(lambda: model.init(jax.random.key(0), (224, 224, 3)))
        >>> params = interop.load_torch_state_dict(
        ...     "vit_b_16.safetensors", interop.vit_torchvision, like
        ... )  # doctest: +SKIP
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
    with np.errstate(over="ignore"):  # a warning follows
        loaded = {path: jnp.array(ours[path], leaf.dtype) for path, leaf in leaves.items()}
    _warn_of_suspicious(tensors, plan.entries, loaded)
    return jax.tree.unflatten(jax.tree.structure(like), [loaded[path] for path in leaves])


def torch_state_dict(params: Any, layout: Callable[..., Any]) -> dict[str, np.ndarray]:
    """Converts parameters to PyTorch's tensors, as NumPy arrays.

    Args:
        params: A model's parameters.
        layout: One of `jaxdl.interop.layouts`.

    Returns:
        The tensors by name. With `torch.from_numpy` on each, a module's `load_state_dict` takes them.

    Raises:
        ValueError: The layout is for another model.

    Examples:
        >>> from jaxdl import interop, nn
        >>> params = nn.vit(10, patch=4, width=16, depth=1, heads=2).init(jax.random.key(0), (8, 8, 3))
        >>> interop.torch_state_dict(params, interop.vit_torchvision)["class_token"].shape
        (1, 1, 16)
    """
    leaves = _by_path(jax.device_get(params))
    tensors = _tensors(_plan(layout, leaves), leaves)
    return {name: np.array(tensor, order="C") for name, tensor in tensors.items()}


def save_torch_state_dict(path: str | os.PathLike[str], params: Any, layout: Callable[..., Any]) -> None:
    """Writes parameters as PyTorch's tensors to a safetensors file, whole or not at all.

    Args:
        path: The file.
        params: A model's parameters.
        layout: One of `jaxdl.interop.layouts`.

    Raises:
        ValueError: The path is that of a pickle, or the layout is for another model.

    Examples:
        >>> from jaxdl import interop
        >>> interop.save_torch_state_dict("vit.safetensors", params, interop.vit_torchvision)  # doctest: +SKIP
    """
    with install_hint("safetensors", "jaxdl.interop"):
        from safetensors.numpy import save_file

    path = Path(path)
    _refuse_pickle(path)
    tensors = torch_state_dict(params, layout)
    with draft_of(path) as draft:
        save_file(tensors, draft, metadata={"format": "pt"})  # transformers requires this


def _by_path(params):
    """Leaves by path, such as 2/norm/scale, in the order of the tree."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }


def _plan(layout, leaves):
    """The layout for these leaves; raises ValueError unless it names each of them."""
    plan = layout(leaves)
    named = {path for entry in plan.entries for path in entry.ours}
    absent, unnamed = named - set(leaves), set(leaves) - named
    if absent or unnamed:
        raise ValueError(
            f"{layout.__name__}: the parameters are of another model than {_first_line(layout)}: "
            f"missing are {_few(sorted(absent))}, unexpected are {_few(sorted(unnamed))}"
        )
    return plan


def _tensors(plan, leaves):
    return {
        name: tensor
        for entry in plan.entries
        for name, tensor in zip(entry.theirs, entry.conversion.out(*(leaves[p] for p in entry.ours)), strict=True)
    }


def _array(tensor):
    """An array of NumPy's; of a tensor of PyTorch's too, in float32 where NumPy lacks its dtype, such as bfloat16."""
    tensor = tensor.detach().cpu() if hasattr(tensor, "detach") else tensor
    try:
        return np.asarray(tensor)
    except TypeError:
        if not hasattr(tensor, "float"):
            raise
        return np.asarray(tensor.float())


def _read(source):
    if isinstance(source, Mapping):
        return {name: _array(tensor) for name, tensor in source.items()}
    if not isinstance(source, str | os.PathLike):
        raise TypeError(
            f"load_torch_state_dict: source must be a safetensors file or a mapping from names to arrays, got "
            f"{type(source).__name__}{'; take its state_dict()' if hasattr(source, 'state_dict') else ''}"
        )
    with install_hint("safetensors", "jaxdl.interop"):
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

    path = Path(source)
    _refuse_pickle(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not an intact safetensors file ({error}): copy or download it again") from error
    except (KeyError, AttributeError, TypeError):  # a dtype that NumPy does not have
        return _load_others(path)


def _load_others(path):
    """Reads a file with dtypes that NumPy does not have; raises ValueError if JAX does not have them either."""
    from safetensors import SafetensorError, safe_open

    tensors = {}
    with safe_open(path, "flax") as file:
        for name in file.keys():  # noqa: SIM118 – it is no dict
            try:
                tensors[name] = np.asarray(file.get_tensor(name))
            except (AttributeError, KeyError, TypeError, ValueError, SafetensorError) as error:
                kind = file.get_slice(name).get_dtype()
                raise ValueError(
                    f"{path}: {name} has dtype {kind}, which cannot be read: save it in float32 or bfloat16"
                ) from error
    return tensors


def _warn_of_suspicious(tensors, entries, loaded):
    """Warns of tensors with NaN, infinity, overflow or single huge numbers."""
    odd = {}
    for entry in entries:
        for name in entry.theirs:
            x = np.asarray(tensors[name]).astype(np.float64)
            finite = np.abs(x[np.isfinite(x)])
            if finite.size < x.size:
                odd[name] = f"{x.size - finite.size} numbers are NaN or infinite"
            elif not all(np.isfinite(np.asarray(loaded[path]).astype(np.float64)).all() for path in entry.ours):
                odd[name] = f"its largest number, {finite.max():.3g}, overflows in the dtype of the parameters"
            elif finite.size and finite.max() > FAR * max(float(np.median(finite)), 1.0):
                odd[name] = f"its largest number is {finite.max():.3g}, the median is {np.median(finite):.3g}"
    if odd:
        listed = "; ".join(f"{name}: {why}" for name, why in [*odd.items()][:SHOWN])
        more = f" (and {len(odd) - SHOWN} more)" if len(odd) > SHOWN else ""
        warnings.warn(f"load_torch_state_dict: the file may be damaged: {listed}{more}", stacklevel=3)


def _refuse_pickle(path):
    if path.suffix.lower() in PICKLES:
        raise ValueError(
            f"{path}: {path.suffix} files are pickles, which can run any code, and are neither read nor written. "
            f"Convert it once, with PyTorch: "
            f"safetensors.torch.save_file(torch.load({path.name!r}, weights_only=True), '{path.stem}.safetensors')"
        )


def _renamed(tensors, renamed):
    """The tensors by their published names."""
    published = {}
    for old, tensor in tensors.items():
        name = old
        for pattern, replacement in renamed:
            name = re.sub(pattern, replacement, name)
        if name in published:
            raise ValueError(f"load_torch_state_dict: {name} appears twice, once as {old}: keep one of them")
        published[name] = tensor
    return published


def _check_fit(layout, tensors, expected, extras):
    missing = [name for name in expected if name not in tensors]
    unused = [name for name in tensors if name not in expected and not re.fullmatch(extras, name)]
    present = [(name, tensors[name], like) for name, like in expected.items() if name in tensors]
    reshaped = [f"{name} {x.shape} for {like.shape}" for name, x, like in present if x.shape != like.shape]
    integers = [f"{name} {x.dtype}" for name, x, _ in present if not jnp.issubdtype(x.dtype, jnp.floating)]
    problems = {
        "missing names": (missing, "does the checkpoint have this layout and the depth of the model?"),
        "unused names": (unused, "remove them from the mapping if they are not needed"),
        "tensors of another shape": (reshaped, "build the model with the checkpoint's sizes and classes"),
        "tensors that are not floating point": (integers, "use the weights before quantisation"),
    }
    found = [f"{what} ({len(names)}): {_few(names)}; {do}" for what, (names, do) in problems.items() if names]
    if found:
        raise ValueError(f"load_torch_state_dict: the weights do not fit {layout.__name__}:\n" + "\n".join(found))


def _few(names):
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(names[:SHOWN]) or "nothing") + more


def _first_line(layout):
    return (layout.__doc__ or "").splitlines()[0].rstrip(".")
