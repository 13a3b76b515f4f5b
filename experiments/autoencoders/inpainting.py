"""How well are missing pixels restored: by a denoising autoencoder, by PCA, by a Gaussian, by the mean digit?

The autoencoder is trained on digits of which random pixels are missing, or all pixels on one side of a row or column.
PCA fits its components to the present pixels by least squares; the number of components is the best one for training
digits. A Gaussian with the mean and the covariance of the training digits predicts its conditional mean, which is the
best linear answer.
"""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.decomposition import PCA

from experiments.autoencoders.models import digits, trained
from experiments.autoencoders.pictures import pixels, show_rows
from experiments.plotting import LOOKS, titled_png
from jaxdl import nn
from jaxdl.report import figure

MISSING = -1.0  # the value of missing pixels, so that they differ from background, which is 0
SCATTERED = {"a quarter": 0.25, "half": 0.5, "three quarters": 0.75}
HALVES = {
    "left half": np.s_[:, :, :4],
    "right half": np.s_[:, :, 4:],
    "top half": np.s_[:, :4],
    "bottom half": np.s_[:, 4:],
}
COMPONENTS = (1, 2, 3, 4, 6, 8, 12, 16)
RIDGE = 1e-3  # added to the variances of the Gaussian; ten times less or more changes its errors by 3%
CODE, WIDTHS = 32, (256, 128)
MEAN, BY_PCA, GAUSSIAN, NETWORK = "mean digit", "PCA", "Gaussian", "denoising autoencoder"
RESTORERS = (MEAN, BY_PCA, GAUSSIAN, NETWORK)
GREY = 0.5  # the shade of missing pixels in pictures
DRAWN = ("half", "left half", "bottom half")
SHOWN = 7  # the first examples of seven digits


