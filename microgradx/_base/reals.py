"""What a Value holds: one real number, as a Python float; and numbers that have bounds."""

from __future__ import annotations

import math
import operator
from numbers import Real
from typing import Any


def number(x: Any) -> float:
    """x as a Python float, if it is one real number; else a TypeError that says what to do."""
    kind = type(x)
    if kind is float:
        exact: float = x
        return exact
    if kind is int or isinstance(x, Real) or _is_numpy_number(x):
        try:
            return float(x)
        except TypeError:
            pass  # says that it is real, but is no number: a NumPy timedelta
        except OverflowError:
            raise OverflowError(f"{kind.__name__} too large for a float, 1.8e308 at most") from None
    raise TypeError(f"a Value holds one float, got {_describe(x)}")


def whole(what: str, n: Any) -> int:
    """n as an int, if it is a whole number and at least 1; else an error that names `what`."""
    try:
        found = operator.index(n)
    except TypeError:
        raise TypeError(f"{what} must be a whole number, got {n!r}") from None
    if found < 1:
        raise ValueError(f"{what} must be at least 1, got {n!r}")
    return found


def within(what: str, x: Any, below: float = math.inf) -> float:
    """x as a float, if 0 <= x < below; else an error that names `what`."""
    found = number(x)
    if not 0.0 <= found < below:
        bound = "finite" if below == math.inf else f"below {below:g}"
        raise ValueError(f"{what} must be at least 0 and {bound}, got {found!r}")
    return found


def _is_numpy_number(x: Any) -> bool:
    """Whether x is a NumPy scalar or 0-d array of a real kind; asked without NumPy."""
    kind = getattr(getattr(x, "dtype", None), "kind", None)
    return kind in ("b", "i", "u", "f") and getattr(x, "ndim", None) == 0


def _describe(x: Any) -> str:
    """What x is, and what to write instead."""
    name = type(x).__name__
    if name == "Value":
        return "a Value; use it as it is, or its .data"
    if getattr(x, "ndim", 0):
        return f"an {name} of shape {tuple(x.shape)}; take its elements one by one"
    if isinstance(x, (list, tuple)):
        return f"a {name} of length {len(x)}; use [Value(x) for x in xs]"
    if isinstance(x, str):
        return f"the str {repr(x)[:30]}; use float(text) first"
    if isinstance(x, complex):
        return f"the complex number {x}; only real numbers have gradients here, use x.real"
    return f"a {name}; pass an int, a float, a Fraction or a NumPy scalar"
