"""Plans in files: the same program in another process plans nothing, and any other program is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxdl import jacobian, ops
from jaxdl.jacobian.methods import sparse_jacobians
from tests.draws import draw
from tests.jacobian.functions import bottleneck, layer, scanned
from tests.tolerance import assert_close

X = draw(60, 6)
TABLE, REVERSED = jnp.array([3, 1, 2, 0, 5, 4]), jnp.array([4, 5, 0, 2, 1, 3])


def taken(x):
    """The pattern depends on the values of an array that the function closes over."""
    return jnp.sin(x[TABLE]) * x


def chained(x):
    return jnp.sum((x[1:] - jax.nn.softplus(x[:-1])) ** 2)


def of_jax(x):
    """Operations whose stock functions have rules of JAX, or are jitted."""
    return ops.softplus(ops.relu(x)[1:] * x[:-1])


METHODS = {
    "sparse": (jacobian.sparse, taken),
    "sparse_hessian": (jacobian.sparse_hessian, chained),
    "cut": (jacobian.cut, bottleneck),
    "eliminate": (jacobian.eliminate, taken),
    "best": (jacobian.best, taken),
    "best of many": (jacobian.best, bottleneck),
    "hand-written rules": (jacobian.sparse, layer),
    "stock functions": (jacobian.sparse, of_jax),
    "a scan": (jacobian.sparse, scanned),
}
IN_ANOTHER_PROCESS = """
import jax
from jaxdl.jacobian import planning
from jaxdl.jacobian.methods import cutting, sparse_jacobians, vertex_elimination
from tests.jacobian.test_saved_plans import METHODS, X, folder

def never(*given, **options):
    raise AssertionError("planned again")

cutting.nested_cuts = sparse_jacobians.sparsity_pattern = planning._planned = never
vertex_elimination.search_order = never
for name, (method, f) in METHODS.items():
    print(name, method(f, plan=folder / f"{name}.json")(X).tolist(), sep="|")
"""
folder = Path(os.environ.get("PLANS", "."))


def saved(path, method=jacobian.sparse, f=taken, x=X):
    method(f).plan(x).save(path)
    return path


def test_plans_of_all_methods_in_another_process(tmp_path):
    for name, (method, f) in METHODS.items():
        saved(tmp_path / f"{name}.json", method, f)
    environment = os.environ | {"PLANS": str(tmp_path), "PYTHONHASHSEED": "7", "JAX_PLATFORMS": "cpu"}
    process = subprocess.run(
        [sys.executable, "-c", IN_ANOTHER_PROCESS], env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    found = dict(line.split("|") for line in process.stdout.splitlines())
    assert found.keys() == METHODS.keys()
    for name, (_, f) in METHODS.items():
        right = jax.hessian(f)(X) if name == "sparse_hessian" else jax.jacrev(f)(X)
        assert_close(jnp.array(json.loads(found[name])), right, "float32", "jacobian")


def test_a_plan_itself_is_as_good_as_its_file():
    plan = jacobian.sparse(taken).plan(X)
    again = jacobian.sparse(taken, plan=plan)
    assert again.plan(X).to_json() == plan.to_json()
    assert_close(again(X), jax.jacrev(taken)(X), "float32", "jacobian")


OTHERS = {
    "another program": (lambda x: jnp.cos(x[TABLE]) * x, X, "for the program"),
    "another type": (taken, jnp.ones((6, 1)), r"for \(float32\[6\]"),
    "another constant": (lambda x: jnp.sin(x[REVERSED]) * x, X, "values of an array"),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("method", [jacobian.sparse, jacobian.best], ids=["sparse", "best"])
def test_what_the_plan_was_not_made_for_is_refused(tmp_path, method, name):
    """Here a pattern of another program would give a wrong matrix."""
    f, x, message = OTHERS[name]
    path = saved(tmp_path / "plan.json", method)
    with pytest.raises(ValueError, match=message) as refused:
        method(f, plan=path)(x)
    assert "make a new plan" in str(refused.value)


def test_a_constant_that_changes_later_is_refused(tmp_path):
    tables = {"now": TABLE}
    f = lambda x: jnp.sin(x[tables["now"]]) * x
    J = jacobian.sparse(f, plan=saved(tmp_path / "plan.json", f=f))
    assert_close(J(X), jax.jacrev(f)(X), "float32", "jacobian")
    tables["now"] = REVERSED
    with pytest.raises(ValueError, match="values of an array"):
        J(X)


def test_another_version_is_refused(tmp_path, monkeypatch):
    path = saved(tmp_path / "plan.json")
    monkeypatch.setattr(jax, "__version__", "9.9.9")
    with pytest.raises(ValueError, match=r"made with JAX .*, this is 9\.9\.9; make a new plan"):
        jacobian.sparse(taken, plan=path)(X)


DAMAGES = {
    "one colour": (lambda text: text.replace('"column_colours": [\n  0', '"column_colours": [\n  1'), "damaged"),
    "cut off": (lambda text: text[: len(text) // 2], "holds no plan"),
    "empty": (lambda text: "", "holds no plan"),
    "another file": (lambda text: "[1, 2]", "holds no plan"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_refused(tmp_path, name):
    damage, message = DAMAGES[name]
    path = saved(tmp_path / "plan.json")
    text = path.read_text()
    assert damage(text) != text
    path.write_text(damage(text))
    with pytest.raises(ValueError, match=message):
        jacobian.sparse(taken, plan=path)(X)


def test_the_plan_of_another_method_is_refused(tmp_path):
    path = saved(tmp_path / "plan.json", jacobian.cut, bottleneck)
    with pytest.raises(ValueError, match="holds no plan of sparse"):
        jacobian.sparse(bottleneck, plan=path)(X)
    with pytest.raises(FileNotFoundError):
        jacobian.sparse(bottleneck, plan=tmp_path / "no.json")(X)


def test_a_program_that_cannot_be_compared_between_processes(tmp_path):
    class Table:
        def sine(self, x):
            return jnp.sin(x)

    table = Table()

    def f(x):
        return x * jax.pure_callback(table.sine, x, jax.lax.stop_gradient(x))

    path = saved(tmp_path / "plan.json", f=f)
    with pytest.raises(ValueError, match="cannot be compared between processes"):
        jacobian.sparse(f, plan=path)(X)


def test_a_given_pattern_is_probed_again(tmp_path):
    path = tmp_path / "plan.json"
    jacobian.sparse(taken, pattern=jnp.eye(6, dtype=bool), probe=False).plan(X).save(path)
    with pytest.raises(ValueError, match="entries outside the given pattern"):
        jacobian.sparse(taken, plan=path)(X)
    with pytest.raises(ValueError, match="give pattern or plan, not both"):
        jacobian.sparse(taken, plan=path, pattern=jnp.eye(6, dtype=bool))(X)


def test_no_pattern_is_found_again(tmp_path, monkeypatch):
    path = saved(tmp_path / "plan.json")
    monkeypatch.setattr(sparse_jacobians, "sparsity_pattern", None)
    assert_close(jacobian.sparse(taken, plan=path)(X), jax.jacrev(taken)(X), "float32", "jacobian")
