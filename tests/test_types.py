"""Names and types: what Tab offers, and what pyright and mypy say of a user's file."""

import ast
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import microgradx as mx
from microgradx import engine, ops, rules
from microgradx.nn import layers, losses

ROOT = Path(__file__).parents[1]

# --- the names ------------------------------------------------------------------------------------


def test_the_front_door_shows_the_public_names_only():
    assert dir(mx) == sorted({*mx.__all__, *engine.functions})
    assert {"fit", "record", "lift", "page", "bounds", "tanh", "silu", "mean"} <= {*dir(mx)}


@pytest.mark.parametrize("room", [mx.nn, mx.optim, mx.step], ids=lambda room: room.__name__)
def test_a_room_shows_what_it_offers_and_has_it(room):
    assert dir(room) == sorted(room.__all__)
    assert all(getattr(room, name) is not None for name in dir(room))


@pytest.mark.usefixtures("temporary_ops")
def test_an_op_of_ones_own_is_offered_too():
    @engine.rule(kind="linear")
    def twice(xp, x):
        return x + x, 2.0

    assert "twice" in dir(mx) and "twice" in dir(mx.Value(1.0)) and "twice" in dir(ops)


FACTS = (
    "data", "edges", "grad", "inputs", "label", "line", "op", "operands", "partials", "recorded",
    "rule",
)  # fmt: skip


def test_a_debugger_shows_the_eleven_facts_and_no_slot():
    x = mx.Value(2.0)
    for node in (x, x * 3.0, mx.dot([x], [x])):
        assert (
            tuple(name for name in dir(node) if not inspect.ismethod(getattr(node, name))) == FACTS
        )
        assert {"backward", "tanh", "silu", "where"} < {*dir(node)}


# --- what is spelt out for type checkers is what there is ----------------------------------------


def spelt_out(module):
    """The signatures of the functions that only a type checker reads, by name."""
    tree = ast.parse(inspect.getsource(module))
    blocks = [x for x in ast.walk(tree) if isinstance(x, ast.If)]
    blocks = [x for x in blocks if ast.unparse(x.test) == "TYPE_CHECKING"]
    functions = [x for block in blocks for x in block.body if isinstance(x, ast.FunctionDef)]
    functions = [x for x in functions if not x.decorator_list]  # data and grad are no ops
    return {x.name: ast.unparse(x.args) for x in functions}


def signature(row, first):
    """A row's operands as a signature, the first one called `first`."""
    names = [f"{x}: {'Iterable[Any]' if x in row.lists else 'Any'}" for x in row.operands]
    for k, x in enumerate(row.operands):
        names[k] += f"={row.defaults[x]}" if x in row.defaults else ""
    return ", ".join([first, *names[1:]] if first else names)


def test_the_methods_and_functions_are_the_rows_of_the_table():
    table = rules.TABLE
    methods = {name: row for name, row in table.items() if row.operands[0] not in row.lists}
    assert spelt_out(engine) == {name: signature(row, "self") for name, row in methods.items()}
    assert spelt_out(ops) == {name: signature(row, "") for name, row in table.items()}


@pytest.mark.parametrize(
    "names, table",
    [
        (layers.ActivationName, layers.activations()),
        (layers.InitialiserName, layers.INITIALISERS),
        (losses.LossName, losses.LOSSES),
    ],
)
def test_the_literals_are_the_names_of_the_tables(names, table):
    assert sorted(get_args(names)) == sorted(table)


# --- a user's file --------------------------------------------------------------------------------

