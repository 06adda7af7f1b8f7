"""The ledger: the mean decades of the gradient at each layer, split by what made them.

A mean of logarithms adds up, where a mean of sizes does not: each line of the ledger is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from microgradx.diagnosis.survey import Survey
from microgradx.diagnosis.table import Table
from microgradx.diagnosis.tallies import Book
from microgradx.explain.factors import SHOWN

Part = tuple[str, str]  # a kind and a layer

OPPOSITION, LOSS = ("opposition", ""), ("loss", "")


class Line(NamedTuple):
    """One layer's line.

    layer:      its name
    parameters: how many are its own
    nodes:      how many it has, times rows; of these
    reached:    the share where R is not 0
    moved:      the share where g is not 0
    norm, decades: the mean decades of R and of g; the line is of those where g is not 0
    median:     of the decades of g
    parts:      by kind and layer; with the opposition they add up to `decades`
    """

    layer: str
    parameters: int
    nodes: int
    reached: float
    moved: float
    norm: float
    decades: float
    median: float
    parts: dict[Part, float]


class Price(NamedTuple):
    """What a part of the budget costs.

    worst: decades at the layer where it costs most, below 0 where it makes gradients small
    where: that layer
    cost:  decades times the share of the parameters that pay them, added up over the layers
    lines: by layer, the decades
    """

    worst: float
    where: str
    cost: float
    lines: dict[str, float]


class Ledger:
    """The lines by layer, in the order of the computation."""

    def __init__(self, survey: Survey) -> None:
        self.owners: dict[str, int] = {}
        for name, places in survey.tensors.items():
            path = name.rpartition(".")[0]
            self.owners[path] = self.owners.get(path, 0) + len(places)
        self.total = len(survey.replay.parameters)
        self.lines = {
            path: _line(path, book, self.owners.get(path, 0)) for path, book in survey.books.items()
        }

    def price(self, *parts: Part) -> Price:
        """Of some parts of the budget together."""
        lines = {}
        for path, line in self.lines.items():
            if any(part in line.parts for part in parts):
                lines[path] = sum(line.parts.get(part, 0.0) for part in parts)
        if not lines:
            return Price(0.0, "", 0.0, {})
        where = max(lines, key=lambda path: abs(lines[path]))
        shares = {path: self.owners.get(path, 0) / max(self.total, 1) for path in lines}
        cost = sum(abs(x) * shares[path] for path, x in lines.items())
        return Price(lines[where], where, cost, lines)

    def parts(self, kind: str) -> list[Part]:
        """The parts of a kind, of all layers."""
        found = {part: None for line in self.lines.values() for part in line.parts}
        return [part for part in found if part[0] == kind]

    def short(self, line: Line) -> float:
        """How many decades the net itself adds to R, without the loss; below 0 where it takes."""
        return line.norm - line.parts.get(LOSS, 0.0)

    def table(self) -> Table:
        """The lines as columns."""
        keys = [*dict.fromkeys(part for line in self.shown() for part in line.parts)]
        lines = [*self.lines.values()]
        columns: dict[str, list[object]] = {
            "layer": [line.layer for line in lines],
            "parameters": [line.parameters for line in lines],
            "reached": [line.reached for line in lines],
            "moved": [line.moved for line in lines],
            "decades": [line.decades for line in lines],
            "median": [line.median for line in lines],
            "norm": [line.norm for line in lines],
        }
        for key in [k for k in keys if k != OPPOSITION] + [OPPOSITION] * (OPPOSITION in keys):
            columns[name_of_part(key)] = [line.parts.get(key, 0.0) for line in lines]
        return Table(columns)

    def shown(self) -> Iterator[Line]:
        """The lines from the last layer to the first, of layers that have parameters."""
        yield from [line for line in reversed(self.lines.values()) if line.parameters]


def name_of_part(part: Part) -> str:
    """`weights of 4`; `loss` of what belongs to no layer."""
    kind, layer = part
    return f"{SHOWN.get(kind, kind)} of {layer}" if layer else kind


def _line(path: str, book: Book, parameters: int) -> Line:
    norm, decades, nats = book.means
    parts = {key: x for key, x in nats.items() if abs(x) > 1e-13}
    if nats and decades != norm:
        parts[OPPOSITION] = decades - norm
    n = max(book.nodes, 1)
    return Line(
        path, parameters, book.nodes, book.reached / n, book.moved / n, norm, decades,
        book.median, parts,
    )  # fmt: skip
