"""Backward passes within a budget of bytes: `rematerialized` against the automatic derivative and JAX's checkpoints.

    python -m benchmarks.memory_budgets

At a half and at a tenth of the bytes that the automatic derivative keeps: the time of forward and backward pass against
the automatic derivative, and against the best of JAX's checkpoint policies that keeps no more bytes than the budget;
the bytes kept, and the temporary memory of the compiled step. Where a model is a scan of layers, each policy is taken
around the whole function and around each layer.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.results_folder import keep
from jaxdl import automatic, nn, ops, rematerialized
from jaxdl.measure import Differentiated, Pairs, rounds
from jaxdl.report import Table, bytes_text, ratio_text

POLICIES = {
    "nothing": jax.checkpoint_policies.nothing_saveable,
    "products": jax.checkpoint_policies.dots_saveable,
    "products without a batch": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    "everything": jax.checkpoint_policies.everything_saveable,
}
BUDGETS = {"half": 2, "tenth": 10}


class Case(NamedTuple):
    """A loss, with its arguments.

    with_rules: the loss with hand-written rules, if it has any.
    layers: the loss with a function around each layer, if it is a scan of layers.
    """

    loss: Callable
    args: tuple
    with_rules: Callable | None = None
    layers: Callable | None = None


def transformer_by_scan(around=lambda layer: layer, *, depth=12, d=128, heads=4, length=128, batch=4):
    """The squared outputs of `depth` equal blocks, with functions of JAX alone."""
    random = np.random.default_rng(0)
    weights = lambda *shape: jnp.asarray(random.standard_normal((depth, *shape)) / shape[0] ** 0.5, jnp.float32)
    params = {"qkv": weights(d, 3 * d), "out": weights(d, d), "up": weights(d, 4 * d), "down": weights(4 * d, d)}

    def block(x, p):
        q, k, v = jnp.split((jax.nn.standardize(x) @ p["qkv"]).reshape(batch, length, heads, -1), 3, -1)
        scores = jnp.einsum("nlhd,nmhd->nhlm", q, k) / q.shape[-1] ** 0.5
        mixed = jnp.einsum("nhlm,nmhd->nlhd", jax.nn.softmax(scores), v).reshape(x.shape)
        x = x + mixed @ p["out"]
        return x + jax.nn.gelu(jax.nn.standardize(x) @ p["up"]) @ p["down"], None

    def loss(params, x):
        return (jax.lax.scan(around(block), x, params)[0] ** 2).mean()

    return loss, (params, jnp.asarray(random.standard_normal((batch, length, d)), jnp.float32))


def of_model(model, shape, batch, loss):
    params = model.init(jax.random.key(0), shape)
    random = np.random.default_rng(0)
    x = jnp.asarray(random.random((batch, *shape)), jnp.float32)
    labels = jnp.asarray(random.integers(0, 10, batch), jnp.int32)
    with_rules = lambda params, x: loss(model.apply(params, x), x, labels)
    return Case(automatic(with_rules), (params, x), with_rules)


def cases() -> dict[str, Case]:
    """Each program with its loss and arguments."""
    classified = lambda logits, x, labels: ops.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    rebuilt = lambda y, x, labels: ((y - x) ** 2).mean()
    return {
        "transformer, 12 layers by scan": Case(
            *transformer_by_scan(), layers=lambda around: transformer_by_scan(around)[0]
        ),
        "MLP 512–512": of_model(nn.mlp(512, 512, 10), (28, 28, 1), 64, classified),
        "LeNet-5": of_model(nn.lenet5(), (28, 28, 1), 64, classified),
        "convolutional autoencoder": of_model(nn.conv_autoencoder(32), (28, 28, 1), 64, rebuilt),
    }


class Step:
    """The forward and backward pass of a loss."""

    def __init__(self, loss, args):
        leaves, tree = jax.tree.flatten(args)
        self.differentiated = Differentiated(lambda *leaves: loss(*tree.unflatten(leaves)), leaves)
        self.kept = self.differentiated.stored_bytes()[0]

    @functools.cached_property
    def run(self):
        step, dy = self.differentiated.compiled[0], self.differentiated.cotangent()
        return lambda: step(self.differentiated.arrays, dy)

    @property
    def temporary(self):
        return self.differentiated.compiled[0].memory_analysis().temp_size_in_bytes


def checkpointed_steps(case: Case) -> dict[str, Step]:
    """A step for each of JAX's policies, around the whole function and around each layer."""
    found = {}
    for name, policy in POLICIES.items():
        around = functools.partial(jax.checkpoint, policy=policy)
        found[f"{name}, whole"] = Step(around(case.loss), case.args)
        if case.layers:
            around = functools.partial(jax.checkpoint, policy=policy, prevent_cse=False)
            found[f"{name}, each layer"] = Step(case.layers(around), case.args)
    return found


