"""The path sums of a batch: those of the scalar graph, at every node of every row."""

import math
import random

import numpy as np
import pytest

import microgradx as mx
from microgradx.engine import Value, apply, rule
from microgradx.explain.extended import Extended
from microgradx.explain.factors import KINDS
from microgradx.explain.paths import LN10, Paths
from microgradx.replay import lift, record
from microgradx.replay.flows import EDGES
from microgradx.replay.totals import over_rows
from microgradx.replay.wide import wide
from tests.replay.nets import (
    EXACT,
    NETS,
    SMOOTH,
    STYLES,
    batch_normalised,
    data,
    mlp,
    random_graph,
    squared,
    styled,
    values,
)  # fmt: skip

inf = math.inf


def at(x, i, k):
    """A number of an array of wide ones."""
    return Extended(float(x.mantissa[i, k]), int(x.exponent[i, k]))


def off(x, y, size):
    """How far two wide numbers are apart, as a share of a size."""
    return abs((x + Extended(-y.mantissa, y.exponent)) / size) if size else float(bool(x or y))


def paths_of(replay, k):
    """By id, the nodes of a row as scalars, and the path sums of that graph."""
    space, inputs = vars(replay._latest), replay._arrays.inputs
    rows = [space[x.variable][k] if replay._arrays.tail else space[x.variable] for x in inputs]
    nodes = replay._tape.play(y for row in rows for y in np.ravel(row).tolist())
    return nodes, Paths(nodes[replay._tape.outputs[0]])


def check(replay, batch=None, rows=(0, -1), tolerance=1e-12, kinds=True):
    """That every node has the sums of the scalar graph in some rows of a batch."""
    with np.errstate(all="ignore"):
        if batch is not None:
            replay.load(*[np.asarray(x, float) for x in batch])
        flows = replay.sums()._at(np.arange(len(replay._tape.values)))
        budget = flows.budget
    norm = flows.norm
    for k in rows:
        nodes, paths = paths_of(replay, k)
        for i, node in enumerate(nodes):
            j = paths.index.get(node)
            g, R = at(flows.g, i, k), at(norm, i, k)
            if j is None:  # nothing leads to the loss
                assert not g and not R
                continue
            wide_g, wide_R = paths.wide(j), paths.norm(j)
            assert math.isfinite(g.mantissa) == math.isfinite(wide_g.mantissa), (i, node, g)
            assert math.isfinite(R.mantissa) == math.isfinite(wide_R.mantissa), (i, node, R)
            if math.isfinite(g.mantissa):
                assert off(g, wide_g, paths.mass(j)) <= tolerance, (i, node, g, wide_g)
            if not math.isfinite(R.mantissa):
                continue
            assert bool(R) == bool(wide_R), (i, node)
            assert off(R, wide_R, wide_R) <= tolerance, (i, node, R, wide_R)
            size = tolerance * (1 + abs(wide_R.decades) if R else 1)
            assert abs(flows.entropy[i, k] - paths.entropies[j]) <= size, (i, node)
            for kind in KINDS if kinds else ():
                mine = budget[kind][i, k] if kind in budget else 0.0
                theirs = paths.budgets[kind][j] / LN10 if kind in paths.budgets else 0.0
                if not math.isnan(theirs):  # a path of no share that is not finite
                    assert abs(mine - theirs) <= size, (i, node, kind, mine, theirs)


@pytest.mark.parametrize("name", NETS)
def test_every_node_of_every_kind_of_net(name):
    net = NETS[name]()
    check(record(net.fn, *net.example), net.batch, range(len(net.batch[0])))
    narrow = record(net.fn, *net.example, dtype="float32")
    check(narrow, [x.astype("float32") for x in net.batch], tolerance=1e-3)


@pytest.mark.parametrize("neuron", STYLES)
def test_however_its_loops_are_written(neuron):
    net = styled(neuron)
    check(record(net.fn, *net.example), net.batch)


