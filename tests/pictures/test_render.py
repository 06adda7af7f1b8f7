"""Rendering: which program is taken, what is written, and what is said when it can't be."""

import base64
import html
import os
import re
import stat
import sys
import sysconfig
from pathlib import Path
from xml.etree import ElementTree

import pytest

from microgradx._base.files import write_whole  # fmt: skip
from microgradx.engine import Value
from microgradx.pictures import draw
from microgradx.pictures import render as rendering
from microgradx.pictures.markup import width_of
from microgradx.pictures.render import (
    BUNDLED,
    Picture,
    RendererNotFound,
    RenderingFailed,
    find_renderer,
    render,
)
from microgradx.pictures.style import DARK

SOURCE = 'digraph { a -> b [label="é"] }'
PNG = b"\x89PNG\r\n\x1a\n"


def program(path: Path, body: str) -> Path:
    """An executable Python script in place of Graphviz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable} -S\nimport sys\n{body}\n")
    path.chmod(0o755)
    return path


ECHO = "print('<svg>', sys.argv[1:], sys.stdin.read(), '</svg>')"


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """An empty folder of scripts, and an empty PATH: no Graphviz anywhere."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    monkeypatch.setattr(sysconfig, "get_path", lambda *_: str(folder))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return folder


@pytest.fixture
def picture():
    return Picture(SOURCE, "2 nodes")


# --- which program --------------------------------------------------------------------------------


def test_search_order(scripts, tmp_path):
    with pytest.raises(RendererNotFound):
        find_renderer()
    bundled = program(scripts / BUNDLED, ECHO)
    assert find_renderer() == str(bundled)
    dot = program(tmp_path / "path" / "dot", ECHO)
    assert find_renderer() == str(dot)
    assert find_renderer(BUNDLED) == str(bundled)
    other = program(tmp_path / "elsewhere" / "neato", ECHO)
    assert find_renderer(str(other)) == str(other)
    with pytest.raises(RendererNotFound, match="neato"):
        find_renderer("neato")  # not on PATH, and never another in its place


def test_bundled_one_on_path_is_found_too(scripts, tmp_path):
    bundled = program(tmp_path / "path" / BUNDLED, ECHO)
    assert find_renderer() == str(bundled)


def test_bundled_one_in_the_users_scheme(scripts, tmp_path, monkeypatch):
    user = tmp_path / "user"
    bundled = program(user / BUNDLED, ECHO)
    schemes = {f"{os.name}_user": str(user)}
    monkeypatch.setattr(
        sysconfig, "get_path", lambda _, scheme="": schemes.get(scheme, str(scripts))
    )
    assert find_renderer() == str(bundled)


def test_a_file_that_may_not_run_is_no_program(scripts):
    program(scripts / BUNDLED, ECHO).chmod(0o644)
    with pytest.raises(RendererNotFound):
        find_renderer()


@pytest.mark.parametrize("choice", [None, "neato", BUNDLED])
def test_error_says_what_was_tried_and_what_to_install(scripts, choice):
    with pytest.raises(RendererNotFound) as error:
        find_renderer(choice)
    assert f"pip install {BUNDLED}" in str(error.value)
    assert "package manager" in str(error.value)
    assert (choice or "`dot` on PATH") in str(error.value)


def test_picture_uses_its_renderer(scripts, tmp_path):
    chosen = program(tmp_path / "mine", ECHO)
    assert Picture("digraph {}", "", str(chosen)).svg() == "<svg> ['-Tsvg'] digraph {} </svg>\n"
    with pytest.raises(RendererNotFound):
        Picture("digraph {}", "").svg()


def test_program_gets_the_source_in_utf8_and_the_format(scripts):
    body = "sys.stdout.buffer.write(repr((sys.argv[1:], sys.stdin.buffer.read())).encode())"
    program(scripts / BUNDLED, body)
    assert render("é", "svg").decode() == repr((["-Tsvg"], "é".encode()))
    assert render("é", "png").decode() == repr((["-Tpng", "-Gdpi=120"], "é".encode()))


def test_a_frame_that_is_too_much_for_the_usual_ranking_is_ranked_anew(scripts):
    program(scripts / BUNDLED, f"len(sys.argv) < 3 and sys.exit('trouble in init_rank'); {ECHO}")
    assert "'-Tsvg', '-Gnewrank=true'" in render("digraph {}", "svg").decode()


