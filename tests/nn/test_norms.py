"""Batch norm, layer norm and residual blocks, their state, and what training mode changes."""

import copy
import math
import pickle

import numpy as np
import pytest

import microgradx as mx
from microgradx import nn
from microgradx.engine import Value, order
from microgradx.nn import MLP, BatchNorm, Layer, LayerNorm, Module, Residual, WeightsError
from microgradx.pictures.render import RendererNotFound, find_renderer
from microgradx.replay import FrozenBranch

X = [[0.5, -1.5, 2.0], [1.25, 0.75, -0.5], [-2.0, 3.0, 1.0], [0.25, -0.25, 4.0]]
X2 = [[1.0, 2.0, 3.0], [-1.5, 0.5, 2.5], [0.0, -3.0, 1.5]]
WEIGHT, BIAS = [1.5, -0.5, 2.0], [0.25, -1.0, 0.5]
G = [[1.0, -2.0, 0.5], [0.25, 1.5, -1.0], [2.0, 0.5, 0.75], [-1.0, 1.0, -0.25]]  # ∂loss/∂y
EPS = 1e-5

# The results of PyTorch 2.13.0 in float64: BatchNorm1d(3) of X, then of X2, with `momentum`;
# LayerNorm(3) of X[0]. The gradients are those of Σ G · y.
BATCH_NORM = {
    "y": [[0.8688506410332755, -0.39352268049643924, 0.9588306091115473],
          [1.7971266025831887, -1.0758096649379452, -2.1000401182987676],
          [-2.225402564133102, -1.758096649379451, -0.2647176818525787],
          [0.5594253205166377, -0.7725710051861647, 3.4059271910397992]],
    "x.grad": [[0.9035853057827694, 0.41041884119055144, 0.5581099476040261],
               [0.5184458365508365, -0.34506480678335616, -0.9194511696552505],
               [0.33083161345605294, 0.2640255141257479, 1.0071015480198227],
               [-1.752862755789659, -0.32937954853294316, -0.6457603259685982]],
    "weight.grad": [-2.8363987714025125, 2.9565769325798588, 0.7647176818525787],
    "bias.grad": [2.25, 1.0, 0.0],
}  # fmt: skip
RUNNING = {
    0.1: {
        "running_mean": [-0.016666666666666666, 0.02833333333333334, 0.3795833333333334],
        "running_var": [1.1445833333333333, 1.7945833333333336, 1.1889583333333336],
        "X2[0] in evaluation": [1.6754245608675056, -1.7359028308203384, 5.306347915513634],
    },
    None: {
        "running_mean": [-0.08333333333333333, 0.16666666666666669, 1.9791666666666667],
        "running_var": [1.7708333333333333, 5.104166666666667, 2.0729166666666665],
        "X2[0] in evaluation": [1.471133919713371, -1.4057407149997272, 1.9180543259960001],
    },
}
LAYER_NORM = {
    "y": [0.4243710339704864, -0.36063954210821625, 2.8249471196064864],
    "x.grad": [0.23092380938692703, -0.09896742766938682, -0.1319563817175402],
    "weight.grad": [0.11624735598032429, 2.557441831567135, 0.5812367799016216],
    "bias.grad": [1.0, -2.0, 0.5],
}


def close(numbers):
    return pytest.approx(np.array(numbers), rel=1e-12, abs=1e-12)


def values(x):
    return [values(part) for part in x] if np.ndim(x) else Value(float(x))


def data(x):
    return np.array([data(part) for part in x]) if isinstance(x, list) else x.data


def grads(x):
    return np.array([grads(part) for part in x]) if isinstance(x, list) else x.grad


def weighted(norm):
    norm.load_state_dict({"weight": WEIGHT, "bias": BIAS}, strict=False)
    return norm


def weigh(ys, gs):
    """Σ g · y, so that the adjoint of each y is its g."""
    return mx.dot([g for row in gs for g in row], [y for row in ys for y in row])


def random_batch(seed, n=7, width=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, width)) * rng.uniform(0.1, 5, width) + rng.normal(size=width)


# --- what they compute --------------------------------------------------------------------------


def normed(x, weight, bias, axis, eps=EPS):
    """The formula in NumPy: over a batch along axis 0, over features along axis 1."""
    mean, var = x.mean(axis, keepdims=True), x.var(axis, keepdims=True)
    return (x - mean) / np.sqrt(var + eps) * weight + bias


def normed_backward(x, weight, g, axis, eps=EPS):
    """Ioffe and Szegedy's closed form: the gradients of x, weight, bias, where that of y is g."""
    hat = normed(x, 1.0, 0.0, axis, eps)
    gh = g * weight
    inner = gh - gh.mean(axis, keepdims=True) - hat * (gh * hat).mean(axis, keepdims=True)
    gx = inner / np.sqrt(x.var(axis, keepdims=True) + eps)
    return gx, (g * hat).sum(0), g.sum(0)


def over(norm, xs):
    """The outputs for a batch, which layer norm takes sample by sample."""
    return norm(xs) if isinstance(norm, BatchNorm) else [norm(row) for row in xs]


KINDS = [(BatchNorm, 0), (LayerNorm, 1)]


