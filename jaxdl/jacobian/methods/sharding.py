"""The Jacobian's sweeps distributed over the devices of a mesh."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as Spec

from jaxdl.jacobian.analysis.modes import linearize
from jaxdl.jacobian.analysis.vector_function import VectorFunction
from jaxdl.jacobian.methods.arguments import Argnums
from jaxdl.jacobian.methods.base import Jacobian, P, method


@method
def sharded(
    f: Callable[P, Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False, *, mesh: Mesh
) -> Jacobian[P]:
    """The Jacobian with its rows, or its columns if these are fewer, distributed over all devices of a mesh.

    Each device computes its sweeps and keeps the result: the matrix stays distributed over its rows (columns) until it
    is used otherwise. Every device has all arguments. Works on one host, and in several processes (`jax.distributed`)
    that all make the same call, with a mesh over all their devices.

    Args:
        f: The function to differentiate.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.
        has_aux: Whether f returns a pair (output, aux).
        holomorphic: Whether f is a holomorphic function of complex numbers.
        mesh: The devices.

    Returns:
        A function of f's arguments that returns the Jacobian, as `jax.jacrev(f)` does.

    Raises:
        TypeError: If f is not callable; when called, if inputs or outputs cannot be differentiated.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> mesh = jax.make_mesh((len(jax.devices()),), ("devices",))
        >>> jacobian.sharded(jnp.sin, mesh=mesh)(jnp.zeros(4)).shape
        (4, 4)
    """
    return Jacobian("sharded", f, functools.partial(_prepare, mesh=mesh), argnums, has_aux, holomorphic)


def _prepare(function: VectorFunction, mesh: Mesh) -> Callable[..., jax.Array]:
    by_rows = function.m <= function.n
    count, axes = (function.m if by_rows else function.n), tuple(mesh.axis_names)
    share = -(-count // mesh.size)

    def sweeps(x, *others: Any):
        f = lambda x: function(x, *others)
        first = jax.lax.axis_index(axes) * share
        one_hot = jax.nn.one_hot(first + jnp.arange(share), count, dtype=x.dtype)  # 0 beyond the last one
        if by_rows:
            pullback = jax.vjp(f, x)[1]
            return jax.vmap(lambda dy: pullback(dy)[0])(one_hot)
        return jax.vmap(linearize(f, x)[1], out_axes=1)(one_hot)

    over_devices = jax.shard_map(
        sweeps,
        mesh=Mesh(mesh.devices, axes),
        in_specs=Spec(),
        out_specs=Spec(axes, None) if by_rows else Spec(None, axes),
        check_vma=False,  # every device has all arguments
    )

    def run(x, *others: Any):
        matrix = over_devices(x, *others)
        return matrix[:count] if by_rows else matrix[:, :count]

    return run
