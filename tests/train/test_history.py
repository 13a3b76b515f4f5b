"""The history file of a run that is resumed."""

import shutil

from jaxdl.train import (
    Checkpoint,
)
from tests.train.small_run import assert_same_bits, run


def test_a_history_that_is_cut_or_damaged(key, tmp_path, caplog):
    whole = run(key)
    run(key, tmp_path, epochs=3)
    history = tmp_path / "history.jsonl"
    first, second, third = history.read_bytes().splitlines(keepends=True)
    history.write_bytes(first + second.replace(b"epoch", b"epock") + third + b'{"epoch": 4, "lo')
    again = run(key, tmp_path)
    assert_same_bits(again.params, whole.params)
    assert [row["epoch"] for row in again.history] == [1, 3, 4]
    assert "1 rows cannot be read, the first is that of epoch 2" in caplog.text


def test_rows_after_the_last_checkpoint_are_not_repeated(key, tmp_path):
    run(key, Checkpoint(tmp_path, keep=9), epochs=3)
    shutil.rmtree(tmp_path / "9")
    assert [row["epoch"] for row in run(key, tmp_path).history] == [1, 2, 3, 4]
