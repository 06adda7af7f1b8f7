"""Path sums added up over the rows of a batch, parameter by parameter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from microgradx.explain.factors import KINDS
from microgradx.explain.paths import LN10
from microgradx.replay.edges import split
from microgradx.replay.flows import Flows, by_kind
from microgradx.replay.views import Ids
from microgradx.replay.wide import Wide, added, root, scaled, wide


@dataclass
class Totals:
    """Sums over rows, by parameter; those of several batches are added up by `+`.

    rows:    how many rows
    reached: by parameter, in how many of them R is finite and not 0
    moved:   in how many of these g is not 0
    norms:   Σ log₁₀ R over those where it is reached
    decades: Σ log₁₀|g| over those where it is moved
    squares: Σ g² over those where it is moved, as mantissa and exponent
    budget:  by kind, Σ of its decades over those where it is reached
    """

    rows: int
    reached: Any
    moved: Any
    norms: Any
    decades: Any
    squares: Wide
    budget: dict[str, Any]

    def taken(self, order: Ids) -> Totals:
        """Those of some parameters, in this order."""
        budget = {kind: x[order] for kind, x in self.budget.items()}
        return Totals(
            self.rows, self.reached[order], self.moved[order], self.norms[order],
            self.decades[order], self.squares.at(order), budget,
        )  # fmt: skip

    @property
    def rms(self) -> Any:
        """The root mean square of g over all rows, as floats."""
        return root(self.squares).floats / np.sqrt(self.rows)

    def put(self, places: Ids, others: Totals) -> None:
        """Take over those of some parameters."""
        for name in ("reached", "moved", "norms", "decades"):
            getattr(self, name)[places] = getattr(others, name)
        self.squares.mantissa[places] = others.squares.mantissa
        self.squares.exponent[places] = others.squares.exponent
        for kind, x in others.budget.items():
            self.budget.setdefault(kind, np.zeros(len(self.norms)))[places] = x

    def __add__(self, other: Totals) -> Totals:
        kinds = [kind for kind in KINDS if kind in self.budget or kind in other.budget]
        return Totals(
            self.rows + other.rows, self.reached + other.reached, self.moved + other.moved,
            self.norms + other.norms, self.decades + other.decades,
            added(self.squares, other.squares),
            {kind: self.budget.get(kind, 0.0) + other.budget.get(kind, 0.0) for kind in kinds},
        )  # fmt: skip


def nothing(size: int, rows: int) -> Totals:
    """Those of `size` parameters from which nothing leads to the loss."""
    a, b, c, d, e = np.zeros((5, size))
    return Totals(rows, a, b, c, d, wide(e), {})


def over_rows(flows: Flows) -> Totals:
    """The sums of flows over their rows."""
    g2, up = _squares(flows.g.mantissa, flows.g.exponent, moved(flows))
    found = {kind: x.sum(axis=1) for kind, x in _measures(flows).items()}
    return _as_totals(flows, found, wide(g2.sum(axis=1), 2 * up[:, 0]))


def outer(flows: Flows, x: Any, kind: int) -> Totals:
    """The sums of what edges of this kind bring to the weights of a product: flows times inputs.

    x: the inputs, a row each; the result is (flows, inputs). No number of a single row is made
    """
    live = np.isfinite(x) & (x != 0)
    measures = _measures(flows)
    ln = np.log10(np.abs(np.where(live, x, 1.0)))
    sums = np.split(np.concatenate([*measures.values()]).dot(live.T * 1.0), len(measures))
    found = dict(zip(measures, sums))
    more = measures["reached"].dot(ln.T)
    found["norms"], found["decades"] = (
        found["norms"] + more, found["decades"] + measures["moved"].dot(ln.T),
    )  # fmt: skip
    name = split(kind)[0]
    found[name] = found.get(name, 0.0) + more
    g2, up = _squares(flows.g.mantissa, flows.g.exponent, moved(flows))
    x2, x_up = _squares(x, np.zeros_like(x, np.int64), live)
    return _as_totals(flows, found, wide(g2.dot(x2.T), 2 * (up + x_up.T)))


def _reached(flows: Flows) -> Any:
    m = flows.squares.mantissa
    return np.isfinite(m) & (m != 0)


def met(flows: Flows, x: Any) -> Any:
    """(flows, inputs): whether a flow that is not 0 meets an input that is not 0 in some row."""
    live = np.isfinite(x) & (x != 0)
    found: Any = (moved(flows) * 1.0).dot(live.T * 1.0) > 0
    return found


def moved(flows: Flows) -> Any:
    """Where g is not 0, and finite."""
    m = flows.g.mantissa
    return _reached(flows) & np.isfinite(m) & (m != 0)


def _measures(flows: Flows) -> dict[str, Any]:
    """By name of a total, or kind, what each row adds to it."""
    reached, moves = _reached(flows), moved(flows)
    found = by_kind(flows.parts).items()
    parts = {kind: np.where(reached, x, 0.0) / LN10 for kind, x in found}
    return {
        "reached": reached * 1.0, "moved": moves * 1.0,
        "norms": np.where(reached, 0.5 * flows.squares.decades, 0.0),
        "decades": np.where(moves, flows.g.decades, 0.0),
    } | parts  # fmt: skip


def _squares(m: Any, exponent: Any, counted: Any) -> tuple[Any, Any]:
    """The squares of m · 2^exponent times a power of two for each row, and half its exponent."""
    x = wide(np.where(counted, m, 0.0), exponent)
    up = x.exponent.max(axis=1, keepdims=True)
    return scaled(x.mantissa, x.exponent - up) ** 2, up


def _as_totals(flows: Flows, found: dict[str, Any], squares: Wide) -> Totals:
    reached, moved, norms, decades = map(found.pop, ("reached", "moved", "norms", "decades"))
    return Totals(flows.entropy.shape[1], reached, moved, norms, decades, squares, found)
