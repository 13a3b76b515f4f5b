"""What are the lectures' own derivative rules worth?

    python -m experiments.lecture_rules [--quick]

Two of the lectures, on back-propagation and on convolutional networks, give derivative rules for gates, layers and a
loss. Here each is an op with exactly that rule, and `jaxdl.audit` judges it, beside the derivative that JAX derives
from the same definition, and a mended rule where one is needed. For four of the rules the error is measured where it
shows.
Prints the finding, and writes it with its figures to results/lecture_rules.json, with a picture and a page,
results/lecture_rules.html, beside it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from experiments.plotting import titled_png
from experiments.results_folder import FOLDER, keep, rounded
from jaxdl import audit, automatic, op, ops, saving
from jaxdl.report import AUTOMATIC, FURTHER, HAND, Page, Table, figure, number_text, write_whole

LECTURE = FURTHER[1]
LEAST = 0.05  # ULP, the smallest error that is drawn


def with_rule(backward: Callable[..., tuple]) -> Callable[[Callable], Callable]:
    """A decorator: an op with the rule `backward(*arguments, z, dz)`, which may use all arguments and the output."""

    def decorate(definition):
        operation = op(definition)

        @operation.rule
        def rule(*args):
            z = definition(*args)
            return z, saving(backward, *args, z)

        return operation

    return decorate


def _is(x, z, dz):
    return (dz * (x == z).astype(dz.dtype),)


@with_rule(lambda x, z, dz: (dz * jnp.ones_like(x),))
def sum_gate(x):
    return x.sum()


@with_rule(lambda x, z, dz: (dz * z / x,))
def product_gate(x):
    return x.prod()


@with_rule(_is)
def max_gate(x):
    return x.max()


@with_rule(_is)
def min_gate(x):
    return x.min()


@with_rule(lambda x, y, z, dz: (dz * y, dz * x))
def multiply_gate(x, y):
    return x * y


@with_rule(lambda x, z, dz: (dz * z * (1 - z),))
def sigmoid_gate(x):
    return jax.nn.sigmoid(x)


@with_rule(lambda W, x, b, s, ds: (jnp.outer(ds, x), W.T @ ds, ds))
def affine_layer(W, x, b):
    return W @ x + b


@with_rule(lambda W, x, z, dout: (dout @ x.T, None))
def linear_layer(W, x):
    return W @ x


def _softmax_minus_one_hot(z, y):
    return jax.nn.softmax(z) - jax.nn.one_hot(y, len(z), dtype=z.dtype)


def _cross_entropy(z, y):
    return jax.nn.logsumexp(z) - z[y]


loss_layer = with_rule(lambda z, y, L, dL: (_softmax_minus_one_hot(z, y), None))(_cross_entropy)
loss_times_cotangent = with_rule(lambda z, y, L, dL: (dL * _softmax_minus_one_hot(z, y), None))(_cross_entropy)


def _patch(x, W, i, j):
    return x[i : i + W.shape[0], j : j + W.shape[1]]


def _kernel_gradient(W, x, out, dout):
    d = jnp.zeros_like(W)
    for i, j in np.ndindex(dout.shape):
        d += dout[i, j] * _patch(x, W, i, j)
    return d, None


@with_rule(_kernel_gradient)
def conv_layer(W, x):
    rows, columns = range(x.shape[0] - W.shape[0] + 1), range(x.shape[1] - W.shape[1] + 1)
    return jnp.stack([jnp.stack([(W * _patch(x, W, i, j)).sum() for j in columns]) for i in rows])


def mended_conv(W, x):
    return ops.conv2d_by_loops(x[None, :, :, None], W[:, :, None, None])[0, :, :, 0]


class Rule(NamedTuple):
    """A rule of the lectures: its formula, the op, arguments, what the verdict means, and the mended rule, if any."""

    formula: str
    f: Callable[..., Any]
    args: tuple[Any, ...]
    means: str
    mended_formula: str = ""
    mended: Callable[..., Any] | None = None


def _array(*numbers):
    return jnp.array(numbers, jnp.float32)


X, W = _array(0.5, -1.2, 2.0), _array([0.3, -0.7, 1.1], [1.9, 0.4, -0.6])
IMAGE, KERNEL = _array([12, 3, 19], [25, 10, 1], [9, 7, 17]), _array([1, 2], [3, 4])  # the example of a lecture
RULES = {
    "sum gate": Rule("x̄ᵢ = z̄", sum_gate, (X,), "Each summand gets the cotangent of the sum, everywhere."),
    "product gate": Rule(
        "x̄ᵢ = z̄ z/xᵢ", product_gate, (X,),
        "At xᵢ = 0 the rule divides 0 by 0, which is NaN. The derivative there is the product of the other numbers.",
        "x̄ᵢ = z̄ ∏ xⱼ over j ≠ i (ops.prod)", ops.prod,
    ),
    "max gate": Rule(
        "x̄ᵢ = z̄ 1[xᵢ = z]", max_gate, (X,),
        "Where k numbers are the largest, each gets the whole cotangent, so that the total is k times too large. "
        "Shares that add up to one are a convention, these are not.",
        "x̄ᵢ = z̄ 1[xᵢ = z]/k (ops.max)", ops.max,
    ),
    "min gate": Rule(
        "x̄ᵢ = z̄ 1[xᵢ = z]", min_gate, (X,),
        "As for the maximum: where k numbers are the smallest, the total is k times too large.",
        "x̄ᵢ = z̄ 1[xᵢ = z]/k (ops.min)", ops.min,
    ),
    "multiplication gate": Rule(
        "x̄ = z̄ y, ȳ = z̄ x", multiply_gate, (X, X[::-1]), "Each factor gets the other one, also where one is 0.",
    ),
    "sigmoid": Rule(
        "x̄ = z̄ z (1 − z)", sigmoid_gate, (X,),
        "The formula is right, but 1 − z has few digits where z is near 1, and none from x = 17 on in float32: the "
        "rule gives 0 where the derivative is e⁻ˣ.",
        "x̄ = z̄ σ(x) σ(−x) (ops.sigmoid)", ops.sigmoid,
    ),
    "affine layer": Rule(
        "W̄ = s̄ xᵀ, x̄ = Wᵀ s̄, b̄ = s̄", affine_layer, (W, X, _array(0.1, -0.2)), "Products, everywhere right.",
    ),
    "Linear.backward": Rule(
        "W̄ = dout xᵀ", linear_layer, (W, X[:, None]),
        "The rule of W is right, but x gets nothing, so that no layer before this one could learn.",
        "W̄ = dout xᵀ, x̄ = Wᵀ dout (ops.matmul)", ops.matmul,
    ),
    "Conv.backward": Rule(
        "W̄ += dout[i, j] · patch", conv_layer, (KERNEL, IMAGE),
        "The rule of W is right, but x gets nothing, so that no layer before this one could learn.",
        "W̄ += dout[i, j] · patch, x̄ at the patch += dout[i, j] W (ops.conv2d_by_loops)", mended_conv,
    ),
    "SCELoss.backward": Rule(
        "z̄ = softmax(z) − y", loss_layer, (X, jnp.array(1)),
        "The rule takes no cotangent: it is right only where the loss is the end of the network and has the weight 1.",
        "z̄ = L̄ (softmax(z) − y), as −Σ of the other shares at the label "
        "(ops.softmax_cross_entropy_with_integer_labels)", ops.softmax_cross_entropy_with_integer_labels,
    ),
    "the same, times L̄": Rule(
        "z̄ = L̄ (softmax(z) − y)", loss_times_cotangent, (X, jnp.array(1)),
        "The formula is right. What the audit does not see: where the network is sure of the right class, softmax − 1 "
        "cancels at the label, and no digits are left from a margin of 17 on in float32 (see the picture).",
        "z̄ = L̄ (softmax(z) − y), as −Σ of the other shares at the label "
        "(ops.softmax_cross_entropy_with_integer_labels)", ops.softmax_cross_entropy_with_integer_labels,
    ),
}  # fmt: skip
QUICK = ("product gate", "max gate", "multiplication gate")


def measure(quick: bool) -> dict:
    """The verdicts on each rule, on JAX's derivative and on the mended rule, and the errors of four rules."""
    return {
        "rules": {name: judged(RULES[name]) for name in (QUICK if quick else RULES)},
        "errors": {"product": of_products(), "ties": of_ties(), "sigmoid": of_sigmoid(), "loss": of_loss()},
    }


