"""A picture of the graph that shows where its gradient fades and where it stops.

Every edge carries its local derivative (×0.25), every node its data and grad, in three
significant digits. A node's colour is the decade of its gradient. Where a local derivative of 0
meets a gradient that is not, a STOP stands across that very edge, and what lies behind is grey.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from microgradx._base.text import (
    Place,
    clip,
    common_place,
    count,
    known_as,
    listed,
    name_of,
    place,
    short,
)
from microgradx.engine import Edge, Value
from microgradx.explain.explanation import Explanation
from microgradx.explain.extended import show
from microgradx.explain.paths import Paths
from microgradx.explain.tangents import Tangents
from microgradx.pictures import style
from microgradx.pictures.answer import Answer
from microgradx.pictures.diagram import Arrow, Box, Diagram
from microgradx.pictures.markup import width_of
from microgradx.pictures.room import LINE, Room
from microgradx.pictures.style import Scale, bold, escape, font, row, swatch

if TYPE_CHECKING:
    import graphviz

Text = Callable[[Value], str]
HEAD = 90  # points of a picture's head
MOST = 200  # boxes: of more, none fits


class Sheet:
    """One diagram on its way into DOT.

    label, note: what to call a node, its own label by default; one more line in it, "" for none
    """

    def __init__(
        self, diagram: Diagram, label: Text | None = None, note: Text | None = None
    ) -> None:
        for name, text in (("label", label), ("note", note)):
            if text is not None and not callable(text):
                raise TypeError(f"{name} is a function from a node to its text, got {text!r:.60}")
        self.shares = Shares(diagram.explanation) if diagram.explanation else None
        self.diagram = diagram
        self.is_stop = diagram.is_stop
        self.label: Text = label or known_as
        self.note = note
        self.crowd = Counter(box.place for box in diagram.boxes)
        self.backwards: set[int] = set()  # those that run against the direction of the picture

    @cached_property
    def scale(self) -> Scale:
        """Of the blues of the boxes."""
        return Scale(max([abs(x.grad) for x in box.nodes]) for box in self.diagram.boxes)

    # --- the whole ----------------------------------------------------------------------------

    def source(self, title: str, direction: str) -> str:
        """The picture in DOT; a ValueError for another direction than "LR", "TB", "RL" or "BT"."""
        import graphviz  # only a picture needs it: importing microgradx must stay quick

        if direction not in ("LR", "TB", "RL", "BT"):
            raise ValueError(f"a direction is LR, TB, RL or BT, got {direction!r}")
        graph = graphviz.Digraph("microgradx")
        graph.attr(
            rankdir=direction, bgcolor=style.PAPER, fontname="Helvetica", fontcolor=style.INK
        )
        graph.attr(nodesep="0.25", ranksep="0.55", labelloc="t", label=self.legend(title))
        graph.attr("node", shape="box", fontname="Helvetica", fontsize="12", margin="0.1,0.06")
        graph.attr("edge", fontname="Helvetica", fontsize="11", fontcolor=style.INK)
        self.frames(graph)
        for arrow in self.diagram.arrows:
            stops = [_bar_id(arrow)] if arrow in self.bars else []
            ends = [arrow.tail.id, *stops, arrow.head.id]
            for tail, head, look in zip(ends, ends[1:], self.lines(arrow)):
                if arrow.number in self.backwards:
                    look = {**look, "dir": "back", "arrowtail": look.get("arrowhead", "normal")}
                    tail, head = head, tail
                graph.edge(tail, head, **look)
        return str(graph.source)

    def direction(self, directions: list[str], width: float, height: float) -> str | None:
        """The first of the directions in which a layout has room, as far as can be reckoned."""
        boxes, arrows = self.diagram.boxes, self.diagram.arrows
        if len(boxes) > MOST or len(arrows) > MOST:
            return None
        bars = self.bars
        labels = {arrow: _size([] if arrow in bars else self.badges[arrow]) for arrow in arrows}
        room = Room({box: self.size(box) for box in boxes}, labels, bars)
        title, line = self.answer()[:2]
        head = max(width_of(title, 15, True), width_of(line, 12))
        for each in directions:
            across, high = room.size(each in ("LR", "RL"))
            if max(across, head) <= width and high + HEAD <= height:
                return each
        return None

    def size(self, box: Box) -> tuple[float, float]:
        """About how wide and how high a box will be."""
        if box.name:
            lines = [box.name, "1,000 nodes   |grad| 0.00123 … 0.123"]
            lines += ["STOP on 100 edges inside"] if box.stopping else []
        else:
            [node] = box.nodes
            name = f"{self.label(node)} {_sign(node)}"
            lines = [name, f"{short(node.data)}   grad {short(node.grad)}"]
        widths = [width_of(text, 12 if i == 0 else 11, i == 0) for i, text in enumerate(lines)]
        return max(widths) + 16, LINE * len(lines) + 12

    def frames(self, graph: graphviz.Digraph) -> None:
        """Every box and every bar in its neuron's frame, and that in its layer's."""
        layers: dict[str, dict[str, list[dict[str, str]]]] = {}
        for (layer, neuron), shape in self.shapes():
            layers.setdefault(layer, {}).setdefault(neuron, []).append(shape)
        for i, (layer, neurons) in enumerate(layers.items()):
            lone_fold = [box.name for box in self.diagram.boxes if box.place[0] == layer] == [layer]
            with _frame(graph, "" if lone_fold else layer, f"layer{i}", style.LAYER) as outer:
                for neuron, shapes in neurons.items():
                    name = f"[{neuron}]" if neuron and len(shapes) > 1 else ""
                    with _frame(outer, name, f"layer{i}_neuron{neuron}", style.NEURON) as inner:
                        for shape in shapes:
                            inner.node(**shape)

    def shapes(self) -> Iterator[tuple[Place, dict[str, str]]]:
        """Where each box and bar belongs, and its DOT attributes."""
        for box in self.diagram.boxes:
            rows = "".join(self.fold_rows(box) if box.name else self.node_rows(box.nodes[0]))
            table = f'<<table border="0" cellspacing="0" cellpadding="1">{rows}</table>>'
            yield box.place, {"name": box.id, "label": table, **self.box(box)}
        for arrow in self.diagram.arrows:
            if arrow in self.bars:
                place = common_place(arrow.tail.place, arrow.head.place)
                yield place, {"name": _bar_id(arrow), **self.bar(arrow)}

    def legend(self, title: str) -> str:
        """The answer, the title, and below what colours and looks of this very picture mean."""
        cells = self.key()
        found = self.answer()
        heads = [(self.shares.heading(), 15)] if self.shares else [(found.title, 15)]
        heads = [*heads, (title, 15), (found.line, 12)]
        if not found.title or self.shares:
            heads = [(title, 15), *heads[:1]]
        width = len(cells) or 1
        heads_rows = [row(font(head, size), f' colspan="{width}"') for head, size in heads]
        top = "".join(heads_rows)
        key = f"<tr>{''.join(cells)}</tr>" if cells else ""
        for strip in self.shares.legend() if self.shares else []:
            table = f'<table border="0" cellspacing="3"><tr>{"".join(strip)}</tr></table>'
            key += row(table, f' colspan="{width}"')
        return f'<<table border="0" cellspacing="4">{top}{key}</table>>' if top or key else ""

    def key(self) -> list[str]:
        """What colours and looks mean, as the cells of a row."""
        states = {self.state(box) for box in self.diagram.boxes}
        cells = []
        for state, (fill, ink, _) in style.LOOKS.items():
            text = f"≥ {self.scale.floor(state)}" if isinstance(state, int) else state
            cells += [swatch(fill, text, ink)] if state in states else []
        if any(isinstance(state, int) for state in states):
            cells.insert(0, f"<td>{font('|grad|', 10)}</td>")
        if self.diagram.stopping:
            cells.append(swatch(*style.stop_look("a local derivative of 0")))
        if self.diagram.folded:
            text = f"{len(self.diagram.nodes):,} nodes, folded by {self.diagram.folded}"
            cells.append(f"<td>{font(text, 10)}</td>")
        return cells

    def answer(self) -> Answer:
        """Where the gradient stops first, or gets small, and what follows; else nothing."""
        diagram = self.diagram
        if diagram.origin:
            return Answer(f"Not finite at {name_of(diagram.origin)}", "")
        fading = ""
        if diagram.fading:
            size = short(abs(diagram.fading.grad))
            where = name_of(diagram.fading)
            fading = f"gets small at {where}: |grad| is at most {size} from there on"
        if not diagram.stopping:
            return Answer(f"The gradient {fading}" if fading else "", "")
        places, starved = diagram.stopped(), self.starved()
        several = f"{len(places):,} nodes, first at " if len(places) > 1 else ""
        title = f"The gradient stops at {several}{name_of(places[0])}"
        if not starved:
            title = f"A local derivative of 0 at {several}{name_of(places[0])}; no node is starved"
        return Answer(title, f"It {fading}" if fading else starved)

    def starved(self) -> str:
        """How many nodes no gradient can reach, as a sentence."""
        shown = set(self.diagram.nodes)
        n = len(shown - self.diagram.alive - self.diagram.behind_detach)
        return f"{count(n, 'node')} starved behind it" if n else ""

    def summary(self) -> str:
        """The picture in words."""
        diagram = self.diagram
        facts = [f"{count(len(diagram.nodes), 'node')}, {count(len(diagram.which), 'edge')}"]
        if diagram.folded:
            boxes = count(len(diagram.boxes), "box", "boxes")
            facts.append(f"drawn as {boxes}, folded by {diagram.folded}")
        if not diagram.swept:
            facts.append("no gradients yet: call backward() first")
        if diagram.stopping:
            places = list(dict.fromkeys(map(_called, diagram.stopped())))
            facts.append(f"STOP at {listed(places, 5)}")
        off = set(diagram.nodes) - diagram.alive
        detached = len(off & diagram.behind_detach)
        starved = len(off) - detached
        facts += [f"{starved:,} starved behind it"] if starved else []
        return "; ".join(facts + ([f"{detached:,} detached"] if detached else []))

    # --- a box --------------------------------------------------------------------------------

    def box(self, box: Box) -> dict[str, str]:
        """The look of a box."""
        fill, ink, border = style.LOOKS[self.state(box)]
        explained = self.shares is not None and self.shares.explanation.node in box.nodes
        return {
            "style": f"filled,{border}",
            "fillcolor": fill,
            "fontcolor": ink,
            "color": style.INK if ink != style.GREY else style.GREY,
            "penwidth": "4" if explained else "2.5" if border == "bold" else "1.2",
        }

    def state(self, box: Box) -> int | str:
        """The shade of its gradient, or the word for a box that has none."""
        grads = [node.grad for node in box.nodes]
        if not all(map(math.isfinite, [*grads, *[node.data for node in box.nodes]])):
            return "not finite"
        if self.diagram.behind_detach.issuperset(box.nodes):
            return "detached"
        if self.diagram.alive.isdisjoint(box.nodes):
            return "starved"
        if not self.diagram.swept:
            return "no backward yet"
        return self.scale.shade(max(map(abs, grads))) if any(grads) else "grad is 0"

    def node_rows(self, node: Value) -> list[str]:
        """Name and op, data and grad, and the reader's note."""
        grad = f"   grad {short(node.grad)}" if self.diagram.swept else ""
        note = self.note(node) if self.note else ""
        numbers = font(short(node.data) + grad, 11)
        return [self.head(node), row(numbers), row(font(note, 11, strong=True))]

    def head(self, node: Value) -> str:
        """The row of a node's name and op."""
        name, sign = self.label(node), _sign(node)
        if name == node.label and self.diagram.framed:
            name = self.within_frame(node)
        return row(" ".join(filter(None, [bold(name), escape(sign) if name else bold(sign)])))

    def within_frame(self, node: Value) -> str:
        """A node's label without what the frames around it say already."""
        layer, neuron = place(node.label)
        name = node.label.removeprefix(layer)
        own = name in (f"[{neuron}]", f"[{neuron}].z")
        return "" if own and self.crowd[layer, neuron] > 1 else name.removeprefix(".")

    def fold_rows(self, box: Box) -> list[str]:
        """Name, how many nodes, their largest gradient, and the stops inside."""
        facts = f"{len(box.nodes):,} nodes"
        if self.diagram.swept:
            grads = [abs(node.grad) for node in box.nodes]
            low, high = short(min(grads)), short(largest(grads))
            facts += f"   |grad| {low} … {high}" if low != high else f"   |grad| {high}"
        inside = f"STOP on {count(len(box.stopping), 'edge')} inside" if box.stopping else ""
        bar = row(font(inside, 11, style.ON_STOP), f' bgcolor="{style.STOP}"')
        return [row(bold(box.name)), row(font(facts, 11)), bar]

    # --- an arrow -----------------------------------------------------------------------------

    @cached_property
    def bars(self) -> set[Arrow]:
        """The arrows that nothing gets through, though something arrives."""
        shut = [x for x in self.diagram.arrows if not (x.detached or any(x.partials))]
        return {arrow for arrow in shut if all(map(self.is_stop, arrow.edges))}

    def bar(self, arrow: Arrow) -> dict[str, str]:
        """The bar across an arrow where the gradient stops."""
        many = f"{len(arrow.edges):,} × 0" if len(arrow.edges) > 1 else "×0"
        blamed = "<br/>culprit" if self.shares and self.shares.blames(arrow.edges) else ""
        return {
            "label": f"<<b>{many}<br/>STOP{blamed}</b>>",
            "style": "filled",
            "fillcolor": style.STOP,
            "fontcolor": style.ON_STOP,
            "color": style.STOP,
            "margin": "0.05,0.14",
            "width": "0.3",
        }

    def lines(self, arrow: Arrow) -> list[dict[str, str]]:
        """The look of an arrow's line; of the two, up to its bar and on from it."""
        if arrow.detached:
            grey = {"color": style.GREY, "fontcolor": style.GREY}
            return [{"label": "detached", "style": "dotted", **grey}]
        if arrow in self.bars:
            before = {"style": "dashed", "color": style.GREY, "arrowhead": "none"}
            return [before, {"color": style.STOP, "penwidth": "3"}]
        words = self.badges[arrow]
        if self.shares:
            look = self.shares.line(arrow.edges)
            gap = " " * round(1 + float(look["penwidth"]) / 3)  # beside a line as wide as that
            return [{"label": gap + f"\n{gap}".join(words) + " ", **look}]
        alive = any(node in self.diagram.alive for node in arrow.readers())
        ink, line = (style.INK, style.LINE) if alive else (style.GREY, style.FAINT)
        width = _width(largest(arrow.partials))
        look = {"penwidth": f"{width:.2f}", "color": line, "fontcolor": ink}
        return [{"label": " " + "\n ".join(words) + " ", **look}]

    @cached_property
    def badges(self) -> dict[Arrow, list[str]]:
        """The lines of text on each arrow."""
        return {arrow: self._badge(arrow) for arrow in self.diagram.arrows}

    def _badge(self, arrow: Arrow) -> list[str]:
        if arrow.detached:
            return ["detached"]
        share = self.shares.badge(arrow.edges) if self.shares else ""
        return [*_factor(arrow), *([share] if share else [])]


