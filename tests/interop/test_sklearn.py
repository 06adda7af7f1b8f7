"""scikit-learn's nets, adopted: outputs and gradients to 1e-12 of its own."""

import copy

import numpy as np
import pytest

import microgradx as mx
from microgradx._base.arguments import flat
from microgradx.nn.module import tensors

pytest.importorskip("sklearn")

from sklearn import neural_network  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.neural_network import MLPClassifier, MLPRegressor  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import (  # noqa: E402
    MaxAbsScaler,
    MinMaxScaler,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)

pytestmark = pytest.mark.filterwarnings("ignore")  # of nets that have not converged

X = np.random.default_rng(0).normal(size=(60, 4)) * 3.0 + 5.0
CLASSES = (X[:, 0] > 5).astype(int) + (X[:, 1] > 6)
SEVERAL = np.stack([CLASSES > 0, CLASSES > 1], 1)


def net(kind, y, *scalers, X=X, **named):
    made = kind(hidden_layer_sizes=(6, 5), max_iter=15, random_state=0, **named)
    return (make_pipeline(*scalers, made) if scalers else made).fit(X, y)


NETS = {
    "relu": lambda: net(MLPClassifier, CLASSES, activation="relu"),
    "tanh": lambda: net(MLPClassifier, CLASSES, activation="tanh"),
    "logistic": lambda: net(MLPClassifier, CLASSES, activation="logistic"),
    "identity": lambda: net(MLPClassifier, CLASSES, activation="identity"),
    "two classes": lambda: net(MLPClassifier, CLASSES > 0),
    "labels": lambda: net(MLPClassifier, SEVERAL),
    "one target": lambda: net(MLPRegressor, X[:, 0] ** 2),
    "two targets": lambda: net(MLPRegressor, X[:, :2]),
    "standard": lambda: net(MLPClassifier, CLASSES, StandardScaler()),
    "min and max": lambda: net(MLPClassifier, CLASSES, MinMaxScaler((-1, 2), clip=True)),
    "many scalers": lambda: net(MLPRegressor, X[:, 0], RobustScaler(), MaxAbsScaler(),
                                StandardScaler(with_mean=False), "passthrough",
                                StandardScaler(with_std=False)),
}  # fmt: skip


def outputs(estimator, rows):
    if not hasattr(estimator, "predict_proba"):
        return estimator.predict(rows)
    found = estimator.predict_proba(rows)
    return found[:, 1] if found.shape[1] == 2 and np.allclose(found.sum(1), 1) else found


@pytest.mark.parametrize("name", NETS)
def test_outputs_are_scikit_learns(name):
    estimator = NETS[name]()
    wide = np.concatenate([X, 4 * X])
    for model in (mx.adopt(estimator), mx.adopt(estimator, example=X)):
        assert "its outputs agree with scikit-learn to " in model.agreement
        assert np.abs(model.predict(wide) - outputs(estimator, wide)).max() < 1e-11
    twin = copy.deepcopy(model)
    for p in twin.parameters():
        p.data *= 1.5
    twin.load_state_dict(model.state_dict())
    assert np.array_equal(twin.predict(X), model.predict(X))


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
def test_gradients_are_those_of_its_own_backpropagation(activation):
    estimator = net(MLPClassifier, CLASSES, activation=activation, alpha=0.0)
    model = mx.adopt(estimator)
    y = np.eye(3)[CLASSES]
    layers = [X] + [np.empty((len(X), n)) for n in (6, 5, 3)]
    coefs = [np.empty_like(c) for c in estimator.coefs_]
    intercepts = [np.empty_like(b) for b in estimator.intercepts_]
    deltas = [np.empty_like(a) for a in layers[1:]]
    if not hasattr(estimator, "_backprop"):
        pytest.skip("scikit-learn's private backpropagation has another name")
    estimator._backprop(X, y, None, layers, deltas, coefs, intercepts)

    replay = mx.record(lambda x, y: -mx.dot(y, [p.log() for p in model(x)]), X[0], y[0])
    replay(X, y)
    own = dict(zip(replay.parameters, replay.gradient))
    for name, tensor in tensors(model):
        k, kind = int(name.split(".")[1]), name.split(".")[2]
        want = coefs[k].T if kind == "weight" else intercepts[k]
        found = np.reshape([own[p] for p in flat(tensor)], want.shape)
        assert np.abs(found - want).max() < 1e-12


def test_its_layers_are_called_as_those_of_nn():
    estimator = net(MLPClassifier, CLASSES, StandardScaler())
    model = mx.adopt(estimator)
    assert (
        dict(model.named_parameters())["layers.0.weight[2,1]"].data
        == (estimator[-1].coefs_[0][1, 2])
    )
    labels = {node.label for node in mx.engine.order(*model(X[0])) if node.rule}
    assert {"layers.0[5].z", "layers.0[5]", "layers.1[4]", "layers.2[2]"} <= labels
    assert "standardscaler: StandardScaler" in str(model)


def test_float32_says_how_it_rounds():
    estimator = net(MLPClassifier, CLASSES, X=X.astype(np.float32))
    assert ", as float32 it rounds to " in mx.adopt(estimator).agreement


@pytest.mark.parametrize("call, kind, words", [
    (lambda: mx.adopt(MLPClassifier()), ValueError, r"not fitted yet; call fit\(X, y\)"),
    (lambda: mx.adopt(make_pipeline(StandardScaler(), MLPClassifier())), ValueError, "not fitted"),
    (lambda: mx.adopt(LogisticRegression()), TypeError, "supported are MLPClassifier"),
    (lambda: mx.adopt(make_pipeline(PolynomialFeatures(), MLPClassifier())), TypeError,
     "PolynomialFeatures"),
    (lambda: mx.adopt(make_pipeline("passthrough")), TypeError, "without a net"),
    (lambda: mx.adopt(neural_network.BernoulliRBM()), TypeError, "BernoulliRBM"),
    (lambda: mx.adopt(NETS["relu"](), X[:, :2]), ValueError, r"rows of 4 numbers.*\(8, 2\)"),
    (lambda: mx.adopt(NETS["relu"]())(X[0, :2]), ValueError, r"\(4,\), got \(2,\)"),
    (lambda: mx.adopt(NETS["relu"](), X * np.nan), ValueError, "nan"),
])  # fmt: skip
def test_bad_input_is_one_clear_error(call, kind, words):
    with pytest.raises(kind, match=words):
        call()
