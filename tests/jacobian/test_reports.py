"""Every plan, and a spectrum, is a report: printed, tabulated, drawn and saved like all others."""

import json

import jax
import jax.numpy as jnp
import pytest

from jaxdl import jacobian
from jaxdl.report import Report
from tests.draws import draw

X, W = draw(30, 6), draw(31, 2, 6)


def f(x, path=1.0):
    return jnp.tanh(W.T @ (W @ x)) * path


REPORTS = {
    "plan": lambda: jacobian.plan(f, X),
    "best": lambda: jacobian.best(f).plan(X),
    "cut": lambda: jacobian.cut(f).plan(X),
    "eliminate": lambda: jacobian.eliminate(f, seconds=0.1).plan(X),
    "sparse": lambda: jacobian.sparse(f).plan(X),
    "spectrum": lambda: jacobian.spectrum(f)(X),
    "spectra": lambda: jax.vmap(jacobian.spectrum(f))(jnp.stack([X, 2 * X])),
    "sparse_hessian": lambda: jacobian.sparse_hessian(lambda x: f(x).sum()).plan(X),
}


@pytest.mark.parametrize("name", REPORTS)
def test_saved_in_every_form(name, tmp_path, capsys):
    report = REPORTS[name]()
    assert isinstance(report, Report)
    for suffix in (".txt", ".md", ".html", ".json", ".png"):
        report.save(tmp_path / f"report{suffix}")
    assert json.loads((tmp_path / "report.json").read_text())
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    report.print()
    assert capsys.readouterr().out.strip()
    assert str(report).startswith(report.table().title)


def test_keywords_of_the_function_are_its_own():
    """`path` is an argument of f, not of the report."""
    doubled = jacobian.sparse(f)
    assert doubled.plan(X, path=2.0).pattern.nnz == doubled.spy(X, path=2.0).collections[0].get_offsets().shape[0] == 36
    assert jnp.allclose(jacobian.best(f)(X, path=2.0), 2 * jacobian.best(f)(X), rtol=1e-5)


def test_a_keyword_that_the_function_has_too_is_refused():
    g = lambda x, argnums: x * argnums
    assert jacobian.best(g).plan(X, argnums=3).n == 6
    with pytest.raises(TypeError, match=r"argnums is a keyword of jacobian.plan .* use jacobian.best\(f, argnums"):
        jacobian.plan(g, X, argnums=1)


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


def test_a_spectrum_is_a_tuple_under_every_transformation():
    values, rank, condition = jax.jit(jax.vmap(jacobian.spectrum(f)))(jnp.stack([X, 2 * X]))
    assert (values.shape, rank.tolist(), condition.tolist()) == ((2, 6), [2, 2], [jnp.inf, jnp.inf])
    texts = []
    jax.jit(lambda x: texts.append(str(jacobian.spectrum(f)(x))))(X)
    assert texts[0].startswith("Spectrum(singular_values=")
