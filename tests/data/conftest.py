"""The stripes of `tests.tfds_sets` as records, and a copy of their files to damage."""

import shutil

import pytest

from jaxdl import data


@pytest.fixture(scope="module")
def stripes(stripes_folder):
    return data.records("stripes", folder=str(stripes_folder))


@pytest.fixture
def stripes_copy(stripes_folder, tmp_path):
    """A copy of the data set: its folder, and the folder of its files."""
    shutil.copytree(stripes_folder, tmp_path / "copy")
    return str(tmp_path / "copy"), tmp_path / "copy" / "stripes" / "1.0.0"
