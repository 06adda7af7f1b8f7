"""Nets and data as people bring them, each of which the check-up was once wrong about."""

import re

import numpy as np
import pytest

import microgradx as mx
from microgradx import nn, optim
from microgradx._base.text import apart, span

X = np.random.default_rng(9).normal(size=(200, 6))
y = np.sin(X[:, 0])


def verdicts(c):
    return [finding.verdict for finding in c.findings]


class Net(nn.Module):
    """Layers with a function between them."""

    def __init__(self, between=None, width=8, seed=0):
        self.first = nn.Layer(6, width, "linear", seed=seed)
        self.last = nn.Layer(width, 1, "linear", seed=seed + 1)
        self.between = between

    def __call__(self, x):
        return self.last(self.between(self.first(x)))


# --- what no gradient gets to --------------------------------------------------------------------


def test_parameters_behind_a_detach_are_unused():
    c = mx.checkup(Net(lambda z: [x.detach().relu() for x in z]), X, y)
    [finding] = [f for f in c.findings if f.verdict == "unused parameters"]
    assert finding.where == "first.weight, first.bias"
    assert finding.because.startswith("56 parameters of the net: no path leads")
    assert "inf" not in str(c)


def test_a_sentence_on_a_healthy_net_has_no_infinity():
    c = mx.checkup(Net(lambda z: [x.tanh() for x in z]), X, y)
    assert c.findings == [] and "inf" not in str(c)


# --- the numbers of units ------------------------------------------------------------------------


class Transposed(nn.Module):
    """x @ W + b, with the weights of a unit in a column."""

    def __init__(self, width=7, dead=(1, 4)):
        rng = np.random.default_rng(3)
        self.W = [[mx.Value(x) for x in row] for row in rng.normal(size=(6, width)) / 2]
        self.b = [mx.Value(-50.0 if k in dead else 0.3) for k in range(width)]
        self.V = [mx.Value(x) for x in rng.normal(size=width)]

    def __call__(self, x):
        columns = zip(*self.W)
        h = [(mx.dot([*w], x) + b).relu() for w, b in zip(columns, self.b)]
        return mx.dot(self.V, h)


class Chained(Transposed):
    """The same by products and additions."""

    def __call__(self, x):
        h = []
        for w, b in zip(zip(*self.W), self.b):
            z = sum(wi * xi for wi, xi in zip(w, x)) + b
            h.append(z.relu())
        return sum(v * a for v, a in zip(self.V, h))


@pytest.mark.parametrize("kind", [Transposed, Chained])
def test_units_without_labels_have_the_number_of_their_parameters(kind):
    model = kind()
    c = mx.checkup(model, X, y)
    [finding] = [f for f in c.findings if f.verdict == "dead"]
    assert finding.neurons == (1, 4)
    watch = mx.Watch(model, X[:50])
    model.b[2].data = -60.0
    assert [event.neuron for event in watch(1)] == [2]


def test_units_that_share_nothing_by_number_have_their_places():
    model = Net(lambda z: [(x * 1.0 - 40.0 * (k == 3)).relu() for k, x in enumerate(z)])
    [finding] = [f for f in mx.checkup(model, X, y).findings if f.verdict == "dead"]
    assert finding.neurons == (3,)


# --- activations ---------------------------------------------------------------------------------


def mish(x):
    return x * x.softplus().tanh()


@pytest.mark.parametrize("act", [mx.silu, mish, lambda x: x * x.sigmoid()], ids=range(3))
@pytest.mark.parametrize("shift", [0.0, 20.0])
def test_what_weighs_its_own_z_is_no_saturated_unit(act, shift):
    """A SiLU's slope is 1 where its sigmoid is flat."""
    c = mx.checkup(Net(lambda z: [act(x + shift) for x in z]), X, y + shift)
    assert "saturated" not in verdicts(c) and "dead" not in verdicts(c)


def hard(x):
    return mx.clamp(x, -1.0, 1.0)


def test_a_clamp_saturates_at_both_ends():
    model = Net(lambda z: [hard(30.0 * x) for x in z])
    c = mx.checkup(model, X, y, optimizer=optim.Adam(model.parameters()))
    [finding] = [f for f in c.findings if f.verdict == "saturated"]
    assert len(finding.neurons) >= 6
    assert c.step is not None
    assert (mx.Watch(model, X).first == 2).sum() >= 6


