"""A walk through the moments of a computation, forwards and backwards, as a reader asks for it.

Nothing here prints, and no `.grad` is read or changed: the command line shows `screen(stepper, …)`
and hands what the reader types to `stepper.ask`.
"""

from __future__ import annotations

from bisect import bisect_right
from difflib import get_close_matches
from functools import cached_property
from typing import NamedTuple

from microgradx._base.text import clean, few
from microgradx.engine import Edge, Value
from microgradx.explain.explanation import Flow
from microgradx.explain.extended import Extended
from microgradx.explain.paths import Paths
from microgradx.step.moments import Moment, Timeline
from microgradx.step.words import called


class Line(NamedTuple):
    """A line of the tree: a node, and the edge it is reached by.

    parent: the line of the edge's node; depth: how many edges below the output
    last:   whether no other input of that node follows
    again:  whether the node is listed further up already, with what it was made of
    """

    node: Value
    edge: Edge | None
    parent: int
    depth: int
    last: bool
    again: bool


def tree(output: Value) -> list[Line]:
    """The graph as an indented list, from the output down to the leaves, a line for each edge."""
    lines: list[Line] = []
    listed: set[Value] = set()
    todo = [Line(output, None, -1, 0, True, False)]
    while todo:
        line = todo.pop()
        node, here = line.node, len(lines)
        lines.append(line._replace(again=node in listed))
        edges = () if node in listed else node.edges
        listed.add(node)
        below = [Line(e.input, e, here, line.depth + 1, e is edges[-1], False) for e in edges]
        todo.extend(reversed(below))
    return lines


def path_products(paths: Paths) -> list[Extended]:
    """For each node, in order, the product of the local derivatives on its strongest path."""
    products = [Extended(1.0, 0)]
    for e in paths.strongest_edge[1:]:
        products.append(paths.partials[e] * products[paths.heads[e]])
    return products


COMMANDS = {
    "n": "next", "b": "back", "s": "stop", "j": "jump", "w": "why", "t": "turn", "g": "first",
    "G": "last", "h": "help", "q": "quit",
}  # fmt: skip


class Stepper:
    """A walk through the moments of `output`, of which number `now` is shown.

    said:   what was asked for, to be shown in place of the moment's multiplication
    notice: what else there is to say, in a line
    over:   whether the reader has had enough
    """

    def __init__(self, output: Value) -> None:
        self.output, self.timeline = output, Timeline(output)
        self.moments, self.end = self.timeline.moments, len(self.timeline.moments) - 1
        self.now, self.said, self.notice, self.over = 0, "", "", False
        self.tree = tree(output)
        self._first = {line.node: i for i, line in enumerate(self.tree) if not line.again}
        self._lines = {line.edge: i for i, line in enumerate(self.tree)}

    @property
    def moment(self) -> Moment:
        """The moment that the walk stands at."""
        return self.moments[self.now]

    @property
    def line(self) -> int:
        """The line of the tree that this moment is about."""
        edge = self.moment.edge
        return self._lines[edge] if edge else self._first[self.moment.node]

    def grad(self, node: Value) -> float | None:
        """The grad so far; None where nothing has arrived yet."""
        growth = self.timeline.growth[node]
        i = bisect_right(growth, self.now)
        return self.moments[growth[i - 1]].after if i else None

    def stopped_at(self, edge: Edge) -> bool:
        """Whether the gradient has come to this edge, and stopped."""
        return self.timeline.along[edge] <= self.now and self.timeline.stops(edge)

    # --- what can be asked --------------------------------------------------------------------

    def ask(self, text: str) -> None:
        """Do what the reader typed: a command's letter or its name, after a : if need be.

        Nothing is `next`.
        """
        word, _, rest = text.strip().removeprefix(":").partition(" ")
        self.said = self.notice = ""
        word = word or "next"
        name = COMMANDS.get(word, COMMANDS.get(word.lower(), word.lower()))
        if name in COMMANDS.values():
            getattr(self, name)(rest.strip())
        else:
            self.notice = f"no command {clean(word)}; there are {', '.join(COMMANDS.values())}"

    def next(self, _: str = "") -> None:
        """on by one moment; Enter and → do it too"""
        if self.now == self.end:
            self.notice = "this is the end: every grad is final"
        self.now = min(self.now + 1, self.end)

    def back(self, _: str = "") -> None:
        """back by one moment, as ← does"""
        if not self.now:
            self.notice = "this is the beginning"
        self.now = max(self.now - 1, 0)

    def stop(self, _: str = "") -> None:
        """run to the next edge at which the gradient stops"""
        stop = self.timeline.next_stop(self.now)
        if stop is None:
            self.notice = "after this the gradient stops nowhere"
        else:
            self.now = stop

    def jump(self, label: str = "") -> None:
        """jump LABEL: to where that node's grad is final; again, the next one"""
        moments = self._named(label)
        if moments:
            self.now = next((i for i in moments if i > self.now), moments[0])
        if len(moments) > 1:
            self.notice = f"there are {len(moments):,} of that name; jump again for the next"

    def why(self, label: str = "") -> None:
        """why this gradient is what it is; :why LABEL, another's"""
        moments = self._named(label) if label else [self.now]
        if moments:
            node = self.moments[moments[0]].subject
            self.said = "\n".join(self.flow.why(node).sentences)

    def turn(self, _: str = "") -> None:
        """to where the backward sweep starts"""
        self.now = self.timeline.turn

    def first(self, _: str = "") -> None:
        """to the first value"""
        self.now = 0

    def last(self, _: str = "") -> None:
        """to the end, where every grad is final"""
        self.now = self.end

    def help(self, _: str = "") -> None:
        """this list"""
        lines = [f"{k}, {name:6} {getattr(self, name).__doc__}" for k, name in COMMANDS.items()]
        self.said = "\n".join(lines)

    def quit(self, _: str = "") -> None:
        """that was all; Ctrl-D and Ctrl-C do it too"""
        self.over = True

    def _named(self, label: str) -> list[int]:
        """The moments when the nodes of this name become final; a notice where there are none."""
        label, nodes = clean(label), self.timeline.nodes
        moments = sorted(self.timeline.final(node) for node in nodes if called(node) == label)
        if not moments:
            names = list(dict.fromkeys(map(called, sorted(nodes, key=lambda node: not node.label))))
            close = get_close_matches(label, names, 5, 0.4)
            shown, rest = (close, 0) if close else few(names, 5)
            there = ", ".join(shown) + (", …" if rest else "")
            what = f"no node is called {label}; {'the closest' if close else 'there'} are {there}"
            self.notice = what if label else f"jump where? There are {there}"
        return moments

    # --- what takes a flow, which takes a while in a large graph --------------------------------

    @cached_property
    def flow(self) -> Flow:
        """The paths of the graph."""
        return Flow(self.output)

    @cached_property
    def products(self) -> list[Extended]:
        """For each node, in order, the product of the local derivatives on its strongest path."""
        return path_products(self.flow.paths)

    def path_through(self, edge: Edge) -> tuple[list[Edge], Extended]:
        """The strongest path from the output through `edge`: its last five edges, its product."""
        path = [edge]
        onward = self.flow[edge.node].strongest
        while onward and len(path) < 5:
            path.append(onward)
            onward = self.flow[onward.node].strongest
        value = edge.partial * self.products[self.flow.paths.index[edge.node]]
        return path[::-1], value