def test_where_helvetica_is_missing_letters_that_are_no_wider_go_first(scripts):
    program(scripts / BUNDLED, """print('<text font-family="Helvetica,sans-Serif">')""")
    assert '"Helvetica,Arial,' in render("digraph {}", "svg").decode()
    assert '"Helvetica,sans-Serif"' in render("digraph {}", "png").decode()


# --- failures -------------------------------------------------------------------------------------

FAILURES = [
    ("sys.exit('syntax error near line 3')", RenderingFailed, "syntax error near line 3"),
    ("print('half a picture'); sys.exit(3)", RenderingFailed, "exit code 3"),
    ("pass", RenderingFailed, "exit code 0"),  # says nothing, makes nothing
    ("import time; time.sleep(30)", RenderingFailed, "smaller part"),
]


@pytest.mark.parametrize("body, kind, said", FAILURES)
@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_failing_program_writes_nothing(
    scripts, tmp_path, picture, monkeypatch, body, kind, said, suffix
):
    if "sleep" in body:
        monkeypatch.setattr(rendering, "SECONDS", 0.4)
    program(scripts / BUNDLED, body)
    target = tmp_path / "out" / f"picture{suffix}"
    with pytest.raises(kind, match=said):
        picture.render(target)
    assert not target.parent.exists()
    assert set(picture._repr_mimebundle_()) == {"text/plain"}


def test_failing_program_leaves_an_older_picture_alone(scripts, tmp_path, picture):
    program(scripts / BUNDLED, "sys.exit(1)")
    target = tmp_path / "picture.svg"
    target.write_text("older")
    with pytest.raises(RenderingFailed):
        picture.render(target)
    assert target.read_text() == "older"


def test_program_that_is_none(scripts, picture):
    (scripts / BUNDLED).write_bytes(b"\x7fELF, but not really")
    (scripts / BUNDLED).chmod(0o755)
    with pytest.raises(RendererNotFound, match="does not run"):
        picture.svg()


def test_without_a_renderer_the_source_is_saved(scripts, tmp_path, picture):
    target = tmp_path / "new" / "picture.svg"
    with pytest.raises(RendererNotFound, match="pip install") as error:
        picture.render(target)
    saved = target.with_suffix(".dot")
    assert str(saved) in str(error.value)
    assert saved.read_text(encoding="utf-8") == SOURCE
    assert os.listdir(target.parent) == ["picture.dot"]


@pytest.mark.parametrize("suffix", [".dot", ".gv"])
def test_source_needs_no_renderer(scripts, tmp_path, picture, suffix):
    path = picture.render(tmp_path / f"p{suffix}")
    assert path.read_text(encoding="utf-8") == SOURCE


# --- notebook -------------------------------------------------------------------------------------


def test_notebook_shows_svg_and_words(picture):
    bundle = picture._repr_mimebundle_(include=None, exclude=None)
    assert bundle["text/plain"] == "<Picture: 2 nodes>" == repr(picture)
    assert ElementTree.fromstring(bundle["image/svg+xml"]).tag.endswith("svg")


def test_notebook_never_raises(scripts, picture):
    bundle = picture._repr_mimebundle_()
    assert set(bundle) == {"text/plain"}
    assert bundle["text/plain"].startswith("<Picture: 2 nodes>")
    assert "pip install" in bundle["text/plain"]


def test_notebook_bears_a_program_that_does_not_speak_utf8(scripts, picture):
    program(scripts / BUNDLED, "sys.stdout.buffer.write(b'<svg>\\xe9</svg>')")
    assert "text/plain" in picture._repr_mimebundle_()


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, written, start",
    [
        ("a.svg", "a.svg", b"<?xml"),
        ("a.png", "a.png", PNG),
        ("a.dot", "a.dot", SOURCE.encode()),
        ("a.gv", "a.gv", SOURCE.encode()),
        ("a", "a.svg", b"<?xml"),
        ("deep/er/a.svg", "deep/er/a.svg", b"<?xml"),
        ("a b é.svg", "a b é.svg", b"<?xml"),
    ],
)
@pytest.mark.parametrize("kind", [str, Path])
def test_suffix_decides(tmp_path, picture, name, written, start, kind):
    path = picture.render(kind(tmp_path / name))
    assert path == tmp_path / written
    assert path.read_bytes().startswith(start)
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [path]


