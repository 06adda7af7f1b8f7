"""Modules, their names and state, how they start, what they compute, and the losses."""

import copy
import math
import pickle
import random
import subprocess
import sys
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from microgradx import nn
from microgradx.engine import Value, order, rule
from microgradx.nn import MLP, Layer, Module, Neuron

NUMPY_ACTIVATIONS = {
    "linear": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(z)),
    "tanh": np.tanh,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "softplus": lambda z: np.log(1 + np.exp(z)),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "gelu": lambda z: z * np.vectorize(lambda x: 0.5 * (1 + math.erf(x / math.sqrt(2))))(z),
    "sin": np.sin,
}


def in_numpy(state, x, activation):
    """The forward pass of an MLP, from its state dict."""
    depth = len(state) // 2
    for i in range(depth):
        x = np.array(state[f"layers.{i}.weight"]) @ x + np.array(state[f"layers.{i}.bias"])
        x = NUMPY_ACTIVATIONS[activation](x) if i < depth - 1 else x
    return x


# --- what a network computes -----------------------------------------------------------------


@pytest.mark.parametrize("activation", NUMPY_ACTIVATIONS)
def test_an_mlp_computes_what_numpy_computes(activation):
    model = MLP(3, [5, 4, 2], activation, init="glorot", seed=7)
    for bias in model.parameters()[-2:]:
        bias.data = 0.75
    x = [0.5, -1.5, 2.0]
    assert [y.data for y in model(x)] == pytest.approx(
        in_numpy(model.state_dict(), np.array(x), activation), rel=1e-13
    )


def test_gradients_are_those_of_backpropagation_in_matrices():
    model, x = MLP(3, [4, 2], "tanh", seed=11), np.array([0.5, -1.5, 2.0])
    inputs = [Value(v) for v in x]
    a, b = model(inputs)
    (a * 2 - b * 3).backward()
    w0, w1 = (np.array(model.state_dict()[f"layers.{i}.weight"]) for i in (0, 1))
    h = np.tanh(w0 @ x)
    g1 = np.array([2.0, -3.0])
    g0 = (w1.T @ g1) * (1 - h**2)
    expected = [*np.outer(g0, x).ravel(), *g0, *np.outer(g1, h).ravel(), *g1]
    assert [p.grad for p in model.parameters()] == pytest.approx(expected, rel=1e-12)
    assert [v.grad for v in inputs] == pytest.approx(w0.T @ g0, rel=1e-12)


@pytest.mark.parametrize("name", nn.activations())
def test_every_activation_by_name_is_the_method_of_value(name):
    neuron = Neuron(1, name, init=lambda nin, nout, rng: 0.5)
    z = Value(0.75)
    expected = z if name == "linear" else getattr(z, name)()
    assert neuron([1.5]).data == expected.data


def test_known_activations_are_the_one_operand_ops_of_the_table():
    known = set(nn.activations())
    assert {"relu", "leaky_relu", "elu", "gelu", "softplus", "sin", "silu", "linear"} <= known
    assert not known & {"add", "neg", "dot", "sum", "maximum", "pow"}


@pytest.mark.usefixtures("temporary_ops")
def test_an_op_added_to_the_table_is_an_activation():
    def cube_for_nn(xp, x):
        return x * x * x, 3.0 * x * x

    rule(kind="singular")(cube_for_nn)
    assert Neuron(1, "cube_for_nn", init=lambda *_: 2.0)([1.0]).data == 8.0


def test_output_activation_is_of_the_last_layer_alone():
    model = MLP(1, [1, 1], activation=None, output="tanh", init=lambda *_: 2.0)
    assert model([1.0]).data == math.tanh(4.0)
    model = MLP(1, [1, 1], activation="tanh", init=lambda *_: 2.0)
    assert model([1.0]).data == 2 * math.tanh(2.0)


def test_an_activation_may_be_a_callable_and_must_return_a_value():
    assert Neuron(1, lambda z: z * z, init=lambda *_: 3.0)([1.0]).data == 9.0
    with pytest.raises(TypeError, match=r"activation of Neuron must return a Value, got 0\.9"):
        Neuron(1, lambda z: math.tanh(z), init=lambda *_: 2.0)([1.0])


def test_one_output_is_a_value_and_several_are_a_list():
    assert isinstance(MLP(2, [3, 1])([1, 2]), Value)
    assert isinstance(MLP(2, [1, 3])([1, 2]), list)
    assert len(MLP(2, [1, 3])([1, 2])) == 3


@pytest.mark.parametrize(
    "x",
    [[1, 2.0], (1, 2), np.array([1.0, 2.0]), [Value(1), 2], [Fraction(1), True * 2], range(1, 3)],
)
def test_an_input_is_any_row_of_numbers_or_values(x):
    model = MLP(2, [2, 1], seed=5)
    assert model(x).data == model([1.0, 2.0]).data


