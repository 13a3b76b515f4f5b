"""What does self-attention see in a sentence that a bag of its words does not show?

    python -m experiments.attention_sentiment [--quick] [--data NAME] [--folder FOLDER]

Measures the accuracy of one layer of self-attention and of a linear classifier on the mean of word vectors, on held-out
sentences, and the attention between words. The sentences in attention_sentiment_corpus.txt are generated so that "not",
"but" and "although" decide (attention_sentiment_corpus.py says which are held out). --data takes texts of TensorFlow
Datasets instead, such as imdb_reviews or glue/sst2.
Prints the finding, and writes it with its figures to results/attention_sentiment.json and pictures beside it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from experiments.attention_sentiment_corpus import BAD, GOOD, PATH
from experiments.plotting import DARK, LIGHT, titled_png
from experiments.results_folder import keep
from jaxdl import nn, ops, train
from jaxdl.data import Texts, WordTokenizer, load_texts
from jaxdl.data.tokens import PADDING, words
from jaxdl.report import figure, png

WIDTH, DROPOUT = 32, 0.2
EPOCHS = {True: (120, 80), False: (5, 2)}  # for the generated sentences and for other texts, full and quick
LONGEST, MOST_WORDS = 200, 10_000  # for other texts
LONGEST_DRAWN = 16
LABELS = ("negative", "positive")
ATTENTION, BAG = "self-attention", "mean of word vectors"
ROWS = "Each row shows where one word looks: its shares add up to 100%."
BOLD = " In bold: adjectives, and words that reverse them."
PLAIN = ("plain", "and")
# The words that reverse an adjective, by kind.
TURNING = {"not": ("not", "never"), "but": ("but",), "although": ("although",)}


def corpus() -> tuple[Texts, list[str]]:
    """The generated sentences, and the kind of each held-out one."""
    rows = [line.split("\t") for line in PATH.read_text(encoding="utf-8").splitlines()]
    of = lambda split: [row for row in rows if row[0] == split]
    labels = lambda rows: np.array([LABELS.index(label) for _, label, _, _ in rows], np.int32)
    sentences = lambda rows: [sentence for *_, sentence in rows]
    training, held_out = of("train"), of("test")
    texts = Texts("made", sentences(training), labels(training), sentences(held_out), labels(held_out), 2)
    return texts, [kind for _, _, kind, _ in held_out]


def bag_of_words(vocabulary: int, width: int, classes: int, drop: float) -> nn.Layer:
    """Integers (n, length) → logits (n, classes): the mean of word vectors, and a linear layer."""
    vectors, dropped, head = nn.embedding(vocabulary, width), nn.dropout(drop), nn.dense(classes)

    def init(key, shape):
        first, second = jax.random.split(key)
        return {"words": vectors.init(first, shape), "head": head.init(second, (width,))}

    def apply(params, x, *, key=None):
        present = (x != PADDING).astype(jnp.float32)[..., None]
        mean = (vectors.apply(params["words"], x) * present).sum(1) / jnp.maximum(present.sum(1), 1)
        return head.apply(params["head"], dropped.apply((), mean, key=key))

    return nn.Layer(init, apply)


def measure(quick: bool, name: str = "made", folder: str | None = None) -> dict:
    """Accuracy in percent by model, kind and seed; for the first seed the attention in a few held-out sentences."""
    texts, kinds = corpus() if name == "made" else (load_texts(name, folder), None)
    kinds = np.array(kinds or [name] * len(texts.test_x))
    tokenizer = WordTokenizer(texts.train_x, most=MOST_WORDS)
    length = min(LONGEST, max(len(words(text)) for text in [*texts.train_x, *texts.test_x]))
    train_x, test_x = (tokenizer.encode(x, length=length, truncate=True) for x in (texts.train_x, texts.test_x))
    models = {
        ATTENTION: nn.sentiment_classifier(tokenizer.size, width=WIDTH, classes=texts.classes, dropout_rate=DROPOUT),
        BAG: bag_of_words(tokenizer.size, WIDTH, texts.classes, DROPOUT),
    }
    epochs, seeds = EPOCHS[name == "made"][quick], range(1 if quick else 5)
    params = {
        model: [trained(layer, (train_x, texts.train_y), epochs, seed) for seed in seeds]
        for model, layer in models.items()
    }
    correct = {
        model: np.array([answers(layer, p, test_x) == texts.test_y for p in params[model]])
        for model, layer in models.items()
    }
    by_kind = lambda correct: {kind: correct[:, kinds == kind].mean(1) * 100 for kind in np.unique(kinds).tolist()}
    return {
        "name": name,
        "classes": texts.classes,
        "learnt": len(train_x),
        "held_out": {kind: int((kinds == kind).sum()) for kind in np.unique(kinds).tolist()},
        "overall": {model: c.mean(1) * 100 for model, c in correct.items()},
        "accuracy": {model: by_kind(c) for model, c in correct.items()},
        "received": received(params[ATTENTION], test_x, kinds, tokenizer) if name == "made" else {},
        "maps": maps(params[ATTENTION][0], test_x, texts.test_y, kinds, correct[ATTENTION][0], tokenizer),
    }


def trained(model, examples, epochs, seed):
    return train.fit(
        model,
        ops.softmax_cross_entropy_with_integer_labels,
        examples,
        optax.adam(3e-3),
        epochs=epochs,
        key=jax.random.key(seed),
        batch=32,
        quiet=True,
    ).params


def answers(model, params, tokens):
    """The predicted class of each text."""
    best = jax.jit(lambda x: model.apply(params, x).argmax(-1))
    return np.concatenate([best(tokens[i : i + 1000]) for i in range(0, len(tokens), 1000)])


def received(params, tokens, kinds, tokenizer) -> dict:
    """By kind, in percent: the share of deciding words in a sentence, and their share of the attention, (trainings,).

    Deciding words are the adjectives and the words that reverse them.
    """
    deciding = np.array([tokenizer.vocabulary.index(word) for word in (*GOOD, *BAD, *sum(TURNING.values(), ()))])
    result = {}
    for kind in TURNING:
        rows = tokens[kinds == kind]
        present, decides = rows != PADDING, np.isin(rows, deciding)
        to_deciding = [
            (np.asarray(nn.sentiment_attention(p, rows))[:, 0] * decides[:, None]).sum(2)[present].mean()
            for p in params
        ]
        result[kind] = {"words": 100 * decides.sum() / present.sum(), "attention": 100 * np.array(to_deciding)}
    return result


def maps(params, tokens, labels, kinds, correct, tokenizer) -> list[dict]:
    """The attention in held-out sentences: the longest correctly classified one of each kind that fits."""
    lengths = (tokens != PADDING).sum(1)
    drawn = []
    for kind in [k for k in TURNING if k in kinds] or np.unique(kinds).tolist() * 2:
        taken = [d["row"] for d in drawn]
        fits = correct & (kinds == kind) & (lengths <= LONGEST_DRAWN) & ~np.isin(np.arange(len(tokens)), taken)
        if not fits.any():
            continue
        row = int(np.where(fits, lengths, 0).argmax())
        shown = tokenizer.decode(tokens[row : row + 1])[0].split()
        weights = np.asarray(nn.sentiment_attention(params, tokens[row : row + 1]))[0, 0]
        drawn.append(
            {"row": row, "kind": kind, "label": int(labels[row]), "words": shown}
            | {"weights": 100 * weights[: len(shown), : len(shown)]}
        )
    return drawn


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    overall = {model: np.mean(values) for model, values in data["overall"].items()}
    sentence = (
        f"Of {sum(data['held_out'].values())} held-out texts ({data['name']}) one layer of self-attention classifies "
        f"{overall[ATTENTION]:.1f}% correctly, a linear layer on the mean of word vectors {overall[BAG]:.1f}%"
    )
    if not data["received"]:
        return sentence + "."
    shares = ", ".join(
        f"{np.mean(r['attention']):.0f}% in sentences with '{kind}' ({r['words']:.0f}% of the words)"
        for kind, r in data["received"].items()
    )
    return f"{sentence}; the adjectives and the words that reverse them receive, of the attention, {shares}."


def draw(data) -> dict[str, bytes]:
    """Accuracy by kind, and attention in single sentences."""
    name = file_name(data["name"])
    pictures = {name: draw_accuracy(data)}
    return pictures | {f"{name}_maps": draw_maps(data)} if data["maps"] else pictures


def draw_accuracy(data) -> bytes:
    """Mean accuracy over the seeds by kind of sentence, with the lowest and highest."""
    counts = data["held_out"]
    kinds = sorted(counts, key=lambda kind: [*PLAIN, *TURNING, kind].index(kind))
    looks = {ATTENTION: {"color": DARK}, BAG: {"color": LIGHT, "hatch": "//", "edgecolor": "w"}}
    means = {model: np.mean(values) for model, values in data["overall"].items()}
    with figure(width=7.6, height=3.8) as (fig, ax):
        for i, (model, by_kind) in enumerate(data["accuracy"].items()):
            values = np.array([by_kind[kind] for kind in kinds])
            mean = values.mean(1)
            reach = np.abs(np.stack([values.min(1), values.max(1)]) - mean[None])
            at = np.arange(len(kinds)) + 0.4 * i - 0.2
            ax.bar(at, mean, 0.38, yerr=reach, capsize=3, label=model, ecolor="#333333", **looks[model])
            for x, value, above in zip(at, mean, reach[1], strict=True):
                ax.text(x, value + above + 1, f"{value:.0f}", ha="center", va="bottom", fontsize=8)
        ax.set_xticks(range(len(kinds)), [f"{kind}\n({counts[kind]})" for kind in kinds])
        ax.axhline(100 / data["classes"], color="#333333", linewidth=0.8, linestyle=":")
        ax.set(
            ylim=(0, 112),
            yticks=range(0, 101, 20),
            xlabel="kind of sentence (held-out sentences)",
            ylabel="accuracy (%; dotted: chance)",
            title=f"Self-attention classifies {means[ATTENTION]:.0f}% of held-out texts correctly, the mean of words "
            f"{means[BAG]:.0f}%\n(mean of {len(data['overall'][BAG])} trainings, lines from lowest to highest)",
        )
        ax.grid(axis="x", visible=False)
        fig.legend(loc="outside lower center", ncols=2)
        return png(fig)


def draw_maps(data) -> bytes:
    """One row for each word that attends, one column for each word attended to."""
    drawn = data["maps"]
    decide = {*GOOD, *BAD, *sum(TURNING.values(), ())}
    with figure(1, len(drawn), width=3.9 * len(drawn), height=4.7, squeeze=False) as (fig, axes):
        for ax, d in zip(axes[0], drawn, strict=True):
            shown = ax.imshow(d["weights"], cmap="Greys", vmin=0, vmax=100)
            ax.set_xticks(range(len(d["words"])), d["words"], rotation=60, ha="right", rotation_mode="anchor")
            ax.set_yticks(range(len(d["words"])), d["words"])
            ax.grid(visible=False)
            for label in (*ax.get_xticklabels(), *ax.get_yticklabels()):
                label.set_fontweight("bold" if label.get_text() in decide else "normal")
            ax.set(xlabel="word that is attended to", title=f"'{d['kind']}': classified as {LABELS[d['label']]}")
        axes[0][0].set_ylabel("word that attends")
        fig.colorbar(shown, ax=axes[0], label="share of the row's word's attention (%)", shrink=0.7)
        fig.supxlabel(ROWS + (BOLD if data["received"] else ""), fontsize=9)
        return titled_png(fig, attention_title(data["received"]))


def attention_title(received) -> str:
    if not received:
        return "What words attend to, in held-out texts that are classified correctly"
    shares = ", ".join(f"{np.mean(r['attention']):.0f}% ('{kind}')" for kind, r in received.items())
    words = ", ".join(f"{r['words']:.0f}%" for r in received.values())
    return (
        f"Words attend to those that decide: in held-out sentences adjectives and the words that reverse them\n"
        f"receive {shares} of the attention, and are {words} of the words"
    )


def file_name(name) -> str:
    return "attention_sentiment" if name == "made" else f"attention_sentiment_{name.replace('/', '_')}"


def main(quick: bool = False, data: str = "made", folder: str | None = None) -> None:
    """Trains, prints the finding, writes data and pictures.

    Args:
        quick: Train each model once, which takes seconds.
        data: "made", or the name of labelled texts in TensorFlow Datasets.
        folder: The folder of TensorFlow Datasets.
    """
    keep(file_name(data), measure(quick, data, folder), finding, draw, quick=quick)


if __name__ == "__main__":
    tyro.cli(main)
