"""A net in boxes: one for each neuron, its samples as rows, its parameters as cells.

The gradient comes from the right. In each row the right cell holds what arrives, the middle one
the slope, and the left one z, in the colour of what is left: where the slope is 0, a bar as high as
the share of samples that it stops.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from itertools import groupby
from typing import Any

from microgradx._base.text import count, short
from microgradx.engine import Value, data_of
from microgradx.explain.layers import Survey, saturated
from microgradx.explain.samples import Input, Layer, Neuron
from microgradx.pictures.answer import STOPS_IN_LOSS, UNTITLED, Answer, is_gate, linear_op
from microgradx.pictures.arrows import Source, line_looks, neuron_with, share_looks, shares_through
from microgradx.pictures.ending import ending
from microgradx.pictures.markup import (
    LEFT,
    RIGHT,
    Tag,
    cell,
    filled,
    lines,
    row,
    table,
    untagged,
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
GAP = 12  # points between its parameters and its row
PARAMETER = 22  # points of a row of the neuron that is asked about
WIDTHS = {"n": 26, "z": 62, "slope": 62, "grad": 62}  # points of the columns
GROUP_WIDTHS = {"n": 26, "z": 88, "slope": 70, "grad": 58}

RowTag = Callable[[str], dict[str, str]]  # from the kind of a row's cell to its attributes


class Boxes:
    """The picture of a net in boxes."""

    attributes = 'rankdir="LR" nodesep="0.16" ranksep="0.85" splines="line"'

    def __init__(
        self,
        survey: Survey,
        shares: Shares | None = None,
        tag: Tag = untagged,
        found: Answer = UNTITLED,
    ) -> None:
        self.survey = survey
        self.found = found
        self.tag = tag
        self.shares = shares
        self.net = survey.net
        self.opened = neuron_with(self.net, shares.explanation.node) if shares else None
        self.shares_through = shares_through(self.net, shares)
        grads = [turn.y.grad for neuron in self.net.neurons for turn in neuron.turns.values()]
        parameters = [p for neuron in self.net.neurons for p in neuron.parameters]
        self.scale = Scale([*grads, *[p.grad for p in parameters]])
        self.starved = survey.starved(parameters)
        self.grouped = self.net.samples > ROWS
        self.names: dict[Any, str] = {given: f"x{i}" for i, given in enumerate(self.net.inputs)}
        for i, layer in enumerate(self.net.layers):
            self.names[layer] = f"T{i}"
            self.names.update({n: f"L{i}N{j}" for j, n in enumerate(layer.neurons.values())})

    @cached_property
    def lines(self) -> dict[tuple[Source, Neuron], str]:
        """The looks of the lines; asked for when it is drawn, not whether it fits."""
        return line_looks(self.net, self.shares)

    @property
    def share_looks(self) -> list[Look]:
        """The meanings of its lines, where they are shares."""
        return share_looks(self.lines.values(), self.shares)

    def fits(self, width: float, height: float) -> bool:
        """Whether there is room for the boxes, by what they hold."""
        rows = min(self.net.samples, ROWS)
        box = 74 + (GROUPED if self.grouped else HEIGHT * rows)
        opened = len(self.opened.parameters) * PARAMETER if self.opened else 0
        given = 34 + HEIGHT * (2 if self.grouped else rows)
        columns = self._side_by_side()
        tallest = max(map(len, columns)) * box
        across = [max(map(self._width, column)) + 76 for column in columns]
        high = 50 + opened + max(tallest, len(self.net.inputs) * given)
        return high <= height and sum(across) + 320 <= width

    def _side_by_side(self) -> list[list[Neuron]]:
        """The neurons by column: what a layer reads comes before it."""
        columns: dict[int, list[Neuron]] = {}
        depth: dict[Layer, int] = {}
        for layer in self.net.layers:
            below = [depth[x] + 1 for x in layer.reads if x in depth]
            depth[layer] = max(below, default=0)
            columns.setdefault(depth[layer], []).extend(layer.neurons.values())
        return list(columns.values())

    def body(self) -> Iterator[str]:
        """The statements of the graph."""
        inputs = {self.names[given]: self._input(given) for given in self.net.inputs}
        yield from _column("TX", {"inputs": {}}, inputs)
        for i, layer in enumerate(self.net.layers):
            width = max(map(self._width, layer.neurons.values()))
            boxes = {self.names[n]: self._neuron(n, width) for n in layer.neurons.values()}
            heads = {layer.name or "layer": {}, self._tally(layer): self.tag("tally", layer)}
            if layer is self.found.begin:
                heads[self.found.mark] = {}
            yield from _column(f"T{i}", heads, boxes)
        end = ending(self.net, self.scale, self.tag, self.found.title == STOPS_IN_LOSS)
        if end:
            yield f"loss [label=<{end}>]"
            for neuron in self.net.outputs:
                yield f'{" -> ".join(self.ends(neuron, None))} [penwidth="1.4"]'
        for line, look in self.lines.items():
            yield f"{' -> '.join(self.ends(*line))} [{look}]"

    def place(self, owner: Neuron | Input | Layer | None) -> str:
        """The name of the box of a neuron or an input, of a layer's head, of the loss for None."""
        return self.names.get(owner, "loss")

    def ends(
        self, source: Neuron | Input | Layer | None, reader: Neuron | Input | Layer | None
    ) -> tuple[str, str]:
        """The ends of a line from one box to another."""
        return f"{self.place(source)}:e", f"{self.place(reader)}:w"

    def looks(self) -> list[Look]:
        """The marks in the picture, for its legend."""
        slopes = [turn.slope for n in self.net.neurons for turn in n.turns.values() if n.activation]
        shades = {slope_fill(slope) for slope in slopes if slope}
        looks = [
            Look(fill, f"slope < {short(below)}") for below, fill in ORANGES if fill in shades
        ][::-1]
        looks += [Look(STOP, "STOP: off, a slope of 0", ON_STOP)] if self.survey.stops else []
        looks += [Look(PALE, "starved", GREY)] if self.starved else []
        rows = "n: how many samples have such a slope" if self.grouped else "a row is a sample"
        facts = [rows] if self.net.samples > 1 else []
        facts += [] if self.shares else ["line width: gradient carried"]
        return [*looks, Look("", " · ".join(facts), GREY)]

    # --- a box ----------------------------------------------------------------------------------

    def _input(self, given: Input) -> str:
        """An input's name and its numbers, a row a sample."""
        numbers = [data_of(x) for x in given.numbers.values()]
        by_sample = dict(zip(given.numbers, map(short, numbers)))
        texts = {k: by_sample.get(k, "–") for k in range(self.net.samples)}
        tags = {k: self.tag("data", x) for k, x in given.numbers.items() if isinstance(x, Value)}
        if self.grouped:
            texts = {0: span(numbers), 1: count(len(numbers), "sample")}
            tags = {0: self.tag("span", *given.numbers.values())} if tags else {}
        rows = [row(cell(words(given.name, 13, strong=True), cellpadding=2))]
        room = {"width": 90 if self.grouped else 44, "height": HEIGHT}
        rows += [row(cell(words(x), **room, **tags.get(k, {}))) for k, x in texts.items()]
        return table(rows, border=1, color=LINE, bgcolor=PAPER)

    def _neuron(self, neuron: Neuron, width: int) -> str:
        """A neuron's box: its name and what ails it, its rows, its parameters."""
        beside = self._width_beside(neuron)
        columns = self._columns(neuron, width - beside)
        rows = [row(*self._heads(columns)), *self._rows(neuron, columns)]
        if beside:  # its only row is as high as all parameters
            rows = [row(cell(self._open(neuron)), cell(width=GAP), cell(table(rows)))]
        else:
            draw = self._open if neuron is self.opened else self._parameters
            rows.append(row(cell(draw(neuron), colspan=len(columns))))
        title = row(cell(table([self._title(neuron)]), colspan=len(columns)))
        border, frame = (3, STOP) if self.survey.stops_all(neuron) else (1, LINE)
        return table([title, *rows], border=border, color=frame, bgcolor=PAPER)

    def _title(self, neuron: Neuron) -> str:
        """Its index and its op; on the right what ails it."""
        state, ink = self._state(neuron)
        name = words(f" [{neuron.index}] ", 12, strong=True)
        name += words(f" {neuron.activation or linear_op(neuron)}", 12)
        name += words(f"  {self.shares_through.get(neuron, '')}", 11)
        ailment = words(f"{state} ", 12, ink, strong=True)
        tag = self.tag("state", neuron)
        return row(cell(name, height=20, **LEFT), cell(ailment, **RIGHT, **tag))

    def _heads(self, columns: dict[str, int]) -> list[str]:
        names = ["|grad|" if self.grouped and head == "grad" else head for head in columns]
        return [cell(words(x, 10, GREY), width=w) for x, w in zip(names, columns.values())]

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
        op, share = neuron.activation or linear_op(neuron), self.shares_through.get(neuron, "")
        title = f"   [{neuron.index}] {op}  {share}  {state} "
        numbers = [width_of(short(p.data), 10) + 6 for p in neuron.parameters]
        cells = sum(numbers) if len(numbers) <= CELLS else 9 * min(len(numbers), TICKS) + 20
        rows = sum(self._columns(neuron).values())
        beside = self._width_beside(neuron)
        opened = self._opened_width(neuron) if neuron is self.opened and not beside else 0.0
        return math.ceil(max(width_of(title, 12, strong=True), 30 + cells, rows, opened) + beside)

    def _width_beside(self, neuron: Neuron) -> float:
        """How many points the parameters take beside the only row, in the box that is open."""
        only = neuron is self.opened and self.net.samples == 1
        return self._opened_width(neuron) + GAP if only else 0.0

    def _opened_width(self, neuron: Neuron) -> float:
        """How many points the rows of its parameters take."""
        names = [width_of(self._short_name(p, neuron), 11, True) for p in neuron.parameters]
        return max([62, *names]) + 62 * (3 if self.net.samples == 1 else 2) + 6

    def _short_name(self, parameter: Value, neuron: Neuron) -> str:
        return parameter.label.removeprefix(f"{neuron.layer.name}.")

    def _lines(self, neuron: Neuron) -> list[Line]:
        """The rows in numbers; in the box that is open as high as its parameters."""
        found = lines_of(neuron, self.survey, self.tag is not untagged)
        if not self._width_beside(neuron):
            return found
        least = len(neuron.parameters) * PARAMETER // len(found)
        return [line._replace(height=max(line.height, least)) for line in found]

    def _rows(self, neuron: Neuron, columns: dict[str, int]) -> Iterator[str]:
        """A row for each line; those that follow each other and stop the gradient have one bar."""
        for _, group in groupby(self._lines(neuron), key=lambda line: line.stops > 0):
            together = list(group)
            for line in together:
                yield self._row(neuron, line, together, columns)

    def _row(
        self, neuron: Neuron, line: Line, together: list[Line], columns: dict[str, int]
    ) -> str:
        """A row: how many samples, z, the slope, the gradient; `together` has one bar."""
        tag = partial(self._tag_row, neuron, line)
        cells = []
        if self.grouped:
            n = words(str(line.n), 10, GREY)
            cells.append(cell(n, height=line.height, **tag("n")))
        room = {"width": columns["z"], "height": line.height, **tag("z")}
        cells.append(self._number(line, line.z, line.left, room))
        if "slope" in columns:
            cells.append(self._slope(line, together, len(neuron.turns), tag))
        cells.append(self._number(line, line.grad, line.arriving, tag("grad")))
        return row(*cells)

    def _number(self, line: Line, text: str, grad: float, look: dict[str, Any]) -> str:
        """A cell of a row, in the colour of its gradient; of a group without a sample in none."""
        fill = self.scale.fill(grad) if line.n or not self.grouped else PAPER
        return filled(words(text, 11, GREY if fill == PALE else INK), fill, **look)

    def _slope(self, line: Line, together: list[Line], turns: int, tag: RowTag) -> str:
        """The slope of a row, or the bar of all rows that stop the gradient, at their first."""
        if line.stops and self.tag is not untagged:  # a page lays the bar over them
            stop = words("×0 STOP", 11, ON_STOP, strong=True)
            return filled(stop, STOP, **tag("slope"))
        if line.stops:
            return _bar(together, turns) if line is together[0] else ""
        strong = 0 < abs(line.slope) < ORANGES[1][0]
        slope = words(f"×{short(line.slope)}", 11, strong=strong)
        fill = slope_fill(line.slope) if line.slope else PALE
        return filled(slope if line.n else "", fill, **tag("slope"))

    def _tag_row(self, neuron: Neuron, line: Line, kind: str) -> dict[str, str]:
        """The name of a cell of a row: of a sample, or of all with such a slope."""
        if self.grouped:
            return self.tag(f"{kind}s", neuron, line.group)
        return self.tag(kind, line.turns[0]) if line.turns else {}

    def _open(self, neuron: Neuron) -> str:
        """The parameters of the neuron that is asked about, a row each; the one asked for bold."""
        only = self.net.samples == 1
        heads = ["parameter", "value", *(["× input"] if only else []), "grad"]
        rows = [row(*[cell(words(head, 10, GREY), width=62) for head in heads])]
        z = next(iter(neuron.turns.values())).z
        for p in neuron.parameters:
            factor = sum([d for x, d in zip(z.inputs, z.partials) if x is p])
            texts = [short(p.data), *([f"×{short(factor)}"] if only else []), short(p.grad)]
            rows.append(row(*self._opened_row(self._short_name(p, neuron), p, texts)))
        return table(rows)

    def _opened_row(self, name: str, p: Value, texts: list[str]) -> list[str]:
        """A parameter's name and its numbers."""
        fill, ink, starved = self._look(p)
        asked = bool(self.shares and p is self.shares.explanation.node)
        title = words(name, 11, ink, strong=asked, struck=starved and not asked)
        return [
            filled(title, fill, height=PARAMETER),
            *[filled(words(text, 11, ink), fill) for text in texts],
        ]

    def _parameters(self, neuron: Neuron) -> str:
        """The weights and the bias, each in the colour of its own gradient."""
        parameters = neuron.parameters
        if not parameters:
            return ""
        draw = self._parameter if len(parameters) <= CELLS else self._tick
        cells = [cell(words("w, b" if len(parameters) > 1 else "w", 10, GREY), cellpadding=3)]
        cells += [draw(p) for p in parameters[:TICKS]]
        if len(parameters) > TICKS:
            cells.append(cell(words(f" … {len(parameters)}", 10, GREY)))
        return table([row(*cells)])

    def _parameter(self, p: Value) -> str:
        """A parameter as a cell with its value, struck out where it is starved."""
        fill, ink, starved = self._look(p)
        text = words(short(p.data), 10, ink, struck=starved)
        return filled(text, fill, height=15, cellpadding=2, **self.tag("parameter", p))

    def _tick(self, p: Value) -> str:
        """A parameter as a cell without its value, a 0 where it is starved."""
        fill, ink, starved = self._look(p)
        text = words("0" if starved else "", 10, ink)
        return filled(text, fill, height=15, width=8, **self.tag("tick", p))

    def _look(self, p: Value) -> tuple[str, str, bool]:
        """A parameter's colour, its ink, and whether it is starved."""
        starved = p not in self.survey.alive
        return (PALE, GREY, True) if starved else (self.scale.fill(p.grad), INK, False)

    def _state(self, neuron: Neuron) -> tuple[str, str]:
        """The ailment of a neuron in a word or two, and its colour: off, saturated, starved."""
        off = self.survey.off_on(neuron)
        if off:
            state = "off" if is_gate(neuron) else "slope 0"
            if self.net.samples > 1:
                state += f" on {off} of {len(neuron.turns)}"
            ink = STOP if neuron in self.survey.stops else GREY
            return state + (", culprit" if self._is_blamed(neuron) else ""), ink
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
    n = sum(line.stops for line in together)
    texts = ["×0", "STOP"] if n == len(together) > 1 else ["STOP"]
    texts += (
        [f"{n} of {turns}"] if high >= 36 and turns > 1 and (n > 3 or n != len(together)) else []
    )
    size = 12 if high < 30 else 13 if high < 45 else 15
    return filled(lines(texts, size, ON_STOP), STOP, rowspan=len(together))


def _column(title: str, texts: dict[str, dict[str, str]], boxes: dict[str, str]) -> Iterator[str]:
    """Boxes below each other, and above them a title with a line in small below it."""
    if not boxes:
        return
    (name, _), *below = texts.items()
    heads = [row(cell(words(name, 13, strong=True)))]
    heads += [row(cell(words(text, 10), **tag)) for text, tag in below]
    for name, content in {title: table(heads), **boxes}.items():
        yield f"{name} [label=<{content}>]"
    yield f"{{rank=same; {' -> '.join([title, *boxes])} [style=invis]}}"
