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

from microgradx.causes import made_at, name_of
from microgradx.diagram import Arrow, Box, Diagram
from microgradx.draw import FOLD_ABOVE, Sheet, checked, decade, own_label
from microgradx.engine import Value
from microgradx.explain import Explanation
from microgradx.flow import Flow
from microgradx.markup import bold, escape, font, row, short
from microgradx.narration import mathematics
from microgradx.render import render, write_whole
from microgradx.timeline import Moment, Timeline

if TYPE_CHECKING:
    import graphviz

SHADES = 8  # of a gradient's decade, darkest first
TEMPLATE = Path(__file__).with_name("page.html")


def save(output: Value, path: str | PathLike[str], **options: Any) -> Path:
    """Write the page of `output` to `path`, whole or not at all; its folders are made as needed.

    The options are those of `page`. RendererNotFound without a Graphviz to lay the picture out.

    >>> from microgradx import Value, page
    >>> x = Value(3.0, "x")
    >>> page.save((x * x).tanh(), "step.html").name
    'step.html'
    """
    path = Path(path)
    if not path.suffix:
        path = path.with_suffix(".html")
    write_whole(path, page(output, **options).encode())
    return path


def page(
    output: Value,
    *,
    title: str = "",
    label: Callable[[Value], str] | None = None,
    without: Iterable[Value] = (),
    fold_above: int = FOLD_ABOVE,
    direction: str = "LR",
    renderer: str | None = None,
) -> str:
    """The page that steps through the computation of `output`, as HTML.

    It runs a sweep of its own: no `.grad` is read or changed. Above `fold_above` nodes it folds as
    pictures do. The options, and the errors raised, are those of `draw`.
    """
    without = checked(output, label=label, without=without, fold_above=fold_above,
                      direction=direction, renderer=renderer)  # fmt: skip
    sheet = _Sheet(Diagram(output, without, fold_above), label or own_label, Timeline(output))
    svg = render(sheet.source("", direction), "svg", renderer).decode()
    svg = svg[svg.index("<svg") :].replace(' xml:space="preserve"', "")
    svg = re.sub(r"<!--.*?-->\n?| font-family=\"[^\"]*\"", "", svg, flags=re.DOTALL)
    title = title or f"Backpropagation through {name_of(output)}"
    return _filled(title, svg, _Story(sheet, output).data())


