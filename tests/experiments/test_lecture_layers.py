"""The lecture's layers as objects with a cache, and the same network as a pure function."""

import numpy as np
import pytest

from experiments import lecture_layers
from experiments.results_folder import rounded


@pytest.fixture(scope="module")
def found():
    return rounded(lecture_layers.measure(True))


def test_conv_has_the_lectures_numbers():
    layer, image = lecture_layers.Conv(), np.array([[[12.0, 3, 19], [25, 10, 1], [9, 7, 17]]])
    assert layer.forward(np.array([[[1.0, 2], [3, 4]]]), image)[0, :, :, 0].tolist() == [[133, 75], [100, 101]]
    dx, dW = layer.backward(np.array([[1.0, 10], [100, 1000]])[None, :, :, None])
    assert dW[0].tolist() == [[12542, 2193], [8025, 17720]]  # Σ dout[i, j] · patch
    assert dx[0].tolist() == [[1, 12, 20], [103, 1234, 2040], [300, 3400, 4000]]


def test_gradients_are_those_of_the_pure_function(found):
    assert set(found["errors"]) == {"Conv", "Linear", "x"}
    assert all(error < 20 for errors in found["errors"].values() for error in errors.values())


def test_what_is_cached_is_what_the_rule_keeps(found):
    sizes = {
        name: [lecture_layers.layer_bytes(layer[what]) for what in ("cache", "residuals")]
        for name, layer in found["kept"].items()
    }
    assert sizes["Conv"][0] == sizes["Conv"][1] > 0
    assert sizes["Linear"][0] == sizes["Linear"][1] > 0
    assert sizes["SCELoss"][0] == 2 * sizes["SCELoss"][1] > 0
    assert list(found["kept"]["SCELoss"]["residuals"]) == ["slope"]


def test_both_forms_train_alike(found):
    training = found["training"]
    np.testing.assert_allclose(training["losses"]["lecture"], training["losses"]["functions"], rtol=1e-4)
    assert training["losses"]["lecture"][-1] < np.log(10)
    assert training["apart"] < 1e-4


def test_the_page_has_the_code_of_both(found):
    html = lecture_layers.page(found).html()
    assert "class Sequential" in html
    assert "ops.conv2d(" in html
    assert lecture_layers.finding(found) in html.replace("&#x27;", "'")
    assert lecture_layers.draw(found)["lecture_layers"].startswith(b"\x89PNG")
