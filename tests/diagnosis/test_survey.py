"""One walk over the rows: the same as row by row, unit by unit, by other means."""

import math

import numpy as np
import pytest

from microgradx import Flow, nn
from microgradx.diagnosis import survey as surveys
from microgradx.diagnosis import tallies
from microgradx.diagnosis.ledger import OPPOSITION, Ledger
from microgradx.diagnosis.survey import Survey
from microgradx.diagnosis.task import task_of
from microgradx.engine import order
from microgradx.explain.samples import role_of
from tests.diagnosis.nets import classes, planted, rows


def survey_of(model, X, y=None, loss=None):
    return Survey(task_of(model, X, y, loss, 10_000))


NETS = ("relu", "tanh", "sigmoid", "gelu", "planted")


def net(name):
    if name == "planted":
        return planted()
    return nn.MLP(5, [6, 4, 3], activation=name, init="glorot", seed=1), *classes(30, 5, 3)


@pytest.mark.parametrize("name", NETS)
def test_the_ledger_is_the_mean_of_the_flows(name):
    model, X, y = net(name)
    X, y = X[:12], y[:12]
    found = survey_of(model, X, y)
    ledger = Ledger(found)
    layers = {}
    for x, t in zip(found.task.X, found.task.targets):
        loss = found.replay.played(x, t)
        flow = Flow(loss)
        for node in order(loss):
            path, _, role = role_of(node.label)
            if path.startswith("layers") and (role == "z" or (role, path) == ("y", "layers.2")):
                layers.setdefault(path, []).append(flow[node])
    for path, ones in layers.items():
        line = ledger.lines[path]
        reached = [one for one in ones if one.norm]
        assert line.nodes == len(ones) and line.reached == pytest.approx(len(reached) / len(ones))
        moved = [one for one in reached if one.g]
        assert line.moved == pytest.approx(len(moved) / len(ones))
        norm = np.mean([one.norm.decades for one in moved])
        decades = np.mean([one.decades for one in moved])
        assert line.norm == pytest.approx(norm, abs=1e-11)
        assert line.decades == pytest.approx(decades, abs=1e-11)
        middle = np.percentile([one.decades for one in moved], 50, method="inverted_cdf")
        assert line.median == pytest.approx(middle, abs=tallies.BIN)
        assert sum(line.parts.values()) == pytest.approx(line.decades, abs=1e-11)
        for kind in ("saturation", "sigmoid ceiling", "loss", "gates"):
            mine = sum(x for (k, _), x in line.parts.items() if k == kind)
            whole = np.mean([one.budget.get(kind, 0.0) for one in moved])
            assert mine == pytest.approx(whole, abs=1e-11), kind


@pytest.mark.parametrize("name", NETS)
def test_units_are_counted_as_numpy_counts_them(name):
    model, X, y = net(name)
    found = survey_of(model, X, y).units
    h, by_key = X, {}
    for k, layer in enumerate(model.layers[:-1]):
        w = np.array([[p.data for p in n.weight] for n in layer.neurons])
        z = h @ w.T + [n.bias.data for n in layer.neurons]
        h = layer.predict(h)
        for j in range(len(layer.neurons)):
            by_key[f"layers.{k}", str(j)] = z[:, j], h[:, j]
    assert {*found.keys} == {*by_key}
    for u, key in enumerate(found.keys):
        z, y_ = by_key[key]
        assert found.seen[u] == len(X)
        assert found.least[u] == pytest.approx(z.min(), rel=1e-12, abs=1e-14)
        assert found.most[u] == pytest.approx(z.max(), rel=1e-12, abs=1e-14)
        assert found.mean[u] == pytest.approx(y_.mean(), rel=1e-10, abs=1e-14)
        assert found.spread[u] == pytest.approx(y_.std(), rel=1e-9, abs=1e-12)
        if found.ops[u] == "relu":
            assert found.off[u] == (z <= 0).sum() and found.saturated[u] == 0
        if found.ops[u] == "sigmoid":
            slope = h_slope(z)
            assert found.saturated[u] == (slope < 0.0025).sum() and found.off[u] == 0


def h_slope(z):
    e = np.exp(-np.abs(z))
    return e / (1 + e) ** 2


def test_batches_add_up(monkeypatch):
    model, X, y = planted()
    whole = survey_of(model, X, y)
    monkeypatch.setattr(surveys, "AT_ONCE", 33)
    pieces = survey_of(model, X, y)
    assert pieces.pieces(200) == 7
    assert np.array_equal(whole.units.off, pieces.units.off)
    assert np.allclose(whole.losses, pieces.losses, rtol=1e-12)
    assert np.allclose(whole.gradient, pieces.gradient, rtol=1e-9, atol=1e-15)
    assert np.array_equal(whole.moved, pieces.moved)
    for one, other in zip(whole.books.values(), pieces.books.values()):
        assert (one.nodes, one.reached, one.moved) == (other.nodes, other.reached, other.moved)
        assert one.means[:2] == pytest.approx(other.means[:2], rel=1e-12)
        assert abs(one.median - other.median) <= tallies.BIN


def test_what_has_been_seen_is_kept_when_it_is_stopped(monkeypatch):
    model, X, y = planted()
    monkeypatch.setattr(surveys, "AT_ONCE", 50)
    found = Survey(task_of(model, X, y, None, 10_000), stop=lambda: True)
    first = survey_of(model, X[:50], y[:50])
    assert found.done == 50 == len(found.task.X) == len(found.losses)
    assert np.allclose(found.gradient, first.gradient, rtol=1e-12)
    assert found.results.shape == (4, 50)


def test_recurrent_units_are_one_at_all_steps():
    class Loop(nn.Module):
        def __init__(self):
            self.cell = nn.Layer(3, 2, None, seed=0)
            self.out = nn.Layer(2, 1, None, seed=1)

        def __call__(self, xs):
            h = [0.0, 0.0]
            for x in xs:
                zs = self.cell([x, *h])
                for z in zs:
                    z.label = ""
                h = [z.tanh() for z in zs]
            return self.out(h)

    X = rows(10, 4)
    found = survey_of(Loop(), X, X[:, 0]).units
    assert [key for key in found.keys if key[0] == "cell tanh"] == []
    assert len(found.keys) == 2 and all(found.seen == 40)


def test_a_symmetric_start_has_a_norm_and_no_gradient():
    """Two equal outputs pull a hidden unit both ways: R is there, g is 0 exactly."""
    model = nn.MLP(2, [2, 2], activation=None, seed=0)
    for neuron in model.layers[1].neurons:
        for w in neuron.weight:
            w.data = 0.5
        neuron.bias.data = 0.0
    X = rows(6, 2)
    line = Ledger(survey_of(model, X, X * 0.0 + [[0.5, 0.5]], "cross_entropy")).lines["layers.0"]
    assert line.reached == 1.0 and line.moved == 0.0
    assert math.isfinite(line.norm) and line.decades == -math.inf
    assert line.parts[OPPOSITION] == -math.inf
