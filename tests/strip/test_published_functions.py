"""Rules of JAX, optax and flax: they are listed, removed, and the values stay the same."""

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import linen

from jaxdl import automatic, rules
from tests.tolerance import assert_close

WIDE = jnp.linspace(-2, 2, 12).reshape(3, 4)
POSITIVE = jnp.linspace(0.1, 3, 12).reshape(3, 4)


def _published():
    activations = [
        "relu",
        "relu6",
        "sigmoid",
        "softplus",
        "soft_sign",
        "silu",
        "log_sigmoid",
        "leaky_relu",
        "elu",
        "selu",
        "celu",
        "gelu",
        "glu",
    ]
    activations += [
        "softmax",
        "log_softmax",
        "hard_tanh",
        "hard_sigmoid",
        "hard_silu",
        "squareplus",
        "mish",
        "sparse_plus",
        "logsumexp",
    ]
    special = [
        "gammaln",
        "digamma",
        "erf",
        "erfc",
        "erfinv",
        "expit",
        "logit",
        "xlogy",
        "xlog1py",
        "entr",
        "ndtr",
        "ndtri",
        "log_ndtr",
        "i0",
        "i0e",
        "i1",
        "i1e",
    ]
    special += ["betaln", "logsumexp", "zeta", "rel_entr", "kl_div"]
    for name in activations:
        yield f"nn.{name}", getattr(jax.nn, name), (WIDE,)
    for name in special:
        f = getattr(jax.scipy.special, name)
        two = name in ("xlogy", "xlog1py", "betaln", "zeta", "rel_entr", "kl_div")
        probability = name in ("logit", "ndtri", "erfinv")
        args = (1 + POSITIVE, 2 + POSITIVE) if two else (POSITIVE / 4,) if probability else (POSITIVE,)
        yield f"special.{name}", f, args
    yield "special.polygamma", jax.scipy.special.polygamma, (jnp.full((3, 4), 2), POSITIVE)
    yield "optax.softmax_cross_entropy", optax.losses.softmax_cross_entropy, (WIDE, jax.nn.softmax(WIDE))
    yield "optax.l2_loss", optax.losses.l2_loss, (WIDE, POSITIVE)
    yield "optax.huber_loss", optax.losses.huber_loss, (WIDE, POSITIVE)
    yield "optax.log_cosh", optax.losses.log_cosh, (WIDE, POSITIVE)
    yield "optax.sigmoid_binary_cross_entropy", optax.losses.sigmoid_binary_cross_entropy, (WIDE, POSITIVE / 3)
    yield "optax.cosine_distance", optax.losses.cosine_distance, (WIDE, POSITIVE)
    yield "optax.kl_divergence", optax.losses.kl_divergence, (jax.nn.log_softmax(WIDE), jax.nn.softmax(POSITIVE))


@pytest.mark.parametrize(("name", "f", "args"), list(_published()), ids=lambda v: v if isinstance(v, str) else "")
def test_published_functions_keep_their_values(name, f, args):
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        assert isinstance(rules(f, *args), list)
        assert rules(automatic(f), *args) == []
        assert_close(jax.jit(automatic(f))(*args), jax.jit(f)(*args), "float32", name)


def test_a_flax_model():
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(3)(linen.relu(linen.Dense(4)(x)))

    net = Net()
    params = net.init(jax.random.key(0), WIDE)
    assert [site.name for site in rules(net.apply, params, WIDE)] == ["relu"]
    loss = lambda f: lambda params: (f(params, WIDE) ** 2).sum()
    with jax.numpy_rank_promotion("allow"):
        for a, b in zip(
            jax.tree.leaves(jax.grad(loss(automatic(net.apply)))(params)),
            jax.tree.leaves(jax.grad(loss(net.apply))(params)),
            strict=True,
        ):
            assert_close(a, b, "float32")
