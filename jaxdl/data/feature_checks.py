"""Checks a data set's files before TensorFlow Datasets reads them.

TensorFlow Datasets imports the module of each feature that `features.json` or `dataset_info.json` names, which runs the
code in it. Files that name other modules than its own are refused.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxdl.optional_packages import install_hint

NAMES = ("pythonClassName", "python_class_name", "type")  # keys of a feature's class; the last in old files
FILES = ("features.json", "dataset_info.json")


def check_features(folder: Path) -> None:
    """Raises ValueError if the files of a data set name a feature that is not TensorFlow Datasets' own."""
    for path in (folder / name for name in FILES):
        if not path.is_file():
            continue
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not valid JSON ({error}): prepare the data set again") from error
        for name in _classes(document):
            if name not in _own():
                raise ValueError(
                    f"{path} names the feature {name}, which is not one of tensorflow_datasets.features: reading the "
                    f"data set would run code from there, so it is refused"
                )


def folders_of(name: str, root: Path) -> Iterator[Path]:
    """The folders under `root` that may hold a data set, however its name is spelled."""
    plain = lambda text: text.replace("_", "").casefold()
    wanted = plain(name.split("/")[0].split(":")[0])
    for folder in root.iterdir() if root.is_dir() else ():
        if plain(folder.name) == wanted:
            yield from {
                path.parent for depth in ("*", "*/*") for file in FILES for path in folder.glob(f"{depth}/{file}")
            }


def _classes(value: Any) -> Iterator[str]:
    """The names of classes anywhere in a JSON document, also in texts that are JSON themselves."""
    if isinstance(value, list):
        for item in value:
            yield from _classes(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in NAMES and isinstance(item, str):
                yield item
            yield from _classes(item)
    elif isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            inner = json.loads(value)
        except (ValueError, RecursionError):  # TensorFlow Datasets cannot read it either
            return
        yield from _classes(inner)


def _own() -> set[str]:
    """The features of TensorFlow Datasets, by the names that files give them."""
    with install_hint("tensorflow-datasets", "jaxdl.data"):
        import tensorflow_datasets as tfds

    found, classes = set(), [tfds.features.FeatureConnector]
    while classes:
        c = classes.pop()
        found.add(f"{c.__module__}.{c.__name__}")
        classes += c.__subclasses__()
    return {name for name in found if name.startswith("tensorflow_datasets.core.features.")}
