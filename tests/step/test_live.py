"""A leaf changed on the page: all that follows is what Python says of the graph built anew."""

import math

import pytest

import microgradx as mx
from microgradx import Value, nn, optim, page
from microgradx._base.arguments import flat
from microgradx._base.text import name_of, short
from microgradx.engine import apply, rule, with_cut_off
from tests.explain.test_paths import random_graph
from tests.step import pages
from tests.step.browser import contrasts
from tests.step.pages import GRAPHS, data_of, last, now, swept

inf, nan = math.inf, math.nan


def built_anew(output, changes):
    """The same graph with other numbers in some leaves, by their place in the sweep."""
    nodes = with_cut_off(output)
    twins = {node: Value(changes.get(i, node.data), node.label)
             for i, node in enumerate(nodes) if node.rule is None}  # fmt: skip

    def twin(operand):
        if isinstance(operand, tuple):
            return [twin(x) for x in operand]
        return twins[operand] if isinstance(operand, Value) else operand

    todo = [node for node in nodes if node.rule]
    while todo:
        node = todo.pop(0)
        if all(x in twins for x in flat(node.operands) if isinstance(x, Value)):
            twins[node] = apply(node.rule, *map(twin, node.operands))
            twins[node].label = node.label
        else:
            todo.append(node)
    return twins[output]


SHOWN = """() => JSON.parse(JSON.stringify({
  boxes, arrows: arrows.map((arrow) => ({ ...arrow, maths: arrow.maths && derivation(arrow) })),
}, (_, x) => typeof x === "number" && !Number.isFinite(x) ? short(x) : x))"""


def facts(data):
    """All that a page says of boxes and arrows, without the explanation, and the saved scale."""
    boxes = [{k: x for k, x in box.items() if k not in ("why", "shade")} for box in data["boxes"]]
    return boxes, data["arrows"]


def said_by_python(output, **options):
    """The same of a fresh page."""
    data = data_of(page(output, **options))
    names = [*map(name_of, with_cut_off(output))]
    for arrow in data["arrows"]:
        parts = [short(float(arrow["partial"])) if part is None else names[part]
                 if isinstance(part, int) else part for part in arrow.get("maths", [])]  # fmt: skip
        if parts:
            arrow["maths"] = "".join(parts)
    return facts(data)


def alike(ours, theirs, places=0.0):
    """Whether two nests of facts are the same, numbers within so large a share of themselves."""
    if isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(alike(ours[k], theirs[k], places) for k in ours)
    if isinstance(ours, (list, tuple)):
        return len(ours) == len(theirs) and all(
            alike(a, b, places) for a, b in zip(ours, theirs, strict=True)
        )
    if isinstance(ours, (int, float)) and not isinstance(ours, bool):
        return ours == theirs or abs(ours - theirs) <= places * abs(ours)
    return ours == theirs


def change(it, i, x):
    """Write a number for node i, as a reader does."""
    it.select_option("#leaf", str(i))
    it.fill("#leaf-value", repr(x))
    it.locator("#leaf-value").dispatch_event("change")


def words(it):
    return it.locator("#change-words").inner_text()


def index(it, name):
    return [name_of(node) for node in it.told.nodes].index(name)


def behind():
    """A node that is read through a detach too, a condition, and leaves without a name."""
    x, y = Value(2.0, "x"), Value(3.0, "y")
    h = x * y
    return mx.where(y, h.detach() * x, y) + h * Value(1e-7) + h


CASES = {
    "behind": behind,
    **{name: GRAPHS[name] for name in GRAPHS if name != "hostile"},
    "dead": pages.dead,
    **{f"more{seed}": lambda seed=seed: random_graph(100 + seed, 30) for seed in range(8)},
}


