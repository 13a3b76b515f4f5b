"""The same step on one device or many: batches shared out over a mesh, parameters on every device or shared out too."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxdl.nn import Layer
from jaxdl.train.row_keys import key_for_rows

SMALL = 2**14  # numbers: what is smaller is not worth sharing out
ROUNDING = 0.02  # relative: more than bfloat16 makes of a sum, less than what examples do to each other


def replicated(mesh: Mesh, tree: Any) -> Any:
    """Every array whole on every device."""
    return jax.tree.map(lambda x: NamedSharding(mesh, P()), tree)


def fully_sharded(mesh: Mesh, tree: Any) -> Any:
    """Every array of 2¹⁴ numbers or more cut along its longest axis that the devices divide ("FSDP", "ZeRO-3").

    A rule on shapes alone, so that an optimiser's moments lie where their parameters do.
    """

    def of_array(x):
        divided = [axis for axis, size in enumerate(x.shape) if size % mesh.size == 0]
        if math.prod(x.shape) < SMALL or not divided:
            return NamedSharding(mesh, P())
        longest = max(divided, key=lambda axis: x.shape[axis])
        return NamedSharding(mesh, P(*[None] * longest, mesh.axis_names))

    return jax.tree.map(of_array, tree)


class Placement:
    """Where arrays lie: on the default device, or on a mesh, parameters by the rule `shard(mesh, tree)`."""

    def __init__(self, mesh: Mesh | None, shard: Callable = replicated):
        self.mesh = mesh and Mesh(mesh.devices, mesh.axis_names)  # XLA finds the shardings in between
        self.shard = shard

    def check(self, batch: int) -> None:
        """ValueError for a batch that the devices do not divide."""
        if self.mesh is not None and batch % self.mesh.size:
            raise ValueError(
                f"a batch of {batch} cannot be shared out over {self.mesh.size} devices: make it a multiple of that"
            )

    def started(self, init: Callable) -> Any:
        """What init() gives, each device making its own share."""
        if self.mesh is None:
            return init()
        return jax.jit(init, out_shardings=self.shard(self.mesh, jax.eval_shape(init)))()

    def on_every_device(self, tree: Any) -> Any:
        """Host arrays, the same in all processes, whole on every device."""
        if self.mesh is None:
            return jax.tree.map(jnp.asarray, tree)
        return jax.tree.map(lambda x: self._put(np.asarray(x), P()), tree)

    def spread(self, tree: Any) -> Any:
        """Host arrays, the same in all processes, shared out by their first axis where the devices divide it."""
        if self.mesh is None:
            return jax.tree.map(jnp.asarray, tree)
        rows = lambda x: P(self.mesh.axis_names) if len(x) % self.mesh.size == 0 else P()
        return jax.tree.map(lambda x: self._put(np.asarray(x), rows(x)), tree)

    def batch(self, tree: Any) -> Any:
        """Host arrays, this process's part of a batch, as the whole batch shared out over all devices."""
        if self.mesh is None:
            return jax.tree.map(jnp.asarray, tree)
        sharding = NamedSharding(self.mesh, P(self.mesh.axis_names))
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), tree)

    def data_parallel(self, value_and_grad: Callable) -> Callable:
        """(params, x, y, key) → (loss, gradients), each device on its own rows, which it alone sees; then their mean.

        Nothing but that mean is exchanged, whatever the rules inside do with the examples; of a gradient that lies
        shared out each device gets its share alone. Only for a function whose value on a batch is the mean of that on
        parts of it (`is_mean_of_parts`).
        """
        if self.mesh is None:
            return value_and_grad
        names = self.mesh.axis_names

        def on_mesh(params, x, y, key):
            lie = jax.tree.map(lambda sharding: sharding.spec, self.shard(self.mesh, params))

            def local(params, x, y, key):
                value, gradients = value_and_grad(params, x, y, key_for_rows(key, jax.lax.axis_index(names)))
                total = jax.lax.psum(value, names), jax.tree.map(self._summed, gradients, lie)
                return jax.tree.map(lambda x: x / self.mesh.size, total)

            specs = {"in_specs": (P(), P(names), P(names), P()), "out_specs": (P(), lie)}
            return jax.shard_map(local, mesh=self.mesh, check_vma=False, **specs)(params, x, y, key)

        return on_mesh

    def _summed(self, x, spec):
        """The sum of all devices' x, of which each keeps its share as spec says."""
        left = set(self.mesh.axis_names)
        for axis, names in enumerate(spec):
            if names:
                x = jax.lax.psum_scatter(x, names, scatter_dimension=axis, tiled=True)
                left -= set(names if isinstance(names, tuple) else (names,))
        return jax.lax.psum(x, tuple(left)) if left else x

    def step(self, step: Callable) -> Callable:
        """A training step whose batch is shared out, and whose results lie as its parameters do."""
        if self.mesh is None:
            return step
        by_rows = NamedSharding(self.mesh, P(self.mesh.axis_names))

        def on_mesh(params, state, x, y, key):
            x, y = jax.lax.with_sharding_constraint((x, y), by_rows)
            *new, value = step(params, state, x, y, key)
            return *jax.lax.with_sharding_constraint(new, self.shard(self.mesh, new)), value

        return on_mesh

    @property
    def part(self) -> tuple[int, int]:
        """This process's place among the processes."""
        return (0, 1) if self.mesh is None else (jax.process_index(), jax.process_count())

    def _put(self, x, spec):
        return jax.make_array_from_callback(x.shape, NamedSharding(self.mesh, spec), lambda index: x[index])


def is_mean_of_parts(value_and_grad: Callable, params: Any, x: Any, y: Any, key: jax.Array) -> bool:
    """Whether loss and gradients of a batch are the mean of those of its halves, up to rounding.

    Each half draws what the batch draws for its rows. They are not the mean where examples see each other (statistics
    of a batch, a contrastive loss), or where numbers are drawn that belong to no example.
    """
    half = jax.tree.leaves(x)[0].shape[0] // 2
    if half == 0:
        return False

    @jax.jit
    def furthest_apart(params, x, y, key):
        on_rows = lambda rows, key: value_and_grad(params, *jax.tree.map(lambda a: a[rows], (x, y)), key)
        whole = on_rows(slice(0, 2 * half), key)
        halves = [on_rows(slice(i * half, (i + 1) * half), key_for_rows(key, i)) for i in (0, 1)]
        mean = jax.tree.map(lambda a, b: (a + b) / 2, *halves)
        largest = lambda a: jnp.abs(a).max(initial=0).astype(jnp.float32)
        least = 1e-4 * jnp.stack([*map(largest, jax.tree.leaves(whole))]).max()  # where all is rounding
        apart = lambda a, b: largest(a - b) / (largest(a) + least)
        return jnp.stack(jax.tree.leaves(jax.tree.map(apart, whole, mean))).max()

    return bool(furthest_apart(params, x, y, key) < ROUNDING)


def in_bfloat16(model: Layer) -> Layer:
    """The model computed in bfloat16, from parameters that stay in float32; what it gives is float32.

    With `jax.grad` the gradients are float32 too: mixed precision without scaling of the loss, as bfloat16 has the
    range of float32. Float32 inputs are rounded; other arrays, such as tokens, stay as they are.
    """

    def cast(tree, old, new):
        return jax.tree.map(lambda x: x.astype(new) if x.dtype == old else x, tree)

    def apply(params, x, *, key=None):
        low = cast((params, x), jnp.float32, jnp.bfloat16)
        return cast(model.apply(*low, key=key), jnp.bfloat16, jnp.float32)

    return Layer(model.init, apply)
