"""Every plan is a report: printed, tabulated, drawn and saved like all others."""

import json

import jax.numpy as jnp
import pytest

from jaxdl import jacobian
from jaxdl.report import Report
from tests.draws import draw

X, W = draw(30, 6), draw(31, 2, 6)


def f(x, path=1.0):
    return jnp.tanh(W.T @ (W @ x)) * path


PLANS = {
    "plan": lambda: jacobian.plan(f, X),
    "best": lambda: jacobian.best(f).plan(X),
    "cut": lambda: jacobian.cut(f).plan(X),
    "eliminate": lambda: jacobian.eliminate(f, seconds=0.1).plan(X),
    "sparse": lambda: jacobian.sparse(f).plan(X),
    "sparse_hessian": lambda: jacobian.sparse_hessian(lambda x: f(x).sum()).plan(X),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_is_saved_in_every_form(name, tmp_path, capsys):
    plan = PLANS[name]()
    assert isinstance(plan, Report)
    for suffix in (".txt", ".md", ".html", ".json", ".png"):
        plan.save(tmp_path / f"plan{suffix}")
    assert json.loads((tmp_path / "plan.json").read_text())
    assert (tmp_path / "plan.png").read_bytes().startswith(b"\x89PNG")
    plan.print()
    assert capsys.readouterr().out.strip()
    assert str(plan).startswith(plan.table().title)


def test_keywords_of_the_function_are_its_own():
    """`path` is an argument of f, not of the report."""
    doubled = jacobian.sparse(f)
    assert doubled.plan(X, path=2.0).pattern.nnz == doubled.spy(X, path=2.0).collections[0].get_offsets().shape[0] == 36
    assert jnp.allclose(jacobian.best(f)(X, path=2.0), 2 * jacobian.best(f)(X), rtol=1e-5)


def test_the_plan_of_a_cut_lists_its_steps():
    plan = jacobian.cut(f).plan(X)
    assert plan.sizes == [6, 2, 6]
    assert plan.sweeps == 4
    steps = [(step["kind"], step["sweeps"]) for step in plan.to_json()["steps"]]
    assert sorted(steps) == [("forward", 2), ("product", 0), ("reverse", 2)]
    assert plan.table().rows[-1] == ("product", "6", "6", "")


def test_a_cut_of_a_constant_has_no_step():
    plan = jacobian.cut(lambda x: jnp.ones(3)).plan(X)
    assert plan.sweeps == 0
    assert not plan.table().rows
