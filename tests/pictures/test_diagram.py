"""The contents of a picture, against brute force over all the edges of small graphs."""

import math
import random
import re

import pytest

import microgradx as mx
from microgradx import dot, maximum
from microgradx import sum as sum_of
from microgradx._base.arguments import flat
from microgradx.engine import Edge, Value, apply, order, positions, rule
from microgradx.pictures import graph
from microgradx.pictures.diagram import Diagram
from microgradx.pictures.folds import FOLDS, folds
from tests.pictures.nets import recurrent, tangle, two_models

inf, nan = math.inf, math.nan
LIMITS = (300, 60, 40, 24, 12, 8, 5, 4, 3, 2, 1)


def random_graph(seed: int) -> Value:
    """A graph with ReLUs, dots, repeated operands, bare numbers and detached nodes."""
    rng = random.Random(seed)
    pool = [Value(rng.choice([-1.0, 0.0, 0.5, 1.0])) for _ in range(4)]
    for _ in range(24):
        a, b = rng.choice(pool[-6:]), rng.choice(pool)
        makers = [
            lambda a=a, b=b: (a + b) * 0.5,
            lambda a=a, b=b: a * b,
            lambda a=a: a * a,
            lambda a=a: a.relu(),
            lambda a=a: (-a).relu(),
            lambda a=a, b=b: dot([a, b, 0.0, a], [b, a, b, 1.0], a).tanh(),
            lambda a=a, b=b: maximum(a, b),
            lambda a=a: a.detach(),
        ]
        pool.append(rng.choice(makers)())
    return sum_of(pool[-5:])


def everything(output: Value) -> list[Value]:
    """All that the output was computed from, through detached operands too."""
    found, todo = [], [output]
    while todo:
        node = todo.pop()
        if node not in found:
            found.append(node)
            todo += [x for x in flat(node.operands) if isinstance(x, Value)]
    return found


def alive_by_fixpoint(output: Value) -> set[Value]:
    edges = [edge for node in everything(output) for edge in node.edges]
    alive, before = {output}, set()
    while alive != before:
        before = set(alive)
        alive |= {e.input for e in edges if e.node in alive and e.partial != 0}
    return alive


def names(edges: list[Edge]) -> set[tuple[int, int]]:
    return {(id(edge.node), edge.position) for edge in edges}


def net(dead: set[str] = frozenset(), layers: int = 3, width: int = 4) -> Value:
    """A labelled ReLU net without parameters; the neurons in `dead` are off, such as "L0[2]"."""
    xs = [Value(1.0, "x"), Value(2.0, "y")]
    for k in range(layers):
        ys = []
        for i in range(width):
            name = f"L{k}[{i}]"
            z = dot([-0.5 if name in dead else 0.5] * len(xs), xs)
            z.label, y = f"{name}.z", z.relu()
            y.label = name
            ys.append(y)
        xs = ys
    output = sum_of(xs)
    output.label = "out"
    output.backward()
    return output


# --- where the gradient stops ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_stops_are_the_edges_with_partial_0_and_adjoint_not(seed):
    output = random_graph(seed)
    output.backward()
    edges = [edge for node in everything(output) for edge in node.edges]
    stops = [edge for edge in edges if edge.partial == 0 and edge.node.grad != 0]
    assert names(Diagram(output).stops) == names(stops)


def test_random_graphs_have_every_kind_of_edge():
    kinds = set()
    for seed in range(40):
        output = random_graph(seed)
        output.backward()
        for node in everything(output):
            kinds |= {(edge.partial == 0, node.grad == 0) for edge in node.edges}
    assert len(kinds) == 4


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("swept", [True, False])
def test_alive_is_a_path_without_a_zero(seed, swept):
    output = random_graph(seed)
    if swept:
        output.backward()
    diagram = Diagram(output)
    assert set(diagram.nodes) == set(everything(output))
    assert len(diagram.nodes) == len(set(diagram.nodes))
    assert diagram.alive == alive_by_fixpoint(output)
    assert diagram.swept is swept


