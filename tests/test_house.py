"""The house: imports run downwards through its floors, without a circle anywhere."""

import ast
import functools
import re
from pathlib import Path

import pytest

import microgradx

PACKAGE = Path(microgradx.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
# The packages that load NumPy; nobody loads them unasked.
NUMPY = {"replay", "train", "interop", "diagnosis"}
# The late arrows upwards: a Value and an explanation show themselves, and import pictures then.
LATE = {
    "microgradx.engine": "microgradx.pictures",
    "microgradx.explain.explanation": "microgradx.pictures",
}


def name_of(path: Path) -> str:
    """The dotted name of a file: "microgradx.explain.paths"; of a folder's face, the folder's."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in FILES}


def imported(source: str, package: str) -> list[str]:
    """The dotted names of all that `source`, lying in `package`, imports, wherever it does so."""
    names, tree = [], ast.parse(source)
    blocks = [
        x for x in ast.walk(tree) if isinstance(x, ast.If) and "TYPE_CH" in ast.unparse(x.test)
    ]
    quiet = {x for block in blocks for x in ast.walk(block)}  # for the type checker alone
    for node in ast.walk(tree):
        if node in quiet:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            base += [node.module] if node.module else []
            names += [".".join((*base, alias.name)) for alias in node.names]
    return names


@functools.cache
def modules_imported(path: Path) -> set[str]:
    """The modules of the package that a file imports from."""
    package = name_of(path) if path.stem == "__init__" else name_of(path).rpartition(".")[0]
    names = imported(path.read_text(encoding="utf-8"), package)
    found = {name if name in MODULES else name.rpartition(".")[0] for name in names} & {*MODULES}
    return found - {LATE.get(name_of(path))}


FLOORS = (  # a room imports from lower floors only; rooms of one floor don't know each other
    {"rules", "_base"},
    {"engine"},
    {"ops", "optim", "explain"},
    {"pictures", "replay"},
    {"nn", "step"},
    {"interop"},
    {"train"},
    {"diagnosis"},
    {"__init__"},
    {"__main__"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# An Explanation shows itself by the room of pictures, imported inside the method that shows.
SHOWS = {("explain", "pictures")}


def room_of(name: str) -> str:
    """The room that a module lies in; "__init__" for the front door."""
    return name.split(".")[1] if "." in name else "__init__"


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_downwards(name):
    mine = "__main__" if name.endswith("__main__") else room_of(name)
    for other in map(room_of, modules_imported(MODULES[name])):
        if other != mine and (mine, other) not in SHOWS:
            assert FLOOR[other] < FLOOR[mine], f"{mine} must not import {other}"


def test_there_are_no_more_rooms_than_doors():
    rooms = {room_of(name) for name in MODULES} - {"__init__"}
    assert rooms == {*FLOOR} - {"__init__"} and len(rooms) <= 16


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_wired_upwards_at_run_time(path):
    """No room sets an attribute of a class or module that it imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = [x for x in ast.walk(tree) if isinstance(x, (ast.Import, ast.ImportFrom))]
    known = {a.asname or a.name for x in imports for a in x.names}
    targets = [t for x in ast.walk(tree) if isinstance(x, ast.Assign) for t in x.targets]
    wired = [t for t in targets if isinstance(t, ast.Attribute) and ast.unparse(t.value) in known]
    calls = [x for x in ast.walk(tree) if isinstance(x, ast.Call) and x.args]
    wired += [x for x in calls if ast.unparse(x.func) == "setattr"
              and ast.unparse(x.args[0]) in known]  # fmt: skip
    assert not wired


def test_how_the_engine_keeps_a_node_is_its_own_affair():
    slots = re.compile(r"\._(a|b|da|db|many|readers)\b")
    for path in {*FILES} - {PACKAGE / "engine.py"}:
        assert not slots.search(path.read_text(encoding="utf-8")), path


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_imports_itself_however_long_the_way(path):
    behind, reached = [name_of(path)], set()
    for name in behind:  # which grows meanwhile
        fresh = modules_imported(MODULES[name]) - reached - {"microgradx"}
        reached |= fresh
        behind += sorted(fresh)
    assert name_of(path) not in reached


def test_the_late_arrow_is_late():
    for name in LATE:
        tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
        tree.body = [x for x in tree.body if isinstance(x, (ast.Import, ast.ImportFrom))]
        assert LATE[name] not in "".join(imported(ast.unparse(tree), "microgradx.explain"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_loading_a_room_loads_neither_numpy_nor_graphviz(path):
    top_level = ast.parse(path.read_text(encoding="utf-8"))
    top_level.body = [x for x in top_level.body if isinstance(x, (ast.Import, ast.ImportFrom))]
    loaded = {name.split(".")[0] for name in imported(ast.unparse(top_level), "microgradx")}
    assert "graphviz" not in loaded
    assert "numpy" not in loaded or path.relative_to(PACKAGE).parts[0] in NUMPY


def test_the_reading_of_imports_sees_every_form():
    source = "\n".join(
        (
            "import microgradx.engine",
            "from microgradx import nn",
            "from . import optim",
            "from .flow import why",
            "from ..pictures import draw",
            "def late():",
            "    from microgradx.step import page",
        )
    )
    assert imported(source, "microgradx.replay") == [
        "microgradx.engine",
        "microgradx.nn",
        "microgradx.replay.optim",
        "microgradx.replay.flow.why",
        "microgradx.pictures.draw",
        "microgradx.step.page",
    ]
