"""A small curve of a loss, legible on a light and on a dark ground, and its words below it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from microgradx._base.text import short
from microgradx.pictures import show
from microgradx.pictures.style import GREY, LEFT

WIDTH, HEIGHT = 360, 120  # in pixels
STEPS = 180  # of more epochs, the least and the largest loss of neighbours are drawn


def curve(loss: Sequence[float], validation: Sequence[float | None]) -> str:
    """The loss by epoch, and that of a validation set dashed; "" where there is no curve.

    Losses above 0 that span more than a decade are on a logarithmic scale. What is not finite is
    left out.
    """
    lines = {"loss": loss, "validation": [math.nan if x is None else x for x in validation]}
    finite = [x for line in lines.values() for x in line if math.isfinite(x)]
    if len(loss) < 2 or not finite:
        return ""
    low, high = min(finite), max(finite)
    logarithmic = low > 0 and high > 10 * low
    places = [[_place(x, low, high, logarithmic) for x in line] for line in lines.values()]
    paths = "".join(
        f'<path d="{_path(line)}"{dash}/>'
        for line, dash in zip(places, ("", ' stroke-dasharray="5 4"'))
        if any(map(math.isfinite, line))
    )
    words = f"The loss by epoch, 1 to {len(loss):,}: {short(high)} at the top"
    words += f", {short(low)} at the bottom" * (short(low) != short(high))
    words += ", on a logarithmic scale" * logarithmic
    words += "; dashed, the validation loss" * any(map(math.isfinite, places[1]))
    return (
        show.in_cell(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-1 -1 {WIDTH + 2} {HEIGHT + 2}" '
            f'width="{WIDTH}" fill="none" stroke="{LEFT}" stroke-width="2">'
            f'{paths}<path d="M0 0V{HEIGHT}H{WIDTH}" stroke="{GREY}" stroke-width="1"/></svg>'
        )
        + f"\n<p>{words}.</p>"
    )


def _place(x: float, low: float, high: float, logarithmic: bool) -> float:
    """How high a loss stands, from 0 to 1; nan for what is not finite."""
    if not math.isfinite(x):
        return math.nan
    if logarithmic:
        x, low, high = math.log(x), math.log(low), math.log(high)
    return (x / 2 - low / 2) / (high / 2 - low / 2) if high > low else 0.5  # no overflow


def _path(places: Sequence[float]) -> str:
    """A line through all epochs, interrupted where there is no number."""
    last, path, drawn = len(places) - 1, "", False
    for i, place in _thinned(places):
        if math.isfinite(place):
            x, y = WIDTH * i / last, 2 + (HEIGHT - 4) * (1 - place)
            path += f"{'L' if drawn else 'M'}{x:.1f} {y:.1f}"
        drawn = math.isfinite(place)
    return path


def _thinned(places: Sequence[float]) -> list[tuple[int, float]]:
    """The places by epoch; of very many, the least and the largest of neighbours, and the ends."""
    points = list(enumerate(places))
    step = math.ceil(len(points) / STEPS)
    if step == 1:
        return points
    chosen = {0, len(points) - 1}
    for start in range(0, len(points), step):
        near = sorted(points[start : start + step], key=lambda point: point[1])
        chosen.update([near[0][0], near[-1][0]])
    return [points[i] for i in sorted(chosen)]
