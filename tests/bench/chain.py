"""W3: a chain of 1,000,000 nodes, recorded, swept and freed, with the recursion limit untouched."""

import sys
from statistics import median

from microgradx.engine import Value
from tests.bench.timing import Line, collector, in_turns

LINKS = 1_000_000


def record_sweep_free() -> None:
    """y ← y · 0.999999, y ← y + x, and so on; every node goes when this returns."""
    x = Value(1e-6)
    y = Value(1.0)
    for _ in range(LINKS // 2):
        y = y * 0.999999
        y = y + x
    y.backward()


def lines() -> list[Line]:
    limit = sys.getrecursionlimit()
    found = []
    for mode in ("on", "off"):
        with collector(mode):
            [times] = in_turns(3, record_sweep_free)
        each = median(times) / LINKS * 1e6
        work = "W3 chain, 1,000,000 nodes"
        found.append(
            Line(work, mode, f"{each:.2f} µs/op", "", "", each, 1.5, "µs/op", at_most=True)
        )
    assert sys.getrecursionlimit() == limit
    return found
