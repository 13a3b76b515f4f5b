"""Autoencoders: the substance of each finding, after little training."""

import jax
import pytest

from experiments.autoencoders import QUESTIONS
from experiments.results_folder import rounded


@pytest.fixture(scope="module")
def data():
    with jax.numpy_dtype_promotion("standard"):
        return {name: rounded(question.measure(True)) for name, question in QUESTIONS.items()}


def test_the_linear_autoencoder_is_pca(data):
    for course in data["pca"].values():
        assert course["decoder_angle"][0] > 1
        assert course["decoder_angle"][-1] < 1e-3
        assert -1e-9 < course["excess"][-1] < 1e-5


def test_reconstructions_beat_the_mean_digit(data):
    d = data["reconstructions"]
    assert max(d["test"].values()) < 0.7 * d["variance"]
    assert d["pca"]["32"] < d["test"]["linear, 32"] < 0.1 * d["variance"]  # none linear is better than PCA
    assert d["test"]["convolutional, 8"] < 0.4 * d["variance"]


def test_depth_pays_in_small_codes(data):
    d = data["code_size"]
    assert d["deep"]["test"][0] > d["deep"]["test"][-1]
    assert all(deep < linear for deep, linear in zip(d["deep"]["test"], d["linear"]["test"], strict=True))


def test_interpolated_codes_are_nearer_to_digits_than_mixed_pixels(data):
    distance = data["interpolation"]["distance"]
    assert distance["ends"] < distance["code"] < distance["pixels"]
    assert data["interpolation"]["sure"]["code"] < data["interpolation"]["sure"]["ends"]


def test_samples_of_one_gaussian_are_not_convincing(data):
    sure = data["samples"]["sure"]
    assert sure["diagonal, 8"] < 0.7 * sure["one a digit, 8"]
    assert sure["diagonal, 8"] < 0.6 * sure["real digits"]


def test_noise_is_removed_by_training_with_it(data):
    d = data["denoising"]
    for noisy, restored, plain in zip(d["noisy"], d["restored"], d["plain"], strict=True):
        assert restored < 0.3 * noisy
        assert restored < 0.8 * plain


def test_the_squared_error_predicts_the_mean_of_two_answers(data):
    roots, bars = data["multimodal"]["roots"], data["multimodal"]["bars"]
    assert roots["to_mean"] < 0.1
    assert roots["to_mode"]["squared error"] > 0.6
    assert roots["to_mode"]["drawn"] < 0.15
    assert bars["to_mean"] < 0.3 * bars["to_mode"]["squared error"]
    assert bars["right"]["squared error"] < 0.05
    assert bars["right"]["drawn"] > 0.9


def test_the_jacobian_has_no_more_directions_than_the_code(data):
    d = data["spectrum"]
    assert all(nonzero <= size for nonzero, size in zip(d["nonzero"], d["size"], strict=True))
    assert all(used > 0.9 * size for used, size in zip(d["used"], d["size"], strict=True))


@pytest.mark.parametrize("name", QUESTIONS)
def test_finding_and_picture(name, data):
    assert QUESTIONS[name].finding(data[name]).endswith(".")
    assert QUESTIONS[name].draw(data[name]).startswith(b"\x89PNG")
