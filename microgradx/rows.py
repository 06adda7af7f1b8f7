"""Ops of many operands: a row of them is read as one, so a neuron is a single node."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from microgradx import floats, rules
from microgradx.engine import Value, data_of, operand, record
from microgradx.reals import number
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

    def __new__(cls, operands: Iterable[Any]) -> Row:
        return super().__new__(cls, [x if isinstance(x, Value) else number(x) for x in operands])

    def __init__(self, operands: Iterable[Any]) -> None:
        self.inputs = self._sources = tuple([x for x in self if isinstance(x, Value)])
        self._pending = 0

    def numbers(self) -> list[float]:
        """The data of every operand, now."""
        if len(self.inputs) == len(self):
            return [x.data for x in self]
        return [x.data if isinstance(x, Value) else x for x in self]

    def of_inputs(self, partials: Sequence[float]) -> Sequence[float]:
        """The partials of the Values alone, given those of all operands."""
        if len(self.inputs) == len(self):
            return partials
        return [d for x, d in zip(self, partials) if isinstance(x, Value)]

    def __deepcopy__(self, memo: dict[int, Any]) -> Row:
        return Row([copy.deepcopy(x, memo) for x in self])


def apply_to_rows(rule: Rule, *operands: Any) -> Value:
    """The node that `rule` makes of its rows of operands, and one operand more where it has one.

    An empty row, or two rows of different widths, is a ValueError.
    """
    rows = [x if isinstance(x, Row) else Row(x) for x in operands[: rule.rows]]
    for name, row in zip(rule.operands, rows):
        if not row:
            raise ValueError(f"{rule.name} of no {name}; pass at least one")
        if len(row) != len(rows[0]):
            raise ValueError(
                f"{rule.name} expected {len(rows[0])} {name}, as many as {rule.operands[0]}, "
                f"got {len(row)}"
            )
    singles = operands[rule.rows :]
    numbers = [row.numbers() for row in rows]
    data, *partials = rule.function(floats, *numbers, *map(data_of, singles))
    a, da = operand(singles[0], partials[-1]) if singles else (None, None)
    node = record(rule, data, a, da, kind=Fan)
    assert isinstance(node, Fan)
    node._sources = tuple(rows)
    node._row_partials = tuple([row.of_inputs(d) for row, d in zip(rows, partials)])
    return node


def dot(weights: Iterable[Any], xs: Iterable[Any], bias: Any = 0.0) -> Value:
    """bias + Σ weights[i] · xs[i] as one node; operands are Values or numbers.

    Rows of different widths, or empty ones, are a ValueError.

    >>> dot([Value(2.0), Value(3.0)], [10.0, 100.0], bias=1.0)
    Value(data=321, grad=0, op=dot)
    """
    return apply_to_rows(rules.dot, weights, xs, bias)


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
