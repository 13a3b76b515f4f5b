"""An epoch of training: jaxdl's compiled scan against Flax with a jitted step, and PyTorch's eager loop.

    python -m benchmarks.training          (needs the extra `peers` for PyTorch)

The 64–128–128–10 MLP on all 1,797 digits in batches of 64, 28 steps an epoch, SGD with the same rate everywhere.
The libraries take turns, epoch by epoch, in one process on as many threads; the figure is the median ratio.
"""

import os
import time

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.results_folder import keep
from jaxdl import automatic, nn, ops
from jaxdl.data import load
from jaxdl.report import Table, ratio_text, seconds_text
from jaxdl.train import compiled_epoch

BATCH, RATE, EPOCHS = 64, 0.05, 60
CROSS_ENTROPY = ops.softmax_cross_entropy_with_integer_labels


def by_jaxdl(x, y, transform=lambda f: f):
    """An epoch as one scan. The parameters stay on the device from epoch to epoch."""
    model, optimizer = nn.with_function(nn.mlp(128, 128, 10), transform), optax.sgd(RATE)
    run = compiled_epoch(model, transform(CROSS_ENTROPY), optimizer)
    params = model.init(jax.random.key(0), x.shape[1:])
    state = [params, optimizer.init(params)]
    x, y, key = jnp.asarray(x), jnp.asarray(y), jax.random.key(1)

    def epoch(batches):
        *state[:], losses = run(*state, x, y, batches, key)
        return float(losses.mean())

    return epoch


def by_flax(x, y):
    """The usual loop: a jitted step for each batch, taken out of NumPy arrays."""

    class Mlp(linen.Module):
        @linen.compact
        def __call__(self, x):
            for width in (128, 128):
                x = linen.relu(linen.Dense(width)(x))
            return linen.Dense(10)(x)

    model, optimizer = Mlp(), optax.sgd(RATE)
    params = model.init(jax.random.key(0), x[:1])
    state = [params, optimizer.init(params)]

    @jax.jit
    def step(params, state, x, y):
        def loss(params):
            return optax.softmax_cross_entropy_with_integer_labels(model.apply(params, x), y).mean()

        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), state, value

    def epoch(batches):
        losses = []
        for rows in batches:
            *state[:], loss = step(*state, x[rows], y[rows])
            losses.append(loss)
        return float(np.mean(jax.device_get(losses)))

    return epoch


def by_torch(x, y):
    """PyTorch's eager loop."""
    import torch

    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(0)
    layers = [torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 128), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), RATE)
    loss = torch.nn.CrossEntropyLoss()
    x, y = torch.from_numpy(x), torch.from_numpy(y).long()

    def epoch(batches):
        losses = []
        for rows in torch.from_numpy(batches):
            optimizer.zero_grad()
            value = loss(model(x[rows]), y[rows])
            value.backward()
            optimizer.step()
            losses.append(value.detach())
        return float(torch.stack(losses).mean())

    return epoch


def main() -> None:
    """Measure, print and keep the table."""
    digits = load("digits")
    x = np.concatenate([digits.train_x, digits.test_x]).reshape(1797, 64)
    y = np.concatenate([digits.train_y, digits.test_y])
    sides = {"jaxdl": by_jaxdl(x, y), "jaxdl, automatic": by_jaxdl(x, y, automatic), "Flax and optax": by_flax(x, y)}
    try:
        sides["PyTorch, eager"] = by_torch(x, y)
    except ImportError:
        print("PyTorch is left out: pip install 'jaxdl[peers]'")
    times, losses = {name: [] for name in sides}, {}
    for i in range(EPOCHS + 5):
        order = np.random.default_rng(i).permutation(len(x))
        batches = order[: len(x) // BATCH * BATCH].reshape(-1, BATCH)
        for name in list(sides)[:: 1 if i % 2 else -1]:
            start = time.perf_counter()
            losses[name] = sides[name](batches)
            times[name].append(time.perf_counter() - start)
    times = {name: np.array(t[5:]) for name, t in times.items()}
    ratios = {name: float(np.median(t / times["jaxdl"])) for name, t in times.items()}
    rows = [
        (name, seconds_text(float(np.median(t))), ratio_text(ratios[name]), f"{losses[name]:.4f}")
        for name, t in times.items()
    ]
    note = "Ratio: its time over jaxdl's, epoch by epoch; the median."
    table = Table("An epoch of the 64–128–128–10 MLP", ("library", "epoch", "ratio", "loss at the end"), rows, note)
    keep("training", {"ratios_to_jaxdl": ratios, "seconds": {n: float(np.median(t)) for n, t in times.items()}}, table)


if __name__ == "__main__":
    main()
