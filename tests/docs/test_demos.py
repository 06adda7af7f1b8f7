"""The demos: each holds its claim and shows it, and the gallery is what they draw now."""

import ast
import contextlib
import csv
import html
import importlib
import io
import math
import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from demos.__main__ import CLAIMS, DEMOS, main
from demos.plumbing import SPECIES, Board, ClaimFails, Item, iris, moons
from microgradx.pictures.render import BUNDLED, RendererNotFound, find_renderer

FOLDER = Path(importlib.import_module("demos").__file__).parent
GALLERY = FOLDER / "gallery"
PNG = b"\x89PNG\r\n\x1a\n"

GRAPHS = {
    "lecture_neuron": [],
    "linear_stack": ["linear_stack", "bent_stack"],
    "relu_is_not_linear": ["relu_is_not_linear"],
    "vanishing": ["vanishing"],
    "no_culprit": ["no_culprit", "culprit"],
    "exploding": ["exploding", "exploding_sigmoids"],
    "dead_relu": ["dead_relu"],
    "one_slope": ["one_slope"],
    "micrograd_moons": ["micrograd_moons"],
    "digits": ["digits"],
    "checkup_digits": ["checkup_digits"],
}
PLOTS = (
    "ramps_and_steps", "bent_lines", "saturation", "tanh_beside_sigmoid", "batch_norm",
    "depth_and_gain",
)  # fmt: skip
PAGES = ("lecture_neuron", "dead_relu")
SHOWN = [name for demo in CLAIMS for name in GRAPHS.get(demo, [])]  # in the gallery
HEAVY = {
    "ramps_and_steps",
    "micrograd_moons",
    "batch_norm",
    "dead_relu",
    "digits",
    "checkup_digits",
    "tanh_beside_sigmoid",
    "bent_lines",
    "depth_and_gain",
}
SAYS = {
    "linear_stack": [r"dy/dx is -1\.75 at all 61 points", r"have 4 slopes"],
    "relu_is_not_linear": [r"f\(-1\) \+ f\(1\) = 1, but f\(-1 \+ 1\) = f\(0\) = 0"],
    "vanishing": [
        r"each of the 12 factors σ′ is at most 0\.25",
        r"6 of them multiply to 1\.5e-04, below 0\.25\^6 = 2\.4e-04",
        r"the first layer learns \d\d,\d{3} times slower than the last",
        r"as residual net \d\.\d times; its loss is 0\.\d\d, not ln 3",
    ],
    "no_culprit": [
        r"none is small: the least is 0\.2247",
        r"their product is 3\.483115610e-07",
        r"of its -6\.46 decades, -6\.02 are the ceiling 0\.25\^10",
    ],
    "exploding": [r"4\^7 = 16,384 × the gradient, exactly", r"2\^6 = 64"],
    "dead_relu": [
        r"after step 31, ReLUs are off on \[150, 0, 0\] of 150 flowers",
        r"layers\.0\[0\] is locked",
        r"one in a second layer, off on 150 too, is revivable",
        r"proved dead for all flowers of such sizes: z ≤ -\d",
    ],
    "batch_norm": [
        r"ReLU's mean is 0\.3989, not 0",
        r"by -1000: 192 ReLUs are dead, or normalised 0\n",
    ],
    "ramps_and_steps": [r"of steps n\^-1\.00", r"of ramps n\^-1\.99; .* 4\.935"],
    "bent_lines": [r"8 ReLUs make \d\d regions, at most 37", r"crosses 1\d of them"],
    "saturation": [r"small, and saturation costs it most", r"in centimetres 0 of 8 go flat"],
    "tanh_beside_sigmoid": [r"tanh needs \d\d epochs, sigmoid 2\d{3}"],
    "one_slope": [r"in \[(0\.4157\d+), \1\]", r"at each of 150 petals"],
    "micrograd_moons": [
        r"    def forward\(\):\n(        .+\n)*\s*    def backward\(\):\n(        .+\n)*",
        r"a step takes .+ ms eagerly, .+ ms replayed: \d{2,} times faster",
        r"holds: their losses differ by at most \S+e-1\d in 100 steps\n",
        r"(  holds: after 100 steps, 100 of 100 points are on their side\n){2}",
    ],
    "checkup_digits": [
        r"dead: layers\.0, \d+ of 64 neurons",
        r"holds: the \d\d ReLUs that it names are those that NumPy finds off",
        r"Tried on copies, SGD 1, batches of 64",
        r"holds: with nudging at step ÷ 10 it reads 9\d%, and \d\d% as it is",
    ],
    "depth_and_gain": [
        r"a net of 17 layers: recorded in \d+\.\d\d s, then 100 draws in \d+\.\d\d s",
        r"holds: all of 162 cells are there",
        r"relu: 0\.0[01]\d decades a layer from mean field, at most 0\.0[0-4]\d\n",
        r"tanh: 0\.0[01]\d decades a layer from mean field, at most 0\.0[0-5]\d\n",
        r"sigmoid: 0\.0[0-3]\d decades a layer from mean field, at most 0\.0[0-5]\d\n",
        r"in short: ReLU, 17 layers: -4\.\d decades .* [+-]0\.\d at He's, \+4\.\d at four times",
    ],
    "digits": [
        r"60 epochs of 1438 digits in \d+\.\d s\n",
        r"holds: it reads (9[789]\.\d|100\.0) % of 359 digits that it has never seen\n",
        r"\n(      [ .:=+*#%@-]{16}      [-+!.]( [-+!.]){7}\n){8}\n",
        r"∂loss/∂pixel\[\d,\d\] = ",
        r"holds: what its 64 edges bring adds up to its gradient",
    ],
}


