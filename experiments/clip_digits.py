"""Does training on pairs of digits and captions give a classifier, without training on class labels?

    python -m experiments.clip_digits [--quick]

Measures the accuracy of the nearest caption on held-out images, with wordings of the training captions and with others;
the precision of images retrieved by a caption; and the positions of images and captions in feature space. The model is
trained twice: with a few wordings only, and with random letters around the digit's name in most captions.
A batch consists of groups of ten with one image of each digit, and pairs are contrasted within their group: in a random
batch, another image of the same digit would count as a wrong answer.
Prints the finding, and writes it with its figures to results/clip_digits.json and pictures beside it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax
import tyro

from experiments.plotting import DARK, LIGHT, titled_png
from experiments.results_folder import keep
from jaxdl import data, nn, ops, train
from jaxdl.data.tokens import CharacterTokenizer
from jaxdl.report import figure, png

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
BEFORE = ("a photo of the digit ", "the number ", "a scan of a ", "someone wrote ", "this is the figure ", "here is a ")
AFTER = ("", " in ink", " on paper", " by hand", ", enlarged", " in chalk")
TRAINED = tuple(before + "{}" + after for before in BEFORE for after in AFTER)
UNSEEN = (
    "a drawing of the number {}",
    "look, this picture shows a {}",
    "a blurred {} from a letter",
    "my {} in pencil",
    "we see the digit {} here",
    "{}",
)
FIRST = TRAINED[0]
LENGTH = 40  # characters in a caption, with the end token
FOUND = 10  # images that are retrieved for a caption
TOKENIZER = CharacterTokenizer([LETTERS, *TRAINED, *UNSEEN])
SHADES = 16  # grey levels of a pixel

VARIED, FIXED = "wordings and random letters", "wordings only"


class Size(NamedTuple):
    """Sizes of the towers and their training; random is the share of captions with random letters, by kind."""

    width: int
    depth: int
    epochs: int
    rate: float
    random: dict[str, float]


FULL = Size(48, 3, 80, 2e-3, {VARIED: 0.7, FIXED: 0.0})
QUICK = Size(32, 2, 16, 3e-3, {VARIED: 0.3})
FEATURES, GROUPS = 32, 4


def measure(quick: bool) -> dict:
    """Accuracy and precision by wording for each kind of captions; for varied ones also data of the pictures."""
    size = QUICK if quick else FULL
    digits = data.load("digits")
    model = nn.clip(
        nn.image_tower(FEATURES, patch=4, width=size.width, depth=size.depth, heads=4),
        nn.text_tower(FEATURES, vocabulary=TOKENIZER.size, width=size.width, depth=min(size.depth, 2), heads=4),
    )
    params = trained(model, digits, size)
    result = {"runs": {kind: scores(model, params[kind], digits) for kind in params}}
    return result | views(model, params[VARIED], digits)


def trained(model, digits, size) -> dict:
    """Parameters for each kind of captions, from the same initial ones."""
    groups_of_ten = lambda a, groups: a.reshape(groups, len(NAMES), -1)

    def loss(output, labels):
        images, texts, scale = output
        pairs = (groups_of_ten(a, len(labels) // len(NAMES)) for a in (images, texts))
        return jax.vmap(ops.contrastive_loss, (0, 0, None))(*pairs, scale).mean()

    steps = len(digits.train_x) // (len(NAMES) * GROUPS)
    schedule = optax.warmup_cosine_decay_schedule(0.0, size.rate, 2 * steps, size.epochs * steps)
    optimizer = optax.adamw(schedule, weight_decay=1e-2)
    epoch = train.compiled_epoch(model, loss, optimizer)
    key = jax.random.key(0)

    def run(share):
        random = np.random.default_rng(0)
        params = model.init(key, (digits.shape, jax.ShapeDtypeStruct((LENGTH,), jnp.int32)))
        state = optimizer.init(params)
        for _ in range(size.epochs):
            pairs = shifted(digits.train_x, random), captions(digits.train_y, share, random)
            batches = one_of_each(digits.train_y, steps * GROUPS, random).reshape(steps, -1)
            params, state, losses = epoch(params, state, pairs, digits.train_y, batches, key)
        if not np.isfinite(losses).all():
            raise FloatingPointError(f"clip_digits: the loss is {losses.mean()}")
        return params

    return {kind: run(share) for kind, share in size.random.items()}


def shifted(images, random):
    """Each image shifted at random by up to one pixel in both directions."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[1:3], (1, 2))
    down, right = random.integers(0, 3, (2, len(images)))
    return windows[np.arange(len(images)), down, right].transpose(0, 2, 3, 1)


def one_of_each(labels, groups, random):
    """(groups, 10): the index of one random example of each digit in each group."""
    return np.stack([np.resize(random.permutation(np.flatnonzero(labels == c)), groups) for c in range(len(NAMES))], 1)


