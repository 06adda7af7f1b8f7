"""ReLUs die.

How? By one step that is too large. A 4-3-3 net learns the iris data; then a step at twenty times
the rate pushes a neuron so low that its ReLU is off on all 150 flowers. There its local derivative
is 0: no gradient reaches its weights, so that no step moves them again. Claim 11 has a remedy.
"""

from __future__ import annotations

import microgradx as mx
from demos.plumbing import SPECIES, Board, iris

NAMES, FLOWERS, KINDS = iris()
RATES, FLOWER = [0.1] * 30 + [2.0] + [0.1] * 30, 118  # the 31st step is too large


def learn(model: mx.nn.MLP, layer: int, rates: list[float]) -> list[list[int]]:
    """After each step, on how many flowers each of a layer's ReLUs is off."""
    sgd, off = mx.optim.SGD(model.parameters(), lr=rates[0]), []

    def watch(epoch: object) -> None:
        ys = FLOWERS
        for each in model.layers[: layer + 1]:
            ys = each.predict(ys)
        off.append((ys == 0).sum(axis=0).tolist())
        sgd.lr = [*rates, 0.0][len(off)]

    mx.fit(model, FLOWERS, KINDS, loss="cross_entropy", optimizer=sgd, epochs=len(rates),
           batch_size=None, on_epoch=watch)
    return off


def loss_of(model: mx.nn.MLP, i: int) -> tuple[mx.Value, list[mx.Value]]:
    """The loss of a flower after a sweep, and its features."""
    inputs = [mx.Value(x, name) for x, name in zip(FLOWERS[i], NAMES)]
    loss = mx.nn.cross_entropy(model(inputs), KINDS[i])
    loss.label = "loss"
    model.zero_grad()
    loss.backward()
    return loss, inputs


def taught(model: mx.nn.MLP, part: mx.nn.Module) -> bool:
    """Whether any flower has a gradient for any parameter of a part."""
    return any(loss_of(model, i) and any(p.grad for p in part.parameters()) for i in range(150))


def run(board: Board) -> str:
    model = mx.nn.MLP(4, [3, 3], seed=3)
    off = learn(model, 0, RATES)
    for step in 30, 31, 61:
        board.say(f"after step {step}, ReLUs are off on {off[step - 1]} of {len(FLOWERS)} flowers")
    dead = [i for i in range(3) if off[29][i] < off[30][i] == off[60][i] == len(FLOWERS)]
    board.check("step 31 kills one neuron, and 30 more do not revive it", len(dead) == 1)
    name, neuron = f"layers.0[{dead[0]}]", model.layers[0].neurons[dead[0]]
    board.check(f"{name} is locked: no flower has a gradient for what it depends on",
                not taught(model, neuron))
    deep = mx.nn.MLP(4, [3, 3, 3], seed=21)  # its layers.1[1] is born dead
    revivable = not taught(deep, deep.layers[1].neurons[1]) and taught(deep, deep.layers[0])
    on = len(FLOWERS) - learn(deep, 1, [0.1] * 100)[-1][1]
    board.check("one in a second layer is revivable, as its neighbours teach what it reads: 100 "
                f"steps later it is on for {on} flowers", revivable and on > 0)

    loss, inputs = loss_of(model, FLOWER)
    box = {x: (min(column), max(column)) for x, column in zip(inputs, zip(*FLOWERS))}
    gates = {node.label: gate for node, gate in mx.bounds.Bounds(loss, box).gates.items()}
    board.check(f"{name} is proved dead for all flowers of such sizes: z ≤ {gates[name].z.hi:.2f}",
                gates[name].verdict == "proved dead" and gates[name].z.hi < 0)
    weight = neuron.weight[2]  # of the petal length
    title = f"{name} is a dead ReLU: off on this {SPECIES[2]} and on all {len(FLOWERS)} flowers"
    others = set(model.parameters()) - set(neuron.parameters())
    board.draw("dead_relu", mx.draw(loss, title=title, without=others), "The bar stands across "
               "the edge where the gradient stops; what lies behind it is starved.")
    board.say(mx.why(weight, loss))
    board.page("dead_relu", loss, "Step through it: the gradient arrives at the bar.",
               title="A dead ReLU", without=set(model.parameters()) - {weight})
    return f"step 31 kills {name}: off on 150 of 150 flowers, proved dead on their box, locked"
