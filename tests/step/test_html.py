"""The page: one file that asks for nothing, says what the engine says, and is pleasant to use."""

import base64
import hashlib
import html
import os
import re

import pytest

import microgradx as mx
from microgradx import Value, page
from microgradx._base.text import name_of, short
from microgradx.engine import order
from microgradx.pictures.render import RendererNotFound, RenderingFailed
from microgradx.pictures.style import BLUES
from microgradx.step.moments import Timeline
from tests.explain.test_paths import random_graph
from tests.step import pages
from tests.step.browser import contrasts
from tests.step.pages import GRAPHS, HOSTILE, bits, data_of, each_moment, last, neuron, now, swept

# --- the moments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_timeline_is_the_sweep(seed):
    output = random_graph(seed)
    told = Timeline(output)
    engines = swept(output)
    assert [*map(bits, told.grads.values())] == [bits(engines[node]) for node in told.grads]
    assert told.nodes == order(output)
    forward, (start, *backward) = told.moments[: told.turn], told.moments[told.turn :]
    made = [moment.node for moment in forward]
    assert made == told.nodes[::-1]
    assert all(made.index(x) < i for i, node in enumerate(made) for x in node.inputs)
    assert start.node is output and start.edge is None and start.after == 1.0
    visits = [*output.backward_steps()]
    steps = [(v.node, v.adjoint, p, c) for v in visits for p, c in zip(v.partials, v.contributions)]
    assert steps == [(m.node, m.adjoint, m.edge.partial, m.contribution) for m in backward]
    so_far = dict.fromkeys(told.nodes, 0.0) | {output: 1.0}
    last = {output: told.turn}
    for k, moment in enumerate(backward, told.turn + 1):
        assert bits(moment.before) == bits(so_far[moment.edge.input])
        assert bits(moment.after) == bits(moment.before + moment.contribution)
        so_far[moment.edge.input] = moment.after
        last[moment.edge.input] = k
    assert last == {node: told.final(node) for node in told.nodes}


def test_next_stop():
    told = Timeline(neuron())
    stop = told.next_stop(0)
    assert name_of(told.moments[stop].edge.input) == "w2"
    assert told.next_stop(stop) is None
    assert [k for k, moment in enumerate(told.moments) if moment.stops] == [stop]
    assert Timeline(Value(1.0)).next_stop(0) is None


# --- the file -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GRAPHS)
def test_page_asks_for_nothing(name):
    text = page(GRAPHS[name]()).replace("http://www.w3.org/2000/svg", "")
    text = text.replace("http://www.w3.org/1999/xlink", "")
    markup = re.sub(r"<script.*?</script>|>[^<]*<", "><", text, flags=re.DOTALL)
    assert not re.search(r"\b(src|href|srcset|action|data|poster|xlink:href)\s*=", markup)
    assert not re.search(r"<(link|iframe|object|embed|img|base|form|meta http-equiv=.ref)", text)
    style = re.search("<style>(.*?)</style>", text, re.DOTALL)[1]
    script = re.search("<script>(.*?)</script>", text, re.DOTALL)[1]
    assert not re.search(r"url\(|@import|@font-face|https?:|image-set", style)
    assert not re.search(r"https?:|\bfetch\b|XMLHttp|WebSocket|\bimport\b|\.src\b", script)