def captions(labels, share, random):
    """Tokens of a caption for each label, in a random wording, or with random letters around the name."""
    wordings = random.choice(TRAINED, len(labels))
    with_letters = random.random(len(labels)) < share
    texts = [
        among_letters(NAMES[y], random) if is_random else wording.format(NAMES[y])
        for y, wording, is_random in zip(labels, wordings, with_letters, strict=True)
    ]
    return TOKENIZER.encode(texts, length=LENGTH)


def among_letters(name, random):
    """The name with up to five random words before and three after it, cut to the length of a caption."""
    word = lambda: "".join(random.choice(list(LETTERS), random.integers(1, 8)))
    before, after = (" ".join(word() for _ in range(random.integers(most))) for most in (6, 4))
    room = LENGTH - len(f" {name} ") - 1
    after = after[: room // 2]
    return f"{before[: room - len(after)]} {name} {after}".strip()


def features(model, params, images, wording):
    """The features of the images and of the ten captions."""
    tokens = TOKENIZER.encode([wording.format(name) for name in NAMES], length=LENGTH)
    of_images, of_texts, _ = jax.jit(model.apply)(params, (images, tokens))
    return of_images, of_texts


def scores(model, params, digits) -> dict:
    """By wording, in percent: zero-shot accuracy, and the share of correct images among the first for a caption."""
    embed = jax.jit(lambda tokens: model.apply(params, (digits.test_x, tokens))[:2])
    accuracy, precision = {}, {}
    for wording in (*TRAINED, *UNSEEN):
        images, texts = embed(TOKENIZER.encode([wording.format(name) for name in NAMES], length=LENGTH))
        accuracy[wording] = 100 * float(np.mean(nn.zero_shot(images, texts) == digits.test_y))
        right = digits.test_y[nearest(images, texts)] == np.arange(len(NAMES))[:, None]
        precision[wording] = 100 * float(right.mean())
    return {"accuracy": accuracy, "precision": precision}


def nearest(images, texts):
    """The images nearest to each text, (texts, FOUND)."""
    return np.argsort(-np.asarray(texts @ images.T), axis=1)[:, :FOUND]


def views(model, params, digits) -> dict:
    """Data of the pictures: similarities, the first two principal components, and retrieved images."""
    images, texts = map(np.asarray, features(model, params, digits.test_x, FIRST))
    _, unseen = map(np.asarray, features(model, params, digits.test_x, UNSEEN[0]))
    means = np.stack([digits.test_x[digits.test_y == c].mean(0) for c in range(len(NAMES))])
    of_means, _ = map(np.asarray, features(model, params, means, FIRST))
    together = np.concatenate([images, texts, unseen])
    centre = together.mean(0)
    _, spread, axes = np.linalg.svd(together - centre, full_matrices=False)
    plane = lambda a: (a - centre) @ axes[:2].T
    found = nearest(images, texts)
    return {
        "similarity": texts @ of_means.T,
        "plane": {"images": plane(images), "texts": plane(texts), "unseen": plane(unseen)},
        "labels": digits.test_y,
        "explained": 100 * float((spread[:2] ** 2).sum() / (spread**2).sum()),
        "found": np.rint(digits.test_x[found, ..., 0] * SHADES).astype(int),
        "found_labels": digits.test_y[found],
    }


def mean_of(values, wordings) -> float:
    return float(np.mean([values[w] for w in wordings]))


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    varied, fixed = data["runs"][VARIED], data["runs"].get(FIXED)
    without = f", and {mean_of(fixed['accuracy'], UNSEEN):.1f}% if none has" if fixed else ""
    return (
        f"On 360 held-out digits the nearest of ten captions '{FIRST.format('…')}' is correct for "
        f"{varied['accuracy'][FIRST]:.1f}%, and {varied['precision'][FIRST]:.0f}% of the first {FOUND} images for a "
        f"caption are its digit; with {len(UNSEEN)} wordings not in the training data, accuracy is "
        f"{mean_of(varied['accuracy'], UNSEEN):.1f}% if many training captions have random letters around the "
        f"name{without}."
    )


def draw(data) -> dict[str, bytes]:
    """Accuracy by wording, the feature plane, similarities of captions and images, and retrieved images."""
    return {
        "clip_digits": draw_wordings(data["runs"]),
        "clip_digits_embedding": draw_plane(data),
        "clip_digits_similarity": draw_similarity(data["similarity"]),
        "clip_digits_retrieval": draw_found(data),
    }


def draw_wordings(runs) -> bytes:
    """Accuracy with the first and the worst of the training wordings, and with each unseen one."""
    worst = min(TRAINED, key=runs[VARIED]["accuracy"].get)
    shown = tuple(dict.fromkeys((FIRST, worst, *UNSEEN)))
    looks = {VARIED: {"color": DARK}, FIXED: {"color": LIGHT, "hatch": "//", "edgecolor": "w"}}
    with figure(width=8, height=4.6) as (fig, ax):
        for i, (kind, run) in enumerate(runs.items()):
            values = [run["accuracy"][w] for w in shown]
            places = np.arange(len(shown)) + 0.4 * i - 0.2
            bars = ax.barh(places, values, 0.38, label=f"trained on {kind}", **looks[kind])
            ax.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
        notes = {FIRST: " (trained)", worst: " (trained, worst)", "{}": " (the name alone)"}
        names = [w.format("…") + notes.get(w, "") for w in shown]
        ax.set_yticks(range(len(shown)), names)
        ax.invert_yaxis()
        ax.axvline(10, color="#333333", linewidth=0.8, linestyle=":")
        ax.set(xlabel="zero-shot accuracy on 360 held-out images (%; dotted: chance)", xlim=(0, 108))
        ax.grid(axis="y", visible=False)
        means = ", ".join(f"{mean_of(run['accuracy'], UNSEEN):.0f}% after {kind}" for kind, run in runs.items())
        title = f"With {len(UNSEEN)} wordings not in the training data, the nearest caption is correct for\n{means}"
        fig.legend(loc="outside lower center", ncols=2)
        return titled_png(fig, title)


def draw_plane(data) -> bytes:
    """Images as small digits; captions as large ones, in a circle (trained) and in a square (unseen)."""
    plane, labels = data["plane"], data["labels"]
    with figure(width=7.2, height=5.6) as (fig, ax):
        for (x, y), c in zip(plane["images"], labels, strict=True):
            ax.text(x, y, str(c), color=matplotlib.colormaps["tab10"](c), fontsize=7, ha="center", va="center")
        for kind, box in (("texts", "circle"), ("unseen", "square")):
            for c, (x, y) in enumerate(plane[kind]):
                look = {"boxstyle": f"{box},pad=0.25", "facecolor": "white", "edgecolor": "black"}
                ax.text(x, y, str(c), fontsize=11, weight="bold", ha="center", va="center", bbox=look, zorder=3)
        everything = np.concatenate([plane[kind] for kind in plane])
        low, high = everything.min(0) - 0.1, everything.max(0) + 0.1
        ax.set(
            xlim=(low[0], high[0]),
            ylim=(low[1], high[1]),
            xlabel="first principal component of the features, of length 1",
            ylabel="second principal component",
            title=f"360 held-out images cluster by digit around their captions (plane: {data['explained']:.0f}% of the "
            f"variance;\ncircle: '{FIRST.format('…')}', square: '{UNSEEN[0].format('…')}', unseen)",
        )
        return png(fig)


def draw_similarity(similarity) -> bytes:
    """The cosine of each caption with the mean image of each digit."""
    similarity = np.array(similarity)
    others = similarity[~np.eye(len(NAMES), dtype=bool)]
    with figure(width=6.4, height=5.4) as (fig, ax):
        shown = ax.imshow(similarity, cmap="Greys", vmin=-1, vmax=1)
        for i, j in np.ndindex(similarity.shape):
            colour = "white" if similarity[i, j] > 0.3 else "black"
            ax.text(j, i, f"{similarity[i, j]:.2f}", ha="center", va="center", fontsize=7.5, color=colour)
        ax.set_xticks(range(len(NAMES)))
        ax.set_yticks(range(len(NAMES)), NAMES)
        ax.grid(visible=False)
        ax.set(
            xlabel="mean of the held-out images of the digit",
            ylabel=f"caption: {FIRST.format('…')}",
            title=f"A caption is nearest to its own digit for {(similarity.argmax(1) == np.arange(10)).sum()} of 10:\n"
            f"cosine {np.diag(similarity).mean():.2f} on the diagonal, {others.mean():.2f} elsewhere",
        )
        fig.colorbar(shown, label="cosine of caption and image", shrink=0.8)
        return png(fig)


def draw_found(data) -> bytes:
    """A row of images for each caption, the nearest first; images of another digit are framed."""
    labels = np.array(data["found_labels"])
    right = labels == np.arange(len(NAMES))[:, None]
    with figure(len(NAMES), FOUND, width=6.6, height=6.4) as (fig, axes):
        for (i, j), ax in np.ndenumerate(axes):
            ax.imshow(data["found"][i][j], cmap="Greys", vmin=0, vmax=SHADES)
            ax.set(xticks=[], yticks=[])
            for spine in ax.spines.values():
                spine.set(visible=not right[i, j], linewidth=2.5)
        for name, ax in zip(NAMES, axes[:, 0], strict=True):
            ax.set_ylabel(name, rotation=0, ha="right", va="center")
        for place, ax in enumerate(axes[-1], 1):
            ax.set_xlabel(place)
        wrong = "none is wrong" if right.all() else f"{(~right).sum()} wrong ones framed"
        return titled_png(
            fig,
            f"The {FOUND} held-out images nearest to '{FIRST.format('…')}':\n{100 * right.mean():.0f}% are its digit "
            f"({wrong}; nearest on the left)",
        )


def main(quick: bool = False) -> None:
    """Trains, prints the finding, writes data and pictures.

    Args:
        quick: Train smaller towers for fewer epochs, which takes seconds.
    """
    keep("clip_digits", measure(quick), finding, draw, quick=quick)


if __name__ == "__main__":
    tyro.cli(main)
