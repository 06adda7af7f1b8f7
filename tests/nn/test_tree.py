"""The tree that a model prints: its modules, their shapes and sizes, and what a graph adds."""

import pytest

import microgradx as mx
from microgradx import nn
from microgradx.engine import Value

X = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
Y = [1.0, -1.0, -1.0, 1.0]


class Own(nn.Module):
    """A module with a tensor of its own, parts of every kind, and one part under two names."""

    def __init__(self):
        self.body = nn.MLP(2, [3, 2], "tanh", output="tanh", init=lambda n, m, rng: 0.5)
        self.skip = nn.Residual(nn.Layer(2, 2, activation=Value.silu, init="glorot"))
        self.norm = nn.LayerNorm(2)
        self.scale = [Value(1.0), Value(2.0)]
        self.again = self.body

    def __call__(self, x):
        return mx.dot(self.norm(self.skip(self.body(x))), self.scale)


TREES = {
    "MLP": (
        nn.MLP(3, [4, 4, 1], seed=1),
        """\
MLP                                   41 parameters
  layers.0: Layer  3 → 4, relu, he    16
  layers.1: Layer  4 → 4, relu, he    20
  layers.2: Layer  4 → 1, linear, he  5""",
    ),
    "Own": (
        Own(),
        """\
Own                      scale (2,)                    29 parameters
  body: MLP                                            17
    body.layers.0: Layer  2 → 3, tanh, <lambda>        9
    body.layers.1: Layer  3 → 2, tanh, <lambda>        8
  skip: Residual                                       6
    skip.block: Layer    2 → 2, silu, glorot           6
  norm: LayerNorm        weight (2,), bias (2,)        4
  again: MLP             the same as body              17
    again.layers.0: Layer  the same as body.layers.0   9
    again.layers.1: Layer  the same as body.layers.1   8""",
    ),
    "Neuron": (nn.Neuron(2, "tanh"), "Neuron  2 → 1, tanh, he  3 parameters"),
    "none": (nn.Residual(lambda x: x), "Residual    0 parameters"),
    "one": (nn.Layer(1000, 1, None), "Layer  1000 → 1, linear, he  1,001 parameters"),
}


def words(text):
    """The lines without the room between columns."""
    return [(len(line) - len(line.lstrip()), line.split()) for line in text.splitlines()]


@pytest.mark.parametrize("name", TREES)
def test_a_model_prints_as_a_tree_of_its_modules(name):
    model, expected = TREES[name]
    assert words(str(model)) == words(expected)
    assert f"{model}" == model.tree() == repr(model.tree())
    assert model._repr_mimebundle_() == {"text/plain": str(model)}
    assert "\n" not in repr(model)


def test_columns_stand_under_each_other():
    lines = str(TREES["Own"][0]).splitlines()
    end = lines[0].index(" parameters")
    assert [line[:end].split()[-1] for line in lines] == "29 17 9 8 6 6 4 17 9 8".split()
    assert {len(line) for line in lines[1:]} == {end}


def test_a_neuron_that_got_another_activation_shows():
    layer = nn.Layer(2, 3)
    layer.neurons[1].activation = Value.tanh
    assert "2 → 3, relu and tanh, he" in str(layer)


def test_a_number_of_parameters_is_said_as_people_do():
    module = nn.Module()
    module.w = Value(1.0)
    assert repr(module) == "<Module of 1 parameter>" and str(module) == "Module  w ()  1 parameter"


def planted(weights, activation="relu"):
    """A net of one hidden layer, of a neuron for each weight, which multiplies its one input."""
    model = nn.MLP(1, [len(weights), 1], activation)
    for neuron, weight in zip(model.layers[0].neurons, weights):
        neuron.weight[0].data = weight
    for weight in model.layers[1].neurons[0].weight:
        weight.data = 1.0
    return model


STATES = [  # the weights of the hidden layer, its activation, the inputs, what is said
    ([-1.0, -2.0, 1.0], "relu", [1.0, 2.0], "off: 2 of 3 neurons on both samples"),
    ([-1.0, -2.0, 1.0], "relu", [1.0], "off: 2 of 3 neurons"),
    ([-1.0, 1.0], "relu", [1.0, -1.0], "off: 2 of 2 neurons on some"),
    ([-1.0, 1.0, 0.0], "relu", [-1.0, 1.0], "off: 1 of 3 neurons on both samples, 2 on some"),
    ([1.0, 2.0], "relu", [1.0, 2.0], ""),
    ([9.0, 0.1], "tanh", [1.0, 2.0], "saturated: 1 of 2 neurons"),
    ([900.0, 0.1], "tanh", [1.0], "saturated: 1 of 2 neurons"),  # where the slope rounds to 0
    ([0.1], "tanh", [1.0], ""),
    ([-1.0], "leaky_relu", [1.0], ""),
]


@pytest.mark.parametrize("weights, activation, inputs, state", STATES)
def test_the_tree_of_a_loss_says_what_is_off_or_saturated_there(weights, activation, inputs, state):
    model = planted(weights, activation)
    loss = nn.mse_loss([model([x]) for x in inputs], [9.0] * len(inputs))
    lines = model.tree(loss).splitlines()
    plain = str(model).splitlines()
    assert [line.split()[: len(old.split())] for line, old in zip(lines, plain)] == [
        old.split() for old in plain
    ]
    found = [" ".join(line.split()[len(old.split()) :]) for line, old in zip(lines, plain)]
    assert found == ["", state, ""]


def test_a_layer_behind_one_that_is_off_is_starved():
    model = nn.MLP(1, [2, 1, 1], init=lambda *_: 1.0)
    model.layers[1].neurons[0].weight[0].data = -9.0
    loss = nn.mse_loss([model([1.0]), model([2.0])], [1.0, 2.0])
    lines = model.tree(loss).splitlines()
    assert lines[1].endswith("starved: 2 of 2 neurons")
    assert lines[2].endswith("off: 1 of 1 neuron on both samples")
    assert model.layers[1].tree(loss).endswith("off: 1 of 1 neuron on both samples")


def test_the_tree_needs_a_graph_of_the_model():
    model, other = nn.MLP(3, [2, 1], seed=1), nn.MLP(3, [2, 1], seed=1)
    for loss in (nn.mse_loss(other(X[0]), 1.0), Value(2.0) * 3.0):
        with pytest.raises(ValueError, match="no neuron of this model is in the graph of Value"):
            model.tree(loss)
    with pytest.raises(TypeError, match="tree takes the Value at the end of a graph, got <MLP"):
        model.tree(model)


def test_the_tree_changes_nothing():
    model = nn.MLP(3, [4, 4, 1], seed=1)
    loss = nn.mse_loss([model(x) for x in X], Y)
    loss.backward()
    before = [(p.data, p.grad) for p in model.parameters()]
    model.tree(loss)
    assert before == [(p.data, p.grad) for p in model.parameters()]
