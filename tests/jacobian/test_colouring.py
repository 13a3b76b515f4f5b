"""Colourings are valid, few, and every entry can be read back."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse as sp

from jaxdl.jacobian.analysis.pattern import colouring


def csr(dense):
    return sp.csr_array(np.asarray(dense, bool))


def band(n, width):
    return csr(np.abs(np.subtract.outer(np.arange(n), np.arange(n))) <= width)


def arrow(n):
    dense = np.eye(n, dtype=bool)
    dense[0] = dense[:, 0] = True
    return csr(dense)


matrices = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(0, 99), st.floats(0.05, 0.9))


def random(m, n, seed, density):
    return np.random.default_rng(seed).random((m, n)) < density


def read_back(values, pattern, columns, rows):
    """The entries of the pattern, read from the products of the colours."""
    forward = [values @ (columns == c) for c in range(colouring.number_of_colours(columns))]
    reverse = [(rows == c) @ values for c in range(colouring.number_of_colours(rows))]
    products = np.concatenate([*forward, *reverse, np.zeros(0)])
    row, column = colouring.coordinates(pattern)
    back = np.zeros(pattern.shape)
    back[row, column] = products[colouring.recovery(pattern, columns, rows)]
    return back


@settings(max_examples=60, deadline=None, derandomize=True)
@given(matrices, st.booleans())
def test_any_matrix_is_read_back(case, one_dense_row):
    dense = random(*case)
    dense[0] |= one_dense_row
    values = np.where(dense, np.random.default_rng(1).normal(size=dense.shape), 0)
    for modes in ((True, True), (True, False), (False, True)):
        columns, rows, _ = colouring.cheapest(csr(dense), *modes)
        np.testing.assert_allclose(read_back(values, csr(dense), columns, rows), values, atol=1e-12)
        assert modes[0] or colouring.number_of_colours(columns) == 0
        assert modes[1] or colouring.number_of_colours(rows) == 0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(matrices)
def test_any_symmetric_matrix_is_read_back(case):
    size, _, seed, density = case
    dense = random(size, size, seed, density)
    dense |= dense.T
    values = np.random.default_rng(1).normal(size=dense.shape)
    values = np.where(dense, values + values.T, 0)
    for colours in (colouring.symmetric(csr(dense)), colouring.star(csr(dense), range(size))):
        products = np.concatenate(
            [*[values @ (colours == c) for c in range(colouring.number_of_colours(colours))], np.zeros(0)]
        )
        row, column = colouring.coordinates(csr(dense))
        read = products[colouring.symmetric_recovery(csr(dense), colours)]
        np.testing.assert_allclose(read, values[row, column], atol=1e-12)


@pytest.mark.parametrize("width", [0, 1, 3])
def test_bands_need_their_width(width):
    assert colouring.number_of_colours(colouring.columns(band(40, width))) == 2 * width + 1


def test_an_arrow_takes_three_sweeps_and_a_symmetric_one_two():
    columns, rows, why = colouring.cheapest(arrow(50))
    assert (colouring.number_of_colours(columns), colouring.number_of_colours(rows)) in ((2, 1), (1, 2))
    assert "dense" in why
    assert colouring.number_of_colours(colouring.symmetric(arrow(50))) == 2


def test_a_wide_matrix_takes_reverse_and_a_tall_one_forward_sweeps():
    wide = csr(np.ones((2, 30)))
    assert [colouring.number_of_colours(c) for c in colouring.cheapest(wide)[:2]] == [0, 2]
    assert [colouring.number_of_colours(c) for c in colouring.cheapest(sp.csr_array(wide.T))[:2]] == [2, 0]
    nearly_square = csr(np.ones((4, 5)))  # a forward product is the cheaper one
    assert [colouring.number_of_colours(c) for c in colouring.cheapest(nearly_square)[:2]] == [5, 0]


def test_shuffled_bands_are_coloured_greedily():
    order = np.random.default_rng(0).permutation(200)
    shuffled = sp.csr_array(band(200, 1)[order][:, order])
    assert colouring.number_of_colours(colouring.columns(shuffled)) <= 4


def grid(*sizes, periodic=False):
    """The pattern of a stencil of a point and its neighbours along each axis."""
    whole = sp.csr_array((math.prod(sizes), math.prod(sizes)))
    for axis, size in enumerate(sizes):
        near = sp.eye_array(size) + sp.eye_array(size, k=1) + sp.eye_array(size, k=-1)
        if periodic:
            near = near + sp.eye_array(size, k=size - 1) + sp.eye_array(size, k=1 - size)
        before, after = math.prod(sizes[:axis]), math.prod(sizes[axis + 1 :])
        whole = whole + sp.kron(sp.kron(sp.eye_array(before), near), sp.eye_array(after))
    return sp.csr_array(whole).astype(bool)


def fields(stencil, interleaved=False):
    """Two fields on a grid that act on each other at each point."""
    order = np.arange(2 * stencil.shape[0]).reshape(2, -1).T.ravel() if interleaved else slice(None)
    one = sp.eye_array(stencil.shape[0], dtype=bool)
    return sp.csr_array(sp.csr_array(sp.block_array([[stencil, one], [one, stencil]]))[order][:, order])


@pytest.mark.parametrize(
    ("pattern", "least", "most"),
    [
        (grid(9, 13), 5, 5),
        (grid(5, 6, 7), 7, 7),
        (fields(grid(11, 13)), 6, 6),
        (fields(grid(11, 13), interleaved=True), 6, 6),
        (fields(grid(12, 18, periodic=True)), 6, 6),  # the 2-D Brusselator, whose fullest row has 6 entries
        (fields(grid(22, 22, periodic=True)), 6, 10),
    ],
    ids=["plane", "space", "two fields", "two fields in turn", "Brusselator", "Brusselator, 22 points a side"],
)
def test_stencils_on_grids(pattern, least, most):
    colours = colouring.columns(pattern)
    assert least <= colouring.number_of_colours(colours) <= most
    colouring.recovery(pattern, colours, np.full(pattern.shape[0], -1))  # raises if two entries meet
    assert colouring.number_of_colours(colouring.symmetric(pattern)) <= most
    colouring.symmetric_recovery(pattern, colouring.symmetric(pattern))


def test_random_grids_of_lines_take_the_fullest_row():
    """Power flow: the admittances of 300 buses, drawn at random, in four blocks."""
    rng, n = np.random.default_rng(0), 300
    line = np.concatenate([[np.arange(n), (np.arange(n) + 1) % n], rng.integers(n, size=(2, n // 2))], axis=1)
    y = sp.csr_array((np.ones(line.shape[1]), (line[0], line[1])), (n, n))
    y = y + y.T + sp.eye_array(n)
    pattern = sp.csr_array(sp.block_array([[y, y], [y, y]])).astype(bool)
    fullest = np.diff(pattern.indptr).max()
    assert colouring.number_of_colours(colouring.columns(pattern)) <= fullest + 1


def test_colouring_again_never_takes_more_colours():
    transposed = csr(random(200, 200, 0, 0.03).T)
    start = colouring.greedy(transposed, range(200))
    again = colouring._again(transposed, start, 1)
    assert colouring.number_of_colours(again) <= colouring.number_of_colours(start) - 1
    np.testing.assert_array_equal(again, colouring._again(transposed, start, 1))


def test_an_empty_pattern_takes_no_entries():
    columns, rows, _ = colouring.cheapest(csr(np.zeros((3, 4))))
    assert colouring.recovery(csr(np.zeros((3, 4))), columns, rows).size == 0


def test_colours_that_meet_are_refused():
    with pytest.raises(ValueError, match="meet"):
        colouring.recovery(band(4, 1), np.zeros(4, int), np.full(4, -1))
    with pytest.raises(ValueError, match="meet"):
        colouring.symmetric_recovery(band(4, 1), np.zeros(4, int))