def test_policy_forbids_all_but_its_own():
    text = page(neuron())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for kind in ("style", "script"):
        (content,) = re.findall(f"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[f"{kind}-src"] == f"'sha256-{digest}'"
    assert not re.search(r"<[^>]*\s(style|on\w+)=", text.split("<script")[0])


@pytest.mark.parametrize("label", HOSTILE)
def test_hostile_text_stays_text(label):
    x = Value(2.0, label)
    text = page(x * x, title=label)
    plain = page(Value(2.0, "x") * 1.0, title="x")
    for tag in ("<script", "</script", "<svg", "<img", "<iframe", "<style", "<!--", '"boxes"'):
        assert text.count(tag) == plain.count(tag), tag
    assert text.encode().decode() == text
    clean, name = (x.encode(errors="replace").decode() for x in (label, name_of(x)))
    assert name in [box["name"] for box in data_of(text)["boxes"]]
    assert f"<h1>{html.escape(clean)}</h1>" in text
    assert not {"\u2028", "\u2029"} & set(re.search(r'id="data">(.*?)</script>', text)[1])


@pytest.mark.parametrize("options, rows", [({}, [10, 10, 10, 10]), ({"direction": "LR"}, [40])])
def test_a_long_chain_turns_like_a_snake(options, rows):
    y = Value(2.5, "x")
    for _ in range(40):
        y = y.tanh()
    heights = re.findall(r'id="n(\d+)".*?<text[^>]* y="(-?[\d.]+)"', page(y, **options), re.DOTALL)
    by_height = {}
    for i, height in heights:
        if i != "40":  # the leaf
            by_height.setdefault(height, []).append(int(i))
    assert sorted(map(len, by_height.values())) == sorted(rows)
    assert all(max(x) - min(x) == len(x) - 1 for x in by_height.values())  # neighbours


def test_lecture_page_is_small():
    assert len(page(neuron()).encode()) <= 80_000


@pytest.mark.parametrize("name", GRAPHS)
def test_grads_are_left_alone_and_told(name):
    output = GRAPHS[name]()
    for i, node in enumerate(order(output)):
        node.grad = 100.0 + i
    text = page(output)
    assert [node.grad for node in order(output)] == [100.0 + i for i in range(len(order(output)))]
    told = [float(box["grad"]) for box in data_of(text)["boxes"] if "apart" not in box]
    assert all(map(pages.same, told, swept(output).values())) and len(told) == len(order(output))


@pytest.mark.parametrize("options", [
    {"direction": "XY"}, {"fold_above": 0}, {"fold_above": "many"}, {"label": "x"},
    {"without": 3}, {"without": ["x"]}, {"renderer": 3}, {"renderer": "no-such-renderer"},
])  # fmt: skip
def test_errors_are_those_of_draw(options, tmp_path):
    with pytest.raises(Exception) as ours:
        page(neuron(), **options).save(tmp_path / "new" / "page.html")
    with pytest.raises(Exception) as theirs:
        mx.draw(neuron(), **options).svg()
    assert (ours.type, str(ours.value)) == (theirs.type, str(theirs.value))
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("output", [None, 3.0, [Value(1.0)], "loss"])
def test_output_is_a_value(output):
    with pytest.raises(TypeError, match="takes the Value at the end of a graph"):
        page(output)


def test_without_the_output(tmp_path):
    output = neuron()
    with pytest.raises(ValueError, match="the output itself"):
        page(output, without=[output])


def test_nothing_half_written(tmp_path, monkeypatch):
    path = tmp_path / "step.html"
    path.write_text("the old one")
    for error in (RendererNotFound, RenderingFailed):
        monkeypatch.setattr(
            "microgradx.pictures.render.render",
            lambda *_, error=error: (_ for _ in ()).throw(error()),
        )
        with pytest.raises(error):
            page(neuron()).save(path)
    assert [*tmp_path.iterdir()] == [path] and path.read_text() == "the old one"


def test_save_makes_folders_and_a_suffix(tmp_path):
    path = page(neuron(), title="Lecture <1>").save(tmp_path / "a" / "step")
    assert path == tmp_path / "a" / "step.html" and [*path.parent.iterdir()] == [path]
    assert "<title>Lecture &lt;1&gt;</title>" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["a.bmp", "a.svg", "a.Html5"])
def test_a_format_that_no_page_has(tmp_path, name):
    output = neuron()
    for it, what in [
        (page(output), "a page"),
        (mx.why(output.inputs[0], output), "an explanation"),
    ]:
        with pytest.raises(ValueError, match=f"^{what} is saved as .html, got '{name}'"):
            it.save(tmp_path / "new" / name)
        assert it.save(tmp_path / "old" / "a.HTM").exists()
    assert os.listdir(tmp_path) == ["old"]


@pytest.mark.parametrize("direction", ["LR", "TB", "RL", "BT"])
def test_direction(direction):
    text = page(neuron(), direction=direction)
    at = {
        name: [float(x) for x in re.search(r'<text[^>]* x="([^"]*)" y="([^"]*)"', group).groups()]
        for name, group in re.findall(r'<g id="(n\d+)" class="node">(.*?)</g>', text, re.DOTALL)
    }
    names = [box["name"] for box in data_of(text)["boxes"]]
    (x, y), (end, bottom) = at[f"n{names.index('x1')}"], at["n0"]
    far = {"LR": end - x, "RL": x - end, "TB": bottom - y, "BT": y - bottom}
    assert max(far, key=far.get) == direction


def test_folds_and_what_is_left_out():
    output = pages.network()
    boxes = data_of(page(output))["boxes"]
    assert len(order(output)) > 300 > len(boxes) and any("fold" in box for box in boxes)
    hidden = [node for node in order(output) if not node.inputs]
    shown = data_of(page(output, without=hidden, fold_above=10**6))["boxes"]
    assert len(shown) == len(order(output)) - len(hidden)
    behind = mx.sum([(Value(0.1 * i, f"a[{i}]") * 2.0).tanh() for i in range(200)]).detach()
    assert data_of(page(behind * Value(2.0, "w")))["boxes"]


def test_labels_of_the_readers():
    text = page(neuron(), label=lambda node: f"<{node.op}>")
    assert "&lt;tanh&gt;" in text and "<tanh>" not in text


def test_shades_cover_the_scale():
    used = {box["shade"] for box in data_of(page(pages.shades()))["boxes"]}
    assert used == {*range(len(BLUES)), "zero"}


# --- in a browser ---------------------------------------------------------------------------------


@pytest.mark.some(3)
@pytest.mark.parametrize("name", GRAPHS)
def test_every_gradient_at_every_moment(at, name):
    it = at(name)
    assert last(it) == len(it.told.moments) - 1
    found = each_moment(it, pages.GRADS)
    grads = {}
    assert len(found) == len(it.told.moments)
    for k, moment in enumerate(it.told.moments):
        if k >= it.told.turn:
            grads[moment.edge.input if moment.edge else moment.node] = moment.after
        shown = {x: float(text) for x, text in zip(it.told.nodes, found[k]) if text}
        assert shown.keys() == grads.keys() and all(
            pages.same(shown[x], grads[x]) for x in grads
        ), k
    engines = swept(it.output)
    assert len(found[-1]) == len(engines)
    assert all(pages.same(float(text), engines[x]) for text, x in zip(found[-1], it.told.nodes))
    texts = it.evaluate("() => [...document.querySelectorAll('#rows tr')].map((row) => "
                        "[...row.children].map((cell) => cell.textContent))")  # fmt: skip
    for (_, value, grad), x in zip(texts, it.told.nodes):
        assert value == short(x.data)
        assert grad.removeprefix("-") == short(engines[x]).removeprefix("-")


