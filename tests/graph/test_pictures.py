"""Pictures of graphs: their text and layout."""

import itertools
import json
import re
import xml.etree.ElementTree as ET

import jax
import jax.numpy as jnp
import pytest

from jaxdl import trace
from jaxdl.graph import examples
from jaxdl.graph.drawing.boxes import MOST_ITEMS, boxes_of, opened_at_first
from jaxdl.graph.drawing.layout import Passing, columns_of, frames
from jaxdl.graph.drawing.picture import size_of
from jaxdl.graph.text import full_text, shapes_text, value_text

f32 = jnp.float32


def layered(x, *weights):
    for i, w in enumerate(weights):
        with jax.named_scope(f"layer {i}"):
            x = jnp.tanh(x @ w) + x
    return (x * x).sum()


@pytest.fixture(scope="module")
def graph():
    return trace(layered)(jnp.ones((2, 3)), *[jnp.eye(3) * (i + 1) for i in range(3)]).backward()


@pytest.fixture(scope="module")
def lecture():
    return trace(examples.product_and_sum)(f32(-2), f32(5), f32(-4)).backward()


def test_boxes_are_scopes_with_the_arguments_used_only_there(graph):
    root = boxes_of(graph)
    named = {item.name: item for item in root.items if hasattr(item, "items")}
    assert list(named) == ["layer 0", "layer 1", "layer 2"]
    assert [node.label for node in named["layer 1"].nodes][:1] == ["weights[1]"]
    assert named["layer 1"].size == 3


def test_a_scope_that_is_left_and_entered_again_is_two_boxes():
    def f(x):
        for name in "aba":
            with jax.named_scope(name):
                x = jnp.sin(x) * 2
        return x

    assert [item.name for item in boxes_of(trace(f)(f32(1))).items] == ["x", "a", "b", "a", "result"]


def test_many_items_are_grouped_into_closed_boxes(tmp_path):
    def f(x):
        for _ in range(700):
            x = jnp.sin(x) * 1.5
        return x

    root = boxes_of(trace(f)(f32(1)))
    every = [root]
    for box in every:
        assert len(box.items) <= MOST_ITEMS + 1  # and the result
        every += [item for item in box.items if hasattr(item, "items")]
    assert root.size == 1400
    assert opened_at_first(root, None) == {root}


def test_edges_go_to_the_right_and_nothing_overlaps(graph):
    root = boxes_of(graph)
    opened = opened_at_first(root, 9)
    placed = frames(root, opened, size_of)
    for node in root.nodes:
        for edge in node.edges:
            start = placed[edge.source.node]
            assert start.x + start.width < placed[node].x
    for box in opened:
        inside = [placed[item] for item in box.items]
        around = placed[box]
        for k, a in enumerate(inside):
            assert around.x <= a.x
            assert a.x + a.width <= around.x + around.width
            assert around.y <= a.y
            assert a.y + a.height <= around.y + around.height
            for b in inside[:k]:
                assert a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y


def test_a_long_edge_has_a_free_place(graph):
    (layer,) = [item for item in boxes_of(graph).items if getattr(item, "name", "") == "layer 0"]
    passing = [item for row in columns_of(layer)[0] for item in row if isinstance(item, Passing)]
    assert "add" in {place.ends[1].name for place in passing}  # x goes past the product and tanh, to the sum


