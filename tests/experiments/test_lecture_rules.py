"""The lectures' own rules: three audits, and the errors that are drawn."""

import jax
import pytest

from experiments import lecture_rules
from experiments.results_folder import rounded


@pytest.fixture(scope="module")
def found():
    with jax.numpy_dtype_promotion("standard"):
        return rounded(lecture_rules.measure(True))


def test_the_audit_finds_what_is_wrong_and_nothing_else(found):
    verdicts = {name: (r["verdict"], r["automatic"], r["mended"]) for name, r in found["rules"].items()}
    assert verdicts == {
        "product gate": ("non-finite", "right", "right"),
        "max gate": ("wrong", "right", "right"),
        "multiplication gate": ("right", "right", None),
    }


def test_errors_are_where_the_explanations_say(found):
    """No digits where only the product is too small for a number, k times
    too much at k ties, none beyond 17; nothing of that when mended."""
    errors = found["errors"]
    assert errors["product"]["lecture"][0] > 1e6
    assert errors["ties"]["lecture"] == [1, 2, 3, 4, 5, 6]
    assert errors["ties"]["mended"] == pytest.approx([1] * 6)
    for name in ("sigmoid", "loss"):
        beyond = [e for x, e in zip(errors[name]["x"], errors[name]["lecture"], strict=True) if x > 17]
        assert min(beyond) > 1e6
    for name in ("product", "sigmoid", "loss"):
        assert max(errors[name]["mended"]) <= 4


def test_the_page_explains_every_verdict(found):
    html = lecture_rules.page(found).html()
    assert all(lecture_rules.RULES[name].formula in html for name in found["rules"])
    assert all(rule.means.endswith(".") for rule in lecture_rules.RULES.values())
    assert all(rule.mended for rule in lecture_rules.RULES.values() if rule.mended_formula)
    assert "it finds 2 right" in lecture_rules.finding(found)
    assert lecture_rules.draw(found)["lecture_rules"].startswith(b"\x89PNG")
