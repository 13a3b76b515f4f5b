"""What is the cache of a lecture's layer, in the functional form?

    python -m experiments.lecture_layers [--quick]

The lecture on convolutional networks builds a network of objects: Linear, SCELoss and Conv keep a cache in `forward`
and use it in `backward`; Sequential has `forward`, `backprop` and `update_weights`. Here are these classes in NumPy, in
the lecture's terms, and the same network as pure functions. The gradients of both are compared with a float64 run, both
are trained on digits, and the cache of each layer is set beside the residuals of the rule in its place.
Prints the finding, and writes it with its figures to results/lecture_layers.json, with a picture and a page,
results/lecture_layers.html, beside it.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from experiments.plotting import titled_png
from experiments.results_folder import FOLDER, keep, rounded
from jaxdl import automatic, data, ops
from jaxdl.report import FURTHER, HAND, Page, Table, bytes_text, figure, number_text, write_whole

FILTERS, SIZE, SIDE, CLASSES = 4, 3, 8, 10
BATCH, RATE = 32, 0.002


class Linear:
    """s = W x, for the examples in the columns of x."""

    def __init__(self):
        self.cache = {}

    def forward(self, W, x):
        self.cache = {"W": W, "x": x}
        return W @ x

    def backward(self, dout):
        """dx and dW. The lecture returns dW alone, which is enough for a first layer."""
        return self.cache["W"].T @ dout, dout @ self.cache["x"].T


class Conv:
    """A linear layer in a double loop: out[i, j, f] = W[f] · patch, for images x of one channel."""

    def __init__(self):
        self.cache = {}

    def forward(self, W, x):
        self.cache = {"W": W, "x": x}
        (_, h, w), (filters, kh, kw) = x.shape, W.shape
        out = np.zeros((len(x), h - kh + 1, w - kw + 1, filters), x.dtype)
        for i, j, f in np.ndindex(out.shape[1:]):
            out[:, i, j, f] = (W[f] * x[:, i : i + kh, j : j + kw]).sum((1, 2))
        return out

    def backward(self, dout):
        """dx and dW, in the same loops."""
        W, x = self.cache["W"], self.cache["x"]
        (kh, kw), dx, d = W.shape[1:], np.zeros_like(x), np.zeros_like(W)
        for i, j, f in np.ndindex(dout.shape[1:]):
            delta, patch = dout[:, i, j, f, None, None], x[:, i : i + kh, j : j + kw]
            d[f] += (delta * patch).sum(0)
            dx[:, i : i + kh, j : j + kw] += delta * W[f]
        return dx, d


class Flatten:
    """Each example as a column."""

    def __init__(self):
        self.cache = {}

    def forward(self, x):
        self.cache = {"shape": x.shape}
        return x.reshape(len(x), -1).T

    def backward(self, dout):
        return (dout.T.reshape(self.cache["shape"]),)


class SCELoss:
    """Softmax cross-entropy, summed over the examples in the columns of z and of one-hot y."""

    def __init__(self):
        self.cache = {}

    def forward(self, z, y):
        self.cache = {"z": z, "y": y}
        top = z.max(0)
        return (top + np.log(np.exp(z - top).sum(0)) - (y * z).sum(0)).sum()

    def backward(self):
        z, y = self.cache["z"], self.cache["y"]
        e = np.exp(z - z.max(0))
        return e / e.sum(0) - y


class Sequential:
    """Layers one after the other; the last is the loss."""

    def __init__(self, layers, weights):
        self.layers, self.weights = [layer() for layer in layers], dict(weights)

    def forward(self, x, y):
        *layers, loss = self.layers
        for layer in layers:
            name = type(layer).__name__
            x = layer.forward(self.weights[name], x) if name in self.weights else layer.forward(x)
        return loss.forward(x, y)

    def backprop(self):
        """The gradients: each layer gets dout from the next one, and has in its cache what else it needs."""
        *layers, loss = self.layers
        dout, gradients = loss.backward(), {}
        for layer in reversed(layers):
            dout, *dW = layer.backward(dout)
            gradients |= {type(layer).__name__: d for d in dW}
        return gradients | {"x": dout}

    def update_weights(self, gradients):
        for name in self.weights:
            self.weights[name] = self.weights[name] - RATE * gradients[name]


def loss(params, x, y):
    """The same network as a pure function: x (n, 8, 8), y integers (n)."""
    maps = ops.conv2d(x[..., None], params["Conv"])
    logits = ops.matmul(maps.reshape(len(x), -1), params["Linear"])
    return ops.softmax_cross_entropy_with_integer_labels(logits, y, reduce=jnp.sum)


def as_params(weights) -> dict:
    """The weights in the layout of the pure function: kernels (kh, kw, c, o), matrices (inputs, outputs)."""
    return {"Conv": weights["Conv"].transpose(1, 2, 0)[:, :, None], "Linear": weights["Linear"].T}


def as_weights(params) -> dict:
    """The inverse of `as_params`, also for gradients."""
    return {"Conv": params["Conv"][:, :, 0].transpose(2, 0, 1), "Linear": params["Linear"].T}


def measure(quick: bool) -> dict:
    """Errors of gradients, what each layer keeps, and the losses of both while they are trained."""
    digits = data.load("digits", size=SIDE)
    x, y = np.asarray(digits.train_x)[..., 0], np.asarray(digits.train_y)
    random = np.random.default_rng(0)
    draw = lambda *shape: (random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    features = FILTERS * (SIDE - SIZE + 1) ** 2
    weights = {"Conv": draw(FILTERS, SIZE, SIZE), "Linear": draw(CLASSES, features)}
    return {
        "errors": errors(weights, x[:BATCH], y[:BATCH]),
        "kept": kept(weights, x[:BATCH], y[:BATCH]),
        "training": trained(weights, x, y, epochs=1 if quick else 20),
    }


def one_hot(y, dtype):
    return np.eye(CLASSES, dtype=dtype)[:, y]


def by_classes(weights, x, y) -> Sequential:
    """The network of the lecture after its forward pass."""
    model = Sequential([Conv, Flatten, Linear, SCELoss], weights)
    model.forward(x, one_hot(y, x.dtype))
    return model


def by_functions(f, weights, x, y) -> dict:
    """The gradients of a pure function in the lecture's layout."""
    params, dx = jax.jit(jax.grad(f, (0, 1)))(as_params(weights), jnp.asarray(x), jnp.asarray(y))
    return {**as_weights(params), "x": dx}


