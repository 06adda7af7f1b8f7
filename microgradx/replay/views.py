"""Which elements of an array a matrix of positions picks, as the text of a view."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

Ids = np.ndarray[Any, np.dtype[np.int64]]
Shape = tuple[Any, ...]  # of an array: whole numbers, and texts such as "n" and "4 * n"
WITHOUT_GAPS = re.compile(  # some whole rows, one after the other, perhaps in another shape
    r"(\[((\d+|None), )*(\d+|\d*:-?\d*|None|\.\.\.)(, (:|None|\.\.\.))*\])?(\.reshape\(.*\))?"
)


def view_text(index: Ids, dims: tuple[int, ...], inner: Shape, outer: Shape) -> str | None:
    """The text that makes a view of an array with just the elements `index`; None if none can.

    index: flat positions in the array, whose shape is `dims` and then `inner`; the view's is that
           of index and then `outer`
    """
    whole = is_whole(index, math.prod(dims))
    if whole and index.shape == dims and (not dims or len(outer) == len(inner)):
        return ""
    sizes = [size for size in index.shape if size > 1]
    if whole and sizes != [size for size in dims if size > 1]:
        return reshaped(index.shape + outer)
    if len(dims) == 1 and len(sizes) > 1:
        return _matrix(index, outer)
    runs = _runs(index, dims)
    if runs is None:
        return None
    text = ""
    axes = [axis for axis, _ in runs if axis is not None]
    if axes != sorted(axes):
        text = _subscript([part for _, part in runs]) + _transposed(axes, inner)
        runs = [(axis, ":") for axis in sorted(axes)]
    parts: list[str] = []
    done = 0  # axes of the view
    for axis, part in runs:
        if axis is not None:
            parts += ["None"] * (axis - done)
            done = axis + 1
        parts.append(part)
    parts += ["None"] * (index.ndim - done + len(outer) - len(inner))
    if parts and not inner and all(part.isdigit() for part in parts):
        parts.append("...")  # one element, as an array: a number would not change with it
    return text + _subscript(parts)


def _matrix(index: Ids, outer: Shape) -> str | None:
    """The text for a matrix that lies without gaps in an array of one dimension."""
    for matrix, turn, tail in ((index, "", outer), (index.T, ".T", ())):
        start = int(matrix.flat[0])
        if is_whole(matrix - start, index.size) and tail == outer:
            return f"[{start}:{start + index.size}]" + reshaped(matrix.shape + tail) + turn
    return None


def _runs(index: Ids, dims: tuple[int, ...]) -> list[tuple[int | None, str]] | None:
    """By dimension, the axis of `index` that runs along it, if any, and its part of a subscript.

    None if an axis runs unevenly, backwards, or along several dimensions.
    """
    runs: list[tuple[int | None, str]] = []
    for places, size in zip(np.unravel_index(index, dims) if dims else (), dims):
        axes = [axis for axis in range(index.ndim) if np.diff(places, axis=axis).any()]
        if not axes:
            runs.append((None, str(places.flat[0])))
            continue
        steps = np.unique(np.diff(places, axis=axes[0]))
        if len(axes) > 1 or len(steps) > 1 or steps[0] < 1:
            return None
        runs.append((axes[0], _slice(int(places.min()), int(places.max()) + 1, steps[0], size)))
    running = sorted([axis for axis, _ in runs if axis is not None])
    return runs if running == [k for k, size in enumerate(index.shape) if size > 1] else None


def _slice(start: int, stop: int, step: int, size: int) -> str:
    if step == 1:
        return ":" if start == 0 and stop == size else f"{start}:{stop}"
    return f"{start}:{stop}:{step}"


def _transposed(axes: list[int], inner: Shape) -> str:
    """The text that puts axes into ascending order."""
    order = [*np.argsort(axes).tolist(), *range(len(axes), len(axes) + len(inner))]
    return ".T" if order == [1, 0] else f".transpose({', '.join(map(str, order))})"


def _subscript(parts: list[str]) -> str:
    while parts and parts[-1] == ":":
        parts = parts[:-1]
    return f"[{', '.join(parts)}]" if parts else ""


def reshaped(shape: Shape) -> str:
    """The text of a reshape."""
    return f".reshape({', '.join(map(str, shape)) or '()'})"


def joined(sizes: Shape) -> Any:
    """The size of several axes as one."""
    sizes = tuple(size for size in sizes if size != 1)
    if all(isinstance(size, int) for size in sizes):
        return int(np.prod(sizes, dtype=int))
    return " * ".join(map(str, sizes))


def is_whole(index: Ids, size: int) -> bool:
    """Whether an index matrix picks all of an array of `size`, in order."""
    return index.size == size and bool((index.ravel() == np.arange(size)).all())


def has_gaps(text: str) -> bool:
    """Whether a view, of an array that lies without gaps, has any: to reshape it takes a copy."""
    return not WITHOUT_GAPS.fullmatch(text)
