"""The check-up as a person calls it: the true cause first, a page, and nothing changed."""

import math
import os
import re
import signal
import sys
import threading

import numpy as np
import pytest

import microgradx as mx
from microgradx import nn, optim
from microgradx.diagnosis import Checkup, Finding
from microgradx.diagnosis import survey as surveys
from tests.diagnosis.nets import classes, numbers_of, planted, rows


def verdicts(c):
    return [finding.verdict for finding in c.findings]


def normal(scale):
    return lambda nin, nout, rng: rng.gauss(0.0, scale)


class Softmax(nn.Module):
    def __init__(self, width, classes_):
        self.body = nn.MLP(width, [16, classes_], init="glorot", activation="tanh", seed=0)

    def __call__(self, x):
        es = [z.exp() for z in self.body(x)]
        total = mx.sum(es)
        return [e / total for e in es]


# --- the questions of real nets: one call, the true cause first ---------------------------------


def ring(n=100, seed=0):
    X = np.random.default_rng(seed).uniform(-1, 1, (n, 2))
    return X, np.hypot(*X.T)


def test_neurons_that_have_died():
    X, y = ring(300)
    model = nn.MLP(2, [3, 1], activation="relu", init="glorot", seed=3)
    mx.fit(model, X, y, loss="mse", epochs=30, seed=0,
           optimizer=optim.Adam(model.parameters(), lr=0.02))  # fmt: skip
    [finding] = mx.checkup(model, X, y).findings
    assert finding.verdict == "dead" and finding.where == "layers.0" and finding.neurons == (0, 2)
    assert "locked: no gradient reaches layers.0.weight or layers.0.bias" in finding.because


@pytest.mark.parametrize("centre, seed", [(10.0, 1), (100.0, 1), (100.0, 2), (-300.0, 3)])
def test_data_far_from_0(centre, seed):
    X = centre + np.random.default_rng(seed).uniform(-1, 1, (100, 1))
    y = 0.5 * (X[:, 0] - centre)
    model = nn.MLP(1, [3, 3, 1], activation="sigmoid", init="glorot", seed=seed)
    c = mx.checkup(model, X, y)
    assert verdicts(c)[:2] == ["inputs far from 0", "saturated"]
    assert "Subtract the mean of each column" in c.findings[0].because
    fine = mx.checkup(model, X - centre, y)
    assert fine.findings == []


def test_a_net_of_one_layer_and_xor():
    X, y = [[0, 0], [0, 1], [1, 0], [1, 1]] * 2, [0, 1, 1, 0] * 2
    assert verdicts(mx.checkup(nn.MLP(2, [2], seed=0), X, y)) == ["linear net"]
    assert "linear net" not in verdicts(mx.checkup(nn.MLP(2, [4, 2], "tanh", seed=0), X, y))
    line = [x[0] + 0.5 * x[1] for x in X]  # which it can draw
    assert mx.checkup(nn.MLP(2, [1], seed=0), X, line, loss="mse").findings == []


def test_softmax_twice_and_a_relu_on_the_output():
    X, y = classes(60, 8, 4)
    c = mx.checkup(Softmax(8, 4), X, y, loss="cross_entropy")
    assert verdicts(c)[0] == "bounded logits"
    floor = math.log(1 + 3 / math.e)
    assert f"can't fall below {floor:.3g}" in c.findings[0].because
    assert "bounded logits" not in verdicts(mx.checkup(Softmax(8, 4), X, y))  # of probabilities
    for output, words in (("relu", "cut off"), ("sigmoid", f"below {floor:.3g}")):
        model = nn.MLP(8, [16, 4], output=output, seed=0)
        c = mx.checkup(model, X, y, loss="cross_entropy")
        assert verdicts(c)[0] == "bounded logits" and words in c.findings[0].because
    assert "bounded logits" not in verdicts(mx.checkup(nn.MLP(8, [16, 4], seed=0), X, y))


