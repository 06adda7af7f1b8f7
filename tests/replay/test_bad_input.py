"""Mistakes: each is refused with what to do about it."""

import numpy as np
import pytest

import microgradx as mx
from microgradx.engine import Value
from microgradx.replay import lift, record

w = Value(2.0, "w")
nan, inf = float("nan"), float("inf")


def pair():
    """A replay of x, a row of two, and a number y."""
    return record(lambda x, y: w * x[0] + x[1] - y, [1.0, 2.0], 3.0)


# --- batches ---------------------------------------------------------------------------------

GOOD = [[1.0, 2.0], [3.0, 4.0]], [1.0, 2.0]
BATCHES = {
    "one array": (GOOD[:1], TypeError, r"the replay takes x, y; got 1 arrays?"),
    "none": ((), TypeError, r"the replay takes x, y; got 0 arrays"),
    "three": ((*GOOD, GOOD[1]), TypeError, r"the replay takes x, y; got 3 arrays"),
    "narrow": (([[1.0], [2.0]], GOOD[1]), ValueError, r"x expected .*\(n, 2\), got \(2, 1\)"),
    "wide": (([[1.0] * 3] * 2, GOOD[1]), ValueError, r"x expected .*\(n, 2\), got \(2, 3\)"),
    "a row": (([1.0, 2.0], GOOD[1]), ValueError, r"x expected .*\(n, 2\), got \(2,\)"),
    "a number": ((1.0, GOOD[1]), ValueError, r"x expected .*\(n, 2\), got \(\)"),
    "a column": ((GOOD[0], [[1.0], [2.0]]), ValueError, r"y expected .*\(2,\), got \(2, 1\)"),
    "too deep": (([GOOD[0]], [1.0]), ValueError, r"x expected .*\(n, 2\), got \(1, 2, 2\)"),
    "other samples": ((GOOD[0], [1.0]), ValueError, r"y expected .*\(2,\), got \(1,\)"),
    "ragged": (([[1.0, 2.0], [3.0]], GOOD[1]), ValueError, "x is ragged"),
    "text": (([["a", "b"]], [1.0]), TypeError, "x must hold numbers"),
    "digits": (([["1", "2"]], [1.0]), TypeError, "x must hold numbers"),
    "None": (([[1.0, None]], [1.0]), TypeError, "x must hold numbers"),
    "objects": (([[object(), 1.0]], [1.0]), TypeError, "x must hold numbers"),
    "Values": (([[Value(1.0), 1.0]], [1.0]), TypeError, "x must hold numbers"),
    "complex": (([[1j, 1.0]], [1.0]), TypeError, "x must hold numbers"),
    "dates": (([[np.datetime64("2020"), np.datetime64("2020")]], [1.0]), TypeError, "x must hold"),
    "nothing": (([], []), ValueError, r"empty|expected an array of shape \(n, 2\)"),
    "no samples": ((np.zeros((0, 2)), []), ValueError, "the batch is empty; give at least one"),
    "a nan": (([[1.0, 2.0], [3.0, nan]], GOOD[1]), ValueError, "x has a nan in row 1, column 1"),
    "a mask": ((np.ma.array(GOOD[0], mask=[[0, 0], [0, 1]]), GOOD[1]), ValueError,
               r"x\[1, 1\] is masked; leave it out or fill it in"),
    "a row with a mask": (([GOOD[0][0], np.ma.array([3.0, 4.0], mask=[1, 0])], GOOD[1]), ValueError,
                          r"x\[1, 0\] is masked"),
    "a masked number": ((GOOD[0], [1.0, np.ma.masked]), ValueError, r"y\[1\] is masked"),
    "a nan in y": ((GOOD[0], [nan, 1.0]), ValueError, "y has a nan in row 0[^,]"),
}  # fmt: skip


@pytest.mark.parametrize("name", BATCHES)
def test_a_bad_batch_is_refused(name):
    batch, kind, message = BATCHES[name]
    replay = pair()
    for use in (replay, replay.forward):
        with pytest.raises(kind, match=message):
            use(*batch)
    assert replay(*GOOD) == 5.5  # as before


