"""Runs the command line inside the test's process."""

import jax
import pytest

from jaxdl.cli import main


def exit_status(*arguments, promotion: str = "strict") -> int:
    """The exit status of `jaxdl` with these arguments; optax's optimisers and schedules need promotion "standard"."""
    with jax.numpy_dtype_promotion(promotion), pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return ended.value.code
