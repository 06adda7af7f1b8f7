"""A scikit-learn net on Values, by its attributes: coefs_, intercepts_ and the activations."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from microgradx import ops
from microgradx._base.text import kind_of
from microgradx.interop import dense
from microgradx.interop.adopted import (
    Adopted,
    Figures,
    Spot,
    adopted,
    agree,
    difference,
    digits,
    furnish,
    keep_source,
    own_figures,
    refuse_large,
    rows_of_example,
)
from microgradx.interop.labels import Labels
from microgradx.interop.tensors import Array, add, objects

SCALED: dict[str, Callable[[Array, Any], Array]] = {
    "less": lambda x, numbers: add(x, -numbers),
    "over": lambda x, numbers: objects(x / objects(numbers)),
    "times": lambda x, numbers: objects(x * objects(numbers)),
    "plus": add,
}
NETS = ("MLPClassifier", "MLPRegressor")
# By scaler, the numbers that it takes away, divides by, multiplies with and adds, in this order.
SCALERS: dict[str, dict[str, str]] = {
    "StandardScaler": {"less": "mean_", "over": "scale_"},
    "RobustScaler": {"less": "center_", "over": "scale_"},
    "MaxAbsScaler": {"over": "scale_"},
    "MinMaxScaler": {"times": "scale_", "plus": "min_"},
}
SUPPORTED = (
    f"supported are {', '.join(NETS)}, and pipelines of one behind {', '.join(SCALERS)}; of "
    "other estimators, pass a function of one sample"
)


def adopt(estimator: Any, example: Any) -> Adopted:
    """A fitted net, or a pipeline of scalers and one; errors as for `interop.adopt`.

    Its outputs are the probabilities of `predict_proba` for a classifier, of the second class
    alone where there are two; the numbers of `predict` for a regressor. Its layers are called as
    those of an `nn.MLP`: `layers.0.weight[2,1]` is `coefs_[0][1, 2]`. Outputs are compared, as
    scikit-learn tells no gradients. One that is not fitted is a ValueError, another estimator a
    TypeError.
    """
    *scalers, (_, net) = _steps(estimator)
    for step, x in (*scalers, ("", net)):
        supported = SCALERS if step else NETS
        if type(x).__name__ not in supported:
            raise TypeError(f"{kind_of(x)} can't be adopted here; {SUPPORTED}")
        if not hasattr(x, "n_features_in_") or (not step and not hasattr(x, "coefs_")):
            raise ValueError(f"this {type(x).__name__} is not fitted yet; call fit(X, y) first")
    refuse_large(sum(c.size for c in net.coefs_), type(net).__name__, "a smaller net")
    width = (int((scalers[0][1] if scalers else net).n_features_in_),)
    rows = rows_of_example(example, width, type(net).__name__).astype(float)
    if rows.shape[1:] != width:
        raise ValueError(f"the net takes rows of {width[0]} numbers, got the shape {rows.shape}")
    run = _Net(net, scalers)
    model = adopted(type(net).__name__, run, width)
    spots = [Spot("layers", "Layers")] + [
        Spot(layer.path, "Layer", f"{c.shape[0]} → {c.shape[1]}, {layer.activation}")
        for layer, c in zip(run.layers, net.coefs_)
    ]
    spots += [Spot(step, type(x).__name__) for step, x in scalers]
    furnish(model, spots, run.tensors, run.buffers)
    run.model = model
    keep_source(model, lambda: _numbers(net, run.layers))
    source = _double(estimator)
    reference = Figures(_outputs(source, rows), {})
    apart = difference(own_figures(model, rows, run.tensors), reference)
    agree(model, apart, "scikit-learn", len(rows))
    kind = net.coefs_[0].dtype
    if kind != np.float64:
        own = Figures(_outputs(estimator, rows.astype(kind)), {})
        model.__dict__["agreement"] += f", as {kind} it rounds {digits(difference(own, reference))}"
    return model


def _numbers(net: Any, layers: list[dense.Layer]) -> dict[str, Any]:
    """The weights that it has now, as arrays by name."""
    found: dict[str, Any] = {}
    for layer, kernel, bias in zip(layers, net.coefs_, net.intercepts_):
        found |= {f"{layer.path}.weight": np.asarray(kernel).T, f"{layer.path}.bias": bias}
    return found


def _steps(estimator: Any) -> list[tuple[str, Any]]:
    """The steps of a pipeline by name, but for those that pass through; or the estimator alone."""
    if type(estimator).__name__ != "Pipeline":
        return [("", estimator)]
    steps = [(name, x) for name, x in estimator.steps if x is not None and x != "passthrough"]
    if not steps:
        raise TypeError(f"a pipeline without a net; {SUPPORTED}")
    return steps


def _double(estimator: Any) -> Any:
    """A copy whose weights are float64."""
    source = copy.deepcopy(estimator)
    net = _steps(source)[-1][1]
    net.coefs_ = [c.astype(float) for c in net.coefs_]
    net.intercepts_ = [b.astype(float) for b in net.intercepts_]
    return source


def _outputs(estimator: Any, rows: Any) -> Any:
    net = _steps(estimator)[-1][1]
    if not hasattr(net, "predict_proba"):
        return np.asarray(estimator.predict(rows), float)
    found = np.asarray(estimator.predict_proba(rows), float)
    return found[:, 1:] if net.n_outputs_ == 1 else found


class _Net:
    """How it is run; the scalers' numbers are those in the state of the adopted net."""

    def __init__(self, net: Any, scalers: list[tuple[str, Any]]) -> None:
        ends = [net.activation] * (len(net.coefs_) - 1) + [net.out_activation_]
        self.layers = [
            dense.Layer(f"layers.{k}", dense.known(end, type(net).__name__))
            for k, end in enumerate(ends)
        ]
        self.tensors: dict[str, Array] = {}
        for layer, kernel, bias in zip(self.layers, net.coefs_, net.intercepts_):
            self.tensors.update(dense.weights(layer.path, kernel, bias))
        self.scalers = [(step, type(x).__name__, _range(x)) for step, x in scalers]
        self.buffers = {
            f"{step}.{name}": np.asarray(getattr(x, name), float)
            for step, x in scalers
            for name in SCALERS[type(x).__name__].values()
            if getattr(x, name, None) is not None
            and (name != "mean_" or x.with_mean)  # which it has, used or not
        }
        self.model: Any = None

    def run(self, x: Array) -> Array:
        labels, x = Labels(), x[None]
        for step, kind, limits in self.scalers:
            for how, name in SCALERS[kind].items():
                if f"{step}.{name}" in self.buffers:
                    numbers = np.array(getattr(getattr(self.model, step), name))
                    x = SCALED[how](x, numbers)
            if limits:
                x = objects(np.frompyfunc(lambda v, ends=limits: ops.clamp(v, *ends), 1, 1)(x))
        for layer in self.layers:
            x = dense.run(layer, x, self.tensors, labels)
        labels.write()
        return objects(x[0])


def _range(scaler: Any) -> tuple[float, float] | None:
    """The range that a scaler clips to."""
    if getattr(scaler, "clip", False):
        low, high = scaler.feature_range
        return float(low), float(high)
    return None