def test_weights_that_are_too_small():
    X = np.random.default_rng(0).uniform(-1, 1, (100, 1))
    c = mx.checkup(nn.MLP(1, [16, 16, 1], init=normal(1e-3), seed=0), X, X[:, 0] / 2)
    small = [f for f in c.findings if f.verdict == "small weights"]
    assert c.findings[0] in small
    assert {f.where for f in small} == {f"layers.{k}.weight" for k in range(3)}


@pytest.mark.parametrize("depth, width, seed", [(4, 20, 0), (5, 12, 1), (7, 16, 2)])
def test_a_chain_of_sigmoids_and_its_twins(depth, width, seed):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 2, (200, 10)) * 1.0
    y = np.sin(X @ rng.normal(size=10))

    def net(activation, init):
        return nn.MLP(10, [width] * depth + [1], activation=activation, init=init, seed=seed)

    c = mx.checkup(net("sigmoid", "glorot"), X, y)
    assert verdicts(c)[0] == "sigmoid chain"
    assert c.findings[0].decades == pytest.approx(depth * math.log10(4.0), abs=1e-9)
    assert mx.checkup(net("tanh", "glorot"), X, y).findings == []


@pytest.mark.parametrize("name", ["0 … 100", "negative"])
def test_targets_that_a_sigmoid_cannot_reach(name):
    X = rows(60, 6)
    y = 50 + 45 * np.tanh(X[:, 0]) if name == "0 … 100" else -1 - np.abs(X[:, 0])
    model = nn.MLP(6, [8, 1], activation="tanh", output="sigmoid", init="glorot", seed=0)
    c = mx.checkup(model, X, y)
    assert verdicts(c)[0] == "targets out of reach" and c.findings[0].rows == 1.0
    assert "60 rows of 60 can't be reached" in c.findings[0].because
    assert "a sigmoid, which gives 0 to 1" in c.findings[0].because
    fits = mx.checkup(model, X, 1 / (1 + np.exp(-X[:, 0])))
    assert "targets out of reach" not in verdicts(fits)


@pytest.mark.parametrize("scale, offset", [(1e5, 0.0), (40.0, 0.0), (1.0, 50.0), (3.0, -400.0)])
def test_targets_of_another_scale(scale, offset):
    X = rows(60, 6)
    y = X[:, 0] * scale + offset
    c = mx.checkup(nn.MLP(6, [8, 1], "tanh", init="glorot", seed=0), X, y)
    assert verdicts(c)[0] == "targets out of scale"
    low = f"{round(y.min(), -3):,.0f}" if scale == 1e5 else f"{y.min():.3g}"
    assert f"Targets lie in {low}" in c.findings[0].because
    standard = mx.checkup(nn.MLP(6, [8, 1], "tanh", init="glorot", seed=0), X, X[:, 0])
    assert standard.findings == []
    classes_ = mx.checkup(nn.MLP(6, [8, 2], "tanh", init="glorot", seed=0), X, (X[:, 0] > 0) + 0)
    assert classes_.findings == []


def test_weights_that_saturate_and_a_first_loss_above_a_guess():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(32, 30)), rng.integers(0, 27, 32)
    c = mx.checkup(nn.MLP(30, [60, 27], activation="tanh", init=normal(1.0), seed=0), X, y)
    assert verdicts(c) == ["saturated", "worse than a guess"]
    assert "7 times Glorot's scale" in c.findings[0].because
    assert "saturated" not in verdicts(
        mx.checkup(nn.MLP(30, [60, 27], activation="tanh", init="lecun", seed=0), X, y)
    )


@pytest.mark.some(1)
@pytest.mark.parametrize("depth, seed", [(8, 0), (6, 1), (12, 2)])
def test_weights_that_explode(depth, seed):
    X = rows(40, 8, seed)
    model = nn.MLP(8, [24] * depth + [1], init=normal(1.0), seed=seed)
    c = mx.checkup(model, X, X[:, 0])
    assert verdicts(c)[0] == "exploding"
    named = re.search(r"weights of (\d+) layers are", c.findings[0].because)
    assert depth - 1 <= int(named[1]) <= depth
    he = nn.MLP(8, [24] * depth + [1], init="he", seed=seed)
    assert "exploding" not in verdicts(mx.checkup(he, X, X[:, 0]))


