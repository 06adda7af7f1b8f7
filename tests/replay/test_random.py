"""Random graphs and every op of the table: a replay computes what the scalar graph does."""

import math
from operator import mul, neg

import numpy as np
import pytest

from microgradx.engine import Value, apply, rule
from microgradx.replay import record
from microgradx.rules import TABLE
from tests.operands import arity, grouped
from tests.replay.nets import EXACT, SMOOTH, added, largest, random_graph, replayed, values

inf, nan = math.inf, math.nan
GRAPHS, AT_ONCE = 2000, 250


def same(one, other):
    """Bit for bit, the sign of a zero too; any nan is like any other."""
    if one != one or other != other:
        return one != one and other != other
    return one == other and math.copysign(1.0, one) == math.copysign(1.0, other)


def samples_of(net):
    """(sample, its output, its gradient), by the scalar graph."""
    for x in net.batch[0]:
        loss = net.fn(values(x))
        for p in net.parameters:
            p.grad = 0.0
        loss.backward()
        yield x, loss, [p.grad for p in net.parameters]


# --- random graphs ---------------------------------------------------------------------------


@pytest.mark.some(3)
@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, GRAPHS, AT_ONCE))
def test_a_graph_of_exact_ops_replays_but_for_the_order_of_its_sums(start, many):
    """Within 4 ulp of the sizes of what was added, in any order; nan, inf and 0 where they were."""

    def near(one, other, added):
        close = 4 * 2**-52 * added
        return same(one, other) or one == other or abs(one - other) <= close < inf

    for seed in range(start, start + many(60, AT_ONCE)):
        net = random_graph(seed, EXACT)
        replay = record(net.fn, net.example[0])
        assert not replay._arrays.products, seed  # whose sums have an order of their own
        if seed % 5 == 0:
            net.batch[0][3, 0] = inf if seed % 2 else -inf
        if seed % 7 == 0:
            net.parameters[0].data = (0.0, nan, -0.0, inf)[seed % 4]
            replay.refresh()
        forward = replay.forward(*net.batch).tolist()
        for (x, loss, grads), got in zip(samples_of(net), forward):
            again, gradient = replayed(replay, net.parameters, x[None])
            size, sizes = added(loss)
            assert near(got, loss.data, size) and near(again, loss.data, size), (seed, x)
            for g, p, expected in zip(gradient.tolist(), net.parameters, grads):
                assert near(g, expected, sizes.get(p, 0.0)), (seed, x, p)


@pytest.mark.some(3)
@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, GRAPHS, AT_ONCE))
def test_a_graph_of_any_ops_replays_to_rounding(start, many):
    """Within 1e-12 of the largest number that the sweep meets, where terms may cancel."""
    for seed in range(start, start + many(60, AT_ONCE)):
        net = random_graph(seed, SMOOTH)
        replay = record(net.fn, net.example[0])
        forward = replay.forward(*net.batch).tolist()
        for (x, loss, grads), got in zip(samples_of(net), forward):
            close = 1e-12 * largest(loss)
            again, gradient = replayed(replay, net.parameters, x[None])
            assert abs(got - loss.data) <= close and abs(again - loss.data) <= close, (seed, x)
            assert np.abs(gradient - grads).max() <= close, (seed, x)


def test_a_batch_gives_the_means_of_its_samples():
    for seed in range(5000, 5060):
        net = random_graph(seed, SMOOTH)
        batch = np.random.default_rng(seed).uniform(-2, 2, (11, net.batch[0].shape[1]))
        replay = record(net.fn, batch[0])
        alone = [replayed(replay, net.parameters, x[None]) for x in batch]
        losses, gradients = (np.array(found) for found in zip(*alone))
        loss, gradient = replayed(replay, net.parameters, batch)
        assert abs(loss - losses.mean()) <= 2e-15 * np.abs(losses).max()
        assert (np.abs(gradient - gradients.mean(0)) <= 4e-15 * np.abs(gradients).max()).all()


# --- every op of the table -------------------------------------------------------------------


CORNERS = (-inf, -2.5, -1.0, -0.0, 0.0, 1e-310, 0.75, 1.0, 2.0, 750.0, inf)