def test_a_bare_number_is_a_row_of_one():
    model = MLP(1, [3, 1], "tanh", seed=5)
    assert model(0.5).data == model(Value(0.5)).data == model([0.5]).data


def test_a_neuron_is_one_dot_and_one_activation_and_a_layer_has_one_list():
    model = MLP(2, [3, 1], "relu")
    y = model([1.0, 2.0])
    assert [node.op for node in order(y) if node.op] == ["dot"] + ["relu"] * 3 + ["dot"] * 3
    hidden = model.layers[0]([1.0, 2.0])
    dots = [a.inputs[0] for a in hidden]
    weights, inputs, _ = zip(*(d.operands for d in dots))
    assert len(set(map(id, inputs))) == 1
    assert all(w is n.weight for w, n in zip(weights, model.layers[0].neurons))


def test_micrograds_own_loop_runs_unchanged():
    random.seed(1337)
    model = MLP(2, [16, 16, 1])
    X = [[random.uniform(-1, 1), random.uniform(-1, 1)] for _ in range(40)]
    y = [1 if a * a + b * b > 0.5 else -1 for a, b in X]
    assert len(model.parameters()) == 337
    for _ in range(60):
        scores = [model(list(map(Value, row))) for row in X]
        losses = [(1 + -yi * score).relu() for yi, score in zip(y, scores)]
        loss = sum(losses) * (1.0 / len(losses)) + 1e-4 * sum(p * p for p in model.parameters())
        model.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.data -= 0.5 * p.grad
    assert sum((s.data > 0) == (yi > 0) for s, yi in zip(scores, y)) >= 37


# --- names -----------------------------------------------------------------------------------


def labels(module):
    return [p.label for p in module.parameters()]


def test_names_are_pytorchs_in_pytorchs_order():
    expected = ["layers.0.weight[0,0]", "layers.0.weight[0,1]", "layers.0.weight[1,0]",
                "layers.0.weight[1,1]", "layers.0.bias[0]", "layers.0.bias[1]",
                "layers.1.weight[0,0]", "layers.1.weight[0,1]", "layers.1.bias[0]"]  # fmt: skip
    model = MLP(2, [2, 1])
    assert labels(model) == expected
    assert [name for name, _ in model.named_parameters()] == expected
    assert [p for _, p in model.named_parameters()] == model.parameters()


@pytest.mark.parametrize(
    "module, expected",
    [
        (Layer(2, 1), ["weight[0,0]", "weight[0,1]", "bias[0]"]),
        (Neuron(2), ["weight[0]", "weight[1]", "bias"]),
    ],
)
def test_a_module_alone_has_no_prefix(module, expected):
    assert labels(module) == [name for name, _ in module.named_parameters()] == expected


def test_weight_indices_are_out_then_in():
    model = MLP(3, [2], init=lambda *_: 0.0)
    dict(model.named_parameters())["layers.0.weight[1,2]"].data = 1.0
    assert [y.data for y in model([10.0, 20.0, 30.0])] == [0.0, 30.0]


def test_nodes_are_labelled_by_neuron():
    model = MLP(2, [3, 1])
    y = model([1.0, 2.0])
    assert y.label == "layers.1[0]"
    assert [node.label for node in order(y) if node.op == "relu"] == [
        f"layers.0[{i}]" for i in range(3)
    ]
    assert [node.label for node in order(y) if node.op == "dot"][1:] == [
        f"layers.0[{i}].z" for i in range(3)
    ]
    assert Layer(2, 3, None)([1, 2])[2].label == "[2]"
    assert Neuron(2)([1, 2]).inputs[0].label == "z"
    assert MLP(1, [1], None, "silu")(1.0).label == "layers.0[0]"


class Encoder(Module):
    def __init__(self):
        self.body = MLP(2, [2, 1])
        self.gain = Value(3.0)


class Net(Module):
    def __init__(self):
        self.encoder = Encoder()
        self.heads = [Neuron(1), [Layer(1, 1)]]
        self.table = {"left": Layer(1, 1)}
        self.shift = [[Value(1.0), Value(2.0)]]
        self.odd = [[Value(1.0)], [Value(2.0), 0.5]]
        self.note = "text"
        self.limits = [1.0, 2.0]