@pytest.mark.parametrize("case", ["folded", "without"])
def test_final_gradients_where_not_all_is_drawn(at, case):
    if case == "folded":
        it = at("folded", lambda: pages.network(12))
    else:
        x = Value(2.0, "x")
        h, v = x * 3.0, x * 5.0
        h.label, v.label = "h", "v"
        it = at("without", lambda: h * v, save_options={"without": [h]})
        other = at("without too", lambda: h * v, save_options={"without": [v]}, alone=True)
        other.keyboard.press("End")
        assert other.evaluate(pages.GRADS) == ["1", "10", "60"]
    it.keyboard.press("End")
    engines = swept(it.output)
    known, called = {name_of(x): grad for x, grad in engines.items()}, [*map(name_of, engines)]
    boxes = [box for box in data_of(it.content())["boxes"] if "apart" not in box]
    told = [
        (grad, known[box["name"]])
        for grad, box in zip(it.evaluate(pages.GRADS), boxes, strict=True)
        if grad and "fold" not in box and called.count(box["name"]) == 1
    ]
    assert len(told) >= 3 and all(float(grad) == engines for grad, engines in told)


def test_numbers_are_written_as_in_pictures(at):
    it = at("neuron")
    some = [1.125, 2.125, -1.135, 0.0001, 0.00012345, 999.4, 999.5, 999.6, 1e3, 12345.0, 1e21]
    some += [1.0, 100.0, 99.95, 1 / 3, 1e300 / 3, 0.0625, 10.25, 10.35, 2.5e-7, 112.5, 5e-324]
    for numbers in (some, [-x for x in some], [0.0]):
        assert it.evaluate("(xs) => xs.map(short)", numbers) == [*map(short, numbers)]
    assert it.evaluate("() => ['inf', '-inf', 'nan', 0 / 0, 1 / 0].map(short)") == [
        "inf", "-inf", "nan", "nan", "inf"]  # fmt: skip


def test_keys(at):
    it = at("neuron")
    end = last(it)
    assert now(it) == 0
    for key, then in [("ArrowLeft", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1),
                      ("End", end), ("ArrowRight", end), ("ArrowLeft", end - 1),
                      ("Home", 0)]:  # fmt: skip
        it.keyboard.press(key)
        assert now(it) == then and it.url.endswith(f"#visit={then}")
    stop = it.told.next_stop(0)
    for start, key, then in [("Home", "s", stop), ("End", "Shift+S", stop), ("Home", "Shift+S", 0),
                             ("End", "s", end), ("Home", "t", it.told.turn)]:  # fmt: skip
        for press in (start, key, key):  # there is no other
            it.keyboard.press(press)
        assert now(it) == then, key
    it.keyboard.press("Home")
    for key in ("Control+End", "Alt+End", "Meta+End", "x", "Enter"):  # the browser's own
        it.keyboard.press(key)
        assert now(it) == 0


def test_play_and_pause(at, open_page, saved):
    it = open_page(alone=True)
    it.clock.install()
    it.goto(saved("neuron")[0].as_uri())
    play = it.locator("#play")

    def after(seconds):
        it.clock.run_for(int(seconds * 1000))
        return now(it)

    it.keyboard.press("Space")
    assert play.get_attribute("aria-label") == "Pause" and after(2.5) in (1, 2, 3)
    it.keyboard.press("Space")
    stood = now(it)
    assert play.get_attribute("aria-label") == "Play" and after(10) == stood
    play.click()
    assert after(60) == last(it) and play.get_attribute("aria-label") == "Play"
    play.click()  # from the end: anew
    assert now(it) == 0 and 0 < after(4) < last(it)
    it.keyboard.press("ArrowRight")  # pauses
    stood = now(it)
    assert play.get_attribute("aria-label") == "Play" and after(10) == stood
    play.focus()
    it.keyboard.press("Space")  # once, though the button and the page both hear it
    assert play.get_attribute("aria-label") == "Pause"


def test_buttons(at):
    it = at("neuron")
    end, stop = last(it), it.told.next_stop(0)
    disabled = ("() => [...document.querySelectorAll('button[aria-disabled=true]')]"
                ".map((x) => x.id)")  # fmt: skip
    assert it.evaluate(disabled) == ["undo", "first", "back"]
    for button, then in [
        ("next", 1), ("back", 0), ("stop", stop), ("back", stop - 1), ("last", end),
        ("to-backward", it.told.turn), ("to-forward", 0), ("last", end), ("first", 0),
    ]:  # fmt: skip
        it.locator(f"#{button}").click()
        off = ["first", "back"] if then == 0 else ["next", "last"] if then == end else []
        off += ["stop"] if then >= stop else []
        off.insert(0, "undo")  # nothing was changed
        assert (now(it), it.evaluate(disabled)) == (then, off), button
        current = it.locator("[aria-current]").get_attribute("id")
        assert current == ("to-backward" if then >= it.told.turn else "to-forward")
    leaf = at("leaf")
    assert leaf.evaluate(disabled) == ["undo", "first", "back", "stop"]  # a value, and the 1


