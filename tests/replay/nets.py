"""Nets as people write them, and random graphs, to try replays.

A net is a function of one sample, with its parameters and a batch to try it on.
"""

import math
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import microgradx as mx
from microgradx.engine import Value, order


class Net(NamedTuple):
    """A function of one sample, its parameters, and a batch: an array for each argument."""

    fn: Callable[..., Any]
    parameters: list[Value]
    batch: tuple[Any, ...]

    @property
    def example(self):
        return [x[0] for x in self.batch]


def values(x):
    """An array as a nest of Values."""
    return [values(part) for part in x] if np.ndim(x) else Value(float(x))


def parameters(rng, *sizes):
    """A nest of Values in this shape."""
    if not sizes:
        return Value(rng.uniform(-1, 1))
    return [parameters(rng, *sizes[1:]) for _ in range(sizes[0])]


def flat(*nests):
    return [p for nest in nests for p in (flat(*nest) if isinstance(nest, list) else [nest])]


def eager(net, batch=None):
    """The mean loss over a batch and its gradient, by the scalar graph alone."""
    batch = net.batch if batch is None else batch
    losses = [net.fn(*map(values, sample)) for sample in zip(*batch)]
    return gradient(mx.mean(losses), net.parameters)


def gradient(loss, parameters):
    """(loss, gradient) by a sweep that starts from grads of 0."""
    for p in parameters:
        p.grad = 0.0
    loss.backward()
    return loss.data, np.array([p.grad for p in parameters])


def replayed(replay, parameters, *batch):
    """(loss, gradient) of a replay, in the order of `parameters`; 0 for those it has not."""
    loss = replay(*batch)
    found = dict(zip(replay.parameters, replay.gradient.tolist()))
    return loss, np.array([found.get(p, 0.0) for p in parameters])


# --- one net, written in seven ways ----------------------------------------------------------


def by_dot(weights, xs, bias, turn):
    return mx.dot(weights, xs, bias)


def by_sum(weights, xs, bias, turn):
    return sum((w * x for w, x in zip(weights, xs)), bias)


def by_loop(weights, xs, bias, turn):
    total = 0.0
    for w, x in zip(weights, xs):
        total = x * w + total
    return total + bias


def by_reversed_loop(weights, xs, bias, turn):
    total = bias
    for w, x in reversed(list(zip(weights, xs))):
        total = total + w * x
    return total


def by_mx_sum(weights, xs, bias, turn):
    return mx.sum([w * x for w, x in zip(weights, xs)]) + bias


def shuffled(weights, xs, bias, turn):
    terms = [w * x for w, x in zip(weights, xs)] + [bias]
    random.Random(turn).shuffle(terms)
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def by_tree(weights, xs, bias, turn):
    terms = [w * x for w, x in zip(weights, xs)]
    while len(terms) > 1:
        pairs = [x + y for x, y in zip(terms[::2], terms[1::2])]
        terms = pairs + terms[2 * len(pairs) :]
    return terms[0] + bias


STYLES = [by_dot, by_sum, by_loop, by_reversed_loop, by_mx_sum, shuffled, by_tree]


def styled(neuron, widths=(3, 6, 5, 1), seed=0, samples=7):
    """A net of tanh layers and a hinge loss, its neurons written as `neuron` does."""
    rng = random.Random(seed)
    layers = [
        (parameters(rng, n_out, n_in), parameters(rng, n_out))
        for n_in, n_out in zip(widths, widths[1:])
    ]
    turns = [[rng.random() for _ in range(n)] for n in widths[1:]]

    def fn(x, y):
        for (weights, biases), seeds in zip(layers[:-1], turns):
            x = [neuron(w, x, b, t).tanh() for w, b, t in zip(weights, biases, seeds)]
        (weights,), (bias,) = layers[-1]
        return (1 - y * neuron(weights, x, bias, turns[-1][0])).relu()

    dice = np.random.default_rng(seed)
    batch = dice.normal(size=(samples, widths[0])), np.sign(dice.normal(size=samples))
    return Net(fn, flat(*layers[0], *[p for layer in layers[1:] for p in layer]), batch)


# --- nets of many kinds ----------------------------------------------------------------------


