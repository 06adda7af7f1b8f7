"""One graph for every verdict, and what is said of it."""

import base64
import html
import math
import re

import pytest

from microgradx import Flow, Value, record_lines, why
from microgradx import sum as sum_of
from microgradx._base.text import name_of
from microgradx.explain import verdicts
from microgradx.explain.verdicts import TABLE, Evidence, Verdict, table
from microgradx.nn import MLP
from microgradx.pictures import render


def run(x, y, times=1):
    for _ in range(times):
        y.backward()
    return x, y


def leaf(data=1.0, label="x"):
    return Value(data, label)


def not_run():
    x = leaf(-1.0)
    return x, x.relu() * 2.0


def not_run_leaf():
    x = leaf()
    return x, x


def stale():
    x = leaf()
    return run(x, x.tanh() * 2.0, times=3)


def zeroed():
    x = leaf()
    x, y = run(x, x * 3.0)
    x.grad = 0.0
    return x, y


def other_sweep():
    x = leaf()
    (x * 5.0).backward()
    return run(x, x.tanh())


def not_finite():
    x = leaf(0.0)
    return run(x, x.log() * 2.0 + x.sqrt())


def disconnected():
    return run(leaf(), leaf(2.0, "a") * leaf(3.0, "b"))


def disconnected_twin():
    y = leaf(2.0, "x") * leaf(3.0, "w")
    y.backward()
    return leaf(), y


def disconnected_leaf():
    y = leaf(2.0, "y")
    y.backward()
    return leaf(), y


def detached():
    x = leaf()
    y = (x * 2.0).detach() * leaf(3.0, "w")
    y.backward()
    return x, y


def stopped():
    x = leaf(-1.0)
    return run(x, x.relu() * 2.0)


def stopped_in_series():
    x = leaf(-1.0)
    return run(x, (x.relu() - 1.0).relu() * 2.0)


def local_underflow():
    x = leaf(800.0)
    return run(x, x.sigmoid() * 2.0)


def underflowed():
    x = y = leaf()
    for _ in range(600):
        y = y * 0.25
    return run(x, y)


def cancelled():
    x = leaf(0.1)
    return run(x, x * 3.0 - x * 3.0)


def small():
    x = leaf()
    return run(x, (x * leaf(1e-5, "w")).tanh() * 0.5)


def large():
    x = leaf()
    return run(x, x * leaf(1e5, "w") * 0.5)


def healthy():
    x = leaf()
    return run(x, (x * leaf(0.5, "w")).tanh() + x)


def healthy_leaf():
    x = leaf()
    return run(x, x)


REMARKS = [
    (not_run, "stopped", "no backward()"), (not_run_leaf, "healthy", "no backward()"),
    (stale, "healthy", "3 × the gradient"), (zeroed, "healthy", "zeroed"),
    (other_sweep, "healthy", "not this gradient"),
]  # fmt: skip
CASES = [
    *[(verdict, make) for make, verdict, _ in REMARKS],
    ("not finite", not_finite),
    ("disconnected", disconnected), ("disconnected", disconnected_twin),
    ("disconnected", disconnected_leaf),
    ("detached", detached),
    ("stopped", stopped), ("stopped", stopped_in_series), ("stopped", local_underflow),
    ("underflowed", underflowed), ("cancelled", cancelled), ("small", small), ("large", large),
    ("healthy", healthy), ("healthy", healthy_leaf),
]  # fmt: skip
each_case = pytest.mark.parametrize("verdict, make", CASES, ids=lambda x: getattr(x, "__name__", x))


def test_there_is_a_graph_for_every_verdict():
    assert {verdict for verdict, _ in CASES} == set(TABLE)


@each_case
def test_every_verdict_is_a_paragraph_of_5_to_15_lines(verdict, make):
    it = why(*make())
    assert it.verdict == verdict
    text = str(it)
    lines = text.splitlines()
    assert 5 <= len(lines) <= 15, text
    assert max(map(len, lines)) <= 100, text
    assert verdict in lines[0] and TABLE[verdict].meaning in text


@each_case
def test_sentences_end_with_one_stop_and_are_made_of_words(verdict, make):
    it = why(*make())
    text = str(it)
    assert not any(wrong in text for wrong in ("..", "?.", "!.", "None")), text
    starts = [line for line in text.splitlines() if not line.startswith("    ")]
    sentences = [*it.because[:4], TABLE[verdict].meaning]
    assert len(starts) >= 1 + len(sentences) and not any(s.startswith(" ") for s in it.sentences)
    assert text.endswith(".") and repr(it) == f"<why {it.node.label}: {verdict}>"


