"""The command line, as a function and as a program."""

import configparser
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest

import microgradx as mx
from microgradx import __version__, rules
from microgradx.__main__ import ScriptFailed, main, value_of

SCRIPT = """
from microgradx import Value
x = Value(-2.0, "x")
y = x.relu()
loss = y * 3
loss.backward()
number = 3.0
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """A function that writes a script in the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(text=SCRIPT, name="script.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
        return name

    return write


def program(*arguments, **environment):
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    return subprocess.run(
        [sys.executable, "-m", "microgradx", *arguments],
        env={**os.environ, "PYTHONPATH": paths, "PYTHONIOENCODING": "utf-8", **environment},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )


def test_ops_lists_every_row(capsys):
    assert main(["ops"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(rules.TABLE)
    for line, rule in zip(lines, rules.TABLE.values()):
        assert line.startswith(f"{rule.name}({', '.join(rule.operands)}) ")
        assert f" {rule.kind} " in line and line.endswith(rule.__doc__)
        assert len(line) <= 80


@pytest.mark.parametrize("name, nodes", [("", 3), (":loss", 3), (":y", 2), (":x", 1)])
@pytest.mark.parametrize("out", [None, "new/picture.svg", "picture.dot", "picture.png"])
def test_draw_writes(script, capsys, name, nodes, out):
    file = script()
    assert main(["draw", file + name, *(["--out", out] if out else [])]) == 0
    said = capsys.readouterr()
    written = out or "script.svg"
    assert said.out.startswith(f"{written.replace('/', os.sep)}: {nodes} node")
    assert ("STOP at relu" in said.out) is (nodes > 1)
    assert said.err == ""
    assert os.path.getsize(written) > 100
    if written.endswith("svg"):
        ElementTree.parse(written)


@pytest.mark.parametrize("name", ["nonsense", "number", ""])
def test_wrong_name_lists_those_there_are(script, capsys, name):
    file = script(SCRIPT.replace("loss", "cost"))
    assert main(["draw", f"{file}:{name}"]) == 2
    said = capsys.readouterr()
    assert f"no Value named {name or 'loss'}; there are x, y, cost" in said.err
    assert said.out == "" and os.listdir() == ["script.py"]


def test_script_without_a_value(script, capsys):
    assert main(["draw", script("x = 1")]) == 2
    assert "it leaves no Value at all" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["nowhere.py", "nowhere.py:loss", ".", ""])
def test_missing_file(script, capsys, missing):
    assert main(["draw", missing]) == 2
    said = capsys.readouterr()
    assert f"there is no script {missing.partition(':')[0]}" in said.err
    assert said.out == "" and os.listdir() == []


def test_a_script_that_raises_prints_its_own_traceback_only(script):
    file = script("def f():\n    return 1 / 0\nprint('before')\nf()\n")
    done = program("draw", file)
    assert done.returncode == 1
    assert done.stdout == "before\n"
    lines = done.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "ZeroDivisionError: division by zero"
    frames = [line.strip().split(",")[0] for line in lines if line.startswith("  File")]
    assert frames == [f'File "{file}"'] * 2
    assert os.listdir() == [file]


def test_a_script_that_is_no_python(script):
    done = program("draw", script("x = = 1\n"))
    assert done.returncode == 1
    assert "SyntaxError" in done.stderr and "runpy" not in done.stderr


def test_a_script_runs_as_one(script):
    values = "import microgradx as mx\nif __name__ == '__main__':\n    loss = mx.Value(2.0)\n"
    assert value_of(script(values), "loss").data == 2.0
    with pytest.raises(ScriptFailed):
        value_of(script("1 / 0"), "loss")
    with pytest.raises(LookupError):
        value_of("nowhere.py", "loss")


def test_a_script_imports_its_neighbours(script):
    script("from microgradx import Value\nx = Value(1.0)\n", "below/neighbour_of_script.py")
    file = script("from neighbour_of_script import x\nloss = x * 2\n", "below/script.py")
    done = program("draw", file)
    assert done.returncode == 0, done.stderr


def test_a_script_that_exits_is_not_passed_over(script):
    done = program("draw", script(SCRIPT + "raise SystemExit(0)\n"))
    assert os.path.exists("script.svg") or (done.returncode and done.stderr)


def test_a_path_may_have_a_colon(script):
    file = script(name="a:b.py")
    assert main(["draw", f"{file}:loss", "-o", "picture.svg"]) == 0


def test_an_empty_out_is_refused(script, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["draw", script(), "--out", ""])
    assert capsys.readouterr().err


@pytest.mark.parametrize("out", ["file/picture.svg", "folder.svg", "picture.nonsense"])
def test_what_cannot_be_written(script, capsys, out):
    file = script()
    script("in the way", "file")
    os.mkdir("folder.svg")
    assert main(["draw", file, "--out", out]) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) >= 1
    assert sorted(os.listdir()) == ["file", "folder.svg", "script.py"]
    assert os.listdir("folder.svg") == []


def test_a_page_is_no_picture(script, capsys):
    assert main(["page", script(), "--out", "page.png"]) == 2
    assert capsys.readouterr().err.startswith("a page is saved as .html, got 'page.png'")
    assert os.listdir() == ["script.py"]


def test_without_a_renderer(script, capsys, monkeypatch, tmp_path):
    file = script()
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    monkeypatch.setattr(sysconfig, "get_path", lambda *_: str(tmp_path / "nowhere"))
    assert main(["draw", file]) == 2
    said = capsys.readouterr()
    assert "pip install graphviz-pure" in said.err and "script.dot" in said.err
    assert sorted(os.listdir()) == ["script.dot", "script.py"]


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["draw"], ["draw", "a.py", "b.py"]])
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: microgradx" in capsys.readouterr().err


