"""Arrays of numbers that neither underflow nor overflow: mantissas and powers of two.

The array twin of `explain.extended`, pinned to it by tests.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

NOTHING = -(2**40)  # the exponent of 0, far below that of any number
LOG2 = float(np.log10(2.0))


class Wide(NamedTuple):
    """mantissa · 2^exponent, elementwise; a mantissa is 0, not finite, or of a size in ½ … 1."""

    mantissa: Any
    exponent: Any

    @property
    def decades(self) -> Any:
        """log₁₀ of the sizes; -inf for 0."""
        return np.log10(np.abs(self.mantissa)) + self.exponent * LOG2

    @property
    def floats(self) -> Any:
        """The numbers as floats; 0 and inf where those end."""
        return scaled(self.mantissa, self.exponent)

    def at(self, index: Any) -> Wide:
        """Some of the numbers."""
        return Wide(self.mantissa[index], self.exponent[index])

    def reshape(self, *shape: int) -> Wide:
        """The same numbers in another shape."""
        return Wide(self.mantissa.reshape(shape), self.exponent.reshape(shape))


def wide(numbers: Any, exponent: Any = 0) -> Wide:
    """numbers · 2^exponent."""
    mantissa, more = np.frexp(numbers)
    return Wide(mantissa, np.where(mantissa == 0, NOTHING, more + np.asarray(exponent, np.int64)))


def scaled(numbers: Any, exponent: Any) -> Any:
    """numbers · 2^exponent as floats."""
    return np.ldexp(numbers, np.clip(exponent, -4000, 4000).astype(np.int32))


def times(x: Wide, factor: Wide) -> Wide:
    """x · factor."""
    return wide(x.mantissa * factor.mantissa, x.exponent + factor.exponent)


def root(x: Wide) -> Wide:
    """√x of numbers that are not negative."""
    odd = x.exponent & 1
    return wide(np.sqrt(np.where(odd, 2.0, 1.0) * x.mantissa), x.exponent >> 1)


def ratio(x: Wide, y: Wide) -> Any:
    """x / y as floats."""
    return scaled(x.mantissa / y.mantissa, x.exponent - y.exponent)


def added(x: Wide, y: Wide) -> Wide:
    """x + y."""
    top = np.maximum(x.exponent, y.exponent)
    parts = [scaled(z.mantissa, z.exponent - top) for z in (x, y)]
    return wide(parts[0] + parts[1], top)


def together(x: Wide, starts: Any, group: Any) -> Wide:
    """The sums of groups of rows of x.

    starts, group: where each group starts, and by row the number of its group
    """
    top = np.maximum.reduceat(x.exponent, starts, axis=0)
    total = np.add.reduceat(scaled(x.mantissa, x.exponent - top[group]), starts, axis=0)
    return wide(total, top)