def test_names_follow_ownership_through_every_kind_of_part():
    net = Net()
    assert labels(net) == [name for name, _ in net.named_parameters()]
    assert labels(net) == [
        "shift[0,0]", "shift[0,1]", "encoder.gain",
        "encoder.body.layers.0.weight[0,0]", "encoder.body.layers.0.weight[0,1]",
        "encoder.body.layers.0.weight[1,0]", "encoder.body.layers.0.weight[1,1]",
        "encoder.body.layers.0.bias[0]", "encoder.body.layers.0.bias[1]",
        "encoder.body.layers.1.weight[0,0]", "encoder.body.layers.1.weight[0,1]",
        "encoder.body.layers.1.bias[0]",
        "heads.0.weight[0]", "heads.0.bias", "heads.1.0.weight[0,0]", "heads.1.0.bias[0]",
        "table.left.weight[0,0]", "table.left.bias[0]", "odd.0[0]", "odd.1.0",
    ]  # fmt: skip
    assert net.encoder.body([1, 2]).label == "encoder.body.layers.1[0]"
    assert net.heads[0]([1]).inputs[0].label == "heads.0.z"
    net.encoder.body.layers[0].extra = Value(1.0)
    assert net.encoder.body.layers[0].extra.label == "encoder.body.layers.0.extra"
    assert net.encoder.body.layers[0].extra in net.parameters()


def test_named_parameters_go_by_the_structure_whatever_the_labels():
    model = MLP(1, [1])
    model.parameters()[0].label = "mine"
    assert [name for name, _ in model.named_parameters()][0] == "layers.0.weight[0,0]"
    assert model.parameters()[0].label == "mine"


def test_a_parameter_with_two_names_is_listed_once_and_computed_values_are_none():
    model = Module()
    model.a = model.b = Value(2.0)
    model.cache = [model.a * 2, model.b * 3]
    model.owner = model
    assert [name for name, _ in model.named_parameters()] == ["a"]
    assert len(model.parameters()) == 1
    assert model.cache[0].label == ""


def test_a_part_that_knows_its_owner_is_no_endless_loop():
    outer, inner = Module(), Module()
    inner.w = Value(1.0)
    outer.inner = inner
    inner.owner = outer
    assert [name for name, _ in outer.named_parameters()] == ["inner.w"]


def test_an_activation_can_be_a_module_with_parameters():
    class Slope(Module):
        def __init__(self):
            self.slope = Value(0.5)

        def __call__(self, z):
            return z.leaky_relu(self.slope)

    model = MLP(1, [2, 1], Slope())
    assert "layers.0.activation.slope" in dict(model.named_parameters())
    model(1.0).backward()
    assert len(model.parameters()) == 8


def test_zero_grad_reaches_every_parameter():
    net = Net()
    for p in net.parameters():
        p.grad = 1.0
    net.zero_grad()
    assert [p.grad for p in net.parameters()] == [0.0] * 20


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_a_model_of_its_own(twin_of):
    model = MLP(2, [3, 1], "tanh")
    twin = twin_of(model)
    assert twin([1, 2]).data == model([1, 2]).data
    assert labels(twin) == labels(model) and twin([1, 2]).label == "layers.1[0]"
    assert not set(twin.parameters()) & set(model.parameters())
    twin.parameters()[0].data += 1.0
    assert twin([1, 2]).data != model([1, 2]).data


# --- state -----------------------------------------------------------------------------------


def test_state_dict_has_pytorchs_names_and_shapes_and_round_trips():
    model, twin = MLP(2, [3, 1], seed=1), MLP(2, [3, 1], seed=2)
    state = model.state_dict()
    assert [(name, np.shape(x)) for name, x in state.items()] == [
        ("layers.0.weight", (3, 2)), ("layers.0.bias", (3,)),
        ("layers.1.weight", (1, 3)), ("layers.1.bias", (1,)),
    ]  # fmt: skip
    assert state["layers.0.weight"][2][1] == model.layers[0].neurons[2].weight[1].data
    assert twin.state_dict() != state
    assert twin.load_state_dict(state) == ([], [])
    assert twin.state_dict() == state
    twin.parameters()[0].data = 99.0
    assert model.state_dict() == state  # the numbers are copies


def test_state_may_be_arrays_or_anything_with_tolist():
    model = MLP(2, [3, 1], seed=1)
    state = {name: np.array(x) * 2 for name, x in model.state_dict().items()}
    state["layers.1.weight"] = [state["layers.1.weight"][0]]  # a list of arrays
    model.load_state_dict(state)
    assert model.layers[1].neurons[0].weight[2].data == state["layers.1.weight"][0][2]
    assert all(type(p.data) is float for p in model.parameters())


def test_a_nets_own_values_have_state():
    net = Net()
    state = net.state_dict()
    assert (state["encoder.gain"], state["shift"]) == (3.0, [[1.0, 2.0]])
    net.load_state_dict(state | {"encoder.gain": np.float32(0.5), "shift": [[7, 8]]})
    assert (net.encoder.gain.data, net.shift[0][1].data) == (0.5, 8.0)


