"""The watch: which unit died or saturated at which step, by which parameter, on which batch."""

import math
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import microgradx as mx
from microgradx import nn, optim
from microgradx.interop.adopted import keep_source
from microgradx.train import Watch

# --- beside NumPy: nets of one hidden layer, whose z is Σ w x + b --------------------------------


class Twin:
    """The same training by NumPy, with every number after every step."""

    def __init__(self, seed, op, spike):
        rng = np.random.default_rng(seed)
        self.X = rng.normal(size=(40, 3))
        self.y = np.tanh(self.X[:, 0]) + 0.1 * rng.normal(size=40)
        self.bad = int(rng.integers(40))
        self.y[self.bad] *= spike  # the row that does it
        self.model = nn.MLP(3, [8, 1], activation=op, seed=seed)
        self.op, self.lr, self.size, self.seed = op, 0.02, 8, seed

    def numbers(self):
        first, last = self.model.layers
        w = np.array([[p.data for p in n.weight] for n in first.neurons])
        b = np.array([n.bias.data for n in first.neurons])
        v = np.array([p.data for p in last.neurons[0].weight])
        return w, b, v, last.neurons[0].bias.data

    def steps(self, epochs):
        """(w, b, the batch) at first, and after each step of SGD."""
        w, b, v, c = self.numbers()
        yield w, b, ()
        rng = np.random.default_rng(self.seed)
        f = {"relu": lambda z: np.maximum(z, 0.0), "tanh": np.tanh}[self.op]
        for _ in range(epochs):
            order = rng.permutation(40)
            for start in range(0, 40, self.size):
                rows = order[start : start + self.size]
                x, n = self.X[rows], len(rows)
                z = x @ w.T + b
                h = f(z)
                slope = (z > 0) * 1.0 if self.op == "relu" else 1.0 - h * h
                g = 2.0 * (h @ v + c - self.y[rows]) / n
                d = g[:, None] * v * slope
                w, b = w - self.lr * d.T @ x, b - self.lr * d.sum(axis=0)
                v, c = v - self.lr * g @ h, c - self.lr * g.sum()
                yield w, b, tuple(rows.tolist())

    def shut(self, w, b):
        z = self.X @ w.T + b
        if self.op == "relu":
            return (z <= 0).all(axis=0)
        return (1.0 / np.cosh(np.clip(z, -300, 300)) ** 2 < 0.01).mean(axis=0) >= 0.5

    def events(self, epochs):
        """(step, unit, whether it is shut now, the tensor that moved z most, the batch)"""
        (w, b, _), *rest = self.steps(epochs)
        found, was = [], self.shut(w, b)
        for step, (u, a, batch) in enumerate(rest, 1):
            known = np.isfinite(u).all(axis=1) & np.isfinite(a)
            now = np.where(known, self.shut(u, a), was)
            for j in np.flatnonzero(now != was):
                z, after = self.X @ w[j] + b[j], self.X @ u[j] + a[j]
                seen = after if not now[j] else z
                row = int(seen.argmax() if self.op == "relu" else np.abs(seen).argmin())
                change = after[row] - z[row]
                parts = {"weight": (u[j] - w[j]) @ self.X[row], "bias": a[j] - b[j]}
                name = max(parts, key=lambda name: parts[name] / change)
                found.append((step, int(j), bool(now[j]), f"layers.0.{name}[{j}]", row, batch,
                              parts[name] / change))  # fmt: skip
            w, b, was = u, a, now
        return found

    def watched(self, epochs):
        history = mx.fit(
            self.model, self.X, self.y, loss="mse", epochs=epochs, batch_size=self.size,
            seed=self.seed, optimizer=optim.SGD(self.model.parameters(), lr=self.lr),
            watch=Watch(self.model, self.X),
        )  # fmt: skip
        return history


