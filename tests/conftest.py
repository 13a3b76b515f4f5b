"""Strict settings for all tests: nothing is promoted silently, and there are four devices to shard over."""

import itertools
import os
from pathlib import Path

import jax
import pytest

from tests import tfds_sets

# XLA's older way to compile fusions takes a quarter of the time. `XLA_FLAGS= pytest` compiles as users' programs are.
OLDER_FUSIONS = "--xla_cpu_use_fusion_emitters=false" if jax.__version_info__ < (0, 11) else ""
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', OLDER_FUSIONS)} --xla_force_host_platform_device_count=4"

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_platforms", "cpu")

# Compiling takes most of the time: what one worker has compiled, or a run before, the others load.
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parents[1] / ".pytest_cache" / "compiled"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture(scope="session")
def stripes_folder(tmp_path_factory):
    """A folder of data sets with a real one of TensorFlow Datasets in it, by the name of stripes; not to be changed."""
    folder = tmp_path_factory.mktemp("tfds")
    tfds_sets.stripes(folder)
    return folder


# Where compiling takes most of the time, and what is asked is not how fast the program runs.
COMPILED_QUICKLY = (
    "tests.cli",
    "tests.exact",
    "tests.experiments",
    "tests.graph",
    "tests.interop",
    "tests.nn",
    "tests.peers.test_libraries",
    "tests.ops.test_shapes",
    "tests.test_harnesses",
    "tests.test_readme",
    "tests.test_rule",
    "tests.strip",
    "tests.test_transformations",
    "tests.train.test_devices",
    "tests.train.test_memory_plan",
    *(f"tests.jacobian.test_{part}" for part in ("eliminate", "methods", "pattern", "plan", "sparse", "structured")),
)


@pytest.fixture(autouse=True, scope="module")
def _compile_quickly(request):
    jax.config.update("jax_disable_most_optimizations", request.module.__name__.startswith(COMPILED_QUICKLY))
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def pytest_collection_modifyitems(items):
    """Those with processes of their own, which take the longest, come first: no worker is left alone with them."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/train/"))


tests_so_far = itertools.count(1)


@pytest.fixture(autouse=True)
def _forget_programs():
    """Now and then all compiled programs are dropped, or a worker that ran them all dies.

    JAX keeps the program of every primitive and shape that ran eagerly, two memory maps each (jax.numpy alone does so:
    200 shapes, 400 maps), and Linux gives a process 65,530. What functions compile goes with them, jaxdl's ops too.
    """
    yield
    if next(tests_so_far) % 20 == 0:
        jax.clear_caches()
