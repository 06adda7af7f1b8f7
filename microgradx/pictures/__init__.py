"""The graph drawn, with every local derivative on its edge."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import NoneType

from microgradx.engine import Value
from microgradx.explain import why
from microgradx.explain.explanation import Explanation
from microgradx.pictures.diagram import FOLD_ABOVE, Diagram
from microgradx.pictures.render import Picture, RendererNotFound, RenderingFailed
from microgradx.pictures.sheet import Sheet

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
    if isinstance(explain, Value):
        explain = why(explain, output)
    if not isinstance(explain, (Explanation, NoneType)):
        raise TypeError(f"explain takes a Value of the graph, got {explain!r:.60}")
    if explain and explain.output is not output:
        raise ValueError(f"the explanation is of {explain.output!r}, not of what is drawn")
    sheet = Sheet(Diagram(output, without, fold_above, explain), label, note)
    return Picture(sheet.source(title, direction), sheet.summary(), renderer)


def draw_dot(output: Value, format: str = "svg", rankdir: str = "LR") -> Picture:
    """micrograd's name for `draw`; `render("name")` of the picture writes `name.svg`."""
    picture = draw(output, direction=rankdir)
    picture.format = format
    return picture
