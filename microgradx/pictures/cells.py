"""A net in cells: a row for each layer, a cell for each neuron, and beside it the strip."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from microgradx._base.text import count, short
from microgradx.engine import Value, data_of
from microgradx.explain.layers import Survey, mean_square_root, saturated, together
from microgradx.explain.samples import Input, Layer, Neuron
from microgradx.pictures.answer import is_gate, linear_op
from microgradx.pictures.arrows import line_looks, neuron_with
from microgradx.pictures.markup import (
    LEFT,
    RIGHT,
    Tag,
    block,
    cell,
    filled,
    row,
    table,
    untagged,
    width_of,
    words,
)  # fmt: skip
from microgradx.pictures.sheet import Shares
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


class Size(NamedTuple):
    """How large cells are drawn, in points, and how many stand in a line."""

    width: int
    height: int
    line: int
    pitch: int  # from one row to the next, at least


EQUATION = Size(196, 44, 3, 80)  # the numbers of the only sample
NAMED = Size(44, 46, 16, 64)  # the name, and the share of samples that it is off on
MARKED = Size(19, 30, 43, 48)  # ×, S, 0
WRAPPED = Size(21, 21, 16, 0)  # the same, in several lines
COUNTED = Size(19, 30, 36, 48)  # one bar: how many have which mark
ROOM = 750  # points of all rows
STATE = 118  # points of the words for what ails a layer
COUNT = 48  # points that a number of neurons needs
MARKS = ("×", "S", "0", "")
FACTOR, SPLIT, GRAD = 86, 162, 60  # points of the words beside a strip


class Cells:
    """The picture of a net in cells."""

    def __init__(self, survey: Survey, shares: Shares | None = None, tag: Tag = untagged) -> None:
        self.survey = survey
        self.tag = tag
        self.shares = shares
        self.net = net = survey.net
        self.asked = neuron_with(net, shares.explanation.node) if shares else None
        self.sizes = {
            neuron: mean_square_root([turn.z.grad for turn in neuron.turns.values()])
            for neuron in net.neurons
        }
        widest = max(len(layer.neurons) for layer in net.layers)
        self.size = self._choose(widest)
        self.line = min(widest, self.size.line)
        arriving = [turn.y.grad for neuron in net.neurons for turn in neuron.turns.values()]
        self.scale = Scale([*self.sizes.values(), *(arriving if self.size is EQUATION else ())])
        ill = any(survey.off_on(n) == len(n.turns) or saturated(n) for n in net.neurons)
        self.state = STATE if ill and self.size is not EQUATION else 1
        self.rows = self._rows()
        if self.size is WRAPPED and sum(map(self._row_height, self.rows)) > ROOM:
            self.size, self.line = COUNTED, COUNTED.line
            self.rows = self._rows()
        places = {layer: i for i, layer in enumerate(net.layers)}
        passages = [together([survey.passages[places[x]] for x in row]) for row in self.rows]
        self.strip = Strip(passages, [math.prod(map(ceiling_of, row)) for row in self.rows])
        titles = [width_of(_title(row), 12, strong=True) for row in self.rows]
        self.names = math.ceil(max(titles))
        self.names = max(self.names, 104 if self.size in (NAMED, WRAPPED) else 60)
        self.marks: dict[Look, None] = {}  # those that have been drawn

    @property
    def has_shares(self) -> bool:
        """Whether its lines are as wide as their shares."""
        return self.size is EQUATION

    @property
    def attributes(self) -> str:
        if self.size is EQUATION:
            return 'rankdir="BT" nodesep="0.1" ranksep="0.36" splines="line"'
        return 'rankdir="BT" nodesep="0.1" ranksep="0.2"'

    def _choose(self, widest: int) -> Size:
        """The largest cells that there is room for."""
        for size in (EQUATION, NAMED, MARKED):
            fits = widest <= size.line and len(self.net.layers) * size.pitch <= ROOM
            if fits and (size is not EQUATION or self.net.samples == 1):
                return size
        return MARKED if widest <= MARKED.line else WRAPPED

    def _rows(self) -> list[list[Layer]]:
        """The layers that share a row: one, or where there is no room, those without a mark."""
        layers, survey = self.net.layers, self.survey
        most = ROOM // (self.size.pitch or self._height(self.line))
        if sum(map(self._height, (len(x.neurons) for x in layers))) <= ROOM:
            return [[layer] for layer in layers]
        inner = [p.layer for p in survey.passages[1:-1] if not self._is_marked(p.layer)]
        steady = {p.layer for p in survey.passages if 0.5 <= p.factor <= 2} & {*inner}
        rows = _runs(layers, steady, len(layers))
        if len(rows) > most:
            others = len(layers) - len(inner)
            rows = _runs(layers, {*inner}, math.ceil(len(inner) / max(most - others, 1)))
        if self.size is not WRAPPED and len(rows) > most:  # what is sick folds too, but the worst
            inner = [layer for layer in layers[1:-1] if layer is not self._worst()]
            rows = _runs(layers, {*inner}, math.ceil(len(inner) / (most - 5)))
        return rows

    def _row_height(self, layers: list[Layer]) -> int:
        return self._height(len(layers[0].neurons) if len(layers) == 1 else 1)

    def _height(self, neurons: int) -> int:
        """How many points a row of so many neurons takes, with the gap below it."""
        return self.size.pitch or 18 + (self.size.height + 2) * math.ceil(neurons / self.size.line)

    def _is_marked(self, layer: Layer) -> bool:
        neurons = layer.neurons.values()
        return any(self.survey.stops_all(neuron) or saturated(neuron) for neuron in neurons)

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
        asked = [Look("", "black border: asked about")] if self.asked else []
        return [*asked, *self.marks, *left, *strips, *(tick if ceiling < 1 else [])]

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
        for line, look in line_looks(self.net, self.shares, by_layer=True).items():
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
        if len(layers) > 1:
            name = cell(words(_title(layers), 12, strong=True), width=self.names, **LEFT)
            run = cell(self._run(layers), port="c", **self.tag("saved", *layers))
            return table([row(name, run)])
        [layer] = layers
        neurons = list(layer.neurons.values())
        dead = sum(map(self.survey.stops_all, neurons))
        lines = [neurons[k : k + self.line] for k in range(0, len(neurons), self.line)]
        across = len(lines[0])
        if self.size is EQUATION:
            border, inner = 0, table([row(*map(self._equation, neurons))])
        else:
            border = 3 if 2 * dead >= len(neurons) > 1 else 2 if dead else 1
            if self.size is COUNTED:
                counts = cell(self._counts(neurons), **self.tag("saved", layer))
                rows, across = [row(counts)], self.line
            else:
                rows = [row(*map(self._cell, line)) for line in lines]
            inner = table(rows, border=border, color=STOP if dead else LINE)
        room = self.size.width * (self.line - across) + 2 * (3 - border)
        aside = cell(width=room // 2)
        name = table(
            [
                row(cell(words(_title(layers), 12, strong=True), **LEFT)),
                *[
                    row(cell(words(text, 10, GREY), **LEFT, **self.tag(kind, layer)))
                    for kind, text in self._facts(layer).items()
                ],
            ]
        )
        cells = [cell(name, width=self.names, align="left"), aside, cell(inner, port="c"), aside]
        return table([row(*cells)])

    def _run(self, layers: list[Layer]) -> str:
        """Layers in one row: what marks they have, if any."""
        if any(map(self._is_marked, layers)):
            return self._counts([neuron for layer in layers for neuron in layer.neurons.values()])
        text = words(f"{count(len(layers), 'layer')} without a mark", 10, GREY)
        look = {"bgcolor": GROUND, "height": self.size.height}
        return table([row(cell(text, width=self.size.width * self.line + 6, **look))])

    def _counts(self, neurons: list[Neuron]) -> str:
        """Many neurons as one bar: a block for each mark, as wide as the share that has it."""
        groups: dict[tuple[str, Look | None], list[Neuron]] = {}
        for neuron in neurons:
            groups.setdefault(self._mark(neuron), []).append(neuron)
        blocks = []
        spare = self.size.width * self.line + 6 - COUNT * len(groups)
        for (mark, look), some in sorted(
            groups.items(), key=lambda group: MARKS.index(group[0][0])
        ):
            if look:
                self.marks.setdefault(look)
            fill = look.fill if look else self.scale.fill(self._together(some))
            text = words(f"{mark} {len(some):,}", 11, look.ink if look else INK, strong=bool(look))
            width = COUNT + round(spare * len(some) / len(neurons))
            blocks.append(cell(text, bgcolor=fill, width=width, height=self.size.height))
        return table([row(*blocks)])

    def _together(self, neurons: list[Neuron]) -> float:
        return mean_square_root([self.sizes[neuron] for neuron in neurons])

    def _facts(self, layer: Layer) -> dict[str, str]:
        """The lines below a layer's name: its kind, gates that are off, other layers it reads."""
        place = self.net.layers.index(layer)
        below = self.net.layers[place - 1] if place else None
        beside = [source.name for source in layer.reads if source is not below][:2]
        reads = "and reads" if below in layer.reads else "reads"
        facts = {f"reads {i}": f"{reads} {name}" for i, name in enumerate(beside)}
        if self.size in (EQUATION, MARKED):
            return dict([*facts.items()][:1])
        neurons = list(layer.neurons.values())
        off = sum(map(self.survey.off_on, neurons))
        gates = count(sum(len(neuron.turns) for neuron in neurons), "gate")
        kind = f"{len(neurons)} {neurons[0].activation or 'linear'}"
        return {"kind": kind, **({"off": f"{off:,} of {gates} off"} if off else {}), **facts}

    def _cell(self, neuron: Neuron) -> str:
        """A neuron as a cell: off on all samples, saturated, starved, or in its blue."""
        size = self.size
        room: dict[str, Any] = {"width": size.width, "height": size.height}
        room |= {"border": 3, "color": INK} if neuron is self.asked else {}
        room |= self.tag("cell", neuron)
        name = f"[{neuron.index}]" if size is NAMED else ""
        mark, look = self._mark(neuron)
        if look:
            self.marks.setdefault(look)
            texts = [
                row(cell(words(text, 11, look.ink, strong=True))) for text in (name, mark) if text
            ]
            return filled(table(texts), look.fill, **room)
        fill = self.scale.fill(self.sizes[neuron])
        if size is not NAMED:
            return filled("", fill, **room)
        content = [row(cell(words(name, 10)))]
        if any(map(is_gate, neuron.layer.neurons.values())):
            off = self.survey.off_on(neuron)
            content += [row(cell(words(f"off {off}" if off else " ", 10)))]
            content += [row(cell(_share(off / len(neuron.turns))))]
        return filled(table(content), fill, **room)

    def _mark(self, neuron: Neuron) -> tuple[str, Look | None]:
        """The letter in a neuron's cell and its look; none where it is well."""
        if self.survey.stops_all(neuron):
            word = "off on all samples" if self.net.samples > 1 else "off"
            return "×", Look(STOP, f"× {word}", ON_STOP)
        if saturated(neuron):
            return "S", Look(ORANGES[0][1], "S saturated: slope below 1 %")
        if not any(turn.z in self.survey.alive for turn in neuron.turns.values()):
            return "0", Look(PALE, "0 starved", GREY)
        return "", None

    def _equation(self, neuron: Neuron) -> str:
        """A neuron in one sample: an equation of its numbers, and one of its gradients."""
        [turn] = neuron.turns.values()
        z, y, slope = turn
        name = words(f" [{neuron.index}]", 11, strong=True)
        op = f"{neuron.activation}({short(z.data)})" if neuron.activation else linear_op(neuron)
        arriving = self.tag("grad", turn)
        cells = [filled(words(short(y.grad)), self.scale.fill(y.grad), height=18, **arriving)]
        if neuron.activation:
            strong = 0 < abs(slope) < ORANGES[1][0]
            room = {"width": 54, **self.tag("slope", turn)}
            middle = filled(words(f"×{short(slope)}", 11, strong=strong), slope_fill(slope), **room)
            if self.survey.stops_all(neuron):
                middle = filled(words("×0 STOP", 11, ON_STOP, strong=True), STOP, **room)
                self.marks.setdefault(Look(STOP, "STOP: a slope of 0", ON_STOP))
            room = {"width": 70, **self.tag("leaving", turn)}
            leaving = filled(words(f"= {short(z.grad)}"), self.scale.fill(z.grad), **room)
            cells += [middle, leaving]
        room = {"colspan": len(cells), "height": 20, **self.tag("equation", turn)}
        title = cell(name + words(f" {op} = {short(y.data)}"), **room)
        border, ink = (3, INK) if neuron is self.asked else (1, LINE)
        if self.survey.stops_all(neuron):
            border, ink = 3, STOP
        look = {"border": border, "color": ink, "bgcolor": PAPER, "port": neuron.index}
        return cell(table([row(title), row(*cells)], **look), cellpadding=6, width=EQUATION.width)

    # --- beside it ------------------------------------------------------------------------------

    def _side(self, i: int, layers: list[Layer]) -> str:
        """A row's ailment, its strip, its factor and the gradient that is left."""
        passage = self.strip.passages[i]
        factor, split = self.strip.factor(i)
        hard = self.strip.is_hard(i)
        look = {**LEFT, **self.tag("factor", i)}
        if passage.is_read:
            text = words(f" {factor}", 14 if hard else 12, strong=hard)
            beside = {"width": SPLIT, **LEFT, **self.tag("split", i)}
            texts = [cell(text, width=FACTOR, **look), cell(words(split, 10, GREY), **beside)]
        else:
            texts = [cell(words(f" {factor}", 12), width=FACTOR + SPLIT, **look)]
        return table(
            [
                row(
                    self._ailment(layers[0]) if len(layers) == 1 else cell(width=self.state),
                    cell(width=8),
                    cell(self.strip.bar(i), **self.tag("strip", i)),
                    cell(table([row(*texts)])),
                    cell(
                        words(short(passage.leaving), 12, strong=True),
                        width=GRAD,
                        **RIGHT,
                        **self.tag("left", i),
                    ),
                )
            ]
        )

    def _ailment(self, layer: Layer) -> str:
        """How many neurons stop the gradient, or are saturated; the worst layer has a STOP."""
        if self.state < STATE:
            return cell(width=self.state)
        neurons = list(layer.neurons.values())
        dead = sum(map(self.survey.stops_all, neurons))
        flat = sum(map(saturated, neurons))
        room = {"width": self.state, "height": 28, **self.tag("ailment", layer)}
        of = f"of {len(neurons)}"
        if dead and (2 * dead >= len(neurons) or layer is self._worst()):
            stop = words(f"STOP on {dead} {of}", 12, ON_STOP, strong=True)
            return cell(stop, bgcolor=STOP, **room)
        if dead:
            word = "dead" if self.net.samples > 1 else "off"  # one sample tells of no death
            return cell(words(f"{dead} {of} {word}", 11, STOP, strong=True), **RIGHT, **room)
        well = "" if self.tag is untagged else " "  # a place for words, should they be wanted
        text = f"{flat} {of} saturated" if flat else well
        return cell(words(text, 11, INK, strong=True), **RIGHT, **room)

    def _worst(self) -> Layer:
        """The layer with most neurons that stop the gradient; the nearest to the loss of these."""
        layers = reversed(self.net.layers)
        return max(layers, key=lambda x: sum(map(self.survey.stops_all, x.neurons.values())))

    def _heads(self) -> str:
        """The heads of the columns beside the cells."""
        factor = words(" factor from the layer above", 10, strong=True)
        return table(
            [
                row(
                    cell(width=self.state + 8),
                    cell(self.strip.axis()),
                    cell(factor, width=FACTOR + SPLIT, **LEFT),
                    cell(words("|grad|", 10, strong=True), width=GRAD, **RIGHT),
                )
            ]
        )

    def _end(self) -> str:
        output = self.net.output
        text = words(f" {output.label or 'loss'} {short(output.data)} ", 12, strong=True)
        content = cell(text, cellpadding=5, **self.tag("loss", output))
        return table([row(content)], border=1, color=LINE, bgcolor=PAPER)

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


def _runs(layers: list[Layer], quiet: set[Layer], most: int) -> list[list[Layer]]:
    """The layers by rows, in their order: of neighbours that are quiet, at most so many in one."""
    rows: list[list[Layer]] = []
    for layer in layers:
        if rows and layer in quiet and rows[-1][-1] in quiet and len(rows[-1]) < most:
            rows[-1].append(layer)
        else:
            rows.append([layer])
    return rows


def _share(share: float) -> str:
    """A small bar: the share of samples that a neuron is off on."""
    full = round(38 * share)
    parts = [(full, STOP), (38 - full, PAPER)]
    return table([row(*[block(width, 7, fill) for width, fill in parts if width])])
