"""The notebooks: they run, their committed outputs are those of a run, a browser shows them.

`python -m tests.docs.test_notebook` runs them and writes their outputs into the files.
"""

import html
import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "demos/lecture.ipynb"
CHECKUP = ROOT / "demos/checkup.ipynb"
RICHEST = ["text/html", "image/svg+xml", "image/png", "text/plain"]  # as JupyterLab prefers them


def executed(path=NOTEBOOK):
    """A notebook with the outputs of a kernel of its own, which imports this very checkout."""
    notebook = nbformat.read(path, 4)
    client = NotebookClient(notebook, timeout=300, record_timing=False)
    client.execute(env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=path.parent)
    notebook.metadata.language_info = {"name": "python"}  # and not the version of this one
    return notebook


@pytest.fixture(scope="module")
def notebook():
    return executed()


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def words(notebook):
    """By cell, the kinds of its outputs and their words, without what differs from run to run."""
    varies = r"(seconds|Page of|loss) \S+"
    cells = []
    for cell in code_cells(notebook):
        printed = "".join([x.text for x in cell.outputs if x.output_type == "stream"])
        shown = [
            (x.output_type, sorted(x.data), re.sub(varies, r"\1", x.data["text/plain"]))
            for x in cell.outputs
            if x.output_type != "stream"
        ]
        cells.append((printed, shown))
    return cells


def test_it_runs_and_its_committed_outputs_are_those_of_a_run(notebook):
    assert words(nbformat.read(NOTEBOOK, 4)) == words(notebook)


def test_it_is_fifteen_cells_run_in_turn_without_an_error(notebook):
    assert len(notebook.cells) == 15
    for found in notebook, nbformat.read(NOTEBOOK, 4):
        nbformat.validate(found)
        cells = code_cells(found)
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
        kinds = {output.output_type for output in outputs(found)}
        assert kinds == {"execute_result", "display_data", "stream"}
        assert {output.name for output in outputs(found) if "name" in output} == {"stdout"}


def test_the_training_shows_one_line_and_says_that_it_is_stuck(notebook):
    shown = [o.data["text/plain"] for o in outputs(notebook) if o.output_type == "display_data"]
    assert len(shown) == 2  # one of each training, whatever its epochs
    trained, stuck = shown
    assert re.fullmatch(r"epoch 200 of 200: loss \S+, seconds \S+", trained)
    assert "8 of 8 neurons are off on all samples" in stuck.replace("\n", " ")


@pytest.fixture(scope="module")
def checkup():
    return executed(CHECKUP)


def shown_last(cell):
    return cell.outputs[-1].data


def test_the_checkup_runs_and_its_committed_outputs_are_those_of_a_run(checkup):
    committed = nbformat.read(CHECKUP, 4)
    nbformat.validate(checkup)
    for found, here in zip(code_cells(checkup), code_cells(committed)):
        assert [x.output_type for x in found.outputs] == [x.output_type for x in here.outputs]
        for one, other in zip(found.outputs, here.outputs):
            if one.output_type == "stream":
                assert one.text == other.text
            elif one.output_type == "execute_result":
                assert one.data["text/plain"] == other.data["text/plain"]


def test_the_checkup_shows_pictures_and_names_the_dead(checkup):
    _, whole, tables, why, trials, again = code_cells(checkup)
    data = shown_last(whole)
    assert data["text/html"].count("<img") == 2 and "dead: layers.0" in data["text/plain"]
    assert "neuron" in tables.outputs[-1].text
    assert "stopped" in shown_last(why)["text/plain"]
    assert "Tried on copies, SGD 0.3" in shown_last(trials)["text/html"]
    assert "Standardised: net.layers.0 12 relu" in again.outputs[-1].text


@pytest.mark.parametrize("path", [NOTEBOOK, CHECKUP], ids=["lecture", "checkup"])
def test_its_file_holds_no_path_and_no_time_of_this_machine(path):
    text = path.read_text(encoding="utf-8")
    for private in (str(ROOT), "/home/", "/root", "/tmp/", "site-packages", "iopub"):
        assert private not in text


def test_what_a_notebook_that_is_not_trusted_keeps_is_words_and_pictures(notebook):
    """JupyterLab drops frames and the shapes of a bare SVG there, and keeps the text in them."""
    for output in outputs(notebook):
        data = output.get("data", {})
        if "image/svg+xml" in data:
            assert data["image/png"]
        elif "text/html" in data and "<iframe" not in data["text/html"]:
            assert "<svg" not in data["text/html"] and "<p" in data["text/html"]


def as_page(notebook):
    """The outputs as a notebook's cells show them, one under the other."""
    parts = []
    for output in outputs(notebook):
        data = output.get("data") or {"text/plain": output.text}
        kind = next(kind for kind in RICHEST if kind in data)
        plain = kind == "text/plain"
        parts.append(f"<pre>{html.escape(data[kind])}</pre>" if plain else data[kind])
    cells = "".join(f'<div class="cell">{part}</div>' for part in parts)
    return f'<!DOCTYPE html><meta charset="utf-8"><title>cells</title>{cells}'


@pytest.mark.some(1)
@pytest.mark.parametrize("width", [900, 400])
def test_a_browser_shows_every_output_no_wider_than_its_cell(notebook, open_page, tmp_path, width):
    file = tmp_path / "cells.html"
    file.write_text(as_page(notebook), encoding="utf-8")
    page = open_page(viewport={"width": width, "height": 900})
    page.goto(file.as_uri())
    cells = page.locator(".cell")
    assert cells.count() == len(outputs(notebook))
    for shown in page.locator(".cell > svg, .cell > img, .cell > iframe").all():
        box = shown.bounding_box()
        assert 300 < box["width"] <= width and box["height"] > 100
    assert page.locator(".cell > svg").count() == 2
    images = page.locator(".cell > img")  # of two explanations, and the curve of the loss
    assert images.count() == 3
    assert all(img.evaluate("x => x.complete && x.naturalWidth > 100") for img in images.all())
    assert page.locator(".cell > pre").first.inner_text().startswith("∂o/∂w2 = 0: stopped")


def test_the_page_in_its_frame_steps(notebook, open_page, tmp_path):
    file = tmp_path / "cells.html"
    file.write_text(as_page(notebook), encoding="utf-8")
    page = open_page(viewport={"width": 900, "height": 900})
    page.goto(file.as_uri())
    frame = page.frame_locator("iframe")
    assert frame.locator("h1").inner_text() == "A neuron with two inputs"
    before = frame.locator("body").inner_text()
    frame.locator("h1").click()
    page.keyboard.press("ArrowRight")
    assert frame.locator("body").inner_text() != before


if __name__ == "__main__":
    for path in NOTEBOOK, CHECKUP:
        nbformat.write(executed(path), path)
