"""Why a gradient is what it is: planted causes, brute force, and what must change nothing."""

import math
import random
from fractions import Fraction

import pytest

import microgradx as mx
from microgradx import Flow, Value, why
from microgradx.explain.tangents import Tangents
from tests.explain import planted
from tests.explain.test_paths import few_paths


@pytest.mark.parametrize("name", planted.CAUSES)
def test_planted_causes_are_named_with_their_place(name):
    missed = [seed for seed, (_, case) in enumerate(planted.cases(55, [name])) if not case.found()]
    assert missed == []


def test_there_are_two_thousand_planted_cases():
    assert len(planted.CAUSES) * 55 >= 2000


def test_the_counts_of_the_table_add_up():
    rows = planted.table(4)
    assert rows.keys() == planted.CAUSES.keys()
    assert all(row[0] == 4 and len(row) == 4 and max(row) <= 4 for row in rows.values())
    for name, alarms in {"healthy: MLP": [0, 0, 0], "stopped: zero residual": [4, 4, 0]}.items():
        assert rows[name][1:] == alarms
    counted = [sum(rule(case) for _, case in planted.cases(4)) for rule in planted.RULES]
    assert counted == [sum(row[i] for row in rows.values()) for i in (1, 2, 3)]


def test_every_explanation_is_a_short_paragraph():
    for name, case in planted.cases(3):
        text = str(why(case.node, Flow(case.output, **case.options)))
        lines = text.splitlines()
        assert 2 <= len(lines) <= 15, (name, text)
        assert max(map(len, lines)) <= 100, (name, text)
        assert case.verdict in lines[0] and case.cause in lines[0], (name, text)
        assert "None" not in text and ".." not in text, (name, text)


# --- cases that look like another -------------------------------------------------------------


def asked(node, output):
    output.backward()
    return why(node, output)


def test_one_hot_inputs_stop_the_weights_of_the_cold_ones():
    model = mx.nn.MLP(3, [1], seed=0)
    score = model([0.0, 1.0, 0.0])
    cold, hot, _ = model.layers[0].neurons[0].weight
    score.backward()
    assert why(hot, score).verdict == "healthy"
    it = why(cold, score)
    assert (it.verdict, it.causes, it.culprits) == ("stopped", ["zero input"], it.where)
    assert [edge.input for edge in it.where] == [cold]


def test_a_hinge_is_flat_only_for_the_satisfied_sample():
    model = mx.nn.MLP(1, [1], seed=0)
    w, b = model.parameters()
    w.data = 1.0
    loss = mx.nn.hinge_loss([model([3.0]), model([0.5])], [1, 1])
    assert asked(w, loss).verdict == "healthy"
    loss = mx.nn.hinge_loss(model([3.0]), 1)
    it = asked(b, loss)
    assert (it.verdict, it.causes) == ("stopped", ["flat loss"])
    assert it.remark.cause == "not this gradient"


def test_all_zero_initialisation():
    model = mx.nn.MLP(2, [2, 1], activation="tanh", init=lambda nin, nout, rng: 0.0)
    loss = mx.nn.mse_loss(model([1.0, 2.0]), 1.0)
    loss.backward()
    first, last = model.layers
    it = why(first.neurons[0].weight[0], loss)
    assert (it.verdict, it.causes) == ("stopped", ["zero weight"])
    assert [e.input.label for e in it.where] == ["layers.0[0]"]
    it = why(last.neurons[0].weight[1], loss)
    assert (it.verdict, it.causes) == ("stopped", ["zero activation"])
    assert why(last.neurons[0].bias, loss).verdict == "healthy"


def test_a_skip_connection_round_a_dead_relu_is_alive():
    x = Value(-1.0, "x")
    it = asked(x, x.relu() + x)
    assert (it.verdict, it.where, it.flow.g, it.flow.gates) == ("healthy", [], 1.0, 0)


