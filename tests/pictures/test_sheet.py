"""Pictures, read back: the DOT through Graphviz's own parser, the SVG through an XML parser."""

import itertools
import json
import math
import os
import random
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

import microgradx as mx
from microgradx import dot, draw, draw_dot, rules
from microgradx import sum as sum_of
from microgradx.engine import Value, apply, order, rule
from microgradx.pictures.render import find_renderer
from microgradx.pictures.style import (
    BLUES,
    BY_WEIGHTS,
    DARK,
    GAINED,
    GREY,
    GROUND,
    INK,
    NOT_FINITE,
    ON_STOP,
    ORANGES,
    PALE,
    PAPER,
    STOP,
    Scale,
)
from tests.operands import grouped

inf, nan = math.inf, math.nan
SVG = "{http://www.w3.org/2000/svg}"


# --- reading a picture ----------------------------------------------------------------------------


def table(markup):
    """Each cell of an HTML-like label: its lines of text, and the colours around them."""
    cells = []
    for cell in ElementTree.fromstring(f"<all>{markup}</all>").iter("td"):
        lines = [""]
        for part in cell.iter():
            if part.tag == "br":
                lines.append(part.tail or "")
            else:
                lines[-1] += part.text or ""
                lines[-1] += (part.tail or "") if part is not cell else ""
        ink = next((font.get("color") for font in cell.iter("font")), None)
        cells.append(([line.strip() for line in lines], cell.get("bgcolor"), ink))
    return cells


