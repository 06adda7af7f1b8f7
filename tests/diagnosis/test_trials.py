"""Trials: the same training as by hand, a verdict that follows from the figures, and what fails."""

import copy
import io
import math
import re
import sys
from dataclasses import replace

import numpy as np
import pytest

from microgradx import nn
from microgradx.diagnosis import checkup, trials
from microgradx.diagnosis.gauge import Figures, Gauge
from microgradx.diagnosis.remedies import Stack
from microgradx.diagnosis.trials import Trial, Trials
from microgradx.engine import Value
from microgradx.nn.losses import accuracy_by_class, cross_entropy
from microgradx.optim import SGD, Adam
from microgradx.train import fit

RNG = np.random.default_rng(3)
X = RNG.normal(size=(60, 4))
Y = X[:, 0] * X[:, 1] + X[:, 2]
CLASSES = (Y > 0).astype(int) + (Y > 1)


def net(nouts=(6, 6, 1), seed=1):
    return nn.MLP(4, nouts, "tanh", init="glorot", seed=seed)


def raw():
    """A net whose inputs are out of scale, and its optimiser."""
    model = net()
    return model, SGD(model.parameters(), lr=0.05)


def data(model):
    return [p.data for p in model.parameters()]


def dying():
    model = nn.MLP(4, [6, 6, 3], seed=5)
    for k in (1, 3):
        model.layers[0].neurons[k].bias.data = -40.0
    return model


# --- the training --------------------------------------------------------------------------------


def test_as_it_is_is_the_training_that_fit_would_do():
    model = net((6, 3))
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.5)
    (model(X[0])[0] * 2.0).backward()
    optimizer.step()
    found = checkup(model, X, CLASSES, optimizer=optimizer).try_remedies(
        epochs=6, batch_size=16, seed=4
    )
    own = found[0]
    history = fit(model, X, CLASSES, loss="cross_entropy", epochs=6, optimizer=optimizer,
                  batch_size=16, seed=4)  # fmt: skip
    assert own.history.loss == history.loss
    assert data(own.model) == data(model)
    logits = model.predict(X)
    rows = np.eye(3)[CLASSES]
    loss = np.mean([cross_entropy([Value(z) for z in row], int(k)).data
                    for row, k in zip(logits, CLASSES)])  # fmt: skip
    assert own.after.loss == pytest.approx(loss, rel=1e-12)
    assert own.after.accuracy == accuracy_by_class(logits, rows)
    assert own.after.loss == pytest.approx(own.history.validation_loss[-1], rel=1e-12)
    assert own.third.loss == own.history.validation_loss[1]
    assert own.third.accuracy == own.history.metrics["accuracy"][1]


def test_all_meet_the_same_batches():
    model, optimizer = raw()
    again = net()
    found = checkup(model, X, Y, optimizer=optimizer).try_remedies(
        {"again": again}, batch_size=8, seed=np.random.default_rng(3)
    )
    assert found[0].history.loss == found[-1].history.loss


def test_nothing_of_the_readers_changes():
    model, optimizer = raw()
    optimizer.momentum = 0.5
    (model(X[0]) * 2.0).backward()
    optimizer.step()
    rows, targets, other = 1e3 * X, Y.copy(), net()
    kept = data(model), copy.deepcopy(optimizer.state), optimizer.lr, rows.copy(), data(other)
    grads = [p.grad for p in model.parameters()]
    labels = [p.label for p in model.parameters()]
    found = checkup(model, rows, targets, optimizer=optimizer).try_remedies({"mine": other})
    assert len(found) > 2
    assert data(model) == kept[0] and optimizer.state == kept[1] and optimizer.lr == kept[2]
    assert (rows == kept[3]).all() and (targets == Y).all() and data(other) == kept[4]
    assert [p.grad for p in model.parameters()] == grads
    assert [p.label for p in model.parameters()] == labels
    assert model.training


