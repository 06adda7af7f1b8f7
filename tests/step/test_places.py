"""A net on the page: each of its cells says what the engine says, at every moment and anew."""

import random
import re
from collections import Counter

import pytest

from microgradx import nn, page
from microgradx._base.text import short
from microgradx.engine import order
from microgradx.explain.layers import Survey
from microgradx.explain.samples import net_of
from microgradx.pictures.render import BUNDLED, RendererNotFound, find_renderer
from tests.pictures.nets import GRAPHS as NETS
from tests.pictures.nets import samples
from tests.step.browser import contrasts
from tests.step.pages import data_of, last, swept
from tests.step.test_live import built_anew, change

# Boxes with a row a sample, or rows of like slopes; equations; cells with names, without, wrapped.
BOXES = ["the lecture's net, ReLU, 1 sample", "the lecture's net, ReLU, 4 samples",
         "the lecture's net, tanh, 60 samples", "a batch norm over 8 samples",
         "a dead ReLU"]  # fmt: skip
CELLS = ["6 sigmoid layers of 2, 1", "6 sigmoid layers of 4, 20", "a residual net",
         "9 sigmoid layers of 8, 1", "moons, 1 sample"]  # fmt: skip
STILL = [
    "moons, 100 samples",
    "digits, 1 sample",
    "20 ReLU layers of 16",
]  # too large to be computed anew

SHOWN = """() => cells.map((cell) => ({
  kind: cell.kind, look: cell.look, text: cell.text?.textContent.trim() ?? "",
}))"""


def survey_of(output):
    swept(output)
    return Survey(net_of(output))


@pytest.fixture
def net(at):
    """net(name) is the page of that net, opened at its last moment."""

    def net(name, **options):
        return at(name, NETS[name], visit=10**6, **options)

    return net


def moment(it, k):
    it.evaluate("(k) => render(k)", k)


# --- as saved ------------------------------------------------------------------------------------


@pytest.mark.some(1)
@pytest.mark.parametrize("name", BOXES + CELLS + STILL)
def test_grads_are_left_alone_and_told(name):
    output = NETS[name]()
    for node in order(output):
        node.grad = 7.0
    data = data_of(page(output))
    assert {node.grad for node in order(output)} == {7.0}
    assert data["net"]["cells"] and data["net"]["answer"]
    assert all(len(cell[1]) for cell in data["net"]["cells"])


@pytest.mark.parametrize("name", BOXES[:2] + CELLS[:1])
def test_cells_show_values_and_gradients(net, name):
    it = net(name)
    grads, nodes = swept(it.output), order(it.output)
    turns = data_of(it.content())["net"]["turns"]
    checked = set()
    for cell, (kind, _, *about) in zip(it.evaluate(SHOWN), data_of(it.content())["net"]["cells"]):
        if kind in ("z", "data", "parameter"):
            node = nodes[turns[about[0]][-1] if kind == "z" else about[0]]
            assert cell["text"] == short(node.data)
        elif kind in ("grad", "end"):
            node = nodes[turns[about[0]][0] if kind == "grad" else about[0]]
            assert cell["text"] == short(grads[node])
        elif kind == "leaving":
            assert cell["text"] == f"= {short(grads[nodes[turns[about[0]][-1]]])}"
        else:
            continue
        checked.add(kind)
    assert {"grad"} < checked


@pytest.mark.some(2)
@pytest.mark.parametrize("name", BOXES + CELLS + STILL)
def test_at_first_nothing_is_known_and_at_last_all(net, name):
    it = net(name)
    count = "(look) => document.querySelectorAll(`#picture .cell.${look}`).length"
    assert it.evaluate(count, "waiting") == it.evaluate(count, "unborn") == 0
    moment(it, 0)
    cells = it.evaluate("() => cells.length")
    assert it.evaluate(count, "waiting") == cells and it.evaluate(count, "unborn") > 0
    seen = "() => [...document.querySelectorAll('#picture .cell.halt')].length"
    assert it.evaluate(seen) == 0