@pytest.mark.parametrize("kind, axis", KINDS)
@pytest.mark.parametrize("eps", [EPS, 0.0, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_outputs_and_gradients_are_their_closed_forms(kind, axis, eps, seed):
    x, g = random_batch(seed), random_batch(seed + 50)
    norm, inputs = weighted(kind(3, eps)), values(x)
    ys = over(norm, inputs)
    weigh(ys, g).backward()
    assert data(ys) == close(normed(x, np.array(WEIGHT), np.array(BIAS), axis, eps))
    gx, gw, gb = normed_backward(x, np.array(WEIGHT), g, axis, eps)
    assert grads(inputs) == close(gx)
    assert grads(norm.weight) == close(gw)
    assert grads(norm.bias) == close(gb)


@pytest.mark.parametrize("kind, axis", KINDS)
def test_gradients_are_finite_differences_of_the_forward_pass_in_numpy(kind, axis):
    x, g, h = random_batch(1), random_batch(2), 1e-6
    inputs = values(x)
    weigh(over(weighted(kind(3)), inputs), g).backward()
    for i in np.ndindex(x.shape):
        ends = []
        for side in (x.copy(), x.copy()):
            side[i] += h if not ends else -h
            ends.append((normed(side, np.array(WEIGHT), np.array(BIAS), axis) * g).sum())
        assert inputs[i[0]][i[1]].grad == pytest.approx((ends[0] - ends[1]) / (2 * h), abs=1e-7)


def test_batch_norm_gives_pytorchs_numbers():
    norm, inputs = weighted(BatchNorm(3)), values(X)
    ys = norm(inputs)
    weigh(ys, G).backward()
    found = {"y": data(ys), "x.grad": grads(inputs), "weight.grad": grads(norm.weight),
             "bias.grad": grads(norm.bias)}  # fmt: skip
    for name, numbers in BATCH_NORM.items():
        assert found[name] == close(numbers), name


@pytest.mark.parametrize("momentum", RUNNING)
def test_running_statistics_and_evaluation_are_pytorchs(momentum):
    norm, expected = weighted(BatchNorm(3, momentum=momentum)), RUNNING[momentum]
    norm(X)
    norm(values(X2))
    assert norm.running_mean == close(expected["running_mean"])
    assert norm.running_var == close(expected["running_var"])
    assert norm.num_batches_tracked == 2
    assert {type(x) for x in norm.running_mean + norm.running_var} == {float}
    assert type(norm.running_mean) is type(norm.running_var) is list
    assert type(norm.num_batches_tracked) is int
    for x in (X2[0], values(X2[0]), np.array(X2[0])):
        assert data(norm.eval()(x)) == close(expected["X2[0] in evaluation"])


def test_layer_norm_gives_pytorchs_numbers():
    norm, inputs = weighted(LayerNorm(3)), values(X[0])
    ys = norm(inputs)
    weigh([ys], G[:1]).backward()
    found = {"y": data(ys), "x.grad": grads(inputs), "weight.grad": grads(norm.weight),
             "bias.grad": grads(norm.bias)}  # fmt: skip
    for name, numbers in LAYER_NORM.items():
        assert found[name] == close(numbers), name


@pytest.mark.parametrize("kind, axis", KINDS)
@pytest.mark.parametrize("seed", range(20))
def test_without_weights_the_mean_is_0_and_the_variance_almost_1(kind, axis, seed):
    x = random_batch(seed, n=2 + seed % 5, width=2 + seed % 3)
    norm = kind(x.shape[1], EPS, **{("affine", "elementwise_affine")[axis]: False})
    assert norm.parameters() == [] and (norm.weight, norm.bias) == (None, None)
    y, var = data(over(norm, x.tolist())), x.var(axis)
    assert np.abs(y.mean(axis)).max() < 1e-12
    assert y.var(axis) == close(var / (var + EPS))


def test_neither_shift_nor_scale_of_a_batch_matters():
    x, norm = random_batch(3), BatchNorm(3, eps=0.0)
    assert data(norm(x * 4.0 + 2.0)) == pytest.approx(data(norm(x)), abs=1e-12)
    assert data(norm(-x)) == pytest.approx(-data(norm(x)), abs=1e-12)


@pytest.mark.parametrize("kind, axis", KINDS)
@pytest.mark.parametrize("size", [1e-150, 1e-100, 1e100, 1e150])
def test_numbers_of_any_size_have_their_gradients(kind, axis, size):
    x, g = random_batch(3), random_batch(53)
    norm, inputs = weighted(kind(3, eps=0.0)), values(x * size)
    ys = over(norm, inputs)
    weigh(ys, g).backward()
    gx, gw, _ = normed_backward(x, np.array(WEIGHT), g, axis, eps=0.0)
    assert data(ys) == close(normed(x, np.array(WEIGHT), np.array(BIAS), axis, eps=0.0))
    assert grads(inputs) * size == close(gx)
    assert grads(norm.weight) == close(gw)


@pytest.mark.parametrize("kind, axis", KINDS)
def test_a_weight_or_a_bias_alone_is_not_forgotten(kind, axis):
    norm, hat = weighted(kind(3)), normed(np.array(X), 1.0, 0.0, axis)
    norm.bias = None
    assert data(over(norm, X)) == close(hat * WEIGHT)
    norm = weighted(kind(3))
    norm.weight = None
    assert data(over(norm, X)) == close(hat + BIAS)


def test_it_starts_as_pytorch_does():
    norm = BatchNorm(2)
    assert norm.state_dict() == {
        "weight": [1.0, 1.0], "bias": [0.0, 0.0],
        "running_mean": [0.0, 0.0], "running_var": [1.0, 1.0], "num_batches_tracked": 0,
    }  # fmt: skip
    assert (norm.eps, norm.momentum, norm.training) == (1e-5, 0.1, True)
    assert LayerNorm(2).state_dict() == {"weight": [1.0, 1.0], "bias": [0.0, 0.0]}
    assert LayerNorm(2).eps == 1e-5


@pytest.mark.parametrize("momentum, share", [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0)])
def test_momentum_is_the_share_of_what_is_observed(momentum, share):
    norm = BatchNorm(1, momentum=momentum)
    norm([[1.0], [5.0]])
    assert norm.running_mean == [share * 3.0]
    assert norm.running_var == [1 - share + share * 8.0]  # 8 is unbiased: (4 + 4) / 1


def test_without_momentum_every_batch_counts_the_same():
    norm, batches = BatchNorm(3, momentum=None), [random_batch(seed) for seed in range(5)]
    for batch in batches:
        norm(batch)
    assert norm.running_mean == close(np.mean([x.mean(0) for x in batches], 0))
    assert norm.running_var == close(np.mean([x.var(0, ddof=1) for x in batches], 0))
    assert norm.num_batches_tracked == 5


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("of", [list, values, np.array], ids=["numbers", "values", "array"])
def test_in_evaluation_the_running_statistics_are_constants(affine, of):
    norm = BatchNorm(3, affine=affine).eval()
    norm.running_mean, norm.running_var = [1.0, -2.0, 0.5], [4.0, 0.25, 1.0]
    before = norm.state_dict()
    expected = (np.array(X) - norm.running_mean) / np.sqrt(np.array(norm.running_var) + EPS)
    batch, single = norm(of(X)), norm(of(X[1]))
    assert data(batch) == close(expected) and data(single) == close(expected[1])
    assert data(norm(X[:1])) == close(expected[:1])
    assert all(isinstance(y, Value) for y in [*single, *batch[0]])
    assert norm.state_dict() == before
    x = values(X[1])
    norm(x)[1].backward()
    assert grads(x) == close([0.0, 1 / math.sqrt(0.25 + EPS), 0.0])


def test_what_is_computed_is_ieee_and_never_an_exception():
    norm = BatchNorm(1, eps=0.0)
    assert all(math.isnan(y.data) for [y] in norm([[2.0], [2.0]]))
    norm.eval().running_var = [0.0]
    assert math.isinf(norm([7.0])[0].data)
    norm.running_var = [-1.0]
    assert math.isnan(norm([7.0])[0].data)


def test_a_residual_adds_what_it_takes():
    inner = Layer(3, 3, "tanh", seed=1)
    block, x = Residual(inner), [0.5, -1.0, 2.0]
    expected = np.array(x) + [y.data for y in inner(x)]
    for given in (x, values(x), np.array(x), tuple(x)):
        assert data(block(given)) == close(expected)
    zero = Residual(Layer(3, 3, init=lambda *_: 0.0))
    inputs = values(x)
    ys = zero(inputs)
    weigh([ys], [[1.0, 2.0, 3.0]]).backward()
    assert data(ys) == close(x) and grads(inputs) == close([1.0, 2.0, 3.0])


@pytest.mark.parametrize("x", [[0.5], 0.5, Value(0.5), [Value(0.5)]], ids=repr)
def test_a_value_is_a_width_of_one(x):
    block = Residual(Layer(1, 1, None, init=lambda *_: 3.0))
    y = block(x)
    assert isinstance(y, Value) and y.data == 2.0 and y.label == "[0]"
    [y] = Residual(LayerNorm(1))(x)
    assert y.data == 0.5


def test_a_residual_of_a_block_that_takes_a_batch():
    norm = BatchNorm(3)
    assert data(Residual(norm)(X)) == close(np.array(X) + normed(np.array(X), 1.0, 0.0, 0))
    assert norm.num_batches_tracked == 1


# --- the graph ----------------------------------------------------------------------------------


class Net(Module):
    """A layer, a norm of its pre-activations, a ReLU and an output; of a sample or a batch."""

    def __init__(self, norm):
        self.inner = Layer(3, 3, None, seed=1)
        self.norm = norm
        self.outer = Layer(3, 1, None, seed=2)

    def __call__(self, x):
        return self.outer([z.relu() for z in self.norm(self.inner(x))])

    def over(self, batch):
        rows = self.norm([self.inner(x) for x in batch])
        return [self.outer([z.relu() for z in row]) for row in rows]


def test_nodes_are_labelled_by_feature():
    net = Net(BatchNorm(3))
    labels = [node.label for node in order(net.over(X)[0])]
    assert {f"norm[{j}]" for j in range(3)} <= set(labels)
    for name in ("mean", "var", "weight", "bias"):
        assert [labels.count(f"norm.{name}[{j}]") for j in range(3)] == [1, 1, 1]
    assert [labels.count(f"norm[{j}].z") for j in range(3)] == [1, 1, 1]  # · weight
    assert [y.label for y in net.norm.eval()(X[0])] == ["norm[0]", "norm[1]", "norm[2]"]
    assert [y.label for y in net.norm(X)[1]] == ["norm[0]", "norm[1]", "norm[2]"]

    net = Net(LayerNorm(3))
    labels = [node.label for node in order(net(X[0]))]
    assert labels.count("norm.mean") == labels.count("norm.var") == 1
    assert {"norm[0]", "norm[1]", "norm[2]"} <= set(labels)
    assert [y.label for y in LayerNorm(2)([1, 2])] == ["[0]", "[1]"]
    net.block = Residual(Layer(3, 3))
    assert [y.label for y in net.block(X[0])] == ["block[0]", "block[1]", "block[2]"]
    assert [p.label for p in net.block.parameters()][-1] == "block.block.bias[2]"


@pytest.mark.parametrize("fold", [300, 100])
@pytest.mark.parametrize("make", [BatchNorm, LayerNorm])
def test_a_norm_can_be_laid_out(make, fold):
    try:
        find_renderer()
    except RendererNotFound:
        pytest.skip("no Graphviz")
    net = Net(make(3))
    loss = nn.mse_loss(net.over(X) if make is BatchNorm else [net(x) for x in X], [1.0] * 4)
    loss.backward()
    for direction in ("LR", "TB"):
        assert "</svg>" in mx.draw(loss, fold_above=fold, direction=direction).svg()
    assert "</svg>" in mx.page(loss, fold_above=fold)


def test_the_labels_are_those_of_the_mean_and_the_variance():
    x = random_batch(5)
    nodes = {node.label: node.data for node in order(*BatchNorm(3)(x)[0])}
    assert [nodes[f"mean[{j}]"] for j in range(3)] == close(x.mean(0))
    assert [nodes[f"var[{j}]"] for j in range(3)] == close(x.var(0))
    nodes = {node.label: node.data for node in order(*LayerNorm(3)(x[0].tolist()))}
    assert (nodes["mean"], nodes["var"]) == pytest.approx((x[0].mean(), x[0].var()), rel=1e-12)


@pytest.mark.parametrize(
    "make, each, shared",
    [
        (lambda x: BatchNorm(3)(x), 4, 7),  # centred, scaled, · weight, + bias
        (lambda x: BatchNorm(3, affine=False)(x), 2, 7),  # sum, mean, -mean, dot, var, + eps, root
        (lambda x: BatchNorm(3).eval()(x), 4, 0),
    ],
)
def test_there_are_few_nodes(make, each, shared):
    x = values(random_batch(0, n=5))
    ops = [node for node in order(*[y for row in make(x) for y in row]) if node.op]
    assert len(ops) == 3 * (5 * each + shared)


@pytest.mark.parametrize("inputs", [values, list], ids=["values", "numbers"])
@pytest.mark.parametrize("affine", [True, False])
def test_a_lifted_batch_has_equal_loss_and_gradients(inputs, affine):
    net, x = Net(BatchNorm(3, affine=affine)), inputs(random_batch(4).tolist())
    loss = nn.mse_loss(net.over(x), [float(i) for i in range(7)])
    parameters = net.parameters()
    replay = mx.lift(loss, parameters=parameters)
    loss.backward()
    assert replay() == pytest.approx(loss.data, rel=1e-12)
    assert replay.gradient == close([p.grad for p in replay.parameters])
    assert set(replay.parameters) == set(parameters)


def test_a_norm_of_data_itself_is_lifted():
    norm, out = weighted(BatchNorm(3)), Layer(3, 1, None, seed=1)
    loss = nn.mse_loss([out(row) for row in norm(X)], [1.0, 2.0, 3.0, 4.0])
    replay = mx.lift(loss)
    loss.backward()
    assert replay() == pytest.approx(loss.data, rel=1e-12)
    assert replay.gradient == close([p.grad for p in replay.parameters])
    assert set(replay.parameters) == {*norm.parameters(), *out.parameters()}


def test_a_replay_of_a_trained_batch_moves_no_statistics():
    net, x = Net(BatchNorm(3)), values(X)
    replay = mx.lift(mx.mean(net.over(x)), inputs=x)
    before = net.state_dict()
    replay(np.array(X) + 1.0)
    assert net.state_dict() == before


def used(norm):
    """A batch norm in evaluation mode, whose running statistics are no round numbers."""
    norm.running_mean, norm.running_var = [0.3, -0.7, 0.1], [2.0, 0.5, 1.25]
    return norm.eval()


def test_a_whole_batch_is_recorded_as_one_sample():
    net, batches = Net(BatchNorm(3)), np.array([random_batch(seed) for seed in range(4)])
    replay = mx.record(lambda batch: mx.mean([y**2 for y in net.over(batch)]), batches[0])
    loss = mx.mean([mx.mean([y**2 for y in net.over(batch)]) for batch in batches])
    loss.backward()
    assert replay(batches) == pytest.approx(loss.data, rel=1e-12)
    assert replay.gradient == close([p.grad for p in replay.parameters])


def test_recording_moves_no_statistics():
    """It calls the function twice, once at numbers that nobody asked for."""
    net, batch = Net(BatchNorm(3)), random_batch(0)
    before = net.state_dict()
    mx.record(lambda rows: mx.mean([y**2 for y in net.over(rows)]), batch)
    with pytest.raises(FrozenBranch):
        mx.record(lambda rows: max(net.over(rows)), batch)
    assert net.state_dict() == before
    net.over(batch)
    assert net.norm.num_batches_tracked == 1


NORMS = [lambda: LayerNorm(3), lambda: used(BatchNorm(3)), lambda: used(BatchNorm(3, affine=False)),
         lambda: Residual(Layer(3, 3, seed=5)), lambda: Residual(LayerNorm(3))]  # fmt: skip


@pytest.mark.parametrize("make", NORMS)
def test_one_sample_is_recorded_and_predicted(make):
    net, x = Net(make()), random_batch(6)
    assert net.predict(x) == close([net(row).data for row in x])
    replay = mx.record(lambda x, y: (net(x) - y) ** 2, x[0], 1.0)
    net.zero_grad()
    loss = mx.mean([(net(row) - 1.0) ** 2 for row in x])
    loss.backward()
    assert replay(x, np.ones(7)) == pytest.approx(loss.data, rel=1e-12)
    assert replay.gradient == close([p.grad for p in replay.parameters])
    assert set(replay.parameters) == set(net.parameters())


@pytest.mark.parametrize("make", NORMS)
def test_fit_trains_through_it(make):
    net, x = Net(make()), random_batch(7, n=40)
    y, before = np.sin(x[:, 0]) + 0.5 * x[:, 1], net.state_dict()
    history = mx.fit(net, x, y, loss="mse", epochs=15, seed=1)
    assert history[-1].loss < 0.95 * history[0].loss
    after = net.state_dict()
    moved = {name for name in before if before[name] != after[name]}
    assert moved == {name for name in before if "running" not in name and "num_" not in name}


def test_fit_and_predict_in_training_mode_say_what_to_do():
    net, x = Net(BatchNorm(3)), random_batch(8)
    before = net.state_dict()
    for use in (lambda: mx.fit(net, x, x[:, 0], loss="mse", epochs=1), lambda: net.predict(x)):
        with pytest.raises(ValueError, match=r"BatchNorm norm normalises over a batch.*eval\(\)"):
            use()
    assert net.state_dict() == before


def test_why_names_the_norm():
    net = Net(BatchNorm(3))
    loss = nn.mse_loss(net.over(X), [1.0, 2.0, 3.0, 4.0])
    loss.backward()
    assert "norm[" in str(mx.why(net.norm.weight[0], loss))
    assert "norm.weight[0]" in str(mx.why(net.norm.weight[0], loss))
    assert "norm" in mx.draw_dot(loss).source


# --- errors -------------------------------------------------------------------------------------

BATCH = "normalises over a batch while it trains: expected the shape (n, 3) with n at least 2, got"


@pytest.mark.parametrize(
    "x, error, text",
    [
        (X[0], ValueError, f"BatchNorm layers.0 {BATCH} (3,); call it on the rows"),
        (values(X[0]), ValueError, f"{BATCH} (3,)"),
        (X[:1], ValueError, f"{BATCH} (1, 3)"),
        ([], ValueError, f"{BATCH} an empty"),
        (1.0, ValueError, f"{BATCH} ()"),
        ([1.0, 2.0], ValueError, "or call model.eval() first to run one sample"),
        ([[1.0, 2.0]] * 2, ValueError,
         "sample 0 of the batch: BatchNorm layers.0 expected 3 inputs, got 2"),
        ([X[0], [1.0] * 4], ValueError, "sample 1 of the batch: BatchNorm layers.0 expected 3"),
        ([X[0], 7.0], ValueError, "sample 1 of the batch: BatchNorm layers.0 expected 3 inputs"),
        ([X[0], []], ValueError, "expected 3 inputs, got 0"),
        ([X[0], [1.0, 2.0, "x"]], TypeError, "sample 1 of the batch: BatchNorm layers.0 takes"),
        ([X, X], TypeError, "got a list of length 3"),
        ([X[0], None], TypeError, "sample 1"),
        ([X[0], [1.0, 10**400, 2.0]], OverflowError, "too large for a float"),
    ],
)  # fmt: skip
def test_a_failing_call_leaves_the_running_statistics(x, error, text):
    owner = Module()
    owner.layers = [BatchNorm(3)]
    norm = owner.layers[0]
    norm(X)
    before = copy.deepcopy(vars(norm))
    with pytest.raises(error) as caught:
        norm(x)
    assert text in str(caught.value)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert vars(norm)[name] == before[name]


def test_a_call_that_fails_late_leaves_the_running_statistics():
    norm = weighted(BatchNorm(3))
    before = norm.state_dict()
    norm.bias[2] = None
    with pytest.raises(TypeError):
        norm(X)
    norm.bias[2] = Value(BIAS[2])
    assert norm.state_dict() == before


@pytest.mark.parametrize("name", ["weight", "bias", "running_mean", "running_var"])
def test_what_was_set_to_another_width_is_an_error(name):
    norm = BatchNorm(3)
    setattr(norm, name, [Value(1.0)] * 2 if name in ("weight", "bias") else [1.0] * 2)
    before = norm.state_dict()
    for training in (True, False):
        norm.train(training)
        with pytest.raises(ValueError, match="shorter|longer"):
            norm(X)
        assert norm.state_dict() == before


@pytest.mark.parametrize(
    "x, text",
    [
        ([1.0, 2.0], "BatchNorm expected 3 inputs, got 2"),
        ([], "BatchNorm expected 3 inputs, got 0"),
        (1.0, "BatchNorm expected 3 inputs, got 1"),
        ([[1.0, 2.0]], "sample 0 of the batch: BatchNorm expected 3 inputs, got 2"),
        ([X[0], X[1][:1]], "sample 1 of the batch: BatchNorm expected 3 inputs, got 1"),
    ],
)
def test_a_wrong_width_in_evaluation(x, text):
    with pytest.raises(ValueError) as caught:
        BatchNorm(3).eval()(x)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    "x, error, text",
    [
        ([1.0, 2.0], ValueError, "LayerNorm expected 3 inputs, got 2"),
        ([], ValueError, "LayerNorm expected 3 inputs, got 0"),
        (X, TypeError, "LayerNorm takes one sample at a time"),
        ([1.0, "x", 2.0], TypeError, "got the str 'x'"),
    ],
)
def test_layer_norm_takes_one_sample_of_its_width(x, error, text):
    with pytest.raises(error) as caught:
        LayerNorm(3)(x)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "make, error, text",
    [
        (lambda: BatchNorm(0), ValueError, "num_features must be at least 1, got 0"),
        (lambda: BatchNorm(1.5), TypeError, "num_features must be a whole number, got 1.5"),
        (lambda: LayerNorm(0), ValueError, "normalized_shape must be at least 1, got 0"),
        (lambda: LayerNorm((3,)), TypeError, "normalized_shape must be a whole number, got (3,)"),
        (lambda: BatchNorm(2, eps=-1e-5), ValueError, "eps must be at least 0 and finite"),
        (lambda: LayerNorm(2, eps=-1.0), ValueError, "eps must be at least 0 and finite, got -1.0"),
        (lambda: LayerNorm(2, eps=math.inf), ValueError, "eps must be at least 0 and finite"),
        (lambda: LayerNorm(2, eps=math.nan), ValueError, "eps must be at least 0 and finite"),
        (lambda: LayerNorm(2, eps="1"), TypeError, "got the str '1'"),
        (lambda: BatchNorm(2, momentum=1.5), ValueError, "momentum lies in [0, 1], or is None"),
        (lambda: BatchNorm(2, momentum=-0.1), ValueError, "for an average, got -0.1"),
        (lambda: BatchNorm(2, momentum=math.nan), ValueError, "momentum lies in [0, 1]"),
        (lambda: BatchNorm(2, momentum="0.1"), TypeError, "got the str '0.1'"),
        (lambda: Residual(3), TypeError, "a block is a Module or another callable, got 3"),
        (lambda: Residual(Layer(3, 2))(X[0]), ValueError,
         "Residual adds what it takes, (3,), and what its block returns, (2,); make these"),
        (lambda: Residual(Layer(3, 1))(X[0]), ValueError, "(3,), and what its block returns, (1,)"),
        (lambda: Residual(lambda x: [x, x])(X[0]), ValueError, "its block returns, (2, 3)"),
        (lambda: Residual(lambda x: [[], x])(X), ValueError, "an empty or ragged list"),
        (lambda: Residual(lambda x: x)([[1.0], [1.0, 2.0]]), ValueError, "ragged list"),
        (lambda: Residual(lambda x: x)(X[0]), TypeError,
         "the block of Residual must return Values, got 0.5"),
        (lambda: Residual(lambda x: None)(1.0), TypeError, "must return Values, got None"),
        (lambda: Module().train(1), TypeError, "train takes True or False, got 1"),
        (lambda: Module().train(None), TypeError, "train takes True or False, got None"),
    ],
)  # fmt: skip
def test_bad_arguments_say_what_was_expected(make, error, text):
    with pytest.raises(error) as caught:
        make()
    assert text in str(caught.value)


