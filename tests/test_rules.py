"""Every row of the table, held to what it says of itself: the tests iterate the table.

A check takes a row and asserts one thing; `CHECKS` lists them, so that an op added to the table
tomorrow is tested by being there.
"""

import ast
import copy
import itertools
import math
import pickle
import random
from pathlib import Path

import numpy as np
import pytest

import microgradx
from microgradx import rules
from microgradx._base import floats
from microgradx.engine import Value, apply, rule
from microgradx.explain.check import check_gradients
from microgradx.rules import TABLE, Rule
from tests.operands import ARRAYS, grouped

inf, nan = math.inf, math.nan

POINTS = (-7.3, -2.5, -1.0, -0.7, -0.04, 0.03, 0.3, 0.9, 1.6, 3.2, 11.0)
LINE = sorted([i / 16 for i in range(-16 * 40, 16 * 40 + 1)] + [math.sqrt(2.0), math.pi / 2])
FAR = [sign * 10.0**k for k in range(-300, 3, 2) for sign in (-1, 1)] + [700.0, -700.0]
EXACT = {
    "add", "mul", "neg", "div", "abs", "sqrt", "relu", "leaky_relu", "maximum", "minimum",
    "dot", "sum", "detach",
}  # fmt: skip


# --- examples of operands ---------------------------------------------------------------------


def inside(row: Rule, operand: str, x: float, margin: float = 1e-2) -> bool:
    """Whether x lies in the operand's domain and not close to a kink."""
    low, high = row.domain.get(operand, rules.WHOLE_LINE)
    near = (abs(x - kink) < margin for kink in row.kinks.get(operand, ()))
    return low < x < high and not any(near)


def examples(row: Rule) -> list[tuple]:
    """Operands over the op's domain, away from its kinks; of two single ones, never equal."""
    if row.lists:
        dice = random.Random(row.name)
        return [
            tuple(grouped(row, iter(lambda: dice.uniform(-3, 3), None), width))
            for width in (1, 2, 5)
            for _ in range(10)
        ]
    choices = [[x for x in POINTS if inside(row, name, x)] for name in row.operands]
    for choice, name in zip(choices, row.operands):
        if name in row.defaults:
            choice.insert(0, row.defaults[name])
    return [xs for xs in itertools.product(*choices) if len(set(xs)) == len(xs)]


def places(row: Rule, operands: tuple, silent: bool = False) -> list[tuple[int, ...]]:
    """Where the numbers are: (operand,), or (list, index); those without a gradient if `silent`."""
    return [
        place
        for k, (x, name) in enumerate(zip(operands, row.operands))
        if silent or name not in row.silent
        for place in ([(k, i) for i in range(len(x))] if isinstance(x, list) else [(k,)])
    ]


def at(operands, place: tuple[int, ...]):
    """The number (or partial) that stands at `place`."""
    for index in place:
        operands = operands[index]
    return operands


def moved(operands, place: tuple[int, ...], x: float):
    """The operands, with x at `place`."""
    first, *rest = place
    inner = moved(operands[first], tuple(rest), x) if rest else x
    return type(operands)((*operands[:first], inner, *operands[first + 1 :]))


def partial(row: Rule, operands: tuple, place: tuple[int, ...]) -> float:
    _, *partials = row(floats, *operands)
    return at(partials, place)