def _filled(title: str, svg: str, data: dict[str, Any]) -> str:
    """The template with its contents, and with a policy that knows its script and its style."""
    text = TEMPLATE.read_text(encoding="utf-8")
    holes = {"title": html.escape(str(title)), "svg": svg}
    for kind in ("style", "script"):
        found = re.search(f"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        assert found is not None
        digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
        holes[kind] = f"'sha256-{digest}'"
    content = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        content = content.replace(character, f"\\u{ord(character):04x}")
    holes["data"] = content
    text = re.sub(r"\{\{(\w+)\}\}", lambda hole: holes[hole[1]], text)  # once: no label is a hole
    return text.encode(errors="replace").decode()  # a lone surrogate is no text


def number(x: float) -> float | str:
    """A number for JSON, which has no inf and no nan."""
    return x if math.isfinite(x) else str(x)


class _Sheet(Sheet):
    """A picture whose boxes and lines have names, and whose looks are left to the page."""

    def __init__(self, diagram: Diagram, label: Callable[[Value], str], story: Timeline) -> None:
        super().__init__(diagram, label, None, None)
        self.timeline = story
        self.numbers = {id(arrow): i for i, arrow in enumerate(diagram.arrows)}
        widest: dict[Value, str] = {node: short(x) for node, x in story.grads.items()}
        for moment in story.moments:
            if moment.edge is not None:
                text = short(moment.after)
                widest[moment.edge.input] = max(widest[moment.edge.input], text, key=len)
        self.widest = widest

    def legend(self, title: str) -> str:
        return ""

    def box(self, box: Box) -> dict[str, str]:
        lines = self.fold_lines(box) if box.name else self.node_lines(box.nodes[0])
        table = f'<table border="0" cellspacing="0" cellpadding="1">{"".join(lines)}</table>'
        name = self.ids[id(box)]
        room = "0.17,0.06"  # for fonts that are wider than those the layout reckons with
        return {
            "name": name, "id": name, "label": f"<{table}>", "style": "rounded,filled",
            "margin": room,
        }  # fmt: skip

    def node_lines(self, node: Value) -> list[str]:
        head = super().node_lines(node)[0]
        grad = f"grad {self.widest[node]}" if node in self.widest else "detached"
        return [head, row(font(short(node.data), 11)), row(font(grad, 11))]

    def fold_lines(self, box: Box) -> list[str]:
        size = f"{len(box.nodes):,} nodes"
        grads = [abs(self.timeline.grads[x]) for x in box.nodes if x in self.timeline.grads]
        grad = f"|grad| {short(max(grads, key=lambda x: (x != x, x)))}" if grads else "detached"
        return [row(bold(box.name)), row(font(size, 11)), row(font(grad, 11))]

    def bar(self, arrow: Arrow) -> dict[str, str]:
        return {**super().bar(arrow), "id": f"bar{self.numbers[id(arrow)]}", "class": "bar reached"}

    def arrow(self, graph: graphviz.Digraph, arrow: Arrow) -> None:
        tail, head = self.ids[id(arrow.tail)], self.ids[id(arrow.head)]
        name = f"e{self.numbers[id(arrow)]}"
        if arrow.detached:
            graph.edge(tail, head, label="detached", style="dotted", id=name, **{"class": "cut"})
        elif self.is_bar(arrow):
            bar = self.bar(arrow)["name"]
            graph.edge(tail, bar, id=f"{name}a", arrowhead="none")
            graph.edge(bar, head, id=name)
        else:
            graph.edge(tail, head, id=name, label=f" {escape(_badge(arrow))} ")


def _badge(arrow: Arrow) -> str:
    if len(arrow.edges) == 1:
        return f"×{short(arrow.edges[0].partial)}"
    return f"{len(arrow.edges):,} edges"


class _Story:
    """What the page's script is told: boxes, arrows and moments, all by number."""

    def __init__(self, sheet: _Sheet, output: Value) -> None:
        self.sheet = sheet
        self.timeline = sheet.timeline
        self.boxes = sheet.diagram.boxes
        self.arrows = [arrow for arrow in sheet.diagram.arrows if not arrow.detached]
        self.home = {node: i for i, box in enumerate(self.boxes) for node in box.nodes}
        self.flow = Flow(output)
        self.along: dict[Any, Moment] = {
            moment.edge: moment for moment in self.timeline.moments if moment.edge
        }
        singles = [arrow.edges[0] for arrow in self.arrows if len(arrow.edges) == 1]
        drawn = Counter(edge.input for edge in singles if edge in self.along)
        every = Counter(edge.input for edge in self.along)
        # The nodes all of whose contributions are lines of their own, so that they add up here.
        self.whole = {node for node, count in every.items() if drawn[node] == count}
        sizes = [x for x in self.timeline.grads.values() if x and math.isfinite(x)]
        decades = [*map(decade, sizes), 0]
        self.top = max(decades)
        self.step = (self.top - min(decades)) // SHADES + 1

    def data(self) -> dict[str, Any]:
        return {
            "boxes": [self.box(box) for box in self.boxes],
            "arrows": [self.arrow(arrow) for arrow in self.arrows],
            "legend": self.legend(),
        }

    def legend(self) -> list[tuple[str, str]]:
        """The looks there are on this very page, and what they mean."""
        looks = {self.shade(x) for x in self.timeline.grads.values()}
        shades = sorted(look for look in looks if isinstance(look, int))
        floors = [10.0 ** (self.top - (shade + 1) * self.step + 1) for shade in shades]
        found = [(f"s{shade}", f"|grad| ≥ {short(x)}") for shade, x in zip(shades, floors)]
        if "zero" in looks:
            found.append(("zero", "grad is 0"))
        if "odd" in looks:
            found.append(("odd", "not finite"))
        if self.sheet.diagram.stops:
            found.append(("halt", "STOP: a local derivative of 0"))
        return found

    # --- a box --------------------------------------------------------------------------------

    def box(self, box: Box) -> dict[str, Any]:
        """A fold, or a node with its value, its gradient, how it was made, and why it is so."""
        node = box.nodes[0]
        grads = [self.timeline.grads[x] for x in box.nodes if x in self.timeline.grads]
        largest = max(grads, key=abs, default=0.0)
        facts: dict[str, Any] = {"name": box.name or name_of(node)}
        facts.update(grad=number(largest), shade=self.shade(largest))
        if box.name:
            return {**facts, "fold": len(box.nodes), "value": f"{len(box.nodes):,} nodes"}
        facts.update(value=number(node.data), op=node.op, line=made_at(node).strip(" ()"))
        if node.rule:
            facts["formula"] = node.rule.__doc__ or ""
            facts["made"] = self.made(node)
            facts["sign"] = node.rule.label if node.rule.operator else ""
        if node not in self.flow:
            return {**facts, "apart": True, "why": str(self.explained(node))}
        return {**facts, **self.why(node)}

    def why(self, node: Value) -> dict[str, Any]:
        explanation = self.explained(node)
        via = self.flow[node].strongest
        return {
            "why": str(explanation),
            "verdict": explanation.verdict,
            "via": next((i for i, a in enumerate(self.arrows) if via in a.edges), -1),
        }

    def explained(self, node: Value) -> Explanation:
        return Explanation(self.flow.paths, self.flow.limits, node, compare=False)

    def made(self, node: Value) -> list[tuple[str, float | str]]:
        """The operands by name and number; of very many, the first."""
        pairs = [(x, x.data if isinstance(x, Value) else x) for x, _ in node.arguments]
        return [(_named(x), number(data)) for x, data in pairs[:100]]

    def shade(self, grad: float) -> int | str:
        """Which blue: a decade, 0 the largest; or a word for what is off the scale."""
        if not math.isfinite(grad):
            return "odd"
        if not grad:
            return "zero"
        return (self.top - decade(grad)) // self.step

    # --- an arrow -----------------------------------------------------------------------------

    def arrow(self, arrow: Arrow) -> dict[str, Any]:
        """A line: its ends, and its multiplication; of many edges, the largest contribution."""
        sheet = self.sheet
        moments = [self.along[edge] for edge in arrow.edges if edge in self.along]
        facts: dict[str, Any] = {
            "id": f"e{sheet.numbers[id(arrow)]}",
            "tail": self.home[arrow.edges[0].input],
            "head": self.home[arrow.edges[0].node],
            "partial": number(arrow.edges[0].partial),
        }
        if sheet.is_bar(arrow):
            facts["stop"] = f"bar{sheet.numbers[id(arrow)]}"
        if not moments:  # behind a detach
            return {**facts, "apart": True}
        if len(moments) > 1 or self.boxes[facts["tail"]].name or self.boxes[facts["head"]].name:
            partials = [edge.partial for edge in arrow.edges]
            largest = max(moments, key=lambda moment: abs(moment.contribution))
            span = f"×{short(min(partials))} to ×{short(max(partials))}"
            return {
                **facts,
                "many": len(moments),
                "span": span,
                "contribution": number(largest.contribution),
            }
        (moment,) = moments
        facts.update(
            adjoint=number(moment.adjoint),
            contribution=number(moment.contribution),
        )
        if arrow.edges[0].input in self.whole:
            facts.update(before=number(moment.before), after=number(moment.after))
        _, by, partial, where = mathematics(arrow.edges[0])
        return {**facts, "by": by, "partialOf": partial, "where": where}


def _named(x: Any) -> str:
    """An operand by its name, a bare number as it is."""
    return name_of(x) if isinstance(x, Value) else short(x)
