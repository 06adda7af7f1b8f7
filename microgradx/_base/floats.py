"""NumPy's elementwise functions for one Python float: IEEE results, never an exception.

A rule is written once over a namespace `xp`. This module is that namespace for floats; NumPy
itself, which has these names and these manners (but no erfc), is the namespace for arrays.
"""

import builtins
import math

inf = math.inf
nan = math.nan

abs = builtins.abs
tanh = math.tanh
erfc = math.erfc


def where(condition: bool, x: float, y: float) -> float:
    """x if the condition holds, else y."""
    return x if condition else y


def exp(x: float) -> float:
    """eˣ; inf where it overflows."""
    try:
        return math.exp(x)
    except OverflowError:
        return inf


def expm1(x: float) -> float:
    """eˣ - 1; inf where it overflows."""
    try:
        return math.expm1(x)
    except OverflowError:
        return inf


def log(x: float) -> float:
    """ln x; -inf at 0, nan below."""
    if x > 0:
        return math.log(x)
    return -inf if x == 0 else nan


def log1p(x: float) -> float:
    """ln(1 + x); -inf at -1, nan below."""
    if x > -1:
        return math.log1p(x)
    return -inf if x == -1 else nan


def sqrt(x: float) -> float:
    """√x; nan below 0."""
    return math.sqrt(x) if x >= 0 else nan


def sin(x: float) -> float:
    """sin x; nan at ±inf."""
    return math.sin(x) if math.isfinite(x) else nan


def cos(x: float) -> float:
    """cos x; nan at ±inf."""
    return math.cos(x) if math.isfinite(x) else nan


def sign(x: float) -> float:
    """-1, 0 or 1; nan of nan."""
    if x == 0:
        return 0.0
    return math.copysign(1.0, x) if x == x else nan


def maximum(x: float, y: float) -> float:
    """The larger, y if they are equal; nan if either is."""
    if x != x or y != y:
        return nan
    return x if x > y else y


def minimum(x: float, y: float) -> float:
    """The smaller, y if they are equal; nan if either is."""
    if x != x or y != y:
        return nan
    return x if x < y else y


def divide(x: float, y: float) -> float:
    """x / y; ±inf or nan where y is 0."""
    try:
        return x / y
    except ZeroDivisionError:
        if x == 0 or x != x:
            return nan
        return math.copysign(inf, x) * math.copysign(1.0, y)


def power(x: float, y: float) -> float:
    """xʸ; nan for a negative x and a fractional y, ±inf where it overflows."""
    try:
        return math.pow(x, y)
    except OverflowError:
        return -inf if x < 0 and y % 2 == 1 else inf
    except ValueError:  # 0 ** negative, or a negative base with a fractional exponent
        if x != 0:
            return nan
        return math.copysign(inf, x) if y % 2 == 1 else inf
