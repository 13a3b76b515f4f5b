"""`docs/upstream.md`: the snippets of the reports show the faults with the versions of JAX that the page names."""

import math
import re
from pathlib import Path

import jax
import pytest

mpmath = pytest.importorskip("mpmath")

REPORTS = (Path(__file__).parents[1] / "docs" / "upstream.md").read_text().split("\n## ")[1:]


def code(report):
    return re.search(r"```python\n(.*?)```", report, re.DOTALL)[1]


def versions(report):
    return re.search(r"Shown by JAX (.*?)[,.]\s", report)[1].split(" and ")


@pytest.mark.parametrize("report", REPORTS, ids=[report.splitlines()[0] for report in REPORTS])
def test_a_report_shows_a_fault(report, capsys):
    if jax.__version__ not in versions(report):
        pytest.skip("another version of JAX")
    for package in ("optax", "flax", "numpyro"):
        if f"import {package}" in code(report) or f"from {package}" in code(report) or f", {package}" in code(report):
            pytest.importorskip(package)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"), mpmath.workdps(15):
        exec(code(report), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines
    assert all(map(is_fault, lines))


def is_fault(line):
    """Whether a line "got exact" has a result that is no number, not finite, or off by more than a hundredth."""
    got, exact = line.split()
    if got == "TypeError":
        return True
    return not math.isfinite(float(got)) or abs(float(got) - float(exact)) > 0.01 * abs(float(exact))