def test_slider(at):
    it = at("neuron")
    slider = it.locator("#slider")
    slider.focus()
    for key, then in [("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", last(it))]:
        it.keyboard.press(key)
        assert now(it) == then
    box = slider.bounding_box()
    for share in (0.5, 0.25, 0.75):
        it.mouse.click(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)
        assert abs(now(it) - share * last(it)) <= 1
    it.mouse.down()
    it.mouse.move(box["x"] + box["width"], box["y"] + box["height"] / 2)
    it.mouse.up()
    assert now(it) == last(it) and it.url.endswith(f"#visit={last(it)}")
    assert f"moment {last(it)} of {last(it)}" in slider.get_attribute("aria-valuetext")


@pytest.mark.parametrize("way", ["click", "Enter", "Space", "table"])
def test_choosing_a_node(at, way):
    it = at("neuron")
    flow = mx.Flow(it.output)
    for name in ("w2", "o", "x1"):
        group, final = pages.node(it, name)
        if way == "click":
            group.click()
        elif way == "table":
            it.locator("#rows button", has_text=re.compile(f"^{name}$")).click()
        else:
            group.focus()
            it.keyboard.press(way)
        assert now(it) == final and it.url.endswith(f"#visit={final}")
        assert it.locator("#why-of").inner_text() == f"Why {name}?"
        (chosen,) = (x for x in it.told.nodes if x.label == name)
        said = it.locator("#why").text_content()
        assert said == "\n".join(flow.why(chosen).sentences)
        assert "chosen" in group.get_attribute("class")
        assert it.locator(".chosen").count() == 1
    it.keyboard.press("ArrowLeft")
    assert it.locator(".chosen").count() == 0


def test_the_lecture_says_why_w2_gets_nothing(at):
    it = at("neuron")
    pages.node(it, "w2")[0].click()
    assert re.search(r"stopped|locked|off", it.locator("#why").inner_text())
    assert "x2" in it.locator("#maths").inner_text()
    assert it.locator("#product .zero").inner_text() == "×0 w2"
    assert it.locator("#product b").inner_text() == "= 0"


def test_the_equation(at):
    it = at("neuron")
    pages.node(it, "x1")[0].click()
    assert it.locator("#terms b").all_inner_texts() == ["0.5", "×", "-3", "=", "-1.5"]
    assert it.locator("#sum").inner_text() == "x1.grad: 0 + (-1.5) = -1.5, which is final"
    factors = it.locator("#product .link").all_inner_texts()
    assert [x.split()[0] for x in factors] == ["1", "×0.5", "×1", "×1", "×-3"]
    it.goto(it.url.split("#")[0] + "#visit=5")
    it.locator("#maths", has_text="tanh").wait_for()
    assert it.locator("#terms b").all_inner_texts() == ["tanh", "0.881", "=", "0.707"]


def test_deep_links(at):
    hashes = [("#visit=8", 8), ("#visit=0", 0), ("#visit=999999", "last"), ("#visit=-3", 0),
              ("#visit=" + "9" * 400, "last"), ("#visit=1.5", 0), ("#visit=", 0), ("#%", 0),
              ("#visit=<img src=x>", 0)]  # fmt: skip
    for hash, then in hashes:
        it = at("neuron", visit=hash)
        assert now(it) == (last(it) if then == "last" else then), hash


def test_deep_link_changed_later(at):
    it = at("neuron", visit=8)
    assert now(it) == 8
    for hash, then in [("#visit=7", 7), ("#visit=9999", last(it)), ("#nonsense", 0)]:
        it.evaluate("(hash) => { location.hash = hash; }", hash)
        it.locator("#count", has_text=f"{then} / {last(it)}").wait_for()
        assert now(it) == then


def test_stops_appear_and_go(at):
    it = at("neuron")
    stop = it.told.next_stop(0)
    bars = each_moment(it, "() => document.querySelectorAll('#picture .bar.reached').length")
    assert bars == [int(k >= stop) for k in range(len(bars))]
    words = each_moment(it, "() => document.querySelector('#sum .word')?.textContent ?? ''")
    assert words == ["STOP" if k == stop else "" for k in range(len(bars))]
    seen = each_moment(it, "() => [...document.querySelectorAll('.bar text, tspan')].some((x) => "
                           "x.textContent.includes('STOP') && getComputedStyle(x).visibility !== "
                           "'hidden')")  # fmt: skip
    assert seen == [k >= stop for k in range(len(bars))]
    it.locator("#slider").press("Home")
    assert it.locator(".bar.reached").count() == 0


def test_every_moment_is_announced(at):
    it = at("neuron")
    said = each_moment(it, "() => document.querySelector('#status[role=status]').textContent")
    assert len(set(said)) == len(said) and all(said)
    assert all(f"{x.label} is {short(x.data)}" in said[0] for x in it.told.given)
    for words, moment in zip(said, it.told.moments):
        assert name_of(moment.edge.input if moment.edge else moment.node) in words
        assert ("stops here" in words) == moment.stops
        if moment.edge:
            assert f"= {short(moment.after)}" in words
    shown = it.locator("#status").evaluate(
        "(x) => getComputedStyle(x).display + getComputedStyle(x).visibility"
    )
    assert shown == "blockvisible"


