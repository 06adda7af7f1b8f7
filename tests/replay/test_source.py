"""The generated NumPy can be read, stepped through and trusted: it is checked before it is used."""

import doctest
import linecache
import os
import re
import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest

import microgradx as mx
from microgradx.engine import Value, rule
from microgradx.replay import Replay, record, symbols
from microgradx.replay.agreement import Disagreement
from tests.replay.nets import NETS

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(mx.__file__)))


def small():
    model = mx.nn.MLP(2, [3, 1], activation="tanh", seed=1)
    return record(lambda x, y: (model(x) - y) ** 2, [1.0, 2.0], 1.0)


# --- to be read ------------------------------------------------------------------------------


def lines_of(source, function):
    """The lines of one of the generated functions, without their comments."""
    body = source.split(f"def {function}():\n")[1].split("\n\n")[0]
    return [line.split("  #")[0].strip() for line in body.splitlines()]


def test_a_net_of_two_layers_reads_like_a_lesson():
    source = small().source
    assert lines_of(source, "forward") == [
        "W0T.dot(xT_ones, z0)",
        "tanh(z0, tanh0)",
        "b0.dot(tanh0_ones, z1)",
        "add(z1, neg0, add0)",
        "square(add0, pow0)",
        "return pow0.dot(shares)",
    ]
    assert lines_of(source, "prepare") == ["negative(y, neg0)"]  # of the batch alone
    assert "W0T.dot(xT_ones, z0)  # layers.0.z\n" in source
    assert "tanh(z0, tanh0)  # layers.0\n" in source
    assert "W0 = p[0:9].reshape(3, 3)  # layers.0.weight and layers.0.bias\n" in source
    assert "b0 = p[9:13]  # layers.1.weight and layers.1.bias\n" in source
    assert "# ∂loss/∂z0\n" in source
    assert len(lines_of(source, "backward")) == 13
    assert len(source.splitlines()) < 80


@pytest.mark.parametrize("name", NETS)
def test_every_line_of_it_is_compiled_and_short(name):
    net = NETS[name]()
    source = record(net.fn, *net.example).source
    compile(source, "source", "exec")
    assert source.endswith("\n") and "\t" not in source
    assert max(map(len, source.splitlines())) <= 100


def test_the_same_net_has_the_same_source():
    assert small().source == small().source
    for name in ("attention", "convolution", "penalties"):
        one, other = (NETS[name]() for _ in range(2))
        assert record(one.fn, *one.example).source == record(other.fn, *other.example).source


SCRIPT = """
import sys
sys.path[:0] = sys.argv[1:]
from tests.replay.nets import NETS, EXACT, SMOOTH, random_graph
from microgradx.replay import record
for net in [make() for make in NETS.values()] + [random_graph(k, SMOOTH) for k in range(20)]:
    print(record(net.fn, *net.example).source)
"""


@pytest.mark.slow
def test_it_is_the_same_from_process_to_process():
    texts = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT, ROOT, os.path.dirname(__file__)],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    ]
    assert texts[0] == texts[1] and texts[0].count("def forward") == len(NETS) + 20


# --- to be stepped through -------------------------------------------------------------------


def test_a_traceback_shows_the_generated_line():
    replay = small()
    replay([[1.0, 2.0]], [1.0])
    bound = replay._bind(1)
    bound.forward.__globals__["z0"] = "no array"
    with pytest.raises(Exception) as error:
        replay([[1.0, 2.0]], [1.0])
    last = traceback.extract_tb(error.value.__traceback__)[-1]
    assert re.fullmatch(r"<replay \d+>", last.filename) and last.name == "forward"
    assert "z0" in last.line
    assert last.line == replay.source.splitlines()[last.lineno - 1].strip()


def test_linecache_holds_it_also_after_a_check():
    replay = small()
    name = replay._bind(1).forward.__code__.co_filename
    linecache.checkcache()
    assert linecache.getlines(name) == replay.source.splitlines(keepends=True)
    assert small()._bind(1).forward.__code__.co_filename != name


PDB = """
import microgradx as mx
from microgradx.replay import record
w = mx.Value(2.0, "w")
replay = record(lambda x: (w * x).tanh() + w, 1.0)
replay([0.5, 0.25])
breakpoint()
replay([0.5, 0.25])
"""


def test_pdb_steps_into_it_and_shows_its_lines(tmp_path):
    (tmp_path / "script.py").write_text(PDB, encoding="utf-8")
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONBREAKPOINT"}
    inherited |= {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}  # no .pdbrc of one's own
    inherited |= {"PYTHONPATH": ROOT, "PYTHONIOENCODING": "utf-8", "PYTHON_COLORS": "0"}
    commands = ["tbreak replay._bind(2).forward", "continue", "next", "p mul0", "until", "quit"]
    ran = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=inherited,
        input="".join(f"{command}\n" for command in commands),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    stops = re.findall(r"^(?:\(Pdb\) )?> <replay 1>\(\d+\)forward\(\)\n-> (.*)$", ran.stdout, re.M)
    assert [stop.split("(")[0] for stop in stops] == ["multiply", "tanh", "add"], ran.stdout
    assert "array([1. , 0.5])" in ran.stdout