@pytest.mark.some(1)
@pytest.mark.parametrize("ops", [EXACT, SMOOTH], ids=["exact", "smooth"])
def test_every_node_of_random_graphs(ops):
    for seed in range(60):
        net = random_graph(seed, ops)
        check(record(net.fn, *net.example), net.batch, range(4))


RAW = SMOOTH | {
    "where": lambda a, b, k, c, d: mx.where(a, b, c),
    "where_log": lambda a, b, k, c, d: mx.where(a, b.log(), c * b),
    "log": lambda a, *_: a.log(),
    "div": lambda a, b, *_: a / b,
    "sqrt": lambda a, *_: a.sqrt(),
    "clamp": lambda a, b, k, c, d: mx.clamp(a, b, c),
    "dot": lambda a, b, k, c, d: mx.dot([a, b, a, k], [c, d, d, b]),
}


def test_what_is_not_finite_and_what_a_where_leaves():
    numbers = [0.0, 1e200, -1e-200, inf, 700.0, 1e5]
    for seed in range(80):
        net = random_graph(seed, RAW)
        (batch,) = net.batch
        batch[3] = random.Random(seed).choices(numbers, k=len(batch[3]))
        check(record(net.fn, *net.example), net.batch, range(4))


# --- what one might get wrong --------------------------------------------------------------------


def sums_of(fn, *numbers):
    """The path sums of a function's parameters, which are these numbers; each a single one."""
    ps = [Value(x, f"p{k}") for k, x in enumerate(numbers)]
    replay = record(lambda x: fn(*ps) + 0.0 * x, 1.0, parameters=ps)
    replay([1.0, 2.0])
    return replay.sums().of(ps)


@pytest.mark.parametrize(
    "fn, g, norm, entropy",
    [
        (lambda x: x + x, 2.0, math.sqrt(2.0), math.log(2.0)),
        (lambda x: x * x, 6.0, 3.0 * math.sqrt(2.0), math.log(2.0)),
        (lambda x: x**2, 6.0, 6.0, 0.0),
        (lambda x: mx.dot([x, x, x], [x, 1.0, 2.0]), 9.0, math.sqrt(23.0), None),
        (lambda x: x - x, 0.0, math.sqrt(2.0), math.log(2.0)),
        (lambda x: mx.sum([x] * 9), 9.0, 3.0, math.log(9.0)),
        (lambda x: (x * -1e-200) * 1e-200, None, None, 0.0),
        (lambda x: x.detach() + x, 1.0, 1.0, 0.0),
        (lambda x: x, 1.0, 1.0, 0.0),
    ],
)
def test_parallel_edges_are_apart(fn, g, norm, entropy):
    flows = sums_of(fn, 3.0)
    if g is not None:
        assert flows.g.floats == pytest.approx(np.full((1, 2), g), rel=1e-14, abs=1e-14)
        assert flows.norm.floats == pytest.approx(np.full((1, 2), norm), rel=1e-14)
    else:
        assert flows.norm.decades == pytest.approx(np.full((1, 2), -400.0), rel=1e-14)
        assert flows.g.mantissa.max() < 0 and not flows.g.floats.any()
    if entropy is not None:
        assert flows.entropy == pytest.approx(np.full((1, 2), entropy), rel=1e-14, abs=1e-15)


def test_nodes_that_are_computed_once_have_sums_of_their_own():
    w = [Value(x, f"w{k}") for k, x in enumerate((0.5, -1.0, 2.0, 0.1))]

    def fn(x):
        h = [a * x for a in w]
        mean = mx.mean(h)
        return mx.sum([(k + 1.0) * (a + (-mean)).exp() for k, a in enumerate(h)])

    replay = record(fn, 1.0)
    one = replay._arrays.one
    assert (one != np.arange(len(one))).any()
    check(replay, ([0.3, -0.7],))
    negatives = [x for x in replay._tape.values if x.op == "neg"]
    replay([0.3, -0.7])
    adjoints = replay.sums().of(negatives).g.floats
    assert len(negatives) == 4 and len({*adjoints[:, 0].tolist()}) == 4