def test_a_step_that_is_too_small():
    rng = np.random.default_rng(1)
    X = rng.random((300, 2))
    y = (X[:, 0] + (2 * (X[:, 1] - 0.5)) ** 2 >= 0.75) + 0
    model = nn.MLP(2, [20, 20, 1], activation="sigmoid", init="glorot", seed=42)
    slow = optim.Adam(model.parameters(), lr=1e-5)
    assert verdicts(mx.checkup(model, X, y, optimizer=slow))[0] == "small step"
    fair = optim.Adam(model.parameters(), lr=2e-2)
    assert mx.checkup(model, X, y, optimizer=fair).findings == []


# --- the planted net -----------------------------------------------------------------------------


def test_the_planted_net_exactly():
    model, X, y = planted()
    c = mx.checkup(model, X, y)
    assert sorted(verdicts(c)) == ["dead", "saturated", "small weights"]
    by_name = {f.verdict: f for f in c.findings}
    gone, shut, small = (by_name[x] for x in ("dead", "saturated", "small weights"))
    assert gone.where == "layers.0" and gone.neurons == (2, 3, 5, 7, 11)
    assert "within the data's range: 2 5 11." in gone.because
    assert "by at least 0.02 (3 7)" in gone.because
    assert shut.where == "layers.1" and len(shut.neurons) >= 14
    assert small.where == "layers.2.weight"
    table = c.neurons
    proofs = dict(zip(zip(table["layer"], table["neuron"]), table["proof"]))
    assert [k for k in range(16) if proofs["layers.0", k] == "proved"] == [2, 5, 11]
    assert [k for k in range(16) if proofs["layers.0", k] == "refuted"] == [3, 7]


# --- what it is like to use ----------------------------------------------------------------------


def test_nothing_is_changed():
    model, X, y = planted()
    for p in model.parameters():
        p.grad = 3.0
    before, copies = numbers_of(model), (X.copy(), y.copy())
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    c = mx.checkup(model, X, y, optimizer=optimizer)
    print(c, c.layers, c.neurons, c.why(0), c.step.table)
    assert numbers_of(model) == before and model.training
    assert np.array_equal(X, copies[0]) and np.array_equal(y, copies[1])
    assert all(not any(x) for x in optimizer.state.values())


@pytest.mark.parametrize("build", [planted, lambda: (nn.MLP(4, [6, 3], "tanh", seed=0),
                                                     *classes(50, 4, 3))])  # fmt: skip
def test_the_page_fits_a_terminal(build):
    c = mx.checkup(*build())
    text = str(c)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert not any(line != line.rstrip() for line in text.splitlines())
    for finding in c.findings:
        assert finding.verdict in text and finding.where in text
    assert isinstance(c, Checkup) and all(isinstance(f, Finding) for f in c.findings)


def test_a_healthy_net_gets_three_lines():
    c = mx.checkup(nn.MLP(4, [6, 3], "tanh", init="glorot", seed=0), *classes(50, 4, 3))
    lines = str(c).splitlines()
    assert c.findings == [] and len(lines) <= 4
    assert lines[0] == "MLP: layers.0 6 tanh, layers.1 3; 51 parameters"
    assert lines[1].startswith("50 rows of 4, 3 classes, so cross-entropy: ")
    assert lines[2].startswith("Nothing found: every layer's gradient lies within ")
    assert repr(c) == "<Checkup of 50 rows: nothing found>"


def test_the_ledger_on_the_page_adds_up():
    text = str(mx.checkup(*planted()))
    table = text[text.index("each line adds up:") :].split("\n\n")[0].splitlines()[2:]
    assert len(table) == 3
    for line in table:
        numbers = [float(x) for x in line.split() if x[:1] in "+-"]
        assert numbers[0] == pytest.approx(sum(numbers[1:]), abs=0.031), line


