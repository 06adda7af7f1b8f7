"""Path sums, against the enumeration of every path."""

import math
import random
from fractions import Fraction

import pytest

import microgradx as mx
from microgradx import Value, dot, maximum
from microgradx.engine import order
from microgradx.explain.extended import Extended, extended
from microgradx.explain.factors import KINDS, loss_part, partner
from microgradx.explain.paths import Paths
from microgradx.explain.tangents import Tangents


def random_graph(seed, ops=12):
    """A small graph with shared nodes, repeated operands, rows, gates and zeros."""
    rng = random.Random(seed)
    nodes = [Value(rng.choice([-1.5, -0.5, 0.0, 0.5, 1.25, 2.0]), label) for label in "xwab"]
    for _ in range(ops):
        x, y = rng.choice(nodes), rng.choice(nodes)
        op = rng.randrange(8)
        if op == 0:
            node = x + y
        elif op == 1:
            node = x * y
        elif op == 2:
            node = x.relu()
        elif op == 3:
            node = x.tanh()
        elif op == 4:
            node = x.sigmoid()
        elif op == 5:
            node = maximum(x, y)
        elif op == 6:
            node = dot([x, y, 0.5], [y, nodes[0], x], x)
        else:
            node = x * rng.choice([0.5, -2.0])
        nodes.append(node)
    return nodes[-1] + nodes[-2] * nodes[-3]


def every_path(output):
    """For each node, the lists of edges that lead from it to the output."""
    paths = {output: [[]]}
    for node in order(output):
        for edge in node.edges:
            paths.setdefault(edge.input, []).extend([edge, *rest] for rest in paths[node])
    return paths


def product(path):
    return math.prod((Fraction(edge.partial) for edge in path), start=Fraction(1))


GRAPHS = range(1000)


def few_paths(seed):
    output = random_graph(seed)
    paths = every_path(output)
    return (output, paths) if sum(map(len, paths.values())) < 3000 else None


@pytest.mark.some(2)
@pytest.mark.parametrize("seed", range(0, 1000, 100))
def test_sums_equal_the_enumeration(seed):
    checked = 0
    for graph in filter(None, map(few_paths, range(seed, seed + 100))):
        output, paths = graph
        sums = Paths(output)
        for node, ways in paths.items():
            i = sums.index[node]
            terms = [product(way) for way in ways]
            g, mass = sum(terms), sum(map(abs, terms))
            square = sum(term * term for term in terms)
            assert float(sums.mass(i)) == pytest.approx(float(mass), rel=1e-13, abs=0)
            assert float(sums.norm(i)) == pytest.approx(math.sqrt(square), rel=1e-13, abs=0)
            assert bool(sums.squares[i]) == bool(square)
            bound = (sums.roundings[i] + 1) * 2.0**-52 * float(mass)
            assert abs(sums.g[i] - g) <= bound and abs(float(sums.wide(i)) - g) <= bound
            assert sums.gates[i] == min(sum(e.partial == 0 for e in way) for way in ways)
            if mass:
                check_distribution(sums, paths, i, ways, terms)
            checked += 1
    assert checked > 1000


def factors(sums, edge):
    """The parts of an edge's factor: ln by kind, adding up to ln|d|."""
    ln, kind, rule = math.log(abs(edge.partial)), sums.kind(edge), edge.node.rule
    if ln and kind == "saturation" and rule.ceiling < 1:
        peak = math.log(rule.ceiling)
        return {"sigmoid ceiling": peak, kind: ln - peak}
    return {kind: ln} if ln else {}


def square_of(ways):
    """R² of the node that these paths begin at."""
    return sum(product(way) ** 2 for way in ways)


