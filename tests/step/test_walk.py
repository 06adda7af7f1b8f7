"""The terminal stepper: the walk, the words, the screen, and real sessions with it."""

import math
import os
import re
import select
import subprocess
import sys

import pytest

from microgradx import Flow, Value, dot, nn, rules, step, sum, why
from microgradx._base.text import short, squeeze, width
from microgradx.engine import apply, order, record_lines
from microgradx.step.terminal import colour, screen
from microgradx.step.walk import COMMANDS, Stepper, tree
from microgradx.step.words import formula, made, pad, product, sweep, wrapped
from tests.counting import calls
from tests.explain.test_paths import random_graph
from tests.operands import grouped

NEURON = """
from microgradx import Value
x1, x2, w1, w2 = Value(2.0, "x1"), Value(0.0, "x2"), Value(-3.0, "w1"), Value(1.0, "w2")
b = Value(6.8813735870195432, "b")
n = x1 * w1 + x2 * w2 + b
n.label = "n"
o = n.tanh()
o.label = "o"
"""
AT_W1 = """\
  edge 7 of 9                                   local      data      grad
  o  tanh                                                 0.707         1
  └ n  add                                       ×0.5     0.881       0.5
    ├ add(-6)                                      ×1        -6       0.5
    │ ├ mul(-6)                                    ×1        -6       0.5
    │ │ ├ x1                                      ×-3         2      -1.5
▶   │ │ └ w1                                       ×2        -3         1
    │ └ mul(0)                                     ×1         0       0.5
    │   ├ x2                                       ×1         0         –
    │   └ w2                                       ×0         1         –
    └ b                                            ×1      6.88       0.5

  Backward: from mul(-6) to w1, through mul

  0.5          ×  2             =  1
  upstream        local            contribution
  ∂o/∂mul(-6)     ∂mul(-6)/∂w1     to ∂o/∂w1

  mul: x · y  ⇒  ∂/∂y = x = 2, where x = x1, y = w1
  w1.grad: 0 + 1 = 1, which is final
  strongest path through this edge: 1 o ×0.5 n ×1 add(-6) ×1 mul(-6) ×2 w1 = 1

n next  b back  s stop  j LABEL  w why  t turn  g first  G last  h help  q quit"""
HOSTILE = ["\x1b]0;owned\x07\x1b[2J", "a\nb\r\nc\x85d\u2028e", "\u202eabc", "权重" * 30,
           "\ud800", "🙂" * 50, "<b>" + "x" * 300, " "]  # fmt: skip


def neuron():
    left = {}
    exec(NEURON, left)
    return left["o"]


def dead():
    """An MLP, one of whose ReLUs is off."""
    model = nn.MLP(2, [3, 1], seed=1)
    for p in model.layers[0].neurons[1].parameters():
        p.data = -abs(p.data) - 0.5
    loss = nn.mse_loss([model([Value(1.5, "x0"), Value(0.5, "x1")])], [1.0])
    loss.label = "loss"
    return loss


def relu_off():
    x = Value(-2.0, "x")
    y = (x * 3.0).relu()
    y.label = "y"
    return y * x + 1.0


def ladder(rungs):
    """As many nodes as rungs, and a path for each number below 2 ** rungs."""
    x = Value(1.0, "x")
    for _ in range(rungs):
        x = x + x
    return x


def chain(length, factor=1.00001):
    x = Value(1.0, "x")
    for _ in range(length):
        x = x * factor
    x.label = "loss"
    return x


def odd():
    x = Value(0.0, "x")
    return (x.log() * x + 1e300 * (x + 1e300)) * math.nan


GRAPHS = [neuron, dead, relu_off, odd, lambda: Value(3.0), lambda: ladder(9),
          lambda: chain(40, 0.5), lambda: sum([Value(i, f"x{i}") for i in range(40)]),
          *(lambda seed=seed: random_graph(seed) for seed in range(12))]  # fmt: skip


def at(output, *asked):
    stepper = Stepper(output)
    for text in asked:
        stepper.ask(text)
    return stepper


def seen(stepper, columns=80, rows=24):
    return screen(stepper, columns, rows).split("\n")


