"""The geometry of an encoder: volumes and dimensions are those of its singular values."""

import jax
import numpy as np
import pytest

from experiments import encoder_geometry
from experiments.results_folder import rounded


@pytest.fixture(scope="module")
def found():
    with jax.numpy_dtype_promotion("standard"):
        return rounded(encoder_geometry.measure(True))


def test_volume_and_dimension_are_those_of_the_singular_values(found):
    values = np.array(found["singular_values"])
    assert values.shape == (60, encoder_geometry.CODE)
    assert (np.diff(values) <= 0).all()
    np.testing.assert_allclose(found["log_volume"], np.log(values).sum(1), atol=0.02)
    squares = values**2
    np.testing.assert_allclose(found["local_dimension"], squares.sum(1) ** 2 / (squares**2).sum(1), rtol=1e-3)
    assert all(1 <= d <= encoder_geometry.CODE for d in found["local_dimension"])


def test_the_class_explains_a_part_of_the_variance():
    labels = np.repeat(np.arange(10), 3)
    assert encoder_geometry.explained(2.0 * labels, labels) == pytest.approx(1)
    assert encoder_geometry.explained(np.tile([-1.0, 0, 1], 10), labels) == pytest.approx(0)


def test_finding_and_pictures(found):
    assert "of its 8 directions" in encoder_geometry.finding(found)
    assert all(png.startswith(b"\x89PNG") for png in encoder_geometry.draw(found).values())
    assert np.shape(found["directions"]) == (encoder_geometry.SHOWN, 10, 28, 28)