class Read:
    """A picture's DOT as Graphviz understands it: nodes, edges, frames, bars and legend."""

    def __init__(self, picture, form="dot_json"):
        source = picture.source.encode()
        done = subprocess.run([find_renderer(), f"-T{form}"], input=source, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()
        graph = json.loads(done.stdout)
        objects = graph.get("objects", [])
        self.graph = graph
        self.legend = table(graph["label"]) if graph.get("label") else []
        self.frames = {each["name"]: each for each in objects if "nodes" in each}
        everything = {each["_gvid"]: each for each in objects if "nodes" not in each}
        self.bars = {x["name"]: x for x in everything.values() if x["label"].endswith("STOP</b>")}
        self.nodes = {x["name"]: x for x in everything.values() if x["name"] not in self.bars}
        self.edges = [
            (everything[edge["tail"]]["name"], everything[edge["head"]]["name"], edge)
            for edge in graph.get("edges", [])
        ]
        self.gvid = {x["name"]: gvid for gvid, x in everything.items()}

    def lines(self, name):
        """What a node says, line by line."""
        return [line for cell, _, _ in table(self.nodes[name]["label"]) for line in cell]

    def node(self, first):
        """The node whose first line is that."""
        (found,) = [name for name in self.nodes if self.lines(name)[0] == first]
        return self.nodes[found]

    def badges(self):
        return [edge["label"].strip() for _, _, edge in self.edges if edge.get("label")]

    def said(self):
        """The words of the legend."""
        return [" ".join(lines) for lines, _, _ in self.legend]

    def decades(self):
        """From the legend: fill and the least |grad| it stands for, largest first."""
        return [
            (fill, float(lines[0][1:]))
            for lines, fill, _ in self.legend
            if lines[0].startswith("≥")
        ]

    def is_inside(self, frame, name):
        return self.gvid[name] in self.frames[frame]["nodes"]


def read(output, **options):
    """The picture node by node."""
    return Read(draw(output, nodes=True, **options))


def svg(output, **options):
    return ElementTree.fromstring(draw(output, nodes=True, **options).svg())


def texts(root):
    return [(each.text or "").replace("\xa0", " ").strip() for each in root.iter(f"{SVG}text")]


def swept(output, seed=1.0):
    output.backward(seed)
    return output


def off(label="y", name="x", x=-2.0):
    """A ReLU that is off, and what it reads."""
    y = Value(x, name).relu()
    y.label = label
    return y


def small_net(seed=1):
    """A labelled net in which some ReLUs are off, swept."""
    model = mx.nn.MLP(2, [5, 5, 1], seed=seed)
    output = model([Value(0.7, "x"), Value(-1.3, "y")])
    output.backward()
    return model, output


def zoo():
    """One picture with every look of a swept graph."""
    x = Value(1.0, "x")
    fading = [x]
    for _ in range(9):
        fading.append(fading[-1] * 0.1)
    parts = [fading[-1], off(), off() - 3.0, Value(5.0, "cut").detach(), x * nan, x * inf]
    behind = off()
    unmoved = Value(4.0, "unmoved")
    parts += [behind * 0.0, unmoved - unmoved]
    return swept(sum_of([*parts[:4], *parts[6:]])), swept(sum_of(parts))


# --- badges ---------------------------------------------------------------------------------------

NUMBERS = [
    (0.25, "0.25"),
    (1.0, "1"),
    (-1.0, "-1"),
    (1.5e-7, "1.5e-7"),
    (1e-300, "1e-300"),
    (1e22, "1e22"),
    (6.02e200, "6.02e200"),
    (123456.0, "1.23e5"),
    (123.4, "123"),
    (-1 / 3, "-0.333"),
    (0.0001234, "0.000123"),
    (0.9999, "1"),
    (5e-324, "4.94e-324"),
    (inf, "inf"),
    (-inf, "-inf"),
    (nan, "nan"),
]


@pytest.mark.parametrize("number, text", NUMBERS)
def test_numbers_have_three_significant_digits(number, text):
    factor = read(swept(Value(1.0, "x") * number))
    assert factor.badges() == [f"×{text}"]
    assert factor.lines("n0") == [f"× {text}", f"{text}   grad 1"]
    assert factor.lines("n1") == ["x", f"1   grad {text}"]


@pytest.mark.parametrize("seed", range(3))
def test_every_edge_has_its_local_derivative_or_a_bar(seed):
    _, output = small_net(seed)
    edges = [edge for node in order(output) for edge in node.edges]
    stops = [edge for edge in edges if edge.partial == 0 and edge.node.grad != 0]
    picture = read(output)
    badges = sorted(float(badge[1:]) for badge in picture.badges())
    partials = sorted(edge.partial for edge in edges if edge not in stops)
    assert len(edges) > 80 and stops
    assert badges == pytest.approx(partials, rel=5.01e-3)
    assert len(picture.bars) == len(stops)
    for badge in picture.badges():
        digits = re.sub(r"e.*|\D", "", badge).lstrip("0")
        assert len(digits) <= 3, badge


def test_an_edge_leads_from_input_to_node():
    picture = read(swept(Value(2.0, "x").tanh() * 3.0))
    ends = [(picture.lines(tail)[0], picture.lines(head)[0]) for tail, head, _ in picture.edges]
    assert sorted(ends) == [("tanh", "× 3"), ("x", "tanh")]


# --- widths ---------------------------------------------------------------------------------------


def widths(partials):
    """How wide the edge of each factor is drawn."""
    output = sum_of([Value(1.0, f"x{i}") * c for i, c in enumerate(partials)])
    picture = read(output)
    wide = [(picture.lines(tail)[0], edge["penwidth"]) for tail, _, edge in picture.edges]
    found = {name: float(width) for name, width in wide}
    return [found[f"x{i}"] for i in range(len(partials))]


def test_widths_grow_with_the_local_derivative():
    sizes = [1e-300, 1e-12, 1e-3, 0.02, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 100.0, 1e6, 1e300, inf]
    wide = widths(sizes)
    assert wide == sorted(wide)
    middle = wide[3:11]
    assert len(set(middle)) == len(middle)
    assert 0.3 <= wide[0] == wide[1] < wide[-1] == wide[-3] <= 6
    assert widths([-x for x in sizes]) == wide
    assert widths([nan]) == [wide[-1]]


# --- colours --------------------------------------------------------------------------------------


def luminance(colour):
    """Relative luminance of #rrggbb (WCAG 2.1)."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def test_contrast_in_the_dark():
    ink, paper, stop = DARK[INK], DARK[PAPER], DARK[STOP]
    fills = [*BLUES, *[fill for _, fill in ORANGES], BY_WEIGHTS, GAINED, GROUND, NOT_FINITE, PAPER]
    for fill in fills:
        assert contrast(DARK[fill], ink) >= 4.5, fill
    assert contrast(DARK[PALE], DARK[GREY]) >= 4.5
    assert min(contrast(stop, ON_STOP), contrast(stop, paper)) >= 4  # of bold and larger text


def test_contrast_of_the_extremes():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


FADES = [
    [0.1] * 7,
    [0.5] * 12,
    [0.01] * 9,  # more decades than colours
    [1e-30] * 9,
    [10.0] * 6,
    [0.9999999999999] * 3,
    [3.0],
]


@pytest.mark.parametrize("factors", FADES)
def test_a_fill_is_the_decade_that_the_legend_says(factors):
    chain = [Value(1.0, "v0")]
    for i, c in enumerate(factors):
        chain.append(chain[-1] * c)
        chain[-1].label = f"v{i + 1}"
    chain[-1].backward()
    picture = read(chain[-1])
    decades = picture.decades()
    floors = [floor for _, floor in decades]
    assert floors == sorted(set(floors), reverse=True)
    assert "|grad|" in picture.said()
    tones = [luminance(fill) for fill, _ in decades]
    assert tones == sorted(tones) and len(set(tones)) == len(tones)
    for node in chain:
        (name,) = [n for n in picture.nodes if picture.lines(n)[0].split()[0] == node.label]
        size = abs(node.grad) * (1 + 1e-8)
        reached = [fill for fill, floor in decades if floor <= size]
        assert picture.nodes[name]["fillcolor"] == reached[0]
    used = {each["fillcolor"] for each in picture.nodes.values()}
    assert {fill for fill, _ in decades} == used


def test_a_negative_gradient_has_the_colour_of_its_size():
    x, y = Value(1.0, "x"), Value(1.0, "y")
    picture = read(swept(x * 0.01 - y * 0.01))
    assert picture.node("x")["fillcolor"] == picture.node("y")["fillcolor"]


def looks():
    x = Value(1.0, "x")
    plain = swept(x * 1.0)
    cancelled, same = Value(1.0, "x"), Value(2.0)
    yield "decade", plain, "x", "≥ 1"
    yield "unswept", Value(1.0, "x") * 2.0, "x", "no backward yet"
    yield "zero", swept(cancelled - cancelled + same), "x", "grad is 0"
    yield "nan grad", swept(Value(1.0, "x") * nan), "x", "not finite"
    yield "inf grad", swept(Value(1.0, "x") * inf), "x", "not finite"
    yield "nan data", swept(Value(nan, "x") * 2.0), "x", "not finite"
    yield "inf data", Value(-inf, "x") * 2.0, "x", "not finite"
    yield "starved", swept(off()), "x", "starved"
    yield "starved, unswept", off(), "x", "starved"


LOOKS = list(looks())


@pytest.mark.parametrize("case, output, name, word", LOOKS, ids=[each[0] for each in LOOKS])
def test_the_legend_explains_each_look(case, output, name, word):
    picture = read(output)
    node = picture.node(name)
    fills = {" ".join(lines): (fill, ink) for lines, fill, ink in picture.legend if fill}
    assert fills[word] == (node["fillcolor"], node["fontcolor"])


def test_looks_differ_by_more_than_colour():
    style = {}
    for _, output, name, word in LOOKS:
        node = read(output).node(name)
        style[word] = (node["style"], node["fillcolor"])
    assert len({fill for _, fill in style.values() if fill != "#ffffff"}) == 3
    assert len(set(style.values())) == len(style) == 5
    borders = [style[word][0] for word in ("grad is 0", "no backward yet", "not finite", "starved")]
    assert len(set(borders)) == 4
    assert not any(style[word][0] == style["≥ 1"][0] for word in ("grad is 0", "not finite"))


def test_no_gradients_are_shown_before_backward():
    picture = draw(Value(2.0, "x") * 3.0)
    assert "grad" not in picture.source.replace("gradx", "")
    assert "call backward() first" in picture.summary
    assert Read(picture).lines("n1") == ["x", "2"]


@pytest.mark.parametrize("output", zoo(), ids=["finite", "not finite"])
@pytest.mark.parametrize("options", [{}, {"fold_above": 12}, {"fold_above": 2}], ids=str)
def test_text_can_be_read_on_what_lies_behind_it(output, options):
    """Contrast of at least 4.5:1 (WCAG 2.1, AA) between each text and the last shape under it."""
    root = svg(output, title="t", note=lambda v: "note", **options)
    pairs = on_shapes(root)
    assert len(pairs) == len(list(root.iter(f"{SVG}text")))
    assert len({fill for fill, _, _ in pairs}) >= (2 if options else 8)
    for fill, ink, text in pairs:
        assert contrast(fill, ink) >= 4.5, (fill, ink, text)


def on_shapes(root):
    """For each text of an SVG: the fill of the last box drawn under it, its own, and itself."""
    hexes = {"white": "#ffffff", "black": "#000000", None: "#000000"}
    boxes, pairs = [], []
    for shape in root.iter():
        fill = hexes.get(shape.get("fill"), shape.get("fill"))
        if shape.tag == f"{SVG}polygon" and fill not in ("none", "transparent"):
            points = [tuple(map(float, p.split(","))) for p in shape.get("points").split()]
            across, down = zip(*points)
            boxes.append((min(across), max(across), min(down), max(down), fill))
        elif shape.tag == f"{SVG}text":
            x, y = float(shape.get("x")), float(shape.get("y")) - 3
            under = [b[4] for b in boxes if b[0] <= x <= b[1] and b[2] <= y <= b[3]]
            pairs.append((under[-1], fill, shape.text))
    return pairs


@pytest.mark.parametrize("output", [*zoo(), Value(1.0) * 2.0], ids=["finite", "nan", "unswept"])
@pytest.mark.parametrize("fold_above", [300, 5])
def test_colours_are_six_hex_digits(output, fold_above):
    source = draw(output, fold_above=fold_above, title="t").source
    colours = re.findall(r"\b\w*color=(\"[^\"]*\"|\w+)", source)
    assert len(colours) > 10
    assert [c for c in colours if not re.fullmatch(r'"#[0-9a-f]{6}"', c)] == []


# --- where the gradient stops ---------------------------------------------------------------------


def test_the_bar_stands_across_that_very_edge():
    picture = read(swept(off() + Value(1.0, "z")))
    (bar,) = picture.bars
    assert picture.bars[bar]["label"] == "<b>×0<br/>STOP</b>"
    name = {picture.lines(each)[0]: each for each in picture.nodes}
    ends = {(tail, head) for tail, head, _ in picture.edges}
    assert (name["x"], bar) in ends and (bar, name["y relu"]) in ends
    assert (name["x"], name["y relu"]) not in ends
    assert sum(bar in pair for pair in ends) == 2
    looks = {tail: edge["style"] for tail, head, edge in picture.edges if head == bar}
    assert looks == {name["x"]: "dashed"}
    assert "STOP: a local derivative of 0" in picture.said()


@pytest.mark.parametrize(
    "direction, axis, sign", [("LR", 0, 1), ("RL", 0, -1), ("TB", 1, -1), ("BT", 1, 1)]
)
def test_the_bar_lies_between(direction, axis, sign):
    picture = Read(draw(swept(off() * 2.0), direction=direction), "json")
    (bar,) = picture.bars.values()
    places = [picture.node("x"), bar, picture.node("y relu"), picture.node("× 2")]
    along = [sign * float(each["pos"].split(",")[axis]) for each in places]
    assert along == sorted(set(along))


def test_a_zero_behind_a_stop_has_no_bar_of_its_own():
    first = off("first")
    second = (first - 1.0).relu()
    second.label = "second"
    picture = read(swept(second + 1.0))
    (bar,) = picture.bars
    (head,) = [head for tail, head, _ in picture.edges if tail == bar]
    assert picture.lines(head)[0] == "second relu"
    assert picture.badges().count("×0") == 1
    for name in ("first relu", "x"):
        assert picture.node(name)["fillcolor"] == LOOK_OF_STARVED


LOOK_OF_STARVED = "#ececec"


def test_a_zero_where_nothing_arrives_is_no_stop():
    y = off()
    picture = read(swept(y - y + Value(1.0, "z")))
    assert picture.bars == {}
    assert "STOP" not in " ".join(picture.said())


def test_starved_edges_are_pale():
    picture = read(swept((Value(1.0, "x") - 3.0).relu() + Value(1.0, "z")))
    ink = {picture.lines(tail)[0]: edge for tail, _, edge in picture.edges if tail in picture.nodes}
    assert luminance(ink["x"]["color"]) > luminance(ink["z"]["color"])
    assert ink["x"]["fontcolor"] == picture.node("x")["fontcolor"] != ink["z"]["fontcolor"]


def test_summary_says_where():
    outputs = [off(f"r{i}") for i in range(7)]
    summary = draw(swept(sum_of(outputs[:2]))).summary
    assert summary == "5 nodes, 4 edges; STOP at r0 relu, r1 relu; 2 starved behind it"
    assert "r4 relu and 2 more" in draw(swept(sum_of(outputs))).summary
    assert "r4 relu, r5 relu; 6 starved" in draw(swept(sum_of(outputs[:6]))).summary
    assert "STOP" not in draw(swept(Value(1.0) * 2.0)).summary


def test_detached_is_drawn_as_cut():
    picture = read(swept(Value(5.0, "x").detach() + Value(1.0, "z")))
    (cut,) = [edge for _, _, edge in picture.edges if edge["label"] == "detached"]
    assert cut["style"] == "dotted"
    assert picture.node("x")["fillcolor"] == LOOK_OF_STARVED
    assert picture.bars == {}


# --- parallel edges, bare numbers -----------------------------------------------------------------


def test_a_square_has_two_edges():
    picture = read(swept(Value(3.0, "x") * Value(1.0, "y")))
    assert len(picture.edges) == 2
    x = Value(3.0, "x")
    picture = read(swept(x * x))
    assert [(tail, head) for tail, head, _ in picture.edges] == [("n1", "n0")] * 2
    assert picture.badges() == ["×3", "×3"]


def test_a_square_at_zero_has_two_bars():
    x = Value(0.0, "x")
    picture = read(swept(x * x))
    assert len(picture.bars) == 2
    for bar in picture.bars:
        assert {(tail, head) for tail, head, _ in picture.edges if bar in (tail, head)} == {
            ("n1", bar), (bar, "n0"),
        }  # fmt: skip


SIGNS = [
    (lambda x: x + 1, "+ 1"),
    (lambda x: 1 + x, "1 +"),
    (lambda x: x - 1, "+ -1"),
    (lambda x: x * 0.5, "× 0.5"),
    (lambda x: 2 * x, "2 ×"),
    (lambda x: x / 4, "/ 4"),
    (lambda x: 2 / x, "2 /"),
    (lambda x: x**3, "** 3"),
    (lambda x: 2**x, "2 **"),
    (lambda x: x**-1.5e-9, "** -1.5e-9"),
    (lambda x: -x, "-"),
    (lambda x: x + x, "+"),
    (lambda x: x.leaky_relu(0.01), "leaky_relu 0.01"),
    (lambda x: x.leaky_relu(), "leaky_relu 0.01"),
    (lambda x: x.elu(1.5), "elu 1.5"),
    (lambda x: x.tanh(), "tanh"),
    (lambda x: mx.maximum(x, 3), "maximum 3"),
    (lambda x: mx.maximum(3, x), "maximum 3"),
    (lambda x: mx.maximum(x, x), "maximum"),
    (lambda x: dot([x, 2.0], [3.0, x]), "w·x, 2 numbers among them"),
    (lambda x: dot([x, x], [x, x], x), "w·x + b"),
    (lambda x: dot([x, x], [3.0, x], 5.0), "w·x + 5, 1 number among them"),
    (lambda x: mx.sum([x, 1.0]), "sum, 1 number among them"),
    (lambda x: mx.logsumexp([x, x]), "logsumexp"),
]


@pytest.mark.parametrize("fn, sign", SIGNS, ids=[sign for _, sign in SIGNS])
def test_an_op_is_drawn_with_its_bare_numbers(fn, sign):
    y = fn(Value(1.5, "x"))
    assert read(y).lines("n0")[0] == sign
    y.label = "y"
    assert read(y).lines("n0")[0] == f"y {sign}"


@pytest.mark.parametrize("rule", rules.TABLE.values(), ids=lambda rule: rule.name)
def test_every_row_of_the_table_is_drawable(rule):
    xs = [Value(x, name) for x, name in zip((0.4, 0.6, 0.8, 1.0, 1.2), "xyzuv")]
    output = apply(rule, *grouped(rule, xs, 2))
    picture = read(swept(output))
    assert picture.lines("n0")[0].startswith(rule.label)
    assert "x" in texts(svg(output))


@pytest.fixture
def cube(temporary_ops):
    """An op for the length of a test."""

    @rule(label="x³", kind="linear")
    def cube(xp, x):
        """x³"""
        return x * x * x, 3 * x * x

    return cube


def test_a_new_op_is_drawn_without_more_ado(cube):
    picture = read(swept(Value(2.0, "x").cube()))
    assert picture.lines("n0") == ["x³", "8   grad 1"]
    assert picture.badges() == ["×12"]
    assert len(read(swept(Value(0.0, "x").cube())).bars) == 1


# --- options --------------------------------------------------------------------------------------


def test_title_stands_above():
    picture = read(swept(off()), title="Why?")
    assert picture.said()[:2] == ["The gradient stops at y", "Why?"]
    assert picture.graph["labelloc"] == "t"
    assert "Why?" in texts(svg(off(), title="Why?"))


def test_label_and_note():
    x = Value(2.0, "x")
    notes = {x: "a\nb"}
    picture = read(swept(x * 3.0), label=lambda v: f"<{v.data:g}>", note=lambda v: notes.get(v, ""))
    assert picture.lines("n0") == ["<6> × 3", "6   grad 1"]
    assert picture.lines("n1") == ["<2>", "2   grad 3", "a", "b"]


def test_without_leaves_nodes_and_their_edges_out():
    model, output = small_net()
    everything, bare = read(output), read(output, without=model.parameters())
    assert len(everything.nodes) - len(bare.nodes) == len(model.parameters())
    assert not any("weight" in line for name in bare.nodes for line in bare.lines(name))
    assert len(read(output, without=iter(model.parameters())).nodes) == len(bare.nodes)


def test_the_output_itself_is_not_left_out():
    x = Value(1.0)
    with pytest.raises(ValueError, match="the output itself"):
        mx.draw(x, without=[x])


@pytest.mark.parametrize("direction", ["LR", "TB", "RL", "BT"])
def test_direction(direction):
    assert read(Value(1.0) * 2.0, direction=direction).graph["rankdir"] == direction


def test_draw_dot_is_micrograds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = swept(Value(1.0, "x") * 2.0)
    assert draw_dot(output).source == draw(output).source
    assert draw_dot(output).render("a").name == "a.svg"
    assert draw_dot(output, format="png", rankdir="TB").render("b").name == "b.png"
    assert (tmp_path / "b.png").read_bytes().startswith(b"\x89PNG")
    assert Read(draw_dot(output, rankdir="TB")).graph["rankdir"] == "TB"


@pytest.mark.parametrize("bad", [3.0, None, [Value(1.0)], "loss", "x" * 1000])
def test_only_a_value_can_be_drawn(bad):
    with pytest.raises(TypeError, match="draw takes the Value") as error:
        draw(bad)
    assert len(str(error.value)) < 130


@pytest.mark.parametrize(
    "options, kind, said",
    [
        ({"direction": "lr"}, ValueError, "LR, TB, RL or BT, got 'lr'"),
        ({"direction": 'LR"; x'}, ValueError, "direction"),
        ({"fold_above": 0}, ValueError, "1 or more, got 0"),
        ({"fold_above": -3}, ValueError, "1 or more"),
        ({"without": 3}, TypeError, "list of Values, got 3"),
        ({"without": Value(1.0)}, TypeError, "list of Values"),
        ({"without": ["x"]}, TypeError, "model.parameters"),
        ({"fold_above": None}, ValueError, "got None"),
        ({"label": "x"}, TypeError, "function from a node"),
        ({"renderer": 3}, TypeError, "name or path"),
        ({"nonsense": 3}, TypeError, "nonsense"),
    ],
)
def test_bad_options(options, kind, said):
    with pytest.raises(kind, match=said):
        draw(Value(1.0), **options)


# --- hostile text ---------------------------------------------------------------------------------

R = "\ufffd"  # stands for what has no look of its own
HOSTILE = [
    ('double "quotes"', ['double "quotes"']),
    ("it's", ["it's"]),
    ("back\\slash", ["back\\slash"]),
    ("\\", ["\\"]),
    ("ends in \\", ["ends in \\"]),
    ('\\"', ['\\"']),
    ("\\n is no newline \\l \\r", ["\\n is no newline \\l \\r"]),
    ("\\N", ["\\N"]),
    ("\\G \\L \\E \\H \\T", ["\\G \\L \\E \\H \\T"]),
    ("two \\\\ of them", ["two \\\\ of them"]),
    ("<b>", ["<b>"]),
    ("<b>bold</b>", ["<b>bold</b>"]),
    ("</td></tr></table>>", ["</td></tr></table>>"]),
    ("</text><script>alert(1)</script>", ["</text><script>alert(1)</script>"]),
    ("<img src='x'/>", ["<img src='x'/>"]),
    ("&amp;", ["&amp;"]),
    ("&", ["&"]),
    ("&#92;N &lt;", ["&#92;N &lt;"]),
    ("]]>", ["]]>"]),
    ("<!-- -->", ["<!-- -->"]),
    ("-- --> -->", ["-- --> -->"]),
    ("<!DOCTYPE x>", ["<!DOCTYPE x>"]),
    ("{a|b}", ["{a|b}"]),
    ("; } digraph {", ["; } digraph {"]),
    ("one\ntwo\r\nthree", ["one", "two", "three"]),
    ("a\0b", [f"a{R}b"]),
    ("\x1b[31mred\x07\x7f", [f"{R}[31mred{R}{R}"]),
    ("tab\there", [f"tab{R}here"]),
    ("emoji 🙂 and é", ["emoji 🙂 and é"]),
    ("שלום", ["שלום"]),
    ("a\u202egpj.exe\u200f", [f"a{R}gpj.exe{R}"]),
    ("\ufeff\ufffe\uffff", [R * 3]),
    ("\ud800", [R]),
    ("x" * 10_000, ["x" * 119 + "…"]),
    ("<&\"'\\" * 2_000, [("<&\"'\\" * 24)[:119] + "…"]),
    ("\n".join("abcdefghij"), [*"abcde", "…"]),
]
PLACES = ["label", "label of an op", "note", "title", "label=", "neuron"]
CASES = [
    pytest.param(where, text, lines, id=f"{where} {ascii(text[:24])}")
    for where in PLACES
    for text, lines in HOSTILE
]


def elements(root):
    """Every element but the texts and the `title`s, with the names of its attributes."""
    return sorted(
        (each.tag, *sorted(each.attrib)) for each in root.iter() if each.tag != f"{SVG}text"
    )


@pytest.mark.parametrize("where, text, lines", CASES)
def test_text_stays_text(where, text, lines):
    def picture(text):
        x = Value(1.0, "x")
        y = swept(x * 2.0)
        options = {}
        if where == "label":
            x.label = text
        elif where == "label of an op":
            y.label = text
        elif where == "neuron":
            x.label, y.label = "L[0]", "L[0].z"
            options["note"] = lambda v: text
        else:
            asked = where.rstrip("=")
            options = {asked: text if where == "title" else lambda v: text}
        return svg(y, **options)

    root = picture(text)
    assert elements(root) == elements(picture("a"))
    found = texts(root)
    i = found.index(lines[0])
    assert found[i : i + len(lines)] == lines
    plain = texts(picture("a"))
    assert len(found) - len(plain) == plain.count("a") * (len(lines) - 1)
    assert not set("".join(found)) & set("\0\x07\x1b\u202e\u200f\ud800")


@pytest.mark.parametrize("layer", ['"', "</b>", "a\\", "&amp;", "-->", "🙂", "l" * 300])
def test_names_of_layers_stay_text(layer):
    nodes = [Value(1.0, f"{layer}[0].z")]
    nodes.append(nodes[0] * 2.0)
    nodes[1].label = f"{layer}[0]"
    root = svg(swept(nodes[1]))
    assert (layer if len(layer) < 120 else layer[:119] + "…") in texts(root)
    assert len([each for each in root.iter(f"{SVG}g") if each.get("class") == "cluster"]) == 2


def test_a_summary_stays_short():
    output = off("y" * 10_000)
    assert len(draw(output).summary) < 300


# --- frames and folds -----------------------------------------------------------------------------


def test_neurons_are_framed_within_their_layers():
    z = Value(1.0, "x").tanh()
    z.label = "L0[1].z"
    y = z.relu()
    y.label = "L0[1]"
    other = Value(3.0, "L0[2]")
    picture = read(swept(y + other))
    layer, neuron = sorted(picture.frames, key=lambda name: -len(picture.frames[name]["nodes"]))
    assert picture.frames[layer]["label"].endswith(">L0</font>")
    assert picture.frames[neuron]["label"].endswith(">[1]</font>")
    members = {picture.lines(n)[0] for n in picture.nodes if picture.is_inside(neuron, n)}
    assert members == {"tanh", "relu"}
    members = {picture.lines(n)[0] for n in picture.nodes if picture.is_inside(layer, n)}
    assert members == {"tanh", "relu", "[2]"}


def test_a_bar_inside_a_neuron_is_inside_its_frame():
    x = Value(-2.0, "L0[1].z")
    y = x.relu()
    y.label = "L0[1]"
    picture = read(swept(y * 2.0))
    (bar,) = picture.bars
    assert all(picture.is_inside(frame, bar) for frame in picture.frames)
    assert len(picture.frames) == 2


def test_a_fold_says_what_it_holds():
    model, output = small_net()
    picture = read(output, fold_above=12)
    assert "folded by layer" in " ".join(picture.said())
    folds = [picture.lines(name) for name in picture.nodes if len(picture.lines(name)) > 1]
    held = [re.fullmatch(r"([\d,]+) nodes   \|grad\| \S+( … \S+)?", lines[1]) for lines in folds]
    sizes = [int(match[1]) for match in held if match]
    alone = len(picture.nodes) - len(sizes)
    assert sum(sizes) + alone == len(order(output))
    summary = draw(output, nodes=True, fold_above=12).summary
    assert f"drawn as {len(picture.nodes)} boxes, folded by layer" in summary


def labelled(name, node):
    node.label = name
    return node


def layer(width, dead):
    """`width` neurons of a layer L that read one x; the first `dead` of them are off."""
    x = Value(1.0, "x")
    zs = [labelled(f"L[{i}].z", x * (-1.0 - i if i < dead else 1.0 + i)) for i in range(width)]
    return swept(sum_of([labelled(f"L[{i}]", z.relu()) for i, z in enumerate(zs)]))


def test_a_fold_announces_its_stops():
    picture = read(layer(6, 5), fold_above=4)
    (fold,) = [lines for lines in map(picture.lines, picture.nodes) if lines[0] == "L"]
    assert fold == ["L", "12 nodes   |grad| 0 … 1", "STOP on 5 edges inside"]
    assert "STOP: a local derivative of 0" in picture.said()
    one = read(layer(2, 1), fold_above=3)
    assert "STOP on 1 edge inside" in [line for name in one.nodes for line in one.lines(name)]


def test_the_fold_of_a_layer_is_in_no_neurons_frame():
    output = layer(12, 0)
    (first,) = output.inputs[0].inputs
    first.data = nan  # its ReLU, the fold's first node, is of the same neuron
    picture = read(output, fold_above=9)
    (fold,) = [name for name in picture.nodes if picture.lines(name)[0] == "L"]
    around = [frame for frame in picture.frames if picture.is_inside(frame, fold)]
    assert [table_text(picture.frames[frame]["label"]) for frame in around] == ["L"]


def table_text(markup):
    return "".join(ElementTree.fromstring(f"<all>{markup}</all>").itertext())


def test_many_edges_in_one_arrow_show_their_range():
    xs = [labelled(f"L[{i}]", Value(float(i))) for i in range(4)]
    output = swept(dot(xs, [3.0, 0.0, -2.0, 0.5], 1.0))
    picture = read(output, fold_above=2)
    assert picture.badges() == ["4 edges\n ×-2 … ×3\n 1 of them ×0"]
    dead = swept(dot(xs, [0.0] * 4, 1.0))
    (bar,) = read(dead, fold_above=2).bars.values()
    assert bar["label"] == "<b>4 × 0<br/>STOP</b>"


def test_a_range_does_not_hide_a_nan():
    xs = [labelled(f"L[{i}]", Value(1.0)) for i in range(12)]
    output = swept(dot(xs, [1.0, nan, nan, nan, nan, *[2.0] * 7]))
    (badge,) = read(output, fold_above=2).badges()
    assert "nan" in badge


def test_a_fold_with_a_nan_is_not_finite():
    xs = [labelled(f"L[{i}]", Value(1.0)) for i in range(9)]
    for x in xs[3:6]:
        x.data = nan
    picture = read(swept(dot(xs, [1.0] * 9)), fold_above=2)
    fold = picture.node("L")
    assert "not finite" in picture.said()
    assert fold["fillcolor"] == "#f0e442"


def test_300_nodes_are_drawn_each():
    model = mx.nn.MLP(3, [5] * 7 + [1], seed=2)
    output = swept(model([Value(0.1), Value(-0.2), Value(0.3)]))
    root = svg(output)
    boxes = [each for each in root.iter(f"{SVG}g") if each.get("class") == "node"]
    bars = [text for text in texts(root) if text == "STOP"]
    assert len(boxes) - len(bars) == len(order(output)) == 280
    assert len(bars) >= 10


def test_a_tangle_folds():
    """150 nodes and 298 edges, yet Graphviz would need more than a minute."""
    rng = random.Random(1)
    nodes = [Value(1.0)]
    while len(nodes) < 150:
        nodes.append(nodes[-1] + rng.choice(nodes))
    assert "folded" in draw(nodes[-1]).summary


def test_one_more_node_folds():
    node = Value(1.0)
    for _ in range(299):
        node = node * 1.01
    assert len(read(node).nodes) == 300
    assert len(read(node * 1.01).nodes) == 2


def test_a_deep_graph_is_drawn_without_recursion():
    limit = sys.getrecursionlimit()
    node = Value(1.0, "x")
    for _ in range(20_000):
        node = node * 1.0
    found = texts(svg(swept(node)))
    assert sys.getrecursionlimit() == limit
    assert "20,001 nodes, folded by op" in found
    assert "20,000 nodes   |grad| 1" in found


# --- what must not change -------------------------------------------------------------------------


def test_drawing_changes_nothing():
    model, output = small_net()
    before = [(n.data, n.grad, n.label, n.edges) for n in order(output)]
    for options in ({}, {"fold_above": 5}, {"without": model.parameters()}):
        draw(output, **options).svg()
    assert [(n.data, n.grad, n.label, n.edges) for n in order(output)] == before


SCRIPT = """
import microgradx as mx
model = mx.nn.MLP(2, [5, 5, 1], seed=1)
output = model([mx.Value(0.7, "x"), mx.Value(-1.3, "y")])
output.backward()
for fold_above in (300, 60, 20, 8, 2):
    picture = mx.draw(output, title="t", fold_above=fold_above)
    print(picture.source, picture.summary)
print(mx.draw(output).svg())
"""


def test_pictures_do_not_depend_on_hash_seeds():
    def printed(seed):
        paths = os.pathsep.join(path or "." for path in sys.path)
        environment = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": seed,
                       "PYTHONIOENCODING": "utf-8"}  # fmt: skip
        command = [sys.executable, "-c", SCRIPT]
        return subprocess.run(command, env=environment, capture_output=True, check=True).stdout

    first, *others = map(printed, ["0", "1", "20210"])
    assert first.count(b"digraph") == 5
    assert all(each == first for each in others)


def test_ids_are_short_and_unique():
    picture = read(small_net()[1])
    names = [*picture.nodes, *picture.bars]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"n\d+(_\d+_n\d+)?", name) for name in names)
    assert [*itertools.islice(picture.nodes, 1)] == ["n0"]


@pytest.mark.parametrize(
    "sizes, shades, floors",
    [
        ([1.0, 0.02], [0, 2], ["1", "0.1", "0.01"]),
        ([1.0, 1e-8, 0.0, inf, nan], [0, 4], ["0.1", "0.001", "1e-5", "1e-7", "1e-9"]),
        ([0.0], [], ["1"]),
        ([1e-310, 5e-324], [0, 4], ["1e-312"]),
    ],
)
def test_a_scale_has_six_shades_at_most(sizes, shades, floors):
    scale = Scale(sizes)
    assert [scale.shade(size) for size in sizes if 0 < size < inf] == shades
    assert [scale.floor(shade) for shade in range(len(floors))] == floors
