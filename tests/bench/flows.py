"""W6: the flow of every node, and one explanation after it, beside one backward of the same graph.

The graphs are W1's and W2's, and a chain; times are of neighbouring turns in one process, the
collector off. The explanation is of the node that most edges lead on from, and counts every
gradient as small, so that all its edges are weighed.
"""

from functools import partial
from statistics import median

from microgradx import Flow, nn, why
from microgradx.engine import Value
from microgradx.explain.tangents import Tangents
from tests.bench import moons, random_graph
from tests.bench.timing import Line, collector, in_turns

LINKS = 100_000


def chain() -> Value:
    x = y = Value(1.0, "x")
    for _ in range(LINKS):
        y = y * 0.99999 + x
    return y


def lines() -> list[Line]:
    model = moons.Ours().model
    graphs = {
        "W1": random_graph.record(Value)[-1],
        "W2": nn.hinge_loss([model(x) for x in moons.X], moons.Y),
        "chain": chain(),
    }
    found = []
    for name, output in graphs.items():
        flow = Flow(output, reference=1000.0)
        node = max(flow.paths.nodes[-50:], key=lambda x: len(Tangents(flow.paths, x).edges))
        with collector("off"):
            works = [output.backward, partial(Flow, output), partial(why, node, flow)]
            sweep, all_nodes, one = map(median, in_turns(5, *works))
        size = f"{len(flow):,} nodes"
        for work, time, target in (("flow", all_nodes, 20), ("one why", one, 5)):
            each = f"{time / len(flow) * 1e6:.1f} µs/node"
            base = f"{sweep / len(flow) * 1e6:.2f} µs/node"
            found.append(
                Line(
                    f"W6 {work}, {name}, {size}", "off", each, "backward", base,
                    time / sweep, target, at_most=True,
                )
            )  # fmt: skip
    return found
