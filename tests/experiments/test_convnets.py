"""Small networks on digits: after little training they read most of them, and augmentation is for training only."""

import jax
import jax.numpy as jnp
import pytest

from experiments import convnets
from experiments.convnets.augmentation import moved
from experiments.results_folder import rounded
from tests.draws import draw


@pytest.fixture(scope="module")
def found():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return rounded(convnets.measure(True))


def test_they_read_digits(found):
    accuracy = {name: network["accuracy"][0] for name, network in found["networks"].items()}
    assert accuracy["LeNet-5"] > 0.95
    assert min(accuracy.values()) > 0.8
    assert found["networks"]["LeNet-5"]["parameters"] == 61_706


def test_the_finding_is_in_the_data(found):
    ratios = [network["step"]["ratio"] for network in found["networks"].values()]
    assert f"takes {min(ratios):.2f}" in convnets.finding(found)
    assert all(png.startswith(b"\x89PNG") for png in convnets.draw(found).values())


def test_augmentation_moves_images_in_training_only(key):
    layer, x = moved(0.1, 0.2, 0.1), draw(0, 3, 8, 8, 1)
    assert (layer.apply((), x) == x).all()
    assert not jnp.allclose(layer.apply((), x, key=key), x, atol=0.1)
    still = moved(0.0, 0.0, 0.0).apply((), x, key=key)
    assert jnp.allclose(still, x, atol=1e-5)
