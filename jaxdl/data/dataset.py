"""Labelled examples in memory, split for training and test."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Dataset(NamedTuple):
    """Inputs and labels, split. Images are (n, height, width, channels), float32 in [0, 1]."""

    name: str
    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return self.train_x.shape[1:]


def check_inputs(x) -> None:
    """Raises where inputs cannot be trained on: no examples, integers (TypeError), NaN or infinity."""
    x = np.asarray(x)
    if not np.issubdtype(x.dtype, np.floating) and x.dtype != jnp.bfloat16:
        raise TypeError(
            f"inputs must be floating point, got {x.dtype}: for images of 0 … 255, x.astype('float32') / 255"
        )
    if len(x) == 0:
        raise ValueError(f"there are no examples: the inputs have shape {x.shape}")
    bad = ~np.isfinite(x.astype(np.float32)).reshape(len(x), -1).all(1)
    if bad.any():
        raise ValueError(
            f"{bad.sum()} of {len(x)} examples hold NaN or infinity, the first of them example {bad.argmax()}"
        )


def check_labels(labels, classes: int) -> None:
    """Raises where a label is no integer (TypeError) or not one of 0 … classes − 1 (ValueError)."""
    labels = np.asarray(labels)
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    bad = (labels < 0) | (labels >= classes)
    if bad.any():
        first = int(bad.argmax())
        raise ValueError(
            f"{bad.sum()} of {len(labels)} labels are outside 0 … {classes - 1}: "
            f"the first is label {labels[first]} of example {first}"
        )


def resized(images: np.ndarray, size: int) -> np.ndarray:
    """Images (n, h, w, c) brought to size × size by linear interpolation."""
    n, _, _, channels = images.shape
    return np.asarray(jax.image.resize(images, (n, size, size, channels), "linear"))