def test_a_batch_that_is_unrolled():
    loss, inputs, _, X = batch_normalised()
    check(lift(loss, inputs=inputs), [X], [0])
    model = mlp(4, 5, 3, activation="tanh")
    xs = values(data(7, 4))
    labelled = mx.mean([(a - 1.0) ** 2 for x in xs for a in model(x)])
    check(lift(labelled, inputs=xs), [data(7, 4)], [0])  # the samples share the weights
    shared = values(data(4))
    both = [[a + b for a, b in zip(x, shared)] for x in xs]
    loss = mx.mean([(a - 1.0) ** 2 for x in both for a in model(x)])
    check(lift(loss, inputs=[*xs, shared]), [np.vstack([data(7, 4), data(4)])], [0])


def test_an_input_that_several_samples_of_a_product_read():
    model = mlp(4, 5, 1)
    x = values(data(4))
    other = mlp(4, 5, 1, seed=1)
    loss = mx.mean([(net(x) - 1.0) ** 2 for net in (model, other, model)])
    check(lift(loss, inputs=[x]), [data(1, 4)], [0])


def test_inputs_of_a_product_that_some_samples_share():
    model, shared, own = mlp(4, 5, 1, activation="tanh"), values(data(3)), values(data(7))
    loss = mx.mean([(model([*shared, x]) - 1.0) ** 2 for x in own])
    check(lift(loss, inputs=[*shared, *own]), [data(10)], [0])


def test_samples_that_are_terms_of_a_sum():
    w, xs = Value(0.7, "w"), values(data(5))
    check(lift(mx.sum([w * x for x in xs]) * 0.5, inputs=xs), [data(5)], [0])
    pairs = values(data(5, 2))
    loss = mx.mean([(w * a) * (b * w) for a, b in pairs])
    check(lift(loss, inputs=pairs), [data(5, 2)], [0])


def test_a_layer_that_ends_in_the_midst_of_a_sum():
    w = [Value(x, f"layers.0.weight[0,{k}]") for k, x in enumerate((0.5, -1.0, 2.0, 0.1))]
    v = Value(0.3, "layers.1.weight[0,0]")

    def fn(x):
        z = sum((a * b for a, b in zip(w, x)), 0.0)
        z.label = "layers.0[0]"
        y = v * x[0]
        return z + (-y) + x[1] * w[0]

    replay = record(fn, [1.0, 2.0, 3.0, 4.0])
    check(replay, (data(3, 4),), range(3))


@pytest.mark.some(1)
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_hundreds_of_layers(activation, many):
    model = mlp(3, *[4] * many(100, 200), 2, activation=activation)
    replay = record(lambda x, t: squared(model(x), t), [0.1] * 3, [1.0, 2.0])
    # by then tanh has made much of the rounding of its first layers
    tolerance = 1e-9 if activation == "tanh" else 1e-12
    check(replay, (data(4, 3), data(4, 2)), range(2), tolerance)


def test_a_chain_of_sigmoids_below_all_floats():
    w = Value(1.0, "w")

    def fn(x):
        for _ in range(560):
            x = (w * x).sigmoid() - 0.5
        return x

    replay = record(fn, 0.0)
    replay([0.0, 0.0])
    flows = replay.sums()["x"]
    decades = 560 * math.log10(0.25)
    assert flows.norm.decades == pytest.approx(np.full((1, 2), decades), rel=1e-13)
    assert not flows.g.floats.any() and flows.g.mantissa.all()
    assert flows.budget["sigmoid ceiling"] == pytest.approx(np.full((1, 2), decades), rel=1e-13)


