"""From a graph of numbers back to arrays: the nodes that one array statement computes.

Nodes are taken level by level. Those of one op on one level form an array, if they read what lies
together; sums are for the room of products.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from microgradx.replay.arrays import Arrays, Op, taken, times
from microgradx.replay.loops import Sum, find_sums, vectorised
from microgradx.replay.products import SumLifter, split
from microgradx.replay.symbols import Symbol
from microgradx.replay.tape import NONE, Tape
from microgradx.replay.views import Ids


def lift_all(arrays: Arrays) -> dict[int, Sum]:
    """Place every node of the tape; gives the sums that were kept together, by id."""
    tape = arrays.tape
    sums = find_sums(tape)
    lifter = Lifter(arrays, sums)
    for nodes in _levels(tape, sums):
        lifter.lift(nodes)
    unread = np.flatnonzero(arrays.home[: tape.parameters] < 0)
    if unread.size:
        arrays.place_parameters(unread)
    return sums


def _levels(tape: Tape, sums: dict[int, Sum]) -> Iterable[list[int]]:
    """The nodes that are computed, in levels: each reads only what lies on lower ones.

    Nodes of parameters alone come last, a penalty for instance: by then each
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
        data = size if terms is None else size + len(tape.numbers)  # a layer may weigh numbers
        if top == 0 and all(j < count or j >= data for j in read):
            top = size
        levels[i] = top + 1
        by_level.setdefault(top + 1, []).append(i)
    return [by_level[level] for level in sorted(by_level)]


class Lifter:
    """The nodes of one level at a time."""

    def __init__(self, arrays: Arrays, sums: dict[int, Sum]) -> None:
        self.arrays = arrays
        self.tape = arrays.tape
        self.sums = sums
        self.sum_lifter = SumLifter(arrays, sums)

    def lift(self, nodes: list[int]) -> None:
        """All nodes of a level, those of one kind together, sums first."""
        groups: dict[Any, list[int]] = {}
        for i in sorted(nodes, key=lambda i: i not in self.sums):
            groups.setdefault(self._kind(i), []).append(i)
        for alike in groups.values():
            self._lift_alike(alike)

    def _kind(self, i: int) -> tuple[Any, ...]:
        """The facts that nodes of one statement have in common."""
        tape, rule, terms = self.tape, self.tape.rules[i], self.sums.get(i)
        assert rule is not None
        if terms is not None:
            return terms.weighted, len(terms.a)
        widths = tuple([len(row) for row in tape.rows[i]])
        numbers = tuple([tape.is_number(j) for j in tape.args[i]])
        batched = any(self.arrays.batched[j] for j in tape.operands(i))
        return rule.name, batched, widths, numbers

    def _lift_alike(self, nodes: list[int]) -> None:
        """Nodes of one kind; identical ones are computed once."""
        arrays, terms = self.arrays, [self.sums.get(i) for i in nodes]
        operands = [x.a + x.b if x else self.tape.operands(i) for i, x in zip(nodes, terms)]
        matrix = np.array(operands)
        matrix = np.where(matrix == NONE, NONE, arrays.one[matrix])
        groups: dict[bytes, list[int]] = {}
        for i, row in zip(nodes, matrix):
            groups.setdefault(row.tobytes(), []).append(i)
        once = arrays.deduplicated(groups)
        number = {i: k for k, i in enumerate(nodes)}
        matrix = matrix[[number[i] for i in once]]
        if terms[0]:
            self.sum_lifter.lift(np.array(once), *np.split(matrix, 2, axis=1))
        else:
            self._lift_ops(np.array(once), matrix)
        if len(once) < len(nodes):
            arrays.share_storage(groups)

    def _lift_ops(self, ids: Ids, matrix: Ids) -> None:
        """Nodes of one op: by where their operands come from, or all at once if from all over."""
        places = split(self.arrays.home[matrix])
        even = len(places) <= max(2, len(ids) // 8)
        for mine in places if even else [np.arange(len(ids))]:
            self._lift_op(ids[mine], matrix[mine], even)

    def _lift_op(self, ids: Ids, matrix: Ids, even: bool) -> None:
        arrays, tape, first = self.arrays, self.tape, int(ids[0])
        rule = tape.rules[first]
        assert rule is not None
        turn, dims = arrays.arrange(matrix) if even else (np.arange(len(ids)), ids.shape)
        ids, matrix = ids[turn].reshape(dims), matrix[turn]
        lists, at = [], 0
        for row in tape.rows[first]:
            lists.append(matrix[:, at : at + len(row)].T.reshape(-1, *dims))
            at += len(row)
        blocks = rule.arranged(lists, [column.reshape(dims) for column in matrix[:, at:].T])
        batched = arrays.is_batched(matrix, blocks)
        operands = [arrays.read(block, batched) for block in blocks]
        for k, name in enumerate(rule.operands):
            if name in rule.lists:
                operands[k] = [self._element(operands[k], j) for j in range(len(blocks[k]))]
        value, *partials = rule.function(arrays.table, *operands)
        if lists:
            rows = [x for x in operands if isinstance(x, list)]
            value, partials = vectorised(arrays.table, value, partials, rows)
        array = arrays.compute(rule.name, ids, value, batched)
        arrays.notes.append(Op(array, rule, blocks))
        for block, partial in zip(blocks, partials):
            several = isinstance(partial, list)
            for part, d in zip(block, partial) if several else [(block, partial)]:
                if rule.selects and isinstance(d, Symbol):
                    arrays.use(array, part, *taken(d))
                elif d is not None and not (rule.selects and d == 0):
                    arrays.use(array, part, times(d))  # a detach gives nothing back

    def _element(self, row: Any, k: int) -> Any:
        if not isinstance(row, Symbol):
            return row
        at = 0 if row.shape[0] == 1 else k
        return self.arrays.table.view(row, f"[{at}, ...]", row.shape[1:])
