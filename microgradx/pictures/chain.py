"""A long chain of single ops: a snake of boxes, or one box with a line of bars."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import accumulate, takewhile
from operator import mul
from typing import Any, NamedTuple, TypeVar

from microgradx._base.text import count, known_as, names_parameter, short
from microgradx.engine import Value, cut_off
from microgradx.explain.extended import Extended, show
from microgradx.pictures.answer import LIMITS, NO_GRADIENT, Answer
from microgradx.pictures.markup import block, cell, row, stop_cell, table, words
from microgradx.pictures.sheet import Shares
from microgradx.pictures.style import (
    BY_SLOPES,
    GAINED,
    GREY,
    GROUND,
    INK,
    LEFT,
    LINE,
    ORANGES,
    PAPER,
    STOP,
    Look,
    Scale,
    slope_fill,
    stop_look,
)  # fmt: skip

SHORTEST, LONGEST = 9, 60  # of a snake; a shorter chain is a graph of ops, a longer one is one box
TURN = 10  # boxes to a line at most
BARS = 100
HIGH = 60  # points of all decades
T = TypeVar("T")


class Link(NamedTuple):
    """One op of a chain, and its partial by the link before it."""

    node: Value
    partial: float


def chain_of(output: Value) -> list[Link] | None:
    """The links of a graph that is one chain of ops, in the order of the computation; else None.

    A link may read leaves besides the link before it, each read once; the first nothing but leaves.
    """
    links, node = [], output
    while node.rule:
        inputs = node.inputs
        before = [x for x in inputs if x.rule]
        source = before[0] if before else _start(node)
        if any(x is not source for x in before) or (node.rule.silent and cut_off(node)):
            return None
        links.append(Link(node, sum([d for x, d in zip(inputs, node.partials) if x is source])))
        if source is None:
            break
        node = source
    leaves = [x for node, _ in links for x in dict.fromkeys(node.inputs) if not x.rule]
    return links[::-1] if len(links) >= SHORTEST and len({*leaves}) == len(leaves) else None


def turn_of(n: int) -> int:
    """How many of n boxes stand in a line of a snake."""
    return math.ceil(n / math.ceil(n / TURN))


def columns_of(boxes: list[T], turn: int) -> list[list[T]]:
    """The boxes of a snake that stand above each other."""
    columns: list[list[T]] = [[] for _ in range(turn)]
    for i, box in enumerate(boxes):
        k = i % turn
        columns[turn - 1 - k if i // turn % 2 else k].append(box)
    return columns


def _start(node: Value) -> Value | None:
    """The leaf that a chain begins with: one that is no parameter, if there is one."""
    return next(iter(sorted(node.inputs, key=lambda x: names_parameter(x.label))), None)


class Chain:
    """The picture of a chain."""

    share_looks: tuple[Look, ...] = ()  # its lines tell of no shares
    attributes = 'rankdir="LR" nodesep="0.45" ranksep="0.32" splines="line"'

    def __init__(self, links: list[Link], shares: Shares | None = None) -> None:
        self.links = links
        self.shares = shares
        self.start = _start(links[0].node)
        self.leaves = [link.partial * link.node.grad for link in links]  # what each hands on
        sizes = [abs(link.node.grad) for link in links] + [abs(x) for x in self.leaves]
        decades = [math.log10(x) for x in sizes if 0 < x < math.inf] or [0.0]
        high = math.ceil(max(decades) - 1e-9)
        self.scale = Scale(())
        self.low = min(math.floor(min(decades) + 1e-9), high - 1)
        self.decades = high - self.low

    @property
    def folded(self) -> bool:
        return len(self.links) > LONGEST

    def answer(self) -> Answer:
        """The title, and what follows from it."""
        partials = [link.partial for link in self.links]
        broken = [link for link in self.links if not math.isfinite(link.node.data * link.partial)]
        if broken:
            return Answer(f"Not finite at {self._name(broken[0].node)}", "")
        if not self.links[-1].node.grad:
            return Answer(NO_GRADIENT, "")
        if 0 in partials:
            last = max(i for i, partial in enumerate(partials) if not partial)
            behind = f"{count(last, 'op')} behind it"
            return Answer(f"The gradient stops at {self._name(self.links[last].node)}", behind)
        together = f"all {len(partials)} together ×{show(self.products[0])}"
        if not self.change:
            return Answer(f"The gradient gets through: {together}", "No stop")
        size, begin = self.change
        node, partial = self._extreme(min if size == "small" else max)
        where = "there" if begin is node else f"at {self._name(node)}"
        title = f"The gradient gets {size} at {self._name(begin)}, most {where}, ×{short(partial)}"
        return Answer(f"{title}; {together}", "No stop")

    @cached_property
    def change(self) -> tuple[str, Value] | None:
        """Whether the gradient gets small or large, and the first op from which on it stays so."""
        decades = [product.decades for product in self.products]
        if -LIMITS.small < decades[0] < LIMITS.large:
            return None
        is_small = decades[0] < 0
        beyond = [d <= -LIMITS.small if is_small else d >= LIMITS.large for d in decades]
        run = [*takewhile(bool, beyond)]
        return "small" if is_small else "large", self.links[len(run) - 1].node

    def _name(self, node: Value) -> str:
        """An op by its label; by its place, from the input on, where it has none."""
        i = next(i for i, link in enumerate(self.links, 1) if link.node is node)
        return known_as(node) or f"op {i} of {len(self.links)}, {node.op}({short(node.data)})"

    def begins(self, node: Value) -> bool:
        """Whether a gradient that nobody asked about gets small or large at an op."""
        return self.shares is None and self.change is not None and self.change[1] is node

    @cached_property
    def products(self) -> list[Extended]:
        """By link the product of the partials from the output to it, never 0 by underflow."""
        partials = [Extended(link.partial, 0) for link in reversed(self.links)]
        return [*accumulate(partials, mul)][::-1]

    def _extreme(self, choose: Callable[..., Link]) -> Link:
        return choose(self.links, key=lambda link: abs(link.partial))

    def body(self) -> Iterator[str]:
        """The statements of the graph."""
        if self.start is not None:
            yield f"x [label=<{_leaf(self.start)}>]"
            yield "x -> t0"
        if self.folded:
            yield f"t0 [label=<{self._bars()}>]"
            return
        for i, link in enumerate(self.links):
            yield f"t{i} [label=<{self._box(i, link)}>]"
        turn = turn_of(len(self.links))
        for i in range(1, len(self.links)):
            if i % turn == 0:
                yield f"t{i - 1} -> t{i}"
            elif i // turn % 2:  # a line that runs back
                yield f"t{i} -> t{i - 1} [dir=back weight=50]"
            else:
                yield f"t{i - 1} -> t{i} [weight=50]"
        for column in columns_of([f"t{i}" for i in range(len(self.links))], turn):
            yield f"{{rank=same; {'; '.join(column)}}}"

    def _box(self, i: int, link: Link) -> str:
        """One op: its value, its slope, what it hands on, and the bar of decades."""
        node, partial = link
        strong = abs(partial) < 0.1
        before = self.links[i - 1].node if i else self.start
        beside = [x.label for x in node.inputs if x is not before and x.label]
        name = words(node.label, strong=True) + words(" ".join(["", node.op, *beside]))
        slope = words(f"×{short(partial)}", 12 if strong else 11, strong=strong)
        room: dict[str, Any] = {"width": 58, "height": 30}
        middle = cell(slope, bgcolor=slope_fill(partial), **room) if partial else stop_cell(**room)
        hands = words("leaves", 10, GREY) + "<br/>" + words(short(self.leaves[i]))
        bar = self._bar(abs(node.grad), abs(self.leaves[i]), 30, HIGH)
        rows = [
            row(cell(name, colspan=2, cellpadding=2)),
            row(cell(words(short(node.data), 11, GREY), colspan=2, height=15)),
            row(cell(bar, rowspan=2), middle),
            row(cell(hands, **room)),
        ]
        blamed = self.shares is not None and self.shares.blames(list(node.edges))
        if blamed:
            rows.append(row(cell(words("culprit", 12, STOP, strong=True), colspan=2)))
        border, ink = (2, INK) if strong else (1, LINE)
        if self.begins(node):
            border, ink = 3, INK
        if blamed or not partial:
            border, ink = 3, STOP
        return table(rows, border=border, color=ink, bgcolor=PAPER)

    def _height(self, size: float, high: int) -> int:
        if not size > 0:
            return 0
        return round(min(max((math.log10(size) - self.low) / self.decades, 0.0), 1.0) * high)

    def _bar(self, arrives: float, leaves: float, width: int, high: int) -> str:
        """An upright bar: the gradient that is left, and above it the loss here."""
        top, left = self._height(arrives, high), self._height(leaves, high)
        parts = [
            (high - max(top, left), GROUND),
            (top - left, BY_SLOPES),
            (left - top, GAINED),
            (min(top, left), LEFT),
        ]
        return table([row(block(width, size, fill)) for size, fill in parts if size > 0])

    def _bars(self) -> str:
        """The whole chain as one box: a bar for each op, or for several."""
        every = math.ceil(len(self.links) / BARS)
        names = [*dict.fromkeys(link.node.label for link in self.links if link.node.label)]
        ops = " · ".join(dict.fromkeys(link.node.op for link in self.links))
        title = words(f"{len(self.links):,} {ops} in a row", 13, strong=True)
        title += words(f"  {names[0]} … {names[-1]}, folded" if len(names) > 1 else "  folded", 12)
        bars = []
        for i in range(0, len(self.links), every):
            last = self.links[min(i + every, len(self.links)) - 1].node
            bars.append(cell(self._bar(abs(last.grad), abs(self.leaves[i]), 5, HIGH + 30)))
        scale = f"|grad| from 1e{self.low} to 1e{self.low + self.decades}"
        least = self._extreme(min)
        facts = f"together ×{show(self.products[0])}"
        facts += f"; least at {self._name(least.node)}, ×{short(least.partial)}"
        rows = [
            row(cell(title, cellpadding=4)),
            row(cell(table([row(*bars)]))),
            row(cell(words(f"{scale}; the gradient enters at the right", 10, GREY), cellpadding=2)),
            row(cell(words(facts, 12), cellpadding=4)),
        ]
        return table(rows, border=1, color=LINE, bgcolor=PAPER)

    def looks(self) -> list[Look]:
        """The marks in the picture, for its legend."""
        looks = [Look(LEFT, ""), Look("", "left"), Look(BY_SLOPES, "lost here")]
        shades = {
            slope_fill(link.partial) for link in self.links if link.partial and not self.folded
        }
        looks += [Look(x, f"slope < {short(below)}") for below, x in ORANGES[::-1] if x in shades]
        if not all(link.partial for link in self.links):
            looks.append(stop_look("a slope of 0"))
        bars = f"bar: |grad|, {count(self.decades, 'decade')} high"
        if self.change and self.shares is None:
            looks.append(Look("", f"thick border: {self.change[0]} from here on"))
        return [*looks, Look("", bars + ("" if self.folded else "; leaves: what an op hands on"))]


def _leaf(leaf: Value) -> str:
    rows = [row(cell(words(leaf.label or "x", 13, strong=True), cellpadding=3, width=60))]
    texts = [short(leaf.data), f"grad {short(leaf.grad)}"]
    rows += [row(cell(words(text), cellpadding=2)) for text in texts]
    return table(rows, border=1, color=LINE, bgcolor=PAPER)
