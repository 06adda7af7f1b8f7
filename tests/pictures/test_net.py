"""A net's picture tells the truth: its title, its bars, its cells, and the strip of decades."""

import html
import math
import re

import pytest

import microgradx as mx
from microgradx import nn
from microgradx.explain.layers import Survey, saturated
from microgradx.explain.samples import net_of
from microgradx.pictures import draw, style
from microgradx.pictures.answer import NO_GRADIENT, answer
from microgradx.pictures.cells import Cells
from microgradx.pictures.chain import LONGEST, SHORTEST, chain_of
from microgradx.pictures.rows import ROWS, lines_of
from microgradx.pictures.sheet import Shares
from microgradx.pictures.sizes import EQUATION, MARKED, NAMED, WRAPPED
from tests.pictures.nets import GRAPHS, samples


def swept(loss):
    loss.backward()
    return loss


def graph(name):
    return swept(GRAPHS[name]())


def survey_of(loss):
    return Survey(net_of(loss))


def words_of(source):
    """The texts of a picture, in the order of its source."""
    texts = re.findall(r">([^<>]+)<", source)
    return [html.unescape(text).replace("\xa0", " ").strip() for text in texts if text.strip()]


def filled_cells(source, fill):
    return re.findall(rf'<td[^>]*bgcolor="{fill}"[^>]*>(.*?)</td>', source)


def squares(model, n, inputs=2, size=1.0):
    targets = [1.0 if k % 2 else -1.0 for k in range(n)]
    xs = samples(n, inputs, size)
    return mx.mean([(model(x) - y) ** 2 for x, y in zip(xs, targets)])


def with_biases(model, biases):
    for (layer, neuron), bias in biases.items():
        model.layers[layer].neurons[neuron].bias.data = bias
    return model


# --- the title ------------------------------------------------------------------------------------


def dead(*neurons, layers=(3, 3, 1), n=4):
    model = nn.MLP(2, layers, seed=1)
    for i, layer in enumerate(model.layers[:-1]):
        for neuron in layer.neurons:
            neuron.bias.data = 50.0 * 1000.0**i  # on, whatever comes
    return squares(with_biases(model, dict.fromkeys(neurons, -1e6)), n)


def chained(activation, layers, weight):
    model = nn.MLP(1, [1] * layers, activation=activation, output=activation, seed=1)
    for p in model.parameters():
        p.data = -weight / 2 if "bias" in p.label else weight
    return model([0.5])  # every z is 0


SMALL = (
    "The gradient gets small at layers.5: 6.0 decades lost in 10 layers, most in layers.9, ×0.25"
)
LARGE = "The gradient gets large at layers.0: 2.1 decades gained in 10 layers, most in layers.8, ×2"
TITLES = {
    "The gradient stops at layers.0[1]: off on this sample": lambda: dead((0, 1), n=1),
    "The gradient stops at layers.0[0] and layers.1[2]: off on all 4 samples": lambda: dead(
        (0, 0), (1, 2)
    ),
    "The gradient stops at layers.0[1]: off on both samples": lambda: dead((0, 1), n=2),
    "The gradient stops at 4 of the 6 neurons of layers.0: off on all 4 samples": lambda: dead(
        *[(0, k) for k in range(4)], layers=(6, 3, 1)
    ),
    SMALL: lambda: chained("sigmoid", 10, 1.0),
    LARGE: lambda: chained("sigmoid", 10, 8.0),
}


def test_without_a_gradient_the_samples_are_counted_once():
    picture = draw(dead((0, 1)))
    assert picture.summary == f"{NO_GRADIENT}; 3 layers, 4 samples"


@pytest.mark.parametrize("title", TITLES)
def test_the_title_is_the_answer(title):
    loss = swept(TITLES[title]())
    assert answer(survey_of(loss)).title == title
    picture = draw(loss)
    assert words_of(picture.source)[0] == title
    assert picture.summary.startswith(title)


def test_the_picture_marks_the_layer_that_the_title_names_first():
    for title, layer in ((SMALL, "layers.5"), (LARGE, "layers.0")):
        loss = swept(TITLES[title]())
        found = answer(survey_of(loss))
        assert found.begin.name == layer
        assert found.mark == f"{title.split()[3]} from here on"
        words = " ".join(words_of(draw(loss).source))
        assert f"thick border: {found.mark}" in words
        assert draw(loss).source.count('border="3"') == 1


