"""After the claims: micrograd's demo, trained as a graph and as the matrices in it.

Can a net of scalars learn two interleaving moons? A 2-16-16-1 net of ReLUs has the hinge loss, a
pinch of L2, and a step size that falls from 1 to 0.1. Eagerly, every step makes the graph of all
100 points anew: 7,142 numbers and their gradients. Replayed, the graph of one point is recorded
once, and lifted to the matrices it consists of.
"""

import textwrap
from time import perf_counter
from typing import Any

import numpy as np

import microgradx as mx
from demos.plumbing import Board, moons

STEPS = 100
RATES = [1.0 - 0.9 * step / STEPS for step in range(STEPS)]


def run(board: Board) -> str:
    points, sides = moons()
    model, twin = (mx.nn.MLP(2, [16, 16, 1], seed=1) for _ in range(2))

    times = [perf_counter()]
    losses = []
    for rate in RATES:  # eagerly
        loss = cost(model, [model(point) for point in points], sides)
        model.zero_grad()
        loss.backward()
        mx.optim.SGD(model.parameters(), lr=rate).step()
        losses.append(loss.data)

    times.append(perf_counter())
    replay = mx.record(lambda point, side: cost(twin, twin(point), side), points[0], sides[0])
    xs, ys = np.array(points), np.array(sides)

    times.append(perf_counter())
    again = []
    for rate in RATES:  # replayed
        again.append(replay(xs, ys))
        replay.data -= rate * replay.gradient

    times.append(perf_counter())
    replay.store()  # what it has learnt, to the scalars of `twin`
    code = replay.source[replay.source.index("def forward") :]  # above it are the arrays it fills
    board.say(f"The graph of one point, for any number of them:\n\n{textwrap.indent(code, '  ')}")
    slow, once, fast = np.diff(times) / (STEPS, 1, STEPS)
    board.say(
        f"a step takes {1e3 * slow:.1f} ms eagerly, {1e3 * fast:.3f} ms replayed: "
        f"{slow / fast:.0f} times faster, once recorded in {1e3 * once:.0f} ms"
    )
    apart = max(abs(x - y) for x, y in zip(losses, again))
    board.check(f"their losses differ by at most {apart:.0e} in {STEPS} steps", apart < 1e-12)
    for net in model, twin:
        right = sum((net(point) > 0) == (side > 0) for point, side in zip(points, sides))
        board.check(f"after {STEPS} steps, {right} of 100 points are on their side", right == 100)

    score = model([mx.Value(x, name) for x, name in zip(points[0], "xy")])
    model.zero_grad()
    score.backward()
    picture = mx.draw(score, title="one point of the moons: what its score depends on")
    board.draw("micrograd_moons", picture, "One point, layer by layer: the graph that is recorded.")
    return f"{1e3 * slow:.1f} ms a step eagerly, {1e3 * fast:.3f} ms replayed; losses equal"


def cost(model: mx.nn.MLP, scores: Any, sides: Any) -> mx.Value:
    """The hinge loss of one score or of many, and 1e-4 times the sum of all squared parameters."""
    parameters = model.parameters()
    return mx.nn.hinge_loss(scores, sides) + 1e-4 * mx.dot(parameters, parameters)
