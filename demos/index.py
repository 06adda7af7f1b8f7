"""The page that leads from one demo to the next: question, answer, code, numbers, pictures."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import struct
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from demos.plumbing import Board, Item
from microgradx._base.files import write_whole


class Page(NamedTuple):
    """One demo: its name, its claim, its text, the number it found, its source and its board."""

    name: str
    title: str
    text: str
    found: str
    source: str
    board: Board


def write(pages: list[Page], out: Path) -> Path:
    """Write `index.html` beside the pictures that the demos have made; returns its path."""
    path = out / "index.html"
    write_whole(path, _page(pages).encode())
    return path


def _page(pages: list[Page]) -> str:
    rows = [
        f'<tr><td><a href="#{page.name}">{html.escape(page.title)}</a></td>'
        f"<td>{html.escape(page.found)}</td></tr>"
        for page in pages
    ]
    sections = [
        _section(page, *neighbours)
        for page, *neighbours in zip(pages, [None, *pages[:-1]], [*pages[1:], None])
    ]
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    return TEMPLATE.format(
        style=STYLE,
        script=SCRIPT,
        digest=digest,
        rows="\n".join(rows),
        sections="\n".join(sections),
    )


def _section(page: Page, before: Page | None, after: Page | None) -> str:
    back = _link(before, "prev", "← {}") if before else ""
    on = _link(after, "next", "{} →") if after else ""
    code = Path(page.source).read_text(encoding="utf-8")
    kinds = groupby(page.board.items, key=lambda item: item.kind)
    return f"""<section id="{page.name}">
