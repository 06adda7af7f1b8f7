"""Faults that were found, each with the input that showed it and the right value, by its name.

r01 to r09 are those that public reports against other engines led to, F1 to F16 those of a search
for crashes and wrong words. tests/README.md lists those that have their tests elsewhere.
"""

import collections
import configparser
import dataclasses
import itertools
import math
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import microgradx as mx
from microgradx import Value, nn, optim
from microgradx.explain import witnesses
from microgradx.explain.bounds import Bounds
from microgradx.explain.extended import Extended
from microgradx.step.moments import Timeline
from tests.interrupting import interrupted

inf, nan = math.inf, math.nan


def swept(x, f):
    y = f(x)
    y.backward()
    return y


# --- r05: a loss keeps what logits have in common ---------------------------------------------


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e12, 1e16, 1e17])
@pytest.mark.parametrize("target", [0, [1.0, 0.0]])
def test_r05_cross_entropy_is_ln_2_whatever_the_logits_share(offset, target):
    logits = [Value(offset), Value(offset)]
    loss = nn.cross_entropy(logits, target)
    loss.backward()
    assert loss.data == math.log(2.0) and [x.grad for x in logits] == [-0.5, 0.5]


# --- r06: where selects ----------------------------------------------------------------------

BRANCHES = {  # f, then by x the value and the gradient
    "sqrt": (lambda x: mx.where(x, x.sqrt(), x), {-4.0: (-4.0, 1.0), 4.0: (2.0, 0.25)}),
    "log": (lambda x: mx.where(x, x.log(), x), {-1.0: (-1.0, 1.0), 0.0: (0.0, 1.0)}),
    "exp": (lambda x: mx.where(-x, x.exp(), 1 + x), {1e3: (1001.0, 1.0), -1.0: (1 / math.e,) * 2}),
    "1/x": (lambda x: mx.where(x, 1 / x, 5.0 * x), {0.0: (0.0, 5.0), 2.0: (0.5, -0.25)}),
    "x**x": (lambda x: mx.where(x, x**x, 2.0 * x), {-0.5: (-1.0, 2.0), 1.0: (1.0, 1.0)}),
    "a number": (lambda x: mx.where(x, x.log(), 0.0) + 2.0 * x, {0.0: (0.0, 2.0), -3: (-6.0, 2.0)}),
    "two deep": (
        lambda x: mx.where(x, mx.where(x - 1.0, (x - 1.0).log(), (1.0 - x).sqrt()), x * x),
        {-3.0: (9.0, -6.0), 0.75: (0.5, -1.0), 2.0: (0.0, 1.0)},
    ),
    "a shared node": (
        lambda x: [mx.where(x, h, 1.0) + h * 0.0 + mx.where(x, 1.0, h * 3.0) for h in [x * x]][0],
        {-1.0: (4.0, -6.0), 2.0: (5.0, 4.0)},
    ),
    "a bare condition": (lambda x: mx.where(-1.0, x.log(), x * 3.0), {-2.0: (-6.0, 3.0)}),
    "a dot": (lambda x: mx.where(x, mx.dot([x, 1.0], [x.log(), 2.0]), x), {-2.0: (-2.0, 1.0)}),
}
CASES = [(name, x, *want) for name, (_, points) in BRANCHES.items() for x, want in points.items()]


@pytest.mark.parametrize("name, at, value, slope", CASES)
def test_r06_where_never_sees_the_branch_that_it_leaves(name, at, value, slope):
    x = Value(at, "x")
    y = swept(x, BRANCHES[name][0])
    assert y.data == pytest.approx(value, rel=1e-15) and x.grad == pytest.approx(slope, rel=1e-15)

    x.grad = 0.0
    *_, last = y.backward_steps()
    assert (last.node, last.adjoint) == (x, pytest.approx(slope, rel=1e-15))
    assert x.grad == pytest.approx(slope, rel=1e-15)
    assert Timeline(y).grads[x] == x.grad

    why = mx.why(x, y)
    assert why.verdict in ("healthy", "small", "large") and why.flow.g == x.grad
    assert float(why.flow.wide) == pytest.approx(slope) and "nan" not in str(why)
    assert str(why) == str(mx.why(x, y)) and mx.draw(y, explain=x)

    box = Bounds(y, {x: (at, at)})
    assert value in box[y] or value == pytest.approx(box[y].lo)
    assert box.gradient(x).lo <= slope <= box.gradient(x).hi and not box.gradient(x).nan