def test_a_nan_is_found_wherever_it_goes():
    deep = record(lambda x: sum(w * v for row in x for v in row), [[1.0, 2.0]] * 3)
    X = np.ones((4, 3, 2))
    X[2, 1, 0] = nan
    with pytest.raises(ValueError, match="x has a nan in sample 2, then 1, then 0"):
        deep(X)
    with pytest.raises(ValueError, match="x has a nan in sample 2, then 1, then 0"):
        deep.forward(X)
    X[2, 1, 0] = inf
    assert deep(X) == inf


def test_a_nan_that_the_numbers_themselves_make_is_not_the_datas_fault():
    replay = record(lambda x: w * x[0] - x[1], [1.0, 2.0])
    assert np.isnan(replay([[inf, inf]]))
    assert np.isnan(replay.forward([[inf, inf], [1.0, 1.0]])).tolist() == [True, False]


@pytest.mark.parametrize("batch", [[[True, False]], np.array([[1, 0]], np.uint8), [(1, 0)]])
def test_any_kind_of_real_number_is_taken(batch):
    assert pair()(batch, [1]) == 1.0


# --- parameters ------------------------------------------------------------------------------

PARAMETERS = {
    "not in the graph": ([w, Value(1.0, "idle")], ValueError, "not in the graph: idle, and 0 more"),
    "computed": ([w * 2.0], ValueError, "no leaf of its own but Value.*op=mul"),
    "numbers": ([2.0], TypeError, "a float, not a Value"),
    "text": ("w", TypeError, "Value"),
    "one Value": (w, TypeError, "Value"),
    "a tensor": ([[w]], TypeError, "list.*Value"),
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_bad_parameters_are_refused(name):
    given, kind, message = PARAMETERS[name]
    with pytest.raises(kind, match=message):
        record(lambda x: w * x, 1.0, parameters=given)
    with pytest.raises(kind, match=message):
        lift(w * 3.0, parameters=given)


# --- functions and examples ------------------------------------------------------------------

RETURNED = {
    "nothing": None,
    "a number": 1.0,
    "an empty list": [],
    "text": "loss",
    "a mix": [w, 1.0],
    "a dict": {"loss": w},
}


@pytest.mark.parametrize("name", RETURNED)
def test_a_function_must_return_values(name):
    with pytest.raises(TypeError, match="fn must return a Value|fn returned a dict"):
        record(lambda x: RETURNED[name], 1.0)


def test_a_function_must_return_a_full_nest():
    with pytest.raises((TypeError, ValueError), match="ragged|full"):
        record(lambda x: [[x], [x, w]], 1.0)


def test_an_output_that_depends_on_nothing_is_refused():
    with pytest.raises(ValueError, match=r"output 0 is Value\(data=3.*depend on anything"):
        record(lambda x: Value(3.0), 1.0)
    with pytest.raises(ValueError, match="output 1 is"):
        record(lambda x: [x, Value(3.0)], 1.0)


EXAMPLES = {
    "ragged": ([[1.0, 2.0], [3.0]], ValueError, "the example of x .*give one full sample"),
    "empty": ([], ValueError, "the example of x .*give one full sample"),
    "text": ("a", TypeError, "the example of x is a str; pass numbers"),
    "None": (None, TypeError, "a Value holds one float"),
    "complex": (1j, TypeError, "a Value holds one float"),
    "a Value": (Value(1.0), TypeError, "Value"),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_bad_example_is_refused(name):
    example, kind, message = EXAMPLES[name]
    with pytest.raises(kind, match=message):
        record(lambda x: w * w, example)


def test_a_function_that_takes_other_arguments_is_refused():
    with pytest.raises(TypeError, match="fn can't be called with 0 arguments: missing"):
        record(lambda x: w * x)
    with pytest.raises(TypeError, match="fn can't be called with 2 arguments: too many"):
        record(lambda x: w * x, 1.0, 2.0)
    with pytest.raises(TypeError, match="not a callable"):
        record(3.0, 1.0)


# --- lift ------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [3.0, None, [w], "loss"])
def test_lift_takes_a_value(loss):
    with pytest.raises(TypeError, match="lift takes the Value that a graph leads to, got a"):
        lift(loss)


INPUTS = {
    "computed": ([w * 2.0], TypeError, "inputs of lift are Values that are leaves, got Value"),
    "numbers": ([2.0], TypeError, "inputs of lift are Values that are leaves, got 2.0"),
    "numbers by name": ({"x": [2.0]}, TypeError, "inputs of lift are Values that are leaves"),
    "ragged": ({"x": [[Value(1.0)], []]}, ValueError, "the input x .*give a full array"),
}


@pytest.mark.parametrize("name", INPUTS)
def test_bad_inputs_of_lift_are_refused(name):
    given, kind, message = INPUTS[name]
    with pytest.raises(kind, match=message):
        lift(w * 3.0, inputs=given)


def test_one_value_is_an_input_of_no_dimension():
    x = Value(3.0)
    replay = lift(w * x, inputs=x)
    assert (replay(5.0), replay.gradient.tolist()) == (10.0, [5.0])


def test_a_parameter_that_is_an_input_is_refused():
    with pytest.raises(ValueError, match="no leaf of its own"):
        lift(w * 3.0, inputs=[w], parameters=[w])


def test_a_lifted_graph_takes_its_inputs_in_their_shapes():
    x = [Value(1.0), Value(2.0)]
    replay = lift(w * x[0] + x[1], inputs=x)
    with pytest.raises(ValueError, match=r"x expected .*\(2,\), got \(3,\)"):
        replay([1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match="the replay takes x; got 0 arrays"):
        replay()
    with pytest.raises(TypeError, match="the replay takes nothing; got 1 arrays?"):
        lift(w * 2.0)([1.0])
    with pytest.raises(ValueError, match="x has a nan in row 1"):
        replay([1.0, nan])


# --- names -----------------------------------------------------------------------------------

NAMES = [
    "p g n v e share shares", "np dtype constants inf nan bind forward", "add multiply copyto",
    "relu0 c_1 t_1 mul0 one zero half", "W0 b0 z0 a_1 W1 b1", "rows0 copy0 pull0 k_1 e_1 ones_1",
    "x xT x1 xT1", "z z0 z01 z1 T", "take pull erfc in_turn range len",
]  # fmt: skip


@pytest.mark.parametrize("names", NAMES)
def test_arguments_may_have_any_name(names):
    """Also those that the generated source uses for its own."""
    names = names.split()
    v = Value(0.5, "v")

    def net(*xs):
        terms = [mx.dot([w, v], x, w).tanh() * (k + 1) + x[0].relu() * w for k, x in enumerate(xs)]
        return mx.sum(terms)

    fn = eval(f"lambda {', '.join(names)}: NET({', '.join(names)})", {"NET": net})
    batch = np.random.default_rng(0).normal(size=(len(names), 5, 2))
    replay = record(fn, *batch[:, 0])
    expected = sum(
        np.tanh(2.0 * x[:, 0] + 0.5 * x[:, 1] + 2.0) * (k + 1) + 2.0 * np.maximum(x[:, 0], 0)
        for k, x in enumerate(batch)
    )
    assert replay.forward(*batch) == pytest.approx(expected, rel=1e-13)
    with pytest.raises(TypeError, match=f"the replay takes {', '.join(names)}; got"):
        replay()


def test_inputs_of_lift_may_have_any_name():
    names = ["two words", "class", "λ", "0", "dtype", ""]
    inputs = {name: [Value(1.0)] for name in names}
    replay = lift(sum((w * x[0]).tanh() for x in inputs.values()), inputs)
    assert replay(*[[0.1 * k] for k in range(6)]) == pytest.approx(
        sum(np.tanh(0.2 * k) for k in range(6)), rel=1e-14
    )