def test_a_finding_as_a_scalar_graph():
    model, X, y = planted()
    c = mx.checkup(model, X, y)
    for k, finding in enumerate(c.findings):
        loss = c.sample(finding)
        assert loss.data == pytest.approx(c.survey.losses[finding.row], rel=1e-9)
        it = c.why(k)
        assert it.node in {*model.parameters()} and it.output.label == "loss"
        assert mx.draw(loss, explain=it.node).summary
    dead = next(f for f in c.findings if f.verdict == "dead")
    assert c.why(dead).verdict == "stopped"


def test_what_is_asked_for_and_is_not_there():
    c = mx.checkup(*planted())
    with pytest.raises(IndexError, match="finding 9 of 3"):
        c.why(9)
    with pytest.raises(TypeError, match="one of the findings"):
        c.sample("dead")


def test_tables_are_columns_of_one_length():
    c = mx.checkup(*planted())
    for table in (c.neurons, c.layers):
        assert len({len(column) for column in table.values()}) == 1
        assert [*next(table.rows)] == [*table]
    assert len(c.neurons["layer"]) == 32 and c.layers["layer"] == [f"layers.{k}" for k in range(3)]
    for row in c.layers.rows:
        parts = [x for name, x in row.items() if name not in FACTS]
        assert sum(parts) == pytest.approx(row["decades"], abs=1e-11)


FACTS = ("layer", "parameters", "reached", "moved", "decades", "median", "norm")


def test_the_inputs_as_a_table():
    model, X, y = planted()
    table = mx.checkup(model, X, y).inputs
    assert table["input"] == [*range(12)]
    assert np.allclose(table["mean"], X.mean(axis=0)) and np.allclose(table["most"], X.max(axis=0))
    assert np.allclose(table["spread"], X.std(axis=0))


def test_ctrl_c_keeps_what_is_known(monkeypatch):
    model, X, y = planted()
    monkeypatch.setattr(surveys, "AT_ONCE", 20)
    added, pressed = surveys.Survey._add, []

    def add(self, *args):
        added(self, *args)
        pressed.append(1)
        if len(pressed) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(surveys.Survey, "_add", add)
    c = mx.checkup(model, X, y)
    assert c.interrupted and len(c.task.X) == 60
    assert "Interrupted: only the first 60 rows have been looked at." in str(c)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_two_threads_ask_at_once():
    found, failed = {}, []

    def ask(seed):
        try:
            found[seed] = str(mx.checkup(*planted(seed)))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert found == {seed: str(mx.checkup(*planted(seed))) for seed in (0, 1)}


def test_the_same_page_twice():
    assert str(mx.checkup(*planted())) == str(mx.checkup(*planted()))


def test_numbers_that_are_not():
    model, X, y = planted()
    model.layers[1].neurons[3].weight[2].data = math.nan
    c = mx.checkup(model, X, y)
    assert verdicts(c)[0] == "not finite" and c.findings[0].rows == 1.0
    assert "layers.1.weight[3,2]" in c.findings[0].because
    assert all(len(line) <= 80 for line in str(c).splitlines())
    big = nn.MLP(4, [5, 1], seed=0)
    for p in big.parameters():
        p.data *= 1e200
    assert verdicts(mx.checkup(big, X[:, :4], X[:, 0]))[0] == "not finite"


def test_a_function_and_a_parameter_that_nothing_reads():
    w, idle = mx.Value(0.5, "w"), mx.Value(1.0, "idle")

    class Net(nn.Module):
        def __init__(self):
            self.w, self.idle = w, idle

        def __call__(self, x):
            return (self.w * x[0]).tanh()

    X = rows(30, 1)
    [finding] = mx.checkup(Net(), X, np.tanh(X[:, 0])).findings
    assert finding.verdict == "unused parameters" and finding.where == "idle"
    assert mx.checkup(lambda x: (w * x[0]).tanh(), X, np.tanh(X[:, 0])).findings == []


