"""One self-contained HTML page that steps through a computation, forwards and then backwards.

The picture is laid out once, by Graphviz; a script in the page shows it moment by moment. The
page asks nothing of the network, and its content-security-policy forbids it to.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microgradx._base.arguments import flat
from microgradx._base.files import as_html, write_whole
from microgradx._base.text import count, made_at, name_of, short
from microgradx.engine import Edge, Value, data_of
from microgradx.explain.explanation import Flow
from microgradx.explain.extended import show
from microgradx.pictures.chain import Link, chain_of, columns_of, turn_of
from microgradx.pictures.diagram import FOLD_ABOVE, Arrow, Box, Diagram
from microgradx.pictures.render import Picture, RendererNotFound, RenderingFailed
from microgradx.pictures.sheet import Sheet, nan_first
from microgradx.pictures.show import in_base64, open_in_browser
from microgradx.pictures.style import Scale, bold, escape, font, row
from microgradx.step import colours
from microgradx.step.live import Live, number
from microgradx.step.moments import Moment, Timeline
from microgradx.step.places import Places, twin_net
from microgradx.step.walk import path_products
from microgradx.step.words import bracketed, called, derivation

if TYPE_CHECKING:
    import graphviz

FILES = Path(__file__).parent
# Where something stands in a picture: tenths of a point will do.
PLACED = re.compile(r' (?:d|points|x|y|font-size|textLength)="[^"]*"')


# In place of a frame where a notebook takes that away. Browsers that show a frame don't show it.
UNTRUSTED = (
    "Here is a page that steps through a computation. It is shown when this notebook is trusted, "
    'or its cell run again; page.save("step.html") writes it to a file for a browser.'
)


class Page(str):
    """A page as HTML text, which can write itself and open itself in a browser.

    picture: its last moment, as a Picture
    """

    picture: Picture

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the page to `path`, whole or not at all; its folders are made as needed.

        A path without a suffix gets .html; another suffix is a ValueError.
        """
        path = as_html(path, "a page")
        write_whole(path, self.encode())
        return path

    def show(self) -> Path:
        """Open the page in the browser; returns the file that it shows."""
        return open_in_browser(self)

    def _repr_html_(self) -> str:
        frame = 'width="100%" height="640" allowfullscreen'
        return f'<iframe srcdoc="{html.escape(self)}" {frame}>{html.escape(UNTRUSTED)}</iframe>'

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """The face in a notebook: the page, its picture where no page can be, and words."""
        face = {"text/html": self._repr_html_(), "text/plain": repr(self)}
        try:
            return {**face, "image/png": in_base64(self.picture.png())}
        except (RendererNotFound, RenderingFailed):
            return face

    def __repr__(self) -> str:
        return f"<Page of {len(self):,} characters>"


def page(
    output: Value,
    *,
    title: str = "",
    label: Callable[[Value], str] | None = None,
    without: Iterable[Value] = (),
    fold_above: int = FOLD_ABOVE,
    direction: str | None = None,
    nodes: bool = False,
    renderer: str | None = None,
) -> Page:
    """The page that steps through the computation of `output`, as HTML.

    It runs a sweep of its own: no `.grad` is read or changed. A net is shown as `draw` shows it,
    any other graph, or one with `nodes` or an option about nodes, node by node. Above `fold_above`
    nodes a neuron, or a layer, is told of as one. The options, and the errors raised, are those of
    `draw`; without a Graphviz to lay the picture out it is a RendererNotFound.

    >>> x = Value(3.0, "x")
    >>> page((x * x).tanh(), title="a square").splitlines()[0]
    '<!DOCTYPE html>'
    """
    if not isinstance(output, Value):
        raise TypeError(f"page takes the Value at the end of a graph, got {output!r:.60}")
    diagram = Diagram(output, without, fold_above)
    by_node = bool(nodes or label or without != () or direction)
    net = None if by_node else twin_net(output)
    timeline = Timeline(output)
    places = Places(net) if net else None
    if (places or nodes) and len(diagram.nodes) <= fold_above:
        diagram.unfold()
    if places:
        source = places.source
    else:
        links = None if by_node else chain_of(output)
        source = _Sheet(diagram, label, timeline, links).source("", direction or "LR")
    title = title or f"Backpropagation through {name_of(output)}"
    story = _Story(diagram, output, timeline, places)
    picture = Picture(source, title, renderer)
    svg = _svg(picture, "" if places else "|textLength|fill|stroke")
    result = Page(_filled(title, svg, story.data(), story.live.library.source()))
    result.picture = picture
    return result


