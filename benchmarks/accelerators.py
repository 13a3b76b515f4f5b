"""What each rule asks of a GPU or a TPU, against the automatic derivative: loops, memory, operations; and time.

    python -m benchmarks.accelerators [--only attention] [--rounds N]

Forward pass and pullback are traced for the shapes of a training step, and every choice by platform is made as for
CUDA; on a TPU the same forms run. Nothing is run for that, so no accelerator is needed:

- steps: of all loops, those in loops multiplied. A GPU starts its kernels anew in each of them.
- residuals: bytes kept from the forward to the backward pass, without the arguments.
- largest array: the largest that any equation yields, whether or not the compiler fuses it away.
- operations: floating-point operations of forward pass and pullback together.

With an accelerator at hand, both are also compiled and timed in interleaved pairs.
"""

import json
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.results_folder import FOLDER, keep, machine
from jaxdl import automatic, ops
from jaxdl import jaxpr as jx
from jaxdl.measure.differentiated import Differentiated
from jaxdl.measure.timing import pairs
from jaxdl.report import Table, bytes_text, count_text, ratio_text

FORMATS = ("float32", "bfloat16")
ROWS, COLUMNS = 8192, 4096
INTEGERS = "int32"

UNARY = [
    ops.negate, ops.square, ops.exp, ops.sqrt, ops.log, ops.step, ops.sigmoid, ops.tanh, ops.relu, ops.leaky_relu,
    ops.elu, ops.selu, ops.softplus, ops.silu, ops.gelu, ops.gelu_tanh, ops.quick_gelu, ops.softmax, ops.log_softmax,
]  # fmt: skip
BINARY = [ops.add, ops.subtract, ops.multiply, ops.divide, ops.power, ops.maximum, ops.minimum]
REDUCTIONS = [ops.sum, ops.prod, ops.mean, ops.max, ops.min, ops.logsumexp]


class Problem(NamedTuple):
    """A function, the shapes of its arguments of floating-point numbers, and of those of integers, which come last."""

    name: str
    f: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    integers: tuple[tuple[int, ...], ...] = ()

    def types(self, dtype: str) -> list[jax.ShapeDtypeStruct]:
        """The arguments as types."""
        floats = [jax.ShapeDtypeStruct(shape, jnp.dtype(dtype)) for shape in self.shapes]
        return floats + [jax.ShapeDtypeStruct(shape, INTEGERS) for shape in self.integers]

    def shrunk(self) -> "Problem":
        """The same with no axis longer than 24, to try it out."""
        small = lambda shapes: tuple(tuple(min(n, 24) for n in shape) for shape in shapes)
        return self._replace(shapes=small(self.shapes), integers=small(self.integers))


def problems() -> Iterator[Problem]:
    """Every op at the size that it has in a training step."""
    whole, rows, column = (ROWS, COLUMNS), (ROWS,), (COLUMNS,)
    yield from (Problem(op.__name__, op, (whole,)) for op in UNARY)
    yield from (Problem(op.__name__, op, (whole, whole)) for op in BINARY)
    yield from (Problem(op.__name__, lambda x, op=op: op(x, axis=-1), (whole,)) for op in REDUCTIONS)
    yield Problem("matmul", ops.matmul, (whole, (4096, 4096)))
    yield Problem("dense", ops.dense, (whole, (4096, 4096), column))
    yield Problem("layer_norm", ops.layer_norm, (whole, column, column))
    yield Problem("rms_norm", ops.rms_norm, (whole, column))
    yield Problem("dropout", lambda x: ops.dropout(x, jax.random.key(0), rate=0.1), (whole,))
    yield Problem("embedding", ops.embedding, ((50_000, 1024),), (rows,))
    yield Problem("gelu_feed_forward", ops.gelu_feed_forward, (
        (ROWS, 1024), (1024, 4096), column, (4096, 1024), (1024,),
    ))  # fmt: skip
    yield Problem("swiglu_feed_forward", ops.swiglu_feed_forward, (
        (ROWS, 1024), (1024, 4096), (1024, 4096), (4096, 1024),
    ))  # fmt: skip
    yield from images()
    yield from attentions()
    yield from losses()
    branch = lambda p, x: jnp.tanh(x @ p)
    yield Problem("reversible, 12 blocks", lambda *a: ops.reversible(*a, f=branch, g=branch), (
        (ROWS, 1024), (ROWS, 1024), (12, 1024, 1024), (12, 1024, 1024),
    ))  # fmt: skip
    step = lambda p, x: jnp.tanh(x @ p[0] + p[1])
    yield Problem("fixed_point, at most 50 steps", lambda w, b: ops.fixed_point(
        (w, b), jnp.zeros_like(b), f=step, max_steps=50,
    ).value, ((1024, 1024), (ROWS, 1024)))  # fmt: skip


