"""A graph of layers is read as the net that it is: neurons, samples, inputs, parameters."""

import pytest

import microgradx as mx
from microgradx import nn
from microgradx.engine import Value
from microgradx.explain.samples import net_of, role_of

XS = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
YS = [1.0, -1.0, -1.0, 1.0]
TOTALS = {
    "sum": mx.sum,
    "mean": mx.mean,
    "python": sum,
    "halves": lambda losses: mx.mean(losses[:2]) + mx.mean(losses[2:]),
}


def squares(model, xs=XS):
    return [(model(x) - y) ** 2 for x, y in zip(xs, YS)]


def outputs(model, x):
    """What each layer gives for one sample."""
    found = []
    for layer in model.layers:
        x = layer(x)
        found.append([y.data for y in x] if isinstance(x, list) else [x.data])
    return found


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("leaves", [False, True])
def test_samples_are_numbered_in_the_order_of_the_loss(total, leaves):
    model = nn.MLP(3, [4, 4, 1], activation="tanh", seed=1)
    xs = [[Value(x) for x in row] for row in XS] if leaves else XS
    net = net_of(TOTALS[total](squares(model, xs)))
    assert net.samples == 4
    assert not net.repeats
    assert [layer.name for layer in net.layers] == ["layers.0", "layers.1", "layers.2"]
    for k, x in enumerate(XS):
        seen = [[n.turns[k].y.data for n in layer.neurons.values()] for layer in net.layers]
        assert seen == outputs(model, x)
        assert [
            given.numbers[k] if not leaves else given.numbers[k].data for given in net.inputs
        ] == x


def test_a_neuron_has_its_activation_its_slope_and_its_parameters():
    model = nn.MLP(3, [2, 1], activation="silu", seed=1)
    loss = mx.sum(squares(model))
    loss.backward()
    net = net_of(loss)
    hidden, last = net.layers
    assert [n.activation for n in net.neurons] == ["f(z)", "f(z)", ""]
    for i, neuron in enumerate(hidden.neurons.values()):
        assert [p.label for p in neuron.parameters] == [
            *[f"layers.0.weight[{i},{j}]" for j in range(3)], f"layers.0.bias[{i}]",
        ]  # fmt: skip
        for turn in neuron.turns.values():
            assert turn.z.grad == pytest.approx(turn.slope * turn.y.grad, rel=1e-14)
            assert net.neuron_of(turn.z) is net.neuron_of(turn.y) is neuron
    assert all(turn.z is turn.y and turn.slope == 1.0 for turn in last.neurons["0"].turns.values())
    assert {node.op for node in net.loss} == {"sum", "pow", "add"}


def test_neurons_stand_in_the_order_of_their_indices():
    model = nn.MLP(2, [12, 1], seed=1)
    net = net_of(model([1.0, 2.0]))
    assert list(net.layers[0].neurons) == [str(i) for i in range(12)]
    assert net.loss == []


class Normed(nn.Module):
    def __init__(self, norm):
        self.layers = [nn.Layer(3, 4, "tanh", seed=1), norm, nn.Layer(4, 1, None, seed=2)]

    def __call__(self, xs):
        rows = [self.layers[0](x) for x in xs]
        norm = self.layers[1]
        rows = norm(rows) if isinstance(norm, nn.BatchNorm) else [norm(row) for row in rows]
        return [self.layers[2](row) for row in rows]


@pytest.mark.parametrize("norm", [nn.BatchNorm(4), nn.LayerNorm(4)])
def test_the_statistics_of_a_norm_are_glue(norm):
    model = Normed(norm)
    net = net_of(nn.mse_loss(model(XS), YS))
    assert [layer.name for layer in net.layers] == ["layers.0", "layers.1", "layers.2"]
    assert [len(layer.neurons) for layer in net.layers] == [4, 4, 1]
    assert {len(neuron.turns) for neuron in net.neurons} == {4}
    first, normed, last = net.layers
    assert list(normed.reads) == [first] and list(last.reads) == [normed]
    assert not first.glue and not last.glue
    assert {"sum", "dot", "sqrt", "div"} <= {node.op for node in normed.glue}
    labels = [p.label for p in normed.neurons["2"].parameters]
    assert labels == ["layers.1.weight[2]", "layers.1.bias[2]"]


