"""Typical mistakes of a newcomer, and the words that each is answered with."""

import inspect
import math
from difflib import get_close_matches

import numpy as np
import pytest

import microgradx as mx
from microgradx import Value, nn, optim
from microgradx._base import hints
from microgradx.engine import rule
from microgradx.replay import FrozenBranch

MISTAKES = [
    # a number
    ('Value("3")', TypeError, "got the str '3'; use float(text) first"),
    ("Value([1.0, 2.0])", TypeError, "got a list of length 2; use [Value(x) for x in xs]"),
    ("Value(None)", TypeError, "pass an int, a float, a Fraction or a NumPy scalar"),
    ("Value(1j)", TypeError, "use x.real"),
    ("Value(np.zeros(3))", TypeError, "of shape (3,); take its elements one by one"),
    ("Value(10**400)", OverflowError, "int too large for a float, 1.8e308 at most"),
    ("Value(1.0, 7)", TypeError, "a label is a str"),
    ('x + "1"', TypeError, "use float(text) first"),
    ("np.array([1.0, 2.0]) * x", TypeError, "take its elements one by one"),
    ("x.clamp(1.0)", TypeError, "missing 1 required positional argument: 'high'"),
    ("x.backward(pause=True)", TypeError, "pause takes a condition such as step.stops, got True"),
    # words of other libraries
    ("x.item()", AttributeError, "a Value has no 'item'; use x.data, or float(x)"),
    ("x.numpy()", AttributeError, "use x.data"),
    ("x.sum()", AttributeError, "use mx.sum, which takes a list"),
    ("x._prev", AttributeError, "use x.inputs"),
    ("x._op", AttributeError, "use x.op"),
    ("np.exp(x)", TypeError, "np.exp takes no Value; use x.exp()"),
    ("np.maximum(x, 0.0)", TypeError, "use x.maximum(y)"),
    ("np.isnan(x)", TypeError, "use x.data, the number alone"),
    ("mx.tensor(1.0)", AttributeError, "use mx.Value, one number"),
    ("mx.MLP(2, [1])", AttributeError, "microgradx has no 'MLP'; use mx.nn.MLP"),
    ("mx.Adam([x])", AttributeError, "use mx.optim.Adam"),
    ("nn.Linear(2, 1)", AttributeError, "use nn.Layer(nin, nout, activation=None)"),
    ("nn.Sequential()", AttributeError, "use nn.MLP, or an nn.Module of your own"),
    ("nn.CrossEntropyLoss()", AttributeError, "use nn.cross_entropy(logits, classes)"),
    ("nn.Neuron(2, nonlin=False)", TypeError, "Neuron takes no nonlin; write activation=None"),
    ("nn.Layer(2, 3, nonlin=False)", TypeError, "Layer takes no nonlin; write activation=None"),
    ("nn.Neuron(2).w", AttributeError, "a Neuron has no 'w'; use weight"),
    ("nn.Neuron(2).b", AttributeError, "use bias"),
    # lists and nets
    ("mx.sum(x)", TypeError, "the operands are a list, got Value(data=2"),
    ("mx.dot([x], [x, w])", ValueError, "dot expected 1 xs, as many as weights, got 2"),
    ("nn.MLP(2, 3)", TypeError, "nouts is a list of layer sizes such as [16, 16, 1], got 3"),
    ('nn.MLP(2, [1], activation="rellu")', ValueError, "'rellu' is not known; use linear, abs,"),
    ('nn.MLP(2, [1], init="xavier")', ValueError, "use he, glorot, lecun, uniform"),
    ("model([1.0])", ValueError, "Layer layers.0 expected 2 inputs, got 1"),
    ("model([[1.0, 2.0], [3.0, 4.0]])", TypeError, "takes one sample at a time"),
    ("nn.mse_loss([x], [1.0, 2.0])", ValueError, "must agree in shape, got (1,) and (2,)"),
    ("nn.cross_entropy([x, w], 2)", IndexError, "class 2 of 2; they are counted from 0"),
    # training
    ("optim.SGD(model, lr=0.1)", TypeError, "try .parameters()"),
    ("optim.SGD([x * w], lr=0.1)", ValueError, "only leaves can be moved"),
    ("optim.SGD([x], lr=-1.0)", ValueError, "lr must be at least 0 and finite, got -1.0"),
    ('mx.fit(model, X, [1, 0], loss="hing", epochs=1)', ValueError, "use mse, hinge, binary_cros"),
    ('mx.fit(model, X, [1, 0], loss="hinge", epochs=1)', ValueError, "for 0 and 1: 2y - 1"),
    ('mx.fit(model, X, [1], loss="mse", epochs=1)', ValueError, "X has 2 samples, but y has 1"),
    ('mx.fit(model, [[0, math.nan]], [1], loss="mse", epochs=1)', ValueError, "X[0, 1] is nan"),
    # questions
    ("mx.why(x)", TypeError, "missing 1 required positional argument: 'output'"),
    ("mx.why([x, 1.0], y)", TypeError, "why takes Values, got a float among them"),
    ("mx.draw(model)", TypeError, "takes the Value at the end of a graph, got <MLP of 9 param"),
    ("mx.record(lambda v: v if v > 0 else w, 1.0)", FrozenBranch, "asks for > of Value(recorded"),
    ("mx.record(lambda v: v * math.exp(v), 1.0)", FrozenBranch, "Write a branch with where"),
    ("mx.check_gradients(lambda v: v)", TypeError, "needs the values to check fn at"),
    ('model.save("model.pt")', ValueError, "weights are kept as .npz or .safetensors"),
]


