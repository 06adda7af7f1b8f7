"""One moment of a computation in words, harmless and as wide as a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from textwrap import wrap
from typing import Any

from microgradx._base.arguments import flat
from microgradx._base.text import (
    clean,
    count,
    name_of,
    short,
    squeeze,
    term,
    width,
)
from microgradx.engine import Edge, Value, data_of, operand_of
from microgradx.explain.factors import partner
from microgradx.rules import Rule
from microgradx.step.moments import Moment, Timeline

# `w`, `layers.0.weight[2,1]`, `layers.0[2].z`, `mul(-6)`
PLAIN_NAME = re.compile(r"[\w.]+(\[[\d,]*\][\w.]*)*(\([^()]*\))?")
ROOM = 24  # columns of a name among numbers

# --- text in a terminal ---------------------------------------------------------------------------


def called(node: Value) -> str:
    """The name of a node, harmless."""
    return clean(name_of(node))


def pad(text: str, room: int) -> str:
    """A text in exactly so many columns."""
    text = squeeze(text, room)
    return text + " " * (room - width(text))


def wrapped(text: str, columns: int, indent: int = 2) -> list[str]:
    """Lines of text, indented: by two columns, as all is beside the tree's mark."""
    spread = "".join(c + "\0" * (width(c) - 1) for c in clean(text))  # two columns count as two
    lines = wrap(spread, columns - indent, subsequent_indent="    ", break_on_hyphens=False)
    return [" " * indent + line.replace("\0", "") for line in lines]


def bracketed(node: Value) -> str:
    """A name as a part of something longer: in brackets, unless it is plainly one name."""
    name = called(node)
    return name if PLAIN_NAME.fullmatch(name) else f"({name})"


# --- one moment in words --------------------------------------------------------------------------


def made(node: Value) -> list[tuple[str, str]]:
    """How a value came about: numbers and signs, and the names that stand below them."""
    end = [("=", ""), (short(node.data), called(node))]
    if node.rule is None:
        return end[1:]
    operands = list(flat(node.operands))
    data, names = [*map(data_of, operands)], [*map(_operand, operands)]
    sign = (node.rule.label, "")
    if node.rule.operator and len(data) == 2:
        return [(short(data[0]), names[0]), sign, (term(data[1]), names[1]), *end]
    numbers = [(term(x) if node.rule.operator else short(x), y) for x, y in zip(data, names)]
    if len(numbers) > 5:
        numbers[4:] = [("…", f"{len(data) - 4} more")]
    return [sign if node.rule.operator else (node.op, ""), *numbers, *end]


def _operand(x: Any) -> str:
    return called(x) if isinstance(x, Value) else short(x)


def derivative(edge: Edge) -> str:
    """The local derivative as the rule writes it, and the number that is: ∂/∂y = x = 2, where …"""
    return "".join(_operand(x) if isinstance(x, (Value, float)) else x for x in derivation(edge))


def derivation(edge: Edge) -> list[str | float | Value]:
    """The same in parts: words, the local derivative as a number, and the nodes that it names."""
    node, rule, which = edge.node, edge.node.rule, operand_of(edge)
    assert rule is not None
    by = f"∂/∂{_blackboard(rule, which)}"
    written = (*rule.partials[which : which + 1], "")[0]
    if " if " in written:
        return [f"{by} = ", edge.partial, f" ({written})"]
    equation: list[str | float | Value] = [f"{by} = {written}"]
    if written != short(edge.partial):
        equation = [f"{by} = {written} = " if written else f"{by} = ", edge.partial]
    where = [(x, y) for x, y in zip(rule.operands, node.operands) if x not in rule.lists]
    if rule.lists and rule.kind == "product":
        other = partner(node, edge.position)
        where = [(written, other)] if written and other is not None else []
    for i, (name, x) in enumerate(where):
        equation += [
            f"{', ' if i else ', where '}{name} = ",
            x if isinstance(x, Value) else short(x),
        ]
    return equation


def _blackboard(rule: Rule, which: int) -> str:
    """An operand as the formulas write it: `weights` is wᵢ there."""
    name = rule.operands[which]
    return f"{name[0]}ᵢ" if name in rule.lists else name


def formula(edge: Edge) -> str:
    """The rule's own mathematics on an edge: its value, and its derivative."""
    assert edge.node.rule is not None
    return f"{edge.node.op}: {edge.node.rule.__doc__}  ⇒  {derivative(edge)}"


def product(moment: Moment) -> str:
    """The multiplication of a moment: upstream × local = contribution."""
    assert moment.edge is not None
    factors = f"{short(moment.adjoint)} × {term(moment.edge.partial)}"
    return f"{factors} = {short(moment.contribution)}"


def addition(moment: Moment, final: bool) -> str:
    """The sum that the contribution goes into, and whether the gradient stops."""
    total = f"{short(moment.before)} + {term(moment.contribution)} = {short(moment.after)}"
    text = f"{squeeze(bracketed(moment.subject), ROOM)}.grad: {total}"
    text += ", which is final" if final else ", more to come"
    return text + (". STOP: nothing gets through" if moment.stops else "")


def sweep(output: Value, columns: int) -> Iterator[str]:
    """The whole computation, a few lines an edge, for where there is nobody to ask."""
    timeline, columns = Timeline(output), max(columns, ROOM)
    nodes, edges = timeline.turn, len(timeline.moments) - timeline.turn - 1
    title = f"{count(nodes, 'value')}, then {count(edges, 'edge')}"
    yield from wrapped(f"Backpropagation through {_brief(output)}: {title}", columns, 0)
    for i, moment in enumerate(timeline.moments):
        if i in (0, timeline.turn):
            yield ""
        for indent, line in zip((0, 4), _sentences(moment, i < timeline.turn, timeline)):
            yield from wrapped(line, columns, indent)


def _sentences(moment: Moment, forward: bool, timeline: Timeline) -> list[str]:
    node, edge = moment.node, moment.edge
    if forward:
        equation = " ".join(text for text, _ in made(node))
        return [f"{_brief(node)}{':' if node.rule else ' ='} {equation}"]
    if edge is None:
        return [f"{squeeze(bracketed(node), ROOM)}.grad = 1, where the sweep starts"]
    final = timeline.moments[timeline.final(edge.input)] is moment
    arrow = f"{_brief(node)} → {_brief(edge.input)}"
    return [f"{arrow}: {product(moment)}", addition(moment, final)]


def _brief(node: Value) -> str:
    """A node's name, cut where it would leave no room for numbers."""
    return squeeze(called(node), ROOM)