BAD_STATES = [
    ({"layers.1.bias": None}, KeyError, "missing: layers.1.bias; unexpected: none"),
    ({"fc.bias": [1.0]}, KeyError, "missing: none; unexpected: fc.bias"),
    ({"layers.1.bias": [0.0, 0.0]}, ValueError, "layers.1.bias expected (1,), got (2,)"),
    ({"layers.1.bias": 0.0}, ValueError, "layers.1.bias expected (1,), got ()"),
    ({"layers.0.weight": np.zeros((2, 3))}, ValueError,
     "layers.0.weight expected (3, 2), got (2, 3)"),
    ({"layers.0.weight": [[1, 2], [3], [4, 5]]}, ValueError, "got an empty or ragged list"),
    ({"layers.1.bias": ["x"]}, TypeError, "got the str 'x'"),
]  # fmt: skip


@pytest.mark.parametrize("change, error, text", BAD_STATES)
def test_after_an_error_nothing_has_changed(change, error, text):
    model = MLP(2, [3, 1], seed=1)
    before = model.state_dict()
    state = {name: np.array(x) + 1 for name, x in before.items()} | change
    state = {name: x for name, x in state.items() if x is not None}
    with pytest.raises(error) as caught:
        model.load_state_dict(state)
    assert text in str(caught.value)
    assert model.state_dict() == before


def test_not_strict_loads_what_agrees_and_still_checks_shapes():
    model = MLP(2, [3, 1], seed=1)
    before = model.state_dict()
    keys = model.load_state_dict({"layers.1.bias": [5.0], "fc.bias": [1.0]}, strict=False)
    assert keys.missing_keys == ["layers.0.weight", "layers.0.bias", "layers.1.weight"]
    assert keys.unexpected_keys == ["fc.bias"]
    assert model.state_dict() == before | {"layers.1.bias": [5.0]}
    with pytest.raises(ValueError, match="layers.1.bias expected"):
        model.load_state_dict({"layers.1.bias": [5.0, 6.0]}, strict=False)
    with pytest.raises(TypeError, match="takes a dict, got a MLP"):
        model.load_state_dict(model)


def test_a_torch_model_of_this_shape_has_this_state_and_this_output():
    torch = pytest.importorskip("torch")

    class Twin(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList([torch.nn.Linear(2, 3), torch.nn.Linear(3, 1)])

    twin, model = Twin().double(), MLP(2, [3, 1], "tanh")
    assert list(twin.state_dict()) == list(model.state_dict())
    model.load_state_dict(twin.state_dict())
    x = torch.tensor([0.5, -1.5], dtype=torch.float64)
    expected = twin.layers[1](torch.tanh(twin.layers[0](x))).item()
    assert model([0.5, -1.5]).data == pytest.approx(expected, rel=1e-14)


# --- how it starts ---------------------------------------------------------------------------

NIN, NOUT = 50, 200
GLOROT = math.sqrt(6 / (NIN + NOUT))


@pytest.mark.parametrize(
    "init, deviation, limit",
    [
        ("he", math.sqrt(2 / NIN), None),
        ("lecun", math.sqrt(1 / NIN), None),
        ("glorot", GLOROT / math.sqrt(3), GLOROT),
        ("uniform", 1 / math.sqrt(3), 1.0),
    ],
)
def test_initial_weights_have_the_law_they_are_named_after(init, deviation, limit):
    state = Layer(NIN, NOUT, init=init, seed=4).state_dict()
    weights = np.array(state["weight"]).ravel()
    assert state["bias"] == [0.0] * NOUT
    assert abs(weights.mean()) < 4 * deviation / math.sqrt(weights.size)
    assert weights.std() == pytest.approx(deviation, rel=0.03)
    if limit:
        assert 0.99 * limit < np.abs(weights).max() <= limit
    else:  # normal: kurtosis 3, where a uniform law has 1.8
        assert np.mean(weights**4) / np.mean(weights**2) ** 2 == pytest.approx(3, abs=0.3)
    assert len(set(weights)) == weights.size


def test_init_may_be_a_callable_of_widths_and_generator():
    seen = []

    def init(nin, nout, rng):
        seen.append((nin, nout))
        return rng.random()

    model = MLP(2, [3, 1], init=init, seed=9)
    assert seen == [(2, 3)] * 6 + [(3, 1)] * 3
    rng = random.Random(9)
    drawn = [rng.random() for _ in range(9)]
    assert [p.data for p in model.parameters() if "weight" in p.label] == drawn


def test_seeds_reproduce_and_differ():
    assert MLP(2, [3, 1], seed=1).state_dict() == MLP(2, [3, 1], seed=1).state_dict()
    assert MLP(2, [3, 1], seed=1).state_dict() != MLP(2, [3, 1], seed=2).state_dict()
    assert (
        MLP(2, [2, 2], seed=1).layers[0].state_dict()
        != MLP(2, [2, 2], seed=1).layers[1].state_dict()
    )
    by_hand = random.Random(1)
    assert Layer(2, 3, seed=by_hand).state_dict() == Layer(2, 3, seed=1).state_dict()


def test_without_a_seed_random_seed_decides_and_uniform_draws_as_micrograd():
    random.seed(1337)
    first = MLP(2, [2, 1], init="uniform").parameters()
    random.seed(1337)
    micrograd = [random.uniform(-1, 1) for _ in range(6)]  # its weights; its biases are 0
    assert [p.data for p in first if "weight" in p.label] == micrograd


def test_a_seed_leaves_pythons_own_generator_alone():
    before = random.getstate()
    MLP(2, [3, 1], seed=1)
    assert random.getstate() == before


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, error, text",
    [
        (lambda: MLP(2, []), ValueError, "nouts is empty"),
        (lambda: MLP(2, 16), TypeError, "layer sizes such as [16, 16, 1], got 16"),
        (lambda: MLP(2, "16"), TypeError, "nouts is a list of layer sizes"),
        (lambda: MLP(0, [1]), ValueError, "nin must be at least 1, got 0"),
        (lambda: MLP(2, [4, -1]), ValueError, "nouts[1] must be at least 1, got -1"),
        (lambda: MLP(2, [4, 1.0]), TypeError, "nouts[1] must be a whole number, got 1.0"),
        (lambda: MLP("2", [4]), TypeError, "nin must be a whole number, got '2'"),
        (lambda: Layer(2, 0), ValueError, "nout must be at least 1, got 0"),
        (lambda: Layer(2.5, 1), TypeError, "nin must be a whole number, got 2.5"),
        (lambda: Neuron(0), ValueError, "nin must be at least 1, got 0"),
        (lambda: MLP(2, [1], "rleu"), ValueError, "activation 'rleu' is not known; use linear, "),
        (lambda: MLP(2, [1], output="softmax"), ValueError, "activation 'softmax' is not known"),
        (lambda: MLP(2, [1], 3), TypeError, "activation 3 is not known"),
        (lambda: MLP(2, [1], "maximum"), ValueError, "activation 'maximum' is not known"),
        (lambda: MLP(2, [1], init="xavier"), ValueError,
         "init 'xavier' is not known; use he, glorot, lecun, uniform, or a callable"),
        (lambda: MLP(2, [1], init=None), TypeError, "init None is not known"),
        (lambda: MLP(2, [1], init=lambda *_: "x"), TypeError, "got the str 'x'"),
    ],
)  # fmt: skip
def test_a_bad_model_is_refused_before_a_weight_is_drawn(make, error, text):
    before = random.getstate()
    with pytest.raises(error) as caught:
        make()
    assert text in str(caught.value)
    assert random.getstate() == before


