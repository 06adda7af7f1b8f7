"""Floats with room below: the table's rows in arithmetic that does not underflow.

A derivative that is 0 as a float may really be e⁻⁸⁰⁰. The same row of the table says so when it
is run on `Deep` numbers, which have 30 digits and exponents of up to 18.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import MAX_EMAX, Context, Decimal, Underflow
from functools import total_ordering
from types import SimpleNamespace
from typing import Any

from microgradx._base import floats
from microgradx.explain.extended import LOG2, Wide
from microgradx.rules import Rule

TINY = 1e-28
CONTEXT = Context(prec=30, Emin=-MAX_EMAX, Emax=MAX_EMAX, traps=[Underflow])


def _of_two(operation: Callable[[Context, Decimal, Decimal], Decimal]) -> Callable[..., Deep]:
    def method(x: Any, y: Any) -> Deep:
        return Deep(operation(CONTEXT, _decimal(x), _decimal(y)))

    return method


@total_ordering
class Deep:
    """A decimal that mixes with floats."""

    def __init__(self, decimal: Decimal) -> None:
        self.decimal = decimal

    __add__ = __radd__ = _of_two(Context.add)
    __mul__ = __rmul__ = _of_two(Context.multiply)
    __sub__ = _of_two(Context.subtract)
    __truediv__ = _of_two(Context.divide)
    __pow__ = _of_two(Context.power)

    def __rsub__(self, other: Any) -> Deep:
        difference: Deep = -self + other
        return difference

    def __rtruediv__(self, other: Any) -> Deep:
        quotient: Deep = Deep(_decimal(other)) / self
        return quotient

    def __rpow__(self, other: Any) -> Deep:
        power: Deep = Deep(_decimal(other)) ** self
        return power

    def __abs__(self) -> Deep:
        return Deep(CONTEXT.abs(self.decimal))

    def __neg__(self) -> Deep:
        return Deep(CONTEXT.minus(self.decimal))

    def __eq__(self, other: object) -> bool:
        return self.decimal == _decimal(other)

    def __lt__(self, other: Any) -> bool:
        return self.decimal < _decimal(other)

    def __float__(self) -> float:
        return float(self.decimal)


def _decimal(x: Any) -> Decimal:
    return x.decimal if isinstance(x, Deep) else Decimal(x)


def _of_one(operation: Callable[[Context, Decimal], Decimal]) -> Callable[[Any], Deep]:
    return lambda x: Deep(operation(CONTEXT, _decimal(x)))


def _by_floats(function: Callable[..., float]) -> Callable[..., float]:
    """What decimals can't do, the sine for instance, floats do."""
    return lambda *xs: function(*map(float, xs))


def _erfc(x: Any) -> Any:
    """2/√π ∫ₓ^∞ e^-t² dt; far out by its asymptotic series (Abramowitz and Stegun 7.1.23)."""
    z = float(x)
    if z < 20.0:
        return math.erfc(z)
    term = series = 1.0
    for k in range(1, 9):
        term *= -(2 * k - 1) / (2.0 * z * z)
        series += term
    return _exp(-(x * Deep(_decimal(x)))) * (series / (z * math.sqrt(math.pi)))


def _normal_cdf(x: Any) -> Any:
    return 0.5 * _erfc(-x / math.sqrt(2.0))


def _normal_pdf(x: Any) -> Any:
    return _exp(-0.5 * (x * Deep(_decimal(x)))) / math.sqrt(2.0 * math.pi)


_exp, _log = _of_one(Context.exp), _of_one(Context.ln)


def _expm1(x: Any) -> Any:
    """eˣ - 1, which is x where x is tiny"""
    return x if abs(x) < TINY else _exp(x) - 1.0


def _log1p(x: Any) -> Any:
    """ln(1 + x), which is x where x is tiny"""
    return x if abs(x) < TINY else _log(x + Deep(Decimal(1)))


deep = SimpleNamespace(**vars(floats))
vars(deep).update({name: _by_floats(f) for name, f in vars(floats).items() if callable(f)})
vars(deep).update(
    exp=_exp,
    log=_log,
    sqrt=_of_one(Context.sqrt),
    abs=_of_one(Context.abs),
    expm1=_expm1,
    log1p=_log1p,
    divide=_of_two(Context.divide),
    power=_of_two(Context.power),
    erfc=_erfc,
    normal_cdf=_normal_cdf,
    normal_pdf=_normal_pdf,
    maximum=max,
    minimum=min,
    where=lambda condition, x, y: x if condition else y,
)


def partials(rule: Rule, operands: list[Any]) -> list[Wide]:
    """∂value/∂operand of each operand of a rule, those of rows one by one, however small.

    operands: floats, and lists of floats for rows
    decimal.Underflow where one is too small even for this.
    """
    _, *found = rule.function(deep, *operands)
    single: list[Any] = []
    for partial in found:
        single += partial if isinstance(partial, (list, tuple)) else [partial]
    return [_wide(_decimal(x)) for x in single]


def _wide(x: Decimal) -> Wide:
    if not x or not x.is_finite():
        return Wide(float(x), 0)
    exponent = int(float(CONTEXT.log10(x.copy_abs())) / LOG2)
    return Wide(float(CONTEXT.divide(x, CONTEXT.power(Decimal(2), exponent))), exponent)
