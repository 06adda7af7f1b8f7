"""The optimiser's step: what it moves is what `step()` moves, and what begins where."""

import math

import numpy as np
import pytest

import microgradx as mx
from microgradx import nn, optim
from tests.diagnosis.nets import classes, planted


def after_a_step(model, X, y, make):
    """The parameters after one step of the mean loss, taken eagerly, and the loss there."""
    optimizer = make(model.parameters())
    loss = nn.cross_entropy([model(x.tolist()) for x in X], y.tolist())
    loss.backward()
    before = [p.data for p in model.parameters()]
    optimizer.step()
    after = [p.data for p in model.parameters()]
    there = nn.cross_entropy([model(x.tolist()) for x in X], y.tolist()).data
    for p, x in zip(model.parameters(), before):
        p.data, p.grad = x, 0.0
    return np.subtract(after, before), loss.data, there


@pytest.mark.parametrize(
    "make",
    [
        lambda ps: optim.SGD(ps, lr=0.5),
        lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, weight_decay=0.01),
        lambda ps: optim.Adam(ps, lr=0.01),
    ],
)
def test_the_step_is_that_of_the_optimiser(make):
    X, y = classes(40, 5, 3)
    model = nn.MLP(5, [6, 3], "tanh", init="glorot", seed=0)
    update, before, after = after_a_step(model, X, y, make)
    c = mx.checkup(model, X, y, optimizer=make)
    assert c.step.before.loss == pytest.approx(before, rel=1e-10)
    assert c.step.after.loss == pytest.approx(after, rel=1e-10)
    place = {p: k for k, p in enumerate(model.parameters())}
    for row in c.step.table.rows:
        mine = [k for p, k in place.items() if p.label.startswith(row["tensor"])]
        assert row["parameters"] == len(mine)
        assert row["update"] == pytest.approx(np.sqrt(np.mean(update[mine] ** 2)), rel=1e-9)
        if row["weight"]:
            ratio = math.log10(row["update"] / row["weight"])
            assert row["log10 ratio"] == pytest.approx(ratio)


def test_what_begins_where():
    """At the length where the loss is said to rise it does, and at nine tenths of it it doesn't."""
    X, y = classes(60, 5, 3)
    model = nn.MLP(5, [8, 8, 3], "relu", seed=0)
    c = mx.checkup(model, X, y, optimizer=lambda ps: optim.SGD(ps, lr=1.0))
    steps = c.step
    assert 1 < steps.rises < 1024 and 1 < steps.dies < 1024
    for factor, rises in ((steps.rises, True), (0.9 * steps.rises, False)):
        _, before, after = after_a_step(model, X, y, lambda ps, f=factor: optim.SGD(ps, lr=f))
        assert (after > before) == rises
    for factor, dies in ((steps.dies, True), (0.9 * steps.dies, False)):
        other = nn.MLP(5, [8, 8, 3], "relu", seed=0)
        update, *_ = after_a_step(other, X, y, lambda ps, f=factor: optim.SGD(ps, lr=f))
        for p, u in zip(other.parameters(), update):
            p.data += u
        neurons = mx.checkup(other, X, y).neurons
        start = mx.checkup(model, X, y).neurons
        fresh = [a and not b for a, b in zip(is_dead(neurons), is_dead(start))]
        assert any(fresh) == dies


def is_dead(table):
    return [verdict == "dead" for verdict in table["verdict"]]


def test_a_large_step_says_what_it_does():
    model, X, y = planted()
    c = mx.checkup(model, X, y, optimizer=lambda ps: optim.SGD(ps, lr=1e5))
    [finding] = [f for f in c.findings if f.verdict == "large step"]
    assert finding.where.startswith("SGD 1") and "That begins at" in finding.because
    off = [c.survey.units.keys[u] for u in c.step.turned_off]
    assert (f"turns {len(off)} neuron" in finding.because) == bool(off)


def test_only_what_the_optimiser_moves():
    X, y = classes(40, 5, 3)
    model = nn.MLP(5, [6, 3], "tanh", init="glorot", seed=0)
    last = model.layers[1].parameters()
    c = mx.checkup(model, X, y, optimizer=optim.SGD(last, lr=0.1))
    moved = {row["tensor"] for row in c.step.table.rows if row["update"]}
    assert moved == {"layers.1.weight", "layers.1.bias"}


def test_the_state_of_a_running_optimiser_counts_and_stays():
    X, y = classes(40, 5, 3)
    model = nn.MLP(5, [6, 3], "tanh", init="glorot", seed=0)
    adam = optim.Adam(model.parameters(), lr=0.01)
    mx.fit(model, X, y, loss="cross_entropy", epochs=3, optimizer=adam, seed=0)
    state = {name: [*x] for name, x in adam.state.items()}
    going = mx.checkup(model, X, y, optimizer=adam).step
    fresh = mx.checkup(model, X, y, optimizer=lambda ps: optim.Adam(ps, lr=0.01)).step
    assert adam.state == state
    assert going.table["update"] != fresh.table["update"]


def test_steps_of_pytorch():
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
    net = net.double()
    X, y = classes(40, 5, 3)
    c = mx.checkup(net, X, y, optimizer=torch.optim.SGD(net.parameters(), lr=0.3))
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    loss = torch.nn.functional.cross_entropy(net(torch.tensor(X)), torch.tensor(y))
    loss.backward()
    optimizer.step()
    for row in c.step.table.rows:
        moved = (dict(net.named_parameters())[row["tensor"]] - before[row["tensor"]]).detach()
        assert row["update"] == pytest.approx(float(moved.square().mean().sqrt()), rel=1e-9)