def test_the_known_activations_are_listed_in_full():
    with pytest.raises(ValueError) as caught:
        Neuron(1, "rleu")
    assert all(name in str(caught.value) for name in nn.activations())


def test_sizes_may_be_numpy_integers():
    assert len(MLP(np.int64(2), np.array([3, 1])).parameters()) == 13


@pytest.mark.parametrize(
    "module, x, error, text",
    [
        (MLP(2, [3, 1]), [1.0], ValueError, "Layer layers.0 expected 2 inputs, got 1"),
        (MLP(2, [3, 1]), [1, 2, 3], ValueError, "Layer layers.0 expected 2 inputs, got 3"),
        (MLP(2, [3, 1]), [], ValueError, "Layer layers.0 expected 2 inputs, got 0"),
        (Layer(2, 3), [1.0], ValueError, "Layer expected 2 inputs, got 1"),
        (Neuron(2), [1.0], ValueError, "Neuron expected 2 inputs, got 1"),
        (Neuron(2), 1.0, ValueError, "Neuron expected 2 inputs, got 1"),
        (MLP(2, [3, 1]), [[1, 2]], TypeError, "Layer layers.0 takes one sample at a time"),
        (MLP(2, [3, 1]), ["a", "b"], TypeError, "got the str 'a'"),
        (MLP(2, [3, 1]), None, TypeError, "got a NoneType"),
    ],
)
def test_a_bad_input_says_what_was_expected(module, x, error, text):
    with pytest.raises(error) as caught:
        module(x)
    assert text in str(caught.value)


def test_a_wrong_width_is_an_error_under_python_O():
    code = "from microgradx.nn import MLP; MLP(2, [3, 1])([1.0, 2.0, 3.0])"
    run = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True)
    assert run.returncode == 1
    assert "ValueError: Layer layers.0 expected 2 inputs, got 3" in run.stderr


# --- losses ----------------------------------------------------------------------------------


def loss_and_gradients(loss, predictions, targets):
    values = [Value(p) for p in predictions]
    result = loss(values, targets)
    result.backward()
    return result.data, [v.grad for v in values]


E = math.exp(-1.0)

