"""What `why` says of whole nets: healthy ones, sick ones, and what must not change it."""

import math
import random
import statistics

import pytest

import microgradx as mx
from microgradx import Flow, nn, why

INITS = {"relu": "he", "tanh": "glorot", "sigmoid": "glorot", "gelu": "he"}


def healthy_net(seed):
    """A net as it is initialised for its activation, its depth, and its loss on a batch."""
    rng = random.Random(f"healthy {seed}")
    depth, width = 1 + seed % 12, rng.randrange(8, 25)
    activation = rng.choice([*INITS])
    n, outputs = rng.choice([1, 4, 16]), rng.choice([1, 3])
    model = nn.MLP(
        5, [width] * (depth - 1) + [outputs], activation, init=INITS[activation], seed=rng
    )
    scores = [model([rng.gauss(0, 1) for _ in range(5)]) for _ in range(n)]
    if outputs == 1:
        loss = nn.mse_loss(scores, [rng.gauss(0, 1) for _ in range(n)])
    else:
        loss = nn.cross_entropy(scores, [rng.randrange(outputs) for _ in range(n)])
    return model, depth, loss


def oppositions(seeds):
    """By depth, R/|g| of the weights of nets, but for those that nothing gets through to."""
    found = {}
    for seed in seeds:
        model, depth, loss = healthy_net(seed)
        flow = Flow(loss)
        numbers = (flow.paths.index[p] for p in model.parameters())
        pairs = [(flow.paths.norm(i), flow.paths.wide(i)) for i in numbers]
        alive = [norm / abs(wide) if wide else math.inf for norm, wide in pairs if norm]
        found.setdefault(depth, []).extend(alive)
    return found


def check_chance(found, most):
    every = [x for xs in found.values() for x in xs]
    assert sum(x >= 1000 for x in every) <= most * len(every)
    assert statistics.median(every) < 5
    for xs in found.values():
        assert statistics.median(xs) < 5


def test_paths_of_healthy_nets_oppose_each_other_as_chance_has_it():
    check_chance(oppositions(range(36)), most=0.005)


@pytest.mark.long
def test_paths_of_two_thousand_healthy_nets():
    """The figures are in tests/README.md."""
    found = oppositions(range(2000))
    for depth, xs in sorted(found.items()):
        share = sum(x >= 1000 for x in xs) / len(xs)
        print(depth, len(xs), f"{share:.3%}", f"{statistics.median(xs):.2f}")
    check_chance(found, most=0.005)


X8 = [0.1, -0.5, 1.0, 0.3, -0.2, 0.8, -1.0, 0.4]


def verdicts(model, loss, parameters=None):
    flow = Flow(loss)
    return [flow.why(p) for p in parameters or model.parameters()]


def test_a_deep_net_that_learns_is_healthy():
    model = nn.MLP(8, [24] * 8 + [1], activation="tanh", init="glorot", seed=0)
    loss = nn.mse_loss(model(X8), 1.0)
    found = verdicts(model, loss, [neuron.weight[0] for x in model.layers for neuron in x.neurons])
    assert {it.verdict for it in found} == {"healthy"} and len(found) == 193  # 77 by the path mass
    first = [it for it in found if it.node.label.startswith("layers.0")]
    assert 3 < statistics.median(it.flow.opposes for it in first) < 4
    budget = {k: statistics.mean(it.budget.get(k, 0.0) for it in first) for k in first[0].budget}
    assert budget["weight scale"] == pytest.approx(-0.60, abs=0.01)
    assert budget["saturation"] == pytest.approx(-0.27, abs=0.01)


def test_a_net_whose_weights_are_too_large_explodes_by_their_scale():
    model = nn.MLP(8, [24] * 8 + [1], init=lambda i, o, rng: rng.gauss(0, 1), seed=0)
    loss = nn.mse_loss(model(X8), 1.0)
    weights = [w for neuron in model.layers[0].neurons for w in neuron.weight[::3]]
    found = [it for it in verdicts(model, loss, weights) if it.verdict != "stopped"]
    assert len(found) > 20 and {it.verdict for it in found} == {"large"}
    assert {it.causes[0] for it in found} == {"weight scale"}


def batch(n, inputs=10, seed=1):
    rng = random.Random(seed)
    return [[rng.gauss(0, 1) for _ in range(inputs)] for _ in range(n)], [
        rng.gauss(0, 1) for _ in range(n)
    ]


def test_four_sigmoid_layers_are_a_sigmoid_chain_and_their_tanh_twin_is_healthy():
    X, y = batch(20)
    for activation, cause in (("sigmoid", "sigmoid chain"), ("tanh", None)):
        model = nn.MLP(10, [20] * 4 + [1], activation=activation, init="glorot", seed=0)
        loss = nn.mse_loss([model(x) for x in X], y)
        it = why(model.layers[0].neurons[1].weight[0], loss)
        assert it.causes == ([cause] if cause else [])
        assert it.verdict == ("small" if cause else "healthy")


