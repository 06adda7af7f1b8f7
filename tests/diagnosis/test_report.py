"""The report in a file and in a notebook: whole, offline, escaped, the same twice."""

import json
import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

import microgradx as mx
from microgradx import nn, optim
from microgradx._base.files import WrongSuffix
from microgradx.diagnosis import maps, report
from tests.diagnosis.nets import classes, planted, rows

VOID = {"meta", "br", "img"}


class Tags(HTMLParser):
    """The tags that are open, and the text of a page."""

    def __init__(self, page):
        super().__init__()
        self.open, self.text, self.seen = [], "", []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def healthy():
    return mx.checkup(nn.MLP(4, [6, 3], "tanh", init="glorot", seed=0), *classes(50, 4, 3))


def sick():
    model, X, y = planted()
    return mx.checkup(model, X, y, optimizer=optim.SGD(model.parameters(), lr=0.1))


def hostile():
    class Net(nn.Module):
        def __init__(self):
            self.body = {"<script>alert(1)</script>": nn.Layer(3, 5, "relu", seed=0)}
            self.out = nn.Layer(5, 1, None, seed=1)

        def __call__(self, x):
            return self.out(next(iter(self.body.values()))(x))

    model = Net()
    for neuron in next(iter(model.body.values())).neurons[:2]:
        neuron.bias.data = -99.0
    X = rows(30, 3)
    return mx.checkup(model, X, X[:, 0])


def unlabelled():
    w = mx.Value(0.5, "w")
    return mx.checkup(lambda x: (w * x[0]).tanh(), rows(9, 1), np.zeros(9))


def lost():
    model, X, y = planted()
    model.layers[0].neurons[0].weight[0].data = math.nan
    return mx.checkup(model, X, y)


ALL = [healthy, sick, hostile, unlabelled, lost]


@pytest.mark.parametrize("make", ALL)
def test_the_page_is_whole_offline_and_the_same_twice(make, tmp_path):
    c = make()
    path = c.save(tmp_path / "report.html")
    page = path.read_text(encoding="utf-8")
    tags = Tags(page)
    assert page == make().save(tmp_path / "again.html").read_text(encoding="utf-8")
    for finding in c.findings:
        assert finding.verdict in tags.text
        for line in finding.because.split("\n"):
            assert line in tags.text
    links = {x for _, found in tags.seen for name, x in found.items() if name in ("href", "src")}
    assert not links and not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert not any(tag == "script" for tag, _ in tags.seen) and "<script>" not in page
    assert ("Nothing found" in tags.text) == (not c.findings)


@pytest.mark.parametrize("make", ALL)
def test_pictures_are_well_formed_and_say_what_they_show(make):
    c = make()
    for picture in (maps.neurons(c), maps.ledger(c)):
        if picture:
            root = ElementTree.fromstring(picture)
            assert root.tag.endswith("svg") and root.get("aria-label")
            width = float(root.get("viewBox").split()[2])
            for box in root.iter("{http://www.w3.org/2000/svg}rect"):
                x, w = float(box.get("x")), float(box.get("width"))
                assert -0.01 <= x and x + w <= width + 0.01


def test_every_neuron_has_its_cell_and_the_sick_a_mark():
    c = sick()
    root = ElementTree.fromstring(maps.neurons(c))
    hints = [x.text for x in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len(hints) == 32
    assert [hint.split(":")[0] for hint in hints if ": dead" in hint] == ["2", "3", "5", "7", "11"]
    crosses = [*root.iter("{http://www.w3.org/2000/svg}path")]
    assert len(crosses) == 5 + 1  # and one in the legend
    texts = [x.text for x in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "layers.0: 5 dead of 16 (relu)" in texts


def test_the_bars_are_as_long_as_their_numbers():
    c = sick()
    root = ElementTree.fromstring(maps.ledger(c))
    boxes = [x for x in root.iter("{http://www.w3.org/2000/svg}rect") if len(x)]
    sizes = {(hint := x[0].text): float(x.get("width")) for x in boxes}
    scale = max(sizes.values()) / max(abs(float(hint.split()[-1])) for hint in sizes)
    for hint, width in sizes.items():
        assert width == pytest.approx(abs(float(hint.split()[-1])) * scale, abs=0.006 * scale)


def test_a_layer_of_three_thousand_draws_the_sick(monkeypatch):
    monkeypatch.setattr(maps, "DRAWN", 20)
    model, X = nn.MLP(3, [30, 1], "relu", seed=0), rows(40, 3)
    for neuron in model.layers[0].neurons[4:7]:
        neuron.bias.data = -99.0
    picture = maps.neurons(mx.checkup(model, X, X[:, 0]))
    assert picture.count("<title>") == 3 and "only the 3 sick neurons drawn" in picture


def test_the_face_in_a_notebook_needs_no_script():
    c = sick()
    face = c._repr_mimebundle_()
    assert face["text/plain"] == str(c)
    tags = Tags(face["text/html"])
    assert str(c) in tags.text
    assert [tag for tag, _ in tags.seen] == ["pre", "img", "img"]
    assert unlabelled()._repr_mimebundle_()["text/html"].count("<img") == 1


@pytest.mark.parametrize("make", ALL)
def test_figures_for_machines(make, tmp_path):
    c = make()
    found = json.loads(c.save(tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [x["verdict"] for x in found["findings"]] == [x.verdict for x in c.findings]
    assert found["rows"] == len(c.task.X) and found["neurons"]["layer"] == c.neurons["layer"]
    for name, column in found["layers"].items():
        for x, y in zip(column, c.layers[name]):
            assert x == y or str(x) == str(y)


@pytest.mark.parametrize("name", ["report.txt", "report", "report.svg"])
def test_another_suffix_is_refused(name, tmp_path):
    with pytest.raises(WrongSuffix, match="an .html or a .json file, got"):
        healthy().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("before")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("microgradx._base.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        healthy().save(path)
    assert path.read_text() == "before" and len(list(tmp_path.iterdir())) == 1


def test_a_table_has_a_cell_for_every_number():
    page = report.page(sick())
    [table] = re.findall(r"The same as a table</summary>(<table>.*?</table>)", page)
    lines = table.split("<tr>")[1:]
    assert len(lines) == 4 and len({line.count("<t") for line in lines}) == 1
