"""Which faults the tests would miss: one line of a room is broken at a time, in a copy.

    python -m tests.mutation rules engine --sample 60 --seed 0 --workers 2

A mutant is killed when a test of its room fails, or when they all take far too long. The survivors
are printed: each is equivalent, or shows only in speed or in words, or is a hole in the tests.
"""

import argparse
import ast
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import hypothesis  # noqa: F401  # so that it is there before the fork, as are the next
import mpmath  # noqa: F401
import numpy  # noqa: F401
import pytest

ROOT = Path(__file__).parents[1]
NEEDED = ["microgradx", "tests", "demos", "README.md", "setup.cfg", "pyproject.toml"]
ROOMS = {  # by name, its files, and the tests of all of them; tests named after a file come first
    "rules": ("rules.py", ["tests/test_rules.py", "tests/test_accuracy.py", "tests/test_own_ops.py",
                           "tests/explain/test_bounds.py", "tests/explain/test_causes.py",
                           "tests/test_random_graphs.py"]),
    "engine": ("engine.py", ["tests/test_engine.py", "tests/test_own_ops.py",
                             "tests/test_rules.py", "tests/test_faults.py",
                             "tests/step/test_walk.py", "tests/step/test_lines.py",
                             "tests/step/test_pdb.py",
                             "tests/test_random_graphs.py", "tests/test_state_machine.py",
                             "tests/test_wrong_types.py", "tests/test_mistakes.py",
                             "tests/replay/test_record.py", "tests/replay/test_threads.py"]),
    "explain": ("explain/*.py", [*[f"tests/explain/test_{x}.py" for x in (
        "verdicts", "causes", "paths", "samples", "layers", "extended", "comparison", "check")],
        "tests/explain", "tests/pictures/test_net.py", "tests/test_faults.py"]),
    "replay": ("replay/*.py", ["tests/replay", "tests/test_composites.py",
                               "tests/train/test_fit.py"]),
}  # fmt: skip

OTHER = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


TYPES = ("annotation", "returns")


