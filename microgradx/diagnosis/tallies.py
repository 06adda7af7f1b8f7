"""What is added up on the walk over all rows: of a layer's nodes, and of the units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from microgradx.engine import Value
from microgradx.replay.batch import Array
from microgradx.replay.flows import Flows
from microgradx.replay.sums import Nodes
from microgradx.replay.units import Key, flat_below

BIN = 0.01  # decades: how exactly medians are known
SPAN = 400.0  # decades up and down of which medians are told apart


@dataclass
class Book:
    """What is added up of one layer, over its nodes in every row.

    nodes:   how many there are, times rows
    reached, moved: of these, where R is finite and not 0, and where g is not 0 either
    norm, decades: Σ log₁₀ R and Σ log₁₀|g|, over the moved; over the reached if none moves
    parts:   the like of every part of the budget, by kind and layer
    counts:  a histogram of log₁₀|g|
    """

    nodes: int = 0
    reached: int = 0
    moved: int = 0
    norm: float = 0.0
    decades: float = 0.0
    parts: dict[tuple[str, str], float] = field(default_factory=dict)
    counts: Any = field(default_factory=lambda: np.zeros(round(2 * SPAN / BIN), np.int64))
    still: tuple[float, dict[tuple[str, str], float]] = (0.0, {})

    def add(self, flows: Flows, layers: Sequence[str]) -> None:
        m, g = flows.squares.mantissa, flows.g.mantissa
        reached = np.isfinite(m) & (m != 0)
        moved = reached & np.isfinite(g) & (g != 0)
        self.nodes += m.size
        self.reached += int(np.count_nonzero(reached))
        self.moved += int(np.count_nonzero(moved))
        ledger = {(kind, layers[k]): x for (kind, k), x in flows.ledger.items()}
        norm = 0.5 * flows.squares.decades
        if (rest := reached & ~moved).any():
            total, parts = self.still
            self.still = total + float(norm[rest].sum()), _more(parts, ledger, rest)
        decades = flows.g.decades[moved]
        self.norm += float(norm[moved].sum())
        self.decades += float(decades.sum())
        self.parts = _more(self.parts, ledger, moved)
        bins = ((decades + SPAN) / BIN).clip(0, len(self.counts) - 1).astype(np.int64)
        self.counts += np.bincount(bins, minlength=len(self.counts))

    @property
    def means(self) -> tuple[float, float, dict[tuple[str, str], float]]:
        """The mean decades of R and of g, and of the parts of R's."""
        n, norm, parts = self.moved, self.norm, self.parts
        if not n:
            n, (norm, parts) = self.reached, self.still
        if not n:
            return -np.inf, -np.inf, {}
        decades = self.decades / n if self.moved else -np.inf
        return norm / n, decades, {key: x / n for key, x in parts.items()}

    @property
    def median(self) -> float:
        """Of log₁₀|g| where it is not 0."""
        if not self.moved:
            return -np.inf
        k = int(np.searchsorted(self.counts.cumsum(), 0.5 * self.moved))
        return (k + 0.5) * BIN - SPAN


def _more(parts: dict[Any, float], ledger: dict[Any, Array], where: Array) -> dict[Any, float]:
    return parts | {key: parts.get(key, 0.0) + float(x[where].sum()) for key, x in ledger.items()}


class Units:
    """The activations of the net, those of one unit at all its positions together.

    keys:  by unit its layer and its number there, `ops` its activation
    nodes: by unit the recorded Values, one a position

    Over all rows and positions, each an array by unit:
    seen:      how often
    off:       how often its slope was 0, saturated: how often below 1 % of its largest
    least, most: of z;  low, high: of its output
    total, squares: Σ y and Σ (y - shift)², shift being the first y
    passed:    how often a gradient came to it
    """

    def __init__(self, keys: list[Key], ops: list[str], nodes: list[list[Value]]) -> None:
        self.keys, self.ops, self.nodes = keys, ops, nodes
        n = len(keys)
        self.seen, self.off, self.saturated, self.passed = np.zeros((4, n))
        self.least, self.low = np.full((2, n), np.inf)
        self.most, self.high = np.full((2, n), -np.inf)
        self.total, self.squares, self.shift = np.zeros((3, n))

    @property
    def mean(self) -> Any:
        return self.shift + self.total / np.maximum(self.seen, 1)

    @property
    def spread(self) -> Any:
        n = np.maximum(self.seen, 1)
        with np.errstate(all="ignore"):
            return np.sqrt(np.maximum(self.squares / n - (self.total / n) ** 2, 0.0))

    def add(self, nodes: Nodes, places: Array, unit: Array, n: int) -> None:
        """Add what units do in a batch of n rows: those at some places of an array."""
        slopes = np.abs(np.broadcast_to(nodes.slopes, (len(nodes.nodes), n))[places])
        y = np.broadcast_to(nodes.values, (len(nodes.nodes), n))[places]
        zs = [nodes.nodes[k].inputs[0] for k in places.tolist()]
        z = np.broadcast_to(nodes.sums.values_of(zs), (len(zs), n))
        flows = nodes.flows
        least = np.array([[flat_below(nodes.nodes[k])] for k in places.tolist()])
        fresh = self.seen[unit] == 0
        self.shift[unit[fresh]] = y[fresh, 0]
        off = y - self.shift[unit][:, None]
        for whole, part in (
            (self.seen, np.full(len(unit), n)), (self.off, (slopes == 0).sum(axis=1)),
            (self.saturated, (slopes < least).sum(axis=1)),
            (self.passed, (flows.squares.mantissa[places] != 0).sum(axis=1)),
            (self.total, off.sum(axis=1)), (self.squares, (off * off).sum(axis=1)),
        ):  # fmt: skip
            np.add.at(whole, unit, part)
        np.minimum.at(self.least, unit, z.min(axis=1))
        np.maximum.at(self.most, unit, z.max(axis=1))
        np.minimum.at(self.low, unit, y.min(axis=1))
        np.maximum.at(self.high, unit, y.max(axis=1))