NETS: dict[str, Callable[[], Net]] = {}


def net(make):
    NETS[make.__name__] = make
    return make


def data(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def squared(predictions, targets):
    return mx.mean([(p - t) ** 2 for p, t in zip(predictions, targets)])


def mlp(*widths, activation="relu", seed=0):
    model = mx.nn.MLP(widths[0], list(widths[1:]), activation=activation, seed=seed)
    dice = random.Random(seed)
    for p in model.parameters():
        p.data += dice.uniform(-0.2, 0.2)  # biases other than 0
    return model


@net
def one_layer():
    model = mlp(4, 1)
    return Net(lambda x, y: (model(x) - y) ** 2, model.parameters(), (data(7, 4), data(7)))


@net
def two_layers():
    model = mlp(4, 5, 3, activation="tanh")

    def fn(x, t):
        return squared(model(x), t)

    return Net(fn, model.parameters(), (data(7, 4), data(7, 3, seed=1)))


@net
def three_layers():
    model = mlp(8, 6, 5, 1, activation="gelu")
    return Net(lambda x, y: (model(x) - y) ** 2, model.parameters(), (data(7, 8), data(7)))


@net
def softmax_cross_entropy():
    model = mlp(8, 16, 16, 3)

    def fn(x, t):
        z = model(x)
        return mx.logsumexp(z) * mx.sum(t) - mx.dot(t, z)

    return Net(fn, model.parameters(), (data(9, 8), np.eye(3)[np.arange(9) % 3]))


@net
def residual():
    model = mlp(6, 6, 6, 6, activation="tanh")

    def fn(x, t):
        h = model.layers[0](x)
        for layer in model.layers[1:]:
            h = [a + b for a, b in zip(h, layer(h))]
        return squared(h, t)

    return Net(fn, model.parameters(), (data(7, 6), data(7, 6, seed=1)))


class TwoHeads(mx.nn.Module):
    def __init__(self):
        self.trunk = mx.nn.Layer(8, 6, seed=1)
        self.a = mx.nn.Layer(6, 3, activation=None, seed=2)
        self.b = mx.nn.Layer(6, 2, activation=None, seed=3)


def two_heads(model):
    def fn(x, t):
        h = model.trunk(x)
        a, b = model.a(h), model.b(h)
        far = mx.sum([abs(p - q) for p, q in zip(b, t[3:])])
        return mx.sum([(p - q) ** 2 for p, q in zip(a, t[:3])]) + 0.3 * far

    return Net(fn, model.parameters(), (data(7, 8), data(7, 5, seed=1)))


@net
def two_labelled_heads():
    return two_heads(TwoHeads())


@net
def two_heads_without_labels():
    model = TwoHeads()
    for p in model.parameters():
        p.label = ""
    return two_heads(model)


@net
def two_models_of_the_same_labels():
    one, other = mlp(4, 5, 2, activation="tanh", seed=1), mlp(4, 5, 2, activation="tanh", seed=2)

    def fn(x, t):
        return squared([*one(x), *other(x)], [*t, *t])

    return Net(fn, one.parameters() + other.parameters(), (data(7, 4), data(7, 2)))


@net
def shared_trunk():
    model = mlp(4, 5, 5, activation="tanh")
    rng = random.Random(1)
    w, v = parameters(rng, 5), parameters(rng, 5)

    def fn(x, y):
        h = model(x)
        return (mx.dot(w, h) - y) ** 2 + (mx.dot(v, h) * mx.dot(w, h) + y).softplus()

    return Net(fn, model.parameters() + w + v, (data(7, 4), data(7)))


@net
def convolution():
    rng = random.Random(2)
    kernels, biases, out = parameters(rng, 4, 3), parameters(rng, 4), parameters(rng, 2, 24)

    def fn(x, y):
        h = [mx.dot(w, x[i : i + 3], b).relu() for w, b in zip(kernels, biases) for i in range(6)]
        return sum((mx.dot(w, h) - y) ** 2 for w in out)

    return Net(fn, flat(kernels, biases, out), (data(7, 8), data(7)))


@net
def recurrent():
    rng = random.Random(3)
    into, across = parameters(rng, 5, 2), parameters(rng, 5, 5)
    biases, out = parameters(rng, 5), parameters(rng, 5)

    def fn(x, y):
        h = [0.0] * 5
        for pair in x:
            z = [sum(w * v for w, v in zip(ws, pair)) for ws in into]
            z = [a + sum(w * v for w, v in zip(ws, h)) for a, ws in zip(z, across)]
            h = [(a + b).tanh() for a, b in zip(z, biases)]
        return (mx.dot(out, h) - y) ** 2

    return Net(fn, flat(into, across, biases, out), (data(7, 4, 2), data(7)))


@net
def penalties():
    model = mlp(4, 5, 1)
    ps = model.parameters()

    def fn(x, y):
        l1 = sum(abs(p) for p in ps)
        l2 = sum(p * p for p in ps)
        return (1 - y * model(x)).relu() + 0.01 * l1 + 1e-3 * l2

    return Net(fn, ps, (data(7, 4), np.sign(data(7))))


@net
def attention():
    rng = random.Random(4)
    Q, K, V = (parameters(rng, 3, 4) for _ in range(3))

    def fn(x, y):
        q, k, v = ([[mx.dot(w, token) for w in W] for token in x] for W in (Q, K, V))
        total = 0.0
        for a in q:
            scores = [mx.dot(a, b) * 0.5 for b in k]
            z = mx.logsumexp(scores)
            shares = [(s - z).exp() for s in scores]
            total = total + sum(sum(p * u[d] for p, u in zip(shares, v)) for d in range(3))
        return (total - y) ** 2

    return Net(fn, flat(Q, K, V), (data(7, 2, 4), data(7)))


@net
def tied_autoencoder():
    rng = random.Random(5)
    W, b, c = parameters(rng, 3, 6), parameters(rng, 3), parameters(rng, 6)

    def fn(x):
        h = [mx.dot(w, x, bias).tanh() for w, bias in zip(W, b)]
        back = [mx.dot([w[i] for w in W], h, bias) for i, bias in enumerate(c)]
        return squared(back, x)

    return Net(fn, flat(W, b, c), (data(7, 6),))


@net
def normed_weights():
    rng = random.Random(6)
    V, sizes, out = parameters(rng, 4, 5), parameters(rng, 4), parameters(rng, 4)

    def fn(x, y):
        norms = [mx.dot(v, v).sqrt() for v in V]
        rows = [[w * g / norm for w in v] for v, g, norm in zip(V, sizes, norms)]
        return (mx.dot(out, [mx.dot(w, x).tanh() for w in rows]) - y) ** 2

    return Net(fn, flat(V, sizes, out), (data(7, 5), data(7)))


@net
def layer_norm():
    model = mlp(4, 6, 1, activation="tanh")

    def fn(x, y):
        h = model.layers[0](x)
        mean = mx.mean(h)
        scale = (mx.mean([(a - mean) ** 2 for a in h]) + 1e-5) ** -0.5
        return (model.layers[1]([(a - mean) * scale for a in h]) - y) ** 2

    return Net(fn, model.parameters(), (data(7, 4), data(7)))


def batch_normalised():
    """An unrolled batch in train mode: (loss, inputs, parameters, the inputs' numbers)."""
    X = data(9, 8)
    rng = random.Random(7)
    first = mx.nn.Layer(8, 5, activation=None, seed=4)
    last = mx.nn.Layer(5, 1, activation=None, seed=5)
    gains, shifts = parameters(rng, 5), parameters(rng, 5)
    xs = values(X)
    columns = []
    for column, gain, shift in zip(zip(*[first(x) for x in xs]), gains, shifts):
        mean = mx.mean(column)
        scale = (mx.mean([(z - mean) ** 2 for z in column]) + 1e-5) ** -0.5
        columns.append([((z - mean) * scale * gain + shift).relu() for z in column])
    loss = mx.mean([(last(list(row)) - 1.0) ** 2 for row in zip(*columns)])
    return loss, xs, first.parameters() + gains + shifts + last.parameters(), X


# --- random graphs ---------------------------------------------------------------------------


EXACT = {
    "add": lambda a, b, *_: a + b,
    "sub": lambda a, b, *_: a - b,
    "mul": lambda a, b, *_: a * b,
    "div": lambda a, b, *_: a / b,
    "neg": lambda a, *_: -a,
    "relu": lambda a, *_: a.relu(),
    "abs": lambda a, *_: abs(a),
    "sqrt": lambda a, *_: a.sqrt(),
    "cube": lambda a, *_: a * a * a,
    "shifted": lambda a, b, k, *_: a * k + 1,
}
# Any op of the table, kept to where it is tame.
SMOOTH = EXACT | {
    "div": lambda a, b, *_: a / (abs(b) + 0.5),
    "sqrt": lambda a, *_: (abs(a) + 0.5).sqrt(),
    "cube": lambda a, *_: a.tanh() ** 3,
    "square": lambda a, *_: a.sin() ** 2,
    "tanh": lambda a, *_: a.tanh(),
    "sigmoid": lambda a, *_: a.sigmoid(),
    "softplus": lambda a, *_: a.softplus(),
    "gelu": lambda a, *_: a.gelu(),
    "elu": lambda a, *_: a.elu(),
    "leaky_relu": lambda a, *_: a.leaky_relu(),
    "silu": lambda a, *_: a.silu(),
    "sin": lambda a, *_: a.sin(),
    "cos": lambda a, *_: a.cos(),
    "exp": lambda a, *_: (-abs(a)).exp(),
    "log": lambda a, *_: (abs(a) + 0.5).log(),
    "pow": lambda a, b, k, *_: (abs(a) + 0.5) ** k,
    "power": lambda a, b, *_: (abs(a) + 0.5) ** b.tanh(),
    "maximum": lambda a, b, *_: mx.maximum(a, b),
    "minimum": lambda a, b, *_: mx.minimum(a, b),
    "detach": lambda a, b, *_: a.detach() * b.sin(),
    "sum": lambda a, b, k, c, d: mx.sum([a, b, k, c, d]),
    "dot": lambda a, b, k, c, d: mx.dot([a.tanh(), k, b.sin()], [c, d, a.cos()], d),
    "logsumexp": lambda a, b, k, c, d: mx.logsumexp([a, b, k, c, d]),
}


def random_graph(seed, ops):
    """A net of a random graph of `ops`; every node is read. One in sixteen is large."""
    rng = random.Random(seed)
    inputs, count = rng.randint(1, 4), rng.randint(1, 8 if seed % 16 else 60)
    ps = parameters(rng, rng.randint(1, 5))
    names = list(ops)
    program, size, read = [], inputs + len(ps), set()
    for n in range(size, size + count):
        a, b, c, d = (rng.randrange(n) for _ in range(4))
        program.append((ops[rng.choice(names)], a, b, rng.uniform(-2, 2), c, d))
        read |= {a, b}

    def fn(x):
        nodes = [*x, *ps]
        for op, a, b, k, c, d in program:
            nodes.append(op(nodes[a], nodes[b], k, nodes[c], nodes[d]))
        out = nodes[-1]
        for i in sorted(set(range(size, len(nodes) - 1)) - read):
            out = out + nodes[i]
        return out

    batch = np.array([[rng.uniform(-2, 2) for _ in range(inputs)] for _ in range(4)])
    batch[1] = -batch[0]  # across every kink at 0
    batch[2, rng.randrange(inputs)] = 0.0
    return Net(fn, ps, (batch,))


def added(loss):
    """The sizes of all that is added up: in the value of `loss`; and by node, in its gradient."""
    sizes, up = {loss: 1.0}, {}
    for node in order(loss):
        for edge in node.edges:
            more = abs(edge.partial) * sizes[node]
            sizes[edge.input] = sizes.get(edge.input, 0.0) + more
    for node in reversed(order(loss)):
        size = sum(abs(e.partial) * up[e.input] for e in node.edges)
        up[node] = max(abs(node.data), size if size < math.inf else 0.0)
    return up[loss], sizes


def largest(loss):
    """The largest number that a sweep from `loss` has met: the size of its rounding errors."""
    found = [1.0, abs(loss.data)]
    for node in order(loss):
        found += [abs(edge.partial * node.grad) for edge in node.edges]
        found += [abs(node.data)]
    return max(found)