def test_values_appear_in_order(at):
    it = at("neuron")
    unseen = each_moment(it, "() => document.querySelectorAll("
                             "'#picture .node.unborn:not(.bar)').length")  # fmt: skip
    assert unseen == [max(0, it.told.turn - 1 - k) for k in range(len(unseen))]
    values = each_moment(it, "() => [...document.querySelectorAll('#rows tr')].map((row) => "
                             "row.children[1].textContent)")  # fmt: skip
    for k, shown in enumerate(values):
        born = {x for x, then in it.told.born.items() if then <= k}
        assert shown == [short(x.data) if x in born else "–" for x in it.told.nodes]


# --- for every eye and hand -----------------------------------------------------------------------

DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["shades", "spoilt", "neuron", "detached"])
def test_contrast(at, scheme, name):
    it = at(name, color_scheme=scheme, reduced_motion="reduce", viewport=DESK)
    stops = [k for k, moment in enumerate(it.told.moments) if moment.stops][:1]
    seen, worst = set(), {}
    for k in {0, it.told.turn // 2, it.told.turn, *stops, last(it)}:
        it.evaluate("(k) => { location.hash = `#visit=${k}`; }", k)
        it.locator("#count", has_text=re.compile(f"^{k} /")).wait_for()
        for text in contrasts(it):
            seen.update(text["where"].split())
            if text["ratio"] < 4.5 or text["opacity"] < 1:
                worst[text["where"], text["text"]] = round(text["ratio"], 2), text["opacity"]
    assert worst == {}
    assert {"node", "edge", "term", "link"} <= seen or name == "leaf"
    if name == "shades":
        assert {f"s{i}" for i in range(len(BLUES))} | {"reached", "zero", "word"} <= seen
    if name == "spoilt":
        assert "odd" in seen


def test_dark_is_dark(at):
    def paper(scheme):
        it = at("leaf", color_scheme=scheme)
        return it.evaluate("() => getComputedStyle(document.body).backgroundColor")

    assert sum(map(int, re.findall(r"\d+", paper("dark")))) < 150
    assert sum(map(int, re.findall(r"\d+", paper("light")))) > 600


@pytest.mark.some(1)
@pytest.mark.parametrize("name", ["neuron", "random0", "hostile"])
def test_on_a_phone(at, name):
    it = at(name, viewport=PHONE, has_touch=True, is_mobile=True)
    for key in ("Home", "s", "End"):
        it.keyboard.press(key)
        assert it.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
    assert it.evaluate("() => visualViewport.width") == PHONE["width"]
    controls = it.locator("footer button, footer input")
    for control in controls.all():
        box = control.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]
        assert box["y"] >= 0 and box["y"] + box["height"] <= PHONE["height"]
        assert box["height"] >= 24 and box["width"] >= 24  # WCAG 2.5.8
        assert control.evaluate("(x) => x.scrollWidth <= x.clientWidth"), "its text is too wide"
    it.locator("#back").tap()
    assert now(it) == last(it) - 1
    spill = it.evaluate("""() => [...document.querySelectorAll('section, .term')].filter((x) =>
      x.id !== 'picture' && x.scrollWidth > x.clientWidth + 1).map((x) => x.className + x.id)""")
    assert spill == []


@pytest.mark.parametrize("viewport", [DESK, {"width": 1920, "height": 1080}])
def test_no_scrolling_on_a_desk(at, viewport):
    it = at("neuron", viewport=viewport, visit=8)
    size = "() => ['Width', 'Height'].map((x) => document.documentElement[`scroll${x}`])"
    assert it.evaluate(size) == [*viewport.values()]
    frame = it.locator("#picture").bounding_box()
    for group in it.locator("#picture .node").all():
        box = group.bounding_box()
        assert frame["x"] <= box["x"] and box["x"] + box["width"] <= frame["x"] + frame["width"]
        assert frame["y"] <= box["y"] and box["y"] + box["height"] <= frame["y"] + frame["height"]


def test_keyboard_alone(at):
    it = at("neuron", visit=5)
    everything = "() => [...document.querySelectorAll('button:not(:disabled), input, [tabindex]')]"
    count = it.evaluate(f"{everything.removeprefix('() => ')}.length")
    here = """() => { const x = document.activeElement; return x === document.body ? null
      : [x.id || x.textContent, x.matches(':focus-visible')
         && (getComputedStyle(x).outlineStyle !== 'none' || x.closest('.node') !== null)]; }"""
    reached = {}
    for _ in range(count + 5):
        it.keyboard.press("Tab")
        if found := it.evaluate(here):
            reached[found[0]] = found[1]
    assert len(reached) == count and all(reached.values())
    assert {"first", "back", "play", "next", "last", "stop", "slider", "n0"} <= reached.keys()


def test_every_control_has_a_name(at):
    it = at("neuron", visit=5)
    client = it.context.new_cdp_session(it)
    tree = client.send("Accessibility.getFullAXTree")["nodes"]
    named = {}
    for each in tree:
        role = each.get("role", {}).get("value")
        if role in ("button", "slider") and not each.get("ignored"):
            named.setdefault(role, []).append(each.get("name", {}).get("value", "").strip())
    assert all(map(all, named.values()))
    assert sorted(named["slider"]) == ["Its value, on a slider", "Moment"]
    nodes = [*map(name_of, it.told.nodes)]
    others = [name for name in named["button"] if name.split(":")[0] not in nodes]
    assert len(others) == len(set(others)) == len(named["button"]) - 2 * len(nodes)
    assert {"Play", "Keys", "Undo", "One gradient step", "Next stop"} <= {*others}


