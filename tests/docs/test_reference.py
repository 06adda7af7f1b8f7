"""The API reference is built without a warning, has a text for every name, and no dead link."""

import html
import os
import re
import runpy
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urldefrag

import pytest

import microgradx as mx
from microgradx import rules

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "reference.py"


class Read(HTMLParser):
    """The links of a page, its anchors, and the text below each."""

    def __init__(self, page):
        super().__init__()
        self.links, self.anchors, self.texts = [], [], {}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if tag == "a" and "href" in found else []

    def handle_data(self, data):
        anchor = self.anchors[-1] if self.anchors else ""
        self.texts[anchor] = self.texts.get(anchor, "") + data


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages by their paths, as the command that CONTRIBUTING.md names makes them."""
    folder = tmp_path_factory.mktemp("reference")
    command = [sys.executable, str(SCRIPT), str(folder)]
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **paths}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{folder / 'index.html'}\n"
    return {path: Read(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}


def text_of(pages, name, anchor=None):
    """The text below an anchor of a page, or the whole page's."""
    [page] = [page for path, page in pages.items() if path.as_posix().endswith(f"/{name}.html")]
    texts = page.texts.values() if anchor is None else [page.texts.get(anchor, "")]
    return " ".join("".join(texts).split())


def words_of(docstring):
    """The first line of a docstring, as it reads without its marks."""
    return " ".join(html.unescape(docstring).strip().splitlines()[0].replace("`", "").split())


@pytest.mark.slow
def test_there_is_no_dead_link(pages):
    local = 0
    for path, page in pages.items():
        for link in page.links:
            file, anchor = urldefrag(link)
            if re.match(r"https?:", file):
                continue
            target = (path.parent / file).resolve() if file else path
            assert target in pages and (not anchor or anchor in pages[target].anchors), link
            local += 1
    assert local > 500
    assert not any("@public" in text for page in pages.values() for text in page.texts.values())


@pytest.mark.slow
def test_every_public_name_has_its_text(pages):
    for name in mx.__all__:
        thing = getattr(mx, name)
        if type(thing) is type(mx):
            assert words_of(thing.__doc__) in text_of(pages, thing.__name__.replace(".", "/"))
        elif name == "__version__":
            assert "version of the package" in text_of(pages, "microgradx", name)
        else:
            assert words_of(thing.__doc__) in text_of(pages, "microgradx", name), name


@pytest.mark.slow
def test_every_op_has_its_text(pages):
    for name, rule in rules.TABLE.items():
        assert words_of(rule.__doc__) in text_of(pages, "microgradx", name), name
        if not rule.lists:
            assert words_of(rule.__doc__) in text_of(pages, "microgradx", f"Value.{name}"), name


@pytest.mark.slow
def test_the_output_is_not_committed():
    ignored = ["git", "check-ignore", "build/reference/index.html"]
    assert subprocess.run(ignored, cwd=ROOT, capture_output=True).returncode == 0
    assert "docs/reference.py" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("docstring, markdown", [
    ("Hands on.\n\nx:    a number\none, other: two\n      of them",
     "Hands on.\n\n\n- **x**: a number\n- **one, other**: two\n  of them"),
    ("**rest: more\nThen on.", "\n- **\\*\\*rest**: more\n\nThen on."),
    ("[a, b]: a list", "\\[a, b]: a list"),
    ("Sizes are these:\n    x = 1", "Sizes are these:\n    x = 1"),
])  # fmt: skip
def test_aligned_fields_are_a_list(docstring, markdown):
    as_markdown = runpy.run_path(str(SCRIPT))["as_markdown"]
    assert as_markdown(docstring) == markdown
