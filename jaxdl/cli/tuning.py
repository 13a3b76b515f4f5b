"""`jaxdl tune`: the fastest mix of derivatives for a model or a function of the user's."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.cli.from_settings import model_of, without_examples
from jaxdl.cli.settings import Settings
from jaxdl.cli.training_recipes import recipe
from jaxdl.cli.usage_errors import BadUsage, usage
from jaxdl.cli.user_functions import function_and_arguments
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
    if out and not out.parent.is_dir():
        raise BadUsage(f"--out {out}: there is no folder {out.parent}")
    if batch < 1:
        raise BadUsage(f"--batch must be 1 or more, got {batch}")
    f, given = function_and_arguments(target, args) if ":" in target else _of_model(target, batch)
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
        console.print(f"Written: {out}", soft_wrap=True)
    return 0


def _of_model(name, batch):
    """The loss of a model as a function of (params, x, y), with random images."""
    chosen = usage(recipe, name)
    shape = chosen.shape
    model, loss = model_of(chosen, Settings(name), without_examples(name, shape, CLASSES))
    random = np.random.default_rng(0)
    x = jnp.asarray(random.standard_normal((batch, *shape)).astype(np.float32))
    y = chosen.target(x, jnp.asarray(random.integers(0, CLASSES, batch, np.int32)))

    def of_batch(params, x, y):
        return averaged(loss)(model.apply(params, x), y)

    of_batch.__name__ = name
    return of_batch, (jax.jit(model.init, static_argnums=1)(jax.random.key(0), shape), x, y)
