"""The graph drawn, with every local derivative on its edge."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import NoneType

from microgradx.engine import Value, order
from microgradx.explain import why
from microgradx.explain.explanation import Explanation
from microgradx.explain.samples import net_of
from microgradx.pictures.chain import chain_of
from microgradx.pictures.diagram import FOLD_ABOVE, Diagram, check_limit, check_output
from microgradx.pictures.folds import folds
from microgradx.pictures.net import chain_source, net_source
from microgradx.pictures.render import Picture, RendererNotFound, RenderingFailed
from microgradx.pictures.sheet import Sheet

ROOM = (1768, 992)  # points, and 8 around: in 1600 × 900 pixels, text of 10 points has 9 pixels

__all__ = ["Picture", "RendererNotFound", "RenderingFailed", "draw", "draw_dot"]


def draw(
    output: Value,
    *,
    explain: Value | Explanation | None = None,
    title: str = "",
    label: Callable[[Value], str] | None = None,
    note: Callable[[Value], str] | None = None,
    without: Iterable[Value] = (),
    fold_above: int = FOLD_ABOVE,
    direction: str | None = None,
    nodes: bool = False,
    renderer: str | None = None,
) -> Picture:
    """The graph of `output` as a `Picture`; its grads are those of the latest backward().

    A graph with layers is drawn as the net that it is: one box a neuron, its samples as rows; or,
    where these have no room on a screen, a row of cells a layer, beside the decades that are left
    of the gradient. A chain of many ops is drawn in lines. Any other graph is drawn node by node,
    as is a net with `nodes`, or with an option that is about nodes: label, note, without. One that
    has no room is folded: by the steps of a net that is one in time, by neuron, by layer, by the
    nodes that every path goes through, or by depth. A box says what it holds; where the gradient
    first stops, and where it vanishes, keeps a box of its own, and is named above.

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
    direction:  in which the computation runs, node by node: "LR", "TB", "RL" or "BT"; None for LR,
                or BT where that alone has room
    nodes:      show every node, up to `fold_above`, whether they have room on a screen or not
    renderer:   the program that renders, see `microgradx.pictures.render.find_renderer`

    Neurons and layers are known by their nodes' labels, `layer[i]` and `layer.weight[i,j]`.
    A TypeError if `output` is no Value, a ValueError for another direction or a fold below 1.
    """
    check_output(output)
    explanation = _explanation(explain, output)
    by_node = bool(nodes or label or note or without != ())
    swept = order(output)
    if not by_node:
        net, links = net_of(output, swept), chain_of(output)
        if net:
            return Picture(*net_source(net, explanation, title), renderer)
        if links:
            return Picture(*chain_source(links, explanation, title), renderer)
    directions = ["LR", "BT"] if direction is None else [direction]
    if by_node:
        diagram = Diagram(output, without, fold_above, explanation, swept)
        if nodes and len(diagram.nodes) <= fold_above:
            diagram.unfold()
        sheet = Sheet(diagram, label, note)
        fitting = sheet.direction(directions, *ROOM)
    else:
        check_limit(fold_above)
        diagram = Diagram(output, (), None, explanation, swept)
        sheet, fitting = _folded(diagram, fold_above, directions)
    return Picture(sheet.source(title, fitting or directions[0]), sheet.summary(), renderer)


def _explanation(explain: Value | Explanation | None, output: Value) -> Explanation | None:
    """The explanation to draw; the errors use the words of draw."""
    if isinstance(explain, Value):
        explain = why(explain, output)
    if not isinstance(explain, (Explanation, NoneType)):
        raise TypeError(f"explain takes a Value of the graph, got {explain!r:.60}")
    if explain and explain.output is not output:
        raise ValueError(f"the explanation is of {explain.output!r}, not of what is drawn")
    return explain


def _folded(diagram: Diagram, fold_above: int, directions: list[str]) -> tuple[Sheet, str | None]:
    """The sheet of the first fold that has room on a screen, and in which direction."""
    landmarks = diagram.landmarks
    for fold in folds(diagram.graph, landmarks):
        diagram.fold(fold, landmarks)
        sheet = Sheet(diagram)
        fitting = None
        if len(diagram.boxes) <= fold_above:
            fitting = sheet.direction(directions, *ROOM)
        if fitting:
            break
    return sheet, fitting


def draw_dot(output: Value, format: str = "svg", rankdir: str = "LR") -> Picture:
    """micrograd's name for `draw`; `render("name")` of the picture writes `name.svg`."""
    picture = draw(output, direction=rankdir)
    picture.format = format
    return picture
