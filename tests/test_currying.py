"""Arguments of a user's function never collide with the keywords of a tool."""

import functools
import inspect

import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from jaxdl.currying import direct_or_curried
from jaxdl.testing import assert_rules

X = jnp.array([0.3, -1.2])


@direct_or_curried
def tool(f, args, kwargs, *, time=True, sites=True):
    """What it was called with, and the result of f."""
    return time, sites, f(*args, **kwargs)


def arguments(*args, **kwargs):
    return args, kwargs


def timed(x, time=1.0):
    return x * time


def test_the_direct_form_takes_its_own_keywords():
    assert tool(arguments, 1, time=False, w=2) == (False, True, ((1,), {"w": 2}))
    assert tool(arguments, w=2) == (True, True, ((), {"w": 2}))
    assert tool(arguments, 1, f=2, args=3, kwargs=4, tool=5)[2] == ((1,), {"f": 2, "args": 3, "kwargs": 4, "tool": 5})


def test_the_curried_form_gives_all_keywords_to_the_function():
    assert tool(arguments, time=False)(1, time=2, sites=3, f=4) == (
        False,
        True,
        ((1,), {"time": 2, "sites": 3, "f": 4}),
    )
    assert tool(arguments)() == (True, True, ((), {}))
    assert tool(timed).__name__ == "timed"


def test_a_report_without_arguments_says_what_is_missing():
    with pytest.raises(AttributeError, match=r"audit\(f\) is .* has no print; write audit\(f\)\(\*args\).print"):
        jaxdl.audit(timed).print()  # pyright: ignore


def test_a_keyword_of_both_is_ambiguous():
    for f in (timed, functools.partial(timed, time=2.0)):
        with pytest.raises(TypeError, match=r"tool: time is .* tool\(f, time=…\)\(\*args, time=…\)"):
            tool(f, 3.0, time=False)
    assert tool(timed, 3.0) == (True, True, 3.0)
    assert tool(timed, 3.0, sites=False) == (True, False, 3.0)
    assert tool(max, 3, 4, time=False) == (False, True, 4)  # has no signature


def test_the_public_signature():
    assert str(inspect.signature(tool)) == "(f, /, *args: Any, time=True, sites=True, **kwargs: Any)"
    names = [*inspect.signature(jaxdl.contrast).parameters]
    assert names == ["f", "args", "time", "sites", "only", "keep", "beside", "argnums", "order", "quiet", "kwargs"]


def test_contrast_and_audit_of_a_function_with_their_keywords():
    def f(x, *, time, sites, only, keep, domains):
        return (jnp.tanh(x) * time * sites * only * keep * domains).sum()

    given = dict.fromkeys(("time", "sites", "only", "keep", "domains"), jnp.float32(2.0))
    report = jaxdl.contrast(f, time=False)(X, **given)
    assert report.whole.step is None
    assert [d.name for d in report.whole.differences][1:3] == [
        "cotangent of argument [0]",
        "cotangent of argument ['domains']",
    ]
    audited = jaxdl.audit(f)(X, **given)
    assert not audited.faults
    assert "jaxdl.audit(f)(numpy.array(" in audited.script


def test_rules_of_a_function_with_a_parameter_f():
    assert jaxdl.rules(lambda x, f: f * jnp.where(x > 0, x, 0), X, f=2.0) == []


def test_an_ambiguous_assertion():
    with pytest.raises(TypeError, match="assert_rules: domains is a keyword"):
        assert_rules(lambda x, domains: x * domains, X, domains=np.float32(2))
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        assert_rules(jnp.tanh)
