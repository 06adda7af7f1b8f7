"""The yardstick for small and large: the path norm at the layer closest to the output."""

from __future__ import annotations

from math import fsum
from typing import NamedTuple

from microgradx.explain.extended import Extended, extended
from microgradx.explain.paths import LN10, Paths


class Reference(NamedTuple):
    """Decades to compare with, and how many of them are the loss's doing.

    whose: whose gradients they are, for a sentence
    """

    decades: float
    loss: float = 0.0
    whose: str = ""

    def __str__(self) -> str:
        return self.whose or ("1" if not self.decades else f"10^{self.decades:g}")


def reference_for(paths: Paths, i: int) -> Reference:
    """The yardstick of node i: the median of R at the output layer, in its sample, or in all.

    Samples are put together by their squares, as they are in a weight's R. For a node of that layer
    or of the loss, and where no node is labelled as part of a layer, it is 0.
    """
    if paths.nodes[i] in paths.loss or i in paths.output_layer:
        return Reference(0.0)
    k = paths.samples[i]
    if k not in paths.references:
        paths.references[k] = _median(paths, k)
    found: Reference = paths.references[k]
    return found


def _median(paths: Paths, k: int) -> Reference:
    by_label: dict[str, list[int]] = {}
    for i in paths.output_layer:
        if paths.squares[i] and (k < 0 or paths.samples[i] == k):
            by_label.setdefault(paths.nodes[i].label, []).append(i)
    if not by_label:
        return Reference(0.0)
    decades, losses = (sorted(x) for x in zip(*[_together(paths, i) for i in by_label.values()]))
    return Reference(decades[len(decades) // 2], losses[len(losses) // 2], "the output layer's")


def _together(paths: Paths, same: list[int]) -> tuple[float, float]:
    """The decades of one neuron's R in all samples, and how many of them are the loss's."""
    total = sum([extended(paths.squares[i]) for i in same], Extended(0.0, 0)).decades / 2
    others = [fsum(x for kind, x in paths.budget(i).items() if kind != "loss") for i in same]
    return total, total - fsum(others) / len(others) / LN10