@pytest.mark.some(1)
@pytest.mark.parametrize("name", BOXES[:2] + ["a dead ReLU"])
def test_a_bar_is_there_from_its_moment_on(net, name):
    it = net(name)
    reached = """(k) => {
      const now = new Set(moments.slice(turn, k + 1).map((each) => each.arrow));
      return cells.filter(({ kind, look, arrow }) =>
        kind === "slope" && look === "halt" && now.has(arrow)).length;
    }"""
    shown = "() => document.querySelectorAll('#picture .slope.halt').length"
    counts = []
    for k in range(it.evaluate("() => turn"), last(it) + 1, 7):
        moment(it, k)
        counts.append(it.evaluate(shown))
        assert counts[-1] == it.evaluate(reached, k)
    assert counts[0] == 0 < max(counts) or name == BOXES[0]


def test_a_row_of_samples_has_its_bar_from_the_first_that_it_stops(net):
    it = net("the lecture's net, ReLU, 60 samples", reduced_motion="reduce")
    for _ in range(3):
        it.keyboard.press("s")
        tail = it.evaluate("() => arrows[moments[now].arrow].tail")
        inside = it.evaluate(
            """(box) => cells.filter(({ kind, homes, group }) => kind === "slopes" &&
            homes.includes(box) && group.classList.contains("halt")).map(({ group }) => {
              const [bar, view] = [group, $("picture")].map((x) => x.getBoundingClientRect());
              return bar.top >= view.top && bar.bottom <= view.bottom; })""",
            tail,
        )
        assert inside == [True]


MARKED = """() => document.querySelectorAll(
  "#picture .halt:is(.slope, .slopes, .ailment), #picture .cell.halt:not(.words)").length"""
FOLDED = ["moons, 1 sample", "9 sigmoid layers of 8, 1"]


@pytest.mark.some(1)
@pytest.mark.parametrize("name", BOXES + CELLS[:1] + FOLDED)
def test_the_stops_are_where_the_picture_marks_them(net, name):
    """The key S visits the moments at which a STOP appears in the picture, and no other."""
    it = net(name, reduced_motion="reduce")
    found = it.evaluate(f"""() => {{
      const marked = {MARKED}, seen = [], visited = [];
      let before = (render(turn), marked());
      for (let k = turn + 1; k <= last; k += 1) {{
        render(k);
        if (marked() > before) seen.push(k);
        before = marked();
      }}
      for (go(0); nextStop() > 0; ) {{ moves.s(); visited.push(now); }}
      return {{ seen, visited }};
    }}""")
    assert found["visited"] == found["seen"]
    stops = sum(survey_of(it.output).stops.values())
    assert bool(found["seen"]) == bool(stops)
    if name not in FOLDED:
        assert len(found["seen"]) == stops


def test_a_weight_whose_input_is_0_is_no_stop(net):
    """Of 50 factors of 0 in the lecture's net on four samples, ten are ReLUs that are off."""
    it = net(BOXES[1])
    count = "(name) => arrows.filter((arrow) => arrow[name] === (name === 'stop' || 0)).length"
    assert [it.evaluate(count, name) for name in ("partial", "stop")] == [50, 10]
    k = it.evaluate("""() => moments.findIndex(({ arrow }) =>
      arrows[arrow]?.partial === 0 && arrows[arrow].adjoint && !arrows[arrow].stop)""")
    moment(it, k)
    assert it.locator("#terms b").nth(2).inner_text() == "0"
    assert it.locator("#sum .word").count() == 0


def test_a_click_on_a_cell_chooses_its_node(net):
    it = net(BOXES[1])
    it.locator("#picture .cell.parameter").first.click()
    assert it.locator("#why-of").inner_text() == "Why layers.0.weight[0,0]?"
    assert it.locator("#leaf-value").input_value() != ""
    it.locator("#picture .cell.grad").first.click()
    assert it.locator("#why-of").inner_text() == "Why layers.0[0]?"


