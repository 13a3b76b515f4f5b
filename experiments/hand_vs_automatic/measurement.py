"""The figures of one model, and which of its rules they come from."""

import jax

from experiments.hand_vs_automatic.families import problem
from jaxdl import automatic, contrast, nn, rules, tune
from jaxdl.measure import Pairs
from jaxdl.report import device_text


def measured(families, seconds: float) -> dict:
    """The figures of every point of every family.

    Args:
        families: Families by name.
        seconds: How long to tune each model.
    """
    found = {}
    for name, family in families.items():
        models = []
        for point in family.points():
            models.append({**point._asdict(), **model(family, point, seconds)})
            print(f"{name}, {', '.join(f'{k} {v}' for k, v in point._asdict().items())}: "
                  f"{models[-1]['first']['hand']['time']:.2f} of the time", flush=True)  # fmt: skip
        found[name] = {"about": family.about, "axes": family.axes, "models": models, "causes": causes(family, models)}
    device = jax.devices()[0]
    return {"device": device_text(device), "jax": jax.__version__, "families": found}


def model(family, point, seconds: float) -> dict:
    """Gradient and second derivative of one model by each side."""
    loss, params = problem(family, point)
    tuned = tune(loss, params, seconds=seconds, quiet=True)
    compare = lambda order: contrast(loss, params, beside={"tuned": tuned}, sites=False, order=order, quiet=True).whole
    first, second = compare(1), compare(2)
    return {
        "parameters": nn.parameter_count(params),
        "seconds": first.step.medians[1],
        "first": {name: figures(side) for name, side in first.sides.items()},
        "second": {name: figures(side) for name, side in second.sides.items()},
        "chosen": sorted({f"{d.name}: {d.choice}" for d in tuned.decisions if d.choice != "hand"}),
    }


def figures(side) -> dict:
    """The figures of one side; times are ratios to automatic."""
    return {
        "time": side.step.ratio,
        "quartiles": side.step.spread,
        "residuals": side.cost.residual_bytes,
        "temporary": side.cost.temporary_bytes,
        "whole_step": side.cost.step_bytes,
        "ulp": side.ulp,
        "difference": side.difference,
    }


def causes(family, models) -> list[dict]:
    """For the fastest, the base and the slowest model by hand: what each rule alone changes in the whole gradient."""
    points = family.points()
    by_time = sorted(points, key=lambda point: models[points.index(point)]["first"]["hand"]["time"])
    where = dict.fromkeys([by_time[0], family.base, by_time[-1]])
    return [{**point._asdict(), "rules": without_each_rule(*problem(family, point))} for point in where]


def without_each_rule(loss, params) -> dict[str, dict]:
    """By rule, time and bytes with all rules over those with this one replaced by the automatic derivative."""
    names = sorted({site.name for site in rules(loss, params)})
    beside = {name: automatic(loss, only=name) for name in names}
    whole = contrast(loss, params, beside=beside, sites=False, quiet=True).whole
    return {name: _changed(whole, whole.beside[name]) for name in names if name in whole.beside}


def _changed(whole, without):
    pairs = Pairs(whole.step.first, without.step.first)
    bytes_of = lambda cost: {"residuals": cost.residual_bytes, "temporary": cost.temporary_bytes}
    with_rule, without_rule = bytes_of(whole.hand), bytes_of(without.cost)
    return {
        "time": pairs.ratio,
        "quartiles": pairs.spread,
        **{what: [with_rule[what], without_rule[what]] for what in with_rule},
        "ulp": [whole.sides["hand"].ulp, without.ulp],
    }