@pytest.mark.parametrize("make", [stopped, small, cancelled, detached, not_finite, underflowed])
def test_long_labels_stay_within_15_lines(make):
    x, y = make()
    names = (f"transformer.blocks.0.attention.query.weight[{i},3]" for i in range(10_000))
    for node, name in zip(Flow(y).paths.nodes, names):
        node.label = name
    text = str(why(x, y))
    assert len(text.splitlines()) <= 15 and max(map(len, text.splitlines())) <= 100, text


# --- the remark on .grad ----------------------------------------------------------------------


@pytest.mark.parametrize("make, verdict, cause", REMARKS)
def test_a_remark_stands_beside_the_verdict_on_a_line_of_its_own(make, verdict, cause):
    it = why(*make())
    assert (it.verdict, it.remark.cause) == (verdict, cause) and cause not in it.causes
    text = str(it)
    assert text.splitlines()[-1] == f"{it.remark.sentence}."
    assert text.splitlines()[0].split(" – ")[0].endswith(verdict + ("" if it.causes else "."))
    assert it.remark.sentence not in "".join(it.sentences)


@pytest.mark.parametrize(
    "ratio, cause",
    [
        (2, "2 × the gradient"), (1000, "1000 × the gradient"), (7 + 9e-7, "7 × the gradient"),
        (1001, "not this gradient"), (7 + 2e-6, "not this gradient"), (-2, "not this gradient"),
        (0.5, "not this gradient"), (1 + 1e-7, "not this gradient"),
    ],
)  # fmt: skip
def test_only_a_small_whole_multiple_is_forgotten_zeroing(ratio, cause):
    x, y = healthy()
    x.grad *= ratio
    it = why(x, y)
    assert it.remark.cause == cause
    k = cause.split()[0]
    words = "which is not this gradient" if k == "not" else (
        f"as it is after {k} backwards without zero_grad()"
    )  # fmt: skip
    assert it.remark.sentence == f".grad is {x.grad:.3g}, {words}"


def test_cancelled_says_what_opposes_what():
    x = Value(2.0, "x")
    a, b = x * 3.0, x * -3.0
    a.label, b.label = "a", "b"
    y = a + b
    y.backward()
    assert why(x, y).because == [
        "With signs by chance its paths would add up to 4.24; they oppose each other, and 0 is "
        "left",
        "Opposing each other: b brings -3, a brings 3",
        "Without any rounding they add up to 0",
    ]


@pytest.mark.parametrize("big, rounded", [(3.5e15, False), (4e15, True)])
def test_what_cancellation_leaves_is_rounding_up_to_the_root_of_n_roundings(big, rounded):
    """√3 · 2⁻⁵³ · √2 big, of three roundings: 0.95 and 1.09, beside the 1 that is left."""
    x = Value(2.0, "x")
    y = x * big + x * (1.0 - big)
    y.backward()
    found = why(x, y)
    assert found.verdict == "cancelled" and found.flow.g == 1.0
    assert found.because[0].endswith("and 1 is left" + ", which is within rounding of 0" * rounded)
    assert (found.exact is not None) == rounded


@pytest.mark.parametrize("x, more", [(0.2, []), (0.05, ["singular op"])])
def test_a_kind_of_factor_is_named_from_a_tenth_of_what_is_too_much_on(x, more):
    """ln′(x) is 5 or 20, beside 10¹⁰: 0.7 or 1.3 of the decades, which are 10.7 and 11.3."""
    x = Value(x, "x")
    y = x.log() * 1e10
    y.backward()
    assert why(x, y).verdict == "large" and why(x, y).causes == ["constants", *more]


def test_those_alone_are_named_that_are_not_all_where_it_stops():
    x = Value(-1.0, "x")
    y = x.relu() * 2.0
    y.backward()
    assert "alone" not in str(why(x, y)) and len(why(x, y).where) == 1


def test_a_long_path_is_told_from_both_ends():
    x = y = Value(0.5, "x")
    for k in range(12):
        y = y * 2.0
        y.label = f"y{k}"
    y.backward()
    assert ("x ×2→ y0 ×2→ y1 ×2→ y2 ×2→ y3 … 5 more … ×2→ y9 ×2→ y10 ×2→ y11."
            in " ".join(str(why(x, y)).split()))  # fmt: skip


def test_a_term_that_rounds_to_0_is_left_out():
    x = Value(0.5, "x")
    y = x * Value(1.001, "w")
    for _ in range(5):
        y = y.sigmoid()
    y.backward()
    assert "weight scale" in why(x, y).budget
    assert "Decades: -3.22 = -3.01 sigmoid ceiling, -0.21 saturation." in str(why(x, y))


