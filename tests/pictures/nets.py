"""The graphs that a picture must fit on a screen, by name."""

import csv
import random
from collections.abc import Callable
from pathlib import Path

import microgradx as mx
from microgradx import nn
from microgradx.engine import Value

LECTURE = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
TARGETS = [1.0, -1.0, -1.0, 1.0]

GRAPHS: dict[str, Callable[[], Value]] = {}


def graph(name, *arguments):
    """Enter a graph that is made of these arguments."""

    def entered(make):
        GRAPHS[name] = lambda: make(*arguments)
        return make

    return entered


def samples(n, width, size=1.0, seed=3):
    rng = random.Random(seed)
    return [[rng.uniform(-size, size) for _ in range(width)] for _ in range(n)]


def classes(n, of, seed=4):
    rng = random.Random(seed)
    return [rng.randrange(of) for _ in range(n)]


@graph("the lecture's neuron")
def neuron():
    x1, x2 = Value(2.0, "x1"), Value(0.0, "x2")
    w1, w2 = Value(-3.0, "w1"), Value(1.0, "w2")
    b = Value(6.8813735870195432, "b")
    o = (x1 * w1 + x2 * w2 + b).tanh()
    o.label = "o"
    return o


@graph("the lecture's net, ReLU, 1 sample", "relu", 1)
@graph("the lecture's net, ReLU, 4 samples", "relu", 4)
@graph("the lecture's net, ReLU, 60 samples", "relu", 60)
@graph("the lecture's net, tanh, 1 sample", "tanh", 1)
@graph("the lecture's net, tanh, 4 samples", "tanh", 4)
@graph("the lecture's net, tanh, 60 samples", "tanh", 60)
def lecture(activation, n):
    model = nn.MLP(3, [4, 4, 1], activation=activation, seed=1)
    xs = LECTURE[:n] if n <= 4 else samples(n, 3, 4.0)
    ys = TARGETS[:n] if n <= 4 else [2.0 * c - 1.0 for c in classes(n, 2)]
    return mx.sum([(model(x) - y) ** 2 for x, y in zip(xs, ys)])


@graph("moons, 1 sample", 1)
@graph("moons, 100 samples", 100)
def moons(n):
    model = nn.MLP(2, [16, 16, 1], seed=1)
    targets = [2 * c - 1 for c in classes(n, 2)]
    return nn.hinge_loss([model(x) for x in samples(n, 2)], targets)


def deep(layers, width, n):
    model = nn.MLP(4, [width] * layers + [3], activation="sigmoid", init="glorot", seed=1)
    return nn.cross_entropy([model(x) for x in samples(n, 4, 2.0)], classes(n, 3))


for _layers in (6, 9, 12):
    for _width in (2, 3, 4, 8, 16, 24):
        for _n in (1, 20):
            graph(f"{_layers} sigmoid layers of {_width}, {_n}", _layers, _width, _n)(deep)


@graph("a chain of 40", 40)
@graph("a chain of 200", 200)
def chain(n):
    y = Value(2.5, "x")
    for i in range(n):
        y = y.tanh()
        y.label = f"t{i + 1}"
    return y


def iris():
    with open(Path(__file__).parents[2] / "demos" / "iris.csv", encoding="utf-8") as file:
        rows = list(csv.reader(line for line in file if not line.startswith("#")))[1:]
    kinds = list(dict.fromkeys(row[-1] for row in rows))
    return [[float(x) for x in row[:4]] for row in rows], [kinds.index(row[-1]) for row in rows]


@graph("a dead ReLU")
def dead_relu():
    model = nn.MLP(4, [3, 3], seed=2)
    return nn.cross_entropy(model([7.7, 2.6, 6.9, 2.3]), 2)


@graph("softmax on iris")
def softmax():
    model = nn.MLP(4, [8, 3], seed=1)
    xs, ys = iris()
    return nn.cross_entropy([model(x) for x in xs], ys)


class Residual(nn.Module):
    def __init__(self):
        blocks = [nn.Residual(nn.MLP(6, [6, 6], seed=seed)) for seed in (3, 4)]
        self.layers = [nn.Layer(4, 6, seed=1), *blocks, nn.Layer(6, 1, None, seed=2)]

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


