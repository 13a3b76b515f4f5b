"""CLIP's byte-pair tokenizer.

R. Sennrich, B. Haddow, A. Birch, Neural machine translation of rare words with subword units, 2016; on bytes:
A. Radford et al., Language models are unsupervised multitask learners, 2019.
"""

import functools
import gzip
import html
import itertools
import math
import os
import re
import unicodedata
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

PUBLISHED_MERGES = 49_152 - 256 - 2  # CLIP uses only the first ones of the published file
END_OF_WORD = "</w>"
START, END = "<|startoftext|>", "<|endoftext|>"

# These are one word each; all other words are runs of one kind of character.
FIXED = re.compile(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d", re.IGNORECASE)
RUNS = re.compile("L+|N|Z+|[^LNZ]+")
SPACES = re.compile(r"[^\S\x1c-\x1f]+")  # Python's \s includes four separators that are not spaces in Unicode


class BytePairTokenizer:
    """Converts texts to CLIP's tokens and back.

    The vocabulary has the 256 bytes, the same at the end of a word, one token for each merge, and `start` and `end`.
    With a published file it has 49,408 tokens, and the last two are 49,406 and 49,407.

    Attributes:
        start: The token that starts a text.
        end: The token that ends a text.
        size: How many tokens there are.
    """

    start: int
    end: int
    size: int

    def __init__(self, merges: str | os.PathLike[str]):
        """Reads the merges.

        Args:
            merges: The published file, compressed or not: bpe_simple_vocab_16e6.txt.gz of OpenAI, or merges.txt of
                Hugging Face.

        Raises:
            ValueError: The file is damaged, or has lines that are not pairs.
        """
        pairs = _read_pairs(Path(merges))
        letters = list(_letters_of_bytes().values())
        self._vocabulary = [*letters, *(c + END_OF_WORD for c in letters), *map("".join, pairs), START, END]
        self._numbers = {token: number for number, token in enumerate(self._vocabulary)}
        self._ranks = {pair: rank for rank, pair in enumerate(pairs)}
        self._tokens_of_word = functools.lru_cache(100_000)(self._tokens_of_word)
        self.size = len(self._vocabulary)
        self.start, self.end = self._numbers[START], self._numbers[END]

    def encode(self, texts: Sequence[str], *, length: int = 77, truncate: bool = False) -> np.ndarray:
        """Converts texts to tokens.

        Texts are cleaned first: HTML entities, composed characters (NFC), spaces, lower case. OpenAI's own code also
        repairs broken encodings and curly quotes, with the library ftfy.

        Args:
            texts: n texts.
            length: Tokens in a row.
            truncate: Whether longer texts are cut.

        Returns:
            int32 of shape (n, length): `start`, the tokens, `end`, and zeros.

        Raises:
            TypeError: `texts` is a single text.
            ValueError: A text is longer, and `truncate` is False.
        """
        if isinstance(texts, str):
            raise TypeError(f"encode: texts must be a list of texts, got one: [{texts!r}]")
        rows = np.zeros((len(texts), length), np.int32)
        for row, text in zip(rows, texts, strict=True):
            tokens = [self.start, *self._tokens(text), self.end]
            if len(tokens) > length:
                if not truncate:
                    raise ValueError(
                        f"encode: {text!r} has {len(tokens)} tokens with start and end, but only {length} fit: "
                        f"shorten it, or pass truncate=True to cut it"
                    )
                tokens = [*tokens[: length - 1], self.end]
            row[: len(tokens)] = tokens
        return rows

    def decode(self, tokens: np.ndarray) -> list[str]:
        """Converts tokens back to texts, in their cleaned form.

        Args:
            tokens: Integers of shape (n, length).

        Returns:
            n texts, each up to its `end`.

        Raises:
            ValueError: A token is out of range.
        """
        return [self._text(row) for row in np.asarray(tokens).tolist()]

    def _tokens(self, text):
        return [number for word in words(cleaned(text)) for number in self._tokens_of_word(word)]

    def _tokens_of_word(self, word):
        if word in (START, END):
            return [self._numbers[word]]
        *parts, last = (_letters_of_bytes()[byte] for byte in word.encode())
        parts = (*parts, last + END_OF_WORD)
        rank = lambda pair: self._ranks.get(pair, math.inf)
        while len(parts) > 1 and rank(best := min(itertools.pairwise(parts), key=rank)) < math.inf:
            parts = merged(parts, best)
        return [self._numbers[part] for part in parts]

    def _text(self, row):
        wrong = [number for number in row if not 0 <= number < self.size]
        if wrong:
            raise ValueError(f"decode: tokens must be 0 … {self.size - 1}, got {wrong[0]}")
        tokens = itertools.takewhile(lambda number: number != self.end, row)
        letters = "".join(self._vocabulary[number] for number in tokens if number != self.start)
        text = bytes(_bytes_of_letters()[c] for c in letters).decode(errors="replace")
        return text.replace(END_OF_WORD, " ").strip()


def cleaned(text: str) -> str:
    """The text with HTML entities decoded (twice, as CLIP does), composed, with single spaces, in lower case."""
    text = unicodedata.normalize("NFC", html.unescape(html.unescape(text)))
    return SPACES.sub(" ", text).strip(" ").lower()


def words(text: str) -> list[str]:
    """Splits a text into runs of letters, single digits, runs of other characters, and English endings ('s, 're, …).

    This is the expression 's|'t|…|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+ on the characters' Unicode categories.
    """
    kinds = "".join("Z" if SPACES.match(c) else unicodedata.category(c)[0] for c in text)
    found, at = [], 0
    while at < len(text):
        end = next(match.end() for match in (FIXED.match(text, at), RUNS.match(kinds, at)) if match)
        if kinds[at] != "Z":
            found.append(text[at:end])
        at = end
    return found


def merged(parts: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    """The parts with each occurrence of the pair, from the left, joined."""
    joined, i = [], 0
    while i < len(parts):
        together = parts[i : i + 2] == pair
        joined.append("".join(pair) if together else parts[i])
        i += 1 + together
    return tuple(joined)


@functools.cache
def _letters_of_bytes():
    """A printable character for each byte, in CLIP's order: its own if printable, else one above 255."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


@functools.cache
def _bytes_of_letters():
    return {letter: byte for byte, letter in _letters_of_bytes().items()}


def _read_pairs(path):
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path} is damaged ({error}): copy or download it again") from error
    try:
        first, *lines = content.decode().split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 ({error}): copy or download it again") from error
    if "#version" not in first:
        raise ValueError(f"{path}: the first line must contain #version, got {first[:60]!r}")
    pairs = [tuple(line.split()) for line in lines[:PUBLISHED_MERGES] if line]
    for number, pair in enumerate(pairs, 2):
        if len(pair) != 2:
            raise ValueError(f"{path}: line {number} must be a pair, got {' '.join(pair)[:60]!r}")
    return pairs