class Normed(nn.Module):
    """Four layers of eight sigmoids, with a norm before each, or without."""

    def __init__(self, norm, seed=0):
        self.hidden = [nn.Layer(3 if i == 0 else 8, 8, None, "glorot", seed + i) for i in range(4)]
        self.norms = [nn.BatchNorm(8) for _ in range(4)] if norm else []
        self.out = nn.Layer(8, 1, None, "glorot", seed + 99)

    def __call__(self, xs):
        for i, layer in enumerate(self.hidden):
            xs = [layer(x) for x in xs]
            xs = self.norms[i](xs) if self.norms else xs
            xs = [[z.sigmoid() for z in row] for row in xs]
        return [self.out(x) for x in xs]


def test_a_norm_is_no_illness_and_a_bias_before_it_is_lost():
    X, _ = batch(8, 3, seed=0)
    model = Normed(norm=True)
    loss = nn.mse_loss(model(X), [x[0] * x[1] for x in X])
    found = verdicts(model, loss, [w for x in model.hidden for n in x.neurons for w in n.weight])
    cancelled = sum(it.verdict == "cancelled" for it in found)
    assert cancelled <= 0.05 * len(found)
    it = found[0]
    assert it.budget["a norm's 1/σ"] > 1 > -1 > it.budget["sigmoid ceiling"]
    lost = why(model.hidden[0].neurons[0].bias, loss)
    assert lost.verdict == "cancelled" and lost.causes == ["opposing samples", "before a norm"]
    assert "A norm removes the mean of what it reads" in str(lost)


def test_samples_are_named_where_they_oppose_each_other():
    model = nn.MLP(1, [1], seed=0)
    model.layers[0].neurons[0].weight[0].data = 1.0
    scores = [model([x]) for x in (1.0, 2.0, 3.0)]
    loss = nn.mse_loss(scores, [1.25, 2.0, 2.75])
    it = why(model.layers[0].neurons[0].bias, loss)
    assert it.causes == ["opposing samples"]
    assert "sample 2 brings 0.167, sample 0 brings -0.167" in str(it)


def test_outputs_that_are_all_equal_are_no_optimum():
    model = nn.MLP(2, [2, 1], activation="tanh", init=lambda i, o, rng: 0.0, seed=0)
    X = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    loss = nn.mse_loss([model(x) for x in X], [-1.0, 1.0, 1.0, -1.0])
    it = why(model.layers[1].neurons[0].bias, loss)
    assert it.causes[:2] == ["opposing samples", "equal outputs"] and "optimum" not in str(it)


def test_a_neuron_that_is_off_on_every_sample_is_told_of_all_and_repaired_in_all():
    model = nn.MLP(2, [3, 1], seed=2)
    model.layers[0].neurons[0].bias.data = -50.0
    X, y = batch(30, 2)
    w = model.layers[0].neurons[0].weight[0]
    loss = nn.mse_loss([model(x) for x in X], y)
    it = why(w, loss)
    assert "< 0, in all 30 samples" in str(it) and "more like it" not in str(it)
    assert "and so in 30 samples, it would be" in str(it)
    v = model.layers[1].neurons[0].weight[0].data
    errors = [2 * (model(x).data - t) / 30 for x, t in zip(X, y)]
    opened = sum(e * v * x[0] for e, x in zip(errors, X))
    assert it._best().gradient == pytest.approx(opened, rel=1e-12)


def test_an_edge_that_is_twice_in_a_sample_is_repaired_by_itself():
    """In a recurrent net a path holds several edges of the same name."""
    cell = nn.Layer(2, 1, activation="tanh", seed=1)

    def run(xs):
        h = 0.0
        for x in xs:
            h = cell([x, h])
        return h

    loss = nn.mse_loss([run([0.5, 1.0, 0.2]), run([0.1, -1.0, 0.4])], [1.0, -1.0])
    it = why(cell.neurons[0].weight[0], Flow(loss, reference=9.0))
    best = it._best()
    assert best.times == 1 and "samples, it would be" not in str(it)
    single = {repair.edge: repair.gradient for repair in it.repairs}
    assert best.gradient == pytest.approx(single[best.edge], rel=1e-12)


# --- what must change nothing ---------------------------------------------------------------------


def test_a_batch_twice_changes_no_sentence_but_counts():
    X, y = batch(6)
    model = nn.MLP(10, [6, 6, 1], activation="sigmoid", init="glorot", seed=0)
    for p in model.parameters()[::7]:
        one, two = (nn.mse_loss([model(x) for x in X * k], y * k) for k in (1, 2))
        before, after = why(p, one), why(p, two)
        assert (before.verdict, before.causes) == (after.verdict, after.causes)
        agrees = {"agreement", "opposition", "loss"}
        rest = {kind: x for kind, x in before.budget.items() if kind not in agrees}
        assert {k: x for k, x in after.budget.items() if k not in agrees} == pytest.approx(rest)


