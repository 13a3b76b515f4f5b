"""The graph inside a loop, a branch, a checkpoint or a rule."""

import jax
import jax.numpy as jnp
import pytest

from jaxdl import ops
from jaxdl.graph import trace
from tests.draws import draw

X = draw(5, 2, 3)


f32 = jnp.float32


def test_inside_a_loop_values_and_adjoints_of_a_step():
    def f(x):
        c, ys = jax.lax.scan(lambda c, a: (jnp.sin(c * a), c * c), x, jnp.arange(1.0, 4.0))
        return c + ys.sum()

    graph = trace(f)(f32(0.5)).backward()
    loop = next(node for node in graph.nodes if node.name == "scan")
    from_step_1 = lambda c: (lambda d: jnp.sin(3 * d) + c * c + d * d)(jnp.sin(2 * c))
    step = graph.inside(loop, 1)
    c = jnp.sin(f32(0.5))
    assert step.flat_arguments[0].value == pytest.approx(float(c))
    assert step.flat_arguments[0].node.adjoint == pytest.approx(float(jax.grad(from_step_1)(c)), rel=1e-5)
    with pytest.raises(IndexError, match="runs 3 steps here, there is no step 3"):
        graph.inside(loop, 3)


def test_inside_branches_checkpoints_rules_and_while_loops():
    f = lambda x: jax.lax.cond(x > 0, lambda x: jnp.sin(x), lambda x: x, jax.checkpoint(lambda x: x * x)(ops.gelu(x)))
    graph = trace(f)(f32(0.5)).backward()
    labels = {node.name: node for node in graph.nodes}
    assert [n.name for n in graph.inside(labels["cond"]).nodes[1:]] == ["sin"]
    square = graph.inside(labels["checkpoint"])
    assert square.flat_outputs[0].value == pytest.approx(float(ops.gelu(f32(0.5)) ** 2))
    assert square.flat_arguments[0].node.adjoint == pytest.approx(float(labels["gelu"].adjoint))
    assert graph.inside(labels["gelu"]).flat_arguments[0].node.adjoint == pytest.approx(float(graph["x"].adjoint))
    doubling = trace(lambda x: jax.lax.while_loop(lambda x: x < 9.0, lambda x: x * 2, x))(f32(1))
    assert [float(doubling.inside("u1", step).flat_arguments[0].value) for step in range(4)] == [1, 2, 4, 8]
    with pytest.raises(IndexError, match="runs 4 steps here"):
        doubling.inside("u1", 4)
    each = trace(jax.vmap(lambda x: jax.lax.while_loop(lambda x: x < 9.0, lambda x: x * 2, x)))(jnp.array([1.0, 6.0]))
    values = [each.inside("u1", step).flat_arguments[0].value.tolist() for step in range(4)]
    assert values == [[1, 6], [2, 12], [4, 12], [8, 12]]  # an element is constant once its own test has failed
    with pytest.raises(IndexError, match="runs 4 steps here"):
        each.inside("u1", 4)
    with pytest.raises(ValueError, match="is one operation, there is nothing inside"):
        trace(jnp.sin)(f32(1)).inside("u1")


def test_a_reverse_scan_starts_at_its_last_row():
    f = lambda x: jax.lax.scan(lambda c, a: (c * a, c), x, jnp.arange(1.0, 4.0), reverse=True)[0]
    graph = trace(f)(f32(0.5))
    loop = next(node for node in graph.nodes if node.name == "scan")
    assert [float(graph.inside(loop, k).flat_arguments[1].value) for k in range(3)] == [3, 2, 1]


def test_an_index_outside_of_a_switch_takes_the_nearest_branch():
    graph = trace(lambda n, x: jax.lax.switch(n, [jnp.sin, jnp.cos], x))(jnp.int32(7), X)
    (branch,) = [node for node in graph.nodes if node.name == "cond"]
    assert [n.name for n in graph.inside(branch).nodes if n.equation is not None] == ["cos"]


def test_values_that_do_not_reach_the_result_have_no_adjoint_inside():
    f = lambda x: jax.lax.scan(lambda s, _: ((s[0] * 3, s[1] - 1), None), (x, jnp.log(x)), length=3)[0][0]
    graph = trace(f)(f32(0)).backward()
    step = graph.inside(next(node for node in graph.nodes if node.name == "scan"), 1)
    used, unused = step.flat_arguments
    assert used.node.adjoint == 9
    assert unused.node.adjoint == 0


def test_a_carry_that_becomes_active_in_a_loop_has_an_adjoint_inside():
    f = lambda x: jax.lax.scan(lambda s, _: ((s[0], s[1] * s[0]), None), (x, f32(1)), length=3)[0][1]
    graph = trace(f)(f32(2)).backward()
    assert graph["x"].adjoint == 12
    step = graph.inside("u1", 2)
    assert [float(x.node.adjoint) for x in step.flat_arguments] == [4, 2]