<h2>{html.escape(page.title)}</h2>
{_prose(page.text)}
<details><summary>The code, {len(code.splitlines())} lines: <code>demos/{page.name}.py</code>
</summary><pre>{html.escape(code)}</pre></details>
{"".join(_items(kind, items, page.board.out) for kind, items in kinds)}
<nav><div>{back}</div><a href="#contents">contents</a><div>{on}</div></nav>
</section>"""


def _link(page: Page, way: str, words: str) -> str:
    return f'<a rel="{way}" href="#{page.name}">{words.format(html.escape(page.title))}</a>'


def _items(kind: str, items: Iterable[Item], out: Path) -> str:
    """The items of a board, neighbours of one kind together."""
    if kind == "words":
        return "<pre>" + "\n".join(html.escape(item.text) for item in items) + "</pre>"
    if kind == "claim":
        return "<ul>" + "".join(f"<li>{html.escape(item.text)}</li>" for item in items) + "</ul>"
    if kind == "picture":
        return f'<div class="pictures">{"".join(_figure(item, out) for item in items)}</div>'
    if kind == "page":
        links = (f'<a href="{item.file}">{html.escape(item.text)}</a>' for item in items)
        return "".join(f'<p class="page">{link}</p>' for link in links)
    return "".join(f'<p class="missing">{html.escape(item.text)}</p>' for item in items)


def _figure(item: Item, out: Path) -> str:
    """A picture, drawn by its PNG, which needs no fonts; a click leads to the SVG."""
    image = Path(item.file).with_suffix(".png").name
    width, height = struct.unpack(">II", (out / image).read_bytes()[16:24])
    tall = ' class="tall"' if height > width else ""
    return (
        f'<figure{tall}><a href="{item.file}">'
        f'<img src="{image}" width="{width * 4 // 5}" alt="{html.escape(item.alt)}"></a>'
        f"<figcaption>{_prose(item.text)}</figcaption></figure>"
    )


def _prose(text: str) -> str:
    """Paragraphs, with `code` in them."""
    marked = re.sub(r"`(.+?)`", r"<code>\1</code>", html.escape(text))
    return "".join(f"<p>{paragraph}</p>" for paragraph in marked.split("\n\n"))


STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fdfdfb; --pale: #f0f0ec;
        --link: #08519c; --good: #007a5a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e4e0; --paper: #17181a; --pale: #242629; --link: #9ecae1; --good: #5fd0ae; }
}
body { margin: 0 auto; max-width: 62rem; padding: 1rem 1.2rem 4rem; color: var(--ink);
       background: var(--paper); font: 1.05rem/1.55 system-ui, sans-serif; }
a { color: var(--link); }
h1, h2 { line-height: 1.2; }
table { border-collapse: collapse; width: 100%; }
td { padding: .4rem .8rem .4rem 0; vertical-align: top; border-top: 1px solid var(--pale);
     width: 50%; }
section { border-top: 3px solid var(--pale); margin-top: 1rem; padding-top: .5rem; }
@media screen {  /* one claim at a time, and before one is chosen the contents */
  section { display: none; }
  section:target { display: block; border: 0; }
  body:has(section:target) > header { display: none; }
}
pre { background: var(--pale); padding: .8rem 1rem; overflow-x: auto;
      font: .82rem/1.4 ui-monospace, monospace; border-radius: 4px; white-space: pre-wrap; }
details pre { white-space: pre; }
code { font-family: ui-monospace, monospace; font-size: .92em; }
ul { list-style: none; padding: 0; }
li { padding-left: 3.6rem; text-indent: -3.6rem; }
li::before { content: "holds"; color: var(--good); font-weight: 600; margin-right: .7em; }
.pictures { display: flex; flex-wrap: wrap; gap: 1.5rem; margin: 1.5rem 0; }
figure { flex: 1 1 100%; margin: 0; }
figure.tall { flex: 1 1 18rem; }
img { display: block; max-width: 100%; max-height: 72vh; width: auto; height: auto; margin: 0 auto;
      background: #fff; padding: .5rem; box-sizing: border-box; border-radius: 4px; }
figcaption { font-size: .95rem; margin-top: .5rem; }
figcaption p { margin: 0; }
.page a { font-weight: 600; }
.missing { font-style: italic; }
nav { display: flex; justify-content: space-between; gap: 1.5rem; margin-top: 1.5rem;
      font-size: .92rem; }
nav :nth-child(3) { text-align: right; }
nav > * { flex: 1; } nav :nth-child(2) { flex: 0; }
@media screen and (min-width: 80rem) {  /* words beside pictures: one claim to a screen */
  body:has(section:target) { max-width: 104rem; padding: .3rem 1.2rem; font-size: .98rem; }
  section:target { columns: 2; column-gap: 2rem; margin: 0; padding: 0; }
  section > h2, section > nav { column-span: all; margin: .3rem 0; }
  section li, section > pre, figure { break-inside: avoid; }
  .pictures { margin: 0 0 .8rem; gap: .6rem; }
  img { max-height: 53vh; }
  figure:not(:only-child) img { max-height: 34vh; }
}
@media (max-width: 40rem) { td { display: block; width: auto; border: 0; padding: 0; }
  td:first-child { border-top: 1px solid var(--pale); padding-top: .6rem; } }
"""

SCRIPT = """
addEventListener("keydown", (event) => {
  const way = { ArrowRight: "next", ArrowLeft: "prev" }[event.key];
  if (!way || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const here = document.querySelector("section:target");
  const link = here ? here.querySelector(`a[rel=${way}]`)
                    : way === "next" && document.querySelector("#contents a");
  location.hash = link ? link.hash : here && way === "prev" ? "#contents" : location.hash;
  scrollTo(0, 0);
});
"""

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
      content="default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline';
               script-src 'sha256-{digest}'">
<title>Twelve claims about gradients</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>Why is ReLU used, if it is linear?</h1>
<p>Twelve claims answer that, and show what goes wrong in deep nets. Each is a short script that
asks a question, measures the answer, checks it, and draws it; the numbers on this page are those of
this run. They are best read in order: the keys → and ← lead from one to the next, and a click on a
picture enlarges it.</p>
<table id="contents">
{rows}
</table>
</header>
{sections}
<script>{script}</script>
</body>
</html>
"""
