"""Every row of the table against 50 digits: values to 2 ulp, GELU's to 4, partials to 4.

A row without a reference fails. Where a formula has to pass through a number below the smallest
normal one, digits are lost that no rearrangement keeps; `LOST` names these operands.
"""

import functools
import itertools
import math
import random
from collections.abc import Callable
from typing import Any

import mpmath as mp
import pytest

from microgradx._base import floats
from microgradx.rules import TABLE, Rule

inf, nan = math.inf, math.nan
TINY, HUGE = 2.0**-1022, 2.0**1023 * (2 - 2.0**-52)  # the smallest and the largest normal float
ALLOWED = 2.0  # ulps, of a value …
OF_A_VALUE = {"gelu": 4.0}
OF_A_PARTIAL = 4.0  # … and of a partial

CENTRES = [0.0, 5e-324, TINY, 1e-300, 1e-160, 1e-17, 1e-8, 0.04, 0.25, 0.5, 0.7517915246935645,
           1.0, math.sqrt(2.0), math.pi / 2, 2.0, 3.0, 16.20361354127801, 20.0, 26.5, 37.0, 40.0,
           3.4389929364136016, 4.850424829689111, 354.0, 700.0, 709.78, 710.0,
           744.0, 745.2, 1e8, 2.0**53,  1e16, 1e154, 1e200, 1e300,
           HUGE]  # fmt: skip
GRID = sorted(
    {sign * y for x in CENTRES for y in (math.nextafter(x, 0.0), x, math.nextafter(x, HUGE))
     for sign in (-1.0, 1.0)}
) + [-0.0]  # fmt: skip
COARSE = [sign * x for x in CENTRES for sign in (-1.0, 1.0)] + [1 / 3, -1 / 3, 1e-3, -0.03]


# --- the table in 50 digits -------------------------------------------------------------------


def _step(x, at_zero: float = 0.0):
    return at_zero if x == 0 else float(x > 0)


def _sigmoid(x):
    e = mp.exp(-abs(x))
    return (e if x < 0 else 1) / (1 + e), e / (1 + e) ** 2


def _gelu(x):
    if x < -60:
        return mp.mpf(0), mp.mpf(0)
    phi = mp.erfc(-x / mp.sqrt(2)) / 2
    return x * phi, phi + x * mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def _clamp(x, low, high):
    """With PyTorch's slopes: 1 at both bounds; high wins where low > high."""
    if low > high:
        return high, 0, 0, 1
    return min(max(x, low), high), low <= x <= high, x < low, x > high


@functools.cache  # asked for four times, and slow where y is large
def _power(x, y):
    return mp.mpf(x) ** y


def _pow(x, y):
    """By the corners of IEEE 754 where x is 0, and PyTorch's slopes there and where y is 0."""
    if x == 0:
        a, b = float(x), float(y)
        infinite = floats.power(a, b) * -inf
        dx = b * floats.power(a, b - 1.0) if b else 0.0
        return floats.power(a, b), dx, 0.0 if b >= 0 else infinite
    if x < 0 and y != int(y):
        return nan, nan, nan
    value = _power(x, y)
    return value, y * _power(x, y - 1), value * mp.log(x) if x > 0 else nan


def _div(x, y):
    if y == 0:  # its partials are 1 / y and -(x / y) / y
        q = floats.divide(float(x), float(y))
        return q, floats.divide(1.0, float(y)), -floats.divide(q, float(y))
    return x / y, 1 / y, -x / y**2


def _logsumexp(xs):
    peak = max(xs)
    parts = [mp.exp(x - peak) for x in xs]
    return peak + mp.log(mp.fsum(parts)), [part / mp.fsum(parts) for part in parts]


def _of_zero(value: float, partial: float) -> Callable[[Any], tuple[float, float]]:
    return lambda x: (value, partial)


REFERENCE: dict[str, Callable[..., Any]] = {
    "add": lambda x, y: (x + y, 1, 1),
    "mul": lambda x, y: (x * y, y, x),
    "neg": lambda x: (-x, -1),
    "div": _div,
    "pow": _pow,
    "abs": lambda x: (abs(x), mp.sign(x)),
    "sqrt": lambda x: (
        (nan, nan) if x < 0 else (mp.sqrt(x), 1 / (2 * mp.sqrt(x)) if x else math.copysign(inf, x))
    ),
    "exp": lambda x: (mp.exp(x), mp.exp(x)),
    "log": lambda x: (
        mp.log(x) if x > 0 else nan if x else -inf,
        1 / x if x else math.copysign(inf, x),
    ),
    "sin": lambda x: (mp.sin(x), mp.cos(x)),
    "cos": lambda x: (mp.cos(x), -mp.sin(x)),
    "relu": lambda x: (max(x, 0), _step(x)),
    "leaky_relu": lambda x, slope: (x, 1, 0) if x > 0 else (slope * x, slope, x),
    "elu": lambda x, alpha: (
        (x, 1, 0) if x > 0 else (alpha * mp.expm1(x), alpha * mp.exp(x), mp.expm1(x))
    ),
    "sigmoid": _sigmoid,
    "tanh": lambda x: (mp.tanh(x), mp.sech(x) ** 2),
    "softplus": lambda x: (max(x, 0) + mp.log1p(mp.exp(-abs(x))), _sigmoid(x)[0]),
    "gelu": _gelu,
    "maximum": lambda x, y: (max(x, y), _step(x - y, 0.5), _step(y - x, 0.5)),
    "minimum": lambda x, y: (min(x, y), _step(y - x, 0.5), _step(x - y, 0.5)),
    "where": lambda c, x, y: (x, None, 1, 0) if c > 0 else (y, None, 0, 1),
    "clamp": _clamp,
    "dot": lambda ws, xs, bias: (bias + mp.fdot(ws, xs), xs, ws, 1),
    "sum": lambda xs: (mp.fsum(xs), [1] * len(xs)),
    "logsumexp": _logsumexp,
    "detach": lambda x: (x, None),
    "equal": lambda x, y: (float(x == y), None, None),
}