# These take longest, check themselves, and are run by `python -m demos` in `.ci/run`, too.
ALSO_RUN = {
    "tanh_beside_sigmoid", "micrograd_moons", "batch_norm", "dead_relu", "depth_and_gain",
    "bent_lines", "ramps_and_steps",
}  # fmt: skip


def each(names):
    """As parameters, the heavy ones marked."""
    marks = {
        x: [pytest.mark.slow] * (x in HEAVY) + [pytest.mark.long] * (x in ALSO_RUN) for x in names
    }
    return [pytest.param(x, marks=marks[x]) for x in names]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """By name, a demo's exit code, its folder and what it said; run when first asked for."""
    results = {}

    def run(name):
        if name in ("digits", "checkup_digits"):
            pytest.importorskip("sklearn")
        if name in PLOTS:
            pytest.importorskip("matplotlib")
        if name not in results:
            out = tmp_path_factory.mktemp(name) / "new" / "folder"
            said = io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                code = main([name, "--out", str(out)])
            results[name] = code, out, said.getvalue()
        return results[name]

    return run


def texts_of(path):
    return [each.text for each in ElementTree.parse(path).iter() if each.text]


@pytest.mark.parametrize("name", each(DEMOS))
def test_demo_holds_and_draws(ran, name):
    code, out, said = ran(name)
    assert code == 0
    pictures = GRAPHS.get(name, [name])
    files = [f"{each}{suffix}" for each in pictures for suffix in (".png", ".svg")]
    files += [f"{name}.html"] if name in PAGES else []
    assert sorted(path.name for path in out.iterdir()) == sorted(files)
    for each in pictures:
        assert ElementTree.parse(out / f"{each}.svg").getroot().tag.endswith("svg")
        assert (out / f"{each}.png").read_bytes().startswith(PNG)
    number = f"{CLAIMS.index(name) + 1}. " if name in CLAIMS else ""
    assert said.startswith(f"\n=== {number}")
    assert "  holds: " in said and re.search("\n  in short: .+\n", said)
    for pattern in SAYS.get(name, []):
        assert re.search(pattern, said), pattern
    assert "\r" not in said  # no progress line where there is no terminal


def test_the_path_has_twelve_claims():
    assert len(CLAIMS) == 12
    assert [name for name in DEMOS if name in CLAIMS] == list(CLAIMS)
    assert set(GRAPHS) | set(PLOTS) == set(DEMOS)
    modules = {path.stem for path in FOLDER.glob("*.py")}
    assert modules == {*DEMOS, "__init__", "__main__", "index", "plumbing"}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_is_a_page_of_code(name):
    """Under 60 statements; the claim first, then the question and its answer."""
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert len([x for x in ast.walk(ast.parse(text)) if isinstance(x, ast.stmt)]) < 60
    claim, blank, *answer = importlib.import_module(f"demos.{name}").__doc__.splitlines()
    assert claim.endswith(".") and len(claim) < 100 and not blank
    assert "?" in " ".join(answer)
    assert "matplotlib" not in text


