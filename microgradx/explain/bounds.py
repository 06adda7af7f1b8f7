"""The same graph on intervals: what is proved for every input in a box."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, cached_property, partial
from graphlib import TopologicalSorter
from math import inf, isinf
from typing import Any, NamedTuple

from microgradx._base import floats
from microgradx._base.arguments import flat, number
from microgradx.engine import Value, cut_off, sweep, with_cut_off
from microgradx.explain.intervals import Interval, hull, interval, intervals, meet, widened
from microgradx.rules import Rule

PASSES = 100  # over the whole graph, in search of witnesses

Point = dict[Value, float]
Partials = dict[Value, list[Any]]  # of each node, in the order of its inputs

# --- one row of the table -------------------------------------------------------------------------


def _run(rule: Rule, xp: Any, operands: list[Any]) -> list[Any]:
    """An op's value, and then its partials in the order of its operands, one by one."""
    value, *partials = rule.function(xp, *operands)
    return [value, *(rule.one_by_one(partials) if rule.lists else partials)]


def run_on_floats(rule: Rule, operands: list[Any]) -> list[Any]:
    """An op's value and its partials, one by one, where the operands are numbers."""
    return _run(rule, floats, operands)


def _each(f: Callable[[Any], Any], operands: list[Any]) -> list[Any]:
    """f of every operand, rows staying rows."""
    return [[*map(f, xs)] if type(xs) is list else f(xs) for xs in operands]


def enclose(rule: Rule, operands: list[Any]) -> list[Any]:
    """Intervals of an op's value and of its partials.

    The row itself is run on intervals: sound, but wide where an operand is read twice; its
    columns narrow it. A row that cannot be run on intervals is given the whole line.
    """
    operands = _each(interval, operands)
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
        return [_run(rule, intervals, box) for box in boxes]
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
    lows = _each(lambda x: Interval(x.lo, x.lo, x.nan), operands)
    highs = _each(lambda x: Interval(x.hi, x.hi, x.nan), operands)
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


def _history(output: Value) -> list[Value]:
    """Every node that `output` was computed from, after all it read, also behind a detach."""
    nodes = with_cut_off(output)
    if not any(map(cut_off, nodes)):
        return nodes[::-1]
    read = {node: [x for x in flat(node.operands) if isinstance(x, Value)] for node in nodes}
    return list(TopologicalSorter(read).static_order())


def _forward(
    nodes: list[Value], leaves: Mapping[Value, Any], run: Callable[[Rule, list[Any]], list[Any]]
) -> tuple[dict[Value, Any], Partials]:
    """Run the rules again on other leaves: the value and the partials of each node."""
    values: dict[Value, Any] = {}
    partials: Partials = {}
    for node in nodes:
        if node.rule is None:
            values[node], partials[node] = leaves[node], []
            continue
        operands = node.operands
        now = [
            [values[y] if isinstance(y, Value) else y for y in x]
            if type(x) is tuple
            else (values[x] if isinstance(x, Value) else x)
            for x in operands
        ]
        values[node], *found = run(node.rule, now)
        read = node.rule.one_by_one(operands) if node.rule.lists else operands
        partials[node] = [d for x, d in zip(read, found) if isinstance(x, Value) and d is not None]
    return values, partials


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
        self._nodes = _history(output)
        self._data: Point = {node: node.data for node in self._nodes if node.rule is None}
        self.box = {leaf: _checked(leaf, pair, self._data) for leaf, pair in box.items()}
        leaves = {leaf: interval(x) for leaf, x in self._data.items()} | self.box
        self._intervals, self._partials = _forward(self._nodes, leaves, enclose)

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
        self._refute(found)
        return found

    def _refute(self, gates: dict[Value, Gate]) -> None:
        """Look for witnesses at points of the box, then up and down the slope of each input."""
        for point in _samples(self.box):
            if "unknown" in {gate.verdict for gate in gates.values()}:
                self._look(point, gates, self._nodes)
        left = PASSES * len(self._nodes)
        for node in [node for node, gate in gates.items() if gate.verdict == "unknown"]:
            if left <= 0:
                break  # of many gates, the first are looked at: the time is that of so many passes
            [z], history = node.inputs, _history(node)
            left -= 8 * len(history)
            for up in (True, False):
                point = next(_samples(self.box))
                for _ in range(4):
                    if gates[node].verdict == "unknown":
                        partials = self._look(point, gates, history)
                        slopes = dict(sweep(z, 1.0, partial(_taken, partials)))
                        point = {
                            leaf: _finite(x)[(slopes.get(leaf, 0.0) > 0) == up]
                            for leaf, x in self.box.items()
                        }

    def _look(self, point: Point, gates: dict[Value, Gate], nodes: list[Value]) -> Partials:
        """The partials at a point of the box, which refutes each gate that has a slope there."""
        values, partials = _forward(nodes, self._data | point, run_on_floats)
        for node, gate in gates.items():
            if gate.verdict == "unknown" and node in partials:
                [z], [slope] = node.inputs, partials[node]
                if slope != 0 and values[z] == values[z]:  # no nan
                    gates[node] = Gate("refuted", gate.z, point)
        return partials


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


def _samples(box: Mapping[Value, Interval]) -> Iterator[Point]:
    """The centre of a box, its corners (or 32 of them), and 32 points inside; always the same."""
    dice = random.Random(0)
    sides = {leaf: _finite(x) for leaf, x in box.items()}
    draws = [[dice.random() for _ in sides] for _ in range(32)]
    corners: Iterable[Any] = itertools.product((0.0, 1.0), repeat=len(sides))
    if len(sides) > 5:
        corners = [[float(t < 0.5) for t in ts] for ts in draws]
    for ts in ([0.5] * len(sides), *corners, *draws):
        inside = [lo * (1 - t) + hi * t for (lo, hi), t in zip(sides.values(), ts)]
        yield {leaf: min(max(x, lo), hi) for (leaf, (lo, hi)), x in zip(sides.items(), inside)}


def _finite(x: Interval) -> tuple[float, float]:
    """The ends of an interval; instead of an infinite one, a thousand beyond 0 or the other."""
    if x.lo == x.hi:
        return x.lo, x.hi
    lo = min(x.hi, 0.0) - 1000.0 if isinf(x.lo) else x.lo
    return lo, max(lo, 0.0) + 1000.0 if isinf(x.hi) else x.hi