AT_INFINITY: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {  # of one operand, or the
    "neg": ((inf, -1.0), (-inf, -1.0)),  # default of the second: at -inf and at inf
    "abs": ((inf, -1.0), (inf, 1.0)),
    "sqrt": ((nan, nan), (inf, 0.0)),
    "exp": ((0.0, 0.0), (inf, inf)),
    "log": ((nan, 0.0), (inf, 0.0)),
    "sin": ((nan, nan), (nan, nan)),
    "cos": ((nan, nan), (nan, nan)),
    "relu": ((0.0, 0.0), (inf, 1.0)),
    "leaky_relu": ((-inf, 0.01, -inf), (inf, 1.0, 0.0)),
    "elu": ((-1.0, 0.0, -1.0), (inf, 1.0, 0.0)),
    "sigmoid": ((0.0, 0.0), (1.0, 0.0)),
    "tanh": ((-1.0, 0.0), (1.0, 0.0)),
    "softplus": ((0.0, 0.0), (inf, 1.0)),
    "gelu": ((nan, nan), (inf, nan)),
    "detach": ((-inf,), (inf,)),
}  # fmt: skip


def _lost(*xs) -> bool:
    """Whether some x is nearer to 0 than a normal float, and not 0."""
    return any(0 < abs(x) < TINY for x in xs)


LOST: dict[str, Callable[..., bool]] = {
    "div": lambda x, y: y != 0 and _lost(mp.mpf(x) / y),
    "pow": lambda x, y: (
        (x != 0 and _lost(_power(abs(x), y)))
        or (x < 0 and abs(y) >= 2**53)  # y - 1 is odd, and no float: PyTorch's sign
    ),
    "elu": lambda x, alpha: x < -708,
    "gelu": lambda x: -39 < x < -37.5,
}


# --- errors in ulps ---------------------------------------------------------------------------


def error(found: float, exact: Any, size: Any = 0) -> float:
    """How many ulps lie between them: ulps of `exact`, or of `size` where that is larger."""
    if math.isnan(exact):
        return 0.0 if found != found else inf
    nearest = float(exact)
    if found == nearest:
        return 0.0
    if math.isinf(found) or math.isinf(nearest):  # the largest float is next to inf
        finite = min(abs(found), abs(nearest))
        return 1.0 if finite >= HUGE * (1 - 2.0**-50) and found * nearest > 0 else inf
    if found != found:
        return inf
    unit = math.ulp(max(abs(nearest), float(size)))
    return float(abs(mp.mpf(found) - exact) / unit)


def errors(row: Rule, operands: tuple) -> tuple[float, float]:
    """The error of a row's value and the largest of its partials, in ulps."""
    exact = many_digits(operands)
    value, *partials = REFERENCE[row.name](*exact)
    found, *slopes = row(floats, *operands)
    pairs = [(a, b) for a, b in zip(flat(slopes), flat(partials)) if b is not None]
    size = ADDED[row.name](*exact) if row.name in ADDED else (0, 0)
    return error(found, value, size[0]), max([error(a, b, size[1]) for a, b in pairs], default=0.0)


def in_fifty_digits(row: Rule, operands: tuple):
    """The real value, and the real partials."""
    return REFERENCE[row.name](*many_digits(operands))


def many_digits(operands: tuple) -> list:
    return [[*map(wide, xs)] if isinstance(xs, list) else wide(xs) for xs in operands]


def wide(x: float):
    """x in many digits; zeros keep their sign, which those have not"""
    return mp.mpf(x) if x else x


def flat(xs):
    for x in xs:
        yield from x if isinstance(x, (list, tuple)) else (x,)


