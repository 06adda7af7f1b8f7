"""`microgradx checkup`: a net and data of a script or of files, and the exit code."""

import json

import numpy as np
import pytest

from microgradx.__main__ import main

HEALTHY = """
import numpy as np
from microgradx import nn
ran = len(open("ran", "a").write("x") * [1])
model = nn.MLP(4, [8, 3], "tanh", init="glorot", seed=0)
X = np.random.default_rng(0).normal(size=(60, 4))
y = X[:, :3].argmax(1)
number = 3.0
"""
SICK = (
    HEALTHY
    + """
for neuron in model.layers[0].neurons[:3]:
    neuron.bias.data = -99.0
    neuron.activation = type(neuron.bias).relu
"""
)
ALL = ["--data", "net.py:X", "--target", "net.py:y"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a healthy net, a sick one, and data in files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(HEALTHY, encoding="utf-8")
    (tmp_path / "sick.py").write_text(SICK, encoding="utf-8")
    X = np.random.default_rng(0).normal(size=(60, 4))
    y = X[:, :3].argmax(1)
    np.save("X.npy", X)
    np.savez("both.npz", X=X, y=y)
    names = ["cat", "dog", "eel"]
    lines = ["a,b,c,d,kind", *(",".join([*map(str, x), names[k]]) for x, k in zip(X, y))]
    (tmp_path / "t.csv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    "data, target",
    [
        ("net.py:X", "net.py:y"),
        ("X.npy", "both.npz:y"),
        ("both.npz:X", "net.py:y"),
        ("t.csv", "t.csv:kind"),
        ("t.csv:a,b,c,d", "both.npz:y"),
    ],
)
def test_a_healthy_net(folder, capsys, data, target):
    assert main(["checkup", "net.py:model", "--data", data, "--target", target]) == 0
    out = capsys.readouterr().out
    assert "60 rows of 4, 3 classes, so cross-entropy" in out and "Nothing found" in out
    assert ("classes: 0 cat, 1 dog, 2 eel" in out) == (target == "t.csv:kind")
    assert (folder / "ran").read_text() == "x"  # once


def test_findings_and_files(folder, capsys):
    arguments = ["checkup", "sick.py:model", "--data", "sick.py:X", "--target", "sick.py:y"]
    assert main([*arguments, "--json", "out.json"]) == 1
    out = capsys.readouterr().out
    assert "dead: layers.0, 3 of 8 neurons" in out and out.endswith("out.json\n")
    found = json.loads((folder / "out.json").read_text())
    assert found["findings"][0]["verdict"] == "dead" and found["rows"] == 60
    assert all(len(line) <= 80 for line in out.splitlines())


def test_options(folder, capsys):
    asked = ["--rows", "20", "--box", "-1", "1", "--loss", "cross_entropy"]
    step = ["--optimizer", "adam", "--lr", "0.01"]
    assert main(["checkup", "net.py:model", *ALL, *asked, *step]) == 0
    out = capsys.readouterr().out
    assert "20 of 60 rows of 4" in out and "A step of Adam 0.01" in out
    arguments = ["checkup", "sick.py:model", "--data", "sick.py:X", "--target", "sick.py:y"]
    assert main([*arguments, "--try", "--epochs", "2", "--batch", "20", "--lr", "0.1"]) == 1
    assert "Tried on copies, SGD 0.1, batches of 20" in capsys.readouterr().out


def test_without_targets(folder, capsys):
    assert main(["checkup", "net.py:model", "--data", "X.npy"]) == 0
    assert "no targets" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["none.py:model", *ALL], "there is no script none.py"),
        (["net.py:modle", *ALL], "leaves no modle; there are np, nn, ran, model, X, y"),
        (["net.py", *ALL], "put :name behind it"),
        (["net.py:number", *ALL], "adopt takes"),
        (["none.onnx", *ALL], "none.onnx"),
        (["net.py:model", "--data", "x.npy", "--target", "net.py:y"], "there is no file x.npy"),
        (["net.py:model", "--data", "both.npz", "--target", "net.py:y"], "several arrays"),
        (["net.py:model", "--data", "net.py:X", "--target", "t.csv:sort"], "no column sort"),
        (["net.py:model", *ALL, "--loss", "mae"], "loss 'mae' is not known"),
        (["net.py:model", *ALL, "--box", "1", "-1"], "swap them"),
        (["net.py:model", *ALL, "--rows", "0"], "rows must be at least 1"),
        (["net.py:model", *ALL, "--lr", "-1"], "lr must be at least 0"),
        (["net.py:model", *ALL, "--json", "out.txt"], "out.txt is no .json file"),
        (["net.py:model", "--data", "net.py:y", "--target", "net.py:X"], "a row of X"),
    ],
)
def test_what_cannot_be_done(folder, capsys, arguments, words):
    assert main(["checkup", *arguments]) == 2
    said = capsys.readouterr()
    assert words in said.err and "Traceback" not in said.err
    assert not list(folder.glob("out*"))


def test_a_script_that_raises_is_no_finding(folder, capsys):
    (folder / "bad.py").write_text("model = 1 / 0", encoding="utf-8")
    assert main(["checkup", "bad.py:model", "--data", "X.npy"]) == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_no_data(folder, capsys):
    with pytest.raises(SystemExit) as left:
        main(["checkup", "net.py:model"])
    assert left.value.code == 2 and "--data" in capsys.readouterr().err