# loss, predictions, targets, value, gradients: closed forms
BATCHES = [
    (nn.mse_loss, [1.0, 2.0, 4.0], [1.0, 0.0, 7.0], 13 / 3, [0.0, 4 / 3, -2.0]),
    (nn.hinge_loss, [0.5, -0.5, 3.0, 1.0], [1, 1, 1, -1], (0.5 + 1.5 + 0 + 2) / 4,
     [-0.25, -0.25, 0.0, 0.25]),
    (nn.hinge_loss, [1000.0, -1000.0], [-1, -1], 1001 / 2, [0.5, 0.0]),
    (nn.binary_cross_entropy_with_logits, [0.0, 0.0], [0, 1], math.log(2), [0.25, -0.25]),
    (nn.binary_cross_entropy_with_logits, [1000.0, 1000.0, -1000.0, -1000.0], [0, 1, 0, 1],
     500.0, [0.25, 0.0, 0.0, -0.25]),
    (nn.binary_cross_entropy_with_logits, [1000.0, -1000.0], [0.25, 0.25], (750 + 250) / 2,
     [0.375, -0.125]),
    (nn.binary_cross_entropy_with_logits, [-1.0], [0], math.log1p(E), [E / (1 + E)]),
    (nn.binary_cross_entropy_with_logits, [40.0], [1], math.exp(-40), [-math.exp(-40)]),
    (nn.binary_cross_entropy_with_logits, [-40.0], [0], math.exp(-40), [math.exp(-40)]),
    (nn.binary_cross_entropy_with_logits, [700.0], [1], math.exp(-700), [-math.exp(-700)]),
    (nn.binary_cross_entropy_with_logits, [math.log(3)], [0.75],
     2 * math.log(2) - 0.75 * math.log(3), [0.0]),
]  # fmt: skip


@pytest.mark.parametrize("loss, predictions, targets, value, gradients", BATCHES)
@pytest.mark.parametrize("as_targets", [list, tuple, np.array], ids=["list", "tuple", "array"])
def test_losses_of_a_batch_are_their_closed_forms(
    loss, predictions, targets, value, gradients, as_targets
):
    result = loss_and_gradients(loss, predictions, as_targets(targets))
    assert result[0] == pytest.approx(value, rel=1e-14, abs=0)
    assert result[1] == pytest.approx(gradients, rel=1e-14, abs=1e-16 * (value > 1e-9))


@pytest.mark.parametrize("loss, predictions, targets, value, gradients", BATCHES)
def test_the_loss_of_one_prediction_is_that_of_a_batch_of_one(
    loss, predictions, targets, value, gradients
):
    for p, t in zip(predictions, targets):
        x, y = Value(p), Value(p)
        one, batch = loss(x, np.array(t)), loss([y], [t])
        one.backward()
        batch.backward()
        assert (one.data, x.grad) == (batch.data, y.grad)


@pytest.mark.parametrize("z, target, ops", [(math.inf, 1, 2), (-math.inf, 0, 1)])
def test_a_sure_and_right_logit_costs_nothing(z, target, ops):
    loss = nn.binary_cross_entropy_with_logits(Value(z), target)
    loss.backward()
    assert loss.data == 0.0
    assert len([node for node in order(loss) if node.op]) == ops


def test_losses_take_batches_of_many_outputs():
    rows = [[Value(1.0), Value(2.0)], [Value(3.0), Value(5.0)]]
    assert nn.mse_loss(rows, np.zeros((2, 2))).data == 39 / 4
    assert nn.mse_loss(rows[0], rows[1]).data == (4 + 9) / 2  # targets that are Values


# logits, class, value, gradients
CROSS_ENTROPIES = [
    ([0.0, 0.0, 0.0], 1, math.log(3), [1 / 3, -2 / 3, 1 / 3]),
    ([math.log(1), math.log(2), math.log(5)], 2, math.log(8 / 5), [1 / 8, 2 / 8, -3 / 8]),
    ([1000.0, 0.0, -1000.0], 0, 0.0, [0.0, 0.0, 0.0]),
    ([1000.0, 0.0, -1000.0], 2, 2000.0, [1.0, 0.0, -1.0]),
    ([1000.0, 1000.0], 1, math.log(2), [0.5, -0.5]),
    ([-1000.0, -1000.0], 0, math.log(2), [-0.5, 0.5]),
]


@pytest.mark.parametrize("logits, target, value, gradients", CROSS_ENTROPIES)
def test_cross_entropy_of_one_sample_is_its_closed_form(logits, target, value, gradients):
    loss, grads = loss_and_gradients(nn.cross_entropy, logits, np.int64(target))
    assert loss == pytest.approx(value, rel=1e-12, abs=1e-12)
    assert grads == pytest.approx(gradients, rel=1e-12, abs=1e-12)


