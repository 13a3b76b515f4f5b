"""Graphs: the lectures' numbers node by node, and JAX's derivatives of other functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

from jaxdl import ops
from jaxdl.example_calls import EXAMPLES
from jaxdl.graph import examples, trace
from jaxdl.graph.text import value_text
from tests.draws import draw

f32 = jnp.float32


def numbers(graph, *labels):
    return [float(graph[label].adjoint) for label in labels]


def test_product_and_sum():
    graph = trace(examples.product_and_sum)(f32(-2), f32(5), f32(-4)).backward(retain=True)
    assert [float(graph[label].value) for label in ("g", "f")] == [-10, -14]
    assert numbers(graph, "x", "y", "z", "g", "f") == [5, -2, 1, 1, 1]


def test_sum_and_product():
    graph = trace(examples.sum_and_product)(f32(-2), f32(5), f32(-4)).backward()
    assert float(graph["g"].value) == 3
    assert numbers(graph, "x", "y", "z", "g", "L") == [-4, -4, 3, -4, 1]


GATES = {  # the lecture's local gradients, by the inputs and z
    "sum-gate": lambda x, z: np.ones(2),
    "product-gate": lambda x, z: z / x,
    "max-gate": lambda x, z: x == z,
    "min-gate": lambda x, z: x == z,
    "sigmoid-gate": lambda x, z: z * (1 - z),
}


@pytest.mark.parametrize("name", GATES)
def test_gates(name):
    """Local gradients, and downstream = local × upstream, which is 2."""
    f, args = EXAMPLES[name]()
    graph = trace(f)(*args).backward(retain=True)
    steps = [step.text for step in graph.steps()]
    z = graph["z"]
    local = np.broadcast_to(GATES[name](np.array(args), z.value), len(args)).astype(float)
    np.testing.assert_allclose([edge.local for edge in z.edges], local, rtol=1e-6)
    np.testing.assert_allclose([edge.adjoint for edge in z.edges], 2 * local, rtol=1e-6)
    for edge, number in zip(z.edges, local, strict=True):
        text = f"∂L/∂{edge.source} = ∂z/∂{edge.source} · ∂L/∂z = {value_text(number)} · 2 = {value_text(2 * number)}"
        assert text in steps


def test_the_xor_network_knows_xor():
    outputs = [float(trace(examples.xor_network)(*examples.XOR.values(), x)["z"].value) for x in examples.XOR_INPUTS]
    assert outputs == examples.XOR_LABELS.tolist()


@pytest.mark.parametrize("i", range(4))
def test_its_loss_node_by_node(i):
    W, c, w, b = examples.XOR.values()
    x, y = examples.XOR_INPUTS[i], examples.XOR_LABELS[i]
    graph = trace(examples.xor_loss)(W, c, w, b, x, y).backward(retain=True)
    u4 = graph["L"].edges[0].source.node
    s = jax.nn.sigmoid(u4.value)
    flows = (graph["h"].value > 0).astype(f32)  # the f of the lecture
    delta = s * (1 - 2 * y)
    expected = {"z": delta, "b": delta, "w": delta * graph["h"].value, "h": delta * w, "c": delta * flows * w}
    expected["W"] = delta * jnp.outer(x, flows * w)
    np.testing.assert_allclose(u4.adjoint, s, rtol=1e-6)
    for label, derivative in expected.items():
        np.testing.assert_allclose(graph[label].adjoint, derivative, rtol=1e-6, err_msg=label)


def test_contributions_of_shared_weights_add():
    f = examples.shared_weights(lambda x, w: w * x, lambda x, x1, w: x * x1 + w, lambda x1, x2, w: x1 * jnp.sin(w * x2))
    args = f32(0.7), f32(-1.2), f32(0.4)
    graph = trace(f)(*args).backward()
    w1 = graph["w1"]
    assert len(w1.users) == 2
    assert w1.adjoint == sum(edge.adjoint for edge in w1.users)
    np.testing.assert_allclose([graph[n].adjoint for n in ("w1", "w2", "x")], jax.grad(f, (0, 1, 2))(*args), rtol=1e-6)


def test_the_numbers_of_shared_weights():
    """[∂ℓ/∂w1] = Jᵀ of φ3 and of φ1 by w1, each times the gradient of its output: −54 and 3 · (−30)."""
    f, args = EXAMPLES["shared-weights"]()
    graph = trace(f)(*args).backward(retain=True)
    assert [float(edge.adjoint) for edge in graph["w1"].users] == [-90, -54]
    assert numbers(graph, "w1", "w2", "x", "x1", "x2", "x3") == [-144, 108, -72, -30, 12, 1]
    assert [step.text for step in graph.steps()][-1] == "∂L/∂w1 = −90 + (−54) = −144"


def layers(params, x):
    for i, (w, b) in enumerate(params):
        with jax.named_scope(f"layer {i}"):
            x = ops.gelu(x @ w + b[None])
    return x


PARAMS = [(draw(1, 3, 4), draw(2, 4)), (draw(3, 4, 4), draw(4, 4))]
X = draw(5, 2, 3)


def test_of_a_model():
    graph = trace(layers)(PARAMS, X)
    np.testing.assert_array_equal(graph.outputs.value, layers(PARAMS, X))
    dy = draw(6, 2, 4)
    graph.backward(dy)
    expected = jax.vjp(layers, PARAMS, X)[1](dy)
    got = jax.tree.map(lambda x: x.node.adjoint, graph.arguments, is_leaf=lambda x: hasattr(x, "node"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), got, expected)
    assert graph["params[0][0]"].type.shape == (3, 4)
    rules = [node for node in graph.nodes if node.kind == "rule"]
    assert [(n.name, [s.name for s in n.scope]) for n in rules] == [("gelu", ["layer 0"]), ("gelu", ["layer 1"])]
    assert "test_trace.py" in rules[0].where


def test_forward_is_jvp():
    along = jax.tree.map(jnp.ones_like, PARAMS)
    graph = trace(layers)(PARAMS, X).forward(along, None)
    expected = jax.jvp(lambda p: layers(p, X), (PARAMS,), (along,))[1]
    np.testing.assert_allclose(graph.outputs.node.tangent, expected, rtol=1e-6)
    assert graph["x"].tangent is None


def test_of_any_node_with_respect_to_any_other():
    def f(a, b):
        h = checkpoint_name(jnp.sin(a * b), "h")
        return jnp.exp(h) + a, h * h

    graph = trace(f)(f32(0.3), f32(0.8))
    from_h = lambda h: (jnp.exp(h) + 0.3, h * h)
    h = graph["h"].value
    for k, y in enumerate(graph.outputs):
        assert graph.grad(y, "h") == pytest.approx(jax.grad(lambda h, k=k: from_h(h)[k])(h))
    inner = graph.grad("h", {"a": "a", "b": "b"})
    assert inner["a"] == pytest.approx(0.8 * np.cos(0.24))
    assert inner["b"] == pytest.approx(0.3 * np.cos(0.24))
    assert graph.grad("a", "h") == 0
    assert graph["h"].adjoint is None
    both = graph.grad(graph.outputs, ["a"], (f32(2), f32(3)))
    assert both[0] == pytest.approx(jax.grad(lambda a: 2 * f(a, 0.8)[0] + 3 * f(a, 0.8)[1])(0.3))


def test_loops_branches_and_checkpoints():
    @jax.checkpoint
    def inner(x):
        return jnp.tanh(x) * x

    def f(x, n):
        x = jax.lax.fori_loop(0, 3, lambda i, x: jnp.sin(x) + i, x)
        x = jax.lax.cond(n > 0, inner, lambda x: x, x)
        return jax.lax.scan(lambda c, a: (c * a, c), x, jnp.arange(1.0, 4.0))[0]

    x, n = f32(0.5), jnp.int32(1)
    graph = trace(f)(x, n).backward()
    assert graph["x"].adjoint == pytest.approx(jax.grad(f)(x, n))
    assert graph["n"].adjoint is None
    assert [node.name for node in graph.nodes if node.kind == "box"] == ["scan", "cond", "scan"]


def test_jitted_functions_are_inlined_in_a_scope():
    @jax.jit
    def block(x):
        return jnp.sin(x) * 2

    graph = trace(lambda x: block(block(x)))(f32(1))
    assert [n.name for n in graph.nodes[1:]] == ["sin", "mul"] * 2
    first, second = ({n.scope for n in graph.nodes[i : i + 2]} for i in (1, 3))
    assert len(first) == len(second) == 1
    assert first != second  # two calls are two boxes


def test_second_derivatives_are_graphs_of_the_gradient():
    f = lambda x: jnp.sin(x) * x
    graph = trace(jax.grad(f))(f32(0.3)).backward()
    assert graph["x"].adjoint == pytest.approx(jax.grad(jax.grad(f))(0.3))


def test_types_alone_make_a_graph_without_values():
    graph = trace(layers)(*jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), (PARAMS, X)))
    assert graph.outputs.type.shape == (2, 4)
    with pytest.raises(ValueError, match=r"types alone, params\[0\]\[0\] is float32\[3,4\]"):
        graph.backward(X)


def test_errors():
    with pytest.raises(ValueError, match="<lambda> returned no array"):
        trace(lambda x: None)(f32(1))
    with pytest.raises(TypeError, match="trace: <lambda> returned something that is not an array"):
        trace(lambda x: "x")(f32(1))
    scaled = jax.jit(lambda x, s: x * s[0], static_argnums=1)
    with pytest.raises(ValueError, match="static argument that cannot be hashed: give a tuple instead of a list"):
        trace(scaled)(f32(1), [1, 2])
    with pytest.raises(TypeError, match="softmax: setting axis must be static and hashable, got list"):
        trace(lambda x: ops.softmax(x, axis=[0]))(X)
    with pytest.raises(TypeError, match="traced by jit, grad or vmap"):
        jax.jit(lambda x: trace(jnp.sin)(x).outputs)(f32(1))
    graph = trace(layers)(PARAMS, X)
    with pytest.raises(KeyError, match=r"has no node 'u77'.*similar labels are u7"):
        graph["u77"]
    with pytest.raises(ValueError, match=r"x3 is float32\[2,4\]: its cotangent must have the shape"):
        graph.backward()
    with pytest.raises(ValueError, match="gives 1 arrays, got 2 cotangents"):
        graph.backward((1, 2))
    with pytest.raises(ValueError, match="node of another graph"):
        graph.grad(trace(layers)(PARAMS, X).outputs, "x")
    with pytest.raises(TypeError, match=r"grad: n is int32\[\]"):
        trace(lambda n: n.astype(f32))(jnp.int32(2)).grad("u1", "n")
    with pytest.raises(ValueError, match="2 arguments, got 1 tangents"):
        graph.forward(PARAMS)
    loop = trace(lambda x: jax.lax.while_loop(lambda x: x < 9.0, lambda x: x * 2, x))(f32(1))
    with pytest.raises(ValueError, match=r"u1 .while at .*cannot be differentiated in reverse mode"):
        loop.backward()


@pytest.mark.skipif(jax.__version_info__ >= (0, 12), reason="JAX itself refuses to trace it")
def test_an_operation_without_a_kernel_is_named():
    half = trace(lambda x: jnp.linalg.svd(x)[1])(jnp.eye(2, dtype=jnp.bfloat16))
    with pytest.raises(ValueError, match=r"u1 .svd.* cannot be evaluated: .*bfloat16"):
        half.backward()


def test_a_second_backward_pass_replaces_the_first():
    graph = trace(lambda x: (jnp.sin(x), x * x))(f32(0.5))
    sine, square = (y.node for y in graph.outputs)
    graph.backward((f32(1), None))
    assert sine.edges[0].adjoint is not None
    graph.backward((None, f32(1)))
    assert sine.edges[0].adjoint is None
    assert sine.adjoint is None
    assert graph["x"].adjoint == sum(edge.adjoint for edge in square.edges) == 1


def test_labels_are_unique():
    def f(u1, x):
        y = checkpoint_name(u1, "start") * x
        return checkpoint_name(y, "u1") + 1.0  # that name is an argument's

    graph = trace(f)(f32(2), f32(3))
    assert [node.label for node in graph.nodes] == ["u1", "x", "y", "u3"]
    assert graph["u1"].value == 2


def test_real_numbers_are_arguments():
    graph = trace(examples.product_and_sum)(-2.0, 5.0, -4.0).backward()
    assert numbers(graph, "x", "y", "z") == [5, -2, 1]


def test_calls_of_more_than_one_operation_have_a_scope():
    assert trace(jax.jit(jnp.sin))(X).nodes[-1].scope == ()
    twice = jax.jit(lambda x: jnp.sin(jnp.sin(x)))
    scopes = [node.scope for node in trace(lambda x: twice(twice(x)))(X).nodes[1:]]
    assert scopes[0] == scopes[1] != scopes[2] == scopes[3]
    assert len(scopes[0]) == 1


def test_an_error_without_a_message_is_named():
    silent = jax.custom_vjp(lambda x: x)
    silent.defvjp(lambda x: (x, None), lambda *_: (_ for _ in ()).throw(AssertionError()))
    with pytest.raises(ValueError, match=r"u1 .* cannot be differentiated in reverse mode: AssertionError"):
        trace(silent)(f32(1)).backward()


def test_a_result_with_none_takes_cotangents_with_none():
    graph = trace(lambda x: (None, x * 2, [x * 3]), f32(1))
    assert float(graph.backward((None, 1.0, [1.0]))["x"].adjoint) == 5
    assert float(graph.backward((None, None, [1.0]))["x"].adjoint) == 3
    with pytest.raises(ValueError, match="gives 2 arrays, got 1 cotangents"):
        graph.backward(1.0)


def test_a_cotangent_of_a_real_result_is_real():
    graph = trace(lambda x: jnp.sum(x * x), jnp.ones(3))
    for given in (1j, jnp.complex64(1 + 2j)):
        with pytest.raises(TypeError, match=r"u2 is float32\[\]: its cotangent must be real, got"):
            graph.backward(given)
    with pytest.raises(KeyError, match="has no node 3"):
        graph[3]
