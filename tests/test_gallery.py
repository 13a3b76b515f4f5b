"""The gallery shows every experiment, with the figures of the run whose data are kept."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GALLERY = (ROOT / "docs" / "gallery.md").read_text()
RESULTS = ROOT / "experiments" / "results"  # not in the source distribution
SECTIONS = {
    re.search(r"python -m experiments\.(\w+)", section)[1]: section.split("\n\n", 1)[1].split("\n\n![")[0]
    for section in GALLERY.partition("\n## Benchmarks")[0].split("\n### ")[1:]
}
FIGURE = re.compile(r"(?<![\w.])[-−]?\d[\d,]*(?:\.\d+)?(?:e[-−]?\d+)?")
OF_THE_MATHEMATICS = {"lecture_rules": {"0", "17"}}  # where a rule fails, not what was measured


def figures(text):
    """The numbers of a text as they are written, with − as -."""
    return [figure.rstrip(",").replace("−", "-").replace(",", "") for figure in FIGURE.findall(text)]


def is_of_run(figure, run):
    """Whether a number is one of the run's, or one of them with fewer digits."""
    digits = len(figure.partition("e")[0].partition(".")[2])
    form = f".{digits}e" if "e" in figure else f".{digits}f"
    return any(float(format(float(other), form)) == float(figure) for other in run)


def test_every_experiment_is_in_the_gallery():
    for kind, name in re.findall(r"python -m (benchmarks|experiments)\.(\w+)", GALLERY):
        assert (ROOT / kind / f"{name}.py").exists() or (ROOT / kind / name / "__main__.py").exists()
    assert not [path.name for path in RESULTS.glob("*.png") if f"pictures/experiments/{path.name}" not in GALLERY]
    assert "![](" not in GALLERY


@pytest.mark.parametrize("section", GALLERY.split("\n### ")[1:], ids=lambda section: section.partition("\n")[0])
def test_every_answer_has_a_figure(section):
    answer = section.split("\n\n", 1)[1].split("\n\n![")[0].split("\n\n`python")[0]
    assert figures(answer)


@pytest.mark.skipif(not RESULTS.exists(), reason="the source distribution has no kept results")
@pytest.mark.parametrize("name", SECTIONS)
def test_figures_are_those_of_the_kept_run(name):
    run = [
        figure
        for path in (*RESULTS.glob(f"{name}.json"), *RESULTS.glob(f"{name}_*.json"))
        for figure in figures(json.loads(path.read_text())["finding"])
    ]
    others = {figure for figure in figures(SECTIONS[name]) if not is_of_run(figure, run)}
    assert others <= OF_THE_MATHEMATICS.get(name, set())
