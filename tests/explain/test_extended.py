"""Extended numbers against fractions, at mantissas and exponents that no float reaches."""

import math
import random
from fractions import Fraction

import pytest

from microgradx.explain.extended import LARGE, SMALL, Extended, plus, product, quotient, times

inf, nan = math.inf, math.nan
MANTISSAS = [SMALL, 3e-100, 1e-60, 0.5, 1.0, 1.5, 1e60, 7e99, LARGE]
EXPONENTS = [-(10**9), -5000, -1100, -333, -1, 0, 1, 332, 1100, 5000, 10**9]
FACTORS = [5e-324, 1e-320, 2.2e-308, 1e-200, 1e-100, 0.9, 1.0, 3.0, 1e100, 1e200, 1.7e308]


def fraction(number):
    return Fraction(number.mantissa) * Fraction(2) ** number.exponent


def pairs(n, span=4000):
    """Random extended numbers of either sign, mantissas over all their range."""
    rng = random.Random(n)

    def wide():
        mantissa = rng.choice([-1, 1]) * rng.uniform(1, 10) * 10.0 ** rng.randrange(-100, 99)
        return Extended(mantissa, rng.randrange(-span, span))

    return [(wide(), wide()) for _ in range(n)]


def in_range(number):
    return SMALL / 2 <= abs(number.mantissa) <= LARGE


@pytest.mark.parametrize("x", [*FACTORS, *(-x for x in FACTORS)])
def test_times(x):
    for m in MANTISSAS:
        for e in (-5000, 0, 5000):
            found, exact = times(x, m, e), Fraction(x) * fraction(Extended(m, e))
            assert abs(fraction(found) - exact) <= abs(exact) * Fraction(2) ** -53, (m, e)
            assert in_range(found), (m, e)


def test_exponents_have_no_end():
    for e in EXPONENTS:
        assert times(1e-200, SMALL, e).exponent - times(1e-200, SMALL, 0).exponent == e
        assert product(Extended(1.0, e), Extended(1.5, e)) == (1.5, 2 * e)
        assert plus(Extended(1.0, e), Extended(1.5, e)) == (2.5, e)
        ratio = quotient(Extended(1.5, e), Extended(1.0, -e))
        assert (ratio.mantissa * 2.0 ** (ratio.exponent - 2 * e)) == 1.5


def test_product_and_quotient():
    for a, b in pairs(2000):
        exact = fraction(a) * fraction(b)
        found = product(a, b)
        assert abs(fraction(found) - exact) <= abs(exact) * Fraction(2) ** -53
        assert in_range(found)
        exact = abs(fraction(a) / fraction(b))
        found = quotient(a, b)
        assert abs(fraction(found) - exact) <= exact * Fraction(2) ** -53
        assert 0.5 <= found.mantissa <= 2.0


@pytest.mark.parametrize("span", [3, 300, 700, 4000])
def test_plus(span):
    """One rounding of the sum, and what the smaller one loses below 2^-1074 of the exponent."""
    for a, b in pairs(2000, span):
        exact, found = fraction(a) + fraction(b), plus(a, b)
        lost = Fraction(2) ** (max(a.exponent, b.exponent) - 1074)
        assert abs(fraction(found) - exact) <= abs(exact) * Fraction(2) ** -53 + lost
        assert plus(b, a) == found


def test_the_larger_number_may_have_the_smaller_exponent():
    large, small = Extended(LARGE, -400), Extended(SMALL, 0)
    assert fraction(large) > fraction(small)
    exact = fraction(large) + fraction(small)
    assert abs(fraction(plus(large, small)) - exact) <= exact * Fraction(2) ** -53


def test_a_number_and_its_opposite_leave_nothing():
    for a, _ in pairs(100):
        assert plus(a, Extended(-a.mantissa, a.exponent)).mantissa == 0
        assert plus(a, Extended(-a.mantissa / 4, a.exponent + 2)).mantissa == 0


def test_zeros():
    a, zero = Extended(1.5, -3000), Extended(0.0, 77)
    assert plus(a, zero) == plus(zero, a) == a and plus(zero, zero).mantissa == 0
    assert product(a, zero).mantissa == product(zero, a).mantissa == 0
    assert times(0.0, *a).mantissa == times(1e300, *zero).mantissa == 0
    assert quotient(zero, a).mantissa == 0


def test_what_is_not_finite_stays_so():
    for x in (inf, -inf, nan):
        for m in (SMALL, 1.0, LARGE):
            assert str(times(x, m, 5).mantissa) == str(x)
            assert str(product(Extended(m, -9), Extended(x, 5)).mantissa) == str(x)
    assert math.isnan(times(0.0, inf, 0).mantissa)


@pytest.mark.parametrize("d", [0.5, 0.51, 0.75, 0.999])
def test_a_long_product_of_factors_below_1(d):
    number, n = Extended(1.0, 0), int(4000 / -math.log10(d)) if d < 0.9 else 1_000_000
    for _ in range(n):
        number = times(d, *number)
    assert number.decades == pytest.approx(n * math.log10(d), rel=1e-12)


@pytest.mark.parametrize("d", [1.0, 1.5, 1.999, 3.0, 1e99])
def test_a_long_product_of_factors_above_1(d):
    number = Extended(1.5, 0)
    for _ in range(5000):
        number = times(d, *number)
    expected = math.log10(1.5) + 5000 * math.log10(d)
    assert number.decades == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("branches", [2, 3, 100])
def test_a_long_product_of_sums(branches):
    number, levels = Extended(1.0, 0), 2000
    for _ in range(levels):
        total = Extended(0.0, 0)
        for _ in range(branches):
            total = plus(total, times(1.0, *number))
        number = total
    assert number.decades == pytest.approx(levels * math.log10(branches), rel=1e-12)


def test_as_floats_and_decades():
    for m in (1.0, -1.5):
        assert float(Extended(m, 2000)) == math.copysign(inf, m)
        assert float(Extended(m, -2000)) == 0.0 and float(Extended(m, 3)) == 8 * m
        assert Extended(m, 10_000).decades == pytest.approx(
            math.log10(abs(m)) + 10_000 * math.log10(2), rel=1e-15
        )
    assert float(Extended(SMALL, 1200)) == pytest.approx(1e-100 * 2.0**600 * 2.0**600, rel=1e-15)
    assert Extended(0.0, 9).decades == -inf
