"""Nets and data for the tests of check-ups, all from a seed."""

import numpy as np

from microgradx import nn


def rows(n, width, seed=0):
    return np.random.default_rng(seed).normal(size=(n, width))


def classes(n, width, k, seed=0):
    """Rows, and the class that a fixed linear map gives each."""
    X = rows(n, width, seed)
    return X, (X @ np.random.default_rng(seed + 1).normal(size=(width, k))).argmax(1)


def numbers_of(model):
    """The numbers and grads of every parameter."""
    return [(p.data, p.grad) for p in model.parameters()]


def planted(seed=0):
    """relu, sigmoid, linear: three units dead on the box, two on the rows; a saturated layer whose
    weights are too large; a last one whose weights are too small."""
    rng = np.random.default_rng(seed)
    X, y = rng.random((200, 12)), rng.integers(0, 4, 200)
    model = nn.MLP(12, [16, 16, 4], activation="relu", init="glorot", seed=seed)
    first, second, last = model.layers
    for neuron in second.neurons:
        neuron.activation = type(second.neurons[0].bias).sigmoid
        for w in neuron.weight:
            w.data *= 300.0
    for neuron in last.neurons:
        for w in neuron.weight:
            w.data *= 1e-4
    for k in (2, 5, 11):
        neuron = first.neurons[k]
        neuron.bias.data = -sum(max(w.data, 0.0) for w in neuron.weight) - 0.1
    for k in (3, 7):
        neuron = first.neurons[k]
        z = X @ [w.data for w in neuron.weight]
        neuron.bias.data = -z.max() - 0.02
    return model, X, y
