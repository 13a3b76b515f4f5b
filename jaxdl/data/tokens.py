"""Texts as rows of numbers, one for each character or word."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

PADDING = 0  # what fills a row after a shorter text
UNKNOWN = 1  # a word that the vocabulary does not have

WORDS = re.compile(r"\w+(?:'\w+)*")


class CharacterTokenizer:
    """Characters to numbers and back.

    texts are those whose characters it is to know, or an alphabet. 0 is padding, then come the characters in Unicode's
    order, and last `end`, which follows every text. `size` counts them all. `jaxdl.nn.text_tower` reads a text at its
    largest number: at its end.
    """

    def __init__(self, texts: Iterable[str]):
        characters = sorted(set("".join(texts)))
        if not characters:
            raise ValueError("CharacterTokenizer: texts must have at least one character, got none")
        self._numbers = {character: number for number, character in enumerate(characters, 1)}
        self._characters = "".join(characters)
        self.end = len(characters) + 1
        self.size = len(characters) + 2

    def encode(self, texts: Sequence[str], *, length: int) -> np.ndarray:
        """int32 (n, length): a text's characters, the end, and zeros.

        Raises ValueError for a character that is not known, or a text with no place for its end.
        """
        _check_list(texts)
        return _padded([[*map(self._number, text), self.end] for text in texts], texts, length)

    def decode(self, tokens: np.ndarray) -> list[str]:
        """The texts of (n, length) tokens, each up to its end."""
        _check_range(tokens, self.size)
        return ["".join(self._characters[t - 1] for t in self._up_to_end(row)) for row in np.asarray(tokens).tolist()]

    def _number(self, character):
        if character not in self._numbers:
            raise ValueError(
                f"encode: the character {character!r} is not known, only {self._characters!r} are: "
                f"build the tokenizer from texts that have it"
            )
        return self._numbers[character]

    def _up_to_end(self, row):
        row = row[: row.index(self.end)] if self.end in row else row
        return [token for token in row if token != PADDING]


class WordTokenizer:
    """Words in lower case to numbers and back; punctuation is left out.

    The vocabulary is that of the texts, the most frequent words first and equally frequent ones in alphabetical order,
    `most` of them at most. 0 is padding (`jaxdl.nn.sentiment.PADDING`), 1 stands for all other words; `size` counts
    them all.
    """

    def __init__(self, texts: Iterable[str], *, most: int | None = None):
        _check_list(texts)
        counts = Counter(word for text in texts for word in words(text))
        if not counts:
            raise ValueError("WordTokenizer: texts must have at least one word, got none")
        frequent_first = sorted(counts, key=lambda word: (-counts[word], word))
        self.vocabulary = ["<padding>", "<unknown>", *frequent_first[:most]]
        self._numbers = {word: number for number, word in enumerate(self.vocabulary)}
        self.size = len(self.vocabulary)

    def encode(self, texts: Sequence[str], *, length: int, truncate: bool = False) -> np.ndarray:
        """int32 (n, length): a text's words, and zeros. Raises ValueError for a text too long, unless it may be cut."""
        _check_list(texts)
        rows = [[self._numbers.get(word, UNKNOWN) for word in words(text)] for text in texts]
        return _padded([row[:length] for row in rows] if truncate else rows, texts, length)

    def decode(self, tokens: np.ndarray) -> list[str]:
        """The texts of (n, length) tokens: words with single spaces, <unknown> for one not known."""
        _check_range(tokens, self.size)
        return [" ".join(self.vocabulary[t] for t in row if t != PADDING) for row in np.asarray(tokens).tolist()]


def words(text: str) -> list[str]:
    """The words of a text in lower case: runs of letters and digits, apostrophes (all written ') within."""
    return WORDS.findall(text.lower().replace("’", "'"))


def _padded(rows, texts, length):
    tokens = np.full((len(rows), length), PADDING, np.int32)
    for into, row, text in zip(tokens, rows, texts, strict=True):
        if len(row) > length:
            raise ValueError(f"encode: {text!r} has {len(row)} tokens, but only {length} fit: pass a larger length")
        into[: len(row)] = row
    return tokens


def _check_list(texts):
    if isinstance(texts, str):
        raise TypeError(f"texts must be a list of texts, got one: [{texts!r}]")


def _check_range(tokens, size):
    tokens = np.asarray(tokens)
    if tokens.ndim != 2:
        raise ValueError(f"decode: tokens must be (n, length), got {tokens.shape}")
    wrong = (tokens < 0) | (tokens >= size)
    if wrong.any():
        raise ValueError(f"decode: tokens must be 0 … {size - 1}, got {tokens[wrong][0]}")