# --- the walk -------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", GRAPHS)
def test_the_final_grads_are_the_engines_and_no_grad_is_touched(build):
    output = build()
    for node in order(output):
        node.grad = 7.5
    stepper = at(output, "last", "why", "back", "next", "first", "last")
    screen(stepper, 80, 24)
    list(sweep(output, 80))
    found = {node: stepper.grad(node) for node in order(output)}
    assert all(node.grad == 7.5 for node in found)
    for node in found:
        node.grad = 0.0
    output.backward()
    assert [x.hex() for x in found.values()] == [node.grad.hex() for node in found]


@pytest.mark.parametrize("build", GRAPHS)
def test_every_moment_fits_and_back_undoes_next(build):
    stepper, shown = Stepper(build()), []
    for moment in stepper.moments:
        lines = seen(stepper)
        assert max(map(width, lines)) <= 80 and len(lines) <= 23
        (here,) = (line for line in lines if line.startswith("▶"))
        node = moment.subject
        assert stepper.moment is moment and f" {short(node.data)}" in here
        assert max(map(width, seen(stepper, 40, 24))) <= 40
        assert seen(stepper, 40, 24)[-1] == "n next  b back  h help  q quit"
        assert seen(stepper, 1, 1)
        shown.append(lines)
        stepper.ask("n")
    assert stepper.notice == "this is the end: every grad is final"
    for lines in reversed(shown):
        assert seen(stepper) == lines or "this is the end" in stepper.notice
        stepper.ask("b")
    assert stepper.now == 0 and stepper.notice == "this is the beginning"


def test_a_grad_grows_edge_by_edge():
    x = Value(3.0, "x")
    stepper = at(x * x, "turn")
    assert stepper.grad(x) is None and stepper.grad(stepper.output) == 1
    stepper.next()
    assert stepper.grad(x) == 3 and " 3 so far" in seen(stepper)[2] + seen(stepper)[3]
    stepper.next()
    assert stepper.grad(x) == 6 and " so far" not in "\n".join(seen(stepper))
    assert "  x.grad: 3 + 3 = 6, which is final" in seen(stepper)
    assert "  x.grad: 0 + 3 = 3, more to come" in seen(at(x * x, "t", "n"))


def test_stop_lands_on_the_edge_into_a_dead_relu():
    stepper = Stepper(relu_off())
    assert "STOP" not in screen(stepper, 80, 24)
    stepper.ask("s")
    while stepper.moment.edge.node.op != "relu":
        stepper.ask("stop")
    assert (stepper.moment.edge.partial, stepper.moment.adjoint) == (0.0, -2.0)
    (here,) = (line for line in seen(stepper) if line.startswith("▶"))
    assert "STOP ×0" in here
    assert "  mul(-6).grad: 0 + 0 = 0, which is final. STOP: nothing gets through" in seen(stepper)
    where = stepper.now
    stepper.ask("s")
    assert stepper.now == where and stepper.notice == "after this the gradient stops nowhere"
    stepper.ask("b")
    assert "STOP" not in "".join(line for line in seen(stepper) if "mul(-6)" in line)


def test_every_stop_is_found_once():
    output = dead()
    stepper, found = Stepper(output), []
    while "nowhere" not in stepper.notice:
        stepper.ask("s")
        found.append(stepper.now)
    expected = [visit.node for visit in output.backward_steps() if step.stops(visit)]
    assert {stepper.moments[i].node for i in found} == set(expected)
    assert found[:-1] == sorted(set(found)) and found[-1] == found[-2]


def test_jump_goes_where_a_grad_becomes_final():
    stepper = Stepper(dead())
    for node in stepper.timeline.nodes:
        moment = stepper.timeline.final(node)
        if node.label:
            stepper.ask(f"j {node.label}")
            assert stepper.now == moment and stepper.moment.subject is node
            assert stepper.notice == ""
    stepper.ask("jump  loss ")
    assert stepper.now == stepper.timeline.turn


def test_jump_to_one_of_many():
    x, y = Value(2.0, "a"), Value(3.0, "a")
    stepper, found = Stepper(x * y + 1.0), []
    for _ in range(3):
        stepper.ask("j a")
        found.append(stepper.moment.subject)
        assert stepper.notice == "there are 2 of that name; jump again for the next"
    assert found == [x, y, x]
    far, near = Value(1.0, "b"), Value(1.0, "b")
    both = Stepper(far + (near + far * 1.0))
    both.ask("j b")
    assert both.moment.subject is near  # though far was met before it
    stepper.ask("j mul(6)")
    assert stepper.moment.subject is stepper.output.inputs[0] and stepper.notice == ""