def test_where_there_is_no_loss_nothing_is_said_of_it():
    x = Value(2.0, "x")
    y = x * 1.0
    y.backward()
    it = Flow(y, large=0.5).why(x)
    assert it.verdict == "healthy" and "loss" not in str(it)


def test_there_is_no_remark_where_there_is_none_to_make():
    assert why(*healthy()).remark is None and why(*stopped()).remark is None
    assert why(*disconnected()).remark is None


# --- the table --------------------------------------------------------------------------------


def noisy(case):
    """A verdict of a reader's own."""
    return Evidence(["dice"], where=list(case.output.edges), because=["It has rolled"])


def labelled(node, label):
    node.label = label
    return node


def off(k, name="r{}", factor=1.0):
    """So many ReLUs that are off, as terms of a sum that no sample has."""
    x = Value(-1.0, "x")
    zs = [labelled(x * (1.0 + factor * i), "z") for i in range(k)]
    terms = [labelled(z.relu(), name.format(i)) for i, z in enumerate(zs)]
    return x, sum_of([term * 2.0 if i % 2 else term for i, term in enumerate(terms)])


def opposing(k, name="p{}", factor=1.0):
    """So many terms against one, which is not computed as they are."""
    x = Value(1.0, "x")
    terms = [labelled(x * (1.0 + factor * i), name.format(i)) for i in range(k)]
    return x, sum_of([*terms, labelled(x ** -sum(term.data for term in terms), "q")])


def opposing_samples(k):
    model = MLP(1, [1], init=lambda *_: 1.0)
    ups = [model([1.0]) * (i + 1.0) for i in range(k)]
    return model.parameters()[0], sum_of([*ups, model([1.0]) * -sum(y.data for y in ups)])


def off_in_samples(k):
    model = MLP(1, [1, 1], init=lambda *_: 1.0)
    return model.parameters()[0], sum_of([model([-1.0]) for _ in range(k)] + [model([1.0]) * 0.0])


def narrow(k):
    x = y = Value(0.5, "x")
    for i in range(k):
        y = labelled(y * 0.5 + y.tanh(), f"c{i}")
    return x, y


FEW = [
    off, opposing, opposing_samples, off_in_samples, narrow, lambda k: off(k, "r"),
    lambda k: off(k, "r", 0.0), lambda k: opposing(k, "p"), lambda k: opposing(k, "p", 0.0),
]  # fmt: skip


@pytest.mark.parametrize("k", range(1, 9))
@pytest.mark.parametrize("make", FEW)
def test_one_more_is_said_and_not_counted(make, k):
    text = " ".join(str(why(*make(k))).split())
    assert not re.search(r"\b[01] (more|other)", text), text


@pytest.mark.parametrize("make, words", [
    (lambda: off(4), "z ×0→ r3, z ×0→ r1, z ×0→ r2, z ×0→ r0."),
    (lambda: off(5), "z ×0→ r3, z ×0→ r1, z ×0→ r4 and 2 more."),
    (lambda: off(2, "r"), "through: z = -2 < 0; r lets nothing through: z = -1 < 0."),
    (lambda: off(2, "r"), "It stops at z ×0→ r (twice)."),
    (lambda: off(2, "r", 0.0), "r lets nothing through: z = -1 < 0 (twice)."),
    (lambda: off(3, "r"), "z = -2 < 0, and 2 more like it."),
    (lambda: opposing(4), "q brings -10, p3 brings 4, p2 brings 3, p1 brings 2, p0 brings 1."),
    (lambda: opposing(5), "q brings -15, p4 brings 5, p3 brings 4, p2 brings 3 and 2 more."),
    (lambda: opposing(2, "p"), "q brings -3, p brings 2 and 1."),
    (lambda: opposing(3, "p"), "q brings -6, p brings 3 and 2 more."),
    (lambda: opposing(3, "p", 0.0), "q brings -3, p brings 1 (3 times)."),
    (lambda: opposing_samples(3), "sample 3 brings -6"),
    (lambda: opposing_samples(3), "sample 0 brings 1, sample 3"),
    (lambda: opposing_samples(4), "and 2 other samples as much or less."),
    (lambda: narrow(5), "all go through c0, c1, c2, c3."),
    (lambda: narrow(6), "all go through c0, c1, c2 and more."),
])  # fmt: skip
def test_what_is_listed_is_listed_so(make, words):
    text = " ".join(str(why(*make())).split())
    assert words in text, text


