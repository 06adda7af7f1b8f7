"""A chain of 1,000,000 nodes: its steps, its bounds, and the memory of its flow, by node."""

import time
import tracemalloc

from microgradx import Flow
from microgradx.engine import Value
from microgradx.explain.bounds import Bounds
from tests.bench.timing import Line, collector

LINKS = 1_000_000


def chain(links: int) -> tuple[Value, Value]:
    """A leaf, and y ← y · 0.999999, y ← y + x, and so on."""
    x = Value(1e-6, "x")
    y = Value(1.0)
    for _ in range(links // 2):
        y = y * 0.999999
        y = y + x
    return x, y


def steps(x: Value, y: Value) -> None:
    for _ in y.backward_steps():
        pass


def bounds(x: Value, y: Value) -> None:
    Bounds(y, {x: (0.0, 1e-6)})


def flow_bytes(y: Value) -> float:
    """The most memory that is held while the flow is worked out, by node."""
    tracemalloc.start()
    Flow(y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / LINKS


def lines() -> list[Line]:
    x, y = chain(LINKS)
    found = []
    with collector("off"):
        for work in (steps, bounds):
            start = time.process_time()
            work(x, y)
            each = (time.process_time() - start) / LINKS * 1e6
            name = f"deep {work.__name__}, 1,000,000 nodes"
            found.append(
                Line(name, "off", f"{each:.1f} µs/node", "", "", each, 10, "µs/node", at_most=True)
            )
    held = flow_bytes(y)
    found.append(
        Line("deep flow", "", f"{held:.0f} B/node", "", "", held, 300, "B/node", at_most=True)
    )
    return found
