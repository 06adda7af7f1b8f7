"""The box at the end of a net: its loss, with what it compares, a row a sample or a row a class."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from microgradx import rules
from microgradx._base.text import count, short
from microgradx.engine import Value
from microgradx.explain.layers import mean_square_root
from microgradx.explain.samples import Net
from microgradx.pictures.markup import (
    LEFT,
    RIGHT,
    Tag,
    cell,
    filled,
    row,
    stop_cell,
    table,
    untagged,
    words,
)
from microgradx.pictures.style import GREY, LINE, PAPER, Scale

ROWS = 12  # of the box; more are put together


class Compared(NamedTuple):
    """One output of the net, and what the loss makes of it.

    target: in words, "" where there is none
    square: of the error, where the loss takes one
    share:  its probability in a softmax, in words
    logit:  the softmax, and what it reads of this output, but of the right class None
    """

    output: Value
    name: str
    target: str = ""
    square: Value | None = None
    share: str = ""
    logit: tuple[Value, Value | None] | None = None


def ends_of(net: Net) -> list[Compared]:
    """The outputs that the loss reads, sample by sample."""
    readers: dict[Value, Value] = {}
    for node in net.loss:
        for x in node.inputs:
            readers[x] = node
    several = len({neuron.layer for neuron in net.outputs}) > 1
    found = []
    for k in range(net.samples):
        for neuron in net.outputs:
            turn = neuron.turns.get(k)
            if turn and turn.y in readers:
                name = neuron.name if several else neuron.index
                found.append(_compared(turn.y, name, readers))
    return found


def _compared(y: Value, name: str, readers: dict[Value, Value]) -> Compared:
    """The target and the error, where the loss squares y minus a number; p, in a softmax's."""
    reader = readers[y]
    above = readers.get(reader)
    end = Compared(y, name)
    if above is None or not reader.rule or reader.rule.kind != "linear":
        return end
    partial = sum([d for x, d in zip(reader.inputs, reader.partials) if x is y])
    if above.rule is rules.logsumexp:  # of the logits, less that of the class
        p = sum([d for x, d in zip(above.inputs, above.partials) if x is reader])
        return end._replace(share=short(p), logit=(above, reader))
    if partial == -1.0 and (total := readers.get(above)) and total.rule is rules.logsumexp:
        p = math.exp(-total.data)
        return end._replace(target="yes", share=short(p), logit=(total, None))
    squares = above.rule in (rules.pow, rules.mul) and above.data == reader.data * reader.data
    if partial == 1.0 and squares and {*above.inputs} == {reader}:
        return end._replace(target=short(y.data - reader.data), square=above)
    return end


def ending(net: Net, scale: Scale, tag: Tag = untagged, stops: bool = False) -> str:
    """The loss's box, marked where it stops the gradient; nothing for a neuron's own output."""
    if net.neuron_of(net.output):
        return ""
    ends = ends_of(net)
    title = [
        cell(words(f" {net.output.label or 'loss'}  ", 13, strong=True), **LEFT),
        cell(
            words(f"{short(net.output.data)} ", 13, strong=True), **RIGHT, **tag("loss", net.output)
        ),
    ]
    rows = [row(cell(table([row(*title)]), colspan=5, height=24))]
    if stops:
        rows.append(row(stop_cell(colspan=5, height=22)))
    if len(ends) <= ROWS:
        rows += _rows(ends, scale, tag)
    else:
        rows += _together(net, [end.output for end in ends], scale, tag)
    return table(rows, border=1, color=LINE, bgcolor=PAPER)


def _rows(ends: list[Compared], scale: Scale, tag: Tag) -> Iterable[str]:
    """A row for each output; columns that nothing stands in are left out."""
    several = len({end.name for end in ends}) > 1
    kind = "class" if any(end.share for end in ends) else "neuron"
    table = [_columns(end, kind if several else "", tag) for end in ends]
    names = [name for name in table[0] if any(columns[name] for columns in table)]
    yield row(*[cell(words(head, 10, GREY), width=54) for head in [*names, "grad"]])
    for end, columns in zip(ends, table):
        grad = end.output.grad
        last = filled(words(short(grad)), scale.fill(grad), height=18, **tag("end", end.output))
        yield row(*[columns[name] or cell() for name in names], last)


def _columns(end: Compared, kind: str, tag: Tag) -> dict[str, str]:
    """The cells of an output by the heads of their columns, "" for those that have no words."""
    texts: dict[str, tuple[str, dict[str, str]]] = {
        **({kind: (end.name, {})} if kind else {}),
        "output": (short(end.output.data), tag("data", end.output)),
        "target": (end.target, {}),
        "error²": (short(end.square.data), tag("data", end.square)) if end.square else ("", {}),
        "p": (end.share, tag("share", *end.logit) if end.logit else {}),
    }
    return {name: cell(words(text), **look) if text else "" for name, (text, look) in texts.items()}


def _together(net: Net, outputs: list[Value], scale: Scale, tag: Tag) -> Iterable[str]:
    data = [y.data for y in outputs]
    ends = " … ".join(dict.fromkeys([short(min(data)), short(max(data))]))
    grad = mean_square_root([y.grad for y in outputs])
    yield row(cell(words(count(net.samples, "sample"), 10, GREY), colspan=5))
    room = {"colspan": 5, "height": 18}
    yield row(cell(words(f" output {ends} "), **room, **tag("outputs", *outputs)))
    text, fill = words(f"|grad| {short(grad)}"), scale.fill(grad)
    yield row(filled(text, fill, **room, **tag("ends", *outputs)))
