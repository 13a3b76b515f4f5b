"""Trains each network from several seeds, and times one step with hand-written and with automatic derivatives."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.convnets.augmentation import moved
from experiments.convnets.models import Candidate
from jaxdl import automatic, nn, ops, train
from jaxdl.data import Dataset, resized
from jaxdl.measure import pairs

BATCH = 64
DIGITS = 1437  # the number of training images that the epochs in the table are for
cross_entropy = ops.softmax_cross_entropy_with_integer_labels


def trained_and_timed(candidate: Candidate, images: Dataset, *, seeds: int, seconds: float) -> dict:
    """Parameters, epochs, accuracy on the test images for every seed, seconds of an epoch, of training, of a step."""
    side = candidate.side or side_of_windows(images.shape)
    train_x, test_x = (fitted(x, side) for x in (images.train_x, images.test_x))
    model = candidate.make(images.classes)
    epochs = epochs_for(len(train_x), candidate.epochs)
    optimizer = candidate.optimizer(epochs * max(1, len(train_x) // BATCH))
    behind_augmentation = nn.serial(moved(shift=0.08, turn=0.15, zoom=0.1), model)
    accuracies, epoch_seconds = [], []
    with jax.numpy_dtype_promotion("standard"):  # optax mixes the types of its numbers
        for seed in range(seeds):
            data, key = (train_x, images.train_y), jax.random.key(seed)
            fit = train.fit(behind_augmentation, cross_entropy, data, optimizer, epochs, key, batch=BATCH, quiet=True)
            accuracies.append(accuracy(model, fit.params[1], test_x, images.test_y))
            epoch_seconds.append(np.median([epoch["seconds"] for epoch in fit.history]))
        step = step_pairs(model, optimizer, fit.params[1], train_x[:BATCH], images.train_y[:BATCH], seconds)
    return {
        "shape": train_x.shape[1:],
        "parameters": nn.parameter_count(fit.params),
        "epochs": epochs,
        "accuracy": accuracies,
        "epoch_seconds": float(np.median(epoch_seconds)),
        "training_seconds": float(np.median(epoch_seconds)) * epochs,
        "step": step.to_json("hand", "automatic"),
    }


def side_of_windows(shape: tuple[int, ...]) -> int:
    """The side of square images that are cut into patches of 4: a multiple of 4, at least 8."""
    return max(8, -(-max(shape[:2]) // 4) * 4)


def fitted(x: np.ndarray, side: int) -> np.ndarray:
    return x if x.shape[1:3] == (side, side) else resized(x, side)


def epochs_for(examples: int, epochs: int) -> int:
    """Fewer epochs for larger data sets: as many images in total as for the digits, but at least five epochs."""
    return min(epochs, max(5, epochs * DIGITS // examples))


def accuracy(model: nn.Layer, params, x: np.ndarray, y: np.ndarray) -> float:
    """The accuracy, computed in parts to limit the memory for activations."""
    apply = jax.jit(model.apply)
    parts = zip(*(np.array_split(a, -(-len(a) // 1000)) for a in (x, y)), strict=True)
    return sum(int((apply(params, xs).argmax(-1) == ys).sum()) for xs, ys in parts) / len(x)


def step_pairs(model: nn.Layer, optimizer, params, x, y, seconds: float):
    """Times of a training step with and without hand-written rules, including the optimiser and dropout."""
    by_hand = train.training_step(model, cross_entropy, optimizer)
    without = train.training_step(nn.with_function(model, automatic), automatic(cross_entropy), optimizer)
    arguments = params, optimizer.init(params), jnp.asarray(x), jnp.asarray(y), jax.random.key(0)
    hand, plain = (jax.jit(step) for step in (by_hand, without))
    return pairs(lambda: hand(*arguments), lambda: plain(*arguments), seconds=seconds)
