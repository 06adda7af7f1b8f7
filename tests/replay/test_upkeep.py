"""The memory that a replay keeps, for how long, and the arrays of the user that it takes over."""

import copy
import gc
import linecache

import numpy as np
import pytest

import microgradx as mx
from microgradx.engine import Value
from microgradx.replay import lift, record

w = Value(2.0)


def test_data_may_be_assigned_as_well_as_changed():
    replay = record(lambda x: (w * x - 1.0) ** 2, 1.0, parameters=[w])
    before = replay([1.0, 2.0])
    replay.data = replay.data - 0.01 * replay.gradient
    assert replay([1.0, 2.0]) < before
    with pytest.raises(AttributeError):
        replay.gradient = replay.data


def test_buffers_are_kept_for_a_few_sizes_only():
    replay = record(lambda x: w * x, 1.0)
    for n in range(1, 30):
        assert replay([1.0] * n) == pytest.approx(w.data)
    assert len(replay._bound) == 4


def test_the_source_goes_with_its_replay():
    replay = record(lambda x: w * x, 1.0)
    name = replay._code.co_filename
    assert name in linecache.cache
    del replay
    gc.collect()
    assert name not in linecache.cache


@pytest.mark.parametrize("label", ["a\nraise SystemExit", "a\rb", "a\u2028b", "a # b", "é→"])
def test_a_label_is_never_more_than_a_comment(label):
    p = Value(2.0, label)
    replay = record(lambda x: _labelled(x * p + p, label), 1.0)
    assert replay([3.0]) == 8.0
    assert all(line.isprintable() for line in replay.source.splitlines())


def _labelled(node, label):
    node.label = label
    return node


@pytest.mark.parametrize("dtype", [float, "float32"])
def test_where_in_either_precision(dtype):
    replay = record(lambda x: mx.where(x, x * w, 5.0), 1.0, dtype=dtype)
    assert replay.forward([1e-30, 3.0, 0.0, -2.0]).tolist()[1:] == [3.0 * w.data, 5.0, 5.0]


def test_a_number_beyond_float32_is_said_to_be_so():
    with pytest.raises(ValueError, match="beyond float32; record with dtype=float"):
        record(lambda x: (w * x).exp().log(), 100.0, dtype="float32")


@pytest.mark.filterwarnings("error")
def test_constants_that_are_not_finite_warn_nobody():
    replay = record(lambda x: w * x + mx.sum([Value(-1.0 - k).log() for k in range(9)]), 1.0)
    assert np.isnan(replay.forward([1.0, 2.0])).all()


def test_a_replay_is_not_copied():
    with pytest.raises(TypeError, match="record its function again"):
        copy.deepcopy(record(lambda x: w * x, 1.0))


def test_a_value_stands_once_among_the_inputs_of_lift():
    x = Value(1.0)
    with pytest.raises(ValueError, match="twice among the inputs"):
        lift(x * w, inputs={"a": [x], "b": [x]})


def test_a_leaf_that_is_a_constant_must_stay_so():
    a, c = Value(0.5, "a"), Value(2.0, "c")
    replay = record(lambda x: a * x + c, 1.0, parameters=[a])
    c.data = 3.0
    with pytest.raises(ValueError, match="was 2.0 when it was recorded as a constant"):
        replay([1.0])


def test_weights_from_many_places_are_gathered():
    ops = "tanh exp sin cos sigmoid gelu softplus relu elu".split()
    replay = record(lambda x: mx.dot([getattr(w, op)() for op in ops], x), [1.0] * len(ops))
    expected = mx.dot([getattr(w, op)() for op in ops], [0.25] * len(ops))
    assert replay.forward([[0.25] * len(ops)] * 3).tolist() == pytest.approx([expected.data] * 3)


def test_a_sum_of_this_and_that_is_right_to_the_rounding_of_its_terms():
    def fn(x):
        parts = [0.1, 1e16, -1e16, 0.3]
        return mx.sum([x * 0.1 if k == 2 else x * 1.0 + p for k, p in enumerate(parts)])

    replay = record(fn, 1.0)
    for x in (1.0, 0.7, -3.1):
        difference = replay.forward([x])[0] - fn(Value(x)).data
        assert abs(difference) <= 4 * 2**-52 * 2e16  # 4 ulp of what is added up


@pytest.mark.parametrize("exponent", [0.5, -0.5, 1.5, 2.0, 3.0, -1.0, 0.0])
def test_powers_of_numbers_where_numpy_has_shortcuts(exponent):
    replay = record(lambda x: x**exponent, 1.0)
    for x in (-0.0, 0.0, 0.3, 4.0, float("inf")):
        assert replay.forward([x])[0] == pytest.approx((Value(x) ** exponent).data, rel=1e-15)
