"""In a notebook `fit` has one display whose text changes; IPython is not imported elsewhere."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from microgradx.nn import MLP
from microgradx.train import fit
from microgradx.train import progress as showing

X, Y = [[0.0], [1.0], [2.0], [3.0]], [1.0, -1.0, -1.0, 1.0]


class Cell:
    """A notebook's cell: its displays, and every text that one of them had."""

    def __init__(self):
        self.texts, self.displays = [], 0

    def display(self, bundle, raw, display_id):
        assert raw and display_id
        self.displays += 1
        self.update(bundle, raw)
        return self

    def update(self, bundle, raw):
        assert raw and list(bundle) == ["text/plain"]
        self.texts.append(bundle["text/plain"])


@pytest.fixture
def cell(monkeypatch):
    made = Cell()
    shell = SimpleNamespace(kernel=object())
    ipython = SimpleNamespace(get_ipython=lambda: shell, made=made)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=made.display))
    made.ipython = ipython
    return made


def trained(**more):
    model = MLP(1, [4, 1], seed=1)
    for neuron in model.layers[0].neurons:
        neuron.bias.data = -99.0
    return fit(model, X, Y, loss="mse", batch_size=2, **({"epochs": 30} | more))


def test_there_is_one_display_whose_last_text_says_how_it_ended(cell, monkeypatch, capsys):
    monkeypatch.setattr(showing, "REDRAW", 0.0)
    history = trained()
    assert cell.displays == 1 and len(cell.texts) > 30
    assert cell.texts[0].startswith("epoch 1 of 30, 50%: loss ")
    [remark] = history.remarks
    *said, last = cell.texts[-1].splitlines()
    assert " ".join(said) == remark and max(map(len, said)) <= 80
    assert last == f"epoch 30 of 30: {history[-1]}"
    assert cell.texts.count("\n".join([*said, ""])) == 1
    assert capsys.readouterr() == ("", "")


def test_it_changes_ten_times_a_second_at_most(cell, monkeypatch):
    clock = iter(range(10**6))
    monkeypatch.setattr(showing, "perf_counter", lambda: next(clock) / 1000)
    monkeypatch.setattr("microgradx.train.loop.perf_counter", lambda: next(clock) / 1000)
    history = trained(epochs=300)
    assert len(cell.texts) <= next(clock) / 1000 * 10 + 3 + len(history.remarks)


def test_what_on_epoch_prints_stands_below(cell):
    trained(epochs=3, on_epoch=lambda epoch: None)
    assert cell.displays == 1 and all(cell.texts)


@pytest.mark.parametrize("shell", [None, SimpleNamespace()])
def test_ipython_without_a_kernel_is_no_notebook(cell, shell, capsys):
    cell.ipython.get_ipython = lambda: shell
    trained(epochs=2)
    assert cell.texts == [] and capsys.readouterr() == ("", "")


def test_ipython_is_not_imported():
    lines = (
        "import sys, microgradx as mx",
        "mx.fit(mx.nn.MLP(1, [1]), [[1.0]], [1.0], loss='mse', epochs=2)",
        "print('IPython' in sys.modules)",
    )
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
