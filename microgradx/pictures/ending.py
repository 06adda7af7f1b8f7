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
from microgradx.pictures.markup import LEFT, RIGHT, cell, filled, row, table, words
from microgradx.pictures.style import GREY, LINE, PAPER, Scale

ROWS = 12  # of the box; more are put together


class Compared(NamedTuple):
    """One output of the net, and what the loss makes of it: words, "" where there are none."""

    output: Value
    name: str
    target: str
    error: str
    share: str  # its probability, in a softmax


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
    end = Compared(y, name, "", "", "")
    if above is None or not reader.rule or reader.rule.kind != "linear":
        return end
    partial = sum([d for x, d in zip(reader.inputs, reader.partials) if x is y])
    if above.rule is rules.logsumexp:  # of the logits, less that of the class
        p = sum([d for x, d in zip(above.inputs, above.partials) if x is reader])
        return end._replace(share=short(p))
    if partial == -1.0 and (total := readers.get(above)) and total.rule is rules.logsumexp:
        return end._replace(target="yes", share=short(math.exp(-total.data)))
    squares = above.rule in (rules.pow, rules.mul) and above.data == reader.data * reader.data
    if partial == 1.0 and squares and {*above.inputs} == {reader}:
        return end._replace(target=short(y.data - reader.data), error=short(above.data))
    return end


def ending(net: Net, scale: Scale) -> str:
    """The loss's box; nothing where the output is a neuron's own."""
    if net.neuron_of(net.output):
        return ""
    ends = ends_of(net)
    title = [
        cell(words(f" {net.output.label or 'loss'}  ", 13, strong=True), **LEFT),
        cell(words(f"{short(net.output.data)} ", 13, strong=True), **RIGHT),
    ]
    rows = [row(cell(table([row(*title)]), colspan=5, height=24))]
    if len(ends) <= ROWS:
        rows += _rows(ends, scale)
    else:
        rows += _together(net, [end.output for end in ends], scale)
    return table(rows, border=1, color=LINE, bgcolor=PAPER)


def _rows(ends: list[Compared], scale: Scale) -> Iterable[str]:
    """A row for each output; columns that nothing stands in are left out."""
    several = len({end.name for end in ends}) > 1
    columns = {
        "class" if any(end.share for end in ends) else "neuron": [
            end.name if several else "" for end in ends
        ],
        "output": [short(end.output.data) for end in ends],
        "target": [end.target for end in ends],
        "error²": [end.error for end in ends],
        "p": [end.share for end in ends],
    }
    columns = {name: texts for name, texts in columns.items() if any(texts)}
    heads = [*columns, "grad"]
    yield row(*[cell(words(head, 10, GREY), width=54) for head in heads])
    for i, end in enumerate(ends):
        cells = [cell(words(texts[i])) for texts in columns.values()]
        grad = end.output.grad
        yield row(*cells, filled(words(short(grad)), scale.fill(grad), height=18))


def _together(net: Net, outputs: list[Value], scale: Scale) -> Iterable[str]:
    data = [y.data for y in outputs]
    ends = " … ".join(dict.fromkeys([short(min(data)), short(max(data))]))
    grad = mean_square_root([y.grad for y in outputs])
    yield row(cell(words(count(net.samples, "sample"), 10, GREY), colspan=5))
    yield row(cell(words(f" output {ends} "), colspan=5, height=18))
    yield row(filled(words(f"|grad| {short(grad)}"), scale.fill(grad), colspan=5, height=18))
