"""`jaxdl tune`: the fastest mix of derivatives for a model or a function of the user's."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.auditor import generated
from jaxdl.cli.from_settings import model_of
from jaxdl.cli.settings import Settings
from jaxdl.cli.training_recipes import recipe
from jaxdl.cli.usage_errors import BadUsage, usage
from jaxdl.cli.user_functions import arguments_in, function_of
from jaxdl.data import Dataset
from jaxdl.report import error_text, terminal
from jaxdl.train.steps import averaged
from jaxdl.tuner import tune

CLASSES = 10


def tune_target(
    target: str,
    args: Path | None,
    batch: int,
    argnums: tuple[int, ...] | None,
    max_bytes: int | None,
    seconds: float,
    compiler_options: bool,
    out: Path | None,
    quiet: bool,
) -> int:
    """Tunes a model or a function, prints and writes the report, and returns the exit status."""
    if out and out.suffix not in (".json", ".html", ".md", ".txt"):
        raise BadUsage(f"--out ends in .json, .html, .md or .txt, got {out}")
    if batch < 1:
        raise BadUsage(f"--batch must be 1 or more, got {batch}")
    f, given = _function(target, args) if ":" in target else _of_model(target, batch)
    if ":" not in target:
        argnums = (0,)
    settings = {"argnums": argnums, "max_bytes": max_bytes, "seconds": seconds, "quiet": quiet}
    find = tune(f, choose_compiler_options=compiler_options, **settings)
    try:
        found = find(*given)
    except (Exception, SystemExit) as error:  # whatever the user's function raises
        raise BadUsage(f"{target}: {error_text(error)}") from error
    console = terminal(quiet=quiet)
    found.print(console)
    if out:
        usage(found.save, out)
        console.print(f"written: {out}")
    return 0


def _function(target, path) -> tuple[Any, tuple[Any, ...]]:
    name, f = function_of(target)
    given = arguments_in(path)
    if path and name not in given:
        raise BadUsage(f"--args {path} has no tuple named {name}; it has {', '.join(given) or 'none'}")
    found, reason = (given[name], "") if path else generated(f)
    if found is None:
        raise BadUsage(f"no arguments for {target} could be generated ({reason}); give them with --args")
    return f, found


def _of_model(name, batch):
    """The loss of a model as a function of (params, x, y), with random images."""
    chosen = usage(recipe, name)
    size = chosen.size or 8
    shape = size, size, 1 if size <= 28 else 3
    empty = np.zeros((0, *shape), np.float32)
    model, loss = model_of(chosen, Settings(name), Dataset(name, empty, empty, empty, empty, CLASSES))
    random = np.random.default_rng(0)
    x = jnp.asarray(random.standard_normal((batch, *shape)).astype(np.float32))
    y = chosen.target(x, jnp.asarray(random.integers(0, CLASSES, batch, np.int32)))

    def of_batch(params, x, y):
        return averaged(loss)(model.apply(params, x), y)

    of_batch.__name__ = name
    return of_batch, (jax.jit(model.init, static_argnums=1)(jax.random.key(0), shape), x, y)
