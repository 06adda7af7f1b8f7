"""A recorded graph as numbered lists, which the lifter can sort and compare.

Every Value has an id: the parameters first, then the inputs, then the computed nodes, each after
all that it reads. Numbers follow: bare ones and leaves that are neither parameter nor input, each
number once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from microgradx._base.arguments import flat
from microgradx.engine import Value, apply, cut_off, order
from microgradx.rules import Rule

NONE = -1  # in place of an id


class Tape:
    """The nodes that `outputs` were computed from.

    values:  by id, the Value; of parameters, inputs and computed nodes
    rules:   by id, the row of the table that made it, None for a leaf
    args:    by id, the ids of its single operands, in order
    rows:    by id, the ids of its rows of operands, in order
    numbers: the constants; the one at k has the id len(values) + k
    frozen:  the leaves that are constants, with what they were
    """

    def __init__(
        self, outputs: Sequence[Value], parameters: Iterable[Value] | None, inputs: Iterable[Value]
    ) -> None:
        swept = order(*outputs)
        computed, reached = _computed(swept, outputs)
        inputs = list(inputs)
        if parameters is None:  # every leaf that is no input
            known = set(inputs)
            parameters = [x for x in reached if x.rule is None and x not in known]
        leaves = list(dict.fromkeys(parameters))
        self.parameters = len(leaves)
        leaves += inputs
        self.leaves = len(leaves)
        self.values = leaves + computed
        self._ids: dict[Any, int] = dict(zip(self.values, range(len(self.values))))
        self.rules: list[Rule | None] = [None] * self.leaves
        self.rules += [node.rule for node in computed]
        self.args: list[tuple[int, ...]] = [()] * self.leaves
        self.rows: list[tuple[tuple[int, ...], ...]] = [()] * len(self.values)
        self.numbers: list[float] = []
        self.frozen: dict[Value, float] = {}
        self._number_ids: dict[Any, int] = {}
        self._row_ids: dict[int, tuple[int, ...]] = {}
        find, keep = self._ids.get, self.args.append
        for i, node in enumerate(computed, self.leaves):
            singles = [(x, find(x)) for x in node.operands if not isinstance(x, tuple)]
            keep(tuple([self._number(x) if j is None else j for x, j in singles]))
            if len(singles) < len(node.operands):
                self.rows[i] = tuple([self._row(x) for x in node.operands if isinstance(x, tuple)])
        self.outputs = [self.id(output) for output in outputs]

    def id(self, operand: Any) -> int:
        """The id of a Value, or of a bare number."""
        i = self._ids.get(operand)
        return self._number(operand) if i is None else i

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
        made = self.values[: self.parameters]
        made += [Value(x, old.label) for x, old in zip(inputs, self.values[self.parameters :])]
        rows: dict[tuple[int, ...], tuple[Any, ...]] = {}

        def operand(i: int) -> Any:
            return self.number(i) if self.is_number(i) else made[i]

        for i in range(self.leaves, len(self.values)):
            rule, args = self.rules[i], [operand(j) for j in self.args[i]]
            assert rule is not None
            for row in self.rows[i]:
                if row not in rows:
                    rows[row] = tuple([operand(j) for j in row])
            node = apply(rule, *rule.arranged([rows[row] for row in self.rows[i]], args))
            node.label = self.values[i].label
            made.append(node)
        return made

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
            i = self._row_ids[id(row)] = tuple([self.id(x) for x in row])
        return i


def _computed(swept: list[Value], outputs: Sequence[Value]) -> tuple[list[Value], list[Value]]:
    """The computed nodes, each after what it reads, and all nodes.

    The sweep stops at a detach; what that was cut off from is computed all the same.
    """
    computed = [node for node in swept if node.rule is not None]
    computed.reverse()
    silent = {rule for rule in {node.rule for node in computed} if rule and rule.silent}
    if not silent or not any(cut_off(node) for node in computed if node.rule in silent):
        return computed, swept
    done: dict[Value, None] = {}
    stack: list[Any] = list(reversed(outputs))
    while stack:
        node = stack[-1]
        waiting = [x for x in flat(node.operands) if isinstance(x, Value) and x not in done]
        if waiting and node not in done:
            stack += reversed(waiting)
        else:
            done[stack.pop()] = None
    return [node for node in done if node.rule is not None], list(done)
