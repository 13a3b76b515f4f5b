"""Hand-written rules against the automatic derivative, operation by operation: time, memory, accuracy.

    python -m benchmarks.rules [--full] [--only attention gelu]

Forward pass and pullback are compiled as one program and timed in interleaved pairs; the figure is the median ratio.
Residuals are the bytes stored from the forward to the backward pass, without the arguments. The error is the largest
difference of a cotangent from a float64 run of the automatic derivative, in units in the last place of its largest
entry, on normally distributed numbers. It says little about tails, for which `tests/ops/test_accuracy.py` allows 4 ULP.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.results_folder import FOLDER, keep, machine
from jaxdl import contrast, ops
from jaxdl.report import AUTOMATIC, HAND, Table, bytes_text, figure, number_text, png, ratio_text

N, M = 512, 1024
UNARY = [
    ops.negate, ops.square, ops.exp, ops.step, ops.sigmoid, ops.tanh, ops.relu, ops.leaky_relu, ops.elu,
    ops.selu, ops.softplus, ops.silu, ops.gelu, ops.gelu_tanh, ops.softmax, ops.log_softmax,
]  # fmt: skip
BINARY = [ops.add, ops.subtract, ops.multiply, ops.divide, ops.maximum, ops.minimum]
REDUCTIONS = [ops.sum, ops.mean, ops.max, ops.min, ops.logsumexp]


def problems(full):
    """(name, function, arguments): every operation at a size that fills the cache."""
    draw = lambda i, *shape: jax.random.normal(jax.random.key(i), shape)
    x, y = draw(0, N, M), draw(1, N, M)
    labels = jnp.arange(N) % M
    for op in UNARY:
        yield op.__name__, op, (x,)
    for op in (ops.sqrt, ops.log):
        yield op.__name__, op, (jnp.exp(x),)
    for op in BINARY:
        yield op.__name__, op, (x, y)
    yield "power", ops.power, (jnp.exp(x), y)
    for op in REDUCTIONS:
        yield op.__name__, lambda x, op=op: op(x, axis=-1), (x,)
    yield "prod", lambda x: ops.prod(x, axis=-1), (jnp.exp(x / 32),)  # neither too large nor too small
    image = draw(5, 64, 28, 28, 32)
    yield "max_pool 2×2", lambda x: ops.max_pool(x, window=2), (image,)
    yield "max_pool 3×3, stride 2", lambda x: ops.max_pool(x, window=3, stride=2), (image,)
    yield "avg_pool 2×2", lambda x: ops.avg_pool(x, window=2), (image,)
    yield "avg_pool 3×3, stride 2", lambda x: ops.avg_pool(x, window=3, stride=2), (image,)
    rows = draw(6, 4096, 1024)
    yield "layer_norm 4096×1024", ops.layer_norm, (rows, jnp.ones(1024), jnp.zeros(1024))
    yield "rms_norm 4096×1024", ops.rms_norm, (rows, jnp.ones(1024))
    yield from larger_problems(draw, full)
    yield "matmul", ops.matmul, (draw(2, N, N), draw(3, N, N))
    yield "dense", ops.dense, (draw(2, N, N), draw(3, N, N), draw(4, N))
    yield "embedding", lambda table: ops.embedding(table, labels), (x,)
    yield "dropout", lambda x: ops.dropout(x, jax.random.key(0), rate=0.5), (x,)
    yield "squared_error", lambda x, y: ops.squared_error(x, y, reduce=jnp.mean), (x, y)
    yield "logistic_loss", lambda z: ops.logistic_loss(z, (y > 0).astype(int), reduce=jnp.mean), (x,)
    name = "softmax_cross_entropy_with_integer_labels"
    yield name, lambda z: getattr(ops, name)(z, labels, reduce=jnp.mean), (x,)
    yield "softmax_cross_entropy", lambda x, y: ops.softmax_cross_entropy(x, y, reduce=jnp.mean), (x, jax.nn.softmax(y))


def larger_problems(draw, full):
    """Norms of images, convolutions, attention, fused losses, the parts of transformers, iterations."""
    image, one, zero = draw(5, 64, 28, 28, 32), jnp.ones(32), jnp.zeros(32)
    yield "batch_norm", lambda *args: ops.batch_norm(*args)[0], (image, one, zero)
    yield "batch_norm_inference", ops.batch_norm_inference, (image, one, zero, zero, one)
    yield "local_response_norm", ops.local_response_norm, (draw(7, 64, 14, 14, 96),)
    same = lambda x, w: ops.conv2d(x, w, padding="SAME")
    yield "conv2d 3×3", same, (image, draw(8, 3, 3, 32, 32))
    yield "conv2d 5×5, no padding", ops.conv2d, (image, draw(8, 5, 5, 32, 32))
    yield "conv2d 1×1", ops.conv2d, (image, draw(8, 1, 1, 32, 64))
    stride = lambda x, w: ops.conv2d(x, w, stride=2, padding="SAME")
    yield "conv2d 3×3, stride 2", stride, (image, draw(8, 3, 3, 32, 64))
    depthwise = lambda x, w: ops.conv2d(x, w, padding="SAME", groups=32)
    yield "conv2d 3×3, depthwise", depthwise, (image, draw(8, 3, 3, 1, 32))
    back = lambda z, w: ops.conv_transpose2d(z, w, stride=2)
    yield "conv_transpose2d 4×4, stride 2", back, (draw(9, 64, 9, 9, 32), draw(8, 4, 4, 32, 32))
    for length in (1024, 4096) if full else (1024,):  # the longer takes minutes, mostly for the automatic derivative
        heads = tuple(draw(i, 1, length, 8, 64) for i in range(3))
        yield f"attention 8×{length}×64", ops.attention, heads
        yield f"attention 8×{length}×64, causal", lambda *args: ops.attention(*args, causal=True), heads
    x, labels = draw(0, 1024, 256), jnp.arange(1024)
    yield "linear_cross_entropy 1024×256 → 8192", lambda x, w: ops.linear_cross_entropy(x, w, labels), (
        x, draw(1, 256, 8192) / 16,
    )  # fmt: skip
    yield "contrastive_loss 1024×512", ops.contrastive_loss, (
        draw(0, 1024, 512) / 22, draw(1, 1024, 512) / 22, jnp.float32(14),
    )  # fmt: skip
    into, out = draw(1, 256, 1024) / 16, draw(3, 1024, 256) / 32
    yield "gelu_feed_forward", ops.gelu_feed_forward, (x, into, draw(2, 1024), out, draw(4, 256))
    yield "swiglu_feed_forward", ops.swiglu_feed_forward, (x, into, draw(2, 256, 1024) / 16, out)
    branch = lambda p, x: jnp.tanh(x @ p)
    yield "reversible, 8 blocks", lambda *args: ops.reversible(*args, f=branch, g=branch), (
        draw(0, 256, 256), draw(1, 256, 256), draw(2, 8, 256, 256) / 32, draw(3, 8, 256, 256) / 32,
    )  # fmt: skip
    layer = lambda p, x: jnp.tanh(x @ p[0] + p[1])
    yield (
        "fixed_point, 50 steps",
        lambda w, b: ops.fixed_point((w, b), jnp.zeros_like(b), f=layer, max_steps=50).value,
        (draw(0, 256, 256) / 64, draw(1, 64, 256)),
    )


def main(full: bool = False, only: tuple[str, ...] = ()) -> None:
    """Measure every operation with this version of JAX. The table also has the figures of the other versions.

    Args:
        full: Also attention of length 4096; the median of three runs instead of one run.
        only: Only operations with one of these texts in their name; the others keep their stored figures.
    """
    kept = FOLDER / "rules.json"
    versions = json.loads(kept.read_text())["versions"] if kept.exists() else {}
    operations = versions[jax.__version__]["operations"] if only and jax.__version__ in versions else {}
    for name, f, args in problems(full):
        if not only or any(text in name for text in only):
            runs = [contrast(f, *args, sites=False).whole.to_json() for _ in range(3 if full else 1)]
            operations[name] = sorted(runs, key=lambda measured: measured["step"]["ratio"])[len(runs) // 2]
            versions[jax.__version__] = {"machine": machine(), "operations": operations, "geometric_means": {}}
            kept.write_text(json.dumps({"versions": versions}))  # what is measured outlasts an interrupted run
            print(*row(name, {jax.__version__: operations}), flush=True)
    versions[jax.__version__]["geometric_means"] = {
        "time": geometric_mean(d["step"]["ratio"] for d in operations.values()),
        "temporary memory": bytes_mean(operations, "temporary_bytes"),
        "residuals": bytes_mean(operations, "residual_bytes"),
    }
    show(dict(sorted(versions.items())))


def show(versions) -> None:
    """Writes figures, table and picture of all versions of JAX."""
    by_version = {version: v["operations"] for version, v in versions.items()}
    newest = list(versions)[-1]
    where = versions[newest]["machine"]
    table = Table(
        f"Hand-written rules against the automatic derivative, {where['device']}, {where['cores']} cores",
        (
            "operation", *(f"time, JAX {version}" for version in versions),
            "residuals hand / auto", "temporary hand / auto", "error hand / auto, ULP",
        ),
        [row(name, by_version) for name in by_version[newest]],
        f"Arrays of {N} × {M} float32, matrices of {N} × {N}, images of 64 × 28 × 28 × 32. Times are ratios "
        "hand : automatic of forward and pullback in one, with quartiles. Bytes and errors are those of JAX "
        f"{newest}. Geometric means, hand : automatic: "
        + "; ".join(
            f"JAX {version}: " + ", ".join(f"{what} {value:.2f}" for what, value in v["geometric_means"].items())
            for version, v in versions.items()
        )
        + " (of memory where either side takes any, less than 4 kB counted as 4 kB).",
    )  # fmt: skip
    keep("rules", {"versions": versions}, table, plot(by_version))


def row(name, versions) -> tuple[str, ...]:
    """An operation's line in the table: the time with each version of JAX, the rest with the newest."""
    measured = list(versions.values())[-1][name]
    cotangents = measured["differences"][1:] or measured["differences"]
    error = lambda side: number_text(max(d[f"{side}_ulp"] or 0.0 for d in cotangents))
    both = lambda what: " / ".join(bytes_text(measured[side][what]) for side in ("hand", "automatic"))
    return (
        name.replace("_", " "),
        *(time_text(operations.get(name)) for operations in versions.values()),
        both("residual_bytes"),
        both("temporary_bytes"),
        f"{error('hand')} / {error('automatic')}",
    )


