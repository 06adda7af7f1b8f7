"""Comparisons are run for true: each budget is that of the graph built for its choice."""

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


def test_bad_input():
    with pytest.raises(TypeError, match="build returns .node, output."):
        mx.compare(lambda choice: 3, ["tanh"])
    with pytest.raises(ValueError, match="at least one choice"):
        mx.compare(weight_and_loss, [])
