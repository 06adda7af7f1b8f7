"""A table: columns of one length by name, which a data frame takes as they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from microgradx._base.text import clean, count, short, squeeze

MOST = 40  # lines that are printed
WIDTH = 80  # columns of a terminal


class Table(dict[str, list[Any]]):
    """Columns of one length by name: `pandas.DataFrame(table)`, `table["off"]`.

    rows: each as a dict by column
    """

    @property
    def rows(self) -> Iterator[dict[str, Any]]:
        return (dict(zip(self, row)) for row in zip(*self.values()))

    def __repr__(self) -> str:
        n = len(next(iter(self.values()), []))
        return f"<Table of {count(n, 'row')}: {', '.join(self)}>"

    def __str__(self) -> str:
        """The first rows, aligned; columns that have no room in 80 are left out, and named."""
        columns = {name: [name, *map(_cell, x[:MOST])] for name, x in self.items()}
        widths = {name: max(map(len, cells)) for name, cells in columns.items()}
        shown, room = [], WIDTH
        for name, width in widths.items():
            if width + 2 <= room + 2:
                shown.append(name)
                room -= width + 2
        lines = [
            "  ".join(x.rjust(widths[name]) for name, x in zip(shown, cells)).rstrip()
            for cells in zip(*(columns[name] for name in shown))
        ]
        more = max((len(x) for x in self.values()), default=0) - MOST
        left = [name for name in self if name not in shown]
        lines += [f"and {count(more, 'more row')}"] if more > 0 else []
        return "\n".join(lines + ([f"columns too: {', '.join(left)}"] if left else []))


def _cell(x: Any) -> str:
    if isinstance(x, float):
        return short(x)
    return squeeze(clean("" if x is None else str(x)), 24)
