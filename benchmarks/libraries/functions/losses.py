"""Losses, projections, optimisers' steps, and what test helpers wrap."""

import jax
import jax.numpy as jnp

from benchmarks.libraries.entry import function_of

LOGITS = jnp.array([[0.5, -0.2, 0.1], [1.2, 0.3, -0.8]])


@function_of("optax")
def softmax_cross_entropy():
    import optax

    return lambda x: optax.softmax_cross_entropy_with_integer_labels(x, jnp.array([2, 0])), (LOGITS,)


@function_of("optax")
def connectionist_temporal_classification():
    import optax

    logits = jax.random.normal(jax.random.key(0), (1, 5, 4))
    labels = jnp.array([[1, 2]])
    return lambda x: optax.ctc_loss(x, jnp.zeros((1, 5)), labels, jnp.zeros((1, 2))), (logits,)


@function_of("optax")
def focal_and_huber_and_log_cosh():
    import optax

    f = lambda x: optax.sigmoid_focal_loss(x, jnp.ones_like(x)) + optax.huber_loss(x) + optax.log_cosh(x)
    return f, (LOGITS,)


@function_of("optax")
def projection_onto_a_ball():
    import optax

    return lambda x: optax.projections.projection_l2_ball(x, 0.5), (LOGITS,)


@function_of("optax")
def a_step_of_adam_in_its_gradient():
    import optax

    def f(gradient, rate):
        optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=rate)
        params = jnp.zeros(3)
        updates, _ = optimizer.update(gradient, optimizer.init(params), params)
        return updates

    return f, (jnp.array([0.5, -0.2, 0.1]), jnp.float32(0.1))


@function_of("optax")
def unrolled_training():
    import optax

    def f(rate):
        optimizer = optax.sgd(rate, momentum=0.9)
        loss = lambda w: jnp.sum((w - 1) ** 2 * jnp.array([1.0, 3.0]))
        params = jnp.zeros(2)
        state = optimizer.init(params)
        for _ in range(3):
            updates, state = optimizer.update(jax.grad(loss)(params), state)
            params = optax.apply_updates(params, updates)
        return params

    return f, (jnp.float32(0.1),)


@function_of("optax")
def perturbed_argmax():
    import optax

    hard = lambda x: jax.nn.one_hot(jnp.argmax(x, -1), 3)
    f = lambda x: optax.perturbations.make_perturbed_fun(hard, num_samples=8, sigma=0.5)(jax.random.key(0), x)
    return f, (LOGITS[0],)


@function_of("chex")
def dataclass_of_parameters():
    import chex

    @chex.dataclass
    class Params:
        w: chex.Array
        b: chex.Array

    def f(params, x):
        chex.assert_rank(x, 1)
        return jnp.tanh(params.w @ x + params.b)

    return f, (Params(w=LOGITS, b=jnp.zeros(2)), jnp.array([0.3, 0.2, -0.4]))


@function_of("chex")
def function_with_traced_checks():
    import chex

    def f(x):
        chex.assert_equal_shape([x, x + 1])
        chex.assert_rank(x, 1)
        return jnp.cumsum(jnp.exp(-x)) * jnp.sin(x)

    return f, (jnp.array([0.3, 0.2, -0.4]),)


@function_of("coordax")
def sum_over_an_axis():
    import coordax as cx

    total = cx.cmap(lambda row: jnp.sum(row**2))
    return lambda x: total(cx.field(x, "batch", "class").untag("class")).data, (LOGITS,)
