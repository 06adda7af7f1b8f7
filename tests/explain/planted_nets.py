"""Nets with one fault planted in them, which is known from the planting alone.

`python -m tests.explain.planted_nets 1000` plants as many, and prints those not found.
"""

import math
import random
import re
import sys
from collections import Counter
from typing import NamedTuple

import microgradx as mx
from microgradx import Flow, nn, why
from microgradx._base.text import place


class Plant(NamedTuple):
    """A node, its output, and what is to be found: a verdict, its first causes, and the layer."""

    node: mx.Value
    loss: mx.Value
    verdict: str
    causes: tuple = ()
    layer: str = ""
    says: str = ""  # a piece of a sentence
    never: str = "optimum"
    norm: float = 0.0  # R, where it is known

    def is_cancelled(self):
        """Whether its paths happen to cancel, as one gradient in 1,250 does."""
        if not self.norm:
            return False
        self.loss.backward()
        return abs(self.node.grad) < self.norm / 900

    def missed(self):
        """What was said instead, "" if all was found."""
        it = why(self.node, Flow(self.loss))
        text = " ".join(str(it).split())
        found = it.verdict == self.verdict and tuple(it.causes[: len(self.causes)]) == self.causes
        found = found and (bool(self.causes) or not it.causes)
        found = found and self.says in text and not (self.never and self.never in text)
        return "" if found and self.layer in ("", *named(it, text)) else f"{self}\n{it}"


def named(it, text):
    """The layers that an explanation names: where it stops, what is to blame, most of it."""
    edges = it.where or it.culprits
    if edges:
        return {place(edge.node.label)[0] for edge in edges}
    return re.findall(r"Most of it is the doing of (\S+):", text)


# --- the soil: nets in which nothing is wrong -----------------------------------------------------

INITS = {"relu": "he", "tanh": "glorot", "sigmoid": "glorot", "gelu": "he"}


class Soil:
    """A healthy net, a batch with inputs of size 1, and targets."""

    def __init__(self, rng, *activations, output=None, hidden=(2, 5), samples=(1, 6), classes=1):
        self.rng, self.activation = rng, rng.choice(activations)
        width = rng.randrange(6, 15)
        widths = [width] * rng.randrange(*hidden)
        self.n = rng.randrange(*samples)
        self.binary = output is None and rng.random() < 0.5
        self.model = nn.MLP(
            4, [*widths, classes], self.activation, output, INITS[self.activation], seed=rng
        )
        self.hidden = self.model.layers[:-1]
        self.X = [[rng.choice([-1, 1]) * rng.uniform(0.5, 1.5) for _ in range(4)]
                  for _ in range(self.n)]  # fmt: skip
        self.y = [rng.choice([-1, 1]) * rng.uniform(1.0, 2.0) for _ in range(self.n)]

    def loss(self):
        scores = [self.model(x) for x in self.X]
        if len(self.model.layers[-1].neurons) > 1:
            return nn.cross_entropy(scores, [self.rng.randrange(3) for _ in self.y])
        if self.binary:
            return nn.binary_cross_entropy_with_logits(scores, [float(t > 0) for t in self.y])
        return nn.mse_loss(scores, self.y)

    def residual(self, y, t):
        """∂loss/∂y of one sample."""
        if self.binary:
            return (-1 if t > 0 else 1) / (1 + math.exp(min(y if t > 0 else -y, 700.0))) / self.n
        return 2 * (y - t) / self.n

    def norms(self):
        """By layer the path norm of the biases, worked out with matrices alone."""
        numbers = [forward(self.model, x) for x in self.X]
        total = [[0.0] * len(layer.neurons) for layer in self.model.layers]
        for (zs, y), t in zip(numbers, self.y):
            above = [self.residual(y, t) ** 2]
            for k in range(len(zs) - 1, -1, -1):
                layer = self.model.layers[k]
                end = None if k == len(zs) - 1 else self.activation
                above = [a * slope(end, z) ** 2 for a, z in zip(above, zs[k])]
                total[k] = [a + b for a, b in zip(total[k], above)]
                columns = zip(*(neuron.weight for neuron in layer.neurons))
                above = [sum(w.data**2 * a for w, a in zip(c, above)) for c in columns]
        return [[math.sqrt(x) for x in xs] for xs in total]

    def beyond(self, k, i):
        """By how many decades the path norm of a bias lies above the output's."""
        norms = self.norms()
        return math.log10(norms[k][i] / norms[-1][0]) if norms[k][i] else -math.inf

    def alive(self, k):
        """A neuron of a layer that lets something through."""
        norms = self.norms()[k]
        found = [i for i, x in enumerate(norms) if x]
        return self.rng.choice(found) if found else None


