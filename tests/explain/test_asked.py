"""What is asked about may come in any shape; what can't be answered says what to pass."""

import re
from collections import deque

import numpy as np
import pytest

import microgradx as mx
from microgradx import Flow, Value, why

X, Y = [[1.0, 2.0], [0.5, -1.0], [0.1, 0.2]], [1.0, 0.0, 1.0]
model, other = (mx.nn.MLP(2, [3, 1], "tanh", seed=seed) for seed in (1, 2))
loss = mx.nn.mse_loss([model(x) for x in X], Y)
loss.label = "loss"
loss.backward()
layer = model.layers[0]
own = layer.parameters()
w, b, *_ = own


class Empty(mx.nn.Module):
    def __call__(self, x):
        return x


# --- an answer where one exists -----------------------------------------------------------------


@pytest.mark.parametrize("asked", [
    layer, own, tuple(own), (p for p in own), iter(own), deque(own), np.array(own),
    np.array(own).reshape(3, 3), [own[:2], [own[2], own[3:]]], dict(enumerate(own)),
    dict(layer.named_parameters()).values(), {"first": own[:4], "rest": {"all": own[4:]}},
    [*layer.neurons], [own[:3], np.array(own[3:])], [*own, *own], [layer, layer],
])  # fmt: skip
def test_values_may_come_in_any_nest(asked):
    expected = why(own, loss)
    found = why(asked, loss)
    assert set(found.nodes) == set(own) and len(found.nodes) == len(own)
    assert found.verdicts.keys() == expected.verdicts.keys()
    assert sorted(str(found).splitlines()[1]) == sorted(str(expected).splitlines()[1])


def test_a_value_in_an_array_of_no_dimension_is_one():
    assert why(np.array(w), loss).nodes == [w]


@pytest.mark.parametrize("parameters", [
    model, [model], model.parameters(), (p for p in model.parameters()), set(model.parameters()),
    dict(model.named_parameters()), [*model.parameters(), *other.parameters()],
])  # fmt: skip
def test_parameters_may_too(parameters):
    assert why(w, loss, parameters).budget == why(w, loss, model.parameters()).budget
    assert "weight scale" in why(w, loss, [w, *model.parameters()]).budget
    assert "weight scale" not in why(w, loss, []).budget


def test_samples_may_have_different_graphs():
    one, two, three = (model(x) for x in X)
    mixed = (one - 1.0) ** 2 + two.exp() + (three * w).tanh() + w * 3.0
    mixed.backward()
    found = why(model, mixed)
    assert sum(map(len, found.verdicts.values())) == len(model.parameters())
    for p in model.parameters():
        assert why(p, mixed).flow.g == pytest.approx(Flow(mixed)[p].g, rel=1e-15)
    assert str(found) and str(why(w, mixed))


NOT_IN_IT = {
    "another model": (other, loss, "13 of 13 are not in the graph of loss, where others have these"
                      " labels: pass the model that it was computed with."),
    "another layer": (other.layers[1], loss, "4 of 4 are not in"),
    "one of another": ([w, other.layers[0].neurons[0].weight[0]], loss, "1 of 2 is not in the"),
    "swapped": ([loss], w, "1 of 1 is not in the graph of layers.0.weight[0,0], but computed from"
                " it: pass the two in the other order."),
    "two leaves": ([Value(1.0), Value(2.0)], loss, "2 of 2 are not in the graph of loss: the output"
                   " does not depend on them."),
    "a leaf": ([Value(1.0)], loss, "the output does not depend on it."),
}  # fmt: skip


@pytest.mark.parametrize("asked, output, words", NOT_IN_IT.values(), ids=NOT_IN_IT)
def test_what_is_not_in_the_graph_is_disconnected_and_says_why(asked, output, words):
    found = why(asked, output)
    assert "disconnected" in found.verdicts and words in " ".join(str(found).split())


def test_what_is_all_in_the_graph_has_no_such_sentence():
    assert "not in the graph" not in str(why(model, loss))


# --- else an error that says what to pass -------------------------------------------------------

