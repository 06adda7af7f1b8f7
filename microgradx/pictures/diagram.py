"""The content of a picture of a graph: which nodes, where the gradient stops, what is folded."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from microgradx._base.text import name_of, place
from microgradx.engine import Edge, Value, cut_off, order, sweep, with_cut_off
from microgradx.explain.explanation import Explanation
from microgradx.explain.extended import Extended
from microgradx.explain.layers import reached
from microgradx.explain.paths import Paths, is_stop

FOLD_ABOVE = 300  # nodes
CROSSINGS = 150  # arrows more than boxes: of more, no eye follows one
SPAN = 2500  # ranks: a layout of more takes seconds, then minutes


class Box:
    """One box of a picture: a node, or the nodes that a fold puts together.

    number: its place among the boxes; id: its name in DOT
    name:   that of a fold, "" for a single node
    stops:  those inside a fold
    """

    def __init__(self, number: int, nodes: list[Value]) -> None:
        self.number, self.id = number, f"n{number}"
        self.nodes = nodes
        self.name = ""
        self.place = place(nodes[0].label)
        self.stops: list[Edge] = []


class Arrow(NamedTuple):
    """One line of a picture: an edge, or in a fold the edges between two boxes.

    number: its place among the arrows; the detached ones, which have no edges, are last
    """

    number: int
    tail: Box
    head: Box
    edges: list[Edge]
    detached: bool = False


class Diagram:
    """The graph behind `output`, without some of its nodes, in at most `limit` boxes.

    nodes:  all that is shown, in the order of the sweep, what lies behind a detach at the end
    swept:  whether backward() was called on the output, so that there are gradients to show
    alive:  the nodes with a path to the output on which no local derivative is 0
    stops:  the edges whose local derivative is 0 where the adjoint is not; of an explained
             gradient to which nothing gets through, those that keep it off
    behind_detach: the nodes that only a detach leads to
    boxes, arrows: what to draw
    folded: by what the nodes are put together, "" where each is drawn by itself

    explanation: of a gradient of the output, if the picture is to explain one
    stages: put the nodes between the choke points of the longest path into so many boxes at most;
            0 for none of that
    whole:  draw each node by itself, however many there are

    A TypeError if `output` is no Value, a ValueError for a limit below 1.
    """

    def __init__(
        self,
        output: Value,
        without: Iterable[Value] = (),
        limit: int = FOLD_ABOVE,
        explanation: Explanation | None = None,
        stages: int = 0,
        whole: bool = False,
    ) -> None:
        hidden = _checked(output, without, limit)
        swept = order(output)
        shown = with_cut_off(output) if any(map(_cuts, swept)) else swept
        self.explanation = explanation
        self.behind_detach = set(shown[len(swept) :])
        self.alive = reached(shown)
        self.nodes = [node for node in shown if node not in hidden] if hidden else shown
        self.swept = output.grad != 0  # else the grads there are come from elsewhere
        self.edges = [edge for node in self.nodes for edge in node.edges]
        if hidden:
            self.edges = [edge for edge in self.edges if edge.input not in hidden]
        stopped = explanation and not (explanation.flow and explanation.flow.mass.mantissa)
        self._cut = set(explanation.where) if explanation and stopped else set()
        self._arrives = self._arrivals(output)
        self.stops = [edge for edge in self.edges if self.is_stop(edge)]
        sick = set(filter(_is_unwell, self.nodes))
        sick.update(end for stop in self.stops for end in (stop.input, stop.node))
        apart = sick if len(sick) <= (stages or limit) // 4 else set()
        folds = [("stage", _stages(output, stages))] if stages else FOLDS[:1] if whole else FOLDS
        for self.folded, key in folds:
            if (
                not stages and not whole and not self._fits(key, apart, limit)
            ):  # as "all" always does
                continue
            self.boxes = self._boxes(key, apart)
            self.arrows = self._arrows()
            crossing = len(self.arrows) - len(self.boxes)  # a chain or a tree has none
            if crossing <= max(CROSSINGS, limit // 2) and self._span() <= SPAN:
                break

    def _arrivals(self, output: Value) -> set[Value]:
        """The nodes with a partial of 0 that a gradient arrives at.

        One that is alive and gets none has contributions that cancel; or they are too small for
        floats, or too large, and without limits they are not.
        """
        closed = {edge.node for edge in self.edges if not edge.partial} & self.alive
        if not closed:
            return closed
        adjoints = [(node, g) for node, g in sweep(output) if node in closed]
        if not all(g and math.isfinite(g) for _, g in adjoints):
            adjoints = [(node, g) for node, g in sweep(output, Extended(1.0, 0)) if node in closed]
        return {node for node, g in adjoints if is_stop(0.0, g)}

    def is_stop(self, edge: Edge) -> bool:
        """Whether the gradient stops at this very edge."""
        if self._cut:
            return edge in self._cut
        return edge.partial == 0 and edge.node in self._arrives

    def _fits(self, key: Callable[[Value], object], apart: set[Value], limit: int) -> bool:
        """Whether there are at most so many boxes; it looks at no more nodes than it must."""
        keys: set[object] = set()
        for node in self.nodes:
            keys.add(node if node in apart else key(node))
            if len(keys) > limit:
                return False
        return True

    def _boxes(self, key: Callable[[Value], object], apart: set[Value]) -> list[Box]:
        """The nodes in boxes, one for each key; those `apart` by themselves."""
        groups: dict[object, list[Value]] = {}
        for node in self.nodes:
            groups.setdefault(node if node in apart else key(node), []).append(node)
        boxes = [Box(i, nodes) for i, nodes in enumerate(groups.values())]
        for box in boxes:
            if len(box.nodes) > 1:
                self._name(box)
        return boxes

    def _name(self, box: Box) -> None:
        """Call a fold after its neuron or layer, else after its op, and put it where it belongs."""
        layer, neuron = box.place
        if self.folded == "all":
            box.name, box.place = "the rest", ("", "")
        elif self.folded == "stage":
            box.name, box.place = f"up to {name_of(box.nodes[0])}", ("", "")
        elif not layer:
            box.name = box.nodes[0].op or "leaves"
        elif self.folded == "neuron":
            box.name = f"{layer}[{neuron}]"
        else:
            box.name, box.place = layer, (layer, "")

    def columns(self) -> list[list[Box]]:
        """The boxes as a layout ranks them: each beyond what it reads, a leaf by its reader."""
        ranks = self._ranks()
        for node in self.nodes:
            for x in node.inputs:
                if x in ranks and not x.inputs:
                    ranks[x] = max(ranks[x], ranks[node] - 1)
        columns: dict[int, list[Box]] = {}
        for box in self.boxes:
            columns.setdefault(max(ranks[node] for node in box.nodes), []).append(box)
        return [columns[rank] for rank in sorted(columns)]

    def _ranks(self) -> dict[Value, int]:
        ranks: dict[Value, int] = {}
        for node in reversed(self.nodes):
            ranks[node] = max((ranks[x] + 1 for x in node.inputs if x in ranks), default=0)
        return ranks

    def _span(self) -> int:
        """How many ranks all arrows cross together: what a layout takes its time for."""
        ends = [(a.tail.nodes, a.head.nodes) for a in self.arrows if not a.tail.name + a.head.name]
        rank = self._ranks() if ends else {}
        return sum(rank[head] - rank[tail] for [tail], [head] in ends)

    def _arrows(self) -> list[Arrow]:
        """The edges between boxes; edges inside a fold are not drawn, but its stops are kept."""
        home = {node: box for box in self.boxes for node in box.nodes}
        groups: dict[object, list[Edge]] = {}
        for edge in self.edges:
            tail, head = home[edge.input], home[edge.node]
            if tail is not head:
                key: object = (tail, head) if self.folded else edge
                groups.setdefault(key, []).append(edge)
        for stop in self.stops:
            if home[stop.input] is home[stop.node]:
                home[stop.node].stops.append(stop)
        arrows = [
            Arrow(i, home[edges[0].input], home[edges[0].node], edges)
            for i, edges in enumerate(groups.values())
        ]
        cutting = filter(_cuts, self.nodes)
        cuts = [(home[x], home[node]) for node in cutting for x in cut_off(node) if x in home]
        ends = dict.fromkeys((tail, head) for tail, head in cuts if tail is not head)
        return [*arrows, *[Arrow(len(arrows) + i, *e, [], True) for i, e in enumerate(ends)]]


# From finest to coarsest; a picture takes the first that fits.
FOLDS: list[tuple[str, Callable[[Value], object]]] = [
    ("", lambda node: node),
    ("neuron", lambda node: place(node.label) if place(node.label)[0] else node),
    ("layer", lambda node: place(node.label)[0] or node),
    ("op", lambda node: place(node.label)[0] or (node.op,)),
    ("all", lambda node: None),
]


def _stages(output: Value, most: int) -> Callable[[Value], object]:
    """Which of `most` stages a node is in, one after the other on the way to the output.

    A stage ends at a node that every path from the deepest leaf goes through.
    """
    paths = Paths(output)
    depth = [0] * len(paths.nodes)
    for i, j in zip(paths.tails, paths.heads):
        depth[i] = max(depth[i], depth[j] + 1)
    deepest = depth.index(max(depth))
    ends = [*reversed([paths.index[node] for node in paths.choke_points(paths.nodes[deepest])])]
    numbers = {end: k for k, end in enumerate([*ends, deepest])}
    for i in range(len(depth)):
        if i not in numbers:
            numbers[i] = numbers[paths.choke_point[i]] if i else 0
    together = -(-(len(ends) + 1) // most)
    return lambda node: numbers[paths.index[node]] // together if node in paths.index else node


def _cuts(node: Value) -> bool:
    return node.rule is not None and node.rule.silent != ()


def _is_unwell(node: Value) -> bool:
    isfinite = math.isfinite
    return not (isfinite(node.data) and isfinite(node.grad) and all(map(isfinite, node.partials)))


def _checked(output: Value, without: Iterable[Value], limit: int) -> set[Value]:
    """The nodes to leave out, once all is what it should be; the errors use the words of draw."""
    if not isinstance(output, Value):
        raise TypeError(f"draw takes the Value at the end of a graph, got {output!r:.60}")
    if not isinstance(limit, int) or limit < 1:
        raise ValueError(f"fold_above is a number of nodes, 1 or more, got {limit!r}")
    nodes = list(without) if isinstance(without, Iterable) else [None]
    if not all(isinstance(node, Value) for node in nodes):
        raise TypeError(f"without takes a list of Values, got {without!r:.60}; for a model, "
                        "use model.parameters()")  # fmt: skip
    if output in nodes:
        raise ValueError("without holds the output itself, and nothing would be left to draw")
    return set(nodes)
