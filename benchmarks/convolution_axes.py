"""Single convolutions inside a loop on a CPU: as they are, and in the order of axes for which XLA has a library.

    python -m benchmarks.convolution_axes

Both are timed in turn in one process, in a `jax.lax.scan`. From such ratios `jaxdl/jaxpr/convolution_axes.py` has its
limits, below which `train.fit` leaves a convolution as it is; they are switched off here.
"""

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.results_folder import keep, machine
from jaxdl import jaxpr as jx
from jaxdl.jaxpr import convolution_axes
from jaxdl.measure.timing import Pairs, rounds
from jaxdl.report import Table, ratio_text, seconds_text
from jaxdl.train.compiled_loops import fast_in_loops

STEPS, IMAGES, SECONDS = 3, 16, 1.5
LAST, FIRST = ("NWC", "NHWC", "NDHWC"), ("NCW", "NCHW", "NCDHW")
# Window, channels, outputs, groups, size of the image, axes of space
SIZES = (
    (5, 1, 6, 1, 28, 2), (3, 32, 32, 1, 14, 2), (1, 64, 64, 1, 14, 2), (3, 1, 8, 1, 14, 2), (3, 1, 32, 1, 14, 2),
    (3, 4, 4, 1, 14, 2), (3, 8, 8, 1, 14, 2), (3, 32, 32, 2, 14, 2), (3, 32, 32, 8, 14, 2), (3, 32, 32, 32, 14, 2),
    (5, 32, 32, 1, 128, 1), (5, 1, 8, 1, 128, 1), (3, 3, 16, 1, 8, 3), (3, 16, 16, 1, 8, 3),
)  # fmt: skip


def faces(window, channels, outputs, groups, size, space, last) -> dict:
    """The value and both gradients of a convolution, by name: functions and arguments."""
    images = (LAST if last else FIRST)[space - 1]
    kernel = images[1:-1] + "IO" if last else "OI" + images[2:]
    shape = {"N": IMAGES, "C": channels, "I": channels // groups, "O": outputs}
    draw = lambda axes, other: jax.random.normal(jax.random.key(0), [shape.get(axis, other) for axis in axes])
    x, w = draw(images, size), draw(kernel, window)
    f = lambda x, w: lax.conv_general_dilated(
        x, w, (1,) * space, "SAME", dimension_numbers=(images, kernel, images), feature_group_count=groups
    )
    dy = jnp.ones_like(f(x, w))
    return {
        "value": (f, (x, w)),
        "kernel": (lambda x, dy: jax.linear_transpose(lambda w: f(x, w), w)(dy)[0], (x, dy)),
        "image": (lambda dy, w: jax.linear_transpose(lambda x: f(x, w), x)(dy)[0], (dy, w)),
    }


def measured(f, args) -> dict | None:
    """Times of both programs, whether `fit` rewrites it; None for a convolution that has the order already."""

    def looped(x, y):
        zeros = jnp.zeros_like(f(x, y))
        return lax.scan(lambda total, factor: (total + f(x * factor, y), None), zeros, jnp.arange(1.0, STEPS + 1))[0]

    plain = jax.jit(looped).lower(*args).compile()
    rewritten = any(map(jx.with_library_axes, jx.equations(jax.make_jaxpr(f)(*args))))
    gains, convolution_axes._gains = convolution_axes._gains, lambda eqn: True
    try:
        if not any(map(jx.with_library_axes, jx.equations(jax.make_jaxpr(f)(*args)))):
            return None
        moved = jax.jit(fast_in_loops(looped, "cpu")).lower(*args).compile()
    finally:
        convolution_axes._gains = gains
    pairs = Pairs(*rounds(lambda: moved(*args), lambda: plain(*args), seconds=SECONDS))
    times = [t / STEPS for t in pairs.medians]
    return {"moved": times[0], "plain": times[1], "ratio": pairs.ratio, "rewritten": rewritten}


def main() -> None:
    data, rows = [], []
    for sizes in SIZES:
        for last in (True, False):
            for face, (f, args) in faces(*sizes, last).items():
                entry = measured(f, args)
                if entry is None:
                    continue
                window, channels, outputs, groups, size, space = sizes
                name = f"{'×'.join([str(window)] * space)}, {channels} to {outputs}, on {'×'.join([str(size)] * space)}"
                name += f", {groups} groups" * (groups > 1)
                order = (LAST if last else FIRST)[space - 1]
                times = seconds_text(entry["plain"]), seconds_text(entry["moved"])
                rows.append(
                    (name, order, face, *times, ratio_text(entry["ratio"]), "yes" if entry["rewritten"] else "no")
                )
                data.append(entry | {"sizes": sizes, "order": order, "face": face})
                print(rows[-1], flush=True)
    where = machine()
    table = Table(
        f"A convolution of {IMAGES} images in a loop, {where['device']}, {where['cores']} cores, JAX {where['jax']}",
        ("convolution", "from", "face", "as it is", "library's order", "ratio", "rewritten"),
        rows,
    )
    keep(f"convolution_axes_jax_{'_'.join(where['jax'].split('.')[:2])}", {"convolutions": data}, table)


if __name__ == "__main__":
    main()