@pytest.mark.parametrize("dtype", [float, "float32"])
@pytest.mark.parametrize("name", BRANCHES)
def test_r06_a_replay_of_where_selects_too(name, dtype):
    w = Value(1.0, "w")  # the gradient by it is x · f′(x)
    f, points = BRANCHES[name]
    replay = mx.record(lambda x: f(x * w), [*points][0], dtype=dtype)
    close = 1e-12 if dtype is float else 1e-5
    values = [want[0] for want in points.values()]
    assert replay.forward([*points]).tolist() == pytest.approx(values, rel=close, abs=close)
    replay([*points])
    slopes = [x * slope for x, (_, slope) in points.items()]
    assert replay.gradient[0] == pytest.approx(np.mean(slopes), rel=close, abs=close)


def test_r06_a_lifted_where_whose_condition_is_a_number_selects_for_good():
    x, w = Value(-1.0, "x"), Value(2.0, "w")
    replay = mx.lift(mx.where(-1.0, x.log() * w, x * w))
    found = dict(zip(replay.parameters, (replay(), replay.gradient)[1].tolist()))
    assert replay() == -2.0 and found == {x: 2.0, w: -1.0}


def test_r06_layers_behind_where_get_the_gradients_of_the_samples_that_it_takes():
    model, other = nn.MLP(2, [4, 3], activation="tanh", seed=0), nn.MLP(2, [3], seed=1)
    parameters = model.parameters() + other.parameters()

    def loss(a):
        spoilt = model([a[0].log(), (a[1] * 3.0).sqrt()])  # nan where a number is below 0
        return mx.mean([mx.where(a[0], p, q) ** 2 for p, q in zip(spoilt, other(a))])

    X = [[0.5, 0.5], [-1.0, 0.3], [2.0, 1.0], [-0.2, -3.0]]
    for row in X:
        loss([Value(x) for x in row]).backward(1 / len(X))
    replay = mx.record(loss, X[1], parameters=parameters)
    replay(X)
    assert all(math.isfinite(p.grad) for p in parameters)
    assert replay.gradient == pytest.approx([p.grad for p in replay.parameters], abs=1e-14)
    for x in (0.5, -0.5):
        assert mx.check_gradients(lambda x: mx.where(x, x.log(), -x * x), x) < 1e-6


def test_r06_an_infinite_adjoint_does_not_enter_the_branch_that_is_left():
    x, y = Value(2.0, "x"), Value(3.0, "y")
    mx.where(-1.0, x, y).backward(inf)
    assert (x.grad, y.grad) == (0.0, inf)
    x.grad = y.grad = 0.0
    for _ in mx.where(-1.0, x, y).backward_steps(inf):
        pass
    assert (x.grad, y.grad) == (0.0, inf)
    assert dict(mx.engine.sweep(mx.where(1.0, x, y), nan))[y] == 0.0


def test_r06_what_a_where_leaves_has_no_part_in_an_explanation():
    x, w = Value(-4.0, "x"), Value(2.0, "w")
    y = mx.where(x, x.sqrt(), x) * (w - 2.0).log()
    y.backward()
    for leaf in (x, w):  # log(0) is to blame, sqrt(-4) is not
        text = str(mx.why(leaf, y))
        assert "log(-inf) is -inf" in text and "sqrt" not in text
    tiny = Value(1e-300, "tiny")
    h = tiny * 2.0
    overflow = mx.why(tiny, mx.where(-1.0, h, h * 3.0) * 1e200 * 1e200)
    assert overflow.causes[0] == "overflow" and "0 × inf" not in str(overflow)
    zero = Value(0.0, "zero")
    assert "it would be" not in str(mx.why(zero, mx.where(zero, zero.sqrt(), 1.0)))
    large = mx.why(x, mx.where(x, x.sqrt() * x.log(), x * 1e5))
    assert large.verdict == "large" and [e.partial for e in large.culprits] == [1e5]
    assert [float(repair.wide) for repair in large.repairs] == [1.0]


