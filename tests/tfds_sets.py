"""Small data sets of labelled images, written as TensorFlow Datasets writes them."""

import contextlib
import io
from pathlib import Path

import numpy as np


def write(folder, name, shape, classes, splits, as_tensors=False):
    """Writes a data set, its name in CamelCase, its splits lists of (image, label); returns the folder of its files."""
    import tensorflow_datasets as tfds
    from PIL import Image

    def info(self):
        image = tfds.features.Tensor(shape=shape, dtype=np.uint8) if as_tensors else tfds.features.Image(shape=shape)
        features = {"image": image, "label": tfds.features.ClassLabel(num_classes=classes)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def generated(examples):
        for i, (image, label) in enumerate(examples):
            yield i, {"image": image if as_tensors else Image.fromarray(image.squeeze(-1)), "label": label}

    body = {
        "VERSION": tfds.core.Version("1.0.0"),
        "_info": info,
        "_split_generators": lambda self, _: {split: generated(examples) for split, examples in splits.items()},
        "_generate_examples": None,
    }
    with tfds.core.registered.skip_registration():  # it is loaded from its files, as on another machine
        builder = type(name, (tfds.core.GeneratorBasedBuilder,), body)
    with contextlib.redirect_stderr(io.StringIO()):  # progress bars
        builder(data_dir=str(folder), file_format="array_record").download_and_prepare()
    (path,) = Path(folder).glob("*/1.0.0/dataset_info.json")
    return path.parent


def stripe(i):
    """The i-th of different images of shape (8, 6, 1)."""
    image = np.zeros((8, 6, 1), np.uint8)
    image[i % 8] = 200 + i
    return image


def stripes(folder):
    """30 training and 9 test images of three classes."""
    examples = [(stripe(i), i % 3) for i in range(30)]
    return write(folder, "Stripes", (8, 6, 1), 3, {"train": examples, "test": examples[:9]})


def shown_number(images):
    """The arguments with which `stripe` made these images, from their brightness."""
    return images.max((1, 2, 3)).astype(int) - 200
