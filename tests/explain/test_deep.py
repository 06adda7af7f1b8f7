"""The table's rows without underflow: as floats where floats do, and by logarithms far out."""

import math
import operator
import random
from decimal import Decimal
from fractions import Fraction

import pytest

from microgradx import rules
from microgradx._base import floats
from microgradx.explain.deep import Deep, _wide, deep, partials
from microgradx.explain.extended import LARGE, SMALL, Extended
from microgradx.rules import TABLE, Rule
from tests.test_rules import FAR, examples

E = math.log10(math.e)  # decades of one neper
ROWS = [row for row in TABLE.values() if row.ceiling]  # those with partials


def by_floats(row, operands):
    """∂value/∂operand of each operand, in one list."""
    _, *found = row.function(floats, *operands)
    return [d for part in found for d in (part if isinstance(part, list) else [part])]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_inside_the_domain_it_is_the_float_rule(row):
    assert len(examples(row)) >= 4
    for operands in examples(row):
        expected, found = by_floats(row, operands), partials(row, list(operands))
        assert len(found) == len(expected)
        for deep_one, plain in zip(found, expected):
            assert float(deep_one) == pytest.approx(plain, rel=1e-12, abs=0), operands


@pytest.mark.parametrize("row", [r for r in ROWS if not r.rows], ids=lambda row: row.name)
def test_at_all_scales_it_is_the_float_rule_where_that_can_tell(row):
    checked = 0
    for x in FAR:
        operands = [x, row.default or 1.5][: len(row.operands)]
        low, high = row.domain.get(row.operands[0], rules.WHOLE_LINE)
        plain = by_floats(row, operands)[0] if low < x < high else 0.0
        if 1e-300 < abs(plain) < math.inf:
            found = float(partials(row, operands)[0])
            assert found == pytest.approx(plain, rel=1e-12, abs=0), x
            checked += 1
    assert checked > 1


@pytest.mark.parametrize("row", [r for r in ROWS if r.kinks], ids=lambda row: row.name)
def test_at_a_kink_it_keeps_the_convention_or_is_not_finite_either(row):
    for operand, kinks in row.kinks.items():
        for kink in kinks:
            operands = [kink if name == operand else 1.5 for name in row.operands]
            expected = by_floats(row, operands)
            found = list(map(float, partials(row, operands)))
            if all(map(math.isfinite, expected)):
                assert found == expected
            else:
                assert not any(map(math.isfinite, found))


# --- far out, by logarithms -----------------------------------------------------------------------


def mills(z):
    """Φ(-z) / φ(z) by Laplace's continued fraction, z > 5."""
    tail = 0.0
    for k in range(200, 0, -1):
        tail = k / (z + tail)
    return 1.0 / (z + tail)


def gelu_decades(z):
    """log₁₀ |gelu′(-z)| = log₁₀ φ(z) (z - Φ(-z) / φ(z))"""
    return -(z * z / 2 + math.log(2 * math.pi) / 2) * E + math.log10(z - mills(z))


