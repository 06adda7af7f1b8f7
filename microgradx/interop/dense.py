"""A stack of dense layers on Values, as scikit-learn and Keras hold them: weights and a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from microgradx.engine import Value
from microgradx.interop import tensors as of
from microgradx.interop.adopted import leaves
from microgradx.interop.labels import Labels
from microgradx.interop.tensors import Array, each, objects

# By the names of both libraries; Keras's defaults of the numbers.
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    **{name: each(getattr(Value, name)) for name in ("relu", "tanh", "sigmoid", "softplus", "exp")},
    "logistic": each(Value.sigmoid),
    **dict.fromkeys(("silu", "swish"), each(Value.silu)),
    "gelu": each(Value.gelu),
    "elu": each(of.elu(1.0)),
    "selu": each(of.elu(*of.SELU)),
    "mish": each(of.mish),
    "leaky_relu": each(of.leaky_relu(0.2)),
    "relu6": each(lambda v: v.clamp(0.0, 6.0)),
    "softsign": each(lambda v: v / (1.0 + abs(v))),
    "softmax": of.softmax,
    "log_softmax": of.log_softmax,
}  # fmt: skip
LINEAR = ("linear", "identity", "")


class Layer(NamedTuple):
    """One dense layer: its name, and an activation's; the weights are found by the name."""

    path: str
    activation: str


def known(activation: str, where: str) -> str:
    """The name of an activation; a TypeError that lists all for one that isn't known."""
    if activation not in ACTIVATIONS and activation not in LINEAR:
        raise TypeError(
            f"{where} has the activation {activation!r}, which is not supported; supported are "
            f"linear, {', '.join(ACTIVATIONS)}"
        )
    return activation


def weights(path: str, kernel: Any, bias: Any) -> dict[str, Array]:
    """The parameters of a layer by name: a kernel (in, out) is kept as a row for each neuron."""
    found = {f"{path}.weight": leaves(f"{path}.weight", np.asarray(kernel, float).T)}
    if bias is not None:
        found[f"{path}.bias"] = leaves(f"{path}.bias", bias)
    return found


def run(layer: Layer, x: Array, tensors: Mapping[str, Array], labels: Labels) -> Array:
    """The outputs of one layer for a batch (n, in)."""
    bias = tensors.get(f"{layer.path}.bias")
    z = of.linear(x, tensors[f"{layer.path}.weight"], bias)
    labels.outputs(layer.path, z)
    return activated(layer.activation, z, labels)


def activated(activation: str, z: Array, labels: Labels) -> Array:
    if activation in LINEAR:
        return z
    y = objects(ACTIVATIONS[activation](z))
    if activation not in ("softmax", "log_softmax"):  # which are of all neurons together
        labels.activated(z, y)
    return y
