"""Running on the CPU what would run on another platform."""

import jax

from jaxdl import jaxpr as jx


def program(platform, f, *args):
    """The jaxpr of f as it is lowered for a platform."""
    return jx.chosen_for(platform, jax.make_jaxpr(f)(*args))


def as_on(platform, f):
    """f as it is lowered for a platform, run on this one."""

    def run(*args):
        traced = program(platform, f, *args)
        structure = jax.tree.structure(jax.eval_shape(f, *args))
        return jax.tree.unflatten(structure, jx.evaluate_opened(traced.jaxpr, traced.consts, jax.tree.leaves(args)))

    return jax.jit(run)