class Parallel(nn.Module):
    """Two layers that read the same input, and one that reads both of them."""

    def __init__(self):
        self.a, self.b = nn.Layer(2, 5, seed=1), nn.Layer(2, 6, seed=2)
        self.o, self.last = nn.Layer(11, 7, seed=3), nn.Layer(7, 1, seed=4)

    def __call__(self, x):
        return self.last(self.o([*self.a(x), *self.b(x)]))


def test_what_a_row_reads_beside_the_row_below_is_said():
    loss = swept(squares(Parallel(), 30))
    words = words_of(draw(loss).source)
    assert words.count("reads x") == 1  # to the lowest row leads an arrow
    assert sum(word.startswith("and reads ") for word in words) == 1
    assert "factor from the layers that read it" in [word.strip() for word in words]
    plain = words_of(draw(swept(squares(nn.MLP(2, [9, 9, 9, 9, 1], seed=1), 30))).source)
    assert not [word for word in plain if "reads" in word or "that read it" in word]


def test_a_title_about_one_layer_that_takes_most():
    model = nn.MLP(2, [4, 4, 4, 4, 1], activation="tanh", init="glorot", seed=1)
    loss = swept(squares(with_biases(model, {(2, k): 9.0 for k in range(4)}), 5))
    survey = survey_of(loss)
    passage = survey.passages[2]
    title = f"The gradient gets small in layers.2: ×{passage.factor:.3g} in this one layer"
    assert answer(survey).title == title.replace("e-0", "e-")


def test_a_title_before_any_backward_and_of_what_is_not_finite():
    model = nn.MLP(2, [3, 1], seed=1)
    assert answer(survey_of(squares(model, 2))).title == NO_GRADIENT
    model.layers[0].neurons[1].bias.data = math.inf
    title = answer(survey_of(swept(squares(model, 2)))).title
    assert title == "Not finite at layers.0[1]"
    model.layers[0].neurons[1].bias.data = 0.0
    loss = swept(squares(model, 2) * math.inf)
    assert answer(survey_of(loss)).title == "Not finite in the loss"


@pytest.mark.parametrize("layers", [[3, 1], [3, 3, 3, 3, 1]])
def test_a_loss_that_stops_the_gradient_has_the_mark(layers):
    model = nn.MLP(1, layers, activation="tanh", seed=1)
    loss = swept(((model([0.5]) - 5.0).relu() - 1.0) ** 2)
    words = words_of(draw(loss).source)
    assert words[0].startswith("The gradient stops in the loss") and "STOP" in words
    assert "STOP" not in words_of(draw(swept((model([0.5]) - 5.0) ** 2)).source)


def test_a_title_about_a_loss_that_lets_nothing_through():
    model = nn.MLP(2, [3, 1], seed=1)
    loss = swept((model([1.0, 2.0]) * 0.0 - 3.0).relu() + 1.0)
    assert answer(survey_of(loss)).title == (
        "The gradient stops in the loss: none of it reaches the net"
    )


def test_the_line_below_counts_starved_parameters():
    loss = graph("the lecture's net, ReLU, 4 samples")
    survey = survey_of(loss)
    parameters = {p for neuron in survey.net.neurons for p in neuron.parameters}
    starved = [p for p in parameters if mx.why(p, loss).verdict == "stopped"]
    assert f"{len(starved)} of {len(parameters)} parameters are starved" in answer(survey).line


# --- boxes ----------------------------------------------------------------------------------------


def test_a_bar_is_as_high_as_the_samples_that_it_stops():
    loss = graph("the lecture's net, ReLU, 4 samples")
    survey = survey_of(loss)
    bars = re.findall(rf'bgcolor="{style.STOP}" rowspan="(\d+)"', draw(loss).source)
    runs = []
    for neuron in survey.net.neurons:
        run = 0
        for turn in [*neuron.turns.values(), None]:
            if turn and turn.slope == 0 and turn.y in survey.alive:
                run += 1
            else:
                runs += [run] if run else []
                run = 0
    assert sorted(map(int, bars)) == sorted(runs) and runs