ADDED: dict[str, Callable[..., tuple[Any, Any]]] = {  # the sizes of what the sums add
    "dot": lambda ws, xs, bias: (abs(bias) + mp.fsum(abs(w * x) for w, x in zip(ws, xs)), 0),
    "sum": lambda xs: (mp.fsum(map(abs, xs)), 0),
    "logsumexp": lambda xs: (abs(max(xs)) + _logsumexp([x - max(xs) for x in xs])[0], 0),
    "gelu": lambda x: (0, mp.ncdf(x) if -3 < x < 0 else 0),  # its slope is 0 near -0.75
}


# --- operands ---------------------------------------------------------------------------------


def some(dice: random.Random) -> float:
    """A float of any magnitude, or of a usual one, or close to a special one."""
    kind, sign = dice.random(), dice.choice((-1.0, 1.0))
    if kind < 0.3:
        return sign * 10.0 ** dice.uniform(-320, 308)
    if kind < 0.5:
        return sign * 10.0 ** dice.uniform(-6, 3)
    if kind < 0.9:
        return dice.uniform(-1, 1) * dice.choice((1.0, 4.0, 40.0, 800.0))
    return dice.choice(GRID)


def random_operands(row: Rule, n: int) -> list[tuple]:
    dice = random.Random(row.name)
    points = []
    for _ in range(n):
        width, scale = dice.choice((1, 2, 3, 5)), dice.choice((1.0, 40.0, 800.0, 1e8))
        points.append(
            tuple(
                [dice.uniform(-scale, scale) for _ in range(width)]
                if name in row.lists
                else some(dice)
                for name in row.operands
            )
        )
    return points


def special_operands(row: Rule) -> list[tuple]:
    if row.lists:
        return [([0.0, -40.0],), ([-3.7e-5, -16.7],), ([-0.0],), ([710.0, 710.0],),
                ([1e200, 1e200],), ([-1e300, 1e300],), ([5e-324, 0.0],),
                ([1e16, 1e16 + 2],), ([-745.0, 0.1, 0.1],)] * (len(row.lists) == 1)  # fmt: skip
    singles = len(row.operands)
    grid = GRID if singles == 1 else COARSE if singles == 2 else COARSE[::4]
    return list(itertools.product(grid, repeat=singles))


def worst(row: Rule, points: list[tuple]) -> list[tuple[float, tuple]]:
    """The largest error of the value and of the partials, and where."""
    found: list[tuple[float, tuple]] = [(0.0, ()), (0.0, ())]
    for operands in points:
        if not (row.name in LOST and LOST[row.name](*operands)):
            for k, e in enumerate(errors(row, operands)):
                found[k] = max(found[k], (e, operands))
    return found


def check(row: Rule, points: list[tuple]) -> None:
    (value, at), (partial, there) = worst(row, points)
    assert value <= OF_A_VALUE.get(row.name, ALLOWED), f"{row.name}{at}: {value:.3g} ulp"
    assert partial <= OF_A_PARTIAL, f"{row.name}′{there}: {partial:.3g} ulp"


@pytest.fixture(autouse=True)
def fifty_digits():
    with mp.workdps(50):
        yield


def name_of(row: Rule) -> str:
    return row.name


every_row = pytest.mark.parametrize("row", TABLE.values(), ids=name_of)


@every_row
def test_a_row_is_accurate_at_random_operands(row):
    check(row, random_operands(row, 300))


@pytest.mark.long
@every_row
def test_a_row_is_accurate_at_many_random_operands(row):
    check(row, random_operands(row, 5000))


@every_row
def test_a_row_is_accurate_at_its_corners(row):
    check(row, special_operands(row))


@pytest.mark.parametrize("name", AT_INFINITY)
def test_a_row_at_infinity(name):
    row = TABLE[name]
    others = [row.defaults[name] for name in row.operands[1:]]
    for x, expected in zip((-inf, inf), AT_INFINITY[name]):
        found = [y for y in row(floats, x, *others) if y is not None]
        assert [repr(y + 0.0) for y in found] == [repr(y) for y in expected], (name, x)


def test_every_row_has_a_reference():
    assert REFERENCE.keys() == TABLE.keys()


@pytest.mark.parametrize(
    "xs, value, softmax",
    [
        ([710.0, inf], inf, [0.0, nan]),
        ([1.0, inf], inf, [0.0, nan]),
        ([inf, inf], inf, [nan, nan]),
        ([-inf, -inf], -inf, [nan, nan]),
        ([-inf, 3.0], 3.0, [0.0, 1.0]),
        ([nan, 1.0], nan, [nan, nan]),
        ([inf, nan], nan, [nan, nan]),
    ],
)
def test_logsumexp_at_infinity_is_pytorchs(xs, value, softmax):
    found, partials = TABLE["logsumexp"](floats, xs)
    assert [repr(x) for x in (found, *partials)] == [repr(x) for x in (value, *softmax)]


if __name__ == "__main__":
    mp.mp.dps = 50
    for row in TABLE.values():
        for n, points in [(5000, random_operands(row, 5000)), (0, special_operands(row))]:
            print(row.name, n or "grid", worst(row, points), flush=True)