def test_a_residual_block_is_read_by_two_ways():
    class Model(nn.Module):
        def __init__(self):
            self.layers = [nn.Layer(3, 4, seed=1), nn.Residual(nn.MLP(4, [4, 4], seed=2))]

        def __call__(self, x):
            return self.layers[1](self.layers[0](x))

    net = net_of(mx.sum(Model()(XS[0])))
    names = ["layers.0", "layers.1.block.layers.0", "layers.1.block.layers.1", "layers.1"]
    assert [layer.name for layer in net.layers] == names
    assert [layer.name for layer in net.layers[3].reads] == ["layers.0", "layers.1.block.layers.1"]
    assert [n.activation for n in net.layers[3].neurons.values()] == [""] * 4


def test_a_net_whose_neurons_work_twice_in_a_sample_is_a_graph_of_ops():
    cell = nn.MLP(1, [1, 1], seed=1)
    assert net_of(cell([cell([0.5])])) is None
    assert net_of(cell([cell([cell([0.5])])]) + cell([0.25])) is None


def test_two_models_of_the_same_labels_are_no_net():
    one, other = nn.MLP(1, [2, 1], seed=1), nn.MLP(1, [2, 1], seed=2)
    assert net_of(one([0.5]) + other([0.5])) is None
    assert net_of(one([0.5]) + one([0.25])).samples == 2


def test_samples_that_share_a_row_of_numbers_both_have_it():
    layer, row = nn.Layer(2, 2, seed=1), (1.0, 2.0)
    outputs = [layer(xs) for xs in (row, (3.0, 4.0), row)]
    net = net_of(mx.sum([y for ys in outputs for y in ys]))
    assert [given.numbers for given in net.inputs] == [
        {0: 1.0, 1: 3.0, 2: 1.0}, {0: 2.0, 1: 4.0, 2: 2.0},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("activation", "name"),
    [("relu", "relu"), (lambda z: z.relu() - 0.5, "f(z)"), (lambda z: -z.relu(), "f(z)"),
     (lambda z: z + 1.0, ""), (None, "")],
)  # fmt: skip
def test_what_lies_between_z_and_y_is_the_activation(activation, name):
    net = net_of(nn.MLP(1, [2, 1], activation=activation, seed=1)([0.5]))
    assert {n.activation for n in net.layers[0].neurons.values()} == {name}


def test_inputs_go_by_their_labels_or_their_place():
    layer = nn.Layer(3, 1, seed=1)
    net = net_of(layer([Value(2.0, "width"), 3.0, Value(4.0)]))
    assert [given.name for given in net.inputs] == ["width", "x1", "x2"]


def test_what_has_no_layers_is_no_net():
    x = Value(2.0, "x")
    assert net_of(x.tanh() * x) is None
    y = x.tanh()
    y.label = "h[0]"  # a layer without weights
    assert net_of(y * 2.0) is None


@pytest.mark.parametrize(
    ("label", "role"),
    [
        ("layers.0[2]", ("layers.0", "2", "y")),
        ("layers.0[2].z", ("layers.0", "2", "z")),
        ("[2]", ("", "2", "y")),
        ("layers.0.weight[2,1]", ("layers.0.weight", "2,1", "parameter")),
        ("weight[2,1]", ("weight", "2,1", "parameter")),
        ("bias", ("", "", "parameter")),
        ("rnn.weight_ih_l0[2,1]", ("rnn.weight_ih_l0", "2,1", "parameter")),
        ("rnn[4,2].z", ("rnn", "4,2", "z")),
        ("layers.1.mean[0]", ("layers.1.mean", "0", "")),
        ("loss", ("", "", "")),
        ("", ("", "", "")),
    ],
)
def test_a_label_says_what_its_node_is(label, role):
    assert role_of(label) == role


def test_the_outputs_are_what_no_layer_reads():
    trunk, one, two = nn.Layer(3, 4, seed=1), nn.Layer(4, 1, None, seed=2), nn.Layer(4, 2, seed=3)
    for module, name in ((trunk, "trunk"), (one, "one"), (two, "two")):
        module._called(name)
    h = trunk(XS[0])
    net = net_of(one(h) + mx.sum(two(h)))
    assert sorted(neuron.name for neuron in net.outputs) == ["one[0]", "two[0]", "two[1]"]
