"""The benchmark's functions in PyTorch, with the same weights.

Functions that are written in `jax.numpy` alone run as they are, with PyTorch's functions under the names of JAX's;
those of layers and a few more are written again.
"""

import operator
import types

import jax
import numpy as np

from benchmarks.jacobian_functions.lectures import dense_layers

WITHOUT = {
    "Gaussian mixture, components": "writes entries of arrays, which PyTorch's vmap does not",
    "hand, points": "writes entries of arrays, which PyTorch's vmap does not",
    "hand on triangles, points": "writes entries of arrays, which PyTorch's vmap does not",
}


class NoTwin(NotImplementedError):
    """A function that is not written in PyTorch, with the reason."""


def twin(name: str, f, x):
    """The function in PyTorch and its argument, with the arrays that f closes over.

    Raises:
        NoTwin: There is none.
    """
    import torch

    if name in WITHOUT:
        raise NoTwin(WITHOUT[name])
    x = tensor(x)
    if name in TWINS:
        return TWINS[name](torch, closed_over(f)), x
    if isinstance(getattr(f, "__wrapped__", None), types.FunctionType):  # jax.grad(f)
        return torch.func.grad(in_torch(f.__wrapped__)), x
    return in_torch(f), x


def tensor(array):
    import torch

    return torch.from_numpy(np.array(array))


def closed_over(f):
    if not isinstance(f, types.FunctionType):
        return {}
    return {name: cell.cell_contents for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True)}


# --- the same source -----------------------------------------------------------------------------------------


def in_torch(f):
    """f with PyTorch's functions in place of JAX's, in the functions that it calls too, and tensors for its arrays."""

    def changed(value):
        if isinstance(value, types.FunctionType) and value.__module__.startswith("benchmarks."):
            return in_torch(value)
        return tensor(value) if isinstance(value, jax.Array) else value

    used = names_in(f.__code__) & {*f.__globals__} - {*MODULES}
    names = f.__globals__ | {name: changed(f.__globals__[name]) for name in used} | modules()
    cells = tuple(types.CellType(changed(cell.cell_contents)) for cell in f.__closure__ or ())
    made = types.FunctionType(f.__code__, names, f.__name__, f.__defaults__, cells)
    made.__kwdefaults__ = f.__kwdefaults__
    return made


def names_in(code):
    """The global names that a function and the functions defined in it use."""
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return {*code.co_names}.union(*map(names_in, inner))


MODULES = "jax", "jnp", "lax", "ops"


def modules():
    """What stands for the modules that the functions use."""
    import torch

    name_of = {"concatenate": "cat", "arctan2": "atan2"}
    same = ("sin", "cos", "exp", "log", "tanh", "sum", "roll", "relu", "sigmoid", "concatenate", "arctan2")
    functions = {name: getattr(torch, name_of.get(name, name)) for name in same}
    jnp = types.SimpleNamespace(
        **functions,
        sqrt=lambda x: x**0.5,
        abs=torch.abs,
        stack=lambda xs, axis=0: torch.stack(xs, axis),
        split=torch.tensor_split,
        cross=lambda a, b: torch.linalg.cross(a, b),
        pad=lambda x, n, constant_values=0.0: torch.nn.functional.pad(x, (n, n), value=constant_values),
    )
    lax = types.SimpleNamespace(erf=torch.erf, scan=scan)
    nn = types.SimpleNamespace(sigmoid=torch.sigmoid)
    ops = types.SimpleNamespace(relu=torch.relu, tanh=torch.tanh, matmul=operator.matmul)
    return {"jnp": jnp, "lax": lax, "ops": ops, "jax": types.SimpleNamespace(lax=lax, nn=nn, vmap=torch.vmap)}


def scan(body, carry, xs, length=None):
    """`jax.lax.scan` as a loop over a tuple of arrays, or over nothing."""
    import torch

    ys = []
    for i in range(len(xs[0]) if length is None else length):
        carry, y = body(carry, xs and tuple(x[i] for x in xs))
        ys.append(y)
    return carry, None if ys[0] is None else torch.stack(ys)


# --- written again -------------------------------------------------------------------------------------------


def _softmax(torch, held):
    return lambda x: torch.softmax(x, 0)


def _dense_stack(activations):
    """Dense layers; activations(k) names the activation after each of k layers, None for no activation."""

    def make(torch, held):
        layers = [{k: tensor(v) for k, v in p.items()} for p in dense_layers(held["params"])]
        named = zip(layers, activations(len(layers)), strict=True)
        steps = [(p["w"], p["b"], getattr(torch, a) if a else None) for p, a in named]

        def f(x):
            for w, b, activation in steps:
                x = x @ w + b
                x = activation(x) if activation else x
            return x

        return f

    return make


def _mlp(count):
    return ["tanh"] * (count - 1) + [None]


def _autoencoder(count):
    """ReLUs, with a linear code and an output between 0 and 1."""
    half = ["relu"] * (count // 2 - 1)
    return [*half, None, *half, "sigmoid"]


def _convolutions(torch, held):
    """Kernels are (height, width, in, out) in JAX, (out, in, height, width) here; so are images."""
    layers = [(tensor(p["w"]).permute(3, 2, 0, 1), tensor(p["b"])) for p in dense_layers(held["params"])]

    def f(x):
        x = x.permute(2, 0, 1)
        for number, (w, b) in enumerate(layers, 1):
            x = torch.nn.functional.conv2d(x, w, b, padding="same")
            x = torch.relu(x) if number < len(layers) else x
        return x.permute(1, 2, 0)

    return f


def _attention(torch, held):
    params = {name: {k: tensor(v) for k, v in p.items()} for name, p in held["params"].items()}
    heads = 2

    def f(x):
        q, k, v = (
            (x @ params[n]["w"] + params[n]["b"]).reshape(len(x), heads, -1).transpose(0, 1) for n in ("q", "k", "v")
        )
        p = torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5, -1)
        return (p @ v).transpose(0, 1).reshape(x.shape) @ params["out"]["w"] + params["out"]["b"]

    return f


TWINS = {
    "softmax": _softmax,
    "MLP": _dense_stack(_mlp),
    "MLP, depth": _dense_stack(_mlp),
    "autoencoder, code": _dense_stack(_autoencoder),
    "convolutions, side": _convolutions,
    "attention, length": _attention,
}
