"""Graphviz's tables and texts, as functions; and how wide a text will be."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from microgradx.pictures.style import INK, PAPER, escape

# Widths of Helvetica's letters in thousandths of the size, by its font metrics (Adobe 1989).
LETTERS = {
    **dict.fromkeys("ijl'", 222), **dict.fromkeys(" .,:;!/I|ft[]\\", 278), "-": 333, "r": 333,
    **dict.fromkeys("()", 333), **dict.fromkeys("cksvxyzJ", 500), **dict.fromkeys("+=<>~×·≥", 584),
    **dict.fromkeys("KABEPSVXY&", 667), **dict.fromkeys("CDHNRUw", 722),
    **dict.fromkeys("GOQ", 778), **dict.fromkeys("TFZ", 611), "m": 833, "M": 833, "W": 944,
    "%": 889, "…": 1000,
}  # fmt: skip
OTHER = 556  # a digit, and most small letters
BOLD = 1.07
LEFT = {"align": "left", "balign": "left"}  # of a cell's content
RIGHT = {"align": "right", "balign": "right"}


def width_of(text: str, size: float, strong: bool = False) -> float:
    """About how wide a line of text is, in points."""
    thousandths = sum([LETTERS.get(letter, OTHER) for letter in text])
    return thousandths * size / 1000 * (BOLD if strong else 1.0)


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


def block(width: float, height: float, fill: str) -> str:
    """A rectangle of exactly this size, in points."""
    size = {"width": round(width), "height": round(height)}
    return (
        f"<td{_attributes({'cellpadding': 0, 'fixedsize': 'true', 'bgcolor': fill, **size})}></td>"
    )


def row(*cells: str) -> str:
    return f"<tr>{''.join(cells)}</tr>"


def table(rows: Iterable[str], **attributes: Any) -> str:
    """A table without frames and pads unless they are given."""
    given = {"border": 0, "cellborder": 0, "cellspacing": 0, "cellpadding": 0, **attributes}
    return f"<table{_attributes(given)}>{''.join(rows)}</table>"


def _attributes(attributes: dict[str, Any]) -> str:
    return "".join([f' {name}="{x}"' for name, x in attributes.items()])
