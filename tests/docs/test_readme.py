"""The pages are true: every snippet runs, every link leads somewhere, figures stand once."""

import doctest
import re
from pathlib import Path

import pytest

import microgradx
import microgradx as mx
from demos.__main__ import CLAIMS
from microgradx import optim
from microgradx.explain import verdicts
from microgradx.nn import layers
from microgradx.pictures.render import BUNDLED, find_renderer
from tests.pictures.test_screen import LARGEST, LIFT

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "CONTRIBUTING.md"
README, LESSON, BENCH = ROOT / "README.md", ROOT / "demos/README.md", ROOT / "tests/bench/README.md"
PAGES = [README, GUIDE, LESSON, BENCH, ROOT / "demos/debugging.md"]


def text_of(page):
    return page.read_text(encoding="utf-8")


@pytest.mark.usefixtures("temporary_ops")
def test_snippets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(README), module_relative=False)
    assert tried > 20
    assert failed == 0
    if find_renderer() == find_renderer(BUNDLED):
        assert (tmp_path / "first.svg").read_text() == text_of(ROOT / "demos/first.svg")


def test_the_pictures_of_the_readme_can_be_read_in_a_column():
    """Nine pixels of text at least, where a picture is fitted into 900 pixels."""
    pictures = re.findall(r"\]\(([^)]+\.svg)\)", text_of(README))
    assert len(pictures) > 1
    for picture in pictures:
        svg = text_of(ROOT / picture)
        width = float(re.findall(r'<svg width="([\d.]+)pt"', svg)[0])
        sizes = [float(size) for size in re.findall(r'font-size="([\d.]+)"', svg)]
        smallest = min(size for size in sizes if size >= LIFT)
        assert smallest * min(900 / width, LARGEST) >= 9, picture
        assert "prefers-color-scheme:dark" in svg


def test_the_readme_has_less_than_a_thousand_words():
    prose = re.sub(r"```.*?```", "", text_of(README), flags=re.S)
    prose = re.sub(r"^\|.*$", "", prose, flags=re.M)  # tables
    assert len(prose.split()) < 1000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", text_of(page), flags=re.S)
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
    for link in links:
        if link.startswith("#"):
            assert link[1:] in anchors, link
        elif not link.startswith("https://"):
            assert (page.parent / link).exists(), link


def test_the_figures_are_those_of_the_bench_page():
    """The README shows some rows of a table that is kept whole in one place."""
    figure = r"(?<![\d.])[\d,.]*\d (?:ns|µs|ms|s)\b"
    section = text_of(README).split("## How fast")[1].split("\n## ")[0]
    shown = set(re.findall(figure, section))
    assert len(shown) > 15
    assert shown <= set(re.findall(figure, text_of(BENCH)))


def test_the_lesson_has_every_claim_in_order_and_90_minutes():
    headings = re.findall(r"^## (.*) \((\d+) minutes\)(.*)$", text_of(LESSON), re.M)
    assert sum(int(minutes) for _, minutes, _ in headings) == 90
    numbers = [re.match(r"(\d+)\. ", title) for title, _, _ in headings]
    assert [int(number[1]) for number in numbers if number] == list(range(1, 13))
    scripts = [re.findall(r"\((\w+)\.py\)", rest)[0] for _, _, rest in headings]
    assert scripts == ["lecture_neuron", *CLAIMS]


def test_the_lesson_shows_the_whole_gallery():
    shown = set(re.findall(r"gallery/(\w+\.\w+)", text_of(LESSON)))
    assert shown == {path.name for path in (ROOT / "demos/gallery").glob("*.*g")}


def test_the_guides_optimiser_and_layer_train():
    names = {**vars(optim), **vars(layers)}
    for block in re.findall(r"```python\n(class .*?)```", text_of(GUIDE), re.S):
        exec(block, names)
    scale = names["Scale"](2)
    optimizer = names["RMSprop"](scale.parameters(), lr=0.05)
    assert next(scale.named_parameters())[0] == "weight[0]"

    def score(x):
        return microgradx.sum(scale(x))

    xs, ys = [[1.0, 2.0], [3.0, -1.0], [0.5, 0.5]], [4.0, 5.0, 1.5]
    scores = [score(x) for x in xs]
    microgradx.nn.mse_loss(scores, ys).backward()
    before = scale.weight[0].data
    optimizer.step()
    assert scale.weight[0].data != before
    history = microgradx.fit(scale, xs, [[2 * a, 3 * b] for a, b in xs],
                             loss="mse", optimizer=optimizer, epochs=200)  # fmt: skip
    assert history[-1].loss < 0.1 * history[0].loss


@pytest.mark.usefixtures("temporary_ops")
def test_the_guides_own_op_and_verdict_work():
    op, verdict = re.findall(r"```python\n(.*?)```", text_of(GUIDE), re.S)[:2]
    exec(op, {})
    assert mx.softsign(3.0).data == 0.75 and mx.Value(1e200).softsign().data == 1.0
    scope = dict(vars(verdicts))
    exec(verdict, scope)
    y = x = mx.Value(1.0)
    for _ in range(1200):
        y = y * 1.0
    assert scope["_noisy"](mx.why(x, y)).causes == ["many roundings"]
    assert scope["_noisy"](mx.why(y, y)) is None and scope["_noisy"](mx.why(mx.Value(1), y)) is None
