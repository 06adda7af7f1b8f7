"""Data as arrays of real numbers, a row a sample; a refusal names the place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgradx._base.arguments import flat, is_masked, nested, number, shape

Array = NDArray[Any]

PIECE = 1024  # rows at a time, so that replaying a large set needs little memory


def numbers(name: str, data: Any) -> Array:
    """`data` as an array of real numbers; `name` is what to call it in a message.

    Rows of different lengths are a ValueError, something other than real numbers a TypeError.
    """
    for k, part in enumerate([data, *(data if isinstance(data, (list, tuple)) else ())]):
        if is_masked(part):
            place = (k - 1,) * (k > 0) + (_first(np.asarray(part.mask)) or ())
            raise ValueError(f"{name}{_at(place)} is masked; leave it out or fill it in")
    try:
        array = np.asarray(data)
    except ValueError:  # ragged, as a rule
        array = np.array(None)
    quick = array.dtype.kind in "biuf" and array.dtype.itemsize <= 8  # else a long double
    return array if quick else _converted(name, data)


def refuse_nan(name: str, array: Array) -> None:
    """A ValueError with the place of the first nan, if there is one."""
    place = _first(np.isnan(array))
    if place is not None:
        axes = ("row", "column") if len(place) <= 2 else ("sample", *["then"] * len(place))
        where = ", ".join(f"{axis} {k}" for axis, k in zip(axes, place)) or "its place"
        raise ValueError(f"{name} has a nan in {where}; leave it out or fill it in")


def samples(name: str, data: Any) -> Array:
    """`data` in float64, finite, with an axis of samples.

    A single number, no samples, a nan and an infinity are a ValueError too.
    """
    array = numbers(name, data)
    if not array.ndim:
        raise ValueError(f"{name} is the single number {array}; pass a list, one entry a sample")
    if not array.size:
        raise ValueError(f"{name} is empty, of shape {array.shape}; pass at least one sample")
    array = np.ascontiguousarray(array, np.float64)
    if place := _first(~np.isfinite(array)):
        raise ValueError(f"{name}{_at(place)} is {array[place]}; drop such rows or fill them in")
    return array


def pair(x_name: str, X: Any, y_name: str, y: Any) -> tuple[Array, Array]:
    """Samples and their targets; a ValueError if there are not as many of these as of those."""
    X, y = samples(x_name, X), samples(y_name, y)
    if len(X) != len(y):
        raise ValueError(f"{x_name} has {len(X)} samples, but {y_name} has {len(y)}")
    return X, y


def outputs(replay: Any, *batch: Array) -> Array:
    """`replay.forward` of any number of samples, a piece at a time."""
    starts = range(0, len(batch[0]), PIECE)
    return np.concatenate([replay.forward(*[x[i : i + PIECE] for x in batch]) for i in starts])


def float_type(dtype: Any) -> Any:
    """float64 or float32, by any of their names; others are a ValueError."""
    try:
        if (kind := np.dtype(dtype)) in (np.float64, np.float32):
            return kind
    except TypeError:
        pass
    raise ValueError(f"a replay computes in float64 or float32, got dtype {dtype!r}")


def _converted(name: str, data: Any) -> Array:
    """An array of numbers that NumPy takes for objects: Fractions, for instance."""
    try:
        nest = nested(data)
    except TypeError as error:
        raise TypeError(f"{name} must hold numbers; {error}") from None
    sizes = shape(nest)
    if sizes is None:
        raise ValueError(f"{name} is ragged{_first_odd_row(nest)}")
    array = np.empty(sizes)
    for place, x in zip(np.ndindex(sizes), flat(nest)):
        try:
            array[place] = number(x)
        except TypeError as error:
            raise TypeError(f"{name} must hold numbers; {name}{_at(place)}: {error}") from None
        except OverflowError as error:
            raise ValueError(f"{name}{_at(place)} is {error}") from None
    return array


def _first_odd_row(nest: list[Any]) -> str:
    shapes = [shape(row) for row in nest]
    for i, sizes in enumerate(shapes):
        if sizes != shapes[0]:
            return f": row 0 has the shape {shapes[0]}, row {i} {sizes}"
    return " or empty within its rows"


def _first(wrong: Array) -> tuple[int, ...] | None:
    """The place of the first True."""
    return tuple(np.argwhere(wrong)[0].tolist()) if np.count_nonzero(wrong) else None


def _at(place: tuple[int, ...]) -> str:
    """`[row, column]`"""
    return f"[{', '.join(map(str, place))}]" if place else ""
