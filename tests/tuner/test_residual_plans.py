"""Plans: their table, and their decisions as plain data."""

import json

import jax
import pytest

from jaxdl import rematerialized
from jaxdl.measure import Differentiated
from jaxdl.tuner import cut
from tests.tolerance import assert_close
from tests.tuner.functions import FUNCTIONS, normal, scanned

ARGS = FUNCTIONS["scanned"][1]


def test_decisions_are_applied_in_another_trace():
    _, plan = cut(scanned, ARGS, 400)
    decisions = json.loads(json.dumps(plan.decisions))
    function, again = cut(scanned, [jax.typeof(x) for x in ARGS], decisions=decisions)
    assert (again.kept_bytes, again.decisions) == (plan.kept_bytes, plan.decisions)
    assert Differentiated(function, ARGS).stored_bytes()[0] == plan.kept_bytes <= 400
    got, want = (jax.jit(jax.grad(f))(*ARGS) for f in (function, scanned))
    assert_close(got, want, want.dtype)


def test_decisions_of_another_program_are_refused():
    _, plan = cut(scanned, ARGS)
    for f, args in ((scanned, (normal(2, 6, 6), *ARGS[1:])), (lambda w, x, b: scanned(w, x, b) + 1, ARGS)):
        with pytest.raises(ValueError, match="the plan is of another program"):
            cut(f, args, decisions=plan.decisions)


def test_the_report_names_values_lines_and_bytes(tmp_path):
    plan = rematerialized(scanned, max_bytes=400).plan(*ARGS)
    kept = [v for v in plan.values if v.kept]
    assert sum(v.bytes for v in kept) == plan.kept_bytes <= 400 < plan.automatic_bytes
    table = plan.table()
    assert len(table.rows) >= len(kept)
    assert any("carry" in row[0] and row[2] == "kept" and row[4] == "3" for row in table.rows)
    assert any("functions.py" in row[1] and row[2] == "computed again" for row in table.rows)
    assert "The budget is 400 B" in table.note
    plan.save(tmp_path / "plan.json")
    saved = json.loads((tmp_path / "plan.json").read_text())
    assert saved["kept_bytes"] == plan.kept_bytes
    assert saved["decisions"] == plan.decisions


@pytest.mark.parametrize(
    "damage",
    [
        {"form": {}},
        {"form": {"through_checkpoints": True, "unknown": True}},
        {"regions": []},
        {"regions": [{"kept": [0], "again": []}, {"kept": [999], "again": []}]},
        {"regions": [{"kept": [0], "again": [999]}, {"kept": [], "again": []}]},
        {"regions": [{"kept": [0]}, {"kept": []}]},
    ],
)
def test_damaged_decisions_are_refused(damage):
    _, plan = cut(scanned, ARGS)
    with pytest.raises(ValueError, match="the plan is damaged"):
        cut(scanned, ARGS, decisions=plan.decisions | damage)
    with pytest.raises(ValueError, match="the plan is damaged"):
        cut(scanned, ARGS, decisions={"program": plan.decisions["program"]})