def test_nodes_are_drawn_one_by_one_when_asked_for():
    output = NETS[BOXES[0]]()
    assert data_of(page(output))["net"] and data_of(page(output, nodes=True))["net"] is None
    assert data_of(page(output, direction="TB"))["net"] is None


# --- anew ----------------------------------------------------------------------------------------


def relus():
    """Rows of named cells, with a bar of the samples that a neuron is off on."""
    model = nn.MLP(2, [8, 8, 8, 8, 8, 1], seed=1)
    return nn.hinge_loss([model(x) for x in samples(4, 2)], [1, -1, 1, -1])


def counted():
    """Layers in one row, with a bar of how many neurons have which mark."""
    model = nn.MLP(4, [4] * 60 + [1], seed=1)
    for p in model.parameters():
        p.data = abs(p.data)
    for layer in model.layers[:50]:
        for neuron in layer.neurons[:2]:
            neuron.bias.data = -1e9
    return nn.mse_loss([model(x) for x in [[1.0, 0.5, 0.25, 2.0]]], [1.0])


OWN = {"relus": relus, "counted": counted}
DRAWN = [*BOXES, *CELLS, "relus"]
PLAIN, INK = ["rgb(119, 114, 107)", "1px"], "rgb(27, 26, 24)"  # of frames
# What is drawn and not written: frames, bars of samples and of counts, lines, what is struck out.
LOOKS = """() => {
  const style = (x, name) => getComputedStyle(x)[name], colour = (x) => style(x, "fill");
  const bars = (kind, parts, word) => cells.filter((cell) => cell.kind === kind).map((cell) =>
    [...cell.group.querySelectorAll(parts)].filter((x) => colour(x) !== "none").map((x) =>
      [colour(x), Math.round(x.getBBox().width)]).filter(([, wide]) => wide));
  return {
    frames: outlines.map(({ line }) => [style(line, "stroke"), style(line, "strokeWidth")]),
    shares: bars("cell", ".share rect, polygon ~ polygon:not([fill=none])"),
    counts: bars("counts", "rect, polygon"),
    numbers: cells.filter(({ kind }) => kind === "counts").map(({ group }) =>
      [...group.querySelectorAll("text")].map((x) => x.textContent.trim()).filter(Boolean)),
    lines: [...titled].filter(([title]) => title.includes("->")).map(([title, line]) =>
      [title, style(line.querySelector("path"), "strokeDasharray") !== "none"]).sort(),
    struck: cells.filter(({ kind }) => kind === "parameter").map(({ text }) =>
      style(text, "textDecorationLine")),
  };
}"""


@pytest.fixture
def shown(at):
    """shown(name) is what is written on the page of that net, and what is drawn."""

    def shown(name, make):
        it = at(name, make, visit=10**6, reduced_motion="reduce")
        return it, lambda: (it.evaluate(SHOWN), it.evaluate(LOOKS))

    return shown


def of_decade(look):
    return "blue" if re.fullmatch(r"s\d", look) else look


def near(ours, theirs):
    """Whether bars have the same colours, and to a point or two the same widths."""
    if len(ours) != len(theirs):
        return False
    blue = re.compile(r"rgb\(\d+, \d+, 2\d\d\)")  # whose shade has a scale of its own
    alike = [a == b or (blue.match(a) and blue.match(b)) for (a, _), (b, _) in zip(ours, theirs)]
    return all(alike) and all(abs(a - b) <= 2 for (_, a), (_, b) in zip(ours, theirs))


