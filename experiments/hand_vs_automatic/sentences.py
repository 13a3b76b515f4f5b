"""What the figures say, in words."""

import numpy as np

from jaxdl.report import capitalized, number_text

CLEAR = 0.95  # a ratio that is clearly less than 1
PAGE = 4096  # bytes: less is as good as nothing
AXES = ("depth", "width", "batch")


def geometric_mean(values) -> float:
    return float(np.exp(np.mean(np.log(list(values)))))


def bytes_ratio(these: int, those: int) -> float:
    """The ratio of two numbers of bytes, where less than a page of memory counts as a page."""
    return max(these, PAGE) / max(those, PAGE)


def side_of(model, side: str, order: str = "first"):
    """The figures of a side; where no op has a stock function, stock is automatic."""
    return model[order].get(side) or model[order]["automatic"]


def times(models, side: str) -> str:
    """The least and the largest ratio of a side's time to automatic's."""
    ratios = [side_of(m, side)["time"] for m in models]
    return f"{min(ratios):.2f} to {max(ratios):.2f}"


def time(models, side: str, order: str = "first") -> float:
    """The mean ratio of a side's time to automatic's."""
    return geometric_mean(side_of(m, side, order)["time"] for m in models)


def memory(models, side: str, what: str, order: str = "first") -> float:
    """The mean ratio of a side's bytes to automatic's."""
    return geometric_mean(bytes_ratio(side_of(m, side, order)[what], m[order]["automatic"][what]) for m in models)


def worst(models, side: str, order: str = "first") -> float:
    """The largest distance from float64, in ULP."""
    return max(ulp for m in models if (ulp := side_of(m, side, order)["ulp"]) is not None)


def place(model) -> str:
    """Depth, width and batch of a model."""
    return ", ".join(f"{axis} {model[axis]}" for axis in AXES)


def causes(family) -> str:
    """The rules that alone make the whole gradient clearly faster, and by how much at most."""
    found: dict[str, float] = {}
    for at in family["causes"]:
        for rule, with_rule in at["rules"].items():
            if with_rule["time"] < CLEAR and with_rule["quartiles"][1] < 1:
                found[rule] = max(found.get(rule, 0), 1 / with_rule["time"])
    ordered = sorted(found.items(), key=lambda item: -item[1])
    return ", ".join(f"{rule.replace('_', ' ')} {ratio:.2f}×" for rule, ratio in ordered)


def saved(family) -> str:
    """The rules that alone reduce what the whole gradient keeps, and to which share of it at least."""
    found: dict[str, float] = {}
    for at in family["causes"]:
        for rule, with_rule in at["rules"].items():
            if (ratio := bytes_ratio(*with_rule["residuals"])) < CLEAR:
                found[rule] = min(found.get(rule, 1), ratio)
    ordered = sorted(found.items(), key=lambda item: item[1])
    return ", ".join(f"{rule.replace('_', ' ')} {ratio:.2f}×" for rule, ratio in ordered)


def of_family(name: str, family) -> str:
    """What one family gains, in one sentence."""
    models = family["models"]
    by_time = sorted(models, key=lambda m: m["first"]["hand"]["time"])
    least, most = (f"{m['first']['hand']['time']:.2f} at {place(m)}" for m in (by_time[0], by_time[-1]))
    range_ = f" ({least}, to {most})" if len(models) > 1 else ""
    return (
        f"{capitalized(name)}: by hand {time(models, 'hand'):.2f} of the time{range_}, "
        f"{memory(models, 'hand', 'residuals'):.2f} of the residuals, "
        f"{memory(models, 'hand', 'temporary'):.2f} of the temporary memory"
    )


def why(family) -> str:
    """Where the gains of a family come from, by taking out each rule alone."""
    faster, smaller = causes(family), saved(family)
    quartiles = [m["first"]["hand"]["quartiles"] for m in family["models"]]
    return " ".join(
        [
            f"Of {len(quartiles)} models, both quartiles of the time are below 1 in "
            f"{sum(high < 1 for _, high in quartiles)}, and above 1 in {sum(low > 1 for low, _ in quartiles)}.",
            f"The whole gradient is faster by these rules, each alone: {faster}."
            if faster
            else "No rule alone makes the whole gradient faster.",
            f"These reduce what is kept: {smaller}." if smaller else "None reduces what is kept.",
        ]
    )


def listed(texts) -> str:
    *first, last = texts
    return f"{', '.join(first)} and {last}" if first else last


def each(data, mean, *what) -> str:
    """A mean ratio of every family."""
    means = [mean(family["models"], *what) for family in data["families"].values()]
    return listed([m if isinstance(m, str) else f"{m:.2f}" for m in means])


def conclusion(data) -> str:
    """Time and memory of the gradient by hand, in one sentence."""
    return (
        f"By hand a training gradient takes {each(data, time, 'hand')} of the automatic one's time for "
        f"{listed(list(data['families']))}, keeps {each(data, memory, 'hand', 'residuals')} of its residuals and takes "
        f"{each(data, memory, 'hand', 'temporary')} of its temporary memory ({means(data)} by "
        f"depth, width and batch)"
    )


def conclusion_on_time(data) -> str:
    """The time of the gradient by hand and tuned, in one sentence."""
    return (
        f"By hand a training gradient takes {each(data, time, 'hand')} of the automatic one's time for "
        f"{listed(list(data['families']))}, tuned {each(data, time, 'tuned')} ({means(data)})"
    )


def conclusion_on_memory(data) -> str:
    """The memory of the gradient by hand, in one sentence."""
    return (
        f"By hand a training gradient keeps {each(data, memory, 'hand', 'residuals')} of the automatic one's residuals "
        f"for {listed(list(data['families']))}, and takes {each(data, memory, 'hand', 'temporary')} of its temporary "
        f"memory ({means(data)})"
    )


def means(data) -> str:
    """Over what the means are taken."""
    count = sum(len(family["models"]) for family in data["families"].values())
    return f"geometric means over {count} models"


def details(data) -> str:
    """The reasons, second derivatives, stock and tuned, and errors."""
    families = data["families"]
    models = [m for family in families.values() for m in family["models"]]
    closer = sum(m["first"]["hand"]["ulp"] <= m["first"]["automatic"]["ulp"] for m in models)
    apart = max(m["first"]["hand"]["difference"] for m in models)
    reasons = "; ".join(f"{causes(family) or 'no rule'} for {name}" for name, family in families.items())
    return (
        f"The models of each family take {each(data, times, 'hand')} of the time. "
        f"The gains in time come from these rules, each alone in the whole gradient: {reasons}. Second derivatives by "
        f"hand take {each(data, time, 'hand', 'second')} of the time. With stock functions a gradient takes "
        f"{each(data, time, 'stock')}, tuned {each(data, time, 'tuned')} of the time. By hand it is at least as close "
        f"to float64 in {closer} of {len(models)} models; the two differ by at most {number_text(apart)} of the "
        f"largest entry."
    )


def finding(data) -> str:
    """The answer in a few sentences, with their figures."""
    return f"{conclusion(data)}. {details(data)}"
