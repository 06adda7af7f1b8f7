"""What a gradient counts as small or large beside: those of the layer closest to the output."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import NamedTuple

from microgradx._base.text import place
from microgradx.engine import Value
from microgradx.explain.extended import Extended, plus
from microgradx.explain.paths import Paths
from microgradx.explain.tangents import Tangents

LN10 = log(10.0)


class Reference(NamedTuple):
    """Decades to compare with, and how many of them are the loss's doing.

    whose: whose gradients they are, for a sentence
    """

    decades: float
    loss: float = 0.0
    whose: str = ""

    def __str__(self) -> str:
        return self.whose or ("1" if not self.decades else f"10^{self.decades:g}")


def reference(paths: Paths, index: int, tangents: Callable[[], Tangents]) -> Reference:
    """The decades of the gradients at the output layer that the node of this index leads to.

    It is their median. Where the graph holds several samples they are added up over these, because
    a weight's gradient adds up the samples too. For a node of that layer or of the loss, and where
    no node is labelled as part of a layer, it is 0.

    tangents: gives the sums from the node onwards, which are asked for only with several samples
    """
    layer = output_layer(paths.nodes)
    node = paths.nodes[index]
    if node in paths.loss or index in layer:
        return Reference(0.0)
    samples = len({paths.nodes[i].label for i in layer}) < len(layer)
    if samples:
        layer = [i for i in layer if i < index and tangents().size(i).mantissa] or layer
    sums: dict[str, Extended] = {}
    for i in layer:
        m, e = paths.wide(i)
        label = paths.nodes[i].label
        sums[label] = plus(sums.get(label, Extended(0.0, 0)), Extended(abs(m), e))
    decades = sorted(total.decades for total in sums.values() if total.mantissa)
    if not decades:
        return Reference(0.0)
    losses = sorted(paths.budget[i].get("loss", 0.0) / LN10 for i in layer)
    return Reference(decades[len(decades) // 2], losses[len(losses) // 2], "the output layer's")


def output_layer(nodes: list[Value]) -> list[int]:
    """Which of `nodes`, in the order of the sweep, are the layer closest to the output."""
    places = [(i, place(x.label)[0]) for i, x in enumerate(nodes) if x.rule and x.label]
    last = next((layer for _, layer in places if layer), "")
    return [i for i, layer in places if layer == last] if last else []
