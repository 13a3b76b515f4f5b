"""Writes attention_sentiment_corpus.txt: short judgements whose label does not follow from their words alone.

    python -m experiments.attention_sentiment_corpus

A line is: train or test, negative or positive, the kind, the sentence. "not" reverses an adjective; with "but" and
"although" the main clause decides. One in four combinations is held out: of an adjective and a template with one
adjective, or of two adjectives. Training has each adjective plain, negated and contrasted, in other combinations.
"""

from pathlib import Path

import numpy as np

from jaxdl.report import write_whole

PATH = Path(__file__).with_name("attention_sentiment_corpus.txt")

THINGS = ("film", "plot", "music", "ending", "acting", "book", "script", "cast", "story", "camera")
GOOD = ("good", "great", "superb", "lovely", "brilliant", "moving")
GOOD += ("charming", "clever", "delightful", "fresh", "gripping", "witty")
BAD = ("bad", "dreadful", "dull", "poor", "boring", "terrible")
BAD += ("weak", "clumsy", "tedious", "stale", "silly", "shallow")
INTENSIFIERS = ("", "", "very ", "really ", "rather ", "truly ")

PLAIN = ("the {a} was {i}{x}", "i found the {a} {i}{x}", "what a {i}{x} {a}")
NEGATED = ("the {a} was not {i}{x}", "i found the {a} not {i}{x}", "the {a} was never {i}{x}", "not a {i}{x} {a}")
ALIKE = ("the {a} was {i}{x} and the {b} was {j}{y}", "a {i}{x} {a} and a {j}{y} {b}")
BUT = ("the {b} was {j}{y} but the {a} was {i}{x}", "a {j}{y} {b} but a {i}{x} {a}")
ALTHOUGH = ("although the {b} was {j}{y} the {a} was {i}{x}", "the {a} was {i}{x} although the {b} was {j}{y}")

# Kind: templates, whether the label is that of x, whether y is like x, number of sentences for training and held out.
KINDS = {
    "plain": (PLAIN, True, True, 160, 40),
    "and": (ALIKE, True, True, 100, 40),
    "not": (NEGATED, False, True, 220, 80),
    "but": (BUT, True, False, 140, 60),
    "although": (ALTHOUGH, True, False, 140, 60),
}


def corpus(seed: int = 0) -> list[tuple[str, str, str, str]]:
    """Split, label, kind and text of 1,040 different sentences."""
    random = np.random.default_rng(seed)
    rows = {}
    for kind, (templates, same, alike, *counts) in KINDS.items():
        for split, count in zip(("train", "test"), counts, strict=True):
            until = len(rows) + count
            while len(rows) < until:
                positive = len(rows) % 2 == 0  # as many of each label
                sentence = written(templates, positive == same, alike, split == "test", random)
                rows.setdefault(sentence, (split, "positive" if positive else "negative", kind))
    return [(*row, sentence) for sentence, row in rows.items()]


def written(templates, good, alike, held_out, random):
    """A random sentence: x is good or bad, y is like x or the opposite, and the combination is held out or not."""
    (a, b), (i, j) = random.choice(THINGS, 2, replace=False), random.choice(INTENSIFIERS, 2)
    template, x, y = random.integers([len(templates), len(GOOD), len(GOOD)])
    with_x = y if "{y}" in templates[template] else template
    if ((x + with_x) % 4 == 0) != held_out or x == y:
        return written(templates, good, alike, held_out, random)
    adjectives = GOOD if good else BAD, GOOD if good == alike else BAD
    return templates[template].format(a=a, b=b, i=i, j=j, x=adjectives[0][x], y=adjectives[1][y])


if __name__ == "__main__":
    write_whole(PATH, "".join("\t".join(row) + "\n" for row in corpus()).encode())