def measured(name: str, seconds: float = 12.0) -> list[dict]:
    """One row for each budget, and for the program without and with its rules."""
    case = cases()[name]
    plain, policies = Step(case.loss, case.args), checkpointed_steps(case)
    fitting = {p: step for p, step in policies.items() if step.kept <= plain.kept // 2}
    programs = {"": case.loss} | ({", with rules": case.with_rules} if case.with_rules else {})
    steps = {
        budget + which: Step(rematerialized(loss, max_bytes=plain.kept // n), case.args)
        for which, loss in programs.items()
        for budget, n in BUDGETS.items()
    }
    timed = {"automatic": plain, **steps, **fitting}
    times = dict(zip(timed, rounds(*(step.run for step in timed.values()), seconds=seconds), strict=True))
    ratio = lambda a, b: Pairs(times[a], times[b]).ratio
    rows = []
    for budget, step in steps.items():
        most = plain.kept // BUDGETS[budget.split(",")[0]]
        allowed = [p for p, policy in fitting.items() if policy.kept <= most]
        best = min(allowed, key=lambda p: ratio(p, "automatic"), default=None)
        rows.append(
            {
                "program": name,
                "budget": budget,
                "max_bytes": most,
                "kept_bytes": step.kept,
                "temporary_bytes": step.temporary,
                "automatic_temporary_bytes": plain.temporary,
                "time_to_automatic": ratio(budget, "automatic"),
                "best_policy": best,
                "best_policy_bytes": best and policies[best].kept,
                "time_to_best_policy": best and ratio(budget, best),
            }
        )
    return rows


COLUMNS = (
    ("program", lambda r: r["program"]),
    ("budget", lambda r: r["budget"]),
    ("best policy", lambda r: r["best_policy"] or "–"),
    ("bytes allowed", lambda r: bytes_text(r["max_bytes"])),
    ("kept", lambda r: bytes_text(r["kept_bytes"])),
    ("by the policy", lambda r: bytes_text(r["best_policy_bytes"])),
    ("time : automatic", lambda r: ratio_text(r["time_to_automatic"])),
    ("time : best policy", lambda r: ratio_text(r["time_to_best_policy"])),
    ("temporary : automatic", lambda r: ratio_text(r["temporary_bytes"] / r["automatic_temporary_bytes"])),
)


def main(seconds: float = 12.0) -> None:
    """Measure every program.

    Args:
        seconds: How long to time each program.
    """
    rows = [row for name in cases() for row in measured(name, seconds)]
    note = (
        "The budgets are a half and a tenth of the bytes that the automatic derivative keeps. Ratios below 1 are gains."
    )
    cells = [tuple(cell(row) for _, cell in COLUMNS) for row in rows]
    table = Table("Backward passes within a budget", tuple(name for name, _ in COLUMNS), cells, note, words=3)
    minor = "_".join(jax.__version__.split(".")[:2])
    keep(f"memory_budgets_{minor}", {"rows": rows}, table)


if __name__ == "__main__":
    tyro.cli(main)
