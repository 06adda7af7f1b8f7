"""Each remedy: where it applies, and what it does to a copy; a healthy net gets none."""

import math

import numpy as np
import pytest

from microgradx import nn
from microgradx._base.arguments import flat
from microgradx.diagnosis import checkup
from microgradx.diagnosis.gauge import Gauge
from microgradx.diagnosis.remedies import (
    AS_IT_IS,
    MOST,
    REMEDIES,
    Case,
    Stack,
    Standardised,
    candidates,
    chain_of,
    copied,
    softmax,
    times,
)
from microgradx.optim import SGD

RNG = np.random.default_rng(3)
X = RNG.normal(size=(60, 4))
Y = X[:, 0] * X[:, 1] + X[:, 2]
CLASSES = (Y > 0).astype(int) + (Y > 1)


def case_of(model, X=X, y=Y, **how):
    found = checkup(model, X, y, **how)
    return Case(found, Gauge(found.task, copied(model)), 0)


def tried(case):
    return {candidate.name: candidate for candidate in candidates(case)}


def healthy():
    return nn.MLP(4, [6, 6, 1], "tanh", init="glorot", seed=1)


def data(model):
    return [p.data for p in model.parameters()]


def with_tensor(model, layer, factor=1.0, bias=None):
    """The same net, its weights in a layer multiplied, some of its biases set."""
    for neuron in model.layers[layer].neurons:
        for p in neuron.weight:
            p.data *= factor
    for k, x in (bias or {}).items():
        model.layers[layer].neurons[k].bias.data = x
    return model


def dying(dead=(1, 3)):
    """Two layers of ReLUs, of which some in the first are dead."""
    return with_tensor(nn.MLP(4, [6, 6, 1], seed=5), 0, bias=dict.fromkeys(dead, -40.0))


def chained(activation="sigmoid", depth=7):
    return nn.MLP(4, [6] * depth + [1], activation, init="glorot", seed=2)


def alike():
    model = healthy()
    for neuron in model.layers[1].neurons:
        for p in neuron.weight:
            p.data = 0.0
    return model


# A net with its data for each row of the table: (model, X, the optimizer's step or None, the name).
PLACES = [
    (healthy, 1e3 * X, None, "inputs standardised"),
    (healthy, X + 100.0, None, "inputs standardised"),
    (dying, X, None, "nudging 2 biases"),
    (lambda: dying((2,)), X, None, "nudging 1 bias"),
    (lambda: dying((0, 1, 2, 3, 4)), X, None, "nudging at step ÷ 10"),
    (lambda: dying((0, 1, 2, 3, 4)), 0.2 * X, None, "inputs standardised"),
    (healthy, X, 100.0, "step ÷ 10"),
    (healthy, X, 1e-9, "step × 10"),
    (lambda: with_tensor(healthy(), 1, 1e-3), X, None, "layers.1.weight × "),
    (lambda: with_tensor(healthy(), 0, 200.0), X, None, "layers.0.weight ÷ "),
    (lambda: with_tensor(dying(), 1, 1e-4), X, None, "both of these"),
    (lambda: with_tensor(with_tensor(chained(), 1, 0.5), 2, 0.5), X, None, " tensors to scale"),
    (alike, X, None, "layers.1.weight drawn anew"),
    (chained, X, None, "new ReLU net (He)"),
    (chained, X, None, "new tanh net (Glorot)"),
    (chained, X, None, "new net with skips"),
    (lambda: chained(depth=6), X, None, "new net with norms"),
]


@pytest.mark.parametrize("make, X, step, name", PLACES, ids=[place[-1] for place in PLACES])
def test_it_applies_where_a_finding_calls_for_it(make, X, step, name):
    model = make()
    optimizer = None if step is None else SGD(model.parameters(), lr=step)
    case = case_of(model, X, optimizer=optimizer)
    before = data(model)
    found = [each for each in candidates(case) if name in each.name]
    assert found, ([f.verdict for f in case.checkup.findings], [*tried(case)])
    for each in found:
        changed = each.make()
        assert not {*changed.parameters()} & {*model.parameters()}
        assert data(changed) != before or each.graph == "wrapped" or each.step != 1.0
    assert data(model) == before


