"""`floats` is NumPy for one float: the same values at every corner, and never an exception."""

import inspect
import math

import mpmath as mp
import numpy as np
import pytest

from microgradx._base import floats

inf, nan = math.inf, math.nan

CORNERS = (
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1 / 3, 2.0, -2.0, 3.0, -3.0, -8.0, 36.74, 40.0, -40.0,
    709.0, 710.0, -710.0, -745.2, 1e16, 5e-324, -5e-324, 1e-300, 1e300, -1e300, inf, -inf, nan,
)  # fmt: skip

UNARY = ("abs", "tanh", "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "sign")
BINARY = ("maximum", "minimum", "divide", "power", "arctan2")
OURS = ("where", "erfc", "normal_cdf", "normal_pdf", "exp_difference", "sum_and_log")


def same(ours: float, numpys: float) -> bool:
    """Whether two floats are equal but for the last bit: nan is nan, and inf has its sign."""
    if math.isnan(ours) or math.isnan(numpys):
        return math.isnan(ours) and math.isnan(numpys)
    return math.isclose(ours, numpys, rel_tol=4.5e-16, abs_tol=5e-324)


def test_every_function_is_tested_here():
    functions = {
        name
        for name, thing in vars(floats).items()
        if inspect.isroutine(thing) and not name.startswith("_")
    }
    assert functions == {*UNARY, *BINARY, *OURS}
    assert floats.inf == math.inf and math.isnan(floats.nan)


@pytest.mark.parametrize("x", CORNERS)
@pytest.mark.parametrize("name", UNARY)
def test_of_one_number_as_numpy(name, x):
    y = getattr(floats, name)(x)
    with np.errstate(all="ignore"):
        expected = float(getattr(np, name)(np.float64(x)))
    assert type(y) is float
    assert same(y, expected), f"{name}({x}) = {y}, NumPy {expected}"


@pytest.mark.parametrize("x", CORNERS)
@pytest.mark.parametrize("name", BINARY)
def test_of_two_numbers_as_numpy(name, x):
    for y in CORNERS:
        z = getattr(floats, name)(x, y)
        with np.errstate(all="ignore"):
            expected = float(getattr(np, name)(np.float64(x), np.float64(y)))
        if (name, x, y) == ("power", -inf, 0.5):
            expected = inf  # as IEEE 754 has it; NumPy takes a square root instead
        assert type(z) is float
        assert same(z, expected), f"{name}({x}, {y}) = {z}, NumPy {expected}"


@pytest.mark.parametrize(
    "name, operands, expected",
    [
        ("divide", (1.0, 0.0), inf),
        ("divide", (1.0, -0.0), -inf),
        ("divide", (-1.0, 0.0), -inf),
        ("divide", (0.0, 0.0), nan),
        ("divide", (nan, 0.0), nan),
        ("log", (0.0,), -inf),
        ("log", (-1.0,), nan),
        ("log1p", (-1.0,), -inf),
        ("log1p", (-2.0,), nan),
        ("exp", (710.0,), inf),
        ("exp", (-746.0,), 0.0),
        ("expm1", (710.0,), inf),
        ("sqrt", (-1.0,), nan),
        ("sin", (inf,), nan),
        ("cos", (-inf,), nan),
        ("power", (-8.0, 1 / 3), nan),
        ("power", (0.0, -1.0), inf),
        ("power", (-0.0, -1.0), -inf),
        ("power", (-0.0, -2.0), inf),
        ("power", (1e200, 2.0), inf),
        ("power", (-1e200, 3.0), -inf),
        ("power", (-1e200, 2.0), inf),
        ("power", (nan, 0.0), 1.0),
        ("sign", (nan,), nan),
        ("sign", (-5e-324,), -1.0),
        ("maximum", (nan, 1.0), nan),
        ("minimum", (1.0, nan), nan),
        ("where", (True, 1.0, 2.0), 1.0),
        ("where", (False, 1.0, 2.0), 2.0),
    ],
)
def test_ieee_corners(name, operands, expected):
    assert same(getattr(floats, name)(*operands), expected)


@pytest.mark.parametrize("x, y", [(0.0, -1.0), (0.0, -3.0), (0.0, -2.0), (0.0, -0.5), (0.0, -inf)])
def test_the_sign_of_zero_decides_the_sign_of_infinity(x, y):
    for base in (x, -x):
        with np.errstate(all="ignore"):
            assert floats.power(base, y) == np.power(np.float64(base), y)


@pytest.mark.parametrize("x", [0.0, 0.5, -3.0, 30.0, -30.0, inf, -inf])
def test_erfc_is_the_complement(x):
    assert floats.erfc(x) == math.erfc(x)
    assert math.isclose(floats.erfc(x) + floats.erfc(-x), 2.0)


@pytest.mark.parametrize("x, y", [(0.3, 744.9), (-700.1, 1e-17), (5.0, 5.0), (1e16, 1e16 + 2)])
def test_an_exponential_of_a_difference_is_exact_far_out(x, y):
    with mp.workdps(50):
        exact = float(mp.exp(mp.mpf(x) - mp.mpf(y)))
    assert math.isclose(floats.exp_difference(x, y), exact, rel_tol=6e-16, abs_tol=5e-324)


def test_a_sum_of_exponentials_and_its_logarithm():
    assert floats.sum_and_log([1.0, 1.0, 0.5]) == (2.5, math.log(2.5))
    assert floats.sum_and_log([1e-30, 1.0]) == (1.0, 1e-30)
    assert floats.sum_and_log([1.0]) == (1.0, 0.0)
