"""Graphviz's tables and texts, as functions; and how wide a text will be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from microgradx.pictures.style import INK, ON_STOP, PAPER, STOP, escape

# Widths of the letters from " " to "~" in thousandths of the size, Helvetica's and its bold's
# (Adobe's font metrics, 1989); of a few others, about.
PLAIN_WIDTHS = """
278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556
556 278 278 584 584 584 556 1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 667 778
722 667 611 722 667 944 667 667 611 278 278 278 469 556 333 556 556 500 556 556 278 556 556 222 222
500 222 833 556 556 556 556 333 500 278 556 500 722 500 500 500 334 260 334 584"""
BOLD_WIDTHS = """
278 333 474 556 556 889 722 238 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556
556 333 333 584 584 584 611 975 722 722 722 722 667 611 778 722 278 556 722 611 833 722 778 667 778
722 667 611 722 667 944 667 667 611 333 278 333 584 556 333 556 611 556 611 556 333 611 611 278 278
556 278 889 611 611 611 611 389 556 333 611 556 778 556 556 500 389 280 389 584"""
OTHERS = {"×": 584, "·": 278, "…": 1000, "≥": 549, "∂": 494, "–": 556, "\xa0": 278, "²": 333}
LETTERS = {
    strong: {**{chr(32 + i): int(x) for i, x in enumerate(widths.split())}, **OTHERS}
    for strong, widths in ((False, PLAIN_WIDTHS), (True, BOLD_WIDTHS))
}
LEFT = {"align": "left", "balign": "left"}  # of a cell's content
RIGHT = {"align": "right", "balign": "right"}


Tag = Callable[..., dict[str, str]]  # from a kind and what a cell is about to its attributes


def untagged(kind: str, *about: Any) -> dict[str, str]:
    """No name for a cell: only a page, which writes into them, needs one."""
    return {}


@lru_cache(maxsize=10_000)  # a layout is tried several times with the same texts
def width_of(text: str, size: float, strong: bool = False) -> float:
    """How wide a line of text is, in points."""
    return sum([LETTERS[strong].get(letter, 556) for letter in text]) * size / 1000


def words(
    text: str, size: int = 11, ink: str = INK, *, strong: bool = False, struck: bool = False
) -> str:
    """Text of a size in points; spaces at its ends stay; nothing for none."""
    if not text:
        return ""
    marked = escape(text)
    start, end = len(text) - len(text.lstrip(" ")), len(text) - len(text.rstrip(" "))
    marked = "&#160;" * start + marked.strip(" ") + "&#160;" * end
    marked = f"<b>{marked}</b>" if strong else f"<s>{marked}</s>" if struck else marked
    return f'{_lift(size, strong or struck)}<font point-size="{size}" color="{ink}">{marked}</font>'


def lines(texts: Iterable[str], size: int, ink: str) -> str:
    """Bold texts below each other."""
    fonts = [f'<font point-size="{size}" color="{ink}"><b>{escape(x)}</b></font>' for x in texts]
    return _lift(size, True) + "<br/>".join(fonts)


def _lift(size: int, wanted: bool) -> str:
    """A low line above bold or struck-out text, which stands too high in its cell without one."""
    return f'<font point-size="{max(size * 3 // 10, 1)}"> <br/></font>' if wanted else ""


def cell(content: str = "", **attributes: Any) -> str:
    """A table's cell, without a frame and with a pad of 1 unless they are given."""
    return f"<td{_attributes({'border': 0, 'cellpadding': 1, **attributes})}>{content}</td>"


def filled(content: str, fill: str, **attributes: Any) -> str:
    """A cell of a colour, with a thin white frame that keeps it apart from its neighbours."""
    return cell(content, **{"border": 1, "color": PAPER, "bgcolor": fill, **attributes})


def stop_cell(text: str = "STOP", /, **attributes: Any) -> str:
    """The cell of a place where the gradient stops: bold on vermilion."""
    return cell(words(text, 12, ON_STOP, strong=True), bgcolor=STOP, **attributes)


def block(width: float, height: float, fill: str) -> str:
    """A rectangle of exactly this size, in points."""
    size = {"width": round(width), "height": round(height)}
    return (
        f"<td{_attributes({'cellpadding': 0, 'fixedsize': 'true', 'bgcolor': fill, **size})}></td>"
    )


def row(*cells: str) -> str:
    """A table's row."""
    return f"<tr>{''.join(cells)}</tr>"


def table(rows: Iterable[str], **attributes: Any) -> str:
    """A table without frames and pads unless they are given."""
    given = {"border": 0, "cellborder": 0, "cellspacing": 0, "cellpadding": 0, **attributes}
    return f"<table{_attributes(given)}>{''.join(rows)}</table>"


def _attributes(attributes: dict[str, Any]) -> str:
    return "".join([f' {name}="{x}"' for name, x in attributes.items()])
