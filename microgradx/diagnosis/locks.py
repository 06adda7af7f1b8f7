"""Which parameters plain gradient descent can ever move, and what moves with them.

A gradient that is 0 in every row stays so unless something on its way changes: a weight of 0 that
moves opens the way behind it, and so does a unit that is off as soon as its z can move. So the
parameters that move now are followed forward to all that they change, and from there back to the
parameters to which a gradient may come then, until no more are found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from microgradx.diagnosis.survey import Survey
from microgradx.engine import Value
from microgradx.explain.factors import factor_pairs, read_by


class Motion:
    """What can move.

    moves: the parameters that have a gradient in some row
    ever:  these, and those that may have one later
    alive: all nodes whose numbers change as those move, and those
    """

    def __init__(self, survey: Survey) -> None:
        replay, units = survey.replay, survey.units
        self._nodes, self._outputs = replay.nodes, survey.outputs
        shut = np.flatnonzero(units.off == units.seen).tolist()
        self._shut = {x: x.inputs[0] for u in shut for x in units.nodes[u]}
        columns = survey.task.X.reshape(len(survey.task.X), -1)
        self._zero = {p for p in replay.parameters if p.data == 0}
        self._zero |= {
            x for x, used in zip(survey.inputs, (columns != 0).sum(axis=0).tolist()) if not used
        }
        empty = np.flatnonzero((units.low == 0) & (units.high == 0)).tolist()
        self._zero |= {x for u in empty for x in units.nodes[u]}
        for node in replay.nodes:
            if (pairs := factor_pairs(node)) and all(_any_zero(pair, self._zero) for pair in pairs):
                if all(_is_zero(x, self._zero) for x in node.operands[2:]):
                    self._zero.add(node)
        self.moves = {p for p, n in zip(replay.parameters, survey.moved.tolist()) if n}
        self.ever: set[Value] = set()
        self.alive: set[Value] = set()
        more = self.moves
        while len(more) > len(self.ever):
            self.ever = more
            self.alive = self._forward()
            reached = self._back()
            more = self.ever | {p for p in replay.parameters if p in reached}

    def _forward(self) -> set[Value]:
        """All that changes as the parameters that ever move do."""
        alive = {*self.ever}
        still = self._zero - alive
        for node in self._nodes:
            if node.rule is not None and any(x in alive for x in _open(node, still, read_by(node))):
                alive.add(node)
        return alive

    def _back(self) -> set[Value]:
        """All to which a gradient may come from the outputs, then."""
        reached, still = {*self._outputs}, self._zero - self.alive
        for node in reversed(self._nodes):
            if node in reached and not (node in self._shut and self._shut[node] not in self.alive):
                reached.update(_open(node, still, node.inputs))
        return reached


def _open(node: Value, still: set[Value], read: Iterable[Value]) -> Iterator[Value]:
    """Of what a node reads all but what is multiplied with 0 alone."""
    if node.rule is None or node.rule.kind != "product":
        yield from read
        return
    for x, y in factor_pairs(node):
        if isinstance(x, Value) and not _is_zero(y, still):
            yield x
        if isinstance(y, Value) and not _is_zero(x, still):
            yield y
    yield from (x for x in node.operands[2:] if isinstance(x, Value))


def _any_zero(pair: tuple[Any, Any], still: set[Value]) -> bool:
    return _is_zero(pair[0], still) or _is_zero(pair[1], still)


def _is_zero(x: Any, still: set[Value]) -> bool:
    return x in still if isinstance(x, Value) else x == 0
