"""A step of SGD that the generated source takes, and the gradient that is told of after it."""

import numpy as np
import pytest

import microgradx as mx
from microgradx import Value, nn
from microgradx.ops import dot
from microgradx.replay import lift, record
from microgradx.train import fit


def penalised(seed):
    """A loss of samples, and of the parameters alone."""
    model = nn.MLP(3, [5, 4, 1], "tanh", seed=seed)
    parameters = model.parameters()
    return lambda x, y: (model(x) - y) ** 2 + 0.01 * dot(parameters, parameters)


def batch(seed, n):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)), rng.normal(size=n)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_it_is_a_step_against_the_gradient_at_any_rate_and_size(dtype):
    close = 1e-13 if dtype == "float64" else 1e-5
    for seed in range(4):
        one, other = (record(penalised(seed), [0.1] * 3, 0.5, dtype=dtype) for _ in range(2))
        for step, (rate, n) in enumerate([(0.1, 8), (0.1, 8), (0.03, 8), (0.1, 5), (2.0**-9, 1)]):
            rows = batch(step, n)
            one.load(*rows)
            loss = one.run()
            gradient = one.gradient.copy()
            one.data -= rate * gradient
            other.load(*rows, rate=rate)
            assert other.descend() == pytest.approx(loss, rel=close)
            largest = np.abs(gradient).max()
            np.testing.assert_allclose(other.gradient, gradient, close, close * largest)
            np.testing.assert_allclose(other.data, one.data, close, close * np.abs(one.data).max())


def test_a_rate_is_that_of_its_batch_alone():
    replay = record(penalised(1), [0.1] * 3, 0.5)
    rows = batch(1, 6)
    wanted = replay(*rows), replay.gradient.copy()
    replay.load(*rows, rate=0.25)
    replay.run()
    assert (replay.gradient == wanted[1]).all()  # a power of 2 is exact
    replay.store()
    assert [p.grad for p in replay.parameters] == wanted[1].tolist()
    assert replay(*rows) == wanted[0] and (replay.gradient == wanted[1]).all()
    before = replay.data.copy()
    replay.descend()  # at the rate of the latest batch, which is 1
    assert (replay.data == before - wanted[1]).all()


def test_what_was_lifted_has_no_rate():
    w = Value(2.0)
    replay = lift(w * 3.0 + 1.0)
    with pytest.raises(TypeError, match="has no samples"):
        replay.load(rate=0.1)
    replay.load()
    assert replay.run() == 7.0


@pytest.mark.parametrize("change", [
    {"momentum": 0.5}, {"weight_decay": 0.1}, {"lr": 1e-12}, {"lr": 0.0}, {},
])  # fmt: skip
def test_fit_lets_the_source_step_where_the_optimiser_is_plain_sgd(change, monkeypatch):
    moves = []
    move = mx.optim.SGD.move
    monkeypatch.setattr(mx.optim.SGD, "move", lambda *step: moves.append(1) or move(*step))
    model = nn.MLP(3, [4, 1], seed=0)
    optimizer = mx.optim.SGD(model.parameters(), **{"lr": 0.1, **change})
    X, y = batch(0, 40)
    before = [p.data for p in model.parameters()]
    fit(model, X, y, loss="mse", epochs=2, batch_size=10, optimizer=optimizer, seed=0)
    assert bool(moves) == bool(change)
    assert ([p.data for p in model.parameters()] == before) == (change == {"lr": 0.0})


def test_a_rate_that_changes_between_epochs_and_what_is_told_of_gradients():
    """Beside the scalar graph's own training."""
    X, y = batch(3, 12)
    seen = []
    for folds in (True, False):
        model, grads = nn.MLP(3, [4, 1], "tanh", seed=2), []
        optimizer = mx.optim.SGD(model.parameters(), 0.1)
        if not folds:
            optimizer.move = optimizer.move  # its own

        def halve(epoch, model=model, optimizer=optimizer, grads=grads):
            optimizer.lr /= 2.0
            grads.append([p.grad for p in model.parameters()])

        history = fit(model, X, y, loss="mse", epochs=4, batch_size=5, optimizer=optimizer,
                      on_epoch=halve, seed=1)  # fmt: skip
        seen.append((grads, [p.data for p in model.parameters()], history.loss,
                     [*history[-1].gradients.values()]))  # fmt: skip
    for one, other in zip(*seen):
        np.testing.assert_allclose(one, other, 1e-12, 1e-15)
