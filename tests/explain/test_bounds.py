"""A statement proved for a box holds at every point of it: at millions of them, and exactly."""

import copy
import functools
import inspect
import itertools
import math
import random
import sys
from fractions import Fraction
from types import SimpleNamespace

import mpmath as mp
import numpy as np
import pytest

from microgradx import nn, rules
from microgradx._base import floats
from microgradx.engine import Value, apply, order, rule, sweep
from microgradx.explain.bounds import Bounds, Interval, _taken
from microgradx.explain.intervals import interval, intervals
from microgradx.explain.rerun import forward, history, run_on, run_on_floats
from microgradx.explain.witnesses import Search, samples
from microgradx.ops import dot, logsumexp, maximum, minimum
from microgradx.rules import TABLE
from tests.counting import lines
from tests.operands import ARRAYS, arity, grouped
from tests.test_accuracy import flat, in_fifty_digits, random_operands, special_operands

# Arrays do without digits of the normal distribution that floats have, and bounds rely on.
EXACT_ARRAYS = SimpleNamespace(**vars(ARRAYS))
EXACT_ARRAYS.normal_cdf = np.vectorize(floats.normal_cdf, otypes=[float])
EXACT_ARRAYS.normal_pdf = np.vectorize(floats.normal_pdf, otypes=[float])

inf, nan = math.inf, math.nan

GRAPHS, POINTS = 1000, 24  # about 1.2 million values and gradients; raise either for more
ENDS = [-inf, -1e300, -700.0, -20.0, -2.0, -1.5, -1.0, -0.75, -0.3, -1e-9, -5e-324, 0.0,
        5e-324, 1e-9, 0.25, 1.0, math.pi / 2, 2.0, 3.0, 7.5, 40.0, 710.0, 1e300, inf]  # fmt: skip


def name_of(x) -> str:
    return getattr(x, "name", "")


def node(row, operands) -> Value:
    """The node of an op; of lists, each of two operands."""
    return apply(row, *grouped(row, operands, 2))


def outside(interval: Interval, xs) -> np.ndarray:
    """The xs that an interval wrongly leaves out."""
    xs = np.asarray(xs, dtype=float)
    inside = (interval.lo <= xs) & (xs <= interval.hi)
    return xs[~np.where(np.isnan(xs), interval.nan, inside)]


def pairs_of(interval: Interval) -> tuple[float, float]:
    return interval.lo, interval.hi


# --- the ends of one operation --------------------------------------------------------------------


def some_float(dice: random.Random) -> float:
    if dice.random() < 0.3:
        return dice.choice([0.0, 1.0, -1.0, 0.1, 1 / 3, 2.0**-1074, 1e-310, 1e154, 3.0])
    return dice.uniform(-1, 1) * 10.0 ** dice.choice([-160, -8, 0, 0, 0, 8, 150])


def some_interval(dice: random.Random) -> Interval:
    lo, hi = sorted([some_float(dice), some_float(dice)])
    return Interval(lo, lo if dice.random() < 0.3 else hi)


@pytest.mark.parametrize("sign", ["+", "-", "*", "/"])
def test_exact_results_of_arithmetic_are_enclosed_and_no_end_is_a_float_too_far(sign):
    of = {
        "+": lambda x, y: x + y, "-": lambda x, y: x - y,
        "*": lambda x, y: x * y, "/": lambda x, y: x / y,
    }[sign]  # fmt: skip
    dice = random.Random(sign)
    for _ in range(4000):
        x, y = some_interval(dice), some_interval(dice)
        z = of(x, y)
        if sign == "/" and 0 in y:
            assert pairs_of(z) == (-inf, inf) and z.nan == (0 in x)
            continue
        exact = [of(Fraction(a), Fraction(b)) for a in pairs_of(x) for b in pairs_of(y)]
        least, greatest = min(exact), max(exact)
        assert z.lo <= least and greatest <= z.hi and not z.nan
        assert math.nextafter(z.lo, inf) > least and math.nextafter(z.hi, -inf) < greatest


def test_squares_of_one_quantity_are_not_negative_and_exact():
    dice = random.Random(2)
    for _ in range(1000):
        x = some_interval(dice)
        z = x * x
        ends = [Fraction(a) ** 2 for a in pairs_of(x)] + [Fraction(0)] * (0 in x)
        assert z.lo <= min(ends) <= max(ends) <= z.hi and z.lo >= 0
        assert math.nextafter(z.lo, inf) > min(ends) and math.nextafter(z.hi, -inf) < max(ends)
    x = Interval(-1.0, 2.0)
    assert pairs_of(x * x) == (0.0, 4.0)
    assert pairs_of(x * Interval(-1.0, 2.0)) == (-2.0, 4.0)  # as wide, but another quantity