def profile(row: Rule, line: list[float]) -> list[tuple[str, list[tuple[float, float]]]]:
    """For some examples, operand by operand: its partial as a function of that operand itself."""
    curves = []
    for xs in examples(row)[:: max(1, len(examples(row)) // 6)]:
        for place in places(row, xs):
            name = row.operands[place[0]]
            points = [x for x in line if inside(row, name, x, margin=1e-310)]
            curves.append((name, [(x, partial(row, moved(xs, place, x), place)) for x in points]))
    return curves


# --- the checks -------------------------------------------------------------------------------


def check_partials_against_differences(row: Rule) -> None:
    """Five-point central differences; Abramowitz and Stegun 1964, 25.3.6."""
    for operands in examples(row):
        y, *partials = row(floats, *operands)
        assert len(partials) == len(row.operands)
        for place in places(row, operands):
            x = at(operands, place)
            h = 1e-3 * min(1.0, abs(x))

            def f(n, operands=operands, place=place, x=x, h=h):
                return row(floats, *moved(operands, place, x + n * h))[0]

            slope = (8 * (f(1) - f(-1)) - (f(2) - f(-2))) / (12 * h)
            rounding = 1e-15 * max(abs(y), 1.0) / h
            allowed = 1e-9 * abs(slope) + rounding
            given = at(partials, place)
            assert abs(given - slope) <= allowed, f"{row.name}{operands} at {place}: {given}"


def check_gradient_through_values(row: Rule) -> None:
    for operands in examples(row)[::7]:
        flat = [at(operands, place) for place in places(row, operands, silent=True)]
        check_gradients(lambda *xs, like=operands: node(row, refill(like, xs)), *flat)


def node(row: Rule, operands) -> Value:
    return apply(row, *operands)


def refill(like: tuple, xs) -> list:
    """`xs` in the shape of the operands `like`."""
    queue = iter(xs)
    return [[next(queue) for _ in x] if isinstance(x, list) else next(queue) for x in like]


def check_ceiling(row: Rule) -> None:
    largest = max(abs(d) for _, curve in profile(row, LINE + FAR) for _, d in curve)
    assert largest <= row.ceiling * (1 + 1e-15), f"{row.name}′ reaches {largest!r}"
    if row.ceiling < inf:
        assert largest >= 0.99999 * row.ceiling, f"{row.name}′ never exceeds {largest!r}"


def check_kind(row: Rule) -> None:
    curves = profile(row, LINE)
    KIND[row.kind](row, curves)


def linear(row, curves):
    for _, curve in curves:
        assert len({d for _, d in curve}) == 1


def gate(row, curves):
    jumps = []
    for _, curve in curves:
        pieces = [len(list(run)) for _, run in itertools.groupby(d for _, d in curve)]
        assert len(pieces) <= 3  # flat between its kinks, of which there are two at most
        jumps.append(len(pieces) > 1)
    assert any(jumps) or row.silent  # a where jumps with its condition


def saturating(row, curves):
    steps = []
    for name, curve in curves:
        slopes = [abs(d) for _, d in curve]
        if name == row.operands[0] and max(slopes) > min(slopes):  # a row of one sums to itself
            assert max(slopes) < inf and min(slopes) < 1e-2 * max(slopes)
            steps.append(max(abs(a - b) for a, b in zip(slopes, slopes[1:])))
    assert min(steps) < 0.2  # no jump between neighbours, at the usual shape of the curve


def singular(row, curves):
    assert row.ceiling == inf
    slopes = [abs(d) for _, curve in profile(row, sorted(FAR)) for _, d in curve]
    assert max(slopes) > 1e100


def product(row, curves):
    linear(row, curves)
    assert len({d for _, curve in curves for _, d in curve}) > 1  # each partial is its partner


KIND = {
    "linear": linear, "product": product, "gate": gate, "saturating": saturating,
    "singular": singular,
}  # fmt: skip


def check_kinks(row: Rule) -> None:
    """About a kink the partial jumps or has no bound, for some choice of the other operands."""
    for name, kinks in row.kinks.items():
        place = (row.operands.index(name),)
        for kink in kinks:
            sides = [
                [partial(row, moved(xs, place, kink + h), place) for h in (-1e-9, 1e-9)]
                for xs in examples(row)
            ]
            sharp = [abs(left - right) > 1e-2 or abs(left) > 1e6 for left, right in sides]
            assert any(sharp), f"{row.name} is smooth at {name} = {kink}"


def check_arrays_as_floats(row: Rule) -> None:
    """The same function on NumPy arrays, one element an example, to the last bits."""
    by_shape: dict[tuple, list[tuple]] = {}
    for operands in examples(row):
        by_shape.setdefault(tuple(places(row, operands, silent=True)), []).append(operands)
    for shape, batch in by_shape.items():
        columns = refill(batch[0], [np.array([at(xs, place) for xs in batch]) for place in shape])
        y, *partials = row(ARRAYS, *columns)
        for i, operands in enumerate(batch):
            expected, *ds = row(floats, *operands)
            pairs = [(np.broadcast_to(y, len(batch))[i], expected)]
            pairs += [
                (np.broadcast_to(at(partials, place), len(batch))[i], at(ds, place))
                for place in places(row, operands)
            ]
            for array, scalar in pairs:
                if row.name in EXACT:
                    assert float(array).hex() == scalar.hex(), f"{row.name}{operands}"
                else:
                    assert math.isclose(
                        array, scalar, rel_tol=1e-13 if row.name == "gelu" else 3e-15
                    ), f"{row.name}{operands}"


def check_corners_on_arrays(row: Rule) -> None:
    """inf, nan and zeros come out of arrays as they come out of floats."""
    if row.lists:
        return
    corners = (0.0, -0.0, 1.0, -2.0, 710.0, -710.0, inf, -inf, nan)
    for operands in itertools.product(corners, repeat=len(row.operands)):
        with np.errstate(all="ignore"):
            results = row(ARRAYS, *[np.array([x]) for x in operands])
        for array, scalar in zip(results, row(floats, *operands)):
            if scalar is not None:
                number = float(np.broadcast_to(array, 1)[0])
                same = number == scalar or (number != number and scalar != scalar)
                assert same or math.isclose(number, scalar, rel_tol=3e-15), f"{row.name}{operands}"


def check_nan_is_never_lost(row: Rule) -> None:
    for operands in examples(row)[:20]:
        for place in places(row, operands):
            sick = moved(operands, place, nan)
            if (row.name, sick[0]) == ("pow", 1.0) or sick[1:] == (0.0,):
                continue  # 1 ** nan and nan ** 0 are 1, as in C, Python, NumPy and PyTorch
            if row is rules.where and not partial(row, operands, place):
                continue  # the branch that is not taken
            assert math.isnan(row(floats, *sick)[0]), f"{row.name}{sick}"


def check_words(row: Rule) -> None:
    assert row.function.__doc__ and "\n" not in row.function.__doc__
    assert row.label and row.operands and row.kind in KIND
    assert {*row.domain, *row.kinks} <= {*row.operands}
    assert rules.named(row.name) is row
    assert copy.deepcopy(row) is row and pickle.loads(pickle.dumps(row)) is row


def check_floats_only(row: Rule) -> None:
    for operands in examples(row)[:20]:
        y, *partials = row(floats, *operands)
        assert type(y) is float
        assert all(type(at(partials, place)) is float for place in places(row, operands))


CHECKS = [
    check_words,
    check_floats_only,
    check_partials_against_differences,
    check_gradient_through_values,
    check_ceiling,
    check_kind,
    check_kinks,
    check_arrays_as_floats,
    check_corners_on_arrays,
    check_nan_is_never_lost,
]
OF_GRADIENTS = {
    check_partials_against_differences,
    check_gradient_through_values,
    check_ceiling,
    check_kind,
}


def name_of(thing) -> str:
    return getattr(thing, "name", None) or thing.__name__


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
@pytest.mark.parametrize("row", TABLE.values(), ids=name_of)
def test_row(row, check):
    if {*row.silent} == {*row.operands} and check in OF_GRADIENTS:
        _, *partials = row(floats, *[3.0 for _ in row.operands])
        assert partials == [None] * len(row.operands)
    else:
        check(row)


def test_the_table_holds_the_promised_ops():
    promised = (
        "add mul neg div pow abs sqrt exp log sin cos relu leaky_relu elu sigmoid tanh softplus "
        "gelu maximum minimum where clamp dot sum logsumexp detach equal"
    )
    assert {*promised.split()} <= {*TABLE}


@pytest.mark.parametrize("factor", [1.001, 0.999, -1.0, 0.0])
@pytest.mark.parametrize("name", ["sigmoid", "exp", "log", "relu", "sin", "div"])
def test_a_rule_wrong_by_a_thousandth_is_caught(name, factor):
    def wrong(xp, *operands):
        y, dx, *rest = TABLE[name](xp, *operands)
        return y, dx * factor, *rest

    row = Rule(wrong, kind="singular", domain=TABLE[name].domain, kinks=TABLE[name].kinks)
    row.name, row.operands = name, TABLE[name].operands
    for check in (check_partials_against_differences, check_gradient_through_values):
        with pytest.raises((AssertionError, ArithmeticError)):
            check(row)


# --- one block is all an op takes -------------------------------------------------------------


@pytest.fixture
def softsign(temporary_ops):
    """An op that lives for one test."""

    @rule(kind="saturating", ceiling=1.0, label="x/(1+|x|)")
    def softsign(xp, x):
        """x / (1 + |x|)"""
        y = 1.0 / (1.0 + xp.abs(x))
        return x * y, y * y

    return softsign


def test_an_op_added_to_the_table_is_at_once_a_method_and_differentiable(softsign):
    x = Value(3.0)
    y = x.softsign()
    y.backward()
    assert (y.op, y.data, y.partials, x.grad) == ("softsign", 0.75, (0.0625,), 0.0625)
    assert Value.softsign.__doc__ == "x / (1 + |x|)"
    assert "op=softsign" in repr(y)
    assert check_gradients(lambda x, y: (x * y).softsign() + x, 0.3, -2.0) < 1e-9
    z = copy.deepcopy(y)
    assert z.rule is softsign and z.inputs[0] is not x


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
def test_an_op_added_to_the_table_is_checked_by_the_same_functions(softsign, check):
    check(softsign)


def test_a_second_op_of_one_name_is_refused_and_the_first_stays():
    first = TABLE["relu"]
    with pytest.raises(ValueError, match="there is an op 'relu' already"):

        @rule(kind="gate")
        def relu(xp, x):
            """again"""

    assert TABLE["relu"] is first


def test_an_unknown_op_is_named_with_the_known_ones():
    with pytest.raises(KeyError, match="no op 'swish'; there are add, mul, .*detach"):
        rules.named("swish")


def test_no_room_but_the_table_asks_for_an_op_by_name():
    """`node.op == "relu"` in another room means that a column of the table is missing."""
    for path in Path(microgradx.__file__).parent.rglob("*.py"):
        if path.name == "rules.py":
            continue
        for tree in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            asked = []
            if isinstance(tree, ast.Compare):
                asked = [x for side in (tree.left, *tree.comparators) for x in ast.walk(side)]
            elif isinstance(tree, ast.MatchValue):
                asked = [tree.value]
            words = {x.value for x in asked if isinstance(x, ast.Constant)}
            assert not words & TABLE.keys(), f"{path.name}, line {getattr(tree, 'lineno', '?')}"


# --- corners, as IEEE 754 and PyTorch have them -----------------------------------------------


def same(results, expected) -> bool:
    return all(
        (math.isnan(x) and math.isnan(y)) or math.isclose(x, y, rel_tol=1e-15)
        for x, y in zip(results, expected)
    )


@pytest.mark.parametrize(
    "name, operands, expected",
    [
        ("div", (1.0, 0.0), (inf, inf, -inf)),
        ("div", (1.0, -0.0), (-inf, -inf, -inf)),
        ("div", (0.0, 0.0), (nan, inf, nan)),
        ("div", (1e300, 1e-300), (inf, 1e300, -inf)),
        ("div", (1e-200, 1e200), (0.0, 1e-200, -0.0)),
        ("log", (0.0,), (-inf, inf)),
        ("log", (-1.0,), (nan, -1.0)),
        ("log", (inf,), (inf, 0.0)),
        ("sqrt", (0.0,), (0.0, inf)),
        ("sqrt", (-1.0,), (nan, nan)),
        ("exp", (710.0,), (inf, inf)),
        ("exp", (-inf,), (0.0, 0.0)),
        ("sin", (inf,), (nan, nan)),
        ("cos", (-inf,), (nan, nan)),
        ("abs", (0.0,), (0.0, 0.0)),
        ("abs", (-inf,), (inf, -1.0)),
        ("relu", (0.0,), (0.0, 0.0)),
        ("relu", (-0.0,), (0.0, 0.0)),
        ("relu", (5e-324,), (5e-324, 1.0)),
        ("relu", (nan,), (nan, 1.0)),
        ("relu", (inf,), (inf, 1.0)),
        ("relu", (-inf,), (0.0, 0.0)),
        ("leaky_relu", (-inf, 0.01), (-inf, 0.01, -inf)),
        ("leaky_relu", (0.0, 0.01), (0.0, 0.01, 0.0)),
        ("elu", (-inf, 1.0), (-1.0, 0.0, -1.0)),
        ("elu", (inf, 1.0), (inf, 1.0, 0.0)),
        ("elu", (1000.0, 1.0), (1000.0, 1.0, 0.0)),
        ("sigmoid", (inf,), (1.0, 0.0)),
        ("sigmoid", (-inf,), (0.0, 0.0)),
        ("sigmoid", (0.0,), (0.5, 0.25)),
        ("sigmoid", (40.0,), (1.0, 4.248354255291589e-18)),
        ("sigmoid", (-40.0,), (4.248354255291589e-18, 4.248354255291589e-18)),
        ("sigmoid", (-745.0,), (5e-324, 5e-324)),
        ("tanh", (inf,), (1.0, 0.0)),
        ("tanh", (0.0,), (0.0, 1.0)),
        ("tanh", (20.0,), (1.0, 1.6993417021166355e-17)),
        ("tanh", (-20.0,), (-1.0, 1.6993417021166355e-17)),
        ("softplus", (1000.0,), (1000.0, 1.0)),
        ("softplus", (-1000.0,), (0.0, 0.0)),
        ("softplus", (-40.0,), (4.248354255291589e-18, 4.248354255291589e-18)),
        ("softplus", (0.0,), (math.log(2.0), 0.5)),
        ("gelu", (0.0,), (0.0, 0.5)),
        ("gelu", (100.0,), (100.0, 1.0)),
        ("gelu", (-100.0,), (0.0, 0.0)),
        ("maximum", (2.0, 2.0), (2.0, 0.5, 0.5)),
        ("minimum", (2.0, 2.0), (2.0, 0.5, 0.5)),
        ("maximum", (inf, 1.0), (inf, 1.0, 0.0)),
        ("minimum", (-inf, 1.0), (-inf, 1.0, 0.0)),
        ("add", (inf, -inf), (nan, 1.0, 1.0)),
        ("mul", (0.0, inf), (nan, inf, 0.0)),
    ],
)  # fmt: skip
def test_corners(name, operands, expected):
    assert same(TABLE[name](floats, *operands), expected)


@pytest.mark.parametrize(
    "x, y, expected",
    [
        (0.0, 0.0, (1.0, 0.0, 0.0)),
        (0.0, 1.0, (0.0, 1.0, 0.0)),
        (0.0, 2.0, (0.0, 0.0, 0.0)),
        (0.0, 0.5, (0.0, inf, 0.0)),
        (0.0, -1.0, (inf, -inf, -inf)),
        (-0.0, -1.0, (-inf, -inf, inf)),
        (0.0, -2.0, (inf, -inf, -inf)),
        (-2.0, 3.0, (-8.0, 12.0, nan)),
        (-2.0, 2.0, (4.0, -4.0, nan)),
        (-2.0, 0.0, (1.0, 0.0, nan)),
        (-8.0, 1 / 3, (nan, nan, nan)),
        (2.0, 0.0, (1.0, 0.0, math.log(2.0))),
        (2.0, 3.0, (8.0, 12.0, 8.0 * math.log(2.0))),
        (1.0, inf, (1.0, inf, 0.0)),
        (nan, 0.0, (1.0, 0.0, nan)),
        (1.0, nan, (1.0, nan, 0.0)),
        (1e200, 2.0, (inf, 2e200, inf)),
    ],
)
def test_pow_at_its_corners_is_pytorchs(x, y, expected):
    assert same(rules.pow(floats, x, y), expected)


@pytest.mark.parametrize(
    "xs, value, softmax",
    [
        ([1000.0, 1000.0], 1000.0 + math.log(2.0), [0.5, 0.5]),
        ([-1000.0, -1000.0], -1000.0 + math.log(2.0), [0.5, 0.5]),
        ([0.0, 1000.0], 1000.0, [0.0, 1.0]),
        ([-inf, 0.0], 0.0, [0.0, 1.0]),
        ([3.0], 3.0, [1.0]),
    ],
)
def test_logsumexp_is_stable(xs, value, softmax):
    y, partials = rules.logsumexp(floats, xs)
    assert math.isclose(y, value, rel_tol=1e-15)
    assert partials == pytest.approx(softmax, rel=1e-12, abs=0)


def test_logsumexp_of_infinities():
    assert rules.logsumexp(floats, [-inf, -inf])[0] == -inf
    assert rules.logsumexp(floats, [inf, 0.0])[0] == inf
    assert math.isnan(rules.logsumexp(floats, [nan, 0.0])[0])


@pytest.mark.parametrize("z", [36.74, 36.8, 100.0, 700.0])
def test_no_false_zero_in_a_tail(z):
    for x in (z, -z):
        assert rules.sigmoid(floats, x)[1] == pytest.approx(math.exp(-z), rel=1e-14)
        assert rules.tanh(floats, x / 2)[1] == pytest.approx(4 * math.exp(-z), rel=1e-14)


def test_the_textbook_forms_would_have_the_false_zeros():
    s = rules.sigmoid(floats, 37.5)[0]
    assert s * (1 - s) == 0.0 < rules.sigmoid(floats, 37.5)[1]
    t = math.tanh(19.07)
    assert 1 - t * t == 0.0 < rules.tanh(floats, 19.07)[1]


# --- numbers to hold --------------------------------------------------------------------------


def slope_of_chain(op: str, x: float, length: int, centred: float = 0.0) -> float:
    """∂output/∂x through `length` times the op, each followed by - centred."""
    leaf = output = Value(x)
    for _ in range(length):
        output = getattr(output, op)()
        if centred:
            output = output - centred
    output.backward()
    return leaf.grad


@pytest.mark.parametrize(
    "op, x, length, slope",
    [
        ("sigmoid", 0.5, 1, 0.2350037122),
        ("sigmoid", 0.5, 2, 0.0534083752),
        ("sigmoid", 0.5, 3, 0.0120325149),
        ("sigmoid", 0.5, 10, 3.483115610e-7),
        ("tanh", 1.0, 1, 0.4199743416),
        ("tanh", 1.0, 10, 0.0409120420),
        ("tanh", 1.0, 100, 0.0015920041),
    ],
)
def test_unit_chains(op, x, length, slope):
    assert slope_of_chain(op, x, length) == pytest.approx(slope, rel=1e-8)


@pytest.mark.parametrize("length", [1, 10, 1000])
def test_a_relu_chain_passes_exactly_one(length):
    assert slope_of_chain("relu", 1.0, length) == 1.0


def test_a_chain_of_sigmoids_settles_at_its_own_rate():
    rate = slope_of_chain("sigmoid", 0.5, 101) / slope_of_chain("sigmoid", 0.5, 100)
    assert rate == pytest.approx(0.2247043481, rel=1e-9)
    x = 0.5
    for _ in range(100):
        x = Value(x).sigmoid().data
    assert x == pytest.approx(0.6590460684, rel=1e-9)
    assert x * (1 - x) == pytest.approx(rate)


def test_the_ceiling_of_ten_sigmoids_is_reached_at_zero():
    assert slope_of_chain("sigmoid", 0.0, 10, centred=0.5) == 9.5367431640625e-7 == 0.25**10
    assert slope_of_chain("sigmoid", 0.1, 10, centred=0.5) < 0.25**10


def test_a_product_of_quarters_is_first_zero_at_538_factors():
    assert slope_of_chain("sigmoid", 0.0, 537, centred=0.5) == 5e-324
    assert slope_of_chain("sigmoid", 0.0, 538, centred=0.5) == 0.0


def test_the_ceiling_of_gelu_is_its_slope_at_root_two():
    peak = 0.5 * math.erfc(-1.0) + math.exp(-1.0) / math.sqrt(math.pi)
    assert rules.gelu(floats, math.sqrt(2.0))[1] == pytest.approx(peak, rel=1e-15)
    assert peak <= rules.gelu.ceiling == pytest.approx(peak, rel=1e-5)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "sin", "softplus", "gelu"])
