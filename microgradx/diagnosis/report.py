"""The check-up in files: figures for machines, in JSON, and a page for people."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microgradx._base.files import WrongSuffix, as_html, write_whole
from microgradx._base.text import clean, count, few, fixed, listed, percent, short, squeeze
from microgradx.diagnosis import maps, words
from microgradx.diagnosis.facts import FOUR, SIXTEEN, Finding
from microgradx.diagnosis.ledger import Line
from microgradx.nn.module import title
from microgradx.pictures.show import as_page, in_cell, in_html
from microgradx.pictures.style import DARK, GREY, INK, NEURON, PALE, PAPER, STOP

if TYPE_CHECKING:
    import os

    from microgradx.diagnosis.result import Checkup

UNITS = 200  # rows of the table of neurons
LONG = 36  # characters of a name in a table: so many have room
PRICES = (
    "A finding costs decades of the gradient, times the share of the parameters that pay them; a "
    f"stop counts as {SIXTEEN:g} decades, and as {FOUR:g} where it can be revived."
)
LEFT = {"layer", "activation", "verdict", "proof", "locked", "revived through", "at", "tensor"}

Cells = dict[str, str]  # a row of a table by column; words stand left

COLOURS = {"paper": PAPER, "ink": INK, "soft": GREY, "rule": NEURON, "pale": PALE, "stop": STOP}
STYLE = """
body { background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 724px; margin: auto; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 1.5rem 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; font-weight: 400; margin: 0 0 .2rem; display: flex; gap: .6rem; }
h3 span { flex: 1; } h3 a { color: var(--soft); text-decoration: none; }
h3 small { align-self: baseline; font-size: .875rem; font-weight: 600; white-space: nowrap; }
.prices { margin-bottom: 1rem; }
p, dl { margin: .2rem 0; }
.soft, dd { color: var(--soft); font-size: .875rem; }
.finding { border-left: 4px solid var(--stop); padding: .1rem 0 .1rem .8rem; margin: 0 0 1rem; }
.well { margin: 1rem 0; font-weight: bold; }
.scroll { overflow-x: auto; margin: .8rem 0; overflow-wrap: normal; }
table { border-collapse: collapse; font-size: .8125rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .5rem .2rem 0; text-align: right; vertical-align: bottom;
  border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { font-weight: 600; white-space: normal; min-width: 2.2rem; }
th { max-width: 8rem; overflow-wrap: break-word; }
tr > :first-child { position: sticky; left: 0; background: var(--paper); }
.words { text-align: left; max-width: 16rem; overflow: hidden; text-overflow: ellipsis; }
details { margin: .8rem 0; } summary { cursor: pointer; }
dd { margin: 0 0 .5rem; } code { background: var(--pale); padding: .1rem .3rem; }
svg { display: block; height: auto; }
.narrow { display: none; }
@media (max-width: 755px) {
  .wide { display: none; } .narrow { display: block; }
  tr > :first-child { max-width: 8rem; white-space: normal; overflow-wrap: break-word; }
}
"""


def write(c: Checkup, path: str | os.PathLike[str]) -> Path:
    """Write the report to an .html or a .json file, whole or not at all; returns its Path.

    A path without a suffix gets .html; another suffix is a WrongSuffix.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind == ".json":
        content = json.dumps(figures(c), indent=1, allow_nan=False)
    elif kind in ("", ".html", ".htm"):
        path, content = as_html(path, "a check-up"), page(c)
    else:
        raise WrongSuffix(f"a check-up is saved to an .html or a .json file, got {path.name!r:.80}")
    write_whole(path, content.encode())
    return path


# --- for people ----------------------------------------------------------------------------------


def page(c: Checkup) -> str:
    """A page of its own: what was found, the pictures, the figures, what to ask further."""
    name = clean(title(c.task.model))
    sections = [_tag("style", STYLE + _colours()), _head(c)]
    sections += [*_healthy(c)] if not c.findings else [*_ill(c)]
    if c.trials is not None:
        sections += [_tag("h2", "Remedies, tried"), _tag("pre", _text(str(c.trials)))]
    content = "\n".join(filter(None, sections))
    return as_page(f"Check-up of {name}", f"<main>\n{content}\n</main>")


def face(c: Checkup) -> dict[str, str]:
    """What a notebook shows: the words, and the pictures below them."""
    pictures = [in_cell(svg) for svg in (maps.neurons(c), maps.bars(c)) if svg and c.findings]
    words = str(c)
    return {"text/html": in_html(words, "<br>\n".join(pictures)), "text/plain": words}


def _head(c: Checkup) -> str:
    """The net, its data and its loss."""
    lines = "".join(_tag("p", _text(line)) for line in words.opening(c))
    return _tag("h1", _text(f"Check-up of {title(c.task.model)}")) + lines


def _healthy(c: Checkup) -> Iterator[str]:
    yield _tag("p", _text(_in_one_line(words.healthy(c))), "well")
    yield _step(c)
    yield _folded("The pictures", _map(c) + _ledger(c))


def _ill(c: Checkup) -> Iterator[str]:
    n = len(c.findings)
    yield _tag("h2", f"{count(n, 'finding')}{', the dearest first' * (n > 1)}")
    yield _tag("p", PRICES, "soft prices") if n > 1 else ""
    yield "".join(map(_group, words.alike(c.findings)))
    yield _map(c)
    yield _units(c)
    yield _ledger(c)
    yield _step(c)
    yield _further(c)


def _group(group: Sequence[words.Numbered]) -> str:
    """The first of one verdict, and the others folded up where there are several."""
    (k, first), *others = group
    places, more = few([words.whereabouts(finding) for _, finding in others], words.MANY)
    summary = f"Also {first.verdict}: {'; '.join(places)}{f'; and {more} more' * bool(more)}"
    return _told(k, first) + _folded(summary, "".join(_told(k, finding) for k, finding in others))


def _told(k: int, finding: Finding) -> str:
    """A finding: what, where, at which price, why, and which neurons; the number is its anchor."""
    anchor = f"finding-{k}"
    where = words.whereabouts(finding).removeprefix("layer ").removeprefix(finding.where)
    head = f'<a href="#{anchor}">{k}</a> <span><strong>{_text(finding.verdict)}:</strong> '
    head += f"{_named(finding.where)}{_text(where)}</span> {_price(finding)}"
    because = "".join(_tag("p", _text(line)) for line in finding.because.split("\n"))
    if finding.neurons:
        noun = "Neuron" if len(finding.neurons) == 1 else "Neurons"
        because += _tag("p", f"{noun} {ranges(finding.neurons)}", "soft")
    return f'<section id="{anchor}" class="finding">{_tag("h3", head)}{because}</section>\n'


def _named(where: str) -> str:
    """A name as one, so that the layer `2` isn't a number; several stay words."""
    return _text(where) if ", " in where else f"<code>{_text(where)}</code>"


def _price(finding: Finding) -> str:
    """Its decades, where it costs some of the gradient's."""
    if finding.decades == math.inf:
        return "<small>a stop</small>"
    if not finding.decades >= maps.LEAST:
        return ""
    return f"<small>{_text(fixed(finding.decades, 1))}&#160;decades</small>"


def ranges(numbers: Sequence[int]) -> str:
    """`0 … 3, 7`: neighbours as the first and the last of them."""
    runs: list[list[int]] = []
    for k in sorted(numbers):
        if runs and k == runs[-1][-1] + 1:
            runs[-1].append(k)
        else:
            runs.append([k])
    return ", ".join(
        f"{run[0]} … {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs
    )


def _map(c: Checkup) -> str:
    """The map, and the layers that it leaves out."""
    picture = _in_both_widths(partial(maps.neurons, c))
    if not picture:
        return ""
    known = {*c.neurons["layer"]}
    linear = [line.layer or "it" for line in c.ledger.lines.values()
              if line.parameters and line.layer not in known]  # fmt: skip
    left = _tag("p", _text(f"Without an activation: {listed(linear, 12)}."), "soft")
    return _tag("h2", "Neurons") + picture + left * bool(linear)


def _units(c: Checkup) -> str:
    """The dead and the saturated neurons as a table, the others as a count."""
    units = [*c.neurons.rows]
    sick = [unit for unit in units if unit["verdict"]]
    if not sick:
        return ""
    shown, more = few(sick, UNITS)
    well = len(units) - len(sick)
    after = [f"{more:,} more in c.neurons"] if more else []
    after += [f"{count(well, 'other neuron is', 'other neurons are')} neither"] if well else []
    below = _tag("p", f"{'; '.join(after)}.", "soft") if after else ""
    noun = count(len(sick), "neuron that is", "neurons that are")
    return _folded(f"{noun} dead or saturated", _table(map(_unit, shown)) + below)


def _unit(unit: dict[str, Any]) -> Cells:
    margin, locked = unit["margin"], unit["locked"]
    return {
        "layer": squeeze(unit["layer"] or "it", LONG), "neuron": f"{unit['neuron']}",
        "activation": unit["activation"], "verdict": unit["verdict"],
        "off": percent(unit["off"]), "saturated": percent(unit["saturated"]),
        "z from": short(unit["least_z"]), "to": short(unit["most_z"]), "proof": unit["proof"],
        "margin": "" if math.isnan(margin) else short(margin),
        "locked": "" if locked is None else "yes" if locked else "no",
        "revived through": unit["through"],
    }  # fmt: skip


def _ledger(c: Checkup) -> str:
    """The bars, and the same as a table."""
    lines, columns = [*c.ledger.shown()], maps.columns(c.ledger)
    if not columns:
        none = "No layer has a gradient that is finite and not 0, so there is none."
        return _tag("h2", "The ledger") + _tag("p", none) if lines else ""
    sentence = (
        "The mean decades of the gradient, log₁₀ |g|, where it isn't 0, and what made them. "
        "Each line adds up."
    )
    picture = _in_both_widths(partial(maps.bars, c))
    table = _table(_line(line, columns) for line in lines)
    return _tag("h2", "The ledger") + _tag("p", sentence) + picture + table


def _line(line: Line, columns: Iterable[maps.Column]) -> Cells:
    head = {
        "at": squeeze(line.layer or "it", LONG), "not 0": percent(line.moved),
        "decades": _decades(line.decades),
    }  # fmt: skip
    return {**head, **{column.name: _decades(column.of(line)) for column in columns}}


def _step(c: Checkup) -> str:
    """What a step of the optimiser does, and how far it moves each tensor."""
    if c.step is None:
        return ""
    sentences = _in_one_line(" ".join(words.stepping(c.step)))
    table = _table(
        {
            "tensor": squeeze(row["tensor"], LONG), "parameters": f"{row['parameters']:,}",
            "update (rms)": short(row["update"]), "weight (rms)": short(row["weight"]),
            "log₁₀ ratio": _decades(row["log10 ratio"]),
        } for row in c.step.table.rows
    )  # fmt: skip
    return _tag("h2", "The step") + _tag("p", _text(sentences)) + table


def _further(c: Checkup) -> str:
    asked = {
        "c.why(c.findings[0])": "why the gradient is what it is, in a row that shows the finding",
        "mx.draw(c.sample(c.findings[0]))": "that row as a graph",
        "c.try_remedies()": "what helps, tried on copies of the net",
        "c.neurons, c.layers": "the tables whole; a data frame takes them",
    }
    items = "".join(
        f"<dt><code>{_text(k)}</code></dt><dd>{_text(x)}</dd>" for k, x in asked.items()
    )
    return _tag("h2", "Ask further") + f"<dl>{items}</dl>"


def _in_both_widths(picture: Callable[[int], str]) -> str:
    """A picture for a page and for a phone, of which the page's style shows one."""
    wide, narrow = picture(maps.WIDE), picture(maps.NARROW)
    return wide and _tag("div", wide, "wide") + _tag("div", narrow, "narrow")


def _table(rows: Iterable[Cells]) -> str:
    """A table without its empty columns; wider than the page, it scrolls behind the first one."""
    rows = [*rows]
    heads = [name for name in rows[0] if any(row[name] for row in rows)]
    body = "\n".join(_row("td", {name: row[name] for name in heads}) for row in rows)
    head = _row("th", {name: name for name in heads})
    inside = f"<table><thead>{head}</thead>\n<tbody>{body}</tbody></table>"
    return _tag("div", inside, "scroll")


def _row(kind: str, cells: Cells) -> str:
    inside = (_tag(kind, _text(x), "words" * (name in LEFT)) for name, x in cells.items())
    return f"<tr>{''.join(inside)}</tr>"


def _folded(summary: str, inside: str) -> str:
    return inside and f"<details><summary>{_text(summary)}</summary>\n{inside}\n</details>"


def _tag(name: str, inside: str, kind: str = "") -> str:
    kind = f' class="{kind}"' if kind else ""
    return f"<{name}{kind}>{inside}</{name}>\n"


def _colours() -> str:
    """The pictures' colours as the page's, light and dark."""
    light = "".join(f"--{name}:{fill};" for name, fill in COLOURS.items())
    dark = "".join(f"--{name}:{DARK[fill]};" for name, fill in COLOURS.items())
    return f":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"


def _text(words: object) -> str:
    """Text that stays text, and whose numbers stay with their %."""
    return html.escape(clean(str(words))).replace(" %", "&#160;%")


def _in_one_line(words: str) -> str:
    return " ".join(words.split())


def _decades(x: float) -> str:
    return "" if math.isnan(x) else f"{x + 0.0:+.2f}" if math.isfinite(x) else "none"


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
        "trials": dict(c.trials.table) if c.trials is not None else None,
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
