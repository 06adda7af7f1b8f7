"""ReLUs die.

How? By one step that is too large. A 4-3-3 net learns the iris data; then a step at twenty times
the rate pushes a neuron so low that its ReLU is off on all 150 flowers. There its local derivative
is 0: no gradient reaches its weights, so that no step moves them again. Claim 11 has a remedy.
"""

import microgradx as mx
from demos.plumbing import SPECIES, Board, iris

NAMES, FLOWERS, KINDS = iris()
RATES = [0.1] * 30 + [2.0] + [0.1] * 30  # the 31st step is too large
ALL, FLOWER = len(FLOWERS), 118


def learn(model: mx.nn.MLP, layer: int, rates: list[float]) -> list[list[int]]:
    """On how many flowers each ReLU of a layer is off, at first and after each step."""
    counts = []
    for rate in [0.0, *rates]:  # a step of size 0 moves nothing
        sgd = mx.optim.SGD(model.parameters(), lr=rate)
        mx.fit(
            model, FLOWERS, KINDS, loss="cross_entropy", optimizer=sgd, epochs=1, batch_size=None
        )
        ys = FLOWERS
        for each in model.layers[: layer + 1]:
            ys = each.predict(ys)
        counts.append((ys == 0).sum(axis=0).tolist())
    return counts


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
    for i in range(ALL):
        loss_of(model, i)
        if any(p.grad for p in part.parameters()):
            return True
    return False


def run(board: Board) -> str:
    model = mx.nn.MLP(4, [3, 3], seed=3)
    counts = learn(model, 0, RATES)
    for step in 30, 31, 61:
        board.say(f"after step {step}, ReLUs are off on {counts[step]} of {ALL} flowers")
    dead = [i for i in range(3) if counts[30][i] < counts[31][i] == counts[61][i] == ALL]
    board.check("step 31 kills one neuron, and 30 more do not revive it", len(dead) == 1)
    name, neuron = f"layers.0[{dead[0]}]", model.layers[0].neurons[dead[0]]
    board.check(f"{name} is locked: no flower teaches its weights", not taught(model, neuron))
    deep = mx.nn.MLP(4, [3, 3, 3], seed=21)  # its layers.1[1] is born dead
    revivable = not taught(deep, deep.layers[1].neurons[1]) and taught(deep, deep.layers[0])
    first, *_, last = [count[1] for count in learn(deep, 1, [0.1] * 100)]
    board.check(
        f"one in a second layer, off on {first} too, is revivable: neighbours teach what "
        f"it reads, and 100 steps later it is off on {last}",
        revivable and last < first == ALL,
    )

    loss, inputs = loss_of(model, FLOWER)
    box = {x: (min(column), max(column)) for x, column in zip(inputs, zip(*FLOWERS))}
    gates = {node.label: gate for node, gate in mx.bounds.Bounds(loss, box).gates.items()}
    board.check(
        f"{name} is proved dead for all flowers of such sizes: z ≤ {gates[name].z.hi:.2f}",
        gates[name].verdict == "proved dead" and gates[name].z.hi < 0,
    )
    title = f"{name} is a dead ReLU: off on this {SPECIES[2]} and on all {ALL} flowers"
    petal_length = neuron.weight[2]
    picture = mx.draw(loss, title=title, explain=petal_length)
    board.draw(
        "dead_relu",
        picture,
        "The bar stands where the gradient stops; what lies behind it is starved.",
    )
    board.say(*mx.why(petal_length, loss).sentences)
    board.page(
        "dead_relu",
        loss,
        "Step through it: the gradient arrives at the bar.",
        title="A dead ReLU",
        without=set(model.parameters()) - set(neuron.parameters()),
    )
    return f"step 31 kills {name}: off on {ALL} of {ALL} flowers, proved dead on their box, locked"