@pytest.mark.parametrize("seed", range(20))
def test_before_backward_a_stop_is_where_one_would_arrive(seed):
    output = random_graph(seed)
    alive = alive_by_fixpoint(output)
    edges = [edge for node in everything(output) for edge in node.edges]
    expected = [edge for edge in edges if edge.partial == 0 and edge.node in alive]
    assert names(Diagram(output).stops) == names(expected)


def test_behind_a_stop_there_is_no_second_one():
    first = Value(-1.0).relu()  # starved: its own zero stops nothing
    second = (first - 1.0).relu()
    (second + 1.0).backward()
    output = second + 1.0
    output.backward()
    assert [edge.node for edge in Diagram(output).stops] == [second]


def test_stops_do_not_depend_on_grads():
    for seed in range(20):
        output = random_graph(seed)
        stops = names(Diagram(output).stops)
        for spoil in SPOILERS:
            output.backward()
            spoil(output)
            assert names(Diagram(output).stops) == stops


SPOILERS = [
    lambda output: None,
    lambda output: output.backward(),
    lambda output: output.backward(seed=0.0),
    lambda output: (output * 0.0).backward(),
    lambda output: (output * nan).backward(),
    lambda output: sum_of([x.relu() for x in order(output)]).backward(),
    lambda output: [setattr(node, "grad", 0.0) for node in everything(output)],
    lambda output: [setattr(node, "grad", 1.0) for node in everything(output)],
]


@pytest.mark.parametrize("spoil", SPOILERS)
def test_the_picture_shows_its_stops_whatever_is_in_grad(spoil):
    off = Value(-1.0, "z").relu()
    output = off * 2.0 + Value(1.0, "b")
    output.backward()
    before = mx.draw(output)
    spoil(output)
    after = mx.draw(output)
    assert before.source.count("<br/>STOP") == after.source.count("<br/>STOP") == 1
    assert "STOP at relu" in before.summary and "STOP at relu" in after.summary


def test_a_stop_where_the_adjoint_underflows_as_a_float():
    output = node = Value(-1.0).relu()
    for _ in range(600):
        output = output * 0.25
    output.backward()
    assert node.grad == 0.0
    assert [edge.node for edge in Diagram(output).stops] == [node]


@pytest.mark.parametrize("scale", [1.0, 1e-200, 0.1, 1 / 3])
def test_no_stop_where_x_minus_x_leaves_nothing(scale):
    off = Value(-1.0, "z").relu()
    wide = off * scale * scale
    for output in (off - off, wide - wide, off * scale - scale * off, (wide - wide) * 1e300):
        for swept in (False, True):
            if swept:
                output.backward()
            assert Diagram(output).stops == []
    assert len(Diagram(wide - wide * 0.5).stops) == 1


def test_cancelled_adjoint_is_no_stop():
    off = Value(-1.0).relu()
    output = off - off * 1.0
    output.backward()
    assert off.grad == 0
    assert Diagram(output).stops == []


def test_both_zeros_of_a_square_are_stops():
    x = Value(0.0)
    output = x * x
    output.backward()
    assert [(edge.input, edge.position) for edge in Diagram(output).stops] == [(x, 0), (x, 1)]


def test_nan_adjoint_at_a_zero_is_no_stop():
    x = Value(-1.0)
    output = x.relu() * nan
    output.backward()
    assert Diagram(output).stops == [] and math.isnan(x.grad)


def test_detached_nodes_come_last_and_starve():
    x = Value(2.0, "x")
    trunk = x * 3.0
    output = trunk.detach() + Value(1.0)
    output.backward()
    diagram = Diagram(output)
    assert set(diagram.nodes[-2:]) == {trunk, x}
    assert not diagram.alive & {trunk, x}
    assert [(a.tail.nodes, a.edges) for a in diagram.arrows if a.detached] == [([trunk], [])]


