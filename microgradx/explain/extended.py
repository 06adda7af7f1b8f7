"""Numbers that neither underflow nor overflow: a mantissa and an unbounded power of two."""

from __future__ import annotations

import math
from math import floor, isfinite
from typing import NamedTuple

LOG2 = math.log10(2.0)
SMALL, LARGE = 1e-100, 1e100  # mantissas stay between, so that products of three are safe


class Extended(NamedTuple):
    """mantissa · 2^exponent, a number that neither underflows nor overflows."""

    mantissa: float
    exponent: int

    @property
    def decades(self) -> float:
        """log₁₀ of its size; -inf for 0."""
        m = abs(self.mantissa)
        return math.log10(m) + self.exponent * LOG2 if m else -math.inf

    def __float__(self) -> float:
        try:
            return math.ldexp(self.mantissa, self.exponent)
        except OverflowError:
            return math.copysign(math.inf, self.mantissa)


def times(x: float, m: float, e: int) -> Extended:
    """x · (m · 2^e)"""
    product = x * m
    if SMALL < abs(product) < LARGE or not (x and m):
        return Extended(product, e)
    if not (math.isfinite(x) and math.isfinite(m)):
        return Extended(product, e)
    (a, i), (b, j) = math.frexp(x), math.frexp(m)
    return Extended(a * b, e + i + j)


def plus(a: Extended, b: Extended) -> Extended:
    """a + b, at the larger exponent of the two."""
    if not a.mantissa or not b.mantissa:
        return b if not a.mantissa else a
    low, high = (a, b) if a.exponent <= b.exponent else (b, a)
    shifted = math.ldexp(low.mantissa, low.exponent - high.exponent)
    return Extended(high.mantissa + shifted, high.exponent)


def product(a: Extended, b: Extended) -> Extended:
    """a · b"""
    m, e = times(a.mantissa, *b)
    return Extended(m, e + a.exponent)


def quotient(a: Extended, b: Extended) -> Extended:
    """|a| / |b|, b not 0"""
    (m, e), (n, f) = math.frexp(a.mantissa), math.frexp(b.mantissa)
    return Extended(abs(m / n), e + a.exponent - f - b.exponent)


def show(number: Extended) -> str:
    """Three digits of a number, whatever its size."""
    x = float(number)
    if (x and isfinite(x)) or not (number.mantissa and isfinite(number.mantissa)):
        return f"{x + 0.0:.3g}"  # no -0
    decade = floor(number.decades)
    return f"{'-' if number.mantissa < 0 else ''}{10 ** (number.decades - decade):.2f}e{decade}"
