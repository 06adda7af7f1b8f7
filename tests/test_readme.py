"""Every snippet of the README runs and shows what it says; what it adds to the table is removed."""

import doctest
from pathlib import Path

from microgradx import Value, rules

README = Path(__file__).parents[1] / "README.md"


def test_snippets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(rules.TABLE)
    try:
        failed, tried = doctest.testfile(str(README), module_relative=False)
    finally:
        for name in set(rules.TABLE) - before:
            del rules.TABLE[name]
            delattr(Value, name)
    assert tried > 20
    assert failed == 0