def test_parameters_are_struck_where_they_are_starved():
    loss = graph("the lecture's net, ReLU, 4 samples")
    survey = survey_of(loss)
    parameters = [p for neuron in survey.net.neurons for p in neuron.parameters]
    assert draw(loss).source.count("<s>") == survey.starved(parameters) == 16


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_groups_hold_every_sample_once(activation):
    survey = survey_of(
        graph(f"the lecture's net, {activation.replace('relu', 'ReLU')}, 60 samples")
    )
    for neuron in survey.net.neurons:
        lines = lines_of(neuron, survey)
        assert sum(line.n for line in lines) == 60
        slopes = [abs(line.slope) for line in lines]
        assert slopes == sorted(slopes, reverse=True)
        assert sum(line.height for line in lines) <= 76


def test_as_many_rows_as_samples_up_to_six():
    for n in (1, ROWS, ROWS + 1):
        survey = survey_of(swept(squares(nn.MLP(2, [2, 1], activation="tanh", seed=1), n)))
        rows = lines_of(next(survey.net.neurons), survey)
        assert len(rows) == n if n <= ROWS else len(rows) < n


def test_the_loss_has_what_it_compares():
    words = words_of(draw(graph("the lecture's net, ReLU, 4 samples")).source)
    at = words.index("error²")
    assert words[at - 2 : at + 2] == ["output", "target", "error²", "grad"]
    assert [words[at + 3 + 4 * k] for k in range(4)] == ["1", "-1", "-1", "1"]
    words = words_of(draw(graph("a dead ReLU")).source)
    shares = [float(words[words.index("p") + k]) for k in (4, 8, 13)]
    assert sum(shares) == pytest.approx(1.0, abs=2e-3)


def test_an_open_box_has_the_parameters_as_rows():
    loss = graph("a dead ReLU")
    [weight] = [x for x in net_of(loss).nodes if x.label == "layers.0.weight[1,2]"]
    picture = draw(loss, explain=weight)
    words = words_of(picture.source)
    assert words[0].endswith("stopped: relu off")
    for name in ("weight[1,0]", "weight[1,2]", "weight[1,3]", "bias[1]", "× input"):
        assert name in words
    assert "weight[0,0]" not in words
    assert "off, culprit" in words


# --- cells ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "n", "size"),
    [([2, 2, 2, 2, 1], 1, EQUATION), ([2, 2, 2, 2, 1], 2, NAMED), ([16, 16, 1], 9, NAMED),
     ([17, 1], 3, MARKED), ([43, 1], 3, MARKED), ([44, 1], 3, WRAPPED), ([2] * 12, 9, MARKED)],
)  # fmt: skip
def test_cells_are_as_large_as_there_is_room_for(layers, n, size):
    model = nn.MLP(2, layers, activation="sigmoid", seed=1)
    xs = samples(n, 2)
    loss = mx.sum([y for x in xs for y in ([model(x)] if layers[-1] == 1 else model(x))])
    assert Cells(survey_of(swept(loss))).size is size


def test_a_cross_is_a_neuron_that_is_off_on_all_samples():
    loss = swept(dead((0, 3), (1, 7), (1, 8), layers=(20, 20, 1), n=9))
    survey = survey_of(loss)
    assert [n.name for n in survey.stops] == ["layers.0[3]", "layers.1[7]", "layers.1[8]"]
    words = words_of(draw(loss).source)
    assert words.count("×") == 3
    assert any(word.startswith("STOP on") for word in words)


def test_one_sample_tells_of_no_death():
    words = " ".join(words_of(draw(graph("digits, 1 sample")).source))
    assert "dead" not in words and "× off" in words


def test_the_strip_adds_up():
    survey = survey_of(graph("9 sigmoid layers of 8, 20"))
    strip = Cells(survey).strip
    for i, passage in enumerate(survey.passages):
        blocks = re.findall(r'bgcolor="(#\w+)" width="(\d+)"', strip.bar(i))
        widths = [int(width) for _, width in blocks]
        assert sum(widths) == strip.decades * strip.point
        left = 0
        for fill, width in blocks:
            if fill not in (style.LEFT, style.GAINED, style.PAPER, style.INK):
                break
            left += int(width)
        decades = math.log10(passage.leaving) - strip.low
        assert left == pytest.approx(decades * strip.point, abs=3)


def test_what_round_a_layer_is_read_is_told():
    words = words_of(draw(graph("a residual net")).source)
    assert "and reads layers.0" in words and "and reads layers.1" in words


# --- chains ---------------------------------------------------------------------------------------


def tanhs(n):
    y = x = mx.Value(2.5, "x")
    for _ in range(n):
        y = y.tanh()
    return x, swept(y)


