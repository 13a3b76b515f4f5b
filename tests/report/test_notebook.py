"""What reports, figures and progress bars show in a notebook."""

import pytest

nbclient = pytest.importorskip("nbclient", exc_type=ImportError)
nbformat = pytest.importorskip("nbformat", exc_type=ImportError)

CELLS = (
    """
import time
from jaxdl.report import ProgressBar, Report, Table, figure

class Counts(Report):
    def table(self):
        return Table("Counts", ("name", "count"), [("a", "1")])

    def _figure(self):
        with figure(width=2, height=1) as (fig, axes):
            axes.plot([1, 2])
        return fig

Counts()
""",
    "Counts().plot()",
    "Counts().table()",
    """
with ProgressBar("counting", 2) as bar:
    bar(1, "halfway")
    time.sleep(0.3)
""",
    "Counts().print()",
)


@pytest.fixture(scope="module")
def outputs():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    states = []
    client = nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3")
    process = client.process_message
    client.process_message = lambda msg, cell, index: states.append(msg) or process(msg, cell, index)
    client.execute()
    return [[output.get("data", output) for output in cell.outputs] for cell in notebook.cells], states


def test_reports_tables_and_figures_show_themselves(outputs):
    (report,), (plot,), (table,) = outputs[0][:3]
    for shown in (report, table):
        assert "<table>" in shown["text/html"]
        assert shown["text/plain"].startswith("Counts\n name")
        assert '<div class="jaxdl"><style>' in shown["text/html"]
    assert "<svg" in plot["text/html"]


def test_a_progress_bar_moves_and_disappears(outputs):
    found, messages = outputs
    contents = [m["content"]["data"] for m in messages if m["msg_type"] in ("display_data", "update_display_data")]
    bars = [data for data in contents if "counting" in data["text/plain"]]
    assert [data["text/plain"].strip() for data in bars] == ["counting 0/2", "counting 1/2 halfway"]
    assert all("<progress" in data["text/html"] for data in bars)
    (last,) = found[3]
    assert last["text/html"] == ""


def test_tables_are_printed(outputs):
    (printed,) = outputs[0][4]
    assert "Counts" in printed["text/plain"]
