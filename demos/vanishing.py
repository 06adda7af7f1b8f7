"""Sigmoid neurons don't die, they vanish: σ′ ≤ 0.25, and a product of such factors falls fast.

Why does a deep sigmoid net stop learning? On the way from the loss to a weight, the gradient
passes one factor σ′ ≤ 0.25 in every layer: one flower's graph shows each, after training on the
iris data, in cm from the mean. With a way round each inner layer, as in residual nets, it learns.
"""

import math

import numpy as np

import microgradx as mx
from demos.plumbing import SPECIES, Board, iris
from microgradx.engine import Edge, order

DEPTH, FLOWER = 6, 118
WIDTHS = [2] * DEPTH + [3]


def trained(model: mx.nn.MLP) -> tuple[list[mx.Value], mx.Value, float, float]:
    """A flower, its loss, how much slower the first layer learns from it, and the mean loss."""
    names, flowers, species = iris()
    flowers = np.array(flowers) - np.mean(flowers, axis=0)
    sgd = mx.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    history = mx.fit(
        model, flowers, species, loss="cross_entropy", optimizer=sgd, epochs=200, batch_size=None
    )
    inputs = [mx.Value(x, name) for x, name in zip(flowers[FLOWER], names)]
    loss = mx.nn.cross_entropy(model(inputs), species[FLOWER])
    loss.label = "loss"
    model.zero_grad()
    loss.backward()
    first, *_, last = (max(abs(p.grad) for p in layer.parameters()) for layer in model.layers)
    return inputs, loss, last / first, history[-1].loss


def run(board: Board) -> str:
    plain, residual = (mx.nn.MLP(4, WIDTHS, "sigmoid", init="glorot", seed=1) for _ in range(2))
    first, *inner, last = residual.layers
    residual.layers = [first, *map(mx.nn.Residual, inner), last]
    inputs, loss, slower, stuck = trained(plain)
    *_, cured, learnt = trained(residual)
    flow = mx.Flow(loss)
    path = flow.path(max(inputs, key=lambda x: flow[x].norm.decades))[::-1]
    notes, product = running_product(path)
    for node, note in notes.items():
        board.say(f"{node.label:14} {note.replace(chr(10), ', ')}")
    sigmoids = [edge.partial for node in order(loss) for edge in node.edges if node.op == "sigmoid"]
    board.check(f"each of the {len(sigmoids)} factors σ′ is at most 0.25", max(sigmoids) <= 0.25)
    board.check(
        f"{DEPTH} of them multiply to {product:.1e}, below 0.25^{DEPTH} = {0.25**DEPTH:.1e}",
        product <= 0.25**DEPTH,
    )
    board.check(f"the first layer learns {slower:,.0f} times slower than the last", slower > 1000)
    board.check(
        f"as residual net {cured:.1f} times; its loss is {learnt:.2f}, not ln 3 (guessing)",
        cured < 10 and learnt < stuck / 4 and abs(stuck - math.log(3)) < 0.01,
    )
    title = (
        f"iris {FLOWER} ({SPECIES[2]}) in a net of {DEPTH} sigmoid layers:\n"
        "the gradient starts at the loss and fades on its way down"
    )
    picture = mx.draw(loss, title=title)
    board.draw(
        "vanishing",
        picture,
        "The darker, the larger is the gradient. Each σ′ takes its "
        "part, and each node where it falls below a decade says so.",
    )
    board.say(*mx.why(plain.layers[0].neurons[0].weight[2], loss).sentences)
    return f"{DEPTH} factors multiply to {product:.1e}; layer 0 learns {slower:,.0f} times slower"


def running_product(path: list[Edge]) -> tuple[dict[mx.Value, str], float]:
    """Of each node behind a sigmoid, the product so far and its ceiling; and that of them all."""
    notes, so_far, passed, decade = {}, 1.0, 0, 0
    for edge in path:
        lines = []
        if edge.node.op == "sigmoid":
            passed, so_far = passed + 1, so_far * edge.partial
            lines.append(f"σ′ so far {so_far:.3g} ≤ 0.25^{passed} = {0.25**passed:.3g}")
        here = math.floor(math.log10(abs(edge.input.grad)))
        if here < decade:
            lines.append(f"grad falls below 10^{here + 1}" if here < -1 else "grad falls below 1")
            decade = here
        notes |= {edge.input: "\n".join(lines)} if lines else {}
    return notes, so_far
