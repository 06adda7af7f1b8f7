"""Real pdb sessions, commands in and transcript out: a reader can step through backprop."""

import inspect
import os
import re
import subprocess
import sys

import pytest

import microgradx
from microgradx import Value, engine, rules
from microgradx.engine import Visit

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(microgradx.__file__)))
PROMPT = "(Pdb) "
# pdb's own lines about a stop: "> file.py(12)name()->result", and "-> source" below.
STOP = re.compile(
    r"^> (?P<file>.+)\((?P<line>\d+)\)(?P<name>\S+)\(\)(?:->.*)?\n-> (?P<text>.*)$", re.M
)

NEURON = """
import microgradx
from microgradx import Value, step
w = Value(-3.0, "w")
x = Value(2.0, "x")
b = Value(6.5, "b")
w.grad, x.grad, b.grad = 10.0, 20.0, 30.0
breakpoint()
z = w * x + b
y = z.tanh()
loss = y * 2.0
try:
    loss.backward()
finally:
    print("grads", w.grad, x.grad, b.grad, flush=True)
"""
DEAD = (
    NEURON.replace("tanh", "relu")
    .replace("6.5", "5.0")
    .replace("backward()", "backward(pause=step.stops)")
)


def line_of(text, function):
    """The number of the one line of a function that has `text` in it."""
    lines, first = inspect.getsourcelines(function)
    found = [first + i for i, line in enumerate(lines) if text in line]
    assert len(found) == 1, f"{text!r} is on lines {found} of {function.__qualname__}"
    return found[0]


ONE_OPERAND = line_of("for one operand", Value.backward)
SECOND_OPERAND = line_of("for the second", Value.backward)
IN_WORDS = line_of("the chain rule", engine.visit)
IN_TANH = line_of("e = ", rules.tanh.function)


