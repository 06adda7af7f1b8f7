"""The content of a picture of a graph: which nodes, where the gradient stops, what is folded."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import compress
from math import inf
from operator import ne

from microgradx._base.text import Place, place
from microgradx.engine import Edge, Value, cut_off
from microgradx.explain.explanation import Explanation
from microgradx.explain.paths import is_stop
from microgradx.pictures.answer import LIMITS
from microgradx.pictures.folds import FOLDS, Fold, Name
from microgradx.pictures.graph import Graph, cuts

FOLD_ABOVE = 300  # nodes
CROSSINGS = 150  # arrows more than boxes: of more, no eye follows one
SMALL = 10.0**-LIMITS.small  # of the output's gradient, as `why` has it
SPAN = 2500  # ranks: a layout of more takes seconds, then minutes


class Box:
    """One box of a picture: a node, or the nodes that a fold puts together.

    number: its place among the boxes; id: its name in DOT
    name:   that of a fold, "" for a single node
    stopping: the numbers of the stops inside a fold
    depth:  of its deepest op below the output, inf for leaves
    """

    def __init__(self, number: int, nodes: list[Value], graph: Graph) -> None:
        self.number, self.id = number, f"n{number}"
        self.nodes = nodes
        self.name = ""
        self.place = place(nodes[0].label)
        self.stopping: list[int] = []
        self.graph = graph
        self.depth = inf

    @property
    def stops(self) -> list[Edge]:
        """Those of `stopping`, as the rest of the house knows them."""
        return [*map(self.graph.edge, self.stopping)]


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

    Without a limit there are no boxes until `fold` makes some.

    nodes:  all that is shown, in the order of the sweep, what lies behind a detach at the end
    swept:  whether backward() was called on the output, so that there are gradients to show
    alive:  the nodes with a path to the output on which no local derivative is 0
    stopping: the numbers of the edges whose local derivative is 0 where the adjoint is not; of an
            explained gradient to which nothing gets through, of those that keep it off
    behind_detach: the nodes that only a detach leads to
    boxes, arrows: what to draw
    folded: by what the nodes are put together, "" where each is drawn by itself

    explanation: of a gradient of the output, if the picture is to explain one
    nodes as an argument: those of `order(output)`, where it is known

    A TypeError if `output` is no Value, a ValueError for a limit below 1.
    """

    def __init__(
        self,
        output: Value,
        without: Iterable[Value] = (),
        limit: int | None = FOLD_ABOVE,
        explanation: Explanation | None = None,
        nodes: list[Value] | None = None,
    ) -> None:
        hidden = _checked(output, without, limit)
        self.graph = graph = Graph(output, nodes)
        self.explanation = explanation
        self.behind_detach = set(graph.nodes[graph.swept :])
        self.alive = graph.reached()
        self.shown = [i for i, node in enumerate(graph.nodes) if node not in hidden]
        self.nodes = [graph.nodes[i] for i in self.shown]
        self.cutting = [node for node in self.nodes if cuts(node)]
        self.swept = output.grad != 0  # else the grads there are come from elsewhere
        self.which: Sequence[int] = range(len(graph.tails))  # the edges that are shown
        if hidden:
            gone = {graph.index[node] for node in hidden if node in graph.index}
            pairs = enumerate(zip(graph.tails, graph.heads))
            self.which = [e for e, both in pairs if gone.isdisjoint(both)]
        self._find_stops()
        self.boxes: list[Box] = []
        self.arrows: list[Arrow] = []
        self.folded = ""
        if limit is not None:
            self._fold_to_limit(limit)

    def _find_stops(self) -> None:
        """Where the gradient stops, and what else is sick."""
        graph, explanation = self.graph, self.explanation
        stopped = explanation and not (explanation.flow and explanation.flow.norm.mantissa)
        self._cut = set(explanation.where) if explanation and stopped else set()
        zeros = [e for e in self.which if not graph.partials[e]]
        self._arrives = self._arrivals(zeros)
        self.stopping = self._stopping(zeros)
        self.unwell = _unwell(graph, self.shown)
        self.sick = {*self.unwell, *[graph.tails[e] for e in self.stopping]}
        self.sick.update([graph.heads[e] for e in self.stopping])

    @cached_property
    def stops(self) -> list[Edge]:
        """Those of `stopping`, as the rest of the house knows them."""
        return [*map(self.graph.edge, self.stopping)]

    def _stopping(self, zeros: list[int]) -> list[int]:
        """The numbers of the edges where the gradient stops."""
        graph = self.graph
        if self._cut:
            return [e for e in zeros if graph.edge(e) in self._cut]
        return [e for e in zeros if graph.nodes[graph.heads[e]] in self._arrives]

    def stopped(self) -> list[Value]:
        """The nodes that stop the gradient, each once; ops that stop others before the rest.

        A weight whose input is 0 is stopped too, but that is seldom what the reader asks about.
        """
        tails, nodes = self.graph.tails, self.graph.nodes
        ordered = sorted(self.stopping, key=lambda e: nodes[tails[e]].rule is None)
        heads = dict.fromkeys([self.graph.heads[e] for e in ordered])
        return [self.graph.nodes[j] for j in heads]

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
        return {graph.nodes[j] for j in closed if is_stop(0.0, adjoints[j])}

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
        if self.stopping:
            tails, nodes = self.graph.tails, self.graph.nodes
            first = self.graph.edge(min(self.stopping, key=lambda e: nodes[tails[e]].rule is None))
            marks += [first.node] if len(first.node.inputs) == 1 else [first.node, first.input]
        return {self.graph.index[node] for node in marks}

    # --- folds --------------------------------------------------------------------------------

    def _fold_to_limit(self, limit: int) -> None:
        """Put together what must be so that there are no more boxes than the limit."""
        apart = self.sick if len(self.sick) <= limit // 4 else set()
        for by, key in FOLDS:
            if self._is_within(key, apart, limit):  # as "all" always is
                keys = [key(node) for node in self.graph.nodes]
                self.fold(Fold(by, keys, _namer(self.graph, by)), apart)
                crossing = len(self.arrows) - len(self.boxes)  # a chain or a tree has none
                if crossing <= max(CROSSINGS, limit // 2) and self._span() <= SPAN:
                    break

    def _is_within(self, key: Callable[[Value], Hashable], apart: set[int], limit: int) -> bool:
        """Whether a fold has no more boxes than the limit; it looks at no more than it must."""
        keys: set[Hashable] = set()
        for i, node in zip(self.shown, self.nodes):
            keys.add(-1 - i if i in apart else key(node))
            if len(keys) > limit:
                return False
        return True

    def unfold(self) -> None:
        """Draw each node by itself."""
        self.fold(Fold("", self.graph.nodes, lambda which: ""), set())

    def fold(self, fold: Fold, apart: set[int]) -> None:
        """Make boxes of the nodes with one key, and arrows between them; `apart` stay single."""
        self.folded = fold.by
        graph, keys = self.graph, list(fold.keys)
        for i in apart:
            keys[i] = (-1, i)
        numbers = {key: k for k, key in enumerate(dict.fromkeys([keys[i] for i in self.shown]))}
        home = [numbers.get(key, -1) for key in keys]
        groups: list[list[int]] = [[] for _ in numbers]
        for i in self.shown:
            groups[home[i]].append(i)
        self.boxes = [
            Box(k, [graph.nodes[i] for i in group], graph) for k, group in enumerate(groups)
        ]
        for box, group in zip(self.boxes, groups):
            if len(group) > 1:
                box.name = fold.name(group)
            box.place = self._place(box)
            box.depth = max([graph.depths[i] for i in group if graph.nodes[i].rule], default=inf)
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
        groups: defaultdict[int, list[int]] = defaultdict(list)
        tails, heads = ([*map(home.__getitem__, ends)] for ends in (graph.tails, graph.heads))
        for e in compress(range(len(tails)), map(ne, tails, heads)):
            if tails[e] >= 0 <= heads[e]:
                groups[tails[e] * len(boxes) + heads[e] if self.folded else e].append(e)
        for e in self.stopping:
            if tails[e] == heads[e]:
                boxes[heads[e]].stopping.append(e)
        self.arrows = []
        for edges in groups.values():
            both = boxes[tails[edges[0]]], boxes[heads[edges[0]]]
            self.arrows.append(Arrow(len(self.arrows), both, graph, edges))
        for tail, head in self._cuts(home):
            self.arrows.append(Arrow(len(self.arrows), (boxes[tail], boxes[head]), graph, []))

    def _cuts(self, home: list[int]) -> Iterable[tuple[int, int]]:
        """The pairs of boxes with something detached between them, each once."""
        index = self.graph.index
        pairs = [
            (home[index[x]], home[index[node]]) for node in self.cutting for x in cut_off(node)
        ]
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


def _namer(graph: Graph, by: str) -> Name:
    """The name of a fold to a limit: that of its neuron or layer, else that of its op."""

    def name(which: list[int]) -> str:
        first = graph.nodes[which[0]]
        layer, neuron = place(first.label)
        if by == "all":
            return "the rest"
        if not layer:
            return first.op or "leaves"
        return f"{layer}[{neuron}]" if by == "neuron" else layer

    return name


def _unwell(graph: Graph, shown: list[int]) -> list[int]:
    """The nodes with a number that is not finite."""
    isfinite, nodes = math.isfinite, graph.nodes
    numbers = [node.data for node in nodes], [node.grad for node in nodes], graph.partials
    if all(all(map(isfinite, xs)) for xs in numbers):
        return []
    facts = ((i, [nodes[i].data, nodes[i].grad, *nodes[i].partials]) for i in shown)
    return [i for i, xs in facts if not all(map(isfinite, xs))]


def check_limit(limit: int) -> None:
    """A ValueError, in the words of draw, for a limit that is none."""
    if not isinstance(limit, int) or limit < 1:
        raise ValueError(f"fold_above is a number of nodes, 1 or more, got {limit!r}")


def check_output(output: object) -> None:
    """A TypeError, in the words of draw, for what is no graph."""
    if not isinstance(output, Value):
        raise TypeError(f"draw takes the Value at the end of a graph, got {output!r:.60}")


def _checked(output: Value, without: Iterable[Value], limit: int | None) -> set[Value]:
    """The nodes to leave out, once all is what it should be; the errors use the words of draw."""
    check_output(output)
    check_limit(1 if limit is None else limit)
    nodes = list(without) if isinstance(without, Iterable) else [None]
    if not all(isinstance(node, Value) for node in nodes):
        raise TypeError(f"without takes a list of Values, got {without!r:.60}; for a model, "
                        "use model.parameters()")  # fmt: skip
    if output in nodes:
        raise ValueError("without holds the output itself, and nothing would be left to draw")
    return set(nodes)
