"""Peers that take turns at one piece of work: medians, and ratios of neighbouring turns."""

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

Work = Callable[[], Any]


@dataclass
class Line:
    """One line of the table: a measured figure, and the one it is to reach.

    ratio:  how many times faster or smaller than the peer, or the figure itself if there is none
    target: the least ratio, or with `at_most` the largest figure; None if there is none
    """

    work: str
    collector: str
    ours: str
    peer: str
    theirs: str
    ratio: float
    target: float | None
    unit: str = "×"
    at_most: bool = False

    def __str__(self) -> str:
        measured = f"{self.ratio:.3g} {self.unit}"
        facts = (
            f"{self.work:<32} {self.collector:<4} {self.ours:>11}   {self.peer:<10} "
            f"{self.theirs:>12} {measured:>11}"
        )
        if self.target is None:
            return facts
        wanted = f"{'≤' if self.at_most else '≥'} {self.target:g} {self.unit}"
        reached = self.ratio <= self.target if self.at_most else self.ratio >= self.target
        return f"{facts}   {wanted:<11} {'reached' if reached else 'MISSED'}"


HEADING = (
    f"{'work':<32} {'gc':<4} {'microgradx':>11}   {'peer':<10} "
    f"{'its figure':>12} {'measured':>11}   {'target':<11} verdict"
)


@contextmanager
def collector(mode: str) -> Iterator[None]:
    """Python's garbage collector, with its default thresholds, "on" or "off" in the block."""
    (gc.enable if mode == "on" else gc.disable)()
    try:
        yield
    finally:
        gc.enable()


def seconds(work: Work) -> float:
    """The time of one call; garbage is collected before it, and its result is freed after."""
    gc.collect()
    start = perf_counter()
    result = work()
    elapsed = perf_counter() - start
    del result
    gc.collect()
    return elapsed


def in_turns(rounds: int, *works: Work) -> list[list[float]]:
    """For each work its seconds, round by round; one round more comes first and is dropped."""
    turns = [[seconds(work) for work in works] for _ in range(rounds + 1)]
    return [list(times) for times in zip(*turns[1:])]


def speedup(ours: list[float], theirs: list[float]) -> float:
    """The median of their time / our time over the rounds, each ratio from one round."""
    return median(b / a for a, b in zip(ours, theirs))


def deep(work: Work) -> Any:
    """The result of `work`, in a thread that can recurse; for peers that recurse over the graph."""
    results = []
    limit, size = sys.getrecursionlimit(), threading.stack_size(512 * 2**20)
    sys.setrecursionlimit(1_000_000)
    try:
        thread = threading.Thread(target=lambda: results.append(work()))
        thread.start()
        thread.join()
    finally:
        sys.setrecursionlimit(limit)
        threading.stack_size(size)
    return results[0]
