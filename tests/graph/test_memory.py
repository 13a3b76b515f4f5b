"""When a backward pass frees values, and how much memory it takes."""

import jax.numpy as jnp
import numpy as np

from jaxdl.graph import trace
from jaxdl.graph.passes import Memory
from tests.draws import draw

X = draw(5, 2, 3)


def test_the_backward_pass_frees_values():
    def deep(x):
        for _ in range(10):
            x = jnp.sin(x)
        return x.sum()

    x = jnp.ones(1000)
    graph = trace(deep)(x)
    kept, freed = graph.backward(retain=True).peak_bytes, graph.backward().peak_bytes
    assert graph["u3"].kept is None
    assert kept >= freed + 7 * x.nbytes
    np.testing.assert_allclose(graph["u3"].value, jnp.sin(jnp.sin(jnp.sin(x))))  # and computed again when asked for


def test_outputs_are_not_freed():
    graph = trace(lambda x: jnp.exp(jnp.sin(x)))(X).backward(X)
    assert [node.kept is None for node in graph.nodes] == [False, True, False]
    graph = trace(lambda x: jnp.exp(jnp.sin(x)))(X).backward(X, retain=True)
    assert not any(node.kept is None for node in graph.nodes)


def test_an_array_with_two_references_counts_once():
    memory = Memory(trace(jnp.sin)(X))
    before, x = memory.bytes, jnp.ones(4)
    memory.add(x, x)
    memory.free(x)
    assert memory.bytes == memory.peak == before + x.nbytes
    memory.free(x)
    assert memory.bytes == before
