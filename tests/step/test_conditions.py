"""The sweep one visit at a time, against `backward()`, bit for bit."""

import bdb
import math
import os
import random
import subprocess
import sys

import pytest

from microgradx import Value, dot, engine, logsumexp, nn, step, sum
from microgradx.engine import order
from microgradx.step.conditions import Visit
from tests.explain.test_paths import random_graph

inf, nan = math.inf, math.nan


def leaves(output):
    return [node for node in order(output) if node.rule is None]


def grads(output):
    """Every grad, to the last digit; a -0.0 is no 0.0, and nan is nan."""
    return [node.grad.hex() for node in order(output)]


def leaf_grads(output):
    return [leaf.grad.hex() for leaf in leaves(output)]


def put_old_grads(output, seed=0):
    """Grads as earlier sweeps might have left them, so that what is not restored shows."""
    rng = random.Random(seed)
    for node in order(output):
        node.grad = rng.choice([0.0, 1.0, -0.3, 1e30, 1e-30])


def after_backward(output, seed=1.0):
    """The grads that `backward(seed)` leaves on top of the old ones."""
    put_old_grads(output)
    output.backward(seed)
    expected = grads(output)
    put_old_grads(output)
    return expected


# --- graphs ---------------------------------------------------------------------------------------


def mlp_loss(seed):
    rng = random.Random(seed)
    activation = ["tanh", "relu", "gelu", "sigmoid"][seed % 4]
    model = nn.MLP(3, [4, 3, 2], activation, seed=seed)
    xs = [[rng.gauss(0.0, 1.0) for _ in range(3)] for _ in range(3)]
    return nn.mse_loss([model(x)[0] for x in xs], [1.0, -1.0, 0.5])


def rows_that_share(seed):
    """Dots that hold one Value in the weights, the xs and the bias, sums and logsumexps of them."""
    rng = random.Random(seed)
    values = [Value(rng.choice([-2.0, -0.5, 0.0, 1.0, 1.5]), name) for name in "abc"]
    for _ in range(5):
        x, y = rng.choice(values), rng.choice(values)
        values.append(dot([x, y, 0.25], [x, 3.0, y], x))
        values.append(sum([x, y, x]).relu())
        values.append(logsumexp([y, 1.0, y, x]))
    return dot(values[-3:], values[-4:-1], values[-1])


def extremes(seed):
    """Graphs whose numbers overflow, are inf or are nan."""
    rng = random.Random(seed)
    numbers = [inf, -inf, nan, 1e308, -1e308, 5e-324, 0.0, -0.0, 1.0]
    values = [Value(rng.choice(numbers)) for _ in range(4)]
    for _ in range(8):
        x, y = rng.choice(values), rng.choice(values)
        made = [x * y, x + y, x.relu(), x.tanh(), x.exp(), dot([x, y], [y, 0.0], x), abs(x)]
        values.append(rng.choice(made))
    return values[-1] * values[-2] + values[-3]


def lonely_leaf(seed):
    return Value(2.0)


GRAPHS = {
    "random": (random_graph, 300),
    "small": (lambda seed: random_graph(seed, 1 + seed % 4), 40),
    "mlp": (mlp_loss, 8),
    "rows": (rows_that_share, 60),
    "extremes": (extremes, 200),
    "leaf": (lonely_leaf, 1),
}
SEEDS = [1.0, -2.5, 0.0, -0.0, 1e-320, 1e308, inf, nan]


def some_graphs():
    """A few of each kind, small enough to be left off at every visit."""
    for build, count in GRAPHS.values():
        yield from (build(seed) for seed in range(min(count, 6)) if build is not mlp_loss)
    yield mlp_loss(0)


# --- the same as backward() -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", GRAPHS)
def test_all_visits_leave_what_backward_leaves(kind):
    build, count = GRAPHS[kind]
    for number in range(count):
        output = build(number)
        seeds = SEEDS if number % 10 == 0 else [1.0, SEEDS[number % len(SEEDS)]]
        for seed in seeds:
            expected = after_backward(output, seed)
            check_sweep(output, seed)
            assert grads(output) == expected
            put_old_grads(output)
            assert output.backward(seed, pause=lambda visit: False) is None
            assert grads(output) == expected


