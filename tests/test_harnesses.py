"""JAX's own cases of the primitives with the most parameters; `python -m benchmarks.harnesses` has all of them."""

import functools
import warnings

import pytest

from benchmarks.harnesses import cases as harnesses
from benchmarks.harnesses.cases import Case
from benchmarks.harnesses.tools import CRASHED, SMOOTH_ONLY, TOOLS, WRONG, verdict

pytestmark = pytest.mark.skipif(harnesses.test_harnesses is None, reason="this JAX comes without its tests' cases")

# How many of each group are taken, evenly spread over its cases.
TAKEN = {
    "argmax": 1, "broadcast_in_dim": 2, "clamp": 1, "concatenate": 1, "conv_general_dilated": 3, "cumlogsumexp": 1,
    "cumprod": 2, "cumsum": 2, "dot_general": 2, "dynamic_slice": 1, "dynamic_update_slice": 1, "gather": 4, "pad": 2,
    "reduce_precision": 1, "reduce_window_add": 2, "reduce_window_max": 1, "reshape": 5, "rev": 1, "scatter_add": 2,
    "scatter_max": 1, "scatter_mul": 1, "select_and_gather_add": 1, "select_n": 1, "sort": 1, "squeeze": 1,
    "transpose": 1, "triangular_solve": 2,
}  # fmt: skip


@functools.cache
def makers() -> dict:
    """For each group, how its cases are made."""
    found = {}
    for name, group, make in harnesses.cases("float32"):
        found.setdefault(group, []).append((name, make))
    return found


@pytest.mark.parametrize("group", TAKEN)
def test_each_tool_is_right_or_refuses_by_name(group):
    all_of_it = makers()[group]
    faults = []
    for name, make in all_of_it[:: max(1, len(all_of_it) // TAKEN[group])][: TAKEN[group]]:
        case = make()
        for tool in TOOLS if isinstance(case, Case) else ():
            if tool not in SMOOTH_ONLY:
                found = verdict(tool, case, seconds=60)
                if found["status"] in (WRONG, CRASHED):
                    faults.append(f"{found['status']}: {tool} of {name}: {found['note']}")
    assert not faults, "\n".join(faults)


def test_the_cases_are_there():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(makers()) > 100
        assert sum(map(len, makers().values())) > 1_000
        assert not TAKEN.keys() - makers().keys()


def test_a_wrong_answer_and_a_crash_are_seen(monkeypatch):
    """The judge: another number, an assertion, JAX's own error where JAX has none, and a refusal in words."""
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
