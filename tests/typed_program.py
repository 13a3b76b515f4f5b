"""A user's program with wrong calls among right ones; `tests/test_types.py` has a type checker read it."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import Op, automatic, nn, op, ops, rules, saving

x, w, b = jnp.ones((4, 3)), jnp.ones((3, 2)), jnp.ones(2)

# Ops: their arguments, settings and result.
y: jax.Array = ops.dense(x, w, b)
ops.dense(x, w)  # wrong: an argument is missing
pooled = ops.max_pool(jnp.ones((1, 4, 4, 1)), window=2, stride=(2, 1), padding="SAME")
ops.max_pool(jnp.ones((1, 4, 4, 1)), window="2")  # wrong: a setting of another type
ops.leaky_relu(np.ones(3), slope=0.3).sum()
ops.leaky_relu(1.0, slop=0.3)  # wrong: an unknown setting
shape: tuple[int, ...] = ops.add(ops.relu(2.0), x).shape
normal, mean, variance = ops.batch_norm(x, jnp.ones(3), jnp.zeros(3))


# An op of the user's own.
@op
def scaled(x: jax.Array, *, factor: float = 2.0) -> jax.Array:
    """y = factor·x"""
    return factor * x


@scaled.rule
def scaled_rule(x, *, factor):
    """x̄ = factor·ȳ"""

    def pullback(dy):
        return (factor * dy,)

    return factor * x, saving(pullback)


operation: Op = scaled
definition: jax.Array = scaled.primal(x, factor=3.0)
scaled(x, factor="3")  # wrong: a setting of another type
jax.grad(lambda x: scaled(x).sum())(x)

# The automatic derivative keeps a function's type.
plain: jax.Array = automatic(scaled)(x, factor=3.0)
automatic(scaled)(x, x)  # wrong: an argument too many
automatic(ops.dense, keep="dense")(x, w, b)
names: list[str] = [site.name for site in rules(ops.dense, x, w, b)]

# Layers.
model = nn.serial(nn.flatten, nn.dense(128), nn.relu, nn.residual(nn.dense(128), nn.tanh), nn.dense(10))
nn.serial(nn.dense(128), jnp.tanh)  # wrong: a function is not a layer
nn.serial(nn.dense(128), nn.function(jnp.tanh))
params = model.init(jax.random.key(0), (28, 28, 1))
logits = nn.with_function(model, automatic).apply(params, x, key=jax.random.key(1))
nn.conv(16, (3, 3), padding=((1, 1), (1, 1)))
nn.mlp("128", 10)  # wrong: a width that is not a number