@pytest.mark.some(3)
@pytest.mark.parametrize("name", CASES)
def test_all_follows(at, name):
    it = at(f"{name}, node by node", CASES[name], save_options={"nodes": True})
    leaves = [i for i, node in enumerate(it.told.nodes) if node.rule is None]
    changes = {}
    for k, x in enumerate([0.75, -1.5, 0.0, 1e-3, 2.0, inf]):
        i = leaves[(3 * k) % len(leaves)]
        changes[i] = x
        change(it, i, x)
        ours, theirs = (
            facts(it.evaluate(SHOWN)),
            said_by_python(built_anew(it.output, changes), nodes=True),
        )
        for a, b in zip(ours[0] + ours[1], theirs[0] + theirs[1], strict=True):
            assert alike(a, b, 1e-12), changes
    it.keyboard.press("End")
    texts = it.evaluate("() => [...document.querySelectorAll('#picture .node:not(.bar)')].map("
                        "(x) => x.textContent)")  # fmt: skip
    assert any(f"grad {short(b['grad'])}" in t for b, t in zip(theirs[0][:1], texts))
    while it.locator("#undo").get_attribute("aria-disabled") == "false":
        it.locator("#undo").click()
    saved = data_of(it.content())
    assert it.evaluate(SHOWN)["boxes"] == saved["boxes"]
    assert words(it) == "All is as it was saved."


def layers():
    """More than 200 nodes without a stop, so that other numbers fold in the same way."""
    xs = [Value(x, f"x{i}") for i, x in enumerate([1.0, 0.5, -1.0])]
    return nn.MLP(3, [12, 12, 1], activation="tanh", seed=1)(xs)


def ops():
    """Folded by op: leaves, products, ReLUs, some of which are off, and a sum."""
    xs = [Value(x) for x in (1.0, -1.0, 2.0, -2.0)]
    return mx.sum([(x * Value(0.5 + i)).relu() for i, x in enumerate(xs)])


def mixed():
    """Folded by op, with lines of one edge to and from nodes without a name."""
    a, b, c, d = (Value(x) for x in (1.0, 2.0, 0.5, -1.0))
    return (a * b).tanh() * 3.0 + c * d


def neurons():
    """Folded by neuron: two of a layer that read one x, which stops in the second."""
    x = Value(0.5, "x")
    found = []
    for k, weight in enumerate([3.0, -2.0]):
        z = x * weight
        z.label, found[k:] = f"a[{k}].z", [z.relu()]
        found[k].label = f"a[{k}]"
    return found[0] + found[1]


@pytest.mark.some(1)
@pytest.mark.parametrize("make, limit, changes", [
    (layers, 200, [(0.5, 3.0), (0.9, -2.5)]),
    (ops, 4, [(0.6, -3.0), (0.7, 0.0), (0.8, 5.0), (0.99, -1.0)]),
    (mixed, 4, [(0.1, 0.25), (0.9, 0.0)]),
    (neurons, 4, [(0.99, -2.0), (0.99, 0.0), (0.99, 1e-8)]),
])  # fmt: skip
def test_a_folded_picture_is_live(at, make, limit, changes):
    options = {"fold_above": limit, "nodes": True}
    it = at(f"fold {make.__name__}", make, save_options=options)
    assert any(box.get("fold") for box in data_of(it.content())["boxes"])
    leaves = [i for i, node in enumerate(it.told.nodes) if node.rule is None]
    known = {}
    for share, x in changes:
        i = leaves[int(share * len(leaves))]
        known[i] = x
        change(it, i, x)
        anew = built_anew(it.output, known)
        ours, theirs = facts(it.evaluate(SHOWN)), said_by_python(anew, **options)
        for a, b in zip(ours[0] + ours[1], theirs[0] + theirs[1], strict=True):
            assert alike(a, b, 1e-12), known
        whys = it.evaluate("() => boxes.filter((box) => box.fold).map((box) => box.why)")
        boxes = data_of(page(anew, **options))["boxes"]
        assert whys == [box["why"] for box in boxes if box.get("fold")]


# --- what a hand does ----------------------------------------------------------------------------


def test_a_slider_by_keyboard_and_undo(at):
    it = at("neuron")
    it.select_option("#leaf", label="x1")
    it.locator("#leaf-slider").focus()
    for n in (1, 2, 3):
        it.keyboard.press("ArrowRight")
        assert it.locator("#leaf-value").input_value() == f"{2 + n * 0.01:g}"
    assert now(it) == 0  # the keys were the slider's
    it.keyboard.press("Home")
    assert it.locator("#leaf-value").input_value() == "-2" and now(it) == 0
    for then in ("2.03", "2.02", "2.01", "2"):
        it.locator("#undo").click()
        assert it.locator("#leaf-value").input_value() == then
    assert words(it) == "All is as it was saved."