# --- training mode and state --------------------------------------------------------------------


class Tree(Module):
    def __init__(self):
        self.stem = MLP(2, [3], None, seed=1)
        self.norm = BatchNorm(3)
        self.blocks = [Residual(LayerNorm(3)), {"deep": [Residual(BatchNorm(3, affine=False))]}]
        self.gain = Value(2.0)


# As torch.nn.Module lists them: a module's own parameters, its own buffers, then its parts.
NAMES = [
    "gain", "stem.layers.0.weight", "stem.layers.0.bias",
    "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var",
    "norm.num_batches_tracked", "blocks.0.block.weight", "blocks.0.block.bias",
    "blocks.1.deep.0.block.running_mean", "blocks.1.deep.0.block.running_var",
    "blocks.1.deep.0.block.num_batches_tracked",
]  # fmt: skip


def modules(tree):
    deep = tree.blocks[1]["deep"][0]
    return [tree, tree.stem, tree.stem.layers[0], tree.norm, tree.blocks[0],
            tree.blocks[0].block, deep, deep.block]  # fmt: skip


def test_train_and_eval_reach_every_part_and_return_the_model():
    tree = Tree()
    assert Module.training is True and all(m.training for m in modules(tree))
    assert tree.eval() is tree
    assert [m.training for m in modules(tree)] == [False] * 8
    assert tree.train() is tree
    assert [m.training for m in modules(tree)] == [True] * 8
    tree.train(False)
    assert [m.training for m in modules(tree)] == [False] * 8
    tree.blocks[0].train()
    assert [m.training for m in modules(tree)] == [False] * 4 + [True] * 2 + [False] * 2
    with pytest.raises(TypeError):
        tree.train("False")
    assert [m.training for m in modules(tree)] == [False] * 4 + [True] * 2 + [False] * 2


