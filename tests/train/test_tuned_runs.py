"""`fit(tune=True)`: the run is the same up to rounding, and a run that resumes has the same choices."""

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from jaxdl.train import tuned_runs
from tests.tolerance import assert_close
from tests.train.small_run import assert_same_bits, run


def test_a_tuned_run_computes_the_same(key):
    tuned, plain = run(key, tune=True, epochs=1), run(key, epochs=1)
    for a, b in zip(jax.tree.leaves(tuned.params), jax.tree.leaves(plain.params), strict=True):
        assert_close(a, b, "float32")


def test_a_resumed_run_has_the_same_choices(key, tmp_path, monkeypatch):
    first = run(key, tmp_path / "run", epochs=1, tune=True)
    assert (tmp_path / "run" / tuned_runs.FILE).exists()
    monkeypatch.delattr(tuned_runs, "tune")  # from now on nothing is measured
    resumed = run(key, tmp_path / "run", epochs=2, tune=True)
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / tuned_runs.FILE).write_bytes((tmp_path / "run" / tuned_runs.FILE).read_bytes())
    whole = run(key, tmp_path / "whole", epochs=2, tune=True)
    assert_same_bits(resumed.params, whole.params)
    assert resumed.history[0] == first.history[0]


def test_tuning_is_for_one_device(key):
    with pytest.raises(ValueError, match="tune=True is for one device"):
        run(key, tune=True, mesh=Mesh(np.array(jax.devices()[:1]), ("devices",)))
