"""The history of a training: its epochs, as numbers, in a table and as a curve."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from microgradx._base.text import clean, count, short
from microgradx.train.curve import curve

if TYPE_CHECKING:
    from microgradx.train.watch import Event, Watch

DIVERGED = 1e3  # times the loss of the first epoch, or 1 where that is smaller


@dataclass(frozen=True, repr=False)
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
        return ", ".join(f"{_clean(name)} {text}" for name, text in self._columns().items())

    def __repr__(self) -> str:
        return f"<Epoch: {self}{', interrupted' * self.interrupted}>"

    def _columns(self) -> dict[str, str]:
        held = {} if self.validation_loss is None else {"validation loss": self.validation_loss}
        numbers = {"loss": self.loss, **held, **self.metrics, "seconds": self.seconds}
        return {name: short(x, 4) for name, x in numbers.items()}


class History(list[Epoch]):
    """The epochs of a training, in turn; its attributes are their numbers in lists, to be plotted.

    interrupted: whether Ctrl-C ended the training
    remarks:     what went wrong meanwhile, in sentences
    watch:       the `Watch` of it, None without one
    A loss or a gradient that is no longer finite stands here as nan or inf. `print` shows a table,
    a notebook the curve of the loss too.
    """

    interrupted = False

    def __init__(self, epochs: Iterable[Epoch] = ()) -> None:
        super().__init__(epochs)
        self.remarks: list[str] = []
        self.watch: Watch | None = None

    def deaths(self) -> list[Event]:
        """The units that died, with the step and the update; a ValueError without a watch."""
        return self._watched().deaths()

    def saturations(self) -> list[Event]:
        """The units that saturated, with the step and the update; a ValueError without a watch."""
        return self._watched().saturations()

    def _watched(self) -> Watch:
        if self.watch is None:
            raise ValueError("nothing was watched; call fit(…, watch=True)")
        return self.watch

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

    @property
    def diverged(self) -> int | None:
        """The epoch, counted from 1, since which the loss is not finite or much too large."""
        n = len(self)
        while n and not self[n - 1].loss <= DIVERGED * max(abs(self[0].loss), 1.0) < math.inf:
            n -= 1
        return n + 1 if n < len(self) else None

    def __repr__(self) -> str:
        facts = [f"History of {count(len(self), 'epoch')}"]
        ends = dict.fromkeys(short(self[k].loss, 4) for k in (0, -1) if self)
        facts += [f"loss {' to '.join(ends)}"] if self else []
        facts += [f"diverged at epoch {self.diverged}"] if self.diverged else []
        return f"<{', '.join(facts)}{', interrupted' * self.interrupted}>"

    def __str__(self) -> str:
        """The first and the last epochs, one a line."""
        lines = self._table()
        widths = [max(map(len, column)) for column in zip(*lines)]
        table = ["  ".join(x.rjust(n) for x, n in zip(line, widths)) for line in lines]
        return "\n".join([repr(self), *self.remarks, *table])

    def _repr_html_(self) -> str:
        """The face in a notebook: the curve of the loss, and the table."""
        head, *lines = self._table() or [[]]
        table = _row("th", head) + "".join(_row("td", line) for line in lines)
        words = "".join(f"<p>{html.escape(text)}</p>" for text in [repr(self)[1:-1], *self.remarks])
        return f"{words}\n{curve(self.loss, self.validation_loss)}\n<table>{table}</table>"

    def _table(self) -> list[list[str]]:
        """The names of the columns, then the first and the last epochs."""
        rows = [{"epoch": f"{i}", **epoch._columns()} for i, epoch in enumerate(self, 1)]
        if len(rows) > 10:
            rows[5:-4] = [dict.fromkeys(rows[0], "...")]
        return [list(map(_clean, rows[0])), *(list(row.values()) for row in rows)] if rows else []


def _clean(name: object) -> str:
    return clean(f"{name}")


def _row(kind: str, cells: list[str]) -> str:
    return f"<tr>{''.join(f'<{kind}>{html.escape(x)}</{kind}>' for x in cells)}</tr>"


def _by_name(epochs: list[dict[str, float]]) -> dict[str, list[float]]:
    return {name: [numbers[name] for numbers in epochs] for name in (epochs[0] if epochs else {})}
