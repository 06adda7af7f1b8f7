"""The picture of a net, or of a chain: its answer as the title, then what there is room for."""

from __future__ import annotations

from collections.abc import Iterable

from microgradx._base.text import count
from microgradx.engine import with_cut_off
from microgradx.explain.explanation import Explanation
from microgradx.explain.layers import Survey
from microgradx.explain.samples import Net
from microgradx.pictures.answer import UNTITLED, Answer, answer
from microgradx.pictures.boxes import Boxes
from microgradx.pictures.cells import Cells
from microgradx.pictures.chain import Chain, Link
from microgradx.pictures.markup import Tag, cell, filled, row, table, untagged, words
from microgradx.pictures.sheet import Shares
from microgradx.pictures.style import (
    BLUES,
    INK,
    LAYER,
    LINE,
    NOT_FINITE,
    ON_STOP,
    PAPER,
    Look,
    Scale,
    swatch,
)

SHEET = (1600, 900)  # points: fitted into as many pixels, 9 points are 9 pixels
HEAD = 100  # points of the title, the line below it and the legend
LAYERS = 4  # of a net in boxes


def net_source(
    net: Net, explanation: Explanation | None = None, title: str = ""
) -> tuple[str, str]:
    """The DOT source of a net's picture, and the picture in words.

    With an explanation, the neuron of the explained node is open, and lines are shares of paths.
    """
    survey = Survey(net)
    found = answer(survey)
    shares = Shares(explanation) if explanation else None
    sheet = form_of(survey, shares, found=found._replace(begin=None) if shares else found)
    if shares:
        found = Answer(shares.heading(), found.title)
    behind = len(with_cut_off(net.output, net.nodes)) - len(net.nodes)
    if behind:
        hidden = f"{count(behind, 'node')} behind a detach: not shown"
        found = found._replace(line=_sentence(found.line, hidden))
    facts = f"{count(len(net.layers), 'layer')}, {count(net.samples, 'sample')}"
    return _source(sheet, found, title, shares), _sentence(found.title, found.line, facts)


def _sentence(*parts: str) -> str:
    """What there is of them, in one."""
    return "; ".join(filter(None, parts))


def form_of(
    survey: Survey,
    shares: Shares | None = None,
    tag: Tag = untagged,
    found: Answer = UNTITLED,
) -> Boxes | Cells:
    """The form in which a net's picture has room: boxes for its neurons, or cells.

    found: its title, and what that is about
    """
    boxes = Boxes(survey, shares, tag, found)
    in_boxes = len(survey.net.layers) <= LAYERS and boxes.fits(SHEET[0], SHEET[1] - HEAD)
    return boxes if in_boxes else Cells(survey, shares, tag, found)


def chain_source(
    links: list[Link], explanation: Explanation | None = None, title: str = ""
) -> tuple[str, str]:
    """The DOT source of a chain's picture, and the picture in words."""
    shares = Shares(explanation) if explanation else None
    chain = Chain(links, shares)
    found = chain.answer()
    if shares:
        found = Answer(shares.heading(), found.title)
    words = f"{found.title}; {count(len(links), 'op')} in a row"
    return _source(chain, found, title, shares), words


def _source(
    sheet: Boxes | Cells | Chain, found: Answer, title: str, shares: Shares | None = None
) -> str:
    body = [*sheet.body()]  # before the legend, which holds what has been drawn
    heads = [row(cell(words(found.title, 15, strong=True), cellpadding=2))]
    heads += [row(cell(words(x, 12), cellpadding=2)) for x in (title, found.line) if x]
    strips = ["".join(legend(sheet.scale, sheet.looks()))]
    meanings = "".join(swatch(*look) for look in sheet.share_looks)
    strips = [strips[0] + meanings] if len(sheet.share_looks) == 1 else [*strips, meanings]
    strips += ["".join(cells) for cells in [*shares.legend()][1:]] if shares else []
    heads += [row(cell(table([row(strip)], cellspacing=4))) for strip in strips if strip]
    return dot(sheet, body, f'labelloc="t" label=<{table(heads)}>')


def dot(sheet: Boxes | Cells | Chain, body: Iterable[str], head: str = "") -> str:
    """The DOT source of these statements, in the looks of a net."""
    statements = "\n".join(body)
    return (
        f'digraph microgradx {{\ngraph [{sheet.attributes} newrank="true" bgcolor="{PAPER}" '
        f'fontname="Helvetica" fontcolor="{INK}" {head}]\n'
        f'node [shape="plain" fontname="Helvetica" fontsize="11" fontcolor="{INK}"]\n'
        f'edge [fontname="Helvetica" arrowsize="0.7" color="{LINE}"]\n{statements}\n}}\n'
    )


def legend(scale: Scale, looks: list[Look]) -> list[str]:
    """The cells of a legend: the decades of the blues, then the other marks."""
    cells = [cell(words("|grad|", 10))] if scale.used else []
    blues = [Look(BLUES[i], f"≥ {scale.floor(i)}") for i in sorted(scale.used)]
    spoilt = [Look(NOT_FINITE, "not finite")] if scale.is_spoilt else []
    for fill, text, ink in [*blues, *spoilt, *looks]:
        content = words(text or "    ", 10, ink, strong=ink == ON_STOP)
        cells.append(filled(content, fill, color=LAYER, cellpadding=3) if fill else cell(content))
    return cells