def test_reduced_motion(at):
    moving = """() => [...document.querySelectorAll('*')].filter((x) => {
      const style = getComputedStyle(x);
      return style.transitionDuration !== '0s' && style.transitionProperty !== 'none'
        || style.animationName !== 'none' || style.scrollBehavior === 'smooth'; }).length"""
    calls = """() => {
      document.querySelector('#picture').scrollTo = (x) => { window.how = x.behavior; }; }"""
    found = []
    for motion in ("no-preference", "reduce"):
        it = at("shades", reduced_motion=motion, viewport=PHONE)
        it.evaluate(calls)
        it.keyboard.press("End")
        it.locator("#to-backward").click()  # where the output is
        found.append((it.evaluate(moving) > 0, it.evaluate("() => window.how")))
    assert found == [(True, "smooth"), (False, "auto")]


def test_print(at):
    it = at("neuron", visit=3, alone=True)
    it.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    it.emulate_media(media="print")
    assert now(it) == last(it) and it.locator(".bar.reached").count() == 1
    for hidden in ("footer", ".keys", ".phases", "#change"):
        assert not it.locator(hidden).is_visible()
    for shown in ("h1", "#picture svg", "#rows", "#legend", "#equation"):
        assert it.locator(shown).is_visible()
    it.emulate_media(media="screen")
    it.evaluate("() => dispatchEvent(new Event('afterprint'))")
    assert now(it) == 3 and it.locator("footer").is_visible()


def test_print_of_a_dark_page_is_dark_on_white(at):
    it = at("neuron", color_scheme="dark", reduced_motion="reduce", visit=8, alone=True)
    it.emulate_media(media="print")
    poor = [text for text in contrasts(it) if text["ratio"] < 4.5]
    assert poor == []


def test_really_printed(at):
    it = at("neuron", visit=3)
    assert it.pdf().startswith(b"%PDF") and now(it) == 3


def test_hostile_labels_in_a_browser(at):
    it = at("hostile")
    plain = at("neuron", alone=True)
    assert "owned" not in it.title()
    for press in ("End", "Home", "s"):
        it.keyboard.press(press)
    for k in range(len(it.told.nodes)):
        it.locator(f"#n{k}").dispatch_event("click")
    tags = "() => [...new Set([...document.querySelectorAll('*')].map((x) => x.tagName))]"
    assert set(it.evaluate(tags)) <= {*plain.evaluate(tags), "tspan", "I"}
    assert it.locator("script").count() == 2 and it.locator("img, iframe").count() == 0
    names = it.locator("#rows button").all_text_contents()
    assert names == [name_of(x).encode(errors="replace").decode() for x in it.told.nodes]


def test_without_a_script(at):
    it = at("neuron", java_script_enabled=False)
    assert it.locator("noscript").inner_text().startswith("No script runs here")
    box = it.locator("#picture svg").bounding_box()
    assert box["width"] > 300 and box["height"] > 100
    picture = it.locator("#picture").inner_text()
    assert "grad -1.5" in picture and "STOP" in picture and "0.881" in picture


def picture_of(output):
    """The texts of the picture as it is without a script."""
    svg = re.search(r'id="picture".*?</svg>', page(output), re.DOTALL)[0]
    return " ".join(re.findall(r">([^<]+)</text>", svg))


def test_the_picture_has_the_final_gradients():
    output = pages.fan_out()
    grads = [short(grad) for grad in swept(output).values()]
    assert re.findall(r"grad (\S+)", picture_of(output)) == grads


@pytest.mark.some(2)
@pytest.mark.parametrize("wide", [320, 390, 1024, 1280, 1600, 1920])
def test_the_equation_never_spills(at, wide):
    it = at("dead", pages.dead, viewport={"width": wide, "height": 800})
    found = each_moment(
        it,
        """() => {
      const card = document.getElementById("equation"), right = card.getBoundingClientRect().right;
      const out = [...card.querySelectorAll("b, small, i, p:not(.hide)")].filter((x) =>
        x.getBoundingClientRect().right > right);
      const torn = [...document.querySelectorAll(".pair")].filter((x) =>
        x.lastChild.matches(".sign"));
      const fits = card.scrollWidth <= card.clientWidth && card.scrollHeight <= card.clientHeight;
      return [fits && !out.length && !torn.length, card.offsetHeight]; }""",
    )
    assert [k for k, (fits, _) in enumerate(found) if not fits] == []
    if wide > 1000:
        assert len({height for _, height in found}) == 1


def test_the_current_row_is_in_sight(at):
    it = at("dead", pages.dead, viewport=DESK)
    seen = each_moment(
        it,
        """() => {
      const frame = document.getElementById("grads").getBoundingClientRect();
      const head = document.querySelector("thead").getBoundingClientRect();
      return [...document.querySelectorAll("tr.now")].map((x) => x.getBoundingClientRect()).some(
        (x) => x.top >= head.bottom - 1 && x.bottom <= frame.bottom + 1); }""",
    )
    assert all(seen)


