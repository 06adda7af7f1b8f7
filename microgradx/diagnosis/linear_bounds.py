"""Bounds of every z of a net over a box of inputs, by intervals and by lines backwards.

Each activation lies between two lines on the interval of its z. Put in for it one block after the
other from a z back to the inputs, they leave a linear function of these, whose largest value over a
box is at a corner (CROWN: Zhang, Weng, Chen, Hsieh and Daniel 2018). Every sum is widened by more
than its rounding: a sum of n products is off by at most n · 2⁻⁵³ / (1 - n · 2⁻⁵³) times the sum of
their sizes (Higham 2002, section 3.1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from microgradx import rules
from microgradx.diagnosis.blocks import Block, Blocks, Rows
from microgradx.engine import Value
from microgradx.explain.bounds import enclose
from microgradx.explain.factors import read_by
from microgradx.explain.intervals import Interval
from microgradx.replay.batch import Array
from microgradx.replay.sums import ARRAYS

ULP = 2.0**-53
TINY = 1e-290
ROWS = 512  # that are followed backwards at once


class Lines(NamedTuple):
    """By unit, slopes and constants of a line below and one above."""

    low: Array
    low_c: Array
    up: Array
    up_c: Array


class Ends(NamedTuple):
    """The least and the largest, by row."""

    low: Array
    high: Array


class Bounded:
    """A net over a box.

    values: of every variable
    zs:     by block, of its rows
    targets: of the rows that were asked for
    corners: by row of these, the inputs where the line above, and that below, is at its end
    """

    def __init__(self, net: Blocks, low: Array, high: Array) -> None:
        self.net, self._n = net, len(net.inputs)
        self.values = Ends(np.zeros(net.size), np.zeros(net.size))
        self.values.low[: self._n], self.values.high[: self._n] = low, high
        self.zs: list[Ends] = []
        self._lines: list[Lines] = []
        self._sizes = np.zeros(net.size)
        self._sizes[: self._n] = np.maximum(np.abs(low), np.abs(high))
        for block in net.blocks:
            zs = self._bounded(block.rows, block.depth)[0]
            self.zs.append(zs)
            self._lines.append(self._enter(block, zs))
        self.targets, self.corners = self._bounded(net.targets, net.depth)

    # --- one block -------------------------------------------------------------------------------

    def _enter(self, block: Block, zs: Ends) -> Lines:
        """The lines of a block's variables, and from where to where these go."""
        lines = Lines(*np.zeros((4, len(block.nodes))))
        ends = np.zeros((2, len(block.nodes)))
        kinds: dict[Any, list[int]] = {}
        for k, node in enumerate(block.nodes):
            single = len(node.operands) == 1
            key = node.rule if single or node.rule is rules.leaky_relu else node
            kinds.setdefault(key, []).append(k)
        for key, of in kinds.items():
            places = np.array(of)
            rows = np.array([block.first[k] for k in of])
            z = Ends(zs.low[rows], zs.high[rows])
            if key in (rules.relu, rules.leaky_relu):
                slope = _slope_below(block.nodes[of[0]])
                found = _kinked(z, slope)
            elif key in (rules.sigmoid, rules.tanh):
                found = _s_shaped(key, z)
            else:
                found = self._by_intervals(block, of, zs)
            for whole, part in zip((*lines, *ends), found):
                whole[places] = part
        self.values.low[block.at], self.values.high[block.at] = ends
        self._sizes[block.at] = np.abs(ends).max(axis=0)
        return lines

    def _by_intervals(self, block: Block, of: Sequence[int], zs: Ends) -> Array:
        """Constants, by the op's own row on intervals."""
        ends = []
        for k in of:
            value = self._enclosed(block, k, zs)[0]
            lost = value.nan or value.lo != value.lo
            ends.append((-math.inf, math.inf) if lost else (value.lo, value.hi))
        low, high = np.array(ends).T
        zero = np.zeros(len(of))
        return np.array([zero, low, zero, high, low, high])

    def _enclosed(self, block: Block, k: int, zs: Ends) -> list[Any]:
        """Intervals of the value of an op, and of its partials."""
        node, first = block.nodes[k], block.first[k]
        place = {x: first + i for i, x in enumerate(read_by(node))}

        def interval(x: Any) -> Any:
            if not isinstance(x, Value):
                return x
            return Interval(float(zs.low[place[x]]), float(zs.high[place[x]]))

        assert node.rule is not None
        operands = [[*map(interval, x)] if isinstance(x, tuple) else interval(x)
                    for x in node.operands]  # fmt: skip
        return enclose(node.rule, operands)

    # --- backwards -------------------------------------------------------------------------------

    def _bounded(self, rows: Rows, depth: int) -> tuple[Ends, Ends]:
        """Of some rows the ends, the tighter of those by intervals and lines; and the corners."""
        W, b = rows.W, rows.b
        slack = self._slack(rows, depth)
        plain = self._plain(rows, slack)
        lows, highs, below, above = [], [], [], []
        for start in range(0, len(b), ROWS):
            part = slice(start, start + ROWS)
            high, top = self._above(W[part], b[part], slack[part])
            low, bottom = self._above(-W[part], -b[part], slack[part])
            highs.append(high)
            lows.append(-low)
            above.append(top)
            below.append(bottom)
        low, high = (np.concatenate(x) if x else np.zeros(0) for x in (lows, highs))
        corners = [np.concatenate(x) if x else np.zeros((0, self._n)) for x in (below, above)]
        low = np.where(np.isnan(low), plain.low, np.maximum(low, plain.low))
        high = np.where(np.isnan(high), plain.high, np.minimum(high, plain.high))
        return Ends(low, high), Ends(*corners)

    def _plain(self, rows: Rows, slack: Array) -> Ends:
        """By intervals: each variable at its worst by itself."""
        with np.errstate(all="ignore"):
            P, N, b = np.maximum(rows.W, 0.0), np.minimum(rows.W, 0.0), rows.b
            low = _dot(P, self.values.low) + _dot(N, self.values.high) + b - slack
            high = _dot(P, self.values.high) + _dot(N, self.values.low) + b + slack
        return Ends(np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high))

    def _slack(self, rows: Rows, depth: int) -> Array:
        """More than the rounding of rows at any point of the box."""
        with np.errstate(all="ignore"):
            whole = _dot(rows.sizes, self._sizes) + rows.size
            return _gamma(rows.W.shape[1], depth) * whole + TINY

    def _above(self, A: Array, c: Array, slack: Array) -> tuple[Array, Array]:
        """An upper bound of A x + c, and the inputs where its line is largest."""
        A, c = A.copy(), c.copy()
        with np.errstate(all="ignore"):
            known = [*zip(self.net.blocks, self._lines)]  # up to the one that is asked for
            for block, lines in reversed(known):
                own = A[:, block.at]
                if not own.any():
                    continue
                P, N = np.maximum(own, 0.0), np.minimum(own, 0.0)
                more = _dot(P, lines.up_c) + _dot(N, lines.low_c)
                sizes = _dot(P, np.abs(lines.up_c)) - _dot(N, np.abs(lines.low_c))
                slopes = P * lines.up + N * lines.low
                A[:, block.at] = 0.0
                rows = block.rows
                if len(block.first) < len(rows.b):  # others' lines are constants
                    rows = rows.part(block.first)
                more = more + slopes @ rows.b
                A += slopes @ rows.W
                whole = np.abs(slopes) @ (rows.sizes @ self._sizes + rows.size) + sizes + np.abs(c)
                c = c + more
                slack = slack + _gamma(len(block.at) + self.net.size, block.depth) * whole
            x = A[:, : self._n]
            low, high = self.values.low[: self._n], self.values.high[: self._n]
            top = np.where(x > 0, high, low)
            bound = (x * top).sum(axis=1) + c + slack
            slack = _gamma(self._n, 1) * ((np.abs(x) * np.abs(top)).sum(axis=1) + np.abs(c) + slack)
        return bound + slack, top

    # --- gradients -------------------------------------------------------------------------------

    def gradients(self) -> Array | None:
        """(targets, inputs): at least the size of ∂target/∂input anywhere in the box.

        None where an op of several operands lies between.
        """
        net = self.net
        mid, rad = net.targets.W.copy(), np.zeros_like(net.targets.W)
        rad += _gamma(net.size, net.depth) * net.targets.sizes
        with np.errstate(all="ignore"):
            for block, zs in zip(reversed(net.blocks), reversed(self.zs)):
                if any(len(read_by(node)) != 1 for node in block.nodes):
                    return None
                low, high = self._slopes(block, zs)
                m, r = (low + high) / 2.0, (high - low) / 2.0
                own, off = mid[:, block.at] * m, np.abs(mid[:, block.at]) * r
                off = off + rad[:, block.at] * (np.abs(m) + r)
                mid[:, block.at] = rad[:, block.at] = 0.0
                size = block.rows.sizes
                slack = _gamma(len(block.at), block.depth + 8) * (np.abs(own) @ size)
                mid = mid + own @ block.rows.W
                rad = (rad + off @ size + slack) * (1.0 + 64 * len(block.at) * ULP)
            found = (np.abs(mid) + rad)[:, : self._n] * (1.0 + 8 * ULP)
        found[np.isnan(found)] = np.inf
        return found

    def _slopes(self, block: Block, zs: Ends) -> tuple[Array, Array]:
        low, high = np.zeros((2, len(block.nodes)))
        for k, node in enumerate(block.nodes):
            lo, hi = float(zs.low[block.first[k]]), float(zs.high[block.first[k]])
            if node.rule in (rules.relu, rules.leaky_relu):
                a = _slope_below(node)
                low[k], high[k] = (1.0 if lo > 0 else min(a, 1.0)), (max(a, 1.0) if hi > 0 else a)
                continue
            partials = [x for x in self._enclosed(block, k, zs)[1:] if x is not None]
            if partials:  # a detach has none
                low[k], high[k] = partials[0].lo, partials[0].hi
        return low, high


