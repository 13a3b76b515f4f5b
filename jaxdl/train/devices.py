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

SMALL = 2**14  # numbers: what is smaller is not worth sharing out


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

    def started(self, init: Callable) -> Any:
        """What init() gives, each device making its own share."""
        if self.mesh is None:
            return init()
        return jax.jit(init, out_shardings=self.shard(self.mesh, jax.eval_shape(init)))()

    def everywhere(self, tree: Any) -> Any:
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
