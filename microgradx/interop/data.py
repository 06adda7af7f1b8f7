"""Data in files as arrays: .npy, .npz, .safetensors and .csv; no pickle is ever opened."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from microgradx._base.text import clean, count, listed
from microgradx.nn import files
from microgradx.replay.batch import Array

SUFFIXES = (".npy", ".npz", ".safetensors", ".csv")
DELIMITERS = ",;\t"


class Table(NamedTuple):
    """A .csv file: the names of its columns, "0", "1", … where it has no header, and its cells."""

    names: list[str]
    rows: list[list[str]]


def array_from(path: str | Path, name: str = "", without: str = "") -> Array:
    """The array in a file.

    name:    of one of the arrays in an .npz or .safetensors file, or of columns of a .csv file,
             apart by commas; "" for the only array, or all columns
    without: the name of a column of a .csv file that is left out if none is named

    Of a .csv file it is (rows, columns), (rows,) for one column; a column of words is one of texts.
    A suffix that is none of SUFFIXES, a file that is damaged, empty or ragged, and a name that
    isn't there are a ValueError, a missing file is a FileNotFoundError.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise ValueError(clean(f"data are read from {', '.join(SUFFIXES)} files, got {path}"))
    if not path.is_file():
        raise FileNotFoundError(clean(f"there is no file {path}"))
    if kind == ".csv":
        return _columns(path, name, without)
    if kind == ".npy":
        if name:
            raise ValueError(clean(f"{path} holds one array, without a name; leave out :{name}"))
        return _npy(path)
    arrays = files.read(path, {})
    if not name and len(arrays) == 1:
        name = next(iter(arrays))
    if name not in arrays:
        there = f"there are {listed([*arrays], 8)}" if arrays else "it holds none"
        ask = f"no array {name}" if name else "several arrays: put :name behind it"
        raise ValueError(clean(f"{path} has {ask}; {there}"))
    return np.asarray(arrays[name])


def _npy(path: Path) -> Array:
    try:
        found: Array = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(clean(f"{path} can't be read as .npy: {reason}")) from None
    return found


def _columns(path: Path, name: str, without: str) -> Array:
    table = _table(path)
    wanted = [part.strip() for part in name.split(",")] if name else [
        each for each in table.names if each != without
    ]  # fmt: skip
    for each in wanted:
        if each not in table.names:
            there = listed(table.names, 8)
            raise ValueError(clean(f"{path} has no column {each}; there are {there}"))
    places = [table.names.index(each) for each in wanted]
    if len(places) == 1 and not all(_is_number(row[places[0]]) for row in table.rows):
        return np.array([row[places[0]].strip() for row in table.rows])
    for i, row in enumerate(table.rows):
        for place in places:
            if not _is_number(row[place]):
                raise ValueError(clean(
                    f"{path} has {row[place]!r:.40} in column {table.names[place]} of row {i}; "
                    "numbers are needed there: fill it in, or name the other columns, as in "
                    f"{path.name}:{','.join(table.names[:2])}"
                ))  # fmt: skip
    numbers = np.array([[float(row[place]) for place in places] for row in table.rows])
    return numbers[:, 0] if name and len(places) == 1 else numbers


def _table(path: Path) -> Table:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(clean(f"{path} is no text in UTF-8: {error.reason}")) from None
    first = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    except csv.Error as error:
        raise ValueError(clean(f"{path} can't be read as .csv: {error}")) from None
    if not rows:
        raise ValueError(clean(f"{path} is empty"))
    header = [cell.strip() for cell in rows[0]]
    names = [str(k) for k in range(len(header))]
    if not any(map(_is_number, header)):
        names, rows = header, rows[1:]
    for i, row in enumerate(rows):
        if len(row) != len(names):
            raise ValueError(clean(
                f"row {i} of {path} has {count(len(row), 'cell')}, and there are "
                f"{count(len(names), 'column')}"
            ))  # fmt: skip
    if not rows:
        raise ValueError(clean(f"{path} has a header and no rows"))
    return Table(names, rows)


def _is_number(text: str) -> bool:
    try:
        return not math.isnan(float(text))
    except ValueError:
        return False


def as_classes(y: Any) -> tuple[Any, list[str]]:
    """Texts as the numbers of their classes, and the classes in their order; others as they are."""
    if y.dtype.kind not in "US":
        return y, []
    classes, numbers = np.unique(y, return_inverse=True)
    return numbers, classes.tolist()