def test_what_overflows_is_enclosed_too():
    big = Interval(1e300, 1e301)
    most = sys.float_info.max
    assert pairs_of(big * big) == (most, inf) and pairs_of(-(big * big)) == (-inf, -most)
    assert pairs_of(big / 1e-300) == (most, inf)
    x = Interval(most, most)
    assert pairs_of(x + x) == (most, inf) and pairs_of(-x - x) == (-inf, -most)
    tiny = Interval(1e-300, 1e-300)
    assert pairs_of(tiny * tiny) == (0.0, 5e-324) and pairs_of(-tiny * tiny) == (-5e-324, 0.0)


def test_infinities_that_may_clash_may_be_nan():
    line = Interval(-inf, inf)
    assert (line + line).nan and (line * 0.0).nan and (line / line).nan
    assert not (Interval(0.0, inf) + Interval(0.0, inf)).nan
    assert pairs_of(Interval(0.0, 1.0) * Interval(1.0, inf)) == (0.0, inf)
    assert pairs_of(Interval(-inf, -inf) + Interval(inf, inf)) == (-inf, inf)
    assert pairs_of(Interval(inf, inf) / Interval(inf, inf)) == (-inf, inf)
    assert nan in line + line and nan not in line and str(line + line) == "[-inf, inf] or nan"


def test_an_interval_compares_as_an_array_does_and_has_no_undecided_truth():
    x = Interval(-1.0, 2.0)
    assert x < 3 and x <= 2 and 3 > x and not (x > 2) and not (x == 5)
    assert (x.lo, x.hi, x.largest) == (-1.0, 2.0, 2.0) and list(x) == [-1.0, 2.0]
    for undecided in (x < 0, x >= 0, x == 0, x, Interval(-inf, inf, True) < inf):
        with pytest.raises(TypeError, match="use xp.where"):
            bool(undecided)
    with pytest.raises(AttributeError):
        x.lo = 5.0


# --- every row of the table -------------------------------------------------------------------


def some_box(row, dice: random.Random) -> list[tuple[float, float]]:
    box = []
    for _ in range(arity(row, 2)):
        lo, hi = sorted(dice.choice(ENDS) for _ in range(2))
        kind = dice.random()
        if kind < 0.3:
            lo, hi = sorted(dice.uniform(-3, 3) for _ in range(2))
        elif kind < 0.5:
            lo = hi
        box.append((lo, hi))
    return box


def points_in(lo: float, hi: float, dice: random.Random, n: int) -> list[float]:
    near = [x for x in ENDS + [math.nextafter(lo, inf), math.nextafter(hi, -inf)] if lo <= x <= hi]
    low, high = max(min(lo, 1e3), -1e3), min(max(hi, -1e3), 1e3)
    evenly = [min(max(dice.uniform(low, high), lo), hi) for _ in range(n)]
    return [dice.choice(near + [lo, hi] if dice.random() < 0.5 else evenly) for _ in range(n)]


@pytest.mark.parametrize("row", TABLE.values(), ids=name_of)
def test_every_value_and_partial_of_an_op_lies_inside(row):
    check_soundness(row)


def check_soundness(row, boxes: int = 400, points: int = 25) -> None:
    dice = random.Random(row.name)
    for _ in range(boxes):
        box = some_box(row, dice)
        leaves = [Value(0.0) for _ in box]
        y = node(row, leaves)
        b = Bounds(y, dict(zip(leaves, box)))
        samples = [points_in(lo, hi, dice, points) for lo, hi in box]
        for point in zip(*samples):
            z = node(row, [Value(x) for x in point])
            assert z.data in b[y], f"{row.name}{point} = {z.data}, over {box} {b[y]}"
            gradients = dict(zip(leaves, [0.0] * len(leaves)))
            for edge in z.edges:
                gradients[leaves[edge.position]] = edge.partial
            for leaf, partial in gradients.items():
                assert partial in b.gradient(leaf), f"{row.name}′{point} = {partial}, over {box}"


@pytest.mark.parametrize(
    "row", [r for r in TABLE.values() if not (r.lists or r.silent)], ids=name_of
)
def test_an_interval_of_one_operand_is_tight_in_value_and_partial(row):
    """Up to rounding and to the samples: the others (a slope, a divisor, …) are held."""
    held = [row.defaults.get(name, 0.5 + k) for k, name in enumerate(row.operands[1:])]
    for lo, hi in [(-1.0, 2.0), (-3.0, -0.5), (0.25, 4.0), (-0.7, -0.7), (-1.2, 0.1), (0.5, 0.5)]:
        if not row.domain.get("x", rules.WHOLE_LINE)[0] <= lo:
            continue
        x = Value(lo)
        y = node(row, [x, *held])
        b = Bounds(y, {x: (lo, hi)})
        runs = [row(floats, t, *held) for t in np.linspace(lo, hi, 2001).tolist()]
        columns = [(b[y], [value for value, *_ in runs])]
        columns.append((b.gradient(x), [dx for _, dx, *_ in runs]))
        for found, seen in columns:
            assert found.lo == pytest.approx(min(seen), abs=2e-3), (lo, hi)
            assert found.hi == pytest.approx(max(seen), abs=2e-3), (lo, hi)


@pytest.mark.parametrize("name", ["exp", "log", "sin", "cos", "tanh", "sqrt", "sigmoid", "softplus",
                                  "logsumexp", "div", "elu"])  # fmt: skip