def test_a_clamp_at_the_end_reaches_what_lies_within():
    c = mx.checkup(Net(lambda z: [x.tanh() for x in z]), X, y)
    assert "targets out of reach" not in verdicts(c)
    model = Net(lambda z: [x.tanh() for x in z])
    model.last = type("Clamped", (nn.Layer,), {
        "__call__": lambda self, x: hard(nn.Layer.__call__(self, x))
    })(8, 1, "linear", seed=0)  # fmt: skip
    c = mx.checkup(model, X, 3.0 * y)
    [finding] = [f for f in c.findings if f.verdict == "targets out of reach"]
    assert "which gives -1 to 1" in finding.because


def test_a_logarithm_at_the_end_gives_any_number():
    model = Net(lambda z: [x.tanh() for x in z])
    model.last = type("Logged", (nn.Layer,), {
        "__call__": lambda self, x: (nn.Layer.__call__(self, x) ** 2 + 0.1).log()
    })(8, 1, "linear", seed=0)  # fmt: skip
    assert "targets out of reach" not in verdicts(mx.checkup(model, X, y))


# --- norms ---------------------------------------------------------------------------------------


class Normed(nn.Module):
    def __init__(self, gain=1.0):
        self.first, self.norm = nn.Layer(6, 8, "linear", seed=0), nn.LayerNorm(8)
        self.last = nn.Layer(8, 1, "linear", seed=1)
        for p in self.norm.weight:
            p.data = gain

    def __call__(self, x):
        return self.last([z.tanh() for z in self.norm(self.first(x))])


@pytest.mark.parametrize("gain", [1.0, 0.02, 0.0])
def test_a_norm_s_gain_is_no_layer_and_has_no_initialisers_scale(gain):
    found = verdicts(mx.checkup(Normed(gain), X, y))
    assert not {*found} & {"linear net", "small weights", "zero weights"}


def test_a_batch_norm_that_has_seen_no_batch_says_so():
    class Batched(Normed):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm(8)

    model = Batched()
    c = mx.checkup(model, 30.0 * X, y)
    [finding] = [f for f in c.findings if f.verdict == "norms without rows"]
    assert finding.where == "norm" and "as in eval()" in finding.because
    model.norm.running_mean = [0.1] * 8
    assert "norms without rows" not in verdicts(mx.checkup(model, X, y))


# --- optimisers and losses -----------------------------------------------------------------------


def test_a_net_without_units_has_a_step_too():
    model = nn.MLP(6, [1], seed=0)
    c = mx.checkup(model, X, X[:, 0], optimizer=optim.SGD(model.parameters(), lr=0.1))
    assert c.step.after.loss < c.step.before.loss


def test_adams_usual_step_is_not_small():
    small = 0
    for seed in range(12):
        model = nn.MLP(6, [16, 1], init="he", seed=seed)
        c = mx.checkup(model, X, y, optimizer=optim.Adam(model.parameters()))
        small += "small step" in verdicts(c)
    assert not small
    model = nn.MLP(6, [16, 1], init="he", seed=0)
    c = mx.checkup(model, X, y, optimizer=optim.SGD(model.parameters(), lr=1e-8))
    assert "small step" in verdicts(c)


