"""CLIP's tokenizer on merges made by hand, in both published forms of the file."""

import gzip

import numpy as np
import pytest

from jaxdl.data.byte_pairs import BytePairTokenizer, cleaned, words

MERGES = ["l o", "lo w</w>", "e r</w>", "lo w", "n e", "ne w", "' s</w>", "Ã ©</w>"]
START, END = 512 + len(MERGES), 513 + len(MERGES)


@pytest.fixture
def tokenizer(tmp_path):
    path = tmp_path / "merges.txt"
    path.write_text("\n".join(["#version: 0.2", *MERGES, ""]), encoding="utf-8")
    return BytePairTokenizer(path)


def number(token):
    """A merge's number, or that of an ASCII letter, by itself or at the end of a word."""
    joined = [merge.replace(" ", "") for merge in MERGES]
    if token in joined:
        return 512 + joined.index(token)
    return ord(token[0]) - ord("!") + 256 * token.endswith("</w>")


SPLITS = {
    "low": ["low</w>"],
    "lower": ["low", "er</w>"],  # l o w e r</w> → lo w e r</w> → lo w er</w> → low er</w>
    "new": ["ne", "w</w>"],  # "ne w" has no end of a word
    "newer": ["new", "er</w>"],
    "Low  LOW": ["low</w>", "low</w>"],
    "low's": ["low</w>", "'s</w>"],
    "low,low": ["low</w>", ",</w>", "low</w>"],
    "12": ["1</w>", "2</w>"],
    "!?": ["!", "?</w>"],
    "&amp;lt;": ["<</w>"],
    "e\u0301": ["Ã©</w>"],  # composed to é, the bytes C3 A9
    "": [],
}


@pytest.mark.parametrize("text", SPLITS)
def test_splits_by_hand(tokenizer, text):
    (row,) = tokenizer.encode([text], length=10)
    want = [START, *map(number, SPLITS[text]), END]
    assert row.tolist() == want + [0] * (10 - len(want))


def test_numbers_and_shape(tokenizer):
    tokens = tokenizer.encode(["low", "new low"])
    assert tokens.shape == (2, 77)
    assert tokens.dtype == np.int32
    assert (tokenizer.size, tokenizer.start, tokenizer.end) == (END + 1, START, END)
    assert tokens.max(1).tolist() == [END, END]  # where CLIP reads its features
    assert tokenizer.encode([]).shape == (0, 77)


def test_openais_file_gives_the_same(tokenizer, tmp_path):
    """Compressed, with another first line."""
    path = tmp_path / "bpe_simple_vocab_16e6.txt.gz"
    path.write_bytes(gzip.compress("\n".join(['"bpe_simple_vocab_16e6.txt#version: 0.2', *MERGES, ""]).encode()))
    texts = list(SPLITS)
    assert (BytePairTokenizer(path).encode(texts) == tokenizer.encode(texts)).all()
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"16e6.txt.gz is damaged .*copy or download it again"):
        BytePairTokenizer(path)


def test_only_clips_merges_of_a_longer_file_are_used(tmp_path):
    path = tmp_path / "merges.txt"
    path.write_text("\n".join(["#version: 0.2", *(f"{i} x" for i in range(60_000))]))
    tokenizer = BytePairTokenizer(path)
    assert (tokenizer.size, tokenizer.start, tokenizer.end) == (49_408, 49_406, 49_407)


def test_decoding(tokenizer):
    texts = ["the lower, newer one's café: 12 🙂!", "İstanbul <b> naïve 東京", ""]
    assert tokenizer.decode(tokenizer.encode(texts)) == ["the lower , newer one 's café : 1 2 🙂!", *(
        " ".join(words(cleaned(text))) for text in texts[1:]
    )]  # fmt: skip
    with pytest.raises(ValueError, match=rf"decode: tokens must be 0 … {END}, got {END + 1}"):
        tokenizer.decode([[START, END + 1, END]])


def test_special_tokens_in_a_text(tokenizer):
    (row,) = tokenizer.encode(["low<|endoftext|>"], length=4)
    assert row.tolist() == [START, number("low</w>"), END, END]


def test_texts_that_are_too_long(tokenizer):
    with pytest.raises(ValueError, match=r"encode: 'low low low' has 5 tokens with start and end, but only 4 fit: .*"):
        tokenizer.encode(["low", "low low low"], length=4)
    rows = tokenizer.encode(["low", "low low low"], length=4, truncate=True)
    low = number("low</w>")
    assert rows.tolist() == [[START, low, END, 0], [START, low, low, END]]
    with pytest.raises(TypeError, match=r"encode: texts must be a list of texts, got one: \['low'\]"):
        tokenizer.encode("low")


def test_words():
    assert words("we're here: it's 10² o'clock!") == [
        "we", "'re", "here", ":", "it", "'s", "1", "0", "²", "o", "'", "clock", "!",
    ]  # fmt: skip
    assert words("naïve 東京 ½ _a_ don't") == ["naïve", "東京", "½", "_", "a", "_", "don", "'t"]
    assert cleaned(" A\t\u00a0B\u2003\nC&nbsp;D ") == "a b c d"


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "vocab.json"
    path.write_text('{"!": 0, "low": 1}')
    with pytest.raises(ValueError, match=r"vocab.json: the first line must contain #version"):
        BytePairTokenizer(path)
    path.write_text("#version: 0.2\nl o\nlow\n")
    with pytest.raises(ValueError, match=r"vocab.json: line 3 must be a pair, got 'low'"):
        BytePairTokenizer(path)


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "merges.txt.gz"
    whole = gzip.compress("\n".join(["#version: 0.2", *MERGES, ""]).encode())
    broken = [whole[:-3], whole[:30], whole[:20] + bytes([whole[20] ^ 255]) + whole[21:], whole[:-6] + bytes(6)]
    for content in broken:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"merges.txt.gz is damaged .*: copy or download it again"):
            BytePairTokenizer(path)
    path.write_bytes(b"#version: 0.2\n\xff\xfe a\n")
    with pytest.raises(ValueError, match="is not text in UTF-8"):
        BytePairTokenizer(path)
