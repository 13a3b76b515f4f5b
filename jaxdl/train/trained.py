"""What `fit` returns: the parameters and the history of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from jaxdl.report import Report, Table, figure, number_text, seconds_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOSSES = "loss", "test_loss"
NOT_METRICS = {*LOSSES, "epoch", "seconds", "skipped"}


class _Fields(NamedTuple):
    params: Any
    history: list[dict[str, float]]


class Trained(Report, _Fields):
    """Trained parameters and the history of their training: a named tuple, and a report of the history.

    Attributes:
        params: The parameters, a pytree like that of `model.init`.
        history: One dictionary per epoch: "epoch" (from 1), "loss" (mean over the epoch's steps), "seconds", "skipped"
            (only if steps were skipped), and with held-out data "test_loss" and the metrics.

    Examples:
        >>> import jax, optax
        >>> from jaxdl import data, nn, ops, train
        >>> loss = ops.softmax_cross_entropy_with_integer_labels
        >>> digits = data.load("digits")
        >>> trained = train.fit(nn.mlp(9, 10), loss, digits[1:3], optax.sgd(0.1), 2, jax.random.key(0), quiet=True)
        >>> params, history = trained
        >>> [row["epoch"] for row in trained.history]
        [1, 2]
    """

    def table(self) -> Table:
        """The history as a table with one row per epoch."""
        names = [name for name in self._columns() if name not in ("epoch", "seconds")]
        rows = [
            (str(row["epoch"]), *(number_text(row.get(name, 0)) for name in names), seconds_text(row["seconds"]))
            for row in self.history
        ]
        return Table("Training history", ("epoch", *names, "time"), rows)

    def to_json(self) -> list[dict[str, float]]:
        """The history: one dictionary per epoch."""
        return self.history

    def _columns(self) -> list[str]:
        return list(dict.fromkeys(name for row in self.history for name in row))

    def _figure(self) -> Figure:
        """The losses by epoch, and the metrics beside them."""
        columns = self._columns()
        metrics = [name for name in columns if name not in NOT_METRICS]
        groups = [[name for name in columns if name in LOSSES], *([metrics] if metrics else [])]
        with figure(1, len(groups), squeeze=False) as (drawn, axes):
            for ax, names in zip(axes[0], groups, strict=True):
                for name in names:
                    rows = [row for row in self.history if name in row]
                    ax.plot([row["epoch"] for row in rows], [row[name] for row in rows], label=name)
                ax.set_xlabel("epoch")
                ax.xaxis.get_major_locator().set_params(integer=True)
                if names:
                    ax.legend()
        return drawn