@pytest.mark.parametrize("choice", [0.0, 1.0])
def test_r06_an_adjoint_of_0_is_not_taken_for_none(choice):
    """Behind a dot whose adjoint is 0, an infinite derivative still makes a nan."""
    z = Value(-745.0, "z")
    off = mx.dot([710.0, 1.0], [z.exp().log(), z], -1e6).relu()  # ∂ log is inf at 5e-324
    y = mx.where(choice, off, 1.0) + off
    for run in (y.backward, lambda: collections.deque(y.backward_steps(), 0)):
        z.grad = 0.0
        run()
        assert math.isnan(z.grad)
    assert math.isnan(dict(mx.engine.sweep(y))[z]) and mx.why(z, y).verdict == "not finite"


def test_r06_bounds_of_an_undecided_condition_hold_both_branches():
    x = Value(1.0, "x")
    y = mx.where(x, x * 2.0, x * 5.0)
    b = Bounds(y, {x: (-1.0, 1.0)})
    assert b[y].lo <= -5.0 and b[y].hi >= 2.0
    assert b.gradient(x).lo <= 2.0 and b.gradient(x).hi >= 5.0


# --- r07: .data and .grad are floats, whatever they are given ---------------------------------

REAL = [3, True, np.float32(0.1), np.float16(0.5), np.int64(-2), np.array(1.5), Fraction(1, 3),
        np.float64(0.1), np.ma.array(2.5)]  # fmt: skip
UNREAL = [
    "3",
    None,
    1j,
    [1.0],
    np.zeros(2),
    np.ma.masked,
    np.ma.array([1.0], mask=[1])[0],
    object(),
]


@pytest.mark.parametrize("name", ["data", "grad"])
@pytest.mark.parametrize("x", REAL, ids=lambda x: type(x).__name__)
def test_r07_a_real_number_that_is_assigned_is_kept_as_a_float(name, x):
    p = Value(0.0)
    setattr(p, name, x)
    assert type(getattr(p, name)) is float and getattr(p, name) == float(x)


@pytest.mark.parametrize("name", ["data", "grad"])
@pytest.mark.parametrize("x", UNREAL, ids=lambda x: type(x).__name__)
@pytest.mark.filterwarnings("error")
def test_r07_anything_else_is_refused_at_once_and_changes_nothing(name, x):
    p = Value(0.0)
    setattr(p, name, 0.25)
    with pytest.raises(TypeError, match="a Value holds one float, got "):
        setattr(p, name, x)
    assert getattr(p, name) == 0.25


MASKED = np.ma.array([1.0, 2.0], mask=[0, 1])
W = Value(2.0)
TAKE_MASKED = {
    "record": lambda: mx.record(lambda x: W * x[1], MASKED),
    "record of a list": lambda: mx.record(lambda x: W * x[1], [1.0, np.ma.masked]),
    "record of a number": lambda: mx.record(lambda x: W * x, np.ma.masked),
    "record of an array of no axes": lambda: mx.record(lambda x: W * x, np.ma.array(1.0, mask=1)),
    "an op": lambda: mx.sum(MASKED),
    "mse": lambda: nn.mse_loss([W, W], MASKED),
    "hinge": lambda: nn.hinge_loss(W, MASKED[1]),
    "a neuron": lambda: nn.Neuron(2)(MASKED),
    "a norm": lambda: nn.BatchNorm(2)([MASKED, MASKED]),
    "loading": lambda: nn.Neuron(2).load_state_dict({"weight": MASKED, "bias": 0.0}),
}


@pytest.mark.parametrize("door", TAKE_MASKED)
def test_r07_who_passes_a_masked_number_reads_what_it_is_and_what_to_do(door):
    with pytest.raises(TypeError, match=r"got a masked number; leave it out or fill it in, as "):
        TAKE_MASKED[door]()


def test_r07_an_array_with_a_mask_that_masks_nothing_is_like_any_other():
    replay = mx.record(lambda x: W * x[0] + x[1], np.ma.array([1.0, 2.0]))
    assert replay.forward(np.ma.array([[1.0, 2.0]])).tolist() == [4.0]
    assert nn.mse_loss([W], np.ma.array([1], mask=[0])).data == 1.0


def test_r07_what_is_too_large_is_an_overflow_error():
    p = Value(0.0)
    for name in ("data", "grad"):
        with pytest.raises(OverflowError, match="too large for a float"):
            setattr(p, name, 10**400)