TAKES = "why takes a Value, a list or a dict of them, a layer or a model, got "
OF = "why explains gradients of one Value, a loss for instance, got "
WRONG = {
    "an empty list": ([], loss, ValueError, "nothing to explain: there is no Value in []"),
    "an empty nest": ([[], {}], loss, ValueError, "there is no Value in [[], {}]"),
    "an empty module": (Empty(), loss, ValueError, "no Value in <Empty of 0 parameters>"),
    "a set": ({w}, loss, TypeError, TAKES + "a set, which has no order: pass a list"),
    "a label": ("w", loss, TypeError, TAKES + "a str; no label is looked up: pass the Value that"),
    "labels": (["w"], loss, TypeError, "why takes Values, got a str among them; no label is"),
    "names": (model.named_parameters(), loss, TypeError, "got a str among them; no label"),
    "numbers": (np.ones(2), loss, TypeError, "got a float among them; a bare number has no"),
    "a state": (model.state_dict(), loss, TypeError, "got a float among them; a bare number"),
    "None": (None, loss, TypeError, TAKES + "a NoneType"),
    "None in it": ([w, None], loss, TypeError, "got a NoneType among them"),
    "a class": (mx.nn.MLP, loss, TypeError, "got a type (MLP): pass the one that the output was"),
    "a method": (model.parameters, loss, TypeError, "got a method; call it, and pass what it ret"),
    "an optimiser": (mx.optim.SGD(own, 0.1), loss, TypeError, "pass its .parameters"),
    "a bare loss": (w, loss.data, TypeError, OF + "a float; a bare number has no graph: pass the"),
    "no loss": (w, None, TypeError, OF + "a NoneType"),
    "a list as loss": (w, [loss], TypeError, OF + "a list of them: pass its only element"),
    "an array as loss": (w, np.array(loss), TypeError, "of them: pass its only element"),
    "losses": (w, [loss, loss], TypeError, OF + "a list of them: pass their sum or their mean"),
    "predictions": (model, [model(x) for x in X], TypeError, "pass their sum or their mean"),
    "leaves as losses": (w, [b, b], TypeError, "pass their sum or their mean"),
    "no losses": (w, [], TypeError, OF + "a list"),
    "strings as loss": (w, ["loss"], TypeError, OF + "a list"),
    "a function as loss": (w, mx.nn.mse_loss, TypeError, OF + "a function; call it, and pass"),
    "a model as loss": (w, model, TypeError, "no gradient: call it, and pass its loss"),
    "swapped with a model": (loss, model, TypeError, "no gradient: pass the two in the other ord"),
    "swapped with a list": (loss, own, TypeError, "a list of leaves: pass the two in the other or"),
    "a replay": (w, mx.record(model, X[0]), TypeError, "pass replay.scalar(i), the graph of its"),
}  # fmt: skip


@pytest.mark.parametrize("asked, output, error, words", WRONG.values(), ids=WRONG)
def test_what_can_not_be_answered_says_what_to_pass(asked, output, error, words):
    with pytest.raises(error, match=re.escape(words)):
        why(asked, output)


@pytest.mark.parametrize("parameters, error, words", [
    ("w", TypeError, "parameters takes a Value, a list or a dict of them, a layer or a model, got a"
     " str; no label"),
    ([1.0], TypeError, "parameters takes Values, got a float among them"),
    (3, TypeError, "got an int; a bare number"),
    (other, ValueError, "none of the 13 parameters is in the graph, which has others, such as"),
    (w, TypeError, "parameters takes a list of Values, such as model.parameters()"),
])  # fmt: skip
def test_wrong_parameters_are_refused(parameters, error, words):
    for ask in (Flow, lambda output, parameters: why(w, output, parameters)):
        with pytest.raises(error, match=re.escape(words)):
            ask(loss, parameters)


def test_parameters_that_a_graph_without_any_does_not_read_are_no_mistake():
    x = Value(2.0, "x")
    assert why(x, x * 3.0, parameters=model).verdict == "healthy"


def test_a_flow_answers_of_its_own_graph_alone():
    flow, strange = Flow(loss), other.parameters()[0]
    assert w in flow and all(x not in flow for x in (strange, "w", [], layer, None))
    for ask in (flow.__getitem__, flow.path):
        with pytest.raises(KeyError, match="is not in the graph of loss"):
            ask(strange)
    with pytest.raises(
        TypeError, match=re.escape("a Flow is of one Value, a loss for instance, g")
    ):
        Flow([loss, loss])
    with pytest.raises(KeyError, match="no layer 'layer.0'; there are 'layers.0', 'layers.1'"):
        why(model, loss).budget("layer.0")


def test_sentences_are_wrapped_and_no_line_is_empty():
    class Owner(mx.nn.Module):
        def __init__(self):
            self.a_net = mx.nn.MLP(2, [3, 1], activation="tanh", seed=1)

    model, other = Owner(), Owner()
    net = model.a_net
    for p in net.layers[0].parameters():
        p.data *= 1e3
    loss = mx.nn.mse_loss([net([1.0, 0.02 * k]) for k in range(3)], [1.0, 2.0, 3.0])
    loss.label = "the_loss_" * 10
    for asked in (model, other, [net.layers[0].neurons[0].bias]):
        lines = str(why(asked, Flow(loss, small=0.0))).splitlines()
        assert all(lines) and all(len(x) <= 100 for x in lines if x[0] != "a")  # a row by layer


def test_the_worst_of_several_samples_have_their_numbers():
    scores = [model(x) for x in X]
    of = mx.nn.mse_loss(scores, [1.0, 0.1, 1.0])
    text = str(why(scores, of))
    for k, score in enumerate(scores):
        line = f"∂{of.op}({of.data:.3g})/∂layers.1[0] = "
        [found] = [x for x in text.splitlines() if x.startswith(line) and f", in sample {k}." in x]
        assert f"{2 * (score.data - [1.0, 0.1, 1.0][k]) / 3:.3g}" in found
    assert "in sample" not in str(why(layer, of)) + str(why([scores[0]], scores[0] * 2.0))


def test_a_cut_in_two_places_of_one_name_is_one_sentence():
    x = Value(3.0, "x")
    text = str(why(x, x.detach() * x.detach()))
    assert "It is cut off between x and detach(3) (twice).\n" in text
    assert text.count("cut off") == 1
