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
    assert all(of["correlation"] > 0.1 for of in found["found"])
    assert "times as long" in conv_features.finding(found)
    assert all(png.startswith(b"\x89PNG") for png in conv_features.draw(found).values())


def test_a_filter_finds_what_looks_like_it():
    random = np.random.default_rng(0)
    images = random.uniform(0, 0.2, (conv_features.FOUND, 8, 8, 1)).astype(np.float32)
    images[:, 2:5, 3] += 1  # a vertical stroke
    images[:, 6, 4:7] += 1  # and a horizontal one
    stroke = np.array([[-1, 2, -1]] * 3)
    found = conv_features.found_by(stroke, images)
    assert found["most"][:, 1].min() > 0.9
    assert found["most"][:, 0].max() < 0.3
    assert found["correlation"] > 0.7