def test_as_a_program(script):
    file = script()
    done = program("draw", f"{file}:y", "-o", "y.svg")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "y.svg: 2 nodes, 1 edge; STOP at relu; 1 starved behind it\n"
    assert program("draw", f"{file}:nonsense").returncode == 2
    assert program("ops").stdout.count("\n") == len(rules.TABLE)


def test_the_version_has_one_source(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"microgradx {__version__}\n"
    assert program("--version").stdout == f"microgradx {__version__}\n"
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[1] / "setup.cfg", encoding="utf-8")
    assert setup["metadata"]["version"] == "attr: microgradx.__version__"


def test_ops_on_a_terminal_without_unicode():
    done = program("ops", PYTHONIOENCODING="cp1252")
    assert done.returncode == 0, done.stderr


# --- why, and what is opened ----------------------------------------------------------------------

NET = """
from microgradx import nn
model = nn.MLP(2, [2, 1], seed=1)
loss = nn.mse_loss([model([1.0, 2.0]), model([-1.0, 1.0])], [0.0, 1.0])
loss.backward()
"""


@pytest.fixture
def opened(monkeypatch):
    """The addresses that the browser is asked to show; there is one while it says so."""
    addresses = []
    monkeypatch.setattr("webbrowser.open", lambda url: addresses.append(url) or True)
    return addresses


@pytest.mark.parametrize("target, node", [("", "x"), (":loss", "x"), (":y", "x"), ("", "y")])
def test_why_says_what_the_explanation_says(script, capsys, target, node):
    file = script()
    assert main(["why", file + target, node]) == 0
    said = capsys.readouterr()
    left = {}
    exec(SCRIPT, left)
    output = left[target[1:] or "loss"]
    assert said.out == f"{mx.why(left[node], output)}\n" and said.err == ""
    assert os.listdir() == [file]


def test_why_of_a_node_by_its_label(script, capsys):
    file = script(NET)
    assert main(["why", file, "layers.1.weight[0,1]"]) == 0
    assert "/∂layers.1.weight[0,1] = " in capsys.readouterr().out
    assert main(["why", file, "layers.1[0]"]) == 2
    assert "2 nodes are labelled layers.1[0]" in capsys.readouterr().err
    assert main(["why", file, "layers.9\x1b[0m"]) == 2
    assert "no Value named layers.9\ufffd[0m; there are loss" in capsys.readouterr().err


