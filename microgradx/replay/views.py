"""Which elements of an array a matrix of positions picks, as the text of a view."""

from __future__ import annotations

from typing import Any

import numpy as np

Ids = np.ndarray[Any, np.dtype[np.int64]]
Shape = tuple[Any, ...]  # of an array: whole numbers, and texts such as "n" and "4 * n"


def view_text(index: Ids, dims: tuple[int, ...], inner: Shape, outer: Shape) -> str | None:
    """The text that makes a view of an array with just the elements `index`; None if none can.

    index: flat positions in the array, whose shape is `dims` and then `inner`; the view's is that
           of index and then `outer`
    """
    added = len(outer) > len(inner)
    if is_whole(index, int(np.prod(dims, dtype=int))):
        if index.shape == dims:
            return "" if not added or not dims else "[:, None]" if len(dims) == 1 else "[..., None]"
        if tuple(n for n in index.shape if n > 1) != tuple(n for n in dims if n > 1):
            return reshaped(index.shape + outer)
    strides = _strides(index)
    if strides is None:
        return None
    if len(dims) == 1 and len(strides) > 1:
        return _matrix(index, strides, outer)
    axes = [axis for axis, size in enumerate(index.shape) if size > 1]
    offsets = [int(k) for k in np.unravel_index(int(index.flat[0]), dims)] if dims else []
    units = [int(np.prod(dims[k + 1 :], dtype=int)) for k in range(len(dims))]
    runs: dict[int, tuple[int, str]] = {}  # by dimension, the axis that runs along it, and how
    for axis, stride in zip(axes, strides):
        for k, unit in enumerate(units):
            stop = offsets[k] + (index.shape[axis] - 1) * (stride // unit) + 1
            if k not in runs and stride % unit == 0 and stride >= unit and stop <= dims[k]:
                runs[k] = axis, _slice(offsets[k], stop, stride // unit, dims[k])
                break
        else:
            return None
    parts = [runs[k][1] if k in runs else str(offset) for k, offset in enumerate(offsets)]
    order = [runs[k][0] for k in sorted(runs)]
    text = ""
    if order != sorted(order):  # transposed, which only matrices are
        text = f"[{', '.join(parts)}]" if set(parts) != {":"} else ""
        text += ".swapaxes(0, 1)" if inner else ".T"
        parts = [":"] * len(order)
    full: list[str] = []
    for size in index.shape:
        if size == 1:
            full.append("None")
            continue
        while parts[0].isdigit():
            full.append(parts.pop(0))
        full.append(parts.pop(0))
    full += parts
    if added:
        full += ["None"]
    while full and full[-1] == ":":
        full.pop()
    if full and not inner and all(part.isdigit() for part in full):
        full += ["..."]  # one element, as an array: a number would not change with it
    return text + (f"[{', '.join(full)}]" if full else "")


def _matrix(index: Ids, strides: list[int], outer: Shape) -> str | None:
    """The text for a matrix that lies without gaps in an array of one dimension."""
    start, sizes = int(index.flat[0]), [size for size in index.shape if size > 1]
    run = f"[{start}:{start + index.size}]"
    if strides == [sizes[-1], 1]:
        return run + reshaped(index.shape + outer)
    if strides == [1, sizes[0]] and index.ndim == 2 and not outer:
        return run + reshaped((sizes[1], sizes[0])) + ".T"
    return None


def _strides(index: Ids) -> list[int] | None:
    """By axis of more than one element, the step from one to the next; None if they differ."""
    strides = []
    expected: Any = int(index.flat[0])
    for axis, size in enumerate(index.shape):
        if size == 1:
            continue
        stride = int(index.take(1, axis=axis).flat[0]) - int(index.flat[0])
        if stride <= 0:
            return None
        strides.append(stride)
        along = [1] * index.ndim
        along[axis] = size
        expected = expected + stride * np.arange(size).reshape(along)
    even = np.array_equal(np.broadcast_to(expected, index.shape), index)
    return strides if even else None


def _slice(start: int, stop: int, step: int, size: int) -> str:
    if step == 1:
        return ":" if start == 0 and stop == size else f"{start}:{stop}"
    return f"{start}:{stop}:{step}"


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
    if text.startswith(".reshape") or not text:
        return False
    if not text.startswith("[") or "].swapaxes" in text or "].T" in text:
        return True
    parts = [part for part in text[1 : text.index("]")].split(", ") if part not in ("None", "...")]
    while parts and parts[0].isdigit():
        parts.pop(0)
    if parts and parts[0].count(":") > 1:
        return True
    return any(part != ":" for part in parts[1:])
