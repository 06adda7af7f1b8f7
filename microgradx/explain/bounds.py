"""The same graph on intervals: what is proved for every input in a box."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache, cached_property, partial
from math import inf
from typing import Any, NamedTuple

from microgradx._base.arguments import flat, number
from microgradx.engine import Value, sweep
from microgradx.explain.intervals import Interval, hull, interval, intervals, meet, widened
from microgradx.explain.rerun import Partials, each, forward, history, run_on
from microgradx.explain.witnesses import Point, Search
from microgradx.rules import Rule

# --- one row of the table -------------------------------------------------------------------------


def enclose(rule: Rule, operands: list[Any]) -> list[Any]:
    """Intervals of an op's value and of its partials.

    The row itself is run on intervals: sound, but wide where an operand is read twice; its
    columns narrow it. A row that cannot be run on intervals is given the whole line.
    """
    operands = each(interval, operands)
    known = isinstance(rule.bounds, tuple)  # the ends tell all
    runs = _tried(rule, _ends(rule, operands) if known else _pieces(rule, operands))
    found: list[Any] = [None if xs[0] is None else hull(xs) for xs in zip(*runs)]
    found = found or [Interval(-inf, inf, True)] * (1 + len(rule.one_by_one(operands)))
    if not known and not (runs and rule.kind == "linear"):  # a sum reads each operand once
        tips = [value for value, *_ in _tried(rule, _ends(rule, operands))]
        if tips:
            found[0] = meet(found[0], hull(tips))
    limit = _limit(rule.ceiling)
    if limit is not None:
        found[1:] = [None if x is None else meet(x, limit) for x in found[1:]]
    return found


@cache
def _limit(ceiling: float) -> Interval | None:
    """Where partials lie by their ceiling, if that is one."""
    c = widened(ceiling, inf)
    return Interval(-c, c) if c < inf else None


def _tried(rule: Rule, boxes: Iterable[list[Any]]) -> list[list[Any]]:
    """The row run on each of the boxes; nothing if it is not written for intervals."""
    try:
        return [run_on(intervals, rule, box) for box in boxes]
    except (TypeError, AttributeError):
        return []


def _ends(rule: Rule, operands: list[Any]) -> list[list[Any]]:
    """The points of a box that bound its value, by the row's column `bounds`."""
    if rule.bounds is None:
        return []
    if isinstance(rule.bounds, tuple):
        x = operands[0]
        points = (x.lo, *[p for p in rule.bounds if x.lo < p < x.hi], x.hi)
        return [[Interval(p, p, x.nan)] for p in dict.fromkeys(points)]
    if all(x.lo == x.hi for x in flat(operands)):
        return []  # the box is a point
    lows = each(lambda x: Interval(x.lo, x.lo, x.nan), operands)
    highs = each(lambda x: Interval(x.hi, x.hi, x.nan), operands)
    return [lows, highs]


def _pieces(rule: Rule, operands: list[Any]) -> list[list[Any]]:
    """The box, cut at the row's kinks."""
    if not rule.kinks:
        return [operands]
    sides = []
    for name, x in zip(rule.operands, operands):
        kinks = [k for k in rule.kinks.get(name, ()) if x.lo < k < x.hi]
        cuts = [x.lo, *kinks, x.hi] if kinks else []
        sides.append([Interval(a, b, x.nan) for a, b in zip(cuts, cuts[1:])] or [x])
    return [list(box) for box in itertools.product(*sides)]


# --- the graph --------------------------------------------------------------------------------


def _taken(partials: Partials, node: Value) -> list[Any]:
    """The node's partials, with None for an operand that a `where` surely leaves."""
    if node.rule is None or not node.rule.selects:
        return partials[node]
    ends = [(x.lo, x.hi, x.nan) for x in map(interval, partials[node])]
    return [None if x == (0.0, 0.0, False) else d for x, d in zip(ends, partials[node])]


# --- what is proved -----------------------------------------------------------------------------


class Gate(NamedTuple):
    """The proof about a node whose slope may be 0, such as a ReLU, over a box.

    verdict: "proved dead" (the slope is 0 all over the box), "proved active" (it is 0 nowhere),
             "refuted" (not dead: it is not 0 at the witness) or "unknown"
    z:       where its input lies
    witness: for "refuted", a point of the box where the graph, run again, has a slope there
    """

    verdict: str
    z: Interval
    witness: Point | None = None