LN10 = math.log(10.0)
FAR_OUT = [
    ("sigmoid", [800.0], [(1, -800 * E)]),
    ("sigmoid", [-800.0], [(1, -800 * E)]),
    ("sigmoid", [1e6], [(1, -1e6 * E)]),
    ("tanh", [400.0], [(1, math.log10(4) - 800 * E)]),
    ("tanh", [-400.0], [(1, math.log10(4) - 800 * E)]),
    ("exp", [-800.0], [(1, -800 * E)]),
    ("exp", [-1e9], [(1, -1e9 * E)]),
    ("exp", [800.0], [(1, 800 * E)]),
    ("softplus", [-800.0], [(1, -800 * E)]),
    ("softplus", [800.0], [(1, 0)]),
    ("elu", [-800.0, 1.0], [(1, -800 * E), (-1, 0)]),
    ("elu", [-800.0, 2.5], [(1, math.log10(2.5) - 800 * E), (-1, 0)]),
    ("elu", [-800.0, -1e-300], [(-1, -300 - 800 * E), (-1, 0)]),
    ("gelu", [-29.0], [(-1, gelu_decades(29.0))]),
    ("gelu", [-40.0], [(-1, gelu_decades(40.0))]),
    ("gelu", [-100.0], [(-1, gelu_decades(100.0))]),
    ("gelu", [40.0], [(1, 0)]),
    ("div", [1e-200, 1e200], [(1, -200), (-1, -600)]),
    ("div", [-1e-200, 1e200], [(1, -200), (1, -600)]),
    ("div", [1e200, 1e-200], [(1, 200), (-1, 600)]),
    ("pow", [1e-200, 3.0], [(1, math.log10(3) - 400), (-1, -600 + math.log10(200 * LN10))]),
    ("pow", [0.5, 2000.0], [
        (1, math.log10(2000) + 1999 * math.log10(0.5)),
        (-1, 2000 * math.log10(0.5) + math.log10(math.log(2))),
    ]),
    ("pow", [1e200, -2.5], [(-1, math.log10(2.5) - 700), (1, -500 + math.log10(200 * LN10))]),
    ("logsumexp", [[0.0, -800.0]], [(1, 0), (1, -800 * E)]),
    ("logsumexp", [[1000.0, 0.0, -1000.0]], [(1, 0), (1, -1000 * E), (1, -2000 * E)]),
    ("logsumexp", [[5.0, 5.0, -900.0]], [
        (1, -math.log10(2)), (1, -math.log10(2)), (1, -905 * E - math.log10(2)),
    ]),
]  # fmt: skip


@pytest.mark.parametrize("name, operands, expected", FAR_OUT)
def test_far_out_it_is_what_the_logarithms_say(name, operands, expected):
    found = partials(TABLE[name], operands)
    assert len(found) == len(expected)
    for number, (sign, decades) in zip(found, expected):
        assert number.decades == pytest.approx(decades, rel=1e-12, abs=1e-12)
        assert math.copysign(1, number.mantissa) == sign
        assert SMALL < abs(number.mantissa) < LARGE


def test_what_the_logarithms_say_is_needed():
    """Of every row of FAR_OUT's names, one partial at least is 0 or inf as a float."""
    lost = {
        name
        for name, operands, _ in FAR_OUT
        if any(d == 0 or math.isinf(d) for d in by_floats(TABLE[name], operands))
    }
    assert lost == {name for name, _, _ in FAR_OUT}


@pytest.mark.parametrize(
    "name, operands, i",
    [
        ("relu", [-1.0], 0), ("relu", [0.0], 0), ("abs", [0.0], 0), ("cos", [0.0], 0),
        ("maximum", [1.0, 2.0], 0), ("maximum", [2.0, 1.0], 1),
        ("minimum", [1.0, 2.0], 1), ("minimum", [2.0, 1.0], 0),
        ("pow", [3.0, 0.0], 0), ("pow", [1.0, 5.0], 1), ("leaky_relu", [-1.0, 0.0], 0),
        ("leaky_relu", [2.0, 0.01], 1), ("elu", [-3.0, 0.0], 0), ("mul", [0.0, 2.0], 1),
        ("div", [0.0, 2.0], 1),
    ],
)  # fmt: skip
def test_a_true_zero_stays_zero(name, operands, i):
    assert partials(TABLE[name], operands)[i].mantissa == 0
    assert by_floats(TABLE[name], operands)[i] == 0


@pytest.mark.parametrize("name, operands", [("exp", [-1e19]), ("sigmoid", [1e19])])
def test_too_small_even_here(name, operands):
    with pytest.raises(ArithmeticError):
        partials(TABLE[name], operands)


@pytest.mark.parametrize("name, operands", [("log", [0.0]), ("div", [1.0, 0.0]), ("sqrt", [0.0])])
def test_an_infinite_one_is_infinite_here_too(name, operands):
    assert math.isinf(float(partials(TABLE[name], operands)[-1]))


# --- the functions --------------------------------------------------------------------------------


def test_erfc_goes_over_into_its_series_without_a_step():
    for z in (20.0, 20.5, 22.0, 24.0, 26.0):
        assert isinstance(deep.erfc(z), Deep)
        assert float(deep.erfc(z)) == pytest.approx(math.erfc(z), rel=1e-12, abs=0)
    below, above = math.nextafter(20.0, 0.0), 20.0
    assert float(deep.erfc(below)) == math.erfc(below)
    assert float(deep.erfc(above)) == pytest.approx(float(deep.erfc(below)), rel=1e-12, abs=0)
    assert deep.erfc(-30.0) == 2.0