@pytest.mark.parametrize("activation, scale", [("sigmoid", 1.0), ("tanh", 0.2), ("relu", 3.0)])
def test_twice_the_width_at_weights_of_half_the_square_changes_no_first_cause(activation, scale):
    X, y = batch(4, 6)
    first = set()
    for width in (8, 16, 32):
        model = nn.MLP(6, [width] * 7 + [1], activation=activation, seed=3,
                       init=lambda i, o, rng: rng.gauss(0, scale / math.sqrt(i)))  # fmt: skip
        loss = nn.mse_loss([model(x) for x in X], y)
        flow = Flow(loss)
        found = [flow.why(neuron.weight[0]) for neuron in model.layers[0].neurons[:6]]
        alive = [it for it in found if it.verdict != "stopped"]
        firsts = [(it.verdict, *it.causes[:1]) for it in alive]
        first.add(max(firsts, key=firsts.count))
    assert len(first) == 1


# --- of more than one number ----------------------------------------------------------------------


def asked(n=4):
    X, y = batch(n, 3)
    model = nn.MLP(3, [4, 4, 1], seed=1)
    model.layers[0].neurons[2].bias.data = -50.0
    loss = nn.mse_loss([model(x) for x in X], y)
    loss.backward()
    return model, loss


def test_a_model_is_asked_about_in_one_table():
    model, loss = asked()
    it, flow = why(model, loss), Flow(loss)
    single = {p: flow.why(p) for p in model.parameters()}
    assert it.nodes == model.parameters()
    assert {p: name for name, nodes in it.verdicts.items() for p in nodes} == {
        p: each.verdict for p, each in single.items()
    }
    assert [*it.layers] == ["layers.0", "layers.1", "layers.2"]
    for layer, nodes in it.layers.items():
        budgets = [single[p].budget for p in nodes if single[p].budget]
        for kind, x in it.budget(layer).items():
            mean = statistics.mean(each.get(kind, 0.0) for each in budgets)
            assert x == pytest.approx(mean, abs=1e-12)
        decades = statistics.mean(single[p].flow.decades for p in nodes if single[p].budget)
        assert sum(it.budget(layer).values()) == pytest.approx(decades, abs=1e-12)
    assert [each.verdict for each in it.worst] == ["stopped"] * 3
    text = str(it)
    assert text.startswith("41 gradients of ") and len(text.splitlines()) == 9
    assert max(map(len, text.splitlines())) <= 100
    assert it._repr_mimebundle_()["text/plain"] == text


def test_a_layer_a_list_and_a_layer_of_another_model_are_asked_about():
    model, loss = asked()
    layer = model.layers[1]
    assert why(layer, loss).nodes == layer.parameters() == why(layer.parameters(), loss).nodes
    assert why([layer.parameters()], Flow(loss)).nodes == layer.parameters()
    other = nn.MLP(3, [4, 1], seed=1)
    it = why(other, loss)
    assert [*it.verdicts] == ["disconnected"] and "21 disconnected" in str(it)
    assert str(why([loss], loss)).splitlines()[-1].endswith("= 1: healthy.")


def test_parameters_may_be_named_where_no_label_names_them():
    x, k = mx.Value(0.5, "x"), mx.Value(1e-6, "slope")
    y = (k * x).tanh()
    assert why(x, y).causes == ["small inputs"]
    assert why(x, y, parameters=[k]).causes == ["weight scale"]


def by_hand(scale, activation, labelled):
    """A net of a reader's own classes on eight samples: its weights, and the loss."""
    rng = random.Random(0)

    def weight(*place):
        label = "layers.{}.weight[{},{}]".format(*place) if labelled else ""
        return mx.Value(rng.gauss(0, scale / math.sqrt(6)), label)

    layers = [[[weight(k, i, j) for j in range(6)] for i in range(6)] for k in range(4)]
    loss = mx.Value(0.0)
    for _ in range(8):
        row = [mx.Value(rng.gauss(0, 1)) for _ in range(6)]
        for layer in layers:
            sums = [sum((w * x for w, x in zip(ws, row)), mx.Value(0.0)) for ws in layer]
            row = [getattr(x, activation)() for x in sums]
        loss = loss + (row[0] - 1.0) ** 2
    return [w for layer in layers for ws in layer for w in ws], loss / 8


@pytest.mark.parametrize("scale", [1, 0.01, 100])
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu"])
def test_weights_without_labels_are_the_leaves_that_several_samples_read(activation, scale):
    weights, loss = by_hand(scale, activation, labelled=True)
    named = why(weights[0], loss)
    assert abs(named.budget["weight scale"]) > 0.4
    weights, loss = by_hand(scale, activation, labelled=False)
    for parameters in (None, weights):
        it = why(weights[0], loss, parameters=parameters)
        assert (it.verdict, it.causes) == (named.verdict, named.causes)
        assert it.budget == pytest.approx(named.budget, rel=1e-9, abs=1e-9)
