"""A model trained twice from one seed, with hand-written rules and with the automatic derivative."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import nn
from jaxdl.cli.training_recipes import Recipe
from jaxdl.data import Dataset
from jaxdl.measure import Contrast, contrast
from jaxdl.report import number_text
from jaxdl.strip import automatic
from jaxdl.train import Trained, fit
from jaxdl.train.steps import averaged
from jaxdl.tuner import Tuned, tune

BATCH = 64
TUNING_SECONDS = 10
SHOWN = 10  # test examples whose outputs are kept


@dataclass(frozen=True)
class PairedTraining:
    """A model trained with both derivatives, from the same seed and on the same batches.

    Attributes:
        recipe: How the model was trained.
        parameters: The number of its parameters.
        hand: The training with hand-written rules.
        automatic: The training with the automatic derivative.
        gradient_differences: Before training and after each epoch, the largest difference between the two gradients at
            the hand-trained parameters, over the largest entry of the gradient.
        contrast: Hand against automatic at the end of the training.
        tuned: The tuned objective, if one was asked for.
        test_outputs: Outputs of the hand-trained model for the first test examples.
    """

    recipe: Recipe
    parameters: int
    hand: Trained
    automatic: Trained
    gradient_differences: list[float]
    contrast: Contrast
    tuned: Tuned | None
    test_outputs: np.ndarray

    @property
    def largest_difference(self) -> float:
        """The largest of the gradient differences; NaN if any is."""
        return float(np.max(self.gradient_differences))

    def to_json(self) -> dict[str, Any]:
        """Both histories, the gradient differences and the contrast as plain data."""
        return {
            "title": self.recipe.title,
            "parameters": self.parameters,
            "hand": self.hand.history,
            "automatic": self.automatic.history,
            "gradient_differences": self.gradient_differences,
            "contrast": self.contrast.to_json(),
            "tuned": self.tuned and self.tuned.to_json(),
        }


def train_both(
    recipe: Recipe,
    data: Dataset,
    epochs: int,
    seed: int,
    *,
    tuned: bool = False,
    order: int = 1,
    quiet: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> PairedTraining:
    """Trains a model with hand-written rules and with the automatic derivative, and contrasts the two.

    Args:
        recipe: How it is trained.
        data: The data set.
        epochs: Number of epochs.
        seed: Seed of parameters, batches and dropout.
        tuned: Whether it is tuned too.
        order: 2 to contrast second derivatives.
        quiet: Whether no progress bars are shown.
        tell: Called with the results of the trainings, before the contrast is measured.
    """
    model = _in_precision(recipe.model(data), data.train_x.dtype)
    train = data.train_x, recipe.target(data.train_x, data.train_y)
    test = data.test_x, recipe.target(data.test_x, data.test_y)
    steps = epochs * max(len(data.train_x) // BATCH, 1)
    key = jax.random.key(seed)
    batch = (*(jnp.asarray(x[:BATCH]) for x in train), key)

    def objective(params, x, y, key):
        return averaged(recipe.loss)(model.apply(params, x, key=key), y)

    gradients = jax.jit(lambda params: [jax.grad(f)(params, *batch) for f in (objective, automatic(objective))])
    differences = []

    def run(model, loss, title, watch=None):
        return fit(
            model, loss, train, recipe.optimizer(steps), epochs, key, batch=BATCH, test=test, metrics=recipe.metrics,
            title=title, watch=watch, quiet=quiet,
        )  # fmt: skip

    watch = lambda epoch, params: differences.append(relative_difference(*gradients(params)))
    by_hand = run(model, recipe.loss, f"{recipe.title}, by hand", watch)
    by_jax = run(nn.with_function(model, automatic), automatic(recipe.loss), f"{recipe.title}, automatically")
    apart = number_text(np.max(differences))
    tell(f"{result_text(by_hand, by_jax)}; the gradients differ by at most {apart} of the largest entry")
    given = by_hand.params, *batch
    found = tune(objective, *given, seconds=TUNING_SECONDS, quiet=quiet) if tuned else None
    beside = {"tuned": found} if found else None
    return PairedTraining(
        recipe=recipe,
        parameters=nn.parameter_count(by_hand.params),
        hand=by_hand,
        automatic=by_jax,
        gradient_differences=differences,
        contrast=contrast(objective, *given, beside=beside, argnums=0, order=order, quiet=quiet),
        tuned=found,
        test_outputs=np.asarray(model.apply(by_hand.params, test[0][:SHOWN])),
    )


def result_text(hand: Trained, automatic: Trained) -> str:
    """The last accuracy on the test examples, or the error, with each derivative."""
    last = [side.history[-1] for side in (hand, automatic)]
    name, key, form = ("accuracy", "accuracy", ".2%") if "accuracy" in last[0] else ("error", "test_loss", ".6f")
    return f"{name} {' / '.join(format(row[key], form) for row in last)}"


def relative_difference(hand: Any, plain: Any) -> float:
    """The largest difference between two gradients, over the largest entry of the second; NaN if any entry is."""
    pairs = list(zip(jax.tree.leaves(hand), jax.tree.leaves(plain), strict=True))
    # Unlike Python's max, NumPy's propagates NaN.
    largest = np.max([jnp.abs(b).max() for _, b in pairs])
    return float(np.max([jnp.abs(a - b).max() for a, b in pairs]) / np.maximum(largest, 1e-30))


def _in_precision(model, dtype):
    def init(key, shape):
        return jax.tree.map(lambda p: p.astype(dtype), model.init(key, shape))

    return nn.Layer(init, model.apply)
