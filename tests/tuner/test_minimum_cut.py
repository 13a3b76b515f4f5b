"""The choice of kept values is the best one: compared with all choices of small programs."""

import itertools
import random

import jax
import jax.numpy as jnp
import pytest

from jaxdl import jaxpr as jx
from jaxdl.tuner import budgets, networks
from jaxdl.tuner.networks import Network
from jaxdl.tuner.regions import region_of
from jaxdl.tuner.schedules import Choice

PRICES = (1e-12, 1e-10, 3e-10, 1e-9, 1e-8)

OPERATIONS = {
    "sin": lambda u, v: jnp.sin(u),
    "tanh": lambda u, v: jnp.tanh(u * v),
    "dot": lambda u, v: u @ v,
    "mul": lambda u, v: u * v,
    "sum": lambda u, v: u + v.sum(0, keepdims=True),
}


def random_program(seed):
    """A function of a matrix with a few products and elementwise functions, each of random earlier values."""
    choose = random.Random(seed)
    steps = [(choose.choice(list(OPERATIONS)), choose.random(), choose.random()) for _ in range(choose.randint(3, 5))]

    def f(x):
        values = [x]
        for name, a, b in steps:
            values.append(OPERATIONS[name](*(values[int(k * len(values))] for k in (a, b))))
        return sum(v.sum() for v in values[-2:])

    return f


def of_program(f, *args):
    return region_of(jx.trace(f, *args)[0])


def all_choices(region):
    values = [v for part in region.all() for v in part.values if v.aval.size > 1]
    for kept in itertools.chain.from_iterable(itertools.combinations(values, n) for n in range(len(values) + 1)):
        yield budgets.costed(region, Choice(frozenset(kept)))


@pytest.mark.parametrize("seed", range(12))
def test_the_cut_is_the_best_of_all_choices(seed, monkeypatch):
    monkeypatch.setattr(networks, "DRIFT", 0)
    region = of_program(random_program(seed), jax.ShapeDtypeStruct((8, 8), jnp.float32))
    if sum(v.aval.size > 1 for v in region.values) > 12:
        pytest.skip("too many choices")
    network, choices = Network(region), list(all_choices(region))
    for price in PRICES:
        cost = lambda kept: kept.seconds + price * kept.bytes  # noqa: B023
        assert cost(budgets.costed(region, network.cheapest(price))) <= min(map(cost, choices)) * (1 + 1e-6) + 1e-15
    for max_bytes in (256, 512, 1024):
        fitting = [kept.seconds for kept in choices if kept.bytes <= max_bytes]
        assert budgets.within(region, max_bytes).bytes <= max_bytes
        assert min(fitting) <= budgets.within(region, max_bytes).seconds


def test_a_budget_is_used_layer_by_layer():
    """Equal layers: a budget for some of them keeps just these, not all or none."""

    def f(x, w):
        for i in range(6):
            x = jnp.tanh(x @ w[i])
        return x.sum()

    shapes = jax.ShapeDtypeStruct((1024, 1024), jnp.float32), jax.ShapeDtypeStruct((6, 1024, 1024), jnp.float32)
    region, layer = of_program(f, *shapes), 4 * 1024**2
    kept = [budgets.within(region, n * layer) for n in range(7)]
    assert [k.bytes // layer for k in kept] == list(range(7))
    assert all(a.seconds > b.seconds for a, b in itertools.pairwise(kept))


def test_large_programs_are_planned_in_seconds():
    def f(x):
        for _ in range(600):
            x = jnp.tanh(x @ x) * jnp.sin(x)
        return x.sum()

    region = of_program(f, jax.ShapeDtypeStruct((8, 8), jnp.float32))
    assert len(region.forward) + len(region.backward) > 5000
    assert budgets.within(region, 100_000).bytes <= 100_000
