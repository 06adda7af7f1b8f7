"""The file and line that made each node, where `record_lines` asks for them."""

import copy
import importlib.util
import os
import sys

import pytest

import microgradx as mx
from microgradx import Value, engine, record_lines, why
from tests.operands import grouped


def here():
    """The line that calls this."""
    return __file__, sys._getframe(1).f_lineno


def lines(node):
    """The lines of the nodes behind one, without repeats."""
    return {x.line for x in engine.order(node)}


def test_outside_of_it_no_line_is_kept():
    x = Value(2.0)
    assert x.line is None and (x * 3.0).line is None and mx.sum([x, x]).line is None
    with record_lines():
        pass
    assert Value(2.0).line is None and x.line is None


def test_leaves_and_ops():
    with record_lines():
        x, at = Value(2.0), here()
        made = [x + 1.0, 1.0 + x, x * x, -x, x / 3.0, x**2, 2.0**x, x.tanh(), x.relu(), x.silu()]
        ops_at = (__file__, at[1] + 1)
        y = mx.maximum(
            x,
            0.0,
        )
    assert x.line == at and {node.line for node in made} == {ops_at}
    assert y.line[0] == __file__ and at[1] + 2 <= y.line[1] <= at[1] + 5


def test_every_row_of_the_table_keeps_it():
    from microgradx.engine import apply
    from microgradx.rules import TABLE

    for row in TABLE.values():
        with record_lines():
            operands = grouped(row, [Value(0.5) for _ in row.operands], 1)
            node, at = apply(row, *operands), here()
        assert node.line == at, row.name


def test_rows_of_operands():
    x = Value(2.0)
    with record_lines():
        nodes, at = [mx.dot([x], [x]), mx.sum([x, x]), mx.mean([x]), mx.logsumexp([x])], here()
    assert [node.line for node in nodes] == [at] * 4
    assert x.line is None


def test_a_net_is_made_where_it_is_asked_for():
    with record_lines():
        model, made = mx.nn.MLP(2, [3, 1], activation="tanh", seed=0), here()
        score, asked = model([1.0, 2.0]), here()
        loss, lost = mx.nn.mse_loss(score, 1.0), here()
    assert {p.line for p in model.parameters()} == {made}
    assert lines(score) == {made, asked} and lines(loss) == {made, asked, lost}


def test_lambdas_and_comprehensions():
    with record_lines():
        square = lambda x: x * x  # noqa: E731 (a lambda's line is what is asked for)
        square_at = (__file__, here()[1] - 1)
        y, at = square(Value(3.0)), here()
        ys, listed = [Value(i) for i in range(3)], here()
    assert y.line == square_at and y.inputs[0].line == at
    assert {each.line for each in ys} == {listed}


def test_nested_contexts():
    with record_lines():
        with record_lines():
            inner, at = Value(1.0), here()
        outer, then = Value(1.0), here()
    assert (inner.line, outer.line, Value(1.0).line) == (at, then, None)


def test_an_exception_ends_it():
    with pytest.raises(ZeroDivisionError):
        with record_lines():
            1 / 0  # noqa: B018 (the error is the point)
    assert Value(1.0).line is None
    with record_lines():
        with pytest.raises(ZeroDivisionError):
            with record_lines():
                1 / 0  # noqa: B018 (the error is the point)
        assert Value(1.0).line == here()


def test_a_refused_value_ends_nothing():
    with record_lines():
        with pytest.raises(TypeError):
            Value("one")
        assert Value(1.0).line == here()


@pytest.mark.parametrize("recording", [False, True])
def test_a_copy_keeps_the_line(recording):
    with record_lines():
        x, at = Value(2.0), here()
        y, then = mx.dot([x], [3.0], x.tanh()).exp(), here()
    if recording:
        with record_lines():
            twin = copy.deepcopy(y)
    else:
        twin = copy.deepcopy(y)
    assert twin is not y and lines(twin) == lines(y) == {at, then}
    assert copy.copy(x).line == at


def test_a_sweep_and_an_explanation_make_no_nodes():
    x = Value(-2.0, "x")
    y = x.relu()
    with record_lines():
        y.backward()
        str(why(x, y))
    assert lines(y) == {None}


# --- whose line it is ----------------------------------------------------------------------------


def run(source, file):
    """The names that a program in this file defines."""
    names = {}
    exec(compile(source, file, "exec"), names)
    return names


def test_a_helper_in_another_module_is_the_innermost_line(tmp_path):
    file = tmp_path / "helper.py"
    file.write_text("def double(x):\n    return x * 2.0\n")
    spec = importlib.util.spec_from_file_location("helper", file)
    helper = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(helper)
    with record_lines():
        y = helper.double(Value(1.0))
    assert y.line == (str(file), 2)


def test_a_layer_of_ones_own_is_outside_of_the_package():
    class Own(mx.nn.Module):
        def __init__(self):
            self.inner = mx.nn.MLP(1, [1], seed=0)

        def __call__(self, xs):
            self.at = (__file__, here()[1] + 1)
            return self.inner(xs).tanh()

    own = Own()
    with record_lines():
        y = own([1.0])
    assert y.line == y.inputs[0].line == own.at


@pytest.mark.parametrize("beside", ["_demo.py", "-own/script.py", "s/helper.py"])
def test_a_file_beside_the_package_whose_name_begins_like_it_is_outside(beside):
    file = engine.PACKAGE.removesuffix(os.sep) + beside
    names = run("def double(x):\n    return x * 2.0\n", file)
    with record_lines():
        y = names["double"](Value(1.0))
    assert y.line == (file, 2)


# --- what is said about it -----------------------------------------------------------------------


def test_why_names_the_line_where_it_stops():
    x = Value(-2.0, "x")
    with record_lines():
        z, at = x * 3.0, here()
        h, stop = z.relu(), here()
        y = h * 2.0
    y.backward()
    text = str(why(x, y))
    assert f"It stops at mul(-6) ×0→ relu(0) (test_lines.py:{stop[1]})." in text
    assert f"test_lines.py:{at[1]}" not in text


def test_why_names_the_lines_of_what_opposes_and_of_what_is_to_blame():
    x = Value(1.0, "x")
    with record_lines():
        a, first = x * 3.0, here()
        b, second = x * -3.0, here()
        y = a + b
    y.backward()
    text = str(why(x, y))
    for at in (first, second):
        assert f" (test_lines.py:{at[1]})" in text
    x = Value(1.0, "x")
    with record_lines():
        y, third = x * 1e-9, here()
    y.backward()
    said = f"At least half of it is due to x ×1e-09→ mul(1e-09) (test_lines.py:{third[1]})."
    assert said in str(why(x, y))


def test_why_names_the_line_where_something_not_finite_begins():
    x = Value(0.0, "x")
    with record_lines():
        y, at = x.log(), here()
        z = y * 2.0
    z.backward()
    assert f"It begins at x ×inf→ log(-inf) (test_lines.py:{at[1]})." in str(why(x, z))


def test_why_names_the_line_of_a_detach():
    x = Value(1.0, "x")
    with record_lines():
        h = x * 2.0
        cut, at = h.detach(), here()
        y = cut * 3.0
    text = str(why(x, y))
    assert f"It is cut off between h and detach(2) (test_lines.py:{at[1]})." in text


def test_without_recording_no_line_is_named():
    x = Value(-2.0, "x")
    y = x.relu()
    y.backward()
    assert "(test_lines.py" not in str(why(x, y)) and ":None" not in str(why(x, y))