def test_hidden_nodes_take_their_edges_along():
    w, x = Value(0.0, "w"), Value(0.0, "x")
    output = w * x + 1.0
    output.backward()
    diagram = Diagram(output, without=(p for p in [w]))
    assert w not in diagram.nodes and x in diagram.nodes
    assert {edge.input for edge in diagram.edges} == {x, output.inputs[0]}
    assert [edge.input for edge in diagram.stops] == [x]


def test_grads_of_an_earlier_sweep_do_not_count():
    w = Value(2.0, "w")
    (w * 3.0).backward()
    fresh = (w * 4.0).tanh()
    assert not Diagram(fresh).swept


# --- folds ----------------------------------------------------------------------------------------


def test_folds_come_from_finest_to_coarsest():
    output = net()
    took = [Diagram(output, limit=limit).folded for limit in (300, 26, 8, 5, 2, 1)]
    assert took == ["", "neuron", "layer", "op", "all", "all"]
    assert [folded for folded, _ in FOLDS] == ["", "neuron", "layer", "op", "all"]


@pytest.mark.parametrize(
    "limit, boxes",
    [
        (300, [""] * 27),
        (26, ["", *[f"L{k}[{i}]" for k in (2, 1, 0) for i in range(4)], "", ""]),
        (8, ["", "L2", "L1", "L0", "", ""]),
        (5, ["", "L2", "L1", "L0", "leaves"]),
        (2, ["the rest"]),
    ],
)
def test_what_a_fold_is_called(limit, boxes):
    assert sorted(box.name for box in Diagram(net(), limit=limit).boxes) == sorted(boxes)


def test_everything_in_one_box_is_called_the_rest_whatever_comes_first():
    output = net()
    assert [box.name for box in Diagram(output.inputs[0], limit=1).boxes] == ["the rest"]
    assert Diagram(output.inputs[0], limit=1).boxes[0].place == ("", "")


def test_unlabelled_graphs_fold_by_op():
    xs = [Value(float(i)) for i in range(1, 21)]
    output = sum_of([x.tanh() for x in xs])
    diagram = Diagram(output, limit=10)
    assert diagram.folded == "op"
    assert {(box.name, len(box.nodes)) for box in diagram.boxes} == {
        ("", 1), ("tanh", 20), ("leaves", 20),
    }  # fmt: skip


def graphs() -> list[Value]:
    healthy, sick = net(), net({"L0[2]", "L1[0]"})
    many = net({f"L{k}[{i}]" for k in (0, 1, 2) for i in range(3)})
    broken = dot([1.0, 2.0], [Value(nan, "L0[0]"), Value(1.0, "L0[1]")])
    broken.backward()
    scattered = [random_graph(seed) for seed in range(6)]
    for output in scattered:
        output.backward()
    return [healthy, sick, many, broken, *scattered]


