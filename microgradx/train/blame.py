"""By which parameters' moves a number of the graph changed; where nan began.

A change is split exactly, over one op after another: Δ(wx) = x̄Δw + w̄Δx with the means of before
and after; f(x) changes by its secant, Δf / Δx, times Δx. Of an op of several operands that is no
product the means of its partials stand for secants, which is exact to second order. This is the
rescale rule of DeepLIFT (Shrikumar, Greenside and Kundaje 2017), from the numbers before to those
after a step instead of from a reference to an input.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from microgradx._base.text import element
from microgradx.engine import Value
from microgradx.explain.samples import role_of
from microgradx.replay import Replay
from microgradx.replay.batch import Array
from microgradx.replay.sums import ARRAYS

MOST = 20_000  # ops behind z that are followed; of more, only its own parameters


class Blame:
    """The changes of nodes over one update, split by the parameters that moved.

    replay: with the numbers after the update, which it has again afterwards
    before, after: by parameter, its numbers
    """

    def __init__(self, replay: Replay, before: Array, after: Array) -> None:
        self._replay, self._numbers = replay, (before, after)
        self._places = {p: k for k, p in enumerate(replay.parameters)}
        self._moved = after - before

    def of(
        self, zs: Sequence[Value], rows: Array, changes: Sequence[float]
    ) -> list[tuple[str, float]]:
        """For each of some nodes, the tensor that moved it most, and which share that was.

        rows:    of each node, the row of inputs that it is asked of
        changes: by how much its number changed there
        Of a unit's own parameters the row of the tensor, as `layers.0.weight[3]`; "" and 0 where
        no parameter moved it the way that it went.
        """
        own = [_own(z) for z in zs]
        ops = self._ops(zs)
        if len(ops) > MOST:
            ops = [x for x in self._ops(zs, own) if any(x in mine for mine in own)]
        read = {x for node in ops for x in node.inputs if x not in self._places} | {*ops}
        known = [self._known([*read], rows, numbers) for numbers in self._numbers]
        credits = self._swept(ops, zs, own, known)
        return [_largest(credits, k, change) for k, change in enumerate(changes)]

    def _known(self, nodes: list[Value], rows: Array, numbers: Array) -> dict[Value, Any]:
        """By node its numbers in these rows."""
        self._replay.data = numbers
        self._replay.load(rows)
        return dict(zip(nodes, self._replay.values_of(nodes)))

    def _ops(self, zs: Sequence[Value], own: Sequence[set[Value]] = ()) -> list[Value]:
        """What is computed on the way to some nodes, each after what it reads."""
        behind, stack = {*zs}, [*zs]
        within = {x for mine in own for x in mine}
        while stack:
            fresh = {x for x in stack.pop().inputs if x.rule is not None and x not in behind}
            fresh = fresh & within if own else fresh
            behind |= fresh
            stack += fresh
        return [x for x in self._replay.nodes if x in behind]

    def _swept(
        self, ops: Sequence[Value], zs: Sequence[Value], own: Sequence[set[Value]],
        known: Sequence[dict[Value, Any]],
    ) -> dict[str, Array]:  # fmt: skip
        """By tensor, what its moves add to each of the nodes."""
        n = len(zs)
        slopes: dict[Value, Array] = {z: np.zeros(n) for z in zs}
        for k, z in enumerate(zs):
            slopes[z][k] = 1.0
        credits: dict[str, Array] = {}
        for node in reversed(ops):
            slope = slopes.pop(node, None)
            if slope is None or not slope.any():
                continue
            mine = np.array([node in each for each in own])
            for x, secant in self._secants(node, known):
                if x in self._places:
                    credit = slope * secant * self._moved[self._places[x]]
                    name, place = element(x.label)
                    for key, part in (
                        (name, np.where(mine, 0.0, credit)),
                        (f"{name}[{place[0]}]" if place else name, np.where(mine, credit, 0.0)),
                    ):
                        if part.any():
                            credits[key] = credits.get(key, 0.0) + part
                elif x.rule is not None:
                    slopes[x] = slopes.get(x, 0.0) + slope * secant
        return credits

    def _secants(
        self, node: Value, known: Sequence[dict[Value, Any]]
    ) -> Iterator[tuple[Value, Any]]:
        """Of each operand that is a Value, Δnode / Δoperand."""
        before, after = (self._partials(node, one, k) for k, one in enumerate(known))
        for (x, d), (_, e) in zip(before, after):
            secant = (d + e) / 2.0
            if len(node.inputs) == 1 and x not in self._places:
                run = known[1][x] - known[0][x]
                rise = known[1][node] - known[0][node]
                secant = np.where(run != 0, rise / np.where(run != 0, run, 1.0), secant)
            yield x, secant

    def _partials(self, node: Value, known: dict[Value, Any], k: int) -> list[tuple[Value, Any]]:
        rule = node.rule
        assert rule is not None

        def number(x: Any) -> Any:
            if not isinstance(x, Value):
                return x
            return self._numbers[k][self._places[x]] if x in self._places else known[x]

        operands = [[*map(number, x)] if isinstance(x, tuple) else number(x) for x in node.operands]
        found: list[tuple[Value, Any]] = []
        for x, partial in zip(node.operands, rule.function(ARRAYS, *operands)[1:]):
            pairs = zip(x, partial) if isinstance(x, tuple) else [(x, partial)]
            found += [(y, d) for y, d in pairs if isinstance(y, Value) and d is not None]
        return found


def _own(z: Value) -> set[Value]:
    """z, and what it is a sum of that has no name of its own: there a unit's own parameters are."""
    found, stack = {z}, [z]
    while stack:
        node = stack.pop()
        if node.rule is None or node.rule.kind != "linear":
            continue
        fresh = [x for x in node.inputs if x.rule and not role_of(x.label).role and x not in found]
        found.update(fresh)
        stack += fresh
    return found


def _largest(credits: dict[str, Array], k: int, change: float) -> tuple[str, float]:
    shares = {name: float(x[k]) / change for name, x in credits.items() if change}
    name = max(shares, key=lambda name: shares[name], default="")
    return (name, shares[name]) if name and 0 < shares[name] < math.inf else ("", 0.0)


def first_not_finite(replay: Replay) -> tuple[Value, list[int]] | None:
    """The first node of the latest batch with a number that is nan or infinite, and its rows.

    None where all are finite.
    """
    ops = [x for x in replay.nodes if x.rule is not None]
    wrong = ~np.isfinite(replay.values_of(ops))
    places = np.flatnonzero(wrong.any(axis=1))
    if not places.size:
        return None
    k = int(places[0])
    return ops[k], np.flatnonzero(wrong[k]).tolist()