def test_each_row_of_the_table_has_a_place_above():
    twice = {"nudging 1 bias", "layers.0.weight ÷ ", "step ÷ 10"}  # rows that have two names
    assert len({name for *_, name in PLACES} - twice) == len(REMEDIES)


def test_a_healthy_net_gets_none():
    assert [*tried(case_of(healthy()))] == [AS_IT_IS]


def narrowing():
    return nn.MLP(4, [12, 11, 10, 9, 8, 7, 1], "sigmoid", init="glorot", seed=2)


def small_relus():
    """Gradients that vanish by the weights of two layers, each by itself within its scale."""
    model = nn.MLP(4, [6] * 9 + [1], seed=4)
    for k in range(1, 9):
        with_tensor(model, k, 0.25)
    return model


@pytest.mark.parametrize("make, X, verdict, name", [
    (narrowing, X, "sigmoid chain", "new net with skips"),
    (lambda: chained("tanh"), 1e3 * X, "saturated", "new tanh net (Glorot)"),
    (small_relus, X, "vanishing", "new ReLU net (He)"),
    (lambda: with_tensor(healthy(), 1, 1e-3), X, "small weights", "all"),
    (lambda: with_tensor(healthy(), 1, 1e-3), X, "small weights", "both of these"),
    (lambda: with_tensor(with_tensor(healthy(), 1, 0.3), 2, 0.3), X, "", "tensors to scale"),
    (lambda: with_tensor(with_tensor(chained(), 1, 1e-3), 2, 0.2), X, "small weights",
     "tensors to scale"),
    (dying, X, "dead", "nudging at step ÷ 10"),
    (dying, X, "dead", "inputs standardised"),
])  # fmt: skip
def test_it_does_not_apply_where_it_makes_no_sense(make, X, verdict, name):
    case = case_of(make(), X)
    assert verdict in [finding.verdict for finding in case.checkup.findings] + [""]
    assert not [each for each in tried(case) if name in each], [*tried(case)]


def test_inputs_that_are_standardised_already_are_left_alone():
    rows = (X - X.mean(axis=0)) / X.std(axis=0)
    assert "inputs standardised" not in tried(case_of(dying((0, 1, 2, 3, 4)), rows))


def test_there_are_not_too_many():
    model = with_tensor(nn.MLP(4, [6] * 8 + [1], "tanh", init="glorot", seed=2), 2, 1e-4)
    for k in (1, 3, 5, 7):
        with_tensor(model, k, 1e3)
    case = case_of(model, 1e3 * X, optimizer=SGD(model.parameters(), lr=1e9))
    found = candidates(case)
    assert sum(len([*remedy.places(case)]) for remedy in REMEDIES) > MOST
    assert len(found) == 1 + MOST and found[0].name == AS_IT_IS


# --- what they change ----------------------------------------------------------------------------


def outputs(model, X):
    return np.array([[y.data for y in flat([model(x)])] for x in X.tolist()])


def test_standardised_inputs_have_mean_0_and_spread_1_but_for_constant_columns():
    rows = X * [1.0, 50.0, 3.0, 0.0] + [0.0, 7.0, 1.0, 5.0]
    net = healthy()
    spread = rows.std(axis=0)
    spread[3] = 1.0
    wanted = outputs(net, (rows - [*rows.mean(axis=0)[:3], 0.0]) / spread)
    np.testing.assert_allclose(outputs(Standardised(net, rows), rows), wanted, rtol=1e-12)


def test_standardised_inputs_may_be_nested():
    rows = RNG.normal(3.0, 2.0, size=(20, 2, 3))
    seen = Standardised(lambda x: x, rows)
    found = np.array([seen(row) for row in rows])
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(found.std(axis=0), 1.0)


