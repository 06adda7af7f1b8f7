"""The cells of a study, run: on an executor of the reader's, or in processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Future, ProcessPoolExecutor
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Any

from microgradx._base.arguments import number
from microgradx._base.text import clean, clip, kind_of
from microgradx.diagnosis.columns import ERROR, plain
from microgradx.train.progress import REDRAW, quietly

DEATHS = 3  # of its process, the first of them among others, and a cell is given up
AHEAD = 2  # cells in hand for each worker
LONGEST = 1000  # characters of an error

Configuration = dict[str, Any]
Outcome = dict[str, Any]  # the columns that fn has made, and "error"


def cell(fn: Callable[..., Any], configuration: Configuration) -> Outcome:
    """What fn makes of one configuration, by column; what it raises in words, as "error"."""
    try:
        with quietly():
            made = fn(**configuration)
        return {**_figures(made, configuration), ERROR: ""}
    except (Exception, SystemExit) as error:
        return {ERROR: in_words(error)}


def in_words(error: BaseException) -> str:
    """`ValueError: width must be at least 1`, in one line."""
    words = " ".join(f"{type(error).__name__}: {error}".split())
    return clip(clean(words.rstrip(": ")), LONGEST)


def _figures(made: Any, configuration: Configuration) -> Outcome:
    """The columns that fn has made; one number is the column "value"."""
    if not isinstance(made, Mapping):
        return {"value": _figure("a number", made)}
    for name in made:
        if not isinstance(name, str) or not name:
            raise TypeError(f"a column that fn makes has a name, a str, got {name!r:.40}")
        if name in configuration or name == ERROR:
            taken = "of errors" if name == ERROR else "of an axis"
            raise ValueError(f"fn makes the column {name!r}, which is the name {taken}")
    return {name: _figure(f"a number in {name!r}", x) for name, x in made.items()}


def _figure(what: str, x: Any) -> Any:
    """x as Python's own number, word or None."""
    x = plain(x)
    if x is None or type(x) in (bool, int, str):
        return x
    try:
        return number(x)
    except TypeError:
        raise TypeError(f"fn makes a number or a dict of them; {what} is {kind_of(x)}") from None


def check_function(fn: Any, executor: Any) -> None:
    """A TypeError for what is no function, or can't be sent to the processes of an executor."""
    if not callable(fn):
        raise TypeError(f"a study is of a function of one configuration, got {kind_of(fn)}")
    if executor is not None and not isinstance(executor, ProcessPoolExecutor):
        return
    why, main = "", sys.modules.get("__main__")
    try:
        pickle.dumps(fn)
    except Exception as error:
        why = in_words(error)
    if not why and executor is None and getattr(fn, "__module__", None) == "__main__":
        if multiprocessing.get_start_method() != "fork" and not _has_a_file(main):
            why = "processes that are new don't know what was typed into a notebook or a console"
    if why:
        raise TypeError(
            f"{getattr(fn, '__name__', kind_of(fn))} can't be sent to other processes ({why}): "
            "define it at the top level of a module, or pass executor=ThreadPoolExecutor()"
        )


def _has_a_file(main: Any) -> bool:
    return os.path.exists(getattr(main, "__file__", None) or "")