def words_of(svg):
    return [e.text for e in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_svg_shows_values_and_gradients(lecture, tmp_path):
    lecture.draw(tmp_path / "f.svg")
    words = words_of((tmp_path / "f.svg").read_bytes())
    assert words.count("×") == words.count("+") == 1
    for number in ("−2", "5", "−4", "−10", "−14"):
        assert number in words
    products = ["1", "1 = 1 · 1", "1 = 1 · 1", "5 = 5 · 1", "−2 = −2 · 1"]
    assert sorted(w for w in words if w == "1" or " = " in w) == products


def numbered(x, n):
    """All operations but two have a number as an input."""
    y = 2 * x - 0.5
    y = jnp.maximum(1 - y**3, 0) ** 0.5 + jnp.ones(2) * jax.lax.clamp(0.0, x, 6.0)
    return (y / jax.lax.select_n(n, x, x)).sum() ** -2


@pytest.mark.parametrize("types", [False, True])
def test_numbers_of_the_program_are_shown(tmp_path, types):
    x, n = (
        (jax.ShapeDtypeStruct((2,), f32), jax.ShapeDtypeStruct((2,), bool)) if types else (jnp.ones(2), jnp.ones(2) > 0)
    )
    graph = trace(numbered)(x, n)
    graph.draw(tmp_path / "f.svg")
    signs = {"2", "×", "0.5", "−", "x³", "1", "max", "0", "broadcast(1)", "clamp(0, ·, 6)", "÷", "select", "Σ", "x⁻²"}
    assert signs <= set(words_of((tmp_path / "f.svg").read_bytes()))
    for kind in ("html", "dot", "mmd"):
        graph.draw(tmp_path / f"f.{kind}")
        assert all(sign in (tmp_path / f"f.{kind}").read_text() for sign in signs)


def test_numbers_of_a_large_graph_are_in_the_operations(tmp_path):
    def f(x):
        for _ in range(12):
            x = 2 * jnp.sin(x)
        return x

    graph = trace(f)(f32(1))
    assert "2 ×" in words_of(graph.draw(depth=9).text.encode())
    assert {"2", "×"} <= set(words_of(trace(lambda x: 2 * jnp.sin(x))(f32(1)).draw().text.encode()))


def test_a_result_that_is_a_number_is_shown(tmp_path):
    for kind in ("html", "svg", "dot"):
        trace(lambda x: (2, 0.5, x))(jnp.ones(2)).draw(tmp_path / f"f.{kind}")
        assert "0.5" in (tmp_path / f"f.{kind}").read_text()


def test_constant_arrays_are_shown_with_their_values(tmp_path):
    two = jnp.array([2.0, 3.0])
    trace(lambda x: two * x)(jnp.ones(2)).draw(tmp_path / "f.svg")
    assert {"two", "[2 3]"} <= set(words_of((tmp_path / "f.svg").read_bytes()))


def test_closed_boxes_show_the_layers_only(graph, tmp_path):
    graph.draw(tmp_path / "f.svg", depth=0)
    words = words_of((tmp_path / "f.svg").read_bytes())
    assert {"layer 0", "layer 1", "layer 2", "3 operations"} <= set(words)
    assert "tanh" not in words
    graph.draw(tmp_path / "open.svg", depth=1)
    assert words_of((tmp_path / "open.svg").read_bytes()).count("tanh") == 3


def test_png_dot_and_mermaid(lecture, graph, tmp_path):
    for name in ("f.png", "f.dot", "f.mmd"):
        lecture.draw(tmp_path / name)
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    assert 'n0 -> n3 [label="−2 | 5 = 5 · 1"];' in (tmp_path / "f.dot").read_text()
    assert 'n3 -- "−10 | 1 = 1 · 1" --> n4' in (tmp_path / "f.mmd").read_text()
    graph.draw(tmp_path / "g.dot")
    dot = (tmp_path / "g.dot").read_text()
    assert dot.count("subgraph") == 3
    assert dot.count("{") == dot.count("}")
    with pytest.raises(ValueError, match=r"Drawing: cannot write .*f\.jpg.; the suffix must be \.svg, \.png"):
        lecture.draw(tmp_path / "f.jpg")
    assert not (tmp_path / "f.jpg").exists()


def test_loops_open_to_their_first_step(tmp_path):
    def f(x):
        return jax.lax.scan(lambda c, a: (jnp.sin(c) * a, c), x, jnp.arange(1.0, 4.0))[0]

    graph = trace(f)(f32(0.5)).backward()
    (loop,) = [item for item in boxes_of(graph).items if getattr(item, "name", "").endswith(": scan")]
    handle, step = loop.items
    assert (handle.name, step.name) == ("scan", "first step")
    assert [node.name for node in step.nodes if node.equation is not None] == ["sin", "mul"]
    for kind in ("html", "svg", "dot"):
        graph.draw(tmp_path / f"f.{kind}", depth=9)
    assert words_of((tmp_path / "f.svg").read_bytes()).count("sin") == 1
    assert "<title>f</title>" in (tmp_path / "f.html").read_text()
    dot = (tmp_path / "f.dot").read_text()
    assert len(set(re.findall(r"^ *(n\d+) \[", dot, re.M))) == len(list(boxes_of(graph).nodes))


def test_types_alone_can_be_drawn(tmp_path):
    trace(layered)(*[jax.ShapeDtypeStruct((3, 3), f32)] * 3).draw(tmp_path / "f.svg", depth=1)
    assert "3×3" in words_of((tmp_path / "f.svg").read_bytes())


def test_short_texts_of_values():
    assert value_text(jnp.array([[1.0, -0.25]])) == "[[1 −0.25]]"
    assert value_text(jnp.zeros((3, 4), jnp.bfloat16)) == "3×4 bfloat16"
    assert value_text(jnp.int32(7)) == "7"
    assert value_text(f32(-0.0)) == "0"
    assert value_text(None) == "–"
    assert shapes_text([jnp.ones((5, 5, 1, 6)), jnp.ones(6)]) == "5×5×1×6, 6"
    assert shapes_text([jnp.ones((5, 5, 1, 6))] * 3) == "3 arrays"


def test_steps_go_forward_then_back(lecture):
    assert [step.text for step in lecture.steps()] == [
        "x = −2",
        "y = 5",
        "z = −4",
        "g = x × y = −10",
        "f = g + z = −14",
        "∂L/∂f = 1",
        "∂L/∂g = ∂f/∂g · ∂L/∂f = 1 · 1 = 1",
        "∂L/∂z = ∂f/∂z · ∂L/∂f = 1 · 1 = 1",
        "∂L/∂x = ∂g/∂x · ∂L/∂g = 5 · 1 = 5",
        "∂L/∂y = ∂g/∂y · ∂L/∂g = −2 · 1 = −2",
    ]


def test_the_page_is_one_file(graph, tmp_path):
    graph.draw(tmp_path / "g.html")
    page = (tmp_path / "g.html").read_text()
    assert not re.search(r"(src|href)=|https?://(?!www\.w3\.org)|{{", page)
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    assert len(data["edges"]) == len([edge for node in boxes_of(graph).nodes for edge in node.edges])


def test_a_very_large_graph_is_only_partly_on_the_page(graph, tmp_path, monkeypatch):
    from jaxdl.graph.drawing import page

    whole = re.findall(r'class="node[^"]*" id="(\w+)"', page.html(boxes_of(graph), set()).decode())
    monkeypatch.setattr(page, "MOST_ITEMS", 8)
    part = page.html(boxes_of(graph), set()).decode()
    shown = re.findall(r'class="node[^"]*" id="(\w+)"', part)
    data = json.loads(re.search(r'id="data">(.*?)</script>', part, re.S)[1])
    assert len(whole) == 16
    assert len(shown) == 7  # x, three layers that do not open, the square, its sum, the result
    assert [(e["from"], e["to"]) for e in data["edges"]] == [(f"i{k}", f"i{k + 1}") for k in range(1, 7)]


def test_items_at_the_same_height_do_not_overlap():
    root = boxes_of(trace(lambda x: jnp.sin(x) + jnp.cos(x) + jnp.tanh(x) + jnp.exp(x))(f32(1)))
    placed = frames(root, {root}, size_of)
    column = sorted(
        (placed[node] for node in root.nodes if node.name in ("sin", "cos", "tanh", "exp")), key=lambda f: f.y
    )
    assert len({round(frame.x + frame.width / 2) for frame in column}) == 1
    assert all(a.y + a.height < b.y for a, b in itertools.pairwise(column))


def test_a_closed_box_shows_the_sum_of_its_gradients(tmp_path):
    def f(x):
        y = x + 1
        with jax.named_scope("part"):
            return y * y + 3 * y

    trace(f)(f32(1)).backward().draw(tmp_path / "f.svg", depth=0)
    assert {"7", "Σ 7", "7 = 1 · 7"} <= set(words_of((tmp_path / "f.svg").read_bytes()))  # to x + 1, and on to x


def test_steps_distinguish_contributions_from_gradients():
    observed = [step.text for step in trace(lambda x: jnp.sin(x) * x)(f32(0)).backward().steps()]
    assert "∂L/∂x += ∂u2/∂x · ∂L/∂u2 = 0 · 1 = 0" in observed
    assert "∂L/∂u1 = ∂u2/∂u1 · ∂L/∂u2 = 0 · 1 = 0" in observed
    assert observed[-1] == "∂L/∂x = 0 + 0 = 0"


def test_a_chain_is_a_straight_line():
    root = boxes_of(trace(lambda x: jnp.exp(jnp.sin(jnp.cos(x))))(f32(1)))
    placed = frames(root, {root}, size_of)
    assert len({round(placed[node].middle, 3) for node in root.nodes}) == 1


def test_an_argument_of_two_boxes_is_in_neither():
    def f(x, w):
        for name in "ab":
            with jax.named_scope(name):
                x = jnp.sin(x * w)
        return x

    root = boxes_of(trace(f)(f32(1), f32(2)))
    assert [getattr(item, "label", item.name) for item in root.items] == ["x", "w", "a", "b", "result"]


def test_a_page_of_very_many_steps_has_no_slider(graph, monkeypatch):
    from jaxdl.graph.drawing import page

    observed = lambda: json.loads(
        re.search(r'id="data">(.*?)</script>', page.html(boxes_of(graph), set()).decode(), re.S)[1]
    )
    assert len(observed()["steps"]) == len([*graph.steps()])
    monkeypatch.setattr(page, "MOST_STEPS", 3)
    assert observed()["steps"] == []


def test_a_number_with_a_type_has_a_text():
    """A literal of JAX is not an array: it has a dtype and no shape."""

    class Typed(int):
        dtype = jnp.dtype("int32")

    assert full_text(Typed(2)) == "2 int32[], 4 B"


def test_values_that_are_literals_of_python():
    assert [value_text(x) for x in (True, 2, 0.5)] == ["True", "2", "0.5"]


def test_a_picture_without_a_path_is_shown_in_a_notebook(lecture):
    picture = lecture.draw()
    assert ET.fromstring(picture._repr_svg_()).tag.endswith("svg")
    assert picture._repr_html_().startswith("<div")
    assert "−10" in words_of(picture.text.encode())
    assert lecture.derive()._repr_svg_().startswith("<?xml")
    assert lecture._repr_html_().startswith("<iframe")
    assert "&lt;title&gt;product_and_sum" in lecture._repr_html_()


def test_local_gradients_of_arrays():
    """⊙ where the product is elementwise; else the matrix is known, and only the gradient is in the picture."""
    weights, x = jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([1.0, -2.0])
    graph = trace(lambda x: jnp.sum(weights @ jnp.tanh(x)))(x).backward()
    words = set(words_of(graph.draw().text.encode()))
    assert "[1.68 0.424] = [0.42 0.0707] ⊙ [4 6]" in words
    assert "[4 6]" in words
    product = next(node for node in graph.nodes if node.name == "dot_general")
    local = next(edge.local for edge in product.edges if edge.source.node.name == "tanh")
    assert jnp.array_equal(local, weights)


def test_a_sum_of_negative_gradients_has_brackets():
    steps = [step.text for step in trace(lambda x: x * 2 - x * 3)(f32(1)).backward().steps()]
    assert steps[-1] == "∂L/∂x = 2 + (−3) = −1"


def test_operations_without_outputs_are_drawn(tmp_path):
    def printed(x):
        jax.lax.cond(x.sum() > 0, lambda: jax.debug.callback(lambda: None), lambda: None)
        return (x**2).sum()

    for suffix in ("svg", "html"):
        trace(printed, jnp.ones(3)).draw(tmp_path / f"g.{suffix}")
        assert "cond" in (tmp_path / f"g.{suffix}").read_text()


@pytest.mark.parametrize("depth", [-1, 1.5, "2"])
def test_an_impossible_depth_is_named(depth):
    with pytest.raises(ValueError, match=f"depth must be a whole number, 0 or more, or None, got {depth!r}"):
        trace(jnp.sin)(f32(1)).draw(depth=depth)