@pytest.mark.parametrize("op, spike", [("relu", 300.0), ("tanh", 3000.0)])
def test_what_a_bad_row_does_is_told_with_step_parameter_and_batch(op, spike, many):
    """An outlier among the targets; every event is compared, also those that follow."""
    planted, seed = 0, 4100
    while planted < many(4, 100):
        seed += 1
        twin = Twin(seed, op, spike)
        with np.errstate(all="ignore"):
            wanted = twin.events(3)
        first = [event for event in wanted if twin.bad in event[5] and event[2]]
        planted += bool(first)
        events = twin.watched(3).watch.events
        found = [(e.step, e.neuron, e.verdict != "on", e.parameter, e.row, e.batch) for e in events]
        assert found == [event[:6] for event in wanted], seed
        for event, (*_, share) in zip(events, wanted):
            assert math.isclose(event.share, share, rel_tol=1e-6), seed
            assert event.verdict in ({"relu": "dead", "tanh": "saturated"}[op], "on")


def test_shares_of_a_deep_net_add_up():
    """What each tensor added to z makes all of its change, through other layers too."""
    from microgradx.train.blame import Blame

    model = nn.MLP(3, [6, 5, 1], activation="tanh", seed=1)
    X = np.random.default_rng(0).normal(size=(4, 3))
    watch = Watch(model, X)
    replay = watch._replay
    before = replay.data.copy()
    after = before + 0.3 * np.random.default_rng(1).normal(size=len(before))
    zs = [nodes[0].inputs[0] for nodes in watch._nodes[:4]]
    known = []
    for numbers in (before, after):
        replay.data = numbers
        replay.load(X)
        known.append(replay.values_of(zs)[range(4), range(4)])
    blame = Blame(replay, before, after)
    ops = blame._ops(zs)
    read = [*{x for node in ops for x in node.inputs if x not in blame._places} | {*ops}]
    numbers = [blame._known(read, X, x) for x in (before, after)]
    credits = blame._swept(ops, zs, [set() for _ in zs], numbers)
    assert np.allclose(sum(credits.values()), known[1] - known[0], rtol=1e-12, atol=1e-14)


# --- it changes nothing --------------------------------------------------------------------------


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam])
@pytest.mark.parametrize("watch", [True, 3])
def test_a_watch_changes_no_number_of_the_training(make, watch):
    def trained(watched):
        model = nn.MLP(3, [8, 8, 1], seed=2)
        X = np.random.default_rng(0).normal(size=(150, 3))
        optimizer = make(model.parameters(), lr=0.05)
        look = Watch(model, X[:20], every=watch) if watch is not True and watched else watched
        history = mx.fit(model, X, X[:, 0], loss="mse", epochs=5, seed=1, optimizer=optimizer,
                         validation=(X, X[:, 0]), watch=look)  # fmt: skip
        numbers = [p.data for p in model.parameters()], optimizer.state
        return numbers, history.loss, history.validation_loss, history.gradients

    assert trained(True) == trained(False)


def test_rows_and_steps_are_the_readers():
    model = nn.MLP(3, [8, 1], seed=2)
    X = np.random.default_rng(0).normal(size=(150, 3))
    watch = Watch(model, X[:7], every=10)
    mx.fit(model, X, X[:, 0], loss="mse", epochs=6, batch_size=30, watch=watch)
    assert watch.steps == [0, 10, 20, 30]
    assert len(watch.updates["layers.0.weight"]) == 3
    assert "8 units on 7 rows, each 10 steps" in str(watch)
    mx.fit(model, X, X[:, 0], loss="mse", epochs=2, batch_size=30, watch=watch)  # it goes on
    assert watch.steps == [0, 10, 20, 30, 40]


# --- a loop of one's own -------------------------------------------------------------------------


def own_loop(watch, model, X, biases):
    found = []
    for step, bias in enumerate(biases, 1):
        model.layers[0].neurons[2].bias.data = bias
        found.append(watch(step, batch=[3, 1]))
    return found