class Bounds:
    """Proofs about every node of a graph, for every input in a box.

    box: for some leaves, an interval (lo, hi) each; the other leaves stay at their data

    >>> x, w = Value(1.0, "x"), Value(-3.0, "w")
    >>> y = (w * x - 0.5).relu()
    >>> b = Bounds(y, {x: (0.0, 2.0)})
    >>> print(b[y], b.gradient(x), b.gates[y].verdict)
    [0.0, 0.0] [0.0, 0.0] proved dead

    The real graph and the float one both stay inside: every value, and every gradient by the
    rules' own derivatives, so that ReLU's is 0 at 0. The intervals are sound, not tight, but for
    a layer that reads the box itself: there they are exact up to rounding. An infinite or
    undefined result is in the interval, or its `nan` is set.

    A key that is no leaf of the graph, or an interval that is none, is a TypeError or ValueError.
    """

    def __init__(self, output: Value, box: Mapping[Value, Any]) -> None:
        if not isinstance(output, Value):
            raise TypeError(f"Bounds needs the Value to bound, got {output!r:.60}")
        if not isinstance(box, Mapping):
            raise TypeError(f"a box maps leaves to intervals, {{x: (-1, 1)}}; got {box!r:.60}")
        self.output = output
        self._nodes = history(output)
        self._data: Point = {node: node.data for node in self._nodes if node.rule is None}
        self.box = {leaf: _checked(leaf, pair, self._data) for leaf, pair in box.items()}
        leaves = {leaf: interval(x) for leaf, x in self._data.items()} | self.box
        self._intervals, self._partials = forward(self._nodes, leaves, enclose)

    def __getitem__(self, node: Value) -> Interval:
        """Where the node's data lies."""
        if node not in self._intervals:
            raise KeyError(f"{node!r} is not in the graph of {self.output!r}")
        found: Interval = self._intervals[node]
        return found

    def gradient(self, node: Value) -> Interval:
        """Where ∂output/∂node lies; its `largest` bounds |∂output/∂node|."""
        self[node]  # is it in the graph?
        return interval(self._adjoints.get(node, 0.0))

    @cached_property
    def _adjoints(self) -> dict[Value, Interval]:
        return dict(sweep(self.output, interval(1.0), partial(_taken, self._partials)))

    def __str__(self) -> str:
        verdicts = Counter(gate.verdict for gate in self.gates.values())
        gates = ", ".join(f"{n} {verdict}" for verdict, n in sorted(verdicts.items()))
        slope = max([self.gradient(leaf).largest for leaf in self.box], default=0.0)
        return (
            f"over a box of {len(self.box)} of {len(self._data)} leaves: "
            f"output in {self[self.output]}, |∂output/∂leaf| <= {slope:.3g}"
            + (f"; gates: {gates}" if gates else "")
        )

    # --- gates --------------------------------------------------------------------------------

    @cached_property
    def gates(self) -> dict[Value, Gate]:
        """The verdict on each gate of one input, in the order of the graph."""
        found: dict[Value, Gate] = {}
        for node in self._nodes:
            if node.rule and node.rule.kind == "gate" and len(node.inputs) == 1:
                [slope] = self._partials[node]
                verdict = "unknown"
                if not slope.nan and slope.lo == slope.hi == 0:
                    verdict = "proved dead"
                elif 0 not in slope and not slope.nan:
                    verdict = "proved active"
                found[node] = Gate(verdict, self[node.inputs[0]])
        unknown = [node for node, gate in found.items() if gate.verdict == "unknown"]
        if unknown:
            seen = Search(self._nodes, self._data, self.box)(unknown)
            found |= {node: Gate("refuted", found[node].z, at) for node, at in seen.items()}
        return found


def _checked(leaf: Any, pair: Any, leaves: Point) -> Interval:
    """The interval that a box gives for a leaf."""
    if not isinstance(leaf, Value):
        raise TypeError(f"a box maps leaves to intervals; {leaf!r:.60} is no Value")
    if leaf.rule:
        raise ValueError(f"{leaf!r} is computed: its interval follows; give those of leaves only")
    if leaf not in leaves:
        raise ValueError(f"{leaf!r} is not in the graph of the output; leave it out of the box")
    try:
        lo, hi = pair
    except (TypeError, ValueError):
        raise TypeError(f"the interval of {leaf!r} is a pair (lo, hi), got {pair!r:.60}") from None
    lo, hi = number(lo), number(hi)
    if not lo <= hi:
        remedy = "nan bounds nothing; use -inf, inf" if lo != lo or hi != hi else "swap them"
        raise ValueError(f"the interval of {leaf!r} has lo = {lo!r}, hi = {hi!r}: {remedy}")
    return Interval(lo, hi)
