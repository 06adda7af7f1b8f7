"""Layers without an activation between them, and those that are meant to have none."""

import numpy as np
import pytest

import microgradx as mx
from microgradx import nn
from microgradx.diagnosis.scales import tensors_of
from microgradx.diagnosis.straight import Pair, pairs_of
from tests.diagnosis.nets import rows


class Stack(nn.Module):
    """Layers, each with what comes after it."""

    def __init__(self, width, *layers):
        self.acts = [act for _, act in layers]
        widths = [width, *(n for n, _ in layers)]
        self.layers = [
            nn.Layer(into, out, activation="linear", seed=k)
            for k, (into, out) in enumerate(zip(widths, widths[1:]))
        ]

    def __call__(self, x):
        for layer, act in zip(self.layers, self.acts):
            x = act(layer(x)) if act else layer(x)
        return x


def tanhs(xs):
    return [x.tanh() for x in xs]


def halved(xs):
    return [0.5 * x for x in xs]


def paired(xs):
    return [a + b for a, b in zip(xs, xs[1:] + xs[:1])]


class Skips(Stack):
    """The second layer reads the first one's units, and adds what they are made of."""

    def __call__(self, x):
        first, second, last = self.layers
        h = tanhs(first(x))
        h = [a + b for a, b in zip(h, second(h))]
        return last(h)


class Forks(Stack):
    """Another path bends what the first layer gives."""

    def __call__(self, x):
        first, second, last = self.layers
        z = first(x)
        h = [a + b.tanh() for a, b in zip(second(z), z)]
        return last(h)


def checked(model, width=4):
    X = rows(40, width)
    return mx.checkup(model, X, np.tanh(X[:, 0]), loss="mse")


def pairs(model, width=4):
    survey = checked(model, width).survey
    return [*pairs_of(survey, tensors_of(survey))]


@pytest.mark.parametrize("between", [None, halved, paired])
def test_sums_and_constants_are_no_activation(between):
    model = Stack(4, (8, tanhs), (9, between), (8, tanhs), (1, None))
    own = 8 * 9 + 9 * 8
    assert pairs(model) == [Pair("layers.1", "layers.2", own, 8 * 8)]
    [finding] = [f for f in checked(model).findings if f.verdict == "linear net"]
    assert finding.where == "layers.1, layers.2"
    assert f"of 64 weights instead of {own}" in finding.because


def test_three_in_a_row_are_two_pairs():
    model = Stack(4, (8, tanhs), (8, None), (8, None), (8, tanhs), (1, None))
    assert [(p.first, p.second) for p in pairs(model)] == [
        ("layers.1", "layers.2"), ("layers.2", "layers.3")]  # fmt: skip


def test_factors_of_low_rank_are_meant_so():
    """8 · 2 + 2 · 8 weights in place of 64."""
    model = Stack(4, (8, tanhs), (2, None), (8, tanhs), (1, None))
    assert [(p.own, p.one) for p in pairs(model)] == [(32, 64)]
    assert "linear net" not in [f.verdict for f in checked(model).findings]


@pytest.mark.parametrize("kind", [Skips, Forks])
def test_what_is_read_elsewhere_too_is_no_pair(kind):
    assert pairs(kind(4, (6, None), (6, None), (1, None))) == []


def test_each_layer_with_an_activation_is_no_pair():
    assert pairs(Stack(4, (8, tanhs), (8, tanhs), (1, None))) == []
