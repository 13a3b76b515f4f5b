"""XOR by a linear model, by a linear model in feature space, and by two ReLUs with known weights."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.xor.training import full_batch, squared
from jaxdl import data, nn, ops, train

POINTS, ANSWERS = data.xor()
SQUARE = (-0.5, 1.5)  # the range of the pictures on both axes


def measure(side: int) -> dict:
    """Weights, outputs on the four points, and values on a grid of side × side points."""
    grid = np.stack(np.meshgrid(*[np.linspace(*SQUARE, side, dtype=np.float32)] * 2), -1).reshape(-1, 2)
    on_grid = lambda f: np.asarray(f(jnp.asarray(grid))).reshape(side, side)
    relus = nn.xor_network()
    params = relus.init(None, (2,))
    w, b = least_squares(POINTS)
    v, c = least_squares(np.asarray(nn.xor_features(jnp.asarray(POINTS))))
    return {
        "linear": {"w": w, "b": b, "grid": on_grid(lambda x: x @ w + b)},
        "descent": descended(nn.linear_network(1)),
        "hidden": descended(nn.linear_network(3, 1)),
        "features": {"w": v, "b": c, "grid": on_grid(lambda x: nn.xor_features(x) @ v + c)},
        "relu": {
            "outputs": relus.apply(params, POINTS)[:, 0],
            "hidden": ops.relu(nn.mlp(2).apply(params[:2], POINTS)),
            "grid": on_grid(lambda x: relus.apply(params, x)[:, 0]),
        },
        "best_line": best_line(),
    }


def least_squares(x):
    """w and b with the least mean squared error, in closed form."""
    w = np.linalg.lstsq(np.column_stack([x, np.ones(4)]), ANSWERS, rcond=None)[0].astype(np.float32)
    return w[:-1], w[-1]


def descended(network: nn.Layer) -> dict:
    """The single linear layer that is equal to a linear network trained by gradient descent."""
    train_all = full_batch(network, squared, train.gradient_descent(0.1), POINTS, ANSWERS, steps=5000)
    params = jax.tree.map(lambda p: p[0], train_all(jax.random.split(jax.random.key(0), 1)))
    (layer,) = nn.collapsed(params)
    apart = nn.linear_network(1).apply((layer,), POINTS) - network.apply(params, POINTS)
    return {"w": layer["w"][:, 0], "b": layer["b"][0], "apart": jnp.abs(apart).max()}


def best_line() -> int:
    """The largest number of points that any of 360 × 81 lines classifies correctly."""
    angles = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    along = POINTS @ np.stack([np.cos(angles), np.sin(angles)])
    sides = along[..., None] > np.linspace(-2, 2, 81)
    return int((sides == ANSWERS[:, None, None].astype(bool)).sum(0).max())