def _dot(A: Array, x: Array) -> Array:
    """A x where 0 × inf is 0."""
    if np.isfinite(x).all():
        return A @ x
    found: Array = np.where(A != 0, A * np.where(A != 0, x, 0.0), 0.0).sum(axis=1)
    return found


def _gamma(n: int, depth: int) -> float:
    """More than the relative rounding of a sum of n products whose factors are rounded, too."""
    return 4.0 * (n + depth + 8) * ULP


def _slope_below(node: Value) -> float:
    return 0.0 if node.rule is rules.relu else float(node.operands[1])


def _kinked(z: Ends, a: float) -> Array:
    """x above 0, a x below: a convex bend for a below 1, which all ReLUs have."""
    low, high = z
    if not 0.0 <= a <= 1.0:
        zero = np.zeros(len(low))  # it turns back at 0, or is steeper below
        f = [*(np.where(x > 0, x, a * x) for x in z), np.where(low * high < 0, 0.0, low)]
        f[2] = np.where(f[2] == 0, 0.0, f[0])
        ends = np.array([np.min(f, axis=0), np.max(f, axis=0)])
        pad = 4 * ULP * np.abs(ends)
        return np.array([zero, ends[0] - pad[0], zero, ends[1] + pad[1],
                         ends[0] - pad[0], ends[1] + pad[1]])  # fmt: skip
    on, off = low >= 0, high <= 0
    bent = ~(on | off)
    with np.errstate(all="ignore"):
        wide = np.where(bent, high - low, 1.0)
        rise = high - (a * low if a else 0.0)
        chord = np.where(bent, rise / wide, np.where(on, 1.0, a))
        chord = np.where(np.isfinite(chord), chord, 1.0)
        over = np.maximum(high - chord * high, (a * low if a else 0.0) - chord * low)
        pad = 8 * ULP * (np.abs(high) + np.abs(low)) + TINY
        above = np.where(bent, over + pad, 0.0)
        above = np.where(np.isfinite(above), above, np.inf)
    below = np.where(on | (bent & (high > -low)), 1.0, a)
    values = [np.where(x > 0, x, a * x if a else 0.0) for x in z]
    pads = [4 * ULP * np.abs(x) if a not in (0.0, 1.0) else 0.0 for x in values]
    zero = np.zeros(len(low))
    return np.array([below, zero, chord, above, values[0] - pads[0], values[1] + pads[1]])


