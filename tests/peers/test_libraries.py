"""All tools on a few functions of other libraries; `python -m benchmarks.libraries` runs all functions."""

import importlib.util

import jax
import pytest

from benchmarks.libraries.entry import entries
from benchmarks.libraries.judge import Status, of_exception
from benchmarks.libraries.tools import TOOLS, Case

IMPORTED = {"diffrax", "equinox", "interpax", "jaxopt", "lineax"}
ALL = set(TOOLS)
QUICK = {"rules", "automatic", "trace and backward", "draw", "sparse", "cut"}
TRIED = {
    "diffrax: ode by direct adjoint": QUICK,
    "equinox: gru over a sequence": ALL - {"best", "source"},
    "interpax: monotonic": QUICK | {"source"},
    "jaxopt: projection onto the simplex": ALL,
    "lineax: solve by lu": ALL - {"audit"},
}
# (function, tool): a part of the message of the refusal.
REFUSED = {("lineax: solve by lu", "source"): "linear_solve"}


@pytest.fixture(autouse=True, scope="module")
def _promotion_allowed():
    """The libraries rely on implicit promotion of dtypes and ranks."""
    missing = sorted(name for name in IMPORTED if importlib.util.find_spec(name) is None)
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: pip install '.[libraries]'")
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.parametrize("name", TRIED)
def test_each_tool_agrees_with_jax_or_refuses_with_the_expected_reason(name):
    entry = next(e for e in entries() if e.name == name)
    case = Case(*entry.build(), name)
    for tool in [t for t in TOOLS if t in TRIED[name]]:
        try:
            status, why = Status.RIGHT, TOOLS[tool](case)
        except Exception as error:
            status, why = of_exception(error)
        reason = REFUSED.get((name, tool))
        assert status == (Status.REFUSED if reason else Status.RIGHT), f"{tool}: {why}"
        assert not reason or reason in why, f"{tool}: {why}"