class Run:
    """Cells on their way; it ends when all are there, when `stop` says so, or when none is taken.

    cells: configurations by place; found: the outcomes so far, by place
    why:   in words, why no more cells were taken; "" as a rule
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        cells: Mapping[int, Configuration],
        stop: Callable[[], bool],
        tell: Callable[[dict[int, Outcome]], None],
    ) -> None:
        self.fn, self.cells, self.stop, self.tell = fn, cells, stop, tell
        self.found: dict[int, Outcome] = {}
        self.why, self.due, self.works = "", 0.0, False

    def on(self, executor: Any) -> None:
        """All cells on the reader's executor; those that have not begun are called off at last."""
        hand = _Hand(executor, self.fn)
        try:
            for place, configuration in self.cells.items():
                if self.stop() or hand.refused:
                    break
                hand.take(place, configuration)
            while hand.places and not self.stop():
                self._note(hand)
        finally:
            for future in hand.places:
                future.cancel()
        self.why = hand.refused

    def in_pools(self) -> None:
        """All cells in processes of this machine; a pool that dies is followed by another.

        One of the cells that were in hand has killed it, so these go on one by one: whose process
        dies then is known. After so many `DEATHS` a cell is given up.
        """
        waiting, suspects = deque(self.cells), deque[int]()
        deaths: Counter[int] = Counter()
        while (waiting or suspects) and not self.stop() and not self.why:
            lost = self._in_a_pool(suspects or waiting, alone=bool(suspects))
            deaths.update(lost)
            for place in lost:
                if deaths[place] < DEATHS:
                    suspects.append(place)
                else:
                    self.found[place] = {
                        ERROR: f"BrokenProcessPool: its process died {DEATHS} times"
                    }
            if lost and not self.found and not self.works and not self.stop():
                self._try_nothing()

    def _in_a_pool(self, queue: deque[int], alone: bool) -> list[int]:
        """Cells off a queue until it is empty or the pool dies; those that died with it."""
        workers = 1 if alone else min(os.cpu_count() or 1, len(queue), 61)  # Windows' most
        most = 1 if alone else AHEAD * workers
        try:
            with _pool(workers) as pool:
                hand, before = _Hand(pool, self.fn), len(queue)
                while (hand.places or (queue and not hand.refused)) and not self.stop():
                    while queue and len(hand.places) < most and not hand.refused:
                        if hand.take(queue[0], self.cells[queue[0]]):
                            queue.popleft()
                    self._note(hand)
                if hand.places:
                    _kill(pool)
        except (OSError, ImportError) as error:  # no process more, or none here
            self.why = in_words(error)
            return []
        if len(queue) == before:
            self.why = hand.refused
        return hand.lost

    def _try_nothing(self) -> None:
        """See whether a process can so much as load the function."""
        try:
            with _pool(1) as pool:
                pool.submit(callable, self.fn).result()
            self.works = True
        except BrokenExecutor as error:
            self.why = (
                f"{in_words(error)} No process can load the function: a script starts a study "
                'below `if __name__ == "__main__":`'
            )

    def _note(self, hand: _Hand) -> None:
        """Wait a moment for a cell that ends, and note its outcome, or that it is lost.

        After Ctrl-C nothing is noted: what ends then may have been cut short by it.
        """
        future = hand.next()
        if future is not None and not self.stop():
            place = hand.places.pop(future)
            try:
                self.found[place] = future.result()
            except (BrokenExecutor, CancelledError) as error:
                hand.lost.append(place)
                hand.refused = in_words(error)
            except Exception as error:  # of the way there or back
                self.found[place] = {ERROR: in_words(error)}
        if perf_counter() >= self.due:
            self.tell(self.found)
            self.due = perf_counter() + REDRAW


class _Hand:
    """Cells that an executor has in hand.

    places:  of them, by future; lost: places of those that died with their pool
    refused: in words, why it takes no more; "" as a rule
    """

    def __init__(self, executor: Any, fn: Callable[..., Any]) -> None:
        self.executor, self.fn = executor, fn
        self.places: dict[Future[Outcome], int] = {}
        self.ended: SimpleQueue[Future[Outcome]] = SimpleQueue()
        self.lost: list[int] = []
        self.refused = ""

    def take(self, place: int, configuration: Configuration) -> bool:
        """Whether the executor takes a cell; a closed or broken one doesn't."""
        try:
            future = self.executor.submit(cell, self.fn, configuration)
        except RuntimeError as error:
            self.refused = in_words(error)
            return False
        if not isinstance(future, Future):
            raise TypeError(
                f"an executor's submit() makes a concurrent.futures.Future, this one's made "
                f"{kind_of(future)}; of a client of Dask pass client.get_executor(pure=False)"
            )
        self.places[future] = place
        future.add_done_callback(self.ended.put)
        return True

    def next(self) -> Future[Outcome] | None:
        """A future that has ended; None where none does within a moment."""
        try:
            return self.ended.get(timeout=REDRAW)
        except Empty:
            return None


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes that don't hear Ctrl-C; they are killed if an exception passes."""
    pool = ProcessPoolExecutor(workers, initializer=_deaf_to_ctrl_c)
    try:
        yield pool
    except BaseException:
        _kill(pool)
        raise
    finally:
        pool.shutdown()


def _kill(pool: ProcessPoolExecutor) -> None:
    """End the processes of a pool in the midst of their work."""
    for process in [*(pool._processes or {}).values()]:
        process.kill()


def _deaf_to_ctrl_c() -> None:
    """Ctrl-C reaches all processes of a terminal; who has started these ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
