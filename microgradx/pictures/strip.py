"""The strip of decades: how much gradient is left at each layer, and what took the rest."""

from __future__ import annotations

import math
from typing import Any

from microgradx._base.text import short
from microgradx.explain.layers import Passage
from microgradx.explain.samples import Layer
from microgradx.pictures import style
from microgradx.pictures.markup import LEFT, block, cell, row, table, words
from microgradx.pictures.style import GREY, power

WIDTH = 400  # points of a strip at most
DECADE = 80  # points of a decade at most
HEIGHT = 30
HARD = 0.1  # a factor below it, or above its inverse, stands out
NUMBER = 42  # points that a decade's name needs

WORDS = {
    style.BY_SLOPES: "lost: slopes",
    style.BY_WEIGHTS: "lost: weights",
    style.GAINED: "gained",
}

Span = tuple[float, str]  # up to this place, this colour
Cut = tuple[float, float, str]  # from this place on, so many points, in this colour


class Strip:
    """One row of blocks for each layer, all on one scale of decades.

    passages: of the rows, in the order of the computation; sizes that are 0 or not finite have
              no place on the scale
    ceilings: of each row, the most that its activations can let through
    used:     the colours that were drawn, and their words
    """

    def __init__(self, passages: list[Passage], ceilings: list[float]) -> None:
        self.passages = passages
        self.ceilings = ceilings
        sizes = [size for p in passages for size in (p.arriving, p.leaving)]
        decades = [math.log10(size) for size in sizes if 0 < size < math.inf] or [0.0]
        high = math.ceil(max(decades) + 1e-9)
        self.decades = max(3, high - math.floor(min(decades) - 1e-9))
        self.low = high - self.decades
        self.point = max(min(DECADE, WIDTH // self.decades), 1)
        self.used: dict[str, str] = {}
        self.least_ceiling = min(self.ceilings[:-1], default=1.0)

    def data(self) -> dict[str, Any]:
        """What a page has to know to draw the strips anew."""
        return {"low": self.low, "decades": self.decades, "point": self.point,
                "ceilings": self.ceilings}  # fmt: skip

    def bar(self, i: int, height: int = HEIGHT) -> str:
        """The strip of layer i: a thin line at each decade, and a tick at the ceiling."""
        spans = self._spans(i)
        cuts: list[Cut] = [(k * self.point, 1.0, style.PAPER) for k in range(1, self.decades)]
        if self.point < 4:
            cuts = []
        tick = self._place(self.passages[-1].leaving * math.prod(self.ceilings[i:-1]))
        if tick >= 2 and min(self.ceilings[i:-1], default=1.0) < 1:
            cuts = [cut for cut in cuts if abs(cut[0] - tick) > 2]
            cuts.append((tick - 2, 2.0, style.INK))
        blocks = _blocks(spans, sorted(cuts))
        self.used.update({fill: WORDS[fill] for _, fill in blocks if fill in WORDS})
        return table([row(*[block(width, height, fill) for width, fill in blocks])])

    def _spans(self, i: int) -> list[Span]:
        """The colours of a strip from left to right.

        The gradient that is left comes first, with the gain at its end. Then come the losses: by
        the slopes, by the weights, and those of the layers before.
        """
        arriving, leaving = self.passages[i].arriving, self.passages[i].leaving
        above = self.passages[i].above
        spans = [(min(above, leaving), style.LEFT), (leaving, style.GAINED)]
        spans += [(arriving, style.BY_SLOPES), (above, style.BY_WEIGHTS)]
        placed = [(self._place(size), colour) for size, colour in spans]
        return [*placed, (self.decades * self.point, style.GROUND)]

    def _place(self, size: float) -> float:
        """Where on the strip a size lies, in points from its left end."""
        if not size > 0:
            return 0.0
        decades = min(max(math.log10(size) - self.low, 0.0), self.decades)
        return decades * self.point

    def axis(self) -> str:
        """The decades by name, above the strips."""
        every = math.ceil(NUMBER / self.point)
        cells = []
        for i in range(0, self.decades, every):
            width = self.point * min(every, self.decades - i)
            cells.append(cell(words(power(self.low + i), 10, GREY), width=width, **LEFT))
        return table([row(*cells)])

    def factor(self, i: int) -> tuple[str, str]:
        """The factor from the layer above in words, and what it is the product of."""
        p = self.passages[i]
        if not p.is_read:
            slopes = f" · slopes ×{short(p.slopes)}" if p.slopes != 1 else ""
            return f"starts at {short(p.arriving)}{slopes}", ""
        if not p.above:
            return "–", "nothing arrives"
        split = f"weights ×{short(p.weights)} · slopes ×{short(p.slopes)}"
        return f"×{short(p.factor)}", split

    def is_hard(self, i: int) -> bool:
        """Whether a layer takes or gives so much that it stands out."""
        p = self.passages[i]
        return bool(p.is_read and p.above and not HARD <= p.factor <= 1 / HARD)


def ceiling_of(layer: Layer) -> float:
    """The largest slope that a layer's activation can have; 1 for none, or if it has no largest."""
    neuron = next(iter(layer.neurons.values()))
    if not neuron.activation or neuron.rule is None or neuron.rule.ceiling == math.inf:
        return 1.0
    return neuron.rule.ceiling


def _blocks(spans: list[Span], cuts: list[Cut]) -> list[tuple[int, str]]:
    """Spans of colour as blocks of whole points, with the cuts laid over them."""
    blocks: list[tuple[int, str]] = []
    at, left = 0, list(cuts)

    def fill(end: float, colour: str) -> None:
        nonlocal at
        if round(end) > at:
            blocks.append((round(end) - at, colour))
            at = round(end)

    for end, colour in spans:
        while left and left[0][0] < end:
            place, width, ink = left.pop(0)
            fill(place, colour)
            fill(at + width, ink)
        fill(end, colour)
    return blocks