@pytest.mark.parametrize("asked, close", [
    ("j layers.0.weigth[0,0]", "no node is called layers.0.weigth[0,0]; the closest are"
                               " layers.0.weight[0,0],"),
    ("why layers.0.weight[0,9]", "the closest are layers.0.weight[0,"),
    ("j §", "there are loss, layers."), ("j", "jump where? There are loss, layers."),
])  # fmt: skip
def test_an_unknown_label_lists_the_closest(asked, close):
    stepper = at(dead(), "t", asked)
    assert stepper.now == stepper.timeline.turn and not stepper.said
    assert close in stepper.notice
    assert close.split()[-1] in " ".join(seen(stepper)[-3:])


@pytest.mark.parametrize("n, there", [
    (6, "a0, a1, a2, a3, a4, a5"), (7, "a0, a1, a2, a3, a4, …"),
])  # fmt: skip
def test_of_many_names_there_are_the_first(n, there):
    xs = [Value(1.0, f"a{i}") for i in range(1, n)]
    output = sum(xs)
    output.label = "a0"
    stepper = Stepper(output)
    stepper.ask("j")
    there_are = stepper.notice.removeprefix("jump where? There are ")
    assert there_are == there


def test_why_is_what_why_says_without_a_backward():
    output = dead()
    for label in ("layers.0.weight[1,0]", "layers.1.bias[0]", "loss"):
        (node,) = (node for node in order(output) if node.label == label)
        shown = " ".join(" ".join(seen(at(output, f"w {label}"), 80, 60)).split())
        output.backward()
        assert " ".join(str(why(node, output)).split()) in shown
        for each in order(output):
            each.grad = 0.0
        assert at(output, f"j {label}", "w").said == at(output, f"why {label}").said != ""
    stepper = at(output, "why layers.0.weight[0,1]")
    assert "\n    " not in stepper.said  # nothing is wrapped but by the screen
    assert {f"  {line}" for line in stepper.said.split("\n")} <= set(seen(stepper, 300, 60))
    stepper.ask("n")
    assert not stepper.said and stepper.now == 1


def test_letters_and_words_do_the_same():
    for letter, name in COMMANDS.items():
        for word in (name, name.upper(), name.capitalize(), f"  {name}  "):
            one, other = at(relu_off(), "t", "n", f"{letter} y"), at(relu_off(), "t", "n")
            other.ask(f"{word} y")
            facts = [(x.now, x.said, x.notice, x.over) for x in (one, other)]
            assert facts[0] == facts[1], word
    places = [at(neuron(), "t", "n", x).now for x in ("", "n", "b", "g", "G", "t", "h", "N")]
    assert places == [12, 12, 10, 0, 19, 10, 11, 12]
    assert at(neuron(), "q").over and not at(neuron(), "n").over


def test_help_and_what_it_is_not():
    said = screen(at(neuron(), "h"), 80, 24)
    for letter, name in COMMANDS.items():
        assert f"  {letter}, {name} " in said
    assert len(said.split("\n")) <= 23 and "Forward:" not in said
    for word in ("x", "ask", "_named", "\x1b[2J", "line"):
        stepper = at(neuron(), "n", word)
        assert stepper.now == 1 and "there are next, back, stop, jump, why" in stepper.notice
        assert "\x1b" not in screen(stepper, 80, 24)


# --- the words ------------------------------------------------------------------------------------


def test_the_screen_of_the_lecture_neuron():
    assert seen(at(neuron(), "j w1")) == AT_W1.split("\n")
    assert product(at(neuron(), "j w1").moment) == "0.5 × 2 = 1"
    assert product(at(neuron(), "j x1").moment) == "0.5 × (-3) = -1.5"