def judged(rule) -> dict:
    """Verdicts, and the worst finding in words."""
    report = audit(rule.f, *rule.args)
    of = lambda f: str(audit(f, *rule.args).verdict)
    return {
        "verdict": str(report.verdict),
        "found": report.faults[0].description if report.faults else "",
        "automatic": of(automatic(rule.f)),
        "mended": of(rule.mended) if rule.mended else None,
    }


def of_products() -> dict:
    """∂z/∂x₁ of z = x₁x₂x₃x₄ at x = (t, t, t, t): the error in ULP."""
    t = np.geomspace(1e-12, 1, 97).astype(np.float32)
    slopes = _slopes(product_gate, ops.prod, lambda f, t: jax.grad(f)(jnp.full(4, t))[0], t)
    return {"x": t} | {side: ulp(slope, t.astype(np.float64) ** 3) for side, slope in slopes.items()}


def of_ties() -> dict:
    """The total of the cotangents of k equal maxima; it should be 1."""
    total = lambda f, k: float(jax.grad(f)(jnp.ones(k)).sum())
    sides = {"lecture": max_gate, "automatic": automatic(max_gate), "mended": ops.max}
    counts = range(1, 7)
    return {"x": list(counts)} | {side: [total(f, k) for k in counts] for side, f in sides.items()}


def of_sigmoid() -> dict:
    """The error of σ′ in ULP."""
    x = np.linspace(-30, 80, 111, dtype=np.float32)
    wide = x.astype(np.float64)
    slopes = _slopes(sigmoid_gate, ops.sigmoid, lambda f, x: jax.grad(f)(x), x)
    return {"x": x} | {s: ulp(slope, 1 / (1 + np.exp(-wide)) / (1 + np.exp(wide))) for s, slope in slopes.items()}