# --- to be trusted ---------------------------------------------------------------------------


@pytest.fixture
def ops(temporary_ops):
    """Enters functions into the table; they leave it with the test."""
    return rule(kind="singular")


def on_floats(xp):
    return hasattr(xp, "__file__")


def test_a_replay_that_computes_something_else_is_refused_with_its_first_node(ops):
    @ops
    def fickle_value(xp, x):
        return xp.sin(x) if on_floats(xp) else 1.0000001 * xp.sin(x), xp.cos(x)

    w = Value(0.5, "w")
    w.grad = 3.0
    with pytest.raises(Disagreement, match=r"the replay computes 0\.479\d+ for .*op=fickle_value"):
        record(lambda x: (((w * x).fickle_value() * w).exp() * x) ** 2, 1.0)
    with pytest.raises(Disagreement, match="op=fickle_value"):
        record(lambda x: [w * x, (w * x).fickle_value()], 1.0)
    assert (w.data, w.grad) == (0.5, 3.0)


def test_a_gradient_that_is_another_is_refused_with_its_parameter(ops):
    @ops
    def fickle_slope(xp, x):
        return xp.sin(x), xp.cos(x) if on_floats(xp) else 1.0000001 * xp.cos(x)

    v, w = Value(2.0, "v"), Value(0.5, "w")
    v.grad, w.grad = 1.0, 3.0
    with pytest.raises(Disagreement, match="replay's gradient of .*label='w'.* is .*, the graph's"):
        record(lambda x: v + (w * x).fickle_slope(), 1.0)
    assert (v.grad, w.grad) == (1.0, 3.0)


def test_what_goes_wrong_with_several_samples_alone_is_found_too(monkeypatch):
    """One sample hides every mistake along the axis of the samples."""
    w = Value(0.5, "w")
    call = symbols.Symbols.call

    def wrong(self, op, *args):
        if op == "tanh":  # the first sample's for all
            first = self.view(args[0], "[..., :1]", args[0].shape[:-1] + (1,))
            return call(self, "tanh", call(self, "add", 0.0 * args[0], first))
        return call(self, op, *args)

    monkeypatch.setattr(symbols.Symbols, "call", wrong)
    with pytest.raises(Disagreement):
        record(lambda x: (w * x).tanh(), 1.0)


def test_rounding_is_no_disagreement(ops):
    @ops
    def rounded_elsewhere(xp, x):
        return xp.sin(x) if on_floats(xp) else xp.sin(x) * (1 + 1e-13), xp.cos(x)

    w = Value(0.5)
    assert isinstance(record(lambda x: (w * x).rounded_elsewhere(), 1.0), Replay)
    assert record(lambda x: w * 1e300 * x * 1e-300 + x / 3.0 * 3.0 - x, 0.1)([0.1]) > 0


def normed(xs):
    mean = mx.mean(xs)
    scale = (mx.mean([(x - mean) ** 2 for x in xs]) + 1e-5) ** -0.5
    return [(x - mean) * scale for x in xs]


def excess(z):
    """The sum of a softmax, less 1."""
    total = mx.logsumexp(z)
    return mx.sum([(a - total).exp() for a in z]) - 1.0


CANCELLING = {
    "the mean of a norm": lambda w, x: mx.dot(w, normed(normed([a + b for a, b in zip(w, x)]))),
    "a bias under a norm": lambda w, x: mx.sum([a * a for a in normed([b + w[0] for b in x])]),
    "the sum of a softmax": lambda w, x: excess([a * b for a, b in zip(w, x)]),
}


@pytest.mark.parametrize("name", CANCELLING)
def test_what_cancels_to_nothing_is_no_disagreement(name):
    for seed in range(20):
        dice = np.random.default_rng(seed)
        w = [Value(x) for x in dice.normal(size=5)]
        replay = record(lambda x: CANCELLING[name](w, x), dice.normal(size=5))  # noqa: B023 (it is called before the loop goes on)
        assert np.isfinite(replay(dice.normal(size=(3, 5))))


def test_a_rule_that_branches_on_its_operand_is_told_how_to_write_it(ops):
    @ops
    def branching(xp, x):
        return (x, 1.0) if x > 0 else (0.0, 0.0)

    w = Value(0.5)
    with pytest.raises(TypeError, match="branches on its operands can't run on arrays; use xp.wh"):
        record(lambda x: (w * x).branching(), 1.0)
    assert np.isfinite(w.data)


def test_the_packages_own_page_shows_a_real_source():
    page = Path(symbols.__file__).with_name("README.md")
    failed, tried = doctest.testfile(str(page), module_relative=False)
    assert (failed, tried) == (0, 15)


def test_a_temporary_is_free_again_once_it_has_been_read():
    w, n = Value(0.5), 20

    def fn(x):
        for _ in range(n):
            x = ((x * w).sin() + 1.0).exp().log()
        return x

    source = record(fn, 1.0).source
    assert len(re.findall(r"^t_\d+ = np\.zeros", source, re.MULTILINE)) < 3 * n  # else it is 5 n
