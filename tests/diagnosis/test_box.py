"""What is proved over a box: never less than exact arithmetic says, and no more than rounding."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from microgradx import Value, nn
from microgradx.diagnosis.box import AFFINE, CONSTANT, OTHER, Box, box_of, dependence, top
from microgradx.diagnosis.units import Verdicts
from microgradx.replay import record
from tests.diagnosis.nets import rows
from tests.diagnosis.test_survey import survey_of


def recorded(fn, width):
    """The recorded inputs, the nodes and the outputs of a function of one row."""
    kept = []

    def kept_fn(x):
        y = fn(x)
        if not kept:
            kept.extend([[*x], y])
        return y

    replay = record(kept_fn, [0.3] * width)
    return kept[0], replay.nodes, kept[1]


def exact_top(weights, bias, low, high):
    total = Fraction(bias)
    for w, a, b in zip(weights, low, high):
        total += max(Fraction(w) * Fraction(a), Fraction(w) * Fraction(b))
    return total


@pytest.mark.parametrize("seed", range(40))
def test_the_bound_is_at_least_the_exact_one_and_hardly_more(seed):
    rng = np.random.default_rng(seed)
    width, scale = int(rng.integers(1, 30)), 10.0 ** rng.integers(-6, 7)
    model = nn.MLP(width, [1], activation=None, seed=seed)
    [neuron] = model.layers[0].neurons
    for p in (*neuron.weight, neuron.bias):
        p.data = float(rng.normal() * scale * 10.0 ** rng.integers(-3, 4))
    inputs, _, z = recorded(model, width)
    low = rng.normal(size=width) * 10.0 ** rng.integers(-3, 4, width)
    high = low + rng.random(width)
    found = top(z, inputs, Box(low, high, ""))
    weights = [w.data for w in neuron.weight]
    exact = exact_top(weights, neuron.bias.data, low, high)
    assert Fraction(found.bound) >= exact
    assert Fraction(found.bound) - Fraction(found.error) <= exact
    size = sum(abs(w) * (abs(a) + abs(b) + 0.3) for w, a, b in zip(weights, low, high))
    assert found.error <= 1e-13 * (width + 10) * (size + abs(neuron.bias.data))
    corners = itertools.product(*zip(low, high)) if width < 8 else [found.corner]
    reached = max(np.dot(weights, c) + neuron.bias.data for c in corners)
    assert reached == pytest.approx(float(exact), rel=1e-9, abs=found.error)


def test_a_sum_that_cancels_is_no_proof():
    """1e16 + 1 - 1e16 is 0 in floats and 1 in truth: what may be 1 is not said to be off."""
    model = nn.MLP(2, [1], output="relu", seed=0)
    [neuron] = model.layers[0].neurons
    neuron.weight[0].data, neuron.weight[1].data, neuron.bias.data = 1e16, 1.0, -1e16
    X = np.ones((3, 2))
    verdicts = Verdicts(survey_of(model, X, [0.0, 0.0, 0.0], "mse"), box_of("data", X))
    assert verdicts.dead[0] and verdicts.proofs[0].verdict == "unknown"


def test_how_a_node_depends_on_the_inputs():
    w = nn.MLP(2, [1], seed=0).parameters()[0]

    def fn(x):
        a = 2.0 * x[0] - x[1] / w + w.exp()
        b = a.tanh()
        return [a, b, x[0] * x[1], (w * w).sigmoid() + 0.0 * x[0], a / x[0]]

    inputs, nodes, ys = recorded(fn, 2)
    kinds = dependence(nodes, inputs)
    assert [kinds.get(y, CONSTANT) for y in ys] == [AFFINE, OTHER, OTHER, AFFINE, OTHER]


@pytest.mark.parametrize("seed", range(10))
def test_proved_and_refuted_units_are_so_at_the_corners(seed):
    rng = np.random.default_rng(seed)
    X, width = rows(25, 4, seed), 4
    model = nn.MLP(width, [30, 1], activation="relu", seed=seed)
    for neuron in model.layers[0].neurons:
        neuron.bias.data = float(rng.normal(-4.0, 1.5))
    survey, box = survey_of(model, X, X[:, 0]), box_of("data", X)
    verdicts = Verdicts(survey, box)
    corners = np.array([*itertools.product(*zip(X.min(0), X.max(0)))])
    said = {"proved": 0, "refuted": 0}
    for u, (layer, k) in enumerate(survey.units.keys):
        neuron = model.layers[0].neurons[int(k)]
        w, b = np.array([p.data for p in neuron.weight]), neuron.bias.data
        dead = bool((X @ w + b <= 0).all())
        assert dead == verdicts.dead[u] and layer == "layers.0"
        if not dead:
            assert u not in verdicts.proofs
            continue
        proof = verdicts.proofs[u]
        said[proof.verdict] += 1
        assert (proof.verdict == "proved") == bool((corners @ w + b <= 0).all())
        assert verdicts.margins[u] == pytest.approx(-(X @ w + b).max(), rel=1e-12)
        if proof.verdict == "refuted":
            assert proof.witness @ w + b > 0
            assert ((X.min(0) <= proof.witness) & (proof.witness <= X.max(0))).all()
    assert min(said.values()) >= 1, said


def test_boxes_by_numbers_and_by_arrays():
    X = rows(5, 3)
    assert np.array_equal(box_of("data", X).low, X.min(axis=0))
    assert box_of((-1, 2), X).high.tolist() == [2.0] * 3
    assert box_of((-1, 2), X).words == "within -1 … 2"
    assert box_of((np.zeros(3), np.ones(3)), X).words == "within the box"


@pytest.mark.parametrize(
    "box, error, words",
    [
        ("all", TypeError, '"data" or a pair'),
        (3, TypeError, "pair"),
        ((1, 2, 3), TypeError, "pair"),
        ((1.0, -1.0), ValueError, "low end 1 is above its high end -1"),
        ((np.zeros(2), np.ones(3)), ValueError, r"low end has the shape \(2,\), a row \(3,\)"),
        ((float("nan"), 1.0), ValueError, "nan"),
        ((0.0, float("inf")), ValueError, "infinity"),
        (("a", "b"), TypeError, "numbers"),
    ],
)
def test_a_box_that_is_none(box, error, words):
    with pytest.raises(error, match=words):
        box_of(box, rows(5, 3))


def test_what_is_read_by_a_detach_is_no_constant_of_the_box():
    """z = 0.01 x + x - 1, of which the slope tells 0.01 alone: at 5 it is on."""

    class Cut(nn.Module):
        def __init__(self):
            self.w, self.v = Value(0.01, "w"), Value(1.0, "v")

        def __call__(self, x):
            return (self.w * x[0] + (self.v * x[0]).detach() - 1.0).relu()

    X = np.array([[-2.0], [-1.0], [0.0]])
    verdicts = Verdicts(survey_of(Cut(), X, [0.0] * 3, "mse"), box_of((-5.0, 5.0), X))
    assert verdicts.dead[0] and verdicts.proofs[0].verdict == "refuted"
    assert verdicts.proofs[0].witness == [5.0]
