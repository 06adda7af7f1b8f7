"""The yardstick that "small" and "large" refer to, and the part of the loss in it."""

import math

import pytest

import microgradx as mx
from microgradx import Flow, Value, why
from microgradx.explain.case import Case, Limits
from microgradx.explain.paths import Paths


def beside(node, output):
    """The reference of one node."""
    return Case(Paths(output), Limits(), node).reference


def trained_on(n, model=None):
    """A batch of n samples through a small net, its parameters and its loss after a sweep."""
    model = model or mx.nn.MLP(2, [3, 1], seed=2)
    xs = [[0.5 + i / (2 * n), 1.0 - i / (2 * n)] for i in range(n)]
    loss = mx.nn.mse_loss([model(x) for x in xs], [3.0] * n)
    loss.label = "loss"
    loss.backward()
    return model, loss


def test_it_is_the_median_of_the_output_layer():
    model = mx.nn.MLP(2, [2, 3], seed=0)
    loss = mx.nn.cross_entropy(model([1.0, 2.0]), 0)
    paths = Paths(loss)
    layer = [paths.nodes[i] for i in paths.output_layer]
    assert {x.label for x in layer} == {"layers.1[0]", "layers.1[1]", "layers.1[2]"}
    loss.backward()
    decades = sorted(math.log10(abs(x.grad)) for x in layer)
    found = beside(model.layers[0].neurons[0].weight[0], loss)
    assert found.decades == pytest.approx(decades[1]) and str(found) == "the output layer's"


@pytest.mark.parametrize("n", [2, 100, 500])
def test_a_weight_is_compared_with_the_squares_over_its_samples(n):
    model, loss = trained_on(n)
    paths = Paths(loss)
    scores = [paths.nodes[i] for i in paths.output_layer]
    assert len(scores) == n
    summed = math.log10(math.hypot(*[score.grad for score in scores]))
    bias = model.layers[1].neurons[0].bias  # which leads to them all
    assert beside(bias, loss).decades == pytest.approx(summed)
    live = [p for p in model.layers[0].parameters() if p.grad]
    assert live
    for parameter in live:
        assert why(parameter, loss).verdict == "healthy"  # however many samples add up in it
    one = next(x for x in scores[0].inputs if x.rule and x.data)  # of a single sample
    assert beside(one, loss).decades == pytest.approx(math.log10(abs(scores[0].grad)))


def test_the_loss_and_the_output_layer_are_compared_with_the_output():
    model = mx.nn.MLP(1, [1], seed=0)
    score = model([1.0])
    loss = mx.nn.mse_loss(score, score.data + 1e-6)
    loss.backward()
    assert why(loss, loss).verdict == "healthy"
    assert beside(score, loss).decades == 0.0
    it = why(score, loss)
    assert (it.verdict, it.causes[0]) == ("small", "loss near its optimum")


def test_the_n_of_a_mean_is_no_optimum():
    model, loss = trained_on(2000)
    flow, absolute = Flow(loss), Flow(loss, reference=0)
    for parameter in model.parameters():
        assert "optimum" not in str(why(parameter, flow))
        assert "loss near its optimum" not in why(parameter, absolute).causes


def test_what_the_reference_has_from_the_loss_too_is_not_to_blame():
    model = mx.nn.MLP(2, [3] * 6 + [1], activation=None, init=lambda i, o, rng: 3.0, seed=0)
    loss = mx.nn.mse_loss(model([1.0, 2.0]), 0.0)
    loss.backward()
    weight = model.layers[0].neurons[0].weight[0]
    it = why(weight, loss)
    assert it.verdict == "large" and "loss scale" not in it.causes
    assert it.causes == ["weight scale"]
    assert not any(edge.node in it.paths.loss for edge in it.culprits)
    assert "loss scale" in why(weight, Flow(loss, reference=0)).causes


def test_an_explicit_reference_goes_for_every_node():
    x = Value(1.0, "x")
    y = x * 1e-4
    y.backward()
    assert why(x, y).verdict == "small"
    assert why(x, Flow(y, reference=-4)).verdict == "healthy"
    assert "10^-4" in str(why(x, Flow(y, reference=-4)))
    assert Limits().reference is None


def test_odd_limits_are_refused():
    y = Value(1.0) * 2.0
    for options in (
        {"reference": math.nan}, {"reference": math.inf}, {"cancels": 0.5}, {"small": -1},
        {"large": math.nan},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(options))):
            Flow(y, **options)
    with pytest.raises(TypeError, match="parameters takes a list"):
        Flow(y, parameters=y)
