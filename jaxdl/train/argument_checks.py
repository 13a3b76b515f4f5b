"""Checks of the arguments of `fit`, before the first step."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.data import Records, check_inputs, check_labels, in_memory

COLUMNS = {"epoch", "loss", "seconds", "skipped", "test_loss"}  # of the history; not names of metrics
OF_LABELS = "softmax_cross_entropy_with_integer_labels"  # of jaxdl and of optax


def check_numbers(epochs: Any, batch: Any, accumulate: Any) -> None:
    """Checks that the counts are whole numbers in their ranges."""
    for name, value in {"epochs": epochs, "batch": batch, "accumulate": accumulate}.items():
        if not hasattr(value, "__index__"):
            raise TypeError(f"fit: {name} must be a whole number, got {value!r}")
    if epochs < 0 or batch < 1 or accumulate < 1:
        raise ValueError(
            f"fit: epochs must be 0 or more, batch and accumulate 1 or more, got {epochs}, {batch} and {accumulate}"
        )


def check_parts(model: Any, optimizer: Any, key: Any) -> None:
    """Checks that the model, the optimiser and the key are such: a seed or a rate in their place is named."""
    has = lambda x, *names: not isinstance(x, type) and all(callable(getattr(x, name, None)) for name in names)
    if not has(model, "init", "apply"):
        raise TypeError(f"fit: model must be a layer of jaxdl.nn, with init and apply, got {model!r}")
    if not has(optimizer, "init", "update"):
        raise TypeError(f"fit: optimizer must be an optimiser of optax, such as optax.adam(1e-3), got {optimizer!r}")
    if not hasattr(key, "dtype") or np.size(key) == 0 or (jx.is_key(key) and key.ndim):
        raise TypeError(f"fit: key must be one key, such as jax.random.key(0), got {key!r}")


def check_params(params: Any) -> None:
    """Checks that all parameters can be moved along a gradient."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            raise TypeError(
                f"fit: the model's parameters{jax.tree_util.keystr(path)} are {jnp.result_type(leaf)}, which has no "
                f"gradient: let apply close over constants and take its key as the argument key"
            )


def source_of(data: Any) -> tuple[Records, tuple[Any, ...] | None]:
    """The data as `Records`, and as arrays (x, y) if they are in memory."""
    if isinstance(data, Records):
        return data, None
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(f"fit: data must be (x, y) or jaxdl.data.records(…), got {type(data).__name__}")
    _check_arrays("data", data)
    x, y = data
    source = in_memory(x, y)
    jax.tree.map(_check_inputs, x)
    return source, (x, y)


def check_test(test: Any, arrays: tuple[Any, ...] | None) -> None:
    """Checks that held-out data have the form of the training data."""
    if test is None:
        return
    if not isinstance(test, tuple | list) or len(test) != 2:
        raise TypeError(f"fit: test must be (x, y), got {type(test).__name__}")
    _check_arrays("test", test)
    if len(in_memory(*test)) == 0:
        raise ValueError("fit: test holds no examples; pass test=None to train without held-out data")
    if arrays is None:
        return
    for name, held_out, trained_on in zip("xy", test, arrays, strict=True):
        shapes = [jax.tree.map(lambda a: np.shape(a)[1:], tree) for tree in (held_out, trained_on)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"fit: an example of {name} in test has shape {shapes[0]}, in data {shapes[1]}")


def check_metrics(metrics: Mapping[str, Callable[..., Any]]) -> None:
    """Checks that no metric has the name of another column of the history."""
    taken = COLUMNS & {*metrics}
    if taken:
        raise ValueError(f"fit: {', '.join(sorted(taken))} is a column of the history: give the metric another name")


def check_classes(loss: Callable[..., Any], output: Any, source: Records, targets: list[Any]) -> None:
    """Checks that labels are less than the number of outputs, if the loss is the cross-entropy of integer labels."""
    if getattr(_inner(loss), "__name__", "") != OF_LABELS:
        return
    classes = jax.tree.leaves(output)[0].shape[-1]
    if source.classes is not None and source.classes > classes:
        raise ValueError(f"fit: {source.name} has {source.classes} classes, the model {classes} outputs")
    for y in targets:
        check_labels(y, classes)


def _inner(loss):
    """The function inside partials and wrappers."""
    while inner := getattr(loss, "__wrapped__", None) or (loss.func if isinstance(loss, functools.partial) else None):
        loss = inner
    return loss


def _check_arrays(name, tree):
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        shape = np.shape(leaf)
        place = f"{name}{jax.tree_util.keystr(path)}"
        if not hasattr(leaf, "dtype") or not shape:
            raise TypeError(
                f"fit: {place} is {type(leaf).__name__}, "
                f"not an array with examples along its first axis: use np.asarray"
            )
        if isinstance(leaf, np.ma.MaskedArray) or not _is_of_jax(leaf.dtype):
            kind = "a masked array" if isinstance(leaf, np.ma.MaskedArray) else f"of dtype {leaf.dtype}"
            raise TypeError(f"fit: {place} is {kind}, which JAX has not: make numbers of it, as with x.astype(…)")
        if 0 in shape[1:]:
            raise ValueError(f"fit: {place} has shape {shape}: its examples have size 0")


def _is_of_jax(dtype):
    """Whether JAX has arrays of this dtype; it has none in the byte order of other machines."""
    is_number = jnp.issubdtype(dtype, np.number) or jnp.issubdtype(dtype, np.bool)
    return jnp.issubdtype(dtype, jax.dtypes.extended) or (is_number and dtype.isnative)


def _check_inputs(x):
    """Signed integers are tokens and uint8 are images; all else must be floating point."""
    if len(x) == 0 or not (jnp.issubdtype(x.dtype, np.signedinteger) or x.dtype == np.uint8):
        check_inputs(x)
