"""A picture that explains a gradient: widths, colours and badges against the flow itself."""

import re

import pytest

import microgradx as mx
from microgradx.engine import order
from microgradx.explain.explanation import why
from microgradx.explain.paths import Paths
from microgradx.pictures.sheet import Shares
from microgradx.pictures.style import AWAY, STOP, STRONGER, STRONGEST, WEAKER


def two_ways():
    """x goes 9/10 through a strengthening path, 1/10 through an opposing one; k leads elsewhere."""
    x, k = mx.Value(1.0, "x"), mx.Value(5.0, "k")
    strong, opposing = x * 3.0, x * -0.5
    output = strong + opposing * 2.0 + k * 7.0
    output.backward()
    return x, k, strong, opposing, output


def edge_into(node, source):
    [edge] = [edge for edge in node.edges if edge.input is source]
    return edge


def test_widths_are_shares_and_colours_are_credit():
    x, k, strong, opposing, output = two_ways()
    shares = Shares(why(x, output))
    into_strong, into_opposing = edge_into(strong, x), edge_into(opposing, x)
    assert shares.share[into_strong] == pytest.approx(0.9)
    assert shares.share[into_opposing] == pytest.approx(0.1)
    assert shares.line([into_strong])["color"] == STRONGEST  # the strongest path
    assert shares.line([into_opposing])["color"] == WEAKER
    assert shares.line([into_opposing])["style"] == "dashed"
    assert shares.line([into_strong])["style"] == "solid"
    widths = [float(shares.line([e])["penwidth"]) for e in (into_strong, into_opposing)]
    assert widths == pytest.approx([0.8 + 5.2 * 0.9, 0.8 + 5.2 * 0.1])
    doubled = next(node for node in order(output) if opposing in node.inputs)
    assert shares.line([edge_into(doubled, opposing)])["color"] == STRONGER
    elsewhere = next(node for node in order(output) if k in node.inputs)
    assert shares.line([edge_into(elsewhere, k)])["color"] == AWAY
    assert shares.badge([into_strong]) == "90%"


def test_shares_out_of_the_node_add_up_to_one():
    model = mx.nn.MLP(3, [4, 4, 2], activation="tanh", seed=0)
    xs = [mx.Value(x) for x in (0.3, -0.4, 1.5)]
    loss = mx.nn.cross_entropy(model(xs), 1)
    for x in xs:
        shares = Shares(why(x, loss))
        out = [e for node in order(loss) for e in node.edges if e.input is x]
        assert sum(shares.share[e] for e in out) == pytest.approx(1.0, abs=1e-12)


def test_the_picture_names_verdict_and_budget():
    x = mx.Value(0.5, "x")
    y = x.sigmoid().sigmoid().sigmoid()
    y.backward()
    picture = mx.draw(y, explain=x)
    why = mx.why(x, y)
    for text in ("decades", "sigmoid ceiling", f"{why.budget['sigmoid ceiling']:+.2f}"):
        assert text in picture.source
    assert f", {why.verdict}" in picture.source
    total = sum(why.budget.values())
    paths = Paths(y)
    assert total == pytest.approx(paths.wide(paths.index[x]).decades, abs=1e-12)


def test_a_stopped_gradient_has_its_bar_and_no_shares():
    x = mx.Value(-1.0, "x")
    y = x.relu() * 2.0
    y.backward()
    picture = mx.draw(y, explain=x)
    assert "stopped: relu off" in picture.source and "STOP" in picture.source
    assert Shares(why(x, y)).together(y.inputs[0].edges) == 0.0


def test_an_edge_that_is_alone_to_blame_stands_out():
    x = mx.Value(0.5, "x")
    y = (x.sigmoid().sigmoid() - 30.0).sigmoid().sigmoid()
    y.backward()
    source = mx.draw(y, explain=x).source
    assert re.findall(r'×(\S+)\n +culprit "[^\n]*fontcolor="(\S+)"', source) == [("1.79e-13", STOP)]
    assert source.count(STOP) == 2  # the line and its words
    even = mx.draw(x.sigmoid().sigmoid().sigmoid(), explain=x).source
    assert STOP not in even and "culprit" not in even


def test_a_node_of_another_graph_is_explained_as_disconnected():
    y = mx.Value(1.0) * 2.0
    y.backward()
    assert "disconnected" in mx.draw(y, explain=mx.Value(1.0, "stranger")).source


def test_what_is_no_value_is_refused():
    y = mx.Value(1.0) * 2.0
    with pytest.raises(TypeError, match="explain takes a Value"):
        mx.draw(y, explain="x")
