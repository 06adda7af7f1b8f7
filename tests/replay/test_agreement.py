"""The self-check: honest rounding is never refused, a fault of 1e-6 of what was added always is."""

import random

import numpy as np
import pytest

import microgradx as mx
from microgradx import rules
from microgradx.engine import Value, apply, rule
from microgradx.replay import record
from microgradx.replay.agreement import Disagreement, _whose
from microgradx.replay.symbols import Symbols
from tests.replay.nets import EXACT, SMOOTH, random_graph

DTYPES = ["float64", "float32"]


# --- honest rounding -------------------------------------------------------------------------


def test_a_first_layer_that_cancels_is_predicted():
    vote = mx.nn.MLP(3, [1])
    for p, w in zip(vote.parameters(), (1.0, 1.0, 1.0, -0.6)):
        p.data = w
    assert abs(vote.predict([[0.1, 0.2, 0.3]])[0]) <= 4 * 2**-53 * 1.2
    mx.fit(vote, [[0.1, 0.2, 0.3], [0.3, 0.1, 0.1]], [1, -1], loss="hinge", epochs=1)


@pytest.mark.parametrize("seed", range(3))
def test_a_regression_that_has_learnt_exactly_linear_data_still_predicts(seed):
    dice = random.Random(seed)
    c = [dice.choice([-1.0, 1.0, 0.5, 2.0]) for _ in range(5)]
    X = [[round(dice.uniform(-1, 1), 1) for _ in c] for _ in range(30)]
    X[0][-1] = -sum(a * b for a, b in zip(c[:-1], X[0])) / c[-1]
    y = [0.0, *[sum(a * b for a, b in zip(c, x)) for x in X[1:]]]
    model = mx.nn.MLP(5, [1], seed=seed)
    for p, w in zip(model.parameters(), [*c, 0.0]):
        p.data = w * (1 + dice.choice([-1, 1]) * 2**-52)
    assert np.abs(model.predict(X) - y).max() < 1e-14


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("z", [1e-2, 1e-4, 1e-8, 1e-12, 0.0])
def test_a_sum_near_0_is_recorded_however_near(z, dtype):
    for seed in range(20):
        dice = random.Random(seed)
        w = [Value(dice.gauss(0, 1)) for _ in range(6)]
        x = [dice.gauss(0, 1) for _ in range(5)]
        x.append((z - sum(a.data * b for a, b in zip(w, x))) / w[5].data)
        record(lambda x, w=w: mx.dot(w, x) ** 2, x, dtype=dtype)


@pytest.mark.parametrize("z", [1e-4, 1e-12, 0.0])
def test_a_sum_that_is_written_out_may_cancel_too(z):
    """Its products have no array: they are looked at with the sum that they are in."""

    def fn(x):
        y = b
        for v, u in zip(w, x):
            y = y + v * u
        return (y * v + y * y) * w[0]

    for seed in range(20):
        dice = random.Random(seed)
        w = [Value(dice.gauss(0, 1)) for _ in range(6)]
        x = [dice.gauss(0, 1) for _ in w]
        b = Value(z - sum(a.data * u for a, u in zip(w, x)))
        record(fn, x)


def test_a_long_sum_that_drifts_is_no_fault():
    n = 20_000
    w, total = [Value(0.1) for _ in range(n)], Value(-0.1 * n)
    record(lambda x: mx.dot(w, [x for _ in w], total) ** 2, 1.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [1e3, 1e6, 1e12, 1e16])
def test_an_offset_that_cancels_is_recorded(offset, dtype):
    w, b = Value(0.5, "w"), Value(offset, "b")
    replay = record(lambda x: ((x + b) - offset) ** 2 * w, 0.3, dtype=dtype)
    eps = np.finfo(dtype).eps
    assert abs(replay([0.3]) - 0.045) <= 8 * eps * offset * (1 + eps * offset)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0.0, 1e2, 1e4, 1e6, 1e16])
def test_the_cross_entropy_of_logits_with_an_offset_is_ln_2(offset, dtype):
    b = [Value(offset), Value(offset)]
    replay = record(lambda x: mx.nn.cross_entropy([x + b[0], x + b[1]], 0), 0.0, dtype=dtype)
    assert replay([0.0]) == pytest.approx(np.log(2.0), rel=float(4 * np.finfo(dtype).eps))