def test_r07_a_step_by_a_float32_leaves_a_float_and_a_shared_array_is_not_shared():
    p = Value(0.1, "p")
    p.data -= 0.1 * np.float32(0.01)
    assert type((p * 3.0 + 1.0).data) is float
    q = Value(0.0)
    q.data = np.float32(1e-30)
    assert (q * q).data == float(np.float32(1e-30)) ** 2 > 0
    a, b = Value(0.0), Value(0.0)
    a.data = b.data = np.array(1.0)
    a.grad = 1.0
    optim.SGD([a], lr=0.5).step()
    assert (a.data, b.data) == (0.5, 1.0)


def test_r07_a_layer_whose_weights_were_float32_records_draws_and_steps():
    n = nn.Neuron(3, None, seed=0)
    for v, x in zip(n.weight, np.array([0.1257302, -0.1321049, 0.6404227], np.float32)):
        v.data = x
    want = n([1.0, 2.0, 3.0])
    assert mx.record(n, [1.0, 2.0, 3.0]).forward([[1.0, 2.0, 3.0]])[0] == pytest.approx(want.data)
    assert mx.page(want) and mx.draw(want).svg()


def test_r09_grad_none_is_told_what_to_write():
    p = Value(1.0)
    with pytest.raises(TypeError, match="got a NoneType"):
        p.grad = None
    (p * 2.0).backward()
    assert p.grad == 2.0


# --- r08: parameters are not lost in silence --------------------------------------------------


class Holder(nn.Module):
    def __init__(self, w):
        self.w = w


def hiding_places():
    one, two = Value(1.0, "one"), Value(2.0, "two")
    array = np.empty(2, object)
    array[:] = [one, two]
    pair = dataclasses.make_dataclass("Pair", ["a", "b"])(one, two)
    return {
        "array": array, "set": {one, two}, "deque": collections.deque([one, two]), "pair": pair,
        "namespace": SimpleNamespace(a=one, b=two), "deep": {"a": [({one, two},)]},
    }  # fmt: skip


@pytest.mark.parametrize("place", hiding_places())
def test_r08_values_where_no_module_looks_are_named(place):
    with pytest.warns(UserWarning, match="w: 2 Values in .* are no parameters, such as one"):
        holder = Holder(hiding_places()[place])
    assert holder.parameters() == []


@pytest.mark.parametrize(
    "w", [Value(1.0) * 0.1, [Value(1.0) * 0.1, Value(2.0) * 0.1], [Value(1.0), Value(2.0) * 1.0]]
)
def test_r08_an_initial_weight_that_is_computed_is_named(w):
    with pytest.warns(UserWarning, match=r"w: mul\(.*\) is computed, and so is no parameter"):
        Holder(w)


@pytest.mark.filterwarnings("error")
def test_r08_what_a_module_may_well_hold_passes_without_a_word():
    model = nn.MLP(2, [2, 1], seed=0)
    model.table = {"a": [Value(1.0), Value(2.0)], "b": {}}
    model.seen = {*model.parameters()}  # which it finds elsewhere
    model.loss = model([1.0, 2.0])  # computed from parameters
    model.note = SimpleNamespace(x=1.0), {1, 2}, np.zeros(3)
    assert len(model.parameters()) == 9 + 2
    model.layers[0].neurons[0].bias = Value(0.5)


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_r08_a_computed_value_does_not_take_a_parameters_place(name):
    n = nn.Neuron(1, None, seed=0)
    before = getattr(n, name)
    made = n.bias - 0.1 if name == "bias" else [w - 0.1 for w in n.weight]
    with pytest.raises(TypeError, match=rf"{name} holds parameters, and add\(.*p.data -= lr"):
        setattr(n, name, made)
    assert getattr(n, name) is before and len(n.parameters()) == 2


@pytest.mark.parametrize("name", ["weight", "bias"])
@pytest.mark.parametrize("x", [3.0, 3, np.float32(3.0), np.array(3.0), np.array([3.0]), [3.0]])
def test_r08_a_number_does_not_take_a_parameters_place(name, x):
    n = nn.Neuron(1, None, seed=0)
    before = getattr(n, name)
    with pytest.raises(TypeError, match=rf"{name} holds parameters, and .*3.* is a number; to m"):
        setattr(n, name, x)
    assert getattr(n, name) is before and len(n.parameters()) == 2
    delattr(n, name)
    setattr(n, name, x)
    assert len(n.parameters()) == 1


