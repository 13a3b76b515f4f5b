"""Data sets by name: `load("digits")` is embedded and real, other names go to TensorFlow Datasets."""

from jaxdl.data.batches import Batches, Records, in_memory, records
from jaxdl.data.byte_pairs import BytePairTokenizer
from jaxdl.data.catalogue import Prepared, Samples, listed, samples
from jaxdl.data.dataset import Dataset, check_inputs, check_labels, resized
from jaxdl.data.embedded_digits import digits
from jaxdl.data.synthetic import separated, xor
from jaxdl.data.texts import Texts, load_texts
from jaxdl.data.tfds import data_folder, from_tfds, prepare
from jaxdl.data.tokens import CharacterTokenizer, WordTokenizer

__all__ = [
    "Batches",
    "BytePairTokenizer",
    "CharacterTokenizer",
    "Dataset",
    "Prepared",
    "Records",
    "Samples",
    "Texts",
    "WordTokenizer",
    "check_inputs",
    "check_labels",
    "data_folder",
    "digits",
    "from_tfds",
    "in_memory",
    "listed",
    "load",
    "load_texts",
    "prepare",
    "records",
    "resized",
    "samples",
    "separated",
    "xor",
]


def load(name: str = "digits", *, size: int | None = None, folder: str | None = None) -> Dataset:
    """A data set in memory: images (n, height, width, channels) in float32, [0, 1], and integer labels.

    "digits" are scikit-learn's 1,797 8 × 8 digits. Any other name is one of TensorFlow Datasets, read
    from `folder`; see `from_tfds` for what it raises. With `size`, images are resized to size × size.
    """
    data = digits() if name == "digits" else from_tfds(name, folder)
    if size is None:
        return data
    return data._replace(train_x=resized(data.train_x, size), test_x=resized(data.test_x, size))