def test_one_drag_is_one_change(at):
    it = at("neuron")
    it.select_option("#leaf", label="x1")
    box = it.locator("#leaf-slider").bounding_box()
    y = box["y"] + box["height"] / 2
    it.mouse.move(box["x"] + box["width"] / 2, y)
    it.mouse.down()
    seen = []
    for share in (0.6, 0.7, 0.8, 0.9):
        it.mouse.move(box["x"] + box["width"] * share, y)
        seen.append(float(it.locator("#leaf-value").input_value()))
        assert short(seen[-1]) in pages.node(it, "x1")[0].text_content()
    it.mouse.up()
    assert seen == sorted(seen) and len(set(seen)) == 4
    it.locator("#undo").click()
    assert it.locator("#leaf-value").input_value() == "2"
    assert it.locator("#undo").get_attribute("aria-disabled") == "true"


def test_the_slider_follows_the_field(at):
    it = at("neuron")
    change(it, index(it, "x1"), 1000.0)
    slider = it.locator("#leaf-slider")
    assert float(slider.input_value()) == 1000.0 <= float(slider.get_attribute("max"))
    it.keyboard.press("Tab")
    it.keyboard.press("u")
    assert float(slider.input_value()) == 2.0


def test_the_equation_of_this_moment_follows(at):
    it = at("neuron")
    pages.node(it, "x1")[0].click()
    change(it, index(it, "w1"), 4.0)
    o = built_anew(it.output, {index(it, "w1"): 4.0})
    tanh = o.partials[0]
    assert it.locator("#terms b").all_inner_texts()[::2] == [short(tanh), "4", short(4 * tanh)]
    assert "= y = 4, where x = x1, y = w1" in it.locator("#maths").inner_text()
    factors = it.locator("#product .link").all_inner_texts()
    assert [x.split()[0] for x in factors][-1] == "×4" and f"×{short(tanh)}" in factors[1]
    assert "mul(8)" in " ".join(factors)
    assert it.locator("#rows tr", has_text="mul(8)").count() == 1


def test_a_bar_opens_and_another_closes(at):
    it = at("neuron")
    it.keyboard.press("s")
    stop = now(it)
    text = "(bar) => [...bar.querySelectorAll('text')].map((x) => x.textContent)"
    assert it.locator(".bar.reached").evaluate(text) == ["×0", "STOP"]
    change(it, index(it, "x2"), 0.8)
    assert it.locator(".bar.reached").count() == 0
    assert it.locator("#picture .bar").evaluate(text)[0] == "×0.8"
    assert it.locator("#sum .word").count() == 0
    change(it, index(it, "x1"), 0.0)
    it.locator("#first").click()
    it.locator("#stop").click()
    assert now(it) != stop
    assert it.locator(".bar.reached").evaluate(text) == ["×0", "STOP"]
    assert it.locator(".bar.reached").get_attribute("class") == "node bar over halts reached"
    assert it.locator("#sum .word").inner_text() == "STOP"
    assert "STOP" in it.locator("#legend").inner_text()
    change(it, index(it, "x1"), 1.0)
    it.locator("#last").click()
    assert not any(bar.is_visible() for bar in it.locator(".bar.over").all())
    assert "STOP" not in it.locator("#legend").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_of_a_new_bar(at, scheme):
    it = at("neuron", color_scheme=scheme, reduced_motion="reduce")
    change(it, index(it, "x1"), 0.0)
    it.locator("#last").click()
    found = contrasts(it)
    assert any("over" in text["where"] for text in found)
    assert [text for text in found if text["ratio"] < 4.5] == []


