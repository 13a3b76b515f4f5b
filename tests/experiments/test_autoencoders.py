"""Autoencoders: the substance of each finding, after little training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.autoencoders import QUESTIONS, curve, inpainting
from experiments.results_folder import rounded


class Measured(dict):
    """The data of each question, measured when a test asks for it: workers share the tests of this file."""

    def __missing__(self, name):
        with jax.numpy_dtype_promotion("standard"):
            self[name] = rounded(QUESTIONS[name].measure(True))
        return self[name]


@pytest.fixture(scope="module")
def data():
    return Measured()


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


def test_points_near_a_curve_are_moved_onto_it(data):
    d = data["curve"]
    assert d["after"][curve.BEST] < d["after"][curve.NETWORK] < 0.4 * d["before"]
    assert d["from best"] < 0.4 * d["before"]
    assert curve.beyond_noise(d, curve.NETWORK) > 0.98


def test_the_best_answer_on_a_line_is_the_nearest_point():
    line = np.stack([np.linspace(-2, 2, 4001), np.zeros(4001)], 1)
    noisy = np.array([[0.3, 0.2], [-0.5, -0.1]])
    assert np.allclose(curve.posterior_mean(noisy, line), [[0.3, 0], [-0.5, 0]], atol=1e-3)
    assert np.allclose(curve.distance(noisy, line), [0.2, 0.1], atol=1e-3)


def test_missing_pixels_are_restored_better_than_by_pca(data):
    error = data["inpainting"]["error"]
    for kind in inpainting.HALVES:
        assert error[inpainting.NETWORK][kind] < error[inpainting.GAUSSIAN][kind] < error[inpainting.MEAN][kind]
    for kind in inpainting.SCATTERED:
        assert error[inpainting.GAUSSIAN][kind] < error[inpainting.BY_PCA][kind] < error[inpainting.MEAN][kind]
        assert error[inpainting.NETWORK][kind] < 0.9 * error[inpainting.MEAN][kind]


def test_present_pixels_alone_decide_what_pca_and_the_gaussian_answer():
    """Digits of the model itself: a plane through the mean is restored exactly, whatever stands in missing pixels."""
    random = np.random.default_rng(0)
    mean, components = np.full(64, 0.5), np.linalg.qr(random.standard_normal((64, 3)))[0].T
    x = (mean + 0.3 * random.uniform(-1, 1, (20, 3)) @ components).reshape(20, 8, 8, 1)
    missing = inpainting.masks(x.shape)["left half"]
    hidden = np.where(missing, 9.0, x)
    assert np.allclose(inpainting.projected(hidden, missing, mean, components), x)
    assert np.allclose(inpainting.conditional_mean(hidden, missing, mean, components.T @ components), x, atol=0.01)


def test_training_erases_pixels_and_halves(key):
    erased = np.asarray(inpainting.erase(key, jnp.zeros((400, 8, 8, 1))))[..., 0] == inpainting.MISSING
    whole_lines = lambda axis: (erased.all(axis) == erased.any(axis)).all(1) & erased.any((1, 2))
    rows, columns = whole_lines(2), whole_lines(1)
    assert rows.mean() == pytest.approx(0.25, abs=0.08)
    assert columns.mean() == pytest.approx(0.25, abs=0.08)
    assert erased[~rows & ~columns].mean() == pytest.approx(0.5, abs=0.08)


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