def test_which_graphs_are_chains():
    assert chain_of(tanhs(SHORTEST - 1)[1]) is None
    assert len(chain_of(tanhs(SHORTEST)[1])) == SHORTEST
    _, y = tanhs(SHORTEST)
    assert chain_of(y + y.relu()) is None


def test_a_chain_turns_and_a_long_one_folds():
    snake, bars = draw(tanhs(LONGEST)[1]), draw(tanhs(LONGEST + 1)[1])
    assert snake.source.count("leaves") == LONGEST + 1  # and once in the legend
    assert f"{LONGEST + 1} tanh in a row" in words_of(bars.source)


def test_a_chain_says_where_it_gets_small_and_where_it_stops():
    _, y = tanhs(20)
    title = words_of(draw(y).source)[0]
    together = "most there, ×0.0266; all 20 together ×0.000479"
    assert title == f"The gradient gets small at op 1 of 20, tanh(0.987), {together}"
    y = mx.Value(-1.0, "x")
    for _ in range(9):
        y = y * 1.0
    z = y.relu()
    z.label = "gate"
    picture = draw(swept(z * 2.0))
    assert words_of(picture.source)[:2] == ["The gradient stops at gate", "9 ops behind it"]
    assert "STOP" in words_of(picture.source)


@pytest.mark.parametrize("name", ["a chain of 40", "moons, 1 sample", "6 sigmoid layers of 2, 1"])
def test_every_node_is_there_when_asked_for(name):
    loss = graph(name)
    nodes = draw(loss, nodes=True)
    assert f"{len(mx.engine.order(loss)):,} nodes" in nodes.summary
    assert nodes.source != draw(loss).source
    assert draw(loss, note=lambda node: "").source == nodes.source


@pytest.mark.parametrize("layers", [40, 90])
def test_a_deep_net_puts_layers_without_a_mark_together(layers):
    model = nn.MLP(4, [5] * layers + [1], activation="tanh", seed=1)
    loss = swept(model([1.0, 2.0, 3.0, 4.0]))
    cells = Cells(survey_of(loss))
    assert [layer for row in cells.rows for layer in row] == cells.net.layers
    assert len(cells.rows) <= 31
    alone = [row[0] for row in cells.rows if len(row) == 1]
    marked = [x for x in cells.net.layers if any(map(saturated, x.neurons.values()))]
    assert all(layer in alone for layer in marked)
    whole = math.prod(passage.factor for passage in cells.survey.passages)
    assert math.prod(p.factor for p in cells.strip.passages) == pytest.approx(whole, rel=1e-12)
    assert cells.strip.passages[0].leaving == cells.survey.passages[0].leaving


@pytest.mark.long
def test_layers_up_to_thirty_have_their_own_row():
    for widths in ([64] * 20, [20] * 30, [100] * 10):
        model = nn.MLP(4, [*widths, 1], seed=1)
        cells = Cells(survey_of(swept(model([1.0, 2.0, 3.0, 4.0]))))
        assert [len(row) for row in cells.rows] == [1] * (len(widths) + 1)


@pytest.mark.parametrize("k", [0, 1, 37, 63, 98])
@pytest.mark.parametrize("asked", [2, 50])
def test_a_layer_that_is_named_has_its_own_row(k, asked):
    model = nn.MLP(2, [3] * 99 + [1], seed=1)
    for p in model.parameters():
        p.data = 1.0 / 3.0  # on, whatever comes
    loss = swept(squares(with_biases(model, {(k, 0): -1e9}), 2))
    survey = survey_of(loss)
    assert f"layers.{k}[0]" in answer(survey).title
    [weight] = [x for x in survey.net.nodes if x.label == f"layers.{asked}.weight[0,0]"]
    cells = Cells(survey, Shares(mx.why(weight, loss)), found=answer(survey))
    alone = [row[0].name for row in cells.rows if len(row) == 1]
    assert {f"layers.{k}", f"layers.{asked}"} <= {*alone} and len(cells.rows) <= 31


def test_too_many_marked_layers_share_rows_and_are_counted():
    loss = graph("60 ReLU layers of 16")
    survey = survey_of(loss)
    cells = Cells(survey)
    assert len(cells.rows) <= 31
    for layers in cells.rows:
        if len(layers) == 1:
            continue
        neurons = [neuron for layer in layers for neuron in layer.neurons.values()]
        dead = sum(map(survey.stops_all, neurons))
        assert f"× {dead}" in words_of(cells._run(layers)[0])
        assert f"{dead} of {len(neurons)}" in " ".join(words_of(cells._ailment(layers)))


