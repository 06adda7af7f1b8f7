"""The look of a picture, in one place: its colours, and its text as Graphviz takes it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from microgradx._base.text import clean, clip, short

# One hex, one role, so that a dark scheme can swap them one by one.
# How much gradient there is: the fill by its decade, largest first.
BLUES = ("#4b9bcf", "#79b5dc", "#a3cde7", "#c6dff1", "#dfedf8", "#f2f7fc")
# How much a slope takes: the fill of a factor below each of these.
ORANGES = ((0.01, "#f0913a"), (0.1, "#fdc27a"), (0.5, "#fee6c3"))
STOP, ON_STOP = "#c04e00", "#fefefe"  # and the text that stands there alone
PAPER, INK, LINE = "#ffffff", "#1a1a1a", "#333333"  # ground, text, lines
GREY, FAINT, PALE = "#6b6b6b", "#bdbdbd", "#ececec"  # of what no gradient reaches: the same
LAYER, NEURON = "#9a9a9a", "#d0d0d0"  # frames
NOT_FINITE = "#f0e442"
# The strip of decades: what is left, what slopes and weights took or gave, what was lost before.
LEFT, BY_SLOPES, BY_WEIGHTS, GAINED, GROUND = (
    "#3a80b5", "#f0913a", "#fdd9a8", "#a3cde8", "#f4f4f4",
)  # fmt: skip
# Lines where a picture explains: the strongest path, a factor that weakens or strengthens, others.
STRONGEST, WEAKER, STRONGER, EVEN, AWAY = INK, "#2166ac", "#b35806", GREY, "#d9d9d9"
SHARES = [  # for the legend
    (STRONGEST, "strongest path"), (WEAKER, "weakens"), (STRONGER, "strengthens"),
    (EVEN, "width, %: share of all paths; dashed: opposes"),
]  # fmt: skip

# What each colour becomes where a reader prefers a dark scheme: more gradient is further from the
# ground in both. The text on a STOP stays.
DARK = {
    PAPER: "#12161b", INK: "#ececec", LINE: "#c8c8c8", GREY: "#a4abb3", PALE: "#262b31",
    GROUND: "#1b2026", LAYER: "#5c646d", FAINT: "#565e66", STOP: "#d2590a", NEURON: "#3a4048",
    **dict(zip(BLUES, ("#2b6ea1", "#28608c", "#214c6e", "#1b3a54", "#172b3d", "#141f2a"))),
    "#f0913a": "#9d5919", "#fdc27a": "#7d5620", "#fee6c3": "#493921", BY_WEIGHTS: "#5a4526",
    GAINED: "#33607f", NOT_FINITE: "#6b6400", WEAKER: "#7fb2ea", STRONGER: "#f0a35c",
    AWAY: "#3a4048",
}  # fmt: skip

# Fill, text and border of a box by its state, a shade of blue or a word, in the legend's order.
LOOKS: dict[int | str, tuple[str, str, str]] = {
    **{i: (fill, INK, "solid") for i, fill in enumerate(BLUES)},
    "detached": (PALE, GREY, "dotted"),
    "grad is 0": (PAPER, INK, "dashed"),
    "no backward yet": (PAPER, INK, "dotted"),
    "not finite": (NOT_FINITE, INK, "bold"),
    "starved": (PALE, GREY, "solid"),
}

# A backslash is doubled, because Graphviz expands \N and \n in such labels too.
MARKUP = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "\\": "&#92;&#92;"}
)
WIDTH, LINES = 120, 6  # of a text in a picture; the rest is cut off


class Look(NamedTuple):
    """A mark of a picture, for its legend: its fill, "" for words alone, its words, their ink."""

    fill: str
    words: str
    ink: str = INK


def stop_look(meaning: str) -> Look:
    """The mark of a place where the gradient stops, for a legend."""
    return Look(STOP, f"STOP: {meaning}", ON_STOP)


class Scale:
    """The shades of sizes: 0 for the largest decade there is, at most 5 for the smallest.

    used: the shades that were asked for
    """

    def __init__(self, sizes: Iterable[float]) -> None:
        decades = [decade(abs(size)) for size in sizes if 0 < abs(size) < math.inf] or [0]
        self.top = max(decades)
        self.step = (self.top - min(decades)) // len(BLUES) + 1  # decades in a shade
        self.used: set[int] = set()
        self.is_spoilt = False  # whether one was not finite

    def shade(self, size: float) -> int:
        """The shade of a size that is neither 0 nor inf."""
        shade = min(max(self.top - decade(size), 0) // self.step, len(BLUES) - 1)
        self.used.add(shade)
        return shade

    def fill(self, grad: float) -> str:
        """The colour of a gradient; of 0 and of what is not finite their own."""
        if not math.isfinite(grad):
            self.is_spoilt = True
            return NOT_FINITE
        return BLUES[self.shade(abs(grad))] if grad else PALE

    def floor(self, shade: int) -> str:
        """The least size of a shade, for a legend."""
        return power(self.top - (shade + 1) * self.step + 1)


def power(decade: int) -> str:
    """A power of ten in words."""
    return short(10.0**decade) if abs(decade) < 300 else f"1e{decade}"


def slope_fill(slope: float) -> str:
    """The colour of a slope: the less gets through, the darker."""
    return next((fill for below, fill in ORANGES if abs(slope) < below), PAPER)


def decade(size: float) -> int:
    """The whole power of ten at or below a size."""
    return math.floor(math.log10(size) + 1e-9)  # 0.99999999999 is drawn as 1


def escape(text: str) -> str:
    """Text that stays text: no tag, no entity, no control character of its own.

    Of nothing but line ends a mark is left, as of a control character: Graphviz takes no empty tag.
    """
    lines = [clip(line, WIDTH) for line in str(text).splitlines()]
    if not any(lines):
        return clean(str(text)[:1])
    if len(lines) > LINES:
        lines[LINES - 1 :] = ["…"]
    return "<br/>".join(_markup(clean(line)) for line in lines)


def _markup(line: str) -> str:
    """A line with entities; of ] alone too, which Graphviz before 3.0 can't read otherwise."""
    return line.translate(MARKUP) if line.strip("]") else "&#93;" * len(line)


def row(content: str, attributes: str = "") -> str:
    """A table's row of one cell, of marked-up content; nothing for none."""
    return f"<tr><td{attributes}>{content}</td></tr>" if content else ""


def bold(text: str) -> str:
    """Text in bold; nothing for none."""
    return f"<b>{escape(text)}</b>" if text else ""


def font(text: str, size: int, colour: str = "", strong: bool = False) -> str:
    """Text of a size in points, in a colour, in bold; nothing for none."""
    ink = f' color="{colour}"' if colour else ""
    content = bold(text) if strong else escape(text)
    return f'<font point-size="{size}"{ink}>{content}</font>' if text else ""


def swatch(fill: str, text: str, ink: str) -> str:
    """A filled cell of a table's row."""
    return f'<td bgcolor="{fill}" border="1" color="{LAYER}">{font(text, 10, ink)}</td>'