def test_pytorchs_optimiser_goes_on_from_its_state():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
    T, Y = torch.tensor(X).float(), torch.tensor(y).float()[:, None]
    for make in (lambda p: torch.optim.Adam(p, lr=1e-2),
                 lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)):  # fmt: skip
        optimizer = make(net.parameters())
        for _ in range(100):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(net(T), Y).backward()
            optimizer.step()
        c = mx.checkup(net, X, y, optimizer=optimizer)
        before = torch.nn.functional.mse_loss(net(T), Y).item()
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(net(T), Y).backward()
        optimizer.step()
        after = torch.nn.functional.mse_loss(net(T), Y).item()
        assert c.step.before.loss == pytest.approx(before, rel=1e-4)
        assert c.step.after.loss - c.step.before.loss == pytest.approx(after - before, rel=1e-2)
    other = torch.nn.Sequential(torch.nn.Linear(6, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
    with pytest.raises(ValueError, match="not of the net"):
        mx.checkup(other, X, y, optimizer=optimizer)


def ending(end):
    """A PyTorch net of one layer, and a function of PyTorch and of what that gives."""
    torch = pytest.importorskip("torch")

    class Ends(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = torch.nn.Linear(6, 1)

        def forward(self, x):
            return end(torch, self.a(x))

    return Ends()


@pytest.mark.parametrize("end", ["sqrt", "log"])
def test_a_net_that_is_not_finite_is_adopted(end):
    net = ending(lambda torch, z: getattr(torch, end)(torch.relu(z)))
    assert mx.checkup(net, X, y).findings[0].verdict == "not finite"


@pytest.mark.parametrize("end, words", [
    (lambda torch, z: torch.nn.functional.dropout(z, 0.5), "training=self.training"),
    (lambda torch, z: z.squeeze(), ".squeeze(-1) instead"),
], ids=["dropout", "squeeze"])  # fmt: skip
def test_what_cannot_be_adopted_says_what_to_do(end, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        mx.checkup(ending(end), X, y)


@pytest.mark.parametrize("made", [
    lambda t: t.nn.MSELoss(reduction="sum"), lambda t: t.nn.CrossEntropyLoss(label_smoothing=0.1),
    lambda t: t.nn.BCEWithLogitsLoss(pos_weight=t.tensor(5.0)),
], ids=range(3))  # fmt: skip
def test_settings_of_pytorchs_losses_are_refused(made):
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match="isn't known here; pass a function"):
        mx.checkup(nn.MLP(6, [4, 1], seed=0), X, y, loss=made(torch))


# --- data ----------------------------------------------------------------------------------------


def test_one_row_is_not_judged():
    c = mx.checkup(nn.MLP(6, [16, 1], seed=0), X[:1], y[:1])
    assert not {"dead", "saturated"} & {*verdicts(c)}
    assert "Of one row no unit is called dead" in str(c)


def test_inputs_that_are_all_0():
    c = mx.checkup(nn.MLP(6, [16, 1], seed=0), 0.0 * X, y)
    assert c.findings[0].verdict == "inputs out of scale"
    assert "All inputs are 0" in c.findings[0].because


def test_the_names_of_a_frame_s_columns():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=[*"abcdef"])
    frame["e"] += 2000.0
    c = mx.checkup(nn.MLP(6, [8, 1], "tanh", seed=0), frame, y)
    assert re.search(r"Column e lies in 1,99\d(\.\d+)? … 2,00\d", c.findings[0].because)


@pytest.mark.parametrize("kind", [object, "U1"])
def test_targets_of_words(kind):
    words = np.array(["a", "b"])[(y > 0) + 0].astype(kind)
    with pytest.raises(TypeError, match=re.escape("np.unique(y, return_inverse=True)")):
        mx.checkup(nn.MLP(6, [8, 2], seed=0), X, words)


@pytest.mark.parametrize("low, high, words", [
    (-3.0567, 3.321, "-3.06 … 3.32"), (1997.2, 2003.4, "1,997 … 2,003"), (0.0, 1.0, "0 … 1"),
    (-237000.0, 276000.0, "-237,000 … 276,000"), (1e9, 3e9, "1e9 … 3e9"), (5.0, 5.0, "5"),
    (0.9391, 0.93914, "0.9391 … 0.93914"), (-float("inf"), 2.0, "-inf … 2"),
])  # fmt: skip
def test_spans_are_told_apart(low, high, words):
    assert span(low, high) == words
    one, other = apart(low, high)
    assert (one != other) == (low != high)


# --- what is asked further -----------------------------------------------------------------------


def test_the_trials_are_in_the_files(tmp_path):
    import json

    model = nn.MLP(6, [8, 1], seed=0)
    model.layers[0].neurons[3].bias.data = -90.0
    c = mx.checkup(model, X, y)
    trials = c.try_remedies(epochs=1)
    assert c.trials is trials
    found = json.loads(c.save(tmp_path / "c.json").read_text(encoding="utf-8"))
    assert found["trials"]["name"][0] == "as it is"
    assert "Remedies, tried" in c.save(tmp_path / "c.html").read_text(encoding="utf-8")


def test_a_finding_is_explained_without_a_remark_on_backward():
    model = nn.MLP(6, [8, 1], seed=0)
    model.layers[0].neurons[3].bias.data = -90.0
    assert "backward" not in str(mx.checkup(model, X, y).why(0))


def test_a_deep_net_s_constant_outputs_are_not_a_finding_beside_what_vanishes():
    model = nn.MLP(6, [16] * 21 + [1], init="glorot", seed=0)
    for layer in model.layers:
        for neuron in layer.neurons:
            for w in neuron.weight:
                w.data *= 0.4
    found = verdicts(mx.checkup(model, X, y))
    assert found[0] == "vanishing" and "constant outputs" not in found
