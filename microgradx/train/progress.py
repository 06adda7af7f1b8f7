"""While it trains: the line on a terminal, and the Ctrl-C that waits for the end of a step."""

from __future__ import annotations

import math
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from microgradx.train.history import Epoch

REDRAW = 0.1  # seconds between two looks of the line


class Progress:
    """A line on a terminal's stderr, written over ten times a second at most; nothing elsewhere."""

    def __init__(self, epochs: int, samples: int) -> None:
        self.stream = sys.stderr if sys.stderr is not None and sys.stderr.isatty() else None
        self.due = 0.0 if self.stream else math.inf
        self.epochs, self.samples, self.epoch = epochs, samples, 1
        self.shown, self.latest = "", ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.latest:
            self.show(self.latest)
        if self.stream and self.shown:
            self.stream.write("\n")

    def within(self, seen: int, mean: float) -> None:
        share = f"{seen / self.samples:.0%}"
        self.show(f"epoch {self.epoch} of {self.epochs}, {share}: loss {mean:.4g}")

    def ended(self, epoch: Epoch) -> None:
        self.latest = f"epoch {self.epoch} of {self.epochs}: {epoch}"
        self.epoch += 1
        if self.due < perf_counter():
            self.show(self.latest)

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
    """A list that Ctrl-C is noted in, so that a step can end; a second one interrupts at once."""
    pressed: list[int] = []

    def note(number: int, frame: Any) -> None:
        pressed.append(number)
        if len(pressed) > 1:
            raise KeyboardInterrupt

    ours = threading.current_thread() is threading.main_thread()  # no other may set it
    ours = ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
