"""Training steps of convolutional networks inside a compiled loop, as in `jaxdl.train.fit`, and one by one.

    python -m benchmarks.loops

Two steps of gradient descent, as a `jax.lax.scan` and written out, each with hand-written and with automatic
derivatives: all programs are timed in turn in one process. XLA for CPUs brings convolutions into the order of axes
that its libraries take only outside of loops. The hand-written rules have that order from the start; the automatic
derivative's gradients of kernels have another one. `train.fit` brings them into it; this changes no hand-written rule.
"""

import jax
import jax.numpy as jnp

from benchmarks.results_folder import keep, machine
from jaxdl import automatic, nn, ops
from jaxdl.measure.timing import Pairs, rounds
from jaxdl.report import Table, ratio_text, seconds_text
from jaxdl.train.compiled_loops import fast_in_loops

STEPS, BATCH, SECONDS = 2, 16, 12.0
SIDES, FORMS = ("hand", "automatic"), ("loop", "one by one")
IN_FIT = "automatic", "loop of fit"
MODELS = {
    "LeNet-5": (nn.lenet5(10), (28, 28, 1), (10,)),
    "convolutional autoencoder": (nn.conv_autoencoder(8), (28, 28, 1), (28, 28, 1)),
    "MLP 784–128–10": (nn.mlp(128, 10), (28, 28, 1), (10,)),
}


def programs(model, image, out) -> dict:
    """The programs, compiled, as functions without arguments: both sides in both forms, and the loop of `train.fit`."""
    keys = jax.random.split(jax.random.key(0), 3)
    params = model.init(keys[0], image)
    data = [jax.random.normal(k, (STEPS, BATCH, *shape)) for k, shape in zip(keys[1:], (image, out), strict=True)]

    def step(apply):
        def one(params, batch):
            x, y = batch
            loss, gradient = jax.value_and_grad(lambda p: ops.squared_error(apply(p, x), y).mean())(params)
            return jax.tree.map(lambda p, g: p - 1e-3 * g, params, gradient), loss

        return one

    def in_loop(one):
        return lambda params, data: jax.lax.scan(one, params, data)

    def one_by_one(one):
        def steps(params, data):
            losses = []
            for i in range(STEPS):
                params, loss = one(params, [d[i] for d in data])
                losses.append(loss)
            return params, jnp.stack(losses)

        return steps

    sides = {"hand": model.apply, "automatic": automatic(model.apply)}
    forms = {"loop": in_loop, "one by one": one_by_one}
    written = {(side, form): make(step(apply)) for side, apply in sides.items() for form, make in forms.items()}
    written[IN_FIT] = fast_in_loops(written["automatic", "loop"], jax.default_backend())
    compiled = {name: jax.jit(program).lower(params, data).compile() for name, program in written.items()}
    return {name: lambda program=program: program(params, data) for name, program in compiled.items()}


def measured(name) -> dict:
    """Of one model: times of a step in each program, and the ratios of interest."""
    runs = programs(*MODELS[name])
    times = dict(zip(runs, rounds(*runs.values(), seconds=SECONDS), strict=True))
    pairs = lambda first, second: Pairs(times[first], times[second])
    return {
        "step": {f"{side}, {form}": pairs((side, form), (side, form)).medians[0] / STEPS for side, form in runs},
        "hand : automatic": {form: pairs(*((side, form) for side in SIDES)).to_json(*SIDES) for form in FORMS},
        "loop : one by one": {side: pairs(*((side, form) for form in FORMS)).to_json(*FORMS) for side in SIDES},
        "loop of fit": {
            "hand : automatic": pairs(("hand", "loop"), IN_FIT).to_json(*SIDES),
            "loop of fit : one by one": pairs(IN_FIT, ("automatic", "one by one")).to_json("loop of fit", "one by one"),
        },
    }


def row(name, entry) -> tuple[str, ...]:
    """A model's line in the table."""
    cells = []
    for form in FORMS:
        cells += [seconds_text(entry["step"][f"{side}, {form}"]) for side in SIDES]
        cells.append(ratio_text(entry["hand : automatic"][form]["ratio"]))
    cells += [seconds_text(entry["step"][", ".join(IN_FIT)])]
    cells.append(ratio_text(entry["loop of fit"]["hand : automatic"]["ratio"]))
    return name, *cells


def main() -> None:
    data, rows = {}, []
    for name in MODELS:
        data[name] = measured(name)
        rows.append(row(name, data[name]))
        print(rows[-1], flush=True)
    where = machine()
    table = Table(
        f"A training step at batch {BATCH}, {where['device']}, {where['cores']} cores, JAX {where['jax']}",
        (
            *("model", "in a loop: hand", "automatic", "hand : auto", "one by one: hand", "automatic", "hand : auto"),
            *("in fit: automatic", "hand : auto"),
        ),
        rows,
        f"Medians of programs of {STEPS} steps, timed in turn; the ratios are medians of pairs.",
    )
    minor = "_".join(where["jax"].split(".")[:2])
    keep(f"loops_jax_{minor}", {"models": data}, table)


if __name__ == "__main__":
    main()
