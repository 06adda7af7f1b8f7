"""An unlabelled Value is called by the variable of its line, where that is plain."""

import linecache

import pytest

import microgradx as mx
from microgradx import Value, record_lines, why
from microgradx._base.text import name_of
from microgradx.engine import order, rule

BEGIN = "x, w, c = Value(2.0, 'x'), Value(-3.0, 'w'), Value(1.5, 'c')\n"


def run(source, file="a_users_file.py", recorded=True):
    """The names that a program defines, whose lines can be read."""
    text = BEGIN + source
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    names = {"mx": mx, "Value": Value}
    code = compile(text, file, "exec")
    if recorded:
        with record_lines():
            exec(code, names)
    else:
        exec(code, names)
    return names


NAMED = {  # the names of the nodes behind `y`, those of the leaves x, w and c left out
    "y = x * w": {"y"},
    "y: Value = x * w": {"y"},
    "y = Value(4.0)": {"y"},
    "y = mx.Value(float('1') + 3)": {"y"},
    "import random\ny = Value(random.gauss(0, 1))": {"y"},
    "y = (w * x + c).relu()": {"y", "mul(-6)", "add(-4.5)"},
    "y = mx.tanh(w * x)": {"y", "mul(-6)"},
    "y = w * x + c": {"y", "mul(-6)"},
    "y = (\n    w\n    * x\n    + c\n)": {"y", "mul(-6)"},
    "y = mx.maximum(\n    w,\n    x,\n)": {"y"},
    "y = x\ny += w": {"y"},
    "z = w * x\ny = z ** 2": {"y", "z"},
    "y = x - w": {"y", "neg(3)"},
    "y = -x": {"y"},
    "y = x.silu()": {"y", "sigmoid(0.881)"},
    "y = mx.mean([x, w])": {"y", "sum(-1)"},
    "y = mx.sum([v * w for v in (x, c)]) / len([x])": {"y", "sum(-10.5)", "mul(-6)", "mul(-4.5)"},
    "y = x\nfor v in (w, c):\n    y = y + v": {"y"},
    "def f(v):\n    z = v * w\n    return z\ny = f(x)": {"z"},
    # more than one may be meant
    "y = x * w * c": {"mul(-6)", "mul(-9)"},
    "y = x - w + c": {"neg(3)", "add(5)", "add(6.5)"},
    "y = x * (2 * 3)": {"mul(12)"},
    "z = x * w; y = z + c": {"mul(-6)", "add(-4.5)"},
    "y = x * 3 if x * w < 0 else x": {"mul(6)"},
    # no simple target, or none
    "y = z = x * w": {"mul(-6)"},
    "y, z = x * w, x + w": {"mul(-6)"},
    "ys = [x * w]\ny = ys[0]": {"mul(-6)"},
    "ys = {}\nys['a'] = x * w\ny = ys['a']": {"mul(-6)"},
    "f = lambda v: v * w\ny = f(x)": {"mul(-6)"},
    "if y := x * w:\n    pass": {"mul(-6)"},
    # a function may make any node on this line
    "y = mx.nn.hinge_loss(x, 1) * w": {"mul(-2)", "add(-1)", "relu(0)", "mul(-0)"},
    "y = mx.nn.mse_loss(x, 1.0)": {"add(1)", "pow(1)"},
}


@pytest.mark.parametrize("source", NAMED)
def test_the_name_of_the_variable(source):
    y = run(source)["y"]
    names = {name_of(node) for node in order(y) if node.label == ""}
    assert names == NAMED[source]


def test_a_label_goes_first_and_is_not_changed():
    names = run("y = x * w\ny.label = 'score'\nz = y.tanh()")
    assert (name_of(names["y"]), name_of(names["z"]), names["z"].label) == ("score", "z", "")


def test_without_recording_or_without_source_there_is_no_name():
    assert name_of(run("y = x * w", recorded=False)["y"]) == "mul(-6)"
    for text in ("", "y = x *", "\0", "\n" * 9):
        y = run("y = x * w")["y"]
        linecache.cache["a_users_file.py"] = (0, None, text.splitlines(keepends=True), "")
        assert name_of(y) == "mul(-6)"


@pytest.mark.usefixtures("temporary_ops")
def test_an_op_of_ones_own():
    @rule(kind="linear")
    def twice(xp, x):
        return x + x, 2.0

    assert {name_of(node) for node in order(run("y = x.twice() * w")["y"])} >= {"y", "twice(4)"}


def test_words_and_pictures_use_it():
    names = run("z = w * x\nh = z.relu()\ny = h * 2.0")
    names["y"].backward()
    text = str(why(names["x"], names["y"]))
    assert text.startswith("∂y/∂x = 0: stopped – relu off.")
    assert "It stops at z ×0→ h (a_users_file.py:3)." in text
    source = mx.draw(names["y"]).source
    assert all(f"<b>{name}" in source for name in "xwzhy")
