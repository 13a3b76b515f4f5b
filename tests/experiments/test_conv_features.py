"""What convolutions see: the loop and the fast form agree, the edge filter finds edges."""

import jax
import numpy as np
import pytest

from experiments import conv_features
from experiments.results_folder import rounded


@pytest.fixture(scope="module")
def found():
    with jax.numpy_dtype_promotion("standard"):
        return rounded(conv_features.measure(True))


def test_the_double_loop_is_the_convolution(found):
    assert all(t["apart"] < 1e-4 for t in found["times"].values())


def test_the_edge_filter_is_the_difference_across_a_stroke(found):
    """Convolved, (0, −½, 0), 0, (0, ½, 0) is half the pixel above less the pixel below."""
    image, edges = np.array(found["image"]), np.array(found["edges"])
    assert np.allclose(edges, (image[:-2, 1:-1] - image[2:, 1:-1]) / 2, atol=1e-3)


def test_filters_are_learned_and_drawn(found):
    assert found["accuracy"] > 0.9
    assert np.shape(found["filters"]) == (6, 5, 5)
    assert np.shape(found["maps"]) == (6, 28, 28)
    assert "times as long" in conv_features.finding(found)
    assert all(png.startswith(b"\x89PNG") for png in conv_features.draw(found).values())
