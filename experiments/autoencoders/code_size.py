"""How does the error on held-out digits depend on the size of the code, linear and deep?"""

from experiments.autoencoders.models import deep, digits, pca_error
from experiments.plotting import DARK, MIDDLE
from jaxdl.report import figure, png

SIZES = (1, 2, 4, 8, 16, 32)
QUICK_SIZES = (2, 8)


def measure(quick: bool) -> dict:
    """Mean squared error per pixel by code size, on held-out and training 8 × 8 digits, of PCA and a deep network."""
    d = digits()
    sizes = QUICK_SIZES if quick else SIZES
    coders = [deep(code, quick) for code in sizes]
    return {
        "size": sizes,
        "variance": float(((d.test_x - d.train_x.mean(0)[None]) ** 2).mean()),
        "linear": {
            "test": [pca_error(code, d.test_x) for code in sizes],
            "train": [pca_error(code, d.train_x) for code in sizes],
        },
        "deep": {
            "test": [coder.error(d.test_x) for coder in coders],
            "train": [coder.error(d.train_x) for coder in coders],
        },
    }


def pairs(data) -> list[tuple[int, float, float]]:
    """Code sizes with the errors on held-out digits, linear and deep."""
    return list(zip(data["size"], data["linear"]["test"], data["deep"]["test"], strict=True))


def most_gained(data) -> tuple[int, float, float]:
    return max(pairs(data), key=lambda p: p[1] / p[2])


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    best, linear, deep_ = most_gained(data)
    lost = [f"{code} ({d:.4f} against {li:.4f})" for code, li, d in pairs(data) if d >= li]
    after = f"; it is no better with {', '.join(lost)}" if lost else ""
    return (
        f"On held-out digits the deep autoencoder gains most over the best linear one (PCA) with a code of {best}: "
        f"{deep_:.4f} against {linear:.4f} squared error per pixel{after}."
    )


def draw(data) -> bytes:
    """Error by code size."""
    won = [code for code, linear, deep_ in pairs(data) if deep_ < linear]
    best, linear, deep_ = most_gained(data)
    with figure(width=7.4, height=4) as (fig, ax):
        for kind, style in (
            ("linear", {"color": MIDDLE, "marker": "s"}),
            ("deep", {"color": DARK, "marker": "o"}),
        ):
            name = {"linear": "linear (PCA)", "deep": "deep, 256 and 128 ReLUs"}[kind]
            ax.plot(data["size"], data[kind]["test"], label=f"{name}, held-out", **style)
            label = f"{name}, training"
            ax.plot(
                data["size"], data[kind]["train"], linestyle="--", linewidth=0.9, label=label, markersize=4, **style
            )
        ax.axhline(data["variance"], color="#333333", linewidth=0.8, linestyle=":", label="the mean digit")
        ax.set_xscale("log", base=2)
        ax.set_xticks(data["size"], map(str, data["size"]))
        ax.set(yscale="log", xlabel="numbers in the code", ylabel="mean squared error per pixel")
        ax.set_yticks((0.002, 0.005, 0.01, 0.02, 0.05), ("0.002", "0.005", "0.01", "0.02", "0.05"))
        ax.minorticks_off()
        ax.set_title(
            f"On held-out digits depth helps up to a code of {max(won)}: with {best} the error is {deep_ / linear:.0%} "
            f"of PCA's"
        )
        ax.legend(fontsize=8.5)
        return png(fig)