def test_a_smaller_step_is_a_tenth_of_the_readers():
    model = net()
    optimizer = SGD(model.parameters(), lr=300.0)
    found = checkup(model, X, Y, optimizer=optimizer).try_remedies(seed=2)
    [small] = [trial for trial in found if trial.name == "step ÷ 10"]
    twin = net()
    history = fit(twin, X, Y, loss="mse", epochs=3, optimizer=SGD(twin.parameters(), lr=30.0),
                  batch_size=64, seed=2)  # fmt: skip
    assert small.history.loss == history.loss


def test_the_optimizer_is_that_of_the_call_or_else_of_the_check_up_or_adam():
    model, optimizer = raw()
    with_own = checkup(model, X, Y, optimizer=optimizer)
    assert with_own.try_remedies(epochs=1).optimizer == "SGD 0.05"
    assert with_own.try_remedies(epochs=1, optimizer=Adam).optimizer == "Adam 0.001"
    assert checkup(model, X, Y).try_remedies(epochs=1).optimizer == "Adam 0.001"


def test_dead_relus_are_counted_before_and_after():
    model = dying()
    found = checkup(model, X, CLASSES).try_remedies(epochs=1, optimizer=lambda ps: SGD(ps, 1e-9))
    nudged = found[1]
    assert found[0].before.dead == found[0].after.dead == 2
    assert nudged.name == "nudging 2 biases" and nudged.before.dead == nudged.after.dead == 0
    assert "2 → 2" in str(found) and "0 → 0" in str(found)


def test_a_net_is_recorded_once_for_all_copies_of_it(monkeypatch):
    made = []
    monkeypatch.setattr(trials, "Gauge", lambda *args: made.append(1) or Gauge(*args))
    found = checkup(dying(), X, CLASSES).try_remedies({"mine": net((3,))}, epochs=1)
    assert len(found) == 3 and len(made) == 2


def test_a_gauge_agrees_with_the_net_itself_in_pieces(monkeypatch):
    model = dying()
    task = checkup(model, X, CLASSES).task
    whole = Gauge(task, model).figures(model)
    monkeypatch.setattr("microgradx.diagnosis.gauge.ROOM", 4000)
    pieces = Gauge(task, model).figures(model)
    assert pieces == pytest.approx(whole, rel=1e-12) and whole.dead == 2
    losses = [task.of_row(model(x), t).data for x, t in zip(X.tolist(), task.targets.tolist())]
    assert whole.loss == pytest.approx(np.mean(losses), rel=1e-12)


def test_a_relu_is_dead_if_it_is_off_at_each_of_its_positions():
    class Twice(nn.Module):
        def __init__(self):
            self.layer = nn.Layer(2, 3, "relu", seed=1)

        def __call__(self, x):
            return sum([*self.layer(x[:2]), *self.layer(x[2:])])

    model = Twice()
    for k, (w, b) in enumerate([(1.0, 0.0), (1.0, -9.0), (0.0, -1.0)]):
        neuron = model.layer.neurons[k]
        neuron.bias.data = b
        for p in neuron.weight:
            p.data = w
    rows = np.abs(X) * [-1.0, -1.0, 1.0, 1.0]  # the first unit is off at the first position only
    task = checkup(net(), rows, Y).task._replace(model=model)
    gauge = Gauge(task, model)
    assert [len(nodes) for nodes in gauge.relus.values()] == [2, 2, 2]
    assert gauge.figures(model).dead == 2


def test_outputs_that_the_loss_is_a_sum_of_are_known():
    class Sums(nn.Module):
        def __init__(self):
            self.weight = Value(0.5)

        def __call__(self, x):
            return self.weight * x[0] + 2.0 * x[1]

    model = Sums()
    task = checkup(net(), X, Y).task._replace(model=model)
    loss = np.mean((0.5 * X[:, 0] + 2.0 * X[:, 1] - Y) ** 2)
    assert Gauge(task, model).figures(model).loss == pytest.approx(loss, rel=1e-12)


