"""Two pictures of a check-up, as SVG: its neurons layer by layer, and the ledger as bars."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from microgradx._base.text import clean, count, fixed, squeeze
from microgradx.diagnosis.ledger import OPPOSITION, Line, Part, name_of_part
from microgradx.pictures.markup import width_of
from microgradx.pictures.show import with_dark_scheme
from microgradx.pictures.style import (
    BY_SLOPES,
    BY_WEIGHTS,
    FAINT,
    GAINED,
    GREY,
    INK,
    LEFT,
    NEURON,
    ON_STOP,
    ORANGES,
    PALE,
    STOP,
)  # fmt: skip

if TYPE_CHECKING:
    from microgradx.diagnosis.result import Checkup

WIDTH = 480  # of a picture, in units that a desktop shows larger and a phone smaller
TEXT, SMALL = 13, 11  # sizes of letters
LEAST = 0.05  # decades: a part that is smaller everywhere gets no colour of its own
DRAWN = 2048  # cells of a layer; of a larger one only the sick are drawn
FONT = "Helvetica,Arial,sans-serif"

# How often a neuron is off, or saturated: the fill from each share of the rows on.
SHADES = ((0.0, PALE), (0.05, ORANGES[2][1]), (0.5, ORANGES[1][1]), (0.95, ORANGES[0][1]))
WORDS = ("below 5 % of the rows", "5 %", "50 %", "95 %")

# By kind of factor; what makes gradients larger is blue.
COLOURS = {
    "saturation": BY_SLOPES, "sigmoid ceiling": ORANGES[1][1], "gates": STOP,
    "weights": BY_WEIGHTS, "loss": FAINT, "opposition": GREY,
}  # fmt: skip
OTHERS = NEURON


class Cell(NamedTuple):
    """One neuron: its number, how often it is off or saturated, and its verdict."""

    number: str
    off: float
    saturated: float
    verdict: str

    @property
    def words(self) -> str:
        """For a pointer that rests on it."""
        off = f"off in {100 * self.off:.3g} % of the rows" if self.off or not self.saturated else ""
        shut = f"saturated in {100 * self.saturated:.3g} %" if self.saturated else ""
        facts = ", ".join(x for x in (self.verdict, off, shut) if x)
        return f"{self.number}: {facts}"


class _Canvas:
    """An SVG that grows downwards."""

    def __init__(self) -> None:
        self.y, self.parts = 4.0, list[str]()

    def text(
        self, text: str, x: float = 0.0, size: int = TEXT, ink: str = INK, **more: str
    ) -> None:
        """A line of text, above the current height."""
        attributes = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
        self.parts.append(
            f'<text x="{x:g}" y="{self.y:g}" font-size="{size}" fill="{ink}"{attributes}>'
            f"{html.escape(clean(text))}</text>"
        )

    def line(self, text: str, size: int = TEXT, ink: str = INK, **more: str) -> None:
        """A line of text of its own."""
        self.y += size + 3
        self.text(squeeze(text, int(WIDTH / (0.5 * size))), 0.0, size, ink, **more)

    def box(
        self, x: float, y: float, width: float, height: float, fill: str, hint: str = ""
    ) -> None:
        inner = f"<title>{html.escape(clean(hint))}</title>" if hint else ""
        size = f'x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}"'
        self.parts.append(f'<rect {size} fill="{fill}">{inner}</rect>')

    def svg(self, words: str) -> str:
        """The picture, and what it is in words for those who can't see it."""
        height = math.ceil(self.y + 8)
        return with_dark_scheme(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH * 1.25:g}pt" height="{height * 1.25:g}pt" role="img" '
            f'font-family="{FONT}" aria-label="{html.escape(clean(words))}">'
            f"{''.join(self.parts)}</svg>"
        )


# --- the neurons ---------------------------------------------------------------------------------