def applied(row, operands):
    """The node of any row of the table, its lists of three; defaults for what is left out."""
    few = [*operands, *[row.defaults[name] for name in row.operands[len(operands) :]]]
    return apply(row, *(grouped(row, operands, 3) if row.lists else few))


def forms(row):
    """The operands an op is tried with: "x" from the sample, "p" a parameter, or a number."""
    width = arity(row, 3)
    found = [["x"] * width, ["p"] * width, [*"xp" * width][:width], [*"px" * width][:width]]
    found += [["xp1"[(k + turn) % 3] for k in range(width)] for turn in range(3) if width > 1]
    if row.defaults and not row.lists:
        found += [form[:-1] for form in found[:3]]
    return [form for form in found if {*form} != {"1"}]


def check_op(row, form, numbers, kept):
    """That a graph of one op replays at every choice of `numbers`; `kept` is what counts as."""
    choices = np.random.default_rng(7).choice(numbers, (40, len(form)))
    ps = [Value(0.75) for kind in form if kind == "p"]

    def fn(x):
        left, mine = iter(x), iter(ps)
        given = {"x": lambda: next(left), "p": lambda: next(mine), "1": lambda: 1.5}
        return applied(row, [given[kind]() for kind in form])

    xs = [k for k, kind in enumerate(form) if kind == "x"]
    example = [[0.5] * len(xs)] if xs else []
    replay = record(fn, *example) if xs else record(lambda: fn([]))
    for choice in choices.tolist():
        for p, k in zip(ps, [k for k, kind in enumerate(form) if kind == "p"]):
            p.data = choice[k]
        replay.refresh()
        batch = [[choice[k] for k in xs]]
        loss = fn([Value(choice[k]) for k in xs])
        for p in ps:
            p.grad = 0.0
        loss.backward()
        got, gradient = replayed(replay, ps, *([batch] if xs else []))
        assert kept(got, loss.data), (form, choice)
        for g, p in zip(gradient.tolist(), ps):
            assert kept(g, p.grad), (form, choice)


def close(one, other):
    """Within 1e-12, relative; the same inf, or both nan."""
    if one != one or other != other:
        return one != one and other != other
    return one == other or abs(one - other) <= 1e-12 * abs(other)


@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.name)
def test_every_op_of_the_table_replays_inside_its_domain(row):
    inside = [x for x in np.linspace(-6, 6, 97).tolist() if row.domain.get("x", (-7, 7))[0] < x]
    for form in forms(row):
        check_op(row, form, inside, close)


@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.name)
def test_every_op_of_the_table_replays_at_zeros_infinities_and_outside_its_domain(row):
    # NumPy takes x ** 0.5 as a square root, which has no value at -inf.
    numbers = CORNERS[1:] if row.name == "pow" else CORNERS
    for form in forms(row):
        check_op(row, form, numbers, close)


# --- an op of one's own ----------------------------------------------------------------------


@pytest.mark.usefixtures("temporary_ops")
def test_a_new_op_replays_at_once():
    @rule(kind="saturating", ceiling=1.0)
    def softsign_of_replay(xp, x):
        d = 1.0 + xp.abs(x)
        return xp.divide(x, d), xp.divide(1.0, d * d)

    w = Value(0.5)
    replay = record(lambda x: (w * x).softsign_of_replay(), 1.0)
    X = np.linspace(-3, 3, 13)
    assert replay.forward(X).tolist() == pytest.approx(0.5 * X / (1 + abs(0.5 * X)), rel=1e-15)
    replay(X)
    assert replay.gradient == pytest.approx(np.mean(X / (1 + abs(0.5 * X)) ** 2), rel=1e-14)


@pytest.mark.usefixtures("temporary_ops")
def test_a_new_op_of_a_row_replays_at_once():
    @rule(kind="singular", lists=("xs",))
    def norm_of_replay(xp, xs):
        total = 0.0
        for x in xs:
            total = total + x * x
        y = xp.sqrt(total)
        return y, [xp.divide(x, y) for x in xs]

    w = [Value(x) for x in (0.5, -2.0, 3.0)]

    def fn(x):
        return apply(norm_of_replay, map(mul, w, x))

    X = np.random.default_rng(0).normal(size=(9, 3))
    replay = record(fn, X[0])
    norms = np.sqrt(((X * [0.5, -2.0, 3.0]) ** 2).sum(1))
    assert replay.forward(X) == pytest.approx(norms, rel=1e-14)
    replay(X)
    expected = (X**2 * [0.5, -2.0, 3.0] / norms[:, None]).mean(0)
    assert replay.gradient == pytest.approx(expected, rel=1e-13)