@pytest.mark.parametrize("limit", LIMITS)
def test_a_fold_loses_nothing(limit):
    for output in graphs():
        diagram = Diagram(output, limit=limit)
        assert len(diagram.boxes) <= limit
        crossing = len(diagram.arrows) - len(diagram.boxes)
        assert crossing <= max(150, limit // 2) or diagram.folded == "all"
        boxed = [node for box in diagram.boxes for node in box.nodes]
        assert sorted(map(id, boxed)) == sorted(map(id, everything(output)))
        home = {node: box for box in diagram.boxes for node in box.nodes}
        drawn = [edge for arrow in diagram.arrows for edge in arrow.edges]
        assert len(names(drawn)) == len(drawn)
        across = [e for e in diagram.edges if home[e.input] is not home[e.node]]
        assert names(drawn) == names(across)
        for arrow in diagram.arrows:
            ends = {(id(home[e.input]), id(home[e.node])) for e in arrow.edges}
            assert arrow.detached or ends == {(id(arrow.tail), id(arrow.head))}


@pytest.mark.parametrize("limit", LIMITS)
def test_a_stop_is_on_an_arrow_or_announced_by_its_fold(limit):
    for output in graphs():
        diagram = Diagram(output, limit=limit)
        on_arrows = names([edge for arrow in diagram.arrows for edge in arrow.edges])
        inside = [edge for box in diagram.boxes for edge in box.stops]
        assert len(names(inside)) == len(inside)
        assert names(inside) == names(diagram.stops) - on_arrows


@pytest.mark.parametrize("limit", [20, 12, 8])
def test_few_sick_nodes_stay_by_themselves(limit):
    diagram = Diagram(net({"L1[3]"}), limit=limit)
    alone = {box.nodes[0].label for box in diagram.boxes if len(box.nodes) == 1}
    assert diagram.folded
    assert {"L1[3]", "L1[3].z"} <= alone
    assert not any(box.stops for box in diagram.boxes)
    assert names(diagram.stops) & names([e for a in diagram.arrows for e in a.edges])


@pytest.mark.parametrize("number", [nan, inf, -inf])
def test_nodes_that_are_not_finite_stay_by_themselves(number):
    output = net()
    sick = [node for node in everything(output) if node.label in ("L0[1].z", "L2[0]")]
    sick[0].data, sick[1].grad = number, number
    diagram = Diagram(output, limit=8)
    assert diagram.folded == "layer"
    assert all([node] in [box.nodes for box in diagram.boxes] for node in sick)


def test_too_many_sick_nodes_fold_too():
    dead = {f"L{k}[{i}]" for k in range(3) for i in range(3)}
    diagram = Diagram(net(dead), limit=8)
    assert len(diagram.stops) == 9
    assert len(diagram.boxes) <= 8
    assert [len(box.stops) for box in diagram.boxes if box.name == "L2"] == [3]


@pytest.mark.parametrize("zero", [False, True])
def test_parallel_edges_do_not_outgrow_the_picture(zero):
    x, w = Value(3.0, "x"), Value(0.0 if zero else 1.0, "w")
    output = dot([w] * 2000, [x] * 2000)
    output.backward()
    assert len(Diagram(output, limit=300).arrows) <= 600


def test_edges_between_two_single_boxes_are_drawn_each():
    x = Value(3.0)
    diagram = Diagram(x * x)
    assert [len(arrow.edges) for arrow in diagram.arrows] == [1, 1]


def test_many_detached_nodes_of_one_chain(monkeypatch):
    node, cuts = Value(1.0), []
    for _ in range(300):
        node = node * 1.0
        cuts.append(node.detach())
    visits = []

    def counted(*outputs):
        visits.extend(nodes := order(*outputs))
        return nodes

    monkeypatch.setattr("microgradx.engine.order", counted)
    assert len(Diagram(sum_of(cuts)).nodes) == 602
    assert len(visits) < 3 * 602


@pytest.mark.slow
def test_a_long_chain_folds_without_recursion():
    node = Value(1.0)
    for _ in range(100_000):
        node = node * 1.0
    node.backward()
    diagram = Diagram(node)
    assert len(diagram.nodes) == 100_001
    assert diagram.folded == "op"
    assert [len(box.nodes) for box in diagram.boxes] == [100_000, 1]


def test_micrograds_own_net_folds_although_it_is_small():
    """67 nodes without its parameters, but 304 arrows that cross."""
    model = mx.nn.MLP(2, [16, 16, 1], seed=1)
    score = model([Value(0.5), Value(-1.0)])
    score.backward()
    for without in ([], model.parameters()):
        diagram = Diagram(score, without)
        assert diagram.folded and len(diagram.arrows) - len(diagram.boxes) <= 150


def test_a_stop_shows_though_only_another_output_was_swept():
    q = Value(-3.0, "q")
    h = q * 2.0
    (h * 2.0).backward()
    diagram = Diagram((h * 3.0).relu())
    assert not diagram.swept
    assert [edge.node.op for edge in diagram.stops] == ["relu"]


def test_what_lies_behind_a_detach_is_told_from_what_starves():
    q = Value(2.0, "q")
    assert Diagram(q.detach() * 2.0).behind_detach == {q}
    both = Diagram(q.detach() * q)
    assert both.behind_detach == set()
    assert [arrow.detached for arrow in both.arrows].count(True) == 1


def test_a_list_that_no_gradient_goes_to_is_behind_a_detach(temporary_ops):
    @rule(lists=("xs",), silent=("xs",), kind="linear", ceiling=1.0)
    def beside(xp, x, xs):
        """x"""
        return x, 1.0, None

    x, y, z = Value(1.0), Value(2.0), Value(3.0)
    output = apply(beside, x, [y, 4.0, z])
    output.backward()
    diagram = Diagram(output)
    assert diagram.behind_detach == {y, z}
    assert sum(arrow.detached for arrow in diagram.arrows) == 2


# --- stages ---------------------------------------------------------------------------------------


def ladder(rungs, seed=1):
    """Ops that read the last values, now and then all the same one: no chain, and no layers."""
    rng = random.Random(seed)
    values = [Value(rng.uniform(0.5, 1.0), f"v{i}") for i in range(3)]
    for k in range(rungs):
        if k % 5 == 0:
            values = [values[-1], values[-1] * 0.5]  # all goes through the last
        a, b = rng.sample(values[-3:], 2)
        values.append((a + b * 0.3).tanh() if k % 3 else a + b)
    output = mx.sum(values[-2:])
    output.backward()
    return output


def folded_by(word, output, apart=True):
    """One diagram of a graph, folded so from finest to coarsest."""
    diagram = Diagram(output)
    landmarks = diagram.landmarks if apart else set()
    for fold in folds(diagram.graph, landmarks):
        if fold.by == word:
            diagram.fold(fold, landmarks)
            yield diagram


def test_a_stage_ends_where_every_path_goes_through():
    output = ladder(60)
    counts = []
    for diagram in folded_by("stage", output, apart=False):
        counts.append(len(diagram.boxes))
        assert sum(len(box.nodes) for box in diagram.boxes) == len(diagram.nodes)
        deepest = diagram.boxes[-1].nodes[-1]
        chokes = {output, *mx.Flow(output).paths.choke_points(deepest)}
        for box in diagram.boxes[:-1]:
            assert not chokes.isdisjoint(box.nodes)
        for arrow in diagram.arrows:  # from a stage to the next, or from a leaf
            assert arrow.head.number < arrow.tail.number
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize("seed", range(10))
def test_levels_run_one_way_and_lose_nothing(seed):
    output = tangle(80, 10, seed)
    output.backward()
    for diagram in folded_by("level", output):
        boxed = [node for box in diagram.boxes for node in box.nodes]
        assert sorted(map(id, boxed)) == sorted(map(id, order(output)))
        ends = {(arrow.tail, arrow.head) for arrow in diagram.arrows}
        reads = {box: {head for tail, head in ends if tail is box} for box in diagram.boxes}
        done = set()
        for _ in diagram.boxes:  # as long as something is read by nothing but what is done
            done |= {box for box, heads in reads.items() if heads <= done}
        assert len(done) == len(diagram.boxes)


@pytest.mark.parametrize("seed", range(10))
def test_the_first_stop_is_drawn_and_named_however_much_is_folded(seed):
    output = tangle(300, 10, seed)
    output.backward()
    stop = Diagram(output).stops[0]
    picture = mx.draw(output)
    assert "folded by level" in picture.summary
    assert "<b>×0<br/>STOP</b>" in picture.source
    assert f"first at {stop.node.op}(" in picture.source
    for diagram in folded_by("level", output):
        assert [stop.node] in [box.nodes for box in diagram.boxes]


def test_the_place_where_a_gradient_vanishes_is_drawn_and_named():
    nodes = [Value(0.5, f"v{i}") for i in range(3)]
    for i in range(40):
        nodes += [(nodes[-1] + nodes[-3]) * 0.5, nodes[-2] * 0.5 + nodes[-1].tanh()]
        if i == 20:
            nodes[-3:] = [x * 1e-5 for x in nodes[-3:]]
    output = mx.sum(nodes[-3:])
    output.backward()
    diagram = Diagram(output)
    assert diagram.fading is not None
    behind = [x for x in order(output) if x.rule]
    depths, index = diagram.graph.depths, diagram.graph.index
    depth = depths[index[diagram.fading]]
    at = {x: depths[index[x]] for x in behind}
    least = 1e-3 * output.grad
    assert all(abs(x.grad) < least for x in behind if at[x] >= depth)
    assert any(abs(x.grad) >= least for x in behind if at[x] == depth - 1)
    assert "gets small at" in mx.draw(output).source


@pytest.mark.parametrize("steps", [8, 30])
def test_a_recurrent_net_folds_by_steps_of_time(steps):
    output = recurrent(steps)
    output.backward()
    diagram = next(folded_by("step", output))
    named = [box.name for box in diagram.boxes if box.name.startswith("step")]
    spans = [[int(n) for n in re.findall(r"\d+", name)] for name in named]
    assert spans[0][-1] == steps and spans[-1][0] == 1
    assert {box.name for box in diagram.boxes} >= {"parameters", f"after step {steps}"}
    assert "folded by step" in mx.draw(output).summary


def test_two_models_with_the_same_labels_stay_apart():
    output = two_models(1)
    output.backward()
    for by in ("neuron", "layer"):
        diagram = next(folded_by(by, output))
        names = [box.name for box in diagram.boxes if box.name]
        assert len({*names}) == len(names)
        for k in (1, 2):
            [name] = [
                name for name in names if name.startswith("layers.1") and f"model {k}" in name
            ]
        for box in diagram.boxes:
            parameters = [x.label for x in box.nodes if not x.rule and "weight" in x.label]
            assert len({*parameters}) == len(parameters)


def test_inputs_that_samples_share_a_label_of_are_of_no_model():
    """Neither do two models become one by reading the same inputs."""

    def graph(models):
        xs = [[Value(i + k, f"x[{k}]") for k in range(3)] for i in (1.0, 2.0)]
        targets = [Value(i, "target[0]") for i in (1.0, 2.0)]
        return sum_of([m(x) * t for m in models for x, t in zip(xs, targets)])

    one, other = mx.nn.MLP(3, [4, 1], seed=1), mx.nn.MLP(3, [4, 1], seed=2)
    for by in ("neuron", "layer"):
        for models in ([one], [one, other]):
            boxes = next(folded_by(by, graph(models))).boxes
            names = [box.name or box.nodes[0].label for box in boxes]
            inputs = {name for name in names if name.startswith(("x", "target"))}
            assert inputs <= {"x[0]", "x[1]", "x[2]", "x", "target[0]", "target"}
            suffixes = {name[-11:] for name in names if name.startswith("layers.0[0]")}
            assert by == "layer" or suffixes == (
                {"layers.0[0]"} if len(models) == 1 else {" of model 1", " of model 2"}
            )


def test_a_graph_of_ops_is_put_together_when_it_has_no_room():
    picture = mx.draw(ladder(60))
    assert "folded by stage" in picture.summary
    assert "folded" not in mx.draw(ladder(60), nodes=True).summary
    assert "folded" not in mx.draw(ladder(4)).summary


def test_a_tower_is_drawn_where_a_row_has_no_room():
    output = Value(1.0)
    for _ in range(7):
        output = output * Value(2.0, "a rather long name of a weight that fills a row").tanh()
    output.backward()
    assert "rankdir=BT" in mx.draw(output).source.replace('"', "")
    assert "rankdir=LR" in mx.draw(output, direction="LR").source.replace('"', "")


def test_positions_are_asked_for_once_a_node(monkeypatch):
    """Once an edge, they would cost the square of a node's inputs."""
    asked = []
    monkeypatch.setattr(graph, "positions", lambda node: asked.append(node) or positions(node))
    output = sum_of([Value(0.1 * i).tanh() * 2.0 for i in range(50)])
    it = graph.Graph(output)
    edges = [it.edge(e) for e in range(len(it.tails))]
    assert edges == [edge for node in order(output) for edge in node.edges]
    assert len(asked) == len([node for node in order(output) if node.rule]) == 101
