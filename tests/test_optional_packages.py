"""What only part of jaxdl needs is imported there, and a missing package is an error that says how to install it."""

import subprocess
import sys

import pytest

from jaxdl.optional_packages import install_hint

HEAVY = [
    "optax", "orbax", "grain", "tensorflow_datasets", "tensorboardX", "sklearn", "PIL", "safetensors", "flax",
    "rich.progress", "matplotlib",
]  # fmt: skip


def test_a_missing_package():
    with (
        pytest.raises(ImportError, match="a part of jaxdl needs the package no-such: pip install no-such"),
        install_hint("no-such", "a part of jaxdl"),
    ):
        import no_such  # noqa: F401


def test_training_data_and_interop_import_nothing_that_they_may_not_need():
    script = f"import sys, jaxdl.train, jaxdl.data, jaxdl.interop; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