def check_sweep(output, seed):
    """Take every visit, and hold it to what it says of itself."""
    old = {leaf: leaf.grad for leaf in leaves(output)}
    so_far = dict.fromkeys(order(output), 0.0)
    so_far[output] = float(seed)
    visited = []
    for visit in output.backward_steps(seed):
        assert type(visit) is Visit and all(type(field) is tuple for field in visit[2:])
        node, adjoint, inputs, partials, contributions, before, after = visit
        assert adjoint.hex() == so_far[node].hex()
        assert inputs == node.inputs and partials == node.partials
        assert len(inputs) == len(partials) == len(contributions) == len(before) == len(after)
        for i, input in enumerate(inputs):
            assert contributions[i].hex() == (partials[i] * adjoint).hex()
            assert before[i].hex() == so_far[input].hex()
            so_far[input] += contributions[i]
            assert after[i].hex() == so_far[input].hex()
        for other, grad in so_far.items():
            assert other.grad.hex() == grad.hex()  # of this sweep alone, meanwhile
        visited.append(visit)
    assert [visit.node for visit in visited] == order(output)
    for visit in visited:  # the adjoint was final
        final = visit.adjoint + old[visit.node] if visit.node in old else visit.adjoint
        assert visit.node.grad.hex() == final.hex()


def test_a_value_read_three_times_by_one_dot():
    x = Value(3.0, "x")
    y = dot([x, 2.0], [x, x], x)
    first, last = y.backward_steps()
    assert first.inputs == (x, x, x, x) and first.partials == (3.0, 3.0, 2.0, 1.0)
    assert first.before == (0.0, 3.0, 6.0, 8.0) and first.after == (3.0, 6.0, 8.0, 9.0)
    assert last == (x, 9.0, (), (), (), (), ())


def test_what_a_detach_cut_off_is_not_visited():
    x = Value(3.0)
    y = x.detach()
    assert [visit.node for visit in (y * 2.0).backward_steps()][1:] == [y]


def test_one_node_a_visit_and_nothing_before_the_first():
    x = Value(2.0)
    y = x * x
    x.grad, y.grad = 5.0, 7.0
    steps = y.backward_steps()
    assert (x.grad, y.grad) == (5.0, 7.0)
    next(steps)
    assert (x.grad, y.grad) == (4.0, 1.0)
    next(steps)
    assert (x.grad, y.grad) == (4.0, 1.0)
    assert list(steps) == [] and (x.grad, y.grad) == (9.0, 1.0)


@pytest.mark.parametrize("seed", ["1", None, 1j, [1.0]])
def test_a_seed_that_is_no_number(seed):
    x = Value(2.0)
    x.grad = 5.0
    with pytest.raises(TypeError, match="holds one float"):
        next((x * x).backward_steps(seed))
    with pytest.raises(TypeError, match="holds one float"):
        (x * x).backward(seed, pause=step.stops)
    assert x.grad == 5.0


@pytest.mark.slow
def test_long_chains_need_no_recursion():
    x = y = Value(1.0)
    for _ in range(100_000):
        y = y * 1.0
    assert len(list(y.backward_steps())) == 100_001
    assert x.grad == 1.0
    for visit in y.backward_steps():
        if visit.node is x:
            break
    del visit
    assert x.grad == 1.0
    y.backward(pause=step.below(0.5))
    assert x.grad == 2.0


# --- left off half-way ----------------------------------------------------------------------------


class Off(Exception):
    """The error that a consumer raises."""


def close(output, k):
    steps = output.backward_steps()
    for _ in range(k):
        next(steps)
    steps.close()


def leave_the_loop(output, k):
    steps = output.backward_steps()
    for i, _ in enumerate(steps):
        if i == k:
            break
    del steps


def raise_in_the_loop(output, k):
    with pytest.raises(Off):
        for i, _ in enumerate(output.backward_steps()):
            if i == k:
                raise Off


def throw(output, k):
    steps = output.backward_steps()
    for _ in range(k + 1):
        next(steps)
    with pytest.raises(KeyboardInterrupt):
        steps.throw(KeyboardInterrupt)


def raise_in_pause(output, k, error=Off):
    seen = []

    def pause(visit):
        seen.append(visit)
        if len(seen) > k:
            raise error

    with pytest.raises(error):
        output.backward(pause=pause)
    assert len(seen) == k + 1


def interrupt_in_pause(output, k):
    raise_in_pause(output, k, KeyboardInterrupt)


def quit_the_debugger(output, k):
    def quit():
        raise bdb.BdbQuit

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "breakpointhook", quit)
        with pytest.raises(bdb.BdbQuit):
            output.backward(pause=step.at(order(output)[k]))


def interrupt_in_the_visit(output, k):
    """Ctrl-C between two contributions: the node has its grad, its inputs may have it or not."""
    calls, whole = [], engine.visit

    def visit(node, adjoint):
        calls.append(node)
        if len(calls) > k:
            for input in node.inputs[:1]:
                input.grad = 1e9
            raise KeyboardInterrupt
        return whole(node, adjoint)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "visit", visit)
        with pytest.raises(KeyboardInterrupt):
            list(output.backward_steps())


