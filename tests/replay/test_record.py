"""A replay computes the mean loss and its gradient, and keeps numbers of its own."""

import contextlib
import copy
import itertools
import math
from functools import reduce
from types import SimpleNamespace

import numpy as np
import pytest

import microgradx as mx
from demos.plumbing import moons
from microgradx.engine import Value
from microgradx.replay import Replay, lift, record
from microgradx.replay.recording import _traced
from microgradx.replay.tracing import Recorded, Trace
from tests.counting import calls
from tests.interrupting import interrupted
from tests.replay.nets import NETS, by_loop, eager, gradient, replayed, styled, values

inf, nan = math.inf, math.nan


def labelled(*numbers):
    return [Value(x, f"w{k}") for k, x in enumerate(numbers)]


# --- a batch ---------------------------------------------------------------------------------


def test_the_loss_is_the_mean_and_the_gradient_its_own():
    w, b = labelled(2.0, 0.5)
    replay = record(lambda x, y: (w * x + b - y) ** 2, 1.0, 3.0)
    assert isinstance(replay, Replay)
    assert replay([1.0, 2.0], [3.0, 5.0]) == 0.25
    assert [p.label for p in replay.parameters] == ["w0", "w1"]
    assert replay.gradient.tolist() == [-1.5, -1.0]
    assert replay.forward([1.0, 2.0], [3.0, 6.5]).tolist() == [0.25, 4.0]


def test_any_size_of_batch_in_any_order():
    net = styled(by_loop)
    replay = record(net.fn, *net.example)
    dice = np.random.default_rng(1)
    for n in (7, 1, 64, 3, 64, 1, 7, 2):
        batch = dice.normal(size=(n, 3)), np.sign(dice.normal(size=n))
        loss, grads = replayed(replay, net.parameters, *batch)
        expected, wanted = eager(net, batch)
        assert loss == pytest.approx(expected, rel=1e-14)
        assert grads == pytest.approx(wanted, rel=1e-13, abs=1e-14)


def test_forward_and_a_call_in_turn_do_not_disturb_each_other():
    net = styled(by_loop)
    replay = record(net.fn, *net.example)
    half = [x[:3] for x in net.batch]
    loss, grads = replay(*net.batch), replay.gradient.copy()
    outputs = replay.forward(*net.batch)
    assert outputs.mean() == pytest.approx(loss, rel=1e-15)
    assert replay.gradient.tolist() == grads.tolist()  # that of the latest call
    assert replay.forward(*half).tolist() == pytest.approx(outputs[:3].tolist(), rel=1e-14)
    assert replay(*net.batch) == loss and replay.gradient.tolist() == grads.tolist()


def test_a_batch_is_loaded_once_and_run_while_the_parameters_change():
    net = styled(by_loop)
    replay, other = (record(net.fn, *net.example) for _ in range(2))
    few = [x[:3] * 1.5 for x in net.batch]
    replay(*few)
    for batch in (net.batch, few, net.batch):
        replay.load(*batch)
        for _ in range(3):
            loss, grads = other(*batch), other.gradient.tolist()
            replay.gradient[:] = nan
            assert replay.run() == loss and replay.gradient.tolist() == grads
            for each in (replay, other):
                each.data -= 0.1 * np.array(grads)
    loss = replay.run()
    assert replay(*few) != loss
    assert replay(*net.batch) == loss
    mean = replay.forward(*net.batch).mean()  # adds its seven terms in another order
    assert mean == pytest.approx(loss, rel=2 * 7 * 2**-53)


def test_arguments_of_any_shape_and_kind():
    w = Value(2.0)

    def fn(x, *rest, scale):
        (a, b), c = rest[0], rest[1]
        return w * x + a[0] * b[1] - c * scale

    with pytest.raises(TypeError, match="fn can't be called with 3 arguments"):
        record(fn, 1.0, [[1.0, 2.0], [3.0, 4.0]], 5.0)
    replay = record(
        lambda *args: fn(*args[:-1], scale=args[-1]), 1, np.array([[1, 2], [3, 4]]), 5.0, True
    )
    X = [[[1, 0], [0, 7]], [[2, 0], [0, 5]]]
    assert replay.forward([1, 2], X, np.float32([3, 4]), [True, False]).tolist() == [6.0, 14.0]


