"""`fit`: the loop over epochs, each a compiled scan over batches."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jaxdl.data import check_inputs
from jaxdl.nn import Layer


class Trained(NamedTuple):
    """Parameters, and one dictionary an epoch: loss, seconds, and the metrics on the held-out data."""

    params: Any
    history: list[dict[str, float]]


class Diverged(FloatingPointError):
    """The loss became NaN or infinite. `trained` is what there was after the last whole epoch."""

    def __init__(self, message: str, trained: Trained):
        super().__init__(message)
        self.trained = trained


def fit(
    model: Layer,
    loss: Callable,
    data: tuple,
    optimizer: optax.GradientTransformation,
    epochs: int,
    key: jax.Array,
    *,
    batch: int = 64,
    test: tuple | None = None,
    metrics: Mapping[str, Callable] | None = None,
    watch: Callable[[int, Any], None] | None = None,
    title: str = "training",
    quiet: bool = False,
) -> Trained:
    """Minimises the mean over batches of loss(model.apply(params, x), y).

    data: (x, y), arrays or pytrees of arrays in memory with the examples in front; each epoch goes through
    them in a new order, drawn from the key, in batches of `batch`, leaving out what does not fill one.
    test: (x, y) on which the loss ("test_loss") and `metrics`, functions of (output, y), are taken
    after every epoch. watch(epoch, params) is called before the first epoch (0) and after each one.
    The progress bar shows on a terminal only, and never with `quiet`.

    Raises ValueError for data without examples, of unequal lengths or with NaN, TypeError for integer
    inputs other than tokens (signed), and Diverged at the first epoch in which a loss is not finite.
    """
    x, y = data
    examples = _examples(x, y)
    jax.tree.map(_check, x)
    if epochs < 0 or batch < 1:
        raise ValueError(f"fit: epochs must be 0 or more and batch 1 or more, got {epochs} and {batch}")
    batch = min(batch, examples)
    init_key, order_key, noise_key = jax.random.split(key, 3)
    params = model.init(init_key, jax.tree.map(_shape, x))
    state = optimizer.init(params)
    order_seed = np.asarray(jax.random.key_data(order_key)).tolist()
    run = compiled_epoch(model, loss, optimizer)
    evaluate = _evaluation(model, loss, metrics or {})
    x, y = jax.tree.map(jnp.asarray, (x, y))
    history = []
    if watch:
        watch(0, params)
    with _progress(title, epochs, quiet) as advance:
        for epoch in range(1, epochs + 1):
            start = time.perf_counter()
            order = np.random.default_rng([*order_seed, epoch]).permutation(examples)
            batches = order[: examples // batch * batch].reshape(-1, batch)
            new = run(params, state, x, y, batches, jax.random.fold_in(noise_key, epoch))
            losses = np.asarray(new[2])
            seconds = time.perf_counter() - start
            if not np.isfinite(losses).all():
                step = int(np.argmin(np.isfinite(losses)))
                raise Diverged(
                    f"the loss is {losses[step]} at step {step + 1} of {len(losses)} in epoch {epoch}: "
                    f"try a smaller learning rate, and check the labels (a label outside the classes gives NaN)",
                    Trained(params, history),
                )
            params, state, _ = new
            row = {"epoch": epoch, "loss": float(losses.mean()), "seconds": seconds}
            if test is not None:
                row |= {name: float(value) for name, value in evaluate(params, *test).items()}
            history.append(row)
            if watch:
                watch(epoch, params)
            advance(row)
    return Trained(params, history)


def training_step(model: Layer, loss: Callable, optimizer: optax.GradientTransformation) -> Callable:
    """One step on a batch, for `jax.jit` or a scan: (params, state, x, y, key) → (params, state, loss)."""

    def objective(params, x, y, key):
        return loss(model.apply(params, x, key=key), y)

    def step(params, state, x, y, key):
        value, gradients = jax.value_and_grad(objective)(params, x, y, key)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    return step


def compiled_epoch(model: Layer, loss: Callable, optimizer: optax.GradientTransformation) -> Callable:
    """One epoch as one compiled scan: (params, state, x, y, batches, key) → (params, state, losses).

    batches (steps, batch) holds the rows of x and y that each step takes; losses (steps,) are theirs.
    """
    step = training_step(model, loss, optimizer)

    @jax.jit
    def epoch(params, state, x, y, batches, key):
        def on_rows(carry, batch):
            rows, k = batch
            *carry, value = step(*carry, *jax.tree.map(lambda a: a[rows], (x, y)), k)
            return tuple(carry), value

        keys = jax.random.split(key, len(batches))
        (params, state), losses = jax.lax.scan(on_rows, (params, state), (batches, keys))
        return params, state, losses

    return epoch


def _examples(x, y):
    counts = list(dict.fromkeys(len(leaf) for leaf in jax.tree.leaves((x, y))))
    if len(counts) != 1:
        raise ValueError(f"fit: x and y must have as many examples, got {' and '.join(map(str, counts))}")
    return counts[0]


def _check(x):
    """Signed integers are tokens, which the model's embedding looks up; all else has to be floating point."""
    if len(x) == 0 or not np.issubdtype(x.dtype, np.signedinteger):
        check_inputs(x)


def _shape(x):
    shape = x.shape[1:]
    return shape if jnp.issubdtype(x.dtype, jnp.floating) else jax.ShapeDtypeStruct(shape, jnp.int32)


def _evaluation(model, loss, metrics):
    @jax.jit
    def evaluate(params, x, y):
        output = model.apply(params, x)
        return {"test_loss": loss(output, y)} | {name: metric(output, y) for name, metric in metrics.items()}

    return evaluate


class _progress:
    """A progress bar on a terminal; elsewhere nothing."""

    def __init__(self, title, epochs, quiet):
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, TextColumn("{task.fields[last]}"), console=console, transient=True)
        self.bar.disable = quiet or not console.is_terminal
        self.task = self.bar.add_task(title, total=epochs, last="")

    def __enter__(self):
        self.bar.start()
        return lambda row: self.bar.update(self.task, advance=1, last=f"loss {row['loss']:.4f}")

    def __exit__(self, *error):
        self.bar.stop()