def check_distribution(sums, paths, i, ways, terms):
    """Entropy, mean logarithms, shares of the fan-out and the strongest path, as defined."""
    square = square_of(ways)
    weights = [float(term * term / square) for term in terms]
    entropy = -sum(w * math.log(w) for w in weights if w)
    assert sums.entropy(i) == pytest.approx(entropy, abs=1e-12)
    assert max(sums.samples) < 0  # nothing here is one
    mean, norms = dict.fromkeys(KINDS, 0.0), {}
    for way, weight in zip(ways, weights):
        for edge in way if weight else []:
            for node in (edge.input, edge.node):
                norms.setdefault(node, square_of(paths[node]))
            q = Fraction(edge.partial) ** 2 * norms[edge.node] / norms[edge.input]
            kind = sums.kind(edge)
            mean["fan-out" if kind == "constants" else kind] -= 0.5 * weight * math.log(q)
            for k, x in factors(sums, edge).items():
                mean[k] += weight * x
    assert {**dict.fromkeys(KINDS, 0.0), **sums.budget(i)} == pytest.approx(mean, abs=1e-12)
    strongest = max(map(abs, terms))
    if sums.strongest_edge[i] >= 0:
        behind = [way for way in ways if way[0] == sums.edge(sums.strongest_edge[i])]
        assert max(abs(product(way)) for way in behind) == pytest.approx(strongest, rel=1e-12)


@pytest.mark.parametrize("seed", range(0, 300, 100))
def test_the_budget_identity(seed):
    """ln R = Σ_k budget_k, to 1e-12 decades; and so ln|g| = Σ_k budget_k - ln(R / |g|)."""
    for graph in filter(None, map(few_paths, range(seed, seed + 100))):
        sums = Paths(graph[0])
        for i in range(len(sums.nodes)):
            if sums.squares[i]:
                total = sum(sums.budget(i).values()) / math.log(10)
                assert total == pytest.approx(sums.norm(i).decades, abs=1e-12)


@pytest.mark.parametrize("seed", range(0, 300, 100))
def test_choke_points_are_the_nearest_nodes_on_every_path(seed):
    for graph in filter(None, map(few_paths, range(seed, seed + 100))):
        output, paths = graph
        sums = Paths(output)
        for node, ways in paths.items():
            if node is not output:
                stations = [[edge.node for edge in way] for way in ways]
                shared = [v for v in stations[0] if all(v in rest for rest in stations)]
                assert sums.nodes[sums.choke_point[sums.index[node]]] is shared[0]


def test_shares_of_a_node_add_up_to_one():
    for graph in filter(None, map(few_paths, range(100))):
        sums = Paths(graph[0])
        for i, node in enumerate(sums.nodes):
            if i and sums.squares[i]:
                tangents = Tangents(sums, node)
                shares = [tangents.shares[e] for e in tangents.edges if sums.tails[e] == i]
                assert sum(shares) == pytest.approx(1.0, abs=1e-12)


# --- what a float can't hold -----------------------------------------------------------------


def chain(factor, n):
    x = y = Value(1.0, "x")
    for _ in range(n):
        y = y * factor
    return x, y


@pytest.mark.parametrize("factor, n", [(0.25, 600), (0.25, 538), (1e-300, 7), (1e300, 9), (3.0, 5)])
def test_decades_of_a_chain(factor, n):
    x, y = chain(factor, n)
    sums = Paths(y)
    i = sums.index[x]
    assert sums.wide(i).decades == pytest.approx(n * math.log10(factor), rel=1e-12)
    assert sums.norm(i).decades == pytest.approx(sums.wide(i).decades, rel=1e-14)
    budget = sum(sums.budget(i).values()) / math.log(10)
    assert budget == pytest.approx(n * math.log10(factor), rel=1e-12)


def test_a_product_of_538_quarters_is_zero_only_as_a_float():
    x, y = chain(0.25, 538)
    sums = Paths(y)
    i = sums.index[x]
    assert sums.g[i] == 0.0 and sums.norm(i).mantissa > 0 and sums.gates[i] == 0
    assert sums.wide(i).decades == pytest.approx(-323.9, abs=0.05)


def test_wide_sums_across_all_scales():
    x = Value(1.0)
    tiny, huge = x * 1e-300 * 1e-300, x * 1e300 * 1e300
    sums = Paths(tiny + huge - huge * 0.5)
    i = sums.index[x]
    assert sums.wide(i).decades == pytest.approx(600 + math.log10(0.5), rel=1e-14)
    assert sums.entropy(i) == pytest.approx(
        -(4 / 5) * math.log(4 / 5) - (1 / 5) * math.log(1 / 5), abs=1e-12
    )


