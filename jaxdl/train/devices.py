"""The same step on one device or many: batches split over a mesh, parameters replicated or sharded."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxdl.nn import Layer
from jaxdl.train.compiled_loops import default_platform
from jaxdl.train.row_keys import key_for_rows

SMALL = 2**14  # numbers: smaller arrays are not sharded
ROUNDING = 0.02  # relative: more than a sum's rounding in bfloat16, less than what examples do to each other


def replicated(mesh: Mesh | AbstractMesh, tree: Any) -> Any:
    """Shardings with every array whole on every device.

    Args:
        mesh: The devices.
        tree: A pytree of arrays or their types.

    Returns:
        A pytree of `NamedSharding` like `tree`.

    Examples:
        >>> mesh = jax.make_mesh((len(jax.devices()),), ("devices",))
        >>> shardings = replicated(mesh, {"w": jnp.ones((128, 128))})
    """
    return jax.tree.map(lambda x: NamedSharding(mesh, P()), tree)


def fully_sharded(mesh: Mesh | AbstractMesh, tree: Any) -> Any:
    """Shardings with every large array split over all devices ("FSDP", "ZeRO-3").

    Arrays of 2¹⁴ numbers or more are split along the longest axis that the number of devices divides; others are whole
    on every device. The rule depends on shapes alone, so an optimiser's moments are sharded like their parameters.

    Args:
        mesh: The devices.
        tree: A pytree of arrays or their types.

    Returns:
        A pytree of `NamedSharding` like `tree`.

    Examples:
        >>> mesh = jax.make_mesh((len(jax.devices()),), ("devices",))
        >>> shardings = fully_sharded(mesh, {"w": jnp.ones((128, 128))})
    """

    def of_array(x):
        divided = [axis for axis, size in enumerate(x.shape) if size % mesh.size == 0]
        if math.prod(x.shape) < SMALL or not divided:
            return NamedSharding(mesh, P())
        longest = max(divided, key=lambda axis: x.shape[axis])
        return NamedSharding(mesh, P(*[None] * longest, mesh.axis_names))

    return jax.tree.map(of_array, tree)


class Placement:
    """Where arrays are: on the default device, or on a mesh, with parameters sharded by `shard(mesh, tree)`."""

    def __init__(self, mesh: Mesh | None, shard: Callable[..., Any] = replicated):
        self.mesh: Mesh | None = mesh and Mesh(mesh.devices, mesh.axis_names)  # XLA chooses the shardings in between
        self.shard = shard

    def check(self, batch: int) -> None:
        """Raises ValueError for a batch that the number of devices does not divide."""
        if self.mesh is not None and batch % self.mesh.size:
            raise ValueError(
                f"a batch of {batch} cannot be split over {self.mesh.size} devices: make it a multiple of that"
            )

    def started(self, init: Callable[..., Any]) -> Any:
        """The result of init(); each device computes its own shards."""
        if self.mesh is None:
            return init()
        return jax.jit(init, out_shardings=self.shard(self.mesh, jax.eval_shape(init)))()

    def on_every_device(self, tree: Any) -> Any:
        """Host arrays, the same in all processes, whole on every device."""
        return self._put(tree, lambda x: P())

    def spread(self, tree: Any) -> Any:
        """Host arrays, the same in all processes, split along the first axis if the number of devices divides it."""
        return self._put(tree, lambda x: P(self._names) if len(x) % self._count == 0 else P())

    def batch(self, tree: Any) -> Any:
        """Host arrays, this process's part of a batch, as the whole batch split over all devices."""
        if self.mesh is None:
            return jax.tree.map(jnp.asarray, tree)
        sharding = NamedSharding(self.mesh, P(self._names))
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree)

    def data_parallel(self, value_and_grad: Callable[..., Any]) -> Callable[..., Any]:
        """(params, x, y, key) → (loss, gradients), computed by each device on its own rows, then averaged.

        Only that average is communicated, whatever the rules do with the examples; of a sharded gradient each device
        receives its shard alone. Right only if the value on a batch is the mean of the values on its parts
        (`is_mean_of_parts`).
        """
        mesh = self.mesh
        if mesh is None:
            return value_and_grad
        names = mesh.axis_names

        def on_mesh(params, x, y, key):
            specs = jax.tree.map(lambda sharding: sharding.spec, self.shard(mesh, params))

            def local(params, x, y, key):
                value, gradients = value_and_grad(params, x, y, key_for_rows(key, jax.lax.axis_index(names)))
                total = jax.lax.psum(value, names), jax.tree.map(self._summed, gradients, specs)
                return jax.tree.map(lambda x: x / mesh.size, total)

            in_specs, out_specs = (P(), P(names), P(names), P()), (P(), specs)
            mapped = jax.shard_map(local, mesh=mesh, check_vma=False, in_specs=in_specs, out_specs=out_specs)
            return mapped(params, x, y, key)

        return on_mesh

    def _summed(self, x, spec):
        """The sum of all devices' x, of which each device keeps the shard that `spec` gives it."""
        left = set(self._names)
        for axis, names in enumerate(spec):
            if names:
                x = jax.lax.psum_scatter(x, names, scatter_dimension=axis, tiled=True)
                left -= set(names if isinstance(names, tuple) else (names,))
        return jax.lax.psum(x, tuple(left)) if left else x

    def step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """A training step with the batch split over the devices, and results sharded as its parameters are."""
        mesh = self.mesh
        if mesh is None:
            return step
        by_rows = NamedSharding(mesh, P(mesh.axis_names))

        def on_mesh(params, state, x, y, key):
            x, y = jax.lax.with_sharding_constraint((x, y), by_rows)
            *new, value = step(params, state, x, y, key)
            return *jax.lax.with_sharding_constraint(new, self.shard(mesh, new)), value

        return on_mesh

    @property
    def platform(self) -> str:
        """The platform of the devices, such as "cpu"."""
        return default_platform() if self.mesh is None else self.mesh.devices.flat[0].platform

    @property
    def part(self) -> tuple[int, int]:
        """Which part of a batch this process reads: (index, count)."""
        return (0, 1) if self.mesh is None else (jax.process_index(), jax.process_count())

    @property
    def _names(self):
        return () if self.mesh is None else self.mesh.axis_names

    @property
    def _count(self):
        return 1 if self.mesh is None else self.mesh.size

    def _put(self, tree, spec_of):
        """Host arrays on the devices, each with the sharding that spec_of gives it."""
        mesh = self.mesh
        if mesh is None:
            return jax.tree.map(jnp.asarray, tree)
        return jax.tree.map(lambda x: _from_host(np.asarray(x), NamedSharding(mesh, spec_of(x))), tree)


