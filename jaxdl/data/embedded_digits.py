"""scikit-learn's digits: 1,797 handwritten digits of 8 × 8 pixels, which come with the library."""

from typing import Any

import numpy as np

from jaxdl.data.dataset import Dataset
from jaxdl.optional_packages import install_hint

TEST_EXAMPLES = 360


def digits() -> Dataset:
    """scikit-learn's handwritten digits, always with the same split.

    Returns:
        1,437 images to train on and 360 held out, of shape (n, 8, 8, 1) in [0, 1], and int32 labels.

    Raises:
        ImportError: scikit-learn is not installed.

    Examples:
        >>> from jaxdl import data
        >>> data.digits().test_x.shape
        (360, 8, 8, 1)
    """
    with install_hint("scikit-learn", "data.digits"):
        from sklearn.datasets import load_digits

    raw: Any = load_digits()
    images = (raw.images / 16).astype(np.float32)[..., None]
    labels = raw.target.astype(np.int32)
    order = np.random.default_rng(0).permutation(len(images))
    test, train = order[:TEST_EXAMPLES], order[TEST_EXAMPLES:]
    return Dataset("digits", images[train], labels[train], images[test], labels[test], 10)