RIGHT = """
import microgradx as mx
from microgradx.nn import MLP, Layer, Neuron, hinge_loss

x, w = mx.Value(2.0, "x"), mx.Value(-3.0)
y: mx.Value = (x * w + 1.0).tanh().relu().leaky_relu(slope=0.1).clamp(-1.0, 1.0).silu()
z: mx.Value = mx.tanh(x) + mx.dot([x], [w], 1.0) + mx.sum([x, w]) + mx.silu(x) + mx.mean([x, 2.0])
print(f"{z:.4f}", round(z, 2), int(z), float(z), f"{z}")
z.backward()
model = MLP(2, [4, 1], activation="tanh", output=None, init="glorot", seed=0)
mine = MLP(2, [4, 2], activation=lambda v: v.relu(), init=lambda nin, nout, rng: 0.1)
loss: mx.Value = (model([1.0, 2.0]) - 1.0) ** 2 + hinge_loss(model([0.0, 1.0]), 1)
first: mx.Value = mine([1.0, 2.0])[0]
both: list[mx.Value] = [v.exp() for v in mine([1.0, 2.0])]
one: mx.Value = Neuron(2, init="he")([1.0, 2.0])
layer: mx.Value = Layer(2, 1, activation="linear")([1.0, 2.0]).tanh()
loss.backward(pause=mx.step.stops)
history = mx.fit(model, [[0, 1]], [1], loss="hinge", epochs=1, optimizer=mx.optim.SGD([x], lr=0.1))
print(history[-1].loss, mx.__version__, mx.record(model, [1.0, 2.0]).source, mx.lift(loss).gradient)
mx.page(loss).save("step.html")
mx.draw(loss, explain=w).render("loss.svg")
print(mx.why(w, loss).verdict, mx.bounds.Bounds(loss, {x: (0.0, 1.0)}))


class Own(mx.nn.Module):
    def __init__(self) -> None:
        self.inner = MLP(1, [1])

    def __call__(self, v: float) -> mx.Value:
        return self.inner([v]).tanh()


mx.fit(Own(), [[0.0]], [1.0], loss=lambda p, t: (p - t) ** 2, epochs=1)
"""
WRONG = """
x.tahn()
mx.tahn(x)
mx.fitt
mx.nn.MPL
mx.nn.Linear
mx.optim.AdamW
mx.step.pages
mx.bounds.Bound
x.item()
x.leaky_relu(other=0.1)
x.clamp(1.0)
x.tanh(1.0)
mx.tanh()
model([1.0, 2.0]).tahn()
model.predicted([[1.0, 2.0]])
one.grd
MLP(2, [4, 1], activation="rellu")
MLP(2, [4, 1], output="tahn")
MLP(2, [4, 1], init="glorrot")
MLP(2, 3)
Neuron(2, nonlin=False)
mx.fit(model, [[0]], [1], loss="hing", epochs=1)
mx.fit(model, [[0]], [1], loss="hinge")
mx.fit(x, [[0]], [1], loss="hinge", epochs=1)
mx.record(model, [1.0, 2.0]).sauce
mx.why(x)
mx.why(x, 3.0)
y = x.tanh
y.backward()
""".strip().splitlines()
GOOD = {"y = x.tanh"}  # of these lines alone


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "users.py"
    path.write_text(RIGHT + "\n".join(WRONG).replace("y = ", "t = ").replace("y.b", "t.b") + "\n")
    return path


def wrong_lines(found):
    """The lines of the file with an error, those that should have none as they are."""
    before = RIGHT.count("\n")
    return [WRONG[n - before - 1] if n > before else RIGHT.splitlines()[n - 1] for n in found]


def run(*command, **environment):
    names = {**os.environ, **environment}
    return subprocess.run(command, capture_output=True, text=True, env=names, timeout=300)


@pytest.mark.slow
def test_mypy_knows_every_name(file, tmp_path):
    options = ["--strict", "--follow-imports=silent", "--config-file=", f"--cache-dir={tmp_path}"]
    places = ["--hide-error-context", "--no-error-summary", "--show-column-numbers"]
    said = run(sys.executable, "-m", "mypy", *options, *places, str(file), MYPYPATH=str(ROOT))
    errors = [line for line in said.stdout.splitlines() if ": error:" in line]
    found = sorted({int(line.rsplit(".py:", 1)[1].split(":")[0]) for line in errors})
    assert wrong_lines(found) == [line for line in WRONG if line not in GOOD], said.stdout


@pytest.mark.slow
def test_pyright_knows_every_name(file):
    quiet = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    try:
        version = run(sys.executable, "-m", "pyright", "--version", **quiet)
    except subprocess.TimeoutExpired:
        pytest.skip("pyright did not answer: it fetches itself by npm when it first runs")
    if version.returncode:
        pytest.skip(f"pyright does not run here: {(version.stdout + version.stderr)[-200:]}")
    settings = {
        "include": [file.name],
        "extraPaths": [str(ROOT)],
        "reportMissingModuleSource": False,
    }
    (file.parent / "pyrightconfig.json").write_text(json.dumps(settings))
    project = ["-p", str(file.parent), "--pythonpath", sys.executable, "--outputjson"]
    said = json.loads(run(sys.executable, "-m", "pyright", *project, **quiet).stdout)
    errors = [x for x in said["generalDiagnostics"] if x["severity"] == "error"]
    found = sorted({x["range"]["start"]["line"] + 1 for x in errors})
    assert wrong_lines(found) == [line for line in WRONG if line not in GOOD], errors
