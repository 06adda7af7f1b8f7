"""What each layer of a net takes from the gradient, where it stops, and what a line carries."""

import math
import random

import pytest

import microgradx as mx
from microgradx import nn
from microgradx.engine import Value, order
from microgradx.explain.extended import Extended
from microgradx.explain.layers import (
    Survey,
    carried,
    mean_square_root,
    off_or_saturated,
    reached,
    saturated,
)
from microgradx.explain.paths import Paths, is_stop
from microgradx.explain.samples import net_of


def batch(n, width, seed=1):
    rng = random.Random(seed)
    return [[rng.uniform(-2.0, 2.0) for _ in range(width)] for _ in range(n)]


def swept(model, n=5, width=3):
    rng = random.Random(2)
    loss = mx.mean([(model(x) - rng.choice([-1.0, 1.0])) ** 2 for x in batch(n, width)])
    loss.backward()
    return net_of(loss)


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "gelu", None])
def test_factors_multiply_from_the_last_layer_to_each(activation):
    net = swept(nn.MLP(3, [6, 5, 4, 1], activation=activation, seed=3))
    found = Survey(net).passages
    size = found[-1].arriving
    assert found[-1].weights == 1.0
    for p in reversed(found):
        size *= p.factor
        grads = [t.z.grad for n in p.layer.neurons.values() for t in n.turns.values()]
        assert p.leaving == pytest.approx(math.sqrt(sum(g * g for g in grads) / len(grads)))
        assert size == pytest.approx(p.leaving, rel=1e-12)
        assert p.leaving == pytest.approx(p.arriving * p.slopes, rel=1e-12)


def test_a_root_mean_square_neither_overflows_nor_underflows():
    assert mean_square_root([3e200, 4e200]) == pytest.approx(5e200 / math.sqrt(2))
    assert mean_square_root([3e-200, 4e-200]) == pytest.approx(5e-200 / math.sqrt(2))
    assert math.isnan(mean_square_root([]))


@pytest.mark.parametrize("seed", range(20))
def test_reached_are_the_nodes_with_a_path_without_a_zero(seed):
    rng = random.Random(seed)
    values = [Value(rng.choice([-1.0, 0.0, 0.5, 2.0])) for _ in range(4)]
    for _ in range(20):
        a, b = rng.choice(values), rng.choice(values)
        values.append(rng.choice([a * b, a + b, a.relu(), b * 0.0, a.tanh()]))
    output = mx.sum(values[-5:])
    paths = Paths(output)
    alive = {node for i, node in enumerate(paths.nodes) if paths.mass(i).mantissa}
    assert reached(order(output)) == alive


def test_a_zero_slope_is_a_stop_where_a_gradient_meets_it():
    model = nn.MLP(2, [3, 3, 1], seed=1)
    model.layers[0].neurons[1].bias.data = -50.0  # off on every sample
    for neuron in model.layers[1].neurons:
        neuron.weight[1].data = 0.5
    net = swept(model, 4, 2)
    closed = Survey(net).off
    neuron = net.layers[0].neurons["1"]
    assert closed[neuron] == 4
    verdicts = {mx.why(turn.z, net.output).verdict for turn in neuron.turns.values()}
    assert verdicts == {"stopped"}
    for each in net.neurons:
        assert sum(turn.slope == 0 for turn in each.turns.values()) == closed.get(each, 0)


@pytest.mark.parametrize(
    ("partial", "adjoint", "stops"),
    [(0.0, 1.0, True), (-0.0, -5e-324, True), (0.0, 0.0, False), (1.0, 1.0, False),
     (0.0, math.inf, False), (0.0, -math.inf, False), (0.0, math.nan, False),
     (math.nan, 1.0, False), (0.0, Extended(1.0, -5000), True), (0.0, Extended(1.0, 5000), True),
     (0.0, Extended(0.0, 0), False), (0.0, Extended(math.nan, 0), False)],
)  # fmt: skip
def test_a_gradient_stops_where_0_is_made_of_it(partial, adjoint, stops):
    assert is_stop(partial, adjoint) is stops


def test_what_is_starved_already_is_no_stop():
    model = nn.MLP(2, [2, 2, 1], seed=1)
    for neuron in model.layers[0].neurons + model.layers[1].neurons:
        neuron.bias.data = -50.0
    net = swept(model, 3, 2)
    assert {n.layer.name for n in Survey(net).stops} == {"layers.1"}


def test_a_line_carries_its_weight_times_the_gradients_at_z():
    model = nn.MLP(3, [4, 2, 1], activation="tanh", seed=1)
    net = swept(model)
    sizes = carried(net)
    assert len(sizes) == 3 * 4 + 4 * 2 + 2
    for (source, neuron), size in sizes.items():
        j = net.inputs.index(source) if source in net.inputs else int(source.index)
        weight = neuron.parameters[j].data
        grads = [turn.z.grad for turn in neuron.turns.values()]
        assert size == pytest.approx(abs(weight) * math.hypot(*grads), rel=1e-12)


@pytest.mark.parametrize(("activation", "counts"), [("relu", (1, 1, 0)), ("tanh", (0, 0, 2))])
def test_neurons_that_are_off_on_all_samples_on_some_or_saturated_are_counted(activation, counts):
    model = nn.MLP(1, [3, 1], activation=activation, seed=1)
    for neuron, bias in zip(model.layers[0].neurons, (-50.0, 50.0, 0.0)):
        neuron.weight[0].data, neuron.bias.data = 1.0, bias
    loss = mx.sum([model([x]) for x in (-1.0, 0.5, 1.0)])
    loss.backward()
    assert off_or_saturated(net_of(loss).layers[0].neurons.values()) == counts


def test_lines_run_through_a_norm_feature_by_feature():
    first, norm, last = nn.Layer(2, 3, "tanh", seed=1), nn.BatchNorm(3), nn.Layer(3, 1, seed=2)
    first._called("a"), norm._called("b"), last._called("c")
    loss = mx.sum([last(row) for row in norm([first(x) for x in batch(4, 2)])])
    loss.backward()
    net = net_of(loss)  # which holds the layers
    lines = [(a.index, b.index) for a, b in carried(net) if getattr(a, "layer", None)]
    assert [line for line in lines if line[1] != "0" or line[0] == "0"][:3]
    through = {(a, b) for a, b in lines if a == b}
    assert {("0", "0"), ("1", "1"), ("2", "2")} <= through


@pytest.mark.parametrize(("bias", "expected"), [(0.0, False), (4.0, True), (400.0, False)])
def test_saturated_is_a_median_slope_below_one_percent_and_above_zero(bias, expected):
    model = nn.MLP(2, [1, 1], activation="tanh", seed=1)
    model.layers[0].neurons[0].bias.data = bias
    net = swept(model, 5, 2)
    assert saturated(net.layers[0].neurons["0"]) is expected
    assert not saturated(net.layers[1].neurons["0"])


@pytest.mark.parametrize(("bias", "expected"), [(9.0, False), (-9.0, True)])
def test_elu_which_has_no_largest_slope_is_saturated_below_one_percent_of_1(bias, expected):
    model = nn.MLP(2, [1, 1], activation="elu", seed=1)
    model.layers[0].neurons[0].bias.data = bias
    assert saturated(swept(model, 5, 2).layers[0].neurons["0"]) is expected
