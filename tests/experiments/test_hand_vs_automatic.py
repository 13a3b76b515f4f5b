"""Hand against automatic over families of models: the tiny ones of the quick run."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import hand_vs_automatic
from experiments.hand_vs_automatic import sentences, tables
from experiments.hand_vs_automatic.families import FAMILIES, Point, problem
from experiments.results_folder import rounded
from jaxdl import nn


@pytest.fixture(scope="module")
def found():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return json.loads(json.dumps(rounded(hand_vs_automatic.measure(True))))


def test_every_family_has_every_side(found):
    assert list(found["families"]) == ["MLPs", "convolutional networks"]
    for family in found["families"].values():
        for model in family["models"]:
            for order in ("first", "second"):
                assert {"hand", "automatic", "stock", "tuned"} == model[order].keys()
                assert model[order]["automatic"]["time"] == 1
                assert model[order]["hand"]["difference"] < 1e-4
                assert all(side["time"] > 0 and side["ulp"] < 1000 for side in model[order].values())
            kept = {name: side["residuals"] for name, side in model["first"].items()}
            assert kept["hand"] <= kept["automatic"]
    pooled = found["families"]["convolutional networks"]["models"][0]["first"]
    assert pooled["hand"]["residuals"] < pooled["automatic"]["residuals"]


def test_causes_are_measured_rule_by_rule(found):
    (at,) = found["families"]["convolutional networks"]["causes"]
    assert {"conv2d", "dense", "max_pool", "relu", "softmax_cross_entropy_with_integer_labels"} <= at["rules"].keys()
    with_rule, without = at["rules"]["max_pool"]["residuals"]
    assert with_rule < without


def test_the_finding_is_in_the_data(found):
    sentence = sentences.finding(found)
    families = found["families"]
    said = re.search(r"takes ([\d.]+) and ([\d.]+) of the automatic one's time", sentence)
    for text, family in zip(said.groups(), families.values(), strict=True):
        times = [m["first"]["hand"]["time"] for m in family["models"]]
        assert float(text) == pytest.approx(np.prod(times) ** (1 / len(times)), abs=0.006)


def test_reasons_are_rules_that_clearly_change_the_time():
    rule = lambda time, low, high: {"time": time, "quartiles": [low, high], "residuals": [4e4, 8e4]}
    rules = {"fast": rule(0.5, 0.4, 0.6), "unsure": rule(0.8, 0.7, 1.1), "slow": rule(1.3, 1.2, 1.4)}
    family = {"causes": [{"rules": rules}, {"rules": {"fast": rule(0.8, 0.7, 0.9)}}]}
    assert sentences.causes(family) == "fast 2.00×"
    assert sentences.saved(family) == "fast 0.50×, unsure 0.50×, slow 0.50×"


def test_the_page_has_every_model_and_rule(found):
    html = tables.page(found).html()
    assert html.index("By hand a training gradient takes") < html.index("The three families")
    assert all(name in html for name in found["families"])
    assert "softmax cross entropy with integer labels" in html
    assert "depth 2, width 8, batch 4" in html
    assert all(png.startswith(b"\x89PNG") for png in hand_vs_automatic.draw(found).values())


def test_one_number_is_changed_at_a_time():
    for family in FAMILIES.values():
        points = family.points()
        assert points[0] == family.base
        assert all(sum(a != b for a, b in zip(point, family.base, strict=True)) <= 1 for point in points)
        assert len(points) == 7


def test_the_deepest_autoencoder_is_that_of_the_lectures():
    shapes = lambda model: [
        p.shape for p in jax.tree.leaves(jax.eval_shape(lambda: model.init(jax.random.key(0), (28, 28, 1))))
    ]
    assert shapes(FAMILIES["autoencoders"].make(5, 32)) == shapes(nn.conv_autoencoder(8))
    loss, params = problem(FAMILIES["autoencoders"], Point(3, 1, 1))
    assert jnp.isfinite(loss(params))