def test_closed_forms(name):
    closed = {
        "sigmoid": lambda x: math.exp(x) / (1 + math.exp(x)) ** 2,
        "tanh": lambda x: 1 / math.cosh(x) ** 2,
        "sin": math.cos,
        "softplus": lambda x: 1 / (1 + math.exp(-x)),
        "gelu": lambda x: (
            0.5 * math.erfc(-x / 2**0.5) + x * math.exp(-x * x / 2) / (2 * math.pi) ** 0.5
        ),
    }[name]
    for x in POINTS:
        assert TABLE[name](floats, x)[1] == pytest.approx(closed(x), rel=1e-13)


@pytest.mark.parametrize("name", ["backward", "data", "silu", "__add__"])
def test_an_op_never_takes_the_name_of_what_a_value_has(name):
    before = getattr(Value, name)
    with pytest.raises(ValueError, match=f"can't be called '{name}'"):
        enter_as(name, kind="linear")
    assert name not in TABLE and getattr(Value, name) is before
    assert Value(3.0).data == 3.0


def test_a_kind_is_one_of_the_known():
    with pytest.raises(ValueError, match="linear, product, saturating, gate, singular"):
        enter_as("oddity", kind="strange")
    assert "oddity" not in TABLE and not hasattr(Value, "oddity")


def enter_as(name, **columns):
    """Enter a row of another name than its function has in the source."""

    def function(xp, x):
        return x, 1.0

    function.__name__ = name
    return rule(**columns)(function)


@pytest.mark.parametrize("op", [rules.dot, rules.sum])
def test_sums_are_added_from_left_to_right(op):
    """In every version of Python: the builtin sum of floats is compensated from 3.12 on."""
    xs = [1e16, 1.0, -1e16]
    operands = ([1.0] * 3, xs, 0.0) if op is rules.dot else (xs,)
    assert op.function(floats, *operands)[0] == (1e16 + 1.0) - 1e16 == 0.0


def test_the_rows_that_are_operators_say_so():
    x = Value(2.0)
    made = [x + x, x * x, -x, x / x, x**x]
    assert [row for row in TABLE.values() if row.operator] == [node.rule for node in made]