def test_a_leaf_is_among_others_or_it_is_the_only_one():
    lone, x, y, plain = Value(1.0), Value(1.0, "x"), Value(1.0, "y"), Value(1.0)
    assert "computed from 1 leaf: x." in str(why(lone, x * 2.0))
    assert "computed from 2 leaves: " in str(why(lone, x * y))
    assert "computed from 2 leaves, x among them." in str(why(lone, x * plain))
    assert "computed from 1 leaf." in str(why(lone, plain * 2.0))


def test_a_headline_names_four_causes(monkeypatch):
    row = Verdict("noisy", "It is hidden", lambda case: Evidence([*"abcdefg"]))
    monkeypatch.setattr(verdicts, "TABLE", table(row, *TABLE.values()))
    x = leaf()
    headline, *_ = str(why(*run(x, x * 0.1))).splitlines()
    assert headline == "∂mul(0.1)/∂x = 0.1 (10^-1.00): noisy – a, b, c, d."


def test_a_new_verdict_is_one_row(monkeypatch):
    *rows, last = TABLE.values()
    row = Verdict("noisy", "It is hidden in noise", noisy, begins="It rolls at", repairs="up")
    monkeypatch.setattr(verdicts, "TABLE", table(*rows, row, last))
    x = leaf()
    it = why(*run(x, x * 0.1))
    assert (it.verdict, it.causes) == ("noisy", ["dice"]) and repr(it) == "<why x: noisy>"
    assert str(it).splitlines()[:4] == [
        "∂mul(0.1)/∂x = 0.1 (10^-1.00): noisy – dice.",
        "It is hidden in noise.",
        "It has rolled.",
        "It rolls at x ×0.1→ mul(0.1).",
    ]
    assert "With ×1 instead of ×0.1 " in str(it)
    assert why(*small()).verdict == "small"  # which is asked before


@pytest.mark.parametrize(
    "columns, error, words",
    [
        ({"meaning": ""}, TypeError, "the meaning of the verdict 'noisy' is a text, got ''"),
        ({"meaning": noisy}, TypeError, "the meaning of the verdict 'noisy' is a text"),
        ({"name": ""}, TypeError, "the name of the verdict '' is a text"),
        ({"holds": None}, TypeError, "'noisy' needs a function of a case, got None"),
        ({"repairs": True}, ValueError, "repairs is 'up', 'down' or '' in 'noisy', got True"),
        ({"begins": None}, TypeError, "begins is a text, or empty, in 'noisy', got None"),
        ({"starts": "At"}, TypeError, "starts"),
    ],
)
def test_a_mistake_in_a_row_is_an_error_where_it_is_written(columns, error, words):
    right = {"name": "noisy", "meaning": "It is hidden in noise", "holds": noisy}
    Verdict(**right)
    with pytest.raises(error, match=words):
        Verdict(**{**right, **columns})


def test_a_row_without_meaning_or_with_a_name_that_is_taken_is_an_error():
    with pytest.raises(TypeError, match="holds"):
        Verdict("noisy", noisy)
    with pytest.raises(ValueError, match="there is a verdict 'small' already"):
        table(*TABLE.values(), Verdict("small", "It is tiny", noisy))


def test_the_rows_are_asked_in_this_order():
    assert list(TABLE) == [
        "not finite", "disconnected", "detached", "stopped", "underflowed", "cancelled", "small",
        "large", "healthy",
    ]  # fmt: skip


# --- no path ---------------------------------------------------------------------------------


def test_disconnected_names_what_the_output_was_computed_from():
    it = why(leaf(), leaf(2.0, "a") * leaf(3.0, "b") + Value(4.0))
    assert "add(10) was not computed from it" in it.because
    assert any("3 leaves, a, b among them" in said for said in it.because)
    assert not any("another Value labelled" in said for said in it.because)
    assert any("compute with this Value itself" in said for said in it.because)


def test_a_number_that_was_cut_off_is_told_from_what_people_do():
    x = leaf()
    for y in (Value(math.tanh(x), "y") * 2.0, Value(2.0) * float(x), Value(x.data)):
        assert any("math.tanh(x), float(x) and x.data" in said for said in why(x, y).because)


def test_the_other_way_round():
    w = leaf(3.0, "w")
    loss = w * 2.0
    loss.label = "loss"
    for below in (loss, loss.detach().exp()):
        it = why(below, w)
        name = name_of(below)
        assert it.verdict == "disconnected" and it.because == [
            f"It is the other way round: {name} was computed from w",
            f"For ∂{name}/∂w, pass the two in the other order",
        ]
    assert "other way round" not in str(why(leaf(), loss)) + str(why(w, loss))


