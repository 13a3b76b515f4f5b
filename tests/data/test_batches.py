"""Data read by row: batches as a function of (seed, step), parts of processes, and reading ahead."""

import jax
import numpy as np
import optax
import pytest

from jaxdl import data, nn, ops, train
from tests.tfds_sets import shown_number, stripe, write

SEED = (3, 4)


@pytest.mark.parametrize("memory", [0, 500, 2**30])  # bytes: no example is kept, some are, or all
def test_examples_are_as_they_were_written(stripes_folder, memory):
    read = data.records("stripes", folder=str(stripes_folder), memory=memory).read
    for rows in (np.arange(30), np.array([7, 29, 7, 0]), np.array([12, 3]), np.arange(30)[::-1]):
        x, y = read(rows)
        assert x.dtype == np.uint8
        assert y.dtype == np.int32
        assert np.array_equal(x, [stripe(i) for i in shown_number(x)])
        assert np.array_equal(y, shown_number(x) % 3)
        assert np.array_equal(x, [read(rows[i : i + 1])[0][0] for i in range(len(rows))])
    assert sorted(shown_number(read(np.arange(30))[0])) == list(range(30))


def test_images_stored_as_tensors(tmp_path):
    write(tmp_path, "Tensors", (8, 6, 1), 3, {"train": [(stripe(i), i % 3) for i in range(9)]}, as_tensors=True)
    x, y = data.records("tensors", folder=str(tmp_path)).read(np.arange(9))
    assert x.dtype == np.uint8
    assert np.array_equal(x, [stripe(i) for i in shown_number(x)])
    assert np.array_equal(y, shown_number(x) % 3)


SET = 30 * (8 * 6 + 4)  # bytes


@pytest.mark.parametrize(("memory", "reads"), [(SET, 30), (SET // 2, 45), (0, 60)])
def test_what_fits_is_read_once(stripes_folder, monkeypatch, memory, reads):
    from tensorflow_datasets.core.data_sources.base import BaseDataSource

    asked, read = [], BaseDataSource.__getitems__
    monkeypatch.setattr(BaseDataSource, "__getitems__", lambda self, rows: asked.extend(rows) or read(self, rows))
    batches = data.Batches(data.records("stripes", folder=str(stripes_folder), memory=memory), 5, SEED)
    asked.clear()
    for step in range(2 * batches.epoch_steps):
        batches[step]
    assert len(asked) == reads


def test_a_batch_is_a_function_of_seed_and_step(stripes):
    batches, again = data.Batches(stripes, 7, SEED), data.Batches(stripes, 7, SEED)
    for step in (9, 0, 5, 123_456):
        x, y = batches[step]
        assert x.shape == (7, 8, 6, 1)
        assert y.shape == (7,)
        assert np.array_equal(x, again[step][0])
    first, another = (np.concatenate([b[i][0] for i in range(4)]) for b in (again, data.Batches(stripes, 7, (3, 5))))
    assert not np.array_equal(first, another)


@pytest.mark.parametrize("batch", [6, 7])
def test_every_example_once_an_epoch(stripes, batch):
    batches = data.Batches(stripes, batch, SEED)
    steps = 30 // batch
    assert batches.epoch_steps == steps
    epochs = [[n for i in range(steps) for n in shown_number(batches[e * steps + i][0])] for e in range(3)]
    for seen in epochs:
        assert len(set(seen)) == len(seen) == steps * batch
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("n", [2, 3])
def test_the_parts_of_processes_are_one_batch(stripes, n):
    one = data.Batches(stripes, 12, SEED)
    parts = [data.Batches(stripes, 12, SEED, (i, n)) for i in range(n)]
    for step in range(5):
        for whole, *shares in zip(one[step], *(part[step] for part in parts), strict=True):
            assert np.array_equal(whole, np.concatenate(shares))
            assert len({len(share) for share in shares}) == 1


def test_in_memory_and_read_data_give_the_same_batches(stripes):
    x, y = stripes.read(np.arange(30))
    memory = data.Batches(data.in_memory({"a": x}, y), 8, SEED)
    read = data.Batches(stripes, 8, SEED)
    for step in range(7):
        assert np.array_equal(memory[step][0]["a"], read[step][0])
        assert np.array_equal(memory[step][1], read[step][1])


@pytest.mark.parametrize(("start", "stop"), [(0, 12), (3, 4), (7, 9), (5, 5)])
def test_reading_ahead_from_any_step(stripes, start, stop):
    batches = data.Batches(stripes, 7, SEED, (0, 1))
    ahead = list(batches.ahead(start, stop))
    assert len(ahead) == stop - start
    for step, (x, y) in zip(range(start, stop), ahead, strict=True):
        assert np.array_equal(x, batches[step][0])
        assert np.array_equal(y, batches[step][1])


def test_batches_that_cannot_be(stripes):
    with pytest.raises(ValueError, match="a batch of 31 is more than the 30 examples of stripes"):
        data.Batches(stripes, 31, SEED)
    with pytest.raises(ValueError, match=r"a batch of 8 cannot be cut into 3 equal parts: make it a multiple of 3"):
        data.Batches(stripes, 8, SEED, (0, 3))
    with pytest.raises(ValueError, match="x and y must have the same number of examples, got 5 and 4"):
        data.in_memory(np.zeros((5, 2)), np.zeros(4))


def test_fit_on_what_is_read_equals_fit_on_arrays(stripes, key):
    images, labels = stripes.read(np.arange(30))
    in_unit = images.astype(np.float32) / 255
    loss, model = ops.softmax_cross_entropy_with_integer_labels, nn.mlp(16, 3)
    runs = [
        train.fit(model, loss, d, optax.sgd(0.5), 20, key, batch=6, quiet=True)
        for d in (stripes, (images, labels), (in_unit, labels))
    ]
    for other in runs[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), runs[0].params, other.params)
    first, *_, last = (row["loss"] for row in runs[0].history)
    assert last < 0.95 * first


def test_unknown_split(stripes_folder):
    with pytest.raises(ValueError, match="stripes has no split valid, only train, test"):
        data.records("stripes", "valid", str(stripes_folder))
    assert len(data.records("stripes", "test", str(stripes_folder))) == 9
