"""Values and gradients against PyTorch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import nn, ops
from tests.tolerance import assert_close

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install '.[peers]'")
F = torch.nn.functional

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 5)).astype(np.float32)

ACTIVATIONS = {
    "sigmoid": F.sigmoid,
    "tanh": F.tanh,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "softplus": F.softplus,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "softmax": lambda x: F.softmax(x, -1),
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "logsumexp": lambda x: torch.logsumexp(x, (0, 1)),
}
CROSS_ENTROPY = ops.softmax_cross_entropy_with_integer_labels
LABELS = np.array([0, 4, 2, 2, 1, 3])


def both(f, g, *arrays):
    """Value and gradients of f by jaxdl and of g by PyTorch, both summed with fixed weights."""
    weights = RNG.normal(size=np.shape(f(*arrays))).astype(np.float32)
    ours = jax.value_and_grad(lambda *a: (f(*a) * weights).sum(), tuple(range(len(arrays))))(*map(jnp.asarray, arrays))
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    theirs = (g(*tensors) * torch.from_numpy(np.asarray(weights))).sum()
    theirs.backward()
    return ours, (theirs.detach().numpy(), [t.grad.numpy() for t in tensors])


def assert_same(f, g, *arrays):
    (value, gradients), (their_value, their_gradients) = both(f, g, *arrays)
    assert_close(value, their_value, "float32", "value")
    for ours, theirs in zip(gradients, their_gradients, strict=True):
        assert_close(ours, theirs, "float32", "gradient")


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name):
    assert_same(getattr(ops, name), ACTIVATIONS[name], X)


def test_dense():
    w, b = RNG.normal(size=(5, 3)).astype(np.float32), RNG.normal(size=3).astype(np.float32)
    assert_same(ops.dense, lambda x, w, b: F.linear(x, w.T, b), X, w, b)


def test_embedding():
    assert_same(lambda t: ops.embedding(t, LABELS), lambda t: F.embedding(torch.from_numpy(LABELS), t), X)


def test_losses():
    labels = torch.from_numpy(LABELS)
    assert_same(lambda z: CROSS_ENTROPY(z, LABELS).mean(), lambda z: F.cross_entropy(z, labels), X)
    targets = np.asarray(jax.nn.softmax(X[::-1] * 2))
    soft = lambda z: ops.softmax_cross_entropy(z, targets).mean()
    assert_same(soft, lambda z: F.cross_entropy(z, torch.tensor(targets)), X)
    assert_same(lambda x, y: ops.squared_error(x, y).mean(), F.mse_loss, X, X[::-1].copy())
    y = LABELS % 2
    assert_same(
        lambda z: ops.logistic_loss(z, y).mean(),
        lambda z: F.binary_cross_entropy_with_logits(z, torch.from_numpy(y).float()),
        X[:, 0].copy(),
    )


def test_the_gradient_of_an_mlp_equals_pytorchs(key):
    model = nn.mlp(8, 5)
    params = model.init(key, (5,))
    first, last = (p for p in params if p)
    twin = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 5))
    with torch.no_grad():
        for layer, p in ((twin[0], first), (twin[2], last)):
            layer.weight.copy_(torch.from_numpy(np.array(p["w"]).T))
            layer.bias.copy_(torch.from_numpy(np.array(p["b"])))
    F.cross_entropy(twin(torch.from_numpy(X)), torch.from_numpy(LABELS)).backward()
    gradient = jax.grad(lambda p: CROSS_ENTROPY(model.apply(p, X), LABELS).mean())(params)
    for layer, g in zip((twin[0], twin[2]), (g for g in gradient if g), strict=True):
        assert_close(g["w"], layer.weight.grad.numpy().T, "float32")
        assert_close(g["b"], layer.bias.grad.numpy(), "float32")
