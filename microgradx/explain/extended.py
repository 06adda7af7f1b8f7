"""Numbers that neither underflow nor overflow: a mantissa and an unbounded power of two."""

from __future__ import annotations

import math
from math import floor, frexp, isfinite, ldexp
from typing import Any, NamedTuple

from microgradx._base.text import short

LOG2 = math.log10(2.0)
SMALL, LARGE = 1e-100, 1e100  # mantissas stay between, so that products of three are safe


class Extended(NamedTuple):
    """mantissa · 2^exponent, a number that neither underflows nor overflows.

    It multiplies, adds and divides with its like and with floats; the quotient is a float.
    """

    mantissa: float
    exponent: int

    @property
    def decades(self) -> float:
        """log₁₀ of its size; -inf for 0."""
        m = abs(self.mantissa)
        return math.log10(m) + self.exponent * LOG2 if m else -math.inf

    def __float__(self) -> float:
        try:
            return ldexp(self.mantissa, self.exponent)
        except OverflowError:
            return math.copysign(math.inf, self.mantissa)

    def root(self) -> Extended:
        """The square root of a number that is not negative."""
        m, e = (2.0 * self.mantissa, self.exponent - 1) if self.exponent % 2 else self
        return Extended(math.sqrt(m), e // 2)

    def __bool__(self) -> bool:
        return self.mantissa != 0

    def __abs__(self) -> Extended:
        return Extended(abs(self.mantissa), self.exponent)

    def __mul__(self, other: Any) -> Extended:
        (m, e), (n, f) = self, other if isinstance(other, Extended) else (other, 0)
        product = m * n
        if SMALL < abs(product) < LARGE:
            return Extended(product, e + f)
        (a, i), (b, j) = frexp(m), frexp(n)
        return Extended(a * b, e + f + i + j)

    def __add__(self, other: Any) -> Extended:
        (m, e), (n, f) = self, extended(other)
        if not m or not n:
            return self if m else extended(other)
        if e < f:
            return Extended(ldexp(m, e - f) + n, f)
        return Extended(m + ldexp(n, f - e), e)

    def __truediv__(self, other: Any) -> float:
        (m, e), (n, f) = self, extended(other)
        (a, i), (b, j) = frexp(m), frexp(n)
        return float(Extended(a / b, e - f + i - j))

    def __rtruediv__(self, other: float) -> float:
        return extended(other) / self

    def __rmul__(self, other: float) -> Extended:  # type: ignore[override]
        return self * other

    def __radd__(self, other: float) -> Extended:
        return self + other


def extended(x: Any) -> Extended:
    """A number as an extended one."""
    return x if isinstance(x, Extended) else Extended(x, 0)


def show(number: Extended) -> str:
    """Three digits of a number, also where a float would be 0 or inf."""
    x = float(number)
    if (x and isfinite(x)) or not (number and isfinite(number.mantissa)):
        return short(x)
    decade = floor(number.decades)
    return f"{'-' if number.mantissa < 0 else ''}{10 ** (number.decades - decade):.2f}e{decade}"


def signed(decades: float) -> str:
    """Decades that a factor brings, with their sign; "" for what rounds to none."""
    return f"{decades:+.2f}" if abs(decades) >= 0.005 else ""