def slope(activation, z):
    if activation == "relu":
        return float(z > 0)
    if activation == "tanh":
        return 4 * math.exp(-2 * abs(z)) / (1 + math.exp(-2 * abs(z))) ** 2
    return math.exp(-abs(z)) / (1 + math.exp(-abs(z))) ** 2 if activation else 1.0


def forward(model, x):
    """The pre-activations of every layer, and the output."""
    zs = []
    for layer in model.layers:
        zs.append([n.bias.data + sum(w.data * a for w, a in zip(n.weight, x))
                   for n in layer.neurons])  # fmt: skip
        act = {"relu": lambda z: max(z, 0.0), "tanh": math.tanh,
               "sigmoid": lambda z: 1 / (1 + math.exp(-max(z, -700.0)))}  # fmt: skip
        x = [act.get(layer.neurons[0].activation and layer.neurons[0].activation.__name__,
                     lambda z: z)(z) for z in zs[-1]]  # fmt: skip
    return zs, x[0]


# --- plants ---------------------------------------------------------------------------------------


def scaled_initialiser(rng):
    """One layer's weights times 10^±1 to 10^±4: of a bias below it, beside its healthy twin."""
    soil = Soil(rng, "relu", "tanh")
    power = rng.choice([-1, 1] if soil.activation == "relu" else [-1]) * rng.uniform(1, 4)
    k = rng.randrange(1, len(soil.model.layers))
    for neuron in soil.model.layers[k].neurons:
        for w in neuron.weight:
            w.data *= 10**power
    j = rng.randrange(k)
    i = soil.alive(j)
    if i is None:
        return None
    beyond = soil.beyond(j, i)
    if min(abs(beyond + 3), abs(beyond - 2)) < 0.01:
        return None  # at a limit
    loss = soil.loss()
    node = soil.model.layers[j].neurons[i].bias
    norm = soil.norms()[j][i]
    if -3 < beyond < 2:
        return Plant(node, loss, "healthy", never="", norm=norm)
    if (beyond > 0) != (power > 0):
        return None  # where the loss is near its optimum, in the neuron's only sample
    layer = f"layers.{k}" if abs(power) > 2.5 else ""  # else others may do more
    return Plant(node, loss, "small" if power < 0 else "large", ("weight scale",), layer,
                 norm=norm)  # fmt: skip


def saturated_layer(rng):
    """Biases, or weights, that put every neuron of a layer far out."""
    soil = Soil(rng, "tanh", "sigmoid", classes=rng.choice([1, 3]))
    k = rng.randrange(len(soil.hidden))
    far = rng.uniform(8, 14) * (1 if soil.activation == "tanh" else 2)
    for neuron in soil.hidden[k].neurons:
        neuron.bias.data = rng.choice([-far, far])
    j = rng.randrange(k + 1)
    node = soil.hidden[j].neurons[rng.randrange(len(soil.hidden[j].neurons))].bias
    return Plant(node, soil.loss(), "small", ("saturation",), f"layers.{k}")


def large_weights_saturate(rng):
    """Weights times 100, where no neuron happens to be near its middle."""
    soil = Soil(rng, "tanh", hidden=(1, 4), samples=(1, 3), classes=rng.choice([1, 3]))
    k = rng.randrange(len(soil.hidden))
    for neuron in soil.hidden[k].neurons:
        for w in neuron.weight:
            w.data *= rng.uniform(100, 200)
    zs = [z for x in soil.X for z in forward(soil.model, x)[0][k]]
    if min(map(abs, zs)) < 9:
        return None
    i = rng.randrange(len(soil.hidden[k].neurons))
    return Plant(soil.hidden[k].neurons[i].bias, soil.loss(), "small", ("saturation",),
                 f"layers.{k}")  # fmt: skip


def unscaled_inputs(rng):
    """Inputs times 10^±4 to 10^±6 before ReLUs: of a weight of the first layer."""
    soil = Soil(rng, "relu")
    up = rng.random() < 0.5
    power = rng.uniform(4, 6) * (1 if up else -1)
    soil.X = [[x * 10**power for x in row] for row in soil.X]
    i = soil.alive(0)
    if i is None:
        return None
    node = soil.hidden[0].neurons[i].weight[rng.randrange(4)]
    cause = "inputs" if up else "small inputs"
    return Plant(node, soil.loss(), "large" if up else "small", (cause,), "layers.0")


