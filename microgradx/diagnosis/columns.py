"""Columns in a CSV file: a number, a word, a list comes back from it as what it was."""

from __future__ import annotations

import ast
import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from microgradx._base.text import count, kind_of

ERROR = "error"  # the column of why a cell has failed: always words
WORDS = {"": None, "True": True, "False": False}
LITERALS = ("'", '"', "(", "[", "{")


def plain(x: Any) -> Any:
    """A scalar of NumPy as Python's own number or word, anything else as it is."""
    if isinstance(x, (np.generic, np.ndarray)) and x.ndim == 0 and x.dtype.kind in "biufU":
        return x.item()
    return x


def of_file(path: str | os.PathLike[str]) -> dict[str, list[Any]]:
    """The columns of a CSV file by name; a ValueError for what is no table with a head."""
    text = Path(path).read_text(encoding="utf-8-sig", errors="strict")
    head, *rows = csv.reader(io.StringIO(text, newline="")) if text else [[]]
    if not head or len({*head}) < len(head):
        raise ValueError(f"{path} has no line of names, each another, on top; got {head!r:.80}")
    for n, row in enumerate(rows, 1):
        if len(row) != len(head):
            cells = count(len(row), "cell")
            raise ValueError(f"{path} has {cells} in row {n}, and {len(head)} names on top")
    return {
        name: [row[k] if name == ERROR else read(row[k]) for row in rows]
        for k, name in enumerate(head)
    }


def as_file(columns: Mapping[str, Sequence[Any]]) -> bytes:
    """The text of a CSV file; a TypeError names what could not be read again."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    texts = [
        [str(x) if name == ERROR else _written(name, x) for x in column]
        for name, column in columns.items()
    ]
    writer.writerows(zip(*texts))
    return file.getvalue().encode()


def read(text: str) -> Any:
    """What a cell says: a number, True, False, None where it is empty, a list, else a word."""
    if text in WORDS:
        return WORDS[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    if text.startswith(LITERALS):
        try:
            return ast.literal_eval(text)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            pass
    return text


def _written(name: str, x: Any) -> str:
    """A cell that reads as x: words as they are, but for those that would read as something else.

    These are in quotes: '1', '', 'nan'.
    """
    x = plain(x)
    if isinstance(x, str) and x.isprintable() and _same(read(x), x):
        return x
    text = "" if x is None else repr(x)
    if not _same(read(text), x):
        raise TypeError(
            f"the column {name!r} has {kind_of(x)}, {text:.40}, which a CSV file can't hold: it "
            "takes numbers, words and lists of them"
        )
    return text


def _same(x: Any, y: Any) -> bool:
    return type(x) is type(y) and bool(x == y or (x != x and y != y))
