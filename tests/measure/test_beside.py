"""Further columns of a contrast: stock functions, and functions that the user gives."""

import jax
import jax.numpy as jnp
import pytest

from jaxdl import contrast, ops
from tests.tolerance import tolerance

X = jnp.linspace(-2, 2, 40).reshape(8, 5)
relu_sum = lambda x: ops.relu(ops.add(x, x)).sum()


def test_ops_with_stock_functions_have_a_stock_column():
    report = contrast(relu_sum, X)
    stock = report.whole.beside["stock"]
    assert stock.difference <= tolerance("float32")
    assert stock.ulp < 4
    assert len(stock.step.first) == len(report.whole.step.first)  # in the same rounds
    assert stock.step.second == report.whole.step.second
    by_name = {site.name: site for site in report.sites}
    assert by_name["relu"].beside["stock"].cost.residual_bytes == by_name["relu"].automatic.residual_bytes
    assert not by_name["add"].beside
    row = dict(zip(report.table().columns, report.table().rows[0], strict=True))
    assert row["time stock"].endswith("×")
    assert row["residuals hand / auto / stock"].count("/") == 2
    assert "residuals hand / auto" in report.table(brief=True).columns
    assert "Times of stock are ratios to automatic" in report.table().note
    saved = report.to_json()["whole"]["beside"]["stock"]
    assert saved["step"]["stock_seconds"] > 0
    assert saved["cost"]["residual_bytes"] == stock.cost.residual_bytes


def test_without_stock_functions_there_is_none():
    for f, choice in ((lambda x: ops.square(jax.nn.relu(x)), {}), (relu_sum, {"keep": "relu"})):
        report = contrast(f, X, time=False, **choice)
        assert not report.whole.beside
        assert "stock" not in str(report.table())


def test_a_stock_function_that_differs_shows():
    moments = lambda x: ops.layer_norm(x + 300, jnp.ones(5), jnp.zeros(5))  # where the fast variance cancels
    whole = contrast(moments, X, time=False, sites=False).whole
    assert whole.beside["stock"].ulp > 10 * whole.sides["hand"].ulp


def test_functions_beside(tmp_path):
    g = jax.custom_jvp(lambda x: jnp.maximum(2 * x, 0).sum())
    g.defjvp(lambda x, x_dot: (g(*x), 3 * x_dot[0].sum()))
    report = contrast(relu_sum, X, time=False, beside={"tuned": relu_sum, "wrong": g})
    tuned, wrong = (report.whole.beside[name] for name in ("tuned", "wrong"))
    assert tuned.difference <= tolerance("float32")
    assert tuned.cost.residual_bytes == report.whole.hand.residual_bytes
    assert wrong.difference > 0.4  # its own rule is not taken away
    assert list(report.whole.sides) == ["hand", "automatic", "stock", "tuned", "wrong"]
    assert list(report.to_json()["whole"]["beside"]) == ["stock", "tuned", "wrong"]
    report.save(tmp_path / "report.png")
    labels = [text.get_text() for text in report.plot().legends[0].get_texts()]
    assert labels == ["automatic", "hand", "stock", "tuned", "wrong"]  # automatic is the line at 1


def test_functions_beside_that_do_not_fit():
    with pytest.raises(ValueError, match=r"beside\['g'\] must return what the function returns, float32\[\], got"):
        contrast(relu_sum, X, beside={"g": lambda x: x})
    with pytest.raises(ValueError, match="'stock' is a column already"):
        contrast(relu_sum, X, beside={"stock": relu_sum})


def test_what_a_column_needs_does_not_end_the_rest():
    """A stock function may have no reverse mode, or refuse the values."""
    halved = lambda x: jax.lax.while_loop(lambda x: x.max() > 1, lambda x: x / 2, ops.relu(x)).sum()
    reversible = jax.custom_vjp(halved)
    reversible.defvjp(lambda x: (halved(x), x), lambda x, dy: (dy * x,))
    report = contrast(reversible, X, keep="<lambda>", time=False, beside={"loop": halved})
    assert "loop" not in report.whole.beside
    assert "whole has no column loop: " in report.table().note


@pytest.mark.parametrize("beside", [[relu_sum], relu_sum, {3: relu_sum}, {"flax": 3}])
def test_beside_has_functions_by_name(beside):
    with pytest.raises(TypeError, match="contrast: beside must be functions by name"):
        contrast(relu_sum, X, time=False, beside=beside)