def inputs_saturate(rng):
    """Inputs of size 100 before a sigmoid or a tanh, where no z happens to be near 0."""
    soil = Soil(rng, "tanh", "sigmoid", samples=(1, 3))
    soil.X = [[x * rng.uniform(50, 150) for x in row] for row in soil.X]
    zs = [abs(z) for x in soil.X for z in forward(soil.model, x)[0][0]]
    if min(zs) < (9 if soil.activation == "tanh" else 18) or max(zs) > 350:
        return None  # beyond, an ordinary slope underflows
    node = rng.choice(soil.hidden[0].neurons).bias
    return Plant(node, soil.loss(), "small", ("saturation",), "layers.0")


class Skips(nn.Module):
    """A layer, blocks with a way round each, and an output."""

    def __init__(self, rng, activation, width, blocks):
        self.first = nn.Layer(4, width, activation, INITS[activation], rng)
        self.blocks = [
            nn.Residual(nn.Layer(width, width, activation, INITS[activation], rng))
            for _ in range(blocks)
        ]
        self.out = nn.Layer(width, 1, None, INITS[activation], rng)

    def __call__(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.out(x)


def dead_layer_with_a_way_round(rng):
    """Asked about a weight of the dead block, which is stopped, or of the first, which is not."""
    model = Skips(rng, "relu", rng.randrange(5, 12), rng.randrange(1, 5))
    k = rng.randrange(len(model.blocks))
    dead = model.blocks[k].block
    for neuron in dead.neurons:
        neuron.bias.data = -1000.0
    X = [[rng.gauss(0, 1) for _ in range(4)] for _ in range(rng.randrange(1, 6))]
    loss = nn.mse_loss([model(x) for x in X], [rng.uniform(3, 6) for _ in X])
    if rng.random() < 0.5:
        neuron = rng.choice(dead.neurons)
        return Plant(neuron.bias, loss, "stopped", ("relu off",), f"blocks.{k}.block")
    on = [n for n in model.first.neurons
          if any(sum(w.data * a for w, a in zip(n.weight, x)) > 0 for x in X)]  # fmt: skip
    return Plant(rng.choice(on).bias, loss, "healthy") if on else None


def scaled_block(rng):
    """The weights of a block times 1e-4, which paths go round, or 1e4, which they do not."""
    model = Skips(rng, "relu", rng.randrange(5, 12), rng.randrange(1, 5))
    k, power = rng.randrange(len(model.blocks)), rng.choice([-1, 1]) * rng.uniform(4, 6)
    block = model.blocks[k].block
    for neuron in block.neurons:
        for w in neuron.weight:
            w.data *= 10**power
    X = [[rng.gauss(0, 1) for _ in range(4)] for _ in range(rng.randrange(1, 6))]
    loss = nn.mse_loss([model(x) for x in X], [rng.uniform(3, 6) for _ in X])
    nodes = mx.engine.order(loss)
    if any(not sum(x.data > 0 for x in nodes if x.label == f"{name}[{i}]")
           for name, layer in (("first", model.first), (f"blocks.{k}.block", block))
           for i in range(len(layer.neurons))):  # fmt: skip
        return None  # a neuron is off on all samples
    bias = rng.choice(model.first.neurons).bias
    if power < 0:
        return Plant(bias, loss, "healthy")
    return Plant(bias, loss, "large", ("weight scale",), f"blocks.{k}.block")


def scaled_loss(rng):
    """A loss times 10^±5 to 10^±9: nothing is wrong but its scale, and it is at no optimum."""
    soil = Soil(rng, "relu", "tanh")
    power = rng.choice([-1, 1]) * rng.uniform(5, 9)
    j = rng.randrange(len(soil.hidden))
    i = soil.alive(j)
    if i is None or not -2.9 < soil.beyond(j, i) < 1.9:
        return None
    says = f"The loss is on a {'small' if power < 0 else 'large'} scale"
    node = soil.hidden[j].neurons[i].bias
    norm = soil.norms()[j][i] * 10**power
    return Plant(node, soil.loss() * 10**power, "healthy", says=says, norm=norm)


def targets_out_of_range(rng):
    """A sigmoid, or a ReLU, at the output that has gone as far towards its targets as it can."""
    output = rng.choice(["sigmoid", "relu"])
    soil = Soil(rng, "tanh", "relu", output=output)
    last = soil.model.layers[-1]
    soil.y = [-rng.uniform(10, 50) for _ in soil.X]
    last.neurons[0].bias.data = -1000.0 if output == "relu" else -rng.uniform(20, 40)
    node = rng.choice([last.neurons[0].bias, last.neurons[0].bias])
    verdict, cause = ("stopped", "relu off") if output == "relu" else ("small", "saturation")
    return Plant(node, soil.loss(), verdict, (cause,), f"layers.{len(soil.hidden)}")


class Normed(nn.Module):
    """Layers with a norm before each activation."""

    def __init__(self, rng, width, depth):
        self.act = rng.choice(["tanh", "sigmoid", "relu"])
        self.hidden = [nn.Layer(width if i else 4, width, None, INITS[self.act], rng)
                       for i in range(depth)]  # fmt: skip
        self.norms = [nn.BatchNorm(width) for _ in range(depth)]
        self.out = nn.Layer(width, 1, None, "glorot", rng)

    def __call__(self, xs):
        for layer, norm in zip(self.hidden, self.norms):
            xs = norm([layer(x) for x in xs])
            xs = [[getattr(z, self.act)() for z in row] for row in xs]
        return [self.out(x) for x in xs]


def normed(rng, equal):
    model = Normed(rng, rng.randrange(3, 8), rng.randrange(1, 4))
    n = rng.randrange(3, 8)
    X = [[rng.gauss(0, 1) for _ in range(4)] for _ in range(n)]
    loss = nn.mse_loss(model([X[0]] * n if equal else X), [rng.gauss(0, 1) for _ in X])
    return model, loss, rng.randrange(len(model.hidden))


def equal_samples(rng):
    """A batch of one sample, many times, before a norm."""
    model, loss, k = normed(rng, equal=True)
    neuron = rng.choice(model.hidden[k].neurons)
    node = rng.choice([neuron.bias, *neuron.weight])
    if not any(sweep(loss, node)):
        return None  # no path, as a ReLU behind it is off or a layer below is
    return Plant(node, loss, "cancelled", ("opposing samples", "equal samples"))


def bias_before_a_norm(rng):
    model, loss, k = normed(rng, equal=False)
    node = rng.choice(model.hidden[k].neurons).bias
    if not any(sweep(loss, node)):
        return None
    return Plant(node, loss, "cancelled", ("opposing samples", "before a norm"))


def sweep(loss, node):
    """The contributions to a gradient."""
    loss.backward()
    readers = [x for x in mx.engine.order(loss) if node in x.inputs]
    return [d * x.grad for x in readers for a, d in zip(x.inputs, x.partials) if a is node]


def symmetric_start(rng):
    """Weights that are all 0: equal outputs, and nothing gets below the output layer."""
    soil = Soil(rng, "tanh", "sigmoid", hidden=(2, 5), samples=(1, 4))
    for p in soil.model.parameters():
        p.data = 0.0
    soil.X += [[-x for x in row] for row in soil.X]
    soil.y += [-t for t in soil.y]
    loss = soil.loss()
    last = len(soil.hidden)
    if rng.random() < 0.5:
        causes = ("opposing samples", "equal outputs")
        return Plant(soil.model.layers[-1].neurons[0].bias, loss, "cancelled", causes)
    k = rng.randrange(last)
    return Plant(rng.choice(soil.hidden[k].neurons).bias, loss, "stopped", ("zero weight",),
                 f"layers.{k + 1}")  # fmt: skip


PLANTS = [
    scaled_initialiser, saturated_layer, large_weights_saturate, unscaled_inputs, inputs_saturate,
    dead_layer_with_a_way_round, scaled_block, scaled_loss, targets_out_of_range, equal_samples,
    bias_before_a_norm, symmetric_start,
]  # fmt: skip


def planted(number):
    """Plant number so-and-so: each kind in turn, and its name."""
    make = PLANTS[number % len(PLANTS)]
    rng = random.Random(f"planted net {number}")
    while (plant := make(rng)) is None or plant.is_cancelled():
        pass
    return make.__name__, plant


if __name__ == "__main__":
    tried, wrong = Counter(), Counter()
    for number in range(int(sys.argv[1])):
        name, plant = planted(number)
        tried[name] += 1
        if missed := plant.missed():
            wrong[name] += 1
            print(number, name, missed, "\n")
    for name in tried:
        print(f"{name:32}{tried[name]:5} planted, {wrong[name]} not found")