def test_every_head_of_a_net_leads_to_its_loss():
    trunk, one, two = nn.Layer(3, 4, seed=1), nn.Layer(4, 1, None, seed=2), nn.Layer(4, 2, seed=3)
    for module, name in ((trunk, "trunk"), (one, "one"), (two, "two")):
        module._called(name)
    h = trunk([1.0, 2.0, 3.0])
    source = draw(swept(one(h) ** 2 + mx.sum(two(h)))).source
    assert source.count("-> loss:w") == 3
    assert {"one[0]", "two[0]", "two[1]"} <= {*words_of(source)}


# --- shares, and where a gradient stops -----------------------------------------------------------


def explained(name, label):
    loss = graph(name)
    [node] = [x for x in net_of(loss).nodes if x.label == label]
    return loss, mx.why(node, loss)


@pytest.mark.parametrize(
    "name", ["the lecture's net, tanh, 4 samples", "6 sigmoid layers of 2, 1", "digits, 1 sample"]
)
def test_a_neuron_has_its_share_of_all_paths(name):
    loss, why = explained(name, "layers.0.weight[1,1]")
    texts = words_of(draw(loss, explain=why).source)
    shares = [int(x.split("%")[0]) for x in texts if x.endswith("% of paths")]
    legend = any("%" in text and "share of all paths" in text for text in texts)
    if name.startswith("digits"):  # no lines from neuron to neuron are drawn there
        assert not shares and not legend
        return
    net, total = net_of(loss), 0
    for layer in net.layers[1:]:
        parts = [Shares(why).together(into(neuron)) for neuron in layer.neurons.values()]
        assert sum(parts) == pytest.approx(1.0)
        total += sum(part >= 0.005 for part in parts)
    assert len(shares) == total and legend


def into(neuron):
    edges = [edge for turn in neuron.turns.values() for edge in turn.z.edges]
    return [edge for edge in edges if edge.input.rule]


def test_a_stopped_gradient_has_no_shares_in_its_legend():
    loss, why = explained("a dead ReLU", "layers.0.weight[1,1]")
    texts = words_of(draw(loss, explain=why).source)
    assert "strongest path" in texts
    assert not any("%" in text or text in ("weakens", "strengthens") for text in texts)


@pytest.mark.parametrize(("name", "rows"), [("ReLU, 4 samples", 4), ("tanh, 60 samples", 2)])
def test_parameters_are_not_level_with_samples(name, rows):
    loss, why = explained(f"the lecture's net, {name}", "layers.1.weight[1,1]")
    source = draw(loss, explain=why).source
    box = next(line for line in source.splitlines() if ">parameter<" in line)
    texts = words_of(box)
    at = texts.index("parameter")
    assert texts.index("slope") < at < texts.index("weight[1,0]")
    assert "<tr>" in box[box.index(">slope<") : box.index(">parameter<")]


def stacked(biases):
    """Both layers are one ReLU wide: three of four samples of 1 … 4 turn the second off."""
    model = nn.MLP(1, [1, 1, 1], seed=1)
    for layer, bias in zip(model.layers, biases):
        layer.neurons[0].weight[0].data, layer.neurons[0].bias.data = 1.0, bias
    return swept(mx.sum([model([float(x)]) for x in (1, 2, 3, 4)]))


def test_off_is_a_slope_of_0_and_stop_where_something_arrives():
    survey = survey_of(stacked([-2.0, -1.0, 0.0]))  # off on 1, 2; and then on 1, 2, 3
    first, second, _ = survey.net.neurons
    assert (survey.off_on(first), survey.stops.get(first, 0)) == (2, 0)
    assert (survey.off_on(second), survey.stops[second]) == (3, 3)
    assert answer(survey).title == "The gradient stops at layers.1[0] on 3 of 4 samples"
    texts = words_of(draw(survey.net.output).source)
    assert "off on 2 of 4" in texts and "off on 3 of 4" in texts
    assert [line.stops for line in lines_of(first, survey)] == [0] * 4


