"""DESIGN.md's house: imports only run downwards, and rooms on one floor don't import each other."""

import ast
from pathlib import Path

import pytest

import microgradx

PACKAGE = Path(microgradx.__file__).parent
FLOORS = {
    0: ("floats", "rules", "reals", "nests", "markup", "places", "render", "wide", "history"),
    1: ("step", "intervals", "deep", "samples", "progress", "weights"),
    2: ("engine",),
    3: ("rows", "timeline"),
    4: ("replay", "losses", "optim", "check", "bounds", "paths"),
    5: ("modules", "objectives", "causes", "forward", "nodeflow", "diagram"),
    6: ("norms", "watch", "reference", "connection", "staleness", "narration"),
    7: ("nn", "train", "verdicts"),
    8: ("explain",),
    9: ("flow",),
    10: ("shares", "whatif", "stepper"),
    11: ("draw",),
    12: ("page", "screen"),
    13: ("__main__",),
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
NUMPY = {"replay", "watch", "train"}  # the rooms that load NumPy; nobody loads them unasked
FLOOR["__init__"] = max(FLOORS) + 1  # the front door opens on every room, and no room looks out


def room_of(path: Path) -> str:
    """The room that a file lies in: a module of the package, or a folder of them."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(source: str, package: str) -> list[str]:
    """The dotted names of all that `source`, lying in `package`, imports, wherever it does so."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            base += [node.module] if node.module else []
            names += [".".join((*base, alias.name)) for alias in node.names]
    return names


def rooms_imported(path: Path) -> set[str]:
    """The rooms that a file of the package imports; "__init__" for the package's own names."""
    package = ".".join(("microgradx", *path.relative_to(PACKAGE).parts[:-1]))
    rooms = set()
    for name in imported(path.read_text(encoding="utf-8"), package):
        top, *rest = name.split(".")
        if top == "microgradx":
            rooms.add(rest[0] if rest and is_room(rest[0]) else "__init__")
    return rooms


def is_room(name: str) -> bool:
    return (PACKAGE / f"{name}.py").exists() or (PACKAGE / name / "__init__.py").exists()


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downwards(path):
    room = room_of(path)
    assert room in FLOOR, f"{room} has no floor: give it one in this table and in DESIGN.md"
    for other in rooms_imported(path) - {room}:
        assert FLOOR[other] < FLOOR[room], f"{room} (floor {FLOOR[room]}) must not import {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_loading_a_room_loads_neither_numpy_nor_graphviz(path):
    top_level = ast.parse(path.read_text(encoding="utf-8"))
    top_level.body = [x for x in top_level.body if isinstance(x, (ast.Import, ast.ImportFrom))]
    loaded = {name.split(".")[0] for name in imported(ast.unparse(top_level), "microgradx")}
    assert "graphviz" not in loaded
    assert "numpy" not in loaded or room_of(path) in NUMPY


REPLAY = (  # within the room of many files, from the ground up
    {"views", "names", "calls", "tape"},
    {"symbols", "sums"},
    {"folds", "arrays"},
    {"grids", "adjoints", "agreement", "statements", "batches"},
    {"products", "emit"},
    {"lifter"},
    {"replay"},
    {"recording"},
    {"__init__"},
)


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "replay").glob("*.py")), ids=lambda path: path.stem
)
def test_imports_run_downwards_within_replay(path):
    floor = {name: k for k, names in enumerate(REPLAY) for name in names}
    for name in imported(path.read_text(encoding="utf-8"), "microgradx.replay"):
        if name.startswith("microgradx.replay."):
            assert floor[name.split(".")[2]] < floor[path.stem], name


def test_the_reading_of_imports_sees_every_form():
    source = "\n".join(
        (
            "import microgradx.engine",
            "from microgradx import nn",
            "from . import optim",
            "from .flow import why",
            "from ..draw import draw",
            "def late():",
            "    from microgradx.page import page",
        )
    )
    assert imported(source, "microgradx.replay") == [
        "microgradx.engine",
        "microgradx.nn",
        "microgradx.replay.optim",
        "microgradx.replay.flow.why",
        "microgradx.draw.draw",
        "microgradx.page.page",
    ]
