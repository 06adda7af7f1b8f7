"""A recorded graph as numbered lists, which the lifter can sort and compare.

Every Value has an id: the parameters first, then the inputs, then the computed nodes, each after
all that it reads. Numbers follow: bare ones and leaves that are neither parameter nor input, each
number once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from microgradx._base.arguments import flat
from microgradx.engine import Value, apply, cut_off, read_together
from microgradx.rules import Rule

NONE = -1  # in place of an id


class Tape:
    """The nodes that `outputs` were computed from, `nodes_of` them.

    values:  by id, the Value; of parameters, inputs and computed nodes
    rules:   by id, the row of the table that made it, None for a leaf
    args:    by id, the ids of its single operands, in order
    rows:    by id, the ids of its rows of operands, in order
    numbers: the constants; the one at k has the id len(values) + k
    frozen:  the leaves that are constants, with what they were
    tensors: the ids of the parameters by the tensors that their labels tell of, once that is asked
    """

    def __init__(
        self,
        outputs: Sequence[Value],
        parameters: Iterable[Value] | None,
        inputs: Iterable[Value],
        nodes: list[Value] | None = None,
    ) -> None:
        nodes, inputs = nodes or nodes_of(outputs), list(inputs)
        if parameters is None:  # every leaf that is no input
            known = set(inputs)
            parameters = [x for x in reversed(nodes) if x.rule is None and x not in known]
        leaves = list(dict.fromkeys(parameters))
        self.parameters = len(leaves)
        self.leaves = len(leaves) + len(inputs)
        outside = {*inputs}
        made = [x for x in nodes if x.rule is not None and x not in outside]
        self.values = [*leaves, *inputs, *made]
        self._ids: dict[Any, int] = dict(zip(self.values, range(len(self.values))))
        self.rules: list[Rule | None] = [*[None] * self.leaves, *[x.rule for x in made]]
        self.args: list[tuple[int, ...]] = [()] * self.leaves
        self.rows: list[tuple[tuple[int, ...], ...]] = [()] * len(self.values)
        self.numbers: list[float] = []
        self.frozen: dict[Value, float] = {}
        self._number_ids: dict[Any, int] = {}
        self._row_ids: dict[int, tuple[int, ...]] = {}
        find = self._ids.get
        for i, node in enumerate(self.values[self.leaves :], self.leaves):
            operands = node.operands
            singles = [(x, find(x)) for x in operands if not isinstance(x, tuple)]
            self.args.append(tuple([self._number(x) if j is None else j for x, j in singles]))
            if len(singles) < len(operands):
                self.rows[i] = tuple([self._row(x) for x in operands if isinstance(x, tuple)])
        self.outputs = [self.id(output) for output in outputs]
        self.tensors: list[Any] | None = None

    def id(self, operand: Any) -> int:
        """The id of a Value, or of a bare number."""
        i = self._ids.get(operand)
        return self._number(operand) if i is None else i

    def known(self, value: Value) -> int:
        """The id of a Value that was recorded; else a KeyError."""
        i = self._ids.get(value)
        if i is None:
            raise KeyError(f"{value!r} is no node that was recorded")
        return i

    def is_number(self, i: int) -> bool:
        return i >= len(self.values)

    def number(self, i: int) -> float:
        """The constant with the id i."""
        return self.numbers[i - len(self.values)]

    def operands(self, i: int) -> tuple[int, ...]:
        """The ids of all that a node reads: its rows, then its single operands."""
        return (*[j for row in self.rows[i] for j in row], *self.args[i])

    def play(self, inputs: Iterable[float]) -> list[Value]:
        """The same graph anew, by id: of the parameters as they are, and of other inputs."""
        made: list[Any] = [*self.values, *self.numbers]
        for i, x in enumerate(inputs, self.parameters):
            made[i] = Value(x, self.values[i].label)

        @cache  # many read the same row
        def members(row: tuple[int, ...]) -> tuple[Any, ...]:
            return tuple([made[j] for j in row])

        for i in range(self.leaves, len(self.values)):
            rule, singles = self.rules[i], [made[j] for j in self.args[i]]
            assert rule is not None
            made[i] = apply(rule, *rule.arranged(map(members, self.rows[i]), singles))
            made[i].label = self.values[i].label
        return made[: len(self.values)]

    def _number(self, operand: Any) -> int:
        x = operand
        if isinstance(operand, Value):
            x = self.frozen[operand] = operand.data
        key = x if x else (x, math.copysign(1.0, x))  # 0.0 and -0.0 are two
        i = self._number_ids.get(key)
        if i is None:
            i = self._number_ids[key] = len(self.values) + len(self.numbers)
            self.numbers.append(x)
        return i

    def _row(self, row: Any) -> tuple[int, ...]:
        i = self._row_ids.get(id(row))
        if i is None:
            known = self._ids
            i = tuple([known[x] if x in known else self._number(x) for x in row])
            self._row_ids[id(row)] = i
        return i


def nodes_of(outputs: Sequence[Value]) -> list[Value]:
    """All nodes that `outputs` were computed from, each after what it reads.

    The sweep stops at a detach; what that was cut off from is computed all the same.
    """
    nodes = _order(outputs)[::-1]
    silent = {rule for rule in {x.rule for x in nodes} if rule and rule.silent}
    if not any(cut_off(x) for x in nodes if x.rule in silent):
        return nodes
    return _depth_first(outputs, lambda x: [y for y in flat(x.operands) if isinstance(y, Value)])


def computed(output: Value) -> list[Value]:
    """The nodes that a sweep from `output` passes, but for leaves; each after what it reads."""
    return _depth_first([output] if output.rule else [], lambda x: [y for y in x.inputs if y.rule])


def _depth_first(outputs: Sequence[Value], read: Callable[[Value], Iterable[Value]]) -> list[Value]:
    done: dict[Value, None] = {}
    stack = list(reversed(outputs))
    while stack:
        node = stack[-1]
        waiting = [x for x in read(node) if x not in done]
        if waiting and node not in done:
            stack += reversed(waiting)
        else:
            done[stack.pop()] = None
    return list(done)


def _order(outputs: Sequence[Value]) -> list[Value]:
    """`engine.order`, which counts a list of operands once, and writes on no node.

    Other threads may read the same parameters.
    """
    starts = list(dict.fromkeys(outputs))
    readers = dict.fromkeys(starts, 1)  # of a node
    lists: dict[Any, int] = {}  # how many nodes read one, by its key
    found = [*starts]
    for node in found:
        if node.rule is None:
            continue
        for key, xs in read_together(node):
            if key in lists:
                lists[key] += 1
                continue
            lists[key] = 1
            for x in xs:
                if x in readers:
                    readers[x] += 1
                else:
                    readers[x] = 1
                    found.append(x)
    passed = []
    freed: list[Iterable[Value]] = [starts]
    for free in freed:
        for x in free:
            left = readers[x] = readers[x] - 1
            if not left:
                passed.append(x)
                for key, read in read_together(x) if x.rule is not None else ():
                    if lists[key] > 1:
                        lists[key] -= 1
                    else:
                        freed.append(read)
    return passed