def test_a_bar_of_like_slopes_counts_what_it_stops():
    model = nn.MLP(2, [2, 1, 1], seed=1)
    numbers = [([1, 0], -9), ([0, 1], 0), ([1, 1], -1), ([1], 0)]  # [0][0] is off up to 9;
    neurons = [neuron for layer in model.layers for neuron in layer.neurons]
    for neuron, (weights, bias) in zip(neurons, numbers):  # [1][0] there, if the other input is 0
        for p, x in zip([*neuron.weight, neuron.bias], [*weights, bias]):
            p.data = float(x)
    xs = [(k, 5.0 * (k % 2)) for k in range(1, 11)]
    survey = survey_of(swept(mx.sum([model(list(x)) for x in xs])))
    neuron = next(survey.net.neurons)
    assert (survey.off_on(neuron), survey.stops[neuron]) == (9, 5)
    assert [(line.n, line.stops) for line in lines_of(neuron, survey)] == [(1, 0), (9, 5)]
    texts = words_of(draw(survey.net.output).source)
    assert "off on 9 of 10" in texts and "5 of 10" in texts


# --- what other nets brought to light -------------------------------------------------------------


def zeroed(*layers):
    model = nn.MLP(3, [4, 4, 1], activation="tanh", seed=1)
    for k in layers:
        for neuron in model.layers[k].neurons:
            for p in neuron.parameters():
                p.data = 0.0
    return swept(squares(model, 4, 3))


def test_a_layer_of_zeros_is_a_stop():
    loss = zeroed(1)
    found = answer(survey_of(loss))
    assert found.title == (
        "The gradient stops between layers.1 and layers.0: every factor there is 0"
    )
    assert "No stop" not in found.line
    [weight] = [x for x in net_of(loss).nodes if x.label == "layers.0.weight[0,0]"]
    assert mx.why(weight, loss).verdict == "stopped"


@pytest.mark.parametrize("name", [name for name in GRAPHS if "lecture's net" in name])
def test_no_stop_is_not_said_beside_starved_parameters(name):
    survey = survey_of(graph(name))
    parameters = {p for neuron in survey.net.neurons for p in neuron.parameters}
    assert not ("No stop" in answer(survey).line and survey.starved(parameters))


def test_rows_of_inputs_are_those_of_the_samples():
    model, xs = nn.MLP(1, [2, 1], activation="tanh", seed=1), [3.0, 1.0, 2.0]
    loss = swept(sum((model([x]) - 1.0) ** 2 for x in xs))
    words = words_of(draw(loss).source)
    at = words.index("x0")
    assert words[at + 1 : at + 4] == ["3", "1", "2"]


def test_a_gradient_that_underflows_does_not_get_through():
    model = nn.MLP(2, [2] * 6 + [1], activation="tanh", seed=1)
    for p in model.parameters():
        p.data *= 1e-60
    title = answer(survey_of(swept(model([1.0, 2.0])))).title
    assert title == "The gradient underflows on its way to layers.0"
    y = mx.Value(1.0, "x")
    for _ in range(200):
        y = y * 1e-5
    assert "all 200 together ×1.00e-1000" in words_of(draw(swept(y)).source)[0]


def test_heads_beside_each_other_are_no_stack():
    trunk, one, two = (
        nn.Layer(3, 4, "tanh", seed=1),
        nn.Layer(4, 1, None, seed=2),
        nn.Layer(4, 1, None, seed=3),
    )
    for module, name in ((trunk, "trunk"), (one, "one"), (two, "two")):
        module._called(name)
    h = trunk([1.0, 2.0, 3.0])
    survey = survey_of(swept(one(h) ** 2 + two(h) ** 2 * 1e-6))
    assert not answer(survey).title.startswith("The gradient gets small")
    assert not answer(survey).title.startswith("The gradient gets large")
    by_name = {passage.layer.name: passage for passage in survey.passages}
    assert not by_name["one"].is_read and not by_name["two"].is_read
    grads = [one.neurons[0].bias.grad, two.neurons[0].bias.grad]
    assert by_name["trunk"].above == pytest.approx(math.hypot(*grads) / math.sqrt(2))


def test_a_nan_target_begins_in_the_loss():
    model = nn.MLP(2, [3, 1], seed=1)
    loss = swept((model([1.0, 2.0]) - math.nan) ** 2)
    assert answer(survey_of(loss)).title == "Not finite in the loss"
    assert "not finite" in words_of(draw(loss).source)