def neurons(c: Checkup) -> str:
    """A strip of cells a layer, a cell a neuron; "" where the net has no activation."""
    layers: dict[str, list[Cell]] = {}
    names: dict[str, str] = {}
    for row in c.neurons.rows:
        layers.setdefault(row["layer"], []).append(
            Cell(str(row["neuron"]), row["off"], row["saturated"], row["verdict"])
        )
        names[row["layer"]] = row["activation"]
    if not layers:
        return ""
    canvas = _Canvas()
    for layer, cells in layers.items():
        _strip(canvas, layer, names[layer], cells)
    _legend(canvas)
    return canvas.svg("; ".join(_counts(layer, cells) for layer, cells in layers.items()))


def _counts(layer: str, cells: Sequence[Cell]) -> str:
    """`layers.0: 14 dead, 2 saturated of 64`"""
    facts = [
        f"{n} {verdict}"
        for verdict in ("dead", "saturated")
        if (n := sum(cell.verdict == verdict for cell in cells))
    ]
    return f"{layer}: {', '.join(facts) or 'none dead or saturated'} of {len(cells):,}"


def _strip(canvas: _Canvas, layer: str, op: str, cells: Sequence[Cell]) -> None:
    canvas.y += 4
    canvas.line(f"{_counts(layer, cells)} ({op})", font_weight="bold")
    if len(cells) > DRAWN:
        sick = [cell for cell in cells if cell.verdict]
        canvas.line(f"only the {count(len(sick), 'sick neuron')} drawn", SMALL, GREY)
        cells = sick[:DRAWN]
    if all(max(cell.off, cell.saturated) < SHADES[1][0] for cell in cells):
        return  # each would be of the faintest shade
    columns = 32 if len(cells) <= 128 else 48 if len(cells) <= 512 else 64
    size = WIDTH / columns
    top = canvas.y + 5
    for k, cell in enumerate(cells):
        x, y = size * (k % columns), top + size * (k // columns)
        _neuron(canvas, cell, x, y, size)
    canvas.y = top + size * math.ceil(len(cells) / columns)


def _neuron(canvas: _Canvas, cell: Cell, x: float, y: float, size: float) -> None:
    share, inner = max(cell.off, cell.saturated), size - 1.0
    fill = STOP if cell.verdict == "dead" else next(
        colour for least, colour in reversed(SHADES) if share >= least
    )  # fmt: skip
    canvas.box(x, y, inner, inner, fill, cell.words)
    if cell.verdict == "dead":
        _cross(canvas, x, y, inner)
    elif cell.verdict == "saturated":
        canvas.box(x + 0.2 * inner, y + 0.4 * inner, 0.6 * inner, 0.2 * inner, INK)


def _cross(canvas: _Canvas, x: float, y: float, size: float) -> None:
    a, b = 0.28 * size, 0.72 * size
    canvas.parts.append(
        f'<path d="M{x + a:.2f} {y + a:.2f}L{x + b:.2f} {y + b:.2f}M{x + b:.2f} {y + a:.2f}'
        f'L{x + a:.2f} {y + b:.2f}" stroke="{ON_STOP}" stroke-width="{0.13 * size:.2f}"/>'
    )


def _legend(canvas: _Canvas) -> None:
    """The shades, and the two marks."""
    canvas.y += 20
    x = 0.0
    for (_, fill), words in zip(SHADES, WORDS):
        x = _key(canvas, x, fill, words)
    canvas.y += 17
    end = _key(canvas, 0.0, STOP, "dead: off in every row")
    _cross(canvas, 0.0, canvas.y - 9, 10)
    _key(canvas, end, SHADES[2][1], "saturated in half of the rows or more")
    canvas.box(end + 2, canvas.y - 5, 6, 2, INK)


def _key(canvas: _Canvas, x: float, fill: str, words: str) -> float:
    """A swatch and its words; returns where the next may begin."""
    canvas.box(x, canvas.y - 9, 10, 10, fill)
    canvas.text(words, x + 14, SMALL)
    return x + 14 + 1.06 * width_of(words, SMALL) + 12


# --- the ledger ----------------------------------------------------------------------------------


def ledger(c: Checkup) -> str:
    """A bar a layer, of the parts that make its gradient smaller or larger; "" without layers."""
    lines = [*c.ledger.shown()]
    if not lines:
        return ""
    parts = _parts(lines)
    left = max(-sum(min(x, 0.0) for x in _numbers(line)) for line in lines)
    right = max(sum(max(x, 0.0) for x in _numbers(line)) for line in lines)
    scale = WIDTH / max(left + right, 1e-9)
    canvas = _Canvas()
    for line in lines:
        _bar(canvas, line, parts, left * scale, scale)
    said = [f"{line.layer}: {fixed(line.decades, 2)} decades" for line in lines if line.reached]
    return canvas.svg("; ".join(said) or "no gradient")


def _numbers(line: Line) -> list[float]:
    return [x for x in line.parts.values() if math.isfinite(x)]


def _parts(lines: Iterable[Line]) -> list[Part]:
    """Those that matter somewhere, in the order in which they come, the opposition last."""
    found: dict[Part, float] = {}
    for line in lines:
        for part, x in line.parts.items():
            if math.isfinite(x):
                found[part] = max(found.get(part, 0.0), abs(x))
    large = [part for part, x in found.items() if x >= LEAST and part != OPPOSITION]
    return [*large, OPPOSITION]


def _bar(canvas: _Canvas, line: Line, parts: Sequence[Part], zero: float, scale: float) -> None:
    """The title of a layer, its bar, and its parts with their numbers."""
    canvas.y += 6
    name = line.layer or "it"
    if not line.reached:
        canvas.line(f"{name}: no gradient comes here in any row", font_weight="bold")
        return
    share = f", {100 * line.moved:.3g} % of it not 0" if line.moved < 1.0 else ""
    canvas.line(f"{name}: {fixed(line.decades, 2)} decades{share}", font_weight="bold")
    shown = [(part, line.parts[part]) for part in parts if part in line.parts]
    rest = sum(x for part, x in line.parts.items() if part not in {*parts})
    terms = [(name_of_part(part), part[0], x) for part, x in shown]
    terms += [("rest", "", rest)] if abs(rest) >= LEAST else []
    _segments(canvas, terms, zero, scale)
    _numbers_below(canvas, terms)


Term = tuple[str, str, float]  # a name, a kind and decades


def _segments(canvas: _Canvas, terms: Sequence[Term], zero: float, scale: float) -> None:
    left = right = zero
    top = canvas.y + 5
    for name, kind, x in terms:
        if not math.isfinite(x):
            continue
        size = abs(x) * scale
        start = right if x > 0 else left - size
        canvas.box(start, top, size, 14, _colour(kind, x), f"{name} {_signed(x)}")
        left, right = (left, right + size) if x > 0 else (left - size, right)
    canvas.box(min(max(zero - 0.75, 0.0), WIDTH - 1.5), top - 2, 1.5, 18, INK)
    canvas.y = top + 16


def _colour(kind: str, x: float) -> str:
    if kind in ("loss", "opposition"):
        return COLOURS[kind]
    return LEFT if x > 0 and kind == "weights" else GAINED if x > 0 else COLOURS.get(kind, OTHERS)


def _numbers_below(canvas: _Canvas, terms: Sequence[Term]) -> None:
    """Swatches with names and numbers, in as many lines as they take."""
    x = WIDTH + 1.0
    for name, kind, decades in terms:
        words = f"{squeeze(name, 32)} {_signed(decades)}"
        width = 14 + 1.06 * width_of(words, SMALL) + 10
        if x + width > WIDTH:
            x, canvas.y = 0.0, canvas.y + SMALL + 4
        x = _key(canvas, x, _colour(kind, decades), words)


def _signed(x: float) -> str:
    return f"{x:+.2f}" if math.isfinite(x) else f"{x}"