def test_outputs_are_a_nest_of_any_shape():
    w = Value(3.0)
    replay = record(lambda x: [[x[0], w], [x[1] * w, x[0]], [w, w * w]], [1.0, 2.0])
    found = replay.forward([[1.0, 2.0], [3.0, 4.0]])
    assert found.shape == (2, 3, 2)
    assert found.tolist() == [[[1, 3], [6, 1], [3, 9]], [[3, 3], [12, 3], [3, 9]]]
    with pytest.raises(TypeError, match="returns several Values; a loss is one. Use replay.forw"):
        replay([[1.0, 2.0]])


def test_an_output_may_be_a_part_of_another():
    w = labelled(2.0, 3.0, 5.0, 7.0, 11.0)

    def fn(x):
        part = w[0] * x[0] + w[1] * x[1]
        whole = part + w[2] * x[2] + w[3] * x[3] + w[4]
        return [whole, part, whole.tanh(), part]

    found = record(fn, [1.0] * 4).forward([[1.0, 2.0, 3.0, 4.0]])
    assert found.tolist() == [[62.0, 8.0, 1.0, 8.0]]


def test_zeros_keep_their_signs():
    replay = record(lambda x: [x * 0.0, x * -0.0, 1.0 / (x * -0.0), 1.0 / (-(x * 0.0))], 1.0)
    assert str(replay.forward([3.0]).tolist()) == "[[0.0, -0.0, -inf, -inf]]"


# --- micrograd's demo ------------------------------------------------------------------------


def numpy_demo(model, X, y, steps):
    """The losses of the demo's loop, in matrices written by hand."""
    state = model.state_dict()
    W = [np.array(state[f"layers.{i}.weight"]) for i in range(3)]
    b = [np.array(state[f"layers.{i}.bias"]) for i in range(3)]
    losses = []
    for step in range(steps):
        h = [X]
        for i in range(3):
            z = h[-1] @ W[i].T + b[i]
            h.append(np.maximum(z, 0) if i < 2 else z)
        margin = 1 - y * h[3][:, 0]
        squares = sum((p**2).sum() for p in W + b)
        losses.append(np.maximum(margin, 0).mean() + 1e-4 * squares)
        d = (-y * (margin > 0) / len(y))[:, None]
        lr = 1.0 - 0.9 * step / 100
        for i in (2, 1, 0):
            dW, db = d.T @ h[i], d.sum(0)
            d = (d @ W[i]) * (h[i] > 0)
            W[i] -= lr * (dW + 2e-4 * W[i])
            b[i] -= lr * (db + 2e-4 * b[i])
    return losses


def eager_demo(model, X, y, steps):
    parameters, losses = model.parameters(), []
    for step in range(steps):
        scores = [model(x) for x in X]
        hinge = mx.mean([(1 + -t * s).relu() for s, t in zip(scores, y)])
        loss = hinge + 1e-4 * mx.dot(parameters, parameters)
        gradient(loss, parameters)
        losses.append(loss.data)
        for p in parameters:
            p.data -= (1.0 - 0.9 * step / 100) * p.grad
    return losses


@pytest.mark.slow
def test_the_demo_takes_the_course_of_eager_and_of_numpy(many):
    X, y = moons()
    make = lambda: mx.nn.MLP(2, [16, 16, 1], seed=1)  # noqa: E731
    model = make()
    parameters = model.parameters()

    def loss(x, y):
        return (1 + -y * model(x)).relu() + 1e-4 * mx.dot(parameters, parameters)

    replay, losses = record(loss, X[0], y[0]), []
    for step in range(100):
        losses.append(replay(X, y))
        replay.data -= (1.0 - 0.9 * step / 100) * replay.gradient
    X, y = np.array(X), np.array(y, float)
    assert losses == pytest.approx(numpy_demo(make(), X, y, 100), rel=0, abs=1e-13)
    eager = eager_demo(make(), X.tolist(), y, many(10, 100))
    assert losses[: len(eager)] == pytest.approx(eager, rel=0, abs=1e-13)


