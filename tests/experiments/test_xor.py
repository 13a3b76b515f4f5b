"""XOR: the lectures' numbers, and how often networks of several widths learn it."""

import numpy as np
import pytest

from experiments import xor
from experiments.results_folder import rounded
from experiments.xor import capacity, pictures


@pytest.fixture(scope="module")
def data():
    return xor.measure(True)


@pytest.fixture(scope="module")
def kept(data):
    read_back = rounded(data)
    return xor.finding(read_back), xor.draw(read_back)


def test_no_linear_network_fits_xor(data):
    for fit in ("linear", "descent", "hidden"):
        assert np.allclose(data["fits"][fit]["w"], 0, atol=1e-4)
        assert np.allclose(data["fits"][fit]["b"], 0.5, atol=1e-4)
    assert data["fits"]["hidden"]["apart"] < 1e-5  # the hidden layer collapses
    assert data["fits"]["best_line"] == 3


def test_features_and_two_relus_do(data):
    assert np.allclose(data["fits"]["features"]["w"], [1, 1, -2], atol=1e-5)
    assert np.asarray(data["fits"]["relu"]["outputs"]).tolist() == [0, 1, 1, 0]
    assert np.asarray(data["fits"]["relu"]["hidden"]).tolist() == [[0, 0], [1, 0], [1, 0], [2, 1]]


def test_wider_networks_learn_it_from_more_seeds(data):
    share = pictures.shares(data)
    assert share[1] == 0
    assert 0 < share[2] < share[4] < share[8] <= share[16]
    assert share[2] < 0.4
    assert share[16] >= 0.95


def test_the_linear_surface_has_its_minimum_at_w_0_and_b_half(data):
    surface = np.asarray(data["surfaces"]["linear"])
    assert surface.min() == pytest.approx(0.25, abs=1e-6)
    middle = len(surface) // 2
    assert np.unravel_index(surface.argmin(), surface.shape) == (middle, middle)


def test_features_need_fewer_examples_than_a_wide_network(data):
    models = data["capacity"]["models"]
    few = {name: capacity.medians(model)[8] for name, model in models.items()}
    many = {name: capacity.medians(model)[64] for name, model in models.items()}
    assert few[capacity.FEATURES] > few["64 ReLUs"] + 0.02
    assert many[capacity.FEATURES] > capacity.GOOD - 0.02
    assert many[capacity.LINEAR] < 0.75
    assert [models[name]["parameters"] for name in capacity.QUICK] == [3, 4, 257]


def test_the_best_accuracy_is_that_of_the_nearest_corner(key):
    x, y = capacity.points(key, 40_000)
    nearest = (x[:, 0] > 0.5) ^ (x[:, 1] > 0.5)
    assert float((nearest == y.astype(bool)).mean()) == pytest.approx(capacity.best_accuracy(), abs=0.005)


def test_finding_and_pictures(kept):
    finding, pngs = kept
    assert "w = (0, 0), b = 0.5" in finding
    assert "no line gets more than 3 of 4 points right" in finding
    assert pngs.keys() == {"xor", "xor_training", "xor_surfaces", "xor_capacity"}
    assert all(png.startswith(b"\x89PNG") for png in pngs.values())