def test_a_part_that_knows_its_owner_ends_the_walk():
    tree = Tree()
    tree.norm.owner = tree
    assert not tree.eval().norm.training
    assert [name for name in tree.state_dict() if "owner" in name] == []


def moved(tree):
    """A Tree with numbers of its own in every place of the state."""
    for i, p in enumerate(tree.parameters()):
        p.data = 0.25 + i
    for _ in range(3):
        tree.norm(X)
        tree.blocks[1]["deep"][0](X2)
    return tree


def test_state_names_are_pytorchs_in_pytorchs_order():
    tree = Tree()
    assert list(tree.state_dict()) == NAMES
    shapes = [np.shape(x) for x in tree.state_dict().values()]
    assert shapes == [(), (3, 2), *[(3,)] * 5, (), *[(3,)] * 4, ()]
    assert list(BatchNorm(3).state_dict()) == [
        "weight", "bias", "running_mean", "running_var", "num_batches_tracked"
    ]  # fmt: skip
    assert list(LayerNorm(3).state_dict()) == ["weight", "bias"]


def test_buffers_are_no_parameters():
    tree = moved(Tree())
    names = [name for name, _ in tree.named_parameters()]
    assert not [name for name in names if "running" in name or "num_" in name]
    assert len(tree.parameters()) == len(names) == 1 + 9 + 6 + 6
    before = tree.state_dict()
    tree.zero_grad()
    assert tree.state_dict() == before
    assert repr(BatchNorm(3)) == "<BatchNorm of 6 parameters>"