class Session:
    """The answers of pdb to each command, and the stops among them."""

    def __init__(self, script, commands, folder, **environment):
        (folder / "script.py").write_text(script, encoding="utf-8")
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONBREAKPOINT"}
        inherited |= {"HOME": str(folder), "USERPROFILE": str(folder)}  # no .pdbrc of one's own
        inherited |= {"PYTHONPATH": ROOT, "PYTHONIOENCODING": "utf-8", "PYTHON_COLORS": "0"}
        self.ran = subprocess.run(
            [sys.executable, "script.py"],
            cwd=folder,
            env=inherited | environment,
            input="".join(f"{command}\n" for command in commands),
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        self.transcript = self.ran.stdout
        self.first, *said = self.transcript.split(PROMPT)
        self.said = list(zip(commands, said))

    def replies(self, command):
        return [reply.rstrip("\n") for asked, reply in self.said if asked == command]

    def reply(self, command):
        (reply,) = self.replies(command)
        return reply

    def stops(self):
        """(name, line number, source line) wherever pdb stopped, `w` aside."""
        said = [self.first, *(reply for asked, reply in self.said if asked != "w")]
        found = [match for reply in said for match in STOP.finditer(reply)]
        return [(match["name"], int(match["line"]), match["text"]) for match in found]

    def grads(self):
        (line,) = re.findall(r"grads (\S+) (\S+) (\S+)$", self.transcript, re.M)
        return tuple(map(float, line))


@pytest.fixture
def session(tmp_path):
    def run(script, *commands, **environment):
        return Session(script, commands, tmp_path, **environment)

    return run


AS_BEFORE = (10.0, 20.0, 30.0)
SLOPE = (1.0 - 0.46211715726000979**2) * 2.0  # ∂loss/∂z, z = 0.5


# --- in a rule ------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["microgradx.rules.tanh", f"microgradx/rules.py:{IN_TANH}"])
def test_break_in_a_rule_and_print_its_factors(session, place):
    ran = session(NEURON, f"b {place}", "c", "a", "n", "p e", "n", "p __return__", "q")
    assert ran.reply(f"b {place}").startswith("Breakpoint 1 at ")
    stop = ran.stops()[1]
    assert stop[:2] == ("tanh", IN_TANH) and stop[2].startswith("e = ")
    assert "x = 0.5" in ran.reply("a").splitlines()
    assert float(ran.reply("p e")) == pytest.approx(0.36787944117144233)
    value, partial = map(float, ran.reply("p __return__").strip("()").split(","))
    assert value == pytest.approx(0.46211715726000979)
    assert partial == pytest.approx(SLOPE / 2.0)


def test_a_rule_is_stepped_into_from_the_method(session):
    """Three frames, each with a name: the method, the row, the arithmetic."""
    ran = session(NEURON, "tbreak script.py:10", "c", "s", "n", "s", "n", "w", "q")
    names = [name for name, _, _ in ran.stops()]
    assert names[-1] == "tanh" and "<lambda>" not in names
    assert re.findall(r"[\w.]+\(\d+\)(\S+)\(\)", ran.reply("w"))[-1] == "tanh"


def test_break_on_a_method_of_a_value_and_on_no_other(session):
    """All methods of one operand share their lines; their frames have the names of their ops."""
    script = NEURON.replace("y = z.tanh()", "y = z.relu().tanh()")
    ran = session(script, "b Value.tanh", "c", "p rule", "s", "s", "s", "c")
    assert ran.stops()[1][0] == "tanh" and ran.reply("p rule") == "<rule tanh(x)>"
    assert ran.stops()[-1][:2] == ("tanh", IN_TANH) and ran.ran.returncode == 0


# --- in backward() --------------------------------------------------------------------------------


def test_step_into_backward(session):
    ran = session(NEURON, "tbreak script.py:13", "c", "s", "n", "q")
    called, began = ran.stops()[-2:]
    assert called[0] == began[0] == "backward"
    assert "backward(self" in called[2] and began[1] > called[1]
    assert ran.grads() == AS_BEFORE


def test_the_chain_rule_a_line_an_edge(session):
    """loss = y · 2: the first edge of the sweep, before and after its line."""
    ran = session(
        NEURON,
        f"b microgradx/engine.py:{ONE_OPERAND}",
        "c",
        "p node",
        "p adjoint",
        "p node.op, node.partials",
        "p node.inputs[0].grad",
        "n",
        "p y.grad",
        "up",
        "p y.grad",
        "q",
    )
    assert ran.stops()[1][:2] == ("backward", ONE_OPERAND)
    assert ran.stops()[1][2].startswith("node._a._grad += node._da * adjoint")
    assert ran.reply("p node") == "Value(data=0.924234, grad=1, op=mul)"
    assert ran.reply("p adjoint") == "1.0"
    assert ran.reply("p node.op, node.partials") == "('mul', (2.0,))"
    assert ran.reply("p node.inputs[0].grad") == "0.0"
    assert ran.replies("p y.grad")[-1] == "2.0"  # in the frame above, where it has that name
    assert ran.grads() == AS_BEFORE


def test_every_edge_comes_by(session):
    """The breakpoints on the two lines are met once an edge, in the order of the sweep."""
    ran = session(
        NEURON,
        f"b microgradx/engine.py:{ONE_OPERAND}",
        f"b microgradx/engine.py:{SECOND_OPERAND}",
        *["c", "p node.op"] * 6,
        "c",
    )
    met = ["mul", "tanh", "add", "add", "mul", "mul"]
    assert ran.replies("p node.op") == [f"'{op}'" for op in met]
    stops = ran.stops()[1:]
    assert [line for _, line, _ in stops if line == SECOND_OPERAND] == [SECOND_OPERAND] * 2
    assert ran.ran.returncode == 0
    added = (2.0 * SLOPE, -3.0 * SLOPE, SLOPE)
    expected = [old + new for old, new in zip(AS_BEFORE, added)]
    assert ran.grads() == pytest.approx(tuple(expected), rel=1e-12)


@pytest.mark.parametrize(
    "line, times",
    [
        ("nodes = order(self)", 0),
        ("node._grad = 0.0", 3),
        ("self._grad = seed", 0),
        ("adjoint = node._grad", 0),
        ("adjoint = node._grad", 6),
        ("for one operand", 3),
        ("for the second", 1),
        ("leaf._grad += grad", 0),
        ("leaf._grad += grad", 2),
    ],
)
def test_quitting_leaves_the_grads_as_they_were(session, line, times):
    """Wherever in the sweep that is, even when some leaves have got their old grads back."""
    number = line_of(line, Value.backward)
    ran = session(NEURON, f"b microgradx/engine.py:{number}", f"ignore 1 {times}", "c", "q")
    assert ran.stops()[-1][:2] == ("backward", number) and "BdbQuit" in ran.ran.stderr
    assert ran.grads() == AS_BEFORE


# --- in a pause -----------------------------------------------------------------------------------

NAMES = "p sorted(locals())"


def test_a_pause_stops_in_a_frame_with_the_names_of_the_visit(session):
    ran = session(DEAD, "c", NAMES, "a", *[f"p {field}" for field in Visit._fields], "w", "c")
    name, line, _ = ran.stops()[-1]
    lines, first = inspect.getsourcelines(engine.paused)
    assert name == "paused" and first < line < first + len(lines)
    assert ran.reply(NAMES) == str(sorted(Visit._fields))
    arguments = [line.split(" = ")[0] for line in ran.reply("a").splitlines() if line]
    assert arguments == list(Visit._fields)
    assert ran.reply("p node") == "Value(data=0, grad=2, op=relu)"
    assert ran.reply("p adjoint") == "2.0"
    assert ran.reply("p inputs") == "(Value(data=-1, grad=0, op=add),)"
    for field in ("partials", "contributions", "before", "after"):
        assert ran.reply(f"p {field}") == "(0.0,)"
    assert "backward()" in ran.reply("w")
    assert ran.ran.returncode == 0 and ran.grads() == AS_BEFORE  # a dead relu adds nothing


def test_stepping_on_from_a_pause_comes_to_the_next_one(session):
    script = DEAD.replace("step.stops", "lambda visit: True")
    ran = session(script, *["c", "p node.op, node.label, adjoint"] * 7, "c")
    shown = ran.replies("p node.op, node.label, adjoint")
    assert shown[:3] == ["('mul', '', 1.0)", "('relu', '', 2.0)", "('add', '', 0.0)"]
    assert sorted(re.findall(r"'(\w)'", " ".join(shown))) == ["b", "w", "x"]
    assert [name for name, _, _ in ran.stops()[1:]] == ["paused"] * 7
    assert ran.ran.returncode == 0


@pytest.mark.parametrize("visits", range(1, 8))
def test_quitting_a_pause_leaves_the_grads_as_they_were(session, visits):
    script = NEURON.replace("backward()", "backward(pause=lambda visit: True)")
    ran = session(script, *["c"] * visits, "q")
    assert ran.stops()[-1][0] == "paused" and "BdbQuit" in ran.ran.stderr
    assert ran.grads() == AS_BEFORE


def test_the_chain_rule_in_words(session):
    """Where a pause is asked for, the line of the chain rule has a name for each of its factors."""
    script = NEURON.replace("backward()", "backward(pause=step.stops)")
    ran = session(
        script,
        f"b microgradx/engine.py:{IN_WORDS}",
        "c",
        "p node.op, input.op, partial, adjoint, contribution, input.grad",
        "n",
        "p input.grad",
        "q",
    )
    assert ran.stops()[1] == (
        "visit",
        IN_WORDS,
        "input.grad += contribution  # the chain rule, as in sweep",
    )
    factors = "p node.op, input.op, partial, adjoint, contribution, input.grad"
    assert ran.reply(factors) == "('mul', 'tanh', 2.0, 1.0, 2.0, 0.0)"
    assert ran.reply("p input.grad") == "2.0"
    assert ran.grads() == AS_BEFORE


def test_break_on_a_visit_by_its_name(session):
    script = NEURON.replace("backward()", "backward(pause=step.stops)")
    ran = session(script, "b microgradx.engine.visit", "c", "p node.op", "c", "p node.op", "q")
    assert ran.stops()[1][0] == "visit"
    assert ran.replies("p node.op") == ["'mul'", "'tanh'"]


def test_pythonbreakpoint_0_disables_every_pause(session):
    ran = session(DEAD.replace("stops", "below(1e9)"), PYTHONBREAKPOINT="0")
    assert PROMPT not in ran.transcript and ran.ran.returncode == 0
    assert ran.transcript == "grads 10.0 20.0 30.0\n"


# --- where a node was made ------------------------------------------------------------------------


def test_a_node_tells_the_line_that_made_it(session):
    script = DEAD.replace(
        "breakpoint()\n", "lines = microgradx.record_lines()\nlines.__enter__()\n"
    )
    ran = session(script, "p node.line[1]", "p inputs[0].line[1]", "p node.line[0][-9:]", "c")
    number = {text: i for i, text in enumerate(script.splitlines(), 1)}
    assert ran.reply("p node.line[1]") == str(number["y = z.relu()"])
    assert ran.reply("p inputs[0].line[1]") == str(number["z = w * x + b"])
    assert ran.reply("p node.line[0][-9:]") == "'script.py'"


# --- what a stop looks like -----------------------------------------------------------------------


def test_what_a_pause_prints_of_a_visit_fits_80_columns(session):
    names = ["adjoint", "partials", "contributions", "before", "after", "inputs[0]", "node"]
    ran = session(DEAD, "c", *[f"p {name}" for name in names], "c")
    for name in names:
        assert ran.reply(f"p {name}") and len(ran.reply(f"p {name}")) <= 80


def test_no_stop_between_method_and_arithmetic_is_nameless(session):
    """`s` all the way through a forward pass and a sweep: every frame has a name of its own."""
    ran = session(NEURON, *["s"] * 250, "c")
    names = {name for name, _, _ in ran.stops()}
    assert {"backward", "order", "node", "tanh", "number"} <= names
    assert not {name for name in names if "lambda" in name}


# --- what demos/debugging.md shows ---------------------------------------------------------------


def without_places(text):
    """A transcript without its folders and line numbers."""
    text = re.sub(r"[^\s>]*?(\w+\.py)[:(]\d+\)?", r"\1", text)
    return [line.rstrip() for line in text.splitlines() if line.strip()]


@pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="from 3.13 on, breakpoint() stops on its own line"
)
def test_the_transcript_of_a_session_is_real(session):
    with open(os.path.join(ROOT, "demos", "debugging.md"), encoding="utf-8") as file:
        page = file.read()
    script = re.search(r"```python\n# neuron.py\n(.*?)```", page, re.S)
    shown = re.search(r"```console\n\$ python neuron.py\n(.*?)```", page, re.S)
    commands = re.findall(r"^\(Pdb\) (.*)$", shown[1], re.M)
    ran = session("# neuron.py\n" + script[1], *commands)
    said = "".join(f"{PROMPT}{command}\n{reply}" for command, reply in ran.said)
    real = (ran.first + said).replace("script.py", "neuron.py")
    assert without_places(real) == without_places(shown[1])