def test_the_screen_on_the_way_forward():
    shown = seen(at(neuron(), "g", "n", "n"))
    assert [line.split() for line in shown[:11]] == [
        ["value", "3", "of", "10", "local", "data", "grad"], ["o", "tanh", "–"],
        ["└", "n", "add", "–"], ["├", "add(-6)", "–"], ["│", "├", "mul(-6)", "–"],
        ["│", "│", "├", "x1", "–"], ["▶", "│", "│", "└", "w1", "-3"], ["│", "└", "mul(0)", "–"],
        ["│", "├", "x2", "0"], ["│", "└", "w2", "1"], ["└", "b", "–"],
    ]  # fmt: skip
    assert "local" not in seen(at(neuron(), "t"), 40)[0]


def test_the_window_of_a_large_tree():
    stepper = at(dead(), "j layers.0[1].z")
    for _ in range(3):
        lines = seen(stepper)
        body = lines[1 : lines.index("")]
        assert len(body) == 24 - 3 - len(lines[lines.index("") + 1 :])
        assert body[0].startswith("… ") and body[-1].startswith("… ")
        assert 3 <= [line[0] for line in body].index("▶") <= 6
        stepper.ask("n")
    body = seen(at(dead(), "j layers.1.bias[0]"))[1:12]
    assert body[0].startswith("… ") and any(line.startswith("▶ ") for line in body)
    assert "layers.1.bias[0]" in body[body.index("") - 1]


def test_long_names_make_room_for_each_other():
    x = Value(2.0, "x" * 70)
    y = x.tanh()
    y.label = "y" * 70
    lines = seen(at(y, "t", "n"))
    (line,) = (line for line in lines if "upstream" in line)
    assert line.split() == ["upstream", "local", "contribution"]


def test_how_a_value_came_about():
    x, y = Value(-2.0, "x"), Value(0.5, "y")
    many = dot([x] * 4, [y] * 4, x)

    def said(node):
        return " ".join(text for text, _ in made(node))

    assert said(x) == "-2" and said(y * x) == "0.5 × (-2) = -1" and said(-x) == "- (-2) = 2"
    assert said(3.0 * x) == "3 × (-2) = -6" and said(y.tanh()) == "tanh 0.5 = 0.462"
    assert said(y - 1.0) == "0.5 + (-1) = -0.5" and said(x * 0.0) == "-2 × 0 = 0"
    assert said(many) == "dot -2 -2 -2 -2 … = -6" and ("…", "5 more") in made(many)
    assert made(x / y)[0] == ("-2", "x") and made(x / y)[2] == ("0.5", "y")


def test_the_mathematics_of_every_op():
    operands = [Value(0.5 + i, f"v{i}") for i in range(5)]
    for rule in list(rules.TABLE.values()):
        node = apply(rule, *grouped(rule, operands, 2))
        for edge in node.edges:
            assert formula(edge).startswith(f"{rule.name}: {rule.__doc__}  ⇒  ∂/∂")
            assert not rule.partials or any(
                f" = {x}" in formula(edge) or formula(edge).endswith(f" ({x})")
                for x in rule.partials
            )
    a, b, c, d, _ = operands
    weight, bias = dot([a, b], [c, d], a).edges[1], dot([a, b], [c, d], a).edges[4]
    assert formula(weight).endswith("∂/∂wᵢ = xᵢ = 3.5, where xᵢ = v3")
    assert formula(bias).endswith("∂/∂bias = 1")
    assert formula((a / 2.0).edges[0]).endswith("∂/∂x = 1 / y = 0.5, where x = v0, y = 2")
    assert formula((a + b).edges[1]).endswith("∂/∂y = 1, where x = v0, y = v1")


@pytest.mark.parametrize("build", GRAPHS)
def test_the_product_along_the_strongest_path(build):
    output = build()
    stepper, flow = Stepper(output), Flow(output)
    for moment in stepper.moments[stepper.timeline.turn + 1 :]:
        edges = [moment.edge, *flow.path(moment.node)]
        shown, value = stepper.path_through(moment.edge)
        assert shown == edges[:5][::-1]
        expected = math.prod(edge.partial for edge in edges)
        assert float(value) == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_a_product_too_small_for_a_float():
    lines = "\n".join(seen(at(chain(4, 1e-100), "j x")))
    assert "through this edge: 1 loss ×1e-100 " in lines and " x = 1.00e-400" in lines
    assert " edge: 1 loss … ×0.5 " in "\n".join(seen(at(chain(9, 0.5), "j x")))


