"""Arguments, checked: one real number as a float, numbers that have bounds, nests of lists."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Mapping, Set
from numbers import Real
from typing import Any

from microgradx._base.text import kind_of


def number(x: Any) -> float:
    """x as a Python float, if it is one real number; else a TypeError that says what to do."""
    kind = type(x)
    if kind is float:
        exact: float = x
        return exact
    if kind is int or (isinstance(x, Real) and not _is_time(x)) or _is_numpy_number(x):
        try:
            found = float(x)
            if abs(found) != math.inf or x == found:  # a long double may be finite itself
                return found
        except OverflowError:
            pass
        raise OverflowError(f"{kind_of(x)} too large for a float, 1.8e308 at most")
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


def chosen(what: str, choice: Any, known: Mapping[str, Any]) -> Any:
    """A callable as it is, a name as what it names; another choice is an error that lists all."""
    if callable(choice):
        return choice
    if isinstance(choice, str) and choice in known:
        return known[choice]
    kind = ValueError if isinstance(choice, str) else TypeError
    raise kind(f"{what} {choice!r} is not known; use {', '.join(known)}, or a callable")


def _is_time(x: Any) -> bool:
    """Whether x is a date or a span of NumPy's: a count of nanoseconds, or of another unit."""
    return getattr(getattr(x, "dtype", None), "kind", None) in ("m", "M")


def _is_numpy_number(x: Any) -> bool:
    """Whether x is a NumPy scalar or 0-d array of a real kind, not masked; asked without NumPy."""
    kind = getattr(getattr(x, "dtype", None), "kind", None)
    if kind not in ("b", "i", "u", "f") or getattr(x, "ndim", None) != 0:
        return False
    return not is_masked(x)


def _describe(x: Any) -> str:
    """A description of x, and of the argument to write instead."""
    name = type(x).__name__
    if name == "Value":
        return "a Value; use it as it is, or its .data"
    if is_masked(x):
        return "a masked number; leave it out or fill it in, as array.filled(0.0) does"
    if getattr(x, "ndim", 0):
        return f"{kind_of(x)} of shape {tuple(x.shape)}; take its elements one by one"
    if isinstance(x, (list, tuple)):
        return f"{kind_of(x)} of length {len(x)}; use [Value(x) for x in xs]"
    if isinstance(x, str):
        return f"the str {repr(x)[:30]}; use float(text) first"
    if _is_time(x):
        return f"{kind_of(x)}, which has a unit; divide a span by one, as np.timedelta64(1, 'D')"
    if isinstance(x, complex):
        return f"the complex number {x}; only real numbers have gradients here, use x.real"
    return f"{kind_of(x)}; pass an int, a float, a Fraction or a NumPy scalar"


# --- nests of lists, such as matrices ------------------------------------------------------------


def nested(x: Any) -> Any:
    """x with every array, tensor, tuple and range in it as a list; a masked number stays one.

    A dict or a set in it is a TypeError.
    """
    if hasattr(x, "tolist") and not (is_masked(x) or _is_time(x)):  # which would be None, or ints
        x = x.tolist()
    if isinstance(x, str) or not hasattr(x, "__iter__") or getattr(x, "ndim", 1) == 0:
        return x
    return [nested(part) for part in members(x)]


def members(x: Any) -> Any:
    """What to go through for the members of x in their order.

    A dict, of which these would be the keys, or a set, which has no order, is a TypeError.
    """
    if type(x) is list or type(x) is tuple:
        return x
    if isinstance(x, (Mapping, Set)):
        raise TypeError(f"{kind_of(x)} is no list of numbers; make one, in the order you mean")
    if hasattr(x, "__array__") and not hasattr(x, "tolist"):
        return x.__array__()  # of a data frame, which would go through the names of its columns
    return x


def is_masked(x: Any) -> bool:
    """Whether a number of the array x is masked, without NumPy; the mask of a frame is a method."""
    any_of = getattr(getattr(x, "mask", None), "any", None)
    return any_of is not None and bool(any_of())


def flat(nest: Any) -> Iterator[Any]:
    """The elements of a nest of lists and tuples, in order; of what is no nest, itself."""
    if isinstance(nest, (list, tuple)):
        for part in nest:
            yield from flat(part)
    else:
        yield nest


def shape(nest: Any) -> tuple[int, ...] | None:
    """The shape of a nest of lists, () for what is no list; None if it is ragged or empty."""
    if not isinstance(nest, (list, tuple)):
        return ()
    shapes = {shape(part) for part in nest}
    inner = shapes.pop() if len(shapes) == 1 else None
    return None if inner is None else (len(nest), *inner)


def show_shape(nest: Any) -> str:
    """The shape for a message."""
    found = shape(nest)
    return "an empty or ragged list" if found is None else str(found)