def test_a_nudged_unit_is_on_in_half_of_the_rows():
    model = dying()
    with_tensor(model, 1, bias={4: -90.0})
    case = case_of(model)
    assert sorted(case.dead) == [("layers.0", "1"), ("layers.0", "3"), ("layers.1", "4")]
    changed = tried(case)["nudging 3 biases"].make()
    for z in case.gauge.zs_of(changed, case.dead):
        assert (z > 0).mean() == pytest.approx(0.5, abs=0.02)
    moved = [i for i, (a, b) in enumerate(zip(data(model), data(changed))) if a != b]
    named = [name for name, _ in model.named_parameters()]
    assert [named[i] for i in moved] == ["layers.0.bias[1]", "layers.0.bias[3]", "layers.1.bias[4]"]


def test_a_unit_that_comes_back_by_those_before_it_is_not_nudged():
    model = dying(range(6))  # so the second layer sees only 0
    unit = model.layers[1].neurons[2]
    unit.bias.data = -0.01
    for p in unit.weight:
        p.data = abs(p.data) + 0.5
    case = case_of(model)
    assert ("layers.1", "2") in case.dead
    changed = tried(case)[f"nudging {len(case.dead)} biases"].make()
    assert changed.layers[1].neurons[2].bias.data == -0.01


def rms(model, name):
    numbers = [p.data for label, p in model.named_parameters() if label.startswith(f"{name}[")]
    return math.sqrt(np.mean(np.square(numbers)))


def test_weights_are_brought_to_the_scale_of_their_initialiser_and_no_others_move():
    model = with_tensor(healthy(), 1, 1e-3)
    [(name, found)] = [(n, c) for n, c in tried(case_of(model)).items() if "layers.1" in n]
    changed = found.make()
    assert rms(changed, "layers.1.weight") == pytest.approx(math.sqrt(2 / 12))
    assert rms(changed, "layers.0.weight") == rms(model, "layers.0.weight")
    assert name == f"layers.1.weight {times(math.sqrt(2 / 12) / rms(model, 'layers.1.weight'))}"


def test_rows_that_saturate_alone_are_scaled_alone():
    model = healthy()
    for p in model.layers[0].neurons[2].weight:
        p.data *= 60.0
    for neuron in model.layers[0].neurons[3:]:
        for p in neuron.weight:
            p.data *= 1e-3
    case = case_of(model)
    case.tensors[:] = [tensor._replace(size=tensor.usual) for tensor in case.tensors]
    [name] = [name for name in tried(case) if "layers.0" in name]
    assert name.startswith("1 row of layers.0.weight ÷ ")
    named = [label for label, _ in model.named_parameters()]
    changed = data(tried(case)[name].make())
    moved = [label for label, a, b in zip(named, data(model), changed) if a != b]
    assert moved == [f"layers.0.weight[2,{k}]" for k in range(4)]


def test_all_three_are_mended_together():
    case = case_of(with_tensor(with_tensor(dying(), 1, 1e-4), 2, 1e-4))
    [name] = [name for name in tried(case) if "all " in name]
    changed = tried(case)[name].make()
    assert name == "all three"
    assert rms(changed, "layers.1.weight") == pytest.approx(math.sqrt(2 / 6))
    assert rms(changed, "layers.2.weight") == pytest.approx(math.sqrt(2 / 7))
    assert all((z > 0).any() for z in case.gauge.zs_of(changed, case.dead))


def test_all_tensors_are_brought_to_scale():
    model = with_tensor(with_tensor(chained(), 1, 0.5), 2, 0.5)
    [name] = [name for name in tried(case_of(model)) if "tensors" in name]
    changed = tried(case_of(model))[name].make()
    assert rms(changed, "layers.1.weight") == pytest.approx(4 * math.sqrt(2 / 12))


@pytest.mark.parametrize(
    "factor, text", [(1583.4, "× 1,583"), (1 / 43.27, "÷ 43"), (3.19, "× 3.2"), (1e-9, "÷ 1e9")]
)
def test_a_factor_in_words(factor, text):
    assert times(factor) == text


