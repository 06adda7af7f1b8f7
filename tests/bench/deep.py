"""A chain of 1,000,000 nodes, by node; and what takes as long a node in large graphs as in small.

`python -m tests.bench.deep` runs this alone.
"""

import random
import time
import tracemalloc
from functools import partial
from statistics import median
from unittest import mock

import microgradx as mx
from microgradx import Flow, nn
from microgradx.engine import Value, order
from microgradx.explain.bounds import Bounds
from microgradx.explain.rerun import forward, history, run_on_floats
from microgradx.explain.witnesses import Search
from microgradx.replay import lift
from tests.bench.timing import HEADING, Line, Work, collector, in_turns, speedup
from tests.pictures.nets import tangle

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


# --- growth: a graph of some size, what is done with it, and how many nodes that is -------------


def odd_one(length: int) -> tuple[Work, int]:
    """The lift of a chain of one op, but for one in its midst."""
    h = Value(0.5)
    for i in range(length):
        h = (h * (-1.0 if i == length // 2 else 1.0)).relu()
    return partial(lift, h), 2 * length


def explained(ops: int) -> tuple[Work, int]:
    """The picture of why a leaf of a tangle has its gradient."""
    y = tangle(ops)
    y.backward()
    nodes = order(y)
    leaf = next(node for node in nodes if node.rule is None)
    return lambda: mx.draw(y, explain=leaf), len(nodes)


def undecided(count: int) -> tuple[Work, int]:
    """Gates of which intervals don't see that they are off."""
    x = h = Value(0.5)
    for _ in range(count):
        h = h * 0.99 + ((h - h) - 0.1).relu() * 0.001
    return lambda: Bounds(h, {x: (-1.0, 1.0)}).gates, len(order(h))


def net(width: int) -> tuple[Work, int]:
    """The bounds of a net on a box."""
    xs = [Value(0.1 * k) for k in range(8)]
    y = nn.MLP(8, [width, width, 1], seed=0)(xs)
    return lambda: Bounds(y, dict.fromkeys(xs, (-1.0, 1.0))), len(order(y))


GROWING = {
    "lift, an odd op among": (odd_one, 1_000, 10_000),
    "explain of a picture": (explained, 10_000, 100_000),
    "gates, undecided": (undecided, 100, 1_000),
    "bounds, a net": (net, 32, 256),
}


def growth() -> list[Line]:
    """For each work the time by node of the larger graph beside that of the smaller.

    Ten times as many nodes in 1.5 times the time for each is an exponent of 1.18.
    """
    found = []
    for name, (make, small, large) in GROWING.items():
        (work, n), (more, m) = make(small), make(large)
        with collector("off"):
            turns = in_turns(3, work, more)
        of_small, of_large = ([t / size * 1e6 for t in times] for times, size in zip(turns, (n, m)))
        figures = [f"{median(times):.1f} µs/node" for times in (of_large, of_small)]
        ratio = speedup(of_small, of_large)
        found.append(
            Line(
                f"{name}, {m:,} nodes", "off", figures[0], f"{n:,}", figures[1], ratio, 1.5,
                at_most=True,
            )
        )  # fmt: skip
    return found


def gates() -> Line:
    """The gates of 64-64-64-10 over a box, beside runs on floats at each of the points."""
    dice = random.Random(0)
    xs = [Value(dice.random()) for _ in range(64)]
    bounds = Bounds(mx.sum(nn.MLP(64, [64, 64, 10], seed=1)(xs)), {
        x: (x.data - 0.05, x.data + 0.05) for x in xs
    })  # fmt: skip
    points: list[int] = []
    run = Search._run
    with mock.patch.object(
        Search, "_run", lambda self, at, steps: points.append(at.shape[1]) or run(self, at, steps)
    ):
        found = bounds.gates
    nodes = history(bounds.output)
    leaves = {x: x.data for x in nodes if x.rule is None}
    with collector("off"):
        ours, one = in_turns(
            5, lambda: Bounds.gates.func(bounds), lambda: forward(nodes, leaves, run_on_floats)
        )
    theirs = [seconds * sum(points) for seconds in one]
    return Line(
        f"the gates of a net, {len(found)}", "off", f"{median(ours) * 1e3:.0f} ms", "one by one",
        f"{median(theirs) * 1e3:.0f} ms", speedup(ours, theirs), 50,
    )  # fmt: skip


def lines() -> list[Line]:
    x, y = chain(LINKS)
    found = []
    with collector("off"):
        for work in (steps, bounds):
            start = time.process_time()
            work(x, y)
            each = (time.process_time() - start) / LINKS * 1e6
            name = f"deep {work.__name__}, 1e6 nodes"
            found.append(
                Line(name, "off", f"{each:.1f} µs/node", "", "", each, 10, "µs/node", at_most=True)
            )
    held = flow_bytes(y)
    found.append(
        Line("deep flow", "", f"{held:.0f} B/node", "", "", held, 300, "B/node", at_most=True)
    )
    return [*found, *growth(), gates()]


if __name__ == "__main__":
    print(HEADING)
    for line in lines():
        print(line, flush=True)
