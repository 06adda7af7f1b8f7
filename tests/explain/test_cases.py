"""Nets of real questions, small: the first cause is the true one, as its remedy shows.

They are kinds of trouble that people had, each with neighbours: other widths, seeds and data.
Where no gradient knows what is wrong, `why` names no wrong cause, and says where else to look.
"""

import math
import random

import pytest

import microgradx as mx
from microgradx import Flow, nn, optim, why

SEEDS = (0, 1, 2)
ELSEWHERE = "Step size, data and minima are not judged here: look there if it does not learn"


def normal(i, o, rng):
    return rng.gauss(0.0, 1.0)


def tiny(i, o, rng):
    return rng.gauss(0.0, 1e-3)


def points(n, width, seed, least=-1.0, most=1.0):
    rng = random.Random(f"points {seed}")
    return [[rng.uniform(least, most) for _ in range(width)] for _ in range(n)]


def loss_of(model, X, y, of=nn.mse_loss):
    return of([model(x) for x in X], y)


def trained(model, X, y, loss="mse", epochs=100, lr=0.05, by=optim.SGD, batch=None):
    """The loss after training."""
    steps = by(model.parameters(), lr=lr)
    history = mx.fit(model, X, y, loss=loss, epochs=epochs, batch_size=batch, seed=0,
                     optimizer=steps)  # fmt: skip
    return history[-1].loss


def dead_in_every_sample(model, X, y, of=nn.mse_loss):
    """The parameters whose gradient is 0 in each sample by itself, by plain sweeps."""
    dead = {*model.parameters()}
    for x, t in zip(X, y):
        model.zero_grad()
        of([model(x)], [t]).backward()
        dead -= {p for p in dead if p.grad}
    model.zero_grad()
    return dead


def check_mended(model, X, y, of=nn.mse_loss):
    """Nothing is said but "healthy", but for what chance brings.

    That is "stopped" of what truly is, on every sample; "small" before a neuron that nobody heeds,
    as its weights out are small; and "cancelled" of one in 1,250.
    """
    it = why(model, loss_of(model, X, y, of))
    other = {p for name, nodes in it.verdicts.items() if name != "healthy" for p in nodes}
    if other:
        assert {*it.verdicts.get("stopped", ())} == dead_in_every_sample(model, X, y, of)
        assert not it.verdicts.get("cancelled") or it._chance
        assert {*it.verdicts.get("small", ())} <= behind_unheeded_neurons(model)
        assert "large" not in it.verdicts


