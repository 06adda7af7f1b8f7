"""Data as arrays: one row a sample, every number finite, and it says where one is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from microgradx._base.arguments import nested, number, shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

# NumPy is imported where it is used: importing microgradx stays quick.

MOST = 1024  # rows at a time, so that replaying a large set needs little memory


def samples(name: str, data: Any) -> Array:
    """`data` in float64, with an axis of samples; `name` is what to call it in a message.

    No samples, rows of different lengths, a nan or an infinity are a ValueError, and something
    other than real numbers a TypeError: each names the place.
    """
    import numpy as np

    try:
        array = np.asarray(data)
    except ValueError:
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        array = _converted(name, data)
    if not array.ndim:
        raise ValueError(f"{name} is the single number {array}; pass a list, one entry a sample")
    if not array.size:
        raise ValueError(f"{name} is empty, of shape {array.shape}; pass at least one sample")
    array = np.ascontiguousarray(array, np.float64)
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        place = tuple(wrong[0].tolist())
        raise ValueError(f"{name}{_at(place)} is {array[place]}; drop such rows or fill them in")
    return array


def pair(x_name: str, X: Any, y_name: str, y: Any) -> tuple[Array, Array]:
    """Samples and their targets; a ValueError if there are not as many of these as of those."""
    X, y = samples(x_name, X), samples(y_name, y)
    if len(X) != len(y):
        raise ValueError(f"{x_name} has {len(X)} samples, but {y_name} has {len(y)}")
    return X, y


def _converted(name: str, data: Any) -> Array:
    """What NumPy does not see as an array of numbers at once: fractions, Values, mistakes."""
    import numpy as np

    nest = nested(data)
    form = shape(nest)
    if form is None:
        raise ValueError(f"{name} is ragged{_first_odd_row(nest)}")
    array = np.empty(form, object)
    array[...] = nest
    found = np.empty(form)
    for place in np.ndindex(form):
        try:
            found[place] = number(array[place])
        except TypeError as error:
            raise TypeError(f"{name}{_at(place)}: {error}") from None
    return found


def _first_odd_row(nest: list[Any]) -> str:
    forms = [shape(row) for row in nest]
    for i, form in enumerate(forms):
        if form != forms[0]:
            return f": row 0 has the shape {forms[0]}, row {i} {form}"
    return " or empty within its rows"


def _at(place: tuple[int, ...]) -> str:
    """`[row, column]`"""
    return f"[{', '.join(map(str, place))}]" if place else ""


def outputs(replay: Any, *batch: Array) -> Array:
    """`replay.forward` of any number of samples, a piece at a time."""
    import numpy as np

    starts = range(0, len(batch[0]), MOST)
    return np.concatenate([replay.forward(*[x[i : i + MOST] for x in batch]) for i in starts])
