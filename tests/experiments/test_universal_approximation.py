"""Sums of ReLUs come nearer as the square of the width, by construction."""

import pytest

from experiments import universal_approximation
from experiments.results_folder import rounded
from experiments.universal_approximation import approximation, generalisation


@pytest.fixture(scope="module")
def data():
    return rounded(universal_approximation.measure(True))


def test_the_error_by_construction_falls_as_the_square_of_the_width(data):
    for function in data["functions"].values():
        assert approximation.slope(function["built"]) == pytest.approx(-2, abs=0.25)


def test_six_relus_and_trained_networks_follow_the_cubic(data):
    cubic = data["functions"]["x³ + x² − x − 1"]  # whose values lie in [−3, 9]
    assert data["lecture"]["max"] == pytest.approx(2.3, abs=1e-3)  # at x = 2: 6.7 in place of 9
    assert data["lecture"]["rms"] < data["lecture"]["max"]
    for by_width in cubic["fitted"].values():
        assert by_width["16"]["max"] < 1


def test_the_six_relus_one_by_one(data):
    six = data["six"]
    assert six["formulas"][0] == "−relu(−5x − 7.7)"
    assert six["formulas"][3] == "+relu(1.2x − 0.2)"
    assert six["apart"] < 1e-5  # they add up to the model
    assert six["terms"][0][0] == pytest.approx(-2.3)  # at x = −2
    assert six["terms"][5][-1] == pytest.approx(5)  # at x = 2


def test_wide_networks_fit_noise(data):
    training, held_out = (generalisation.medians(data["generalisation"], kind) for kind in ("training", "held-out"))
    assert training[64] < training[2]
    assert training[64] < 0.8 * generalisation.NOISE < held_out[64]


def test_more_dimensions_need_more_width(data):
    one, two = data["generalisation"]["dimensions"].values()
    assert one["64"] < 0.5 * two["64"]


def test_finding_and_pictures(data):
    assert "The lecture's six ReLUs come within 2.3" in universal_approximation.finding(data)
    assert all(png.startswith(b"\x89PNG") for png in universal_approximation.draw(data).values())