@pytest.mark.parametrize("seed", range(4))
def test_numbers_of_all_sizes_side_by_side(seed):
    model = mlp(3, 6, 6, 1, activation="sigmoid")
    rng = random.Random(seed)
    for p in model.parameters():
        p.data = rng.choice([0.0, 1e-200, 1.0, 1e150, -1e-120, 3.0])
    replay = record(lambda x, t: (model(x) - t) ** 2, [0.1] * 3, 1.0)
    check(replay, (data(6, 3), data(6)), range(6))


def test_saturated_units_beside_others():
    model = mlp(3, 8, 8, 8, 1, activation="sigmoid")
    replay = record(lambda x, t: (model(x) - t) ** 2, [0.1] * 3, 1.0)
    X = data(6, 3) * 10.0 ** np.arange(-1, 5)[:, None]
    check(replay, (X, data(6)), range(6))


def matrix(numbers):
    return [[Value(x, f"W[{k},{j}]") for j, x in enumerate(row)] for k, row in enumerate(numbers)]


def test_a_product_adds_up_what_its_scale_would_lose(monkeypatch):
    W = matrix([[1e-180, 1.0], [3e-170, 0.0], [1.0, 2.0]])
    v = [Value(x, f"v[{k}]") for k, x in enumerate((2.0, 1e-175, 1e-300))]

    def fn(x):
        h = [a.sin() for a in x]
        z = [a * mx.dot(row, h) for a, row in zip(v, W)]
        return z[0] * z[0] + mx.sum(z)

    replay = record(fn, [1.0, 2.0])
    assert len(replay._arrays.products) == 1
    check(replay, (data(3, 2),), range(3))
    monkeypatch.setattr("microgradx.replay.flows.EDGES", 1)
    check(replay, (data(3, 2),), range(3))


@pytest.mark.parametrize("small", [1e-150, 1e-155, 1e-158, 1e-161, 1e-162, 1e-170, 1e-300])
def test_a_product_that_is_small_in_one_input(small):
    W = matrix([[x, x * small] for x in (1.0, -3.0, 0.7)])

    def fn(x):
        h = [a.tanh() for a in x]
        return mx.sum([mx.dot(row, h).tanh() for row in W])

    replay = record(fn, [1.0, 2.0])
    assert len(replay._arrays.products) == 1
    check(replay, (data(3, 2),), range(3))


def test_a_product_of_constants():
    w = [Value(x, f"w{k}") for k, x in enumerate((0.3, -0.7, 0.2))]
    fixed = [[0.5, 2.0, 0.0], [1.5, -1.0, 3.0], [0.1, 0.2, 0.3]]

    def fn(x):
        h = [(a * b).tanh() for a, b in zip(w, x)]
        return mx.sum([mx.dot(row, h).sin() for row in fixed])

    replay = record(fn, [1.0, 2.0, 3.0])
    assert len(replay._arrays.products) == 1
    check(replay, (data(3, 3),), range(3))


def test_a_product_with_infinities_and_what_is_left():
    W, v = matrix([[0.3, 0.0, 0.4], [0.4, 0.3, -0.7]]), Value(0.5, "v")

    def fn(x):
        h = [a.log() for a in x[:3]]
        z = [mx.dot(row, h) for row in W]
        left = mx.where(x[3], mx.sum(z), x[1] * v)
        return left + z[0].sqrt() * x[4]

    batch = np.array([
        [0.0, 1.0, 1.0, -1.0, 0.0], [0.0, 1.0, 2.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0],
        [1.0, 1.0, 1.0, -1.0, 1.0], [2.0, 0.5, 0.1, 1.0, 1.0], [1.0, 1.0, 1.0, -1.0, 0.0],
        [0.0, 0.0, 1.0, -1.0, 1.0],
    ])  # fmt: skip
    replay = record(fn, [1.0, 2.0, 3.0, 4.0, 5.0])
    assert len(replay._arrays.products) == 1
    check(replay, (batch,), range(7))

    def below(x):
        h = [(a * 2.0).log() for a in x[:3]]
        z = [mx.dot(row, h) for row in W]
        return mx.where(x[3], mx.sum(z), x[1] * v)

    replay = record(below, [1.0, 2.0, 3.0, 4.0, 5.0])
    check(replay, (batch,), range(7))