def test_cross_entropy_of_a_batch_is_the_mean():
    batch = [CROSS_ENTROPIES[i] for i in (0, 1, 3)]
    rows = [[Value(x) for x in row] for row, *_ in batch]
    loss = nn.cross_entropy(rows, np.array([target for _, target, *_ in batch]))
    loss.backward()
    assert loss.data == pytest.approx(sum(value for *_, value, _ in batch) / 3, rel=1e-13)
    expected = [g / 3 for *_, gradients in batch for g in gradients]
    assert [x.grad for row in rows for x in row] == pytest.approx(expected, rel=1e-12, abs=1e-15)


# logits, probabilities, value, gradients
EXPECTED_CROSS_ENTROPIES = [
    ([0.0, 0.0], [0.25, 0.75], math.log(2), [0.25, -0.25]),
    ([math.log(1), math.log(2), math.log(5)], [0, 0, 1], math.log(8 / 5), [1 / 8, 2 / 8, -3 / 8]),
    ([0.0, math.log(3)], [0.5, 0.5], math.log(4) - 0.5 * math.log(3), [-0.25, 0.25]),
    ([1000.0, 0.0, -1000.0], [0.5, 0.0, 0.5], 1000.0, [0.5, 0.0, -0.5]),
    ([0.0, 0.0], [0.5, 0.25], 0.75 * math.log(2), [-0.125, 0.125]),
]