def scene():
    """The names that the mistakes are made with."""
    x, w = Value(2.0, "x"), Value(-3.0, "w")
    names = {"x": x, "w": w, "y": x * w, "model": nn.MLP(2, [2, 1], seed=0)}
    rooms = {"mx": mx, "nn": nn, "optim": optim, "np": np, "math": math, "Value": Value}
    return {**names, **rooms, "X": [[0.0, 1.0], [1.0, 0.0]]}


def test_there_are_forty():
    assert len({code for code, *_ in MISTAKES}) == len(MISTAKES) >= 40


@pytest.mark.parametrize("code, kind, words", MISTAKES, ids=[code for code, *_ in MISTAKES])
def test_a_mistake_is_answered(code, kind, words):
    with pytest.raises(kind) as error:
        eval(code, scene())
    assert words in str(error.value)


@pytest.mark.parametrize(
    "code, meant", [("x.tahn()", "tanh"), ("x.gard", "grad"), ("mx.tahn(x)", "tanh"),
                    ("mx.recrod", "record"), ("nn.MPL", "MLP"), ("nn.Neuron(2).weigth", "weight")]
)  # fmt: skip
def test_for_a_slip_of_the_pen_python_can_name_what_is_nearest(code, meant):
    with pytest.raises(AttributeError) as error:
        eval(code, scene())
    slip = error.value  # of these two facts Python makes "Did you mean: …?"
    assert get_close_matches(slip.name, dir(slip.obj), 1) == [meant]


SILENT = [  # no exception, but why answers
    ("x, math.tanh(x) * w", "math.tanh(x), float(x) and x.data are bare numbers"),
    ("x, float(x) * w", "math.tanh(x), float(x) and x.data are bare numbers"),
    ("y, x", "It is the other way round: mul(-6) was computed from x"),
    ("w, w.log() * x", "log(nan) is nan"),
    ("w, w.relu() * x", "relu off"),
    ("x, x * w", "There was no backward()"),
]


@pytest.mark.parametrize("pair, words", SILENT, ids=[pair for pair, _ in SILENT])
def test_a_silent_mistake_is_answered_by_why(pair, words):
    assert words in " ".join(str(mx.why(*eval(pair, scene()))).split())


def test_a_word_of_another_library_is_no_attribute(temporary_ops):
    x, neuron = Value(2.0), nn.Neuron(2)
    for each, words in ((x, hints.VALUE), (neuron, hints.NEURON)):
        for word in words:
            assert not hasattr(each, word) and not hasattr(type(each), word)
            assert inspect.getdoc(vars(type(each))[word].func) == "@private"
    assert not {*dir(x)} & {*hints.VALUE}

    class Own(nn.Neuron):
        w = None

        def __init__(self):
            super().__init__(2)
            self.b = 1.0

    assert (Own().w, Own().b) == (None, 1.0)

    @rule(kind="singular")
    def square(xp, x):
        return x * x, 2.0 * x

    assert x.square().data == 4.0 and "square" in dir(x)
