"""Pictures made at home where they are shown: a notebook's cell, a dark scheme, a browser."""

from __future__ import annotations

import base64
import html
import re
from typing import TYPE_CHECKING

from microgradx.pictures.markup import width_of
from microgradx.pictures.style import DARK

if TYPE_CHECKING:
    from pathlib import Path


TEXT = re.compile(r'<text([^>]*) font-size="([\d.]+)"([^>]*)>([^<]*[^<\s][^<]*)</text>')


def fitted(svg: str) -> str:
    """An SVG that is no wider than the cell or the page that it stands in."""
    size, style = r'width="([\d.]+)pt" height="[\d.]+pt"', r'style="width:\1pt;max-width:100%"'
    return re.sub(size, style, svg, count=1)


def as_wide_as_reckoned(svg: str) -> str:
    """An SVG whose texts are as wide as the layout has reckoned, whatever font shows them.

    Where Helvetica and its like are missing, wider letters would run into each other.
    """

    def fixed(match: re.Match[str]) -> str:
        before, size, after, text = match.groups()
        width = width_of(html.unescape(text), float(size), strong='"bold"' in before)
        length = f'textLength="{width:.1f}" lengthAdjust="spacingAndGlyphs"'
        return f'<text{before} font-size="{size}"{after} {length}>{text}</text>'

    return TEXT.sub(fixed, svg)


def with_dark_scheme(svg: str) -> str:
    """An SVG that changes its colours, one by one, where a reader prefers dark ones."""
    rules = [
        f'[{kind}="{light}"]{{{kind}:{dark}}}'
        for light, dark in DARK.items()
        for kind in ("fill", "stroke")
        if f'{kind}="{light}"' in svg
    ]
    scheme = f"<style>@media (prefers-color-scheme:dark){{{''.join(rules)}}}</style>"
    start = svg.index(">", svg.index("<svg")) + 1
    return svg[:start] + scheme + svg[start:] if rules else svg


def in_base64(content: bytes) -> str:
    """Bytes as a notebook stores them."""
    return base64.b64encode(content).decode()


def as_page(title: str, body: str) -> str:
    """An HTML page of its own."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}</title>\n<style>:root {{ color-scheme: light dark; }} "
        "body { margin: 1rem auto; max-width: 100rem; padding: 0 1rem; } "
        "pre { white-space: pre-wrap; }</style></head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def in_html(words: str, picture: str) -> str:
    """Words above a picture, as a part of a page."""
    return f"<pre>{html.escape(words)}</pre>\n{picture}" if words else picture


def in_page(svg: str) -> str:
    """An SVG as a part of a page, whose text can be found."""
    return fitted(svg[svg.index("<svg") :])


def in_cell(svg: str) -> str:
    """An SVG as one element: a notebook that is not trusted would keep the text of a bare one."""
    source = in_base64(fitted(svg).encode())
    return (
        f'<img src="data:image/svg+xml;base64,{source}" style="max-width:100%" '
        'alt="The picture is shown when this notebook is trusted, or its cell run again.">'
    )


def open_in_browser(page: str) -> Path:
    """Write a page to a file of its own and let the browser show that."""
    import tempfile
    import webbrowser
    from pathlib import Path

    file = Path(tempfile.mkdtemp(prefix="microgradx-")) / "shown.html"
    file.write_bytes(page.encode())
    webbrowser.open(file.as_uri())
    return file
