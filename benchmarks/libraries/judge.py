"""How a cell is judged: numbers against JAX's, exceptions by whether jaxdl raised them on purpose."""

import enum
import linecache
import traceback
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxdl

OURS = str(Path(jaxdl.__file__).parent)
TOLERANCE = {"float32": 2e-4, "complex64": 2e-4, "float64": 1e-9, "complex128": 1e-9, "float16": 2e-2, "bfloat16": 5e-2}


class Status(enum.StrEnum):
    """The result of a cell, from good to bad."""

    RIGHT = "right"
    REFUSED = "refused"
    SLOW = "too slow"
    FALSE_ALARM = "false alarm"
    WRONG = "wrong"
    CRASHED = "crashed"


class Wrong(Exception):
    """A tool gave another answer than JAX."""


class FalseAlarm(Exception):
    """The audit reported a fault that is not in `confirmed.toml`."""


class Failed(Exception):
    """The tool failed but caught its own exception, such as an audit that did not finish."""


def apart(got, want) -> float:
    """The largest difference between the floating-point arrays of two trees, in units of what is allowed.

    Allowed is the dtype's tolerance times the tree's largest entry, since a derivative's rounding errors scale with it.
    Infinite where only one of the two is finite.
    """
    gots, wants = floats(got), floats(want)
    if [x.shape for x in gots] != [x.shape for x in wants]:
        raise Wrong(f"shapes {[x.shape for x in gots]} in place of {[x.shape for x in wants]}")
    worst = 0.0
    for x, y in zip(gots, wants, strict=True):
        wide = np.complex128 if np.iscomplexobj(y) or np.iscomplexobj(x) else np.float64
        a, b = np.asarray(x).astype(wide), np.asarray(y).astype(wide)
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        if not np.isfinite(b[~same]).all() or not np.isfinite(a[~same]).all():
            return np.inf
        scale = max([np.abs(np.asarray(z)[np.isfinite(z)]).max(initial=1e-30) for z in wants])
        difference = np.abs(np.where(same, 0, a - b)).max(initial=0)
        worst = max(worst, float(difference / scale) / TOLERANCE[str(jnp.result_type(y))])
    return worst


def floats(tree) -> list:
    """The floating-point and complex arrays of a tree."""
    return [x for x in jax.tree.leaves(tree) if jnp.issubdtype(jnp.result_type(x), jnp.inexact)]


def of_exception(error: BaseException) -> tuple[Status, str]:
    """Refused where jaxdl itself raises with a reason; crashed for any other exception."""
    text = f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:300]}"
    if isinstance(error, Wrong | FalseAlarm | Failed):
        status = {Wrong: Status.WRONG, FalseAlarm: Status.FALSE_ALARM, Failed: Status.CRASHED}[type(error)]
        return status, str(error)[:600]
    last = traceback.extract_tb(error.__traceback__)[-1]
    is_ours = last.filename.startswith(OURS) and linecache.getline(last.filename, last.lineno).strip().startswith(
        "raise"
    )
    if is_ours and isinstance(error, TypeError | ValueError | NotImplementedError):
        return Status.REFUSED, text
    return Status.CRASHED, f"{text} ({'/'.join(Path(last.filename).parts[-3:])}:{last.lineno})"
