"""Functions timed in turn."""

import itertools
from collections import Counter

import pytest

from jaxdl.measure import Pairs, pairs, rounds
from jaxdl.measure.timing import balanced_orders


def test_pairs_are_called_in_turn():
    calls = []
    timed = pairs(lambda: calls.append("a"), lambda: calls.append("b"), seconds=0, least=4)
    assert len(timed.first) == len(timed.second) == 4
    assert calls[:2] == ["a", "b"]  # once each, uncounted
    assert "".join(calls[2:]) in ("abbaabba", "baabbaab")
    assert timed.spread[0] <= timed.ratio <= timed.spread[1]


def test_a_few_slow_pairs_change_no_figure():
    """Medians and quartiles, pair by pair: a machine that was busy twice in eight pairs does not show."""
    first = (2.0, 2.0, 400.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0)
    second = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 300.0, 1.0)
    timed = Pairs(first, second)
    assert (timed.ratio, timed.spread, timed.medians) == (2, (2, 2), (2, 1))
    assert list(timed.to_json("hand", "automatic").values()) == [2, 1, 2, [2, 2], 9]
    assert Pairs((1.0, 9.0, 4.0), (1.0, 3.0, 1.0)).ratio == 3  # of the ratios 1, 3, 4; that of the medians is 4
    assert Pairs((1.0, 2.0, 3.0, 4.0, 5.0), (1.0,) * 5).spread == (2, 4)


def test_rounds_of_several_functions_change_their_order():
    calls = []
    times = rounds(*(lambda name=name: calls.append(name) for name in "abc"), seconds=0, least=3)
    assert "".join(calls) == "abc" + "abc" + "bca" + "cab"
    assert [len(each) for each in times] == [3, 3, 3]
    assert all(seconds > 0 for each in times for seconds in each)


@pytest.mark.parametrize("count", range(1, 9))
def test_each_function_comes_after_every_other_equally_often(count):
    """A program is slower right after one that takes much memory: no side may have such a neighbour more often."""
    orders = balanced_orders(count)
    assert all(sorted(order) == list(range(count)) for order in orders)
    followed = Counter(pair for order in orders for pair in itertools.pairwise(order))
    assert len(followed) == count * (count - 1)
    assert len(set(followed.values())) <= 1
