"""Is the linear autoencoder PCA?

Both minimise the same squared error over maps of the same rank. Compared with scikit-learn's PCA on the training digits
are the error, the principal angles between the span of the decoder and that of the components, and those between the
span of the codes and that of the components' scores. (The encoder's weights are not compared: weights of pixels that
hardly vary keep their initial values, and nothing depends on them.)
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA

from experiments.autoencoders.models import digits
from experiments.plotting import DARK, MIDDLE, titled_png
from jaxdl import nn, ops
from jaxdl.report import figure, number_text


def measure(quick: bool) -> dict:
    """For each code size, by step: the excess of the error over that of PCA, and the largest angles in radians."""
    steps = 1200 if quick else 4000
    return {str(code): compared(code, steps) for code in ((8,) if quick else (8, 16))}


def compared(code: int, steps: int) -> dict:
    """The training of one linear autoencoder by full-batch steps in float64, compared with PCA."""
    flat = digits().train_x.reshape(len(digits().train_x), -1).astype(np.float64)
    pca = PCA(code, svd_solver="full").fit(flat)
    scores = pca.transform(flat)
    floor = float(((pca.inverse_transform(scores) - flat) ** 2).mean())
    losses, encoders, decoders = course(flat, code, steps)
    kept = np.unique(np.geomspace(1, steps, 60).astype(int)) - 1
    centred = flat - flat.mean(0)
    return {
        "step": kept + 1,
        "pca_error": floor,
        "excess": losses[kept] / floor - 1,
        "decoder_angle": [subspace_angles(decoders[i].T, pca.components_.T).max() for i in kept],
        "code_angle": [subspace_angles(centred @ encoders[i], scores).max() for i in kept],
    }


def course(x: np.ndarray, code: int, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loss (steps,), encoder (steps, pixels, code) and decoder weights (steps, code, pixels) before each step."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):  # optax mixes the types of its numbers
        x = jnp.asarray(x)
        model = nn.linear_autoencoder(x.shape[1:], code)
        loss = lambda params: ops.squared_error(model.apply(params, x), x).mean()
        # Components of little variance make the problem ill-conditioned, where a long memory helps.
        optimizer = optax.lbfgs(memory_size=100)
        value_and_grad = optax.value_and_grad_from_state(loss)

        def step(carry, _):
            params, state = carry
            value, gradient = value_and_grad(params, state=state)
            updates, state = optimizer.update(gradient, state, params, value=value, grad=gradient, value_fn=loss)
            encoder, decoder = params[0][1]["w"], params[1][0]["w"]
            return (optax.apply_updates(params, updates), state), (value, encoder, decoder)

        params = model.init(jax.random.key(0), x.shape[1:])
        params = jax.tree.map(lambda p: p.astype(jnp.float64), params)
        run = jax.jit(lambda params: jax.lax.scan(step, (params, optimizer.init(params)), None, length=steps)[1])
        return tuple(map(np.asarray, run(params)))


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    each = ", ".join(
        f"{number_text(d['decoder_angle'][-1])} rad and {number_text(abs(d['excess'][-1]))} with a code of {code}"
        for code, d in data.items()
    )
    steps = max(d["step"][-1] for d in data.values())
    return (
        f"The linear autoencoder is PCA: after {steps} steps of L-BFGS the largest principal angle between its "
        f"decoder and scikit-learn's components, and the relative difference of the errors, are {each}."
    )


def draw(data) -> bytes:
    """Angles and excess error by step."""
    styles = dict(zip(data, ({"color": DARK}, {"color": MIDDLE, "linestyle": "--"}), strict=False))
    worst = max(d["decoder_angle"][-1] for d in data.values())
    with figure(1, 2, width=9.6, height=3.7, sharex=True) as (fig, (angle, error)):
        for code, d in data.items():
            angle.plot(d["step"], d["decoder_angle"], label=f"decoder, code {code}", **styles[code])
            angle.plot(d["step"], d["code_angle"], linewidth=0.8, label=f"codes, code {code}", **styles[code])
            error.plot(d["step"], d["excess"], label=f"code {code}, PCA's error {d['pca_error']:.4f}", **styles[code])
        angle.axhline(1e-3, color="#333333", linewidth=0.8, linestyle=":")
        angle.set(ylabel="largest principal angle to PCA (rad)", title="Angle (dotted: 10⁻³)")
        error.set(ylabel="error ÷ PCA's error − 1", title="Error on the training digits")
        for ax in (angle, error):
            ax.set(xscale="log", yscale="log", xlabel="step of L-BFGS, all digits, float64")
            ax.legend(fontsize=8.5, loc="lower left")
        return titled_png(
            fig, f"Trained to convergence, a linear autoencoder spans PCA's subspace, to {number_text(worst)} rad"
        )
