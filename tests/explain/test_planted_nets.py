"""A fault planted in a net is found: the verdict, its first cause, and its layer."""

import math
import random

import pytest

from microgradx import Flow, nn, why
from tests.explain.planted_nets import PLANTS, Soil, planted


@pytest.mark.parametrize("kind", range(len(PLANTS)), ids=lambda i: PLANTS[i].__name__)
def test_a_planted_fault_is_found(kind, many):
    for number in range(kind, many(60, 1200), len(PLANTS)):
        name, plant = planted(number)
        assert name == PLANTS[kind].__name__ and not (missed := plant.missed()), (number, missed)


def test_the_norms_that_the_plants_are_judged_by_are_those_of_flow():
    """R of every bias, by matrices: of layers of each activation, for both losses."""
    for seed in range(12):
        soil = Soil(random.Random(seed), "relu", "tanh", "sigmoid")
        flow = Flow(soil.loss())
        for layer, norms in zip(soil.model.layers, soil.norms()):
            for neuron, norm in zip(layer.neurons, norms):
                assert float(flow[neuron.bias].norm) == pytest.approx(norm, rel=1e-9)


def test_what_a_layer_brings_adds_up():
    """The credits of the layers are ln R, but for what the loss has between its samples."""
    soil = Soil(random.Random(5), "tanh", samples=(1, 2))
    it = why(soil.hidden[0].neurons[0].weight[0], Flow(soil.loss()))
    brings = it.tangents.by_layer
    assert [*brings] == [*(f"layers.{k}" for k in range(len(soil.model.layers))), ""]
    assert sum(brings.values()) == pytest.approx(it.flow.norm.decades)
    assert brings[""] == pytest.approx(it.budget["loss"])


def test_the_same_factor_in_several_samples_is_one_culprit():
    model = nn.MLP(2, [4, 1], "sigmoid", init="glorot", seed=1)
    model.layers[0].neurons[0].bias.data = 25.0
    X = [[0.1 * k, 0.3] for k in range(5)]
    loss = nn.mse_loss([model(x) for x in X], [1.0] * 5)
    it = why(model.layers[0].neurons[0].weight[1], loss)
    assert it.causes[0] == "saturation" and len(it.culprits) == 5
    assert {edge.node.label for edge in it.culprits} == {"layers.0[0]"}
    assert "→ layers.0[0] (5 times)." in " ".join(str(it).split())
    assert "No single factor" not in str(it) and math.isfinite(it.flow.g)
