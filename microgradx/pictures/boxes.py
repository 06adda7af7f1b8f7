"""A net in boxes: one for each neuron, its samples as rows, its parameters as cells.

The gradient comes from the right. In each row the right cell holds what arrives, the middle one
the slope, and the left one z, in the colour of what is left: where the slope is 0, a bar as high as
the share of samples that it stops.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from microgradx._base.text import count, short
from microgradx.engine import Value
from microgradx.explain.layers import Survey, saturated
from microgradx.explain.samples import Input, Layer, Neuron
from microgradx.pictures.answer import is_gate, linear_op
from microgradx.pictures.arrows import line_looks, neuron_with
from microgradx.pictures.ending import ending
from microgradx.pictures.markup import (
    LEFT,
    RIGHT,
    cell,
    filled,
    lines,
    row,
    table,
    width_of,
    words,
)  # fmt: skip
from microgradx.pictures.rows import GROUPED, HEIGHT, ROWS, Line, lines_of, span
from microgradx.pictures.sheet import Shares
from microgradx.pictures.style import (
    GREY,
    INK,
    LINE,
    ON_STOP,
    ORANGES,
    PALE,
    PAPER,
    STOP,
    Look,
    Scale,
    slope_fill,
)  # fmt: skip

CELLS = 6  # parameters that are cells with their numbers
TICKS = 40  # parameters that are cells without
PARAMETER = 22  # points of a row of the neuron that is asked about
WIDTHS = {"n": 26, "z": 62, "slope": 62, "grad": 62}  # points of the columns
GROUP_WIDTHS = {"n": 26, "z": 88, "slope": 70, "grad": 58}


class Boxes:
    """The picture of a net in boxes."""

    has_shares = True  # its lines are as wide as their shares
    attributes = 'rankdir="LR" nodesep="0.16" ranksep="0.85" splines="line"'

    def __init__(self, survey: Survey, shares: Shares | None = None) -> None:
        self.survey = survey
        self.shares = shares
        self.net = survey.net
        self.opened = neuron_with(self.net, shares.explanation.node) if shares else None
        grads = [turn.y.grad for neuron in self.net.neurons for turn in neuron.turns.values()]
        parameters = [p for neuron in self.net.neurons for p in neuron.parameters]
        self.scale = Scale([*grads, *[p.grad for p in parameters]])
        self.starved = survey.starved(parameters)
        self.grouped = self.net.samples > ROWS
        self.names: dict[Any, str] = {given: f"x{i}" for i, given in enumerate(self.net.inputs)}
        for i, layer in enumerate(self.net.layers):
            self.names.update({n: f"L{i}N{j}" for j, n in enumerate(layer.neurons.values())})

    def fits(self, width: float, height: float) -> bool:
        """Whether there is room for the boxes, by what they hold."""
        rows = min(self.net.samples, ROWS)
        box = 74 + (GROUPED if self.grouped else HEIGHT * rows)
        opened = len(self.opened.parameters) * PARAMETER if self.opened else 0
        given = 34 + HEIGHT * (2 if self.grouped else rows)
        columns: dict[int, list[Layer]] = {}
        depth: dict[Layer, int] = {}
        for layer in self.net.layers:  # what they read comes before them
            depth[layer] = max(
                [depth[below] + 1 for below in layer.reads if below in depth], default=0
            )
            columns.setdefault(depth[layer], []).append(layer)
        tallest = max(sum(len(x.neurons) for x in column) * box for column in columns.values())
        neurons = [[n for x in column for n in x.neurons.values()] for column in columns.values()]
        across = [max(map(self._width, column)) + 76 for column in neurons]
        high = 50 + opened + max(tallest, len(self.net.inputs) * given)
        return high <= height and sum(across) + 320 <= width

    def body(self) -> Iterator[str]:
        """The statements of the graph."""
        inputs = {self.names[given]: self._input(given) for given in self.net.inputs}
        yield from _column("TX", ["inputs"], inputs)
        for i, layer in enumerate(self.net.layers):
            width = max(map(self._width, layer.neurons.values()))
            boxes = {self.names[n]: self._neuron(n, width) for n in layer.neurons.values()}
            yield from _column(f"T{i}", [layer.name or "layer", self._tally(layer)], boxes)
        end = ending(self.net, self.scale)
        if end:
            yield f"loss [label=<{end}>]"
            for neuron in self.net.outputs:
                yield f'{self.names[neuron]}:e -> loss:w [penwidth="1.4"]'
        for (source, neuron), look in line_looks(self.net, self.shares).items():
            yield f"{self.names[source]}:e -> {self.names[neuron]}:w [{look}]"

    def looks(self) -> list[Look]:
        """The marks in the picture, for its legend."""
        slopes = [turn.slope for n in self.net.neurons for turn in n.turns.values() if n.activation]
        shades = {slope_fill(slope) for slope in slopes if slope}
        looks = [
            Look(fill, f"slope < {short(below)}") for below, fill in ORANGES if fill in shades
        ][::-1]
        looks += [Look(STOP, "STOP: off, a slope of 0", ON_STOP)] if self.survey.off else []
        looks += [Look(PALE, "starved", GREY)] if self.starved else []
        rows = "n: how many samples have such a slope" if self.grouped else "a row is a sample"
        facts = [rows] if self.net.samples > 1 else []
        facts += [] if self.shares else ["line width: gradient carried"]
        return [*looks, Look("", " · ".join(facts), GREY)]

    # --- a box ----------------------------------------------------------------------------------

    def _input(self, given: Input) -> str:
        """An input's name and its numbers, a row a sample."""
        numbers = [x.data if isinstance(x, Value) else x for x in given.numbers.values()]
        by_sample = dict(zip(given.numbers, map(short, numbers)))
        texts = [by_sample.get(k, "–") for k in range(self.net.samples)]
        if self.grouped:
            texts = [span(numbers), count(len(numbers), "sample")]
        rows = [row(cell(words(given.name, 13, strong=True), cellpadding=2))]
        wide = 90 if self.grouped else 44
        rows += [row(cell(words(text), width=wide, height=HEIGHT)) for text in texts]
        return table(rows, border=1, color=LINE, bgcolor=PAPER)

    def _neuron(self, neuron: Neuron, width: int) -> str:
        """A neuron's box: its name and what ails it, its rows, its parameters."""
        opened = neuron is self.opened
        columns = self._columns(neuron, width - self._names_width(neuron))
        state, ink = self._state(neuron)
        name = words(f" [{neuron.index}] ", 12, strong=True)
        name += words(f" {neuron.activation or linear_op(neuron)}", 12)
        title = row(
            cell(name, height=20, **LEFT), cell(words(f"{state} ", 12, ink, strong=True), **RIGHT)
        )
        heads = ["|grad|" if self.grouped and head == "grad" else head for head in columns]
        rows = [
            row(*[cell(words(h, 10, GREY), width=w) for h, w in zip(heads, columns.values())]),
            *self._rows(neuron, columns),
        ]
        if opened:
            rows = [row(cell(self._open(neuron)), cell(table(rows)))]
        rows.insert(0, row(cell(table([title]), colspan=len(columns))))
        if not opened:
            rows.append(row(cell(self._parameters(neuron), colspan=len(columns))))
        border, frame = (3, STOP) if self.survey.stops_all(neuron) else (1, LINE)
        return table(rows, border=border, color=frame, bgcolor=PAPER)

    def _columns(self, neuron: Neuron, width: float = 0) -> dict[str, int]:
        """The columns of a box and their widths, which add up to `width` at least."""
        columns = dict(GROUP_WIDTHS if self.grouped else WIDTHS)
        if not self.grouped:
            del columns["n"]
        if not neuron.activation:
            del columns["slope"]
        spare = max(0, math.ceil((width - sum(columns.values())) / len(columns)))
        return {name: room + spare for name, room in columns.items()}

    def _width(self, neuron: Neuron) -> int:
        """How many points a neuron's box needs."""
        state, _ = self._state(neuron)
        title = f"   [{neuron.index}] {neuron.activation or linear_op(neuron)}  {state} "
        numbers = [width_of(short(p.data), 10) + 6 for p in neuron.parameters]
        cells = sum(numbers) if len(numbers) <= CELLS else 9 * min(len(numbers), TICKS) + 20
        rows = sum(self._columns(neuron).values())
        needed = max(width_of(title, 12, strong=True), 30 + cells, rows)
        return math.ceil(needed + self._names_width(neuron))

    def _names_width(self, neuron: Neuron) -> float:
        """How many points the rows of the parameters take, in the box that is open."""
        if neuron is not self.opened:
            return 0.0
        names = [width_of(self._short_name(p, neuron), 11, True) for p in neuron.parameters]
        return max([62, *names]) + 62 * (3 if self.net.samples == 1 else 2) + 6

    def _short_name(self, parameter: Value, neuron: Neuron) -> str:
        return parameter.label.removeprefix(f"{neuron.layer.name}.")

    def _rows(self, neuron: Neuron, columns: dict[str, int]) -> Iterator[str]:
        """A row for each line; those that follow each other and stop the gradient have one bar."""
        found = lines_of(neuron, self.survey)
        if neuron is self.opened:
            least = len(neuron.parameters) * PARAMETER // len(found)
            found = [line._replace(height=max(line.height, least)) for line in found]
        for stops, group in groupby(found, key=lambda line: line.stops):
            together = list(group)
            for i, line in enumerate(together):
                cells = {"n": cell(words(str(line.n), 10, GREY), height=line.height)}
                fill = self.scale.fill(line.left)
                ink = GREY if fill == PALE else INK
                room = {"width": columns["z"], "height": line.height}
                cells["z"] = filled(words(line.z, 11, ink), fill, **room)
                if stops:
                    cells["slope"] = _bar(together, len(neuron.turns)) if i == 0 else ""
                else:
                    strong = 0 < abs(line.slope) < ORANGES[1][0]
                    slope = words(f"×{short(line.slope)}", 11, strong=strong)
                    fill = slope_fill(line.slope) if line.slope else PALE
                    cells["slope"] = filled(slope if line.n else "", fill)
                fill = self.scale.fill(line.arriving)
                cells["grad"] = filled(words(line.grad, 11, GREY if fill == PALE else INK), fill)
                yield row(*[cells[name] for name in columns])

    def _open(self, neuron: Neuron) -> str:
        """The parameters of the neuron that is asked about, a row each; the one asked for bold."""
        only = self.net.samples == 1
        heads = ["parameter", "value", *(["× input"] if only else []), "grad"]
        rows = [row(*[cell(words(head, 10, GREY), width=62) for head in heads])]
        z = next(iter(neuron.turns.values())).z
        for p in neuron.parameters:
            factor = sum([d for x, d in zip(z.inputs, z.partials) if x is p])
            texts = [self._short_name(p, neuron), short(p.data)]
            texts += [f"×{short(factor)}", short(p.grad)] if only else [short(p.grad)]
            starved = p not in self.survey.alive
            fill, ink = (PALE, GREY) if starved else (self.scale.fill(p.grad), INK)
            asked = bool(self.shares and p is self.shares.explanation.node)
            name = words(texts[0], 11, ink, strong=asked, struck=starved and not asked)
            cells = [filled(name, fill, height=PARAMETER)]
            cells += [filled(words(text, 11, ink), fill) for text in texts[1:]]
            rows.append(row(*cells))
        return table(rows)

    def _parameters(self, neuron: Neuron) -> str:
        """The weights and the bias, each in the colour of its own gradient."""
        parameters = neuron.parameters
        if not parameters:
            return ""
        cells = [cell(words("w, b" if len(parameters) > 1 else "w", 10, GREY), cellpadding=3)]
        for p in parameters[:TICKS]:
            starved = p not in self.survey.alive
            fill, ink = (PALE, GREY) if starved else (self.scale.fill(p.grad), INK)
            if len(parameters) <= CELLS:
                text = words(short(p.data), 10, ink, struck=starved)
                cells.append(filled(text, fill, height=15, cellpadding=2))
            else:
                cells.append(
                    filled(words("0" if starved else "", 10, ink), fill, height=15, width=8)
                )
        if len(parameters) > TICKS:
            cells.append(cell(words(f" … {len(parameters)}", 10, GREY)))
        return table([row(*cells)])

    def _state(self, neuron: Neuron) -> tuple[str, str]:
        """The ailment of a neuron in a word or two, and its colour: off, saturated, starved."""
        off = self.survey.off_on(neuron)
        if off:
            state = "off" if is_gate(neuron) else "slope 0"
            if self.net.samples > 1:
                state += f" on {off} of {len(neuron.turns)}"
            return state + (", culprit" if self._is_blamed(neuron) else ""), STOP
        if saturated(neuron):
            return "saturated", INK
        starved = self.survey.starved(neuron.parameters)
        return f"{starved} of {len(neuron.parameters)} starved" if starved else "", GREY

    def _is_blamed(self, neuron: Neuron) -> bool:
        """Whether a slope of the neuron alone is to blame for the gradient that is explained."""
        if self.shares is None:
            return False
        return self.shares.blames([edge for turn in neuron.turns.values() for edge in turn.y.edges])

    def _tally(self, layer: Layer) -> str:
        """A column's count of gates that are off and of parameters that are starved."""
        neurons = list(layer.neurons.values())
        off = sum(map(self.survey.off_on, neurons))
        parameters = [p for neuron in neurons for p in neuron.parameters]
        starved = self.survey.starved(parameters)
        gates = count(sum(len(neuron.turns) for neuron in neurons), "gate")
        facts = [f"{off} of {gates} off"] if off else []
        facts += [f"{starved} of {len(parameters)} starved"] if starved else []
        return " · ".join(facts) or count(len(neurons), "neuron")


def _bar(together: list[Line], turns: int) -> str:
    """STOP, as high as the rows that it stops; with their number where there is room for it."""
    high = sum(line.height for line in together)
    n = sum(line.n for line in together)
    texts = ["×0", "STOP"] if n == len(together) > 1 else ["STOP"]
    texts += (
        [f"{n} of {turns}"] if high >= 36 and turns > 1 and (n > 3 or n != len(together)) else []
    )
    size = 12 if high < 30 else 13 if high < 45 else 15
    return filled(lines(texts, size, ON_STOP), STOP, rowspan=len(together))


def _column(title: str, texts: list[str], boxes: dict[str, str]) -> Iterator[str]:
    """Boxes below each other, and above them a title with a line in small below it."""
    if not boxes:
        return
    heads = [row(cell(words(texts[0], 13, strong=True)))]
    heads += [row(cell(words(text, 10))) for text in texts[1:]]
    for name, content in {title: table(heads), **boxes}.items():
        yield f"{name} [label=<{content}>]"
    yield f"{{rank=same; {' -> '.join([title, *boxes])} [style=invis]}}"
