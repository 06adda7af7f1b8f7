"""Locked neurons don't move, revivable ones can; what chance brings is as often as it should be."""

import math

import numpy as np
import pytest

import microgradx as mx
from microgradx import nn, optim
from microgradx._base.text import element
from tests.diagnosis.nets import rows


def with_deaths(seed):
    """A net of two or three hidden ReLU layers, with deaths by bias in each, and its check-up."""
    rng = np.random.default_rng([seed, 7])
    hidden = int(rng.integers(2, 4))
    model = nn.MLP(4, [10] * hidden + [1], seed=seed)
    X = rows(60, 4, seed)
    y = X[:, 0] - 0.5 * X[:, 1]
    for layer in model.layers[:-1]:
        for j in rng.choice(10, int(rng.integers(2, 5)), replace=False):
            layer.neurons[int(j)].bias.data = -float(
                rng.uniform(3, 12) if layer is model.layers[0] else 30.0
            )
    return model, X, y, mx.checkup(model, X, y, loss="mse")


def dead_of(c):
    return [(u, row) for u, row in enumerate(c.neurons.rows) if row["verdict"] == "dead"]


def test_locked_neurons_do_not_move_by_a_bit(many):
    locked = 0
    for seed in range(many(5, 40)):
        model, X, y, c = with_deaths(seed)
        kept = {
            (row["layer"], row["neuron"]): [p.data for p in neuron_of(model, row).parameters()]
            for _, row in dead_of(c)
            if row["locked"]
        }
        mx.fit(model, X, y, loss="mse", epochs=1000, batch_size=None,
               optimizer=optim.SGD(model.parameters(), lr=0.01))  # fmt: skip
        for (layer, k), before in kept.items():
            row = {"layer": layer, "neuron": k}
            assert [p.data for p in neuron_of(model, row).parameters()] == before
        locked += len(kept)
    assert locked >= 5


def neuron_of(model, row):
    return model.layers[int(row["layer"].split(".")[1])].neurons[row["neuron"]]


def test_revivable_neurons_change_with_the_tensors_that_are_named(many):
    freed = 0
    for seed in range(many(8, 40)):
        model, X, _, c = with_deaths(seed)
        for u, row in dead_of(c):
            if row["locked"]:
                continue
            freed += 1
            z = c.survey.units.nodes[u][0].inputs[0]
            before = c.survey.values_of([z])
            for name in row["through"].split(", "):
                own = [p for p in model.parameters() if element(p.label)[0] == name]
                moving = [p for p, n in zip(c.survey.replay.parameters, c.survey.moved) if n]
                assert {*own} & {*moving}, name
                for p in own:
                    p.data += 0.01
                c.survey.replay.refresh()
                assert (c.survey.values_of([z]) != before).any(), name
                for p in own:
                    p.data -= 0.01
                c.survey.replay.refresh()
    assert freed >= 5


def test_proved_neurons_are_off_all_over_the_box_and_refuted_ones_are_not(many):
    said = {"proved": 0, "refuted": 0}
    for seed in range(many(10, 60)):
        model, X, _, c = with_deaths(seed)
        rng = np.random.default_rng(seed)
        low, high = X.min(axis=0), X.max(axis=0)
        points = rng.uniform(low, high, (5000, 4))
        for u, row in dead_of(c):
            if row["layer"] != "layers.0":
                assert row["proof"] in ("proved", "refuted", "unknown")  # see test_proof.py
                continue
            neuron = neuron_of(model, row)
            w, b = np.array([p.data for p in neuron.weight]), neuron.bias.data
            said[row["proof"]] += 1
            if row["proof"] == "proved":
                assert (points @ w + b <= 0).all() and np.where(w > 0, high, low) @ w + b <= 0
            else:
                assert c.verdicts.proofs[u].witness @ w + b > 0
    assert min(said.values()) >= 2, said


# --- laws ----------------------------------------------------------------------------------------


def within_three_errors(hits, n, p):
    return abs(hits / n - p) <= 3 * math.sqrt(p * (1 - p) / n)


@pytest.mark.some(1)
@pytest.mark.slow
@pytest.mark.parametrize("width, hidden", [(2, 3), (3, 5)])
def test_born_dead(width, hidden, many):
    """Of He's ReLU nets without biases on one ray: 1 - (1 - 2^-N)^H (Lu et al. 2019)."""
    n, born_dead, unreached = many(25, 1500), 0, 0
    for seed in range(n):
        model = nn.MLP(3, [width] * hidden + [1], seed=seed)
        row = np.array([0.3, -1.0, 0.7])  # on the ray through it all is on or off alike
        c = mx.checkup(model, [row, 2.0 * row], [1.0, 2.0], loss="mse")
        table = c.neurons
        layers = [
            [v for v, layer in zip(table["verdict"], table["layer"]) if layer == f"layers.{k}"]
            for k in range(hidden)
        ]
        born_dead += any(all(v == "dead" for v in layer) for layer in layers)
        unreached += c.layers["reached"][0] == 0
    p = 1 - (1 - 2.0**-width) ** hidden
    assert within_three_errors(born_dead, n, p), (born_dead, n, p)
    assert within_three_errors(unreached, n, p), (unreached, n, p)  # P(g = 0) is the same


@pytest.mark.some(1)
@pytest.mark.parametrize("d, p", [(1, 0.25), (2, 0.108173)])
def test_dead_over_the_whole_box(d, p, many):
    """A ReLU with weights and bias from N(0, 1) on [-1, 1]^d."""
    hits = n = 0
    for seed in range(many(2, 40)):
        model = nn.MLP(d, [500, 1], init=lambda i, o, rng: rng.gauss(0.0, 1.0), seed=seed)
        rng = np.random.default_rng(seed)
        for neuron in model.layers[0].neurons:
            neuron.bias.data = float(rng.normal())
        corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * d)).reshape(d, -1).T
        c = mx.checkup(model, corners, corners[:, 0], loss="mse", box=(-1.0, 1.0))
        hits += c.neurons["proof"].count("proved")
        n += 500
    assert within_three_errors(hits, n, p), (hits, n, p)


@pytest.mark.some(1)
@pytest.mark.slow
@pytest.mark.parametrize("variance", [1.5, 3.0])
def test_decades_a_layer_of_deep_tanh_nets(variance, many):
    """Mean field: ½ log₁₀ χ (Poole et al. 2016), at the fixed point of the forward pass."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    q = 1.0
    for _ in range(10_000):
        q = variance * (weights * np.tanh(np.sqrt(q) * nodes) ** 2).sum()
    chi = variance * (weights * (1 - np.tanh(np.sqrt(q) * nodes) ** 2) ** 2).sum()
    rates = []
    for seed in range(many(1, 12)):

        def draw(nin, nout, rng):
            return rng.gauss(0.0, math.sqrt(variance / nin))

        model = nn.MLP(60, [60] * 10 + [1], "tanh", init=draw, seed=seed)
        X = rows(20, 60, seed) * math.sqrt(q)
        lines = mx.checkup(model, X, X[:, 0], loss="mse").ledger.lines
        rates.append((lines["layers.2"].norm - lines["layers.8"].norm) / 6)
    assert np.mean(rates) == pytest.approx(0.5 * math.log10(chi), abs=0.05)
