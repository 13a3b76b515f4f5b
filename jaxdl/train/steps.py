"""A training step, and many of them as one compiled program."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.nn import Layer
from jaxdl.optional_packages import install_hint
from jaxdl.train.compiled_loops import default_platform, fast_in_loops
from jaxdl.train.gradients import accumulated

if TYPE_CHECKING:
    import optax


def training_step(
    model: Layer,
    loss: Callable[..., jax.Array],
    optimizer: optax.GradientTransformation,
    *,
    accumulate: int = 1,
    skip_nonfinite: bool = False,
    over_devices: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda value_and_grad: value_and_grad,
) -> Callable[..., tuple[Any, Any, jax.Array]]:
    """One step on a batch, for `jax.jit` or `jax.lax.scan`.

    Args:
        model: The model.
        loss: A function of (output, y); its mean is minimised if it returns one number per example.
        optimizer: An optimiser of optax.
        accumulate: In how many parts the batch is computed, one after the other; their gradients are averaged.
        skip_nonfinite: Whether a step with a non-finite loss, gradient, update or parameter leaves parameters and state
            unchanged. Its loss is returned unchanged.
        over_devices: Transforms the function (params, x, y, key) → (loss, gradients).

    Returns:
        A function (params, state, x, y, key) → (params, state, loss). Arrays of uint8 in x are images of 0 … 255, and
        are scaled to [0, 1].

    Examples:
        >>> import optax
        >>> from jaxdl import nn, ops
        >>> model, optimizer, key = nn.dense(1), optax.sgd(0.1), jax.random.key(0)
        >>> params = model.init(key, (3,))
        >>> step = jax.jit(training_step(model, ops.squared_error, optimizer))
        >>> params, state, loss = step(params, optimizer.init(params), jnp.ones((8, 3)), jnp.ones((8, 1)), key)
    """
    settings = {"accumulate": accumulate, "skip_nonfinite": skip_nonfinite, "over_devices": over_devices}
    checked = checked_step(model, loss, optimizer, **settings)

    def step(params, state, x, y, key):
        params, state, (value, _) = checked(params, state, x, y, key)
        return params, state, value

    return step


def checked_step(
    model: Layer,
    loss: Callable[..., jax.Array],
    optimizer: optax.GradientTransformation,
    *,
    accumulate: int,
    skip_nonfinite: bool,
    over_devices: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda value_and_grad: value_and_grad,
    tuned: Callable[..., Any] | None = None,
) -> Callable[..., tuple[Any, Any, tuple[jax.Array, jax.Array]]]:
    """As `training_step`, with (loss, whether loss and new parameters are finite) in place of the loss.

    The `objective` of model and loss may be given as a tuned function.
    """
    with install_hint("optax", "jaxdl.train"):
        from optax import apply_updates

    value_and_grad = over_devices(gradient(model, loss, accumulate, tuned))

    def step(params, state, x, y, key):
        value, gradients = value_and_grad(params, x, y, key)
        of_params = lambda params: value_and_grad(params, x, y, key)[0]  # for line searches
        more = _taken(optimizer.update, {"value": value, "grad": gradients, "value_fn": of_params})
        try:
            updates, new_state = optimizer.update(gradients, state, params, **more)
        except AttributeError as error:  # of parameters in a structure of the optimiser's own
            raise TypeError(
                f"the optimizer does not take the parameters of the model ({error}): optax.lookahead, which wraps "
                f"them, needs a loop of its own"
            ) from error
        new = apply_updates(params, updates)
        is_finite = jnp.isfinite(value) & are_finite(new)
        if skip_nonfinite:
            is_finite &= are_finite((gradients, updates))
            taken = lambda new, old: jax.tree.map(lambda a, b: jnp.where(is_finite, a, b), new, old)
            new, new_state = taken(new, params), taken(new_state, state)
        return new, new_state, (value, is_finite)

    return step


def _taken(update, given):
    """Those arguments that an optimiser's update takes by keyword, besides gradients, state and parameters."""
    known = inspect.signature(update).parameters
    takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in known.values())
    return {name: x for name, x in given.items() if takes_all or name in known}


def are_finite(tree: Any) -> jax.Array:
    """Whether all numbers of a pytree are finite."""
    inexact = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(jnp.result_type(x), jnp.inexact)]
    return jnp.stack([jnp.isfinite(x).all() for x in inexact] or [jnp.bool_(True)]).all()