def behind_unheeded_neurons(model):
    """The parameters of neurons whose weights out are a tenth of those of others, or less."""
    found = set()
    for layer, above in zip(model.layers, model.layers[1:]):
        columns = [*zip(*(neuron.weight for neuron in above.neurons))]
        sizes = [math.hypot(*(w.data for w in column)) for column in columns]
        usual = sorted(sizes)[len(sizes) // 2]
        for neuron, size in zip(layer.neurons, sizes):
            if size < 0.1 * usual:
                found |= {*neuron.weight, neuron.bias}
    return found


def check_points_on(it):
    """It judges what it can, and says what it does not speak of."""
    assert it.verdict == "healthy" and not it.causes
    assert it.because[-1] == ELSEWHERE


# --- the cause is in the gradient -----------------------------------------------------------------


@pytest.mark.parametrize("width, seed", [(3, 3), (3, 7), (4, 5)])
def test_neurons_that_are_off_on_all_data(width, seed):
    """A few ReLUs learn a distance, and some die."""
    X = points(100, 2, seed)
    y = [math.hypot(*x) for x in X]

    def learnt(width):
        model = nn.MLP(2, [width, 1], init="glorot", seed=seed)
        return model, trained(model, X, y, epochs=150, lr=0.02, by=optim.Adam, batch=20)

    model, stuck = learnt(width)
    layer, loss = model.layers[0], loss_of(model, X, y)
    dead = [n for n in layer.neurons if max(float(n(x).data) for x in X) <= 0]
    assert dead and (it := why(model, loss)).worst[0].causes == ["relu off"]
    off = [p for n in dead for p in (*n.weight, n.bias)]
    assert [p for p in it.verdicts["stopped"] if p in layer.parameters()] == [
        p for p in layer.parameters() if p in off
    ]
    for neuron in dead:
        assert "in all 100 samples" in str(why(neuron.bias, loss))
    check_mended(nn.MLP(2, [4 * width, 1], init="glorot", seed=seed), X, y)
    assert learnt(4 * width)[1] < 0.1 * stuck


@pytest.mark.some(1)
@pytest.mark.parametrize("centre, width, seed", [(10, 3, 1), (30, 4, 2), (100, 3, 3), (-50, 5, 4)])
def test_inputs_far_from_0_saturate_the_first_layer(centre, width, seed):
    centred = points(40, 1, seed)
    y = [0.5 * x + 0.3 * math.sin(3 * x) for [x] in centred]
    far = [[centre + x] for [x] in centred]

    def net():
        return nn.MLP(1, [width, width, 1], "sigmoid", init="glorot", seed=seed)

    model = net()
    layer, loss = model.layers[0], loss_of(model, far, y)
    it = why(layer, loss)
    assert it.worst[0].verdict == "small" and it.worst[0].causes[0] == "saturation"
    slopes = [max(s * (1 - s) for x in far for s in [1 / (1 + math.exp(-z(n, x)))])
              for n in layer.neurons]  # fmt: skip
    flow = Flow(loss)
    for neuron, slope in zip(layer.neurons, slopes):
        each = flow.why(neuron.weight[0])
        if slope < 1e-4:
            assert each.causes[0] == "saturation"
            assert max(each.tangents.by_layer.items(), key=lambda x: -x[1])[0] == "layers.0"
    check_mended(net(), centred, y)
    stuck, learnt = (trained(net(), X, y, epochs=1500, lr=0.5) for X in (far, centred))
    assert learnt < 0.1 * stuck


def z(neuron, x):
    return neuron.bias.data + sum(w.data * a for w, a in zip(neuron.weight, x))


@pytest.mark.some(1)
@pytest.mark.parametrize("widths, seed", [([16, 16, 1], 0), ([8, 8, 1], 1), ([12, 12, 12, 1], 2)])
def test_an_initialiser_that_is_too_small_for_the_depth(widths, seed):
    X = points(40, 1, seed)
    y = [x / 2 for [x] in X]

    def net(init):
        return nn.MLP(1, widths, init=init, seed=seed)

    model = net(tiny)
    flow = Flow(loss_of(model, X, y))
    it = why(model.layers[0], flow)
    small = [flow.why(p) for p in it.verdicts["small"]]
    assert len(small) >= 0.9 * len(it.nodes)
    assert {each.causes[0] for each in small} == {"weight scale"}
    check_mended(net("he"), X, y)
    stuck, learnt = (trained(net(init), X, y, epochs=60, lr=0.01, batch=1) for init in (tiny, "he"))
    assert learnt < 0.1 * stuck


@pytest.mark.some(1)
@pytest.mark.parametrize("depth, width, seed", [(4, 20, 0), (4, 12, 1), (5, 12, 2)])
def test_many_sigmoids_in_a_row(depth, width, seed):
    rng = random.Random(seed)
    X = [[float(rng.random() < 0.5) for _ in range(10)] for _ in range(40)]
    w = [rng.gauss(0, 1) for _ in range(10)]
    y = [math.sin(sum(a * b for a, b in zip(w, x))) for x in X]

    def net(activation):
        return nn.MLP(10, [width] * depth + [1], activation, init="glorot", seed=seed)

    model = net("sigmoid")
    flow = Flow(loss_of(model, X[:8], y[:8]))
    it = why(model.layers[0], flow)
    assert len(it.verdicts["small"]) > len(it.nodes) / 2
    assert {flow.why(p).causes[0] for p in it.verdicts["small"][::20]} == {"sigmoid chain"}
    check_mended(net("tanh"), X[:8], y[:8])
    spread = sum(t * t for t in y) / 40 - (sum(y) / 40) ** 2
    stuck, learnt = (trained(net(a), X, y, epochs=60, batch=5) for a in ("sigmoid", "tanh"))
    assert learnt < 0.5 * stuck and stuck > 0.8 * spread


@pytest.mark.some(1)
@pytest.mark.parametrize("kind, seed", [("large", 0), ("below", 1), ("large", 2)])
def test_targets_that_a_sigmoid_cannot_reach(kind, seed):
    """The more it learns the less gets through; a linear output learns."""
    X = points(40, 6, seed, -2.0, 2.0)
    y = [50 + 45 * math.tanh(x[0]) if kind == "large" else -1 - abs(x[0]) for x in X]

    def net(output):
        return nn.MLP(6, [8, 1], "sigmoid", output, init="glorot", seed=seed)

    model = net("sigmoid")
    check_points_on(why(model.layers[1].neurons[0].bias, loss_of(model, X, y)))  # at first
    trained(model, X, y, epochs=400, lr=0.1, batch=1)
    flow = Flow(loss_of(model, X, y))
    it = why(model.layers[0], flow)
    assert len(it.verdicts["small"]) > 0.8 * len(it.nodes)
    for each in map(flow.why, it.verdicts["small"]):
        assert each.causes[0] == "saturation" and "loss scale" not in each.causes
        brings = each.tangents.by_layer
        assert brings["layers.1"] < brings["layers.0"] < 0
    mean = sum(y) / len(y)
    scale = math.sqrt(sum((t - mean) ** 2 for t in y) / len(y))
    scaled = [(t - mean) / scale for t in y]
    check_mended(net(None), X, scaled)
    assert trained(net(None), X, scaled, epochs=400, lr=0.1, batch=1) < 0.5  # of the variance
    assert loss_of(model, X, y).data > 0.9 * scale**2


class Sigmoids(nn.Module):
    """Layers of sigmoids, with a norm before each, or without."""

    def __init__(self, norm, width=8, depth=4, seed=0):
        self.hidden = [nn.Layer(width if i else 3, width, None, "glorot", 9 * seed + i)
                       for i in range(depth)]  # fmt: skip
        self.norms = [nn.BatchNorm(width) for _ in range(depth)] if norm else []
        self.out = nn.Layer(width, 1, None, "glorot", 9 * seed + depth)

    def __call__(self, xs):
        for i, layer in enumerate(self.hidden):
            xs = [layer(x) for x in xs]
            xs = self.norms[i](xs) if self.norms else xs
            xs = [[z.sigmoid() for z in row] for row in xs]
        return [self.out(x) for x in xs]

    def after(self, steps, X, y, lr=0.3):
        sgd = optim.SGD(self.parameters(), lr=lr)
        for _ in range(steps):
            loss = nn.mse_loss(self(X), y)
            self.zero_grad()
            loss.backward()
            sgd.step()
        return loss.data


@pytest.mark.parametrize("width, seed", [(8, 0), (5, 1), (6, 2)])
def test_a_batch_of_equal_samples_has_nothing_to_norm(width, seed):
    X = points(8, 3, seed, -2.0, 2.0)
    y = [a * b for a, b, _ in X]
    model = Sigmoids(True, width, seed=seed)
    flow = Flow(nn.mse_loss(model([X[0]] * 4), y[:4]))
    for layer in model.hidden:
        for p in layer.parameters()[::5]:
            it = flow.why(p)
            assert (it.verdict, it.causes[:2]) == (
                "cancelled",
                ["opposing samples", "equal samples"],
            )
    it = flow.why(model.hidden[0].neurons[0].bias)
    assert "All samples are equal where norms.0 reads them" in str(it)
    flow = Flow(nn.mse_loss(model(X), y))
    weights = [w for layer in model.hidden for n in layer.neurons for w in n.weight]
    it = why(weights, flow)
    assert len(it.verdicts["healthy"]) >= 0.98 * len(weights)
    biases = why([n.bias for layer in model.hidden for n in layer.neurons], flow)
    assert [*biases.verdicts] == ["cancelled"]
    assert all(flow.why(p).causes == ["opposing samples", "before a norm"] for p in biases.nodes)


@pytest.mark.some(1)
@pytest.mark.parametrize("width, seed", [(8, 0), (6, 2)])
def test_a_norm_mends_what_sigmoids_vanish_in(width, seed):
    X = points(8, 3, seed, -2.0, 2.0)
    y = [a * b for a, b, _ in X]
    without, normed = (Sigmoids(norm, width, 5, seed) for norm in (False, True))
    it = why(without.hidden[0], flow := Flow(nn.mse_loss(without(X), y)))
    assert len(it.verdicts["small"]) > len(it.nodes) / 2
    assert {flow.why(p).causes[0] for p in it.verdicts["small"]} == {"sigmoid chain"}
    weights = [w for n in normed.hidden[0].neurons for w in n.weight]
    assert "small" not in why(weights, nn.mse_loss(normed(X), y)).verdicts
    assert normed.after(60, X, y) < 0.5 * without.after(60, X, y)


@pytest.mark.some(1)
@pytest.mark.parametrize("depth, width, seed", [(8, 24, 0), (10, 16, 1), (7, 20, 2)])
def test_weights_that_are_too_large_make_it_explode(depth, width, seed):
    X = points(4, 8, seed, -2.0, 2.0)
    y = [x[0] for x in X]

    def net(init):
        return nn.MLP(8, [width] * depth + [1], init=init, seed=seed)

    model = net(normal)
    flow = Flow(loss_of(model, X, y))
    it = why(model.layers[0], flow)
    assert len(it.verdicts["large"]) > 0.5 * len(it.nodes)
    assert {flow.why(p).causes[0] for p in it.verdicts["large"][::20]} == {"weight scale"}
    mended = net("he")
    it = why(mended.layers[0], loss_of(mended, X, y))
    assert {*it.verdicts} <= {"stopped", "healthy", *(["cancelled"] if it._chance else [])}
    assert not trained(model, X, y, epochs=6, lr=0.01) < 1e9  # or nan
    assert trained(mended, X, y, epochs=40, lr=0.01) < 1.0


def test_after_it_has_exploded_the_leaves_are_named():
    X = points(6, 8, 0)
    model = nn.MLP(8, [24] * 8 + [1], init=normal, seed=0)
    for p in model.layers[0].parameters()[:3]:
        p.data = math.nan
    it = why(model.layers[0].neurons[1].weight[0], loss_of(model, X, [1.0] * 6))
    assert it.verdict == "not finite" and it.causes == ["value not finite"]
    assert "layers.0.weight[0,2] is nan: a leaf" in str(it) and "2 more like it" in str(it)


# --- the cause is in no gradient: `why` names no wrong one, and points on -------------------------

XOR = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0, 1, 1, 0]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_linear_net_at_its_least_loss_is_opposed_by_its_samples(seed):
    model = nn.MLP(2, [2], seed=seed)
    check_points_on(why(model.layers[0].neurons[0].bias, loss_of(model, *XOR, nn.cross_entropy)))
    stuck = trained(model, *XOR, "cross_entropy", 1000, 0.5)
    it = why(model, loss_of(model, *XOR, nn.cross_entropy))
    assert [*it.verdicts] == ["cancelled"]
    for each in it.worst:
        assert each.causes == ["opposing samples"]
        assert "The samples pull against each other, as they do where a loss is least" in str(each)
        assert "brings 0.125" in str(each)
    mended = nn.MLP(2, [6, 2], "tanh", init="glorot", seed=seed)
    check_mended(mended, *XOR, nn.cross_entropy)
    assert trained(mended, *XOR, "cross_entropy", 1000, 0.5) < 0.1 * stuck


