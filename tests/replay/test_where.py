"""What a `where` leaves brings nothing, and what it takes brings all: 0 · inf is nan, nothing is 0.

The eager sweep is the reference: it adds a contribution wherever a path through taken operands
comes, of an adjoint of 0 too, and nothing elsewhere.
"""

import math
import random

import numpy as np
import pytest

import microgradx as mx
from microgradx.engine import Value, order, rule
from microgradx.replay import lift, record
from microgradx.replay.runtime import dot_where
from tests.replay.nets import values

inf, nan = math.inf, math.nan
DTYPES = ["float64", "float32"]


def swept(fn, x, parameters):
    """The gradient of one sample by the scalar graph, and the largest finite number on the way."""
    loss = fn(values(np.array(x)), *parameters)
    for p in parameters:
        p.grad = 0.0
    loss.backward()
    met = [y for node in order(loss) for y in (node.data, node.grad, *node.partials)]
    return [p.grad for p in parameters], max([1.0, *[abs(y) for y in met if math.isfinite(y)]])


def replayed(replay, batch, parameters):
    """The gradient of a batch, whatever numbers it holds."""
    replay.refresh()
    with np.errstate(all="ignore"):
        replay.load(np.array(batch))
        replay.run()
    found = dict(zip(replay.parameters, replay.gradient.tolist()))
    return [found.get(p, 0.0) for p in parameters]


def check(fn, samples, numbers, dtype="float64", start=0.5):
    """That each sample, twice in a batch, all of them, and a lifted graph have the eager one."""
    parameters = [Value(0.7) for _ in numbers]
    replay = record(lambda x: fn(x, *parameters), [start] * len(samples[0]), dtype=dtype)
    for p, number in zip(parameters, numbers):
        p.data = number
    expected = []
    for x in samples:
        gradient, _ = swept(fn, x, parameters)
        expected.append(gradient)
        xs = values(np.array(x))
        unrolled = lift(fn(xs, *parameters), inputs=xs)
        assert replayed(unrolled, x, parameters) == pytest.approx(gradient, nan_ok=True), x
        found = replayed(replay, [x, x], parameters)  # BLAS skips a 0 that is all of a product
        assert found == pytest.approx(gradient, rel=1e-6, nan_ok=True), x
    with np.errstate(all="ignore"):
        mean = np.mean(expected, axis=0).tolist()
    assert replayed(replay, samples, parameters) == pytest.approx(mean, rel=1e-6, nan_ok=True)
    return expected


def both_ways(x, w, k):
    h = (w * x[0]).sqrt()
    return h * k + mx.where(x[0] + 1.0, w * 3.0, h)


def nested(x, w, k):
    inner = mx.where(x[1], (w * x[0]).sqrt() * k, w * 2.0)
    return mx.where(x[2], inner, w * x[0])


def nested_away(x, w, k):
    """The inner where takes the root, and the outer one leaves it."""
    return mx.where(x[1], mx.where(x[2], (w * x[0]).log(), w), w * 3.0)


def in_a_list(x, w, k):
    return mx.where(x[1], mx.logsumexp([(w * x[0]).sqrt() * k, w]), mx.ops.sum([w * x[0], w]))


def in_a_dot(x, w, k):
    h = [(w * x[0]).log(), w]
    return mx.where(x[1], mx.dot([k, w], h), mx.dot([w, w], [x[0], w]))


def of_the_larger(x, w, k):
    """A loser of maximum, minimum and clamp gets 0 times its partial, where the way leads there."""
    h = (w * x[0]).sqrt()
    return mx.where(x[1], mx.maximum(h, w), w) + mx.where(x[2], mx.minimum(h, -w), h.clamp(k, w))


def beside_a_detach(x, w, k):
    return (w * x[0]).sqrt().detach() + (k * x[1]).sqrt()


def in_a_condition(x, w, k):
    return mx.where((w * x[0]).sqrt(), (k * x[1]).sqrt(), x[2] * k)


def of_a_power(x, w, k):
    return mx.where(x[1], (w * x[0]) ** 0.5 * k, (w * x[0]) ** -1.0) + w


def twice_in_a_branch(x, w, k):
    h = (w * x[0]).sqrt()
    return mx.where(x[1], h * (h * k).tanh(), h * h * w)


def of_a_trunk(x, w, k):
    """Both branches read the root, so that something comes to it whichever is taken."""
    h = (w * x[0]).sqrt()
    return mx.where(x[1], h * k, h * 0.0)


