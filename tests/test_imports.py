"""What `import jaxdl` loads and shows."""

import re
import subprocess
import sys
from importlib import metadata

import pytest

import jaxdl

HEAVY = ("matplotlib", "optax", "flax", "tensorflow_datasets", "orbax", "grain")
MODULES = ("data", "exact", "interop", "jacobian", "nn", "ops", "testing", "train")
FUNCTIONS = (
    "Op",
    "Site",
    "Tuned",
    "audit",
    "automatic",
    "contrast",
    "op",
    "rematerialized",
    "rules",
    "saving",
    "source",
    "stock",
    "trace",
    "tune",
)


def loaded(code):
    """The names of the modules that a fresh Python has loaded after some code."""
    command = [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_import_is_light():
    assert not loaded("import jaxdl") & {*HEAVY, "jax", "rich"}


def test_functions_load_no_more_than_they_need():
    used = "; ".join(f"jaxdl.{name}" for name in FUNCTIONS)
    assert not loaded(f"import jaxdl; {used}; jaxdl.ops; jaxdl.jacobian; jaxdl.exact; jaxdl.nn; jaxdl.testing") & {
        *HEAVY
    }


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_loaded_when_they_are_used(name):
    assert f"jaxdl.{name}" in loaded(f"import jaxdl; jaxdl.{name}")


def test_dir_shows_what_is_public():
    assert dir(jaxdl) == sorted([*FUNCTIONS, *MODULES, "__version__"])
    assert all(hasattr(jaxdl, name) for name in dir(jaxdl))
    assert set(jaxdl.__all__) == set(FUNCTIONS)
    with pytest.raises(AttributeError, match="module 'jaxdl' has no attribute 'tarin'"):
        jaxdl.tarin  # noqa: B018


def test_the_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+", jaxdl.__version__)
    assert jaxdl.__version__ == metadata.version("jaxdl-ad")


def test_running_the_package_as_a_module_is_guarded():
    assert "jaxdl.cli" in loaded("import jaxdl.__main__")


def test_help_does_not_load_jax():
    code = "import contextlib, jaxdl.cli\nwith contextlib.suppress(SystemExit): jaxdl.cli.main(['train', '--help'])\n0"
    assert "jax" not in loaded(code)
