"""Functions of `lectures.py` in PyTorch, with the same weights."""

import os

import numpy as np

from benchmarks.jacobian_functions.lectures import dense_layers


def twin(name: str, f, x):
    """The function in PyTorch and its argument, with the weights that f closes over; None if there is none."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # or its idle threads keep the cores busy
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    import torch

    torch.set_num_threads(os.cpu_count())
    make = TWINS.get(name)
    return make and make(torch, _closed_over(f), torch.from_numpy(np.array(x)))


def _closed_over(f):
    if not hasattr(f, "__code__"):
        return {}
    return {name: cell.cell_contents for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True)}


def _tensor(torch, array):
    return torch.from_numpy(np.array(array))


def _relu_layer(torch, held, x):
    w, b = _tensor(torch, held["w"]), _tensor(torch, held["b"])
    return lambda x: torch.relu(w @ x + b), x


def _relu_layer_by_weights(torch, held, w):
    x, b = _tensor(torch, held["x"]), _tensor(torch, held["b"])
    return lambda w: torch.relu(w @ x + b), w


def _softmax(torch, held, x):
    return lambda x: torch.softmax(x, 0), x


def _dense_stack(activations):
    """Dense layers; activations(k) names the activation after each of k layers, None for no activation."""

    def make(torch, held, x):
        layers = [{k: _tensor(torch, v) for k, v in p.items()} for p in dense_layers(held["params"])]
        named = zip(layers, activations(len(layers)), strict=True)
        steps = [(p["w"], p["b"], getattr(torch, a) if a else None) for p, a in named]

        def f(x):
            for w, b, activation in steps:
                x = x @ w + b
                x = activation(x) if activation else x
            return x

        return f, x

    return make


def _mlp(count):
    return ["tanh"] * (count - 1) + [None]


def _autoencoder(count):
    """ReLUs, with a linear code and an output between 0 and 1."""
    half = ["relu"] * (count // 2 - 1)
    return [*half, None, *half, "sigmoid"]


TWINS = {
    "ReLU layer": _relu_layer,
    "ReLU layer, by W": _relu_layer_by_weights,
    "softmax": _softmax,
    "MLP": _dense_stack(_mlp),
    "MLP, depth": _dense_stack(_mlp),
    "autoencoder, code": _dense_stack(_autoencoder),
}