def test_a_sigmoid_far_out_is_saturated_and_not_stopped():
    x = Value(40.0, "x")
    it = asked(x, x.sigmoid())
    assert (it.verdict, it.causes[0]) == ("small", "saturation")
    assert it.flow.g == pytest.approx(4.248354255291589e-18, rel=1e-15)


def test_six_hundred_quarters_underflow_and_are_not_stopped():
    x = y = Value(1.0, "x")
    for _ in range(600):
        y = y * 0.25
    it = asked(x, y)
    assert (it.verdict, it.causes, it.where) == ("underflowed", ["small constants"], [])
    assert it.flow.g == 0.0 and it.flow.decades == pytest.approx(600 * math.log10(0.25))
    assert "5.81e-362" in str(it)
    assert it.repairs[0].gradient == 0.0
    assert it.repairs[0].wide.decades == pytest.approx(599 * math.log10(0.25))


@pytest.mark.parametrize("factor, n", [(1e-200, 9), (1e200, 9), (0.25, 300), (0.5, 1500)])
def test_the_product_along_a_single_path_is_the_gradient(factor, n):
    x = y = Value(0.0, "x")
    for _ in range(n):
        y = y * factor
    it = asked(x, y)
    assert len(it.path) == n and it.path[-1][1].decades == pytest.approx(n * math.log10(factor))


@pytest.mark.parametrize("c", [1e5, 1e8, 1e17])
def test_a_large_factor_is_proposed_for_repair(c):
    x = Value(0.0, "x")
    it = asked(x, x * c * 3.0)
    assert it.repairs[0].gradient == pytest.approx(3.0)
    assert f"With ×1 instead of ×{c:.3g} from x to mul(0) it would be 3, " in str(it)


def test_x_minus_x_is_cancelled():
    x = Value(0.1, "x")
    y = x - x
    it = asked(x, y)
    assert (it.verdict, it.causes, it.exact) == ("cancelled", ["opposing paths"], 0)
    assert {edge.node for edge in it.where} == {y, y.inputs[1]} and float(
        it.flow.norm
    ) == pytest.approx(2**0.5)


def test_a_single_path_is_opposed_by_nothing():
    x = Value(0.5, "x")
    assert Tangents(Flow(x.tanh() * 3.0).paths, x).opposed() == ([], 0.0)


def test_cancellation_deep_in_the_graph_is_found_there():
    x = Value(0.5, "x")
    h = x.tanh()
    it = asked(x, (h * 3.0 + h * -3.0) * 5.0 + h * 1e-9)
    assert it.verdict == "cancelled" and {edge.input for edge in it.where} == {h}
    assert [edge.partial for edge in it.where][:2] in ([3.0, -3.0], [1.0, 1.0], [-3.0, 3.0])


def test_a_neuron_off_on_one_sample_only_is_alive():
    model = mx.nn.MLP(1, [1, 1], seed=0)
    for p in model.parameters():
        p.data = 1.0
    w = model.layers[0].neurons[0].weight[0]
    both = mx.nn.mse_loss([model([1.0]), model([-2.0])], [0.0, 0.0])
    assert asked(w, both).verdict == "healthy"
    model.zero_grad()
    assert asked(w, mx.nn.mse_loss(model([-2.0]), 0.0)).verdict == "stopped"


def test_zero_times_infinity():
    x = Value(-1.0, "x")
    z = x.relu()
    it = asked(x, z.sqrt())
    assert it.verdict == "not finite" and set(it.causes) == {"derivative not finite", "0 × inf"}
    assert set(it.where) == {*z.edges, *(v for v in it.output.edges)}


def test_a_sum_that_overflows():
    x = Value(1e-10, "x")
    it = asked(x, mx.sum([x * 1e308, x * 1e308]))
    assert (it.verdict, it.causes) == ("not finite", ["overflow"]) and len(it.where) == 2
    assert it.flow.decades == pytest.approx(308 + math.log10(2))


# --- against the enumeration of every path ----------------------------------------------------


