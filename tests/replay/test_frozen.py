"""A replay refuses code that it can't repeat and names the line; nothing stays behind."""

import inspect
import math
import random
import re

import numpy as np
import pytest

import microgradx as mx
from microgradx.engine import Value
from microgradx.explain.bounds import Bounds
from microgradx.ops import dots
from microgradx.replay import FrozenBranch, record
from tests.replay.nets import gradient, replayed

w = Value(2.0, "w")


def line_of(fn, text="# here"):
    """`file:line` of the one line of fn that has this text."""
    lines, first = inspect.getsourcelines(fn)
    (found,) = [first + k for k, line in enumerate(lines) if text in line]
    return f"{__file__}:{found}"


# --- branches on a recorded value ------------------------------------------------------------


def by_bool(x):
    if x:  # here: bool()
        return x * w
    return w


def by_not(x):
    return w if not x else x * w  # here: bool()


def by_and(x):
    return x * w and w  # here: bool()


def by_float(x):
    return w * float(x)  # here: float()


def by_int(x):
    return w * int(x)  # here: int()


def by_rounding(x):
    return w * round(x, 2)  # here: round()


def by_formatting(x):
    return w * float(f"{x:.4f}")  # here: the format '.4f'


def by_math(x):
    return w * math.exp(x)  # here: float()


def by_less(x):
    return x * w if x < 0 else w  # here: <


def by_less_or_equal(x):
    return x * w if x <= w else w  # here: <=


def by_greater(x):
    return x * w if x > 0 else w  # here: >


def by_greater_or_equal(x):
    return x * w if x >= 0.5 else w  # here: >=


def by_number_first(x):
    return x * w if 0 < x else w  # here: >


def by_max(x):
    return max(x, w) * 2.0  # here: <


def by_min(x):
    return min([x, w]) * 2.0  # here: >


def by_sorted(x):
    return sorted([x, w])[0] * w  # here: >


def by_abs_if(x):
    return (-x if x < 0 else x) * w  # here: <


def by_equal(x):
    return x * w if x == 1 else w  # here: ==


def by_equal_number_first(x):
    return x * w if 1.0 == x else w  # here: ==


def by_not_equal(x):
    return x * w if x != 0 else w  # here: !=


def by_equal_value(x):
    return x * w if x == w else w  # here: ==


def by_equal_numpy_number_first(x):
    return x * w if np.float64(1.0) == x else w  # here: ==


def by_not_equal_numpy_number(x):
    return x * w if x != np.float64(1.0) else w  # here: !=


def by_not_equal_numpy_number_first(x):
    return x * w if np.float64(1.0) != x else w  # here: !=


def by_less_than_a_numpy_number(x):
    return x * w if np.float64(1.0) > x else w  # here: <


def by_in(x):
    return x * w if x in (0, 1) else w  # here: ==


def by_count(x):
    return w * x * [1.0, 2.0].count(x)  # here: ==


def by_in_a_set(x):
    return x * w if x in {0.0, 1.0} else w  # here: a key, hash()


def by_key(x):
    return w * {0.0: 1.0, 1.0: 5.0}[x]  # here: a key, hash()


def by_key_with_a_default(x):
    return w * x * {0.0: 1.0}.get(x, 5.0)  # here: a key, hash()


def by_match(x):
    match x:
        case 1:  # here: ==
            return w * x
    return w


def by_index(x):
    return [w, w * x][x]  # here: an index


def by_range(x):
    return sum([w * x for _ in range(x)])  # here: an index


def by_floor(x):
    return w * math.floor(x)  # here: floor()


def by_trunc(x):
    return w * math.trunc(x)  # here: trunc()


def by_ceil(x):
    return w * math.ceil(x)  # here: ceil()


def by_percent(x):
    return w * float("%.2f".__mod__(x))  # here: float()


def by_data(x):
    return w * x.data  # here: .data


def by_grad(x):
    return w * x * (x * w).grad  # here: .grad


def by_partials(x):
    return w * x * abs(x).partials[0]  # here: .partials


def by_edges(x):
    return w * x * abs(x).edges[0].partial  # here: .edges


def by_data_of_a_neuron(x):
    return w * x if mx.nn.Neuron(1, "tanh", seed=0)([x]).data > 1e9 else w  # here: .data