def time_text(measured) -> str:
    """The ratio of times with its quartiles."""
    if measured is None:
        return ""
    step = measured["step"]
    return "{} ({:.2f}–{:.2f})".format(ratio_text(step["ratio"]), *step["ratio_quartiles"])


def geometric_mean(values) -> float:
    return float(np.exp(np.mean(np.log(list(values)))))


def bytes_mean(data, what) -> float:
    """The geometric mean of the ratios hand : automatic of bytes, of operations where either side takes any."""
    both = [(d["hand"][what], d["automatic"][what]) for d in data.values()]
    return geometric_mean(max(hand, 4096) / max(auto, 4096) for hand, auto in both if hand or auto)


def plot(versions) -> bytes:
    """Time ratio of every operation with each version of JAX, and residual bytes with the newest."""
    data = list(versions.values())[-1]
    names = list(data)
    at = np.arange(len(names))
    with figure(1, 2, width=9.2, height=12, sharey=True) as (fig, (times, residuals)):
        styles = zip(np.linspace(-0.15, 0.15, len(versions)), (("o", 1.0), ("D", 0.5), ("s", 0.3)), strict=False)
        for (version, operations), (shift, (marker, alpha)) in zip(versions.items(), styles, strict=True):
            steps = [operations[name]["step"] if name in operations else None for name in names]
            ratios = np.array([s["ratio"] if s else np.nan for s in steps])
            quartiles = np.array([s["ratio_quartiles"] if s else [np.nan] * 2 for s in steps]).T
            times.errorbar(
                ratios, at + shift, xerr=np.abs(quartiles - ratios), fmt=marker, color=HAND["color"], alpha=alpha,
                markersize=4, label=f"JAX {version}",
            )  # fmt: skip
        times.axvline(1, color="#333333", linewidth=1)
        times.set(xlabel="time, hand : automatic", xscale="log", title="Time, forward and pullback")
        times.legend()
        times.set_yticks(at, [n.replace("_", " ") for n in names], fontsize=8)
        times.set_xticks([1 / 16, 1 / 8, 0.25, 0.5, 1, 2], ["1/16", "⅛", "¼", "½", "1", "2"])
        times.minorticks_off()
        for shift, side, style, hatch in ((-0.2, "hand", HAND, ""), (0.2, "automatic", AUTOMATIC, "///")):
            kept = [d[side]["residual_bytes"] / 1e6 for d in data.values()]
            residuals.barh(at + shift, kept, 0.38, color=style["color"], hatch=hatch, edgecolor="white", label=side)
        residuals.set(xlabel="residuals (MB), arguments apart", title="Kept for the backward pass")
        residuals.legend()
        times.set_ylim(len(names) - 0.2, -0.8)
        fig.suptitle("What hand-written rules cost, operation by operation", x=0.01, ha="left")
        return png(fig)


if __name__ == "__main__":
    tyro.cli(main)
