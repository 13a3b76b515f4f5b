"""Functions whose rules are wrong on purpose, so that it shows which derivative was used, and contexts of calls."""

import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from jaxdl import op, saving


@jax.custom_vjp
def lying_vjp(x):
    return jnp.sin(x)


lying_vjp.defvjp(lambda x: (jnp.sin(x), None), lambda _, dy: (100 * dy,))


@jax.custom_jvp
def lying_jvp(x):
    return jnp.sin(x)


lying_jvp.defjvp(lambda x, x_dot: (jnp.sin(x[0]), 100 * x_dot[0]))


def lying_op():
    @op
    def liar(x):
        return jnp.sin(x)

    liar.rule(lambda x: (jnp.sin(x), saving(lambda dy: (100 * dy,))))
    return liar


LIARS = {"custom_vjp": lying_vjp, "custom_jvp": lying_jvp, "op": lying_op()}
X = jnp.array([0.1, 0.7])


def in_other_rule(f):
    @jax.custom_jvp
    def outer(x):
        return f(x)

    outer.defjvp(lambda x, x_dot: (f(x[0]), 50 * x_dot[0]))
    return outer


def in_shard_map(f):
    mesh = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Auto,))
    return jax.shard_map(f, mesh=mesh, in_specs=P("d"), out_specs=P("d"))


CONTEXTS = {
    "plain": lambda f: f,
    "jit": jax.jit,
    "jit in jit": lambda f: jax.jit(lambda x: jax.jit(f)(x) + 0),
    "vmap": jax.vmap,
    "scan": lambda f: lambda x: jax.lax.scan(lambda c, _: (f(c), None), x, None, 1)[0],
    "scan over": lambda f: lambda x: jax.lax.scan(lambda c, x: (c, f(x)), 0, x)[1],
    "cond": lambda f: lambda x: jax.lax.cond(x[0] > 0, f, lambda x: x, x),
    "switch": lambda f: lambda x: jax.lax.switch(jnp.int32(x[0] > 0), [lambda x: x, f], x),
    "fori": lambda f: lambda x: jax.lax.fori_loop(0, 1, lambda _, x: f(x), x),
    "map": lambda f: lambda x: jax.lax.map(f, x),
    "checkpoint": jax.checkpoint,
    "checkpoint in scan": lambda f: lambda x: jax.lax.scan(jax.checkpoint(lambda c, _: (f(c), None)), x, None, 1)[0],
    "another rule": in_other_rule,
    "shard_map": in_shard_map,
}