@pytest.fixture
def op(temporary_ops):
    return rule(kind="singular")


@pytest.fixture
def list_op(temporary_ops):
    return rule(kind="linear", lists=("xs",))


def on_floats(xp):
    return hasattr(xp, "__file__")


def terms(seed):
    """Numbers whose sum has cancelled: pairs of opposites, and some that are small."""
    dice = random.Random(seed)
    large = [dice.gauss(0, 1) * 10.0 ** dice.randrange(-3, 9) for _ in range(20)]
    found = [*large, *[-x * (1 + dice.choice([0.0, 1e-15, 1e-9])) for x in large], 1e-9, -3e-8]
    dice.shuffle(found)
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(10))
def test_another_order_of_adding_is_no_fault(list_op, seed, dtype):
    @list_op
    def total(xp, xs):
        y = 0.0
        for x in xs if on_floats(xp) else xs[::-1]:
            y = y + x
        return y, [1.0] * len(xs)

    w = [Value(x) for x in terms(seed)]
    record(lambda x: (total_of(w, x) * 1e-9).tanh() ** 2, [1.0] * len(w), dtype=dtype)


def test_nor_is_a_sum_that_rounds_where_the_graph_does_not(list_op):
    """The graph adds opposites in turns, exactly; the replay is off by 7e-15 of what it adds."""

    @list_op
    def total(xp, xs):
        y, replays = 0.0, isinstance(xp, Symbols)
        for x in xs[::2] if replays else xs:
            y = y + x
        return y + xs[1] * 1000.0 if replays else y, [1.0] * len(xs)

    w = Value(1.0)
    record(lambda x: apply(total, [w * 0.1, w * -0.1] * 1000).tanh() + x, 0.0)


def total_of(w, x):
    return mx.ops.total([a * b for a, b in zip(w, x)])


@pytest.mark.parametrize("x", [1e-8, 1e-4, 3.0, 20.0])
def test_a_row_that_cancels_within_may_differ_by_what_its_functions_round(op, x):
    ulp = 1.0 + 2.0**-52

    @op
    def versine(xp, x):
        return 1.0 - xp.cos(x) * (1.0 if on_floats(xp) else ulp), xp.sin(x)

    @op
    def flat(xp, x):
        y = xp.tanh(x) * (1.0 if on_floats(xp) else 1.0 / ulp)
        return y, 1.0 - y * y

    w = Value(1.0)
    record(lambda x: (w * x).versine(), x)
    record(lambda x: (w * x).flat(), x)


def far_below():
    w, b = Value(0.1), Value(1e-200)
    return lambda x: (x * w) * b * 1e-120


