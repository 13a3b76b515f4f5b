"""The perceptron keeps Novikoff's bound, and never ends where classes are mixed."""

import numpy as np
import pytest

from experiments import perceptron
from experiments.results_folder import rounded


@pytest.fixture(scope="module")
def data():
    return rounded(perceptron.measure(True))


def test_mistakes_stay_under_novikoffs_bound_and_grow_with_a_smaller_margin(data):
    for margin, mistakes in data["mistakes"].items():
        assert max(mistakes) <= perceptron.LONGEST_SQUARED / float(margin) ** 2
    medians = [np.median(mistakes) for mistakes in data["mistakes"].values()]
    assert medians == sorted(medians)
    assert medians[-1] >= 3 * medians[0]


def test_mixed_classes_are_never_separated(data):
    assert data["separated"]["mistakes"]["mean"][-1] < 1
    assert data["mixed"]["mistakes"]["low"][-1] > 0.08 * perceptron.POINTS
    assert perceptron.late_accuracy(data) + 0.02 < data["logistic"] < data["best possible"] + 0.01


def test_finding_and_picture(data):
    assert "Novikoff's (R/γ)²" in perceptron.finding(data)
    assert perceptron.draw(data)["perceptron"].startswith(b"\x89PNG")
