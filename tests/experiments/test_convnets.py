"""Small networks on digits: after little training they read most of them, and augmentation is for training only."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import convnets
from experiments.convnets.augmentation import moved
from experiments.results_folder import rounded
from jaxdl.data import Dataset
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


def test_images_of_others(monkeypatch):
    """Colours and another size, as CIFAR-10 has them; what TFDS writes is read in tests/data."""
    y = np.arange(128, dtype=np.int32) % 2
    x = np.random.default_rng(0).uniform(0, 0.5, (128, 16, 16, 3)).astype(np.float32)
    x[y == 1, :, :8] += 0.5
    monkeypatch.setattr(convnets, "load", lambda name: Dataset(name, x, y, x, y, 2))
    monkeypatch.setattr(convnets, "QUICK", {"ViT": convnets.QUICK["ViT"]._replace(epochs=8)})
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        found = rounded(convnets.measure(True, "halves"))
    assert found["networks"]["ViT"]["accuracy"][0] > 0.9
    assert convnets.finding(found).startswith("Of 128 held-out images of halves")
    assert set(convnets.draw(found)) == {"convnets_halves", "convnets_time_halves"}


def test_augmentation_moves_images_in_training_only(key):
    layer, x = moved(0.1, 0.2, 0.1), draw(0, 3, 8, 8, 1)
    assert (layer.apply((), x) == x).all()
    assert not jnp.allclose(layer.apply((), x, key=key), x, atol=0.1)
    still = moved(0.0, 0.0, 0.0).apply((), x, key=key)
    assert jnp.allclose(still, x, atol=1e-5)
