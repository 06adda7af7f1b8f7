"""What `why` says of whole nets: healthy ones, sick ones, and what must not change it."""

import math
import random
import re
import statistics

import pytest

import microgradx as mx
from microgradx import Flow, nn, why
from microgradx.explain.verdicts import TABLE

INITS = {"relu": "he", "tanh": "glorot", "sigmoid": "glorot", "gelu": "he"}


class Blocks(nn.Module):
    """Residual blocks of two layers between a layer in and a layer out; deeper ones are scaled."""

    def __init__(self, width, depth, outputs, activation, rng):
        init = INITS[activation]
        self.first = nn.Layer(5, width, activation, init, rng)
        self.blocks = [
            nn.Residual(nn.MLP(width, [width, width], activation, init=init, seed=rng))
            for _ in range(max(1, (depth - 2) // 2))
        ]
        self.out = nn.Layer(width, outputs, None, init, rng)

    def __call__(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = [y / math.sqrt(2) for y in block(x)]
        return self.out(x)


def healthy_net(seed, depths, edges):
    """A net as it is initialised for its activation, its depth, and its loss on a batch.

    edges: of all samples, at most
    """
    rng = random.Random(f"healthy {seed}")
    depth, activation = depths[seed % len(depths)], rng.choice([*INITS])
    width, n = round(8 ** rng.uniform(1, 2)), round(64 ** rng.random())
    while depth * width**2 * n > edges and width * n > 8:
        width, n = max(8, width - 1), max(1, n - 1)
    outputs = rng.choice([1, 3])
    if depth > 3 and rng.random() < 0.25:
        model = Blocks(width, depth, outputs, activation, rng)
    else:
        widths = [width] * (depth - 1) + [outputs]
        model = nn.MLP(5, widths, activation, init=INITS[activation], seed=rng)
    scores = [model([rng.gauss(0, 1) for _ in range(5)]) for _ in range(n)]
    if outputs == 1:
        loss = nn.mse_loss(scores, [rng.gauss(0, 1) for _ in range(n)])
    else:
        loss = nn.cross_entropy(scores, [rng.randrange(outputs) for _ in range(n)])
    return model, depth, loss


def opposition(loss, parameters):
    """R/|g| of some parameters, but for those that nothing gets through to."""
    paths = Flow(loss).paths
    numbers = (paths.index[p] for p in parameters)
    pairs = [(paths.norm(i), paths.wide(i)) for i in numbers]
    return [abs(norm / wide) if wide else math.inf for norm, wide in pairs if norm]


def oppositions(seeds, depths=range(1, 13), edges=60_000):
    """By depth, R/|g| of the parameters of nets."""
    found = {}
    for seed in seeds:
        model, depth, loss = healthy_net(seed, depths, edges)
        found.setdefault(depth, []).extend(opposition(loss, model.parameters()))
    return found


def check_chance(found, most, median=5):
    every = [x for xs in found.values() for x in xs]
    assert sum(x >= 1000 for x in every) <= most * len(every)
    for xs in found.values():
        assert statistics.median(xs) < median


def show(found):
    """A line for each depth: how many, how many of them 1000 or more, and the median."""
    for depth, xs in sorted(found.items()):
        share = sum(x >= 1000 for x in xs) / len(xs)
        print(depth, len(xs), f"{share:.3%}", f"{statistics.median(xs):.2f}", flush=True)


DEEP = (20, 30, 45)


def test_paths_of_healthy_nets_oppose_each_other_as_chance_has_it():
    check_chance(oppositions(range(36), edges=6000), most=0.005)
    check_chance(oppositions(range(3), DEEP, edges=6000), most=0.05, median=100)


@pytest.mark.long
def test_paths_of_two_thousand_healthy_nets():
    """The figures are in tests/README.md."""
    found = oppositions(range(2000))
    show(found)
    for xs in found.values():
        check_chance({0: xs}, most=0.005)
    check_chance(found, most=0.0016)  # twice what chance brings


@pytest.mark.long
def test_paths_of_deep_healthy_nets():
    """By depth, and there by Σ 1/width, with which opposition grows (Hanin 2018)."""
    found = {}
    for seed in range(200):
        model, depth, loss = healthy_net(seed, DEEP, 60_000)
        first = model.first if isinstance(model, Blocks) else model.layers[0]
        width = len(first.neurons)
        xs = opposition(loss, model.parameters())
        found.setdefault((depth, depth / width < 2), []).extend(xs)
    show(found)
    check_chance({key: xs for key, xs in found.items() if key[1]}, most=0.005)


class Normed(nn.Module):
    """Layers with an activation each, and a batch norm before it, or none."""

    def __init__(self, norm, seed=0, width=8, depth=4, activation="sigmoid"):
        init = INITS[activation]
        self.activation = activation
        self.hidden = [nn.Layer(width if i else 3, width, None, init, seed + i)
                       for i in range(depth)]  # fmt: skip
        self.norms = [nn.BatchNorm(width) for _ in range(depth)] if norm else []
        self.out = nn.Layer(width, 1, None, init, seed + 99)

    def __call__(self, xs):
        for i, layer in enumerate(self.hidden):
            xs = [layer(x) for x in xs]
            xs = self.norms[i](xs) if self.norms else xs
            xs = [[getattr(z, self.activation)() for z in row] for row in xs]
        return [self.out(x) for x in xs]


def normed_net(seed):
    rng = random.Random(f"normed {seed}")
    model = Normed(True, 100 * seed, rng.randrange(8, 17), 1 + seed % 5, rng.choice([*INITS]))
    X, y = batch(rng.randrange(6, 33), 3, seed)
    return model, nn.mse_loss(model(X), y)


def check_normed(seeds, every=1):
    """By depth R/|g| of the weights; biases before a norm must all say that they are."""
    found = {}
    for seed in seeds:
        model, loss = normed_net(seed)
        weights = [w for layer in model.hidden for n in layer.neurons for w in n.weight]
        found.setdefault(len(model.hidden), []).extend(opposition(loss, weights))
        flow = Flow(loss)
        for bias in [n.bias for layer in model.hidden for n in layer.neurons][::every]:
            it = flow.why(bias)
            if it.verdict != "stopped":
                assert it.verdict == "cancelled", it
                assert it.causes[:2] == ["opposing samples", "before a norm"], it
    return found


def test_biases_before_a_norm_all_say_so_and_weights_are_opposed_a_little_more():
    """What a norm takes away lies along its outputs too."""
    check_chance(check_normed(range(4), every=6), most=0.02, median=30)


@pytest.mark.long
def test_a_hundred_nets_with_norms():
    show(found := check_normed(range(100), every=3))
    check_chance(found, most=0.02, median=30)


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
        assert "doing of" not in str(it)  # each layer brings its part


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
    assert " in 30 samples it would be" in str(it)
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
    assert best.times == 1 and "samples it would be" not in str(it)
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
        assert words(before) == words(after)


def words(it):
    """The sentences without their numbers, those of budgets and paths apart, which are numbers."""
    said = [TABLE[it.verdict].meaning, *it.because]
    number = r"(?<![\w.[])-?\d+([.,]\d+)*(e-?\d+)?"
    return [re.sub(number, "#", x) for x in said]


@pytest.mark.parametrize("power", [-9, -3, 2, 6])
def test_a_loss_on_another_scale_moves_its_own_term_and_nothing_else(power):
    X, y = batch(5)
    for activation in INITS:
        model = nn.MLP(10, [8, 8, 1], activation, init=INITS[activation], seed=2)
        loss = nn.mse_loss([model(x) for x in X], y)
        one, other = Flow(loss), Flow(loss * 10.0**power)
        for p in model.parameters()[::5]:
            before, after = one.why(p), other.why(p)
            assert (before.verdict, before.causes) == (after.verdict, after.causes)
            if before.budget:
                moved = after.flow.decades - before.flow.decades
                assert moved == pytest.approx(power)
                assert after.flow.norm.decades - before.flow.norm.decades == pytest.approx(power)
                expected = before.budget | {"loss": before.budget["loss"] + power}
                assert after.budget == pytest.approx(expected)
            told = [x for x in words(after) if not x.startswith("The loss is on a ")]
            assert told == words(before)


def test_what_is_healthy_says_what_it_does_not_speak_of_and_points_on():
    X, y = batch(4)
    model = nn.MLP(10, [8, 1], "tanh", init="glorot", seed=0)
    loss = nn.mse_loss([model(x) for x in X], y)
    it, table = why(model.layers[1].neurons[0].bias, loss), why(model, loss)
    assert it.verdict == "healthy" and [*table.verdicts] == ["healthy"]
    for text in (str(it), str(table)):
        assert "Step size, data and minima are not judged here: look there if it does not" in text
    model.layers[0].neurons[0].bias.data = 30.0
    table = why(model, nn.mse_loss([model(x) for x in X], y))
    assert "small" in table.verdicts and "does not learn" not in str(table)


def test_one_gradient_of_many_that_is_cancelled_is_chance():
    """It is among the last, and the rest are healthy; one that has a cause is not."""
    rng = random.Random(0)
    X = [[rng.gauss(0, 1) for _ in range(30)] for _ in range(8)]
    for seed in range(20):
        model = nn.MLP(30, [30, 5], "tanh", init="lecun", seed=seed)
        loss = nn.cross_entropy([model(x) for x in X], [k % 5 for k in range(8)])
        it = why(model, loss)
        if {*it.verdicts} == {"cancelled", "healthy"}:
            break
    assert [each.verdict for each in it.worst] == ["healthy"] * 3
    n = len(it.verdicts["cancelled"])
    assert f"That {n} {'is' if n == 1 else 'are'} cancelled is about chance." in str(it)
    assert "are not judged" in str(it)
    [cancelled, *_] = it.verdicts["cancelled"]
    assert "where a loss is least" not in str(why(cancelled, loss))


def test_what_cancels_further_or_more_often_than_chance_has_it_is_not_chance():
    X, y = batch(8, 3)
    model = Normed(True)
    bias = model.hidden[0].neurons[0].bias
    weights = [w for layer in model.hidden for n in layer.neurons for w in n.weight]
    flow = Flow(nn.mse_loss(model(X), y))
    it = why([*why(weights, flow).verdicts["healthy"], bias], flow)
    assert it.verdicts["cancelled"] == [bias] and len(it.nodes) > 150
    assert "about chance" not in str(it) and it.worst[0].verdict == "cancelled"
    model = nn.MLP(150, [1], seed=0)
    scores = [model([1.0] * 150) for _ in range(2)]
    it = why(model, nn.mse_loss(scores, [scores[0].data - 1, scores[0].data + 1.001]))
    assert [*it.verdicts] == ["cancelled"] and it.worst[0].flow.opposes < 1500
    assert "about chance" not in str(it)


def test_samples_that_are_nearly_equal_are_not_and_behind_the_norm_it_is_not_their_doing():
    X, y = batch(4, 3)
    near = [[1.0 + 1e-4 * a for a in x] for x in X]
    for rows, cause in ((near, "before a norm"), ([X[0]] * 4, "equal samples")):
        model = Normed(True, depth=2)
        flow = Flow(nn.mse_loss(outputs := model(rows), y))
        assert flow.why(model.hidden[0].neurons[0].bias).causes == ["opposing samples", cause]
    middle = outputs[0].data
    loss = nn.mse_loss(model(rows), [middle - 2, middle - 1, middle + 1, middle + 2])
    assert why(model.out.neurons[0].bias, loss).causes[:2] == ["opposing samples", "equal outputs"]


@pytest.mark.parametrize("same", [True, False])
def test_equal_samples_oppose_each_other_only_where_their_targets_differ(same):
    """Else each brings 0 by itself, but for rounding."""
    X, y = batch(4, 3)
    model = Normed(True, depth=3)
    flow = Flow(nn.mse_loss(model([X[0]] * 4), [y[0]] * 4 if same else y))
    for layer in model.hidden:
        it = flow.why(layer.neurons[0].bias)
        assert it.causes == ["opposing samples", "equal samples"]
        brings = [
            float(x)
            for x in re.findall(r"sample \d brings (\S+\d)", str(it).replace("\n    ", " "))
        ]
        assert ("Opposing each other" in str(it)) == bool(brings) == (not same)
        assert same or (min(brings) < 0 < max(brings) and abs(sum(brings)) < 0.01 * max(brings))


@pytest.mark.parametrize("spread", [1.0, 1e-3])
@pytest.mark.parametrize("rows", [2, 3])
@pytest.mark.parametrize("over_batch", [True, False])
def test_a_norm_of_two_numbers_lets_nothing_through(over_batch, rows, spread):
    """It makes -1 and 1 of them, but where its eps is no less than their variance."""
    n = rows if over_batch else 3
    first = nn.Layer(2, 2 if over_batch else rows, None, seed=1)
    norm = (nn.BatchNorm if over_batch else nn.LayerNorm)(len(first.neurons))
    last = nn.Layer(len(first.neurons), 1, None, seed=2)
    z = [first([1 + spread * x for x in row]) for row in ([1, 2], [-2, 1.5], [0.5, -1])[:n]]
    if not over_batch:
        z = [[spread * x for x in each] for each in z]
    normed = norm(z) if over_batch else [norm(each) for each in z]
    loss = nn.mse_loss([last([x.tanh() for x in each]) for each in normed], [0.3, -2.0, 1.0][:n])
    it = why(first.neurons[0].weight[0], loss)
    stuck = rows == 2 and spread == 1
    assert it.verdict == "cancelled" or not stuck
    assert ("norm of two" in it.causes) == stuck
    assert ("and makes -1 and 1 of them" in str(it)) == stuck
    if rows == 2:
        near = [abs(abs(y.data) - 1) for each in normed for y in each]
        assert (max(near) < 1e-3) == stuck


def attended(scale):
    """A query and a key over three places, and the loss; such is the scale of the inputs."""
    rng = random.Random(3)
    q, k = mx.Value(1.0, "q"), mx.Value(0.8, "k")
    X = [scale * rng.gauss(0, 1) for _ in range(3)]
    total = mx.Value(0.0)
    for a in X:
        scores = [(q * a) * (k * b) for b in X]
        largest = max(x.data for x in scores)
        exps = [(x - largest).exp() for x in scores]
        total = total + sum(e / sum(exps) * b for e, b in zip(exps, X))
    return q, k, (total - 1.0) ** 2


def test_a_softmax_by_hand_that_is_saturated_says_so():
    q, k, loss = attended(20.0)
    for node in (q, k):
        it = why(node, loss)
        assert it.causes[:2] == ["opposing paths", "saturated softmax"]
        assert "nearly all of what it is divided by" in str(it)
    q, k, loss = attended(1.0)
    assert "softmax" not in str(why(q, loss)) + str(why(k, loss))


@pytest.mark.parametrize(
    "make",
    [
        lambda e, x: e / (e + 1.0) - 0.25 * e,  # half of what it is divided by
        lambda e, x: 1.0 / e + e,  # below the line
        lambda e, x: x / (x + 1e-9),  # no e^z
    ],
)
def test_other_quotients_are_no_softmax(make):
    z, x = mx.Value(0.0, "z"), mx.Value(1.0, "x")
    y = make(z.exp(), x)
    assert "cancelled" in (why(z, y).verdict, why(x, y).verdict)
    assert "softmax" not in str(why(z, y)) + str(why(x, y))


def test_a_weight_that_a_norm_takes_most_of_says_so():
    X, y = batch(8, 3)
    model = Normed(True)
    flow = Flow(nn.mse_loss(model(X), y), cancels=5)
    weights = [w for n in model.hidden[3].neurons for w in n.weight]
    found = [
        it for it in map(flow.why, weights) if it.causes[:2] == ["opposing paths", "before a norm"]
    ]
    assert found and "so that much of what is before it cancels" in str(found[0])
    layers = found[0].tangents.by_layer
    assert {*layers} <= {"hidden.3", "norms.3", "out", ""}


def test_a_loss_on_a_small_scale_is_at_no_optimum_and_few_samples_no_scale():
    model = nn.MLP(2, [4, 1], init="he", seed=3)
    X = [[1.0, 0.5], [-0.3, 0.8], [0.2, -1.0]]
    scores = [model(x) for x in X]
    loss = nn.mse_loss(scores, [5.0, -5.0, 5.0]) * 1e-6
    alive = next(p for p in model.parameters() if why(p, loss).verdict == "healthy")
    assert "The loss is on a small scale: it alone brings -" in str(why(alive, loss))
    near = [score.data + 1e-5 for score in scores]
    assert "The loss is near its optimum" in str(why(alive, nn.mse_loss(scores, near)))
    # one sample of a hundred has the neuron on, and a residual that is smaller than others
    neuron = nn.Neuron(1, "relu", seed=0)
    neuron.weight[0].data, neuron.bias.data = 1.0, 0.0
    out = nn.Layer(1, 1, None, seed=1)
    X = [[0.01], *[[-1.0]] * 99]
    hidden = [neuron(x) for x in X]
    for h in hidden:
        h.label = "hidden[0]"
    loss = nn.mse_loss([out([h]) for h in hidden], [0.5, *[300.0] * 99])
    it = why(neuron.bias, loss)
    assert it.verdict == "small" and "few samples" in it.causes and "loss scale" not in it.causes
    scores = [out([h]) for h in hidden]  # which are compared with 1, not with themselves
    assert why(scores[1], nn.mse_loss(scores, [30.0] * 100) * 1e-6).causes == ["loss scale"]


def test_where_no_factor_is_half_of_it_a_layer_may_be():
    """A weight of 0.01 and a slope of 0.01 in one layer, a weight of 0.03 in the next."""
    model = nn.MLP(1, [1, 1, 1], "tanh", seed=0)
    below, layer, above = (layer.neurons[0] for layer in model.layers)
    below.weight[0].data, layer.weight[0].data, above.weight[0].data = 0.1, 0.01, 0.03
    layer.bias.data = 3.0
    it = why(below.bias, nn.mse_loss(model([1.0]), 1.0))
    assert it.verdict == "small" and not it.culprits and "No single factor" not in str(it)
    assert "Most of it is the doing of layers.1: -4.0 decades." in str(it)


def test_a_deep_and_narrow_net_says_that_it_is():
    """Products of many random matrices oppose each other more than chance does (Hanin 2018)."""
    rng = random.Random(1)
    model = nn.MLP(4, [4] * 40 + [1], "tanh", init="glorot", seed=rng)
    loss = nn.mse_loss(model([0.5, -1.0, 0.3, 0.8]), 1.0)
    flow = Flow(loss, cancels=2)  # which every third gradient is
    it = next(it for it in map(flow.why, model.layers[2].parameters())
              if it.verdict == "cancelled" and "rounding" not in str(it))  # fmt: skip
    assert re.search(r"It passes 3\d layers, whose 1/width add up to 9\.\d", str(it))
    shallow = nn.MLP(4, [4, 4, 1], "tanh", init="glorot", seed=rng)
    flow = Flow(nn.mse_loss(shallow([0.5, -1.0, 0.3, 0.8]), 1.0), cancels=1)
    assert not any("1/width" in str(flow.why(p)) for p in shallow.parameters())


@pytest.mark.some(1)
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


def dead_layer(bias, labelled=False):
    """Two hidden ReLU layers of a reader's own on twelve samples; the second has such biases.

    Its weights, then its biases of the second layer, and the loss.
    """
    rng = random.Random(0)
    shapes = (2, 3, 0.0), (3, 3, bias), (3, 1, 0.0)
    layers = [
        [([mx.Value(rng.gauss(0, 1)) for _ in range(n)], mx.Value(b)) for _ in range(m)]
        for n, m, b in shapes
    ]
    loss = mx.Value(0.0)
    for _ in range(12):
        row = [rng.gauss(0, 1) for _ in range(2)]
        for k, layer in enumerate(layers):
            row = [sum((w * x for w, x in zip(ws, row)), b) for ws, b in layer]
            if k < 2:
                for i, z in enumerate(row):
                    z.label = f"z{k}{i}" if labelled else ""
                row = [z.relu() for z in row]
                for i, y in enumerate(row):
                    y.label = f"h{k}{i}" if labelled else ""
        loss = loss + (row[0] - 1.0) ** 2
    return layers[0][0][0][0], [b for _, b in layers[1]], loss / 12


def test_the_same_gate_in_several_samples_is_one_without_labels_too():
    _, biases, loss = dead_layer(-30.0)
    text = " ".join(str(why(biases[0], loss)).split())
    assert text.count("lets nothing through") == 1 and "< 0, in all 12 samples." in text
    assert re.search(r"It stops at add\(\S+\) ×0→ relu\(0\) \(12 times\)\.", text)


@pytest.mark.parametrize("labelled", [False, True])
def test_a_dead_neuron_is_dead_on_all_samples_also_those_that_the_gradient_does_not_reach(labelled):
    w, _, loss = dead_layer(-30.0, labelled)
    it = why(w, loss)
    text = " ".join(str(it).split())
    assert len(it.culprits) < len(it.where)  # in some samples the first layer is off too
    assert text.count("lets nothing through") == 3 == text.count("< 0, in all 12 samples.")
    assert f"It stops at {len(it.where)} edges; these alone are to blame: " in text
    assert text.count(f"({len(it.culprits) // 3} times)") == 3


def test_a_gate_that_is_off_and_one_at_its_kink_are_two_things():
    """Of the samples in which a factor is 0, those where it is for this cause are counted."""
    w = mx.Value(1.0, "w")
    zs = [w + x for x in (-2.0, -3.0, -1.0, -1.0)]
    loss = mx.sum([(z.relu() - 1.0) ** 2 for z in zs])
    text = " ".join(str(why(w, loss)).split())
    assert "< 0, in samples 0, 1 (2 of 4)." in text
    assert "convention, in samples 2, 3 (2 of 4)." in text


def test_where_something_is_not_finite_is_told_of_all_samples_without_labels_too():
    w, b = mx.Value(0.5, "w"), mx.Value(0.0, "b")
    loss = mx.sum([(w * x + b).sqrt() for x in (0.0, 1.0, 0.0, 4.0)])
    text = str(why(b, loss))
    assert "∂sqrt(0)/∂add(0) is inf at 0, in samples 0, 2 (2 of 4).\n" in text
    assert text.count("is inf at 0") == 1


def test_a_repair_in_several_samples_says_between_which_factors_they_lie():
    w = mx.Value(2.0, "w")
    zs = [w * x for x in (1.0, 3.0, 2.0)]
    for z in zs:
        z.label = "z"
    hs = [z.tanh() for z in zs]
    for h in hs:
        h.label = "h"
    it = why(w, Flow(mx.sum([(h - 3.0) ** 2 for h in hs]), reference=6.0))
    slopes = [1 - math.tanh(z.data) ** 2 for z in zs]
    text = " ".join(str(it).split())
    words = (
        f"With ×1 instead of ×{slopes[1]:.3g} … {slopes[0]:.3g} from z to h in 3 samples it would"
    )
    assert words in text
    pulls = [2 * (math.tanh(z.data) - 3) for z in zs]
    opened = sum(p * x for p, x in zip(pulls, (1, 3, 2)))
    assert it._best().gradient == pytest.approx(opened, rel=1e-9)


def test_a_factor_of_minus_0_is_0():
    w, x = mx.Value(-0.0, "w"), mx.Value(3.0, "x")
    text = str(why(x, w * x))
    assert "×0→" in text and "×-0" not in text


def test_the_worst_of_a_model_are_of_different_neurons():
    model = nn.MLP(3, [5, 1], activation="relu", seed=0)
    for neuron in model.layers[0].neurons:
        neuron.bias.data = -50.0
    worst = [it.node for it in why(model, nn.mse_loss(model([1.0, -1.0, 0.5]), 1.0)).worst]
    neurons = [{*row, neuron.bias} for neuron in model.layers[0].neurons for row in [neuron.weight]]
    assert len(worst) == 3
    assert sorted(sum(node in neuron for node in worst) for neuron in neurons) == [0, 0, 1, 1, 1]


def test_the_worst_of_a_model_are_of_different_verdicts():
    model = nn.MLP(3, [6, 6, 1], activation="relu", seed=0)
    for p in model.parameters():
        p.data *= 100.0
    model.layers[0].neurons[0].bias.data = -1e6
    it = why(model, nn.mse_loss(model([1.0, -1.0, 0.5]), 1.0))
    assert {"stopped", "large"} <= {*it.verdicts}
    assert [each.verdict for each in it.worst] == ["stopped", "stopped", "large"]