def test_the_relus_of_the_loss_are_none_of_the_net():
    model = nn.MLP(4, [3, 1], "tanh", seed=1)
    found = checkup(model, X, np.where(Y > 0, 1, -1), loss="hinge").try_remedies(epochs=1)
    assert found[0].before.dead is None


# --- its choice ----------------------------------------------------------------------------------


def test_inputs_out_of_scale_are_found_to_be_the_cause():
    model, optimizer = raw()
    found = checkup(model, 1e3 * X + 5e3, Y, optimizer=optimizer).try_remedies(
        epochs=30, batch_size=8
    )
    assert found.best.name == "inputs standardised"
    assert found.verdict.startswith("Best with inputs standardised: ")


def test_a_healthy_net_learns_as_it_is():
    model, optimizer = raw()
    found = checkup(model, X, Y, optimizer=optimizer).try_remedies(epochs=10, batch_size=8)
    assert [trial.name for trial in found] == ["as it is"]
    assert re.fullmatch(r"It learns as it is: \d\.\d{3} after 10 epochs, from \d.\d{3}\.",
                        found.verdict)  # fmt: skip


def made(*losses, guess=2.3, epochs=30, dead=None, trouble=None, before=2.31, **third):
    """Trials of these names and losses at the end."""
    found = Trials("SGD 0.1", epochs, 64, 1797, guess)
    for name, loss in losses:
        on_the_way = third.get(name.replace(" ", "_"), loss)
        found.append(
            Trial(name, Figures(before, 0.1, dead), Figures(on_the_way, 0.3),
                  Figures(loss, 0.9, dead), (trouble or {}).get(name, ""))
        )  # fmt: skip
    found.planned = len(found)
    return found


@pytest.mark.parametrize(
    "found, verdict",
    [
        (made(("as it is", 0.057), ("big", 0.134), ("nudged", 0.069), dead=14, big=0.2,
              as_it_is=0.9),
         "It learns as it is: 0.057 after 30 epochs, from 2.310. Faster at first, no better in the "
         "end: big and nudged. Train it; then come back for 14 dead ReLUs."),
        (made(("as it is", 0.9), ("big", 0.6), ("small", 2.0), ("none", 2.2), dead=1, epochs=1),
         "It learns as it is: 0.900 after 1 epoch, from 2.310. Ahead so far, which may not last: "
         "big. No help: small and none. Train it; then come back for 1 dead ReLU."),
        (made(("as it is", 2.3), ("a", 0.1), ("b", 0.2), ("c", 1.9), ("d", 2.29), ("e", 9.0)),
         "Best with a: 0.100 after 30 epochs; as it is, 2.300. Good too: b. Some help: c. "
         "No help: d and e."),
        (made(("as it is", 2.3), ("a", 0.1), ("b", 4.7), ("c", 2.4), b=1.8),
         "Best with a: 0.100 after 30 epochs; as it is, 2.300. Faster at first, no better in the "
         "end: b. No help: c."),
        (made(("as it is", math.nan), ("a", 0.1), trouble={"as it is": "diverges"}),
         "Best with a: 0.100 after 30 epochs; as it is, diverging. Diverging: as it is."),
        (made(("as it is", 2.3), ("a", math.inf), ("b", 2.29), trouble={"a": "diverges"}),
         "As it is, its loss is 2.300 after 30 epochs, from 2.310. Nothing that was tried is "
         "clearly better, or clearly below the 2.300 of a guess. Diverging: a."),
        (made(("as it is", math.nan), ("a", math.nan),
              trouble={"as it is": "diverges", "a": "diverges"}),
         "Nothing that was tried has a finite loss after 30 epochs. Diverging: as it is and a."),
        # A fall from far above a guess to the guess is no learning.
        (made(("as it is", 2.3), ("a", 0.5), before=50.0),
         "Best with a: 0.500 after 30 epochs; as it is, 2.300."),
        # A net that is trained already, and has little left to learn.
        (made(("as it is", 0.049), ("a", 0.04), before=0.05),
         "As it is, its loss is 0.049 after 30 epochs, from 0.050. Nothing that was tried is "
         "clearly better."),
        (made(("as it is", 5.0), ("a", 1.0), guess=None, before=9.0),
         "It learns as it is: 5.000 after 30 epochs, from 9.000. Ahead so far, which may not last: "
         "a."),
        (made(("as it is", 6.0), ("a", 1.0), guess=None, before=9.0),
         "Best with a: 1.000 after 30 epochs; as it is, 6.000."),
        (made(("as it is", math.nan), ("a", 0.1), guess=None, before=math.nan,
              trouble={"as it is": "diverges"}),
         "Best with a: 0.100 after 30 epochs; as it is, diverging. Diverging: as it is."),
        (made(("as it is", 2.3)),
         "As it is, its loss is 2.300 after 30 epochs, from 2.310."),
    ],
)  # fmt: skip
def test_the_verdict_follows_from_the_figures(found, verdict):
    assert found.verdict == verdict