def _from_host(x, sharding):
    return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])


def is_mean_of_parts(value_and_grad: Callable[..., Any], params: Any, x: Any, y: Any, key: jax.Array) -> bool:
    """Whether loss and gradients of a batch are the mean of those of its halves, up to rounding.

    Each half draws the random numbers that the batch draws for its rows. They are not the mean where examples affect
    each other (batch statistics, a contrastive loss), or where random numbers belong to no example.
    """
    half = jax.tree.leaves(x)[0].shape[0] // 2
    if half == 0:
        return False

    @jax.jit
    def largest_difference(params, x, y, key):
        on_rows = lambda rows, key: value_and_grad(params, *jax.tree.map(lambda a: a[rows], (x, y)), key)
        whole = on_rows(slice(0, 2 * half), key)
        halves = [on_rows(slice(i * half, (i + 1) * half), key_for_rows(key, i)) for i in (0, 1)]
        mean = jax.tree.map(lambda a, b: (a + b) / 2, *halves)
        largest = lambda a: jnp.abs(a).max(initial=0).astype(jnp.float32)
        least = 1e-4 * jnp.stack([*map(largest, jax.tree.leaves(whole))]).max()  # below it all is rounding
        difference = lambda a, b: largest(a - b) / (largest(a) + least)
        return jnp.stack(jax.tree.leaves(jax.tree.map(difference, whole, mean))).max()

    return bool(largest_difference(params, x, y, key) < ROUNDING)


def in_bfloat16(model: Layer) -> Layer:
    """A model computed in bfloat16, with parameters and outputs in float32: mixed precision.

    The gradients are float32 too. The loss needs no scaling, as bfloat16 has the range of float32.

    Args:
        model: A model of float32 parameters. Float32 inputs are rounded to bfloat16; other arrays, such as tokens, stay
            unchanged.

    Returns:
        A model with the same parameters.

    Examples:
        >>> from jaxdl import nn
        >>> model = in_bfloat16(nn.mlp(128, 10))
    """

    def cast(tree, old, new):
        return jax.tree.map(lambda x: x.astype(new) if x.dtype == old else x, tree)

    def apply(params, x, *, key=None):
        low = cast((params, x), jnp.float32, jnp.bfloat16)
        return cast(model.apply(*low, key=key), jnp.bfloat16, jnp.float32)

    return Layer(model.init, apply)