def test_what_more_digits_say_lies_inside(name):
    """A row run in extended precision, where this machine has it, at points and over boxes."""
    row, dice = TABLE[name], random.Random(name)
    wide = np.longdouble
    for _ in range(500):
        low = 0.01 if name in ("log", "sqrt", "div") else -8.0
        point = [dice.uniform(low, 8.0) for _ in range(arity(row, 2))]
        leaves = [Value(x) for x in point]
        y = node(row, leaves)
        b = Bounds(y, {leaf: (x, x) for leaf, x in zip(leaves, point)})
        numbers = [wide(x) for x in point]
        value, *partials = row(ARRAYS, *grouped(row, numbers, 2))
        partials = row.one_by_one(partials)
        for found, exact in [(b[y], value), *zip(map(b.gradient, leaves), partials)]:
            assert wide(found.lo) <= exact <= wide(found.hi), f"{name}{point}"
            assert found.hi - found.lo <= 1e-13 * max(1.0, abs(found.lo))


@pytest.mark.parametrize("row", TABLE.values(), ids=name_of)
def test_what_fifty_digits_say_lies_inside(row):
    """The real value and partials, at points of any size and over boxes that begin or end there."""
    dice = random.Random(row.name)
    points = special_operands(row)[:: 1 + len(special_operands(row)) // 200]
    with mp.workdps(50):
        for operands in random_operands(row, 100) + points:
            value, *partials = in_fifty_digits(row, operands)
            numbers = [*flat(operands)]
            exact = [value, *[0 if x is None else x for x in flat(partials)]]
            for up, down in [(0.0, 0.0), (dice.random(), dice.random())]:
                leaves = [Value(x) for x in numbers]
                parts = iter(leaves)
                refilled = [[next(parts) for _ in xs] if isinstance(xs, list) else next(parts)
                            for xs in operands]  # fmt: skip
                y = apply(row, *refilled)
                b = Bounds(y, {x: (x.data - down, x.data + up) for x in leaves})
                for found, number in zip([b[y], *map(b.gradient, leaves)], exact):
                    inside = found.nan if math.isnan(number) else found.lo <= number <= found.hi
                    assert inside, f"{row.name}{operands}: {number} is not in {found}"


@pytest.mark.parametrize("x", [-16.20361354127801, -20.0, -37.0, -10.1])
def test_the_real_gelu_lies_inside_far_out_and_close(x):
    leaf = Value(x)
    y = leaf.gelu()
    b = Bounds(y, {leaf: (x, x)})
    with mp.workdps(50):
        value, slope = in_fifty_digits(rules.gelu, (x,))
        for found, exact in [(b[y], value), (b.gradient(leaf), slope)]:
            assert found.lo <= exact <= found.hi
            assert found.hi - found.lo <= 1e-14 * abs(found.lo)


@pytest.mark.parametrize("scale", [1e3, 1e6, 1e9, 3e15, 1e17])
def test_waves_far_out_lose_no_crest(scale):
    dice = random.Random(0)
    for name in ("sin", "cos"):
        for _ in range(300):
            x = Value(scale * dice.uniform(-1, 1))
            y = apply(TABLE[name], x)
            lo, hi = x.data, x.data + max(dice.uniform(0, 2), math.ulp(x.data))
            b = Bounds(y, {x: (lo, hi)})
            for t in np.linspace(lo, hi, 40):
                value, slope = TABLE[name](floats, float(t))
                assert value in b[y] and slope in b.gradient(x)


def test_a_crest_between_two_neighbouring_floats_is_seen():
    circle = Fraction("3.14159265358979323846264338327950288419716939937510")
    dice = random.Random(4)
    for _ in range(2000):
        k = 2 * round(10 ** dice.uniform(0, 16))
        lo = float(k * circle)
        lo = lo if Fraction(lo) < k * circle else math.nextafter(lo, 0.0)
        x = Value(lo)
        y = x.cos()
        assert Bounds(y, {x: (lo, math.nextafter(lo, inf))})[y].hi == 1.0


def test_no_rounding_leaves_the_range_of_a_function():
    x = Value(0.0)
    for y, found in [
        (x.exp(), (0.0, inf)), (x.tanh(), (-1.0, 1.0)), (x.sin(), (-1.0, 1.0)),
        (x * x, (0.0, 1e8)), (x.relu(), (0.0, 1e4)),
    ]:  # fmt: skip
        assert pairs_of(Bounds(y, {x: (-1e4, 1e4)})[y]) == found
    y = logsumexp([x, x.detach()])
    assert list(Bounds(y, {x: (-1.0, 1.0)})[y]) == pytest.approx([math.log(2) - 1, math.log(2) + 1])


@pytest.mark.parametrize("row", [r for r in TABLE.values() if r.bounds], ids=name_of)
def test_the_column_bounds_tells_the_truth(row):
    line = [x / 8 for x in range(-90, 91)] + [-1e-9, 1e-9, -300.0, 300.0]
    line = sorted(x for x in line if x >= row.domain.get("x", rules.WHOLE_LINE)[0])
    if isinstance(row.bounds, tuple):
        cuts = [-inf, *row.bounds, inf]
        assert len(row.operands) == 1 and cuts == sorted(cuts)
        for lo, hi in zip(cuts, cuts[1:]):
            piece = [row(floats, x) for x in sorted({*line, lo, hi}) if lo <= x <= hi]
            for column in zip(*[run for run in piece if not math.isnan(run[0] + run[1])]):
                assert monotone(column, 1) or monotone(column, -1), (lo, hi)
        return
    way = {"increasing": 1, "decreasing": -1}[row.bounds]
    dice = random.Random(row.name)
    for i in range(arity(row, 2)):
        others = [dice.choice(line) for _ in range(arity(row, 2))]
        ys = [node(row, [*others[:i], x, *others[i + 1 :]]).data for x in line]
        assert monotone(ys, way)


def monotone(ys, way: int) -> bool:
    return all(way * (b - a) >= -1e-14 * max(abs(a), abs(b)) for a, b in zip(ys, ys[1:]))


# --- a reader's own op ------------------------------------------------------------------------


@pytest.fixture
def enter(temporary_ops):
    """Enter an op into the table for one test."""
    return lambda function, **columns: rule(kind="saturating", ceiling=1.0, **columns)(function)


def softsign(xp, x):
    """x / (1 + |x|)"""
    y = 1.0 / (1.0 + xp.abs(x))
    return x * y, y * y


def stepwise(xp, x):
    """softsign, with a branch in Python"""
    y = 1.0 / (1.0 + x) if x > 0 else 1.0 / (1.0 - x)
    return x * y, y * y


@pytest.mark.parametrize("function", [softsign, stepwise])
@pytest.mark.parametrize("columns", [{}, {"bounds": "increasing"}, {"bounds": (0.0,)}])
def test_an_op_of_ones_own_is_bounded_soundly_and_by_one_word_tightly(enter, function, columns):
    row = enter(function, **columns)
    check_soundness(row, boxes=100)
    x = Value(1.0)
    y = apply(row, x)
    b = Bounds(y, {x: (-1.0, 3.0)})
    if columns:
        assert pairs_of(b[y]) == pytest.approx((-0.5, 0.75), abs=1e-12)
    elif function is stepwise:
        assert pairs_of(b[y]) == (-inf, inf) and b[y].nan
    if columns.get("bounds") == (0.0,):
        assert pairs_of(b.gradient(x)) == pytest.approx((1 / 16, 1.0), abs=1e-12)
    assert b.gradient(x).largest <= 1.0 + 1e-14


# --- whole graphs -----------------------------------------------------------------------------


def some_graph(dice: random.Random, size: int) -> tuple[Value, list[Value]]:
    """A graph of every op there is, with shared and repeated operands, and its leaves."""
    leaves = [Value(dice.choice([dice.gauss(0, 1), dice.randint(-2, 2)])) for _ in range(5)]
    nodes = list(leaves)
    for _ in range(size):
        row = dice.choice([*TABLE.values(), *[rules.mul, rules.add, rules.dot, rules.relu] * 3])
        operands = [dice.choice(nodes[-12:]) for _ in range(arity(row, 2))]
        if dice.random() < 0.2 and len(operands) > 1:
            operands[-1] = dice.choice([2.0, -1.0, 0.5, 3.0])
        nodes.append(node(row, operands))
    heads = [x for x in nodes[-6:] if math.isfinite(x.data)] or nodes[:1]
    return logsumexp([x.tanh() for x in heads]), leaves


def some_net(dice: random.Random) -> tuple[Value, list[Value]]:
    activation = dice.choice(["relu", "tanh", "sigmoid", "gelu", "softplus", "elu", "leaky_relu"])
    model = nn.MLP(3, [5, 4, 1], activation=activation, seed=dice.randrange(10**9))
    xs = [Value(dice.gauss(0, 1)) for _ in range(3)]
    return (model(xs) - 0.5) ** 2, xs + model.parameters()[:2]


def chosen(partials):
    """The partials of a node, with None for an operand that a `where` leaves at every point."""

    def of(x):
        closed = [x.rule and x.rule.selects and not np.any(d) for d in partials[x]]
        return [None if shut else d for shut, d in zip(closed, partials[x])]

    return of


def on_arrays(row, operands):
    with np.errstate(all="ignore"):
        return run_on(EXACT_ARRAYS, row, operands)


@pytest.mark.long
def test_a_million_values_and_gradients_of_a_thousand_graphs_lie_inside():
    dice = random.Random(7)
    checked = finite = 0
    for i in range(GRAPHS):
        output, leaves = some_net(dice) if i % 2 else some_graph(dice, 18)
        width = dice.choice([0.0, 1e-3, 0.1, 1.0])
        nodes = history(output)
        inputs = [x for x in leaves if x in nodes][:3]
        box = {x: (x.data - width * dice.random(), x.data + width) for x in inputs}
        b = Bounds(output, box)
        start = {x: x.data for x in nodes if x.rule is None}
        for leaf, (lo, hi) in box.items():
            ts = np.array([dice.choice([0.0, 1.0, dice.random()]) for _ in range(POINTS)])
            start[leaf] = np.clip(lo + (hi - lo) * ts, lo, hi)
        values, partials = forward(nodes, start, on_arrays)
        with np.errstate(all="ignore"):
            adjoints = dict(sweep(output, np.ones(POINTS), chosen(partials)))
        for x in [x for x in nodes if x.rule or x in box]:
            for what, found, seen in (
                ("value", b[x], values[x]),
                ("gradient", b.gradient(x), adjoints.get(x, 0.0)),
            ):
                wrong = outside(found, seen)
                assert not wrong.size, f"graph {i}, {what} of {x!r}: {wrong[:3]} not in {found}"
                checked += POINTS
                finite += POINTS * (abs(found.lo) < 1e9 and found.hi < 1e9)
    assert checked >= 1_000_000 and finite > 0.8 * checked


def test_run_again_where_it_was_recorded_a_graph_gives_the_same_bits():
    dice = random.Random(3)
    for i in range(200):
        output, _ = some_net(dice) if i % 2 else some_graph(dice, 25)
        nodes = history(output)
        leaves = {x: x.data for x in nodes if x.rule is None}
        values, partials = forward(nodes, leaves, run_on_floats)
        assert [values[x].hex() for x in nodes] == [x.data.hex() for x in nodes]
        for x in nodes:
            assert [*map(str, partials[x])] == [*map(str, x.partials)]
        output.backward()
        adjoints = dict(sweep(output, 1.0, functools.partial(_taken, partials)))
        assert set(adjoints) == set(order(output))
        assert all(str(adjoints[x]) == str(x.grad) for x in adjoints)


def test_over_a_point_a_bound_is_the_number_itself():
    for seed in range(50):
        output, xs = some_net(random.Random(seed))
        b = Bounds(output, {x: (x.data, x.data) for x in xs[:3]})
        output.backward()
        for x in (output, *xs):
            assert pairs_of(b[x]) == pytest.approx((x.data, x.data), rel=1e-11, abs=1e-12)
            assert pairs_of(b.gradient(x)) == pytest.approx((x.grad, x.grad), rel=1e-9, abs=1e-12)


def test_a_square_is_known_and_so_is_its_slope():
    x = Value(1.0)
    for y in (x * x, x**2, dot([x], [x])):
        b = Bounds(y, {x: (-1.0, 2.0)})
        assert pairs_of(b[y]) == pytest.approx((0.0, 4.0)) and b[y].lo == 0.0
        assert pairs_of(b.gradient(x)) == pytest.approx((-2.0, 4.0))
    row = (x, Value(2.0))
    y = dot(row, row)
    assert pairs_of(Bounds(y, {x: (-3.0, 1.0)})[y]) == (4.0, 13.0)
    copied = copy.deepcopy(x)
    y = x * copied
    assert pairs_of(Bounds(y, {x: (-1.0, 2.0), copied: (-1.0, 2.0)})[y]) == (-2.0, 4.0)


def test_a_detach_carries_the_box_but_no_gradient():
    x = Value(1.0)
    y = x.detach() * 2.0 + 1.0
    b = Bounds(y, {x: (-1.0, 4.0)})
    assert pairs_of(b[y]) == (-1.0, 9.0) and pairs_of(b.gradient(x)) == (0.0, 0.0)
    z = (x.detach() - 2.0).relu()
    gate = Bounds(z, {x: (-1.0, 4.0)}).gates[z]
    assert gate.verdict == "refuted" and gate.witness[x] > 2.0


def test_a_leaf_stays_at_the_data_it_has_now():
    x, w = Value(1.0), Value(2.0)
    y = w * x
    w.data = 10.0
    b = Bounds(y, {x: (0.0, 1.0)})
    assert pairs_of(b[y]) == (0.0, 10.0) and pairs_of(b.gradient(x)) == (10.0, 10.0)
    w.data = 0.0  # and at the data it had when the bounds were made
    assert pairs_of(b.gradient(x)) == (10.0, 10.0)


def test_a_chain_of_sigmoids_is_bounded_by_its_ceiling():
    x = y = Value(0.3)
    for _ in range(10):
        y = y.sigmoid() - 0.5
    largest = Bounds(y, {x: (-4.0, 4.0)}).gradient(x).largest
    assert 0.25**10 <= largest <= 0.25**10 * (1 + 1e-13)


@pytest.mark.slow
def test_a_long_chain_needs_no_recursion(many):
    limit, pairs = sys.getrecursionlimit(), many(10_000, 50_000)
    x = y = Value(1.0)
    for _ in range(pairs):
        y = (y * 1.0) + 1.0
    b = Bounds(y, {x: (-1.0, 1.0)})
    assert pairs_of(b[y]) == (pairs - 1.0, pairs + 1.0) and pairs_of(b.gradient(x)) == (1.0, 1.0)
    assert sys.getrecursionlimit() == limit


# --- gates ------------------------------------------------------------------------------------


def first_layer(weights, bias, box):
    xs = [Value(0.0) for _ in weights]
    y = dot(weights, xs, bias).relu()
    return Bounds(y, dict(zip(xs, box))).gates[y]


def test_the_exact_law_of_a_first_layer():
    """ReLU over c ± r is dead exactly when b + w·c + Σ r|w_i| ≤ 0; decided but for a few ulps."""
    dice = random.Random(11)
    verdicts = []
    for _ in range(2000):
        d = dice.randint(1, 4)
        c = [dice.randint(-64, 64) / 64 for _ in range(d)]
        r = [dice.randint(1, 64) / 64 for _ in range(d)]
        w = [dice.gauss(0, 1) for _ in range(d)]
        top = sum(Fraction(a) * Fraction(m) for a, m in zip(w, c))
        top += sum(abs(Fraction(a)) * Fraction(s) for a, s in zip(w, r))
        bias = -float(top)  # the boundary, as near as a float can be …
        ulp = math.ulp(max(abs(bias), *map(abs, w)))
        bias += dice.choice([0, 0, 1, -1, 2, -2, 4, -4, 40, -40, 1e15, -1e15]) * ulp
        exact = Fraction(bias) + top
        gate = first_layer(w, bias, [(m - s, m + s) for m, s in zip(c, r)])
        verdicts.append(gate.verdict)
        if gate.verdict == "proved dead":
            assert exact <= 0
        if exact > 20 * ulp:
            assert gate.verdict in ("refuted", "proved active")
        if exact < -20 * ulp:
            assert gate.verdict == "proved dead"
    assert {"proved dead", "refuted", "unknown"} <= set(verdicts)


@pytest.mark.parametrize(
    "bias, verdict",
    [
        (-0.75, "proved dead"),
        (math.nextafter(-0.75, 0.0), "refuted"),
        (math.nextafter(-0.75, -1.0), "proved dead"),
        (0.75, "refuted"),
        (math.nextafter(0.75, 1.0), "proved active"),
    ],
)
def test_where_nothing_is_rounded_the_law_is_exact_to_the_last_float(bias, verdict):
    assert first_layer([0.5, -0.25], bias, [(-1.0, 1.0), (-1.0, 1.0)]).verdict == verdict


@pytest.mark.parametrize("d, probability", [(1, 0.25), (2, 0.108173)])
def test_how_often_a_random_first_layer_is_dead(d, probability):
    dice, n, dead = random.Random(d), 10_000, 0
    for _ in range(n):
        w, bias = [dice.gauss(0, 1) for _ in range(d)], dice.gauss(0, 1)
        xs = [Value(0.0) for _ in w]
        y = dot(w, xs, bias)
        dead += Bounds(y, dict.fromkeys(xs, (-1, 1)))[y].hi <= 0
    assert abs(dead / n - probability) < 3 * math.sqrt(probability * (1 - probability) / n)


def test_every_verdict_of_random_nets_holds_and_every_witness_is_one():
    dice, seen = random.Random(5), []
    for seed in range(40):
        model = nn.MLP(2, [6, 6, 1], seed=seed)
        xs = [Value(0.0), Value(0.0)]
        for p in model.parameters():
            p.data += dice.gauss(0, 0.5)
        output = model(xs)
        b = Bounds(output, {xs[0]: (-1.0, 1.0), xs[1]: (0.0, 0.5)})
        gates = [x for x in order(output) if x.rule is rules.relu]
        assert set(b.gates) == set(gates)
        for _ in range(60):
            xs[0].data, xs[1].data = dice.uniform(-1, 1), dice.uniform(0, 0.5)
            again = order(model(xs))
            for old, new in zip(gates, [x for x in again if x.rule is rules.relu]):
                z = new.inputs[0].data
                assert not (b.gates[old].verdict == "proved dead" and z > 0)
                assert not (b.gates[old].verdict == "proved active" and z <= 0)
        for i, gate in enumerate(b.gates[x] for x in gates):
            seen.append(gate.verdict)
            assert (gate.witness is not None) == (gate.verdict == "refuted")
            if gate.witness:
                assert set(gate.witness) == set(xs)
                for x in xs:
                    assert gate.witness[x] in b.box[x]
                    x.data = gate.witness[x]
                z = [x for x in order(model(xs)) if x.rule is rules.relu][i].inputs[0]
                assert z.data > 0
    assert {"proved dead", "proved active", "refuted"} <= set(seen)
    assert seen.count("unknown") < 0.1 * len(seen)


def test_a_gate_open_in_one_corner_of_twenty_dimensions_is_refuted_by_going_uphill():
    dice = random.Random(1)
    w = [dice.choice([-1.0, 1.0]) for _ in range(20)]
    gate = first_layer(w, -19.5, [(-1.0, 1.0)] * 20)
    assert gate.verdict == "refuted" and list(gate.witness.values()) == w
    assert str(gate.z) == "[-39.5, 0.5]"


def test_at_every_point_a_search_has_the_numbers_of_floats():
    """Hence what it finds is a witness."""
    dice, seen, dots = random.Random(13), set(), 0
    for i in range(60):
        output, leaves = some_net(dice) if i % 2 else some_graph(dice, 18)
        if i % 3 == 0:
            leaves = [Value(dice.gauss(0, 1)) for _ in range(3)]
            output = nn.MLP(3, [5, 4, 1], seed=i)(leaves) * 1.7
        nodes = history(output)
        inputs = [x for x in leaves if x in nodes]
        box = {x: Interval(x.data - 1.0, x.data + 1.0) for x in inputs[:3]}
        data = {x: x.data for x in nodes if x.rule is None}
        search = Search(nodes, data, box)
        points = [dict(p) for p in itertools.islice(samples(box), 5)]
        columns = np.array([[p[x] for p in points] for x in box])
        values, found = search._run(columns.reshape(len(box), 5), search._steps)
        for k, point in enumerate(points):
            exact, partials = forward(nodes, data | point, run_on_floats)
            for node, row in search._row.items():
                assert float(values[row, k]).hex() == exact[node].hex()
            for step, slopes in zip(search._steps, found):
                if step.dot:
                    dots += 1
                    continue
                read = step.rule.one_by_one(step.node.operands)
                now = [np.broadcast_to(d, 5)[k] for x, d in zip(read, slopes)
                       if isinstance(x, Value) and d is not None]  # fmt: skip
                assert [float(x).hex() for x in now] == [
                    float(x).hex() for x in partials[step.node]
                ]
                seen.add(step.rule)
    assert {rules.tanh, rules.exp, rules.log, rules.relu, rules.mul} <= seen and dots > 500


def test_a_gate_behind_gates_is_opened_in_one_corner_of_eight_dimensions():
    xs = [Value(0.0) for _ in range(8)]
    hidden = [(dot([1.0], [x]) + 0.25).relu() for x in xs]
    y = (dot([1.0] * 8, hidden, -9.5)).relu()
    gate = Bounds(y, dict.fromkeys(xs, (-1.0, 1.0))).gates[y]
    assert gate.verdict == "refuted" and [*gate.witness.values()] == [1.0] * 8


def test_unknown_is_an_answer():
    x = Value(0.3)
    y = (x.exp() - x.exp() - 0.01).relu()  # z is -0.01 everywhere, and intervals cannot see it
    gate = Bounds(y, {x: (-1.0, 1.0)}).gates[y]
    assert (gate.verdict, gate.witness) == ("unknown", None)


def test_a_nan_is_no_witness_and_proves_nothing():
    x = Value(0.0)
    y = (x.log() - 1000.0).relu()
    for hi in (1.0, -1.0):
        gate = Bounds(y, {x: (-2.0, hi)}).gates[y]
        assert gate.verdict == "unknown" and gate.z.nan
    z = x.log()
    assert str(Bounds(z, {x: (-2.0, -1.0)})[z]) == "[-inf, inf] or nan"
    assert Bounds(y, {x: (1.0, 2.0)}).gates[y].verdict == "proved dead"


def test_other_gates_of_one_input_are_judged_by_their_slope():
    x = Value(0.0)
    for y, verdict in [
        (maximum(x, 3.0), "proved dead"), (maximum(x, 1.0), "refuted"),
        (minimum(x, -3.0), "proved dead"), (minimum(x, -1.0), "refuted"),
        (maximum(x, -3.0), "proved active"), (x.leaky_relu(), "proved active"),
    ]:  # fmt: skip
        assert Bounds(y, {x: (-2.0, 2.0)}).gates[y].verdict == verdict


def test_an_unbounded_box_is_searched_too():
    x = Value(0.0)
    for lo, hi in [(-inf, inf), (-inf, 600.0), (400.0, inf), (450.0, 550.0)]:
        for y, sides in [((x - 500.0).relu(), (lo, hi)), ((-x - 500.0).relu(), (-hi, -lo))]:
            gate = Bounds(y, {x: sides}).gates[y]
            assert gate.verdict == "refuted" and gate.witness[x] in Interval(*sides)
            assert math.isfinite(gate.witness[x])
    y = (x - 500.0).relu()
    assert pairs_of(Bounds(y, {x: (-inf, inf)})[y]) == (0.0, inf)


def test_a_bound_shows_itself():
    x = Value(0.0)
    y = (x - 5.0).relu() + x.relu() * 2.0
    assert str(Bounds(y, {x: (-1.0, 1.0)})) == (
        "over a box of 1 of 1 leaves: output in [0.0, 2.0], |∂output/∂leaf| <= 2; "
        "gates: 1 proved dead, 1 refuted"
    )


# --- bad input --------------------------------------------------------------------------------

X, W = Value(1.0, "x"), Value(2.0, "w")
Y = X * W


@pytest.mark.parametrize(
    "output, box, error, message",
    [
        (3.0, {}, TypeError, "needs the Value to bound, got 3.0"),
        ([Y], {}, TypeError, r"needs the Value to bound, got \[Value"),
        (Y, [(X, (0, 1))], TypeError, "a box maps leaves to intervals"),
        (Y, {"x": (0, 1)}, TypeError, "'x' is no Value"),
        (Y, {Y: (0, 1)}, ValueError, "is computed: .*give those of leaves only"),
        (Y, {Value(3.0, "far"): (0, 1)}, ValueError, "'far'.* is not in the graph of the output"),
        (Y, {X: 3.0}, TypeError, r"a pair \(lo, hi\), got 3.0"),
        (Y, {X: (1, 2, 3)}, TypeError, r"a pair \(lo, hi\), got \(1, 2, 3\)"),
        (Y, {X: ("a", "b")}, TypeError, "got the str 'a'"),
        (Y, {X: (2, 1)}, ValueError, "label='x'.* has lo = 2.0, hi = 1.0: swap them"),
        (Y, {X: (nan, 1)}, ValueError, "nan bounds nothing; use -inf, inf"),
    ],
)
def test_bad_input_is_named_with_its_remedy(output, box, error, message):
    with pytest.raises(error, match=message):
        Bounds(output, box)


def test_a_node_of_another_graph_is_named():
    b = Bounds(Y, {X: (0, 1)})
    for ask in (b.__getitem__, b.gradient):
        with pytest.raises(KeyError, match="'far'.* is not in the graph of"):
            ask(Value(1.0, "far"))


def test_a_leaf_alone_and_a_leaf_that_is_nan():
    x = Value(1.0)
    b = Bounds(x, {x: (0, 1)})
    assert pairs_of(b[x]) == (0.0, 1.0) and pairs_of(b.gradient(x)) == (1.0, 1.0)
    b = Bounds(x * Y, {})
    assert b[Y].lo == b[Y].hi == 2.0 and b.gates == {} and "0 of 3 leaves" in str(b)
    y = Value(nan) * 2.0
    assert Bounds(y, {})[y].nan


def test_asking_changes_no_grad_and_no_data():
    output, _ = some_net(random.Random(0))
    before = [(x.data, x.grad) for x in order(output)]
    b = Bounds(output, {x: (-1, 1) for x in history(output)[:5] if not x.rule})
    b.gradient(output), b.gates, str(b)
    assert [(x.data, x.grad) for x in order(output)] == before


def test_twice_as_many_gates_that_intervals_cannot_decide_are_twice_the_work():
    def work(count):
        x = h = Value(0.5)
        for _ in range(count):
            h = h * 0.99 + ((h - h) - 0.1).relu() * 0.001
        bounds = Bounds(h, {x: (-1.0, 1.0)})
        return lines(lambda: bounds.gates)

    assert work(80) < 2.2 * work(40)


@pytest.mark.parametrize("name", [*vars(intervals)])
def test_a_function_on_intervals_takes_bare_numbers_and_holds_what_floats_give(name):
    numbers = {
        1: [(x,) for x in (0.5, -0.25, 0.0)],
        2: [(0.5, 0.25), (-0.5, 2.0), (0.0, 1.0)],
    }
    of, on_floats = getattr(intervals, name), getattr(floats, name, None)
    if not callable(of) or name in ("where", "sum_and_log"):
        return
    for xs in numbers[len(inspect.signature(on_floats).parameters)]:
        found, same = interval(of(*xs)), interval(of(*map(interval, xs)))
        assert (found.lo, found.hi, found.nan) == (same.lo, same.hi, same.nan)
        exact = on_floats(*xs)
        assert found.lo <= exact <= found.hi or (exact != exact and found.nan)


def test_an_angle_of_a_box_that_meets_the_cut_may_be_any():
    angle = intervals.arctan2(Interval(-1.0, 1.0), Interval(-1.0, 1.0))
    assert angle.lo <= -math.pi and math.pi <= angle.hi


def test_a_power_of_a_box_round_0_reaches_down_to_0_and_no_further():
    round_0, y = Interval(-0.5, 0.25), Interval(0.5, 2.0)
    for found, least, largest in (
        (round_0**2.0, 0.0, 0.25),
        (round_0**3.0, -0.125, 0.015625),
        (Interval(0.0, 0.25) ** y, 0.0, 0.5),
    ):
        assert (found.lo, found.hi) == pytest.approx((least, largest), rel=1e-12, abs=1e-300)


def test_witnesses_are_looked_for_at_the_centre_the_corners_and_all_over_the_inside():
    x, y = Value(2.0, "x"), Value(1.0, "y")
    points = [(p[x], p[y]) for p in samples({x: Interval(1.0, 3.0), y: Interval(-2.0, 4.0)})]
    assert points[:5] == [(2.0, 1.0), (1.0, -2.0), (1.0, 4.0), (3.0, -2.0), (3.0, 4.0)]
    inside = points[5:]
    assert len({*inside}) == 32
    for k, (lo, hi) in enumerate(((1.0, 3.0), (-2.0, 4.0))):
        quarters = {int(4 * (point[k] - lo) / (hi - lo)) for point in inside}
        assert quarters == {0, 1, 2, 3} and all(lo < point[k] < hi for point in inside)
