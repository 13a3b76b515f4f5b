"""JAX's test cases of the primitives with most parameters; `python -m benchmarks.harnesses` runs all primitives."""

import functools
import warnings

import pytest

from benchmarks.harnesses import cases as harnesses
from benchmarks.harnesses.cases import Case
from benchmarks.harnesses.tools import CRASHED, SMOOTH_ONLY, TOOLS, WRONG, verdict

pytestmark = pytest.mark.skipif(harnesses.test_harnesses is None, reason="this JAX does not include its test cases")

# The number of cases tested in each group, evenly spread over all.
TESTED = {
    "argmax": 1, "broadcast_in_dim": 2, "clamp": 1, "concatenate": 1, "conv_general_dilated": 3, "cumlogsumexp": 1,
    "cumprod": 2, "cumsum": 2, "dot_general": 2, "dynamic_slice": 1, "dynamic_update_slice": 1, "gather": 4, "pad": 2,
    "reduce_precision": 1, "reduce_window_add": 2, "reduce_window_max": 1, "reshape": 5, "rev": 1, "scatter_add": 2,
    "scatter_max": 1, "scatter_mul": 1, "select_and_gather_add": 1, "select_n": 1, "sort": 1, "squeeze": 1,
    "transpose": 1, "triangular_solve": 2,
}  # fmt: skip


@functools.cache
def makers() -> dict:
    """Names and builders of the cases, by group."""
    found = {}
    for name, group, make in harnesses.cases("float32"):
        found.setdefault(group, []).append((name, make))
    return found


@pytest.mark.parametrize("group", TESTED)
def test_each_tool_is_right_or_refuses_by_name(group):
    cases = makers()[group]
    faults = []
    for name, make in cases[:: max(1, len(cases) // TESTED[group])][: TESTED[group]]:
        case = make()
        for tool in TOOLS if isinstance(case, Case) else ():
            if tool not in SMOOTH_ONLY:
                found = verdict(tool, case, seconds=60)
                if found["status"] in (WRONG, CRASHED):
                    faults.append(f"{found['status']}: {tool} of {name}: {found['note']}")
    assert not faults, "\n".join(faults)


def test_all_tested_groups_exist():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(makers()) > 100
        assert sum(map(len, makers().values())) > 1_000
        assert not TESTED.keys() - makers().keys()


def test_the_verdict_of_a_wrong_result_a_crash_and_a_refusal(monkeypatch):
    case = makers()["reshape"][-1][1]()

    def wrong(case):
        from benchmarks.harnesses import tools

        tools.same(2 * case.value[0], case.value[0], "output 0")

    def crashed(case):
        raise AssertionError("inside")

    def refused(case):
        from jaxdl import jacobian

        jacobian.sparse(lambda x: x.astype(int))(case.args[0])

    for tool, status in ((wrong, WRONG), (crashed, CRASHED), (refused, "refused")):
        monkeypatch.setitem(TOOLS, "planted", tool)
        assert verdict("planted", case, seconds=60)["status"] == status