def test_state_round_trips_and_is_a_copy():
    tree, twin = moved(Tree()), Tree()
    state = tree.state_dict()
    assert twin.load_state_dict(state) == ([], [])
    assert twin.state_dict() == state
    assert type(twin.norm.num_batches_tracked) is int and twin.norm.num_batches_tracked == 3
    state["norm.running_mean"][0] = 99.0
    assert tree.norm.running_mean[0] != 99.0 and twin.norm.running_mean[0] != 99.0
    twin.norm(X)
    assert tree.norm.num_batches_tracked == 3 and tree.norm.running_mean != twin.norm.running_mean


def test_a_state_of_arrays_becomes_plain_numbers():
    tree, twin = moved(Tree()), Tree()
    twin.load_state_dict({name: np.array(x) for name, x in tree.state_dict().items()})
    assert twin.state_dict() == tree.state_dict()
    norm = twin.norm
    assert {type(x) for x in [*norm.running_mean, *norm.running_var]} == {float}
    norm.load_state_dict({"num_batches_tracked": 7.0}, strict=False)
    assert norm.num_batches_tracked == 7 and type(norm.num_batches_tracked) is int


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_files_hold_the_buffers(tmp_path, suffix):
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    tree, twin = moved(Tree()), Tree()
    path = tree.save(tmp_path / f"tree{suffix}")
    assert twin.load(path) == ([], [])
    assert twin.state_dict() == tree.state_dict()
    assert type(twin.norm.num_batches_tracked) is int