def by_data_of_an_op_of_the_class(x):
    return w * x if Value.relu(x).data > 1e9 else w  # here: .data


def by_other_data(x):
    y = x * w
    y.data = 2.0  # here: another .data
    return y * w


def by_sweep(x):
    y = x * w
    y.backward()  # here: backward()
    return y * w


def by_steps(x):
    y = x * w
    list(y.backward_steps())  # here: backward_steps()
    return y * w


def by_any(x):
    return x * w if any([x, w]) else w  # here: bool()


def by_less_of_the_class(x):
    return x * w if Value.__lt__(x, 5.0) else w  # here: .data


def by_number_second_to_a_method(x):
    return x * w if w.__lt__(x) else w  # here: its number


def by_float_of_the_class(x):
    return w * Value.__float__(x)  # here: .data


def by_bool_of_the_class(x):
    return x * w if Value.__bool__(x) else w  # here: .data


def by_repr_of_the_class(x):
    return x * w if "-" in Value.__repr__(x) else w  # here: .data


def by_the_getter_of_data(x):
    return x * w if Value.data.fget(x) > 5.0 else w  # here: its number


def by_the_slot(x):
    return x * w if x._data > 5.0 else w  # here: its number


def by_add_of_the_class(x):
    return x * w if Value.__add__(x, 1.0) > 5.0 else w  # here: >


def by_add_to_a_parameter(x):
    return x * w if w.__add__(x) > 5.0 else w  # here: >


def by_reflected_add_of_the_class(x):
    return x * w if Value.__radd__(x, 1.0) > 5.0 else w  # here: >


def by_mul_of_the_class(x):
    return x * w if Value.__mul__(w, x) > 5.0 else w  # here: >


def by_reflected_mul_of_the_class(x):
    return x * w if Value.__rmul__(x, 2.0) > 5.0 else w  # here: >


def by_tanh_of_the_class(x):
    return x * w if Value.tanh(x) > 5.0 else w  # here: >


def by_a_dot_with_a_bias(x):
    return x * w if dots([(w,)], (w,), [x])[0] > 50.0 else w  # here: >


def helper(x):
    return x.relu() if x > 0 else x  # here: >


BRANCHES = {name: fn for name, fn in globals().items() if name.startswith("by_")}


def works():
    """That a Value may be asked for anything again."""
    a, b = Value(1.0), Value(2.0)
    assert a < b and a <= b and not a > b and not a >= b and bool(a) and float(b) == 2.0
    assert max(a, b) is b and w.data == 2.0 and Value.__init__.__qualname__ == "Value.__init__"
    assert (a * w).line is None and a == a and a != 1.0 and {a: 1}[a] == 1 and f"{a:.1f}" == "1.0"
    assert w.grad == 0.0 and type(w) is Value and not w.recorded


@pytest.mark.parametrize("name", BRANCHES)
def test_a_branch_is_refused_with_its_line(name):
    fn = BRANCHES[name]
    sign = inspect.getsource(fn).split("# here: ")[1].split("\n")[0]
    with pytest.raises(FrozenBranch) as error:
        record(fn, 1.0)
    message = str(error.value)
    assert message.startswith(f"{line_of(fn)} asks for {sign} of Value(")
    assert "where, maximum, minimum or relu" in message
    works()


@pytest.mark.parametrize("name", BRANCHES)
def test_a_branch_is_refused_though_it_is_caught(name):
    def swallows(x):
        try:
            return BRANCHES[name](x)
        except Exception:
            return x * w

    with pytest.raises(FrozenBranch, match=re.escape(line_of(BRANCHES[name]))):
        record(swallows, 1.0)
    works()


DOORS = {  # each answers with a number of one sample
    "why": lambda x: mx.why(w, w * x).flow.g,
    "Flow": lambda x: mx.Flow(w * x).why(w).flow.g,
    "why of a leaf": lambda x: mx.why(x, x).flow.g,
    "compare": lambda x: len(str(mx.compare(lambda c: (w, w * x * c), [1.0, 2.0]))),
    "check_gradients": lambda x: mx.check_gradients(lambda a: a * x, w),
    "bounds": lambda x: Bounds(y := w * x, {w: (1.0, 2.0)})[y].hi,
    "page": lambda x: len(mx.page(w * x).html),
    "tree": lambda x: len(str(mx.nn.MLP(1, [1], seed=0).tree(w * x))),
    "draw": lambda x: len(mx.draw(w * x).svg()),
    "draw of a part": lambda x: len(mx.draw((w * x).detach() * w).svg()),
    "lift": lambda x: mx.lift(w * x)(),
    "lift of a part": lambda x: mx.lift((w * x).detach() * w)(),
    "record": lambda x: record(lambda z: z * w * x, 1.0)([1.0]),
    "record of outputs": lambda x: record(lambda z: [z * w, x * w], 1.0).forward([1.0])[0, 1],
    "record behind a detach": lambda x: record(lambda z: z * w + x.detach(), 1.0)([1.0]),
}