def objective(model: Layer, loss: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """The function (params, x, y, key) → loss that is minimised."""

    def of_batch(params, x, y, key):
        return averaged(loss)(model.apply(params, scaled(x), key=key), y)

    return of_batch


def gradient(
    model: Layer, loss: Callable[..., jax.Array], parts: int = 1, tuned: Callable[..., jax.Array] | None = None
) -> Callable[..., Any]:
    """The function (params, x, y, key) → (loss, gradients), computed from `parts` parts of the batch.

    The `objective` may be given as a tuned function.
    """
    minimized = tuned or objective(model, loss)
    if parts == 1:
        return jax.value_and_grad(minimized)
    of_part = lambda params, x, y, keys: jax.value_and_grad(minimized)(params, x, y, keys[0])
    in_parts = accumulated(of_part, parts)
    return lambda params, x, y, key: in_parts(params, x, y, jax.random.split(key, parts))


def averaged(loss: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """The loss of a batch as a scalar: the mean, if it returns one number per example as optax's losses do."""

    def of_batch(*args):
        losses = loss(*args)
        if not (jx.is_array(losses) and jnp.issubdtype(losses.dtype, jnp.floating)):
            raise TypeError(f"the loss must be an array of floating-point numbers, got {_kind(losses)}")
        return losses.mean() if losses.ndim else losses

    return of_batch


def one_number(name: str, x: Any) -> Any:
    """x, a single number."""
    if jax.tree.structure(x) != jax.tree.structure(0) or jnp.ndim(x):
        raise TypeError(f"{name} must be one number, got {_kind(x)}")
    return x


def _kind(x):
    return jx.typed(jax.typeof(x)) if jx.is_array(x) else type(x).__name__


def stopping_step(step: Callable[..., Any], with_state: bool) -> Callable[..., Any]:
    """A step of a run whose parameters no longer change after a non-finite step, unless such steps are ignored.

    Args:
        step: A `checked_step`. Of a `training_step`, only the loss is checked.
        with_state: Whether the optimiser's state stays unchanged too, so that the run can continue. Otherwise the state
            is wrong after a non-finite step, which saves a tenth of a small step.

    Returns:
        A function (params, state, is_running, x, y, key, ignore_nonfinite) →
        (params, state, is_running, (loss, is_finite)).
    """

    def or_unchanged(params, state, is_running, x, y, key, ignore_nonfinite):
        *new, value = step(params, state, x, y, key)
        value, is_finite = value if isinstance(value, tuple) else (value, jnp.isfinite(value))
        is_running &= is_finite | ignore_nonfinite
        stay = lambda new, old: jax.tree.map(lambda a, b: jnp.where(is_running, a, b), new, old)
        return stay(new[0], params), stay(new[1], state) if with_state else new[1], is_running, (value, is_finite)

    return or_unchanged


def compiled_epoch(
    model: Layer, loss: Callable[..., jax.Array], optimizer: optax.GradientTransformation
) -> Callable[..., tuple[Any, Any, jax.Array]]:
    """One epoch as one compiled scan.

    On a CPU the convolutions of any model are written in the order of axes for which XLA has libraries in loops.

    Args:
        model: The model.
        loss: A function of (output, y); its mean is minimised if it returns one number per example.
        optimizer: An optimiser of optax.

    Returns:
        A function (params, state, x, y, batches, key) → (params, state, losses). `batches`, integers of shape
        (steps, batch), are the rows of x and y that each step takes; losses have shape (steps,).

    Examples:
        >>> import optax
        >>> from jaxdl import nn, ops
        >>> model, optimizer, key = nn.dense(1), optax.sgd(0.1), jax.random.key(0)
        >>> params, batches = model.init(key, (3,)), jnp.arange(8).reshape(4, 2)
        >>> epoch = compiled_epoch(model, ops.squared_error, optimizer)
        >>> x, y = jnp.ones((8, 3)), jnp.ones((8, 1))
        >>> params, state, losses = epoch(params, optimizer.init(params), x, y, batches, key)
        >>> losses.shape
        (4,)
    """
    steps = scanned(training_step(model, loss, optimizer))

    def epoch(params, state, x, y, batches, key):
        return steps((params, state), x, y, batches, jax.random.split(key, len(batches)))

    return jax.jit(fast_in_loops(epoch, default_platform()))


def scanned(step: Callable[..., Any]) -> Callable[..., Any]:
    """Steps (*carry, x, y, key) → (*carry, loss) as a scan (carry, x, y, rows, keys) → (*carry, losses)."""

    def steps(carry, x, y, rows, keys):
        def on_rows(carry, these):
            rows, key = these
            *carry, value = step(*carry, *jax.tree.map(lambda a: a[rows], (x, y)), key)
            return tuple(carry), value

        carry, losses = jax.lax.scan(on_rows, carry, (rows, keys))
        return *carry, losses

    return steps


def scaled(x: Any) -> Any:
    """Images of 0 … 255 (arrays of uint8 in a pytree) as float32 in [0, 1]; other arrays unchanged."""
    return jax.tree.map(lambda a: a.astype(jnp.float32) / 255 if a.dtype == jnp.uint8 else a, x)


def shape_of_example(x: Any) -> Any:
    """The shape of one example of a batch, as `Layer.init` takes it: signed integers are tokens, others float32."""
    is_tokens = jnp.issubdtype(x.dtype, jnp.signedinteger)
    return jax.ShapeDtypeStruct(x.shape[1:], jnp.int32) if is_tokens else x.shape[1:]