def test_a_loss_that_diverges_is_said_to():
    model = net()
    found = checkup(model, 1e3 * X, Y).try_remedies(
        epochs=4, optimizer=lambda ps: SGD(ps, 1e6), batch_size=8
    )
    wild = [trial for trial in found if trial.trouble == "diverges"]
    assert wild and all(trial.loss == math.inf or trial.history.diverged for trial in wild)
    assert "Diverging: " in found.verdict


# --- a reader's own nets -------------------------------------------------------------------------


class Stubborn(nn.Module):
    """Raises when it is called a third time."""

    def __init__(self):
        self.weight, self.calls = Value(1.0), 0

    def __call__(self, x):
        self.calls += 1
        if self.calls > 2:
            raise RuntimeError("no\nmore")
        return self.weight * x[0]


def test_a_readers_own_nets_are_tried_beside_them_and_one_that_raises_says_so():
    model, optimizer = raw()
    wider, stubborn = net((20, 1)), Stubborn()
    found = checkup(model, X, Y, optimizer=optimizer).try_remedies(
        {"stubborn": stubborn, "wider": wider}, epochs=2
    )
    assert [trial.name for trial in found] == ["as it is", "stubborn", "wider"]
    assert found[1].trouble == "RuntimeError: no more" and found[1].loss == math.inf
    history = fit(wider, X, Y, loss="mse", epochs=2, optimizer=SGD(wider.parameters(), lr=0.05),
                  batch_size=64, seed=0)  # fmt: skip
    assert found[2].history.loss == history.loss
    assert "  stubborn  RuntimeError: no more\n" in str(found)


def test_what_the_net_as_it_is_raises_is_raised(monkeypatch):
    model, optimizer = raw()
    found = checkup(model, X, Y, optimizer=optimizer)

    def failing(*args, **named):
        raise MemoryError("too large")

    monkeypatch.setattr(trials, "fit", failing)
    with pytest.raises(MemoryError, match="too large"):
        found.try_remedies()


def test_a_net_with_a_norm_over_batches_is_tried_as_it_is_used():
    layers = [nn.Layer(4, 6, "tanh", seed=1), nn.BatchNorm(6), nn.Layer(6, 1, None, seed=2)]
    model = Stack(layers)
    found = checkup(model, X, Y).try_remedies({"same": model}, epochs=1)
    assert found[0].history.loss == found[1].history.loss
    assert model.training and not found[0].model.training


def linear(x):
    return WEIGHT * x[1]


WEIGHT = Value(0.5, "w")


def test_a_net_that_no_copy_can_be_made_of_says_so():
    with pytest.raises(ValueError, match="the net can't be copied: it reads its parameters from"):
        checkup(linear, X, Y).try_remedies()
    with pytest.raises(ValueError, match="the net 'line' can't be copied"):
        checkup(net(), X, Y).try_remedies({"line": linear})
    assert WEIGHT.data == 0.5


