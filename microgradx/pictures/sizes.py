"""How large the cells of a net are drawn, and which of its layers share a row."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NamedTuple

from microgradx.explain.layers import Survey, saturated
from microgradx.explain.samples import Layer, Net
from microgradx.pictures.answer import is_gate


class Size(NamedTuple):
    """How large cells are drawn, in points, and how many stand in a line."""

    width: int
    height: int
    line: int
    pitch: int  # from one row to the next, at least; 0 where a layer takes several lines

    @property
    def is_thin(self) -> bool:
        """Whether a row has room for one line of text only."""
        return self.height < 20


EQUATION = Size(196, 44, 3, 80)  # the numbers of the only sample
NAMED = Size(44, 46, 16, 64)  # the name, and the share of samples that it is off on
MARKED = Size(19, 30, 43, 48)  # ×, S, 0
WRAPPED = Size(21, 21, 16, 0)  # the same, in several lines
WIDE = Size(21, 21, 36, 0)
THIN = Size(19, 14, 43, 26)  # the same, in one low line
NARROW = Size(12, 14, 64, 26)
COUNTED = Size(12, 14, 63, 26)  # no cells: a bar, with how many have which mark
ROOM = 750  # points of all rows
THIN_ROOM = 810  # points of thin ones, with which a picture may shrink a little


def size_for(net: Net) -> Size:
    """The largest cells that there is room for."""
    widths = [len(layer.neurons) for layer in net.layers]
    for size in (EQUATION, NAMED, MARKED, WRAPPED, WIDE):
        fits = not size.pitch or max(widths) <= size.line
        fits = fits and sum(_height(size, layer) for layer in net.layers) <= ROOM
        if fits and (size is not EQUATION or net.samples == 1):
            return size
    return next((size for size in (THIN, NARROW) if max(widths) <= size.line), COUNTED)


def _height(size: Size, layer: Layer) -> int:
    """How many points a layer's row takes, with the gap below it: of its cells, or of its name."""
    neurons = list(layer.neurons.values())
    cells = size.pitch or 18 + (size.height + 2) * math.ceil(len(neurons) / size.line)
    texts = 1 if size in (EQUATION, MARKED) else 3 if is_gate(neurons[0]) else 2
    return max(cells, 18 + 20 * texts)


def rows_of(survey: Survey, size: Size, kept: Collection[Layer]) -> list[list[Layer]]:
    """The layers that share a row: one; where that is too many, layers without a mark.

    The first, the last and those that are to be `kept` have their own; so have those in which
    neurons stop the gradient or are saturated, or where these are too many, the worst of them.
    """
    layers = survey.net.layers
    most = (THIN_ROOM if size.is_thin else ROOM) // size.pitch if size.pitch else len(layers)
    if len(layers) <= most:
        return [[layer] for layer in layers]
    alone = {layers[0], layers[-1], *kept}
    marks = {layer: _marks(survey, layer) for layer in layers}
    worst = sorted((x for x in layers if marks[x] and x not in alone), key=lambda x: -marks[x])
    steady = {p.layer for p in survey.passages if 0.5 <= p.factor <= 2 or not p.above}
    steady -= {*alone, *worst}
    rows = _runs(layers, steady, len(layers))
    n = len(worst)
    while len(rows) > most:
        quiet = {*layers} - alone - {*worst[:n]}
        free = most - 2 * (len(layers) - len(quiet)) - 1
        rows = _runs(layers, quiet, math.ceil(len(quiet) / max(free, 1)))
        if not n:
            break
        n //= 2
    return rows


def _marks(survey: Survey, layer: Layer) -> int:
    neurons = layer.neurons.values()
    return sum(survey.stops_all(neuron) or saturated(neuron) for neuron in neurons)


def _runs(layers: list[Layer], quiet: set[Layer], most: int) -> list[list[Layer]]:
    """The layers by rows, in their order: of neighbours that are quiet, at most so many in one."""
    rows: list[list[Layer]] = []
    for layer in layers:
        if rows and layer in quiet and rows[-1][-1] in quiet and len(rows[-1]) < most:
            rows[-1].append(layer)
        else:
            rows.append([layer])
    return rows
