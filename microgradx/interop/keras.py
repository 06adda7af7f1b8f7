"""A Keras net of dense layers on Values, by the attributes of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from microgradx import ops
from microgradx._base.text import clean, count
from microgradx.engine import Value
from microgradx.interop import dense
from microgradx.interop import tensors as of
from microgradx.interop.adopted import (
    AGREES,
    Adopted,
    Figures,
    Spot,
    adopted,
    agree,
    difference,
    furnish,
    keep_source,
    own_figures,
    refuse_large,
    rows_of_example,
)
from microgradx.interop.labels import Labels
from microgradx.interop.tensors import Array, each, objects

FLOAT32 = 1e-5  # the largest difference from a net that computes in float32
AS_IT_IS = ("InputLayer", "Dropout", "GaussianNoise", "GaussianDropout", "AlphaDropout", "Identity")
JOINED = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
SUPPORTED = (
    "Dense", "Flatten", "Activation", "ReLU", "LeakyReLU", "ELU", "Softmax", *JOINED, *AS_IT_IS
)  # fmt: skip


def adopt(net: Any, example: Any) -> Adopted:
    """A Sequential or functional net, built; errors as for `interop.adopt`.

    `dense_1.weight[2,1]` is the number [1, 2] of that layer's kernel: a row for each neuron.
    Outputs are compared with those of a call of the net, to 1e-5 where it computes in float32;
    gradients are not, as each backend has its own. A net that isn't built, or has several inputs
    or a layer twice, is a ValueError, another layer a TypeError.
    """
    title = type(net).__name__
    if not hasattr(net, "layers"):
        raise TypeError(f"adopt takes a Keras Sequential or functional net, got {title}")
    if not getattr(net, "built", True) or not net.layers:
        raise ValueError(f"this {title} is not built yet; call net.build(input_shape) first")
    for layer in net.layers:
        if type(layer).__name__ not in SUPPORTED:
            raise TypeError(
                f"{clean(layer.name)} is a {type(layer).__name__}, which is not supported; "
                f"supported are {', '.join(SUPPORTED)}"
            )
    refuse_large(sum(np.size(w) for x in net.layers for w in x.get_weights()), title, "a layer")
    run = _Net(net)
    sizes = getattr(net, "input_shape", None)
    width = tuple(sizes[1:]) if sizes and all(isinstance(n, int) for n in sizes[1:]) else None
    rows = rows_of_example(example, width, title).astype(float)
    source = np.asarray(net(rows, training=False))
    model = adopted(title, run, rows.shape[1:])
    spots = [Spot(layer.name, type(layer).__name__) for layer in net.layers]
    furnish(model, spots, run.tensors, {})
    keep_source(model, lambda: _numbers(net))
    apart = difference(own_figures(model, rows, run.tensors), Figures(source.astype(float), {}))
    within = AGREES if source.dtype == np.float64 else FLOAT32
    agree(model, apart, "Keras", len(rows), within=within)
    return model


def _numbers(net: Any) -> dict[str, Any]:
    """The weights that it has now, as arrays by name."""
    found: dict[str, Any] = {}
    for layer in net.layers:
        if type(layer).__name__ == "Dense":
            kernel, *bias = layer.get_weights()
            found[f"{layer.name}.weight"] = np.asarray(kernel).T
            found |= {f"{layer.name}.bias": bias[0]} if bias else {}
    return found


class _Net:
    """How the layers are run: each by its name, on the outputs of others.

    steps: (layer's name, its class, the names of those that it reads, its facts), in order
    """

    def __init__(self, net: Any) -> None:
        self.tensors: dict[str, Array] = {}
        self.steps: list[tuple[str, str, list[str], dict[str, Any]]] = []
        maker: dict[int, str] = {}  # of each symbolic tensor, by its id, the layer that makes it
        functional = type(net).__name__ != "Sequential"
        if functional and len(net.inputs) != 1:
            raise ValueError(f"the net takes {count(len(net.inputs), 'input')}, not one")
        before = ""
        for layer in net.layers:
            reads = [before] if before else []
            if functional:
                reads = [maker[id(t)] for t in _each(_of(layer, "input")) if id(t) in maker]
                maker.update({id(t): layer.name for t in _each(_of(layer, "output"))})
            facts = _facts(layer)
            if type(layer).__name__ == "Dense":
                kernel, *bias = layer.get_weights()
                made = dense.weights(layer.name, kernel, bias[0] if bias else None)
                self.tensors.update(made)
            self.steps.append((layer.name, type(layer).__name__, reads, facts))
            before = layer.name
        outputs = _each(net.outputs) if functional else []
        self.output = maker[id(outputs[0])] if outputs else before

    def run(self, x: Array) -> Array:
        labels = Labels()
        known: dict[str, Array] = {}
        for name, kind, reads, facts in self.steps:
            inputs = [known[other] for other in reads] or [x[None]]
            known[name] = self._outputs(name, kind, inputs, facts, labels)
        labels.write()
        return objects(known[self.output][0])

    def _outputs(
        self, name: str, kind: str, inputs: list[Array], facts: Mapping[str, Any], labels: Labels
    ) -> Array:
        x = inputs[0]
        if kind == "Dense":
            return dense.run(dense.Layer(name, facts["activation"]), x, self.tensors, labels)
        if kind in JOINED:
            return _joined(kind, inputs, facts)
        if kind == "Flatten":
            return x.reshape(len(x), -1)
        if kind == "Activation":
            return dense.activated(facts["activation"], x, labels)
        if kind == "Softmax":
            return of.softmax(x, facts["axis"])
        if kind in AS_IT_IS:
            return x
        slope = {
            "ReLU": Value.relu, "LeakyReLU": of.leaky_relu(facts.get("slope", 0.0)),
            "ELU": of.elu(facts.get("alpha", 1.0)),
        }[kind]  # fmt: skip
        y = each(slope)(x)
        labels.activated(x, y)
        return y


def _joined(kind: str, inputs: list[Array], facts: Mapping[str, Any]) -> Array:
    """What a layer of several inputs makes of them."""
    if kind == "Concatenate":
        return np.concatenate(inputs, facts["axis"])
    pairwise = {
        "Add": ops.add, "Average": ops.add, "Subtract": lambda x, y: x - y, "Multiply": ops.mul,
        "Maximum": ops.maximum, "Minimum": ops.minimum,
    }[kind]  # fmt: skip
    found = inputs[0]
    for x in inputs[1:]:
        found = of.zipped(pairwise)(found, x)
    return objects(found / len(inputs)) if kind == "Average" else found


def _facts(layer: Any) -> dict[str, Any]:
    """What a layer is beside its weights; a TypeError for an option that isn't supported."""
    kind, name = type(layer).__name__, clean(layer.name)
    if kind in ("Dense", "Activation"):
        given = layer.activation
        activation = getattr(given, "__name__", type(given).__name__)
        return {"activation": dense.known(activation, name)}
    if kind == "ReLU":
        odd = (getattr(layer, x, None) for x in ("max_value", "negative_slope", "threshold"))
        if any(odd):
            raise TypeError(f"{name}: a ReLU with max_value, slope or threshold is not supported")
    if kind == "LeakyReLU":
        return {"slope": float(getattr(layer, "negative_slope", getattr(layer, "alpha", 0.3)))}
    if kind == "ELU":
        return {"alpha": float(layer.alpha)}
    return {"axis": layer.axis} if kind in ("Softmax", "Concatenate") else {}


def _of(layer: Any, end: str) -> Any:
    """The symbolic tensors that a layer reads or makes; a ValueError if it does so twice."""
    try:
        return getattr(layer, end)
    except AttributeError as error:
        raise ValueError(f"{clean(layer.name)} is called several times, or never") from error


def _each(tensors: Any) -> list[Any]:
    return list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]
