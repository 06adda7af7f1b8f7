"""why, asked of every node of graphs full of 0, inf, nan and numbers at the ends of the floats."""

import math
import random

from microgradx import Flow, draw
from microgradx.engine import Value, apply, order, with_cut_off
from microgradx.explain.bounds import Bounds
from microgradx.explain.verdicts import TABLE as VERDICTS
from microgradx.rules import TABLE
from microgradx.step import words
from microgradx.step.terminal import screen
from microgradx.step.walk import Stepper
from tests.operands import arity, grouped

inf, nan = math.inf, math.nan
ODD = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 5e-324, -5e-324, 1e-310, 1e-200, 1e-162, 1e-17, 1e17, 1e162,
       1e200, -1e200, 1e308, -1e308, inf, -inf, nan, 710.0, -745.0, 40.0]  # fmt: skip
LABELS = ["", "", "w1", "b", "layers.0[0]", "layers.0[1]", "layers.1[0]", "layers.0.weight[0,1]"]


def odd_graph(dice):
    """An output, and all that was made on the way."""
    nodes = [Value(dice.choice(ODD), dice.choice(LABELS)) for _ in range(4)]
    for _ in range(dice.randrange(1, 12)):
        row = dice.choice([*TABLE.values()])
        operands = [dice.choice(nodes[-6:]) if dice.random() < 0.8 else dice.choice(ODD)
                    for _ in range(arity(row, 2))]  # fmt: skip
        nodes.append(apply(row, *grouped(row, operands, 2)))
        nodes[-1].label = dice.choice(LABELS)
    return nodes[-1], nodes


def test_why_answers_for_every_node_and_never_calls_a_fresh_gradient_stale(many):
    dice, asked, verdicts = random.Random(17), 0, set()
    for _ in range(many(400, 30_000)):
        output, nodes = odd_graph(dice)
        output.backward()
        flow = Flow(output, reference=dice.choice([None, 9.0, -9.0]), cancels=1.0)
        for node in nodes:
            why = flow.why(node)
            text = str(why)
            assert why.verdict in VERDICTS and text and why.path is not None
            assert why.repairs is not None and why.choke_points is not None and repr(why)
            verdicts.add(why.verdict)
            asked += 1
            if node in flow:
                spoilt = why.flow.g != why.flow.g and node.grad != node.grad
                assert spoilt or why.flow.g == node.grad, (node, why.flow.g)
                assert why.remark is None, text
    assert asked > 1000 and verdicts == {*VERDICTS}


def test_whatever_shows_such_a_graph_shows_it(many):
    dice = random.Random(18)
    for _ in range(many(30, 3_000)):
        output, nodes = odd_graph(dice)
        leaves = [x for x in with_cut_off(output) if x.rule is None]
        if dice.random() < 0.7:
            output.backward()
        assert draw(output).source and draw(output, nodes=True, fold_above=4).source
        assert draw(output, explain=dice.choice(order(output))).source
        assert list(words.sweep(output, 80))
        stepper = Stepper(output)
        for _ in range(4):
            assert screen(stepper, 80, 24)
            stepper.next()
        box = Bounds(output, {x: (x.data, x.data) if x.data == x.data else (-1, 1) for x in leaves})
        assert str(box) and all(str(box.gradient(x)) for x in leaves)
