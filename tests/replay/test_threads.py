"""Threads that record, replay, predict and read at once: none touches another's numbers."""

import gc
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import microgradx as mx
from microgradx.engine import Value, record_lines
from microgradx.replay import FrozenBranch, lift, record
from tests.replay.nets import gradient


@pytest.fixture(autouse=True)
def switching():
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def net(seed=0, width=8):
    return mx.nn.MLP(2, [width, width, 1], activation="tanh", seed=seed)


def numbers(model):
    return [(p.data, p.grad, p._readers) for p in model.parameters()]


def test_one_model_predicts_in_many_threads_and_stays_as_it_is():
    model = net()
    before, want = numbers(model), model([0.5, -1.0]).data
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: model.predict([[0.5, -1.0]])[0], range(24)))
    assert found == pytest.approx([want] * 24, rel=1e-14) and numbers(model) == before


def test_models_of_their_own_train_in_threads_as_they_do_alone():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20, 2))
    y = np.sign(X[:, 0] * X[:, 1])

    def trained(seed):
        model = net(seed)
        history = mx.fit(model, X, y, loss="hinge", epochs=3, batch_size=5, seed=seed)
        return history.loss, numbers(model)

    alone = [trained(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(trained, range(4))) == alone


def test_who_looks_at_a_model_sees_its_numbers_while_others_predict():
    model = net()
    want, seen, stop = model([0.5, -1.0]).data, set(), threading.Event()

    def look():
        while not stop.is_set():
            y = model([0.5, -1.0])
            seen.add((y.data, float(y), bool(y), y > -1.0, y == 1.0, repr(y)[:20]))

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(8):
        model.predict([[0.5, -1.0]])
    stop.set()
    thread.join()
    assert seen == {(want, want, True, True, False, "Value(data=-0.34297,"[:20])} or {
        facts[:5] for facts in seen
    } == {(want, want, True, want > -1.0, False)}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_recordings_that_overlap_leave_values_as_they_were(order):
    """Two that record one parameter: each begins before the other ends, in either order."""
    w, began, ended = Value(2.0, "w"), threading.Barrier(2), [threading.Event() for _ in range(2)]
    replays = {}

    def work(k):
        calls = []

        def fn(x):
            if not calls:
                began.wait(10)
                if order[0] != k:
                    ended[order[0]].wait(10)
            calls.append(x)
            return w * x

        replays[k] = record(fn, 0.5)
        ended[k].set()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [replays[k].forward([3.0]).tolist() for k in range(2)] == [[6.0], [6.0]]
    assert w.data == 2.0 and w > 1.0 and bool(w) and float(w) == 2.0 and type(w) is Value
    assert [name for name in vars(Value) if name == "trace"] == []


def test_one_replay_gives_each_thread_its_own_answer():
    replay = record(net(width=32), [0.0, 0.0])
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=(200, 2)) for _ in range(4)]
    wanted = [replay.forward(batch) for batch in batches]

    def wrong(k):
        return sum((replay.forward(batches[k]) != wanted[k]).any() for _ in range(40))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(wrong, range(4))) == [0, 0, 0, 0]


@pytest.mark.parametrize("ask", ["forward", "__call__"])
def test_a_call_is_not_disturbed_by_one_that_begins_before_its_end(ask):
    w = Value(2.0)
    replay = record(lambda x: w * x, 1.0)
    load, met = replay.load, threading.Barrier(2)

    def load_and_wait(*batch):
        load(*batch)
        try:
            met.wait(0.2)  # for the other's, which must not come
        except threading.BrokenBarrierError:
            pass

    replay.load = load_and_wait
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(getattr(replay, ask), ([1.0], [3.0])))
    assert [float(np.squeeze(x)) for x in found] == [2.0, 6.0]


class Untouchable(Value):
    """What a Value becomes so that nothing may be written on it."""

    __slots__ = ()

    def __setattr__(self, name, x):
        raise AssertionError(f"{name} is written on {self!r}")


def test_nothing_is_written_on_a_parameter():
    w, b = Value(2.0, "w"), Value(1.0, "b")
    w.__class__ = b.__class__ = Untouchable
    replay = record(lambda x: (mx.dot([w, w * b], [x, x], b) + mx.where(w, x, b)).tanh(), 0.5)
    replay([1.0, 2.0])
    lift((w * b + mx.dot([w], [b])).tanh())()
    with pytest.raises(AssertionError, match="is written on"):
        (w * b).backward()


