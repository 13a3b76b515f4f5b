"""Generated programs: every tool is right or refuses by name. `JAXDL_PROGRAMS=2000 pytest tests/programs` runs more."""

import os
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import jacobian
from tests.programs import tools
from tests.programs.judging import Fault, Meaningless, judged
from tests.programs.program import Program
from tests.programs.shrinking import smallest
from tests.programs.writing import written

PROGRAMS = int(os.environ.get("JAXDL_PROGRAMS", "12"))


def faults(program, only=None, all_tools=False):
    try:
        return [outcome for _, outcome in judged(program, only, all_tools) if isinstance(outcome, Fault)]
    except Meaningless:
        return []


@pytest.mark.parametrize("seed", range(PROGRAMS))
def test_every_tool_is_right_or_refuses_by_name(seed):
    program = written(random.Random(seed).randrange)
    for fault in faults(program):
        small = smallest(program, lambda p, fault=fault: fault.key in [o.key for o in faults(p, {fault.tool}, True)])
        pytest.fail(f"seed {seed}: {fault}\n\n{small.text}")


def test_equal_seeds_give_equal_programs():
    texts = [written(random.Random(seed).randrange).text for seed in (7, 7, 8)]
    assert texts[0] == texts[1] != texts[2]


LINES = """import jax, jax.numpy as jnp, numpy as np
from tests.programs import hand

real, half, cplx = jnp.float32, jnp.bfloat16, jnp.complex64


def f(x):
    u1 = jnp.sin(x)
    def g2(p3):
        u4 = jnp.cos(p3) * x
        return u4
    u5 = jax.checkpoint(g2)(u1)
    u6 = hand.halving(u5)
    u7 = jnp.exp(u6)
    return u7


args = (jnp.array([0.25, -1.5], real),)
argnums = 0
tools = []
"""


def test_a_wrong_result_is_found_and_its_program_reduced(monkeypatch):
    def wrong(s):
        exact = jax.jacrev(s.f, s.argnums)(*s.args)
        return {"jacobian": exact * 1.001 if "cos" in str(jax.make_jaxpr(s.f)(*s.args)) else exact}

    monkeypatch.setitem(tools.TRACED, "sparse", wrong)
    shows = lambda program: [f.kind for f in faults(program, {"sparse"}, True)] == ["wrong"]
    assert shows(Program(LINES))
    small = smallest(Program(LINES), shows)
    assert "checkpoint" in small.text
    assert "exp" not in small.text
    assert "sin(" not in small.text.replace("jnp.sin(x)", "")


def test_crashes_are_not_refusals(monkeypatch):
    def crashes(s):
        raise IndexError("list index out of range")

    def refuses(s):
        raise ValueError("jacobian.cut: f has no place to cut, use jacobian.reverse")

    monkeypatch.setitem(tools.TRACED, "sparse", crashes)
    monkeypatch.setitem(tools.TRACED, "cut", refuses)
    found = dict(judged(Program(LINES), {"sparse", "cut", "forward"}, True))
    assert found["forward"] == "right"
    assert found["cut"].startswith("refused: jacobian.cut")
    assert (found["sparse"].tool, found["sparse"].kind) == ("sparse", "crashed")


def test_a_wrong_rule_shows_which_derivative_was_used(monkeypatch):
    assert dict(judged(Program(LINES), {"automatic", "reverse"}, True)) == {"automatic": "right", "reverse": "right"}
    monkeypatch.setattr(tools, "automatic", lambda f: f)
    assert [f.key[:2] for f in faults(Program(LINES), {"automatic"}, True)] == [("automatic", "wrong")]


def test_a_program_runs_alone_and_in_float64():
    program = Program(LINES)
    own, wide = program.executed(), None
    with jax.enable_x64(True):
        wide = program.executed(wide=True)
        y = wide.f(*wide.args)
    assert (own.f(*own.args).dtype, y.dtype) == (jnp.float32, jnp.float64)
    np.testing.assert_allclose(own.f(*own.args), y, rtol=1e-6)
    np.testing.assert_allclose(jacobian.reverse(own.f)(*own.args), jax.jacrev(own.f)(*own.args), rtol=1e-6)
