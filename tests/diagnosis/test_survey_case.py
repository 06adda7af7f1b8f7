"""The survey's own test case: a PyTorch net on scikit-learn's digits, with three faults planted.

Eight ReLUs are dead on all of [0, 1]^64, four on the data alone, two more by PyTorch's own start.
The sigmoids' weights are 300 times too large; the last layer's are of the size 1e-4.
"""

import math

import numpy as np
import pytest

import microgradx as mx

PROVED = [3, 9, 17, 22, 31, 40, 52, 60]
ON_DATA = [5, 28, 44, 57]
BY_CHANCE = [33, 54]


@pytest.fixture(scope="module")
def case():
    torch, datasets = pytest.importorskip("torch"), pytest.importorskip("sklearn.datasets")
    X, y = datasets.load_digits(return_X_y=True)
    X = X / 16.0
    torch.manual_seed(0)
    linear, nn = torch.nn.Linear, torch.nn
    model = nn.Sequential(linear(64, 64), nn.ReLU(), linear(64, 64), nn.Sigmoid(), linear(64, 10))
    model = model.double()
    with torch.no_grad():
        w, b = model[0].weight, model[0].bias
        b[PROVED] = -w[PROVED].clamp(min=0).sum(1) - 0.1
        z = torch.tensor(X) @ w.T
        b[ON_DATA] = -z[:, ON_DATA].max(0).values - 0.02
        model[2].weight *= 300
        model[4].weight.normal_(0, 1e-4)
    return model, X, y


def test_its_three_faults_exactly(case):
    c = mx.checkup(*case)
    assert [f.verdict for f in c.findings] == ["saturated", "small weights", "dead"]
    shut, small, dead = c.findings
    assert shut.where == "2" and len(shut.neurons) == 64
    assert shut.decades == pytest.approx(9.05, abs=0.01)
    assert "2.weight is 43 times Glorot's scale for a sigmoid (21.6, not 0.5)" in shut.because
    assert small.where == "4.weight" and "1/1,583 of Glorot's scale" in small.because
    assert small.decades == pytest.approx(3.81, abs=0.02)
    assert dead.where == "0" and list(dead.neurons) == sorted(PROVED + ON_DATA + BY_CHANCE)
    rows = [row for row in c.neurons.rows if row["verdict"] == "dead"]
    assert [row["neuron"] for row in rows if row["proof"] == "proved"] == PROVED
    assert all(row["locked"] for row in rows)
    assert c.agreement.startswith("agrees with PyTorch")


def test_its_ledger(case):
    """The mean decades of the adjoints by NumPy, whose slopes don't round to 0 as PyTorch's do."""
    model, X, y = case
    c = mx.checkup(*case)
    (w0, b0), (w2, b2), (w4, b4) = [
        (layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in model[::2]
    ]
    z0 = X @ w0.T + b0
    z2 = np.maximum(z0, 0) @ w2.T + b2
    logits = 1 / (1 + np.exp(-z2)) @ w4.T + b4
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    g4 = p / p.sum(axis=1, keepdims=True) - np.eye(10)[y]
    e = np.exp(-np.abs(z2))
    g2 = (g4 @ w4) * e / (1 + e) ** 2
    g0 = (g2 @ w2) * (z0 > 0)
    for path, g, decades in zip("024", (g0, g2, g4), (-3.41, -13.96, -0.91)):
        line = c.ledger.lines[path]
        assert line.decades == pytest.approx(np.log10(np.abs(g[g != 0])).mean(), abs=1e-9)
        assert line.decades == pytest.approx(decades, abs=0.01)
        assert line.moved == pytest.approx((g != 0).mean())
        assert math.fsum(line.parts.values()) == pytest.approx(line.decades, abs=1e-10)


@pytest.mark.long
def test_it_learns_as_it_is(case):
    trials = mx.checkup(*case).try_remedies(epochs=3, optimizer=lambda ps: mx.optim.SGD(ps, lr=0.1))
    assert trials.verdict.startswith("It learns as it is")
