"""Self-attention on made sentences, against words by themselves."""

import jax
import numpy as np
import pytest

from experiments import attention_sentiment, attention_sentiment_corpus
from experiments.attention_sentiment import ATTENTION, BAG, TURNING
from experiments.results_folder import rounded
from jaxdl.data import Texts


@pytest.fixture(scope="module")
def found():
    with jax.numpy_dtype_promotion("standard"):
        return rounded(attention_sentiment.measure(True))


def test_attention_tells_what_words_alone_do_not(found):
    assert np.mean(found["overall"][ATTENTION]) > 90
    assert np.mean(found["overall"][BAG]) < 65  # half of the sentences reverse an adjective
    for kind in TURNING:
        assert np.mean(found["accuracy"][ATTENTION][kind]) > np.mean(found["accuracy"][BAG][kind]) + 20
    share = np.mean(found["overall"][ATTENTION])
    finding = attention_sentiment.finding(found)
    assert f"held-out texts (made) one layer of self-attention classifies {share:.1f}%" in finding


def test_the_words_that_decide_are_looked_at(found):
    for received in found["received"].values():
        assert np.mean(received["attention"]) > received["words"] + 10


def test_attention_maps_are_of_whole_sentences(found):
    assert [d["kind"] for d in found["maps"]] == list(TURNING)
    for d in found["maps"]:
        weights = np.array(d["weights"])
        assert weights.shape == (len(d["words"]), len(d["words"]))
        assert np.allclose(weights.sum(1), 100, atol=0.1)  # nothing goes to padding


def test_pictures(found):
    assert all(png.startswith(b"\x89PNG") for png in attention_sentiment.draw(found).values())


def test_the_corpus_is_what_its_generator_writes():
    rows = [tuple(line.split("\t")) for line in attention_sentiment_corpus.PATH.read_text().splitlines()]
    assert rows == attention_sentiment_corpus.corpus()
    assert len({sentence for *_, sentence in rows}) == len(rows) == 1040
    for split in ("train", "test"):
        assert np.mean([label == "positive" for s, label, *_ in rows if s == split]) == 0.5


def test_two_adjectives_contrasted_in_training_are_not_held_out():
    rows = [line.split("\t") for line in attention_sentiment_corpus.PATH.read_text().splitlines()]
    judging = {*attention_sentiment_corpus.GOOD, *attention_sentiment_corpus.BAD}
    pairs = lambda split: {
        (kind, label, frozenset(judging.intersection(sentence.split())))
        for s, label, kind, sentence in rows
        if s == split and kind in ("and", "but", "although")
    }
    assert pairs("train")
    assert pairs("test")
    assert not pairs("train") & pairs("test")


def test_texts_of_others(monkeypatch):
    texts = ["A truly good one!", "bad, and long"] * 8, np.array([1, 0] * 8, np.int32)
    monkeypatch.setattr(attention_sentiment, "load_texts", lambda name, folder: Texts(name, *texts, *texts, 2))
    with jax.numpy_dtype_promotion("standard"):
        found = rounded(attention_sentiment.measure(True, "glue/sst2"))
    assert attention_sentiment.finding(found).startswith("Of 16 held-out texts (glue/sst2) one layer of")
    assert {"attention_sentiment_glue_sst2"} <= set(attention_sentiment.draw(found))