@pytest.mark.some(1)
@pytest.mark.parametrize("name", DRAWN)
def test_a_changed_leaf_shows_the_graph_built_anew(shown, name):
    make = OWN.get(name) or NETS[name]
    it, all_of = shown(name, make)
    saved, grads = all_of(), swept(it.output)
    leaves = [i for i, node in enumerate(order(it.output)) if node.rule is None]
    moving = [i for i in leaves if grads[order(it.output)[i]]]
    sizes = [-3.0, *([-1000.0] if name not in CELLS else [])]  # which puts many neurons off
    for i, size in zip(random.Random(name).sample(moving, 2), sizes):
        x = 0.5 + size * order(it.output)[i].data
        it, all_of = shown(name, make)
        change(it, i, x)
        ours = all_of()
        assert it.locator("#answer").inner_text().startswith("As saved: ")
        it.locator("#undo").click()
        assert all_of() == saved
        anew = built_anew(it.output, {i: x})
        theirs = shown(f"{name}, {i}", lambda anew=anew: anew)[1]()
        for a, b in zip(ours[0], theirs[0], strict=True):
            assert a["kind"] == b["kind"] and of_decade(a["look"]) == of_decade(b["look"])
            assert a["text"] == b["text"] or a["kind"] in ("cell", "counts"), (i, a, b)
        frames = [
            PLAIN if stroke == INK else [stroke, wide] for stroke, wide in theirs[1]["frames"]
        ]
        assert ours[1]["frames"] == frames  # where it begins to be small is the saved title's word
        for part in ("numbers", "lines", "struck"):
            assert ours[1][part] == theirs[1][part], (i, part)
        for part in ("shares", "counts"):
            assert all(map(near, ours[1][part], theirs[1][part])), (i, part)


@pytest.mark.some(1)
@pytest.mark.parametrize("name", [BOXES[1], BOXES[4], CELLS[4], "9 sigmoid layers of 4, 20", *OWN])
def test_what_is_drawn_waits_for_its_moment(shown, name):
    """No frame is orange before its STOPs, nothing is struck out, and no line is dashed."""
    it, all_of = shown(name, OWN.get(name) or NETS[name])
    last_of = all_of()[1]
    plain = PLAIN[0]
    assert any(stroke != plain for stroke, _ in last_of["frames"])
    moment(it, it.evaluate("() => turn"))
    looks = it.evaluate(LOOKS)
    assert all(each == PLAIN for each in looks["frames"])
    assert not any(dashed for _, dashed in looks["lines"])
    assert set(looks["struck"]) <= {"none"}
    hidden = "() => [...document.querySelectorAll('#picture :is(.counts, .cell .share, .late)')]"
    hidden += ".every((x) => getComputedStyle(x).visibility === 'hidden')"
    assert it.evaluate(hidden)
    words = it.evaluate("() => cells.filter(({ kind }) => /state|tally/.test(kind)).map("
                        "({ text }) => text?.textContent ?? '')")  # fmt: skip
    assert not any("starved" in text for text in words)
    for k, frame in enumerate(it.evaluate("() => outlines.map(({ final }) => final)")):
        moment(it, frame - 1)
        assert it.evaluate(LOOKS)["frames"][k][0] == plain
        moment(it, frame)
        assert it.evaluate(LOOKS)["frames"][k] == last_of["frames"][k]
    moment(it, last(it))
    assert all_of()[1] == last_of


def test_a_bar_of_counts_follows(shown):
    it, all_of = shown("counted", counted)
    saved = all_of()[1]
    assert any(len(bar) > 1 for bar in saved["counts"])
    it.evaluate("() => { evaluate(); paint(true); render(now); }")
    assert all_of()[1]["numbers"] == saved["numbers"]
    assert all(map(near, all_of()[1]["counts"], saved["counts"]))
    runs = it.evaluate("() => cells.filter(({ kind }) => kind === 'counts').map((x) => x.about)")
    names = [node.label for node in order(it.output)]
    for run, index, bias in (runs[0], 2, -1e9), (runs[0], 0, 1.0), (runs[1], 3, -1e9):
        i = names.index(f"layers.{run[0]}.bias[{index}]")
        change(it, i, bias)
        survey = survey_of(built_anew(it.output, {i: bias}))
        expected = [sorted(numbers_of(survey, each)) for each in runs]
        assert [sorted(numbers) for numbers in all_of()[1]["numbers"]] == expected
        it.locator("#undo").click()
    assert all_of()[1] == saved


