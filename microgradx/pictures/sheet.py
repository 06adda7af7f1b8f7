"""A picture of the graph that shows where its gradient fades and where it stops.

Every edge carries its local derivative (×0.25), every node its data and grad, in three
significant digits. A node's colour is the decade of its gradient. Where a local derivative of 0
meets a gradient that is not, a STOP stands across that very edge, and what lies behind is grey.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from types import NoneType
from typing import TYPE_CHECKING, Any

from microgradx._base.arguments import flat
from microgradx._base.text import Place, clip, common_place, count, place, short
from microgradx.engine import Value
from microgradx.explain.explanation import Explanation, why
from microgradx.pictures.diagram import Arrow, Box, Diagram
from microgradx.pictures.render import Picture
from microgradx.pictures.shares import LINES, Shares
from microgradx.pictures.style import (
    BLACK,
    BLUES,
    DARK_FILLS,
    FAINT,
    GREY,
    INK,
    LAYER,
    LINE,
    NEURON,
    PALE,
    VERMILLION,
    WHITE,
    WIDTH,
    YELLOW,
    bold,
    escape,
    font,
    row,
    swatch,
)

if TYPE_CHECKING:
    import graphviz

FOLD_ABOVE = 300  # nodes

Text = Callable[[Value], str]


def draw(
    output: Value,
    *,
    explain: Value | Explanation | None = None,
    title: str = "",
    label: Text | None = None,
    note: Text | None = None,
    without: Iterable[Value] = (),
    fold_above: int = FOLD_ABOVE,
    direction: str = "LR",
    renderer: str | None = None,
) -> Picture:
    """The graph of `output` as a `Picture`; its grads are those of the latest backward().

    explain:    a node whose gradient is to be explained, or its explanation: lines are then as
                wide as their share of its paths, dark on the strongest path, blue where they
                weaken it, orange where they strengthen it, dashed where they oppose it; the one
                that alone is to blame is called a culprit. Its budget stands above, and the bars
                are where it stops
    title:      a line above the picture
    label:      what to call a node; its own label by default
    note:       one more line in a node, "" for none
    without:    nodes to leave out, such as `model.parameters()`
    fold_above: with more nodes than this, neurons, then layers, are drawn as one box each
    direction:  in which the computation runs: "LR", "TB", "RL" or "BT"
    renderer:   the program that renders, see `microgradx.pictures.render.find_renderer`

    Neurons and layers are known by their nodes' labels, `layer[i]` and `layer.weight[i,j]`.
    A TypeError if `output` is no Value, a ValueError for another direction or a fold below 1.
    """
    without = checked(output, label=label, note=note, without=without, fold_above=fold_above,
                      direction=direction, renderer=renderer)  # fmt: skip
    if not isinstance(explain, (Value, Explanation, NoneType)):
        raise TypeError(f"explain takes a Value of the graph, got {explain!r:.60}")
    if isinstance(explain, Value):
        explain = why(explain, output)
    if explain and explain.output is not output:
        raise ValueError(f"the explanation is of {explain.output!r}, not of what is drawn")
    shares = Shares(explain) if explain else None
    cut = explain.where if explain and not (explain.flow and explain.flow.mass.mantissa) else ()
    paths = explain.paths if explain else None
    diagram = Diagram(output, without, fold_above, paths, cut)
    sheet = Sheet(diagram, label or own_label, note, shares)
    return Picture(sheet.source(title, direction), sheet.summary(), renderer)


def draw_dot(output: Value, format: str = "svg", rankdir: str = "LR") -> Picture:
    """micrograd's name for `draw`; `render("name")` of the picture writes `name.svg`."""
    picture = draw(output, direction=rankdir)
    return Picture(picture.source, picture.summary, format=format)


def checked(
    output: Any,
    *,
    label: Any = None,
    note: Any = None,
    without: Any,
    fold_above: Any,
    direction: Any,
    renderer: Any,
) -> set[Value]:
    """The nodes to leave out, once every option is what it should be; else an error says what."""
    if not isinstance(output, Value):
        raise TypeError(f"draw takes the Value at the end of a graph, got {output!r:.60}")
    if direction not in ("LR", "TB", "RL", "BT"):
        raise ValueError(f"a direction is LR, TB, RL or BT, got {direction!r}")
    if not isinstance(fold_above, int) or fold_above < 1:
        raise ValueError(f"fold_above is a number of nodes, 1 or more, got {fold_above!r}")
    for name, text in (("label", label), ("note", note)):
        if text is not None and not callable(text):
            raise TypeError(f"{name} is a function from a node to its text, got {text!r:.60}")
    if not (renderer is None or isinstance(renderer, (str, PathLike))):
        raise TypeError(f"renderer is the name or path of a program, got {renderer!r:.60}")
    nodes = _values(without)
    if output in nodes:
        raise ValueError("without holds the output itself, and nothing would be left to draw")
    return nodes


