"""The history of a training: what every epoch came to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """One pass over the training samples.

    loss:            the mean over its samples, each under the parameters that its batch met
    validation_loss: the mean over the validation set, under the last parameters; None without one
    metrics:         by name, on the validation set, or without one on the training samples
    gradients:       by tensor, log10 of the root mean square of the last batch's gradient
    seconds:         how long it took
    interrupted:     whether Ctrl-C ended it before its last batch
    """

    loss: float
    validation_loss: float | None
    metrics: dict[str, float]
    gradients: dict[str, float]
    seconds: float
    interrupted: bool = False

    def __str__(self) -> str:
        return ", ".join(f"{name} {text}" for name, text in self._columns().items())

    def _columns(self) -> dict[str, str]:
        held = {} if self.validation_loss is None else {"validation loss": self.validation_loss}
        numbers = {"loss": self.loss, **held, **self.metrics, "seconds": self.seconds}
        return {name: f"{x:.4g}" for name, x in numbers.items()}


class History(list[Epoch]):
    """The epochs of a training, in turn; its attributes are their numbers in lists, to be plotted.

    interrupted: whether Ctrl-C ended the training
    A loss or a gradient that is no longer finite stands here as nan or inf. `print` shows a table.
    """

    interrupted = False

    @property
    def loss(self) -> list[float]:
        return [epoch.loss for epoch in self]

    @property
    def validation_loss(self) -> list[float | None]:
        return [epoch.validation_loss for epoch in self]

    @property
    def metrics(self) -> dict[str, list[float]]:
        return _by_name([epoch.metrics for epoch in self])

    @property
    def gradients(self) -> dict[str, list[float]]:
        return _by_name([epoch.gradients for epoch in self])

    @property
    def seconds(self) -> list[float]:
        return [epoch.seconds for epoch in self]

    def __repr__(self) -> str:
        loss = f", loss {self[0].loss:.4g} to {self[-1].loss:.4g}" if self else ""
        return f"<History of {len(self)} epochs{loss}{', interrupted' * self.interrupted}>"

    def __str__(self) -> str:
        """The first and the last epochs, one a line."""
        rows = [{"epoch": f"{i}", **epoch._columns()} for i, epoch in enumerate(self, 1)]
        if len(rows) > 10:
            rows[5:-4] = [dict.fromkeys(rows[0], "...")]
        lines = [list(row.values()) for row in rows]
        lines = [list(rows[0]), *lines] if rows else []
        widths = [max(map(len, column)) for column in zip(*lines)]
        table = ["  ".join(x.rjust(n) for x, n in zip(line, widths)) for line in lines]
        return "\n".join([repr(self), *table])


def _by_name(found: list[dict[str, float]]) -> dict[str, list[float]]:
    return {name: [numbers[name] for numbers in found] for name in (found[0] if found else {})}