def numbers_of(survey, run):
    """What a bar says of these layers."""
    layers = [[*layer.neurons.values()] for layer in survey.net.layers]
    marks = Counter(mark_of(survey, neuron) for k in run for neuron in layers[k])
    if {*marks} == {""}:
        return [f"{len(run)} layers without a mark"]
    return [f"{mark} {n}".strip() for mark, n in marks.items()]


def mark_of(survey, neuron):
    if survey.off_on_all(neuron):
        return "×"
    alive = any(turn.z in survey.alive for turn in neuron.turns.values())
    return "" if alive else "0"


EXTENTS = """() => cells.filter(({ kind }) => kind === "strip").map(({ group }) => {
  const found = {}, paper = "rgb(255, 255, 255)";
  for (const part of group.querySelectorAll("polygon, rect")) {
    const role = getComputedStyle(part).fill, box = part.getBBox();
    const [low, high] = found[role] ?? [Infinity, -Infinity];
    if (role !== paper) found[role] = [Math.min(low, box.x), Math.max(high, box.x + box.width)];
  }
  return found;
})"""
WIDTHS = """() => [...document.querySelectorAll('#picture .edge path')].map((path) =>
  path.getAttribute("stroke-dasharray") ? 0.6 : Number(path.getAttribute("stroke-width") ?? 1))"""


@pytest.mark.parametrize("name", BOXES + CELLS)
def test_drawn_anew_with_the_same_numbers_it_is_the_same(net, name):
    it = net(name, reduced_motion="reduce")
    saved, widths, strips = it.evaluate(SHOWN), it.evaluate(WIDTHS), it.evaluate(EXTENTS)
    it.evaluate("() => { evaluate(); paint(true); render(now); }")
    for a, b in zip(saved, it.evaluate(SHOWN), strict=True):
        assert a["look"] == b["look"] and (a["text"] == b["text"] or a["kind"] == "cell")
    if name not in CELLS[1:]:  # there a line is that of a whole layer
        assert it.evaluate(WIDTHS) == pytest.approx(widths, abs=0.02)
    for ours, theirs in zip(it.evaluate(EXTENTS), strips, strict=True):
        for role, (left, right) in theirs.items():
            assert ours[role] == pytest.approx([left, right], abs=1.6), role  # whole points there


def test_a_graph_too_large_stays_as_it_is(net):
    it = net(STILL[0])
    assert "No leaf can be changed" in it.locator("#change-words").inner_text()


# --- looks ---------------------------------------------------------------------------------------

PIXELS = """() => {
  const svg = document.querySelector("#picture > svg"), frame = document.getElementById("picture");
  const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  const texts = [...svg.querySelectorAll("text")].filter((text) => text.textContent.trim());
  return { least: Math.min(...texts.map((x) => parseFloat(getComputedStyle(x).fontSize) * scale)),
           spill: [frame.scrollWidth - frame.clientWidth, frame.scrollHeight - frame.clientHeight],
           scrolls: document.documentElement.scrollHeight > innerHeight };
}"""
SEEN = [BOXES[1], "the lecture's net, tanh, 4 samples", BOXES[2], "moons, 1 sample",
        "moons, 100 samples", "6 sigmoid layers of 2, 1", "softmax on iris"]  # fmt: skip


@pytest.mark.parametrize("name", SEEN)
def test_a_net_is_wholly_in_view_and_can_be_read(net, name):
    it = net(name, viewport={"width": 1600, "height": 900})
    pixels = it.evaluate(PIXELS)
    assert pixels["least"] >= 9 and pixels["spill"] == [0, 0] and not pixels["scrolls"]