def test_a_loop_of_ones_own():
    model = nn.MLP(3, [4, 1], seed=2)
    X = np.random.default_rng(0).normal(size=(20, 3))
    model.layers[0].neurons[2].bias.data = 1.0
    watch = Watch(model, X)
    found = own_loop(watch, model, X, [0.5, -50.0, -60.0, 2.0])
    assert [len(events) for events in found] == [0, 1, 0, 1]
    [died], [back] = found[1], found[3]
    assert watch.deaths() == [died] and watch.returns() == [back] and not watch.saturations()
    assert watch.of("layers.0", 2) == [died, back]
    assert (died.step, died.verdict, died.before, died.batch) == (2, "dead", "on", (3, 1))
    assert died.parameter == "layers.0.bias[2]" and died.share == pytest.approx(1.0)
    assert died.z[1] - died.z[0] == pytest.approx(-50.5)
    assert str(died).startswith("layers.0 2 died at step 2: z of row ")
    assert "more than all" not in str(died) and "100 % of it by layers.0.bias[2]" in str(died)
    assert str(died).endswith("; the batch was rows 3 1")
    assert watch.updates["layers.0.bias"][2] == pytest.approx(
        math.log10(10.0 / math.sqrt(sum(
            n.bias.data**2 if k != 2 else 3600.0 for k, n in enumerate(model.layers[0].neurons)
        ))))  # fmt: skip
    assert watch.updates["layers.1.weight"] == [-math.inf] * 4


def test_looks_that_are_far_apart_say_between_which():
    model = nn.MLP(3, [4, 1], seed=2)
    X = np.random.default_rng(0).normal(size=(20, 3))
    model.layers[0].neurons[2].bias.data = 1.0
    watch = Watch(model, X, every=3)
    own_loop(watch, model, X, [1.0, 1.0, 1.0, -50.0, -50.0, -50.0])
    assert watch.steps == [0, 3, 6] and watch.deaths()[0].when == "between steps 3 and 6"


def test_an_adopted_net_is_read_again_at_each_look():
    """From the arrays of its source, which here is two of our own."""
    layer = nn.Layer(3, 4, "relu", seed=0)
    model = mx.adopt(layer.__call__, np.zeros((1, 3)))
    assert not model.is_live
    with pytest.raises(TypeError, match="has no source"):
        model.refresh()
    numbers = {"weight": np.array([[w.data for w in n.weight] for n in layer.neurons]),
               "bias": np.ones(4)}  # fmt: skip
    keep_source(model, lambda: numbers)
    X = np.random.default_rng(0).normal(size=(9, 3))
    watch = Watch(model, X)
    before = [p.data for p in model.parameters()]
    numbers["bias"] = np.array([1.0, -90.0, 1.0, -90.0])
    assert [e.neuron for e in watch(1) if e.verdict == "dead"] == [1, 3]
    assert [p.data for p in model.parameters()] == before  # it reads the source's own arrays
    assert [e.neuron for e in watch(2)] == []
    numbers["weight"] = numbers["weight"][:2]
    with pytest.raises(ValueError, match="make a Watch of it now"):
        watch(3)
    keep_source(model, lambda: {"bias[2]": 7.0})
    assert model.refresh() is model
    assert {p.label: p.data for p in model.parameters()}["bias[2]"] == 7.0


def test_pytorchs_live_net():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    X = np.random.default_rng(0).normal(size=(30, 3))
    watch = Watch(net, X)
    first = {*np.flatnonzero((net[0](torch.as_tensor(X).float()) <= 0).all(dim=0).numpy())}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    x, y = torch.as_tensor(X).float(), torch.as_tensor(3.0 * X[:, :1]).float()
    for step in range(1, 7):
        optimizer.zero_grad()
        ((net(x) - y) ** 2).mean().backward()
        optimizer.step()
        watch(step)
        dead = (net[0](x) <= 0).all(dim=0).numpy()
        now = dict.fromkeys(first, "dead") | {e.neuron: e.verdict for e in watch.events}
        assert {k for k, verdict in now.items() if verdict == "dead"} == {*np.flatnonzero(dead)}
    assert watch.deaths()
    adopted = mx.adopt(net, X[:8])
    optimizer.step()
    assert adopted.refresh().parameters()[0].data == net[0].weight[0, 0].item()


