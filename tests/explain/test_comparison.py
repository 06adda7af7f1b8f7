"""Comparisons are run for true: each budget is that of the graph built for its choice."""

import re
from functools import partial

import pytest

import microgradx as mx


def weight_and_loss(activation, init="glorot"):
    model = mx.nn.MLP(2, [3] * 5 + [1], activation=activation, init=init, seed=0)
    loss = mx.nn.mse_loss(model([0.5, -1.0]), 1.0)
    return model.layers[0].neurons[0].weight[0], loss


def test_each_column_is_the_explanation_of_its_own_graph():
    found = mx.compare(weight_and_loss, ["sigmoid", "tanh"])
    for activation in ("sigmoid", "tanh"):
        node, loss = weight_and_loss(activation)
        loss.backward()
        assert found[activation].budget == mx.why(node, loss).budget
        assert found[activation].flow.g == pytest.approx(node.grad, rel=1e-12)
    assert found["sigmoid"].flow.decades < found["tanh"].flow.decades - 2
    assert "sigmoid ceiling" in found["sigmoid"].budget
    assert "sigmoid ceiling" not in found["tanh"].budget


def test_initial_scales_are_choices_too():
    def scaled(scale):
        return weight_and_loss("tanh", init=lambda nin, nout, rng: rng.gauss(0.0, scale))

    found = mx.compare(scaled, [0.01, 0.1, 1.0])
    decades = [found[scale].flow.decades for scale in (0.01, 0.1, 1.0)]
    assert decades == sorted(decades)
    assert found[0.01].budget["weight scale"] < found[0.1].budget["weight scale"] < -1


def test_the_table_has_a_column_a_choice_and_adds_up():
    found = mx.compare(weight_and_loss, ["sigmoid", "tanh", "relu"])
    heading, *rows = str(found).splitlines()
    assert heading.split() == ["sigmoid", "tanh", "relu"]
    assert max(map(len, str(found).splitlines())) < 80
    assert any(row.startswith("  weight scale") for row in rows)
    assert repr(found).startswith("<compare sigmoid: ")


def leaky(x, slope):
    return x.leaky_relu(slope)


class Steep:
    def __call__(self, x):
        return (4.0 * x).tanh()


class Named(Steep):
    def __repr__(self):
        return "Named(4)"


def test_every_choice_has_a_name_and_no_two_the_same_one():
    def build(activation):
        x = mx.Value(-0.5, "x")
        return x, activation(x) if callable(activation) else x * activation[0]

    choices = [
        mx.Value.tanh, leaky, partial(leaky, slope=0.1), partial(leaky, slope=0.2), Steep(),
        Steep(), Named(), lambda x: x.relu(), lambda x: x.exp(), (1.0,), Steep().__call__,
    ]  # fmt: skip
    choices[1] = partial(choices[1], slope=0.3)
    found = mx.compare(build, choices)
    names = [
        "tanh", "leaky(slope=0.3)", "leaky(slope=0.1)", "leaky(slope=0.2)", "Steep 1", "Steep 2",
        "Named(4)", "lambda 1", "lambda 2", "(1.0,)", "__call__",
    ]  # fmt: skip
    heading = str(found).splitlines()[0]
    assert re.split(r"\s{2,}", heading.strip()) == names
    assert "0x" not in repr(found) and "lambda 2: healthy" in repr(found)
    assert found[choices[0]].flow


def test_bad_input():
    for choices in ("tanh", 3, mx.Value(1.0)):
        with pytest.raises(TypeError, match="choices are a list, or a dict by name"):
            mx.compare(weight_and_loss, choices)
    with pytest.raises(TypeError, match="a list can't be looked up: pass a dict of the choices"):
        mx.compare(weight_and_loss, [[3, 3], [4]])
    with pytest.raises(TypeError, match="build returns .node, output."):
        mx.compare(lambda choice: 3, ["tanh"])
    with pytest.raises(ValueError, match="at least one choice"):
        mx.compare(weight_and_loss, [])


def test_what_rounds_to_nothing_is_left_out_of_tables():
    def build(x):
        w = mx.Value(1.0, "w")
        return w, (w * x).tanh() * 2.0

    assert mx.why(*build(1e-2)).budget["saturation"] == pytest.approx(-4e-5, rel=0.1)
    w, y = build(1e-2)
    for text in (str(mx.compare(build, [1e-2, 1.0])), str(mx.why([w], y))):
        assert not re.search(r"[+-]0\.00\b", text), text