def test_importing_does_not_load_it():
    assert "microgradx.diagnosis" in sys.modules
    import subprocess

    code = "import sys, microgradx; assert 'microgradx.diagnosis' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_units_that_read_other_nodes_are_no_copies():
    """As those of a norm, whose weights are all 1."""

    class Net(nn.Module):
        def __init__(self):
            self.layer, self.norm = nn.Layer(4, 5, None, seed=0), nn.BatchNorm(5)
            self.out = nn.Layer(5, 1, None, seed=1)

        def __call__(self, x):
            return self.out([y.tanh() for y in self.norm(self.layer(x))])

    X = rows(40, 4)
    assert "copies" not in verdicts(mx.checkup(Net(), X, X[:, 0]))
    model = nn.MLP(4, [6, 1], "tanh", init="glorot", seed=0)
    one, other = model.layers[0].neurons[1], model.layers[0].neurons[4]
    for p, q in zip(one.parameters(), other.parameters()):
        q.data = p.data
    assert "copies" not in verdicts(mx.checkup(model, X, X[:, 0]))  # other weights out
    out = model.layers[1].neurons[0].weight
    out[4].data = out[1].data
    [finding] = mx.checkup(model, X, X[:, 0]).findings
    assert finding.verdict == "copies" and finding.neurons == (1, 4)


def test_ctrl_c_within_the_step_keeps_the_rest(monkeypatch):
    from microgradx.diagnosis.steps import Steps

    def press(self, length):
        raise KeyboardInterrupt

    monkeypatch.setattr(Steps, "_tried", press)
    model, X, y = planted()
    c = mx.checkup(model, X, y, optimizer=optim.SGD(model.parameters(), lr=0.1))
    assert c.step is None and c.interrupted and "dead" in verdicts(c)


@pytest.mark.parametrize("name", [*nn.activations(), "clamp", "where"])
def test_every_activation_is_taken(name):
    own = {"clamp": lambda z: mx.clamp(z, -1.0, 1.0), "where": lambda z: mx.where(z, z, 0.1 * z)}
    model = nn.MLP(4, [8, 1], own.get(name, name), init="glorot", seed=0)
    X = np.abs(rows(60, 4)) if name in ("sqrt", "log") else rows(60, 4)
    for neuron in model.layers[0].neurons:
        if name in ("sqrt", "log"):
            neuron.bias.data = 5.0
    c = mx.checkup(model, X, X[:, 0])
    assert not {*verdicts(c)} - {"linear net", "worse than a guess", "copies"}, c
    assert all(len(line) <= 80 for line in str(c).splitlines())


def test_a_constant_column_is_a_second_bias():
    X = np.c_[rows(60, 3), np.full(60, 100.0)]
    model = nn.MLP(4, [8, 1], "tanh", init="glorot", seed=0)
    [finding, *_] = mx.checkup(model, X, X[:, 0]).findings
    assert finding.verdict == "inputs out of scale"
    assert "Column 3 is 100 in every row: a second bias" in finding.because
    X[:, 3] = 1.0
    assert mx.checkup(model, X, X[:, 0]).findings == []


def test_rare_classes_are_no_finding():
    X = rows(120, 4)
    y = (np.arange(120) % 60 == 0) + 0
    assert mx.checkup(nn.MLP(4, [8, 2], "tanh", init="glorot", seed=0), X, y).findings == []


@pytest.mark.parametrize("seed", range(3))
def test_an_output_of_probabilities_has_weights_of_the_usual_size(seed):
    X = rows(80, 4, seed)
    model = nn.MLP(4, [16, 1], "tanh", "sigmoid", "glorot", seed=seed)
    for p in (p for n in model.layers[1].neurons for p in n.weight):
        p.data *= 0.4  # as PyTorch draws them
    assert mx.checkup(model, X, (X[:, 0] > 0) + 0).findings == []
