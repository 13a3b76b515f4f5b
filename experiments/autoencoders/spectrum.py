"""How many directions does a code of d numbers use, by the singular values of the autoencoder's Jacobian?"""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.autoencoders.code_size import QUICK_SIZES, SIZES
from experiments.autoencoders.models import deep, digits
from experiments.plotting import DARK, MIDDLE, titled_png
from jaxdl.report import figure

POINTS = 100
USED, MUCH_USED = 0.01, 0.1  # of the largest singular value
ZERO = 1e-5  # of the largest; a float32's rounding in a matrix of 64 × 64


def measure(quick: bool) -> dict:
    """By code size, averaged over held-out digits: the singular values of the 64 × 64 Jacobian in decreasing order, and
    the numbers of those above 1% and 10% of the largest, and above zero.
    """
    x = digits().test_x[:POINTS]
    sizes = QUICK_SIZES if quick else SIZES
    values = {code: singular_values(deep(code, quick), x) for code in sizes}
    relative = {code: v / v[:, :1] for code, v in values.items()}
    return {
        "size": sizes,
        "used": [float((relative[code] > USED).sum(1).mean()) for code in sizes],
        "much_used": [float((relative[code] > MUCH_USED).sum(1).mean()) for code in sizes],
        "nonzero": [int((relative[code] > ZERO).sum(1).max()) for code in sizes],
        "largest": [float(values[code][:, 0].mean()) for code in sizes],
        "spectrum": {str(code): np.exp(np.log(relative[code][:, :code] + 1e-9).mean(0)) for code in sizes},
    }


def singular_values(coder, x) -> np.ndarray:
    """(n, 64): those of the Jacobian of decode(encode(x)) at each image."""
    through = lambda image: coder.decode(coder.encode(image))
    jacobians = np.asarray(jax.jit(jax.vmap(jax.jacrev(through)))(jnp.asarray(x)), np.float64)
    return np.linalg.svd(jacobians.reshape(len(x), x[0].size, x[0].size), compute_uv=False)


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    each = lambda name: ", ".join(f"{n:.1f} of {code}" for code, n in zip(data["size"], data[name], strict=True))
    over = any(n > code for code, n in zip(data["size"], data["nonzero"], strict=True))
    return (
        f"The Jacobian of a deep autoencoder has {'more' if over else 'no more'} singular values above 0 than its code "
        f"has numbers; above {USED:.0%} of the largest are, on average over held-out digits, {each('used')}, "
        f"above {MUCH_USED:.0%} {each('much_used')}."
    )


def draw(data) -> bytes:
    """Spectra, and the number of directions used."""
    with figure(1, 2, width=9.6, height=3.8) as (fig, (spectra, count)):
        shades = np.linspace(0.75, 0, len(data["size"]))
        for (code, values), shade, marker in zip(data["spectrum"].items(), shades, "v^sDox", strict=False):
            index = range(1, len(values) + 1)
            spectra.plot(index, values, marker=marker, markersize=4, color=str(shade), label=f"code {code}")
        for share, dash in ((USED, ":"), (MUCH_USED, "--")):
            spectra.axhline(share, color=MIDDLE, linestyle=dash, linewidth=1)
        spectra.set_xscale("log", base=2)
        spectra.set_xticks(data["size"], map(str, data["size"]))
        spectra.set(xlabel="singular value, in order", ylabel="relative to the largest (mean)")
        spectra.set(yscale="log", ylim=(USED / 10, 1.5))
        spectra.legend(fontsize=8.5, ncols=2, loc="lower left")
        count.plot(data["size"], data["used"], "o:", color=DARK, label=f"above {USED:.0%} of the largest")
        count.plot(data["size"], data["much_used"], "s--", color=MIDDLE, label=f"above {MUCH_USED:.0%} of the largest")
        for axis in (count.set_xscale, count.set_yscale):
            axis("log", base=2)
        count.set_xticks(data["size"], map(str, data["size"]))
        count.set_yticks(data["size"], map(str, data["size"]))
        count.set(xlabel="numbers in the code", ylabel="directions used")
        count.legend(fontsize=8.5)
        return titled_png(
            fig,
            f"A code of {data['size'][-1]} uses {data['used'][-1]:.1f} directions at a digit, "
            f"but only {data['much_used'][-1]:.1f} of them with more than {MUCH_USED:.0%} of the largest gain",
        )