def test_disconnected_points_at_a_twin_label():
    it = why(*disconnected_twin())
    assert any("Another Value is labelled x" in said for said in it.because)
    unlabelled = why(Value(1.0), Value(2.0) * 3.0)
    assert not any("Another Value" in said for said in unlabelled.because)


def test_a_twin_may_be_an_op():
    y = leaf(2.0, "a").tanh()
    y.label = "h"
    assert any("labelled h" in said for said in why(leaf(1.0, "h"), y * 2.0).because)


def test_an_output_that_is_a_leaf_was_computed_from_nothing():
    it = why(*disconnected_leaf())
    assert "It is a leaf: it was computed from nothing" in it.because


@pytest.mark.parametrize("make", [lambda: leaf() * 2.0, lambda: leaf().detach()])
def test_one_leaf_or_none(make):
    text = str(why(leaf(), make()))
    assert "1 leaves" not in text and "0 leaves" not in text


def test_a_detach_is_located():
    x = leaf()
    h = x * 2.0
    h.label = "h"
    with record_lines():
        cut = h.detach()
    cut.label = "frozen"
    y = cut * 3.0
    it = why(x, y)
    said = f"It is cut off between h and frozen (test_verdicts.py:{cut.line[1]})"
    assert it.because[1] == said and it.flow is None and it.path == [] and it.budget == {}


def test_every_detach_on_the_way_is_located_and_no_other():
    x, other = leaf(), leaf(2.0, "other")
    first, second = x.detach(), (x * 2.0).detach()
    it = why(x, first * second + other.detach())
    said = [s for s in it.because if s.startswith("It is cut off")]
    assert sorted(said) == [
        "It is cut off between mul(2) and detach(2)",
        "It is cut off between x and detach(1)",
    ]


def test_detaches_in_series():
    x = leaf()
    it = why(x, (x.detach() * 2.0).detach() * 3.0)
    assert it.verdict == "detached" and sum("cut off" in said for said in it.because) == 2


def test_a_node_before_and_after_a_detach():
    x = leaf()
    assert why(x, x.detach() + x).verdict == "healthy"
    cut = x.detach()
    assert why(cut, run(cut, cut * 2.0)[1]).verdict == "healthy"


def test_what_leads_on_from_a_detached_node_is_followed_past_other_nodes():
    x = leaf()
    h = x.tanh().exp()
    it = why(x, h.detach() * 2.0)
    assert "It is cut off between exp(2.14) and detach(2.14)" in it.because


# --- in a notebook ---------------------------------------------------------------------------


def drawing_of(part):
    """The SVG in the one image of a part of a page."""
    [source] = re.findall('<img src="data:image/svg\\+xml;base64,(.*?)"', part)
    return base64.b64decode(source).decode()


@each_case
def test_a_notebook_shows_the_words_and_the_picture(verdict, make, monkeypatch):
    drawn = []

    def rendered(source, format, choice=None):
        drawn.append(source)
        return b"<svg>picture</svg>"

    monkeypatch.setattr(render, "render", rendered)
    it = why(*make())
    shown = it._repr_mimebundle_()
    assert shown["text/plain"] == str(it)
    words, _, picture = shown["text/html"].partition("</pre>\n")
    assert html.unescape(words.removeprefix("<pre>")) == str(it)
    assert drawing_of(picture) == "<svg>picture</svg>"
    (source,) = drawn
    assert f", {verdict}" in source


def test_the_picture_is_a_real_one():
    shown = why(*stopped())._repr_mimebundle_(include=None, exclude=None)
    assert "STOP" in drawing_of(shown["text/html"]) and "max-width:100%" in shown["text/html"]
    bare = re.sub("<[^>]*>", "", shown["text/html"])  # what an untrusted notebook keeps
    assert html.unescape(bare).strip() == shown["text/plain"]


def test_it_is_saved_with_its_words_above_its_picture(tmp_path):
    it = why(*stopped())
    path = it.save(tmp_path / "pages" / "why")
    assert path.name == "why.html"
    page = path.read_text()
    assert html.escape(str(it)) in page and "<svg" in page and "prefers-color-scheme" in page


@pytest.mark.parametrize("failure", [render.RendererNotFound, render.RenderingFailed])
@each_case
def test_without_a_renderer_the_words_are_shown_alone(verdict, make, failure, monkeypatch):
    def refuse(*args):
        raise failure("no Graphviz")

    monkeypatch.setattr(render, "render", refuse)
    it = why(*make())
    shown = it._repr_mimebundle_()
    assert shown["text/plain"] == str(it)
    assert html.escape(f"{it}\n\nno Graphviz") in shown["text/html"]
    assert "<img" not in shown["text/html"]