def _values(without: Any) -> set[Value]:
    """The nodes to leave out, if that is what they are."""
    nodes = list(without) if isinstance(without, Iterable) else [without]
    if any(not isinstance(node, Value) for node in nodes) or isinstance(without, Value):
        raise TypeError(f"without takes a list of Values, got {without!r:.60}; for a model, "
                        "use model.parameters()")  # fmt: skip
    return set(nodes)


def own_label(node: Value) -> str:
    """The name of a node where the reader gives no other."""
    return node.label


class Sheet:
    """One diagram on its way into DOT."""

    def __init__(
        self, diagram: Diagram, label: Text, note: Text | None, shares: Shares | None
    ) -> None:
        self.shares = shares
        self.diagram = diagram
        self.label = label
        self.note = note
        self.ids = {id(box): f"n{i}" for i, box in enumerate(diagram.boxes)}
        self.crowd = Counter(box.place for box in diagram.boxes)
        sizes = [max(abs(node.grad) for node in box.nodes) for box in diagram.boxes]
        decades = [decade(size) for size in sizes if 0 < size < math.inf] or [0]
        self.top = max(decades)
        self.step = max(1, math.ceil((self.top - min(decades) + 1) / len(BLUES)))

    # --- the whole ----------------------------------------------------------------------------

    def source(self, title: str, direction: str) -> str:
        import graphviz  # only a picture needs it: importing microgradx must stay quick

        graph = graphviz.Digraph("microgradx")
        graph.attr(rankdir=direction, bgcolor=WHITE, fontname="Helvetica", fontcolor=INK)
        graph.attr(nodesep="0.25", ranksep="0.55", labelloc="t", label=self.legend(title))
        graph.attr("node", shape="box", fontname="Helvetica", fontsize="12", margin="0.1,0.06")
        graph.attr("edge", fontname="Helvetica", fontsize="11", fontcolor=INK)
        self.frames(graph)
        for arrow in self.diagram.arrows:
            self.arrow(graph, arrow)
        return str(graph.source)

    def frames(self, graph: graphviz.Digraph) -> None:
        """Every box and every bar in its neuron's frame, and that in its layer's."""
        layers: dict[str, dict[str, list[dict[str, str]]]] = {}
        for (layer, neuron), shape in self.shapes():
            layers.setdefault(layer, {}).setdefault(neuron, []).append(shape)
        for i, (layer, neurons) in enumerate(layers.items()):
            lone_fold = [box.name for box in self.diagram.boxes if box.place[0] == layer] == [layer]
            with _frame(graph, "" if lone_fold else layer, f"layer{i}", LAYER) as outer:
                for neuron, shapes in neurons.items():
                    name = f"[{neuron}]" if neuron and len(shapes) > 1 else ""
                    with _frame(outer, name, f"layer{i}_neuron{neuron}", NEURON) as inner:
                        for shape in shapes:
                            inner.node(**shape)

    def shapes(self) -> Iterator[tuple[Place, dict[str, str]]]:
        """Where each box and bar belongs, and its DOT attributes."""
        for box in self.diagram.boxes:
            yield box.place, self.box(box)
        for arrow in self.diagram.arrows:
            if self.is_bar(arrow):
                yield common_place(arrow.tail.place, arrow.head.place), self.bar(arrow)

    def legend(self, title: str) -> str:
        """The title, and below it what the colours and looks of this very picture mean."""
        looks = {self.look(box): None for box in self.diagram.boxes}
        blues = [fill for fill in BLUES if any(look[0] == fill for look in looks)]
        cells = [f"<td>{font('|grad|', 10)}</td>"] if blues else []
        for fill in blues:
            floor = self.top - BLUES.index(fill) * self.step - self.step + 1
            cells.append(swatch(fill, f"≥ {_power(floor)}", _ink_on(fill)))
        words = {look[3]: look for look in looks if look[3]}
        cells += [swatch(fill, word, ink) for word, (fill, ink, _, _) in sorted(words.items())]
        if self.diagram.stops:
            cells.append(swatch(VERMILLION, "STOP: a local derivative of 0", WHITE))
        if self.diagram.folded:
            text = f"{len(self.diagram.nodes):,} nodes, folded by {self.diagram.folded}"
            cells.append(f"<td>{font(text, 10)}</td>")
        heads = [title] if title else []
        heads += self.shares.lines() if self.shares else []
        top = "".join(f'<tr><td colspan="{len(cells) or 1}">{font(h, 15)}</td></tr>' for h in heads)
        key = f"<tr>{''.join(cells)}</tr>" if cells else ""
        if self.shares:
            key += _strip([swatch(WHITE, word, ink) for ink, word in LINES], len(cells))
            key += self.budget(self.shares, len(cells))
        return f'<<table border="0" cellspacing="4">{top}{key}</table>>' if top or key else ""

    def budget(self, shares: Shares, width: int) -> str:
        """The decades by kind of factor, as a small table."""
        terms = [font(f"{kind} {x:+.2f}", 10) for kind, x in shares.terms()]
        cells = [f'<td border="1">{term}</td>' for term in terms]
        return _strip(["<td>decades</td>", *cells], width) if cells else ""

    def summary(self) -> str:
        """The picture in words."""
        diagram = self.diagram
        facts = [f"{count(len(diagram.nodes), 'node')}, {count(len(diagram.edges), 'edge')}"]
        if diagram.folded:
            facts.append(f"drawn as {len(diagram.boxes)} boxes, folded by {diagram.folded}")
        if not diagram.swept:
            facts.append("no gradients yet: call backward() first")
        if diagram.stops:
            places = list(dict.fromkeys(clip(_called(stop.node), WIDTH) for stop in diagram.stops))
            more = f" and {len(places) - 5} more" if len(places) > 5 else ""
            facts.append(f"STOP at {', '.join(places[:5])}{more}")
        off = [node for node in diagram.nodes if node not in diagram.alive]
        starved = sum(node not in diagram.behind_detach for node in off)
        facts += [f"{starved:,} starved behind it"] if starved else []
        detached = len(off) - starved
        return "; ".join(facts + ([f"{detached:,} detached"] if detached else []))

    # --- a box --------------------------------------------------------------------------------

    def box(self, box: Box) -> dict[str, str]:
        fill, ink, border, _ = self.look(box)
        lines = "".join(self.fold_lines(box) if box.name else self.node_lines(box.nodes[0]))
        return {
            "name": self.ids[id(box)],
            "label": f'<<table border="0" cellspacing="0" cellpadding="1">{lines}</table>>',
            "style": f"filled,{border}",
            "fillcolor": fill,
            "fontcolor": ink,
            "color": INK if ink != GREY else GREY,
            "penwidth": "4" if self.explains(box) else "2.5" if border == "bold" else "1.2",
        }

    def explains(self, box: Box) -> bool:
        """Whether the explained node is in this box."""
        return self.shares is not None and self.shares.explanation.node in box.nodes

    def node_lines(self, node: Value) -> list[str]:
        """Name and op, data and grad, and the reader's note."""
        name, sign = self.label(node), _sign(node)
        if name == node.label:
            name = self.within_frame(node)
        head = " ".join(filter(None, [bold(name), escape(sign) if name else bold(sign)]))
        grad = f"   grad {short(node.grad)}" if self.diagram.swept else ""
        note = self.note(node) if self.note else ""
        numbers = font(short(node.data) + grad, 11)
        return [row(head), row(numbers), row(font(note, 11, strong=True))]

    def within_frame(self, node: Value) -> str:
        """A node's label without what the frames around it say already."""
        layer, neuron = place(node.label)
        name = node.label.removeprefix(layer)
        own = name in (f"[{neuron}]", f"[{neuron}].z")
        return "" if own and self.crowd[layer, neuron] > 1 else name.removeprefix(".")

    def fold_lines(self, box: Box) -> list[str]:
        """Name, how many nodes, their largest gradient, and the stops inside."""
        facts = f"{len(box.nodes):,} nodes"
        if self.diagram.swept:
            grads = [abs(node.grad) for node in box.nodes]
            low, high = short(min(grads)), short(max(grads, key=_nan_first))
            facts += f"   |grad| {low} … {high}" if low != high else f"   |grad| {high}"
        inside = f"STOP on {count(len(box.stops), 'edge')} inside" if box.stops else ""
        bar = row(font(inside, 11, WHITE), f' bgcolor="{VERMILLION}"')
        return [row(bold(box.name)), row(font(facts, 11)), bar]

    def look(self, box: Box) -> tuple[str, str, str, str]:
        """Fill, text colour, border, and the word for it unless the fill is a decade."""
        grads = [node.grad for node in box.nodes]
        if not all(math.isfinite(x) for node in box.nodes for x in (node.data, node.grad)):
            return YELLOW, BLACK, "bold", "not finite"
        if all(node in self.diagram.behind_detach for node in box.nodes):
            return PALE, GREY, "dotted", "detached"
        if not any(node in self.diagram.alive for node in box.nodes):
            return PALE, GREY, "solid", "starved"
        if not self.diagram.swept:
            return WHITE, INK, "dotted", "no backward yet"
        if not any(grads):
            return WHITE, INK, "dashed", "grad is 0"
        fill = BLUES[(self.top - decade(max(map(abs, grads)))) // self.step]
        return fill, _ink_on(fill), "solid", ""

    # --- an arrow -----------------------------------------------------------------------------

    def is_bar(self, arrow: Arrow) -> bool:
        """Whether nothing gets through the arrow, though something arrives."""
        return bool(arrow.edges) and all(map(self.diagram.is_stop, arrow.edges))

    def bar(self, arrow: Arrow) -> dict[str, str]:
        """The bar across an arrow where the gradient stops."""
        tail, head = self.ids[id(arrow.tail)], self.ids[id(arrow.head)]
        many = f"{len(arrow.edges):,} × 0" if len(arrow.edges) > 1 else "×0"
        return {
            "name": f"{tail}_{arrow.edges[0].position}_{head}",
            "label": f"<<b>{many}<br/>STOP{self.blame(arrow)}</b>>",
            "style": "filled",
            "fillcolor": VERMILLION,
            "fontcolor": WHITE,
            "color": VERMILLION,
            "margin": "0.05,0.14",
            "width": "0.3",
        }

    def blame(self, arrow: Arrow) -> str:
        """Whether a bar alone is what keeps the explained gradient from getting through."""
        alone = self.shares is not None and self.shares.blames(arrow.edges)
        return "<br/>culprit" if alone else ""

    def arrow(self, graph: graphviz.Digraph, arrow: Arrow) -> None:
        """One line with its factor, or up to the bar and on from it."""
        tail, head = self.ids[id(arrow.tail)], self.ids[id(arrow.head)]
        if arrow.detached:
            graph.edge(tail, head, label="detached", style="dotted", color=GREY, fontcolor=GREY)
        elif self.is_bar(arrow):
            bar = self.bar(arrow)["name"]
            graph.edge(tail, bar, style="dashed", color=GREY, arrowhead="none")
            graph.edge(bar, head, color=VERMILLION, penwidth="3")
        else:
            alive = any(edge.node in self.diagram.alive for edge in arrow.edges)
            widest = max((abs(edge.partial) for edge in arrow.edges), key=_nan_first)
            ink, line = (INK, LINE) if alive else (GREY, FAINT)
            look = {"penwidth": f"{_width(widest):.2f}", "color": line, "fontcolor": ink}
            badge, gap = _factor(arrow), " "
            if self.shares:
                look = self.shares.line(arrow.edges)
                gap = " " * round(1 + float(look["penwidth"]) / 3)  # beside a line as wide as that
                badge = f"\n{gap}".join(filter(None, [badge, self.shares.badge(arrow.edges)]))
                if self.shares.blames(arrow.edges):
                    look |= {"color": VERMILLION, "fontcolor": VERMILLION, "fontsize": "15"}
            graph.edge(tail, head, label=f"{gap}{badge} ", **look)


def _strip(cells: list[str], width: int) -> str:
    """Cells in a row of their own below a table that has `width` columns."""
    table = f'<table border="0" cellspacing="3"><tr>{"".join(cells)}</tr></table>'
    return f'<tr><td colspan="{width or 1}">{table}</td></tr>'


def _factor(arrow: Arrow) -> str:
    """The badge of an arrow: its local derivative, or the range of many."""
    partials = [edge.partial for edge in arrow.edges]
    if len(partials) == 1:
        return f"×{short(partials[0])}"
    if any(map(math.isnan, partials)):
        return f"{len(partials):,} edges, ×nan among them"
    zeros = sum(partial == 0 for partial in partials)
    badge = f"{len(partials):,} edges, ×{short(min(partials))} … ×{short(max(partials))}"
    return badge + (f", {zeros:,} of them ×0" if zeros else "")


def _width(partial: float) -> float:
    """Points: 2.2 for a factor of 1, 0.9 more or less for each decade, between 0.5 and 5."""
    if not partial > 0:
        return 0.5 if partial == 0 else 5.0
    return min(5.0, max(0.5, 2.2 + 0.9 * math.log10(partial))) if partial < math.inf else 5.0


def decade(size: float) -> int:
    """The whole power of ten at or below a size, or a number of that size."""
    return math.floor(math.log10(abs(size)) + 1e-9)  # 0.99999999999 is drawn as 1


def _power(decade: int) -> str:
    return short(10.0**decade) if abs(decade) < 300 else f"1e{decade}"


def _nan_first(x: float) -> float:
    return math.inf if math.isnan(x) else x


# --- words ---------------------------------------------------------------------------------------


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
    bare = sum(not isinstance(x, Value) for x in flat(lists))
    return tail + (f", {count(bare, 'number')} among them" if bare else "")


def _called(node: Value) -> str:
    """A node's name for a sentence."""
    return " ".join(filter(None, [node.label, node.op])) or "a leaf"


def _ink_on(fill: str) -> str:
    return WHITE if fill in DARK_FILLS else INK


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
