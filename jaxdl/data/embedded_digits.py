"""scikit-learn's digits: 1,797 real handwritten digits, 8 × 8, that come with the library."""

import numpy as np
from sklearn.datasets import load_digits

from jaxdl.data.dataset import Dataset

TEST_EXAMPLES = 360


def digits() -> Dataset:
    """1,437 digits to train on and 360 to test, split once and for all by a fixed seed."""
    raw = load_digits()
    images = (raw.images / 16).astype(np.float32)[..., None]
    labels = raw.target.astype(np.int32)
    order = np.random.default_rng(0).permutation(len(images))
    test, train = order[:TEST_EXAMPLES], order[TEST_EXAMPLES:]
    return Dataset("digits", images[train], labels[train], images[test], labels[test], 10)