@pytest.mark.parametrize("out, written", [("why.html", "why.html"), ("new/why", "new/why.html")])
def test_why_saves_a_page(script, capsys, out, written):
    assert main(["why", script(), "x", "--out", out]) == 0
    assert capsys.readouterr().out.endswith(f"\n{written.replace('/', os.sep)}\n")
    page = Path(written).read_text(encoding="utf-8")
    assert "stopped – relu off" in page and "<svg" in page


@pytest.mark.parametrize("command, made", [
    (["draw", "script.py"], "script.svg"), (["draw", "script.py", "-o", "a.png"], "a.png"),
    (["page", "script.py"], "script.html"), (["why", "script.py", "x", "-o", "a.html"], "a.html"),
    (["why", "script.py", "x"], "shown.html"),
])  # fmt: skip
def test_open_shows_what_was_made(script, opened, tmp_path, monkeypatch, command, made):
    script()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(command) == 0 and opened == []
    assert main([*command, "--open"]) == 0
    [address] = opened
    assert address.startswith("file:///") and address.endswith(f"/{made}")
    assert Path(unquote(urlsplit(address).path)).stat().st_size > 100


def test_without_a_browser_the_file_is_named(script, capsys, monkeypatch):
    monkeypatch.setattr("webbrowser.open", lambda url: False)
    assert main(["page", script(), "--open"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "script.html\n", "there is no browser to open script.html with\n"
    )  # fmt: skip


def test_a_page_shows_itself(opened, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    page = mx.page(mx.Value(2.0, "\ud800") * 3)
    file = page.show()
    assert opened == [file.as_uri()]
    assert file.read_text(encoding="utf-8") == page


# --- page and step ------------------------------------------------------------------------------


@pytest.mark.parametrize("out, written", [
    (None, "script.html"), ("new/page.html", "new/page.html"), ("page", "page.html"),
])  # fmt: skip
def test_page_writes(script, capsys, out, written):
    file = script()
    assert main(["page", f"{file}:y", *(["-o", out] if out else [])]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == (f"{written.replace('/', os.sep)}\n", "")
    with open(written, encoding="utf-8") as page:
        assert page.read().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("command", ["draw", "page", "step", "why"])
def test_every_command_refuses_alike(script, capsys, command):
    more = ["x"] if command == "why" else []
    assert main([command, script(SCRIPT.replace("loss", "cost")), *more]) == 2
    assert main([command, "nowhere.py", *more]) == 2
    said = capsys.readouterr()
    assert said.err == (
        "script.py leaves no Value named loss; there are x, y, cost\n"
        "there is no script nowhere.py\n"
    )
    assert said.out == "" and os.listdir() == ["script.py"]


@pytest.mark.parametrize("command", ["page", "step"])
@pytest.mark.parametrize("what", ["1 / 0", "raise KeyboardInterrupt", "raise BrokenPipeError"])
def test_a_failing_script_is_left_alone(script, command, what):
    done = program(command, script(f"def f():\n    {what}\nf()\n"))
    assert (done.returncode, done.stdout) == (1, "")
    frames = [line.strip() for line in done.stderr.splitlines() if line.startswith("  File")]
    assert [frame.split(",")[0] for frame in frames] == ['File "script.py"'] * 2
    assert os.listdir() == ["script.py"]


@pytest.mark.parametrize("command", ["page", "step"])
def test_a_graph_before_backward_keeps_its_grads(script, command):
    text = SCRIPT.replace("loss.backward()", "y.grad = 5.0")
    text += "import atexit\natexit.register(lambda: print([x.grad, y.grad, loss.grad]))\n"
    done = program(command, script(text))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "[0.0, 5.0, 0.0]"


def test_an_empty_out_of_a_page_is_refused(script, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["page", script(), "-o", ""])
    assert "the name of a file" in capsys.readouterr().err


def test_step_in_process_prints_the_sweep(script, capsys):
    assert main(["step", f"{script()}:y"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Backpropagation through relu(0): 2 values, then 1 edge"
    assert lines[-1] == "    x.grad: 0 + 0 = 0, which is final. STOP: nothing gets through"


@pytest.mark.parametrize("arguments", [["ops"], ["step", "script.py"], ["draw", "script.py"]])
def test_nobody_reads_on(script, arguments):
    script()
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "microgradx", *arguments],
        env={**os.environ, "PYTHONPATH": paths}, stdout=write, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
