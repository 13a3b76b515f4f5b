"""CLIP on digits: after little training the nearest caption is right for most images it was never shown."""

import jax
import numpy as np
import pytest

from experiments import clip_digits
from experiments.results_folder import rounded
from jaxdl import data


@pytest.fixture(scope="module")
def found():
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return rounded(clip_digits.measure(True))


def test_the_nearest_caption_is_right(found):
    run = found["runs"][clip_digits.VARIED]
    assert run["accuracy"][clip_digits.FIRST] > 60  # of 100, 10 by chance
    assert run["precision"][clip_digits.FIRST] > 60
    assert clip_digits.finding(found).startswith("On 360 held-out digits the nearest of ten captions")


def test_batches_have_one_image_of_each_digit():
    labels = data.load("digits").train_y
    rows = clip_digits.one_of_each(labels, 5, np.random.default_rng(0))
    assert (labels[rows] == np.arange(10)).all()


def test_captions_with_random_letters_have_the_name_in_them():
    random = np.random.default_rng(0)
    texts = [clip_digits.among_letters("seven", random) for _ in range(200)]
    assert all("seven" in text and len(text) < clip_digits.LENGTH for text in texts)
    assert len(set(texts)) > 150


def test_pictures(found):
    assert all(png.startswith(b"\x89PNG") for png in clip_digits.draw(found).values())
