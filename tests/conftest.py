"""Fixtures that more than one room's tests may ask for."""

import pytest

from microgradx import rules
from microgradx.engine import Value, functions
from tests.step.browser import browser, contexts, open_page
from tests.step.pages import at, saved

__all__ = ["at", "browser", "contexts", "open_page", "saved", "temporary_ops"]


def pytest_addoption(parser):
    """`--long` runs many more cases, which take minutes in a fuzzing test, and longer chains."""
    parser.addoption("--long", action="store_true", help="many more cases, and longer chains")


@pytest.fixture
def many(request):
    """many(few, all): how many cases to try, or nodes to chain."""
    return lambda few, every: every if request.config.getoption("--long") else few


def pytest_collection_modifyitems(config, items):
    """Tests in a browser are slow; those that are `long` or beyond `some` wait for `--long`."""
    if not config.getoption("--long"):
        waiting = {id(item) for item in beyond_some(items)}
        config.hook.pytest_deselected(items=[item for item in items if id(item) in waiting])
        items[:] = [item for item in items if id(item) not in waiting]
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")
        if item.get_closest_marker("long") and not config.getoption("--long"):
            item.add_marker(pytest.mark.skip(reason="takes long; --long runs it"))


def beyond_some(items):
    """Of the tests with the mark `some(n)` all cases but n, which are spread evenly over them."""
    cases = {}
    for item in items:
        if mark := item.get_closest_marker("some"):
            cases.setdefault(item.nodeid.split("[")[0], (mark.args[0], []))[1].append(item)
    for n, family in cases.values():
        kept = {k * len(family) // n for k in range(n)}
        yield from (item for k, item in enumerate(family) if k not in kept)


@pytest.fixture
def temporary_ops():
    """Ops that a test enters leave with it: the table, the methods and the functions."""
    before = dict(rules.TABLE)
    yield
    entered = rules.TABLE.keys() - before.keys()
    rules.TABLE.clear()
    rules.TABLE.update(before)
    for name in entered:
        functions.pop(name, None)
        if name in vars(Value):
            delattr(Value, name)
