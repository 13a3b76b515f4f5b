"""Pages of graphs in a browser: clicks, keys, and where the text is, in windows of several widths."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxdl import trace
from jaxdl.example_calls import EXAMPLES
from jaxdl.graph import examples
from tests.graph.test_pictures import layered, numbered

f32 = jnp.float32
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="the page's script runs in a browser, and there is no Chromium")


def observed_in(page, folder, budget=20_000):
    """What the script of a page writes into its element with the id `observed`."""
    (folder / "page.html").write_text(page)
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,700", "--dump-dom"]
    out = subprocess.run(
        [*command, f"--virtual-time-budget={budget}", f"file://{folder}/page.html"],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return json.loads(html.unescape(re.search(r'<pre id="observed">(.*?)</pre>', out.stdout, re.S)[1]))


# --- clicks and keys -----------------------------------------------------------------------------------------

CLICKS = """
<script>
const observed = { errors: [] };
window.onerror = (message) => { observed.errors.push(message); };
const shown = (selector) => [...document.querySelectorAll(selector)].filter((e) => e.offsetParent).length;
const state = () => ({ nodes: shown(".node"), edges: svg.querySelectorAll("path").length });
const press = (key) => document.dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true }));
observed.start = state();
by("all").click(); observed.open = state();
observed.values = [...document.querySelectorAll(".port .value")].map((e) => e.textContent);
by("none").click(); observed.closed = state();
const box = [...document.querySelectorAll(".box .box")][1];
box.firstElementChild.click(); observed.one = state();
observed.expanded = box.firstElementChild.getAttribute("aria-expanded");
by("all").click();
const tanh = [...document.querySelectorAll(".node")].find((e) => e.textContent.startsWith("tanh"));
tanh.dispatchEvent(new MouseEvent("mouseover", { bubbles: true })); observed.card = card.innerText;
press("ArrowRight"); observed.first = by("text").textContent;
observed.values_at_first = document.querySelectorAll(".port .value:not(.away)").length;
press("ArrowRight"); press("ArrowRight"); press("ArrowLeft"); observed.second = by("text").textContent;
go(steps.length - 1); observed.last = by("text").textContent; observed.now = shown(".now");
observed.hidden_at_last = document.querySelectorAll(".away").length;
press("+"); observed.larger = zoom; press("-"); press("-"); observed.smaller = zoom;
press("+"); press("+"); press("+"); press("f");
observed.fits = view.scrollHeight <= view.clientHeight && view.scrollWidth <= view.clientWidth;
document.body.innerHTML = "<pre id=observed></pre>";
document.getElementById("observed").textContent = JSON.stringify(observed);
</script>
"""


def test_clicks_and_keys(tmp_path):
    graph = trace(layered)(jnp.ones((2, 3)), *[jnp.eye(3) * (i + 1) for i in range(3)]).backward()
    graph.draw(tmp_path / "g.html", depth=0)
    observed = observed_in((tmp_path / "g.html").read_text().replace("</body>", CLICKS + "</body>"), tmp_path)
    assert observed["errors"] == []
    assert "2×3" in observed["values"]
    assert observed["start"] == observed["closed"] == {"nodes": 4, "edges": 6}  # x, the square, its sum, the result
    assert observed["expanded"] == "true"
    assert observed["one"]["nodes"] == 4 + 4
    assert observed["open"]["nodes"] == 3 + 3 * 4 + 1
    for line in ("formula", "tanh(", "value", "adjoint", "float32[2,3]", "test_pictures.py"):
        assert line in observed["card"]
    assert observed["first"].startswith("x = 2×3")
    assert observed["second"].startswith("weights[0] = ")
    assert observed["values_at_first"] <= 2
    assert observed["last"].startswith("∂L/∂")
    assert observed["now"] == 1
    assert observed["hidden_at_last"] == 0
    assert observed["larger"] > 1 > observed["smaller"]
    assert observed["fits"]


ORDER = """
<pre id=observed></pre><script>
const minus = [...document.querySelectorAll(".node")].find((e) => e.textContent.startsWith("−"));
const values = [...minus.previousElementSibling.querySelectorAll(".value")].map((e) => e.textContent);
document.getElementById("observed").textContent = JSON.stringify(values);
</script>
"""


@pytest.mark.parametrize("order", [1, -1])
def test_a_difference_has_its_inputs_in_order(order, tmp_path):
    trace(lambda x, y: x - y if order > 0 else y - x)(f32(2), f32(3)).draw(tmp_path / "g.html")
    page = (tmp_path / "g.html").read_text().replace("</body>", ORDER + "</body>")
    assert observed_in(page, tmp_path) == ["2", "3"][::order]


def test_a_closed_box_shows_the_sum_of_its_gradients(tmp_path):
    def f(x):
        y = x + 1
        with jax.named_scope("part"):
            return y * y + 3 * y

    trace(f)(f32(1)).backward().draw(tmp_path / "g.html", depth=0)
    observed = observed_in((tmp_path / "g.html").read_text().replace("</body>", LAST + "</body>"), tmp_path)
    assert sorted(observed["labels"]) == ["1", "7", "7 = 1 · 7"]


LAST = """
<pre id=observed></pre><script>
go(steps.length - 1);
const hidden = [...document.querySelectorAll(".away")].map((e) => e.textContent).filter((text) => text);
const labels = [...document.querySelectorAll(".port .adjoint")].map((e) => e.textContent).filter((text) => text);
document.getElementById("observed").textContent = JSON.stringify({ hidden, labels, text: by("text").textContent });
</script>
"""


def test_the_last_step_shows_all_gradients_also_that_of_the_result(tmp_path):
    trace(examples.product_gate)(f32(3), f32(-1)).backward().draw(tmp_path / "g.html")
    observed = observed_in((tmp_path / "g.html").read_text().replace("</body>", LAST + "</body>"), tmp_path)
    assert observed["hidden"] == []
    assert sorted(observed["labels"]) == ["1", "2 = 2 · 1", "6 = 3 · 2", "−2 = −1 · 2"]
    assert observed["text"] == "∂L/∂x2 = ∂z/∂x2 · ∂L/∂z = 3 · 2 = 6"


# --- where the text is, in 24 programs -----------------------------------------------------------------------


def looped(x):
    return jax.lax.scan(lambda c, a: (jnp.sin(c) * a + c, c * a), x, jnp.arange(1.0, 4.0))


def nested(x):
    for outer in "ab":
        with jax.named_scope(f"block_{outer}"):
            for inner in range(3):
                with jax.named_scope(f"layer_{inner}_with_a_long_name"):
                    x = jnp.tanh(x @ x) + x
    return x


def wide(a, b, c, d, e):
    return jnp.concatenate([a, jnp.sin(b), c * a, d, e - b, a + e]).sum()


def branched(x):
    return jax.lax.cond(x.sum() > 0, lambda x: jnp.sin(x) * 2, lambda x: -x, x)


def checkpointed(x):
    return jax.checkpoint(lambda x: jnp.sin(jnp.exp(x) * x))(x).sum()


def named(parameter_with_a_very_long_name, other):
    a_result_with_a_long_name = parameter_with_a_very_long_name * other["key"]["inner key"]
    return {"first": a_result_with_a_long_name, "second": a_result_with_a_long_name**2}


def fan_out(x):
    return sum(f(x) * x for f in (jnp.sin, jnp.cos, jnp.tanh, jnp.exp, jnp.sqrt))


def long(x):
    for _ in range(30):
        x = jnp.sin(x) * 1.5
    return x


X = jnp.array([[0.5, -1.0], [2.0, 0.25]])
PROGRAMS = EXAMPLES | {
    "layered": lambda: (layered, (jnp.ones((2, 3)), *[jnp.eye(3)] * 3)),
    "numbered": lambda: (numbered, (jnp.ones(2), jnp.ones(2) > 0)),
    "looped": lambda: (looped, (f32(0.5),)),
    "nested": lambda: (nested, (X,)),
    "wide": lambda: (wide, (X[0],) * 5),
    "branched": lambda: (branched, (X,)),
    "checkpointed": lambda: (checkpointed, (X,)),
    "named": lambda: (named, (f32(2), {"key": {"inner key": f32(-3)}})),
    "fan_out": lambda: (fan_out, (f32(0.3),)),
    "long": lambda: (long, (f32(0.3),)),
    "gradient": lambda: (jax.grad(lambda x: jnp.tanh(x) * x), (f32(0.3),)),
}
WIDTHS = (360, 400, 850, 1400)
MEASURE = Path(__file__).with_name("where_text_is.js").read_text(encoding="utf-8")


def test_text_is_never_covered_cut_or_small(tmp_path):
    pages = {}
    for name, make in PROGRAMS.items():
        f, args = make()
        graph = trace(f)(*args)
        cotangents = jax.tree.map(
            lambda y: jnp.ones(y.type.shape, y.type.dtype) if y.is_smooth else None,
            graph.outputs, is_leaf=lambda y: hasattr(y, "is_smooth"),
        )  # fmt: skip
        graph.backward(cotangents).draw(tmp_path / "g.html")
        pages[name] = (tmp_path / "g.html").read_text()
    data = json.dumps(pages).replace("<", r"\u003c")
    script = MEASURE.replace("WIDTHS", json.dumps(WIDTHS))
    embedded = f'<script type="application/json" id="pages">{data}</script><script>{script}</script>'
    page = f"<!doctype html><body>{embedded}</body>"
    found = observed_in(page, tmp_path, budget=200_000)
    on_phones = lambda fault: "sideways" in fault or ", 360 pixels" in fault  # where names are as short as in EXAMPLES
    assert [fault for fault in found if fault.split(",")[0] in EXAMPLES or not on_phones(fault)] == []