def test_r08_fit_says_which_leaves_the_optimizer_does_not_move():
    X, y = [[0.0, 1.0], [1.0, 0.0]], [0, 1]
    model, lost = nn.MLP(2, [1], seed=0), Value(3.0, "lost")

    def loss(p, t):
        return (p * lost * Value(1.0) - t) ** 2  # a number of its own is none of them

    history = mx.fit(model, X, y, loss=loss, epochs=1)
    assert history.remarks == ["The optimizer does not move 1 leaf of the loss: lost"]
    some = optim.SGD([model.layers[0].neurons[0].bias], lr=0.1)
    [remark] = mx.fit(model, X, y, loss="mse", epochs=1, optimizer=some).remarks
    assert remark.startswith("The optimizer does not move 2 leaves of the loss, such as layers.0.w")
    assert mx.fit(model, X, y, loss="mse", epochs=1).remarks == []


# --- F1: a right nan is never called stale ----------------------------------------------------


def nan_graphs():
    """(x, output): products of 0 and inf, first and second, alone and beside a finite path."""
    for first, second in itertools.permutations([lambda x: x.sqrt() * 0.0, lambda x: x * 3.0]):
        x = Value(0.0, "x")
        yield x, first(x) + second(x)
    x = Value(0.0, "x")
    yield x, x * x.log() + (x - 0.5) ** 2
    x = Value(0.0, "x")
    yield x, mx.sum([x, x.sqrt() * 0.0, x, x.log() * x])
    x = Value(0.0, "x")
    yield x, (x.sqrt() * 1e-200) * 0.0 + x * 1e200


@pytest.mark.parametrize("case", range(5))
def test_f1_a_right_nan_is_not_finite_and_has_no_remark(case):
    x, y = [*nan_graphs()][case]
    y.backward()
    why = mx.why(x, y)
    assert math.isnan(x.grad) and why.verdict == "not finite" and why.remark is None
    assert math.isnan(why.flow.g) and math.isnan(float(why.flow.wide))
    assert "= nan: not finite" in str(why)


def test_f1_a_gradient_that_underflows_on_the_way_is_not_called_zeroed():
    x = Value(3.0, "x")
    y = mx.maximum(x, x) * 5e-324  # two halves of the least float, each of which is 0
    y.backward()
    why = mx.why(x, y)
    assert x.grad == 0.0 and why.verdict == "underflowed" and why.remark is None
    y.backward()
    x.grad = 1.0
    assert mx.why(x, y).remark.cause == "not this gradient"


def test_f1_wide_sums_keep_a_nan_in_either_place():
    zero, one, spoilt = Extended(0.0, 0), Extended(1.0, 0), Extended(inf, 0) * 0.0
    for a, b in itertools.permutations([zero, one, spoilt], 2):
        assert math.isnan(float(a + b)) == (spoilt in (a, b))


# --- F2: why never crashes on credits of 0 ----------------------------------------------------


def test_f2_shares_too_small_to_square_are_no_crash():
    w = Value(1.0, "w1")
    z = w * 1e-200
    z.label = "layers.0.z[0]"
    y = w * 1.0 + z * 1e-200
    y.backward()
    assert mx.why(w, y).verdict and str(mx.why(w, y))
    y = w * 1.0 + w * 1e-200
    assert str(mx.Flow(y, reference=9.0).why(w))


# --- F3, F7: labels ---------------------------------------------------------------------------

HOSTILE = ["\n", "\x85", "\u2028", "\x1b[2J\x1b]0;pwned\x07", "\u202ew = 5", "w: healthy.\nFine",
           "\ud800", "<b>&amp;</b>", "\x00", "a" * 300]  # fmt: skip


@pytest.mark.parametrize("label", HOSTILE, ids=ascii)
def test_f3_f7_no_label_moves_the_cursor_or_forges_a_line(label):
    w, x = Value(1.0, label), Value(-2.0, label)
    y = swept(w, lambda w: (w * x).relu() + mx.where(x, w.sqrt(), w))
    y.label = label
    for explanation in (mx.why(w, y), mx.why(x, y), mx.why(Value(1.0, label), y), mx.why(y, w)):
        lines = [*explanation.sentences, repr(explanation), *str(explanation).split("\n")]
        assert all(line.isprintable() and line.encode() for line in lines)
    assert (
        repr(w).isprintable() and mx.draw(y).svg() and mx.draw(y, explain=w).summary.isprintable()
    )


