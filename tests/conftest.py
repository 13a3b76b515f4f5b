"""Strict settings for all tests: nothing is promoted silently, and there are four devices to shard over."""

import itertools
import os
from pathlib import Path

import jax
import pytest

from tests import tfds_sets

# XLA's older way to compile fusions takes a quarter of the time. `XLA_FLAGS= pytest` compiles as users' programs do.
OLDER_FUSIONS = "--xla_cpu_use_fusion_emitters=false" if jax.__version_info__ < (0, 11) else ""
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', OLDER_FUSIONS)} --xla_force_host_platform_device_count=4"

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_platforms", "cpu")

# Compiling takes most of the time: workers share compiled programs, also those of earlier runs.
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parents[1] / ".pytest_cache" / "compiled"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture(scope="session")
def stripes_folder(tmp_path_factory):
    """A folder with a data set of TensorFlow Datasets, "stripes"; tests must not change it."""
    folder = tmp_path_factory.mktemp("tfds")
    tfds_sets.stripes(folder)
    return folder


COMPILED_QUICKLY_OF_JACOBIANS = (
    "by_hand", "cut", "eliminate", "generated_patterns", "gram_matrices", "hessian", "known_structure", "laplacian",
    "linear_solves", "methods", "pattern", "plan", "products", "reductions", "saved_plans", "sparse", "structured",
)  # fmt: skip
# Tests in which compiling takes most of the time and the speed of the program does not matter. Most experiments train.
COMPILED_QUICKLY = (
    "tests.cli",
    "tests.exact",
    *(f"tests.experiments.test_{part}" for part in ("backprop_cost", "convnets", "hand_vs_automatic", "universal")),
    "tests.graph",
    "tests.interop",
    "tests.measure.test_users_rules",
    "tests.nn",
    "tests.peers.test_libraries",
    "tests.ops.test_platforms",
    "tests.ops.test_shapes",
    "tests.test_docs",
    "tests.test_docstrings",
    "tests.test_harnesses",
    "tests.test_readme",
    "tests.test_rule",
    "tests.strip",
    "tests.test_transformations",
    "tests.train.test_devices",
    "tests.train.test_memory_plan",
    *(f"tests.jacobian.test_{part}" for part in COMPILED_QUICKLY_OF_JACOBIANS),
)


compiling = {"quickly": False}


@pytest.fixture(autouse=True, scope="module")
def _compile_quickly(request):
    """Programs in memory were compiled the other way, and round in another order: they are dropped."""
    is_quick = request.module.__name__.startswith(COMPILED_QUICKLY)
    if is_quick != compiling["quickly"]:
        jax.clear_caches()
        jax.config.update("jax_disable_most_optimizations", is_quick)
        compiling["quickly"] = is_quick


def pytest_collection_modifyitems(items):
    """Tests that start processes take longest, so they run first: no worker is left alone with them at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/train/"))


tests_so_far = itertools.count(1)
MANY_MAPS = 20_000


@pytest.fixture(autouse=True)
def _forget_programs():
    """Drops all compiled programs now and then, or a worker would run out of memory maps.

    JAX caches the program of every primitive and shape that ran eagerly, with two memory maps each (jax.numpy alone:
    200 shapes, 400 maps), and Linux allows 65,530 per process.
    """
    yield
    if next(tests_so_far) % 20 == 0 and _memory_maps() > MANY_MAPS:
        jax.clear_caches()


def _memory_maps():
    """The number of memory maps of this process; too many where it is not known."""
    try:
        return len(Path("/proc/self/maps").read_bytes().splitlines())
    except OSError:
        return MANY_MAPS + 1