def test_wide_arithmetic():
    rng = random.Random(0)
    for _ in range(2000):
        a, b = (Extended(rng.uniform(-2, 2), rng.randrange(-3000, 3000)) for _ in range(2))
        exact = Fraction(a.mantissa) * Fraction(2) ** a.exponent
        exact += Fraction(b.mantissa) * Fraction(2) ** b.exponent
        total = a + b
        found = Fraction(total.mantissa) * Fraction(2) ** total.exponent
        assert abs(found - exact) <= abs(exact) * Fraction(2) ** -50 or abs(exact) < abs(found) * 4
        x = rng.choice([1e-320, 1e-200, -3.0, 1e305])
        grown = x * a
        found = Fraction(grown.mantissa) * Fraction(2) ** grown.exponent
        exact = Fraction(x) * Fraction(a.mantissa) * Fraction(2) ** a.exponent
        assert abs(found - exact) <= abs(exact) * Fraction(2) ** -51
    assert float(Extended(1.0, 5000)) == math.inf and float(Extended(-1.0, 5000)) == -math.inf
    assert float(Extended(1.0, -5000)) == 0.0 and Extended(0.0, 0).decades == -math.inf


def test_floats_and_extended_numbers_say_the_same():
    """One factor of 1e-200 beside a graph makes all its sums extended ones, and changes none."""
    extended = 0
    for output, paths in filter(None, map(few_paths, range(150))):
        one, other = Paths(output), Paths(output + Value(1.0) * 1e-200)
        extended += isinstance(one.wides[0], float) and isinstance(other.wides[0], Extended)
        for node in paths:
            i, j = one.index[node], other.index[node]
            assert float(other.wide(j)) == float(one.wide(i)) == one.g[i]
            assert float(other.norm(j)) == pytest.approx(float(one.norm(i)), rel=1e-15)
            assert other.entropy(j) == pytest.approx(one.entropy(i), abs=1e-13)
            if i and one.squares[i]:
                here, there = Tangents(one, node), Tangents(other, node)
                shares = [there.shares[e] for e in there.edges if other.tails[e] == j]
                expected = [here.shares[e] for e in here.edges if one.tails[e] == i]
                assert sorted(shares) == pytest.approx(sorted(expected), rel=1e-13)
    assert extended > 100


@pytest.mark.slow
def test_a_chain_far_deeper_than_the_stack(many):
    length = many(200_000, 1_000_000)
    x, y = chain(0.9999999, length)
    sums, decades = Paths(y), length * math.log10(0.9999999)
    assert sums.wide(sums.index[x]).decades == pytest.approx(decades, rel=1e-9)
    assert sums.choke_point[sums.index[x]] == len(sums.nodes) - 2


# --- from a node forwards, in numbers that no float holds -------------------------------------


def steep_graph(seed):
    """A graph over one leaf whose factors span 500 decades; only partials, no values, matter."""
    rng = random.Random(seed)
    nodes = [Value(0.0, "x")]
    for _ in range(rng.randrange(6, 16)):
        x, y = rng.choice(nodes[-3:]), rng.choice(nodes)
        size = rng.choice([-1, 1]) * rng.uniform(1, 10) * 10.0 ** rng.randrange(-250, 250)
        node = rng.choice([x * size, x * size, x * size + y, x + y, dot([size, 0.7], [x, y], x)])
        nodes.append(node)
    return nodes[0], nodes[-1] + nodes[-2] * 0.3


def summed(start, edges, d_of):
    """∂a/∂start for every node a, in fractions, edges in the order of the computation."""
    to = {start: Fraction(1)}
    for edge in edges:
        if edge.input in to:
            to.setdefault(edge.node, Fraction(0))
            to[edge.node] += to[edge.input] * d_of(edge)
    return to