def others(node):
    """The nodes that may stand in the place of one."""
    if isinstance(node, ast.Compare):
        for k, op in enumerate(node.ops):
            ops = [*node.ops[:k], OTHER[type(op)](), *node.ops[k + 1 :]]
            yield ast.Compare(node.left, ops, node.comparators)
    elif isinstance(node, ast.BinOp) and type(node.op) in OTHER:
        yield ast.BinOp(node.left, OTHER[type(node.op)](), node.right)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(OTHER[type(node.op)](), node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield from (ast.Constant(node.value + 1), ast.Constant(node.value - 1))
    elif isinstance(node, ast.Return) and node.value is not None:
        yield ast.Return(None)
    elif isinstance(node, (ast.Assign, ast.AugAssign, ast.Expr, ast.Raise, ast.Delete)):
        yield ast.Pass()
    if isinstance(node, ast.AugAssign) and type(node.op) in OTHER:
        yield ast.AugAssign(node.target, OTHER[type(node.op)](), node.value)


def parts(node):
    """Every node that runs and has a place of its own: no types, no texts, no docstrings."""
    for name, field in ast.iter_fields(node):
        for child in field if isinstance(field, list) else [field]:
            if isinstance(child, ast.AST) and name not in TYPES and not is_mute(child):
                yield from (child, *parts(child))


def is_mute(node):
    """Whether it is for the type checker alone, or a text."""
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return docstring or isinstance(node, ast.JoinedStr)


def mutants(path):
    """(line, what was there, what is there now, the whole file) for each mutant of a file."""
    text = path.read_text()
    lines = text.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for node in parts(ast.parse(text)):
        for other in others(node):
            begin = starts[node.lineno - 1] + node.col_offset
            end = starts[node.end_lineno - 1] + node.end_col_offset
            content = text.encode()
            new = ast.unparse(ast.fix_missing_locations(ast.copy_location(other, node)))
            new = f"({new})" if isinstance(other, ast.expr) else new
            yield (node.lineno, " ".join(content[begin:end].decode().split()), new,
                   content[:begin] + new.encode() + content[end:])  # fmt: skip


def tests_of(path, tests):
    """The file's own examples and what is named after it first: they are the likeliest to fail."""
    name = f"test_{path.stem}.py"
    named = [f"{x}/{name}" for x in tests if (ROOT / x / name).exists()]
    return [str(path.relative_to(ROOT)), *named, *tests]


def start(copy, tests):
    """The tests, begun in a process of their own, which has imported all but us already."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # where we run in the background
    os.chdir(copy)
    os.dup2(os.open("log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    os.dup2(1, 2)
    sys.path[:] = [str(copy), *[x for x in sys.path if x and Path(x) != ROOT]]
    for name in [x for x in sys.modules if x.partition(".")[0] == "tests"]:
        del sys.modules[name]
    os.environ["PYTHONPATH"] = str(copy)
    arguments = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", *tests]
    os._exit(int(pytest.main(arguments)))


def ended(pid, until):
    """Whether the tests passed, None while they run; too late is a failure."""
    found, status = os.waitpid(pid, os.WNOHANG)
    if found:
        return status == 0
    if time.monotonic() < until:
        return None
    os.killpg(pid, 9)
    os.waitpid(pid, 0)
    return False


def wait(pid, limit):
    until = time.monotonic() + limit
    while (passed := ended(pid, until)) is None:
        time.sleep(0.05)
    return passed


def copies(folder, tests, workers):
    """Copies of all that is needed, and how long the tests may take in them."""
    first = Path(folder) / "0"
    first.mkdir()
    for name in NEEDED:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy2)(ROOT / name, first / name)
    begin = time.monotonic()
    if not wait(start(first, tests), 3600):
        sys.exit(f"the tests fail without a mutant:\n{(first / 'log').read_text()[-3000:]}")
    limit = 60 + 3 * (time.monotonic() - begin)
    sys.dont_write_bytecode = True  # from here on the copies have that of whole files
    more = [shutil.copytree(first, first.with_name(str(k))) for k in range(1, workers)]
    return [first, *more], limit


def survivors(room, sample, seed, workers):
    """How many mutants of the sample survive; each is printed."""
    pattern, tests = ROOMS[room]
    files = sorted((ROOT / "microgradx").glob(pattern))
    every = [(path, *mutant) for path in files for mutant in mutants(path)]
    chosen = random.Random(seed).sample(every, min(sample, len(every)))
    left, alive, running = [*chosen], 0, {}
    with tempfile.TemporaryDirectory() as folder:
        sys.dont_write_bytecode = False
        free, limit = copies(folder, tests, workers)
        print(f"{room}: {len(every)} mutants, {len(chosen)} tried", flush=True)
        while left or running:
            while free and left:
                copy, (path, line, old, new, content) = free.pop(), left.pop()
                place = copy / path.relative_to(ROOT)
                place.write_bytes(content)
                words = f"  {path.relative_to(ROOT)}:{line}: {old:.90} → {new:.90}"
                pid = start(copy, tests_of(path, tests))
                running[pid] = copy, place, path, words, time.monotonic() + limit
            for pid, (copy, place, path, words, until) in [*running.items()]:
                passed = ended(pid, until)
                if passed is not None:
                    alive += passed
                    print(words if passed else "  .", flush=True)
                    shutil.copy2(path, place)
                    free.append(copy)
                    del running[pid]
            time.sleep(0.05)
    print(f"{room}: {len(chosen) - alive} of {len(chosen)} killed", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rooms", nargs="*", default=[*ROOMS], metavar="ROOM")
    parser.add_argument("--sample", type=int, default=60, help="how many mutants of each room")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--workers", type=int, default=1, help="how many at once")
    options = parser.parse_args()
    for room in options.rooms:
        survivors(room, options.sample, options.seed, options.workers)


if __name__ == "__main__":
    main()
