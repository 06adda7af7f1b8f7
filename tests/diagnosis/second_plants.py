"""Plants that were thought of after the rules had been frozen: pairs, real trainings, odd data.

`python -m tests.diagnosis.second_plants 250` plants as many, and prints what was missed or made up.
"""

import sys
from collections import Counter

import numpy as np

import microgradx as mx
from microgradx import nn, optim
from tests.diagnosis.planted_nets import Net, some


def dead_and_small(rng):
    """Dead units in the first layer, and a last layer that is far too small."""
    net = Net(rng, "relu")
    for j in some(net, 0):
        net.neuron(0, j).bias.data = -60.0
    net.scale(net.depth, 1e-3)
    return net, [("dead", "layers.0", net.dead(0)), ("small weights", f"layers.{net.depth}", None)]


def saturated_in_two_layers(rng):
    net = Net(rng, "tanh", 3)
    for k in (0, 2):
        for j in some(net, k):
            net.neuron(k, j).bias.data = 30.0
    return net, [("saturated", f"layers.{k}", net.saturated(k)) for k in (0, 2)]


def two_groups_of_copies(rng):
    net = Net(rng, hidden=2)
    pairs = [(0, 3), (1, 5), (1, 6)]
    for one, other in pairs:
        for p, q in zip(net.neuron(1, one).parameters(), net.neuron(1, other).parameters()):
            q.data = p.data
        for n in net.model.layers[2].neurons:
            n.weight[other].data = n.weight[one].data
    return net, [("copies", "layers.1", {0, 1, 3, 5, 6})]


def dead_by_weights(rng):
    """Inputs that are never negative, and weights that all are."""
    net = Net(rng, "relu")
    net.X = np.abs(net.X)
    gone = some(net, 0)
    for j in gone:
        for p in net.neuron(0, j).weight:
            p.data = -abs(p.data) - 0.01
        net.neuron(0, j).bias.data = -0.01
    net.bury_the_dead_but(gone)
    return net, [("dead", "layers.0", net.dead(0))]


def killed_by_training(rng):
    """A step that is too large, and as many as it takes."""
    net = Net(rng, "relu", int(rng.integers(1, 4)), "cross_entropy")
    lr = float(10.0 ** rng.uniform(0.0, 1.3))
    mx.fit(net.model, net.X, net.y, loss=net.loss, epochs=4, seed=int(rng.integers(10**6)),
           optimizer=optim.SGD(net.model.parameters(), lr=lr))  # fmt: skip
    wanted = [("dead", f"layers.{k}", net.dead(k)) for k in range(net.depth) if net.dead(k)]
    return net, wanted


def saturated_by_training(rng):
    net = Net(rng, "tanh", int(rng.integers(1, 3)), "mse")
    net.y = 5.0 * net.y
    mx.fit(net.model, net.X, net.y, loss="mse", epochs=4, seed=int(rng.integers(10**6)),
           optimizer=optim.SGD(net.model.parameters(), lr=2.0))  # fmt: skip
    if not np.isfinite(net.forward()[1]).all():
        return net, [("not finite", "", None)]
    found = [(k, net.saturated(k)) for k in range(net.depth)]
    return net, [("saturated", f"layers.{k}", shut) for k, shut in found if shut]


def few_rows(rng):
    """Eight to fifteen rows: what is off on all of them is dead on them, whatever chance has to do
    with it."""
    net = Net(rng, "relu")
    n = int(rng.integers(8, 16))
    net.X, net.y = net.X[:n], net.y[:n]
    if net.loss == "binary_cross_entropy":
        net.y[:2] = 0, 1
    return net, [("dead", f"layers.{k}", net.dead(k)) for k in range(net.depth) if net.dead(k)]


def rows_of_zeros(rng):
    """Rows that are all 0 among the data, and biases of 0: nothing is wrong with either."""
    net = Net(rng, "tanh")
    net.X[:: int(rng.integers(2, 6))] = 0.0
    return net, []


