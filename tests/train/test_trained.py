"""What `fit` returns is a named tuple and a report of the history."""

import json

import jax
import numpy as np
import pytest

from jaxdl.train import Trained

HISTORY = [
    {"epoch": 1, "loss": 2.0, "seconds": 0.5, "test_loss": 2.5, "accuracy": 0.25},
    {"epoch": 2, "loss": 1.0, "seconds": 0.25, "skipped": 1, "test_loss": 1.5, "accuracy": 0.5},
]


@pytest.fixture
def trained():
    return Trained({"w": np.ones(3)}, HISTORY)


def test_it_unpacks_and_is_a_pytree(trained):
    params, history = trained
    assert params is trained.params
    assert history is trained.history is HISTORY
    doubled = jax.tree.map(lambda x: 2 * x, trained)
    assert isinstance(doubled, Trained)
    assert doubled.params["w"].tolist() == [2, 2, 2]
    assert trained._replace(history=[]).history == []


def test_the_history_as_a_table(trained):
    table = trained.table()
    assert table.columns == ("epoch", "loss", "test_loss", "accuracy", "skipped", "time")
    assert table.rows[0] == ("1", "2", "2.5", "0.25", "0", "500 ms")
    assert table.rows[1] == ("2", "1", "1.5", "0.5", "1", "250 ms")
    assert "test_loss" in str(trained)
    assert "<table>" in trained._repr_html_()
    assert Trained({}, []).table().rows == []


def test_it_is_saved_and_drawn(trained, tmp_path):
    trained.save(tmp_path / "history.json")
    assert json.loads((tmp_path / "history.json").read_text()) == HISTORY
    losses, metrics = trained.plot(tmp_path / "history.png").axes
    assert [line.get_label() for line in losses.lines] == ["loss", "test_loss"]
    assert [line.get_label() for line in metrics.lines] == ["accuracy"]
    assert losses.lines[1].get_ydata().tolist() == [2.5, 1.5]
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")
    (alone,) = Trained({}, [{"epoch": 1, "loss": 1.0, "seconds": 1.0}]).plot().axes
    assert [line.get_label() for line in alone.lines] == ["loss"]
