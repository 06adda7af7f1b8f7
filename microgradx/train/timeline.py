"""What became of each unit step by step, as a picture: a line a unit, a bar while it is shut."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from microgradx._base.text import clean, count, few, squeeze
from microgradx.pictures.markup import width_of
from microgradx.pictures.show import as_wide_as_reckoned, with_dark_scheme
from microgradx.pictures.style import GREY, INK, ORANGES, PALE, PAPER

WIDTH, LEFT, RIGHT = 720, 150, 12  # pixels: of all, of the names, and after the last step
PITCH, HEAD, MOST = 14, 26, 120  # of a line; of a layer's name; lines that are drawn
FILLS = {"dead": GREY, "saturated": ORANGES[0][1]}
TICKS = 6  # at most, between round numbers


class Bar(NamedTuple):
    """What a unit was from one step to another."""

    verdict: str
    start: int
    end: int


class Line(NamedTuple):
    """A unit: its layer, its number, and the bars of it."""

    layer: str
    neuron: str
    bars: list[Bar]


def drawn(lines: Sequence[Line], last: int) -> str:
    """The picture as SVG: units in which something happened, by layer in the order of the net."""
    told = [line for line in lines if line.bars]
    shown, more = few(told, MOST)
    body, y = [*_legend()], 34.0
    layer = None
    for line in shown:
        if line.layer != layer:
            layer, y = line.layer, y + HEAD
            body.append(_text(0, y - 6, squeeze(clean(line.layer), 24), 12, INK, True))
            body.append(_rect(LEFT, y - 10.5, WIDTH - LEFT - RIGHT, 1, PALE))
        body += _line(line, y, last)
        y += PITCH
    rest = len(lines) - len(told)
    notes = [f"and {count(more, 'more unit')}"] if more else []
    if rest:
        notes.append(f"{count(rest, 'unit')} stayed on all the time")
    y += 4
    body += _axis(y, last)
    for note in notes:
        body.append(_text(LEFT, y + 40, note, 11, GREY))
        y += 16
    title = "<title>Which units were dead or saturated, step by step</title>"
    height = y + 34
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" style="max-width:100%" role="img" font-family="Helvetica, Arial, '
        f'sans-serif">{title}<rect width="{WIDTH}" height="{height:.0f}" fill="{PAPER}"/>'
        + "".join(body)
        + "</svg>\n"
    )
    return with_dark_scheme(as_wide_as_reckoned(svg))


def _legend() -> Iterator[str]:
    x = float(LEFT)
    for name, fill in FILLS.items():
        yield _rect(x, 8, 22, 10, fill)
        yield _text(x + 28, 17, name, 12, INK)
        x += 28 + width_of(name, 12, False) + 24


def _line(line: Line, y: float, last: int) -> Iterator[str]:
    yield _text(LEFT - 8, y + 9, line.neuron, 11, INK, end=True)
    yield _rect(LEFT, y + 5, WIDTH - LEFT - RIGHT, 1, PALE)
    for bar in line.bars:
        left, right = _x(bar.start, last), _x(bar.end, last)
        words = f"{line.layer} {line.neuron}: {bar.verdict}, steps {bar.start} to {bar.end}"
        yield f"<g><title>{html.escape(words)}</title>"
        yield _rect(left, y, max(right - left, 2.0), 10, FILLS[bar.verdict]) + "</g>"


def _axis(y: float, last: int) -> Iterator[str]:
    apart = next(x for e in range(20) for x in (10**e, 2 * 10**e, 5 * 10**e) if x * TICKS >= last)
    steps = [*range(0, last - apart // 2, apart), last]
    yield _rect(LEFT, y, WIDTH - LEFT - RIGHT, 1, GREY)
    for step in steps:
        x = _x(step, last)
        yield _rect(x, y, 1, 5, GREY)
        anchor = "start" if step == 0 else "end" if step == last else "middle"
        words = f"step {step:,}" if step == last else f"{step:,}"
        yield (
            f'<text x="{x:.1f}" y="{y + 18:.1f}" font-size="11" fill="{GREY}" '
            f'text-anchor="{anchor}">{words}</text>'
        )


def _x(step: int, last: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * step / max(last, 1)


def _rect(x: float, y: float, width: float, height: float, fill: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"/>'
    )


def _text(
    x: float, y: float, words: str, size: int, fill: str, strong: bool = False, end: bool = False
) -> str:
    weight = ' font-weight="bold"' * strong
    anchor = ' text-anchor="end"' * end
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}"{weight}{anchor}>'
        f"{html.escape(words)}</text>"
    )