@graph("a residual net")
def residual():
    model = Residual()
    return nn.mse_loss([model(x) for x in samples(8, 4)], [1.0, -1.0] * 4)


class Normed(nn.Module):
    def __init__(self):
        layers = nn.Layer(3, 4, "tanh", seed=1), nn.BatchNorm(4), nn.Layer(4, 1, None, seed=2)
        self.layers = list(layers)

    def __call__(self, xs):
        rows = self.layers[1]([self.layers[0](x) for x in xs])
        return [self.layers[2](row) for row in rows]


@graph("a batch norm over 8 samples")
def batch_norm():
    return nn.mse_loss(Normed()(samples(8, 3)), [1.0, -1.0] * 4)


@graph("digits, 1 sample", 1)
@graph("digits, 200 samples", 200)
def digits(n):
    model = nn.MLP(64, [64, 64, 10], seed=1)
    return nn.cross_entropy([model(x) for x in samples(n, 64)], classes(n, 10))


@graph("a random graph of 20 ops", 20)
@graph("a random graph of 43 ops", 43, 10)
@graph("a random graph of 43 ops, again", 43, 10, 2)
@graph("a random graph of 100 ops", 100)
@graph("a random graph of 300 ops", 300)
@graph("a random graph of 900 ops", 900)
def tangle(ops, leaves=50, seed=0):
    """Each op reads any nodes before it."""
    rng = random.Random(seed)
    nodes = [Value(rng.uniform(-0.5, 0.5)) for _ in range(leaves)]
    for op in rng.choices(["add", "mul", "tanh", "relu"], [40, 30, 15, 15], k=ops):
        a, b = rng.choice(nodes), rng.choice(nodes)
        nodes.append(a + b if op == "add" else a * b if op == "mul" else getattr(a, op)())
    read = {x for node in nodes for x in node.inputs}
    return mx.sum([node for node in nodes if node not in read])


class Recurrent(nn.Module):
    def __init__(self):
        self.cell, self.out = nn.Layer(4, 3, "tanh", seed=1), nn.Layer(3, 1, None, seed=2)

    def __call__(self, xs):
        h = [0.0] * 3
        for x in xs:
            h = self.cell([x, *h])
        return self.out(h)


@graph("a recurrent net of 3 steps", 3)
@graph("a recurrent net of 8 steps", 8)
@graph("a recurrent net of 30 steps", 30)
@graph("a recurrent net of 100 steps", 100)
def recurrent(steps):
    return (Recurrent()([0.3 * (i + 1) for i in range(steps)]) - 1.0) ** 2


@graph("two models, 1 sample", 1)
@graph("two models, 4 samples", 4)
@graph("two models, 60 samples", 60)
def two_models(n):
    one, other = nn.MLP(3, [4, 1], seed=1), nn.MLP(3, [4, 1], seed=2)
    return mx.sum([(one(x) - other(x) - 1.0) ** 2 for x in samples(n, 3)])


@graph("a layer of 1,000", [1000])
@graph("a layer of 3,000", [3000])
@graph("20 ReLU layers of 64", [64] * 20, 1, 15)
@graph("20 ReLU layers of 64, 4 samples", [64] * 20, 4, 15)
@graph("20 ReLU layers of 16", [16] * 20)
@graph("30 ReLU layers of 20", [20] * 30, 1, 20)
@graph("10 ReLU layers of 100, 4 samples", [100] * 10, 4, 6)
@graph("60 ReLU layers of 16", [16] * 60, 1, 50)
@graph("100 ReLU layers of 4", [4] * 100, 4, 10)
def marked(widths, n=1, dead=0):
    """Many layers have neurons that are off, so many of them two whatever comes."""
    model = nn.MLP(4, [*widths, 1], seed=1)
    for layer in model.layers[:dead]:
        for neuron in layer.neurons[:2]:
            neuron.bias.data = -1e9
    return nn.mse_loss([model(x) for x in samples(n, 4)], [1.0] * n)