def masks(shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """By kind, where pixels of images (n, height, width, 1) are missing."""
    random = np.random.default_rng(0)
    missing = {name: random.random(shape) < share for name, share in SCATTERED.items()}
    for name, half in HALVES.items():
        missing[name] = np.zeros(shape, bool)
        missing[name][half] = True
    return missing


def erase(key: jax.Array, x: jax.Array) -> jax.Array:
    """Sets pixels to MISSING: in half of the images each with a probability, which is drawn for the image; in the
    others those on one side of a random row or column.
    """
    n, side, _, _ = x.shape
    keys = jax.random.split(key, 5)
    share = jnp.broadcast_to(jax.random.uniform(keys[0], (n, 1, 1, 1)), x.shape)
    scattered = jax.random.uniform(keys[1], x.shape) < share
    before = jnp.arange(side)[None] < jax.random.randint(keys[2], (n, 1), 1, side)
    line = before ^ jax.random.bernoulli(keys[3], shape=(n, 1))
    rows, columns = (jnp.broadcast_to(jnp.expand_dims(line, axes), x.shape) for axes in ((2, 3), (1, 3)))
    kind = jnp.broadcast_to(jax.random.randint(keys[4], (n, 1, 1, 1), 0, 4), x.shape)
    return jnp.where(jnp.select([kind == 0, kind == 1], [rows, columns], scattered), MISSING, x)


def measure(quick: bool) -> dict:
    """The squared error per missing pixel of held-out 8 × 8 digits, by what restores them and by what is missing."""
    d = digits()
    x = d.test_x[:100] if quick else d.test_x
    missing = masks(x.shape)
    shown = [int(np.argmax(d.test_y == digit)) for digit in range(SHOWN)]
    restored = {
        restorer: {kind: restore(x, gone) for kind, gone in missing.items()}
        for restorer, restore in restorers(d, quick).items()
    }
    return {
        "error": {
            restorer: {kind: error(y, x, missing[kind]) for kind, y in answers.items()}
            for restorer, answers in restored.items()
        },
        "images": {
            kind: {
                "given": pixels(np.where(missing[kind], GREY, x)[shown]),
                **{restorer: pixels(np.where(missing[kind], y[kind], x)[shown]) for restorer, y in restored.items()},
                "digit": pixels(x[shown]),
            }
            for kind in DRAWN
        },
    }


def error(y, x, missing) -> float:
    """The mean squared error per missing pixel."""
    return float(((y - x)[missing] ** 2).mean())


def restorers(d, quick: bool) -> dict:
    """By name, functions (images, where pixels are missing) → images without missing pixels."""
    flat = d.train_x.reshape(len(d.train_x), -1)
    mean, covariance = flat.mean(0), np.cov(flat.T)
    components = PCA(max(COMPONENTS), svd_solver="full").fit(flat).components_
    return {
        MEAN: lambda x, missing: np.broadcast_to(mean.reshape(x.shape[1:]), x.shape),
        BY_PCA: lambda x, missing: projected(x, missing, mean, components[: best_number(d, missing, mean, components)]),
        GAUSSIAN: lambda x, missing: conditional_mean(x, missing, mean, covariance),
        NETWORK: network(d, quick),
    }


def network(d, quick: bool):
    """The autoencoder trained with missing pixels."""
    autoencoder = nn.dense_autoencoder(d.train_x.shape[1:], CODE, WIDTHS)
    params = trained(nn.denoising(autoencoder, erase), d.train_x, d.train_x, epochs=150 if quick else 1000)
    apply = jax.jit(autoencoder.apply)
    return lambda x, missing: np.asarray(apply(params[1], np.where(missing, np.float32(MISSING), x)))


def best_number(d, missing, mean, components) -> int:
    """How many components restore as many training digits best, with the same pixels missing."""
    x = d.train_x[: len(missing)]
    return min(COMPONENTS, key=lambda k: error(projected(x, missing, mean, components[:k]), x, missing))


def projected(x, missing, mean, components):
    """mean + Σ cᵢ vᵢ with the coefficients c that fit the present pixels best, clipped to [0, 1]."""
    present = ~missing.reshape(len(x), -1)
    apart = (x.reshape(len(x), -1) - mean) * present
    c = np.linalg.pinv(components.T * present[..., None]) @ apart[..., None]
    return np.clip(mean + c[..., 0] @ components, 0, 1).reshape(x.shape)


def conditional_mean(x, missing, mean, covariance):
    """mean + Σ S⁻¹ (x − mean), where S is the covariance Σ of the present pixels, clipped to [0, 1]."""
    present = ~missing.reshape(len(x), -1)
    apart = (x.reshape(len(x), -1) - mean) * present
    both = present[:, :, None] & present[:, None]
    s = np.where(both, covariance, 0) + np.eye(len(mean)) * np.where(present, RIDGE, 1)[:, None]
    weights = np.linalg.solve(s, apart[..., None])[..., 0]
    return np.clip(mean + weights @ covariance, 0, 1).reshape(x.shape)


def by_group(data) -> dict[str, dict[str, float]]:
    """By restorer, the error averaged over the kinds of scattered pixels, and over the halves."""
    mean = lambda errors, kinds: float(np.mean([errors[kind] for kind in kinds]))
    return {r: {"pixels": mean(e, SCATTERED), "halves": mean(e, HALVES)} for r, e in data["error"].items()}


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    groups = by_group(data)
    errors = {restorer: {name: f"{e:.3f}" for name, e in of.items()} for restorer, of in groups.items()}
    share = {restorer: f"{groups[NETWORK]['halves'] / of['halves']:.0%}" for restorer, of in groups.items()}
    gaussian, pca, mean = (errors[restorer] for restorer in (GAUSSIAN, BY_PCA, MEAN))
    return (
        f"A denoising autoencoder restores missing halves of held-out digits with a squared error of "
        f"{errors[NETWORK]['halves']} per missing pixel: {share[GAUSSIAN]} of that of a Gaussian, the best linear "
        f"answer ({gaussian['halves']}), {share[BY_PCA]} of PCA's ({pca['halves']}), {share[MEAN]} of the mean digit's "
        f"({mean['halves']}); scattered pixels, a quarter to three quarters of the image, with "
        f"{errors[NETWORK]['pixels']}, the others with {gaussian['pixels']}, {pca['pixels']} and {mean['pixels']}."
    )


def draw(data) -> bytes:
    """Restored images for three kinds of missing pixels, and errors by kind."""
    groups = by_group(data)
    names = {"given": "given"} | {r: r.replace(" ", "\n") for r in RESTORERS} | {"digit": "original"}
    with figure(2, 2, width=10.4, height=8.2) as (fig, axes):
        for ax, (kind, images) in zip(axes.flat, data["images"].items(), strict=False):
            show_rows(ax, {label: images[name] for name, label in names.items()})
            ax.set_title(f"missing: {kind} of the pixels" if kind in SCATTERED else f"missing: {kind}")
        errors = axes.flat[3]
        for restorer, look in zip(RESTORERS[::-1], LOOKS, strict=False):
            at = 0
            for kinds in (SCATTERED, HALVES):
                x = range(at, at + len(kinds))
                label = restorer if at == 0 else None
                errors.plot(x, [data["error"][restorer][kind] for kind in kinds], label=label, **look)
                at += len(kinds)
        errors.set_xticks(range(at), [kind.replace(" ", "\n") for kind in (*SCATTERED, *HALVES)], fontsize=8.5)
        errors.set(ylabel="mean squared error per missing pixel", ylim=(0, None))
        errors.set_xlabel("missing: a share of the pixels, or one half of the image")
        errors.legend(fontsize=8.5)
        of = lambda other, group: f"{groups[NETWORK][group] / groups[other][group]:.0%}"
        return titled_png(
            fig,
            f"A denoising autoencoder restores missing halves with {of(BY_PCA, 'halves')} of PCA's squared error and "
            f"{of(GAUSSIAN, 'halves')} of the best linear answer's,\nscattered pixels with {of(BY_PCA, 'pixels')} and "
            f"{of(GAUSSIAN, 'pixels')}",
        )
