"""What `fit` is given, looked at before the first step."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.data import Records, check_inputs, check_labels, in_memory

COLUMNS = {"epoch", "loss", "seconds", "skipped", "test_loss"}  # of the history, which no metric may be named
OF_LABELS = "softmax_cross_entropy_with_integer_labels"  # jaxdl's and optax's: as many classes as the model has outputs


def check_numbers(epochs: Any, batch: Any, accumulate: Any) -> None:
    for name, value in {"epochs": epochs, "batch": batch, "accumulate": accumulate}.items():
        if not hasattr(value, "__index__"):
            raise TypeError(f"fit: {name} must be a whole number, got {value!r}")
    if epochs < 0 or batch < 1 or accumulate < 1:
        raise ValueError(
            f"fit: epochs must be 0 or more, batch and accumulate 1 or more, got {epochs}, {batch} and {accumulate}"
        )


def source_of(data: Any) -> tuple[Records, tuple | None]:
    """The data to read from, and the arrays where they are in memory."""
    if isinstance(data, Records):
        return data, None
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(f"fit: data must be (x, y) or jaxdl.data.records(…), got {type(data).__name__}")
    _check_arrays("data", data)
    x, y = data
    source = in_memory(x, y)
    jax.tree.map(_check_inputs, x)
    return source, (x, y)


def check_test(test: Any, arrays: tuple | None) -> None:
    """That the held-out data are like those trained on."""
    if test is None:
        return
    if not isinstance(test, tuple | list) or len(test) != 2:
        raise TypeError(f"fit: test must be (x, y), got {type(test).__name__}")
    _check_arrays("test", test)
    if len(in_memory(*test)) == 0:
        raise ValueError("fit: test holds no examples; without held-out data, test=None")
    if arrays is None:
        return
    for name, held_out, trained_on in zip("xy", test, arrays, strict=True):
        shapes = [jax.tree.map(lambda a: np.shape(a)[1:], tree) for tree in (held_out, trained_on)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"fit: an example of {name} in test has shape {shapes[0]}, in data {shapes[1]}")


def check_metrics(metrics: Mapping[str, Callable]) -> None:
    taken = COLUMNS & {*metrics}
    if taken:
        raise ValueError(f"fit: the history has {', '.join(sorted(taken))} of its own: give the metric another name")


def check_classes(loss: Callable, output: Any, source: Records, targets: list) -> None:
    """That labels are among the model's outputs, where the loss is the cross-entropy of integer labels."""
    if getattr(_inner(loss), "__name__", "") != OF_LABELS:
        return
    classes = jax.tree.leaves(output)[0].shape[-1]
    if source.classes is not None and source.classes > classes:
        raise ValueError(f"fit: {source.name} has {source.classes} classes, the model {classes} outputs")
    for y in targets:
        check_labels(y, classes)


def _inner(loss):
    """What partials and wrappers are of."""
    while inner := getattr(loss, "__wrapped__", None) or (loss.func if isinstance(loss, functools.partial) else None):
        loss = inner
    return loss


def _check_arrays(name, tree):
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        shape = np.shape(leaf)
        place = f"{name}{jax.tree_util.keystr(path)}"
        if not hasattr(leaf, "dtype") or not shape:
            raise TypeError(
                f"fit: {place} is {type(leaf).__name__}, not an array with the examples in front: np.asarray makes one"
            )
        if 0 in shape[1:]:
            raise ValueError(f"fit: {place} has shape {shape}: its examples hold no numbers")


def _check_inputs(x):
    """Signed integers are tokens, which the model's embedding looks up, uint8 images; all else is floating point."""
    if len(x) == 0 or not (jnp.issubdtype(x.dtype, np.signedinteger) or x.dtype == np.uint8):
        check_inputs(x)