@pytest.mark.parametrize("name, which", [("neuron", ["b", "w1", "w2"]), ("square", ["x"])])
def test_a_gradient_step_is_that_of_sgd(at, name, which):
    it = at(name)
    it.fill("#rate", "0.25")
    swept(it.output)
    leaves = [node for node in it.told.nodes if node.label in which or which == ["x"]]
    leaves = [node for node in leaves if node.rule is None]
    for node in leaves:
        node.grad = it.told.grads[node]
    before = [node.data for node in leaves]
    optim.SGD(leaves, lr=0.25).step()
    after = [node.data for node in leaves]
    it.locator("#descend").click()
    data = it.evaluate("() => boxes.map((box) => Number(box.value))")
    assert [data[it.told.nodes.index(node)] for node in leaves] == after != before
    assert "went down" in words(it)
    it.locator("#undo").click()
    data = it.evaluate("() => boxes.map((box) => Number(box.value))")
    assert [data[it.told.nodes.index(node)] for node in leaves] == before
    for node, x in zip(leaves, before):
        node.data = x


def test_steps_go_down(at):
    it = at("parabola", lambda: (Value(3.0, "w") - 1.0) ** 2.0)
    for _ in range(30):
        it.locator("#descend").click()
    assert it.evaluate("() => boxes[0].value") < 1e-5
    assert words(it).endswith("w went down its gradient.")


def test_why_says_that_it_can_not_follow(at):
    it = at("neuron")
    pages.node(it, "w2")[0].click()
    saved = it.locator("#why").inner_text()
    change(it, index(it, "x2"), 0.8)
    assert "this explanation can't follow" in it.locator("#why").inner_text()
    it.locator("#undo").click()
    assert it.locator("#why").inner_text() == saved


def test_a_click_on_a_leaf_picks_it(at):
    it = at("neuron")
    pages.node(it, "w1")[0].click()
    assert it.locator("#leaf-value").input_value() == "-3"
    pages.node(it, "o")[0].click()
    assert it.locator("#leaf-value").input_value() == "-3"
    it.locator("#rows button", has_text="b").last.click()
    assert it.locator("#leaf-value").input_value() == "6.881373587019543"


def test_behind_a_detach(at):
    """A leaf behind a detach moves values, and gets no gradient."""

    def make():
        x, y = Value(2.0, "x"), Value(3.0, "y")
        h = x * y
        return h.detach() * x + h

    it = at("a detach", make)
    grad = "(i) => String(boxes[i].grad)"
    change(it, index(it, "y"), 5.0)
    assert it.evaluate("() => boxes[0].value") == 30
    assert [it.evaluate(grad, index(it, name)) for name in "xy"] == ["15", "2"]
    h = it.told.nodes.index(it.output.inputs[1])
    change(it, index(it, "x"), inf)  # what is cut off gets no 0 · inf
    assert it.evaluate(grad, h) == "1"


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("text, said", [
    ("", "Write a number; x1 is still 2."),
    ("   ", "Write a number; x1 is still 2."),
    ("abc", "“abc” is no number, as 0.25 or -1.5e-3 are; x1 is still 2."),
    ("1,5", "“1,5” is no number, as 0.25 or -1.5e-3 are; x1 is still 2."),
    ("0x10", "“0x10” is no number, as 0.25 or -1.5e-3 are; x1 is still 2."),
    ("<b>", "“<b>” is no number, as 0.25 or -1.5e-3 are; x1 is still 2."),
    ("1e400", "1e400 is too large for a float, which is 1.8e308 at most; x1 is still 2."),
    ("-1e400", "-1e400 is too large for a float, which is 1.8e308 at most; x1 is still 2."),
])  # fmt: skip
def test_what_is_no_number(at, text, said):
    it = at("neuron")
    it.select_option("#leaf", label="x1")
    it.fill("#leaf-value", "7")
    it.locator("#undo").click()
    it.fill("#leaf-value", text)
    assert words(it) == said
    assert it.locator("#leaf-value").get_attribute("aria-invalid") == "true"
    assert it.evaluate(SHOWN)["boxes"] == data_of(it.content())["boxes"]
    it.locator("#rate").focus()  # and what it was comes back
    assert it.locator("#leaf-value").input_value() == "2"
    assert it.locator("#leaf-value").get_attribute("aria-invalid") == "false"


def test_a_rate_that_is_no_number(at):
    it = at("neuron")
    it.fill("#rate", "fast")
    it.locator("#descend").click()
    assert words(it) == "“fast” is no number, as 0.25 or -1.5e-3 are; no step was taken."
    assert it.locator("#undo").get_attribute("aria-disabled") == "true"