def test_a_loss_is_that_of_the_batch_and_the_gradient_of_another_thread_is_refused():
    w = Value(2.0)
    replay = record(lambda x, y: (w * x - y) ** 2, 1.0, 1.0)
    assert replay([1.0], [0.0]) == 4.0 and replay.gradient.tolist() == [4.0]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(replay, [2.0], [0.0]).result() == 16.0
        with pytest.raises(RuntimeError, match="another thread has asked for since; hold a lock"):
            replay.gradient  # noqa: B018
        assert pool.submit(lambda: replay.gradient.tolist()).result() == [16.0]
    assert replay([1.0], [0.0]) == 4.0 and replay.gradient.tolist() == [4.0]


def test_who_has_not_called_a_replay_may_read_what_another_thread_left():
    w = Value(2.0)
    replay = record(lambda x: (w * x) ** 2, 1.0)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(replay, [2.0]).result()
    assert replay.gradient.tolist() == [16.0]


def test_lines_are_recorded_for_the_thread_that_asks_and_to_its_end():
    inside, leave = threading.Barrier(2), threading.Event()
    lines = []

    def first():
        with record_lines():
            inside.wait(10)
            leave.wait(10)
            lines.append((Value(1.0) * 2.0).line is None)

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(10)
    assert Value(1.0).line is None and (Value(1.0) * 2.0).line is None
    with record_lines():
        with record_lines():
            assert Value(1.0).line
        assert Value(1.0).line and (Value(1.0) * 2.0).line
        leave.set()
        thread.join(10)
        assert Value(1.0).line
    assert lines == [False] and Value(1.0).line is None and (Value(1.0) * 2.0).line is None


# --- no trace is left ------------------------------------------------------------------------


def recorded():
    model = net(width=4)
    replay = record(lambda x, y: mx.nn.mse_loss(model(x), y), [1.0, 2.0], 1.0)
    for n in range(1, 7):  # more sizes than are kept
        replay([[1.0, 2.0]] * n, [1.0] * n)


def in_float32():
    record(net(width=4), [1.0, 2.0], dtype="float32")


def unrolled():
    model = net(width=4)
    lift(mx.mean([model([float(k), 2.0]) for k in range(5)]))()


def refused():
    model = net(width=4)
    with pytest.raises(FrozenBranch):
        record(lambda x: model(x) if x[0] > 0 else model(x), [1.0, 2.0])


def swallowed():
    def fn(x):
        try:
            return Value(1.0) * float(x)
        except Exception:
            return Value(1.0) * x

    with pytest.raises(FrozenBranch):
        record(fn, 1.0)


def fitted():
    mx.fit(net(width=4), np.ones((5, 2)), np.ones(5), loss="mse", epochs=3)


def predicted():
    net(width=4).predict(np.ones((5, 2)))


@pytest.mark.some(2)
@pytest.mark.parametrize("work", [recorded, in_float32, unrolled, refused, predicted, fitted])
def test_nothing_is_left_for_the_collector(work):
    work()  # what is loaded late is there now
    gc.collect()
    gc.disable()
    try:
        work()
        assert gc.collect() == 0
    finally:
        gc.enable()


# --- interrupted at any line -----------------------------------------------------------------


class Interrupt(KeyboardInterrupt):
    pass


def interrupted(work, at):
    """Whether `work` was cut off at the line event number `at` of the package."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        if "microgradx" not in frame.f_code.co_filename:
            return None
        if event == "line":
            count += 1
            if count == at:
                raise Interrupt
        return trace

    sys.settrace(trace)
    try:
        work()
    except Interrupt:
        return True
    finally:
        sys.settrace(None)
    return False


@pytest.mark.some(2)
@pytest.mark.slow
@pytest.mark.parametrize("start", range(7))
def test_a_recording_that_is_interrupted_leaves_everything_as_it_was(start, many):
    model = net(width=2)
    record(model, [1.0, 2.0])
    kept = numbers(model), gc.isenabled(), [*vars(Value)], Value.__init__, vars(Value)["data"]
    at, cut = start + 1, True
    while cut:
        cut = interrupted(lambda: record(model, [1.0, 2.0]), at)
        now = numbers(model), gc.isenabled(), [*vars(Value)], Value.__init__, vars(Value)["data"]
        assert now == kept and (Value(1.0) * 2.0).line is None, at
        at += 7 * many(33, 11)
    y = model([1.0, 2.0])
    assert gradient(y, model.parameters())[1].any() and record(model, [1.0, 2.0]).source
