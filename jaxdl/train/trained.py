"""What `fit` returns."""

from typing import Any, NamedTuple


class Trained(NamedTuple):
    """Parameters, and one dictionary an epoch: loss, seconds, and the metrics on the held-out data."""

    params: Any
    history: list[dict[str, float]]
