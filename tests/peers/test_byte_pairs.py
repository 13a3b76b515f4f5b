"""CLIP's tokenizer against that of transformers, with a vocabulary learnt from a few texts."""

import itertools
import json
import os
from collections import Counter

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pytest

from jaxdl.data import byte_pairs
from jaxdl.data.byte_pairs import BytePairTokenizer

transformers = pytest.importorskip("transformers", reason="needs transformers: pip install '.[peers]'")

TEXTS = [
    "a photo of a cat", "a photo of the number seven, 1234567890!",
    "The quick brown fox jumps over the lazy dog.", "it's we're I'LL they've I'm he'd don't o'clock 'sup 'tis",
    "rock 'n' roll ''' 's's 're", "e-mail: a.b@c.de #tag 50%", "naïve café coöperate Ångström",
    "cafe\u0301 A\u030angstro\u0308m", "Straße GROẞE", "Ελληνικά γράμματα", "ЁЛКА ёлка", "日本語のテキスト 東京 2024年",
    "한국어 문장", "ह\u093fन\u094dद\u0940 म\u0947\u0902 प\u093eठ", "ไทย", "עברית العربية", "İstanbul ılık",
    "🙂 👩\u200d👩\u200d👧 🇩🇪 ❤\ufe0f!!", "½ ² ③ Ⅷ ٣ 四", "a\tb\n\nc\xa0d\u2003e\u3000f",
    "\x1c\x1d a \x00 \u200b b\u200dc \ufeff", "<|> | <b>x</b> </w>", "...---...!?!?", "x=3*(y+2)^2; y≈∞ → ∑",
    "$5 €7 £9 ¥11", "snake_case __dunder__ CamelCase", "«quotes» “curly” ‘single’", "<|endoftext|>",
    "a <|startoftext|> b", "", " ", "a", "'", "\u0301", "ﬁ ﬂ Ǆ ǆ", "𝒜𝓁𝓅𝒽𝒶 𝟘𝟙", "😀\U0010ffff",
]  # fmt: skip


def learnt(texts, count):
    """The merges that byte-pair encoding learns: repeatedly the most frequent pair of neighbours."""
    letters = byte_pairs._letters_of_bytes()
    parts = lambda word: tuple(letters[b] for b in word.encode())
    split = [
        (*w[:-1], w[-1] + "</w>") for text in texts for w in map(parts, byte_pairs.words(byte_pairs.cleaned(text)))
    ]
    merges = []
    for _ in range(count):
        neighbours = Counter(pair for word in split for pair in itertools.pairwise(word))
        if not neighbours:
            break
        merges.append(max(neighbours, key=lambda pair: (neighbours[pair], pair)))
        split = [byte_pairs.merged(word, merges[-1]) for word in split]
    return merges


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    merges = learnt(TEXTS[:30], 150)
    letters = list(byte_pairs._letters_of_bytes().values())
    tokens = [*letters, *(c + "</w>" for c in letters), *map("".join, merges), "<|startoftext|>", "<|endoftext|>"]
    path = folder / "merges.txt"
    path.write_text("\n".join(["#version: 0.2", *map(" ".join, merges), ""]), encoding="utf-8")
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}), encoding="utf-8")
    return BytePairTokenizer(path), transformers.CLIPTokenizer.from_pretrained(folder)


def assert_same(both, texts):
    ours, theirs = both
    rows = ours.encode(texts, length=1000)
    for text, row in zip(texts, rows, strict=True):
        want = theirs(text).input_ids
        assert row[: len(want)].tolist() == want, repr(text)
        assert not row[len(want) :].any(), repr(text)


def test_tokens_equal_those_of_transformers(both):
    assert_same(both, TEXTS)


def test_tokens_of_random_texts_equal_those_of_transformers(both):
    """Letters of many scripts, digits, punctuation and spaces, mixed."""
    random = np.random.default_rng(0)
    letters = sorted({c for text in TEXTS for c in text} | set("'strevmld0123 <|>"))
    assert_same(both, ["".join(random.choice(letters, random.integers(1, 40))) for _ in range(2000)])


def test_decoded_texts_equal_those_of_transformers(both):
    ours, theirs = both
    texts = TEXTS[:20]
    rows = ours.encode(texts)
    assert ours.decode(rows) == [theirs.decode(theirs(text).input_ids, skip_special_tokens=True) for text in texts]
