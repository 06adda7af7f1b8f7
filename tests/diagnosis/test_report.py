"""The check-up in files: one page without a request, one of figures; whole or not at all."""

import html
import json
import math
import os
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

import microgradx as mx
from microgradx import nn, optim
from microgradx._base.files import WrongSuffix
from microgradx.diagnosis import report
from tests.diagnosis.nets import classes, planted, rows

VOID = {"meta", "br", "img"}


@pytest.fixture(scope="module")
def sick():
    model, X, y = planted()
    return mx.checkup(model, X, y, optimizer=optim.Adam(model.parameters(), lr=0.05))


@pytest.fixture(scope="module")
def healthy():
    return mx.checkup(nn.MLP(4, [6, 3], "tanh", init="glorot", seed=0), *classes(50, 4, 3))


class Parsed(HTMLParser):
    """The text of a page outside of styles and pictures, its tags and its tables."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.words, self.attributes = [], [], [], []
        self.feed(page)
        self.close()
        assert not self.open
        self.text = " ".join("".join(self.words).replace("\xa0", " ").split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "svg"} & {*self.open}:
            self.words.append(data)


def in_one_line(text):
    return " ".join(text.split())


def saved(c, tmp_path, name="report.html"):
    return c.save(tmp_path / name).read_text(encoding="utf-8")


# --- the page ------------------------------------------------------------------------------------


def test_a_page_of_one_file_that_asks_for_nothing(sick, tmp_path):
    page = saved(sick, tmp_path)
    parsed = Parsed(page)
    assert not {"script", "link", "iframe", "img", "object", "base"} & {*parsed.tags}
    assert not {"src", "onload", "onclick"} & {name for name, _ in parsed.attributes}
    assert all(x.startswith("#") for name, x in parsed.attributes if name == "href")
    bare = page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "http" not in bare and "url(" not in bare and "@import" not in bare
    assert 'charset="utf-8"' in page and "prefers-color-scheme:dark" in page
    for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        ElementTree.fromstring(svg)
    assert page.count("<svg") == 4  # two pictures, each for a page and for a phone


def test_everything_of_the_terminal_is_there(sick, tmp_path):
    text = Parsed(saved(sick, tmp_path)).text
    assert len(sick.findings) == 4
    places = []
    for k, finding in enumerate(sick.findings, 1):
        where = f"{k} {finding.verdict}: {report.words.whereabouts(finding)}"
        places.append(text.index(where))
        assert in_one_line(finding.because) in text
        assert report.ranges(finding.neurons) in text
    assert places == sorted(places)
    assert re.search(r"\d saturated: layers.1, \d+ of 16 neurons 42.4 decades", text)
    assert "dead: layers.0, 5 of 16 neurons a stop" in text
    for line in report.words.opening(sick):
        assert in_one_line(line) in text
    for line in report.words.stepping(sick.step):
        assert in_one_line(line) in text
    assert "c.try_remedies()" in text


def test_findings_of_one_verdict_are_folded_but_there(tmp_path):
    X = rows(30, 2)
    model = nn.MLP(2, [4, 4, 4, 1], "relu", seed=0)
    for p in model.parameters():
        p.data *= 1e-3
    c = mx.checkup(model, X, X[:, 0])
    small = [f for f in c.findings if f.verdict == "small weights"]
    text = Parsed(saved(c, tmp_path)).text
    assert len(small) > 2
    assert f"Also small weights: {small[1].where}; {small[2].where}" in text
    for finding in c.findings:
        assert in_one_line(finding.because) in text


def test_each_finding_has_an_anchor(sick, tmp_path):
    attributes = Parsed(saved(sick, tmp_path)).attributes
    anchors = [f"finding-{k}" for k in range(1, len(sick.findings) + 1)]
    assert [x for name, x in attributes if name == "id"] == anchors
    assert [x for name, x in attributes if name == "href"] == [f"#{x}" for x in anchors]


@pytest.mark.parametrize("decades, price", [(9.06, "9.1\xa0decades"), (math.inf, "a stop"),
                                            (math.nan, ""), (0.04, "")])  # fmt: skip
def test_the_price_is_said_where_there_is_one(decades, price):
    told = report._price(report.Finding("dead", "0", decades=decades))
    assert html.unescape(re.sub("<.*?>", "", told)) == price


def test_a_name_stands_apart_from_numbers():
    assert report._named("2") == "<code>2</code>"
    assert report._named("X, 4 of 4 columns") == "X, 4 of 4 columns"


def cells(table):
    """The rows of a table as lists of texts."""
    found = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", x, re.DOTALL)
             for x in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)]  # fmt: skip
    return [[html.unescape(x).replace("\xa0", " ") for x in row] for row in found]


def test_the_tables(sick, tmp_path):
    page = saved(sick, tmp_path)
    units, ledger, step = map(cells, re.findall(r"<table>(.*?)</table>", page, re.DOTALL))
    ill = [unit for unit in sick.neurons.rows if unit["verdict"]]
    assert [row[:4] for row in units[1:]] == [
        [u["layer"], str(u["neuron"]), u["activation"], u["verdict"]] for u in ill
    ]
    assert "locked" in units[0] and "z from" in units[0]
    assert f"{32 - len(ill)} other neuron" in page
    assert ledger[0][:4] == ["at", "not 0", "decades", "loss"] and ledger[0][-1] == "opposition"
    assert [row[0] for row in ledger[1:]] == ["layers.2", "layers.1", "layers.0"]
    for row in ledger[1:]:
        assert sum(float(x) for x in row[3:] if x) == pytest.approx(float(row[2]), abs=0.04)
    assert [row[0] for row in step[1:]] == sick.step.table["tensor"]


def test_long_names_keep_their_ends_in_a_table(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            setattr(self, "n" * 80, nn.MLP(2, [3, 1], "relu", seed=0))

        def __call__(self, x):
            return getattr(self, "n" * 80)(x)

    X = rows(20, 2)
    page = saved(mx.checkup(Net(), X, X[:, 0]), tmp_path)
    ledger = cells(re.findall(r"<table>(.*?)</table>", page, re.DOTALL)[-1])
    names = [row[0] for row in ledger[1:]]
    assert max(map(len, names)) <= report.LONG
    assert [name[-8:] for name in names] == ["layers.1", "layers.0"]


def test_a_table_leaves_out_what_is_empty_and_counts_the_rest(sick, monkeypatch):
    assert cells(report._table([{"a": "", "b": "1"}, {"a": "", "b": ""}])) == [["b"], ["1"], [""]]
    monkeypatch.setattr(report, "UNITS", 4)
    ill = sum(map(bool, sick.neurons["verdict"]))
    assert f"{ill - 4} more in c.neurons; " in report.page(sick)


def test_a_healthy_net_has_a_short_page(healthy, tmp_path):
    page = saved(healthy, tmp_path)
    text = Parsed(page).text
    assert "Nothing found: every layer's gradient lies within" in text
    assert "Ask further" not in text and text.index("The pictures") < text.index("The ledger")
    assert page.count("<details>") == 1 and page.index("<details>") < page.index("<svg")


def test_what_has_no_gradient_has_no_ledger_and_says_so(tmp_path):
    model, X, y = planted()
    model.layers[2].neurons[0].bias.data = math.nan
    text = Parsed(saved(mx.checkup(model, X, y), tmp_path)).text
    assert "No layer has a gradient that is finite and not 0" in text


@pytest.mark.parametrize("bad", ["<script>alert(1)</script>", "</style>&amp;", '"><b>\x00\u202e'])
def test_names_stay_text(bad, tmp_path):
    class Net(nn.Module):
        def __init__(self):
            setattr(self, bad, nn.MLP(2, [3, 1], activation="relu", seed=0))

        def __call__(self, x):
            return getattr(self, bad)(x)

    Net.__name__ = bad.replace("\x00", "")
    model = Net()
    for p in model.parameters():
        p.data *= 1e-3
    X = rows(20, 2)
    c = mx.checkup(model, X, X[:, 0])
    assert c.findings
    plain = Parsed(saved(c, tmp_path))
    assert "script" not in plain.tags and "b" not in plain.tags
    assert bad.rstrip("\u202e").rstrip("\x00") in plain.text
    face = c._repr_mimebundle_()["text/html"]
    assert "<script" not in face and "</style" not in face and "<b>" not in face
    assert json.loads(saved(c, tmp_path, "it.json"))["findings"][0]["where"].startswith(bad)


def test_a_function_with_nothing_labelled(tmp_path):
    w = mx.Value(0.5)
    X = rows(30, 1)
    assert "Check-up of Function" in saved(mx.checkup(lambda x: (w * x[0]).tanh(), X), tmp_path)


@pytest.mark.parametrize("numbers, words", [((), ""), ((3,), "3"), ((1, 0), "0, 1"),
                                            ((0, 1, 2, 5, 7, 8), "0 … 2, 5, 7, 8")])  # fmt: skip
def test_ranges(numbers, words):
    assert report.ranges(numbers) == words


def test_the_face_in_a_notebook(sick, healthy):
    face = sick._repr_mimebundle_(include=None, exclude=None)
    assert face["text/plain"] == str(sick)
    assert html.escape(str(sick)) in face["text/html"]
    assert face["text/html"].count("data:image/svg+xml;base64,") == 2
    assert not {"script", "style"} & {*Parsed(face["text/html"]).tags}
    assert "img" not in Parsed(healthy._repr_mimebundle_()["text/html"]).tags


# --- files ---------------------------------------------------------------------------------------


def test_the_same_bytes_twice(tmp_path):
    for name in ("it.html", "it.json"):
        one, other = (mx.checkup(*planted()).save(tmp_path / name).read_bytes() for _ in range(2))
        assert one == other


@pytest.mark.parametrize("name, written", [("it", "it.html"), ("it.HTM", "it.HTM"),
                                           ("sub/it.html", "sub/it.html")])  # fmt: skip
def test_where_it_is_written(healthy, name, written, tmp_path):
    assert healthy.save(tmp_path / name) == tmp_path / written
    assert (tmp_path / written).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert healthy.save(str(tmp_path / name)).exists()


@pytest.mark.parametrize("name", ["it.pdf", "it.svg", ".html5.txt"])
def test_another_suffix(healthy, name, tmp_path):
    with pytest.raises(WrongSuffix, match=r"an \.html or a \.json file, got '") as caught:
        healthy.save(tmp_path / name)
    assert name in str(caught.value) and not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["it.html", "it.json"])
def test_a_full_disk_leaves_what_was_there(healthy, name, tmp_path, monkeypatch):
    (tmp_path / name).write_text("before")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        healthy.save(tmp_path / name)
    assert [x.name for x in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "before"


def test_the_figures_come_back(sick, tmp_path):
    found = json.loads(saved(sick, tmp_path, "it.json"))
    assert found["loss"] == sick.loss and found["rows"] == 200
    assert [x["verdict"] for x in found["findings"]] == [f.verdict for f in sick.findings]
    assert [tuple(x["neurons"]) for x in found["findings"]] == [f.neurons for f in sick.findings]
    for name in ("layers", "neurons"):
        for column, values in getattr(sick, name).items():
            back = found[name][column]
            assert [float(x) if x in ("nan", "inf", "-inf") else x for x in back] == [
                pytest.approx(x, nan_ok=True, abs=0) if isinstance(x, float) else x for x in values
            ]
    assert "nan" in found["neurons"]["margin"]


def test_what_is_not_finite_is_a_text(tmp_path):
    model, X, y = planted()
    model.layers[1].neurons[3].weight[2].data = math.nan
    text = saved(mx.checkup(model, X, y), tmp_path, "it.json")

    def refused(constant):
        raise AssertionError(constant)

    found = json.loads(text, parse_constant=refused)
    assert found["loss"] == "nan" and found["layers"]["decades"] == ["-inf"] * 3
    assert found["findings"][0]["decades"] == "nan"