def test_a_product_too_small_for_a_float():
    x = Value(1e-200, "x")
    boxes = data_of(page(Value(1e-200, "u") * (Value(1e-200, "v") * x)))["boxes"]
    assert {box["name"]: box["product"] for box in boxes}["x"] == "1.00e-400"


def test_a_fold_is_told():
    data = data_of(page(pages.network()))
    folds = [box for box in data["boxes"] if "fold" in box]
    assert all("drawn as one. The largest |grad| is" in box["why"] for box in folds)
    assert any(re.fullmatch(r"[\d,]+ edges", arrow.get("many", "")) for arrow in data["arrows"])


def test_many_nodes_and_folds(at):
    for name, make in [("many", pages.many), ("network of nodes", pages.network)]:
        it = at(name, make, reduced_motion="reduce", save_options={"nodes": True})
        for key in ("End", "Home", "ArrowRight"):
            it.keyboard.press(key)
        assert now(it) == 1
    fold = it.locator(".node:not(.bar)", has_text=re.compile("nodes")).first
    fold.dispatch_event("click")
    assert now(it) > 1


def test_other_directions(at):
    it = at("down", neuron, save_options={"direction": "TB"})
    it.keyboard.press("End")
    it.locator("#n0").click()
    assert now(it) == it.told.turn


# --- on a phone, in a frame, in full --------------------------------------------------------------


@pytest.mark.parametrize("name", ["neuron", "dead", "shades"])
@pytest.mark.parametrize("wide", [320, 390])
def test_the_bar_is_in_view_at_the_stop(at, name, wide):
    size = {"width": wide, "height": 844}
    make = pages.dead if name == "dead" else GRAPHS[name]
    it = at(name, make, viewport=size, has_touch=True, is_mobile=True, reduced_motion="reduce")
    stops = [
        k
        for k, moment in enumerate(it.told.moments)
        if moment.stops and (moment.edge.input.rule or name != "dead")
    ]  # in a net not at a leaf
    it.evaluate("() => scrollTo(0, 10000)")
    for k in stops:
        it.keyboard.press("s")
        assert now(it) == k
        outside = it.evaluate("""() => {
          const { arrow } = moments[now], box = bars[arrow];
          const frame = document.querySelector("#picture").getBoundingClientRect();
          const low = document.querySelector("footer").getBoundingClientRect().top;
          const { left, right, top, bottom } = box.getBoundingClientRect();
          return [frame.left - left, right - frame.right, frame.top - top, bottom - frame.bottom,
                  -top, bottom - low].filter((x) => x > 0); }""")  # fmt: skip
        assert outside == []


def test_both_ends_are_in_view_where_there_is_room(at):
    it = at("neuron", viewport=PHONE, has_touch=True, is_mobile=True, reduced_motion="reduce")
    it.locator("#stop").tap()
    seen = it.evaluate("""() => {
      const frame = document.querySelector("#picture").getBoundingClientRect();
      const { tail, head } = arrows[moments[now].arrow];
      return [tail, head].map((i) => groups[i].getBoundingClientRect()).every((box) =>
        box.left >= frame.left && box.right <= frame.right); }""")  # fmt: skip
    assert seen


def test_names_keep_their_case(at):
    it = at("neuron", visit=3)
    transformed = it.evaluate("""() => [...document.querySelectorAll("*")].filter((x) =>
      getComputedStyle(x).textTransform !== "none" || /caps/.test(getComputedStyle(x).fontVariant)
    ).length""")
    assert transformed == 0


def test_nothing_is_cut_without_a_cue(at):
    """What is larger than its place scrolls and has a shadow there, or ends in an ellipsis."""
    it = at("dead", pages.dead, viewport=DESK)
    found = each_moment(
        it,
        """() => [...document.querySelectorAll("body *:not(svg *)")].filter((x) => {
      const style = getComputedStyle(x), scrolls = /auto|scroll/.test(style.overflowY);
      const cut = x.scrollHeight > x.clientHeight + 1 || x.scrollWidth > x.clientWidth + 1;
      if (!cut || style.display.startsWith("inline") || !x.clientHeight) return false;
      if (style.overflow === "visible" || x.matches(".hide, select, input, option")) return false;
      if (scrolls) return !/local/.test(style.backgroundAttachment);
      return style.webkitLineClamp === "none" && style.textOverflow !== "ellipsis";
    }).map((x) => x.id || x.className || x.tagName)""",
    )
    assert {name for names in found for name in names} == set()


def test_no_row_stands_half_under_the_head(at):
    it = at("dead", pages.dead, viewport=DESK)
    halves = each_moment(
        it,
        """() => {
      const low = document.querySelector("thead").getBoundingClientRect().bottom;
      return [...document.querySelectorAll("#rows tr")].filter((row) => {
        const box = row.getBoundingClientRect();
        return box.top < low - 2 && box.bottom > low + 2; }).length; }""",
    )
    assert set(halves[:-1]) == {0}  # at the very end there is no row to go on to


def test_help(at):
    it = at("neuron", visit=3)
    box = it.locator("#help")
    assert not box.is_visible()
    it.keyboard.press("?")
    assert box.is_visible()
    told = box.inner_text()
    assert all(key in told for key in ("shift+S", "Home", "full screen", "undo", "address"))
    it.keyboard.press("Escape")
    assert not box.is_visible()
    it.locator("#ask").click()
    it.locator("#close").click()
    assert not box.is_visible() and now(it) == 3


