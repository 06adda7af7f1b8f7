"""Text for a Graphviz label, in its HTML-like form: what a user writes stays text."""

from __future__ import annotations

from microgradx._base.text import clip

# A backslash is doubled, because Graphviz expands \N and \n in such labels too.
MARKUP = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "\\": "&#92;&#92;"}
)
WIDTH, LINES = 120, 6  # of a text in a picture; the rest is cut off


def escape(text: str) -> str:
    """Text that stays text: no tag, no entity, no control character of its own."""
    lines = [clip(line, WIDTH) for line in str(text).splitlines()] or [""]
    if len(lines) > LINES:
        lines[LINES - 1 :] = ["…"]
    clean = ["".join(c if c.isprintable() else "\ufffd" for c in line) for line in lines]
    return "<br/>".join(line.translate(MARKUP) for line in clean)


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