@pytest.mark.parametrize("z", [27.0, 28.0, 28.2, 28.284, 28.285, 28.3, 30.0, 35.0])
def test_gelu_on_both_sides_of_that_step(z):
    (found,) = partials(TABLE["gelu"], [-z])
    assert found.decades == pytest.approx(gelu_decades(z), abs=1e-11)


@pytest.mark.parametrize("op", [operator.add, operator.sub, operator.mul, operator.truediv])
def test_deep_numbers_mix_with_floats(op):
    rng = random.Random(0)
    for _ in range(200):
        a, b = rng.uniform(-9, 9), rng.uniform(-9, 9)
        exact = op(Fraction(a), Fraction(b))
        for x, y in ((Deep(Decimal(a)), b), (a, Deep(Decimal(b))), (Deep(Decimal(a)),) * 2):
            expected = exact if x is not y else op(Fraction(a), Fraction(a))
            found = Fraction(op(x, y).decimal)
            assert abs(found - expected) <= abs(expected) * Fraction(10) ** -28


def test_deep_numbers_compare_with_floats():
    x = Deep(Decimal("1e-400"))
    assert x == x and x != 0.0 and x > 0.0 and x >= 0.0 and x < 1e-300 and x <= 1.0 and 0.0 < x
    assert -x < 0.0 and float(x) == 0.0 and float(Deep(Decimal(0.1))) == 0.1
    assert (Deep(Decimal(3)) ** 2.0).decimal == 9


@pytest.mark.parametrize("text", ["1e-400", "-3e-5000", "7e5000", "1e-999999", "-0.1", "1e300"])
def test_a_decimal_as_a_wide_number(text):
    number, decimal = _wide(Decimal(text)), Decimal(text)
    assert number.decades == pytest.approx(float(abs(decimal).log10()), rel=1e-14)
    assert (number.mantissa < 0) == (decimal < 0) and 0.25 < abs(number.mantissa) < 4
    assert _wide(Decimal(0)) == Extended(0.0, 0)


@pytest.mark.parametrize("name", ["exp", "log", "sqrt", "abs", "expm1", "log1p", "sin", "tanh"])
def test_functions_are_those_of_floats(name):
    for x in (0.01, 0.5, 2.0, 11.0):
        found = float(getattr(deep, name)(x))
        assert found == pytest.approx(getattr(floats, name)(x), rel=1e-14)


def test_functions_that_choose():
    small, large = Deep(Decimal("1e-500")), Deep(Decimal("2e-500"))
    for x, y in ((small, large), (large, small)):
        assert deep.maximum(x, y) is large and deep.minimum(x, y) is small
        assert deep.maximum(x, 0.0) is x and deep.minimum(x, 0.0) == 0.0
        assert deep.where(x > 0, x, y) is x and deep.where(x < 0, x, y) is y


@pytest.mark.parametrize("name, x", [("expm1", -1e-40), ("log1p", 1e-40), ("log1p", -1e-40)])
def test_functions_that_are_there_for_small_numbers(name, x):
    assert float(getattr(deep, name)(x)) == pytest.approx(x, rel=1e-12, abs=0)


@pytest.mark.parametrize(
    "slope",
    [
        lambda xp, x: xp.where(x == xp.inf, 0.0, xp.exp(-x)),
        lambda xp, x: abs(xp.exp(-x)),
        lambda xp, x: xp.exp(-x) * 2.0 ** -xp.exp(-x),
        lambda xp, x: xp.log1p(xp.exp(-x)),
        lambda xp, x: -xp.expm1(-xp.exp(-x)),
    ],
    ids=["xp.inf", "abs()", "2.0 ** …", "log1p", "expm1"],
)
def test_a_row_of_ones_own_may_use_all_that_floats_have(slope):
    row = Rule("own", lambda xp, x: (1.0, slope(xp, x)), ("x",), "own", kind="saturating")
    (found,) = partials(row, [800.0])
    assert found.decades == pytest.approx(-800 * E, rel=1e-12)
