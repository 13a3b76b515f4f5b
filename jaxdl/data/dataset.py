"""Labelled examples in memory, split for training and test."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.report import Report, Table, number_text


class _Fields(NamedTuple):
    name: str
    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    classes: int


class Dataset(Report, _Fields):
    """Inputs and labels, split for training and test: a named tuple, and a report that describes it.

    Attributes:
        name: The name of the data set.
        train_x: The inputs to train on. Images have shape (n, height, width, channels), float32 in [0, 1].
        train_y: Their labels, integers of shape (n,).
        test_x: The held-out inputs.
        test_y: Their labels.
        classes: How many different labels there are.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input."""
        return self.train_x.shape[1:]

    def table(self) -> Table:
        """A description with one row for each split."""
        rows = [
            (
                split,
                f"{described['examples']:,}",
                *(" × ".join(map(str, described[part]["shape"])) or "number" for part in ("inputs", "labels")),
                described["inputs"]["dtype"],
                *map(number_text, described["inputs"]["range"] or (None, None)),
            )
            for split, described in self.to_json()["splits"].items()
        ]
        columns = ("split", "examples", "input", "label", "type", "smallest", "largest")
        return Table(f"{self.name}: {self.classes} classes", columns, rows)

    def to_json(self) -> dict[str, Any]:
        """A description of the data set, without its examples: sizes, shapes, types and ranges."""
        splits = {"train": (self.train_x, self.train_y), "test": (self.test_x, self.test_y)}
        return {
            "name": self.name,
            "classes": self.classes,
            "splits": {
                split: {"examples": len(x), "inputs": _described(x), "labels": _described(y)}
                for split, (x, y) in splits.items()
            },
        }


def _described(x: np.ndarray) -> dict[str, Any]:
    """The shape of one example, the type, and the smallest and largest number."""
    limits = [float(x.min()), float(x.max())] if x.size else None
    return {"shape": list(x.shape[1:]), "dtype": str(x.dtype), "range": limits}


def check_inputs(x: Any) -> None:
    """Checks that inputs can be trained on.

    Args:
        x: An array with the examples along its first axis.

    Raises:
        TypeError: The inputs are not floating point.
        ValueError: There are no examples, or some have NaN or infinity.

    Examples:
        >>> import numpy as np
        >>> from jaxdl import data
        >>> data.check_inputs(np.zeros((5, 8), np.float32))
    """
    x = np.asarray(x)
    if not np.issubdtype(x.dtype, np.floating) and x.dtype != jnp.bfloat16:
        raise TypeError(
            f"inputs must be floating point, got {x.dtype}: for images of 0 … 255, x.astype('float32') / 255"
        )
    if len(x) == 0:
        raise ValueError(f"there are no examples: the inputs have shape {x.shape}")
    bad = ~np.isfinite(x.astype(np.float32)).reshape(len(x), -1).all(1)
    if bad.any():
        raise ValueError(f"{bad.sum()} of {len(x)} examples have NaN or infinity, the first is example {bad.argmax()}")


def check_labels(labels: Any, classes: int) -> None:
    """Checks that labels are integers of 0 … classes − 1.

    Args:
        labels: An array of labels.
        classes: How many classes there are.

    Raises:
        TypeError: The labels are not integers.
        ValueError: A label is outside the classes.

    Examples:
        >>> import numpy as np
        >>> from jaxdl import data
        >>> data.check_labels(np.array([0, 9]), classes=10)
    """
    labels = np.asarray(labels)
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    bad = ((labels < 0) | (labels >= classes)).reshape(len(labels), -1).any(1) if labels.size else np.zeros(0, bool)
    if bad.any():
        first = int(bad.argmax())
        raise ValueError(
            f"{bad.sum()} of {len(labels)} labels are outside 0 … {classes - 1}: "
            f"the first is label {labels[first]} of example {first}"
        )


def resized(images: np.ndarray, size: int) -> np.ndarray:
    """Images resized by linear interpolation.

    Args:
        images: Images of shape (n, height, width, channels).
        size: The new height and width.

    Returns:
        Images of shape (n, size, size, channels).

    Raises:
        ValueError: The images have another rank, or the size is no possible number.

    Examples:
        >>> import numpy as np
        >>> from jaxdl import data
        >>> data.resized(np.zeros((5, 8, 8, 1), np.float32), 28).shape
        (5, 28, 28, 1)
    """
    if np.ndim(images) != 4:
        raise ValueError(f"resized: images must be (n, height, width, channels), got shape {np.shape(images)}")
    if not hasattr(size, "__index__") or size < 1:
        raise ValueError(f"resized: size must be a whole number, 1 or more, got {size!r}")
    n, _, _, channels = images.shape
    return np.asarray(jax.image.resize(images, (n, size, size, channels), "linear"))