def test_zeros_are_counted():
    model = mlp(3, 6, 6, 2)
    for p in model.parameters():
        p.data *= 1e-150
    replay = record(lambda x: mx.sum(model(x)) * 1e-300, [0.1] * 3)
    X = data(40, 3)
    check(replay, (X,), range(0, 40, 7))
    closed = replay.sums().of(model.parameters()).squares.mantissa == 0
    assert 0.3 < closed.mean() < 0.9
    compare(replay.sums().totals(), replay.sums().of(replay.parameters))


def test_a_loss_that_is_a_leaf():
    w = Value(0.3, "w")
    replay = record(lambda: w)
    replay()
    assert replay.sums().of([w, w]).g.floats.tolist() == [[1.0], [1.0]]
    replay = record(lambda x: x[1], [1.0, 2.0])
    replay.load(np.array([[1.0, 2.0]]))
    sums = replay.sums()
    [inputs] = sums.arrays()
    x = inputs.nodes
    for asked, g in ((x, [0.0, 1.0]), (x[1:], [1.0]), (x[:1], [0.0]), (x[::-1] * 2, [1, 0] * 2)):
        assert sums.of(asked).g.floats[:, 0].tolist() == g


def test_ops_of_ones_own(temporary_ops):
    @rule(kind="product", lists=("xs", "ys"))
    def own_dot(xp, xs, ys, shift):
        total = shift
        for x, y in zip(xs, ys):
            total = total + x * y
        return total, ys, xs, 1.0

    @rule(kind="singular", lists=("xs",))
    def own_scaled(xp, t, xs):
        total = 0.0
        for x in xs:
            total = total + x
        return t * total, total, [t for _ in xs]

    @rule(kind="saturating", ceiling=0.5)
    def own_half(xp, x):
        return 0.5 * xp.sin(x), 0.5 * xp.cos(x)

    ps = [Value(x, f"w{k}") for k, x in enumerate((0.5, -1.0, 2.0))]

    def fn(x):
        y = apply(own_dot, ps, [x[0], ps[0], 2.0], x[0])
        z = apply(own_scaled, y, [x[0], ps[1], 1.0, y])
        return apply(own_half, z) * ps[2] + apply(own_half, y).tanh()

    check(record(fn, [1.0, 2.0]), (data(5, 2),), range(5))


def test_kinds_of_powers_by_their_exponents():
    w = Value(0.5, "layers.0.weight[0,0]")

    def fn(x):
        z = w * x[0]
        z.label = "layers.0[0].z"
        y = (z * z + 1.0) ** x[1] * (x[0] * x[0] + 1.0) ** 0.5
        y.label = "layers.0[0]"
        return y ** x[2] / 3.0

    batch = data(6, 3)
    batch[:, 1] = [0.3, 2.0, 1.0, -1.0, 0.0, 3.0]
    check(record(fn, [1.0, 2.0, 1.5]), (batch,), range(6))


def test_a_norm():
    net = mx.nn.LayerNorm(4)
    first, last = mx.nn.Layer(3, 4, seed=1), mx.nn.Layer(4, 1, seed=2)
    replay = record(lambda x: last(net(first(x))), [0.1, 0.2, 0.3])
    check(replay, (data(5, 3),), range(5))
    replay.load(data(5, 3))
    assert replay.sums().of(first.parameters()).budget["norm"].any()


# --- the walk, and the totals --------------------------------------------------------------------


def mlp_of_digits():
    model = mlp(5, 6, 4, 3)

    def fn(x, t):
        z = model(x)
        return mx.logsumexp(z) - mx.dot(t, z)

    replay = record(fn, [0.1] * 5, [1.0, 0.0, 0.0])
    return replay, data(50, 5), np.eye(3)[np.arange(50) % 3]


