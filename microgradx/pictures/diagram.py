"""The content of a picture of a graph: which nodes, where the gradient stops, what is folded."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import cached_property

from microgradx._base.text import Place, place
from microgradx.engine import Edge, Value, cut_off
from microgradx.explain.explanation import Explanation
from microgradx.explain.layers import reached
from microgradx.pictures.folds import FOLDS, Fold
from microgradx.pictures.graph import Graph, cuts

FOLD_ABOVE = 300  # nodes
CROSSINGS = 150  # arrows more than boxes: of more, no eye follows one
SMALL = 1e-3  # of the output's gradient
SPAN = 2500  # ranks: a layout of more takes seconds, then minutes


class Box:
    """One box of a picture: a node, or the nodes that a fold puts together.

    number: its place among the boxes; id: its name in DOT
    name:   that of a fold, "" for a single node
    stops:  those inside a fold
    depth:  of its deepest op below the output, inf for leaves
    """

    def __init__(self, number: int, nodes: list[Value]) -> None:
        self.number, self.id = number, f"n{number}"
        self.nodes = nodes
        self.name = ""
        self.place = place(nodes[0].label)
        self.stops: list[Edge] = []
        self.depth = math.inf


class Arrow:
    """One line of a picture: an edge, or in a fold the edges between two boxes.

    number: its place among the arrows; the detached ones, which have no edges, are last
    which:  the numbers of its edges in the graph
    """

    def __init__(self, number: int, ends: tuple[Box, Box], graph: Graph, which: list[int]) -> None:
        self.number, self.graph, self.which = number, graph, which
        self.tail, self.head = ends
        self.detached = not which

    @cached_property
    def edges(self) -> list[Edge]:
        """Its edges, in the order of the sweep."""
        return [*map(self.graph.edge, self.which)]

    def readers(self) -> Iterator[Value]:
        """The node that each edge leads to."""
        return (self.graph.nodes[self.graph.heads[e]] for e in self.which)

    @cached_property
    def partials(self) -> list[float]:
        """Those of its edges, in the same order."""
        return [self.graph.partials[e] for e in self.which]


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

    A TypeError if `output` is no Value, a ValueError for a limit below 1.
    """

    def __init__(
        self,
        output: Value,
        without: Iterable[Value] = (),
        limit: int = FOLD_ABOVE,
        explanation: Explanation | None = None,
    ) -> None:
        hidden = _checked(output, without, limit)
        self.graph = graph = Graph(output)
        self.limit = limit
        self.explanation = explanation
        self.behind_detach = set(graph.nodes[graph.swept :])
        self.alive = reached(graph.nodes)
        self.shown = [i for i, node in enumerate(graph.nodes) if node not in hidden]
        self.nodes = [graph.nodes[i] for i in self.shown]
        self.swept = output.grad != 0  # else the grads there are come from elsewhere
        gone = {graph.index[node] for node in hidden if node in graph.index}
        pairs = enumerate(zip(graph.tails, graph.heads))
        self.which = [e for e, both in pairs if gone.isdisjoint(both)]  # the edges that are shown
        stopped = explanation and not (explanation.flow and explanation.flow.mass.mantissa)
        self._cut = set(explanation.where) if explanation and stopped else set()
        zeros = [e for e in self.which if not graph.partials[e]]
        self._arrives = self._arrivals(zeros)
        self.stops = [edge for edge in map(graph.edge, zeros) if self.is_stop(edge)]
        self.unwell = [i for i in self.shown if _is_unwell(graph.nodes[i])]
        ends = [end for stop in self.stops for end in (stop.input, stop.node)]
        self.sick = {*self.unwell, *map(graph.index.__getitem__, ends)}
        self._fold_to_limit()

    @cached_property
    def edges(self) -> list[Edge]:
        """All that are shown."""
        return [*map(self.graph.edge, self.which)]

    def _arrivals(self, zeros: list[int]) -> set[Value]:
        """The nodes with a partial of 0 that a gradient arrives at.

        One that is alive and gets none has contributions that cancel; or they are too small for
        floats, or too large, and without limits they are not.
        """
        graph = self.graph
        closed = {j for j in map(graph.heads.__getitem__, zeros) if graph.nodes[j] in self.alive}
        if not closed:
            return set()
        adjoints = graph.adjoints(closed)
        return {graph.nodes[j] for j in closed if adjoints[j]}

    def is_stop(self, edge: Edge) -> bool:
        """Whether the gradient stops at this very edge."""
        if self._cut:
            return edge in self._cut
        return edge.partial == 0 and edge.node in self._arrives

    # --- the places to know -------------------------------------------------------------------

    @cached_property
    def fading(self) -> Value | None:
        """The first op, from the output on, behind which all gradients are too small."""
        graph, depths = self.graph, self.graph.depths
        if not self.swept:
            return None
        largest: dict[int, Value] = {}  # at each depth
        for node, depth in zip(graph.nodes, depths):
            if node.rule and (depth not in largest or abs(node.grad) > abs(largest[depth].grad)):
                largest[depth] = node
        found, least = None, SMALL * abs(graph.nodes[0].grad)
        for depth in sorted(largest, reverse=True):
            if not abs(largest[depth].grad) < least:
                break
            found = largest[depth] if largest[depth].grad else found
        return found

    @property
    def origin(self) -> Value | None:
        """Where numbers cease to be finite: on the way to the output, else on the way back."""
        unwell = [self.graph.nodes[i] for i in self.unwell]
        return next((x for x in reversed(unwell) if not math.isfinite(x.data)), None) or next(
            iter(unwell), None
        )

    @property
    def landmarks(self) -> set[int]:
        """The nodes that a fold leaves by themselves: where the gradient first stops, and vanishes.

        With the op that stops it stands what it stops it from, if this is not all that it reads.
        """
        marks = [x for x in (self.origin, self.fading) if x]
        if self.stops:
            first = self.stops[0]
            marks += [first.node] if len(first.node.inputs) == 1 else [first.node, first.input]
        return {self.graph.index[node] for node in marks}

    # --- folds --------------------------------------------------------------------------------

    def _fold_to_limit(self) -> None:
        """Put together what must be so that there are no more boxes than the limit."""
        apart = self.sick if len(self.sick) <= self.limit // 4 else set()
        for by, key in FOLDS:
            if self._is_within(key, apart):  # as "all" always is
                keys = [key(node) for node in self.graph.nodes]
                self.fold(Fold(by, keys, _namer(by)), apart)
                crossing = len(self.arrows) - len(self.boxes)  # a chain or a tree has none
                if crossing <= max(CROSSINGS, self.limit // 2) and self._span() <= SPAN:
                    break

    def _is_within(self, key: Callable[[Value], Hashable], apart: set[int]) -> bool:
        """Whether a fold has no more boxes than the limit; it looks at no more than it must."""
        keys: set[Hashable] = set()
        for i, node in zip(self.shown, self.nodes):
            keys.add(-1 - i if i in apart else key(node))
            if len(keys) > self.limit:
                return False
        return True

    def fold(self, fold: Fold, apart: set[int]) -> None:
        """Make boxes of the nodes with one key, and arrows between them; `apart` stay single."""
        self.folded = fold.by
        nodes = self.graph.nodes
        number: dict[Hashable, int] = {}
        groups: list[list[Value]] = []
        home: list[int] = [-1] * len(nodes)
        for i in self.shown:
            key = (i,) if i in apart else fold.keys[i]
            k = home[i] = number.setdefault(key, len(groups))
            if k == len(groups):
                groups.append([])
            groups[k].append(nodes[i])
        self.boxes = [Box(k, group) for k, group in enumerate(groups)]
        depths, index = self.graph.depths, self.graph.index
        for box in self.boxes:
            if len(box.nodes) > 1:
                box.name = fold.name(box.nodes)
            box.place = self._place(box)
            box.depth = max(
                [self.graph.depths[self.graph.index[x]] for x in box.nodes if x.rule],
                default=math.inf,
            )
        self._draw_arrows(home)

    @property
    def framed(self) -> bool:
        """Whether there are frames of layers: what is folded by depth has none."""
        return self.folded not in ("step", "stage", "level")

    def _place(self, box: Box) -> Place:
        """The frame that a box is drawn in: that of its layer, or for all of a layer none."""
        if not self.framed or (box.name and self.folded == "all"):
            return "", ""
        layer, neuron = box.place
        return layer, neuron if not box.name or self.folded == "neuron" or not layer else ""

    def _draw_arrows(self, home: list[int]) -> None:
        """The edges between boxes; edges inside a fold are not drawn, but its stops are kept.

        home: the box of each node, -1 for a hidden one
        """
        graph, boxes = self.graph, self.boxes
        groups: dict[int, list[int]] = {}
        for e in self.which:
            tail, head = home[graph.tails[e]], home[graph.heads[e]]
            if tail != head:
                groups.setdefault(tail * len(boxes) + head if self.folded else e, []).append(e)
        for stop in self.stops:
            tail, head = home[graph.index[stop.input]], home[graph.index[stop.node]]
            if tail == head:
                boxes[head].stops.append(stop)
        self.arrows: list[Arrow] = []
        for edges in groups.values():
            ends = boxes[home[graph.tails[edges[0]]]], boxes[home[graph.heads[edges[0]]]]
            self.arrows.append(Arrow(len(self.arrows), ends, graph, edges))
        for tail, head in self._cuts(home):
            self.arrows.append(Arrow(len(self.arrows), (boxes[tail], boxes[head]), graph, []))

    def _cuts(self, home: list[int]) -> Iterable[tuple[int, int]]:
        """The pairs of boxes with something detached between them, each once."""
        index = self.graph.index
        cutting = [node for node in self.nodes if cuts(node)]
        pairs = [(home[index[x]], home[index[node]]) for node in cutting for x in cut_off(node)]
        return dict.fromkeys((tail, head) for tail, head in pairs if -1 != tail != head)

    def _span(self) -> int:
        """How many ranks all arrows cross together: what a layout takes its time for."""
        depths = self.graph.depths
        ends = [
            (self.graph.tails[arrow.which[0]], self.graph.heads[arrow.which[0]])
            for arrow in self.arrows
            if arrow.which and not arrow.tail.name + arrow.head.name
        ]
        return sum(depths[tail] - depths[head] for tail, head in ends)


def _namer(by: str) -> Callable[[list[Value]], str]:
    """The name of a fold to a limit: that of its neuron or layer, else that of its op."""

    def name(nodes: list[Value]) -> str:
        layer, neuron = place(nodes[0].label)
        if by == "all":
            return "the rest"
        if not layer:
            return nodes[0].op or "leaves"
        return f"{layer}[{neuron}]" if by == "neuron" else layer

    return name


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