BAD = [
    ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
    ({"epochs": 1.5}, TypeError, "epochs must be a whole number"),
    ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
    ({"optimizer": "sgd"}, ValueError, "'sgd' is a name"),
    ({"remedies": [net()]}, TypeError, "a dict by name, .* got a list"),
    ({"remedies": {"": net()}}, TypeError, "has a name, a str, got ''"),
    ({"remedies": {1: net()}}, TypeError, "has a name, a str, got 1"),
    ({"remedies": {"a": 3}}, TypeError, "the net 'a': adopt takes"),
    ({"remedies": {"a": nn.MLP(3, [1])}}, ValueError, "the net 'a': .* expected 3 inputs, got 4"),
    ({"remedies": {"a": net((6, 2))}}, ValueError, r"'a' makes outputs of the shape \(2,\)"),
    ({"remedies": {"as it is": net()}}, ValueError, "'as it is' is taken"),
]


@pytest.mark.parametrize("arguments, kind, text", BAD)
def test_mistakes_are_errors_before_anything_is_trained(arguments, kind, text, monkeypatch):
    model, optimizer = raw()
    found = checkup(model, X, Y, optimizer=optimizer)
    monkeypatch.setattr(trials, "fit", None)
    with pytest.raises(kind, match=text):
        found.try_remedies(**arguments)


def test_without_targets_nothing_can_be_tried():
    with pytest.raises(ValueError, match="takes targets"):
        checkup(net(), X).try_remedies()


# --- Ctrl-C --------------------------------------------------------------------------------------


def pressed_in(monkeypatch, n, raises, midst=False):
    """Let the n-th training be interrupted: by an exception, or after or in its first epoch."""
    calls = []

    def stopped(*args, **named):
        calls.append(1)
        if len(calls) < n:
            return fit(*args, **named)
        if raises:
            raise KeyboardInterrupt
        history = fit(*args, **{**named, "epochs": 1})
        history.interrupted = True
        history[0] = replace(history[0], interrupted=midst)
        return history

    monkeypatch.setattr(trials, "fit", stopped)


@pytest.mark.parametrize("raises, midst", [(True, False), (False, False), (False, True)])
def test_after_ctrl_c_it_has_what_is_known(monkeypatch, raises, midst):
    model, optimizer = raw()
    found = checkup(model, 1e3 * X, Y, optimizer=optimizer)
    pressed_in(monkeypatch, 2, raises, midst)
    part = found.try_remedies(epochs=3)
    assert [trial.name for trial in part] == ["as it is", "inputs standardised"]
    assert part.interrupted and part[1].trouble == "interrupted" and part[1].after is None
    assert (part[1].third is None) == (raises or midst) and part[1].before is not None
    assert part.verdict.startswith(f"Interrupted at number 2 of {part.planned}. As it is, ")
    assert "interrupted" in repr(part)
    last = next(line for line in str(part).splitlines() if "standardised" in line)
    assert last.endswith("–")


def test_interrupted_at_once_there_is_nothing_to_compare_with(monkeypatch):
    model, optimizer = raw()
    found = checkup(model, X, Y, optimizer=optimizer)
    pressed_in(monkeypatch, 1, True)
    assert found.try_remedies().verdict == (
        "Interrupted at number 1 of 1. The net as it is has not been trained to the end; run it "
        "again."
    )


# --- how it shows itself -------------------------------------------------------------------------


def test_it_prints_a_table_and_a_verdict():
    found = made(("as it is", 0.057), ("4.weight × 1,583", 0.134), ("nudging 14 biases", 12.5))
    assert str(found) == (
        "Tried on copies, SGD 0.1, batches of 64, 1,797 rows:\n"
        "                          at first      10 epochs      30 epochs\n"
        "  as it is           2.310  10.0 %  0.057  30.0 %  0.057  90.0 %\n"
        "  4.weight × 1,583   2.310  10.0 %  0.134  30.0 %  0.134  90.0 %\n"
        "  nudging 14 biases  2.310  10.0 %   12.5  30.0 %   12.5  90.0 %\n"
        "It learns as it is: 0.057 after 30 epochs, from 2.310. No help: 4.weight × 1,583\n"
        "and nudging 14 biases."
    )