def check_tangents(start, output, repairs=True):
    """Tangents's numbers against fractions; how many decades they span."""
    sums = Paths(output)
    tangents = Tangents(sums, start)
    edges = [edge for node in reversed(sums.nodes) for edge in node.edges]
    to = summed(start, edges, lambda edge: Fraction(edge.partial))
    size = summed(start, edges, lambda edge: abs(Fraction(edge.partial)))
    square = summed(start, edges, lambda edge: Fraction(edge.partial) ** 2)
    span = 0.0
    for node, exact in square.items():
        i = sums.index[node]
        assert near(extended(tangents._squares[i]), exact, exact)
        assert near(tangents.to(i), to[node], size[node])
        span = max(span, abs(tangents.norm_to(i).decades))
    leading = {edge for edge in edges if edge.input in size}
    assert {sums.edge(e) for e in tangents.edges} == leading
    for e in tangents.edges:
        edge = sums.edge(e)
        behind = exact_square(sums, sums.heads[e])
        share = square[edge.input] * Fraction(edge.partial) ** 2 * behind / square[output]
        assert abs(Fraction(tangents.shares[e]) - share) < Fraction(10) ** -12
        if repairs:
            g, whole = opened(start, output, edges, edge)
            assert near(tangents.repaired(e), g, whole)
    return span


def exact_square(sums, i):
    m, e = extended(sums.squares[i])
    return Fraction(m) * Fraction(2) ** e


def opened(start, output, edges, edge):
    """The gradient, and its scale, with 1 for the local derivative of one edge."""
    g = summed(start, edges, lambda e: Fraction(1) if e == edge else Fraction(e.partial))
    mass = summed(start, edges, lambda e: Fraction(1) if e == edge else abs(Fraction(e.partial)))
    return g[output], mass[output]


def near(found, exact, scale):
    """Whether a wide number is this one but for 1e-12 of a scale."""
    number = Fraction(found.mantissa) * Fraction(2) ** found.exponent
    return abs(number - exact) <= scale / 10**12


@pytest.mark.parametrize("seed", range(40))
def test_steep_graphs_forwards(seed):
    check_tangents(*steep_graph(seed), repairs=False)


def test_steep_graphs_are_steep():
    spans = [check_tangents(*steep_graph(seed), repairs=False) for seed in range(10)]
    assert max(spans) > 450 and sum(span > 308 for span in spans) > 3


@pytest.mark.parametrize("factors", [[1e-90] * 9, [1e90] * 9, [1e-99, 1e99] * 9, [1e-300] * 5])
def test_chains_out_of_the_range_of_mantissas(factors):
    x = y = Value(0.0, "x")
    for factor in factors:
        y = y * factor
    check_tangents(x, y, repairs=max(factors) < 1)


def test_paths_that_differ_by_400_decades():
    x = Value(1.0, "x")
    high = x * 1e-150
    low = x * 1e-200 * 1e-200 * 1e-150
    y = high + low
    check_tangents(x, y)
    sums = Paths(y)
    tangents = Tangents(sums, x)
    by_node = {sums.edge(e).node: e for e in tangents.edges}
    assert tangents.shares[by_node[high]] == 1.0 and 0.0 <= tangents.shares[by_node[low]] < 1e-300
    assert tangents.repaired(by_node[high]).mantissa == 1.0
    assert tangents.repaired(by_node[low]).decades == pytest.approx(-150, abs=1e-12)


@pytest.mark.parametrize(
    "step, n", [(lambda y: y * 0.5, 1500), (lambda y: mx.sum([y, y, y]), 1500)]
)
def test_long_chains_of_factors_near_1(step, n):
    x = y = Value(0.0, "x")
    for _ in range(n):
        y = step(y)
    sums = Paths(y)
    tangents = Tangents(sums, x)
    i = sums.index[x]
    assert tangents.norm_to(0).decades == pytest.approx(sums.norm(i).decades, rel=1e-12)
    assert tangents.to(0).decades == pytest.approx(sums.wide(i).decades, rel=1e-12)


@pytest.mark.parametrize(
    "factors",
    [[1e-3, 1e-5], [1e-200, 1e-250, 3.0], [0.0, 1e-200, 1e200], [-2.0, 7.0, 1e-9],
     [1e17, 3.0], [1e150, 1e120, 3.0], [3e10, 7e9]],
)  # fmt: skip
def test_a_repair_of_a_chain_is_the_product_of_the_others(factors):
    x = y = Value(1.0, "x")
    for factor in factors:
        y = y * factor
    sums = Paths(y)
    tangents = Tangents(sums, x)
    for e in tangents.edges:
        others = [Fraction(sums.partials[other]) for other in tangents.edges if other != e]
        exact = math.prod(others, start=Fraction(1))
        assert near(tangents.repaired(e), exact, abs(exact))