def test_f7_choices_of_a_comparison_are_cleaned():
    def build(choice):
        x = Value(1.0, "x")
        return x, x * 2.0

    compared = mx.compare(build, ["\x1b[2J", "a\nb: healthy"])
    assert all(line.isprintable() for line in str(compared).split("\n"))
    assert repr(compared).isprintable() and len(str(compared).split("\n")) == 5


@pytest.mark.parametrize("name", ["a\nb: healthy", "\x1b[2J", "\u202e", "\u2028"], ids=ascii)
def test_f7_names_of_parts_are_cleaned_wherever_a_model_is_told_of(name):
    class Net(nn.Module):
        def __init__(self):
            self.parts = {name: nn.Layer(2, 1, seed=0)}

        def __call__(self, x):
            return self.parts[name](x)

    net = Net()
    first = net.parameters()[0]
    replay = mx.record(net, [1.0, 2.0])
    first.data = 9.0
    told = [str(net), repr(net)]
    for attempt in (
        lambda: net([1.0]),
        lambda: net.load_state_dict({}),
        lambda: net.load_state_dict({key: [1.0] for key in net.state_dict()}),
        lambda: replay([[1.0, 2.0]]),
        lambda: replay.forward([[1.0, 2.0]]),
        lambda: setattr(net.parts[name], "bias", net([1.0, 2.0])),
        lambda: mx.record(lambda x: x * 1.0, 1.0, parameters=[Value(1.0, name)]),
        lambda: mx.check_gradients(lambda a: a.detach() * a, Value(1.0, name)),
    ):
        try:
            attempt()
        except Exception as error:
            told.append(str(error))
    assert len(told) >= 8 and len(told[0].split("\n")) == 2
    for text in told:
        assert all(line.isprintable() for line in text.split("\n")), ascii(text)


@pytest.mark.parametrize("name", ["a\nb: healthy", "\x1b[2J", "\u202e", "\u2028"], ids=ascii)
def test_f7_names_that_a_caller_gives_are_cleaned(name, tmp_path):
    net = nn.MLP(1, [1], seed=0)
    metrics = {name: lambda predictions, targets: 1.0}
    history = mx.fit(net, [[1.0], [2.0]], [1.0, -1.0], loss="mse", epochs=1, metrics=metrics)
    w, b = Value(1.0), Value(2.0)
    lifted = mx.lift(w * b, {name: b})
    rows = mx.lift(w * b, {name: [b]})
    damaged = tmp_path / f"{name}.npz"
    damaged.write_bytes(b"none")
    state = {**net.state_dict(), name: 1.0}
    with_name = tmp_path / "other.npz"
    np.savez(with_name, **{key: np.array(x) for key, x in state.items()})
    normed = nn.BatchNorm(1)
    normed._buffers = [name]
    setattr(normed, name, 1)
    asks = compile("fn = lambda x: float(x)", name, "exec")
    exec(asks, names := {})
    drawn = compile("fn = lambda x: x * w.data * len(made) if made.append(x) else x * len(made)",
                    name, "exec")  # fmt: skip
    exec(drawn, others := {"made": [], "w": w})
    told = [str(history), repr(history[0]), str(history[0])]
    for attempt in (
        lambda: lifted("bad"),
        lambda: lifted([1.0]),
        lambda: lifted(float("nan")),
        lambda: lifted(np.ma.masked),
        lambda: lifted(),
        lambda: rows([[1.0], [1.0, 2.0]]),
        lambda: rows(["bad"]),
        lambda: mx.lift(w * b, {name: [[b], [b, b]]}),
        lambda: net.save(f"/nonexistent/{name}.npz"),
        lambda: net.save(tmp_path / name / "x.npz"),
        lambda: net.load(damaged),
        lambda: net.load(with_name),
        lambda: normed.load_state_dict({**normed.state_dict(), name: 0.5}),
        lambda: mx.record(names["fn"], 1.0),
        lambda: mx.record(others["fn"], 1.0),
    ):
        with pytest.raises((TypeError, ValueError, OSError)) as caught:
            attempt()
        told.append(str(caught.value))
    for text in told:
        assert all(line.isprintable() for line in text.split("\n")), ascii(text)
        assert "\n" not in text or text is told[0], ascii(text)
    assert len(told[0].split("\n")) == 3


# --- F8: gates ---------------------------------------------------------------------------------


