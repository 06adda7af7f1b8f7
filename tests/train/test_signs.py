"""A training that diverges or stands still says so while it runs, once, and why."""

import io
import math
import sys

import numpy as np
import pytest

from microgradx import nn
from microgradx.engine import Value
from microgradx.optim import SGD
from microgradx.train import Epoch, History, fit
from microgradx.train.signs import LOOKED_AT, Signs

X = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
Y = [1.0, -1.0, -1.0, 1.0]
METRICS = {"mean": lambda predictions, targets: float(predictions.mean())}
HINT = "lecture's own net for them has tanh"


def shut(model, *layers, bias=-99.0):
    """A model of which these layers are off, or saturated, on all samples."""
    for i in layers:
        for neuron in model.layers[i].neurons:
            neuron.bias.data = bias
    return model


def trained(model, x=X, y=Y, lr=0.1, epochs=60, **more):
    optimizer = SGD(model.parameters(), lr)
    return fit(model, x, y, loss="mse", optimizer=optimizer, batch_size=None, epochs=epochs, **more)


def test_a_net_that_is_off_is_said_with_its_neurons_and_the_lectures_net():
    history = trained(shut(nn.MLP(3, [4, 4, 1], seed=1), 0, 1))
    assert history.remarks == [
        "the loss has not moved for 10 epochs: 8 of 8 neurons are off on all samples. The targets "
        'are ±1, and the lecture\'s own net for them has tanh: activation="tanh", output="tanh"'
    ]
    assert str(history).splitlines()[:2] == [repr(history), *history.remarks]


def test_the_seeds_of_the_lectures_net_that_are_stuck_are_said():
    """With the default ReLU and a large step most are; with the lecture's tanh none is."""
    said = [trained(nn.MLP(3, [4, 4, 1], seed=seed), lr=0.4, epochs=100) for seed in range(20)]
    stuck = [history for history in said if abs(history[-1].loss - 1.0) < 1e-6]
    assert len(stuck) > 15 and all("are off on all samples" in h.remarks[-1] for h in stuck)
    tanh = {"activation": "tanh", "output": "tanh"}
    good = [trained(nn.MLP(3, [4, 4, 1], **tanh, seed=seed)) for seed in range(20)]
    assert not any(history.remarks for history in good)


SAYINGS = [  # model, targets, what is said, whether with the hint
    (shut(nn.MLP(3, [4, 2, 1], seed=1), 1), Y, "all of layers.1 among them", True),
    (shut(nn.MLP(3, [4, 2, 1], seed=1), 1), [1.0, 0.0, 0.0, 1.0], "all of layers.1", False),
    (shut(nn.MLP(3, [1, 1], seed=1), 0), Y, "1 of 1 neuron is off on all samples.", True),
    (shut(nn.MLP(3, [3, 1], "tanh", seed=1), 0), Y, "3 of 3 neurons are saturated", False),
    (shut(nn.MLP(3, [3, 1], "sigmoid", seed=1), 0, bias=9.0), Y, "3 of 3 neurons are satu", False),
]


@pytest.mark.parametrize("model, y, words, hint", SAYINGS)
def test_what_is_off_or_saturated_is_said(model, y, words, hint):
    [remark] = heard(signs_of(model, y=y), [1.0] * 30).values()
    assert words in remark and (HINT in remark) == hint


def test_a_layer_that_is_off_is_said_by_a_name_without_escapes():
    class Net(nn.Module):
        def __init__(self):
            self.parts = {"\x1b[2J": shut(nn.MLP(3, [4, 2, 1], seed=1), 1)}

        def __call__(self, x):
            return self.parts["\x1b[2J"](x)

    [remark] = heard(signs_of(Net(), y=Y), [1.0] * 30).values()
    assert "all of parts.\ufffd[2J.layers.1 among them" in remark


def signs_of(model, x=X, y=Y):
    return Signs(model, np.array(x), np.array(y), lambda: None)


def heard(signs, losses):
    """What is said, by epoch."""
    history, said = History(), {}
    for loss in losses:
        history.append(Epoch(loss, None, {}, {}, 0.0))
        if remark := signs.after(history):
            said[len(history)] = remark
    return said


def test_it_is_said_after_ten_epochs_and_once():
    dead = shut(nn.MLP(3, [4, 1], seed=1), 0)
    assert list(heard(signs_of(dead), [1.0] * 99)) == [11]
    assert list(heard(signs_of(dead), [9.0, 2.0, 1.0] + [1.0] * 99)) == [13]
    assert heard(signs_of(dead), [1.0] * 10) == {}
    falling = [0.9**i for i in range(200)]
    assert heard(signs_of(dead), falling) == {}
    wavy = heard(signs_of(dead), [1.0, *[1.1, 1.2] * 20])
    assert list(wavy) == [11] and "has not fallen for 10 epochs" in wavy[11]


def test_a_loss_that_has_arrived_is_none():
    dead = shut(nn.MLP(3, [4, 1], seed=1), 0)
    assert heard(signs_of(dead), [1.0, 0.0099] + [0.0099] * 30) == {}
    assert heard(signs_of(dead), [1.0, 0.0101] + [0.0101] * 30)


def test_a_healthy_net_at_its_optimum_says_nothing():
    assert trained(nn.MLP(3, [1], seed=1), lr=0.05, epochs=3000).remarks == []
    assert heard(signs_of(nn.MLP(3, [4, 1], "tanh", seed=1)), [1.0] * 99) == {}
    few = nn.MLP(3, [8, 1], seed=1)
    for neuron in few.layers[0].neurons[:2]:
        neuron.bias.data = -99.0
    for neuron in few.layers[0].neurons[2:]:
        neuron.bias.data = 99.0
    assert heard(signs_of(few), [1.0] * 99) == {}  # a quarter is off


