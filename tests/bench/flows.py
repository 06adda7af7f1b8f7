"""W6: the flow of every node, and what is explained after it, beside one backward of the graph.

The graphs are W1's and W2's, and a chain; times are of neighbouring turns in one process, the
collector off. One explanation is of the node that most edges lead on from, and counts every
gradient as small, so that all its edges are weighed. All weights are those of a net 30-60-27 on 24
samples, asked for at once.
"""

import random
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


def makemore() -> tuple[nn.MLP, Value]:
    rng, model = random.Random(0), nn.MLP(30, [60, 27], activation="tanh", seed=0)
    rows, targets = ([[rng.gauss(0, 1) for _ in range(n)] for _ in range(24)] for n in (30, 27))
    return model, nn.mse_loss([model(row) for row in rows], targets)


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
        for work, time, target in (("flow", all_nodes, 20), ("one why", one, 5)):
            found.append(_line(work, name, len(flow), time, sweep, target))
    model, loss = makemore()
    with collector("off"):
        sweep, all_weights = map(median, in_turns(5, loss.backward, partial(why, model, loss)))
    found.append(_line("why of all", "3,507 weights", len(Flow(loss)), all_weights, sweep, 40))
    return found


def _line(work: str, of: str, nodes: int, time: float, sweep: float, target: float) -> Line:
    ours, base = (f"{x / nodes * 1e6:.2g} µs/node" for x in (time, sweep))
    what = f"W6 {work}, {of}, {nodes:,} nodes"
    return Line(what, "off", ours, "backward", base, time / sweep, target, at_most=True)