def test_f8_the_search_for_witnesses_is_linear(monkeypatch):
    run = []
    on_lanes = witnesses._on_lanes
    monkeypatch.setattr(witnesses, "_on_lanes", lambda *step: run.append(1) or on_lanes(*step))

    def work(n):
        h = x = Value(0.3)
        for _ in range(n):
            h = h * 0.99 + ((h - h) - 0.1).relu() * 0.001
        del run[:]
        assert len(Bounds(h, {x: (-1.0, 1.0)}).gates) == n
        return len(run)

    assert work(120) / work(60) < 2.3
    assert work(1_200) / work(600) < 2.3


# --- F10: all or nothing ------------------------------------------------------------------------


def leaves_of_a_sweep():
    a, b, c = leaves = [Value(2.0), Value(3.0), Value(-5.0)]
    row = (a, b * c, 4.0, a)
    output = mx.dot([c, a, b, 1.0], row, b) * mx.dot(row, row) + mx.where(c, a.log(), a * b)
    for leaf, grad in zip(leaves, (0.5, -7.0, 1e6)):
        leaf.grad = grad
    return leaves, output


@pytest.mark.parametrize("name", ["backward", "backward_steps", "pause"])
def test_f10_an_interrupt_at_any_line_of_a_sweep_leaves_every_grad(name):
    leaves, output = leaves_of_a_sweep()
    before = [leaf.grad for leaf in leaves]
    run = {
        "backward": output.backward,
        "backward_steps": lambda: collections.deque(output.backward_steps(), 0),
        "pause": lambda: output.backward(pause=lambda visit: False),
    }[name]
    output.backward()
    after = [leaf.grad for leaf in leaves]
    for n in itertools.count(1):
        for leaf, grad in zip(leaves, before):
            leaf.grad = grad
        if not interrupted(run, n):
            break
        whole = [after] if name == "pause" else []  # one may come when all is done
        assert [leaf.grad for leaf in leaves] in [before, *whole], n
    assert n > 100 and [leaf.grad for leaf in leaves] == after


@pytest.mark.parametrize("how", ["load_state_dict", "load"])
def test_f10_an_interrupt_at_any_line_of_loading_leaves_all_or_nothing(how, tmp_path, many):
    class Normed(nn.Module):
        def __init__(self, seed):
            self.first, self.norm = nn.Layer(1, 2, seed=seed), nn.BatchNorm(2)

        def __call__(self, x):
            return self.norm([self.first(x)])

    model, other = Normed(0), Normed(1)
    other.norm.running_mean = [3.0, 4.0]
    other.save(tmp_path / "w.npz")
    state, mean = other.state_dict(), model.norm.running_mean
    old = model.state_dict()
    action = {
        "load_state_dict": lambda: model.load_state_dict(state),
        "load": lambda: model.load(tmp_path / "w.npz"),
    }[how]
    for n in itertools.count(1, many(3, 1)):
        if not interrupted(action, n):
            break
        assert model.state_dict() == old and model.norm.running_mean is mean, n
    assert n > 60 and model.state_dict() == state


# --- F12: small stacks --------------------------------------------------------------------------