def test_operators_of_the_class_are_recorded_like_any_others():
    def plain(x, y):
        return (2.0 * (1.0 + (x + y) * w * x)).tanh() * y

    def by_class(x, y):
        product = Value.__mul__(Value.__mul__(Value.__add__(x, y), w), x)
        return Value.tanh(Value.__rmul__(Value.__radd__(product, 1.0), 2.0)) * y

    batch = [0.5, -1.0, 0.0], [0.1, 0.2, 0.3]
    one, other = record(plain, 1.0, 1.0), record(by_class, 1.0, 1.0)
    assert one(*batch) == other(*batch) and (one.gradient == other.gradient).all()


@pytest.mark.parametrize("caught", [False, True])
@pytest.mark.parametrize("door", DOORS)
def test_numbers_that_leave_through_our_own_doors_are_refused_with_their_line(door, caught):
    def fn(x):
        try:
            factor = 2.0 if DOORS[door](x) > 3 else 1.0
        except Exception:
            if not caught:
                raise
            factor = 1.0
        return w * x * factor

    asks = re.escape(__file__) + r":\d+ asks for (the graph|a replay|\.data) of"
    with pytest.raises(FrozenBranch, match=asks):
        record(fn, 1.0)
    works()


def test_a_recording_within_another_that_reads_none_of_its_numbers_is_free():
    model = mx.nn.MLP(1, [1], seed=0)

    def fn(x):
        return w * x * float(model.predict([[1.0]])[0]) * record(lambda z: z * 2.0, 1.0)([3.0])

    assert record(fn, 1.0)([2.0]) == pytest.approx(fn(Value(2.0)).data)


def test_the_kind_of_a_recorded_number_is_no_value_as_is_documented():
    kinds = []
    record(lambda x: kinds.append((type(x) is Value, isinstance(x, float))) or x * w, 1.0)
    assert kinds == [(False, False)] * 2 and "`type(x) is Value`" in record.__doc__


@pytest.mark.parametrize("show", [repr, str, "{}".format, "%s".__mod__])
def test_a_recorded_number_shows_its_label_and_no_number(show):
    texts = []

    def fn(x):
        y = x * w
        y.label = "y"
        texts.extend([show(x), show(y)])
        return y * w

    replay = record(fn, 1.0)
    assert texts == ["Value(recorded, label='x')", "Value(recorded, op=mul, label='y')"] * 2
    assert show(replay._tape.values[2]) == "Value(data=2, grad=0, op=mul, label='y')"


def test_the_line_is_that_of_the_function_that_asks():
    with pytest.raises(FrozenBranch, match=r"asks for > of Value\(recorded, op=mul") as error:
        record(lambda x: helper(x * w), 3.0)
    assert str(error.value).startswith(line_of(helper))
    works()


# --- numbers worked out beside the graph -----------------------------------------------------


def of_input(x):
    return x * w * x.data  # here


def of_node(x):
    y = x * w
    return x * Value(y.data)  # here


def of_random(x):
    return x * w * random.random()  # here


def of_random_leaf(x):
    noise = Value(random.random())
    return x * w + noise  # here


def of_row(x):
    return mx.dot([w, x.data, 1.0], [x, x, x])  # here


COUNTS = []


def of_count(x):
    COUNTS.append(x)
    return w * x * len(COUNTS)  # here


NUMBERS = {name: fn for name, fn in globals().items() if name.startswith("of_")}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_worked_out_beside_the_graph_is_refused_with_its_line(name):
    with pytest.raises(FrozenBranch) as error:
        record(NUMBERS[name], 1.0)
    message = str(error.value)
    assert message.startswith(line_of(NUMBERS[name]))
    assert " asks for .data of Value(" in message or "beside the graph" in message
    works()