def _svg(picture: Picture, given: str) -> str:
    """The picture without what the page's style and script give."""
    text = picture.svg()
    text = text[text.index("<svg") :].replace(' xml:space="preserve"', "")
    text = re.sub(
        r"<!--.*?-->\n?|<style>.*?</style>|</?a\b[^>]*>\n?"
        rf"| (font-family|lengthAdjust{given})=\"[^\"]*\"",
        "",
        text,
        flags=re.DOTALL,
    )
    return PLACED.sub(lambda place: re.sub(r"(\.\d)\d(?!\d)", r"\1", place[0]), text)


def _filled(title: str, svg: str, data: dict[str, Any], ops: str) -> str:
    """The template with its contents, and with a policy that knows its script and its style."""
    is_net = data["net"] is not None
    parts = {
        "ops": ops,
        "light": colours.variables(is_dark=False),
        "dark": colours.variables(is_dark=True),
        "legend": colours.of_legend(),
        "net_style": f"{colours.of_cells()}\n{_file('net.css')}" if is_net else "",
        "net_script": _file("net.js") if is_net else "",
    }
    text = re.sub(r"\{\{(\w+)\}\}", lambda hole: parts.get(hole[1], hole[0]), _file("page.html"))
    holes = {"title": html.escape(str(title)), "svg": svg}
    for kind in ("style", "script"):
        [block] = re.findall(f"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        holes[kind] = f"'sha256-{digest}'"
    content = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    holes["data"] = content.translate({ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})
    text = re.sub(r"\{\{(\w+)\}\}", lambda hole: holes[hole[1]], text)  # once: no label is a hole
    return text.encode(errors="replace").decode()  # a lone surrogate is no text


def _file(name: str) -> str:
    """A part of the page, which lies beside this module."""
    return (FILES / name).read_text(encoding="utf-8")


class _Sheet(Sheet):
    """A picture whose boxes and lines have names, and whose looks are left to the page.

    It has the final gradients, and room for all that they are meanwhile.
    """

    def __init__(
        self,
        diagram: Diagram,
        label: Callable[[Value], str] | None,
        timeline: Timeline,
        links: list[Link] | None,
    ) -> None:
        super().__init__(diagram, label)
        known = {box.nodes[0]: box for box in diagram.boxes if not box.name}
        snake = [known.get(link.node) for link in links or ()]
        self.snake = [box for box in snake if box] if None not in snake else []
        self.turn = turn_of(len(self.snake)) if self.snake else 0
        line = {box: i // self.turn for i, box in enumerate(self.snake)}
        inside = [a for a in diagram.arrows if line.get(a.tail, -1) == line.get(a.head)]
        self.straight = {arrow.number for arrow in inside}
        self.backwards = {arrow.number for arrow in inside if line[arrow.tail] % 2}
        self.is_stop = timeline.stops
        self.grads = timeline.grads
        self.longest = {
            node: max(len(short(timeline.moments[i].after)) for i in growth)
            for node, growth in timeline.growth.items()
        }

    def legend(self, title: str) -> str:
        return ""

    def frames(self, graph: graphviz.Digraph) -> None:
        """All boxes; those of a chain in lines, as a snake."""
        super().frames(graph)
        for column in columns_of([box.id for box in self.snake], self.turn):
            if len(column) > 1:
                graph.body.append(f"{{rank=same; {' -> '.join(column)} [style=invis]}}\n")

    def box(self, box: Box) -> dict[str, str]:
        room = "0.17,0.06"  # for fonts that are wider than those the layout reckons with
        return {"id": box.id, "style": "rounded,filled", "margin": room}

    def node_rows(self, node: Value) -> list[str]:
        data = row(font(short(node.data), 11))
        if node not in self.grads:
            return [self.head(node), data, row(font("detached", 11))]
        width = 25 + 6 * self.longest[node]  # points: of "grad ", and of a digit
        grad = row(font(f"grad {short(self.grads[node])}", 11), f' width="{width}"')
        return [self.head(node), data, grad]

    def fold_rows(self, box: Box) -> list[str]:
        largest = _largest(box, self.grads)
        grad = f"|grad| ≤ {short(abs(self.grads[largest]))}" if largest else "detached"
        return [row(bold(box.name)), row(font(_size(box), 11)), row(font(grad, 11))]

    def bar(self, arrow: Arrow) -> dict[str, str]:
        return {**super().bar(arrow), "id": f"bar{arrow.number}", "class": "bar reached"}

    def lines(self, arrow: Arrow) -> list[dict[str, str]]:
        name = f"e{arrow.number}"
        straight = {"weight": "50"} if arrow.number in self.straight else {}
        if arrow.detached:
            return [{"label": "detached", "style": "dotted", "id": name, "class": "cut"}]
        if arrow in self.bars:
            ends = {"id": f"{name}a", "arrowhead": "none"}, {"id": name}
            return [{**end, **straight} for end in ends]
        return [{"id": name, "label": f" {escape(_badge(arrow))} ", **straight}]


def _largest(box: Box, grads: dict[Value, float]) -> Value | None:
    """The node of the largest gradient, nan above all; None where there is no gradient."""
    nodes = [node for node in box.nodes if node in grads]
    return max(nodes, key=lambda node: nan_first(grads[node]), default=None)


def _badge(arrow: Arrow) -> str:
    if len(arrow.edges) == 1:
        return f"×{short(arrow.edges[0].partial)}"
    return count(len(arrow.edges), "edge")


def _size(box: Box) -> str:
    return count(len(box.nodes), "node")


class _Story:
    """The data of the page's script: boxes, arrows and moments, all by number."""

    def __init__(
        self, diagram: Diagram, output: Value, timeline: Timeline, places: Places | None
    ) -> None:
        self.diagram, self.timeline, self.places = diagram, timeline, places
        self.arrows = [arrow for arrow in diagram.arrows if not arrow.detached]
        singles = [arrow for arrow in self.arrows if not arrow.tail.name]
        self.lines = {edge: arrow.number for arrow in singles for edge in arrow.edges}
        self.flow = Flow(output)
        self.products = path_products(self.flow.paths)
        self.whole = self._whole()
        self.scale = places.scale if places else Scale(map(abs, timeline.grads.values()))
        self.live = Live(output, timeline)

    def _whole(self) -> set[Value]:
        """The nodes all of whose contributions are lines of their own, and add up as one steps."""
        singles = [arrow.edges[0] for arrow in self.arrows if len(arrow.edges) == 1]
        drawn = Counter(edge.input for edge in singles if edge in self.timeline.along)
        most = 1 if self.diagram.folded else math.inf  # folds don't keep the sweep's order
        return {node for node, n in drawn.items() if n == len(self.timeline.growth[node]) <= most}

    def stops(self, edge: Edge) -> bool:
        """Whether the gradient stops at an edge, where it would have gone on.

        In a net a leaf is a cell of its neuron: a weight whose input is 0 keeps nothing from any.
        """
        return self.timeline.stops(edge) and not (self.places and edge.input.rule is None)

    def data(self) -> dict[str, Any]:
        boxes = [self.fold(box) if box.name else self.node(box.nodes[0])
                 for box in self.diagram.boxes]  # fmt: skip
        return {
            "boxes": boxes,
            "arrows": [*map(self.arrow, self.arrows)],
            "scale": {"top": self.scale.top, "step": self.scale.step},
            "graph": self.live.graph,
            "still": self.live.reason,
            "net": self.places and self.places.data(self.diagram.boxes, self.arrows, self.live),
        }

    # --- a box --------------------------------------------------------------------------------

    def fold(self, box: Box) -> dict[str, Any]:
        """Many nodes drawn as one: how many, and the largest of their gradients."""
        facts = {"name": box.name, "fold": len(box.nodes), "value": _size(box)}
        facts["given"] = all(node.rule is None for node in box.nodes)
        if self.live.graph:
            facts["nodes"] = [self.live.index[node] for node in box.nodes]
        largest, why = _largest(box, self.timeline.grads), f"{_size(box)} drawn as one"
        if largest is None:
            return {**facts, "apart": True, "why": f"{why}, all detached."}
        grad = abs(self.timeline.grads[largest])
        why += f". The largest |grad| is {short(grad)}, of {name_of(largest)}."
        stops = sum(map(self.stops, box.stops))
        if stops:
            why += f" The gradient stops on {count(stops, 'edge')} inside."
        shade = self.shade(grad)
        return {**facts, "grad": number(grad), "shade": shade, "stops": stops, "why": why}

    def node(self, node: Value) -> dict[str, Any]:
        """A node with its value, its gradient, how it was made, and why it is so."""
        facts = self.named(node)
        facts.update(value=number(node.data), line=made_at(node).strip(" ()"))
        facts["node"] = self.live.index[node]
        if node.rule:
            facts.update(self.made(node))
            facts["sign"] = node.rule.label if node.rule.operator else ""
        facts["why"] = "\n".join(self.flow.why(node).sentences)
        if node not in self.flow:
            return {**facts, "apart": True}
        grad = self.timeline.grads[node]
        facts.update(grad=number(grad), shade=self.shade(grad))
        facts["product"] = show(self.products[self.flow.paths.index[node]])
        via = self.flow[node].strongest
        facts["via"] = self.lines.get(via, -1) if via else -1
        return facts

    def named(self, node: Value) -> dict[str, Any]:
        """A node's name, alone and as a part of something longer, and its rule."""
        facts = {"name": name_of(node), "op": node.op}
        if bracketed(node) != facts["name"]:
            facts["part"] = bracketed(node)
        if node.rule:
            facts["formula"] = node.rule.__doc__ or ""
        return facts

    def made(self, node: Value) -> dict[str, Any]:
        """The operands by name and number; of more than five the first four, and how many more."""
        operands = [*flat(node.operands)]
        first = operands if len(operands) <= 5 else operands[:4]
        made = [(_named(x), number(data_of(x))) for x in first]
        return {"made": made, "more": len(operands) - len(first)}

    def shade(self, grad: float) -> int | str:
        """Which blue: a decade, 0 the largest; or a word for what is off the scale."""
        if not math.isfinite(grad):
            return "odd"
        return self.scale.shade(abs(grad)) if grad else "zero"

    # --- an arrow -----------------------------------------------------------------------------

    def arrow(self, arrow: Arrow) -> dict[str, Any]:
        """A line: its ends, whether the gradient stops there, and its multiplication."""
        along = self.timeline.along
        moments = [self.timeline.moments[along[edge]] for edge in arrow.edges if edge in along]
        ends = {"tail": arrow.tail.number, "head": arrow.head.number}
        facts: dict[str, Any] = {"id": f"e{arrow.number}", **ends}
        if not moments:  # behind a detach
            return {**facts, "apart": True}
        if self.live.graph or len(moments) == 1:
            facts["edges"] = [(self.live.index[moment.node], moment.edge.position)
                              for moment in moments if moment.edge]  # fmt: skip
        facts["stop"] = bool(arrow.edges) and all(map(self.stops, arrow.edges))
        if len(moments) > 1:
            return {**facts, **self.several(moments)}
        for end, box, node in (("from", arrow.head, arrow.edges[0].node),
                               ("to", arrow.tail, arrow.edges[0].input)):  # fmt: skip
            if box.name:
                facts[end] = self.named(node)
        return {**facts, **self.single(moments[0])}

    def several(self, moments: list[Moment]) -> dict[str, Any]:
        """Edges drawn as one: the range of their local derivatives, the largest contribution."""
        partials = [moment.edge.partial for moment in moments if moment.edge]
        ends = dict.fromkeys(f"×{short(x)}" for x in (min(partials), max(partials)))
        sizes = [moment.contribution for moment in moments]
        return {
            "many": count(len(moments), "edge"),
            "span": "×nan among them" if any(map(math.isnan, partials)) else " to ".join(ends),
            "contribution": number(max(sizes, key=nan_first)),
        }

    def single(self, moment: Moment) -> dict[str, Any]:
        """One multiplication, what it is added to, and the strongest path it is on."""
        edge = moment.edge
        assert edge is not None
        facts = {"maths": [*map(self.part, derivation(edge))], "partial": number(edge.partial)}
        facts.update(adjoint=number(moment.adjoint), contribution=number(moment.contribution))
        above = self.products[self.flow.paths.index[edge.node]]
        facts["product"] = show(edge.partial * above)
        if edge.input not in self.whole:
            return {**facts, "total": number(self.timeline.grads[edge.input])}
        final = self.timeline.final(edge.input) == self.timeline.along[edge]
        return {**facts, "before": number(moment.before), "after": number(moment.after),
                "final": final}  # fmt: skip

    def part(self, part: str | float | Value) -> str | int | None:
        """A part of a derivation: words, the number of a node to name, None for the partial."""
        if isinstance(part, Value):
            return self.live.index[part] if self.live.graph else called(part)
        return None if isinstance(part, float) else part


def _named(x: Any) -> str:
    """An operand by its name, a bare number as it is."""
    return name_of(x) if isinstance(x, Value) else short(x)
