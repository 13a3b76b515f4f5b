"""A step of training, and many of them as one compiled program."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxdl.nn import Layer
from jaxdl.train.gradients import accumulated


def training_step(
    model: Layer,
    loss: Callable,
    optimizer: optax.GradientTransformation,
    *,
    accumulate: int = 1,
    skip_nonfinite: bool = False,
    over_devices: Callable = lambda value_and_grad: value_and_grad,
) -> Callable:
    """One step on a batch, for `jax.jit` or a scan: (params, state, x, y, key) → (params, state, loss).

    Images of 0 … 255 in x, uint8, are scaled to [0, 1] on the device. accumulate: in how many parts the batch is taken,
    one after the other, their gradients averaged. skip_nonfinite: a step whose loss, gradients, updates or parameters
    are not finite changes neither parameters nor state; its loss is given as it is. over_devices: transforms the
    function (params, x, y, key) → (loss, gradients).
    """
    settings = {"accumulate": accumulate, "skip_nonfinite": skip_nonfinite, "over_devices": over_devices}
    checked = checked_step(model, loss, optimizer, **settings)

    def step(params, state, x, y, key):
        *new, (value, _) = checked(params, state, x, y, key)
        return *new, value

    return step


def checked_step(
    model: Layer, loss: Callable, optimizer: optax.GradientTransformation, *, accumulate: int, skip_nonfinite: bool,
    over_devices: Callable = lambda value_and_grad: value_and_grad,
) -> Callable:  # fmt: skip
    """As `training_step`, with the loss and whether loss and new parameters are finite in the place of the loss."""
    value_and_grad = over_devices(gradient(model, loss, accumulate))

    def step(params, state, x, y, key):
        value, gradients = value_and_grad(params, x, y, key)
        updates, new_state = optimizer.update(gradients, state, params)
        new = optax.apply_updates(params, updates)
        is_fine = jnp.isfinite(value) & are_finite(new)
        if skip_nonfinite:
            is_fine &= are_finite((gradients, updates))
            taken = lambda new, old: jax.tree.map(lambda a, b: jnp.where(is_fine, a, b), new, old)
            new, new_state = taken(new, params), taken(new_state, state)
        return new, new_state, (value, is_fine)

    return step


def are_finite(tree: Any) -> jax.Array:
    """Whether all numbers of a pytree are."""
    inexact = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(jnp.result_type(x), jnp.inexact)]
    return jnp.stack([jnp.isfinite(x).all() for x in inexact] or [jnp.bool_(True)]).all()


def gradient(model: Layer, loss: Callable, parts: int = 1) -> Callable:
    """(params, x, y, key) → (loss, gradients), the batch taken in so many parts."""

    def objective(params, x, y, key):
        return averaged(loss)(model.apply(params, scaled(x), key=key), y)

    if parts == 1:
        return jax.value_and_grad(objective)
    of_part = lambda params, x, y, keys: jax.value_and_grad(objective)(params, x, y, keys[0])
    in_parts = accumulated(of_part, parts)
    return lambda params, x, y, key: in_parts(params, x, y, jax.random.split(key, parts))


def averaged(loss: Callable) -> Callable:
    """A loss of a batch as one number: the mean where it gives one for each example, as optax's do."""

    def of_batch(*args):
        losses = loss(*args)
        return losses.mean() if losses.ndim else losses

    return of_batch


def stopping_step(step: Callable, with_state: bool) -> Callable:
    """A step of a run whose parameters stay what they are from the first step on that is not finite, unless that is no
    matter: (params, state, running, x, y, key, ignore_nonfinite) → (params, state, running, (loss, is_fine)).

    step: a `checked_step`; of a `training_step` the loss alone is checked. with_state: whether the optimiser's state
    stays too, so that the run can go on from there. In a run that ends there nobody asks for it, and passing over it
    takes a tenth of a small step.
    """

    def or_none(params, state, running, x, y, key, ignore_nonfinite):
        *new, value = step(params, state, x, y, key)
        value, is_fine = value if isinstance(value, tuple) else (value, jnp.isfinite(value))
        running &= is_fine | ignore_nonfinite
        stay = lambda new, old: jax.tree.map(lambda a, b: jnp.where(running, a, b), new, old)
        return stay(new[0], params), stay(new[1], state) if with_state else new[1], running, (value, is_fine)

    return or_none


def compiled_epoch(model: Layer, loss: Callable, optimizer: optax.GradientTransformation) -> Callable:
    """One epoch as one compiled scan: (params, state, x, y, batches, key) → (params, state, losses).

    batches (steps, batch) holds the rows of x and y that each step takes; losses (steps,) are theirs.
    """
    steps = scanned(training_step(model, loss, optimizer))

    @jax.jit
    def epoch(params, state, x, y, batches, key):
        return steps((params, state), x, y, batches, jax.random.split(key, len(batches)))

    return epoch


def scanned(step: Callable) -> Callable:
    """Steps (*carry, x, y, key) → (*carry, loss), one after the other: (carry, x, y, rows, keys) → (*carry, losses)."""

    def steps(carry, x, y, rows, keys):
        def on_rows(carry, these):
            rows, key = these
            *carry, value = step(*carry, *jax.tree.map(lambda a: a[rows], (x, y)), key)
            return tuple(carry), value

        carry, losses = jax.lax.scan(on_rows, carry, (rows, keys))
        return *carry, losses

    return steps


def scaled(x: Any) -> Any:
    """Images of 0 … 255, arrays of uint8 in a pytree, in float32 of [0, 1]; all else as it is."""
    return jax.tree.map(lambda a: a.astype(jnp.float32) / 255 if a.dtype == jnp.uint8 else a, x)


def shape_of_example(x: Any) -> Any:
    """One example of a batch, as a layer's init takes it: signed integers are tokens, all else becomes float32."""
    is_tokens = jnp.issubdtype(x.dtype, jnp.signedinteger)
    return jax.ShapeDtypeStruct(x.shape[1:], jnp.int32) if is_tokens else x.shape[1:]