def errors(weights, x, y) -> dict:
    """The largest error of each gradient, in ULP of its largest entry, against the automatic derivative in float64."""
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), weights)
        exact = jax.tree.map(np.asarray, by_functions(automatic(loss), wide, x.astype(np.float64), y))
    sides = {
        "lecture": by_classes(weights, x, y).backprop(),
        "by hand": by_functions(loss, weights, x, y),
        "automatic": by_functions(automatic(loss), weights, x, y),
    }
    return {name: {side: ulp(found[name], exact[name]) for side, found in sides.items()} for name in exact}


def ulp(got, exact) -> float:
    place = np.spacing(np.abs(exact).max().astype(np.float32))
    return float(np.abs(np.asarray(got, np.float64) - exact).max() / place)


def kept(weights, x, y) -> dict:
    """For each layer, the shapes of the arrays in its cache and of the residuals of the rule in its place."""
    model, params = by_classes(weights, x, y), as_params(weights)
    conv, _, linear, sce = (layer.cache for layer in model.layers)
    in_rules = {
        "Conv": residuals(ops.conv2d, x[..., None], params["Conv"]),
        "Flatten": {},
        "Linear": residuals(ops.matmul, linear["x"].T, params["Linear"]),
        "SCELoss": residuals(ops.softmax_cross_entropy_with_integer_labels, sce["z"].T, y, reduce=jnp.sum),
    }
    caches = {"Conv": conv, "Flatten": {}, "Linear": linear, "SCELoss": sce}
    shapes = lambda arrays: {name: list(a.shape) for name, a in arrays.items()}
    return {name: {"cache": shapes(caches[name]), "residuals": shapes(in_rules[name])} for name in caches}


def residuals(op, *args, **settings) -> dict:
    """The residuals of an op's rule, by the names that its pullback gives them."""
    call = op.signature.bind(*map(jnp.asarray, args), **settings)
    call.apply_defaults()
    saved = op.derivative(*call.args, **call.kwargs)[1]
    return dict(zip(inspect.signature(saved.pullback).parameters, saved.residuals, strict=False))


def trained(weights, x, y, epochs) -> dict:
    """The mean loss in each epoch, and how far the final weights are apart, relative to the largest."""
    model, params = Sequential([Conv, Flatten, Linear, SCELoss], weights), jax.tree.map(jnp.asarray, as_params(weights))
    step = jax.jit(lambda p, x, y: _updated(p, *jax.value_and_grad(loss)(p, x, y)))
    losses = {"lecture": [], "functions": []}
    steps = len(x) // BATCH
    for _ in range(epochs):
        sums = {"lecture": 0.0, "functions": 0.0}
        for i in range(steps):
            images, labels = x[i * BATCH :][:BATCH], y[i * BATCH :][:BATCH]
            sums["lecture"] += float(model.forward(images, one_hot(labels, images.dtype)))
            model.update_weights(model.backprop())
            params, value = step(params, images, labels)
            sums["functions"] += float(value)
        for side, total in sums.items():
            losses[side].append(total / (steps * BATCH))
    apart = [float(np.abs(model.weights[name] - w).max() / np.abs(w).max()) for name, w in as_weights(params).items()]
    return {"losses": losses, "steps": epochs * steps, "apart": max(apart)}


def _updated(params, value, gradient):
    return jax.tree.map(lambda p, d: p - RATE * d, params, gradient), value


