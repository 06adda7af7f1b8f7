"""W10: a picture beside the bundled renderer's own time on its DOT, and `draw` of a million nodes.

The graphs are those of up to 1,000 nodes that a picture must fit on a screen, as a net and node by
node. The whole picture, `draw(y).svg()`, and its rendering alone take turns; the
lines are the five of the largest ratio. `python -m tests.bench.pictures` runs this alone.
"""

from functools import partial
from statistics import median

import microgradx as mx
from microgradx import nn
from microgradx.engine import Value, order
from microgradx.pictures.render import BUNDLED, render
from tests.bench.timing import HEADING, Line, collector, in_turns, speedup
from tests.pictures.nets import GRAPHS, samples, tangle

NODES, MANY = 1_000, 1_000_000
WORST = 5


def chain(n: int) -> Value:
    x = y = Value(1.0, "x")
    for _ in range(n):
        y = y * 0.99999 + x
    return y


def net(n: int) -> Value:
    """A net of 33 neurons on so many samples that there are about n nodes."""
    model = nn.MLP(8, [16, 16, 1], seed=1)
    rows = samples(n // 68, 8)
    return nn.mse_loss([model(x) for x in rows], [1.0] * len(rows))


def small() -> list[Line]:
    """The graphs of up to 1,000 nodes whose pictures take longest beside their rendering."""
    outputs = {name: make() for name, make in GRAPHS.items()}
    outputs = {name: y for name, y in outputs.items() if len(order(y)) <= NODES}
    found = []
    for name, output in outputs.items():
        output.backward()
        for nodes in (False, True):
            dot = mx.draw(output, nodes=nodes).source
            draw = partial(mx.draw, output, nodes=nodes, renderer=BUNDLED)
            works = lambda draw=draw: draw().svg(), partial(render, dot, "svg", BUNDLED)
            ours, theirs = in_turns(5, *works)
            figures = [f"{median(times) * 1e3:.1f} ms" for times in (ours, theirs)]
            size = f"{len(order(output))} nodes"
            work = f"W10 {name}{', node by node' if nodes else ''}, {size}"
            found.append(
                Line(
                    work, "on", figures[0], "rendering", figures[1], speedup(theirs, ours), 2,
                    at_most=True,
                )
            )  # fmt: skip
    return sorted(found, key=lambda line: -line.ratio)[:WORST]


def large() -> list[Line]:
    """`draw` of a million nodes, which ends before anything is rendered."""
    found = []
    for make in (chain, net, tangle):
        output = make(MANY // 2 if make is chain else MANY)
        output.backward()
        n = len(order(output))
        with collector("on"):
            [times] = in_turns(3, partial(mx.draw, output))
        each = median(times) / n * 1e6
        work = f"W10 draw, a {make.__name__}, {n:,} nodes"
        found.append(Line(work, "on", f"{each:.1f} µs/node", "", "", each, 10, "µs", at_most=True))
    return found


def lines() -> list[Line]:
    return [*small(), *large()]


if __name__ == "__main__":
    print(HEADING)
    for part in (small, large):
        for line in part():
            print(line, flush=True)
