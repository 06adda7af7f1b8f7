"""Extended numbers against fractions, at mantissas and exponents that no float reaches."""

import math
import random
from fractions import Fraction

import pytest

from microgradx.explain.extended import LARGE, SMALL, Extended

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
            found, exact = x * Extended(m, e), Fraction(x) * fraction(Extended(m, e))
            assert abs(fraction(found) - exact) <= abs(exact) * Fraction(2) ** -53, (m, e)
            assert in_range(found), (m, e)


def test_exponents_have_no_end():
    for e in EXPONENTS:
        assert (1e-200 * Extended(SMALL, e)).exponent - (1e-200 * Extended(SMALL, 0)).exponent == e
        assert Extended(1.0, e) * Extended(1.5, e) == (1.5, 2 * e)
        assert Extended(1.0, e) + Extended(1.5, e) == (2.5, e)
        assert Extended(1.5, e) / Extended(1.0, e) == 1.5


def test_product_and_quotient():
    for a, b in pairs(2000):
        exact = fraction(a) * fraction(b)
        found = a * b
        assert abs(fraction(found) - exact) <= abs(exact) * Fraction(2) ** -53
        assert in_range(found)
        near = Extended(b.mantissa, a.exponent + b.exponent % 40)
        exact = fraction(a) / fraction(near)
        assert abs(Fraction(a / near) - exact) <= abs(exact) * Fraction(2) ** -53
        assert a / Extended(1.0, 3) == float(a * 0.125) and 8.0 / Extended(1.0, 3) == 1.0


def test_a_quotient_out_of_the_range_of_floats():
    one, tiny = Extended(1.0, 0), Extended(-1.0, -5000)
    assert one / tiny == -inf and tiny / one == 0.0 and 1.0 / tiny == -inf


@pytest.mark.parametrize("span", [3, 300, 700, 4000])
def test_plus(span):
    """One rounding of the sum, and what the smaller one loses below 2^-1074 of the exponent."""
    for a, b in pairs(2000, span):
        exact, found = fraction(a) + fraction(b), a + b
        lost = Fraction(2) ** (max(a.exponent, b.exponent) - 1074)
        assert abs(fraction(found) - exact) <= abs(exact) * Fraction(2) ** -53 + lost
        assert b + a == found


def test_the_larger_number_may_have_the_smaller_exponent():
    large, small = Extended(LARGE, -400), Extended(SMALL, 0)
    assert fraction(large) > fraction(small)
    exact = fraction(large) + fraction(small)
    assert abs(fraction(large + small) - exact) <= exact * Fraction(2) ** -53


def test_a_number_and_its_opposite_leave_nothing():
    for a, _ in pairs(100):
        assert (a + Extended(-a.mantissa, a.exponent)).mantissa == 0
        assert (a + Extended(-a.mantissa / 4, a.exponent + 2)).mantissa == 0


def test_zeros():
    a, zero = Extended(1.5, -3000), Extended(0.0, 77)
    assert a + zero == zero + a == a and not zero + zero and a
    assert not a * zero and not zero * a
    assert not 0.0 * a and not 1e300 * zero
    assert zero / a == 0


def test_what_is_not_finite_stays_so():
    for x in (inf, -inf, nan):
        for m in (SMALL, 1.0, LARGE):
            assert str((x * Extended(m, 5)).mantissa) == str(x)
            assert str((Extended(m, -9) * Extended(x, 5)).mantissa) == str(x)
    assert math.isnan((0.0 * Extended(inf, 0)).mantissa)


@pytest.mark.parametrize("d", [0.5, 0.51, 0.75, 0.999])
def test_a_long_product_of_factors_below_1(d):
    number, n = Extended(1.0, 0), int(4000 / -math.log10(d)) if d < 0.9 else 1_000_000
    for _ in range(n):
        number = d * number
    assert number.decades == pytest.approx(n * math.log10(d), rel=1e-12)


@pytest.mark.parametrize("d", [1.0, 1.5, 1.999, 3.0, 1e99])
def test_a_long_product_of_factors_above_1(d):
    number = Extended(1.5, 0)
    for _ in range(5000):
        number = d * number
    expected = math.log10(1.5) + 5000 * math.log10(d)
    assert number.decades == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("branches", [2, 3, 100])
def test_a_long_product_of_sums(branches):
    number, levels = Extended(1.0, 0), 2000
    for _ in range(levels):
        total = Extended(0.0, 0)
        for _ in range(branches):
            total = total + 1.0 * number
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
