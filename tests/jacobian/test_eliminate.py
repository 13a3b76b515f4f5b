"""Vertex elimination gives JAX's Jacobian with few multiplications, counted on graphs small enough to count by hand."""

import dataclasses
import itertools
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from benchmarks.jacobian_functions.systems import SYSTEMS
from jaxdl import ops
from jaxdl.jacobian.analysis.elimination import orders, scalar_graphs
from jaxdl.jacobian.analysis.vector_function import VectorFunction
from jaxdl.jacobian.methods.vertex_elimination import EliminationPlan, eliminate, elimination_plan

X = jnp.array([0.3, 0.7, -0.4, 1.2])
A = jnp.array([[0.5, -1.0, 2.0, 0.3], [1.0, 0.2, 0.0, -0.7], [0.4, 0.9, -0.3, 1.1]])


def graph_of(f, x=X):
    return scalar_graphs.scalar_graph(
        VectorFunction("eliminate", lambda xs: [f(*xs)], (jax.typeof(x),), (), (jax.eval_shape(f, x),))
    )


def agrees(f, x=X, reference=jax.jacrev, **options):
    found, expected = eliminate(f, seconds=0.1, **options)(x), jax.jit(reference(f))(x)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), found, expected)


@jax.custom_jvp
def doubled_rule(x):
    return jnp.sin(x)


doubled_rule.defjvp(lambda x, x_dot: (jnp.sin(x[0]), 2 * jnp.cos(x[0]) * x_dot[0]))


@jax.custom_vjp
def tripled_rule(x):
    return jnp.sin(x)


tripled_rule.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (3 * jnp.cos(x) * dy,))


@jax.custom_vjp
def reversing(x):
    return x


reversing.defvjp(lambda x: (x, None), lambda _, dy: (dy[::-1],))


@jax.custom_vjp
def times_rule(x, y):
    return x * y


times_rule.defvjp(lambda x, y: (x * y, (x, y)), lambda xy, dy: (4 * xy[1] * dy, 5 * xy[0] * dy))

