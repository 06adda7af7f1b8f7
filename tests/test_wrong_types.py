"""Every op with every wrong type in every place: a TypeError that says what to do, and no node."""

import datetime
import decimal

import numpy as np
import pytest

import microgradx as mx
from microgradx import nn
from microgradx.engine import Value, apply
from microgradx.rules import TABLE
from tests.operands import grouped

WRONG = ["3", "", b"3", None, 1j, {}, {1.0}, object(), len, float, Ellipsis, NotImplemented,
         decimal.Decimal(1), datetime.timedelta(1), np.zeros(2), np.zeros((1, 1)), np.array("3"),
         np.complex64(1j), np.datetime64("2020-01-01"), np.timedelta64(1, "ns"), np.ma.masked,
         [1.0], (1.0,),
         range(2), lambda: 1.0, Value]  # fmt: skip


@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.name)
@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_a_wrong_type_in_any_place_is_a_type_error(row, wrong):
    count = sum(2 if name in row.lists else 1 for name in row.operands)
    for place in range(count):
        good = [Value(2.0) for _ in range(count)]
        readers = [x._readers for x in good]
        operands = [wrong if k == place else x for k, x in enumerate(good)]
        with pytest.raises(TypeError) as error:
            apply(row, *grouped(row, operands, 2))
        assert "a Value holds one float, got " in str(error.value)
        assert [x._readers for x in good] == readers and all(x.grad == 0.0 for x in good)


@pytest.mark.parametrize(
    "wrong", [x for x in WRONG if not hasattr(x, "__iter__")], ids=lambda x: type(x).__name__
)
def test_what_is_no_list_is_no_list_of_operands(wrong):
    for row in TABLE.values():
        for name in row.lists:
            operands = [wrong if x == name else [Value(1.0)] if x in row.lists else Value(1.0)
                        for x in row.operands]  # fmt: skip
            with pytest.raises(TypeError, match="the operands are a list, got"):
                apply(row, *operands)


LONG = np.longdouble("1e400")  # inf, where a long double is a float


@pytest.mark.parametrize(
    "x",
    [10**400, -(10**400), pytest.param(LONG, marks=pytest.mark.skipif(LONG == np.inf, reason=""))],
    ids=["large", "-large", "long double"],
)
def test_an_int_too_large_is_an_overflow_error_in_every_op(x):
    for row in TABLE.values():
        count = sum(2 if name in row.lists else 1 for name in row.operands)
        with pytest.raises(OverflowError, match="too large for a float"):
            apply(row, *grouped(row, [Value(1.0)] * (count - 1) + [x], 2))


W = Value(2.0)
NET = nn.MLP(1, [1], seed=0)
REPLAY = mx.record(lambda x: W * x, 1.0)
DOORS = {  # of numbers, a list of them
    "an op": mx.sum,
    "a layer": nn.Layer(2, 1, seed=0),
    "a norm": nn.LayerNorm(2),
    "a batch": lambda xs: nn.BatchNorm(2)([xs, xs]),
    "a loss": lambda xs: nn.mse_loss([W, W], xs),
    "logits": lambda xs: nn.cross_entropy([[W, W]] * 2, xs),
    "recording": lambda xs: mx.record(lambda x: W * x[0], xs),
    "a replay": REPLAY,
    "predict": NET.predict,
    "samples": lambda xs: mx.fit(NET, xs, [1.0, 2.0], loss="mse", epochs=1),
    "targets": lambda xs: mx.fit(NET, [1.0, 2.0], xs, loss="mse", epochs=1),
    "loading": lambda xs: nn.Neuron(2).load_state_dict({"weight": xs, "bias": 0.0}),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "xs",
    [
        np.array(["2020-01-01", "2021-01-01"], "M8[ns]"),
        np.array([1, 0], "m8[ns]"),
        np.array([1, 0], "m8"),
        np.array([1, 0], "m8[s]"),
    ],
    ids=lambda xs: str(xs.dtype),
)
def test_dates_and_spans_are_no_counts_of_nanoseconds(door, xs):
    with pytest.raises(TypeError, match="got a (date|time)|a class is a whole number"):
        DOORS[door](xs)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("xs", [{1.0: 5.0, 0.0: 6.0}, {1.0, 0.0}, {1.0: 5.0, 0.0: 6.0}.keys()])
def test_the_keys_of_a_dict_and_a_set_without_order_are_no_numbers(door, xs):
    with pytest.raises(TypeError, match="is no list of numbers|the example of x is a dict"):
        DOORS[door](xs)


class Frame:
    """A data frame in miniature: it goes through the names of its columns, here 0 and 1."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(range(len(self.rows[0])))

    def __array__(self, dtype=None, copy=None):
        return np.array(self.rows, object)

    def mask(self, condition):
        """Not that of a masked array: a method, which every frame of pandas has."""


def test_a_data_frame_is_its_rows_and_not_the_names_of_its_columns():
    net = nn.MLP(2, [1], seed=0)
    rows = [[True, 2.5], [False, -1.0]]
    assert net.predict(Frame(rows)).tolist() == net.predict(rows).tolist()
    assert nn.mse_loss([[W, W]] * 2, Frame(rows)).data == nn.mse_loss([[W, W]] * 2, rows).data
    assert [y.data for [y, _] in nn.BatchNorm(2)(Frame(rows))] == pytest.approx([1, -1], abs=1e-3)
    with pytest.raises(TypeError, match="one sample at a time: .* ndarray of shape"):
        net(Frame(rows))
