"""Points of a box at which gates have a slope, sought at many points at once."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice, product
from math import isinf
from types import SimpleNamespace
from typing import Any, NamedTuple

from microgradx import rules
from microgradx._base.arguments import flat
from microgradx.engine import Value
from microgradx.explain.intervals import Interval
from microgradx.explain.rerun import each, run_on, run_on_floats
from microgradx.rules import Rule

LANES = 256  # points at once
NUMBERS = 4_000_000  # held at once, but for at least 8 points
GATES = 512  # of those that no sample shows open, so many are looked at further
STEPS = 4  # from the centre, corner by corner

Point = dict[Value, float]


class Step(NamedTuple):
    """How a node is computed.

    operands: an int is the row of another node, a float a number
    dot:      of a `dot` of numbers with different nodes, the numbers, the rows and the bias
    """

    node: Value
    rule: Rule
    operands: list[Any]
    dot: tuple[Any, Any, Any] | None


class Search:
    """Looks for points of a box at which gates have a slope.

    nodes: of the graph, each after all it read
    data:  of its leaves
    found: by gate, a point

    The values are in one array: a row by node that depends on the box, a column by point. They are
    the very numbers that floats give, so that a point found is a witness.
    """

    def __init__(
        self, nodes: Sequence[Value], data: Mapping[Value, float], box: Mapping[Value, Interval]
    ) -> None:
        self.found: dict[Value, Point] = {}
        self._box, self._steps = box, list[Step]()
        self._row = {leaf: k for k, leaf in enumerate(box)}
        self._numbers = {**data}
        for node in nodes:
            if node.rule is None:
                continue
            operands = each(self._read, node.operands)
            if int in map(type, node.rule.one_by_one(operands)):
                self._row[node] = len(self._row)
                self._steps.append(Step(node, node.rule, operands, _dot(node.rule, operands)))
            else:
                self._numbers[node] = run_on_floats(node.rule, operands)[0]
        self._most = min(LANES, max(8, NUMBERS // len(self._row)))

    def _read(self, x: Any) -> int | float:
        if not isinstance(x, Value):
            return float(x)
        return self._row[x] if x in self._row else self._numbers[x]

    def __call__(self, gates: Iterable[Value]) -> dict[Value, Point]:
        """At some samples first, and of each gate that is left at corners along its slope."""
        gates = [gate for gate in gates if gate in self._row]
        points = samples(self._box)
        while (left := self._left(gates)) and (some := [*islice(points, self._most)]):
            self._look(_numpy().array([[p[x] for p in some] for x in self._box]), left)
        left, half = self._left(gates)[:GATES], self._most // 2
        for start in range(0, len(left), half):
            self._climb(self._left(left[start : start + half]))
        return self.found

    def _left(self, gates: Iterable[Value]) -> list[Value]:
        return [gate for gate in gates if gate not in self.found]

    # --- at many points --------------------------------------------------------------------------

    def _run(self, points: Any, steps: Sequence[Step]) -> tuple[Any, list[Any]]:
        """The values of the first rows, at points that are columns, and the partials of steps.

        None for the partials of those that have a `dot`.
        """
        np, leaves = _numpy(), len(self._box)
        values = np.empty((leaves + len(steps), points.shape[1]))
        values[:leaves] = points
        partials: list[Any] = []
        with np.errstate(all="ignore"):
            for row, step in enumerate(steps, leaves):
                if step.dot:
                    numbers, rows, bias = step.dot
                    terms = np.empty((len(numbers) + 1, points.shape[1]))
                    terms[0] = values[bias] if type(bias) is int else bias
                    np.multiply(numbers, values[rows], terms[1:])
                    values[row] = np.add.accumulate(terms)[-1]  # left to right
                    partials.append(None)
                else:
                    now = each(lambda x: values[x] if type(x) is int else x, step.operands)
                    values[row], *slopes = _on_lanes(step.rule, now)
                    partials.append(slopes)
        return values, partials

    def _look(self, points: Any, gates: Sequence[Value]) -> list[Any]:
        """Note which gates have a slope at one of the points; the partials of all up to them."""
        np, leaves = _numpy(), len(self._box)
        last = max(self._row[gate] for gate in gates)
        values, partials = self._run(points, self._steps[: last + 1 - leaves])
        for gate in gates:
            [z] = gate.inputs
            slopes = partials[self._row[gate] - leaves]
            [slope] = [d for x, d in zip(gate.operands, slopes) if x is z]
            seen = np.flatnonzero((slope != 0) & ~np.isnan(values[self._row[z]]))
            if seen.size:
                self.found[gate] = dict(zip(self._box, points[:, seen[0]].tolist()))
        return partials

    def _climb(self, gates: Sequence[Value]) -> None:
        """From the centre to the corner where the slope of z points to, and on from there.

        Each gate has two lanes: one goes up, and one, in the other half, down.
        """
        np = _numpy()
        low, high = np.array([_finite(x) for x in self._box.values()]).T[:, :, None]
        points = np.array([*next(samples(self._box)).values()])[:, None]
        points = points.repeat(2 * len(gates), axis=1)
        for _ in range(STEPS):
            partials = self._look(points, gates)
            kept = np.tile([gate not in self.found for gate in gates], 2)
            if not kept.any():
                return
            rising = self._slopes(partials, gates)[:, kept] > 0
            gates = self._left(gates)
            up = np.arange(2 * len(gates)) < len(gates)
            points = np.where(rising == up, high, low)

    def _slopes(self, partials: Sequence[Any], gates: Sequence[Value]) -> Any:
        """∂z/∂leaf of the input z of each gate, in its two lanes."""
        np = _numpy()
        n, leaves = len(gates), len(self._box)
        adjoints = np.zeros((leaves + len(partials), 2 * n))
        for k, gate in enumerate(gates):
            adjoints[self._row[gate.inputs[0]], [k, n + k]] = 1.0
        with np.errstate(all="ignore"):
            for k in reversed(range(len(partials))):
                step, adjoint = self._steps[k], adjoints[leaves + k]
                reached = adjoint != 0
                if not reached.any():
                    continue
                if step.dot:
                    numbers, rows, bias = step.dot
                    adjoints[rows] += numbers * adjoint
                    if type(bias) is int:
                        adjoints[bias] += adjoint
                    continue
                for x, d in zip(step.rule.one_by_one(step.operands), partials[k]):
                    if type(x) is int and d is not None:
                        adjoints[x] += np.where(reached & (d != 0), d * adjoint, 0.0)
        return adjoints[:leaves]


def _dot(rule: Rule, operands: list[Any]) -> tuple[Any, Any, Any] | None:
    """Numbers in a column, the rows they are multiplied with, and the bias, if a step is such."""
    if rule is not rules.dot:
        return None
    weights, xs, bias = operands
    np = _numpy()
    for numbers, rows in ((weights, xs), (xs, weights)):
        if {*map(type, numbers)} == {float} and {*map(type, rows)} == {int}:
            every = [*rows, bias] if type(bias) is int else rows
            if len({*every}) == len(every):
                return np.array(numbers)[:, None], np.array(rows), bias
    return None


def _numpy() -> Any:
    """NumPy, from the first search on: the rest of the room does without."""
    import numpy

    return numpy


@cache
def _same() -> SimpleNamespace:
    """What NumPy computes to the last bit as floats do."""
    names = ("where", "abs", "sign", "maximum", "minimum", "divide", "sqrt")
    return SimpleNamespace(**{name: getattr(_numpy(), name) for name in names})


def _on_lanes(rule: Rule, operands: list[Any]) -> list[Any]:
    """An op's value and its partials, one by one, where some operands are arrays of points.

    In arrays where these hold what floats give, else point by point.
    """
    try:
        return run_on(_same(), rule, operands)
    except (AttributeError, TypeError, ValueError):
        np = _numpy()
        columns = np.broadcast_arrays(*flat(operands))
        found = []
        for point in zip(*(x.tolist() for x in columns)):
            members = iter(point)
            found.append(run_on_floats(rule, each(lambda _: next(members), operands)))  # noqa: B023
        return [None if xs[0] is None else np.array(xs) for xs in zip(*found)]


def samples(box: Mapping[Value, Interval]) -> Iterator[Point]:
    """The centre of a box, its corners (or 32 of them), and 32 points inside; always the same."""
    dice = random.Random(0)
    sides = {leaf: _finite(x) for leaf, x in box.items()}
    draws = [[dice.random() for _ in sides] for _ in range(32)]
    corners: Iterable[Any] = product((0.0, 1.0), repeat=len(sides))
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
