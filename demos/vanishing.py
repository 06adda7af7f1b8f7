"""Why does a deep sigmoid net stop learning? Its neurons don't die: their gradients vanish.

On the way from the loss to a weight, the gradient passes one factor σ′ ≤ 0.25 in every layer.
Six sigmoid layers are trained on the iris data; then one flower's graph shows each factor.
"""

import math
import textwrap
from pathlib import Path

import microgradx as mx
from demos.plumbing import SPECIES, check, iris, progress, save
from microgradx.engine import Edge, order

DEPTH, EPOCHS, FLOWER = 6, 60, 118


def run(out: Path) -> None:
    names, flowers, species = iris()
    model = mx.nn.MLP(4, [2] * DEPTH + [3], activation="sigmoid", init="glorot", seed=1)
    train(model, flowers, species)

    inputs = [mx.Value(x, name) for x, name in zip(flowers[FLOWER], names)]
    loss = mx.nn.cross_entropy(model(inputs), species[FLOWER])
    loss.label = "loss"
    model.zero_grad()
    loss.backward()

    flow = mx.Flow(loss)
    path = flow.path(max(inputs, key=lambda x: flow[x].mass.decades))[::-1]
    factors = [edge.partial for edge in path if edge.node.op == "sigmoid"]
    notes = running_product(path)
    for edge in path:
        if edge.input in notes:
            print(f"  {edge.input.label:14} {notes[edge.input].replace(chr(10), ', ')}")

    rates = [max(abs(w.grad) for w in layer.parameters()) for layer in model.layers]
    print(f"  largest gradient: {rates[0]:.1e} in the first layer, {rates[-1]:.1e} in the last")
    sigmoids = [edge.partial for node in order(loss) for edge in node.edges if node.op == "sigmoid"]
    check(f"each of the {len(sigmoids)} factors σ′ is at most 0.25", max(sigmoids) <= 0.25)
    check(f"{DEPTH} of them multiply to at most 0.25^{DEPTH}", math.prod(factors) <= 0.25**DEPTH)
    check("the first layer learns 1000 times slower than the last", rates[0] < rates[-1] / 1000)

    picture = mx.draw(
        loss,
        title=f"iris {FLOWER} ({SPECIES[species[FLOWER]]}) in a net of six sigmoid layers:\n"
        "the gradient starts at the loss and fades on its way down",
        note=lambda node: notes.get(node, ""),
        without=model.parameters(),
        direction="BT",
    )
    save(picture, out, "vanishing")

    weight = model.layers[0].neurons[0].weight[2]  # of the petal length
    print(textwrap.indent(str(mx.why(weight, loss)), "  "))
    others = set(model.parameters()) - {weight}
    picture = mx.draw(loss, explain=weight, without=others, direction="BT")
    save(picture, out, "vanishing_why")


def train(model: mx.nn.MLP, flowers: list[list[float]], species: list[int]) -> None:
    sgd = mx.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    for epoch in range(EPOCHS):
        loss = mx.nn.cross_entropy([model(flower) for flower in flowers], species)
        progress(f"  epoch {epoch:2d}  loss {loss.data:.4f}  (guessing: ln 3 = 1.0986)")
        model.zero_grad()
        loss.backward()
        sgd.step()
    progress(f"  after {EPOCHS} epochs: loss {loss.data:.4f}  (guessing: ln 3 = 1.0986)", last=True)


def running_product(path: list[Edge]) -> dict[mx.Value, str]:
    """For each node behind a sigmoid: the product so far, its ceiling, and the decades crossed."""
    notes: dict[mx.Value, str] = {}
    so_far, passed, decade = 1.0, 0, 0
    for edge in path:
        lines = []
        if edge.node.op == "sigmoid":
            passed, so_far = passed + 1, so_far * edge.partial
            lines.append(f"σ′ so far {so_far:.3g} ≤ 0.25^{passed} = {0.25**passed:.3g}")
        here = math.floor(math.log10(abs(edge.input.grad)))
        if here < decade:
            lines.append(f"grad falls below 10^{here + 1}" if here < -1 else "grad falls below 1")
            decade = here
        if lines:
            notes[edge.input] = "\n".join(lines)
    return notes