def product(path):
    return math.prod((Fraction(edge.partial) for edge in path), start=Fraction(1))


def alike(found, exact, scale):
    """Equal but for 1e-12 of the scale."""
    return abs(Fraction(float(found)) - exact) <= Fraction(1e-12) * scale


@pytest.mark.some(3)
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(0, 1000, 100))
def test_cut_shares_and_repairs_are_what_the_paths_say(seed, many):
    stopped = edges = 0
    for output, paths in filter(None, map(few_paths, range(seed, seed + many(30, 100)))):
        output.backward()
        flow = Flow(output)
        for node, ways in paths.items():
            if node is output:
                continue
            tangents = Tangents(flow.paths, node)
            square = sum(product(way) ** 2 for way in ways)
            if not square:
                check_cut(flow.why(node), ways)
                stopped += 1
            exact = sum(map(product, ways))
            for e in tangents.edges:
                edge = flow.paths.edge(e)
                through = [way for way in ways if edge in way]
                if square:
                    share = sum(product(way) ** 2 for way in through) / square
                    assert alike(tangents.shares[e], share, 1)
                rest = [[other for other in way if other != edge] for way in through]
                others = sum(map(product, rest))
                scale = sum(abs(product(way)) for way in [*rest, *ways])
                repaired = exact - sum(map(product, through)) + others
                assert alike(tangents.repaired(e), repaired, scale)
                edges += 1
            if tangents.edges:
                assert tangents.exact() == exact
    assert stopped > 15 and edges > 300


def check_cut(it, ways):
    """Every path's first zero; and of these, those after which a path has no other."""
    firsts = [next(i for i, e in enumerate(way) if not e.partial) for way in ways]
    assert it.verdict == "stopped"
    assert set(it.where) == {way[i] for way, i in zip(ways, firsts)}
    alone = {way[i] for way, i in zip(ways, firsts) if all(e.partial for e in way[i + 1 :])}
    assert set(it.culprits) == alone
    fewest = min(sum(not e.partial for e in way) for way in ways)
    assert sum(not edge.partial for edge, _ in it.path) == fewest == it.flow.gates
    if alone:
        best = max(abs(repaired(ways, edge)) for edge in it.where)
        assert it.repairs[0].gradient == pytest.approx(
            repaired(ways, it.repairs[0].edge), rel=1e-12
        )
        assert abs(it.repairs[0].gradient) == pytest.approx(best, rel=1e-12)


def repaired(ways, edge):
    return float(sum(product([e for e in way if e != edge]) for way in ways))


@pytest.mark.parametrize("seed", range(0, 300, 100))
def test_a_row_is_what_the_paths_say(seed):
    for output, paths in filter(None, map(few_paths, range(seed, seed + 100))):
        flow = Flow(output)
        for node, ways in paths.items():
            row = flow[node]
            terms = [product(way) for way in ways]
            g, norm = sum(terms), math.sqrt(sum(term * term for term in terms))
            if g and norm / abs(g) < 1000:
                assert row.g == pytest.approx(float(g), rel=1e-11)
                assert row.opposes == pytest.approx(norm / abs(g), rel=1e-11)
                total = sum(row.budget.values())
                assert total == pytest.approx(row.decades, abs=1e-12)
                left = row.budget.get("opposition", row.budget.get("agreement", 0.0))
                assert left == pytest.approx(-math.log10(norm / abs(g)), abs=1e-11)
                assert not {"opposition", "agreement"} <= row.budget.keys()
            elif not row.wide.mantissa:
                assert row.budget == {} and row.opposes == math.inf
            if node is output:
                assert row.choke_point is None and row.strongest is None
                continue
            stations = [[edge.node for edge in way] for way in ways]
            shared = [v for v in stations[0] if all(v in rest for rest in stations)]
            chokes = flow.why(node).choke_points
            assert [*chokes, output] == shared and row.choke_point is shared[0]


