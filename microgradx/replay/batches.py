"""What may be a batch, and in what it is computed."""

from __future__ import annotations

from typing import Any

import numpy as np

from microgradx._base.arguments import number

Floats = np.ndarray[Any, np.dtype[Any]]


def numbers_of(name: str, x: Any) -> Floats:
    """x as an array of real numbers."""
    try:
        found = np.asarray(x)
    except ValueError:
        raise ValueError(f"{name} is ragged; its samples must have one shape") from None
    if found.dtype == object:
        found = _floats_of(found)
    if found.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold numbers, got an array of {found.dtype}")
    return found


def _floats_of(x: Floats) -> Floats:
    """Objects as floats if they are numbers, such as Fractions; else as they are."""
    try:
        return np.array([number(element) for element in x.ravel()]).reshape(x.shape)
    except TypeError:
        return x


def float_type(dtype: Any) -> Any:
    """float64 or float32, by any of their names; others are a ValueError."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = np.dtype(object)
    if found not in (np.float64, np.float32):
        raise ValueError(f"a replay computes in float64 or float32, got dtype {dtype!r}")
    return found


def refuse_nan(name: str, x: Floats) -> None:
    """A ValueError with the place of the first nan, if there is one."""
    found = np.argwhere(np.isnan(x))
    if len(found):
        place = found[0].tolist()
        names = ("row", "column") if len(place) <= 2 else ("sample", *["then"] * len(place))
        where = ", ".join(f"{what} {k}" for what, k in zip(names, place))
        raise ValueError(f"{name} has a nan in {where or 'its place'}; leave it out or fill it in")