def two_bells():
    c, v, s = [Value(0.0), Value(0.5)], [Value(0.3), Value(0.4)], Value(3.0)
    return lambda x: mx.ops.sum([(-((x - a) ** 2) * s).exp() * b for a, b in zip(c, v)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("graph, x", [(far_below, 0.5), (two_bells, 15.58)])
def test_what_underflows_on_the_way_rounds_by_a_share_of_the_smallest_float(graph, x, dtype):
    """There half a unit is no small share of a number, and what follows may multiply it."""
    fn, large = graph(), Value(1e38)
    record(fn, x, dtype=dtype)
    record(lambda x: fn(x) * large, x, dtype=dtype)


def test_a_net_of_bells_predicts_far_from_all_of_them():
    class Bells(mx.nn.Module):
        def __init__(self):
            self.c, self.v = [Value(0.0), Value(0.5)], [Value(0.3), Value(0.4)]
            self.s = Value(3.0)

        def __call__(self, x):
            terms = zip(self.c, self.v)
            return mx.ops.sum([(-((x[0] - c) ** 2) * self.s).exp() * v for c, v in terms])

    assert Bells().predict([[15.58], [0.0]])[1] == pytest.approx(0.3 + 0.4 * np.exp(-0.75))


@pytest.mark.some(2)
@pytest.mark.parametrize("seed", range(8))
def test_products_near_underflow_in_any_order_are_recorded(seed):
    dice = random.Random(seed)
    for _ in range(40):
        w = [Value(dice.gauss(0, 1) * 10.0 ** dice.uniform(-160, 60)) for _ in range(4)]
        c = [10.0 ** dice.uniform(-160, 60) for _ in w]

        def fn(x, w=w, c=c):
            y = x
            for a, b in zip(w, c):
                y = y * a * b + a
            return y + x * w[0] * c[1]

        record(fn, dice.gauss(0, 1))


def test_a_mean_of_gradients_whose_sum_overflows_is_no_fault():
    w = Value(0.5)
    replay = record(lambda x: w * x * x * 0.6e308, 1.0)  # the trial is of 0.6, 1.58, 0.6e308
    assert replay([1.0, 1.0]) == pytest.approx(0.3e308)
    assert replay.gradient.tolist() == pytest.approx([0.6e308])


def test_an_overflow_that_another_order_avoids_is_no_fault(list_op):
    @list_op
    def total(xp, xs):
        y = 0.0
        for x in xs if on_floats(xp) else [*xs[1:], xs[0]]:
            y = y + x
        return y, [1.0] * len(xs)

    w = [Value(x) for x in (1e308, 1e308, -1e308)]
    record(lambda x: total_of(w, x) * 1e-300, [1.0] * 3)


def test_an_overflow_to_the_other_side_in_another_order_is_no_fault(list_op):
    @list_op
    def total(xp, xs):
        y = 0.0
        for x in xs if on_floats(xp) else xs[::-1]:
            y = y + x
        return y, [1.0] * len(xs)

    w = [Value(x) for x in (1e308, 1e308, -1e308, -1e308)]
    record(lambda x: total_of(w, x) * 1e-300, [1.0] * 4)


@pytest.mark.parametrize("whole", [True, False])
def test_a_sum_that_is_nan_in_one_order_and_a_number_in_another_is_no_fault(list_op, whole):
    """Ten times each overflows to both sides, ten times the sum does not."""

    @list_op
    def tenfold(xp, xs):
        y, late = 0.0, on_floats(xp) == whole
        for x in xs:
            y = y + (x if late else x * 10.0)
        return y * 10.0 if late else y, [10.0] * len(xs)

    w = [Value(x) for x in (1e308, -1e308, 1.0)]
    record(lambda x: mx.ops.tenfold([a * b for a, b in zip(w, x)]) * 1e-300, [1.0] * 3)


def test_an_infinite_slope_of_parameters_alone_meets_the_sum_of_all_samples():
    """The check's samples go to inf and -inf, in the mean to nan; a replay adds them up before."""
    w = Value(0.0)
    for x in (0.5, -2.0):
        replay = record(lambda x: w.sqrt() * x, x)
        replay([1.0, 3.0])
        assert replay.gradient.tolist() == [np.inf]


def huge(dice):
    """A number of any size, mostly near the ends of the floats."""
    low, high = dice.choice([(140, 308), (140, 308), (-320, -140), (-3, 3), (-3, 3)])
    return dice.choice([-1, 1]) * 10.0 ** dice.uniform(low, high)


def large_sums(dice):
    """Dot products of dot products, whose terms are of any size."""
    w, c = [Value(huge(dice)) for _ in range(6)], [huge(dice) for _ in range(6)]
    product = dice.random() < 0.5

    def fn(x):
        z = [mx.dot(w, [x * k if j > i else x for j, k in enumerate(c)]) for i in range(3)]
        return mx.dot(z, w[:3]) if product else z[0] + mx.mean([u * w[0] for u in z])

    return fn, dice.gauss(0, 1)


def large_graph(seed, ops):
    net, dice = random_graph(seed, ops), random.Random(seed)
    for p in net.parameters:
        p.data = huge(dice) if dice.random() < 0.6 else p.data
    return net.fn, *net.example


@pytest.mark.parametrize("ops", [EXACT, SMOOTH], ids=["exact", "smooth"])
def test_graphs_near_overflow_in_any_order_are_recorded(ops, many):
    known = [166, 2374]  # in which an infinity comes out where the graph has a nan
    for seed in [*known, *range(many(60, 4000))]:
        record(*large_graph(seed, ops))


def test_sums_near_overflow_in_any_order_are_recorded(many):
    for seed in range(many(60, 10_000)):
        record(*large_sums(random.Random(seed)))


# --- faults ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(10))
def test_a_sum_that_is_wrong_by_a_millionth_of_what_was_added_is_refused(list_op, seed, dtype):
    @list_op
    def total(xp, xs):
        y, size = 0.0, 0.0
        for x in xs:
            y, size = y + x, size + abs(x)
        return y if on_floats(xp) else y + 1e-6 * size, [1.0] * len(xs)

    w = [Value(x) for x in terms(seed)]
    with pytest.raises(Disagreement, match="the replay computes .*op=total.*op 'total' gives"):
        record(lambda x: (total_of(w, x) * 1e-9).tanh() ** 2, [1.0] * len(w), dtype=dtype)


def test_a_fault_of_no_row_of_a_readers_is_to_be_reported():
    assert _whose([None, rules.add, rules.dot]) == "please report this"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("x", [1e-6, 0.3, -2.0, 30.0])
def test_a_gradient_that_is_wrong_by_a_millionth_is_refused(op, x, dtype):
    @op
    def steep(xp, x):
        slope = xp.cos(x) + 2.0
        return xp.sin(x) + 2.0 * x, slope if on_floats(xp) else slope * (1.0 + 1e-6)

    v, w = Value(1.0), Value(0.5)
    for fn in (lambda x: (w * x).steep(), lambda x: (w * x).steep() - w * x * 2.0 + v):
        with pytest.raises(Disagreement, match="the replay's gradient"):
            record(fn, x, dtype=dtype)


@pytest.mark.parametrize("shift", [1e-6, 1e-3])
def test_a_gradient_that_is_wrong_by_a_millionth_above_underflow_is_refused(op, shift):
    @op
    def steep(xp, x):
        slope = xp.cos(x) + 2.0
        return xp.sin(x) + 2.0 * x, slope if on_floats(xp) else slope * (1.0 + shift)

    w = Value(0.5)
    for size in (1e-250, 1e-300, 1e-307):
        with pytest.raises(Disagreement, match="the replay's gradient"):
            record(lambda x, size=size: (w * x).steep() * size, 0.3)


@pytest.mark.parametrize("infinite", [np.inf, -np.inf])
def test_a_number_beside_an_infinity_is_refused(op, infinite):
    @op
    def level(xp, x):
        return x * (infinite if not isinstance(xp, Symbols) else 1.0), xp.cos(x)

    @op
    def tilted(xp, x):
        return xp.sin(x), xp.cos(x) * (infinite if not isinstance(xp, Symbols) else 1.0)

    @op
    def steep(xp, x):
        return xp.sin(x), xp.cos(x) * (1.0 if isinstance(xp, Symbols) else 1e200)

    @op
    def mirrored(xp, x):
        return x * (infinite if not isinstance(xp, Symbols) else -infinite), xp.cos(x)

    @op
    def crossed(xp, x):
        return xp.sin(x), xp.cos(x) * (infinite if not isinstance(xp, Symbols) else -infinite)

    @op
    def lost(xp, x):
        return xp.sin(x), xp.cos(x) * (np.nan if not isinstance(xp, Symbols) else infinite)

    w = Value(0.5)
    with pytest.raises(Disagreement, match="the replay computes"):
        record(lambda x: (w * x).level(), 0.3)
    with pytest.raises(Disagreement, match="the replay computes"):
        record(lambda x: (w * x).mirrored(), 0.3)
    for fn in (
        lambda x: (w * x * x).tilted(), lambda x: (w * x * x).steep().steep(),
        lambda x: (w * x * x).crossed(), lambda x: (w * x * x).lost(),
    ):  # fmt: skip
        with pytest.raises(Disagreement, match="the replay's gradient"):
            record(fn, 0.3)


@pytest.mark.parametrize("infinite", [np.inf, -np.inf])
def test_a_number_beside_a_nan_is_refused(list_op, op, infinite):
    """Opposite infinities that are given, not made by adding, are nan in any order."""

    @list_op
    def first(xp, xs):
        return xs[0] if isinstance(xp, Symbols) else xs[0] + xs[1], [1.0] * len(xs)

    @op
    def none(xp, x):
        return x * (1.0 if isinstance(xp, Symbols) else np.nan), xp.cos(x)

    w, b = Value(1e300), [Value(infinite), Value(-infinite)]
    with pytest.raises(Disagreement, match="the replay computes"):
        record(lambda x: mx.ops.first([b[0] * x, b[1] * x, w * x]), 0.3)
    with pytest.raises(Disagreement, match="the replay computes"):
        record(lambda x: (w * x).none(), 0.3)
