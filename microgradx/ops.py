"""Ops of many operands: a row of them is read as one, so a neuron is a single node."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from math import isfinite
from typing import Any

from microgradx import rules
from microgradx._base import floats
from microgradx._base.arguments import number
from microgradx.engine import Value, data_of, maximum, minimum, record
from microgradx.rules import Rule


class Fan(Value):
    """A Value computed from rows of operands: a dot product, a sum, a logsumexp."""

    __slots__ = ("_sources", "_row_partials")
    _sources: tuple[Row, ...]
    _row_partials: tuple[Sequence[float], ...]  # for each row, the partials of its inputs

    @property
    def arguments(self) -> tuple[tuple[Any, float | None], ...]:
        pairs: list[tuple[Any, float | None]] = []
        for row, partials in zip(self._sources, self._row_partials):
            if len(partials) == len(row):
                pairs += zip(row, partials)
            else:
                partial = iter(partials)
                pairs += [(x, next(partial) if isinstance(x, Value) else None) for x in row]
        return (*pairs, *super().arguments)

    def _twin(self) -> Fan:
        twin = super()._twin()
        assert isinstance(twin, Fan)
        twin._sources, twin._row_partials = self._sources, self._row_partials
        return twin

    def _take_twins(self, memo: dict[int, Any]) -> None:
        super()._take_twins(memo)
        self._sources = tuple([copy.deepcopy(row, memo) for row in self._sources])

    def _spread(self, adjoint: float) -> None:
        if not adjoint and self.rule is rules.dot and isfinite(self.data):
            return  # operands of a finite dot are finite: every contribution is 0
        for row, partials in zip(self._sources, self._row_partials):
            for input, partial in zip(row.inputs, partials):
                input.grad += partial * adjoint


class Row(tuple[Any, ...]):
    """Operands that several nodes read as one, Values or numbers; `inputs` are its Values.

    A layer hands one row to all its neurons, so that a sweep orders it once for the layer and
    not once for each neuron. To `order`, a row is one more node, which hands on to its inputs.
    """

    inputs: tuple[Value, ...]
    _a = _b = _da = _db = None
    _sources: tuple[Value, ...]
    _pending: int
    _settled: list[float] | None  # the data, where no leaf is among the inputs that may change

    def __new__(cls, operands: Iterable[Any]) -> Row:
        if not isinstance(operands, Iterable):
            raise TypeError(f"a row of operands is a list of them, got {operands!r:.60}")
        row = super().__new__(cls, operands)
        inputs = [x for x in row if isinstance(x, Value)]
        if len(inputs) < len(row):
            row = super().__new__(cls, [x if isinstance(x, Value) else number(x) for x in row])
        row.inputs = row._sources = tuple(inputs)
        row._pending = 0
        row._settled = None
        if None not in [x.rule for x in inputs]:
            row._settled = row.numbers()
        return row

    def numbers(self) -> list[float]:
        """The data of every operand, now."""
        if self._settled is not None:
            return self._settled
        if len(self.inputs) == len(self):
            return [x.data for x in self.inputs]
        return [x.data if isinstance(x, Value) else x for x in self]

    def of_inputs(self, partials: Sequence[float]) -> Sequence[float]:
        """The partials of the Values alone, given those of all operands."""
        if len(self.inputs) == len(self):
            return partials
        if not self.inputs:
            return ()
        return [d for x, d in zip(self, partials) if isinstance(x, Value)]

    def __deepcopy__(self, memo: dict[int, Any]) -> Row:
        return Row([copy.deepcopy(x, memo) for x in self])


def apply_to_rows(rule: Rule, *operands: Any) -> Value:
    """The node that `rule` makes of its rows of operands, and of a single one where it has one.

    An empty row, or two rows of different widths, is a ValueError.
    """
    rows = [row if isinstance(row, Row) else Row(row) for row in operands[: rule.rows]]
    if any(not row or len(row) != len(rows[0]) for row in rows):
        raise _bad_row(rule, *rows)
    numbers = [row.numbers() for row in rows]
    if len(operands) == rule.rows:
        data, *partials = rule.function(floats, *numbers)
        return _fan(rule, data, rows, partials, None, None)
    last = operands[-1]
    data, *partials, d = rule.function(floats, *numbers, data_of(last))
    return _fan(rule, data, rows, partials, last, d)


def _fan(
    rule: Rule, data: float, rows: Sequence[Row], partials: Sequence[Any], last: Any, d: Any
) -> Value:
    """A new node; `last` is its single operand, if it has one, and d the partial of that."""
    if last is not None and not isinstance(last, Value):
        last, d = number(last), None  # a bare number has no partial
    node: Any = record(rule, data, last, d, None, None, Fan)
    node._sources = tuple(rows)
    node._row_partials = tuple([row.of_inputs(d) for row, d in zip(rows, partials)])
    fan: Value = node
    return fan


def _bad_row(rule: Rule, *rows: Row) -> ValueError:
    width = len(rows[0])
    for name, row in zip(rule.operands, rows):
        if not row:
            return ValueError(f"{rule.name} of no {name}; pass at least one")
        if len(row) != width:
            return ValueError(
                f"{rule.name} expected {width} {name}, as many as {rule.operands[0]}, "
                f"got {len(row)}"
            )
    raise AssertionError("no row is bad")


def dot(weights: Iterable[Any], xs: Iterable[Any], bias: Any = 0.0) -> Value:
    """bias + Σ weights[i] · xs[i] as one node; operands are Values or numbers.

    Rows of different widths, or empty ones, are a ValueError.

    >>> dot([Value(2.0), Value(3.0)], [10.0, 100.0], bias=1.0)
    Value(data=321, grad=0, op=dot)
    """
    return dots([weights], xs, [bias])[0]


def dots(weights: Iterable[Iterable[Any]], xs: Iterable[Any], biases: Iterable[Any]) -> list[Value]:
    """[dot(row, xs, bias), …]: a layer of dots on the same xs, which are read once."""
    xs = xs if isinstance(xs, Row) else Row(xs)
    x, width, ys = xs.numbers(), len(xs), []
    for row, bias in zip(weights, biases):
        if not isinstance(row, Row):
            row = Row(row)
        if len(row) != width or not width:
            raise _bad_row(rules.dot, row, xs)
        if isinstance(bias, Value):
            y, dw, dx, db = _DOT(floats, row.numbers(), x, bias.data)
        else:
            bias = number(bias)
            y, dw, dx, _ = _DOT(floats, row.numbers(), x, bias)
            db = None
        node: Any = record(rules.dot, y, bias, db, None, None, Fan)
        node._sources = (row, xs)
        node._row_partials = (row.of_inputs(dw), xs.of_inputs(dx))
        ys.append(node)
    return ys


_DOT = rules.dot.function


def sum(xs: Iterable[Any]) -> Value:
    """Σ xs as one node; no xs at all is a ValueError."""
    return apply_to_rows(rules.sum, xs)


def mean(xs: Iterable[Any]) -> Value:
    """Σ xs / len(xs); no xs at all is a ValueError."""
    row = Row(xs)
    return sum(row) / len(row)


def logsumexp(xs: Iterable[Any]) -> Value:
    """ln Σ exp(xs) as one node, stable at any size; no xs at all is a ValueError."""
    return apply_to_rows(rules.logsumexp, xs)


def where(condition: Any, x: Any, y: Any) -> Value:
    """x if the condition is above 0, else y; Values or numbers. For a > b: `where(a - b, x, y)`.

    A branch of Python's own is taken once, when the graph is made; this one is taken anew for each
    sample of a replay. No gradient goes to the condition. As it multiplies by 0 and 1, x and y must
    both be finite.
    """
    above = maximum(condition, 0.0).detach()
    on = minimum(above**1e-20, 1.0)  # of any float above 0, which rounds to 1, of 0 it is 0
    found: Value = on * x + (1.0 - on) * y
    return found
