"""The rows of a neuron's box: a sample each, or all samples with such a slope."""

from __future__ import annotations

from typing import NamedTuple

from microgradx._base.text import short
from microgradx.explain.layers import Survey, mean_square_root
from microgradx.explain.samples import Neuron, Turn

ROWS = 6  # samples that are rows of their own; more are groups of like slopes
HEIGHT = 17  # points of a row
GROUPED = 76  # points of all groups together
BOUNDS = (0.5, 0.1, 0.01, 0.0)  # the groups: slopes of at least this size; and those of 0


class Line(NamedTuple):
    """A row of a box: one sample, or all samples with such a slope.

    z, slope, grad: as words; left, arriving: |grad| at z, and at the output
    stops: in how many of its samples the slope stops a gradient
    """

    n: int
    z: str
    slope: float
    grad: str
    left: float
    arriving: float
    stops: int
    height: int
    turns: list[Turn]
    group: int = 0


NOT_USED = Line(0, "–", 1.0, "–", 0.0, 0.0, 0, HEIGHT, [])  # a sample that does not read it


def lines_of(neuron: Neuron, survey: Survey, empty: bool = False) -> list[Line]:
    """The rows of a neuron's box: the samples in their order, or groups from the steepest slope.

    empty: whether groups without a sample have a row too
    """
    turns = list(neuron.turns.values())
    if survey.net.samples <= ROWS:
        rows = [neuron.turns.get(k) for k in range(survey.net.samples)]
        return [_line([turn], survey, HEIGHT) if turn else NOT_USED for turn in rows]
    groups: dict[float, list[Turn]] = {bound: [] for bound in (*BOUNDS, -1.0)}
    for turn in turns:
        groups[_bound(turn.slope)].append(turn)
    present = {k: group for k, group in enumerate(groups.values()) if group or empty}
    spare = max(GROUPED - HEIGHT * len(present), 0)
    return [
        _line(each, survey, HEIGHT + spare * len(each) // len(turns))._replace(group=k)
        if each
        else NOT_USED._replace(z="", grad="", group=k)
        for k, each in present.items()
    ]


def _bound(slope: float) -> float:
    """The largest bound that a slope reaches; -1 for a slope of 0, the first for nan."""
    if not slope:
        return -1.0
    return next((bound for bound in BOUNDS if abs(slope) >= bound), BOUNDS[0])


def _line(turns: list[Turn], survey: Survey, height: int) -> Line:
    slopes = sorted([turn.slope for turn in turns])
    slope = slopes[len(slopes) // 2]
    arriving = mean_square_root([turn.y.grad for turn in turns])
    return Line(
        len(turns),
        span([turn.z.data for turn in turns]),
        slope,
        short(arriving if survey.net.samples > ROWS else turns[0].y.grad),
        mean_square_root([turn.z.grad for turn in turns]),
        arriving,
        sum(map(survey.stops_at, turns)),
        height,
        turns,
    )


def span(numbers: list[float]) -> str:
    """The least and the largest, or the one that all are."""
    return " … ".join(dict.fromkeys([short(min(numbers)), short(max(numbers))]))