def one_hot(rng):
    net = Net(rng, "tanh")
    net.X = np.eye(net.X.shape[1])[rng.integers(0, net.X.shape[1], len(net.X))]
    return net, []


def images(rng):
    net = Net(rng, "tanh")
    net.X = rng.random(net.X.shape) * (rng.random(net.X.shape) < 0.5)
    return net, []


def constant_column(rng):
    net = Net(rng, "tanh")
    net.X[:, 0] = 1.0
    return net, []


def deep_and_healthy(rng):
    net = Net(rng, "tanh", 10)
    return net, []


def wide_and_healthy(rng):
    net = Net(rng, "relu", 1)
    net.model = nn.MLP(net.X.shape[1], [200, len(net.model.layers[-1].neurons)], "relu",
                       seed=int(rng.integers(10**6)))  # fmt: skip
    net.bury_the_dead()
    return net, []


def one_output_out_of_reach(rng):
    net = Net(rng, "tanh", loss="mse")
    net.output = "sigmoid"
    last = net.model.layers[-1].neurons
    net.model.layers[-1].neurons = [
        nn.Neuron(len(last[0].weight), "sigmoid", "glorot", int(rng.integers(10**6)))
        for _ in range(3)
    ]
    share = 1.0 / (1.0 + np.exp(-net.y))
    net.y = np.c_[share, share, 2.0 + share]
    net.extra = ["targets out of reach"]
    return net, [("targets out of reach", "y[2]", None)]


def a_few_huge_weights(rng):
    """Of one unit: it saturates alone."""
    net = Net(rng, "tanh")
    j = some(net, 0, 1)[0]
    for p in net.neuron(0, j).weight[:2]:
        p.data = float(rng.choice([-1, 1])) * 500.0
    return net, [("saturated", "layers.0", net.saturated(0))]


def far_and_dead(rng):
    """One column far from 0, whose weights have turned units off."""
    net = Net(rng, "relu")
    net.X[:, 0] += 40.0
    wanted = [("inputs far from 0", "X", None)]
    return net, wanted + [("dead", f"layers.{k}", net.dead(k))
                          for k in range(net.depth) if net.dead(k)]  # fmt: skip


PLANTS = [
    dead_and_small, saturated_in_two_layers, two_groups_of_copies, dead_by_weights,
    killed_by_training, saturated_by_training, few_rows, rows_of_zeros, one_hot, images,
    constant_column, deep_and_healthy, wide_and_healthy, one_output_out_of_reach,
    a_few_huge_weights, far_and_dead,
]  # fmt: skip


def missed(plant, seed):
    """What was missed or made up in a net with this plant; "" if nothing was."""
    net, wanted = plant(np.random.default_rng([seed, 1000 + PLANTS.index(plant)]))
    c = net.checkup()
    wrong = []
    for verdict, where, neurons in wanted:
        found = [f for f in c.findings if f.verdict == verdict and f.where.startswith(where)]
        if not found or (neurons is not None and {*found[0].neurons} != neurons):
            wrong.append(f"missed: {verdict} at {where} {neurons}")
    wrong += [f"made up: {f}" for f in c.findings if not net.is_true(f)]
    known = {verdict for verdict, _, _ in wanted}
    follows = {"dead", "saturated", "worse than a guess", "large weights", "exploding", "vanishing",
               "constant outputs", "small weights", "targets out of scale"}  # fmt: skip
    if not wanted and {f.verdict for f in c.findings} - {"worse than a guess"}:
        wrong.append("found in a net with nothing planted")
    if {f.verdict for f in c.findings} - known - follows:
        wrong.append("found what was not planted")
    return "" if not wrong else f"{plant.__name__} {seed}:\n" + "\n".join(wrong) + f"\n{c}\n"


def main(number):
    wrong = Counter()
    for k in range(number):
        if told := missed(PLANTS[k % len(PLANTS)], k):
            wrong[PLANTS[k % len(PLANTS)].__name__] += 1
            print(told)
    print(wrong or "all found, nothing made up")


if __name__ == "__main__":
    main(int(sys.argv[1]))