def images() -> Iterator[Problem]:
    """Convolutions, pooling and norms as in a residual network, for 64 images."""
    x, channels = (64, 56, 56, 128), (128,)
    conv = lambda **settings: lambda x, w: ops.conv2d(x, w, padding="SAME", **settings)
    yield Problem("conv2d 3×3", conv(), (x, (3, 3, 128, 128)))
    yield Problem("conv2d 1×1", conv(), (x, (1, 1, 128, 128)))
    yield Problem("conv2d 3×3, stride 2", conv(stride=2), (x, (3, 3, 128, 128)))
    yield Problem("conv2d 3×3, depthwise", lambda x, w: ops.conv2d(
        x, w, padding="SAME", groups=x.shape[3],
    ), (x, (3, 3, 1, 128)))  # fmt: skip
    yield Problem("conv_transpose2d 4×4, stride 2", lambda z, w: ops.conv_transpose2d(z, w, stride=2), (
        (64, 28, 28, 128), (4, 4, 128, 128),
    ))  # fmt: skip
    yield Problem("max_pool 3×3, stride 2", lambda x: ops.max_pool(x, window=3, stride=2), (x,))
    yield Problem("avg_pool 2×2", lambda x: ops.avg_pool(x, window=2), (x,))
    yield Problem("batch_norm", lambda *a: ops.batch_norm(*a)[0], (x, channels, channels))
    inference = lambda x, scale, bias, mean, s: ops.batch_norm_inference(x, scale, bias, mean, s * s)
    yield Problem("batch_norm_inference", inference, (x, *[channels] * 4))
    yield Problem("local_response_norm", ops.local_response_norm, (x,))


def attentions() -> Iterator[Problem]:
    """Batches of sequences, one long sequence, keys shared by heads, a mask of numbers, short sequences."""
    causal = lambda *a: ops.attention(*a, causal=True)
    yield Problem("attention 8×1024, 8 heads of 64", ops.attention, ((8, 1024, 8, 64),) * 3)
    yield Problem("attention 8×1024, 8 heads of 64, causal", causal, ((8, 1024, 8, 64),) * 3)
    yield Problem("attention 1×8192, 8 heads of 64, causal", causal, ((1, 8192, 8, 64),) * 3)
    grouped = (8, 1024, 4, 64)
    yield Problem("attention 8×1024, 8 heads share 4, causal", causal, ((8, 1024, 8, 64), grouped, grouped))
    yield Problem("attention 8×1024, mask of numbers", ops.attention, (*[(8, 1024, 8, 64)] * 3, (8, 1024, 1024)))
    yield Problem("attention 128×64, 8 heads of 64", ops.attention, ((128, 64, 8, 64),) * 3)


def losses() -> Iterator[Problem]:
    """Losses of language models, of classifiers and of CLIP."""
    logits, rows = (ROWS, 1024), (ROWS,)
    yield Problem("squared_error", lambda x, y: ops.squared_error(x, y, reduce=jnp.mean), (logits, logits))
    yield Problem("logistic_loss", lambda z, y: ops.logistic_loss(z, y % 2, reduce=jnp.mean), (logits,), (logits,))
    integer = lambda z, labels: ops.softmax_cross_entropy_with_integer_labels(z, labels, reduce=jnp.mean)
    yield Problem("softmax_cross_entropy_with_integer_labels", integer, (logits,), (rows,))
    soft = lambda z, y: ops.softmax_cross_entropy(z, jax.nn.softmax(y), reduce=jnp.mean)
    yield Problem("softmax_cross_entropy", soft, (logits, logits))
    yield Problem(
        "linear_cross_entropy 8192×1024 → 50,000", ops.linear_cross_entropy, (logits, (1024, 50_000)), (rows,)
    )
    yield Problem("linear_cross_entropy 8192×1024 → 1000", ops.linear_cross_entropy, (logits, (1024, 1000)), (rows,))
    yield Problem("contrastive_loss 8192×512", ops.contrastive_loss, ((ROWS, 512), (ROWS, 512), ()))


def counted(f: Callable[..., Any], types: list[Any], platform: str = "cuda") -> dict[str, float]:
    """The figures of a function's forward pass and pullback on a platform."""
    both = Differentiated(f, types)

    def step(*arrays):
        y, pullback = both.forward(*arrays)
        return y, pullback([jnp.ones_like(v) for v in y])

    jaxpr = jx.chosen_for(platform, jx.trace(step, *types)[0])
    return {
        "steps": steps(jaxpr),
        **dict(zip(("stored_bytes", "argument_bytes"), both.stored_bytes(), strict=True)),
        "largest_bytes": largest(jaxpr),
        "flops": jx.flops(jaxpr),
    }