DROPPED = """
import threading
import microgradx as mx

def work():
    for deep in (3_000, 10_000, 100_000):
        x = mx.Value(1.0)
        for _ in range(deep):
            x = x * 1.0
        x.backward()
        del x
    print("dropped")

threading.stack_size({stack})
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def test_f12_a_thread_of_1_mib_drops_a_deep_graph():
    """Python 3.13.0 crashes in 512 KiB, which the READMEs say, and this is their way out."""
    root = Path(__file__).parents[1]
    for page in (root / "README.md", root / "microgradx/replay/README.md"):
        assert "`threading.stack_size(2**20)`" in page.read_text("utf-8")
    code = DROPPED.format(stack=2**20)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stdout == "dropped\n", (ran.returncode, ran.stderr)


# --- F13: data and arguments -------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, kind, words",
    [
        ({"on_epoch": 5}, TypeError, "on_epoch is a function of an Epoch, got 5"),
        ({"metrics": 5}, TypeError, "metrics are functions by name"),
        ({"checkpoint": 5}, TypeError, "PathLike"),
        ({"validation": 5}, TypeError, "a pair"),
        (
            {"X": np.ma.array([[0, 1.0], [1, 0]], mask=[[0, 1], [0, 0]])},
            ValueError,
            r"X\[0, 1\] is masked",
        ),
        (
            {"X": [np.ma.array([0.0, 1.0]), np.ma.array([1.0, 0.0], mask=[0, 1])]},
            ValueError,
            r"X\[1, 1\] is m",
        ),
        ({"y": np.ma.array([0, 1], mask=[1, 0])}, ValueError, r"y\[0\] is masked"),
        (
            {"X": [[10**400, 1.0], [1.0, 0.0]]},
            ValueError,
            r"X\[0, 0\] is an int too large for a float",
        ),
    ],
)
def test_f13_bad_data_and_arguments_are_refused_before_anything_moves(arguments, kind, words):
    model = nn.MLP(2, [1], seed=0)
    before = model.state_dict()
    given = {"X": [[0.0, 1.0], [1.0, 0.0]], "y": [0, 1], "loss": "mse", "epochs": 2, **arguments}
    with pytest.raises(kind, match=words):
        mx.fit(model, given.pop("X"), given.pop("y"), **given)
    assert model.state_dict() == before


# --- F14: words ---------------------------------------------------------------------------------


def test_f14_a_gradient_of_1_is_not_minus_0_decades():
    x = Value(1.0, "x")
    assert "-0.00" not in str(mx.why(x, x * 1.0)) and "0.0 decades" not in str(mx.why(x, x * 1.0))


def test_f14_a_number_below_all_floats_has_one_digit_before_the_point():
    a = Value(1e-200, "a")
    assert "1.00e-400" in str(mx.why(a, a * 1e-200 * 1e-200))


def test_f14_what_a_where_made_0_or_left_is_said_with_its_condition():
    c, x, w = Value(-1.0, "c"), Value(2.0, "x"), Value(5.0, "w")
    assert mx.why(x, mx.where(c, x, 1.0)).because == [
        "where(1) takes its other operand, not x, by its condition c = -1"
    ]
    assert mx.why(x, mx.where(c, x, 1.0)).causes == ["not taken"]
    y = mx.where(c, x, 0.0) * w
    assert mx.why(w, y).because[0] == "where(0) is 0 because it takes a 0, by its condition c = -1"
    z = Value(0.0, "z")
    assert mx.why(w, mx.where(1.0, z, x) * w).because == [
        "where(0) is 0 because it takes a 0, by its condition 1", "The input z is 0",
    ]  # fmt: skip
    assert mx.why(w, z.detach() * w).because == ["detach(0) is 0 because z is", "The input z is 0"]


def test_f14_the_condition_of_a_where_is_no_detach_of_the_readers():
    c, x = Value(-1.0, "c"), Value(2.0, "x")
    why = mx.why(c, mx.where(c, x, 1.0))
    assert why.verdict == "detached" and "detach()" not in " ".join(why.because)
    assert "runs through the condition of a where" in why.because[0]
    assert any("condition.sigmoid()" in sentence for sentence in why.because)
    both = " ".join(mx.why(c, mx.where(c, x, 1.0) * c.detach()).because)
    assert "the condition of a where or a detach()" in both and "use the Value itself" in both


# --- F16: versions -----------------------------------------------------------------------------


def test_f16_every_package_that_is_needed_has_a_lower_bound():
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[1] / "setup.cfg", encoding="utf-8")
    needed = setup["options"]["install_requires"].split("\n")
    assert len(needed) > 3
    assert all(re.match(r"[\w-]+>=[\d.]+", line) for line in needed if line)


# --- the list ----------------------------------------------------------------------------------


def test_every_fault_has_its_test():
    """Here by its name, or in the list of tests/README.md."""
    tests = Path(__file__).parent
    found = set(re.findall(r"^def test_((?:[rf]\d+_)+)", Path(__file__).read_text("utf-8"), re.M))
    faults = {name for names in found for name in names.upper().split("_") if name}
    for row in re.findall(
        r"^\| ([rFC]\d+), .*$", (text := (tests / "README.md").read_text("utf-8")), re.M
    ):
        faults.add(row.upper())
    listed = re.findall(r"^\| [rFC]\d+, [^|]*\| (.*) \|$", text, re.M)
    for place in "; ".join(listed).split("; "):
        file, *names = re.findall(r"`([^`]+)`", place)
        code = (tests / file).read_text("utf-8")
        assert names and all(f"\ndef {name}(" in code for name in names), place
    assert faults == {*[f"R0{k}" for k in range(1, 10)], *[f"F{k}" for k in range(1, 17)], "C4"}
