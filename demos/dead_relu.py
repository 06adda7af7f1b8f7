"""How does a ReLU die? One step that is too large, and no gradient ever reaches its weights again.

A 4-3-3 net learns the iris data. One step at twenty times the learning rate pushes a neuron so
low that its ReLU is off on all 150 flowers. There the ReLU's local derivative is 0: the picture
shows the bar across that very edge. Thirty more steps at the old rate can't move the neuron.
"""

import textwrap
from pathlib import Path

import microgradx as mx
from demos.plumbing import SPECIES, check, iris, save, save_page

STEPS, RATE, TOO_LARGE, SEED, FLOWER = 30, 0.1, 20, 3, 118


def run(out: Path) -> None:
    names, flowers, species = iris()
    model = mx.nn.MLP(4, [3, 3], seed=SEED)
    sgd = mx.optim.SGD(model.parameters(), lr=RATE)

    def learn(steps: int) -> list[int]:
        """Descend; then for each hidden neuron, on how many flowers its ReLU is off."""
        for _ in range(steps):
            loss = mx.nn.cross_entropy([model(flower) for flower in flowers], species)
            model.zero_grad()
            loss.backward()
            sgd.step()
        outputs = [model.layers[0](flower) for flower in flowers]
        off = [sum(y.data == 0 for y in neuron) for neuron in zip(*outputs)]
        print(f"  {steps:2d} steps at {sgd.lr:g}: ReLUs off on {off} of {len(flowers)} flowers")
        return off

    before = learn(STEPS)
    sgd.lr = TOO_LARGE * RATE
    after = learn(1)
    dead = [i for i in range(3) if before[i] < after[i] == len(flowers)]
    check("the one large step has killed exactly one neuron", len(dead) == 1)
    neuron = model.layers[0].neurons[dead[0]]
    killed = neuron.state_dict()
    sgd.lr = RATE
    learn(STEPS)
    check("its weights got no gradient at all", all(p.grad == 0 for p in neuron.parameters()))
    check("30 more steps have not moved it by one bit", neuron.state_dict() == killed)

    inputs = [mx.Value(x, name) for x, name in zip(flowers[FLOWER], names)]
    loss = mx.nn.cross_entropy(model(inputs), species[FLOWER])
    loss.label = "loss"
    model.zero_grad()
    loss.backward()
    picture = mx.draw(
        loss,
        title=f"layers.0[{dead[0]}] is a dead ReLU: off on this {SPECIES[species[FLOWER]]} "
        f"and on all {len(flowers)} flowers",
        without=set(model.parameters()) - set(neuron.parameters()),
    )
    print(f"  {picture!r}")
    check("the picture's only STOP is at that ReLU", picture.source.count("<br/>STOP<") == 1)
    save(picture, out, "dead_relu")

    weight = neuron.weight[2]  # of the petal length
    print(textwrap.indent(str(mx.why(weight, loss)), "  "))
    others = set(model.parameters()) - {weight}
    save(mx.draw(loss, explain=weight, without=others), out, "dead_relu_why")
    save_page(loss, out, "dead_relu", title="A dead ReLU", without=others)