def test_repairs_of_steep_graphs():
    for seed in range(20, 30):
        check_tangents(*steep_graph(seed))


# --- what a factor is ------------------------------------------------------------------------


def test_kinds_of_factors():
    x, w, b = Value(0.5, "x"), Value(3.0, "w"), Value(1.0, "b")
    h = dot([w], [x], b)
    y = (h.sigmoid() * h * 0.1).log() / 7.0
    kinds = {}
    sums = Paths(y)
    for node in sums.nodes:
        for edge in node.edges:
            for k, log in factors(sums, edge).items():
                kinds.setdefault((node.op, edge.position), {})[k] = log
    assert kinds["dot", 0] == {"inputs": math.log(0.5)}
    assert kinds["dot", 1] == {"weights": math.log(3.0)}
    assert ("dot", 2) not in kinds
    assert kinds["sigmoid", 0]["sigmoid ceiling"] == math.log(0.25)
    assert sum(kinds["sigmoid", 0].values()) == pytest.approx(math.log(h.sigmoid().partials[0]))
    assert set(kinds["log", 0]) == {"singular op"} and set(kinds["div", 0]) == {"constants"}
    assert set(kinds["mul", 0]) == {"constants", "activations"}  # · 0.1, and h beside sigmoid(h)
    assert set(kinds["mul", 1]) == {"activations"}


def test_a_reader_may_say_what_the_parameters_are():
    x, k = Value(0.5, "x"), Value(3.0, "slope")
    y = k * x
    for parameters, kind in ((None, "inputs"), ([k], "weights")):
        sums = Paths(y, parameters)
        assert list(factors(sums, y.edges[1])) == [kind]


def test_partners_of_a_product():
    values = [Value(float(i)) for i in range(5)]
    for node in (dot(values[:2], values[2:4], values[4]), values[0] * values[1]):
        for edge in node.edges:
            other = partner(node, edge.position)
            if other is None:
                assert edge.input is values[4] and edge.partial == 1.0
            else:
                assert edge.partial == other.data


def test_the_loss_is_what_comes_after_the_layers():
    model = mx.nn.MLP(2, [3, 1], seed=0)
    score = model([1.0, 2.0])
    loss = mx.nn.mse_loss(score, 1.0)
    part = loss_part(order(loss))
    assert loss in part and score not in part and len(part) == 2
    assert loss_part(order(score)) == set() == loss_part(order(Value(1.0) * 2.0))


def test_credits_are_shares_times_what_an_edge_brings_to_the_norm():
    for graph in filter(None, map(few_paths, range(50))):
        sums = Paths(graph[0])
        for i, node in enumerate(sums.nodes):
            if not i or not sums.squares[i]:
                continue
            tangents = Tangents(sums, node)
            expected = dict.fromkeys(tangents.edges, 0.0)
            for e in tangents.edges:
                edge = sums.edge(e)
                if tangents.shares[e]:
                    tail, head = (sums.norm(sums.index[x]) for x in (edge.input, edge.node))
                    expected[e] = tangents.shares[e] * (tail.decades - head.decades)
            credits = {e: c for c, e in tangents.credits()}
            assert credits == pytest.approx(expected, rel=1e-12, abs=2e-13)
            assert sum(credits.values()) == pytest.approx(sums.norm(i).decades, abs=1e-11)


def test_an_edge_without_a_share_brings_a_budget_nothing_of_what_is_not_finite():
    x = Value(1.0, "x")
    sums = Paths((x * 0.0).sqrt() + x * 2.0)  # the slope of the root is infinite
    i = sums.index[x]
    assert 0.0 in sums.shares and sums.norm(i).decades == pytest.approx(math.log10(2))
    assert sum(sums.budget(i).values()) == pytest.approx(math.log(2))