def of_loss() -> dict:
    """The error at the label in ULP, for two classes whose logits differ by a margin."""
    margin = np.linspace(-10, 80, 91, dtype=np.float32)
    slope = lambda f, m: jax.grad(f)(jnp.stack([m, jnp.zeros_like(m)]), 0)[0]
    slopes = _slopes(loss_times_cotangent, ops.softmax_cross_entropy_with_integer_labels, slope, margin)
    return {"x": margin} | {s: ulp(d, -1 / (1 + np.exp(margin.astype(np.float64)))) for s, d in slopes.items()}


def _slopes(lecture, mended, slope, x) -> dict:
    sides = {"lecture": lecture, "automatic": automatic(lecture), "mended": mended}
    return {side: np.asarray(jax.jit(jax.vmap(lambda x, f=f: slope(f, x)))(x)) for side, f in sides.items()}


def ulp(got, truth) -> list[float]:
    """Errors in units in the last place of the true values."""
    return (np.abs(got - truth) / np.spacing(np.abs(truth).astype(np.float32))).tolist()


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    rules = data["rules"]
    right = [name for name, r in rules.items() if r["verdict"] == "right"]
    mended = [r["mended"] for r in rules.values() if r["mended"]]
    faulty = "; ".join(f"{name}: {r['verdict']}" for name, r in rules.items() if name not in right)
    return (
        f"Of {len(rules)} derivative rules of the lectures, the audit finds {len(right)} right and the others faulty "
        f"({faulty}); of the {len(mended)} mended rules beside them it finds {mended.count('right')} right. "
        f"softmax − one-hot loses its digits at the label, which the audit does not see, up to an error of "
        f"{number_text(max(data['errors']['loss']['lecture']))} ULP; mended, the error is at most "
        f"{max(data['errors']['loss']['mended']):.1f} ULP."
    )


def draw(data) -> dict[str, bytes]:
    """Where four of the rules go wrong."""
    errors = data["errors"]
    panels = (
        ("product", "product: z/x at (x, x, x, x); NaN at 0", "x", "error (ULP)"),
        ("ties", "maximum: 1[x = z] at ties; right is 1", "equal maxima", "sum of the shares"),
        ("sigmoid", "sigmoid: z(1 − z)", "x", "error (ULP)"),
        ("loss", "cross-entropy: softmax − one-hot", "margin of the right class", "error at the label (ULP)"),
    )
    sides = (
        ("lecture", "lecture", LECTURE | {"linewidth": 3.2}),
        ("automatic", "JAX, automatic", AUTOMATIC),
        ("mended", "mended", HAND),
    )
    with figure(2, 2, width=9, height=5.4) as (fig, axes):
        for ax, (name, title, x, y) in zip(axes.flat, panels, strict=True):
            for side, label, style in sides:
                values = errors[name][side]
                shown = values if name == "ties" else np.maximum(values, LEAST)
                ax.plot(errors[name]["x"], shown, label=label, **style)
            ax.set(title=title, xlabel=x, ylabel=y)
            if name != "ties":
                ax.set_yscale("log")
        axes[0][0].set_xscale("log")
        axes[0][0].legend()
        title = "The lectures' rules are right at ordinary points; at zeros, at ties and in tails they need mending"
        return {"lecture_rules": titled_png(fig, title)}


def table(data) -> Table:
    rows = [
        (name, RULES[name].formula, r["verdict"], RULES[name].means, r["automatic"], RULES[name].mended_formula or "–",
         r["mended"] or "–")
        for name, r in data["rules"].items()
    ]  # fmt: skip
    columns = (
        "rule", "in the lecture", "verdict", "what that means", "JAX's own derivative", "mended rule", "verdict on it",
    )  # fmt: skip
    title = "The rules of two lectures, on back-propagation and on convolutional networks"
    return Table(title, columns, rows, words=len(columns))


def page(data) -> Page:
    """The finding, the picture, the table, and the worst finding on each faulty rule."""
    result = Page("The lectures' own derivative rules, audited")
    result.lead(finding(data))
    result.picture(
        draw(data)["lecture_rules"],
        "The error of each rule where it goes wrong, of the derivative that JAX derives, and of the mended rule.",
    )
    result.table(table(data))
    rows = [(name, r["found"]) for name, r in data["rules"].items() if r["found"]]
    result.table(Table("The worst finding of each audit", ("rule", "finding"), rows, words=2))
    return result


def main(quick: bool = False) -> None:
    """Audits and measures, prints the finding, writes data, picture and page.

    Args:
        quick: Audit three rules only.
    """
    found = measure(quick)
    keep("lecture_rules", found, finding, draw, quick=quick)
    if not quick:
        write_whole(FOLDER / "lecture_rules.html", page(rounded(found)).html().encode())


if __name__ == "__main__":
    tyro.cli(main)