# --- what must change nothing, or just one thing ------------------------------------------------


def whole(flow):
    """The nodes with a gradient between 0 and infinity."""
    return [node for node in flow.paths.nodes if flow[node].budget and flow[node].opposes < 1000]


@pytest.mark.parametrize("c", [1e-9, 0.5, -3.0, 1e12])
def test_scaling_the_output_moves_every_gradient_by_as_much(c):
    for output, _ in filter(None, map(few_paths, range(150))):
        before, after = Flow(output), Flow(output * c)
        for node in whole(before):
            moved = dict(after[node].budget)
            moved["constants"] = moved.get("constants", 0.0) - math.log10(abs(c))
            expected = {"constants": 0.0, **before[node].budget}
            for kind in {*moved, *expected}:
                assert moved.get(kind, 0.0) == pytest.approx(expected.get(kind, 0.0), abs=1e-11)
            assert after[node].decades - before[node].decades == pytest.approx(
                math.log10(abs(c)), abs=1e-12
            )


def test_scaling_a_loss_moves_the_loss_term_alone():
    model = mx.nn.MLP(2, [4, 3, 1], activation="tanh", seed=1)
    loss = mx.nn.mse_loss(model([0.5, -1.0]), 2.0)
    before, after = Flow(loss), Flow(loss * 1e-4)
    for p in model.parameters():
        expected = {**before[p].budget, "loss": before[p].budget.get("loss", 0.0) - 4.0}
        assert after[p].budget == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "rewritten", [lambda y: y * 1.0, lambda y: y + 0.0, lambda y: +y, lambda y: -1.0 * -y]
)
def test_what_does_not_change_the_function_changes_no_row(rewritten):
    for output, _ in filter(None, map(few_paths, range(100))):
        before, after = Flow(output), Flow(rewritten(output))
        for node in whole(before):
            assert after[node].budget == before[node].budget
            assert after[node].g == before[node].g and after[node].gates == before[node].gates


def test_the_order_of_a_sum_changes_nothing():
    rng = random.Random(0)
    for _ in range(50):
        x = Value(0.5, "x")
        terms = [x * rng.uniform(-2, 2) for _ in range(6)]
        before = Flow(mx.sum(terms))[x]
        rng.shuffle(terms)
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        after = Flow(total)[x]
        assert after.budget == pytest.approx(before.budget, abs=1e-11)
        assert after.opposes == pytest.approx(before.opposes, rel=1e-11)


@pytest.mark.parametrize("c", [0.25, 2.0, 1024.0])
def test_a_factor_moved_through_a_relu_changes_no_other_budget(c):
    def net(first, second):
        x, v, w = Value(0.75, "x"), Value(first, "w1"), Value(second, "w2")
        h = (v * x).relu()
        y = w * h * Value(3.0, "w3")
        return Flow(y), x, v, w

    (one, x, v, w), (two, x2, v2, w2) = net(1.5, 0.5), net(1.5 * c, 0.5 / c)
    assert one[x].budget == pytest.approx(two[x2].budget, abs=1e-13)
    assert one[x].g == two[x2].g
    for a, b, kind, sign in ((v, v2, "weight scale", -1), (w, w2, "activations", 1)):
        moved = {key: y - one[a].budget[key] for key, y in two[b].budget.items()}
        assert moved.pop(kind) == pytest.approx(sign * math.log10(c), abs=1e-13)
        assert all(abs(y) < 1e-13 for y in moved.values())


# --- settings, and what is not a question ---------------------------------------------------------


def test_thresholds_can_be_set():
    x = Value(1.0, "x")
    y = x * 1.0 - x * 0.99
    y.backward()
    assert why(x, y).verdict == "healthy"
    assert why(x, Flow(y, cancels=100)).verdict == "cancelled"
    assert why(x, Flow(y, small=1)).verdict == "healthy"  # by chance it would be 1.4
    assert why(x, Flow(y, small=1, reference=2.0)).verdict == "small"
    assert why(x, Flow(y, reference=-9.0)).verdict == "large"
    assert why(x, Flow(y, reference=-9.0, large=10)).verdict == "healthy"


