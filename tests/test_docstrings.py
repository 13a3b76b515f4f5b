"""The reference documentation: examples in docstrings run, and public functions describe arguments and results."""

import doctest
import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from jaxdl import auditor, data, exact, graph, interop, jacobian, measure, nn, ops, rule, strip, testing, train, tuner
from jaxdl.ops import arithmetic, pointwise

NAMES = {"jax": jax, "jnp": jnp, "np": np, "jaxdl": jaxdl, "nn": nn, "ops": ops}
MODULES = [m.name for m in pkgutil.walk_packages(jaxdl.__path__, "jaxdl.") if not m.name.endswith("__main__")]
PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in (auditor, data, exact, graph, interop, jacobian, measure, nn, ops, rule, strip, testing, train, tuner)
    for name in module.__all__
    if inspect.isroutine(getattr(module, name)) or isinstance(getattr(module, name), jaxdl.Op)
}


WITHOUT_EXAMPLES = {  # what other rooms call, and operations of which jaxdl.ops itself has examples
    "jaxdl.rule.hoisted",
    *(f"jaxdl.strip.{name}" for name in ("check_called", "evaluated", "moving", "observer", "removal", "rule_primal")),
    *(f"jaxdl.strip.{name}" for name in ("site_of", "stock_program")),
    *(f"jaxdl.ops.{name}" for room in (arithmetic, pointwise) for name in vars(room)),
}
OPTIONAL = {f"jaxdl.interop.lineax_{part}": "lineax" for part in ("operators", "solvers")}


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name])
    module = importlib.import_module(name)
    globs = NAMES | vars(module)
    for found in doctest.DocTestFinder().find(module, name, globs=globs):
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        assert runner.run(found).failed == 0, found.name


@pytest.mark.parametrize("name", PUBLIC)
def test_arguments_and_results_are_described(name):
    described, signature = inspect.getdoc(PUBLIC[name]) or "", inspect.signature(PUBLIC[name])
    for parameter in signature.parameters.values():
        stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        assert f"\n    {stars}{parameter.name}: " in described, parameter
        assert parameter.annotation is not parameter.empty, parameter
    assert "\nExample:\n" not in described  # the site shows only Examples as code
    assert "\nReturns:\n" in described or signature.return_annotation in (None, "None")
    assert "\nExamples:\n" in described or name in WITHOUT_EXAMPLES
