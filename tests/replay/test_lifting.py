"""A replay finds the matrices behind nets of scalars, however these are written."""

import random
import re

import numpy as np
import pytest

import microgradx as mx
from demos.plumbing import moons
from microgradx.engine import Value, apply, order, rule
from microgradx.replay import lift, record
from tests.counting import lines
from tests.replay.nets import (
    NETS,
    STYLES,
    Net,
    batch_normalised,
    by_loop,
    data,
    eager,
    gradient,
    mlp,
    replayed,
    styled,
    values,
)


def products(replay):
    return sorted(replay._arrays.products, key=str)


def statements(replay):
    return replay._statements


def unrolled(net):
    """(loss, inputs): the net's mean loss over its batch, as one graph."""
    inputs = [values(x) for x in net.batch]
    return mx.mean([net.fn(*sample) for sample in zip(*inputs)]), inputs


def close_to(replay, net, batch, loss, expected):
    """That a replay's loss and gradient are these, within 1e-13 of the largest."""
    found, gradient = replayed(replay, net.parameters, *batch)
    assert abs(found - loss) <= 1e-13 * max(1.0, abs(loss))
    assert np.abs(gradient - expected).max() <= 1e-13 * max(1.0, np.abs(expected).max())


# --- one net, seven ways to write it ---------------------------------------------------------


@pytest.mark.parametrize("neuron", STYLES, ids=lambda neuron: neuron.__name__)
def test_a_net_lifts_to_the_same_arrays_however_its_neurons_are_written(neuron):
    net = styled(neuron)
    replay = record(net.fn, *net.example)
    assert products(replay) == [(1, 5, "n"), (5, 6, "n"), (6, 3, "n")]
    assert statements(replay) == 35
    assert not replay._arrays.fallbacks
    close_to(replay, net, net.batch, *eager(net))


@pytest.mark.parametrize("neuron", STYLES, ids=lambda neuron: neuron.__name__)
def test_an_unrolled_batch_lifts_to_the_same_arrays_however_it_is_written(neuron):
    net = styled(neuron)
    loss, (x, y) = unrolled(net)
    replay = lift(loss, inputs={"x": x, "y": y})
    assert products(replay) == [(1, 5, 7), (5, 6, 7), (6, 3, 7)]
    assert statements(replay) == 45
    assert not replay._arrays.fallbacks
    other = net.batch[0] * 1.5 - 0.25, net.batch[1]
    close_to(replay, net, other, *eager(net, other))


def test_the_number_of_statements_does_not_grow_with_the_width():
    wide = styled(by_loop, widths=(4, 12, 9, 1))
    assert statements(record(wide.fn, *wide.example)) == 35


def test_the_data_of_an_unrolled_batch_may_be_numbers():
    net = styled(by_loop)
    loss = mx.mean([net.fn(x, float(y)) for x, y in zip(net.batch[0].tolist(), net.batch[1])])
    replay = lift(loss)
    assert products(replay) == [(1, 5, 7), (5, 6, 7), (6, 3, 7)]
    close_to(replay, net, (), *eager(net))


# --- nets of many kinds ----------------------------------------------------------------------

