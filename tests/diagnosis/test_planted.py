"""Planted nets: all that was planted is found, first where it is alone, and nothing is made up."""

import numpy as np
import pytest

from microgradx import nn
from tests.diagnosis import second_plants
from tests.diagnosis.planted_nets import PLANTS, Net, healthy, missed

SEED = 92_000  # those of development were others


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_plant_is_found_and_nothing_is_made_up(plant, many):
    for k in range(many(2, 25)):
        assert not (told := missed(plant, SEED + k)), told


@pytest.mark.parametrize("plant", second_plants.PLANTS, ids=lambda plant: plant.__name__)
def test_a_plant_that_was_thought_of_later(plant, many):
    for k in range(many(1, 16)):
        assert not (told := second_plants.missed(plant, SEED + k)), told


def test_nets_that_learn_are_healthy(many):
    wanted, learnt, seed = many(3, 100), 0, SEED
    while learnt < wanted:
        c, learns = healthy(seed)
        seed += 1
        if learns:
            learnt += 1
            assert c.findings == [], f"{seed - 1}\n{c}"


def test_the_truth_of_the_planter_is_that_of_the_net():
    """Its own forward pass is the model's, and its path norms are those of the ledger, about."""
    for seed in range(6):
        net = Net(np.random.default_rng(seed))
        assert np.allclose(net.forward()[1].ravel(), net.model.predict(net.X).ravel())
    net = Net(np.random.default_rng(1), "tanh", 3, "mse")
    ledger = net.checkup().ledger
    for k in range(3):
        line = ledger.lines[f"layers.{k}"]
        assert ledger.short(line) == pytest.approx(net.short(k), abs=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_a_plant_that_is_taken_away_is_not_found(seed):
    """The same net with the mean-free inputs, or without the dead units, has no finding."""
    net = Net(np.random.default_rng([seed, 5]), "tanh", 2)
    assert net.checkup().findings == []
    net.X += 50.0
    assert net.checkup().findings[0].verdict == "inputs far from 0"
    net.X -= 50.0
    net.model = nn.MLP(net.X.shape[1], [12, len(net.model.layers[-1].neurons)], "tanh",
                       init="glorot", seed=seed)  # fmt: skip
    assert net.checkup().findings == []
