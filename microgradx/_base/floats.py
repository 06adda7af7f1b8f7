"""NumPy's elementwise functions for one Python float: IEEE results, never an exception.

A rule is written once over a namespace `xp`. This module is that namespace for floats; NumPy
itself, which has these names and these manners (but no erfc and no normal distribution), is the
namespace for arrays. The last functions are made of those above them, without a branch, and so
run on symbols too (`step/javascript.py`).
"""

import builtins
import math

inf = math.inf
nan = math.nan

abs = builtins.abs
tanh = math.tanh
erfc = math.erfc
arctan2 = math.atan2


def where(condition: bool, x: float, y: float) -> float:
    """x if the condition holds, else y."""
    return x if condition else y


def exp(x: float) -> float:
    """eˣ; inf where it overflows."""
    try:
        return math.exp(x)
    except OverflowError:
        return inf


def exp_difference(x: float, y: float) -> float:
    """eˣ⁻ʸ, as exact far out as near 0: by d and what its rounding lost (Knuth 1969)."""
    d = x - y
    t = d - x
    lost = (x - (d - t)) - (y + t)  # x - y = d + lost exactly
    e = exp(d)
    return where(abs(lost) < 1.0, e + e * lost, e)


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


def sum_and_log(parts: list[float]) -> tuple[float, float]:
    """The sum of numbers up to 1, one of which is 1, left to right, and its logarithm."""
    total = rest = 0.0
    for x in parts:
        total += x
        rest += where(x != 1.0, x, 0.0)
    return total, where(total < 2.0, log1p(rest), log(total))  # below 2 there is a single 1


# Far out, exp and erfc magnify by x² whatever rounding x² and x/√2 loses. Both are therefore
# computed with that loss, from a head of x that has 26 bits, whose products are exact.

ROOT_HALF = math.sqrt(0.5)
HEAD, TAIL = 0.7071067839860916, -2.799544089368687e-09  # √½ = HEAD + TAIL, HEAD of 26 bits


def normal_pdf(x: float) -> float:
    """φ(x) = exp(-x² / 2) / √2π, the density of a normal distribution."""
    size, head, tail = _parted(x)
    e = exp(-0.5 * head * head)
    return (e + e * expm1(-0.5 * tail * (size + head))) * (1.0 / math.sqrt(2.0 * math.pi))


def normal_cdf(x: float) -> float:
    """Φ(x), the share of a normal distribution below x."""
    size, head, tail = _parted(x)
    u = size * ROOT_HALF
    lost = (head * HEAD - u) + (tail * HEAD + size * TAIL)  # |x|/√2 = u + lost
    side = where(x < 0, 1.0, -1.0)
    slope = exp(-u * u) / math.sqrt(math.pi)  # of ½ erfc at -u; a few digits do
    return 0.5 * erfc(side * u) - side * lost * slope


def _parted(x: float) -> tuple[float, float, float]:
    """|x|, its head and the rest, which add up to it."""
    size = minimum(abs(x), 40.0)  # beyond, Φ is 0 or 1 and φ is 0
    head = (size + 2.0**32) - 2.0**32
    return size, head, size - head