def test_infinite_and_no_numbers(at):
    it = at("neuron")
    for text, value in [("inf", "inf"), ("-INF", "-inf"), ("nan", "nan"), ("1e308", "1e308")]:
        it.select_option("#leaf", label="x1")
        it.fill("#leaf-value", text)
        it.locator("#rate").click()
        it.evaluate("() => { location.hash = '#visit=99'; }")
        assert it.locator("#leaf-value").input_value().replace("+", "") == value
    it.locator("#descend").click()
    it.locator("#count", has_text=f"{last(it)} / {last(it)}").wait_for()


def test_keys_in_a_field_are_the_fields(at):
    it = at("neuron", visit=3)
    it.locator("#leaf-value").focus()
    for key in ("s", "End", "ArrowLeft", "Space", "?", "f"):
        it.keyboard.press(key)
    assert now(it) == 3 and not it.locator("#help").is_visible()


# --- what can't be changed -----------------------------------------------------------------------


def still(output):
    """Why no leaf of this graph can be changed on its page."""
    data = data_of(page(output))
    assert data["graph"] is None
    return data["still"]


def test_an_own_op_is_live(at, temporary_ops):
    @rule(kind="saturating", ceiling=1.0)
    def softsign(xp, x):
        """x / (1 + |x|)"""
        y = 1.0 / (1.0 + xp.abs(x))
        return x * y, y * y

    it = at("own", lambda: Value(3.0, "x").softsign())
    change(it, index(it, "x"), -1.0)
    assert it.evaluate("() => boxes.map((box) => [box.value, box.grad])") == [[-0.5, 1], [-1, 0.25]]


def test_an_op_that_branches_leaves_the_page_still(at, temporary_ops):
    @rule(kind="gate")
    def kinked(xp, x):
        """x, or 0 below 0"""
        return (x, 1.0) if x > 0 else (0.0, 0.0)

    it = at("kinked", lambda: Value(3.0, "x").kinked())
    reason = "the op 'kinked' branches on a number; write that with xp.where"
    assert words(it) == f"No leaf can be changed on this page: {reason}."
    assert not it.locator("#leaf").is_visible() and not it.locator("#undo").is_visible()
    it.keyboard.press("u")
    it.keyboard.press("End")
    assert it.evaluate(pages.GRADS) == ["1", "1"]


def test_a_wrong_trace_is_seen_in_the_browser(at, temporary_ops):
    @rule(kind="gate")
    def sly(xp, x):
        """2x, but for what is no float x"""
        return (2.0 * x if isinstance(x, float) else 3.0 * x), 2.0

    it = at("sly", lambda: Value(3.0, "x").sly())
    reason = "this browser makes another number of sly(6) than Python"
    assert words(it) == f"No leaf can be changed on this page: {reason}."


def test_a_large_graph_stays_still():
    x = Value(2.0, "x")
    assert still(mx.sum([x] * 10_001)) == "its graph has 10,001 operands, more than 10,000"
    assert data_of(page(mx.sum([x] * 10_000)))["graph"]


def test_a_leaf_assigned_to_since(at):
    def make():
        x = Value(3.0, "x")
        y = x * 2.0
        x.data = 5.0
        return y

    it = at("stale", make)
    assert words(it).startswith("Numbers were assigned to since this graph was computed")
    assert it.evaluate("() => boxes.map((box) => box.value)") == [6, 5]
    change(it, index(it, "x"), 4.0)
    assert it.evaluate("() => boxes.map((box) => box.value)") == [8, 4]
    it.locator("#undo").click()
    for what in ("boxes.map((box) => box.value)", "nodes.map((node) => node.data)"):
        assert it.evaluate(f"() => {what}") == [6, 5]


def test_hidden_nodes_are_computed(at):
    x = Value(2.0, "x")
    h = x * 3.0
    it = at("hidden", lambda: h + 1.0, save_options={"without": [h]})
    change(it, index(it, "x"), 3.0)
    assert it.evaluate("() => boxes[0].value") == 10
