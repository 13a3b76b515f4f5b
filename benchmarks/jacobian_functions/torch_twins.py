"""Functions of `lectures.py` in PyTorch, with the same weights: `(f, x)`, or None where there is no twin."""

import os

import numpy as np


def twin(name: str, f, x):
    """f reads its weights from what the JAX function closes over, so that both are the same function."""
    import torch

    torch.set_num_threads(os.cpu_count())
    make = TWINS.get(name)
    return make and make(torch, _closed_over(f), torch.from_numpy(np.array(x)))


def _closed_over(f):
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


def _dense_stack(activation, last):
    def make(torch, held, x):
        layers = [{k: _tensor(torch, v) for k, v in p.items()} for p in _layers(held["params"])]

        def f(x):
            for i, layer in enumerate(layers):
                x = x @ layer["w"] + layer["b"]
                x = getattr(torch, activation)(x) if i + 1 < len(layers) else getattr(torch, last)(x) if last else x
            return x

        return f, x

    return make


def _layers(params):
    """The dense layers in their order, however deep in the parameters they lie."""
    if isinstance(params, dict) and "w" in params:
        return [params]
    parts = params.values() if isinstance(params, dict) else params
    return [layer for part in parts for layer in _layers(part)] if isinstance(params, dict | list | tuple) else []


TWINS = {
    "ReLU layer": _relu_layer,
    "ReLU layer, by W": _relu_layer_by_weights,
    "softmax": _softmax,
    "MLP": _dense_stack("tanh", None),
}