def test_a_recorded_number_is_a_value_to_who_reads_a_message():
    with pytest.raises(TypeError, match="got a Value; use it as it is"):
        record(lambda x: Value(x) * w, 1.0)


def test_a_graph_whose_size_depends_on_data_is_refused():
    def fn(x):
        for _ in range(2 + (unwatched(x) > 0)):
            x = x * w
        return x

    with pytest.raises(FrozenBranch, match="a graph of 3 nodes, and one of 2 at other numbers"):
        record(fn, 1.0)
    works()


def unwatched(x):
    """The number of x, asked for in a way that no Value sees."""
    return vars(Value)["_data"].__get__(x)


TURNS = [
    lambda x, on: (x * w).tanh() if on else (x * w).sin(),
    lambda x, on: x * w if on else x + w,
    lambda x, on: w - x if on else x - w,
    lambda x, on: x * w * w if on else x * w * x,
    lambda x, on: x * 3.0 * w if on else x * 2.0 * w,
    lambda x, on: x if on else w,
    lambda x, on: [x * w, w] if on else [x * w, x],
    lambda x, on: [x * w] * (2 if on else 3),
    lambda x, on: [[x * w, w]] if on else [x * w, w],
]


@pytest.mark.parametrize("turn", TURNS)
def test_a_branch_on_data_that_keeps_the_size_of_the_graph_is_refused(turn):
    for x in (1.0, 2.0):  # the trial's is of the other sign
        with pytest.raises(FrozenBranch):
            record(lambda x: turn(x, unwatched(x) > 0), x)
    works()


@pytest.mark.parametrize("threshold", [5.0, 1e9, -1e-9])
def test_data_is_refused_whatever_it_is_compared_with(threshold):
    def fn(x):
        return x * w if x.data > threshold else w  # here

    with pytest.raises(FrozenBranch, match="asks for .data of Value"):
        record(fn, 1.0)
    works()


def test_numbers_that_stay_are_no_offence():
    gains = [0.5, 0.25]
    replay = record(lambda x: w * x * gains[0] + len(gains) + Value(3.0), 1.0)
    assert replay.forward([1.0, 2.0]).tolist() == [6.0, 7.0]


# --- afterwards ------------------------------------------------------------------------------


@pytest.mark.parametrize("fatal", [KeyError("mine"), KeyboardInterrupt()])
@pytest.mark.parametrize("trace", [1, 2])
def test_after_an_exception_in_fn_everything_works(fatal, trace):
    import gc

    calls = []

    def fn(x):
        calls.append(x)
        if len(calls) == trace:
            raise fatal
        return x * w

    with pytest.raises(type(fatal)):
        record(fn, 1.0)
    assert gc.isenabled()
    works()


# --- how to write it instead -----------------------------------------------------------------


def test_where_takes_each_sample_its_own_way():
    v = Value(3.0)

    def fn(x):
        return mx.where(x - 0.5, x * w, v * v + x)

    replay = record(fn, 1.0)
    assert replay.forward([1.0, 0.0, 0.5, 2.0]).tolist() == [2.0, 9.0, 9.5, 4.0]
    loss, grads = replayed(replay, [w, v], [1.0, 0.0, 0.5, 2.0])
    losses = [fn(Value(x)) for x in (1.0, 0.0, 0.5, 2.0)]
    expected, wanted = gradient(mx.mean(losses), [w, v])
    assert loss == expected and grads.tolist() == wanted.tolist() == [0.75, 3.0]


@pytest.mark.parametrize("x", [1.0, -1.0, 0.0, 1e-320, -1e-320, 1e300])
def test_where_on_either_side_of_every_kind_of_zero(x):
    replay = record(lambda x: mx.where(x, w, 5.0), 1.0)
    assert replay.forward([x]).tolist() == [2.0 if x > 0 else 5.0]
    assert replay([x]) == mx.where(Value(x), w, 5.0).data
    assert replay.gradient.tolist() == [float(x > 0)]


def test_a_branch_that_is_written_with_maximum_replays():
    replay = record(lambda x: mx.maximum(x * w, w) + abs(x) - mx.minimum(x, 0.0), 1.0)
    assert replay.forward([3.0, -1.0, 1.0]).tolist() == [9.0, 4.0, 3.0]