def test_the_line_that_made_a_node_is_told():
    with record_lines():
        x = Value(2.0, "x")
        y = x * x
    line = f"test_walk.py:{y.line[1]})"
    assert f"  Forward: the value of y ({line}" in seen(at(y, "n"))
    assert f"  Backward: from y to x, through mul ({line}" in seen(at(y, "t", "n"))


# --- the tree -------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [*GRAPHS, lambda: ladder(60)])
def test_the_tree_has_a_line_for_each_edge(build):
    output = build()
    lines, nodes = tree(output), order(output)
    edges = [edge for node in nodes for edge in node.edges]
    assert len(lines) == 1 + len(edges)
    assert {line.node for line in lines if not line.again} == set(nodes)
    assert len([line for line in lines if not line.again]) == len(nodes)
    for line in lines[1:]:
        parent = lines[line.parent]
        assert parent.node is line.edge.node and parent.depth == line.depth - 1
        assert not parent.again and line.last == (line.edge == parent.node.edges[-1])


def test_a_shared_node_is_referred_to():
    shown = [line[2:40].rstrip() for line in seen(at(ladder(3), "G"))[1:8]]
    assert shown == [
        "add(8)", "├ add(4)", "│ ├ add(2)", "│ │ ├ x", "│ │ └ x  ↑", "│ └ add(2)  ↑", "└ add(4)  ↑",
    ]  # fmt: skip
    assert seen(Stepper(ladder(3)))[4].startswith("▶ │ │ ├ x ")


def test_a_graph_twice_as_deep_is_twice_the_work_to_open():
    def work(length):
        output = chain(length)
        return calls(lambda: seen(Stepper(output)))

    assert work(4000) < 2.2 * work(2000)


@pytest.mark.slow
def test_a_deep_graph_opens(many):
    output = chain(many(20_000, 100_000))
    stepper = Stepper(output)
    assert len(seen(stepper)) <= 23
    for asked in ("t", "j x", "b", "w", "s"):
        stepper.ask(asked)
        assert len(seen(stepper)) <= 23 and max(map(width, seen(stepper))) <= 80
    assert stepper.now == stepper.end - 1
    (here,) = (line for line in seen(stepper) if line.startswith("▶"))
    assert "mul(1)" in here
    assert len(tree(output)) > 10 * sys.getrecursionlimit()


def test_strokes_far_from_the_left_are_counted():
    x, y = chain(50), Value(2.0, "y")
    x.label = ""
    lines = seen(at(x * y, "j x"))
    (here,) = (line for line in lines if line.startswith("▶"))
    assert "└ x " in here and "levels" not in here
    lines = seen(at(x * y, "j y"))
    assert any("levels in: x" in line for line in lines), lines
    assert any(line.startswith("▶ y ") for line in lines)


# --- text in a terminal ---------------------------------------------------------------------------


@pytest.mark.parametrize("label", HOSTILE)
def test_hostile_labels_are_harmless(label):
    x = Value(0.0, label)
    y = (x * Value(2.0, label)).relu()
    y.label = label
    stepper = Stepper(y)
    shown = [*sweep(y, 80)]
    for asked in (*["n"] * 7, "w", "h", "G", f"j {label}", f"why {label}", "j zz", label or "x"):
        stepper.ask(asked)
        shown += seen(stepper) + seen(stepper, 40, 24)
    assert max(map(width, shown)) <= 80
    assert all(c.isprintable() for line in shown for c in line)
    clean = label.strip()
    if clean and width(clean) < 8:
        stepper.ask(f"j {clean}")
        assert "of that name" in stepper.notice