def softmax(row):
    powers = [z.exp() for z in row]
    total = mx.sum(powers)
    return [p / total for p in powers]


class Twice(nn.Module):
    """Probabilities given to a loss that takes logits: it can't fall below ln(1 + (k - 1) / e)."""

    def __init__(self, seed):
        self.body = nn.MLP(8, [12, 6], "tanh", init="glorot", seed=seed)

    def __call__(self, x):
        return softmax(self.body(x))


@pytest.mark.some(1)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_softmax_before_a_cross_entropy_is_no_optimum(seed):
    rng = random.Random(seed)
    centres = points(6, 8, seed)
    X = [[a + rng.gauss(0, 0.1) for a in centres[i % 6]] for i in range(30)]
    y = [i % 6 for i in range(30)]
    model = Twice(seed)
    for epochs in (0, 60):
        if epochs:
            stuck = trained(model, X, y, "cross_entropy", epochs, 0.3, batch=1)
        it = why(model, flow := Flow(loss_of(model, X, y, nn.cross_entropy)))
        assert {*it.verdicts} <= {"healthy", "cancelled"}
        for p in it.verdicts.get("cancelled", ()):  # numerator and denominator of a saturated one
            assert epochs and flow.why(p).causes == ["opposing paths", "saturated softmax"]
        for p in it.verdicts["healthy"][::20]:
            check_points_on(flow.why(p))
            assert epochs or "optimum" not in str(flow.why(p))
    assert stuck > math.log(1 + 5 / math.e)
    mended = nn.MLP(8, [12, 6], "tanh", init="glorot", seed=seed)
    check_mended(mended, X, y, nn.cross_entropy)
    assert trained(mended, X, y, "cross_entropy", 60, 0.3, batch=1) < 0.2 * stuck


