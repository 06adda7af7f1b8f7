"""Every op with every wrong type in every place: a TypeError that says what to do, and no node."""

import datetime
import decimal

import numpy as np
import pytest

from microgradx.engine import Value, apply
from microgradx.rules import TABLE
from tests.operands import grouped

WRONG = ["3", "", b"3", None, 1j, {}, {1.0}, object(), len, float, Ellipsis, NotImplemented,
         decimal.Decimal(1), datetime.timedelta(1), np.zeros(2), np.zeros((1, 1)), np.array("3"),
         np.complex64(1j), np.datetime64("2020-01-01"), np.ma.masked, [1.0], (1.0,),
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


@pytest.mark.parametrize("x", [10**400, -(10**400)], ids=["large", "-large"])
def test_an_int_too_large_is_an_overflow_error_in_every_op(x):
    for row in TABLE.values():
        count = sum(2 if name in row.lists else 1 for name in row.operands)
        with pytest.raises(OverflowError, match="too large for a float"):
            apply(row, *grouped(row, [Value(1.0)] * (count - 1) + [x], 2))
