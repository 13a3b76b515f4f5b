"""One tolerance for all tests: a multiple of the dtype's machine epsilon, relative to the largest entry."""

import jax.numpy as jnp
import numpy as np

ROUNDINGS = {"float16": 6, "bfloat16": 6, "float32": 40, "float64": 40, "complex64": 80, "complex128": 80}


def tolerance(dtype) -> float:
    return ROUNDINGS[jnp.dtype(dtype).name] * float(jnp.finfo(dtype).eps)


def assert_close(got, want, dtype, label=""):
    """Asserts equal shapes, and differences of at most the tolerance times max(1, largest entry)."""
    assert np.shape(got) == np.shape(want), f"{label}: shape {np.shape(got)}, expected {np.shape(want)}"
    wide = np.complex128 if np.iscomplexobj(want) else np.float64
    got, want = np.asarray(got).astype(wide), np.asarray(want).astype(wide)
    assert np.isfinite(want).all(), f"{label}: the reference is not finite"
    allowed = tolerance(dtype) * max(1.0, float(np.abs(want).max(initial=0)))
    apart = float(np.abs(got - want).max(initial=0))
    assert apart <= allowed, f"{label}: differs by {apart:.3g}, allowed {allowed:.3g}\ngot  {got}\nwant {want}"