def test_the_walk_over_arrays():
    replay, X, T = mlp_of_digits()
    replay(X, T)
    known = set()
    arrays = {x.name: x for x in replay.arrays()}
    for x in arrays.values():
        assert set(x.operands) <= known | {"p"}
        known.add(x.name)
    nodes, paths = paths_of(replay, 7)
    by_value = dict(zip(replay._tape.values, nodes))
    for x in arrays.values():
        assert x.labels == [by_value[y].label for y in x.nodes]
        assert not x.op or {y.op for y in x.nodes} == {x.op}
        numbers = np.broadcast_to(x.values, (len(x.nodes), 50))[:, 7]
        assert numbers == pytest.approx([by_value[y].data for y in x.nodes], rel=1e-13)
        expected = [paths.g[paths.index[by_value[y]]] for y in x.nodes]
        assert x.adjoints[:, 7] == pytest.approx(expected, rel=1e-11, abs=1e-15)
    hidden = next(x for x in arrays.values() if x.op == "relu")
    assert sorted(hidden.labels) == [f"layers.0[{k}]" for k in range(6)]
    assert [arrays[name].op for name in hidden.operands] == ["dot"]
    assert [x.operands for x in arrays.values() if not x.op] == [(), ()]


@pytest.mark.parametrize("name", NETS)
def test_the_walk_meets_no_node_twice(name):
    net = NETS[name]()
    replay = record(net.fn, *net.example)
    replay(*net.batch)
    met = [node for x in replay.arrays() for node in x.nodes]
    assert len(met) == len({*met}) > 3


def test_the_mean_of_the_rows_is_the_gradient():
    for name in NETS:
        net = NETS[name]()
        replay = record(net.fn, *net.example)
        replay(*net.batch)
        g = replay.sums().of(replay.parameters).g.floats.mean(axis=1)
        assert g == pytest.approx(replay.gradient, rel=1e-11, abs=1e-14), name


def compare(totals, flows):
    reached = (flows.squares.mantissa != 0) & np.isfinite(flows.squares.mantissa)
    moved = reached & (flows.g.mantissa != 0) & np.isfinite(flows.g.mantissa)
    with np.errstate(all="ignore"):
        norms, decades = flows.norm.decades, np.where(moved, flows.g.decades, -inf)
        top = np.maximum(decades.max(1, keepdims=True), -1e9)
        squares = 2 * top[:, 0] + np.log10((10.0 ** (2 * (decades - top))).sum(1))
        found = np.maximum(totals.squares.decades, -1e9)
    assert found == pytest.approx(np.maximum(squares, -1e9), rel=1e-12, abs=1e-11)
    assert (totals.reached == reached.sum(1)).all() and (totals.moved == moved.sum(1)).all()
    close = {"rel": 1e-12, "abs": 1e-12}
    assert totals.norms == pytest.approx(np.where(reached, norms, 0.0).sum(1), **close)
    assert totals.decades == pytest.approx(np.where(moved, decades, 0.0).sum(1), **close)
    assert {*totals.budget} >= {kind for kind, x in flows.budget.items() if x[reached].any()}
    for kind, x in totals.budget.items():
        expected = np.where(reached, flows.budget.get(kind, 0.0), 0.0).sum(1)
        assert x == pytest.approx(expected, rel=1e-12, abs=1e-11), kind
    whole = sum(totals.budget.values())
    assert not totals.budget or whole == pytest.approx(totals.norms, rel=1e-12, abs=1e-11)


@pytest.mark.parametrize("name", NETS)
def test_totals_are_those_of_the_rows(name):
    net = NETS[name]()
    replay = record(net.fn, *net.example)
    replay(*net.batch)
    sums = replay.sums()
    compare(sums.totals(), sums.of(replay.parameters))