WAYS = [
    close,
    leave_the_loop,
    raise_in_the_loop,
    throw,
    raise_in_pause,
    interrupt_in_pause,
    quit_the_debugger,
    interrupt_in_the_visit,
]


@pytest.mark.parametrize("way", WAYS)
def test_left_off_at_any_visit_every_leaf_is_as_before(way):
    for output in some_graphs():
        expected = after_backward(output)
        before = leaf_grads(output)
        for k in range(len(order(output))):
            put_old_grads(output)
            way(output, k)
            assert leaf_grads(output) == before
            assert all(node._readers == 0 for node in order(output))
            if k % 5 == 0:
                output.backward()
                assert grads(output) == expected


def test_closed_before_it_began_nothing_has_changed():
    output = random_graph(0)
    put_old_grads(output)
    before = grads(output)
    close(output, 0)
    assert grads(output) == before


def test_a_sweep_left_in_pause_leaves_at_once():
    """Even where the traceback, which a reader may keep, still holds the frame."""
    x = Value(2.0)
    x.grad = 5.0

    def pause(visit):
        raise Off

    with pytest.raises(Off) as kept:
        (x * x).backward(pause=pause)
    assert x.grad == 5.0 and kept.tb is not None


# --- conditions -----------------------------------------------------------------------------------


def held(condition, output, seed=1.0):
    """The labels, or else the ops, of the nodes at which the sweep would pause."""
    visits = output.backward_steps(seed)
    answers = [(visit.node, condition(visit)) for visit in visits]
    assert {type(answer) for _, answer in answers} == {bool}
    return " ".join(node.label or node.op for node, answer in answers if answer)


def example(x, w):
    """loss = (relu(w·x))² · 3, every node with a name."""
    x, w = Value(x, "x"), Value(w, "w")
    z = w * x
    z.label = "z"
    h = z.relu()
    h.label = "h"
    square = h * h
    square.label = "square"
    loss = square * 3.0
    loss.label = "loss"
    return loss


@pytest.mark.parametrize(
    "x, w, seed, expected",
    [
        (2.0, 0.5, 1.0, ""),
        (2.0, -0.5, 1.0, "square"),  # h = 0, and 0 is the partial of h · h; below, adjoints are 0
        (0.0, 0.5, 1.0, "square"),
        (2.0, 0.5, 0.0, ""),  # no gradient comes in
        (2.0, -0.5, -1e-300, "square"),
        (2.0, -0.5, 5e-324, "square"),
        (2.0, -0.5, nan, ""),  # times 0 it is nan: it goes on
        (2.0, -0.5, inf, ""),
    ],
)
def test_stops(x, w, seed, expected):
    assert held(step.stops, example(x, w), seed) == expected


def test_stops_at_a_dead_relu_a_zero_weight_and_a_negative_zero():
    x, w = Value(-2.0, "x"), Value(0.0, "w")
    assert held(step.stops, x.relu() + 1.0) == "relu"
    assert held(step.stops, x.relu().relu() * 2.0) == "relu"  # the outer one; the inner gets 0
    assert held(step.stops, w * x) == "mul"
    assert held(step.stops, x * -0.0) == "mul"
    assert held(step.stops, dot([w, 1.0], [x, 2.0], x)) == "dot"
    assert held(step.stops, x.detach() + 1.0) == ""  # no edge, nothing to stop at
    tiny = x * 1e-200 * 1e-200
    assert held(step.stops, tiny) == "" and held(step.not_finite, tiny) == ""


@pytest.mark.parametrize(
    "output, seed, expected",
    [
        (lambda x: x * 2.0 + 1.0, 1.0, ""),
        (lambda x: x * 2.0 + 1.0, inf, "add mul x"),
        (lambda x: x * 2.0 + 1.0, -inf, "add mul x"),
        (lambda x: x * 2.0 + 1.0, nan, "add mul x"),
        (lambda x: x * 1e300 * 1e300, 1.0, "mul x"),  # the second mul hands on 1e300, the first inf
        (lambda x: x * 1e300, 1.7e308, "mul x"),  # a finite adjoint, an infinite contribution
        (lambda x: x.relu() * 1e300, 1e10, "mul relu x"),  # inf · 0 = nan
        (lambda x: x * inf, 1.0, "mul x"),
        (lambda x: x * 1.7e308, 1.0, ""),
    ],
)
def test_not_finite(output, seed, expected):
    assert held(step.not_finite, output(Value(-1.0, "x")), seed) == expected