QUOTED = {  # what a demo measures, and the lesson repeats
    "vanishing": r"its loss is (0\.\d\d)",
    "exploding": r"4\^7 = ([\d,]+) ×",
    "dead_relu": r"after step 30, ReLUs are off on \[(\d+), (\d+), (\d+)\]",
    "tanh_beside_sigmoid": r"after (\d+) .* (\d+) with sigmoid; .* centred (\d+), .* steep (\d+)",
    "batch_norm": r"mean is (0\.3989)",
}


@pytest.mark.parametrize("name", each(QUOTED))
def test_the_lesson_repeats_what_was_measured(ran, name):
    """Within 2 %: the number of an epoch may differ from one processor to the next."""
    lesson = (FOLDER / "README.md").read_text(encoding="utf-8")
    section = lesson.split(f"({name}.py)")[1].split("\n## ")[0]
    told = [float(x.replace(",", "")) for x in re.findall(r"\d[\d,]*(?:\.\d+)?", section)]
    for number in re.search(QUOTED[name], ran(name)[2]).groups():
        measured = float(number.replace(",", ""))
        assert any(math.isclose(measured, x, rel_tol=0.02) for x in told), number


@pytest.mark.parametrize("name", ["saturation"])  # all say so by one function
def test_without_matplotlib_the_numbers_are_there(name, tmp_path, capsys, monkeypatch):
    for module in [module for module in sys.modules if module.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main([name, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert len(re.findall(r"^  .*pip install '\.\[plot\]'$", said, re.MULTILINE)) == 1
    assert "  holds: " in said and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", each(SHOWN))
def test_gallery_is_current(ran, name):
    try:
        find_renderer(BUNDLED)
    except RendererNotFound as error:
        pytest.skip(f"the gallery is drawn by the bundled renderer: {error}")
    [demo] = [demo for demo, graphs in GRAPHS.items() if name in graphs]
    _, out, _ = ran(demo)
    assert (GALLERY / f"{name}.svg").read_bytes() == (out / f"{name}.svg").read_bytes()


@pytest.mark.parametrize("name", each(PLOTS))
def test_the_plots_of_the_gallery_are_current(ran, name):
    """Of the same matplotlib: others place text elsewhere. In `saturation`, what the processor
    rounds otherwise grows to what can be seen: there only another kind of picture is noticed."""
    _, out, _ = ran(name)
    import matplotlib
    from matplotlib.testing.compare import compare_images

    committed = (GALLERY / f"{name}.png").read_bytes()
    if f"Matplotlib version{matplotlib.__version__}," not in committed[:300].decode("latin-1"):
        pytest.skip(f"the gallery is plotted by another matplotlib than {matplotlib.__version__}")
    ours = out / "gallery.png"
    ours.write_bytes(committed)
    tolerance = 20 if name == "saturation" else 1
    difference = compare_images(str(ours), str(out / f"{name}.png"), tol=tolerance)
    ours.unlink()
    assert difference is None


def test_saturation_plots_every_neuron_and_both_trainings(tmp_path, monkeypatch):
    """Its picture differs from one processor to the next, so what is on it is looked at."""
    figure = pytest.importorskip("matplotlib.figure").Figure()
    left, right = figure.subplots(1, 2)
    monkeypatch.setattr(Board, "plot", lambda board, name, paint, *_: paint(left, right))
    importlib.import_module("demos.saturation").run(Board(tmp_path, loud=False))
    [marks] = [each for each in left.collections if hasattr(each, "get_offsets")
               and len(each.get_offsets()) == 8]  # fmt: skip
    steps = marks.get_offsets()[:, 0]
    assert 2 < min(steps) and max(steps) < 100
    assert [line.get_label() for line in right.lines] == [
        "in millimetres", "in centimetres", "half have gone flat",
    ]  # fmt: skip
    mm, cm, half = (line.get_data() for line in right.lines)
    assert len(mm[1]) == len(cm[1]) == 1000 and mm[1][-1] > 3 * cm[1][-1]
    assert min(steps) <= half[0][0] <= max(steps)


def test_the_gallery_holds_nothing_else():
    files = {f"{name}.svg" for name in SHOWN} | {f"{name}.png" for name in PLOTS}
    assert {path.name for path in GALLERY.glob("*.*g")} == {*files, "lecture_neuron.png"}


def test_the_lecture_page_is_small_and_says_why(ran):
    _, out, _ = ran("lecture_neuron")
    page = (out / "lecture_neuron.html").read_text(encoding="utf-8")
    assert len(page.encode()) <= 80_000
    assert "The input x2 is 0." in page


@pytest.mark.long
def test_dead_relu_shows_one_bar(ran):
    _, out, _ = ran("dead_relu")
    texts = texts_of(out / "dead_relu.svg")
    assert texts.count("STOP") == 1
    assert "starved" in texts


def test_vanishing_shows_each_factor_and_its_ceiling(ran):
    _, out, _ = ran("vanishing")
    texts = [text.strip() for text in texts_of(out / "vanishing.svg")]
    slopes = [float(text[1:]) for text in texts if re.fullmatch("×0\\.[0-2][0-9]+", text)]
    splits = [re.fullmatch(r"weights ×(.+) · slopes ×(.+)", text) for text in texts]
    factors = [(float(split[1]), float(split[2])) for split in splits if split]
    assert len(factors) == 6
    for weights, slope in factors:
        assert slope < 0.25
        assert any(x == pytest.approx(weights * slope, rel=0.01) for x in found_factors(texts))
    assert len([x for x in slopes if x <= 0.25]) >= 12
    assert "×0.25 a layer: all that its slopes let through" in " ".join(texts)
    assert not any("STOP" in text for text in texts)


def found_factors(texts):
    return [float(text[1:]) for text in texts if re.fullmatch(r"×[\d.e-]+", text)]


def test_one_edge_of_ten_is_the_culprit(ran):
    _, out, _ = ran("no_culprit")
    assert "culprit" not in " ".join(texts_of(out / "no_culprit.svg"))
    assert [text.strip() for text in texts_of(out / "culprit.svg")].count("culprit") == 1


def test_the_linear_stack_has_nothing_that_could_stop(ran):
    _, out, _ = ran("linear_stack")
    assert "STOP" not in texts_of(out / "linear_stack.svg")
    assert "relu" not in texts_of(out / "linear_stack.svg")
    assert "STOP" in texts_of(out / "bent_stack.svg")


@pytest.mark.slow
def test_digits_shows_a_pixel_to_the_loss_and_one_bar(ran):
    _, out, _ = ran("digits")
    texts = texts_of(out / "digits.svg")
    assert texts.count("STOP") == 1
    assert any(re.fullmatch(r"a \d is read as \d: how pixel\[\d,\d\] speaks .*", x) for x in texts)
    assert len([x for x in texts if re.fullmatch(r"\d: \d+%", x)]) >= 2  # of the logits
    assert len([x for x in texts if x == "relu"]) >= 4


@pytest.mark.parametrize("name", ["digits", "checkup_digits"])
def test_without_scikit_learn_it_says_how_to_get_it(name, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "sklearn.datasets", raising=False)
    assert main([name, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert len(re.findall(r"^  .*pip install '\.\[demos\]'$", said, re.MULTILINE)) == 1
    assert "holds" not in said and list(tmp_path.iterdir()) == []


# --- all of them ----------------------------------------------------------------------------------


class Links(HTMLParser):
    """The links of a page, and the ids on it."""

    def __init__(self, text):
        super().__init__()
        self.to, self.ids = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.to += [found[name] for name in ("href", "src") if name in found]
        self.ids += [found["id"]] if "id" in found else []


@pytest.fixture
def few(monkeypatch):
    names = ("lecture_neuron", "relu_is_not_linear", "saturation", "one_slope")
    monkeypatch.setattr("demos.__main__.DEMOS", names)
    return names


@pytest.mark.slow
def test_all_of_them_leave_a_table_and_a_page(few, tmp_path, capsys):
    assert main(["--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for i, name in enumerate(few, 1):
        assert re.search(rf"^\[ {i}/4\] {name} +\d+\.\d s, \d+ hold$", said, re.MULTILINE)
    table = said.split("\n\n", 1)[1]
    assert max(map(len, table.splitlines()[:-1])) <= 80
    assert re.search(r"^2\. ReLU is not linear\. +f\(-1\) \+ f\(1\) = 1", table, re.MULTILINE)
    assert "holds:" not in said and str(tmp_path / "index.html") in said

    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    links = Links(page)
    assert [each for each in links.ids if each in few] == list(few)
    for link in links.to:
        assert link[1:] in links.ids if link.startswith("#") else (tmp_path / link).exists(), link
    assert {"lecture_neuron.html", "relu_is_not_linear.svg"} <= set(links.to)
    for name in few:
        code = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
        assert html.escape(code) in page
    for before, after in zip(few, few[1:]):
        section = page.split(f'<section id="{after}">')[1].split("</section>")[0]
        assert f'href="#{before}"' in section
        section = page.split(f'<section id="{before}">')[1].split("</section>")[0]
        assert f'href="#{after}"' in section
    assert "in mm 8 of 8 go flat" in page
    assert "http://" not in page and "https://" not in page


@pytest.mark.parametrize("names", [["relu_is_not_linear"], ["no_culprit", "one_slope"]])
def test_a_reader_who_stops_and_a_terminal_without_greek(names, tmp_path):
    command = [sys.executable, "-m", "demos", *names, "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    process = subprocess.Popen(command, cwd=FOLDER.parent, stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.PIPE, env=environment)  # fmt: skip
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr.read() == ""
    process.stderr.close()


def test_a_claim_can_be_asked_for_by_its_number(tmp_path, capsys):
    assert main(["2", "--out", str(tmp_path)]) == 0
    assert "=== 2. ReLU is not linear. ===" in capsys.readouterr().out


@pytest.mark.parametrize("names", [["nonsense"], ["vanishing", "nonsense"], ["13"], ["0"]])
def test_unknown_demo_lists_those_there_are(names, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*names, "--out", str(tmp_path / "out")])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert names[-1] in said and all(name in said for name in DEMOS)
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_way(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert main(["dead_relu", "--out", str(out)]) == 2
        said = capsys.readouterr()
        assert str(out) in said.err and "--out" in said.err
        assert said.out == ""
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.slow
@pytest.mark.some(1)
@pytest.mark.parametrize("names", [["relu_is_not_linear", "one_slope"], []])
def test_a_claim_that_fails_is_told_and_the_others_go_on(names, few, tmp_path, capsys, monkeypatch):
    demo = importlib.import_module("demos.relu_is_not_linear")
    monkeypatch.setattr(demo, "run", lambda board: board.check("1 < 0", False))
    assert main([*names, "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert said.count("FAILED: 1 < 0") == (1 if names else 2)  # its line, and the table
    assert "b = 0.4158" in said and (tmp_path / "one_slope.svg").exists()
    if not names:
        line = r"^\[ 2/4\] relu_is_not_linear +\d\.\d s, 0 hold; FAILED: 1 < 0$"
        assert re.search(line, said, re.M)
        page = (tmp_path / "index.html").read_text(encoding="utf-8")
        assert page.count("FAILED: 1 &lt; 0") == 2  # in the contents, and in its section


@pytest.mark.slow
def test_what_could_not_be_shown_is_told_in_its_line(few, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "saturation" in said and "no plot saturation: pip install '.[plot]'\n" in said
    assert said.count("pip install") == 1


def test_a_terminal_gets_no_training_noise_and_no_line_too_long(tmp_path, monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["vanishing", "--out", str(tmp_path / "x")]) == 0
    lines = screen.getvalue().splitlines()
    lines = [line for line in lines if str(tmp_path) not in line]
    assert max(map(len, lines)) < 80 and len(lines) > 30
    assert not any("epoch" in line for line in lines)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT to send to one process")
def test_ctrl_c_ends_them_all(tmp_path):
    """Also while a net is trained, which by itself would end its training and go on."""
    command = [sys.executable, "-u", "-m", "demos", "tanh_beside_sigmoid", "--out", str(tmp_path)]
    process = subprocess.Popen(command, cwd=FOLDER.parent, stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.PIPE)  # fmt: skip
    assert "tanh" in "".join(process.stdout.readline() for _ in range(2))
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    said, error = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert "stopped by Ctrl-C" in error and "Traceback" not in error and "in short" not in said


def test_a_board_keeps_what_is_put_on_it(tmp_path, capsys):
    board = Board(tmp_path, loud=False)
    board.say("two", "lines")
    board.check("1 + 1 = 2", True)
    board.lack("no plot x", "plot")
    missing = "no plot x: pip install '.[plot]'"
    assert board.items == [
        Item("words", "two\nlines"), Item("claim", "1 + 1 = 2"), Item("missing", missing),
    ]  # fmt: skip
    with pytest.raises(ClaimFails, match="1 = 2"):
        board.check("1 = 2", False)
    assert len(board.items) == 3 and capsys.readouterr().out == ""


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
