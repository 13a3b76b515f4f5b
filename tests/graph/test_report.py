"""Graphs and costs as reports: tables, files by suffix, figures; and calls of `trace` and `source` in both forms."""

import json

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from matplotlib.figure import Figure

import jaxdl
from jaxdl.graph import examples, trace

f32 = jnp.float32
ARGS = f32(-2), f32(5), f32(-4)
STARTS = {
    "svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF", "html": b"<!doctype html>", "dot": b"digraph",
    "mmd": b"flowchart", "json": b"{", "txt": b"Graph of product_and_sum", "md": b"| operation |",
}  # fmt: skip


@pytest.fixture
def graph():
    return trace(examples.product_and_sum, *ARGS).backward()


@pytest.mark.parametrize("kind", STARTS)
def test_a_graph_is_saved_by_suffix(graph, kind, tmp_path):
    graph.save(tmp_path / f"f.{kind}")
    assert (tmp_path / f"f.{kind}").read_bytes().startswith(STARTS[kind])


def test_another_suffix_is_refused(graph, tmp_path):
    with pytest.raises(ValueError, match=r"Graph: cannot write .*f\.jpg.; the suffix must be \.txt, \.md, \.html"):
        graph.save(tmp_path / "f.jpg")
    with pytest.raises(ValueError, match=r"Costs: cannot write .*f\.png.; the suffix must be \.txt, \.md, \.html"):
        graph.costs().save(tmp_path / "f.png")
    assert not list(tmp_path.iterdir())


def test_the_same_graph_gives_the_same_bytes(graph, tmp_path):
    for kind in ("svg", "png", "pdf"):
        for name in "ab":
            graph.save(tmp_path / f"{name}.{kind}")
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_a_graph_as_text_and_in_a_notebook(graph, capsys):
    (row,) = [line.split() for line in str(graph).splitlines() if line.startswith(" g = x × y")]
    assert row[5:7] == ["−10", "1"]
    assert "g = x × y" in graph._repr_html_()
    graph.print()
    assert "5 nodes; values and gradients took up to 28 B" in capsys.readouterr().out
    assert repr(graph) == "<graph of product_and_sum: 5 nodes>"


def test_the_table_of_types_alone_has_shapes():
    graph = trace(jnp.sin, jax.ShapeDtypeStruct((2, 3), f32))
    assert graph.table().rows[1][:3] == ("u1 = sin(x)", "2×3", "–")
    assert graph.table().note == "2 nodes"


def test_the_table_of_a_long_graph_has_its_beginning():
    def f(x):
        for _ in range(100):
            x = jnp.sin(x)
        return x

    table = trace(f, f32(1)).table()
    assert len(table.rows) == 60
    assert table.note == "101 nodes; 41 more nodes are not shown"


def test_a_graph_as_data(graph):
    data = json.loads(json.dumps(graph.to_json()))
    assert data["outputs"] == ["f"]
    product = next(node for node in data["nodes"] if node["label"] == "g")
    assert (product["operation"], product["inputs"]) == ("mul", ["x", "y"])
    assert (product["values"], product["adjoints"]) == ([-10], [1])


def test_data_of_large_and_of_other_arrays():
    f = lambda x, z, key, b: (x * 2, z.real, jax.random.uniform(key), b)
    args = jnp.ones(2000), jnp.array([1 + 2j]), jax.random.key(0), jnp.array([True])
    nodes = {node["label"]: node for node in json.loads(json.dumps(trace(f, *args).to_json()))["nodes"]}
    assert [nodes[label]["values"] for label in ("x", "z", "key", "b")] == [[None], [None], [None], [[True]]]
    assert nodes["u1"]["inputs"] == ["x", 2]


def test_plot_returns_the_figure(graph, tmp_path):
    assert isinstance(graph.plot(), Figure)
    assert isinstance(graph.plot(tmp_path / "f.svg", depth=0), Figure)
    assert (tmp_path / "f.svg").exists()


def test_costs_as_text_and_data(graph, tmp_path):
    costs = graph.costs()
    assert "2 operations forward, 2 backward" in str(costs)
    costs.save(tmp_path / "costs.json")
    data = json.loads((tmp_path / "costs.json").read_text())
    assert [node["label"] for node in data["nodes"]] == ["g", "f"]
    assert (data["forward"], data["kept_bytes"]) == (2, 0)


# --- calls ---------------------------------------------------------------------------------------------------


def named_like_ours(x, *, f, args, depth, path):
    return x * f + args * depth * path


OURS = {name: f32(i) for i, name in enumerate(("f", "args", "depth", "path"))}


@pytest.mark.parametrize("tool", [jaxdl.trace, jaxdl.source])
def test_keywords_of_f_never_collide(tool):
    direct, curried = tool(named_like_ours, f32(2), **OURS), tool(named_like_ours)(f32(2), **OURS)
    assert str(direct) == str(curried)


def test_trace_has_a_direct_and_a_curried_form():
    direct, curried = trace(examples.product_and_sum, *ARGS), trace(examples.product_and_sum)(*ARGS)
    assert direct.outputs.value == curried.outputs.value == -14
    assert trace(lambda: f32(1))().flat_outputs[0].value == 1


def test_names_are_text_on_a_page(tmp_path):
    def f(x):
        return {"{{DATA}}": x + 1, "<b>": x}

    f.__name__ = "{{GRAPH}}</script><i>"
    trace(f, ARGS[0]).draw(tmp_path / "f.html")
    page = (tmp_path / "f.html").read_text()
    assert "<title>{{GRAPH}}&lt;/script&gt;&lt;i&gt;</title>" in page
    assert "{{DATA}}" in page
    assert page.count('"edges":') == page.count('id="i0"') == 1
    assert "<b>'" not in page


def test_the_table_has_the_gradients_of_all_outputs_of_an_operation():
    graph = trace(lambda x: lax.scan(lambda c, a: (c * a, c + a), 1.0, x), jnp.ones(3)).backward((1.0, jnp.ones(3)))
    assert [row[2] for row in graph.table().rows] == ["[4 3 2]", "1, [1 1 1]"]
    only = graph.backward((None, jnp.ones(3)))
    assert only.table().rows[1][2] == "–, [1 1 1]"


def test_graphs_of_empty_arrays_are_drawn():
    graph = trace(lambda x: jnp.sum(jnp.sin(x)), jnp.ones((0, 3))).backward()
    assert "sin" in graph.draw().text
