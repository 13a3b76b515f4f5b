"""The backward pass costs about twice the forward pass, and what it keeps grows with depth, less with checkpoints."""

import pytest

from experiments import backprop_cost
from experiments.results_folder import rounded


@pytest.fixture(scope="module")
def data():
    return rounded(backprop_cost.measure(True))


def test_backward_computes_about_twice_the_forward_pass(data):
    deep = data["relu"]["8"]
    assert deep["hand"]["flops_over_forward"] == pytest.approx(2, abs=0.2)
    assert deep["automatic"]["flops_over_forward"] == pytest.approx(2, abs=0.2)
    assert deep["each layer"]["flops_over_forward"] == pytest.approx(3, abs=0.25)


def test_what_is_kept_grows_with_depth(data):
    kept = lambda way: [d[way]["kept_bytes"] / backprop_cost.ACTIVATION_BYTES for d in data["relu"].values()]
    assert kept("hand")[1] - kept("hand")[0] == 6 * 1.25  # each layer's output, and a byte an element of ReLU's mask
    assert kept("automatic") == kept("hand")  # besides arrays of zeros, which a compiler removes
    assert kept("√depth groups")[1] < kept("each layer")[1] < kept("hand")[1]
    assert data["kept a layer"]["gelu"]["hand"] < data["kept a layer"]["gelu"]["automatic"]


def test_models_too(data):
    assert all(1 < d["operations"] < 2.5 for d in data["models"].values())
    assert all(d["time"]["ratio"] > 0 for d in data["models"].values())


def test_finding_and_picture(data):
    assert "At depth 8 the backward pass computes" in backprop_cost.finding(data)
    assert "Of 2 models the backward pass computes" in backprop_cost.finding(data)
    assert all(picture.startswith(b"\x89PNG") for picture in backprop_cost.draw(data).values())