def test_format_is_only_for_paths_without_a_suffix(tmp_path):
    picture = Picture(SOURCE, "", format="png")
    assert picture.render(tmp_path / "a").name == "a.png"
    assert picture.render(tmp_path / "a.svg").read_bytes().startswith(b"<?xml")


def test_svg_and_png(picture):
    assert picture.png().startswith(PNG)
    texts = [each.text for each in ElementTree.fromstring(picture.svg()).iter() if each.text]
    assert "é" in texts


def test_unknown_suffix_fails_and_writes_nothing(tmp_path, picture):
    forms = r"could not make \.xyz: it makes \.svg, \.png, .* and \.dot"
    with pytest.raises(RenderingFailed, match=forms):
        picture.render(tmp_path / "a.xyz")
    assert os.listdir(tmp_path) == []


def test_write_whole_replaces(tmp_path):
    target = tmp_path / "file"
    write_whole(target, b"one")
    write_whole(target, b"two")
    assert target.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["file"]


def test_write_whole_where_a_file_is_in_the_way(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError):
        write_whole(tmp_path / "file" / "below", b"x")
    assert (tmp_path / "file").read_text() == "in the way"
    assert os.listdir(tmp_path) == ["file"]


def test_write_whole_onto_a_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        write_whole(tmp_path / "folder", b"x")
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(tmp_path / "folder") == []


@pytest.mark.parametrize("interruption", [OSError("disk full"), KeyboardInterrupt()])
def test_write_whole_interrupted(tmp_path, monkeypatch, interruption):
    (tmp_path / "file").write_text("older")

    def interrupted(*_):
        raise interruption

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(type(interruption)):
        write_whole(tmp_path / "file", b"newer")
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "older"


def test_write_whole_takes_names_as_long_as_the_system_does(tmp_path):
    name = "n" * 250
    write_whole(tmp_path / name, b"x")
    assert os.listdir(tmp_path) == [name]


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("mask, mode", [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600), (0, 0o666)])
def test_file_modes_follow_the_umask(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_whole(tmp_path / "file", b"x")
        assert os.umask(mask) == mask  # as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_texts_are_as_wide_as_the_layout_reckons_whatever_the_font():
    x = Value(2.0, "a bold name") * 3.0
    x.backward()
    texts = re.findall(r"<text([^>]*)>([^<]*)</text>", draw(x).svg())
    assert len(texts) > 3
    for attributes, text in texts:
        size = float(re.findall(r'font-size="([\d.]+)"', attributes)[0])
        width = float(re.findall(r'textLength="([\d.]+)"', attributes)[0])
        reckoned = width_of(html.unescape(text), size, strong="bold" in attributes)
        assert width == pytest.approx(reckoned, abs=0.06)
    assert width_of("WWW", 10) == pytest.approx(28.32)
    assert width_of("ab", 10, strong=True) == pytest.approx(5.56 + 6.11)


def test_a_dark_scheme_swaps_the_colours_that_are_there():
    x = Value(2.0, "x").relu()
    x.backward()
    svg = draw(x).svg()
    scheme = svg[svg.index("<style>") : svg.index("</style>")]
    for light, dark in DARK.items():
        assert (f'[fill="{light}"]{{fill:{dark}}}' in scheme) == (f'fill="{light}"' in svg)
    assert '[fill="#ffffff"]{fill:#12161b}' in scheme


def test_a_notebook_has_it_no_wider_than_a_cell_and_a_png_beside_it():
    x = Value(2.0, "x").relu()
    x.backward()
    shown = draw(x)._repr_mimebundle_()
    assert "max-width:100%" in shown["image/svg+xml"]
    assert base64.b64decode(shown["image/png"]).startswith(b"\x89PNG")
    assert shown["text/plain"] == repr(draw(x))
    assert x._repr_mimebundle_()["image/svg+xml"] == shown["image/svg+xml"]
    assert Value(1.0)._repr_mimebundle_() == {"text/plain": "Value(data=1, grad=0)"}


def test_a_picture_opens_in_the_browser(monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    x = Value(2.0, "x").relu()
    path = draw(x).show("in words & a picture")
    assert opened == [path.as_uri()]
    page = path.read_text()
    assert "<pre>in words &amp; a picture</pre>" in page and "<svg" in page
