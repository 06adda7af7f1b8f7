"""Keras's nets by the attributes of their layers; Keras is no part of the tests: a stand-in is."""

import numpy as np
import pytest

import microgradx as mx

# --- the stand-in: the attributes of Keras 3 that are read, and a call ----------------------------


class Tensor:
    """A symbolic tensor: known by its identity."""


def relu(x):
    return np.maximum(x, 0.0)


def tanh(x):
    return np.tanh(x)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def linear(x):
    return x


def wobble(x):
    return x


class Layer:
    def __init__(self, name, *inputs, **facts):
        self.name, self.output, self.weights = name, Tensor(), []
        self.input = (
            [t.output for t in inputs]
            if len(inputs) > 1
            else (inputs[0].output if inputs else self.output)
        )
        vars(self).update(facts)

    def get_weights(self):
        return self.weights


class InputLayer(Layer):
    def call(self, x):
        return x


class Dropout(InputLayer):
    pass


class Dense(Layer):
    def __init__(self, name, nin, nout, activation=linear, inputs=(), bias=True):
        super().__init__(name, *inputs, activation=activation)
        rng = np.random.default_rng(nin * nout)
        self.weights = [rng.normal(size=(nin, nout)), rng.normal(size=nout)][: 1 + bias]

    def call(self, x):
        return self.activation(x @ self.weights[0] + sum(self.weights[1:]))


class LeakyReLU(Layer):
    def call(self, x):
        return np.where(x > 0, x, self.negative_slope * x)


class Add(Layer):
    def call(self, *xs):
        return sum(xs)


class Average(Layer):
    def call(self, *xs):
        return sum(xs) / len(xs)


class Concatenate(Layer):
    def call(self, *xs):
        return np.concatenate(xs, self.axis)


class LSTM(Layer):
    pass


class Sequential:
    kind = np.float64
    built = True

    def __init__(self, *layers, width=None):
        self.layers, self.input_shape = list(layers), (None, width)

    def __call__(self, x, training=None):
        assert training is False
        for layer in self.layers:
            x = layer.call(x)
        return x.astype(self.kind)


class Functional(Sequential):
    def __init__(self, *layers, width=None):
        super().__init__(*layers, width=width)
        self.inputs, self.outputs = [layers[0].output], [layers[-1].output]

    def __call__(self, x, training=None):
        known = {id(self.inputs[0]): x}
        for layer in self.layers[1:]:
            read = layer.input if isinstance(layer.input, list) else [layer.input]
            known[id(layer.output)] = layer.call(*[known[id(t)] for t in read])
        return known[id(self.outputs[0])].astype(self.kind)


for _kind in (Sequential, Functional, Layer):
    _kind.__module__ = "keras.src.stand_in"


def sequential(**named):
    return Sequential(Dense("dense", 4, 5, relu), Dropout("dropout"), Dense("dense_1", 5, 3, tanh),
                      LeakyReLU("leaky", negative_slope=0.25), Dense("dense_2", 3, 2, softmax),
                      **named)  # fmt: skip


def functional():
    x = InputLayer("input")
    a = Dense("a", 4, 3, relu, (x,))
    b = Dense("b", 4, 3, tanh, (x,), bias=False)
    c = Add("add", a, b)
    average = Average("average", a, b)
    d = Concatenate("both", c, average, axis=-1)
    return Functional(x, a, b, c, average, d, Dense("read", 6, 1, inputs=(d,)), width=4)


X = np.random.default_rng(0).normal(size=(20, 4))


@pytest.mark.parametrize("make", [sequential, functional])
def test_outputs_are_kerass(make):
    net = make()
    for model in (mx.adopt(net, example=X), mx.adopt(net) if net.input_shape[1] else None):
        if model is not None:
            assert model.agreement.startswith("its outputs agree with Keras to ")
            found = model.predict(X).reshape(len(X), -1)
            assert np.abs(found - net(X, training=False)).max() < 1e-13


def test_names_and_labels():
    net = sequential(width=4)
    model = mx.adopt(net)
    held = dict(model.named_parameters())
    assert held["dense_1.weight[2,1]"].data == net.layers[2].weights[0][1, 2]
    labels = {node.label for node in mx.engine.order(*model(X[0])) if node.rule}
    assert {"dense[4]", "dense[4].z", "dense_1[0].z", "dense_2[1]"} <= labels
    assert "dropout: Dropout" in str(model)


def test_float32_agrees_within_its_rounding():
    net = sequential(width=4)
    net.kind = np.float32
    assert 1e-9 < float(mx.adopt(net).agreement.rpartition(" ")[2]) < 1e-6
    net.kind = np.float16
    with pytest.raises(ValueError, match="differs from Keras by"):
        mx.adopt(net)


def _unbuilt():
    net = sequential()
    net.built = False
    return net


def _two_inputs():
    net = functional()
    net.inputs.append(Tensor())
    return net


@pytest.mark.parametrize("make, kind, words", [
    (_unbuilt, ValueError, "not built yet"),
    (_two_inputs, ValueError, "takes 2 inputs"),
    (sequential, TypeError, r"example=X\[:8\]"),
    (lambda: Sequential(LSTM("lstm")), TypeError, "lstm is a LSTM.*supported are Dense"),
    (lambda: Sequential(Dense("dense", 4, 2, wobble)), TypeError, "dense has the activation 'wob"),
    (lambda: Layer("alone"), TypeError, "Sequential or functional"),
])  # fmt: skip
def test_bad_input_is_one_clear_error(make, kind, words):
    with pytest.raises(kind, match=words):
        mx.adopt(make())