def test_speed(open_page, saved):
    it = open_page(alone=True)
    it.clock.install(time=0)
    it.goto(saved("neuron")[0].as_uri())
    it.clock.pause_at(10)  # the clock's own time would pass too

    def moments_in(seconds):
        before = now(it)
        it.clock.run_for(int(seconds * 1000))
        return now(it) - before

    it.keyboard.press("Space")
    assert moments_in(4.45) == 4
    it.keyboard.press("+")
    assert it.locator("#speed").inner_text() == "2×" and moments_in(2.25) == 4
    for _ in range(9):
        it.keyboard.press("-")
    assert it.locator("#speed").inner_text() == "0.25×" and moments_in(4.45) == 1
    for then in ("0.5×", "1×", "2×", "4×", "0.25×"):
        it.locator("#speed").click()
        assert it.locator("#speed").inner_text() == then
    assert it.locator("#play").get_attribute("aria-label") == "Pause"


def test_full_screen(at):
    it = at("neuron", alone=True)
    full = "() => document.fullscreenElement === document.documentElement"
    it.keyboard.press("f")
    it.wait_for_function(full)
    it.keyboard.press("f")
    it.wait_for_function("() => !document.fullscreenElement")
    it.evaluate("() => { document.documentElement.requestFullscreen = "
                "() => Promise.reject(new TypeError()); }")  # fmt: skip
    it.locator("#screen").click()
    it.locator("#status", has_text="Full screen is not allowed here").wait_for(state="attached")


FRAMES = {
    "small": 'width="120" height="60"',
    "nothing": 'width="0" height="0"',
    "hidden": 'style="display: none" width="800" height="600"',
    "sandboxed": 'sandbox="allow-scripts" width="800" height="600"',
}


def framed(look, text):
    """A document with a page in its frame; without its charset a browser would have to guess."""
    return f'<meta charset="utf-8"><iframe {look} srcdoc="{html.escape(text)}"></iframe>'


@pytest.mark.some(2)
@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("name", ["neuron", "dead"])
def test_in_a_frame(open_page, tmp_path, kind, name):
    """An error in the frame would fail in `open_page`."""
    output = neuron() if name == "neuron" else pages.dead()
    path = tmp_path / "outer.html"
    path.write_text(framed(FRAMES[kind], page(output)), encoding="utf-8")
    it = open_page(viewport=DESK)
    it.goto(path.as_uri())
    frame = it.frames[1]
    frame.wait_for_function("() => document.readyState === 'complete'")
    frame.evaluate("""() => {
      for (const key of ["End", "s", "ArrowLeft", "Home", "s"]) moves[key]();
      change([[leaves[0], 0.5]]); undo(); choose(0);
      change(leaves.map((i) => [i, -1.23e-105])); moves.End(); }""")  # fmt: skip
    it.evaluate("""() => Object.assign(document.querySelector("iframe"),
      { width: 900, height: 700, style: "" })""")  # fmt: skip
    frame.wait_for_function("() => document.getElementById('picture').clientWidth > 300")
    frame.wait_for_function("() => fresh.size === 0")
    frame.wait_for_function("""() => !groups.some((group) => {
      const box = group.querySelector("path, polygon").getBoundingClientRect();
      return [...group.querySelectorAll("text")].map((x) => x.getBoundingClientRect()).some((x) =>
        x.left < box.left || x.right > box.right); })""")  # fmt: skip
    assert frame.evaluate("() => now") >= 0


def test_in_a_notebook(monkeypatch):
    it = page(neuron())
    face = it._repr_mimebundle_()
    assert face["text/html"] == it._repr_html_() and face["text/plain"] == repr(it)
    text = face["text/html"]
    assert text.startswith('<iframe srcdoc="&lt;!DOCTYPE html&gt;') and "allowfullscreen" in text
    assert base64.b64decode(face["image/png"]).startswith(b"\x89PNG")
    bare = html.unescape(re.sub("<[^>]*>", "", text))  # what an untrusted notebook keeps
    assert bare.startswith("Here is a page that steps") and 'page.save("step.html")' in bare
    for error in (RendererNotFound, RenderingFailed):
        monkeypatch.setattr("microgradx.pictures.render.render", lambda *_, e=error: raised(e()))
        assert {*it._repr_mimebundle_()} == {"text/html", "text/plain"}


def raised(error):
    raise error


@pytest.mark.parametrize("sandbox", ["", "allow-same-origin"])
def test_in_a_frame_without_scripts(open_page, tmp_path, sandbox):
    """The picture, and a sentence with what to do; the browser says that it refuses scripts."""
    path = tmp_path / "outer.html"
    look = f'sandbox="{sandbox}" width="900" height="700"'
    path.write_text(framed(look, page(pages.dead())), encoding="utf-8")
    it = open_page(viewport=DESK, alone=True)
    it.goto(path.as_uri())
    inside = it.frame_locator("iframe")
    said = inside.locator("noscript").inner_text()
    assert said.startswith("No script runs here") and 'page.save("step.html")' in said
    assert inside.locator("noscript").is_visible()
    box = inside.locator("#picture svg").bounding_box()
    assert box["width"] > 300 and box["height"] > 100
    it.heard.errors = [error for error in it.heard.errors if "Blocked script" not in error]