@pytest.mark.parametrize("logits, target, value, gradients", EXPECTED_CROSS_ENTROPIES)
@pytest.mark.parametrize("of", [float, Value])
def test_cross_entropy_takes_the_probabilities_of_the_classes(logits, target, value, gradients, of):
    loss, grads = loss_and_gradients(nn.cross_entropy, logits, [of(t) for t in target])
    assert loss == pytest.approx(value, rel=1e-12)
    assert grads == pytest.approx(gradients, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("offset", [0.0, 1e8, -1e8, 1e12, 1e16])
@pytest.mark.parametrize("target", [1, [0.0, 1.0, 0.0], [0.25, 0.25, 0.5]])
def test_cross_entropy_is_right_at_any_common_offset(offset, target):
    zs = [Value(offset + z) for z in (0.0, 4.0, -2.0)]
    loss = nn.cross_entropy(zs, target)
    loss.backward()
    total = 1.0 + math.exp(4.0) + math.exp(-2.0)
    ts = [0.0, 1.0, 0.0] if target == 1 else target
    expected = math.fsum(t * (math.log(total) - z) for t, z in zip(ts, (0.0, 4.0, -2.0)))
    assert loss.data == pytest.approx(expected, rel=4e-15)
    for z, t, e in zip(zs, ts, (0.0, 4.0, -2.0)):
        assert z.grad == pytest.approx(math.exp(e) / total - t, rel=1e-14, abs=1e-15)


def test_cross_entropy_keeps_a_loss_too_small_to_be_a_difference():
    loss = nn.cross_entropy([Value(5.0), Value(-60.0)], 0)
    assert loss.data == pytest.approx(math.exp(-65.0), rel=1e-14)


def test_cross_entropy_of_a_class_without_probability_may_have_any_logit():
    for far in (-1e308, -math.inf):
        for target in (0, [1, 0]):
            assert nn.cross_entropy([Value(1e308), Value(far)], target).data == 0.0
    assert nn.cross_entropy([Value(0.0), Value(3.0)], [0.0, 0.0]).data == 0.0


def test_cross_entropy_of_probabilities_has_few_nodes_and_takes_batches():
    zs, ts = values(3), values(3)
    ops = Counter(n.op for n in order(nn.cross_entropy(zs, ts)) if n.op)
    assert ops == {"add": 3, "logsumexp": 1, "sum": 1, "mul": 1, "dot": 1, "neg": 2}
    ops = Counter(n.op for n in order(nn.cross_entropy(zs, 1)) if n.op)
    assert ops == {"add": 2, "logsumexp": 1, "neg": 1}
    rows = [[Value(z) for z in row] for row, *_ in EXPECTED_CROSS_ENTROPIES[::2][:1] * 2]
    assert nn.cross_entropy(rows, np.array([[0.25, 0.75]] * 2)).data == pytest.approx(math.log(2))


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("z", [-40.0, -0.5, 0.0, 2.0, 700.0])
def test_a_target_that_is_a_value_is_in_the_general_formula(z, t):
    for loss, target in (
        (nn.binary_cross_entropy_with_logits, t),
        (nn.hinge_loss, 2 * round(t) - 1),
    ):
        x, y, node = Value(z), Value(z), Value(target)
        expected, found = loss(x, target), loss(y, node)
        expected.backward()
        found.backward()
        assert node in order(found)
        assert found.data == pytest.approx(expected.data, rel=1e-14)
        assert y.grad == pytest.approx(x.grad, rel=1e-14)


def test_targets_that_are_values_are_not_looked_at():
    assert nn.hinge_loss(Value(0.5), Value(3.0)).data == 0.0
    assert nn.binary_cross_entropy_with_logits(Value(0.0), Value(2.0)).data == pytest.approx(
        math.log(2)
    )
    assert nn.cross_entropy(values(2), [Value(2.0), 0.0]).data == pytest.approx(2 * math.log(2))


def values(*shape):
    return Value(0.5) if not shape else [values(*shape[1:]) for _ in range(shape[0])]


bce = nn.binary_cross_entropy_with_logits


@pytest.mark.parametrize(
    "loss, predictions, targets, error, text",
    [
        (nn.mse_loss, values(3), [1, 2], ValueError, "agree in shape, got (3,) and (2,)"),
        (nn.mse_loss, values(3), np.zeros((3, 1)), ValueError, "got (3,) and (3, 1)"),
        (nn.mse_loss, values(), [1], ValueError, "got () and (1,)"),
        (nn.mse_loss, [], [], ValueError, "got an empty or ragged list and an empty"),
        (nn.mse_loss, [1.0], [1.0], TypeError, "predictions are Values"),
        (nn.mse_loss, values(1), ["x"], TypeError, "got the str 'x'"),
        (nn.hinge_loss, values(2), [0, 1], ValueError, "targets -1 and 1, got 0; for 0 and 1"),
        (bce, values(2), [-1, 1], ValueError, "lies in [0, 1], got -1"),
        (bce, values(1), [math.nan], ValueError, "lies in [0, 1], got nan"),
        (nn.cross_entropy, values(3), 3, IndexError, "class 3 of 3; they are counted from 0"),
        (nn.cross_entropy, values(3), -1, IndexError, "class -1 of 3"),
        (nn.cross_entropy, values(3), 1.5, TypeError, "a class is a whole number, got 1.5"),
        (nn.cross_entropy, values(3), "1", TypeError, "a class is a whole number, got '1'"),
        (
            nn.cross_entropy,
            values(2),
            [1.5, 0],
            ValueError,
            "cross-entropy lies in [0, 1], got 1.5",
        ),
        (nn.cross_entropy, values(2), [math.nan, 0], ValueError, "lies in [0, 1], got nan"),
        (nn.cross_entropy, values(2), ["x", 0], TypeError, "got the str 'x'"),
        (nn.cross_entropy, values(2, 3), [[0, 1]] * 2, ValueError, "got (2, 3) and (2, 2)"),
        (nn.cross_entropy, values(2, 3), [1], ValueError, "got (2, 3) and (1,)"),
        (nn.cross_entropy, values(2, 3), 1, ValueError, "got (2, 3) and ()"),
        (nn.cross_entropy, values(), 0, ValueError, "got () and ()"),
        (nn.cross_entropy, [], [], ValueError, "got an empty or ragged list"),
        (nn.cross_entropy, [values(2), values(3)], [0, 0], ValueError, "got an empty or ragged"),
        (nn.cross_entropy, [1.0, 2.0], 0, TypeError, "predictions are Values"),
    ],
)
def test_a_loss_of_what_does_not_fit_says_so(loss, predictions, targets, error, text):
    with pytest.raises(error) as caught:
        loss(predictions, targets)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "name, predictions, targets",
    [
        ("mse_loss", [[1.0, -2.0], [0.5, 3.0]], [[0.0, 1.0], [0.5, -3.0]]),
        ("binary_cross_entropy_with_logits", [1000.0, -1000.0, 0.3, -3.0], [0.2, 1.0, 0.0, 0.7]),
        ("cross_entropy", [[1000.0, -1000.0, 3.0], [0.1, 0.2, -0.4]], [1, 2]),
        (
            "cross_entropy",
            [[9.0, -1.0, 3.0], [0.1, 0.2, -0.4]],
            [[0.5, 0.25, 0.25], [0.0, 1.0, 0.5]],
        ),
    ],
)
def test_losses_are_pytorchs(name, predictions, targets):
    torch = pytest.importorskip("torch")
    x = torch.tensor(predictions, dtype=torch.float64, requires_grad=True)
    y = torch.tensor(targets) if name == "cross_entropy" else torch.tensor(targets).double()
    y = y.double() if y.is_floating_point() else y
    expected = getattr(torch.nn.functional, name)(x, y)
    expected.backward()
    nodes = [[Value(v) for v in p] if isinstance(p, list) else Value(p) for p in predictions]
    loss = getattr(nn, name)(nodes, y)
    loss.backward()
    flat = [v for p in nodes for v in (p if isinstance(p, list) else [p])]
    assert loss.data == pytest.approx(expected.item(), rel=1e-14)
    assert [v.grad for v in flat] == pytest.approx(x.grad.flatten().tolist(), rel=1e-13, abs=1e-16)


@pytest.mark.parametrize("seed", ["one", 1.5, [1], np.random.default_rng(0)])
def test_a_seed_of_another_kind_is_refused(seed):
    with pytest.raises(TypeError, match="a seed is an int, a random.Random or None"):
        MLP(2, [1], seed=seed)
