"""The pictures of a check-up in SVG: a map of its neurons, and the ledger as bars."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from microgradx._base.text import clean, count, few, percent, squeeze
from microgradx.diagnosis.ledger import OPPOSITION, Ledger, Line, Part, name_of_part
from microgradx.explain.factors import SHOWN
from microgradx.pictures.markup import width_of
from microgradx.pictures.show import as_wide_as_reckoned, with_dark_scheme
from microgradx.pictures.style import (
    BLUES,
    FAINT,
    GREY,
    INK,
    LAYER,
    LINE,
    NEURON,
    ORANGES,
    PALE,
    PAPER,
    STOP,
)

if TYPE_CHECKING:
    from microgradx.diagnosis.result import Checkup

NARROW, WIDE = 344, 720  # pixels: on a phone; on a page or in a notebook
GUTTER, GAP = 24, 32  # left of the cells, for the number of the first; between two panels
CELLS = ((64, 20), (512, 10), (math.inf, 8))  # the pitch of cells by the units of the largest layer
MOST_CELLS, MOST_LAYERS, MOST_BARS = 2048, 40, 24  # that are drawn
FEW_LAYERS = 8  # of more, those with nothing to see are counted
STEPS = (0.25, 0.5, 0.75, 0.99)  # shares of the rows where the next shade begins
OFF = (PALE, NEURON, FAINT, LAYER, GREY)  # grey, as all that no gradient reaches
SHUT = (PALE, ORANGES[2][1], ORANGES[1][1], ORANGES[0][1], STOP)  # orange, as slopes that take

SEEN, LEAST = 0.005, 0.05  # decades: less is written as 0; a column of its own has more somewhere
COLUMNS = 8  # of more, those of a kind are one
KINDS = {  # by kind of factor its fill: slopes are orange, sizes blue
    "sigmoid ceiling": ORANGES[1][1], "saturation": ORANGES[0][1], "gates": ORANGES[2][1],
    "singular op": STOP, "weights": BLUES[0], "activations": BLUES[1], "inputs": BLUES[2],
    "norm": BLUES[3], "fan-out": BLUES[4], "constants": BLUES[5], "loss": FAINT,
    "rest": PALE, "opposition": PAPER,
}  # fmt: skip
BAR, CHIP = 18, 16  # how high a bar is, and a line of names below it


# --- the neurons ---------------------------------------------------------------------------------


class Panel(NamedTuple):
    """A layer of the map: its name, the rows of the table of neurons, and how they are set."""

    name: str
    units: list[dict[str, Any]]
    pitch: int
    speaks: bool  # a neuron says what it is to a reader who points at it, as none does on a phone

    @property
    def across(self) -> int:
        return (NARROW - GUTTER) // self.pitch

    @property
    def height(self) -> int:
        lines = -(-min(len(self.units), MOST_CELLS) // self.across)
        return 40 + lines * self.pitch + 14 * (len(self.units) > MOST_CELLS)


def neurons(c: Checkup, width: int = WIDE) -> str:
    """A cell a neuron, by layer in the order of the computation; "" where there is none."""
    layers, clear = _layers(c)
    if not layers and not clear:
        return ""
    pitch = next(
        pitch for most, pitch in CELLS if max(map(len, layers.values()), default=0) <= most
    )
    shown, more = few([*layers], MOST_LAYERS)
    panels = [Panel(name, layers[name], pitch, width >= WIDE) for name in shown]
    body, y = ([*_map_legend(width)], 90 if width < WIDE else 50) if panels else ([], 0)
    beside = max((width + GAP) // (NARROW + GAP), 1)
    for k in range(0, len(panels), beside):
        line = panels[k : k + beside]
        for i, panel in enumerate(line):
            body += _panel(panel, i * (NARROW + GAP), y)
        y += max(panel.height for panel in line) + 12
    for words in _not_drawn(more, clear):
        body.append(_text(0, y + 12, words, GREY))
        y += 18
    return _sheet(width, y, body, "Neurons by layer: how often each is off, or saturated")


def _layers(c: Checkup) -> tuple[dict[str, list[dict[str, Any]]], list[int]]:
    """The neurons by layer; of many layers, of those in which all have the palest shade the sizes.

    Layers that are ill somewhere are so drawn, however many others there are.
    """
    layers: dict[str, list[dict[str, Any]]] = {}
    for unit in c.neurons.rows:
        layers.setdefault(unit["layer"], []).append(unit)
    for units in layers.values():
        if all(isinstance(unit["neuron"], int) for unit in units):
            units.sort(key=lambda unit: int(unit["neuron"]))
    if len(layers) <= FEW_LAYERS:
        return layers, []
    spoken = {name: units for name, units in layers.items() if any(map(_is_shaded, units))}
    return spoken, [len(units) for name, units in layers.items() if name not in spoken]


def _is_shaded(unit: dict[str, Any]) -> bool:
    return bool(unit["verdict"]) or max(unit["off"], unit["saturated"]) >= STEPS[0]


def _not_drawn(more: int, clear: Sequence[int]) -> Iterator[str]:
    """The layers that have no panel, and why."""
    if more:
        yield f"and {count(more, 'more layer')}"
    if clear:
        layers, units = count(len(clear), "layer"), count(sum(clear), "neuron")
        yield f"Not drawn: {layers} ({units}) with nothing off"
        yield f"or saturated in {percent(STEPS[0])} of the rows or more"


def _map_legend(width: int) -> Iterator[str]:
    """The two scales, where their shades begin, and the two marks."""
    wide = width >= WIDE
    beside = NARROW + GAP if wide else 0
    yield from _scale_of("off in", OFF, 0, 12)
    yield from _scale_of("saturated in", SHUT, beside, 12 if wide else 32)
    y = 32 if wide else 52
    yield _text(0, y, "the shades begin at 0, 25, 50, 75 and 99 %", GREY, 11)
    y = 32 if wide else 72
    yield from _cell(beside, y - 11, 12, OFF[-1], "dead")
    yield _text(beside + 18, y, "dead: off in all rows", size=11)
    yield from _cell(beside + 142, y - 11, 12, SHUT[2], "saturated")
    yield _text(beside + 160, y, "saturated: in half of them, or all", size=11)


def _scale_of(name: str, fills: Sequence[str], x: float, y: float) -> Iterator[str]:
    yield _text(x, y, name, strong=True)
    left = x + width_of(name, 12, True) + 8
    for k, fill in enumerate(fills):
        yield _rect(left + 18 * k, y - 10, 18, 12, fill, LAYER)
    yield _text(left + 18 * len(fills) + 6, y, "of the rows", GREY, 11)


def _panel(panel: Panel, x: float, y: float) -> Iterator[str]:
    """A layer: what it is, how many of its neurons are ill, and its cells."""
    n = len(panel.units)
    ops = "/".join(dict.fromkeys(str(unit["activation"]) for unit in panel.units))
    name = squeeze(clean(panel.name or "it"), 24)
    yield _text(x, y + 12, name, strong=True)
    yield _text(x + width_of(name, 12, True) + 8, y + 12, squeeze(clean(f"{n:,} {ops}"), 20))
    yield _text(x, y + 28, _ill(panel.units), size=11, ink=GREY)
    units = panel.units[:MOST_CELLS]
    for k, unit in enumerate(units):
        row, column = divmod(k, panel.across)
        cx, cy = x + GUTTER + column * panel.pitch, y + 36 + row * panel.pitch
        if column == 0 and (panel.pitch >= 10 or row % 2 == 0):
            number = squeeze(clean(str(unit["neuron"])), 4)
            yield _text(x + GUTTER - 4, cy + panel.pitch / 2 + 3, number, GREY, 9, "end")
        share, fills = max((unit["off"], OFF), (unit["saturated"], SHUT), key=lambda pair: pair[0])
        cell = "".join(_cell(cx, cy, panel.pitch - 1, fills[_shade(share)], unit["verdict"]))
        yield f"<g><title>{_escaped(_told(unit))}</title>{cell}</g>" if panel.speaks else cell
    if n > MOST_CELLS:
        words = f"and {count(n - MOST_CELLS, 'more neuron')}"
        yield _text(x + GUTTER, y + panel.height - 2, words, GREY, 11)


def _ill(units: Sequence[dict[str, Any]]) -> str:
    """`14 dead, 8 of them proved`"""
    dead = [unit for unit in units if unit["verdict"] == "dead"]
    proved = sum(unit["proof"] == "proved" for unit in dead)
    saturated = sum(unit["verdict"] == "saturated" for unit in units)
    words = [f"{len(dead):,} dead"] if dead else []
    if proved:
        words += [f"{proved:,} of them proved" if proved < len(dead) else "proved"]
    words += [f"{saturated:,} saturated"] if saturated else []
    return ", ".join(words) or "none dead or saturated"


def _told(unit: dict[str, Any]) -> str:
    """A neuron in words, for a reader who points at it."""
    place = f"{unit['layer']}[{unit['neuron']}] {unit['activation']}"
    shares = f"off in {percent(unit['off'])}, saturated in {percent(unit['saturated'])} of the rows"
    verdict = ", ".join(x for x in (unit["verdict"], unit["proof"]) if x)
    return f"{place}: {verdict}{'; ' * bool(verdict)}{shares}"


def _shade(share: float) -> int:
    return sum(share >= step for step in STEPS)


def _cell(x: float, y: float, size: float, fill: str, verdict: str) -> Iterator[str]:
    """A square, and on it a cross where dead, a bar where saturated."""
    yield _rect(x, y, size, size, fill)
    a, b = round(0.2 * size, 1), round(0.8 * size, 1)
    wide = 2 if size > 10 else 1.3
    if verdict == "dead":
        path, ink = f"M{a} {a}L{b} {b}M{b} {a}L{a} {b}", PAPER
    elif verdict == "saturated":
        path, ink = f"M{a} {round(size / 2, 1)}H{b}", INK
    else:
        return
    yield (
        f'<path transform="translate({_n(x)} {_n(y)})" d="{path}" stroke="{ink}" '
        f'stroke-width="{wide}" fill="none"/>'
    )


# --- the ledger ----------------------------------------------------------------------------------


class Column(NamedTuple):
    """A column of the ledger: its name, the kind of its parts, and these."""

    name: str
    kind: str
    parts: tuple[Part, ...]

    def of(self, line: Line) -> float:
        """Its decades in a line; nan where it has no part of it."""
        found = [line.parts[part] for part in self.parts if part in line.parts]
        return sum(found) if found else math.nan


def columns(book: Ledger) -> list[Column]:
    """The parts that matter somewhere, in the order in which they come, the small ones together.

    Where there are many, those of a kind are one column. In each line the columns add up to the
    decades of the gradient.
    """
    lines = [line for line in book.shown() if line.reached]
    parts = [*dict.fromkeys(p for line in lines for p in line.parts if p != OPPOSITION)]
    large = [p for p in parts if max(abs(line.parts.get(p, 0.0)) for line in lines) >= LEAST]
    found = [Column(name_of_part(part), part[0], (part,)) for part in large]
    if len(found) > COLUMNS:
        kinds = dict.fromkeys(kind for kind, _ in large)
        found = [_together(SHOWN.get(k, k), k, [p for p in parts if p[0] == k]) for k in kinds]
    taken = {part for column in found for part in column.parts}
    rest = [part for part in parts if part not in taken]
    found += [_together("rest", "rest", rest)] if rest else []
    if any(abs(line.parts.get(OPPOSITION, 0.0)) >= SEEN for line in lines):
        found.append(Column("opposition", "opposition", (OPPOSITION,)))
    return found


def _together(name: str, kind: str, parts: Sequence[Part]) -> Column:
    """A column of several parts; of one, it has the name of that."""
    if len(parts) == 1:
        return Column(name_of_part(parts[0]), parts[0][0], tuple(parts))
    return Column(name, kind, tuple(parts))


class Scale(NamedTuple):
    """From decades to pixels."""

    low: float
    high: float
    width: float

    def __call__(self, decades: float) -> float:
        return (decades - self.low) / (self.high - self.low) * self.width


def bars(c: Checkup, width: int = WIDE) -> str:
    """A bar a layer, from the last to the first as in the table; "" where none has a gradient."""
    last, between, first = _both_ends([*c.ledger.shown()], MOST_BARS)
    lines = [*last, *first]
    drawn = [line for line in lines if _is_drawn(line)]
    if not drawn:
        return ""
    found = columns(c.ledger)
    scale = _scale(drawn, found, width)
    body, y = _flowed([*_legend(found)], 14.0, width)
    body += _numbers(scale, y + 14)
    y += 24
    for k, line in enumerate(lines):
        if between and k == len(last):
            body.append(_text(0, y + 12, f"{count(between, 'layer')} between them", GREY))
            y += 24
        part, y = _bar(line, found, scale, y) if _is_drawn(line) else _without(line, y)
        body += part
    return _sheet(width, y, body, "The decades of the gradient by layer, and what made them")


def _both_ends(lines: list[Line], most: int) -> tuple[list[Line], int, list[Line]]:
    """The first and the last of many lines, and how many lie between them: never 1."""
    if len(lines) <= most + 1:
        return lines, 0, []
    half = most // 2
    return lines[:half], len(lines) - 2 * half, lines[-half:]


def _is_drawn(line: Line) -> bool:
    return line.moved > 0 and math.isfinite(line.decades)


def _scale(lines: Sequence[Line], found: Sequence[Column], width: float) -> Scale:
    """Room for the longest bars to both sides of 0, at least a decade in all."""
    sums = [[x for x in (column.of(line) for column in found) if x == x] for line in lines]
    low = min(sum(x for x in line if x < 0) for line in sums)
    high = max(sum(x for x in line if x > 0) for line in sums)
    spare = max(1.0 - (high - low), 0.0) + 0.04 * (high - low)
    return Scale(low - spare / 2, high + spare / 2, width)


def _ticks(scale: Scale) -> list[float]:
    """Round numbers of decades, so many that they have room."""
    span, room = scale.high - scale.low, scale.width / 40
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200)
    step = next((step for step in steps if span / step <= room), span)
    first, last = math.ceil(scale.low / step), math.floor(scale.high / step)
    return [round(step * k, 1) for k in range(first, last + 1)]


def _numbers(scale: Scale, y: float) -> Iterator[str]:
    """The numbers of the axis, except those that would be cut off."""
    for tick in _ticks(scale):
        words = f"{tick:+g}" if tick else "0"
        half = width_of(words, 10) / 2
        if half <= scale(tick) + 2 and scale(tick) + half <= scale.width + 2:
            yield _text(scale(tick), y, words, GREY, 10, "middle")


def _axis(scale: Scale, top: float) -> Iterator[str]:
    """Thin lines behind a bar, a strong one at 0."""
    for tick in _ticks(scale):
        ink = NEURON if tick else LINE
        yield f'<path d="M{_n(scale(tick))} {_n(top - 5)}v{BAR + 10}" stroke="{ink}"/>'


def _legend(found: Sequence[Column]) -> Iterator[tuple[str, str]]:
    """The fills of the kinds that occur, and their words."""
    words = {
        "loss": "the loss", "weights": "sizes of weights", "saturation": "saturated slopes",
        "sigmoid ceiling": "the sigmoid's ¼", "opposition": "opposition of paths",
        "rest": "small parts together",
    }  # fmt: skip
    for kind in dict.fromkeys(column.kind for column in found):
        yield KINDS[kind], words.get(kind, SHOWN.get(kind, kind))
    yield "", "their sum"


def _bar(line: Line, found: Sequence[Column], scale: Scale, y: float) -> tuple[list[str], float]:
    """The name of a layer, its bar, and below it the names that have no room inside."""
    outside, top = [], y + 26
    body = [*_name(line, f"{line.decades:+.2f} decades{_of_share(line)}", y), *_axis(scale, top)]
    for column, start, end in _stacked(line, found):
        left, right = sorted((scale(start), scale(end)))
        words, fill = f"{column.name} {end - start:+.2f}", KINDS[column.kind]
        box = _rect(left, top, max(right - left, 0.5), BAR, fill, LINE)
        body.append(f"<g><title>{_escaped(words)}</title>{box}</g>")
        if width_of(words, 11) + 8 <= right - left:
            body.append(_text((left + right) / 2, top + 13, words, INK, 11, "middle"))
        elif abs(end - start) >= SEEN:
            outside.append((fill, words))
    body.append(_sum(scale(line.decades), top))
    names, end = _flowed(outside, top + BAR + 16, scale.width)
    return body + names, end + 8


def _stacked(line: Line, found: Sequence[Column]) -> Iterator[tuple[Column, float, float]]:
    """The parts of a line from where to where: those below 0 to its left, the others to its right.

    The nearest to 0 are the first.
    """
    ends = {True: 0.0, False: 0.0}
    for column in found:
        size = column.of(line)
        if size and math.isfinite(size):
            start = ends[size < 0]
            ends[size < 0] = start + size
            yield column, start, start + size


def _sum(x: float, y: float) -> str:
    """A triangle that stands on a bar."""
    return f'<path d="M{_n(x)} {_n(y)}l-5 -7h10z" fill="{INK}"/>'


def _without(line: Line, y: float) -> tuple[list[str], float]:
    """The line of a layer that has no bar, and why."""
    if not line.reached:
        words = "no gradient comes here"
    elif not line.moved:
        words = "all paths cancel each other: its gradient is 0"
    else:
        words = "its gradient isn't finite"
    return [*_name(line, words, y)], y + 28


def _name(line: Line, words: str, y: float) -> Iterator[str]:
    name = squeeze(clean(line.layer or "it"), 18)
    yield _text(0, y + 12, name, strong=True)
    yield _text(width_of(name, 12, True) + 8, y + 12, words, size=11)


def _of_share(line: Line) -> str:
    return "" if line.moved == 1.0 else f", where it isn't 0: in {percent(line.moved)}"


def _flowed(items: Sequence[tuple[str, str]], y: float, width: float) -> tuple[list[str], float]:
    """Fills with words, in lines that are full; and where the next thing may begin."""
    body, x = [], 0.0
    for fill, words in items:
        words = squeeze(clean(words), 52)
        room = 15 + width_of(words, 11)
        if x and x + room > width:
            x, y = 0.0, y + CHIP
        body.append(_rect(x, y - 9, 10, 10, fill, LINE) if fill else _sum(x + 5, y))
        body.append(_text(x + 15, y, words, size=11))
        x += room + 13
    return body, y + 6 if items else y - 10


# --- SVG -----------------------------------------------------------------------------------------


def _sheet(width: float, height: float, body: Sequence[str], title: str) -> str:
    """A picture with its ground, in the colours that a reader prefers."""
    size = f'viewBox="-2 -2 {_n(width + 4)} {_n(height + 4)}" width="{_n(width + 4)}"'
    lines = "\n".join([_rect(-2, -2, width + 4, height + 4, PAPER), *body])
    return with_dark_scheme(as_wide_as_reckoned(
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} style="max-width:100%" role="img" '
        f'font-family="Helvetica,Arial,sans-serif"><title>{title}</title>\n{lines}\n</svg>'
    ))  # fmt: skip


def _text(
    x: float, y: float, words: str, ink: str = INK, size: float = 12, anchor: str = "",
    strong: bool = False,
) -> str:  # fmt: skip
    weight = ' font-weight="bold"' * strong
    marks = f' text-anchor="{anchor}"' * bool(anchor)
    place = f'x="{_n(x)}" y="{_n(y)}"{weight} font-size="{_n(size)}" fill="{ink}"{marks}'
    return f"<text {place}>{_escaped(words)}</text>"


def _rect(x: float, y: float, width: float, height: float, fill: str, stroke: str = "") -> str:
    edge = f' stroke="{stroke}" stroke-width="0.7"' if stroke else ""
    place = f'x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"'
    return f'<rect {place} fill="{fill}"{edge}/>'


def _escaped(words: str) -> str:
    return html.escape(clean(words))


def _n(x: float) -> str:
    """A coordinate, as short as it can be."""
    return f"{round(x, 1):g}"
