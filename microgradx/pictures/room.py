"""How much room a layout will take, as far as can be reckoned without making it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

from microgradx.pictures.diagram import Arrow, Box

LINE = 14  # points of a line of text
BETWEEN = 18  # boxes or lines beside each other
RANKS = 40  # from rank to rank, without the text on a line
BAR = (56, 62)  # a STOP across an arrow
FRAME = (90, 60)  # of a layer
BENT = 0.8  # more room across, if all lines go past boxes: they push them apart
SLACK = 1.1  # more across than what is reckoned

Size = tuple[float, float]  # width and height


class Room:
    """The boxes and the texts of a picture, by rank.

    boxes, labels: their sizes
    bars: the arrows with a STOP across them
    """

    def __init__(
        self, boxes: dict[Box, Size], labels: dict[Arrow, Size], bars: Collection[Arrow]
    ) -> None:
        self.ranks = _ranks([*boxes], [*labels], bars)
        self.parts: defaultdict[int, list[Size]] = defaultdict(list)
        self.between: defaultdict[int, list[Size]] = defaultdict(list)  # this rank and the next
        for box, size in boxes.items():
            self.parts[self.ranks[box]].append(size)
        self.framed = [
            rank for rank, layer in {(self.ranks[x], x.place[0]) for x in boxes} if layer
        ]
        for rank in self.framed:
            self.parts[rank].append(FRAME)
        for arrow, size in labels.items():
            self._lay(arrow, size, arrow in bars)
        skipping = sum(abs(self.ranks[x.head] - self.ranks[x.tail]) > 1 for x in labels)
        self.bent = 1 + BENT * skipping / max(len(labels), 1)

    def _lay(self, arrow: Arrow, size: Size, is_bar: bool) -> None:
        """An arrow takes room in all the ranks that it goes past."""
        low, high = sorted((self.ranks[arrow.head], self.ranks[arrow.tail]))
        for rank in range(low + 1, high):
            self.parts[rank].append(BAR if is_bar and rank == low + 1 else (0, 0))
        for rank in range(low, high):
            self.between[rank].append(size if rank == (low + high) // 2 else (0, 0))

    def size(self, sideways: bool) -> Size:
        """The width and the height of it all, if ranks stand side by side or on each other."""
        way = 0 if sideways else 1
        gaps = [max(size[way] for size in line) for line in self.between.values()]
        along = sum(max(size[way] for size in line) for line in self.parts.values())
        along += sum(gaps) + RANKS * len(gaps) + FRAME[way] * len({*self.framed})
        lines = [*self.parts.values(), *self.between.values()]
        across = self.bent * max(sum(size[1 - way] + BETWEEN for size in line) for line in lines)
        return (along, SLACK * across) if sideways else (SLACK * across, along)


def _ranks(
    boxes: Sequence[Box], arrows: Sequence[Arrow], bars: Collection[Arrow]
) -> dict[Box, int]:
    """Each box by its longest way to the output; what are leaves alone come last."""
    ordered = sorted(boxes, key=lambda box: (box.depth, box.number))
    places = {box: i for i, box in enumerate(ordered)}
    into: defaultdict[Box, list[Arrow]] = defaultdict(list)
    for arrow in arrows:
        if places[arrow.head] < places[arrow.tail]:
            into[arrow.head].append(arrow)
    ranks = dict.fromkeys(ordered, 0)
    for box in ordered:
        for arrow in into[box]:
            next_to = ranks[box] + (2 if arrow in bars else 1)
            ranks[arrow.tail] = max(ranks[arrow.tail], next_to)
    return ranks