def test_an_activation_that_ends_in_a_sum_has_its_bar():
    model = nn.MLP(2, [2, 1], activation=lambda z: z.relu() - 0.5, seed=1)
    loss = swept(squares(with_biases(model, {(0, 0): -99.0}), 3))
    source = draw(loss).source
    assert f'bgcolor="{style.STOP}" rowspan="3"' in source
    assert "f(z)" in words_of(source)


def test_what_lies_behind_a_detach_is_told():
    model = nn.MLP(2, [3, 1], seed=1)
    cut = [y.detach() for y in model.layers[0]([1.0, 2.0])]
    assert "behind a detach: not shown" in draw(swept(model.layers[1](cut))).summary


def test_a_chain_that_reads_its_start_again_is_none():
    x = y = mx.Value(0.5, "x")
    for _ in range(12):
        y = y * x
    assert chain_of(swept(y)) is None


def test_a_neuron_that_stops_on_most_samples_is_framed():
    source = draw(graph("digits, 200 samples")).source
    assert len(re.findall(rf'<td border="3"[^>]* color="{style.STOP}"', source)) == 1
    assert "orange border: stops it on most samples" in words_of(source)


# --- what is no net, and what its inputs are ------------------------------------------------------


def test_ops_before_the_first_layer_are_drawn_and_their_stop_is_named():
    x, w = mx.Value(-1.0, "x"), mx.Value(2.0, "w")
    h = (x * w).relu()
    h.label = "gate"
    loss = swept((nn.Layer(1, 1, None, seed=1)([h]) - 1.0) ** 2)
    assert net_of(loss) is None
    assert words_of(draw(loss).source)[0].startswith("The gradient stops at 2 nodes, first at gate")


def test_a_norm_may_come_first():
    class Normed(nn.Module):
        def __init__(self):
            self.norm, self.layer = nn.LayerNorm(2), nn.Layer(2, 2, seed=1)

        def __call__(self, x):
            return mx.sum(self.layer(self.norm(x)))

    net = net_of(Normed()([mx.Value(1.0, "x"), mx.Value(2.0, "y")]))
    assert [layer.name for layer in net.layers] == ["norm", "layer"]


@pytest.mark.parametrize("label", ["x", "x{i}_{j}", "x{j}", ""])
def test_inputs_are_those_of_their_places_whatever_they_are_called(label):
    model, rows = nn.MLP(3, [4, 1], seed=1), [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5]]
    xs = [
        [mx.Value(x, label.format(i=i, j=j)) for j, x in enumerate(row)]
        for i, row in enumerate(rows)
    ]
    net = net_of(nn.mse_loss([model(row) for row in xs], [1.0, -1.0]))
    assert [i.name for i in net.inputs] == ["x0", "x1", "x2"]
    assert [[*i.numbers.values()] for i in net.inputs] == [list(column) for column in zip(*xs)]


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_nets_of_any_depth_fit_a_screen(activation):
    for depth in (15, 16, 17, 18, 19, 25):
        model = nn.MLP(3, [4] * (depth - 1) + [1], activation=activation, seed=1)
        svg = draw(swept(squares(model, 5, inputs=3))).svg()
        width, height = map(float, re.search(r'viewBox="\S+ \S+ (\S+) (\S+)"', svg).groups())
        assert 10 * min(1600 / width, 900 / height) >= 9  # px, of its smallest text


def test_a_net_that_stops_and_vanishes_says_both():
    class Both(nn.Module):
        def __init__(self):
            self.a = nn.Layer(2, 4, seed=1)
            self.b = nn.MLP(4, [4] * 8, "sigmoid", "sigmoid", init="glorot", seed=2)

        def __call__(self, x):
            return mx.sum(self.b(self.a(x)))

    model = Both()
    model.a.neurons[1].bias.data = -50.0
    loss = swept(squares(model, 4))
    found = answer(survey_of(loss))
    assert found.title.startswith("The gradient stops at a[0] and a[1]")
    assert found.line.endswith(f"it gets small at {found.begin.name}")
    assert "thick border: small from here on" in words_of(draw(loss).source)


def test_the_first_stop_of_a_graph_of_ops_is_an_op_that_stops_others():
    a, w, v = mx.Value(-1.0, "a"), mx.Value(2.0, "w"), mx.Value(3.0, "v")
    gate = (a * w).relu()
    gate.label, y = "gate", None
    y = gate * v  # whose v is behind a 0 too
    assert "first at gate" in words_of(draw(swept(y)).source)[0]