def test_what_is_no_value_is_refused():
    x = Value(1.0, "x")
    y = x * 2.0
    with pytest.raises(TypeError, match="takes Values, got a float among them"):
        why([x, 1.0], y)
    with pytest.raises(ValueError, match="nothing to explain: there is no Value in \\[\\]"):
        why([], y)
    with pytest.raises(TypeError, match="a Flow knows its parameters already"):
        why(x, Flow(y), parameters=[x])
    with pytest.raises(TypeError, match="a layer or a model, got a float"):
        why(1.0, y)
    with pytest.raises(
        TypeError, match="one Value, a loss for instance, got a list of them: pass its only"
    ):
        why(x, [y])
    with pytest.raises(TypeError, match="got a float; a bare number has no graph"):
        Flow(2.0)


def test_a_node_of_another_graph_is_disconnected():
    x, y = Value(1.0, "x"), Value(2.0, "y") * 3.0
    y.backward()
    it = why(x, y)
    assert (it.verdict, it.flow, it.budget, it.path) == ("disconnected", None, {}, [])
    assert x not in Flow(y) and len(Flow(y)) == 2
    with pytest.raises(KeyError, match="label='x'.* is not in the graph of mul"):
        Flow(y)[x]


def test_an_output_that_is_a_leaf():
    x = Value(1.0, "x")
    assert (why(x, x).verdict, why(x, x).remark.cause) == ("healthy", "no backward()")
    it = asked(x, x)
    assert (it.verdict, it.flow.g, it.path) == ("healthy", 1.0, [])
    assert str(it).startswith("∂x/∂x = 1: healthy.\n")
    x.backward()
    assert why(x, x).remark.cause == "2 × the gradient"
    assert why(Value(2.0), x).verdict == "disconnected"


def test_why_takes_a_flow_or_an_output():
    x = Value(-1.0, "x")
    y = x.relu()
    y.backward()
    flow = Flow(y)
    assert str(why(x, flow)) == str(why(x, y)) == str(flow.why(x))
    assert repr(flow.why(x)) == "<why x: stopped>"


def test_without_backward_it_says_what_would_be_found():
    x = Value(-1.0, "x")
    it = why(x, x.relu() * 2.0)
    assert (it.verdict, it.causes) == ("stopped", ["relu off"])
    assert it.remark.cause == "no backward()"
    assert len(it.where) == 1


def test_a_seed_is_no_staleness():
    x = Value(2.0, "x")
    y = x * 3.0
    y.backward(seed=0.25)
    assert why(x, y).remark is None


# --- what it proposes ---------------------------------------------------------------------------


def test_all_causes_are_listed_largest_first():
    x = Value(1.0, "x")
    y = (x * Value(1e-4, "w") + 3.0).sigmoid() * 1e-2
    it = asked(x, y)
    assert it.causes == ["weight scale", "small constants", "saturation"]


def test_repairs_are_ranked_the_way_that_helps():
    x = Value(1.0, "x")
    it = asked(x, x * 1e-3 * 1e-5 * 2.0)
    assert [repair.edge.partial for repair in it.repairs] == [1e-5, 1e-3, 2.0]
    assert [repair.gradient for repair in it.repairs] == pytest.approx([2e-3, 2e-5, 1e-8])
    it = asked(x, x * 1e3 * 1e5 * 0.5 * 1.0)
    assert [repair.edge.partial for repair in it.repairs] == [1e5, 1e3, 0.5]
    assert "With ×1 instead of ×1e+05 " in str(it)


def test_a_repair_that_repairs_nothing_is_not_proposed():
    x = Value(0.5, "x")
    assert "With ×1" not in str(asked(x, mx.sum([x * 1.1 for _ in range(200)])))
    assert "With ×1" not in str(asked(x, x * 0.1))
    assert "With ×1" not in str(asked(x, (-x).relu().relu()))