BAD_STATES = [
    ({"norm.running_mean": None}, KeyError, "missing: norm.running_mean; unexpected: none"),
    ({"norm.num_batches_tracked": None}, KeyError, "missing: norm.num_batches_tracked"),
    ({"stem.running_mean": [1.0]}, KeyError, "unexpected: stem.running_mean"),
    ({"norm.running_var": [1.0, 2.0]}, ValueError, "norm.running_var expected (3,), got (2,)"),
    ({"norm.num_batches_tracked": [1]}, ValueError, "num_batches_tracked expected (), got (1,)"),
    ({"norm.num_batches_tracked": 1.5}, ValueError,
     "norm.num_batches_tracked holds whole numbers, got 1.5"),
    ({"norm.num_batches_tracked": math.nan}, ValueError, "holds whole numbers, got nan"),
    ({"norm.num_batches_tracked": math.inf}, ValueError, "holds whole numbers, got inf"),
    ({"blocks.1.deep.0.block.running_mean": [1.0, 2.0, "x"]}, TypeError, "got the str 'x'"),
]  # fmt: skip


@pytest.mark.parametrize("change, error, text", BAD_STATES)
def test_after_a_bad_state_nothing_has_changed(change, error, text):
    tree, before = Tree(), Tree().state_dict()
    state = {name: x for name, x in (moved(Tree()).state_dict() | change).items() if x is not None}
    with pytest.raises(error) as caught:
        tree.load_state_dict(state)
    assert text in str(caught.value)
    assert tree.state_dict() == before


