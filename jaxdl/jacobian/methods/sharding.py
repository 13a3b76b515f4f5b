"""The Jacobian's sweeps shared out over the devices of a mesh."""

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxdl.jacobian.analysis.modes import linearize
from jaxdl.jacobian.methods.base import Vector, method


@method
def sharded(vector: Vector, *, mesh: Mesh):
    """The Jacobian with its rows, or its columns where there are fewer of them, shared out over all devices of a mesh.

    Each device makes its sweeps and keeps what they give: the matrix stays distributed over its rows (columns) until
    it is used otherwise. Arguments are taken as they are on every device. Works on one host, and in several processes
    (`jax.distributed`) that call it alike, with a mesh over all their devices.
    """
    by_rows = vector.m <= vector.n
    count, axes = (vector.m if by_rows else vector.n), tuple(mesh.axis_names)
    share = -(-count // mesh.size)

    def sweeps(x, *others):
        f = lambda x: vector.f(x, *others)
        first = jax.lax.axis_index(axes) * share
        one_hot = jax.nn.one_hot(first + jnp.arange(share), count, dtype=x.dtype)  # beyond the last it is 0
        if by_rows:
            pullback = jax.vjp(f, x)[1]
            return jax.vmap(lambda dy: pullback(dy)[0])(one_hot)
        return jax.vmap(linearize(f, x)[1], out_axes=1)(one_hot)

    over_devices = jax.shard_map(
        sweeps,
        mesh=Mesh(mesh.devices, axes),
        in_specs=P(),
        out_specs=P(axes, None) if by_rows else P(None, axes),
        check_vma=False,  # every device has the arguments whole
    )

    def run(x, *others):
        matrix = over_devices(x, *others)
        return matrix[:count] if by_rows else matrix[:, :count]

    return run