@pytest.mark.usefixtures("temporary_ops")
def test_a_row_that_treats_its_operands_differently_replays_too():
    @rule(kind="singular", lists=("xs",))
    def weighted_of_replay(xp, xs):
        y, partials = 0.0, []
        for k, x in enumerate(xs):
            y = y + (k + 1.0) * xp.sin(x)
            partials.append((k + 1.0) * xp.cos(x))
        return y, partials

    w = [Value(x) for x in (0.5, -2.0, 3.0)]
    X = np.random.default_rng(0).normal(size=(9, 3))
    replay = record(lambda x: apply(weighted_of_replay, map(mul, w, x)), X[0])
    inner = X * [0.5, -2.0, 3.0]
    assert replay.forward(X) == pytest.approx(np.sin(inner) @ [1.0, 2.0, 3.0], rel=1e-13)
    replay(X)
    assert replay.gradient == pytest.approx((np.cos(inner) * X * [1, 2, 3]).mean(0), rel=1e-13)


@pytest.mark.usefixtures("temporary_ops")
def test_a_rule_may_use_all_arithmetic_that_floats_have():
    """Expressions are rewritten on the way to NumPy; each rewriting keeps the value."""

    @rule(kind="singular")
    def arithmetic_of_replay(xp, x):
        one, far = xp.sqrt(4.0) - 1.0, xp.where(xp.abs(-3.0) > 2.0, 7.0, 0.0)
        inside = (x >= -1.0) & (x < 1.0)
        y = far - (-x) + (-x) * 2.0 - +x + x * -one + (-x) * (-x) - (3.0 - -x) * 2.0
        y = (
            y
            + x**0.0
            + x**1.0
            + xp.power(x, 2.0)
            + xp.power(2.0, x)
            + abs(x)
            - neg(neg(x))
            + x * 1.0
            + (-x + x * 3.0)
        )
        y = y + xp.where(inside, 0.5 * x, xp.where(x <= 0, 0.0, x)) + xp.where(x <= 0, 0.0, 1.0)
        y = y + xp.where(inside, 1.0, 0.0) + xp.where(x != 0.5, 0.0, 1.0) + (x * 0.3 + x * 0.3)
        return y + xp.where(x == 0.25, 9.0, x) + xp.where(x > 0.0, x, -x), 1.0

    points = [-2.5, -1.0, -0.75, -0.0, 0.0, 0.25, 0.5, 1.0, 1.75]
    replay = record(lambda x: (x * 1.0).arithmetic_of_replay(), 0.125)
    expected = [Value(x).arithmetic_of_replay().data for x in points]
    assert replay.forward(points).tolist() == pytest.approx(expected, rel=1e-15, abs=1e-15)


@pytest.mark.usefixtures("temporary_ops")
def test_a_row_whose_partials_are_of_other_elements_or_different_numbers():
    @rule(kind="singular", lists=("xs",))
    def product_of_replay(xp, xs):
        y, partials = 1.0, [1.0] * len(xs)
        for k, x in enumerate(xs):
            y = y * x
            partials = [d if j == k else d * x for j, d in enumerate(partials)]
        return y, partials

    @rule(kind="linear", lists=("xs",))
    def ramp_of_replay(xp, xs):
        y = 0.0
        for k, x in enumerate(xs):
            y = y + x * (k + 1.0)
        return y, [k + 1.0 for k in range(len(xs))]

    w = [Value(x) for x in (0.5, -2.0, 3.0)]
    X = np.random.default_rng(0).normal(size=(9, 3))
    for row, slopes in (
        (product_of_replay, -3.0 * X.prod(1)[:, None] / [0.5, -2.0, 3.0]),
        (ramp_of_replay, X * [1.0, 2.0, 3.0]),
    ):
        replay = record(lambda x: apply(row, map(mul, w, x)), X[0])  # noqa: B023 (it is called before the loop goes on)
        replay(X)
        assert replay.gradient == pytest.approx(slopes.mean(0), rel=1e-13)