def test_a_file_of_a_fraction_of_a_batch_is_refused(tmp_path):
    state = {name: np.array(x) for name, x in BatchNorm(2).state_dict().items()}
    np.savez(path := tmp_path / "norm.npz", **state | {"num_batches_tracked": np.array(2.5)})
    norm = BatchNorm(2)
    with pytest.raises(WeightsError, match=r"norm\.npz: num_batches_tracked holds whole numbers"):
        norm.load(path)
    assert norm.num_batches_tracked == 0


def test_not_strict_loads_the_buffers_that_agree():
    norm = BatchNorm(2)
    keys = norm.load_state_dict({"running_mean": [1.0, 2.0], "momentum": 3.0}, strict=False)
    assert keys.unexpected_keys == ["momentum"] and norm.running_mean == [1.0, 2.0]
    assert keys.missing_keys == ["weight", "bias", "running_var", "num_batches_tracked"]


def test_a_parameter_that_was_set_to_an_int_still_takes_any_number():
    layer = Layer(1, 1)
    for p in layer.parameters():
        p.data = 3
    layer.load_state_dict({"weight": [[0.5]], "bias": [1.5]})
    assert layer.state_dict() == {"weight": [[0.5]], "bias": [1.5]}


def test_a_module_of_ones_own_has_buffers_of_any_shape():
    class Counter(Module):
        _buffers = ("seen", "table")

        def __init__(self):
            self.seen, self.table, self.note = 0, [[0.5, 1.5], [2.5, 3.5]], [1.0]
            self.part = Layer(1, 1, seed=1)
            self.w = Value(1.0)

    counter, twin = Counter(), Counter()
    counter.seen, counter.table = 4, [[1.0, 2.0], [3.0, 4.0]]
    assert list(counter.state_dict()) == ["w", "seen", "table", "part.weight", "part.bias"]
    twin.load_state_dict(counter.state_dict())
    assert (twin.seen, twin.table, twin.note) == (4, [[1.0, 2.0], [3.0, 4.0]], [1.0])
    twin.table[0][0] = 9.0
    assert counter.table[0][0] == 1.0