@pytest.mark.some(1)
@pytest.mark.parametrize("size", [(1280, 720), (1000, 700), (390, 844)])
@pytest.mark.parametrize("name", SEEN[::2])
def test_a_net_without_room_scrolls_and_can_be_read(net, name, size):
    it = net(name, viewport={"width": size[0], "height": size[1]})
    assert it.evaluate(PIXELS)["least"] >= 9
    assert it.evaluate("() => document.documentElement.scrollWidth") == size[0]


@pytest.mark.parametrize("size", [(300, 150), (800, 200)])
@pytest.mark.parametrize("name", ["moons, 1 sample", BOXES[1]])
def test_a_tiny_frame_shows_the_picture_and_how_to_go_on(net, name, size):
    it = net(name, viewport={"width": size[0], "height": size[1]})
    assert it.evaluate(PIXELS)["spill"] == [0, 0]
    ends = "() => ['scrollWidth', 'scrollHeight'].map((x) => document.documentElement[x])"
    assert it.evaluate(ends) == [*size]
    svg = it.locator("#picture > svg").bounding_box()
    assert svg["width"] > 0.5 * size[0] or svg["height"] > 0.5 * size[1]
    for control in ("back", "play", "next", "stop", "screen"):
        box = it.locator(f"#{control}").bounding_box()
        assert 0 <= box["x"] and box["x"] + box["width"] <= size[0]
        assert 0 <= box["y"] and box["y"] + box["height"] <= size[1] and box["height"] >= 24
    assert not it.locator("#equation").is_visible()


@pytest.mark.parametrize("size", [(1600, 900), (1280, 720), (390, 844)])
@pytest.mark.parametrize("name", [BOXES[1], "moons, 1 sample"])
def test_the_name_of_a_leaf_is_read_wholly(net, name, size):
    it = net(name, viewport={"width": size[0], "height": size[1]})
    spare = it.evaluate("""() => {
      const select = $("leaf"), pen = document.createElement("canvas").getContext("2d");
      pen.font = getComputedStyle(select).font;
      const widest = Math.max(...[...select.options].map((x) => pen.measureText(x.text).width));
      return select.clientWidth - widest; }""")
    assert spare >= 24  # its margins, and its arrow


@pytest.mark.some(1)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [BOXES[1], CELLS[0], STILL[0]])
def test_contrast(net, scheme, name):
    it = net(name, color_scheme=scheme, reduced_motion="reduce",
             viewport={"width": 1280, "height": 800})  # fmt: skip
    worst = {}
    for k in (0, it.evaluate("() => turn"), last(it)):
        moment(it, k)
        for text in contrasts(it):
            if text["ratio"] < 4.5:
                worst[text["where"], text["text"]] = round(text["ratio"], 2)
    assert worst == {}


def test_texts_stay_in_their_cells(net):
    it = net(BOXES[1])
    change(
        it, order(it.output).index(it.output.inputs[0].inputs[0].inputs[0].inputs[0]), -12345.6789
    )
    wide = it.evaluate("""() => cells.filter(({ room, text }) => room && text
      && text.getComputedTextLength() > room + 4).map(({ text }) => text.textContent)""")
    assert wide == []


@pytest.mark.parametrize("renderer", ["dot", BUNDLED])
def test_each_cell_of_a_net_can_be_found_in_the_svg_of_any_graphviz(renderer):
    """Graphviz before 3.0 writes the id of a cell only where that has a link."""
    try:
        find_renderer(renderer)
    except RendererNotFound:
        pytest.skip(f"there is no {renderer}")
    text = page(nn.MLP(2, [3, 1])([1.0, 2.0]), renderer=renderer)
    cells = data_of(text)["net"]["cells"]
    assert cells and all(f'id="a_c{i}"' in text for i in range(len(cells)))
