"""Where a big z comes from: its terms, in how many samples it shuts, and what the others bring."""

import math
import random

import pytest

import microgradx as mx
from microgradx import Flow, Value, dot, nn, why
from microgradx import sum as total
from microgradx.engine import apply, order, sweep
from microgradx.explain.paths import Paths
from microgradx.explain.provenance import terms_of
from microgradx.rules import Rule

SEEDS = range(12)


def gauss(rng, n, size=1.0):
    return [rng.gauss(0, size) for _ in range(n)]


def wide_net(seed, activation="tanh", scale=2.5, as_values=False):
    """A net with large weights on a batch of numbers, and its parameters as plain numbers."""
    rng = random.Random(seed)
    widths, n = [rng.randrange(1, 6) for _ in range(rng.randrange(1, 3))], rng.randrange(2, 9)
    model = nn.MLP(3, [*widths, 1], activation, init=lambda i, o, r: r.gauss(0, scale), seed=rng)
    for layer in model.layers:
        for neuron in layer.neurons:
            neuron.bias.data = rng.gauss(0, scale)
    X = [gauss(rng, 3) for _ in range(n)]
    rows = [[*map(Value, x)] for x in X] if as_values else X
    loss = nn.mse_loss([model(row) for row in rows], gauss(rng, n))
    loss.label = "loss"
    return model, X, loss


def by_hand(ws, bs, v, X, bare=False):
    """A loss over v · tanh(w·x + b), written with operators on leaves without labels."""
    loss = 0.0
    for x in X:
        y = 0.0
        for row, b in zip(ws, bs):
            z = b
            for w, number in zip(row, x):
                z = z + w * (number if bare else Value(number))
            y = y + v * z.tanh()
        loss = loss + (y - 0.3) ** 2
    return loss


def amounts(z, output):
    return [term.amount for term in terms_of(z, Paths(output))]


def gradient_with(output, node, replaced):
    """∂output/∂node with other local derivatives, by edge (input, node)."""

    def partials(reader):
        return [replaced.get((x, reader), d) for x, d in zip(reader.inputs, reader.partials)]

    return dict(sweep(output, 1.0, partials))[node]


# --- a number as a sum ----------------------------------------------------------------------------