@pytest.mark.some(1)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_step_uphill_is_in_no_gradient(seed):
    X = points(20, 10, seed)
    rng = random.Random(seed)
    y = [[float(i == k) for i in range(5)] for k in (rng.randrange(5) for _ in X)]

    def net():
        return nn.MLP(10, [8, 5], "sigmoid", "sigmoid", init="glorot", seed=seed)

    model, mended = net(), net()
    first = loss_of(model, X, y)
    check_mended(model, X, y)
    for each, sign in ((model, 1.0), (mended, -1.0)):
        for _ in range(10):
            loss = loss_of(each, X, y)
            each.zero_grad()
            loss.backward()
            for p in each.parameters():
                p.data += sign * 3.0 * p.grad
    check_points_on(why(model.layers[1].neurons[0].bias, first))
    assert loss_of(model, X, y).data > first.data > loss_of(mended, X, y).data
    for it in why(model, Flow(loss_of(model, X, y))).worst:
        assert it.verdict == "healthy" or it.causes[0] == "saturation"


@pytest.mark.some(1)
@pytest.mark.parametrize("width, seed", [(30, 0), (20, 1), (40, 2)])
def test_a_first_loss_too_large_and_a_third_of_saturated_units_are_no_illness_yet(width, seed):
    X = points(12, 20, seed, -1.7, 1.7)
    rng = random.Random(seed)
    y = [rng.randrange(27) for _ in X]

    def net(init):
        return nn.MLP(20, [width, 27], "tanh", init=init, seed=seed)

    model = net(normal)
    first = loss_of(model, X, y, nn.cross_entropy)
    layer, flow = model.layers[0], Flow(first)
    it = why(layer, flow)
    assert len(it.verdicts["healthy"]) >= 0.99 * len(it.nodes)
    for p in it.verdicts["healthy"][::50]:
        check_points_on(flow.why(p))
    mended = net("lecun")
    check_mended(mended, X, y, nn.cross_entropy)
    assert first.data > 2 * math.log(27) > 1.5 * loss_of(mended, X, y, nn.cross_entropy).data


@pytest.mark.some(1)
@pytest.mark.parametrize("width, seed", [(20, 42), (12, 1)])
def test_a_step_too_small_is_in_no_gradient(width, seed):
    X = points(60, 2, seed, 0.0, 1.0)
    y = [int(a + (2 * (b - 0.5)) ** 2 >= 0.75) for a, b in X]

    def net():
        return nn.MLP(2, [width, width, 1], "sigmoid", init="glorot", seed=seed)

    model = net()
    of = nn.binary_cross_entropy_with_logits
    for epochs in (0, 60):
        if epochs:
            stuck = trained(model, X, y, "binary_cross_entropy", epochs, 1e-3, optim.Adam, 20)
        flow = Flow(loss_of(model, X, y, of))
        assert [*why(model.layers[0], flow).verdicts] == ["healthy"]
        for p in (model.layers[0].neurons[0].weight[0], model.layers[2].neurons[0].bias):
            check_points_on(flow.why(p))
    learnt = trained(net(), X, y, "binary_cross_entropy", 400, 3e-2, optim.Adam, 20)
    assert learnt < 0.3 * stuck
