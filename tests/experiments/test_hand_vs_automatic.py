"""Hand against automatic over models: two of them."""

import re

import jax
import pytest

from experiments import hand_vs_automatic


@pytest.fixture(scope="module")
def found():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return hand_vs_automatic.measure(True)


def test_by_hand_less_is_kept_and_answers_are_the_same(found):
    for model in found.values():
        assert model["residuals"][0] < model["residuals"][1]
        assert model["difference"] < 1e-4
        assert model["stock"]["residuals"] > model["residuals"][0]
        assert model["stock"]["time"] > 0
    assert {"attention", "dense"} <= {site["rule"] for site in found["sentiment classifier"]["sites"]}


def test_the_finding_is_in_the_data(found):
    sentence = hand_vs_automatic.finding(found)
    residuals = [max(m["residuals"][0], 4096) / max(m["residuals"][1], 4096) for m in found.values()]
    said = float(re.search(r"keeps ([\d.]+) of its residuals", sentence).group(1))
    stock = float(re.search(r"stock functions take ([\d.]+) of", sentence).group(1))
    times = [m["stock"]["time"] for m in found.values()]
    assert stock == pytest.approx((times[0] * times[1]) ** 0.5, abs=0.006)
    assert said == pytest.approx((residuals[0] * residuals[1]) ** 0.5, abs=0.006)


def test_the_page_has_every_model_and_rule(found):
    html = hand_vs_automatic.page(found).html()
    assert all(name in html for name in found)
    assert "softmax cross entropy with integer labels" in html
    assert hand_vs_automatic.draw(found)["hand_vs_automatic"].startswith(b"\x89PNG")
