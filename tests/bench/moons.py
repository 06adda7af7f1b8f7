"""W2: one full training step of micrograd's demo: forward, backward and SGD, timed together.

100 points of two moons, MLP 2-16-16-1, hinge loss, L2 with alpha 1e-4. A step drops its own graph
before the clock stops: ours is free by then, the peer's cycles wait for the collector, untimed.

The peers start from the same weights and are checked to give the same gradients:
- micrograd: the code of its demo notebook, but for the accuracy and for plain floats, which are
  faster there than the notebook's NumPy floats.
- XAD: a C++ tape, one entry an op, with its Python `Real`; plain loops over lists of weights, one
  tape kept and cleared at each step.
"""

import math
from statistics import median
from typing import Any

import micrograd.engine
import micrograd.nn
import xad.math
from xad.adj_1st import Real, Tape

from demos.plumbing import moons as two_moons
from microgradx import dot, nn, optim
from tests.bench.timing import Line, collector, in_turns, speedup

ALPHA, RATE, SIZES = 1e-4, 0.01, [16, 16, 1]


Weights = list[list[list[float]]]  # by layer and neuron: its weights, then its bias
X, Y = two_moons(100, noise=0.1, seed=0)


class Ours:
    def __init__(self) -> None:
        self.model = nn.MLP(2, SIZES, seed=0)
        self.sgd = optim.SGD(self.model.parameters(), lr=RATE)

    def step(self) -> None:
        scores = [self.model(x) for x in X]
        parameters = self.sgd.parameters
        loss = nn.hinge_loss(scores, Y) + ALPHA * dot(parameters, parameters)
        self.sgd.zero_grad()
        loss.backward()
        self.sgd.step()

    def weights(self) -> Weights:
        return [
            [[p.data for p in (*neuron.weight, neuron.bias)] for neuron in layer.neurons]
            for layer in self.model.layers
        ]

    def gradient(self) -> list[float]:
        neurons = [neuron for layer in self.model.layers for neuron in layer.neurons]
        return [p.grad for neuron in neurons for p in (*neuron.weight, neuron.bias)]


class Micrograd:
    def __init__(self, weights: Weights) -> None:
        self.model = micrograd.nn.MLP(2, SIZES)
        for layer, rows in zip(self.model.layers, weights):
            for neuron, (*row, bias) in zip(layer.neurons, rows):
                neuron.w = [micrograd.engine.Value(w) for w in row]
                neuron.b = micrograd.engine.Value(bias)

    def step(self) -> None:
        inputs = [list(map(micrograd.engine.Value, xrow)) for xrow in X]
        scores = list(map(self.model, inputs))
        losses = [(1 + -yi * scorei).relu() for yi, scorei in zip(Y, scores)]
        data_loss = sum(losses) * (1.0 / len(losses))
        reg_loss = ALPHA * sum(p * p for p in self.model.parameters())
        total_loss = data_loss + reg_loss
        self.model.zero_grad()
        total_loss.backward()
        for p in self.model.parameters():
            p.data -= RATE * p.grad

    def gradient(self) -> list[float]:
        return [p.grad for p in self.model.parameters()]


class Xad:
    def __init__(self, weights: Weights) -> None:
        self.layers = [[list(map(Real, row)) for row in rows] for rows in weights]
        self.tape = Tape()

    def parameters(self) -> list[Any]:
        return [p for layer in self.layers for neuron in layer for p in neuron]

    def score(self, xs: list[Any]) -> Any:
        *hidden, last = self.layers
        for layer in hidden:
            sums = [sum((w * x for w, x in zip(neuron, xs)), neuron[-1]) for neuron in layer]
            xs = [xad.math.max(s, 0.0) for s in sums]
        return sum((w * x for w, x in zip(last[0], xs)), last[0][-1])

    def step(self) -> None:
        self.tape.clearAll()
        self.tape.activate()
        parameters = self.parameters()
        self.tape.registerInputs(parameters)
        self.tape.newRecording()
        losses = [xad.math.max(1 - y * self.score(x), 0.0) for x, y in zip(X, Y)]
        loss = sum(losses) * (1.0 / len(losses)) + ALPHA * sum(p * p for p in parameters)
        self.tape.registerOutput(loss)
        loss.derivative = 1.0
        self.tape.computeAdjoints()
        self.latest = [p.derivative for p in parameters]
        updated = iter([Real(p.value - RATE * g) for p, g in zip(parameters, self.latest)])
        self.layers = [[[next(updated) for _ in neuron] for neuron in rows] for rows in self.layers]
        self.tape.deactivate()

    def gradient(self) -> list[float]:
        return self.latest


def check(*peers: Any) -> None:
    """After a step from the same weights all have the same gradient, so the same work is timed."""
    for peer in peers:
        peer.step()
    ours, *others = [peer.gradient() for peer in peers]
    for theirs in others:
        for a, b in zip(ours, theirs, strict=True):
            assert math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12), (a, b)


def lines() -> list[Line]:
    ours = Ours()
    peers = {"micrograd": Micrograd(ours.weights()), "XAD": Xad(ours.weights())}
    check(ours, *peers.values())
    targets = {"micrograd on": 25}
    found = []
    for mode in ("on", "off"):
        with collector(mode):
            mine, *others = in_turns(7, ours.step, *[peer.step for peer in peers.values()])
        for name, theirs in zip(peers, others):
            figures = [f"{median(times) * 1e3:.3g} ms" for times in (mine, theirs)]
            found.append(
                Line(
                    "W2 micrograd's demo, a step",
                    mode,
                    figures[0],
                    name,
                    figures[1],
                    speedup(mine, theirs),
                    targets.get(f"{name} {mode}"),
                )
            )
    return found
