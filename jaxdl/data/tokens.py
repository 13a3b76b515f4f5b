"""Tokenizers whose tokens are characters or words."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

PADDING = 0  # fills the row of a shorter text
UNKNOWN = 1  # stands for words outside the vocabulary

WORDS = re.compile(r"\w+(?:'\w+)*")


class CharacterTokenizer:
    """Converts characters to tokens and back.

    Token 0 is padding. The characters follow in the order of Unicode, and `end`, which follows every text, is the last:
    `jaxdl.nn.text_tower` reads its result at the largest token of a text.

    Attributes:
        end: The token that ends a text.
        size: How many tokens there are.

    Examples:
        >>> tokenizer = CharacterTokenizer(["ab"])
        >>> tokenizer.encode(["ba"], length=4)
        array([[2, 1, 3, 0]], dtype=int32)
    """

    end: int
    size: int

    def __init__(self, texts: Iterable[str]):
        """Collects the characters.

        Args:
            texts: Texts with all characters that can be encoded, or an alphabet.

        Raises:
            ValueError: The texts have no characters.
        """
        characters = sorted(set("".join(texts)))
        if not characters:
            raise ValueError("CharacterTokenizer: texts must have at least one character, got none")
        self._numbers = {character: number for number, character in enumerate(characters, 1)}
        self._characters = "".join(characters)
        self.end = len(characters) + 1
        self.size = len(characters) + 2

    def encode(self, texts: Sequence[str], *, length: int) -> np.ndarray:
        """Converts texts to tokens.

        Args:
            texts: n texts.
            length: Tokens in a row.

        Returns:
            int32 of shape (n, length): a text's characters, `end`, and zeros.

        Raises:
            TypeError: `texts` is a single text.
            ValueError: A character is unknown, or a text does not fit.
        """
        _check_list(texts)
        return _padded([[*map(self._number, text), self.end] for text in texts], texts, length)

    def decode(self, tokens: np.ndarray) -> list[str]:
        """Converts tokens back to texts.

        Args:
            tokens: Integers of shape (n, length).

        Returns:
            n texts, each up to its `end`.

        Raises:
            ValueError: `tokens` has another number of dimensions, or a token is out of range.
        """
        _check_range(tokens, self.size)
        return ["".join(self._characters[t - 1] for t in self._up_to_end(row)) for row in np.asarray(tokens).tolist()]

    def _number(self, character):
        if character not in self._numbers:
            raise ValueError(
                f"encode: the character {character!r} is unknown, the known ones are {self._characters!r}: "
                f"build the tokenizer from texts that have it"
            )
        return self._numbers[character]

    def _up_to_end(self, row):
        row = row[: row.index(self.end)] if self.end in row else row
        return [token for token in row if token != PADDING]


class WordTokenizer:
    """Converts words, in lower case and without punctuation, to tokens and back.

    Token 0 is padding (`jaxdl.nn.sentiment.PADDING`), 1 stands for words outside the vocabulary. The words follow, the
    most frequent first, equally frequent ones in alphabetical order.

    Attributes:
        vocabulary: The words by token.
        size: How many tokens there are.

    Examples:
        >>> tokenizer = WordTokenizer(["to be or not to be"])
        >>> tokenizer.encode(["To be!", "to sleep"], length=3)
        array([[3, 2, 0],
               [3, 1, 0]], dtype=int32)
    """

    vocabulary: list[str]
    size: int

    def __init__(self, texts: Iterable[str], *, most: int | None = None):
        """Counts the words.

        Args:
            texts: Texts with the words of the vocabulary.
            most: How many words the vocabulary has at most.

        Raises:
            TypeError: `texts` is a single text.
            ValueError: The texts have no words, or most is no number of words.
        """
        _check_list(texts)
        if most is not None and (not hasattr(most, "__index__") or most < 1):
            raise ValueError(f"WordTokenizer: most must be a whole number, 1 or more, or None, got {most!r}")
        counts = Counter(word for text in texts for word in words(text))
        if not counts:
            raise ValueError("WordTokenizer: texts must have at least one word, got none")
        frequent_first = sorted(counts, key=lambda word: (-counts[word], word))
        self.vocabulary = ["<padding>", "<unknown>", *frequent_first[:most]]
        self._numbers = {word: number for number, word in enumerate(self.vocabulary)}
        self.size = len(self.vocabulary)

    def encode(self, texts: Sequence[str], *, length: int, truncate: bool = False) -> np.ndarray:
        """Converts texts to tokens.

        Args:
            texts: n texts.
            length: Tokens in a row.
            truncate: Whether longer texts are cut.

        Returns:
            int32 of shape (n, length): a text's words, and zeros.

        Raises:
            TypeError: `texts` is a single text.
            ValueError: A text is longer, and `truncate` is False.
        """
        _check_list(texts)
        rows = [[self._numbers.get(word, UNKNOWN) for word in words(text)] for text in texts]
        return _padded([row[:length] for row in rows] if truncate else rows, texts, length)

    def decode(self, tokens: np.ndarray) -> list[str]:
        """Converts tokens back to texts.

        Args:
            tokens: Integers of shape (n, length).

        Returns:
            n texts: words with single spaces, "<unknown>" for words outside the vocabulary.

        Raises:
            ValueError: `tokens` has another number of dimensions, or a token is out of range.
        """
        _check_range(tokens, self.size)
        return [" ".join(self.vocabulary[t] for t in row if t != PADDING) for row in np.asarray(tokens).tolist()]


def words(text: str) -> list[str]:
    """The words of a text in lower case: runs of letters and digits, with apostrophes (all written ') inside."""
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