def _bar_id(arrow: Arrow) -> str:
    """The name in DOT of the bar across an arrow."""
    return f"{arrow.tail.id}_{arrow.edges[0].position}_{arrow.head.id}"


@contextmanager
def _frame(
    graph: graphviz.Digraph, label: str, name: str, colour: str
) -> Iterator[graphviz.Digraph]:
    """A framed part of `graph` to add to; the graph itself where there is no label."""
    if not label:
        yield graph
        return
    with graph.subgraph(name=f"cluster_{name}") as frame:
        frame.attr(label=f"<{font(label, 12)}>", style="rounded", color=colour, labeljust="l")
        yield frame


class Shares:
    """The lines of a picture that explains one gradient, and the words that go with them.

    A line is as wide as its share of the path norm, dark on the strongest path, blue where its
    factor weakens the gradient and orange where it strengthens it, dashed where its paths oppose
    the rest.

    share:    φ of each edge between the explained node and the output: how much of all paths goes
              along it, from 0 to 1
    opposing: those through which the other sign comes than the gradient's
    """

    def __init__(self, explanation: Explanation) -> None:
        self.explanation = explanation
        self.path = {edge for edge, _ in explanation.path}
        self.culprits = set(explanation.culprits)
        self.share: dict[Edge, float] = {}
        self.opposing: set[Edge] = set()
        if explanation.flow:
            self._measure(explanation.paths, explanation.tangents)

    def _measure(self, paths: Paths, tangents: Tangents) -> None:
        for e in tangents.edges:
            edge = paths.edge(e)
            self.share[edge] = tangents.shares[e] if tangents.norm.mantissa else 0.0
            through = edge.partial * tangents.to(paths.tails[e]) * paths.wide(paths.heads[e])
            if through.mantissa * tangents.g.mantissa < 0:
                self.opposing.add(edge)

    def line(self, edges: list[Edge]) -> dict[str, str]:
        """The look of a line that stands for these edges."""
        ours = [edge for edge in edges if edge in self.share or edge in self.path]
        if not ours:
            return {"penwidth": "0.6", "color": style.AWAY, "fontcolor": style.EVEN}
        shares = [(self.share.get(edge, 0.0), abs(edge.partial)) for edge in ours]
        gain = sum(share * math.log10(d) for share, d in shares if d)  # credit
        colour = style.WEAKER if gain < -0.005 else style.STRONGER if gain > 0.005 else style.EVEN
        if not self.path.isdisjoint(ours):
            colour = style.STRONGEST
        look = {"penwidth": f"{0.8 + 5.2 * self.together(ours):.2f}", "color": colour,
                "fontcolor": colour, "style": "solid"}  # fmt: skip
        if self.opposing.issuperset(ours):
            look["style"] = "dashed"
        if self.blames(edges):
            look |= {"color": style.STOP, "fontcolor": style.STOP, "fontsize": "15"}
        return look

    def badge(self, edges: list[Edge]) -> str:
        """The words beside the factor on a line's badge: its share, and whether it is to blame."""
        share = self.together(edges)
        words = [f"{share:.0%}"] if 0.005 <= share < 0.995 else []
        return ", ".join(words + (["culprit"] if self.blames(edges) else []))

    def together(self, edges: list[Edge]) -> float:
        """How much of all paths goes along these edges."""
        return min(1.0, sum(self.share.get(edge, 0.0) for edge in edges))

    def blames(self, edges: list[Edge]) -> bool:
        """Whether one of these edges alone is to blame for what the gradient is."""
        return not self.culprits.isdisjoint(edges)

    def heading(self) -> str:
        """The gradient, its verdict and the causes, for the head of the picture."""
        why = self.explanation
        of = f"∂{name_of(why.output)}/∂{name_of(why.node)}"
        g = show(why.flow.wide) if why.flow else "0"
        causes = f": {', '.join(why.causes[:4])}" if why.causes else ""
        return f"{of} = {g}, {why.verdict}{causes}"

    def legend(self) -> Iterator[list[str]]:
        """Rows of cells: what the lines mean, and the budget in decades, with its sum."""
        yield [swatch(style.PAPER, word, ink) for ink, word in style.SHARES]
        why = self.explanation
        terms = sorted(why.budget.items(), key=lambda term: -abs(term[1]))
        terms = [(kind, x) for kind, x in terms if abs(x) >= 0.005]
        if why.flow and terms:
            sums = [*terms, ("log₁₀|g|", why.flow.decades)]
            yield [
                f"<td>{font('decades', 12, style.INK)}</td>",
                *[swatch(style.PAPER, f"{kind} {x:+.2f}", style.INK) for kind, x in sums],
            ]


