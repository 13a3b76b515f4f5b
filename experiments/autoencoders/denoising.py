"""How much noise does a denoising autoencoder remove, and does it need noise in training for that?"""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.autoencoders.models import digits, trained
from experiments.autoencoders.pictures import pixels, show_rows
from experiments.plotting import DARK, LIGHT, MIDDLE, titled_png
from jaxdl import nn
from jaxdl.report import figure

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.6)
SHOWN_LEVEL = 0.4
SHOWN = 7  # the first examples of seven digits
CODE, WIDTHS = 32, (256, 128)


def measure(quick: bool) -> dict:
    """The error per pixel on held-out 8 × 8 digits by noise level: of the noisy images, of those restored by a network
    trained with that noise, and of those restored by the same network trained without noise.
    """
    d = digits()
    x, shown = d.test_x, [int(np.argmax(d.test_y == digit)) for digit in range(SHOWN)]
    levels = (SHOWN_LEVEL,) if quick else LEVELS
    noise = np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)
    plain = restorer(0.0, quick)
    restored = {level: restorer(level, quick)(x + level * noise) for level in levels}
    error = lambda y: float(((y - x) ** 2).mean())
    return {
        "level": levels,
        "noisy": [error(x + level * noise) for level in levels],
        "restored": [error(restored[level]) for level in levels],
        "plain": [error(plain(x + level * noise)) for level in levels],
        "images": {
            "clean": pixels(x[shown]),
            "noisy": pixels((x + SHOWN_LEVEL * noise)[shown]),
            "restored": pixels(np.asarray(restored[SHOWN_LEVEL])[shown]),
        },
    }


def restorer(std: float, quick: bool):
    """The autoencoder trained to remove noise of a standard deviation."""
    x = digits().train_x
    model = nn.denoising(nn.dense_autoencoder(x.shape[1:], CODE, WIDTHS), std)
    params = trained(model, x, x, epochs=15 if quick else 100)
    return jax.jit(lambda noisy: model.apply(params, jnp.asarray(noisy)))


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    each = ", ".join(
        f"{noisy:.3f} to {restored:.3f} at {level:g}"
        for level, noisy, restored in zip(data["level"], data["noisy"], data["restored"], strict=True)
    )
    noisy, restored, plain = at_shown_level(data)
    return (
        f"Denoising autoencoders reduce the squared error per pixel of held-out digits from {each} (standard deviation "
        f"of the noise); at {SHOWN_LEVEL:g} {1 - restored / noisy:.0%} of it is gone, and the same network trained "
        f"without noise has an error of {plain:.3f}, {plain / restored:.1f} times as large."
    )


def at_shown_level(data) -> tuple[float, float, float]:
    at = data["level"].index(SHOWN_LEVEL)
    return data["noisy"][at], data["restored"][at], data["plain"][at]


def draw(data) -> bytes:
    """Noisy, restored and clean images; errors by noise level."""
    noisy, restored, _ = at_shown_level(data)
    with figure(1, 2, width=10, height=3.3, width_ratios=(1.3, 1)) as (fig, (ax, errors)):
        names = {
            f"noise of {SHOWN_LEVEL:g}\nerror {noisy:.3f}": "noisy",
            f"restored\nerror {restored:.3f}": "restored",
            "clean": "clean",
        }
        show_rows(ax, {label: data["images"][name] for label, name in names.items()})
        for name, label, style in (
            ("noisy", "noisy", {"color": LIGHT, "marker": "^", "linestyle": ":"}),
            ("plain", "trained without noise", {"color": MIDDLE, "marker": "s", "linestyle": "--"}),
            ("restored", "trained with this noise", {"color": DARK, "marker": "o"}),
        ):
            errors.plot(data["level"], data[name], label=label, **style)
        errors.set(yscale="log", xlabel="standard deviation of the noise", ylabel="mean squared error per pixel")
        errors.legend(fontsize=8.5)
        return titled_png(
            fig,
            f"Trained against clean images, an autoencoder removes {1 - restored / noisy:.0%} of the squared error "
            f"at a noise of {SHOWN_LEVEL:g}",
        )