def _s_shaped(rule: Any, z: Ends) -> Array:
    """A sigmoid or a tanh: convex below 0, concave above, and steepest there."""
    low, high = z
    with np.errstate(all="ignore"):
        (fl, dl), (fh, dh) = (rule.function(ARRAYS, x) for x in z)
        least = np.minimum(dl, dh) * (1.0 - 16 * ULP)
        middle = np.where(np.isfinite(low + high), (low + high) / 2.0, 0.0)
        fm, dm = rule.function(ARRAYS, middle)
        chord = np.where(high > low, (fh - fl) / np.where(high > low, high - low, 1.0), least)
        concave, convex = low >= 0, high <= 0
        below = np.where(concave, chord, np.where(convex, dm, least))
        above = np.where(convex, chord, np.where(concave, dm, least))
        below, above = (np.where(np.isfinite(x), x, 0.0) for x in (below, above))
        size = 1.0 + (np.abs(below) + np.abs(above)) * np.maximum(
            np.abs(np.where(np.isfinite(low), low, 0.0)),
            np.abs(np.where(np.isfinite(high), high, 0.0)),
        )
        pad = 64 * ULP * size + TINY

        def against(slope: Array, worst: Any) -> Any:
            """The constant with which a line of this slope is beyond both ends."""
            return worst(*(f - np.where(slope != 0, slope * x, 0.0)
                           for f, x in ((fl, low), (fh, high))))  # fmt: skip

        tangent = fm - dm * middle
        low_c = np.where(convex, tangent, against(below, np.minimum)) - pad
        up_c = np.where(concave, tangent, against(above, np.maximum)) + pad
        low_c = np.where(np.isfinite(low_c), low_c, fl - pad)
        up_c = np.where(np.isfinite(up_c), up_c, fh + pad)
        unsure = ~np.isfinite(low + high)
        below, above = np.where(unsure, 0.0, below), np.where(unsure, 0.0, above)
        low_c, up_c = np.where(unsure, fl - pad, low_c), np.where(unsure, fh + pad, up_c)
    return np.array([below, low_c, above, up_c, fl - 8 * ULP, fh + 8 * ULP])
