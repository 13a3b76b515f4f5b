"""Data sets by name: `load("digits")` comes with jaxdl's dependencies; other names are of TensorFlow Datasets."""

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
    """Loads a data set of labelled images into memory.

    Args:
        name: "digits" (scikit-learn's 1,797 images of 8 × 8), or a name of TensorFlow Datasets; see `from_tfds`.
        size: Images are resized to size × size pixels; by default they keep their size.
        folder: Where data sets of TensorFlow Datasets are; see `data_folder`.

    Returns:
        The data set: images of shape (n, height, width, channels) in float32, [0, 1], and integer labels.

    Raises:
        ValueError: The name is unknown, or the data set has no labelled images.
        RuntimeError: The data set cannot be downloaded or prepared.
        OSError: Files on disk are damaged or incomplete.

    Examples:
        >>> from jaxdl import data
        >>> digits = data.load("digits")
        >>> digits.train_x.shape, digits.classes
        ((1437, 8, 8, 1), 10)
    """
    data = digits() if name == "digits" else from_tfds(name, folder)
    if size is None:
        return data
    return data._replace(train_x=resized(data.train_x, size), test_x=resized(data.test_x, size))
