"""The pictures of a check-up: whole SVG, a cell a neuron, bars that add up."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

import microgradx as mx
from microgradx import nn
from microgradx.diagnosis import maps
from microgradx.pictures import style
from tests.diagnosis.nets import classes, planted, rows

SVG = "{http://www.w3.org/2000/svg}"
WIDTHS = (maps.NARROW, maps.WIDE)
HOSTILE = '</svg><script>alert("1")</script>&\x00\u202e\ud800\ufffe]]>'
SIGNED = re.compile(r"(.+) ([+-]\d+\.\d\d)")


@pytest.fixture(scope="module")
def sick():
    return mx.checkup(*planted())


def texts(svg):
    return ["".join(x.itertext()) for x in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def told(svg):
    """What a reader is told who points at a cell or at a part."""
    return [x.text for g in ElementTree.fromstring(svg).iter(f"{SVG}g") for x in g]


def places(svg):
    """Of every rect: x, y, width, height, fill."""
    for x in ElementTree.fromstring(svg).iter(f"{SVG}rect"):
        yield (*(float(x.get(k)) for k in ("x", "y", "width", "height")), x.get("fill"))


def deep(depth=12, width=8, activation="sigmoid"):
    X = rows(30, 4)
    model = nn.MLP(4, [width] * depth + [1], activation=activation, seed=0)
    return mx.checkup(model, X, X[:, 0])


# --- both ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("picture", [maps.neurons, maps.bars])
def test_the_pictures_are_whole_and_need_nothing_else(sick, picture, width):
    svg = picture(sick, width)
    root = ElementTree.fromstring(svg)
    assert root.find(f"{SVG}title").text
    bare = svg.replace('xmlns="http://www.w3.org/2000/svg"', "", 1)
    assert "http" not in bare and "url(" not in bare and "<script" not in bare
    edge = float(root.get("width")) - 2
    assert all(x + w <= edge + 0.2 for x, _, w, _, _ in places(svg))


def test_every_colour_has_six_digits_and_a_dark_twin(sick):
    svg = maps.neurons(sick) + maps.bars(sick)
    used = {*re.findall(r'(?:fill|stroke)="(#[^"]*)"\s?[^\]]', svg)}
    assert len(used) > 8
    for colour in used:
        assert re.fullmatch("#[0-9a-f]{6}", colour) and colour in style.DARK, colour
    assert "prefers-color-scheme:dark" in svg


def test_hostile_names_stay_text():
    w = [mx.Value(0.5), mx.Value(0.6)]

    def net(x):
        hidden = [(v * x[0] * 100).tanh() for v in w]
        for k, h in enumerate(hidden):
            h.label = f"{HOSTILE}[{k}]"
        return hidden[0] + hidden[1]

    X = rows(20, 1)
    svg = maps.neurons(mx.checkup(net, X, X[:, 0]))
    assert "<script" not in svg and "&lt;script&gt;" in svg
    ElementTree.fromstring(svg.encode())

    class Net(nn.Module):
        def __init__(self):
            setattr(self, HOSTILE, nn.MLP(2, [3, 1], activation="relu", init="glorot", seed=0))

        def __call__(self, x):
            return getattr(self, HOSTILE)(x)

    X = rows(20, 2)
    for width in WIDTHS:
        svg = maps.bars(mx.checkup(Net(), X, X[:, 0]), width)
        assert "<script" not in svg and svg.count("&lt;") > 1
        ElementTree.fromstring(svg.encode())


# --- the neurons ---------------------------------------------------------------------------------


def test_a_cell_a_neuron_and_marks_besides_colour(sick):
    svg = maps.neurons(sick)
    cells = told(svg)
    assert [x.partition(" ")[0] for x in cells if x] == [
        f"layers.{layer}[{k}]" for layer in (0, 1) for k in range(16)
    ]
    verdicts = sick.neurons["verdict"]
    crosses = len(re.findall(r"<path[^>]*L[^>]*M", svg)) - 1  # one of the legend
    dashes = len(re.findall(r'<path[^>]* d="M[\d. ]+H', svg)) - 1
    assert crosses == verdicts.count("dead") == 5
    assert dashes == verdicts.count("saturated") >= 14
    words = texts(svg)
    assert "5 dead, 3 of them proved" in words and f"{dashes} saturated" in words
    assert "layers.0" in words and "16 relu" in words and "16 sigmoid" in words
    assert "layers.0[2] relu: dead, proved; off in 100 %, saturated in 0 % of the rows" in cells


def test_the_shade_says_how_often(sick):
    cells = list(ElementTree.fromstring(maps.neurons(sick)).iter(f"{SVG}g"))
    by_name = {g[0].text.partition(" ")[0]: g[1].get("fill") for g in cells}
    for unit in sick.neurons.rows:
        share = max(unit["off"], unit["saturated"])
        ramp = maps.OFF if unit["off"] >= unit["saturated"] else maps.SHUT
        place = sum(share >= x for x in (0.25, 0.5, 0.75, 0.99))
        assert by_name[f"{unit['layer']}[{unit['neuron']}]"] == ramp[place]
    assert len({*by_name.values()}) > 4
    assert len({*maps.OFF, *maps.SHUT}) == 9  # they share the palest


@pytest.mark.some(2)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("units, least", [(3, 18), (512, 8), (600, 6)])
def test_small_and_large_layers_are_readable(units, least, width):
    X = rows(20, 3)
    svg = maps.neurons(mx.checkup(nn.MLP(3, [units, 1], "relu", seed=0), X, X[:, 0]), width)
    fills = {*maps.OFF, *maps.SHUT}
    cells = [x for x in places(svg) if x[4] in fills and x[2] == x[3] and x[1] > 60]
    cells = cells if width == maps.WIDE else [x for x in cells if x[1] > 90]
    assert len(cells) == units and min(x[2] for x in cells) >= least
    assert len({x[:2] for x in cells}) == units  # none on another
    assert max(x[0] + x[2] for x in cells) <= maps.NARROW


def test_more_cells_and_layers_than_are_drawn_are_counted(sick, monkeypatch):
    monkeypatch.setattr(maps, "MOST_CELLS", 10)
    assert texts(maps.neurons(sick)).count("and 6 more neurons") == 2
    monkeypatch.setattr(maps, "MOST_LAYERS", 4)
    assert "and 8 more layers" in texts(maps.neurons(deep(activation="relu")))


def test_of_many_bars_those_at_both_ends_are_drawn(monkeypatch):
    c = deep()
    whole = texts(maps.bars(c))
    assert [x for x in whole if x.startswith("layers.")] == [
        f"layers.{k}" for k in range(12, -1, -1)
    ]
    monkeypatch.setattr(maps, "MOST_BARS", 4)
    found = [x for x in texts(maps.bars(c)) if x.startswith("layers.") or x.endswith("them")]
    assert found == ["layers.12", "layers.11", "9 layers between them", "layers.1", "layers.0"]
    monkeypatch.setattr(maps, "MOST_BARS", 12)
    assert texts(maps.bars(c)) == whole


def test_of_many_layers_those_with_something_to_see_are_drawn(monkeypatch):
    model = nn.MLP(4, [4] * 10 + [1], "tanh", seed=0)
    for w in model.layers[9].neurons[2].weight:
        w.data *= 1e6
    X = rows(30, 4)
    c = mx.checkup(model, X, X[:, 0])
    found = texts(maps.neurons(c))
    assert [x for x in found if x.startswith("layers.")] == ["layers.9"]
    assert "Not drawn: 9 layers (36 neurons) with nothing off" in found
    monkeypatch.setattr(maps, "FEW_LAYERS", 10)
    assert sum(x.startswith("layers.") for x in texts(maps.neurons(c))) == 10


def test_where_nothing_is_to_be_seen_there_is_a_line():
    found = texts(maps.neurons(deep(12, 8, "sigmoid")))
    assert found == ["Not drawn: 12 layers (96 neurons) with nothing off",
                     "or saturated in 25 % of the rows or more"]  # fmt: skip


def test_a_net_without_activations_has_no_map():
    X = rows(20, 2)
    c = mx.checkup(nn.MLP(2, [1], seed=0), X, X[:, 0])
    assert maps.neurons(c) == "" and maps.bars(c)


def test_neurons_stand_in_their_order():
    w = [mx.Value(0.5), mx.Value(0.6), mx.Value(0.7)]

    def net(x):
        hidden = {k: (w[k] * x[0]).tanh() for k in (2, 0, 1)}
        for k, h in hidden.items():
            h.label = f"it[{k}]"
        return hidden[2] + hidden[0] + hidden[1]

    X = rows(20, 1)
    cells = told(maps.neurons(mx.checkup(net, X, X[:, 0])))
    assert [x[:5] for x in cells if x] == ["it[0]", "it[1]", "it[2]"]


# --- the ledger ----------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [lambda: mx.checkup(*planted()), deep,
                                   lambda: deep(12, 8, "relu")])  # fmt: skip
def test_the_columns_add_up(build):
    c = build()
    columns = maps.columns(c.ledger)
    assert 0 < len(columns) <= maps.COLUMNS + 2
    for line in c.ledger.shown():
        parts = [x for x in (column.of(line) for column in columns) if x == x]
        if line.moved:
            assert sum(parts) == pytest.approx(line.decades, abs=1e-9)
    assert columns[-1].name == "opposition"


def test_the_columns_come_as_on_the_page_of_a_terminal(sick):
    names = [column.name for column in maps.columns(sick.ledger)]
    assert names[0] == "loss" and names[-1] == "opposition"
    page = str(sick)
    head = next(x for x in page.splitlines() if x.startswith("  at"))
    spoken = {"sat.": "saturation", "weights": "weight scale", "0.25": "sigmoid ceiling"}
    there = [f"{spoken[kind]} of {layer}" for layer, kind in re.findall(r"(\S+): (\S+)", head)]
    assert [x for x in names if x in there] == there and len(there) > 1


def test_of_many_columns_those_of_a_kind_are_one():
    names = [column.name for column in maps.columns(deep().ledger)]
    assert "sigmoid ceiling" in names and "weight scale" in names


@pytest.mark.parametrize("width", WIDTHS)
def test_bars_from_0_to_both_sides(sick, width):
    svg = maps.bars(sick, width)
    lines = list(sick.ledger.shown())
    columns = maps.columns(sick.ledger)
    drawn = [x for x in map(SIGNED.fullmatch, filter(None, told(svg))) if x]
    expected = [
        (column.name, f"{column.of(line):+.2f}")
        for line in lines for column in columns if column.of(line) == column.of(line) != 0
    ]  # fmt: skip
    assert [x.groups() for x in drawn] == expected
    cells = [g[1] for g in ElementTree.fromstring(svg).iter(f"{SVG}g")]
    pixels = {
        (float(x.get("width")) / abs(float(match[2])), match[1])
        for x, match in zip(cells, drawn) if abs(float(match[2])) > 1
    }  # fmt: skip
    scales = [size for size, _ in pixels]
    assert max(scales) == pytest.approx(min(scales), rel=0.02)  # pixels a decade
    words = texts(svg)
    for name, number in expected:
        if abs(float(number)) > 0.01:
            assert f"{name} {number}" in words
    names = [x for x in words if x.startswith("layers.")]
    assert names == [line.layer for line in lines]


def test_parts_below_0_stand_to_its_left_and_the_others_to_its_right(sick):
    columns = maps.columns(sick.ledger)
    for line in sick.ledger.shown():
        stacked = [*maps._stacked(line, columns)]
        for left in (True, False):
            ends = [(start, end) for _, start, end in stacked if (end < start) == left]
            assert all(one[1] == other[0] for one, other in zip(ends, ends[1:]))
            assert not ends or ends[0][0] == 0
    sizes = [end - start for line in sick.ledger.shown() for _, start, end in
             maps._stacked(line, columns)]  # fmt: skip
    assert min(sizes) < 0 < max(sizes)


def test_the_small_parts_are_together(sick, monkeypatch):
    monkeypatch.setattr(maps, "LEAST", 5.0)
    names = [column.name for column in maps.columns(sick.ledger)]
    assert names[1:] == ["rest", "opposition"] and names[0].startswith("saturation of")
    for line in sick.ledger.shown():
        parts = [x for x in (column.of(line) for column in maps.columns(sick.ledger)) if x == x]
        assert sum(parts) == pytest.approx(line.decades, abs=1e-9)


def test_a_layer_without_a_gradient_says_so():
    model = nn.MLP(2, [5, 4, 1], "relu", seed=0)
    for neuron in model.layers[1].neurons:
        neuron.bias.data = -50.0
    X = np.random.default_rng(0).random((30, 2))
    assert texts(maps.bars(mx.checkup(model, X, X[:, 0]))).count("no gradient comes here") == 2
    model.layers[2].neurons[0].bias.data = float("nan")
    assert maps.bars(mx.checkup(model, X, X[:, 0])) == ""


@pytest.mark.parametrize("share, words", [(0.0, "0 %"), (1e-9, "< 1 %"), (0.994, "99 %"),
                                          (0.9999, "> 99 %"), (1.0, "100 %")])  # fmt: skip
def test_a_share_is_all_only_where_it_is(share, words):
    assert maps.percent(share) == words


def test_the_same_pictures_twice():
    one, other = (mx.checkup(*planted()) for _ in range(2))
    assert maps.neurons(one) == maps.neurons(other) and maps.bars(one) == maps.bars(other)
    assert maps.neurons(mx.checkup(nn.MLP(4, [6, 3], "tanh", seed=0), *classes(50, 4, 3)))