def test_two_samples_are_alike_and_meet_in_one_sum():
    x = Value(0.5, "x")
    one, other = x * 2.0, x * -2.0
    assert asked(x, mx.mean([one, other])).causes == ["opposing samples"]
    one.label, other.label = "one", "other"
    assert asked(x, mx.sum([one, other])).causes == ["opposing paths"]
    one.label = other.label = "z"
    assert asked(x, mx.sum([one, other])).causes == ["opposing samples"]
    assert asked(x, one + other).causes == ["opposing paths"]


def test_the_reference_is_the_output_layer():
    model = mx.nn.MLP(1, [1, 1], activation=None, init=lambda nin, nout, rng: 1e-2, seed=0)
    score = model([1.0])
    loss = mx.nn.mse_loss(score, score.data + 5e-3)
    flow = Flow(loss)
    loss.backward()
    weight = model.layers[0].neurons[0].weight[0]
    assert flow[weight].decades == pytest.approx(-4.0) and flow.why(weight).verdict == "healthy"
    assert why(weight, Flow(loss, reference=0.0)).verdict == "small"


def test_where_most_of_it_cancels():
    x = Value(1.0, "x")
    a, b = x * 1.0, x * 1.0
    less = a * 1.0 + a * -0.9
    more = b * 100.0 + b * -100.0
    it = asked(x, less * 0.01 + more)
    assert it.verdict == "cancelled" and {edge.input for edge in it.where} == {b}


# --- far from what floats hold --------------------------------------------------------------------


def test_a_first_contribution_that_underflows_is_kept():
    x = Value(1.0, "x")
    it = asked(x, x * 1e-250 * 1e-90)
    assert it.verdict == "underflowed" and it.flow.decades == pytest.approx(-340.0)
    it = asked(x, x * 1e-250 * 1e-90 + x * 1e-250 * 1e-90)
    assert it.flow.opposes == pytest.approx(0.5**0.5) and it.flow.decades == pytest.approx(
        -340 + math.log10(2)
    )


def test_more_paths_than_a_float_can_count():
    x = y = Value(1.0, "x")
    for _ in range(1100):
        y = y * 0.5 + y * 0.5
    assert "About 10^331 paths share the work" in str(asked(x, y))


def test_a_seed_may_lift_what_underflows():
    x = Value(1.0, "x")
    y = x * 1e-200 * 1e-200
    y.backward(2.0**1000)
    assert why(x, y).verdict == "underflowed"


def test_an_overflow_says_what_the_product_is():
    x = Value(1.0, "x")
    it = asked(x, x * 1e-200 * x * 1e-300 * 1e300 * 1e300 * 1e300)
    assert it.verdict == "not finite" and "; the product itself is 2.00e400" in str(it)


def test_a_dead_trunk_that_skips_a_layer_is_no_flat_loss():
    model = mx.nn.MLP(2, [2, 2, 2], activation=None, seed=0)
    first, second, last = model.layers
    x = [Value(1.0, "x0"), Value(2.0, "x1")]
    trunk = [h.relu() for h in first(x)]
    for neuron in first.neurons:
        neuron.bias.data = -100.0
    trunk = [h.relu() for h in first(x)]
    loss = mx.nn.mse_loss(last([p + q for p, q in zip(second(trunk), trunk)]), [1.0, 0.0])
    assert asked(x[0], loss).causes == ["relu off"]


def test_the_limits_of_a_flow_are_numbers_within_theirs():
    y = Value(1.0, "x") * 2.0
    Flow(y, small=0.0, large=0.0, cancels=1.0)
    for name, x in (("small", -0.1), ("large", math.nan), ("cancels", 0.9)):
        with pytest.raises(ValueError, match=f"{name} is a number, 0 or more"):
            Flow(y, **{name: x})