def layer_bytes(shapes) -> int:
    return 4 * sum(int(np.prod(shape)) for shape in shapes.values())


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    worst = {side: max(e[side] for e in data["errors"].values()) for side in ("lecture", "by hand")}
    layers = data["kept"].values()
    cache, saved = (sum(layer_bytes(layer[what]) for layer in layers) for what in ("cache", "residuals"))
    training = data["training"]
    return (
        f"Objects with a cache and pure functions give the same gradients, within {worst['lecture']:.1f} and "
        f"{worst['by hand']:.1f} ULP of float64, and after {training['steps']} steps the same weights, to "
        f"{number_text(training['apart'])} of the largest; what a layer's cache holds ({bytes_text(cache)} in all) are "
        f"the residuals of its rule ({bytes_text(saved)}): only the loss keeps less, softmax − one-hot in place of "
        f"logits and labels."
    )


def draw(data) -> dict[str, bytes]:
    """The losses of both in training, and the bytes that each layer keeps."""
    sides = (("lecture", "objects with a cache", FURTHER[0]), ("functions", "pure functions", HAND))
    layers = [name for name in data["kept"] if name != "Flatten"]
    with figure(1, 2, width=9, height=3.4) as (fig, (losses, sizes)):
        for (side, label, style), marker in zip(sides, ("s", ""), strict=True):
            values = data["training"]["losses"][side]
            losses.plot(range(1, len(values) + 1), values, label=label, marker=marker, markersize=5, **style)
        losses.set(xlabel="epoch", ylabel="cross-entropy", yscale="log", title="Training on digits: the same losses")
        losses.xaxis.get_major_locator().set_params(integer=True)
        losses.legend()
        at = np.arange(len(layers))
        for (label, style), what, shift, hatch in zip(
            (("cache", FURTHER[0]), ("residuals", HAND)), ("cache", "residuals"), (-0.2, 0.2), ("///", ""), strict=True
        ):
            size = [layer_bytes(data["kept"][name][what]) / 1e3 for name in layers]
            bars = sizes.barh(at + shift, size, 0.38, color=style["color"], hatch=hatch, edgecolor="white", label=label)
            sizes.bar_label(bars, [f"{s:.1f}" for s in size], padding=3)
        sizes.set(xlabel=f"kB kept for the backward pass, {BATCH} examples", title="Cache and residuals")
        sizes.set_yticks(at, layers)
        sizes.invert_yaxis()
        sizes.margins(x=0.15)
        sizes.grid(axis="y", visible=False)
        sizes.legend(loc="lower right")
        title = "A layer's cache is what the rule of a pure function returns beside its output: the residuals"
        return {"lecture_layers": titled_png(fig, title)}


def error_table(data) -> Table:
    rows = [
        (name if name == "x" else f"W of {name}", *(f"{e[side]:.2f}" for side in ("lecture", "by hand", "automatic")))
        for name, e in data["errors"].items()
    ]
    columns = ("gradient with respect to", "objects, NumPy", "jaxdl, by hand", "JAX, automatic")
    note = "The largest distance from the automatic derivative in float64, in ULP (float32) of the largest entry."
    return Table("The gradients", columns, rows, note)


def kept_table(data) -> Table:
    text = lambda shapes: ", ".join(f"{name} {'×'.join(map(str, s))}" for name, s in shapes.items())
    rows = [
        (name, text(layer["cache"]) or "the shape of x", text(layer["residuals"]) or "nothing: shapes are static",
         bytes_text(layer_bytes(layer["cache"])), bytes_text(layer_bytes(layer["residuals"])))
        for name, layer in data["kept"].items()
    ]  # fmt: skip
    columns = ("layer", "cache of the object", "residuals of the rule", "cache, bytes", "residuals, bytes")
    note = "Weights and inputs are kept as references, not copied. slope is softmax − one-hot, the gradient itself."
    return Table("What is kept for the backward pass", columns, rows, note, words=3)


def page(data) -> Page:
    """The finding, the picture, both tables, and the code of both forms."""
    result = Page("The layers of the lecture: objects with a cache, and pure functions")
    result.lead(finding(data))
    result.picture(draw(data)["lecture_layers"], "Both forms compute and keep the same.")
    result.table(error_table(data))
    result.table(kept_table(data))
    result.heading("Objects with a cache")
    for part in (Linear, Conv, SCELoss, Sequential):
        result.code(inspect.getsource(part))
    result.heading("Pure functions")
    result.code(inspect.getsource(loss))
    result.code(
        "value, pullback = jax.vjp(loss, params, x, y)  # pullback holds the residuals: the cache of all layers"
    )
    return result


def main(quick: bool = False) -> None:
    """Measures, prints the finding, writes data, picture and page.

    Args:
        quick: Train for one epoch.
    """
    found = measure(quick)
    keep("lecture_layers", found, finding, draw, quick=quick)
    if not quick:
        write_whole(FOLDER / "lecture_layers.html", page(rounded(found)).html().encode())


if __name__ == "__main__":
    tyro.cli(main)
