"""From a graph of numbers back to arrays: the nodes that one array statement computes.

Nodes are taken level by level. Those of one op on one level form an array, if they read what lies
together; sums are for the room of products.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from microgradx.replay.arrays import Arrays, times
from microgradx.replay.loops import Sum, find_sums, vectorised
from microgradx.replay.products import SumLifter
from microgradx.replay.symbols import Symbol
from microgradx.replay.tape import Tape
from microgradx.replay.views import Ids, Shape


def lifted(tape: Tape, inputs: dict[str, Ids], tail: Shape) -> Arrays:
    """The arrays of a tape; arguments as for `Arrays`."""
    arrays = Arrays(tape, inputs, tail)
    sums = find_sums(tape)
    sum_lifter, op_lifter = SumLifter(arrays, sums), OpLifter(arrays)
    for nodes in _levels(tape, sums):
        sum_lifter.lift([i for i in nodes if i in sums])
        op_lifter.lift([i for i in nodes if i not in sums])
    unread = np.flatnonzero(arrays.home[: tape.parameters] < 0)
    if unread.size:
        arrays.place_parameters(unread)
    return arrays


def _levels(tape: Tape, sums: dict[int, Sum]) -> Iterable[list[int]]:
    """The nodes that are computed, in levels: each reads only what lies on lower ones.

    What is computed of parameters alone comes last, a penalty for instance: by then each
    parameter has its place.
    """
    count = tape.parameters
    absorbed = {i for one in sums.values() for i in one.absorbed}
    size = len(tape.values)
    levels = [0] * (size + len(tape.numbers) + 1)  # the last is that of the id NONE
    by_level: dict[int, list[int]] = {}
    for i in range(tape.leaves, size):
        if i in absorbed:
            continue
        terms = sums.get(i)
        read: Sequence[int] = terms.a + terms.b if terms else tape.operands(i)
        top = max(levels[j] for j in read)
        if top == 0 and _is_of_parameters(terms, read, count, size):
            top = size
        levels[i] = top + 1
        by_level.setdefault(top + 1, []).append(i)
    return [by_level[level] for level in sorted(by_level)]


def _is_of_parameters(terms: Sum | None, read: Sequence[int], count: int, size: int) -> bool:
    """Whether all that a node reads is parameters and numbers, and no product of the two."""
    if terms is not None:
        return all(j < count for j in read)
    return all(j < count or j >= size for j in read)


class OpLifter:
    """The nodes of one level at a time that are made by an op of the table."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays
        self.tape = arrays.tape

    def lift(self, nodes: list[int]) -> None:
        """All such nodes of a level."""
        groups: dict[Any, list[int]] = {}
        for i in nodes:
            groups.setdefault(self._kind(i), []).append(i)
        for alike in groups.values():
            self._lift_ops(alike)

    def _kind(self, i: int) -> tuple[Any, ...]:
        """The facts that nodes of one statement have in common."""
        tape = self.tape
        rule = tape.rules[i]
        assert rule is not None
        widths = tuple([len(row) for row in tape.rows[i]])
        numbers = tuple([tape.is_number(j) for j in tape.args[i]])
        batched = any(self.arrays.batched[j] for j in tape.operands(i))
        return rule.name, batched, widths, numbers

    def _lift_ops(self, nodes: list[int]) -> None:
        """Nodes of one op: by where their operands come from, or all at once if from all over.

        Identical nodes are computed once.
        """
        groups: dict[Any, list[int]] = {}
        for i in nodes:
            groups.setdefault(self._operands(i), []).append(i)
        once = self.arrays.deduplicated(groups)
        self._lift_different(once)
        if len(once) < len(nodes):
            self.arrays.share_storage(groups)

    def _operands(self, i: int) -> tuple[int, ...]:
        """The ids that a node reads, each that of the first of all identical nodes."""
        return tuple(self.arrays.one[list(self.tape.operands(i))].tolist())

    def _lift_different(self, nodes: list[int]) -> None:
        ids = np.array(nodes)
        matrix = np.array([self._operands(i) for i in nodes])
        if len(nodes) == 1:
            self._lift_op(ids, matrix)
            return
        kinds, which = np.unique(self.arrays.home[matrix], axis=0, return_inverse=True)
        if len(kinds) > max(2, len(nodes) // 8):
            self._lift_op(ids, matrix, even=False)
            return
        for k in range(len(kinds)):
            mine = which.ravel() == k
            self._lift_op(ids[mine], matrix[mine])

    def _lift_op(self, ids: Ids, matrix: Ids, even: bool = True) -> None:
        tape, first = self.tape, int(ids[0])
        rule = tape.rules[first]
        assert rule is not None
        turn, dims = self.arrays.arrange(matrix) if even else (np.arange(len(ids)), ids.shape)
        ids, matrix = ids[turn].reshape(dims), matrix[turn]
        blocks, at = [], 0  # for each operand of the rule, what it reads
        for row in tape.rows[first]:
            blocks.append(matrix[:, at : at + len(row)].T.reshape(-1, *dims))
            at += len(row)
        rows = len(blocks)
        blocks += [column.reshape(dims) for column in matrix[:, at:].T]
        batched = self.arrays.is_batched(matrix, blocks)
        operands = [self.arrays.read(block, batched) for block in blocks]
        for k, block in enumerate(blocks[:rows]):
            operands[k] = [self._element(operands[k], i) for i in range(len(block))]
        value, *partials = rule.function(
            self.arrays.table, *rule.arranged(operands[:rows], operands[rows:])
        )
        partials = [
            *[d for name, d in zip(rule.operands, partials) if name in rule.lists],
            *[d for name, d in zip(rule.operands, partials) if name not in rule.lists],
        ]  # as the blocks are: of the lists, then of single operands
        if rows:
            value, partials = vectorised(self.arrays.table, value, partials, operands[:rows])
        array = self.arrays.compute(rule.name, ids, value, batched)
        for block, partial in zip(blocks, partials):
            if isinstance(partial, list):
                for k, d in enumerate(partial):
                    self.arrays.use(array, block[k], times(d))
            elif partial is not None:  # a detach gives nothing back
                self.arrays.use(array, block, times(partial))

    def _element(self, row: Any, k: int) -> Any:
        if not isinstance(row, Symbol):
            return row
        at = 0 if row.shape[0] == 1 else k
        return self.arrays.table.view(row, f"[{at}, ...]", row.shape[1:])
