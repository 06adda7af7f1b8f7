"""A heat map of a table: one column as colours over two others, by matplotlib."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgradx._base.text import listed, short
from microgradx.diagnosis.table import Table

SIZE = (7.0, 4.5)  # in inches
TICKS = 12  # of more values, matplotlib chooses which to write
ONE_SIDE, BOTH_SIDES = "cividis", "RdBu_r"  # matplotlib's maps of colours


def paint(table: Table, names: tuple[str, str, str], only: Mapping[str, Any], axes: Any) -> Any:
    """The Axes with the map; names are those of the columns x, y and colour."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("a picture of a study takes matplotlib: pip install 'microgradx[plot]'"
                          ) from error  # fmt: skip
    for name in (*names, *only):
        if name not in table:
            raise ValueError(f"no column {name!r}; there are {listed([*table], 20)}")
    rows = [row for row in table.rows if all(row[name] == x for name, x in only.items())]
    if not rows:
        raise ValueError(f"no row has {', '.join(f'{k}={v!r:.40}' for k, v in only.items())}"
                         if only else "no cell has run, so there is nothing to paint")  # fmt: skip
    xs, ys = (_values([row[name] for row in rows]) for name in names[:2])
    shades = _means(rows, names, xs, ys)
    if axes is None:
        axes = Figure(figsize=SIZE, layout="constrained").subplots()
    finite = shades[np.isfinite(shades)]
    both = bool(finite.size) and finite.min() < 0.0 < finite.max()
    most = float(np.abs(finite).max()) if both else None
    mesh = axes.pcolormesh(
        _edges(axes.set_xscale, axes.set_xticks, xs), _edges(axes.set_yscale, axes.set_yticks, ys),
        shades, cmap=BOTH_SIDES if both else ONE_SIDE,
        vmin=-most if most else None, vmax=most, rasterized=True,
    )  # fmt: skip
    axes.figure.colorbar(mesh, ax=axes, label=names[2])
    axes.minorticks_off()
    axes.set(xlabel=names[0], ylabel=names[1])
    return axes


def _values(column: list[Any]) -> list[Any]:
    """The values of a column, each once; numbers in their order, words in that of the rows."""
    found = [*dict.fromkeys(x if _is_number(x) else f"{x}" for x in column)]
    return sorted(found) if all(map(_is_number, found)) else [f"{x}" for x in found]


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool) and bool(np.isfinite(x))


def _means(
    rows: list[dict[str, Any]], names: tuple[str, str, str], xs: list[Any], ys: list[Any]
) -> NDArray[Any]:
    """By y and x the mean of a column over the rows; nan where there is no number."""
    x_of, y_of = ({x: i for i, x in enumerate(values)} for values in (xs, ys))
    sums, counts = np.zeros((2, len(ys), len(xs)))
    for row in rows:
        x, y, colour = (row[name] for name in names)
        if isinstance(colour, str):
            raise ValueError(f"the column {names[2]!r} has words, as {colour!r:.40}: no colours")
        if colour is not None:
            place = y_of.get(y, y_of.get(f"{y}")), x_of.get(x, x_of.get(f"{x}"))
            sums[place] += colour
            counts[place] += 1
    with np.errstate(all="ignore"):
        return np.asarray(sums / counts, float)


def _edges(set_scale: Any, set_ticks: Any, values: list[Any]) -> NDArray[Any]:
    """The edges of cells with these values in the middle; words stand side by side.

    Values that have one ratio, more than two of them, are on a logarithmic axis.
    """
    if isinstance(values[0], str):
        set_ticks(range(len(values)), values)
        return np.arange(len(values) + 1) - 0.5
    middles = np.array(values, float)
    steps = np.diff(np.log(middles)) if len(middles) > 2 and middles[0] > 0 else np.zeros(1)
    logarithmic = steps.sum() > math.log(4) and np.allclose(steps, steps[0], rtol=1e-3)
    if logarithmic:
        set_scale("log")
    if len(values) <= TICKS:
        set_ticks(middles, [short(x) for x in values])
    return np.exp(_around(np.log(middles))) if logarithmic else _around(middles)


def _around(middles: NDArray[Any]) -> NDArray[Any]:
    """Halfway between neighbours, and as far beyond the ends."""
    if len(middles) == 1:
        return np.array([middles[0] - 0.5, middles[0] + 0.5])
    between = (middles[1:] + middles[:-1]) / 2
    return np.array([2 * middles[0] - between[0], *between, 2 * middles[-1] - between[-1]])