# --- kinds of numbers ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype("f4")])
@pytest.mark.parametrize("name", ["softmax_cross_entropy", "recurrent", "layer_norm", "penalties"])
def test_in_32_bits(name, dtype):
    net = NETS[name]()
    replay = record(net.fn, *net.example, dtype=dtype)
    assert replay.data.dtype == replay.gradient.dtype == np.float32
    assert replay.forward(*net.batch).dtype == np.float32
    loss, grads = replayed(replay, net.parameters, *net.batch)
    expected, wanted = eager(net)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert np.abs(grads - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("dtype", [int, complex, "float16", np.longdouble, object, "words"])
def test_other_dtypes_are_refused(dtype):
    w = Value(2.0)
    with pytest.raises(ValueError, match="a replay computes in float64 or float32, got dtype"):
        record(lambda x: w * x, 1.0, dtype=dtype)
    with pytest.raises(ValueError, match="float64 or float32"):
        lift(w * 2.0, dtype=dtype)


def test_inf_passes_and_nan_in_a_parameter_too():
    w = Value(2.0)
    replay = record(lambda x: (w * x[0] + x[1]).relu(), [1.0, 2.0])
    assert replay.forward([[inf, 1.0], [-inf, 1.0], [1.0, 1.0]]).tolist() == [inf, 0.0, 3.0]
    assert replay([[1.0, inf]]) == inf
    w.data = nan
    replay.refresh()
    assert math.isnan(replay([[1.0, 2.0]]))
    assert math.isnan(replay([[1.0, 2.0]]))  # and is no change of it
    w.data = float("nan")  # nor is another nan
    assert math.isnan(replay([[1.0, 2.0]]))
    assert replay.gradient.tolist() == [1.0]
    replay.store()
    assert math.isnan(w.data)


# --- odd graphs ------------------------------------------------------------------------------


def both(fn, parameters, *batch):
    """(loss, gradient) of a recorded function and of the scalar graph."""
    replay = record(fn, *[x[0] for x in batch])
    net = SimpleNamespace(fn=fn, parameters=parameters, batch=batch)
    loss, grads = eager(net)
    found, mine = replayed(replay, parameters, *batch)
    return (found, mine.tolist()), (loss, grads.tolist())


ODD = {
    "the input itself": lambda x, w: x,
    "a parameter itself": lambda x, w: w[0],
    "a number computed of numbers": lambda x, w: Value(2.0) * 3.0,
    "of inputs alone": lambda x, w: x * x + abs(x),
    "of parameters alone": lambda x, w: w[0] * w[1] + w[2].exp(),
    "squared": lambda x, w: (x * w[0]) * (x * w[0]),
    "x + x": lambda x, w: w[0] * x + w[0] * x + (w[1] + w[1]),
    "x - x": lambda x, w: (w[0] - w[0]) * x + w[1] - x,
    "x / x": lambda x, w: w[0] / w[0] + (x * w[1]) / (x * w[1]),
    "x ** x": lambda x, w: (w[2] * x * x) ** (w[2] * x * x),
    "maximum of one": lambda x, w: mx.maximum(w[0], w[0]) + mx.minimum(x * w[1], x * w[1]),
    "dot of one row": lambda x, w: mx.dot(w, w) + mx.dot([x, x], [w[0], w[0]], w[0]),
    "a row of repeats": lambda x, w: mx.sum([w[0]] * 5) + mx.logsumexp([x * w[1]] * 3),
    "a row of numbers": lambda x, w: mx.dot([1.0, 2.0], [3.0, 4.0], w[0]) + mx.sum([1.0, x]),
    "zeros": lambda x, w: w[0] * 0.0 + 0.0 * x - 0.0 + w[1] * -0.0,
    "powers": lambda x, w: w[0] ** 0 + w[0] ** 1 + w[0] ** 2 + w[0] ** 3 + 2.0 ** w[1] + x**-1,
    "numbers on the left": lambda x, w: 1.0 - w[0] * x + 2.0 / w[1] - 3.0 * (5.0 - w[2]),
    "a leaf of its own": lambda x, w: Value(3.0) * w[0] + Value(3.0) * x,
    "detached": lambda x, w: (w[0] * x).detach() * w[1] + (w[1] * w[1]).detach() * x,
    "all detached": lambda x, w: (w[0] * x).detach(),
    "a nest of where": lambda x, w: mx.where(x, mx.where(w[0], x * w[1], 1.0), w[2] * w[1]),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_graphs(name):
    w = labelled(0.75, -1.5, 0.5)
    found, expected = both(lambda x: ODD[name](x, w), w, [1.0, -2.0, 0.25, -0.5])
    assert found[0] == pytest.approx(expected[0], rel=1e-14, abs=1e-15)
    assert found[1] == pytest.approx(expected[1], rel=1e-14, abs=1e-15)


def test_detach_passes_the_value_and_no_gradient():
    w, v = labelled(2.0, 3.0)
    replay = record(lambda x: (w * x).detach() * v, 1.0)
    assert replay([5.0]) == 30.0
    assert replayed(replay, [w, v], [5.0])[1].tolist() == [0.0, 10.0]


def test_a_parameter_behind_a_detach_alone_is_not_frozen_in():
    w, v = labelled(2.0, 3.0)
    replay = record(lambda x: w.detach() * x + v, 1.0)
    w.data = 7.0
    replay.refresh()
    assert replay.forward([1.0]).tolist() == [10.0]


def test_a_leaf_made_inside_is_a_number_and_no_parameter():
    w = Value(2.0)
    replay = record(lambda x: w * x * Value(3.0, "mine"), 1.0)
    assert replay.parameters == [w]
    assert replay([1.0]) == 6.0


def test_without_parameters_or_arguments():
    replay = record(lambda x: x * x, 1.0)
    assert replay([3.0]) == 9.0
    assert replay.parameters == [] and replay.gradient.shape == replay.data.shape == (0,)
    w = Value(2.0)
    replay = record(lambda: w * w)
    assert (replay(), replay.gradient.tolist(), replay.forward().tolist()) == (4.0, [4.0], [4.0])
    replay = lift(w)
    assert (replay(), replay.gradient.tolist(), replay.forward().tolist()) == (2.0, [1.0], 2.0)


def test_parameters_that_are_asked_for_alone_have_gradients():
    w, v = labelled(2.0, 3.0)
    replay = record(lambda x: w * x + v, 1.0, parameters=[v])
    assert replay.parameters == [v]
    assert (replay([5.0]), replay.gradient.tolist()) == (13.0, [1.0])
    assert record(lambda x: w * x, 1.0, parameters=[w, w]).parameters == [w]  # each once


def test_one_parameter_that_is_read_5000_times():
    w = Value(0.5)
    found, expected = both(
        lambda x: mx.sum([(w * x + k * 1e-3).tanh() for k in range(2500)]) + mx.sum([w] * 2500),
        [w],
        [0.5, -1.0],
    )
    assert found[0] == pytest.approx(expected[0], rel=1e-13)
    assert found[1] == pytest.approx(expected[1], rel=1e-13)


@pytest.mark.some(1)
@pytest.mark.slow
@pytest.mark.parametrize("step", [lambda x, w: x * w + 0.001, lambda x, w: (x * w).tanh()])
def test_a_chain_of_thousands_of_nodes(step, many):
    w, length = Value(0.99), many(1_500, 10_000)  # two nodes each

    def fn(x):
        for _ in range(length):
            x = step(x, w)
        return x

    replay = record(fn, 1.0)
    found = replayed(replay, [w], [1.0, 0.5])
    loss, grads = gradient(mx.mean([fn(Value(1.0)), fn(Value(0.5))]), [w])
    assert found[0] == pytest.approx(loss, rel=1e-11)
    assert found[1] == pytest.approx(grads, rel=1e-11)


@pytest.mark.some(1)
@pytest.mark.slow
@pytest.mark.parametrize("step", [lambda x, w: x * w + 0.001, lambda x, w: (x * w).tanh()])
def test_a_chain_twice_as_long_is_twice_the_work(step):
    def work(length):
        w = Value(0.99)
        chain = lambda x: reduce(lambda y, _: step(y, w), range(length), x)  # noqa: E731
        return calls(lambda: record(chain, 1.0))

    assert work(400) < 2.2 * work(200)


# --- parameters ------------------------------------------------------------------------------


def test_a_replay_keeps_its_own_numbers_until_they_are_stored():
    w, b = labelled(2.0, 0.5)
    replay = record(lambda x: (w * x + b) ** 2, 1.0)
    assert dict(zip(replay.parameters, replay.data.tolist())) == {w: 2.0, b: 0.5}
    replay([1.0, 3.0])
    replay.data -= 0.25
    assert (w.data, b.data) == (2.0, 0.5)
    replay.store()
    assert (w.data, b.data) == (1.75, 0.25)
    assert (w.grad, b.grad) == (22.0, 9.0)
    assert type(w.data) is float and type(w.grad) is float
    assert replay([2.0]) == 3.75**2


def after_every_interrupt(action):
    """Runs `action` again and again, cut off at line after line of the package, till it is not."""
    for n in itertools.count(1):
        if not interrupted(action, n):
            return
        yield n


@pytest.mark.parametrize("name", ["store", "scalar"])
def test_an_interrupt_at_any_line_of_storing_leaves_all_or_nothing(name):
    w, b = labelled(2.0, 0.5)
    replay = record(lambda x: (w * x + b) ** 2, 1.0)
    replay([1.0, 3.0])
    replay.data -= 0.25
    old, new = [(2.0, 7.0), (0.5, 8.0)], [(1.75, 22.0), (0.25, 9.0)]
    if name == "scalar":
        new = [(data, 0.0) for data, _ in new]
    w.grad, b.grad = 7.0, 8.0
    seen = set()
    for n in after_every_interrupt(getattr(replay, name)):
        now = [(p.data, p.grad) for p in (w, b)]
        assert now in (old, new), n
        seen.add(now == new)
    assert [(p.data, p.grad) for p in (w, b)] == new and False in seen
    replay.data -= 0.25
    replay.store()  # what it takes for known is what the parameters have
    assert (w.data, b.data) == (1.5, 0.0)


def test_an_interrupt_at_any_line_of_loading_leaves_no_mixture_of_batches():
    w, b = labelled(2.0, 0.5)
    replay = record(lambda x, y: (w * x + b - y) ** 2, 1.0, 1.0)
    old, new = ([1.0, 2.0], [3.0, 4.0]), ([5.0, 6.0], [7.0, 8.0])
    losses = [replay(*old), replay(*new)]
    batches = [[np.array(x) for x in batch] for batch in (old, new)]
    refused = 0
    replay.load(*batches[0])
    for n in after_every_interrupt(lambda: replay.load(*batches[1])):
        try:
            assert replay.run() in losses, n
        except ValueError as error:
            assert "no batch yet" in str(error)
            refused += 1
        replay.load(*batches[0])
    assert refused and replay.run() == losses[1]


def test_an_interrupt_at_any_line_of_a_refresh_moves_no_parameter():
    w, b = labelled(2.0, 0.5)
    replay = record(lambda x: (w * x + b) ** 2, 1.0)
    w.data = 3.0
    for n in after_every_interrupt(replay.refresh):
        with pytest.raises(ValueError, match="something else has changed it"):
            replay.store()
        assert w.data == 3.0, n
    replay.store()
    assert w.data == replay.data[0] == 3.0


def test_recording_leaves_data_and_grads_as_they_were():
    w, v = labelled(2.0, 3.0)
    w.grad, v.grad = 5.0, 7.0
    replay = record(lambda x: w * x + v.detach() * w, 1.0)
    assert (w.data, w.grad, v.data, v.grad) == (2.0, 5.0, 3.0, 7.0)
    assert not replay.gradient.any()
    replay([1.0])
    assert (w.grad, v.grad) == (5.0, 7.0)
    loss = w * v
    lift(loss)
    assert (w.data, w.grad, loss.grad) == (2.0, 5.0, 0.0)


# --- what fn keeps -----------------------------------------------------------------------------


class Keeper(mx.nn.Module):
    """Keeps what it computes, and its sample."""

    def __init__(self):
        self.first, self.last = mx.nn.Layer(2, 3, "tanh", seed=1), mx.nn.Neuron(3, None, seed=2)
        self.all = []

    def __call__(self, x):
        self.product, self.aside, self.x = x[0] * x[1], SimpleNamespace(x=x), x
        self.hidden = self.first(x)
        self.squares = mx.dot(self.hidden, self.hidden) + mx.where(x[0] * 2.0, x[1], self.hidden[0])
        self.all.append([x[0] * x[1] + 0.5, self.squares.detach(), *self.hidden, self.squares])
        return self.last(self.hidden) * 3.0


def facts(x):
    return x.data, x.partials, x.op, x.label, type(x), x.recorded


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("use", ["predict", "record", "fit"])
def test_what_fn_keeps_of_a_recording_is_what_it_computes_of_the_example(use):
    model, plain = Keeper(), Keeper()
    x = [0.75, -1.25]
    with pytest.warns(UserWarning, match="is computed|are no parameters"):
        plain([Value(each) for each in x])
    names = [*model.state_dict()]
    if use == "fit":  # its last call of the model is an eager one
        still = mx.optim.SGD(model.parameters(), lr=0.0)
        mx.fit(model, [x, x], [1.0, 1.0], loss="mse", epochs=1, optimizer=still)
        model.zero_grad()
    elif use == "predict":
        model.predict([x, [4.0, 5.0]])
    else:
        record(model, x)
    wanted = [facts(node) for node in plain.all[0]]
    for kept in model.all:
        found = [facts(node) for node in kept if isinstance(node, Value)]
        assert found == wanted[-len(found) :]
    assert len(model.all) > 1 and [*model.state_dict()] == names
    if use != "fit":
        assert [(v.data, v.op, v.partials) for v in model.x] == [(v, "detach", ()) for v in x]
    model.squares.backward()
    plain.squares.backward()
    grads = [[p.grad for p in each.first.parameters()] for each in (model, plain)]
    assert grads[0] == grads[1] and any(grads[0])


def test_a_sample_that_a_module_keeps_is_no_parameter_while_it_is_recorded():
    model, seen = Keeper(), []

    def loss(x):
        y = model(x)
        seen.append(len(model.parameters()))
        return y

    record(loss, [1.0, 2.0])
    assert seen == [13, 13] == [len(model.parameters())] * 2


@pytest.mark.parametrize("fails", [False, True])
def test_an_interrupt_at_any_line_of_a_recording_leaves_all_that_fn_keeps_right(fails):
    w, kept = Value(2.0, "w"), []
    wanted = [3.0, 8.0, 9.0]

    def fn(x):
        kept.append(x)
        kept.append(x * w + 2.0)
        kept.append(mx.dot([x, w], [w, x], -3.0))
        if fails and len(kept) > 3:
            raise OSError
        return kept[-1] * x

    def run():
        trace = Trace()
        for each in (trace, Trace(before=trace)):
            with contextlib.suppress(OSError):
                _traced(each, fn, {"x": 3.0})

    seen = set()
    for n in after_every_interrupt(run):
        assert [x.data for x in kept] == (wanted * 2)[: len(kept)], n
        assert not any(x.recorded for x in kept), n
        assert all(x.line is None or type(x.line) is tuple for x in kept), n
        seen.add(len(kept))
        kept.clear()
    assert seen == set(range(7))


ASKED = {
    "number": float,
    "data": lambda x: x.data,
    "op": lambda x: (x + 0.0).data,
    "op on the left": lambda x: (0.0 + x).data,
    "row": lambda x: mx.sum([x, 0.0]).data,
    "format": lambda x: float(f"{x:.3f}"),
    "repr": lambda x: float(repr(x).split("data=")[1].split(",")[0]),
    "order": lambda x: 8.0 if [x] == mx.engine.order(x)[:1] and 7.0 < x < 9.0 else 0.0,
    "grad": lambda x: x.data if x.backward() is None and x.grad == 1.0 else 0.0,
    "copy": lambda x: copy.deepcopy(x).data,
    "another grad": lambda x: setattr(x, "grad", 7.0) or x.grad + 1.0,
}


@pytest.mark.parametrize("ask", ASKED)
def test_who_asks_a_number_whose_trace_was_cut_off_as_it_ended_gets_its_answer(ask):
    w = Value(2.0, "w")

    def traced():
        one = Trace(before=Trace())
        x = one.input(3.0, "")
        return one, x * w + 2.0

    seen = set()
    for n in itertools.count(1):
        trace, y = traced()
        if not interrupted(trace.end, n):
            break
        if trace.over:
            seen.add(type(y))
            assert ASKED[ask](y) == 8.0 and type(y) is Value and y.partials == (1.0,), n
    assert seen == {Recorded, Value}


def test_a_parameter_that_was_changed_behind_its_back_is_found():
    w, b = labelled(2.0, 0.5)
    replay = record(lambda x: w * x + b, 1.0)
    b.data = 0.75
    message = r"parameter w1 is 0\.75 now and was 0\.5: .*replay\.refresh\(\)"
    for use in (lambda: replay([1.0]), lambda: replay.forward([1.0]), replay.store):
        with pytest.raises(ValueError, match=message):
            use()
    replay.refresh()
    assert replay([1.0]) == 2.75
    replay.store()


def test_a_change_of_any_of_many_parameters_is_found_within_some_calls():
    ps = [Value(0.1 * k) for k in range(150)]
    replay = record(lambda x: mx.dot(ps, x), [1.0] * 150)
    for p in (ps[0], ps[70], ps[149]):
        p.data += 1.0
        with pytest.raises(ValueError, match="something else has changed it"):
            for _ in range(5):
                replay([[1.0] * 150])
        replay.refresh()


def test_a_lifted_graph_runs_at_other_numbers_in_the_shapes_of_its_inputs():
    w = Value(2.0)
    x, y = [[Value(1.0), Value(2.0)]], Value(3.0)
    loss = mx.sum([(w * v - y) ** 2 for row in x for v in row])
    replay = lift(loss, inputs={"x": x, "y": [y]})
    assert replay.parameters == [w]
    assert replay([[1.0, 2.0]], [3.0]) == 2.0
    assert replay([[0.0, 5.0]], [1.0]) == 82.0
    assert replay.gradient.tolist() == [90.0]
    assert replay.forward([[0.0, 5.0]], [1.0]) == 82.0
    assert lift(loss, inputs=x)([[0.0, 5.0]]) == 9.0 + 49.0


def test_two_replays_of_one_model_are_told_of_each_other():
    model = mx.nn.MLP(2, [3, 1], seed=1)
    one, other = (record(lambda x: model(x) ** 2, [1.0, 2.0]) for _ in range(2))
    one([[1.0, 2.0]])
    one.data -= 0.1 * one.gradient
    one.store()
    with pytest.raises(ValueError, match="refresh"):
        other([[1.0, 2.0]])
    other.refresh()
    assert other([[1.0, 2.0]]) == one([[1.0, 2.0]])
    assert values(3.0).data == 3.0
