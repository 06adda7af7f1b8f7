"""The look of a picture, in one place: its colours, and its text as Graphviz takes it."""

from __future__ import annotations

import math
from collections.abc import Iterable

from microgradx._base.text import clean, clip, short

# Fill of a node by the decade of its gradient (ColorBrewer's Blues), largest first.
BLUES = ("#08519c", "#2171b5", "#4292c6", "#6baed6", "#9ecae1", "#c6dbef", "#deebf7", "#f2f7fc")
WHITE, BLACK = "#ffffff", "#000000"
INK, LINE = "#1a1a1a", "#333333"  # text, and the lines of what a gradient reaches
GREY, FAINT, PALE = "#6b6b6b", "#bdbdbd", "#ececec"  # of what it does not: text, lines, fill
LAYER, NEURON = "#9a9a9a", "#d0d0d0"  # frames
VERMILLION, YELLOW = "#c04e00", "#f0e442"  # a STOP, what is not finite
# Lines where a picture explains: the strongest path, a factor that weakens or strengthens, others.
STRONGEST, WEAKER, STRONGER, EVEN, AWAY = INK, "#2166ac", "#b35806", GREY, "#d9d9d9"
SHARES = [  # for the legend
    (STRONGEST, "strongest path"), (WEAKER, "weakens"), (STRONGER, "strengthens"),
    (EVEN, "width, %: share of all paths; dashed: opposes"),
]  # fmt: skip

# Fill, text and border of a box by its state, a shade of blue or a word, in the legend's order.
LOOKS: dict[int | str, tuple[str, str, str]] = {
    **{i: (fill, INK if i > 1 else WHITE, "solid") for i, fill in enumerate(BLUES)},
    "detached": (PALE, GREY, "dotted"),
    "grad is 0": (WHITE, INK, "dashed"),
    "no backward yet": (WHITE, INK, "dotted"),
    "not finite": (YELLOW, BLACK, "bold"),
    "starved": (PALE, GREY, "solid"),
}

# A backslash is doubled, because Graphviz expands \N and \n in such labels too.
MARKUP = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "\\": "&#92;&#92;"}
)
WIDTH, LINES = 120, 6  # of a text in a picture; the rest is cut off


class Scale:
    """The shades of sizes: 0 for the largest decade there is, at most 7 for the smallest."""

    def __init__(self, sizes: Iterable[float]) -> None:
        decades = [decade(size) for size in sizes if 0 < size < math.inf] or [0]
        self.top = max(decades)
        self.step = (self.top - min(decades)) // len(BLUES) + 1  # decades in a shade

    def shade(self, size: float) -> int:
        """The shade of a size that is neither 0 nor inf."""
        return (self.top - decade(size)) // self.step

    def floor(self, shade: int) -> str:
        """The least size of a shade, for a legend."""
        power = self.top - (shade + 1) * self.step + 1
        return short(10.0**power) if abs(power) < 300 else f"1e{power}"


def decade(size: float) -> int:
    """The whole power of ten at or below a size."""
    return math.floor(math.log10(size) + 1e-9)  # 0.99999999999 is drawn as 1


def escape(text: str) -> str:
    """Text that stays text: no tag, no entity, no control character of its own."""
    lines = [clip(line, WIDTH) for line in str(text).splitlines()] or [""]
    if len(lines) > LINES:
        lines[LINES - 1 :] = ["…"]
    return "<br/>".join(clean(line).translate(MARKUP) for line in lines)


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
    return f'<td bgcolor="{fill}" border="1">{font(text, 10, ink)}</td>'
