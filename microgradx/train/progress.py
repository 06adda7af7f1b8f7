"""A line that shows how far a training is, and the Ctrl-C that ends it."""

from __future__ import annotations

import math
import shutil
import signal
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import Any, TextIO

from microgradx._base.text import short
from microgradx.train.history import History

REDRAW = 0.1  # seconds between two looks of the line


class Progress:
    """A line on a terminal's stderr or in a notebook's cell; nothing elsewhere.

    It is written over ten times a second at most. What is said, a sentence, stays above it.
    """

    def __init__(self, history: History, epochs: int, samples: int) -> None:
        self.place = _shared.get() or _terminal() or _cell()
        self.due = 0.0 if self.place else math.inf
        self.history, self.epochs, self.samples, self.shown = history, epochs, samples, ""

    def within(self, seen: int, mean: float) -> None:
        epoch = f"epoch {len(self.history) + 1} of {self.epochs}"
        self.show(f"{epoch}, {seen / self.samples:.0%}: loss {short(mean, 4)}")

    def ended(self) -> None:
        self.show(f"epoch {len(self.history)} of {self.epochs}: {self.history[-1]}")

    def say(self, sentence: str) -> None:
        if self.place:
            self.place.say(sentence)
            self.shown = ""

    def clear(self) -> None:
        """Make room for what others print."""
        if self.place:
            self.place.clear()
            self.shown = ""

    def close(self) -> None:
        if self.history:
            self.ended()
        if self.place:
            self.place.close()

    def show(self, text: str) -> None:
        if self.place and text != self.shown:
            self.place.show(text)
            self.shown, self.due = text, perf_counter() + REDRAW


class Shared:
    """A line for several trainings in turn, each after its `title`, without what they say."""

    def __init__(self, place: _Terminal | _Cell | None) -> None:
        self.place, self.title = place, ""

    def show(self, text: str) -> None:
        if self.place:
            self.place.show(f"{self.title}: {text}")

    def say(self, sentence: str) -> None:
        pass

    def clear(self) -> None:
        if self.place:
            self.place.clear()

    def close(self) -> None:
        pass


_shared: ContextVar[Shared | None] = ContextVar("shared", default=None)


@contextmanager
def in_one_line() -> Iterator[Shared]:
    """A line that all trainings of this thread share meanwhile; a terminal's is cleared at last."""
    line = Shared(_terminal() or _cell())
    token = _shared.set(line)
    try:
        yield line
    finally:
        _shared.reset(token)
        line.clear()


@contextmanager
def quietly() -> Iterator[None]:
    """Trainings of this thread show nothing meanwhile."""
    token = _shared.set(Shared(None))
    try:
        yield
    finally:
        _shared.reset(token)


class _Terminal:
    """A line that is written over; one as long as the terminal is wide would wrap."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.length = stream, 0

    def show(self, text: str) -> None:
        text = text[: min(shutil.get_terminal_size().columns or 80, 80) - 1]
        self._write(f"\r{text.ljust(self.length)}")
        self.length = len(text)

    def clear(self) -> None:
        self._write(f"\r{' ' * self.length}\r" * bool(self.length))
        self.length = 0

    def say(self, sentence: str) -> None:
        self.clear()
        self._write(f"{sentence}\n")

    def close(self) -> None:
        self._write("\n" * bool(self.length))

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


class _Cell:
    """One display of a notebook's cell, whose text changes."""

    def __init__(self, display: Any) -> None:
        self.display, self.handle = display, None
        self.said: list[str] = []

    def show(self, text: str) -> None:
        bundle = {"text/plain": "\n".join([*self.said, text])}
        if self.handle is None:
            self.handle = self.display(bundle, raw=True, display_id=True)
        else:
            self.handle.update(bundle, raw=True)

    def clear(self) -> None:
        """Leave the line, so that others print below it."""

    def say(self, sentence: str) -> None:
        self.said.append(textwrap.fill(sentence, 80))
        self.show("")

    def close(self) -> None:
        pass


def _terminal() -> _Terminal | None:
    return _Terminal(sys.stderr) if sys.stderr is not None and sys.stderr.isatty() else None


def _cell() -> _Cell | None:
    """The cell that is running, if this is a notebook; IPython is then there already."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    return _Cell(display)


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