def test_texts_fit():
    assert squeeze("abcdef", 6) == "abcdef" and squeeze("abcdefg", 6) == "abc…fg"
    assert [width(pad("权重权重", n)) for n in range(1, 12)] == list(range(1, 12))
    assert (width("权重a🙂"), width("e×"), width("")) == (7, 2, 0)
    assert wrapped("a\nb", 20) == ["  a\ufffdb"]
    lines = wrapped("权重 " * 20, 20)
    assert max(map(width, lines)) <= 20 and "".join(lines).count("权重") == 20
    assert screen(at(neuron(), "t"), 80, 24, colour).count("\x1b[") % 2 == 0
    bare = re.sub(r"\x1b\[[\d;]*m", "", screen(at(dead(), "s"), 80, 24, colour))
    assert bare == screen(at(dead(), "s"), 80, 24)
    lines = screen(at(dead(), "s"), 80, 24, colour).split("\n")
    red = [line for line in lines if line.startswith("\x1b[1;31m")]
    assert ["STOP ×0" in line for line in red] == [True, False, False]  # tree and sum
    first = screen(at(neuron(), "n"), 80, 24, colour).split("\n")
    assert [line.split("m")[0][2:] for line in first[1:11]] == [
        "2", "2", "2", "2", "2", "2", "2", "1", "  │   └ w2                                      "
        "            1", "2",
    ]  # fmt: skip
    assert colour("text", "") == "text"


def test_the_sweep_in_full():
    lines = list(sweep(neuron(), 80))
    assert lines[0] == "Backpropagation through o: 10 values, then 9 edges"
    assert lines[lines.index("x1 = 2") + 2] == "mul(-6): 2 × (-3) = -6"
    assert lines[-4:] == [
        "mul(0) → x2: 0.5 × 1 = 0.5", "    x2.grad: 0 + 0.5 = 0.5, which is final",
        "mul(0) → w2: 0.5 × 0 = 0", "    w2.grad: 0 + 0 = 0, which is final. STOP: nothing gets"
        " through",
    ]  # fmt: skip
    assert lines[lines.index("") + 1] == "w2 = 1"
    assert lines[lines.index("o.grad = 1, where the sweep starts") - 1] == ""
    x = Value(3.0, "x y")
    said = list(sweep(x * x, 80))
    assert "    (x y).grad: 0 + 3 = 3, more to come" in said
    assert "    (x y).grad: 3 + 3 = 6, which is final" in said


def test_the_sweep_leaves_no_number_out():
    x = Value(1.2345e-10, "a very long name " * 9)
    y = x * x
    y.label = "another one that is long " * 9
    for columns in (24, 40, 80):
        lines = [*sweep(y, columns)]
        assert max(map(width, lines)) <= columns
        said = " ".join(" ".join(lines).split())
        assert "1 × 1.23e-10 = 1.23e-10" in said
        assert ".grad: 1.23e-10 + 1.23e-10 = 2.47e-10, which is final" in said


# --- real sessions --------------------------------------------------------------------------------


def environment(**more):
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    left_out = ("COLUMNS", "LINES", "NO_COLOR", "PYTHONSTARTUP")
    kept = {name: x for name, x in os.environ.items() if name not in left_out}
    return {**kept, "PYTHONPATH": paths, "PYTHONIOENCODING": "utf-8", "TERM": "xterm", **more}


def command(target):
    return [sys.executable, "-m", "microgradx", "step", str(target)]


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text("print('hello')\n" + NEURON + "loss = o * 1\n", encoding="utf-8")
    return path