FUNCTIONS = {
    "elementwise": lambda x: jnp.tanh(x) * jnp.exp(-x) / (1 + x**2) - jnp.arctan2(x, 2 * x + 1),
    "kinks": lambda x: jnp.maximum(x, 0.1) + jnp.abs(x) + jnp.clip(x, -0.2, 0.5) + jnp.where(x > 0.5, x**3, x),
    "known mask": lambda x: jnp.where(jnp.array([True, False, True, True]), x**2, 3 * x),
    "twice the same": lambda x: x * x + (x + x) * (x - x),
    "moved": lambda x: jnp.concatenate([x[::-1][:2], jnp.pad(x[1:], (1, 2)), jnp.tile(x[:1], 2), jnp.roll(x, 1)]) ** 2,
    "taken": lambda x: x[jnp.array([2, 0, 2])] * x.at[1].set(3.0)[:3] * x.reshape(2, 2).T.ravel()[1:],
    "out of bounds": lambda x: x.at[jnp.array([1, 9])].get(mode="fill", fill_value=2.0) ** 2,
    "taken where the data say": lambda x: lax.dynamic_slice(x, [jnp.argmax(x)], [2]) * x[jnp.argmin(x)],
    "constant matrix": lambda x: jnp.sin(A @ x),
    "matrices": lambda x: x.reshape(2, 2) @ jnp.sin(x.reshape(2, 2)),
    "batched product": lambda x: jnp.einsum(
        "bij,bj->bi", jnp.stack([A[:, :2] * x[0], A[:, 2:] * x[1]]), x.reshape(2, 2)
    ),
    "reductions": lambda x: jnp.stack([x.sum(), x.prod(), x.max(), jnp.linalg.norm(x), jnp.cumsum(x)[2], x.var()]),
    "softmax": lambda x: jax.nn.softmax(x) * jax.nn.logsumexp(x),
    "loops": lambda x: (
        lax.scan(lambda c, a: (jnp.sin(c * a), c), x[0], x)[1] + lax.fori_loop(0, 3, lambda i, y: y * x, x)
    ),
    "branches": lambda x: lax.cond(x[0] > 0, jnp.sin, jnp.cos, x) + lax.switch(1, [jnp.exp, jnp.tanh], x),
    "linear algebra": lambda x: jnp.linalg.solve(jnp.outer(x, x) + jnp.eye(4), x),
    "remat and jit": jax.checkpoint(jax.jit(lambda x: jnp.sin(jnp.sin(x)) * x)),
    "stopped": lambda x: lax.stop_gradient(x) * x + jnp.floor(x) + x.astype(jnp.int32).astype(x.dtype),
    "gradient": jax.grad(lambda x: jnp.log(jnp.sum(jnp.exp(x * x[::-1])))),
    "jvp rule": lambda x: doubled_rule(x * x),
    "vjp rule": lambda x: tripled_rule(x * x),
    "vjp rule of two": lambda x: times_rule(x, x[::-1]),
    "vjp rule that mixes entries": lambda x: reversing(x) * x,
    "relu, silu, gelu": lambda x: jax.nn.relu(x) + jax.nn.silu(x) + jax.nn.gelu(x),
    "jaxdl's rules": lambda x: ops.dense(ops.tanh(x)[None], A.T, jnp.ones(3)),
    "inputs as outputs": lambda x: {"x": x, "again": (x, x[0]), "constant": jnp.ones(2), "scaled": 3 * x, "minus": -x},
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_equals_jacrev(name):
    agrees(FUNCTIONS[name])


@pytest.mark.parametrize("name", ["robot_arm", "helmholtz"])
def test_equals_jacrev_on_systems(name):
    f, x = SYSTEMS[name]()
    np.testing.assert_allclose(eliminate(f, seconds=0.2)(x), jax.jit(jax.jacrev(f))(x), rtol=1e-4, atol=1e-3)


def test_many_columns():
    agrees(lambda x: jnp.stack([jnp.sin(jnp.sin(x)).sum(), jnp.cos(jnp.exp(x)).sum()]), jnp.linspace(0.1, 1.0, 33))


def test_a_step_is_no_constant():
    """2·g and the product of g and the step with number 2 are different steps."""
    agrees(lambda x: (m := x.reshape(2, 2)) @ m @ m)


def test_while_loop_has_forward_derivative():
    agrees(lambda x: lax.while_loop(lambda y: y[0] < 2, lambda y: y * 1.5, x * x), reference=jax.jacfwd)


def test_pytrees_arguments_aux_jit_and_vmap():
    def f(p, x, *, scale):
        h = jnp.sin(p["w"] @ x + p["b"]) * scale
        return {"h": h, "s": (h**2).sum()}, x

    p, xs = {"w": A, "b": jnp.ones(3)}, jnp.stack([X, 2 * X])
    mine, jaxs = (j(f, argnums=(0, 1), has_aux=True) for j in (eliminate, jax.jacrev))
    found = jax.jit(jax.vmap(lambda x: mine(p, x, scale=2.0)))(xs)
    expected = jax.vmap(lambda x: jaxs(p, x, scale=2.0))(xs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, expected)


def test_closed_over_arrays_of_an_outer_trace_and_second_derivatives():
    outer = lambda method: jax.jit(jax.grad(lambda a: method(lambda x: jnp.sin(a * x) * a)(X).sum()))
    np.testing.assert_allclose(outer(eliminate)(0.7), outer(jax.jacrev)(0.7), rtol=1e-5)


def test_double_precision_and_mixed():
    with jax.enable_x64(True):
        x = jnp.array([0.3, 0.7], jnp.float64)
        found = eliminate(lambda x: jnp.sin(x) * x[::-1])(x)
        assert found.dtype == jnp.float64
        np.testing.assert_allclose(found, jax.jacrev(lambda x: jnp.sin(x) * x[::-1])(x), rtol=1e-14)
        mixed = lambda x: (jnp.sin(x.astype(jnp.float32)) * 2).astype(jnp.float64) * x
        np.testing.assert_allclose(eliminate(mixed)(x), jax.jacrev(mixed)(x), rtol=1e-6)


# --- counts ------------------------------------------------------------------------------------------------


def counts(f, x=X):
    return elimination_plan(f, x, seconds=1.0).multiplications


def test_chain_of_units_is_free():
    assert counts(lambda x: -(x[0] - x[1] + 3.0) + x[2])["found"] == 0
    assert len(graph_of(lambda x: (x[::-1].reshape(2, 2) + 1.0).ravel()).inner) == 0


def test_constants_multiply_before():
    assert counts(lambda x: 2.0 * (3.0 * x))["forward"] == 0
    np.testing.assert_array_equal(eliminate(lambda x: 2.0 * (3.0 * x))(X), 6 * np.eye(4))


def test_counts_by_hand():
    # x → sin → (n outputs): a fork of one in and three out, then a chain; forward carries one column, reverse three.
    fork = lambda x: (lambda s: jnp.stack([jnp.exp(s), jnp.cos(s), jnp.tanh(s)]))(jnp.sin(jnp.sin(x[0])))
    assert counts(fork) == {"forward": 4, "reverse": 6, "markowitz": 4, "found": 4, "emitted": 4}
    join = lambda x: jnp.sin(jnp.sin(x[0] * x[1] * x[2] * x[3]))
    assert counts(lambda x: join(x)[None])["reverse"] == 7


def test_cross_country_beats_both():
    """The lion graph: two inputs, a narrow middle, many outputs; the middle is eliminated first."""

    def f(x):
        a = jnp.sin(jnp.sin(x[0]) * jnp.sin(x[1]))
        b = jnp.sin(jnp.exp(a))
        return jnp.stack([jnp.sin(jnp.exp(b * k)) for k in (1.5, 2.5, 3.5)])

    found = counts(f)
    assert found["found"] <= min(found["forward"], found["reverse"], found["markowitz"])
    assert found["found"] < min(found["forward"], found["reverse"])


@pytest.mark.parametrize("name", ["roe_1d", "black_scholes"])
def test_search_is_seeded_and_never_worse(name, monkeypatch):
    monkeypatch.setattr(orders, "MOVES_PER_VERTEX", 20)
    monkeypatch.setattr(orders, "REFINING_MOVES", 20)
    graph = graph_of(*SYSTEMS[name]())
    first, again = (orders.search_order(graph, seconds=60, seed=3) for _ in range(2))
    assert first == again
    c = first.multiplications
    assert c["found"] < min(c["forward"], c["reverse"], c["markowitz"])
    assert c["emitted"] <= c["found"]
    for key, order in first.orders.items():
        assert sorted(order) == list(graph.inner)
        assert key == "emitted" or orders.multiplications(graph, order) == c[key]


def test_the_search_ends_in_time(monkeypatch):
    monkeypatch.setattr(orders, "_proposal", lambda *_: pytest.fail("continues after its time limit"))
    orders.search_order(graph_of(*SYSTEMS["roe_1d"]()), seconds=0)


def counted(graph, order):
    """Multiplications by the definition, edge by edge; those by ±1 and of two constants are free."""
    computed, fixed, unit = range(3)
    kind = lambda w: (unit if abs(w) == 1 else fixed) if isinstance(w, float) else computed
    edges, total = {edge: kind(w) for edge, w in graph.edges.items()}, 0
    for v in order:
        before = {u: edges.pop((u, v)) for u, w in list(edges) if w == v}
        after = {w: edges.pop((v, w)) for u, w in list(edges) if u == v}
        for (u, a), (w, b) in itertools.product(before.items(), after.items()):
            total += unit not in (a, b) and computed in (a, b)
            edges[u, w] = min(a, b, edges[u, w], fixed) if (u, w) in edges else min(a, b)
    return total


def test_multiplications_are_those_of_the_definition():
    """In every order, also for sums of edges that were free."""
    a = lambda x: jnp.sin(x[0])
    graph = graph_of(lambda x: jnp.exp(a(x) + x[1] + a(x) * x[2] - 2 * x[3])[None])
    for order in itertools.permutations(graph.inner):
        assert orders.multiplications(graph, order) == counted(graph, order)


def random_graph(seed, inner=6):
    """Two inputs, vertices with edges of 1, −1, 2 or computed, and one output for each vertex without successors."""
    draw = random.Random(seed)
    edges = {}
    for v in range(2, 2 + inner):
        for u in draw.sample(range(v), draw.choice((1, 1, min(2, v), min(3, v)))):
            edges[u, v] = draw.choice((1.0, 1.0, -1.0, 2.0, ((1.0, v, u),), ((1.0, v, u),)))
    ends = [v for v in range(2, 2 + inner) if all(u != v for u, _ in edges)]
    edges |= {(v, 2 + inner + i): ((1.0, v, i),) for i, v in enumerate(ends)}
    return scalar_graphs.ScalarGraph(2, range(2, 2 + inner), edges, [2 + inner + i for i in range(len(ends))], None)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_eliminated_first_excludes_no_best_order(seed):
    graph = random_graph(seed)
    first, _ = orders._eliminated_first(graph)
    rest = [v for v in graph.inner if v not in first]
    best = min(orders.multiplications(graph, order) for order in itertools.permutations(graph.inner))
    assert min(orders.multiplications(graph, [*first, *order]) for order in itertools.permutations(rest)) == best


@pytest.mark.parametrize("seed", range(5))
def test_moves_past_vertices_that_are_no_neighbours_change_no_cost(seed):
    """The running total of changes, some of which are shortened, is the cost of the order."""
    graph, draw = random_graph(seed, inner=20), random.Random(seed)
    costed = orders._CostedOrder(orders.RemainingGraph.of(graph), list(graph.inner))
    for _ in range(200):
        low, window = orders._proposal(costed.order, draw)
        wanted = [*costed.order[:low], *window, *costed.order[low + len(window) :]]
        costed.change(low, window, allowed=1e9)
        assert costed.total == orders.multiplications(graph, costed.order) == orders.multiplications(graph, wanted)


def test_emitted_code_multiplies_no_more_than_counted():
    f, x = SYSTEMS["roe_1d"]()
    run = eliminate(f, seconds=0.5).bind((x,), {}).prepared
    counted = run.plan.multiplications
    assert sum(step[0] == "·" for step in run.code.steps) == counted["emitted"] <= counted["found"]


# --- plans -------------------------------------------------------------------------------------------------


def test_plan_is_saved_loaded_and_used(tmp_path):
    f, x = SYSTEMS["robot_arm"]()
    plan = elimination_plan(f, x, seconds=0.2)
    plan.save(tmp_path / "plan.json")
    assert EliminationPlan.load(tmp_path / "plan.json") == plan
    used = eliminate(f, plan=plan)
    np.testing.assert_allclose(used(x), jax.jit(jax.jacrev(f))(x), rtol=1e-4, atol=1e-3)
    assert used.plan(x) == plan


def test_wrong_plans_are_refused(tmp_path):
    plan = elimination_plan(jnp.sin, X)
    with pytest.raises(ValueError, match="made for another graph"):
        eliminate(lambda x: jnp.sin(x) * x, plan=plan)(X)
    with pytest.raises(ValueError, match="made for another graph"):
        eliminate(jnp.sin, plan=dataclasses.replace(plan, order=(7,)))(X)
    for text in ("", "[]", "{}", '{"order": 3, "multiplications": {}, "fingerprint": ""}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ValueError, match="holds no elimination plan"):
            EliminationPlan.load(tmp_path / "bad.json")


def test_fingerprint_knows_constants():
    assert graph_of(lambda x: x * 2.0).fingerprint != graph_of(lambda x: x * 3.0).fingerprint
    assert graph_of(jnp.sin).fingerprint == graph_of(jnp.cos).fingerprint


# --- refused ---------------------------------------------------------------------------------------


def test_too_large_a_graph_is_refused():
    with pytest.raises(ValueError, match=r"vertices and .* edges.*jacobian.cut"):
        eliminate(lambda x: jnp.tanh(jnp.sin(x)))(jnp.ones(5000))
    with pytest.raises(ValueError, match="edges"):
        eliminate(lambda x: jnp.cos(x) @ jnp.ones((500, 500)))(jnp.ones(500))


def test_a_primitive_without_a_derivative_is_not_constant():
    f = lambda x: jnp.sin(x) + jax.lax.igamma_grad_a(x, 2 * x)
    with pytest.raises(NotImplementedError, match="igamma_grad_a"):
        eliminate(f)(jnp.ones(3))


def test_a_primitive_without_a_jacobian_is_named():
    """JAX has no pullback of reduce_window with any function, and cannot vmap its tangents."""
    products = lambda x: jax.lax.reduce_window(x, 1.0, jax.lax.mul, (2,), (1,), "VALID")
    with pytest.raises(ValueError, match=r"jacobian.eliminate: JAX has no Jacobian of reduce_window, at .*test_elimin"):
        eliminate(products)(jnp.ones(3))


def test_complex_is_refused():
    with pytest.raises(TypeError, match="real"):
        eliminate(jnp.sin, holomorphic=True)(jnp.ones(2, jnp.complex64))


def test_a_loop_is_swept_in_a_mode_that_all_its_operands_have():
    """Forward mode works for the first carry, but not for the second, which goes through a custom_vjp."""
    body = lambda c, _: ((c[0] + 1, tripled_rule(c[1])), None)
    f = lambda x: sum(lax.scan(body, (x, 2 * x), None, length=2)[0])
    x = jnp.array([0.3, -0.8])
    agrees(f, x)
