"""Autoencoders' Jacobians: cut at the code they cost its size, and their rank is at most that."""

import jax
import numpy as np
import pytest

from experiments import jacobians
from experiments.results_folder import rounded


@pytest.fixture(scope="module")
def found():
    with jax.numpy_dtype_promotion("standard"):
        return rounded(jacobians.measure(True))


def test_a_cut_costs_twice_the_code(found):
    assert {code: of["sweeps"] for code, of in found["codes"].items()} == {"2": 4, "8": 16}


def test_the_rank_is_at_most_the_code(found):
    for code, of in found["codes"].items():
        values = np.array(of["singular_values"])
        assert (values[:, int(code)] < 1e-5 * values[:, 0]).all()
        assert (np.array(of["used"]) <= int(code)).all()


def test_finding_and_pictures(found):
    assert jacobians.finding(found).startswith("Cut at its code, the 64 × 64 Jacobian of an autoencoder takes 4 to 16")
    assert all(png.startswith(b"\x89PNG") for png in jacobians.draw(found).values())