def test_looking_is_rare_where_nothing_is_wrong():
    looks = []
    model = nn.MLP(3, [4, 1], "tanh", seed=1)
    signs = Signs(model, np.array(X), np.array(Y), lambda: looks.append(1))
    heard(signs, [1.0] * 1000)
    assert len(looks) == 7  # after 10, 20, 40 … 640 epochs


def test_of_many_samples_a_hundred_are_looked_at():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(1234, 3))
    model, calls = shut(nn.MLP(3, [4, 1], seed=1), 0), []

    def counted(row):
        calls.append(row)
        return model(row)

    [remark] = heard(signs_of(counted, x, np.sign(x[:, 0])), [1.0] * 20).values()
    assert len(calls) == 8 + 95 and 95 <= LOOKED_AT
    assert "are off on all 95 samples that were looked at. The targets" in remark


@pytest.mark.parametrize("activation, looked_at", [("relu", 8), ("tanh", 8 + 100)])
def test_where_no_neuron_is_off_on_a_few_samples_the_others_are_not_run(activation, looked_at):
    x = np.random.default_rng(1).normal(size=(100, 3))
    model, calls = nn.MLP(3, [4, 1], activation, seed=1), []

    def counted(row):
        calls.append(row)
        return model(row)

    assert heard(signs_of(counted, x, np.sign(x[:, 0])), [1.0] * 15) == {}
    assert len(calls) == looked_at  # of a tanh the median slope counts, and that is of them all


@pytest.mark.parametrize("more", [{}, {"validation": (X[:2], Y[:2])}, {"metrics": METRICS}])
def test_looking_changes_no_step_and_no_measurement(more, monkeypatch):
    model, twin = (shut(nn.MLP(3, [4, 4, 1], seed=1), 1) for _ in range(2))
    y = [1.0, 1.0, 1.0, -1.0]  # whose mean the bias of the output comes near, step by step
    said = trained(model, y=y, epochs=200, **more)
    monkeypatch.setattr(Signs, "after", lambda *_: "")
    quiet = trained(twin, y=y, epochs=200, **more)
    assert said.remarks and said.loss == quiet.loss
    assert (said.validation_loss, said.metrics) == (quiet.validation_loss, quiet.metrics)
    assert [p.data for p in model.parameters()] == [p.data for p in twin.parameters()]


def test_it_looks_at_the_parameters_of_now():
    """At first no neuron is off; a step turns all of them off."""
    model = nn.MLP(1, [2, 1], init=lambda *_: 1.0)
    history = trained(model, x=[[1.0], [2.0]], y=[0.0, 1.0], lr=0.2, epochs=40)
    assert any("2 of 2 neurons are off on all samples" in remark for remark in history.remarks)


def test_a_terminal_gets_the_sentence_on_a_line_of_its_own(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    sys.stderr.isatty = lambda: True
    monkeypatch.setattr("microgradx.train.progress.REDRAW", 0.0)
    history = trained(shut(nn.MLP(3, [4, 4, 1], seed=1), 0, 1))
    before, after = sys.stderr.getvalue().split(f"{history.remarks[0]}\n")
    assert before.endswith("\r") and before.count("\n") == 0
    assert after.startswith("\repoch 1") and after.count("\n") == 1


# --- diverging ----------------------------------------------------------------------------------

DIVERGED = [  # losses, the epoch
    ([1.0, 2.0, 5e3], 3),
    ([1.0, 5e3, math.inf], 2),
    ([1.0, 5e3, 1.0], None),
    ([1.0, math.nan], 2),
    ([math.nan], 1),
    ([math.inf, math.inf], 1),
    ([1e58, 1e60], None),
    ([1e58, 1e62], 2),
    ([1e-9, 1.0], None),
    ([-1e9, 5.0, 1e13], 3),
    ([1.0, 0.5], None),
    ([], None),
]


@pytest.mark.parametrize("losses, epoch", DIVERGED)
def test_a_history_knows_since_when_it_diverges(losses, epoch):
    history = History(Epoch(loss, None, {}, {}, 0.0) for loss in losses)
    assert history.diverged == epoch
    assert (f", diverged at epoch {epoch}>" in repr(history)) == (epoch is not None)


@pytest.mark.parametrize("losses", [losses for losses, epoch in DIVERGED if epoch])
def test_diverging_is_said_when_it_begins_and_once(losses):
    said = heard(signs_of(nn.MLP(3, [2, 1], "tanh")), [*losses, math.inf, math.inf])
    [(epoch, remark)] = said.items()
    assert epoch == next(b for a, b in DIVERGED if a is losses)
    assert remark.startswith(f"diverged at epoch {epoch}: the loss is ")
    assert remark.endswith("; try a smaller lr")


def test_a_training_that_diverges_says_so():
    history = trained(nn.MLP(3, [1], seed=1), lr=10.0)
    assert history.remarks[0].startswith("diverged at epoch 2: the loss is ")
    assert "diverged at epoch 2" in repr(history)


def test_a_net_that_has_no_layers_says_nothing():
    class Scale(nn.Module):
        def __init__(self):
            self.w = Value(0.0)

        def __call__(self, x):
            return self.w * x[0]

    assert heard(signs_of(Scale()), [1.0] * 50) == {}
