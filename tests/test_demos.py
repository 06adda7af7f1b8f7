"""The demos: each holds its claims and draws, and the gallery is what they draw now."""

import csv
import importlib
import math
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from demos.__main__ import DEMOS, main
from demos.plumbing import SPECIES, check, iris, moons
from microgradx.render import BUNDLED, RendererNotFound, find_renderer

FOLDER = Path(importlib.import_module("demos").__file__).parent
PNG = b"\x89PNG\r\n\x1a\n"

PICTURES = {
    "lecture_neuron": [],
    "micrograd_moons": ["micrograd_moons"],
    "vanishing": ["vanishing", "vanishing_why"],
    "dead_relu": ["dead_relu", "dead_relu_why"],
    "digits": ["digits"],
}
PAGES = ("lecture_neuron", "dead_relu")
SAYS = {
    "micrograd_moons": [
        r"    def forward\(\):\n(        .+\n)*\s*    def backward\(\):\n(        .+\n)*\n",
        r"a step takes .+ ms eagerly, .+ ms replayed: \d{2,} times faster",
        r"holds: their losses differ by at most \S+e-1\d in 100 steps\n",
        r"(  holds: after 100 steps, 100 of 100 points are on their side\n){2}",
    ],
    "digits": [
        r"60 epochs of 1438 digits in \d+\.\d s\n",
        r"holds: it reads (9[789]\.\d|100\.0) % of 359 digits that it has never seen\n",
        r"\n(      [ .:=+*#%@-]{16}      [-+!.]( [-+!.]){7}\n){8}\n",
        r"∂loss/∂pixel\[\d,\d\] = ",
        r"holds: what its 64 edges bring adds up to its gradient",
    ],
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """Each demo's name, with its exit code and the folder it wrote to; run when first asked for."""
    results = {}

    def run(name):
        if name == "digits":
            pytest.importorskip("sklearn")
        if name not in results:
            out = tmp_path_factory.mktemp(name) / "new" / "folder"
            results[name] = main([name, "--out", str(out)]), out
        return results[name]

    return run


@pytest.mark.parametrize("name", DEMOS)
def test_demo_holds_and_draws(ran, name, capfd):
    code, out = ran(name)
    said = capfd.readouterr().out
    assert code == 0
    files = [f"{each}{suffix}" for each in PICTURES[name] for suffix in (".png", ".svg")]
    files += [f"{name}.html"] if name in PAGES else []
    assert sorted(path.name for path in out.iterdir()) == sorted(files)
    for each in PICTURES[name]:
        assert ElementTree.parse(out / f"{each}.svg").getroot().tag.endswith("svg")
        assert (out / f"{each}.png").read_bytes().startswith(PNG)
    assert said.startswith(f"\n=== {name} ===")
    assert "  holds: " in said
    for pattern in SAYS.get(name, []):
        assert re.search(pattern, said), pattern
    assert "\r" not in said  # no progress line where there is no terminal


@pytest.mark.parametrize("name", ["vanishing", "dead_relu"])
def test_gallery_is_current(ran, name):
    try:
        find_renderer(BUNDLED)
    except RendererNotFound as error:
        pytest.skip(f"the gallery is drawn by the bundled renderer: {error}")
    _, out = ran(name)
    committed = FOLDER / "gallery" / f"{name}.svg"
    assert committed.read_bytes() == (out / f"{name}.svg").read_bytes()


def test_the_lecture_page_is_small_and_says_why(ran):
    _, out = ran("lecture_neuron")
    page = (out / "lecture_neuron.html").read_text(encoding="utf-8")
    assert len(page.encode()) <= 60_000
    assert "The input x2 is 0." in page


def test_dead_relu_shows_one_bar(ran):
    _, out = ran("dead_relu")
    texts = [each.text for each in ElementTree.parse(out / "dead_relu.svg").iter() if each.text]
    assert texts.count("STOP") == 1
    assert "starved" in texts


def test_vanishing_shows_each_factor_and_its_ceiling(ran):
    _, out = ran("vanishing")
    texts = [each.text for each in ElementTree.parse(out / "vanishing.svg").iter() if each.text]
    ceilings = [text for text in texts if "≤ 0.25^" in text]
    assert len(ceilings) == 6
    for text in ceilings:
        so_far, n, ceiling = (float(x) for x in (text.split()[3], text.split("^")[1].split()[0],
                                                 text.split()[-1]))  # fmt: skip
        assert so_far < ceiling == pytest.approx(0.25**n, rel=0.05)
    assert len([text for text in texts if "grad falls below" in text]) == 6
    assert not any("STOP" in text for text in texts)


def test_digits_shows_a_pixel_to_the_loss_and_one_bar(ran):
    _, out = ran("digits")
    texts = [each.text for each in ElementTree.parse(out / "digits.svg").iter() if each.text]
    assert texts.count("STOP") == 1
    assert any(re.fullmatch(r"a \d is read as \d: how pixel\[\d,\d\] speaks .*", x) for x in texts)
    assert len([x for x in texts if re.fullmatch(r"\d: \d+%", x)]) >= 2  # of the logits
    assert len([x for x in texts if x == "relu"]) >= 4


def test_digits_without_scikit_learn_say_how_to_get_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "sklearn.datasets", raising=False)
    assert main(["digits", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert len(re.findall(r"^  .*pip install 'microgradx\[demos\]'$", said, re.MULTILINE)) == 1
    assert "holds" not in said and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("names", [["nonsense"], ["vanishing", "nonsense"]])
def test_unknown_demo_lists_those_there_are(names, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*names, "--out", str(tmp_path / "out")])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "nonsense" in said and all(name in said for name in DEMOS)
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert main(["dead_relu", "--out", str(out)]) == 2
        said = capsys.readouterr()
        assert str(out) in said.err and "--out" in said.err
        assert said.out == ""
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_claim_that_fails_stops_the_demo(tmp_path, capsys, monkeypatch):
    demo = importlib.import_module("demos.vanishing")
    monkeypatch.setattr(demo, "run", lambda out: check("water is dry", False))
    assert main(["vanishing", "--out", str(tmp_path)]) == 1
    assert "water is dry" in capsys.readouterr().err


# --- data -----------------------------------------------------------------------------------------


def test_iris_is_fishers():
    names, flowers, species = iris()
    assert names == ["sepal length", "sepal width", "petal length", "petal width"]
    assert len(flowers) == len(species) == 150
    assert [species.count(i) for i in range(3)] == [50, 50, 50]
    means = [math.fsum(column) / 150 for column in zip(*flowers)]
    assert means == pytest.approx([5.843333, 3.057333, 3.758, 1.199333], abs=5e-7)
    assert flowers[0] == [5.1, 3.5, 1.4, 0.2] and SPECIES[species[0]] == "setosa"
    setosa = [flower[2] for flower, kind in zip(flowers, species) if SPECIES[kind] == "setosa"]
    assert max(setosa) == 1.9  # the petals tell it from the others, which begin at 3.0


def test_iris_names_its_source():
    text = (FOLDER / "iris.csv").read_text(encoding="utf-8")
    assert "Fisher" in text and "1936" in text
    rows = list(csv.reader(line for line in text.splitlines() if not line.startswith("#")))
    assert {len(row) for row in rows} == {5}


def test_moons_are_two_half_circles():
    points, sides = moons(100, noise=0.0)
    assert sides.count(1) == sides.count(-1) == 50
    for (x, y), side in zip(points, sides):
        cx, cy = (0, 0) if side < 0 else (1, 0.5)
        assert math.hypot(x - cx, y - cy) == pytest.approx(1)
        assert (y - cy) * side <= 1e-12
    assert moons(seed=1) == moons(seed=1) != moons(seed=2)
