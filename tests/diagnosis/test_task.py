"""What is asked about: the loss that targets are for, and data that are refused."""

import math

import numpy as np
import pytest

from microgradx import Value, nn
from microgradx.diagnosis.task import of_probabilities, of_probability, task_of
from tests.diagnosis.nets import rows

X = rows(40, 3)
SIGN = X[:, 0] > 0
CLASS = (X[:, 0] > 0) + 0 + (X[:, 1] > 0)


def softmax_net():
    class Net(nn.Module):
        def __init__(self):
            self.body = nn.MLP(3, [4, 3], seed=0)

        def __call__(self, x):
            es = [z.exp() for z in self.body(x)]
            total = sum(es)
            return [e / total for e in es]

    return Net()


def net(width=1, output=None):
    return nn.MLP(3, [4, width], output=output, seed=0)


@pytest.mark.parametrize(
    "model, y, name, words",
    [
        (net(3), CLASS, "cross_entropy", "3 classes, so cross-entropy"),
        (softmax_net(), CLASS, "cross_entropy", "so cross-entropy of probabilities"),
        (net(3), np.eye(3)[CLASS], "cross_entropy", "so cross-entropy"),
        (net(), SIGN * 1.0, "binary_cross_entropy", "0 and 1, so binary cross-entropy"),
        (net(1, "sigmoid"), SIGN * 1.0, "binary_cross_entropy", "probabilities of 0 and 1"),
        (net(2), np.c_[SIGN, ~SIGN | SIGN] * 1.0, "binary_cross_entropy", "0 and 1"),
        (net(), SIGN * 2.0 - 1.0, "hinge", "-1 and 1, so hinge loss"),
        (net(1, "tanh"), SIGN * 2.0 - 1.0, "mse", "mean squared error"),
        (net(), X[:, 0], "mse", "mean squared error"),
        (net(), X[:, :1], "mse", "mean squared error"),
        (net(3), X, "mse", "mean squared error"),
        (net(1, "sigmoid"), CLASS * 50.0, "mse", "mean squared error"),
    ],
)
def test_the_loss_that_targets_are_for(model, y, name, words):
    task = task_of(model, X, y, None, 10_000)
    assert task.name == name and words in task.source
    prediction = model(X[0].tolist())
    assert math.isfinite(task.of_row(prediction, task.targets[0].tolist()).data)


@pytest.mark.parametrize(
    "model, y, loss",
    [(net(3), CLASS, None), (net(), SIGN * 1.0, None), (net(), X[:, 0], None),
     (net(), SIGN * 2.0 - 1.0, None), (net(3), X, None)],
)  # fmt: skip
def test_the_guess_is_the_best_of_constants(model, y, loss):
    """Its loss at the best of many constants is no less, and hardly more."""
    task = task_of(model, X, y, loss, 10_000)
    width = 1 if task.targets.ndim == 1 else task.targets.shape[1]

    def mean_loss(constants):
        values = [Value(c) for c in constants]
        prediction = values if task.targets.ndim > 1 else values[0]
        return np.mean([task.of_row(prediction, t.tolist()).data for t in task.targets])

    rng, best, found = np.random.default_rng(0), np.zeros(width), math.inf
    for step in np.geomspace(3.0, 1e-3, 400):
        tried = best + step * rng.normal(size=width)
        loss_there = mean_loss(tried)
        if loss_there < found:
            best, found = tried, loss_there
    assert task.guess <= found + 1e-12
    assert found == pytest.approx(task.guess, rel=0.02)


def test_losses_of_probabilities_are_those_of_logits():
    zs = [0.3, -1.2, 2.0]
    ps = np.exp(zs) / np.exp(zs).sum()
    one = of_probabilities([Value(p) for p in ps], [0.0, 1.0, 0.0]).data
    assert one == pytest.approx(nn.cross_entropy([Value(z) for z in zs], 1).data, rel=1e-13)
    p = Value(0.8)
    for t in (0.0, 1.0):
        other = nn.binary_cross_entropy_with_logits(p.log() - (1.0 - p).log(), t).data
        assert of_probability(p, t).data == pytest.approx(other, rel=1e-13)