# --- words ----------------------------------------------------------------------------------------


def _factor(arrow: Arrow) -> list[str]:
    """The badge of an arrow: its local derivative, or how many there are and their range."""
    partials = arrow.partials
    if len(partials) == 1:
        return [f"×{short(partials[0])}"]
    many = f"{len(partials):,} edges"
    if any(map(math.isnan, partials)):
        return [many, "×nan among them"]
    zeros = partials.count(0)
    ends = dict.fromkeys([f"×{short(min(partials))}", f"×{short(max(partials))}"])
    if len(ends) == 1:
        return [many, f"each {min(ends)}"]
    return [many, " … ".join(ends), *([f"{zeros:,} of them ×0"] if zeros else [])]


def _size(lines: list[str]) -> tuple[float, float]:
    """How wide and how high the text on an arrow is."""
    return max([width_of(f" {line} ", 11) for line in lines], default=0.0), LINE * len(lines)


def _width(size: float) -> float:
    """Points: 2.2 for a factor of 1, 0.9 more or less for each decade, between 0.5 and 5."""
    decades = math.log10(size) if size else -math.inf
    return max(0.5, min(5.0, 2.2 + 0.9 * decades))  # in this order it is 5 for nan


def largest(numbers: list[float]) -> float:
    """The largest size, to which nan belongs: `max` by `nan_first`, in less time."""
    return math.nan if any(map(math.isnan, numbers)) else max(map(abs, numbers))


