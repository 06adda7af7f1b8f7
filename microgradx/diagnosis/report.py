"""The check-up in files: figures for machines, in JSON, and a page with pictures for people."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microgradx._base.files import WrongSuffix, write_whole
from microgradx._base.text import clean, count, fixed, short
from microgradx.diagnosis import maps, words
from microgradx.diagnosis.facts import Finding
from microgradx.diagnosis.ledger import name_of_part
from microgradx.nn.module import title
from microgradx.pictures import show

if TYPE_CHECKING:
    import os

    from microgradx.diagnosis.result import Checkup

SICK = 200  # neurons that the page lists
STYLE = """
body { font: 16px/1.45 system-ui, sans-serif; max-width: 46rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .2rem; } h3 + p { margin-top: 0; }
svg { margin-top: -.6rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: .85rem; }
th, td { padding: .15rem .6rem .15rem 0; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { border-bottom: 1px solid; font-weight: 600; } code { font-size: .9em; }
"""


def write(c: Checkup, path: str | os.PathLike[str]) -> Path:
    """Write the report to an .html or a .json file, whole or not at all; returns its Path."""
    path = Path(path)
    kind = path.suffix.lower()
    if kind == ".json":
        write_whole(path, (json.dumps(figures(c), indent=1, allow_nan=False) + "\n").encode())
    elif kind in (".html", ".htm"):
        write_whole(path, page(c).encode())
    else:
        raise WrongSuffix(clean(f"a check-up is saved to an .html or a .json file, got {path}"))
    return path


# --- for machines --------------------------------------------------------------------------------


def figures(c: Checkup) -> dict[str, Any]:
    """All that was found, of numbers, texts, lists and dicts; what isn't finite is a text."""
    found = {
        "format": 1,
        "rows": len(c.task.X), "of": c.task.total, "parameters": c.ledger.total,
        "loss": c.loss, "guess": c.guess, "loss function": c.task.words,
        "agreement": c.agreement, "interrupted": c.interrupted,
        "findings": [_finding(x) for x in c.findings],
        "layers": dict(c.layers), "neurons": dict(c.neurons),
        "step": dict(c.step.table) if c.step else None,
    }  # fmt: skip
    return {key: _plain(x) for key, x in found.items()}


def _finding(x: Finding) -> dict[str, Any]:
    return {field.name: getattr(x, field.name) for field in fields(x) if field.repr}


def _plain(x: Any) -> Any:
    if isinstance(x, dict):
        return {str(key): _plain(part) for key, part in x.items()}
    if isinstance(x, (list, tuple)):
        return [_plain(part) for part in x]
    if isinstance(x, float) and not math.isfinite(x):
        return str(x)
    return x


# --- for people ----------------------------------------------------------------------------------


def page(c: Checkup) -> str:
    """The report as one HTML file, which needs nothing from elsewhere."""
    body = "\n".join(_sections(c))
    whole = show.as_page(f"Check-up of {clean(title(c.task.model))}", body)
    return whole.replace("</style>", f"{STYLE}</style>", 1)


def face(c: Checkup) -> str:
    """What a notebook shows: the page's words, and the pictures, without any script."""
    pictures = [show.in_cell(x) for x in (maps.neurons(c), maps.ledger(c)) if x]
    return f"<pre>{html.escape(str(c))}</pre>\n" + "\n".join(pictures)


def _sections(c: Checkup) -> Iterator[str]:
    yield f"<h1>Check-up of {_text(title(c.task.model))}</h1>"
    yield "".join(f"<p>{_text(line)}</p>" for line in words.opening(c))
    yield from _findings(c)
    if picture := maps.neurons(c):
        yield f"<h2>Its neurons, over all rows</h2>\n{show.in_page(picture)}"
    if picture := maps.ledger(c):
        yield (
            "<h2>Its gradient, layer by layer</h2>\n<p>The mean decades of the gradient where it "
            "isn’t 0, from the last layer to the first. To the left of the line is what makes it "
            f"smaller; the parts add up.</p>\n{show.in_page(picture)}"
        )
        yield f"<details><summary>The same as a table</summary>{_ledger(c)}</details>"
    yield from _neurons(c)
    if c.step:
        yield f"<h2>The optimiser’s step</h2><p>{_text(' '.join(words.stepping(c.step)))}</p>"
        yield _table(c.step.table, [*c.step.table.rows])
    yield f"<p>{_text(' '.join(words.further(c)))}</p>"


def _findings(c: Checkup) -> Iterator[str]:
    if not c.findings:
        yield f"<p><b>{_text(words.healthy(c))}</b></p>"
        return
    yield f"<h2>{count(len(c.findings), 'finding')}, the dearest first</h2>"
    for k, finding in enumerate(c.findings, 1):
        lines = "<br>".join(map(_text, finding.because.split("\n")))
        yield (
            f'<h3 id="finding-{k}">{k}. {_text(finding.verdict)}: '
            f"{_text(words.whereabouts(finding))}</h3><p>{lines}</p>"
        )


def _ledger(c: Checkup) -> str:
    lines = [*c.ledger.shown()]
    parts = [*dict.fromkeys(part for line in lines for part in line.parts)]
    head = ["at", "not 0", "decades", "median", *map(name_of_part, parts)]
    rows = [
        dict(zip(head, [
            line.layer or "it", f"{100 * line.moved:.3g} %", line.decades, line.median,
            *(line.parts.get(part, math.nan) for part in parts),
        ])) for line in lines
    ]  # fmt: skip
    return _table(head, rows, lambda x: "" if math.isnan(x) else fixed(x, 2))


def _neurons(c: Checkup) -> Iterator[str]:
    sick = [row for row in c.neurons.rows if row["verdict"]]
    if sick:
        more = f", the first {SICK} of {len(sick):,}" if len(sick) > SICK else ""
        names = [name for name in c.neurons if name not in ("mean", "spread")]
        table = _table(names, sick[:SICK])
        words_ = "The neurons that are dead or saturated"
        yield f"<details><summary>{words_}{more}</summary>{table}</details>"


def _table(names: Iterable[str], rows: Iterable[dict[str, Any]], write: Any = short) -> str:
    names = [*names]
    head = "".join(f"<th>{_text(name)}</th>" for name in names)
    body = "".join(
        f"<tr>{''.join(f'<td>{_text(_cell(row[name], write))}</td>' for name in names)}</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(x: Any, write: Any) -> str:
    if isinstance(x, float):
        return str(write(x)) if math.isfinite(x) or x != x and write is not short else (
            "" if x != x else f"{x}")  # fmt: skip
    return "" if x is None else "yes" if x is True else "no" if x is False else str(x)


def _text(text: str) -> str:
    return html.escape(clean(" ".join(str(text).split("\n"))))