class Session:
    """A session at a terminal of 80 × 24."""

    def __init__(self, target, **more):
        pty, fcntl, termios = map(pytest.importorskip, ("pty", "fcntl", "termios"))
        self.terminal, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, b"\x18\0\x50\0\0\0\0\0")  # 24, 80
        self.process = subprocess.Popen(
            command(target), stdin=other, stdout=other, stderr=other,
            env=environment(**more), start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(other)
        self.raw = ""
        self.all = self.read()
        self.modes = termios.tcgetattr

    def echoes(self):
        """Whether the terminal shows what is typed, and waits for Enter, as it does by itself."""
        return self.modes(self.terminal)[3] & 0o12 == 0o12  # ICANON and ECHO

    def read(self, again=b""):
        """The output until the next prompt, or until the end."""
        self.raw = ""
        data = b""
        while not re.search(r"\n> $|\A(jump |:)$", self.text(data)):
            if not select.select([self.terminal], [], [], 1 if again else 20)[0]:
                assert again, self.text(data)
                os.write(self.terminal, again)  # readline misses a Ctrl-C just before it waits
                again = b""
                continue
            try:
                more = os.read(self.terminal, 65536)
            except OSError:
                more = b""
            if not more:
                break
            data += more
        self.raw = data.decode(errors="ignore")
        return self.text(data)

    def text(self, data):
        return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", data.decode(errors="ignore")).replace("\r", "")

    def ask(self, text):
        text = text if isinstance(text, bytes) else text.encode()
        os.write(self.terminal, text)
        self.all += (said := self.read(text if text < b" " and text != b"\n" else b""))
        return said

    def end(self, text):
        said = self.ask(text)
        assert self.process.wait(20) == 0
        assert self.echoes()
        os.close(self.terminal)
        assert "Traceback" not in self.all
        return said


def test_a_session_at_a_terminal(script):
    session = Session(f"{script}:o")
    assert "hello" in session.all and "value 1 of 10" in session.all
    assert "value 2 of 10" in session.ask("\n")
    assert not session.echoes()
    assert "\x1b[H\x1b[2J" in session.raw and "\x1b[1m" in session.raw
    for key, value in ("n", 3), (" ", 4), ("\x1b[C", 5), ("\x1b[D", 4), ("\x1bOB", 5), ("b", 4):
        assert f"value {value} of 10" in session.ask(key)
    assert session.ask("j") == "jump "
    shown = session.ask("w1\n").split("\n")
    assert max(map(width, shown)) <= 80
    assert AT_W1 in "\n".join(shown) and not session.echoes()
    assert session.ask(":") == ":"
    assert "zero input" in session.ask("w w2\n")
    assert "value 1 of 10" in session.ask("g")
    assert "w2.grad: 0 + 0 = 0, which is final. STOP" in session.ask("s")
    for strange in (b"\xff\xfe", "é".encode(), b"\x1b[5~", b"x"):
        assert "no command" in session.ask(strange)
    session.end("q")


def test_keys_that_are_typed_ahead_are_not_lost(script):
    session = Session(f"{script}:o")
    session.ask("nnbn")
    while "value 3 of 10" not in session.all:
        session.all += session.read()
    session.end("q")


@pytest.mark.parametrize("last", ["q", "\x03", "\x04"])
@pytest.mark.parametrize("before", ["j", ":", "n"])
def test_a_terminal_is_left_as_it_was(script, before, last):
    session = Session(f"{script}:o")
    session.ask(before)
    session.end(last if before == "n" or last < " " else "\nq")


@pytest.mark.parametrize("last", ["q\n", "\x03", "\x04"])
@pytest.mark.parametrize("more, paints, escapes", [
    ({}, True, True), ({"NO_COLOR": "1"}, False, True), ({"NO_COLOR": ""}, True, True),
    ({"TERM": "dumb"}, False, False),
])  # fmt: skip
def test_a_terminal_without_colour_and_the_ways_out(script, last, more, paints, escapes):
    session = Session(f"{script}:o", **more)
    session.ask("s\n" if more.get("TERM") == "dumb" else "s")
    assert ("\x1b[1;31m" in session.raw) is paints
    assert ("\x1b" in session.raw) is escapes
    assert ("m" in re.findall(r"\x1b\[[\d;]*([a-zA-Z])", session.raw)) is paints
    session.end(last)


def test_without_a_terminal_the_whole_sweep(script):
    done = subprocess.run(
        command(script), env=environment(), input="", capture_output=True, encoding="utf-8"
    )
    assert (done.returncode, done.stderr) == (0, "")
    left = {}
    exec(NEURON + "loss = o * 1\n", left)
    assert done.stdout.splitlines() == ["hello", *sweep(left["loss"], 80)]
    assert max(map(width, done.stdout.splitlines())) <= 80 and "\x1b" not in done.stdout


@pytest.mark.parametrize("typed", [True, False], ids=["output piped", "input piped"])
def test_half_a_terminal_is_none(script, typed):
    terminal, other = pytest.importorskip("pty").openpty()
    ends = {"stdin": other, "stdout": subprocess.PIPE}
    if not typed:
        ends = {"stdin": subprocess.DEVNULL, "stdout": other}
    done = subprocess.run(command(f"{script}:o"), env=environment(), timeout=60, **ends)
    os.close(other)
    said = done.stdout if typed else os.read(terminal, 65536)
    os.close(terminal)
    assert done.returncode == 0 and b"\x1b" not in said
    assert b"Backpropagation through o: 10 values, then 9 edges" in said