# --- nan -----------------------------------------------------------------------------------------


def test_the_first_nan_in_the_loss_with_its_op_and_rows():
    """The logarithm of 0, once the output is."""
    model = nn.MLP(1, [1], output="linear", seed=0)
    [neuron] = model.layers[0].neurons
    neuron.weight[0].data, neuron.bias.data = 1.0, 0.5
    X, y = np.array([[1.0], [-0.5], [2.0], [3.0]]), np.zeros(4)

    def loss(p, t):
        p = p[0] if isinstance(p, list) else p
        return -(p.log()) + t

    history = mx.fit(model, X, y, loss=loss, epochs=2, batch_size=None,
                     optimizer=optim.SGD(model.parameters(), lr=0.01), watch=True)  # fmt: skip
    found = history.watch.not_finite
    assert found.step == 1 and found.rows == (1,) and found.where.startswith("log")
    assert found.words.startswith("At step 1 the first number that is not finite was that of log")
    assert found.words in " ".join(str(history.watch).split())


def test_a_gradient_that_is_infinite_where_the_loss_is_not():
    model = nn.MLP(1, [1], seed=0)
    [neuron] = model.layers[0].neurons
    neuron.weight[0].data, neuron.bias.data = 1.0, 0.0
    X, y = np.array([[1.0], [0.0], [2.0]]), np.zeros(3)
    history = mx.fit(model, X, y, loss=lambda p, t: (p[0] if isinstance(p, list) else p) ** 0.5 + t,
                     epochs=1, batch_size=None, watch=True)  # fmt: skip
    found = history.watch.not_finite
    assert (found.where, found.rows) == ("gradient", (1,))


def test_a_parameter_that_becomes_nan_in_ones_own_loop():
    model = nn.MLP(2, [3, 1], seed=0)
    watch = Watch(model, [[1.0, 2.0]])
    model.layers[0].neurons[1].bias.data = math.nan
    watch(1)
    assert watch.not_finite.where == "layers.0.bias" and watch.not_finite.step == 1
    assert not watch.events  # what is nan is neither dead nor alive
    model.layers[0].neurons[1].bias.data = 1.0
    watch(2)
    assert watch.not_finite.step == 1


# --- what is seen of it --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dying():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 5))
    model = nn.MLP(5, [16, 16, 1], activation="relu", init="he", seed=1)
    history = mx.fit(model, X, X[:, 0] * X[:, 1], loss="mse", epochs=4, batch_size=16, seed=0,
                     optimizer=optim.SGD(model.parameters(), lr=0.3), watch=True)  # fmt: skip
    return model, X, history


def test_the_history_tells_of_deaths_and_saturations(dying):
    _, _, history = dying
    assert history.deaths() == history.watch.deaths() and history.saturations() == []
    with pytest.raises(ValueError, match=re.escape("fit(…, watch=True)")):
        mx.fit(nn.MLP(1, [1]), [[1.0]], [1.0], loss="mse", epochs=1).deaths()


def test_the_page_is_read_in_80_columns(dying):
    _, _, history = dying
    text = str(history.watch)
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith("Watch of 32 units on 100 rows, each step: a forward pass")
    assert re.search(r"step \d+: layers\.1 [\d ]+ died; of \d+, z of row \d+ went from", text)