def steps(jaxpr: Any) -> int:
    """The steps of the longest nest of loops in a jaxpr; 0 without loops. A loop that ends by a test counts as one."""
    loops = ("scan", "while")
    inside = lambda eqn: max(map(steps, jx.inner_jaxprs(eqn)), default=0)
    return max(
        (jx.scan_length(eqn) * max(1, inside(eqn)) if eqn.primitive.name in loops else inside(eqn)
         for eqn in jx.needed_equations(jaxpr)),
        default=0,
    )  # fmt: skip


def largest(jaxpr: Any) -> int:
    """The bytes of the largest array that an equation of a jaxpr yields, inside loops as well."""
    size = lambda v: math.prod(v.aval.shape) * getattr(v.aval.dtype, "itemsize", 0)
    inside = lambda eqn: max(map(largest, jx.inner_jaxprs(eqn)), default=0)
    return max((max(inside(eqn), *map(size, eqn.outvars)) for eqn in jx.needed_equations(jaxpr)), default=0)


def measured(f: Callable[..., Any], types: list[Any], rounds: int) -> dict[str, Any]:
    """Hand against automatic, compiled for this machine, in interleaved pairs."""
    random = np.random.default_rng(0)
    draw = lambda t: (
        random.standard_normal(t.shape) if jnp.issubdtype(t.dtype, jnp.inexact) else random.integers(8, size=t.shape)
    )
    arrays = [jax.device_put(np.asarray(draw(t)).astype(t.dtype)) for t in types]
    hand, plain = (Differentiated(g, arrays).parts()[2] for g in (f, automatic(f)))
    return pairs(hand, plain, least=rounds).to_json("hand", "automatic")


def figures(problem: Problem, rounds: int = 0) -> dict[str, Any]:
    """All figures of a problem, in both formats; with `rounds`, also times."""
    found = {}
    for dtype in FORMATS:
        types = problem.types(dtype)
        found[dtype] = {
            "hand": counted(problem.f, types),
            "automatic": counted(automatic(problem.f), types),
            "on_cpu": counted(problem.f, types, "cpu")["steps"],
        }
        if rounds:
            found[dtype]["time"] = measured(problem.f, types, rounds)
    return found


def row(name: str, found: dict[str, Any]) -> tuple[str, ...]:
    """A problem's line in the table."""

    def both(what, text, dtype="float32"):
        return " / ".join(text(found[dtype][side][what]) for side in ("hand", "automatic"))

    single = found["float32"]
    times = [ratio_text(found[dtype]["time"]["ratio"]) for dtype in FORMATS if "time" in found[dtype]]
    return (
        name.replace("_", " "),
        f"{count_text(single['on_cpu'])} → {both('steps', count_text)}",
        *(both("stored_bytes", bytes_text, dtype) for dtype in FORMATS),
        *(both("largest_bytes", bytes_text, dtype) for dtype in FORMATS),
        ratio_text(single["hand"]["flops"] / max(1, single["automatic"]["flops"])),
        *times,
    )


def larger(data: dict[str, Any], *what: str) -> int:
    """In how many problems the sum of these figures is larger by hand than automatic, in any format."""
    total = lambda side: sum(side[w] for w in what)
    return sum(any(total(f["hand"]) > total(f["automatic"]) for f in found.values()) for found in data.values())


def main(only: str = "", rounds: int = 0) -> None:
    """Count for every op, and measure where an accelerator is at hand.

    Args:
        only: Only problems with this text in their name; the others keep their stored figures.
        rounds: Pairs of timed runs; by default 20 on an accelerator and none on a CPU.
    """
    at_hand = jax.default_backend() != "cpu"
    kept = FOLDER / "accelerators.json"
    data = json.loads(kept.read_text())["problems"] if only else {}
    for problem in problems():
        if only in problem.name:
            data[problem.name] = figures(problem, rounds or 20 * at_hand)
            print(*row(problem.name, data[problem.name]), sep=" | ", flush=True)
    timed = any("time" in found["float32"] for found in data.values())
    columns = (
        "operation", "steps on a CPU → hand / auto", "residuals, float32", "bfloat16", "largest array, float32",
        "bfloat16", "operations", *["time, float32", "bfloat16"] * timed,
    )  # fmt: skip
    where = f"times on {machine()['device']}" if timed else "counted; no accelerator was at hand, so nothing is timed"
    more, more_with_arguments = larger(data, "stored_bytes"), larger(data, "stored_bytes", "argument_bytes")
    note = (
        "Each pair is hand / automatic; operations and times are ratios hand : automatic. Residuals are without "
        f"arguments: a rule keeps more than the automatic derivative in {more} of {len(data)} rows; with the arguments "
        f"that the backward pass needs, in {more_with_arguments}. See `benchmarks/accelerators.md`."
    )
    table = Table(f"Rules on accelerators ({where})", columns, [row(n, found) for n, found in data.items()], note)
    keep("accelerators", {"problems": data}, table)


if __name__ == "__main__":
    tyro.cli(main)
