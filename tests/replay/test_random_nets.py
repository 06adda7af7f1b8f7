"""Random nets, each layer of its own style and structure: recorded and unrolled, they are right."""

import random

import numpy as np
import pytest

import microgradx as mx
from microgradx.replay import lift, record
from tests.replay.nets import STYLES, Net, eager, flat, parameters, replayed, values

KINDS = [
    "dense", "shared", "convolution", "residual", "gate", "norm", "mix", "reverse", "attention",
]  # fmt: skip
ACTIVATIONS = [
    lambda z: z, lambda z: z.relu(), lambda z: z.tanh(), lambda z: z.sigmoid(), lambda z: z * z,
]  # fmt: skip


class Layers:
    """The parameters of each layer, made when they are first asked for."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.known = {}

    def __call__(self, *key_and_shape):
        if key_and_shape not in self.known:
            self.known[key_and_shape] = parameters(self.rng, *key_and_shape[2:])
        return self.known[key_and_shape]

    def parameters(self):
        return flat(list(self.known.values()))


def normed(xs):
    mean = mx.mean(xs)
    scale = (mx.mean([(x - mean) ** 2 for x in xs]) + 0.1) ** -0.5
    return [(x - mean) * scale for x in xs]


def attended(vectors):
    found = []
    for query in vectors:
        scores = [mx.dot(query, key) for key in vectors]
        total = mx.logsumexp(scores)
        shares = [(s - total).exp() for s in scores]
        found.append([sum(p * v for p, v in zip(shares, column)) for column in zip(*vectors)])
    return found


def random_net(seed):
    layers = Layers(seed)
    rng = random.Random(seed)
    shape = (rng.randint(2, 4), rng.randint(1, 5)) if seed % 2 else (rng.randint(2, 8),)

    def fn(x):
        dice = random.Random(seed + 1)
        vectors = [list(v) for v in x] if seed % 2 else [list(x)]
        for k in range(dice.randint(1, 4)):
            kind, i = dice.choice(KINDS), dice.randrange(len(vectors))
            act, neuron, m = dice.choice(ACTIVATIONS), dice.choice(STYLES), dice.randint(1, 5)
            v = vectors[i]
            alike = [j for j, other in enumerate(vectors) if len(other) == len(v)]

            def dense(v, width, k=k, act=act, neuron=neuron):
                weights, biases = layers(k, "W", width, len(v)), layers(k, "b", width)
                return [act(neuron(w, v, b, 7)) for w, b in zip(weights, biases)]

            if kind == "dense":
                vectors.append(dense(v, m))
            elif kind == "shared":
                for j in alike:
                    vectors[j] = dense(vectors[j], m)
            elif kind == "convolution" and len(v) > 2:
                windows = [dense(v[j : j + 2], m) for j in range(len(v) - 1)]
                vectors[i] = [a for channel in zip(*windows) for a in channel]
            elif kind == "residual":
                vectors[i] = [a + b for a, b in zip(v, dense(v, len(v)))]
            elif kind == "gate":
                vectors[i] = [a * b.sigmoid() for a, b in zip(v, dense(v, len(v)))]
            elif kind == "norm":
                vectors[i] = normed(v)
            elif kind == "mix":
                vectors.append([a * b + a for a, b in zip(v, vectors[alike[-1]])])
            elif kind == "reverse":
                vectors[i] = v[::-1]
            elif kind == "attention":
                vectors += attended([vectors[j] for j in alike])
        outputs = [a for v in vectors for a in v]
        loss = mx.dot(layers("out", "w", len(outputs)), outputs, layers("out", "b")) ** 2
        if seed % 3 == 0:
            loss = loss + 0.01 * sum(p * p for p in layers.parameters())
        if seed % 5 == 0:
            loss = loss + 0.01 * mx.sum([abs(p) for p in layers.parameters()])
        return loss

    batch = np.random.default_rng(seed).normal(size=(5, *shape))
    fn(values(batch[0]))  # makes the parameters
    return Net(fn, layers.parameters(), (batch,))


def check(replay, net, batch):
    loss, wanted = eager(net, batch)
    found, grads = replayed(replay, net.parameters, *batch)
    size = max(1.0, abs(loss), np.abs(wanted).max())
    assert abs(found - loss) <= 1e-13 * size
    assert np.abs(grads - wanted).max() <= 1e-12 * size


@pytest.mark.some(2)
@pytest.mark.parametrize("start", range(0, 100, 20))
def test_a_random_net_is_right_recorded_and_unrolled(start):
    for seed in range(start, start + 20):
        net = random_net(seed)
        check(record(net.fn, *net.example), net, net.batch)
        xs = values(net.batch[0])
        unrolled = lift(mx.mean([net.fn(x) for x in xs]), inputs=xs)
        check(unrolled, net, net.batch)
        check(unrolled, net, [net.batch[0][::-1] * 1.125 - 0.125])