# By net: its matrix products as (rows, terms, columns), and how many statements it takes.
FOUND = {
    "one_layer": ([(1, 4, "n")], 7),
    "two_layers": ([(3, 5, "n"), (5, 4, "n")], 22),
    "three_layers": ([(1, 5, "n"), (5, 6, "n"), (6, 8, "n")], 25),
    "softmax_cross_entropy": ([(16, 16, "n"), (16, 8, "n"), (3, 16, "n")], 38),
    "residual": (3 * [(6, 6, "n")], 41),
    "two_labelled_heads": ([(2, 6, "n"), (3, 6, "n"), (6, 8, "n")], 27),
    "two_heads_without_labels": ([(5, 6, "n"), (6, 8, "n")], 24),
    "two_models_of_the_same_labels": ([(10, 4, "n")] + 2 * [(2, 5, "n")], 39),
    "shared_trunk": ([(5, 4, "n"), (5, 5, "n")], 80),
    "convolution": ([(2, 24, "n"), (4, 3, "6 * n")], 22),
    "recurrent": ([(1, 5, "n")] + 4 * [(5, 2, "n")] + 4 * [(5, 5, "n")], 89),
    "penalties": ([(1, 31, 1), (1, 5, "n"), (5, 4, "n")], 31),
    "attention": ([(9, 4, "2 * n")], 64),
    "tied_autoencoder": ([(3, 6, "n"), (6, 3, "n")], 31),
    "normed_weights": ([(1, 4, "n"), (4, 5, "n")], 61),
    "layer_norm": ([(1, 6, "n"), (6, 4, "n")], 63),
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_a_recorded_net_is_lifted_and_right(name):
    net = NETS[name]()
    replay = record(net.fn, *net.example)
    assert (products(replay), statements(replay)) == FOUND[name]
    close_to(replay, net, net.batch, *eager(net))
    few = [x[2:4] for x in net.batch]
    close_to(replay, net, few, *eager(net, few))


@pytest.mark.parametrize("name", NETS)
def test_an_unrolled_net_is_lifted_and_right(name):
    net = NETS[name]()
    loss, inputs = unrolled(net)
    replay = lift(loss, inputs={f"in{k}": x for k, x in enumerate(inputs)})
    close_to(replay, net, net.batch, *gradient(loss, net.parameters))
    other = [x[::-1] * 0.75 for x in net.batch]
    close_to(replay, net, other, *eager(net, other))


@pytest.mark.parametrize("name", NETS)
def test_labels_change_nothing_but_the_layout(name):
    net = NETS[name]()
    expected = eager(net)
    for p in net.parameters:
        p.label = ""
    close_to(record(net.fn, *net.example), net, net.batch, *expected)
    for k, p in enumerate(net.parameters):
        p.label = f"same.weight[{k % 3}]"  # clashing ones
    close_to(record(net.fn, *net.example), net, net.batch, *expected)


def test_batch_normalisation_over_an_unrolled_batch():
    loss, inputs, parameters, X = batch_normalised()
    replay = lift(loss, inputs)
    assert products(replay) == [(1, 5, 9), (5, 8, 9)]
    assert statements(replay) == 52
    expected, grads = gradient(loss, parameters)
    found, mine = replayed(replay, parameters, X)
    assert found == pytest.approx(expected, rel=1e-13)
    assert mine == pytest.approx(grads, rel=1e-13, abs=1e-13)


def test_labelled_heads_are_a_product_each():
    heads = [size for size in products(record_of("two_labelled_heads")) if size[1] == 6]
    assert heads == [(2, 6, "n"), (3, 6, "n")]


def test_a_layer_may_be_read_by_the_next_one_and_gathered_from_by_another():
    """Its row of ones, for the biases of the next one, lies in the pool then."""
    one, two = mlp(4, 5, activation="tanh"), mlp(5, 3)

    def fn(x, y):
        h = [z.tanh() for z in one(x)]
        left = [h[0], x[1], h[3], h[2], x[0], x[3], h[4], h[1]]
        right = [x[0], h[1], x[2], h[4], x[2], h[0], h[0], x[3]]
        return (mx.sum(two(h)) - y) ** 2 + mx.sum([(a * b).exp() for a, b in zip(left, right)])

    net = Net(fn, one.parameters() + two.parameters(), (data(6, 4), data(6)))
    replay = record(net.fn, *net.example)
    assert re.search(r"\w_ones = v\[", replay.source)
    close_to(replay, net, net.batch, *eager(net))


@pytest.mark.parametrize("elementwise", [False, True])
def test_wide_samples_lie_as_they_are_read(elementwise):
    """One behind the other for a product, a column each for what is computed of them alone."""
    model = mlp(40, 3, 1)
    net = Net(
        lambda x, y: (model(x) - y) ** 2 + (mx.sum([a * a for a in x]) if elementwise else 0.0),
        model.parameters(),
        (data(6, 40), data(6)),
    )
    replay = record(net.fn, *net.example)
    assert ("x = xT.T  # a row a sample" in replay.source) == elementwise
    close_to(replay, net, net.batch, *eager(net))


@pytest.mark.parametrize("width, behind", [(31, False), (32, True)])
def test_samples_are_wide_from_32_numbers_on(width, behind):
    source = record(mx.nn.Layer(width, 3, seed=0), [1.0] * width).source
    assert ("xsT = xs.T  # a column a sample" in source) == behind
    assert ("xs = xsT.T  # a row a sample" in source) != behind
    assert f"p.reshape{(3, width + 1) if behind else (width + 1, 3)}" in source


def record_of(name):
    net = NETS[name]()
    return record(net.fn, *net.example)


def test_a_kernel_that_slides_is_one_product():
    assert (4, 3, "6 * n") in products(record_of("convolution"))


@pytest.mark.parametrize("count, more", [(9, ""), (10, "\n  and 2 more gathered")])
def test_the_text_names_eight_of_what_was_gathered(count, more):
    replay = record_of("two_layers")
    replay._arrays.fallbacks[:] = [f"x{k}" for k in range(count)]
    last = f"x{count - 1}" if count < 10 else "x7"
    assert str(replay).endswith(f"  gathered, for they lie unevenly: {last}" + more)


def test_the_text_says_what_was_found():
    replay = record_of("two_layers")
    first, *found = str(replay).splitlines()
    assert f"nodes recorded: {len(replay._tape.values)}; array statements: " in first
    assert first.endswith("matrix products: 2")
    assert found == ["  (5 × 4) · (4 × n)", "  (3 × 5) · (5 × n)"]
    assert "  gathered, for they lie unevenly: 18 elements of xT" in str(record_of("convolution"))


# --- the demo, unrolled by plain loops -------------------------------------------------------


# --- long chains ------------------------------------------------------------------------------


def with_an_odd_one(length):
    """A chain whose calls are all alike but for one; its minus goes through all that follow."""
    w = h = Value(0.5, "w")
    for i in range(length):
        h = (h * (-1.0 if i == length // 2 else 1.0)).relu() + 0.125
    return w, h


def lifts_as_the_graph(w, y):
    expected, grads = gradient(y, [w])
    found, mine = replayed(lift(y, parameters=[w]), [w])
    assert found == pytest.approx(expected, rel=1e-12)
    assert mine == pytest.approx(grads, rel=1e-9)


@pytest.mark.long
def test_a_long_chain_with_an_odd_one_is_lifted_without_recursion():
    lifts_as_the_graph(*with_an_odd_one(3_000))


def test_so_is_an_op_of_very_many_calls(temporary_ops):
    @rule(kind="linear", lists=("xs",))
    def horner(xp, xs):
        """xₙ + xₙ₋₁ / 2 + xₙ₋₂ / 4 + …"""
        y = 0.0
        for x in xs:
            y = y * 0.5 + x
        return y, [0.5 ** (len(xs) - 1 - k) for k in range(len(xs))]

    w = Value(0.5, "w")
    lifts_as_the_graph(w, apply(horner, [w * 2.0, *[0.25] * 2_000, w]))


def test_a_chain_with_an_odd_one_twice_as_long_is_twice_the_work():
    long, longer = (lines(lambda n=n: lift(with_an_odd_one(n)[1])) for n in (300, 600))
    assert longer < 2.1 * long


class PlainNeuron:
    """micrograd's: a number at a time."""

    def __init__(self, rng, inputs, is_relu):
        self.w = [Value(rng.uniform(-1, 1)) for _ in range(inputs)]
        self.b = Value(0.0)
        self.is_relu = is_relu

    def __call__(self, x):
        act = self.b
        for w, v in zip(self.w, x):
            act = act + w * v
        return act.relu() if self.is_relu else act


def test_the_demo_unrolled_is_three_layers_and_a_penalty():
    X, y = moons()
    rng = random.Random(0)
    layers = [
        [PlainNeuron(rng, inputs, inputs < 16 or width > 1) for _ in range(width)]
        for inputs, width in ((2, 16), (16, 16), (16, 1))
    ]
    parameters = [p for layer in layers for neuron in layer for p in (*neuron.w, neuron.b)]
    total = 0.0
    for x, side in zip(X, y):
        for layer in layers:
            x = [neuron(x) for neuron in layer]
        total = total + (1 + -side * x[0]).relu()
    penalty = parameters[0] * parameters[0]
    for p in parameters[1:]:
        penalty = penalty + p * p
    loss = total * (1.0 / len(X)) + penalty * 1e-4
    assert len(order(loss)) > 65_000
    replay = lift(loss)
    assert products(replay) == [(1, 16, 100), (1, 337, 1), (16, 16, 100), (16, 2, 100)]
    assert statements(replay) == 30
    expected, grads = gradient(loss, parameters)
    found, mine = replayed(replay, parameters)
    assert found == pytest.approx(expected, rel=1e-14)
    assert np.abs(mine - grads).max() <= 1e-15 * max(1.0, np.abs(grads).max())