def test_names_of_classes_where_the_net_knows_them():
    class Classifier:
        classes_ = np.array(["cat", "dog", "eel"])

        def __call__(self, x):
            return inner(x)

    inner = net(3)
    names = Classifier.classes_[CLASS]
    assert task_of(Classifier(), X, names, None, 10_000).y.tolist() == CLASS.tolist()
    with pytest.raises(ValueError, match="'fox', which is no class of the net"):
        task_of(Classifier(), X, ["fox"] * 40, None, 10_000)


def test_rows_are_taken_evenly():
    task = task_of(net(), X, np.arange(40.0), None, 16)
    assert len(task.X) == 16 and task.total == 40
    assert task.y.tolist() == [40 * k // 16 for k in range(16)]


def test_no_targets_ask_about_the_mean_output():
    task = task_of(net(3), X, None, None, 10_000)
    assert task.targets is None and task.guess is None
    prediction = task.model(X[0].tolist())
    assert task.of_row(prediction, None).data == pytest.approx(
        np.mean([y.data for y in prediction])
    )


def test_a_model_in_training_is_asked_in_use_and_left_as_it_was():
    class Net(nn.Module):
        def __init__(self):
            self.layer, self.norm = nn.Layer(3, 4, None, seed=0), nn.BatchNorm(4)
            self.out = nn.Layer(4, 1, None, seed=1)

        def __call__(self, x):
            return self.out(self.norm(self.layer(x)))

    model = Net()
    model.norm.train(False)
    assert task_of(model, X, X[:, 0], None, 10_000).total == 40
    assert model.training and model.layer.training and not model.norm.training


NAN = X.copy()
NAN[3, 1] = np.nan


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ((net(), NAN, X[:, 0]), ValueError, r"X\[3, 1\] is nan"),
        ((net(), X, NAN[:, 1]), ValueError, r"y\[3\] is nan"),
        ((net(), X[:, :2], X[:, 0]), ValueError, "expected 3 inputs, got 2"),
        ((net(), X[:0], X[:0, 0]), ValueError, "X is empty"),
        ((net(), [["a", "b", "c"]], [1.0]), TypeError, "X must hold numbers"),
        ((net(), "data.csv", X[:, 0]), TypeError, "load it, and pass the array"),
        ((net(), X, X[:5, 0]), ValueError, "40 samples, but y has 5"),
        ((net(3), X, ["a"] * 40), TypeError, "return_inverse"),
        ((net(), X, X), ValueError, "a row of y has the shape"),
        ((net(), X, X[:, 0], "crossentropy"), ValueError, "not known"),
        ((net(), X, X[:, 0], 3), TypeError, "not known"),
        ((net(), X, None, "mse"), TypeError, "takes targets; pass y"),
        ((net(), X, X[:, 0], "cross_entropy"), ValueError, "binary_cross_entropy"),
        ((net(), X, X[:, 0], "hinge"), ValueError, "targets -1 and 1"),
        ((net(3), X, CLASS + 1, "cross_entropy"), ValueError, "from 0 to 2"),
        ((None, X, X[:, 0]), TypeError, "adopt takes"),
        ((lambda x: x[0] * 2.0, X, X[:, 0]), ValueError, "no parameters"),
        (("net.pt", X, X[:, 0]), ValueError, "pickle"),
    ],
)
def test_bad_input(arguments, error, words):
    model, X_, y, *loss = arguments
    with pytest.raises(error, match=words):
        task_of(model, X_, y, *(loss or [None]), 10_000)


@pytest.mark.parametrize("rows_, error", [(0, ValueError), (-3, ValueError), (2.5, TypeError)])
def test_rows_are_a_whole_number(rows_, error):
    with pytest.raises(error, match="rows must be"):
        task_of(net(), X, X[:, 0], None, rows_)
