"""Characters and words as numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import nn
from jaxdl.data.tokens import UNKNOWN, CharacterTokenizer, WordTokenizer, words


def test_characters_end_with_the_largest_number():
    tokenizer = CharacterTokenizer(["bad", "cab"])
    assert (tokenizer.size, tokenizer.end) == (6, 5)
    tokens = tokenizer.encode(["dab", "", "abc"], length=4)
    assert tokens.dtype == np.int32
    assert tokens.tolist() == [[4, 1, 2, 5], [5, 0, 0, 0], [1, 2, 3, 5]]
    assert tokenizer.decode(tokens) == ["dab", "", "abc"]


def test_an_alphabet_does_as_well_as_texts():
    texts = ["ein Foto", "Ὀδύσσεια 7"]
    tokenizer = CharacterTokenizer("".join(texts))
    assert np.array_equal(tokenizer.encode(texts, length=12), CharacterTokenizer(texts).encode(texts, length=12))
    assert tokenizer.decode(tokenizer.encode(texts, length=12)) == texts


def test_the_text_tower_reads_at_the_end(key):
    """What stands behind the end, and how much of it, changes nothing."""
    tokenizer = CharacterTokenizer("abc")
    tower = nn.text_tower(3, vocabulary=tokenizer.size, width=4, depth=1, heads=1)
    tokens = tokenizer.encode(["ab", "cab"], length=6)
    params = tower.init(key, jax.ShapeDtypeStruct((6,), jnp.int32))
    behind = np.where(np.cumsum(tokens == tokenizer.end, 1) - (tokens == tokenizer.end), 1, tokens)
    assert not np.array_equal(behind, tokens)
    assert np.allclose(tower.apply(params, tokens), tower.apply(params, behind), atol=1e-6)
    assert not np.allclose(tower.apply(params, tokens)[0], tower.apply(params, tokens)[1], atol=1e-2)


def test_what_characters_cannot_be_encoded():
    tokenizer = CharacterTokenizer("abc")
    with pytest.raises(ValueError, match=r"the character 'x' is unknown, the known ones are 'abc': build"):
        tokenizer.encode(["abx"], length=8)
    with pytest.raises(ValueError, match=r"'abc' has 4 tokens, but only 3 fit: pass a larger length"):
        tokenizer.encode(["ab", "abc"], length=3)
    with pytest.raises(TypeError, match=r"must be a list of texts, got one: \['abc'\]"):
        tokenizer.encode("abc", length=8)
    with pytest.raises(ValueError, match=r"decode: tokens must be 0 … 4, got 5"):
        tokenizer.decode(np.array([[1, 5]]))
    with pytest.raises(ValueError, match=r"decode: tokens must be \(n, length\), got \(2,\)"):
        tokenizer.decode(np.array([1, 2]))
    with pytest.raises(ValueError, match="at least one character, got none"):
        CharacterTokenizer([])


def test_words_by_frequency():
    tokenizer = WordTokenizer(["The film, the FILM!", "the end"])
    assert tokenizer.vocabulary[2:] == ["the", "film", "end"]
    tokens = tokenizer.encode(["End of the film"], length=6)
    assert tokens.dtype == np.int32
    assert tokens.tolist() == [[4, UNKNOWN, 2, 3, nn.sentiment.PADDING, nn.sentiment.PADDING]]
    assert tokenizer.decode(tokens) == ["end <unknown> the film"]
    assert WordTokenizer(["b a c c"], most=2).vocabulary[2:] == ["c", "a"]


def test_words_are_lower_case_with_their_apostrophes():
    assert words("Don't – it’s «GOOD», 10/10, naïve…") == ["don't", "it's", "good", "10", "10", "naïve"]
    assert words(" ?! ") == []


def test_what_words_cannot_be_encoded():
    tokenizer = WordTokenizer(["a good film"])
    with pytest.raises(ValueError, match="'a good film' has 3 tokens, but only 2 fit"):
        tokenizer.encode(["a good film"], length=2)
    assert tokenizer.encode(["a good film"], length=2, truncate=True).shape == (1, 2)
    with pytest.raises(TypeError, match="must be a list of texts, got one"):
        WordTokenizer("a good film")
    with pytest.raises(ValueError, match="at least one word, got none"):
        WordTokenizer(["?"])
    with pytest.raises(ValueError, match="got -1"):
        tokenizer.decode(np.array([[-1]]))


@pytest.mark.parametrize("most", [0, -1, 1.5])
def test_an_impossible_number_of_words_is_named(most):
    with pytest.raises(ValueError, match="WordTokenizer: most must be a whole number, 1 or more, or None, got"):
        WordTokenizer(["a b"], most=most)