# --- other nets ----------------------------------------------------------------------------------


def residual():
    blocks = [nn.Layer(4, 4, "tanh", seed=k) for k in range(3)]
    return Stack([*map(nn.Residual, blocks), nn.Layer(4, 1, None, seed=9)])


@pytest.mark.parametrize(
    "model, y, chain",
    [
        (healthy(), Y, ([4, 6, 6, 1], "tanh", "linear")),
        (nn.MLP(4, [5, 1], "relu", "sigmoid", seed=1), (Y > 0) * 1.0,
         ([4, 5, 1], "relu", "sigmoid")),
        (Stack([nn.Layer(4, 5, "tanh", seed=1), nn.Layer(5, 3, None, seed=2), softmax]), CLASSES,
         ([4, 5, 3], "tanh", "softmax")),
        (nn.MLP(4, [5, 5, 1], None, seed=1), Y, ([4, 5, 5, 1], "linear", "linear")),
        (nn.MLP(4, [1], "relu", seed=1), Y, None),
        (residual(), Y, None),
        (Stack([nn.Layer(4, 5, "tanh", seed=1), nn.Layer(5, 5, "relu", seed=2),
                nn.Layer(5, 1, None, seed=3)]), Y, None),
        (Standardised(healthy(), X + 1.0), Y, None),
    ],
)  # fmt: skip
def test_a_chain_of_dense_layers_is_known_by_its_outputs(model, y, chain):
    found = chain_of(case_of(model, y=y))
    assert found == (chain and (*chain,))


def test_a_new_net_has_the_same_widths_and_ends_alike():
    model = nn.MLP(4, [6] * 6 + [1], "sigmoid", "sigmoid", init="glorot", seed=2)
    found = tried(case_of(model, y=(Y > 0) * 1.0))
    for name in ("new ReLU net (He)", "new tanh net (Glorot)"):
        net = found[name].make()
        layers = [part for part in net.layers if isinstance(part, nn.Layer)]
        assert [(layer.nin, len(layer.neurons)) for layer in layers] == [
            (4, 6), *[(6, 6)] * 5, (6, 1)
        ]  # fmt: skip
        assert 0.0 < net(X[0].tolist()).data < 1.0
        assert found[name].graph == "new"
    skips = found["new net with skips"].make().layers
    assert sum(isinstance(part, nn.Residual) for part in skips) == 5
    norms = found["new net with norms"].make()
    assert sum(isinstance(part, nn.LayerNorm) for part in norms.layers) == 6
    assert 0.0 < norms(X[0].tolist()).data < 1.0


def test_new_nets_are_drawn_from_the_seed_and_by_their_own_initialiser():
    case = case_of(chained(depth=8))
    one, again = (tried(case)["new ReLU net (He)"].make() for _ in range(2))
    case.seed = 1
    other = tried(case)["new ReLU net (He)"].make()
    assert data(one) == data(again) != data(other)
    wide = nn.MLP(40, [40] * 6 + [1], "sigmoid", init="glorot", seed=2)
    rows = RNG.normal(size=(30, 40))
    found = tried(case_of(wide, rows, rows[:, 0]))
    he, tanh = (found[name].make() for name in ("new ReLU net (He)", "new tanh net (Glorot)"))
    assert rms(he, "layers.1.weight") == pytest.approx(math.sqrt(2 / 40), rel=0.1)
    assert rms(tanh, "layers.1.weight") == pytest.approx(math.sqrt(1 / 40), rel=0.1)
    skips = found["new net with skips"].make()
    assert rms(skips, "layers.1.block.weight") == pytest.approx(4 * math.sqrt(1 / 40), rel=0.1)


def test_a_softmax_adds_up_to_1():
    net = Stack([nn.Layer(4, 3, None, seed=2), softmax])
    assert sum(y.data for y in net([900.0, -3.0, 2.0, 1.0])) == pytest.approx(1.0)