@pytest.mark.parametrize(
    "size, expected",
    [
        (0.0, ""),
        (5e-324, "x"),  # 0 is below any
        (0.25, "c x"),
        (0.5, "b c x"),
        (0.5000001, "a b c x"),
        (1.0, "a b c x"),
        (1.0000001, "out a b c x"),
        (inf, "out a b c x"),
        (nan, ""),
        (-1.0, ""),
    ],
)
def test_below(size, expected):
    """Adjoints 1, -0.5, 0.25, 0.125 and 0."""
    x = Value(3.0, "x")
    c = x * 0.0
    b = c * 0.5
    a = b * -0.5
    out = a * -0.5
    for node, label in zip((c, b, a, out), ("c", "b", "a", "out")):
        node.label = label
    assert held(step.below(size), out) == expected


def test_a_nan_is_not_below_anything():
    assert held(step.below(inf), Value(3.0) * 2.0, nan) == ""


def test_at_is_this_very_node():
    output = example(2.0, 0.5)
    for node in order(output):
        assert held(step.at(node), output) == node.label
    assert held(step.at(Value(2.0, "x")), output) == ""


def test_the_conditions_have_names_a_debugger_can_show():
    conditions = [step.stops, step.not_finite, step.below(1.0), step.at(Value(0.0))]
    assert [c.__name__ for c in conditions] == ["stops", "not_finite", "is_below", "is_here"]


# --- the pause ------------------------------------------------------------------------------------


@pytest.fixture
def frames(monkeypatch):
    """The name, the local names and their values that `breakpoint()` finds at every stop."""
    found = []

    def hook():
        frame = sys._getframe(1)
        found.append((frame.f_code.co_name, dict(frame.f_locals)))

    monkeypatch.setattr(sys, "breakpointhook", hook)
    return found


def test_the_frame_of_a_pause_has_the_names_of_the_visit_and_no_other(frames):
    visits = []

    def everywhere(visit):
        visits.append(visit)
        return True

    for output in some_graphs():
        visits.clear()
        frames.clear()
        expected = after_backward(output)
        output.backward(pause=everywhere)
        assert grads(output) == expected
        assert [visit.node for visit in visits] == order(output)
        assert len(frames) == len(visits)
        for (name, names), visit in zip(frames, visits):
            assert name == "paused" and tuple(names) == Visit._fields
            assert all(names[field] is getattr(visit, field) for field in Visit._fields)


def test_it_pauses_where_the_condition_holds_and_nowhere_else(frames):
    output = example(2.0, -0.5)
    for condition in (step.stops, step.not_finite, step.below(1e-9), step.at(order(output)[2])):
        expected = held(condition, output)
        frames.clear()
        output.backward(pause=condition)
        assert " ".join(names["node"].label for _, names in frames) == expected


def test_the_grads_at_a_pause_are_those_of_this_sweep(monkeypatch):
    x = Value(2.0)
    x.grad = 100.0
    seen = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: seen.append(x.grad))
    (x * x).backward(pause=step.at(x))
    assert seen == [4.0] and x.grad == 104.0


@pytest.mark.parametrize("pause", [3, 0, True, False, "stops", "", [step.stops], Value(1.0)])
def test_a_pause_that_is_no_function(pause, frames):
    x = Value(2.0)
    y = x * x
    x.grad, y.grad = 5.0, 7.0
    with pytest.raises(TypeError, match=r"^pause takes a condition such as step.stops, got ."):
        y.backward(pause=pause)
    assert (x.grad, y.grad) == (5.0, 7.0) and frames == []


def test_no_pause_is_no_error(frames):
    x = Value(2.0)
    (x * x).backward(pause=None)
    assert x.grad == 4.0 and frames == []


PROGRAM = """
from microgradx import Value, step
x = Value(-2.0, "x")
x.grad = 5.0
loss = x.relu() + x * 0.5
loss.backward(pause=step.stops)
print("grad", x.grad)
"""
DEBUGGER = """
import sys
def stop():
    frame = sys._getframe(1)
    print(frame.f_code.co_name, *frame.f_locals)
"""


@pytest.mark.parametrize(
    "hook, shown",
    [("0", []), ("reader.stop", [" ".join(("paused", *Visit._fields))])],
)
def test_the_environment_says_which_debugger(tmp_path, hook, shown):
    (tmp_path / "reader.py").write_text(DEBUGGER, encoding="utf-8")
    paths = os.pathsep.join([str(tmp_path), *map(os.path.abspath, sys.path)])
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONBREAKPOINT": hook},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert ran.stdout.splitlines() == [*shown, "grad 5.5"], ran.stderr
