"""NumPy's elementwise functions for one interval: what they may give, rounded outward.

A rule is written once over a namespace `xp`. `intervals` is that namespace for intervals.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor, inf, isinf, nan, nextafter, pi
from types import SimpleNamespace
from typing import Any

from microgradx._base import floats


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Interval:
    """Every number from lo to hi, and nan too if `nan`: where a quantity is known to lie.

    Arithmetic encloses the results both of real numbers and of floats, each end rounded outward
    (Moore 1966). One object is one quantity, so `x * x` is a square. As with arrays, a comparison
    is asked of every point: its truth is [1, 1], [0, 0] or, undecided, [0, 1]. Compare the ends.

    >>> x = Interval(-1.0, 2.0)
    >>> print(x + 0.5, -3 * x, x * x, x / 3)
    [-0.5, 2.5] [-6.0, 3.0] [0.0, 4.0] [-0.33333333333333337, 0.6666666666666667]
    """

    lo: float
    hi: float
    nan: bool = False

    def __init__(self, lo: float, hi: float, nan: bool = False) -> None:
        _set_lo(self, lo)  # by its slots: half the time that a frozen dataclass takes
        _set_hi(self, hi)
        _set_nan(self, nan)

    @property
    def largest(self) -> float:
        """The largest |x| in it."""
        return max(abs(self.lo), abs(self.hi))

    def __iter__(self) -> Iterator[float]:
        return iter((self.lo, self.hi))

    def __contains__(self, x: float) -> bool:
        return self.lo <= x <= self.hi or (x != x and self.nan)

    def __str__(self) -> str:
        return f"[{self.lo!r}, {self.hi!r}]" + (" or nan" if self.nan else "")

    # --- arithmetic ---------------------------------------------------------------------------

    def __add__(self, other: Any) -> Interval:
        if type(other) is float and other == 0.0:  # as a sum begins
            return self
        y = interval(other)
        clash = (self.hi == inf and y.lo == -inf) or (self.lo == -inf and y.hi == inf)  # ∞ - ∞
        lo, hi = _plus(self.lo, y.lo, -inf), _plus(self.hi, y.hi, inf)
        return Interval(lo, hi, self.nan or y.nan or clash)

    def __neg__(self) -> Interval:
        return Interval(0.0 - self.hi, 0.0 - self.lo, self.nan)

    def __sub__(self, other: Any) -> Interval:
        return self + -interval(other)

    def __rsub__(self, other: Any) -> Interval:
        return -self + interval(other)

    def __mul__(self, other: Any) -> Interval:
        y = interval(other)
        if y.lo == 1.0 == y.hi and not y.nan:
            return self
        clash = (0 in self and isinf(y.largest)) or (0 in y and isinf(self.largest))  # 0 · ∞
        if y is not self:
            lo, hi = _product(self.lo, self.hi, y.lo, y.hi)
            return Interval(lo, hi, self.nan or y.nan or clash)
        pairs = [(self.lo, self.lo), (self.hi, self.hi)] + [(0.0, 0.0)] * (0 in self)
        return _extremes(_times, pairs, self.nan or y.nan or clash)

    def __truediv__(self, other: Any) -> Interval:
        y = interval(other)
        clash = (0 in self and 0 in y) or (isinf(self.largest) and isinf(y.largest))
        if 0 in y:  # either sign of 0
            return Interval(-inf, inf, self.nan or y.nan or clash)
        return _extremes(_over, _corners(self, y), self.nan or y.nan or clash)

    def __rtruediv__(self, other: Any) -> Interval:
        x = interval(other)
        return x / self

    def __pow__(self, other: Any) -> Interval:
        y = interval(other)
        may_be_nan = self.nan or y.nan
        whole = y.lo == y.hi and y.lo % 1 == 0  # ±inf % 1 is nan
        if (0 in self and y.lo < 0) or (self.lo < 0 and not whole):
            return Interval(-inf, inf, may_be_nan or self.lo < 0)
        pairs = _corners(self, y)  # log |xʸ| = y · log |x| has its extremes there …
        if 0 in self:
            pairs.append((0.0, y.lo))  # … or at 0, where y is one number, or 0 a corner too
        return _extremes(_to_the, pairs, may_be_nan)

    __radd__, __rmul__ = __add__, __mul__

    def __abs__(self) -> Interval:
        if self.lo >= 0:
            return self
        return Interval(max(0.0, -self.hi), self.largest, self.nan)

    # --- truths -------------------------------------------------------------------------------

    def __lt__(self, other: Any) -> Interval:
        y = interval(other)
        return _truth(self.hi < y.lo, self.lo < y.hi, self, y)

    def __le__(self, other: Any) -> Interval:
        y = interval(other)
        return _truth(self.hi <= y.lo, self.lo <= y.hi, self, y)

    def __gt__(self, other: Any) -> Interval:
        return interval(other) < self

    def __ge__(self, other: Any) -> Interval:
        return interval(other) <= self

    def __eq__(self, other: Any) -> Interval:  # type: ignore[override]  # because it is asked of every point
        y = interval(other)
        overlap = self.lo <= y.hi and y.lo <= self.hi
        return _truth(self.lo == self.hi == y.lo == y.hi, overlap, self, y)

    def __and__(self, other: Any) -> Interval:
        y = interval(other)
        return Interval(min(self.lo, y.lo), min(self.hi, y.hi))

    __rand__ = __and__

    def __bool__(self) -> bool:
        if 0 in self and (self.nan or self.lo < self.hi):
            raise TypeError(f"{self} is zero at some points and not at others; use xp.where")
        return 0 not in self


_set_lo, _set_hi, _set_nan = [vars(Interval)[name].__set__ for name in ("lo", "hi", "nan")]

# --- outward rounding ---------------------------------------------------------------------------


def _plus(a: float, b: float, way: float) -> float:
    """a + b, rounded towards `way`, -inf or inf."""
    s = a + b
    if s != s:
        return way
    t = s - a
    rest = (a - (s - t)) + (b - t)  # a + b = s + rest exactly (Knuth 1969); nan on overflow
    return s if rest == 0 or rest * way < 0 else nextafter(s, way)


def _times(a: float, b: float, way: float) -> float:
    """a · b, rounded towards `way`; 0 · ∞ is 0, as times every real."""
    p = a * b + 0.0  # no -0
    if p != p:
        return 0.0
    if isinf(p):
        return nextafter(p, way)
    (n, d), (m, e) = a.as_integer_ratio(), b.as_integer_ratio()
    return _towards(p, n * m, d * e, way)


def _product(a: float, b: float, c: float, d: float) -> tuple[float, float]:
    """The ends of [a, b] · [c, d], rounded outward; which corners they are, the signs say."""
    if a >= 0.0:
        low, high = (a if c >= 0.0 else b, c), (b if d >= 0.0 else a, d)
    elif b <= 0.0:
        low, high = (a if d >= 0.0 else b, d), (b if c >= 0.0 else a, c)
    elif c >= 0.0:
        low, high = (a, d), (b, d)
    elif d <= 0.0:
        low, high = (b, c), (a, c)
    else:
        lows, highs = ((a, d), (b, c)), ((a, c), (b, d))
        return min([_times(*x, -inf) for x in lows]), max([_times(*x, inf) for x in highs])
    return _times(*low, -inf), _times(*high, inf)


def _over(a: float, b: float, way: float) -> float:
    """a / b, rounded towards `way`; ∞ / ∞ is no bound."""
    q = floats.divide(a, b)
    if q != q:
        return -way
    if isinf(q) or isinf(b):
        return nextafter(q, way) if isinf(q) else q
    (n, d), (m, e) = a.as_integer_ratio(), b.as_integer_ratio()
    return _towards(q, n * e if m > 0 else -n * e, d * abs(m), way)


def _towards(x: float, n: int, d: int, way: float) -> float:
    """x, or its neighbour towards `way` where n / d lies on that side of x."""
    m, e = x.as_integer_ratio()
    rest = n * e - m * d
    return x if rest == 0 or (rest > 0) != (way > 0) else nextafter(x, way)


def _to_the(a: float, b: float, way: float) -> float:
    z = floats.power(a, b)
    return z if a == 0 or b == 0 else widened(z, way)


def widened(x: float, way: float, ulps: int = 4) -> float:
    """x moved `ulps` floats towards `way`.

    A library's exp, log, … are not correctly rounded: glibc documents errors up to 2 ulps, erfc
    up to 5. Twice that also covers a neighbour whose error goes the other way.
    """
    for _ in range(ulps):
        x = nextafter(x, way)
    return x


# --- a namespace for the rules, beside `floats` and NumPy -----------------------------------------


def interval(x: Any) -> Interval:
    """x, an Interval or a number, as an Interval."""
    if isinstance(x, Interval):
        return x
    return _point(x) if type(x) is float and x else _fresh(x)


def _fresh(x: Any) -> Interval:
    point = float(x)
    return Interval(point, point) if point == point else Interval(-inf, inf, True)


_point = lru_cache(maxsize=4096)(_fresh)  # a constant of a rule, or one that many nodes read


def hull(xs: Sequence[Any]) -> Interval:
    """The smallest Interval around all of them."""
    if len(xs) == 1:
        return interval(xs[0])
    ends = [*map(interval, xs)]
    los, his, nans = zip(*[(x.lo, x.hi, x.nan) for x in ends])
    return Interval(min(los), max(his), any(nans))


def meet(x: Interval, y: Interval) -> Interval:
    """Those of x that are in y too; whether there may be nan, x knows."""
    if y.lo <= x.lo and x.hi <= y.hi:
        return x
    lo, hi = max(x.lo, y.lo), min(x.hi, y.hi)
    return Interval(lo, hi, x.nan) if lo <= hi else x


def _truth(surely: bool, possibly: bool, x: Interval, y: Interval) -> Interval:
    return Interval(float(surely and not (x.nan or y.nan)), float(possibly))


def _corners(x: Interval, y: Interval) -> list[tuple[float, float]]:
    return list(itertools.product(dict.fromkeys((x.lo, x.hi)), dict.fromkeys((y.lo, y.hi))))


def _extremes(
    rounded: Callable[[float, float, float], float], pairs: list[tuple[float, float]], nan: bool
) -> Interval:
    """From the least to the greatest that an operation makes of the pairs."""
    lo = min([rounded(a, b, -inf) for a, b in pairs])
    hi = max([rounded(a, b, inf) for a, b in pairs])
    return Interval(lo, hi, nan) if lo <= hi else Interval(-inf, inf, True)


def _monotone(
    f: Callable[[float], float], low: float, high: float, start: float = -inf, ulps: int = 4
) -> Callable[[Any], Interval]:
    """A monotone library function with values in [low, high], defined from `start` on."""

    def image(x: Any) -> Interval:
        x = interval(x)
        if x.hi < start:
            return Interval(low, high, True)
        ends = (max(x.lo, start), x.hi)
        lo = min([f(a) if a == 0 else widened(f(a), -inf, ulps) for a in ends])  # exact at 0: C99
        hi = max([f(a) if a == 0 else widened(f(a), inf, ulps) for a in ends])
        return Interval(max(lo, low), min(hi, high), x.nan or x.lo < start)

    return image


def _normal_pdf(x: Any) -> Interval:
    """φ falls on both sides of 0."""
    x = abs(interval(x))
    lo, hi = floats.normal_pdf(x.hi), floats.normal_pdf(x.lo)
    return Interval(max(widened(lo, -inf), 0.0), widened(hi, inf), x.nan)


def _wave(f: Callable[[float], float], crest: float) -> Callable[[Any], Interval]:
    """cos, or sin, whose extremes are ±1 at crest + k · π by turns."""

    def image(x: Any) -> Interval:
        x = interval(x)
        if x.largest > 1e6:  # beyond, the extremes are not located
            return Interval(-1.0, 1.0, x.nan or isinf(x.largest))
        first = ceil((x.lo - crest) / pi - 1e-9)  # one too many does no harm
        extremes = range(first, floor((x.hi - crest) / pi + 1e-9) + 1)[:2]
        ys = [f(x.lo), f(x.hi)]
        lo = -1.0 if any(k % 2 for k in extremes) else widened(min(ys), -inf)
        hi = 1.0 if any(k % 2 == 0 for k in extremes) else widened(max(ys), inf)
        return Interval(max(lo, -1.0), min(hi, 1.0), x.nan)

    return image


def _where(condition: Any, x: Any, y: Any) -> Interval:
    truth = interval(condition)
    if truth.lo == truth.hi:
        return interval(x if truth.lo else y)
    return hull([x, y])


def _sign(x: Any) -> Interval:
    x = interval(x)
    return Interval(floats.sign(x.lo), floats.sign(x.hi), x.nan)


def _maximum(x: Any, y: Any) -> Interval:
    x, y = interval(x), interval(y)
    return Interval(max(x.lo, y.lo), max(x.hi, y.hi), x.nan or y.nan)


def _minimum(x: Any, y: Any) -> Interval:
    return -_maximum(-interval(x), -interval(y))


def _arctan2(y: Any, x: Any) -> Interval:
    """The angle of (x, y): its extremes lie at corners, where the box keeps off x ≤ 0 = y."""
    y, x = interval(y), interval(x)
    nan = x.nan or y.nan
    if x.lo <= 0.0 and y.lo <= 0.0 <= y.hi:
        return Interval(-widened(pi, inf, 1), widened(pi, inf, 1), nan)
    angles = [floats.arctan2(b, a) for a, b in _corners(x, y)]
    return Interval(widened(min(angles), -inf), widened(max(angles), inf), nan)


def _sum_and_log(parts: list[Any]) -> tuple[Interval, Interval]:
    total = sum(parts, interval(0.0))
    return total, LOG(total)


LOG = _monotone(floats.log, -inf, inf, 0.0)
EXP = _monotone(floats.exp, 0.0, inf)
intervals = SimpleNamespace(
    inf=inf, nan=nan, pi=pi, where=_where, abs=abs, sign=_sign,
    maximum=_maximum, minimum=_minimum,
    divide=lambda x, y: interval(x) / y, power=lambda x, y: interval(x) ** y,
    exp=EXP, exp_difference=lambda x, y: EXP(interval(x) - y), sum_and_log=_sum_and_log,
    expm1=_monotone(floats.expm1, -1.0, inf),
    log=LOG, log1p=_monotone(floats.log1p, -inf, inf, -1.0),
    sqrt=_monotone(floats.sqrt, 0.0, inf, 0.0, ulps=1), tanh=_monotone(floats.tanh, -1.0, 1.0),
    arctan2=_arctan2, erfc=_monotone(floats.erfc, 0.0, 2.0, ulps=16),
    normal_cdf=_monotone(floats.normal_cdf, 0.0, 1.0, ulps=8), normal_pdf=_normal_pdf,
    sin=_wave(floats.sin, pi / 2), cos=_wave(floats.cos, 0.0),
)  # fmt: skip