@pytest.mark.parametrize("name", NETS)
def test_which_parameters_move(name):
    net = NETS[name]()
    replay = record(net.fn, *net.example)
    replay(*net.batch)
    sums = replay.sums()
    moves = sums.totals().moved > 0
    assert np.array_equal(sums.moves(np.zeros(len(moves), bool)), moves)
    assert np.array_equal(sums.moves(replay.gradient != 0), moves | (replay.gradient != 0))


def test_totals_of_batches_add_up():
    replay, X, T = mlp_of_digits()
    X[X > 1] = 0.0
    replay(X, T)
    whole = replay.sums()
    g = whole.of(replay.parameters).g.floats
    assert whole.totals().rms == pytest.approx(np.sqrt((g**2).mean(1)), rel=1e-12)
    assert replay._plans[False].rest.size == 6 + 4 + 3  # the biases: weights go by matrices
    replay(X[:25], T[:25])
    sums = replay.sums()
    replay(X[25:], T[25:])
    total = sums.totals() + replay.sums().totals()  # the first are still those of their batch
    assert total.rows == 50 and whole.n == 50
    compare(total, whole.of(replay.parameters))


def test_totals_leave_out_what_is_not_finite():
    for seed in range(10):
        net = random_graph(seed, RAW)
        (batch,) = net.batch
        batch[3] = random.Random(seed).choices([0.0, inf, 1e200], k=len(batch[3]))
        replay = record(net.fn, *net.example)
        with np.errstate(all="ignore"):
            replay.load(batch)
        compare(replay.sums().totals(), replay.sums().of(replay.parameters))
    w = Value(0.5, "w")
    replay = record(lambda x: w * x.log(), 1.0)
    replay([0.0, 2.0, 1.0])
    totals = replay.sums().totals()
    assert totals.reached == totals.moved == 1 and totals.rows == 3
    compare(totals, replay.sums().of([w]))


def test_totals_go_block_by_block(monkeypatch):
    net = NETS["convolution"]()
    replay = record(net.fn, *net.example)
    replay(*net.batch)
    sums = replay.sums()
    blocks, counts = [], []
    monkeypatch.setattr(
        "microgradx.replay.sums.over_rows", lambda flows: blocks.append(1) or over_rows(flows)
    )
    for size in (1, 400, EDGES):
        monkeypatch.setattr("microgradx.replay.sums.EDGES", size)
        blocks.clear()
        compare(sums.totals(), sums.of(replay.parameters))
        counts.append(len(blocks))
    assert counts[0] > counts[1] > counts[2] == 1


def test_wide_numbers():
    x = wide(np.array([1e-300, -2.0, 0.0, inf, 5e-324]), -5000)
    with np.errstate(divide="ignore"):
        found = x.decades
    expected = [-300 - 5000 * math.log10(2), math.log10(2) * -4999, -inf, inf]
    assert found[:4] == pytest.approx(expected, rel=1e-15)
    assert not x.floats[:3].any() and x.floats[3] == inf


def test_bad_input():
    w = [Value(1.0, "w0"), Value(2.0, "w1")]
    replay = record(lambda x: [a * x for a in w], 1.0)
    replay.forward([1.0])
    with pytest.raises(TypeError, match="a loss is one"):
        replay.sums()
    replay = record(lambda x: w[0] * x, 1.0)
    with pytest.raises(ValueError, match="no batch yet"):
        replay.sums()
    replay([1.0])
    with pytest.raises(KeyError):
        replay.sums().of(w)
    with pytest.raises(KeyError):
        replay.sums()["y"]