@pytest.mark.parametrize("as_values", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_terms_of_a_neuron_are_its_products_and_its_bias(seed, as_values):
    model, X, loss = wide_net(seed, as_values=as_values)
    paths = Paths(loss)
    zs = [x for x in paths.nodes if x.label.startswith("layers.0[") and x.label.endswith(".z")]
    assert len(zs) == len(X) * len(model.layers[0].neurons)
    for z in zs:
        x = X[paths.samples[paths.index[z]]]
        neuron = model.layers[0].neurons[int(z.label[9:-3])]
        terms = terms_of(z, paths)
        products = [w.data * number for w, number in zip(neuron.weight, x)]
        assert [term.amount for term in terms] == [*products, neuron.bias.data]
        assert [term.kinds for term in terms] == [("weight", "input")] * 3 + [("bias",)]


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_terms_of_what_is_written_by_hand(seed, bare):
    rng = random.Random(seed)
    ws = [[*map(Value, gauss(rng, 2, 4.0))] for _ in range(2)]
    bs, v = [*map(Value, gauss(rng, 2))], Value(0.5)
    X = [gauss(rng, 2) for _ in range(5)]
    loss = by_hand(ws, bs, v, X, bare)
    paths = Paths(loss)
    tanhs = [x for x in paths.nodes if x.op == "tanh"]
    plain = {
        tuple(sorted([*(w.data * x for w, x in zip(row, xs)), b.data])): row
        for xs in X
        for row, b in zip(ws, bs)
    }
    assert len(tanhs) == len(plain) == 10
    for y in tanhs:
        terms = terms_of(y.inputs[0], paths)
        row = plain[tuple(sorted(term.amount for term in terms))]
        kinds = {term.factors[0]: term.kinds for term in terms}
        assert [kinds[w] for w in row] == [("weight", "input")] * 2
        assert sorted(len(kind) for kind in kinds.values()) == [1, 2, 2]


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_the_terms_of_what_a_norm_makes(seed, affine):
    rng = random.Random(seed)
    layer, norm = nn.Layer(3, 2, None, "lecun", rng), nn.BatchNorm(2, eps=0.0, affine=affine)
    if affine:
        norm.weight[0].data, norm.bias[0].data = 40.0, 3.0
    batch = [layer(gauss(rng, 3)) for _ in range(6)]
    first = [row[0].data for row in batch]
    ys = [row[0].tanh() for row in norm(batch)]
    loss = total(ys)
    paths = Paths(loss)
    mean = math.fsum(first) / 6
    deviation = math.sqrt(math.fsum((x - mean) ** 2 for x in first) / 6)
    for y, x in zip(ys, first):
        found = [term.amount for term in terms_of(y.inputs[0], paths)]
        expected = [x / deviation, -mean / deviation]
        if affine:
            expected = [40.0 * (x - mean) / deviation, 3.0]
        assert sorted(found) == pytest.approx(sorted(expected), rel=1e-9)


def test_terms_through_sums_signs_and_scales():
    a, b, c = Value(3.0, "a"), Value(5.0, "b"), Value(7.0, "c")
    z = (2.0 * (a - b) + total([c, 1.5, a])) / 4.0 - (-c)
    assert sorted(amounts(z, z)) == [-2.5, 0.375, 2.25, 8.75]
    assert math.fsum(amounts(z, z)) == z.data


def test_a_term_that_is_read_many_times_is_one():
    x = z = Value(1.0, "x")
    for _ in range(60):
        z = z + z
    assert amounts(z, z) == [2.0**60] and terms_of(z, Paths(z))[0].factors == (x,)


def test_a_long_chain_of_additions_is_no_deep_one():
    z = Value(0.0)
    for i in range(3000):
        z = z + Value(float(i))
    assert sorted(amounts(z, z)) == [0.0, *map(float, range(3000))]


def test_another_layers_output_and_what_is_no_sum_are_terms():
    inner = nn.Layer(2, 2, None, seed=1)([1.0, 2.0])
    for y in inner:
        y.label = "inner" + y.label
    z = inner[0] + inner[1].tanh()
    assert {term.factors[0] for term in terms_of(z, Paths(z))} == {*z.inputs}
    assert terms_of(z.inputs[1], Paths(z))[0].factors == (z.inputs[1],)


def test_a_detached_number_is_a_term():
    x = Value(2.0, "x")
    z = (x * 3.0).detach() + x
    assert sorted(amounts(z, z)) == [2.0, 6.0]


# --- in how many samples, and what the others bring -----------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_counts_ranges_and_shares_of_a_neuron_are_those_of_a_plain_computation(seed):
    model, X, loss = wide_net(seed, scale=4.0)
    neuron = model.layers[0].neurons[0]
    w, b = [p.data for p in neuron.weight], neuron.bias.data
    zs = [b + math.fsum(p * q for p, q in zip(w, x)) for x in X]
    shut = [1 - math.tanh(z) ** 2 < 0.01 for z in zs]
    explained = why(neuron.weight[0], loss)
    units = [x for x in explained.origins if x.edge.node.label == "layers.0[0]"]
    if 2 * sum(shut) < len(X) and "saturation" not in explained.causes:
        assert not units
        return
    if not units:
        assert explained.origins  # another one is saturated in more
        return
    [unit] = units
    assert unit.samples == (sum(shut), len(X))
    assert unit.zs == pytest.approx((min(zs), max(zs)))
    ends = dict(zip((term.factors for term in unit.terms), unit.ranges))
    for i, p in enumerate(neuron.weight):
        found = next(both for factors, both in ends.items() if factors[0] is p)
        assert found == (min(x[i] for x in X), max(x[i] for x in X))
    brings = [  # in each sample, all goes through the neuron
        abs(e.partial * explained.paths.g[explained.paths.index[e.node]])
        for e in explained.tangents.first_edges()
    ]
    k = [explained.paths.samples[explained.paths.index[e.node]]
         for e in explained.tangents.first_edges()]  # fmt: skip
    others = math.fsum(x for x, j in zip(brings, k) if not shut[j])
    assert unit.others == pytest.approx(others / math.fsum(brings))


def test_the_plain_computation_has_met_both_kinds():
    """Of the forty nets above, some are told of and some aren't."""
    told = [bool(why(m.layers[0].neurons[0].weight[0], loss).origins)
            for m, _, loss in (wide_net(seed, scale=4.0) for seed in range(40))]  # fmt: skip
    assert 5 < sum(told)
    quiet = [bool(why(m.layers[0].neurons[0].weight[0], loss).origins)
             for m, _, loss in (wide_net(seed, scale=0.5) for seed in range(40))]  # fmt: skip
    assert sum(quiet) < 5


@pytest.mark.parametrize("seed", range(8))
def test_what_comes_through_a_later_activation_is_what_its_edges_take_away(seed):
    rng = random.Random(seed)
    model = nn.MLP(2, [2, 3, 1], "tanh", init=lambda i, o, r: r.gauss(0, 3.0), seed=seed)
    loss = nn.mse_loss([model(gauss(rng, 2)) for _ in range(6)], gauss(rng, 6))
    node = model.layers[0].neurons[0].weight[0]
    explained = why(node, loss)
    g = explained.flow.g
    for unit in explained.origins:
        same = [
            edge
            for y in order(loss) if y.label == unit.edge.node.label
            for edge in y.edges
        ]  # fmt: skip
        through = [abs(g - gradient_with(loss, node, {(e.input, e.node): 0.0})) for e in same]
        open_ = [x for x, e in zip(through, same) if abs(e.partial) >= 0.01]
        if math.fsum(through) > 1e-6 * abs(g):
            assert unit.others == pytest.approx(
                math.fsum(open_) / math.fsum(through), rel=1e-4, abs=1e-6
            )


def test_a_healthy_net_has_none():
    for activation, init in (("tanh", "lecun"), ("sigmoid", "glorot"), ("relu", "he"),
                             ("gelu", "he"), ("elu", "he"), ("silu", "he")):  # fmt: skip
        rng = random.Random(activation)
        model = nn.MLP(6, [10, 10, 1], activation, init=init, seed=1)
        loss = nn.mse_loss([model(gauss(rng, 6)) for _ in range(16)], gauss(rng, 16))
        flow = Flow(loss)
        alive = [flow.why(n.weight[0]) for n in model.layers[0].neurons]
        assert not [x.origins for x in alive if x.verdict == "healthy" and x.origins]


def test_a_gate_with_another_way_round_it_is_not_shut():
    model = nn.MLP(2, [2, 1], "silu", seed=1)
    loss = nn.mse_loss([model([30.0 + i, 40.0]) for i in range(5)], [1.0] * 5)
    assert not why(model.layers[0].neurons[0].weight[0], loss).origins


def test_elu_is_saturated_where_its_slope_is_small():
    model = nn.MLP(2, [2, 1], "elu", seed=1)
    for neuron, bias in zip(model.layers[0].neurons, (9.0, -9.0)):
        neuron.bias.data = bias
    loss = nn.mse_loss([model([0.1 * i, 0.2]) for i in range(5)], [1.0] * 5)
    [unit] = why(model.layers[0].neurons[1].weight[1], loss).origins
    assert unit.samples == (5, 5)
    assert not why(model.layers[0].neurons[0].weight[1], loss).origins


# --- repairs of such edges are taken together -----------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_a_repair_over_all_samples_is_that_of_a_sweep_with_ones(seed):
    model, X, loss = wide_net(seed, "relu", scale=1.0)
    for neuron in model.layers[0].neurons:
        neuron.bias.data = -20.0
    loss = nn.mse_loss([model(x) for x in X], gauss(random.Random(seed), len(X)))
    for neuron in model.layers[0].neurons[:2]:
        explained = why(neuron.bias, loss)
        assert explained.verdict == "stopped"
        best = explained._best()
        if best is not None:
            same = [e for y in order(loss) for e in y.edges
                    if (e.input.label, e.node.label)
                    == (best.edge.input.label, best.edge.node.label)]  # fmt: skip
            assert best.times == len(same) == len(X)
            ones = {(e.input, e.node): 1.0 for e in same}
            assert best.gradient == pytest.approx(gradient_with(loss, neuron.bias, ones))


@pytest.mark.parametrize("seed", range(10))
def test_without_labels_too(seed):
    rng = random.Random(seed)
    ws, b, v = [[Value(20.0), Value(30.0)], [Value(0.1), Value(0.2)]], Value(90.0), Value(0.4)
    X = [gauss(rng, 2) for _ in range(5)]
    loss = by_hand(ws, [b, Value(0.3)], v, X)
    explained = why(b, loss)
    assert explained.causes[0] == "saturation"
    best = explained._best()
    tanhs = [y for y in order(loss) if y.op == "tanh" and y.inputs[0].data > 10]
    assert best.times == len(tanhs) == 5
    ones = {(y.inputs[0], y): 1.0 for y in tanhs}
    assert best.gradient == pytest.approx(gradient_with(loss, b, ones))


def test_a_weight_that_a_sample_reads_twice_keeps_its_edges_apart():
    w, loss = Value(30.0), 0.0
    for x in (1.0, 2.0, 3.0):
        h = (w * x).tanh() * 0.5
        loss = loss + ((w * h).tanh() - 0.2) ** 2
    explained = why(w, loss)
    assert len(explained.paths.activations) == 2
    assert explained._best().times == 3


# --- in sentences ---------------------------------------------------------------------------------


def sentences(node, output, **options):
    explained = why(node, output, **options)
    return [sentence for unit in explained.origins for sentence in unit.sentences]


def far_cloud(centre=100.0):
    model = nn.MLP(1, [3, 1], "sigmoid", seed=1)
    model.layers[0].neurons[0].weight[0].data = -0.89
    X = [[centre + 0.5 * i] for i in (-2, -1, 0, 1, 2)]
    return model, nn.mse_loss([model(x) for x in X], [0.1, 0.2, 0.3, 0.4, 0.5])


def test_inputs_far_from_0():
    model, loss = far_cloud()
    assert sentences(model.layers[0].neurons[0].weight[0], loss) == [
        "layers.0[0] is saturated in all 5 samples (slope below 1 % of sigmoid's largest)",
        "layers.0[0].z = -88.1 in sample 0: the input x[0] = 99 times the weight "
        "layers.0.weight[0,0] = -0.89 brings -88.1; over the samples x[0] lies in 99 … 101 and z "
        "lies in -89.9 … -88.1",
    ]
    assert not sentences(*_first_weight(far_cloud(0.0)))


def _first_weight(net):
    return net[0].layers[0].neurons[0].weight[0], net[1]


def test_they_are_printed():
    node, loss = _first_weight(far_cloud())
    text = " ".join(str(why(node, loss)).split())
    assert "saturated in all 5 samples" in text and "times the weight" in text


def test_one_sample():
    model, _ = far_cloud()
    loss = nn.mse_loss(model([99.0]), 0.2)
    assert sentences(model.layers[0].neurons[0].weight[0], loss) == [
        "layers.0[0] is saturated: at layers.0[0].z = -88.1 its slope is 5.42e-39, of at most 0.25",
        "layers.0[0].z = -88.1: the input x[0] = 99 times the weight layers.0.weight[0,0] = -0.89 "
        "brings -88.1",
    ]


def test_weights_that_are_large_beside_their_fan_in():
    rng = random.Random(0)
    model = nn.MLP(30, [4, 1], "tanh", init=lambda i, o, r: r.gauss(0, 1), seed=0)
    loss = nn.mse_loss([model(gauss(rng, 30)) for _ in range(32)], gauss(rng, 32))
    explained = why(model.layers[0].neurons[0].weight[0], loss)
    assert explained.verdict == "healthy"
    [unit] = explained.origins
    counted, because = unit.sentences
    k = unit.samples[0]
    assert counted.startswith(f"layers.0[0] is saturated in {k} of 32 samples (slope below 1 % of ")
    assert f"; the other {32 - k} bring " in counted
    assert ": a sum of 31 terms, the largest " in because
    size = math.sqrt(math.fsum(w.data**2 for w in model.layers[0].neurons[0].weight) / 30)
    assert f"; the weights' rms is {size:.3g}, where 1/√fan-in is 0.183; over the" in because
    assert "the rms of" not in because


def test_inputs_that_are_large():
    rng = random.Random(0)
    model = nn.MLP(12, [1, 1], "tanh", init="lecun", seed=3)
    X = [[rng.gauss(0, 30) for _ in range(12)] for _ in range(10)]
    loss = nn.mse_loss([model(x) for x in X], gauss(rng, 10))
    _, because = sentences(model.layers[0].neurons[0].weight[0], loss)
    x = X[int(because.split("in sample ")[1].split(":")[0])]
    size = math.sqrt(math.fsum(number**2 for number in x) / 12)
    assert f"; the rms of the inputs is {size:.3g}; over the samples the inputs lie in " in because
    assert "1/√fan-in" not in because


def test_a_relu_that_is_off_by_its_bias():
    model = nn.MLP(2, [2, 1], "relu", seed=1)
    model.layers[0].neurons[0].bias.data = -9.0
    loss = nn.mse_loss([model([0.1 * i, 0.2]) for i in range(4)], [1.0] * 4)
    for node in (model.layers[0].neurons[0].bias, model.layers[1].neurons[0].weight[0]):
        explained = why(node, loss)
        assert explained.verdict == "stopped"
        [unit] = explained.origins
        assert (unit.state, unit.samples) == ("off", (4, 4))
        [because] = unit.sentences
        assert ": the bias layers.0.bias[0] = -9 brings -9; over the samples z lies in " in because


def test_a_relu_that_is_off_in_most_samples():
    model = nn.MLP(1, [1, 1], "relu", seed=1)
    neuron = model.layers[0].neurons[0]
    neuron.weight[0].data, neuron.bias.data = 1.0, 0.0
    for above, said in ((1, True), (2, True), (3, False), (15, False)):
        X = [[1.0] if i < above else [-1.0 - i] for i in range(20)]
        loss = nn.mse_loss([model(x) for x in X], [5.0] * 20)
        found = sentences(neuron.weight[0], loss)
        assert bool(found) == said
        if said:
            assert found[0] == (
                f"layers.0[0] is off in {20 - above} of 20 samples, and nothing gets through in "
                "these"
            )


def test_a_relu_beside_others_that_are_on_is_of_no_interest():
    model = nn.MLP(1, [1, 2, 1], "relu", seed=1)
    model.layers[0].neurons[0].weight[0].data = 1.0
    for neuron, bias in zip(model.layers[1].neurons, (-9.0, 9.0)):
        neuron.bias.data = bias
    loss = nn.mse_loss([model([0.1 * (i + 1)]) for i in range(20)], [5.0] * 20)
    assert not sentences(model.layers[0].neurons[0].weight[0], loss)


def test_what_has_no_labels_is_known_by_its_weights():
    w, b = Value(9.0), Value(-1.0)
    loss = 0.0
    for x in (5.0, 7.0, 6.0):
        loss = loss + (0.5 * (w * Value(x) + b).tanh() - 0.3) ** 2
    assert sentences(w, loss) == [
        "tanh(1) is saturated in all 3 samples (slope below 1 % of tanh's largest)",
        "add(44) in sample 0: the input 5 times the weight 9 brings 45; over the samples the input "
        "lies in 5 … 7 and z lies in 44 … 62",
    ]


def test_parameters_may_be_named():
    w = Value(9.0)
    loss = ((w * 12.0 + 1.0).tanh() - 0.3) ** 2
    assert sentences(w, loss)[1] == "add(109): the number 9 times the number 12 brings 108"
    found = sentences(w, loss, parameters=[w])
    assert found[1] == "add(109): the input 12 times the weight 9 brings 108"


def test_a_leaf_is_no_sum():
    x = Value(-40.0, "x")
    y = x.sigmoid()
    y.label = "y"
    assert sentences(x, y) == ["y is saturated: at x = -40 its slope is 4.25e-18, of at most 0.25"]


def test_more_of_them_are_counted():
    rng = random.Random(2)
    model = nn.MLP(4, [6, 6, 1], "tanh", init=lambda i, o, r: r.gauss(0, 5), seed=1)
    loss = nn.mse_loss([model(gauss(rng, 4)) for _ in range(16)], gauss(rng, 16))
    paths = Paths(loss)
    node = model.layers[0].neurons[0].weight[0]
    names = {"layers.0[0]", *(f"layers.1[{i}]" for i in range(6))}
    shut = [x.label for x in order(loss) if x.label in names and abs(x.partials[0]) < 0.01]
    most = [name for name in names if shut.count(name) >= 8]
    [unit] = why(node, loss).origins
    assert paths.several and unit.more == len(most) - 1 > 1
    assert f"; {unit.more} more on the way are saturated in most samples" in unit.sentences[0]


def test_a_verdict_asks_for_none_of_it(monkeypatch):
    """It is worked out where it is printed, or asked for."""
    model, loss = far_cloud()
    explained = why(model.layers[0].neurons[0].weight[0], loss)
    assert explained.verdict == "small" and "activations" not in vars(explained.paths)
    assert mx.why(model.layers[0].neurons[0].weight[0], loss).origins


# --- at the edges ---------------------------------------------------------------------------------


def test_edges_are_the_same_by_op_by_leaves_and_by_place():
    w, v, loss = Value(0.5), Value(0.7), 0.0
    for x in (1.0, 2.0, 3.0):
        a, b = w * Value(x), v * Value(x)
        loss = loss + (a * a + a.tanh() + a.sigmoid() + b.tanh()) ** 2
    paths = Paths(loss)
    groups = {}
    for j, node in enumerate(paths.nodes):
        if len(node.inputs) == 2 and node.inputs[0] is node.inputs[1]:
            for e in range(paths.first[j], paths.first[j + 1]):
                groups.setdefault(paths.same(e), []).append(e)
    assert [len(edges) for edges in groups.values()] == [3, 3]
    assert sorted(len(every) for every, _ in paths.activations) == [3, 3, 3]


def test_what_saturates_in_the_loss_is_the_losses_affair():
    model = nn.MLP(1, [1], seed=1)
    [layer] = model.layers
    layer.neurons[0].weight[0].data, layer.neurons[0].bias.data = 1.0, -30.0
    loss = total([model([float(i)]).softplus() for i in range(4)])
    assert not why(layer.neurons[0].weight[0], loss).origins
    deep = nn.MLP(1, [1, 1], "tanh", seed=1)
    deep.layers[0].neurons[0].weight[0].data, deep.layers[1].neurons[0].bias.data = 9.0, -60.0
    [unit] = why(deep.layers[0].neurons[0].weight[0], deep([1.0]).softplus()).origins
    assert unit.edge.node.label == "layers.0[0]"


def test_a_flat_loss_and_a_kink_have_none():
    model = nn.MLP(1, [1], seed=1)
    bias = model.layers[0].neurons[0].bias
    bias.data = 50.0
    loss = total([(1.0 - model([float(i)])).relu() for i in range(4)])
    explained = why(bias, loss)
    assert explained.causes == ["flat loss"] and not explained.origins
    x = Value(0.0, "x")
    assert why(x, (x * 2.0).relu()).causes == ["kink"]
    assert not why(x, (x * 2.0).relu()).origins


def test_a_linear_op_that_adds_a_constant():
    shift = Rule(lambda xp, x: (2.0 * x + 1.5, 2.0), kind="linear")
    z = apply(shift, Value(3.0, "x"))
    assert amounts(z, z) == [1.5, 6.0]


def test_sums_that_are_not_alike_have_no_ranges():
    w, b, loss = Value(30.0, "w"), Value(2.0, "b"), 0.0
    for i, x in enumerate((1.0, 2.0, 3.0)):
        z = b + w * x if i == 1 else w * x
        y = z.tanh()
        z.label, y.label = "h[0].z", "h[0]"
        loss = loss + (y - 0.5) ** 2
    explained = why(w, loss)
    assert explained.origins[0].ranges == [None]
    assert explained.origins[0].because == (
        "h[0].z = 30 in sample 0: the input 1 times the weight w = 30 brings 30; over the samples "
        "z lies in 30 … 90"
    )


def test_two_terms_that_oppose_each_other_are_both_named():
    w, b = Value(10.0, "w"), Value(-60.0, "b")
    loss = total([((w * x + b).tanh() - 0.5) ** 2 for x in (10.0, 11.0, 12.0)])
    assert sentences(w, loss)[1] == (
        "add(40) in sample 0: the input 10 times the weight w = 10 brings 100 and the bias b = -60 "
        "brings -60; over the samples the input lies in 10 … 12 and z lies in 40 … 60"
    )


def test_where_something_is_not_finite_there_are_none():
    for odd, count in ((5.0, 1), (math.nan, 0)):
        model = nn.MLP(1, [1, 1], "tanh", seed=1)
        node = model.layers[0].neurons[0].weight[0]
        node.data = 30.0
        loss = nn.mse_loss([model([x]) for x in (1.0, 2.0, odd)], [1.0, 2.0, 3.0])
        assert len(why(node, loss).origins) == count


def test_a_node_of_one_sample_is_told_of_no_others():
    model = nn.MLP(1, [1, 2, 1], "tanh", seed=1)
    model.layers[0].neurons[0].weight[0].data = 0.1
    model.layers[1].neurons[0].bias.data = 20.0
    loss = nn.mse_loss([model([x]) for x in (1.0, 2.0, 3.0)], [1.0, 2.0, 3.0])
    weight, *hidden = [model.layers[0].neurons[0].weight[0]] + [
        x for x in order(loss) if x.label == "layers.0[0]"
    ]
    assert len(hidden) == 3 and why(weight, loss).origins
    assert not any(why(h, loss).origins for h in hidden)


def test_of_many_that_stop_it_two_are_told_of():
    model = nn.MLP(1, [1, 4, 1], "relu", seed=1)
    model.layers[0].neurons[0].weight[0].data = 1.0
    for neuron in model.layers[1].neurons:
        neuron.bias.data = -90.0
    loss = nn.mse_loss([model([x]) for x in (1.0, 2.0)], [1.0, 2.0])
    assert len(why(model.layers[0].neurons[0].weight[0], loss).origins) == 2


def test_one_term_has_its_sign_and_two_have():
    for xs, words in (
        ((9.0, -4.0, -4.0), "1 of them has its sign"),
        ((5.0, 4.0, -8.0), "2 of them have its sign"),
    ):
        ws = [Value(1.0, f"w{i}") for i in range(3)]
        z = mx.sum([w * x for w, x in zip(ws, xs)]) * 2.0
        (unit,) = why(ws[0], (-1.0 * z).relu() * 1.0).origins
        assert words in unit.because


def test_gates_in_series_are_told_of_in_the_sample_that_is_named():
    model = nn.MLP(1, [1, 1, 1], "relu", seed=1)
    for layer in model.layers[:2]:
        layer.neurons[0].bias.data = -90.0
    loss = nn.mse_loss([model([x]) for x in (1.0, 2.0, 3.0)], [1.0] * 3)
    explained = why(model.layers[0].neurons[0].weight[0], loss)
    units = explained.origins
    assert [x.edge.node.label for x in units] == ["layers.0[0]", "layers.1[0]"]
    for unit, sentence in zip(units, explained.because[1:]):
        assert f".z = {unit.edge.input.data:.3g} < 0, in all 3 samples" in sentence


def series(*scales):
    """tanh(s · tanh(s · …)) of a weight, in one sample."""
    y = w = Value(1.0, "w")
    for i, s in enumerate(scales):
        y = (y * s).tanh()
        y.label = f"h{i}"
    return w, y


def test_a_cause_is_told_of_where_nothing_is_below_1_percent():
    w, y = series(1.5, 1.8, 1.6, 1.7, 1.2, 1.7, 1.5, 1.4, 1.6, 1.9, 1.6, 1.8)
    explained = why(w, y)
    if "saturation" in explained.causes:
        flattest = min((x for x in order(y) if x.op == "tanh"), key=lambda x: x.partials[0])
        [unit] = explained.origins
        assert unit.edge.node is flattest and unit.samples == (0, 1)
        assert " is the most saturated on the way: at " in unit.counted
    assert "saturation" in explained.causes


def test_of_two_in_series_the_one_that_takes_more():
    for scales, worst in (((4.0, 6.0), "h1"), ((6.0, 4.0), "h0")):
        [unit] = why(*series(*scales)).origins
        assert unit.edge.node.label == worst or not unit.edge.node.label


def test_one_healthy_sample_is_not_counted():
    model = nn.MLP(1, [1, 2, 1], "tanh", seed=1)
    model.layers[0].neurons[0].weight[0].data = 0.5
    model.layers[1].neurons[0].bias.data = 20.0
    explained = why(model.layers[0].neurons[0].weight[0], nn.mse_loss(model([1.0]), 3.0))
    assert explained.verdict == "healthy" and not explained.origins
    assert "tangents" not in vars(explained)  # nor is it looked for


def test_of_several_the_one_that_is_saturated_in_most_samples():
    model = nn.MLP(1, [1, 2, 1], "tanh", seed=1)
    for neuron, scale in zip((model.layers[0].neurons + model.layers[1].neurons), (1.0, 9.0, 99.0)):
        neuron.weight[0].data = scale
    X = [[0.05 * 1.5**i] for i in range(12)]
    loss = nn.mse_loss([model(x) for x in X], [3.0] * 12)
    explained = why(model.layers[0].neurons[0].weight[0], loss)
    assert explained.verdict == "healthy"
    [unit] = explained.origins
    assert unit.edge.node.label == "layers.1[1]" and unit.more == 1


def test_off_ones_behind_others_are_not_counted_as_if_all_came_there():
    model = nn.MLP(1, [1, 1, 1], "relu", seed=1)
    for layer, bias in zip(model.layers, (0.0, -5.0, 0.0)):
        layer.neurons[0].weight[0].data, layer.neurons[0].bias.data = 1.0, bias
    X = [[-1.0]] * 18 + [[1.0]] * 11 + [[9.0]]
    loss = nn.mse_loss([model(x) for x in X], [7.0] * 30)
    assert not why(model.layers[0].neurons[0].weight[0], loss).origins


def test_off_ones_side_by_side_are_counted():
    model = nn.MLP(1, [1, 2, 1], "relu", seed=1)
    model.layers[0].neurons[0].weight[0].data = 1.0
    for neuron in model.layers[1].neurons:
        neuron.weight[0].data, neuron.bias.data = 1.0, -5.0
    loss = nn.mse_loss([model([x]) for x in [1.0] * 19 + [9.0]], [7.0] * 20)
    assert sentences(model.layers[0].neurons[0].weight[0], loss)[0] == (
        "layers.1[0] is off in 19 of 20 samples, and nothing gets through in these; 1 more on the "
        "way is off in most samples"
    )


def test_weights_that_are_scaled_down_are_not_large():
    rng = random.Random(0)
    w = [Value(rng.gauss(0, 1), f"w{i}") for i in range(30)]
    ys = []
    for _ in range(10):
        z = dot(w, gauss(rng, 30, 20.0)) / math.sqrt(30)
        ys.append((z.tanh() - 0.5) ** 2)
    _, because = sentences(w[0], total(ys))
    assert "the rms of the inputs is " in because and "1/√fan-in" not in because


def test_what_is_twice_in_a_sample_is_counted_by_place():
    w, loss = Value(30.0, "w"), 0.0
    for x in (1.0, 2.0, 3.0):
        h = Value(1.0)
        for _ in range(2):
            z = w * x * h
            h = z.tanh()
            z.label, h.label = "h.z", "h"
        loss = loss + (h - 0.2) ** 2
    [unit] = why(w, loss).origins
    assert unit.samples == (6, 6) and " is saturated in all 6 places (" in unit.counted


def test_sizes_are_told_only_where_they_are_to_blame():
    """A gate is off by a sign, whatever the scale; a bias needs no weights."""
    rng = random.Random(0)
    for activation, bias, told in (
        ("tanh", 0.0, True),
        ("tanh", 900.0, False),
        ("relu", 0.0, False),
    ):
        model = nn.MLP(20, [1, 1], activation, init=lambda i, o, r: -abs(r.gauss(0, 9)), seed=1)
        neuron = model.layers[0].neurons[0]
        neuron.bias.data = bias
        X = [[abs(x) for x in gauss(rng, 20)] for _ in range(6)]
        unit = why(neuron.weight[0], nn.mse_loss([model(x) for x in X], [1.0] * 6)).origins[0]
        assert ("1/√fan-in" in unit.because) == told, unit.because
        assert ("of them have its sign" in unit.because) == (activation == "relu")