SHAPES = [
    both_ways, nested, nested_away, in_a_list, in_a_dot, of_the_larger, beside_a_detach,
    in_a_condition, of_a_power, twice_in_a_branch, of_a_trunk,
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_a_where_takes_brings_a_0_times_an_infinity(dtype):
    def taken(x, w, k):
        return mx.where(x[0] + 1.0, (w * x[0]).sqrt() * k, w * 3.0)

    [[w, k]] = check(taken, [[0.0]], [1.0, 0.0], dtype)
    assert w != w and k == 0.0
    [[w, k]] = check(both_ways, [[0.0]], [1.0, 0.0], dtype)
    assert w != w and k == 0.0


@pytest.mark.some(4)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fn", SHAPES, ids=lambda fn: fn.__name__)
def test_nothing_comes_to_what_is_left_and_a_0_to_what_is_taken(fn, dtype):
    samples = [[x, y, z] for x in (0.0, -0.0, 0.25, -1.0) for y in (1.0, -1.0) for z in (1.0, 0.0)]
    found = []
    for numbers in ([1.0, 0.0], [1.0, 2.0], [0.25, -1.0]):
        found += check(fn, samples, numbers, dtype)
    kinds = {math.isnan(gradient[0]) for gradient in found}
    assert kinds == {True, False} or fn is beside_a_detach or fn is in_a_condition


@pytest.mark.parametrize("infinite", [inf, -inf, nan])
@pytest.mark.parametrize("fn", SHAPES, ids=lambda fn: fn.__name__)
def test_so_it_is_where_a_number_is_infinite_or_none(fn, infinite):
    samples = [[x, y, 0.5] for x in (infinite, 0.5) for y in (1.0, -1.0)]
    check(fn, samples, [1.0, 0.0])
    check(fn, [[0.5, y, z] for y in (1.0, -1.0) for z in (1.0, -1.0)], [1.0, infinite])


# --- matrices --------------------------------------------------------------------------------


def grid(parameters, rows, terms):
    """Weights and biases out of a flat list."""
    biases, weights = parameters[:rows], parameters[rows : rows + rows * terms]
    return [weights[k * terms : (k + 1) * terms] for k in range(rows)], biases


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spoilt", [inf, -inf, nan])
@pytest.mark.parametrize("terms", [4, 40])  # the wide ones are read sample by sample
@pytest.mark.parametrize("rows", [1, 3])
def test_a_layer_whose_neurons_are_taken_one_by_one(rows, terms, spoilt, dtype):
    """Each output has a condition of its own: a column of the product is taken for some rows."""

    def fn(x, *parameters):
        weights, biases = grid(parameters, rows, terms)
        zs = [mx.dot(w, x, b) for w, b in zip(weights, biases)]
        scaled = [z * s for z, s in zip(zs, [0.0, 1.0, 2.0])]
        return mx.mean([mx.where(c, z, b) for c, z, b in zip(x[1:], scaled, biases)])

    inside = [0.5] * (terms - 1 - rows)
    samples = [
        [0.5, *[1.0] * rows, *inside], [spoilt, *[1.0, -1.0, -1.0][:rows], *inside],
        [spoilt, *[-1.0] * rows, *inside],
    ]  # fmt: skip
    found = check(fn, samples, [1.0] * (rows + rows * terms), dtype)
    weights = np.array(found)[:, rows:].reshape(len(samples), rows, terms)
    assert np.isnan(weights[1, 0, 0]) and not np.isnan(weights[1, 1:]).any()
    assert not weights[2].any()


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("spoilt", [inf, nan])
def test_a_weight_that_is_infinite_brings_nothing_to_the_samples_that_leave_it(
    spoilt, together, rows
):
    def fn(x, *parameters):
        weights, biases = grid(parameters, rows, 3)
        inner = [u * p for u, p in zip(x, parameters[-3:])]
        zs = [mx.dot(w, inner, b) for w, b in zip(weights, biases)]
        conditions = [x[3]] * rows if together else x[3:]
        chosen = [mx.where(c, z * 0.0, b) for c, z, b in zip(conditions, zs, biases)]
        return mx.mean(chosen) + mx.ops.sum(inner)

    samples = [[0.5, 0.25, 0.75, *cs] for cs in ([1, 1, 1], [-1, 1, 1], [1, -1, 1], [-1, -1, -1])]
    found = check(fn, samples, [*[1.0] * rows, spoilt, *[1.0] * (rows * 3 + 2)])
    assert [math.isnan(gradient[-3]) for gradient in found] == [True, False, True, False]


@pytest.mark.parametrize("together", [False, True])
def test_roots_before_a_layer_have_the_ways_of_all_its_neurons(together):
    def fn(x, *parameters):
        weights, biases = grid(parameters, 2, 2)
        roots = [(u * p).sqrt() for u, p in zip(x, parameters[-2:])]
        zs = [mx.dot(w, roots, b) for w, b in zip(weights, biases)]
        conditions = [x[2]] * 2 if together else x[2:]
        return mx.mean([mx.where(c, z, b) for c, z, b in zip(conditions, zs, biases)])

    samples = [[0.0, 0.25, *cs] for cs in ([1, 1], [-1, 1], [1, -1], [-1, -1])]
    found = check(fn, samples, [1.0, 1.0, *[0.0] * 4, 1.0, 1.0])
    left = [True, False, True, False] if together else [True, True, True, False]
    assert [math.isnan(gradient[-2]) for gradient in found] == left


@pytest.mark.parametrize("windows", [1, 2])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("together", [False, True])
def test_weights_that_are_computed_have_the_ways_of_the_samples(together, rows, windows):
    """Roots of parameters as weights: 0 · inf in them counts if any sample's way leads there."""

    def fn(x, *parameters):
        weights = [[p.sqrt() for p in parameters[k : k + 2]] for k in range(0, 2 * rows, 2)]
        zs = [mx.dot(row, x[k : k + 2]) * 0.0 for row in weights for k in range(windows)]
        conditions = [x[3]] * len(zs) if together else [c for c in x[3:] for _ in range(windows)]
        return mx.mean([mx.where(c, z, parameters[-1]) for c, z in zip(conditions, zs)])

    samples = [[0.5, 0.25, 0.75, *cs] for cs in ([1, -1, -1], [-1, 1, -1], [-1, -1, -1])]
    found = check(fn, samples, [0.0] * 6 + [1.0])
    ways = {0: [0, 1, 2][:rows], 1: []} if together else {0: [0], 1: [1][: rows - 1]}
    for sample, gradient in enumerate(found):
        spoilt = [k for k in range(3) if math.isnan(gradient[2 * k])]
        assert spoilt == ways.get(sample, [])


def test_a_product_leaves_out_the_terms_that_nothing_came_to():
    a = np.array([[inf, 1.0, 2.0], [3.0, nan, 5.0]])
    b = np.array([[0.0, 0.0], [0.0, 7.0], [11.0, 13.0]])
    came = np.array([[True, False], [False, True], [True, True]])
    out = np.empty((2, 2))
    with np.errstate(all="ignore"):
        dot_where(a, b, came, out)
    assert np.array_equal(out, [[nan, 33.0], [55.0, nan]], equal_nan=True)
    column = np.empty(2)
    with np.errstate(all="ignore"):
        dot_where(a, b[:, 1], came[:, 1], column)
    assert np.array_equal(column, [33.0, nan], equal_nan=True)


# --- ops of one's own, source, random graphs ----------------------------------------------------


@pytest.mark.usefixtures("temporary_ops")
def test_an_op_of_ones_own_that_selects_by_infinite_partials_or_from_a_list():
    @rule(kind="gate", selects=True)
    def steep_choice(xp, x, y):
        on = x > y
        return (
            xp.where(on, xp.sqrt(x), y),
            xp.where(on, xp.divide(0.5, xp.sqrt(x)), 0.0),
            xp.where(on, 0.0, 1.0),
        )

    @rule(kind="gate", lists=("xs",), selects=True)
    def first_above(xp, xs):
        total, left, partials = 0.0, 1.0, []
        for x in xs:
            on = xp.where(x > 0.0, left, 0.0)
            total, left = xp.where(on > 0.0, x, total), left - on
            partials.append(on)
        return total, partials

    def steep(x, w, k):
        h = w * x[0]
        return mx.where(x[1], mx.ops.steep_choice(h, k), w) + h

    def listed(x, w, k):
        return mx.ops.first_above([(w * x[0]).log(), (k * x[1]).sqrt(), w * 3.0])

    samples = [[x, y, 1.0] for x in (0.0, 2.0, -1.0, inf) for y in (1.0, -1.0, 0.0)]
    for fn in (steep, listed):
        check(fn, samples, [1.0, -1.0])
        check(fn, samples, [1.0, 0.5])


def test_what_something_comes_to_all_over_is_asked_nothing():
    """Both branches read the net: its backward pass has no more lines than without the where."""
    net = mx.nn.MLP(2, [3, 1], activation="tanh", seed=1)

    def lines(fn):
        return record(fn, [0.5, 1.5]).source.split("def backward")[1]

    chosen = lines(lambda x: [mx.where(x[0], z, 3.0 * z) for z in [net(x)]][0])
    assert "dot_where" not in chosen and chosen.count("where(") <= 2
    assert "dot_where" in lines(lambda x: mx.where(x[0], net(x), 3.0))


SPECIAL = (0.0, 0.0, 0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, inf, -inf, nan)
OPS = [
    *[(3, mx.where)] * 3, (2, lambda a, b: mx.where(a, b, 3.0)),
    (3, lambda a, b, c: mx.where(a, b.sqrt(), c.log())),
    (3, lambda a, b, c: mx.where(a, mx.where(b, c.sqrt(), a * b), c)),
    (1, lambda a: a.sqrt()), (1, lambda a: a.log()), (1, lambda a: a**0.25),
    (2, lambda a, b: abs(a) ** b), (2, lambda a, b: a / b), (2, lambda a, b: a * b),
    (2, lambda a, b: a + b), (1, lambda a: a * 0.0), (2, mx.maximum), (2, mx.minimum),
    (1, lambda a: a.clamp(-0.5, 0.5)), (1, lambda a: a.relu()), (1, lambda a: a.tanh()),
    (1, lambda a: a.detach()), (2, mx.equal), (3, lambda *xs: mx.logsumexp(xs)),
    (3, lambda a, b, c: mx.dot([a, b], [b, c], a)), (3, lambda *xs: mx.ops.sum(xs)),
]  # fmt: skip


def random_graph(dice):
    """A function of a sample and parameters, with layers, and the numbers of both."""
    inputs, count, rows = dice.randint(1, 3), dice.randint(1, 4), dice.choice([0, 0, 2, 3])
    parameters = count + rows * (inputs + 1)
    start, program, read = inputs + count + 2 * rows, [], set()
    for n in range(start, start + dice.randint(2, 14)):
        arity, op = dice.choice(OPS)
        operands = [dice.randrange(max(0, n - dice.choice([6, n])), n) for _ in range(arity)]
        program.append((op, operands))
        read |= {*operands}
    root, chosen, c = dice.random() < 0.3, dice.random() < 0.5, dice.randrange(inputs + count)

    def fn(x, *ps):
        nodes = [*x, *ps[:count]]
        weights, biases = grid(ps[count:], rows, inputs)
        zs = [mx.dot(w, [*x], b) for w, b in zip(weights, biases)]
        acts = [z.sqrt() if root else z.relu() for z in zs]
        if chosen:
            acts = [mx.where(z if k == 1 else nodes[c], a, 3.0 * z)
                    for k, (a, z) in enumerate(zip(acts, zs))]  # fmt: skip
        nodes += zs + acts
        for op, operands in program:
            nodes.append(op(*[nodes[i] for i in operands]))
        unread = [y for i, y in enumerate(nodes[:-1]) if i >= inputs + count and i not in read]
        return mx.ops.sum([nodes[-1], *unread])

    return fn, inputs, parameters


def test_random_graphs_at_0_infinities_and_nan(many):
    """Each number of each gradient is the eager one, a nan where that has one and nowhere else."""
    compared = {True: 0, False: 0}
    for seed in range(many(80, 6000)):
        dice = random.Random(seed)
        fn, inputs, count = random_graph(dice)
        ps = [Value(dice.choice([1.0, 0.5, 2.0, -1.0])) for _ in range(count)]
        dtype = DTYPES[seed % 4 == 0]
        replay = record(lambda x, fn=fn, ps=ps: fn(x, *ps), [0.75] * inputs, dtype=dtype)
        for _ in range(3):
            for p in ps:
                p.data = dice.choice(SPECIAL) if dice.random() < 0.5 else 1.0
            x = [dice.choice(SPECIAL) for _ in range(inputs)]
            expected, size = swept(fn, x, ps)
            if size > (1e7 if dtype == "float32" else 1e100):
                continue
            close = {"rel": 1e-4, "abs": 1e-4 * size} if dtype == "float32" else {"rel": 1e-9}
            found = replayed(replay, [x, x], ps)
            # the sign of a 0 that a product adds up is BLAS's
            found, wanted = (
                [abs(g) if math.isinf(g) else g for g in of] for of in (found, expected)
            )
            assert found == pytest.approx(wanted, nan_ok=True, **close), (seed, x, ps)
            compared[any(map(math.isnan, expected))] += 1
    assert min(compared.values()) > 100