def nan_first(x: float) -> tuple[bool, float]:
    """A key by size for `max`, to which nan is the largest."""
    return math.isnan(x), abs(x)


def _sign(node: Value) -> str:
    """The op as one would write it, with its bare numbers: `+ 1`, `2 /`, `w·x + b`."""
    rule = node.rule
    if rule is None:
        return ""
    if rule.lists:
        return rule.label + _tail(node)
    numbers = [None if isinstance(x, Value) else short(x) for x in node.operands]
    if not rule.operator:
        return rule.label + "".join(f" {x}" for x in numbers if x is not None)
    before, after = numbers[0], numbers[-1] if len(numbers) == 2 else None
    return " ".join(filter(None, [before, rule.label, after]))


def _tail(node: Value) -> str:
    """The words beside the lists: a bias, and how many of their operands are bare numbers."""
    tail = ""
    for x in node.operands:
        if not isinstance(x, tuple):
            tail += " + b" if isinstance(x, Value) else f" + {short(x)}" if x else ""
    lists = [x for x in node.operands if isinstance(x, tuple)]
    bare = sum([not isinstance(x, Value) for operand in lists for x in operand])
    return tail + (f", {count(bare, 'number')} among them" if bare else "")


def _called(node: Value) -> str:
    """A node's name for a sentence."""
    return clip(" ".join(filter(None, [known_as(node), node.op])) or "a leaf", style.WIDTH)
