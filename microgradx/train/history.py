"""The history of a training, the line that shows it on a terminal, and the Ctrl-C that ends it."""

from __future__ import annotations

import math
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

REDRAW = 0.1  # seconds between two looks of the line


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


def _by_name(epochs: list[dict[str, float]]) -> dict[str, list[float]]:
    return {name: [numbers[name] for numbers in epochs] for name in (epochs[0] if epochs else {})}


# --- while it trains ---------------------------------------------------------------------------


class Progress:
    """A line on a terminal's stderr, written over ten times a second at most; nothing elsewhere."""

    def __init__(self, history: History, epochs: int, samples: int) -> None:
        self.stream = sys.stderr if sys.stderr is not None and sys.stderr.isatty() else None
        self.due = 0.0 if self.stream else math.inf
        self.history, self.epochs, self.samples, self.shown = history, epochs, samples, ""

    def within(self, seen: int, mean: float) -> None:
        epoch = f"epoch {len(self.history) + 1} of {self.epochs}"
        self.show(f"{epoch}, {seen / self.samples:.0%}: loss {mean:.4g}")

    def ended(self) -> None:
        self.show(f"epoch {len(self.history)} of {self.epochs}: {self.history[-1]}")

    def close(self) -> None:
        if self.history:
            self.ended()
        if self.stream and self.shown:
            self.stream.write("\n")

    def show(self, text: str) -> None:
        """Write `text` over what is there; a line as long as the terminal is wide would wrap."""
        if self.stream and text != self.shown:
            columns = shutil.get_terminal_size().columns or 80
            text = text[: min(columns, 80) - 1]
            self.stream.write(f"\r{text.ljust(len(self.shown))}" + "\r" * (not text))
            self.stream.flush()
            self.shown, self.due = text, perf_counter() + REDRAW


@contextmanager
def ctrl_c() -> Iterator[list[int]]:
    """A list that Ctrl-C is noted in, so that a step can end; a second one leaves at once."""
    pressed: list[int] = []

    def note(number: int, frame: Any) -> None:
        pressed.append(number)
        if len(pressed) > 1:
            raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()  # no other may set it
    ours = main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    except KeyboardInterrupt:
        pressed.append(signal.SIGINT)
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
