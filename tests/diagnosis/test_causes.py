"""The cause is named, and stands before what follows from it."""

import numpy as np
import pytest

import microgradx as mx
from microgradx import nn
from tests.diagnosis.nets import rows

X = rows(60, 4)


def net(activation="tanh", widths=(8, 8, 1), seed=0):
    init = "he" if activation in ("relu", "gelu") else "glorot"
    return nn.MLP(4, [*widths], activation, init=init, seed=seed)


def scaled(model, layer, factor):
    for neuron in model.layers[layer].neurons:
        for w in neuron.weight:
            w.data *= factor
    return model


def with_biases(model, layer, biases):
    for neuron, bias in zip(model.layers[layer].neurons, biases):
        neuron.bias.data = bias
    return model


def findings(model, X=X):
    return mx.checkup(model, X, np.tanh(X[:, 0]), loss="mse").findings


# --- what saturates ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "biases, words",
    [
        ([60.0] * 8, "layers.0.bias is 60 there"),
        ([60.0, -60.0] * 4, "layers.0.bias lies in -60 … 60 there"),
        ([60.0, -55.0, 57.0] + [0.0] * 5, "layers.0.bias lies in -55 … 60 there"),
    ],
)
def test_a_large_bias_is_named_though_inputs_go_beyond_3(biases, words):
    assert np.abs(X).max() < 3.5
    [first, *_] = findings(with_biases(net(), 0, biases), 1.4 * X)
    assert first.verdict == "saturated" and f"because {words}." in first.because


def test_inputs_are_named_where_they_are_large():
    [first] = [f for f in findings(net(), 40.0 * X) if f.verdict == "saturated"]
    assert "because the inputs lie in -" in first.because


@pytest.mark.parametrize("activation", ["relu", "gelu", "leaky_relu", "linear"])
def test_large_weights_behind_it_are_named(activation):
    """Through a layer that has no end above."""
    model = net(widths=(8, 8, 8, 1))
    for neuron in model.layers[1].neurons:
        neuron.activation = getattr(mx.Value, activation, None) or (lambda z: z)
    first, *others = findings(scaled(model, 1, 1e3))
    assert (first.verdict, first.where) == ("large weights", "layers.1.weight")
    [shut] = [f for f in others if f.verdict == "saturated"]
    assert shut.where == "layers.2" and "what it reads comes from layers.1.weight, " in shut.because
    assert "times" in shut.because


def test_an_end_above_stops_the_blame():
    """A tanh gives 1 at most, whatever stands before it."""
    model = with_biases(net(widths=(8, 8, 1)), 1, [40.0] * 8)
    found = findings(scaled(model, 0, 100.0))
    [second] = [f for f in found if f.where == "layers.1"]
    assert "because layers.1.bias is 40 there" in second.because


# --- what turns units off ------------------------------------------------------------------------


def tilted(model, layer):
    """Biases that leave each unit on in half of the rows."""
    z = X
    for k, each in enumerate(model.layers[: layer + 1]):
        w = np.array([[p.data for p in n.weight] for n in each.neurons])
        z = z @ w.T
        with_biases(model, k, (-np.median(z, axis=0)).tolist())
        z = np.maximum(z - np.median(z, axis=0), 0.0)
    return model


@pytest.mark.parametrize("factor, verdict", [(1e-3, "small weights"), (1e3, "large weights")])
@pytest.mark.parametrize("layer", [0, 1])
def test_deaths_follow_from_weights_that_are_off(layer, factor, verdict):
    """At their usual scale most of the units that are dead would be on somewhere."""
    model = scaled(tilted(net("relu", (12, 12, 12, 1), seed=3), 2), layer, factor)
    first, *others = findings(model)
    assert (first.verdict, first.where) == (verdict, f"layers.{layer}.weight")
    if factor < 1:
        assert "dead" in [f.verdict for f in others]


def test_deaths_by_a_bias_are_not_blamed_on_weights():
    model = scaled(tilted(net("relu", (12, 12, 1), seed=3), 1), 0, 0.05)
    with_biases(model, 1, [-1e3] * 9)
    found = [f.verdict for f in findings(model)]
    assert found[0] == "dead"


def test_a_tensor_of_zeros_stands_before_the_deaths_that_its_biases_bring():
    model = scaled(net("relu", (12, 1)), 0, 0.0)
    found = findings(with_biases(model, 0, [-0.5] * 6 + [0.5] * 6))
    assert [f.verdict for f in found][:1] == ["zero weights"]
    assert "dead" not in [f.verdict for f in found]
    model = scaled(net("relu", (12, 12, 1)), 0, 0.0)
    with_biases(model, 1, [-9.0] * 6 + [0.5] * 6)
    first, *others = findings(model)
    assert first.verdict == "zero weights" and others[0].verdict == "dead"


def test_a_loss_above_a_guess_stands_last():
    found = findings(scaled(net("relu", seed=3), 1, 300.0))
    assert [f.verdict for f in found][-1] == "worse than a guess" and len(found) > 1