def test_the_picture_has_a_bar_for_each_time_that_a_unit_was_dead(dying, tmp_path):
    _, _, history = dying
    path = history.watch.save(tmp_path / "watch")
    assert path.suffix == ".svg"
    root = ET.fromstring(path.read_text(encoding="utf-8"))
    titles = [x.text for x in root.iter("{http://www.w3.org/2000/svg}title")][1:]
    assert len(titles) == len(history.deaths())
    died = history.deaths()[-1]
    assert f"{died.layer} {died.neuron}: dead, steps {died.step} to 52" in titles
    assert "<svg" in history.watch._repr_html_() and "Watch of" in history.watch._repr_html_()
    with pytest.raises(ValueError, match=r"saved as \.svg"):
        history.watch.save(tmp_path / "watch.png")


def test_the_checkup_quotes_it(dying):
    model, X, history = dying
    y = X[:, 0] * X[:, 1]
    for watch in (history, history.watch):
        c = mx.checkup(model, X[::2], y[::2], watch=watch)
        dead = next(f for f in c.findings if f.verdict == "dead" and f.where == "layers.1")
        event = next(e for e in history.deaths()[::-1] if e.neuron == 2)
        assert f"2 died at step {event.step}: {event.why}." in dead.because
        assert re.search(r"\d+ others died before, the first at step \d", dead.because)
    assert "died at step" not in str(mx.checkup(model, X, y))


# --- bad input -----------------------------------------------------------------------------------


def test_mistakes_are_named():
    model = nn.MLP(2, [3, 1], seed=0)
    X, y = [[1.0, 2.0]] * 3, [1.0] * 3
    for change, error, words in (
        (lambda: Watch(model, []), ValueError, "X"),
        (lambda: Watch(model, X, every=0), ValueError, "every"),
        (lambda: Watch(3, X), TypeError, "adopt takes"),
        (lambda: mx.fit(model, X, y, loss="mse", epochs=1, watch=3), TypeError, "got an int"),
        (lambda: mx.fit(model, X, y, loss="mse", epochs=1, watch=Watch(nn.MLP(2, [1]), X)),
         ValueError, "of another model"),
        (lambda: mx.checkup(model, X, y, watch=3), TypeError, "a Watch, or the history"),
        (lambda: mx.checkup(model, X, y, watch=mx.fit(model, X, y, loss="mse", epochs=1)),
         ValueError, "has no watch"),
    ):  # fmt: skip
        with pytest.raises(error, match=re.escape(words)):
            change()


def test_a_model_that_has_changed_is_an_error_and_what_was_seen_stays():
    model = nn.MLP(2, [3, 1], seed=0)
    watch = Watch(model, [[1.0, 2.0]])
    watch(1)
    with pytest.raises(ValueError, match="step 1 is not after 1"):
        watch(1)
    model.layers[0] = nn.Layer(2, 3, seed=1)
    with pytest.raises(ValueError, match="other parameters than when the watch began"):
        watch(2)
    assert watch.steps == [0, 1] and str(watch)


def test_running_statistics_that_move_are_read_again():
    """A batch norm's, which a replay has as constants."""

    class Net(nn.Module):
        def __init__(self):
            self.layer, self.norm = nn.Layer(2, 3, None, seed=0), nn.BatchNorm(3)

        def __call__(self, x):
            return [y.relu() for y in self.norm(self.layer(x))]

    model = Net().eval()
    X = np.random.default_rng(0).normal(size=(10, 2))
    watch = Watch(model, X)
    model.norm.running_mean = [90.0, 0.0, 0.0]
    events = watch(1)
    assert [e.verdict for e in events] == ["dead"]


def test_a_net_without_units_is_watched_for_its_updates():
    model = nn.MLP(2, [1], seed=0)
    watch = Watch(model, [[1.0, 2.0]])
    model.layers[0].neurons[0].bias.data += 1.0
    assert watch(1) == [] and watch.updates["layers.0.bias"] == [0.0]
    assert "0 units on 1 row" in str(watch) and "<svg" in watch.svg()
