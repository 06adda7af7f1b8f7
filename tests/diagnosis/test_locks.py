"""Locked: no plain step ever moves it. What one step opens is followed."""

import numpy as np
import pytest

import microgradx as mx
from microgradx import nn, optim
from microgradx.diagnosis.locks import Motion
from microgradx.explain.factors import is_open
from tests.diagnosis.nets import rows


def net(seed=0):
    """Three layers of ReLUs that are on in every row."""
    model = nn.MLP(3, [6, 5, 5, 1], seed=seed)
    for layer in model.layers[:-1]:
        for neuron in layer.neurons:
            neuron.bias.data = 5.0
            for w in neuron.weight:
                w.data *= 0.5
    return model


def of_dead(model, layer, k):
    X = rows(30, 3)
    c = mx.checkup(model, X, X[:, 0], loss="mse")
    [row] = [r for r in c.neurons.rows if (r["layer"], r["neuron"]) == (f"layers.{layer}", k)]
    assert row["verdict"] == "dead"
    return c, row


def kill(model, layer, k):
    model.layers[layer].neurons[k].bias.data = -100.0


def zero(model, layer, units=None):
    for k, neuron in enumerate(model.layers[layer].neurons):
        for w in neuron.weight if units is None or k in units else ():
            w.data = 0.0


def test_zero_weights_that_move_open_the_way_behind_them():
    """The first step moves the last layer alone, the second all but the dead unit."""
    model = net()
    kill(model, 1, 2)
    zero(model, 3)
    c, row = of_dead(model, 1, 2)
    assert row["locked"] is False and row["through"] == "layers.0.weight, layers.0.bias"
    assert "revived through layers.0.weight, layers.0.bias, once others have moved" in " ".join(
        str(c).split()
    )
    motion = Motion(c.survey)
    assert {p.label.partition("[")[0] for p in motion.moves} == {"layers.3.weight", "layers.3.bias"}


def test_two_tensors_of_zeros_in_a_row_never_move():
    """Each one's gradient is a product with the other one's weights, or with its own units' 0."""
    model = net()
    kill(model, 1, 2)
    for layer in (2, 3):
        zero(model, layer)
    for neuron in model.layers[2].neurons:
        neuron.bias.data = 0.0
        neuron.activation = mx.Value.tanh
    c, row = of_dead(model, 1, 2)
    assert row["locked"]
    before = [p.data for p in model.layers[0].parameters()]
    X = rows(30, 3)
    mx.fit(model, X, X[:, 0], loss="mse", epochs=200, batch_size=None,
           optimizer=optim.SGD(model.parameters(), lr=0.01))  # fmt: skip
    assert [p.data for p in model.layers[0].parameters()] == before


def test_a_pruned_unit_reads_nothing_that_could_turn_it_on():
    model = net()
    kill(model, 1, 2)
    zero(model, 1, {2})
    _, row = of_dead(model, 1, 2)
    assert row["locked"] and row["through"] == ""


def test_what_a_detach_gives_on_moves_a_unit_too():
    """No gradient comes back by it, but it changes as what it reads is trained elsewhere."""

    class Detached(nn.Module):
        def __init__(self):
            self.first, self.second = nn.Layer(3, 4, "relu", seed=0), nn.Layer(4, 3, "relu", seed=1)
            self.last = nn.Layer(7, 1, "linear", seed=2)
            self.second.neurons[1].bias.data = -50.0

        def __call__(self, x):
            h = self.first(x)
            return self.last([*h, *self.second([a.detach() for a in h])])

    X = rows(30, 3)
    c = mx.checkup(Detached(), X, X[:, 0], loss="mse")
    [row] = [r for r in c.neurons.rows if (r["layer"], r["neuron"]) == ("second", 1)]
    assert row["verdict"] == "dead" and row["locked"] is False
    assert row["through"].startswith("first.weight")


def test_units_behind_a_dead_layer_are_locked():
    model = net()
    kill(model, 1, 2)
    for k in range(5):
        kill(model, 2, k)
    _, row = of_dead(model, 1, 2)
    assert row["locked"]


def test_a_column_of_zeros_moves_nothing():
    """The weights that read it are the only ones that could move a unit."""
    model = net()
    kill(model, 0, 1)
    X = rows(30, 3)
    X[:, 1] = 0.0
    c = mx.checkup(model, X, X[:, 0], loss="mse")
    motion = Motion(c.survey)
    still = {p for p in motion.ever if p.label.startswith("layers.0.weight") and
             p.label.endswith(", 1]")}  # fmt: skip
    assert not still


@pytest.mark.parametrize("name", ["relu", "gelu", "softplus", "elu"])
def test_what_is_flat_on_one_side_alone(name):
    assert is_open(getattr(mx.Value(1.0), name)())


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "sin", "abs"])
def test_what_is_flat_on_both_sides_or_on_none(name):
    x = mx.Value(1.0)
    assert not is_open(abs(x) if name == "abs" else getattr(x, name)())


@pytest.mark.parametrize("share, named", [(0.6, ()), (1.0, (2,))])
def test_a_gelu_is_saturated_where_it_is_flat_in_every_row(share, named):
    """Off in many rows, as a ReLU, it does its work."""
    model = nn.MLP(3, [6, 1], activation="gelu", init="he", seed=1)
    X = rows(200, 3)
    neuron = model.layers[0].neurons[2]
    z = X @ [w.data for w in neuron.weight]
    neuron.bias.data = -3.0 - float(np.quantile(z, share)) - (share == 1.0)
    c = mx.checkup(model, X, np.tanh(X[:, 0]), loss="mse")
    [row] = [r for r in c.neurons.rows if r["neuron"] == 2]
    assert row["saturated"] >= 0.55
    assert [f.neurons for f in c.findings if f.verdict == "saturated"] == [named] * bool(named)