def test_it_is_80_columns_wide_whatever_stands_in_it():
    found = made(("as it is", 1.23e-9), ("layer." * 20 + "weight ÷ 1,583", 1e-9), dead=12345,
                 before=1e300)  # fmt: skip
    found.append(Trial("stubborn", trouble="RuntimeError: " + "no more " * 20))
    lines = str(found).splitlines()
    assert max(map(len, lines)) <= 80 and "…" in lines[3] and lines[4].endswith("…")
    assert lines[2].endswith("12,345 → 12,345")


def test_one_epoch_is_not_said_twice_and_all_rows_may_be_one_batch():
    model, optimizer = raw()
    found = checkup(model, X, Y, optimizer=optimizer).try_remedies(epochs=1, batch_size=None)
    first, head, *_ = str(found).splitlines()
    assert first == "Tried on copies, SGD 0.05, all in one batch, 60 rows:"
    assert head.split("  ")[-2:] == ["at first", "1 epoch"] and head.count("epoch") == 1


def test_a_notebook_shows_the_same_and_runs_nothing():
    found = made(("as it is", 0.057), ("<b>", 0.1))
    face = found._repr_html_()
    assert "&lt;b&gt;" in face and "<b>" not in face
    assert face.count("<tr>") == 3 and "It learns as it is" in face


def test_columns_by_name():
    found = made(("as it is", 0.057), ("a", 0.1), dead=3)
    found.append(Trial("b", trouble="ValueError: no"))
    table = found.table
    assert table["name"] == ["as it is", "a", "b"]
    assert table["loss after"] == [0.057, 0.1, None]
    assert table["dead before"] == [3, 3, None] and table["accuracy third"][0] == 0.3
    assert table["trouble"] == ["", "", "ValueError: no"]
    assert {len(column) for column in table.values()} == {3}
    assert found.best.name == "as it is" and repr(found) == "<Trials of 3 nets, best: as it is>"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_progress_is_one_line_that_is_cleared(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    model, optimizer = raw()
    checkup(model, 1e3 * X, Y, optimizer=optimizer).try_remedies({"mine": net()}, epochs=2)
    shown = stream.getvalue()
    tried = shown[shown.index("remedies: recording the net") :]
    assert "\n" not in tried and re.search(r"\r\s*\r$", tried)
    assert "as it is: epoch 2 of 2: loss" in tried and "inputs standardised: recording" in tried
    assert all(len(line) < 80 for line in tried.split("\r"))


def test_elsewhere_nothing_is_shown(capsys):
    model, optimizer = raw()
    checkup(model, X, Y, optimizer=optimizer).try_remedies()
    assert capsys.readouterr() == ("", "")


# --- PyTorch's nets ------------------------------------------------------------------------------


def test_a_pytorch_net_is_tried_with_its_own_optimizer():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layers = [torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)]
    model = torch.nn.Sequential(*layers).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    before = [p.detach().clone() for p in model.parameters()]
    found = checkup(model, 1e3 * X, CLASSES, optimizer=optimizer).try_remedies(epochs=2, seed=1)
    assert found.optimizer == "SGD 0.1, momentum 0.9"
    assert {"inputs standardised", "new ReLU net (He)"} <= {trial.name for trial in found}
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))
    order = np.random.default_rng(1).permutation(len(X))
    rows, targets = torch.tensor(1e3 * X[order]), torch.tensor(CLASSES[order])
    torch.nn.functional.cross_entropy(model(rows), targets).backward()
    optimizer.step()
    epoch = found[0].history[0]
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(model(rows), targets).item()
    assert epoch.validation_loss == pytest.approx(loss, rel=1e-9)
