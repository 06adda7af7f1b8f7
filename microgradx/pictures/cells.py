"""A net in cells: a row for each layer, a cell for each neuron, and beside it the strip."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from microgradx._base.text import count, short
from microgradx.engine import Value, data_of
from microgradx.explain.layers import Survey, mean_square_root, saturated, together
from microgradx.explain.samples import Input, Layer, Neuron, Turn
from microgradx.pictures.answer import STOPS_IN_LOSS, UNTITLED, Answer, is_gate, linear_op
from microgradx.pictures.arrows import line_looks, neuron_with, share_looks, shares_through
from microgradx.pictures.markup import (
    LEFT,
    RIGHT,
    Tag,
    block,
    cell,
    filled,
    row,
    stop_cell,
    table,
    untagged,
    width_of,
    words,
)  # fmt: skip
from microgradx.pictures.sheet import Shares
from microgradx.pictures.sizes import (
    COUNTED,
    EQUATION,
    MARKED,
    NAMED,
    WIDE,
    WRAPPED,
    rows_of,
    size_for,
)  # fmt: skip
from microgradx.pictures.strip import Strip, ceiling_of
from microgradx.pictures.style import (
    GREY,
    GROUND,
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
from microgradx.pictures.style import LEFT as IS_LEFT

MARKS = "×S0 "  # of neurons, as a bar has them from left to right
COUNT = 44  # points that their number needs
STATE = 118  # points of the words for what ails a layer, at least
SHARE = 44  # points that an equation's share of all paths needs
FACTOR, SPLIT, GRAD = 86, 162, 60  # points of the words beside a strip


class Cells:
    """The picture of a net in cells."""

    def __init__(
        self,
        survey: Survey,
        shares: Shares | None = None,
        tag: Tag = untagged,
        found: Answer = UNTITLED,
    ) -> None:
        self.survey = survey
        self.tag = tag
        self.shares = shares
        self.net = net = survey.net
        self.asked = neuron_with(net, shares.explanation.node) if shares else None
        self.size = size_for(net)
        self.found = found
        self.framed = {x for x in found.about if isinstance(x, Neuron)} - {self.asked}
        asked = [self.asked] if self.asked else []
        kept = [x.layer if isinstance(x, Neuron) else x for x in [*found.about, *asked]]
        self.rows = rows_of(survey, self.size, kept)
        self.line = min(max(len(layer.neurons) for layer in net.layers), self.size.line)
        self.strip = self._strip()
        self.lines = line_looks(net, shares, by_layer=True) if self.size is EQUATION else {}
        self.share_looks = share_looks(self.lines.values(), shares) if self.lines else []
        self.shares_through = shares_through(net, shares) if self.lines else {}
        self.sizes = {
            neuron: mean_square_root([turn.z.grad for turn in neuron.turns.values()])
            for neuron in net.neurons
        }
        arriving = [turn.y.grad for neuron in net.neurons for turn in neuron.turns.values()]
        self.scale = Scale([*self.sizes.values(), *(arriving if self.size is EQUATION else ())])
        ill = any(survey.off_on_all(n) or saturated(n) for n in net.neurons)
        self.state = self._state_width() if ill and self.size is not EQUATION else 1
        self.names = self._names_width()
        self.marks: dict[Look, None] = {}  # those that have been drawn

    def _strip(self) -> Strip:
        """The decades of each row."""
        passages = {passage.layer: passage for passage in self.survey.passages}
        rows = [together([passages[layer] for layer in row]) for row in self.rows]
        return Strip(rows, [math.prod(map(ceiling_of, row)) for row in self.rows])

    def _names_width(self) -> int:
        """How many points the longest name of a row takes, and the words beside or below it."""
        least = 104 if self.size in (NAMED, WRAPPED, WIDE) else 60
        widths = [width_of(_title(row), 12, strong=True) + 10 for row in self.rows]
        facts = [[*self._facts(row[0]).values()] if len(row) == 1 else [] for row in self.rows]
        if self.size.is_thin:  # there they stand beside the name
            widths = [wide + width_of("".join(x), 10) for wide, x in zip(widths, facts)]
        below = [width_of(text, 10) + 8 for texts in facts for text in texts]
        return math.ceil(max(least, *widths, *below))

    def _state_width(self) -> int:
        """How many points the words for what ails a row take at most."""
        most = max(sum(len(layer.neurons) for layer in row) for row in self.rows)
        return math.ceil(max(STATE, width_of(f"STOP on {most:,} of {most:,}", 12, strong=True) + 8))

    @property
    def attributes(self) -> str:
        gaps = {EQUATION: 'ranksep="0.36" splines="line"'}
        gap = 'ranksep="0.03"' if self.size.is_thin else 'ranksep="0.2"'
        return f'rankdir="BT" nodesep="0.1" {gaps.get(self.size, gap)}'

    def body(self) -> Iterator[str]:
        """The statements of the graph."""
        for i, layers in enumerate(self.rows):
            yield f"L{i} [label=<{self._row(layers)}>]"
            yield f"S{i} [label=<{self._side(i, layers)}>]"
            yield f"{{rank=same; L{i} -> S{i} [style=invis]}}"
            above = f"S{i + 1}" if i + 1 < len(self.rows) else "axis"
            yield f"S{i} -> {above} [weight=500 style=invis]"
        yield f"axis [label=<{self._heads()}>]"
        if self.net.loss:
            yield f"loss [label=<{self._end()}>]"
            yield "{rank=same; loss -> axis [style=invis]}"
        if self.net.inputs:
            yield f"x [label=<{self._inputs()}>]"
        yield from self._thin_lines() if self.size is EQUATION else self._lines()

    def looks(self) -> list[Look]:
        """The marks in the picture, for its legend."""
        strips = [Look(fill, text) for fill, text in self.strip.used.items()]
        left = [Look(IS_LEFT, ""), Look("", "left")]
        ceiling = self.strip.least_ceiling
        tick = [Look("", f"|  ×{short(ceiling)} a layer: all that its slopes let through")]
        asked = [Look("", "thick border: asked about")] if self.asked else []
        begins = [Look("", f"thick border: {self.found.mark}")] if self.found.begin else []
        framed = [Look("", "orange border: stops it on most samples")] if self.framed else []
        return [
            *asked,
            *framed,
            *begins,
            *self.marks,
            *left,
            *strips,
            *(tick if ceiling < 1 else []),
        ]

    # --- lines ----------------------------------------------------------------------------------

    def _lines(self) -> Iterator[str]:
        """From row to row; what else a layer reads is told below its name."""
        for below, above in zip(self.rows, self.rows[1:]):
            look = "penwidth=1.4" if below[-1] in above[0].reads else "style=invis"
            yield f"{' -> '.join(self.ends(below[-1], above[0]))} [weight=50 {look}]"
        first, last = self.net.layers[0], self.net.layers[-1]
        if self.net.inputs:
            line = " -> ".join(self.ends(self.net.inputs[0], first))
            yield f"{line} [weight=50 penwidth=1.4]"
        if self.net.loss:
            yield f"{' -> '.join(self.ends(last, None))} [weight=50 penwidth=1.4]"

    def _thin_lines(self) -> Iterator[str]:
        """From neuron to neuron, as wide as what they carry beside the others of a layer."""
        for line, look in self.lines.items():
            yield f"{' -> '.join(self.ends(*line))} [{look}]"
        if self.net.loss:
            yield from [" -> ".join(self.ends(neuron, None)) for neuron in self.net.outputs]

    def place(self, owner: Neuron | Input | Layer | None) -> str:
        """The name of a layer's row, of that of the inputs, of the loss for None."""
        layer = owner.layer if isinstance(owner, Neuron) else owner
        if isinstance(layer, Layer):
            return f"L{next(i for i, row in enumerate(self.rows) if layer in row)}"
        return "x" if layer else "loss"

    def ends(
        self, source: Neuron | Input | Layer | None, reader: Neuron | Input | Layer | None
    ) -> tuple[str, str]:
        """The ends of a line from a neuron, or its row, to another."""
        return (
            f"{self.place(source)}{self._port(source)}:n",
            f"{self.place(reader)}{self._port(reader)}:s",
        )

    def _port(self, owner: Neuron | Input | Layer | None) -> str:
        if self.size is not EQUATION:
            return ":c" if isinstance(owner, (Neuron, Layer)) else ""
        if isinstance(owner, Neuron):
            return f":{owner.index}"
        return f":{self.net.inputs.index(owner)}" if isinstance(owner, Input) else ""

    # --- a layer --------------------------------------------------------------------------------

    def _row(self, layers: list[Layer]) -> str:
        """The name and the cells of a layer, in the middle of the room of the widest."""
        content, wide = self._run(layers) if len(layers) > 1 else self._neurons(layers[0])
        aside, look = cell(width=max(self._room - wide, 0) // 2), {"port": "c", "cellpadding": 0}
        return table([row(self._name(layers), aside, cell(content, **look), aside)])

    @property
    def _room(self) -> int:
        """How many points the cells of the widest layer take."""
        return self._across * self.line + 6

    @property
    def counted(self) -> tuple[int, int]:
        """How many points a block takes of neurons that are counted: at least, and all together."""
        return COUNT, self._room - 6

    @property
    def _across(self) -> int:
        """How many points a cell takes across."""
        return self.size.width + (SHARE if self.shares_through else 0)

    def _name(self, layers: list[Layer]) -> str:
        """The name of a row, and what is to be told of its layer: below it, or beside it."""
        cells = [cell(words(_title(layers), 12, strong=True), **LEFT)]
        if len(layers) == 1:
            facts = self._facts(layers[0]).items()
            tagged = [(words(text, 10, GREY), self.tag(kind, layers[0])) for kind, text in facts]
            cells += [cell(text, **LEFT, **tag) for text, tag in tagged]
        rows = [row(*cells)] if self.size.is_thin else [row(each) for each in cells]
        # Fixed, since they would be spread over the height of the row.
        high = 18 if self.size.is_thin else 4 + 20 * len(rows)
        look = {"align": "left", "fixedsize": "true", "width": self.names, "height": high}
        return cell(table(rows, **look), width=self.names, cellpadding=0, align="left")

    def _neurons(self, layer: Layer) -> tuple[str, int]:
        """The cells of a layer, in lines, and how many points they take across."""
        neurons = list(layer.neurons.values())
        if self.size is EQUATION:
            return table([row(*map(self._equation, neurons))]), self._across * len(neurons)
        dead = sum(map(self.survey.stops_all, neurons))
        border = 3 if 2 * dead >= len(neurons) > 1 else 2 if dead else 1
        begins = layer is self.found.begin
        border = min(3 if begins else border, 2 if self.size.is_thin else 3)
        look = {"border": border, "color": STOP if dead else INK if begins else LINE}
        if self.size is COUNTED:
            counts = cell(self._counts(neurons), cellpadding=0, **self.tag("counts", layer))
            return table([row(counts)], **look), self._room
        lines = [neurons[k : k + self.line] for k in range(0, len(neurons), self.line)]
        cells = [row(*map(self._cell, line)) for line in lines]
        return table(cells, **look), self.size.width * len(lines[0]) + 2 * border

    def _run(self, layers: list[Layer]) -> tuple[str, int]:
        """Layers in one row: what marks their neurons have."""
        neurons = [neuron for layer in layers for neuron in layer.neurons.values()]
        if any(self._mark(neuron)[1] for neuron in neurons):
            counts = cell(self._counts(neurons), cellpadding=0, **self.tag("counts", *layers))
            return table([row(counts)], border=1, color=LINE), self._room
        text = words(f"{count(len(layers), 'layer')} without a mark", 10, GREY)
        look = {"bgcolor": GROUND, "width": self._room, "height": self.size.height}
        look |= self.tag("counts", *layers)
        return table([row(cell(text, **look))]), self._room

    def _counts(self, neurons: list[Neuron]) -> str:
        """Many neurons as a bar: for each mark a block, as wide as the share that has it."""
        groups: dict[Look | None, list[Neuron]] = {}
        for neuron in neurons:
            groups.setdefault(self._mark(neuron)[1], []).append(neuron)
        least, room = self.counted
        spare = room - least * len(groups)
        ordered = sorted(groups, key=lambda look: MARKS.index(look.words[0] if look else " "))
        widths = {look: least + spare * len(groups[look]) // len(neurons) for look in ordered}
        return table([row(*[self._count(look, groups[look], widths[look]) for look in ordered])])

    def _count(self, look: Look | None, neurons: list[Neuron], width: int) -> str:
        """The block of neurons that have the same mark, or none, with their number."""
        room = {"width": width, "height": self.size.height, "cellpadding": 0}
        if look:
            self.marks.setdefault(look)
            text = f"{look.words[0]} {len(neurons):,}"
            return filled(words(text, 10, look.ink, strong=True), look.fill, **room)
        size = mean_square_root([self.sizes[neuron] for neuron in neurons])
        return filled(words(f"{len(neurons):,}", 10), self.scale.fill(size), **room)

    def _facts(self, layer: Layer) -> dict[str, str]:
        """The lines below a layer's name: its kind, gates that are off, other layers it reads."""
        place = self.net.layers.index(layer)
        below = self.net.layers[place - 1] if place else None
        beside = [source.name for source in layer.reads if source is not below]
        beside = [*(["x"] if layer.reads_inputs and place else []), *beside][:2]
        reads = "and reads" if below in layer.reads else "reads"
        facts = {f"reads {i}": f"{reads} {name}" for i, name in enumerate(beside)}
        if self.size in (EQUATION, MARKED) or self.size.is_thin:
            return dict([*facts.items()][:1])
        neurons = list(layer.neurons.values())
        off = sum(map(self.survey.off_on, neurons))
        gates = count(sum(len(neuron.turns) for neuron in neurons), "gate")
        kind = f"{len(neurons):,} {neurons[0].activation or 'linear'}"
        return {"kind": kind, **({"off": f"{off:,} of {gates} off"} if off else {}), **facts}

    def _cell(self, neuron: Neuron) -> str:
        """A neuron as a cell: off on all samples, saturated, starved, or in its blue."""
        size = self.size
        room: dict[str, Any] = {"width": size.width, "height": size.height}
        room |= {"cellpadding": 0} if size.is_thin else {}
        room |= {"border": 3, "color": INK} if neuron is self.asked else {}
        room |= {"border": 3, "color": STOP} if neuron in self.framed else {}
        room |= self.tag("cell", neuron)
        mark, look = self._mark(neuron)
        if look:
            self.marks.setdefault(look)
            return filled(self._marked(neuron, mark, look.ink), look.fill, **room)
        fill = self.scale.fill(self.sizes[neuron])
        return filled(self._named(neuron) if size is NAMED else "", fill, **room)

    def _marked(self, neuron: Neuron, mark: str, ink: str) -> str:
        """A neuron's letter, and above it its name where there is room for it."""
        if self.size.is_thin:
            return words(mark, 10, ink)
        texts = [f"[{neuron.index}]", mark] if self.size is NAMED else [mark]
        return table([row(cell(words(text, 11, ink, strong=True))) for text in texts])

    def _named(self, neuron: Neuron) -> str:
        """A neuron's name; of one with a gate, how many samples it is off on."""
        content = [row(cell(words(f"[{neuron.index}]", 10)))]
        if any(map(is_gate, neuron.layer.neurons.values())):
            off = self.survey.off_on(neuron)
            content += [row(cell(words(f"off {off}" if off else " ", 10)))]
            content += [row(cell(_share(off / len(neuron.turns))))]
        return table(content)

    def _mark(self, neuron: Neuron) -> tuple[str, Look | None]:
        """The letter in a neuron's cell and its look; none where it is well."""
        if self.survey.stops_all(neuron):
            word = "off on all samples" if self.net.samples > 1 else "off"
            return "×", Look(STOP, f"× {word}", ON_STOP)
        if self.survey.off_on_all(neuron):
            return "×", Look(PALE, "× off, and starved", GREY)
        if saturated(neuron):
            return "S", Look(ORANGES[0][1], "S saturated: slope below 1 %")
        if not any(turn.z in self.survey.alive for turn in neuron.turns.values()):
            return "0", Look(PALE, "0 starved", GREY)
        return "", None

    def _equation(self, neuron: Neuron) -> str:
        """A neuron in one sample: an equation of its numbers, and one of its gradients."""
        [turn] = neuron.turns.values()
        cells = self._gradient(neuron, turn)
        op = (
            f"{neuron.activation}({short(turn.z.data)})" if neuron.activation else linear_op(neuron)
        )
        title = words(f" [{neuron.index}]", 11, strong=True)
        title += words(f" {op} = {short(turn.y.data)}")
        title += words(f"  {self.shares_through.get(neuron, '')}", 10)
        room = {"colspan": len(cells), "height": 20, **self.tag("equation", turn)}
        thick = neuron is self.asked or neuron.layer is self.found.begin
        border, ink = (3, INK) if thick else (1, LINE)
        if self.survey.stops_all(neuron):
            border, ink = 3, STOP
        look = {"border": border, "color": ink, "bgcolor": PAPER, "port": neuron.index}
        content = table([row(cell(title, **room)), row(*cells)], **look)
        return cell(content, cellpadding=6, width=self._across)

    def _gradient(self, neuron: Neuron, turn: Turn) -> list[str]:
        """The gradient that arrives; with an activation, times its slope what leaves."""
        z, y, slope = turn
        arriving = {"height": 18, **self.tag("grad", turn)}
        cells = [filled(words(short(y.grad)), self.scale.fill(y.grad), **arriving)]
        if not neuron.activation:
            return cells
        strong = 0 < abs(slope) < ORANGES[1][0]
        room = {"width": 54, **self.tag("slope", turn)}
        middle = filled(words(f"×{short(slope)}", 11, strong=strong), slope_fill(slope), **room)
        if self.survey.stops_all(neuron):
            middle = filled(words("×0 STOP", 11, ON_STOP, strong=True), STOP, **room)
            self.marks.setdefault(Look(STOP, "STOP: a slope of 0", ON_STOP))
        room = {"width": 70, **self.tag("leaving", turn)}
        leaving = filled(words(f"= {short(z.grad)}"), self.scale.fill(z.grad), **room)
        return [*cells, middle, leaving]

    # --- beside it ------------------------------------------------------------------------------

    def _side(self, i: int, layers: list[Layer]) -> str:
        """A row's ailment, its strip, its factor and the gradient that is left."""
        left = words(short(self.strip.passages[i].leaving), 12, strong=True)
        bar = self.strip.bar(i, 14) if self.size.is_thin else self.strip.bar(i)
        cells = [
            self._ailment(layers),
            cell(width=8),
            cell(bar, **self.tag("strip", i)),
            cell(table([row(*self._factor(i))])),
            cell(left, width=GRAD, **RIGHT, **self.tag("left", i)),
        ]
        return table([row(*cells)])

    def _factor(self, i: int) -> list[str]:
        """A row's factor, and what it is the product of; large where it takes or gives much."""
        factor, split = self.strip.factor(i)
        hard = self.strip.is_hard(i)
        look = {**LEFT, **self.tag("factor", i)}
        if not self.strip.passages[i].is_read:
            return [cell(words(f" {factor}", 12), width=FACTOR + SPLIT, **look)]
        text = words(f" {factor}", 14 if hard and not self.size.is_thin else 12, strong=hard)
        beside = {"width": SPLIT, **LEFT, **self.tag("split", i)}
        return [cell(text, width=FACTOR, **look), cell(words(split, 10, GREY), **beside)]

    def _ailment(self, layers: list[Layer]) -> str:
        """How many neurons stop the gradient, or are saturated; the worst layer has a STOP."""
        if self.state == 1:
            return cell(width=self.state)
        neurons = [neuron for layer in layers for neuron in layer.neurons.values()]
        stopping = sum(map(self.survey.stops_all, neurons))
        dead = sum(map(self.survey.off_on_all, neurons))
        flat = sum(map(saturated, neurons))
        room: dict[str, Any] = {"width": self.state, "height": min(28, self.size.height)}
        room |= self.tag("ailment", layers[0]) if len(layers) == 1 else {}
        of = f"of {len(neurons):,}"
        if stopping and (2 * stopping >= len(neurons) or layers == [self._worst()]):
            stop = words(f"STOP on {stopping} {of}", 12, ON_STOP, strong=True)
            return cell(stop, bgcolor=STOP, **room)
        if dead:
            word = "dead" if self.net.samples > 1 else "off"  # one sample tells of no death
            ink = STOP if stopping else GREY
            return cell(words(f"{dead} {of} {word}", 11, ink, strong=True), **RIGHT, **room)
        well = "" if self.tag is untagged else " "  # a place for words, should they be wanted
        text = f"{flat} {of} saturated" if flat else well
        return cell(words(text, 11, INK, strong=True), **RIGHT, **room)

    def _worst(self) -> Layer:
        """The layer with most neurons that stop the gradient; the nearest to the loss of these."""
        layers = reversed(self.net.layers)
        return max(layers, key=lambda x: sum(map(self.survey.stops_all, x.neurons.values())))

    def _heads(self) -> str:
        """The heads of the columns beside the cells."""
        above = zip(self.net.layers, self.net.layers[1:])
        plain = all([*layer.reads] == [below] for below, layer in above)
        readers = "the layer above" if plain else "the layers that read it"
        factor = words(f" factor from {readers}", 10, strong=True)
        return table(
            [
                row(
                    cell(width=self.state + 8),
                    cell(self.strip.axis(), **self.tag("axis", *self.net.layers)),
                    cell(factor, width=FACTOR + SPLIT, **LEFT),
                    cell(words("|grad|", 10, strong=True), width=GRAD, **RIGHT),
                )
            ]
        )

    def _end(self) -> str:
        output = self.net.output
        text = words(f" {output.label or 'loss'} {short(output.data)} ", 12, strong=True)
        rows = [row(cell(text, cellpadding=5, **self.tag("loss", output)))]
        if self.found.title == STOPS_IN_LOSS:
            rows.append(row(stop_cell()))
        return table(rows, border=1, color=LINE, bgcolor=PAPER)

    def _inputs(self) -> str:
        """The inputs with their numbers, or how many there are."""
        if self.size is not EQUATION:
            facts = f"{count(len(self.net.inputs), 'input')}, {count(self.net.samples, 'sample')}"
            content = words(" x", 12, strong=True) + words(f"  {facts} ")
            return table([row(cell(content, cellpadding=3))], border=1, color=LINE, bgcolor=PAPER)
        cells = []
        for i, given in enumerate(self.net.inputs):
            [x] = given.numbers.values()
            rows = [row(cell(words(given.name, 11, strong=True)))]
            tag = self.tag("data", x) if isinstance(x, Value) else {}
            rows.append(row(cell(words(short(data_of(x))), **tag)))
            look = {"border": 1, "color": LINE, "bgcolor": PAPER, "cellpadding": 2, "port": i}
            cells.append(cell(table(rows, **look), cellpadding=5))
        return table([row(*cells)])


def _title(layers: list[Layer]) -> str:
    """The name of a row."""
    names = [layers[0].name or "layer"] + ([layers[-1].name] if len(layers) > 1 else [])
    return " … ".join(names) + " "


def _share(share: float) -> str:
    """A small bar: the share of samples that a neuron is off on."""
    full = round(38 * share)
    parts = [(full, STOP), (38 - full, PAPER)]
    return table([row(*[block(width, 7, fill) for width, fill in parts if width])])