# --- by layer -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_layers_add_up_to_the_whole(name):
    net = NETS[name]()
    replay = record(net.fn, *net.example)
    replay(*net.batch)
    plain, split = replay.sums(), replay.sums(by_layer=True)
    for one, other in zip(plain.arrays(), split.arrays()):
        flows, parted = one.flows, other.flows
        assert np.allclose(flows.entropy, parted.entropy, rtol=1e-13, atol=1e-13)
        one, other = flows.g.floats, parted.g.floats
        assert np.allclose(one, other, rtol=1e-11, atol=1e-13, equal_nan=True)
        budget, again = flows.budget, parted.budget
        for kind in {*budget, *again}:
            mine, whole = (x.get(kind, 0.0) + 0.0 * flows.entropy for x in (again, budget))
            assert np.allclose(mine, whole, rtol=1e-12, atol=1e-12, equal_nan=True), kind
    totals = split.totals()
    for kind, x in plain.totals().budget.items():
        assert np.allclose(totals.budget[kind], x, rtol=1e-9, atol=1e-9), kind


def test_the_weights_of_a_layer_are_credited_to_it():
    model = mx.nn.MLP(3, [4, 5, 2, 1], activation="tanh", seed=0)
    X, y = np.random.default_rng(0).normal(size=(6, 3)), np.zeros(6)
    replay = record(lambda x, t: (model(x) - t) ** 2, X[0], 0.0)
    replay.load(X, y)
    sums = replay.sums(by_layer=True)
    assert sums.layers[0] == "" and {*sums.layers[1:]} == {f"layers.{k}" for k in range(4)}
    for nodes in sums.arrays():  # node by node, against the same net with one layer's edges scaled
        if nodes.labels[0] != "layers.0[0].z":
            continue
        ledger = {(kind, sums.layers[k]): x for (kind, k), x in nodes.flows.ledger.items()}
        parts = {f"layers.{k}" for k in range(4)}
        assert {layer for kind, layer in ledger if kind == "saturation"} == parts - {"layers.3"}
        assert {layer for kind, layer in ledger if kind == "weights"} == parts - {"layers.0"}
        assert {layer for kind, layer in ledger if kind == "loss"} == {""}
        whole = sum(ledger.values())
        assert np.allclose(whole, nodes.flows.norm.decades, atol=1e-13)


@pytest.mark.parametrize("scaled", (1, 2, 3))
def test_a_layer_of_weights_that_is_scaled_moves_its_own_part_alone(scaled):
    found = []
    for factor in (1.0, 8.0):
        model = mx.nn.MLP(3, [4, 5, 2, 1], activation=None, seed=0)
        for neuron in model.layers[scaled].neurons:
            for w in neuron.weight:
                w.data *= factor
        replay = record(lambda x, t, model=model: t * model(x), [1.0, 2.0, 3.0], 1.0)
        replay.load(np.array([[1.0, -2.0, 0.5]]), np.array([2.0]))
        sums = replay.sums(by_layer=True)
        [z] = [n for n in sums.arrays() if "layers.0[0]" in n.labels]
        found.append({(kind, sums.layers[k]): x for (kind, k), x in z.flows.ledger.items()})
    before, after = found
    assert before.keys() == after.keys()
    for key, x in before.items():
        more = math.log10(8.0) if key == ("weights", f"layers.{scaled}") else 0.0
        assert np.allclose(after[key], x + more, atol=1e-13), key


def test_the_numbers_of_any_node():
    """Of those in the midst of a sum too, which no array has."""
    w, kept = Value(0.5, "w"), []

    def fn(x, t):
        a = w * x[0]
        b = a + x[1]
        c = b + 2.0 * x[1] + x[0]
        kept.append([a, b, c])
        return (c - t) ** 2

    replay = record(fn, [1.0, 2.0], 0.0)
    X = data(7, 2)
    replay.load(X, np.zeros(7))
    a = 0.5 * X[:, 0]
    wanted = np.array([a, a + X[:, 1], a + 3.0 * X[:, 1] + X[:, 0]])
    nodes = kept[0]
    assert np.allclose(replay.values_of(nodes), wanted, rtol=1e-14)
    assert np.allclose(replay.sums().values_of(nodes), wanted, rtol=1e-14)
    assert replay.values_of([replay.output]).shape == (1, 7)
    with pytest.raises(KeyError, match="no node that was recorded"):
        replay.values_of([Value(1.0)])