def test_a_buffer_may_be_an_array(tmp_path):
    class Masked(Module):
        _buffers = ("mask",)

        def __init__(self):
            self.mask = np.array([[1.0, 0.0], [0.5, 2.0]])

    masked, twin = Masked(), Masked()
    state = masked.state_dict()
    assert state == {"mask": [[1.0, 0.0], [0.5, 2.0]]}
    masked.mask[0, 0] = 9.0
    assert state["mask"][0][0] == 1.0
    twin.load(masked.save(tmp_path / "masked.npz"))
    assert twin.state_dict() == {"mask": [[9.0, 0.0], [0.5, 2.0]]}


def test_a_buffer_and_a_tensor_of_one_name_are_refused():
    model = Module()
    model.norm = BatchNorm(1)
    model.__dict__["norm.running_mean"] = Value(1.0)
    with pytest.raises(ValueError, match=r"two tensors .* named norm\.running_mean; rename"):
        model.state_dict()


@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_has_statistics_of_its_own(twin_of):
    tree = moved(Tree()).eval()
    twin, before = twin_of(tree), tree.state_dict()
    assert twin.state_dict() == before and not twin.norm.training
    assert [y.label for y in twin.norm(X[0])] == ["norm[0]", "norm[1]", "norm[2]"]
    twin.train()
    twin.norm(X2)
    assert tree.state_dict() == before and not tree.norm.training
    assert twin.norm.num_batches_tracked == 4
    assert not set(twin.parameters()) & set(tree.parameters())


# --- PyTorch itself -----------------------------------------------------------------------------


def check_against(twin, norm, over, x, g):
    """Outputs and gradients of Σ g · y, of `norm` over a batch x and of PyTorch's."""
    torch = pytest.importorskip("torch")
    inputs, tensor = values(x), torch.tensor(x, requires_grad=True)
    ys, expected = over(inputs), twin(tensor)
    norm.zero_grad()
    twin.zero_grad()
    weigh(ys, g).backward()
    (expected * torch.tensor(g)).sum().backward()
    assert data(ys) == close(expected.detach().numpy())
    assert grads(inputs) == close(tensor.grad.numpy())
    for name, p in twin.named_parameters():
        assert grads(getattr(norm, name)) == close(p.grad.numpy())


@pytest.mark.parametrize("momentum", [0.1, 0.75, None])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_is_pytorchs_batch_norm_1d(momentum, affine):
    torch = pytest.importorskip("torch")
    twin = torch.nn.BatchNorm1d(3, 1e-3, momentum, affine).double()
    norm = BatchNorm(3, 1e-3, momentum, affine)
    if affine:
        weighted(norm)
        twin.load_state_dict({"weight": torch.tensor(WEIGHT), "bias": torch.tensor(BIAS)}, False)
    assert list(norm.state_dict()) == list(twin.state_dict())
    for seed in range(6):
        training = seed != 4
        norm.train(training)
        twin.train(training)
        x, g = random_batch(seed, n=2 + seed), random_batch(seed + 9, n=2 + seed)
        check_against(twin, norm, norm, x, g)
        for name, buffer in twin.named_buffers():
            assert np.array(getattr(norm, name)) == close(buffer.numpy())
    fresh = BatchNorm(3, affine=affine)
    fresh.load_state_dict(twin.state_dict())
    assert fresh.num_batches_tracked == 5 and type(fresh.num_batches_tracked) is int
    assert fresh.running_var == close(norm.running_var)
    there = {name: torch.tensor(x) for name, x in norm.state_dict().items()}
    assert torch.nn.BatchNorm1d(3, affine=affine).load_state_dict(there)


@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm_is_pytorchs(affine):
    torch = pytest.importorskip("torch")
    twin = torch.nn.LayerNorm(3, 1e-3, affine).double()
    norm = LayerNorm(3, 1e-3, affine)
    if affine:
        weighted(norm)
        twin.load_state_dict({"weight": torch.tensor(WEIGHT), "bias": torch.tensor(BIAS)})
    assert list(norm.state_dict()) == list(twin.state_dict())
    x, g = random_batch(1), random_batch(2)
    check_against(twin, norm, lambda rows: [norm(row) for row in rows], x, g)


def test_the_names_of_a_tree_are_pytorchs():
    torch = pytest.importorskip("torch")

    class Around(torch.nn.Module):
        def __init__(self, block):
            super().__init__()
            self.block = block

    tree = torch.nn.Module()
    tree.stem = torch.nn.Module()
    tree.stem.layers = torch.nn.ModuleList([torch.nn.Linear(2, 3)])
    tree.norm = torch.nn.BatchNorm1d(3)
    deep = torch.nn.ModuleList([Around(torch.nn.BatchNorm1d(3, affine=False))])
    parts = [Around(torch.nn.LayerNorm(3)), torch.nn.ModuleDict({"deep": deep})]
    tree.blocks = torch.nn.ModuleList(parts)
    tree.gain = torch.nn.Parameter(torch.tensor(2.0))
    assert list(tree.state_dict()) == NAMES
    assert Tree().load_state_dict(tree.state_dict()) == ([], [])
